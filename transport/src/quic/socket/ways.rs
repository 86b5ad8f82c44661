//! The ways of an endpoint: by which means packets of a peer travel now.
//!
//! 1. A way belongs to a peer, which quinn knows by an address. For a peer without one of its own, and for one with several
//!    ways, that address is made up: it lies in 240.0.0.0/4, which is no network's (RFC 1112 section 4).
//! 2. [`Ways::passage`] says where a packet for a peer goes: the route that was set last. [`Ways::peer_of`] and
//!    [`Ways::peer_of_leg`] say whose a packet is that has come: one of any of its ways.
//! 3. The legs of ways through a relay bind themselves: whoever keeps one asks [`Ways::poll_bind`].
//!
//! Deliberately absent: trust. Who sends a packet under another's address or handle sends something that QUIC refuses.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use postern_protocol::path::Path;
use postern_protocol::session::leg::{Bound, Leg};
use postern_protocol::time::BootTime;
use postern_protocol::wire::relay::{Handle, Packet, split};

use super::inbox::Inbox;
use crate::frames::Outbox;

/// Every way of one endpoint.
#[derive(Debug)]
pub(in super::super) struct Ways {
    state: Mutex<State>,
    /// Whether there are any, for those who ask with each packet.
    some: AtomicBool,
    inbox: Inbox,
    /// Whether the socket is of IPv6, and IPv4 addresses are written as its own.
    is_ipv6: bool,
    began: Instant,
}

/// Names a way of one endpoint; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct WayId(u32);

/// How packets travel.
#[derive(Debug)]
pub(in super::super) enum Means {
    /// Straight to this address.
    Direct(SocketAddr),
    /// Over UDP to a relay, with a leg there.
    Relayed(SocketAddr, Leg),
    /// As frames over a connection with this address: with a leg at the relay that is at its other end, or to the peer itself.
    Stream(Arc<Outbox>, SocketAddr, Option<Leg>),
}

/// Where a packet goes.
#[derive(Debug)]
pub(super) enum Passage {
    Direct(SocketAddr),
    Relayed(SocketAddr, Handle),
    Stream(Arc<Outbox>, Option<Handle>),
    Nowhere,
}

/// What the one who keeps a way's leg bound has to do.
#[derive(Debug)]
pub(in super::super) struct Binding {
    /// Where a notice goes that is due.
    pub(in super::super) notice: Option<(Errand, Vec<u8>)>,
    /// When to ask again.
    pub(in super::super) wait: Duration,
}

/// How a notice travels.
#[derive(Debug)]
pub(in super::super) enum Errand {
    Datagram(SocketAddr),
    Frame(Arc<Outbox>),
}

#[derive(Debug, Default)]
struct State {
    ways: HashMap<WayId, Way>,
    routes: HashMap<SocketAddr, WayId>,
    direct: HashMap<SocketAddr, SocketAddr>,
    /// Relays, each with the number of ways through it.
    relays: HashMap<SocketAddr, u32>,
    legs: HashMap<(SocketAddr, Handle), WayId>,
    ways_made: u32,
    peers_made: u32,
    /// That of the newest notice to a relay: two ways may have one right.
    stamp: u64,
}

#[derive(Debug)]
struct Way {
    peer: SocketAddr,
    means: Means,
    heard: Option<BootTime>,
    visits: Visits,
    /// What the relay said last; changes wake whoever keeps the leg bound as well.
    bound: watch::Sender<Option<Bound>>,
}

/// Who has come by a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visits {
    /// Nobody yet.
    None,
    /// So many connections, or attempts at one.
    Some(u32),
    /// All who came have left.
    Over,
}

/// Somebody who came by the ways of a peer; dropping it says that they have left.
#[derive(Debug)]
pub struct Visit {
    ways: Arc<Ways>,
    peer: SocketAddr,
}

impl Visit {
    pub(in super::super) fn new(ways: Arc<Ways>, peer: SocketAddr) -> Self {
        ways.visit(peer, |visits| match visits {
            Visits::None | Visits::Over => Visits::Some(1),
            Visits::Some(count) => Visits::Some(count.saturating_add(1)),
        });
        Self { ways, peer }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.ways.visit(self.peer, |visits| match visits {
            // The way came after its visitor.
            Visits::None => Visits::None,
            Visits::Over | Visits::Some(..=1) => Visits::Over,
            Visits::Some(count) => Visits::Some(count - 1),
        });
    }
}

impl Ways {
    /// None yet.
    pub(in super::super) fn new(is_ipv6: bool) -> Self {
        let (state, some) = (Mutex::default(), AtomicBool::new(false));
        Self { state, some, inbox: Inbox::default(), is_ipv6, began: Instant::now() }
    }

    /// An address for a peer that has none of its own.
    pub(in super::super) fn new_peer(&self) -> SocketAddr {
        let mut state = self.lock();
        // After 2^28 peers the first ones are long gone.
        let number = state.peers_made & !MADE_UP_NET;
        state.peers_made = state.peers_made.wrapping_add(1);
        self.outer((Ipv4Addr::from(MADE_UP_NET | number), 1).into())
    }

    /// A way to a peer. It is not the route as long as there is another one.
    pub(in super::super) fn add(
        &self,
        peer: SocketAddr,
        means: Means,
    ) -> (WayId, watch::Receiver<Option<Bound>>) {
        let peer = self.outer(peer);
        let means = match means {
            Means::Direct(addr) => Means::Direct(self.outer(addr)),
            Means::Relayed(relay, leg) => Means::Relayed(self.outer(relay), leg),
            same @ Means::Stream(..) => same,
        };
        let mut state = self.lock();
        let id = WayId(state.ways_made);
        state.ways_made = state.ways_made.wrapping_add(1);
        match &means {
            Means::Direct(addr) => drop(state.direct.insert(*addr, peer)),
            Means::Relayed(relay, _) => *state.relays.entry(*relay).or_default() += 1,
            Means::Stream(..) => {}
        }
        let (bound, watcher) = watch::channel(None);
        state.ways.insert(id, Way { peer, means, heard: None, visits: Visits::None, bound });
        state.routes.entry(peer).or_insert(id);
        self.some.store(true, Ordering::Release);
        (id, watcher)
    }

    /// Sends what is for the way's peer by this way from now on; false when the way is gone.
    pub(in super::super) fn take(&self, id: WayId) -> bool {
        let mut state = self.lock();
        let Some(peer) = state.ways.get(&id).map(|way| way.peer) else { return false };
        state.routes.insert(peer, id);
        true
    }

    /// Forgets a way. Where it was the route, another one of the peer is, if there is one.
    pub(in super::super) fn remove(&self, id: WayId) {
        let mut state = self.lock();
        let Some(way) = state.ways.remove(&id) else { return };
        match way.means {
            // Another peer may have been found there since.
            Means::Direct(addr) if state.direct.get(&addr) == Some(&way.peer) => {
                state.direct.remove(&addr);
            }
            Means::Direct(_) => {}
            Means::Relayed(relay, _) => {
                if let Some(count) = state.relays.get_mut(&relay) {
                    *count -= 1;
                }
                state.relays.retain(|_, count| *count > 0);
            }
            Means::Stream(outbox, ..) => outbox.close(),
        }
        state.legs.retain(|_, leg| *leg != id);
        if state.routes.get(&way.peer) == Some(&id) {
            let other = state.ways.iter().find(|(_, other)| other.peer == way.peer).map(|(id, _)| *id);
            match other {
                Some(other) => drop(state.routes.insert(way.peer, other)),
                None => drop(state.routes.remove(&way.peer)),
            }
        }
        if state.ways.is_empty() {
            self.some.store(false, Ordering::Release);
        }
    }

    /// What a way's relay is to be told, and when to ask again; none when the way is gone or has no leg.
    pub(in super::super) fn poll_bind(&self, id: WayId) -> Option<Binding> {
        let now = self.now();
        let mut state = self.lock();
        let State { ways, stamp, .. } = &mut *state;
        let (errand, leg) = match &mut ways.get_mut(&id)?.means {
            Means::Direct(_) | Means::Stream(_, _, None) => return None,
            Means::Relayed(relay, leg) => (Errand::Datagram(*relay), leg),
            Means::Stream(outbox, _, Some(leg)) => (Errand::Frame(Arc::clone(outbox)), leg),
        };
        let notice = leg.poll_bind(now, stamp).map(|notice| (errand, notice));
        Some(Binding { notice, wait: leg.timeout().since(now) })
    }

    /// Binds a way's leg again: the own address has changed.
    pub(in super::super) fn rebind(&self, id: WayId) {
        let now = self.now();
        if let Some(way) = self.lock().ways.get_mut(&id)
            && let Means::Relayed(_, leg) | Means::Stream(_, _, Some(leg)) = &mut way.means
        {
            leg.rebind(now);
            way.bound.send_modify(|_same| {});
        }
    }

    /// The address to which packets for a peer go now: its own, a relay's, or that of a connection.
    pub(in super::super) fn origin(&self, peer: SocketAddr) -> SocketAddr {
        let state = self.lock();
        match state.routes.get(&peer).and_then(|id| state.ways.get(id)).map(|way| &way.means) {
            Some(Means::Direct(addr) | Means::Relayed(addr, _) | Means::Stream(_, addr, _)) => *addr,
            None => peer,
        }
    }

    /// By which path packets for a peer go now.
    pub(in super::super) fn path(&self, peer: SocketAddr) -> Path {
        let state = self.lock();
        match state.routes.get(&peer).and_then(|id| state.ways.get(id)).map(|way| &way.means) {
            None | Some(Means::Direct(_)) => Path::Direct,
            Some(Means::Stream(_, _, None)) => Path::Tls,
            Some(Means::Relayed(..)) => Path::Relayed,
            Some(Means::Stream(_, _, Some(_))) => Path::RelayedTls,
        }
    }

    /// How long ago something came by this way; none before the first packet.
    pub(in super::super) fn silence(&self, id: WayId) -> Option<Duration> {
        let now = self.now();
        self.lock().ways.get(&id)?.heard.map(|heard| now.since(heard))
    }

    /// Whether somebody came by this way, and all who did have left; so is a way that is gone.
    pub(in super::super) fn is_left(&self, id: WayId) -> bool {
        self.lock().ways.get(&id).is_none_or(|way| way.visits == Visits::Over)
    }

    /// Whether somebody came by this way; nobody does by one that is gone.
    pub(in super::super) fn is_visited(&self, id: WayId) -> bool {
        self.lock().ways.get(&id).is_some_and(|way| way.visits != Visits::None)
    }

    fn visit(&self, peer: SocketAddr, change: impl Fn(Visits) -> Visits) {
        if !self.some.load(Ordering::Acquire) {
            return;
        }
        for way in self.lock().ways.values_mut().filter(|way| way.peer == peer) {
            way.visits = change(way.visits);
            way.bound.send_modify(|_same| {});
        }
    }

    /// Takes a frame that came over the connection of a way.
    pub(in super::super) fn take_frame(&self, id: WayId, frame: &[u8]) {
        let now = self.now();
        let mut state = self.lock();
        let Some(way) = state.ways.get_mut(&id) else { return };
        let peer = way.peer;
        let packet = match (&mut way.means, split(frame)) {
            (Means::Stream(_, _, None), _) => frame,
            (Means::Stream(_, _, Some(leg)), Some(Packet::Data(handle, packet)))
                if leg.handle() == Some(handle) =>
            {
                packet
            }
            (Means::Stream(_, _, Some(leg)), Some(Packet::Notice(notice))) => {
                if leg.handle_notice(notice, now).is_ok() {
                    let bound = leg.bound();
                    way.bound.send_replace(bound);
                }
                return;
            }
            _ => return,
        };
        if way.heard.replace(now).is_none() {
            // Somebody may wait for the first packet.
            way.bound.send_modify(|_same| {});
        }
        drop(state);
        self.inbox.put(peer, packet);
    }

    pub(super) const fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Whether packets go and come as quinn says.
    pub(super) fn is_empty(&self) -> bool {
        !self.some.load(Ordering::Acquire)
    }

    /// Where a packet for `peer` goes; none for one that has no way, which is its address.
    pub(super) fn passage(&self, peer: SocketAddr) -> Option<Passage> {
        if self.is_empty() {
            return is_made_up(peer).then_some(Passage::Nowhere);
        }
        let state = self.lock();
        let Some(way) = state.routes.get(&peer).and_then(|id| state.ways.get(id)) else {
            return is_made_up(peer).then_some(Passage::Nowhere);
        };
        Some(way.passage())
    }

    /// Where a packet goes that is sent by this way, route or not.
    pub(super) fn passage_by(&self, id: WayId) -> Passage {
        self.lock().ways.get(&id).map_or(Passage::Nowhere, Way::passage)
    }

    /// Whether an address is that of a relay.
    pub(super) fn is_relay(&self, from: SocketAddr) -> bool {
        !self.is_empty() && self.lock().relays.contains_key(&from)
    }

    /// Whose a packet is that came from `from`: the peer with such a direct way, or whoever is there.
    pub(super) fn peer_of(&self, from: SocketAddr) -> SocketAddr {
        if self.is_empty() {
            return from;
        }
        let now = self.now();
        let mut state = self.lock();
        let Some(peer) = state.direct.get(&from).copied() else { return from };
        let ways = state.ways.values_mut();
        for way in ways.filter(|way| matches!(way.means, Means::Direct(addr) if addr == from)) {
            way.heard = Some(now);
        }
        peer
    }

    /// Whose a packet is that a relay brings for one of the own legs.
    pub(super) fn peer_of_leg(&self, relay: SocketAddr, handle: Handle) -> Option<SocketAddr> {
        let now = self.now();
        let mut state = self.lock();
        let id = state.legs.get(&(relay, handle)).copied()?;
        let way = state.ways.get_mut(&id)?;
        way.heard = Some(now);
        Some(way.peer)
    }

    /// Takes what a relay says over UDP. It does not say to which leg; only that one's key fits.
    pub(super) fn take_notice(&self, relay: SocketAddr, notice: &[u8]) {
        let now = self.now();
        let mut state = self.lock();
        let State { ways, legs, .. } = &mut *state;
        for (id, way) in ways {
            let Means::Relayed(at, leg) = &mut way.means else { continue };
            if *at == relay && leg.handle_notice(notice, now).is_ok() {
                if let Some(handle) = leg.handle() {
                    legs.insert((relay, handle), *id);
                }
                way.bound.send_replace(leg.bound());
            }
        }
    }

    /// An address as this socket writes it.
    pub(in super::super) fn outer(&self, addr: SocketAddr) -> SocketAddr {
        match addr {
            SocketAddr::V4(addr) if self.is_ipv6 => (addr.ip().to_ipv6_mapped(), addr.port()).into(),
            SocketAddr::V6(addr) if !self.is_ipv6 => SocketAddr::new(addr.ip().to_canonical(), addr.port()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => addr,
        }
    }

    fn now(&self) -> BootTime {
        BootTime::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn passage(&self) -> Passage {
        match &self.means {
            Means::Direct(addr) => Passage::Direct(*addr),
            Means::Relayed(relay, leg) => {
                leg.handle().map_or(Passage::Nowhere, |handle| Passage::Relayed(*relay, handle))
            }
            Means::Stream(outbox, _, None) => Passage::Stream(Arc::clone(outbox), None),
            Means::Stream(outbox, _, Some(leg)) => leg
                .handle()
                .map_or(Passage::Nowhere, |handle| Passage::Stream(Arc::clone(outbox), Some(handle))),
        }
    }
}

/// Whether no network has the address: nothing for it may leave.
fn is_made_up(addr: SocketAddr) -> bool {
    match addr.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => ip.to_bits() & MADE_UP_NET == MADE_UP_NET && !ip.is_broadcast(),
        std::net::IpAddr::V6(_) => false,
    }
}

/// 240.0.0.0/4.
const MADE_UP_NET: u32 = 0xf000_0000;

#[cfg(test)]
mod tests {
    use postern_protocol::time::UnixTime;
    use postern_protocol::wire::relay::{End, MeetingId, Notice, RelayKey, Ticket};

    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn right(meeting: u8) -> postern_protocol::wire::relay::Leg {
        let until = UnixTime::from_secs(1_800_000_000);
        RelayKey::new([1; 32]).leg(Ticket { meeting: MeetingId([meeting; 16]), end: End::Client, until })
    }

    fn leg(meeting: u8) -> Leg {
        Leg::new(right(meeting), BootTime::ZERO)
    }

    fn handle(byte: u8) -> Handle {
        Handle::new([byte; 8]).unwrap()
    }

    /// Binds a way's leg, as the relay would.
    fn bind(ways: &Ways, id: WayId, meeting: u8, relay: SocketAddr) {
        assert!(ways.poll_bind(id).unwrap().notice.is_some());
        let answer = Notice::bound(&right(meeting).key, 1, handle(meeting), addr("192.0.2.7:9"), None);
        ways.take_notice(relay, &answer[8..]);
    }

    #[test]
    fn a_peer_without_ways_is_where_its_address_is_and_a_made_up_one_is_nowhere() {
        let ways = Ways::new(false);
        assert!(ways.passage(addr("192.0.2.1:7")).is_none());
        assert_eq!(ways.peer_of(addr("192.0.2.1:7")), addr("192.0.2.1:7"));
        let peer = ways.new_peer();
        assert!(matches!(ways.passage(peer), Some(Passage::Nowhere)));
        let (id, _bound) = ways.add(peer, Means::Direct(addr("192.0.2.1:7")));
        assert!(matches!(ways.passage(peer), Some(Passage::Direct(to)) if to == addr("192.0.2.1:7")));
        ways.remove(id);
        assert!(matches!(ways.passage(peer), Some(Passage::Nowhere)));
    }

    #[test]
    fn a_relayed_way_is_nowhere_until_it_is_bound_and_its_packets_are_the_peers() {
        let (ways, relay) = (Ways::new(false), addr("192.0.2.9:443"));
        let peer = ways.new_peer();
        let (id, bound) = ways.add(peer, Means::Relayed(relay, leg(3)));
        assert_eq!((ways.origin(peer), ways.origin(relay)), (relay, relay));
        assert!(matches!(ways.passage(peer), Some(Passage::Nowhere)));
        bind(&ways, id, 3, relay);
        assert_eq!(bound.borrow().unwrap().seen, addr("192.0.2.7:9"));
        assert!(
            matches!(ways.passage(peer), Some(Passage::Relayed(to, with)) if to == relay && with == handle(3))
        );
        assert!(ways.is_relay(relay));
        assert_eq!(ways.peer_of_leg(relay, handle(3)), Some(peer));
        assert_eq!(ways.peer_of_leg(relay, handle(4)), None);
        assert_eq!(ways.peer_of_leg(addr("192.0.2.10:443"), handle(3)), None);
        ways.remove(id);
        assert_eq!((ways.peer_of_leg(relay, handle(3)), ways.is_relay(relay)), (None, false));
    }

    #[test]
    fn a_peer_with_two_ways_hears_on_both_and_speaks_on_the_one_that_was_taken() {
        let (ways, relay, near) = (Ways::new(false), addr("192.0.2.9:443"), addr("10.0.0.7:47000"));
        let peer = ways.new_peer();
        let (first, _bound) = ways.add(peer, Means::Relayed(relay, leg(3)));
        bind(&ways, first, 3, relay);
        let (second, _bound) = ways.add(peer, Means::Direct(near));
        assert!(matches!(ways.passage(peer), Some(Passage::Relayed(..))));
        assert_eq!(ways.silence(second), None);
        assert_eq!(ways.peer_of(near), peer);
        assert!(ways.silence(second).is_some());
        assert!(ways.take(second));
        assert!(matches!(ways.passage(peer), Some(Passage::Direct(to)) if to == near));
        assert_eq!(ways.peer_of_leg(relay, handle(3)), Some(peer));
        // The way that is taken ends: the other one is still there.
        ways.remove(second);
        assert!(matches!(ways.passage(peer), Some(Passage::Relayed(..))));
        assert!(!ways.take(second));
    }

    #[test]
    fn frames_of_a_connection_are_packets_of_its_peer_and_notices_bind_its_leg() {
        let ways = Ways::new(false);
        let (peer, outbox) = (ways.new_peer(), Arc::new(Outbox::default()));
        let (id, bound) = ways.add(peer, Means::Stream(outbox, addr("192.0.2.9:443"), Some(leg(3))));
        assert!(ways.poll_bind(id).unwrap().notice.is_some());
        ways.take_frame(id, &[&[3; 8][..], b"early"].concat());
        assert_eq!(ways.silence(id), None);
        ways.take_frame(id, &Notice::bound(&right(3).key, 1, handle(3), addr("192.0.2.7:9"), None));
        assert!(bound.borrow().is_some());
        ways.take_frame(id, &[&[4; 8][..], b"of another"].concat());
        assert_eq!(ways.silence(id), None);
        ways.take_frame(id, &[&[3; 8][..], b"packet"].concat());
        assert!(ways.silence(id).is_some());
        assert!(matches!(ways.passage(peer), Some(Passage::Stream(_, Some(with))) if with == handle(3)));
    }

    #[test]
    fn a_way_is_left_when_all_who_came_by_it_are_gone() {
        let ways = Arc::new(Ways::new(false));
        let (peer, other) = (ways.new_peer(), ways.new_peer());
        let (id, mut bound) = ways.add(peer, Means::Relayed(addr("192.0.2.9:443"), leg(3)));
        assert!(!ways.is_left(id), "nobody has come yet");
        drop(Visit::new(Arc::clone(&ways), other));
        assert!(!ways.is_left(id), "that was by another way");
        let first = Visit::new(Arc::clone(&ways), peer);
        let second = Visit::new(Arc::clone(&ways), peer);
        drop(first);
        bound.mark_unchanged();
        assert!(!ways.is_left(id));
        drop(second);
        assert!(ways.is_left(id) && bound.has_changed().unwrap(), "who waits for that is woken");
        let again = Visit::new(Arc::clone(&ways), peer);
        assert!(!ways.is_left(id));
        ways.remove(id);
        assert!(ways.is_left(id));
        drop(again);
    }

    #[test]
    fn a_socket_of_ipv6_writes_all_addresses_in_its_way() {
        let ways = Ways::new(true);
        let peer = ways.new_peer();
        assert_eq!(peer, addr("[::ffff:240.0.0.0]:1"));
        let (_id, _bound) = ways.add(peer, Means::Direct(addr("192.0.2.1:7")));
        assert!(
            matches!(ways.passage(peer), Some(Passage::Direct(to)) if to == addr("[::ffff:192.0.2.1]:7"))
        );
        assert_eq!(ways.peer_of(addr("[::ffff:192.0.2.1]:7")), peer);
    }
}
