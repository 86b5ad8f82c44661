//! The press's operator panel over the remote framebuffer protocol 3.3, 3.7 and 3.8 (RFC 6143).
//!
//! 1. One task draws the panel when a reading or an input changed and somebody looks.
//! 2. Each viewer shakes hands within a deadline, with security type None.
//! 3. One half of its connection reads messages: wishes go to the other half, input to the press.
//! 4. The other half answers a wish with the rectangles that differ from what the viewer shows.
//!
//! Deliberately absent: passwords, encodings but Raw, and exclusive access; viewers always share the panel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::message::{ClientFault, Message, read_array};
use self::panel::Panel;
use self::screen::{BOUNDS, HEIGHT, Screen, WIDTH};
use self::shadow::Shadow;
use super::inputs::Inputs;
use super::process::{Command, MACHINE, Readings};
use super::rfb::{ENCODING_RAW, PixelFormat, Rect, SECURITY_NONE, Version};

mod font;
mod message;
mod panel;
mod screen;
mod shadow;

/// Serves the panel until the task is aborted, which also ends every viewer.
pub(crate) async fn serve(
    listener: TcpListener,
    readings: watch::Receiver<Readings>,
    inputs: Inputs,
    commands: mpsc::Sender<Command>,
) {
    let panel = Panel::new();
    let first = Arc::new(panel.draw(&readings.borrow(), inputs.counts()));
    let (frames_in, frames) = watch::channel(first);
    let desk = Desk { frames, inputs: inputs.clone(), commands };
    let seats = Arc::new(Semaphore::new(VIEWERS_MAX));
    let mut tasks = JoinSet::new();
    tasks.spawn(draw(panel, readings, inputs, frames_in));
    // A seat is taken before the connection is accepted: viewers that are too many wait in the kernel's queue.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        while tasks.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let desk = desk.clone();
        tasks.spawn(async move {
            if let Err(error) = attend(stream, &desk).await {
                tracing::debug!(%peer, %error, "viewer disconnected");
            }
            drop(seat);
        });
    }
}

/// What a viewer's task shares with the press.
#[derive(Debug, Clone)]
struct Desk {
    frames: watch::Receiver<Arc<Screen>>,
    inputs: Inputs,
    commands: mpsc::Sender<Command>,
}

/// Counts a viewer for as long as it is connected.
struct Presence<'a>(&'a Inputs);

impl<'a> Presence<'a> {
    fn enter(inputs: &'a Inputs) -> Self {
        inputs.record(|counts| counts.viewers += 1);
        Self(inputs)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.record(|counts| counts.viewers = counts.viewers.saturating_sub(1));
    }
}

/// What a viewer wants and has not been given yet.
#[derive(Debug, Default)]
struct Wish {
    format: Option<PixelFormat>,
    forget: Option<Rect>,
    region: Option<Rect>,
}

async fn draw(
    panel: Panel,
    mut readings: watch::Receiver<Readings>,
    inputs: Inputs,
    frames: watch::Sender<Arc<Screen>>,
) {
    let mut counts = inputs.watch();
    loop {
        let changed = tokio::select! {
            changed = readings.changed() => changed,
            changed = counts.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        let seen = *counts.borrow_and_update();
        if seen.viewers > 0 {
            let frame = panel.draw(&readings.borrow_and_update(), seen);
            frames.send_replace(Arc::new(frame));
        }
    }
}

async fn attend(stream: TcpStream, desk: &Desk) -> Result<(), ClientFault> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(READ_BUFFER, reader);
    admit(&mut reader, &mut writer).await?;
    let _presence = Presence::enter(&desk.inputs);
    let wishes = watch::Sender::new(Wish::default());
    tokio::select! {
        ended = listen(&mut reader, desk, &wishes) => ended,
        ended = paint(&mut writer, desk.frames.clone(), &wishes) => Ok(ended?),
    }
}

/// Shakes hands within the deadline; without it silent connections would keep every seat.
async fn admit(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<(), ClientFault> {
    timeout(HANDSHAKE_WITHIN, greet(reader, writer)).await.unwrap_or(Err(ClientFault::Slow))
}

/// Sections 7.1 to 7.3 of the RFC: version, security, the two init messages.
async fn greet(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<(), ClientFault> {
    writer.write_all(&Version::V3_8.to_bytes()).await?;
    let version = Version::from_bytes(read_array(reader).await?)?;
    match version {
        Version::V3_3 => writer.write_all(&u32::from(SECURITY_NONE).to_be_bytes()).await?,
        Version::V3_7 | Version::V3_8 => {
            writer.write_all(&[1, SECURITY_NONE]).await?;
            let seen = reader.read_u8().await?;
            if seen != SECURITY_NONE {
                refuse(writer, version).await?;
                return Err(ClientFault::Security { seen });
            }
            if version == Version::V3_8 {
                writer.write_all(&[0; 4]).await?;
            }
        }
    }
    // The shared flag: viewers share whatever they ask for, so that no one can push another out.
    reader.read_u8().await?;
    let mut init = Vec::with_capacity(64);
    init.extend_from_slice(&WIDTH.to_be_bytes());
    init.extend_from_slice(&HEIGHT.to_be_bytes());
    init.extend_from_slice(&PixelFormat::RGB888.to_bytes());
    init.extend_from_slice(&length_u32(MACHINE.len()));
    init.extend_from_slice(MACHINE.as_bytes());
    writer.write_all(&init).await?;
    Ok(())
}

async fn refuse(writer: &mut (impl AsyncWrite + Unpin), version: Version) -> io::Result<()> {
    writer.write_all(&1_u32.to_be_bytes()).await?;
    if version == Version::V3_8 {
        let reason = "only security type None is offered";
        writer.write_all(&length_u32(reason.len())).await?;
        writer.write_all(reason.as_bytes()).await?;
    }
    Ok(())
}

/// Reads messages until the viewer leaves; wishes are merged, so that a flood of them takes no memory.
async fn listen(
    reader: &mut (impl AsyncRead + Unpin),
    desk: &Desk,
    wishes: &watch::Sender<Wish>,
) -> Result<(), ClientFault> {
    let mut pressed = false;
    while let Some(message) = Message::read(reader).await? {
        match message {
            Message::SetPixelFormat(format) => wishes.send_modify(|wish| {
                wish.format = Some(format);
                wish.forget = Some(BOUNDS);
            }),
            Message::SetEncodings => {}
            Message::UpdateRequest { incremental, region } => {
                if let Some(region) = region.within(BOUNDS) {
                    wishes.send_modify(|wish| {
                        wish.region = Some(wish.region.map_or(region, |other| other.around(region)));
                        if !incremental {
                            wish.forget = Some(wish.forget.map_or(region, |other| other.around(region)));
                        }
                    });
                }
            }
            Message::Key { down } => {
                if down {
                    desk.inputs.record(|counts| counts.keys += 1);
                }
            }
            Message::Pointer { buttons, x, y } => {
                let clicked = buttons & 1 == 1 && !pressed;
                pressed = buttons & 1 == 1;
                desk.inputs.record(|counts| {
                    counts.pointer_events += 1;
                    counts.clicks += u64::from(clicked);
                });
                if let Some(command) = panel::command_at(x, y).filter(|_| clicked) {
                    // A full queue drops the press of a button, as a real panel does when it is hammered.
                    let _dropped = desk.commands.try_send(command);
                }
            }
            Message::CutText => desk.inputs.record(|counts| counts.cut_texts += 1),
        }
    }
    Ok(())
}

/// Answers wishes until the press stops; an incremental wish waits until something changes.
async fn paint(
    writer: &mut (impl AsyncWrite + Unpin),
    mut frames: watch::Receiver<Arc<Screen>>,
    wishes: &watch::Sender<Wish>,
) -> io::Result<()> {
    let mut wished = wishes.subscribe();
    let mut shadow = Shadow::new();
    let mut format = PixelFormat::RGB888;
    let mut outstanding: Option<Rect> = None;
    let mut update = Vec::new();
    loop {
        wishes.send_if_modified(|wish| {
            let taken = std::mem::take(wish);
            format = taken.format.unwrap_or(format);
            if let Some(area) = taken.forget {
                shadow.forget(area);
            }
            outstanding = match (outstanding, taken.region) {
                (Some(before), Some(now)) => Some(before.around(now)),
                (before, now) => before.or(now),
            };
            false
        });
        if let Some(region) = outstanding {
            let screen = Arc::clone(&frames.borrow_and_update());
            let changed = shadow.advance(&screen, region);
            if !changed.is_empty() {
                outstanding = None;
                encode(&screen, &changed, format, &mut update);
                writer.write_all(&update).await?;
                continue;
            }
        }
        let alive = tokio::select! {
            changed = wished.changed() => changed.is_ok(),
            changed = frames.changed(), if outstanding.is_some() => changed.is_ok(),
        };
        if !alive {
            return Ok(());
        }
    }
}

/// Writes a FramebufferUpdate (section 7.6.1) over the old content of `update`.
fn encode(screen: &Screen, changed: &[Rect], format: PixelFormat, update: &mut Vec<u8>) {
    update.clear();
    let count = u16::try_from(changed.len()).unwrap_or(u16::MAX);
    update.extend_from_slice(&[0, 0]);
    update.extend_from_slice(&count.to_be_bytes());
    for rect in changed.iter().take(usize::from(count)) {
        update.extend_from_slice(&rect.to_bytes());
        update.extend_from_slice(&ENCODING_RAW.to_be_bytes());
        for y in rect.y..rect.y + rect.height {
            for colour in screen.row(*rect, y) {
                format.encode(*colour, update);
            }
        }
    }
}

fn length_u32(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// A viewer that has not finished its handshake by then is disconnected.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Viewers at the same time.
const VIEWERS_MAX: usize = 256;

/// Bytes read from a viewer at once.
const READ_BUFFER: usize = 2 * 1024;

#[cfg(test)]
mod tests;
