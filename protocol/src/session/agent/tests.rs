use super::*;
use crate::trust::Digest;

fn held(version: u64) -> Held {
    Held { epoch: 1, version, digest: Digest::of(&[b"x"]) }
}

fn push(nonce: u64, version: u64, bytes: u32) -> HubMessage {
    HubMessage::Push { nonce, held: held(version), bytes }
}

fn chunk(nonce: u64, offset: u32, bytes: &[u8]) -> HubMessage {
    HubMessage::Chunk { nonce, offset, bytes: bytes.to_vec() }
}

/// An agent in the middle of a push of six bytes, of which three have come.
fn half() -> AgentSync {
    let mut agent = AgentSync::new();
    assert_eq!(agent.handle_message(push(1, 5, 6)), Ok(None));
    assert_eq!(agent.handle_message(chunk(1, 0, b"abc")), Ok(None));
    agent
}

#[test]
fn a_complete_push_is_offered_and_its_outcome_answered() {
    let mut agent = half();
    let offered = Event::Offered { held: held(5), bytes: b"abcdef".to_vec() };
    assert_eq!(agent.handle_message(chunk(1, 3, b"def")), Ok(Some(offered)));
    assert_eq!(agent.poll_transmit(), None);
    agent.handle_outcome(held(5), Outcome::Applied { cut: 2 });
    assert_eq!(agent.poll_transmit(), Some(AgentMessage::Ack { nonce: 1, held: held(5), cut: 2 }));
    agent.handle_outcome(held(5), Outcome::Applied { cut: 2 });
    assert_eq!(agent.poll_transmit(), None);
}

#[test]
fn a_refusal_names_the_push_that_was_refused() {
    let mut agent = half();
    agent.handle_message(chunk(1, 3, b"def")).unwrap();
    let (code, detail) = (NackCode::Rollback, Text::clean("older"));
    agent.handle_outcome(held(5), Outcome::Refused { code, detail: detail.clone() });
    assert_eq!(agent.poll_transmit(), Some(AgentMessage::Nack { nonce: 1, held: held(5), code, detail }));
}

#[test]
fn a_snapshot_that_was_not_stored_in_time_is_acknowledged_once_when_it_is() {
    let mut agent = half();
    agent.handle_message(chunk(1, 3, b"def")).unwrap();
    agent.handle_outcome(held(4), Outcome::Applied { cut: 0 });
    assert_eq!(agent.poll_transmit(), None, "of another link");
    let (code, detail) = (NackCode::Storage, Text::clean("the disk hangs"));
    agent.handle_outcome(held(5), Outcome::Refused { code, detail: detail.clone() });
    agent.handle_outcome(held(5), Outcome::Refused { code, detail: detail.clone() });
    assert_eq!(agent.poll_transmit(), Some(AgentMessage::Nack { nonce: 1, held: held(5), code, detail }));
    assert_eq!(agent.poll_transmit(), None);
    // The next one is offered meanwhile, and not answered yet.
    agent.handle_message(push(2, 6, 1)).unwrap();
    agent.handle_message(chunk(2, 0, b"x")).unwrap();
    for _ in 0..2 {
        agent.handle_outcome(held(5), Outcome::Applied { cut: 3 });
    }
    agent.handle_outcome(held(6), Outcome::Applied { cut: 1 });
    assert_eq!(agent.poll_transmit(), Some(AgentMessage::Ack { nonce: 1, held: held(5), cut: 3 }));
    assert_eq!(agent.poll_transmit(), Some(AgentMessage::Ack { nonce: 2, held: held(6), cut: 1 }));
    assert_eq!(agent.poll_transmit(), None);
}

#[test]
fn the_next_push_replaces_an_unfinished_one() {
    let mut agent = half();
    assert_eq!(agent.handle_message(push(2, 6, 2)), Ok(None));
    assert_eq!(half().handle_message(chunk(2, 3, b"d")), Err(ProtocolFault::Unexpected));
    let offered = Event::Offered { held: held(6), bytes: b"xy".to_vec() };
    assert_eq!(agent.handle_message(chunk(2, 0, b"xy")), Ok(Some(offered)));
}

#[test]
fn chunks_out_of_turn_are_faults() {
    let large = vec![0; limits::CHUNK_BYTES + 1];
    for (what, message) in [
        ("a gap", chunk(1, 4, b"d")),
        ("a repetition", chunk(1, 0, b"abc")),
        ("another push", chunk(2, 3, b"d")),
        ("nothing", chunk(1, 3, b"")),
        ("more than announced", chunk(1, 3, b"defg")),
    ] {
        assert_eq!(half().handle_message(message), Err(ProtocolFault::Unexpected), "{what}");
    }
    let mut agent = AgentSync::new();
    assert_eq!(agent.handle_message(chunk(1, 0, b"a")), Err(ProtocolFault::Unexpected));
    assert_eq!(agent.handle_message(push(1, 1, 100_000)), Ok(None));
    assert_eq!(agent.handle_message(chunk(1, 0, &large)), Err(ProtocolFault::Unexpected));
}

#[test]
fn an_announcement_above_the_limit_is_refused_before_a_byte_is_reserved() {
    let limit = u32::try_from(SEALED_BYTES).unwrap();
    assert_eq!(AgentSync::new().handle_message(push(1, 1, limit)), Ok(None));
    assert_eq!(AgentSync::new().handle_message(push(1, 1, limit + 1)), Err(ProtocolFault::Oversize));
    assert_eq!(AgentSync::new().handle_message(push(1, 1, u32::MAX)), Err(ProtocolFault::Oversize));
    assert_eq!(AgentSync::new().handle_message(push(1, 1, 0)), Err(ProtocolFault::Oversize));
}

#[test]
fn a_second_push_that_completes_before_the_first_is_answered_is_a_fault() {
    let mut agent = half();
    agent.handle_message(chunk(1, 3, b"def")).unwrap();
    assert_eq!(agent.handle_message(push(2, 6, 1)), Ok(None));
    assert_eq!(agent.handle_message(chunk(2, 0, b"x")), Err(ProtocolFault::Unexpected));
}

#[test]
fn only_the_newest_addresses_wait_to_be_sent_and_not_too_many() {
    let mut agent = AgentSync::new();
    agent.handle_addresses(vec!["10.0.0.1:1".parse().unwrap()]);
    let many: Vec<SocketAddr> = (1..=9).map(|port| SocketAddr::from(([10, 0, 0, 2], port))).collect();
    agent.handle_addresses(many.clone());
    assert_eq!(agent.poll_transmit(), Some(AgentMessage::Moved { addresses: many[..8].to_vec() }));
    assert_eq!(agent.poll_transmit(), None);
}

#[test]
fn being_up_to_date_is_passed_on() {
    assert_eq!(AgentSync::new().handle_message(HubMessage::UpToDate), Ok(Some(Event::UpToDate)));
}

#[test]
fn of_questions_and_alarms_that_were_not_sent_only_the_newest_is_sent() {
    let mut agent = AgentSync::new();
    agent.handle_question(Nonce::new([1; 16]));
    agent.handle_alarm(AlarmKind::Freeze, Text::clean("first"));
    agent.handle_alarm(AlarmKind::Rollback, Text::clean("other"));
    agent.handle_alarm(AlarmKind::Freeze, Text::clean("second"));
    agent.handle_question(Nonce::new([2; 16]));
    let sent: Vec<_> = std::iter::from_fn(|| agent.poll_transmit()).collect();
    assert_eq!(
        sent,
        [
            AgentMessage::Alarm { kind: AlarmKind::Rollback, detail: Text::clean("other") },
            AgentMessage::Alarm { kind: AlarmKind::Freeze, detail: Text::clean("second") },
            AgentMessage::TimeRequest { nonce: Nonce::new([2; 16]) },
        ]
    );
}

#[test]
fn a_timestamp_is_handed_out_as_it_came_also_within_a_push() {
    let mut agent = AgentSync::new();
    let (held, bytes) = (held(7), vec![1, 2, 3]);
    agent.handle_message(HubMessage::Push { nonce: 1, held, bytes: 3 }).unwrap();
    let told = agent.handle_message(HubMessage::Timestamp { bytes: vec![9] });
    assert_eq!(told, Ok(Some(Event::Timestamp { bytes: vec![9] })));
    let offered = agent.handle_message(HubMessage::Chunk { nonce: 1, offset: 0, bytes: bytes.clone() });
    assert_eq!(offered, Ok(Some(Event::Offered { held, bytes })));
}

fn root(byte: u8) -> HubMessage {
    HubMessage::Root { bytes: vec![byte; 4] }
}

#[test]
fn roots_come_one_by_one_and_each_is_answered() {
    let mut agent = AgentSync::new();
    assert_eq!(agent.handle_message(root(2)), Ok(Some(Event::Root(vec![2; 4]))));
    assert_eq!(agent.poll_transmit(), None);
    agent.handle_root_outcome(RootOutcome::Taken { version: 2 });
    agent.handle_root_outcome(RootOutcome::Taken { version: 3 });
    assert_eq!(agent.poll_transmit(), Some(AgentMessage::RootTaken { version: 2 }));
    assert_eq!(agent.poll_transmit(), None, "what was not asked is not answered");
    assert_eq!(agent.handle_message(root(3)), Ok(Some(Event::Root(vec![3; 4]))));
    assert_eq!(agent.handle_message(root(4)), Err(ProtocolFault::Unexpected));
}

#[test]
fn a_refused_root_is_answered_with_the_version_that_stays() {
    let mut agent = AgentSync::new();
    agent.handle_message(root(2)).unwrap();
    let (code, detail) = (RootCode::Version, Text::clean("a gap"));
    agent.handle_root_outcome(RootOutcome::Refused { version: 1, code, detail: detail.clone() });
    assert_eq!(agent.poll_transmit(), Some(AgentMessage::RootRefused { version: 1, code, detail }));
}

#[test]
fn a_hub_that_sends_roots_without_end_or_too_large_ones_loses_its_link() {
    let mut agent = AgentSync::new();
    for version in 0..64 {
        assert_eq!(agent.handle_message(root(version)), Ok(Some(Event::Root(vec![version; 4]))));
        agent.handle_root_outcome(RootOutcome::Taken { version: version.into() });
    }
    assert_eq!(agent.handle_message(root(64)), Err(ProtocolFault::Unexpected));
    let bytes = vec![0; ROOT_SEALED_BYTES + 1];
    assert_eq!(AgentSync::new().handle_message(HubMessage::Root { bytes }), Err(ProtocolFault::Oversize));
}
