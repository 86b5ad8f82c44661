//! Runs one command of the command line: what it prints, and with which exit code it ends.
//!
//! 1. Commands about the running agent ask it over the control socket.
//! 2. `check`, `explain`, `policy` and `audit` read the state directory themselves when no agent runs.
//! 3. A refusal or failure is one line on standard error: what happened, why, what to do next.

mod check;
mod decommission;
mod doctor;
mod enroll;
mod inspect;
mod key;
mod packet_vpn;
mod pin;
mod prompt;
mod recordings;
mod secret;
mod trail;
mod verify;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;
use serde::Serialize;

pub(crate) use self::prompt::PromptError;

use crate::args::{
    Args, AuditCommand, Command, KeyCommand, PolicyCommand, RecordingsCommand, SecretCommand, TunnelCommand,
};
use crate::config::Config;
use crate::control::Request;
use crate::exit::Exit;
use crate::report::Shown;
use crate::trouble::Trouble;
use crate::{daemon, logging};

/// Runs `postern-agent` with these arguments.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let _broken_pipe = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let json = args.json;
    match dispatch(args) {
        Ok(exit) => exit,
        Err(trouble) => {
            let exit = trouble.exit();
            if json {
                print(
                    &serde_json::json!({ "error": trouble.to_string(), "exit": exit.number() }).to_string(),
                );
            }
            let _broken_pipe = writeln!(std::io::stderr(), "postern-agent: {trouble}");
            exit
        }
    }
}

fn dispatch(args: Args) -> Result<Exit, Trouble> {
    let config = Config::load(args.config.as_deref())?;
    let view = View { config: &config, json: args.json };
    match args.command {
        Command::Run => {
            logging::start(config.log);
            daemon::run(&config, args.json).map(|()| Exit::Ok)
        }
        Command::Enroll { code, label, replace } => enroll::run(&view, &code, &label, replace),
        Command::Key { command: KeyCommand::Rotate } => key::rotate(&view),
        Command::Decommission { yes, with_audit } => decommission::run(&view, yes, with_audit),
        Command::Check => check::run(&view),
        Command::Doctor => doctor::run(&view),
        Command::Verify { state, now, files } => {
            let config = match state {
                Some(state_dir) => Config { state_dir, ..config.clone() },
                None => config.clone(),
            };
            verify::run(&View { config: &config, json: args.json }, now, &files)
        }
        Command::Status => inspect::status(&view),
        Command::Sessions => inspect::sessions(&view),
        Command::Explain { user, service, at, second_factor_age } => {
            let request = Request::Explain { user, service, at, second_factor_age_s: second_factor_age };
            inspect::explain(&view, request)
        }
        Command::Policy { command: PolicyCommand::Show } => inspect::policy(&view),
        Command::Audit { command: AuditCommand::List { limit } } => inspect::audit_list(&view, limit),
        Command::Audit { command: AuditCommand::Verify { file: None } } => inspect::audit_verify(&view),
        Command::Audit { command: AuditCommand::Verify { file: Some(file) } } => trail::verify(&view, &file),
        Command::Secret { command: SecretCommand::Set { name, stdin } } => secret::set(&view, name, stdin),
        Command::Secret { command: SecretCommand::List } => secret::list(&view),
        Command::Secret { command: SecretCommand::Remove { name } } => secret::remove(&view, name),
        Command::Recordings { command: RecordingsCommand::List } => recordings::list(&view),
        Command::Recordings { command: RecordingsCommand::Export { tunnel, file } } => {
            recordings::export(&view, tunnel, &file)
        }
        Command::Recordings { command: RecordingsCommand::Remove { tunnel } } => {
            recordings::remove(&view, tunnel)
        }
        Command::Pin { target, host } => pin::run(&view, target, host.as_deref()),
        Command::PacketVpn { command, state } => packet_vpn::run(&view, &command, &state),
        Command::Tunnel { command: TunnelCommand::End { id } } => inspect::end(&view, id),
    }
}

/// The configuration and how to print.
struct View<'a> {
    config: &'a Config,
    json: bool,
}

impl View<'_> {
    fn show<T: Serialize + Shown>(&self, report: &T) {
        if self.json {
            self.show_json(report);
        } else {
            print(report.text().trim_end_matches('\n'));
        }
    }

    fn show_json<T: Serialize>(&self, report: &T) {
        if let Ok(text) = serde_json::to_string(report) {
            print(&text);
        }
    }
}

/// A closed pipe (`| head`) is no error.
fn print(text: &str) {
    let _broken_pipe = writeln!(std::io::stdout(), "{text}");
}
