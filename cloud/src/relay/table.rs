//! Who has bound which leg: the whole state of a relay, without sockets and clock.
//!
//! 1. [`Table::notice`] takes what an end says: the first notice with a good MAC makes the meeting, a later one with a higher
//!    stamp moves its leg to the address that it comes from. Where both ends speak UDP, each is told where the other one is.
//! 2. [`Table::data`] says where a packet goes: to the other leg of its meeting, if it comes from where its own is bound and
//!    that one is bound as well.
//! 3. [`Table::expire`] forgets meetings of which nothing was heard.
//!
//! A packet costs two look-ups and no allocation. A table that is full admits nobody new and serves those it has.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use postern_protocol::time::{BootTime, UnixTime};
use postern_protocol::wire::relay::{End, Handle, MeetingId, Notice, RelayKey, Ticket};

use super::origin::Origin;

/// The meetings of one relay.
#[derive(Debug)]
pub(super) struct Table {
    key: RelayKey,
    salt: [u8; 16],
    /// Meetings at most.
    places: usize,
    meetings: HashMap<MeetingId, Meeting>,
    handles: HashMap<Handle, (MeetingId, End)>,
    counts: Counts,
}

/// What a relay did, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Packets that were passed on.
    pub packets: u64,
    /// Bytes of QUIC in them.
    pub bytes: u64,
    /// Notices that bound a leg.
    pub bound: u64,
    /// Packets from where their leg is not bound.
    pub unbound: u64,
    /// Packets whose other leg is not bound, or could not take more.
    pub dropped: u64,
    /// Notices that were forged, replayed or too late.
    pub refused: u64,
    /// Notices that found no place.
    pub full: u64,
}

#[derive(Debug, Default)]
struct Meeting {
    agent: Option<Leg>,
    client: Option<Leg>,
}

#[derive(Debug)]
struct Leg {
    origin: Origin,
    ticket: Ticket,
    handle: Handle,
    stamp: u64,
    heard: BootTime,
}

/// What is to be done with a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Send this to where it came from; it is shorter.
    Answer(Vec<u8>),
    /// The same, and the second to the other leg, which is told that this one comes from elsewhere now.
    Both(Vec<u8>, (SocketAddr, Vec<u8>)),
    /// Nothing.
    Silence,
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the other leg, under its handle.
    To(Origin, Handle),
    /// Nowhere, and whoever sent it is told to bind: it knows the handle, or the relay was started anew.
    Unbound,
    /// Nowhere.
    Drop,
}

impl Table {
    /// An empty table; `salt` is random.
    #[must_use]
    pub(super) fn new(key: RelayKey, salt: [u8; 16], places: usize) -> Self {
        Self {
            key,
            salt,
            places,
            meetings: HashMap::new(),
            handles: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a notice, which is what follows the eight zeros.
    pub(super) fn notice(&mut self, from: Origin, notice: &[u8], now: BootTime, clock: UnixTime) -> Reply {
        let read = Notice::read(notice, |ticket| match ticket {
            Some(ticket) => self.key.leg_key(ticket),
            // Nothing but a ticket is read here; a key that nobody has refuses the rest.
            None => self.key.leg_key(&NOBODY),
        });
        match read {
            Ok(Notice::Bind { ticket, stamp }) if clock < ticket.until => {
                self.bind(from, &ticket, stamp, now)
            }
            Ok(_) | Err(_) => {
                self.counts.refused += 1;
                Reply::Silence
            }
        }
    }

    fn bind(&mut self, origin: Origin, ticket: &Ticket, stamp: u64, now: BootTime) -> Reply {
        let known = self.meetings.len() < self.places || self.meetings.contains_key(&ticket.meeting);
        if !known {
            self.counts.full += 1;
            return Reply::Silence;
        }
        let handle = self.key.handle(&ticket.meeting, ticket.end, &self.salt);
        let meeting = self.meetings.entry(ticket.meeting).or_default();
        let leg = meeting.leg_mut(ticket.end);
        if leg.as_ref().is_some_and(|leg| stamp <= leg.stamp) {
            self.counts.refused += 1;
            return Reply::Silence;
        }
        let is_elsewhere = leg.as_ref().is_none_or(|leg| leg.origin != origin);
        *leg = Some(Leg { origin, ticket: *ticket, handle, stamp, heard: now });
        self.handles.insert(handle, (ticket.meeting, ticket.end));
        self.counts.bound += 1;
        let (Some(own), other) = meeting.both(ticket.end) else { return Reply::Silence };
        let answer = own.bound(&self.key, other);
        match other.and_then(|other| Some((other.origin.udp()?, other.bound(&self.key, Some(own))))) {
            Some(told) if is_elsewhere && origin.udp().is_some() => Reply::Both(answer, told),
            Some(_) | None => Reply::Answer(answer),
        }
    }

    /// Where `packets` packets with `bytes` bytes of QUIC go that begin with `handle`.
    pub(super) fn data(
        &mut self,
        from: Origin,
        handle: Handle,
        (packets, bytes): (u64, u64),
        now: BootTime,
    ) -> Route {
        let Some((meeting, end)) = self.handles.get(&handle) else {
            self.counts.unbound += packets;
            return Route::Unbound;
        };
        let Some(meeting) = self.meetings.get_mut(meeting) else { return Route::Drop };
        match meeting.leg_mut(*end) {
            Some(leg) if leg.origin == from => leg.heard = now,
            Some(_) | None => {
                self.counts.unbound += packets;
                return Route::Unbound;
            }
        }
        let Some(other) = meeting.leg_mut(end.other()) else {
            self.counts.dropped += packets;
            return Route::Drop;
        };
        self.counts.packets += packets;
        self.counts.bytes += bytes;
        Route::To(other.origin, other.handle)
    }

    /// Notes packets that could not be sent after all.
    pub(super) const fn dropped(&mut self, packets: u64) {
        self.counts.dropped += packets;
    }

    /// Unbinds the legs of a connection that has ended.
    pub(super) fn leave(&mut self, origin: Origin) {
        self.retain(|leg| leg.origin != origin);
    }

    /// Forgets legs of which nothing was heard for [`SILENCE`], and meetings without legs.
    pub(super) fn expire(&mut self, now: BootTime) {
        self.retain(|leg| now.since(leg.heard) < SILENCE);
    }

    fn retain(&mut self, keep: impl Fn(&Leg) -> bool) {
        let handles = &mut self.handles;
        self.meetings.retain(|_, meeting| {
            for leg in [&mut meeting.agent, &mut meeting.client] {
                if let Some(gone) = leg.take_if(|leg| !keep(leg)) {
                    handles.remove(&gone.handle);
                }
            }
            meeting.agent.is_some() || meeting.client.is_some()
        });
    }

    /// Meetings of which a leg is bound.
    #[must_use]
    pub(super) fn meetings(&self) -> usize {
        self.meetings.len()
    }

    /// What was done until now.
    #[must_use]
    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }
}

impl Leg {
    /// What this end is told of itself, and of the other one where both speak UDP.
    fn bound(&self, key: &RelayKey, other: Option<&Self>) -> Vec<u8> {
        let other = self.origin.udp().and_then(|_udp| other?.origin.udp());
        Notice::bound(&key.leg_key(&self.ticket), self.stamp, self.handle, self.origin.addr(), other)
    }
}

impl Meeting {
    const fn both(&self, end: End) -> (Option<&Leg>, Option<&Leg>) {
        match end {
            End::Agent => (self.agent.as_ref(), self.client.as_ref()),
            End::Client => (self.client.as_ref(), self.agent.as_ref()),
        }
    }

    const fn leg_mut(&mut self, end: End) -> &mut Option<Leg> {
        match end {
            End::Agent => &mut self.agent,
            End::Client => &mut self.client,
        }
    }
}

/// Six times what a leg waits until it binds again.
pub(super) const SILENCE: Duration = Duration::from_secs(120);
/// A ticket that no hub issues: it was over before it began.
const NOBODY: Ticket = Ticket { meeting: MeetingId([0; 16]), end: End::Agent, until: UnixTime::EPOCH };

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn key() -> RelayKey {
        RelayKey::new([1; 32])
    }

    fn table(places: usize) -> Table {
        Table::new(key(), [9; 16], places)
    }

    fn at(port: u16) -> Origin {
        Origin::Udp(([192, 0, 2, 1], port).into())
    }

    fn ticket(meeting: u8, end: End) -> Ticket {
        Ticket { meeting: MeetingId([meeting; 16]), end, until: CLOCK.saturating_add(60) }
    }

    fn bind(table: &mut Table, from: Origin, ticket: Ticket, stamp: u64, now: u64) -> Option<Handle> {
        let leg = key().leg(ticket);
        let packet = Notice::bind(&leg, stamp);
        match table.notice(from, &packet[8..], BootTime::from_millis(now), CLOCK) {
            Reply::Answer(answer) | Reply::Both(answer, _) => {
                assert!(answer.len() < packet.len());
                match Notice::read(&answer[8..], |_| leg.key.clone()) {
                    Ok(Notice::Bound { stamp: answered, handle, seen, .. }) => {
                        assert_eq!((answered, seen), (stamp, from.addr()));
                        Some(handle)
                    }
                    other => panic!("{other:?}"),
                }
            }
            Reply::Silence => None,
        }
    }

    fn data(table: &mut Table, from: Origin, handle: Handle, now: u64) -> Route {
        table.data(from, handle, (1, 1200), BootTime::from_millis(now))
    }

    #[test]
    fn packets_go_from_each_bound_end_to_the_other_under_its_handle() {
        let mut table = table(8);
        let agent = bind(&mut table, at(1), ticket(1, End::Agent), 1, 0).unwrap();
        assert_eq!(data(&mut table, at(1), agent, 0), Route::Drop);
        let client = bind(&mut table, at(2), ticket(1, End::Client), 1, 0).unwrap();
        assert_eq!(data(&mut table, at(1), agent, 0), Route::To(at(2), client));
        assert_eq!(data(&mut table, at(2), client, 0), Route::To(at(1), agent));
        let counts = Counts { packets: 2, bytes: 2400, bound: 2, dropped: 1, ..Counts::default() };
        assert_eq!(table.counts(), counts);
    }

    /// What the ends are told of each other when one binds: who binds, and who is told besides.
    fn told(table: &mut Table, from: Origin, ticket: Ticket, stamp: u64) -> [Option<SocketAddr>; 2] {
        let packet = Notice::bind(&key().leg(ticket), stamp);
        let reply = table.notice(from, &packet[8..], BootTime::ZERO, CLOCK);
        let other_of =
            |notice: &[u8], ticket: &Ticket| match Notice::read(&notice[8..], |_| key().leg_key(ticket)) {
                Ok(Notice::Bound { other, .. }) => other,
                other => panic!("{other:?}"),
            };
        let across = Ticket { end: ticket.end.other(), ..ticket };
        match reply {
            Reply::Answer(answer) => [other_of(&answer, &ticket), None],
            Reply::Both(answer, (to, notice)) => {
                assert!(notice.len() < packet.len());
                assert_eq!(other_of(&answer, &ticket), Some(to));
                [Some(to), other_of(&notice, &across)]
            }
            Reply::Silence => panic!("no answer"),
        }
    }

    #[test]
    fn each_end_is_told_where_the_other_one_is_when_that_is_new() {
        let mut table = table(8);
        let (agent, client) = (ticket(1, End::Agent), ticket(1, End::Client));
        assert_eq!(told(&mut table, at(1), agent, 1), [None, None]);
        assert_eq!(told(&mut table, at(2), client, 1), [Some(at(1).addr()), Some(at(2).addr())]);
        // The same again is no news for the other one.
        assert_eq!(told(&mut table, at(2), client, 2), [Some(at(1).addr()), None]);
        assert_eq!(told(&mut table, at(1), agent, 2), [Some(at(2).addr()), None]);
        assert_eq!(told(&mut table, at(3), agent, 3), [Some(at(2).addr()), Some(at(3).addr())]);
    }

    #[test]
    fn ends_of_which_one_came_over_tls_are_told_nothing_of_each_other() {
        let mut table = table(8);
        let stream = Origin::Stream(7, ([192, 0, 2, 9], 443).into());
        assert_eq!(told(&mut table, stream, ticket(1, End::Agent), 1), [None, None]);
        assert_eq!(told(&mut table, at(2), ticket(1, End::Client), 1), [None, None]);
        assert_eq!(told(&mut table, stream, ticket(1, End::Agent), 2), [None, None]);
    }

    #[test]
    fn packets_from_elsewhere_reach_nobody_until_their_end_has_bound_from_there() {
        let mut table = table(8);
        let agent = bind(&mut table, at(1), ticket(1, End::Agent), 1, 0).unwrap();
        let client = bind(&mut table, at(2), ticket(1, End::Client), 1, 0).unwrap();
        assert_eq!(data(&mut table, at(3), client, 0), Route::Unbound);
        assert_eq!(data(&mut table, at(1), client, 0), Route::Unbound);
        assert_eq!(bind(&mut table, at(3), ticket(1, End::Client), 2, 0), Some(client));
        assert_eq!(data(&mut table, at(3), client, 0), Route::To(at(1), agent));
        assert_eq!(data(&mut table, at(1), agent, 0), Route::To(at(3), client));
        assert_eq!(data(&mut table, at(2), client, 0), Route::Unbound);
    }

    #[test]
    fn a_notice_that_is_replayed_forged_or_late_binds_nothing() {
        let mut table = table(8);
        assert!(bind(&mut table, at(1), ticket(1, End::Agent), 5, 0).is_some());
        // Whoever has seen the notice sends it from elsewhere.
        assert_eq!(bind(&mut table, at(3), ticket(1, End::Agent), 5, 0), None);
        assert_eq!(bind(&mut table, at(3), ticket(1, End::Agent), 4, 0), None);
        let other = RelayKey::new([2; 32]).leg(ticket(2, End::Agent));
        let forged = Notice::bind(&other, 9);
        assert_eq!(table.notice(at(3), &forged[8..], BootTime::ZERO, CLOCK), Reply::Silence);
        let late = Ticket { until: CLOCK, ..ticket(2, End::Agent) };
        assert_eq!(bind(&mut table, at(3), late, 1, 0), None);
        let told =
            Notice::bound(&key().leg_key(&NOBODY), 1, Handle::new([1; 8]).unwrap(), at(1).addr(), None);
        assert_eq!(table.notice(at(3), &told[8..], BootTime::ZERO, CLOCK), Reply::Silence);
        assert_eq!((table.meetings(), table.counts().refused), (1, 5));
    }

    #[test]
    fn ends_of_different_meetings_never_meet() {
        let mut table = table(8);
        let agent = bind(&mut table, at(1), ticket(1, End::Agent), 1, 0).unwrap();
        let client = bind(&mut table, at(2), ticket(2, End::Client), 1, 0).unwrap();
        assert_eq!(data(&mut table, at(1), agent, 0), Route::Drop);
        assert_eq!(data(&mut table, at(2), client, 0), Route::Drop);
    }

    #[test]
    fn a_full_table_serves_whom_it_has_and_nobody_new() {
        let mut table = table(1);
        assert!(bind(&mut table, at(1), ticket(1, End::Agent), 1, 0).is_some());
        assert_eq!(bind(&mut table, at(2), ticket(2, End::Agent), 1, 0), None);
        assert!(bind(&mut table, at(3), ticket(1, End::Client), 1, 0).is_some());
        assert_eq!(table.counts().full, 1);
    }

    #[test]
    fn a_leg_that_is_silent_is_forgotten_and_one_that_speaks_is_not() {
        let mut table = table(8);
        let agent = bind(&mut table, at(1), ticket(1, End::Agent), 1, 0).unwrap();
        let client = bind(&mut table, at(2), ticket(1, End::Client), 1, 0).unwrap();
        assert_eq!(data(&mut table, at(1), agent, 100_000), Route::To(at(2), client));
        table.expire(BootTime::from_millis(119_999));
        assert_eq!(data(&mut table, at(1), agent, 119_999), Route::To(at(2), client));
        table.expire(BootTime::from_millis(120_000));
        assert_eq!(data(&mut table, at(1), agent, 120_000), Route::Drop);
        assert_eq!(data(&mut table, at(2), client, 120_000), Route::Unbound);
        table.expire(BootTime::from_millis(240_000));
        assert_eq!((table.meetings(), table.handles.len()), (0, 0));
    }

    #[test]
    fn a_connection_that_ends_takes_its_legs_along_and_no_others() {
        let mut table = table(8);
        let origin = Origin::Stream(7, ([192, 0, 2, 9], 443).into());
        let agent = bind(&mut table, origin, ticket(1, End::Agent), 1, 0).unwrap();
        let client = bind(&mut table, at(2), ticket(1, End::Client), 1, 0).unwrap();
        assert_eq!(data(&mut table, at(2), client, 0), Route::To(origin, agent));
        table.leave(origin);
        assert_eq!(data(&mut table, at(2), client, 0), Route::Drop);
        assert_eq!(table.meetings(), 1);
    }
}
