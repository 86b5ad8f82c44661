//! `postern replay`: a recorded session, as it was seen.
//!
//! 1. `key` makes the pair to which a fleet's recordings are sealed, and reads its private half.
//! 2. `film` reads a recording event by event, and knows whether it was cut.
//! 3. `stage` makes pictures of what the machine sent: `decoder`, and below it `hextile`, `zrle`, `pixels` and `picture`.
//! 4. `export` writes pictures into a directory; `theatre` shows them to a VNC viewer on this computer, in their time.
//! 5. `requests` lists what a recorded web page was asked.
//!
//! A recording that was cut is shown up to the cut, and then it is said. Deliberately absent: where the pointer was and
//! what was typed, which the machine does not send.

mod decoder;
mod export;
mod fault;
mod film;
mod hextile;
mod input;
mod key;
mod picture;
mod pixels;
mod requests;
mod stage;
mod theatre;
mod zrle;

use std::path::Path;

use serde::Serialize;

use postern_protocol::policy::Kind;
use postern_protocol::recording::Header;

use self::film::Film;

use crate::args::{ReplayArgs, ReplayCommand};
use crate::clock;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

pub(crate) use self::fault::Fault;

/// Makes a key, exports pictures, or shows a recording.
pub(crate) async fn run(args: &ReplayArgs, screen: &Screen) -> Result<Exit, Problem> {
    if let Some(ReplayCommand::Keygen { file }) = &args.command {
        let public = key::generate(file)?;
        screen.answer(&Generated { recording_key: &public });
        screen.say(&public);
        return Ok(Exit::Done);
    }
    // The command line demands both, unless it asks for a key.
    let (Some(file), Some(key)) = (&args.file, &args.key) else { return Ok(Exit::Usage) };
    let film = Film::open(file, key::read(key)?)?;
    if film.header().kind == Kind::Http {
        return requests::run(film, args.export.as_deref(), screen);
    }
    match &args.export {
        Some(dir) => export::run(film, dir, args.every.0, screen),
        None => theatre::run(film, args, screen).await,
    }
}

/// What a recording is of, in one line for people.
fn title(header: &Header) -> String {
    format!(
        "{} of {} by {} from {}, tunnel {}",
        header.service,
        header.device,
        header.user,
        clock::local(header.begun),
        header.tunnel
    )
}

/// Says that a recording ends before its end.
fn cut(path: &Path, chunks: u64) -> Problem {
    Problem::recording(path, &postern_protocol::recording::Fault::Cut { chunks })
}

#[derive(Serialize)]
struct Generated<'a> {
    recording_key: &'a str,
}
