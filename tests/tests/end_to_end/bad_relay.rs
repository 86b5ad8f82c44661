//! What a relay in the hands of an adversary can do: deny, and nothing else.
//!
//! The device is reached through that relay alone. It sees every packet, has the hub's key for relays, and passes on what it likes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postern_protocol::trust::SecretKey;
use postern_protocol::wire::registry::ALPNS_TUNNEL;
use postern_protocol::wire::relay::RelayKey;
use postern_tests::bad_relay::{BadRelay, Mischief};
use postern_tests::world::probe::{http_page, within};
use postern_tests::world::{Mishap, Person, World};
use postern_transport::quic::{Endpoint, Role, Settings};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::gate::{DENIED, echoed, has};
use super::stage::{LAB, Outcome, Plant};

/// What `postern` ends with when no way leads to the device, and when one leads to somebody else.
const UNREACHABLE: i32 = 5;
const WRONG_KEY: i32 = 8;

/// A world whose device is reached by way of the relay that is returned, and in no other. The socket holds the address that it says.
async fn through_bad_hands(plant: &Plant) -> Result<(World, BadRelay, UdpSocket), Mishap> {
    let fleet = plant.services().allow("anna", &["web", "echo"]).allow("bert", &["hmi"]);
    let mut world = World::start(LAB, &fleet).await?;
    let key = postern_cloud::keys::read(&world.hub.state_dir().join("relay.key")).unwrap();
    let relay = BadRelay::start(world.device.listen().ip(), RelayKey::new(*key.seed())).await?;
    let nowhere = UdpSocket::bind((world.device.listen().ip(), 0)).await?;
    world.device.say_at(nowhere.local_addr()?)?;
    world.device.stop().await?;
    world.hub.stop().await?;
    world.hub.relay_at(relay.at);
    world.hub.serve().await?;
    world.device.run().await?;
    world.settle().await?;
    Ok((world, relay, nowhere))
}

#[tokio::test]
async fn what_a_relay_sees_shows_nothing_of_what_it_carries() -> Outcome {
    let plant = Plant::start().await?;
    let (world, relay, _nowhere) = through_bad_hands(&plant).await?;
    let anna = world.person("anna").await?;
    let (web, echo) = (anna.connect("web").await?, anna.connect("echo").await?);
    let page = http_page(&web, "/machine-info").await?;
    assert_eq!(page.status, 200);
    let mut stream = echo.exchange().await?;
    let word = b"a word that nobody but the machine and anna may read".repeat(1000);
    assert_eq!(echoed(&mut stream, &word).await?, word);

    let seen = relay.seen().concat();
    assert!(seen.len() > 2 * word.len() + page.body.len(), "{} bytes were seen", seen.len());
    // Sixteen bytes of anything that both ends have said, in the clear.
    let secrets = [word.as_slice(), page.body.as_bytes(), &everything_in(&anna)];
    let pieces: HashSet<&[u8]> = seen.windows(16).collect();
    for secret in secrets {
        assert!(secret.len() > 500);
        for piece in secret.chunks_exact(16) {
            assert!(!pieces.contains(piece), "seen: {}", String::from_utf8_lossy(piece));
        }
    }
    // That it would be found: what a packet consists of is.
    assert!(relay.seen().iter().all(|packet| pieces.contains(&packet[..16])));
    let (device, press) = (postern_tests::world::DEVICE, plant.press.web.to_string());
    for name in ["anna", "machine-info", "GET /", "HTTP/1.1", device, press.as_str()] {
        assert!(!find(&seen, name.as_bytes()), "`{name}` was seen");
    }
    Ok(())
}

#[tokio::test]
async fn a_relay_that_changes_repeats_reorders_delays_and_adds_packets_changes_no_byte() -> Outcome {
    let plant = Plant::start().await?;
    let (world, relay, _nowhere) = through_bad_hands(&plant).await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("echo").await?;
    let said: Vec<u8> = (0..60_000_u32).flat_map(u32::to_le_bytes).collect();
    let mischiefs = [
        Mischief::Tampers(20),
        Mischief::Replays,
        Mischief::Reorders,
        Mischief::Delays(Duration::from_millis(80)),
        Mischief::Floods,
    ];
    for mischief in mischiefs {
        relay.turns_to(mischief);
        let mut stream = session.exchange().await?;
        let (mut hears, mut speaks) = tokio::io::split(&mut stream);
        let mut heard = vec![0; said.len()];
        within("an echo", async {
            let (spoken, read) = tokio::join!(speaks.write_all(&said), hears.read_exact(&mut heard));
            spoken?;
            read?;
            Ok(())
        })
        .await
        .map_err(|mishap| Mishap::unexpected(format!("{mischief:?}"), mishap, "an echo"))?;
        assert!(heard == said, "{mischief:?}");
    }
    relay.turns_to(Mischief::None);
    // What the machine was told is what anna said, once.
    let exact = |rows: &[Value]| {
        let count = u64::try_from(said.len()).unwrap();
        let whole = |row: &&Value| {
            has(row, "closed") && row["to_machine"].as_u64() >= Some(count) && row["path"] == "relayed"
        };
        rows.iter().filter(whole).count() == mischiefs.len()
    };
    let rows = world.device.audit_until("the ends", exact).await?;
    assert!(!rows.iter().any(|row| has(row, "denied") || has(row, "alarm")), "{rows:?}");
    Ok(())
}

#[tokio::test]
async fn a_relay_that_changes_everything_denies_and_is_not_believed_later() -> Outcome {
    let plant = Plant::start().await?;
    let (world, relay, _nowhere) = through_bad_hands(&plant).await?;
    let anna = world.person("anna").await?;
    relay.turns_to(Mischief::Tampers(1));
    let failed = anna.refused("echo").await?.expect_code(UNREACHABLE)?;
    assert!(failed.err.contains("cannot be reached"), "{}", failed.err);
    assert_eq!(plant.echo.accepted(), 0);
    let rows = world.device.audit().await?;
    assert!(!rows.iter().any(|row| has(row, "permitted")), "{rows:?}");
    relay.turns_to(Mischief::None);
    let session = anna.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"now").await?, b"now");
    Ok(())
}

#[tokio::test]
async fn whoever_the_relay_leads_to_is_not_the_device_and_is_told_nothing() -> Outcome {
    let plant = Plant::start().await?;
    let (world, relay, _nowhere) = through_bad_hands(&plant).await?;
    let anna = world.person("anna").await?;
    let role = Role::Server { alpns: ALPNS_TUNNEL.iter().map(|alpn| alpn.to_vec()).collect() };
    let key = SecretKey::from_seed([66; 32]).unwrap();
    let impostor = Endpoint::bind((relay.at.ip(), 0).into(), &key, role, &Settings::stranger()).unwrap();
    relay.turns_to(Mischief::Leads(impostor.local_addr()?));
    let heard = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&heard);
    let waiting = tokio::spawn(async move {
        while let Some(incoming) = impostor.accept().await {
            // A client that has seen this key goes away before it says a word.
            if let Ok(connection) = incoming.handshake(Duration::from_secs(5)).await
                && connection.accept_bi().await.is_ok()
            {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let failed = anna.refused("echo").await?.expect_code(WRONG_KEY)?;
    assert!(failed.err.contains("the peer was replaced, or somebody stands in between"), "{}", failed.err);
    assert_eq!(heard.load(Ordering::Relaxed), 0);
    waiting.abort();
    Ok(())
}

#[tokio::test]
async fn ends_that_the_relay_has_swapped_get_what_is_theirs() -> Outcome {
    let plant = Plant::start().await?;
    let (world, relay, _nowhere) = through_bad_hands(&plant).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    relay.turns_to(Mischief::Swaps);
    // Both come to the device under the leg of the other, which says nothing about who they are. One alone comes to nobody.
    let (session, refused) = tokio::join!(anna.connect("web"), bert.refused("web"));
    let (session, refused) = (session?, refused?.expect_code(DENIED)?);
    assert_eq!(relay.meetings(), 2);
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
    assert!(refused.err.contains("nothing grants you this service"), "{}", refused.err);
    Ok(())
}

/// What lies in somebody's profile: keys, passes, names.
fn everything_in(person: &Person) -> Vec<u8> {
    let mut found = Vec::new();
    let mut dirs = vec![person.home().to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.is_file() {
                found.extend(std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn find(within: &[u8], piece: &[u8]) -> bool {
    within.windows(piece.len()).any(|window| window == piece)
}
