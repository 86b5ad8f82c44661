//! The commands that look: over the control socket where an agent runs, otherwise in the state directory.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use postern_protocol::audit::AuditLine;
use postern_protocol::id::TunnelId;
use postern_protocol::policy::{Freshness, Index};

use super::{Trouble, View, print};
use crate::clock::Clock;
use crate::control::{AskError, Request, ask};
use crate::exit::Exit;
use crate::identity::Keys;
use crate::report::{PolicyReport, SessionReport, StatusReport, Verdict};
use crate::store::Boot;
use crate::{gate, store};

pub(super) fn status(view: &View<'_>) -> Result<Exit, Trouble> {
    let report: StatusReport = online(view, &Request::Status {})?;
    view.show(&report);
    Ok(Exit::Ok)
}

pub(super) fn sessions(view: &View<'_>) -> Result<Exit, Trouble> {
    let report: Vec<SessionReport> = online(view, &Request::Sessions {})?;
    view.show(&report);
    Ok(Exit::Ok)
}

pub(super) fn explain(view: &View<'_>, request: Request) -> Result<Exit, Trouble> {
    let verdict: Verdict = either(view, &request, || {
        let Request::Explain { user, service, at, second_factor_age_s } = &request else {
            return Err(Trouble::NoTunnel);
        };
        let (policy, clock) = stored(view)?;
        let now = at.unwrap_or_else(|| clock.now());
        Ok(gate::explain_under(
            policy.as_ref(),
            *user,
            service,
            (now, Freshness::ALWAYS),
            *second_factor_age_s,
        )
        .into())
    })?;
    view.show(&verdict);
    Ok(if verdict.permitted { Exit::Ok } else { Exit::Denied })
}

pub(super) fn policy(view: &View<'_>) -> Result<Exit, Trouble> {
    let report: Option<PolicyReport> = either(view, &Request::Policy {}, || {
        let (policy, clock) = stored(view)?;
        Ok(policy.map(|index| PolicyReport::of(&index, clock.now())))
    })?;
    match report {
        Some(report) => view.show(&report),
        None if view.json => view.show_json(&serde_json::Value::Null),
        None => print("no policy: everything is denied"),
    }
    Ok(Exit::Ok)
}

pub(super) fn audit_list(view: &View<'_>, limit: u16) -> Result<Exit, Trouble> {
    let rows: Vec<AuditLine> = either(view, &Request::AuditList { limit }, || {
        Ok(store::audit_rows(&view.config.state_dir, limit)?.into_iter().map(AuditLine::from).collect())
    })?;
    view.show(&rows);
    Ok(Exit::Ok)
}

pub(super) fn audit_verify(view: &View<'_>) -> Result<Exit, Trouble> {
    let rows: u64 =
        either(view, &Request::AuditVerify {}, || Ok(store::verify_audit(&view.config.state_dir)?))?;
    if view.json {
        view.show_json(&serde_json::json!({ "rows": rows }));
    } else {
        print(&format!("{rows} rows, unchanged"));
    }
    Ok(Exit::Ok)
}

pub(super) fn end(view: &View<'_>, tunnel: TunnelId) -> Result<Exit, Trouble> {
    let ended: bool = online(view, &Request::End { tunnel })?;
    if !ended {
        return Err(Trouble::NoTunnel);
    }
    if view.json {
        view.show_json(&serde_json::json!({ "ended": tunnel }));
    } else {
        print(&format!("{tunnel} was ended"));
    }
    Ok(Exit::Ok)
}

/// The keys of a stored state as its snapshot puts them in force.
pub(super) fn keys(dir: &Path, boot: &Boot) -> Result<Keys, Trouble> {
    let mut keys = Keys::load(dir)?;
    let root = boot.enrollment.root()?;
    let stored =
        boot.sealed.as_deref().map(|sealed| keys.verify(sealed, &root, boot.enrollment.device, boot.floor));
    if let Some(Ok(stored)) = stored {
        keys.settle(&stored.snapshot().device_key);
    }
    Ok(keys)
}

/// Asks the running agent.
pub(super) fn online<T: DeserializeOwned>(view: &View<'_>, request: &Request) -> Result<T, Trouble> {
    let value = ask(&view.config.control.socket, request)?;
    serde_json::from_value(value).map_err(|error| AskError::Answer { error }.into())
}

/// Asks the running agent; where none runs, `offline` reads the state.
pub(super) fn either<T: DeserializeOwned>(
    view: &View<'_>,
    request: &Request,
    offline: impl FnOnce() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    match online(view, request) {
        Err(Trouble::Ask(AskError::NotRunning { .. })) => offline(),
        answered => answered,
    }
}

/// The stored policy, verified as at boot, and the time that it implies.
pub(super) fn stored(view: &View<'_>) -> Result<(Option<Arc<Index>>, Clock), Trouble> {
    let dir = &view.config.state_dir;
    let boot = store::peek(dir)?;
    let (root, keys) = (boot.enrollment.root()?, Keys::load(dir)?);
    let clock = Clock::new(&boot.memory(root.version));
    let Some(sealed) = &boot.sealed else { return Ok((None, clock)) };
    let index = Index::build(keys.verify(sealed, &root, boot.enrollment.device, boot.floor)?);
    clock.learn_policy(&index);
    Ok((Some(Arc::new(index)), clock))
}
