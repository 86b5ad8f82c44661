//! A hub and those who call it: one QUIC connection, ALPN [`ALPN_HUB_V1`](super::registry::ALPN_HUB_V1).
//!
//! 1. The caller pins the hub's key; the hub learns the caller's key from the handshake.
//! 2. Each request is a frame at the beginning of a bidirectional stream, answered by one frame.
//! 3. [`HubRequest::Sync`] is different: its stream stays open and carries [`control`](super::control) messages.
//!
//! Whatever a user claims at login, a wrong name, password or code gets one answer, in equal time.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize, Serializer};

use super::administration::{AdminAnswer, AdminQuestion, Declined};
use super::approval::{ApprovalEntry, ApprovalVerdict, ApprovalWish};
use super::approval_code::ApprovalCode;
use super::case::{CasePage, CaseQuestion};
use super::control::Hello;
use super::registry::Failure;
use super::relay::Meeting;
use super::sessions::{SessionPage, SessionQuery};
use super::sign_on::{SignOn, SignOnBegun, SignOnCode, SignOnId};
use super::text::Text;
use crate::id::{ApprovalId, DeviceId, FleetId, UserId};
use crate::limits;
use crate::name::{Label, Name};
use crate::time::UnixTime;
use crate::trust::sealed::Announcement;
use crate::trust::{Digest, PublicKey};

/// What a device or a user asks of a hub; one frame of at most [`limits::FRAME_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HubRequest {
    /// A new device: the key of this handshake and a single-use secret.
    Enroll {
        /// The secret of the enrolment code.
        secret: [u8; 16],
        /// What the device calls itself; a label that decides nothing.
        label: Text,
        /// To which key its secrets are sealed.
        sealing: Announcement,
    },
    /// An enrolled device begins synchronisation; the stream stays open.
    Sync(Hello),
    /// An invited user chooses a password; the key of this handshake becomes theirs.
    AcceptInvitation {
        /// The secret of the invitation.
        secret: [u8; 16],
        /// The new password.
        password: Password,
    },
    /// A user logs in with the key of this handshake.
    Login {
        /// The account's path, names joined by `/`.
        account: Text,
        /// The user's name in that account.
        user: Name,
        /// The password.
        password: Password,
        /// The one-time code, if the user has one.
        otp: Option<Password>,
        /// What the pass shall be good for at most.
        only: Only,
    },
    /// Sets up a one-time code: the answer carries the secret once.
    EnrollOtp {
        /// The account's path.
        account: Text,
        /// The user's name.
        user: Name,
        /// The password.
        password: Password,
        /// The present one-time code, where one is set up already.
        otp: Option<Password>,
    },
    /// Lists the devices on which the user of this key may use something.
    ListDevices,
    /// Removes the key of this handshake from its user.
    Logout,
    /// A signed-in user proves a second factor, without the password, and gets a pass that says so.
    StepUp {
        /// The pass of the login that the new one rests on, as the hub sealed it; at most [`limits::PASS_BYTES`] of
        /// payload. The new one ends when it does.
        pass: Vec<u8>,
        /// The one-time code.
        otp: Password,
    },
    /// Removes the key of this handshake from its user and makes every pass of that user worthless that was signed
    /// until now, on every computer and device.
    LogoutEverywhere,
    /// Asks for a meeting with a device at a relay. The device is told at once.
    Meet {
        /// The device; one of [`HubRequest::ListDevices`].
        device: DeviceId,
    },
    /// Asks which certificate is shown where the hub is reached over TLS.
    Certificate,
    /// Asks what the caller looks like from the hub's side, to find what stands in between. Changes nothing.
    Examine,
    /// Lists sessions: the caller's own, or those that the caller may audit.
    ListSessions(SessionQuery),
    /// Asks to be let in where a grant demands an approval. Answered by the request; by the open one, if there is one.
    AskApproval(ApprovalWish),
    /// Lists own requests for approval, and those that the user of this key may decide.
    ListApprovals,
    /// Asks where an own request stands; answered when it is not pending any more, or after ten seconds.
    AwaitApproval {
        /// The request.
        id: ApprovalId,
    },
    /// Decides on a request.
    Decide {
        /// The request.
        id: ApprovalId,
        /// The pass of the sign-in, as the hub sealed it; at most [`limits::PASS_BYTES`] of payload.
        pass: Vec<u8>,
        /// What is decided.
        verdict: ApprovalVerdict,
    },
    /// Approves what a code is for, as it was asked for; whoever has the code may. It is good once.
    ApproveByCode {
        /// The code, from a letter of the hub.
        code: ApprovalCode,
    },
    /// Looks at the access model or edits it. The body of an edit follows on the same stream as one more frame, a list of
    /// bytes; at most [`limits::BODY_BYTES`].
    Administrate {
        /// The pass of the sign-in, as the hub sealed it; at most [`limits::PASS_BYTES`] of payload.
        pass: Vec<u8>,
        /// What is wanted.
        question: AdminQuestion,
    },
    /// Looks at service cases, or handles one.
    HandleCase {
        /// The pass of the sign-in, as above.
        pass: Vec<u8>,
        /// What is wanted.
        question: CaseQuestion,
    },
    /// Begins a sign-on with an identity provider.
    BeginSignOn(SignOn),
    /// Finishes a sign-on with what the provider has sent to the browser.
    FinishSignOn {
        /// Which.
        id: SignOnId,
        /// The provider's code.
        code: SignOnCode,
        /// Who the provider says that it is (`iss` of RFC 9207), where it says so.
        issuer: Option<Text>,
    },
    /// Asks how a sign-on elsewhere has ended; answered when it has, or after ten seconds with what it is.
    AwaitSignOn {
        /// Which.
        id: SignOnId,
    },
}

/// What a user wants a pass to be good for at most; none is everything that the policy grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Only {
    /// Names of devices; at most [`limits::NARROW_DEVICES`].
    pub devices: Option<Vec<Name>>,
    /// Names of services; at most [`limits::NARROW_SERVICES`].
    pub services: Option<Vec<Name>>,
}

/// What a hub answers; one frame of at most [`limits::LIST_FRAME_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HubAnswer {
    /// The device is enrolled: its identity, the chain of roots, and a snapshot that denies everything.
    Enrolled {
        /// The identity that the cloud assigned.
        device: DeviceId,
        /// Roots from version 1 to the newest; at most [`limits::ROOT_CHAIN`].
        #[serde(with = "super::bounded::roots")]
        roots: Vec<Vec<u8>>,
        /// The first snapshot.
        snapshot: Vec<u8>,
    },
    /// The user is logged in.
    LoggedIn {
        /// The installation.
        fleet: FleetId,
        /// The user.
        user: UserId,
        /// The account's path, for the next login.
        account: Text,
        /// The user's name in that account.
        name: Name,
        /// The pass, sealed.
        pass: Vec<u8>,
    },
    /// A new secret for one-time codes, in Base32 (RFC 4648), and as URI for authenticator apps.
    Otp {
        /// `otpauth://` URI.
        uri: String,
    },
    /// Devices, ascending by name.
    Devices(Vec<DeviceEntry>),
    /// Done.
    Done,
    /// Refused, in the same words for every cause that the caller could probe.
    Refused(Refusal),
    /// It could not be done.
    Failed(Failure),
    /// The own end of a meeting.
    Meeting(Meeting),
    /// SHA-256 of the certificate that is shown over TLS; none where the hub has no TLS. Who has seen another one has a box in between
    /// that opens TLS.
    Certificate(Option<Digest>),
    /// What the caller looks like.
    Examined(Examined),
    /// Sessions, newest first.
    Sessions(SessionPage),
    /// Requests for approval, the open ones first; one where one was asked about.
    Approvals(Vec<ApprovalEntry>),
    /// What is in the access model, or what an edit did.
    Administered(AdminAnswer),
    /// Service cases; one where one was asked about or handled.
    Cases(CasePage),
    /// Why something is not done with the model or a case.
    Declined(Declined),
    /// A sign-on has begun, or goes on.
    SignOn(SignOnBegun),
}

/// A caller, seen from the hub. Not signed: it decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// The hub's time.
    pub now: UnixTime,
    /// The hub's version, for people.
    pub hub: Text,
    /// Whose the key of the handshake is.
    pub whose: Whose,
    /// The address from which the caller's packets come.
    pub seen: SocketAddr,
}

/// Whose a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// Nobody's, or that of a user who is disabled.
    Nobody,
    /// A user's.
    User,
    /// A device's.
    Device,
    /// That of a device whose key nobody has confirmed yet.
    Unconfirmed,
    /// That of a device out of service.
    Retired,
}

/// A password or one-time code on its way; prints `redacted` and is wiped.
#[derive(Clone, PartialEq, Eq, Deserialize, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
#[serde(try_from = "String")]
pub struct Password(String);

impl Password {
    /// The secret text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Password {
    type Error = PasswordFault;

    fn try_from(text: String) -> Result<Self, PasswordFault> {
        if text.is_empty() || text.len() > limits::PASSWORD_BYTES {
            Err(PasswordFault)
        } else {
            Ok(Self(text))
        }
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Not through a `String`: that copy would not be wiped.
        serializer.serialize_str(&self.0)
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}

/// A password that is empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password or code must have 1 to 256 bytes")]
pub struct PasswordFault;

/// Why a hub refuses. New refusals are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Unknown, used or expired code.
    #[error("the code is unknown, used or expired")]
    Code,
    /// Wrong account, user, password or one-time code, or a user that is disabled.
    #[error("account, user, password or one-time code is wrong")]
    Login,
    /// The password is too weak; said only after the caller proved an invitation.
    #[error("the password is too short: at least 10 characters are needed")]
    WeakPassword,
    /// Too many attempts.
    #[error("too many attempts; try again in a minute")]
    TooMany,
    /// The key of this connection belongs to nobody.
    #[error("the hub does not know this key; sign in first")]
    UnknownKey,
    /// The pass to step up from is over, or is not one of this hub for this user and key.
    #[error("your sign-in is over or does not belong to this key")]
    Pass,
    /// Wrong, used or late one-time code of somebody whose sign-in was recognised.
    #[error("the one-time code is wrong or was used before")]
    OneTimeCode,
    /// A user without one-time codes.
    #[error("no one-time codes are set up for you")]
    NoOneTimeCodes,
    /// The sealing key of a new device is not signed by its device key.
    #[error("the sealing key is not signed by the key of this device")]
    SealingKey,
    /// The pass cannot be narrowed to that; said only after the caller proved who they are.
    #[error("a sign-in can be narrowed to at most 16 services and 16 devices that you may use")]
    Narrowing,
    /// A device that is none of the caller's, has no link to the hub, or could not be told; or no relay is set up.
    #[error("the device cannot be met at a relay: it is offline, or it is not one of yours")]
    NoMeeting,
    /// The caller may audit nobody.
    #[error("you may see your own sessions, and nobody else's")]
    NoAudit,
    /// Nothing that the user is granted there waits for an approval; unknown and hidden are the same.
    #[error("nothing that you are granted there waits for an approval")]
    NoApproval,
    /// Somebody would have to approve, and there is nobody who may.
    #[error(
        "nobody can approve it: the company that runs the device has nobody else who may activate remote access there"
    )]
    NoApprover,
    /// A request for no time or too much of it, or without a reason.
    #[error("an approval is asked for with a reason, and for a time of up to a week")]
    Wish,
    /// Too many requests are open.
    #[error("too many requests wait already: take one of them back, or wait for an answer")]
    TooManyRequests,
    /// A request that is none of the user's, or that the user may not decide; unknown is the same.
    #[error("there is no such request that you may decide")]
    NoRequest,
    /// A request that is decided, or over.
    #[error("the request is decided already, or over")]
    Decided,
    /// Who decides has one-time codes and used none lately.
    #[error("to decide on that takes a second factor that was used in the last hours")]
    SecondFactor,
    /// No identity provider of that name, or none or several where none was named, or one that may not be used that way.
    #[error("the hub has no such identity provider for that; ask who runs it for its name")]
    NoProvider,
    /// The provider cannot be reached, or its answer is not believed. Who runs the hub reads why.
    #[error(
        "the identity provider could not be asked, or its answer is not believed; who runs the hub finds why in its log"
    )]
    Provider,
    /// The provider has refused: the person, or what was asked for.
    #[error("the identity provider has not let you in")]
    NotVouched,
    /// A sign-on that is over, or was never begun with this key.
    #[error("that sign-on is over, or was begun elsewhere; begin again")]
    SignOn,
    /// The provider knows the person, and no user is linked to that identity.
    #[error(
        "no user of this hub is linked to your identity; accept an invitation with it, or ask who runs the hub"
    )]
    Unlinked,
    /// The identity is linked to somebody else, or the provider may not vouch for users of that account.
    #[error(
        "your identity cannot be linked to that user: it is linked already, or its provider is not for this account"
    )]
    Unlinkable,
    /// The provider did not say that a second factor was used just now.
    #[error("the identity provider did not say that a second factor was used just now")]
    NoSecondFactor,
}

/// One device in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEntry {
    /// The device.
    pub device: DeviceId,
    /// Its name, unique in its account.
    pub name: Name,
    /// The account's path.
    pub account: Text,
    /// What people call it.
    pub label: Option<Label>,
    /// Its key, to be pinned when connecting.
    pub key: PublicKey,
    /// Where it was last reachable; at most [`limits::ADDRESSES`].
    #[serde(with = "super::bounded::addresses")]
    pub addresses: Vec<SocketAddr>,
    /// Whether its link to the hub is up.
    pub online: bool,
}
