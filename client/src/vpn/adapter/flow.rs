//! One flow, from its first packet to its end.
//!
//! 1. The device is asked. Until it answers, packets of the flow wait.
//! 2. Where it says no, the program hears that at once, in the words of TCP or ICMP, and the person reads why.
//! 3. A TCP flow is a [`Socket`] joined with the flow's stream; others are messages.
//! 4. Where the device or the machine cuts it, the program's connection is reset.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;

use postern_protocol::policy::{FlowEnd, Protocol};
use postern_protocol::wire::flow::message::Echo;
use postern_protocol::wire::flow::{FlowTarget, Host};

use super::super::carry::{CutShort, why};
use super::super::gateway::{Gateway, NoFlow};
use super::super::messages::{self, Taker};
use super::super::tunnel::Vpn;
use super::super::verdict::Verdict;
use super::answer::{self, No, refusal};
use super::ledger::{Count, Ledger};
use super::packet::{Content, Key, read};
use super::stack::Socket;
use super::tun::Tun;
use crate::args::HostPort;
use crate::connect::carry::join;
use crate::device::Flow;

/// A flow that is wanted.
pub(super) struct Wish {
    /// As programs see it.
    pub(super) key: Key,
    /// As the device sees it.
    pub(super) end: FlowEnd,
    /// The packet that began it.
    pub(super) first: Vec<u8>,
    /// What comes behind it: packets of TCP, messages of others.
    pub(super) coming: mpsc::Receiver<Vec<u8>>,
    /// Its bytes.
    pub(super) count: Arc<Count>,
    /// Where the table sees that it is refused.
    pub(super) no: Arc<OnceLock<No>>,
}

/// What all flows of a VPN have in common.
#[derive(Clone)]
pub(super) struct Ways {
    /// To programs.
    pub(super) tun: Arc<Tun>,
    /// What is written down.
    pub(super) ledger: Arc<Ledger>,
}

impl Wish {
    /// Opens the flow and carries it.
    pub(super) async fn carry(mut self, gateway: &Gateway, ways: &Ways) {
        let FlowEnd { protocol, ip, port } = self.end;
        match gateway.flow(FlowTarget { protocol, host: Host::Ip(ip), port }).await {
            Ok((vpn, flow)) => {
                let count = Arc::clone(&self.count);
                let _entry = ways.ledger.enter(self.end, gateway.service().as_str(), count);
                let place = self.place();
                let carried = match protocol {
                    Protocol::Tcp => self.connection(ways, (&vpn, flow)).await,
                    Protocol::Udp | Protocol::Icmp => {
                        let program = Program { tun: &ways.tun, key: self.key, count: &self.count };
                        messages::carry(flow, &mut self.coming, &program).await;
                        Ok(())
                    }
                };
                if let Err(CutShort { problem, said: false }) = carried {
                    gateway.teller().tell(&problem.about(&place));
                }
            }
            Err(none) => self.refused(none, gateway, ways).await,
        }
    }

    /// Tells the program, and the person.
    async fn refused(mut self, none: NoFlow, gateway: &Gateway, ways: &Ways) {
        let no = No::from(Verdict::of(&none));
        let problem = none.problem(gateway.teller().device());
        if ways.ledger.refuse(self.end, &problem) {
            gateway.teller().tell(&problem.about(&self.place()));
        }
        if let Some(answer) = read(&self.first).and_then(|packet| refusal(&packet, &self.first, no)) {
            ways.tun.write(&answer);
        }
        if self.key.protocol != Protocol::Tcp {
            // The table answers what comes meanwhile, and the device is not asked again.
            let _first = self.no.set(no);
            let forgotten = async { while self.coming.recv().await.is_some() {} };
            let _while = tokio::time::timeout(REFUSED_FOR, forgotten).await;
        }
    }

    async fn connection(self, ways: &Ways, (vpn, flow): (&Vpn, Flow)) -> Result<(), CutShort> {
        let Some(Content::Segment(segment)) = read(&self.first).map(|packet| packet.content) else {
            return Ok(());
        };
        let with = (Arc::clone(&ways.tun), Arc::clone(&self.count));
        let Ok(socket) = Socket::accept(self.first, (self.key, &segment), self.coming, with) else {
            // Without random bytes nothing is carried; the program tries again.
            return Ok(());
        };
        let (reader, writer) = socket.split();
        let joined = tokio::select! {
            biased;
            joined = join(reader, writer, flow.send, flow.recv) => joined,
            () = socket.driven() => return Ok(()),
        };
        match joined {
            Ok(()) => {
                socket.finish().await;
                Ok(())
            }
            Err(cut) => {
                if cut.complete {
                    socket.finish().await;
                } else {
                    socket.abort();
                }
                why(vpn, cut).await
            }
        }
    }

    /// The flow in words.
    fn place(&self) -> String {
        let FlowEnd { protocol, ip, port } = self.end;
        match protocol {
            Protocol::Tcp => HostPort { host: Host::Ip(ip), port }.to_string(),
            Protocol::Udp => format!("udp {}", SocketAddr::new(ip, port)),
            Protocol::Icmp => format!("ping {ip}"),
        }
    }
}

/// The program at the near end of a flow of messages.
struct Program<'a> {
    tun: &'a Tun,
    key: Key,
    count: &'a Count,
}

impl Taker for Program<'_> {
    async fn take(&self, message: &[u8]) {
        let Key { protocol, from: program, to: machine } = self.key;
        let packet = match protocol {
            Protocol::Icmp => {
                let echo = Echo::parse(message).ok();
                echo.and_then(|echo| answer::echo(machine.ip(), program.ip(), &echo))
            }
            Protocol::Udp | Protocol::Tcp => answer::datagram(machine, program, message),
        };
        if let Some(packet) = packet {
            self.count.received(message.len());
            self.tun.write(&packet);
        }
    }
}

/// How long datagrams to a place that was refused are answered without asking the device.
const REFUSED_FOR: Duration = Duration::from_secs(5);
