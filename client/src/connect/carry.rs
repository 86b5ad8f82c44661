//! One tunnel: a local connection, or standard input and output, joined to a stream of the device.
//!
//! When the device cuts the tunnel, the local connection is reset rather than finished: the program at its other
//! end must not take what it has got for all there was. Where it was told why, it is not.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use postern_protocol::id::TunnelId;
use postern_protocol::policy::{Kind, Reason};
use postern_protocol::wire::registry::{CloseCode, ProtocolFault};
use postern_transport::quic::{RecvStream, SendStream, StreamFault};
use postern_transport::splice::{Limits, Meter, SpliceEnd, SpliceFault, forward_stream, splice};

use crate::connect::callers::{Noted, Seat};
use crate::connect::keeper::{State, up_within};
use crate::connect::refusal;
use crate::connect::vigil::Ends;
use crate::device::{DeviceError, DeviceLink, Opened, Wanted};
use crate::ending::Ending;
use crate::exit::Exit;
use crate::problem::Problem;

/// Carries an accepted connection to its end. Its program has said what it wants when it has said anything: machines greet first, and
/// a program that is there answers.
pub(super) async fn local_socket(
    (mut socket, seat): (TcpStream, Seat),
    kind: Kind,
    mut states: watch::Receiver<State>,
    wanted: Wanted,
    ends: Ends,
) -> Result<(), Problem> {
    // Ping-pong protocols lose 40 ms per turn to Nagle; a socket that refuses the option still works.
    let _kept = socket.set_nodelay(true);
    seat.word().heard();
    let opened = open(&mut states, &wanted, &seat).await;
    seat.word().answered();
    let broken = match opened {
        Ok(opened) => {
            let _alive = ends.note(opened.tunnel, opened.until);
            let (reader, writer) = socket.split();
            let Opened { tunnel, send, recv, .. } = opened;
            let Err(cut) = join(Noted::new(reader, seat.word().clone()), writer, send, recv).await else {
                return Ok(());
            };
            let Err(broken) = broken(tunnel, cut) else { return Ok(()) };
            broken
        }
        Err(problem) => {
            let complete = refusal::show(kind, &mut socket, &problem).await;
            Broken { problem, complete }
        }
    };
    if !broken.complete {
        let _already_closed = socket.set_zero_linger();
    }
    Err(broken.problem)
}

/// Opens a tunnel. Where the service has no place for one more, one that belongs to a silent program gives way: a port that something
/// on this computer has connected to must not be taken from its user for that.
async fn open(states: &mut watch::Receiver<State>, wanted: &Wanted, seat: &Seat) -> Result<Opened, Problem> {
    let mut wait = FREED_WITHIN;
    loop {
        let refused = match wait_until_up(states).await?.open(wanted).await {
            Ok(opened) => return Ok(opened),
            Err(refused @ (DeviceError::Occupied { .. } | DeviceError::Denied(Reason::Concurrency))) => {
                refused
            }
            Err(other) => return Err(other.into()),
        };
        if wait > LONGEST_WAIT || !seat.another_leaves() {
            return Err(refused.into());
        }
        // Its tunnel ends at the device.
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

/// Carries standard input and output.
pub(super) async fn standard_streams(opened: Opened, ends: Ends) -> Result<(), Problem> {
    let _alive = ends.note(opened.tunnel, opened.until);
    let Opened { tunnel, send, recv, .. } = opened;
    match join(tokio::io::stdin(), tokio::io::stdout(), send, recv).await {
        Ok(()) => Ok(()),
        Err(cut) => broken(tunnel, cut).map_err(|broken| broken.problem),
    }
}

/// Carries both directions to their ends.
///
/// # Errors
/// The [`Cut`], where the device ended them before their time.
pub(crate) async fn join<R, W>(
    reader: R,
    mut writer: W,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), Cut>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let meter = Meter::new();
    match splice((reader, &mut writer), (&mut send, &mut recv), &meter, Limits::NONE).await {
        Ok(SpliceEnd::Finished | SpliceEnd::Idle | SpliceEnd::Duration) => {
            // The last bytes may still be under way, and the connection may be closed right after this.
            let _late = tokio::time::timeout(LAST_BYTES, send.stopped()).await;
            Ok(())
        }
        Err(SpliceFault::Local(_)) => {
            // The local program has hung up: the device shall not carry what nobody reads.
            send.reset(0);
            recv.stop(0);
            Ok(())
        }
        // A gate that tells the program itself why it is over refuses to hear more and ends its own direction in order,
        // behind the words; whoever just cuts resets that as well.
        Err(SpliceFault::Stream(fault @ StreamFault::Stopped(code))) => {
            let rest = forward_stream(&mut recv, &mut writer, &meter);
            // With nothing wrong it has heard enough and says the rest in its own time.
            let within = if code == CloseCode::Done.number() { Duration::MAX } else { LAST_BYTES };
            let rest = tokio::time::timeout(within, rest).await;
            Err(Cut { fault, complete: matches!(rest, Ok(Ok(()))) })
        }
        Err(SpliceFault::Stream(fault)) => Err(Cut { fault, complete: false }),
    }
}

/// What becomes of a tunnel that was cut; nothing where the device had nothing to complain about.
fn broken(tunnel: TunnelId, cut: Cut) -> Result<(), Broken> {
    match cut.fault.into() {
        Ending::Said(CloseCode::Done) => Ok(()),
        ending @ (Ending::Said(_) | Ending::Lost(_)) => {
            // The number finds the row in the device's audit.
            let problem = Problem::ended(&ending, Exit::DeviceUnreachable).about(&tunnel.to_string());
            Err(Broken { problem, complete: cut.complete })
        }
    }
}

async fn wait_until_up(states: &mut watch::Receiver<State>) -> Result<Arc<DeviceLink>, Problem> {
    let late = Ending::Said(CloseCode::Fault(ProtocolFault::TimedOut));
    up_within(states, UP_WITHIN).await.ok_or_else(|| Problem::ended(&late, Exit::DeviceUnreachable))
}

/// Streams that the device ended before their time.
#[derive(Debug)]
pub(crate) struct Cut {
    /// How.
    pub(crate) fault: StreamFault,
    /// Whether the program at its other end has got all there was.
    pub(crate) complete: bool,
}

/// How a connection ended too early.
struct Broken {
    problem: Problem,
    /// Whether the program at its other end has got all there was.
    complete: bool,
}

/// Time for a place to become free, at first and at most.
const FREED_WITHIN: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long a local program is kept waiting while the device is dialled again.
const UP_WITHIN: Duration = Duration::from_secs(15);
/// A device that has not confirmed the last bytes by then has gone.
const LAST_BYTES: Duration = Duration::from_secs(5);
