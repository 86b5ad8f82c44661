//! Service cases as people handle them: opened, activated, deactivated and closed by command, on a live device.
//!
//! The maker's technician needs a case. At Acme, Mia opens cases and activates none, Ida activates and opens none that are
//! shared, and Otto does both. The device leads to two machines. Refused replays of older policy are `offline`'s and the protocol's.

use std::time::{Duration, SystemTime};

use postern_tests::world::flow::Flow;
use postern_tests::world::{Done, Mishap, World, in_seconds};
use serde_json::{Value, json};

use super::gate::{DENIED, echoed};
use super::revocation::activation;
use super::stage::{LAB, Outcome, Plant};

/// What `postern-cloud` ends with when something is not permitted, and when there is no such thing.
const FAILED: i32 = 1;
const UNKNOWN: i32 = 7;
pub(super) const INACTIVE: &str = "no service case is active for this machine";
const ENDS: &str = "press.source on press-7 ends in";

fn fleet(plant: &Plant) -> String {
    let (echo, source) = (plant.echo.address.port(), plant.source.address.port());
    format!(
        r#"
[account.maker]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "maker"
[user.tess]
account = "maker"
[user.otto]
account = "acme"
[user.mia]
account = "acme"
[user.ida]
account = "acme"
[user.vera]
account = "acme"
[machine-model.press]
account = "maker"
[machine-model.press.service.echo]
kind = "vpn"
port = {echo}
[machine-model.press.service.source]
kind = "vpn"
port = {source}
[device.press-7]
account = "acme"
[machine.press]
device = "press-7"
model = "press"
address = "127.0.0.1"
[machine.saw]
device = "press-7"
model = "press"
address = "127.0.0.1"
[category.everything]
kinds = ["vpn"]
[role.case-keeper]
tenant = "operating_company"
permissions = ["shared-cases.read", "shared-cases.manage", "shopfloor.read"]
[assignment.tess]
user = "tess"
role = "service-technician"
categories = ["everything"]
scope = {{ device = "press-7" }}
[assignment.otto]
user = "otto"
role = "workshop-manager"
scope = {{ account = "acme" }}
[assignment.mia]
user = "mia"
role = "case-keeper"
scope = {{ account = "acme" }}
[assignment.ida]
user = "ida"
role = "operator-internal-cases"
scope = {{ account = "acme" }}
[assignment.vera]
user = "vera"
role = "tenant-admin"
scope = {{ account = "acme" }}
"#
    )
}

pub(super) async fn start(plant: &Plant) -> Result<World, Mishap> {
    let mut world = World::bare(LAB).await?;
    world.hub.apply(&fleet(plant), &[]).await?;
    world.hub.serve().await?;
    world.enroll().await?;
    world.device.run().await?;
    world.settle().await?;
    Ok(world)
}

/// Runs `postern-cloud case` for somebody.
async fn case(world: &World, by: &str, args: &[&str]) -> Result<Done, Mishap> {
    let args = ["case"].into_iter().chain(args.iter().copied()).chain(["--by", by, "--json"]);
    world.hub.call(args).finish().await
}

async fn done(world: &World, by: &str, args: &[&str]) -> Result<Value, Mishap> {
    let said = case(world, by, args).await?.expect_code(0)?.json()?;
    world.settle().await?;
    Ok(said)
}

async fn state_of(world: &World, by: &str) -> Result<Vec<Value>, Mishap> {
    let listed = case(world, by, &["list"]).await?.expect_code(0)?.json()?;
    Ok(listed["cases"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect())
}

#[tokio::test]
async fn a_case_lets_the_provider_in_while_it_is_active_on_its_machine_and_nowhere_else() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = start(&plant).await?;
    let people = ["tess", "otto", "mia", "ida", "vera"];
    let tess = world.person(people[0]).await?;
    for other in &people[1..] {
        world.person(other).await?;
    }

    // Opened is not activated, and an internal one lets nobody in.
    let opened = done(&world, "mia", &["open", "shared", "--machine", "press", "--reason", "jam"]).await?;
    let name = opened["case"]["case"].as_str().unwrap().to_owned();
    assert!(name.starts_with("acme.case-"), "{name}");
    assert_eq!(opened["case"]["state"], "inactive");
    done(&world, "ida", &["open", "internal", "--machine", "press", "--for", "1h", "--name", "acme.oil"])
        .await?;
    let refused = tess.refused("press.echo").await?.expect_code(DENIED)?;
    assert!(refused.err.contains(INACTIVE), "{}", refused.err);
    // Who opens does not activate; who activates does not open a shared one.
    let refused = case(&world, "mia", &["activate", &name, "--for", "1h"]).await?.expect_code(FAILED)?;
    assert!(refused.err.contains(&format!("case `{name}`")), "{}", refused.err);
    case(&world, "ida", &["open", "shared", "--machine", "press"]).await?.expect_code(FAILED)?;
    assert_eq!(state_of(&world, "mia").await?, ["inactive"]);
    // Nor does who needs the case, who uses what somebody else activates.
    case(&world, "tess", &["activate", &name, "--for", "1h"]).await?.expect_code(FAILED)?;

    let activated = done(&world, "otto", &["activate", &name, "--for", "1h"]).await?;
    assert_eq!(activated["case"]["state"], "active");
    let session = tess.connect("press.source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;
    let other = tess.refused("saw.echo").await?.expect_code(DENIED)?;
    assert!(other.err.contains(INACTIVE), "{}", other.err);

    let printed = world.device.running()?.line_count();
    done(&world, "otto", &["deactivate", &name]).await?;
    let active = activation(&mut world, printed, "a policy came into force").await?;
    let took = flow.end().await?.last_byte.saturating_duration_since(active);
    assert!(took.as_secs() < 1, "the last byte came {took:?} after it took effect");
    session.notice(INACTIVE).await?;
    tess.refused("press.echo").await?.expect_code(DENIED)?;

    done(&world, "otto", &["activate", &name, "--for", "1h"]).await?;
    let session = tess.connect("press.echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"again").await?, b"again");
    done(&world, "otto", &["close", &name]).await?;
    session.notice(INACTIVE).await?;
    assert_eq!(state_of(&world, "mia").await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn a_hidden_case_is_answered_as_an_unknown_one_and_history_says_what_was_before() -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&plant).await?;
    for person in ["otto", "vera", "mia"] {
        world.person(person).await?;
    }
    done(&world, "otto", &["open", "shared", "--machine", "press", "--name", "acme.jam"]).await?;
    let until = "2099-01-01T00:00:00Z";
    let activated = done(&world, "otto", &["activate", "acme.jam", "--until", until]).await?;

    let answer = async |name: &'static str, verb: &'static str| {
        let refused = case(&world, "vera", &[verb, name]).await?.expect_code(UNKNOWN)?;
        Ok::<_, Mishap>(refused.err.replace(name, "NAME"))
    };
    for verb in ["show", "close", "deactivate"] {
        assert_eq!(answer("acme.jam", verb).await?, answer("acme.gap", verb).await?);
    }
    assert_eq!(state_of(&world, "vera").await?, Vec::<Value>::new());
    // A machine that is not there and one that may not be seen are one answer, too.
    let refused =
        case(&world, "mia", &["open", "shared", "--machine", "drill"]).await?.expect_code(FAILED)?;
    assert!(refused.err.contains("drill"), "{}", refused.err);

    let revision = activated["revision"].to_string();
    let shown = world.hub.call(["history", "--revision", &revision]).finish().await?.expect_code(0)?;
    assert!(shown.out.contains("case acme.jam\n  + until = 2099-01-01T00:00:00Z\n"), "{}", shown.out);
    let listed = world.hub.call(["history"]).finish().await?.expect_code(0)?.out;
    let of_otto = listed.lines().any(|line| line.contains(" otto ") && line.contains("put case acme.jam"));
    assert!(of_otto && listed.contains("case activate acme.jam in the name of otto"), "{listed}");
    // Without an end nothing is activated, and none that has passed.
    case(&world, "otto", &["activate", "acme.jam"]).await?.expect_code(2)?;
    case(&world, "otto", &["activate", "acme.jam", "--until", "2020-01-01T00:00:00Z"])
        .await?
        .expect_code(2)?;
    let shown = case(&world, "otto", &["show", "acme.jam"]).await?.expect_code(0)?.json()?;
    assert_eq!(shown["state"], json!("active"));
    Ok(())
}

#[tokio::test]
async fn the_operator_of_the_installation_needs_no_role_and_still_cannot_do_what_cannot_be() -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&plant).await?;
    let tess = world.person("tess").await?;
    let case = async |args: &[&str]| {
        let args = ["case"].into_iter().chain(args.iter().copied()).chain(["--json"]);
        world.hub.call(args).finish().await
    };
    case(&["open", "shared", "--machine", "press", "--name", "acme.jam", "--for", "1h"])
        .await?
        .expect_code(0)?;
    world.settle().await?;
    let session = tess.connect("press.echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"in").await?, b"in");
    let refused = case(&["open", "shared", "--machine", "drill"]).await?.expect_code(FAILED)?;
    assert!(refused.err.contains("drill"), "{}", refused.err);
    let again =
        case(&["open", "internal", "--machine", "saw", "--name", "acme.jam"]).await?.expect_code(FAILED)?;
    assert!(again.err.contains("acme.jam"), "{}", again.err);
    case(&["activate", "acme.gap", "--for", "1h"]).await?.expect_code(UNKNOWN)?;
    // The case of before is as it was, and history says whose word it was.
    let shown = case(&["show", "acme.jam"]).await?.expect_code(0)?.json()?;
    assert_eq!((&shown["visibility"], &shown["state"]), (&json!("shared"), &json!("active")));
    let history = world.hub.call(["history"]).finish().await?.expect_code(0)?.out;
    assert!(history.contains("(operator)") && history.contains("put case acme.jam"), "{history}");
    case(&["close", "acme.jam"]).await?.expect_code(0)?;
    session.notice(INACTIVE).await?;
    Ok(())
}

#[tokio::test]
async fn who_was_warned_and_whose_window_is_prolonged_is_not_warned_again() -> Outcome {
    let plant = Plant::start().await?;
    for prolonged in [true, false] {
        let world = start(&plant).await?;
        world.person("otto").await?;
        let tess = world.person("tess").await?;
        let until = in_seconds(66);
        let end = jiff::Timestamp::try_from(until).expect("a time").to_string();
        let open = ["open", "shared", "--machine", "press", "--name", "acme.jam", "--until", &end];
        done(&world, "otto", &open).await?;
        let session = tess.connect("press.source").await?;
        let flow = Flow::download(&session).await?;
        session.notice(ENDS).await?;
        if prolonged {
            done(&world, "otto", &["activate", "acme.jam", "--for", "1h"]).await?;
        }
        // The condition is the clock itself: a minute before the first end the next warning is due.
        let due = until - Duration::from_secs(57);
        tokio::time::sleep(due.duration_since(SystemTime::now()).unwrap_or_default()).await;
        let warnings = session.log().matches(ENDS).count();
        assert_eq!(warnings, if prolonged { 1 } else { 2 }, "{}", session.log());
        flow.receives(1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_window_ends_on_time_without_the_hub_and_the_technician_was_warned() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = start(&plant).await?;
    world.person("otto").await?;
    let tess = world.person("tess").await?;
    let until = in_seconds(12);
    let end = jiff::Timestamp::try_from(until).expect("a time").to_string();
    done(&world, "otto", &["open", "shared", "--machine", "press", "--until", &end]).await?;
    let session = tess.connect("press.source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;
    world.hub.kill().await?;
    let warned = session.notice(ENDS).await?;
    assert!(warned.text.contains("the company that runs the machine"), "{}", warned.text);
    assert!(!flow.is_over(), "warned too late");

    let last_byte = SystemTime::now() - flow.end().await?.last_byte.elapsed();
    let late = last_byte.duration_since(until).unwrap_or_default();
    assert!(late.as_secs() < 2, "the last byte came {late:?} after the end of the window");
    session.notice(INACTIVE).await?;
    Ok(())
}
