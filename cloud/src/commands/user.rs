//! `user invite`, `user list`, `user disable`, `user enable`, `user sign-out`, `user keys` and `user withdraw-key`.

use std::path::Path;

use serde_json::json;

use postern_protocol::trust::{Digest, Fingerprint};
use postern_protocol::wire::invitation::Invitee;

use super::table::table;
use super::{Answer, CommandError, arrival, invitation, known, open, operator, publisher};
use crate::clock;
use crate::hub;
use crate::model::EntityKind;
use crate::publish::Affected;
use crate::store::Invited;

pub(super) fn invite(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let (user, account, code, expires) = open(state)?.write(|tx| {
        let model = tx.model()?;
        let user = known(&model, EntityKind::User, name)?;
        if tx.person(&user)?.is_some_and(|person| person.disabled) {
            return Err(CommandError::Disabled(user));
        }
        let account = model.users.get(&user).map(|body| model.path(&body.account)).unwrap_or_default();
        let code = invitation(state, tx, Invitee::User)?;
        let expires = clock::now().saturating_add(CODE_S);
        let invited = Invited { invitee: Invitee::User, name: user.clone(), confirm: false };
        let (secret, now) = (Digest::of(&[&code.secret]), clock::now());
        tx.invite(&secret, &invited, expires)?;
        let who = format!("{} (operator)", operator());
        tx.note_inviter(&secret, &who, now)?;
        tx.log(now, &who, &format!("user invite {user} until {}", clock::show(expires)))?;
        Ok((user, account, code.to_string(), expires))
    })?;
    let text = format!(
        "Hand this to {user} of {account} and to nobody else. It is good once, before {}:\n\npostern login {code}\n",
        clock::show(expires)
    );
    Ok(Answer { text, json: json!({ "user": user, "account": account, "code": code, "expires": expires }) })
}

pub(super) fn list(state: &Path) -> Result<Answer, CommandError> {
    let (model, people, roster) =
        open(state)?.read(|tx| Ok::<_, CommandError>((tx.model()?, tx.people()?, tx.roster()?)))?;
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for person in people {
        let account = model.users.get(&person.name).map(|body| model.path(&body.account)).unwrap_or_default();
        let keys = roster.users.get(&person.name).map_or(0, |user| user.keys.len());
        let (state, otp) = (person.state().word(), person.one_time.secret.is_some());
        let signs_in = match (&person.identity, &person.password) {
            (Some(identity), _) => format!("as {} of {}", identity.subject, identity.issuer),
            (None, Some(_)) => "with a password".to_owned(),
            (None, None) => String::new(),
        };
        rows.push(vec![
            person.name.to_string(),
            account.clone(),
            state.to_owned(),
            keys.to_string(),
            if otp { "yes" } else { "no" }.to_owned(),
            signs_in,
        ]);
        entries.push(json!({
            "name": person.name, "id": person.id, "account": account, "state": state, "keys": keys, "one_time_codes": otp,
            "issuer": person.identity.as_ref().map(|identity| &identity.issuer),
            "subject": person.identity.as_ref().map(|identity| &identity.subject),
        }));
    }
    let header = ["USER", "ACCOUNT", "STATE", "KEYS", "ONE-TIME CODES", "SIGNS IN"];
    Ok(Answer { text: table(&header, rows), json: json!({ "users": entries }) })
}

pub(super) fn set_disabled(state: &Path, name: &str, disabled: bool) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (user, publications) = store.write(|tx| {
        let user = known(&tx.model()?, EntityKind::User, name)?;
        let publisher = publisher(state, tx)?;
        let now = clock::now();
        tx.set_disabled(&user, disabled)?;
        // Who is enabled again signs in again: passes of before stay worthless.
        if disabled {
            tx.cut_passes(&user, now)?;
        }
        let what = format!("user {} {user}", if disabled { "disable" } else { "enable" });
        tx.log(now, &operator(), &what)?;
        let publications = publisher.publish(tx, Affected::User(&user), now)?;
        Ok::<_, CommandError>((user, publications))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let (word, count) = (if disabled { "disabled" } else { "enabled" }, publications.len());
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    let text = format!("{user} is {word}; snapshots signed: {count}.\n{arrived}");
    let json = json!({ "user": user, "disabled": disabled, "published": publications, "arrival": arrival });
    Ok(Answer { text, json })
}

pub(super) fn sign_out(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (user, publications) = store.write(|tx| {
        let user = known(&tx.model()?, EntityKind::User, name)?;
        let publisher = publisher(state, tx)?;
        let now = clock::now();
        tx.cut_passes(&user, now)?;
        tx.log(now, &operator(), &format!("user sign-out {user}"))?;
        let publications = publisher.publish(tx, Affected::User(&user), now)?;
        Ok::<_, CommandError>((user, publications))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    let count = publications.len();
    let text = format!("{user} is signed out everywhere; snapshots signed: {count}.\n{arrived}");
    let json = json!({ "user": user, "signed_out": true, "published": publications, "arrival": arrival });
    Ok(Answer { text, json })
}

pub(super) fn keys(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let (user, keys) = open(state)?.read(|tx| {
        let user = known(&tx.model()?, EntityKind::User, name)?;
        let keys = tx.person_keys(&user)?;
        Ok::<_, CommandError>((user, keys))
    })?;
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for (key, used) in &keys {
        let fingerprint = key.fingerprint();
        rows.push(vec![fingerprint.to_string(), clock::show(*used)]);
        entries.push(json!({ "fingerprint": fingerprint.to_string(), "last_sign_in": used }));
    }
    let text = if rows.is_empty() {
        format!("{user} has no key: a computer gets one when {user} signs in on it.\n")
    } else {
        table(&["KEY", "LAST SIGN-IN"], rows)
    };
    Ok(Answer { text, json: json!({ "user": user, "keys": entries }) })
}

pub(super) fn withdraw_key(
    state: &Path,
    name: &str,
    fingerprint: Fingerprint,
) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (user, left, publications) = store.write(|tx| {
        let user = known(&tx.model()?, EntityKind::User, name)?;
        let keys = tx.person_keys(&user)?;
        let found = keys.iter().find(|(key, _)| key.fingerprint() == fingerprint);
        let (key, _) = found.ok_or_else(|| CommandError::NoKey { user: user.clone(), fingerprint })?;
        let publisher = publisher(state, tx)?;
        let now = clock::now();
        tx.forget_key(key)?;
        tx.log(now, &operator(), &format!("user withdraw-key {user} {fingerprint}"))?;
        let publications = publisher.publish(tx, Affected::User(&user), now)?;
        Ok::<_, CommandError>((user, keys.len().saturating_sub(1), publications))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    let count = publications.len();
    let text = format!(
        "The key {fingerprint} of {user} is withdrawn; keys left: {left}; snapshots signed: {count}.\n{arrived}"
    );
    let withdrawn = fingerprint.to_string();
    let json = json!({
        "user": user, "withdrawn": withdrawn, "left": left, "published": publications, "arrival": arrival,
    });
    Ok(Answer { text, json })
}

/// For how long an invitation is good.
const CODE_S: u64 = 3 * 24 * 3600;
