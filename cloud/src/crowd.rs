//! Connections that hold a place and have not said yet what it is for: how many there may be, and who gives way.
//!
//! 1. Whoever comes is [added](Crowd::add). A [`Word`] is theirs: it says whether they wait, or are being served.
//! 2. When there is no place for one more, [somebody leaves](Crowd::one_leaves): of the place from which most wait, the one that is there
//!    longest.
//! 3. Who is served never gives way, and who may [stay](Word::stays) is forgotten here.
//!
//! Without this a single source that says nothing holds every place until its time is over, again and again. So it only ever takes the
//! places of its own, and who speaks at once is served. Deliberately absent: clocks. How long somebody may wait is for the listener.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::task::AbortHandle;

/// Those who hold places of one listener.
#[derive(Debug, Default)]
pub(crate) struct Crowd(VecDeque<Guest>);

#[derive(Debug)]
struct Guest {
    place: IpAddr,
    task: AbortHandle,
    word: Word,
}

/// What is known of somebody who holds a place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word(Arc<AtomicU8>);

impl Word {
    /// They have said what they want, and are served.
    pub(crate) fn heard(&self) {
        self.0.store(SERVED, Ordering::Relaxed);
    }

    /// They have what they wanted, and may want something else.
    pub(crate) fn answered(&self) {
        self.0.store(WAITS, Ordering::Relaxed);
    }

    /// They are no matter of the crowd any more.
    pub(crate) fn stays(&self) {
        self.0.store(STAYS, Ordering::Relaxed);
    }
}

impl Guest {
    fn is_of_the_crowd(&self) -> bool {
        !self.task.is_finished() && self.word.0.load(Ordering::Relaxed) != STAYS
    }

    fn waits(&self) -> bool {
        !self.task.is_finished() && self.word.0.load(Ordering::Relaxed) == WAITS
    }
}

impl Crowd {
    /// Somebody who came from `from`, and whom `task` attends to.
    pub(crate) fn add(&mut self, from: IpAddr, task: AbortHandle, word: Word) {
        self.0.push_back(Guest { place: network(from), task, word });
    }

    /// How many wait.
    pub(crate) fn waiting(&mut self) -> usize {
        self.0.retain(Guest::is_of_the_crowd);
        self.0.iter().filter(|guest| guest.waits()).count()
    }

    /// Has one of those who wait leave; false where nobody waits.
    pub(crate) fn one_leaves(&mut self) -> bool {
        let mut places = BTreeMap::<IpAddr, usize>::new();
        for guest in self.0.iter().filter(|guest| guest.waits()) {
            *places.entry(guest.place).or_default() += 1;
        }
        let most = places.values().max();
        let leaves = self.0.iter().position(|guest| guest.waits() && places.get(&guest.place) == most);
        let left = leaves.and_then(|index| self.0.remove(index)).map(|guest| guest.task.abort());
        left.is_some()
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
pub(crate) fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

const WAITS: u8 = 0;
const SERVED: u8 = 1;
const STAYS: u8 = 2;

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    /// Adds one that only ends when it has to leave.
    fn comes(crowd: &mut Crowd, tasks: &mut JoinSet<()>, from: &str) -> (AbortHandle, Word) {
        let (task, word) = (tasks.spawn(std::future::pending()), Word::default());
        crowd.add(from.parse().unwrap(), task.clone(), word.clone());
        (task, word)
    }

    #[tokio::test]
    async fn the_oldest_of_the_place_from_which_most_wait_leaves() {
        let (mut crowd, mut tasks) = (Crowd::default(), JoinSet::new());
        let (first, _) = comes(&mut crowd, &mut tasks, "192.0.2.1");
        let (oldest, _) = comes(&mut crowd, &mut tasks, "2001:db8::1");
        let (newest, _) = comes(&mut crowd, &mut tasks, "2001:db8::2");
        assert!(crowd.one_leaves());
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert_eq!(
            [first.is_finished(), oldest.is_finished(), newest.is_finished()],
            [false, true, false],
            "the two are of one network"
        );
        assert_eq!(crowd.waiting(), 2);
    }

    #[tokio::test]
    async fn who_is_served_never_leaves_and_waits_again_when_it_is_answered() {
        let (mut crowd, mut tasks) = (Crowd::default(), JoinSet::new());
        let (task, word) = comes(&mut crowd, &mut tasks, "192.0.2.1");
        word.heard();
        assert_eq!(crowd.waiting(), 0);
        assert!(!crowd.one_leaves());
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        word.answered();
        assert_eq!(crowd.waiting(), 1);
        assert!(crowd.one_leaves());
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert_eq!(crowd.waiting(), 0);
    }

    #[tokio::test]
    async fn who_may_stay_is_forgotten_and_goes_on() {
        let (mut crowd, mut tasks) = (Crowd::default(), JoinSet::new());
        let (task, word) = comes(&mut crowd, &mut tasks, "192.0.2.1");
        word.stays();
        assert_eq!((crowd.waiting(), crowd.0.len()), (0, 0));
        assert!(!crowd.one_leaves());
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
    }
}
