//! `invitation new`, `list`, `resend` and `revoke`: who is asked to join, with which access.

use std::path::Path;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use postern_protocol::name::Name;

use super::serve::runtime;
use super::table::table;
use super::{Answer, CommandError, arrival, open, operator, publisher};
use crate::actor::Actor;
use crate::args::{InvitationCommand, InvitationNew};
use crate::clock;
use crate::hub;
use crate::invitation::{self, Ask, Delivery, Handed, InvitationError};
use crate::mail::Mailer;

pub(super) fn run(
    state: &Path,
    by: Option<&Name>,
    command: InvitationCommand,
) -> Result<Answer, CommandError> {
    let who = operator();
    let actor = by.map_or(Actor::Operator(&who), Actor::User);
    match command {
        InvitationCommand::New(asked) => {
            let print = asked.print;
            new(state, actor, &asked.read()?, print)
        }
        InvitationCommand::List => list(state, actor),
        InvitationCommand::Resend { user, good_for, print } => {
            let mailer = mailer(state, print)?;
            let handed = open(state)?.write(|tx| {
                let publisher = publisher(state, tx)?;
                let of = (&user, seconds(good_for)?);
                let handed = invitation::resend(tx, &publisher, actor, of, clock::now())?;
                note(tx, actor, &who, &format!("resend {user}"))?;
                Ok::<_, CommandError>(handed)
            })?;
            delivered(mailer.as_ref(), &handed)
        }
        InvitationCommand::Revoke { user } => {
            open(state)?.write(|tx| {
                invitation::revoke(tx, actor, &user, clock::now())?;
                note(tx, actor, &who, &format!("revoke {user}"))
            })?;
            let text = format!("The code of {user} is worth nothing any more. {user} stays in the model.\n");
            Ok(Answer { text, json: json!({ "user": user, "revoked": true }) })
        }
    }
}

fn new(state: &Path, actor: Actor<'_>, ask: &Ask, print: bool) -> Result<Answer, CommandError> {
    let mailer = mailer(state, print)?;
    let store = open(state)?;
    let (handed, done) = store.write(|tx| {
        let publisher = publisher(state, tx)?;
        let invited = invitation::invite(tx, &publisher, actor, ask, clock::now())?;
        note(tx, actor, &operator(), &format!("new {}", ask.user))?;
        Ok::<_, CommandError>(invited)
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &done.published);
    let Answer { mut text, mut json } = delivered(mailer.as_ref(), &handed)?;
    for founder in &done.founders {
        text.push_str(&format!("\n{founder} is the first user of the account and administrates it.\n"));
    }
    if let Some(json) = json.as_object_mut() {
        json.insert("revision".to_owned(), json!(done.revision));
        json.insert("founders".to_owned(), json!(done.founders));
        json.insert("published".to_owned(), json!(done.published));
        json.insert("arrival".to_owned(), json!(arrival));
    }
    Ok(Answer { text, json })
}

fn list(state: &Path, actor: Actor<'_>) -> Result<Answer, CommandError> {
    let listed = open(state)?.read(|tx| invitation::list(tx, actor, clock::now()))?;
    let json = json!({ "invitations": listed });
    if listed.is_empty() {
        return Ok(Answer { text: "everybody has accepted their invitation\n".to_owned(), json });
    }
    let rows = listed.iter().map(|one| {
        let time = |time| Option::map_or_else(time, || "-".to_owned(), clock::show);
        vec![
            one.user.to_string(),
            one.account.to_string(),
            one.state.word().to_owned(),
            one.by.clone().unwrap_or_else(|| "-".to_owned()),
            time(one.made),
            time(one.expires),
        ]
    });
    let header = ["USER", "ACCOUNT", "CODE", "BY", "MADE", "GOOD UNTIL"];
    Ok(Answer { text: table(&header, rows.collect()), json })
}

/// That an operator did in somebody's name what `history` shows as theirs.
fn note(tx: &crate::store::Tx<'_>, actor: Actor<'_>, who: &str, what: &str) -> Result<(), CommandError> {
    if let Actor::User(user) = actor {
        tx.log(clock::now(), who, &format!("invitation {what} in the name of {user}"))?;
    }
    Ok(())
}

/// By what a code leaves. Looked at before anything is done: settings that are wrong are said without half of it being done.
fn mailer(state: &Path, print: bool) -> Result<Option<Mailer>, CommandError> {
    if print { Ok(None) } else { Ok(Mailer::open(state)?) }
}

/// Sends a code where that can be done, and shows it otherwise.
fn delivered(mailer: Option<&Mailer>, handed: &Handed) -> Result<Answer, CommandError> {
    let delivery = match mailer {
        Some(_) => runtime()?.block_on(invitation::deliver(mailer, handed)),
        None => Delivery::Shown,
    };
    let Handed { user, account, code, expires, .. } = handed;
    let until = clock::show(*expires);
    let shown = format!(
        "Hand this to {user} of {account} and to nobody else. It is good once, before {until}:\n\npostern login {}\n",
        code.reveal()
    );
    let (text, code, mailed, unsent) = match delivery {
        Delivery::Shown => (shown, Some(code.reveal()), None, None),
        Delivery::Mailed(address) => {
            let text =
                format!("{user} of {account} gets a code at {address}. It is good once, before {until}.\n");
            (text, None, Some(address), None)
        }
        Delivery::Unsent(error) => (
            format!("No letter was sent: {error}.\n{shown}"),
            Some(code.reveal()),
            None,
            Some(error.to_string()),
        ),
    };
    let json = json!({
        "user": user, "account": account, "code": code, "expires": expires, "mailed": mailed, "unsent": unsent,
    });
    Ok(Answer { text, json })
}

fn seconds(span: SignedDuration) -> Result<u64, CommandError> {
    u64::try_from(span.as_secs()).map_err(|_| InvitationError::Span.into())
}

impl InvitationNew {
    fn read(self) -> Result<Ask, CommandError> {
        let mut access = Vec::new();
        if let (Some(role), Some(scope)) = (&self.role, &self.scope) {
            let mut body = Map::new();
            body.insert("role".to_owned(), json!(role));
            body.insert("scope".to_owned(), read_scope(scope)?);
            if !self.category.is_empty() {
                body.insert("categories".to_owned(), json!(self.category));
            }
            access.push(body);
        }
        let good_for_s = seconds(self.good_for)?;
        let Self { user, account, mail, label, until, .. } = self;
        Ok(Ask { user, account, mail, label, access, until, good_for_s })
    }
}

/// `KIND=NAME`, or a table in the notation of fleet files.
fn read_scope(text: &str) -> Result<Value, CommandError> {
    #[derive(Deserialize)]
    struct Table {
        scope: Value,
    }
    if text.trim_start().starts_with('{') {
        let read = toml::from_str::<Table>(&format!("scope = {text}"));
        return read
            .map(|table| table.scope)
            .map_err(|error| CommandError::Scope(error.message().to_owned()));
    }
    let (kind, name) = text.split_once('=').ok_or_else(|| CommandError::Scope(format!("found `{text}`")))?;
    Ok(json!({ kind.trim(): name.trim() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_kind_and_a_name_or_a_table_and_nothing_else() {
        assert_eq!(read_scope("device=press-7").ok(), Some(json!({ "device": "press-7" })));
        let nested = read_scope("{ account = \"acme\", nested = true }").ok();
        assert_eq!(nested, Some(json!({ "account": "acme", "nested": true })));
        for wrong in ["press-7", "{ account = }", ""] {
            assert!(matches!(read_scope(wrong), Err(CommandError::Scope(_))), "{wrong}");
        }
    }
}
