//! Carries a WebSocket frame by frame, under a permit and on a leash.
//!
//! 1. Both directions go through [`Frames`]: what breaks the protocol or a limit ends the connection, with a close frame that says so.
//! 2. While the permit only looks, messages of the client are dropped and control frames pass. A permit that is narrowed while a
//!    message is on its way ends the connection: half a message can neither be finished nor taken back.
//! 3. A cut stops both directions first. Then the client reads a close frame with code 1008 and the reason, if it can be put
//!    between two frames; otherwise the stream is reset with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use postern_protocol::audit::GateCounts;
use postern_protocol::gate::rfb::Tally;
use postern_protocol::gate::websocket::{
    FrameFault, Frames, Limits, POLICY_VIOLATION, Piece, Sender, close_frame,
};
use postern_protocol::policy::{Permit, Reason, Rules};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_transport::quic::{RecvStream, SendStream, StreamFault};

use super::ending::exhausted;
use super::http::{Line, Shears, Upgraded};
use crate::registry::{Admitted, Ruling};

/// Carries frames between client and machine; returns why it ended, and what passed. The stream is over then.
pub(super) async fn carry(
    upgraded: Upgraded,
    tunnel: &Admitted,
    (send, recv): (&mut SendStream, &mut RecvStream),
) -> (CloseCode, GateCounts) {
    let Upgraded { permit, line, shears, early, tunnel: _ } = upgraded;
    let talk = Talk::new(&permit);
    let end = talk.run(permit, tunnel, (line, &shears), early, (&mut *send, &mut *recv)).await;
    let counts = talk.counts();
    talk.part(end, (send, recv)).await;
    (end.code(), counts)
}

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Both sides are done.
    Finished,
    /// The client abandoned the tunnel.
    Lost,
    /// The machine broke off.
    Broken,
    /// One side sent what does not pass.
    Fault(Sender, FrameFault),
    /// The registry or a limit stopped it.
    Stopped(CloseCode),
}

/// What both directions and the leash share.
struct Talk {
    to_machine: Mutex<Frames>,
    to_client: Mutex<Frames>,
    /// A part of a message is being written to the machine.
    is_telling: AtomicBool,
    /// The client has whole frames only, and nothing is being written.
    is_between: AtomicBool,
}

impl End {
    const fn code(self) -> CloseCode {
        match self {
            Self::Finished | Self::Lost => CloseCode::Done,
            Self::Broken | Self::Fault(Sender::Machine, _) => CloseCode::Failed(Failure::Broken),
            Self::Fault(Sender::Client, FrameFault::Narrowed) => CloseCode::Denied(Reason::ViewOnly),
            Self::Fault(Sender::Client, _) => CloseCode::Failed(Failure::NotUnderstood),
            Self::Stopped(code) => code,
        }
    }

    /// What the client reads.
    fn close_frame(self) -> Option<Vec<u8>> {
        let told = |code: CloseCode| format!("{}: {}; {}", code.word(), code.sentence(), code.next_step());
        match self {
            Self::Finished | Self::Lost => None,
            // 1011: the server cannot go on.
            Self::Broken => Some(close_frame(1011, "the machine broke the connection off")),
            Self::Fault(_, fault) => Some(close_frame(fault.close_code(), &fault.to_string())),
            Self::Stopped(code @ (CloseCode::Denied(_) | CloseCode::Failed(Failure::Ended))) => {
                Some(close_frame(POLICY_VIOLATION, &told(code)))
            }
            // 1001: going away.
            Self::Stopped(code) => Some(close_frame(1001, &told(code))),
        }
    }
}

impl Talk {
    fn new(permit: &Permit) -> Self {
        let limits = match permit.service().reach.rules() {
            Some(Rules::Websocket(rules)) => {
                Limits { frame: rules.frame_bytes, message: rules.message_bytes }
            }
            // Nothing passes under a permit of another kind.
            Some(Rules::Vnc(_) | Rules::Http(_)) | None => Limits { frame: 0, message: 0 },
        };
        Self {
            to_machine: Mutex::new(Frames::new(Sender::Client, limits, permit.mode().touches())),
            to_client: Mutex::new(Frames::new(Sender::Machine, limits, true)),
            is_telling: AtomicBool::new(false),
            is_between: AtomicBool::new(true),
        }
    }

    async fn run(
        &self,
        mut permit: Arc<Permit>,
        tunnel: &Admitted,
        (line, shears): (Line, &Shears),
        early: Bytes,
        (send, recv): (&mut SendStream, &mut RecvStream),
    ) -> End {
        let mut reins = tunnel.leash.reins();
        let mut gone = std::pin::pin!(send.stopped());
        let (reader, writer) = tokio::io::split(line);
        let mut talking = std::pin::pin!(async {
            let both = tokio::try_join!(self.tell(recv, writer), self.hear(reader, early, send));
            both.map_or_else(|end| end, |((), ())| End::Finished)
        });
        let end = loop {
            tokio::select! {
                // A ruling goes before bytes that are ready.
                biased;
                ruling = reins.changed() => match ruling {
                    Ruling::Permitted(newer) => {
                        if newer.service().upstream() != permit.service().upstream() {
                            // As in HTTP: what is connected is not what is permitted.
                            break End::Stopped(CloseCode::Denied(Reason::Revoked));
                        }
                        permit = newer;
                        if let Err(fault) = self.renew(permit.mode().touches()) {
                            break End::Fault(Sender::Client, fault);
                        }
                    }
                    Ruling::Cut(code) => break End::Stopped(code),
                },
                failure = exhausted(&permit, &tunnel.meter) => break End::Stopped(CloseCode::Failed(failure)),
                _stopped = &mut gone => break End::Lost,
                end = &mut talking => break end,
            }
        };
        if end != End::Finished {
            // The line goes with `talking`, and nothing more of what it holds reaches the machine.
            shears.open();
        }
        end
    }

    /// Lets messages to the machine pass from now on, or no more.
    fn renew(&self, is_open: bool) -> Result<(), FrameFault> {
        lock(&self.to_machine).handle_open(is_open)?;
        // Judged under the wider permit, and not with the machine yet.
        if !is_open && self.is_telling.load(Ordering::Relaxed) {
            return Err(FrameFault::Narrowed);
        }
        Ok(())
    }

    /// Frames of the client to the machine, until the client ends.
    async fn tell(&self, recv: &mut RecvStream, mut writer: WriteHalf<Line>) -> Result<(), End> {
        while let Some(chunk) = recv.read_chunk(CHUNK_BYTES).await.map_err(lost)? {
            let mut rest = chunk;
            while !rest.is_empty() {
                let (taken, piece) = {
                    let mut frames = lock(&self.to_machine);
                    let taken = frames.take(&rest).map_err(|fault| End::Fault(Sender::Client, fault))?;
                    self.is_telling.store(!matches!(taken.1, Piece::Nothing), Ordering::Relaxed);
                    taken
                };
                let written = match piece {
                    Piece::Nothing => Ok(()),
                    Piece::Kept(bytes) => writer.write_all(&bytes).await,
                    Piece::Through(range) => writer.write_all(rest.get(range).unwrap_or_default()).await,
                };
                written.map_err(|_error| End::Broken)?;
                self.is_telling.store(false, Ordering::Relaxed);
                let _taken = rest.split_to(taken);
            }
            writer.flush().await.map_err(|_error| End::Broken)?;
        }
        // Whoever hung up already needs no FIN.
        let _already_closed = writer.shutdown().await;
        Ok(())
    }

    /// Frames of the machine to the client, until the machine ends.
    async fn hear(&self, mut reader: ReadHalf<Line>, early: Bytes, send: &mut SendStream) -> Result<(), End> {
        let mut read = early;
        loop {
            let (passing, fault) = passing(&mut lock(&self.to_client), &read);
            if !passing.is_empty() {
                self.is_between.store(false, Ordering::Relaxed);
                send.write_chunk(passing).await.map_err(lost)?;
                self.is_between.store(lock(&self.to_client).is_between(), Ordering::Relaxed);
            }
            if let Some(fault) = fault {
                return Err(End::Fault(Sender::Machine, fault));
            }
            let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
            if reader.read_buf(&mut buffer).await.map_err(|_error| End::Broken)? == 0 {
                let _reset_before = send.finish();
                return Ok(());
            }
            read = buffer.freeze();
        }
    }

    /// Ends the stream, with a close frame where one can stand.
    async fn part(&self, end: End, (send, recv): (&mut SendStream, &mut RecvStream)) {
        let code = end.code().number();
        if end == End::Finished {
            return;
        }
        let farewell = end.close_frame().filter(|_| self.is_between.load(Ordering::Relaxed));
        if let Some(farewell) = farewell {
            let told = async {
                send.write_all(&farewell).await?;
                send.finish()?;
                // Stopping the other direction earlier would have the client drop what it has not passed on.
                let _delivered_or_gone = send.stopped().await;
                Ok::<(), StreamFault>(())
            };
            if matches!(tokio::time::timeout(FAREWELL, told).await, Ok(Ok(()))) {
                return recv.stop(code);
            }
        }
        send.reset(code);
        recv.stop(code);
    }

    fn counts(&self) -> GateCounts {
        let (told, heard) = (lock(&self.to_machine).counters(), lock(&self.to_client).counters());
        GateCounts::Websocket {
            to_machine: Tally { forwarded: told.messages, dropped: told.dropped },
            to_client: heard.messages,
            controls: told.controls.saturating_add(heard.controls),
        }
    }
}

/// What passes of the bytes that were read, and what is wrong with those behind it. It is one chunk, however small the frames are:
/// the stream looks through all its chunks for each packet, and a machine must not make it look through a hundred thousand.
fn passing(frames: &mut Frames, read: &Bytes) -> (Bytes, Option<FrameFault>) {
    let (mut passing, mut at) = (BytesMut::new(), 0);
    while let Some(rest) = read.get(at..).filter(|rest| !rest.is_empty()) {
        match frames.take(rest) {
            Err(fault) => return (passing.freeze(), Some(fault)),
            // In the middle of a large frame.
            Ok((taken, Piece::Through(range))) if taken == read.len() => return (read.slice(range), None),
            Ok((taken, piece)) => {
                match piece {
                    Piece::Nothing => {}
                    Piece::Kept(bytes) => passing.extend_from_slice(&bytes),
                    Piece::Through(range) => passing.extend_from_slice(rest.get(range).unwrap_or_default()),
                }
                at += taken;
            }
        }
    }
    (passing.freeze(), None)
}

fn lock(frames: &Mutex<Frames>) -> MutexGuard<'_, Frames> {
    frames.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client's stream failed.
fn lost(_fault: StreamFault) -> End {
    End::Lost
}

/// Bytes taken at once: little is judged ahead of what the other side takes.
const CHUNK_BYTES: usize = 16 * 1024;
/// For the client to read why it is over.
const FAREWELL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        Frames::new(Sender::Machine, Limits { frame: 1 << 20, message: 1 << 20 }, true)
    }

    #[test]
    fn small_frames_that_came_together_go_on_together_and_none_behind_a_fault() {
        let fragments = Bytes::from([&[2, 1, b'a'][..], &[0, 1, b'b'].repeat(100)].concat());
        assert_eq!(passing(&mut frames(), &fragments), (fragments, None));
        let reserved = Bytes::from_static(&[0x82, 1, b'a', 0xf2, 1, b'b', 0x82, 0]);
        let (passed, fault) = passing(&mut frames(), &reserved);
        assert_eq!((&passed[..], fault), (&[0x82, 1, b'a'][..], Some(FrameFault::Reserved)));
    }

    #[test]
    fn a_read_within_a_large_frame_goes_on_without_a_copy() {
        let mut frames = frames();
        // A header in two parts, of which nothing passes before it is whole.
        assert_eq!(passing(&mut frames, &Bytes::from_static(&[0x82, 126])), (Bytes::new(), None));
        let (first, fault) = passing(&mut frames, &Bytes::from_static(&[0x40, 0, b'a']));
        assert_eq!((&first[..], fault), (&[0x82, 126, 0x40, 0, b'a'][..], None));
        let more = Bytes::from(vec![b'a'; 4096]);
        let (passed, fault) = passing(&mut frames, &more);
        assert_eq!((passed.as_ptr(), passed.len(), fault), (more.as_ptr(), 4096, None));
    }
}
