//! Invitations over the hub: the same as over the API, by the same judgement and in the same words.
//!
//! A code leaves by mail where somebody has configured that, and is said to nobody then; otherwise it is said to whoever asked for it, this
//! once. Mail may take its time: nothing is held meanwhile that somebody else waits for.

use postern_protocol::name::Name;
use postern_protocol::wire::administration::{
    AdminAnswer, CodeText, Declined, HandedCode, InvitationEntry, InvitationStanding,
};
use postern_protocol::wire::codec;
use postern_protocol::wire::text::Text;

use super::{Caller, Failed, Hub, ROOM, Told, decline, unreadable};
use crate::actor::Actor;
use crate::api::Invite;
use crate::invitation::{self, CODE_S, Delivery, Handed, InvitationError, Listed, Standing};

impl Hub {
    pub(super) fn invitations(&self, caller: &Caller, after: Option<&Name>) -> Result<Told, Failed> {
        let now = (self.clock)();
        self.look(caller, |tx, user| {
            let listed = invitation::list(tx, Actor::User(user), now)?.into_iter();
            Ok(page(listed.filter(|one| after.is_none_or(|after| one.user > *after)).map(entry)))
        })
    }

    pub(super) fn invite(&self, caller: &Caller, body: &[u8]) -> Result<Told, Failed> {
        let now = (self.clock)();
        let ask = serde_json::from_slice::<Invite>(body).map_err(unreadable)?.read().map_err(unreadable)?;
        self.store.write(|tx| {
            let user = self.person(tx, caller, true, now)?.name;
            let (handed, done) = invitation::invite(tx, &self.publisher, Actor::User(&user), &ask, now)?;
            Ok(Told::Invited(handed, done))
        })
    }

    pub(super) fn resend_invite(
        &self,
        caller: &Caller,
        (invited, good_for_s): (&Name, Option<u32>),
    ) -> Result<Told, Failed> {
        let now = (self.clock)();
        let of = (invited, good_for_s.map_or(CODE_S, u64::from));
        self.store.write(|tx| {
            let user = self.person(tx, caller, true, now)?.name;
            Ok(Told::Resent(invitation::resend(tx, &self.publisher, Actor::User(&user), of, now)?))
        })
    }

    pub(super) fn revoke_invite(&self, caller: &Caller, invited: Name) -> Result<Told, Failed> {
        let now = (self.clock)();
        self.store.write(|tx| {
            let user = self.person(tx, caller, true, now)?.name;
            invitation::revoke(tx, Actor::User(&user), &invited, now)?;
            Ok(Told::Seen(AdminAnswer::Revoked(invited)))
        })
    }

    /// Sends a code where that can be done, and says it otherwise.
    pub(super) async fn hand_over(&self, handed: Handed) -> Result<HandedCode, Failed> {
        let mailer = self.post.get().map(|post| post.mailer().as_ref());
        let (is_shown, mailed, unsent) = match invitation::deliver(mailer, &handed).await {
            Delivery::Shown => (true, None, None),
            Delivery::Mailed(address) => (false, Some(Text::clean(address.as_str())), None),
            Delivery::Unsent(error) => (true, None, Some(Text::clean(&error.to_string()))),
        };
        let code = is_shown.then(|| CodeText::try_from(handed.code.reveal().to_owned())).transpose();
        let code = code.map_err(|_| Failed::Internal)?;
        let (user, account, expires) = (handed.user, Text::clean(&handed.account), handed.expires);
        Ok(HandedCode { user, account, code, expires, mailed, unsent })
    }
}

impl From<InvitationError> for Failed {
    fn from(error: InvitationError) -> Self {
        if let InvitationError::Refused(refused) = error {
            return refused.into();
        }
        let Some(how) = decline(error.sort()) else {
            tracing::error!(%error, "an invitation failed");
            return Self::Internal;
        };
        Declined::new(how, vec![error.to_string()]).into()
    }
}

fn entry(Listed { user, account, state, by, made, expires }: Listed) -> InvitationEntry {
    let standing = match state {
        Standing::Open => InvitationStanding::Open,
        Standing::Expired => InvitationStanding::Expired,
        Standing::None => InvitationStanding::None,
    };
    InvitationEntry { user, account, standing, by: by.and_then(|by| by.parse().ok()), made, expires }
}

/// As many as an answer holds.
fn page(entries: impl Iterator<Item = InvitationEntry>) -> AdminAnswer {
    let (mut room, mut invitations) = (ROOM, Vec::new());
    for entry in entries {
        let size = codec::encode(&entry, room).ok().map(|bytes| bytes.len());
        let Some(left) = size.and_then(|size| room.checked_sub(size)) else {
            let last: Option<&InvitationEntry> = invitations.last();
            let more = last.map(|last| last.user.clone());
            return AdminAnswer::Invitations { invitations, more };
        };
        room = left;
        invitations.push(entry);
    }
    AdminAnswer::Invitations { invitations, more: None }
}

#[cfg(test)]
mod tests {
    use postern_protocol::limits::{self, NAME_BYTES};
    use postern_protocol::time::UnixTime;
    use postern_protocol::wire::hub::HubAnswer;

    use super::*;

    #[test]
    fn a_page_of_invitations_fits_an_answer_and_says_where_it_goes_on() {
        let name = |number: usize| format!("{number:0NAME_BYTES$}").parse::<Name>().unwrap();
        let entry = |number| InvitationEntry {
            user: name(number),
            account: name(number),
            standing: InvitationStanding::Open,
            by: Some(name(number)),
            made: Some(UnixTime::MAX),
            expires: Some(UnixTime::MAX),
        };
        let AdminAnswer::Invitations { invitations, more: None } = page((0..3).map(entry)) else { panic!() };
        assert_eq!(invitations.len(), 3);
        let many = page((0..10_000).map(entry));
        let AdminAnswer::Invitations { invitations, more } = &many else { panic!() };
        assert_eq!(*more, invitations.last().map(|last| last.user.clone()));
        assert!(codec::encode(&HubAnswer::Administered(many), limits::LIST_FRAME_BYTES).is_ok());
    }
}
