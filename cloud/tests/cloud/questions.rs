//! Commands that answer questions: `explain`, `review` and `roles`, in words and in JSON.

use std::fs;

use serde_json::{Value, json};

use crate::commands::{Cloud, sample};

fn applied(name: &str) -> Cloud {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample(name), "--yes"]);
    cloud
}

fn text(cloud: &Cloud, args: &[&str]) -> String {
    let output = cloud.run(args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// 2026-09-20 and 2026-11-22, noon.
const DURING: &str = "2026-09-20T12:00:00Z";
const AFTER: &str = "2026-11-22T12:00:00Z";

#[test]
fn a_permit_is_explained_link_by_link() {
    let cloud = applied("direct-sales");
    let told = text(&cloud, &["explain", "eva", "press-7", "hmi", "--at", DURING]);
    assert_eq!(
        told,
        "eva may use hmi on press-7 at 2026-09-20T12:00:00Z.\n\
         Not before they sign in: eva has registered no key yet.\n  \
           * eva -> user group `engineers` -> assignment `engineers-everywhere` -> role `engineer` -> category \
         `screen` -> hmi\n    \
             always; holds\n"
    );
}

#[test]
fn a_denial_says_which_part_of_an_intersection_is_missing() {
    let cloud = applied("divisions");
    let told = text(&cloud, &["explain", "lena", "pack-2", "plc", "--at", DURING]);
    assert!(
        told.ends_with(
            "What would have to be true:\n  \
               - assignment `lena-alpha` of role `engineer` contains plc (category `plc-network`), but not here: \
             pack-2 is in device group `packaging` and device group `customer-alpha`, but not in device group \
             `allocated-to-lena`\n  \
               - assign a role that contains plc, in a scope with pack-2: `engineer` (category `plc-network`), \
             `engineer-on-site` (category `plc-network`), `service-technician` with `categories = [\"plc-network\"]`\n"
        ),
        "{told}"
    );
    let json = cloud.json(&["explain", "lena", "pack-2", "plc", "--at", DURING]);
    assert_eq!(json["reason"], "no_grant");
    assert_eq!(
        json["remedies"][0],
        json!({
            "remedy": "widen",
            "origin": { "assignment": { "assignment": "lena-alpha", "role": "engineer", "group": null } },
            "category": "plc-network",
            "inside": [
                { "type": "device_group", "group": "packaging" },
                { "type": "device_group", "group": "customer-alpha" },
            ],
            "outside": [{ "type": "device_group", "group": "allocated-to-lena" }],
        })
    );
}

#[test]
fn of_two_machines_behind_one_device_the_one_that_was_asked_for_is_named() {
    let cloud = applied("sites");
    let told = text(&cloud, &["explain", "jon", "router-west", "labeller.web", "--at", DURING]);
    assert!(
        told.contains(
            "  - assignment `jon-manages-hawthorne` of role `workshop-manager` contains labeller.web (category \
             `web-pages`), but not here: labeller (behind router-west) is not in facility `hawthorne`\n"
        ),
        "{told}"
    );
    assert!(
        told.contains(
            "  - assign a role that contains labeller.web, in a scope with labeller (behind router-west): "
        ),
        "{told}"
    );
    let json = cloud.json(&["explain", "jon", "router-west", "labeller.web"]);
    assert_eq!(json["machine"], "labeller");
    let own = cloud.json(&["explain", "jon", "router-west", "status"]);
    assert_eq!(own["machine"], Value::Null);
}

#[test]
fn a_prohibition_is_told_before_the_grants_that_it_beats() {
    let cloud = applied("divisions");
    let told = text(&cloud, &["explain", "jana", "mill-1", "plc", "--at", DURING]);
    assert!(
        told.contains(
            "  ! entry `jana-not-the-mill` denies category `plc-network` from 2026-09-14T06:00:00Z, until \
             2026-09-28T06:00:00Z and beats every grant\n"
        ),
        "{told}"
    );
    assert!(
        told.ends_with(
            "- entry `jana-not-the-mill` denies it until 2026-09-28T06:00:00Z: wait, or remove the entry\n"
        ),
        "{told}"
    );
    let after = text(&cloud, &["explain", "jana", "mill-1", "plc", "--at", "2026-10-01T00:00:00Z"]);
    assert!(after.starts_with("jana may use plc on mill-1 at 2026-10-01T00:00:00Z.\n"), "{after}");
    assert!(
        after.contains(
            "`plc-network` from 2026-09-14T06:00:00Z, until 2026-09-28T06:00:00Z and is not in force then\n"
        ),
        "{after}"
    );
}

#[test]
fn a_permit_says_when_it_ends_if_that_is_before_its_policy_does() {
    let cloud = applied("divisions");
    let told = text(&cloud, &["explain", "tom", "pack-3", "plc", "--at", "2026-12-30T00:00:00Z"]);
    let expected = "tom may use plc on pack-3 at 2026-12-30T00:00:00Z, until 2026-12-31T23:00:00Z.\n";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn a_case_that_is_missing_is_told_with_those_that_do_not_do() {
    let cloud = applied("sites");
    let told =
        text(&cloud, &["explain", "theo", "router-west", "labeller.hmi", "--at", "2026-09-22T08:00:00Z"]);
    assert!(
        told.ends_with("needs an active shared case of machine labeller: `labeller-paper` is internal\n"),
        "{told}"
    );
    let told =
        text(&cloud, &["explain", "theo", "router-west", "filler.hmi", "--at", "2026-09-22T08:00:00Z"]);
    assert!(told.contains("    by active case `filler-drips`; holds\n"), "{told}");
    let told = text(&cloud, &["explain", "theo", "router-west", "filler.hmi", "--at", AFTER]);
    assert!(
        told.ends_with("case of machine filler: `filler-drips` ended at 2026-09-23T06:00:00Z\n"),
        "{told}"
    );
}

#[test]
fn a_device_that_is_cut_off_opens_what_is_marked_and_says_so() {
    let cloud = applied("direct-sales");
    let told = text(&cloud, &["explain", "otto", "press-7", "hmi", "--at", DURING, "--offline"]);
    assert_eq!(
        told,
        "otto may use hmi on press-7 at 2026-09-20T12:00:00Z while the device is cut off, until 2026-09-27T12:00:00Z.\n\
         Not before they sign in: otto has registered no key yet.\n  \
           * otto -> assignment `otto-press-7` -> role `machine-operator` -> category `screen` -> hmi\n    \
             also for up to 7 days without the cloud; holds\n"
    );
    let told = text(&cloud, &["explain", "eva", "press-7", "hmi", "--at", DURING, "--offline"]);
    assert!(
        told.starts_with(
            "eva may not use hmi on press-7 at 2026-09-20T12:00:00Z while the device is cut off: policy_stale.\n\
             The user is told: the device's policy is out of date; "
        ),
        "{told}"
    );
    assert!(
        told.ends_with(
            "    always; does not hold: policy_stale\n\
             What would have to be true:\n  \
               - press-7 hears from the cloud again: then every grant counts\n  \
               - assignment `engineers-everywhere` of role `engineer` to user group `engineers` does not hold while \
             the device is cut off: set `offline = true` in role `engineer`\n"
        ),
        "{told}"
    );
    let json = cloud.json(&["explain", "eva", "press-7", "hmi", "--at", DURING, "--offline"]);
    assert_eq!((&json["offline"], &json["reason"]), (&json!(true), &json!("policy_stale")));
    assert_eq!(json["freshness"], json!({ "window_s": 900, "offline_s": 604_800 }));
    assert_eq!(json["grants"][0]["offline_ok"], false);
    assert_eq!(json["remedies"][1]["mark"], json!({ "role": "engineer" }));
}

#[test]
fn reviews_and_roles_say_what_holds_without_the_cloud() {
    let cloud = applied("divisions");
    let told = text(&cloud, &["review", "pack-2", "--at", DURING]);
    assert!(
        told.contains("until 2026-10-31T23:00:00Z, also for up to 7 days without the cloud  open\n"),
        "{told}"
    );
    let budgets: Vec<u64> = cloud.json(&["review", "pack-2", "--at", DURING])["review"]["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grant| grant["offline_s"].as_u64().unwrap())
        .collect();
    assert_eq!(budgets, [604_800, 0]);
    let one = text(&cloud, &["roles", "engineer-on-site"]);
    assert!(one.contains("Tunnels: to machine-info, plc-network, also without the cloud\n"), "{one}");
}

#[test]
fn reviews_are_tables_with_conditions_and_state() {
    let cloud = applied("divisions");
    let told = text(&cloud, &["review", "tom", "--at", AFTER]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines[0],
        "tom of titan (not signed in yet) is granted 2 services on 2 devices at 2026-11-22T12:00:00Z."
    );
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(1), "DEVICE SERVICE KIND VIA CATEGORY CONDITIONS STATE");
    assert_eq!(words(2), "pack-2 plc vpn assignment `tom-alpha` -> role `engineer` plc-network always open");
    assert_eq!(
        words(3),
        "pack-3 plc vpn assignment `tom-beta` -> role `engineer` plc-network until 2026-12-31T23:00:00Z open"
    );
    assert!(told.is_ascii(), "{told}");
    let told = text(&cloud, &["review", "mill-1", "--at", DURING]);
    assert!(told.starts_with("mill-1 of titan is granted to 1 user at 2026-09-20T12:00:00Z.\n"), "{told}");
    assert!(told.ends_with("no: denied by entry `jana-not-the-mill` until 2026-09-28T06:00:00Z\n"), "{told}");
    let nothing = text(&cloud, &["review", "vera", "--at", DURING]);
    assert_eq!(
        nothing,
        "vera of titan (not signed in yet) is granted 0 services on 0 devices at 2026-09-20T12:00:00Z.\n"
    );
}

#[test]
fn reviews_in_json_carry_the_reason_as_a_word() {
    let cloud = applied("divisions");
    let review = cloud.json(&["review", "pack-2", "--at", AFTER]);
    let states: Vec<(&Value, &Value, &Value)> = review["review"]["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grant| (&grant["user"], &grant["standing"], &grant["reason"]))
        .collect();
    assert_eq!(
        states,
        [(&json!("jana"), &json!("fails"), &json!("expired")), (&json!("tom"), &json!("open"), &Value::Null),]
    );
    assert_eq!(review["device"], "pack-2");
    assert_eq!(cloud.json(&["review", "jana"])["user"], "jana");
}

#[test]
fn a_name_that_is_nobodys_has_its_code_and_one_that_is_two_things_needs_a_word() {
    let cloud = applied("divisions");
    let unknown = "postern-cloud: there is no user or device `len` in the model; did you mean `lena`?\n";
    assert_eq!(cloud.code(&["review", "len"]), (7, unknown.to_owned()));
    let unknown = "postern-cloud: there is no device `lena` in the model\n";
    assert_eq!(cloud.code(&["review", "lena", "--kind", "device"]), (7, unknown.to_owned()));
    assert_eq!(cloud.code(&["review", "lena", "--kind", "gate"]).0, 2);
    assert_eq!(cloud.code(&["review", "lena", "--at", "tomorrow"]).0, 2);
    assert_eq!(cloud.code(&["review", "../../etc/passwd"]).0, 7);
    for args in [
        &["review", "\u{202e}\u{1b}[2J"][..],
        &["explain", "\u{202e}\u{1b}[2J", "pack-1", "plc"],
        &["roles", "\u{202e}\u{1b}[2J"],
    ] {
        let (code, error) = cloud.code(args);
        assert_eq!(code, 7);
        assert!(error.contains("`\\u{202e}\\u{1b}[2J`"), "{error}");
    }
    let file = cloud.state.with_file_name("twins.toml");
    let twins = fs::read_to_string(sample("divisions")).unwrap() + "\n[device.lena]\naccount = \"titan\"\n";
    fs::write(&file, twins).unwrap();
    cloud.json(&["apply", file.to_str().unwrap(), "--yes"]);
    let ambiguous = "postern-cloud: a user and a device are called `lena`; say which one with `--kind user` or `--kind device`\n";
    assert_eq!(cloud.code(&["review", "lena"]), (2, ambiguous.to_owned()));
    assert_eq!(cloud.json(&["review", "lena", "--kind", "user"])["user"], "lena");
}

#[test]
fn roles_are_listed_with_what_they_open_and_one_with_its_permissions() {
    let cloud = applied("divisions");
    let told = text(&cloud, &["roles"]);
    let line = |role: &str| {
        let line = told.lines().find(|line| line.trim_start().starts_with(role)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("service-technician"),
        "service-technician service_provider to the categories that the assignment names with an active case 14"
    );
    assert_eq!(line("tenant-admin"), "tenant-admin any none - 8");
    assert_eq!(line("engineer"), "engineer service_provider to machine-info, plc-network - 1");
    let one = text(&cloud, &["roles", "division-manager"]);
    assert_eq!(
        one,
        "division-manager, for users of service_provider accounts\nTunnels: none\n\
         Permissions, none of which opens a tunnel by itself:\n  devices.manage\n  users.show\n  users.edit\n  \
         roles.assign\n"
    );
    let unknown = "postern-cloud: there is no role `enginer` in the model; did you mean `engineer`?\n";
    assert_eq!(cloud.code(&["roles", "enginer"]), (7, unknown.to_owned()));
}
