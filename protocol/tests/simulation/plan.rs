//! What a world has in store: drawn before it begins, at times within its trouble.

use postern_protocol::policy::FreshnessRule;
use postern_protocol::trust::LockTarget;

use crate::chance::Chance;
use crate::cloud::Ceremony;
use crate::disk::Trouble;
use crate::truth::{MALLORY, Place, Policy, SERVICES, Terms, USERS, name, user};

/// Something that happens by itself.
#[derive(Debug)]
pub(crate) enum Deed {
    /// The administrator grants, changes or withdraws.
    Edit,
    Lock,
    Lift,
    Hold(Ceremony),
    /// Somebody steals the key that signs snapshots.
    Theft,
    /// Somebody asks for a tunnel.
    Open,
    /// Somebody closes one.
    Leave,
    Break,
    Outage(bool),
    Disk(Trouble),
    PowerCut,
    /// The power goes as soon as something is being written.
    Ambush,
}

/// How a world is.
pub(crate) struct Plan {
    pub(crate) deeds: Vec<(u64, Deed)>,
    /// Milliseconds of trouble.
    pub(crate) trouble: u64,
    pub(crate) rule: FreshnessRule,
    /// One link in so many leads to a hostile hub; none does where it is zero.
    pub(crate) hostile: u64,
}

impl Plan {
    /// Draws a world.
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let trouble = chance.within(10..130) * 60_000;
        let rule = FreshnessRule {
            window_s: *chance.pick(&[180, 300, 600, 900]).unwrap(),
            offline_s: *chance.pick(&[0, 900, 1800, 3600]).unwrap(),
        };
        let hostile = if chance.one_in(2) { 0 } else { chance.within(1..4) };
        let mut plan = Self { deeds: Vec::new(), trouble, rule, hostile };
        plan.some(0..16, chance, |_| Deed::Edit);
        plan.some(5..30, chance, |_| Deed::Open);
        plan.some(0..6, chance, |_| Deed::Leave);
        plan.some(0..16, chance, |_| Deed::Break);
        if chance.one_in(2) {
            plan.some(1..5, chance, |_| Deed::Lock);
            plan.some(0..3, chance, |_| Deed::Lift);
        }
        if chance.one_in(3) {
            plan.some(1..4, chance, |chance| Deed::Hold(ceremony(chance)));
        }
        if chance.one_in(3) {
            plan.some(1..5, chance, |chance| if chance.one_in(2) { Deed::PowerCut } else { Deed::Ambush });
        }
        if chance.one_in(2) {
            plan.spells(1..4, chance, |_| (Deed::Outage(true), Deed::Outage(false)));
        }
        if chance.one_in(3) {
            plan.spells(1..4, chance, |chance| {
                let trouble = if chance.one_in(2) { Trouble::Refuses } else { Trouble::Hangs };
                (Deed::Disk(trouble), Deed::Disk(Trouble::None))
            });
        }
        if hostile > 0 && chance.one_in(2) {
            plan.some(1..2, chance, |_| Deed::Theft);
        }
        if chance.one_in(3) {
            plan.siege(chance);
        }
        plan
    }

    /// Somebody cuts the line, and the power every few minutes, and users try all the same.
    fn siege(&mut self, chance: &mut Chance) {
        let start = chance.within(0..self.trouble / 3);
        let end = start + chance.within(self.trouble / 3..self.trouble * 2 / 3);
        self.deeds.push((start, Deed::Outage(true)));
        self.deeds.push((end, Deed::Outage(false)));
        let pace = if chance.one_in(2) { chance.within(60..300) } else { chance.within(300..1500) } * 1000;
        let hangs = chance.one_in(2);
        let mut at = start;
        while at < end {
            at += chance.within(pace / 2..pace * 2);
            self.deeds.push((at, Deed::PowerCut));
            for _ in 0..4 {
                self.deeds.push((at + chance.within(10_000..90_000), Deed::Open));
                self.deeds.push((at + chance.within(10_000..pace), Deed::Open));
            }
            if hangs && chance.one_in(2) {
                let from = at + chance.within(100_000..200_000);
                self.deeds.push((from, Deed::Disk(Trouble::Hangs)));
                self.deeds.push((from + chance.within(60_000..pace * 2), Deed::Disk(Trouble::None)));
            }
        }
        self.deeds.retain(|(at, _)| *at < self.trouble);
    }

    fn some(&mut self, count: std::ops::Range<u64>, chance: &mut Chance, deed: impl Fn(&mut Chance) -> Deed) {
        for _ in 0..chance.within(count) {
            let at = chance.within(0..self.trouble);
            self.deeds.push((at, deed(chance)));
        }
    }

    fn spells(
        &mut self,
        count: std::ops::Range<u64>,
        chance: &mut Chance,
        deed: impl Fn(&mut Chance) -> (Deed, Deed),
    ) {
        for _ in 0..chance.within(count) {
            let (at, (begins, ends)) = (chance.within(0..self.trouble), deed(chance));
            let lasts =
                if chance.one_in(3) { chance.within(600..7200) } else { chance.within(5..600) } * 1000;
            self.deeds.push((at, begins));
            self.deeds.push(((at + lasts).min(self.trouble - 1), ends));
        }
    }
}

/// What is granted at first.
pub(crate) fn first(chance: &mut Chance) -> Policy {
    let mut policy = Policy::default();
    for _ in 0..chance.within(1..6) {
        policy.grants.insert(place(chance), terms(chance, 0));
    }
    policy
}

/// Somebody who may be granted something, and what.
pub(crate) fn place(chance: &mut Chance) -> Place {
    let number = |it: u64| u8::try_from(it).unwrap();
    (number(chance.within(0..MALLORY.into())), number(chance.within(0..SERVICES.into())))
}

/// Anybody at all.
pub(crate) fn anybody(chance: &mut Chance) -> Place {
    let number = |it: u64| u8::try_from(it).unwrap();
    (number(chance.within(0..USERS.into())), number(chance.within(0..SERVICES.into())))
}

/// Conditions of a grant that is made now.
pub(crate) const fn terms(chance: &mut Chance, now: u64) -> Terms {
    let offline = chance.one_in(2);
    // Whole seconds, as they are signed.
    let edge = now / 1000 * 1000 + chance.within(0..3600) * 1000;
    match chance.within(0..6) {
        0 => Terms { offline, from: Some(edge), until: None },
        1 => Terms { offline, from: None, until: Some(edge) },
        _ => Terms { offline, from: None, until: None },
    }
}

/// What may be locked.
pub(crate) fn target(chance: &mut Chance) -> LockTarget {
    let (number, service) = place(chance);
    match chance.within(0..5) {
        0 => LockTarget::Device,
        1 | 2 => LockTarget::Category(name("category", service)),
        _ => LockTarget::User(user(number)),
    }
}

fn ceremony(chance: &mut Chance) -> Ceremony {
    let of = [
        Ceremony::Policy { both: true },
        Ceremony::Policy { both: false },
        Ceremony::Timestamp,
        Ceremony::Lock,
        Ceremony::Recovery,
    ];
    *chance.pick(&of).unwrap()
}
