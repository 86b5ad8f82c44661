//! Programs whose files run out, because others hold connections: they say so, neither spin nor end, and serve again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postern_tests::world::probe::within;
use postern_tests::world::{Mishap, Running};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::cloud::{AT_ONCE, Sockets, descriptors, status_of, token_of_anna};
use crate::end_to_end::gate::echoed;
use crate::end_to_end::stage::{Outcome, Plant};

/// Leaves a running program so many files beside those that it has; yields its limit until then.
fn leave_files(running: &Running, spare: usize) -> Result<Rlimit, Mishap> {
    // The limit is of their numbers, among which there are gaps.
    let open = std::fs::read_dir(format!("/proc/{}/fd", running.pid().unwrap()))?;
    let open: BTreeSet<usize> =
        open.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).collect();
    let most = (0..).filter(|number| !open.contains(number)).nth(spare).unwrap();
    let most = u64::try_from(most).unwrap();
    let before = limit(running, None)?;
    limit(running, Some(Rlimit { current: Some(most), maximum: before.maximum }))
}

/// The limit of a running program, and another one for it.
fn limit(running: &Running, new: Option<Rlimit>) -> Result<Rlimit, Mishap> {
    let pid = running.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let same = || {
        let text = std::fs::read_to_string(format!("/proc/{}/limits", running.pid().unwrap()))?;
        let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok()).skip(3);
        Ok::<_, Mishap>(Rlimit { current: numbers.next().unwrap(), maximum: numbers.next().unwrap() })
    };
    match new {
        None => same(),
        Some(new) => Ok(prlimit(pid, Resource::Nofile, new).map_err(std::io::Error::from)?),
    }
}

/// Seconds of a processor that it has used.
fn busy(running: &Running) -> Result<Duration, Mishap> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid().unwrap()))?;
    // Behind the name, which may contain anything: the 12th and 13th field, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Ok(Duration::from_millis(10 * ticks))
}

#[tokio::test]
async fn a_hub_without_files_says_so_neither_spins_nor_ends_and_serves_again() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    world.hub.stop().await?;
    world.hub.open_api();
    world.hub.serve().await?;
    let (at, token) = (world.hub.api().await?, token_of_anna(&world).await?);
    let hub = world.hub.running()?;
    let begun = limit(hub, None)?;
    assert_eq!(begun.current, begun.maximum, "it takes what the system lets it have");
    assert_eq!(status_of(at, &token).await?, "HTTP/1.1 200 OK");
    anna.call(["devices"]).finish().await?.expect_code(0)?;

    let before = leave_files(hub, 12)?;
    // At the relay over TLS; and at the API, which finds no file either.
    let silent = Sockets::come(world.hub.address(), 64, b"").await?;
    let short = |line: &postern_tests::world::Line| line.text.contains("a connection was not accepted");
    hub.line("that files are short", short).await?;
    let (began, used) = (Instant::now(), busy(hub)?);
    // Those over UDP need no file; who comes to the API waits for one of those who say nothing to give way.
    while began.elapsed() < Duration::from_secs(2) {
        anna.call(["devices"]).finish().await?.expect_code(0)?;
    }
    assert_eq!(status_of(at, &token).await?, "HTTP/1.1 200 OK");
    let (took, used) = (began.elapsed(), busy(hub)?.saturating_sub(used));
    println!("{used:?} of a processor in {took:?}");
    assert!(used < took / 2, "{used:?} of a processor in {took:?}");
    silent.are_cut().await?;

    assert_eq!(limit(hub, Some(before))?.maximum, before.maximum);
    assert_eq!(status_of(at, &token).await?, "HTTP/1.1 200 OK");
    let said = hub.log().lines().filter(|line| line.contains("a connection was not accepted")).count();
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap();
    assert!(said <= 2 * (minutes + 1), "{said} lines");
    world.settle().await
}

#[tokio::test]
async fn a_device_without_files_keeps_its_tunnels_answers_its_control_socket_and_opens_again() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("echo").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"before").await?, b"before");

    let files = descriptors(world.device.running()?)?;
    let before = leave_files(world.device.running()?, 2)?;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(UnixStream::connect(world.device.control_socket()).await?);
        let _gone = silent.last_mut().unwrap().write_all(b"{\"command\"").await;
    }
    let begun = Instant::now();
    world.device.call(["status", "--json"]).finish().await?.expect_code(0)?;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(echoed(&mut tunnel, b"while").await?, b"while");
    drop(silent);
    within("descriptors that are given back", async {
        while descriptors(world.device.running()?)? > files {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await?;

    // Not one for a machine: the tunnel is refused with a reason, and nothing else ends.
    leave_files(world.device.running()?, 0)?;
    let refused = session.exchange().await.unwrap_err().to_string();
    assert!(refused.contains("HTTP/1.1 50"), "{refused}");
    assert_eq!(echoed(&mut tunnel, b"still").await?, b"still");
    limit(world.device.running()?, Some(before))?;
    assert_eq!(echoed(&mut session.exchange().await?, b"again").await?, b"again");
    assert_eq!(echoed(&mut tunnel, b"after").await?, b"after");
    Ok(())
}

#[tokio::test]
async fn a_local_port_without_files_is_there_for_whoever_speaks() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let session = world.person("anna").await?.connect("echo").await?;
    let mut served = session.exchange().await?;
    assert_eq!(echoed(&mut served, b"before").await?, b"before");
    leave_files(session.running(), 6)?;
    let mut silent = Sockets::come(session.address, 24, b"").await?;
    let begun = Instant::now();
    let used = busy(session.running())?;
    let mut newcomer = session.exchange().await?;
    assert_eq!(echoed(&mut newcomer, b"newcomer").await?, b"newcomer");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(echoed(&mut served, b"while").await?, b"while");
    silent.first_is_cut().await?;
    within("some time without files", async {
        while begun.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
    .await?;
    let (took, used) = (begun.elapsed(), busy(session.running())?.saturating_sub(used));
    assert!(used < took / 2, "{used:?} of a processor in {took:?}");
    Ok(())
}
