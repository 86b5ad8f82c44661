//! `postern admin invite` and what belongs to it: who is asked to join, with which access, by whoever may.
//!
//! 1. Whom somebody invites is said by options, by a file with what `POST /v1/invitations` takes, or both: options count more.
//! 2. The hub judges it as the same edit by any way. It sends the code by mail, where that is set up, or says it this once.
//! 3. Another code makes the one before worth nothing, and so does taking it back.

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, Edited, HandedCode, InvitationEntry, InvitationStanding,
};

use super::{Desk, Done, body, decide, told};
use crate::args::{AdminInvite, Lasting, ScopeText};
use crate::clock;
use crate::exit::Exit;
use crate::hub::HubError;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;

/// Invites somebody.
pub(super) async fn invite(args: AdminInvite, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let asked = Json::Object(keys(args)?).to_string();
    let (handed, edited) = decide(profile, screen, async |desk| {
        let answer = desk.ask(AdminQuestion::Invite, Some(asked.as_bytes())).await?;
        let AdminAnswer::Invited { handed, edited } = answer else { return Err(HubError::Unexpected) };
        Ok((handed, edited))
    })
    .await?;
    screen.answer(&Invited { handed: Handed::from(&handed), edit: Done::from(&edited) });
    say(&handed, Some(&edited), screen);
    Ok(Exit::Done)
}

/// Hands out another code.
pub(super) async fn resend(
    user: Name,
    good_for: Option<Lasting>,
    profile: &Profile,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let good_for_s = good_for.map(|Lasting(secs)| secs);
    let handed = decide(profile, screen, async |desk| {
        let question = AdminQuestion::ResendInvite { user: user.clone(), good_for_s };
        let AdminAnswer::Resent(handed) = desk.ask(question, None).await? else {
            return Err(HubError::Unexpected);
        };
        Ok(handed)
    })
    .await?;
    screen.answer(&Handed::from(&handed));
    say(&handed, None, screen);
    Ok(Exit::Done)
}

/// Takes a code back.
pub(super) async fn revoke(user: Name, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let user = decide(profile, screen, async |desk| {
        let question = AdminQuestion::RevokeInvite { user: user.clone() };
        let AdminAnswer::Revoked(user) = desk.ask(question, None).await? else {
            return Err(HubError::Unexpected);
        };
        Ok(user)
    })
    .await?;
    screen.answer(&Revoked { user: &user, revoked: true });
    screen.say(&format!("the code of {user} is worth nothing any more; {user} stays in the model"));
    Ok(Exit::Done)
}

/// Says who has not accepted.
pub(super) async fn list(profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let invitations = told(all(&profile.identity()?).await)?;
    screen.answer(&Listing { invitations: invitations.iter().map(Outstanding::from).collect() });
    if invitations.is_empty() {
        screen.note("everybody of whom you may know has accepted their invitation");
    }
    let rows: Vec<Vec<String>> = invitations.iter().map(row).collect();
    screen.list(&["USER", "ACCOUNT", "CODE", "BY", "MADE", "GOOD UNTIL"], &rows);
    Ok(Exit::Done)
}

/// Everybody who has not accepted, page by page.
async fn all(identity: &Identity) -> Result<Vec<InvitationEntry>, HubError> {
    let desk = Desk::open(identity).await?;
    let (mut listed, mut after): (Vec<InvitationEntry>, Option<Name>) = (Vec::new(), None);
    let outcome = loop {
        let answer = match desk.ask(AdminQuestion::Invitations { after: after.clone() }, None).await {
            Ok(answer) => answer,
            Err(error) => break Err(error),
        };
        let AdminAnswer::Invitations { invitations, more } = answer else { break Err(HubError::Unexpected) };
        listed.extend(invitations);
        // A hub that does not come forward would be asked for ever.
        match more.filter(|more| after.as_ref().is_none_or(|after| more > after)) {
            Some(more) => after = Some(more),
            None => break Ok(listed),
        }
    };
    desk.hub.close().await;
    outcome
}

/// What the hub is asked for.
fn keys(args: AdminInvite) -> Result<Map<String, Json>, Problem> {
    let AdminInvite { user, file, account, mail, label, role, scope, category, until, good_for } = args;
    let mut keys = file.as_deref().map(body::keys).transpose()?.unwrap_or_default();
    let mut set = |key: &str, value: Option<Json>| {
        keys.extend(value.map(|value| (key.to_owned(), value)));
    };
    set("user", Some(json!(user)));
    set("account", account.map(|account| json!(account)));
    set("mail", mail.map(|mail| json!(mail)));
    set("label", label.map(|label| json!(label)));
    set("until", until.map(|until| json!(clock::rfc3339(until))));
    set("good_for_s", good_for.map(|Lasting(secs)| json!(secs)));
    if let (Some(role), Some(ScopeText(scope))) = (role, scope) {
        let mut access = json!({ "role": role, "scope": scope });
        if let Some(access) = access.as_object_mut().filter(|_| !category.is_empty()) {
            access.insert("categories".to_owned(), json!(category));
        }
        match keys.entry("access").or_insert_with(|| json!([])) {
            Json::Array(list) => list.push(access),
            // The hub says what is wrong with that.
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => {}
        }
    }
    Ok(keys)
}

/// Who gets the code, and the code where it is said.
fn say(handed: &HandedCode, edited: Option<&Edited>, screen: &Screen) {
    let HandedCode { user, account, code, expires, mailed, unsent } = handed;
    let until = clock::local(*expires);
    if let Some(why) = unsent {
        screen.note(&format!("no letter was sent: {}", why.as_str()));
    }
    match (code, mailed) {
        (Some(code), _) => {
            screen.say(&format!(
                "hand this to {user} of {account} and to nobody else; it is good once, before {until}:"
            ));
            screen.say(&format!("postern login {}", code.reveal()));
        }
        (None, Some(address)) => {
            screen.say(&format!(
                "{user} of {account} gets a code at {address}; it is good once, before {until}"
            ));
        }
        (None, None) => {
            screen.say(&format!("{user} of {account} is invited; the hub does not say where the code is"));
        }
    }
    for founder in edited.into_iter().flat_map(|edited| &edited.founders) {
        screen.say(&format!("{founder} is the first of their account, and administrates it from now on"));
    }
}

fn row(one: &InvitationEntry) -> Vec<String> {
    let InvitationEntry { user, account, standing, by, made, expires } = one;
    let time = |time: &Option<UnixTime>| time.map_or_else(|| "-".to_owned(), clock::local);
    let by = by.as_ref().map_or("-", Name::as_str);
    let words = [user.as_str(), account.as_str(), word(*standing), by];
    words.map(str::to_owned).into_iter().chain([time(made), time(expires)]).collect()
}

const fn word(standing: InvitationStanding) -> &'static str {
    match standing {
        InvitationStanding::Open => "open",
        InvitationStanding::Expired => "expired",
        InvitationStanding::None => "none",
    }
}

#[derive(Serialize)]
struct Handed<'a> {
    user: &'a Name,
    account: &'a str,
    code: Option<&'a str>,
    expires: String,
    mailed: Option<&'a str>,
    unsent: Option<&'a str>,
}

impl<'a> From<&'a HandedCode> for Handed<'a> {
    fn from(handed: &'a HandedCode) -> Self {
        let HandedCode { user, account, code, expires, mailed, unsent } = handed;
        Self {
            user,
            account: account.as_str(),
            code: code.as_ref().map(|code| code.reveal()),
            expires: clock::rfc3339(*expires),
            mailed: mailed.as_ref().map(|text| text.as_str()),
            unsent: unsent.as_ref().map(|text| text.as_str()),
        }
    }
}

#[derive(Serialize)]
struct Invited<'a> {
    #[serde(flatten)]
    handed: Handed<'a>,
    #[serde(flatten)]
    edit: Done<'a>,
}

#[derive(Serialize)]
struct Revoked<'a> {
    user: &'a Name,
    revoked: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    invitations: Vec<Outstanding<'a>>,
}

#[derive(Serialize)]
struct Outstanding<'a> {
    user: &'a Name,
    account: &'a Name,
    state: &'static str,
    by: Option<&'a Name>,
    made: Option<String>,
    expires: Option<String>,
}

impl<'a> From<&'a InvitationEntry> for Outstanding<'a> {
    fn from(one: &'a InvitationEntry) -> Self {
        let InvitationEntry { user, account, standing, by, made, expires } = one;
        let time = |time: &Option<UnixTime>| time.map(clock::rfc3339);
        Self {
            user,
            account,
            state: word(*standing),
            by: by.as_ref(),
            made: time(made),
            expires: time(expires),
        }
    }
}
