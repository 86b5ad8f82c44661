//! Access categories: selections of services and pages.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{Kind, Mode};

use super::service::Service;

/// A selection. A service belongs to it, with its pages, when its kind or its name is listed; a page also when its own
/// name is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// All services of these kinds. HTTP does not imply WebSocket.
    pub kinds: BTreeSet<Kind>,
    /// Services of these names, of whatever kind.
    pub services: BTreeSet<Name>,
    /// Pages of these names, of whatever service. A page without a service behind it opens nothing.
    pub pages: BTreeSet<Name>,
    /// What may be done in what it selects.
    #[serde(default = "full")]
    pub mode: Mode,
    /// Whether tunnels that it permits are recorded.
    #[serde(default)]
    pub record: bool,
    /// What people call it.
    pub label: Option<Label>,
}

impl Category {
    /// What may be done where nobody says otherwise.
    pub const MODE: Mode = Mode::Full { clipboard: false };

    /// Whether the category selects a service, or a page of it; its name is the machine's own, without the machine's.
    #[must_use]
    pub fn selects(&self, name: &Name, page: Option<&Name>, service: &Service) -> bool {
        self.kinds.contains(&service.kind())
            || self.services.contains(name)
            || page.is_some_and(|page| self.pages.contains(page))
    }
}

/// What the store says of a category that was written before there were modes.
const fn full() -> Mode {
    Category::MODE
}

/// Selects nothing.
impl Default for Category {
    fn default() -> Self {
        let (kinds, services, pages) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { kinds, services, pages, mode: Self::MODE, record: false, label: None }
    }
}
