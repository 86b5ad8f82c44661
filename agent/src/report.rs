//! What people and programs are shown: one value for `--json`, and the same value as text.
//!
//! Times are seconds since 1970 in JSON and RFC 3339 in text. Reasons are words in JSON and sentences in text.

mod text;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use postern_protocol::id::{ApprovalId, DeviceId, FleetId, TunnelId, UserId};
use postern_protocol::path::{Path, Peer};
use postern_protocol::policy::explain::{Chain, Given, Veto};
use postern_protocol::policy::{Explanation, Index, Kind, Mode, Origin, Pattern, Reach, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{LockTarget, Root};
use postern_protocol::wire::control::AlarmKind;

use postern_transport::ladder::Opened;

use crate::registry::Session;
use crate::secrets::Wanting;

pub(crate) use self::text::{Shown, sandbox, time};

/// `status`: the running agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    /// The agent's version.
    pub(crate) agent: String,
    /// This device.
    pub(crate) device: DeviceId,
    /// The fingerprint of its key, as the cloud's administrator sees it.
    pub(crate) fingerprint: String,
    /// That of the key that it has announced, until a policy for it is in force.
    pub(crate) next_fingerprint: Option<String>,
    /// How often the agent was started with this state.
    pub(crate) boots: u32,
    /// Seconds since it was started.
    pub(crate) uptime_s: u64,
    /// Where clients are served.
    pub(crate) listening: SocketAddr,
    /// The root in force.
    pub(crate) root: RootReport,
    /// Whether the decision has shown that it refuses what it must.
    #[serde(default)]
    pub(crate) self_test: SelfTestReport,
    /// What the agent has given up.
    #[serde(default)]
    pub(crate) sandbox: SandboxReport,
    /// The policy in force.
    pub(crate) policy: Option<PolicyReport>,
    /// What is locked until a policy lifts it.
    #[serde(default)]
    pub(crate) locks: Vec<LockTarget>,
    /// The hub to which the link is up.
    pub(crate) hub: Option<SocketAddr>,
    /// The path to it.
    #[serde(default)]
    pub(crate) hub_path: Option<Path>,
    /// Why it is not.
    pub(crate) link_error: Option<String>,
    /// Where somebody in between opens TLS.
    #[serde(default)]
    pub(crate) tls_opened: Vec<Opened>,
    /// Secrets that services need and that cannot be used.
    #[serde(default)]
    pub(crate) wanting: Vec<Wanting>,
    /// Live tunnels.
    pub(crate) tunnels: usize,
    /// For how long the policy counts.
    pub(crate) freshness: FreshnessReport,
    /// The device's time.
    pub(crate) clock: ClockReport,
    /// The last alarms, newest first.
    pub(crate) alarms: Vec<AlarmReport>,
    /// The audit trail.
    pub(crate) audit: AuditReport,
}

/// What the self-test has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SelfTestReport {
    /// Whether it passed; nobody is served otherwise.
    pub(crate) passed: bool,
    /// How many requests and forgeries were refused.
    pub(crate) refused: u16,
    /// What was not.
    pub(crate) fault: Option<String>,
}

/// What the agent has given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxReport {
    /// Each thing.
    pub(crate) measures: Vec<Measure>,
}

/// One thing that the agent gives up, where the kernel lets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Measure {
    /// What is left.
    pub(crate) what: String,
    /// Whether it holds.
    pub(crate) holds: bool,
    /// Why not.
    pub(crate) why: Option<String>,
    /// How far, where kernels differ.
    #[serde(default)]
    pub(crate) how: Option<String>,
}

/// The root in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootReport {
    /// Its version.
    pub(crate) version: u32,
    /// Its epoch of policy.
    pub(crate) epoch: u32,
    /// The first second in which nothing is permitted under it.
    pub(crate) expires: UnixTime,
    /// Whether that has come.
    pub(crate) expired: bool,
}

impl RootReport {
    /// The report on `root` in second `now`.
    pub(crate) fn of(root: &Root, now: UnixTime) -> Self {
        let Root { version, expires, policy_epoch, .. } = *root;
        Self { version, epoch: policy_epoch, expires, expired: expires <= now }
    }
}

/// The device's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockReport {
    /// The time by which is decided.
    pub(crate) now: UnixTime,
    /// What the system says.
    pub(crate) wall: UnixTime,
    /// Whether the time was attested since the agent started; otherwise it is a lower bound.
    pub(crate) attested: bool,
}

/// For how long the policy in force counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FreshnessReport {
    /// `fresh`, `stale`, `expired` or `none`.
    pub(crate) state: String,
    /// Whether the cloud has named this very policy.
    pub(crate) confirmed: bool,
    /// The first second in which it is not fresh.
    pub(crate) fresh_until: Option<UnixTime>,
    /// Seconds for which the device works without a word of the cloud after that.
    pub(crate) offline_left_s: u64,
}

/// What somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AlarmReport {
    /// When it was raised.
    pub(crate) at: UnixTime,
    /// What it is about.
    pub(crate) kind: AlarmKind,
    /// Details.
    pub(crate) detail: String,
}

impl ClockReport {
    /// Whether the system's clock says something very different. That is a note for people.
    pub(crate) fn is_wall_far_off(&self) -> bool {
        self.now.secs_since(self.wall).max(self.wall.secs_since(self.now)) > DAY_S
    }
}

const DAY_S: u64 = 24 * 3600;

/// The state of the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditReport {
    /// KiB in use.
    pub(crate) used_kib: u32,
    /// KiB that may be used.
    pub(crate) limit_kib: u32,
    /// Per cent in use; at 95 no tunnel is opened.
    pub(crate) percent: u32,
    /// Rows that the cloud has not acknowledged yet; none of them is removed.
    #[serde(default)]
    pub(crate) waiting: u32,
}

/// `policy show`: the policy in force, without its users and grants (`explain` shows those one at a time).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyReport {
    /// The installation.
    pub(crate) fleet: FleetId,
    /// Its epoch.
    pub(crate) epoch: u32,
    /// Its version.
    pub(crate) version: u64,
    /// SHA-256 of what was signed.
    pub(crate) digest: String,
    /// When it was signed.
    pub(crate) issued: UnixTime,
    /// The first second in which it permits nothing.
    pub(crate) expires: UnixTime,
    /// Whether that time has come.
    pub(crate) expired: bool,
    /// Whether the device belongs to an account.
    pub(crate) assigned: bool,
    /// Whether the device is out of service.
    pub(crate) retired: bool,
    /// Users named.
    pub(crate) users: usize,
    /// Grants.
    pub(crate) grants: usize,
    /// What beats them.
    pub(crate) prohibitions: usize,
    /// Service cases, active or not.
    pub(crate) cases: usize,
    /// Services.
    pub(crate) services: Vec<ServiceReport>,
    /// Access categories.
    pub(crate) categories: Vec<CategoryReport>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceReport {
    /// Its name.
    pub(crate) name: String,
    /// What it speaks.
    pub(crate) kind: Kind,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<SocketAddr>,
    /// Where the flows of a VPN may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) destinations: Vec<String>,
    /// Tunnels at a time.
    pub(crate) tunnels: u16,
    /// Longest idle time.
    pub(crate) idle_s: u32,
    /// Longest duration.
    pub(crate) duration_s: u32,
    /// Whether everybody only looks.
    pub(crate) view_only: bool,
}

/// One access category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CategoryReport {
    /// Its name.
    pub(crate) name: String,
    /// The services in it.
    pub(crate) services: Vec<String>,
}

/// One live tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionReport {
    /// The tunnel.
    pub(crate) tunnel: TunnelId,
    /// Who.
    pub(crate) user: UserId,
    /// To which service.
    pub(crate) service: String,
    /// What it speaks.
    pub(crate) kind: Kind,
    /// What it may do.
    pub(crate) mode: Mode,
    /// Where the caller is, or the relay that leads to them.
    pub(crate) peer: SocketAddr,
    /// By which path.
    pub(crate) path: Path,
    /// When it was opened.
    pub(crate) since: UnixTime,
    /// When it is decided again.
    pub(crate) until: UnixTime,
    /// Bytes from the client to the machine.
    pub(crate) to_machine: u64,
    /// Bytes from the machine to the client.
    pub(crate) to_client: u64,
}

/// `explain`: the verdict on one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Whether it would be permitted.
    pub(crate) permitted: bool,
    /// The reason of the denial.
    pub(crate) reason: Option<String>,
    /// The reason in a sentence.
    pub(crate) why: Option<String>,
    /// What to do next.
    pub(crate) next_step: Option<String>,
    /// Who can lift it.
    pub(crate) lifted_by: Option<String>,
    /// Until when the permit would hold.
    pub(crate) until: Option<UnixTime>,
    /// What the permit would let do.
    #[serde(default)]
    pub(crate) mode: Option<Mode>,
    /// Every grant of the user that contains the service.
    pub(crate) grants: Vec<GrantReport>,
    /// Every prohibition of the user that contains the service.
    pub(crate) prohibitions: Vec<ProhibitionReport>,
    /// What is locked and concerns the user and the service.
    #[serde(default)]
    pub(crate) locks: Vec<LockTarget>,
}

/// One grant with its own verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantReport {
    /// Whether the verdict rests on it.
    pub(crate) used: bool,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// The access category.
    pub(crate) category: String,
    /// The beginning of its window.
    pub(crate) not_before: Option<UnixTime>,
    /// The end of its window.
    pub(crate) not_after: Option<UnixTime>,
    /// Age in seconds that its second factor may have.
    pub(crate) second_factor_s: Option<u32>,
    /// Whether it demands an active service case.
    pub(crate) needs_case: bool,
    /// Whether it demands an approval.
    #[serde(default)]
    pub(crate) needs_approval: bool,
    /// Whether it holds while the policy is stale.
    pub(crate) offline_ok: bool,
    /// What may be done, before the service narrows it.
    pub(crate) mode: Mode,
    /// Whether its tunnels are recorded.
    #[serde(default)]
    pub(crate) record: bool,
    /// The active case that it rests on.
    pub(crate) case: Option<String>,
    /// The approval that it rests on.
    #[serde(default)]
    pub(crate) approval: Option<ApprovalReport>,
    /// Its first failing condition.
    pub(crate) fails: Option<String>,
}

/// What somebody of the machine's own company has approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApprovalReport {
    /// The request.
    pub(crate) id: ApprovalId,
    /// The most that may be done.
    pub(crate) mode: Mode,
    /// The first second in which it is worth nothing.
    pub(crate) until: UnixTime,
}

/// One prohibition; while it is in force it beats every grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProhibitionReport {
    /// The path that it closes; none is the whole service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<Pattern>,
    /// Whether it is in force.
    pub(crate) in_force: bool,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// The access category.
    pub(crate) category: String,
    /// The beginning of its window.
    pub(crate) not_before: Option<UnixTime>,
    /// The end of its window.
    pub(crate) not_after: Option<UnixTime>,
}

impl PolicyReport {
    /// What an index says.
    pub(crate) fn of(index: &Index, now: UnixTime) -> Self {
        let snapshot = index.snapshot();
        let name = |ix: &u32| {
            let service = usize::try_from(*ix).ok().and_then(|ix| snapshot.services.get(ix));
            service.map(|service| service.name.to_string())
        };
        Self {
            fleet: snapshot.fleet,
            epoch: snapshot.epoch,
            version: snapshot.version,
            digest: index.floor().digest.to_string(),
            issued: snapshot.issued,
            expires: snapshot.expires,
            expired: snapshot.expires <= now,
            assigned: snapshot.assigned,
            retired: snapshot.retired,
            users: snapshot.users.len(),
            grants: snapshot.grants.len(),
            prohibitions: snapshot.prohibitions.len(),
            cases: snapshot.cases.len(),
            services: snapshot
                .services
                .iter()
                .map(|service| ServiceReport {
                    name: service.name.to_string(),
                    kind: service.kind(),
                    target: service.reach.target().map(SocketAddr::from),
                    destinations: destinations(&service.reach),
                    tunnels: service.tunnels,
                    idle_s: service.idle_s,
                    duration_s: service.duration_s,
                    view_only: service.view_only,
                })
                .collect(),
            categories: snapshot
                .categories
                .iter()
                .map(|category| CategoryReport {
                    name: category.name.to_string(),
                    services: category.services.iter().filter_map(name).collect(),
                })
                .collect(),
        }
    }
}

impl From<Session> for SessionReport {
    fn from(session: Session) -> Self {
        let Session { id, user, service, kind, mode, peer, since, until, to_machine, to_client } = session;
        let service = service.to_string();
        let Peer { addr: peer, path } = peer;
        Self { tunnel: id, user, service, kind, mode, peer, path, since, until, to_machine, to_client }
    }
}

impl From<Explanation> for Verdict {
    fn from(explanation: Explanation) -> Self {
        let denied = explanation.denied;
        // The caller must not learn of a prohibition; whoever asks at the device must.
        let veto = explanation.prohibitions.iter().find(|veto| veto.refuses());
        let veto = veto.filter(|_| denied == Some(Reason::NoGrant));
        let (why, next_step) = match veto {
            Some(veto) => {
                let next = format!("ask your administrator to lift {}", veto.origin);
                (Some("this is refused whatever else is granted".to_owned()), Some(next))
            }
            None => (
                denied.map(|reason| reason.sentence().to_owned()),
                denied.map(|reason| reason.next_step().to_owned()),
            ),
        };
        Self {
            permitted: denied.is_none(),
            reason: denied.map(|reason| reason.word().to_owned()),
            why,
            next_step,
            lifted_by: denied.map(|reason| reason.lifter().describe().to_owned()),
            until: explanation.until,
            mode: explanation.mode,
            grants: explanation.chains.into_iter().map(GrantReport::from).collect(),
            prohibitions: explanation.prohibitions.into_iter().map(ProhibitionReport::from).collect(),
            locks: explanation.locks,
        }
    }
}

impl From<Chain> for GrantReport {
    fn from(chain: Chain) -> Self {
        let Chain {
            used,
            origin,
            category,
            not_before,
            not_after,
            second_factor_s,
            needs_case,
            needs_approval,
            offline_ok,
            mode,
            record,
            case,
            approval,
            fails,
        } = chain;
        let fails = fails.map(|reason| reason.word().to_owned());
        Self {
            used,
            origin,
            category,
            not_before,
            not_after,
            second_factor_s,
            needs_case,
            needs_approval,
            offline_ok,
            mode,
            record,
            case,
            approval: approval.map(|Given { id, mode, until }| ApprovalReport { id, mode, until }),
            fails,
        }
    }
}

impl From<Veto> for ProhibitionReport {
    fn from(Veto { path, in_force, origin, category, not_before, not_after }: Veto) -> Self {
        Self { path, in_force, origin, category, not_before, not_after }
    }
}

/// Where the flows of a VPN may go, as a fleet file says it.
fn destinations(reach: &Reach) -> Vec<String> {
    reach.flows().into_iter().flat_map(|rules| &rules.destinations).map(ToString::to_string).collect()
}
