//! What a caller may use, as a list: what would open now, and what the caller or time can still unlock.
//!
//! Everything else is left out, so that the list reveals nothing that the policy does not grant.

use postern_protocol::policy::Reason;
use postern_protocol::trust::Subject;
use postern_protocol::wire::tunnel::{Answer, ServiceEntry};

use super::Context;
use crate::gate::{Stage, Wanted};

/// Lists the services of `subject`, or the one reason why there are none for anybody. A list in which something waits for
/// a word of the cloud waits as well, for a moment.
pub(super) async fn list(context: &Context, subject: &Subject) -> Answer {
    let answer = list_now(context, subject);
    if is_stale(&answer) && context.gate.settled().await {
        return list_now(context, subject);
    }
    answer
}

fn is_stale(answer: &Answer) -> bool {
    match answer {
        Answer::Denied(reason) => *reason == Reason::PolicyStale,
        Answer::Services(entries) => entries.iter().any(|entry| entry.blocked == Some(Reason::PolicyStale)),
        Answer::Welcome { .. }
        | Answer::Accepted { .. }
        | Answer::Failed(_)
        | Answer::Occupied { .. }
        | Answer::Flow { .. }
        | Answer::Discovery
        | Answer::Packets { .. } => false,
    }
}

fn list_now(context: &Context, subject: &Subject) -> Answer {
    let Some(policy) = context.gate.policy() else { return Answer::Denied(Reason::NoPolicy) };
    let mut entries = Vec::new();
    for service in &policy.snapshot().services {
        let counts = context.registry.counts(subject.user(), &service.name);
        let wanted = Wanted { service: service.name.as_str(), view_only: false };
        let (mode, blocked, until, recorded) =
            match context.gate.decide(subject, wanted, counts, Stage::Opening) {
                Ok(permit) => (Some(permit.mode()), None, Some(permit.ends()), permit.recording().is_some()),
                // Stale for this grant alone: others may be meant for work without the cloud.
                Err(denial) if denial.reason() == Reason::PolicyStale && denial.origin().is_some() => {
                    (None, Some(Reason::PolicyStale), None, false)
                }
                Err(denial) => match view(denial.reason()) {
                    View::Shown => (None, Some(denial.reason()), None, false),
                    View::Hidden => continue,
                    View::Nothing => return Answer::Denied(denial.reason()),
                },
            };
        let (name, kind) = (service.name.clone(), service.kind());
        entries.push(ServiceEntry { name, kind, mode, blocked, until, recorded });
    }
    Answer::Services(entries)
}

/// What a listing does with a denied service.
enum View {
    /// Shown with its reason: the caller or time can lift it.
    Shown,
    /// Left out.
    Hidden,
    /// The reason holds for every service.
    Nothing,
}

const fn view(reason: Reason) -> View {
    match reason {
        Reason::NotYet
        | Reason::SecondFactorRequired
        | Reason::SecondFactorStale
        | Reason::CaseInactive
        | Reason::ApprovalPending
        | Reason::Concurrency => View::Shown,
        Reason::BadPass
        | Reason::UserDisabled
        | Reason::DeviceUnassigned
        | Reason::NoPolicy
        | Reason::PolicyStale
        | Reason::SiteLocked => View::Nothing,
        Reason::NoGrant
        | Reason::Expired
        | Reason::ViewOnly
        | Reason::MethodDenied
        | Reason::PathDenied
        | Reason::WebsocketNotGranted
        | Reason::PortDenied
        | Reason::FileTransferDenied
        | Reason::Revoked => View::Hidden,
    }
}
