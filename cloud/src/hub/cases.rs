//! Service cases over the hub, for the people who handle them: the same as `postern-cloud case`, by the user's own rights.
//!
//! Who the user is, and what sign-in it takes, is as for [`administration`](super::administration). What may be done
//! with a case is for [`case`] to say; where a window lasts for a time, the hub's clock counts.

use std::sync::Arc;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::administration::{Decline, Declined};
use postern_protocol::wire::case::{
    CaseAbout, CaseEnd, CaseEntry, CasePage, CaseQuestion, CaseStanding, CaseWindow,
};
use postern_protocol::wire::codec;
use postern_protocol::wire::hub::HubAnswer;

use super::administration::Caller;
use super::{Failed, Hub, blocking};
use crate::actor::Actor;
use crate::administration::Done;
use crate::case::{self, CaseError, Named, Standing, Window};
use crate::model::{Case, CaseSubject, Visibility};
use crate::publish::Publisher;
use crate::store::Tx;

/// What came of a question.
enum Told {
    Seen(CasePage),
    Done(Box<CaseEntry>, Done),
}

impl Hub {
    pub(super) async fn handle_case(
        self: &Arc<Self>,
        caller: Caller,
        question: CaseQuestion,
    ) -> Result<HubAnswer, Failed> {
        let hub = Arc::clone(self);
        let told = blocking(move || hub.tell_case(&caller, question)).await?;
        let page = match told {
            Told::Seen(page) => page,
            Told::Done(case, done) => {
                CasePage { cases: vec![*case], more: None, edited: Some(self.spread(done).await) }
            }
        };
        Ok(HubAnswer::Cases(page))
    }

    fn tell_case(&self, caller: &Caller, question: CaseQuestion) -> Result<Told, Failed> {
        let now = (self.clock)();
        let edits = !matches!(question, CaseQuestion::List { .. } | CaseQuestion::Show { .. });
        self.recognise(caller, edits)?;
        match question {
            CaseQuestion::List { after } => self.store.read(|tx| {
                let user = self.person(tx, caller, false, now)?.name;
                let cases = case::list(tx, Actor::User(&user), now)?;
                let behind =
                    cases.into_iter().filter(|one| after.as_ref().is_none_or(|after| one.name > *after));
                Ok(Told::Seen(page(behind.map(|one| entry(one, now)))))
            }),
            CaseQuestion::Show { name } => self.store.read(|tx| {
                let user = self.person(tx, caller, false, now)?.name;
                let (named, _) = case::find(tx, Actor::User(&user), &name, now)?;
                Ok(Told::Seen(CasePage { cases: vec![entry(named, now)], more: None, edited: None }))
            }),
            CaseQuestion::Open { name, about, shared, window, label } => {
                self.change_case(caller, now, |tx, publisher, actor| {
                    let window = window.map(|window| of_wire(window, now));
                    let case = Case {
                        subject: subject(&about),
                        visibility: if shared { Visibility::Shared } else { Visibility::Internal },
                        from: window.and_then(|window| window.from),
                        until: window.map(|window| window.until),
                        label: label.clone(),
                    };
                    case::open(tx, publisher, actor, (name.clone(), case), now)
                })
            }
            CaseQuestion::Activate { name, window } => {
                self.change_case(caller, now, |tx, publisher, actor| {
                    case::activate(tx, publisher, actor, (&name, of_wire(window, now)), now)
                })
            }
            CaseQuestion::Deactivate { name } => self.change_case(caller, now, |tx, publisher, actor| {
                case::deactivate(tx, publisher, actor, &name, now)
            }),
            CaseQuestion::Close { name } => self.change_case(caller, now, |tx, publisher, actor| {
                case::close(tx, publisher, actor, &name, now)
            }),
        }
    }

    fn change_case(
        &self,
        caller: &Caller,
        now: UnixTime,
        make: impl Fn(&Tx<'_>, &Publisher, Actor<'_>) -> Result<(Named, Done), CaseError>,
    ) -> Result<Told, Failed> {
        self.store.write(|tx| {
            // Again: the user may have been disabled since the first look.
            let user = self.person(tx, caller, true, now)?.name;
            let (named, done) = make(tx, &self.publisher, Actor::User(&user))?;
            Ok(Told::Done(Box::new(entry(named, now)), done))
        })
    }
}

impl From<CaseError> for Failed {
    fn from(error: CaseError) -> Self {
        match error {
            CaseError::Refused(refused) => refused.into(),
            CaseError::Store(error) => error.into(),
            error @ (CaseError::Window { .. } | CaseError::Name(_)) => {
                Declined::new(Decline::Unreadable, vec![error.to_string()]).into()
            }
            error @ CaseError::Absent(_) => Declined::new(Decline::Forbidden, vec![error.to_string()]).into(),
        }
    }
}

fn of_wire(CaseWindow { from, end }: CaseWindow, now: UnixTime) -> Window {
    let until = match end {
        CaseEnd::At(until) => until,
        CaseEnd::After(secs) => from.unwrap_or(now).saturating_add(u64::from(secs)),
    };
    Window { from, until }
}

fn subject(about: &CaseAbout) -> CaseSubject {
    match about {
        CaseAbout::Machine(machine) => CaseSubject::Machine(machine.clone()),
        CaseAbout::Device(device) => CaseSubject::Device(device.clone()),
    }
}

fn entry(Named { name, case }: Named, now: UnixTime) -> CaseEntry {
    let standing = match Standing::of(&case, now) {
        Standing::Inactive => CaseStanding::Inactive,
        Standing::Planned => CaseStanding::Planned,
        Standing::Active => CaseStanding::Active,
        Standing::Over => CaseStanding::Over,
    };
    let about = match case.subject {
        CaseSubject::Machine(machine) => CaseAbout::Machine(machine),
        CaseSubject::Device(device) => CaseAbout::Device(device),
    };
    let shared = case.visibility == Visibility::Shared;
    CaseEntry { name, about, shared, standing, from: case.from, until: case.until, label: case.label }
}

/// As many cases as an answer holds.
fn page(cases: impl Iterator<Item = CaseEntry>) -> CasePage {
    let (mut room, mut page) = (ROOM, Vec::new());
    for case in cases {
        let Some(left) = codec::encode(&case, room).ok().and_then(|bytes| room.checked_sub(bytes.len()))
        else {
            let last: Option<&CaseEntry> = page.last();
            let more: Option<Name> = last.map(|last| last.name.clone());
            return CasePage { cases: page, more, edited: None };
        };
        room = left;
        page.push(case);
    }
    CasePage { cases: page, more: None, edited: None }
}

/// What an answer has room for, beside its frame.
const ROOM: usize = limits::LIST_FRAME_BYTES - 256;

#[cfg(test)]
mod tests {
    use postern_protocol::limits::NAME_BYTES;

    use super::*;

    #[test]
    fn a_page_of_cases_fits_an_answer_and_says_where_it_goes_on() {
        let name = |number: usize| format!("{number:0NAME_BYTES$}").parse::<Name>().unwrap();
        let case = |number| CaseEntry {
            name: name(number),
            about: CaseAbout::Machine(name(number)),
            shared: true,
            standing: CaseStanding::Inactive,
            from: None,
            until: Some(UnixTime::MAX),
            label: Some("x".repeat(96).parse().unwrap()),
        };
        let few = page((0..3).map(case));
        assert_eq!((few.cases.len(), few.more), (3, None));
        let many = page((0..10_000).map(case));
        assert_eq!(many.more, many.cases.last().map(|last| last.name.clone()));
        assert!(codec::encode(&HubAnswer::Cases(many), limits::LIST_FRAME_BYTES).is_ok());
    }

    #[test]
    fn a_window_lasts_from_its_beginning_or_from_now() {
        let at = UnixTime::from_secs;
        let until = |from, end| of_wire(CaseWindow { from, end }, at(100)).until;
        assert_eq!(until(None, CaseEnd::After(60)), at(160));
        assert_eq!(until(Some(at(500)), CaseEnd::After(60)), at(560));
        assert_eq!(until(Some(at(500)), CaseEnd::At(at(7))), at(7));
    }
}
