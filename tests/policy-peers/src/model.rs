//! The model that all engines decide on, and what is asked of them.
//!
//! 1. Users are members of groups, groups have roles, roles open categories, each service is in one category.
//! 2. A user may open a service when one of these chains leads to its category: [`World::permits`] looks, slowly.
//! 3. [`Questions`] are drawn until as many are permitted as denied.

use std::collections::BTreeSet;
use std::ops::Range;

use postern_protocol::id::UserId;

/// How much of each there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// People.
    pub users: u16,
    /// User groups.
    pub groups: u16,
    /// Roles.
    pub roles: u16,
    /// Access categories.
    pub categories: u16,
    /// Services.
    pub services: u16,
}

/// The model. Everything is a number, counted from zero.
#[derive(Clone, Debug)]
pub struct World {
    size: Size,
    ids: Vec<UserId>,
    groups_of_users: Vec<Vec<u16>>,
    roles_of_groups: Vec<Vec<u16>>,
    categories_of_roles: Vec<Vec<u16>>,
    category_of_services: Vec<u16>,
}

/// May this user open this service?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The user.
    pub user: u16,
    /// The service.
    pub service: u16,
}

/// Questions in one list: mixed batches of many users, mixed batches of one user each, permitted ones, denied ones.
#[derive(Clone, Debug)]
pub struct Questions {
    list: Vec<Question>,
    batches: usize,
}

/// A part of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Half of each batch is permitted, in random order; each question is another user's.
    Mixed,
    /// The same, but all of a batch are one user's, as on a live connection.
    OneUser,
    /// All are permitted.
    Permitted,
    /// All are denied.
    Denied,
}

impl World {
    /// Draws a world. The same seed draws the same world.
    #[must_use]
    pub fn draw(size: Size, random: &mut Random) -> Self {
        let mut ids = BTreeSet::new();
        while ids.len() < usize::from(size.users) {
            ids.insert(UserId::new(random.next().to_be_bytes()));
        }
        let groups_of_users = (0..size.users).map(|_| random.some(GROUPS_OF_USER, size.groups)).collect();
        let roles_of_groups = (0..size.groups).map(|_| random.some(ROLES_OF_GROUP, size.roles)).collect();
        let categories_of_roles =
            (0..size.roles).map(|_| random.some(CATEGORIES_OF_ROLE, size.categories)).collect();
        // The first services make sure that no category is empty.
        let category_of_services = (0..size.services)
            .map(|service| if service < size.categories { service } else { random.below(size.categories) })
            .collect();
        let ids = ids.into_iter().collect();
        Self { size, ids, groups_of_users, roles_of_groups, categories_of_roles, category_of_services }
    }

    /// How much of each there is.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The ids of the users, ascending.
    #[must_use]
    pub fn ids(&self) -> &[UserId] {
        &self.ids
    }

    /// The id of a user.
    #[must_use]
    pub fn id(&self, user: u16) -> UserId {
        self.ids.get(usize::from(user)).copied().unwrap_or(UserId::new([0; 8]))
    }

    /// The groups that a user is in.
    #[must_use]
    pub fn groups(&self, user: u16) -> &[u16] {
        row(&self.groups_of_users, user)
    }

    /// The roles that a group has.
    #[must_use]
    pub fn roles(&self, group: u16) -> &[u16] {
        row(&self.roles_of_groups, group)
    }

    /// The categories that a role opens.
    #[must_use]
    pub fn categories(&self, role: u16) -> &[u16] {
        row(&self.categories_of_roles, role)
    }

    /// The category that a service is in.
    #[must_use]
    pub fn category(&self, service: u16) -> u16 {
        self.category_of_services.get(usize::from(service)).copied().unwrap_or(u16::MAX)
    }

    /// Whether a user may open a service, by definition.
    #[must_use]
    pub fn permits(&self, question: Question) -> bool {
        let roles = self.groups(question.user).iter().flat_map(|group| self.roles(*group));
        let mut categories = roles.flat_map(|role| self.categories(*role));
        categories.any(|category| *category == self.category(question.service))
    }
}

impl Questions {
    /// Draws batches of [`Self::BATCH`] questions. A world that permits nearly all or nothing yields fewer.
    #[must_use]
    pub fn draw(world: &World, batches: usize, random: &mut Random) -> Self {
        let half = Self::BATCH / 2;
        let (yes, no) = halves(world, half * batches, random, None);
        let mut list = Vec::with_capacity(yes.len() * 6);
        for (yes, no) in yes.chunks(half).zip(no.chunks(half)) {
            list.extend(random.mixed(yes, no));
        }
        for _ in 0..batches {
            let users = std::iter::repeat_with(|| random.below(world.size().users)).take(TRIES);
            let users: Vec<u16> = users.collect();
            let mut drawn = users.into_iter().map(|user| halves(world, half, random, Some(user)));
            if let Some((yes, no)) = drawn.find(|(yes, no)| yes.len() == half && no.len() == half) {
                list.extend(random.mixed(&yes, &no));
            }
        }
        list.extend(yes);
        list.extend(no);
        Self { list, batches }
    }

    /// All questions.
    #[must_use]
    pub fn all(&self) -> &[Question] {
        &self.list
    }

    /// As many as were wished for.
    #[must_use]
    pub const fn wished(&self) -> usize {
        3 * self.batches * Self::BATCH
    }

    /// The positions of the batches of a part.
    pub fn batches(&self, part: Part) -> impl Iterator<Item = Range<usize>> {
        let (mixed, half) = (self.batches * Self::BATCH, self.batches * Self::BATCH / 2);
        let part = match part {
            Part::Mixed => 0..mixed,
            Part::OneUser => mixed..2 * mixed,
            Part::Permitted => 2 * mixed..2 * mixed + half,
            Part::Denied => 2 * mixed + half..3 * mixed,
        };
        part.step_by(Self::BATCH).map(|from| from..from + Self::BATCH)
    }

    /// Questions between two readings of the clock: one reading costs as much as a decision.
    pub const BATCH: usize = 32;
}

impl Part {
    /// How many questions of a batch are permitted.
    #[must_use]
    pub const fn permitted(self) -> usize {
        match self {
            Self::Mixed | Self::OneUser => Questions::BATCH / 2,
            Self::Permitted => Questions::BATCH,
            Self::Denied => 0,
        }
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins at a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or zero when there is none.
    fn below(&mut self, end: u16) -> u16 {
        let rest = self.next().checked_rem(u64::from(end)).unwrap_or(0);
        u16::try_from(rest).unwrap_or(0)
    }

    /// So many different numbers below `end`, ascending.
    fn some(&mut self, count: usize, end: u16) -> Vec<u16> {
        let mut numbers = BTreeSet::new();
        while numbers.len() < count.min(usize::from(end)) {
            numbers.insert(self.below(end));
        }
        numbers.into_iter().collect()
    }

    /// Both lists as one, in random order.
    fn mixed(&mut self, yes: &[Question], no: &[Question]) -> Vec<Question> {
        let mut list: Vec<Question> = yes.iter().chain(no).copied().collect();
        for end in (1..=list.len()).rev() {
            list.swap(end - 1, usize::from(self.below(u16::try_from(end).unwrap_or(u16::MAX))));
        }
        list
    }
}

/// So many permitted and so many denied questions, of one user or of any.
fn halves(
    world: &World,
    half: usize,
    random: &mut Random,
    user: Option<u16>,
) -> (Vec<Question>, Vec<Question>) {
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    let size = world.size();
    for _ in 0..half.saturating_mul(TRIES) {
        let user = user.unwrap_or_else(|| random.below(size.users));
        let question = Question { user, service: random.below(size.services) };
        let list = if world.permits(question) { &mut yes } else { &mut no };
        if list.len() < half {
            list.push(question);
        }
        if yes.len() == half && no.len() == half {
            break;
        }
    }
    (yes, no)
}

fn row(rows: &[Vec<u16>], at: u16) -> &[u16] {
    rows.get(usize::from(at)).map_or(&[], Vec::as_slice)
}

/// The model of the design's targets: one device's worth of policy.
pub const FULL: Size = Size { users: 1000, groups: 200, roles: 50, categories: 50, services: 2000 };
/// Draws for each question that is wanted, before there are too few of its kind.
const TRIES: usize = 100;
const GROUPS_OF_USER: usize = 3;
const ROLES_OF_GROUP: usize = 2;
const CATEGORIES_OF_ROLE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { users: 20, groups: 10, roles: 8, categories: 12, services: 40 };

    #[test]
    fn the_same_seed_draws_the_same_world_and_another_seed_another() {
        let draw = |seed| World::draw(SMALL, &mut Random::new(seed));
        assert_eq!(draw(7).groups_of_users, draw(7).groups_of_users);
        assert_ne!(draw(7).groups_of_users, draw(8).groups_of_users);
    }

    #[test]
    fn a_world_permits_through_a_whole_chain_and_not_through_a_broken_one() {
        let mut world = World {
            size: SMALL,
            ids: Vec::new(),
            groups_of_users: vec![vec![1]],
            roles_of_groups: vec![vec![0], vec![1]],
            categories_of_roles: vec![vec![0], vec![2]],
            category_of_services: vec![2, 0],
        };
        assert!(world.permits(Question { user: 0, service: 0 }));
        assert!(!world.permits(Question { user: 0, service: 1 }));
        world.groups_of_users = vec![Vec::new()];
        assert!(!world.permits(Question { user: 0, service: 0 }));
    }

    #[test]
    fn every_part_has_as_many_permitted_questions_as_it_says() {
        let mut random = Random::new(3);
        let world = World::draw(SMALL, &mut random);
        let questions = Questions::draw(&world, 4, &mut random);
        assert_eq!(
            (questions.all().len(), questions.wished()),
            (12 * Questions::BATCH, 12 * Questions::BATCH)
        );
        let parts = [(Part::Mixed, 4), (Part::OneUser, 4), (Part::Permitted, 2), (Part::Denied, 2)];
        for (part, batches) in parts {
            let counted: Vec<usize> = questions
                .batches(part)
                .map(|batch| questions.list[batch].iter().filter(|ask| world.permits(**ask)).count())
                .collect();
            assert_eq!(counted, vec![part.permitted(); batches]);
        }
        for batch in questions.batches(Part::OneUser) {
            let users: BTreeSet<u16> = questions.list[batch].iter().map(|ask| ask.user).collect();
            assert_eq!(users.len(), 1);
        }
    }

    #[test]
    fn a_world_that_permits_nothing_has_fewer_questions_than_were_wished_for() {
        let mut random = Random::new(3);
        let world = World::draw(Size { roles: 0, ..SMALL }, &mut random);
        let questions = Questions::draw(&world, 1, &mut random);
        assert_eq!((questions.all().len(), questions.wished()), (Questions::BATCH / 2, 3 * Questions::BATCH));
    }
}
