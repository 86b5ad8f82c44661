//! The lists of a snapshot, without what changes with each publication.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::limits;
use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{Category, DeviceLimits, Grant, Origin, Service, Snapshot, User};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, PublicKey};
use postern_protocol::wire::codec::{self, CodecFault};

use super::rows::{Endpoint, Row};
use super::{Enrolled, Roster};

/// The policy part of a snapshot. Equal content is equal policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    assigned: bool,
    limits: DeviceLimits,
    services: Vec<Service>,
    categories: Vec<Category>,
    users: Vec<User>,
    origins: Vec<Origin>,
    grants: Vec<Grant>,
}

/// Whom a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addressee {
    /// The installation.
    pub fleet: FleetId,
    /// The device.
    pub device: DeviceId,
    /// The device's key.
    pub device_key: PublicKey,
    /// The root's policy epoch.
    pub epoch: u32,
}

/// What changes with each publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The version.
    pub version: u64,
    /// When it is signed.
    pub issued: UnixTime,
    /// The first second in which it permits nothing.
    pub expires: UnixTime,
}

/// A policy that no snapshot can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A list has more entries than a device accepts.
    #[error(
        "device `{device}` would have {found} {list}, at most {limit} fit; give it fewer users, groups or services"
    )]
    TooMany {
        /// The device.
        device: Name,
        /// What there is too much of.
        list: &'static str,
        /// Entries.
        found: usize,
        /// Entries allowed.
        limit: usize,
    },
}

impl Content {
    /// A device without an account: it permits nothing and says so.
    #[must_use]
    pub const fn unassigned() -> Self {
        Self::empty(false, DeviceLimits { tunnels: 0, tunnels_per_user: 0 })
    }

    /// A device whose policy is not yet known to it: it belongs to an account and permits nothing.
    #[must_use]
    pub const fn deny_all() -> Self {
        Self::empty(true, DeviceLimits { tunnels: 0, tunnels_per_user: 0 })
    }

    const fn empty(assigned: bool, limits: DeviceLimits) -> Self {
        Self {
            assigned,
            limits,
            services: Vec::new(),
            categories: Vec::new(),
            users: Vec::new(),
            origins: Vec::new(),
            grants: Vec::new(),
        }
    }

    pub(super) fn assemble(
        device: &Name,
        limits: DeviceLimits,
        rows: &BTreeSet<Row>,
        endpoints: &[Endpoint<'_>],
        roster: &Roster,
    ) -> Result<Self, CompileError> {
        let usable: Vec<(&Row, &Enrolled)> = rows
            .iter()
            .filter_map(|row| roster.users.get(&row.user).map(|user| (row, user)))
            .filter(|(_, user)| !user.keys.is_empty())
            .collect();
        let services = services(&usable, endpoints);
        let positions = positions(services.iter().map(|service| &service.name));
        let names = category_names(&usable);
        let categories = categories(&names, &positions);
        let category_at = self::positions(categories.iter().map(|category| &category.name));
        let users = users(&usable);
        let user_at = self::positions(users.iter().map(|user| &user.id));
        let origins: Vec<Origin> =
            usable.iter().map(|(row, _)| origin(row)).collect::<BTreeSet<_>>().into_iter().collect();
        let origin_at = self::positions(origins.iter());
        let grants: BTreeSet<Grant> = usable
            .iter()
            .filter_map(|(row, user)| {
                Some(Grant {
                    user: *user_at.get(&user.id)?,
                    category: *category_at.get(names.get(&selection(row))?)?,
                    not_before: row.not_before,
                    not_after: row.not_after,
                    second_factor_s: row.second_factor_s,
                    origin: *origin_at.get(&origin(row))?,
                })
            })
            .collect();
        let grants = grants.into_iter().collect();
        let content = Self { assigned: true, limits, services, categories, users, origins, grants };
        content.check_counts(device)?;
        Ok(content)
    }

    fn check_counts(&self, device: &Name) -> Result<(), CompileError> {
        let counts = [
            ("services", self.services.len(), limits::SERVICES),
            ("access categories", self.categories.len(), limits::CATEGORIES),
            ("users", self.users.len(), limits::USERS),
            ("origins of grants", self.origins.len(), limits::ORIGINS),
            ("grants", self.grants.len(), limits::GRANTS),
        ];
        match counts.into_iter().find(|(_, found, limit)| found > limit) {
            Some((list, found, limit)) => {
                Err(CompileError::TooMany { device: device.clone(), list, found, limit })
            }
            None => Ok(()),
        }
    }

    /// SHA-256 of the content and its addressee: what decides whether a device needs a new version.
    ///
    /// # Errors
    /// When the encoding is larger than a snapshot may be.
    pub fn digest(&self, addressee: &Addressee) -> Result<Digest, CodecFault> {
        codec::encode(&(addressee, self), limits::SNAPSHOT_BYTES).map(|bytes| Digest::of(&[&bytes]))
    }

    /// The snapshot for one device and term.
    #[must_use]
    pub fn into_snapshot(self, addressee: Addressee, term: Term) -> Snapshot {
        Snapshot {
            fleet: addressee.fleet,
            device: addressee.device,
            device_key: addressee.device_key,
            epoch: addressee.epoch,
            version: term.version,
            issued: term.issued,
            expires: term.expires,
            assigned: self.assigned,
            limits: self.limits,
            services: self.services,
            categories: self.categories,
            users: self.users,
            origins: self.origins,
            grants: self.grants,
        }
    }
}

/// A category as it is granted here: its name, what narrows it, and the services that remain.
type Selection<'a> = (&'a Name, Option<&'a BTreeSet<Name>>, &'a BTreeSet<Name>);

const fn selection(row: &Row) -> Selection<'_> {
    (&row.category, row.machines.as_ref(), &row.services)
}

fn positions<T: Ord>(entries: impl Iterator<Item = T>) -> BTreeMap<T, u32> {
    entries.zip(0u32..).collect()
}

fn services(rows: &[(&Row, &Enrolled)], endpoints: &[Endpoint<'_>]) -> Vec<Service> {
    let needed: BTreeSet<&Name> = rows.iter().flat_map(|(row, _)| &row.services).collect();
    let by_name: BTreeMap<&Name, &Endpoint<'_>> =
        endpoints.iter().map(|endpoint| (&endpoint.name, endpoint)).collect();
    let services =
        by_name.into_iter().filter(|(name, _)| needed.contains(name)).map(|(name, endpoint)| Service {
            name: name.clone(),
            kind: endpoint.service.kind,
            target: endpoint.service.target,
            tunnels: endpoint.service.tunnels,
            idle_s: endpoint.service.idle_s,
            duration_s: endpoint.service.duration_s,
        });
    services.collect()
}

/// One name for each distinct selection: the category's own where the whole device is in scope, otherwise with
/// what narrows it. Names that would be too long or taken end in a digest.
fn category_names<'a>(rows: &[(&'a Row, &Enrolled)]) -> BTreeMap<Selection<'a>, Name> {
    let selections: BTreeSet<Selection<'a>> = rows.iter().map(|(row, _)| selection(row)).collect();
    let whole = |selection: &&Selection<'a>| selection.1.is_none();
    let mut names: BTreeMap<Selection<'a>, Name> =
        selections.iter().filter(whole).map(|selection| (*selection, selection.0.clone())).collect();
    let mut taken: BTreeSet<Name> = names.values().cloned().collect();
    for selection in &selections {
        let (category, Some(machines), services) = *selection else { continue };
        let machines: Vec<&str> = machines.iter().map(Name::as_str).collect();
        let plain = format!("{category}.{}", machines.join("_")).parse().ok();
        let parts: Vec<&str> = services.iter().map(Name::as_str).collect();
        let what = format!("{}\0{}", machines.join("\n"), parts.join("\n"));
        // Two selections under one name would be united: each would grant the other's services.
        let digests = (0u32..).filter_map(|round| digested(category, &what, round));
        let name = plain.into_iter().chain(digests).find(|name| !taken.contains(name));
        names.extend(name.clone().map(|name| (*selection, name)));
        taken.extend(name);
    }
    names
}

fn digested(category: &Name, what: &str, round: u32) -> Option<Name> {
    let digest = Digest::of(&[what.as_bytes(), &round.to_le_bytes()]).to_string();
    let short = digest.get(..16).unwrap_or_default();
    let head: String = category.as_str().chars().take(limits::NAME_BYTES - 17).collect();
    format!("{head}.{short}").parse().ok()
}

fn categories(names: &BTreeMap<Selection<'_>, Name>, positions: &BTreeMap<&Name, u32>) -> Vec<Category> {
    let mut categories: BTreeMap<&Name, BTreeSet<u32>> = BTreeMap::new();
    for ((_, _, services), name) in names {
        let services = services.iter().filter_map(|service| positions.get(service).copied());
        categories.entry(name).or_default().extend(services);
    }
    let category = |(name, services): (&Name, BTreeSet<u32>)| Category {
        name: name.clone(),
        services: services.into_iter().collect(),
    };
    categories.into_iter().map(category).collect()
}

fn users(rows: &[(&Row, &Enrolled)]) -> Vec<User> {
    let users: BTreeMap<_, &Enrolled> = rows.iter().map(|(_, user)| (user.id, *user)).collect();
    let user = |(id, user): (_, &Enrolled)| User {
        id,
        keys: user.keys.iter().take(limits::USER_KEYS).copied().collect(),
        disabled: user.disabled,
    };
    users.into_iter().map(user).collect()
}

fn origin(row: &Row) -> Origin {
    Origin {
        assignment: label(&row.assignment),
        role: label(&row.role),
        group: row.group.as_ref().map(label),
    }
}

#[expect(clippy::expect_used, reason = "names are a subset of labels: shorter, and visible ASCII only")]
fn label(name: &Name) -> Label {
    name.as_str().parse().expect("every name is a label")
}
