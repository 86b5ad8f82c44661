//! Meetings at relays: the hub says that somebody waits there, and this device comes.
//!
//! 1. The leg is bound at the first relay that answers, by whatever [rung](postern_transport::ladder) leads there.
//! 2. Whoever waits there dials through it, and is admitted as everybody is: nothing here knows or decides who that is.
//! 3. Where both ends speak UDP, the relay says where it sees the other one. A few single bytes go there ([`Knocks`]), so that an own NAT
//!    lets in what comes from there: who dials may then find the device without the relay. Nothing is believed of it.
//! 4. A way is bound again when something changes in the device's network. It is given up when who came by it has left, and when
//!    nothing is heard of it: half a minute after it was bound, or a minute after the last packet.
//!
//! Bounds: ways at once, and as many that wait for the place of one that is over. A hub that names relays without end gets no more of them, and one that names a machine as a relay is not followed.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use postern_protocol::session::knock::Knocks;
use postern_protocol::time::BootTime;
use postern_protocol::wire::relay::{Meeting, Place};
use postern_transport::ladder::{Ladder, Spot};
use postern_transport::quic::{Endpoint, Way};

use crate::network::Changes;
use crate::tunnel::Guard;

/// The meetings of this device.
#[derive(Debug)]
pub(crate) struct Meetings {
    endpoint: Endpoint,
    ladder: Ladder,
    guard: Guard,
    at_once: usize,
    places: Arc<Semaphore>,
    attended: JoinSet<()>,
    changes: Changes,
}

impl Meetings {
    /// None yet; clients come to `endpoint`.
    pub(crate) fn new(
        (endpoint, ladder): (Endpoint, Ladder),
        guard: Guard,
        at_once: u16,
        changes: Changes,
    ) -> Self {
        let at_once = usize::from(at_once);
        let places = Arc::new(Semaphore::new(at_once));
        Self { endpoint, ladder, guard, at_once, places, attended: JoinSet::new(), changes }
    }

    /// Goes to a meeting that a hub at `hub` has named.
    pub(crate) fn attend(&mut self, mut meeting: Meeting, hub: IpAddr) {
        while self.attended.try_join_next().is_some() {}
        // A stolen hub could have the device speak to machines otherwise.
        meeting.relays.retain(|place| !self.is_machine(place));
        // As many as are attended may wait for a place.
        if self.attended.len() >= self.at_once.saturating_mul(2) {
            return tracing::warn!("a meeting at a relay is not attended: {MANY}");
        }
        let free = Arc::clone(&self.places).acquire_owned();
        let (endpoint, ladder) = (self.endpoint.clone(), self.ladder.clone());
        let (guard, changes) = (self.guard.clone(), self.changes.clone());
        self.attended.spawn(async move {
            let Ok(Ok(place)) = tokio::time::timeout(PATIENCE, free).await else {
                return tracing::warn!("a meeting at a relay was not attended: {MANY}");
            };
            match reach(&endpoint, &ladder, &meeting, hub).await {
                Some(way) => tokio::select! {
                    () = linger(&way) => {}
                    never = knock(&endpoint, &way, &guard) => match never {},
                    never = follow(&way, changes) => match never {},
                },
                None => tracing::info!("no relay of a meeting answers"),
            }
            drop(place);
        });
    }

    fn is_machine(&self, place: &Place) -> bool {
        let mut ports = [place.udp, place.tls].into_iter().flatten();
        place.ip.is_some_and(|ip| ports.any(|port| self.guard.allows((ip, port).into())))
    }
}

/// Binds the leg at the first relay that answers.
async fn reach(endpoint: &Endpoint, ladder: &Ladder, meeting: &Meeting, hub: IpAddr) -> Option<Way> {
    for Place { ip, udp, tls, certificate } in &meeting.relays {
        let at = |port: &u16| SocketAddr::new(ip.unwrap_or(hub), *port);
        let (udp, tls) = (udp.as_ref().map(at), tls.as_ref().map(at));
        let spot = Spot { udp, tls, leg: meeting.leg.clone(), certificate: *certificate };
        match ladder.to_relay(endpoint, endpoint.new_peer(), &spot).await {
            Ok(bound) => return Some(bound.way),
            Err(error) => tracing::debug!(%error, "a relay cannot be reached"),
        }
    }
    None
}

/// Opens the own NAT for the other end, wherever it is.
async fn knock(endpoint: &Endpoint, way: &Way, guard: &Guard) -> Infallible {
    let (began, mut knocks, mut known) = (Instant::now(), Knocks::new(), None);
    let now = || BootTime::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    loop {
        let due = knocks.timeout().map(|due| due.since(now()));
        tokio::select! {
            other = way.other_end_but(known) => {
                known = other;
                knocks.handle_other(other.filter(|other| guard.lets_knock(*other)), now());
            }
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {
                if let Some(at) = knocks.poll_knock(now()) {
                    endpoint.knock(at);
                }
            }
        }
    }
}

/// Binds a way again whenever the own address may have changed.
async fn follow(way: &Way, mut changes: Changes) -> Infallible {
    changes.mark_unchanged();
    loop {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        way.rebind();
    }
}

/// Keeps a way for as long as somebody comes by it.
async fn linger(way: &Way) {
    while !way.is_left() {
        tokio::select! {
            () = silence(way) => return,
            // A last word that was lost is said again when it is asked for (RFC 9000 section 10.2).
            () = way.left() => tokio::time::sleep(DRAINED).await,
        }
    }
}

/// Waits until nobody can be there any more.
async fn silence(way: &Way) {
    tokio::select! {
        () = tokio::time::sleep(UNUSED) => {}
        () = way.ended() => return,
    }
    while let Some(left) = way.silence().and_then(|silence| SILENCE.checked_sub(silence)) {
        tokio::select! {
            () = tokio::time::sleep(left + GLANCE) => {}
            () = way.ended() => return,
        }
    }
}

const MANY: &str = "there are as many as there may be (`[caps] connections`)";
/// How long whoever dials waits for the device, with something to spare for the handshake.
const PATIENCE: Duration = Duration::from_secs(6);
/// Until somebody must have come.
const UNUSED: Duration = Duration::from_secs(30);
/// A connection that is silent for longer is over.
const SILENCE: Duration = Duration::from_secs(60);
/// Three probe timeouts of a slow connection.
const DRAINED: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(100);
