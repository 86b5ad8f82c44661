//! OpenVPN over UDP between two ends that know each other's certificate, with the cipher that it chooses by itself.

use std::path::Path;
use std::process::Command;

use super::{Ground, OPENVPN, Peers, appears, free_port, inner, on_its_own};
use crate::bench::child::{Program, finish};
use crate::bench::link::{Link, Side};
use crate::bench::vpn::plant::address;
use crate::world::Mishap;

impl Peers {
    /// Brings it up.
    pub(super) fn openvpn(&mut self, ground: Ground<'_>, number: u8) -> Result<(), Mishap> {
        let link = ground.link;
        let far = free_port(link, Side::Device)?;
        let ends = [End::make(ground.dir, "client")?, End::make(ground.dir, "device")?];
        let near = self.by_way(ground, far)?;
        let (port, local) = (far.port().to_string(), far.ip().to_string());
        let (near_ip, near_port) = (near.ip().to_string(), near.port().to_string());
        let listening = ["--local", &local, "--lport", &port, "--tls-server", "--dh", "none"];
        let dialling = ["--remote", &near_ip, &near_port, "--nobind", "--tls-client"];
        let [client, device] = &ends;
        let device = device.start(link, (Side::Device, number), client, &listening)?;
        let client = client.start(link, (Side::Client, number), &ends[1], &dialling)?;
        for program in [&client, &device] {
            program.line("Initialization Sequence Completed")?;
        }
        appears(link, Side::Client, ADAPTER)?;
        let machine = format!("{}/32", address(number));
        link.ip(Side::Client, &["route", "add", &machine, "dev", ADAPTER])?;
        let pids = vec![client.pid(), device.pid()];
        self.add(ground, OPENVPN, number, pids, vec![client, device]);
        Ok(())
    }
}

/// One end, with its key and certificate.
struct End {
    key: String,
    certificate: String,
    fingerprint: String,
}

impl End {
    fn make(dir: &Path, side: &str) -> Result<Self, Mishap> {
        let file = |end: &str| dir.join(format!("openvpn-{side}.{end}")).display().to_string();
        let (key, certificate) = (file("key"), file("crt"));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-days", "2", "-subj", &format!("/CN={side}"), "-keyout", &key, "-out", &certificate]);
        finish(command, "")?;
        let mut command = Command::new("openssl");
        command.args(["x509", "-in", &certificate, "-noout", "-sha256", "-fingerprint"]);
        let said = finish(command, "")?;
        let fingerprint = said.trim().rsplit('=').next().unwrap_or_default().to_owned();
        Ok(Self { key, certificate, fingerprint })
    }

    fn start(
        &self,
        link: &Link,
        (side, number): (Side, u8),
        other: &Self,
        more: &[&str],
    ) -> Result<Program, Mishap> {
        let across = if side == Side::Client { Side::Device } else { Side::Client };
        let [own, far] = [side, across].map(|side| inner(number, side).to_string());
        let mut command = on_its_own(link, side, "openvpn");
        command.args(["--dev", ADAPTER, "--dev-type", "tun", "--disable-dco", "--ifconfig", &own, &far]);
        command.args(["--proto", "udp", "--key", &self.key, "--cert", &self.certificate]);
        command.args(["--peer-fingerprint", &other.fingerprint]).args(more);
        Program::start(OPENVPN, command)
    }
}

/// Its adapter, at both sides.
const ADAPTER: &str = "ovpn";
