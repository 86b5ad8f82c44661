//! The laboratory: one command that shows the main job on real programs, real bytes and a real policy.
//!
//! 1. [`stage`] starts the simulated press, a hub with the *direct sales* fleet, and an enrolled agent.
//! 2. The [`cast`] is invited and signs in.
//! 3. [`attempt`] lets each of them try services through `postern connect` and says what came of it.
//! 4. [`cut`] withdraws a right while a picture streams and measures how long bytes still flow.
//! 5. [`report`] prints the table, and the commands to try by hand; it stays up until Ctrl-C.
//!
//! Whatever happens, nothing is left behind: processes end with this one and all files are in one temporary
//! directory. What comes out is compared with what the fleet says, so that CI can run the same thing.

mod attempt;
mod cast;
mod cut;
mod report;
mod stage;
mod steps;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::report::Report;
use self::stage::Stage;
use self::steps::Steps;
use crate::world::Mishap;

/// Shows a policy at work: starts a hub, an agent and a simulated press, lets people try, and cuts a live tunnel.
#[derive(Debug, Parser)]
#[command(name = "postern-lab", version)]
struct Args {
    /// Ends after the table instead of staying up
    #[arg(long)]
    once: bool,
    /// Prints one JSON value instead of the table; implies --once
    #[arg(long)]
    json: bool,
}

/// Runs the laboratory. Exit codes: 0 everything came out as the fleet says, 1 it did not or could not be started,
/// 2 wrong usage, 130 interrupted before the table was complete.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // A closed standard stream leaves nobody to tell.
            let _unprinted = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // The children ask the kernel to end with the thread that starts them, so that is the main thread.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("postern-lab: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(show(&args)) {
        Ok(Ended::AsExpected) => ExitCode::SUCCESS,
        Ok(Ended::Otherwise) => ExitCode::FAILURE,
        Ok(Ended::Interrupted) => ExitCode::from(130),
        Err(mishap) => {
            anstream::eprintln!("postern-lab: {mishap}");
            ExitCode::FAILURE
        }
    }
}

/// How a visit to the laboratory ends.
enum Ended {
    AsExpected,
    Otherwise,
    Interrupted,
}

async fn show(args: &Args) -> Result<Ended, Mishap> {
    let steps = Steps::new(std::io::stderr().is_terminal());
    let prepared = tokio::select! {
        prepared = Box::pin(play(&steps)) => prepared,
        () = interruption() => {
            steps.abandon();
            // Dropping the unfinished play has ended its processes and removed its directory.
            return Ok(Ended::Interrupted);
        }
    };
    let (mut stage, report) = prepared.inspect_err(|_| steps.abandon())?;
    steps.finish();
    if args.json {
        anstream::println!("{}", report.to_json());
    } else {
        anstream::print!("{report}");
    }
    if !args.once && !args.json {
        anstream::print!("{}", report::by_hand(&stage));
        interruption().await;
        anstream::eprintln!("\nEnding: agent, hub and press stop, the directory is removed.");
    }
    stage.world.stop().await?;
    Ok(if report.is_as_expected() { Ended::AsExpected } else { Ended::Otherwise })
}

/// The whole play, up to the report.
async fn play(steps: &Steps) -> Result<(Stage, Report), Mishap> {
    let stage = stage::set(steps).await?;
    let mut attempts = Vec::new();
    for (member, person) in &stage.people {
        for (service, expected) in member.tries {
            steps.begin(&format!("{} tries {service}", member.name));
            attempts.push(attempt::attempt(member, person, service, *expected).await?);
        }
    }
    steps.begin("withdrawing a right while a picture streams");
    let (stage, cut) = cut::cut(stage).await?;
    Ok((stage, Report { attempts, cut }))
}

/// Waits for Ctrl-C, or for SIGTERM as a service manager or `kill` sends it.
async fn interruption() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut stream) => drop(stream.recv().await),
            // Without a handler the signal still ends the process, only less tidily.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
