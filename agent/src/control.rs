//! The local control socket: who asks is known from the kernel, what is asked is one line of JSON.
//!
//! 1. [`Listener::bind`] makes the socket; another agent that answers there is an error.
//! 2. [`Listener::serve`] takes root, the agent's own user and, with mode 0660, its group; everyone else is told
//!    so and gets nothing.
//! 3. Each request goes over a bounded channel to whoever can answer it.
//! 4. [`ask`] is the other end, for the commands of this program.
//!
//! Deliberately absent: TCP, and any request that permits something.

mod client;
mod server;

use serde::{Deserialize, Serialize};

use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

pub(crate) use self::client::{AskError, ask};
pub(crate) use self::server::{Asked, ControlError, Listener, prepare};

/// What can be asked of a running agent. Every variant has braces: serde lets unknown keys of a bare one pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Policy, link, tunnels, audit.
    Status {},
    /// The live tunnels.
    Sessions {},
    /// The policy in force.
    Policy {},
    /// Whether a user may open a service, and why.
    Explain {
        /// The user.
        user: UserId,
        /// The service.
        service: String,
        /// At this time instead of now.
        at: Option<UnixTime>,
        /// With a second factor of this age.
        second_factor_age_s: Option<u64>,
    },
    /// The newest audit rows.
    AuditList {
        /// At most so many.
        limit: u16,
    },
    /// Verifies the audit chain.
    AuditVerify {},
    /// The secrets of this device, without their content.
    SecretList {},
    /// Keeps a secret.
    SecretSet {
        /// Its name.
        name: Name,
        /// Sealed to this device, as hexadecimal digits.
        sealed: String,
    },
    /// Forgets a secret that was set here.
    SecretRemove {
        /// Its name.
        name: Name,
    },
    /// Removes a finished recording.
    RecordingRemove {
        /// The tunnel that it is of.
        tunnel: TunnelId,
    },
    /// Ends a tunnel.
    End {
        /// The tunnel.
        tunnel: TunnelId,
    },
    /// Makes the device's next key and announces it.
    RotateKey {},
    /// Ends the agent, because its state is about to be wiped.
    Decommission {},
}

/// What it answers: one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Response {
    /// The report that was asked for.
    Report(serde_json::Value),
    /// No such thing, or not for this caller: what, why, what to do.
    Refused(String),
}

/// Bytes of one request.
const REQUEST_BYTES: usize = 4096;
/// Bytes of one answer: a thousand audit rows, or all services of a device.
const RESPONSE_BYTES: usize = 2 * 1024 * 1024;
