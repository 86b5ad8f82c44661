use super::*;
use crate::audit::{Checkpoint, Event};
use crate::id::{DeviceId, FleetId};
use crate::trust::root::RoleKeys;
use crate::trust::{Digest, Envelope, Role, SecretKey};

const WHOSE: Whose = Whose { fleet: FleetId::new([1; 8]), device: DeviceId::new([2; 8]) };
const LOG: LogId = LogId::new([3; 16]);
const AT: UnixTime = UnixTime::from_secs(1_800_000_000);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

/// Keys of roles are 1 to 6, in the order of the roles.
fn root() -> Root {
    let role = |(role, seed)| RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] };
    let roles = Role::ALL.into_iter().zip(1..).map(role).collect();
    let fleet = WHOSE.fleet;
    Root { fleet, version: 1, expires: UnixTime::MAX, policy_epoch: 1, roles, hubs: Vec::new() }
}

/// What a device wrote: ten rows, with another key from row 6 on, a checkpoint and an acknowledgement behind rows 3, 5, 8 and 10.
#[derive(Clone)]
struct Story {
    events: Vec<Event>,
    /// Which key signs for a row, as a seed.
    signer: fn(u64) -> u8,
    /// Who signs for the cloud.
    acks: Vec<Ack>,
    /// Rows behind which the acknowledgements stand.
    cuts: Vec<u64>,
}

fn events() -> Vec<Event> {
    let mut events = vec![Event::Enrolled { device: WHOSE.device, key: key(10).public() }];
    events.extend([Event::Stopped, Event::Stopped, Event::Stopped, Event::Stopped]);
    events.push(Event::KeyChanged { key: key(11).public() });
    events.extend([Event::Stopped, Event::Stopped, Event::Stopped, Event::Stopped]);
    events
}

fn links(events: &[Event]) -> Vec<(Vec<u8>, Link)> {
    let mut last = chain::ORIGIN;
    (1..)
        .zip(events)
        .map(|(seq, event)| {
            let row = Row { seq, at: AT, event: event.clone() };
            let (body, link) = chain::append(&last, &row).unwrap();
            last = link;
            (body, link)
        })
        .collect()
}

fn acks(events: &[Event], cuts: &[u64]) -> Vec<Ack> {
    let links = links(events);
    let mut from = 0;
    cuts.iter()
        .map(|seq| {
            let upto = usize::try_from(*seq).unwrap();
            let rows = &links[from..upto];
            from = upto;
            let marks = rows.iter().map(|(_, link)| Mark::of(link)).collect();
            let end = End { seq: *seq, link: rows.last().unwrap().1 };
            Ack { whose: WHOSE, log: LOG, end, marks, logs: 1, root_version: 1, at: AT }
        })
        .collect()
}

fn story() -> Story {
    let cuts = vec![3, 5, 8, 10];
    let signer = |seq| if seq < 6 { 10 } else { 11 };
    Story { acks: acks(&events(), &cuts), events: events(), signer, cuts }
}

/// The export of a story, as whoever has it writes it: all links fit, whatever was changed.
fn export(story: &Story) -> Vec<Item> {
    let name = Text::clean("press-7");
    let mut items = vec![Item::Device { whose: WHOSE, name }];
    items.push(Item::Log { log: LOG, first: 1, previous: chain::ORIGIN });
    for (seq, (body, link)) in (1..).zip(links(&story.events)) {
        items.push(Item::Row { link, body });
        if story.cuts.contains(&seq) {
            let end = End { seq, link };
            items.push(Item::Checkpoint(Checkpoint::sign(WHOSE, LOG, end, &key((story.signer)(seq)))));
            let of_here = story.acks.iter().filter(|ack| ack.end.seq == seq);
            items.extend(of_here.map(|ack| Item::Ack(Envelope::seal(ack, &[&key(6)]).unwrap())));
        }
    }
    items
}

fn verify(items: &[Item]) -> Result<Summary, ExportFault> {
    let mut verifier = Verifier::new(root());
    items.iter().try_for_each(|item| verifier.handle(item))?;
    verifier.finish()
}

/// The place of a row among the items.
fn row(items: &[Item], seq: usize) -> usize {
    items.iter().enumerate().filter(|(_, item)| matches!(item, Item::Row { .. })).nth(seq - 1).unwrap().0
}

#[test]
fn a_genuine_export_verifies_and_says_how_far_it_is_complete() {
    let summary = Summary {
        name: Text::clean("press-7"),
        rows: 10,
        logs: 1,
        signed: 10,
        complete_at: Some(AT),
        root_version: 1,
        unchecked: 0,
    };
    assert_eq!(verify(&export(&story())), Ok(summary.clone()));
    // The cloud says once more, later, that nothing newer is there.
    let mut items = export(&story());
    let later = AT.saturating_add(99);
    let receipt = Ack { marks: Vec::new(), at: later, ..story().acks[3].clone() };
    items.push(Item::Ack(Envelope::seal(&receipt, &[&key(6)]).unwrap()));
    assert_eq!(verify(&items), Ok(Summary { complete_at: Some(later), ..summary }));
}

#[test]
fn a_changed_removed_inserted_or_swapped_row_is_named() {
    let genuine = export(&story());
    let mut items = genuine.clone();
    let at = row(&items, 4);
    let Item::Row { body, .. } = &mut items[at] else { panic!("no row") };
    body[1] ^= 1;
    assert_eq!(verify(&items), Err(ExportFault::Changed { seq: 4 }));

    let mut items = genuine.clone();
    items.remove(row(&genuine, 4));
    assert_eq!(verify(&items), Err(ExportFault::Sequence { seq: 4, found: 5 }));

    let mut items = genuine.clone();
    items.insert(row(&genuine, 4), genuine[row(&genuine, 7)].clone());
    assert_eq!(verify(&items), Err(ExportFault::Sequence { seq: 4, found: 7 }));

    let mut items = genuine.clone();
    items.swap(row(&genuine, 1), row(&genuine, 2));
    assert_eq!(verify(&items), Err(ExportFault::Sequence { seq: 1, found: 2 }));

    let mut items = genuine.clone();
    let at = row(&items, 2);
    let Item::Row { body, .. } = &mut items[at] else { panic!("no row") };
    body.push(0);
    let fault = CodecFault::Trailing { count: 1 };
    assert_eq!(verify(&items), Err(ExportFault::Codec { seq: 2, fault }));
}

#[test]
fn a_tail_that_was_cut_off_is_named_by_what_the_cloud_acknowledged() {
    let mut items = export(&story());
    // Rows 9 and 10 go, their acknowledgement stays.
    let (ack, checkpoint) = (items.pop().unwrap(), items.pop().unwrap());
    items.truncate(row(&items, 9));
    items.push(checkpoint);
    assert_eq!(verify(&items), Err(ExportFault::Missing { seq: 9, signed: 10 }), "the device has signed it");
    items.pop();
    items.push(ack);
    assert_eq!(verify(&items), Err(ExportFault::Missing { seq: 9, signed: 10 }));
    // Without any acknowledgement of the tail it is an export of an earlier time, and says so itself.
    items.pop();
    assert_eq!(verify(&items).map(|summary| summary.rows), Ok(8));
    // What the cloud has never acknowledged is no part of an export.
    let mut items = export(&story());
    items.pop();
    assert_eq!(verify(&items), Err(ExportFault::Unacknowledged { seq: 9 }));
}

#[test]
fn a_history_that_is_sealed_anew_with_the_newest_key_is_named_at_its_first_changed_row() {
    // The thief has the device's newest key, and writes row 7 anew with everything after it.
    let mut forged = story();
    forged.events[6] = Event::Control { uid: 0, command: Text::clean("nothing happened") };
    assert_eq!(verify(&export(&forged)), Err(ExportFault::Rewritten { seq: 7, by: 7 }));
    // A row of the time before the newest key: the key of that time does not sign for it.
    let mut forged = story();
    forged.events[4] = Event::Control { uid: 0, command: Text::clean("nothing happened") };
    forged.signer = |_| 11;
    assert_eq!(verify(&export(&forged)), Err(ExportFault::Unsigned { seq: 1, by: 3 }));
    // The rows now say that the newest key was always the one: the cloud has acknowledged others.
    forged.events[0] = Event::Enrolled { device: WHOSE.device, key: key(11).public() };
    assert_eq!(verify(&export(&forged)), Err(ExportFault::Rewritten { seq: 1, by: 1 }));
    // With all acknowledgements gone, nothing of it is one's that the cloud has.
    forged.acks.clear();
    assert_eq!(verify(&export(&forged)), Err(ExportFault::Unacknowledged { seq: 1 }));
    // With all but the last: its marks reach back to row 9, and nobody vouches for those before.
    forged.acks = vec![story().acks[3].clone()];
    assert_eq!(verify(&export(&forged)), Err(ExportFault::Rewritten { seq: 1, by: 9 }));
}

#[test]
fn an_acknowledgement_by_anybody_else_counts_for_nothing() {
    let mut items = export(&story());
    let last = items.len() - 1;
    for signer in [1, 2, 3, 4, 5, 10, 11] {
        items[last] = Item::Ack(Envelope::seal(&story().acks[3], &[&key(signer)]).unwrap());
        assert_eq!(verify(&items), Err(ExportFault::Unacknowledged { seq: 9 }), "{signer}");
    }
}

#[test]
fn a_checkpoint_of_another_key_or_log_or_about_other_rows_signs_for_nothing() {
    let genuine = export(&story());
    let at = genuine.iter().position(|item| matches!(item, Item::Checkpoint(_))).unwrap();
    let Item::Checkpoint(checkpoint) = genuine[at] else { panic!("no checkpoint") };
    for forged in [
        Checkpoint::sign(WHOSE, LOG, checkpoint.end, &key(11)),
        Checkpoint::sign(WHOSE, LogId::new([9; 16]), checkpoint.end, &key(10)),
        Checkpoint::sign(WHOSE, LOG, End { link: Digest::of(&[b"other"]), ..checkpoint.end }, &key(10)),
        Checkpoint { key: key(11).public(), ..checkpoint },
    ] {
        let mut items = genuine.clone();
        items[at] = Item::Checkpoint(forged);
        assert_eq!(verify(&items), Err(ExportFault::Unsigned { seq: 1, by: 3 }));
    }
}

#[test]
fn a_log_that_was_left_out_is_missed() {
    let mut both = story();
    both.acks.iter_mut().for_each(|ack| ack.logs = 2);
    assert_eq!(verify(&export(&both)), Err(ExportFault::Logs { found: 1, expected: 2 }));
    let mut items = export(&both);
    // The second goes on with the rows of the first from row 9 on.
    let second = LogId::new([4; 16]);
    let rows = links(&events());
    items.push(Item::Log { log: second, first: 9, previous: rows[7].1 });
    items.extend(rows[8..].iter().map(|(body, link)| Item::Row { link: *link, body: body.clone() }));
    let ack = Ack { log: second, marks: Vec::new(), ..both.acks[3].clone() };
    items.push(Item::Ack(Envelope::seal(&ack, &[&key(6)]).unwrap()));
    let summary = verify(&items).unwrap();
    assert_eq!((summary.rows, summary.logs, summary.signed), (12, 2, 10));
}

#[test]
fn roots_that_follow_the_trusted_one_are_taken_and_others_refused() {
    let mut next = Root { version: 2, ..root() };
    next.roles[5].keys = vec![key(16).public()];
    let sealed = Envelope::seal(&next, &[&key(1)]).unwrap();
    let mut items = export(&story());
    let receipt = Ack { marks: Vec::new(), root_version: 2, ..story().acks[3].clone() };
    let receipt = Item::Ack(Envelope::seal(&receipt, &[&key(16)]).unwrap());
    items.push(receipt.clone());
    let unknown = verify(&items).unwrap();
    assert_eq!((unknown.root_version, unknown.unchecked), (1, 1), "it counts for nothing");
    items.insert(0, Item::Root(sealed));
    assert_eq!(verify(&items).map(|summary| summary.root_version), Ok(2));
    let forged = Envelope::seal(&next, &[&key(9)]).unwrap();
    items[0] = Item::Root(forged);
    assert!(matches!(verify(&items), Err(ExportFault::Root(_))));
}

#[test]
fn an_acknowledgement_of_another_device_is_named() {
    let mut items = export(&story());
    let whose = Whose { device: DeviceId::new([9; 8]), ..WHOSE };
    let last = items.len() - 1;
    let ack = Ack { whose, ..story().acks[3].clone() };
    items[last] = Item::Ack(Envelope::seal(&ack, &[&key(6)]).unwrap());
    let fault = AckFault::Device { found: whose.device, expected: WHOSE.device };
    assert_eq!(verify(&items), Err(ExportFault::Ack { seq: 10, fault }));
}

#[test]
fn a_file_is_read_line_by_line_and_begins_with_its_format() {
    let mut verifier = Verifier::new(root());
    for line in [super::HEAD.to_owned(), "# for people".to_owned(), String::new()] {
        verifier.handle_line(&line).unwrap();
    }
    export(&story()).iter().for_each(|item| verifier.handle_line(&item.line()).unwrap());
    assert_eq!(verifier.handle_line("row 00"), Err(ExportFault::Line(LineFault)));
    assert_eq!(verifier.finish().map(|summary| summary.rows), Ok(10));
    assert_eq!(Verifier::new(root()).handle_line("postern-audit 2"), Err(ExportFault::Head));
}

#[test]
fn an_export_without_device_or_log_is_none() {
    assert_eq!(verify(&[]), Err(ExportFault::Order));
    let items = export(&story());
    assert_eq!(verify(&items[1..]), Err(ExportFault::Order));
    assert_eq!(verify(&items[2..]), Err(ExportFault::Order));
    let twice = [items[0].clone(), items[0].clone()];
    assert_eq!(verify(&twice), Err(ExportFault::Order));
}
