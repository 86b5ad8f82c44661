//! `postern step-up`: proves a second factor again, so that what needs one stays open.
//!
//! 1. The hub gets the present pass and a one-time code, and gives a pass that says when the code was used. Who signs in with an
//!    identity provider proves it there, in a browser.
//! 2. The new pass takes the place of the old one in the profile.
//! 3. Every running `postern connect` of the profile sees it there and presents it on its live connection.
//!
//! Deliberately absent: the password, and a longer sign-in. The new pass ends with the old one.

use serde::Serialize;

use postern_protocol::wire::hub::{HubAnswer, HubRequest, Password, Refusal};
use postern_protocol::wire::sign_on::SignOnPurpose;

use crate::args::StepUpArgs;
use crate::clock;
use crate::exit::Exit;
use crate::hub::HubError;
use crate::login::{PassFacts, ask};
use crate::problem::Problem;
use crate::profile::{Identity, Membership, Profile};
use crate::screen::Screen;
use crate::secret::read_otp;
use crate::sign_on::{Door, Manner, sign_on};

/// Steps up.
pub(crate) async fn run(args: &StepUpArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let identity = profile.identity()?;
    let newer = match (&args.otp, &identity.membership.provider) {
        (None, Some(provider)) => {
            let manner =
                Manner { provider: Some(provider.clone()), no_browser: args.no_browser, elsewhere: false };
            prove_there(&identity, &manner, profile, screen).await?
        }
        (given, _) => prove(&identity, read_otp(given.as_deref().unwrap_or_default())?, profile).await?,
    };
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
    let Membership { hub_key, hubs, .. } = &identity.membership;
    let request = HubRequest::StepUp { pass: identity.pass.clone(), otp };
    let answer = ask(&identity.key, *hub_key, hubs, &request, &identity.ladder).await?;
    keep(answer, identity, profile)
}

/// The same with the identity provider of the sign-in.
async fn prove_there(
    before: &Identity,
    manner: &Manner,
    profile: &Profile,
    screen: &Screen,
) -> Result<Identity, Problem> {
    let identity = profile.renewed(before)?;
    let Membership { hub_key, hubs, .. } = &identity.membership;
    let door = Door { key: &identity.key, hub_key: *hub_key, hubs, ladder: &identity.ladder };
    let purpose = SignOnPurpose::StepUp { pass: identity.pass.clone() };
    let (answer, _) = sign_on(door, manner, purpose, screen).await?;
    // The person took a while, in which another program may have got a better pass.
    keep(answer, profile.renewed(&identity)?, profile)
}

/// Asks the person for what they sign in with, whatever that is.
pub(crate) async fn again(
    before: &Identity,
    profile: &Profile,
    screen: &Screen,
) -> Result<Identity, Problem> {
    match &before.membership.provider {
        Some(provider) => {
            let manner = Manner { provider: Some(provider.clone()), ..Manner::default() };
            prove_there(before, &manner, profile, screen).await
        }
        None => prove(before, read_otp("")?, profile).await,
    }
}

fn keep(answer: HubAnswer, identity: Identity, profile: &Profile) -> Result<Identity, Problem> {
    let HubAnswer::LoggedIn { user, pass, .. } = answer else {
        return Err(HubError::Unexpected.into());
    };
    if identity.membership.user_id.is_some_and(|expected| expected != user) {
        return Err(HubError::Unexpected.into());
    }
    let membership = Membership { second_factor: true, ..identity.membership.clone() };
    profile.sign_in(&membership, &pass)?;
    Ok(Identity { membership, pass, ..identity })
}

/// Asks something that decides for others; where the hub demands a second factor of the last hours, a person at a terminal is asked
/// for what they sign in with, and the hub asked again.
pub(crate) async fn deciding<T>(
    profile: &Profile,
    screen: &Screen,
    ask: impl AsyncFn(&Identity) -> Result<T, HubError>,
) -> Result<T, Problem> {
    let identity = profile.identity()?;
    match ask(&identity).await {
        Err(HubError::Refused(Refusal::SecondFactor)) if screen.has_person() => {
            screen.note("to decide for others takes a second factor that was used not long ago");
            let newer = again(&identity, profile, screen).await?;
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
