//! What the registry keeps of one live tunnel: the input of its decision, and what it was told.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::path::Peer;
use postern_protocol::policy::{Kind, Mode, Origin, Permit, VpnRules};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Subject;
use postern_protocol::trust::sealed::SealingKey;
use postern_protocol::wire::tunnel::Holder;
use postern_transport::splice::Meter;

use super::Rows;
use super::changes::Account;
use super::leash::{Leash, Ruling};

/// One live tunnel.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: TunnelId,
    pub(super) subject: Arc<Subject>,
    pub(super) connection: usize,
    pub(super) service: Name,
    pub(super) wish: Wish,
    pub(super) kind: Kind,
    /// Where it leads; none where it carries flows.
    pub(super) target: Option<SocketAddr>,
    /// The key to which it is recorded, if it is.
    pub(super) recording: Option<SealingKey>,
    pub(super) mode: Mode,
    pub(super) whereabouts: Whereabouts,
    pub(super) since: UnixTime,
    pub(super) until: UnixTime,
    pub(super) leash: Arc<Leash>,
    pub(super) meter: Arc<Meter>,
    pub(super) account: Account,
}

impl Entry {
    /// Goes on under a newer permit.
    pub(super) fn go_on(&mut self, newer: Permit, now: UnixTime, rows: &Rows) {
        (self.until, self.mode) = (newer.until(), newer.mode());
        if let Ruling::Permitted(before) = self.leash.ruling() {
            self.account.changed(self.id, now, (&before, &newer)).into_iter().for_each(&rows.0);
        }
        self.leash.rule(Ruling::Permitted(Arc::new(newer)));
    }

    /// Whether a permit is for what is open.
    pub(super) fn is_same(&self, permit: &Permit) -> bool {
        permit.service().kind() == self.kind && target_of(permit, self.wish) == self.target
    }

    /// Whether what a permit demands beside the right is being done. A recording that is demanded no more goes on to the
    /// tunnel's end: its user was told of it, and the file is whole.
    pub(super) fn fulfils(&self, permit: &Permit) -> bool {
        permit.recording().is_none() || permit.recording() == self.recording
    }

    pub(super) fn holder(&self) -> Holder {
        let role = match self.leash.ruling() {
            Ruling::Permitted(permit) => permit.origin().and_then(Origin::role).cloned(),
            Ruling::Cut(_) => None,
        };
        Holder { user: self.subject.user(), role, since: self.since }
    }

    pub(super) fn session(&self) -> Session {
        Session {
            id: self.id,
            user: self.subject.user(),
            service: self.service.clone(),
            kind: self.kind,
            mode: self.mode,
            peer: (self.whereabouts.0)(),
            since: self.since,
            until: self.until,
            to_machine: self.meter.received(),
            to_client: self.meter.sent(),
        }
    }
}

/// Says where a caller is now: a connection moves between paths.
#[derive(Clone)]
pub(crate) struct Whereabouts(pub(crate) Arc<dyn Fn() -> Peer + Send + Sync>);

/// How a tunnel is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// To look only, whatever is granted.
    pub(crate) view_only: bool,
    /// For flows, each of which is decided by itself; otherwise for what the service is.
    pub(crate) flows: bool,
}

impl fmt::Debug for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Whereabouts").field(&(self.0)()).finish()
    }
}

/// One live tunnel, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The tunnel.
    pub(crate) id: TunnelId,
    /// Who.
    pub(crate) user: UserId,
    /// To which service.
    pub(crate) service: Name,
    /// What it speaks.
    pub(crate) kind: Kind,
    /// Where the caller is.
    pub(crate) peer: Peer,
    /// What it may do.
    pub(crate) mode: Mode,
    /// When it was admitted.
    pub(crate) since: UnixTime,
    /// When it is decided again.
    pub(crate) until: UnixTime,
    /// Bytes from the client to the machine.
    pub(crate) to_machine: u64,
    /// Bytes from the machine to the client.
    pub(crate) to_client: u64,
}

/// Where a tunnel leads: what is open to another place is not what is permitted. Flows lead where they are permitted to lead.
pub(super) fn target_of(permit: &Permit, wish: Wish) -> Option<SocketAddr> {
    if wish.flows {
        return None;
    }
    let only = permit.service().reach.flows().and_then(VpnRules::only_tcp);
    permit.target().or_else(|| only.map(SocketAddr::from))
}
