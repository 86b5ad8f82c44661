//! `sso check`, `user link` and `user unlink`.

use std::path::Path;

use serde_json::json;

use postern_protocol::name::Name;

use super::table::table;
use super::{Answer, CommandError, arrival, known, open, operator, publisher, serve};
use crate::clock;
use crate::hub;
use crate::model::EntityKind;
use crate::publish::Affected;
use crate::sso::Providers;
use crate::store::Identity;

/// Reads `sso.toml` and asks each provider that is in it.
pub(super) fn check(state: &Path) -> Result<Answer, CommandError> {
    let model = open(state)?.read(|tx| tx.model())?;
    let providers = Providers::read(state)?;
    for provider in providers.iter() {
        for account in &provider.settings().accounts {
            known(&model, EntityKind::Account, account.as_str())?;
        }
    }
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    let mut silent = Vec::new();
    let runtime = serve::runtime()?;
    for provider in providers.iter() {
        let settings = provider.settings();
        let tried = runtime.block_on(provider.try_out());
        let (answers, elsewhere) = match &tried {
            Ok(offers) if settings.elsewhere && !offers => {
                silent.push(settings.name.clone());
                ("yes".to_owned(), "not offered".to_owned())
            }
            Ok(_) => ("yes".to_owned(), if settings.elsewhere { "yes" } else { "no" }.to_owned()),
            Err(error) => {
                silent.push(settings.name.clone());
                (error.to_string(), String::new())
            }
        };
        let whose = if settings.accounts.is_empty() {
            "everybody".to_owned()
        } else {
            settings.accounts.iter().map(|account| model.path(account)).collect::<Vec<_>>().join(", ")
        };
        rows.push(vec![settings.name.to_string(), settings.issuer.to_string(), whose, elsewhere, answers]);
        entries.push(json!({
            "name": settings.name, "issuer": settings.issuer.as_str(), "accounts": settings.accounts,
            "device_flow": settings.elsewhere, "error": tried.err().map(|error| error.to_string()),
        }));
    }
    let text = if rows.is_empty() {
        "No identity provider is set up: `sso.toml` in the state directory names none.\n".to_owned()
    } else {
        table(&["PROVIDER", "ISSUER", "FOR USERS OF", "BROWSER ELSEWHERE", "ANSWERS"], rows)
    };
    if silent.is_empty() {
        Ok(Answer { text, json: json!({ "providers": entries }) })
    } else {
        Err(CommandError::NoAnswer { table: text, providers: silent })
    }
}

/// Links a user to an identity.
pub(super) fn link(
    state: &Path,
    name: &str,
    provider: Option<&Name>,
    subject: &str,
) -> Result<Answer, CommandError> {
    let providers = Providers::read(state)?;
    let settings = providers.named(provider).ok_or_else(|| CommandError::NoProvider {
        name: provider.cloned(),
        known: providers.iter().map(|provider| provider.settings().name.clone()).collect(),
    })?;
    let settings = settings.settings();
    let store = open(state)?;
    let (user, publications) = store.write(|tx| {
        let model = tx.model()?;
        let user = known(&model, EntityKind::User, name)?;
        let account = model.users.get(&user).map(|body| &body.account);
        let is_for = |outer: &Name| account.is_some_and(|account| model.is_within(account, outer));
        if !settings.accounts.is_empty() && !settings.accounts.iter().any(is_for) {
            return Err(CommandError::NotFor { user, provider: settings.name.clone() });
        }
        let now = clock::now();
        let identity = Identity { issuer: settings.issuer.to_string(), subject: subject.to_owned() };
        if !tx.link(&user, &identity, now)? {
            return Err(CommandError::Taken { subject: subject.to_owned(), provider: settings.name.clone() });
        }
        tx.log(now, &operator(), &format!("user link {user} {} {subject}", settings.issuer.as_str()))?;
        let publications = publisher(state, tx)?.publish(tx, Affected::User(&user), now)?;
        Ok::<_, CommandError>((user, publications))
    })?;
    hub::notify(state);
    let provider = &settings.name;
    let text = format!(
        "{user} signs in as {subject} of {provider} from now on: `postern login --sso={provider}`. A password and one-time \
         codes are worth nothing any more.\n"
    );
    let json = json!({ "user": user, "provider": provider, "subject": subject, "published": publications });
    Ok(Answer { text, json })
}

/// Takes the identity of a user away, and everything that rests on it.
pub(super) fn unlink(state: &Path, name: &str) -> Result<Answer, CommandError> {
    let store = open(state)?;
    let (user, publications) = store.write(|tx| {
        let user = known(&tx.model()?, EntityKind::User, name)?;
        if tx.person(&user)?.is_none_or(|person| person.identity.is_none()) {
            return Err(CommandError::NotLinked(user));
        }
        let publisher = publisher(state, tx)?;
        let now = clock::now();
        tx.forget_proofs(&user)?;
        tx.forget_keys(&user)?;
        tx.cut_passes(&user, now)?;
        tx.log(now, &operator(), &format!("user unlink {user}"))?;
        let publications = publisher.publish(tx, Affected::User(&user), now)?;
        Ok::<_, CommandError>((user, publications))
    })?;
    hub::notify(state);
    let arrival = arrival::watch(&store, state, &publications);
    let arrived = arrival::sentence(arrival.as_ref(), &publications);
    let text = format!(
        "{user} is linked to nobody and signed out everywhere; `postern-cloud user invite {user}` lets {user} in again.\n{arrived}"
    );
    let json = json!({ "user": user, "published": publications, "arrival": arrival });
    Ok(Answer { text, json })
}
