//! Secrets that are typed: nothing of them is shown, and whatever ends the question, the terminal shows again what is typed.

use postern_tests::world::probe::within;
use postern_tests::world::{Call, DEVICE, Mishap, Piped};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::peers::programs;
use super::stage::{Outcome, Plant};

/// The shell shows its terminal, the process, how that ended, and in which state it left the terminal.
const LINES: &str = "tty; trap : INT; sh -c \"echo \\$\\$; exec {}\"; echo ended $?; stty -a; echo over";
const SECRET: &str = "seven-green-presses";

struct Terminal {
    process: Piped,
    seen: String,
}

impl Terminal {
    fn open(call: &Call) -> Result<Self, Mishap> {
        Ok(Self { process: call.at_terminal(LINES).start_piped()?, seen: String::new() })
    }

    /// Reads until `wanted` was shown.
    async fn shows(&mut self, wanted: &str) -> Outcome {
        let Self { process, seen } = self;
        within(&format!("`{wanted}` at a terminal"), async {
            let mut piece = [0; 512];
            while !seen.contains(wanted) {
                let count =
                    process.output.read(&mut piece).await.map_err(Mishap::io("reading a terminal"))?;
                if count == 0 {
                    return Err(Mishap::unexpected("a terminal", &*seen, wanted));
                }
                seen.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
            Ok(())
        })
        .await
    }

    /// Waits until a question is asked and nothing is shown of an answer; the process that asks.
    async fn asks(&mut self, question: &str) -> Result<Pid, Mishap> {
        self.shows(question).await?;
        let mut lines = self.seen.lines();
        let (tty, pid) = (lines.next().unwrap().to_owned(), lines.next().unwrap().parse().unwrap());
        within("a terminal that shows nothing", async {
            loop {
                let settings = Command::new("stty").args(["-a", "-F", &tty]).output().await;
                let settings = settings.map_err(Mishap::io("`stty`"))?.stdout;
                if String::from_utf8_lossy(&settings).split_whitespace().any(|setting| setting == "-echo") {
                    return Ok(Pid::from_raw(pid).unwrap());
                }
            }
        })
        .await
    }

    async fn types(&mut self, keys: &str) -> Outcome {
        let input = self.process.input.as_mut().unwrap();
        input.write_all(keys.as_bytes()).await.map_err(Mishap::io("typing"))
    }

    /// Reads to the end: what the program said at last and its code, and whether the terminal is as it was.
    async fn ended(mut self) -> Result<(String, bool), Mishap> {
        self.shows("over").await?;
        let (said, after) = self.seen.split_once("ended ").unwrap();
        let said = said.lines().last().unwrap().trim();
        let settings: Vec<&str> = after.split_whitespace().collect();
        let sane = ["isig", "icanon", "echo"].iter().all(|setting| settings.contains(setting));
        assert!(after.contains("susp = ^Z"), "{after}");
        assert!(!self.seen.contains(SECRET), "the secret was shown: {}", self.seen);
        Ok((format!("{said} ({})", after.lines().next().unwrap()), sane))
    }
}

#[tokio::test]
async fn a_secret_that_is_typed_twice_is_set_and_never_shown() -> Outcome {
    if programs("a_secret_that_is_typed_twice", ["script", "stty"]).is_none() {
        return Ok(());
    }
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let (agent, cloud) =
        (world.device.call(["secret", "set", "panel"]), world.hub.call(["secret", "set", DEVICE, "hmi"]));
    for (call, question, said) in [
        (agent, "Secret panel of this device: ", "secret panel is set on this device (0)"),
        (cloud, "Secret hmi: ", "The device has it. (0)"),
    ] {
        let mut terminal = Terminal::open(&call)?;
        terminal.asks(question).await?;
        terminal.types(&format!("{SECRET}\n")).await?;
        terminal.asks("The same again: ").await?;
        terminal.types(&format!("{SECRET}\n")).await?;
        assert_eq!(terminal.ended().await?, (said.to_owned(), true));
    }
    let list = world.device.call(["secret", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
    let source = |name, source| serde_json::json!({ "name": name, "source": source, "covers": false, "problem": null });
    assert_eq!(list, serde_json::json!([source("hmi", "cloud"), source("panel", "device")]));
    Ok(())
}

#[tokio::test]
async fn ctrl_c_and_other_signals_at_the_question_for_a_secret_give_the_terminal_back() -> Outcome {
    if programs("ctrl_c_at_the_question_for_a_secret", ["script", "stty"]).is_none() {
        return Ok(());
    }
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let agent =
        || (world.device.call(["secret", "set", "panel"]), "Secret panel of this device: ", "postern-agent");
    let cloud = || (world.hub.call(["secret", "set", DEVICE, "hmi"]), "Secret hmi: ", "postern-cloud");
    // A signal from elsewhere, or Ctrl-C at the first question or at the second.
    for ((call, question, name), typed, signal) in [
        (agent(), "", None),
        (agent(), "half\n", None),
        (agent(), "", Some(Signal::TERM)),
        (agent(), "", Some(Signal::HUP)),
        (cloud(), "", None),
        (cloud(), "half\n", None),
    ] {
        let mut terminal = Terminal::open(&call)?;
        let mut process = terminal.asks(question).await?;
        terminal.types(typed).await?;
        if !typed.is_empty() {
            process = terminal.asks("The same again: ").await?;
        }
        match signal {
            Some(signal) => kill_process(process, signal).unwrap(),
            None => terminal.types("\x03").await?,
        }
        let said = format!("{name}: interrupted; nothing was set (1)");
        assert_eq!(terminal.ended().await?, (said, true), "{typed:?} {signal:?}");
    }
    let list = world.device.call(["secret", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
    assert_eq!(list, serde_json::json!([]));
    Ok(())
}
