//! Administration and service cases over the hub: who is let to the desk, what it answers, and that it judges nothing by itself.

use bytes::Bytes;
use postern_cloud::administration as office;
use postern_cloud::model::EntityKind;
use postern_cloud::store::StoreError;
use postern_protocol::limits;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, ChangeAuthor, ChangeFate, Decline, Declined, EditGuard, Edited, EntityEntry,
};
use postern_protocol::wire::case::{
    CaseAbout, CaseEnd, CaseEntry, CasePage, CaseQuestion, CaseStanding, CaseWindow,
};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Only, Refusal};
use postern_protocol::wire::text::Text;
use postern_transport::framed::{read_frame, write_frame};
use serde_json::{Value, json};

use crate::administration::FLEET;
use crate::peers::{Caller, PATIENCE, World, key, name, now};
use crate::sign_in::{PASSWORD, totp};

const PEOPLE: [(u8, &str, &str); 6] = [
    (20, "vera", "vendor"),
    (21, "dora", "vendor"),
    (22, "ada", "vendor/acme"),
    (23, "alf", "vendor/acme"),
    (24, "wil", "vendor/acme"),
    (25, "bob", "vendor/bolt"),
];

/// The hub of the vendor with two customers, where everybody has signed in.
async fn world() -> World {
    let world = World::start().await;
    world.apply(FLEET);
    for (seed, user, _) in PEOPLE {
        world.join(user, seed, PASSWORD).await;
    }
    world
}

/// Somebody at the desk.
pub(crate) struct Person {
    pub(crate) caller: Caller,
    pub(crate) pass: Vec<u8>,
}

impl Person {
    async fn of(world: &World, user: &str) -> Self {
        let (seed, _, account) = PEOPLE.into_iter().find(|(_, one, _)| *one == user).unwrap();
        let caller = world.dial(&key(seed)).await;
        let pass = pass_of(caller.login(account, user, PASSWORD, None).await);
        Self { caller, pass }
    }

    /// Accepts an invitation with a key of this seed, and signs in.
    pub(crate) async fn join(world: &World, (seed, user, account): (u8, &str, &str)) -> Self {
        let caller = world.join(user, seed, PASSWORD).await;
        let pass = pass_of(caller.login(account, user, PASSWORD, None).await);
        Self { caller, pass }
    }

    pub(crate) async fn ask(&self, question: AdminQuestion, body: Option<&Value>) -> HubAnswer {
        let request = HubRequest::Administrate { pass: self.pass.clone(), question };
        match body {
            Some(body) => self.caller.ask_with(&request, body.to_string().as_bytes()).await,
            None => self.caller.ask(&request).await,
        }
    }

    async fn put(&self, kind: &str, entity: &str, guard: EditGuard, body: &Value) -> HubAnswer {
        let (kind, name) = (name(kind), name(entity));
        self.ask(AdminQuestion::Put { kind, name, guard }, Some(body)).await
    }

    async fn list(&self, kind: &str) -> Vec<String> {
        let question = AdminQuestion::List { kind: name(kind), after: None, limit: 500 };
        let HubAnswer::Administered(AdminAnswer::Page { entities, more: None }) =
            self.ask(question, None).await
        else {
            panic!()
        };
        entities.into_iter().map(|one| one.name.to_string()).collect()
    }

    async fn show(&self, kind: &str, entity: &str) -> HubAnswer {
        self.ask(AdminQuestion::Show { kind: name(kind), name: name(entity) }, None).await
    }

    async fn case(&self, question: CaseQuestion) -> HubAnswer {
        self.caller.ask(&HubRequest::HandleCase { pass: self.pass.clone(), question }).await
    }
}

pub(crate) fn pass_of(answer: HubAnswer) -> Vec<u8> {
    let HubAnswer::LoggedIn { pass, .. } = answer else { panic!("{answer:?}") };
    pass
}

fn entity(answer: HubAnswer) -> (u64, Value) {
    let HubAnswer::Administered(AdminAnswer::Entity(EntityEntry { version, body, .. })) = answer else {
        panic!("{answer:?}")
    };
    (version, serde_json::from_str(&body.unwrap()).unwrap())
}

pub(crate) fn edited(answer: HubAnswer) -> Edited {
    let HubAnswer::Administered(AdminAnswer::Edited(edited)) = answer else { panic!("{answer:?}") };
    edited
}

pub(crate) fn declined(answer: HubAnswer) -> (Decline, Vec<String>) {
    let HubAnswer::Declined(Declined { how, problems }) = answer else { panic!("{answer:?}") };
    (how, problems)
}

pub(crate) fn refused(refusal: Refusal) -> HubAnswer {
    HubAnswer::Refused(refusal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_sees_and_edits_over_the_hub_what_they_may_and_the_device_has_it_by_then() {
    let world = world().await;
    let mut device = world.enroll("a1", 1).await;
    let mut link = device.link(&world).await;
    device.take(&mut link).await;
    let wil = Person::of(&world, "wil").await;
    assert_eq!(wil.list("device").await, ["a1", "a2"]);
    let HubAnswer::Administered(AdminAnswer::Me { user, account, permissions }) =
        wil.ask(AdminQuestion::Me, None).await
    else {
        panic!()
    };
    assert_eq!((user, account), (name("wil"), name("acme")));
    assert!(permissions.contains(&name("devices.manage")), "{permissions:?}");

    let (version, mut body) = entity(wil.show("device", "a1").await);
    assert_eq!(body["service"]["hmi"]["target"], "10.0.0.1:5900");
    body["service"]["hmi"]["target"] = json!("10.0.0.2:5900");
    let (answer, _) =
        tokio::join!(wil.put("device", "a1", EditGuard::Version(version), &body), device.take(&mut link));
    let done = edited(answer);
    assert_eq!((done.published, done.answered, done.devices), (1, 1, vec![name("a1")]));
    assert!(done.revision.unwrap() > version);
    // As it was seen before, it is somebody else's by now.
    let answer = wil.put("device", "a1", EditGuard::Version(version), &body).await;
    assert_eq!(declined(answer).0, Decline::Overtaken);
    let answer = wil.put("device", "a1", EditGuard::Absent, &body).await;
    assert_eq!(declined(answer).0, Decline::Conflict);
    // Once more the same is no difference.
    assert_eq!(edited(wil.put("device", "a1", EditGuard::Any, &body).await).revision, None);
    // Who it was stands in the history, as for every other door.
    let newest = world.read(|tx| tx.revisions(1)).remove(0);
    assert_eq!((newest.who.as_str(), newest.what.as_str()), ("wil", "put device a1"));
    let change = world.read(|tx| tx.changes(newest.number)).remove(0);
    assert!(change.before.unwrap().contains("10.0.0.1") && change.after.unwrap().contains("10.0.0.2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_may_not_see_is_answered_as_what_is_not_there_and_what_they_may_not_do_with_the_permission()
 {
    let world = world().await;
    let wil = Person::of(&world, "wil").await;
    for (hidden, unknown, kind) in
        [("b1", "b9", "device"), ("bob", "bib", "user"), ("vera", "vira", "assignment")]
    {
        let alike = async |question: &dyn Fn(&str) -> AdminQuestion, body: Option<&Value>| {
            let [one, other] = [hidden, unknown].map(|name| wil.ask(question(name), body));
            let (one, other) = (declined(one.await), declined(other.await));
            assert_eq!(one.1.join("\n").replace(hidden, unknown), other.1.join("\n"));
            assert_eq!((one.0, other.0), (Decline::Unknown, Decline::Unknown));
        };
        let (kind, guard) = (|| name(kind), EditGuard::Version(3));
        alike(&|one| AdminQuestion::Show { kind: kind(), name: name(one) }, None).await;
        alike(&|one| AdminQuestion::Remove { kind: kind(), name: name(one), guard: EditGuard::Any }, None)
            .await;
        alike(&|one| AdminQuestion::Put { kind: kind(), name: name(one), guard }, Some(&json!({}))).await;
    }
    let user = wil.put("user", "acme.new", EditGuard::Absent, &json!({ "account": "acme" })).await;
    let expected = "user `acme.new`: this needs `users.create` or `users.invite` there";
    assert_eq!(declined(user), (Decline::Forbidden, vec![expected.to_owned()]));
    // Ada may, and says it in the same words.
    let ada = Person::of(&world, "ada").await;
    let done = ada.put("user", "acme.new", EditGuard::Absent, &json!({ "account": "acme" })).await;
    assert!(edited(done).revision.is_some());
    assert_eq!(world.read(|tx| tx.model()).users[&name("acme.new")].account, name("acme"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_over_the_hub_is_made_as_a_whole_or_names_every_bad_name() {
    let world = world().await;
    let dora = Person::of(&world, "dora").await;
    let moved = |device: &str| json!({ "kind": "device", "name": device, "body": { "account": "bolt" }, "version": null });
    let batch = async |edits: Value| dora.ask(AdminQuestion::Batch, Some(&json!({ "edits": edits }))).await;
    let gone = |device: &str| json!({ "kind": "device", "name": device, "body": null });
    let (how, problems) = declined(batch(json!([moved("a2"), gone("zz"), gone("yy")])).await);
    assert_eq!(
        (how, problems),
        (Decline::Unreadable, vec!["device `zz` is unknown".into(), "device `yy` is unknown".into()])
    );
    assert_eq!(world.read(|tx| tx.model()).devices[&name("a2")].account, name("acme"));
    assert!(edited(batch(json!([moved("a2")])).await).revision.is_some());
    assert_eq!(world.read(|tx| tx.model()).devices[&name("a2")].account, name("bolt"));
    let words = |answer| declined(answer).1.remove(0);
    assert_eq!(words(batch(json!([])).await), "found 0 edits, expected 1 to 1000");
    let many: Vec<Value> = (0..1001).map(|number| gone(&format!("d{number}"))).collect();
    assert_eq!(words(batch(json!(many)).await), "found 1001 edits, expected 1 to 1000");
    assert!(
        words(batch(json!([{ "kind": "galaxy", "name": "a", "body": null }])).await)
            .contains("`galaxy` is no kind of entity")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_or_cannot_be_read_is_declined_in_words_and_the_connection_goes_on() {
    let world = world().await;
    let wil = Person::of(&world, "wil").await;
    let question = || AdminQuestion::Put { kind: name("device"), name: name("a2"), guard: EditGuard::Any };
    let request = || HubRequest::Administrate { pass: wil.pass.clone(), question: question() };
    let body = async |bytes: &[u8]| wil.caller.ask_with(&request(), bytes).await;
    assert!(declined(body(b"{\"account\": ").await).1[0].contains("EOF while parsing"));
    assert_eq!(
        declined(body(b"[1]").await),
        (Decline::Unreadable, vec!["expected an object with the keys of the entity".into()])
    );
    let (how, problems) = declined(body(b"{\"account\": \"acme\", \"tunels\": 3}").await);
    assert_eq!(how, Decline::Unreadable);
    assert!(problems[0].ends_with("did you mean `tunnels`?"), "{problems:?}");
    let unknown = AdminQuestion::List { kind: name("galaxy"), after: None, limit: 1 };
    assert!(
        declined(wil.ask(unknown, None).await).1[0]
            .starts_with("`galaxy` is no kind of entity; there are account, user,")
    );

    // A length above the limit is refused before a byte of it is read.
    let (mut send, mut recv) = wil.caller.connection.open_bi().await.unwrap();
    write_frame(&mut send, &request(), limits::FRAME_BYTES).await.unwrap();
    let length = u32::try_from(limits::BODY_BYTES + 1).unwrap();
    send.write_chunk(Bytes::from(length.to_le_bytes().to_vec())).await.unwrap();
    let answer = read_frame(&mut recv, limits::LIST_FRAME_BYTES, PATIENCE).await.unwrap();
    assert_eq!(declined(answer).0, Decline::TooLarge);
    assert_eq!(wil.list("device").await, ["a1", "a2"]);
    // What just fits goes all the way to the reader of bodies.
    let fits = json!({ "account": "acme", "label": "x".repeat(limits::BODY_BYTES - 64) });
    assert_eq!(declined(wil.ask(question(), Some(&fits)).await).0, Decline::Unreadable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_foreign_passes_and_the_disabled_get_nothing_and_their_bodies_are_not_waited_for() {
    let world = world().await;
    let (ada, wil) = (Person::of(&world, "ada").await, Person::of(&world, "wil").await);
    let put = AdminQuestion::Put { kind: name("device"), name: name("a2"), guard: EditGuard::Any };
    let questions = [
        AdminQuestion::Me,
        AdminQuestion::Show { kind: name("device"), name: name("a1") },
        put,
        AdminQuestion::Batch,
    ];
    let stranger = world.dial(&key(99)).await;
    for question in questions {
        let ask = async |caller: &Caller, pass: &[u8]| {
            let request = HubRequest::Administrate { pass: pass.to_vec(), question: question.clone() };
            // The body never comes: who is refused is answered without it.
            let (mut send, mut recv) = caller.connection.open_bi().await.unwrap();
            write_frame(&mut send, &request, limits::FRAME_BYTES).await.unwrap();
            let answer =
                read_frame::<HubAnswer>(&mut recv, limits::LIST_FRAME_BYTES, PATIENCE).await.unwrap();
            drop(send);
            answer
        };
        assert_eq!(ask(&stranger, &wil.pass).await, refused(Refusal::UnknownKey), "{question:?}");
        assert_eq!(ask(&wil.caller, &ada.pass).await, refused(Refusal::Pass), "{question:?}");
        assert_eq!(ask(&wil.caller, &[]).await, refused(Refusal::Pass), "{question:?}");
        let case = CaseQuestion::List { after: None };
        let cases = HubRequest::HandleCase { pass: Vec::new(), question: case };
        assert_eq!(stranger.ask(&cases).await, refused(Refusal::UnknownKey));
        assert_eq!(wil.caller.ask(&cases).await, refused(Refusal::Pass));
    }
    assert_eq!(wil.list("device").await, ["a1", "a2"]);
    world.publish(|tx| tx.set_disabled(&name("wil"), true).map(drop));
    assert_eq!(wil.ask(AdminQuestion::Me, None).await, refused(Refusal::UnknownKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_one_time_codes_uses_one_to_edit_and_none_to_look_and_a_narrowed_sign_in_does_neither() {
    let world = world().await;
    let wil = Person::of(&world, "wil").await;
    let account = || Text::clean("vendor/acme");
    let secret = |text: &str| text.to_owned().try_into().unwrap();
    let enroll = HubRequest::EnrollOtp {
        account: account(),
        user: name("wil"),
        password: secret(PASSWORD),
        otp: None,
    };
    let HubAnswer::Otp { uri } = wil.caller.ask(&enroll).await else { panic!("refused") };
    let code = totp(&uri).generate(now().as_secs() - 30).to_string();
    let proved = pass_of(wil.caller.login("vendor/acme", "wil", PASSWORD, Some(&code)).await);
    let body = json!({ "account": "acme", "label": "Second" });
    assert_eq!(wil.put("device", "a2", EditGuard::Any, &body).await, refused(Refusal::SecondFactor));
    assert_eq!(wil.list("device").await, ["a1", "a2"]);
    let wil = Person { pass: proved, ..wil };
    assert!(edited(wil.put("device", "a2", EditGuard::Any, &body).await).revision.is_some());

    let ada = Person::of(&world, "ada").await;
    let only = Only { devices: None, services: Some(vec![name("hmi")]) };
    let (password, user) = (secret(PASSWORD), name("ada"));
    let login = HubRequest::Login { account: account(), user, password, otp: None, only };
    let narrowed = Person { pass: pass_of(ada.caller.ask(&login).await), caller: ada.caller };
    let (how, problems) = declined(narrowed.ask(AdminQuestion::Me, None).await);
    assert_eq!(how, Decline::Forbidden);
    assert!(problems[0].contains("sign in without `--only-device`"), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_without_end_is_told_to_wait() {
    let world = world().await;
    let (wil, ada) = (Person::of(&world, "wil").await, Person::of(&world, "ada").await);
    let mut asked = 0;
    while wil.ask(AdminQuestion::Me, None).await != refused(Refusal::TooMany) {
        asked += 1;
        assert!(asked < 2_000, "nobody stops it");
    }
    assert!(asked >= 240, "{asked}");
    assert!(matches!(ada.ask(AdminQuestion::Me, None).await, HubAnswer::Administered(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_and_the_api_s_office_answer_alike() {
    let world = world().await;
    for (_, user, _) in PEOPLE {
        let person = Person::of(&world, user).await;
        for kind in EntityKind::ALL {
            let (seen, more) = world
                .read(|tx| Ok::<_, StoreError>(office::list(tx, &name(user), *kind, None, 500, now())))
                .unwrap();
            assert_eq!(more, None);
            let names: Vec<String> = seen.iter().map(|one| one.name.to_string()).collect();
            assert_eq!(person.list(kind.word()).await, names, "{user} {kind}");
            for one in seen {
                let (version, body) = entity(person.show(kind.word(), one.name.as_str()).await);
                assert_eq!(
                    (i64::try_from(version).unwrap(), body),
                    (one.version.0, one.body),
                    "{user} {kind}"
                );
            }
        }
    }
}

fn cases(answer: HubAnswer) -> (Vec<CaseEntry>, Option<Edited>) {
    let HubAnswer::Cases(CasePage { cases, more: None, edited }) = answer else { panic!("{answer:?}") };
    (cases, edited)
}

fn open(shared: bool, device: &str, window: Option<CaseWindow>) -> CaseQuestion {
    let about = CaseAbout::Device(name(device));
    CaseQuestion::Open { name: None, about, shared, window, label: Some("Jam".parse().unwrap()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_is_opened_activated_deactivated_and_closed_by_whoever_may_each_of_it() {
    let world = world().await;
    let (wil, ada, dora) =
        (Person::of(&world, "wil").await, Person::of(&world, "ada").await, Person::of(&world, "dora").await);
    let hour = CaseWindow { from: None, end: CaseEnd::After(3600) };
    let (opened, done) = cases(wil.case(open(true, "a1", None)).await);
    assert!(opened[0].name.as_str().starts_with("acme.case-"), "{opened:?}");
    assert_eq!((opened[0].standing, opened[0].until), (CaseStanding::Inactive, None));
    assert!(done.unwrap().revision.is_some());
    let name_of = || opened[0].name.clone();
    let before = now();
    let (active, _) = cases(wil.case(CaseQuestion::Activate { name: name_of(), window: hour }).await);
    assert_eq!(active[0].standing, CaseStanding::Active);
    let until = active[0].until.unwrap().as_secs();
    assert!((before.as_secs() + 3600..=now().as_secs() + 3600).contains(&until), "{until}");
    // An administrator of the company does no operational work, and the maker's people read shared cases.
    assert_eq!(cases(dora.case(CaseQuestion::List { after: None }).await).0, active);
    let longer = CaseWindow { end: CaseEnd::After(7200), ..hour };
    for question in [
        CaseQuestion::Deactivate { name: name_of() },
        CaseQuestion::Activate { name: name_of(), window: longer },
        CaseQuestion::Close { name: name_of() },
    ] {
        assert_eq!(declined(dora.case(question.clone()).await).0, Decline::Forbidden, "{question:?}");
        let hidden = declined(ada.case(question.clone()).await);
        assert_eq!(hidden, (Decline::Unknown, vec![format!("case `{}` is unknown", name_of())]));
    }
    assert_eq!(declined(ada.case(open(true, "a1", Some(hour))).await).0, Decline::Forbidden);
    assert_eq!(cases(ada.case(CaseQuestion::List { after: None }).await).0, []);
    let (shown, none) = cases(wil.case(CaseQuestion::Show { name: name_of() }).await);
    assert_eq!((shown, none), (active, None));
    let past = CaseWindow { from: None, end: CaseEnd::At(UnixTime::from_secs(7)) };
    let (how, problems) = declined(wil.case(CaseQuestion::Activate { name: name_of(), window: past }).await);
    assert_eq!(how, Decline::Unreadable);
    assert!(problems[0].starts_with("remote access would end "), "{problems:?}");

    let (inactive, _) = cases(wil.case(CaseQuestion::Deactivate { name: name_of() }).await);
    assert_eq!(inactive[0].standing, CaseStanding::Inactive);
    // Once more it is as it was.
    let (_, again) = cases(wil.case(CaseQuestion::Deactivate { name: name_of() }).await);
    assert_eq!(again.unwrap().revision, None);
    cases(wil.case(CaseQuestion::Close { name: name_of() }).await);
    assert_eq!(cases(wil.case(CaseQuestion::List { after: None }).await).0, []);
    assert_eq!(declined(wil.case(CaseQuestion::Show { name: name_of() }).await).0, Decline::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_audit_reads_over_the_hub_who_changed_what_and_nobody_else_does() {
    let world = world().await;
    let analyst = "[user.ana]\naccount = \"acme\"\n[assignment.ana]\nuser = \"ana\"\nrole = \"data-analyst\"\nscope = { account = \"acme\" }\n";
    world.apply(&format!("{FLEET}{analyst}"));
    let ana = Person::join(&world, (30, "ana", "vendor/acme")).await;
    let wil = Person::of(&world, "wil").await;
    let body = json!({ "account": "acme", "label": "Second" });
    let revision = edited(wil.put("device", "a2", EditGuard::Any, &body).await).revision.unwrap();
    let question = |entity: &str, after, limit| AdminQuestion::History {
        kind: Some(name("device")),
        name: Some(name(entity)),
        after,
        limit,
    };
    let history = async |question: AdminQuestion| {
        let HubAnswer::Administered(AdminAnswer::History { changes, more }) = ana.ask(question, None).await
        else {
            panic!()
        };
        (changes, more)
    };
    let (newest, more) = history(question("a2", None, 1)).await;
    let keys =
        |body: &Option<String>| body.as_deref().map(|body| serde_json::from_str::<Value>(body).unwrap());
    assert_eq!((newest[0].revision, newest[0].fate), (revision, ChangeFate::Changed));
    assert_eq!(newest[0].by, ChangeAuthor::User(name("wil")));
    assert_eq!(keys(&newest[0].before), Some(json!({ "account": "acme" })));
    assert_eq!(keys(&newest[0].after), Some(body));
    let (older, more) = history(question("a2", more, 200)).await;
    assert_eq!(
        (older.len(), older[0].fate, &older[0].by, more),
        (1, ChangeFate::Added, &ChangeAuthor::Operator, None)
    );
    assert_eq!(history(question("b1", None, 200)).await, (Vec::new(), None));
    for person in [&wil, &Person::of(&world, "ada").await] {
        let (how, problems) = declined(person.ask(question("a2", None, 200), None).await);
        assert_eq!(
            (how, problems),
            (Decline::Forbidden, vec!["account `acme`: this needs `audit.read` there".to_owned()])
        );
    }
    let galaxy = AdminQuestion::History { kind: Some(name("galaxy")), name: None, after: None, limit: 1 };
    assert_eq!(declined(ana.ask(galaxy, None).await).0, Decline::Unreadable);
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "somebody_sees_and_edits_over_the_hub_what_they_may_and_the_device_has_it_by_then",
            somebody_sees_and_edits_over_the_hub_what_they_may_and_the_device_has_it_by_then,
        ),
        (
            "a_batch_over_the_hub_is_made_as_a_whole_or_names_every_bad_name",
            a_batch_over_the_hub_is_made_as_a_whole_or_names_every_bad_name,
        ),
        (
            "a_body_that_is_too_large_or_cannot_be_read_is_declined_in_words_and_the_connection_goes_on",
            a_body_that_is_too_large_or_cannot_be_read_is_declined_in_words_and_the_connection_goes_on,
        ),
        (
            "strangers_foreign_passes_and_the_disabled_get_nothing_and_their_bodies_are_not_waited_for",
            strangers_foreign_passes_and_the_disabled_get_nothing_and_their_bodies_are_not_waited_for,
        ),
        (
            "whoever_has_one_time_codes_uses_one_to_edit_and_none_to_look_and_a_narrowed_sign_in_does_neither",
            whoever_has_one_time_codes_uses_one_to_edit_and_none_to_look_and_a_narrowed_sign_in_does_neither,
        ),
        ("whoever_asks_without_end_is_told_to_wait", whoever_asks_without_end_is_told_to_wait),
        ("the_desk_and_the_api_s_office_answer_alike", the_desk_and_the_api_s_office_answer_alike),
        (
            "a_case_is_opened_activated_deactivated_and_closed_by_whoever_may_each_of_it",
            a_case_is_opened_activated_deactivated_and_closed_by_whoever_may_each_of_it,
        ),
        (
            "whoever_may_audit_reads_over_the_hub_who_changed_what_and_nobody_else_does",
            whoever_may_audit_reads_over_the_hub_who_changed_what_and_nobody_else_does,
        ),
    ]);
}
