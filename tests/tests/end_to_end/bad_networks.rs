//! A tunnel over networks that do badly for a while: it goes on within ten seconds of their return, straight and through a relay.

use std::time::Duration;

use postern_tests::shim::Conditions;
use postern_tests::world::flow::Flow;
use postern_tests::world::probe::http_page;
use postern_tests::world::{Mishap, World};
use rustix::process::Signal;
use tokio::time::Instant;

use super::stage::{LAB, Outcome, Plant};

/// A network that does well, and does not carry more than a test machine wants to do.
const GOOD: Conditions =
    Conditions { rate: Some(10e6), queue: 100_000, delay: Duration::from_millis(5), ..Conditions::CLEAR };

/// A world behind a good network, straight or with the relay alone.
async fn behind(plant: &Plant, straight: bool) -> Result<World, Mishap> {
    let fleet = plant.services().allow("anna", &["web", "source", "sink"]);
    World::behind(GOOD, straight, LAB, &fleet).await
}

/// What a network does to packets for a while.
struct Trouble {
    what: &'static str,
    conditions: Conditions,
    lasts: Duration,
}

const fn lossy(what: &'static str, loss: f64) -> Trouble {
    Trouble { what, conditions: Conditions { loss, ..GOOD }, lasts: Duration::from_secs(2) }
}

/// Has a tunnel live through each of them; there and back alike.
async fn lives_through(straight: bool, troubles: &[Trouble]) -> Outcome {
    let plant = Plant::start().await?;
    let world = behind(&plant, straight).await?;
    let anna = world.person("anna").await?;
    let (session, other) = (anna.connect("source").await?, anna.connect("sink").await?);
    let (down, up) = (Flow::download(&session).await?, Flow::upload(&other).await?);
    for Trouble { what, conditions, lasts } in troubles {
        for path in world.paths() {
            path.change(*conditions);
        }
        tokio::time::sleep(*lasts).await;
        for path in world.paths() {
            path.change(GOOD);
        }
        let back = Instant::now();
        down.receives(MORE).await?;
        up.sends(MORE).await?;
        println!("{what}: {:?} after the network was back", back.elapsed());
        assert!(back.elapsed() < Duration::from_secs(10), "{what}: {:?}", back.elapsed());
    }
    Ok(())
}

/// Bytes that were in no buffer when the network was back.
const MORE: u64 = 600_000;

const BLACKOUT: Trouble = Trouble {
    what: "nothing at all for so long that QUIC by itself would wait for as long again",
    conditions: Conditions { loss: 1.0, ..GOOD },
    lasts: Duration::from_secs(20),
};
/// Two seconds there and back, over `ways` such networks.
const fn far(ways: u64) -> Trouble {
    Trouble {
        what: "two seconds there and back",
        conditions: Conditions { delay: Duration::from_millis(1000 / ways), ..GOOD },
        lasts: Duration::from_secs(4),
    }
}
const UNTIDY: Trouble = Trouble {
    what: "packets that overtake one another",
    conditions: Conditions { late: 0.3, late_by: Duration::from_millis(40), ..GOOD },
    lasts: Duration::from_secs(2),
};
const HOLE: Trouble = Trouble {
    what: "a black hole for packets above 1,280 bytes",
    conditions: Conditions { largest: 1280, ..GOOD },
    lasts: Duration::from_secs(3),
};

#[tokio::test]
async fn a_straight_tunnel_lives_through_losses_of_a_twentieth_a_fifth_and_more_than_half() -> Outcome {
    lives_through(true, &[lossy("5 %", 0.05), lossy("20 %", 0.2), lossy("60 %", 0.6)]).await
}

#[tokio::test]
async fn a_relayed_tunnel_lives_through_losses_of_a_twentieth_a_fifth_and_more_than_half() -> Outcome {
    lives_through(false, &[lossy("5 %", 0.05), lossy("20 %", 0.2), lossy("60 %", 0.6)]).await
}

#[tokio::test]
async fn a_straight_tunnel_lives_through_long_ways_overtaking_black_holes_and_nothing_at_all() -> Outcome {
    lives_through(true, &[UNTIDY, HOLE, far(1), BLACKOUT]).await
}

#[tokio::test]
async fn a_relayed_tunnel_lives_through_long_ways_overtaking_black_holes_and_nothing_at_all() -> Outcome {
    lives_through(false, &[UNTIDY, HOLE, far(2), BLACKOUT]).await
}

#[tokio::test]
async fn in_a_black_hole_that_stays_a_tunnel_goes_on_with_smaller_packets() -> Outcome {
    let plant = Plant::start().await?;
    let world = behind(&plant, true).await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("source").await?;
    let down = Flow::download(&session).await?;
    down.receives(2 * MORE).await?;
    for path in world.paths() {
        path.change(HOLE.conditions);
    }
    let began = Instant::now();
    down.receives(2 * MORE).await?;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_tunnel_goes_on_when_a_nat_forgets_everybody() -> Outcome {
    for straight in [true, false] {
        let plant = Plant::start().await?;
        let world = behind(&plant, straight).await?;
        let anna = world.person("anna").await?;
        let (session, other) = (anna.connect("source").await?, anna.connect("sink").await?);
        let (down, up) = (Flow::download(&session).await?, Flow::upload(&other).await?);
        for _ in 0..3 {
            down.receives(MORE).await?;
            up.sends(MORE).await?;
            for path in world.paths() {
                path.forget();
            }
            let began = Instant::now();
            down.receives(MORE).await?;
            up.sends(MORE).await?;
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        }
    }
    Ok(())
}

/// Takes a minute, of which nearly all is silence.
#[tokio::test]
async fn who_slept_for_longer_than_a_connection_lasts_is_connected_again_at_once() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = behind(&plant, true).await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("web").await?;
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
    // As a laptop and a router that are suspended at the same time: each finds the other one gone.
    session.signal(Signal::STOP);
    world.device.running()?.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(47)).await;
    world.device.running()?.signal(Signal::CONT);
    session.signal(Signal::CONT);
    let back = Instant::now();
    while http_page(&session, "/machine-info").await.map(|page| page.status).ok() != Some(200) {
        assert!(back.elapsed() < Duration::from_secs(10), "no page");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    Ok(())
}
