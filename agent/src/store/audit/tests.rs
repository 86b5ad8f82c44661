use postern_protocol::audit::{Intake, Mark};
use postern_protocol::id::{DeviceId, FleetId, TunnelId, UserId};
use postern_protocol::policy::{Kind, Mode};
use postern_protocol::wire::control::RowsCode;
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::text::Text;

use super::*;
use crate::identity::Keys;

const LIMIT: u64 = 256 * 1024;
const AT: UnixTime = UnixTime::from_secs(1_800_000_000);
const WHOSE: Whose = Whose { fleet: FleetId::new([1; 8]), device: DeviceId::new([2; 8]) };

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn signer(seed: u8) -> Signer {
    let keys = Keys { present: key(seed), next: None };
    Signer { whose: WHOSE, keys: Arc::new(DeviceKeys::new(PathBuf::new(), keys)) }
}

fn open(dir: &tempfile::TempDir) -> AuditDb {
    AuditDb::open(dir.path(), LIMIT).unwrap()
}

fn write(db: &mut AuditDb, events: &[Event], signer: Option<&Signer>) {
    db.append(events.iter().map(|event| (AT, event)), signer).unwrap();
}

fn enrolled() -> Event {
    Event::Enrolled { device: WHOSE.device, key: key(10).public() }
}

fn closed() -> Event {
    let peer = postern_protocol::path::Peer {
        addr: ([192, 0, 2, 2], 1).into(),
        path: postern_protocol::path::Path::Direct,
    };
    let (code, tunnel) = (CloseCode::Failed(Failure::Shutdown).number(), TunnelId::new([1; 8]));
    Event::Closed { tunnel, code, to_machine: 0, to_client: 0, seconds: 0, peer, gate: None }
}

fn permitted(tunnel: u8) -> Event {
    Event::Permitted {
        tunnel: TunnelId::new([tunnel; 8]),
        user: UserId::new([7; 8]),
        service: "web".parse().unwrap(),
        kind: Kind::Http,
        target: None,
        mode: Mode::ViewOnly,
        origin: None,
        version: 1,
        peer: postern_protocol::path::Peer {
            addr: ([192, 0, 2, 2], 1).into(),
            path: postern_protocol::path::Path::Direct,
        },
        recorded: false,
    }
}

fn started() -> Event {
    Event::Started { agent: Text::clean("0.1.0"), boots: 1 }
}

#[test]
fn what_was_left_open_since_the_last_start_is_counted_and_what_ended_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(&dir);
    assert_eq!(db.left_open().unwrap(), 0);
    write(&mut db, &[permitted(9), started(), permitted(1), permitted(2), permitted(3), closed()], None);
    assert_eq!(db.left_open().unwrap(), 2);
    let tunnel = TunnelId::new([2; 8]);
    write(&mut db, &[Event::Failed { tunnel, failure: Failure::Refused }], None);
    assert_eq!(db.left_open().unwrap(), 1);
    for end in [Event::Stopped, started(), enrolled()] {
        write(&mut db, &[permitted(4), permitted(5)], None);
        assert!(db.left_open().unwrap() >= 2);
        write(&mut db, &[end], None);
        assert_eq!(db.left_open().unwrap(), 0);
    }
}

/// A cloud that takes what it is sent, as the real one judges it.
#[derive(Default)]
struct Cloud {
    intake: Option<Intake>,
    log: Option<LogId>,
    bodies: Vec<Vec<u8>>,
}

impl Cloud {
    /// Takes all that the trail has for it, and has each acknowledgement stored unless told not to.
    fn take(&mut self, db: &mut AuditDb, signer: &Signer, keep: bool) -> Result<(), RowsCode> {
        while let Some(rows) = db.outgoing(Some(signer)).unwrap() {
            let Outgoing { begin, batch } = *rows;
            if let Some(begin) = begin.filter(|begin| self.log != Some(begin.log)) {
                (self.intake, self.log) = (Some(Intake::begin(&begin)), Some(begin.log));
            }
            let intake = self.intake.as_mut().unwrap();
            for (seq, row) in (batch.first..).zip(&batch.rows) {
                if seq > intake.head().seq {
                    intake.take(row)?;
                    self.bodies.push(row.body.clone());
                }
            }
            if let Some(checkpoint) = batch.checkpoint {
                assert!(checkpoint.holds(WHOSE, batch.log) && intake.admits(&checkpoint));
            }
            if !keep {
                return Ok(());
            }
            assert!(db.keep_ack(batch.log, intake.head(), vec![7]).unwrap());
        }
        Ok(())
    }
}

#[test]
fn only_what_the_cloud_has_makes_room_and_the_rest_still_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, device, mut cloud) = (open(&dir), signer(10), Cloud::default());
    let held = Held { epoch: 1, version: 7, digest: Digest::new([7; 32]) };
    write(&mut db, &[enrolled(), Event::PolicyApplied { held, cut: 0 }], None);
    let control = Event::Control { uid: 1, command: Text::clean(&"x".repeat(250)) };
    while db.used_bytes() < LIMIT * 80 / 100 {
        write(&mut db, std::slice::from_ref(&control), None);
    }
    let (written, _) = db.progress();
    assert_eq!(db.verify().unwrap(), written, "nothing is removed that nobody has");
    cloud.take(&mut db, &device, true).unwrap();
    assert_eq!(db.progress(), (written, written));
    assert!(db.verify().unwrap() < written && db.used_bytes() < LIMIT * 75 / 100, "what it has makes room");
    for _ in 0..600 {
        write(&mut db, std::slice::from_ref(&control), None);
        assert!(db.used_bytes() < LIMIT * 90 / 100);
        cloud.take(&mut db, &device, true).unwrap();
    }
    let (head, _) = db.progress();
    let left = db.verify().unwrap();
    assert!(head == written + 600 && left < written, "{left} of {head}");
    assert_eq!(u64::try_from(cloud.bodies.len()).unwrap(), head, "the cloud has each once");
    let floor = db.newest_policy().unwrap().unwrap();
    assert_eq!((floor.version, floor.digest), (7, held.digest), "a removed row is remembered for its policy");
    drop(db);
    assert_eq!(AuditDb::open_read_only(dir.path()).unwrap().verify().unwrap(), left);
    assert_eq!(open(&dir).progress(), (head, head));
}

#[test]
fn an_acknowledgement_of_other_rows_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(&dir);
    write(&mut db, &[enrolled(), Event::Stopped], None);
    let (log, end) = (db.trail.log, db.last);
    let other = End { link: Digest::new([9; 32]), ..end };
    assert!(!db.keep_ack(log, other, vec![1]).unwrap(), "another link");
    assert!(!db.keep_ack(log, End { seq: 3, ..end }, vec![1]).unwrap(), "a row that is not here");
    assert!(!db.keep_ack(LogId::new([9; 16]), end, vec![1]).unwrap(), "another log");
    assert_eq!(db.progress(), (2, 0));
    assert!(db.keep_ack(log, end, vec![1]).unwrap());
    assert_eq!(db.progress(), (2, 2));
}

#[test]
fn a_tail_that_is_missing_behind_what_was_acknowledged_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(&dir);
    write(&mut db, &[enrolled(), Event::Stopped, Event::Stopped], None);
    assert!(db.keep_ack(db.trail.log, db.last, vec![1]).unwrap());
    db.connection.execute("DELETE FROM row WHERE seq = 3", []).unwrap();
    let missing = ChainFault::Missing { found: 2, acknowledged: 3 };
    assert!(matches!(db.verify(), Err(StoreError::Chain(fault)) if fault == missing));
    // Written anew with links that fit: not the row that was acknowledged.
    let row = Row { seq: 3, at: AT, event: enrolled() };
    let before = AuditDb::with(dir.path(), FORMAT.open(dir.path()).unwrap(), db.trail.clone()).unwrap().last;
    let (body, link) = chain::append(&before.link, &row).unwrap();
    db.connection.execute(INSERT, params![3, body, link.as_bytes().as_slice(), vec![0u8; 16]]).unwrap();
    let rewritten = ChainFault::Rewritten { seq: 3 };
    assert!(matches!(db.verify(), Err(StoreError::Chain(fault)) if fault == rewritten));
}

#[test]
fn keys_of_written_rows_are_gone_once_the_cloud_has_the_first_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, device, mut cloud) = (open(&dir), signer(10), Cloud::default());
    let next = |db: &AuditDb| ratchet_file::read(dir.path(), db.trail.log).unwrap().unwrap().next();
    write(&mut db, &[enrolled(), Event::Stopped], None);
    db.forget_keys();
    assert_eq!(next(&db), 1, "the cloud needs it");
    cloud.take(&mut db, &device, true).unwrap();
    assert_eq!(next(&db), 3);
    write(&mut db, &[Event::Stopped], None);
    assert_eq!(next(&db), 3, "the power goes before it is forgotten");
    drop(db);
    let mut db = open(&dir);
    write(&mut db, &[Event::Stopped], None);
    db.forget_keys();
    assert_eq!(next(&db), 5);
    cloud.take(&mut db, &device, true).unwrap();
    assert_eq!(cloud.bodies.len(), 4);
}

#[test]
fn an_acknowledgement_that_is_lost_costs_nothing_but_another_sending() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, device, mut cloud) = (open(&dir), signer(10), Cloud::default());
    write(&mut db, &[enrolled(), Event::Stopped], None);
    for _ in 0..3 {
        cloud.take(&mut db, &device, false).unwrap();
        drop(db);
        db = open(&dir);
        write(&mut db, &[Event::Stopped], None);
    }
    cloud.take(&mut db, &device, true).unwrap();
    assert_eq!((cloud.bodies.len(), db.progress()), (5, (5, 5)));
}

#[test]
fn without_its_ratchet_the_trail_goes_on_as_another_log_with_all_rows_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, device, mut cloud) = (open(&dir), signer(10), Cloud::default());
    write(&mut db, &[enrolled(), Event::Stopped], None);
    cloud.take(&mut db, &device, true).unwrap();
    write(&mut db, &[Event::Stopped], None);
    let before = db.trail.log;
    drop(db);
    std::fs::remove_file(dir.path().join(RATCHET)).unwrap();
    let mut db = open(&dir);
    assert_ne!(db.trail.log, before);
    write(&mut db, &[Event::Stopped], None);
    let gap = db.newest(2).unwrap().remove(0);
    assert_eq!((gap.seq, gap.event), (4, Event::Gap { cause: GapCause::Unsealed, rows: 0 }));
    let mut second = Cloud::default();
    second.take(&mut db, &device, true).unwrap();
    assert_eq!((second.bodies.len(), db.progress()), (5, (5, 5)));
}

#[test]
fn an_older_copy_of_the_database_does_not_go_on_as_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, device, mut cloud) = (open(&dir), signer(10), Cloud::default());
    write(&mut db, &[enrolled(), Event::Stopped], None);
    cloud.take(&mut db, &device, true).unwrap();
    drop(db);
    let copy = std::fs::read(dir.path().join(FILE)).unwrap();
    let mut db = open(&dir);
    let before = db.trail.log;
    write(&mut db, &[Event::Stopped], None);
    db.forget_keys();
    drop(db);
    std::fs::write(dir.path().join(FILE), copy).unwrap();
    assert_ne!(open(&dir).trail.log, before, "the key of row 3 is gone");
}

#[test]
fn a_trail_that_was_removed_is_followed_by_one_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(&dir);
    write(&mut db, &[enrolled()], None);
    assert_eq!(db.newest(9).unwrap()[0].event, enrolled(), "the first one follows nothing");
    drop(db);
    std::fs::remove_file(dir.path().join(FILE)).unwrap();
    let mut db = open(&dir);
    write(&mut db, &[Event::Stopped], None);
    let events: Vec<Event> = db.newest(9).unwrap().into_iter().map(|row| row.event).collect();
    assert_eq!(events, [Event::Gap { cause: GapCause::Lost, rows: 0 }, Event::Stopped]);
}

#[test]
fn a_session_ends_with_a_checkpoint_and_the_key_of_its_time_signs_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, old, new) = (open(&dir), signer(10), signer(11));
    write(&mut db, &[enrolled(), Event::Stopped], Some(&old));
    assert_eq!(db.signed().unwrap(), []);
    write(&mut db, &[closed()], Some(&old));
    let session = db.last;
    assert_eq!(db.signed().unwrap(), [session]);
    write(&mut db, &[Event::Stopped], Some(&old));
    // Another key is in force, and the rows do not say so yet: nobody signs for row 4, and the batch ends before it.
    let batch = db.outgoing(Some(&new)).unwrap().unwrap().batch;
    let checkpoint = batch.checkpoint.unwrap();
    assert_eq!((batch.rows.len(), checkpoint.end, checkpoint.key), (3, session, key(10).public()));
    assert!(db.keep_ack(db.trail.log, session, vec![1]).unwrap());
    let batch = db.outgoing(Some(&new)).unwrap().unwrap().batch;
    assert_eq!((batch.first, batch.rows.len(), batch.checkpoint), (4, 1, None));
    // The end of a session needs a checkpoint, and the rows name its key; the row that comes late is not written twice.
    write(&mut db, &[closed()], Some(&new));
    write(&mut db, &[Event::KeyChanged { key: key(11).public() }], Some(&new));
    let words: Vec<&str> = db.newest(3).unwrap().iter().map(|row| row.event.word()).collect();
    assert_eq!(words, ["stopped", "closed", "key_changed"]);
    let batch = db.outgoing(Some(&new)).unwrap().unwrap().batch;
    let checkpoint = batch.checkpoint.unwrap();
    assert_eq!((batch.rows.len(), checkpoint.end, checkpoint.key), (3, db.last, key(11).public()));
    assert_ne!(Mark::of(&checkpoint.end.link), Mark::of(&session.link));
}

#[test]
fn batches_are_bounded_in_rows_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut db, device) = (open(&dir), signer(10));
    let control = Event::Control { uid: 1, command: Text::clean(&"x".repeat(256)) };
    write(&mut db, &vec![control; 100], None);
    let batch = db.outgoing(Some(&device)).unwrap().unwrap().batch;
    let bytes: usize = batch.rows.iter().map(|row| row.body.len()).sum();
    assert!(bytes <= 16 * 1024 && bytes + 300 > 16 * 1024, "{bytes}");
    assert!(db.keep_ack(db.trail.log, db.last, vec![1]).unwrap());
    write(&mut db, &vec![Event::Stopped; 100], None);
    assert_eq!(db.outgoing(Some(&device)).unwrap().unwrap().batch.rows.len(), 64);
}
