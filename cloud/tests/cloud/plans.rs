//! Commands that change the model or write it down: `diff`, `apply`, `export`, `history` and `account remove`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use crate::commands::{Cloud, sample};

const SAMPLES: [&str; 5] = ["direct-sales", "divisions", "nested-customers", "partner-channel", "sites"];

fn stdout(cloud: &Cloud, args: &[&str]) -> String {
    let output = cloud.run(args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn edited(cloud: &Cloud, name: &str, from: &str, to: &str) -> String {
    let text = fs::read_to_string(sample(name)).unwrap();
    assert!(text.contains(from), "{from}");
    let file = cloud.state.with_file_name("edited.toml");
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_plan_says_for_each_user_what_is_gained_and_lost_under_which_conditions() {
    let cloud = Cloud::founded();
    let told = stdout(&cloud, &["diff", &sample("divisions")]);
    assert!(
        told.contains(
            "3 users gain:\n  \
               jana gains plc on mill-1, from 2026-09-28T06:00:00Z, until 2026-10-31T23:00:00Z, also for up to 7 days without the cloud\n  \
               jana gains plc on mill-1, until 2026-09-14T06:00:00Z, also for up to 7 days without the cloud\n  \
               jana gains plc on pack-2, until 2026-10-31T23:00:00Z, also for up to 7 days without the cloud\n  \
               lena gains plc, web.machine-info on pack-1\n  \
               tom gains plc on pack-2\n  \
               tom gains plc on pack-3, until 2026-12-31T23:00:00Z\n"
        ),
        "{told}"
    );
    cloud.json(&["apply", &sample("divisions"), "--yes"]);
    let shorter = edited(&cloud, "divisions", "until = 2026-12-31T23:00:00Z", "until = 2026-11-30T23:00:00Z");
    let told = stdout(&cloud, &["diff", &shorter]);
    assert!(
        told.contains("1 user loses:\n  tom loses plc on pack-3, until 2026-12-31T23:00:00Z\n"),
        "{told}"
    );
    // Nobody gains: nothing to confirm.
    assert_eq!(cloud.json(&["apply", &shorter])["applied"], true);
}

#[test]
fn what_holds_without_the_cloud_is_a_gain_that_somebody_must_confirm_and_what_does_no_more_is_a_loss() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let marked = edited(&cloud, "direct-sales", "[role.support]\n", "[role.support]\noffline = true\n");
    let (code, plan) = cloud.code(&["apply", &marked]);
    assert_eq!(code, 4);
    assert!(
        plan.contains(
            "1 user gains:\n  sam gains live, web on press-7, also for up to 7 days without the cloud\n  \
             sam gains web on saw-1, also for up to 3 days without the cloud\n"
        ),
        "{plan}"
    );
    assert!(!plan.contains("loses"), "{plan}");
    cloud.json(&["apply", &marked, "--yes"]);
    // Nobody gains: nothing to confirm.
    let told = stdout(&cloud, &["diff", &sample("direct-sales")]);
    assert!(
        told.contains("1 user loses:\n  sam loses live, web on press-7, also for up to 7 days"),
        "{told}"
    );
    assert!(!told.contains("gains"), "{told}");
    assert_eq!(cloud.json(&["apply", &sample("direct-sales")])["applied"], true);
}

#[test]
fn a_longer_window_or_budget_is_a_gain_of_those_whom_it_lets_in_for_longer() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let plan = |from: &str, to: &str| cloud.code(&["apply", &edited(&cloud, "direct-sales", from, to)]);
    // A budget is that of what is marked.
    let (code, told) = plan("offline = \"3d\"", "offline = \"36h\"");
    assert_eq!(code, 0, "{told}");
    let (code, told) = cloud.code(&["apply", &sample("direct-sales")]);
    assert_eq!(code, 4);
    assert!(
        told.contains("1 user gains:\n  bea gains hmi on saw-1, to look only, also for up to 3 days without"),
        "{told}"
    );
    // A window is everybody's.
    let (code, told) = plan("freshness = \"5m\"\noffline = \"3d\"", "freshness = \"2h\"\noffline = \"36h\"");
    assert_eq!(code, 4);
    assert!(
        told.contains(
            "4 users gain:\n  bea gains hmi on saw-1, for 2h after the last word of the cloud, to look only, also for up to 36h \
             without the cloud\n  eva gains hmi on saw-1, for 2h after the last word of the cloud\n"
        ),
        "{told}"
    );
}

#[test]
fn a_service_that_leads_elsewhere_is_told_as_such() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let set = "device.press-7.service.hmi.target=127.0.0.1:5900";
    let told = stdout(&cloud, &["diff", &sample("direct-sales"), "--set", set]);
    assert!(told.contains("3 users gain:\n  eva gains hmi on press-7, at another address\n"), "{told}");
    assert!(told.contains("3 users lose:\n  eva loses hmi on press-7, at another address\n"), "{told}");
}

#[test]
fn a_prohibition_that_goes_is_a_gain_that_somebody_must_confirm_and_one_that_comes_is_not() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("divisions"), "--yes"]);
    let open = edited(
        &cloud,
        "divisions",
        "effect = \"deny\"\ncategory = \"plc-network\"\nscope = { device = \"mill-1\" }",
        "effect = \"deny\"\ncategory = \"plc-network\"\nscope = { device = \"pack-1\" }",
    );
    let (code, plan) = cloud.code(&["apply", &open]);
    assert_eq!(code, 4);
    assert!(plan.contains("1 user gains:\n  jana gains plc on mill-1"), "{plan}");
    assert!(
        plan.ends_with(
            "postern-cloud: this needs a confirmation: look at the plan and run it again with `--yes`; nothing was \
             applied\n"
        ),
        "{plan}"
    );
    cloud.json(&["apply", &open, "--yes"]);
    assert_eq!(cloud.json(&["apply", &sample("divisions")])["applied"], true);
}

#[test]
fn a_case_that_is_activated_is_a_gain_of_those_who_need_one() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("sites"), "--yes"]);
    let active = edited(
        &cloud,
        "sites",
        "[case.oven-noise]\nmachine = \"oven\"\n",
        "[case.oven-noise]\nmachine = \"oven\"\nuntil = 2030-01-01T00:00:00Z\n",
    );
    let (code, plan) = cloud.code(&["apply", &active]);
    assert_eq!(code, 4);
    assert!(
        plan.contains(
            "1 user gains:\n  theo gains oven.hmi on router-east, until 2030-01-01T00:00:00Z, by active case \
             `oven-noise`\n"
        ),
        "{plan}"
    );
}

#[test]
fn an_export_applies_to_no_change_and_founds_the_same_elsewhere() {
    for name in SAMPLES {
        let cloud = Cloud::founded();
        cloud.json(&["apply", &sample(name), "--yes"]);
        let file = cloud.state.with_file_name("export.toml");
        let path = file.to_str().unwrap();
        let written = cloud.json(&["export", "--output", path]);
        assert_eq!(written["revision"], 1, "{name}");
        let again = cloud.json(&["apply", path]);
        assert_eq!(again["applied"], false, "{name}");
        let nothing = json!({ "added": [], "changed": [], "removed": [], "gained": [], "lost": [] });
        assert_eq!(again["diff"], nothing, "{name}");
        let elsewhere = Cloud::founded();
        elsewhere.json(&["apply", path, "--yes"]);
        assert_eq!(stdout(&elsewhere, &["export"]), fs::read_to_string(&file).unwrap(), "{name}");
        assert_eq!(elsewhere.json(&["apply", &sample(name)])["applied"], false, "{name}");
    }
}

#[test]
fn an_export_replaces_no_file_unless_told_to() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("sites"), "--yes"]);
    let file = cloud.state.with_file_name("mine.toml");
    fs::write(&file, "mine").unwrap();
    let path = file.to_str().unwrap();
    let (code, error) = cloud.code(&["export", "--output", path]);
    assert_eq!((code, error), (1, format!("postern-cloud: `{path}` exists; `--force` replaces it\n")));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    cloud.json(&["export", "--output", path, "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), stdout(&cloud, &["export"]));
    assert!(!file.with_extension("toml.new").exists());
    assert_eq!(cloud.code(&["export", "--force"]).0, 2);
    let nowhere = cloud.state.with_file_name("nowhere").join("fleet.toml");
    assert_eq!(cloud.code(&["export", "--output", nowhere.to_str().unwrap()]).0, 1);
}

#[test]
fn the_history_says_who_did_what_newest_first() {
    let cloud = Cloud::founded();
    assert_eq!(cloud.json(&["history"])["revisions"], json!([]));
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    cloud.json(&["user", "disable", "otto"]);
    let history = cloud.json(&["history"]);
    let what: Vec<_> = history["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|revision| (revision["number"].as_i64().unwrap(), revision["what"].as_str().unwrap()))
        .collect();
    assert_eq!(what, [(2, "user disable otto"), (1, "apply")]);
    assert_eq!(history["revisions"][0]["entities"], json!(null));
    assert_eq!(history["revisions"][1]["entities"]["removed"], 0);
    assert_eq!(cloud.json(&["history", "--limit", "1"])["revisions"].as_array().unwrap().len(), 1);
    let told = stdout(&cloud, &["history"]);
    let header: Vec<&str> = told.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["REVISION", "WHEN", "WHO", "WHAT", "ADDED", "CHANGED", "REMOVED"]);
    assert_eq!(cloud.code(&["history", "--limit", "0"]).0, 2);
    assert_eq!(cloud.code(&["history", "--limit", "many"]).0, 2);
}

#[test]
fn who_changed_something_is_named_by_the_environment_or_by_the_system_and_harmlessly() {
    let cloud = Cloud::founded();
    let apply = |environment: &[(&str, &str)]| {
        let mut command = cloud.command(&["apply", &sample("direct-sales"), "--yes"]);
        command.env_remove("SUDO_USER").env_remove("USER").envs(environment.iter().copied());
        assert_eq!(command.output().unwrap().status.code(), Some(0));
        let mut empty = cloud.command(&["apply", "/dev/null", "--yes"]);
        assert_eq!(empty.env("USER", "nobody").output().unwrap().status.code(), Some(0));
        cloud.json(&["history"])["revisions"][1]["who"].as_str().unwrap().to_owned()
    };
    assert_eq!(apply(&[("USER", "anna")]), "anna");
    assert_eq!(apply(&[("USER", "root"), ("SUDO_USER", "anna")]), "anna");
    assert_eq!(apply(&[("USER", "\u{1b}[31manna")]), "\\u{1b}[31manna");
    let owner = fs::metadata(&cloud.state).unwrap().uid();
    assert_eq!(apply(&[]), format!("uid {owner}"));
    assert_eq!(apply(&[("USER", "")]), format!("uid {owner}"));
}

#[test]
fn an_account_goes_after_a_confirmation_and_its_devices_come_back_closed() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let (code, plan) = cloud.code(&["account", "remove", "acme"]);
    assert_eq!(code, 4);
    assert!(
        plan.starts_with(
            "Account acme would be removed.\n  users who are deleted: ada, otto\n  devices that go to berg, closed: \
             press-7, press-9 (`closed = false` in the fleet file opens one)\n"
        ),
        "{plan}"
    );
    let lost = "  otto loses hmi on press-7, also for up to 7 days without the cloud\n";
    assert!(plan.contains(lost), "{plan}");
    assert_eq!(cloud.json(&["account", "remove", "acme", "--dry-run"])["applied"], false);
    assert_eq!(cloud.json(&["status"])["revision"], 1);
    let removed = cloud.json(&["account", "remove", "acme", "--yes"]);
    assert_eq!(removed["applied"], true);
    assert_eq!(removed["change"]["returned"], json!(["press-7", "press-9"]));
    assert_eq!(cloud.json(&["history"])["revisions"][0]["what"], "account remove acme");
    // Engineers who reach everything of the parent do not reach what has just come back.
    let ask = ["explain", "eva", "press-7", "hmi", "--at", "2026-09-20T12:00:00Z"];
    let answer = cloud.json(&ask);
    assert_eq!((&answer["allowed"], &answer["reason"]), (&json!(false), &json!("no_grant")));
    assert_eq!(answer["remedies"][0]["remedy"], "open_device");
    assert_eq!(cloud.code(&["explain", "otto", "press-7", "hmi"]).0, 7);
}

#[test]
fn an_account_that_cannot_go_stays_and_says_why() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("divisions"), "--yes"]);
    let expected = "postern-cloud: account `titan` is nested in no other and still has devices `mill-1`, `pack-1`, \
                    `pack-2`, `pack-3`; remove or move them first\n";
    assert_eq!(cloud.code(&["account", "remove", "titan", "--yes"]), (1, expected.to_owned()));
    let unknown = "postern-cloud: there is no account `titen` in the model; did you mean `titan`?\n";
    assert_eq!(cloud.code(&["account", "remove", "titen", "--yes"]), (7, unknown.to_owned()));
    assert_eq!(cloud.json(&["status"])["revision"], 1);
}

#[test]
fn questions_to_a_state_that_is_missing_have_its_code() {
    let cloud = Cloud::founded();
    fs::remove_file(cloud.state.join("cloud.db")).unwrap();
    for args in [
        &["review", "anna"][..],
        &["roles"],
        &["export"],
        &["history"],
        &["account", "remove", "acme"],
        &["explain", "anna", "d1", "hmi"],
    ] {
        assert_eq!(cloud.code(args).0, 5, "{args:?}");
    }
}
