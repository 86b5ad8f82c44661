//! Devices that nobody can dial: people reach them through the hub's relay, under the same rules.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postern_tests::world::probe::http_page;
use postern_tests::world::{Mishap, World};
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::gate::{DENIED, has};
use super::stage::{LAB, Outcome, Plant};

/// A world whose device tells clients an address at which nobody answers. The socket holds that address.
pub(crate) async fn behind_nat(plant: &Plant) -> Result<(World, UdpSocket), Mishap> {
    let fleet = plant.services().allow("anna", &["web", "echo", "source"]).allow("bert", &["hmi"]);
    let mut world = World::start(LAB, &fleet).await?;
    let nowhere = UdpSocket::bind(("127.0.0.1", 0)).await?;
    world.device.say_at(nowhere.local_addr()?)?;
    world.device.stop().await?;
    world.device.run().await?;
    world.settle().await?;
    Ok((world, nowhere))
}

#[tokio::test]
async fn a_device_that_cannot_be_dialled_is_reached_through_the_relay_and_still_decides() -> Outcome {
    let plant = Plant::start().await?;
    let (world, _nowhere) = behind_nat(&plant).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    let session = anna.connect("web").await?;
    session.notice("is reached through the relay at").await?;
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
    let refused = bert.refused("web").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("nothing grants you this service"), "{}", refused.err);
    // The trail says by which path both came.
    let relayed = |row: &Value, event: &str| has(row, event) && row["path"] == "relayed";
    let both = |rows: &[Value]| {
        ["permitted", "denied"].iter().all(|event| rows.iter().any(|row| relayed(row, event)))
    };
    world.device.audit_until("both by the relay", both).await?;
    Ok(())
}

#[tokio::test]
async fn whoever_goes_leaves_their_place_at_the_relay_to_the_next() -> Outcome {
    let plant = Plant::start().await?;
    let (mut world, _nowhere) = behind_nat(&plant).await?;
    world.device.stop().await?;
    world.device.configure("\n[caps]\nconnections = 1\n")?;
    world.device.run().await?;
    world.settle().await?;
    let anna = world.person("anna").await?;
    for round in 0..3 {
        let session = anna.connect("web").await?;
        session.notice("is reached through the relay at").await?;
        assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
        // The twin: for as long as she is there, there is no other place.
        if round == 0 {
            assert_eq!(anna.refused("web").await?.out, "");
        }
        session.interrupt().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_moves_to_the_device_when_it_can_be_dialled_and_back_when_it_cannot() -> Outcome {
    let plant = Plant::start().await?;
    let (world, nowhere) = behind_nat(&plant).await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("web").await?;
    session.notice("is reached through the relay at").await?;
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);

    let mut path = Path::open(nowhere, world.device.listen());
    // The device is asked at its address now and then; the packets of a page come with each page.
    let (began, mut in_a_row) = (Instant::now(), 0);
    while in_a_row < 10 {
        let before = path.packets();
        assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
        in_a_row = if path.packets() > before { in_a_row + 1 } else { 0 };
        assert!(began.elapsed() < Duration::from_secs(90), "the connection stays at the relay");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A tunnel that opened before the move ends where the connection is then.
    let moved = |rows: &[Value]| {
        let of = |event: &str, path: &str| rows.iter().any(|row| has(row, event) && row["path"] == path);
        of("permitted", "relayed") && of("closed", "direct")
    };
    world.device.audit_until("a tunnel by the relay, and one straight", moved).await?;
    path.close().await;
    let began = Instant::now();
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    Ok(())
}

/// The way from where a device is said to be to where it is.
struct Path {
    packets: Arc<AtomicU32>,
    tasks: JoinSet<()>,
}

impl Path {
    fn open(outside: UdpSocket, device: SocketAddr) -> Self {
        let packets = Arc::new(AtomicU32::new(0));
        let (mut tasks, counted) = (JoinSet::new(), Arc::clone(&packets));
        tasks.spawn(async move {
            let (outside, mut inside, mut back) = (Arc::new(outside), HashMap::new(), JoinSet::new());
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = outside.recv_from(&mut buffer).await {
                let socket = match inside.entry(from) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let Ok(socket) = UdpSocket::bind((device.ip(), 0)).await else { return };
                        let socket = Arc::new(socket);
                        back.spawn(answer(Arc::clone(&outside), Arc::clone(&socket), from));
                        new.insert(socket)
                    }
                };
                let _lost = socket.send_to(&buffer[..length], device).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { packets, tasks }
    }

    fn packets(&self) -> u32 {
        self.packets.load(Ordering::Relaxed)
    }

    async fn close(&mut self) {
        self.tasks.shutdown().await;
    }
}

async fn answer(outside: Arc<UdpSocket>, inside: Arc<UdpSocket>, to: SocketAddr) {
    let mut buffer = [0; 2048];
    while let Ok(length) = inside.recv(&mut buffer).await {
        let _lost = outside.send_to(&buffer[..length], to).await;
    }
}
