//! Pictures of a recording, as files.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::film::Film;
use super::picture::Picture;
use super::stage::Stage;
use super::{cut, title};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

/// Writes the picture of each interval in which it changed, and the last one. A file is named by its time.
pub(super) fn run(mut film: Film, dir: &Path, every: Duration, screen: &Screen) -> Result<Exit, Problem> {
    std::fs::create_dir_all(dir).map_err(|error| Problem::file(dir, &error))?;
    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
    let (mut stage, mut pictures, mut due, mut at) = (Stage::default(), 0_u64, every, 0);
    let mut played = Ok(());
    while let Some(event) = film.next()? {
        if event.at_ms >= due {
            pictures += u64::from(develop(&mut stage, dir, at)?);
            due = (event.at_ms / every + 1).saturating_mul(every);
        }
        at = event.at_ms;
        played = stage.play(event.what);
        if played.is_err() {
            break;
        }
    }
    pictures += u64::from(develop(&mut stage, dir, at)?);
    let complete = film.cut().is_none() && played.is_ok();
    screen.answer(&Exported { pictures, complete });
    screen.say(&format!("{pictures} pictures of {}", title(film.header())));
    played.map_err(|fault| Problem::unplayable(film.path(), &fault))?;
    film.cut().map_or(Ok(Exit::Done), |chunks| Err(cut(film.path(), chunks)))
}

/// Writes the picture if it changed since the last one.
fn develop(stage: &mut Stage, dir: &Path, at_ms: u64) -> Result<bool, Problem> {
    let Some(picture) = stage.picture_mut() else { return Ok(false) };
    if picture.take_changed().is_none() {
        return Ok(false);
    }
    let path = dir.join(format!("{at_ms:010}ms.png"));
    write(picture, &path).map_err(|error| Problem::file(&path, &error))?;
    Ok(true)
}

fn write(picture: &Picture, path: &Path) -> io::Result<()> {
    let (width, height) = picture.size();
    if width == 0 || height == 0 {
        // Such a picture cannot be written, and nobody misses it.
        return Ok(());
    }
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width.into(), height.into());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut bytes = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
    for colour in picture.rows(picture.whole()).flatten() {
        let [_, red, green, blue] = colour.to_be_bytes();
        bytes.extend([red, green, blue]);
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    writer.finish()?;
    Ok(())
}

#[derive(Serialize)]
struct Exported {
    pictures: u64,
    complete: bool,
}
