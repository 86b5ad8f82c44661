//! A fleet file all the way to a decision: read, compile, seal, verify, index, authenticate, decide.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_cloud::compile::{Addressee, Compiler, Content, Enrolled, Roster, Term};
use postern_cloud::fleet::{self, Complaint};
use postern_cloud::model::Model;
use postern_protocol::id::{DeviceId, FleetId, UserId};
use postern_protocol::name::Name;
use postern_protocol::policy::{Circumstances, Expectation, Freshness, Index, Reason, decide, verify};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::{
    Envelope, Factor, Method, Narrowing, Pass, Proof, Role, RoleKeys, Root, SecretKey, Subject,
};

pub(crate) const FLEET: FleetId = FleetId::new([7; 8]);
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

/// A model in which everybody has signed in.
pub(crate) struct Gate {
    pub(crate) model: Model,
    pub(crate) roster: Roster,
    keys: BTreeMap<Name, SecretKey>,
    signer: SecretKey,
    root: Root,
}

impl Gate {
    pub(crate) fn of_file(text: &str) -> Self {
        Self::of_read(fleet::read(text, &[]))
    }

    pub(crate) fn of_sample(name: &str) -> Self {
        let path = format!("{}/../samples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        Self::of_read(fleet::read_file(path.as_ref(), &[]))
    }

    fn of_read(read: Result<Model, Vec<Complaint>>) -> Self {
        match read {
            Ok(model) => Self::of(model),
            Err(complaints) => {
                let lines: Vec<String> = complaints.iter().map(|complaint| complaint.line("fleet")).collect();
                panic!("{}", lines.join("\n"))
            }
        }
    }

    pub(crate) fn of(model: Model) -> Self {
        let signer = SecretKey::from_seed([200; 32]).unwrap();
        let role = |role| RoleKeys { role, threshold: 1, keys: vec![signer.public()] };
        let root = Root {
            fleet: FLEET,
            version: 1,
            expires: UnixTime::MAX,
            policy_epoch: 1,
            roles: vec![role(Role::Root), role(Role::Policy), role(Role::Identity)],
            hubs: Vec::new(),
        };
        let mut keys = BTreeMap::new();
        let mut roster = Roster::default();
        for (number, name) in (1u8..).zip(model.users.keys()) {
            let key = SecretKey::from_seed([number; 32]).unwrap();
            let enrolled = Enrolled {
                id: UserId::new([number; 8]),
                keys: [key.public()].into(),
                disabled: false,
                passes_from: UnixTime::EPOCH,
            };
            roster.users.insert(name.clone(), enrolled);
            keys.insert(name.clone(), key);
        }
        Self { model, roster, keys, signer, root }
    }

    pub(crate) fn content(&self, device: &str) -> Content {
        Compiler::new(&self.model, &self.roster).compile(&device.parse().unwrap()).unwrap()
    }

    pub(crate) fn sealed(&self, device: &str) -> Vec<u8> {
        self.sealed_at(device, NOW)
    }

    fn sealed_at(&self, device: &str, issued: UnixTime) -> Vec<u8> {
        let term = Term { version: 1, issued, expires: issued.saturating_add(14 * 86_400) };
        let snapshot = self.content(device).into_snapshot(addressee(), term);
        Envelope::seal(&snapshot, &[&self.signer]).unwrap()
    }

    pub(crate) fn index(&self, device: &str) -> Arc<Index> {
        self.index_at(device, NOW)
    }

    fn index_at(&self, device: &str, issued: UnixTime) -> Arc<Index> {
        let addressee = addressee();
        let expected = Expectation {
            root: &self.root,
            device: addressee.device,
            device_key: addressee.device_key,
            floor: None,
        };
        Arc::new(Index::build(verify(&self.sealed_at(device, issued), &expected).unwrap()))
    }

    /// The decision for a user who has signed in just now with a password.
    pub(crate) fn asks(&self, user: &str, device: &str, service: &str) -> Result<(), Reason> {
        self.asks_at(user, device, service, NOW, None)
    }

    pub(crate) fn asks_at(
        &self,
        user: &str,
        device: &str,
        service: &str,
        now: UnixTime,
        second_factor_at: Option<UnixTime>,
    ) -> Result<(), Reason> {
        self.decide(&self.index(device), user, service, now, second_factor_at)
    }

    /// The same, of a snapshot that was signed at that very moment: what the policy says, not how old it is.
    pub(crate) fn asks_afresh(
        &self,
        user: &str,
        device: &str,
        service: &str,
        now: UnixTime,
        second_factor_at: Option<UnixTime>,
    ) -> Result<(), Reason> {
        self.decide(&self.index_at(device, now), user, service, now, second_factor_at)
    }

    /// The same, on a device that has just stopped to believe its policy for want of a word from the cloud.
    pub(crate) fn asks_cut_off(
        &self,
        user: &str,
        device: &str,
        service: &str,
        now: UnixTime,
        second_factor_at: Option<UnixTime>,
    ) -> Result<(), Reason> {
        let index = self.index_at(device, now);
        let budget_s = u64::from(index.snapshot().freshness.offline_s);
        let freshness = Freshness { fresh_until: now, offline_until: now.saturating_add(budget_s) };
        self.decide_when(&index, user, service, now, second_factor_at, freshness)
    }

    fn decide(
        &self,
        index: &Arc<Index>,
        user: &str,
        service: &str,
        now: UnixTime,
        second_factor_at: Option<UnixTime>,
    ) -> Result<(), Reason> {
        self.decide_when(index, user, service, now, second_factor_at, Freshness::ALWAYS)
    }

    fn decide_when(
        &self,
        index: &Arc<Index>,
        user: &str,
        service: &str,
        now: UnixTime,
        second_factor_at: Option<UnixTime>,
        freshness: Freshness,
    ) -> Result<(), Reason> {
        let subject = self.subject(user, now, second_factor_at);
        let circumstances = Circumstances::alone(now, freshness);
        let ask = index.ask(subject.user(), service);
        decide(Some(index), &subject, &ask, &circumstances).map(drop).map_err(|denial| denial.reason())
    }

    /// The paths that are closed to a user in a service that they may use.
    pub(crate) fn closed(&self, user: &str, device: &str, service: &str, now: UnixTime) -> Vec<String> {
        let (index, subject) = (self.index_at(device, now), self.subject(user, now, None));
        let circumstances = Circumstances::alone(now, Freshness::ALWAYS);
        let ask = index.ask(subject.user(), service);
        let permit = decide(Some(&index), &subject, &ask, &circumstances).unwrap();
        permit.closed().map(ToString::to_string).collect()
    }

    /// Whether what this user is permitted now obliges the device to a recording.
    pub(crate) fn is_recorded(&self, user: &str, device: &str, service: &str) -> bool {
        let (index, subject) = (self.index(device), self.subject(user, NOW, Some(NOW)));
        let ask = index.ask(subject.user(), service);
        let circumstances = Circumstances::alone(NOW, Freshness::ALWAYS);
        let permit = decide(Some(&index), &subject, &ask, &circumstances).unwrap();
        permit.category().is_some_and(|category| category.record)
    }

    fn subject(&self, user: &str, now: UnixTime, second_factor_at: Option<UnixTime>) -> Subject {
        let (key, id) = (&self.keys[user], self.roster.users[user].id);
        let mut factors = vec![Factor { method: Method::Password, at: now }];
        factors.extend(second_factor_at.map(|at| Factor { method: Method::Totp, at }));
        let expires = now.saturating_add(3600);
        let pass = Pass {
            fleet: FLEET,
            user: id,
            key: key.public(),
            factors,
            issued: now,
            expires,
            narrow: Narrowing::NONE,
        };
        let pass = Envelope::seal(&pass, &[&self.signer]).unwrap();
        let (exporter, device) = ([5; 32], addressee().device);
        let presented = Presented {
            pass: &pass,
            proof: Proof::sign(key, &exporter, device, &pass),
            exporter: &exporter,
            peer_key: key.public(),
        };
        Subject::authenticate(&presented, device, &self.root, now).unwrap()
    }

    /// Every service that a user may use now, as `device/service`.
    pub(crate) fn reachable(&self, user: &str) -> Vec<String> {
        let mut reachable = Vec::new();
        for device in self.model.devices.keys() {
            let compiler = Compiler::new(&self.model, &self.roster);
            for service in compiler.service_names(device).into_keys() {
                if self.asks(user, device.as_str(), service.as_str()).is_ok() {
                    reachable.push(format!("{device}/{service}"));
                }
            }
        }
        reachable
    }
}

pub(crate) fn addressee() -> Addressee {
    let device_key = SecretKey::from_seed([100; 32]).unwrap().public();
    Addressee { fleet: FLEET, device: DeviceId::new([9; 8]), device_key, epoch: 1, locks_cleared: 0 }
}
