//! `check`: everything that `run` would look at, without changing any of it.

use std::sync::Arc;

use serde::Serialize;

use postern_protocol::policy::Index;
use postern_protocol::time::UnixTime;

use super::{Trouble, View, secret};
use crate::clock::Clock;
use crate::daemon;
use crate::exit::Exit;
use crate::gate;
use crate::identity::Keys;
use crate::report::{FreshnessReport, PolicyReport, Shown, time};
use crate::secrets::SecretReport;
use crate::store::{self, StoreError};

/// What was found.
#[derive(Debug, Serialize)]
struct CheckReport {
    device: postern_protocol::id::DeviceId,
    key: postern_protocol::trust::PublicKey,
    fingerprint: postern_protocol::trust::Fingerprint,
    root_version: u32,
    policy: Option<PolicyReport>,
    floor: Option<u64>,
    audit_rows: u64,
    /// Requests and forgeries that the self-test has seen refused.
    self_test: u16,
    /// A lower bound: only a running agent knows the time.
    now: UnixTime,
    wall: UnixTime,
    /// As it would be at the next start, without a link.
    freshness: FreshnessReport,
    /// Every secret, and why some do not open.
    secrets: Vec<SecretReport>,
    /// What a person should look at; the agent runs nevertheless.
    warnings: Vec<&'static str>,
}

impl Shown for CheckReport {
    fn text(&self) -> String {
        let policy = match &self.policy {
            Some(policy) if policy.expired => {
                format!("version {}, out of date: everything is denied", policy.version)
            }
            Some(policy) => format!("version {}, genuine", policy.version),
            None => "none: everything is denied until the hub sends one".to_owned(),
        };
        let mut text = format!(
            "device     {}\nkey        {}\nfingerprint {}\nroot       version {}\npolicy     {policy}\naudit      {} rows, unchanged\nself-test  passed, {} refused\nfreshness  {} without the cloud\nclock      at least {}\n",
            self.device,
            self.key,
            self.fingerprint,
            self.root_version,
            self.audit_rows,
            self.self_test,
            self.freshness.state,
            time(self.now)
        );
        for problem in self.secrets.iter().filter_map(|secret| secret.problem.as_ref()) {
            text.push_str(&format!("warning    {problem}\n"));
        }
        for warning in &self.warnings {
            text.push_str(&format!("warning    {warning}\n"));
        }
        text
    }
}

pub(super) fn run(view: &View<'_>) -> Result<Exit, Trouble> {
    // Only that it can be used: where it is, nobody is asked.
    let _proxies = view.config.proxies()?;
    let dir = &view.config.state_dir;
    daemon::inspect(dir)?;
    let mut keys = Keys::load(dir)?;
    let boot = store::peek(dir)?;
    let root = boot.enrollment.root()?;
    let clock = Clock::new(&boot.memory(root.version));
    let mut warnings = Vec::new();
    let mut index = None;
    let policy = match &boot.sealed {
        Some(sealed) => {
            let verified = keys.verify(sealed, &root, boot.enrollment.device, boot.floor)?;
            keys.settle(&verified.snapshot().device_key);
            let built = index.insert(Arc::new(Index::build(verified)));
            clock.learn_policy(built);
            Some(PolicyReport::of(built, clock.now()))
        }
        None => None,
    };
    let proven = gate::self_test(index.as_ref())?;
    let audit_rows = match store::verify_audit(dir) {
        Err(StoreError::Missing { .. }) => 0,
        verified => verified?,
    };
    let report = clock.report();
    if report.is_wall_far_off() {
        warnings.push("the system's clock is more than a day off the signed time; it decides nothing");
    }
    if policy.as_ref().is_some_and(|policy| policy.expired) {
        warnings.push("the policy is out of date; check that the device reaches its hub");
    }
    view.show(&CheckReport {
        device: boot.enrollment.device,
        key: keys.present.public(),
        fingerprint: keys.present.public().fingerprint(),
        root_version: root.version,
        floor: boot.floor.map(|floor| floor.version),
        policy,
        audit_rows,
        self_test: proven.refused(),
        now: report.now,
        wall: report.wall,
        freshness: clock.freshness(),
        secrets: secret::secrets(view)?.list(),
        warnings,
    });
    Ok(Exit::Ok)
}
