//! Administration over the hub: what the API does for programs with a token, for people who are signed in.
//!
//! 1. The user is whoever has the key of the connection, and presents the pass of the sign-in; an edit takes a second factor of the
//!    last hours as well, where the user has one. A sign-in that is narrowed administrates nothing. Only then the body of an edit is read, and a few of them at a time.
//! 2. [`administration`] looks, and edits, with the user as the caller. Nothing is judged here.
//! 3. What was made is stored and signed before it is answered, and the answer says how many devices have it by then.
//!
//! Bounds: a body, an answer, bodies at a time, questions of one user.

mod history;
mod invitations;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Narrowing, PublicKey};
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, Decline, Declined, EditGuard, Edited, EntityEntry,
};
use postern_protocol::wire::hub::{HubAnswer, Refusal};
use postern_transport::framed::{FrameFault, read_frame};
use postern_transport::quic::RecvStream;

use super::{ARRIVAL, Failed, Hub, blocking, settle};
use crate::administration::{self, Done, Edit, Guard, Refused, Seen, Sort, Version};
use crate::api::Batch;
use crate::buckets::Size;
use crate::invitation::Handed;
use crate::model::EntityKind;
use crate::store::{Person, Tx};

/// Who asks, with which key and sign-in.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) key: PublicKey,
    pub(super) pass: Vec<u8>,
}

/// What came of a question.
enum Told {
    Seen(AdminAnswer),
    Done(Done),
    Invited(Handed, Done),
    Resent(Handed),
}

impl Hub {
    /// Answers a question about the model. A body is read of nobody but who may have one.
    ///
    /// # Errors
    /// That the body is no frame; the stream is of no more use then.
    pub(super) async fn administrate(
        self: &Arc<Self>,
        caller: Caller,
        question: AdminQuestion,
        recv: &mut RecvStream,
    ) -> Result<HubAnswer, FrameFault> {
        const WHAT: &str = "administration";
        let (hub, first, edits) = (Arc::clone(self), caller.clone(), question.edits());
        let known = blocking(move || hub.recognise(&first, edits)).await;
        if let Err(error) = known {
            return Ok(settle(WHAT, Err(error)));
        }
        let Ok(place) = self.bodies.acquire().await else { return Ok(settle(WHAT, Err(Failed::Internal))) };
        let body = if question.has_body() {
            match read_frame::<Vec<u8>>(recv, limits::BODY_BYTES, BODY).await {
                Ok(body) => body,
                Err(FrameFault::TooLarge { .. }) => return Ok(settle(WHAT, Err(too_large().into()))),
                Err(fault) => return Err(fault),
            }
        } else {
            Vec::new()
        };
        let hub = Arc::clone(self);
        let told = blocking(move || hub.tell(&caller, question, &body)).await;
        drop(place);
        let answer = match told {
            Ok(told) => self.complete(told).await,
            Err(error) => Err(error),
        };
        Ok(settle(WHAT, answer.map(HubAnswer::Administered)))
    }

    /// What is done once everything is stored.
    async fn complete(&self, told: Told) -> Result<AdminAnswer, Failed> {
        Ok(match told {
            Told::Seen(answer) => answer,
            Told::Done(done) => AdminAnswer::Edited(self.spread(done).await),
            Told::Invited(handed, done) => {
                let (handed, edited) = tokio::join!(self.hand_over(handed), self.spread(done));
                AdminAnswer::Invited { handed: handed?, edited }
            }
            Told::Resent(handed) => AdminAnswer::Resent(self.hand_over(handed).await?),
        })
    }

    /// Wakes the links of what was made, and waits a moment for their devices.
    pub(super) async fn spread(&self, done: Done) -> Edited {
        if done.revision.is_some() {
            self.news.publish();
        }
        let answered = self.links.settle(&done.published, ARRIVAL).await;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut devices: Vec<Name> = done.published.into_iter().map(|one| one.device).collect();
        let published = count(devices.len());
        devices.sort_unstable();
        devices.truncate(limits::EDITED_NAMES);
        let founders = done.founders.into_iter().take(limits::EDITED_NAMES).collect();
        let revision = done.revision.and_then(|number| u64::try_from(number).ok());
        Edited { revision, published, answered: count(answered), devices, founders }
    }

    /// Who asks, by key and pass; how often is bounded.
    pub(super) fn recognise(&self, caller: &Caller, edits: bool) -> Result<(), Failed> {
        let now = (self.clock)();
        // Looked at first: strangers shall not queue for the one place in which the state can be written.
        self.store.read(|tx| self.person(tx, caller, edits, now).map(drop))?;
        if self.administrating.admit(&caller.key, EACH) { Ok(()) } else { Err(Refusal::TooMany.into()) }
    }

    pub(super) fn person(
        &self,
        tx: &Tx<'_>,
        Caller { key, pass }: &Caller,
        edits: bool,
        now: UnixTime,
    ) -> Result<Person, Failed> {
        let (person, narrow) = self.login.administrator(tx, (key, pass), edits, now)??;
        if narrow != Narrowing::NONE {
            let what = "this sign-in is good for single devices or services, and for no administration; sign in without `--only-device` and `--only-service`";
            return Err(Declined::new(Decline::Forbidden, vec![what.to_owned()]).into());
        }
        Ok(person)
    }

    fn tell(&self, caller: &Caller, question: AdminQuestion, body: &[u8]) -> Result<Told, Failed> {
        let now = (self.clock)();
        match question {
            AdminQuestion::Me => self.look(caller, |tx, user| {
                let administration::Me { user, account, permissions } = administration::me(tx, user, now)?;
                let words = permissions.into_iter().filter_map(|one| one.word().parse().ok());
                Ok(AdminAnswer::Me { user, account, permissions: words.collect() })
            }),
            AdminQuestion::List { kind, after, limit } => self.look(caller, |tx, user| {
                let limit = usize::from(limit).clamp(1, limits::ENTITIES);
                let (seen, more) =
                    administration::list(tx, user, of_word(&kind)?, after.as_ref(), limit, now)?;
                Ok(page(seen, more))
            }),
            AdminQuestion::Show { kind, name } => self.look(caller, |tx, user| {
                let kind = of_word(&kind)?;
                let entity = entry(administration::show(tx, user, kind, &name, now)?);
                if size(&entity) > ROOM {
                    let what = format!("{kind} `{name}` is larger than an answer can be ({ROOM} bytes); read it with a token over the HTTP API");
                    return Err(Declined::new(Decline::TooLarge, vec![what]).into());
                }
                Ok(AdminAnswer::Entity(entity))
            }),
            AdminQuestion::Put { kind, name, guard } => {
                let (kind, body) = (of_word(&kind)?, Some(read(body)?));
                self.make(caller, &[Edit { kind, name, body, guard: of_wire(guard) }])
            }
            AdminQuestion::Remove { kind, name, guard } => {
                let kind = of_word(&kind)?;
                self.make(caller, &[Edit { kind, name, body: None, guard: of_wire(guard) }])
            }
            AdminQuestion::Batch => {
                let batch: Batch = serde_json::from_slice(body).map_err(unreadable)?;
                self.make(caller, &batch.edits().map_err(unreadable)?)
            }
            AdminQuestion::Invitations { after } => self.invitations(caller, after.as_ref()),
            AdminQuestion::Invite => self.invite(caller, body),
            AdminQuestion::ResendInvite { user, good_for_s } => {
                self.resend_invite(caller, (&user, good_for_s))
            }
            AdminQuestion::RevokeInvite { user } => self.revoke_invite(caller, user),
            AdminQuestion::History { kind, name, after, limit } => {
                self.history(caller, (kind.as_ref(), name), after, limit)
            }
        }
    }

    fn look(
        &self,
        caller: &Caller,
        work: impl FnOnce(&Tx<'_>, &Name) -> Result<AdminAnswer, Failed>,
    ) -> Result<Told, Failed> {
        let now = (self.clock)();
        self.store.read(|tx| work(tx, &self.person(tx, caller, false, now)?.name).map(Told::Seen))
    }

    fn make(&self, caller: &Caller, edits: &[Edit]) -> Result<Told, Failed> {
        let now = (self.clock)();
        self.store.write(|tx| {
            // Again: the user may have been disabled since the first look.
            let user = self.person(tx, caller, true, now)?.name;
            Ok(Told::Done(administration::edit(tx, &self.publisher, &user, edits, now)?))
        })
    }
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        let Some(how) = decline(refused.sort()) else {
            tracing::error!(error = %refused, "an edit failed");
            return Self::Internal;
        };
        Declined::new(how, refused.lines()).into()
    }
}

/// What a caller is told of a refusal; nothing where it is no matter of theirs.
const fn decline(sort: Sort) -> Option<Decline> {
    match sort {
        Sort::Unknown => Some(Decline::Unknown),
        Sort::Forbidden => Some(Decline::Forbidden),
        Sort::Overtaken => Some(Decline::Overtaken),
        Sort::Conflict => Some(Decline::Conflict),
        Sort::Unreadable => Some(Decline::Unreadable),
        Sort::Ours => None,
    }
}

fn of_word(word: &Name) -> Result<EntityKind, Failed> {
    let unknown = || {
        let kinds: Vec<&str> = EntityKind::ALL.iter().map(|kind| kind.word()).collect();
        unreadable(format_args!("`{word}` is no kind of entity; there are {}", kinds.join(", ")))
    };
    EntityKind::from_word(word.as_str()).ok_or_else(unknown)
}

const fn of_wire(guard: EditGuard) -> Guard {
    match guard {
        EditGuard::Any => Guard::Any,
        EditGuard::Absent => Guard::Absent,
        // No revision has such a number: nothing has that version.
        EditGuard::Version(version) if version > i64::MAX as u64 => Guard::Is(Version(i64::MAX)),
        EditGuard::Version(version) => Guard::Is(Version(version.cast_signed())),
    }
}

/// The keys of an entity.
fn read(body: &[u8]) -> Result<Json, Failed> {
    let json: Json = serde_json::from_slice(body).map_err(unreadable)?;
    if json.is_object() {
        Ok(json)
    } else {
        Err(unreadable("expected an object with the keys of the entity"))
    }
}

fn unreadable(what: impl std::fmt::Display) -> Failed {
    Declined::new(Decline::Unreadable, vec![what.to_string()]).into()
}

fn too_large() -> Declined {
    let what = format!("a body has at most {} bytes; make several batches of it", limits::BODY_BYTES);
    Declined::new(Decline::TooLarge, vec![what])
}

fn entry(Seen { name, version, body }: Seen) -> EntityEntry {
    EntityEntry { name, version: u64::try_from(version.0).unwrap_or(0), body: Some(body.to_string()) }
}

/// Bytes of an entity in an answer, at most.
fn size(EntityEntry { name, body, .. }: &EntityEntry) -> usize {
    AROUND + name.as_str().len() + body.as_ref().map_or(0, String::len)
}

/// As many entities as an answer holds; one that alone is too large goes without its keys.
fn page(seen: Vec<Seen>, more: Option<Name>) -> AdminAnswer {
    let (mut room, mut entities) = (ROOM, Vec::new());
    for mut entity in seen.into_iter().map(entry) {
        if size(&entity) > ROOM {
            entity.body = None;
        }
        let Some(left) = room.checked_sub(size(&entity)) else {
            let last: Option<&EntityEntry> = entities.last();
            let more = last.map(|last| last.name.clone());
            return AdminAnswer::Page { entities, more };
        };
        room = left;
        entities.push(entity);
    }
    AdminAnswer::Page { entities, more }
}

/// Questions of one user.
const EACH: Size = Size { attempts: 240, period: Duration::from_secs(60) };
/// For the body of an edit.
const BODY: Duration = Duration::from_secs(30);
/// What an answer has room for, beside its frame.
const ROOM: usize = limits::LIST_FRAME_BYTES - 256;
/// Bytes around an entity: its version, its counts and whether there are keys.
const AROUND: usize = 24;

#[cfg(test)]
mod tests {
    use postern_protocol::wire::codec;
    use serde_json::json;

    use super::*;

    fn seen(number: usize, bytes: usize) -> Seen {
        let (name, body) = (format!("d{number:04}").parse().unwrap(), json!({ "label": "x".repeat(bytes) }));
        Seen { name, version: Version(7), body }
    }

    #[test]
    fn a_page_has_what_an_answer_holds_and_says_where_it_goes_on() {
        let many = |bytes| (0..500).map(|number| seen(number, bytes)).collect();
        for bytes in [0, 100, 1_000, 100_000] {
            let answer = HubAnswer::Administered(page(many(bytes), Some("d0499".parse().unwrap())));
            assert!(codec::encode(&answer, limits::LIST_FRAME_BYTES).is_ok(), "{bytes}");
            let HubAnswer::Administered(AdminAnswer::Page { entities, more }) = answer else { panic!() };
            assert_eq!(more, entities.last().map(|last| last.name.clone()), "{bytes}");
            assert!(!entities.is_empty());
        }
        // What no answer holds does not keep the rest from being listed.
        let AdminAnswer::Page { entities, more } =
            page(vec![seen(0, limits::LIST_FRAME_BYTES), seen(1, 0)], None)
        else {
            panic!()
        };
        assert_eq!(entities.iter().map(|one| one.body.is_some()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(more, None);
    }

    #[test]
    fn a_version_that_no_revision_can_have_is_one_that_nothing_has() {
        assert_eq!(of_wire(EditGuard::Version(7)), Guard::Is(Version(7)));
        assert_eq!(of_wire(EditGuard::Version(u64::MAX)), Guard::Is(Version(i64::MAX)));
    }
}
