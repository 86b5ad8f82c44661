//! What a caller may use, as a list: what would open now, and what the caller or time can still unlock.
//!
//! Everything else is left out, so that the list reveals nothing that the policy does not grant.

use postern_protocol::policy::Reason;
use postern_protocol::trust::Subject;
use postern_protocol::wire::tunnel::{Answer, ServiceEntry};

use super::Context;

/// Lists the services of `subject`, or the one reason why there are none for anybody.
pub(super) fn list(context: &Context, subject: &Subject) -> Answer {
    let Some(policy) = context.gate.policy() else { return Answer::Denied(Reason::NoPolicy) };
    let mut entries = Vec::new();
    for service in &policy.snapshot().services {
        let counts = context.registry.counts(subject.user(), &service.name);
        let (blocked, until) = match context.gate.decide(subject, service.name.as_str(), counts) {
            Ok(permit) => (None, Some(permit.until())),
            Err(denial) => match view(denial.reason()) {
                View::Shown => (Some(denial.reason()), None),
                View::Hidden => continue,
                View::Nothing => return Answer::Denied(denial.reason()),
            },
        };
        entries.push(ServiceEntry { name: service.name.clone(), kind: service.kind, blocked, until });
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
