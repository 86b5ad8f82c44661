//! What would have to be true, in words.

use postern_protocol::name::Name;
use postern_protocol::policy::Origin;

use super::words::{list, scope, span};
use crate::clock;
use crate::explain::{Answer, Mark, Opener, Parts, Remedy, Unfit, Unfitness};

/// One remedy as a sentence without its period.
pub(super) fn words(remedy: &Remedy, answer: &Answer) -> String {
    let Answer { user, device, service, .. } = answer;
    match remedy {
        Remedy::EnableUser => format!("{user} is disabled: `postern-cloud user enable {user}` lifts it"),
        Remedy::OutsideAccount { user_account, device_account } => format!(
            "{device} belongs to account `{device_account}`, which is neither `{user_account}`, the account of \
             {user}, nor nested in it: no role opens it, only a user of `{device_account}` or above can enter"
        ),
        Remedy::OpenDevice { then } => opened(device, then),
        Remedy::LiftEntry { origin, until: None } => {
            format!("{origin} denies it and does not end: remove the entry")
        }
        Remedy::LiftEntry { origin, until: Some(until) } => {
            format!("{origin} denies it until {}: wait, or remove the entry", clock::show(*until))
        }
        Remedy::Wait { origin, from } => format!("{origin} begins at {}", clock::show(*from)),
        Remedy::Extend { origin, until } => {
            format!("{origin} ended at {}: give it a later `until`", clock::show(*until))
        }
        Remedy::SecondFactor { origin, max_age_s, stale } => {
            let seen = if *stale { "the last one was used too long ago" } else { "none was used" };
            format!("{origin} needs a second factor not older than {}: {seen}", span(*max_age_s))
        }
        Remedy::ActivateCase { origin, machine, cases } => {
            let about = machine
                .as_ref()
                .map_or_else(|| format!("device {device}"), |machine| format!("machine {machine}"));
            format!("{origin} needs an active shared case of {about}: {}", present(cases))
        }
        Remedy::Approve { origin } => format!(
            "{origin} needs an approval, by somebody of the operating company that has {device}: {user} asks for it with `postern connect \
             {device} {service}`"
        ),
        Remedy::Reconnect => format!("{device} hears from the cloud again: then every grant counts"),
        Remedy::HoldOffline { origin, mark } => {
            let how = match mark {
                Mark::Source => "set `offline = true` there".to_owned(),
                Mark::Narrowed => "take `offline = false` there away".to_owned(),
                Mark::Role(role) => format!("set `offline = true` in role `{role}`"),
            };
            format!("{origin} does not hold while the device is cut off: {how}")
        }
        Remedy::AllowOffline => {
            format!("{device} opens nothing while it is cut off: give it a longer `offline`")
        }
        Remedy::Widen { origin, category, parts } => {
            let through =
                category.as_ref().map_or_else(String::new, |category| format!(" (category `{category}`)"));
            format!("{origin} contains {service}{through}, but not here: {}", places(parts, &place(answer)))
        }
        Remedy::Select { origin, categories, pages } => unselected(origin, categories, pages, answer),
        Remedy::Reopen { origin } => format!("{origin} ends before it begins: give it a later `until`"),
        Remedy::Assign { roles } => {
            format!(
                "assign a role that contains {service}, in a scope with {}: {}",
                place(answer),
                openers(roles)
            )
        }
        Remedy::AddToRole { categories } => format!(
            "{} {} {service}, but no role that fits the company of {user} opens it: make one, and assign it in a \
             scope with {}",
            if categories.len() == 1 { "category" } else { "categories" },
            verb(categories, "contains", "contain"),
            place(answer),
        ),
        Remedy::Categorise => {
            format!("no access category contains {service}: add it to one, and the category to a role")
        }
    }
}

fn opened(device: &Name, then: &[Origin]) -> String {
    let open = format!("{device} is closed: set `closed = false` in the fleet file (`postern-cloud export`)");
    match then {
        [] => open,
        some => {
            let some: Vec<String> = some.iter().map(ToString::to_string).collect();
            format!("{open}; then {} would grant it", list(&some))
        }
    }
}

fn present(cases: &[Unfit]) -> String {
    let each = cases.iter().map(|Unfit { case, why }| match why {
        Unfitness::Internal => format!("`{case}` is internal"),
        Unfitness::NotActivated => format!("remote access is not activated in `{case}`"),
        Unfitness::NotYet(from) => format!("`{case}` begins at {}", clock::show(*from)),
        Unfitness::Ended(until) => format!("`{case}` ended at {}", clock::show(*until)),
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { "there is none".to_owned() } else { list(&each) }
}

/// Where the service is: of two machines behind one device, a scope may contain one.
fn place(answer: &Answer) -> String {
    let Answer { device, machine, .. } = answer;
    machine.as_ref().map_or_else(|| device.to_string(), |machine| format!("{machine} (behind {device})"))
}

fn places(parts: &Parts, place: &str) -> String {
    let nouns = |scopes: &[crate::model::Scope]| list(&scopes.iter().map(scope).collect::<Vec<_>>());
    let (inside, outside) = (nouns(&parts.inside), nouns(&parts.outside));
    if parts.inside.is_empty() {
        format!("{place} is not in {outside}")
    } else {
        format!("{place} is in {inside}, but not in {outside}")
    }
}

fn unselected(origin: &Origin, categories: &[Name], pages: &[Name], answer: &Answer) -> String {
    let service = &answer.service;
    if categories.is_empty() {
        return match origin {
            Origin::Entry { .. } => {
                format!("{origin} is valid here, but names another service than {service}")
            }
            Origin::Assignment { .. } | Origin::Membership { .. } => {
                format!("{origin} is valid here, but opens no access category")
            }
        };
    }
    let opens = format!(
        "{origin} is valid here, but opens {}, without {service} in {}",
        quoted(categories),
        if categories.len() == 1 { "it" } else { "them" },
    );
    match pages {
        [] => opens,
        pages => {
            format!("{opens}; {} a page of it, and a page opens nothing else", verb(pages, "names", "name"))
        }
    }
}

/// Names and what they do.
fn verb(names: &[Name], one: &str, several: &str) -> String {
    format!("{} {}", quoted(names), if names.len() == 1 { one } else { several })
}

fn quoted(names: &[Name]) -> String {
    list(&names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>())
}

fn openers(roles: &[Opener]) -> String {
    let noun = |Opener { role, category, by_assignment }: &Opener| {
        if *by_assignment {
            format!("`{role}` with `categories = [\"{category}\"]`")
        } else {
            format!("`{role}` (category `{category}`)")
        }
    };
    let shown: Vec<String> = roles.iter().take(SHOWN).map(noun).collect();
    match roles.len().checked_sub(SHOWN).filter(|rest| *rest > 0) {
        Some(rest) => format!("{} or {rest} more (all with --json)", shown.join(", ")),
        None => shown.join(", "),
    }
}

/// Roles that a person is shown.
const SHOWN: usize = 8;
