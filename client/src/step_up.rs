//! `postern step-up`: proves a second factor again, so that what needs one stays open.
//!
//! 1. The hub gets the present pass and a one-time code, and gives a pass that says when the code was used.
//! 2. The new pass takes the place of the old one in the profile.
//! 3. Every running `postern connect` of the profile sees it there and presents it on its live connection.
//!
//! Deliberately absent: the password, and a longer sign-in. The new pass ends with the old one.

use serde::Serialize;

use postern_protocol::wire::hub::{HubAnswer, HubRequest, Password, Refusal};

use crate::args::StepUpArgs;
use crate::clock;
use crate::exit::Exit;
use crate::hub::HubError;
use crate::login::{PassFacts, ask};
use crate::problem::Problem;
use crate::profile::{Identity, Membership, Profile};
use crate::screen::Screen;
use crate::secret::read_otp;

/// Steps up.
pub(crate) async fn run(args: &StepUpArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let identity = profile.identity()?;
    let otp = read_otp(args.otp.as_deref().unwrap_or_default())?;
    let newer = prove(&identity, otp, profile).await?;
    let facts = PassFacts::read(&newer.pass).ok_or(HubError::Unexpected)?;
    screen.answer(&StepUpAnswer {
        until: clock::rfc3339(facts.expires),
        second_factor: facts.second_factor.map(clock::rfc3339),
    });
    screen.say(&format!("second factor used now; signed in until {}", clock::local(facts.expires)));
    Ok(Exit::Done)
}

/// Trades the pass of a sign-in and a one-time code for a pass with a second factor, and keeps it.
///
/// It is the sign-in of this moment, if `before` was the same user's: while a person looked for a code, another program
/// may have got a better pass, which must not be replaced by one that rests on the pass before it.
pub(crate) async fn prove(before: &Identity, otp: Password, profile: &Profile) -> Result<Identity, Problem> {
    let identity = profile.renewed(before)?;
    let Membership { hub_key, hubs, user_id, .. } = &identity.membership;
    let request = HubRequest::StepUp { pass: identity.pass.clone(), otp };
    let answer = ask(&identity.key, *hub_key, hubs, &request, &identity.ladder).await?;
    let HubAnswer::LoggedIn { user, pass, .. } = answer else {
        return Err(HubError::Unexpected.into());
    };
    if user_id.is_some_and(|expected| expected != user) {
        return Err(HubError::Unexpected.into());
    }
    let membership = Membership { second_factor: true, ..identity.membership.clone() };
    profile.sign_in(&membership, &pass)?;
    Ok(Identity { membership, pass, ..identity })
}

/// Asks something that decides for others; where the hub demands a second factor of the last hours, a person at a terminal is asked
/// for the one-time code, and the hub asked again.
pub(crate) async fn deciding<T>(
    profile: &Profile,
    screen: &Screen,
    ask: impl AsyncFn(&Identity) -> Result<T, HubError>,
) -> Result<T, Problem> {
    let identity = profile.identity()?;
    match ask(&identity).await {
        Err(HubError::Refused(Refusal::SecondFactor)) if screen.has_person() => {
            screen.note("to decide for others takes a second factor that was used not long ago");
            let newer = prove(&identity, read_otp("")?, profile).await?;
            Ok(ask(&newer).await?)
        }
        answered => Ok(answered?),
    }
}

#[derive(Serialize)]
struct StepUpAnswer {
    until: String,
    second_factor: Option<String>,
}
