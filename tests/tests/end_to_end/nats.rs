//! Device and engineer behind routers that translate addresses: the relay brings them together, and they find a way without it where
//! routers allow it. Tunnels stay open whatever becomes of the way, and of the addresses of both.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use postern_tests::world::flow::Flow;
use postern_tests::world::nats::{HUB, Nats, Place, Ports};
use postern_tests::world::{Mishap, Person, Session, World};
use tokio::time::Instant;

use super::peers::{missing, programs};
use super::stage::{LAB, Outcome, Plant};

/// Device, hub and Anna, each in a network of its own.
struct Apart {
    world: World,
    _plant: Plant,
    anna: Person,
    nats: Nats,
}

impl Apart {
    /// None where this has no right to make networks. The calling thread is where Anna is.
    async fn begin(test: &str, ports: Ports) -> Result<Option<Self>, Mishap> {
        let found: Option<[_; 2]> = programs(test, ["ip", "nft"]);
        if found.is_none() {
            return Ok(None);
        }
        let Some(nats) = Nats::make(ports)? else {
            missing(test, "the right to make network namespaces (root)");
            return Ok(None);
        };
        nats.enter(Place::Between)?;
        let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 47_000));
        let mut world = World::apart(HUB, listen, LAB).await?;
        nats.enter(Place::Device)?;
        let plant = Plant::start().await?;
        let fleet = plant.services().allow("anna", &["web", "source"]);
        world.hub.apply(&fleet.to_toml(), &[]).await?;
        nats.enter(Place::Between)?;
        world.hub.serve().await?;
        nats.enter(Place::Device)?;
        world.enroll().await?;
        world.device.run().await?;
        world.settle().await?;
        nats.enter(Place::Person)?;
        let anna = world.person("anna").await?;
        Ok(Some(Self { world, _plant: plant, anna, nats }))
    }

    /// A tunnel through which bytes come without end, and how they come.
    async fn open(&self) -> Result<(Session, Flow), Mishap> {
        let session = self.anna.connect("source").await?;
        session.notice("is reached through the relay at").await?;
        let flow = Flow::download(&session).await?;
        flow.receives(MORE).await?;
        Ok((session, flow))
    }

    /// By which path Anna comes now, as the device sees it.
    async fn path(&self) -> Result<String, Mishap> {
        let sessions =
            self.world.device.call(["sessions", "--json"]).finish().await?.expect_code(0)?.json()?;
        let path = sessions.pointer("/sessions/0/path").or_else(|| sessions.pointer("/0/path"));
        let path = path.and_then(|path| path.as_str()).map(str::to_owned);
        path.ok_or_else(|| Mishap::unexpected("the sessions of the device", sessions, "a path"))
    }

    async fn until_path(&self, wanted: &str, within: Duration) -> Outcome {
        let began = Instant::now();
        loop {
            let path = self.path().await?;
            if path == wanted {
                return Ok(());
            }
            if began.elapsed() > within {
                return Err(Mishap::unexpected("the path of a session", path, wanted));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The tunnel goes on within ten seconds.
async fn goes_on(flow: &Flow) -> Outcome {
    let began = Instant::now();
    flow.receives(MORE).await?;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    Ok(())
}

/// Bytes that are in no buffer any more.
const MORE: u64 = 4_000_000;

#[tokio::test]
async fn two_nats_that_keep_ports_are_passed_straight_while_a_tunnel_is_open_and_left_when_they_close()
-> Outcome {
    let name = "two_nats_that_keep_ports_are_passed_straight_while_a_tunnel_is_open_and_left_when_they_close";
    let Some(apart) = Apart::begin(name, Ports::Kept).await? else { return Ok(()) };
    let (_session, flow) = apart.open().await?;
    apart.until_path("direct", Duration::from_secs(20)).await?;
    goes_on(&flow).await?;
    apart.nats.close_door()?;
    apart.until_path("relayed", Duration::from_secs(10)).await?;
    goes_on(&flow).await
}

#[tokio::test]
async fn nats_that_take_another_port_for_each_destination_leave_the_relay() -> Outcome {
    let name = "nats_that_take_another_port_for_each_destination_leave_the_relay";
    let Some(apart) = Apart::begin(name, Ports::Random).await? else { return Ok(()) };
    let (_session, flow) = apart.open().await?;
    let began = Instant::now();
    // Past the third attempt.
    while began.elapsed() < Duration::from_secs(8) {
        flow.receives(1).await?;
        assert_eq!(apart.path().await?, "relayed");
    }
    goes_on(&flow).await
}

#[tokio::test]
async fn tunnels_live_through_a_router_that_is_started_anew_and_other_addresses_of_device_and_engineer()
-> Outcome {
    let name =
        "tunnels_live_through_a_router_that_is_started_anew_and_other_addresses_of_device_and_engineer";
    let Some(apart) = Apart::begin(name, Ports::Random).await? else { return Ok(()) };
    let (_session, flow) = apart.open().await?;
    apart.nats.restart_door()?;
    goes_on(&flow).await?;

    apart.nats.move_to_another_address(Place::Device)?;
    let began = Instant::now();
    goes_on(&flow).await?;
    // The first was that of the start.
    while apart.world.device.log().matches("the link to the hub is up").count() < 2 {
        assert!(began.elapsed() < Duration::from_secs(10), "no new link");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    apart.nats.move_to_another_address(Place::Person)?;
    goes_on(&flow).await
}
