//! Carries a Modbus flow through its gate.
//!
//! 1. Both directions are cut into frames; a request is judged by the permit of the moment in which it is whole.
//! 2. What passes goes to the machine as it came. What does not is answered here, between two answers of the machine.
//! 3. Bytes that are no frame end the flow: of what follows nobody could say where a request begins.
//!
//! A request that is on its way to a slow machine holds up the answers to those before it; programs that speak Modbus wait for
//! an answer before they ask again.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use postern_protocol::gate::modbus::{FrameFault, Frames, Judged, judge};
use postern_protocol::policy::{FlowEnd, Profile, Reason};
use postern_transport::quic::{RecvStream, SendStream, StreamFault};
use postern_transport::splice::{Meter, SpliceEnd, SpliceFault};

use crate::registry::{Leash, Ruling};

/// By what requests are judged, and who hears of those that do not pass.
pub(super) struct Asked<'a, F> {
    pub(super) end: FlowEnd,
    pub(super) leash: &'a Arc<Leash>,
    pub(super) refused: F,
}

/// Why a flow cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum GateFault {
    /// As the copy loop's.
    #[error(transparent)]
    Splice(#[from] SpliceFault),
    /// The client sent what is no request.
    #[error("a request: {0}")]
    Request(#[source] FrameFault),
    /// The machine sent what is no answer.
    #[error("an answer: {0}")]
    Answer(#[source] FrameFault),
}

impl From<StreamFault> for GateFault {
    fn from(fault: StreamFault) -> Self {
        Self::Splice(fault.into())
    }
}

/// What one turn brought.
enum Turn {
    FromClient(Option<bytes::Bytes>),
    FromMachine(usize),
}

/// Carries frames until both sides have ended or one fails.
///
/// # Errors
/// The [`GateFault`] of the side that failed first.
pub(super) async fn carry<F: Fn(Reason)>(
    asked: &Asked<'_, F>,
    (machine, meter): (&mut TcpStream, &Meter),
    (send, recv): (&mut SendStream, &mut RecvStream),
) -> Result<SpliceEnd, GateFault> {
    let (mut reader, mut writer) = machine.split();
    let (mut requests, mut answers) = (Frames::default(), Frames::default());
    let (mut asks, mut answering) = (true, true);
    let mut buffer = [0; LARGEST_READ];
    while asks || answering {
        let turn = tokio::select! {
            chunk = recv.read_chunk(LARGEST_READ), if asks => Turn::FromClient(chunk?),
            read = read(&mut reader, &mut buffer), if answering => Turn::FromMachine(read?),
        };
        match turn {
            Turn::FromClient(Some(chunk)) => {
                meter.count_received(chunk.len());
                requests.push(&chunk);
                asked.pass_on(&mut requests, &mut writer, send, meter).await?;
            }
            Turn::FromClient(None) => {
                asks = false;
                let _already_closed = writer.shutdown().await;
            }
            Turn::FromMachine(0) => {
                answering = false;
                send.finish()?;
            }
            Turn::FromMachine(bytes) => {
                answers.push(buffer.get(..bytes).unwrap_or_default());
                while let Some(frame) = answers.take_frame().map_err(GateFault::Answer)? {
                    meter.count_sent(frame.len());
                    send.write_chunk(frame.into()).await?;
                }
            }
        }
    }
    Ok(SpliceEnd::Finished)
}

impl<F: Fn(Reason)> Asked<'_, F> {
    /// Judges each request that is whole.
    async fn pass_on(
        &self,
        requests: &mut Frames,
        writer: &mut WriteHalf<'_>,
        send: &mut SendStream,
        meter: &Meter,
    ) -> Result<(), GateFault> {
        while let Some(request) = requests.take_frame().map_err(GateFault::Request)? {
            match self.judge(&request) {
                Some(Judged::Passes) => writer.write_all(&request).await.map_err(SpliceFault::Local)?,
                Some(Judged::Answered(answer)) => {
                    (self.refused)(Reason::MethodDenied);
                    meter.count_sent(answer.len());
                    send.write_chunk(answer.into()).await?;
                }
                // It was cut: whoever waits for that ends the flow.
                None => std::future::pending().await,
            }
        }
        Ok(())
    }

    /// The judgement of this moment; none where the flow is not permitted any more.
    fn judge(&self, request: &[u8]) -> Option<Judged> {
        let Ruling::Permitted(permit) = self.leash.ruling() else { return None };
        let flow = permit.flow(self.end).ok()?;
        Some(match flow.profile() {
            Some(Profile::Modbus(rules)) => judge(request, rules, permit.mode().touches()),
            None => Judged::Passes,
        })
    }
}

async fn read(reader: &mut ReadHalf<'_>, buffer: &mut [u8]) -> Result<usize, SpliceFault> {
    reader.read(buffer).await.map_err(SpliceFault::Local)
}

/// A few frames.
const LARGEST_READ: usize = 1024;
