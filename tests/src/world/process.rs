//! Child processes: started with captured output, waited for by what they print, gone when dropped.
//!
//! 1. [`Call`] collects a command line.
//! 2. [`Call::finish`] runs it to its end; [`Call::start`] leaves it running.
//! 3. [`Running`] keeps every line with the moment at which it came, and waits for lines with a deadline.
//! 4. Dropping a [`Running`] kills its whole process group.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::mishap::{Ending, Mishap};
use crate::programs::PARENT;

/// A command line that is about to run.
#[derive(Debug)]
pub struct Call {
    command: Command,
    text: String,
    input: Option<Vec<u8>>,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub ending: Ending,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// A running child with its output so far.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    group: Option<Pid>,
    lines: watch::Receiver<Vec<Line>>,
}

/// One line of output.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// Where it was written.
    pub stream: Stream,
    /// Its text without the line feed.
    pub text: String,
}

/// An output stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Call {
    /// A call of `program` without arguments, without input, with a quiet environment.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command
            .env(PARENT, std::process::id().to_string())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // A group of its own: Ctrl-C in a terminal reaches the laboratory alone, which then ends the rest.
            .process_group(0);
        let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        Self { command, text: name, input: None }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.text.push(' ');
        self.text.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Gives it something to read; its input ends after that.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.command.stdin(Stdio::piped());
        self.input = Some(bytes.into());
        self
    }

    /// The same in another network namespace.
    #[must_use]
    pub fn inside(&self, namespace: &str) -> Self {
        let inner = self.command.as_std();
        let call = Self::new("ip").args(["netns", "exec", namespace]).arg(inner.get_program());
        let envs = inner.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?)));
        envs.fold(call.args(inner.get_args()), |call, (name, value)| call.env(name, value))
    }

    /// The same at a terminal of its own, which `script` of util-linux makes, among other lines for the shell there: `{}`
    /// in them is the call.
    #[must_use]
    pub fn at_terminal(&self, lines: &str) -> Self {
        let inner = self.command.as_std();
        let words: Vec<String> = std::iter::once(inner.get_program())
            .chain(inner.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let mut call =
            Self::new("script").args(["-qefc", &lines.replace("{}", &words.join(" ")), "/dev/null"]);
        for (name, value) in inner.get_envs() {
            if let Some(value) = value {
                call.command.env(name, value);
            }
        }
        // The parent is the shell there. It ends with `script`, and the program with its terminal.
        call.command.env_remove(PARENT);
        call
    }

    /// Runs it to its end, within [`COMMAND_WITHIN`].
    ///
    /// # Errors
    /// When it cannot be started or does not end in time; it is killed then. Its exit code is no error here.
    pub async fn finish(mut self) -> Result<Done, Mishap> {
        let mut child = self.command.spawn().map_err(Mishap::io(format!("starting `{}`", self.text)))?;
        let group = group_of(&child);
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), self.input.take()) {
            // A command that does not read its input has closed the pipe; its exit code tells more than this.
            let _unread = stdin.write_all(&input).await;
        }
        let guard = KillGroup(group);
        let output = timeout(COMMAND_WITHIN, child.wait_with_output())
            .await
            .map_err(|_| Mishap::Deadline {
                what: format!("the end of `{}`", self.text),
                within: COMMAND_WITHIN,
                seen: String::new(),
            })?
            .map_err(Mishap::io(format!("waiting for `{}`", self.text)))?;
        drop(guard);
        Ok(Done {
            command: self.text,
            ending: output.status.into(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it; `name` is for messages and logs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut self, name: &str) -> Result<Running, Mishap> {
        let mut child = self.command.spawn().map_err(Mishap::io(format!("starting `{}`", self.text)))?;
        let group = group_of(&child);
        let (sender, lines) = watch::channel(Vec::new());
        if let Some(out) = child.stdout.take() {
            tokio::spawn(collect(out, Stream::Out, sender.clone()));
        }
        if let Some(err) = child.stderr.take() {
            tokio::spawn(collect(err, Stream::Err, sender));
        }
        Ok(Running { name: name.to_owned(), child, group, lines })
    }

    /// Starts it with its input and output as pipes for bytes; its errors go to the log of the test.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_piped(mut self) -> Result<Piped, Mishap> {
        self.command.stdin(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = self.command.spawn().map_err(Mishap::io(format!("starting `{}`", self.text)))?;
        let guard = KillGroup(group_of(&child));
        let missing = || Mishap::unexpected(format!("pipes of `{}`", self.text), "none", "two");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        Ok(Piped { input: Some(input), output, child, _guard: guard })
    }
}

/// A child whose input and output carry bytes.
#[derive(Debug)]
pub struct Piped {
    /// Its standard input; taking it closes the pipe when it is dropped.
    pub input: Option<ChildStdin>,
    /// Its standard output.
    pub output: ChildStdout,
    child: Child,
    _guard: KillGroup,
}

impl Piped {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within [`COMMAND_WITHIN`].
    pub async fn ended(&mut self) -> Result<Ending, Mishap> {
        ended("the piped command", &mut self.child, String::new()).await
    }
}

impl Done {
    /// The standard output, when the exit code is `code`.
    ///
    /// # Errors
    /// When it is another.
    pub fn expect_code(self, code: i32) -> Result<Self, Mishap> {
        if self.ending == Ending::Code(code) {
            return Ok(self);
        }
        let output = format!("{}{}", self.out, self.err);
        Err(Mishap::Exit { command: self.command, found: self.ending, expected: code, output })
    }

    /// The standard output as one JSON value.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value, Mishap> {
        serde_json::from_str(&self.out)
            .map_err(|fault| Mishap::unexpected(&self.command, format!("{fault} in `{}`", self.out), "JSON"))
    }
}

impl Running {
    /// Waits for a line that `wanted` accepts and yields the first.
    ///
    /// # Errors
    /// When none came within [`LINE_WITHIN`], or the process closed its output before; with all that it printed.
    pub async fn line(&self, what: &str, wanted: impl Fn(&Line) -> bool) -> Result<Line, Mishap> {
        self.line_after(0, what, wanted).await
    }

    /// As [`line`](Self::line), looking only at lines after the first `skip`.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub async fn line_after(
        &self,
        skip: usize,
        what: &str,
        wanted: impl Fn(&Line) -> bool,
    ) -> Result<Line, Mishap> {
        let mut lines = self.lines.clone();
        let mut hit = None;
        let search = lines.wait_for(|lines| {
            hit = lines.iter().skip(skip).find(|line| wanted(line)).cloned();
            hit.is_some()
        });
        let _found_closed_or_late = timeout(LINE_WITHIN, search).await;
        hit.ok_or_else(|| Mishap::Deadline {
            what: format!("{what} from {}", self.name),
            within: LINE_WITHIN,
            seen: self.log(),
        })
    }

    /// How many lines it has printed.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.lines.borrow().len()
    }

    /// Everything that it printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.lines.borrow().iter().map(|line| format!("{}| {}\n", self.name, line.text)).collect()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // The process may just have ended, which is what signals are for.
            let _already_gone = kill_process(pid, signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within [`COMMAND_WITHIN`].
    pub async fn ended(&mut self) -> Result<Ending, Mishap> {
        let log = self.log();
        ended(&self.name, &mut self.child, log).await
    }

    /// Ends it with SIGTERM and waits.
    ///
    /// # Errors
    /// When it does not end within [`COMMAND_WITHIN`].
    pub async fn stop(&mut self) -> Result<Ending, Mishap> {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Ends it with SIGKILL, as a power cut would, and waits.
    ///
    /// # Errors
    /// When the kernel does not report its end.
    pub async fn kill(&mut self) -> Result<Ending, Mishap> {
        self.signal(Signal::KILL);
        self.ended().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            drop(KillGroup(self.group));
        }
    }
}

/// Kills a process group when dropped.
#[derive(Debug)]
struct KillGroup(Option<Pid>);

impl Drop for KillGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _already_gone = kill_process_group(group, Signal::KILL);
        }
    }
}

fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
}

async fn ended(name: &str, child: &mut Child, seen: String) -> Result<Ending, Mishap> {
    match timeout(COMMAND_WITHIN, child.wait()).await {
        Ok(status) => Ok(status.map_err(Mishap::io(format!("waiting for {name}")))?.into()),
        Err(_) => Err(Mishap::Deadline { what: format!("the end of {name}"), within: COMMAND_WITHIN, seen }),
    }
}

async fn collect(output: impl AsyncRead + Unpin, stream: Stream, lines: watch::Sender<Vec<Line>>) {
    let mut reader = BufReader::new(output).split(b'\n');
    while let Ok(Some(bytes)) = reader.next_segment().await {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        lines.send_modify(|lines| lines.push(Line { at: Instant::now(), stream, text }));
    }
}

/// Time for a command to end: generous, because debug builds of several tests share two cores.
pub(super) const COMMAND_WITHIN: Duration = Duration::from_secs(45);
/// Time for an expected line.
pub(super) const LINE_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_finished_command_yields_what_it_printed_and_its_code() {
        let done =
            Call::new("sh").args(["-c", "cat; echo no >&2; exit 3"]).input("yes").finish().await.unwrap();
        assert_eq!((done.out.as_str(), done.err.as_str()), ("yes", "no\n"));
        assert_eq!(done.ending, Ending::Code(3));
        assert!(
            done.expect_code(0)
                .unwrap_err()
                .to_string()
                .starts_with("`sh -c cat; echo no >&2; exit 3` ended with exit code 3, expected exit code 0")
        );
    }

    #[tokio::test]
    async fn dropping_a_running_command_kills_its_children_too() {
        let running = Call::new("sh").args(["-c", "sleep 1000 & echo $!; wait"]).start("sh").unwrap();
        let line = running.line("a process id", |_| true).await.unwrap();
        let child = format!("/proc/{}/stat", line.text);
        assert!(Path::new(&child).exists());
        drop(running);
        let dead = async {
            // Gone, or a zombie that its new parent has not collected yet.
            while std::fs::read_to_string(&child).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LINE_WITHIN, dead).await.unwrap();
    }
}
