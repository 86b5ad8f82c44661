//! Users: invitations, passwords, one-time codes, passes, listings.

use postern_protocol::id::UserId;
use postern_protocol::trust::{Envelope, Method, Pass, Role, Root};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::Invitee;
use postern_protocol::wire::text::Text;
use totp_rs::{Builder, Totp};

use crate::peers::{Caller, World, announcement, eventually, key, name, now};

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) fn pass(world: &World, answer: HubAnswer) -> Pass {
    let HubAnswer::LoggedIn { pass, .. } = answer else { panic!("{answer:?}") };
    let root = Root::self_signed(&world.read(|tx| tx.roots())[0]).unwrap();
    Envelope::open(&pass, root.role(Role::Identity).unwrap()).unwrap()
}

fn methods(pass: &Pass) -> Vec<Method> {
    pass.factors.iter().map(|factor| factor.method).collect()
}

fn user_id(world: &World, user: &str) -> UserId {
    world.read(|tx| tx.person(&name(user))).unwrap().id
}

async fn accept(caller: &Caller, secret: [u8; 16], password: &str) -> HubAnswer {
    let password = password.to_owned().try_into().unwrap();
    caller.ask(&HubRequest::AcceptInvitation { secret, password }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invited_user_chooses_a_password_and_signs_in_with_a_second_key() {
    let world = World::with_sample("direct-sales").await;
    let secret = world.invite(Invitee::User, "otto", 1, 60);
    let laptop = world.dial(&key(10)).await;
    let answer = accept(&laptop, secret, PASSWORD).await;
    if let HubAnswer::LoggedIn { account, name, .. } = &answer {
        assert_eq!((account.as_str(), name.as_str()), ("berg/acme", "otto"));
    }
    let first = pass(&world, answer);
    assert_eq!((first.user, first.key), (user_id(&world, "otto"), key(10).public()));
    assert_eq!(first.expires.secs_since(first.issued), 12 * 3600);
    let tablet = world.dial(&key(11)).await;
    let second = pass(&world, tablet.login("berg/acme", "otto", PASSWORD, None).await);
    assert_eq!((second.user, second.key), (first.user, key(11).public()));
    assert_eq!(methods(&second), [Method::Password]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_at_login_the_answer_is_the_same() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    let wrong = HubAnswer::Refused(Refusal::Login);
    let caller = world.dial(&key(20)).await;
    // Password; account; user; a user who was never invited.
    assert_eq!(caller.login("berg/acme", "otto", "correct horsf", None).await, wrong);
    assert_eq!(caller.login("berg/bolt", "otto", PASSWORD, None).await, wrong);
    assert_eq!(caller.login("berg/acme", "nobody", PASSWORD, None).await, wrong);
    assert_eq!(caller.login("berg", "eva", PASSWORD, None).await, wrong);
    world.store.write(|tx| tx.set_disabled(&name("otto"), true)).unwrap();
    assert_eq!(caller.login("berg/acme", "otto", PASSWORD, None).await, wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_tries_too_often_has_to_wait_and_another_does_not() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    let caller = world.dial(&key(20)).await;
    for _ in 0..5 {
        let answer = caller.login("berg/acme", "otto", "wrong password", None).await;
        assert_eq!(answer, HubAnswer::Refused(Refusal::Login));
    }
    // Also with the right password, so that the limit cannot be used to guess.
    let answer = caller.login("berg/acme", "otto", PASSWORD, None).await;
    assert_eq!(answer, HubAnswer::Refused(Refusal::TooMany));
    let own = world.dial(&key(10)).await;
    pass(&world, own.login("berg/acme", "otto", PASSWORD, None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_good_once_and_in_its_time() {
    let world = World::with_sample("direct-sales").await;
    let refused = HubAnswer::Refused(Refusal::Code);
    let secret = world.invite(Invitee::User, "otto", 1, 60);
    let caller = world.dial(&key(10)).await;
    assert_eq!(accept(&caller, secret, "too short").await, HubAnswer::Refused(Refusal::WeakPassword));
    assert_eq!(accept(&caller, [9; 16], "too short").await, refused);
    pass(&world, accept(&caller, secret, PASSWORD).await);
    let other = world.dial(&key(11)).await;
    assert_eq!(accept(&other, secret, PASSWORD).await, refused);
    let expired = world.invite(Invitee::User, "eva", 2, 0);
    assert_eq!(accept(&other, expired, PASSWORD).await, refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_invitation_starts_afresh_and_earlier_keys_are_worth_nothing() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let lost = world.join("otto", 10, PASSWORD).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    world.join("otto", 11, "another horse").await;
    agent.take(&mut link).await;
    let keys: Vec<_> = agent.snapshot().users.iter().flat_map(|user| user.keys.clone()).collect();
    assert_eq!(keys, [key(11).public()]);
    assert_eq!(lost.ask(&HubRequest::ListDevices).await, HubAnswer::Refused(Refusal::UnknownKey));
    let answer = lost.login("berg/acme", "otto", PASSWORD, None).await;
    assert_eq!(answer, HubAnswer::Refused(Refusal::Login));
}

pub(crate) fn totp(uri: &str) -> Totp {
    let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    Builder::new().with_secret(secret).build().unwrap()
}

pub(crate) async fn enroll_otp(caller: &Caller, otp: Option<&str>) -> HubAnswer {
    let secret = |text: &str| text.to_owned().try_into().unwrap();
    let request = HubRequest::EnrollOtp {
        account: Text::clean("acme"),
        user: name("otto"),
        password: secret(PASSWORD),
        otp: otp.map(secret),
    };
    caller.ask(&request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_proves_nothing_is_refused_and_not_passed_over() {
    let world = World::with_sample("direct-sales").await;
    let caller = world.join("otto", 10, PASSWORD).await;
    // None are set up.
    let answer = caller.login("acme", "otto", PASSWORD, Some("123456")).await;
    assert_eq!(answer, HubAnswer::Refused(Refusal::NoOneTimeCodes));
    let answer = caller.login("acme", "otto", "another horse", Some("123456")).await;
    assert_eq!(answer, HubAnswer::Refused(Refusal::Login));
    // Handed out, and mistyped the first time.
    let HubAnswer::Otp { uri } = enroll_otp(&caller, None).await else { panic!("refused") };
    let late = totp(&uri).generate(now().as_secs() - 3600).to_string();
    let answer = caller.login("acme", "otto", PASSWORD, Some(&late)).await;
    assert_eq!(answer, HubAnswer::Refused(Refusal::Login));
    let code = totp(&uri).generate(now().as_secs()).to_string();
    let answer = caller.login("acme", "otto", PASSWORD, Some(&code)).await;
    assert_eq!(methods(&pass(&world, answer)), [Method::Password, Method::Totp]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_time_code_is_demanded_once_it_was_used_and_is_good_once() {
    let world = World::with_sample("direct-sales").await;
    let caller = world.join("otto", 10, PASSWORD).await;
    let HubAnswer::Otp { uri } = enroll_otp(&caller, None).await else { panic!("refused") };
    let totp = totp(&uri);
    // A secret that was only handed out demands nothing: its reader may have failed.
    let answer = caller.login("acme", "otto", PASSWORD, None).await;
    assert_eq!(methods(&pass(&world, answer)), [Method::Password]);
    let code = totp.generate(now().as_secs()).to_string();
    let answer = caller.login("acme", "otto", PASSWORD, Some(&code)).await;
    assert_eq!(methods(&pass(&world, answer)), [Method::Password, Method::Totp]);
    // Used once: neither the same code nor none is enough.
    let wrong = HubAnswer::Refused(Refusal::Login);
    assert_eq!(caller.login("acme", "otto", PASSWORD, Some(&code)).await, wrong);
    assert_eq!(caller.login("acme", "otto", PASSWORD, None).await, wrong);
    let next = totp.generate(now().as_secs() + 30).to_string();
    let answer = caller.login("acme", "otto", PASSWORD, Some(&next)).await;
    assert_eq!(methods(&pass(&world, answer)), [Method::Password, Method::Totp]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_one_time_secret_needs_a_code_of_the_present_one() {
    let world = World::with_sample("direct-sales").await;
    let caller = world.join("otto", 10, PASSWORD).await;
    let HubAnswer::Otp { uri } = enroll_otp(&caller, None).await else { panic!("refused") };
    let totp = totp(&uri);
    let code = totp.generate(now().as_secs()).to_string();
    pass(&world, caller.login("acme", "otto", PASSWORD, Some(&code)).await);
    assert_eq!(enroll_otp(&caller, None).await, HubAnswer::Refused(Refusal::Login));
    let next = totp.generate(now().as_secs() + 30).to_string();
    assert!(matches!(enroll_otp(&caller, Some(&next)).await, HubAnswer::Otp { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_belongs_to_one_user() {
    let world = World::with_sample("direct-sales").await;
    let caller = world.join("otto", 10, PASSWORD).await;
    let secret = world.invite(Invitee::User, "eva", 1, 60);
    assert_eq!(accept(&caller, secret, PASSWORD).await, HubAnswer::Refused(Refusal::Login));
    assert_eq!(world.read(|tx| tx.person_of_key(&key(10).public())).unwrap().name, name("otto"));
    assert_eq!(world.read(|tx| tx.person(&name("eva"))).unwrap().password, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_shown_the_devices_that_they_may_use_and_nothing_else() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    world.enroll("press-9", 2).await;
    let listed = |answer: HubAnswer| match answer {
        HubAnswer::Devices(devices) => devices,
        other => panic!("{other:?}"),
    };
    let otto = world.join("otto", 10, PASSWORD).await;
    let _link = agent.link(&world).await;
    eventually(true, || world.read(|tx| tx.device(&name("press-7"))).unwrap().online).await;
    let devices = listed(otto.ask(&HubRequest::ListDevices).await);
    assert_eq!(devices.len(), 1);
    let entry = &devices[0];
    assert_eq!((entry.name.as_str(), entry.account.as_str(), entry.online), ("press-7", "berg/acme", true));
    assert_eq!((entry.key, entry.device), (agent.key.public(), agent.device));
    assert_eq!(entry.addresses, ["127.0.0.1:7441".parse().unwrap()]);
    let ada = world.join("ada", 11, PASSWORD).await;
    assert_eq!(listed(ada.ask(&HubRequest::ListDevices).await), []);
    let eva = world.join("eva", 12, PASSWORD).await;
    let names: Vec<_> = listed(eva.ask(&HubRequest::ListDevices).await).into_iter().map(|d| d.name).collect();
    // Not saw-1: it has no key to be connected with.
    assert_eq!(names, [name("press-7"), name("press-9")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_user_is_refused_on_devices_and_shown_nothing() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let otto = world.join("otto", 10, PASSWORD).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    assert!(!agent.snapshot().users[0].disabled);
    world.publish(|tx| tx.set_disabled(&name("otto"), true).map(drop));
    agent.take(&mut link).await;
    assert!(agent.snapshot().users[0].disabled);
    assert_eq!(otto.ask(&HubRequest::ListDevices).await, HubAnswer::Refused(Refusal::UnknownKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_logged_out_is_on_no_device_any_more() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let otto = world.join("otto", 10, PASSWORD).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    assert_eq!(agent.snapshot().users.len(), 1);
    assert_eq!(otto.ask(&HubRequest::Logout).await, HubAnswer::Done);
    agent.take(&mut link).await;
    assert_eq!(agent.snapshot().users.len(), 0);
    assert_eq!(otto.ask(&HubRequest::Logout).await, HubAnswer::Refused(Refusal::UnknownKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ninth_key_of_a_user_replaces_the_one_that_was_unused_for_longest() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    for seed in 11..18 {
        let caller = world.dial(&key(seed)).await;
        pass(&world, caller.login("acme", "otto", PASSWORD, None).await);
    }
    let later = now().saturating_add(10);
    world.store.write(|tx| tx.register_key(&name("otto"), &key(10).public(), later)).unwrap();
    world.store.write(|tx| tx.register_key(&name("otto"), &key(18).public(), later)).unwrap();
    let roster = world.read(|tx| tx.roster());
    let keys = &roster.users["otto"].keys;
    assert_eq!(keys.len(), 8);
    assert!(keys.contains(&key(10).public()) && keys.contains(&key(18).public()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_knows_the_password_alone_cannot_try_one_time_codes_without_end() {
    let world = World::with_sample("direct-sales").await;
    let caller = world.join("otto", 10, PASSWORD).await;
    let HubAnswer::Otp { uri } = enroll_otp(&caller, None).await else { panic!("refused") };
    let code = totp(&uri).generate(now().as_secs()).to_string();
    pass(&world, caller.login("acme", "otto", PASSWORD, Some(&code)).await);
    // The used code is as good as a wrong one, and cannot happen to be right.
    for _ in 0..5 {
        let answer = caller.login("acme", "otto", PASSWORD, Some(&code)).await;
        assert_eq!(answer, HubAnswer::Refused(Refusal::Login));
    }
    let answer = caller.login("acme", "otto", PASSWORD, Some(&code)).await;
    assert_eq!(answer, HubAnswer::Refused(Refusal::TooMany));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_and_spellings_share_the_attempts_at_one_users_codes() {
    let world = World::with_sample("direct-sales").await;
    let caller = world.join("otto", 10, PASSWORD).await;
    let HubAnswer::Otp { uri } = enroll_otp(&caller, None).await else { panic!("refused") };
    let totp = totp(&uri);
    let code = totp.generate(now().as_secs()).to_string();
    pass(&world, caller.login("acme", "otto", PASSWORD, Some(&code)).await);
    for attempt in 0..10u8 {
        let thief = world.dial(&key(40 + attempt)).await;
        let account = if attempt % 2 == 0 { "acme" } else { "berg/acme" };
        let answer = thief.login(account, "otto", PASSWORD, Some(&code)).await;
        assert_eq!(answer, HubAnswer::Refused(Refusal::Login));
    }
    // Ten attempts an hour are over: the right code is refused, and nothing says that the password is right.
    let next = totp.generate(now().as_secs() + 30).to_string();
    let answer = caller.login("acme", "otto", PASSWORD, Some(&next)).await;
    assert_eq!(answer, HubAnswer::Refused(Refusal::Login));
    let other_spelling = world.dial(&key(60)).await;
    let answer = other_spelling.login("acme", "otto", PASSWORD, None).await;
    assert_eq!(answer, HubAnswer::Refused(Refusal::TooMany));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_with_a_new_key_is_answered_once_devices_that_are_online_know_the_key() {
    let world = World::with_sample("direct-sales").await;
    world.join("otto", 10, PASSWORD).await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    let tablet = world.dial(&key(11)).await;
    let login = tablet.login("acme", "otto", PASSWORD, None);
    let mut login = std::pin::pin!(login);
    // The push is here and the device has not answered it: neither has the hub.
    let offered = tokio::select! {
        biased;
        answer = &mut login => panic!("answered first: {answer:?}"),
        offered = link.offered() => offered,
    };
    let (held, bytes) = offered.unwrap();
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut login).await;
    assert_eq!(early.ok(), None);
    agent.apply(&mut link, held, &bytes).await;
    pass(&world, login.await);
    assert!(agent.snapshot().users[0].keys.contains(&key(11).public()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_waits_for_no_device_that_is_silent_or_away() {
    let world = World::with_sample("direct-sales").await;
    let mut away = world.enroll("press-9", 2).await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = away.link(&world).await;
    away.take(&mut link).await;
    drop(link);
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    // Eva reaches both; the one that is online never answers.
    world.join("eva", 10, PASSWORD).await;
    assert!(link.offered().await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_dies_with_the_user_that_it_was_for() {
    let world = World::with_sample("direct-sales").await;
    let sample = format!("{}/../samples/direct-sales.toml", env!("CARGO_MANIFEST_DIR"));
    let secret = world.invite(Invitee::User, "otto", 1, 60);
    let device = world.invite(Invitee::Device, "press-7", 2, 60);
    world.apply("[account.berg]\ntenant = \"service_provider\"\n");
    // Somebody of the same name is somebody else.
    world.apply(&std::fs::read_to_string(sample).unwrap());
    let caller = world.dial(&key(10)).await;
    assert_eq!(accept(&caller, secret, PASSWORD).await, HubAnswer::Refused(Refusal::Code));
    let sealing = announcement(&key(10));
    let request = HubRequest::Enroll { secret: device, label: Text::clean("router"), sealing };
    assert_eq!(caller.ask(&request).await, HubAnswer::Refused(Refusal::Code));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "an_invited_user_chooses_a_password_and_signs_in_with_a_second_key",
            an_invited_user_chooses_a_password_and_signs_in_with_a_second_key,
        ),
        (
            "whatever_is_wrong_at_login_the_answer_is_the_same",
            whatever_is_wrong_at_login_the_answer_is_the_same,
        ),
        (
            "a_key_that_tries_too_often_has_to_wait_and_another_does_not",
            a_key_that_tries_too_often_has_to_wait_and_another_does_not,
        ),
        ("an_invitation_is_good_once_and_in_its_time", an_invitation_is_good_once_and_in_its_time),
        (
            "a_new_invitation_starts_afresh_and_earlier_keys_are_worth_nothing",
            a_new_invitation_starts_afresh_and_earlier_keys_are_worth_nothing,
        ),
        (
            "a_code_that_proves_nothing_is_refused_and_not_passed_over",
            a_code_that_proves_nothing_is_refused_and_not_passed_over,
        ),
        (
            "a_one_time_code_is_demanded_once_it_was_used_and_is_good_once",
            a_one_time_code_is_demanded_once_it_was_used_and_is_good_once,
        ),
        (
            "a_new_one_time_secret_needs_a_code_of_the_present_one",
            a_new_one_time_secret_needs_a_code_of_the_present_one,
        ),
        ("a_key_belongs_to_one_user", a_key_belongs_to_one_user),
        (
            "users_are_shown_the_devices_that_they_may_use_and_nothing_else",
            users_are_shown_the_devices_that_they_may_use_and_nothing_else,
        ),
        (
            "a_disabled_user_is_refused_on_devices_and_shown_nothing",
            a_disabled_user_is_refused_on_devices_and_shown_nothing,
        ),
        ("a_key_that_logged_out_is_on_no_device_any_more", a_key_that_logged_out_is_on_no_device_any_more),
        (
            "the_ninth_key_of_a_user_replaces_the_one_that_was_unused_for_longest",
            the_ninth_key_of_a_user_replaces_the_one_that_was_unused_for_longest,
        ),
        (
            "whoever_knows_the_password_alone_cannot_try_one_time_codes_without_end",
            whoever_knows_the_password_alone_cannot_try_one_time_codes_without_end,
        ),
        (
            "many_keys_and_spellings_share_the_attempts_at_one_users_codes",
            many_keys_and_spellings_share_the_attempts_at_one_users_codes,
        ),
        (
            "a_sign_in_with_a_new_key_is_answered_once_devices_that_are_online_know_the_key",
            a_sign_in_with_a_new_key_is_answered_once_devices_that_are_online_know_the_key,
        ),
        (
            "a_sign_in_waits_for_no_device_that_is_silent_or_away",
            a_sign_in_waits_for_no_device_that_is_silent_or_away,
        ),
        ("a_code_dies_with_the_user_that_it_was_for", a_code_dies_with_the_user_that_it_was_for),
    ]);
}
