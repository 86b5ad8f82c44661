//! One tunnel: a local connection, or standard input and output, joined to a stream of the device.
//!
//! When the device cuts the tunnel, the local connection is reset rather than finished: the program at its other
//! end must not take what it has got for all there was. Where it was told why, it is not.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use postern_protocol::policy::Kind;
use postern_protocol::wire::registry::{CloseCode, ProtocolFault};
use postern_transport::splice::{Limits, Meter, SpliceEnd, SpliceFault, forward_stream, splice};

use crate::connect::keeper::{State, up_within};
use crate::connect::refusal;
use crate::connect::vigil::Ends;
use crate::device::{DeviceLink, Opened, Wanted};
use crate::ending::Ending;
use crate::exit::Exit;
use crate::problem::Problem;

/// Carries an accepted connection to its end.
pub(super) async fn local_socket(
    mut socket: TcpStream,
    kind: Kind,
    mut states: watch::Receiver<State>,
    wanted: Wanted,
    ends: Ends,
) -> Result<(), Problem> {
    // Ping-pong protocols lose 40 ms per turn to Nagle; a socket that refuses the option still works.
    let _kept = socket.set_nodelay(true);
    let opening = async { Ok(wait_until_up(&mut states).await?.open(&wanted).await?) };
    let broken = match opening.await {
        Ok(opened) => {
            let _alive = ends.note(opened.tunnel, opened.until);
            let (reader, writer) = socket.split();
            let Err(broken) = join(reader, writer, opened).await else { return Ok(()) };
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

/// Carries standard input and output.
pub(super) async fn standard_streams(opened: Opened, ends: Ends) -> Result<(), Problem> {
    let _alive = ends.note(opened.tunnel, opened.until);
    join(tokio::io::stdin(), tokio::io::stdout(), opened).await.map_err(|broken| broken.problem)
}

async fn join<R, W>(reader: R, writer: W, opened: Opened) -> Result<(), Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Opened { tunnel, mut send, mut recv, .. } = opened;
    let (meter, mut writer) = (Meter::new(), writer);
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
        Err(SpliceFault::Stream(fault)) => match fault.into() {
            Ending::Said(CloseCode::Done) => {
                // It has heard enough and says the rest, which comes in order or is reset; nothing is wrong.
                let _reset = forward_stream(&mut recv, &mut writer, &meter).await;
                Ok(())
            }
            ending @ (Ending::Said(_) | Ending::Lost(_)) => {
                // A gate that tells the program itself why it is over refuses to hear more and ends its own direction in
                // order, behind the words; whoever just cuts resets that as well.
                let rest = forward_stream(&mut recv, &mut writer, &meter);
                let rest = tokio::time::timeout(LAST_BYTES, rest).await;
                // The number finds the row in the device's audit.
                let problem = Problem::ended(&ending, Exit::DeviceUnreachable).about(&tunnel.to_string());
                Err(Broken { problem, complete: matches!(rest, Ok(Ok(()))) })
            }
        },
    }
}

async fn wait_until_up(states: &mut watch::Receiver<State>) -> Result<Arc<DeviceLink>, Problem> {
    let late = Ending::Said(CloseCode::Fault(ProtocolFault::TimedOut));
    up_within(states, UP_WITHIN).await.ok_or_else(|| Problem::ended(&late, Exit::DeviceUnreachable))
}

/// How a connection ended too early.
struct Broken {
    problem: Problem,
    /// Whether the program at its other end has got all there was.
    complete: bool,
}

/// How long a local program is kept waiting while the device is dialled again.
const UP_WITHIN: Duration = Duration::from_secs(15);
/// A device that has not confirmed the last bytes by then has gone.
const LAST_BYTES: Duration = Duration::from_secs(5);
