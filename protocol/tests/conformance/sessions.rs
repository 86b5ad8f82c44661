//! Golden values of what a hub says of sessions.

use postern_protocol::id::TunnelId;
use postern_protocol::policy::{Kind, Reason};
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::sessions::{
    PageMark, SessionEntry, SessionOutcome, SessionPage, SessionQuery, SessionUser, SessionsOf,
};

use crate::probes::ALICE;
use crate::samples::{ISSUED, Sample, name, plain, table};

table!(SESSIONS_OF, sessions_of, SessionsOf {
    SessionsOf::Mine => "Mine", "";
    SessionsOf::Everybody { .. } => "Everybody", "pass: bytes";
    SessionsOf::User { .. } => "User", "pass: bytes; user: name";
});
table!(SESSION_OUTCOME, session_outcome, SessionOutcome {
    SessionOutcome::Denied { .. } => "Denied", "reason: u8; count: u32";
    SessionOutcome::Failed { .. } => "Failed", "tunnel: id; failure: u8";
    SessionOutcome::Open { .. } => "Open", "tunnel: id; kind: kind; recorded: bool";
    SessionOutcome::Ended { .. } => "Ended", "tunnel: id; kind: kind; recorded: bool; code: u32; seconds: u64; to_machine: u64; to_client: u64";
});

const TUNNEL: TunnelId = TunnelId::new([0x7e; 8]);

pub(crate) fn mine() -> SessionQuery {
    SessionQuery { whose: SessionsOf::Mine, device: None, from: None, until: None, after: None, limit: 50 }
}

pub(crate) fn of_alice() -> SessionQuery {
    SessionQuery {
        whose: SessionsOf::User { pass: vec![1, 2, 3], user: name("alice") },
        device: Some(name("press-7")),
        from: Some(ISSUED),
        until: Some(ISSUED.saturating_add(3600)),
        after: Some(PageMark { at: ISSUED.saturating_add(60), seen: 2 }),
        limit: 256,
    }
}

/// One of each outcome.
fn outcomes() -> [SessionOutcome; 4] {
    let (tunnel, kind) = (TUNNEL, Kind::Vnc);
    [
        SessionOutcome::Denied { reason: Reason::NoGrant, count: 3 },
        SessionOutcome::Failed { tunnel, failure: Failure::Refused },
        SessionOutcome::Open { tunnel, kind, recorded: true },
        SessionOutcome::Ended {
            tunnel,
            kind,
            recorded: false,
            code: 0,
            seconds: 300,
            to_machine: 2000,
            to_client: 70_000,
        },
    ]
}

/// The caller's own, one whose user is named, one whose user is not, and one whose service may not be told.
pub(crate) fn page() -> SessionPage {
    let user = |name| Some(SessionUser { id: ALICE, name });
    let users = [None, user(Some(name("alice"))), user(None), user(None)];
    let services = [Some(name("hmi")), Some(name("web")), Some(name("hmi")), None];
    let sessions = outcomes().into_iter().zip(users).zip(services).map(|((outcome, user), service)| {
        SessionEntry { at: ISSUED, device: name("press-7"), service, user, outcome }
    });
    SessionPage { sessions: sessions.collect(), more: Some(PageMark { at: ISSUED, seen: 4 }) }
}

pub(crate) const fn nothing() -> SessionPage {
    SessionPage { sessions: Vec::new(), more: None }
}

pub(crate) fn parts() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (value, name) in [
        (SessionsOf::Mine, "sessions-of-mine"),
        (SessionsOf::Everybody { pass: vec![1, 2, 3] }, "sessions-of-everybody"),
        (SessionsOf::User { pass: vec![1, 2, 3], user: name("alice") }, "sessions-of-a-user"),
    ] {
        let sample = plain::<_, 128>("hub", name, "Whose sessions; a pass is three bytes here.", &value);
        samples.push(sample.of(&SESSIONS_OF, sessions_of(&value), None));
    }
    let names = ["session-denied", "session-failed", "session-open", "session-ended"];
    for (value, name) in outcomes().into_iter().zip(names) {
        let sample = plain::<_, 128>("hub", name, "What came of a request.", &value);
        samples.push(sample.of(&SESSION_OUTCOME, session_outcome(&value), None));
    }
    samples
}
