//! `postern admin`: the access model, looked at and edited by whoever may, one entity or a batch at a time.
//!
//! 1. The hub knows the user by key and sign-in; whoever edits and has one-time codes has used one in the last hours.
//! 2. What an entity is to be is read from a file or standard input ([`body`]) and goes to the hub as it is.
//! 3. The hub says what is there, what it did, or everything that is wrong; [`show`] prints it.
//!
//! Deliberately absent: any judgement of who may what, of names and of keys. The hub says that, by every way in the same words.

mod body;
mod history;
mod invite;
mod show;

use serde_json::Value as Json;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::wire::administration::{AdminAnswer, AdminQuestion, EditGuard, Edited, EntityEntry};
use postern_protocol::wire::hub::{HubAnswer, HubRequest};

pub(crate) use self::body::{BodyFault, json};
pub(crate) use self::show::{Done, arrival};

use self::body::Given;
use crate::args::{AdminArgs, AdminCommand, Entity};
use crate::exit::Exit;
use crate::hub::{DIAL_WITHIN, HubError, HubLink};
use crate::interrupt::unless_interrupted;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;
use crate::step_up;

/// Looks or edits.
pub(crate) async fn run(args: AdminArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    match args.command {
        AdminCommand::Me => {
            let me = Desk::open(&profile.identity()?).await?.ask(AdminQuestion::Me, None).await;
            show::me(&told(me)?, screen)
        }
        AdminCommand::List { kind, after, limit } => {
            let identity = profile.identity()?;
            let (entities, more) = told(list(&identity, &kind, after, limit).await)?;
            show::list(&kind, &entities, more.as_ref(), screen);
            Ok(Exit::Done)
        }
        AdminCommand::Show(entity) => {
            let shown = told(look(&Desk::open(&profile.identity()?).await?, &entity).await)?;
            show::entity(&entity, &shown, screen)
        }
        AdminCommand::Create { entity, file } => {
            let given = Given::read(&file, &entity)?;
            make(&entity, given, Manner::Create, profile, screen).await
        }
        AdminCommand::Replace { entity, file, if_version } => {
            let given = Given::read(&file, &entity)?;
            make(&entity, given.at(if_version), Manner::Replace, profile, screen).await
        }
        AdminCommand::Edit { entity, file, if_version } => {
            let given = Given::read(&file, &entity)?;
            make(&entity, given.at(if_version), Manner::Edit, profile, screen).await
        }
        AdminCommand::Remove { entity, if_version } => {
            let guard = if_version.map_or(EditGuard::Any, EditGuard::Version);
            let edited = decide(profile, screen, async |desk| {
                let Entity { kind, name } = entity.clone();
                desk.edit(AdminQuestion::Remove { kind, name, guard }, None).await
            });
            let edited = edited.await?;
            show::edited(&format!("{} {} is gone", entity.kind, entity.name), &edited, screen);
            Ok(Exit::Done)
        }
        AdminCommand::Batch { file } => {
            let batch = body::batch(&file)?;
            let edited =
                decide(profile, screen, async |desk| desk.edit(AdminQuestion::Batch, Some(&batch)).await);
            show::edited("all edits are made", &edited.await?, screen);
            Ok(Exit::Done)
        }
        AdminCommand::History(args) => history::run(&args, profile, screen).await,
        AdminCommand::Invitations => invite::list(profile, screen).await,
        AdminCommand::Invite(args) => invite::invite(args, profile, screen).await,
        AdminCommand::ResendInvite { user, good_for } => {
            invite::resend(user, good_for, profile, screen).await
        }
        AdminCommand::RevokeInvite { user } => invite::revoke(user, profile, screen).await,
    }
}

/// How an entity is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Create,
    Replace,
    Edit,
}

async fn make(
    entity: &Entity,
    given: Given,
    manner: Manner,
    profile: &Profile,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let edited = decide(profile, screen, async |desk| {
        let Entity { kind, name } = entity.clone();
        // What is replaced or edited is there, and stays what was looked at.
        let (guard, keys) = match (manner, given.version) {
            (Manner::Create, _) => (EditGuard::Absent, given.keys.clone()),
            (Manner::Replace, Some(version)) => (EditGuard::Version(version), given.keys.clone()),
            (Manner::Replace, None) => {
                (EditGuard::Version(look(desk, entity).await?.version), given.keys.clone())
            }
            (Manner::Edit, version) => {
                let there = look(desk, entity).await?;
                let was = there.body.as_deref().and_then(|body| serde_json::from_str(body).ok());
                let merged = body::merge(was.ok_or(HubError::Unexpected)?, &given.keys);
                (EditGuard::Version(version.unwrap_or(there.version)), merged)
            }
        };
        let body = Json::Object(keys).to_string();
        desk.edit(AdminQuestion::Put { kind, name, guard }, Some(body.as_bytes())).await
    });
    let edited = edited.await?;
    let verb = if manner == Manner::Create { "is made" } else { "is changed" };
    show::edited(&format!("{} {} {verb}", entity.kind, entity.name), &edited, screen);
    Ok(Exit::Done)
}

/// Changes something, with a second factor where the hub demands one and a person is there.
async fn decide<T>(
    profile: &Profile,
    screen: &Screen,
    work: impl AsyncFn(&Desk) -> Result<T, HubError>,
) -> Result<T, Problem> {
    unless_interrupted(async {
        let answered = step_up::deciding(profile, screen, async |identity| {
            let desk = Desk::open(identity).await?;
            let answer = work(&desk).await;
            desk.hub.close().await;
            // Told apart here, where the words for it are.
            match answer {
                Err(error) if error.is_of_earlier_version() => Ok(Err(Problem::earlier_hub("postern admin"))),
                answer => Ok(Ok(answer?)),
            }
        });
        answered.await?
    })
    .await
}

/// Every entity of a kind, page by page, and behind which name there are more.
async fn list(
    identity: &Identity,
    kind: &Name,
    mut after: Option<Name>,
    limit: Option<u32>,
) -> Result<(Vec<EntityEntry>, Option<Name>), HubError> {
    let desk = Desk::open(identity).await?;
    let wanted = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let mut listed = Vec::new();
    let outcome = loop {
        let left = wanted.saturating_sub(listed.len()).min(limits::ENTITIES);
        let limit = u16::try_from(left).unwrap_or(u16::MAX);
        let question = AdminQuestion::List { kind: kind.clone(), after: after.clone(), limit };
        let answer = match desk.ask(question, None).await {
            Ok(answer) => answer,
            Err(error) => break Err(error),
        };
        let AdminAnswer::Page { entities, more } = answer else { break Err(HubError::Unexpected) };
        listed.extend(entities);
        // A hub that does not come forward would be asked for ever.
        let goes_on = more.as_ref().is_some_and(|more| after.as_ref().is_none_or(|after| more > after));
        if !goes_on || listed.len() >= wanted {
            listed.truncate(wanted);
            break Ok((listed, more.filter(|_| goes_on)));
        }
        after = more;
    };
    desk.hub.close().await;
    outcome
}

async fn look(desk: &Desk, Entity { kind, name }: &Entity) -> Result<EntityEntry, HubError> {
    let question = AdminQuestion::Show { kind: kind.clone(), name: name.clone() };
    let AdminAnswer::Entity(entity) = desk.ask(question, None).await? else {
        return Err(HubError::Unexpected);
    };
    Ok(entity)
}

/// A hub that does not know the question says so by closing.
fn told<T>(answer: Result<T, HubError>) -> Result<T, Problem> {
    answer.map_err(|error| {
        if error.is_of_earlier_version() { Problem::earlier_hub("postern admin") } else { error.into() }
    })
}

/// A connection to the hub on which somebody administrates.
struct Desk {
    hub: HubLink,
    pass: Vec<u8>,
}

impl Desk {
    async fn open(identity: &Identity) -> Result<Self, HubError> {
        let membership = &identity.membership;
        let (key, hub_key) = (&identity.key, membership.hub_key);
        let hub = HubLink::dial(key, hub_key, &membership.hubs, DIAL_WITHIN, &identity.ladder).await?;
        Ok(Self { hub, pass: identity.pass.clone() })
    }

    async fn ask(&self, question: AdminQuestion, body: Option<&[u8]>) -> Result<AdminAnswer, HubError> {
        let request = HubRequest::Administrate { pass: self.pass.clone(), question };
        let answer = self.hub.ask_with(&request, body).await?;
        let HubAnswer::Administered(answer) = answer else { return Err(HubError::Unexpected) };
        Ok(answer)
    }

    async fn edit(&self, question: AdminQuestion, body: Option<&[u8]>) -> Result<Edited, HubError> {
        let AdminAnswer::Edited(edited) = self.ask(question, body).await? else {
            return Err(HubError::Unexpected);
        };
        Ok(edited)
    }
}
