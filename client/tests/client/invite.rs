//! `admin invite` and what belongs to it: what is asked of the hub, and what is printed of its answers.

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, CodeText, Edited, HandedCode, InvitationEntry, InvitationStanding,
};
use postern_protocol::wire::hub::HubAnswer;
use postern_protocol::wire::invitation::{Invitation, Invitee};
use postern_protocol::wire::text::Text;
use serde_json::{Value, json};

use crate::world::{Outcome, World, secret};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn code() -> String {
    let invitation = Invitation {
        invitee: Invitee::User,
        hubs: vec!["203.0.113.7:7440".parse().unwrap()],
        hub_key: secret(9).public(),
        root: Digest::of(&[b"root"]),
        secret: [9; 16],
    };
    invitation.to_string()
}

fn shown() -> HandedCode {
    HandedCode {
        user: name("acme.jo"),
        account: Text::clean("vendor/acme"),
        code: Some(CodeText::try_from(code()).unwrap()),
        expires: UnixTime::from_secs(1_800_000_000),
        mailed: None,
        unsent: None,
    }
}

fn mailed() -> HandedCode {
    HandedCode { code: None, mailed: Some(Text::clean("jo@example.com")), ..shown() }
}

fn invited(handed: HandedCode) -> HubAnswer {
    let founders = vec![name("acme.jo")];
    let edited = Edited { revision: Some(5), published: 0, answered: 0, devices: Vec::new(), founders };
    HubAnswer::Administered(AdminAnswer::Invited { handed, edited })
}

fn json_of(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[tokio::test]
async fn somebody_is_invited_by_options_or_by_a_file_and_the_code_is_said_once_or_has_left_by_mail() {
    let world = World::signed_in().await;
    let unsent = HandedCode { unsent: Some(Text::clean("the server is away")), ..shown() };
    world.hub.answers([invited(shown()), invited(mailed()), invited(unsent), invited(shown())]);
    let invite = ["admin", "invite", "acme.jo"];
    let by_options = [
        "--role",
        "machine-operator",
        "--scope",
        "device=press-7",
        "--category",
        "screen",
        "--until",
        "2027-06-30T18:00:00Z",
        "--good-for",
        "2h",
        "--mail",
        "jo@example.com",
        "--label",
        "Jo",
        "--account",
        "acme",
    ];
    let said = world.run(&[&invite[..], &by_options].concat()).await;
    let expected = format!(
        "hand this to acme.jo of vendor/acme and to nobody else; it is good once, before 2027-01-15 08:00 +00:00:\npostern login {}\n\
         acme.jo is the first of their account, and administrates it from now on\n",
        code()
    );
    assert_eq!((said.code, said.stdout), (0, expected));
    let sent = world.run(&invite).await;
    assert!(
        sent.stdout.starts_with(
            "acme.jo of vendor/acme gets a code at jo@example.com; it is good once, before 2027-01-15 08:00"
        ),
        "{}",
        sent.stdout
    );
    let file = "mail = \"jo@example.com\"\n[[access]]\nrole = \"a\"\nscope = { account = \"acme\" }\n";
    let by_file =
        [&invite[..], &["--file", "-", "--role", "b", "--scope", "{ account = \"acme\", nested = true }"]];
    let failed = world.run_with_input(&by_file.concat(), file).await;
    assert_eq!(failed.stderr, "postern: no letter was sent: the server is away\n");
    assert!(failed.stdout.contains(&code()), "{}", failed.stdout);
    let program = world.run(&[&invite[..], &["--json"]].concat()).await;
    let expected = json!({
        "user": "acme.jo", "account": "vendor/acme", "code": code(), "expires": "2027-01-15T08:00:00Z", "mailed": null, "unsent": null,
        "revision": 5, "published": 0, "answered": 0, "devices": [], "founders": ["acme.jo"],
    });
    assert_eq!(json_of(&program), expected);

    let asked = world.hub.administrated();
    assert!(asked.iter().all(|(question, _)| *question == AdminQuestion::Invite));
    let bodies: Vec<Value> = asked.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect();
    let access =
        json!({ "role": "machine-operator", "scope": { "device": "press-7" }, "categories": ["screen"] });
    let by_options = json!({
        "user": "acme.jo", "account": "acme", "mail": "jo@example.com", "label": "Jo", "access": [access],
        "until": "2027-06-30T18:00:00Z", "good_for_s": 7200,
    });
    let both = json!([
        { "role": "a", "scope": { "account": "acme" } },
        { "role": "b", "scope": { "account": "acme", "nested": true } },
    ]);
    let by_file = json!({ "user": "acme.jo", "mail": "jo@example.com", "access": both });
    assert_eq!(bodies, [by_options, json!({ "user": "acme.jo" }), by_file, json!({ "user": "acme.jo" })]);
}

#[tokio::test]
async fn who_has_not_accepted_is_listed_gets_another_code_and_has_it_taken_back() {
    let world = World::signed_in().await;
    let entry = |user: &str, standing, times: Option<u64>| InvitationEntry {
        user: name(user),
        account: name("acme"),
        standing,
        by: times.map(|_| name("acme.ada")),
        made: times.map(|secs| UnixTime::from_secs(secs - 86_400)),
        expires: times.map(UnixTime::from_secs),
    };
    let page = |invitations, more: Option<&str>| {
        HubAnswer::Administered(AdminAnswer::Invitations { invitations, more: more.map(name) })
    };
    let first =
        || page(vec![entry("acme.jo", InvitationStanding::Open, Some(1_800_000_000))], Some("acme.jo"));
    let second = || page(vec![entry("acme.ky", InvitationStanding::None, None)], None);
    world.hub.answers([first(), second(), first(), second(), page(Vec::new(), None)]);
    let plain = world.run(&["admin", "invitations"]).await;
    let expected = "acme.jo\tacme\topen\tacme.ada\t2027-01-14 08:00 +00:00\t2027-01-15 08:00 +00:00\n\
                    acme.ky\tacme\tnone\t-\t-\t-\n";
    assert_eq!((plain.code, plain.stdout.as_str()), (0, expected));
    let program = world.run(&["admin", "invitations", "--json"]).await;
    let expected = json!({ "invitations": [
        {
            "user": "acme.jo", "account": "acme", "state": "open", "by": "acme.ada", "made": "2027-01-14T08:00:00Z",
            "expires": "2027-01-15T08:00:00Z",
        },
        { "user": "acme.ky", "account": "acme", "state": "none", "by": null, "made": null, "expires": null },
    ] });
    assert_eq!(json_of(&program), expected);
    let none = world.run(&["admin", "invitations"]).await;
    assert_eq!(none.stderr, "postern: everybody of whom you may know has accepted their invitation\n");
    let list = |after: Option<&str>| AdminQuestion::Invitations { after: after.map(name) };
    let asked: Vec<_> = world.hub.administrated().into_iter().map(|(question, _)| question).collect();
    assert_eq!(asked[..2], [list(None), list(Some("acme.jo"))]);

    let answers =
        [AdminAnswer::Resent(shown()), AdminAnswer::Resent(mailed()), AdminAnswer::Revoked(name("acme.jo"))];
    world.hub.answers(answers.map(HubAnswer::Administered));
    let again = world.run(&["admin", "resend-invite", "acme.jo", "--good-for", "1d", "--json"]).await;
    assert_eq!((&json_of(&again)["code"], &json_of(&again)["mailed"]), (&json!(code()), &Value::Null));
    let again = world.run(&["admin", "resend-invite", "acme.jo"]).await;
    assert!(again.stdout.contains("gets a code at jo@example.com"), "{}", again.stdout);
    let gone = world.run(&["admin", "revoke-invite", "acme.jo", "--json"]).await;
    assert_eq!(json_of(&gone), json!({ "user": "acme.jo", "revoked": true }));
    let user = || name("acme.jo");
    let asked: Vec<_> = world.hub.administrated().into_iter().map(|(question, _)| question).collect();
    let expected = [
        AdminQuestion::ResendInvite { user: user(), good_for_s: Some(86_400) },
        AdminQuestion::ResendInvite { user: user(), good_for_s: None },
        AdminQuestion::RevokeInvite { user: user() },
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn an_invitation_that_cannot_be_meant_never_reaches_the_hub_and_an_earlier_hub_is_named() {
    let world = World::signed_in().await;
    for rest in [
        &["--role", "machine-operator"][..],
        &["--scope", "device=press-7"],
        &["--role", "machine-operator", "--scope", "press-7"],
        &["--role", "machine-operator", "--scope", "{ account = }"],
        &["--category", "screen"],
        // An end of nothing.
        &["--until", "2027-06-30T18:00:00Z"],
        &["--role", "a", "--scope", "device=b", "--until", "tomorrow"],
        &["--good-for", "5"],
        &["--file", "/nowhere/at.all"],
    ] {
        let wrong = world.run(&[&["admin", "invite", "acme.jo"], rest].concat()).await;
        assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""), "{rest:?}: {}", wrong.stderr);
    }
    assert_eq!(world.hub.administrated(), []);
    world.hub.grow_old();
    for args in [&["invite", "acme.jo"][..], &["invitations"], &["resend-invite", "acme.jo"]] {
        let refused = world.run(&[&["admin"], args].concat()).await;
        assert_eq!(refused.code, 1);
        assert!(
            refused.stderr.contains("of an earlier version, without `postern admin`"),
            "{}",
            refused.stderr
        );
    }
}
