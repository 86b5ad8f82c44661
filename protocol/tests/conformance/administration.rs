//! Golden values of administration and of service cases.

use postern_protocol::limits;
use postern_protocol::name::Label;
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, ChangeAuthor, ChangeEntry, ChangeFate, CodeText, Decline, Declined,
    EditGuard, Edited, EntityEntry, HandedCode, HistoryMark, InvitationEntry, InvitationStanding,
};
use postern_protocol::wire::case::{
    CaseAbout, CaseEnd, CaseEntry, CasePage, CaseQuestion, CaseStanding, CaseWindow,
};
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::invitation::{Invitation, Invitee};

use crate::messages::{HUB_ANSWER, HUB_REQUEST, hub_answer, hub_request};
use crate::samples::{ISSUED, Sample, invitation as code, name, plain, sealed_pass, table, text};

table!(QUESTION, question, AdminQuestion {
    AdminQuestion::Me => "Me", "";
    AdminQuestion::List { .. } => "List", "kind: name; after: option of name; limit: u16";
    AdminQuestion::Show { .. } => "Show", "kind: name; name: name";
    AdminQuestion::Put { .. } => "Put", "kind: name; name: name; guard: edit guard; a body follows";
    AdminQuestion::Remove { .. } => "Remove", "kind: name; name: name; guard: edit guard";
    AdminQuestion::Batch => "Batch", "a body follows";
    AdminQuestion::Invitations { .. } => "Invitations", "after: option of name";
    AdminQuestion::Invite => "Invite", "a body follows";
    AdminQuestion::ResendInvite { .. } => "ResendInvite", "user: name; good_for_s: option of u32";
    AdminQuestion::RevokeInvite { .. } => "RevokeInvite", "user: name";
    AdminQuestion::History { .. } => "History", "kind: option of name; name: option of name; after: option of history mark; limit: u16";
});
table!(GUARD, guard, EditGuard {
    EditGuard::Any => "Any", "";
    EditGuard::Absent => "Absent", "";
    EditGuard::Version(_) => "Version", "u64";
});
table!(ANSWER, answer, AdminAnswer {
    AdminAnswer::Me { .. } => "Me", "user: name; account: name; permissions: list of name";
    AdminAnswer::Page { .. } => "Page", "entities: list of entity, ascending by name, at most 500; more: option of name";
    AdminAnswer::Entity(_) => "Entity", "entity";
    AdminAnswer::Edited(_) => "Edited", "edited";
    AdminAnswer::Invitations { .. } => "Invitations", "invitations: list of invitation entry, ascending by user; more: option of name";
    AdminAnswer::Invited { .. } => "Invited", "handed: handed code; edited";
    AdminAnswer::Resent(_) => "Resent", "handed code";
    AdminAnswer::Revoked(_) => "Revoked", "name";
    AdminAnswer::History { .. } => "History", "changes: list of change, newest first, at most 200; more: option of history mark";
});
table!(CHANGE_AUTHOR, change_author, ChangeAuthor {
    ChangeAuthor::User(_) => "User", "name";
    ChangeAuthor::Operator => "Operator", "";
    ChangeAuthor::Hidden => "Hidden", "";
});
table!(CHANGE_FATE, change_fate, ChangeFate {
    ChangeFate::Added => "Added", "it is new";
    ChangeFate::Changed => "Changed", "it is different";
    ChangeFate::Removed => "Removed", "it is gone";
});
table!(INVITATION_STANDING, invitation_standing, InvitationStanding {
    InvitationStanding::Open => "Open", "its code can be used";
    InvitationStanding::Expired => "Expired", "nobody has used its code in time";
    InvitationStanding::None => "None", "there is no code: none was handed out, or it was taken back";
});
table!(DECLINE, decline, Decline {
    Decline::Unknown => "Unknown", "it is not there, or not for the caller";
    Decline::Forbidden => "Forbidden", "a permission is missing";
    Decline::Overtaken => "Overtaken", "somebody has changed it since";
    Decline::Conflict => "Conflict", "it does not fit the rest of the model";
    Decline::Unreadable => "Unreadable", "it cannot be read as what it should be";
    Decline::TooLarge => "TooLarge", "it is larger than an answer, or a body, has room for";
});
table!(CASE_QUESTION, case_question, CaseQuestion {
    CaseQuestion::List { .. } => "List", "after: option of name";
    CaseQuestion::Show { .. } => "Show", "name: name";
    CaseQuestion::Open { .. } => "Open", "name: option of name; about: case about; shared: bool; window: option of case window; label: option of label";
    CaseQuestion::Activate { .. } => "Activate", "name: name; window: case window";
    CaseQuestion::Deactivate { .. } => "Deactivate", "name: name";
    CaseQuestion::Close { .. } => "Close", "name: name";
});
table!(CASE_ABOUT, case_about, CaseAbout {
    CaseAbout::Machine(_) => "Machine", "name";
    CaseAbout::Device(_) => "Device", "name";
});
table!(CASE_END, case_end, CaseEnd {
    CaseEnd::At(_) => "At", "time";
    CaseEnd::After(_) => "After", "u32, seconds after the beginning by the hub's clock";
});
table!(CASE_STANDING, case_standing, CaseStanding {
    CaseStanding::Inactive => "Inactive", "nobody has activated it";
    CaseStanding::Planned => "Planned", "its window has not begun";
    CaseStanding::Active => "Active", "it is active";
    CaseStanding::Over => "Over", "its window is over";
});

fn questions() -> Vec<(&'static str, AdminQuestion)> {
    let (kind, press) = (|| name("device"), || name("acme.press-7"));
    vec![
        ("admin-me", AdminQuestion::Me),
        ("admin-list", AdminQuestion::List { kind: kind(), after: Some(press()), limit: 500 }),
        ("admin-show", AdminQuestion::Show { kind: kind(), name: press() }),
        ("admin-put", AdminQuestion::Put { kind: kind(), name: press(), guard: EditGuard::Version(300) }),
        ("admin-remove", AdminQuestion::Remove { kind: kind(), name: press(), guard: EditGuard::Any }),
        ("admin-batch", AdminQuestion::Batch),
        ("admin-invitations", AdminQuestion::Invitations { after: Some(name("acme.jo")) }),
        ("admin-invite", AdminQuestion::Invite),
        (
            "admin-resend-invite",
            AdminQuestion::ResendInvite { user: name("acme.jo"), good_for_s: Some(86_400) },
        ),
        ("admin-revoke-invite", AdminQuestion::RevokeInvite { user: name("acme.jo") }),
        (
            "admin-history",
            AdminQuestion::History {
                kind: Some(kind()),
                name: None,
                after: Some(HistoryMark { revision: 300, seen: 2 }),
                limit: 200,
            },
        ),
    ]
}

fn cases() -> Vec<(&'static str, CaseQuestion)> {
    let jam = || name("acme.jam");
    let window = |end| CaseWindow { from: Some(ISSUED), end };
    let hours = window(CaseEnd::After(14_400));
    vec![
        ("case-list", CaseQuestion::List { after: None }),
        ("case-show", CaseQuestion::Show { name: jam() }),
        (
            "case-open",
            CaseQuestion::Open {
                name: Some(jam()),
                about: CaseAbout::Machine(name("press")),
                shared: true,
                window: Some(hours),
                label: Some(label()),
            },
        ),
        (
            "case-activate",
            CaseQuestion::Activate { name: jam(), window: window(CaseEnd::At(ISSUED.saturating_add(60))) },
        ),
        ("case-deactivate", CaseQuestion::Deactivate { name: jam() }),
        ("case-close", CaseQuestion::Close { name: jam() }),
    ]
}

fn label() -> Label {
    "Jam at the feeder".parse().unwrap()
}

fn entity(body: Option<&str>) -> EntityEntry {
    EntityEntry { name: name("acme.press-7"), version: 300, body: body.map(str::to_owned) }
}

fn edited() -> Edited {
    Edited {
        revision: Some(301),
        published: 2,
        answered: 1,
        devices: vec![name("press-7"), name("press-8")],
        founders: vec![name("acme.ada")],
    }
}

fn answers() -> Vec<(&'static str, AdminAnswer)> {
    vec![
        (
            "admin-i-am",
            AdminAnswer::Me {
                user: name("acme.ada"),
                account: name("acme"),
                permissions: vec![name("devices.read")],
            },
        ),
        (
            "admin-page",
            AdminAnswer::Page {
                entities: vec![entity(Some(r#"{"account":"acme"}"#)), entity(None)],
                more: Some(name("acme.press-7")),
            },
        ),
        ("admin-entity", AdminAnswer::Entity(entity(Some("{}")))),
        ("admin-edited", AdminAnswer::Edited(edited())),
        (
            "admin-not-accepted",
            AdminAnswer::Invitations { invitations: vec![outstanding()], more: Some(name("acme.jo")) },
        ),
        ("admin-invited", AdminAnswer::Invited { handed: mailed(), edited: edited() }),
        ("admin-resent", AdminAnswer::Resent(shown())),
        ("admin-revoked", AdminAnswer::Revoked(name("acme.jo"))),
        (
            "admin-changes",
            AdminAnswer::History {
                changes: vec![
                    change(ChangeAuthor::User(name("acme.ada")), ChangeFate::Changed),
                    change(ChangeAuthor::Operator, ChangeFate::Removed),
                ],
                more: Some(HistoryMark { revision: 300, seen: 1 }),
            },
        ),
    ]
}

fn change(by: ChangeAuthor, fate: ChangeFate) -> ChangeEntry {
    let body = |label: &str| format!(r#"{{"account":"acme","label":"{label}"}}"#);
    ChangeEntry {
        revision: 300,
        at: ISSUED,
        by,
        kind: name("device"),
        name: name("acme.press-7"),
        fate,
        before: Some(body("Press")),
        after: (fate == ChangeFate::Changed).then(|| body("Press 7")),
    }
}

fn outstanding() -> InvitationEntry {
    InvitationEntry {
        user: name("acme.jo"),
        account: name("acme"),
        standing: InvitationStanding::Open,
        by: Some(name("acme.ada")),
        made: Some(ISSUED),
        expires: Some(ISSUED.saturating_add(86_400)),
    }
}

fn mailed() -> HandedCode {
    HandedCode {
        user: name("acme.jo"),
        account: text("vendor/acme"),
        code: None,
        expires: ISSUED.saturating_add(86_400),
        mailed: Some(text("jo@example.com")),
        unsent: None,
    }
}

fn shown() -> HandedCode {
    let code = Invitation { invitee: Invitee::User, ..code() };
    let unsent = Some(text("the mail server did not take it"));
    HandedCode { code: Some(CodeText::try_from(code.to_string()).unwrap()), mailed: None, unsent, ..mailed() }
}

fn case(standing: CaseStanding) -> CaseEntry {
    CaseEntry {
        name: name("acme.jam"),
        about: CaseAbout::Device(name("press-7")),
        shared: false,
        standing,
        from: None,
        until: Some(ISSUED),
        label: Some(label()),
    }
}

pub(crate) fn requests() -> Vec<Sample> {
    let ask = |name, note: &str, value: HubRequest| {
        plain::<_, { limits::FRAME_BYTES }>("hub", name, note, &value).of(
            &HUB_REQUEST,
            hub_request(&value),
            Some("hub_request"),
        )
    };
    let show = AdminQuestion::Show { kind: name("device"), name: name("acme.press-7") };
    let deactivate = CaseQuestion::Deactivate { name: name("acme.jam") };
    vec![
        ask(
            "administrate",
            "With pass-envelope, one device.",
            HubRequest::Administrate { pass: sealed_pass(), question: show },
        ),
        ask(
            "handle-case",
            "With pass-envelope, ends remote access.",
            HubRequest::HandleCase { pass: sealed_pass(), question: deactivate },
        ),
    ]
}

/// Answers that the fuzz targets begin with.
pub(crate) fn told() -> Vec<Sample> {
    let tell = |name, note: &str, value: HubAnswer| {
        plain::<_, { limits::LIST_FRAME_BYTES }>("hub", name, note, &value).of(
            &HUB_ANSWER,
            hub_answer(&value),
            Some("hub_answer"),
        )
    };
    let page = CasePage {
        cases: vec![case(CaseStanding::Active)],
        more: Some(name("acme.jam")),
        edited: Some(edited()),
    };
    let declined = Declined::new(Decline::Unknown, vec!["device `acme.press-9` is unknown".to_owned()]);
    vec![
        tell("administered", "An edit was made.", HubAnswer::Administered(AdminAnswer::Edited(edited()))),
        tell("cases", "The one that was handled, and there are more.", HubAnswer::Cases(page)),
        tell("declined", "It is not there.", HubAnswer::Declined(declined)),
    ]
}

pub(crate) fn parts() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (name, value) in questions() {
        let sample = plain::<_, 256>("hub", name, "What somebody asks about the access model.", &value);
        samples.push(sample.of(&QUESTION, question(&value), None));
    }
    for (name, value) in answers() {
        let sample = plain::<_, 512>("hub", name, "What the hub answers.", &value);
        samples.push(sample.of(&ANSWER, answer(&value), None));
    }
    for (name, value) in cases() {
        let sample = plain::<_, 256>("hub", name, "What somebody wants with a case.", &value);
        samples.push(sample.of(&CASE_QUESTION, case_question(&value), None));
    }
    samples
}

pub(crate) fn numbers() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (name, value) in [
        ("guard-any", EditGuard::Any),
        ("guard-absent", EditGuard::Absent),
        ("guard-version", EditGuard::Version(7)),
    ] {
        let sample = plain::<_, 16>("numbers", name, "The version that is meant.", &value);
        samples.push(sample.of(&GUARD, guard(&value), None));
    }
    for (name, value) in [
        ("change-by-user", ChangeAuthor::User(name("acme.ada"))),
        ("change-by-operator", ChangeAuthor::Operator),
        ("change-by-hidden", ChangeAuthor::Hidden),
    ] {
        let sample = plain::<_, 16>("numbers", name, "Who made a change.", &value);
        samples.push(sample.of(&CHANGE_AUTHOR, change_author(&value), None));
    }
    for (name, value) in [
        ("change-added", ChangeFate::Added),
        ("change-changed", ChangeFate::Changed),
        ("change-removed", ChangeFate::Removed),
    ] {
        let sample = plain::<_, 2>("numbers", name, "What became of an entity.", &value);
        samples.push(sample.of(&CHANGE_FATE, change_fate(&value), None));
    }
    for (name, value) in [
        ("invitation-open", InvitationStanding::Open),
        ("invitation-expired", InvitationStanding::Expired),
        ("invitation-none", InvitationStanding::None),
    ] {
        let sample = plain::<_, 2>("numbers", name, "Where an invitation stands.", &value);
        samples.push(sample.of(&INVITATION_STANDING, invitation_standing(&value), None));
    }
    for (name, value) in [
        ("decline-unknown", Decline::Unknown),
        ("decline-forbidden", Decline::Forbidden),
        ("decline-overtaken", Decline::Overtaken),
        ("decline-conflict", Decline::Conflict),
        ("decline-unreadable", Decline::Unreadable),
        ("decline-too-large", Decline::TooLarge),
    ] {
        let sample = plain::<_, 2>("numbers", name, "What is wrong.", &value);
        samples.push(sample.of(&DECLINE, decline(&value), None));
    }
    for (name, value) in [
        ("case-about-machine", CaseAbout::Machine(name("press"))),
        ("case-about-device", CaseAbout::Device(name("press-7"))),
    ] {
        let sample = plain::<_, 16>("numbers", name, "What a case is about.", &value);
        samples.push(sample.of(&CASE_ABOUT, case_about(&value), None));
    }
    for (name, value) in [("case-end-at", CaseEnd::At(ISSUED)), ("case-end-after", CaseEnd::After(14_400))] {
        let sample = plain::<_, 16>("numbers", name, "When a window ends.", &value);
        samples.push(sample.of(&CASE_END, case_end(&value), None));
    }
    for (name, value) in [
        ("case-inactive", CaseStanding::Inactive),
        ("case-planned", CaseStanding::Planned),
        ("case-active", CaseStanding::Active),
        ("case-over", CaseStanding::Over),
    ] {
        let sample = plain::<_, 2>("numbers", name, "Where remote access stands.", &value);
        samples.push(sample.of(&CASE_STANDING, case_standing(&value), None));
    }
    samples
}
