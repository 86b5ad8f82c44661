//! A connection that moves: to the device when it can be dialled, and back to the relay when it no longer can.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::middle::Middle;
use super::peers::{Relay, Ways};
use super::wall::Wall;
use crate::bench::link::{Link, Side};
use crate::bench::load;
use crate::bench::machine::Habit;
use crate::bench::product::{Device, Site};
use crate::bench::report::{Column, Grid};
use crate::world::Mishap;

/// How long `postern connect` takes until its listener is there, from the start of the program.
///
/// # Errors
/// When it does not come up.
pub(super) fn connecting(site: &Site, ways: &Ways, rounds: u32) -> Result<Grid, Mishap> {
    let title = "From `postern connect` to its listener";
    let mut grid = Grid::new("connecting", title, None, &[Column { id: "ms", title: "ms" }]);
    for _ in 0..rounds {
        for (name, device) in &ways.devices {
            let begun = Instant::now();
            let (program, _) = site.connect(device.name())?;
            grid.add(name, "ms", begun.elapsed().as_secs_f64() * 1e3);
            program.stop()?;
        }
    }
    Ok(grid)
}

/// The longest silences of a stream of small messages beside an upload, while the connection under both moves.
///
/// # Errors
/// When a byte is lost, or the connection does not move.
pub(super) fn moving(middle: &Middle, site: &Site, dir: &Path, rounds: u32) -> Result<Grid, Mishap> {
    let link = middle.link();
    let title = "The longest silence of 64 bytes every 20 ms beside an upload, while the connection moves";
    let mut grid = Grid::new("moves", title, None, &[Column { id: "gap", title: "ms" }]);
    let relay = Relay::start(link, Side::Relay, site, &dir.join("moving"))?;
    let device = site.device("moving", dir)?;
    let place = relay.place(true);
    site.hub.relay("moving", [place.clone(), place], relay.key.clone())?;
    let wall = Wall::before(link, "moving", device.listen())?;
    for _ in 0..rounds {
        wall.close()?;
        let (client, at) = site.connect("moving")?;
        arrives(&device, "relayed")?;
        let (to_device, to_relay) = under_load(link, at, |gaps| {
            wall.open()?;
            arrives(&device, "direct")?;
            std::thread::sleep(CALM);
            let to_device = gaps.take();
            wall.close()?;
            arrives(&device, "relayed")?;
            std::thread::sleep(CALM);
            Ok((to_device, gaps.take()))
        })?;
        grid.add(TO_DEVICE, "gap", to_device.as_secs_f64() * 1e3);
        grid.add(TO_RELAY, "gap", to_relay.as_secs_f64() * 1e3);
        client.stop()?;
    }
    wall.open()?;
    Ok(grid)
}

/// Does something while bytes go both ways, and sees to it that none is lost.
fn under_load<T>(
    link: &Link,
    at: SocketAddr,
    work: impl FnOnce(&Gaps) -> Result<T, Mishap>,
) -> Result<T, Mishap> {
    let (gaps, is_over) = (Gaps::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let uploading = scope.spawn(|| link.within(Side::Client, || upload(at, &is_over)));
        let listening = scope.spawn(|| link.within(Side::Client, || listen(at, &gaps, &is_over)));
        std::thread::sleep(CALM);
        gaps.take();
        let outcome = work(&gaps);
        is_over.store(true, Ordering::Relaxed);
        for ended in [uploading.join(), listening.join()] {
            ended.unwrap_or_else(|_| Err(Mishap::unexpected("the load", "a panic", "bytes")))?;
        }
        outcome
    })
}

/// The longest silence since somebody asked.
#[derive(Debug, Default)]
struct Gaps(Mutex<Duration>);

impl Gaps {
    fn take(&self) -> Duration {
        self.0.lock().map(|mut longest| std::mem::take(&mut *longest)).unwrap_or_default()
    }

    fn note(&self, gap: Duration) {
        if let Ok(mut longest) = self.0.lock() {
            *longest = gap.max(*longest);
        }
    }
}

fn listen(at: SocketAddr, gaps: &Gaps, is_over: &AtomicBool) -> Result<(), Mishap> {
    let mut stream = load::open(at, Habit::Drip)?;
    let (mut block, mut last) = ([0; 64], Instant::now());
    while !is_over.load(Ordering::Relaxed) {
        stream.read_exact(&mut block)?;
        gaps.note(last.elapsed());
        last = Instant::now();
    }
    Ok(())
}

fn upload(at: SocketAddr, is_over: &AtomicBool) -> Result<(), Mishap> {
    let mut stream = load::open(at, Habit::Swallow)?;
    let (block, mut sent) = ([7; 16 * 1024], 0);
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(&block)?;
        sent += u64::try_from(block.len()).unwrap_or(0);
    }
    stream.shutdown(Shutdown::Write)?;
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    let arrived = u64::from_le_bytes(total);
    if arrived == sent { Ok(()) } else { Err(Mishap::unexpected("the upload", arrived, sent)) }
}

/// Waits until the device sees its caller on a path.
fn arrives(device: &Device, path: &str) -> Result<(), Mishap> {
    let end = Instant::now() + WITHIN;
    loop {
        let seen = device.run(&["sessions", "--json"])?;
        if seen.contains(&format!("\"path\":\"{path}\"")) || seen.contains(&format!("\"path\": \"{path}\"")) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Mishap::Deadline { what: format!("the path `{path}`"), within: WITHIN, seen });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// While nothing is wrong any more.
pub(super) const TO_DEVICE: &str = "from the relay to the device";
/// After the way has gone: it is noticed by the silence of three seconds.
pub(super) const TO_RELAY: &str = "from a way that has gone to the relay";
const CALM: Duration = Duration::from_millis(1500);
const WITHIN: Duration = Duration::from_secs(60);
