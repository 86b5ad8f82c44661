use super::*;
use crate::session::agent::AgentSync;
use crate::trust::sealed::SealingSecret;
use crate::trust::{Digest, SecretKey};

fn held(version: u64) -> Held {
    Held { epoch: 1, version, digest: Digest::of(&[&version.to_le_bytes()]) }
}

fn published(version: u64, bytes: usize) -> Published {
    Published { held: held(version), bytes: vec![7; bytes].into() }
}

fn hello(held: Option<Held>, active: bool) -> Hello {
    Hello {
        root_version: 1,
        held,
        active,
        agent: Text::clean("test"),
        boots: 1,
        life: crate::wire::control::Life([1; 16]),
        addresses: Vec::new(),
        freshness: None,
        locks: 0,
    }
}

fn ack(nonce: u64, held: Held) -> AgentMessage {
    AgentMessage::Ack { nonce, held, cut: 0 }
}

/// Takes everything that the hub wants to send now.
fn drain(hub: &mut HubSync) -> Vec<HubMessage> {
    std::iter::from_fn(|| hub.poll_transmit()).collect()
}

fn push(nonce: u64, version: u64, bytes: u32) -> HubMessage {
    HubMessage::Push { nonce, held: held(version), bytes }
}

fn chunk(nonce: u64, offset: u32, len: usize) -> HubMessage {
    HubMessage::Chunk { nonce, offset, bytes: vec![7; len] }
}

#[test]
fn an_agent_that_holds_the_newest_is_told_so_once() {
    let mut hub = HubSync::new(&hello(Some(held(5)), true), Some(published(5, 10)), 1);
    assert_eq!(drain(&mut hub), [HubMessage::UpToDate]);
    hub.handle_published(published(5, 10));
    hub.handle_published(published(4, 10));
    assert_eq!(drain(&mut hub), []);
}

#[test]
fn an_agent_is_asked_for_a_new_key_once_on_a_link_and_behind_what_is_pushed() {
    let mut hub = HubSync::new(&hello(Some(held(4)), true), Some(published(5, 3)), 1);
    hub.handle_rotation_wanted();
    assert_eq!(drain(&mut hub), [push(1, 5, 3), chunk(1, 0, 3), HubMessage::RotateKey]);
    hub.handle_rotation_wanted();
    assert_eq!(drain(&mut hub), []);
    let mut idle = HubSync::new(&hello(Some(held(5)), true), Some(published(5, 3)), 1);
    idle.handle_rotation_wanted();
    assert_eq!(drain(&mut idle), [HubMessage::UpToDate, HubMessage::RotateKey]);
}

#[test]
fn a_next_key_is_handed_on_for_verification_and_is_no_answer_to_a_push() {
    use crate::trust::SecretKey;
    let key = |seed| SecretKey::from_seed([seed; 32]).unwrap();
    let next = NextKey::announce(crate::id::DeviceId::new([1; 8]), &key(1), &key(2));
    let mut hub = HubSync::new(&hello(Some(held(4)), true), Some(published(5, 3)), 1);
    drain(&mut hub);
    assert_eq!(hub.handle_message(AgentMessage::NextKey(next.clone())), Ok(Event::NextKey(next)));
    assert_eq!(hub.handle_message(ack(1, held(5))), Ok(Event::Applied { held: held(5), cut: 0 }));
}

#[test]
fn an_older_agent_is_pushed_to_in_chunks_that_follow_each_other() {
    let mut hub = HubSync::new(&hello(Some(held(4)), true), Some(published(5, CHUNK_BYTES + 3)), 9);
    let end = u32::try_from(CHUNK_BYTES).unwrap();
    assert_eq!(drain(&mut hub), [push(9, 5, end + 3), chunk(9, 0, CHUNK_BYTES), chunk(9, end, 3)]);
    assert_eq!(hub.handle_message(ack(9, held(5))), Ok(Event::Applied { held: held(5), cut: 0 }));
    assert_eq!((hub.held(), drain(&mut hub)), (Some(held(5)), vec![]));
}

#[test]
fn a_snapshot_that_is_not_in_force_is_pushed_again() {
    let mut hub = HubSync::new(&hello(Some(held(5)), false), Some(published(5, 3)), 1);
    assert_eq!(drain(&mut hub), [push(1, 5, 3), chunk(1, 0, 3)]);
}

#[test]
fn a_push_that_is_not_wholly_sent_gives_way_to_a_newer_one() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 2 * CHUNK_BYTES)), 1);
    assert_eq!(hub.poll_transmit(), Some(push(1, 1, u32::try_from(2 * CHUNK_BYTES).unwrap())));
    assert_eq!(hub.poll_transmit(), Some(chunk(1, 0, CHUNK_BYTES)));
    hub.handle_published(published(2, 3));
    assert_eq!(drain(&mut hub), [push(2, 2, 3), chunk(2, 0, 3)]);
}

#[test]
fn a_push_that_is_sent_is_answered_before_the_next_begins() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 3)), 1);
    assert_eq!(drain(&mut hub).len(), 2);
    hub.handle_published(published(2, 3));
    hub.handle_published(published(1, 3));
    assert_eq!(drain(&mut hub), []);
    assert_eq!(hub.handle_message(ack(1, held(1))), Ok(Event::Applied { held: held(1), cut: 0 }));
    assert_eq!(drain(&mut hub), [push(2, 2, 3), chunk(2, 0, 3)]);
}

#[test]
fn what_is_being_pushed_is_not_pushed_twice_when_it_is_published_again() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 3)), 1);
    assert_eq!(drain(&mut hub).len(), 2);
    hub.handle_published(published(1, 3));
    assert_eq!(hub.handle_message(ack(1, held(1))), Ok(Event::Applied { held: held(1), cut: 0 }));
    assert_eq!(drain(&mut hub), []);
}

#[test]
fn a_refused_version_is_not_tried_again_but_a_higher_one_is() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 3)), 1);
    assert_eq!(drain(&mut hub).len(), 2);
    let (code, detail) = (NackCode::Form, Text::clean("because"));
    let nack = AgentMessage::Nack { nonce: 1, held: held(1), code, detail: detail.clone() };
    assert_eq!(hub.handle_message(nack), Ok(Event::Refused { held: held(1), code, detail }));
    hub.handle_published(published(1, 3));
    assert_eq!(drain(&mut hub), []);
    hub.handle_published(published(2, 3));
    assert_eq!(drain(&mut hub), [push(2, 2, 3), chunk(2, 0, 3)]);
}

#[test]
fn what_could_not_be_stored_delays_nothing_and_is_acknowledged_once_when_it_is() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 3)), 1);
    assert_eq!(drain(&mut hub).len(), 2);
    let (code, detail) = (NackCode::Storage, Text::clean("the disk hangs"));
    let nack = AgentMessage::Nack { nonce: 1, held: held(1), code, detail: detail.clone() };
    assert_eq!(hub.handle_message(nack), Ok(Event::Refused { held: held(1), code, detail }));
    hub.handle_published(published(2, 3));
    assert_eq!(drain(&mut hub), [push(2, 2, 3), chunk(2, 0, 3)]);
    assert_eq!(hub.handle_message(ack(1, held(2))), Err(ProtocolFault::Unexpected), "another snapshot");
    assert_eq!(hub.handle_message(ack(1, held(1))), Ok(Event::Applied { held: held(1), cut: 0 }));
    assert_eq!(hub.held(), Some(held(1)));
    assert_eq!(hub.handle_message(ack(1, held(1))), Err(ProtocolFault::Unexpected), "once");
    assert_eq!(hub.handle_message(ack(2, held(2))), Ok(Event::Applied { held: held(2), cut: 0 }));
}

#[test]
fn what_was_refused_for_its_content_is_not_acknowledged_later() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 3)), 1);
    assert_eq!(drain(&mut hub).len(), 2);
    let (code, detail) = (NackCode::Form, Text::clean("because"));
    hub.handle_message(AgentMessage::Nack { nonce: 1, held: held(1), code, detail }).unwrap();
    assert_eq!(hub.handle_message(ack(1, held(1))), Err(ProtocolFault::Unexpected));
}

#[test]
fn two_stories_under_one_version_are_brought_to_light() {
    let other = Held { digest: Digest::of(&[b"another story"]), ..held(5) };
    let mut hub = HubSync::new(&hello(Some(other), true), Some(published(5, 3)), 1);
    assert_eq!(drain(&mut hub), [push(1, 5, 3), chunk(1, 0, 3)]);
}

#[test]
fn an_answer_to_nothing_to_half_a_push_or_about_another_snapshot_is_a_fault() {
    let unexpected = Err(ProtocolFault::Unexpected);
    let mut idle = HubSync::new(&hello(None, false), None, 1);
    assert_eq!(idle.handle_message(ack(1, held(1))), unexpected);
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 3)), 1);
    assert_eq!(hub.poll_transmit(), Some(push(1, 1, 3)));
    assert_eq!(hub.handle_message(ack(1, held(1))), unexpected);
    assert_eq!(hub.poll_transmit(), Some(chunk(1, 0, 3)));
    assert_eq!(hub.handle_message(ack(2, held(1))), unexpected);
    assert_eq!(hub.handle_message(ack(1, held(2))), unexpected);
    assert_eq!(hub.handle_message(ack(1, held(1))), Ok(Event::Applied { held: held(1), cut: 0 }));
    assert_eq!(hub.handle_message(ack(1, held(1))), unexpected);
}

#[test]
fn a_sealing_key_is_passed_on_once_and_a_second_one_ends_the_link() {
    let device = SecretKey::from_seed([10; 32]).unwrap();
    let announcement = Announcement::sign(&device, &SealingSecret::derive(&device).unwrap());
    let mut agent = AgentSync::new();
    agent.handle_sealing_key(announcement);
    let message = agent.poll_transmit().unwrap();
    assert_eq!((&message, agent.poll_transmit()), (&AgentMessage::SealingKey(announcement), None));
    let mut hub = HubSync::new(&hello(None, false), None, 1);
    assert_eq!(hub.handle_message(message.clone()), Ok(Event::SealingKey(announcement)));
    assert_eq!(hub.handle_message(message.clone()), Err(ProtocolFault::Unexpected));
    let mut next_link = HubSync::new(&hello(None, false), None, 2);
    assert_eq!(next_link.handle_message(message), Ok(Event::SealingKey(announcement)));
}

#[test]
fn an_agent_that_moved_is_passed_on() {
    let mut hub = HubSync::new(&hello(None, false), None, 1);
    let addresses = vec!["10.0.0.1:7440".parse().unwrap()];
    assert_eq!(
        hub.handle_message(AgentMessage::Moved { addresses: addresses.clone() }),
        Ok(Event::Moved(addresses))
    );
}

fn ask(hub: &mut HubSync, nonce: u8) -> Nonce {
    let nonce = Nonce::new([nonce; 16]);
    assert_eq!(hub.handle_message(AgentMessage::TimeRequest { nonce }), Ok(Event::Asked));
    nonce
}

#[test]
fn a_question_for_the_time_is_answered_once_with_the_newest_snapshot() {
    let mut hub = HubSync::new(&hello(Some(held(5)), true), Some(published(5, 3)), 1);
    assert_eq!(hub.poll_naming(), None);
    let nonce = ask(&mut hub, 1);
    assert_eq!(hub.poll_naming(), Some(Naming { nonce, held: Some(held(5)) }));
    assert_eq!(hub.poll_naming(), None);
}

#[test]
fn a_push_is_named_for_the_last_question_before_it_is_announced() {
    let mut hub = HubSync::new(&hello(Some(held(5)), true), Some(published(5, 3)), 1);
    drain(&mut hub);
    ask(&mut hub, 1);
    let nonce = ask(&mut hub, 2);
    assert_eq!(hub.poll_naming(), Some(Naming { nonce, held: Some(held(5)) }));
    hub.handle_published(published(6, 3));
    assert_eq!(hub.poll_naming(), Some(Naming { nonce, held: Some(held(6)) }));
    assert_eq!((hub.poll_naming(), drain(&mut hub)), (None, vec![push(1, 6, 3), chunk(1, 0, 3)]));
    // What is published while the push is under way is named with the push that follows.
    hub.handle_published(published(7, 3));
    assert_eq!(hub.poll_naming(), None);
    hub.handle_message(ack(1, held(6))).unwrap();
    assert_eq!(hub.poll_naming(), Some(Naming { nonce, held: Some(held(7)) }));
}

#[test]
fn an_agent_that_never_asked_is_told_no_time_and_is_pushed_to_all_the_same() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(5, 3)), 1);
    assert_eq!(hub.poll_naming(), None);
    assert_eq!(drain(&mut hub), [push(1, 5, 3), chunk(1, 0, 3)]);
}

#[test]
fn what_is_newest_is_named_although_it_is_not_pushed() {
    let mut hub = HubSync::new(&hello(Some(held(4)), true), None, 1);
    hub.handle_newest(held(5));
    hub.handle_newest(held(3));
    let nonce = ask(&mut hub, 1);
    assert_eq!(hub.poll_naming(), Some(Naming { nonce, held: Some(held(5)) }));
}

#[test]
fn an_alarm_is_handed_on() {
    let mut hub = HubSync::new(&hello(None, false), None, 1);
    let (kind, detail) = (AlarmKind::Freeze, Text::clean("version 7"));
    let alarm = AgentMessage::Alarm { kind, detail: detail.clone() };
    assert_eq!(hub.handle_message(alarm), Ok(Event::Alarm { kind, detail }));
}

fn roots(versions: std::ops::RangeInclusive<u32>) -> impl Iterator<Item = SealedRoot> {
    versions.map(|version| SealedRoot { version, bytes: version.to_le_bytes().as_slice().into() })
}

fn root(version: u32) -> HubMessage {
    HubMessage::Root { bytes: version.to_le_bytes().to_vec() }
}

fn taken(version: u32) -> AgentMessage {
    AgentMessage::RootTaken { version }
}

#[test]
fn later_roots_go_one_by_one_before_any_snapshot() {
    let mut hub = HubSync::new(&hello(Some(held(4)), true), Some(published(5, 3)), 1);
    hub.handle_roots(roots(2..=3));
    assert_eq!((drain(&mut hub), hub.newest_root()), (vec![root(2)], 3));
    assert_eq!(hub.handle_message(taken(2)), Ok(Event::RootTaken { version: 2 }));
    assert_eq!(drain(&mut hub), [root(3)]);
    assert_eq!(hub.handle_message(taken(3)), Ok(Event::RootTaken { version: 3 }));
    assert_eq!((hub.root_version(), drain(&mut hub)), (3, vec![push(1, 5, 3), chunk(1, 0, 3)]));
}

#[test]
fn an_agent_with_nothing_but_a_root_to_take_is_told_afterwards_that_it_is_up_to_date() {
    let mut hub = HubSync::new(&hello(Some(held(5)), true), Some(published(5, 3)), 1);
    hub.handle_roots(roots(2..=2));
    assert_eq!(drain(&mut hub), [root(2)]);
    hub.handle_message(taken(2)).unwrap();
    assert_eq!(drain(&mut hub), [HubMessage::UpToDate]);
}

#[test]
fn a_push_that_is_not_wholly_sent_begins_again_after_the_root() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 2 * CHUNK_BYTES)), 1);
    assert!(hub.poll_transmit().is_some() && hub.poll_transmit().is_some());
    hub.handle_roots(roots(2..=2));
    assert_eq!(drain(&mut hub), [root(2)]);
    hub.handle_message(taken(2)).unwrap();
    assert_eq!(hub.poll_transmit(), Some(push(2, 1, u32::try_from(2 * CHUNK_BYTES).unwrap())));
}

#[test]
fn roots_that_are_known_or_leave_a_gap_are_not_sent() {
    let mut hub = HubSync::new(&Hello { root_version: 3, ..hello(Some(held(5)), true) }, None, 1);
    hub.handle_roots(roots(1..=3));
    hub.handle_roots(roots(5..=6));
    assert_eq!(drain(&mut hub), [HubMessage::UpToDate]);
    hub.handle_roots(roots(4..=4));
    hub.handle_roots(roots(4..=5));
    assert_eq!(drain(&mut hub), [root(4)]);
    hub.handle_roots(roots(4..=5));
    hub.handle_message(taken(4)).unwrap();
    assert_eq!(drain(&mut hub), [root(5)]);
    hub.handle_message(taken(5)).unwrap();
    assert_eq!(drain(&mut hub), []);
}

#[test]
fn after_sixty_four_roots_the_link_is_exhausted_and_the_next_one_goes_on() {
    let mut hub = HubSync::new(&hello(None, false), Some(published(1, 3)), 1);
    hub.handle_roots(roots(2..=71));
    for version in 2..=65 {
        assert_eq!((drain(&mut hub), hub.is_exhausted()), (vec![root(version)], false));
        hub.handle_message(taken(version)).unwrap();
    }
    assert_eq!((drain(&mut hub), hub.is_exhausted()), (vec![], true));
    let later = Hello { root_version: 65, ..hello(None, false) };
    let mut hub = HubSync::new(&later, Some(published(1, 3)), 1);
    hub.handle_roots(roots(66..=71));
    for version in 66..=71 {
        assert_eq!(drain(&mut hub), [root(version)]);
        hub.handle_message(taken(version)).unwrap();
    }
    assert_eq!((drain(&mut hub).len(), hub.is_exhausted()), (2, false));
}

#[test]
fn a_lock_of_a_later_epoch_is_sent_behind_its_root_although_its_sequence_is_lower() {
    let mut hub = HubSync::new(&Hello { locks: 4, ..hello(Some(held(5)), true) }, Some(published(5, 3)), 1);
    hub.handle_roots(roots(2..=2));
    hub.handle_lock(1, b"anew".to_vec());
    assert_eq!(drain(&mut hub), [root(2)]);
    hub.handle_message(taken(2)).unwrap();
    hub.handle_lock(1, b"anew".to_vec());
    assert_eq!(hub.poll_transmit(), Some(HubMessage::Lock { bytes: b"anew".to_vec() }));
    hub.handle_lock(1, b"anew".to_vec());
    assert_eq!(drain(&mut hub), [HubMessage::UpToDate], "once is enough");
    // What the disk took slowly is answered behind the root.
    for (sequence, expected) in [(4, true), (1, true), (5, false)] {
        let told = hub.handle_message(AgentMessage::LockTaken { sequence, cut: 0 });
        let taken = Ok(Event::LockTaken { sequence, cut: 0 });
        assert_eq!(told, if expected { taken } else { Err(ProtocolFault::Unexpected) });
    }
}

#[test]
fn a_refused_root_stops_the_chain_and_not_the_policy() {
    let mut hub = HubSync::new(&hello(Some(held(4)), true), Some(published(5, 3)), 1);
    hub.handle_roots(roots(2..=4));
    assert_eq!(drain(&mut hub), [root(2)]);
    let (code, detail) = (RootCode::Envelope, Text::clean("too few"));
    let refused = AgentMessage::RootRefused { version: 1, code, detail: detail.clone() };
    assert_eq!(hub.handle_message(refused), Ok(Event::RootRefused { version: 2, code, detail }));
    hub.handle_roots(roots(2..=4));
    assert_eq!(drain(&mut hub), [push(1, 5, 3), chunk(1, 0, 3)]);
}

#[test]
fn an_answer_to_no_root_or_about_another_is_a_fault() {
    let unexpected = Err(ProtocolFault::Unexpected);
    let mut hub = HubSync::new(&hello(None, false), None, 1);
    assert_eq!(hub.handle_message(taken(2)), unexpected);
    hub.handle_roots(roots(2..=2));
    assert_eq!(hub.handle_message(taken(2)), unexpected, "before it was sent");
    assert_eq!(drain(&mut hub), [root(2)]);
    assert_eq!(hub.handle_message(taken(3)), unexpected);
}

#[test]
fn an_agent_is_told_of_a_meeting_between_two_chunks_and_of_the_newest_eight() {
    use crate::time::UnixTime;
    use crate::wire::relay::{End, Meeting, MeetingId, RelayKey, Ticket};
    let meeting = |number: u8| {
        let ticket =
            Ticket { meeting: MeetingId([number; 16]), end: End::Agent, until: UnixTime::from_secs(9) };
        Meeting { leg: RelayKey::new([1; 32]).leg(ticket), relays: Vec::new() }
    };
    let mut hub = HubSync::new(&hello(Some(held(4)), true), Some(published(5, 3)), 1);
    assert_eq!(hub.poll_transmit(), Some(push(1, 5, 3)));
    (0..9).for_each(|number| hub.handle_meeting(meeting(number)));
    let told: Vec<_> = (1..9).map(|number| HubMessage::Meet(meeting(number))).collect();
    assert_eq!(drain(&mut hub), [told, vec![chunk(1, 0, 3)]].concat());
}
