//! Why an edit is not made.

use crate::fleet::{Complaint, Unwritable};
use crate::model::{Bereft, EntityKind, ModelFault};
use crate::publish::PublishError;
use crate::rights::Forbidden;
use crate::store::StoreError;

use postern_protocol::name::Name;

/// Why an edit, or a look, is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not there, or not for this caller; nothing says which.
    #[error("{kind} `{name}` is unknown")]
    Unknown {
        /// The kind.
        kind: EntityKind,
        /// The name.
        name: Name,
    },
    /// Several edits of a batch are refused; each is named.
    #[error("{} edits are refused; nothing was changed", .0.len())]
    Several(Vec<Refused>),
    /// A new name that is not of the caller's company.
    #[error("{kind} `{name}` cannot be made under this name: a new name begins with `{prefix}`")]
    Prefix {
        /// The kind.
        kind: EntityKind,
        /// The name.
        name: Name,
        /// What it has to begin with.
        prefix: String,
    },
    /// The name is in use.
    #[error("{kind} `{name}` is there already; change it, or choose another name")]
    Taken {
        /// The kind.
        kind: EntityKind,
        /// The name.
        name: Name,
    },
    /// Somebody has changed it since it was looked at.
    #[error("{kind} `{name}` was changed by somebody else in the meantime; look at it again")]
    Overtaken {
        /// The kind.
        kind: EntityKind,
        /// The name.
        name: Name,
    },
    /// It cannot be read.
    #[error("{} keys cannot be read", .0.len())]
    Complaints(Vec<Complaint>),
    /// The model would not hold together.
    #[error("the model would not hold together: {} faults", .0.len())]
    Faults(Vec<ModelFault>),
    /// Something depends on it that the caller may not see.
    #[error(
        "something that you may not see depends on this; ask whoever is responsible for the account above"
    )]
    Depended,
    /// The caller may not make it.
    #[error("this is not permitted: {} differences", .0.len())]
    Forbidden(Vec<Forbidden>),
    /// An account would be left to nobody.
    #[error("an account would have users and no tenant administrator")]
    Bereft(Vec<Bereft>),
    /// A stored entity is of a later version of this program.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The new policy could not be signed.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What sort of refusal it is. Every way by which edits come tells callers by this, so that one refusal is the same by each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// It is not there, or not for the caller.
    Unknown,
    /// A permission is missing.
    Forbidden,
    /// Somebody has changed it since.
    Overtaken,
    /// It does not fit the rest of the model, or the rule for names.
    Conflict,
    /// It cannot be read, or several things are wrong.
    Unreadable,
    /// It is no matter of the edit: the state could not be read or written, or nothing signed.
    Ours,
}

impl Refused {
    /// All of some refusals as one; fine where there is none.
    pub(super) fn none_of(mut refusals: Vec<Self>) -> Result<(), Self> {
        match refusals.len() {
            0 => Ok(()),
            1 => refusals.pop().map_or(Ok(()), Err),
            _ => Err(Self::Several(refusals)),
        }
    }

    /// What sort of refusal it is.
    #[must_use]
    pub const fn sort(&self) -> Sort {
        match self {
            Self::Unknown { .. } => Sort::Unknown,
            Self::Forbidden(_) => Sort::Forbidden,
            Self::Overtaken { .. } => Sort::Overtaken,
            Self::Taken { .. } | Self::Prefix { .. } | Self::Faults(_) | Self::Depended | Self::Bereft(_) => {
                Sort::Conflict
            }
            Self::Several(_) | Self::Complaints(_) => Sort::Unreadable,
            Self::Unwritable(_) | Self::Store(_) | Self::Publish(_) => Sort::Ours,
        }
    }

    /// Whether it is no matter of the edit.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.sort() == Sort::Ours
    }

    /// What is wrong, a line for each thing, as a person reads it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Several(refusals) => refusals.iter().flat_map(Self::lines).collect(),
            Self::Complaints(complaints) => {
                complaints.iter().map(|one| format!("`{}`: {}", one.key, one.fault)).collect()
            }
            Self::Faults(faults) => faults.iter().map(fault).collect(),
            Self::Forbidden(forbidden) => forbidden
                .iter()
                .map(|one| format!("{} `{}`: {}", one.kind, one.name, one.ground))
                .collect(),
            Self::Bereft(accounts) => accounts
                .iter()
                .map(|one| {
                    format!("account `{}` would have users and no tenant administrator; assign `tenant-admin` to one of them first", one.account)
                })
                .collect(),
            Self::Unknown { .. }
            | Self::Prefix { .. }
            | Self::Taken { .. }
            | Self::Overtaken { .. }
            | Self::Depended
            | Self::Unwritable(_)
            | Self::Store(_)
            | Self::Publish(_) => vec![self.to_string()],
        }
    }
}

fn fault(fault: &ModelFault) -> String {
    let ModelFault { kind, name, key, problem } = fault;
    let dot = if key.is_empty() { "" } else { "." };
    format!("`{kind}.{name}{dot}{key}`: {problem}")
}
