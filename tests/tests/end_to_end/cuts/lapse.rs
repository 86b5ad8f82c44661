//! A device that loses its cloud: what is not marked for that ends with the freshness of the policy, what is marked with the budget.
//!
//! 1. Anna's five tunnels and Bert's five carry what they can. Bert's role is marked for work without the cloud.
//! 2. The hub dies. Nothing changes until the window ends, which is counted from the last answer.
//! 3. Anna's tunnels end within a second of that and hers alone; Bert's go on, and end with the budget.
//! 4. The hub is back, and the agent starts anew: the hub gets a receipt for each, nothing is revived, and everything opens anew.

use std::time::{Duration, SystemTime};

use postern_protocol::policy::Reason;
use postern_tests::world::{Fleet, Grant, Running, World};

use super::loaded::{Because, Loaded};
use super::{ALL, LIMIT, Machines, behind_a_relay, live, moment, receipts};
use crate::end_to_end::gate::has;
use crate::end_to_end::revocation::activation;
use crate::end_to_end::stage::{LAB, Outcome};

/// The shortest window that a fleet can have, and a budget in which all is done that is asked of it.
fn fleet(machines: &Machines) -> Fleet {
    let fleet = machines.services(false).of_device("freshness = \"1m\"").of_device("offline = \"30s\"");
    fleet.allow("anna", &ALL).grant(Grant::new("bert", &ALL).offline())
}

async fn lapses(world: &mut World, machines: &Machines, path: &str) -> Outcome {
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    let (plain, marked) = (Loaded::open(machines, &anna).await?, Loaded::open(machines, &bert).await?);
    world.hub.kill().await?;
    let printed = world.device.running()?.line_count();
    let freshness = world.device.status().await?["freshness"].clone();
    assert_eq!((&freshness["state"], &freshness["offline_left_s"]), (&"fresh".into(), &BUDGET_S.into()));
    let lapse = SystemTime::UNIX_EPOCH + Duration::from_secs(freshness["fresh_until"].as_u64().unwrap());

    // The condition is the clock itself, which is also the device's; and a busy machine takes its time.
    tokio::time::sleep_until((moment(lapse) - 15 * LIMIT).into()).await;
    plain.goes_on().await?;
    let active = activation(world, printed, SAID).await?;
    let late = active.saturating_duration_since(moment(lapse));
    assert!(late <= 2 * LIMIT, "time is attested in whole seconds; {late:?} after the end of the window");
    let because = Because { what: "Freshness", reason: STALE, limit: LIMIT, vpns_end: true };
    plain.ended(&because, active).await?.leave().await?;
    marked.goes_on().await?;
    assert_eq!(world.device.status().await?["freshness"]["state"], "stale");

    let printed = world.device.running()?.line_count();
    let spent = activation(world, printed, SAID).await?;
    let lasted = spent.saturating_duration_since(active);
    let budget = Duration::from_secs(BUDGET_S);
    assert!(lasted.abs_diff(budget) <= LIMIT, "the budget of {budget:?} lasted {lasted:?}");
    let cut = marked.ended(&Because { what: "Budget", ..because }, spent).await?;
    assert_eq!(world.device.status().await?["freshness"]["state"], "expired");
    let closed =
        |row: &&serde_json::Value| has(row, "closed") && row["reason"] == STALE.word() && row["path"] == path;
    world.device.audit_until("ten rows", |rows| rows.iter().filter(closed).count() == 10).await?;

    // An agent that was alone for long would ask only now and then.
    world.device.stop().await?;
    world.hub.serve().await?;
    world.device.run().await?;
    for said in receipts(world, 2).await? {
        let seen = (said["because_of"].as_str(), said["tunnels"].as_u64(), said["genuine"].as_bool());
        assert_eq!(seen, (Some("time"), Some(5), Some(true)), "{said}");
        assert!(said["stopped_ms"].as_u64().is_some_and(|ms| ms < 1000), "{said}");
    }
    world.device.status_until("fresh", |status| status["freshness"]["state"] == "fresh").await?;
    assert_eq!(live(world).await?, 0, "freshness revived a tunnel");
    cut.leave().await?;
    Loaded::open(machines, &anna).await?.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_marked_ends_with_the_freshness_of_the_policy_and_what_is_marked_with_the_budget()
-> Outcome {
    let machines = Machines::start().await?;
    let mut world = World::start(LAB, &fleet(&machines)).await?;
    lapses(&mut world, &machines, "direct").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relay_carries_ends_with_the_freshness_of_the_policy_and_with_the_budget_as_well() -> Outcome {
    let machines = Machines::start().await?;
    let mut world = World::start(LAB, &fleet(&machines)).await?;
    // It outlives the hub.
    let _relay: Running = world.relay_apart().await?;
    let _nowhere = behind_a_relay(&mut world).await?;
    lapses(&mut world, &machines, "relayed").await
}

const STALE: Reason = Reason::PolicyStale;
const SAID: &str = "permits ran out";
const BUDGET_S: u64 = 30;
