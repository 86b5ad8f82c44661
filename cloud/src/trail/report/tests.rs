use std::collections::BTreeSet;

use postern_protocol::wire::control::AlarmKind;
use postern_protocol::wire::text::Text;
use serde_json::Value;

use super::*;
use crate::model::EntityKind;
use crate::trail::sample::{Sample, applied, at, closed, denied, name, origin, permitted};

/// A provider with two customers, and who may do what; press-7 is beta's at first.
fn fleet(owner: &str) -> String {
    format!(
        r#"
[account.wrench-service]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "wrench-service"
[account.paris]
tenant = "operating_company"
parent = "acme"
[account.beta]
tenant = "operating_company"
parent = "wrench-service"
[user.tina]
account = "wrench-service"
[user.otto]
account = "acme"
[user.odile]
account = "paris"
[user.berta]
account = "beta"
[user-group.night-shift]
account = "wrench-service"
members = ["tina", "otto"]
[user-group.operators]
account = "acme"
members = ["otto"]
[device.press-7]
account = "{owner}"
[device.oven]
account = "paris"
[device.saw]
account = "beta"
[device-group.northern-customers]
account = "wrench-service"
type = "customer"
devices = ["press-7", "saw"]
[category.screens]
kinds = ["vnc"]
[role.golden-support]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["screens"]
[assignment.framework-contract]
user = "tina"
role = "golden-support"
scope = {{ account = "wrench-service", nested = true }}
"#
    )
}

/// press-7 was beta's until 100, and is acme's since.
fn sample() -> Sample {
    let sample = Sample::new();
    sample.apply(1, &fleet("beta"));
    let [tina, otto, odile, berta] = ["tina", "otto", "odile", "berta"].map(|user| sample.user(user));
    sample.write("press-7", 10, applied(1));
    sample.write("press-7", 20, permitted(1, berta, "beta-screen"));
    sample.write("press-7", 21, closed(1));
    sample.apply(100, &fleet("acme"));
    // The device has not heard of it yet.
    sample.write("press-7", 110, permitted(2, berta, "beta-screen"));
    sample.write("press-7", 111, closed(2));
    sample.write("press-7", 120, applied(2));
    sample.write("press-7", 130, permitted(3, otto, "hmi"));
    sample.write("press-7", 131, closed(3));
    let mut by_contract = permitted(4, tina, "hmi");
    if let Event::Permitted { origin: of, .. } = &mut by_contract {
        *of = Some(origin("framework-contract", "golden-support", Some("night-shift")));
    }
    sample.write("press-7", 140, by_contract);
    let by_group = Some(origin("own-rule", "machine-operator", Some("operators")));
    sample.write("press-7", 150, denied(Some(otto), "hmi", by_group));
    sample.write("press-7", 160, denied(Some(berta), "beta-screen", None));
    sample.write("press-7", 170, denied(None, "wrench-service", None));
    let command = Text::clean("secret set wrench-service");
    sample.write("press-7", 180, Event::Control { uid: 0, command });
    let detail = Text::clean("the hub of wrench-service tells two stories");
    sample.write("press-7", 190, Event::Alarm { kind: AlarmKind::Equivocation, detail });
    sample.write("oven", 50, applied(1));
    sample.write("oven", 60, permitted(5, odile, "hmi"));
    sample.write("saw", 60, permitted(6, berta, "hmi"));
    sample
}

fn written(sample: &Sample, company: &str, span: Span) -> (String, Vec<Value>) {
    let mut text = Vec::new();
    let wanted = Report { company: name(company), span };
    let rows = sample.store.read(|tx| report(tx, &wanted, at(1000), &mut text)).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.pop(), Some(serde_json::json!({ "rows": rows })));
    let head = lines.remove(0);
    assert_eq!((&head["postern_report"], &head["account"]), (&Value::from(1), &Value::from(company)));
    assert_eq!(u64::try_from(lines.len()), Ok(rows));
    (text, lines)
}

fn places(lines: &[Value]) -> Vec<(String, u64)> {
    let place = |line: &Value| (line["device"].as_str().unwrap().to_owned(), line["at"].as_u64().unwrap());
    lines.iter().map(place).collect()
}

fn line(lines: &[Value], at: u64) -> &Value {
    lines.iter().find(|line| line["at"] == at).unwrap()
}

/// Every name of the model that is not a company's own.
fn foreign(sample: &Sample, company: &str) -> BTreeSet<String> {
    let model = sample.store.read(|tx| tx.model()).unwrap();
    let own = |account: &Name| model.is_within(account, &name(company));
    let mut names = BTreeSet::new();
    for kind in EntityKind::ALL {
        names.extend(model.names(*kind).into_iter().map(Name::to_string));
    }
    let mut allowed: Vec<&Name> = model.accounts.keys().filter(|account| own(account)).collect();
    allowed.extend(model.users.iter().filter(|(_, user)| own(&user.account)).map(|(name, _)| name));
    allowed.extend(model.devices.iter().filter(|(_, device)| own(&device.account)).map(|(name, _)| name));
    allowed.extend(model.user_groups.iter().filter(|(_, group)| own(&group.account)).map(|(name, _)| name));
    allowed.iter().for_each(|name| {
        names.remove(name.as_str());
    });
    names
}

#[test]
fn a_report_names_nobody_and_nothing_of_another_company() {
    let sample = sample();
    for (company, some_own) in [("acme", "otto"), ("paris", "odile"), ("beta", "berta")] {
        let (text, _) = written(&sample, company, Span::ALWAYS);
        let mut foreign = foreign(&sample, company);
        // It was beta's, under the name that it has still.
        let _known = company == "beta" && foreign.remove("press-7");
        assert!(foreign.contains("wrench-service") && foreign.contains("tina"), "{foreign:?}");
        let found: Vec<&String> = foreign.iter().filter(|name| text.contains(name.as_str())).collect();
        assert_eq!(found, Vec::<&String>::new(), "{text}");
        assert!(text.contains(some_own), "{text}");
    }
    // What was typed, free text, and services of the time before.
    let (text, _) = written(&sample, "acme", Span::ALWAYS);
    assert!(!text.contains("beta") && !text.contains("two stories") && !text.contains("own-rule"), "{text}");
}

#[test]
fn a_report_has_the_rows_of_a_companys_devices_while_they_were_its_own_and_no_other() {
    let sample = sample();
    let (_, acme) = written(&sample, "acme", Span::ALWAYS);
    let rows = |device: &str, times: &[u64]| -> Vec<(String, u64)> {
        times.iter().map(|at| (device.to_owned(), *at)).collect()
    };
    let press = rows("press-7", &[110, 111, 120, 130, 131, 140, 150, 160, 170, 180, 190]);
    let expected: Vec<_> = rows("oven", &[50, 60]).into_iter().chain(press).collect();
    assert_eq!(places(&acme), expected);
    let (_, beta) = written(&sample, "beta", Span::ALWAYS);
    let expected: Vec<_> = rows("press-7", &[10, 20, 21]).into_iter().chain(rows("saw", &[60])).collect();
    assert_eq!(places(&beta), expected);
    let (_, paris) = written(&sample, "paris", Span::ALWAYS);
    assert_eq!(places(&paris), rows("oven", &[50, 60]));
    let (_, some) = written(&sample, "acme", Span { from: at(60), until: at(120) });
    assert_eq!(places(&some), [rows("oven", &[60]), rows("press-7", &[110, 111])].concat());
}

#[test]
fn own_people_are_named_and_others_are_an_opaque_id_and_a_kind_of_company() {
    let sample = sample();
    let (_, lines) = written(&sample, "acme", Span::ALWAYS);
    let (own, provider, former) = (line(&lines, 130), line(&lines, 140), line(&lines, 110));
    assert_eq!((&own["user_name"], &own["company"]), (&Value::from("otto"), &Value::from("own")));
    assert_eq!((&own["service"], &own["peer"]), (&Value::from("hmi"), &Value::from("198.51.100.7:4000")));
    assert_eq!(line(&lines, 131)["user_name"], "otto", "the end of a session is its user's");
    assert_eq!(provider["user"], sample.user("tina").to_string());
    assert_eq!(provider["company"], "service_provider");
    assert_eq!((&provider["user_name"], &provider["peer"]), (&Value::Null, &Value::Null));
    assert_eq!(provider["service"], "hmi", "it is acme's own");
    // The policy of beta was still in force: somebody of another company was in, and that is all.
    assert_eq!((&former["company"], &former["service"]), (&Value::from("operating_company"), &Value::Null));
    assert_eq!(former["event"], "permitted");
}

#[test]
fn of_a_grant_the_built_in_role_and_own_groups_are_told() {
    let (_, lines) = written(&sample(), "acme", Span::ALWAYS);
    let custom = serde_json::json!({ "by": "assignment" });
    assert_eq!(line(&lines, 140)["granted_by"], custom);
    let own = serde_json::json!({ "by": "assignment", "role": "machine-operator", "group": "operators" });
    assert_eq!(line(&lines, 150)["granted_by"], own);
    let built_in = serde_json::json!({ "by": "assignment", "role": "service-technician" });
    assert_eq!(line(&lines, 130)["granted_by"], built_in, "the group is the provider's");
    assert!(lines.iter().all(|line| line["origin"].is_null() && line["link"].is_null()));
}

#[test]
fn what_a_stranger_typed_and_free_text_is_left_out_and_what_was_done_at_the_machine_is_told() {
    let (_, lines) = written(&sample(), "acme", Span::ALWAYS);
    for at in [160, 170] {
        assert_eq!(
            (&line(&lines, at)["service"], &line(&lines, at)["reason"]),
            (&Value::Null, &Value::from("no_grant"))
        );
    }
    assert_eq!(line(&lines, 180)["detail"], "secret set");
    assert_eq!(
        (&line(&lines, 190)["detail"], &line(&lines, 190)["reason"]),
        (&Value::Null, &Value::from("equivocation"))
    );
}

#[test]
fn a_company_without_devices_has_a_report_without_rows() {
    let sample = sample();
    sample.apply(500, &format!("{}\n[account.gamma]\ntenant = \"operating_company\"\n", fleet("acme")));
    assert_eq!(written(&sample, "gamma", Span::ALWAYS).1, Vec::<Value>::new());
}

#[test]
fn reports_from_a_server_are_the_same() {
    crate::store::ground::on_a_server(&[
        a_report_names_nobody_and_nothing_of_another_company,
        a_report_has_the_rows_of_a_companys_devices_while_they_were_its_own_and_no_other,
        own_people_are_named_and_others_are_an_opaque_id_and_a_kind_of_company,
        of_a_grant_the_built_in_role_and_own_groups_are_told,
        what_a_stranger_typed_and_free_text_is_left_out_and_what_was_done_at_the_machine_is_told,
        a_company_without_devices_has_a_report_without_rows,
    ]);
}
