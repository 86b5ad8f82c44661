//! The way that policy really takes: compiled, sealed, verified, indexed.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_cloud::compile::{Compiler, Content, Term};
use postern_cloud::model::Model;
use postern_protocol::name::Name;
use postern_protocol::policy::{Index, verify};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Envelope;

use crate::keyring::{Keyring, addressee};
use crate::world::World;

/// The devices of one world, each as far as it was asked for.
pub(crate) struct Real<'w> {
    pub(crate) world: &'w World,
    compiler: Compiler<'w>,
    devices: BTreeMap<Name, Arc<Device>>,
}

/// What one device received, and what it made of it.
pub(crate) struct Device {
    pub(crate) content: Content,
    pub(crate) sealed: Vec<u8>,
    pub(crate) index: Arc<Index>,
}

impl<'w> Real<'w> {
    pub(crate) fn of(world: &'w World) -> Self {
        Self::believing(world, &world.model)
    }

    /// The devices as a product would make them that takes another model for that of the world.
    pub(crate) fn believing(world: &'w World, model: &'w Model) -> Self {
        let compiler = Compiler::new(model, &world.roster);
        Self { world, compiler, devices: BTreeMap::new() }
    }

    pub(crate) fn device(&mut self, name: &Name) -> Arc<Device> {
        if let Some(device) = self.devices.get(name) {
            return Arc::clone(device);
        }
        let content = self.compiler.compile(name).unwrap();
        let term = Term { version: 1, issued: UnixTime::from_secs(1), expires: self.world.policy_expires };
        let snapshot = content.clone().into_snapshot(addressee(), term);
        let keyring = Keyring::get();
        let sealed = Envelope::seal(&snapshot, &[&keyring.signer]).unwrap();
        let index = Arc::new(Index::build(verify(&sealed, &keyring.expectation()).unwrap()));
        let device = Arc::new(Device { content, sealed, index });
        self.devices.insert(name.clone(), Arc::clone(&device));
        device
    }
}
