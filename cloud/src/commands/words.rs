//! Conditions and origins in words, the same in every command.

use std::collections::BTreeSet;

use postern_protocol::policy::explain::Given;
use postern_protocol::policy::{Mode, Origin, Pattern};
use postern_protocol::time::UnixTime;

use crate::clock;
pub(super) use crate::clock::span;
use crate::model::Scope;

/// What a grant demands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions<'a> {
    pub(super) not_before: Option<UnixTime>,
    pub(super) not_after: Option<UnixTime>,
    pub(super) second_factor_s: Option<u32>,
    pub(super) needs_case: bool,
    pub(super) case: Option<&'a str>,
    pub(super) needs_approval: bool,
    pub(super) approval: Option<Given>,
    /// Seconds for which it holds while the device is cut off; zero for not at all.
    pub(super) offline_s: u32,
    /// What may be done.
    pub(super) mode: Mode,
    /// Whether it is recorded.
    pub(super) record: bool,
    /// Paths that are denied all the same.
    pub(super) closed: &'a BTreeSet<Pattern>,
}

impl Conditions<'_> {
    /// Each condition in words; none for a grant without any.
    pub(super) fn words(&self) -> Option<String> {
        let mut words: Vec<String> = self.mode.remark().map(str::to_owned).into_iter().collect();
        words.extend(self.record.then(|| "recorded".to_owned()));
        let closed: Vec<String> = self.closed.iter().map(|path| format!("`{path}`")).collect();
        words.extend((!closed.is_empty()).then(|| format!("without {}", list(&closed))));
        words.extend(window(self.not_before, self.not_after));
        words.extend(
            self.second_factor_s.map(|age| format!("with a second factor not older than {}", span(age))),
        );
        words.extend(match (self.needs_case, self.case) {
            (_, Some(case)) => Some(format!("by active case `{case}`")),
            (true, None) => Some("with an active case".to_owned()),
            (false, None) => None,
        });
        words.extend(match (self.needs_approval, self.approval) {
            (_, Some(Given { id, mode, until })) => {
                let mode = mode.remark().filter(|_| !mode.touches());
                let mode = mode.map(|mode| format!(" {mode}")).unwrap_or_default();
                Some(format!("approved{mode} until {} ({id})", clock::show(until)))
            }
            (true, None) => Some("with an approval".to_owned()),
            (false, None) => None,
        });
        words.extend(
            (self.offline_s > 0)
                .then(|| format!("also for up to {} without the cloud", days(self.offline_s))),
        );
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// From when until when; empty for ever.
pub(super) fn window(from: Option<UnixTime>, until: Option<UnixTime>) -> Vec<String> {
    let from = from.map(|from| format!("from {}", clock::show(from)));
    let until = until.map(|until| format!("until {}", clock::show(until)));
    from.into_iter().chain(until).collect()
}

/// A long time span: in days where it is whole days.
pub(super) fn days(seconds: u32) -> String {
    match seconds / DAY_S {
        1 if seconds.is_multiple_of(DAY_S) => "1 day".to_owned(),
        days if days > 0 && seconds.is_multiple_of(DAY_S) => format!("{days} days"),
        _ => span(seconds),
    }
}

/// What lies between a user and a category: the links of a chain.
pub(super) fn links(origin: &Origin) -> Vec<String> {
    match origin {
        Origin::Assignment { assignment, role, group } => {
            let group = group.iter().map(|group| format!("user group `{group}`"));
            group.chain([format!("assignment `{assignment}`"), format!("role `{role}`")]).collect()
        }
        Origin::Membership { group, role } => {
            vec![format!("membership in device group `{group}`"), format!("role `{role}`")]
        }
        Origin::Entry { entry } => vec![format!("entry `{entry}`")],
    }
}

/// A scope as a noun.
pub(super) fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Account { account, nested: false } => format!("account `{account}`"),
        Scope::Account { account, nested: true } => format!("account `{account}` with those nested in it"),
        Scope::DeviceGroup { group } => format!("device group `{group}`"),
        Scope::Facility { facility } => format!("facility `{facility}`"),
        Scope::Organisation { organisation } => format!("organisation `{organisation}`"),
        Scope::Device { device } => format!("device `{device}`"),
        Scope::Machine { machine } => format!("machine `{machine}`"),
        Scope::AllOf { scopes } => {
            format!("all of ({})", scopes.iter().map(self::scope).collect::<Vec<_>>().join(", "))
        }
        Scope::Unknown => "a scope of an unknown type".to_owned(),
    }
}

/// Nouns as a list: `a, b and c`.
pub(super) fn list(nouns: &[String]) -> String {
    match nouns {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

const DAY_S: u32 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> postern_protocol::name::Label {
        text.parse().unwrap()
    }

    #[test]
    fn conditions_come_in_words_and_none_are_nothing() {
        let mut conditions = Conditions {
            not_before: None,
            not_after: Some(UnixTime::from_secs(1_798_740_000)),
            second_factor_s: Some(28_800),
            needs_case: true,
            case: None,
            needs_approval: true,
            approval: None,
            offline_s: 604_800,
            mode: Mode::ViewOnly,
            record: true,
            closed: &["/a/**", "/b/**"].map(|path| path.parse().unwrap()).into(),
        };
        assert_eq!(
            conditions.words().unwrap(),
            "to look only, recorded, without `/a/**` and `/b/**`, until 2026-12-31T18:00:00Z, with a second factor not older than 8h, with an active case, with an approval, also for up to 7 \
             days without the cloud"
        );
        let none = BTreeSet::new();
        conditions = Conditions {
            not_after: None,
            second_factor_s: None,
            needs_case: false,
            needs_approval: false,
            record: false,
            closed: &none,
            ..conditions
        };
        conditions.offline_s = 0;
        assert_eq!(conditions.words().as_deref(), Some("to look only"));
        conditions.mode = Mode::Full { clipboard: false };
        assert_eq!(conditions.words(), None);
        let id = postern_protocol::id::ApprovalId::new([7; 8]);
        let until = UnixTime::from_secs(1_798_740_000);
        let words = |mode| {
            let approval = Some(Given { id, mode, until });
            Conditions { needs_approval: true, approval, ..conditions }.words().unwrap()
        };
        assert_eq!(words(Mode::WIDEST), "approved until 2026-12-31T18:00:00Z (apr-0707070707070707)");
        assert_eq!(
            words(Mode::ViewOnly),
            "approved to look only until 2026-12-31T18:00:00Z (apr-0707070707070707)"
        );
    }

    #[test]
    fn whole_days_are_days_and_other_spans_are_not() {
        assert_eq!([86_400, 604_800, 90_000, 1800].map(days), ["1 day", "7 days", "25h", "30m"]);
    }

    #[test]
    fn links_name_the_way_from_a_user_to_a_category() {
        let origin = Origin::Assignment {
            assignment: label("north"),
            role: label("operator"),
            group: Some(label("shift-a")),
        };
        assert_eq!(links(&origin), ["user group `shift-a`", "assignment `north`", "role `operator`"]);
        let origin = Origin::Membership { group: label("mine"), role: label("engineer") };
        assert_eq!(links(&origin), ["membership in device group `mine`", "role `engineer`"]);
        assert_eq!(links(&Origin::Entry { entry: label("loan") }), ["entry `loan`"]);
    }

    #[test]
    fn lists_read_as_sentences() {
        let nouns = |nouns: &[&str]| list(&nouns.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(nouns(&["a"]), "a");
        assert_eq!(nouns(&["a", "b", "c"]), "a, b and c");
    }
}
