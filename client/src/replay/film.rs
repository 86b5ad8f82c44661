//! A recording as a sequence of events.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use postern_protocol::recording::{Event, Fault, Header, Reader};
use postern_protocol::trust::sealed::SealingSecret;

use crate::problem::Problem;

/// A recording that is open: its first chunk was read, so that the key is the right one.
#[derive(Debug)]
pub(super) struct Film {
    path: PathBuf,
    file: File,
    reader: Reader,
    header: Header,
    events: VecDeque<Event>,
    /// No bytes follow.
    ended: bool,
    cut: Option<u64>,
}

impl Film {
    /// Opens a recording and reads its first chunk.
    pub(super) fn open(path: &Path, secret: SealingSecret) -> Result<Self, Problem> {
        let mut file = File::open(path).map_err(|error| Problem::unreadable(path, &error))?;
        let mut reader = Reader::new(secret);
        let fault = |fault| Problem::recording(path, &fault);
        let first = loop {
            if let Some(chunk) = reader.poll_chunk().map_err(fault)? {
                break chunk;
            }
            if !fill(&mut file, &mut reader).map_err(|error| Problem::unreadable(path, &error))? {
                reader.finish().map_err(fault)?;
            }
        };
        let header = reader.header().cloned().ok_or_else(|| fault(Fault::Magic))?;
        let (path, events) = (path.to_owned(), first.events.into());
        Ok(Self { path, file, reader, header, events, ended: false, cut: None })
    }

    /// What it is of.
    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next event; none at the end, or where the file was cut.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Problem> {
        while self.events.is_empty() && !self.ended {
            match self.reader.poll_chunk().map_err(|fault| Problem::recording(&self.path, &fault))? {
                Some(chunk) => self.events = chunk.events.into(),
                None => {
                    let filled = fill(&mut self.file, &mut self.reader);
                    if !filled.map_err(|error| Problem::unreadable(&self.path, &error))? {
                        self.ended = true;
                        self.cut = match self.reader.finish() {
                            Ok(()) => None,
                            Err(Fault::Cut { chunks }) => Some(chunks),
                            Err(fault) => return Err(Problem::recording(&self.path, &fault)),
                        };
                    }
                }
            }
        }
        Ok(self.events.pop_front())
    }

    /// After how many chunks the file was cut, once its end was reached.
    pub(super) const fn cut(&self) -> Option<u64> {
        self.cut
    }
}

/// Hands the reader some more of the file; false when there is no more.
fn fill(file: &mut File, reader: &mut Reader) -> std::io::Result<bool> {
    let mut piece = [0; PIECE_BYTES];
    let read = file.read(&mut piece)?;
    reader.handle_bytes(piece.get(..read).unwrap_or_default());
    Ok(read > 0)
}

/// Bytes that are read at once.
const PIECE_BYTES: usize = 16 * 1024;
