//! `postern logout`: the key loses its meaning at the hub and its bytes here.
//!
//! The local files go in any case: a hub that is away must not keep anyone signed in on a computer that is handed on.
//! With `--everywhere` every pass of the user is worthless afterwards, so there the hub must hear of it.

use serde::Serialize;

use postern_protocol::wire::hub::{HubAnswer, HubRequest};

use crate::exit::Exit;
use crate::hub::{DIAL_WITHIN, HubError, HubLink};
use crate::problem::Problem;
use crate::profile::{Identity, Profile, ProfileError};
use crate::screen::Screen;

/// Signs out.
pub(crate) async fn run(everywhere: bool, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let told = match profile.identity() {
        Ok(identity) => tell_hub(everywhere, &identity).await,
        // A damaged or exposed key cannot speak for anyone; what is left of it goes.
        Err(ProfileError::SignedOut | ProfileError::File(_) | ProfileError::Key(_)) => Ok(()),
        Err(error @ (ProfileError::NoHome | ProfileError::Replaced | ProfileError::NoRandomness)) => {
            return Err(error.into());
        }
    };
    profile.sign_out()?;
    match told {
        // Without a key that the hub knows, nobody else is signed out.
        Err(error @ HubError::Refused(_)) if everywhere => {
            Err(Problem::from(error).about("signed out here and nowhere else: sign in and repeat it"))
        }
        // The hub has forgotten the key already.
        Ok(()) | Err(HubError::Refused(_)) => {
            screen.answer(&LogoutAnswer { signed_out: true });
            screen.say(if everywhere { "signed out everywhere" } else { "signed out" });
            Ok(Exit::Done)
        }
        Err(error) => {
            let about =
                "signed out here, but the hub still lists this computer's key, which no longer exists";
            Err(Problem::from(error).about(about))
        }
    }
}

async fn tell_hub(everywhere: bool, identity: &Identity) -> Result<(), HubError> {
    let membership = &identity.membership;
    let hub =
        HubLink::dial(&identity.key, membership.hub_key, &membership.hubs, DIAL_WITHIN, &identity.ladder)
            .await?;
    let request = if everywhere { HubRequest::LogoutEverywhere } else { HubRequest::Logout };
    let answer = hub.ask(&request).await;
    hub.close().await;
    let HubAnswer::Done = answer? else { return Err(HubError::Unexpected) };
    Ok(())
}

#[derive(Serialize)]
struct LogoutAnswer {
    signed_out: bool,
}
