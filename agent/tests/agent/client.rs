//! A client that speaks the wire and nothing more.

use std::net::{Ipv4Addr, SocketAddr};

use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::limits;
use postern_protocol::policy::{Kind, Protocol};
use postern_protocol::trust::Proof;
use postern_protocol::trust::pass::EXPORTER_LABEL;
use postern_protocol::wire::discovery::DiscoveryNews;
use postern_protocol::wire::flow::{FlowTarget, Host, VpnNews};
use postern_protocol::wire::registry::ALPNS_TUNNEL;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Request};
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{Connection, Endpoint, RecvStream, Role, SendStream, Settings};

use crate::policy::{USER_SEED, pass, secret};
use crate::world::{Agent, GENEROUS, device};

pub(crate) struct Client {
    _endpoint: Endpoint,
    pub(crate) connection: Connection,
    seed: u8,
}

/// An open tunnel.
pub(crate) struct Tunnel {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) answer: Answer,
}

impl Client {
    /// A connection with the usual user's key, not signed in.
    pub(crate) async fn stranger(agent: &Agent) -> Self {
        Self::connect(agent, USER_SEED).await
    }

    pub(crate) async fn connect(agent: &Agent, seed: u8) -> Self {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = Endpoint::bind(addr, &secret(seed), Role::Client, &Settings::session()).unwrap();
        let connection = endpoint
            .connect(agent.listening(), agent.key(), ALPNS_TUNNEL, &Settings::session())
            .await
            .unwrap();
        Self { _endpoint: endpoint, connection, seed }
    }

    /// Signed in as `user`, with the usual user's key; `factors` 2 includes a second factor.
    pub(crate) async fn signed_in(agent: &Agent, user: UserId, factors: u8) -> Self {
        let client = Self::stranger(agent).await;
        let answer = client.authenticate(&pass(user, USER_SEED, factors > 1)).await;
        assert!(matches!(answer, Answer::Welcome { .. }), "{answer:?}");
        client
    }

    /// Presents a pass with a proof for this very connection.
    pub(crate) async fn authenticate(&self, pass: &[u8]) -> Answer {
        let exporter = self.connection.export_keying_material(EXPORTER_LABEL, &[]).unwrap();
        let proof = Proof::sign(&secret(self.seed), &exporter, device(), pass);
        self.ask(&Request::Authenticate { pass: pass.to_vec(), proof }).await
    }

    pub(crate) async fn ask(&self, request: &Request) -> Answer {
        self.request(request).await.answer
    }

    pub(crate) async fn services(&self) -> Answer {
        self.ask(&Request::ListServices).await
    }

    /// Asks for a tunnel, whatever the answer.
    pub(crate) async fn open(&self, service: &str) -> Tunnel {
        self.request(&Request::Open { service: service.parse().unwrap(), view_only: false }).await
    }

    /// Asks for a tunnel that only looks.
    pub(crate) async fn look(&self, service: &str) -> Tunnel {
        self.request(&Request::Open { service: service.parse().unwrap(), view_only: true }).await
    }

    /// Opens a VPN that must be permitted, and hears where its flows may go.
    pub(crate) async fn vpn(&self, service: &str, view_only: bool) -> Vpn {
        let mut tunnel =
            self.request(&Request::OpenVpn { service: service.parse().unwrap(), view_only }).await;
        let Answer::Accepted { tunnel: id, kind: Kind::Vpn, .. } = tunnel.answer else {
            panic!("{:?}", tunnel.answer)
        };
        let destinations = news(&mut tunnel.recv).await;
        Vpn { id, tunnel, destinations }
    }

    /// Asks for a VPN, whatever the answer.
    pub(crate) async fn open_vpn(&self, service: &str) -> Answer {
        self.ask(&Request::OpenVpn { service: service.parse().unwrap(), view_only: false }).await
    }

    /// Asks for a flow, whatever the answer.
    pub(crate) async fn flow(&self, tunnel: TunnelId, protocol: Protocol, host: &str, port: u16) -> Tunnel {
        let host = host.parse().map_or_else(|_| Host::Name(host.parse().unwrap()), Host::Ip);
        self.request(&Request::Flow { tunnel, to: FlowTarget { protocol, host, port } }).await
    }

    /// Asks for the way for packets, whatever the answer.
    pub(crate) async fn packets(&self, tunnel: TunnelId) -> Tunnel {
        self.request(&Request::Packets { tunnel }).await
    }

    /// Opens a TCP flow that must be permitted.
    pub(crate) async fn tcp(&self, vpn: &Vpn, to: SocketAddr) -> Tunnel {
        let flow = self.flow(vpn.id, Protocol::Tcp, &to.ip().to_string(), to.port()).await;
        assert_eq!(flow.answer, Answer::Flow { ip: to.ip() });
        flow
    }

    /// Asks what is on the machine network, whatever the answer.
    pub(crate) async fn discover(&self, tunnel: TunnelId, scan: bool) -> Tunnel {
        self.request(&Request::Discover { tunnel, scan }).await
    }

    /// Opens a tunnel that must be permitted.
    pub(crate) async fn tunnel(&self, service: &str) -> Tunnel {
        let tunnel = self.open(service).await;
        assert!(matches!(tunnel.answer, Answer::Accepted { .. }), "{:?}", tunnel.answer);
        tunnel
    }

    async fn request(&self, request: &Request) -> Tunnel {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        write_frame(&mut send, request, limits::FRAME_BYTES).await.unwrap();
        let answer = read_frame(&mut recv, ANSWER_BYTES, GENEROUS).await.unwrap();
        Tunnel { send, recv, answer }
    }
}

/// An open VPN.
pub(crate) struct Vpn {
    pub(crate) id: TunnelId,
    pub(crate) tunnel: Tunnel,
    /// Where flows may go, as it was said at first.
    pub(crate) destinations: Vec<String>,
}

/// What the agent says next on the stream of a VPN.
pub(crate) async fn news(recv: &mut RecvStream) -> Vec<String> {
    loop {
        if let VpnNews::Destinations(said) = read_frame(recv, ANSWER_BYTES, GENEROUS).await.unwrap() {
            return said.iter().map(ToString::to_string).collect();
        }
    }
}

/// What the agent says next of a discovery.
pub(crate) async fn found(recv: &mut RecvStream) -> Result<DiscoveryNews, FrameFault> {
    read_frame(recv, ANSWER_BYTES, GENEROUS).await
}

impl Tunnel {
    /// Sends `bytes` to an echoing machine and expects them back.
    pub(crate) async fn echo(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
        let mut back = vec![0; bytes.len()];
        tokio::time::timeout(GENEROUS, self.recv.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(back, bytes);
    }

    /// Reads until the end and returns how it came: `Ok` with the bytes, or the code of the reset.
    pub(crate) async fn drain(&mut self) -> Result<u64, postern_transport::quic::StreamFault> {
        let mut total = 0;
        let reading = async {
            while let Some(chunk) = self.recv.read_chunk(64 * 1024).await? {
                total += chunk.len() as u64;
            }
            Ok(total)
        };
        tokio::time::timeout(GENEROUS, reading).await.unwrap()
    }
}
