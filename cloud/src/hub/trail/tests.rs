use postern_protocol::audit::{
    Checkpoint, End, Event, LogId, Ratchet, RatchetKey, Row, SealedRow, Tag, chain,
};
use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::trust::{Digest, SecretKey};
use postern_protocol::wire::registry::Failure;

use super::*;
use crate::keys::{self, Origin, Plan};
use crate::signer::Signer;
use crate::store::{Alarm, Store, TrailQuery};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const FLEET: &str = "[account.acme]\ntenant = \"operating_company\"\n[device.d1]\naccount = \"acme\"\n";

/// A hub's state with the device `d1`, whose key is 10.
struct Desk {
    _directory: tempfile::TempDir,
    store: Store,
    signer: Signer,
    device: Name,
    whose: Whose,
}

/// What a device has written of one log.
struct Device {
    begin: Begin,
    rows: Vec<SealedRow>,
    end: End,
    ratchet: Ratchet,
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let listen = "127.0.0.1:7000".parse().unwrap();
        keys::found(&state, &Plan { listen, advertise: Vec::new(), origin: Origin::USUAL }, NOW).unwrap();
        let store = Store::open(&state.join(keys::DATABASE)).unwrap();
        let device: Name = "d1".parse().unwrap();
        store
            .write::<_, StoreError>(|tx| {
                tx.save_model(&crate::fleet::read(FLEET, &[]).unwrap(), NOW, "test", "apply")?;
                tx.bind_device(&device, &key(10).public(), false, NOW)
            })
            .unwrap();
        let signer = store.read(|tx| Signer::open(&state, tx)).unwrap();
        let id = store.read(|tx| tx.device(&device)).unwrap().unwrap().id;
        let whose = Whose { fleet: signer.now().root.fleet, device: id };
        Self { _directory: directory, store, signer, device, whose }
    }

    fn begin(&self, log: &Device) {
        self.store.write(|tx| begin(tx, &self.device, &log.begin, NOW)).unwrap();
    }

    /// Sends rows and says up to which the hub acknowledges them.
    fn send(&self, batch: &Batch) -> Result<Ack, RowsCode> {
        let sealed = self
            .store
            .write(|tx| take(tx, &self.signer.now(), (&self.device, self.whose), batch, NOW))
            .unwrap()?;
        Ok(Ack::open(&sealed, &self.signer.now().root, self.whose).unwrap())
    }

    fn rows(&self) -> Vec<Row> {
        let query = TrailQuery { limit: 1000, ..TrailQuery::default() };
        self.store.read(|tx| tx.trail_rows(&query)).unwrap().into_iter().map(|row| row.row).collect()
    }

    fn alarms(&self) -> Vec<(AlarmKind, u64)> {
        let alarms: Vec<Alarm> = self.store.read(|tx| tx.alarms()).unwrap();
        alarms.into_iter().map(|alarm| (alarm.kind, alarm.count)).collect()
    }
}

impl Device {
    fn new(log: u8) -> Self {
        Self::after(log, End { seq: 0, link: chain::ORIGIN }, 1)
    }

    fn after(log: u8, end: End, sealed_from: u64) -> Self {
        let key = RatchetKey::new([log; 32]);
        let ratchet = Ratchet::new(sealed_from, key.clone());
        let (log, first) = (LogId::new([log; 16]), end.seq + 1);
        let begin = Begin { log, first, previous: end.link, sealed_from, key };
        Self { begin, rows: Vec::new(), end, ratchet }
    }

    fn write(&mut self, event: Event) {
        let row = Row { seq: self.end.seq + 1, at: NOW, event };
        let (body, link) = chain::append(&self.end.link, &row).unwrap();
        let tag = (row.seq >= self.ratchet.next()).then(|| self.ratchet.seal(&link));
        self.end = End { seq: row.seq, link };
        self.rows.push(SealedRow { body, tag });
    }

    fn stopped(mut self, count: usize) -> Self {
        (0..count).for_each(|_| self.write(Event::Stopped));
        self
    }

    /// Its rows from `first` on.
    fn batch(&self, first: u64) -> Batch {
        let skip = usize::try_from(first - self.begin.first).unwrap();
        Batch { log: self.begin.log, first, rows: self.rows[skip..].to_vec(), checkpoint: None }
    }

    fn signed(&self, first: u64, whose: Whose, seed: u8) -> Batch {
        let checkpoint = Checkpoint::sign(whose, self.begin.log, self.end, &key(seed));
        Batch { checkpoint: Some(checkpoint), ..self.batch(first) }
    }
}

#[test]
fn rows_that_are_sent_twice_are_there_once_and_acknowledged_twice() {
    let (desk, mut device) = (Desk::new(), Device::new(1).stopped(3));
    desk.begin(&device);
    let ack = desk.send(&device.signed(1, desk.whose, 10)).unwrap();
    assert_eq!((ack.end, ack.logs, ack.marks.len()), (device.end, 1, 3));
    // The hub ended after its commit: the device never heard of it.
    desk.begin(&device);
    let again = desk.send(&device.signed(1, desk.whose, 10)).unwrap();
    assert_eq!((again.end, again.marks.len()), (device.end, 0));
    // Old and new ones in one batch.
    device.write(Event::Stopped);
    let ack = desk.send(&device.batch(2)).unwrap();
    assert_eq!((ack.end, ack.marks), (device.end, vec![Mark::of(&device.end.link)]));
    assert_eq!(desk.rows().iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(desk.alarms(), []);
}

#[test]
fn a_second_row_in_a_place_is_evidence_and_never_stands_there() {
    let (desk, device) = (Desk::new(), Device::new(1).stopped(3));
    desk.begin(&device);
    desk.send(&device.batch(1)).unwrap();
    // An older image of its disk, which went on otherwise, with the same ratchet.
    let mut restored = Device::new(1).stopped(2);
    restored.write(Event::Failed { tunnel: TunnelId::new([1; 8]), failure: Failure::Refused });
    assert_eq!(desk.send(&restored.batch(1)), Err(RowsCode::Fork));
    assert_eq!(desk.send(&restored.batch(3)), Err(RowsCode::Fork));
    assert_eq!(desk.rows()[2].event, Event::Stopped);
    let forks = desk.store.read(|tx| tx.trail_forks()).unwrap();
    let bodies: Vec<_> = forks.iter().map(|fork| (fork.seq, &fork.stands, &fork.other)).collect();
    assert_eq!(bodies, [(3, &device.rows[2].body, &restored.rows[2].body)]);
    assert_eq!(desk.alarms(), [(AlarmKind::Fork, 2)]);
    assert_eq!(desk.send(&device.batch(1)).map(|ack| ack.end), Ok(device.end), "the genuine one goes on");
}

#[test]
fn what_does_not_follow_or_is_not_sealed_changes_nothing() {
    let (desk, device) = (Desk::new(), Device::new(1).stopped(4));
    assert_eq!(desk.send(&device.batch(1)), Err(RowsCode::Unknown));
    desk.begin(&device);
    assert_eq!(desk.send(&device.batch(2)), Err(RowsCode::Gap));
    let mut forged = device.batch(1);
    forged.rows[3].tag = Some(Tag::new([0; 16]));
    assert_eq!(desk.send(&forged), Err(RowsCode::Seal));
    let mut swapped = device.batch(1);
    swapped.rows.swap(0, 1);
    assert_eq!(desk.send(&swapped), Err(RowsCode::Row));
    assert_eq!(desk.rows(), []);
    assert_eq!(desk.alarms(), [(AlarmKind::Seal, 2)]);
    assert_eq!(desk.send(&device.batch(1)).map(|ack| ack.end), Ok(device.end));
}

#[test]
fn a_checkpoint_is_by_a_key_that_the_device_had_then() {
    let (desk, mut device) = (Desk::new(), Device::new(1));
    desk.begin(&device);
    device.write(Event::Enrolled { device: desk.whose.device, key: key(10).public() });
    assert_eq!(desk.send(&device.signed(1, desk.whose, 11)), Err(RowsCode::Row), "not its key");
    let first = desk.send(&device.signed(1, desk.whose, 10)).unwrap();
    // The next key is in force here before the rows say so.
    let (device_name, next) = (&desk.device, key(11).public());
    desk.store
        .write::<_, StoreError>(|tx| {
            tx.announce_key(device_name, &next)?;
            tx.promote_key(device_name)
        })
        .unwrap();
    device.write(Event::Stopped);
    assert_eq!(
        desk.send(&device.signed(2, desk.whose, 11)),
        Err(RowsCode::Row),
        "the rows do not say so yet"
    );
    assert_eq!(desk.send(&device.signed(2, desk.whose, 10)).unwrap().end, device.end, "signed before");
    device.write(Event::KeyChanged { key: next });
    assert_eq!(desk.send(&device.signed(3, desk.whose, 10)), Err(RowsCode::Row), "worth nothing any more");
    let last = desk.send(&device.signed(3, desk.whose, 11)).unwrap();
    // A key that only the rows know is nobody's.
    device.write(Event::KeyChanged { key: key(12).public() });
    assert_eq!(desk.send(&device.signed(4, desk.whose, 12)), Err(RowsCode::Row));
    let log = desk.store.read(|tx| tx.trail_log(device_name, device.begin.log)).unwrap().unwrap();
    let marks = desk.store.read(|tx| tx.trail_marks(log.number, 1, 9)).unwrap();
    let kinds: Vec<_> =
        marks.iter().map(|(seq, signed)| (*seq, matches!(signed, Signed::Checkpoint(_)))).collect();
    assert_eq!(kinds, [(1, true), (1, false), (2, true), (2, false), (3, true), (3, false)]);
    assert_eq!((first.end.seq, last.end.seq), (1, 3));
}

#[test]
fn another_log_is_taken_and_noticed_unless_the_device_was_enrolled_anew() {
    let (desk, device) = (Desk::new(), Device::new(1).stopped(4));
    desk.begin(&device);
    desk.send(&device.batch(1)).unwrap();
    assert_eq!(desk.alarms(), []);
    // It goes on with its two newest rows, which it sealed with a ratchet that it has lost.
    let previous = End { seq: 2, link: Digest::new([0; 32]) };
    let goes_on = Device::after(2, previous, 5).stopped(3);
    desk.begin(&goes_on);
    let ack = desk.send(&goes_on.batch(3)).unwrap();
    assert_eq!((ack.end.seq, ack.logs), (5, 2));
    assert_eq!(desk.alarms(), [(AlarmKind::NewLog, 1)]);
    assert_eq!(desk.rows().len(), 4 + 3, "nothing of the one before is touched");
    desk.store.write(|tx| tx.bind_device(&desk.device, &key(13).public(), false, NOW)).unwrap();
    let replaced = Device::new(3).stopped(1);
    desk.begin(&replaced);
    assert_eq!(desk.send(&replaced.batch(1)).map(|ack| ack.logs), Ok(3));
    assert_eq!(desk.alarms(), [(AlarmKind::NewLog, 1)]);
}

#[test]
fn rows_are_found_by_device_user_tunnel_time_and_event() {
    let (desk, mut device) = (Desk::new(), Device::new(1).stopped(1));
    let (tunnel, user) = (TunnelId::new([1; 8]), UserId::new([2; 8]));
    let peer = postern_protocol::path::Peer {
        addr: "192.0.2.1:1".parse().unwrap(),
        path: postern_protocol::path::Path::Direct,
    };
    let (service, fault) = (Some("hmi".parse().unwrap()), None);
    let reason = postern_protocol::policy::Reason::NoGrant;
    device.write(Event::Denied { user: Some(user), service, reason, fault, origin: None, peer, count: 1 });
    device.write(Event::Failed { tunnel, failure: Failure::Refused });
    desk.begin(&device);
    desk.send(&device.batch(1)).unwrap();
    let all = TrailQuery { limit: 1000, ..TrailQuery::default() };
    let found = |query: &TrailQuery| -> Vec<u64> {
        desk.store.read(|tx| tx.trail_rows(query)).unwrap().iter().map(|row| row.row.seq).collect()
    };
    assert_eq!(found(&all), [1, 2, 3]);
    assert_eq!(found(&TrailQuery { limit: 2, ..all.clone() }), [2, 3]);
    assert_eq!(found(&TrailQuery { users: Some(vec![user]), ..all.clone() }), [2]);
    assert_eq!(found(&TrailQuery { tunnel: Some(tunnel), ..all.clone() }), [3]);
    assert_eq!(found(&TrailQuery { verdict: Some("stopped"), ..all.clone() }), [1]);
    assert_eq!(found(&TrailQuery { until: Some(NOW), ..all.clone() }), Vec::<u64>::new());
    assert_eq!(found(&TrailQuery { from: Some(NOW), ..all.clone() }), [1, 2, 3]);
    assert_eq!(found(&TrailQuery { device: Some("d2".parse().unwrap()), ..all }), Vec::<u64>::new());
}
