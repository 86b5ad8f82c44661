//! Sudden ends: `kill -9` of the engineer's program and of the agent while a VPN is being opened, while much is under way, and while a
//! connection is being closed. Nothing stays behind on either computer, and machines hear that their connections are over.
//!
//! The moments are drawn: `POSTERN_SEED` draws others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_tests::world::{Call, DEVICE, Mishap, Office, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::paths::seed;
use super::plant::{ECHO, Plant, enter};
use super::stage::Outcome;

/// When somebody is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Opening,
    Bulk,
    Closing,
}

const MOMENTS: [Moment; 6] =
    [Moment::Bulk, Moment::Opening, Moment::Closing, Moment::Opening, Moment::Bulk, Moment::Opening];

/// Numbers that a seed draws.
struct Dice(u64);

impl Dice {
    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        // Knuth's MMIX; its upper bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// Waits until `lacking` finds nothing any more.
async fn until(within: Duration, lacking: impl Fn() -> Result<Option<String>, Mishap>) -> Outcome {
    let begun = Instant::now();
    while let Some(lacking) = lacking()? {
        if begun.elapsed() > within {
            return Err(Mishap::unexpected(format!("after {within:?}"), lacking, "nothing of that"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What differs between two looks at a computer: its network, and how many processes it has there.
fn changed((before, here): &(String, usize), (after, left): (String, usize)) -> Option<String> {
    let (before, after) = (counted(before), counted(&after));
    let differing = after.iter().filter(|(line, count)| before.get(*line) != Some(count));
    let gone =
        before.iter().filter(|(line, _)| !after.contains_key(*line)).map(|(line, count)| (line, -count));
    let differing = differing.map(|(line, count)| (line, *count)).chain(gone);
    let lines: String = differing.map(|(line, count)| format!("{count} x {line}\n")).collect();
    let more = (left != *here).then(|| format!("{left} processes instead of {here}\n"));
    let whole = lines + &more.unwrap_or_default();
    (!whole.is_empty()).then_some(whole)
}

/// How often each line is there. An agent that is started again asks for its hub from another port.
fn counted(shape: &str) -> BTreeMap<String, i32> {
    let mut lines = BTreeMap::new();
    for line in shape.lines() {
        // Columns are as wide as what is in them.
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let port = line.find("0.0.0.0:").filter(|_| line.starts_with("udp"));
        *lines.entry(port.map_or(line.as_str(), |at| &line[..at]).to_owned()).or_default() += 1;
    }
    lines
}

/// Connections that the machine still takes for open.
fn open_at(echo: &Running) -> Option<String> {
    let [began, fin, reset] = heard(echo);
    (began != fin + reset)
        .then(|| format!("{began} connections began, {fin} ended in order, {reset} were reset"))
}

/// How many connections the machine has seen to begin, and how many to end in which way.
fn heard(echo: &Running) -> [usize; 3] {
    let log = echo.log();
    ["began", "fin", "reset"]
        .map(|word| log.lines().filter(|line| line.ends_with(&format!("| {word}"))).count())
}

/// Uploads to the echo until `end` says so. What comes back is read now and then, so that both directions are full.
async fn bulk(at: SocketAddr, carried: watch::Sender<f64>, mut end: watch::Receiver<bool>) -> Outcome {
    let socket = TcpStream::connect(at).await?;
    // Whoever is cut off for good need not try to say goodbye.
    socket.set_zero_linger()?;
    let (mut reader, mut writer) = socket.into_split();
    let up = async {
        while writer.write_all(&[7; 16 * 1024]).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let down = async {
        let mut block = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut block).await {
            carried.send_modify(|carried| *carried += count as f64);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        _ended = end.wait_for(|end| *end) => {}
    }
    Ok(())
}

/// Sends a word, hears it, and closes; yields when the end was said, and stays until the echo has closed or `end` says so.
async fn closing(at: SocketAddr, said: watch::Sender<bool>, mut end: watch::Receiver<bool>) -> Outcome {
    let mut socket = TcpStream::connect(at).await?;
    socket.set_zero_linger()?;
    socket.write_all(b"x").await?;
    socket.read_u8().await?;
    socket.shutdown().await?;
    said.send_replace(true);
    tokio::select! {
        _closed = socket.read_u8() => {}
        _ended = end.wait_for(|end| *end) => {}
    }
    Ok(())
}

/// Brings a VPN up and has it in the state in which somebody is to be killed; then `kill` does that, and gets the VPN.
async fn in_the_middle(
    plant: &Plant,
    office: &Office,
    (moment, share, opening): (Moment, f64, Duration),
    kill: impl AsyncFnOnce(&mut Running) -> Outcome,
) -> Outcome {
    if let Moment::Opening = moment {
        let mut vpn = office.at(&plant.anna.call(["vpn", DEVICE, "--json"])).start("postern vpn")?;
        tokio::time::sleep(opening.mul_f64(share)).await;
        kill(&mut vpn).await?;
        let _killed_already = vpn.kill().await;
        return Ok(());
    }
    let (mut vpn, machine, _said) = plant.adapter(office).await?;
    let at = SocketAddr::new(machine, ECHO);
    let (stop, end) = watch::channel(false);
    let killing = async |kill_it: &mut Running| {
        let outcome = kill(kill_it).await;
        stop.send_replace(true);
        outcome
    };
    let killed = match moment {
        Moment::Bulk | Moment::Opening => {
            let (carried, mut seen) = watch::channel(0.0);
            let goal = 100_000.0 + 2e6 * share;
            let loaded = office.run(move || bulk(at, carried, end));
            let killer = async {
                let _carried = seen.wait_for(|seen| *seen >= goal).await;
                killing(&mut vpn).await
            };
            tokio::join!(loaded, killer)
        }
        Moment::Closing => {
            let (closed, mut seen) = watch::channel(false);
            let loaded = office.run(move || closing(at, closed, end));
            let killer = async {
                let _said = seen.wait_for(|said| *said).await;
                tokio::time::sleep(Duration::from_millis(20).mul_f64(share)).await;
                killing(&mut vpn).await
            };
            tokio::join!(loaded, killer)
        }
    };
    killed.0.and(killed.1)?;
    let _killed_already = vpn.kill().await;
    Ok(())
}

/// How long a VPN takes to come up on this computer.
async fn opening(plant: &Plant, office: &Office) -> Result<Duration, Mishap> {
    let begun = Instant::now();
    let (mut vpn, _machine, _said) = plant.adapter(office).await?;
    let took = begun.elapsed();
    vpn.stop().await?;
    Ok(took)
}

#[tokio::test]
async fn a_killed_client_leaves_nothing_behind_and_machines_hear_the_end() -> Outcome {
    let Some(site) = enter("a_killed_client_leaves_nothing_behind_and_machines_hear_the_end", 0)? else {
        return Ok(());
    };
    let office = Office::beside(&[&site], 1500)?;
    let plant = Plant::start(site, "a page", None).await?;
    let (here, there) = (office.shape()?, plant.site.shape()?);
    let mut dice = Dice(seed());
    let took = opening(&plant, &office).await?;
    until(SOON, || Ok(changed(&here, office.shape()?))).await?;
    for moment in MOMENTS {
        let share = dice.share();
        println!("the client is killed at {moment:?}, {share}");
        in_the_middle(&plant, &office, (moment, share, took), async |vpn: &mut Running| {
            vpn.kill().await.map(drop)
        })
        .await?;
        until(SOON, || Ok(changed(&here, office.shape()?))).await?;
    }
    // A connection that was silent when its client was killed: the machine hears its end in order.
    let (mut vpn, machine, _said) = plant.adapter(&office).await?;
    let at = SocketAddr::new(machine, ECHO);
    let silent = office.run(move || async move {
        let mut socket = TcpStream::connect(at).await?;
        socket.set_zero_linger()?;
        socket.write_all(b"x").await?;
        Ok((socket.read_u8().await?, socket.into_std()?))
    });
    let (echoed, socket) = silent.await?;
    assert_eq!(echoed, b'x');
    let [_, in_order, _] = heard(&plant.echo);
    vpn.kill().await?;
    drop(socket);
    // Nobody tells the device; it is the silence of the connection that does.
    until(LOST, || Ok(open_at(&plant.echo))).await?;
    assert!(heard(&plant.echo)[1] > in_order, "the machine has heard a reset instead of an end");
    until(SOON, || Ok(changed(&here, office.shape()?))).await?;
    until(SOON, || Ok(changed(&there, plant.site.shape()?))).await
}

#[tokio::test]
async fn a_killed_agent_leaves_nothing_behind_and_machines_hear_the_end_at_once() -> Outcome {
    let name = "a_killed_agent_leaves_nothing_behind_and_machines_hear_the_end_at_once";
    let Some(site) = enter(name, 0)? else { return Ok(()) };
    let office = Office::beside(&[&site], 1500)?;
    let mut plant = Plant::start(site, "a page", None).await?;
    let (here, there) = (office.shape()?, plant.site.shape()?);
    let mut dice = Dice(seed());
    let took = opening(&plant, &office).await?;
    for moment in MOMENTS {
        let share = dice.share();
        println!("the agent is killed at {moment:?}, {share}");
        let agent = plant.world.device.running()?.pid().map(|pid| pid.to_string()).unwrap_or_default();
        let kill = async |_vpn: &mut Running| {
            Call::new("kill").args(["-KILL", &agent]).finish().await?.expect_code(0)?;
            // The kernel closes what the agent had open, and nobody waits for anything.
            until(AT_ONCE, || Ok(open_at(&plant.echo))).await
        };
        in_the_middle(&plant, &office, (moment, share, took), kill).await?;
        until(SOON, || Ok(changed(&here, office.shape()?))).await?;
        plant.world.device.kill().await?;
        plant.world.device.run().await?;
        plant.world.settle().await?;
        until(SOON, || Ok(changed(&there, plant.site.shape()?))).await?;
    }
    // And it serves again.
    let (_vpn, machine, _said) = plant.adapter(&office).await?;
    let at = SocketAddr::new(machine, ECHO);
    let (said, heard) = watch::channel(false);
    let (_open, end) = watch::channel(false);
    office.run(move || closing(at, said, end)).await?;
    assert!(*heard.borrow(), "the machine has answered");
    Ok(())
}

/// Time for the kernel, and for the machine to hear of it on a busy computer.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Time for the kernel and for programs that end in order.
const SOON: Duration = Duration::from_secs(15);
/// A connection that is silent for so long is lost (45 s), and then some.
const LOST: Duration = Duration::from_secs(75);
