//! `postern vpn DEVICE`: the machine network, for programs that know nothing of proxies, over a network adapter of this computer.
//!
//! 1. A program with the right to do so makes the adapter and hands it over ([`grip`]). This one has no right but that.
//! 2. The user's VPN services of the device are opened, or the named one ([`lanes`]); the device says where they lead.
//! 3. Networks that this computer has already get other addresses on it ([`alias`]); the device hears real ones. Routes lead
//!    to machines that are granted, and nowhere else.
//! 4. Packets of programs come from the adapter ([`tun`], [`virtio`], [`fragments`], [`packet`]) and are sorted by flow ([`table`]). Each
//!    flow is asked of the device ([`flow`]); TCP ends here, in a TCP of its own ([`stack`]), and the bytes go on in a stream.
//! 5. Who is refused hears it at once, as from a firewall or the machine itself ([`answer`]).
//! 6. Where flows may go changes while the VPN is up, and so do the networks that this computer is in; routes follow.
//! 7. It ends with Ctrl-C, `--down`, the device's word or the adapter's end: connections are reset, and the adapter vanishes with its
//!    addresses and routes. That holds for `kill -9` as well: the kernel takes it away with its last file.
//! 8. [`ledger`] and [`status`] say what it does.
//! 9. With `--packets` steps 4 and 5 are the device's: packets go there as they are ([`carriers`]), and are counted ([`tally`]).
//!
//! Deliberately absent: names. Machines are reached by their addresses; a resolver of the site would be asked about
//! everything that this computer does.

mod alias;
mod answer;
mod carriers;
mod flow;
mod fragments;
mod grip;
mod lanes;
mod ledger;
mod packet;
mod place;
mod stack;
mod status;
mod table;
mod tally;
mod traffic;
mod tun;
mod virtio;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use postern_adapter::host::Host;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use postern_protocol::id::DeviceId;
use postern_protocol::policy::Mode;

use self::alias::Plan;
use self::flow::Ways;
use self::grip::Grip;
use self::lanes::{Event, Lanes};
use self::ledger::Ledger;
use self::place::Place;
use self::status::{NETWORKS, NetworkReport, Server, Shown};
use self::tally::Tally;
use self::traffic::Traffic;
use self::tun::Tun;
use super::gateway::Gateway;
use super::session::{Reached, Session};
use crate::args::AdapterArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::profile::Profile;
use crate::screen::Screen;

/// Brings a VPN up and stays until it ends, or asks about those that are up.
pub(crate) async fn run(args: &AdapterArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let place = Place::make(profile.dir())?;
    if let Some(device) = &args.down {
        return status::end(device, &place, screen).await;
    }
    let Some(vpn) = args.vpn() else { return status::show(&place, screen).await };
    // Before the device is troubled: without the right nothing is opened.
    let grip = Grip::take(&place, screen).await?;
    let (session, gateways, Reached { device, at: mut needed }) =
        Session::start_all(&vpn, profile, screen).await?;
    let hubs = profile.membership()?.map(|membership| membership.hubs).unwrap_or_default();
    needed.extend(hubs.iter().map(|hub| hub.ip()));
    let wanted = Wanted { gateways, device, always: args.alias, packets: args.packets, needed };
    let opened = Running::open(wanted, &session, (grip, &place)).await;
    let screen = *screen;
    // On the heap: it is large, and lies beside what dials again.
    session.run(Box::pin(async move { opened?.serve(&screen).await })).await
}

/// What is opened.
struct Wanted {
    gateways: Vec<Arc<Gateway>>,
    device: DeviceId,
    /// Whether all networks get aliases.
    always: bool,
    /// Whether packets go as they are.
    packets: bool,
    /// Hosts that are reached without the adapter: the device itself, and the hub.
    needed: Vec<IpAddr>,
}

/// A VPN that is up.
struct Running {
    grip: Grip,
    lanes: Lanes,
    events: mpsc::Receiver<Event>,
    traffic: Traffic,
    problems: mpsc::Receiver<Problem>,
    tun: Arc<Tun>,
    shown: Arc<Shown>,
    needed: Vec<IpAddr>,
    mode: Mode,
    recorded: bool,
    _server: Server,
}

impl Running {
    async fn open(
        wanted: Wanted,
        session: &Session<'_>,
        (mut grip, place): (Grip, &Place),
    ) -> Result<Self, Problem> {
        let Wanted { gateways, device, always, packets, needed } = wanted;
        let (lanes, events) = Lanes::watch(gateways.clone()).await;
        let empty = Plan::new(*device.as_bytes(), always);
        let mut made = make(&empty, &lanes, (&needed, packets), &mut grip).await;
        if made.is_err() {
            // Another VPN may have come up at the same time.
            made = make(&empty, &lanes, (&needed, packets), &mut grip).await;
        }
        let Made { plan, interface, file } = made?;
        let tun = Arc::new(Tun::new(file, packets).map_err(|_| Problem::adapter_gone())?);
        let tally = packets.then(Arc::<Tally>::default);
        let ledger = Arc::new(Ledger::default());
        let networks = NetworkReport::of(&plan, &lanes);
        let shown = Arc::new(Shown {
            device: session.device.clone(),
            interface,
            ledger: Arc::clone(&ledger),
            tally: tally.clone(),
            lanes: lanes.clone(),
            networks: Mutex::new(networks),
            since: Instant::now(),
            down: Notify::new(),
        });
        let server = Server::start(place, Arc::clone(&shown))?;
        let ways = Ways { tun: Arc::clone(&tun), ledger };
        let (traffic, problems) = Traffic::begin((gateways, lanes.clone()), plan, ways, tally);
        let (mode, recorded) = (session.mode, session.recorded);
        Ok(Self {
            grip,
            lanes,
            events,
            traffic,
            problems,
            tun,
            shown,
            needed,
            mode,
            recorded,
            _server: server,
        })
    }

    async fn serve(mut self, screen: &Screen) -> Result<Exit, Problem> {
        // Ctrl-C is listened to from here on, and only then is anything said: programs send it as soon as they have read.
        tokio::task::yield_now().await;
        self.announce(screen);
        let mut buffer = vec![0; LARGEST];
        let mut tasks = JoinSet::new();
        let mut glances = tokio::time::interval(GLANCE);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (tun, shown) = (Arc::clone(&self.tun), Arc::clone(&self.shown));
        loop {
            tokio::select! {
                ready = tun.ready() => {
                    let read = ready.and_then(|ready| {
                        ready.read(&mut buffer, |said, packet| self.traffic.pass(said, packet, &mut tasks))
                    });
                    read.map_err(|_| Problem::adapter_gone())?;
                    // Flows have their turn before the next burst.
                    tokio::task::yield_now().await;
                }
                Some(ended) = tasks.join_next() => self.traffic.forget(ended.ok()),
                Some(problem) = self.problems.recv() => return Err(problem),
                Some(event) = self.events.recv() => self.take(event, screen).await?,
                _time = glances.tick() => self.replan(screen).await?,
                problem = self.grip.gone() => {
                    // Ctrl-C ends that program as well.
                    tokio::time::sleep(INTERRUPTED).await;
                    return Err(problem);
                }
                () = shown.down.notified() => return Ok(Exit::Done),
            }
        }
    }

    /// Whether packets go as they are.
    const fn is_plain(&self) -> bool {
        matches!(self.traffic, Traffic::Packets(_))
    }

    fn announce(&self, screen: &Screen) {
        let networks = self.shown.networks.lock().unwrap_or_else(PoisonError::into_inner);
        screen.answer(&VpnAnswer {
            device: &self.shown.device,
            services: &self.lanes.names(),
            mode: self.mode,
            recorded: self.recorded,
            interface: &self.shown.interface,
            addresses: &addresses(&self.traffic.plan(), self.is_plain()),
            packets: self.is_plain(),
            networks: &networks,
        });
        screen.list(&NETWORKS, &networks.iter().map(NetworkReport::columns).collect::<Vec<_>>());
    }

    /// Follows what has happened to a service.
    async fn take(&mut self, event: Event, screen: &Screen) -> Result<(), Problem> {
        match event {
            Event::Leads(index, destinations) => self.lanes.lead(index, destinations),
            Event::Over { index, service, problem } => {
                if !self.lanes.close(index) {
                    return Err(problem);
                }
                screen.note(&problem.about(&format!("{}/{service}", self.shown.device)).to_string());
            }
        }
        self.replan(screen).await
    }

    /// Follows where services lead, and what networks this computer has joined or left.
    async fn replan(&mut self, screen: &Screen) -> Result<(), Problem> {
        let host = host(Some(&self.shown.interface), &self.needed)?;
        let before = self.traffic.plan();
        let plan = before.revised(&networks(&self.lanes, self.is_plain()), &host);
        if plan.routes() != before.routes() && !self.grip.route(plan.routes()).await? {
            return Ok(());
        }
        let networks = NetworkReport::of(&plan, &self.lanes);
        self.traffic.replan(plan);
        let mut shown = self.shown.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown != networks {
            screen.note(&format!("{}: machines are reached elsewhere now", self.shown.device));
            screen.list(&NETWORKS, &networks.iter().map(NetworkReport::columns).collect::<Vec<_>>());
            *shown = networks;
        }
        Ok(())
    }
}

/// An adapter that was made, and what it is for.
struct Made {
    plan: Plan,
    interface: String,
    file: OwnedFd,
}

async fn make(
    empty: &Plan,
    lanes: &Lanes,
    (needed, plain): (&[IpAddr], bool),
    grip: &mut Grip,
) -> Result<Made, Problem> {
    let plan = empty.revised(&networks(lanes, plain), &host(None, needed)?);
    if plan.routes().is_empty() {
        let networks = NetworkReport::of(&plan, lanes);
        let words: Vec<&str> = networks.iter().filter_map(|network| network.why.as_deref()).collect();
        return Err(Problem::no_network_here(&words.join(", ")));
    }
    let (interface, file) = grip.create(addresses(&plan, plain), plan.routes(), plain).await?;
    Ok(Made { plan, interface, file })
}

/// What routes must not take over: what this computer says, and `needed`.
fn host(without: Option<&str>, needed: &[IpAddr]) -> Result<Host, Problem> {
    let mut host = Host::read(without).map_err(|error| Problem::routes_unknown(&error))?;
    host.needed.extend(needed);
    Ok(host)
}

/// Networks to which services lead. Packets are IPv4 alone.
fn networks(lanes: &Lanes, plain: bool) -> Vec<IpNet> {
    lanes.networks().into_iter().filter(|net| !plain || net.addr().is_ipv4()).collect()
}

/// The adapter's own address of each family that is carried.
fn addresses(plan: &Plan, plain: bool) -> Vec<IpAddr> {
    let families: &[bool] = if plain { &[true] } else { &[true, false] };
    families.iter().map(|v4| plan.own_address(*v4)).collect()
}

#[derive(Serialize)]
struct VpnAnswer<'a> {
    device: &'a str,
    services: &'a [String],
    mode: Mode,
    recorded: bool,
    interface: &'a str,
    addresses: &'a [IpAddr],
    packets: bool,
    networks: &'a [NetworkReport],
}

/// The largest packet, and what is said of it.
const LARGEST: usize = 65_535 + virtio::HEADER;
/// How often it is looked whether this computer is in another network.
const GLANCE: Duration = Duration::from_secs(3);
/// Ctrl-C comes to all programs at the terminal within this time.
const INTERRUPTED: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_with_the_device_or_the_hub_in_it_keeps_its_addresses_for_them() {
        let hub: IpAddr = "10.255.7.40".parse().unwrap();
        let network = "10.255.7.0/24".parse().unwrap();
        let empty = Plan::new([1; 8], false);
        let without = empty.revised(&[network], &host(None, &[]).unwrap());
        assert_eq!(without.routes(), [network]);
        let with = empty.revised(&[network], &host(None, &[hub]).unwrap());
        assert_eq!((with.routes().len(), with.real(hub)), (1, None));
        assert_ne!(with.routes(), [network]);
    }
}
