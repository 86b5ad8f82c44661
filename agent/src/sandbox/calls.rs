//! System calls that a running agent never makes, and that somebody who has taken it over would.
//!
//! 1. A call by the numbers of another architecture ends the process: the numbers below would mean other calls.
//! 2. Each call of [`DENIED`] fails with `EPERM`. Threads are made, processes are not; sockets are those of [`FAMILIES`].
//! 3. Everything else is as before.
//!
//! A list of what is denied and not of what is allowed: a C library of tomorrow then needs nothing from this file, and what gives
//! power over other processes, the kernel or the network is a short list. It is data; [`program`] makes of it what the kernel reads
//! (classic BPF over `struct seccomp_data`, `linux/seccomp.h`).

use libc::c_long;
use seccompiler::sock_filter;

/// Binds this thread, and every thread that it will make, to [`program`].
///
/// # Errors
/// Why not: the kernel has no filters, or this architecture no list.
pub(super) fn restrict() -> Result<(), CallsError> {
    let program = program().ok_or(CallsError::Architecture)?;
    seccompiler::apply_filter(&program).map_err(CallsError::Kernel)
}

/// Why calls are not filtered.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallsError {
    /// The numbers of this architecture are not known here.
    #[error("there is no list of system calls for this processor")]
    Architecture,
    /// The kernel says no.
    #[error("{0}")]
    Kernel(seccompiler::Error),
}

/// What the kernel asks about every call; none on other architectures.
fn program() -> Option<Vec<sock_filter>> {
    let arch = ARCH.filter(|_| cfg!(target_endian = "little"))?;
    let mut program = Vec::new();
    program.extend([load(AT_ARCH), jump(EQUAL, arch, 1, 0), ret(KILL), load(AT_NUMBER)]);
    // On x86-64 a second set of numbers is reached by a bit of them.
    program.extend([jump(AT_LEAST, FIRST_ALIEN, 0, 1), ret(fails(libc::EPERM))]);
    for call in DENIED.iter().chain(HERE) {
        program.extend([jump(EQUAL, number(*call)?, 0, 1), ret(fails(libc::EPERM))]);
    }
    // Its flags are in memory, where a filter does not see them; libraries then use the older call.
    program.extend([jump(EQUAL, number(libc::SYS_clone3)?, 0, 1), ret(fails(libc::ENOSYS))]);
    let thread = u32::try_from(libc::CLONE_THREAD).ok()?;
    program.extend([
        jump(EQUAL, number(libc::SYS_clone)?, 0, 4),
        load(AT_FIRST),
        jump(ANY_BIT, thread, 1, 0),
        ret(fails(libc::EPERM)),
        ret(ALLOW),
    ]);
    let families = u8::try_from(FAMILIES.len()).ok()?;
    program.extend([
        jump(EQUAL, number(libc::SYS_socket)?, 0, families.checked_mul(2)?.checked_add(2)?),
        load(AT_FIRST),
    ]);
    for family in FAMILIES {
        program.extend([jump(EQUAL, u32::try_from(family).ok()?, 0, 1), ret(ALLOW)]);
    }
    program.extend([ret(fails(libc::EAFNOSUPPORT)), ret(ALLOW)]);
    Some(program)
}

/// Other programs and processes; the kernel and what is mounted; the clock; sight of other users' memory, keys and events.
const DENIED: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_personality,
];

/// What this architecture has besides.
#[cfg(target_arch = "x86_64")]
const HERE: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mknod,
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
];
#[cfg(target_arch = "aarch64")]
const HERE: &[c_long] = &[KEXEC_FILE_LOAD];
/// The last three: `kexec_file_load`, and the calls for the clock with wide seconds.
#[cfg(target_arch = "arm")]
const HERE: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_mknod, 401, 404, 405];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
const HERE: &[c_long] = &[];
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: c_long = 294;

/// Tunnels and the hub, the control socket and systemd, the kernel's neighbours.
const FAMILIES: [i32; 4] = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK];

/// `AUDIT_ARCH_*` of `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const ARCH: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCH: Option<u32> = Some(0xc000_00b7);
#[cfg(target_arch = "arm")]
const ARCH: Option<u32> = Some(0x4000_0028);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
const ARCH: Option<u32> = None;
/// `__X32_SYSCALL_BIT`; no other architecture has numbers up there, but ARM a few of its own above.
const FIRST_ALIEN: u32 = if cfg!(target_arch = "x86_64") { 0x4000_0000 } else { u32::MAX };

/// Offsets in `struct seccomp_data`; of an argument the lower half.
const AT_NUMBER: u32 = 0;
const AT_ARCH: u32 = 4;
const AT_FIRST: u32 = 16;
/// `SECCOMP_RET_*`.
const KILL: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_RET | BPF_K`, and `BPF_JMP | BPF_K` with `JEQ`, `JGE`, `JSET`.
const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;

const fn load(at: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: at }
}

const fn ret(value: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: value }
}

const fn jump(code: u16, value: u32, when: u8, otherwise: u8) -> sock_filter {
    sock_filter { code, jt: when, jf: otherwise, k: value }
}

const fn fails(errno: i32) -> u32 {
    ERRNO | errno.cast_unsigned()
}

fn number(call: c_long) -> Option<u32> {
    u32::try_from(call).ok()
}
