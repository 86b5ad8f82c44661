//! `postern case`: people of the company that runs a machine let the service provider in, for a time, and put it out again.
//!
//! 1. The hub knows the user by key and sign-in; whoever changes something and has one-time codes has used one in the last hours.
//! 2. Opening a case and activating remote access are two permissions, and using it is none of both. The hub says who may.
//! 3. The device holds the window by itself, and cuts live tunnels when it is taken away.

use serde::Serialize;

use postern_protocol::name::{Label, Name};
use postern_protocol::wire::case::{CaseAbout, CaseEntry, CasePage, CaseQuestion, CaseStanding};
use postern_protocol::wire::hub::{HubAnswer, HubRequest};

use crate::admin::{Done, arrival};
use crate::args::{CaseArgs, CaseCommand, CaseOpen, Openness};
use crate::clock;
use crate::exit::Exit;
use crate::hub::HubError;
use crate::interrupt::unless_interrupted;
use crate::login;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;
use crate::step_up;

/// Looks at cases or handles one.
pub(crate) async fn run(args: CaseArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    match args.command {
        CaseCommand::List => {
            let cases = told(list(&profile.identity()?).await)?;
            screen.answer(&Listing { cases: cases.iter().map(Shown::from).collect() });
            if cases.is_empty() {
                screen.note("no service case is open that you may know of");
            }
            screen.list(&HEADER, &cases.iter().map(row).collect::<Vec<_>>());
            Ok(Exit::Done)
        }
        CaseCommand::Show { name } => {
            let page = told(ask(&profile.identity()?, CaseQuestion::Show { name }).await)?;
            let case = page.cases.into_iter().next().ok_or(HubError::Unexpected)?;
            screen.answer(&Shown::from(&case));
            screen.list(&HEADER, &[row(&case)]);
            Ok(Exit::Done)
        }
        CaseCommand::Open(args) => open(args, profile, screen).await,
        CaseCommand::Activate { name, span } => {
            let window = span.window().ok_or_else(Problem::no_end)?;
            let said = |case: &CaseEntry| format!("is active{}", window_of(case));
            handle(&CaseQuestion::Activate { name, window }, said, profile, screen).await
        }
        CaseCommand::Deactivate { name } => {
            let said = |_: &CaseEntry| "lets nobody in any more".to_owned();
            handle(&CaseQuestion::Deactivate { name }, said, profile, screen).await
        }
        CaseCommand::Close { name } => {
            let said = |_: &CaseEntry| "is closed".to_owned();
            handle(&CaseQuestion::Close { name }, said, profile, screen).await
        }
    }
}

async fn open(args: CaseOpen, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let CaseOpen { visibility, machine, device, reason, name, span } = args;
    let about = machine.map(CaseAbout::Machine).or(device.map(CaseAbout::Device));
    let window = span.window();
    if window.is_none() && span.from.is_some() {
        return Err(Problem::no_end());
    }
    let question = CaseQuestion::Open {
        name,
        // The command line demands one of them.
        about: about.ok_or(HubError::Unexpected)?,
        shared: visibility == Openness::Shared,
        window,
        label: reason,
    };
    let said = |case: &CaseEntry| match case.standing {
        CaseStanding::Inactive => {
            format!("is open; nobody gets in by it before `postern case activate {} --for 4h`", case.name)
        }
        CaseStanding::Planned | CaseStanding::Active | CaseStanding::Over => {
            format!("is open and active{}", window_of(case))
        }
    };
    handle(&question, said, profile, screen).await
}

/// Handles a case, and says what came of it.
async fn handle(
    question: &CaseQuestion,
    said: impl Fn(&CaseEntry) -> String,
    profile: &Profile,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let page = unless_interrupted(async {
        let answered = step_up::deciding(profile, screen, async |identity| {
            match ask(identity, question.clone()).await {
                // Told apart here, where the words for it are.
                Err(error) if error.is_of_earlier_version() => Ok(Err(Problem::earlier_hub(COMMAND))),
                answer => Ok(Ok(answer?)),
            }
        });
        answered.await?
    })
    .await?;
    let (Some(case), Some(edited)) = (page.cases.first(), page.edited.as_ref()) else {
        return Err(HubError::Unexpected.into());
    };
    screen.answer(&Handled { case: Shown::from(case), edit: Done::from(edited) });
    let what = format!("the {} case {} of {} {}", visibility(case), case.name, subject(case), said(case));
    match edited.revision {
        Some(_) => screen.say(&format!("{what}{}", arrival(edited))),
        None => screen.say(&format!("{what}, as it was before; nothing was changed")),
    }
    Ok(Exit::Done)
}

/// Every case that the user may know of, page by page.
async fn list(identity: &Identity) -> Result<Vec<CaseEntry>, HubError> {
    let (mut cases, mut after): (Vec<CaseEntry>, Option<Name>) = (Vec::new(), None);
    loop {
        let page = ask(identity, CaseQuestion::List { after: after.clone() }).await?;
        cases.extend(page.cases);
        // A hub that does not come forward would be asked for ever.
        match page.more {
            Some(more) if after.as_ref().is_none_or(|after| more > *after) => after = Some(more),
            Some(_) | None => return Ok(cases),
        }
    }
}

async fn ask(identity: &Identity, question: CaseQuestion) -> Result<CasePage, HubError> {
    let membership = &identity.membership;
    let request = HubRequest::HandleCase { pass: identity.pass.clone(), question };
    let answer =
        login::ask(&identity.key, membership.hub_key, &membership.hubs, &request, &identity.ladder).await?;
    let HubAnswer::Cases(page) = answer else { return Err(HubError::Unexpected) };
    Ok(page)
}

fn told<T>(answer: Result<T, HubError>) -> Result<T, Problem> {
    answer.map_err(
        |error| {
            if error.is_of_earlier_version() { Problem::earlier_hub(COMMAND) } else { error.into() }
        },
    )
}

fn row(case: &CaseEntry) -> Vec<String> {
    let time = |time: Option<_>| time.map_or_else(|| "-".to_owned(), clock::local);
    vec![
        case.name.to_string(),
        subject(case),
        visibility(case).to_owned(),
        standing(case).to_owned(),
        time(case.from),
        time(case.until),
        case.label.as_ref().map_or_else(|| "-".to_owned(), Label::to_string),
    ]
}

fn subject(case: &CaseEntry) -> String {
    match &case.about {
        CaseAbout::Machine(machine) => format!("machine {machine}"),
        CaseAbout::Device(device) => format!("device {device}"),
    }
}

const fn visibility(case: &CaseEntry) -> &'static str {
    if case.shared { "shared" } else { "internal" }
}

const fn standing(case: &CaseEntry) -> &'static str {
    match case.standing {
        CaseStanding::Inactive => "inactive",
        CaseStanding::Planned => "planned",
        CaseStanding::Active => "active",
        CaseStanding::Over => "over",
    }
}

fn window_of(case: &CaseEntry) -> String {
    let one = |word: &str, time: Option<_>| {
        time.map_or_else(String::new, |time| format!(" {word} {}", clock::local(time)))
    };
    format!("{}{}", one("from", case.from), one("until", case.until))
}

#[derive(Serialize)]
struct Listing<'a> {
    cases: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Handled<'a> {
    case: Shown<'a>,
    #[serde(flatten)]
    edit: Done<'a>,
}

/// A case for programs, with the keys of `postern-cloud case --json`.
#[derive(Serialize)]
struct Shown<'a> {
    case: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a Name>,
    visibility: &'static str,
    state: &'static str,
    from: Option<String>,
    until: Option<String>,
    reason: Option<&'a Label>,
}

impl<'a> From<&'a CaseEntry> for Shown<'a> {
    fn from(entry: &'a CaseEntry) -> Self {
        let (machine, device) = match &entry.about {
            CaseAbout::Machine(machine) => (Some(machine), None),
            CaseAbout::Device(device) => (None, Some(device)),
        };
        Self {
            case: &entry.name,
            machine,
            device,
            visibility: visibility(entry),
            state: standing(entry),
            from: entry.from.map(clock::rfc3339),
            until: entry.until.map(clock::rfc3339),
            reason: entry.label.as_ref(),
        }
    }
}

const HEADER: [&str; 7] = ["CASE", "ABOUT", "VISIBILITY", "REMOTE ACCESS", "FROM", "UNTIL", "REASON"];
const COMMAND: &str = "postern case";
