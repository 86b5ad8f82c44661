//! The end of a world: nobody interferes any more, and all must become as the cloud wants it.

use super::{MINUTE, Step, World};
use crate::cloud::Ceremony;
use crate::disk::Trouble;
use crate::network::{End, Link};
use crate::plan::Deed;
use crate::promises::{Broken, demand};
use crate::truth::Place;

impl World {
    pub(super) fn fall_quiet(&mut self) -> Result<(), Broken> {
        self.bench.note("quiet", 0, 0);
        (self.is_ambush, self.hostile, self.is_cut_off) = (false, 0, false);
        self.deed(Deed::Disk(Trouble::None));
        if self.thief.as_ref().is_some_and(|thief| thief.epoch == self.cloud.root.policy_epoch) {
            self.hold(Ceremony::Recovery);
        }
        self.steps.retain(|_, step| !matches!(step, Step::Deed(_)));
        self.break_link();
        // What could not be stored is asked for again with the next link.
        self.at(self.bench.now + 5 * MINUTE, Step::Deed(Deed::Break));
        // The last word, over a link that holds.
        self.at(self.bench.now + 7 * MINUTE, Step::Deed(Deed::Edit));
        if !self.device.is_on {
            self.boot()?;
        }
        Ok(())
    }

    pub(super) fn settled(&mut self) -> Result<(), Broken> {
        let (now, truth) = (self.bench.now, self.cloud.truth.clone());
        // The device's clock may be half a minute ahead, and a second behind.
        let may = |place: Place| {
            let Some(terms) = truth.allows(place) else { return Some(false) };
            let is_near = |edge: Option<u64>| edge.is_some_and(|edge| edge.abs_diff(now) < 35_000);
            let is_in =
                terms.from.is_none_or(|from| from <= now) && terms.until.is_none_or(|until| now < until);
            (!is_near(terms.from) && !is_near(terms.until)).then_some(is_in)
        };
        self.promises.is_settled(&mut self.device, &self.cloud, &mut self.bench, may)?;
        let current = self.device.life.link.as_ref().and_then(|link| self.links.get(&link.number));
        let Some(Link { end: End::Cloud(hub), .. }) = current else {
            return Err(Broken(5, "there is no link to the cloud".to_owned()));
        };
        let (told, newest) = (hub.held(), Some(self.cloud.newest().held));
        demand(5, told == newest, || {
            format!("the hub believes that {told:?} is held, {newest:?} is newest")
        })?;
        let (root, expected) = (hub.root_version(), self.cloud.root.version);
        demand(5, root == expected, || format!("the hub believes that root {root} is held, not {expected}"))?;
        // What is open is closed, and its last rows are written, before the quiet hour.
        while !self.device.life.tunnels.is_empty() {
            self.device.leave(&mut self.bench);
        }
        Ok(())
    }
}
