//! The promises, asked after every step by somebody who trusts no one: the truth and the messages alone say what may be.
//!
//! 1. *No unauthorised byte.* Who has a tunnel has a grant that was true within the window, under a word of the cloud within
//!    the window; without a word only what is marked for it, for as long as was debited on the disk before, over all boots.
//! 2. *No way back.* Snapshot and root in force never fall below what was in force in this life, or stored before; and what
//!    the hub was told is stored is stored.
//! 3. *Withdrawn means cut.* No tunnel outlives the row, lock or root that withdraws it by a step, and none comes back.
//! 4. *A whole trail.* No tunnel carries before its row is durable; the chain verifies, and no row that was told is lost.
//! 5. *Fresh in the end.* When nobody interferes any more, the device holds the newest of everything, is fresh, the hub
//!    knows it, and exactly those may open whom the truth allows.
//! 6. *No write without cause.* In a quiet hour the disk is left alone.

use std::collections::BTreeSet;

use postern_protocol::audit::chain::{ORIGIN, verify_chain};
use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::audit::{Event, Row};
use postern_protocol::id::TunnelId;
use postern_protocol::trust::{Nonce, Timestamp};
use postern_protocol::wire::codec;
use postern_protocol::wire::control::AgentMessage;

use crate::bench::Bench;
use crate::cloud::Cloud;
use crate::device::{Device, held};
use crate::truth::{Place, Terms, name, user};
use crate::tunnels::tunnel_id;

/// A promise that was broken, by its number, and how.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) u8, pub(crate) String);

/// What the one who asks remembers.
#[derive(Default)]
pub(crate) struct Promises {
    /// The last question, and when it was asked.
    question: Option<(Nonce, u64)>,
    /// The last answer that came in time, and when its question was asked.
    word: Option<(Timestamp, u64)>,
    /// When the question was asked whose answer named last what is in force, and the life in which that was.
    confirmed: (u64, Option<u64>),
    /// The same of what is stored.
    kept: u64,
    /// Milliseconds for which anything was open since the cloud confirmed it.
    served: u64,
    is_serving: bool,
    seen: u64,
    /// In force in this life.
    highest: (u32, u64),
    /// Ever stored.
    stored: (u32, u64),
    root: u32,
    stored_root: u32,
    commits: u64,
    rows: usize,
    permitted: BTreeSet<TunnelId>,
}

impl Promises {
    /// The device says something.
    pub(crate) fn said(
        &mut self,
        message: &AgentMessage,
        device: &Device,
        bench: &Bench,
    ) -> Result<(), Broken> {
        let stored = &device.disk.stored;
        match message {
            AgentMessage::TimeRequest { nonce } => self.question = Some((*nonce, bench.now)),
            AgentMessage::Ack { held: told, .. } => {
                let is_stored =
                    stored.floor.is_some_and(|at| (at.epoch, at.version) >= (told.epoch, told.version));
                demand(2, is_stored, || {
                    format!("version {} was acknowledged and is not stored", told.version)
                })?;
            }
            AgentMessage::LockTaken { sequence, .. } => {
                let epoch = device.life.root.policy_epoch;
                let holds = stored.locks.iter().any(|(at, _)| at.epoch == epoch && at.sequence >= *sequence);
                let lifted = device.highest_in_force() >= *sequence && device.is_active();
                demand(2, holds || lifted, || format!("lock {sequence} was acknowledged and is not stored"))?;
            }
            AgentMessage::Nack { .. }
            | AgentMessage::Moved { .. }
            | AgentMessage::SealingKey(_)
            | AgentMessage::Alarm { .. }
            | AgentMessage::NextKey(_)
            | AgentMessage::LockRefused { .. }
            | AgentMessage::RootTaken { .. }
            | AgentMessage::RootRefused { .. }
            | AgentMessage::Receipt(_)
            | AgentMessage::Log(_)
            | AgentMessage::Rows(_) => {}
        }
        Ok(())
    }

    /// A timestamp reaches the device.
    pub(crate) fn heard(&mut self, bytes: &[u8], cloud: &Cloud, bench: &Bench) {
        let signed =
            cloud.timestamps.iter().rev().find(|(sealed, _)| sealed == bytes).map(|(_, timestamp)| timestamp);
        let Some((timestamp, (nonce, asked))) = signed.zip(self.question) else { return };
        if timestamp.nonce == nonce && bench.now - asked <= ANSWER {
            self.word = Some((timestamp.clone(), asked));
        }
    }

    /// The device was started.
    pub(crate) fn booted(&mut self, device: &Device) -> Result<(), Broken> {
        (self.question, self.word) = (None, None);
        (self.highest, self.root) = (self.stored, self.stored_root);
        let trail = &device.disk.trail;
        let rows = trail.iter().map(|(bytes, link)| (bytes.as_slice(), *link));
        demand(4, verify_chain(ORIGIN, 1, rows).is_ok(), || "the chain does not verify".to_owned())?;
        let told = usize::try_from(device.rows_told).unwrap();
        demand(4, trail.len() >= told, || {
            format!("{} rows are left of {told} that were durable", trail.len())
        })
    }

    /// A step is over.
    pub(crate) fn check(&mut self, device: &Device, cloud: &Cloud, bench: &Bench) -> Result<(), Broken> {
        // What is open now was decided in an earlier step, and nothing has happened since.
        self.served += if self.is_serving { bench.now - self.seen } else { 0 };
        self.seen = bench.now;
        self.is_serving = device.is_on && !device.life.tunnels.is_empty();
        self.read_disk(device, cloud);
        if !device.is_on {
            return Ok(());
        }
        self.confirm(device, cloud, bench);
        self.no_way_back(device)?;
        for (order, tunnel) in &device.life.tunnels {
            if !tunnel.carries && device.cut.contains(order) {
                continue;
            }
            self.is_authorised(tunnel.place, device, cloud, bench)?;
            is_granted(tunnel.place, device)?;
            if tunnel.carries {
                let is_first = !device.cut.contains(order);
                demand(3, is_first, || format!("tunnel {order} was cut and carries again"))?;
                let is_recorded = self.permitted.contains(&tunnel_id(*order));
                demand(4, is_recorded, || format!("tunnel {order} carries without a durable row"))?;
            }
        }
        Ok(())
    }

    fn read_disk(&mut self, device: &Device, cloud: &Cloud) {
        if self.commits == device.disk.commits {
            return;
        }
        self.commits = device.disk.commits;
        let stored = &device.disk.stored;
        self.stored = self.stored.max(stored.floor.map_or((0, 0), |floor| (floor.epoch, floor.version)));
        let root = cloud.roots.iter().find(|root| *root.bytes == *stored.root);
        self.stored_root = root.map_or(self.stored_root, |root| root.version.max(self.stored_root));
        for (bytes, _) in &device.disk.trail[self.rows..] {
            if let Event::Permitted { tunnel, .. } = codec::decode::<Row>(bytes, ROW_BYTES).unwrap().event {
                self.permitted.insert(tunnel);
            }
        }
        self.rows = device.disk.trail.len();
    }

    /// Whether the last answer names what the device holds.
    fn confirm(&mut self, device: &Device, cloud: &Cloud, bench: &Bench) {
        let Some((timestamp, asked)) = &self.word else { return };
        let in_force = device.life.policy.as_ref().map(|index| held(index.floor()));
        let names = timestamp.held.is_some()
            && timestamp.held == in_force
            && timestamp.root_version == device.life.root.version
            && timestamp.lock <= device.highest_in_force();
        if !names || *asked < self.confirmed.0 {
            return;
        }
        self.confirmed = (*asked, Some(device.life.booted));
        self.served = self.served.min(bench.now - asked);
        let stored = &device.disk.stored;
        let is_kept = stored.floor.map(held) == in_force
            && stored.root == *cloud.roots[usize::try_from(timestamp.root_version).unwrap() - 1].bytes
            && device.highest_lock() >= timestamp.lock;
        if is_kept {
            self.kept = *asked;
        }
    }

    fn no_way_back(&mut self, device: &Device) -> Result<(), Broken> {
        if let Some(index) = &device.life.policy {
            let floor = index.floor();
            let (now, before) = ((floor.epoch, floor.version), self.highest);
            demand(2, now >= before, || format!("version {now:?} is in force, {before:?} was"))?;
            self.highest = now;
            let (epoch, expected) = (floor.epoch, device.life.root.policy_epoch);
            demand(3, epoch == expected, || {
                format!("epoch {epoch} is in force under a root of epoch {expected}")
            })?;
        }
        let (now, before) = (device.life.root.version, self.root);
        demand(2, now >= before, || format!("root {now} is in force, root {before} was"))?;
        self.root = now;
        Ok(())
    }

    fn is_authorised(
        &self,
        place: Place,
        device: &Device,
        cloud: &Cloud,
        bench: &Bench,
    ) -> Result<(), Broken> {
        let (now, window, budget) =
            (bench.now, u64::from(cloud.rule.window_s) * 1000, u64::from(cloud.rule.offline_s) * 1000);
        let is_attested = device.life.watch.time().is_attested();
        // Without attested time a lower bound is all that is known, and windows may seem to last.
        let is_in = |terms: &Terms| {
            !is_attested
                || (terms.from.is_none_or(|from| from <= now + ANSWER + SECOND)
                    && terms.until.is_none_or(|until| now < until + 2 * SECOND))
        };
        let (asked, life) = self.confirmed;
        let is_fresh = life == Some(device.life.booted) && now <= asked + window + SECOND;
        let mut granted = cloud.history.allowed_since(place, now.saturating_sub(window + ANSWER));
        if is_fresh && granted.any(|terms| is_in(&terms)) {
            return Ok(());
        }
        let mut kept =
            cloud.history.allowed_unheard(place, self.kept.saturating_sub(window + ANSWER), self.kept);
        // Paid for before it is served: the disk says so already.
        let paid = budget.min(u64::from(device.disk.stored.spent) * 1000);
        let is_within = self.served <= window + paid + UNPAID;
        if is_within && kept.any(|terms| terms.offline && is_in(&terms)) {
            return Ok(());
        }
        let heard = (now - asked) / 1000;
        let served = self.served / 1000;
        Err(Broken(
            1,
            format!("{place:?} is open; the cloud was heard {heard} s ago, {served} s were served since"),
        ))
    }

    /// Nobody interferes any more, for long enough.
    pub(crate) fn is_settled(
        &self,
        device: &mut Device,
        cloud: &Cloud,
        bench: &mut Bench,
        may: impl Fn(Place) -> Option<bool>,
    ) -> Result<(), Broken> {
        let newest = Some(cloud.newest().held);
        let in_force = device.life.policy.as_ref().map(|index| held(index.floor()));
        demand(5, in_force == newest, || format!("{in_force:?} is in force, {newest:?} is newest"))?;
        let stored = device.disk.stored.floor.map(held);
        demand(5, stored == newest, || format!("{stored:?} is stored, {newest:?} is newest"))?;
        let (root, expected) = (device.life.root.version, cloud.root.version);
        demand(5, root == expected, || format!("root {root} is in force, {expected} is newest"))?;
        let (lock, named) = (device.highest_lock(), cloud.lock().1);
        demand(5, lock >= named, || format!("lock {lock} is held, {named} is newest"))?;
        let is_fresh = self.confirmed.1 == Some(device.life.booted)
            && bench.now < self.confirmed.0 + u64::from(cloud.rule.window_s) * 1000;
        demand(5, is_fresh, || "the device is not fresh".to_owned())?;
        for number in 0..crate::truth::USERS {
            let pass = cloud.pass(number, bench.now);
            device.life.subjects.clear();
            for service in 0..crate::truth::SERVICES {
                let place = (number, service);
                let opens = device.would_open(place, &pass, bench);
                let truth = may(place).unwrap_or(opens);
                demand(5, opens == truth, || format!("{place:?} opens: {opens}; by the truth: {truth}"))?;
                bench.note(
                    if opens { "allowed in the end" } else { "denied in the end" },
                    number.into(),
                    service.into(),
                );
            }
        }
        Ok(())
    }
}

/// Whether the snapshot and the locks in force still grant what is open: read from the rows, not decided.
fn is_granted(place: Place, device: &Device) -> Result<(), Broken> {
    let row = device.life.policy.as_ref().and_then(|index| {
        let snapshot = index.snapshot();
        let number = snapshot.users.iter().position(|row| row.id == user(place.0))?;
        let is_it = |grant: &&postern_protocol::policy::Grant| {
            usize::try_from(grant.user).unwrap() == number && grant.category == u32::from(place.1)
        };
        snapshot.grants.iter().find(is_it).copied()
    });
    demand(3, row.is_some(), || format!("{place:?} is open and not granted by what is in force"))?;
    let locks = &device.life.locks;
    let locked = locks.deny_device()
        || locks.deny_user(user(place.0))
        || locks.deny_category(&name("category", place.1));
    demand(3, !locked, || format!("{place:?} is open and locked"))
}

/// Breaks a promise where `holds` is false.
pub(crate) fn demand(promise: u8, holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(promise, what())) }
}

const SECOND: u64 = 1_000;
/// An answer that takes longer says too little about now.
const ANSWER: u64 = 30_000;
/// A debit may take this long to be stored before what it pays for ends.
const UNPAID: u64 = 6_000;
