//! A VPN over ways that do badly: small packets, packets that vanish, losses, delays, and packets that overtake one another. And two plants
//! whose machines have the same address.
//!
//! Each way is asked for the same: much by TCP both ways, datagrams that fit a packet and such that do not, a page with curl, over the
//! adapter and over a forwarded port. What is not granted is refused over a bad way as over a good one.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use postern_tests::shim::Conditions;
use postern_tests::world::target::pattern;
use postern_tests::world::{Call, Ending, Mishap, Office};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::plant::{ECHO, FORBIDDEN, Plant, WEB, enter};
use super::stage::Outcome;

/// What is sent over a way.
#[derive(Clone, Copy)]
struct Load {
    /// Bytes of a TCP connection, each way.
    bulk: usize,
    /// Bytes of the page.
    page: usize,
    /// Whether datagrams may be lost, and are sent again then.
    loses: bool,
}

/// Sends all of it over a plant's way, and looks at what comes back.
async fn everything_arrives(plant: &Plant, office: &Office, page: &str, load: Load) -> Outcome {
    let (_vpn, machine, _said) = plant.adapter(office).await?;
    let at = move |port| SocketAddr::new(machine, port);
    office.run(move || there_and_back(at(ECHO), load.bulk)).await?;
    office.run(move || datagrams(at(ECHO), load.loses)).await?;
    let refused =
        office.run(move || async move { Ok(TcpStream::connect(at(FORBIDDEN)).await.err()) }).await?;
    assert_eq!(
        refused.map(|error| error.kind()),
        Some(ErrorKind::HostUnreachable),
        "it is served, and not granted"
    );
    let fetch =
        |port: u16| office.at(&Call::new("curl").args(["-s", "-m", "40", &format!("http://{}/", at(port))]));
    let fetched = fetch(WEB).finish().await?.expect_code(0)?;
    assert!(fetched.out == page, "{} of {} bytes", fetched.out.len(), page.len());
    assert_ne!(fetch(FORBIDDEN).finish().await?.ending, Ending::Code(0));

    let (_forward, near) = plant.forward(office, ECHO).await?;
    office.run(move || there_and_back(near, load.bulk)).await?;
    let (_forward, near) = plant.forward(office, FORBIDDEN).await?;
    let cut =
        office.run(move || async move { Ok(TcpStream::connect(near).await?.read_u8().await.err()) }).await?;
    assert!(cut.is_some(), "what is not granted is not forwarded");
    Ok(())
}

/// Bytes to the echo and back, side by side, and an end in order.
async fn there_and_back(at: SocketAddr, count: usize) -> Outcome {
    let mut socket = TcpStream::connect(at).await?;
    let mut sent = vec![0; count];
    pattern(0, &mut sent);
    let (mut reader, mut writer) = socket.split();
    let mut seen = Vec::new();
    let write = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    let both = async { tokio::try_join!(write, reader.read_to_end(&mut seen)) };
    let both = tokio::time::timeout(GENEROUS, both).await;
    both.map_err(|_| Mishap::unexpected("an echo", "a hang", format!("{count} bytes")))??;
    let same = seen.iter().zip(&sent).take_while(|(one, other)| one == other).count();
    if (same, seen.len()) == (count, count) {
        return Ok(());
    }
    Err(Mishap::unexpected("an echo", format!("{} bytes, good up to {same}", seen.len()), count))
}

/// Datagrams that fit a packet of QUIC, that fit none on a small path, and that are cut on the way to the adapter. Those that fit none
/// go over a stream, which loses nothing.
async fn datagrams(at: SocketAddr, loses: bool) -> Outcome {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(at).await?;
    for size in [10, 1000, 1400, 4000] {
        let mut sent = vec![0; size];
        pattern(size, &mut sent);
        let mut seen = vec![0; 5000];
        let mut tries = 0;
        let length = loop {
            tries += 1;
            socket.send(&sent).await?;
            match tokio::time::timeout(if loses { AGAIN } else { GENEROUS }, socket.recv(&mut seen)).await {
                Ok(length) => break length?,
                Err(_) if loses && tries < 20 => {}
                Err(_) => {
                    return Err(Mishap::unexpected(format!("a datagram of {size} bytes"), "none", "one"));
                }
            }
        };
        // One that was sent again may come twice.
        while loses && tokio::time::timeout(AGAIN, socket.recv(&mut [0; 5000])).await.is_ok() {}
        if seen.get(..length) != Some(&sent) {
            return Err(Mishap::unexpected(
                "a datagram",
                format!("{length} bytes"),
                format!("the {size} that were sent"),
            ));
        }
    }
    Ok(())
}

fn page_of(bytes: usize) -> String {
    "a page of the machine ".chars().cycle().take(bytes).collect()
}

#[tokio::test]
async fn over_a_path_of_1280_bytes_everything_arrives() -> Outcome {
    let Some(site) = enter("over_a_path_of_1280_bytes_everything_arrives", 0)? else { return Ok(()) };
    let office = Office::beside(&[&site], 1280)?;
    let load = Load { bulk: 3_000_000, page: 400_000, loses: false };
    let page = page_of(load.page);
    let plant = Plant::start(site, &page, None).await?;
    everything_arrives(&plant, &office, &page, load).await
}

#[tokio::test]
async fn over_a_path_that_swallows_packets_above_1200_bytes_everything_arrives() -> Outcome {
    let name = "over_a_path_that_swallows_packets_above_1200_bytes_everything_arrives";
    let Some(site) = enter(name, 0)? else { return Ok(()) };
    let office = Office::beside(&[&site], 1500)?;
    // What QUIC may send before it knows the path: 1,200 bytes, and headers of IP and UDP. Nothing above, and no word of it.
    let hole = Conditions { largest: 1228, ..Conditions::CLEAR };
    let load = Load { bulk: 3_000_000, page: 400_000, loses: false };
    let page = page_of(load.page);
    let plant = Plant::start(site, &page, Some(hole)).await?;
    everything_arrives(&plant, &office, &page, load).await?;
    let dropped = plant.world.path.as_ref().map(|path| path.dropped());
    assert!(dropped > Some(0), "nothing was large enough for the hole");
    Ok(())
}

#[tokio::test]
async fn over_a_path_that_loses_delays_and_reorders_bytes_arrive_intact_and_nothing_hangs() -> Outcome {
    let name = "over_a_path_that_loses_delays_and_reorders_bytes_arrive_intact_and_nothing_hangs";
    let Some(site) = enter(name, 0)? else { return Ok(()) };
    let office = Office::beside(&[&site], 1500)?;
    let seed = seed();
    let bad = Conditions {
        loss: 0.05,
        delay: Duration::from_millis(100),
        late: 0.1,
        late_by: Duration::from_millis(30),
        seed,
        ..Conditions::CLEAR
    };
    let load = Load { bulk: 150_000, page: 50_000, loses: true };
    let page = page_of(load.page);
    let plant = Plant::start(site, &page, Some(bad)).await?;
    everything_arrives(&plant, &office, &page, load).await?;
    let dropped = plant.world.path.as_ref().map(|path| path.dropped());
    assert!(dropped > Some(0), "nothing was lost");
    Ok(())
}

#[tokio::test]
async fn machines_of_two_plants_with_the_same_address_are_reached_side_by_side() -> Outcome {
    let name = "machines_of_two_plants_with_the_same_address_are_reached_side_by_side";
    let Some(one) = enter(name, 0)? else { return Ok(()) };
    let Some(other) = enter(name, 1)? else { return Ok(()) };
    let office = Office::beside(&[&one, &other], 1500)?;
    one.enter_again()?;
    let one = Plant::start(one, "the press of one plant\n", None).await?;
    other.enter_again()?;
    let other = Plant::start(other, "the press of another plant\n", None).await?;
    let (mut vpn_of_one, at_one, _said) = one.adapter(&office).await?;
    let (_vpn_of_other, at_other, said) = other.adapter(&office).await?;
    assert_eq!(
        at_one.to_string(),
        postern_tests::world::site::MACHINE_ADDRESS,
        "who comes first has the real address"
    );
    assert_eq!(said["networks"][0]["alias"], true);
    assert_ne!(at_one, at_other);
    let page = async |at: IpAddr| {
        let call = Call::new("curl").args(["-s", "-m", "20", &format!("http://{at}:{WEB}/")]);
        Ok::<_, Mishap>(office.at(&call).finish().await?.out)
    };
    for _ in 0..3 {
        assert_eq!(page(at_one).await?, "the press of one plant\n");
        assert_eq!(page(at_other).await?, "the press of another plant\n");
    }
    // The end of one is not the end of the other, and the real address does not lead to the other then.
    vpn_of_one.stop().await?;
    assert_eq!(page(at_other).await?, "the press of another plant\n");
    assert_eq!(page(at_one).await?, "");
    Ok(())
}

/// Where the dice of a lossy path begin: `POSTERN_SEED`, or always the same. It is printed with the output of a failure.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("POSTERN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_129);
    println!("POSTERN_SEED={seed}");
    seed
}

const GENEROUS: Duration = Duration::from_secs(60);
/// A datagram that has not come back by then is lost.
const AGAIN: Duration = Duration::from_millis(700);
