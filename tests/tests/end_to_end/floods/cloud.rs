//! Who comes to the listeners of the cloud and says nothing, or half a request: its hub, its API, and its relay over TLS.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_protocol::wire::registry::{ALPNS_HUB, Failure};
use postern_tests::flood::{STRANGERS, Silent, Victim};
use postern_tests::world::probe::within;
use postern_tests::world::{Mishap, Running, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::end_to_end::stage::{LAB, Outcome, Plant};

/// More than the API answers at once, three times over.
const AT_API: usize = 200;
/// KiB that they may add.
const HELD_KIB: u64 = 24 * 1024;
/// Within which somebody is served: before any of the silent has lost patience.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(8);

/// Connections of one source, each of which has sent the same and no more.
pub(crate) struct Sockets(Vec<TcpStream>);

impl Sockets {
    pub(crate) async fn come(at: SocketAddr, how_many: usize, word: &[u8]) -> Result<Self, Mishap> {
        let mut streams = Vec::new();
        for _ in 0..how_many {
            let mut stream = TcpStream::connect(at).await?;
            // Who had to give way already is not heard.
            let _gone = stream.write_all(word).await;
            streams.push(stream);
        }
        Ok(Self(streams))
    }

    /// Reads the first byte that the one gets that came first.
    pub(crate) async fn first_is_greeted(&mut self) -> Outcome {
        let first = self.0.first_mut().unwrap();
        within("the first word to one that says nothing", async { Ok(first.read_u8().await.map(drop)?) })
            .await
    }

    /// Reads until the listener has closed the one that came first.
    pub(crate) async fn first_is_cut(&mut self) -> Outcome {
        let first = self.0.first_mut().unwrap();
        within("the end of the first of those who say nothing", async {
            // A reset is an end as well.
            let _reset = first.read_to_end(&mut Vec::new()).await;
            Ok(())
        })
        .await
    }

    /// Reads until the listener has closed every one of them.
    pub(crate) async fn are_cut(self) -> Outcome {
        let mut ends = JoinSet::new();
        for mut stream in self.0 {
            // A reset is an end as well.
            ends.spawn(async move { stream.read_to_end(&mut Vec::new()).await.map(drop) });
        }
        within("the end of those who say nothing", async {
            while ends.join_next().await.is_some() {}
            Ok(())
        })
        .await
    }
}

pub(crate) fn resident_kib(running: &Running) -> Result<u64, Mishap> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid().unwrap()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Ok(line.split_whitespace().next().unwrap().parse().unwrap())
}

pub(crate) fn descriptors(running: &Running) -> Result<usize, Mishap> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", running.pid().unwrap()))?.count())
}

/// A token with which the API is asked.
pub(crate) async fn token_of_anna(world: &World) -> Result<String, Mishap> {
    let made = world.hub.call(["token", "new", "anna"]).finish().await?.expect_code(0)?.out;
    let token = made.split_whitespace().find(|word| word.starts_with("postern_"));
    token.map(str::to_owned).ok_or_else(|| Mishap::unexpected("a new token", &made, "one"))
}

/// Asks who somebody is.
pub(crate) async fn status_of(at: SocketAddr, token: &str) -> Result<String, Mishap> {
    within("an answer of the API", async {
        let mut stream = TcpStream::connect(at).await?;
        let head = format!(
            "GET /v1/me HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    })
    .await
}

#[tokio::test]
async fn who_says_half_a_request_to_the_api_keeps_nobody_out() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = World::bare(LAB).await?;
    world.hub.apply(&plant.fleet().to_toml(), &[]).await?;
    world.hub.open_api();
    world.hub.serve().await?;
    // Who has accepted nothing may do nothing, whatever token there is.
    let code = world.hub.invitation_code("anna").await?;
    world.stranger("anna")?.login_with_code(&code).await?.expect_code(0)?;
    let (at, token) = (world.hub.api().await?, token_of_anna(&world).await?);
    let (hub, token) = (world.hub.running()?, token.as_str());
    assert_eq!(status_of(at, token).await?, "HTTP/1.1 200 OK");
    assert_eq!(status_of(at, "postern_none").await?, "HTTP/1.1 401 Unauthorized");
    let (files, held) = (descriptors(hub)?, resident_kib(hub)?);

    let made_up = format!("postern_{}", "a".repeat(52));
    let body = format!(
        "POST /v1/batch HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {made_up}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n{{"
    );
    for word in ["", "GET /v1/me HTTP/1.1\r\nHost: ", body.as_str()] {
        let silent = Sockets::come(at, AT_API, word.as_bytes()).await?;
        for _ in 0..3 {
            let begun = Instant::now();
            assert_eq!(status_of(at, token).await?, "HTTP/1.1 200 OK", "beside `{word}`");
            assert!(begun.elapsed() < AT_ONCE, "{:?} beside `{word}`", begun.elapsed());
        }
        let more = resident_kib(hub)?.saturating_sub(held);
        assert!(more < HELD_KIB, "{more} KiB more");
        // The twin: half a head ends its connection by itself.
        if word.starts_with("GET") {
            silent.are_cut().await?;
        }
    }
    within("descriptors that are given back", async {
        while descriptors(hub)? > files {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await
}

/// More than the hub has places for visitors.
const AT_HUB: usize = 1_900;
/// KiB that so many may add, as the hub's own bound says: 160 each.
const HELD_BY_VISITORS_KIB: u64 = 280 * 1024;

#[tokio::test]
async fn visitors_of_the_hub_that_say_nothing_keep_neither_people_nor_devices_out() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    let status = world.hub.call(["status", "--json"]).finish().await?.expect_code(0)?.json()?;
    let key = status["hub_keys"][0].as_str().unwrap().parse().unwrap();
    let device = world.device.status().await?["device"].as_str().unwrap().parse().unwrap();
    let victim = Victim { at: world.hub.address(), key, device, insider: None, from: STRANGERS };
    let held = resident_kib(world.hub.running()?)?;
    let links = |hub: &Running| hub.log().matches("link up").count();
    let before = links(world.hub.running()?);
    let silent = Silent::come(&victim, ALPNS_HUB, AT_HUB).await?;
    // The first has made room for one of those who came behind it: every place is taken.
    assert_eq!(silent.first_ends().await?, u32::from(Failure::Busy.number()));
    anna.call(["devices"]).finish().await?.expect_code(0)?;
    let more = resident_kib(world.hub.running()?)?.saturating_sub(held);
    println!("{AT_HUB} visitors: {more} KiB more");
    assert!(more < HELD_BY_VISITORS_KIB, "{more} KiB more");
    // The twin: the device's link says as little, and stays.
    assert_eq!(links(world.hub.running()?), before);
    world.device.stop().await?;
    world.device.run().await?;
    // What it had acknowledged before it still has: that alone says nothing of the link.
    world.device.status_until("its link is up", |status| !status["hub"].is_null()).await?;
    assert_eq!(links(world.hub.running()?), before + 1);
    drop(silent);
    Ok(())
}
