//! Who changed what when, read by the own `postern admin history` and over the API: each company of its own time, and nobody who may not audit.

use postern_tests::world::{Mishap, Person, World};
use serde_json::{Value, json};

use super::gate::DENIED;
use super::stage::{LAB, Outcome};

const FLEET: &str = r#"
[account.maker]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "maker"
[account.bolt]
tenant = "operating_company"
parent = "maker"
[user]
vic = { account = "maker" }
ana = { account = "acme" }
wil = { account = "acme" }
bea = { account = "bolt" }
dora = { account = "maker" }
[device.press-7]
account = "acme"
[assignment]
vic = { user = "vic", role = "data-analyst", scope = { account = "maker", nested = true } }
ana = { user = "ana", role = "data-analyst", scope = { account = "acme" } }
bea = { user = "bea", role = "data-analyst", scope = { account = "bolt" } }
wil = { user = "wil", role = "workshop-manager", scope = { account = "acme" } }
dora = { user = "dora", role = "customer-data-manager", scope = { account = "maker", nested = true } }
"#;

async fn changes(person: &Person) -> Result<Vec<Value>, Mishap> {
    let args = ["admin", "history", "--kind", "device", "--name", "press-7", "--json"];
    let listed = person.call(args).finish().await?.expect_code(0)?.json()?;
    Ok(listed["changes"].as_array().unwrap().clone())
}

fn labels(changes: &[Value]) -> Vec<(&str, Option<&str>)> {
    let label = |one: &Value| one["after"]["label"].as_str().map(str::to_owned);
    changes
        .iter()
        .map(|one| (one["by"].as_str().unwrap_or("-"), label(one).map(|text| &*text.leak())))
        .collect()
}

async fn edit(person: &Person, body: &Value) -> Outcome {
    let call = person.call(["admin", "edit", "device", "press-7", "-"]).input(body.to_string());
    call.finish().await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn a_company_reads_who_changed_its_device_and_not_what_it_was_under_the_company_before() -> Outcome {
    let mut world = World::bare(LAB).await?;
    world.hub.apply(FLEET, &[]).await?;
    world.hub.serve().await?;
    let (vic, ana, bea) = (world.guest("vic").await?, world.guest("ana").await?, world.guest("bea").await?);
    let (wil, dora) = (world.guest("wil").await?, world.guest("dora").await?);
    edit(&wil, &json!({ "label": "Acme's own" })).await?;
    edit(&dora, &json!({ "account": "bolt", "label": "Sold" })).await?;
    edit(&dora, &json!({ "label": "Bolt's own" })).await?;

    assert_eq!(labels(&changes(&ana).await?), [("wil", Some("Acme's own")), ("-", None)]);
    assert_eq!(labels(&changes(&bea).await?), [("-", Some("Bolt's own"))]);
    let all = changes(&vic).await?;
    assert_eq!(
        labels(&all),
        [("dora", Some("Bolt's own")), ("dora", Some("Sold")), ("wil", Some("Acme's own")), ("-", None)]
    );
    assert_eq!((&all[3]["by_operator"], &all[3]["fate"]), (&json!(true), &json!("added")));
    assert_eq!((&all[1]["before"]["account"], &all[1]["after"]["account"]), (&json!("acme"), &json!("bolt")));
    // Nothing else that Bolt reads says whose it was.
    let everything =
        bea.call(["admin", "history", "--limit", "500", "--json"]).finish().await?.expect_code(0)?;
    assert!(!everything.out.contains("acme") && !everything.out.contains("Acme"), "{}", everything.out);
    let table = ana.call(["admin", "history", "--name", "press-7"]).finish().await?.expect_code(0)?.out;
    assert!(
        table.lines().next().unwrap().ends_with("\twil\tdevice\tpress-7\tlabel: - -> Acme's own"),
        "{table}"
    );
    // Page by page it is the same.
    let first =
        ana.call(["admin", "history", "--name", "press-7", "--limit", "1"]).finish().await?.expect_code(0)?;
    let place = first.err.split('`').nth(1).unwrap().trim_start_matches("--after ").to_owned();
    let second = ana
        .call(["admin", "history", "--name", "press-7", "--after", &place])
        .finish()
        .await?
        .expect_code(0)?;
    assert_eq!(format!("{}{}", first.out, second.out), table);

    // Whoever runs the workshop changes it and does not audit; nor do those who administrate customers.
    for person in [&wil, &dora] {
        let refused = person.call(["admin", "history"]).finish().await?.expect_code(DENIED)?;
        assert!(refused.err.contains("this needs `audit.read` there"), "{}", refused.err);
        assert_eq!(refused.out, "");
    }
    Ok(())
}
