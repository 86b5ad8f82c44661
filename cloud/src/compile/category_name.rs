//! The name under which each distinct selection stands in a snapshot.
//!
//! A category in whose scope the whole device lies keeps its own name; a narrowed one adds its machines, an entry that
//! names a service is `entry.NAME`, and services in which a category closes paths are `NAME.closed`. Names that would be too long or taken end in a digest.

use std::collections::BTreeSet;

use postern_protocol::limits::NAME_BYTES;
use postern_protocol::name::Name;
use postern_protocol::trust::Digest;

use super::source::Pick;
use super::standing::Selected;

/// One name for each selection, in their order; no two are the same. `services` names those of a selection.
pub(super) fn category_names<'n>(
    selections: &[&Selected<'_>],
    services: impl Fn(&Selected<'_>) -> Vec<&'n str>,
) -> Vec<Option<Name>> {
    let own = |selected: &Selected<'_>| match (selected.pick, &selected.machines, &selected.closes) {
        (Pick::Category(name), None, None) => Some(name.clone()),
        (Pick::Category(_) | Pick::Service { .. }, Some(_) | None, Some(_) | None) => None,
    };
    let mut names: Vec<Option<Name>> = selections.iter().map(|selected| own(selected)).collect();
    let mut taken: BTreeSet<Name> = names.iter().flatten().cloned().collect();
    // In the order of what they are, not in that in which the model was read.
    let mut order: Vec<usize> = (0..selections.len()).collect();
    order.sort_unstable_by_key(|at| {
        selections.get(*at).map(|selected| (selected.pick, &selected.machines, &selected.closes))
    });
    for at in order {
        let (Some(selected), Some(name @ None)) = (selections.get(at), names.get_mut(at)) else { continue };
        let (head, plain) = plain(selected);
        let machines: Vec<&str> =
            selected.machines.iter().flatten().map(|machine| machine.as_str()).collect();
        let mut what = format!("{}\0{}", machines.join("\n"), services(selected).join("\n"));
        if let Some(path) = &selected.closes {
            what = format!("{what}\0{path}");
        }
        // Two selections under one name would be united: each would grant the other's services.
        let digests = (0u32..).filter_map(|round| digested(&head, &what, round));
        let free = plain.into_iter().chain(digests).find(|name| !taken.contains(name));
        taken.extend(free.clone());
        *name = free;
    }
    names
}

/// What the name of a selection begins with, and the whole of it where that is a name.
fn plain(selected: &Selected<'_>) -> (String, Option<Name>) {
    match selected.pick {
        Pick::Category(category) if selected.closes.is_some() => {
            (category.to_string(), format!("{category}.closed").parse().ok())
        }
        Pick::Category(category) => {
            let machines: Vec<&str> =
                selected.machines.iter().flatten().map(|machine| machine.as_str()).collect();
            (category.to_string(), format!("{category}.{}", machines.join("_")).parse().ok())
        }
        Pick::Service { entry, .. } => {
            let name = format!("entry.{entry}");
            let plain = name.parse().ok();
            (name, plain)
        }
    }
}

fn digested(head: &str, what: &str, round: u32) -> Option<Name> {
    let digest = Digest::of(&[what.as_bytes(), &round.to_le_bytes()]).to_string();
    let short = digest.get(..16).unwrap_or_default();
    let head: String = head.chars().take(NAME_BYTES - 17).collect();
    format!("{head}.{short}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(selections: &[Selected<'_>]) -> Vec<String> {
        let selections: Vec<&Selected<'_>> = selections.iter().collect();
        let names = category_names(&selections, |_| vec!["m1.hmi"]);
        names.into_iter().map(|name| name.unwrap().to_string()).collect()
    }

    #[test]
    fn a_name_says_what_is_selected_and_where() {
        let [all, no, hmi, m1, m2] = ["all", "no", "hmi", "m1", "m2"].map(|name| name.parse().unwrap());
        let services = vec![0];
        let selected = |pick, machines, path: Option<&str>| {
            let closes = path.map(|path| path.parse().unwrap());
            Selected { pick, machines, services: services.clone(), closes }
        };
        let (category, service) = (Pick::Category(&all), Pick::Service { entry: &no, service: &hmi });
        let all = [
            selected(category, None, None),
            selected(category, Some(vec![&m1, &m2]), None),
            selected(service, None, None),
            selected(category, None, Some("/a/**")),
            selected(category, Some(vec![&m1]), Some("/b/**")),
        ];
        assert_eq!(names(&all), ["all", "all.m1_m2", "entry.no", "all.closed", "all.df8d4011dcb6d66b"]);
    }

    #[test]
    fn a_name_that_would_be_too_long_keeps_what_fits_of_its_beginning_and_ends_in_a_digest() {
        let (long, m1): (Name, Name) =
            ("c".repeat(60).parse().unwrap(), "m1-at-the-far-end".parse().unwrap());
        let (pick, machines) = (Pick::Category(&long), Some(vec![&m1]));
        let narrow = Selected { pick, machines, services: vec![0], closes: None };
        let expected = format!("{}.185707dfb8155ea1", "c".repeat(47));
        assert_eq!(expected.len(), NAME_BYTES);
        assert_eq!(names(&[narrow]), [expected]);
    }
}
