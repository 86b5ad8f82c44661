//! The rules of the firewall: one table of our own, which nobody else's rules are mixed with and which goes as a whole.
//!
//! They are the second wall. The agent lets through what a permit contains; whatever else might come out of the interface, by
//! mistake or by a flaw, goes to the machines or nowhere, and machines begin nothing towards it.

use std::io;
use std::process::{Command, Stdio};

use ipnet::Ipv4Net;

use super::PacketVpnError;
use super::turn::Turn;

/// What the rules are about.
pub(super) struct Rules<'a> {
    pub(super) tun: &'a str,
    pub(super) interface: &'a str,
    pub(super) range: Ipv4Net,
    /// Whether nothing was forwarded from the machines before: then nothing but answers is from now on.
    pub(super) alone: bool,
}

impl Rules<'_> {
    /// Looks for the program that sets them.
    pub(super) fn find() -> Result<(), PacketVpnError> {
        let runs = |program: &str| {
            let tried =
                Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            !matches!(tried, Err(error) if error.kind() == io::ErrorKind::NotFound)
        };
        match (runs("nft"), runs("iptables")) {
            (true, _) => Ok(()),
            (false, true) => Err(PacketVpnError::IptablesOnly),
            (false, false) => Err(PacketVpnError::NoNft),
        }
    }

    /// Sets them, in place of those before and all at once.
    pub(super) fn set(&self, turn: &Turn) -> Result<(), PacketVpnError> {
        nft(&["-f", "-"], turn.script(&format!("{REMOVAL}{self}"))?)
    }

    /// Removes the table. Done where there is none.
    pub(super) fn remove(turn: &Turn) -> Result<(), PacketVpnError> {
        nft(&["-f", "-"], turn.script(REMOVAL)?)
    }

    /// Whether the table is there.
    pub(super) fn stand() -> Result<bool, PacketVpnError> {
        match nft(&["list", "table", "inet", TABLE], Stdio::null()) {
            Ok(()) => Ok(true),
            Err(PacketVpnError::Nft(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Display for Rules<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tun, interface, range, alone } = self;
        write!(
            f,
            "table inet {TABLE} {{
  chain forwarding {{
    type filter hook forward priority -10; policy accept;
    iifname \"{tun}\" oifname \"{interface}\" ip saddr {range} accept
    iifname \"{tun}\" drop
    iifname \"{interface}\" oifname \"{tun}\" ct state established,related accept
    oifname \"{tun}\" drop
"
        )?;
        if *alone {
            writeln!(f, "    iifname \"{interface}\" drop")?;
        }
        write!(
            f,
            "  }}
  chain arriving {{
    type filter hook input priority -10; policy accept;
    iifname \"{tun}\" drop
  }}
  chain leaving {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {range} oifname \"{interface}\" masquerade
  }}
}}
"
        )
    }
}

fn nft(args: &[&str], input: Stdio) -> Result<(), PacketVpnError> {
    let failed = |error: io::Error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        if is_missing { PacketVpnError::NoNft } else { PacketVpnError::Nft(error.to_string()) }
    };
    let mut command = Command::new("nft");
    command.args(args).stdin(input).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Operation not permitted") {
        return Err(PacketVpnError::NoRight(io::ErrorKind::PermissionDenied.into()));
    }
    Err(PacketVpnError::Nft(said.lines().next().unwrap_or_default().trim().to_owned()))
}

const TABLE: &str = "postern";
/// The first line makes it where it is missing: removing what is not there is an error.
const REMOVAL: &str = "table inet postern {}\ndelete table inet postern\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_the_tun_goes_to_machines_alone_and_they_answer_and_begin_nothing() {
        let rules =
            |alone| Rules { tun: "tun-p", interface: "lan", range: "100.96.0.0/24".parse().unwrap(), alone };
        let lines = |text: String| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        let forwarding = lines(rules(true).to_string())[3..8].to_vec();
        assert_eq!(
            forwarding,
            [
                "iifname \"tun-p\" oifname \"lan\" ip saddr 100.96.0.0/24 accept",
                "iifname \"tun-p\" drop",
                "iifname \"lan\" oifname \"tun-p\" ct state established,related accept",
                "oifname \"tun-p\" drop",
                "iifname \"lan\" drop",
            ]
        );
        // A router that forwarded before goes on.
        assert!(!lines(rules(false).to_string()).contains(&"iifname \"lan\" drop".to_owned()));
    }
}
