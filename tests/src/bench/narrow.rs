//! A narrow link before a peer, and what somebody feels who types beside an upload over it.
//!
//! [`Shim`] is the link; it carries UDP, so QUIC peers can be compared on it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::link::{Link, Side};
use super::load;
use super::machine::Habit;
use crate::shim::{Conditions, Shim};
use crate::world::Mishap;

/// Puts a path before `far`.
///
/// # Errors
/// When a socket cannot be opened.
pub fn before(link: &Link, far: SocketAddr, conditions: Conditions) -> Result<Shim, Mishap> {
    link.within(Side::Client, || Ok(Shim::before(link.address(Side::Client), far, conditions)?))
}

/// Round trips of 64 bytes on one connection while another uploads as fast as it can, in microseconds.
///
/// # Errors
/// When a connection breaks.
pub fn ping_under_bulk(link: &Link, at: SocketAddr, count: usize) -> Result<Vec<f64>, Mishap> {
    link.within(Side::Client, || {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let bulk = scope.spawn(|| upload_until(at, &is_over));
            let pings = load::open(at, Habit::Echo).and_then(|mut stream| {
                std::thread::sleep(FILL);
                load::round_trips(&mut stream, count, Duration::from_millis(20))
            });
            is_over.store(true, Ordering::Relaxed);
            let uploaded = bulk.join();
            let samples = pings?;
            match uploaded {
                Ok(Ok(())) => Ok(samples),
                Ok(Err(fault)) => Err(fault),
                Err(_) => Err(Mishap::unexpected("the upload", "a panic", "bytes")),
            }
        })
    })
}

fn upload_until(at: SocketAddr, is_over: &AtomicBool) -> Result<(), Mishap> {
    let mut stream: TcpStream = load::open(at, Habit::Swallow)?;
    let block = [7; 16 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(&block)?;
    }
    // What is still in buffers would fill the link for seconds more.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

/// Time for the upload to fill the link before pings count.
const FILL: Duration = Duration::from_secs(3);
