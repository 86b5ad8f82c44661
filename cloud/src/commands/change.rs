//! A change of the model, from the plan to the devices.
//!
//! 1. The plan is made against one revision and shown. One that takes the last tenant administrator of a company away is
//!    refused.
//! 2. When somebody gains access, or the change cannot be taken back, somebody has to confirm it.
//! 3. One transaction checks that the revision is still the same, stores the model and signs what changed.
//! 4. A running hub is told, and what is known of the devices' answers is said.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use postern_protocol::name::Name;

use super::plan::{self, SHOWN, write_rest};
use super::progress::Progress;
use super::{Answer, CommandError, arrival, open, operator, publisher};
use crate::clock;
use crate::compile::{Compiler, Roster, Warning, warnings};
use crate::diff::{Diff, Entity};
use crate::hub;
use crate::model::{EntityKind, Model};
use crate::publish::{Affected, Publication, Published};
use crate::store::Store;

/// How a change is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    pub(super) json: bool,
}

/// What a command makes of the model.
pub(super) struct Proposal {
    pub(super) model: Model,
    /// For the log of revisions.
    pub(super) what: String,
    /// What to say before the plan.
    pub(super) preface: String,
    /// What to ask, also when nobody gains access.
    pub(super) question: Option<&'static str>,
    /// More for the JSON answer.
    pub(super) json: Value,
}

/// The model that a change starts from.
pub(super) struct Basis {
    store: Store,
    revision: i64,
    pub(super) model: Arc<Model>,
}

impl Basis {
    pub(super) fn load(state: &Path) -> Result<Self, CommandError> {
        let store = open(state)?;
        let (model, revision) =
            store.read(|tx| Ok::<_, CommandError>((tx.model()?, tx.model_revision()?)))?;
        Ok(Self { store, revision, model })
    }

    /// Compares the model with a new one, which must leave no company without its administrator.
    pub(super) fn compare(&self, new: &Model) -> Result<(Diff, BTreeSet<Warning>), CommandError> {
        let bereft = self.model.bereft_in(new, clock::now());
        if !bereft.is_empty() {
            return Err(CommandError::Bereft(bereft));
        }
        let _progress = Progress::begin("comparing", new.devices.len());
        let diff = Diff::between(&self.model, new);
        let mut warnings = warnings(new);
        warnings.extend(self.secretless(new, &diff)?);
        Ok((diff, warnings))
    }

    /// Services of devices that change, which are entered with a secret that nobody has set in the cloud. Devices may have
    /// theirs: what is set there is known there alone.
    fn secretless(&self, new: &Model, diff: &Diff) -> Result<Vec<Warning>, CommandError> {
        let roster = Roster::default();
        let compiler = Compiler::among(new, &roster, &diff.affected);
        self.store.read(|tx| {
            let mut secretless = Vec::new();
            for device in &diff.affected {
                let endpoints = compiler.endpoints(device);
                let services = endpoints.iter().filter(|endpoint| endpoint.page.is_none());
                let wanted =
                    services.filter_map(|one| Some((&one.name, one.service.reach.rules()?.secret()?)));
                let wanted: Vec<(&Name, &Name)> = wanted.collect();
                if wanted.is_empty() {
                    continue;
                }
                let state = tx.device(device)?;
                let sealed = state.map(|state| tx.sealed_secrets(&state)).transpose()?.unwrap_or_default();
                let missing =
                    wanted.into_iter().filter(|(_, name)| !sealed.iter().any(|one| one.name == **name));
                secretless.extend(missing.map(|(service, secret)| Warning::NoSecret {
                    device: device.clone(),
                    service: service.clone(),
                    secret: secret.clone(),
                }));
            }
            Ok(secretless)
        })
    }

    /// Carries a proposal out, as far as `mode` allows.
    pub(super) fn carry_out(
        &self,
        state: &Path,
        proposal: &Proposal,
        mode: Mode,
    ) -> Result<Answer, CommandError> {
        let new = &proposal.model;
        let (diff, warnings) = self.compare(new)?;
        let (returning, leaving) = (self.returning(&diff)?, self.leaving(&diff)?);
        let mut text = proposal.preface.clone() + &plan::words(&diff, &warnings);
        plan::write_returning(&mut text, &returning);
        plan::write_leaving(&mut text, &leaving);
        let answered = |applied: bool| {
            json!({
                "applied": applied, "change": proposal.json, "diff": diff, "warnings": warnings,
                "returning": returning, "leaving": leaving,
            })
        };
        if mode.dry_run || diff.is_empty() {
            return Ok(Answer { text, json: answered(false) });
        }
        let gains = (!diff.gained.is_empty()).then_some("Somebody gains access. Publish this?");
        let leaves = (!leaving.is_empty())
            .then_some("This cannot be taken back: users lose keys and passwords. Apply this?");
        if let Some(question) = proposal.question.or(leaves).or(gains)
            && !mode.yes
        {
            confirm(&std::mem::take(&mut text), question, mode)?;
        }
        let Published { compiled, publications } = self.write(state, proposal, &diff)?;
        hub::notify(state);
        write_publications(&mut text, compiled, &publications);
        let arrival = arrival::watch(&self.store, state, &publications);
        text.push_str(&arrival::sentence(arrival.as_ref(), &publications));
        let mut json = answered(true);
        if let Some(json) = json.as_object_mut() {
            json.insert("compiled".to_owned(), json!(compiled));
            json.insert("published".to_owned(), json!(publications));
            json.insert("arrival".to_owned(), json!(arrival));
        }
        Ok(Answer { text, json })
    }

    /// New devices under whose names a router was enrolled before they left the model. That router takes their policy,
    /// and may stand in the factory of somebody else.
    fn returning(&self, diff: &Diff) -> Result<Vec<Name>, CommandError> {
        let new = diff.added.iter().filter(|entity| entity.kind == EntityKind::Device.word());
        self.store.read(|tx| {
            let mut returning = Vec::new();
            for Entity { name, .. } in new {
                if tx.device(name)?.is_some_and(|device| device.key.is_some()) {
                    returning.push(name.clone());
                }
            }
            Ok(returning)
        })
    }

    /// Users whose password, one-time codes, identity and keys go with them: who is described again later is somebody else, and
    /// has to be invited.
    fn leaving(&self, diff: &Diff) -> Result<Vec<Name>, CommandError> {
        let gone = diff.removed.iter().filter(|entity| entity.kind == EntityKind::User.word());
        self.store.read(|tx| {
            let mut leaving = Vec::new();
            for Entity { name, .. } in gone {
                if tx
                    .person(name)?
                    .is_some_and(|person| person.password.is_some() || person.identity.is_some())
                {
                    leaving.push(name.clone());
                }
            }
            Ok(leaving)
        })
    }

    fn write(&self, state: &Path, proposal: &Proposal, diff: &Diff) -> Result<Published, CommandError> {
        self.store.write(|tx| {
            // The plan that was confirmed must be the one that is carried out.
            if tx.model_revision()? != self.revision {
                return Err(CommandError::Overtaken);
            }
            let publisher = publisher(state, tx)?;
            let now = clock::now();
            tx.save_model(&proposal.model, now, &operator(), &proposal.what)?;
            let progress = Progress::begin("compiling and signing", diff.affected.len());
            let mut watch = |done, _all| progress.reach(done);
            let affected = Affected::Edit { model: &proposal.model, devices: &diff.affected };
            Ok(publisher.publish_watched(tx, affected, now, &mut watch)?)
        })
    }
}

fn confirm(plan: &str, question: &str, mode: Mode) -> Result<(), CommandError> {
    if mode.json || !std::io::stdin().is_terminal() {
        let _gone = std::io::stderr().lock().write_all(plan.as_bytes());
        return Err(CommandError::Unconfirmed);
    }
    let io = |error| CommandError::Io { what: "the terminal", error };
    let mut out = std::io::stdout().lock();
    out.write_all(plan.as_bytes()).map_err(io)?;
    out.write_all(format!("{question} [y/N] ").as_bytes()).and_then(|()| out.flush()).map_err(io)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(io)?;
    if agrees(&answer) { Ok(()) } else { Err(CommandError::Declined) }
}

/// Whether an answer means yes; everything else, also nothing, means no.
fn agrees(answer: &str) -> bool {
    ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))
}

fn write_publications(text: &mut String, compiled: usize, publications: &[Publication]) {
    use std::fmt::Write as _;
    if publications.is_empty() {
        text.push_str("Applied; no enrolled device needs a new policy.\n");
        return;
    }
    // Writing to a string cannot fail.
    let signed = publications.len();
    let _infallible = writeln!(text, "Applied; devices compiled: {compiled}, snapshots signed: {signed}");
    for publication in publications.iter().take(SHOWN) {
        let _infallible = writeln!(text, "  {} version {}", publication.device, publication.version);
    }
    write_rest(text, signed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::init;
    use crate::fleet;
    use crate::keys::Origin;

    fn proposal(fleet: &str) -> Proposal {
        Proposal {
            model: fleet::read(fleet, &[]).unwrap(),
            what: "apply".to_owned(),
            preface: String::new(),
            question: None,
            json: Value::Null,
        }
    }

    #[test]
    fn only_a_yes_is_an_agreement() {
        for (answer, expected) in [("y\n", true), ("Yes\n", true), ("n\n", false), ("\n", false), ("", false)]
        {
            assert_eq!(agrees(answer), expected, "{answer:?}");
        }
        assert_eq!(CommandError::Declined.to_string(), "not confirmed; nothing was applied");
        assert_eq!(CommandError::Declined.code(), 4);
    }

    #[test]
    fn a_device_that_comes_back_is_told_with_the_router_that_was_enrolled_under_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("cloud");
        assert!(
            init::run(&state, "127.0.0.1:7440".parse().unwrap(), Vec::new(), Origin::USUAL, None).is_ok()
        );
        let mode = Mode { dry_run: false, yes: true, json: false };
        let accounts =
            "[account.acme]\ntenant = \"service_provider\"\n[account.bolt]\ntenant = \"service_provider\"\n";
        let apply = |fleet: &str| {
            Basis::load(&state).ok().unwrap().carry_out(&state, &proposal(fleet), mode).ok().unwrap().text
        };
        let told = "Device d1 was in the model before: the router that was enrolled under that name takes its policy. Give \
                    another router another name.\n";
        let first =
            apply(&format!("{accounts}[device.d1]\naccount = \"acme\"\n[device.d2]\naccount = \"acme\"\n"));
        assert!(!first.contains("was in the model before"), "{first}");
        let key = postern_protocol::trust::SecretKey::from_seed([1; 32]).unwrap().public();
        let store = open(&state).ok().unwrap();
        store.write(|tx| tx.bind_device(&"d1".parse().unwrap(), &key, false, clock::now())).unwrap();
        apply(accounts);
        let back =
            apply(&format!("{accounts}[device.d1]\naccount = \"bolt\"\n[device.d2]\naccount = \"bolt\"\n"));
        assert!(back.contains(told) && !back.contains("Device d2"), "{back}");
    }

    #[test]
    fn a_plan_that_somebody_else_has_overtaken_is_not_carried_out() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("cloud");
        let listen = "127.0.0.1:7440".parse().unwrap();
        assert!(init::run(&state, listen, Vec::new(), Origin::USUAL, None).is_ok());
        let mode = Mode { dry_run: false, yes: true, json: false };
        let account = "[account.acme]\ntenant = \"service_provider\"\n";
        let (mine, theirs) = (Basis::load(&state).ok().unwrap(), Basis::load(&state).ok().unwrap());
        assert!(theirs.carry_out(&state, &proposal(account), mode).is_ok());
        let error = mine.carry_out(&state, &proposal(&account.replace("acme", "mine")), mode).err().unwrap();
        assert!(matches!(error, CommandError::Overtaken), "{error}");
        let now = Basis::load(&state).ok().unwrap();
        assert_eq!((now.revision, now.model.accounts.len()), (1, 1));
        assert!(now.model.accounts.contains_key("acme"));
        // Looked at again, it is.
        assert!(now.carry_out(&state, &proposal(&account.replace("acme", "mine")), mode).is_ok());
    }
}
