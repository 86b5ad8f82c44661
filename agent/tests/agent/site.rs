//! A network of a test's own with a machine behind it: the test, its hub, agent and clients are on the router's side.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The network of this thread and of the programs that it starts, and the machine's.
pub(crate) struct Site {
    machine: Space,
}

/// A network, as long as a program holds it.
struct Space(Child);

impl Site {
    /// Moves this thread into a router's network; none where that is not allowed.
    pub(crate) fn enter(test: &str) -> Option<Self> {
        let ready = rustix::process::geteuid().is_root()
            && std::path::Path::new("/dev/net/tun").exists()
            && ["nft", "ip", "unshare"].iter().all(|program| exists(program));
        if !ready {
            let missing = "networks of a test's own need root, /dev/net/tun, nft, ip and unshare";
            assert_ne!(std::env::var("POSTERN_REQUIRE_PEERS").as_deref(), Ok("1"), "{missing}");
            println!("SKIPPED {test}: {missing}");
            return None;
        }
        let (router, machine) = (Space::make(), Space::make());
        router.enter();
        let id = machine.0.id().to_string();
        say("ip", &["link", "set", "lo", "up"]);
        say("ip", &["link", "add", LAN, "type", "veth", "peer", "name", LAN, "netns", &id]);
        say("ip", &["addr", "add", "192.168.77.1/24", "dev", LAN]);
        say("ip", &["link", "set", LAN, "up"]);
        machine.say(&["ip", "link", "set", "lo", "up"]);
        // Two machines, and neither has a gateway.
        for last in [10, 11] {
            machine.say(&["ip", "addr", "add", &format!("192.168.77.{last}/24"), "dev", LAN]);
        }
        machine.say(&["ip", "link", "set", LAN, "up"]);
        Some(Self { machine })
    }

    /// Starts the machine's servers: datagrams to 161 and connections to 102 and 103 come back as they are. Says from where each came.
    pub(crate) fn serve(&self) -> Receiver<SocketAddr> {
        let (seen, sees) = channel();
        let (ready, is_ready) = channel();
        let path = self.machine.path();
        std::thread::spawn(move || {
            enter(&path);
            for port in [102, 103] {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
                let seen = seen.clone();
                std::thread::spawn(move || {
                    while let Ok((mut stream, from)) = listener.accept() {
                        let _nobody = seen.send(from);
                        std::thread::spawn(move || {
                            let mut reader = stream.try_clone().unwrap();
                            let _over = std::io::copy(&mut reader, &mut stream);
                        });
                    }
                });
            }
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 161)).unwrap();
            ready.send(()).unwrap();
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _nobody = seen.send(from);
                let _lost = socket.send_to(&buffer[..length], from);
            }
        });
        is_ready.recv().unwrap();
        sees
    }

    /// How many IP packets have come to the machines, as their kernel counts them.
    pub(crate) fn arrived(&self) -> u64 {
        let counters = std::fs::read_to_string(format!("/proc/{}/net/snmp", self.machine.0.id())).unwrap();
        let mut lines = counters.lines().filter_map(|line| line.strip_prefix("Ip: "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let place = names.split(' ').position(|name| name == "InReceives").unwrap();
        values.split(' ').nth(place).unwrap().parse().unwrap()
    }

    /// Everything that the packet VPN may change: interfaces, routes, rules, and what is forwarded.
    pub(crate) fn shape(&self) -> String {
        let conf = std::fs::read_dir("/proc/sys/net/ipv4/conf").unwrap();
        let mut forwarding: Vec<String> = conf
            .map(|entry| {
                let path = entry.unwrap().path().join("forwarding");
                format!("{}: {}", path.display(), std::fs::read_to_string(&path).unwrap())
            })
            .collect();
        forwarding.sort_unstable();
        [
            say("ip", &["-brief", "address"]),
            say("ip", &["route"]),
            say("ip", &["-6", "route"]),
            say("nft", &["list", "ruleset"]),
            forwarding.concat(),
        ]
        .concat()
    }
}

impl Space {
    fn make() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        // An answer says that `cat` runs, in its network.
        std::io::Write::write_all(holder.stdin.as_mut().unwrap(), b"x").unwrap();
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        Self(holder)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn enter(&self) {
        enter(&self.path());
    }

    fn say(&self, args: &[&str]) -> String {
        let network = format!("--net={}", self.path());
        say("nsenter", &[&[network.as_str()], args].concat())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Whoever is in it stays in it.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn enter(path: &str) {
    let network = File::open(path).unwrap();
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// What a program says.
pub(crate) fn say(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The interface on both sides.
pub(crate) const LAN: &str = "lan";
