//! The program from the outside: output, exit codes, and two processes on one state directory.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use postern_protocol::wire::invitation::{Invitation, Invitee};
use serde_json::Value;

pub(crate) struct Cloud {
    pub(crate) state: PathBuf,
    _directory: tempfile::TempDir,
}

pub(crate) fn sample(name: &str) -> String {
    format!("{}/../samples/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

impl Cloud {
    fn nowhere() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { state: directory.path().join("cloud"), _directory: directory }
    }

    pub(crate) fn founded() -> Self {
        let cloud = Self::nowhere();
        let output = cloud.run(&["init", "--listen", "127.0.0.1:7440"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        cloud
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern-cloud"));
        command.arg("--state").arg(&self.state).args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn code(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = ["--json"].into_iter().chain(args.iter().copied()).collect();
        let output = self.run(&args);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn serve(&self) -> (Serving, String) {
        let mut child =
            self.command(&["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Serving(child), line)
    }
}

/// A hub that does not outlive its test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn usage_errors_and_a_missing_installation_have_their_codes() {
    let cloud = Cloud::nowhere();
    assert_eq!(cloud.code(&["frobnicate"]).0, 2);
    assert_eq!(cloud.code(&["--help"]).0, 0);
    assert_eq!(cloud.code(&["init", "--listen", "0.0.0.0:7440"]).0, 2);
    let (code, error) = cloud.code(&["status"]);
    let expected = format!(
        "postern-cloud: `{}` does not exist; `postern-cloud init` makes it\n",
        cloud.state.join("cloud.db").display()
    );
    assert_eq!((code, error), (5, expected));
}

#[test]
fn an_installation_is_never_founded_twice() {
    let cloud = Cloud::founded();
    assert_eq!(cloud.code(&["init", "--listen", "127.0.0.1:7440"]).0, 5);
    assert_eq!(cloud.code(&["status"]).0, 0);
}

#[test]
fn a_plan_with_gains_needs_a_confirmation_and_is_applied_once() {
    let cloud = Cloud::founded();
    let fleet = sample("direct-sales");
    let (code, _) = cloud.code(&["apply", &fleet]);
    assert_eq!(code, 4);
    assert_eq!(cloud.json(&["apply", &fleet, "--dry-run"])["applied"], false);
    assert_eq!(cloud.json(&["status"])["users"], 0);
    let applied = cloud.json(&["apply", &fleet, "--yes"]);
    assert_eq!(applied["applied"], true);
    assert_eq!(applied["diff"]["gained"].as_array().unwrap().len(), 13);
    assert_eq!(cloud.json(&["status"])["users"], 6);
    // Again: no change, so nothing to confirm.
    assert_eq!(cloud.json(&["apply", &fleet])["applied"], false);
}

#[test]
fn a_bad_fleet_file_lists_its_faults_and_changes_nothing() {
    let cloud = Cloud::founded();
    let file = cloud.state.with_file_name("bad.toml");
    std::fs::write(&file, "[user.o]\naccount = \"a\"\n[user.p]\n").unwrap();
    let (code, error) = cloud.code(&["apply", "--yes", file.to_str().unwrap()]);
    let at = file.display();
    let expected = format!(
        "postern-cloud: the fleet file was refused and nothing was applied:\n\
         {at}:2:11: `user.o.account`: there is no account `a`\n\
         {at}:3:1: `user.p`: `account` is missing, expected a name as text\n"
    );
    assert_eq!((code, error), (3, expected));
    let (code, error) = cloud.code(&["--json", "apply", "--yes", file.to_str().unwrap()]);
    let first = &serde_json::from_str::<serde_json::Value>(&error).unwrap()["complaints"][0];
    assert_eq!(
        (code, &first["line"], &first["column"], &first["override"]),
        (3, &2.into(), &11.into(), &().into())
    );
    assert_eq!(first["key"], "user.o.account");
    assert_eq!(first["message"], "there is no account `a`");
    assert_eq!(first["text"], format!("{at}:2:11: `user.o.account`: there is no account `a`"));
    assert_eq!(cloud.json(&["status"])["revision"], 0);
    assert_eq!(cloud.code(&["check", &sample("sites")]).0, 0);
    assert_eq!(cloud.code(&["check", &sample("sites"), "--set", "user.nora.account=nowhere"]).0, 3);
}

#[test]
fn codes_are_for_what_the_model_knows() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let (code, error) = cloud.code(&["device", "add", "pres-7"]);
    let expected = "postern-cloud: there is no device `pres-7` in the model; did you mean `press-7`?\n";
    assert_eq!((code, error.as_str()), (7, expected));
    let added = cloud.json(&["device", "add", "press-7"]);
    let code = Invitation::parse(added["code"].as_str().unwrap(), Invitee::Device).unwrap();
    assert_eq!(code.hubs, ["127.0.0.1:7440".parse().unwrap()]);
    let invited = cloud.json(&["user", "invite", "otto"]);
    assert_eq!(invited["account"], "berg/acme");
    let code = Invitation::parse(invited["code"].as_str().unwrap(), Invitee::User).unwrap();
    assert_ne!(code.secret, [0; 16]);
    assert_eq!(cloud.code(&["user", "disable", "otto"]).0, 0);
    assert_eq!(cloud.code(&["user", "invite", "otto"]).0, 1);
    assert_eq!(cloud.code(&["user", "enable", "otto"]).0, 0);
    // No secret is stored: what is in the file cannot be used.
    let stored = std::fs::read(cloud.state.join("cloud.db")).unwrap();
    assert!(!stored.windows(16).any(|window| window == code.secret));
}

#[test]
fn explanations_come_in_words_and_in_json() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("nested-customers"), "--yes"]);
    let ask = ["explain", "hanna", "pump-a", "hmi", "--at", "2026-12-01T08:00:00Z"];
    let output = cloud.run(&ask);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with(
            "hanna may not use hmi on pump-a at 2026-12-01T08:00:00Z: second_factor_required.\n"
        ),
        "{text}"
    );
    let sample = cloud.json(&ask);
    assert_eq!(sample["grants"][0]["fails"], "second_factor_required");
    assert_eq!(sample["remedies"][0]["remedy"], "second_factor");
    let with_factor: Vec<&str> = ask.iter().copied().chain(["--second-factor-age", "2h"]).collect();
    assert_eq!(cloud.json(&with_factor)["allowed"], true);
    let stale: Vec<&str> = ask.iter().copied().chain(["--second-factor-age", "8h"]).collect();
    assert_eq!(cloud.json(&stale)["reason"], "second_factor_stale");
    assert_eq!(cloud.code(&["explain", "hana", "pump-a", "hmi"]).0, 7);
}

#[test]
fn a_second_hub_on_the_same_state_is_refused_and_a_stopped_one_leaves_nothing() {
    let cloud = Cloud::founded();
    let (mut hub, line) = cloud.serve();
    assert!(line.starts_with("listening on 127.0.0.1:"), "{line}");
    assert_eq!(cloud.code(&["serve"]).0, 6);
    assert_eq!(cloud.json(&["status"])["running"], true);
    terminate(&hub.0);
    assert_eq!(hub.0.wait().unwrap().code(), Some(0));
    assert!(!cloud.state.join("hub.sock").exists());
    assert_eq!(cloud.json(&["status"])["running"], false);
    // Whatever a killed hub leaves behind does not stop the next one.
    let (mut hub, _) = cloud.serve();
    hub.0.kill().unwrap();
    hub.0.wait().unwrap();
    assert_eq!(cloud.json(&["status"])["running"], false);
    let (_hub, line) = cloud.serve();
    assert!(line.starts_with("listening on "), "{line}");
}

#[test]
fn an_exposed_key_file_stops_every_command_that_signs() {
    use std::os::unix::fs::PermissionsExt as _;
    let cloud = Cloud::founded();
    let key = cloud.state.join("policy.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, error) = cloud.code(&["apply", &sample("direct-sales"), "--yes"]);
    assert_eq!(code, 5);
    assert!(error.contains("has mode 0644, expected 0600"), "{error}");
    assert_eq!(cloud.json(&["status"])["revision"], 0);
    assert_eq!(cloud.code(&["serve"]).0, 5);
}

#[test]
fn a_corrupt_or_newer_state_file_is_refused_and_left_as_it_is() {
    let cloud = Cloud::founded();
    let path = cloud.state.join("cloud.db");
    let noise = vec![0x5a; 8192];
    std::fs::write(&path, &noise).unwrap();
    for file in ["cloud.db-wal", "cloud.db-shm"] {
        let _absent = std::fs::remove_file(cloud.state.join(file));
    }
    let (code, error) = cloud.code(&["status"]);
    assert_eq!(code, 5, "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), noise);
}

#[test]
fn listings_are_plain_when_piped() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("sites"), "--yes"]);
    let output = cloud.run(&["device", "list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        words[0],
        [
            "DEVICE", "ACCOUNT", "LINK", "APPLIED", "LATEST", "REFUSED", "ROOT", "POLICY", "SEEN", "LAST",
            "CUT", "ALARMS", "KEY"
        ]
    );
    assert_eq!(
        words[1],
        [
            "router-east",
            "fill-seal/keystone",
            "not",
            "enrolled",
            "-",
            "-",
            "-",
            "-",
            "-",
            "never",
            "-",
            "-",
            "-"
        ]
    );
    assert!(text.is_ascii(), "{text}");
    let users = cloud.json(&["user", "list"]);
    assert_eq!(users["users"][0]["state"], "invited");
}

#[test]
fn alarms_are_listed_until_they_are_cleared_and_only_for_devices_that_exist() {
    use postern_cloud::store::{AlarmKind, Store, StoreError};
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let text = |args: &[&str]| String::from_utf8(cloud.run(args).stdout).unwrap();
    assert_eq!(text(&["alarms"]), "no alarms\n");
    let store = Store::open(&cloud.state.join("cloud.db")).unwrap();
    let at = postern_protocol::time::UnixTime::from_secs(1_800_000_000);
    let raised: Result<(), StoreError> =
        store.write(|tx| tx.alarm(&"press-7".parse().unwrap(), AlarmKind::Clone, "seen at two places", at));
    raised.unwrap();
    let listed = text(&["alarms"]);
    assert!(
        listed.contains(
            "press-7  clone  2027-01-15T08:00:00Z  2027-01-15T08:00:00Z  1      seen at two places"
        ),
        "{listed}"
    );
    assert!(listed.contains("clone: two machines use the key of this device; find the copy"), "{listed}");
    assert_eq!(cloud.json(&["alarms"])["alarms"][0]["kind"], "clone");
    assert_eq!(cloud.json(&["status"])["alarms"], 1);
    let devices = cloud.json(&["device", "list"]);
    let device = devices["devices"].as_array().unwrap().iter().find(|device| device["name"] == "press-7");
    assert_eq!(device.unwrap()["alarms"], serde_json::json!(["clone"]));
    assert_eq!(cloud.code(&["alarms", "clear", "press-8"]).0, 7);
    assert_eq!(text(&["alarms", "clear", "press-7"]), "1 alarm of press-7 is cleared.\n");
    assert_eq!(text(&["alarms", "clear", "press-7"]), "press-7 has no alarms.\n");
    assert_eq!(text(&["alarms"]), "no alarms\n");
    assert_eq!(cloud.json(&["history"])["revisions"][0]["what"], "alarms clear press-7");
}

#[test]
fn what_devices_say_of_tunnels_that_they_cut_is_listed_for_each_and_a_forgery_in_the_file_is_seen() {
    use postern_cloud::store::{Store, StoreError};
    use postern_protocol::trust::{CutCause, Receipt, ReceiptId, SecretKey, SignedReceipt};
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let text = |args: &[&str]| String::from_utf8(cloud.run(args).stdout).unwrap();
    assert_eq!(text(&["device", "cuts"]), "no tunnels were cut\n");
    let store = Store::open(&cloud.state.join("cloud.db")).unwrap();
    let at = postern_protocol::time::UnixTime::from_secs(1_800_000_000);
    let [key, thief] = [1, 2].map(|seed| SecretKey::from_seed([seed; 32]).unwrap());
    let (name, now) = ("press-7".parse().unwrap(), at.saturating_add(2));
    let (fleet, device) = store
        .read(|tx| Ok::<_, StoreError>((tx.installation()?.fleet, tx.device(&name)?.unwrap().id)))
        .unwrap();
    let receipt = |number: u8, cause, cut| Receipt {
        fleet,
        device,
        id: ReceiptId([number; 8]),
        cause,
        changes: 1,
        cut,
        at: at.saturating_add(number.into()),
        stopped_ms: 12,
    };
    let keep = |key: &SecretKey, by: &SecretKey, receipt: Receipt| {
        let signed = SignedReceipt::sign(by, receipt).unwrap();
        let kept: Result<(), StoreError> =
            store.write(|tx| tx.keep_receipt(&name, (&signed, &receipt), &key.public(), now));
        kept.unwrap();
    };
    keep(&key, &key, receipt(0, CutCause::Policy { epoch: 1, version: 18 }, 3));
    keep(&key, &key, Receipt { changes: 3, ..receipt(1, CutCause::Time, 5) });
    let listed = text(&["device", "cuts", "press-7"]);
    assert_eq!(
        listed,
        "DEVICE   CUT AT                BECAUSE OF         TUNNELS  STOPPED WITHIN  RECEIVED\n\
         press-7  2027-01-15T08:00:01Z  time and 2 before  5        12 ms           2027-01-15T08:00:02Z\n\
         press-7  2027-01-15T08:00:00Z  policy 18          3        12 ms           2027-01-15T08:00:02Z\n"
    );
    let first = cloud.json(&["device", "cuts"])["cuts"][1].clone();
    assert_eq!(
        first,
        serde_json::json!({
            "device": "press-7", "at": 1_800_000_000, "because_of": "policy", "epoch": 1, "version": 18, "tunnels": 3,
            "changes": 1, "stopped_ms": 12, "received": 1_800_000_002, "signed_by": key.public().fingerprint().to_string(),
            "genuine": true,
        })
    );
    let last_cut = |cloud: &Cloud| {
        let devices = cloud.json(&["device", "list"]);
        let device =
            devices["devices"].as_array().unwrap().iter().find(|device| device["name"] == "press-7").cloned();
        device.unwrap()["last_cut"].clone()
    };
    assert_eq!((&last_cut(&cloud)["tunnels"], &last_cut(&cloud)["because_of"]), (&5.into(), &"time".into()));
    assert_eq!(cloud.code(&["device", "cuts", "press-8"]).0, 7);
    // Whoever writes into the file has no key of the device.
    keep(&key, &thief, receipt(2, CutCause::Time, 9));
    assert!(
        text(&["device", "cuts"]).contains("press-7  not signed by the device  -"),
        "{}",
        text(&["device", "cuts"])
    );
    assert_eq!(cloud.json(&["device", "cuts"])["cuts"][0]["genuine"], false);
    assert_eq!(last_cut(&cloud), serde_json::Value::Null);
    // How soon what went with the power had stopped is no figure.
    keep(&key, &key, Receipt { stopped_ms: 0, ..receipt(3, CutCause::SuddenEnd, 2) });
    let listed = text(&["device", "cuts"]);
    let newest: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        newest,
        ["press-7", "2027-01-15T08:00:03Z", "sudden", "end", "2", "-", "2027-01-15T08:00:02Z"]
    );
    assert_eq!(last_cut(&cloud)["because_of"], "sudden_end");
}

fn terminate(child: &Child) {
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn the_state_directory_is_found_by_its_environment_variable() {
    let cloud = Cloud::founded();
    let run = |state: &Path| {
        Command::new(env!("CARGO_BIN_EXE_postern-cloud"))
            .env("POSTERN_CLOUD_STATE", state)
            .arg("status")
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(run(&cloud.state), Some(0));
    assert_eq!(run(&cloud.state.join("nowhere")), Some(5));
}

#[test]
fn somebody_is_invited_by_command_with_access_and_an_end_and_taken_back() {
    let cloud = Cloud::founded();
    let fleet = sample("direct-sales");
    assert_eq!(cloud.json(&["apply", &fleet, "--yes"])["applied"], true);
    let listed = || {
        let all = cloud.json(&["invitation", "list"]);
        let jo = all["invitations"].as_array().unwrap().iter().find(|one| one["user"] == "jo").cloned();
        jo.map(|one| one["state"].as_str().unwrap().to_owned())
    };
    let new = [
        "invitation",
        "new",
        "jo",
        "--account",
        "acme",
        "--role",
        "machine-operator",
        "--scope",
        "account=acme",
    ];
    let made = cloud.json(&[&new[..], &["--category", "screen", "--until", "2040-01-01T00:00:00Z"]].concat());
    let code = made["code"].as_str().unwrap();
    assert!(Invitation::parse(code, Invitee::User).is_ok(), "{made}");
    assert_eq!(listed().as_deref(), Some("open"));
    let shown = cloud.json(&["history", "--revision", &made["revision"].to_string()]);
    assert!(shown.to_string().contains("2040-01-01T00:00:00Z"), "{shown}");
    let history = cloud.json(&["history"]).to_string();
    assert!(history.contains("invitation new jo until") && !history.contains("postern-"), "{history}");
    let again = cloud.json(&["invitation", "resend", "jo"]);
    assert_ne!(again["code"], made["code"]);
    assert_eq!(cloud.code(&["invitation", "revoke", "jo"]), (0, String::new()));
    assert_eq!(listed().as_deref(), Some("none"));
    for (wrong, code, text) in [
        (vec!["invitation", "revoke", "jo"], 7, "user `jo` has no invitation that somebody could still use"),
        (vec!["invitation", "resend", "nobody"], 7, "user `nobody` is unknown"),
        (vec!["invitation", "new", "jim"], 2, "the account that `jim` joins has to be said"),
        (
            vec!["invitation", "new", "jim", "--account", "acme", "--role", "viewer", "--scope", "acme"],
            2,
            "found `acme`",
        ),
        (vec!["invitation", "--by", "jo", "list"], 1, "user `jo` cannot act"),
    ] {
        let (exit, error) = cloud.code(&wrong);
        assert!(exit == code && error.contains(text), "{wrong:?}: {exit} {error}");
    }
}
