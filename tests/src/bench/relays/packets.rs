//! The relay alone, on loopback: packets of 1200 bytes from one end to the other, and the processor time of whoever passes them on.
//!
//! What is counted is what has arrived. Both ends run on the same machine and want time as well, so the rate is per second of the
//! relay's own processor time: what one core would do that had nothing else to do.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postern_protocol::time::UnixTime;
use postern_protocol::wire::relay::{End, HANDLE_BYTES, Leg, MeetingId, Notice, RelayKey, Ticket};
use postern_transport::quic::{BatchSocket, Mark, Settings};

use crate::bench::child::Program;
use crate::bench::link::{Link, Side};
use crate::bench::own_command;
use crate::bench::peers::address_in;
use crate::bench::proc::cpu_seconds;
use crate::bench::report::{Column, Grid};
use crate::world::Mishap;

/// How packets come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) column: &'static str,
    pub(super) title: &'static str,
    burst: usize,
}

/// Ten at a time is how quinn sends while its window is open; one at a time is the worst that there is.
pub(super) const LOADS: [Load; 2] = [
    Load { column: "bursts", title: "bursts of ten", burst: 10 },
    Load { column: "singles", title: "packets by themselves", burst: 1 },
];

/// Introduces both ends to the one in between, and yields what the near one begins its packets with.
type Begin<'a> = &'a (dyn Fn(&UdpSocket, &UdpSocket) -> Result<Vec<u8>, Mishap> + Sync);

/// Measures both in rounds.
///
/// # Errors
/// When one does not come up, or nothing arrives.
pub(super) fn measure(link: &Link, dir: &Path, cloud: &Path, rounds: u32) -> Result<Grid, Mishap> {
    let title = "Thousands of packets that are passed on in a second of one core";
    let columns = LOADS.map(|load| Column { id: load.column, title: load.title });
    let mut grid = Grid::new("packets", title, Some(ONE_BY_ONE), &columns);
    let key = RelayKey::new([7; 32]);
    let (plain, plain_at) = plain(link)?;
    let (relay, relay_at) = relay(link, dir, cloud)?;
    for round in 0..rounds {
        for load in LOADS {
            let hello = |_: &UdpSocket, _: &UdpSocket| Ok(Vec::new());
            let rate = pass(link, (plain.pid(), plain_at), load, &hello)?;
            grid.add(ONE_BY_ONE, load.column, rate);
            let bind = |near: &UdpSocket, far: &UdpSocket| {
                let meeting = MeetingId([u8::try_from(round).unwrap_or(u8::MAX); 16]);
                let leg = |end| key.leg(Ticket { meeting, end, until: UnixTime::MAX });
                let stamp = u64::try_from(load.burst).unwrap_or(1);
                let _of_the_far_end = bound(far, &leg(End::Agent), stamp)?;
                bound(near, &leg(End::Client), stamp)
            };
            grid.add(POSTERN, load.column, pass(link, (relay.pid(), relay_at), load, &bind)?);
        }
    }
    Ok(grid)
}

/// Sends for a while and yields thousands of packets that have arrived for each second of processor time of `pid`.
fn pass(link: &Link, (pid, at): (u32, SocketAddr), load: Load, begin: Begin<'_>) -> Result<f64, Mishap> {
    link.within(Side::Device, || {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(at)?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok::<_, std::io::Error>(socket)
        };
        let (near, far) = (socket()?, socket()?);
        for socket in [&far, &near] {
            socket.send(&[1; HANDLE_BYTES + 1])?;
        }
        let handle = begin(&near, &far)?;
        let before = cpu_seconds(&[pid]);
        let is_over = AtomicBool::new(false);
        let arrived = std::thread::scope(|scope| {
            let receiving = scope.spawn(|| receive(far, &is_over));
            let sent = send(near, &handle, load.burst, at);
            std::thread::sleep(Duration::from_millis(100));
            is_over.store(true, Ordering::Relaxed);
            let arrived = receiving.join();
            sent?;
            arrived.unwrap_or_else(|_| Err(Mishap::unexpected("the far end", "a panic", "packets")))
        })?;
        let cost = cpu_seconds(&[pid]) - before;
        if arrived < 1000 || cost <= 0.0 {
            return Err(Mishap::unexpected(load.title, format!("{arrived} packets, {cost} s"), "more"));
        }
        Ok(f64::from(arrived) / cost / 1e3)
    })
}

fn send(socket: UdpSocket, handle: &[u8], burst: usize, to: SocketAddr) -> Result<(), Mishap> {
    let mut packet = vec![5; HANDLE_BYTES + PAYLOAD];
    for (to, from) in packet.iter_mut().zip(handle) {
        *to = *from;
    }
    let (bytes, stride) = (packet.repeat(burst), packet.len());
    batched(socket, async |socket| {
        let end = Instant::now() + SPAN;
        while Instant::now() < end {
            if socket.try_send(to, &bytes, stride, Mark::default()).is_err() {
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
            // What cannot be passed on is not sent, or this end takes all the time.
            std::thread::sleep(Duration::from_micros(if burst == 1 { 1 } else { 10 }));
        }
        Ok(())
    })
}

fn receive(socket: UdpSocket, is_over: &AtomicBool) -> Result<u32, Mishap> {
    batched(socket, async |socket| {
        let (mut arrived, mut batch) = (0, socket.batch());
        while !is_over.load(Ordering::Relaxed) {
            let received = tokio::time::timeout(Duration::from_millis(20), socket.recv(&mut batch)).await;
            if let Ok(received) = received {
                received?;
                for message in batch.messages() {
                    arrived += u32::try_from(message.bytes.len().div_ceil(message.stride)).unwrap_or(0);
                }
            }
        }
        Ok(arrived)
    })
}

fn batched<T>(
    socket: UdpSocket,
    work: impl AsyncFnOnce(BatchSocket) -> Result<T, Mishap>,
) -> Result<T, Mishap> {
    let at = socket.local_addr()?;
    drop(socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = BatchSocket::bind(at, &Settings::hub())
            .map_err(|fault| Mishap::unexpected("a socket", fault, "an open one"))?;
        work(socket).await
    })
}

/// Binds a leg and yields its handle.
fn bound(socket: &UdpSocket, leg: &Leg, stamp: u64) -> Result<Vec<u8>, Mishap> {
    let mut answer = [0; 128];
    for attempt in 0..10 {
        socket.send(&Notice::bind(leg, stamp + 100 * attempt))?;
        let Ok(length) = socket.recv(&mut answer) else { continue };
        let notice = answer.get(HANDLE_BYTES..length).unwrap_or_default();
        if let Ok(Notice::Bound { handle, .. }) = Notice::read(notice, |_| leg.key.clone()) {
            return Ok(handle.as_bytes().to_vec());
        }
    }
    Err(Mishap::unexpected("the relay", "silence", "a bound leg"))
}

fn relay(link: &Link, dir: &Path, cloud: &Path) -> Result<(Program, SocketAddr), Mishap> {
    let path = dir.join("packets.key");
    // That of all sevens, so that this end can make tickets.
    fs::write(&path, format!("{}\n", "07".repeat(32)))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, mode)?;
    let mut command = link.command(Side::Device, cloud.as_os_str());
    command.args(["relay", "--listen", "127.0.0.1:0", "--key"]).arg(&path);
    let program = Program::start("the relay", command)?;
    let at = address_in(&program.line("relaying on")?)?;
    Ok((program, at))
}

fn plain(link: &Link) -> Result<(Program, SocketAddr), Mishap> {
    let mut command = own_command(link, Side::Device)?;
    command.args(["forward", "127.0.0.1:0"]).arg(OsStr::new("--"));
    let program = Program::start("the plain forwarder", command)?;
    let at = address_in(&program.line("listening on")?)?;
    Ok((program, at))
}

/// Passes packets on between the last two callers that have begun, one by one.
///
/// # Errors
/// When its socket breaks.
pub(in crate::bench) fn forward(listen: SocketAddr) -> Result<(), Mishap> {
    let socket = UdpSocket::bind(listen)?;
    println!("listening on {}", socket.local_addr()?);
    let (mut block, mut ends) = ([0; 2048], Vec::<SocketAddr>::new());
    loop {
        // An error is that of an end which has gone.
        let Ok((length, from)) = socket.recv_from(&mut block) else { continue };
        if !ends.contains(&from) {
            ends.push(from);
            if ends.len() > 2 {
                ends.remove(0);
            }
            continue;
        }
        if let Some(to) = ends.iter().find(|end| **end != from) {
            let _lost = socket.send_to(block.get(..length).unwrap_or_default(), to);
        }
    }
}

/// The product's relay.
pub(super) const POSTERN: &str = "postern-cloud relay";
/// What a forwarder is without batches.
pub(super) const ONE_BY_ONE: &str = "one system call per packet";
const SPAN: Duration = Duration::from_secs(1);
const PAYLOAD: usize = 1200;
