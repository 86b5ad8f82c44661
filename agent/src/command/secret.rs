//! `secret set`, `secret list` and `secret remove`: passwords of machines that are kept on this device.
//!
//! The secret is sealed here, by this command, so it crosses no socket in the open; a running agent stores the sealed
//! bytes, and where none runs this command does.

use std::sync::Arc;

use data_encoding::HEXLOWER;

use postern_protocol::name::Name;

use super::inspect::{either, keys, online, stored};
use super::{Trouble, View, print, prompt};
use crate::anchor::Anchor;
use crate::control::{AskError, Request};
use crate::daemon::StateDir;
use crate::exit::Exit;
use crate::gate::Gate;
use crate::secrets::{Keyring, SecretError, SecretReport, Secrets};
use crate::store;

pub(super) fn set(view: &View<'_>, name: Name, from_stdin: bool) -> Result<Exit, Trouble> {
    let keyring = keyring(view)?;
    let secret =
        if from_stdin { prompt::read()? } else { prompt::ask(&format!("Secret {name} of this device: "))? };
    let sealed = keyring.seal(&name, &secret)?;
    drop(secret);
    let request = Request::SecretSet { name: name.clone(), sealed: HEXLOWER.encode(&sealed) };
    match online::<()>(view, &request) {
        Err(Trouble::Ask(AskError::NotRunning { .. })) => {
            let state = StateDir::lock(&view.config.state_dir)?;
            secrets(view)?.admit(&name, &sealed)?;
            store::keep_secret(state.path(), &name, &sealed)?;
        }
        answered => answered?,
    }
    said(view, &format!("secret {name} is set on this device"), &name)
}

pub(super) fn list(view: &View<'_>) -> Result<Exit, Trouble> {
    let secrets: Vec<SecretReport> = either(view, &Request::SecretList {}, || Ok(secrets(view)?.list()))?;
    view.show(&secrets);
    Ok(Exit::Ok)
}

pub(super) fn remove(view: &View<'_>, name: Name) -> Result<Exit, Trouble> {
    let removed: bool = match online(view, &Request::SecretRemove { name: name.clone() }) {
        Err(Trouble::Ask(AskError::NotRunning { .. })) => {
            let state = StateDir::lock(&view.config.state_dir)?;
            store::forget_secret(state.path(), &name)?
        }
        answered => answered?,
    };
    if !removed {
        return Err(SecretError::Unknown { name }.into());
    }
    said(view, &format!("secret {name} is removed from this device"), &name)
}

/// The secrets of this device by its stored state.
pub(super) fn secrets(view: &View<'_>) -> Result<Secrets, Trouble> {
    let (policy, clock) = stored(view)?;
    let anchor = Anchor::new(store::peek(&view.config.state_dir)?.enrollment.root()?);
    let gate = Gate::new(Arc::new(clock), anchor);
    if let Some(index) = policy.and_then(Arc::into_inner) {
        gate.install(index);
    }
    Ok(Secrets::new(keyring(view)?, Arc::new(gate), store::peek(&view.config.state_dir)?.secrets))
}

fn keyring(view: &View<'_>) -> Result<Keyring, Trouble> {
    let dir = &view.config.state_dir;
    let boot = store::peek(dir)?;
    let key = keys(dir, &boot)?.present;
    Ok(Keyring::new(&key, boot.enrollment.root()?.fleet, boot.enrollment.device)?)
}

fn said(view: &View<'_>, sentence: &str, name: &Name) -> Result<Exit, Trouble> {
    if view.json {
        view.show_json(&serde_json::json!({ "secret": name }));
    } else {
        print(sentence);
    }
    Ok(Exit::Ok)
}
