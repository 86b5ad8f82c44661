//! `root show`, and what other commands say about a root.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use postern_protocol::trust::Role;

use super::{Answer, CommandError, RootError, read};
use crate::ceremony::{RootFile, RootFileFault, Tally, differences};
use crate::clock;
use crate::keys::Purpose;

pub(super) fn run(path: &Path) -> Result<Answer, CommandError> {
    let fault = |fault| RootError::File { file: path.to_owned(), fault };
    let file = read(path)?;
    let root = file.root().map_err(fault)?;
    let state = progress(&file).map_err(fault)?;
    let mut text = meaning(&file).map_err(fault)?;
    for tally in &state.0 {
        let of = if tally.is_old { "before" } else { "new" };
        let signed: Vec<String> = tally.signed.iter().map(|key| key.fingerprint().to_string()).collect();
        let (count, needed) = (tally.signed.len(), tally.needed);
        let by = if signed.is_empty() { String::new() } else { format!(": {}", signed.join(", ")) };
        let _infallible = writeln!(text, "Signatures ({of} root): {count} of {needed}{by}");
    }
    let _infallible = writeln!(text, "{}", state.sentence());
    let roles: Vec<Value> = root
        .roles
        .iter()
        .map(|role| json!({ "role": role.role, "threshold": role.threshold, "keys": role.keys }))
        .collect();
    let json = json!({
        "fleet": root.fleet, "version": root.version, "expires": root.expires, "policy_epoch": root.policy_epoch,
        "roles": roles, "hubs": root.hubs, "signatures": state.json(), "complete": state.missing() == 0,
    });
    Ok(Answer { text, json })
}

/// How far the signatures of a root are.
pub(super) struct Progress(Vec<Tally>);

pub(super) fn progress(file: &RootFile) -> Result<Progress, RootFileFault> {
    Ok(Progress(file.tallies()?))
}

impl Progress {
    fn missing(&self) -> usize {
        self.0.iter().map(Tally::missing).sum()
    }

    pub(super) fn sentence(&self) -> String {
        let missing: Vec<String> = self.0.iter().filter(|tally| tally.missing() > 0).map(lack).collect();
        if missing.is_empty() {
            "It has every signature that it needs: `postern-cloud root publish` puts it in force.".to_owned()
        } else {
            format!("It needs {}.", missing.join(" and "))
        }
    }

    pub(super) fn json(&self) -> Value {
        let entries = self.0.iter().map(|tally| {
            json!({
                "of": if tally.is_old { "old" } else { "new" },
                "signed": tally.signed, "needed": tally.needed, "missing": tally.missing(),
            })
        });
        Value::Array(entries.collect())
    }
}

fn lack(tally: &Tally) -> String {
    let of = if tally.is_old { "the root before" } else { "the new root" };
    let s = if tally.missing() == 1 { "" } else { "s" };
    format!("{} more signature{s} by holders of {of}", tally.missing())
}

/// What a root says, and what it changes.
pub(super) fn meaning(file: &RootFile) -> Result<String, RootFileFault> {
    let root = file.root()?;
    let mut text = format!(
        "Root version {} of fleet {}, policy epoch {}, until {}\n",
        root.version,
        root.fleet,
        root.policy_epoch,
        clock::show(root.expires)
    );
    for purpose in std::iter::once(Purpose::Role(Role::Root)).chain(Purpose::ONLINE) {
        let keys: Vec<String> =
            purpose.named(&root).iter().map(|key| key.fingerprint().to_string()).collect();
        let rule = match purpose {
            Purpose::Hub => "any".to_owned(),
            Purpose::Role(role) => root
                .role(role)
                .map_or_else(|_| String::new(), |role| format!("{} of {}", role.threshold, keys.len())),
        };
        let _infallible = writeln!(text, "  {:<10} {rule:<8} {}", purpose.word(), keys.join(" "));
    }
    if let Some(previous) = file.previous()? {
        text.push_str("Changes:\n");
        for line in differences(&previous, &root) {
            let _infallible = writeln!(text, "  {line}");
        }
    }
    Ok(text)
}
