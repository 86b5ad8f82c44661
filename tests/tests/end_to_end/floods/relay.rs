//! Datagrams without end at the relay, beside a tunnel that it passes on.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use postern_tests::flood::STRANGERS;
use postern_tests::world::Mishap;
use postern_tests::world::probe::within;

use super::cloud::resident_kib;
use crate::end_to_end::gate::echoed;
use crate::end_to_end::relay::behind_nat;
use crate::end_to_end::stage::{Outcome, Plant};

/// So many have gone out, at least, when the tunnel is asked whether it still works.
const UNDER_WAY: usize = 5_000;
/// KiB that they may add.
const HELD_KIB: u64 = 16 * 1024;

/// Datagrams that go out until it is dropped.
struct Datagrams {
    tally: Arc<Tally>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Tally {
    sent: AtomicUsize,
    sent_bytes: AtomicUsize,
    heard_bytes: AtomicUsize,
    stop: AtomicBool,
}

impl Datagrams {
    /// Sends noise, packets under handles that nobody has, and forged notices to bind, in turn and from several ports.
    fn start(at: SocketAddr) -> Result<Self, Mishap> {
        let mut sockets = Vec::new();
        for _ in 0..16 {
            let socket = UdpSocket::bind((STRANGERS, 0))?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        let tally = Arc::new(Tally::default());
        let of_thread = Arc::clone(&tally);
        let thread = std::thread::spawn(move || {
            let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
            for (socket, kind) in sockets.iter().cycle().zip([0, 1, 2, 3, 4].into_iter().cycle()) {
                if of_thread.stop.load(Ordering::Relaxed) {
                    return;
                }
                let mut packet = [0; 1_200];
                for byte in &mut packet {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    [*byte, ..] = dice.to_be_bytes();
                }
                let packet = match kind {
                    // Another handle with each, the same handle, a notice in the form of one that binds, and less than a handle.
                    0 => &packet[..],
                    1 => {
                        packet[..8].fill(7);
                        &packet[..]
                    }
                    2 => {
                        packet[..8].fill(0);
                        packet[8] = 1;
                        &packet[..80]
                    }
                    3 => &packet[..5],
                    _ => {
                        packet[..8].fill(0);
                        &packet[..9]
                    }
                };
                if socket.send_to(packet, at).is_ok() {
                    of_thread.sent_bytes.fetch_add(packet.len(), Ordering::Relaxed);
                }
                while let Ok(heard) = socket.recv(&mut [0; 2_048]) {
                    of_thread.heard_bytes.fetch_add(heard, Ordering::Relaxed);
                }
                if of_thread.sent.fetch_add(1, Ordering::Relaxed) % 16 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Ok(Self { tally, thread: Some(thread) })
    }

    async fn is_under_way(&self) -> Outcome {
        let goal = self.tally.sent.load(Ordering::Relaxed) + UNDER_WAY;
        within("a flood that is under way", async {
            while self.tally.sent.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        })
        .await
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.tally.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

#[tokio::test]
async fn datagrams_without_end_at_the_relay_hold_up_no_tunnel_and_are_answered_with_less() -> Outcome {
    let plant = Plant::start().await?;
    let (world, _nowhere) = behind_nat(&plant).await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("echo").await?;
    session.notice("is reached through the relay at").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"before").await?, b"before");
    let hub = world.hub.running()?;
    let line = hub.line("where the relay is", |line| line.text.contains("packets are relayed")).await?.text;
    let mut words = line.split([' ', '=']).skip_while(|word| *word != "udp");
    let at: SocketAddr = words.nth(1).unwrap().parse().unwrap();
    assert_ne!(at.ip(), Ipv4Addr::UNSPECIFIED);
    let held = resident_kib(hub)?;
    let flood = Datagrams::start(at)?;
    for word in [&b"while"[..], b"it", b"lasts"] {
        flood.is_under_way().await?;
        assert_eq!(echoed(&mut tunnel, word).await?, word);
    }
    // Somebody who comes meanwhile binds a leg there.
    let newcomer = anna.connect("echo").await?;
    newcomer.notice("is reached through the relay at").await?;
    assert_eq!(echoed(&mut newcomer.exchange().await?, b"a newcomer").await?, b"a newcomer");
    let more = resident_kib(hub)?.saturating_sub(held);
    assert!(more < HELD_KIB, "{more} KiB more");
    let tally = Arc::clone(&flood.tally);
    drop(flood);
    let count = |tally: &AtomicUsize| tally.load(Ordering::Relaxed);
    let [packets, sent, heard] = [&tally.sent, &tally.sent_bytes, &tally.heard_bytes].map(count);
    println!("{packets} datagrams with {sent} bytes, {heard} bytes of answers, {more} KiB more");
    // Who has lost its leg is told so, in fewer bytes than it sent.
    assert!(heard > 0 && heard < sent, "{heard} bytes of answers to {sent}");
    assert_eq!(echoed(&mut tunnel, b"after").await?, b"after");
    Ok(())
}
