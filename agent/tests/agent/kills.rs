//! The agent is killed as it begins a write, each one in turn, while it takes a policy and writes rows, while its key is replaced, and
//! while it is enrolled anew. What it leaves is the old state or the new one, with all that belongs to it; never a mix, and never
//! a dead end.
//!
//! `strace` delivers SIGKILL at the Nth call of a kind on one thread. Without it, or where processes may not be traced,
//! these tests are skipped with a line that says so, or fail when `POSTERN_REQUIRE_PEERS` is 1.

use std::process::Stdio;

use postern_protocol::policy::Reason;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::tunnel::Answer;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::key_life::{NEXT, OPENS, keep, policy_for, restore, secrets, set_secret};
use crate::world::World;

/// The calls by which something comes to the disk, or gets its name.
const WRITES: [&str; 6] = ["pwrite64", "fdatasync", "fsync", "rename", "unlink", "ftruncate"];

/// A thread of the running agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    /// The event loop, which writes the key files.
    Main,
    /// The store.
    Store,
}

/// What `strace` is to do: kill at the `nth` such call.
fn kill_at(call: &str, nth: usize) -> [String; 6] {
    // A question mark: not every architecture has every call.
    let inject = format!("inject=?{call}:signal=KILL:when={nth}");
    ["-o", "/dev/null", "-e", &format!("trace=?{call}"), "-e", &inject].map(str::to_owned)
}

/// Has one thread of a running agent killed at its `nth` call; none where that cannot be done here.
async fn arm(pid: u32, thread: Thread, call: &str, nth: usize) -> Option<Child> {
    let mut command = Command::new("strace");
    command
        .args(kill_at(call, nth))
        .args(["-p", &tid(pid, thread)])
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let Ok(mut tracer) = command.spawn() else { return skipped() };
    let mut said = BufReader::new(tracer.stderr.take().unwrap()).lines();
    while let Some(line) = said.next_line().await.unwrap() {
        if line.ends_with(" attached") {
            return Some(tracer);
        }
    }
    skipped()
}

fn skipped<T>() -> Option<T> {
    assert_ne!(std::env::var("POSTERN_REQUIRE_PEERS").as_deref(), Ok("1"), "`strace` cannot trace");
    println!("SKIPPED: the program `strace` is missing or may not trace");
    None
}

fn tid(pid: u32, thread: Thread) -> String {
    let of_store = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "store")
    };
    let mut tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(Result::unwrap);
    match thread {
        Thread::Main => pid.to_string(),
        Thread::Store => tasks.find(of_store).unwrap().file_name().into_string().unwrap(),
    }
}

/// Replaces the key of a running agent, to its end or to that of the agent; whether that was killed, and the key that it
/// has announced.
async fn rotate(world: &mut World, old: PublicKey, child: &mut Child) -> (bool, Option<PublicKey>) {
    let mut announced = None;
    let World { hub, agent, policy, .. } = &mut *world;
    let rotation = async {
        // Its answer may not come.
        let _answer = agent.run(&["key", "rotate"]).await;
        let (next, present) = hub.next_key().await;
        assert_eq!(present, old);
        announced = Some(next.key);
        hub.publish(policy_for(policy, next.key).seal(3));
        assert_eq!(hub.applied().await.version, 3);
        assert_eq!(hub.greeted_by().await.0, next.key);
    };
    let killed = tokio::select! {
        status = child.wait() => {
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status.unwrap()), Some(9));
            true
        }
        () = rotation => false,
    };
    (killed, announced)
}

#[tokio::test]
async fn an_agent_that_is_killed_at_any_write_of_a_rotation_goes_on_with_the_old_key_or_the_new_one() {
    let mut world = World::start_marked().await;
    let old = world.agent.key();
    set_secret(&world.agent).await;
    assert_eq!(world.agent.stop().await, Some(0));
    let state = world.agent.state();
    let before = keep(&state, "before");
    // How often it went on with the old key, and with the new one.
    let (mut went_back, mut went_on) = (0, 0);
    for (thread, call) in [Thread::Main, Thread::Store].into_iter().flat_map(|t| WRITES.map(|call| (t, call)))
    {
        for nth in 1.. {
            let step = format!("{thread:?}, {call} {nth}");
            restore(&state, &before, &before, &[]);
            world.hub.fall_silent();
            world.agent.start().await;
            assert_eq!(world.hub.greeted_by().await.0, old, "{step}");
            let mut child = world.agent.let_go();
            let Some(tracer) = arm(child.id().unwrap(), thread, call, nth).await else { return };
            let (killed, announced) = rotate(&mut world, old, &mut child).await;
            child.kill().await.unwrap();
            drop(tracer);
            let check = world.agent.json(&["check"]).await;
            let is_new = check["policy"]["version"] == 3;
            let expected = if is_new { announced.unwrap() } else { old };
            assert!(killed || is_new, "{step}: a rotation that is over is forgotten");
            assert_eq!(check["fingerprint"], expected.fingerprint().to_string(), "{step}");
            assert_eq!(secrets(&world.agent).await, OPENS, "{step}, stopped");
            world.hub.fall_silent();
            world.agent.start().await;
            assert_eq!(world.hub.greeted_by().await.0, expected, "{step}");
            assert_eq!(
                (world.agent.key(), secrets(&world.agent).await.as_str()),
                (expected, OPENS),
                "{step}"
            );
            assert!(!is_new || !state.join(NEXT).exists(), "{step}");
            world.client().await.tunnel("web").await.echo(b"works").await;
            assert_eq!(world.agent.run(&["audit", "verify"]).await.code, 0, "{step}");
            world.agent.kill().await;
            if !killed {
                break;
            }
            *if is_new { &mut went_on } else { &mut went_back } += 1;
        }
    }
    assert!(went_back > 5 && went_on > 3, "{went_back} {went_on}");
}

/// Opens a tunnel and has the policy withdraw it, to the end of that or of the agent; whether it was killed, and whether the tunnel
/// and the withdrawal were confirmed.
async fn withdraw(world: &mut World, client: &Client, child: &mut Child) -> (bool, [bool; 2]) {
    let (mut opened, mut withdrawn) = (false, false);
    let working = async {
        let mut tunnel = client.open("web").await;
        opened = matches!(tunnel.answer, Answer::Accepted { .. });
        let mut revoked = world.policy.clone();
        revoked.revoke();
        world.hub.publish(revoked.seal(3));
        assert_eq!(world.hub.applied().await.version, 3);
        withdrawn = true;
        let _reset = tunnel.drain().await;
        // Whoever asks an agent that is being killed gets no answer.
        while !world.agent.run(&["audit", "list", "--json"]).await.out.contains("\"revoked\"") {}
    };
    let killed = tokio::select! {
        biased;
        status = child.wait() => {
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status.unwrap()), Some(9));
            true
        }
        () = working => false,
    };
    (killed, [opened, withdrawn])
}

#[tokio::test]
async fn an_agent_that_is_killed_at_any_write_of_a_withdrawal_serves_the_old_policy_or_the_new_one_and_keeps_its_rows()
 {
    let mut world = World::start_marked().await;
    assert_eq!(world.agent.stop().await, Some(0));
    let state = world.agent.state();
    let before = keep(&state, "before");
    let (mut went_back, mut went_on) = (0, 0);
    for call in WRITES {
        for nth in (1..).step_by(if call == "pwrite64" { 3 } else { 1 }) {
            let step = format!("{call} {nth}");
            restore(&state, &before, &before, &[]);
            world.hub.fall_silent();
            world.agent.start().await;
            world.hub.greeted_by().await;
            let client = world.client().await;
            client.tunnel("live").await.echo(b"before").await;
            let mut child = world.agent.let_go();
            let Some(tracer) = arm(child.id().unwrap(), Thread::Store, call, nth).await else { return };
            let (killed, [opened, withdrawn]) = withdraw(&mut world, &client, &mut child).await;
            child.kill().await.unwrap();
            drop(tracer);
            world.hub.fall_silent();
            world.agent.start().await;
            let version = world.hub.greeted_by().await.1.held.map(|held| held.version);
            let is_new = version == Some(3);
            assert!(is_new || version == Some(2) && killed && !withdrawn, "{step}: {version:?}");
            let answer = world.client().await.open("web").await.answer;
            let denied = answer == Answer::Denied(Reason::NoGrant);
            assert_eq!(denied, is_new, "{step}: {answer:?}");
            let trail = world.agent.trail().await;
            let permitted = trail.iter().filter(|(event, _)| event == "permitted").count();
            assert!(permitted >= 1 + usize::from(opened) + usize::from(!is_new), "{step}: {trail:?}");
            assert_eq!(world.agent.run(&["audit", "verify"]).await.code, 0, "{step}");
            world.agent.kill().await;
            if !killed {
                break;
            }
            *if is_new { &mut went_on } else { &mut went_back } += 1;
        }
    }
    assert!(went_back > 3 && went_on > 3, "{went_back} {went_on}");
}

#[tokio::test]
async fn a_new_enrolment_that_is_killed_at_any_write_leaves_the_old_one_or_the_new_one_and_can_be_finished() {
    let mut world = World::start().await;
    let old = world.agent.key();
    assert_eq!(world.agent.stop().await, Some(0));
    let state = world.agent.state();
    let before = keep(&state, "before");
    let (mut went_back, mut went_on) = (0, 0);
    for call in WRITES.into_iter().chain(["write"]) {
        // Dozens of pages go into each journal, and one is as good as the next between two syncs.
        for nth in (1..).step_by(if call == "pwrite64" { 4 } else { 1 }) {
            let step = format!("{call} {nth}");
            restore(&state, &before, &before, &[]);
            let code = world.hub.code();
            let mut command =
                world.agent.under("strace", &kill_at(call, nth), &["enroll", &code, "--replace"]);
            let Ok(output) = command.stderr(Stdio::piped()).output().await else {
                return skipped().unwrap_or(());
            };
            if String::from_utf8_lossy(&output.stderr).contains("Operation not permitted") {
                return skipped().unwrap_or(());
            }
            // The tracer ends as what it traces did.
            let killed = output.status.code() != Some(0);
            assert!(
                !killed || std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9),
                "{output:?}"
            );
            let check = world.agent.json(&["check"]).await;
            let is_new = check["policy"]["version"] != 2;
            assert!(killed || is_new, "{step}: an enrolment that is over is forgotten");
            world.hub.fall_silent();
            world.agent.start().await;
            let (key, _hello) = world.hub.greeted_by().await;
            assert_eq!((key != old, world.agent.key()), (is_new, key), "{step}");
            assert_eq!(check["fingerprint"], key.fingerprint().to_string(), "{step}");
            assert!(!is_new || !state.join(NEXT).exists(), "{step}");
            assert_eq!(world.agent.run(&["audit", "verify"]).await.code, 0, "{step}");
            assert_eq!(world.agent.stop().await, Some(0));
            if !killed {
                break;
            }
            *if is_new { &mut went_on } else { &mut went_back } += 1;
            // The same command finishes what was begun, and is as good when nothing is left to finish.
            assert_eq!(world.agent.run(&["enroll", &code, "--replace"]).await.code, 0, "{step}");
            assert_ne!(world.agent.key(), old, "{step}");
        }
    }
    assert!(went_back > 5 && went_on > 3, "{went_back} {went_on}");
}
