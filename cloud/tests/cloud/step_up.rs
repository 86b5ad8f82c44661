//! A second factor proved again by somebody who is signed in, and everybody else who tries.

use postern_protocol::id::FleetId;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, Factor, Method, Pass, SecretKey};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use totp_rs::Totp;

use crate::peers::{Caller, World, key, name, now};
use crate::sign_in::{PASSWORD, enroll_otp, pass, totp};

fn sealed(answer: &HubAnswer) -> Vec<u8> {
    let HubAnswer::LoggedIn { pass, .. } = answer else { panic!("{answer:?}") };
    pass.clone()
}

async fn step_up(caller: &Caller, pass: &[u8], otp: &str) -> HubAnswer {
    let otp = otp.to_owned().try_into().unwrap();
    caller.ask(&HubRequest::StepUp { pass: pass.to_vec(), otp }).await
}

fn refused(refusal: Refusal) -> HubAnswer {
    HubAnswer::Refused(refusal)
}

/// Otto with one-time codes, signed in with the code of the step before this one.
struct Otto {
    world: World,
    caller: Caller,
    totp: Totp,
    pass: Vec<u8>,
}

impl Otto {
    async fn signed_in() -> Self {
        let world = World::with_sample("direct-sales").await;
        let caller = world.join("otto", 10, PASSWORD).await;
        let HubAnswer::Otp { uri } = enroll_otp(&caller, None).await else { panic!("refused") };
        let totp = totp(&uri);
        let code = totp.generate(now().as_secs() - 30).to_string();
        let pass = sealed(&caller.login("acme", "otto", PASSWORD, Some(&code)).await);
        Self { world, caller, totp, pass }
    }

    /// A code that was not used yet.
    fn code(&self) -> String {
        self.totp.generate(now().as_secs() + 30).to_string()
    }

    /// A pass as only the hub can sign it.
    fn forge(&self, change: impl FnOnce(&mut Pass)) -> Vec<u8> {
        let keys = self.world.keys();
        self.sign(&keys.identity.keys()[0], change)
    }

    /// The pass of the sign-in. Passes count from the second after the invitation was accepted, so this one may begin
    /// a second from now.
    fn read(&self) -> Pass {
        let envelope = Envelope::parse(&self.pass, 1024).unwrap();
        postern_protocol::wire::codec::decode(envelope.payload(), 1024).unwrap()
    }

    fn sign(&self, by: &SecretKey, change: impl FnOnce(&mut Pass)) -> Vec<u8> {
        let mut pass = self.read();
        change(&mut pass);
        Envelope::seal(&pass, &[by]).unwrap()
    }
}

fn earlier(seconds: u64) -> UnixTime {
    UnixTime::from_secs(now().as_secs() - seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_makes_a_pass_with_a_new_second_factor_and_the_old_end() {
    let otto = Otto::signed_in().await;
    // Factors of an hour ago, and an end that is nearer than that of a sign-in now.
    let at = earlier(3600);
    let expires = at.saturating_add(43_200);
    let before = otto.forge(|pass| {
        pass.factors = [Method::Password, Method::Totp].map(|method| Factor { method, at }).to_vec();
        pass.expires = expires;
    });
    let begun = now();
    let after = pass(&otto.world, step_up(&otto.caller, &before, &otto.code()).await);
    assert_eq!((after.key, after.expires), (key(10).public(), expires));
    assert_eq!(after.factors[0], Factor { method: Method::Password, at });
    let Factor { method, at: used } = after.factors[1];
    assert_eq!((method, after.factors.len()), (Method::Totp, 2));
    assert!(used >= begun && used <= now(), "{used} is not now");
    assert_eq!(after.issued, used.max(otto.read().issued));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_of_before_the_invitation_was_accepted_is_not_stepped_up() {
    let otto = Otto::signed_in().await;
    let of = |issued| otto.forge(|pass| (pass.issued, pass.expires) = (issued, now().saturating_add(3600)));
    assert_eq!(step_up(&otto.caller, &of(earlier(60)), &otto.code()).await, refused(Refusal::Pass));
    pass(&otto.world, step_up(&otto.caller, &of(otto.read().issued), &otto.code()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_without_a_code_is_stepped_up_by_the_first_code() {
    let world = World::with_sample("direct-sales").await;
    let caller = world.join("otto", 10, PASSWORD).await;
    let before = sealed(&caller.login("acme", "otto", PASSWORD, None).await);
    assert_eq!(step_up(&caller, &before, "123456").await, refused(Refusal::NoOneTimeCodes));
    let HubAnswer::Otp { uri } = enroll_otp(&caller, None).await else { panic!("refused") };
    let code = totp(&uri).generate(now().as_secs()).to_string();
    let wrong: String = code.chars().map(|digit| if digit == '9' { '0' } else { '9' }).collect();
    assert_eq!(step_up(&caller, &before, &wrong).await, refused(Refusal::OneTimeCode));
    let after = pass(&world, step_up(&caller, &before, &code).await);
    assert_eq!(after.factors.last().unwrap().method, Method::Totp);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_once_here_and_at_sign_in_together() {
    let otto = Otto::signed_in().await;
    let used = otto.totp.generate(now().as_secs() - 30).to_string();
    assert_eq!(step_up(&otto.caller, &otto.pass, &used).await, refused(Refusal::OneTimeCode));
    let code = otto.code();
    let first = step_up(&otto.caller, &otto.pass, &code).await;
    assert_eq!(step_up(&otto.caller, &sealed(&first), &code).await, refused(Refusal::OneTimeCode));
    let login = otto.caller.login("acme", "otto", PASSWORD, Some(&code)).await;
    assert_eq!(login, refused(Refusal::Login));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_ended_or_names_somebody_else_is_not_stepped_up() {
    let otto = Otto::signed_in().await;
    let eva = otto.world.read(|tx| tx.person(&name("eva"))).unwrap().id;
    for (what, pass) in [
        ("ended now", otto.forge(|pass| pass.expires = now())),
        ("of another key", otto.forge(|pass| pass.key = key(11).public())),
        ("of another user", otto.forge(|pass| pass.user = eva)),
        ("of another fleet", otto.forge(|pass| pass.fleet = FleetId::new([9; 8]))),
    ] {
        assert_eq!(step_up(&otto.caller, &pass, &otto.code()).await, refused(Refusal::Pass), "{what}");
    }
    // None of that used the code up.
    pass(&otto.world, step_up(&otto.caller, &otto.pass, &otto.code()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_no_sign_in_gives_is_not_signed_again() {
    let otto = Otto::signed_in().await;
    let of = |issued: UnixTime, seconds| {
        otto.forge(|pass| (pass.issued, pass.expires) = (issued, issued.saturating_add(seconds)))
    };
    // By a stolen identity key; whoever replaces it wants these to be worth nothing from then on.
    for (what, pass) in [
        ("longer than a sign-in", of(otto.read().issued, 43_201)),
        ("of tomorrow", of(now().saturating_add(86_400), 43_200)),
    ] {
        assert_eq!(step_up(&otto.caller, &pass, &otto.code()).await, refused(Refusal::Pass), "{what}");
    }
    pass(&otto.world, step_up(&otto.caller, &of(otto.read().issued, 43_200), &otto.code()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_the_hub_did_not_sign_is_not_stepped_up() {
    let otto = Otto::signed_in().await;
    let keys = otto.world.keys();
    let mut flipped = otto.pass.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    for (what, pass) in [
        ("signed by the policy role", otto.sign(&keys.policy.keys()[0], |_| {})),
        ("signed by its holder", otto.sign(&key(10), |_| {})),
        ("with a wrong signature", flipped),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(step_up(&otto.caller, &pass, &otto.code()).await, refused(Refusal::Pass), "{what}");
    }
    pass(&otto.world, step_up(&otto.caller, &otto.pass, &otto.code()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_nobody_of_a_disabled_or_of_an_invited_user_is_not_known() {
    let otto = Otto::signed_in().await;
    let unknown = refused(Refusal::UnknownKey);
    let stranger = otto.world.dial(&key(20)).await;
    assert_eq!(step_up(&stranger, &otto.pass, &otto.code()).await, unknown);
    // Invited and not accepted: there is no password yet.
    otto.world.store.write(|tx| tx.register_key(&name("eva"), &key(21).public(), now())).unwrap();
    let eva = otto.world.read(|tx| tx.person(&name("eva"))).unwrap().id;
    let invited = otto.forge(|pass| (pass.user, pass.key) = (eva, key(21).public()));
    assert_eq!(step_up(&otto.world.dial(&key(21)).await, &invited, "123456").await, unknown);
    otto.world.store.write(|tx| tx.set_disabled(&name("otto"), true)).unwrap();
    assert_eq!(step_up(&otto.caller, &otto.pass, &otto.code()).await, unknown);
    otto.world.store.write(|tx| tx.set_disabled(&name("otto"), false)).unwrap();
    pass(&otto.world, step_up(&otto.caller, &otto.pass, &otto.code()).await);
    assert_eq!(otto.caller.ask(&HubRequest::Logout).await, HubAnswer::Done);
    assert_eq!(step_up(&otto.caller, &otto.pass, &otto.code()).await, unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_with_those_at_sign_in() {
    let otto = Otto::signed_in().await;
    let used = otto.totp.generate(now().as_secs() - 30).to_string();
    // Two computers of Otto's, with five attempts a minute each.
    let tablet = otto.world.dial(&key(11)).await;
    otto.world.store.write(|tx| tx.register_key(&name("otto"), &key(11).public(), now())).unwrap();
    let of_tablet = otto.forge(|pass| pass.key = key(11).public());
    for (caller, pass) in [(&otto.caller, &otto.pass), (&tablet, &of_tablet)] {
        for _ in 0..5 {
            assert_eq!(step_up(caller, pass, &used).await, refused(Refusal::OneTimeCode));
        }
        assert_eq!(step_up(caller, pass, &otto.code()).await, refused(Refusal::TooMany));
    }
    // The ten attempts of an hour are over for every key, and at sign-in too.
    let third = otto.world.dial(&key(12)).await;
    let login = third.login("acme", "otto", PASSWORD, Some(&otto.code())).await;
    assert_eq!(login, refused(Refusal::Login));
    otto.world.store.write(|tx| tx.register_key(&name("otto"), &key(12).public(), now())).unwrap();
    let of_third = otto.forge(|pass| pass.key = key(12).public());
    assert_eq!(step_up(&third, &of_third, &otto.code()).await, refused(Refusal::TooMany));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_code_makes_a_pass_with_a_new_second_factor_and_the_old_end",
            a_code_makes_a_pass_with_a_new_second_factor_and_the_old_end,
        ),
        (
            "a_pass_of_before_the_invitation_was_accepted_is_not_stepped_up",
            a_pass_of_before_the_invitation_was_accepted_is_not_stepped_up,
        ),
        (
            "a_sign_in_without_a_code_is_stepped_up_by_the_first_code",
            a_sign_in_without_a_code_is_stepped_up_by_the_first_code,
        ),
        (
            "a_code_is_good_once_here_and_at_sign_in_together",
            a_code_is_good_once_here_and_at_sign_in_together,
        ),
        (
            "a_pass_that_ended_or_names_somebody_else_is_not_stepped_up",
            a_pass_that_ended_or_names_somebody_else_is_not_stepped_up,
        ),
        (
            "a_pass_that_no_sign_in_gives_is_not_signed_again",
            a_pass_that_no_sign_in_gives_is_not_signed_again,
        ),
        (
            "a_pass_that_the_hub_did_not_sign_is_not_stepped_up",
            a_pass_that_the_hub_did_not_sign_is_not_stepped_up,
        ),
        (
            "a_key_of_nobody_of_a_disabled_or_of_an_invited_user_is_not_known",
            a_key_of_nobody_of_a_disabled_or_of_an_invited_user_is_not_known,
        ),
        ("guesses_are_counted_with_those_at_sign_in", guesses_are_counted_with_those_at_sign_in),
    ]);
}
