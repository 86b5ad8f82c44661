//! Programs under measurement: started at one side of the wire, waited for by what they print, gone when dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::world::Mishap;

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Program {
    /// Starts `command`; `name` is for messages. It ends with this process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self, Mishap> {
        // Its input stays open: programs of this benchmark end when it is closed.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(Mishap::io(format!("starting {name}")))?;
        let (sender, lines) = channel();
        let log = Arc::new(Mutex::new(String::new()));
        let outputs = [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
            child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let (sender, log) = (sender.clone(), Arc::clone(&log));
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Ok(mut log) = log.lock() {
                        log.push_str(&line);
                        log.push('\n');
                    }
                    // Nobody waits for lines any more; they are in the log.
                    let _unheard = sender.send(line);
                }
            });
        }
        Ok(Self { name: name.to_owned(), child, lines, log })
    }

    /// Waits for the next line that contains `text`.
    ///
    /// # Errors
    /// When it does not come in time, with everything that was printed.
    pub fn line(&self, text: &str) -> Result<String, Mishap> {
        let end = Instant::now() + LINE_WITHIN;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let what = format!("a line with `{text}` from {}", self.name);
                    return Err(Mishap::Deadline { what, within: LINE_WITHIN, seen: self.log() });
                }
            }
        }
    }

    /// Everything that it printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGTERM and waits, so that what it holds is closed in order.
    ///
    /// # Errors
    /// When the kernel does not report its end.
    pub fn stop(mut self) -> Result<(), Mishap> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _already_gone = kill_process(pid, Signal::TERM);
        }
        self.child.wait().map(drop).map_err(Mishap::io(format!("waiting for {}", self.name)))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let (Ok(None), Some(group)) = (self.child.try_wait(), Pid::from_raw(self.child.id().cast_signed()))
        {
            let _already_gone = kill_process_group(group, Signal::KILL);
            let _collected = self.child.wait();
        }
    }
}

/// Runs a command with some input to its end and yields its standard output.
///
/// # Errors
/// When it cannot be run or fails, with what it printed.
pub fn finish(mut command: Command, input: &str) -> Result<String, Mishap> {
    let text = text_of(&command);
    let failed = |doing: &str| Mishap::io(format!("{doing} `{text}`"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed("starting"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read has closed the pipe; its exit code tells more.
        let _unread = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed("waiting for"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let output_text = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    Err(Mishap::Exit { command: text, found: output.status.into(), expected: 0, output: output_text })
}

/// Whether a program of this name is on the `PATH`.
#[must_use]
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| is_file(&dir.join(name)))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file())
}

fn text_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

const LINE_WITHIN: Duration = Duration::from_secs(30);
