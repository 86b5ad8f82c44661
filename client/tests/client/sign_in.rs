//! `login`, `logout`, `status` and the files that they leave.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::hub::OTP;
use crate::world::{PASSWORD, World, secret};

#[tokio::test]
async fn an_invitation_signs_in_and_leaves_a_private_profile() {
    let world = World::new().await;
    let code = world.hub.invitation();
    let outcome = world.run_with_input(&["login", &code, "--password-stdin"], PASSWORD).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert!(outcome.stdout.starts_with("signed in as acme/anna until 20"), "{}", outcome.stdout);
    let mode = |name: &str| std::fs::metadata(world.home().join(name)).unwrap().mode() & 0o7777;
    assert_eq!([mode(""), mode("key"), mode("pass"), mode("hub.json")], [0o700, 0o600, 0o600, 0o600]);
    assert_eq!(world.hub.keys(), 1);
}

#[tokio::test]
async fn a_used_code_and_a_mistyped_code_are_told_apart() {
    let world = World::signed_in().await;
    let code = world.hub.invitation();
    let used = world.run_with_input(&["login", &code, "--password-stdin"], PASSWORD).await;
    assert_eq!(
        (used.code, used.stderr.as_str()),
        (10, "postern: the code is unknown, used or expired; ask your administrator for a new code\n")
    );
    let cut = world.run_with_input(&["login", &code[..40], "--password-stdin"], PASSWORD).await;
    assert_eq!(cut.code, 2);
    assert!(cut.stderr.contains("the code is incomplete or mistyped"), "{}", cut.stderr);
}

#[tokio::test]
async fn a_code_can_be_given_where_no_other_program_sees_it() {
    let world = World::new().await;
    let code = world.hub.invitation();
    let input = format!("{code}\n{PASSWORD}");
    let outcome = world.run_with_input(&["login", "-", "--password-stdin"], &input).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let input = format!("{}\n{PASSWORD}", &code[..40]);
    let cut = world.run_with_input(&["login", "-", "--password-stdin"], &input).await;
    assert_eq!(cut.code, 2, "{cut:?}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_the_right_one_signs_in_again() {
    let world = World::signed_in().await;
    let wrong = world.run_with_input(&["login", "--password-stdin"], "not the password").await;
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (
            10,
            "postern: account, user, password or one-time code is wrong; try again; with a second factor also \
             give `--otp`\n"
        )
    );
    let right = world.run_with_input(&["login", "--password-stdin"], PASSWORD).await;
    assert_eq!(right.code, 0, "{right:?}");
}

#[tokio::test]
async fn a_weak_password_can_be_chosen_better_with_the_same_code() {
    let world = World::new().await;
    let code = world.hub.invitation();
    let weak = world.run_with_input(&["login", &code, "--password-stdin"], "short").await;
    assert_eq!(weak.code, 10);
    assert!(weak.stderr.contains("at least 10 characters"), "{}", weak.stderr);
    let better = world.run_with_input(&["login", &code, "--password-stdin"], PASSWORD).await;
    assert_eq!(better.code, 0, "{better:?}");
}

#[tokio::test]
async fn a_one_time_code_is_set_up_and_shows_in_the_status() {
    let world = World::signed_in().await;
    let uri = world.run_with_input(&["login", "--setup-otp", "--password-stdin"], PASSWORD).await;
    assert_eq!((uri.code, uri.stdout.as_str()), (0, "otpauth://totp/acme:anna?secret=ABC\n"));
    let bad = world.run_with_input(&["login", "--otp", "000000", "--password-stdin"], PASSWORD).await;
    assert_eq!(bad.code, 10);
    // As an app shows it, in two groups.
    let otp = format!("{} {}", &OTP[..3], &OTP[3..]);
    let good = world.run_with_input(&["login", "--otp", &otp, "--password-stdin"], PASSWORD).await;
    assert_eq!(good.code, 0, "{good:?}");
    let status = world.run(&["status"]).await;
    assert!(status.stdout.contains("second factor used "), "{}", status.stdout);
}

#[tokio::test]
async fn a_second_computer_signs_in_with_the_hubs_address_and_key() {
    let world = World::new().await;
    let (hub, key) = world.hub.address_and_key();
    let who = ["--hub", &hub, "--hub-key", &key, "--account", "acme", "--user", "anna"];
    let args = [&["login", "--password-stdin"], who.as_slice()].concat();
    let outcome = world.run_with_input(&args, PASSWORD).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

#[tokio::test]
async fn a_hub_of_another_key_is_not_told_the_password() {
    let world = World::new().await;
    let code = world.hub.invite(secret(99).public());
    let outcome = world.run_with_input(&["login", &code, "--password-stdin"], PASSWORD).await;
    assert_eq!(outcome.code, 8);
    assert!(outcome.stderr.contains("do not go on: the peer was replaced"), "{}", outcome.stderr);
    assert_eq!(world.hub.keys(), 0);
}

#[tokio::test]
async fn without_a_sign_in_every_command_says_how_to_sign_in() {
    let world = World::new().await;
    for args in [&["status"][..], &["devices"], &["services", "press-7"], &["connect", "press-7", "hmi"]] {
        let outcome = world.run(args).await;
        let line = "postern: nobody is signed in on this computer; sign in with `postern login`\n";
        assert_eq!((outcome.code, outcome.stderr.as_str()), (3, line), "{args:?}");
    }
    let login = world.run(&["login", "--password-stdin"]).await;
    assert_eq!(login.code, 3);
    assert!(login.stderr.contains("this computer knows no hub yet"), "{}", login.stderr);
}

#[tokio::test]
async fn status_says_who_and_for_how_long_and_whether_the_hub_answers() {
    let world = World::signed_in().await;
    let status = world.run(&["status", "--json"]).await;
    let value: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!((status.code, &value["signed_in"], &value["hub"]), (0, &true.into(), &"reachable".into()));
    assert_eq!((&value["account"], &value["user"]), (&"acme".into(), &"anna".into()));
    assert_eq!(value["second_factor"], serde_json::Value::Null);
    world.hub.stop();
    let away = world.run(&["status"]).await;
    assert_eq!(away.code, 0);
    assert!(away.stdout.contains("hub           not reachable"), "{}", away.stdout);
}

#[tokio::test]
async fn logout_removes_the_key_at_the_hub_and_here() {
    let world = World::signed_in().await;
    let outcome = world.run(&["logout"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "signed out\n"));
    assert_eq!(world.hub.keys(), 0);
    for name in ["key", "pass", "devices.json"] {
        assert!(!world.home().join(name).exists(), "{name} is left");
    }
    assert_eq!(world.run(&["status"]).await.code, 3);
    let again = world.run_with_input(&["login", "--password-stdin"], PASSWORD).await;
    assert_eq!(again.code, 0, "{again:?}");
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
    let world = World::signed_in().await;
    let path = world.home().join("key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = world.run(&["devices"]).await;
    assert_eq!(outcome.code, 7);
    let expected = format!(
        "postern: `{0}` can be reached by others (mode 0644, expected 0600); run `chmod 600 '{0}'`",
        path.display()
    );
    assert!(outcome.stderr.starts_with(&expected), "{}", outcome.stderr);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(world.run(&["devices"]).await.code, 0);
}
