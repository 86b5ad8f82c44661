//! Lists sessions for users who are signed in: their own, or those that they may audit.
//!
//! 1. The key of the connection names the user; sessions of others need a pass of theirs that has not ended as well.
//! 2. How often a user may ask is bounded: each question reads the one state file.
//! 3. A reading of others' sessions is noted before the answer goes out; one that cannot be noted is not answered.

use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::hub::{HubAnswer, Refusal};
use postern_protocol::wire::sessions::{SessionQuery, SessionsOf};

use super::{Failed, Hub};
use crate::buckets::Size;
use crate::clock;
use crate::sessions;
use crate::store::Manner;

impl Hub {
    pub(super) fn list_sessions(
        &self,
        key: &PublicKey,
        query: &SessionQuery,
        now: UnixTime,
    ) -> Result<HubAnswer, Failed> {
        let (page, who) = self.store.read(|tx| {
            let person =
                tx.person_of_key(key)?.filter(|person| !person.disabled).ok_or(Refusal::UnknownKey)?;
            if !self.listed.admit(key, EACH) {
                return Err(Failed::from(Refusal::TooMany));
            }
            if let SessionsOf::Everybody { pass } | SessionsOf::User { pass, .. } = &query.whose {
                let is_signed_in = self.login.is_signed_in(tx, key, pass, now)?;
                is_signed_in.then_some(()).ok_or(Refusal::Pass)?;
            }
            let page = sessions::page(tx, &person, query, now)?.ok_or(Refusal::NoAudit)?;
            let model = tx.model()?;
            let account = model.users.get(&person.name).map(|user| model.path(&user.account));
            Ok((page, format!("{}/{}", account.unwrap_or_default(), person.name)))
        })?;
        if let Some(what) = conditions(query) {
            let rows = u64::try_from(page.sessions.len()).unwrap_or(u64::MAX);
            self.store.write(|tx| tx.note_reading(&who, (Manner::Sessions, &what), Some(rows), now))?;
        }
        Ok(HubAnswer::Sessions(page))
    }
}

/// What is asked for of others, as the client's options say it; none where the asker's own is.
fn conditions(query: &SessionQuery) -> Option<String> {
    let whose = match &query.whose {
        SessionsOf::Mine => return None,
        SessionsOf::Everybody { .. } => "--all".to_owned(),
        SessionsOf::User { user, .. } => format!("--user {user}"),
    };
    let time =
        |name: &str, time: Option<UnixTime>| time.map(|time| format!("--{name} {}", clock::show(time)));
    let parts = [
        Some(whose),
        query.device.as_ref().map(|device| format!("--device {device}")),
        time("from", query.from),
        time("until", query.until),
        query.after.map(|mark| format!("before {}", clock::show(mark.at))),
    ];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

/// Questions of one user.
const EACH: Size = Size { attempts: 60, period: std::time::Duration::from_secs(60) };
