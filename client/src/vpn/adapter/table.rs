//! Which packet belongs to which flow.
//!
//! 1. A packet of a flow goes to it; a flow that does not keep up loses packets, as on any wire.
//! 2. The first packet of another begins one: a SYN, a datagram or an echo request. Any other segment is reset: it belongs
//!    to a connection that is gone.
//! 3. What leads to no machine is said to be unreachable.
//! 4. Flows are bounded; what is too much is lost, and programs try again.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;

use postern_protocol::limits;
use postern_protocol::policy::FlowEnd;
use postern_protocol::wire::flow::message::Echo;

use super::alias::Plan;
use super::answer::{No, refusal, reset};
use super::flow::{Ways, Wish};
use super::lanes::Lanes;
use super::ledger::Count;
use super::packet::{Content, Key, Packet, Segment, read};
use super::virtio::Said;

/// All flows.
pub(super) struct Table {
    ways: Ways,
    lanes: Lanes,
    plan: Plan,
    flows: HashMap<Key, Line>,
}

/// The way of packets to one flow.
struct Line {
    packets: mpsc::Sender<Vec<u8>>,
    count: Arc<Count>,
    no: Arc<OnceLock<No>>,
}

impl Table {
    pub(super) fn new(ways: Ways, lanes: Lanes, plan: Plan) -> Self {
        Self { ways, lanes, plan, flows: HashMap::new() }
    }

    /// Where machines are.
    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where machines are from now on. Open flows stay: whether they may is the device's to say.
    pub(super) fn replan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// A flow has ended.
    pub(super) fn forget(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            // Unless another has begun in its place.
            if self.flows.get(&key).is_some_and(|line| line.packets.is_closed()) {
                self.flows.remove(&key);
            }
        } else {
            self.flows.retain(|_, line| !line.packets.is_closed());
        }
    }

    /// Takes a packet of a program.
    pub(super) fn pass(&mut self, said: Said, bytes: &[u8], tasks: &mut JoinSet<Key>) {
        let Some(packet) = read(bytes) else { return };
        match self.flows.get(&packet.key) {
            Some(line) => {
                if let Some(no) = line.no.get() {
                    self.say(refusal(&packet, bytes, *no));
                    return;
                }
                if line.push(said, &packet, bytes) {
                    return;
                }
                // It has ended, and the task is not yet gone.
                self.flows.remove(&packet.key);
                self.begin(said, &packet, bytes, tasks);
            }
            None => self.begin(said, &packet, bytes, tasks),
        }
    }

    fn begin(&mut self, said: Said, packet: &Packet<'_>, bytes: &[u8], tasks: &mut JoinSet<Key>) {
        match &packet.content {
            Content::Segment(Segment { resets: true, .. }) => return,
            Content::Segment(segment @ Segment { opens: false, .. }) => {
                self.say(reset(packet.key, segment));
                return;
            }
            Content::Segment(_) | Content::Datagram(_) | Content::Echo(_) => {}
        }
        let Key { protocol, to, .. } = packet.key;
        let Some(ip) = self.plan.real(to.ip()) else {
            self.say(refusal(packet, bytes, No::HostAway));
            return;
        };
        if tasks.len() >= limits::FLOWS {
            return;
        }
        let end = FlowEnd { protocol, ip, port: to.port() };
        let Some(gateway) = self.lanes.to(&end) else {
            self.say(refusal(packet, bytes, No::NetworkAway));
            return;
        };
        let (packets, coming) = mpsc::channel(WAITING);
        let (count, no) = (Arc::new(Count::default()), Arc::new(OnceLock::new()));
        let line = Line { packets, count: Arc::clone(&count), no: Arc::clone(&no) };
        if !matches!(packet.content, Content::Segment(_)) {
            line.push(said, packet, bytes);
        }
        self.flows.insert(packet.key, line);
        let wish = Wish { key: packet.key, end, first: bytes.to_vec(), coming, count, no };
        let (key, ways) = (packet.key, self.ways.clone());
        tasks.spawn(async move {
            wish.carry(&gateway, &ways).await;
            key
        });
    }

    fn say(&self, answer: Option<Vec<u8>>) {
        if let Some(answer) = answer {
            self.ways.tun.write(&answer);
        }
    }
}

impl Line {
    /// Hands a packet to the flow; false where there is nobody any more.
    fn push(&self, said: Said, packet: &Packet<'_>, bytes: &[u8]) -> bool {
        let send = |message: Vec<u8>| !matches!(self.packets.try_send(message), Err(TrySendError::Closed(_)));
        match packet.content {
            Content::Segment(_) => send(bytes.to_vec()),
            Content::Datagram(data) => {
                self.count.sent(data.len());
                let size = said.datagrams_of.map_or(data.len(), usize::from).max(1);
                // No datagram at all is one as well.
                let empty = data.is_empty().then(Vec::new);
                data.chunks(size).map(<[u8]>::to_vec).chain(empty).all(send)
            }
            Content::Echo(echo @ Echo { data, .. }) => {
                self.count.sent(data.len());
                send(echo.message())
            }
        }
    }
}

/// Packets that wait for a flow to open, or for a slow way.
const WAITING: usize = 128;
