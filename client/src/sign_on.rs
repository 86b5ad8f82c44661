//! Single sign-on: an identity provider says who somebody is, in a browser that has nothing to do with this program.
//!
//! 1. The hub says where the browser goes. It opens by itself, or the person is told.
//! 2. On this computer the provider leads the browser back to a [listener](landing) on loopback (RFC 8252, section 7.3), and what it
//!    brings along goes to the hub. A copy of the address in another browser leads nowhere: the answer counts for the key that asked.
//! 3. Where the browser is elsewhere, the person types a code there (RFC 8628), and the hub is asked until it knows.
//!
//! Deliberately absent: tokens. The hub asks the provider by itself, and this program gets its pass as at any other sign-in.

mod landing;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use postern_protocol::name::Name;
use postern_protocol::trust::{PublicKey, SecretKey};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::sign_on::{SignOn, SignOnBegun, SignOnPurpose, SignOnWay};
use postern_transport::ladder::Ladder;

use self::landing::{Landed, Landing};
use crate::clock;
use crate::connect::interrupted;
use crate::hub::HubError;
use crate::login::ask;
use crate::problem::Problem;
use crate::screen::Screen;

/// Whom the hub is asked as, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door<'a> {
    /// The key that the pass will be for.
    pub(crate) key: &'a SecretKey,
    /// The hub's key.
    pub(crate) hub_key: PublicKey,
    /// The hub's addresses.
    pub(crate) hubs: &'a [SocketAddr],
    /// Leads there.
    pub(crate) ladder: &'a Ladder,
}

/// How a person wants to get to the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// The provider's name at the hub; none where there is only one.
    pub(crate) provider: Option<Name>,
    /// Says where to go, and opens no browser.
    pub(crate) no_browser: bool,
    /// With a browser on another computer or telephone.
    pub(crate) elsewhere: bool,
}

/// Signs on; returns the hub's last answer, and the provider's name there.
pub(crate) async fn sign_on(
    door: Door<'_>,
    manner: &Manner,
    purpose: SignOnPurpose,
    screen: &Screen,
) -> Result<(HubAnswer, Name), Problem> {
    let mut pressed = pin!(interrupted());
    let signing = async {
        if manner.elsewhere {
            elsewhere(door, manner, purpose, screen).await
        } else {
            here(door, manner, purpose, screen).await
        }
    };
    tokio::select! {
        answer = signing => answer,
        () = &mut pressed => Err(Problem::interrupted()),
    }
}

async fn here(
    door: Door<'_>,
    manner: &Manner,
    purpose: SignOnPurpose,
    screen: &Screen,
) -> Result<(HubAnswer, Name), Problem> {
    let landing = Landing::bind(0).await.map_err(|error| Problem::no_landing(0, &error))?;
    let begun = begin(door, manner, purpose, SignOnWay::Browser { port: landing.port() }).await?;
    let landing = if begun.port == landing.port() {
        landing
    } else {
        // The provider knows one port alone.
        Landing::bind(begun.port).await.map_err(|error| Problem::no_landing(begun.port, &error))?
    };
    let url = begun.url.as_str().to_owned();
    let opened = !manner.no_browser && {
        let url = url.clone();
        // Some systems are asked through a program that takes its time.
        matches!(tokio::task::spawn_blocking(move || webbrowser::open(&url)).await, Ok(Ok(())))
    };
    if opened {
        screen.note(&format!("sign in at {} in your browser; if none has opened, go to", begun.provider));
    } else {
        screen.note(&format!("sign in at {} in a browser on this computer; go to", begun.provider));
    }
    screen.note(&url);
    let patience = Duration::from_secs(begun.lapses.secs_since(clock::now()));
    let landed = tokio::time::timeout(patience, landing.wait(&begun.id.state())).await;
    match landed.map_err(|_| HubError::Refused(Refusal::SignOn))? {
        Landed::Code { code, issuer } => {
            let request = HubRequest::FinishSignOn { id: begun.id, code, issuer };
            Ok((put(door, &request).await?, begun.provider))
        }
        Landed::Refused => Err(HubError::Refused(Refusal::NotVouched).into()),
    }
}

async fn elsewhere(
    door: Door<'_>,
    manner: &Manner,
    purpose: SignOnPurpose,
    screen: &Screen,
) -> Result<(HubAnswer, Name), Problem> {
    let begun = begin(door, manner, purpose, SignOnWay::Elsewhere).await?;
    let code = begun.code.as_ref().map(|code| format!(" with the code {code}", code = code.as_str()));
    screen.note(&format!(
        "sign in at {}{}, on any computer or telephone",
        begun.provider,
        code.unwrap_or_default()
    ));
    screen.note(begun.url.as_str());
    let request = HubRequest::AwaitSignOn { id: begun.id };
    loop {
        match put(door, &request).await {
            Ok(HubAnswer::SignOn(_)) => {}
            Ok(answer) => return Ok((answer, begun.provider)),
            // Out of reach for a while: the hub goes on asking.
            Err(HubError::Dial(_) | HubError::Ended(_)) if clock::now() < begun.lapses => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn begin(
    door: Door<'_>,
    manner: &Manner,
    purpose: SignOnPurpose,
    way: SignOnWay,
) -> Result<SignOnBegun, Problem> {
    let request = HubRequest::BeginSignOn(SignOn { provider: manner.provider.clone(), purpose, way });
    let HubAnswer::SignOn(begun) = put(door, &request).await? else {
        return Err(HubError::Unexpected.into());
    };
    Ok(begun)
}

async fn put(door: Door<'_>, request: &HubRequest) -> Result<HubAnswer, HubError> {
    ask(door.key, door.hub_key, door.hubs, request, door.ladder).await
}

/// Between two attempts to reach the hub.
const AGAIN: Duration = Duration::from_secs(2);
