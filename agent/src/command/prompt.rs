//! Asks for a secret without showing it. Never from an argument: every user of a machine can read those.
//!
//! 1. Signals that end a program are caught, then the terminal shows nothing any more.
//! 2. A thread reads what is typed, because reading cannot be interrupted.
//! 3. Whichever comes first, the secret or a signal: the terminal is given back before anything else happens.
//!
//! Deliberately absent: suspension (Ctrl-Z), which would leave the shell with a terminal that shows nothing.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use postern_protocol::trust::sealed::{Plaintext, PlaintextFault};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
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
    /// Ctrl-C, or another signal that ends programs.
    #[error("interrupted; nothing was set")]
    Interrupted,
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let typed = runtime.block_on(unless_interrupted(what.to_owned()))?;
    Ok(Plaintext::new(typed)?)
}

async fn unless_interrupted(what: String) -> Result<Zeroizing<Vec<u8>>, PromptError> {
    // Before the terminal falls silent: from here on none of them ends the program by itself.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (mut hang_up, mut quit) = (signal(SignalKind::hangup())?, signal(SignalKind::quit())?);
    let _quiet = Quiet::begin()?;
    let (send, typed) = oneshot::channel();
    std::thread::Builder::new().name("prompt".into()).spawn(move || drop(send.send(twice(&what))))?;
    tokio::select! {
        typed = typed => return typed.unwrap_or(Err(PromptError::Interrupted)),
        _signal = interrupt.recv() => {}
        _signal = terminate.recv() => {}
        _signal = hang_up.recv() => {}
        _signal = quit.recv() => {}
    }
    // What is said next begins a line of its own.
    let _gone = io::stderr().write_all(b"\n");
    Err(PromptError::Interrupted)
}

fn twice(what: &str) -> Result<Zeroizing<Vec<u8>>, PromptError> {
    let first = typed(what)?;
    if first == typed("The same again: ")? { Ok(first) } else { Err(PromptError::Differ) }
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
        // No key suspends.
        quiet.special_codes[SpecialCodeIndex::VSUSP] = 0;
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
