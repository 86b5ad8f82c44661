//! What the networks of this computer let pass, in a file of the profile.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use postern_protocol::time::UnixTime;
use postern_transport::ladder::{Ladder, Memory, Network, Opened, Surroundings};
use postern_transport::proxy::Proxies;

use super::private;
use crate::clock;
use crate::dial::any;
use crate::screen::Screen;

/// The ladder of whoever has the profile in `dir`. A file that cannot be read counts as none: it is a matter of a second.
pub(super) fn ladder(dir: &Path, proxies: Proxies) -> Ladder {
    let kept = private::read(dir, NETWORKS, NETWORKS_BYTES).ok().flatten();
    let memory = kept.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    Ladder::new(proxies, memory, Here { dir: dir.to_owned() })
}

struct Here {
    dir: PathBuf,
}

impl Surroundings for Here {
    fn now(&self) -> UnixTime {
        clock::now()
    }

    fn network(&self, towards: SocketAddr) -> Network {
        // Elsewhere than on Linux there are no such files, and the own address has to do.
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Network::of(source_towards(towards), &read("/proc/net/route"), &read("/proc/net/arp"))
    }

    fn keep(&self, memory: &Memory) {
        if let Ok(text) = serde_json::to_vec(memory) {
            // Before the first sign-in there is no directory, and nothing is lost without the file.
            let _unkept = private::write(&self.dir, NETWORKS, &text);
        }
    }

    fn opened(&self, opened: &Opened) {
        Screen::new(false).note(&opened.to_string());
    }
}

/// The local address from which `towards` is reached. Sends nothing.
fn source_towards(towards: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(any(towards.ip())).ok()?;
    socket.connect(towards).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
}

const NETWORKS: &str = "networks.json";
/// Sixteen networks of some hundred bytes.
const NETWORKS_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_damaged_or_missing_counts_as_none_and_what_is_kept_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("home");
        let read = || {
            format!(
                "{:?}",
                serde_json::from_slice::<Memory>(&private::read(&dir, NETWORKS, 9999).unwrap().unwrap())
            )
        };
        let here = Here { dir: dir.clone() };
        here.keep(&Memory::default());
        assert!(!dir.exists(), "a directory is made by signing in");
        private::create_dir(&dir).unwrap();
        here.keep(&Memory::default());
        assert_eq!(read(), format!("{:?}", Ok::<_, serde_json::Error>(Memory::default())));
        private::write(&dir, NETWORKS, b"{").unwrap();
        drop(ladder(&dir, Proxies::none()));
    }
}
