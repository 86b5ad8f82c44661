//! A recorded web page: its requests as a list, each with what came of it.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use postern_protocol::recording::{Event, What};

use super::film::Film;
use super::{cut, title};
use crate::clock;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

/// Shows the requests, and writes them into `requests.jsonl` in a directory that is named.
pub(super) fn run(mut film: Film, dir: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let begun = film.header().begun;
    let mut requests: Vec<Request> = Vec::new();
    while let Some(Event { at_ms, what }) = film.next()? {
        match what {
            What::Asked { method, path } => requests.push(Request {
                at: clock::rfc3339(begun.saturating_add(at_ms / 1000)),
                method: method.as_str().to_owned(),
                path: path.as_str().to_owned(),
                status: None,
                reason: None,
                bytes: 0,
                took_ms: None,
                asked_ms: at_ms,
            }),
            What::Answered { status, reason, bytes } => {
                if let Some(last) = requests.last_mut().filter(|last| last.took_ms.is_none()) {
                    (last.status, last.reason, last.bytes) =
                        (status, reason.map(|reason| reason.word()), bytes);
                    last.took_ms = Some(at_ms.saturating_sub(last.asked_ms));
                }
            }
            // A later version may record more of a page.
            What::Screen(_) | What::Shown(_) | What::Format(_) | What::Mode(_) => {}
        }
    }
    if let Some(dir) = dir {
        write(&requests, dir).map_err(|error| Problem::file(dir, &error))?;
    }
    screen.answer(&Requests { requests: &requests, complete: film.cut().is_none() });
    let rows: Vec<Vec<String>> = requests.iter().map(Request::row).collect();
    screen.list(&["TIME", "METHOD", "PATH", "ANSWER", "BYTES"], &rows);
    screen.say(&format!("{} requests of {}", requests.len(), title(film.header())));
    film.cut().map_or(Ok(Exit::Done), |chunks| Err(cut(film.path(), chunks)))
}

fn write(requests: &[Request], dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(dir.join("requests.jsonl"))?);
    for request in requests {
        serde_json::to_writer(&mut file, request)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

#[derive(Serialize)]
struct Requests<'a> {
    requests: &'a [Request],
    complete: bool,
}

/// One request.
#[derive(Debug, Serialize)]
struct Request {
    at: String,
    method: String,
    path: String,
    /// None where nothing was answered.
    status: Option<u16>,
    /// Why the gate refused it.
    reason: Option<&'static str>,
    bytes: u64,
    /// None where the recording ends before.
    took_ms: Option<u64>,
    #[serde(skip)]
    asked_ms: u64,
}

impl Request {
    fn row(&self) -> Vec<String> {
        let answer = match (self.status, self.reason) {
            (Some(status), Some(reason)) => format!("{status} {reason}"),
            (Some(status), None) => status.to_string(),
            (None, _) => "none".to_owned(),
        };
        vec![self.at.clone(), self.method.clone(), self.path.clone(), answer, self.bytes.to_string()]
    }
}
