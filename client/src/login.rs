//! `postern login`: from an invitation or a password to a pass on this computer.
//!
//! 1. The key is made before anyone is asked or dialled: the handshake with the hub is signed with it.
//! 2. With a code, the hub is where the code says and the user chooses a password.
//! 3. Without, the hub is the one of the last login (or of the arguments) and the user types the password.
//! 4. Whoever says `--sso`, or did so the last time, proves who they are to an [identity provider](crate::sign_on) instead.
//! 5. The hub's pass is stored beside the key that it is bound to.

use std::net::SocketAddr;

use serde::Serialize;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, Narrowing, Pass, PublicKey, SecretKey};
use postern_protocol::wire::codec;
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Only, Password};
use postern_protocol::wire::invitation::{Invitation, Invitee};
use postern_protocol::wire::sign_on::SignOnPurpose;
use postern_protocol::wire::text::Text;
use postern_transport::ladder::Ladder;

use crate::args::LoginArgs;
use crate::clock;
use crate::exit::Exit;
use crate::hub::{DIAL_WITHIN, HubError, HubLink};
use crate::problem::Problem;
use crate::profile::{Membership, Profile};
use crate::screen::Screen;
use crate::secret::{choose_password, offer_otp, read_code, read_otp, read_password};
use crate::sign_on::{Door, Manner, sign_on};

/// Signs in, or sets up one-time codes.
pub(crate) async fn run(args: LoginArgs, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    if let Some(code) = &args.code {
        let asked = if code == "-" { Some(read_code(args.password_stdin)?) } else { None };
        let code = asked.as_ref().map_or(code.as_str(), |asked| asked.as_str());
        let invitation = Invitation::parse(code, Invitee::User)?;
        let key = profile.create_key()?;
        if let Some(manner) = manner(&args, None)? {
            let place = Place::of(invitation.hubs, invitation.hub_key);
            let purpose = SignOnPurpose::Accept { secret: invitation.secret };
            return log_in_there(place, &manner, purpose, &key, profile, screen).await;
        }
        let password = choose_password(args.password_stdin)?;
        return accept(&invitation, password, &key, profile, screen).await;
    }
    let known = profile.membership()?;
    if let Some(manner) = manner(&args, known.as_ref())? {
        let place = match (args.hub.zip(args.hub_key), known) {
            (Some((hub, hub_key)), _) => Place::of(vec![hub], hub_key),
            (None, Some(known)) => Place::of(known.hubs, known.hub_key),
            (None, None) => return Err(Problem::no_hub()),
        };
        let key = profile.create_key()?;
        let only = Only { devices: listed(args.only_device), services: listed(args.only_service) };
        return log_in_there(place, &manner, SignOnPurpose::Login { only }, &key, profile, screen).await;
    }
    let membership = membership(&args, known)?;
    let key = profile.create_key()?;
    let password = read_password(args.password_stdin)?;
    let otp = match &args.otp {
        Some(given) => Some(read_otp(given)?),
        None if membership.second_factor && !args.password_stdin => offer_otp()?,
        None => None,
    };
    if args.setup_otp {
        set_up_otp(membership, password, otp, &key, profile, screen).await
    } else {
        let only = Only { devices: listed(args.only_device), services: listed(args.only_service) };
        log_in(membership, Proved { password, otp, only }, &key, profile, screen).await
    }
}

/// Who signs in where: arguments first, then what the last login left.
fn membership(args: &LoginArgs, known: Option<Membership>) -> Result<Membership, Problem> {
    let mut membership = match (known, args.hub, args.hub_key, &args.account, &args.user) {
        (_, Some(hub), Some(hub_key), Some(account), Some(user)) => {
            fresh(vec![hub], hub_key, Text::clean(account), user.clone())
        }
        (_, Some(_), ..) => return Err(Problem::nobody_named()),
        (Some(membership), ..) => membership,
        (None, ..) => return Err(Problem::no_hub()),
    };
    if let Some(account) = &args.account {
        membership.account = Text::clean(account);
    }
    if let Some(user) = &args.user {
        membership.user = user.clone();
    }
    Ok(membership)
}

async fn accept(
    invitation: &Invitation,
    password: Password,
    key: &SecretKey,
    profile: &Profile,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let request = HubRequest::AcceptInvitation { secret: invitation.secret, password };
    let answer = ask(key, invitation.hub_key, &invitation.hubs, &request, profile.ladder()).await?;
    keep(answer, Place::of(invitation.hubs.clone(), invitation.hub_key), profile, screen)
}

/// What a person types to sign in, and what for.
struct Proved {
    password: Password,
    otp: Option<Password>,
    only: Only,
}

/// What was named on the command line; naming nothing does not narrow.
fn listed(names: Vec<Name>) -> Option<Vec<Name>> {
    if names.is_empty() { None } else { Some(names) }
}

async fn log_in(
    membership: Membership,
    Proved { password, otp, only }: Proved,
    key: &SecretKey,
    profile: &Profile,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let Membership { hubs, hub_key, account, user, second_factor, .. } = membership;
    let request = HubRequest::Login { account, user, password, otp, only };
    let answer = ask(key, hub_key, &hubs, &request, profile.ladder()).await?;
    keep(answer, Place { second_factor, ..Place::of(hubs, hub_key) }, profile, screen)
}

/// How somebody signs in with an identity provider; none for who does not.
fn manner(args: &LoginArgs, known: Option<&Membership>) -> Result<Option<Manner>, Problem> {
    // Whoever says who they are, or brings a code or password along, does not mean a provider.
    let means_password = args.user.is_some()
        || args.account.is_some()
        || args.otp.is_some()
        || args.setup_otp
        || args.password_stdin;
    let provider = match (&args.sso, known.and_then(|known| known.provider.as_ref())) {
        (Some(named), _) if !named.is_empty() => Some(named.parse().map_err(Problem::bad_name)?),
        (Some(_), _) => None,
        (None, Some(last)) if !means_password => Some(last.clone()),
        (None, _) if args.no_browser || args.elsewhere => return Err(Problem::no_sso()),
        (None, _) => return Ok(None),
    };
    Ok(Some(Manner { provider, no_browser: args.no_browser, elsewhere: args.elsewhere }))
}

async fn log_in_there(
    place: Place,
    manner: &Manner,
    purpose: SignOnPurpose,
    key: &SecretKey,
    profile: &Profile,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let door = Door { key, hub_key: place.hub_key, hubs: &place.hubs, ladder: profile.ladder() };
    let (answer, provider) = sign_on(door, manner, purpose, screen).await?;
    keep(answer, Place { provider: Some(provider), ..place }, profile, screen)
}

async fn set_up_otp(
    mut membership: Membership,
    password: Password,
    otp: Option<Password>,
    key: &SecretKey,
    profile: &Profile,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let (account, user) = (membership.account.clone(), membership.user.clone());
    let request = HubRequest::EnrollOtp { account, user, password, otp };
    let answer = ask(key, membership.hub_key, &membership.hubs, &request, profile.ladder()).await?;
    let HubAnswer::Otp { uri } = answer else {
        return Err(HubError::Unexpected.into());
    };
    membership.second_factor = true;
    profile.remember(&membership)?;
    // The hub is trusted for much, but not to control this terminal.
    let uri: String = uri.chars().filter(char::is_ascii_graphic).collect();
    screen.answer(&OtpAnswer { uri: &uri });
    screen.say(&uri);
    screen.note("add this URI to your authenticator app, then sign in with `postern login --otp`");
    Ok(Exit::Done)
}

/// One question to a hub.
pub(crate) async fn ask(
    key: &SecretKey,
    hub_key: PublicKey,
    hubs: &[SocketAddr],
    request: &HubRequest,
    ladder: &Ladder,
) -> Result<HubAnswer, HubError> {
    let hub = HubLink::dial(key, hub_key, hubs, DIAL_WITHIN, ladder).await?;
    let answer = hub.ask(request).await;
    hub.close().await;
    answer
}

/// Where somebody signed in, and whether they are known to have a second factor.
struct Place {
    hubs: Vec<SocketAddr>,
    hub_key: PublicKey,
    second_factor: bool,
    /// With whose word.
    provider: Option<Name>,
}

impl Place {
    /// Of somebody of whom nothing else is known.
    const fn of(hubs: Vec<SocketAddr>, hub_key: PublicKey) -> Self {
        Self { hubs, hub_key, second_factor: false, provider: None }
    }
}

fn keep(answer: HubAnswer, place: Place, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let HubAnswer::LoggedIn { fleet, user, account, name, pass } = answer else {
        return Err(HubError::Unexpected.into());
    };
    let facts = PassFacts::read(&pass).ok_or(HubError::Unexpected)?;
    let membership = Membership {
        fleet: Some(fleet),
        user_id: Some(user),
        // One login without a code does not mean that there is none.
        second_factor: place.second_factor || facts.second_factor.is_some(),
        provider: place.provider,
        ..fresh(place.hubs, place.hub_key, account, name)
    };
    profile.sign_in(&membership, &pass)?;
    let narrow = narrowing(&pass);
    screen.answer(&LoginAnswer {
        account: membership.account.as_str(),
        user: membership.user.as_str(),
        until: clock::rfc3339(facts.expires),
        second_factor: facts.second_factor.map(clock::rfc3339),
        narrowed: narrow != Narrowing::NONE,
    });
    let who = format!("{}/{}", membership.account, membership.user);
    let what = if narrow == Narrowing::NONE { "" } else { ", for what you named and nothing else" };
    screen.say(&format!("signed in as {who} until {}{what}", clock::local(facts.expires)));
    Ok(Exit::Done)
}

fn fresh(hubs: Vec<SocketAddr>, hub_key: PublicKey, account: Text, user: Name) -> Membership {
    Membership {
        hubs,
        hub_key,
        account,
        user,
        fleet: None,
        user_id: None,
        second_factor: false,
        provider: None,
    }
}

/// What a pass says, read without checking who signed it: for showing, the device checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PassFacts {
    /// The first second in which it is worth nothing.
    pub(crate) expires: UnixTime,
    /// When a second factor was used.
    pub(crate) second_factor: Option<UnixTime>,
}

impl PassFacts {
    /// Reads a sealed pass; `None` when it is no pass.
    pub(crate) fn read(sealed: &[u8]) -> Option<Self> {
        let envelope = Envelope::parse(sealed, limits::PASS_BYTES).ok()?;
        let pass: Pass = codec::decode(envelope.payload(), limits::PASS_BYTES).ok()?;
        let used = pass.factors.iter().filter(|factor| factor.method.is_second_factor());
        Some(Self { expires: pass.expires, second_factor: used.map(|factor| factor.at).max() })
    }
}

/// What a pass is narrowed to, read without checking who signed it: for showing, the device checks.
pub(crate) fn narrowing(sealed: &[u8]) -> Narrowing {
    let payload = Envelope::parse(sealed, limits::PASS_BYTES).ok();
    let pass = payload.and_then(|it| codec::decode::<Pass>(it.payload(), limits::PASS_BYTES).ok());
    pass.map_or(Narrowing::NONE, |pass| pass.narrow)
}

#[derive(Serialize)]
struct LoginAnswer<'a> {
    account: &'a str,
    user: &'a str,
    until: String,
    second_factor: Option<String>,
    /// Whether the pass is good for less than the policy grants.
    narrowed: bool,
}

#[derive(Serialize)]
struct OtpAnswer<'a> {
    uri: &'a str,
}
