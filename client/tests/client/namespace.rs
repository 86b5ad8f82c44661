//! A network of a test's own: nothing that happens in it is seen outside, and it is gone with the last program in it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The network of this thread and of the programs that it starts.
pub(crate) struct Namespace(());

impl Namespace {
    /// Moves this thread into a network with nothing but loopback; none where that is not allowed.
    pub(crate) fn enter(test: &str) -> Option<Self> {
        let missing = |what: &str| {
            assert_ne!(std::env::var("POSTERN_REQUIRE_PEERS").as_deref(), Ok("1"), "{what}");
            println!("SKIPPED {test}: {what}");
        };
        if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/net/tun").exists() {
            missing("network adapters need root and /dev/net/tun");
            return None;
        }
        let Some(network) = Another::make() else {
            missing("the program `unshare` is missing");
            return None;
        };
        network.enter();
        let namespace = Self(());
        assert_eq!(namespace.ip(&["link", "set", "lo", "up"]), "");
        Some(namespace)
    }

    /// What `ip` says in it.
    pub(crate) fn ip(&self, args: &[&str]) -> String {
        let output = Command::new("ip").args(args).output().unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "ip {args:?}: {err}");
        out
    }

    /// Interfaces and routes, without the numbers that change.
    pub(crate) fn shape(&self) -> (String, String) {
        let links = self.ip(&["-brief", "address"]);
        let routes = [&["route"][..], &["-6", "route"]].map(|args| self.ip(args)).concat();
        (links, routes)
    }
}

/// A network without anybody in it but its holder.
pub(crate) struct Another(Child);

impl Another {
    /// Makes it; none where the program for that is missing.
    pub(crate) fn make() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().ok()?;
        // An answer says that `cat` runs, in its network.
        std::io::Write::write_all(holder.stdin.as_mut().unwrap(), b"x").unwrap();
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        Some(Self(holder))
    }

    /// The process that holds it.
    pub(crate) fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Moves this thread there.
    pub(crate) fn enter(&self) {
        let network = File::open(format!("/proc/{}/ns/net", self.id())).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        // Whoever is in it stays in it.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
