//! The same for TCP: a connection that is ended here and made anew, with the path between its two halves.
//!
//! 1. Bytes are taken in pieces of a packet's size while the queue has room. When it has none they stay where they are, and the
//!    sender's TCP notices, as it notices a modem's full queue by its losses.
//! 2. A piece arrives when everything before it has left at the path's rate, after the delay. Nothing is lost and nothing is late: TCP
//!    would send it again.
//!
//! Each connection has the path for itself.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Conditions, GLANCE};

/// A running path for connections. It takes no more when it is dropped; those that stand go on until an end closes them.
#[derive(Debug)]
pub struct StreamShim {
    /// Where to dial instead of the far side.
    pub at: SocketAddr,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl StreamShim {
    /// Puts a path before `far`. Its sockets are at `near`, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn before(near: IpAddr, far: SocketAddr, conditions: Conditions) -> io::Result<Self> {
        let listener = TcpListener::bind((near, 0))?;
        listener.set_nonblocking(true)?;
        let (at, is_over) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&is_over);
        let accepting = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Whoever cannot be led on sees its connection end.
                    Ok((stream, _)) => drop(lead(stream, far, conditions)),
                    // Nobody comes, and nobody can be woken from another namespace.
                    Err(_) => std::thread::sleep(GLANCE),
                }
            }
        });
        Ok(Self { at, is_over, accepting: Some(accepting) })
    }
}

impl Drop for StreamShim {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
    }
}

fn lead(near: TcpStream, far: SocketAddr, conditions: Conditions) -> io::Result<()> {
    let far = TcpStream::connect(far)?;
    near.set_nonblocking(false)?;
    for socket in [&near, &far] {
        socket.set_nodelay(true)?;
        // What waits in kernels would be a second queue.
        socket2::SockRef::from(socket).set_recv_buffer_size(KERNEL_BUFFER)?;
        socket2::SockRef::from(socket).set_send_buffer_size(KERNEL_BUFFER)?;
    }
    let (near_too, far_too) = (near.try_clone()?, far.try_clone()?);
    carry(near, far, conditions);
    carry(far_too, near_too, conditions);
    Ok(())
}

/// One direction, until its source ends.
fn carry(mut from: TcpStream, mut to: TcpStream, conditions: Conditions) {
    let pieces = (conditions.queue / PIECE).max(1);
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(pieces);
    std::thread::spawn(move || {
        let (mut block, mut free) = ([0; PIECE], Instant::now());
        loop {
            let taken = match from.read(&mut block) {
                Ok(0) | Err(_) => return,
                Ok(taken) => taken,
            };
            let bits = f64::from(u32::try_from(taken).unwrap_or(u32::MAX)) * 8.0;
            let takes = conditions.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bits / rate));
            free = free.max(Instant::now()) + takes;
            let piece = block.get(..taken).unwrap_or_default().to_vec();
            if sender.send((free + conditions.delay, piece)).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok((at, piece)) = receiver.recv() {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _already_shut = to.shutdown(Shutdown::Both);
    });
}

/// Bytes of one piece.
const PIECE: usize = 1440;
const KERNEL_BUFFER: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_at_the_rate_after_the_delay_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = listener.local_addr().unwrap();
        let delay = Duration::from_millis(20);
        let conditions = Conditions { rate: Some(8e6), delay, ..Conditions::CLEAR };
        let shim = StreamShim::before(far.ip(), far, conditions).unwrap();
        let said: Vec<u8> = (0..200_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
        let begun = Instant::now();
        let mut near = TcpStream::connect(shim.at).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let speaking = std::thread::spawn({
            let said = said.clone();
            move || {
                near.write_all(&said).unwrap();
                near
            }
        });
        let mut heard = vec![0; said.len()];
        far.read_exact(&mut heard).unwrap();
        assert!(heard == said);
        // 200,000 bytes at a megabyte a second.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(200) + delay, "{took:?}");
        drop(speaking.join().unwrap());
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    }
}
