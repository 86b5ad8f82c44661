//! Invitations over the hub: the answers of the office, for whoever is signed in, and nothing beside them.

use postern_protocol::name::Name;
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, Decline, Edited, HandedCode, InvitationEntry, InvitationStanding,
};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::{Invitation, Invitee};
use serde_json::{Value, json};

use crate::administration::FLEET;
use crate::desk::{Person, declined, pass_of, refused};
use crate::peers::{World, key, name, now};
use crate::sign_in::{PASSWORD, totp};

/// One desk for each permission about invitations, over Acme; Nico has not accepted.
const DESKS: &str = r#"
[user."acme.nico"]
account = "acme"
[user.ina]
account = "acme"
[user.rita]
account = "acme"
[user.ron]
account = "acme"
[role.inviter]
tenant = "operating_company"
permissions = ["users.invite"]
[role.resender]
tenant = "operating_company"
permissions = ["users.resend-invite"]
[role.revoker]
tenant = "operating_company"
permissions = ["users.revoke-invite"]
[assignment.ina]
user = "ina"
role = "inviter"
scope = { account = "acme" }
[assignment.rita]
user = "rita"
role = "resender"
scope = { account = "acme" }
[assignment.ron]
user = "ron"
role = "revoker"
scope = { account = "acme" }
"#;

/// The hub of the vendor with the desks, at which these have signed in.
async fn world<const N: usize>(people: [&str; N]) -> (World, [Person; N]) {
    let world = World::start().await;
    world.store.write(|tx| tx.save_bound(world.address)).unwrap();
    world.apply(&format!("{FLEET}{DESKS}"));
    let mut joined = Vec::new();
    for (seed, user) in (40..).zip(people) {
        let account = if user == "bob" { "vendor/bolt" } else { "vendor/acme" };
        joined.push(Person::join(&world, (seed, user, account)).await);
    }
    let Ok(joined) = joined.try_into() else { panic!() };
    (world, joined)
}

/// The operator's role on the screen of `a1`, which Acme may hand on.
fn screen() -> Value {
    json!({ "role": "machine-operator", "categories": ["screen"], "scope": { "device": "a1" } })
}

async fn invite(person: &Person, body: &Value) -> HubAnswer {
    person.ask(AdminQuestion::Invite, Some(body)).await
}

fn resend(user: &str) -> AdminQuestion {
    AdminQuestion::ResendInvite { user: name(user), good_for_s: None }
}

fn revoke(user: &str) -> AdminQuestion {
    AdminQuestion::RevokeInvite { user: name(user) }
}

fn invited(answer: HubAnswer) -> (HandedCode, Edited) {
    let HubAnswer::Administered(AdminAnswer::Invited { handed, edited }) = answer else {
        panic!("{answer:?}")
    };
    (handed, edited)
}

fn resent(answer: HubAnswer) -> HandedCode {
    let HubAnswer::Administered(AdminAnswer::Resent(handed)) = answer else { panic!("{answer:?}") };
    handed
}

async fn listed(person: &Person, after: Option<Name>) -> Vec<InvitationEntry> {
    let answer = person.ask(AdminQuestion::Invitations { after }, None).await;
    let HubAnswer::Administered(AdminAnswer::Invitations { invitations, more: None }) = answer else {
        panic!("{answer:?}")
    };
    invitations
}

/// Uses a code from a computer with a key of this seed.
async fn accept(world: &World, handed: &HandedCode, seed: u8) -> HubAnswer {
    let code = Invitation::parse(handed.code.as_ref().unwrap().reveal(), Invitee::User).unwrap();
    let (secret, password) = (code.secret, PASSWORD.to_owned().try_into().unwrap());
    world.dial(&key(seed)).await.ask(&HubRequest::AcceptInvitation { secret, password }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_handed_out_over_the_hub_and_is_good_until_another_one_is_or_it_is_taken_back() {
    let (world, [ada]) = world(["ada"]).await;
    let body = json!({ "user": "acme.jo", "access": [screen()], "until": "2099-01-01T00:00:00Z" });
    let (first, done) = invited(invite(&ada, &body).await);
    assert!(done.revision.is_some());
    assert_eq!((first.user.as_str(), first.account.as_str()), ("acme.jo", "vendor/acme"));
    assert_eq!((&first.mailed, &first.unsent), (&None, &None));
    assert!((now().as_secs()..=now().as_secs() + 3 * 24 * 3600).contains(&first.expires.as_secs()));
    let all = listed(&ada, None).await;
    let standings: Vec<_> = all.iter().map(|one| (one.user.as_str(), one.standing)).collect();
    assert_eq!(
        standings,
        [
            ("acme.jo", InvitationStanding::Open),
            ("acme.nico", InvitationStanding::None),
            ("alf", InvitationStanding::None),
            ("ina", InvitationStanding::None),
            ("rita", InvitationStanding::None),
            ("ron", InvitationStanding::None),
            ("wil", InvitationStanding::None),
        ]
    );
    assert_eq!((&all[0].by, all[0].account.as_str()), (&Some(name("ada")), "acme"));
    assert_eq!(listed(&ada, Some(name("ina"))).await.len(), 3);

    let for_an_hour = AdminQuestion::ResendInvite { user: name("acme.jo"), good_for_s: Some(3600) };
    let second = resent(ada.ask(for_an_hour, None).await);
    assert!(second.expires.as_secs() <= now().as_secs() + 3600);
    assert_eq!(accept(&world, &first, 60).await, refused(Refusal::Code));
    let revoked = ada.ask(revoke("acme.jo"), None).await;
    assert_eq!(revoked, HubAnswer::Administered(AdminAnswer::Revoked(name("acme.jo"))));
    assert_eq!(accept(&world, &second, 60).await, refused(Refusal::Code));
    for question in [resend("acme.jo"), revoke("acme.jo")] {
        assert_eq!(declined(ada.ask(question, None).await).0, Decline::Unknown);
    }
    // The twin: one that nobody has taken back. Who has the place in the model gets no second one, and keeps what was given.
    let (third, done) = invited(invite(&ada, &json!({ "user": "acme.jo" })).await);
    assert_eq!(done.revision, None);
    assert!(matches!(accept(&world, &third, 60).await, HubAnswer::LoggedIn { .. }));
    assert_eq!(declined(ada.ask(resend("acme.jo"), None).await).0, Decline::Conflict);
    let given = world.read(|tx| tx.model()).assignments.values().any(|one| {
        one.until.is_some() && one.role == name("machine-operator") && one.categories.contains("screen")
    });
    assert!(given);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inviting_sending_again_and_taking_back_over_the_hub_are_three_permissions_and_hidden_people_are_unknown()
 {
    let (world, [ina, rita, ron, wil, bob]) = world(["ina", "rita", "ron", "wil", "bob"]).await;
    let jim = || json!({ "user": "acme.jim" });
    invited(invite(&ina, &json!({ "user": "acme.jo" })).await);
    for person in [&rita, &ron, &wil] {
        let (how, problems) = declined(invite(person, &jim()).await);
        assert_eq!(how, Decline::Forbidden);
        assert_eq!(problems, ["user `acme.jim`: this needs `users.invite` there"]);
    }
    // Bob is the other company's, where no such name can begin.
    assert_eq!(declined(invite(&bob, &jim()).await).0, Decline::Conflict);
    resent(rita.ask(resend("acme.jo"), None).await);
    for person in [&ina, &ron] {
        let (how, problems) = declined(person.ask(resend("acme.jo"), None).await);
        assert_eq!(
            (how, problems),
            (Decline::Forbidden, vec!["user `acme.jo`: this needs `users.resend-invite` there".to_owned()])
        );
    }
    for person in [&ina, &rita] {
        let (how, problems) = declined(person.ask(revoke("acme.jo"), None).await);
        assert_eq!(
            (how, problems),
            (Decline::Forbidden, vec!["user `acme.jo`: this needs `users.revoke-invite` there".to_owned()])
        );
    }
    // Wil is in charge of nobody, and Bob of others: for them there is nobody of that name.
    for person in [&wil, &bob] {
        for question in [resend, revoke] {
            let [hidden, unknown] = ["acme.jo", "acme.zo"].map(|user| person.ask(question(user), None));
            let (hidden, unknown) = (declined(hidden.await), declined(unknown.await));
            assert_eq!((hidden.0, unknown.0), (Decline::Unknown, Decline::Unknown));
            assert_eq!(hidden.1.join("\n").replace("acme.jo", "acme.zo"), unknown.1.join("\n"));
        }
        assert!(listed(person, None).await.iter().all(|one| !one.user.as_str().starts_with("acme.")));
    }
    assert_eq!(listed(&wil, None).await, []);
    assert!(matches!(
        ron.ask(revoke("acme.jo"), None).await,
        HubAnswer::Administered(AdminAnswer::Revoked(_))
    ));
    let codes = world.read(|tx| tx.open_codes());
    assert!(!codes.contains_key("acme.jo") && !codes.contains_key("acme.jim"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_with_an_invitation_over_the_hub_is_judged_and_what_cannot_be_meant_is_declined() {
    let (world, [ada]) = world(["ada"]).await;
    let of = |access: Value| json!({ "user": "acme.jo", "access": [access] });
    let everywhere = json!({ "role": "tenant-admin", "scope": { "account": "vendor", "nested": true } });
    for (body, how, words) in [
        (of(everywhere), Decline::Conflict, "`vendor`"),
        (of(json!({ "user": "ada", "role": "tenant-admin" })), Decline::Unreadable, "leave `user` out of it"),
        (json!({ "user": "acme.jo", "until": "soon" }), Decline::Unreadable, "`until`: "),
        (json!({ "user": "acme.jo", "good_for_s": 5 }), Decline::Unreadable, "good for a time from"),
        (json!({ "user": "acme.jo", "mail": "a@b\r\nBcc: c" }), Decline::Unreadable, "expected an address"),
        (json!({ "user": "acme.jo", "acess": [] }), Decline::Unreadable, "unknown field `acess`"),
        (
            json!({ "user": "acme.jo", "access": vec![screen(); 17] }),
            Decline::Unreadable,
            "found 17 accesses",
        ),
        (json!({ "user": "jo" }), Decline::Conflict, "a new name begins with `acme.`"),
        (json!({}), Decline::Unreadable, "missing field `user`"),
    ] {
        let (told, problems) = declined(invite(&ada, &body).await);
        assert_eq!(told, how, "{body}: {problems:?}");
        assert!(problems.join("\n").contains(words), "{body}: {problems:?}");
    }
    let (model, codes) = (world.read(|tx| tx.model()), world.read(|tx| tx.open_codes()));
    assert!(!model.users.contains_key("acme.jo") && codes.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_one_time_codes_uses_one_to_hand_out_a_code_and_none_to_see_who_has_one() {
    let (_world, [ada]) = world(["ada"]).await;
    let password = || PASSWORD.to_owned().try_into().unwrap();
    let (account, user) = ("vendor/acme".to_owned().try_into().unwrap(), name("ada"));
    let enroll = HubRequest::EnrollOtp { account, user, password: password(), otp: None };
    let HubAnswer::Otp { uri } = ada.caller.ask(&enroll).await else { panic!("refused") };
    let code = totp(&uri).generate(now().as_secs() - 30).to_string();
    let proved = pass_of(ada.caller.login("vendor/acme", "ada", PASSWORD, Some(&code)).await);
    for question in [AdminQuestion::Invite, resend("acme.nico"), revoke("acme.nico")] {
        let body = question.has_body().then(|| json!({ "user": "acme.nico" }));
        assert_eq!(
            ada.ask(question.clone(), body.as_ref()).await,
            refused(Refusal::SecondFactor),
            "{question:?}"
        );
    }
    assert!(!listed(&ada, None).await.is_empty());
    let ada = Person { pass: proved, ..ada };
    invited(invite(&ada, &json!({ "user": "acme.nico" })).await);
    resent(ada.ask(resend("acme.nico"), None).await);
    assert!(matches!(ada.ask(revoke("acme.nico"), None).await, HubAnswer::Administered(_)));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_code_is_handed_out_over_the_hub_and_is_good_until_another_one_is_or_it_is_taken_back",
            a_code_is_handed_out_over_the_hub_and_is_good_until_another_one_is_or_it_is_taken_back,
        ),
        (
            "what_is_given_with_an_invitation_over_the_hub_is_judged_and_what_cannot_be_meant_is_declined",
            what_is_given_with_an_invitation_over_the_hub_is_judged_and_what_cannot_be_meant_is_declined,
        ),
        (
            "whoever_has_one_time_codes_uses_one_to_hand_out_a_code_and_none_to_see_who_has_one",
            whoever_has_one_time_codes_uses_one_to_hand_out_a_code_and_none_to_see_who_has_one,
        ),
    ]);
}
