//! Administration between a hub and its users: the access model looked at and edited, as far as the user may.
//!
//! 1. The caller is whoever has the key of the connection; the pass of the sign-in comes along.
//! 2. A question names a kind of entity by its word in fleet files. What an entity is to be is JSON (RFC 8259) in the notation
//!    of fleet files; it follows the question on the same stream, as one more frame of at most [`limits::BODY_BYTES`].
//! 3. The hub answers with what is there, with what was done, or with [`Declined`]: everything that is wrong, in words.
//!
//! What the caller may not see is answered like what is not there.

mod history;
mod invited;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::name::Name;

pub use self::history::{ChangeAuthor, ChangeEntry, ChangeFate, HistoryMark};
pub use self::invited::{CodeText, HandedCode, InvitationEntry, InvitationStanding};

/// What somebody asks about the access model. New questions are added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminQuestion {
    /// Who one is, and which permissions one holds somewhere.
    Me,
    /// Entities of one kind, ascending by name.
    List {
        /// The kind.
        kind: Name,
        /// Only names after this one.
        after: Option<Name>,
        /// How many at most; a hub answers with [`limits::ENTITIES`] at most.
        limit: u16,
    },
    /// One entity.
    Show {
        /// The kind.
        kind: Name,
        /// The name.
        name: Name,
    },
    /// Makes or replaces one entity; its body follows.
    Put {
        /// The kind.
        kind: Name,
        /// The name.
        name: Name,
        /// Which version of it is meant.
        guard: EditGuard,
    },
    /// Takes one entity away.
    Remove {
        /// The kind.
        kind: Name,
        /// The name.
        name: Name,
        /// Which version of it is meant.
        guard: EditGuard,
    },
    /// Makes all of some edits, or none; they follow as a body.
    Batch,
    /// Who has not accepted an invitation yet, ascending by name.
    Invitations {
        /// Only users after this one.
        after: Option<Name>,
    },
    /// Invites somebody; who that is and what they get follows as a body.
    Invite,
    /// Hands out another code to somebody who has not accepted; the one before is worth nothing from then on.
    ResendInvite {
        /// The user.
        user: Name,
        /// For how many seconds it is good; as long as the hub gives one, if none.
        good_for_s: Option<u32>,
    },
    /// Takes a code back.
    RevokeInvite {
        /// The user.
        user: Name,
    },
    /// What has changed, newest first.
    History {
        /// Only entities of this kind.
        kind: Option<Name>,
        /// Only entities of this name.
        name: Option<Name>,
        /// Only what lies behind this place.
        after: Option<HistoryMark>,
        /// How many at most; a hub answers with [`limits::CHANGES`] at most.
        limit: u16,
    },
}

/// Which version of an entity an edit is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EditGuard {
    /// Whatever is there, or nothing.
    Any,
    /// Nothing of this name is there.
    Absent,
    /// This version.
    Version(u64),
}

/// What a hub answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminAnswer {
    /// Who asks.
    Me {
        /// The name.
        user: Name,
        /// The account.
        account: Name,
        /// Permissions that are held somewhere; over what, their assignments say.
        permissions: Vec<Name>,
    },
    /// Some entities.
    Page {
        /// Ascending by name; at most [`limits::ENTITIES`].
        entities: Vec<EntityEntry>,
        /// Behind which name the next ones are; none where these are the last.
        more: Option<Name>,
    },
    /// One entity.
    Entity(EntityEntry),
    /// An edit was made, or nothing was different.
    Edited(Edited),
    /// Who has not accepted.
    Invitations {
        /// Ascending by user.
        invitations: Vec<InvitationEntry>,
        /// Behind which user the next ones are; none where these are the last.
        more: Option<Name>,
    },
    /// Somebody was invited.
    Invited {
        /// The code.
        handed: HandedCode,
        /// What it did to the model.
        edited: Edited,
    },
    /// Another code was handed out.
    Resent(HandedCode),
    /// The code of this user was taken back.
    Revoked(Name),
    /// Some changes.
    History {
        /// Newest first; they may be none although there are more.
        changes: Vec<ChangeEntry>,
        /// Behind which place to go on; none where everything was looked at.
        more: Option<HistoryMark>,
    },
}

/// One entity, as far as the caller may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityEntry {
    /// Its name.
    pub name: Name,
    /// Its version, for [`EditGuard::Version`].
    pub version: u64,
    /// Its keys as JSON; none where they are more than a page of a listing has room for.
    pub body: Option<String>,
}

/// What an edit did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The revision that it is; none where nothing was different.
    pub revision: Option<u64>,
    /// For how many devices new policy was signed.
    pub published: u32,
    /// How many of these have answered that they took it, before this was said. Others are slow or offline.
    pub answered: u32,
    /// The first of them, ascending by name; at most [`limits::EDITED_NAMES`].
    pub devices: Vec<Name>,
    /// Users who became the tenant administrator of an account because they are its first; at most [`limits::EDITED_NAMES`].
    pub founders: Vec<Name>,
}

/// Why a hub does not do what somebody wants with the model or a case. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declined {
    /// What sort of thing it is.
    pub how: Decline,
    /// Everything that is wrong, in words; at most [`limits::PROBLEMS`], each of at most [`limits::PROBLEM_BYTES`].
    pub problems: Vec<String>,
}

/// What sort of thing is wrong. New ones are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decline {
    /// It is not there, or not for the caller.
    Unknown,
    /// A permission is missing.
    Forbidden,
    /// Somebody has changed it since.
    Overtaken,
    /// It does not fit the rest of the model.
    Conflict,
    /// It cannot be read as what it should be.
    Unreadable,
    /// It is larger than this way has room for.
    TooLarge,
}

impl AdminQuestion {
    /// Whether a body follows.
    #[must_use]
    pub const fn has_body(&self) -> bool {
        match self {
            Self::Put { .. } | Self::Batch | Self::Invite => true,
            Self::Me
            | Self::List { .. }
            | Self::Show { .. }
            | Self::Remove { .. }
            | Self::Invitations { .. }
            | Self::ResendInvite { .. }
            | Self::RevokeInvite { .. }
            | Self::History { .. } => false,
        }
    }

    /// Whether it is to change something, or hands out what lets somebody in.
    #[must_use]
    pub const fn edits(&self) -> bool {
        match self {
            Self::Put { .. }
            | Self::Batch
            | Self::Remove { .. }
            | Self::Invite
            | Self::ResendInvite { .. }
            | Self::RevokeInvite { .. } => true,
            Self::Me
            | Self::List { .. }
            | Self::Show { .. }
            | Self::Invitations { .. }
            | Self::History { .. } => false,
        }
    }
}

impl Declined {
    /// A refusal with as many words as fit an answer.
    #[must_use]
    pub fn new(how: Decline, problems: Vec<String>) -> Self {
        let count = problems.len();
        let mut problems: Vec<String> = problems.into_iter().take(limits::PROBLEMS).map(cut).collect();
        if let Some(last) = problems.last_mut().filter(|_| count > limits::PROBLEMS) {
            *last = format!("and {} more", count - limits::PROBLEMS + 1);
        }
        Self { how, problems }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > limits::PROBLEM_BYTES {
        while text.len() + CUT.len() > limits::PROBLEM_BYTES {
            text.pop();
        }
        text.push_str(CUT);
    }
    text
}

const CUT: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_refusal_are_cut_to_what_an_answer_holds_and_the_rest_is_counted() {
        let declined = Declined::new(Decline::Conflict, vec!["ü".repeat(limits::PROBLEM_BYTES); 203]);
        assert_eq!(declined.problems.len(), limits::PROBLEMS);
        assert!(declined.problems.iter().all(|line| line.len() <= limits::PROBLEM_BYTES));
        assert!(declined.problems[0].ends_with("ü..."));
        assert_eq!(declined.problems.last().unwrap(), "and 4 more");
        let few = Declined::new(Decline::Unknown, vec!["a".to_owned()]);
        assert_eq!(few.problems, ["a"]);
    }
}
