//! Withdraws a right while its tunnel is busy, and measures for how long bytes still arrive.
//!
//! 1. The engineer looks at the panel: whole pictures, one after the other, as fast as they come.
//! 2. A fleet without the engineer's category is applied.
//! 3. The last byte that reaches the viewer is compared with the moments of the change.
//! 4. The fleet is put back as it was.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::cast::{FLEET, WITHDRAWAL};
use super::stage::Stage;
use crate::machine::rfb_client::RfbClient;
use crate::world::probe::within;
use crate::world::{Mishap, Person};

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Cut {
    pub(super) who: &'static str,
    pub(super) service: &'static str,
    /// Bytes that reached the viewer before.
    pub(super) bytes: u64,
    /// From the beginning of the `apply` command to the last byte.
    pub(super) apply_to_last_byte_ms: u128,
    /// From the new policy being in force on the device to the last byte; zero when the last byte came before that
    /// was said.
    pub(super) activation_to_last_byte_ms: u128,
    /// The product's own words to the person.
    pub(super) told: String,
}

/// Cuts the engineer's panel and puts the right back.
pub(super) async fn cut(mut stage: Stage) -> Result<(Stage, Cut), Mishap> {
    let Some((member, person)) = stage.people.first() else {
        return Err(Mishap::unexpected("the cast", "nobody", "an engineer"));
    };
    let cut = measure(&mut stage.world, &stage.targets, member.name, person).await?;
    stage.world.hub.apply(FLEET, &stage.targets).await?;
    stage.world.settle().await?;
    Ok((stage, cut))
}

async fn measure(
    world: &mut crate::world::World,
    targets: &[String],
    who: &'static str,
    person: &Person,
) -> Result<Cut, Mishap> {
    let session = person.connect(SERVICE).await?;
    let (progress_in, mut progress) = watch::channel(Progress { bytes: 0, last_byte: Instant::now() });
    let stream = Watched { inner: TcpStream::connect(session.address).await?, progress: progress_in };
    let viewer = tokio::spawn(look(stream));
    let busy = progress.wait_for(|progress| progress.bytes >= BUSY_BYTES);
    within("a busy picture", async {
        busy.await.map(drop).map_err(|_| Mishap::unexpected("the panel", "its end", "a busy picture"))
    })
    .await?;

    let printed = world.device.running()?.line_count();
    let asked = Instant::now();
    let changed = [targets, &[WITHDRAWAL.to_owned()]].concat();
    world.hub.apply(FLEET, &changed).await?;
    let applied = world.device.running()?;
    let active = applied
        .line_after(printed, "a policy in force", |line| line.text.contains("a policy came into force"))
        .await?
        .at;
    // The viewer ends because its connection does; how it words that is its own matter.
    within("the end of the picture", async {
        drop(viewer.await);
        Ok(())
    })
    .await?;
    let told = session.notice(REVOKED).await?.text;
    let Progress { bytes, last_byte } = *progress.borrow();
    Ok(Cut {
        who,
        service: SERVICE,
        bytes,
        apply_to_last_byte_ms: last_byte.saturating_duration_since(asked).as_millis(),
        activation_to_last_byte_ms: last_byte.saturating_duration_since(active).as_millis(),
        told,
    })
}

impl Cut {
    /// Whether the promise was kept.
    pub(super) const fn is_in_time(&self) -> bool {
        self.activation_to_last_byte_ms <= PROMISE.as_millis()
    }
}

/// Takes whole pictures until the connection ends.
async fn look(stream: Watched) {
    if let Ok(mut viewer) = RfbClient::connect(stream).await {
        while viewer.snapshot().await.is_ok() {}
    }
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    bytes: u64,
    last_byte: Instant,
}

/// A connection that notes when bytes arrive.
#[derive(Debug)]
struct Watched {
    inner: TcpStream,
    progress: watch::Sender<Progress>,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        let taken = buffer.filled().len() - before;
        if taken > 0 {
            this.progress.send_modify(|progress| {
                progress.bytes += taken as u64;
                progress.last_byte = Instant::now();
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

const SERVICE: &str = "hmi";
const REVOKED: &str = "your access was withdrawn";
/// Several whole pictures: the tunnel is in full flow.
const BUSY_BYTES: u64 = 4 * 1024 * 1024;
const PROMISE: Duration = Duration::from_secs(1);
