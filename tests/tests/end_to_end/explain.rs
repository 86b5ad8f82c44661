//! The same question at the device and in the cloud: the same answer, the same grants, the same origins.

use jiff::{SignedDuration, Timestamp};
use postern_tests::world::{DEVICE, World};
use serde_json::{Value, json};

use super::stage::{LAB, Outcome, Plant};

/// What each of anna's services shows, and everything that bert has, which is more than one thing.
const RULES: &str = r#"
[category.echo]
services = ["echo"]
[category.hmi]
services = ["hmi"]
[category.live]
services = ["live"]
[category.sink]
services = ["sink"]
[category.source]
services = ["source"]
[category.web]
services = ["web"]

[role.plain]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["echo", "hmi", "live", "web"]
[role.strict]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["sink"]
second-factor = "8h"
[role.served]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["source"]
needs-case = true

[user-group.crew]
account = "acme"
members = ["anna"]
[device-group.project]
account = "acme"
type = "project"
devices = ["@DEVICE"]
[device-group.project.member.bert]
role = "plain"
until = @END

[assignment.plain]
group = "crew"
role = "plain"
scope = { device = "@DEVICE" }
until = @END
[assignment.strict]
user = "anna"
role = "strict"
scope = { all-of = [{ account = "acme" }, { device-group = "project" }] }
until = @END
[assignment.served]
user = "anna"
role = "served"
scope = { device = "@DEVICE" }
until = @END
[assignment.later]
user = "bert"
role = "strict"
scope = { device = "@DEVICE" }
from = @SOON
until = @END
[assignment.served-bert]
user = "bert"
role = "served"
scope = { account = "acme" }
until = @END

[entry.no-web]
user = "anna"
effect = "deny"
category = "web"
scope = { device = "@DEVICE" }
[entry.not-yet-denied]
user = "bert"
effect = "deny"
service = "hmi"
from = @SOON
[entry.loan]
user = "bert"
effect = "allow"
service = "source"
scope = { device = "@DEVICE" }
until = @PAST
"#;

fn rules(now: Timestamp) -> String {
    let at = |hours: i64| (now + SignedDuration::from_hours(hours)).to_string();
    RULES
        .replace("@DEVICE", DEVICE)
        .replace("@END", &at(72))
        .replace("@SOON", &at(24))
        .replace("@PAST", &at(-24))
}

/// Asks both, and compares everything that both can know.
async fn ask(
    world: &World,
    user: &str,
    service: &str,
    at: Timestamp,
    age_s: Option<u64>,
) -> Result<Value, Box<dyn std::error::Error>> {
    let users = world.hub.call(["user", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
    let rows = users["users"].as_array().unwrap();
    let id = rows.iter().find(|row| row["name"] == user).unwrap()["id"].as_str().unwrap().to_owned();
    let at = at.to_string();
    let age = age_s.map(|age| ["--second-factor-age".to_owned(), format!("{age}s")]);
    let cloud = world.hub.call(["explain", user, DEVICE, service, "--at", &at, "--json"]);
    let cloud = cloud.args(age.iter().flatten()).finish().await?.expect_code(0)?.json()?;
    let device = world.device.call(["--json", "explain", &id, service, "--at", &at]);
    let device = device.args(age.iter().flatten()).finish().await?.json()?;
    assert_eq!(cloud["allowed"], device["permitted"], "{user} {service} {at}: {cloud} {device}");
    for key in ["reason", "until", "grants", "prohibitions"] {
        assert_eq!(cloud[key], device[key], "{user} {service} {at} {key}");
    }
    Ok(cloud)
}

#[tokio::test]
async fn the_device_explains_as_the_cloud_does_for_every_way_to_be_allowed_or_refused() -> Outcome {
    let plant = Plant::start().await?;
    let world = World::start(LAB, &plant.services().allow("anna", &[]).allow("bert", &[])).await?;
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let people = plant.services().allow("anna", &[]).allow("bert", &[]).to_toml();
    world.hub.apply(&format!("{people}\n{}", rules(now)), &[]).await?;
    let (_anna, _bert) = (world.person("anna").await?, world.person("bert").await?);

    let (soon, late) = (now + SignedDuration::from_hours(25), now + SignedDuration::from_hours(73));
    let (fresh, stale) = (Some(3600), Some(9 * 3600));
    let questions: [(&str, &str, Timestamp, Option<u64>, Value); 14] = [
        ("anna", "echo", now, None, Value::Null),
        ("anna", "echo", late, None, json!("expired")),
        ("anna", "web", now, None, json!("no_grant")),
        ("anna", "sink", now, None, json!("second_factor_required")),
        ("anna", "sink", now, stale, json!("second_factor_stale")),
        ("anna", "sink", now, fresh, Value::Null),
        ("anna", "source", now, None, json!("case_inactive")),
        ("bert", "hmi", now, None, Value::Null),
        ("bert", "hmi", soon, None, json!("no_grant")),
        ("bert", "sink", now, fresh, json!("not_yet")),
        ("bert", "sink", soon, fresh, Value::Null),
        // Of two grants that fail, the one that came furthest says why.
        ("bert", "source", now, None, json!("case_inactive")),
        ("bert", "live", late, None, json!("expired")),
        ("anna", "live", now, None, Value::Null),
    ];
    for (user, service, at, age_s, expected) in &questions {
        let answer = ask(&world, user, service, *at, *age_s).await.unwrap();
        assert_eq!(answer["reason"], *expected, "{user} {service} {at}: {answer}");
    }
    let origins = |answer: &Value| answer["grants"].as_array().unwrap().len();
    assert_eq!(origins(&ask(&world, "bert", "source", now, None).await.unwrap()), 2);

    let case = format!("[case.drips]\ndevice = \"{DEVICE}\"\nvisibility = \"shared\"\nuntil = {late}\n");
    world.hub.apply(&format!("{people}\n{}\n{case}", rules(now)), &[]).await?;
    world.settle().await?;
    let served = ask(&world, "anna", "source", now, None).await.unwrap();
    assert_eq!((&served["reason"], &served["grants"][0]["case"]), (&Value::Null, &json!("drips")));

    world.hub.call(["user", "disable", "bert"]).finish().await?.expect_code(0)?;
    world.settle().await?;
    let disabled = ask(&world, "bert", "hmi", now, None).await.unwrap();
    assert_eq!(disabled["reason"], "user_disabled");
    Ok(())
}
