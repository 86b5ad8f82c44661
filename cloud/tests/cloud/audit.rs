//! The trail, read by the program: lists, exports, who has looked, and what is refused.

use std::os::unix::fs::PermissionsExt as _;

use postern_cloud::store::Store;
use postern_protocol::id::UserId;
use postern_protocol::time::UnixTime;
use serde_json::Value;

use crate::commands::{Cloud, sample};
use crate::peers::name;
use crate::trails::{Trails, denied};

/// Nested customers, of whom some were in: Hanna in a pump of A, Anna in the same, Ben refused at one of B's.
fn cloud() -> Cloud {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("nested-customers"), "--yes"]);
    let store = Store::open(&cloud.state.join("cloud.db")).unwrap();
    let id = |user: &str| -> UserId { store.read(|tx| tx.person(&name(user))).unwrap().unwrap().id };
    let mut trails = Trails::of(&store);
    trails.session("pump-a", later(60), id("hanna"), 1);
    trails.session("pump-a", later(120), id("anna"), 2);
    trails.write("pump-b", later(180), denied(id("ben")));
    drop(store);
    cloud
}

/// So many seconds from the apply on.
fn later(secs: u64) -> UnixTime {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    UnixTime::from_secs(now + secs)
}

fn text(cloud: &Cloud, args: &[&str]) -> String {
    let output = cloud.run(args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn seen(listed: &Value) -> Vec<(&str, &str, &str)> {
    let rows = listed["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let word = |key: &str| row[key].as_str().unwrap_or_default();
            (word("device"), word("event"), word("user_name"))
        })
        .collect()
}

#[test]
fn rows_are_listed_with_names_and_filtered_by_each_condition() {
    let cloud = cloud();
    let all = cloud.json(&["audit", "list"]);
    let expected = [
        ("pump-a", "permitted", "hanna"),
        ("pump-a", "closed", "hanna"),
        ("pump-a", "permitted", "anna"),
        ("pump-a", "closed", "anna"),
        ("pump-b", "denied", "ben"),
    ];
    assert_eq!(seen(&all), expected);
    let row = &all["rows"][1];
    assert_eq!(
        (&row["to_client"], &row["service"], &row["verdict"]),
        (&70.into(), &"hmi".into(), &"closed".into())
    );
    assert!(row["user"].as_str().unwrap().starts_with("usr-"));
    let listed = |args: &[&str]| {
        let args: Vec<&str> = ["audit", "list"].iter().chain(args).copied().collect();
        let listed = cloud.json(&args);
        seen(&listed)
            .iter()
            .map(|(device, event, user)| format!("{device} {event} {user}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--user", "anna"]), ["pump-a permitted anna", "pump-a closed anna"]);
    assert_eq!(listed(&["--device", "pump-b"]), ["pump-b denied ben"]);
    assert_eq!(listed(&["--verdict", "denied"]), ["pump-b denied ben"]);
    assert_eq!(listed(&["--service", "hmi", "--limit", "2"]), ["pump-a closed anna", "pump-b denied ben"]);
    assert_eq!(listed(&["--until", "2h"]), Vec::<String>::new());
    assert_eq!(listed(&["--from", "2h", "--user", "ben", "--device", "pump-a"]), Vec::<String>::new());
    assert_eq!(text(&cloud, &["audit", "list", "--until", "2h"]), "no row matches\n");
    let plain = text(&cloud, &["audit", "list", "--user", "ben"]);
    let words: Vec<Vec<&str>> = plain.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["TIME", "DEVICE", "SEQ", "EVENT", "USER", "SERVICE", "REASON", "DETAILS"]);
    assert_eq!(words[1][1..8], ["pump-b", "1", "denied", "ben", "hmi", "no_grant", "from"]);
}

#[test]
fn who_has_left_is_named_and_found_in_the_trail() {
    let cloud = cloud();
    let file = cloud.state.join("smaller.toml");
    let fleet = std::fs::read_to_string(sample("nested-customers")).unwrap();
    let without =
        fleet.replace("[user.anna]\naccount = \"company-a\"\n", "").replace("\"anna\"", "\"hanna\"");
    std::fs::write(&file, without).unwrap();
    cloud.json(&["apply", file.to_str().unwrap(), "--yes"]);
    let listed = text(&cloud, &["audit", "list", "--user", "anna"]);
    assert!(listed.contains("anna (left)"), "{listed}");
    assert_eq!(cloud.json(&["audit", "list", "--user", "anna"])["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn unknown_names_and_words_are_refused_with_the_nearest_one() {
    let cloud = cloud();
    let refused = |args: &[&str]| {
        let args: Vec<&str> = ["audit", "list"].iter().chain(args).copied().collect();
        cloud.code(&args)
    };
    let said = |text: &str| (7, format!("postern-cloud: {text}\n"));
    let user = said("there is no user `hana` in the model; did you mean `hanna`?");
    assert_eq!(refused(&["--user", "hana"]), user);
    let device = said("there is no device `pump-aa` in the model; did you mean `pump-a`?");
    assert_eq!(refused(&["--device", "pump-aa"]), device);
    let service = said("no row of a trail is about a service `hm`; did you mean `hmi`?");
    assert_eq!(refused(&["--service", "hm"]), service);
    for wrong in [["--verdict", "deny"], ["--from", "yesterday"], ["--limit", "0"]] {
        assert_eq!(refused(&wrong).0, 2, "{wrong:?}");
    }
    assert_eq!(cloud.json(&["audit", "readings"])["readings"], serde_json::json!([]), "nothing was read");
}

#[test]
fn every_reading_is_noted_with_who_how_what_and_how_much() {
    let cloud = cloud();
    assert_eq!(text(&cloud, &["audit", "readings"]), "nobody has read of the trail\n");
    let run = |args: &[&str]| {
        let output = cloud.command(args).env("SUDO_USER", "olga").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    };
    run(&["audit", "list", "--user", "hanna", "--from", "2026-01-01T00:00:00Z"]);
    let (trail, report) = (cloud.state.join("pump-a.txt"), cloud.state.join("a.jsonl"));
    run(&["audit", "export", "pump-a", "--output", trail.to_str().unwrap()]);
    run(&["audit", "export", "--account", "company-a", "--output", report.to_str().unwrap()]);
    let readings = cloud.json(&["audit", "readings"]);
    let noted: Vec<_> = readings["readings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let word = |key: &str| one[key].as_str().unwrap().to_owned();
            (word("who"), word("manner"), word("what"), one["rows"].as_u64().unwrap())
        })
        .collect();
    let note = |manner: &str, what: String, rows| ("olga".to_owned(), manner.to_owned(), what, rows);
    let expected = [
        note("report", format!("--account company-a --output {}", report.display()), 4),
        note("export", format!("pump-a --output {}", trail.display()), 4),
        note("list", "--user hanna --from 2026-01-01T00:00:00Z --limit 50".to_owned(), 2),
    ];
    assert_eq!(noted, expected);
    let listed = text(&cloud, &["audit", "readings", "--limit", "1"]);
    assert!(listed.contains("olga") && listed.contains("report") && !listed.contains("hanna"), "{listed}");
}

#[test]
fn a_device_is_exported_whole_into_a_file_that_verifies_and_nobody_else_may_read() {
    let cloud = cloud();
    let file = cloud.state.join("trail.txt");
    let path = file.to_str().unwrap();
    let said = cloud.json(&["audit", "export", "pump-a", "--output", path]);
    assert_eq!(said["rows"], 4);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().filter(|line| line.starts_with("row ")).count(), 4);
    // Again only where it is asked for, and nothing else is left.
    assert_eq!(cloud.code(&["audit", "export", "pump-a", "--output", path]).0, 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), lines);
    cloud.json(&["audit", "export", "pump-a", "--output", path, "--force"]);
    let beside = std::fs::read_dir(&cloud.state).unwrap();
    let left = beside.filter(|one| one.as_ref().unwrap().file_name().to_string_lossy().ends_with(".new"));
    assert_eq!(left.count(), 0);
    // A device without a trail, one that never was, and neither device nor account.
    let nothing = cloud.state.join("nothing.txt");
    let path = nothing.to_str().unwrap();
    let refused = "postern-cloud: device `pump-0` has sent no rows of a trail yet; nothing was written\n";
    assert_eq!(cloud.code(&["audit", "export", "pump-0", "--output", path]), (1, refused.to_owned()));
    assert_eq!(cloud.code(&["audit", "export", "pump-x", "--output", path]).0, 7);
    assert_eq!(cloud.code(&["audit", "export", "--account", "company-x", "--output", path]).0, 7);
    assert_eq!(cloud.code(&["audit", "export", "--output", path]).0, 2);
    assert_eq!(cloud.code(&["audit", "export", "pump-a", "--account", "company-a", "--output", path]).0, 2);
    assert!(!nothing.exists());
}

#[test]
fn a_report_for_a_company_has_its_rows_and_names_nobody_else() {
    let cloud = cloud();
    let file = cloud.state.join("a.jsonl");
    let path = file.to_str().unwrap();
    let said = cloud.json(&["audit", "export", "--account", "company-a", "--output", path]);
    assert_eq!(said["rows"], 4);
    let report = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines[0]["account"].as_str(), lines.last().unwrap()["rows"].as_u64()),
        (Some("company-a"), Some(4))
    );
    assert_eq!((&lines[3]["user_name"], &lines[3]["company"]), (&"anna".into(), &"own".into()));
    assert_eq!((&lines[1]["user_name"], &lines[1]["company"]), (&Value::Null, &"operating_company".into()));
    for foreign in [
        "holding",
        "hanna",
        "heidi",
        "company-b",
        "ben",
        "pump-b",
        "pump-0",
        "technicians",
        "all-down",
        "seer",
    ] {
        assert!(!report.contains(foreign), "{foreign} in {report}");
    }
    // Until before there was anything: the head and the end.
    cloud.json(&["audit", "export", "--account", "company-a", "--output", path, "--force", "--until", "2h"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
}
