//! Policies of any size with real keys and signatures, for one engineer who may do something and many bystanders.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use postern_protocol::id::{DeviceId, FleetId, UserId};
use postern_protocol::policy::{
    Carries, Category, Destination, DeviceLimits, Expectation, FreshnessRule, Grant, Index, Kind, Mode,
    Network, Origin, Ports, Reach, Service, Snapshot, Target, User, Verified, VpnRules, verify,
};
use postern_protocol::session::hub::Naming;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{
    Digest, Envelope, Factor, Method, Narrowing, Pass, PublicKey, Role, RoleKeys, Root, SecretKey, Signed,
    Timestamp,
};

use crate::world::Mishap;

/// The keys of an installation.
#[derive(Debug)]
pub struct Authority {
    root: Root,
    sealed_root: Vec<u8>,
    policy: SecretKey,
    identity: SecretKey,
    timestamp: SecretKey,
    hub: SecretKey,
}

/// What one snapshot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Users beside the engineer, each with a key and grants.
    pub bystanders: u32,
    /// Services of the device. The first is [`SERVICE`].
    pub services: u16,
    /// Access categories; the services are dealt out to them, and the first has [`SERVICE`].
    pub categories: u16,
    /// Grants of each bystander.
    pub grants: u16,
    /// Whether the engineer has a grant.
    pub is_granted: bool,
    /// Where all services are.
    pub target: Target,
    /// A machine to which the engineer has the VPN [`PLANT`]: all of its ports, and echoes.
    pub plant: Option<IpAddr>,
    /// Services behind gates, which the engineer may use as well.
    pub gated: [Option<Gated>; GATED],
}

/// A service behind a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gated {
    /// Its name; sorts behind [`SERVICE`] and [`PLANT`].
    pub name: &'static str,
    /// What it speaks; all of it is let through.
    pub kind: Kind,
    /// Where it is.
    pub target: Target,
    /// Whether everybody only looks.
    pub view_only: bool,
}

/// For whom a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The device.
    pub device: DeviceId,
    /// Its key.
    pub key: PublicKey,
}

impl Authority {
    /// Makes keys and a root. They are the same in every run, because nothing of it leaves this machine.
    ///
    /// # Errors
    /// When a key or the root is not sound.
    pub fn make() -> Result<Self, Mishap> {
        let (root_key, policy, identity, hub) = (key(1)?, key(2)?, key(3)?, key(4)?);
        let (timestamp, lock, audit_ack) = (key(5)?, key(6)?, key(7)?);
        let role = |role, key: &SecretKey| RoleKeys { role, threshold: 1, keys: vec![key.public()] };
        let root = Root {
            fleet: FLEET,
            version: 1,
            expires: now().saturating_add(WEEK_S),
            policy_epoch: 1,
            roles: vec![
                role(Role::Root, &root_key),
                role(Role::Policy, &policy),
                role(Role::Identity, &identity),
                role(Role::Timestamp, &timestamp),
                role(Role::Lock, &lock),
                role(Role::AuditAck, &audit_ack),
            ],
            hubs: vec![hub.public()],
        };
        let sealed_root = sealed(&root, &root_key)?;
        Ok(Self { root, sealed_root, policy, identity, timestamp, hub })
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// What time it is and what is newest.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn timestamp(&self, device: DeviceId, naming: Naming) -> Result<Vec<u8>, Mishap> {
        let Naming { nonce, held } = naming;
        let (fleet, root_version) = (self.root.fleet, self.root.version);
        sealed(&Timestamp { fleet, device, nonce, time: now(), root_version, held, lock: 0 }, &self.timestamp)
    }

    /// The signed root.
    #[must_use]
    pub fn sealed_root(&self) -> &[u8] {
        &self.sealed_root
    }

    /// What an invitation says of the root.
    ///
    /// # Errors
    /// When the root is not sound.
    pub fn root_digest(&self) -> Result<Digest, Mishap> {
        digest::<Root>(&self.sealed_root)
    }

    /// The key of the hub.
    #[must_use]
    pub const fn hub_key(&self) -> &SecretKey {
        &self.hub
    }

    /// A pass of the engineer, good for 12 hours.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn pass(&self, engineer: PublicKey) -> Result<Vec<u8>, Mishap> {
        let now = now();
        let factors = vec![Factor { method: Method::Password, at: now }];
        let expires = now.saturating_add(12 * 3600);
        sealed(
            &Pass {
                fleet: FLEET,
                user: ENGINEER,
                key: engineer,
                factors,
                issued: now,
                expires,
                narrow: Narrowing::NONE,
            },
            &self.identity,
        )
    }

    /// A signed snapshot.
    ///
    /// # Errors
    /// When it breaks a limit of the protocol.
    pub fn snapshot(
        &self,
        content: &Content,
        to: Addressee,
        version: u64,
        engineer: Option<PublicKey>,
    ) -> Result<Vec<u8>, Mishap> {
        sealed(&content.snapshot(to, version, engineer)?, &self.policy)
    }

    /// Signs a snapshot that was made elsewhere.
    ///
    /// # Errors
    /// When it is too large.
    pub fn seal(&self, snapshot: &Snapshot) -> Result<Vec<u8>, Mishap> {
        sealed(snapshot, &self.policy)
    }

    /// Verifies a snapshot as its device does.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn verify(&self, sealed: &[u8], to: Addressee) -> Result<Verified, Mishap> {
        let expected = Expectation { root: &self.root, device: to.device, device_key: to.key, floor: None };
        verify(sealed, &expected).map_err(|fault| Mishap::unexpected("a snapshot", fault, "a sound one"))
    }

    /// Verifies and arranges a snapshot as its device does.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn index(&self, sealed: &[u8], to: Addressee) -> Result<Arc<Index>, Mishap> {
        Ok(Arc::new(Index::build(self.verify(sealed, to)?)))
    }
}

impl Content {
    /// One service and the engineer, who may use it.
    #[must_use]
    pub const fn small(target: Target) -> Self {
        Self {
            bystanders: 0,
            services: 1,
            categories: 1,
            grants: 0,
            is_granted: true,
            target,
            plant: None,
            gated: [None; GATED],
        }
    }

    fn snapshot(&self, to: Addressee, version: u64, engineer: Option<PublicKey>) -> Result<Snapshot, Mishap> {
        let mut users = (1..=self.bystanders).map(bystander).collect::<Result<Vec<User>, Mishap>>()?;
        let mut grants: Vec<Grant> = (0..self.bystanders).flat_map(|user| self.grants_of(user)).collect();
        if let Some(key) = engineer {
            if self.is_granted {
                grants.push(grant(self.bystanders, 0));
            }
            users.push(User { id: ENGINEER, keys: vec![key], disabled: false, passes_from: UnixTime::EPOCH });
        }
        grants.sort_unstable();
        grants.dedup();
        let issued = now();
        Ok(Snapshot {
            fleet: FLEET,
            device: to.device,
            device_key: to.key,
            epoch: 1,
            locks_cleared: 0,
            version,
            issued,
            expires: issued.saturating_add(WEEK_S),
            assigned: true,
            retired: false,
            limits: DeviceLimits { tunnels: 1024, tunnels_per_user: 1024 },
            freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
            services: self.services()?,
            categories: (0..self.categories).map(|number| self.category(number)).collect::<Result<_, _>>()?,
            users,
            origins: vec![Origin::Assignment {
                assignment: text("Benchmark")?,
                role: text("Engineer")?,
                group: None,
            }],
            grants,
            prohibitions: Vec::new(),
            paths: Vec::new(),
            cases: Vec::new(),
            approvals: Vec::new(),
            secrets: Vec::new(),
            recording_key: None,
        })
    }

    fn services(&self) -> Result<Vec<Service>, Mishap> {
        let whole = Reach::whole;
        let plain = (0..self.services)
            .map(|number| service(&service_name(number), whole(Kind::Vpn, self.target), false));
        let plant = self.plant.map(|machine| service(PLANT, Reach::Flows(everything(machine)), false));
        let gated = self
            .gated
            .iter()
            .flatten()
            .map(|gated| service(gated.name, whole(gated.kind, gated.target), gated.view_only));
        let mut services = plain.chain(plant).chain(gated).collect::<Result<Vec<_>, _>>()?;
        services.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(services)
    }

    /// Spread over the categories, differently for each user.
    fn grants_of(&self, user: u32) -> impl Iterator<Item = Grant> {
        let categories = u32::from(self.categories);
        (0..u32::from(self.grants)).map(move |step| grant(user, (user + step * 7) % categories))
    }

    fn category(&self, number: u16) -> Result<Category, Mishap> {
        let dealt = (number..self.services).step_by(usize::from(self.categories)).map(u32::from);
        let more = usize::from(self.plant.is_some()) + self.gated.iter().flatten().count();
        let services = dealt.chain((u32::from(self.services)..).take(more)).collect();
        Ok(Category { name: text(&format!("category-{number:05}"))?, services, record: false })
    }
}

/// The name of a service of a generated policy.
#[must_use]
pub fn service_name(number: u16) -> String {
    format!("{SERVICE}-{number:05}")
}

/// The id of a bystander, counted from 1.
#[must_use]
pub fn bystander_id(number: u32) -> UserId {
    UserId::new(u64::from(number).to_be_bytes())
}

/// The key of a bystander, counted from 1.
///
/// # Errors
/// Never for numbers above 3.
pub fn bystander_key(number: u32) -> Result<SecretKey, Mishap> {
    let mut seed = [0x5a; 32];
    for (to, from) in seed.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    SecretKey::from_seed(seed).map_err(|fault| Mishap::unexpected("a key", fault, "a sound one"))
}

/// What a hub says that a snapshot is.
///
/// # Errors
/// When the envelope is malformed.
pub fn digest<T: Signed>(sealed: &[u8]) -> Result<Digest, Mishap> {
    let envelope = Envelope::parse(sealed, T::MAX_BYTES)
        .map_err(|fault| Mishap::unexpected("an envelope", fault, "a sound one"))?;
    Ok(Digest::of(&[envelope.payload()]))
}

/// A name or a label.
///
/// # Errors
/// When the rules for it do not hold.
pub fn text<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Mishap> {
    text.parse().map_err(|fault| Mishap::unexpected(format!("`{text}`"), fault, "a sound name"))
}

/// The time now.
#[must_use]
pub fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_secs(since.as_secs())
}

fn sealed<T: Signed>(value: &T, key: &SecretKey) -> Result<Vec<u8>, Mishap> {
    Envelope::seal(value, &[key]).map_err(|fault| Mishap::unexpected("sealing", fault, "an envelope"))
}

fn key(seed: u8) -> Result<SecretKey, Mishap> {
    SecretKey::from_seed([seed; 32]).map_err(|fault| Mishap::unexpected("a key", fault, "a sound one"))
}

fn bystander(number: u32) -> Result<User, Mishap> {
    Ok(User {
        id: bystander_id(number),
        keys: vec![bystander_key(number)?.public()],
        disabled: false,
        passes_from: UnixTime::EPOCH,
    })
}

const fn grant(user: u32, category: u32) -> Grant {
    Grant {
        user,
        category,
        not_before: None,
        not_after: None,
        second_factor_s: None,
        needs_case: false,
        needs_approval: false,
        offline_ok: false,
        mode: Mode::Full { clipboard: false },
        origin: 0,
    }
}

/// All that a VPN can carry to one machine.
fn everything(machine: IpAddr) -> VpnRules {
    let (net, ports) = (Network::only(machine), Ports { first: 1, last: u16::MAX });
    let carried = [Carries::Tcp { ports, profile: None }, Carries::Udp { ports }, Carries::Icmp];
    VpnRules { destinations: carried.map(|carries| Destination { net, carries }).to_vec() }
}

fn service(name: &str, reach: Reach, view_only: bool) -> Result<Service, Mishap> {
    let name = text(name)?;
    let (tunnels, idle_s, duration_s) = (1024, 86_400, 86_400);
    Ok(Service { name, tunnels, idle_s, duration_s, view_only, reach })
}

/// Services behind gates, at most.
pub const GATED: usize = 10;
/// What the names of services begin with.
pub const SERVICE: &str = "machine";
/// The VPN to a machine; sorts behind [`SERVICE`].
pub const PLANT: &str = "plant";
/// The engineer.
pub const ENGINEER: UserId = UserId::new([0xa1; 8]);
/// The installation.
pub const FLEET: FleetId = FleetId::new([0xf1; 8]);
const WEEK_S: u64 = 7 * 24 * 3600;
