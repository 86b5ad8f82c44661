//! A simulated injection-moulding press, "press-7", with a web page, a live WebSocket and a VNC panel on loopback.
//!
//! 1. [`Machine::start`] binds three listeners on free ports and starts the process model.
//! 2. One task owns the model: it steps it with the clock and applies what people ask for.
//! 3. The three services show the same readings and hand commands back to that task.
//! 4. Dropping the [`Machine`] closes the listeners and every connection.
//!
//! Deliberately absent: passwords and TLS. Machines on a factory network have neither, which is why a gate stands
//! before them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub use self::inputs::{Counts, Inputs};
use self::process::{Command, Process, Readings};

mod inputs;
mod live;
pub mod process;
pub mod rfb;
pub mod rfb_client;
mod vnc;
mod web;

/// A running press; it stops when it is dropped.
#[derive(Debug)]
pub struct Machine {
    /// Address of the web pages.
    pub web: SocketAddr,
    /// Address of the stand-alone WebSocket service.
    pub live: SocketAddr,
    /// Address of the VNC panel.
    pub vnc: SocketAddr,
    /// What the panel received from its viewers.
    pub inputs: Inputs,
    readings: watch::Receiver<Readings>,
    /// Aborted on drop, and with them every connection that they own.
    _tasks: JoinSet<()>,
}

impl Machine {
    /// Starts a press on loopback whose process follows `seed`.
    ///
    /// # Errors
    /// When no listener can be bound on loopback.
    pub async fn start(seed: u64) -> io::Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let (web, live, vnc) = (bind().await?, bind().await?, bind().await?);
        let process = Process::new(seed);
        let (readings_in, readings) = watch::channel(process.readings());
        let (commands, orders) = mpsc::channel(COMMANDS_WAITING);
        let inputs = Inputs::default();
        let (web_at, live_at, vnc_at) = (web.local_addr()?, live.local_addr()?, vnc.local_addr()?);

        let mut tasks = JoinSet::new();
        tasks.spawn(drive(process, orders, readings_in));
        tasks.spawn(web::serve(web, readings.clone(), commands.clone()));
        tasks.spawn(live::serve(live, readings.clone()));
        tasks.spawn(vnc::serve(vnc, readings.clone(), inputs.clone(), commands));
        Ok(Self { web: web_at, live: live_at, vnc: vnc_at, inputs, readings, _tasks: tasks })
    }

    /// What the instruments show now.
    pub fn readings(&self) -> Readings {
        self.readings.borrow().clone()
    }

    /// Waits until the instruments satisfy `condition`; `None` when the press stopped first.
    pub async fn readings_when(&self, mut condition: impl FnMut(&Readings) -> bool) -> Option<Readings> {
        let mut readings = self.readings.clone();
        readings.wait_for(|now| condition(now)).await.ok().map(|now| now.clone())
    }
}

/// Owns the model: steps it with the clock, applies commands and publishes what the instruments show.
async fn drive(mut process: Process, mut orders: mpsc::Receiver<Command>, readings: watch::Sender<Readings>) {
    let mut ticks = interval(PUBLISH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut stepped_at = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(command) = orders.recv() => process.apply(command),
        }
        let now = Instant::now();
        process.step(now.duration_since(stepped_at));
        stepped_at = now;
        readings.send_replace(process.readings());
    }
}

/// How often the instruments are read.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Commands that may wait; more are dropped, as a panel ignores presses that come too fast.
const COMMANDS_WAITING: usize = 16;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    use super::process::State;
    use super::*;

    #[tokio::test]
    async fn a_started_press_publishes_new_readings() {
        let machine = Machine::start(1).await.unwrap();
        assert_eq!(machine.readings().state, State::Running);
        let later = machine.readings_when(|now| now.pressure_trend_bar.len() >= 2).await.unwrap();
        assert_eq!(later.machine, "press-7");
    }

    #[tokio::test]
    async fn dropping_the_press_closes_its_connections_and_listeners() {
        let machine = Machine::start(1).await.unwrap();
        let (vnc, live, web) = (machine.vnc, machine.live, machine.web);
        let mut viewer = TcpStream::connect(vnc).await.unwrap();
        let mut banner = [0; 12];
        viewer.read_exact(&mut banner).await.unwrap();
        drop(machine);
        // The tasks end at their next poll; the viewer's end of file says that this has happened.
        let mut rest = Vec::new();
        viewer.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
        for address in [vnc, live, web] {
            loop {
                match TcpStream::connect(address).await {
                    Err(error) => break assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
                    Ok(_) => tokio::task::yield_now().await,
                }
            }
        }
    }
}
