//! The benchmark program: Postern beside its peers, in the same rounds, as ratios.
//!
//! 1. [`supervise`] runs the measurement as a child and removes whatever it leaves behind.
//! 2. [`link`] is the wire, [`machine`] what is at its far end, [`load`] what uses it at the near end.
//! 3. [`product`] brings up real agents and the real client; [`quinn_copy`] and [`ssh`] are what they are compared with.
//! 4. [`rounds`] compares throughput, processor time, latency and set-up; [`narrow`] a ping beside a bulk transfer.
//! 5. [`gates`] compares the gates with plain bytes and with the proxies that people put before machines.
//! 6. [`vpn`] compares the VPN through an adapter with those that people use.
//! 7. [`relays`] compares ways through somebody in between.
//! 8. [`decisions`], [`policy_changes`], [`cuts`] and [`memory`] measure the product alone.
//! 9. [`floods`] measures a tunnel beside floods.
//! 10. [`scale`] measures the cloud alone, on 100,000 devices.
//! 11. [`crowd`] measures one hub with ten thousand agents.
//! 12. [`report`] turns samples into tables, JSON and a verdict for each target of the design.
//!
//! Nothing leaves the machine: all traffic is on loopback or in namespaces that the run has made. Deliberately
//! absent: limits that fail a build. A machine with two noisy cores decides nothing; people read the ratios.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

pub mod child;
pub mod crowd;
pub mod cuts;
pub mod decisions;
pub mod floods;
pub mod gates;
pub mod hub;
pub mod link;
pub mod load;
pub mod machine;
pub mod memory;
pub mod narrow;
pub mod peers;
pub mod policy;
pub mod policy_changes;
pub mod proc;
pub mod product;
pub mod quinn_copy;
pub mod relays;
pub mod report;
pub mod rounds;
pub mod scale;
pub mod ssh;
pub mod stats;
pub mod supervise;
pub mod vpn;

use self::link::{Link, Side};
use self::product::Site;
use self::quinn_copy::Flavour;
use self::report::{Bound, Column, Grid, Report};
use self::rounds::Effort;
use self::scale::fleet;
use crate::world::Mishap;

/// Measures Postern beside its peers.
#[derive(Debug, Parser)]
#[command(name = "postern-bench", version)]
pub struct Args {
    /// Fewer and shorter rounds, to see whether everything works
    #[arg(long)]
    quick: bool,
    /// Writes all samples to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Rounds (three times as many where peers are compared); at least 5 for numbers that are shown to others
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// How many agents one hub has, where that is measured; 10,000 if not given
    #[arg(long, value_name = "N")]
    agents: Option<usize>,
    /// An agent of another build, for its memory
    #[arg(long, value_name = "FILE")]
    small_agent: Option<PathBuf>,
    /// A role of the program's own child processes
    #[command(subcommand)]
    role: Option<Role>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// One decision.
    Decide,
    /// A large policy, in memory and in an agent.
    Activation,
    /// A revocation with 200 live tunnels.
    Revocation,
    /// Resident memory.
    Memory,
    /// Throughput, processor time, latency and set-up beside the peers.
    Ways,
    /// A ping beside a bulk transfer on a narrow link.
    Narrow,
    /// What the gates cost.
    Gates,
    /// The VPN through an adapter beside its peers.
    Vpn,
    /// Relays in the middle, beside what people put there.
    Relays,
    /// Floods beside a tunnel.
    Floods,
    /// The cloud on a large fleet.
    Scale,
    /// One hub with very many agents.
    Hub,
}

impl Part {
    const fn title(self) -> &'static str {
        match self {
            Self::Decide => "decisions",
            Self::Activation => "the activation of a large policy",
            Self::Revocation => "a revocation",
            Self::Memory => "memory",
            Self::Ways => "the ways to the machine",
            Self::Narrow => "a narrow link",
            Self::Gates => "the gates",
            Self::Vpn => "VPNs",
            Self::Relays => "relays",
            Self::Floods => "floods",
            Self::Scale => "a large fleet in the cloud",
            Self::Hub => "one hub with very many agents",
        }
    }
}

/// A role of a child process.
#[derive(Debug, Subcommand)]
enum Role {
    /// The far end of a raw copy over quinn
    #[command(hide = true)]
    QuinnServer {
        listen: SocketAddr,
        target: SocketAddr,
        #[arg(long)]
        defaults: bool,
    },
    /// The near end of a raw copy over quinn
    #[command(hide = true)]
    QuinnClient {
        server: SocketAddr,
        #[arg(long)]
        defaults: bool,
    },
    /// A machine that keeps many connections
    #[command(hide = true)]
    KeepAll { listen: SocketAddr },
    /// Passes packets on between its first two callers, one by one
    #[command(hide = true)]
    Forward { listen: SocketAddr },
    /// A step of the measurement of a large fleet
    #[command(hide = true)]
    Scale { step: scale::Step, state: PathBuf, customers: u32, rounds: u32 },
}

/// Runs the program.
pub fn main(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => return failed(&fault),
    };
    let result = match (&args.role, std::env::var_os(supervise::DIR)) {
        (Some(role), _) => {
            end_with_input();
            runtime.block_on(role.run()).map(|()| ExitCode::SUCCESS)
        }
        (None, Some(dir)) => measure(args, Path::new(&dir)).map(|()| ExitCode::SUCCESS),
        (None, None) => runtime.block_on(supervise::supervise(std::env::args_os().skip(1))),
    };
    result.unwrap_or_else(|fault| failed(&fault))
}

fn failed(fault: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("postern-bench: {fault}");
    ExitCode::FAILURE
}

/// A child of the benchmark ends when whoever holds its input does.
fn end_with_input() {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ended = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
}

impl Role {
    async fn run(&self) -> Result<(), Mishap> {
        let flavour = |defaults: bool| if defaults { Flavour::Defaults } else { Flavour::Session };
        match self {
            Self::QuinnServer { listen, target, defaults } => {
                quinn_copy::serve(*listen, *target, flavour(*defaults)).await
            }
            Self::QuinnClient { server, defaults } => quinn_copy::dial(*server, flavour(*defaults)).await,
            Self::KeepAll { listen } => vpn::keep_all(*listen),
            Self::Forward { listen } => relays::forward(*listen),
            Self::Scale { step, state, customers, rounds } => step.run(state, *customers, *rounds),
        }
    }
}

/// Everything that one run needs.
struct Bench<'a> {
    args: &'a Args,
    dir: &'a Path,
    link: Link,
    site: Site,
    machine: u16,
    report: Report,
}

fn measure(args: &Args, dir: &Path) -> Result<(), Mishap> {
    // A supervisor that is killed cannot end anybody.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .map_err(|fault| Mishap::io("tying the run to its supervisor")(fault.into()))?;
    let link = Link::make(&supervise::tag(dir))?;
    if link.models() == [link::Model::Loopback] {
        eprintln!("NOTE: not root, so everything runs on loopback: packets of 64 kB and no wire in between.");
    }
    let machine = machine::serve(&link, Side::Device)?;
    let site = Site::start(&link, dir, machine)?;
    let mut bench = Bench { args, dir, link, site, machine, report: Report::default() };
    let outcome = bench.run();
    // What was measured before something failed is worth reading.
    print!("{}", bench.report);
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", bench.report.json());
        std::fs::write(path, text).map_err(Mishap::io(format!("writing `{}`", path.display())))?;
    }
    std::io::stdout().flush()?;
    outcome
}

impl Bench<'_> {
    fn run(&mut self) -> Result<(), Mishap> {
        for part in Part::value_variants() {
            if self.args.only.is_empty() || self.args.only.contains(part) {
                eprintln!("measuring {}", part.title());
                match part {
                    Part::Decide => self.decide()?,
                    Part::Activation => self.activation()?,
                    Part::Revocation => self.revocation()?,
                    Part::Memory => self.memory()?,
                    Part::Ways => self.ways()?,
                    Part::Narrow => self.narrow()?,
                    Part::Gates => {
                        gates::measure(&self.link, &self.site, self.dir, self.effort(), &mut self.report)?
                    }
                    Part::Vpn => {
                        let (agents, rounds) = (self.agents(), self.rounds());
                        let place = (&self.link, &self.site, self.dir);
                        vpn::measure(place, &agents, rounds, &mut self.report)?;
                    }
                    Part::Relays => {
                        let place = (&self.link, &self.site, self.dir, self.machine);
                        relays::measure(place, (self.effort(), self.args.quick), &mut self.report)?;
                    }
                    Part::Floods => {
                        let place = (&self.link, &self.site, self.dir);
                        floods::measure(place, self.effort(), &mut self.report)?;
                    }
                    Part::Scale => {
                        let customers = fleet::CUSTOMERS / if self.args.quick { 10 } else { 1 };
                        let rounds = self.rounds();
                        scale::measure(&mut self.report, self.dir, customers, rounds)?;
                    }
                    Part::Hub => {
                        let agents =
                            self.args.agents.unwrap_or(crowd::AGENTS / if self.args.quick { 20 } else { 1 });
                        let rounds = self.rounds();
                        crowd::measure(&mut self.report, self.site.shelf(), self.dir, agents, rounds)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn decide(&mut self) -> Result<(), Mishap> {
        let grid = decisions::decisions(self.rounds())?;
        let seen = |row| grid.median(row, "p50");
        self.report.judge("P6", "decide, resolved, p50 ns", seen("resolved"), Bound::AtMost(20.0));
        self.report.judge(
            "P6",
            "decide, from id and name, p50 ns",
            seen("from id and name"),
            Bound::AtMost(100.0),
        );
        self.report.grids.push(grid);
        Ok(())
    }

    fn activation(&mut self) -> Result<(), Mishap> {
        let pure = decisions::activation(4 * self.rounds())?;
        let mut device = self.site.device("activation", self.dir)?;
        let real = policy_changes::large_policy(&self.site, &mut device, self.rounds())?;
        let report = &mut self.report;
        report.judge("P7", "verify, decode, index, ms", pure.median("postern", "both"), Bound::AtMost(50.0));
        let push = real.median("postern", "push");
        report.judge("P7", "with transfer, store and acknowledgement, ms", push, Bound::AtMost(50.0));
        report.judge("P7", "extra memory, MiB", real.median("postern", "memory"), Bound::AtMost(8.0));
        report.judge("P10", "cold start, ms", real.median("postern", "start"), Bound::AtMost(150.0));
        report.grids.extend([pure, real]);
        Ok(())
    }

    fn revocation(&mut self) -> Result<(), Mishap> {
        let place = (&self.link, &self.site, self.dir, self.machine);
        cuts::measure(
            place,
            self.args.rounds.unwrap_or(if self.args.quick { 1 } else { 3 }),
            &mut self.report,
        )
    }

    fn memory(&mut self) -> Result<(), Mishap> {
        let mut grid = memory::grid();
        for (label, executable) in self.agents() {
            let build = (label, executable.as_path());
            memory::measure(&self.link, &self.site, self.dir, build, self.rounds(), &mut grid)?;
            for (column, what, bound) in [
                ("idle", "idle MiB", 8.0),
                ("connection", "KiB per idle connection", 200.0),
                ("tunnel", "KiB per idle tunnel", 64.0),
                ("busy", "highest MiB, 16 streams", 16.0),
            ] {
                let seen = grid.median(label, column);
                self.report.judge("P9", format!("{label} build: {what}"), seen, Bound::AtMost(bound));
            }
        }
        self.report.grids.push(grid);
        Ok(())
    }

    fn ways(&mut self) -> Result<(), Mishap> {
        let effort = self.effort();
        let ways = peers::Ways::open(&self.link, &self.site, self.dir, self.machine)?;
        for (model, grid) in rounds::compare(&self.link, &ways.peers, peers::QUINN, &effort)? {
            peers::judge(&mut self.report, model.word(), &grid);
            self.report.grids.push(grid);
        }
        let mut grid = Grid::new("crowd", "Connections from eight sides at once", Some(peers::QUINN), &CROWD);
        for _ in 0..effort.rounds {
            for peer in &ways.peers {
                let samples = rounds::crowd(&self.link, peer.at, 8, effort.set_ups / 8)?;
                for (column, q) in [("p50", 0.5), ("p99", 0.99)] {
                    if let Some(value) = stats::quantile(&samples, q) {
                        grid.add(peer.name, column, value / 1e3);
                    }
                }
            }
        }
        let seen = grid.median(peers::POSTERN, "p50");
        self.report.judge("P4", "set-up under load, row on disk, p50 ms", seen, Bound::AtMost(2.0));
        self.report.grids.push(grid);
        Ok(())
    }

    fn narrow(&mut self) -> Result<(), Mishap> {
        let device = self.site.device("narrow", self.dir)?;
        let ways = peers::Ways::open_narrow(&self.link, &self.site, &device, self.machine)?;
        let title = "64 bytes beside an upload: 10 Mbit/s, 60 ms, queue of 250 kB";
        let mut grid = Grid::new("narrow", title, Some(peers::DEFAULTS), &NARROW);
        let pings = if self.args.quick { 20 } else { 50 };
        for _ in 0..self.rounds() {
            for peer in &ways.peers {
                let samples = narrow::ping_under_bulk(&self.link, peer.at, pings)?;
                for (column, q) in [("p50", 0.5), ("p99", 0.99), ("highest", 1.0)] {
                    if let Some(value) = stats::quantile(&samples, q) {
                        grid.add(peer.name, column, value / 1e3);
                    }
                }
            }
        }
        let seen = grid.median(peers::POSTERN, "p50");
        self.report.judge("P17", "64 bytes beside an upload, p50 ms", seen, Bound::AtMost(110.0));
        self.report.grids.push(grid);
        Ok(())
    }

    /// Builds of the agent whose memory is measured.
    fn agents(&self) -> Vec<(&'static str, PathBuf)> {
        let native = self.site.shelf().path(crate::programs::Program::Agent);
        let small = self.args.small_agent.clone();
        std::iter::once(("this", native)).chain(small.map(|path| ("small", path))).collect()
    }

    fn rounds(&self) -> u32 {
        self.args.rounds.unwrap_or(if self.args.quick { 2 } else { 5 })
    }

    fn effort(&self) -> Effort {
        // Many short rounds: what disturbs the machine then disturbs all peers, and the median ratio does not care.
        let rounds = 3 * self.rounds();
        if self.args.quick {
            Effort { rounds, span: Duration::from_millis(200), pings: 300, set_ups: 24 }
        } else {
            Effort { rounds, span: Duration::from_millis(500), pings: 1000, set_ups: 64 }
        }
    }
}

const CROWD: [Column; 2] = [Column { id: "p50", title: "p50 ms" }, Column { id: "p99", title: "p99 ms" }];
const NARROW: [Column; 3] = [
    Column { id: "p50", title: "p50 ms" },
    Column { id: "p99", title: "p99 ms" },
    Column { id: "highest", title: "highest ms" },
];

/// The executable of the benchmark's own roles.
fn own_executable() -> Result<PathBuf, Mishap> {
    std::env::current_exe().map_err(Mishap::io("finding the executable"))
}

/// The program's own roles are commands like any other.
fn own_command(link: &Link, side: link::Side) -> Result<std::process::Command, Mishap> {
    Ok(link.command(side, OsStr::new(&own_executable()?)))
}
