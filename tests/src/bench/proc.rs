//! What processes cost, as the kernel counts it: processor time and resident memory.

use std::collections::HashMap;
use std::fs;

/// Seconds of processor time that these processes and their living descendants have used.
#[must_use]
pub fn cpu_seconds(roots: &[u32]) -> f64 {
    let ticks = rustix::param::clock_ticks_per_second();
    let all = family(roots).into_iter().filter_map(|pid| stat(pid).map(|stat| stat.ticks)).sum::<u64>();
    all as f64 / ticks as f64
}

/// Resident memory of one process now, in KiB; none when it is gone.
#[must_use]
pub fn resident_kib(pid: u32) -> Option<f64> {
    status_kib(pid, "VmRSS:")
}

/// The highest resident memory that one process ever had, in KiB; none when it is gone.
#[must_use]
pub fn peak_kib(pid: u32) -> Option<f64> {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: u32, key: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields after the name, which may itself contain spaces and parentheses.
fn parse(line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks: number(11)? + number(12)? })
}

fn family(roots: &[u32]) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let more = children.remove(pid).unwrap_or_default();
        found.extend(more);
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b (c) S 3 7 7 0 -1 4194304 1 2 3 4 150 25 6 7 20 0 1 0 100 0 0";
        let stat = parse(line).unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 175));
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let me = std::process::id();
        assert!(resident_kib(me).unwrap() > 100.0);
        assert!(peak_kib(me) >= resident_kib(me));
        let before = cpu_seconds(&[me]);
        while cpu_seconds(&[me]) < before + 0.02 {}
    }
}
