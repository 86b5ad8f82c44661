//! Connections that hold a place and have not said yet what it is for: how many there may be, and who gives way.
//!
//! 1. Whoever comes is [added](Crowd::add). A [`Word`] is theirs: it says whether they wait, or are being served.
//! 2. When there is no place for one more, [somebody leaves](Crowd::one_leaves): of the place from which most wait, the one that is there
//!    longest.
//! 3. Who is served never gives way, and who may [stay](Word::stays) is forgotten here.
//!
//! Without this a single source that says nothing holds every place until its time is over, again and again. So it only ever takes the
//! places of its own, and who speaks at once is served. Deliberately absent: clocks. How long somebody may wait is for the listener, and
//! so is what they are told: their task is aborted, and what it holds finds out by [`Word::leaves`].

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::task::AbortHandle;

/// Those who hold places of one listener.
#[derive(Debug, Default)]
pub struct Crowd(VecDeque<Guest>);

#[derive(Debug)]
struct Guest {
    place: IpAddr,
    task: AbortHandle,
    word: Word,
}

/// What is known of somebody who holds a place. Clones are of the same one.
#[derive(Clone, Debug, Default)]
pub struct Word(Arc<AtomicU8>);

impl Crowd {
    /// Somebody who came from `from`, and whom `task` attends to.
    pub fn add(&mut self, from: IpAddr, task: AbortHandle, word: Word) {
        self.0.push_back(Guest { place: network(from), task, word });
    }

    /// How many wait.
    pub fn waiting(&mut self) -> usize {
        self.0.retain(Guest::is_of_the_crowd);
        self.0.iter().filter(|guest| guest.waits()).count()
    }

    /// Has one of those who wait leave; false where nobody waits.
    pub fn one_leaves(&mut self) -> bool {
        loop {
            let mut places = BTreeMap::<IpAddr, usize>::new();
            for guest in self.0.iter().filter(|guest| guest.waits()) {
                *places.entry(guest.place).or_default() += 1;
            }
            let most = places.values().max();
            let oldest = self.0.iter().position(|guest| guest.waits() && places.get(&guest.place) == most);
            let Some(guest) = oldest.and_then(|index| self.0.remove(index)) else { return false };
            if guest.leaves() {
                return true;
            }
            // Has spoken on another thread just now. Whoever was served once is the youngest from here on.
            self.0.push_back(guest);
        }
    }
}

impl Guest {
    fn is_of_the_crowd(&self) -> bool {
        !self.task.is_finished() && self.word.state() != STAYS
    }

    fn waits(&self) -> bool {
        !self.task.is_finished() && self.word.state() == WAITS
    }

    fn leaves(&self) -> bool {
        let leaves = self.word.turn(WAITS, LEAVES);
        if leaves {
            self.task.abort();
        }
        leaves
    }
}

impl Word {
    /// They have said what they want, and are served.
    pub fn heard(&self) {
        self.turn(WAITS, SERVED);
    }

    /// They have what they wanted, and may want something else.
    pub fn answered(&self) {
        self.turn(SERVED, WAITS);
    }

    /// They are no matter of the crowd any more. False when that comes too late: they have to leave.
    pub fn stays(&self) -> bool {
        self.0.fetch_update(ORDER, ORDER, |state| (state != LEAVES).then_some(STAYS)).is_ok()
    }

    /// Whether they are no matter of the crowd any more.
    #[must_use]
    pub fn has_stayed(&self) -> bool {
        self.state() == STAYS
    }

    /// Whether they have to leave.
    #[must_use]
    pub fn leaves(&self) -> bool {
        self.state() == LEAVES
    }

    fn state(&self) -> u8 {
        self.0.load(ORDER)
    }

    fn turn(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, ORDER, ORDER).is_ok()
    }
}

/// Where somebody comes from: an IPv4 address, or the network that one customer has of IPv6 (/64), who has 2^64 addresses in it.
#[must_use]
pub fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Whether somebody waits in the queue of a listener. Without a file for a newcomer accepting fails also where nobody comes, and nobody
/// is to give way for that.
#[cfg(unix)]
#[must_use]
pub fn is_called(listener: &impl std::os::fd::AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (mut asked, at_once) = ([PollFd::new(listener, PollFlags::IN)], Timespec { tv_sec: 0, tv_nsec: 0 });
    poll(&mut asked, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// The same where the system is not asked: nobody gives way.
#[cfg(not(unix))]
#[must_use]
pub fn is_called<L>(_listener: &L) -> bool {
    false
}

const WAITS: u8 = 0;
const SERVED: u8 = 1;
const STAYS: u8 = 2;
const LEAVES: u8 = 3;
/// Nothing but the state itself is handed from one to the other.
const ORDER: Ordering = Ordering::Relaxed;

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
        assert!(word.stays());
        assert_eq!((crowd.waiting(), crowd.0.len()), (0, 0));
        assert!(!crowd.one_leaves());
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
    }
    #[tokio::test]
    async fn who_has_to_leave_knows_it_and_cannot_stay_any_more() {
        let (mut crowd, mut tasks) = (Crowd::default(), JoinSet::new());
        let (_first, leaving) = comes(&mut crowd, &mut tasks, "192.0.2.1");
        let (_second, staying) = comes(&mut crowd, &mut tasks, "192.0.2.1");
        assert!(crowd.one_leaves());
        assert_eq!((leaving.leaves(), staying.leaves()), (true, false));
        assert_eq!((leaving.stays(), staying.stays()), (false, true));
        assert_eq!((leaving.has_stayed(), staying.has_stayed()), (false, true));
        assert_eq!((leaving.leaves(), crowd.waiting()), (true, 0));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_place() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(parse("2001:db8::1:2:3")), network(parse("2001:db8::ffff")));
        assert_ne!(network(parse("2001:db8:0:1::1")), network(parse("2001:db8::1")));
        assert_eq!(network(parse("::ffff:192.0.2.1")), parse("192.0.2.1"));
    }
    #[tokio::test]
    async fn a_listener_is_called_when_somebody_waits_to_be_let_in_and_not_before_or_after() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(!is_called(&listener));
        let _guest = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(is_called(&listener));
        let _let_in = listener.accept().await.unwrap();
        assert!(!is_called(&listener));
    }
}
