//! Roots from the outside: the ceremony with files, what is refused and in which words, and what publishing does.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::commands::{Cloud, sample};

struct Ceremony {
    cloud: Cloud,
}

impl Ceremony {
    fn begin() -> Self {
        let cloud = Cloud::founded();
        cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
        Self { cloud }
    }

    /// A file beside the state directory.
    fn file(&self, name: &str) -> String {
        self.cloud.state.with_file_name(name).display().to_string()
    }

    fn holder(&self, number: u8) -> String {
        self.cloud.state.join(format!("offline/root-{number}.key")).display().to_string()
    }

    /// Makes a key and returns its public half.
    fn key(&self, name: &str) -> String {
        self.said(&["root", "key", "new", &self.file(name)]).trim().to_owned()
    }

    fn rotate(&self, out: &str, changes: &[&str]) -> (i32, String) {
        let out = self.file(out);
        self.cloud.code(&[&["root", "rotate", "--out", &out], changes].concat())
    }

    fn sign(&self, file: &str, holders: &[u8]) {
        for holder in holders {
            let (code, error) =
                self.cloud.code(&["root", "sign", &self.file(file), "--key", &self.holder(*holder)]);
            assert_eq!((code, error.as_str()), (0, ""));
        }
    }

    fn publish(&self, file: &str, keys: &[&str]) -> (i32, String) {
        let (file, mut args) = (self.file(file), Vec::new());
        for key in keys {
            args.extend(["--key", *key]);
        }
        self.cloud.code(&[&["root", "publish", &file], args.as_slice()].concat())
    }

    fn said(&self, args: &[&str]) -> String {
        let output = self.cloud.run(args);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn root_version(&self) -> u64 {
        self.cloud.json(&["status"])["root_version"].as_u64().unwrap()
    }
}

#[test]
fn a_root_is_drawn_up_signed_by_two_of_three_and_published_once() {
    let ceremony = Ceremony::begin();
    assert_eq!(ceremony.rotate("2.root", &["--raise-epoch"]), (0, String::new()));
    let file = ceremony.file("2.root");
    let needs = |args: &[&str]| ceremony.said(args).lines().last().unwrap().to_owned();
    assert_eq!(
        needs(&["root", "show", &file]),
        "It needs 2 more signatures by holders of the root before and 2 more signatures by holders of the new root."
    );
    assert_eq!(
        ceremony.publish("2.root", &[]),
        (
            1,
            "postern-cloud: no device would accept this root, so nothing was published: 0 valid signatures of the \
             role, 2 are needed\n"
                .to_owned()
        )
    );
    ceremony.sign("2.root", &[3]);
    assert_eq!(
        needs(&["root", "show", &file]),
        "It needs 1 more signature by holders of the root before and 1 more signature by holders of the new root."
    );
    ceremony.sign("2.root", &[1]);
    let shown = ceremony.cloud.json(&["root", "show", &file]);
    assert_eq!(
        (&shown["version"], &shown["policy_epoch"], &shown["complete"]),
        (&2.into(), &2.into(), &true.into())
    );
    assert_eq!(ceremony.publish("2.root", &[]), (0, String::new()));
    assert_eq!(
        (ceremony.root_version(), ceremony.cloud.json(&["status"])["policy_epoch"].as_u64()),
        (2, Some(2))
    );
    assert_eq!(ceremony.cloud.json(&["history"])["revisions"][0]["what"], "root publish 2");
    assert_eq!(
        ceremony.publish("2.root", &[]),
        (
            1,
            "postern-cloud: no device would accept this root, so nothing was published: root version 2, version 3 must \
             follow\n"
                .to_owned()
        )
    );
}

#[test]
fn a_gap_in_versions_and_an_epoch_that_falls_are_refused() {
    let ceremony = Ceremony::begin();
    ceremony.rotate("2.root", &["--raise-epoch"]);
    ceremony.sign("2.root", &[1, 2]);
    let from = ceremony.file("2.root");
    ceremony.rotate("3.root", &["--from", &from]);
    ceremony.sign("3.root", &[1, 2]);
    let refused = "postern-cloud: no device would accept this root, so nothing was published: ";
    assert_eq!(
        ceremony.publish("3.root", &[]),
        (1, format!("{refused}root version 3, version 2 must follow\n"))
    );
    // Another version 2, drawn up before the epoch rose, and its successor.
    ceremony.rotate("other-2.root", &[]);
    ceremony.sign("other-2.root", &[1, 2]);
    let from = ceremony.file("other-2.root");
    ceremony.rotate("other-3.root", &["--from", &from]);
    ceremony.sign("other-3.root", &[1, 2]);
    assert_eq!(ceremony.publish("2.root", &[]).0, 0);
    let lowered = format!("{refused}policy epoch 1 is below 2\n");
    assert_eq!(ceremony.publish("other-3.root", &[]), (1, lowered));
    assert_eq!(ceremony.publish("3.root", &[]), (0, String::new()));
    assert_eq!(ceremony.root_version(), 3);
}

#[test]
fn strangers_second_signatures_and_exposed_keys_sign_nothing() {
    let ceremony = Ceremony::begin();
    ceremony.rotate("2.root", &[]);
    let file = ceremony.file("2.root");
    let sign = |key: &str| ceremony.cloud.code(&["root", "sign", &file, "--key", key]);
    let before = std::fs::read(&file).unwrap();
    let policy = ceremony.cloud.state.join("policy.key").display().to_string();
    let (code, error) = sign(&policy);
    assert_eq!(code, 1);
    assert!(
        error.ends_with("is named by neither the old nor the new root: its signature would count for nothing; use the key file of a holder\n"),
        "{error}"
    );
    let holder = ceremony.holder(1);
    std::fs::set_permissions(&holder, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, error) = sign(&holder);
    assert_eq!(code, 5);
    assert!(error.contains("has mode 0644, expected 0600"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::set_permissions(&holder, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(sign(&holder).0, 0);
    let (code, error) = sign(&holder);
    assert_eq!(code, 1);
    assert!(error.ends_with("has signed this root already\n"), "{error}");
}

#[test]
fn what_is_no_root_file_and_what_makes_no_root_are_named() {
    let ceremony = Ceremony::begin();
    let fleet = sample("direct-sales");
    assert_eq!(
        ceremony.cloud.code(&["root", "show", &fleet]),
        (
            1,
            format!(
                "postern-cloud: `{fleet}`: this is no root file: it does not begin with `postern root 1`\n"
            )
        )
    );
    assert_eq!(
        ceremony.rotate("2.root", &["--threshold", "root=4"]),
        (2, "postern-cloud: `root` would need 4 signatures of 3 keys, which nobody can give\n".to_owned())
    );
    assert_eq!(
        ceremony.rotate("2.root", &["--threshold", "hub=1"]),
        (2, "postern-cloud: `hub` has no threshold: any of its keys is enough\n".to_owned())
    );
    let (code, error) = ceremony.rotate("2.root", &["--add-key", "policy=nowhere.pub"]);
    assert_eq!(
        (code, error.as_str()),
        (
            2,
            "postern-cloud: `nowhere.pub` is no public key and no file with one: an ed25519 public key has 32 bytes, 5 \
             were found\n"
        )
    );
    assert_eq!(ceremony.rotate("2.root", &["--add-key", "polcy=x"]).0, 2);
    assert!(!PathBuf::from(ceremony.file("2.root")).exists());
}

#[test]
fn a_root_whose_keys_the_hub_does_not_hold_is_refused_until_they_are_given() {
    let ceremony = Ceremony::begin();
    let new = ceremony.key("policy-2.key");
    let old = ceremony.said(&["root", "show", &{
        ceremony.rotate("look.root", &[]);
        ceremony.file("look.root")
    }]);
    assert!(old.contains("  policy     1 of 1"), "{old}");
    let add = format!("policy={new}");
    assert_eq!(
        ceremony.rotate("2.root", &["--add-key", &add, "--threshold", "policy=2"]),
        (0, String::new())
    );
    ceremony.sign("2.root", &[2, 3]);
    let (code, error) = ceremony.publish("2.root", &[]);
    assert_eq!(code, 1);
    assert!(
        error.starts_with(
            "postern-cloud: the hub does not hold the keys that this root names, so nothing was published:\n  policy: 1 of 2 keys are here, of "
        ),
        "{error}"
    );
    assert_eq!(ceremony.root_version(), 1);
    let wrong = ceremony.key("wrong.key");
    assert_ne!(wrong, new);
    let given = format!("policy={}", ceremony.file("wrong.key"));
    assert_eq!(ceremony.publish("2.root", &[&given]).0, 1);
    let given = format!("policy={}", ceremony.file("policy-2.key"));
    assert_eq!(ceremony.publish("2.root", &[&given]), (0, String::new()));
    assert!(ceremony.cloud.state.join("policy-2.key").exists());
    assert_eq!(ceremony.cloud.code(&["apply", &sample("direct-sales"), "--yes"]).0, 0);
}

#[test]
fn an_installation_is_founded_with_the_root_of_a_ceremony() {
    let ceremony = Ceremony::begin();
    let roles = ["policy", "identity", "timestamp", "lock", "audit-ack", "hub"];
    let mut init = vec!["root".to_owned(), "init".into(), "--out".into(), ceremony.file("1.root")];
    init.extend(["--key-dir".to_owned(), ceremony.cloud.state.parent().unwrap().display().to_string()]);
    for role in roles {
        init.extend([format!("--{role}"), ceremony.key(&format!("made-{role}.key"))]);
    }
    let init: Vec<&str> = init.iter().map(String::as_str).collect();
    assert_eq!(ceremony.cloud.code(&init), (0, String::new()));
    let state = ceremony.file("second");
    let mut found =
        vec!["--state".to_owned(), state, "init".into(), "--listen".into(), "127.0.0.1:7440".into()];
    found.extend(["--root".to_owned(), ceremony.file("1.root")]);
    for role in roles {
        found.extend(["--key".to_owned(), format!("{role}={}", ceremony.file(&format!("made-{role}.key")))]);
    }
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postern-cloud"));
    let output = command.args(&found).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Its root keys were never here."), "{text}");
}
