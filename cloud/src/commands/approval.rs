//! `approval list`, `approve`, `reject` and `revoke`: who waits to be let in, and the operator's word on it.

use std::path::Path;

use jiff::SignedDuration;
use serde_json::json;

use postern_protocol::id::ApprovalId;

use super::table::table;
use super::{Answer, CommandError, arrival, open, operator, publisher};
use crate::approval::{self, ApprovalError, Bounds, Decider};
use crate::args::ApprovalCommand;
use crate::clock;
use crate::hub;
use crate::publish::Publication;
use crate::store::{ApprovalRequest, ApprovalState, Store};

pub(super) fn run(state: &Path, command: ApprovalCommand) -> Result<Answer, CommandError> {
    match command {
        ApprovalCommand::List { all, limit } => list(state, all, limit),
        ApprovalCommand::Approve { id, view_only, for_ } => {
            let for_s = for_.map(seconds).transpose()?;
            approve(state, id, Bounds { view_only, for_s })
        }
        ApprovalCommand::Reject { id, reason } => reject(state, id, reason.as_deref().unwrap_or_default()),
        ApprovalCommand::Revoke { id, reason } => revoke(state, id, reason.as_deref().unwrap_or_default()),
    }
}

fn list(state: &Path, all: bool, limit: u32) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let now = clock::now();
    let requests = store.write(|tx| {
        tx.lapse_approvals(now)?;
        tx.approvals(limit)
    })?;
    let live = |request: &ApprovalRequest| match request.state {
        ApprovalState::Pending | ApprovalState::Approved => true,
        ApprovalState::Rejected | ApprovalState::Revoked | ApprovalState::Expired => false,
    };
    let requests: Vec<ApprovalRequest> = requests.into_iter().filter(|one| all || live(one)).collect();
    let json = json!({ "approvals": requests });
    if requests.is_empty() {
        return Ok(Answer {
            text: "nobody waits for an approval, and nothing is approved\n".to_owned(),
            json,
        });
    }
    let header = ["APPROVAL", "STATE", "WHO", "WHERE", "MODE", "FOR", "ASKED", "UNTIL", "BY", "WHY"];
    Ok(Answer { text: table(&header, requests.iter().map(row).collect()), json })
}

fn row(request: &ApprovalRequest) -> Vec<String> {
    let ApprovalRequest { id, user, device, service, given, decision, .. } = request;
    let view_only = given.map_or(request.view_only, |given| given.view_only);
    let until = match (request.state, given) {
        (ApprovalState::Pending, _) => clock::show(request.lapses),
        (_, Some(given)) => clock::show(given.until),
        (_, None) => "-".to_owned(),
    };
    vec![
        id.to_string(),
        request.state.word().to_owned(),
        user.to_string(),
        format!("{device}/{service}"),
        (if view_only { "view only" } else { "full" }).to_owned(),
        clock::span(request.for_s),
        clock::show(request.asked),
        until,
        decision.as_ref().map_or_else(|| "-".to_owned(), |decision| decision.by.clone()),
        request.why.clone(),
    ]
}

fn approve(state: &Path, id: ApprovalId, bounds: Bounds) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let who = operator();
    let (request, published) = store.write(|tx| {
        let publisher = publisher(state, tx)?;
        Ok::<_, CommandError>(approval::approve(
            tx,
            &publisher,
            id,
            Decider::Operator(&who),
            bounds,
            clock::now(),
        )?)
    })?;
    let ApprovalRequest { user, device, service, .. } = &request;
    let given = request.given.map_or_else(String::new, |given| {
        let mode = if given.view_only { " to look only" } else { "" };
        format!("{mode} until {}", clock::show(given.until))
    });
    let said = format!("{user} may use {device}/{service}{given}");
    Ok(told(&store, state, (&said, &request), &published))
}

fn reject(state: &Path, id: ApprovalId, why: &str) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let who = operator();
    let request = store.write(|tx| approval::reject(tx, id, Decider::Operator(&who), why, clock::now()))?;
    let ApprovalRequest { user, device, service, .. } = &request;
    let said = format!("the request of {user} for {device}/{service} is rejected");
    Ok(told(&store, state, (&said, &request), &[]))
}

fn revoke(state: &Path, id: ApprovalId, why: &str) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let who = operator();
    let (request, published) = store.write(|tx| {
        let publisher = publisher(state, tx)?;
        let decider = Decider::Operator(&who);
        Ok::<_, CommandError>(approval::revoke(tx, &publisher, id, decider, why, clock::now())?)
    })?;
    let ApprovalRequest { user, device, service, .. } = &request;
    let said = format!("what was approved for {user} at {device}/{service} is taken back");
    Ok(told(&store, state, (&said, &request), &published))
}

/// Tells the hub, and says what came of it.
fn told(
    store: &Store,
    state: &Path,
    (said, request): (&str, &ApprovalRequest),
    published: &[Publication],
) -> Answer {
    hub::notify(state);
    let arrival = arrival::watch(store, state, published);
    let arrived = arrival::sentence(arrival.as_ref(), published);
    let text = format!("{said}.\n{arrived}");
    Answer { text, json: json!({ "approval": request, "published": published, "arrival": arrival }) }
}

fn seconds(span: SignedDuration) -> Result<u32, CommandError> {
    u32::try_from(span.as_secs()).map_err(|_| ApprovalError::Span.into())
}
