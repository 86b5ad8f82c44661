//! `root init` and `root rotate`: draw up a root, for its holders to sign.

use std::path::Path;

use serde_json::json;

use postern_protocol::id::FleetId;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, PublicKey, Role, RoleKeys, Root, RootFault, SecretKey};

use super::{Answer, CommandError, RootError, public, read, show, stored, write};
use crate::args::{Lifetime, RootInit, RootRotate};
use crate::ceremony::{self, Change, RootFile, RootFileFault};
use crate::keys::{self, Purpose};
use crate::{chance, clock};

/// Makes root keys and the first root, signed by all of them. For a machine that never sees the hub.
pub(super) fn init(plan: &RootInit) -> Result<Answer, CommandError> {
    let expires = expires(&plan.lifetime)?;
    let publics = |purpose: Purpose, values: &[String]| {
        if values.is_empty() {
            return Err(CommandError::from(RootError::Unnamed(purpose.word())));
        }
        let mut keys = values.iter().map(|value| public(value)).collect::<Result<Vec<PublicKey>, _>>()?;
        keys.sort_unstable();
        Ok(keys)
    };
    let named = |role, values| Ok::<_, CommandError>((role, publics(Purpose::Role(role), values)?));
    let online = [
        named(Role::Policy, &plan.policy)?,
        named(Role::Identity, &plan.identity)?,
        named(Role::Timestamp, &plan.timestamp)?,
        named(Role::Lock, &plan.lock)?,
        named(Role::AuditAck, &plan.audit_ack)?,
    ];
    let hubs = publics(Purpose::Hub, &plan.hub)?;
    if plan.out.exists() {
        return Err(CommandError::Exists(plan.out.clone()));
    }
    let holders = keys::make_root_keys(&plan.key_dir, plan.keys, plan.threshold)?;
    let mut root_keys: Vec<PublicKey> = holders.iter().map(SecretKey::public).collect();
    root_keys.sort_unstable();
    let mut roles = vec![RoleKeys { role: Role::Root, threshold: plan.threshold, keys: root_keys }];
    roles.extend(online.into_iter().map(|(role, keys)| RoleKeys { role, threshold: 1, keys }));
    let root =
        Root { fleet: FleetId::new(chance::bytes()), version: 1, expires, policy_epoch: 1, roles, hubs };
    root.check_form().map_err(ceremony::ChangeFault::from).map_err(RootError::from)?;
    let sealed = Envelope::seal(&root, &holders.iter().collect::<Vec<_>>());
    let sealed = sealed.map_err(|fault| made(&plan.out, RootFileFault::Envelope(fault)))?;
    let file = RootFile::new(None, sealed).map_err(|fault| made(&plan.out, fault))?;
    write(&plan.out, &file)?;
    let text = format!(
        "{}\nIts {} root keys are in {} and have signed it. Move each to a medium of its own, now.\n\
         Next, on the hub: postern-cloud init --root {} --key policy=FILE ...\n",
        show::meaning(&file).map_err(|fault| made(&plan.out, fault))?,
        plan.keys,
        plan.key_dir.display(),
        plan.out.display()
    );
    Ok(Answer { text, json: json!({ "file": plan.out, "fleet": root.fleet, "version": 1 }) })
}

/// Draws up the root that follows, without signatures.
pub(super) fn rotate(state: &Path, plan: &RootRotate) -> Result<Answer, CommandError> {
    let (sealed, root) = match &plan.from {
        Some(from) => {
            let sealed = read(from)?.sealed().to_vec();
            let root = Root::self_signed(&sealed)
                .map_err(|fault: RootFault| made(from, RootFileFault::Root { previous: false, fault }))?;
            (sealed, root)
        }
        None => super::super::open(state)?.read(stored)?,
    };
    let next = ceremony::next(&root, &changes(plan)?, expires(&plan.lifetime)?, clock::now())
        .map_err(RootError::from)?;
    let unsigned =
        Envelope::seal(&next, &[]).map_err(|fault| made(&plan.out, RootFileFault::Envelope(fault)))?;
    let file = RootFile::new(Some(sealed), unsigned).map_err(|fault| made(&plan.out, fault))?;
    write(&plan.out, &file)?;
    let lines = ceremony::differences(&root, &next);
    let progress = show::progress(&file).map_err(|fault| made(&plan.out, fault))?;
    let text = format!(
        "The draft of root version {} is in {}:\n  {}\n{} Each holder: postern-cloud root sign {} --key KEYFILE\n",
        next.version,
        plan.out.display(),
        lines.join("\n  "),
        progress.sentence(),
        plan.out.display()
    );
    Ok(Answer { text, json: json!({ "file": plan.out, "version": next.version, "changes": lines }) })
}

/// Additions, removals and thresholds, in this order: a key is exchanged in one go.
fn changes(plan: &RootRotate) -> Result<Vec<Change>, CommandError> {
    let mut changes = Vec::new();
    for of in &plan.add_key {
        changes.push(Change::Add(of.purpose, public(&of.value)?));
    }
    for value in &plan.add_hub {
        changes.push(Change::Add(Purpose::Hub, public(value)?));
    }
    for of in &plan.remove_key {
        changes.push(Change::Remove(of.purpose, public(&of.value)?));
    }
    for value in &plan.remove_hub {
        changes.push(Change::Remove(Purpose::Hub, public(value)?));
    }
    for of in &plan.threshold {
        let Purpose::Role(role) = of.purpose else {
            return Err(RootError::NoThreshold(of.purpose.word()).into());
        };
        let number = of.value.parse().map_err(|_| RootError::BadThreshold(of.value.clone()))?;
        changes.push(Change::Threshold(role, number));
    }
    if plan.raise_epoch {
        changes.push(Change::RaiseEpoch);
    }
    Ok(changes)
}

fn expires(lifetime: &Lifetime) -> Result<UnixTime, CommandError> {
    match lifetime.expires {
        Some(at) => Ok(at),
        None => clock::after(clock::now(), lifetime.lifetime).ok_or(CommandError::NegativeSpan),
    }
}

fn made(file: &Path, fault: RootFileFault) -> CommandError {
    RootError::File { file: file.to_owned(), fault }.into()
}
