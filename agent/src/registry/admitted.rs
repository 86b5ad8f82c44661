//! A tunnel that was admitted, as its task holds it: with its end the registry forgets it.

use std::sync::Arc;
use std::time::Instant;

use postern_protocol::id::TunnelId;
use postern_protocol::trust::sealed::SealingKey;
use postern_protocol::wire::registry::CloseCode;
use postern_transport::splice::Meter;

use super::Registry;
use super::leash::Leash;

/// A tunnel that was admitted. Dropping it removes the tunnel from the registry.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Names the tunnel.
    pub(crate) id: TunnelId,
    /// Where the registry says that it must stop.
    pub(crate) leash: Arc<Leash>,
    /// Counts its bytes.
    pub(crate) meter: Arc<Meter>,
    /// The key to which it must be recorded, whatever a newer permit says.
    pub(crate) recording: Option<SealingKey>,
    /// Its place; private so that only [`Registry::admit`] makes one.
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) order: u64,
    pub(super) registry: Arc<Registry>,
}

impl Admitted {
    /// Removes the tunnel and tells all its tasks to stop, for a reason that the registry does not know.
    pub(crate) fn stop(&self, code: CloseCode) {
        let Place { order, registry } = &self.place;
        registry.lock().cut(*order, code, &registry.rows);
    }

    /// Removes the tunnel before it is dropped, so that its place is free when the caller is told. Its bytes have an end.
    pub(crate) fn leave(&self) {
        let Place { order, registry } = &self.place;
        let mut live = registry.lock();
        live.remove(*order, &registry.rows);
        let stopped = live.cuts.stopped(*order, Instant::now());
        drop(live);
        stopped.into_iter().for_each(&registry.stops.0);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.leave();
        let registry = &self.place.registry;
        let mut live = registry.lock();
        live.unfinished = live.unfinished.saturating_sub(1);
        if live.unfinished == 0 {
            registry.busy.send_replace(false);
            registry.drained.notify_one();
        }
    }
}
