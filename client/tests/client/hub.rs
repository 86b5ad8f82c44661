//! A hub that knows one user.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use postern_protocol::id::{FleetId, UserId};
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, Envelope, Factor, Method, Narrowing, Pass, PublicKey};
use postern_protocol::wire::administration::AdminQuestion;
use postern_protocol::wire::case::CaseQuestion;
use postern_protocol::wire::codec;
use postern_protocol::wire::hub::{DeviceEntry, HubAnswer, HubRequest, Only, Refusal};
use postern_protocol::wire::invitation::{Invitation, Invitee};
use postern_protocol::wire::registry::{ALPN_HUB_V1, ProtocolFault};
use postern_protocol::wire::sessions::{PageMark, SessionEntry, SessionPage, SessionQuery, SessionsOf};
use postern_protocol::wire::text::Text;
use postern_transport::framed::{read_frame, write_frame};
use postern_transport::quic::{Connection, Endpoint, Role, Settings};

use crate::world::{GENEROUS, PASSWORD, loopback, secret};

pub(crate) const FLEET: FleetId = FleetId::new([7; 8]);
pub(crate) const OTP: &str = "123456";
/// What somebody types who has set up no one-time codes.
pub(crate) const NO_OTP: &str = "777777";
const HUB: u8 = 1;
pub(crate) const IDENTITY: u8 = 2;

pub(crate) struct Hub {
    endpoint: Endpoint,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    devices: Vec<DeviceEntry>,
    keys: BTreeSet<PublicKey>,
    password: Option<String>,
    stepped_from: Vec<Vec<u8>>,
    only: Only,
    /// The newest first; without any, nobody may ask for those of others.
    sessions: Vec<SessionEntry>,
    asked: Vec<SessionQuery>,
    /// What is answered about the model and cases, one after the other.
    answers: VecDeque<HubAnswer>,
    administrated: Vec<(AdminQuestion, String)>,
    handled: Vec<CaseQuestion>,
    /// Knows nothing of administration and cases, as a hub of an earlier version.
    is_earlier: bool,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let role = Role::Server { alpns: vec![ALPN_HUB_V1.to_vec()] };
        let endpoint = Endpoint::bind(loopback(), &secret(HUB), role, &Settings::hub()).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (listening, shared) = (endpoint.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            while let Some(incoming) = listening.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.handshake(GENEROUS).await {
                        serve(connection, &shared).await;
                    }
                });
            }
        });
        Self { endpoint, state }
    }

    /// From now on there is no hub.
    pub(crate) fn stop(&self) {
        self.endpoint.close(0, b"");
    }

    pub(crate) fn list(&self, devices: Vec<DeviceEntry>) {
        self.state.lock().unwrap().devices = devices;
    }

    pub(crate) fn keys(&self) -> usize {
        self.state.lock().unwrap().keys.len()
    }

    /// These sessions were.
    pub(crate) fn lived(&self, sessions: Vec<SessionEntry>) {
        self.state.lock().unwrap().sessions = sessions;
    }

    /// What was asked about sessions.
    pub(crate) fn asked_for_sessions(&self) -> Vec<SessionQuery> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Answers so the next questions about the model and cases.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = HubAnswer>) {
        self.state.lock().unwrap().answers.extend(answers);
    }

    /// What was asked about the model since the last time, with the bodies.
    pub(crate) fn administrated(&self) -> Vec<(AdminQuestion, String)> {
        std::mem::take(&mut self.state.lock().unwrap().administrated)
    }

    /// What was asked about cases since the last time.
    pub(crate) fn handled(&self) -> Vec<CaseQuestion> {
        std::mem::take(&mut self.state.lock().unwrap().handled)
    }

    /// Is from now on of an earlier version.
    pub(crate) fn grow_old(&self) {
        self.state.lock().unwrap().is_earlier = true;
    }

    /// The passes from which somebody stepped up.
    pub(crate) fn stepped_from(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().stepped_from.clone()
    }

    pub(crate) fn invitation(&self) -> String {
        self.invite(secret(HUB).public())
    }

    /// An invitation to a hub of another key at this address.
    pub(crate) fn invite(&self, hub_key: PublicKey) -> String {
        let invitation = Invitation {
            invitee: Invitee::User,
            hubs: vec![self.endpoint.local_addr().unwrap()],
            hub_key,
            root: Digest::of(&[b"root"]),
            secret: [9; 16],
        };
        invitation.to_string()
    }

    pub(crate) fn address_and_key(&self) -> (String, String) {
        (self.endpoint.local_addr().unwrap().to_string(), secret(HUB).public().to_string())
    }
}

async fn serve(connection: Connection, state: &Mutex<State>) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let request: HubRequest = read_frame(&mut recv, limits::FRAME_BYTES, GENEROUS).await.unwrap();
        let is_new = matches!(request, HubRequest::Administrate { .. } | HubRequest::HandleCase { .. });
        if is_new && state.lock().unwrap().is_earlier {
            connection.close(ProtocolFault::Malformed.number().into(), b"malformed");
            return;
        }
        if let HubRequest::Administrate { question, .. } = &request {
            let body = if question.has_body() {
                read_frame::<Vec<u8>>(&mut recv, limits::BODY_BYTES, GENEROUS).await.unwrap()
            } else {
                Vec::new()
            };
            let asked = (question.clone(), String::from_utf8(body).unwrap());
            state.lock().unwrap().administrated.push(asked);
        }
        let answer = answer(request, connection.peer_key(), &mut state.lock().unwrap());
        write_frame(&mut send, &answer, limits::LIST_FRAME_BYTES).await.unwrap();
        send.finish().unwrap();
    }
}

fn answer(request: HubRequest, key: PublicKey, state: &mut State) -> HubAnswer {
    match request {
        HubRequest::AcceptInvitation { secret: [9, ..], password } if state.password.is_none() => {
            if password.reveal().len() < 10 {
                return HubAnswer::Refused(Refusal::WeakPassword);
            }
            state.password = Some(password.reveal().to_owned());
            logged_in(state, key, None)
        }
        HubRequest::AcceptInvitation { .. } => HubAnswer::Refused(Refusal::Code),
        HubRequest::Login { account, user, password, otp, only } => {
            state.only = only;
            let otp_holds = otp.as_ref().is_none_or(|otp| otp.reveal() == OTP);
            let known =
                account.as_str() == "acme" && user.as_str() == "anna" && password.reveal() == PASSWORD;
            match known && otp_holds {
                true => logged_in(state, key, otp.map(|_| Method::Totp)),
                false => HubAnswer::Refused(Refusal::Login),
            }
        }
        HubRequest::EnrollOtp { .. } => {
            HubAnswer::Otp { uri: "otpauth://totp/acme:anna?secret=ABC".to_owned() }
        }
        HubRequest::ListDevices if state.keys.contains(&key) => HubAnswer::Devices(state.devices.clone()),
        HubRequest::ListDevices => HubAnswer::Refused(Refusal::UnknownKey),
        HubRequest::LogoutEverywhere => {
            state.keys.clear();
            HubAnswer::Done
        }
        HubRequest::Logout => {
            state.keys.remove(&key);
            HubAnswer::Done
        }
        HubRequest::StepUp { otp, .. } if otp.reveal() == NO_OTP => {
            HubAnswer::Refused(Refusal::NoOneTimeCodes)
        }
        HubRequest::StepUp { pass, otp } if state.keys.contains(&key) => {
            let answer = stepped_up(&pass, otp.reveal());
            state.stepped_from.push(pass);
            answer
        }
        HubRequest::Meet { .. } => HubAnswer::Refused(Refusal::NoMeeting),
        HubRequest::ListSessions(query) if state.keys.contains(&key) => list_sessions(query, state),
        HubRequest::ListSessions(_) => HubAnswer::Refused(Refusal::UnknownKey),
        HubRequest::Certificate => HubAnswer::Certificate(None),
        HubRequest::AskApproval(_) => HubAnswer::Refused(Refusal::NoApproval),
        HubRequest::ListApprovals => HubAnswer::Approvals(Vec::new()),
        HubRequest::AwaitApproval { .. }
        | HubRequest::Decide { .. }
        | HubRequest::ApproveByCode { .. }
        | HubRequest::BeginSignOn(_)
        | HubRequest::FinishSignOn { .. }
        | HubRequest::AwaitSignOn { .. } => HubAnswer::Refused(Refusal::NoRequest),
        HubRequest::Administrate { pass, .. } if !pass.is_empty() => state.answers.pop_front().unwrap(),
        HubRequest::HandleCase { pass, question } if !pass.is_empty() => {
            state.handled.push(question);
            state.answers.pop_front().unwrap()
        }
        HubRequest::Administrate { .. } | HubRequest::HandleCase { .. } => HubAnswer::Refused(Refusal::Pass),
        HubRequest::Examine | HubRequest::Enroll { .. } | HubRequest::Sync(_) | HubRequest::StepUp { .. } => {
            HubAnswer::Refused(Refusal::UnknownKey)
        }
    }
}

/// Two of the sessions, behind those that were seen.
fn list_sessions(query: SessionQuery, state: &mut State) -> HubAnswer {
    if query.whose != SessionsOf::Mine && state.sessions.is_empty() {
        return HubAnswer::Refused(Refusal::NoAudit);
    }
    let seen = query.after.map_or(0, |mark| usize::try_from(mark.seen).unwrap());
    let size = usize::from(query.limit).min(2);
    let sessions: Vec<SessionEntry> = state.sessions.iter().skip(seen).take(size).cloned().collect();
    let end = seen + sessions.len();
    let mark = PageMark { at: UnixTime::EPOCH, seen: u32::try_from(end).unwrap() };
    let more = (end < state.sessions.len()).then_some(mark);
    state.asked.push(query);
    HubAnswer::Sessions(SessionPage { sessions, more })
}

/// The same sign-in with a second factor of now.
fn stepped_up(sealed: &[u8], otp: &str) -> HubAnswer {
    if otp != OTP {
        return HubAnswer::Refused(Refusal::OneTimeCode);
    }
    let envelope = Envelope::parse(sealed, limits::PASS_BYTES).unwrap();
    let mut pass: Pass = codec::decode(envelope.payload(), limits::PASS_BYTES).unwrap();
    pass.issued = now();
    pass.factors.retain(|factor| factor.method != Method::Totp);
    pass.factors.push(Factor { method: Method::Totp, at: pass.issued });
    signed(&pass)
}

pub(crate) fn now() -> UnixTime {
    UnixTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn logged_in(state: &mut State, key: PublicKey, second: Option<Method>) -> HubAnswer {
    state.keys.insert(key);
    let now = now();
    let methods = [Some(Method::Password), second].into_iter().flatten();
    let pass = Pass {
        fleet: FLEET,
        user: UserId::new([5; 8]),
        key,
        factors: methods.map(|method| Factor { method, at: now }).collect(),
        issued: now,
        expires: now.saturating_add(3600),
        narrow: narrowing(state),
    };
    signed(&pass)
}

/// What the last login was narrowed to, by the ids of the devices that are listed.
fn narrowing(state: &State) -> Narrowing {
    let id = |name: &Name| state.devices.iter().find(|entry| entry.name == *name).unwrap().device;
    let devices = state.only.devices.as_ref().map(|names| names.iter().map(id).collect());
    Narrowing { devices, services: state.only.services.clone() }
}

fn signed(pass: &Pass) -> HubAnswer {
    HubAnswer::LoggedIn {
        fleet: FLEET,
        user: pass.user,
        account: Text::clean("acme"),
        name: "anna".parse().unwrap(),
        pass: Envelope::seal(pass, &[&secret(IDENTITY)]).unwrap(),
    }
}
