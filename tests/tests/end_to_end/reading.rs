//! Who was where, read by those whom it concerns: the operator, a company, an auditor, and the people themselves.

use postern_tests::world::{Ending, Mishap, Person, World};
use serde_json::Value;

use super::gate::{DENIED, echoed, has};
use super::stage::{Outcome, Plant};
use super::trail::uploaded;

/// Companies beside the one of the press, each with an analyst; the press's own is Dora.
const OTHERS: &str = r#"
[user.dora]
account = "acme"
[assignment.dora-reads]
user = "dora"
role = "data-analyst"
scope = { account = "acme" }
[account.beta]
tenant = "operating_company"
[user.berta]
account = "beta"
[assignment.berta-reads]
user = "berta"
role = "data-analyst"
scope = { account = "beta" }
"#;

/// A world in which Anna was in, and Bert was refused; the cloud has it all.
async fn lived(plant: &Plant) -> Result<World, Mishap> {
    let world = plant.world().await?;
    world.hub.apply(&fleet(plant, "acme"), &[]).await?;
    world.settle().await?;
    moments_pass(&world).await?;
    let session = world.person("anna").await?.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"x").await?, b"x");
    session.interrupt().await?;
    world.device.audit_until("a closed row", |rows| rows.iter().any(|row| has(row, "closed"))).await?;
    Ok(world)
}

/// Waits until the device's clock has gone on: what happens in the second of a change is of the time after it.
async fn moments_pass(world: &World) -> Outcome {
    let clock = |status: &Value| status["clock"]["now"].as_u64().unwrap_or(0);
    let before = clock(&world.device.status().await?);
    world.device.status_until("two seconds more", |status| clock(status) >= before + 2).await?;
    Ok(())
}

/// The usual cast, beside other companies, and the press in this account.
fn fleet(plant: &Plant, owner: &str) -> String {
    let device = |account: &str| format!("[device.press-7]\naccount = \"{account}\"\n");
    let cast = plant.fleet();
    // Nobody of another company has anything there.
    let cast = if owner == "acme" { cast } else { cast.without_grants_of("anna").without_grants_of("bert") };
    let text = cast.to_toml().replace(&device("acme"), &device(owner));
    format!("{text}{OTHERS}")
}

async fn listed(world: &World, args: &[&str]) -> Result<Vec<Value>, Mishap> {
    let args = ["audit", "list", "--json"].iter().chain(args).copied();
    let answer = world.hub.call(args).finish().await?.expect_code(0)?.json()?;
    Ok(answer["rows"].as_array().cloned().unwrap_or_default())
}

async fn sessions(person: &Person, args: &[&str]) -> Result<Vec<Value>, Mishap> {
    let args = ["sessions", "--json"].iter().chain(args).copied();
    let answer = person.call(args).finish().await?.expect_code(0)?.json()?;
    Ok(answer["sessions"].as_array().cloned().unwrap_or_default())
}

fn words<'a>(rows: &'a [Value], keys: &[&str]) -> Vec<Vec<&'a str>> {
    let word = |row: &'a Value, key: &&str| row[*key].as_str().unwrap_or_default();
    rows.iter().map(|row| keys.iter().map(|key| word(row, key)).collect()).collect()
}

#[tokio::test]
async fn what_people_did_is_found_by_the_operator_by_an_auditor_and_by_themselves_and_by_nobody_else()
-> Outcome {
    let plant = Plant::start().await?;
    let world = lived(&plant).await?;
    let bert = world.person("bert").await?;
    assert_eq!(bert.refused("echo").await?.ending, Ending::Code(DENIED));
    uploaded(&world).await?;
    // The operator, by each condition.
    let of_anna = listed(&world, &["--user", "anna", "--from", "2h"]).await?;
    let seen = words(&of_anna, &["device", "event", "user_name", "service"]);
    let of = |event| ["press-7", event, "anna", "echo"];
    assert_eq!(
        seen,
        [of("permitted"), of("requests"), of("closed")],
        "also what has no name in the row itself"
    );
    let denied = listed(&world, &["--verdict", "denied", "--device", "press-7", "--service", "echo"]).await?;
    assert_eq!(words(&denied, &["user_name", "reason"]), [["bert", "no_grant"]]);
    let unknown = world.hub.call(["audit", "list", "--user", "ana"]).finish().await?.expect_code(7)?;
    assert!(unknown.err.contains("did you mean `anna`?"), "{unknown:?}");
    // The people themselves.
    let anna = world.stranger("anna")?;
    let own = sessions(&anna, &[]).await?;
    assert_eq!(words(&own, &["device", "service", "outcome", "user"]), [["press-7", "echo", "ended", ""]]);
    let own = sessions(&bert, &[]).await?;
    assert_eq!(
        words(&own, &["device", "service", "outcome", "reason"]),
        [["press-7", "echo", "denied", "no_grant"]]
    );
    let refused = anna.call(["sessions", "--all"]).finish().await?.expect_code(DENIED)?;
    assert!(refused.err.contains("`audit.read`"), "{refused:?}");
    // Those who may audit the company, and those who may audit another.
    let (dora, berta) = (world.person("dora").await?, world.person("berta").await?);
    let all = sessions(&dora, &["--all"]).await?;
    assert_eq!(words(&all, &["user", "outcome"]), [["anna", "ended"], ["bert", "denied"]]);
    assert_eq!(words(&sessions(&dora, &["--user", "bert"]).await?, &["user"]), [["bert"]]);
    for args in [
        &["--all"][..],
        &["--all", "--device", "press-7"],
        &["--all", "--device", "nowhere"],
        &["--user", "anna"],
    ] {
        assert_eq!(sessions(&berta, args).await?, Vec::<Value>::new(), "{args:?}");
    }
    let readings = world.hub.call(["audit", "readings", "--json"]).finish().await?.expect_code(0)?.json()?;
    let noted = readings["readings"].as_array().cloned().unwrap_or_default();
    let by_users: Vec<_> = noted.iter().filter(|one| one["manner"] == "sessions").cloned().collect();
    let by_dora = words(&by_users, &["who", "what"]).split_off(4);
    assert_eq!(by_dora, [["acme/dora", "--user bert"], ["acme/dora", "--all"]], "the newest first");
    assert_eq!(noted.iter().filter(|one| one["manner"] == "list").count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_device_that_changes_hands_is_told_of_to_each_company_for_its_time_and_without_names_of_the_other()
-> Outcome {
    let plant = Plant::start().await?;
    let world = lived(&plant).await?;
    moments_pass(&world).await?;
    world.hub.apply(&fleet(&plant, "beta"), &[]).await?;
    world.settle().await?;
    moments_pass(&world).await?;
    let refused = world.stranger("anna")?.refused("echo").await?;
    assert_ne!(refused.ending, Ending::Code(0));
    uploaded(&world).await?;
    let mut reports = Vec::new();
    for company in ["acme", "beta"] {
        let path = world.dir().join(format!("{company}.jsonl"));
        let file = path.to_str().unwrap_or_default();
        world
            .hub
            .call(["audit", "export", "--account", company, "--output", file])
            .finish()
            .await?
            .expect_code(0)?;
        reports.push(std::fs::read_to_string(&path)?);
    }
    let (acme, beta) = (&reports[0], &reports[1]);
    assert!(acme.contains("\"user_name\":\"anna\"") && acme.contains("\"closed\""), "{acme}");
    for foreign in ["anna", "bert\"", "acme", "dora", "echo", "anna-0", "bert-1"] {
        assert!(!beta.contains(foreign), "{foreign} in {beta}");
    }
    for foreign in ["berta", "beta"] {
        assert!(!acme.contains(foreign), "{foreign} in {acme}");
    }
    assert!(beta.contains("\"policy_applied\""), "the press has told of its new policy: {beta}");
    let ends = |report: &str| report.lines().last().is_some_and(|line| line.starts_with("{\"rows\":"));
    assert!(ends(acme) && ends(beta));
    // Everything is in the file that verifies, and nothing is missing there.
    let whole = world.dir().join("press-7.trail");
    let file = whole.to_str().unwrap_or_default();
    world.hub.call(["audit", "export", "press-7", "--output", file]).finish().await?.expect_code(0)?;
    let verified =
        world.hub.call(["audit", "verify", file, "--json"]).finish().await?.expect_code(0)?.json()?;
    let rows = listed(&world, &["--limit", "1000"]).await?.len();
    assert_eq!(verified["rows"].as_u64(), u64::try_from(rows).ok());
    Ok(())
}
