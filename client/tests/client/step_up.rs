//! A second factor that is proved again: by a command of its own, by a sign-in, and at the terminal of `connect`.

use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::hub::{NO_OTP, OTP};
use crate::world::{GENEROUS, PASSWORD, Running, World};

async fn dial(running: &mut Running) -> TcpStream {
    TcpStream::connect(("127.0.0.1", running.port().await)).await.unwrap()
}

async fn echo(socket: &mut TcpStream, text: &[u8]) {
    socket.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    tokio::time::timeout(GENEROUS, socket.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, text);
}

async fn status(world: &World) -> serde_json::Value {
    serde_json::from_str(&world.run(&["status", "--json"]).await.stdout).unwrap()
}

#[tokio::test]
async fn a_code_adds_a_second_factor_and_no_time() {
    let world = World::signed_in().await;
    let before = status(&world).await;
    assert_eq!(before["second_factor"], serde_json::Value::Null);
    let refused = world.run(&["step-up", "--otp", "000000"]).await;
    let line = "postern: the one-time code is wrong or was used before; wait for the next code of your authenticator \
                app and try again\n";
    assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr.as_str()), (10, "", line));
    assert_eq!(status(&world).await, before);
    let done = world.run(&["step-up", "--otp", OTP]).await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert!(done.stdout.starts_with("second factor used now; signed in until 20"), "{}", done.stdout);
    let after = status(&world).await;
    assert_eq!(after["until"], before["until"]);
    assert!(after["second_factor"].is_string(), "{after}");
}

#[tokio::test]
async fn nobody_who_is_not_signed_in_steps_up() {
    let world = World::new().await;
    let outcome = world.run(&["step-up", "--otp", OTP]).await;
    let line = "postern: nobody is signed in on this computer; sign in with `postern login`\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (3, line));
}

#[tokio::test]
async fn a_service_that_wants_a_second_factor_says_how_to_prove_it_where_nobody_can_be_asked() {
    let world = World::signed_in().await;
    let line = "postern: press-7/vault: this access needs a second factor; prove it with your one-time code \
                (`postern step-up`) (who can change it: you)\n";
    for args in [&["connect", "press-7", "vault"][..], &["connect", "press-7", "vault", "--stdio"]] {
        let refused = world.run(args).await;
        assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr.as_str()), (4, "", line));
    }
}

#[tokio::test]
async fn a_running_connect_takes_the_new_pass_of_a_step_up_and_of_a_sign_in() {
    let world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "panel"]);
    let mut socket = dial(&mut running).await;
    echo(&mut socket, b"before").await;
    assert_eq!(world.run(&["step-up", "--otp", OTP]).await.code, 0);
    let line = "postern: press-7/panel: your new pass is in force until 2096-10-02 07:06 +00:00";
    assert_eq!(running.err().await, line);
    echo(&mut socket, b"stepped up").await;
    // A sign-in without a code is no improvement for what is open.
    let login = world.run_with_input(&["login", "--password-stdin"], PASSWORD).await;
    assert_eq!(login.code, 0, "{login:?}");
    assert_eq!(
        running.err().await,
        "postern: press-7/panel: your new pass is in force for new connections; open ones keep the pass before it"
    );
    let login = world.run_with_input(&["login", "--otp", OTP, "--password-stdin"], PASSWORD).await;
    assert_eq!(login.code, 0, "{login:?}");
    assert_eq!(running.err().await, line);
    echo(&mut socket, b"still the same connection").await;
}

#[tokio::test]
async fn the_end_of_a_tunnel_is_announced_with_what_prevents_it() {
    let world = World::signed_in().await;
    assert_eq!(world.run(&["step-up", "--otp", OTP]).await.code, 0);
    let mut running = world.start(&["connect", "press-7", "vault"]);
    let mut socket = dial(&mut running).await;
    echo(&mut socket, b"before").await;
    let line = running.err().await;
    let seconds = line.strip_prefix("postern: vault on press-7 ends in ");
    let seconds = seconds
        .and_then(|rest| rest.split_once(" s unless you step up (`postern step-up`) or, "))
        .map(|(secs, _)| secs);
    let seconds: u64 = seconds.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
    assert!((30..=60).contains(&seconds), "{line}");
}

/// `connect` at a terminal of its own, which `script` of util-linux makes; what is typed goes to its standard input.
/// Without that program the test is skipped with a line that says so, or fails when `POSTERN_REQUIRE_PEERS` is 1.
struct Terminal {
    child: Child,
    seen: String,
}

impl Terminal {
    fn open(world: &World, args: &str) -> Option<Self> {
        Self::shell(world, &format!("tty; {} {args}", env!("CARGO_BIN_EXE_postern")))
    }

    /// Lines for the shell; the first shows the name of the terminal.
    fn shell(world: &World, call: &str) -> Option<Self> {
        let mut command = Command::new("script");
        command.args(["-qefc", call, "/dev/null"]).env("POSTERN_HOME", world.home()).env("NO_COLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        match command.spawn() {
            Ok(child) => Some(Self { child, seen: String::new() }),
            Err(error) => {
                assert_ne!(std::env::var("POSTERN_REQUIRE_PEERS").as_deref(), Ok("1"), "`script`: {error}");
                println!("SKIPPED: the program `script` is missing");
                None
            }
        }
    }

    /// Reads until `wanted` was shown this often.
    async fn shown(&mut self, wanted: &str, times: usize) {
        let out = self.child.stdout.as_mut().unwrap();
        let reading = async {
            let mut piece = [0; 512];
            while self.seen.matches(wanted).count() < times {
                let count = out.read(&mut piece).await.unwrap();
                assert_ne!(count, 0, "ended after {}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        };
        let late = tokio::time::timeout(GENEROUS, reading).await.is_err();
        assert!(!late, "`{wanted}` is not {times} times in {}", self.seen);
    }

    /// Waits until the program reads keys unseen: the prompt is shown a moment before.
    async fn listens(&mut self) {
        self.shown("\r\n", 1).await;
        let tty = self.seen.lines().next().unwrap().to_owned();
        let unseen = async {
            loop {
                let settings = Command::new("stty").args(["-a", "-F", &tty]).output().await.unwrap().stdout;
                let settings = String::from_utf8(settings).unwrap();
                if settings.split_whitespace().any(|setting| setting == "-isig") {
                    return;
                }
            }
        };
        tokio::time::timeout(GENEROUS, unseen).await.unwrap();
    }

    /// Answers the prompt for a one-time code that is shown for the `times`th time.
    async fn answer(&mut self, times: usize, code: &str) {
        self.shown("One-time code: ", times).await;
        self.listens().await;
        self.child.stdin.as_mut().unwrap().write_all(format!("{code}\n").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_person_at_a_terminal_is_asked_for_the_code_and_goes_on() {
    let world = World::signed_in().await;
    let Some(mut terminal) = Terminal::open(&world, "connect press-7 vault") else { return };
    terminal.shown("postern: vault on press-7: this access needs a second factor", 1).await;
    terminal.answer(1, "000000").await;
    terminal.shown("the one-time code is wrong or was used before", 1).await;
    terminal.answer(2, OTP).await;
    terminal.shown("vncviewer", 1).await;
    let url = terminal.seen.rsplit("vnc://127.0.0.1:").next().unwrap();
    let port = url.split("\r\n").next().unwrap().parse().unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    echo(&mut socket, b"past the second factor").await;
    assert!(!terminal.seen.contains(OTP), "the code was shown: {}", terminal.seen);
    // The first request, refused; the one after the step-up; the tunnel.
    assert_eq!(world.device.opens(), ["vault", "vault", "vault"]);
}

#[tokio::test]
async fn a_vpn_that_wants_a_second_factor_asks_a_person_for_it_too() {
    let world = World::signed_in().await;
    world.device.machines.list(&["guarded"]);
    let shut = world.run(&["forward", "press-7", "10.1.0.10:502"]).await;
    assert_eq!(shut.code, 4, "nobody to ask: {shut:?}");
    let Some(mut terminal) = Terminal::open(&world, "forward press-7 10.1.0.10:502") else { return };
    terminal.shown("postern: guarded on press-7: this access needs a second factor", 1).await;
    terminal.answer(1, OTP).await;
    terminal.shown(" -> 10.1.0.10:502", 1).await;
    let address = terminal.seen.rsplit("127.0.0.1:").next().unwrap();
    let port = address.split(' ').next().unwrap().parse().unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    echo(&mut socket, b"past the second factor").await;
    // The refusal without a person, the one at the terminal, and the tunnel.
    assert_eq!(world.device.opens(), ["guarded", "guarded", "guarded"]);
}

#[tokio::test]
async fn three_wrong_codes_end_it() {
    let world = World::signed_in().await;
    let Some(mut terminal) = Terminal::open(&world, "connect press-7 vault") else { return };
    for attempt in 1..=3 {
        terminal.answer(attempt, "000000").await;
    }
    let status = tokio::time::timeout(GENEROUS, terminal.child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(10));
    assert_eq!(world.device.opens(), ["vault"]);
}

#[tokio::test]
async fn who_has_no_one_time_codes_is_not_asked_again() {
    let world = World::signed_in().await;
    let Some(mut terminal) = Terminal::open(&world, "connect press-7 vault") else { return };
    terminal.answer(1, NO_OTP).await;
    terminal.shown("no one-time codes are set up for you; set them up with", 1).await;
    let status = tokio::time::timeout(GENEROUS, terminal.child.wait()).await.unwrap().unwrap();
    assert_eq!((status.code(), terminal.seen.matches("One-time code: ").count()), (Some(10), 1));
}

#[tokio::test]
async fn a_sign_in_that_comes_while_the_code_is_asked_for_is_stepped_up_from() {
    let world = World::signed_in().await;
    let Some(mut terminal) = Terminal::open(&world, "connect press-7 vault") else { return };
    terminal.shown("One-time code: ", 1).await;
    let login = world.run_with_input(&["login", "--otp", OTP, "--password-stdin"], PASSWORD).await;
    assert_eq!(login.code, 0, "{login:?}");
    let newest = std::fs::read(world.home().join("pass")).unwrap();
    terminal.answer(1, OTP).await;
    terminal.shown("vncviewer", 1).await;
    assert_eq!(world.hub.stepped_from(), [newest]);
}

#[tokio::test]
async fn ctrl_c_at_the_question_for_a_code_gives_the_terminal_back() {
    let world = World::signed_in().await;
    for (args, code) in [("connect press-7 vault", 1), ("step-up", 1), ("login", 1)] {
        let call = format!("{} {args}", env!("CARGO_BIN_EXE_postern"));
        let lines = format!("tty; trap : INT; {call}; echo ended $?; stty -a; echo over");
        let Some(mut terminal) = Terminal::shell(&world, &lines) else { return };
        terminal.listens().await;
        terminal.child.stdin.as_mut().unwrap().write_all(b"\x03").await.unwrap();
        terminal.shown("over", 1).await;
        let after = terminal.seen.rsplit("ended ").next().unwrap();
        assert!(after.starts_with(&code.to_string()), "{args}: {}", terminal.seen);
        assert!(
            terminal.seen.contains("interrupted; run the command again when you are ready"),
            "{}",
            terminal.seen
        );
        let settings: Vec<_> = after.split_whitespace().collect();
        for setting in ["isig", "icanon", "echo"] {
            assert!(settings.contains(&setting), "{args}: no {setting} in {after}");
        }
    }
}
