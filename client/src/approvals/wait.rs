//! A service that waits for an approval: asks for it, waits for the answer, and goes on when it is yes.
//!
//! 1. The device's listing says that the service waits; nothing is asked of it that it would have to refuse.
//! 2. A person at a terminal is asked why; programs say it with `--reason`.
//! 3. The hub keeps the request, says whose people decide, and answers when that changes. A hub that is away is asked again.
//! 4. Ctrl-C and `--no-wait` leave the request: a later `postern connect` finds it, or what was approved.
//!
//! Deliberately absent: any belief in the hub. Its yes is a reason to ask the device again, and no more.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use postern_protocol::policy::Reason;
use postern_protocol::wire::approval::{ApprovalEntry, ApprovalStanding, ApprovalWish};
use postern_protocol::wire::hub::HubRequest;
use postern_protocol::wire::text::Text;

use super::ask;
use crate::args::ConnectArgs;
use crate::clock;
use crate::connect::interrupted;
use crate::device::{DeviceError, DeviceLink};
use crate::directory::Known;
use crate::hub::HubError;
use crate::problem::Problem;
use crate::profile::Identity;
use crate::screen::Screen;

/// Whether the device says of a service that it waits for an approval.
pub(crate) async fn is_waiting(link: &DeviceLink, args: &ConnectArgs) -> Result<bool, DeviceError> {
    let services = link.services().await?;
    let entry = services.iter().find(|entry| entry.name == args.service);
    Ok(entry.is_some_and(|entry| entry.blocked == Some(Reason::ApprovalPending)))
}

/// Asks for an approval and waits for it.
pub(crate) async fn obtain(
    known: &Known,
    identity: &Identity,
    args: &ConnectArgs,
    screen: &Screen,
) -> Result<(), Problem> {
    let why = reason(args, screen)?;
    let wish = ApprovalWish {
        device: known.entry.device,
        service: args.service.clone(),
        view_only: args.view_only,
        for_s: args.for_.0,
        why,
    };
    let mut pressed = pin!(interrupted());
    let known_as = OnceLock::new();
    let asking = async {
        let asked = ask(identity, &HubRequest::AskApproval(wish)).await?;
        let entry = asked.into_iter().next().ok_or(HubError::Unexpected)?;
        let id = known_as.get_or_init(|| entry.id.to_string());
        screen.note(&format!(
            "{}/{} opens when somebody of {} who may activate remote access there approves it; your request is {id}",
            known.entry.name, args.service, entry.company
        ));
        if args.no_wait { Err(Problem::waits(id)) } else { answer(identity, entry, screen).await }
    };
    // Together from the beginning: whoever reads that it waits may press Ctrl-C at once.
    tokio::select! {
        answered = asking => answered,
        () = &mut pressed => Err(known_as.get().map_or_else(Problem::interrupted, |id| Problem::waits(id))),
    }
}

/// Waits until the request is decided; a word to the person now and then says that it still waits.
async fn answer(identity: &Identity, mut entry: ApprovalEntry, screen: &Screen) -> Result<(), Problem> {
    let (began, mut said) = (Instant::now(), 0);
    loop {
        match &entry.standing {
            ApprovalStanding::Pending { .. } => {}
            ApprovalStanding::Approved { view_only, until } => {
                let mode = if *view_only { " to look only" } else { "" };
                screen.note(&format!("approved{mode} until {}", clock::local(*until)));
                return Ok(());
            }
            ApprovalStanding::Rejected { why } => {
                return Err(Problem::not_approved("rejected", why.as_str()));
            }
            ApprovalStanding::Revoked { why } => {
                return Err(Problem::not_approved("taken back", why.as_str()));
            }
            ApprovalStanding::Expired => return Err(Problem::not_approved("not answered in time", "")),
        }
        let minutes = began.elapsed().as_secs() / 60;
        if minutes > said {
            said = minutes;
            screen.note(&format!("still waiting after {minutes} min; Ctrl-C leaves the request as it is"));
        }
        let request = HubRequest::AwaitApproval { id: entry.id };
        match ask(identity, &request).await {
            Ok(entries) => entry = entries.into_iter().next().ok_or(HubError::Unexpected)?,
            // Restarted, or out of reach for a while: the request is kept there.
            Err(HubError::Dial(_) | HubError::Ended(_) | HubError::Failed(_)) => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error @ (HubError::Refused(_) | HubError::Declined(_) | HubError::Unexpected)) => {
                return Err(error.into());
            }
        }
    }
}

/// Until the device has the policy in which it is approved, or some time has passed: then its own answer counts.
pub(crate) async fn arrive(link: &DeviceLink, args: &ConnectArgs) -> Result<(), DeviceError> {
    let until = Instant::now() + ARRIVAL;
    while is_waiting(link, args).await? && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Why somebody wants to be let in.
fn reason(args: &ConnectArgs, screen: &Screen) -> Result<Text, Problem> {
    let typed = match &args.reason {
        Some(reason) => reason.clone(),
        None if screen.has_person() && io::stdin().is_terminal() => {
            let _closed = write!(io::stderr(), "Why do you need it (for those who approve): ");
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map_err(|_| Problem::no_reason())?;
            line
        }
        None => return Err(Problem::no_reason()),
    };
    let reason = Text::clean(typed.trim());
    if reason.as_str().is_empty() { Err(Problem::no_reason()) } else { Ok(reason) }
}

/// Between two questions to a hub that is away.
const AGAIN: Duration = Duration::from_secs(5);
/// For a device to take the policy in which it is approved.
const ARRIVAL: Duration = Duration::from_secs(15);
/// Between two looks at what the device lists.
const LOOK: Duration = Duration::from_millis(200);
