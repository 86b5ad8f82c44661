//! The VPN services that a running VPN consists of, and where each leads now.
//!
//! 1. Each service is watched: where its flows may go changes while it is open.
//! 2. A tunnel that ends with the connection to the device is opened again when that is up.
//! 3. A tunnel that the device ends stays ended: its service leaves, and the last one ends the VPN.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::mpsc;

use postern_protocol::policy::{Destination, FlowEnd};

use super::super::gateway::{Gateway, NoFlow};
use super::super::tunnel::Over;
use crate::device::DeviceError;
use crate::exit::Exit;
use crate::problem::Problem;

/// All services.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(Arc<Mutex<Vec<Lane>>>);

#[derive(Debug)]
struct Lane {
    gateway: Arc<Gateway>,
    destinations: Vec<Destination>,
    is_open: bool,
}

/// What has happened to a service.
#[derive(Debug)]
pub(super) enum Event {
    /// It leads there now.
    Leads(usize, Vec<Destination>),
    /// The device has ended it.
    Over {
        /// Which.
        index: usize,
        /// Its name.
        service: String,
        /// Why.
        problem: Problem,
    },
}

impl Lanes {
    /// Begins with services that are open, and watches them.
    pub(super) async fn watch(gateways: Vec<Arc<Gateway>>) -> (Self, mpsc::Receiver<Event>) {
        let (events, coming) = mpsc::channel(1);
        let mut lanes = Vec::new();
        for (index, gateway) in gateways.into_iter().enumerate() {
            let destinations = gateway.destinations().await;
            tokio::spawn(watch(index, Arc::clone(&gateway), destinations.clone(), events.clone()));
            lanes.push(Lane { gateway, destinations, is_open: true });
        }
        (Self(Arc::new(Mutex::new(lanes))), coming)
    }

    /// The service for a flow: where it is granted most narrowly; where nobody grants it, one that leads to the machine or
    /// any, so that the refusal is the device's own and stands in its audit.
    pub(super) fn to(&self, end: &FlowEnd) -> Option<Arc<Gateway>> {
        let lanes = self.lock();
        let lane = lanes.iter().filter(|lane| lane.is_open).max_by_key(|lane| {
            let granting = lane.destinations.iter().filter(|destination| destination.contains(end));
            let near = lane.destinations.iter().filter(|destination| destination.net.contains(end.ip));
            let narrowest = |prefix: Option<u8>| prefix.map_or(0, |prefix| u16::from(prefix) + 1);
            let granting = granting.map(|destination| destination.net.prefix).max();
            (narrowest(granting), narrowest(near.map(|destination| destination.net.prefix).max()))
        })?;
        Some(Arc::clone(&lane.gateway))
    }

    /// Whether a service is open.
    pub(super) fn has(&self, gateway: &Arc<Gateway>) -> bool {
        self.lock().iter().any(|lane| lane.is_open && Arc::ptr_eq(&lane.gateway, gateway))
    }

    /// All networks to which services lead.
    pub(super) fn networks(&self) -> Vec<IpNet> {
        let lanes = self.lock();
        let open = lanes.iter().filter(|lane| lane.is_open);
        let nets = open.flat_map(|lane| &lane.destinations);
        nets.filter_map(|destination| IpNet::new(destination.net.ip, destination.net.prefix).ok()).collect()
    }

    /// What may be carried to a machine or network, in words.
    pub(super) fn carried_to(&self, net: IpNet) -> Vec<String> {
        let lanes = self.lock();
        let open = lanes.iter().filter(|lane| lane.is_open).flat_map(|lane| &lane.destinations);
        let mut words: Vec<String> =
            open.filter(|destination| net.contains(&destination.net.ip)).map(ToString::to_string).collect();
        words.sort_unstable();
        words.dedup();
        words
    }

    /// Takes news.
    pub(super) fn lead(&self, index: usize, destinations: Vec<Destination>) {
        if let Some(lane) = self.lock().get_mut(index) {
            lane.destinations = destinations;
        }
    }

    /// A service has ended; whether another is left.
    pub(super) fn close(&self, index: usize) -> bool {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get_mut(index) {
            lane.is_open = false;
        }
        lanes.iter().any(|lane| lane.is_open)
    }

    /// The names of those that are open.
    pub(super) fn names(&self) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|lane| lane.is_open)
            .map(|lane| lane.gateway.service().to_string())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches one service until the device ends it or nobody listens.
async fn watch(
    index: usize,
    gateway: Arc<Gateway>,
    mut known: Vec<Destination>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let problem = match gateway.tunnel().await {
            Ok(vpn) => {
                let over = loop {
                    let destinations = vpn.destinations();
                    if destinations != known {
                        known.clone_from(&destinations);
                        if events.send(Event::Leads(index, destinations)).await.is_err() {
                            return;
                        }
                    }
                    vpn.moved(known.clone()).await;
                    if !vpn.is_open() {
                        break vpn.over().await;
                    }
                };
                match over {
                    Over::WithLink => continue,
                    // The number finds the row in the device's audit.
                    Over::Alone(ending) => {
                        Problem::ended(&ending, Exit::DeviceUnreachable).about(&vpn.id().to_string())
                    }
                }
            }
            // The connection is being made again.
            Err(NoFlow::Away) => continue,
            // It is about to be, and what the device says then counts.
            Err(NoFlow::Device(DeviceError::Dial(_) | DeviceError::Ended(_))) => {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(no @ NoFlow::Device(_)) => no.problem(gateway.teller().device()),
        };
        let service = gateway.service().to_string();
        let _nobody = events.send(Event::Over { index, service, problem }).await;
        return;
    }
}

const AGAIN: Duration = Duration::from_secs(1);
