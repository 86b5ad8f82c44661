//! What each fuzz target does with its bytes. Nothing here may panic, whatever the bytes are.
//!
//! 1. A decoder's probe reads the bytes and, where that succeeds, demands that writing yields the same bytes.
//! 2. A probe of signed objects reads the bytes as an envelope, and once more as a payload that the right key has
//!    signed: so the steps behind the signature are reached as well.
//! 3. A probe of synchronisation reads the bytes as a sequence of messages and drives one end with them.
//! 4. A probe of the VNC gate compares it with a slow reference, in two segmentations.
//! 5. So do those of the Modbus gate and of the gate of packets.
//! 6. A probe of exported trails takes each row out of one that verifies, which must be noticed.
//! 7. A probe of the gates of HTTP and WebSocket feeds it in two segmentations, and reads again what it let through.
//!
//! The same file is compiled into the tests of `postern-protocol`, which replay the corpus.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use postern_protocol::audit::Row;
use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::id::{DeviceId, FleetId, TunnelId, UserId};
use postern_protocol::limits;
use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{Circumstances, Expectation, Freshness, Index, Kind, Locks, decide, verify};
use postern_protocol::recording;
use postern_protocol::session::agent::{self, AgentSync};
use postern_protocol::session::hub::{HubSync, Published};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::sealed::{OpenFault, Place, SEALED_BYTES, SealingSecret, open};
use postern_protocol::trust::{
    Digest, Domain, Envelope, Factor, Lock, Method, Narrowing, Nonce, Pass, Proof, PublicKey, Role, RoleKeys,
    Root, SecretKey, Subject, Timestamp,
};
use postern_protocol::wire::codec;
use postern_protocol::wire::control::{AgentMessage, Held, Hello, HubMessage, Life, NackCode};
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::invitation::Invitation;
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

pub mod export;
pub mod modbus;
pub mod nearby;
pub mod packet;
pub mod relay;
pub mod rfb;
pub mod web;

pub use export::export;
pub use modbus::modbus;
pub use nearby::nearby;
pub use packet::packet;
pub use relay::relay;
pub use rfb::{rfb_client, rfb_handshake};
pub use web::{digest_challenge, http_request, http_target, websocket_frames};

/// What a target does with its bytes.
pub type Probe = fn(&[u8]);

/// Every target with its probe.
pub const PROBES: &[(&str, Probe)] = &[
    ("request", request),
    ("answer", answer),
    ("hub_request", hub_request),
    ("hub_answer", hub_answer),
    ("sync_agent", sync_agent),
    ("sync_hub", sync_hub),
    ("envelope", envelope),
    ("snapshot", snapshot),
    ("root", root),
    ("pass", pass),
    ("sealed_secret", sealed_secret),
    ("timestamp", timestamp),
    ("lock", lock),
    ("row", row),
    ("export", export),
    ("invitation", invitation),
    ("text", text),
    ("rfb_client", rfb_client),
    ("rfb_handshake", rfb_handshake),
    ("http_request", http_request),
    ("http_target", http_target),
    ("websocket_frames", websocket_frames),
    ("digest_challenge", digest_challenge),
    ("recording", recording),
    ("modbus", modbus),
    ("relay", relay),
    ("nearby", nearby),
    ("packet", packet),
];

/// The installation of all fixed values.
pub const FLEET: FleetId = FleetId::new([0xf1; 8]);
/// The device of all fixed values.
pub const DEVICE: DeviceId = DeviceId::new([0xd1; 8]);
/// The user of all fixed values.
pub const ALICE: UserId = UserId::new([0xa1; 8]);
/// The exporter of all fixed values.
pub const EXPORTER: [u8; 32] = [0x55; 32];

/// A request of a client.
pub fn request(bytes: &[u8]) {
    exact::<Request>(bytes, limits::FRAME_BYTES);
}

/// An answer of an agent.
pub fn answer(bytes: &[u8]) {
    exact::<Answer>(bytes, ANSWER_BYTES);
}

/// A request to a hub.
pub fn hub_request(bytes: &[u8]) {
    exact::<HubRequest>(bytes, limits::FRAME_BYTES);
}

/// An answer of a hub.
pub fn hub_answer(bytes: &[u8]) {
    exact::<HubAnswer>(bytes, limits::LIST_FRAME_BYTES);
}

/// An audit row.
pub fn row(bytes: &[u8]) {
    exact::<Row>(bytes, ROW_BYTES);
}

/// Messages of a hub to an agent, each behind two bytes of length.
pub fn sync_agent(bytes: &[u8]) {
    let mut sync = AgentSync::new();
    let mut announced = 0;
    for message in messages::<HubMessage>(bytes) {
        if let HubMessage::Push { bytes, .. } = &message {
            announced = usize::try_from(*bytes).unwrap();
        }
        match sync.handle_message(message) {
            Err(_) => return,
            Ok(Some(agent::Event::Offered { bytes, held })) => {
                assert_eq!(bytes.len(), announced);
                let code = NackCode::Envelope;
                let outcome = if bytes.len().is_multiple_of(2) {
                    agent::Outcome::Applied { cut: 0 }
                } else {
                    agent::Outcome::Refused { code, detail: Text::clean("fuzz") }
                };
                sync.handle_outcome(held, outcome);
                assert!(sync.poll_transmit().is_some());
            }
            Ok(Some(agent::Event::Root(_))) => {
                sync.handle_root_outcome(agent::RootOutcome::Taken { version: 2 });
                assert!(sync.poll_transmit().is_some());
            }
            Ok(
                Some(
                    agent::Event::UpToDate
                    | agent::Event::Timestamp { .. }
                    | agent::Event::KeyWanted
                    | agent::Event::Lock { .. }
                    | agent::Event::Meet(_)
                    | agent::Event::ReceiptTaken(_)
                    | agent::Event::RowsTaken(_)
                    | agent::Event::RowsRefused(..)
                    | agent::Event::Return(_),
                )
                | None,
            ) => {
                assert!(sync.poll_transmit().is_none())
            }
        }
    }
}

/// Messages of an agent to a hub, each behind two bytes of length.
pub fn sync_hub(bytes: &[u8]) {
    let published = |version: u64| Published {
        held: Held { epoch: 1, version, digest: Digest::of(&[&version.to_le_bytes()]) },
        bytes: vec![1; 40_000].into(),
    };
    let agent = Text::clean("fuzz");
    let (life, addresses, freshness) = (Life([1; 16]), Vec::new(), None);
    let hello = Hello {
        root_version: 1,
        held: None,
        active: false,
        agent,
        boots: 1,
        life,
        addresses,
        freshness,
        locks: 0,
    };
    let mut sync = HubSync::new(&hello, Some(published(1)), 1);
    let mut version = 1;
    for message in messages::<AgentMessage>(bytes) {
        // One announcement and three chunks, at most two pushes: more is a loop that never ends.
        for sent in 0.. {
            assert!(sent < 10, "the hub never stops sending");
            if sync.poll_naming().is_none() && sync.poll_transmit().is_none() {
                break;
            }
        }
        if sync.handle_message(message).is_err() {
            return;
        }
        version += 1;
        sync.handle_published(published(version));
    }
}

/// An envelope of any kind, against a role of one key.
pub fn envelope(bytes: &[u8]) {
    let Ok(envelope) = Envelope::parse(bytes, limits::ROOT_BYTES) else { return };
    for domain in Domain::ALL {
        let _holds_or_not = envelope.verify(domain, &role(Role::Policy, 2));
    }
}

/// A snapshot: as received, and as a payload that the policy key has signed.
pub fn snapshot(bytes: &[u8]) {
    let root = fixed_root();
    let expected = Expectation { root: &root, device: DEVICE, device_key: key(10).public(), floor: None };
    let signed = Envelope::seal_payload(Domain::Snapshot, bytes, &[&key(2)]).unwrap();
    for sealed in [bytes, &signed] {
        let Ok(verified) = verify(sealed, &expected) else { continue };
        let index = Arc::new(Index::build(verified));
        let policy = index.snapshot().clone();
        let now = policy.issued;
        let circumstances = Circumstances::alone(now, Freshness::ALWAYS);
        let subject = subject(now);
        for service in policy.services.iter().take(4) {
            let ask = index.ask(ALICE, service.name.as_str());
            if let Ok(permit) = decide(Some(&index), &subject, &ask, &circumstances) {
                assert_eq!(permit.target(), service.reach.target().map(SocketAddr::from));
                assert!(permit.until() > now && permit.until() <= policy.expires);
                assert!(policy.assigned && !policy.grants.is_empty());
            }
        }
    }
}

/// A root: as the first, as a stored one, as a successor, and as a payload that the root key has signed.
pub fn root(bytes: &[u8]) {
    let signed = Envelope::seal_payload(Domain::Root, bytes, &[&key(1)]).unwrap();
    for sealed in [bytes, &signed] {
        if let Ok(envelope) = Envelope::parse(sealed, limits::ROOT_BYTES) {
            let digest = Digest::of(&[envelope.payload()]);
            assert_eq!(Root::accept_first(sealed, &digest), Root::self_signed(sealed));
        }
        if let Ok(next) = fixed_root().accept_next(sealed) {
            assert_eq!((next.fleet, next.version), (FLEET, 2));
        }
    }
}

/// A pass: as received, and as a payload that the identity key has signed.
pub fn pass(bytes: &[u8]) {
    let user = key(20);
    let signed = Envelope::seal_payload(Domain::Pass, bytes, &[&key(3)]).unwrap();
    for sealed in [bytes, &signed] {
        let proof = Proof::sign(&user, &EXPORTER, DEVICE, sealed);
        let presented = Presented { pass: sealed, proof, exporter: &EXPORTER, peer_key: user.public() };
        let now = UnixTime::from_secs(1_700_000_000);
        if let Ok(subject) = Subject::authenticate(&presented, DEVICE, &fixed_root(), now) {
            assert_eq!(subject.key(), user.public());
            assert!(subject.expires() > now);
        }
    }
}

/// A sealed secret of the device, in the place of the panel `hmi`.
pub fn sealed_secret(bytes: &[u8]) {
    let (secret, name) = (SealingSecret::derive(&key(10)).unwrap(), "hmi".parse().unwrap());
    let place = Place { fleet: FLEET, device: DEVICE, name: &name };
    if let Ok(opened) = open(&secret, &place, bytes) {
        assert_eq!(bytes.len(), SEALED_BYTES);
        assert!((1..=limits::SECRET_BYTES).contains(&opened.reveal().len()));
        let elsewhere = Place { device: DeviceId::new([0xd2; 8]), ..place };
        assert_eq!(open(&secret, &elsewhere, bytes).err(), Some(OpenFault::Foreign));
    }
}

/// A recording for the fixed factory: as it is, in two segmentations, and as events in a chunk that was sealed rightly.
pub fn recording(bytes: &[u8]) {
    let read = |file: &[u8], segment: usize| {
        let mut reader = recording::Reader::new(factory());
        let mut events = Vec::new();
        for piece in file.chunks(segment) {
            reader.handle_bytes(piece);
            loop {
                match reader.poll_chunk() {
                    Ok(Some(chunk)) => events.extend(chunk.events),
                    Ok(None) => break,
                    Err(fault) => return (events, Err(fault)),
                }
            }
        }
        (events, reader.finish())
    };
    assert_eq!(read(bytes, 4096), read(bytes, 1), "segments matter");
    let header = recording_header();
    let (mut writer, file) = recording::Writer::begin(&header, Zeroizing::new([7; 32])).unwrap();
    if let Ok(events) = codec::decode::<Vec<recording::Event>>(bytes, recording::CHUNK_BYTES) {
        events.into_iter().for_each(|event| writer.push(event.at_ms, event.what));
        let Ok(chunk) = writer.finish() else { return };
        let (events, end) = read(&[file, chunk].concat(), 64);
        assert!(end.is_ok() || events.is_empty());
    }
}

/// The pair to which fixed recordings are sealed.
pub fn factory() -> SealingSecret {
    SealingSecret::for_recordings(&Zeroizing::new([0xfa; 32])).unwrap()
}

/// What fixed recordings are of.
pub fn recording_header() -> recording::Header {
    recording::Header {
        fleet: FLEET,
        device: DEVICE,
        tunnel: TunnelId::new([0x71; 8]),
        user: ALICE,
        category: "maintenance".parse().unwrap(),
        service: "hmi".parse().unwrap(),
        kind: Kind::Vnc,
        begun: UnixTime::from_secs(1_800_000_000),
        key: factory().public(),
    }
}

/// A timestamp: as received, and as a payload that the timestamp key has signed.
pub fn timestamp(bytes: &[u8]) {
    let signed = Envelope::seal_payload(Domain::Timestamp, bytes, &[&key(5)]).unwrap();
    let nonce = Nonce::new([0x4e; 16]);
    for sealed in [bytes, &signed] {
        if let Ok(timestamp) = Timestamp::open(sealed, &fixed_root(), DEVICE, nonce) {
            assert_eq!((timestamp.fleet, timestamp.device, timestamp.nonce), (FLEET, DEVICE, nonce));
            assert!(timestamp.root_version >= 1);
        }
    }
}

/// A lock: as received, and as a payload that the lock key has signed. Whatever it says, nothing is permitted by it.
pub fn lock(bytes: &[u8]) {
    let signed = Envelope::seal_payload(Domain::Lock, bytes, &[&key(6)]).unwrap();
    let mut locks = Locks::default();
    for sealed in [bytes, &signed] {
        let Ok(lock) = Lock::verify(sealed, &fixed_root(), DEVICE) else { continue };
        assert_eq!(Lock::stored(sealed).as_ref(), Ok(&lock));
        if locks.handle_lock(&lock, 0).is_ok() {
            assert!(!locks.is_empty());
            assert_eq!(locks.highest(lock.epoch), lock.sequence);
        }
    }
}

/// The code that people paste.
pub fn invitation(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(invitation) = text.parse::<Invitation>() {
        assert_eq!(invitation.to_string().parse(), Ok(invitation));
    }
}

/// Everything that is read from text.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let clean = Text::clean(text);
    assert_eq!(Text::try_from(clean.as_str().to_owned()), Ok(clean));
    shown(text, text.parse::<Name>());
    shown(text, text.parse::<Label>());
    shown(text, text.parse::<UserId>());
    shown(text, text.parse::<TunnelId>());
    shown(text, text.parse::<PublicKey>());
}

/// The key that is made of 32 times this byte.
pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

/// A root whose root key is 1, policy key 2, identity key 3 and hub key 4.
pub fn fixed_root() -> Root {
    Root {
        fleet: FLEET,
        version: 1,
        expires: UnixTime::from_secs(2_000_000_000),
        policy_epoch: 1,
        roles: vec![
            role(Role::Root, 1),
            role(Role::Policy, 2),
            role(Role::Identity, 3),
            role(Role::Timestamp, 5),
            role(Role::Lock, 6),
            role(Role::AuditAck, 7),
        ],
        hubs: vec![key(4).public()],
    }
}

fn role(role: Role, seed: u8) -> RoleKeys {
    RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] }
}

fn subject(now: UnixTime) -> Subject {
    let user = key(20);
    let factors = vec![Factor { method: Method::Totp, at: now }];
    let expires = UnixTime::MAX;
    let pass = Pass {
        fleet: FLEET,
        user: ALICE,
        key: user.public(),
        factors,
        issued: now,
        expires,
        narrow: Narrowing::NONE,
    };
    let sealed = Envelope::seal(&pass, &[&key(3)]).unwrap();
    let proof = Proof::sign(&user, &EXPORTER, DEVICE, &sealed);
    let presented = Presented { pass: &sealed, proof, exporter: &EXPORTER, peer_key: user.public() };
    match Subject::authenticate(&presented, DEVICE, &fixed_root(), now) {
        Ok(subject) => subject,
        Err(fault) => panic!("{fault}"),
    }
}

fn exact<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) {
    if let Ok(value) = codec::decode::<T>(bytes, max) {
        assert_eq!(codec::encode(&value, max).as_deref(), Ok(bytes));
    }
}

fn messages<T: Serialize + DeserializeOwned>(mut bytes: &[u8]) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (message, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        bytes = rest;
        codec::decode(message, limits::SYNC_FRAME_BYTES).ok()
    })
}

fn shown<T: ToString, E: Debug>(text: &str, parsed: Result<T, E>) {
    if let Ok(value) = parsed {
        assert_eq!(value.to_string(), text);
    }
}
