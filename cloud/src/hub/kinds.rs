//! What requests and answers are called in metrics.

use postern_protocol::wire::hub::{HubAnswer, HubRequest};

/// The kind of a request.
pub(super) const fn of_request(request: &HubRequest) -> &'static str {
    match request {
        HubRequest::Enroll { .. } => "enroll",
        HubRequest::Sync(_) => "sync",
        HubRequest::AcceptInvitation { .. } => "accept_invitation",
        HubRequest::Login { .. } => "login",
        HubRequest::EnrollOtp { .. } => "enroll_otp",
        HubRequest::ListDevices => "list_devices",
        HubRequest::Logout => "logout",
        HubRequest::StepUp { .. } => "step_up",
        HubRequest::LogoutEverywhere => "logout_everywhere",
        HubRequest::Meet { .. } => "meet",
        HubRequest::Certificate => "certificate",
        HubRequest::Examine => "examine",
        HubRequest::ListSessions(_) => "list_sessions",
        HubRequest::AskApproval(_) => "ask_approval",
        HubRequest::ListApprovals => "list_approvals",
        HubRequest::AwaitApproval { .. } => "await_approval",
        HubRequest::Decide { .. } => "decide",
        HubRequest::ApproveByCode { .. } => "approve_by_code",
        HubRequest::Administrate { .. } => "administrate",
        HubRequest::HandleCase { .. } => "handle_case",
        HubRequest::BeginSignOn(_) => "begin_sign_on",
        HubRequest::FinishSignOn { .. } => "finish_sign_on",
        HubRequest::AwaitSignOn { .. } => "await_sign_on",
    }
}

/// What became of a request.
pub(super) const fn of_answer(answer: &HubAnswer) -> &'static str {
    match answer {
        HubAnswer::Refused(_) => "refused",
        HubAnswer::Declined(_) => "declined",
        HubAnswer::Failed(_) => "failed",
        HubAnswer::Enrolled { .. }
        | HubAnswer::LoggedIn { .. }
        | HubAnswer::Otp { .. }
        | HubAnswer::Devices(_)
        | HubAnswer::Done
        | HubAnswer::Meeting(_)
        | HubAnswer::Certificate(_)
        | HubAnswer::Examined(_)
        | HubAnswer::Sessions(_)
        | HubAnswer::Approvals(_)
        | HubAnswer::Administered(_)
        | HubAnswer::Cases(_)
        | HubAnswer::SignOn(_) => "answered",
    }
}
