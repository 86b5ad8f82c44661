//! What people do, and what befalls a world: each deed of its plan.

use postern_protocol::time::UnixTime;

use super::{HOUR, Step, Thief, World};
use crate::bench::Bench;
use crate::cloud::{Ceremony, Whose, clock};
use crate::network::{End, look};
use crate::plan::{self, Deed};
use crate::truth::Place;

impl World {
    pub(super) fn deed(&mut self, deed: Deed) {
        let now = self.bench.now;
        match deed {
            Deed::Edit => self.edit(),
            Deed::Lock => {
                let target = plan::target(&mut self.bench.chance);
                self.cloud.lock_target(target, now);
                self.bench.note("locked", 0, 0);
                self.publish();
            }
            Deed::Lift => {
                let targets: Vec<_> = self.cloud.truth.locked.iter().cloned().collect();
                let one = self.bench.chance.pick(&targets).filter(|_| targets.len() > 1).cloned();
                self.cloud.lift(one.as_ref(), now);
                self.bench.note("lifted", 0, 0);
                self.publish();
            }
            Deed::Hold(ceremony) => self.hold(ceremony),
            Deed::Theft => {
                let (epoch, generation) =
                    (self.cloud.root.policy_epoch, self.cloud.generation(Whose::Policy));
                self.thief = Some(Thief { epoch, generation, forged: Vec::new(), is_believed: false });
                self.bench.note("theft", generation.into(), 0);
                self.forge();
            }
            Deed::Open => {
                let place = self.wish();
                let pass = self.pass(place.0);
                if self.device.is_on {
                    self.device.admit(place, &pass, &mut self.bench);
                }
            }
            Deed::Leave => self.device.leave(&mut self.bench),
            Deed::Break => self.break_link(),
            Deed::Outage(is_cut_off) => {
                self.bench.note(if is_cut_off { "outage" } else { "the line is back" }, 0, 0);
                self.is_cut_off = is_cut_off;
                if is_cut_off {
                    self.break_link();
                }
            }
            Deed::Disk(trouble) => {
                self.bench.note("disk", trouble as u64, 0);
                let Bench { chance, .. } = &mut self.bench;
                self.device.disk.fall_into(trouble, chance, now);
            }
            Deed::PowerCut if self.device.is_on => {
                self.break_link();
                self.device.lose_power(&mut self.bench);
                let off = if self.bench.chance.one_in(5) { 600 } else { 40 };
                let back = now + self.bench.chance.within(5..off) * 1000;
                self.at(back, Step::Boot);
            }
            Deed::PowerCut => {}
            Deed::Ambush => self.is_ambush = true,
        }
    }

    /// Grants, changes or withdraws something; what was withdrawn may be granted again.
    fn edit(&mut self) {
        let now = self.bench.now;
        for _ in 0..self.bench.chance.within(1..3) {
            let place = plan::place(&mut self.bench.chance);
            if self.cloud.truth.grants.remove(&place).is_some() && self.bench.chance.one_in(2) {
                self.bench.note("withdrawn", place.0.into(), place.1.into());
            } else {
                let terms = plan::terms(&mut self.bench.chance, now);
                self.cloud.truth.grants.insert(place, terms);
                self.bench.note("granted", place.0.into(), place.1.into());
            }
        }
        self.cloud.publish(now);
        self.publish();
        self.forge();
    }

    pub(super) fn hold(&mut self, ceremony: Ceremony) {
        self.cloud.hold(ceremony, self.bench.now);
        self.bench.note("a new root", self.cloud.root.version.into(), self.cloud.root.policy_epoch.into());
        self.publish();
    }

    /// Every hub hears of what is new, also on links that are dead without its knowledge.
    fn publish(&mut self) {
        for link in self.links.values_mut() {
            if let End::Cloud(hub) = &mut link.end {
                look(hub, &self.cloud);
            }
        }
    }

    /// Who has stolen the key signs something, as long as the cloud has not answered.
    fn forge(&mut self) {
        let Some(thief) = self.thief.as_mut().filter(|thief| thief.epoch == self.cloud.root.policy_epoch)
        else {
            return;
        };
        let (chance, newest) = (&mut self.bench.chance, self.cloud.newest().held.version);
        let version = if chance.one_in(3) { u64::MAX } else { newest + chance.within(1..6) };
        let ahead = if chance.one_in(4) { 40_000_000 } else { 0 };
        let issued = UnixTime::from_secs(clock(self.bench.now).as_secs() + ahead);
        let place = plan::place(chance);
        thief.forged.push(self.cloud.forged(thief.generation, (version, issued), place));
    }

    /// Mostly somebody who may; sometimes anybody.
    fn wish(&mut self) -> Place {
        let granted: Vec<Place> = self.cloud.truth.grants.keys().copied().collect();
        let chance = &mut self.bench.chance;
        if chance.one_in(4) {
            return plan::anybody(chance);
        }
        chance.pick(&granted).copied().unwrap_or((0, 0))
    }

    /// A pass that is three hours old at most; now and then somebody signs in anew.
    fn pass(&mut self, number: u8) -> Vec<u8> {
        let (now, is_new) = (self.bench.now, self.bench.chance.one_in(20));
        let known = self.passes.get(&number).filter(|(issued, _)| now - issued < 3 * HOUR && !is_new);
        if let Some((_, pass)) = known {
            return pass.clone();
        }
        let pass = self.cloud.pass(number, now);
        self.passes.insert(number, (now, pass.clone()));
        pass
    }
}
