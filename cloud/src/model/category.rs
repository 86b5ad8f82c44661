//! Access categories: selections of services and pages.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::policy::Kind;

use super::service::Service;

/// A selection. A service belongs to it when its kind or its name is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// All services of these kinds. HTTP does not imply WebSocket.
    pub kinds: BTreeSet<Kind>,
    /// Services of these names, of whatever kind.
    pub services: BTreeSet<Name>,
    /// Pages of these names. They open nothing before a gate on the device can tell one page from another.
    pub pages: BTreeSet<Name>,
    /// What people call it.
    pub label: Option<Label>,
}

impl Category {
    /// Whether the category selects a service; its name is the machine's own, without the machine's.
    ///
    /// A page selects nothing: to open its whole service would give more than was asked for.
    #[must_use]
    pub fn selects(&self, name: &Name, service: &Service) -> bool {
        self.kinds.contains(&service.kind) || self.services.contains(name)
    }

    /// Whether it names pages and nothing else, so that it opens nothing.
    #[must_use]
    pub fn is_pages_only(&self) -> bool {
        !self.pages.is_empty() && self.kinds.is_empty() && self.services.is_empty()
    }
}
