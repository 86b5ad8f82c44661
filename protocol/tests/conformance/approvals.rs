//! Golden bytes of requests for approval and answers to them, and of what a hub refuses.

use postern_protocol::id::ApprovalId;
use postern_protocol::limits;
use postern_protocol::wire::approval::{ApprovalEntry, ApprovalStanding, ApprovalVerdict, ApprovalWish};
use postern_protocol::wire::approval_code::ApprovalCode;
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};

use crate::messages::{HUB_ANSWER, HUB_REQUEST, hub_answer, hub_request};
use crate::probes::DEVICE;
use crate::samples::{ISSUED, Sample, name, plain, sealed_pass, table, text};

table!(REFUSAL, refusal, Refusal {
    Refusal::Code => "Code", "unknown, used or expired code";
    Refusal::Login => "Login", "wrong account, user, password or one-time code, or a disabled user";
    Refusal::WeakPassword => "WeakPassword", "the new password is too short";
    Refusal::TooMany => "TooMany", "too many attempts";
    Refusal::UnknownKey => "UnknownKey", "the key of this connection belongs to nobody";
    Refusal::Pass => "Pass", "the pass is over, or is not one of this hub for this user and key";
    Refusal::OneTimeCode => "OneTimeCode", "wrong or used one-time code at a step-up";
    Refusal::NoOneTimeCodes => "NoOneTimeCodes", "the user has set up no one-time codes";
    Refusal::SealingKey => "SealingKey", "the sealing key of a new device is not signed by its device key";
    Refusal::Narrowing => "Narrowing", "the pass cannot be narrowed to that";
    Refusal::NoMeeting => "NoMeeting", "the device cannot be met: offline, not the caller's, or no relay";
    Refusal::NoAudit => "NoAudit", "the caller may audit nobody";
    Refusal::NoApproval => "NoApproval", "nothing that the user is granted there waits for an approval";
    Refusal::NoApprover => "NoApprover", "there is nobody who may approve it";
    Refusal::Wish => "Wish", "no reason, no time, or too much of it";
    Refusal::TooManyRequests => "TooManyRequests", "too many requests are open";
    Refusal::NoRequest => "NoRequest", "the request is none that the user has made or may decide";
    Refusal::Decided => "Decided", "the request is decided, or over";
    Refusal::SecondFactor => "SecondFactor", "who decides has one-time codes and used none lately";
    Refusal::NoProvider => "NoProvider", "there is no such identity provider, or not for that way of signing in";
    Refusal::Provider => "Provider", "the identity provider cannot be asked, or is not believed";
    Refusal::NotVouched => "NotVouched", "the identity provider refuses the person";
    Refusal::SignOn => "SignOn", "the sign-on is over, or another key's";
    Refusal::Unlinked => "Unlinked", "no user is linked to the identity";
    Refusal::Unlinkable => "Unlinkable", "the identity cannot be linked to the user";
    Refusal::NoSecondFactor => "NoSecondFactor", "the identity provider says of no second factor that it was used just now";
});
table!(VERDICT, verdict, ApprovalVerdict {
    ApprovalVerdict::Approve { .. } => "Approve", "view_only: bool; for_s: option of u32";
    ApprovalVerdict::Reject { .. } => "Reject", "why: text";
    ApprovalVerdict::Revoke { .. } => "Revoke", "why: text";
});
table!(STANDING, standing, ApprovalStanding {
    ApprovalStanding::Pending { .. } => "Pending", "lapses: time";
    ApprovalStanding::Approved { .. } => "Approved", "view_only: bool; until: time";
    ApprovalStanding::Rejected { .. } => "Rejected", "why: text";
    ApprovalStanding::Revoked { .. } => "Revoked", "why: text";
    ApprovalStanding::Expired => "Expired", "";
});

/// The request that everything here is about.
const REQUEST: ApprovalId = ApprovalId::new(*b"\xa9pproval");

pub(crate) fn requests() -> Vec<Sample> {
    let ask = |name, note: &str, value: HubRequest| {
        plain::<_, { limits::FRAME_BYTES }>("hub", name, note, &value).of(
            &HUB_REQUEST,
            hub_request(&value),
            Some("hub_request"),
        )
    };
    let wish = ApprovalWish {
        device: DEVICE,
        service: name("hmi"),
        view_only: false,
        for_s: 3600,
        why: text("pump P3 is leaking"),
    };
    let verdict = ApprovalVerdict::Approve { view_only: true, for_s: Some(1800) };
    vec![
        ask("ask-approval", "For an hour.", HubRequest::AskApproval(wish)),
        ask("list-approvals", "Lists requests for approval.", HubRequest::ListApprovals),
        ask("await-approval", "Waits for the answer.", HubRequest::AwaitApproval { id: REQUEST }),
        ask(
            "decide",
            "With pass-envelope, to look only, for half an hour.",
            HubRequest::Decide { id: REQUEST, pass: sealed_pass(), verdict },
        ),
        ask(
            "approve-by-code",
            "With a code from a letter.",
            HubRequest::ApproveByCode { code: ApprovalCode::new([0x5a; 16]) },
        ),
    ]
}

pub(crate) fn entry(standing: ApprovalStanding) -> ApprovalEntry {
    ApprovalEntry {
        id: REQUEST,
        own: true,
        may_decide: false,
        who: text("maker/tina"),
        device: name("press-7"),
        account: text("maker/plant"),
        service: name("hmi"),
        company: text("maker/plant"),
        view_only: false,
        for_s: 3600,
        why: text("pump P3 is leaking"),
        asked: ISSUED,
        standing,
    }
}

pub(crate) fn answer() -> Sample {
    let value = HubAnswer::Approvals(vec![entry(ApprovalStanding::Pending { lapses: ISSUED })]);
    plain::<_, { limits::LIST_FRAME_BYTES }>("hub", "approvals", "One that waits.", &value).of(
        &HUB_ANSWER,
        hub_answer(&value),
        Some("hub_answer"),
    )
}

pub(crate) fn numbers() -> Vec<Sample> {
    let mut samples = Vec::new();
    let one = |sample: Sample, table, variant| sample.of(table, variant, None);
    for (value, name) in [
        (Refusal::Code, "refusal-code"),
        (Refusal::Login, "refusal-login"),
        (Refusal::WeakPassword, "refusal-weak-password"),
        (Refusal::TooMany, "refusal-too-many"),
        (Refusal::UnknownKey, "refusal-unknown-key"),
        (Refusal::Pass, "refusal-pass"),
        (Refusal::OneTimeCode, "refusal-one-time-code"),
        (Refusal::NoOneTimeCodes, "refusal-no-one-time-codes"),
        (Refusal::SealingKey, "refusal-sealing-key"),
        (Refusal::Narrowing, "refusal-narrowing"),
        (Refusal::NoMeeting, "refusal-no-meeting"),
        (Refusal::NoAudit, "refusal-no-audit"),
        (Refusal::NoApproval, "refusal-no-approval"),
        (Refusal::NoApprover, "refusal-no-approver"),
        (Refusal::Wish, "refusal-wish"),
        (Refusal::TooManyRequests, "refusal-too-many-requests"),
        (Refusal::NoRequest, "refusal-no-request"),
        (Refusal::Decided, "refusal-decided"),
        (Refusal::SecondFactor, "refusal-second-factor"),
        (Refusal::NoProvider, "refusal-no-provider"),
        (Refusal::Provider, "refusal-provider"),
        (Refusal::NotVouched, "refusal-not-vouched"),
        (Refusal::SignOn, "refusal-sign-on"),
        (Refusal::Unlinked, "refusal-unlinked"),
        (Refusal::Unlinkable, "refusal-unlinkable"),
        (Refusal::NoSecondFactor, "refusal-no-second-factor"),
    ] {
        samples.push(one(
            plain::<_, 2>("numbers", name, "A refusal of a hub.", &value),
            &REFUSAL,
            refusal(&value),
        ));
    }
    let why = || text("not today");
    for (value, name) in [
        (ApprovalVerdict::Approve { view_only: true, for_s: None }, "verdict-approve"),
        (ApprovalVerdict::Reject { why: why() }, "verdict-reject"),
        (ApprovalVerdict::Revoke { why: why() }, "verdict-revoke"),
    ] {
        let sample = plain::<_, 64>("numbers", name, "What is decided.", &value);
        samples.push(one(sample, &VERDICT, verdict(&value)));
    }
    for (value, name) in [
        (ApprovalStanding::Pending { lapses: ISSUED }, "standing-pending"),
        (ApprovalStanding::Approved { view_only: true, until: ISSUED }, "standing-approved"),
        (ApprovalStanding::Rejected { why: why() }, "standing-rejected"),
        (ApprovalStanding::Revoked { why: why() }, "standing-revoked"),
        (ApprovalStanding::Expired, "standing-expired"),
    ] {
        let sample = plain::<_, 64>("numbers", name, "Where a request stands.", &value);
        samples.push(one(sample, &STANDING, standing(&value)));
    }
    samples
}
