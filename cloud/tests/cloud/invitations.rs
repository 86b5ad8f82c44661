//! Invitations: who may hand them out, to whom, with what; and that nothing of it holds before it is accepted.

use postern_cloud::actor::Actor;
use postern_cloud::administration::{Done, Edit, Guard, edit as edit_model};
use postern_cloud::compile::{Compiler, Term};
use postern_cloud::invitation::{self, Ask, CODE_S, Handed, InvitationError, Listed, Standing};
use postern_cloud::model::EntityKind;
use postern_cloud::store::{StoreError, Tx};
use postern_protocol::name::Name;
use postern_protocol::policy::Snapshot;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, SecretKey};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::{Invitation, Invitee};
use serde_json::{Map, Value, json};

use crate::administration::Office;
use crate::gate::{NOW, addressee};
use crate::peers::{World, key, now};

/// One desk for each permission about invitations, over Acme and over Bolt; Nico has not accepted, and has the screen of `a1`.
const DESKS: &str = r#"
[user]
"acme.nico" = { account = "acme" }
ina = { account = "acme" }
rita = { account = "acme" }
ron = { account = "acme" }
cora = { account = "vendor" }
edna = { account = "acme" }
[role.editor]
tenant = "operating_company"
permissions = ["users.edit"]
[role.inviter]
tenant = "operating_company"
permissions = ["users.invite"]
[role.resender]
tenant = "operating_company"
permissions = ["users.resend-invite"]
[role.revoker]
tenant = "operating_company"
permissions = ["users.revoke-invite"]
[role.customers-inviter]
tenant = "service_provider"
permissions = ["users.invite-customer"]
[assignment]
ina = { user = "ina", role = "inviter", scope = { account = "acme" } }
rita = { user = "rita", role = "resender", scope = { account = "acme" } }
ron = { user = "ron", role = "revoker", scope = { account = "acme" } }
edna = { user = "edna", role = "editor", scope = { account = "acme" } }
cora = { user = "cora", role = "customers-inviter", scope = { account = "vendor", nested = true } }
"#;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn table(json: Value) -> Map<String, Value> {
    json.as_object().unwrap().clone()
}

fn ask(user: &str, access: &[Value]) -> Ask {
    let access = access.iter().cloned().map(table).collect();
    Ask { user: name(user), account: None, mail: None, label: None, access, until: None, good_for_s: CODE_S }
}

/// The operator's role on the screen of `a1`, which Acme may hand on.
fn screen() -> Value {
    json!({ "role": "machine-operator", "categories": ["screen"], "scope": { "device": "a1" } })
}

trait Desk {
    fn invite(&self, by: &str, ask: &Ask) -> Result<(Handed, Done), InvitationError>;
    fn resend(&self, by: &str, user: &str) -> Result<Handed, InvitationError>;
    fn revoke(&self, by: &str, user: &str) -> Result<(), InvitationError>;
    fn listed(&self, by: &str) -> Vec<Listed>;
    fn snapshot(&self, device: &str) -> Snapshot;
    fn has(&self, handed: &Handed) -> bool;
}

impl Desk for Office {
    fn invite(&self, by: &str, ask: &Ask) -> Result<(Handed, Done), InvitationError> {
        self.store.write(|tx| invitation::invite(tx, &self.publisher, Actor::User(&name(by)), ask, NOW))
    }

    fn resend(&self, by: &str, user: &str) -> Result<Handed, InvitationError> {
        let (by, user) = (name(by), name(user));
        self.store.write(|tx| invitation::resend(tx, &self.publisher, Actor::User(&by), (&user, CODE_S), NOW))
    }

    fn revoke(&self, by: &str, user: &str) -> Result<(), InvitationError> {
        self.store.write(|tx| invitation::revoke(tx, Actor::User(&name(by)), &name(user), NOW))
    }

    fn listed(&self, by: &str) -> Vec<Listed> {
        self.store.read(|tx| invitation::list(tx, Actor::User(&name(by)), NOW)).unwrap()
    }

    fn snapshot(&self, device: &str) -> Snapshot {
        let (model, roster) = self.store.read::<_, StoreError>(|tx| Ok((tx.model()?, tx.roster()?))).unwrap();
        let content = Compiler::new(&model, &roster).compile(&name(device)).unwrap();
        content.into_snapshot(addressee(), Term { version: 1, issued: NOW, expires: UnixTime::MAX })
    }

    fn has(&self, handed: &Handed) -> bool {
        let code = Invitation::parse(handed.code.reveal(), Invitee::User).unwrap();
        let found = self
            .store
            .read::<_, StoreError>(|tx| tx.invitation(&Digest::of(&[&code.secret]), Invitee::User))
            .unwrap();
        found.is_some()
    }
}

/// The office with the desks beside it, of whom all but Nico have accepted.
fn office() -> Office {
    let office = Office::new();
    office.extend(DESKS, |tx, user| {
        if user.as_str() == "acme.nico" { Ok(()) } else { tx.restart_person(user, "a password's hash") }
    });
    office
}

fn text<T: std::fmt::Debug>(refused: Result<T, InvitationError>) -> String {
    refused.unwrap_err().to_string()
}

#[test]
fn whoever_has_not_accepted_is_in_no_devices_policy_and_whoever_has_is() {
    let office = office();
    let until = UnixTime::from_secs(NOW.as_secs() + 3600);
    let asked = Ask { until: Some(until), ..ask("acme.jo", &[screen()]) };
    let before = office.snapshot("a1");
    let (handed, done) = office.invite("ada", &asked).unwrap();
    assert_eq!((handed.account.as_str(), handed.expires), ("vendor/acme", NOW.saturating_add(CODE_S)));
    assert!(done.revision.is_some());
    // The model gives it to Jo, and the device knows nothing of that.
    let pending = office.snapshot("a1");
    assert_eq!((&pending.users, &pending.grants), (&before.users, &before.grants));
    assert_eq!(done.published, []);
    let jo = office.store.read::<_, StoreError>(|tx| tx.person(&name("acme.jo"))).unwrap().unwrap().id;
    assert!(!pending.users.iter().any(|user| user.id == jo));

    // The twin: accepted, and until the end that was said.
    let laptop = SecretKey::from_seed([77; 32]).unwrap().public();
    office
        .store
        .write::<_, StoreError>(|tx| {
            tx.restart_person(&name("acme.jo"), "a password's hash")?;
            tx.register_key(&name("acme.jo"), &laptop, NOW).map(drop)
        })
        .unwrap();
    let accepted = office.snapshot("a1");
    let place = accepted.users.iter().position(|user| user.id == jo).unwrap();
    let grants: Vec<_> =
        accepted.grants.iter().filter(|grant| usize::try_from(grant.user).unwrap() == place).collect();
    assert_eq!(grants.iter().map(|grant| grant.not_after).collect::<Vec<_>>(), [Some(until)]);
    assert_eq!(accepted.grants.len(), before.grants.len() + 1);
}

#[test]
fn what_is_given_with_an_invitation_is_judged_as_every_edit_and_nothing_is_half_applied() {
    let office = office();
    for (access, expected) in [
        // Not delegable for Acme.
        (json!({ "role": "machine-operator", "categories": ["web"], "scope": { "device": "a1" } }), "`web`"),
        // Not theirs.
        (json!({ "role": "machine-operator", "categories": ["screen"], "scope": { "device": "b1" } }), "b1"),
        (json!({ "role": "tenant-admin", "scope": { "account": "vendor", "nested": true } }), "vendor"),
    ] {
        let refused = text(office.invite("ada", &ask("acme.jo", &[screen(), access])));
        assert!(refused.contains(expected), "{refused}");
        let (model, codes) =
            office.store.read::<_, StoreError>(|tx| Ok((tx.model()?, tx.open_codes()?))).unwrap();
        assert!(!model.users.contains_key("acme.jo") && codes.is_empty());
        assert!(!model.assignments.keys().any(|name| name.as_str().contains("jo")));
    }
    // Who invites and assigns no roles gives none, and invites all the same.
    let everywhere = json!({ "role": "machine-operator", "scope": { "account": "acme" } });
    let refused = text(office.invite("ina", &ask("acme.jo", &[everywhere])));
    assert!(refused.contains("`roles.assign`"), "{refused}");
    assert!(office.invite("ina", &ask("acme.jo", &[])).is_ok());
    let subject = json!({ "user": "ada", "role": "tenant-admin", "scope": { "account": "acme" } });
    assert!(matches!(
        office.invite("ada", &ask("acme.jim", &[subject])),
        Err(InvitationError::Subject("user"))
    ));
    let over = Ask { until: Some(NOW), ..ask("acme.jim", &[screen()]) };
    assert!(matches!(office.invite("ada", &over), Err(InvitationError::Over(NOW))));
    for good_for_s in [0, 59, 30 * 24 * 3600 + 1] {
        let asked = Ask { good_for_s, ..ask("acme.jim", &[]) };
        assert!(matches!(office.invite("ada", &asked), Err(InvitationError::Span)), "{good_for_s}");
    }
}

#[test]
fn inviting_sending_again_and_taking_back_are_permissions_of_their_own() {
    let office = office();
    let bare = |user: &str| ask(user, &[]);
    assert!(office.invite("ina", &bare("acme.jo")).is_ok());
    for desk in ["rita", "ron", "wil"] {
        let refused = text(office.invite(desk, &bare("acme.jim")));
        assert_eq!(refused, "user `acme.jim`: this needs `users.invite` there");
    }
    assert!(office.resend("rita", "acme.jo").is_ok());
    for desk in ["ina", "ron"] {
        let refused = text(office.resend(desk, "acme.jo"));
        assert_eq!(refused, "user `acme.jo`: this needs `users.resend-invite` there");
    }
    for desk in ["ina", "rita"] {
        let refused = text(office.revoke(desk, "acme.jo"));
        assert_eq!(refused, "user `acme.jo`: this needs `users.revoke-invite` there");
    }
    assert!(office.revoke("ron", "acme.jo").is_ok());
    // The tenant administrator has all of them.
    assert!(office.invite("ada", &bare("acme.jo")).is_ok());
    assert!(office.resend("ada", "acme.jo").is_ok());
    assert!(office.revoke("ada", "acme.jo").is_ok());
    // A customer's people are another permission, which does not reach the own company.
    let of_bolt = Ask { account: Some(name("bolt")), ..bare("vendor.joe") };
    let (handed, _) = office.invite("cora", &of_bolt).unwrap();
    assert_eq!(handed.account, "vendor/bolt");
    let refused = text(office.invite("cora", &bare("vendor.jill")));
    assert_eq!(refused, "user `vendor.jill`: this needs `users.invite` there");
    let refused = text(office.invite("ina", &Ask { account: Some(name("bolt")), ..bare("acme.jill") }));
    assert_eq!(refused, "user `acme.jill`: this needs `users.invite-customer` or `users.invite` there");
}

#[test]
fn whoever_may_send_again_cannot_become_somebody_with_more_rights() {
    let office = office();
    // Nico gets the screen, which Rita could not give; then Rita could accept in Nico's place.
    let (first, _) = office.invite("ada", &ask("acme.nico", &[screen()])).unwrap();
    let refused = text(office.resend("rita", "acme.nico"));
    assert!(refused.starts_with("user `acme.nico`: nobody gives what they do not hold"), "{refused}");
    let refused = text(office.invite("ina", &ask("acme.nico", &[])));
    assert!(refused.contains("nobody gives what they do not hold"), "{refused}");
    assert!(office.has(&first));
    assert!(office.resend("ada", "acme.nico").is_ok());
    assert!(!office.has(&first));
    // Who has accepted is nobody's to become: a code would reset the password.
    for refused in
        [office.invite("ada", &ask("wil", &[])).map(|(handed, _)| handed), office.resend("ada", "wil")]
    {
        assert!(matches!(refused, Err(InvitationError::Accepted(user)) if user.as_str() == "wil"));
    }
    office.store.write::<_, StoreError>(|tx| tx.set_disabled(&name("acme.nico"), true)).unwrap();
    assert!(matches!(office.resend("ada", "acme.nico"), Err(InvitationError::Disabled(_))));
}

#[test]
fn nobody_says_where_the_mail_of_somebody_with_more_rights_goes() {
    let office = office();
    let address = |user: &str, address: &str| {
        let body = json!({ "account": "acme", "mail": address });
        let edit = Edit { kind: EntityKind::User, name: name(user), body: Some(body), guard: Guard::Any };
        office.store.write(|tx| edit_model(tx, &office.publisher, &name("edna"), &[edit], NOW))
    };
    // Codes for Ada would go there, and by them all that Ada may.
    for user in ["ada", "wil"] {
        let lines = address(user, "edna@example.com").unwrap_err().lines();
        assert!(
            lines[0].starts_with(&format!("user `{user}`: nobody gives what they do not hold")),
            "{lines:?}"
        );
    }
    assert!(address("acme.nico", "nico@example.com").unwrap().revision.is_some());
    let wrong = address("acme.nico", "nico@example.com\r\nBcc: edna@example.com").unwrap_err().lines();
    assert!(wrong[0].contains("expected an address such as `jo@example.com`"), "{wrong:?}");
    let (handed, _) = office.invite("ada", &ask("acme.nico", &[])).unwrap();
    assert_eq!(handed.mail.unwrap().as_str(), "nico@example.com");
}

#[test]
fn hidden_people_are_answered_as_unknown_ones_and_are_in_no_list() {
    let office = office();
    let of_bolt = Ask { account: Some(name("bolt")), ..ask("vendor.joe", &[]) };
    office.invite("cora", &of_bolt).unwrap();
    let alike =
        |hidden: String, unknown: String| assert_eq!(hidden.replace("vendor.joe", "vendor.zoe"), unknown);
    alike(text(office.resend("ada", "vendor.joe")), text(office.resend("ada", "vendor.zoe")));
    alike(text(office.revoke("ada", "vendor.joe")), text(office.revoke("ada", "vendor.zoe")));
    alike(
        text(office.invite("ada", &ask("vendor.joe", &[]))),
        text(office.invite("ada", &ask("vendor.zoe", &[]))),
    );
    let names = |by: &str| office.listed(by).into_iter().map(|one| one.user.to_string()).collect::<Vec<_>>();
    assert_eq!(names("ada"), ["acme.nico"]);
    assert_eq!(names("cora"), ["acme.nico", "vendor.joe"]);
    // Bob sees whom the vendor invited, and not who at the vendor did.
    let seen = office.listed("bob");
    assert_eq!(
        (seen.len(), seen[0].user.as_str(), seen[0].state, &seen[0].by),
        (1, "vendor.joe", Standing::Open, &None)
    );
    assert_eq!(office.listed("cora")[1].by.as_deref(), Some("cora"));
    // A user who is disabled, or has not accepted, does nothing.
    assert!(matches!(office.invite("acme.nico", &ask("acme.x", &[])), Err(InvitationError::Absent(_))));
}

#[test]
fn what_happens_to_invitations_is_in_the_history_and_their_codes_are_nowhere() {
    let office = office();
    let (first, done) = office.invite("ada", &ask("acme.jo", &[screen()])).unwrap();
    let second = office.resend("ada", "acme.jo").unwrap();
    office.revoke("ada", "acme.jo").unwrap();
    assert!(matches!(office.revoke("ada", "acme.jo"), Err(InvitationError::None(_))));
    // What was taken back is not brought back by whoever may only send again.
    assert!(matches!(office.resend("ada", "acme.jo"), Err(InvitationError::None(_))));
    let (revisions, changes) = office
        .store
        .read::<_, StoreError>(|tx| Ok((tx.revisions(4)?, tx.changes(done.revision.unwrap())?)))
        .unwrap();
    let told: Vec<(&str, &str)> =
        revisions.iter().map(|one| (one.who.as_str(), one.what.split(" until").next().unwrap())).collect();
    assert_eq!(
        told[..3],
        [
            ("ada", "invitation revoke acme.jo"),
            ("ada", "invitation resend acme.jo"),
            ("ada", "invitation new acme.jo"),
        ]
    );
    assert!(told[3].1.starts_with("put user acme.jo, put assignment acme.jo.machine-operator-"), "{told:?}");
    assert!(changes.iter().all(|change| change.before.is_none() && change.after.is_some()));
    assert_eq!(changes.len(), 2);
    for handed in [first, second] {
        assert!(!office.has(&handed));
        let code = Invitation::parse(handed.code.reveal(), Invitee::User).unwrap();
        let stored = office.bytes();
        let holds = |needle: &[u8]| stored.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(&code.secret) && !holds(handed.code.reveal().as_bytes()));
        assert!(!format!("{handed:?}").contains(handed.code.reveal()));
    }
}

#[test]
fn the_first_user_of_a_customer_who_is_invited_becomes_its_administrator() {
    let office = office();
    office.extend("[account.novo]\ntenant = \"operating_company\"\nparent = \"vendor\"\n", |_, _| Ok(()));
    let asked = Ask { account: Some(name("novo")), ..ask("vendor.fay", &[]) };
    let (_, done) = office.invite("cora", &asked).unwrap();
    assert_eq!(done.founders, [name("vendor.fay")]);
    // The second one does not.
    let asked = Ask { account: Some(name("novo")), ..ask("vendor.flo", &[]) };
    assert_eq!(office.invite("cora", &asked).unwrap().1.founders, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_was_taken_back_or_replaced_is_answered_as_one_that_never_was() {
    let world = World::with_sample("direct-sales").await;
    world.store.write(|tx| tx.save_bound(world.address)).unwrap();
    let actor = Actor::Operator("root");
    let asked = Ask { account: Some(name("acme")), ..ask("jo", &[]) };
    let (first, _) = world
        .store
        .write(|tx| invitation::invite(tx, &publisher_in(&world, tx), actor, &asked, now()))
        .unwrap();
    let second = world
        .store
        .write(|tx| invitation::resend(tx, &publisher_in(&world, tx), actor, (&name("jo"), CODE_S), now()))
        .unwrap();
    let caller = world.dial(&key(40)).await;
    let accept = async |code: &str| {
        let secret = Invitation::parse(code, Invitee::User).unwrap().secret;
        let password = "correct horse".to_owned().try_into().unwrap();
        caller.ask(&HubRequest::AcceptInvitation { secret, password }).await
    };
    let password = || "correct horse".to_owned().try_into().unwrap();
    let unknown = caller.ask(&HubRequest::AcceptInvitation { secret: [3; 16], password: password() }).await;
    assert_eq!(unknown, HubAnswer::Refused(Refusal::Code));
    // Replaced by the second.
    assert_eq!(accept(first.code.reveal()).await, unknown);
    world.store.write(|tx| invitation::revoke(tx, actor, &name("jo"), now())).unwrap();
    assert_eq!(accept(second.code.reveal()).await, unknown);
    // The twin: one that nobody has taken back, once.
    let (third, _) = world
        .store
        .write(|tx| invitation::invite(tx, &publisher_in(&world, tx), actor, &ask("jo", &[]), now()))
        .unwrap();
    let accepted = accept(third.code.reveal()).await;
    assert!(matches!(accepted, HubAnswer::LoggedIn { .. }), "{accepted:?}");
    assert_eq!(accept(third.code.reveal()).await, unknown);
}

fn publisher_in(world: &World, tx: &Tx<'_>) -> postern_cloud::publish::Publisher {
    postern_cloud::publish::Publisher::open(&world.state, tx).unwrap()
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "whoever_has_not_accepted_is_in_no_devices_policy_and_whoever_has_is",
            whoever_has_not_accepted_is_in_no_devices_policy_and_whoever_has_is,
        ),
        (
            "what_is_given_with_an_invitation_is_judged_as_every_edit_and_nothing_is_half_applied",
            what_is_given_with_an_invitation_is_judged_as_every_edit_and_nothing_is_half_applied,
        ),
        (
            "inviting_sending_again_and_taking_back_are_permissions_of_their_own",
            inviting_sending_again_and_taking_back_are_permissions_of_their_own,
        ),
        (
            "whoever_may_send_again_cannot_become_somebody_with_more_rights",
            whoever_may_send_again_cannot_become_somebody_with_more_rights,
        ),
        (
            "nobody_says_where_the_mail_of_somebody_with_more_rights_goes",
            nobody_says_where_the_mail_of_somebody_with_more_rights_goes,
        ),
        (
            "hidden_people_are_answered_as_unknown_ones_and_are_in_no_list",
            hidden_people_are_answered_as_unknown_ones_and_are_in_no_list,
        ),
        (
            "what_happens_to_invitations_is_in_the_history_and_their_codes_are_nowhere",
            what_happens_to_invitations_is_in_the_history_and_their_codes_are_nowhere,
        ),
        (
            "the_first_user_of_a_customer_who_is_invited_becomes_its_administrator",
            the_first_user_of_a_customer_who_is_invited_becomes_its_administrator,
        ),
        (
            "a_code_that_was_taken_back_or_replaced_is_answered_as_one_that_never_was",
            a_code_that_was_taken_back_or_replaced_is_answered_as_one_that_never_was,
        ),
    ]);
}
