//! `packet-vpn`: prepares this device for the packet VPN, takes that back, or says what there is.

use std::path::Path;

use super::{Trouble, View};
use crate::args::PacketVpnCommand;
use crate::exit::Exit;
use crate::packet_vpn::{self, PacketVpnReport};
use crate::report::Shown;

impl Shown for PacketVpnReport {
    fn text(&self) -> String {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let made = if self.made { "" } else { ", which is not there" };
        format!(
            "tun        {}{made}\nmachines   {}\nforwarding {}\nrules      {}\n",
            self.tun,
            self.interface,
            yes(self.forwards),
            yes(self.rules)
        )
    }
}

pub(super) fn run(view: &View<'_>, command: &PacketVpnCommand, dir: &Path) -> Result<Exit, Trouble> {
    let report = match command {
        PacketVpnCommand::Up => packet_vpn::up(view.config, dir)?,
        PacketVpnCommand::Down => packet_vpn::down(view.config, dir)?,
        PacketVpnCommand::Status => {
            let report = packet_vpn::status(view.config)?;
            view.show(&report);
            return Ok(if report.is_up() { Exit::Ok } else { Exit::NotRunning });
        }
    };
    view.show(&report);
    Ok(Exit::Ok)
}
