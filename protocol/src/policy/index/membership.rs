//! Which lists of services contain which service: one row of bits for each service, one bit for each list.
//!
//! Lists are the services of each category, or of each case. The rows are by service and not by list, because a
//! decision asks one service about several lists.
//!
//! 1. A [`Fold`] of each row says at once which lists cannot contain the service.
//! 2. The row itself is asked about the others, and alone says that one does.

use super::position;

/// The rows of all services.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    /// One for each service.
    folds: Vec<Fold>,
    /// `width` words for each service.
    words: Vec<u64>,
    width: usize,
}

/// The lists that contain one service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists<'a> {
    of: &'a Membership,
    service: u32,
    fold: Fold,
}

/// A set of lists in one word, where list `n` is bit `n % 64`: exact for the first 64 lists, a superset for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fold(u64);

impl Membership {
    /// One row for each of `services` services.
    pub(super) fn of<'a>(services: usize, lists: impl ExactSizeIterator<Item = &'a [u32]>) -> Self {
        let width = lists.len().div_ceil(64);
        let (mut folds, mut words) = (vec![Fold::default(); services], vec![0u64; width * services]);
        for (list, members) in (0u32..).zip(lists) {
            for service in members {
                let service = position(*service);
                if let Some(fold) = folds.get_mut(service) {
                    fold.add(list);
                }
                if let Some(word) = words.get_mut(service * width + position(list / 64)) {
                    *word |= bit(list);
                }
            }
        }
        Self { folds, words, width }
    }

    /// The lists that contain `service`; none for a service that does not exist.
    pub(super) fn of_service(&self, service: u32) -> Lists<'_> {
        let fold = self.folds.get(position(service)).copied().unwrap_or_default();
        Lists { of: self, service, fold }
    }
}

impl Lists<'_> {
    /// Whether the service is in this list.
    pub(super) fn contain(self, list: u32) -> bool {
        self.fold.may_have(list) && self.has(list)
    }

    /// Whether the service may be in a list of `set`; if not, it is in none.
    pub(super) const fn may_meet(self, set: Fold) -> bool {
        self.fold.0 & set.0 != 0
    }

    fn has(self, list: u32) -> bool {
        let (row, word) = (position(self.service) * self.of.width, position(list / 64));
        word < self.of.width && self.of.words.get(row + word).is_some_and(|word| word & bit(list) != 0)
    }
}

impl Fold {
    /// Adds a list.
    pub(super) const fn add(&mut self, list: u32) {
        self.0 |= bit(list);
    }

    const fn may_have(self, list: u32) -> bool {
        self.0 & bit(list) != 0
    }
}

/// The bit of a list in its word.
const fn bit(list: u32) -> u64 {
    1 << (list % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Services of 0 to 129: list 0 has the even ones, list 1 the odd ones, list `2 + n` has service `n` alone.
    fn membership() -> Membership {
        let mut lists: Vec<Vec<u32>> = [0, 1].map(|from| (from..130).step_by(2).collect()).into();
        lists.extend((0..130).map(|service| vec![service]));
        Membership::of(130, lists.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_service_is_in_its_lists_and_in_no_neighbour_in_the_same_or_the_next_word() {
        let membership = membership();
        for service in 0..130 {
            let lists = membership.of_service(service);
            let found: Vec<u32> = (0..1000).filter(|list| lists.contain(*list)).collect();
            assert_eq!(found, [service % 2, 2 + service]);
        }
        // Beyond the last service and the last list there is nothing, also where a word has room.
        for (service, list) in
            [(130, 0), (192, 0), (u32::MAX, 0), (0, 132), (0, 191), (0, 192), (0, u32::MAX)]
        {
            assert!(!membership.of_service(service).contain(list), "{service} {list}");
        }
        // Beyond the last list begins the row of the next service, which is in a list of the same bit.
        let one = Membership::of(2, std::iter::once([0, 1].as_slice()));
        for service in [0, 1] {
            let found: Vec<u32> = (0..1000).filter(|list| one.of_service(service).contain(*list)).collect();
            assert_eq!(found, [0]);
        }
        let none = Membership::of(2, std::iter::empty());
        assert!(!none.of_service(0).contain(0));
    }

    #[test]
    fn sets_that_share_a_list_may_meet_however_many_lists_there_are() {
        let membership = membership();
        for service in 0..130 {
            let lists = membership.of_service(service);
            for list in 0..132 {
                let mut set = Fold::default();
                set.add(list);
                // Service n is in the lists n % 2 and n + 2; those that are the same modulo 64 look alike.
                let alike = [service % 2, service + 2].iter().any(|it| it % 64 == list % 64);
                assert_eq!(lists.may_meet(set), alike, "{service} {list}");
            }
            assert!(!lists.may_meet(Fold::default()));
        }
    }
}
