//! Networks that do not let everything pass: what the agent and people do there, and how fast. Firewalls are the kernel's own (nftables in a
//! namespace), proxies are real ones.

mod opener;
mod proxies;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use postern_protocol::wire::relay::Notice;
use postern_tests::world::site::{ROUTER_ADDRESS, Site};
use postern_tests::world::target::pattern;
use postern_tests::world::{Call, Exchange, Mishap, Person, Running, World};
use postern_transport::OuterStream;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::floods::cloud::{Sockets, descriptors};
use super::peers::{missing, programs};
use super::stage::{LAB, Outcome, Plant};

/// A world in a namespace of its own, whose hub and device are at the router's address.
struct Walled {
    world: World,
    site: Site,
    /// Last: the machines outlive who uses them.
    _plant: Plant,
}

impl Walled {
    /// None where it cannot be made, which is said. The device is neither enrolled nor running.
    async fn start(test: &str) -> Result<Option<Self>, Mishap> {
        if programs(test, ["nft", "ip"]).is_none() {
            return Ok(None);
        }
        let Some(site) = Site::enter()? else {
            missing(test, "the right to make network namespaces (root)");
            return Ok(None);
        };
        let plant = Plant::start().await?;
        let host: IpAddr = ROUTER_ADDRESS.parse().unwrap();
        let mut world = World::bare_at(host, LAB).await?;
        let fleet = plant.services().allow("anna", &["echo", "source", "web"]);
        world.hub.apply(&fleet.to_toml(), &[]).await?;
        world.hub.serve().await?;
        Ok(Some(Self { world, site, _plant: plant }))
    }

    /// The same with a device that serves, and an engineer.
    async fn with_anna(test: &str) -> Result<Option<(Self, Person)>, Mishap> {
        let Some(mut walled) = Self::start(test).await? else { return Ok(None) };
        walled.world.enroll().await?;
        walled.world.device.run().await?;
        walled.world.settle().await?;
        let anna = walled.world.person("anna").await?;
        Ok(Some((walled, anna)))
    }

    /// Starts the agent anew; how long it took until the link was up, and by which path.
    async fn link_again(&mut self) -> Result<(Duration, String), Mishap> {
        self.world.device.stop().await?;
        let began = Instant::now();
        self.world.device.run().await?;
        let status = self.world.device.status_until("the link", |status| status["hub"].is_string()).await?;
        Ok((began.elapsed(), status["hub_path"].as_str().unwrap_or_default().to_owned()))
    }

    /// Where the hub relays over UDP, as it says.
    fn relay_port(&self) -> u16 {
        let log = self.world.hub.log();
        let said = log.split("packets are relayed udp=").nth(1).unwrap();
        said.split(' ').next().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    }

    async fn until_path(&self, path: &str) -> Result<Value, Mishap> {
        let what = format!("the link over `{path}`");
        self.world.device.status_until(&what, |status| status["hub_path"] == path).await
    }
}

/// Lets packets of these rules not pass, and everything else; takes back what was before. UDP that passes is counted.
async fn wall(rules: &str) -> Outcome {
    let text = format!(
        "flush ruleset\ntable inet wall {{\n counter passed {{ }}\n chain input {{\n  type filter hook input priority 0\n{rules}\n  \
         iif lo meta l4proto udp counter name passed\n }}\n}}\n"
    );
    Call::new("nft").args(["-f", "-"]).input(text).finish().await?.expect_code(0).map(drop)
}

/// Bytes of UDP that have passed since the last wall.
async fn passed() -> Result<u64, Mishap> {
    let listed = Call::new("nft").args(["-j", "list", "counter", "inet", "wall", "passed"]).finish().await?;
    let listed = listed.expect_code(0)?.json()?;
    Ok(listed["nftables"][1]["counter"]["bytes"].as_u64().unwrap())
}

/// How long somebody waits for the list of devices.
async fn listing(anna: &Person) -> Result<Duration, Mishap> {
    let began = Instant::now();
    anna.call(["devices"]).finish().await?.expect_code(0)?;
    Ok(began.elapsed())
}

/// Forgets what this network let pass.
fn forget(anna: &Person) {
    drop(std::fs::remove_file(anna.home().join("networks.json")));
}

/// Reads the source's bytes for as long as `more` says, and compares them.
async fn read_on(source: &mut Exchange, at: &mut usize, bytes: usize) -> Outcome {
    let (mut block, mut expected) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let end = *at + bytes;
    while *at < end {
        let reading = tokio::time::timeout(GENEROUS, source.read(&mut block)).await;
        let length = reading.unwrap()?;
        assert!(length > 0, "the tunnel ended after {at} bytes");
        pattern(*at, &mut expected[..length]);
        assert!(block[..length] == expected[..length], "another byte than was sent, after {at}");
        *at += length;
    }
    Ok(())
}

#[tokio::test]
async fn udp_that_is_refused_costs_no_two_seconds_and_udp_that_is_dropped_no_five() -> Outcome {
    let name = "udp_that_is_refused_costs_no_two_seconds_and_udp_that_is_dropped_no_five";
    let Some((mut walled, anna)) = Walled::with_anna(name).await? else { return Ok(()) };
    walled.until_path("direct").await?;
    for (rule, most) in [("reject", 2), ("drop", 5)] {
        wall(&format!("iif lo meta l4proto udp {rule}")).await?;
        let (link, path) = walled.link_again().await?;
        forget(&anna);
        let first = listing(&anna).await?;
        let second = listing(&anna).await?;
        println!("UDP {rule}: link {link:?}, listing {first:?}, then {second:?}");
        assert_eq!(path, "tls");
        assert!(link < Duration::from_secs(most) && first < Duration::from_secs(most), "{link:?} {first:?}");
        // What led out is tried at once the next time.
        assert!(second < Duration::from_secs(2), "{second:?}");
        assert_eq!(passed().await?, 0);
    }
    Ok(())
}

#[tokio::test]
async fn what_blocks_everything_is_named_for_each_way_and_lifts_without_a_restart() -> Outcome {
    let name = "what_blocks_everything_is_named_for_each_way_and_lifts_without_a_restart";
    let Some((walled, anna)) = Walled::with_anna(name).await? else { return Ok(()) };
    let port = walled.world.hub.address().port();
    wall(&format!("iif lo meta l4proto udp reject\niif lo tcp dport {port} reject with tcp reset")).await?;
    let failed = anna.call(["devices", "--json"]).finish().await?;
    let refused = anna.call(["login", "--password-stdin"]).input("x\n").finish().await?;
    let said = format!("{}{}", refused.out, refused.err);
    assert!(
        said.contains(": UDP: connection refused; TLS: connection refused")
            && said.contains("the hub cannot be reached"),
        "{said}{}",
        failed.err
    );
    wall("").await?;
    assert!(listing(&anna).await? < GENEROUS);
    Ok(())
}

#[tokio::test]
async fn a_tunnel_over_tls_goes_back_to_udp_when_that_passes_and_loses_no_byte() -> Outcome {
    let name = "a_tunnel_over_tls_goes_back_to_udp_when_that_passes_and_loses_no_byte";
    let Some((mut walled, anna)) = Walled::with_anna(name).await? else { return Ok(()) };
    // Nobody can dial the device: there is a relay between, over TLS on both sides.
    let nowhere = UdpSocket::bind((ROUTER_ADDRESS, 0)).await?;
    walled.world.device.say_at(nowhere.local_addr()?)?;
    wall("iif lo meta l4proto udp drop").await?;
    let (_, path) = walled.link_again().await?;
    assert_eq!(path, "tls");
    let session = anna.connect("source").await?;
    let (mut source, mut at) = (session.exchange().await?, 0);
    read_on(&mut source, &mut at, 2_000_000).await?;
    assert_eq!(passed().await?, 0);
    wall("").await?;
    let lifted = Instant::now();
    // The link and the tunnel, each by itself.
    let mut before = passed().await?;
    loop {
        read_on(&mut source, &mut at, 1_000_000).await?;
        let now = passed().await?;
        // All of a megabyte came over UDP.
        if now - before > 1_000_000 {
            break;
        }
        before = now;
        assert!(lifted.elapsed() < Duration::from_secs(120), "the tunnel stays with TLS");
    }
    walled.until_path("direct").await?;
    println!("back on UDP after {:?}, {at} bytes without a fault", lifted.elapsed());
    read_on(&mut source, &mut at, 1_000_000).await
}

#[tokio::test]
async fn a_box_that_passes_handshakes_and_drops_what_follows_is_noticed_and_left() -> Outcome {
    let name = "a_box_that_passes_handshakes_and_drops_what_follows_is_noticed_and_left";
    let Some((mut walled, anna)) = Walled::with_anna(name).await? else { return Ok(()) };
    let port = walled.world.hub.address().port();
    // Both directions of a flow are counted together: a handshake takes about eight packets.
    wall(&format!(
        "iif lo udp dport {port} ct packets > 8 drop\niif lo udp sport {port} ct packets > 8 drop"
    ))
    .await?;
    let (link, path) = walled.link_again().await?;
    forget(&anna);
    let first = listing(&anna).await?;
    let second = listing(&anna).await?;
    println!("UDP deaf: link {link:?}, listing {first:?}, then {second:?}");
    assert_eq!(path, "tls");
    let passed = passed().await?;
    assert!(passed > 2000, "{passed} bytes of UDP passed, which is no handshake");
    assert!(link < Duration::from_secs(10) && first < Duration::from_secs(10), "{link:?} {first:?}");
    // UDP is not relied on in this network for a while.
    assert!(second < Duration::from_secs(2), "{second:?}");
    Ok(())
}

#[tokio::test]
async fn a_tunnel_straight_to_a_device_goes_on_through_the_relay_when_its_packets_are_dropped() -> Outcome {
    let name = "a_tunnel_straight_to_a_device_goes_on_through_the_relay_when_its_packets_are_dropped";
    let Some((walled, anna)) = Walled::with_anna(name).await? else { return Ok(()) };
    let session = anna.connect("source").await?;
    let (mut source, mut at) = (session.exchange().await?, 0);
    read_on(&mut source, &mut at, 1_000_000).await?;
    // What goes straight between the two, and not what either exchanges with the relay.
    let (device, relay) = (walled.world.device.listen().port(), walled.relay_port());
    wall(&format!(
        "iif lo udp dport {device} udp sport != {relay} ct packets > 20 drop\n\
         iif lo udp sport {device} udp dport != {relay} ct packets > 20 drop"
    ))
    .await?;
    let began = Instant::now();
    read_on(&mut source, &mut at, 8_000_000).await?;
    println!("{at} bytes without a fault, {:?} after the wall", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn who_says_nothing_to_the_relay_over_tls_keeps_nobody_out_and_holds_a_bounded_number() -> Outcome {
    let name = "who_says_nothing_to_the_relay_over_tls_keeps_nobody_out_and_holds_a_bounded_number";
    let Some((mut walled, anna)) = Walled::with_anna(name).await? else { return Ok(()) };
    wall("iif lo meta l4proto udp reject").await?;
    assert_eq!(walled.link_again().await?.1, "tls");
    let session = anna.connect("source").await?;
    let (mut source, mut at) = (session.exchange().await?, 0);
    read_on(&mut source, &mut at, 100_000).await?;
    for word in [&b""[..], &[0x16, 3, 1]] {
        let before = descriptors(walled.world.hub.running()?)?;
        let silent = Sockets::come(walled.world.hub.address(), 640, word).await?;
        let fewer = async {
            while descriptors(walled.world.hub.running()?)? > before + HELD {
                tokio::task::yield_now().await;
            }
            Ok::<_, Mishap>(())
        };
        let fewer = tokio::time::timeout(BEFORE_PATIENCE, fewer).await;
        fewer.expect("no more are held than may be, before any has lost patience")?;
        let first = listing(&anna).await?;
        assert!(first < GENEROUS, "{first:?}");
        read_on(&mut source, &mut at, 100_000).await?;
        // The twin: those who say nothing have the time of a handshake, and no more.
        silent.are_cut().await?;
    }
    assert_eq!(passed().await?, 0);
    read_on(&mut source, &mut at, 100_000).await
}

#[tokio::test]
async fn who_says_a_first_word_to_the_relay_over_tls_and_nothing_more_keeps_nobody_out() -> Outcome {
    let name = "who_says_a_first_word_to_the_relay_over_tls_and_nothing_more_keeps_nobody_out";
    let Some((mut walled, anna)) = Walled::with_anna(name).await? else { return Ok(()) };
    wall("iif lo meta l4proto udp reject").await?;
    assert_eq!(walled.link_again().await?.1, "tls");
    let session = anna.connect("source").await?;
    let (mut source, mut at) = (session.exchange().await?, 0);
    read_on(&mut source, &mut at, 100_000).await?;
    let links = |hub: &Running| hub.log().matches("link up").count();
    let (before, up) = (descriptors(walled.world.hub.running()?)?, links(walled.world.hub.running()?));
    // They ask for the hub and send nothing for it, or for a leg without a ticket; each has two minutes.
    let forged = [&[0; 8][..], &[0x5a; 64]].concat();
    for word in [&Notice::hub()[..], &forged] {
        let silent = first_words(walled.world.hub.address(), word).await?;
        let fewer = async {
            while descriptors(walled.world.hub.running()?)? > before + HELD {
                tokio::task::yield_now().await;
            }
            Ok::<_, Mishap>(())
        };
        let fewer = tokio::time::timeout(GENEROUS, fewer).await;
        fewer.expect("no more are held than may be, before any has lost patience")?;
        let first = listing(&anna).await?;
        assert!(first < GENEROUS, "{first:?}");
        // The twins: a leg that is bound, and a link, have come in the same way and stay.
        read_on(&mut source, &mut at, 100_000).await?;
        assert_eq!(links(walled.world.hub.running()?), up);
        drop(silent);
    }
    // Whoever has come by such a way and left takes it along.
    let gone = async {
        while descriptors(walled.world.hub.running()?)? > before {
            tokio::task::yield_now().await;
        }
        Ok::<_, Mishap>(())
    };
    tokio::time::timeout(GENEROUS, gone).await.expect("descriptors are given back")?;
    assert_eq!(passed().await?, 0);
    read_on(&mut source, &mut at, 100_000).await
}

/// Connections over TLS, more than may wait, each of which has said the same first word.
async fn first_words(at: SocketAddr, word: &[u8]) -> Result<Vec<OuterStream<TcpStream>>, Mishap> {
    let frame = [&u16::try_from(word.len()).unwrap().to_be_bytes()[..], word].concat();
    let frame = frame.as_slice();
    let coming = (0..640).map(|_| async move {
        let stream = TcpStream::connect(at).await?;
        let late = |fault| Mishap::unexpected("TLS with the relay", fault, "a connection");
        let mut stream = OuterStream::connect(stream, at, GENEROUS).await.map_err(late)?;
        // Who had to give way already is not heard.
        let _gone = stream.write_all(frame).await;
        let _gone = stream.flush().await;
        Ok(stream)
    });
    futures_util::stream::iter(coming).buffered(8).try_collect().await
}

/// For what must happen: long enough that only a defect reaches it.
const GENEROUS: Duration = Duration::from_secs(40);
/// Those who say nothing are 512 at most, and one is just coming or going.
const HELD: usize = 520;
/// Those who say nothing are closed after five seconds anyway.
const BEFORE_PATIENCE: Duration = Duration::from_secs(4);
