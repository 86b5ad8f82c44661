//! Keys of a small installation, and subjects that are authenticated with them: all once, because worlds are many.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use postern_cloud::compile::Addressee;
use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::policy::Expectation;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::{
    Envelope, Factor, Method, Narrowing, Pass, Proof, PublicKey, Role, RoleKeys, Root, SecretKey, Subject,
};

use crate::world::{grid, id_of};

/// Who presents which pass: the person's number, which of their keys, when a second factor was used, and the end.
pub(crate) type PassOf = (u8, u8, Option<UnixTime>, UnixTime);

/// The installation that signs for every world.
pub(crate) struct Keyring {
    pub(crate) signer: SecretKey,
    root: Root,
    subjects: BTreeMap<PassOf, Subject>,
}

impl Keyring {
    /// The one of this process.
    pub(crate) fn get() -> &'static Self {
        static KEYRING: LazyLock<Keyring> = LazyLock::new(Keyring::make);
        &KEYRING
    }

    fn make() -> Self {
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
        let mut keyring = Self { signer, root, subjects: BTreeMap::new() };
        for number in 0..PEOPLE {
            for which in 0..KEYS {
                for factor in factors() {
                    for expires in ends() {
                        let subject = keyring.authenticate(number, which, factor, expires);
                        keyring.subjects.insert((number, which, factor, expires), subject);
                    }
                }
            }
        }
        keyring
    }

    /// A subject that a device has made of a signed pass and a proof.
    pub(crate) fn subject(&self, pass: &PassOf) -> &Subject {
        &self.subjects[pass]
    }

    pub(crate) fn expectation(&self) -> Expectation<'_> {
        let Addressee { device, device_key, .. } = addressee();
        Expectation { root: &self.root, device, device_key, floor: None }
    }

    fn authenticate(&self, number: u8, which: u8, factor: Option<UnixTime>, expires: UnixTime) -> Subject {
        let key = user_key(number, which);
        let issued = grid(4);
        let mut factors = vec![Factor { method: Method::Password, at: issued }];
        factors.extend(factor.map(|at| Factor { method: Method::Totp, at }));
        let pass = Pass {
            fleet: FLEET,
            user: id_of(number),
            key: key.public(),
            factors,
            issued,
            expires,
            narrow: Narrowing::NONE,
        };
        let pass = Envelope::seal(&pass, &[&self.signer]).unwrap();
        let (exporter, device) = ([5; 32], addressee().device);
        let presented = Presented {
            pass: &pass,
            proof: Proof::sign(&key, &exporter, device, &pass),
            exporter: &exporter,
            peer_key: key.public(),
        };
        Subject::authenticate(&presented, device, &self.root, issued).unwrap()
    }
}

/// Second factors of passes: none, and used at different times.
pub(crate) fn factors() -> [Option<UnixTime>; 6] {
    [None, Some(UnixTime::from_secs(1)), Some(grid(0)), Some(grid(1)), Some(grid(3)), Some(grid(4))]
}

/// Ends of passes: one amid everything, one after it.
pub(crate) fn ends() -> [UnixTime; 2] {
    [grid(7), grid(500)]
}

/// A key of a person.
fn user_key(number: u8, which: u8) -> SecretKey {
    SecretKey::from_seed([1 + number * KEYS + which; 32]).unwrap()
}

/// The public half, remembered.
pub(crate) fn public_key(number: u8, which: u8) -> PublicKey {
    Keyring::get().subject(&(number, which, None, grid(500))).key()
}

/// Every device of every world has the same id and key: what is tested is what its policy says.
pub(crate) fn addressee() -> Addressee {
    static KEY: LazyLock<PublicKey> = LazyLock::new(|| SecretKey::from_seed([100; 32]).unwrap().public());
    Addressee { fleet: FLEET, device: DeviceId::new([9; 8]), device_key: *KEY, epoch: 1, locks_cleared: 0 }
}

const FLEET: FleetId = FleetId::new([7; 8]);
/// Persons with keys; the last is in no world.
pub(crate) const PEOPLE: u8 = 6;
/// Keys of each.
pub(crate) const KEYS: u8 = 2;
