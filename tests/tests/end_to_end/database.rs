//! The state of the installation on a real PostgreSQL server: it dies and comes back, and of two hubs with its keys one serves.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use postern_postgres::Server;
use postern_tests::world::{Bus, World};

use super::gate::{DENIED, echoed};
use super::peers::programs;
use super::stage::{LAB, Outcome, Plant};
use super::trail::{alarms, note, same, uploaded, verified};

/// A device that hears nothing dials again after 75 s at the latest.
const PATIENCE: Duration = Duration::from_secs(100);

#[tokio::test]
async fn a_state_on_a_server_outlives_the_server_and_no_row_is_lost_or_doubled() -> Outcome {
    let Some(mut server) = Server::start() else { return Ok(()) };
    let plant = Plant::start().await?;
    let (world, _second) = World::on_a_server(&server.database(), None, LAB, &plant.fleet()).await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"x").await?, b"x");
    note(&world).await?;
    uploaded(&world).await?;
    for _ in 0..2 {
        // Within seconds, or the hub ends: another one could serve by then.
        server.kill();
        let refused = world.hub.call(["device", "list"]).finish().await?.expect_code(5)?;
        assert!(refused.err.contains("the database: the server cannot be reached"), "{}", refused.err);
        server.start_again();
        assert_eq!(echoed(&mut session.exchange().await?, b"y").await?, b"y");
        note(&world).await?;
        uploaded(&world).await?;
        same(&world).await?;
    }
    // What is withdrawn is cut, and the hub is the same that it was.
    world.apply(&plant.services().allow("bert", &["hmi"])).await?;
    assert_eq!(anna.refused("echo").await?.expect_code(DENIED)?.out, "");
    let bert = world.person("bert").await?;
    assert_eq!(bert.refused("echo").await?.expect_code(DENIED)?.out, "");
    uploaded(&world).await?;
    same(&world).await?;
    verified(&world).await?;
    let listed = world.hub.call(["audit", "list", "--user", "anna"]).finish().await?.expect_code(0)?;
    assert!(listed.out.contains("echo"), "{}", listed.out);
    assert_eq!(alarms(&world).await?, Vec::<String>::new());
    assert!(world.hub.log().contains("this hub goes on"), "{}", world.hub.log());
    // The directory has keys, and no state.
    assert!(!world.hub.state_dir().join("cloud.db").exists());
    Ok(())
}

#[tokio::test]
async fn a_second_hub_takes_the_place_of_one_that_was_killed_and_no_sooner() -> Outcome {
    let Some(server) = Server::start() else { return Ok(()) };
    let plant = Plant::start().await?;
    let (mut world, mut second) = World::on_a_server(&server.database(), None, LAB, &plant.fleet()).await?;
    second.stand_by().await?;
    // It does not serve: its port is free.
    UdpSocket::bind(second.address())?;
    assert_eq!(second.running()?.log().matches("listening on").count(), 0);
    let anna = world.person("anna").await?;
    let session = anna.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"x").await?, b"x");
    uploaded(&world).await?;
    let begun = Instant::now();
    world.hub.kill().await?;
    second.takes_over().await?;
    let serves = begun.elapsed();
    // An edit is made beside the second, and comes into force on the device, which hears at the end of its patience, if not sooner, that the first is gone.
    second.apply(&plant.services().allow("anna", &["web"]).to_toml(), &[]).await?;
    note(&world).await?;
    while second.until_acknowledged("press-7").await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the device does not go to the other hub");
    }
    println!("serves after {serves:?}, new policy in force after {:?}", begun.elapsed());
    assert_eq!(anna.refused("echo").await?.expect_code(DENIED)?.out, "");
    uploaded(&world).await?;
    same(&world).await?;
    // The first comes back, and waits in its turn.
    world.hub.stand_by().await?;
    second.stop().await?;
    world.hub.takes_over().await?;
    world.apply(&plant.fleet()).await?;
    uploaded(&world).await?;
    same(&world).await?;
    assert_eq!(alarms(&world).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn people_at_an_edge_reach_whichever_hub_has_the_model() -> Outcome {
    let Some([nats]) = programs("people_at_an_edge_reach_whichever_hub_has_the_model", ["nats-server"])
    else {
        return Ok(());
    };
    let Some(server) = Server::start() else { return Ok(()) };
    let (bus, plant) = (Bus::start(&nats, 1).await?, Plant::start().await?);
    let (mut world, mut second) =
        World::on_a_server(&server.database(), Some(&bus), LAB, &plant.fleet()).await?;
    let edge = world.edge_of_two(&second, &bus).await?;
    let anna = world.person_at("anna", &edge).await?;
    second.stand_by().await?;
    let key = world.hub.key().await?;
    let begun = Instant::now();
    world.hub.kill().await?;
    second.takes_over().await?;
    // Whoever has the model knows the password.
    while anna.login_at(edge.address(), &key).await?.expect_code(0).is_err() {
        assert!(begun.elapsed() < PATIENCE, "{}", edge.log());
    }
    println!("somebody has signed in after {:?}", begun.elapsed());
    let refused = second.call(["serve", "--listen", "127.0.0.1:0"]).finish().await?.expect_code(6)?;
    assert!(refused.err.contains("another hub runs on"), "{}", refused.err);
    Ok(())
}
