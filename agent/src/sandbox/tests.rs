//! Each in a thread of its own: what a thread gives up, the others of the process keep.

use std::io::ErrorKind;
use std::process::Command;

use super::*;

/// Runs something in a thread that goes afterwards.
fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(work).join().unwrap()
}

#[test]
fn a_filtered_thread_starts_no_program_and_makes_threads_and_sockets() {
    apart(|| {
        assert!(Command::new("/bin/true").status().unwrap().success());
        set_no_new_privs(true).unwrap();
        calls::restrict().unwrap();
        assert_eq!(Command::new("/bin/true").status().unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(apart(|| 7), 7);
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        std::net::TcpListener::bind("[::1]:0").unwrap();
    });
}

#[test]
fn a_filtered_thread_gets_no_packet_socket_no_other_root_and_no_other_clock() {
    use rustix::net::{AddressFamily, SocketType, socket};
    apart(|| {
        set_no_new_privs(true).unwrap();
        calls::restrict().unwrap();
        let packets = socket(AddressFamily::PACKET, SocketType::RAW, None);
        assert_eq!(packets.unwrap_err(), Errno::AFNOSUPPORT);
        socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
        assert_eq!(rustix::process::chroot("/"), Err(Errno::PERM));
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        assert_eq!(rustix::time::clock_settime(rustix::time::ClockId::Realtime, now), Err(Errno::PERM));
    });
}

#[test]
fn a_restricted_thread_works_in_the_state_and_touches_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (state, other) = (dir.path().join("state"), dir.path().join("other"));
    std::fs::create_dir(&state).unwrap();
    std::fs::write(&other, "somebody's").unwrap();
    let socket = dir.path().join("run/agent.sock");
    std::fs::create_dir(dir.path().join("run")).unwrap();
    let control = crate::config::Control { socket: socket.clone(), ..Default::default() };
    let config = Config { state_dir: state.clone(), control, ..Config::default() };
    apart(move || {
        set_no_new_privs(true).unwrap();
        if let Err(why) = restrict_files(&config) {
            println!("SKIPPED: {why}");
            return;
        }
        let denied = |result: std::io::Result<()>| result.unwrap_err().kind() == ErrorKind::PermissionDenied;
        std::fs::write(state.join("draft"), "mine").unwrap();
        std::fs::rename(state.join("draft"), state.join("kept")).unwrap();
        std::fs::create_dir(state.join("recordings")).unwrap();
        assert_eq!(std::fs::read_to_string(state.join("kept")).unwrap(), "mine");
        std::fs::read_to_string("/proc/self/status").unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        std::fs::remove_file(&socket).unwrap();
        assert!(denied(std::fs::read(&other).map(drop)));
        assert!(denied(std::fs::write(&other, "mine")));
        assert!(denied(std::fs::write(socket.with_file_name("program"), "")));
        assert!(denied(std::fs::write("/etc/postern-was-here", "")));
        // In a directory that may be read: running is another right.
        assert_eq!(Command::new("/usr/bin/env").status().unwrap_err().kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn a_thread_keeps_no_capability_but_those_it_asks_for() {
    apart(|| {
        drop_capabilities(CapabilitySet::NET_BIND_SERVICE).unwrap();
        let left = rustix::thread::capabilities(None).unwrap();
        assert_eq!(left.permitted.difference(CapabilitySet::NET_BIND_SERVICE), CapabilitySet::empty());
        drop_capabilities(CapabilitySet::empty()).unwrap();
        let left = rustix::thread::capabilities(None).unwrap();
        assert_eq!((left.permitted, left.effective), (CapabilitySet::empty(), CapabilitySet::empty()));
    });
}

#[test]
fn low_ports_and_old_kernels_keep_what_they_need() {
    let listening =
        |port: u16| kept(&Config { listen: Some(([127, 0, 0, 1], port).into()), ..Config::default() });
    assert_eq!(listening(443), CapabilitySet::NET_BIND_SERVICE);
    assert_eq!((listening(7441), listening(0)), (CapabilitySet::empty(), CapabilitySet::empty()));
    assert!(is_older_than(c"4.14.221", (5, 7)) && is_older_than(c"5.6.0-rc1", (5, 7)));
    assert!(!is_older_than(c"5.7.0", (5, 7)) && !is_older_than(c"6.18.44-fc", (5, 7)));
    assert!(!is_older_than(c"unheard of", (5, 7)));
}

#[test]
fn what_an_older_kernel_leaves_open_is_said() {
    assert_eq!(reach(ABI::V10), "landlock 10");
    assert_eq!(reach(ABI::V5), "landlock 5");
    assert_eq!(reach(ABI::V4), "landlock 4; control of devices is left to their modes, before Linux 6.10");
    let oldest = "landlock 1; truncation by name is left to their modes, before Linux 6.2; control of devices is left to \
                  their modes, before Linux 6.10";
    assert_eq!(reach(ABI::V1), oldest);
}
