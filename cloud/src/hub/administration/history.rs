//! The history of the model over the hub: as much as an answer holds, and where it goes on.

use postern_protocol::name::Name;
use postern_protocol::wire::administration::{
    AdminAnswer, ChangeAuthor, ChangeEntry, ChangeFate, HistoryMark,
};
use postern_protocol::wire::codec;

use super::{Caller, Failed, Hub, ROOM, Told, of_word};
use crate::administration::{self, Author, HistoryPage, HistoryQuery, ToldChange};
use crate::store::ChangeMark;

impl Hub {
    pub(super) fn history(
        &self,
        caller: &Caller,
        (kind, name): (Option<&Name>, Option<Name>),
        after: Option<HistoryMark>,
        limit: u16,
    ) -> Result<Told, Failed> {
        let now = (self.clock)();
        let (kind, after) = (kind.map(of_word).transpose()?, after.map(of_wire));
        let query = HistoryQuery { kind, name, after, limit: usize::from(limit) };
        self.look(caller, |tx, user| Ok(page(administration::history(tx, user, &query, now)?)))
    }
}

fn of_wire(HistoryMark { revision, seen }: HistoryMark) -> ChangeMark {
    // Behind a revision that cannot be there is everything.
    i64::try_from(revision).map_or(ChangeMark::NEWEST, |revision| ChangeMark { revision, seen })
}

fn to_wire(ChangeMark { revision, seen }: ChangeMark) -> HistoryMark {
    HistoryMark { revision: u64::try_from(revision).unwrap_or(0), seen }
}

/// As many changes as an answer holds; one that alone is too large goes without its keys.
fn page(HistoryPage { changes, more }: HistoryPage) -> AdminAnswer {
    let (mut room, mut told, mut last) = (ROOM, Vec::new(), None);
    for change in changes {
        let mark = change.mark;
        let Some(mut entry) = entry(change) else { continue };
        let size = |entry: &ChangeEntry| codec::encode(entry, ROOM).ok().map(|bytes| bytes.len());
        let size = size(&entry).or_else(|| {
            (entry.before, entry.after) = (None, None);
            size(&entry)
        });
        let Some(left) = size.and_then(|size| room.checked_sub(size)) else {
            return AdminAnswer::History { changes: told, more: last.map(to_wire) };
        };
        (room, last) = (left, Some(mark));
        told.push(entry);
    }
    AdminAnswer::History { changes: told, more: more.map(to_wire) }
}

/// None for a kind without a word, which there is not.
fn entry(change: ToldChange) -> Option<ChangeEntry> {
    let ToldChange { revision, at, by, kind, name, before, after, mark: _ } = change;
    let fate = match (&before, &after) {
        (None, _) => ChangeFate::Added,
        (Some(_), Some(_)) => ChangeFate::Changed,
        (Some(_), None) => ChangeFate::Removed,
    };
    let by = match by {
        Author::User(user) => ChangeAuthor::User(user),
        Author::Operator => ChangeAuthor::Operator,
        Author::Hidden => ChangeAuthor::Hidden,
    };
    let [before, after] = [before, after].map(|keys| keys.map(|keys| keys.to_string()));
    let (revision, kind) = (u64::try_from(revision).ok()?, kind.word().parse().ok()?);
    Some(ChangeEntry { revision, at, by, kind, name, fate, before, after })
}

#[cfg(test)]
mod tests {
    use postern_protocol::limits;
    use postern_protocol::time::UnixTime;
    use postern_protocol::wire::hub::HubAnswer;
    use serde_json::json;

    use super::*;
    use crate::model::EntityKind;

    fn change(revision: i64, bytes: usize) -> ToldChange {
        let keys = |word: &str| Some(json!({ "label": word.repeat(bytes) }));
        ToldChange {
            revision,
            at: UnixTime::MAX,
            by: Author::Hidden,
            kind: EntityKind::Device,
            name: "d".parse().unwrap(),
            before: keys("x"),
            after: keys("y"),
            mark: ChangeMark { revision, seen: 1 },
        }
    }

    #[test]
    fn a_page_of_changes_fits_an_answer_and_says_where_it_goes_on() {
        let end = ChangeMark { revision: 7, seen: 3 };
        for bytes in [0, 1_000, 100_000, 1_000_000] {
            let changes = (0..200).rev().map(|revision| change(revision, bytes)).collect();
            let answer = page(HistoryPage { changes, more: Some(end) });
            assert!(
                codec::encode(&HubAnswer::Administered(answer.clone()), limits::LIST_FRAME_BYTES).is_ok()
            );
            let AdminAnswer::History { changes, more } = answer else { panic!() };
            let last = changes.last().unwrap();
            let expected = if changes.len() == 200 {
                to_wire(end)
            } else {
                HistoryMark { revision: last.revision, seen: 1 }
            };
            assert_eq!(more, Some(expected), "{bytes}");
            assert_eq!(last.before.is_none(), bytes == 1_000_000);
            assert_eq!(last.fate, ChangeFate::Changed);
        }
        assert_eq!(of_wire(HistoryMark { revision: u64::MAX, seen: 9 }), ChangeMark::NEWEST);
    }
}
