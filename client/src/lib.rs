//! `postern`: how a service engineer reaches the services of a machine through the gate at its site.
//!
//! 1. [`args`] reads the command line; [`exit`] lists how the program ends.
//! 2. [`profile`] holds key, pass and the last known devices in a directory of the user's own.
//! 3. [`login`], [`step_up`] and [`logout`] talk to the hub through [`hub`]; [`directory`] lists and finds devices,
//!    [`sessions`] lists who was where.
//! 4. [`device`] is one connection to a device, proved in both directions; [`services`] asks it what may be used.
//! 5. [`connect`] carries local connections through it; [`approvals`] asks to be let in where that is demanded, and answers others.
//! 6. [`admin`] looks at the model of who may what and edits it, [`cases`] opens machines to the provider's people: both by asking the hub.
//! 7. [`vpn`] reaches places on the machine network, one flow each, with or without rights over this computer's network.
//! 8. [`replay`] shows what a device has recorded, without any device.
//! 9. [`doctor`] finds what stands in the way to the hub or a device; [`nearby`] looks for a device on the own networks.
//! 10. [`interrupt`] catches Ctrl-C where a person is asked; the terminal is given back first.
//! 11. [`problem`] turns whatever went wrong into one line: what, why, what next, and who can change it.
//!
//! Deliberately absent: any decision about access. The device decides and this program shows what it said.

mod admin;
mod approvals;
mod args;
mod cases;
mod clock;
mod connect;
mod device;
mod dial;
mod directory;
mod doctor;
mod documents;
mod ending;
mod exit;
mod hub;
mod interrupt;
mod login;
mod logout;
mod meeting;
mod nearby;
mod problem;
mod profile;
mod replay;
mod screen;
mod secret;
mod services;
mod sessions;
mod sign_on;
mod status;
mod step_up;
mod vpn;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use self::args::{Args, Command};
use self::exit::Exit;
use self::interrupt::unless_interrupted;
use self::problem::Problem;
use self::profile::Profile;
use self::screen::Screen;

/// Runs the command; the first argument is the program's name. The exit codes are listed in `postern --help`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // A closed standard stream leaves nobody to tell.
            let _unprinted = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let screen = Screen::new(args.json);
    match run(args, &screen) {
        Ok(exit) => exit.into(),
        Err(problem) => {
            screen.report(&problem);
            problem.exit.into()
        }
    }
}

fn run(args: Args, screen: &Screen) -> Result<Exit, Problem> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Problem::runtime)?;
    let outcome = runtime.block_on(dispatch(args, screen));
    // A prompt that Ctrl-C ended gives the terminal back. A read of standard input cannot be cancelled: waiting for it
    // would keep the program until the next key press.
    runtime.shutdown_timeout(LAST_STEPS);
    outcome
}

async fn dispatch(args: Args, screen: &Screen) -> Result<Exit, Problem> {
    let (home, proxies) = (args.home.clone(), args.proxies());
    let profile = || Ok::<_, Problem>(Profile::locate(home.as_deref(), proxies.clone()?)?);
    match args.command {
        Command::Login(login) => unless_interrupted(login::run(login, &profile()?, screen)).await,
        Command::StepUp(args) => unless_interrupted(step_up::run(&args, &profile()?, screen)).await,
        Command::Logout { everywhere } => logout::run(everywhere, &profile()?, screen).await,
        Command::Status => status::run(&profile()?, screen).await,
        Command::Doctor { device } => doctor::run(device.as_ref(), &profile()?, screen).await,
        Command::Devices => directory::run(&profile()?, screen).await,
        Command::Sessions(args) => sessions::run(&args, &profile()?, screen).await,
        Command::Services { device } => services::run(&device, &profile()?, screen).await,
        Command::Approvals => approvals::list(&profile()?, screen).await,
        Command::Approve(args) => approvals::approve(&args, &profile()?, screen).await,
        Command::Reject(args) => approvals::reject(&args, &profile()?, screen).await,
        Command::Revoke(args) => approvals::revoke(&args, &profile()?, screen).await,
        Command::Case(args) => cases::run(args, &profile()?, screen).await,
        Command::Admin(args) => admin::run(args, &profile()?, screen).await,
        Command::Connect(connect) => connect::run(&connect, &profile()?, screen).await,
        Command::Forward(args) => vpn::forward::run(&args, &profile()?, screen).await,
        Command::Proxy(args) => vpn::proxy::run(&args, &profile()?, screen).await,
        Command::Discover(args) => vpn::discover::run(&args, &profile()?, screen).await,
        #[cfg(target_os = "linux")]
        Command::Vpn(args) => vpn::adapter::run(&args, &profile()?, screen).await,
        #[cfg(not(target_os = "linux"))]
        Command::Vpn(_) => Err(Problem::no_adapter_here()),
        Command::Replay(args) => replay::run(&args, screen).await,
        Command::Completions { shell } => Ok(documents::print_completions(shell)),
        Command::Man { dir } => documents::write_man_pages(&dir),
    }
}

/// What a thread that still runs has at the end of the program.
const LAST_STEPS: Duration = Duration::from_millis(100);
