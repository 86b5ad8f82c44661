//! Which device is linked over which connection: at most one each, the newest.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use postern_protocol::name::Name;
use postern_protocol::wire::registry::ProtocolFault;
use postern_transport::quic::Connection;

/// The links that are up.
#[derive(Debug, Default)]
pub(super) struct Links {
    up: Mutex<BTreeMap<Name, Connection>>,
}

impl Links {
    /// Gives a device's link to a connection. An earlier one is closed: a device that lost its network comes back
    /// long before its old connection times out, and two agents with one key must be noticed.
    pub(super) fn take_over(&self, device: &Name, connection: &Connection) {
        let earlier = self.lock().insert(device.clone(), connection.clone());
        if let Some(earlier) = earlier.filter(|earlier| earlier.id() != connection.id()) {
            super::close(&earlier, ProtocolFault::Superseded);
        }
    }

    /// Takes a device's link away, if it is still this connection's. Returns whether it was.
    pub(super) fn release(&self, device: &Name, connection: &Connection) -> bool {
        let mut up = self.lock();
        let mine = up.get(device).is_some_and(|link| link.id() == connection.id());
        if mine {
            up.remove(device);
        }
        mine
    }

    /// Closes the link of a device whose key is worth nothing any more.
    pub(super) fn cut(&self, device: &Name) {
        if let Some(connection) = self.lock().remove(device) {
            super::close(&connection, ProtocolFault::Unknown);
        }
    }

    /// Whether a connection carries a link.
    pub(super) fn is_linked(&self, id: usize) -> bool {
        self.lock().values().any(|connection| connection.id() == id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Connection>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
