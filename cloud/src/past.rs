//! Whose a device was, and when: what belongs in the hands of one company of a trail that outlives every change of the model.
//!
//! 1. The store notes each change of an account's parent, a device's account and a user's account, with its time, and removes nothing.
//! 2. [`Past::within`] gives the times at which an account was a company or lay in it; [`Past::stretches`] the times at which devices did.
//! 3. [`Past::knows`] says whether a company may be told the name of a user: one that was its own from the row on, without a break.
//!
//! What is not known to have been a company's was not: a company is told of less rather than of another's. A company that was removed and
//! founded again under its name is another one. Deliberately absent: what anybody may see now ([`visibility`](crate::visibility)).

use std::collections::BTreeMap;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::model::NESTING;

/// What was whose, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Of each account from when on it lay in which one, ascending; none after its name is that it is gone.
    pub accounts: BTreeMap<Name, Vec<(UnixTime, Option<Place>)>>,
    /// Of each device the times in which it was in one account, ascending.
    pub devices: BTreeMap<Name, Vec<Tenure>>,
}

/// A time in which a device was in one account, or in none; it ends with the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// From when on, by the cloud's time.
    pub since: UnixTime,
    /// In which account.
    pub account: Option<Name>,
    /// When a policy of this time came into force, by the device's time; none where the device has not told of any.
    pub applied: Option<UnixTime>,
}

/// Where an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In no other one.
    Top,
    /// In this one.
    In(Name),
}

/// A user as the trail may name one, also one who has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastUser {
    /// The name.
    pub name: Name,
    /// From when on the user was in which account, ascending; none is that the user has left.
    pub accounts: Vec<(UnixTime, Option<Name>)>,
}

/// From this second to before that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first second.
    pub from: UnixTime,
    /// The first second after it; [`UnixTime::MAX`] is that it lasts.
    pub until: UnixTime,
}

/// A device, while it was a company's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The device.
    pub device: Name,
    /// When.
    pub span: Span,
}

impl Span {
    /// For ever.
    pub const ALWAYS: Self = Self { from: UnixTime::EPOCH, until: UnixTime::MAX };

    /// What lies in both.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { from: self.from.max(other.from), until: self.until.min(other.until) };
        (both.from < both.until).then_some(both)
    }

    /// Whether it lasts.
    #[must_use]
    pub fn lasts(self) -> bool {
        self.until == UnixTime::MAX
    }

    /// Whether a second lies in it.
    #[must_use]
    pub fn contains(self, at: UnixTime) -> bool {
        self.from <= at && (at < self.until || self.lasts())
    }
}

impl Tenure {
    /// From when on rows of the device are of this time. A device's clock may be a moment behind the cloud's; what it writes under a policy
    /// of this time is of this time.
    fn begins(&self) -> UnixTime {
        self.applied.map_or(self.since, |applied| applied.min(self.since))
    }
}

impl PastUser {
    /// The account at a time.
    #[must_use]
    pub fn account_at(&self, at: UnixTime) -> Option<&Name> {
        self.accounts.iter().rev().find(|(since, _)| *since <= at).and_then(|(_, account)| account.as_ref())
    }

    /// Whether the user is in the model.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.accounts.last().is_some_and(|(_, account)| account.is_some())
    }
}

impl Past {
    /// When an account was `company`, or lay in it, as it was nested at that time. Ascending, and no two touch.
    #[must_use]
    pub fn within(&self, account: &Name, company: &Name) -> Vec<Span> {
        self.climb(account, company, NESTING.saturating_add(2))
    }

    fn climb(&self, account: &Name, company: &Name, steps: usize) -> Vec<Span> {
        let Some(history) = self.accounts.get(account) else { return Vec::new() };
        if account == company {
            // Only the company that has the name now.
            let founded = history.iter().rposition(|(_, place)| place.is_none()).map_or(0, |gone| gone + 1);
            let from = history.get(founded).map(|(since, _)| *since);
            return from.map(|from| Span { from, until: UnixTime::MAX }).into_iter().collect();
        }
        let Some(steps) = steps.checked_sub(1) else { return Vec::new() };
        let mut spans = Vec::new();
        for (span, place) in spans_of(history) {
            if let Some(Place::In(outer)) = place {
                spans.extend(
                    self.climb(outer, company, steps).into_iter().filter_map(|outer| outer.and(span)),
                );
            }
        }
        joined(spans)
    }

    /// When devices were in `company` or in what lay in it, by device and time.
    #[must_use]
    pub fn stretches(&self, company: &Name) -> Vec<Stretch> {
        let mut known: BTreeMap<&Name, Vec<Span>> = BTreeMap::new();
        let mut stretches = Vec::new();
        for (device, tenures) in &self.devices {
            let history: Vec<_> = tenures.iter().map(|one| (one.begins(), one.account.as_ref())).collect();
            let mut spans = Vec::new();
            for (span, account) in spans_of(&history) {
                let Some(account) = account else { continue };
                let inside = known.entry(account).or_insert_with(|| self.within(account, company));
                spans.extend(inside.iter().filter_map(|inside| inside.and(span)));
            }
            let spans = joined(spans).into_iter();
            stretches.extend(spans.map(|span| Stretch { device: device.clone(), span }));
        }
        stretches
    }

    /// Whether a device had a policy in force at a time that was made for the account that it was in then. Until it has, it goes by the
    /// names of the account before.
    #[must_use]
    pub fn is_settled(&self, device: &Name, at: UnixTime) -> bool {
        let mut tenures = self.devices.get(device).into_iter().flatten().rev();
        let tenure = tenures.find(|tenure| tenure.begins() <= at);
        tenure.and_then(|tenure| tenure.applied).is_some_and(|applied| applied < at)
    }

    /// Whether `company` may be told the name of a user of whom a row of this time says something: from then on, until the user left or
    /// until now, the user was in it or in what lay in it, without a break.
    #[must_use]
    pub fn knows(&self, company: &Name, user: &PastUser, at: UnixTime) -> bool {
        let mut own = Vec::new();
        let mut left = UnixTime::MAX;
        for (span, account) in spans_of(&user.accounts) {
            match account {
                Some(account) => {
                    own.extend(
                        self.within(account, company).into_iter().filter_map(|inside| inside.and(span)),
                    );
                }
                None => left = span.from,
            }
        }
        joined(own).iter().any(|span| span.contains(at) && span.until >= left)
    }
    /// Whether `company` may be told a user's name for what the user did last, or does now: whether it may look for the user by name.
    #[must_use]
    pub fn knows_last(&self, company: &Name, user: &PastUser, now: UnixTime) -> bool {
        let left = user.accounts.last().filter(|(_, account)| account.is_none()).map(|(since, _)| *since);
        let last = left.map_or(now, |left| UnixTime::from_secs(left.as_secs().saturating_sub(1)));
        self.knows(company, user, last)
    }
}

/// What held when, of what holds from when on.
fn spans_of<T>(history: &[(UnixTime, Option<T>)]) -> impl Iterator<Item = (Span, Option<&T>)> {
    let ends = history.iter().skip(1).map(|(since, _)| *since).chain([UnixTime::MAX]);
    history.iter().zip(ends).map(|((from, what), until)| (Span { from: *from, until }, what.as_ref()))
}

/// Spans in order, those that touch as one.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.from <= last.until => last.until = last.until.max(span.until),
            Some(_) | None => joined.push(span),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn span(from: u64, until: u64) -> Span {
        Span { from: at(from), until: at(until) }
    }

    fn since(from: u64) -> Span {
        Span { from: at(from), until: UnixTime::MAX }
    }

    fn tenure(since: u64, account: Option<&str>, applied: Option<u64>) -> Tenure {
        Tenure { since: at(since), account: account.map(name), applied: applied.map(at) }
    }

    /// `provider` has the customers `acme` and `beta`; `site` was acme's from 20 on and is beta's from 50 on. `acme` was removed at 60 and
    /// founded again at 70.
    fn past() -> Past {
        let inside = |account: &str| Some(Place::In(name(account)));
        let accounts = BTreeMap::from([
            (name("provider"), vec![(at(1), Some(Place::Top))]),
            (name("acme"), vec![(at(10), inside("provider")), (at(60), None), (at(70), inside("provider"))]),
            (name("beta"), vec![(at(10), inside("provider"))]),
            (name("site"), vec![(at(20), inside("acme")), (at(50), inside("beta"))]),
        ]);
        let devices = BTreeMap::from([
            (name("d-site"), vec![tenure(25, Some("site"), None)]),
            (
                name("d-moved"),
                vec![
                    tenure(10, Some("acme"), Some(12)),
                    tenure(30, Some("beta"), Some(35)),
                    tenure(40, None, None),
                ],
            ),
            (name("d-new"), vec![tenure(75, Some("acme"), None)]),
        ]);
        Past { accounts, devices }
    }

    fn of(past: &Past, company: &str) -> Vec<(String, Span)> {
        past.stretches(&name(company)).into_iter().map(|one| (one.device.to_string(), one.span)).collect()
    }

    #[test]
    fn a_device_is_a_companys_as_long_as_it_was_in_it_or_in_what_lay_in_it() {
        let beta = [("d-moved".to_owned(), span(30, 40)), ("d-site".to_owned(), since(50))];
        assert_eq!(of(&past(), "beta"), beta);
        let all = [
            ("d-moved".to_owned(), span(10, 40)),
            ("d-new".to_owned(), since(75)),
            ("d-site".to_owned(), since(25)),
        ];
        assert_eq!(of(&past(), "provider"), all, "also while it changed hands below");
    }

    #[test]
    fn a_company_that_takes_the_name_of_another_has_nothing_of_its_past() {
        assert_eq!(of(&past(), "acme"), [("d-new".to_owned(), since(75))]);
        let mut kept = past();
        kept.accounts.insert(name("acme"), vec![(at(10), Some(Place::Top))]);
        let all = [
            ("d-moved".to_owned(), span(10, 30)),
            ("d-new".to_owned(), since(75)),
            ("d-site".to_owned(), span(25, 50)),
        ];
        assert_eq!(of(&kept, "acme"), all);
    }

    #[test]
    fn a_device_is_settled_once_it_has_told_of_a_policy_that_was_made_for_its_account() {
        let settled = |secs| past().is_settled(&name("d-moved"), at(secs));
        assert!(!settled(9) && !settled(12) && settled(13) && settled(29));
        assert!(!settled(30) && !settled(35) && settled(36) && !settled(40));
        assert!(!past().is_settled(&name("d-new"), at(99)) && !past().is_settled(&name("nowhere"), at(99)));
    }

    #[test]
    fn what_a_device_writes_under_the_new_policy_is_of_the_new_company_though_its_clock_is_behind() {
        let mut past = past();
        let tenures = vec![tenure(10, Some("acme"), Some(12)), tenure(30, Some("beta"), Some(28))];
        past.devices = BTreeMap::from([(name("d"), tenures)]);
        assert_eq!(of(&past, "beta"), [("d".to_owned(), since(28))]);
        past.accounts.insert(name("acme"), vec![(at(10), Some(Place::In(name("provider"))))]);
        assert_eq!(of(&past, "acme"), [("d".to_owned(), span(10, 28))]);
        assert_eq!(of(&past, "provider"), [("d".to_owned(), since(10))]);
        assert!(!past.is_settled(&name("d"), at(28)) && past.is_settled(&name("d"), at(29)));
    }

    #[test]
    fn nobody_has_what_is_above_beside_or_unknown() {
        assert_eq!(past().within(&name("provider"), &name("beta")), []);
        assert_eq!(past().within(&name("acme"), &name("beta")), []);
        assert_eq!(past().within(&name("nowhere"), &name("beta")), []);
        assert_eq!(of(&past(), "nowhere"), []);
        let mut circle = past();
        circle.accounts.insert(name("provider"), vec![(at(1), Some(Place::In(name("acme"))))]);
        assert_eq!(circle.within(&name("acme"), &name("beta")), []);
    }

    #[test]
    fn a_user_is_named_to_the_company_that_has_or_had_the_user_from_the_row_on_and_to_no_other() {
        let past = past();
        let user = |accounts: &[(u64, Option<&str>)]| PastUser {
            name: name("otto"),
            accounts: accounts.iter().map(|(since, account)| (at(*since), account.map(name))).collect(),
        };
        let knows = |company: &str, user: &PastUser, secs| past.knows(&name(company), user, at(secs));
        let stays = user(&[(15, Some("beta"))]);
        assert!(knows("beta", &stays, 20) && knows("provider", &stays, 20));
        assert!(
            past.knows_last(&name("beta"), &stays, at(99)) && !past.knows_last(&name("acme"), &stays, at(99))
        );
        assert!(!knows("beta", &stays, 14) && !knows("acme", &stays, 20));
        let left = user(&[(15, Some("beta")), (30, None)]);
        assert!(knows("beta", &left, 20) && !knows("beta", &left, 30));
        assert!(
            past.knows_last(&name("beta"), &left, at(99)) && !past.knows_last(&name("acme"), &left, at(99))
        );
        // Whoever went to another company has that one's name.
        let went = user(&[(15, Some("beta")), (30, Some("provider"))]);
        assert!(!knows("beta", &went, 20) && knows("provider", &went, 20));
        assert!(!past.knows_last(&name("beta"), &went, at(99)));
        let came = user(&[(15, Some("provider")), (30, Some("beta"))]);
        assert!(!knows("beta", &came, 20) && knows("beta", &came, 30));
        // The company was sold with its people.
        let sold = user(&[(25, Some("site"))]);
        assert!(!knows("acme", &sold, 30) && !knows("beta", &sold, 30) && knows("beta", &sold, 50));
    }
}
