//! Packets as they are, for `postern vpn --packets`: between the adapter and the device, which filters them.
//!
//! 1. Each service has a way of its own to the device, and an address there; it is opened again with its tunnel.
//! 2. A packet of a program is read, so that it is known to which service it belongs. Its addresses are exchanged for those of the device and
//!    the machine, one by one: networks may have [aliases](super::alias) here, and the adapter keeps its address whatever the device assigns.
//! 3. What comes back is exchanged the other way, also inside errors.
//!
//! Nothing is decided here. What could not go on is dropped and counted, and what the device drops it tells.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use postern_protocol::gate::packet::change::readdress;
use postern_protocol::gate::packet::{Content, Packet, read};
use postern_protocol::policy::{FlowEnd, Protocol};
use postern_protocol::wire::registry::{Failure, PacketFault};

use super::super::gateway::{Gateway, NoFlow};
use super::super::messages::{self, Taker};
use super::alias::Plan;
use super::lanes::Lanes;
use super::tally::Tally;
use super::tun::Tun;
use crate::device::DeviceError;
use crate::problem::Problem;

/// The ways of all services.
pub(super) struct Carriers {
    own: Ipv4Addr,
    lanes: Lanes,
    plan: Arc<Mutex<Plan>>,
    carriers: Vec<Carrier>,
    tally: Arc<Tally>,
}

/// The way of one service.
struct Carrier {
    gateway: Arc<Gateway>,
    packets: mpsc::Sender<Vec<u8>>,
    /// The client's address at the device, while the way is open.
    assigned: watch::Receiver<Option<Ipv4Addr>>,
    task: AbortHandle,
}

/// What brings packets from a device to programs.
struct Program {
    own: Ipv4Addr,
    plan: Arc<Mutex<Plan>>,
    tun: Arc<Tun>,
    tally: Arc<Tally>,
    assigned: Ipv4Addr,
}

impl Carriers {
    /// Opens a way for each service. Problems that end all of it come back.
    pub(super) fn open(
        gateways: Vec<Arc<Gateway>>,
        (lanes, plan): (Lanes, Plan),
        (tun, tally): (Arc<Tun>, Arc<Tally>),
    ) -> (Self, mpsc::Receiver<Problem>) {
        let own = match plan.own_address(true) {
            IpAddr::V4(own) => own,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let plan = Arc::new(Mutex::new(plan));
        let (problems, told) = mpsc::channel(1);
        let mut carriers = Vec::new();
        for gateway in gateways {
            let (packets, coming) = mpsc::channel(WAITING);
            let (assigns, assigned) = watch::channel(None);
            let parts = (Arc::clone(&plan), Arc::clone(&tun), Arc::clone(&tally));
            let carrying =
                carry(own, (Arc::clone(&gateway), lanes.clone()), parts, (coming, assigns), problems.clone());
            let task = tokio::spawn(carrying).abort_handle();
            carriers.push(Carrier { gateway, packets, assigned, task });
        }
        (Self { own, lanes, plan, carriers, tally }, told)
    }

    /// Where machines are.
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a packet of a program.
    pub(super) fn pass(&self, bytes: &[u8]) {
        if let Err(fault) = self.send(bytes) {
            self.tally.drop_here(fault);
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), PacketFault> {
        let packet = read(bytes)?;
        if packet.from != self.own {
            return Err(PacketFault::Source);
        }
        let real = real(&self.plan(), packet.to).ok_or(PacketFault::Address)?;
        let gateway = self.lanes.to(&far_end(&packet, real)).ok_or(PacketFault::NotGranted)?;
        let carrier = self.carriers.iter().find(|carrier| Arc::ptr_eq(&carrier.gateway, &gateway));
        let carrier = carrier.ok_or(PacketFault::NotGranted)?;
        let assigned = (*carrier.assigned.borrow()).ok_or(PacketFault::Queue)?;
        let mut changed = bytes.to_vec();
        let other = |ip| {
            if ip == self.own {
                assigned
            } else if ip == packet.to {
                real
            } else {
                ip
            }
        };
        readdress(&mut changed, &packet, other);
        carrier.packets.try_send(changed).map_err(|_| PacketFault::Queue)?;
        self.tally.sent(bytes.len());
        Ok(())
    }
}

impl Drop for Carriers {
    fn drop(&mut self) {
        self.carriers.iter().for_each(|carrier| carrier.task.abort());
    }
}

impl Taker for Program {
    async fn take(&self, message: &[u8]) {
        let packet = match read(message) {
            Ok(packet) if packet.to == self.assigned => packet,
            Ok(_) => return self.tally.drop_here(PacketFault::Uninvited),
            Err(fault) => return self.tally.drop_here(fault),
        };
        let mut changed = message.to_vec();
        {
            let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            readdress(
                &mut changed,
                &packet,
                |ip| if ip == self.assigned { self.own } else { here(&plan, ip) },
            );
        }
        self.tally.received(changed.len());
        self.tun.write(&changed);
    }
}

/// Keeps the way of one service open.
async fn carry(
    own: Ipv4Addr,
    (gateway, lanes): (Arc<Gateway>, Lanes),
    (plan, tun, tally): (Arc<Mutex<Plan>>, Arc<Tun>, Arc<Tally>),
    (mut coming, assigns): (mpsc::Receiver<Vec<u8>>, watch::Sender<Option<Ipv4Addr>>),
    problems: mpsc::Sender<Problem>,
) {
    while lanes.has(&gateway) {
        let opened = match gateway.tunnel().await {
            Ok(vpn) => vpn.packets().await.map(|flow| (vpn, flow)),
            // The connection is being made again.
            Err(NoFlow::Away) => continue,
            Err(NoFlow::Device(error)) => Err(error),
        };
        match opened {
            Ok((vpn, flow)) => {
                if let IpAddr::V4(assigned) = flow.ip {
                    let (plan, tun) = (Arc::clone(&plan), Arc::clone(&tun));
                    let program = Program { own, plan, tun, tally: Arc::clone(&tally), assigned };
                    assigns.send_replace(Some(assigned));
                    let service = gateway.service().as_str();
                    tokio::select! {
                        () = messages::carry(flow, &mut coming, &program) => {}
                        () = vpn.dropped(|drops| tally.dropped_there(service, drops)) => {}
                    }
                    assigns.send_replace(None);
                }
            }
            Err(error @ DeviceError::Failed(Failure::NoPackets)) => {
                let _over = problems.send(error.into()).await;
                return;
            }
            // What the tunnel's end says is told by who watches it.
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Where a packet goes, as the device sees it.
const fn far_end(packet: &Packet, real: Ipv4Addr) -> FlowEnd {
    let (protocol, port) = match packet.content {
        Content::Tcp(segment) => (Protocol::Tcp, segment.destination),
        Content::Udp { destination, .. } => (Protocol::Udp, destination),
        Content::EchoRequest { .. } | Content::EchoReply { .. } | Content::Error(_) => (Protocol::Icmp, 0),
    };
    FlowEnd { protocol, ip: IpAddr::V4(real), port }
}

fn real(plan: &Plan, here: Ipv4Addr) -> Option<Ipv4Addr> {
    match plan.real(here.into())? {
        IpAddr::V4(real) => Some(real),
        IpAddr::V6(_) => None,
    }
}

/// Where a machine is on this computer; what is none of them, such as a router in between, stays.
fn here(plan: &Plan, real: Ipv4Addr) -> Ipv4Addr {
    match plan.here(real.into()) {
        Some(IpAddr::V4(here)) => here,
        Some(IpAddr::V6(_)) | None => real,
    }
}

/// Packets that may wait for a way.
const WAITING: usize = 256;
/// Before a way that is over is opened again.
const AGAIN: Duration = Duration::from_secs(1);
