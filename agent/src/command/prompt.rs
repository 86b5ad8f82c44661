//! Asks for a secret without showing it. Never from an argument: every user of a machine can read those.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use postern_protocol::trust::sealed::{Plaintext, PlaintextFault};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromptError {
    /// There is nobody to ask.
    #[error("there is no terminal to ask for the secret; `--stdin` reads it from standard input")]
    NoTerminal,
    /// The terminal or standard input broke.
    #[error("the secret could not be read: {0}")]
    Input(#[from] io::Error),
    /// Typed differently the second time.
    #[error("the two secrets differ; nothing was set")]
    Differ,
    /// Empty or too long.
    #[error(transparent)]
    Length(#[from] PlaintextFault),
}

/// The first line of standard input, without its end.
pub(super) fn read() -> Result<Plaintext, PromptError> {
    Ok(Plaintext::new(line()?)?)
}

/// Typed twice at the terminal: nobody sees it, and nobody can look at it later.
pub(super) fn ask(what: &str) -> Result<Plaintext, PromptError> {
    if !io::stdin().is_terminal() {
        return Err(PromptError::NoTerminal);
    }
    let _quiet = Quiet::begin()?;
    let first = typed(what)?;
    if first != typed("The same again: ")? {
        return Err(PromptError::Differ);
    }
    Ok(Plaintext::new(first)?)
}

fn typed(prompt: &str) -> Result<Zeroizing<Vec<u8>>, PromptError> {
    let mut out = io::stderr();
    out.write_all(prompt.as_bytes()).and_then(|()| out.flush())?;
    let typed = line()?;
    // The key that ended the line was not shown either.
    out.write_all(b"\n")?;
    Ok(typed)
}

fn line() -> Result<Zeroizing<Vec<u8>>, PromptError> {
    // One allocation, so that no part of the line stays behind in memory that is not wiped.
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    let limit = u64::try_from(LINE_BYTES).unwrap_or(u64::MAX);
    io::stdin().lock().take(limit).read_until(b'\n', &mut line)?;
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    line.truncate(end);
    Ok(line)
}

/// The terminal shows nothing as long as this lives.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let usual = tcgetattr(io::stdin())?;
        let mut quiet = usual.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(usual))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// More than any secret, so that one that is too long is seen to be.
const LINE_BYTES: usize = 1024;
