//! Access that somebody of the machine's own company must approve: asked for, waited for, given, refused, over.

use std::time::Duration;

use postern_tests::world::{Ending, Mishap, Person, Session, World};
use serde_json::Value;
use tokio::time::Instant;

use super::gate::{DENIED, echoed};
use super::stage::{LAB, Outcome, Plant};
use super::step_up::{Cut, cut};

/// What `postern` ends with when a request was left.
const WAITING: i32 = 13;
const WHY: &str = "pump P3 is leaking";

/// The press belongs to a plant inside of the provider's account. Anna and Bert are the provider's and wait for the plant; Olga and Otto
/// are the plant's and may activate remote access there.
async fn world(plant: &Plant) -> Result<World, Mishap> {
    world_with(plant, &[]).await
}

/// The same with some values of the fleet file set to others.
pub(crate) async fn world_with(plant: &Plant, set: &[String]) -> Result<World, Mishap> {
    let fleet = plant.services().allow("anna", &["echo"]).allow("bert", &["echo"]);
    let world = World::start(LAB, &fleet).await?;
    let company = "\n[account.plant]\ntenant = \"operating_company\"\nparent = \"acme\"\n\
                   [user.olga]\naccount = \"plant\"\n[user.otto]\naccount = \"plant\"\n\
                   [user-group.shift]\naccount = \"plant\"\nmembers = [\"olga\", \"otto\"]\n\
                   [assignment.shift]\ngroup = \"shift\"\nrole = \"operator-internal-cases\"\nscope = { account = \"plant\" }\n";
    let text = fleet
        .to_toml()
        .replace("[device.press-7]\naccount = \"acme\"", "[device.press-7]\naccount = \"plant\"");
    let demanding = "scope = { device = \"press-7\" }\n";
    assert_eq!(text.matches(demanding).count(), 2, "{text}");
    let text = text.replace(demanding, &format!("{demanding}needs-approval = true\n"));
    world.hub.apply(&format!("{text}{company}"), set).await?;
    world.settle().await?;
    Ok(world)
}

/// What somebody sees of requests.
async fn seen(person: &Person) -> Result<Vec<Value>, Mishap> {
    let listed = person.call(["approvals", "--json"]).finish().await?.expect_code(0)?.json()?;
    Ok(listed["approvals"].as_array().unwrap().clone())
}

/// The one request that somebody sees.
async fn id(person: &Person) -> Result<String, Mishap> {
    let seen = seen(person).await?;
    assert_eq!(seen.len(), 1, "{seen:?}");
    Ok(seen[0]["id"].as_str().unwrap().to_owned())
}

/// Asks for the service without waiting.
pub(crate) async fn ask(person: &Person) -> Result<String, Mishap> {
    let call = person.call(["connect", "press-7", "echo", "--reason", WHY, "--no-wait"]);
    let left = call.finish().await?.expect_code(WAITING)?;
    assert!(
        left.err.contains("opens when somebody of acme/plant who may activate remote access"),
        "{}",
        left.err
    );
    assert!(!left.err.contains("olga") && !left.err.contains("otto"), "{}", left.err);
    id(person).await
}

async fn at_work(session: &Session) -> Outcome {
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"at work").await?, b"at work");
    Ok(())
}

#[tokio::test]
async fn who_waits_is_let_in_when_a_colleague_of_the_machine_s_company_approves_and_put_out_when_that_is_revoked()
-> Outcome {
    let plant = Plant::start().await?;
    let world = world(&plant).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    let (olga, otto) = (world.person("olga").await?, world.person("otto").await?);

    // Anna's command waits; what it needs is known, and who could give it is not.
    let waiting = tokio::spawn({
        let call = anna.call(["connect", "press-7", "echo", "--reason", WHY, "--json"]);
        async move {
            let running = call.start("anna")?;
            running.line("that it waits", |line| line.text.contains("your request is apr-")).await?;
            Ok::<_, Mishap>(running)
        }
    });
    let running = waiting.await.unwrap()?;
    let request = id(&anna).await?;
    let of_olga = seen(&olga).await?;
    assert_eq!((&of_olga[0]["who"], &of_olga[0]["why"]), (&"acme/anna".into(), &WHY.into()));
    assert_eq!((&of_olga[0]["may_decide"], &of_olga[0]["state"]), (&true.into(), &"pending".into()));
    // Neither who asks nor the provider's people decide, and they are told nothing.
    for person in [&anna, &bert] {
        let refused = person.call(["approve", &request]).finish().await?.expect_code(DENIED)?;
        assert!(
            refused.err.starts_with("postern: there is no such request that you may decide;"),
            "{}",
            refused.err
        );
    }
    assert_eq!(seen(&bert).await?, Vec::<Value>::new());

    let said = olga.call(["approve", &request, "--for", "30m"]).finish().await?.expect_code(0)?;
    assert!(said.out.starts_with("acme/anna may use press-7/echo until "), "{}", said.out);
    running.line("a URL", |line| line.text.contains("://")).await?;
    // The same once more, while the first runs: nothing is asked again.
    let session = anna.connect("echo").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"let in").await?, b"let in");
    // Bert has a grant of the same service, and nobody approved that.
    let other = ask(&bert).await?;
    assert_ne!(other, request);

    otto.call(["revoke", &request, "--reason", "shift is over"]).finish().await?.expect_code(0)?;
    assert_eq!(cut(&mut tunnel).await?, Cut);
    session.notice("your access waits for approval").await?;
    assert_eq!(seen(&anna).await?[0]["state"], "revoked");
    // Revoked is revoked.
    olga.call(["approve", &request]).finish().await?.expect_code(DENIED)?;
    Ok(())
}

#[tokio::test]
async fn who_is_rejected_is_told_why_and_a_request_is_left_by_ctrl_c_and_found_again() -> Outcome {
    let plant = Plant::start().await?;
    let world = world(&plant).await?;
    let (anna, olga) = (world.person("anna").await?, world.person("olga").await?);
    // A program says why, or nothing is asked.
    let silent = anna.refused("echo").await?.expect_code(2)?;
    assert!(silent.err.contains("say it with `--reason TEXT`"), "{}", silent.err);
    assert_eq!(seen(&anna).await?, Vec::<Value>::new());

    let request = ask(&anna).await?;
    let call = || anna.call(["connect", "press-7", "echo", "--reason", "another", "--json"]);
    let mut left = call().start("anna, who leaves")?;
    left.line("the same request", |line| line.text.contains(&request)).await?;
    left.signal(rustix::process::Signal::INT);
    assert_eq!(left.ended().await?, Ending::Code(WAITING));

    let mut waiting = call().start("anna, who waits")?;
    waiting.line("the same request", |line| line.text.contains(&request)).await?;
    olga.call(["reject", &request, "--reason", "not during the shift"]).finish().await?.expect_code(0)?;
    waiting
        .line("the answer", |line| line.text.contains("your request was rejected: not during the shift"))
        .await?;
    assert_eq!(waiting.ended().await?, Ending::Code(DENIED));
    // What was rejected opens nothing, and the next request is another one.
    let call = anna.call(["connect", "press-7", "echo", "--reason", WHY, "--no-wait"]);
    call.finish().await?.expect_code(WAITING)?;
    let states: Vec<String> =
        seen(&anna).await?.iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["pending", "rejected"]);
    Ok(())
}

#[tokio::test]
async fn an_approval_ends_a_live_tunnel_on_time_while_the_cloud_is_down() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = world(&plant).await?;
    let anna = world.person("anna").await?;
    // Somebody could approve; here the operator of the installation does.
    world.person("olga").await?;
    let request = ask(&anna).await?;
    let asked = Instant::now();
    let approve = ["approval", "approve", request.as_str(), "--for", "6s"];
    world.hub.call(approve).finish().await?.expect_code(0)?;
    world.settle().await?;
    let session = anna.connect("echo").await?;
    at_work(&session).await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"approved").await?, b"approved");
    world.hub.stop().await?;
    assert_eq!(cut(&mut tunnel).await?, Cut);
    let lasted = asked.elapsed();
    assert!(lasted >= Duration::from_secs(5) && lasted < Duration::from_secs(9), "{lasted:?}");
    session.notice("your access waits for approval").await?;
    Ok(())
}
