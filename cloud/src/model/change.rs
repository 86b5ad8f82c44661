//! What differs between two models, found by comparing them entity by entity.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use postern_protocol::name::Name;

use super::EntityKind;

/// An entity that differs, by its kind and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    /// The kind.
    pub kind: EntityKind,
    /// The name.
    pub name: &'a Name,
    /// How it differs.
    pub fate: Fate,
}

/// How an entity of the new model differs from the old one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is new.
    Added,
    /// It is different.
    Changed,
    /// It is gone.
    Removed,
}

/// An entity that differs, as it is in each of the models that have it.
#[derive(Debug)]
pub(crate) struct Change<'a, T> {
    pub(crate) name: &'a Name,
    pub(crate) old: Option<&'a T>,
    pub(crate) new: Option<&'a T>,
}

impl<'a, T> Change<'a, T> {
    pub(super) const fn difference(&self, kind: EntityKind) -> Difference<'a> {
        let fate = match (self.old, self.new) {
            (None, _) => Fate::Added,
            (Some(_), Some(_)) => Fate::Changed,
            (Some(_), None) => Fate::Removed,
        };
        Difference { kind, name: self.name, fate }
    }
}

/// The entities that differ in what `read` takes of them, ascending.
pub(crate) fn changes<'a, T, K: PartialEq>(
    old: &'a BTreeMap<Name, T>,
    new: &'a BTreeMap<Name, T>,
    read: impl Fn(&'a T) -> K,
) -> Vec<Change<'a, T>> {
    let (mut before, mut after) = (old.iter().peekable(), new.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = before.next_if(|_| order.is_le());
        let new = after.next_if(|_| order.is_ge());
        let Some((name, _)) = old.or(new) else { return changes };
        let (old, new) = (old.map(|(_, body)| body), new.map(|(_, body)| body));
        if old.map(&read) != new.map(&read) {
            changes.push(Change { name, old, new });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, u8)]) -> BTreeMap<Name, u8> {
        entries.iter().map(|(name, body)| (name.parse().unwrap(), *body)).collect()
    }

    #[test]
    fn what_is_new_different_or_gone_is_found_and_nothing_else() {
        let old = map(&[("a", 1), ("b", 1), ("c", 1), ("f", 1)]);
        let new = map(&[("b", 1), ("c", 2), ("d", 1), ("g", 1), ("h", 1)]);
        let found: Vec<(&str, Option<u8>, Option<u8>)> = changes(&old, &new, |body| *body)
            .iter()
            .map(|change| (change.name.as_str(), change.old.copied(), change.new.copied()))
            .collect();
        let expected = [
            ("a", Some(1), None),
            ("c", Some(1), Some(2)),
            ("d", None, Some(1)),
            ("f", Some(1), None),
            ("g", None, Some(1)),
            ("h", None, Some(1)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_read_makes_no_difference() {
        let found = changes(&map(&[("a", 1), ("b", 2)]), &map(&[("a", 3), ("b", 3)]), |body| body % 2).len();
        assert_eq!(found, 1);
    }
}
