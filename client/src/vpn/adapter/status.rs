//! What a running VPN tells the other commands of its user, and what they ask: `postern vpn --status` and `--down`.
//!
//! One word a line on a socket in the user's own [`Place`], and one JSON value back. Both ends ask the kernel who the other is.
//! A socket that nobody answers at was left behind by a program that was killed; whoever finds it removes it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::alias::{Plan, Row, Way};
use super::lanes::Lanes;
use super::ledger::{Account, FlowAccount, Ledger, Refusal};
use super::place::Place;
use super::tally::{DropReport, PacketReport, Tally};
use crate::args::DeviceRef;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

/// A running VPN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// The device.
    pub(super) device: String,
    /// Its services that are open.
    pub(super) services: Vec<String>,
    /// The adapter's name on this computer.
    pub(super) interface: String,
    /// The program.
    pub(super) pid: u32,
    /// Since when, in seconds.
    pub(super) secs: u64,
    /// What leads where.
    pub(super) networks: Vec<NetworkReport>,
    /// What became of packets, where they go as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) packets: Option<PacketReport>,
    /// What was done with flows.
    #[serde(flatten)]
    pub(super) account: Account,
}

/// One network of machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NetworkReport {
    /// At the site.
    pub(super) real: IpNet,
    /// On this computer; none where it cannot be reached.
    pub(super) here: Vec<IpNet>,
    /// Whether that is an alias.
    pub(super) alias: bool,
    /// What may be carried there.
    pub(super) carries: Vec<String>,
    /// Why it cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

impl NetworkReport {
    /// All networks of a plan.
    pub(super) fn of(plan: &Plan, lanes: &Lanes) -> Vec<Self> {
        let one = |Row { real, way }: &Row| {
            let (here, alias, why) = match way {
                Way::Own(nets) => (nets.clone(), false, None),
                Way::Alias(alias) => (vec![*alias], true, None),
                Way::Nothing(fault) => (Vec::new(), false, Some(fault.to_string())),
            };
            Self { real: *real, here, alias, carries: lanes.carried_to(*real), why }
        };
        plan.rows().iter().map(one).collect()
    }

    /// The columns for people.
    pub(super) fn columns(&self) -> Vec<String> {
        let here: Vec<String> = self.here.iter().map(short).collect();
        let here = self.why.as_ref().map_or_else(|| here.join(" "), |why| format!("not here: {why}"));
        vec![short(&self.real), here, self.carries.join(", ")]
    }
}

/// The columns of networks.
pub(super) const NETWORKS: [&str; 3] = ["MACHINES", "HERE", "CARRIES"];

/// What is told of this VPN while it runs.
#[derive(Debug)]
pub(super) struct Shown {
    /// The device.
    pub(super) device: String,
    /// The adapter.
    pub(super) interface: String,
    /// Flows and refusals.
    pub(super) ledger: Arc<Ledger>,
    /// Packets; none where there are flows.
    pub(super) tally: Option<Arc<Tally>>,
    /// Services.
    pub(super) lanes: Lanes,
    /// What leads where.
    pub(super) networks: Mutex<Vec<NetworkReport>>,
    /// Since when.
    pub(super) since: Instant,
    /// Told when the VPN shall end.
    pub(super) down: Notify,
}

impl Shown {
    fn report(&self) -> Report {
        Report {
            device: self.device.clone(),
            services: self.lanes.names(),
            interface: self.interface.clone(),
            pid: std::process::id(),
            secs: self.since.elapsed().as_secs(),
            networks: self.networks.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            packets: self.tally.as_ref().map(|tally| tally.report()),
            account: self.ledger.account(),
        }
    }
}

/// The socket, until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    path: PathBuf,
    task: AbortHandle,
}

impl Server {
    /// Tells about a VPN from now on.
    ///
    /// # Errors
    /// When there can be no socket.
    pub(super) fn start(place: &Place, shown: Arc<Shown>) -> Result<Self, Problem> {
        let path = place.file(&format!("vpn-{}.sock", std::process::id()));
        let _left_behind = fs::remove_file(&path);
        let failed = |error: io::Error| Problem::no_adapter_socket(&path, &error);
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    // One after the other: each is over at once.
                    Ok((socket, _)) => drop(tokio::time::timeout(WITHIN, answer(socket, &shown)).await),
                    // Out of file descriptors: they come back when a connection ends.
                    Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
                }
            }
        });
        Ok(Self { path, task: task.abort_handle() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _gone = fs::remove_file(&self.path);
    }
}

async fn answer(socket: UnixStream, shown: &Shown) -> io::Result<()> {
    if !is_own(&socket)? {
        return Ok(());
    }
    let mut socket = BufReader::new(socket.take_all());
    let mut word = String::new();
    socket.read_line(&mut word).await?;
    let ends = word.trim() == DOWN;
    let report = serde_json::to_vec(&shown.report())?;
    let mut socket = socket.into_inner().into_inner();
    socket.write_all(&report).await?;
    socket.shutdown().await?;
    if ends {
        shown.down.notify_one();
    }
    Ok(())
}

/// Whoever asks sends a word and no more.
trait Bounded: Sized {
    fn take_all(self) -> tokio::io::Take<Self>;
}

impl Bounded for UnixStream {
    fn take_all(self) -> tokio::io::Take<Self> {
        self.take(WORD_BYTES)
    }
}

/// Shows all VPNs of this user.
pub(super) async fn show(place: &Place, screen: &Screen) -> Result<Exit, Problem> {
    let mut reports = Vec::new();
    for path in place.vpns() {
        reports.extend(ask(&path, STATUS).await);
    }
    screen.answer(&Reports { vpns: &reports });
    if reports.is_empty() {
        screen.note("no VPN is up");
    }
    reports.iter().for_each(|report| tell(report, screen));
    Ok(Exit::Done)
}

/// Ends the VPNs of a device.
pub(super) async fn end(device: &DeviceRef, place: &Place, screen: &Screen) -> Result<Exit, Problem> {
    let mut ended = Vec::new();
    for path in place.vpns() {
        let report = ask(&path, STATUS).await;
        if report.is_some_and(|report| report.device == device.name.as_str()) {
            ended.extend(ask(&path, DOWN).await);
        }
    }
    if ended.is_empty() {
        return Err(Problem::no_such_vpn(device.name.as_str()));
    }
    screen.answer(&Reports { vpns: &ended });
    ended.iter().for_each(|report| screen.say(&format!("{}: {} is down", report.device, report.interface)));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Reports<'a> {
    vpns: &'a [Report],
}

async fn ask(path: &Path, word: &str) -> Option<Report> {
    let asking = async {
        let mut socket = match UnixStream::connect(path).await {
            Ok(socket) => socket,
            Err(error) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    let _left_behind = fs::remove_file(path);
                }
                return None;
            }
        };
        if !is_own(&socket).ok()? {
            return None;
        }
        socket.write_all(format!("{word}\n").as_bytes()).await.ok()?;
        let mut report = Vec::new();
        socket.take(REPORT_BYTES).read_to_end(&mut report).await.ok()?;
        serde_json::from_slice(&report).ok()
    };
    tokio::time::timeout(WITHIN, asking).await.ok()?
}

/// Whether the other side belongs to this user.
fn is_own(socket: &UnixStream) -> io::Result<bool> {
    Ok(socket.peer_cred()?.uid() == rustix::process::geteuid().as_raw())
}

fn tell(report: &Report, screen: &Screen) {
    let Report { device, services, interface, secs, networks, packets, account, .. } = report;
    let (sent, received) = (bytes(account.sent), bytes(account.received));
    screen.say(&format!("{device}/{} on {interface} for {secs} s", services.join("+")));
    if let Some(packets) = packets {
        return tell_packets(packets, networks, screen);
    }
    screen.say(&format!(
        "{} flows open, {} opened, {} refused; {sent} sent, {received} received",
        account.flows.len(),
        account.opened,
        account.refused
    ));
    screen.list(&NETWORKS, &networks.iter().map(NetworkReport::columns).collect::<Vec<_>>());
    let flow = |flow: &FlowAccount| {
        let place = place(&flow.protocol, flow.ip, flow.port);
        vec![place, flow.service.clone(), format!("{} s", flow.secs), bytes(flow.sent), bytes(flow.received)]
    };
    screen.list(&FLOWS, &account.flows.iter().map(flow).collect::<Vec<_>>());
    let refusal = |refusal: &Refusal| {
        let place = place(&refusal.protocol, refusal.ip, refusal.port);
        vec![place, refusal.times.to_string(), format!("{}; {}", refusal.reason, refusal.next)]
    };
    screen.list(&REFUSALS, &account.refusals.iter().map(refusal).collect::<Vec<_>>());
}

fn tell_packets(report: &PacketReport, networks: &[NetworkReport], screen: &Screen) {
    let PacketReport { sent, sent_bytes, received, received_bytes, dropped } = report;
    let (sent_bytes, received_bytes) = (bytes(*sent_bytes), bytes(*received_bytes));
    screen.say(&format!("packets: {sent} sent ({sent_bytes}), {received} received ({received_bytes})"));
    screen.list(&NETWORKS, &networks.iter().map(NetworkReport::columns).collect::<Vec<_>>());
    let row = |row: &DropReport| {
        let place = row.service.clone().unwrap_or_else(|| "here".to_owned());
        vec![place, row.times.to_string(), format!("{}; {}", row.reason, row.next)]
    };
    screen.list(&DROPS, &dropped.iter().map(row).collect::<Vec<_>>());
}

fn place(protocol: &str, ip: std::net::IpAddr, port: u16) -> String {
    if port == 0 {
        format!("{protocol} {ip}")
    } else {
        format!("{protocol} {}", std::net::SocketAddr::new(ip, port))
    }
}

/// A network; one machine without its prefix.
fn short(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", count / 1000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

const FLOWS: [&str; 5] = ["FLOW", "SERVICE", "OPEN FOR", "SENT", "RECEIVED"];
const REFUSALS: [&str; 3] = ["REFUSED", "TIMES", "WHY"];
const DROPS: [&str; 3] = ["DROPPED", "TIMES", "WHY"];
const STATUS: &str = "status";
const DOWN: &str = "down";
const WORD_BYTES: u64 = 16;
const REPORT_BYTES: u64 = 4 * 1024 * 1024;
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const WITHIN: Duration = Duration::from_secs(2);
