//! Postern's `decide` with real keys and signatures: signed, verified, indexed and decided as on a device.
//!
//! Origin and reason are read in every decision, because a decision without them could not be logged or explained.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;

use postern_protocol::id::{DeviceId, FleetId, UserId};
use postern_protocol::policy::{
    Ask, Category, Circumstances, DeviceLimits, Expectation, Freshness, FreshnessRule, Grant, Index, Kind, Mode,
    Origin, Reach, Service, Snapshot, Target, User, decide, verify,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::{
    Digest, Envelope, Factor, Method, Narrowing, Pass, Proof, Role, RoleKeys, Root, SecretKey, Signed,
    Subject,
};

use super::{Peer, category_name, group_name, role_name, service_name};
use crate::mishap::Mishap;
use crate::model::{Questions, World};

/// User and service were looked up before, as they are on a live connection.
#[derive(Debug)]
pub struct Resolved {
    policy: Policy,
    asks: Vec<(usize, Ask)>,
}

/// User id and service name are looked up in each decision.
#[derive(Debug)]
pub struct FromId {
    policy: Policy,
    asks: Vec<(usize, UserId, String)>,
}

/// The index and a subject for each user.
#[derive(Clone, Debug)]
struct Policy {
    index: Arc<Index>,
    subjects: Arc<[Subject]>,
}

/// Both ways to ask.
///
/// # Errors
/// When the snapshot or a pass is refused.
pub fn make(world: &World, questions: &Questions) -> Result<(Resolved, FromId), Mishap> {
    let root = root()?;
    let snapshot = snapshot(world)?;
    let sealed = Envelope::seal(&snapshot, &[&key(POLICY)?]).map_err(Mishap::of("a snapshot"))?;
    let device_key = key(DEVICE_KEY)?.public();
    let expected = Expectation { root: &root, device: DEVICE, device_key, floor: None };
    let index = Arc::new(Index::build(verify(&sealed, &expected).map_err(Mishap::of("a snapshot"))?));
    let subjects = (0..).zip(world.ids()).map(|(number, id)| subject(&root, number, *id));
    let policy = Policy { index, subjects: subjects.collect::<Result<_, _>>()? };
    let by_id: Vec<(usize, UserId, String)> = questions
        .all()
        .iter()
        .map(|ask| (usize::from(ask.user), world.id(ask.user), service_name(ask.service)))
        .collect();
    let resolved = by_id.iter().map(|(user, id, service)| (*user, policy.index.ask(*id, service))).collect();
    Ok((Resolved { policy: policy.clone(), asks: resolved }, FromId { policy, asks: by_id }))
}

impl Policy {
    fn permits(&self, user: usize, ask: &Ask) -> Result<bool, Mishap> {
        let subject =
            self.subjects.get(user).ok_or_else(|| Mishap::unexpected("a user", user, "one that exists"))?;
        Ok(match decide(Some(&self.index), subject, ask, &CALM) {
            Ok(permit) => {
                black_box((permit.origin(), permit.target(), permit.until()));
                true
            }
            Err(denial) => {
                black_box((denial.reason(), denial.origin()));
                false
            }
        })
    }
}

impl Peer for Resolved {
    fn name(&self) -> &'static str {
        RESOLVED
    }

    fn permitted(&self, questions: Range<usize>) -> Result<usize, Mishap> {
        let mut permitted = 0;
        for (user, ask) in self.asks.get(questions).unwrap_or_default() {
            permitted += usize::from(self.policy.permits(*user, black_box(ask))?);
        }
        Ok(permitted)
    }
}

impl Peer for FromId {
    fn name(&self) -> &'static str {
        FROM_ID
    }

    fn permitted(&self, questions: Range<usize>) -> Result<usize, Mishap> {
        let mut permitted = 0;
        for (user, id, service) in self.asks.get(questions).unwrap_or_default() {
            let ask = self.policy.index.ask(black_box(*id), black_box(service));
            permitted += usize::from(self.policy.permits(*user, &ask)?);
        }
        Ok(permitted)
    }
}

fn snapshot(world: &World) -> Result<Snapshot, Mishap> {
    let size = world.size();
    let mut origins = Vec::new();
    let mut grants = Vec::new();
    for group in 0..size.groups {
        for role in world.roles(group) {
            let at = number(origins.len())?;
            origins.push(origin(group, *role)?);
            for user in (0..size.users).filter(|user| world.groups(*user).contains(&group)) {
                grants.extend(world.categories(*role).iter().map(|category| grant(user, *category, at)));
            }
        }
    }
    grants.sort_unstable();
    Ok(Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key: key(DEVICE_KEY)?.public(),
        epoch: 1,
        locks_cleared: 0,
        version: 1,
        issued: at(0),
        expires: at(END),
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: 8, tunnels_per_user: 8 },
        freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
        services: (0..size.services).map(service).collect::<Result<_, _>>()?,
        categories: (0..size.categories).map(|it| category(world, it)).collect::<Result<_, _>>()?,
        users: (0..).zip(world.ids()).map(|(number, id)| user(number, *id)).collect::<Result<_, _>>()?,
        origins,
        grants,
        prohibitions: Vec::new(),
        paths: Vec::new(),
        cases: Vec::new(),
        approvals: Vec::new(),
        secrets: Vec::new(),
        recording_key: None,
    })
}

fn origin(group: u16, role: u16) -> Result<Origin, Mishap> {
    let (group, role) = (group_name(group), role_name(role));
    Ok(Origin::Assignment {
        assignment: text(&format!("{group} has {role}"))?,
        role: text(&role)?,
        group: Some(text(&group)?),
    })
}

fn grant(user: u16, category: u16, origin: u32) -> Grant {
    Grant {
        user: user.into(),
        category: category.into(),
        not_before: None,
        not_after: None,
        second_factor_s: None,
        needs_case: false,
        needs_approval: false,
        offline_ok: false,
        mode: Mode::Full { clipboard: false },
        origin,
    }
}

fn service(number: u16) -> Result<Service, Mishap> {
    let target = Target { ip: Ipv4Addr::new(192, 168, 0, 10).into(), port: 5900 };
    let name = text(&service_name(number))?;
    let reach = Reach::whole(Kind::Vnc, target);
    let (tunnels, idle_s, duration_s) = (8, 600, 3600);
    Ok(Service { name, tunnels, idle_s, duration_s, view_only: false, reach })
}

fn category(world: &World, number: u16) -> Result<Category, Mishap> {
    let services = (0..world.size().services).filter(|service| world.category(*service) == number);
    Ok(Category { name: text(&category_name(number))?, services: services.map(u32::from).collect(), record: false })
}

fn user(number: u16, id: UserId) -> Result<User, Mishap> {
    Ok(User { id, keys: vec![user_key(number)?.public()], disabled: false, passes_from: UnixTime::EPOCH })
}

fn subject(root: &Root, number: u16, user: UserId) -> Result<Subject, Mishap> {
    let secret = user_key(number)?;
    let factors = vec![Factor { method: Method::Password, at: at(0) }];
    let pass = Pass {
        fleet: FLEET,
        user,
        key: secret.public(),
        factors,
        issued: at(0),
        expires: at(END),
        narrow: Narrowing::NONE,
    };
    let pass = Envelope::seal(&pass, &[&key(IDENTITY)?]).map_err(Mishap::of("a pass"))?;
    let exporter = [7; 32];
    let proof = Proof::sign(&secret, &exporter, DEVICE, &pass);
    let presented = Presented { pass: &pass, proof, exporter: &exporter, peer_key: secret.public() };
    Subject::authenticate(&presented, DEVICE, root, CALM.now).map_err(Mishap::of("a pass"))
}

fn root() -> Result<Root, Mishap> {
    let role = |role, seed| Ok(RoleKeys { role, threshold: 1, keys: vec![key(seed)?.public()] });
    let root = Root {
        fleet: FLEET,
        version: 1,
        expires: at(END),
        policy_epoch: 1,
        roles: vec![
            role(Role::Root, ROOT)?,
            role(Role::Policy, POLICY)?,
            role(Role::Identity, IDENTITY)?,
            role(Role::Timestamp, TIMESTAMP)?,
            role(Role::Lock, LOCK)?,
            role(Role::AuditAck, AUDIT_ACK)?,
        ],
        hubs: vec![key(HUB)?.public()],
    };
    let sealed = Envelope::seal(&root, &[&key(ROOT)?]).map_err(Mishap::of("a root"))?;
    let envelope = Envelope::parse(&sealed, Root::MAX_BYTES).map_err(Mishap::of("a root"))?;
    Root::accept_first(&sealed, &Digest::of(&[envelope.payload()])).map_err(Mishap::of("a root"))
}

/// The same keys in every run, because nothing of it leaves this machine.
fn key(seed: u8) -> Result<SecretKey, Mishap> {
    SecretKey::from_seed([seed; 32]).map_err(Mishap::of("a key"))
}

fn user_key(number: u16) -> Result<SecretKey, Mishap> {
    let mut seed = [0x5a; 32];
    seed.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    SecretKey::from_seed(seed).map_err(Mishap::of("a key"))
}

fn text<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Mishap> {
    text.parse().map_err(Mishap::of("a name"))
}

fn number(len: usize) -> Result<u32, Mishap> {
    u32::try_from(len).map_err(Mishap::of("a position"))
}

const fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

/// The row with everything looked up.
pub const RESOLVED: &str = "postern, subject and service resolved";
/// The row from user id and service name.
pub const FROM_ID: &str = "postern, from user id and service name";
const CALM: Circumstances = Circumstances::alone(at(1000), Freshness::ALWAYS);
const END: u64 = 10_000;
const FLEET: FleetId = FleetId::new([0xf1; 8]);
const DEVICE: DeviceId = DeviceId::new([0xd1; 8]);
const ROOT: u8 = 1;
const POLICY: u8 = 2;
const TIMESTAMP: u8 = 105;
const LOCK: u8 = 106;
const AUDIT_ACK: u8 = 107;
const IDENTITY: u8 = 3;
const HUB: u8 = 4;
const DEVICE_KEY: u8 = 10;

#[cfg(test)]
mod tests {
    use postern_protocol::policy::Reason;

    use super::*;
    use crate::model::{Part, Random, Size};

    const SMALL: Size = Size { users: 20, groups: 10, roles: 8, categories: 12, services: 40 };

    #[test]
    fn a_permit_names_a_group_of_the_user_with_a_role_that_opens_the_service_and_a_denial_its_reason() {
        let mut random = Random::new(11);
        let world = World::draw(SMALL, &mut random);
        let questions = Questions::draw(&world, 2, &mut random);
        let (resolved, _) = make(&world, &questions).unwrap();
        let decided = |at: usize| {
            let (user, ask) = &resolved.asks[at];
            decide(Some(&resolved.policy.index), &resolved.policy.subjects[*user], ask, &CALM)
        };
        for at in questions.batches(Part::Permitted).flatten() {
            let question = questions.all()[at];
            let mut chains = world.groups(question.user).iter().flat_map(|group| {
                let opens =
                    |role: &&u16| world.categories(**role).contains(&world.category(question.service));
                world.roles(*group).iter().filter(opens).map(|role| origin(*group, *role).unwrap())
            });
            let permit = decided(at).unwrap();
            assert!(chains.any(|chain| Some(&chain) == permit.origin()), "{permit:?}");
        }
        for at in questions.batches(Part::Denied).flatten() {
            assert_eq!(decided(at).unwrap_err().reason(), Reason::NoGrant);
        }
    }
}
