//! Endpoints on the machine network, and the named pages of the HTTP ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use postern_protocol::name::Name;
use postern_protocol::policy::snapshot::rules::{Method, Methods};
use postern_protocol::policy::{Allow, HttpRules, Kind, Pattern, Reach, Rules};
use postern_protocol::wire::text::Text;

/// One endpoint on the machine network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Tunnels at the same time.
    pub tunnels: u16,
    /// Seconds without a byte after which a tunnel ends.
    pub idle_s: u32,
    /// Seconds after which a tunnel ends in any case.
    pub duration_s: u32,
    /// Whether everybody only looks.
    pub view_only: bool,
    /// Where it leads, what it speaks there, and what its gate lets through. Only ever read from the model: no client and no
    /// machine says what may be reached.
    pub reach: Reach,
    /// Named paths; HTTP services only.
    pub pages: BTreeMap<Name, Page>,
}

impl Service {
    /// Tunnels at the same time when the fleet file says nothing else.
    pub const TUNNELS: u16 = 16;
    /// Idle seconds when the fleet file says nothing else.
    pub const IDLE_S: u32 = 15 * 60;
    /// Longest duration when the fleet file says nothing else: a working day.
    pub const DURATION_S: u32 = 12 * 3600;
    /// Who may touch a screen at the same time when the fleet file says nothing else.
    pub const WRITERS: u16 = 1;

    /// What it speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.reach.kind()
    }

    /// The service that opens one page and nothing else; none where the service has no pages.
    #[must_use]
    pub fn page(&self, page: &Page) -> Option<Self> {
        let Reach::Place { target, rules: Rules::Http(rules) } = &self.reach else { return None };
        let reach = Reach::Place { target: *target, rules: Rules::Http(page.rules(rules)?) };
        Some(Self { reach, pages: BTreeMap::new(), ..self.clone() })
    }
}

/// A named path of an HTTP service with all below it, and what it needs from elsewhere: a dashboard, a maintenance page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Its path, without wildcards.
    pub path: Pattern,
    /// What may be done there.
    pub methods: Methods,
    /// Other paths that are read for it: style sheets, scripts, pictures.
    pub assets: BTreeSet<Pattern>,
}

impl Page {
    /// Its path and everything below; none when that is longer than any pattern.
    #[must_use]
    pub fn extent(&self) -> Option<Pattern> {
        format!("{}/**", self.path.as_str().trim_end_matches('/')).parse().ok()
    }

    /// What it would let through if its service let everything through.
    fn own(&self) -> Option<Allow> {
        Some(Allow { path: self.extent()?, methods: self.methods, query: None })
    }

    /// The rules of the page: those of its service, with what both allow. A page is a part of its service and never more.
    pub(super) fn rules(&self, service: &HttpRules) -> Option<HttpRules> {
        let assets = self.assets.iter().map(asset);
        let allow: BTreeSet<Allow> =
            assets.chain([self.own()?]).flat_map(|row| within(&row, &service.allow)).collect();
        let start = Text::clean(self.path.as_str());
        Some(HttpRules { start, allow: allow.into_iter().collect(), ..service.clone() })
    }

    /// What of it is no part of its service: that would open nothing, and whoever wrote it means something else.
    pub(super) fn beyond(&self, service: &HttpRules) -> Vec<Beyond> {
        let extent = self.extent();
        let is_there = extent.is_some_and(|path| service.allow.iter().any(|row| row.path.meets(&path)));
        let own = self.own().map(|own| within(&own, &service.allow)).unwrap_or_default();
        let missing = |method: &Method| !own.iter().any(|row| row.methods.contains(*method));
        let mut beyond: Vec<Beyond> = if !is_there {
            vec![Beyond::Path]
        } else if self.methods == Methods::READ && !own.is_empty() {
            // What a page has where nothing is said; a service that knows no `HEAD` is no mistake of the page.
            Vec::new()
        } else {
            self.methods.iter().filter(missing).map(Beyond::Method).collect()
        };
        let outside = self.assets.iter().filter(|path| within(&asset(path), &service.allow).is_empty());
        beyond.extend(outside.cloned().map(Beyond::Asset));
        beyond
    }
}

/// What of a page its service does not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Nothing at its path and below.
    Path,
    /// A method that the page names, nowhere there.
    Method(Method),
    /// Nothing of what it needs from elsewhere.
    Asset(Pattern),
}

fn asset(path: &Pattern) -> Allow {
    Allow { path: path.clone(), methods: Methods::READ, query: None }
}

/// What a row and some others let through, one row for each of those.
fn within(row: &Allow, others: &[Allow]) -> Vec<Allow> {
    others.iter().filter_map(|other| row.and(other)).collect()
}
