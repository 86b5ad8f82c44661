//! Who is asked to join, by the own `postern admin` of whoever may: the code, the role that comes with it, and that it is worth nothing
//! once it was taken back.
//!
//! The world is that of [`cases`](super::cases): Vera administrates Acme, and Otto runs its workshop and is in charge of nobody.

use postern_tests::world::{Done, Mishap, Person, World};
use serde_json::{Value, json};

use super::cases::start;
use super::gate::{DENIED, echoed};
use super::stage::{Outcome, Plant};

/// What `postern` ends with where a code is worth nothing, where there is nothing of the name for somebody, and where it cannot be.
const WORTHLESS: i32 = 10;
const UNKNOWN: i32 = 14;
const UNFIT: i32 = 16;

async fn call(person: &Person, args: &[&str]) -> Result<Done, Mishap> {
    person.call([&["admin"], args].concat()).finish().await
}

async fn done(person: &Person, args: &[&str]) -> Result<Value, Mishap> {
    call(person, &[args, &["--json"]].concat()).await?.expect_code(0)?.json()
}

/// Whom somebody has invited: those whom the operator put into the model have other names.
async fn users(person: &Person) -> Result<Vec<(Value, Value)>, Mishap> {
    let listed = done(person, &["invitations"]).await?;
    let listed = listed["invitations"].as_array().unwrap().iter();
    let invited = listed.filter(|one| one["user"].as_str().unwrap().starts_with("acme."));
    Ok(invited.map(|one| (one["user"].clone(), one["state"].clone())).collect())
}

/// Vera may hand the category on.
async fn mark(world: &World) -> Outcome {
    let text = world.hub.call(["export"]).finish().await?.expect_code(0)?.out;
    let marked =
        text.replace("[account.acme]\n", "[account.acme]\ndelegable-categories = [\"everything\"]\n");
    assert_ne!(marked, text);
    world.hub.apply(&marked, &[]).await?;
    Ok(())
}

#[tokio::test]
async fn whoever_administrates_invites_with_a_role_and_it_holds_once_the_code_is_used_and_not_before()
-> Outcome {
    let plant = Plant::start().await?;
    let world = start(&plant).await?;
    mark(&world).await?;
    let (vera, otto) = (world.person("vera").await?, world.person("otto").await?);
    let jo = world.stranger("acme.jo")?;
    let invite = |user: &'static str, rest: &[&'static str]| [&["invite", user], rest].concat();
    let access: &[&str] = &["--role", "machine-operator", "--scope", "machine=press"];
    let until = ["--category", "everything", "--until", "2099-01-01T00:00:00Z", "--good-for", "2h"];
    let made = done(&vera, &invite("acme.jo", &[access, &until].concat())).await?;
    assert_eq!(
        (&made["user"], &made["account"], &made["mailed"], &made["unsent"]),
        (&json!("acme.jo"), &json!("maker/acme"), &Value::Null, &Value::Null)
    );
    let code = made["code"].as_str().unwrap();
    assert_eq!(users(&vera).await?, [(json!("acme.jo"), json!("open"))]);
    let listed = done(&vera, &["invitations"]).await?;
    assert_eq!(listed["invitations"][0]["by"], "vera");
    jo.login_with_code(code).await?.expect_code(0)?;
    let session = jo.connect("press.echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"joined").await?, b"joined");
    jo.refused("saw.echo").await?.expect_code(DENIED)?;
    let listed = done(&vera, &["list", "assignment"]).await?;
    let ends: Vec<&Value> = listed["entities"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["body"]["user"] == "acme.jo")
        .map(|one| &one["body"]["until"])
        .collect();
    assert_eq!(ends, [&json!("2099-01-01T00:00:00Z")]);
    assert_eq!(users(&vera).await?, []);
    // A code is good once, and whoever has accepted is nobody's to become.
    world.stranger("thief")?.login_with_code(code).await?.expect_code(WORTHLESS)?;
    let refused = call(&vera, &["resend-invite", "acme.jo"]).await?.expect_code(UNFIT)?;
    assert!(refused.err.contains("has accepted an invitation already"), "{}", refused.err);

    // Whoever is in charge of nobody invites nobody, and learns of nobody.
    let refused = call(&otto, &invite("acme.jim", &[])).await?.expect_code(DENIED)?;
    assert!(refused.err.contains("this needs `users.invite` there"), "{}", refused.err);
    assert_eq!(users(&otto).await?, []);
    for verb in ["resend-invite", "revoke-invite"] {
        let answer = async |name: &str| {
            let said = call(&otto, &[verb, name]).await?.expect_code(UNKNOWN)?;
            Ok::<_, Mishap>(said.err.replace(name, "NAME"))
        };
        assert_eq!(answer("vera").await?, answer("nobody").await?);
    }
    // Nobody gives what is not theirs to give.
    let stolen = ["--role", "machine-operator", "--scope", "{ account = \"maker\", nested = true }"];
    let refused = call(&vera, &invite("acme.jim", &stolen)).await?.expect_code(UNFIT)?;
    assert!(refused.err.contains("`maker`"), "{}", refused.err);
    assert_eq!(users(&vera).await?, []);
    Ok(())
}

#[tokio::test]
async fn another_code_and_taking_one_back_make_the_one_before_worth_nothing() -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&plant).await?;
    let vera = world.person("vera").await?;
    let code = |made: &Value| made["code"].as_str().unwrap().to_owned();
    let first = code(&done(&vera, &["invite", "acme.jim"]).await?);
    let said = call(&vera, &["resend-invite", "acme.jim"]).await?.expect_code(0)?;
    let second = said.out.split_whitespace().find(|word| word.starts_with("postern-")).unwrap().to_owned();
    assert!(said.out.starts_with("hand this to acme.jim of maker/acme and to nobody else"), "{}", said.out);
    let jim = world.stranger("acme.jim")?;
    jim.login_with_code(&first).await?.expect_code(WORTHLESS)?;
    let said = call(&vera, &["revoke-invite", "acme.jim"]).await?.expect_code(0)?;
    assert_eq!(said.out, "the code of acme.jim is worth nothing any more; acme.jim stays in the model\n");
    let refused = jim.login_with_code(&second).await?.expect_code(WORTHLESS)?;
    assert_eq!(users(&vera).await?, [(json!("acme.jim"), json!("none"))]);
    for verb in ["revoke-invite", "resend-invite"] {
        let again = call(&vera, &[verb, "acme.jim"]).await?.expect_code(UNKNOWN)?;
        assert!(again.err.contains("has no invitation that somebody could still use"), "{}", again.err);
    }
    let third = code(&done(&vera, &["invite", "acme.jim"]).await?);
    jim.login_with_code(&third).await?.expect_code(0)?;
    // What happened is in the history, as hers, and no code is.
    let history = world.hub.call(["history"]).finish().await?.expect_code(0)?.out;
    for what in ["invitation new acme.jim", "invitation resend acme.jim", "invitation revoke acme.jim"] {
        let line = history.lines().find(|line| line.contains(what));
        assert!(line.is_some_and(|line| line.contains(" vera ")), "{history}");
    }
    assert!(
        ![first, second, third].iter().any(|code| history.contains(code) || world.hub.log().contains(code))
    );
    assert!(refused.err.contains("the code is unknown, used or expired"), "{}", refused.err);
    Ok(())
}
