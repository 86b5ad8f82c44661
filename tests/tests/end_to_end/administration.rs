//! What people do themselves about who may what, with their own `postern`: edits of the model, and service cases.
//!
//! The world is that of [`cases`](super::cases): the maker's technician Tess needs a case; at Acme, Mia opens cases and activates
//! none, Ida activates and opens none that are shared, Otto does both, and Vera administrates.

use postern_tests::world::flow::Flow;
use postern_tests::world::{Done, Mishap, Person, World};
use serde_json::{Value, json};

use super::cases::{INACTIVE, start};
use super::gate::{DENIED, echoed};
use super::revocation::activation;
use super::stage::{Outcome, Plant};

/// What `postern` ends with where there is no such device or nothing of the name for somebody, where somebody else was faster, and where it
/// cannot be.
const NO_SUCH_DEVICE: i32 = 11;
const UNKNOWN: i32 = 14;
const OVERTAKEN: i32 = 15;
const UNFIT: i32 = 16;

async fn call(person: &Person, args: &[&str]) -> Result<Done, Mishap> {
    person.call(args.iter().copied()).finish().await
}

async fn done(person: &Person, args: &[&str]) -> Result<Value, Mishap> {
    call(person, &[args, &["--json"]].concat()).await?.expect_code(0)?.json()
}

/// Gives a body on standard input.
async fn give(person: &Person, args: &[&str], body: &Value) -> Result<Done, Mishap> {
    person.call(args.iter().copied()).input(body.to_string()).finish().await
}

async fn states(person: &Person) -> Result<Vec<Value>, Mishap> {
    let listed = done(person, &["case", "list"]).await?;
    Ok(listed["cases"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect())
}

#[tokio::test]
async fn the_machine_s_own_people_let_the_technician_in_by_their_own_command_and_put_them_out() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = start(&plant).await?;
    let (tess, otto) = (world.person("tess").await?, world.person("otto").await?);
    let (mia, ida, vera) =
        (world.person("mia").await?, world.person("ida").await?, world.person("vera").await?);

    let opened = done(&mia, &["case", "open", "shared", "--machine", "press", "--reason", "jam"]).await?;
    let name = opened["case"]["case"].as_str().unwrap().to_owned();
    assert!(name.starts_with("acme.case-"), "{name}");
    assert_eq!(opened["case"]["state"], "inactive");
    let refused = tess.refused("press.echo").await?.expect_code(DENIED)?;
    assert!(refused.err.contains(INACTIVE), "{}", refused.err);

    // Opening, activating and using are three things, and whoever has one of them is told what the others take.
    let activate = ["case", "activate", &name, "--for", "1h"];
    for (person, args, code, words) in [
        (&mia, &activate[..], DENIED, "this needs `remote-access.activate` there"),
        (&tess, &activate, DENIED, "this needs `remote-access.activate` there"),
        (&tess, &["case", "deactivate", &name], 0, "as it was before; nothing was changed"),
        (
            &ida,
            &["case", "open", "shared", "--machine", "press"],
            DENIED,
            "this needs `shared-cases.manage` there",
        ),
        (&ida, &["case", "close", &name], DENIED, "this needs `shared-cases.manage` there"),
        (&vera, &activate, UNKNOWN, "is unknown"),
        (&vera, &["case", "show", &name], UNKNOWN, "is unknown"),
        (&vera, &["case", "close", &name], UNKNOWN, "is unknown"),
        (&mia, &["case", "open", "shared", "--machine", "drill"], UNFIT, "there is no machine `drill`"),
        (&otto, &["case", "activate", &name, "--until", "2020-01-01T00:00:00Z"], UNFIT, "give a later end"),
    ] {
        let refused = call(person, args).await?.expect_code(code)?;
        let said = format!("{}{}", refused.out, refused.err);
        assert!(said.contains(words), "{} {args:?}: {said}", person.name());
    }
    let hidden = call(&vera, &["case", "show", &name]).await?.err.replace(&name, "NAME");
    assert_eq!(hidden, call(&vera, &["case", "show", "acme.gap"]).await?.err.replace("acme.gap", "NAME"));
    assert_eq!(states(&mia).await?, ["inactive"]);
    assert_eq!(states(&vera).await?, Vec::<Value>::new());
    tess.refused("press.echo").await?.expect_code(DENIED)?;

    // Ida activates what Mia opened; the answer comes when the device has it.
    let said = call(&ida, &activate).await?.expect_code(0)?;
    assert!(
        said.out.contains(" is active until ") && said.out.contains("; the device has it"),
        "{}",
        said.out
    );
    assert_eq!(states(&tess).await?, ["active"]);
    let session = tess.connect("press.source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;
    let other = tess.refused("saw.echo").await?.expect_code(DENIED)?;
    assert!(other.err.contains(INACTIVE), "{}", other.err);

    let printed = world.device.running()?.line_count();
    let said = call(&ida, &["case", "deactivate", &name]).await?.expect_code(0)?;
    assert!(said.out.contains("lets nobody in any more; the device has it"), "{}", said.out);
    let active = activation(&mut world, printed, "a policy came into force").await?;
    let took = flow.end().await?.last_byte.saturating_duration_since(active);
    assert!(took.as_secs() < 1, "the last byte came {took:?} after it took effect");
    session.notice(INACTIVE).await?;
    tess.refused("press.echo").await?.expect_code(DENIED)?;

    done(&otto, &activate).await?;
    let session = tess.connect("press.echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"again").await?, b"again");
    done(&otto, &["case", "close", &name]).await?;
    session.notice(INACTIVE).await?;
    assert_eq!(states(&mia).await?, Vec::<Value>::new());
    // Whose word it was stands in the history.
    let history = world.hub.call(["history"]).finish().await?.expect_code(0)?.out;
    for (who, what) in [("mia", "put"), ("ida", "put"), ("otto", "remove")] {
        let line = history.lines().find(|line| line.contains(&format!(" {who} ")));
        assert!(line.is_some_and(|line| line.contains(&format!("{what} case {name}"))), "{history}");
    }
    Ok(())
}

#[tokio::test]
async fn an_administrator_gives_and_takes_access_by_command_and_the_live_tunnel_goes_with_it() -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&plant).await?;
    let (otto, vera) = (world.person("otto").await?, world.person("vera").await?);
    let me = done(&vera, &["admin", "me"]).await?;
    assert_eq!((&me["user"], &me["account"]), (&json!("vera"), &json!("acme")));

    // Otto may use tunnels and has no category; the maker marks one for Acme, whose administrator hands it on.
    otto.refused("press.echo").await?.expect_code(NO_SUCH_DEVICE)?;
    let assignment = json!({
        "user": "otto", "role": "machine-operator", "categories": ["everything"], "scope": { "machine": "press" },
    });
    let create = ["admin", "create", "assignment", "acme.otto-press", "-"];
    let refused = give(&vera, &create, &assignment).await?.expect_code(UNFIT)?;
    assert!(refused.err.contains("there is no category `everything`"), "{}", refused.err);
    let text = world.hub.call(["export"]).finish().await?.expect_code(0)?.out;
    let marked =
        text.replace("[account.acme]\n", "[account.acme]\ndelegable-categories = [\"everything\"]\n");
    assert_ne!(marked, text);
    world.hub.apply(&marked, &[]).await?;
    let made = give(&vera, &create, &assignment).await?.expect_code(0)?;
    assert!(
        made.out.contains("assignment acme.otto-press is made")
            && made.out.ends_with("; the device has it\n"),
        "{}",
        made.out
    );
    let session = otto.connect("press.echo").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"given").await?, b"given");
    otto.refused("saw.echo").await?.expect_code(DENIED)?;
    // Who may not assign roles does not, in words.
    let other = json!({ "user": "otto", "role": "machine-operator", "scope": { "machine": "saw" } });
    let refused = give(&otto, &["admin", "create", "assignment", "acme.otto-saw", "-"], &other).await?;
    assert!(refused.expect_code(DENIED)?.err.contains("this needs `roles.assign` there"));

    // An edit of single keys, from what is there, and none from what was.
    let shown = done(&vera, &["admin", "show", "assignment", "acme.otto-press"]).await?;
    let version = shown["version"].to_string();
    let edit = ["admin", "edit", "assignment", "acme.otto-press", "-"];
    give(&vera, &edit, &json!({ "until": "2099-01-01T00:00:00Z" })).await?.expect_code(0)?;
    let late =
        give(&vera, &[&edit[..], &["--if-version", &version]].concat(), &json!({ "until": null })).await?;
    assert!(late.expect_code(OVERTAKEN)?.err.contains("was changed by somebody else in the meantime"));
    let replaced =
        call(&vera, &["admin", "show", "assignment", "acme.otto-press"]).await?.expect_code(0)?.out;
    assert!(replaced.contains("until = 2099-01-01T00:00:00Z\n"), "{replaced}");
    assert_eq!(echoed(&mut tunnel, b"still").await?, b"still");
    // What is printed is given back.
    let again = otto_given_back(&vera, &replaced).await?;
    assert_eq!(again, "everything was like that before; nothing was changed\n");

    call(&vera, &["admin", "remove", "assignment", "acme.otto-press"]).await?.expect_code(0)?;
    session.notice("your access was withdrawn").await?;
    call(&vera, &["admin", "show", "assignment", "acme.otto-press"]).await?.expect_code(UNKNOWN)?;
    Ok(())
}

async fn otto_given_back(vera: &Person, text: &str) -> Result<String, Mishap> {
    let call = vera.call(["admin", "replace", "assignment", "acme.otto-press", "-"]).input(text.to_owned());
    Ok(call.finish().await?.expect_code(0)?.out)
}

#[tokio::test]
async fn what_is_hidden_is_unknown_a_batch_is_whole_or_nothing_and_nobody_removes_themselves() -> Outcome {
    let plant = Plant::start().await?;
    let world: World = start(&plant).await?;
    let (otto, vera) = (world.person("otto").await?, world.person("vera").await?);
    // Tess is the maker's: for Acme there is nobody of that name.
    for verb in ["show", "remove"] {
        let answer = async |name: &str| {
            let said = call(&vera, &["admin", verb, "user", name]).await?.expect_code(UNKNOWN)?;
            Ok::<_, Mishap>(said.err.replace(name, "NAME"))
        };
        assert_eq!(answer("tess").await?, answer("nobody").await?);
    }
    let listed = done(&vera, &["admin", "list", "user"]).await?;
    let names: Vec<&str> =
        listed["entities"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ida", "mia", "otto", "vera"]);
    // Where somebody only assigns roles, a device has a name and nothing behind it.
    let shown = done(&vera, &["admin", "show", "device", "press-7"]).await?;
    assert_eq!(shown["body"], json!({ "account": "acme" }));

    let remove = |name: &str| json!({ "kind": "assignment", "name": name, "body": null });
    let batch = json!({ "edits": [remove("mia"), remove("tess"), remove("gap")] });
    let refused = give(&vera, &["admin", "batch", "-"], &batch).await?.expect_code(UNFIT)?;
    assert!(
        refused.err.contains("assignment `tess` is unknown\n  assignment `gap` is unknown\n"),
        "{}",
        refused.err
    );
    done(&vera, &["admin", "show", "assignment", "mia"]).await?;
    let batch = json!({ "edits": [remove("mia"), remove("ida")] });
    give(&vera, &["admin", "batch", "-"], &batch).await?.expect_code(0)?;
    call(&vera, &["admin", "show", "assignment", "mia"]).await?.expect_code(UNKNOWN)?;

    let refused = call(&vera, &["admin", "remove", "assignment", "vera"]).await?.expect_code(DENIED)?;
    assert!(refused.err.contains("nobody deletes or demotes themselves"), "{}", refused.err);
    let refused = call(&otto, &["admin", "remove", "device", "press-7"]).await?.expect_code(UNFIT)?;
    assert!(refused.err.contains("there is no device `press-7`"), "{}", refused.err);
    Ok(())
}
