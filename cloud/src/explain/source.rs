//! What a user has: each assignment, membership and entry that could grant something, by itself.

use std::borrow::Cow;
use std::collections::BTreeSet;

use postern_protocol::name::Name;
use postern_protocol::policy::Origin;

use crate::compile::label;
use crate::model::{Effect, Model, Scope, Selection, Service, Subject};

/// One thing that could grant something.
pub(super) struct Source<'a> {
    pub(super) origin: Origin,
    pub(super) scope: Cow<'a, Scope>,
    picks: Picks<'a>,
}

/// What a source is about.
enum Picks<'a> {
    Categories(&'a BTreeSet<Name>),
    Category(&'a Name),
    Service(&'a Name),
}

/// A service or a page of one, by the name that its machine or device has for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) local: &'a Name,
    pub(super) page: Option<&'a Name>,
    pub(super) service: &'a Service,
}

/// Through what a source contains a service.
pub(super) enum Picked<'a> {
    Category(&'a Name),
    Itself,
}

/// All that could grant a user something, whenever.
pub(super) fn sources<'a>(model: &'a Model, user: &Name) -> Vec<Source<'a>> {
    let mut sources = Vec::new();
    for (name, assignment) in &model.assignments {
        let group = match &assignment.subject {
            Subject::User(subject) if subject == user => None,
            Subject::Group(group)
                if model.user_groups.get(group).is_some_and(|group| group.members.contains_key(user)) =>
            {
                Some(label(group))
            }
            Subject::User(_) | Subject::Group(_) => continue,
        };
        let origin = Origin::Assignment { assignment: label(name), role: label(&assignment.role), group };
        let picks = Picks::Categories(categories(model, &assignment.role, &assignment.categories));
        sources.push(Source { origin, scope: Cow::Borrowed(&assignment.scope), picks });
    }
    for (group, body) in &model.device_groups {
        let Some(membership) = body.members.get(user) else { continue };
        let origin = Origin::Membership { group: label(group), role: label(&membership.role) };
        let picks = Picks::Categories(categories(model, &membership.role, &membership.categories));
        sources.push(Source {
            origin,
            scope: Cow::Owned(Scope::DeviceGroup { group: group.clone() }),
            picks,
        });
    }
    for (name, entry) in model.entries.iter().filter(|(_, entry)| entry.user == *user) {
        let (Effect::Allow, Some(scope)) = (entry.effect, &entry.scope) else { continue };
        let picks = match &entry.selection {
            Selection::Category(category) => Picks::Category(category),
            Selection::Service(service) => Picks::Service(service),
        };
        let origin = Origin::Entry { entry: label(name) };
        sources.push(Source { origin, scope: Cow::Borrowed(scope), picks });
    }
    sources
}

fn categories<'a>(model: &'a Model, role: &Name, named: &'a BTreeSet<Name>) -> &'a BTreeSet<Name> {
    model.roles.get(role).map_or(named, |role| &role.categories)
}

impl<'a> Source<'a> {
    /// The categories that it opens.
    pub(super) fn categories(&self) -> Vec<&'a Name> {
        match self.picks {
            Picks::Categories(categories) => categories.iter().collect(),
            Picks::Category(category) => vec![category],
            Picks::Service(_) => Vec::new(),
        }
    }

    /// Through what it contains a service or page, wherever that is.
    pub(super) fn selecting(&self, model: &Model, wanted: &Wanted<'_>) -> Option<Picked<'a>> {
        let Wanted { local, page, service } = *wanted;
        if let Picks::Service(named) = self.picks {
            return (named == local).then_some(Picked::Itself);
        }
        let selects = |category: &&Name| {
            model.categories.get(*category).is_some_and(|category| category.selects(local, page, service))
        };
        self.categories().into_iter().find(selects).map(Picked::Category)
    }
}

impl Picked<'_> {
    pub(super) fn into_category(self) -> Option<Name> {
        match self {
            Self::Category(category) => Some(category.clone()),
            Self::Itself => None,
        }
    }
}
