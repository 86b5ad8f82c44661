//! The viewer's side of a show: RFB 3.3, 3.7 and 3.8 without a password (RFC 6143).

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use postern_protocol::gate::rfb::PixelFormat;

/// What a viewer says that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// How it wants pixels.
    Format(PixelFormat),
    /// Whether it follows a screen that changes its size.
    Resizes(bool),
    /// It waits for an update.
    Wants {
        /// Of everything, whether it has changed or not.
        whole: bool,
    },
}

/// The format that is offered: 32 bits, most viewers' own.
pub(super) const FORMAT: PixelFormat = PixelFormat {
    bits_per_pixel: 32,
    depth: 24,
    big_endian: false,
    true_colour: true,
    max: [255; 3],
    shift: [16, 8, 0],
};

/// Lets a viewer in.
pub(super) async fn welcome(
    (reader, writer): (&mut OwnedReadHalf, &mut BufWriter<OwnedWriteHalf>),
    (width, height): (u16, u16),
    name: &str,
) -> io::Result<()> {
    writer.write_all(b"RFB 003.008\n").await?;
    writer.flush().await?;
    let mut version = [0; 12];
    reader.read_exact(&mut version).await?;
    match &version {
        b"RFB 003.007\n" | b"RFB 003.008\n" => {
            writer.write_all(&[1, NONE]).await?;
            writer.flush().await?;
            if reader.read_u8().await? != NONE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if &version == b"RFB 003.008\n" {
                writer.write_u32(0).await?;
            }
        }
        _ => writer.write_u32(NONE.into()).await?,
    }
    writer.flush().await?;
    let _shared = reader.read_u8().await?;
    writer.write_u16(width).await?;
    writer.write_u16(height).await?;
    writer.write_all(&[32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]).await?;
    let name = name.as_bytes();
    writer.write_u32(u32::try_from(name.len()).unwrap_or(0)).await?;
    writer.write_all(name).await?;
    writer.flush().await
}

/// Reads what a viewer says until it leaves, says what no viewer says, or nobody listens any more.
pub(super) async fn listen(mut reader: OwnedReadHalf, said: mpsc::Sender<Said>) {
    while let Ok(heard) = hear(&mut reader).await {
        if let Some(heard) = heard
            && said.send(heard).await.is_err()
        {
            return;
        }
    }
}

async fn hear(reader: &mut OwnedReadHalf) -> io::Result<Option<Said>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    match reader.read_u8().await? {
        0 => {
            let mut message = [0; 19];
            reader.read_exact(&mut message).await?;
            let [_, _, _, format @ ..] = message;
            let format = PixelFormat::read(format).map_err(|_| invalid())?;
            // A map of colours would have to be made up.
            if format.true_colour { Ok(Some(Said::Format(format))) } else { Err(invalid()) }
        }
        2 => {
            let _padding = reader.read_u8().await?;
            let mut resizes = false;
            for _ in 0..reader.read_u16().await? {
                resizes |= reader.read_i32().await? == super::DESKTOP_SIZE;
            }
            Ok(Some(Said::Resizes(resizes)))
        }
        3 => {
            let [incremental, ..] = read::<9>(reader).await?;
            Ok(Some(Said::Wants { whole: incremental == 0 }))
        }
        4 => read::<7>(reader).await.map(|_| None),
        5 => read::<5>(reader).await.map(|_| None),
        6 => {
            let [_, _, _, length @ ..] = read::<7>(reader).await?;
            let length = i32::from_be_bytes(length);
            let length = u64::try_from(length).map_err(|_| invalid())?;
            let mut text = reader.take(length);
            tokio::io::copy(&mut text, &mut tokio::io::sink()).await?;
            Ok(None)
        }
        _ => Err(invalid()),
    }
}

async fn read<const N: usize>(reader: &mut OwnedReadHalf) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).await?;
    Ok(bytes)
}

const NONE: u8 = 1;
