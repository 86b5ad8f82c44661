//! What a tunnel of each kind makes the agent hold, whatever its peers send: the numbers of `docs/benchmarks.md`.
//!
//! 1. A machine and a client are told what to say, and what to say again and again; nobody reads more than that takes.
//! 2. Connections are made and one tunnel is brought to its end state before anything counts: what only the first one
//!    costs is not what one more costs.
//! 3. [`TUNNELS`] more are brought there, one after another where they are idle then, because what they needed on the way
//!    is free again; otherwise all at once, and their cost is the highest resident memory on the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postern_protocol::policy::{Kind, Mode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::client::Client;
use crate::world::{GENEROUS, World};

/// One way to behave, on both sides of a tunnel.
struct Case {
    what: &'static str,
    kind: Kind,
    /// What the client says when it is in, and then again and again.
    client: (Vec<u8>, Vec<u8>),
    /// What the machine says when it was greeted, and then again and again.
    machine: (Vec<u8>, Vec<u8>),
    /// Whether the client takes what it gets.
    reads: bool,
    /// Whether a tunnel is waited for before the next one.
    is_idle: bool,
    /// Whether the gate ends it.
    is_refused: bool,
}

/// What a machine waits for before it says anything.
#[derive(Clone, Copy)]
enum Greeting {
    None,
    /// A viewer that asks for the screen.
    Rfb,
    /// The head of a request.
    Head,
}

impl Case {
    fn new(what: &'static str, kind: Kind, client: &[u8], machine: &[u8]) -> Self {
        let once = |bytes: &[u8]| (bytes.to_vec(), Vec::new());
        Self {
            what,
            kind,
            client: once(client),
            machine: once(machine),
            reads: true,
            is_idle: false,
            is_refused: false,
        }
    }

    /// The tunnels come to rest, one after another.
    fn idle(what: &'static str, kind: Kind, client: &[u8], machine: &[u8]) -> Self {
        Self { is_idle: true, ..Self::new(what, kind, client, machine) }
    }

    /// The client goes on with this for ever.
    fn client_repeats(mut self, bytes: &[u8]) -> Self {
        self.client.1 = bytes.to_vec();
        self
    }

    /// The machine goes on with this for ever, and the client takes nothing.
    fn machine_repeats(mut self, bytes: &[u8]) -> Self {
        (self.machine.1, self.reads) = (bytes.to_vec(), false);
        self
    }

    /// The gate lets none of that stand.
    fn refused(mut self) -> Self {
        self.is_refused = true;
        self
    }

    /// KiB for one tunnel.
    async fn cost(&self) -> u64 {
        let (moved, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (machine, _task) = self.machine(&moved).await;
        let mut world = World::start_with("[caps]\nconnections = 64\ntunnels = 256\n").await;
        world.policy.service("one", self.kind, machine);
        world.policy.snapshot.categories[0].services = vec![2];
        world.policy.snapshot.grants[0].mode = Mode::WIDEST;
        world.publish(3).await;
        let mut clients = Vec::new();
        for _ in 0..=TUNNELS / EACH {
            clients.push(world.client().await);
        }
        let (first, others) = clients.split_first().unwrap();
        let mut tunnels = JoinSet::new();
        self.open(first, &mut tunnels, (&moved, &ended)).await;
        settled(&world, &moved).await;
        let before = memory(&world, "VmRSS:");
        // The highest from here on.
        std::fs::write(format!("/proc/{}/clear_refs", world.agent.pid()), "5").unwrap();
        for client in others {
            for _ in 0..EACH {
                self.open(client, &mut tunnels, (&moved, &ended)).await;
                if self.is_idle {
                    settled(&world, &moved).await;
                }
            }
        }
        if self.is_refused {
            let all_ended = async {
                while ended.load(Ordering::Relaxed) <= TUNNELS as u64 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(GENEROUS, all_ended).await.expect(self.what);
        }
        settled(&world, &moved).await;
        let after = memory(&world, if self.is_idle { "VmRSS:" } else { "VmHWM:" });
        let cost = after.saturating_sub(before) / TUNNELS as u64;
        let expected = if self.is_refused { TUNNELS + 1 } else { 0 };
        assert_eq!(
            ended.load(Ordering::Relaxed),
            expected as u64,
            "{}: tunnels that the gate ended",
            self.what
        );
        println!("{:9} {:66} {cost:4} KiB", format!("{:?}", self.kind), self.what);
        cost
    }

    /// A tunnel, and a task that does at it what the client does.
    async fn open(
        &self,
        client: &Client,
        tunnels: &mut JoinSet<()>,
        (moved, ended): (&Arc<AtomicU64>, &Arc<AtomicU64>),
    ) {
        let mut tunnel = client.tunnel("one").await;
        let (stopped, ended) = (tunnel.send.stopped(), Arc::clone(ended));
        tunnels.spawn(async move {
            let _code = stopped.await;
            ended.fetch_add(1, Ordering::Relaxed);
        });
        let (client, moved, reads) = (self.client.clone(), Arc::clone(moved), self.reads);
        let opening: (&[u8], &[u8]) = match self.kind {
            Kind::Vnc => (VIEWER, b"panel"),
            Kind::Websocket => (UPGRADE, b"\r\n\r\n"),
            Kind::Vpn | Kind::Http => (b"", b""),
        };
        tunnels.spawn(async move {
            let (send, recv) = (&mut tunnel.send, &mut tunnel.recv);
            send.write_all(opening.0).await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(opening.1) {
                let Ok(Some(byte)) = recv.read_chunk(1).await else { break };
                heard.extend_from_slice(&byte);
            }
            let telling = async {
                let mut next = if client.0.is_empty() { &client.1 } else { &client.0 };
                while !next.is_empty() && send.write_all(next).await.is_ok() {
                    moved.fetch_add(next.len() as u64, Ordering::Relaxed);
                    next = &client.1;
                }
                std::future::pending::<()>().await;
            };
            let hearing = async {
                while reads && let Ok(Some(chunk)) = recv.read_chunk(64 * 1024).await {
                    moved.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
                std::future::pending::<()>().await;
            };
            tokio::join!(telling, hearing);
        });
    }

    async fn machine(&self, moved: &Arc<AtomicU64>) -> (SocketAddr, Aborted) {
        let socket = TcpSocket::new_v4().unwrap();
        // What the kernel keeps for a machine that reads nothing; accepted connections inherit it.
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let (machine, moved) = (self.machine.clone(), Arc::clone(moved));
        let greeting = match self.kind {
            Kind::Vpn => Greeting::None,
            Kind::Vnc => Greeting::Rfb,
            Kind::Http | Kind::Websocket => Greeting::Head,
        };
        let task = tokio::spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (machine, moved) = (machine.clone(), Arc::clone(&moved));
                tunnels.spawn(async move {
                    if greeting.heard(&mut stream).await.is_ok() {
                        let mut next = if machine.0.is_empty() { &machine.1 } else { &machine.0 };
                        while !next.is_empty() && stream.write_all(next).await.is_ok() {
                            moved.fetch_add(next.len() as u64, Ordering::Relaxed);
                            next = &machine.1;
                        }
                    }
                    // It stays, and hears no more.
                    std::future::pending::<()>().await;
                });
            }
        });
        (address, Aborted(task.abort_handle()))
    }
}

impl Greeting {
    async fn heard(self, stream: &mut TcpStream) -> std::io::Result<()> {
        match self {
            Self::None => {}
            Self::Rfb => {
                stream.write_all(b"RFB 003.008\n").await?;
                stream.read_exact(&mut [0; 12]).await?;
                stream.write_all(&[1, 1]).await?;
                stream.read_u8().await?;
                stream.write_all(&[0; 4]).await?;
                stream.read_u8().await?;
            }
            Self::Head => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
            }
        }
        Ok(())
    }
}

/// A task that ends with this.
struct Aborted(AbortHandle);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until nothing moves any more while the agent, which has one thread, answers three times; or until so much has
/// moved that it goes on for ever.
async fn settled(world: &World, moved: &AtomicU64) {
    let begun = moved.load(Ordering::Relaxed);
    let settling = async {
        let (mut still, mut last) = (0, begun);
        while still < 3 && last - begun < FOR_EVER_BYTES {
            world.agent.json(&["status"]).await;
            let now = moved.load(Ordering::Relaxed);
            (still, last) = (if now == last { still + 1 } else { 0 }, now);
        }
    };
    tokio::time::timeout(GENEROUS, settling).await.unwrap();
}

/// KiB of the agent, as the kernel calls them.
fn memory(world: &World, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.agent.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Measures every case, and demands that none costs more.
async fn at_most(kib: u64, cases: &[Case]) {
    let mut above = Vec::new();
    for case in cases {
        let cost = case.cost().await;
        if cost > kib {
            above.push((case.what, cost));
        }
    }
    assert_eq!(above, [], "KiB for each tunnel, where at most {kib} are promised");
}

/// What a viewer says to come in, all at once.
const VIEWER: &[u8] = b"RFB 003.008\n\x01\x00";
/// 4 by 3 pixels of 32 bits, named "panel".
const SCREEN: &[u8] = b"\0\x04\0\x03\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0\0\0\0\x05panel";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
/// An answer whose body ends with its connection.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const CHANGE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// Bytes that say nothing.
const NOISE: [u8; 16 * 1024] = [b'a'; 16 * 1024];

/// More than all windows and sockets of all tunnels together.
const FOR_EVER_BYTES: u64 = 256 * 1024 * 1024;
/// Tunnels that are measured.
const TUNNELS: usize = 16;
/// Tunnels on one connection: as many as can fill their own windows before they fill the connection's.
const EACH: usize = 8;
/// KiB of an idle tunnel.
const IDLE_KIB: u64 = 64;
/// KiB of an idle tunnel of pages that has carried a large answer: with what is left of the buffer for reading it.
const RESTING_KIB: u64 = 160;
/// KiB of a tunnel that is full towards the client: one read, and a message of the largest size.
const HELD_KIB: u64 = 256;
/// KiB of a tunnel that is full towards the machine: a window of 256 KiB in packets of any size.
const WINDOW_KIB: u64 = 1280;

fn after(first: &[u8], more: &[u8]) -> Vec<u8> {
    [first, more].concat()
}

/// A length of 4 GiB behind what announces it.
fn huge(first: &[u8]) -> Vec<u8> {
    after(first, &u32::MAX.to_be_bytes())
}

/// An answer with a body of so many bytes.
fn body(bytes: usize) -> Vec<u8> {
    after(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes(), &vec![b'b'; bytes])
}

/// The frame of 2^63 bytes.
fn long(first: u8, masked: u8) -> Vec<u8> {
    after(&[first, masked | 127], &(u64::MAX / 2).to_be_bytes())
}

#[tokio::test]
async fn an_idle_tunnel_holds_less_than_64_kib() {
    let picture = after(SCREEN, &vec![0; 4 << 20]);
    let cases = [
        Case::idle("idle", Kind::Vpn, b"hello", b"hello"),
        Case::idle("idle", Kind::Vnc, b"", SCREEN),
        Case::idle("idle after pictures of 4 MiB", Kind::Vnc, b"", &picture),
        Case::idle("idle, nothing asked", Kind::Http, b"", b""),
        Case::idle("idle after a small answer", Kind::Http, GET, &body(10)),
        Case::idle("idle", Kind::Websocket, b"", CHANGE),
    ];
    at_most(IDLE_KIB, &cases).await;
    at_most(RESTING_KIB, &[Case::idle("idle after an answer of 4 MiB", Kind::Http, GET, &body(4 << 20))])
        .await;
}

#[tokio::test]
async fn what_a_screen_makes_the_agent_hold_is_bounded_whatever_viewer_and_machine_send() {
    // A clipboard of the largest size that passes, and its last byte never comes.
    let clipboard = after(b"\x06\0\0\0\0\x01\0\0", &vec![b'c'; 65_535]);
    let rectangle = b"\0\0\xff\xff\0\0\0\0\xff\xff\xff\xff\0\0\0\0".repeat(1024);
    let from_machine = after(SCREEN, &huge(b"\x03\0\0\0"));
    let cases = [
        Case::new("the viewer reads nothing", Kind::Vnc, b"", SCREEN).machine_repeats(&NOISE),
        Case::new("rectangles of 65,535 by 65,535", Kind::Vnc, b"", SCREEN).machine_repeats(&rectangle),
        Case::new("a clipboard of 4 GiB from the machine", Kind::Vnc, b"", &from_machine)
            .machine_repeats(&NOISE),
        Case::new("a name of 4 GiB", Kind::Vnc, b"", &huge(&SCREEN[..20])).machine_repeats(&NOISE).refused(),
        Case::new("a clipboard of 4 GiB", Kind::Vnc, &huge(b"\x06\0\0\0"), SCREEN)
            .client_repeats(&NOISE)
            .refused(),
        Case::new("a clipboard of 64 KiB but for one byte", Kind::Vnc, &clipboard, SCREEN),
        Case::new("65,535 encodings", Kind::Vnc, b"\x02\0\xff\xff", SCREEN).client_repeats(&NOISE).refused(),
        // What the gates are compared with.
        Case::new("the client reads nothing", Kind::Vpn, b"hello", b"hello").machine_repeats(&NOISE),
    ];
    at_most(HELD_KIB, &cases).await;
}

#[tokio::test]
async fn what_pages_make_the_agent_hold_is_bounded_whatever_client_and_machine_send() {
    let lines = b"A: b\r\n".repeat(2048);
    let head = |more: &[u8]| after(b"GET / HTTP/1.1\r\nHost: a\r\n", more);
    let unfinished = head(&after(b"A: ", &NOISE[..16 * 1024 - 64]));
    let chunked = |more: &[u8]| after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", more);
    let cases = [
        Case::new("the client reads nothing", Kind::Http, GET, OK).machine_repeats(&NOISE),
        Case::new("a client's line without end", Kind::Http, &head(b"A: "), b"")
            .client_repeats(&NOISE)
            .refused(),
        Case::new("a client's lines without end", Kind::Http, &head(b""), b"")
            .client_repeats(&lines)
            .refused(),
        Case::new("a client's head of 16 KiB without its end", Kind::Http, &unfinished, b""),
        Case::new("a machine's line without end", Kind::Http, GET, &OK[..17]).machine_repeats(&NOISE),
        Case::new("a machine's lines without end", Kind::Http, GET, &OK[..17]).machine_repeats(&lines),
        Case::new("a chunk's extension without end", Kind::Http, GET, &chunked(b"1;"))
            .machine_repeats(&NOISE)
            .refused(),
        Case::new("trailers without end", Kind::Http, GET, &chunked(b"0\r\n"))
            .machine_repeats(&lines)
            .refused(),
        Case::new("chunks of one byte", Kind::Http, GET, &chunked(b""))
            .machine_repeats(&b"1\r\na\r\n".repeat(2048)),
    ];
    at_most(HELD_KIB, &cases).await;
}

#[tokio::test]
async fn what_a_websocket_makes_the_agent_hold_is_bounded_whatever_both_sides_send() {
    let machine = |frame: &[u8]| after(CHANGE, frame);
    let (frame, fragment) = ([0x82, 126, 0x40, 0], [0, 1, b'a'].repeat(4096));
    let cases = [
        Case::new("the client reads nothing", Kind::Websocket, b"", &machine(&frame))
            .machine_repeats(&after(&NOISE, &frame)),
        Case::new("a machine's fragments", Kind::Websocket, b"", &machine(&[2, 1, 1]))
            .machine_repeats(&fragment),
        Case::new("a machine's frame of 2^63 bytes", Kind::Websocket, b"", &machine(&long(0x82, 0)))
            .machine_repeats(&NOISE)
            .refused(),
        Case::new("a client's frame of 2^63 bytes", Kind::Websocket, &long(0x82, 0x80), CHANGE)
            .client_repeats(&NOISE)
            .refused(),
    ];
    at_most(HELD_KIB, &cases).await;
}

#[tokio::test]
async fn a_machine_that_reads_nothing_makes_the_agent_hold_one_window_for_each_tunnel() {
    let (key, chunk) = ([4, 1, 0, 0, 0, 0, 0, 65].repeat(2048), b"1\r\na\r\n".repeat(2048));
    // Frames of a client have a mask, here one that changes nothing (RFC 6455, section 5.2).
    let frame =
        |first: u8, more: &[u8]| after(&[first, 0x80 | u8::try_from(more.len()).unwrap(), 0, 0, 0, 0], more);
    let (first, fragment) = (frame(2, b"a"), frame(0, b"a").repeat(2048));
    let cases = [
        Case::new("bytes", Kind::Vpn, b"hello", b"hello").client_repeats(&NOISE),
        Case::new("keys", Kind::Vnc, b"", SCREEN).client_repeats(&key),
        Case::new("a body", Kind::Http, &after(POST, b"fffffff\r\n"), b"").client_repeats(&NOISE),
        Case::new("chunks of one byte", Kind::Http, POST, b"").client_repeats(&chunk),
        Case::new("messages", Kind::Websocket, b"", CHANGE)
            .client_repeats(&frame(0x82, &NOISE[..125]).repeat(64)),
        Case::new("fragments of one byte", Kind::Websocket, &first, CHANGE).client_repeats(&fragment),
        Case::new("pings", Kind::Websocket, b"", CHANGE).client_repeats(&frame(0x89, b"").repeat(2048)),
    ];
    at_most(WINDOW_KIB, &cases).await;
}
