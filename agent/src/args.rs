//! The command line of `postern-agent`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::exit::Exit;

/// The gate on this device: decides who may reach which service, and carries the tunnels.
#[derive(Debug, Parser)]
#[command(name = "postern-agent", version, after_help = Exit::table(), arg_required_else_help = true)]
pub(crate) struct Args {
    /// The configuration [default: /etc/postern/agent.toml, or built-in values where that is missing].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints one JSON value instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enrols this device with the code that `postern-cloud device add` printed.
    Enroll {
        /// The code, as printed; good for one use.
        code: String,
        /// What the device calls itself; a label that decides nothing.
        #[arg(long, default_value = "")]
        label: String,
        /// Replaces the present enrolment: a new key, policy and floor in one step. The audit trail stays.
        #[arg(long)]
        replace: bool,
    },
    /// Runs the gate until it is told to stop.
    Run,
    /// Checks configuration, key, stored policy, audit trail and clock, and changes nothing.
    Check,
    /// Says what this device would make of signed files, one after another, and changes nothing.
    ///
    /// Each file is a sealed root, snapshot, timestamp, lock or pass, judged as if it had been sent; later files are
    /// judged under what earlier ones would have changed.
    Verify {
        /// The state directory [default: as configured].
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Supposes this time (RFC 3339) when it says whether root, policy and passes are in date.
        #[arg(long, value_name = "TIME", value_parser = time)]
        now: Option<UnixTime>,
        /// The files, in the order in which they would come.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Finds what stands between this device and its hub, and says what to ask of whom; also while the agent runs, and changes nothing.
    Doctor,
    /// Shows the running agent: policy, link, tunnels, audit.
    Status,
    /// Says whether a user may open a service, and why.
    Explain {
        /// The user's id (`usr-` and 16 digits).
        user: UserId,
        /// The service's name on this device.
        service: String,
        /// At this time instead of now (RFC 3339).
        #[arg(long, value_name = "TIME", value_parser = time)]
        at: Option<UnixTime>,
        /// Supposes a second factor that was used so long before, such as `2h`; a plain number is seconds.
        #[arg(long, value_name = "SPAN", value_parser = span)]
        second_factor_age: Option<u64>,
    },
    /// Lists the live tunnels of the running agent.
    Sessions,
    /// The device's key.
    Key {
        /// What to do with it.
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Overwrites and removes key, policy, floor and enrolment; a running agent is told to stop first.
    Decommission {
        /// Does it. Nothing brings the device back but a new code.
        #[arg(long)]
        yes: bool,
        /// Removes the audit trail and recordings as well.
        #[arg(long)]
        with_audit: bool,
    },
    /// The policy in force.
    Policy {
        /// What to do with it.
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// The audit trail.
    Audit {
        /// What to do with it.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Secrets of this device, such as the password of a panel. None is ever shown.
    Secret {
        /// What to do with them.
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Recordings of tunnels on this device. None can be opened here.
    Recordings {
        /// What to do with them.
        #[command(subcommand)]
        command: RecordingsCommand,
    },
    /// Shows the key that a machine proves at its TLS port, as `tls` of a service in the fleet file pins it.
    ///
    /// What is shown is what answered now. Compare it with what the machine itself shows, or ask on a day and from a place where
    /// nobody can stand between.
    Pin {
        /// Address and port of the machine, such as `192.168.10.20:443`.
        #[arg(value_name = "ADDRESS:PORT")]
        target: SocketAddr,
        /// What the machine is called, where it has several certificates.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
    },
    /// Interface, rules and forwarding for the packet VPN, as root. The agent itself needs no right.
    PacketVpn {
        /// What to do with them.
        #[command(subcommand)]
        command: PacketVpnCommand,
        /// Where it is noted what was changed.
        #[arg(long, value_name = "DIR", global = true, default_value = "/run/postern-packets")]
        state: PathBuf,
    },
    /// One live tunnel.
    Tunnel {
        /// What to do with it.
        #[command(subcommand)]
        command: TunnelCommand,
    },
}

/// What to do with the device's key.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes the next key and announces it to the hub; the present one works until the next one is in force.
    Rotate,
}

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Shows version, validity, services and categories.
    Show,
}

/// What to do with the audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Lists the newest rows, oldest first.
    List {
        /// Rows at most (1 to 1000).
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Verifies all rows on this device: their chain, and that it ends where the cloud has acknowledged it.
    Verify {
        /// An exported trail instead, of any device of the installation: by public keys alone, naming the first wrong row.
        file: Option<PathBuf>,
    },
}

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Keeps a secret on this device, sealed to its key; it wins over the cloud's of the same name. Asks for it twice.
    Set {
        /// Its name, by which services refer to it.
        name: Name,
        /// Reads the first line of standard input instead.
        #[arg(long)]
        stdin: bool,
    },
    /// Lists secrets with their source, and whether they open.
    List,
    /// Forgets a secret that was set here; the cloud's of the same name is used again.
    Remove {
        /// Its name.
        name: Name,
    },
}

/// What to do with recordings.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordingsCommand {
    /// Lists them, oldest first.
    List,
    /// Copies one into a file, for `postern replay`.
    Export {
        /// Its tunnel (`tun-` and 16 digits), from `recordings list`.
        tunnel: TunnelId,
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Removes one that is finished; the audit trail keeps that it was, and who removed it.
    Remove {
        /// Its tunnel.
        tunnel: TunnelId,
    },
}

/// What to do with what the packet VPN needs.
#[derive(Debug, Subcommand)]
pub(crate) enum PacketVpnCommand {
    /// Makes the interface, sets the rules and switches forwarding on; takes back first what is left of an earlier time.
    Up,
    /// Takes everything back, so that the device is as before.
    Down,
    /// Says what there is.
    Status,
}

/// What to do with a tunnel.
#[derive(Debug, Subcommand)]
pub(crate) enum TunnelCommand {
    /// Ends it.
    End {
        /// Its id (`tun-` and 16 digits), from `sessions`.
        id: TunnelId,
    },
}

fn time(text: &str) -> Result<UnixTime, TimeFault> {
    let time: jiff::Timestamp = text.parse().map_err(|_| TimeFault)?;
    u64::try_from(time.as_second()).map(UnixTime::from_secs).map_err(|_| TimeFault)
}

/// A time span in seconds.
fn span(text: &str) -> Result<u64, SpanFault> {
    let seconds =
        || text.parse::<jiff::SignedDuration>().ok().and_then(|span| u64::try_from(span.as_secs()).ok());
    text.parse().ok().or_else(seconds).ok_or(SpanFault)
}

/// Text that is no time span, or a negative one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time span such as 2h or a number of seconds is expected")]
struct SpanFault;

/// Text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time such as 2027-01-31T12:00:00Z is expected")]
struct TimeFault;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_and_nothing_else() {
        assert_eq!(time("1970-01-01T00:01:00Z"), Ok(UnixTime::from_secs(60)));
        assert_eq!(time("1970-01-01T01:01:00+01:00"), Ok(UnixTime::from_secs(60)));
        assert_eq!(time("yesterday"), Err(TimeFault));
        assert_eq!(time("1960-01-01T00:00:00Z"), Err(TimeFault));
    }

    #[test]
    fn spans_are_seconds_or_have_a_unit_and_are_never_negative() {
        assert_eq!((span("7200"), span("2h"), span("1h 30m")), (Ok(7200), Ok(7200), Ok(5400)));
        assert_eq!((span("-2h"), span("-1"), span("soon")), (Err(SpanFault), Err(SpanFault), Err(SpanFault)));
    }
}
