//! The pure part, without any socket: one decision, and the way from received bytes to an index.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

use postern_protocol::id::DeviceId;
use postern_protocol::policy::{Ask, Circumstances, Freshness, Target, decide};
use postern_protocol::trust::pass::{Presented, Proof};
use postern_protocol::trust::{SecretKey, Subject};

use super::policy::{Addressee, Authority, Content, ENGINEER, now, service_name};
use super::report::{Column, Grid};
use super::stats::quantile;
use crate::world::Mishap;

/// A large policy on a device of its own.
#[derive(Debug)]
struct Bench {
    authority: Authority,
    to: Addressee,
    engineer: SecretKey,
}

/// Nanoseconds of one decision among 1,000 users, 50 categories and 2,000 services.
///
/// # Errors
/// When the policy is refused or does not permit what it must.
pub fn decisions(rounds: u32) -> Result<Grid, Mishap> {
    let bench = Bench::make()?;
    let content = Content { bystanders: 999, services: 2000, categories: 50, grants: 8, ..target() };
    let index = bench.authority.index(&bench.sealed(&content)?, bench.to)?;
    let subject = bench.subject()?;
    let circumstances = Circumstances::alone(now(), Freshness::ALWAYS);
    let names: Vec<String> = (0..content.services).map(service_name).collect();
    let asks: Vec<Ask> = names.iter().map(|name| index.ask(ENGINEER, name)).collect();
    let yes = asks.iter().filter(|ask| decide(Some(&index), &subject, ask, &circumstances).is_ok()).count();
    if yes != 40 {
        return Err(Mishap::unexpected("services permitted by one category of 50", yes, 40));
    }
    let mut grid = Grid::new("decide", "One decision: 1,000 users, 2,000 services", None, &DECISION);
    for _ in 0..rounds {
        let resolved =
            batches(&asks, |ask| drop(black_box(decide(Some(&index), &subject, ask, &circumstances))));
        let from_id = batches(&names, |name| {
            let ask = index.ask(black_box(ENGINEER), name);
            drop(black_box(decide(Some(&index), &subject, &ask, &circumstances)));
        });
        for (row, samples) in [("resolved", resolved), ("from id and name", from_id)] {
            for (column, q) in [("p50", 0.5), ("p99", 0.99)] {
                if let Some(value) = quantile(&samples, q) {
                    grid.add(row, column, value);
                }
            }
        }
    }
    Ok(grid)
}

/// Milliseconds from the received bytes of a snapshot with 5,000 users to an index.
///
/// # Errors
/// When the policy is refused.
pub fn activation(rounds: u32) -> Result<Grid, Mishap> {
    let bench = Bench::make()?;
    let sealed = bench.sealed(&large(target().target))?;
    let title = format!("Activation in memory: 5,000 users, {} KiB", sealed.len() / 1024);
    let mut grid = Grid::new("activation_pure", title, None, &ACTIVATION);
    for _ in 0..rounds {
        let begun = Instant::now();
        let verified = bench.authority.verify(black_box(&sealed), bench.to)?;
        let verified_at = begun.elapsed();
        let index = postern_protocol::policy::Index::build(verified);
        let built_at = begun.elapsed();
        drop(black_box(index));
        grid.add("postern", "verify", verified_at.as_secs_f64() * 1e3);
        grid.add("postern", "index", (built_at - verified_at).as_secs_f64() * 1e3);
        grid.add("postern", "both", built_at.as_secs_f64() * 1e3);
    }
    Ok(grid)
}

/// The policy of [`activation`]: 5,000 users with two grants each.
#[must_use]
pub const fn large(target: Target) -> Content {
    Content { bystanders: 4999, services: 200, categories: 40, grants: 2, ..Content::small(target) }
}

impl Bench {
    fn make() -> Result<Self, Mishap> {
        let key = |seed| {
            SecretKey::from_seed([seed; 32])
                .map_err(|fault| Mishap::unexpected("a key", fault, "a sound one"))
        };
        let to = Addressee { device: DeviceId::new([0xd1; 8]), key: key(10)?.public() };
        Ok(Self { authority: Authority::make()?, to, engineer: key(20)? })
    }

    fn sealed(&self, content: &Content) -> Result<Vec<u8>, Mishap> {
        self.authority.snapshot(content, self.to, 1, Some(self.engineer.public()))
    }

    fn subject(&self) -> Result<Subject, Mishap> {
        let (pass, exporter) = (self.authority.pass(self.engineer.public())?, [7; 32]);
        let proof = Proof::sign(&self.engineer, &exporter, self.to.device, &pass);
        let presented =
            Presented { pass: &pass, proof, exporter: &exporter, peer_key: self.engineer.public() };
        Subject::authenticate(&presented, self.to.device, self.authority.root(), now())
            .map_err(|fault| Mishap::unexpected("the engineer's pass", fault, "a sound one"))
    }
}

/// Nanoseconds of `work` for each item, as means over batches: one reading of the clock costs as much as a decision.
fn batches<T>(items: &[T], mut work: impl FnMut(&T)) -> Vec<f64> {
    let mut samples = Vec::new();
    for _ in 0..20 {
        for batch in items.chunks(BATCH) {
            let begun = Instant::now();
            batch.iter().for_each(&mut work);
            samples.push(begun.elapsed().as_secs_f64() * 1e9 / batch.len() as f64);
        }
    }
    samples
}

fn target() -> Content {
    Content::small(Target { ip: Ipv4Addr::new(192, 168, 0, 10).into(), port: 5900 })
}

const BATCH: usize = 40;
const DECISION: [Column; 2] = [Column { id: "p50", title: "p50 ns" }, Column { id: "p99", title: "p99 ns" }];
const ACTIVATION: [Column; 3] = [
    Column { id: "verify", title: "verify ms" },
    Column { id: "index", title: "index ms" },
    Column { id: "both", title: "together ms" },
];
