//! Requests for approval between a hub and those who ask and decide.

use serde::{Deserialize, Serialize};

use super::text::Text;
use crate::id::{ApprovalId, DeviceId};
use crate::name::Name;
use crate::time::UnixTime;

/// What somebody asks to be let in for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalWish {
    /// The device; one of a listing.
    pub device: DeviceId,
    /// The service, by its name on the device.
    pub service: Name,
    /// Whether no more than looking.
    pub view_only: bool,
    /// For how many seconds from the approval on.
    pub for_s: u32,
    /// Why, for those who decide; not empty.
    pub why: Text,
}

/// What somebody decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalVerdict {
    /// Yes, no further and no longer than was asked for.
    Approve {
        /// To look only.
        view_only: bool,
        /// For how many seconds at most; none is as long as was asked for.
        for_s: Option<u32>,
    },
    /// No.
    Reject {
        /// Why, for who asked.
        why: Text,
    },
    /// No more. Whoever asked may say so as well.
    Revoke {
        /// Why.
        why: Text,
    },
}

/// One request, as it is shown to who asked and to those who may decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalEntry {
    /// The request.
    pub id: ApprovalId,
    /// Whether the user of this key has asked.
    pub own: bool,
    /// Whether the user of this key may decide on it now.
    pub may_decide: bool,
    /// Who asks: the account's path and the user's name.
    pub who: Text,
    /// The device's name.
    pub device: Name,
    /// The path of the device's account.
    pub account: Text,
    /// The service.
    pub service: Name,
    /// The company whose people decide, by its path. Which people these are is told to nobody.
    pub company: Text,
    /// Whether no more than looking is asked for.
    pub view_only: bool,
    /// For how many seconds.
    pub for_s: u32,
    /// Why.
    pub why: Text,
    /// When it was asked.
    pub asked: UnixTime,
    /// Where it stands.
    pub standing: ApprovalStanding,
}

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalStanding {
    /// Nobody has decided yet.
    Pending {
        /// The first second in which nobody can any more.
        lapses: UnixTime,
    },
    /// Approved.
    Approved {
        /// To look only.
        view_only: bool,
        /// The first second in which it is worth nothing.
        until: UnixTime,
    },
    /// Somebody said no.
    Rejected {
        /// Why.
        why: Text,
    },
    /// It was taken back.
    Revoked {
        /// Why.
        why: Text,
    },
    /// Nobody decided in time, or what was approved is over.
    Expired,
}
