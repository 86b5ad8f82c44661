//! The device: the real core in a shell that does what the agent's does, in the same order.
//!
//! 1. [`Device::boot`] is `store::boot`, `Activator::new` and `Activator::resume`: what is stored is verified again.
//! 2. [`Device::link_up`], [`Device::hear`] and [`Device::link_down`] are `sync/link.rs`.
//! 3. `activate.rs` beside this is `sync/activate.rs`, `chain.rs` and `storing.rs`; `tunnels.rs` is gate and registry.
//! 4. [`Device::wake`] is every timer of the daemon: notes and alarms, questions, permits that run out, rows that are owed.
//! 5. [`Device::lose_power`] ends it at any moment.
//!
//! Each [`Flaw`] leaves one of these duties out, to show that a promise notices.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use postern_protocol::audit::Event;
use postern_protocol::policy::{Floor, Index, LockPlace, Locks};
use postern_protocol::session::agent::AgentSync;
use postern_protocol::session::alarm::Cause;
use postern_protocol::session::freshness::{FreshnessWatch, Memory};
use postern_protocol::time::BootTime;
use postern_protocol::trust::{Nonce, Root, Subject};
use postern_protocol::wire::control::{AgentMessage, Held, Hello, HubMessage, Life as Run};
use postern_protocol::wire::text::Text;

use crate::activate::{Activating, Object};
use crate::bench::Bench;
use crate::disk::{Disk, Job, Stored};
use crate::flaw::Flaw;
use crate::tunnels::Tunnel;

/// What one run of the agent knows.
pub(crate) struct Life {
    pub(crate) booted: u64,
    pub(crate) root: Root,
    pub(crate) watch: FreshnessWatch,
    pub(crate) policy: Option<Arc<Index>>,
    pub(crate) floor: Option<Floor>,
    pub(crate) locks: Locks,
    pub(crate) is_stored: bool,
    pub(crate) unstored_lock: Option<LockPlace>,
    /// A snapshot for which the link waits a moment.
    pub(crate) activating: Option<Activating>,
    /// Writes under way, and what follows from them.
    pub(crate) following: BTreeMap<u64, Object>,
    /// When a write is late, if it is not over by then.
    pub(crate) late: VecDeque<(u64, u64)>,
    pub(crate) tunnels: BTreeMap<u64, Tunnel>,
    /// Nobody looks at permits before this.
    pub(crate) edge_pause: u64,
    /// Who has signed in on this run.
    pub(crate) subjects: BTreeMap<u8, Arc<Subject>>,
    pub(crate) sync: AgentSync,
    pub(crate) link: Option<Link>,
    /// The note that is being written.
    noting: Option<u64>,
    /// When the policy lapses, or something else changes by itself.
    lapses: Option<u64>,
    owed: VecDeque<Event>,
    paying: Option<u64>,
    pay_again: u64,
    unsent: VecDeque<Cause>,
}

/// The agent's end of a link.
pub(crate) struct Link {
    pub(crate) number: u64,
    answered: bool,
    is_broken: bool,
    /// Messages that came while a snapshot was being activated.
    waiting: VecDeque<HubMessage>,
}

pub(crate) struct Device {
    pub(crate) disk: Disk,
    pub(crate) is_on: bool,
    pub(crate) life: Life,
    pub(crate) flaw: Flaw,
    /// Tunnels in all lives.
    pub(crate) next_tunnel: u64,
    /// Those that were cut and are never to be heard of again.
    pub(crate) cut: Vec<u64>,
    /// For the promises: rows that somebody was told are durable.
    pub(crate) rows_told: u64,
}

/// The floor, as the wire names it.
pub(crate) const fn held(floor: Floor) -> Held {
    Held { epoch: floor.epoch, version: floor.version, digest: floor.digest }
}

impl Life {
    fn new(disk: &mut Disk, flaw: Flaw, now: u64) -> Self {
        let before = disk.stored.spent;
        let is_debited = disk.count_boot();
        if flaw == Flaw::NoDebitAtBoot {
            disk.stored.spent = before;
        }
        let stored = &disk.stored;
        let root = Root::self_signed(&stored.root).unwrap();
        let memory =
            Memory { time: stored.time, spent: stored.spent, is_debited, root_version: root.version };
        let mut locks = Locks::default();
        for (place, sealed) in stored.locks.iter().filter(|_| flaw != Flaw::ForgetsLocks) {
            locks.restore(*place, sealed);
        }
        let floor = stored.floor.max(stored.floor_copy).filter(|_| flaw != Flaw::ForgetsFloor);
        Self {
            booted: now,
            watch: FreshnessWatch::new(&memory, BootTime::ZERO),
            root,
            policy: None,
            floor,
            locks,
            is_stored: true,
            unstored_lock: None,
            activating: None,
            following: BTreeMap::new(),
            late: VecDeque::new(),
            tunnels: BTreeMap::new(),
            edge_pause: 0,
            subjects: BTreeMap::new(),
            sync: AgentSync::new(),
            link: None,
            noting: None,
            lapses: None,
            owed: VecDeque::new(),
            paying: None,
            pay_again: 0,
            unsent: VecDeque::new(),
        }
    }
}

impl Device {
    /// A device that was enrolled, and is off.
    pub(crate) fn new(stored: Stored, flaw: Flaw) -> Self {
        let mut disk = Disk::new(stored);
        let life = Life::new(&mut disk, Flaw::None, 0);
        (disk.stored.boots, disk.stored.spent) = (0, 0);
        Self { disk, is_on: false, life, flaw, next_tunnel: 1, cut: Vec::new(), rows_told: 0 }
    }

    /// The power comes. What is stored comes into force if it still verifies.
    pub(crate) fn boot(&mut self, bench: &mut Bench) {
        self.life = Life::new(&mut self.disk, self.flaw, bench.now);
        self.is_on = true;
        bench.note("boot", u64::from(self.disk.stored.boots), u64::from(self.disk.stored.spent));
        if let Some(sealed) = self.disk.stored.sealed.clone() {
            self.resume(&sealed, bench);
        }
        let (agent, boots) = (Text::clean("simulation"), self.disk.stored.boots);
        self.life.owed.push_back(Event::Started { agent, boots });
        if let Some(owed) = self.disk.stored.owed {
            self.owe(Event::PolicyApplied { held: held(owed), cut: 0 });
        }
        self.tend(bench);
    }

    /// The power goes.
    pub(crate) fn lose_power(&mut self, bench: &mut Bench) {
        if let Some(what) = self.disk.lose_power(&mut bench.chance) {
            bench.note(what, 0, 0);
        }
        bench.note("power cut", u64::try_from(self.life.tunnels.len()).unwrap(), 0);
        self.is_on = false;
        self.life.tunnels.clear();
        self.life.link = None;
    }

    /// A link is up: says what is held, and asks at once.
    pub(crate) fn link_up(&mut self, number: u64, bench: &mut Bench) -> Hello {
        let life = &mut self.life;
        life.sync = AgentSync::new();
        life.link = Some(Link { number, answered: false, is_broken: false, waiting: VecDeque::new() });
        let (now, life_bytes) = (boot_time(&self.life, bench.now), self.disk.stored.boots.to_be_bytes());
        let mut run = [0; 16];
        run[..4].copy_from_slice(&life_bytes);
        let hello = Hello {
            root_version: self.life.root.version,
            held: self.life.floor.map(held),
            active: self.is_active(),
            agent: Text::clean("simulation"),
            boots: self.disk.stored.boots,
            life: Run(run),
            addresses: Vec::new(),
            freshness: self.life.watch.state(now),
            locks: self.highest_lock(),
        };
        self.life.watch.handle_link(true, now);
        self.ask(bench);
        self.life.watch.handle_tunnels(!self.life.tunnels.is_empty(), now);
        hello
    }

    /// The link is gone. Who is in the middle of an activation notices afterwards.
    pub(crate) fn link_down(&mut self, bench: &Bench) {
        if self.life.activating.is_some() {
            self.life.link.iter_mut().for_each(|link| link.is_broken = true);
            return;
        }
        self.life.link = None;
        let now = boot_time(&self.life, bench.now);
        self.life.watch.handle_link(false, now);
    }

    /// A message of the hub came. False when the link must end.
    pub(crate) fn hear(&mut self, message: HubMessage, bench: &mut Bench) -> bool {
        let Some(link) = &mut self.life.link else { return true };
        if self.life.activating.is_some() {
            link.waiting.push_back(message);
            return true;
        }
        link.answered = true;
        let is_fine = self.take(message, bench);
        self.tend(bench);
        is_fine
    }

    /// What waits to be sent.
    pub(crate) fn poll_transmit(&mut self) -> Option<AgentMessage> {
        let link = self.life.link.as_ref().filter(|link| !link.is_broken && self.life.activating.is_none());
        link.is_some().then(|| self.life.sync.poll_transmit()).flatten()
    }

    /// Everything that is due by itself.
    pub(crate) fn wake(&mut self, bench: &mut Bench) {
        while let Some((id, is_stored)) = self.disk.poll(&mut bench.chance, bench.now) {
            self.written(id, is_stored, bench);
        }
        if self.life.activating.as_ref().is_some_and(|it| it.until <= bench.now) {
            self.come_into_force(None, bench);
        }
        while let Some((_, id)) = self.life.late.front().copied().filter(|(at, _)| *at <= bench.now) {
            self.life.late.pop_front();
            self.is_late(id, bench);
        }
        if self.life.lapses.is_some_and(|at| at <= bench.now) {
            self.judge(bench);
        }
        self.edges(bench);
        self.drain(bench);
        self.tend(bench);
    }

    /// When that is next.
    pub(crate) fn next_wake(&self, bench: &Bench) -> Option<u64> {
        let life = &self.life;
        let true_time = |moment: BootTime| life.booted + moment.as_millis();
        let is_asking = life.link.as_ref().is_some_and(|link| link.answered) && life.activating.is_none();
        let question = life.watch.question_due().filter(|_| is_asking).map(true_time);
        let pays = (life.paying.is_none() && !life.owed.is_empty()).then_some(life.pay_again);
        let activated = life.activating.as_ref().map(|it| it.until);
        let late = life.late.front().map(|(at, _)| *at);
        let edge = self.next_edge(bench);
        let due = [question, life.lapses, pays, activated, late, edge, self.disk.due()];
        due.into_iter().flatten().min().map(|due| due.max(bench.now))
    }

    /// Has a row written as soon as the trail takes it.
    pub(crate) fn owe(&mut self, event: Event) {
        if self.life.owed.len() < MOST_OWED {
            self.life.owed.push_back(event);
        }
    }

    /// A write is over.
    fn written(&mut self, id: u64, is_stored: bool, bench: &mut Bench) {
        if self.life.activating.as_ref().is_some_and(|it| it.write == Some(id)) {
            self.come_into_force(Some(is_stored), bench);
        } else if let Some(object) = self.life.following.remove(&id) {
            self.stored_late(object, is_stored, bench);
        } else if self.life.paying == Some(id) {
            self.paid(is_stored, bench);
        } else if self.life.noting.take_if(|at| *at == id).is_some() {
            let now = boot_time(&self.life, bench.now);
            self.life.watch.handle_noted(is_stored, now);
            // Without a debit what is stale permits nothing.
            self.judge(bench);
        } else {
            self.recorded(id, is_stored, bench);
        }
    }

    fn paid(&mut self, is_stored: bool, bench: &mut Bench) {
        self.life.paying = None;
        if !is_stored {
            self.life.pay_again = bench.now + PAY_AGAIN;
            return;
        }
        self.rows_told += 1;
        if let Some(Event::PolicyApplied { held, .. }) = self.life.owed.pop_front() {
            let floor = Floor { epoch: held.epoch, version: held.version, digest: held.digest };
            self.disk.begin(Job::Settle(floor), &mut bench.chance, bench.now);
        }
    }

    /// Messages that came while a snapshot was being activated.
    fn drain(&mut self, bench: &mut Bench) {
        while self.life.activating.is_none()
            && let Some(link) = &mut self.life.link
        {
            if link.is_broken {
                return self.link_down(bench);
            }
            let Some(message) = link.waiting.pop_front() else { return };
            link.answered = true;
            if !self.take(message, bench) {
                return self.link_down(bench);
            }
        }
    }

    /// What every task does when something has changed: notes, alarms, questions, rows that are owed.
    pub(crate) fn tend(&mut self, bench: &mut Bench) {
        self.keep_time(bench);
        let now = boot_time(&self.life, bench.now);
        if self.life.paying.is_none()
            && self.life.pay_again <= bench.now
            && let Some(event) = self.life.owed.front().cloned()
        {
            let at = self.life.watch.time().at(now);
            self.life.paying = Some(self.disk.begin(Job::Row(at, event), &mut bench.chance, bench.now));
        }
        if self.life.link.as_ref().is_some_and(|link| link.answered) && self.life.activating.is_none() {
            self.life.watch.handle_tunnels(!self.life.tunnels.is_empty(), now);
            while let Some(cause) = self.life.unsent.pop_front() {
                self.life.sync.handle_alarm(cause.kind(), cause.detail());
            }
            self.ask(bench);
        }
    }

    /// Stores what must survive, and records alarms. Nothing here waits for the disk.
    fn keep_time(&mut self, bench: &mut Bench) {
        let now = boot_time(&self.life, bench.now);
        while self.life.noting.is_none()
            && let Some(note) = self.life.watch.poll_note(now)
        {
            if self.flaw == Flaw::NoDebitStored {
                self.life.watch.handle_noted(true, now);
                continue;
            }
            bench.note("note", u64::from(note.spent), 0);
            self.life.noting = Some(self.disk.begin(Job::Note(note), &mut bench.chance, bench.now));
        }
        while let Some(cause) = self.life.watch.poll_alarm(now) {
            bench.note(cause.kind().word(), 0, 0);
            self.owe(Event::Alarm { kind: cause.kind(), detail: cause.detail() });
            self.life.unsent.push_back(cause);
        }
        let is_waiting = self.flaw == Flaw::WaitsForTheDisk && self.life.noting.is_some();
        let lapses = self.life.watch.poll_timeout(now).filter(|_| !is_waiting);
        self.life.lapses = lapses.map(|moment| self.life.booted + moment.as_millis());
    }

    fn ask(&mut self, bench: &mut Bench) {
        let now = boot_time(&self.life, bench.now);
        let chance = &mut bench.chance;
        let draw = || {
            let halves = [chance.draw().to_be_bytes(), chance.draw().to_be_bytes()];
            Some(Nonce::new(halves.as_flattened().try_into().unwrap()))
        };
        if let Some(nonce) = self.life.watch.poll_question(now, draw) {
            self.life.sync.handle_question(nonce);
        }
    }
}

/// A true moment on the clock that counts from boot.
pub(crate) const fn boot_time(life: &Life, now: u64) -> BootTime {
    BootTime::from_millis(now - life.booted)
}

/// Between attempts to write a row that is owed.
const PAY_AGAIN: u64 = 2_000;
/// Rows that wait.
const MOST_OWED: usize = 256;
