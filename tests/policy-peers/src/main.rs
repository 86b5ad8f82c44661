//! `postern-policy-peers`: one decision of Postern beside cedar-policy and casbin.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use postern_policy_peers::model::{FULL, Random};
use postern_policy_peers::report::Report;
use postern_policy_peers::{Effort, Mishap, Questions, World, agree, measure, peers};

/// Measures one decision of Postern beside cedar-policy and casbin.
#[derive(Debug, Parser)]
#[command(name = "postern-policy-peers", version)]
struct Args {
    /// Three short rounds: whether it works.
    #[arg(long)]
    quick: bool,
    /// Writes the measurement, with every round, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Begins the random numbers here, to repeat a run.
    #[arg(long, default_value_t = 20_261_122)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let written = run(&args).and_then(|report| {
        println!("{report}");
        let Some(path) = &args.json else { return Ok(()) };
        std::fs::write(path, format!("{:#}\n", report.json()))
            .map_err(|error| Mishap::unexpected(path.display(), error, "a file that can be written"))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(mishap) => {
            eprintln!("postern-policy-peers: {mishap} (seed {})", args.seed);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Report, Mishap> {
    let (batches, effort) = if args.quick {
        (8, Effort { rounds: 3, turn: Duration::from_millis(20) })
    } else {
        (64, Effort { rounds: 7, turn: Duration::from_millis(200) })
    };
    let mut random = Random::new(args.seed);
    let world = World::draw(FULL, &mut random);
    let questions = Questions::draw(&world, batches, &mut random);
    let peers = peers(&world, &questions)?;
    let agreed = agree(&world, &questions, &peers)?;
    Ok(Report { seed: args.seed, agreed, rows: measure(&questions, &peers, effort)? })
}
