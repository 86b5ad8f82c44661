//! What a denied page closes beside itself: its path, in the service that it is a page of and in the other pages of that.
//!
//! Whoever has the whole of a web server could otherwise read a page that is denied by its name, and a deny beats every allow.
//! The assets of a page are not closed: they are shared, and lie elsewhere. What is denied as a whole needs no closing.

use std::collections::BTreeMap;

use postern_protocol::policy::{Pattern, Rules};

use super::standing::Endpoint;

/// For each path that the denied endpoints close, the other endpoints in which that closes something; ascending.
pub(super) fn closed_by(endpoints: &[Endpoint<'_>], denied: &[usize]) -> BTreeMap<Pattern, Vec<usize>> {
    let mut closed: BTreeMap<Pattern, Vec<usize>> = BTreeMap::new();
    let pages = denied.iter().filter_map(|at| endpoints.get(*at));
    for (page, extent) in pages.filter_map(|page| Some((page, page.extent.as_ref()?))) {
        let siblings = endpoints.iter().enumerate().filter(|(at, other)| {
            (other.machine, other.local) == (page.machine, page.local) && !denied.contains(at)
        });
        let reaching = siblings.filter(|(_, other)| reaches(other, extent)).map(|(at, _)| at);
        closed.entry(extent.clone()).or_default().extend(reaching);
    }
    for others in closed.values_mut() {
        others.sort_unstable();
        others.dedup();
    }
    closed.retain(|_, others| !others.is_empty());
    closed
}

/// Whether a service or page lets something through at a path.
fn reaches(endpoint: &Endpoint<'_>, path: &Pattern) -> bool {
    match endpoint.service.reach.rules() {
        Some(Rules::Http(rules)) => rules.allow.iter().any(|row| row.path.meets(path)),
        Some(Rules::Vnc(_) | Rules::Websocket(_)) | None => false,
    }
}
