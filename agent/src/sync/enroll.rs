//! Enrols the device: its own key, a single-use code, and an identity that the cloud assigns.
//!
//! 1. Make sure that the result can be stored, then make the key. A device that is enrolled anew makes it beside the
//!    present one.
//! 2. Dial the hub that the code names, by the key that the code names, and prove the code's secret.
//! 3. Verify the roots from the code's digest onwards, and the first snapshot under them.
//! 4. Store all of it in one transaction: the commit point. Until then an earlier enrolment is whole; from then on its
//!    key and policy are of the past.
//! 5. Give the new key its name, and write the copies. Whatever a power cut prevents of this, the next start does.
//!
//! Deliberately absent: an identity that the device claims. Its label is for people.

use std::path::Path;
use std::time::Duration;

use postern_protocol::id::DeviceId;
use postern_protocol::policy::{Expectation, SnapshotFault, verify};
use postern_protocol::session::pulse::Pulse;
use postern_protocol::trust::sealed::{Announcement, SealingKeyFault, SealingSecret};
use postern_protocol::trust::{RootFault, SecretKey};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::Invitation;
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::text::Text;
use postern_transport::framed::FrameFault;
use postern_transport::ladder::Ladder;
use postern_transport::question;

use super::dial::dial;
use super::link::LinkError;
use crate::identity::{self, KeyError};
use crate::store::{self, Enrollment, StoreError};

/// Why the device is not enrolled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollError {
    /// The hub cannot be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The hub says no.
    #[error("the hub refused: {0}; ask for a new code with `postern-cloud device add`")]
    Refused(Refusal),
    /// The hub could not.
    #[error("the hub could not enrol the device: {}; {}", .0.sentence(), .0.next_step())]
    Failed(Failure),
    /// An answer to another question.
    #[error("the hub gave an answer that does not belong to an enrolment; use a matching version")]
    Unexpected,
    /// The roots do not follow from the code.
    #[error("the hub's roots are not genuine: {0}")]
    Root(#[from] RootFault),
    /// The newest root does not name the hub that answered.
    #[error("the newest root does not name the key of the hub; ask your administrator to publish it")]
    HubKey,
    /// The device's key has no sealing key.
    #[error(transparent)]
    Sealing(#[from] SealingKeyFault),
    /// The first snapshot does not hold.
    #[error("the first policy is not genuine: {0}")]
    Snapshot(#[from] SnapshotFault),
    /// It cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key cannot be made or named.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<FrameFault> for EnrollError {
    fn from(fault: FrameFault) -> Self {
        Self::Link(fault.into())
    }
}

/// Enrols the device whose state lives in `state_dir`, after [`store::prepare_enrollment`]. The key lies there already.
///
/// # Errors
/// An [`EnrollError`].
pub(crate) async fn enroll(
    state_dir: &Path,
    key: &SecretKey,
    invitation: &Invitation,
    label: &str,
    ladder: &Ladder,
) -> Result<DeviceId, EnrollError> {
    let dialled = dial(key, &[invitation.hub_key], &invitation.hubs, (ladder, &Pulse::new())).await?;
    let request = HubRequest::Enroll {
        secret: invitation.secret,
        label: Text::clean(label),
        sealing: Announcement::sign(key, &SealingSecret::derive(key)?),
    };
    let answer = question::ask(&dialled.connection, &request, ANSWER_TIME).await;
    dialled.connection.close(CloseCode::Done.number(), b"");
    dialled.endpoint.wait_idle().await;
    let answer = answer?;
    if let HubAnswer::Refused(refusal) = answer {
        return Err(EnrollError::Refused(refusal));
    }
    if let HubAnswer::Failed(failure) = answer {
        return Err(EnrollError::Failed(failure));
    }
    let HubAnswer::Enrolled { device, roots, snapshot: sealed } = answer else {
        return Err(EnrollError::Unexpected);
    };
    let enrollment = Enrollment {
        device,
        hub_key: invitation.hub_key,
        hubs: invitation.hubs.clone(),
        pinned: invitation.root,
        roots,
    };
    let root = enrollment.root()?;
    if !root.hubs.contains(&invitation.hub_key) {
        return Err(EnrollError::HubKey);
    }
    let expected = Expectation { root: &root, device, device_key: key.public(), floor: None };
    let verified = verify(&sealed, &expected)?;
    store::enroll(state_dir, &enrollment, verified.floor(), &sealed)?;
    identity::promote(state_dir)?;
    store::copy_enrollment(state_dir, &enrollment, verified.floor())?;
    Ok(device)
}

const ANSWER_TIME: Duration = Duration::from_secs(20);
