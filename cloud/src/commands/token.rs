//! `token new`, `token list` and `token revoke`: what programs bring to the API.

use std::path::Path;

use serde_json::json;

use super::table::table;
use super::{Answer, CommandError, known, open, operator};
use crate::api;
use crate::args::TokenCommand;
use crate::chance;
use crate::clock;
use crate::fleet::Cut;
use crate::model::EntityKind;
use crate::store::Token;

pub(super) fn run(state: &Path, command: TokenCommand) -> Result<Answer, CommandError> {
    match command {
        TokenCommand::New { user, label, days, reads_only } => new(state, &user, &label, days, reads_only),
        TokenCommand::List => list(state),
        TokenCommand::Revoke { number } => revoke(state, number),
    }
}

fn new(state: &Path, user: &str, label: &str, days: u16, reads_only: bool) -> Result<Answer, CommandError> {
    let secret = api::spell(&chance::bytes());
    let digest = api::digest(&secret).map_err(|_| CommandError::Interrupted)?;
    let made = clock::now();
    let expires = made.saturating_add(u64::from(days) * DAY_S);
    let (user, number) = open(state)?.write(|tx| {
        let user = known(&tx.model()?, EntityKind::User, user)?;
        let label = Cut(label).to_string();
        let token = Token { number: 0, user: user.clone(), label, reads_only, made, expires, used: None };
        let number = tx.save_token(&digest, &token)?;
        tx.log(made, &operator(), &format!("token new {number} for {user}"))?;
        Ok::<_, CommandError>((user, number))
    })?;
    let until = clock::show(expires);
    let text = format!(
        "Token {number} of {user}, good until {until}. It is shown this once, and whoever has it may do what {user} may{}:\n\n{secret}\n",
        if reads_only { ", reading only" } else { "" }
    );
    let json = json!({ "number": number, "user": user, "token": secret, "expires": expires, "reads_only": reads_only });
    Ok(Answer { text, json })
}

fn list(state: &Path) -> Result<Answer, CommandError> {
    let tokens = open(state)?.read(|tx| tx.tokens())?;
    let now = clock::now();
    let rows = tokens.iter().map(|token| {
        let until = clock::show(token.expires);
        vec![
            token.number.to_string(),
            token.user.to_string(),
            token.label.clone(),
            if token.reads_only { "reads" } else { "edits" }.to_owned(),
            if now < token.expires { until } else { format!("{until} (over)") },
            token.used.map_or_else(|| "never".to_owned(), clock::show),
        ]
    });
    let text = table(&["TOKEN", "USER", "FOR", "MAY", "GOOD UNTIL", "USED"], rows.collect());
    Ok(Answer { text, json: json!({ "tokens": tokens }) })
}

fn revoke(state: &Path, number: i64) -> Result<Answer, CommandError> {
    open(state)?.write(|tx| {
        if !tx.remove_token(number)? {
            return Err(CommandError::NoToken(number));
        }
        tx.log(clock::now(), &operator(), &format!("token revoke {number}"))?;
        Ok(())
    })?;
    Ok(Answer {
        text: format!("Token {number} is worth nothing any more.\n"),
        json: json!({ "revoked": number }),
    })
}

const DAY_S: u64 = 24 * 3600;
