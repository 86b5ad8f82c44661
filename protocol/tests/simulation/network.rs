//! Links between device and hub: order is kept, nothing is repeated, and what is under way when a link breaks is lost.
//!
//! Some lead to a hub that is not the cloud's: [`Hostile`] knows everything that was ever sent and can sign nothing. What it
//! has of the present it has from the cloud, because it may ask there in the device's name.

use postern_protocol::limits::CHUNK_BYTES;
use postern_protocol::session::hub::{HubSync, Naming, Published};
use postern_protocol::trust::Nonce;
use postern_protocol::wire::control::{AgentMessage, Hello, HubMessage};

use crate::bench::Bench;
use crate::chance::Chance;
use crate::cloud::Cloud;

/// One link, as both ends and the network know it.
pub(crate) struct Link {
    pub(crate) end: End,
    /// Whether what is sent arrives.
    pub(crate) is_up: bool,
    /// Milliseconds that a message takes.
    delay: (u64, u64),
    /// When the last message of each direction arrives.
    last: [u64; 2],
}

/// Who is at the other end.
pub(crate) enum End {
    /// The cloud, before it has read the hello.
    Ungreeted,
    Cloud(Box<HubSync>),
    Hostile(Hostile),
}

/// What the device says first, and then.
#[derive(Debug)]
pub(crate) enum Up {
    Hello(Hello),
    Message(AgentMessage),
}

/// A hub that lies as far as it can.
#[derive(Default)]
pub(crate) struct Hostile {
    root: u32,
    nonce: Option<Nonce>,
    /// It keeps all words about time to itself.
    is_mute: bool,
    pushes: u64,
}

impl Link {
    pub(crate) const fn new(end: End, chance: &mut Chance, now: u64) -> Self {
        let delay = match chance.within(0..12) {
            0 => (2_000, 12_000),
            1 => (300, 2_000),
            _ => (5, 80),
        };
        Self { end, is_up: true, delay, last: [now; 2] }
    }

    /// When a message arrives that is sent now; 0 is the direction to the hub.
    pub(crate) fn arrival(&mut self, direction: usize, bench: &mut Bench) -> u64 {
        let delay = bench.chance.within(self.delay.0..self.delay.1);
        self.last[direction] = self.last[direction].max(bench.now + delay);
        self.last[direction]
    }
}

/// A hub that has read the hello, and what it sends at once.
pub(crate) fn greet(hello: &Hello, cloud: &Cloud, chance: &mut Chance) -> HubSync {
    let mut hub = HubSync::new(hello, Some(cloud.newest().clone()), chance.draw());
    look(&mut hub, cloud);
    hub
}

/// What a hub does when something was published: `Link::look` of the cloud.
pub(crate) fn look(hub: &mut HubSync, cloud: &Cloud) {
    let known = hub.newest_root();
    hub.handle_roots(cloud.roots.iter().filter(|root| root.version > known).cloned());
    if let (Some((sequence, sealed)), _) = cloud.lock() {
        hub.handle_lock(sequence, sealed);
    }
    hub.handle_newest(cloud.newest().held);
    hub.handle_published(cloud.newest().clone());
}

impl Hostile {
    /// One that answers questions, or keeps all words about time to itself.
    pub(crate) fn new(is_mute: bool) -> Self {
        Self { is_mute, ..Self::default() }
    }

    /// Hears the device; what it answers at once.
    pub(crate) fn hear(&mut self, up: Up, cloud: &mut Cloud, bench: &mut Bench) -> Option<HubMessage> {
        match up {
            Up::Hello(hello) => self.root = hello.root_version,
            Up::Message(AgentMessage::RootTaken { version }) => self.root = version,
            Up::Message(AgentMessage::TimeRequest { nonce }) => {
                self.nonce = Some(nonce);
                let answers = !self.is_mute && !bench.chance.one_in(3);
                return answers.then(|| self.relay_time(nonce, cloud, bench.now));
            }
            Up::Message(_) => {}
        }
        None
    }

    /// Does something that a hub should not do, or should. `forged` is what thieves have signed.
    pub(crate) fn mischief(
        &mut self,
        cloud: &mut Cloud,
        forged: &[Published],
        bench: &mut Bench,
    ) -> Vec<HubMessage> {
        let chance = &mut bench.chance;
        let what = chance.within(0..8);
        match what {
            0 | 1 => {
                let forged = chance.pick(forged).filter(|_| what == 0).cloned();
                let Some(it) = forged.or_else(|| chance.pick(&cloud.snapshots).cloned()) else {
                    return Vec::new();
                };
                bench.note("hostile: a snapshot of another time", it.held.version, it.held.epoch.into());
                self.push(&it, bench)
            }
            2 => {
                let newest = cloud.newest().clone();
                bench.note("hostile: the newest snapshot", newest.held.version, 0);
                self.push(&newest, bench)
            }
            3 => {
                let lock = chance.pick(&cloud.locks).cloned();
                bench.note("hostile: a lock of another time", 0, 0);
                lock.map(|bytes| HubMessage::Lock { bytes }).into_iter().collect()
            }
            4 | 5 => {
                let next = cloud.roots.iter().find(|root| root.version == self.root + 1 && what == 4);
                let root = next.or_else(|| chance.pick(&cloud.roots)).cloned();
                bench.note("hostile: a root", u64::from(self.root), 0);
                root.map(|root| HubMessage::Root { bytes: root.bytes.to_vec() }).into_iter().collect()
            }
            6 => {
                let old = chance.pick(&cloud.timestamps).map(|(bytes, _)| bytes.clone());
                bench.note("hostile: a timestamp of another time", 0, 0);
                old.map(|bytes| HubMessage::Timestamp { bytes }).into_iter().collect()
            }
            _ => {
                let now = bench.now;
                let answer =
                    self.nonce.filter(|_| !self.is_mute).map(|nonce| self.relay_time(nonce, cloud, now));
                answer.into_iter().collect()
            }
        }
    }

    /// An honest answer: the cloud signs what is true, whoever asks.
    fn relay_time(&self, nonce: Nonce, cloud: &mut Cloud, now: u64) -> HubMessage {
        let naming = Naming { nonce, held: Some(cloud.newest().held) };
        HubMessage::Timestamp { bytes: cloud.answer(naming, now) }
    }

    fn push(&mut self, snapshot: &Published, bench: &mut Bench) -> Vec<HubMessage> {
        self.pushes += 1;
        let (nonce, bytes) = (self.pushes, u32::try_from(snapshot.bytes.len()).unwrap());
        let mut held = snapshot.held;
        if bench.chance.one_in(8) {
            bench.note("hostile: a wrong name", held.version, 0);
            held.version = held.version.wrapping_add(1);
        }
        let chunk = |(index, chunk): (usize, &[u8])| HubMessage::Chunk {
            nonce,
            offset: u32::try_from(index * CHUNK_BYTES).unwrap(),
            bytes: chunk.to_vec(),
        };
        let mut messages = vec![HubMessage::Push { nonce, held, bytes }];
        messages.extend(snapshot.bytes.chunks(CHUNK_BYTES).enumerate().map(chunk));
        messages
    }
}
