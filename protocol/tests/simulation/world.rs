//! One world: cloud, network, device and everybody who interferes, in virtual time, from one seed.
//!
//! 1. [`World::run`] takes the earliest thing that happens, lets it happen, and has every promise asked.
//! 2. After the trouble comes quiet: lines hold, the disk writes, nobody lies, a theft is answered. Within [`SETTLED`] all must
//!    be as the cloud wants it.
//! 3. Then an hour passes in which nothing happens, and nothing may be written.

mod deeds;
mod quiet;

use std::collections::{BTreeMap, VecDeque};

use postern_protocol::policy::Floor;
use postern_protocol::session::hub::{self, Published};
use postern_protocol::wire::control::HubMessage;

use crate::bench::Bench;
use crate::cloud::{Cloud, clock};
use crate::device::{Device, held};
use crate::disk::Stored;
use crate::flaw::Flaw;
use crate::network::{End, Hostile, Link, Up, greet, look};
use crate::plan::{self, Deed, Plan};
use crate::promises::{Broken, Promises, demand};

/// What happens at a moment.
enum Step {
    Deed(Deed),
    Boot,
    /// The device dials, unless another attempt was planned since.
    Dial(u64),
    ToHub(u64, Up),
    ToAgent(u64, HubMessage),
    Mischief(u64),
    Wake,
    Quiet,
    Settled,
    /// From here on nothing is written.
    Still,
    End,
}

/// A thief of the key that signs snapshots.
struct Thief {
    epoch: u32,
    generation: u8,
    forged: Vec<Published>,
    /// The device has believed one of them.
    is_believed: bool,
}

pub(crate) struct World {
    pub(crate) bench: Bench,
    cloud: Cloud,
    device: Device,
    promises: Promises,
    links: BTreeMap<u64, Link>,
    steps: BTreeMap<(u64, u64), Step>,
    count: u64,
    next_link: u64,
    dials: u64,
    is_dialling: bool,
    /// Attempts in vain.
    failed: u32,
    is_cut_off: bool,
    hostile: u64,
    /// Somebody waits for a write to cut the power.
    is_ambush: bool,
    thief: Option<Thief>,
    passes: BTreeMap<u8, (u64, Vec<u8>)>,
    /// When the device is to be woken.
    wake: Option<u64>,
    /// When it was woken last.
    woken: u64,
    commits: u64,
}

impl World {
    /// The world of a seed, whose shell has a flaw or none; it remembers its last `keeps` events.
    pub(crate) fn new(seed: u64, flaw: Flaw, keeps: usize) -> Self {
        let mut bench = Bench::new(seed, keeps);
        let plan = Plan::draw(&mut bench.chance);
        let cloud = Cloud::new(plan::first(&mut bench.chance), plan.rule);
        let Published { held, bytes } = cloud.newest();
        let floor = Floor { epoch: held.epoch, version: held.version, digest: held.digest };
        let stored = Stored {
            root: cloud.roots[0].bytes.to_vec(),
            sealed: Some(bytes.to_vec()),
            floor: Some(floor),
            owed: None,
            locks: Vec::new(),
            time: clock(0),
            spent: 0,
            boots: 0,
            floor_copy: Some(floor),
        };
        let mut world = Self {
            bench,
            cloud,
            device: Device::new(stored, flaw),
            promises: Promises::default(),
            links: BTreeMap::new(),
            steps: BTreeMap::new(),
            count: 0,
            next_link: 1,
            dials: 0,
            is_dialling: false,
            failed: 0,
            is_cut_off: false,
            hostile: plan.hostile,
            is_ambush: false,
            thief: None,
            passes: BTreeMap::new(),
            wake: None,
            woken: 0,
            commits: 0,
        };
        world.at(0, Step::Boot);
        for (at, deed) in plan.deeds {
            world.at(at, Step::Deed(deed));
        }
        world.at(plan.trouble, Step::Quiet);
        world.at(plan.trouble + SETTLED, Step::Settled);
        world.at(plan.trouble + SETTLED + MINUTE, Step::Still);
        world.at(plan.trouble + SETTLED + MINUTE + HOUR, Step::End);
        world
    }

    /// Runs it to its end, or to the first promise that is broken.
    pub(crate) fn run(&mut self) -> Result<(), Broken> {
        while let Some(((at, _), step)) = self.steps.pop_first() {
            self.bench.now = at;
            let is_end = matches!(step, Step::End);
            self.step(step)?;
            self.pump()?;
            self.promises.check(&self.device, &self.cloud, &self.bench)?;
            if is_end {
                return Ok(());
            }
            self.plan_wake();
        }
        Ok(())
    }

    fn plan_wake(&mut self) {
        let Some(due) = self.device.next_wake(&self.bench).filter(|_| self.device.is_on) else { return };
        // A timer that is due and does nothing must not stop the world.
        let due = due.max(self.bench.now + u64::from(self.woken == self.bench.now));
        if self.wake.is_none_or(|wake| due < wake) {
            self.wake = Some(due);
            self.at(due, Step::Wake);
        }
    }

    fn at(&mut self, time: u64, step: Step) {
        self.count += 1;
        self.steps.insert((time, self.count), step);
    }

    fn step(&mut self, step: Step) -> Result<(), Broken> {
        match step {
            Step::Deed(deed) => self.deed(deed),
            Step::Boot if !self.device.is_on => self.boot()?,
            Step::Dial(number) if number == self.dials => self.dial(),
            Step::ToHub(number, up) => self.hub_hears(number, up)?,
            Step::ToAgent(number, message) => self.agent_hears(number, message),
            Step::Mischief(number) => self.mischief(number),
            Step::Wake if self.wake == Some(self.bench.now) => {
                (self.wake, self.woken) = (None, self.bench.now);
                if self.device.is_on {
                    self.device.wake(&mut self.bench);
                }
            }
            Step::Boot | Step::Dial(_) | Step::Wake => {}
            Step::Quiet => self.fall_quiet()?,
            Step::Settled => self.settled()?,
            Step::Still => self.commits = self.device.disk.commits,
            Step::End => {
                let written = self.device.disk.commits - self.commits;
                demand(6, written == 0, || format!("{written} writes in a quiet hour"))?;
            }
        }
        Ok(())
    }

    fn boot(&mut self) -> Result<(), Broken> {
        self.device.boot(&mut self.bench);
        self.promises.booted(&self.device)?;
        (self.failed, self.is_dialling) = (0, false);
        Ok(())
    }

    /// With full jitter, 1 s to 5 minutes.
    fn dial_later(&mut self) {
        let ceiling = (1000_u64 << self.failed.min(9)).min(300_000);
        let at = self.bench.now + self.bench.chance.within(1..ceiling);
        self.dials += 1;
        self.is_dialling = true;
        self.at(at, Step::Dial(self.dials));
    }

    fn dial(&mut self) {
        self.is_dialling = false;
        if !self.device.is_on {
            return;
        }
        if self.is_cut_off {
            self.failed += 1;
            return self.device.link_down(&self.bench);
        }
        let is_hostile = self.hostile > 0 && self.bench.chance.one_in(self.hostile + 1);
        let end = if is_hostile {
            self.bench.note("hostile link", self.next_link, 0);
            End::Hostile(Hostile::new(self.bench.chance.one_in(3)))
        } else {
            End::Ungreeted
        };
        let number = self.next_link;
        self.next_link += 1;
        let mut link = Link::new(end, &mut self.bench.chance, self.bench.now);
        let at = link.arrival(0, &mut self.bench);
        self.links.insert(number, link);
        // A hub notices in the end that a link is dead.
        while self.links.len() > LINKS {
            self.links.pop_first();
        }
        let hello = self.device.link_up(number, &mut self.bench);
        self.at(at, Step::ToHub(number, Up::Hello(hello)));
        if is_hostile {
            self.at(at + 1, Step::Mischief(number));
            let lasts = self.bench.chance.within(5..1800) * 1000;
            self.at(self.bench.now + lasts, Step::Deed(Deed::Break));
        }
    }

    /// The link breaks; the device notices at once, and its hub never. What it said last may arrive all the same.
    fn break_link(&mut self) {
        let Some(number) = self.device.life.link.as_ref().map(|link| link.number) else { return };
        let Some(link) = self.links.get_mut(&number).filter(|link| link.is_up) else { return };
        self.bench.note("link broken", number, 0);
        link.is_up = false;
        if self.bench.chance.one_in(2) {
            self.steps.retain(|_, step| !matches!(step, Step::ToHub(to, _) if *to == number));
        }
        self.device.link_down(&self.bench);
    }

    fn hub_hears(&mut self, number: u64, up: Up) -> Result<(), Broken> {
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        match (&mut link.end, up) {
            (End::Hostile(hostile), up) => {
                let answer = hostile.hear(up, &mut self.cloud, &mut self.bench);
                self.send(number, answer.into_iter().collect());
            }
            (end, Up::Hello(hello)) => {
                *end = End::Cloud(Box::new(greet(&hello, &self.cloud, &mut self.bench.chance)));
            }
            (End::Cloud(hub), Up::Message(message)) => match hub.handle_message(message) {
                Ok(hub::Event::RootTaken { .. }) => look(hub, &self.cloud),
                Ok(hub::Event::Alarm { .. }) => self.bench.note("alarm reported", 0, 0),
                Ok(_) => {}
                Err(fault) => return Err(Broken(5, format!("the device broke the protocol: {fault:?}"))),
            },
            (End::Ungreeted, Up::Message(_)) => {}
        }
        Ok(())
    }

    fn agent_hears(&mut self, number: u64, message: HubMessage) {
        let is_current = self.device.life.link.as_ref().is_some_and(|link| link.number == number);
        if !self.device.is_on || !is_current || !self.links.get(&number).is_some_and(|link| link.is_up) {
            return;
        }
        self.failed = 0;
        if let HubMessage::Timestamp { bytes } = &message {
            self.promises.heard(bytes, &self.cloud, &self.bench);
        }
        if !self.device.hear(message, &mut self.bench) {
            self.break_link();
        }
    }

    fn mischief(&mut self, number: u64) {
        let Some(link) = self.links.get_mut(&number).filter(|link| link.is_up) else { return };
        let End::Hostile(hostile) = &mut link.end else { return };
        let forged = self.thief.as_ref().map_or(&[][..], |thief| &thief.forged);
        let messages = hostile.mischief(&mut self.cloud, forged, &mut self.bench);
        self.send(number, messages);
        let pause = if self.bench.chance.one_in(2) { 5_000 } else { 120_000 };
        let next = self.bench.now + self.bench.chance.within(50..pause);
        self.at(next, Step::Mischief(number));
    }

    /// Everybody sends what they have to send.
    fn pump(&mut self) -> Result<(), Broken> {
        let current = self.device.life.link.as_ref().map(|link| link.number).filter(|_| self.device.is_on);
        for (number, link) in &mut self.links {
            link.is_up &= current == Some(*number);
        }
        if self.is_ambush
            && let Some(due) = self.device.disk.due().filter(|_| self.device.is_on)
        {
            self.is_ambush = false;
            let at = self.bench.chance.within(self.bench.now..due + 1);
            self.at(at, Step::Deed(Deed::PowerCut));
        }
        if self.device.is_on && current.is_none() && !self.is_dialling {
            self.dial_later();
        }
        if let Some(number) = current {
            while let Some(message) = self.device.poll_transmit() {
                self.promises.said(&message, &self.device, &self.bench)?;
                if let Some(link) = self.links.get_mut(&number) {
                    let at = link.arrival(0, &mut self.bench);
                    self.at(at, Step::ToHub(number, Up::Message(message)));
                }
            }
        }
        let mut sent = VecDeque::new();
        for (number, link) in &mut self.links {
            let End::Cloud(hub) = &mut link.end else { continue };
            loop {
                // The time and the name of what is pushed go before it.
                let naming = hub.poll_naming();
                let message = match naming {
                    // Nobody will ever read it.
                    Some(_) if !link.is_up => continue,
                    Some(naming) => {
                        HubMessage::Timestamp { bytes: self.cloud.answer(naming, self.bench.now) }
                    }
                    None => match hub.poll_transmit() {
                        Some(message) => message,
                        None => break,
                    },
                };
                sent.push_back((*number, message));
            }
        }
        for (number, message) in sent {
            self.send(number, vec![message]);
        }
        let in_force = self.device.life.policy.as_ref().map(|index| held(index.floor()));
        if let Some(thief) = self.thief.as_mut().filter(|thief| !thief.is_believed)
            && thief.forged.iter().any(|forged| Some(forged.held) == in_force)
        {
            thief.is_believed = true;
            self.bench.note("a forged policy in force", 0, 0);
        }
        Ok(())
    }

    fn send(&mut self, number: u64, messages: Vec<HubMessage>) {
        for message in messages {
            let Some(link) = self.links.get_mut(&number).filter(|link| link.is_up) else { return };
            let at = link.arrival(1, &mut self.bench);
            self.at(at, Step::ToAgent(number, message));
        }
    }
}

/// Within this a quiet world has settled: the longest pause between two attempts to dial, twice, and an exchange.
const SETTLED: u64 = 15 * 60_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 3_600_000;
/// Links that hubs still believe in.
const LINKS: usize = 4;
