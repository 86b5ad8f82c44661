//! One hub and ten thousand agents: what P13 is measured on.
//!
//! 1. The state of a real hub is made with so many devices, and `postern-cloud serve` is started on it.
//! 2. Agents link, each with its own key and over its own socket ([`crate::swarm`]); resident memory is read before and after.
//! 3. `postern-cloud apply` publishes an edit that concerns all of them, again and again, and one that concerns a single one.
//! 4. Each agent sends batches of rows, chained, sealed and signed, and hears when they are durable.
//! 5. The hub is ended by SIGTERM and by SIGKILL, started again, and all come back.
//!
//! Agents and hub share the processors: times are those of both together, and the processor time of the hub is read apart.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::proc::{cpu_seconds, resident_kib};
use super::report::{Bound, Column, Grid, Report};
use super::stats::quantile;
use crate::programs::Shelf;
use crate::swarm::{Edit, Installation, Swarm, fleet};
use crate::world::{Hub, Mishap};

/// Measures a hub with so many agents.
///
/// # Errors
/// When a step fails, or an agent sees what it must not.
pub fn measure(
    report: &mut Report,
    shelf: &Shelf,
    dir: &Path,
    agents: usize,
    rounds: u32,
) -> Result<(), Mishap> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut crowd = Crowd::new(agents);
    let outcome = runtime.block_on(crowd.run(shelf, dir, rounds));
    runtime.shutdown_timeout(Duration::from_secs(1));
    crowd.judge(report);
    outcome
}

/// One measurement.
struct Crowd {
    agents: usize,
    links: Grid,
    edits: Grid,
    rows: Grid,
    ends: Grid,
}

impl Crowd {
    fn new(agents: usize) -> Self {
        Self {
            agents,
            links: Grid::new("hub_links", format!("One hub, {agents} agents: linking"), None, &LINKS),
            edits: Grid::new("hub_edits", format!("Edits beside {agents} linked agents"), None, &EDITS),
            rows: Grid::new("hub_rows", format!("Rows of {agents} trails"), None, &ROWS),
            ends: Grid::new("hub_ends", format!("A hub with {agents} agents that ends"), None, &ENDS),
        }
    }

    async fn run(&mut self, shelf: &Shelf, dir: &Path, rounds: u32) -> Result<(), Mishap> {
        raise_limit();
        let (mut hub, installation) = Installation::found(shelf, &dir.join("crowd"), self.agents).await?;
        hub.open_metrics();
        hub.serve().await?;
        let began = Instant::now();
        let before = self.process(&hub)?;
        let swarm = Swarm::start(&Arc::new(installation));
        self.linked(&swarm, "all links").await?;
        let all = self.agents;
        swarm.until("every first policy", LONG, |seen| seen.pushes.len() >= all).await?;
        let took = began.elapsed().as_secs_f64();
        // Whatever was needed for handshakes only is given back, or is not.
        tokio::time::sleep(QUIET).await;
        let after = self.process(&hub)?;
        let agents = f64::from(u32::try_from(self.agents).unwrap_or(u32::MAX));
        self.links.add("hub", "link", took);
        self.links.add("hub", "per_s", agents / took);
        self.links.add("hub", "cpu", (after.cpu - before.cpu) * 1e3 / agents);
        self.links.add("hub", "before", before.kib / 1024.0);
        self.links.add("hub", "after", after.kib / 1024.0);
        self.links.add("hub", "each", (after.kib - before.kib) / agents);
        for round in 0..rounds {
            let edit = if round % 2 == 0 { Edit::All } else { Edit::None };
            self.edit(&hub, &swarm, ALL, edit, self.agents).await?;
        }
        // Back to how it was, so that the next edit concerns one device alone.
        if rounds % 2 == 1 {
            self.edit(&hub, &swarm, ALL, Edit::None, self.agents).await?;
        }
        for round in 0..rounds {
            let edit = if round % 2 == 0 { Edit::One } else { Edit::None };
            self.edit(&hub, &swarm, ONE, edit, 1).await?;
        }
        self.upload(&hub, &swarm).await?;
        self.end(&mut hub, &swarm, TERM).await?;
        self.end(&mut hub, &swarm, KILL).await?;
        hub.stop().await
    }

    async fn edit(
        &mut self,
        hub: &Hub,
        swarm: &Swarm,
        row: &str,
        edit: Edit,
        concerned: usize,
    ) -> Result<(), Mishap> {
        swarm.forget();
        let text = fleet(self.agents, edit);
        let (before, began) = (self.process(hub)?.cpu, Instant::now());
        hub.apply(&text, &[]).await?;
        let applied = Instant::now();
        let last = swarm.until("every acknowledgement", LONG, |seen| seen.pushes.len() >= concerned).await?;
        let seen = swarm.seen();
        // Signed and committed: the moment from which a device can hear of it is that of the first one that does.
        let first = seen.pushes.iter().map(|(began, _)| *began).min().unwrap_or(applied).min(applied);
        let answers: Vec<f64> =
            seen.pushes.iter().map(|(_, acked)| (*acked - first).as_secs_f64() * 1e3).collect();
        self.until_noted(hub).await?;
        let (noted, cpu) = (Instant::now(), self.process(hub)?.cpu - before);
        self.edits.add(row, "apply", (applied - began).as_secs_f64());
        for (column, q) in [("p50", 0.5), ("p99", 0.99), ("highest", 1.0)] {
            answers_of(&answers, q).into_iter().for_each(|value| self.edits.add(row, column, value));
        }
        self.edits.add(row, "all", (last.max(applied) - began).as_secs_f64());
        self.edits.add(row, "noted", (noted - began).as_secs_f64());
        self.edits.add(row, "cpu", cpu * 1e3);
        let pushes = f64::from(u32::try_from(seen.pushes.len().max(1)).unwrap_or(u32::MAX));
        self.edits.add(row, "bytes", f64::from(u32::try_from(seen.bytes).unwrap_or(u32::MAX)) / pushes);
        Ok(())
    }

    async fn upload(&mut self, hub: &Hub, swarm: &Swarm) -> Result<(), Mishap> {
        swarm.forget();
        let (before, began) = (self.process(hub)?.cpu, Instant::now());
        swarm.upload(1);
        let all = self.agents;
        let last = swarm.until("every batch", LONG, |seen| seen.batches >= all).await?;
        let (took, cpu) = ((last - began).as_secs_f64(), self.process(hub)?.cpu - before);
        let batches = f64::from(u32::try_from(self.agents).unwrap_or(u32::MAX));
        let rows = batches * 64.0;
        self.rows.add("hub", "rows", rows / took);
        self.rows.add("hub", "batches", batches / took);
        self.rows.add("hub", "cpu", cpu * 1e6 / rows);
        Ok(())
    }

    async fn end(&mut self, hub: &mut Hub, swarm: &Swarm, row: &str) -> Result<(), Mishap> {
        self.linked(swarm, "all links before the end").await?;
        swarm.forget();
        let began = Instant::now();
        if row == TERM {
            hub.stop().await?;
        } else {
            hub.kill().await?;
        }
        let ended = Instant::now();
        hub.serve().await?;
        let serves = Instant::now();
        // A few may not have noticed yet that the hub is another one.
        let all = self.agents;
        let back = swarm.until("all links again", LONG, |seen| seen.linked == all && seen.ups.len() >= all);
        let back = back.await?;
        let seen = swarm.seen();
        self.ends.add(row, "ended", (ended - began).as_secs_f64());
        self.ends.add(row, "serves", (serves - began).as_secs_f64());
        self.ends.add(row, "back", (back - began).as_secs_f64());
        self.ends.add(row, "busiest", f64::from(u32::try_from(seen.busiest_second()).unwrap_or(u32::MAX)));
        let failed: usize =
            seen.ends.iter().filter(|(why, _)| why.starts_with("dialling")).map(|(_, n)| n).sum();
        self.ends.add(row, "failed", f64::from(u32::try_from(failed).unwrap_or(u32::MAX)));
        eprintln!("  {row}: {:?}", seen.ends);
        Ok(())
    }

    async fn linked(&self, swarm: &Swarm, what: &str) -> Result<(), Mishap> {
        let all = self.agents;
        swarm.until(what, LONG, |seen| seen.linked == all).await.map(drop)
    }

    /// Waits until the hub has noted every answer to what it has pushed.
    async fn until_noted(&self, hub: &Hub) -> Result<(), Mishap> {
        let (watch, began) = (hub.watch().await?, Instant::now());
        loop {
            let seen = watch.read().await?;
            let answers = seen.value("postern_hub_push_answers_total{answer=\"applied\"}");
            if answers >= seen.value("postern_hub_pushes_total") {
                return Ok(());
            }
            if began.elapsed() > LONG {
                let seen = format!("{answers} answers\n");
                return Err(Mishap::Deadline { what: "the hub's notes".to_owned(), within: LONG, seen });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn process(&self, hub: &Hub) -> Result<Process, Mishap> {
        let pid = hub.running()?.pid().ok_or_else(|| Mishap::unexpected("the hub", "no process", "one"))?;
        Ok(Process { kib: resident_kib(pid).unwrap_or_default(), cpu: cpu_seconds(&[pid]) })
    }

    fn judge(self, report: &mut Report) {
        let seen = self.links.median("hub", "each");
        report.judge(
            "P13",
            format!("KiB for each of {} idle agents", self.agents),
            seen,
            Bound::AtMost(160.0),
        );
        let seen = self.edits.median(ALL, "p99");
        report.judge("P13", "push to all, acknowledged, p99 ms", seen, Bound::AtMost(5000.0));
        report.grids.extend([self.links, self.edits, self.rows, self.ends]);
    }
}

struct Process {
    kib: f64,
    cpu: f64,
}

fn answers_of(answers: &[f64], q: f64) -> Option<f64> {
    quantile(answers, q)
}

/// Each agent has a socket.
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where this fails the first agents without a socket say so.
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// How many agents the design speaks of.
pub const AGENTS: usize = 10_000;
const LONG: Duration = Duration::from_secs(180);
/// Before memory counts as that of idle agents.
const QUIET: Duration = Duration::from_secs(10);
const ALL: &str = "all devices";
const ONE: &str = "one device";
const TERM: &str = "SIGTERM";
const KILL: &str = "SIGKILL";
const LINKS: [Column; 6] = [
    Column { id: "link", title: "all linked s" },
    Column { id: "per_s", title: "agents/s" },
    Column { id: "cpu", title: "hub's processor, ms each" },
    Column { id: "before", title: "before MiB" },
    Column { id: "after", title: "after MiB" },
    Column { id: "each", title: "KiB each" },
];
const EDITS: [Column; 8] = [
    Column { id: "apply", title: "apply s" },
    Column { id: "p50", title: "push to ack p50 ms" },
    Column { id: "p99", title: "p99 ms" },
    Column { id: "highest", title: "highest ms" },
    Column { id: "all", title: "edit to last ack s" },
    Column { id: "noted", title: "noted s" },
    Column { id: "cpu", title: "hub's processor ms" },
    Column { id: "bytes", title: "bytes of a snapshot" },
];
const ROWS: [Column; 3] = [
    Column { id: "rows", title: "rows/s" },
    Column { id: "batches", title: "batches/s" },
    Column { id: "cpu", title: "hub's processor, us a row" },
];
const ENDS: [Column; 5] = [
    Column { id: "ended", title: "ended s" },
    Column { id: "serves", title: "serves s" },
    Column { id: "back", title: "all linked s" },
    Column { id: "busiest", title: "most links in a second" },
    Column { id: "failed", title: "failed dials" },
];
