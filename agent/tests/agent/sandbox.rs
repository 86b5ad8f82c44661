//! What a running agent has given up, and whose state it takes.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::world::{Done, World};

/// A line of the status of each thread.
fn of_threads(pid: u32, name: &str) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap());
    let value = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    status.map(value).collect()
}

#[tokio::test]
async fn every_thread_of_a_running_agent_is_bound_and_status_says_so() {
    let world = World::start().await;
    world.client().await.tunnel("web").await.echo(b"bound and at work").await;
    let pid = world.agent.pid();
    for (name, expected) in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapEff", NONE), ("CapPrm", NONE)] {
        let found = of_threads(pid, name);
        assert!(found.len() >= 2, "the store has a thread of its own");
        assert_eq!(found, vec![expected; found.len()], "{name}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
    let status = world.agent.json(&["status"]).await;
    for measure in status["sandbox"]["measures"].as_array().unwrap() {
        assert_eq!(measure["holds"], true, "{measure}");
    }
    assert_eq!(status["self_test"]["passed"], true);
    let text = world.agent.run(&["status"]).await.out;
    let said = "no new privileges, no memory dump, no capability, own files only (landlock ";
    assert!(text.contains(said) && text.contains("), few system calls"), "{text}");
    // Those of its own, and some of the policy in force.
    let check = world.agent.json(&["check"]).await;
    assert!(check["self_test"].as_u64() > Some(25), "{check}");
}

#[tokio::test]
async fn the_doctor_shows_what_a_running_agent_has_given_up_and_nothing_of_one_that_does_not_run() {
    let mut world = World::start().await;
    let row = |text: &str| text.lines().find(|line| line.starts_with("sandbox ")).unwrap().to_owned();
    let status = world.agent.json(&["status"]).await;
    let doctor = world.agent.json(&["doctor"]).await;
    assert_eq!(doctor["sandbox"], status["sandbox"]);
    assert_eq!(doctor["sandbox"]["measures"][3]["what"], "own files only");
    let how = doctor["sandbox"]["measures"][3]["how"].as_str().unwrap().to_owned();
    let shown = row(&world.agent.run(&["doctor"]).await.out);
    assert!(shown.starts_with("sandbox        ok ") && shown.contains(&how), "{shown}");
    world.agent.stop().await;
    let shown = row(&world.agent.run(&["doctor"]).await.out);
    assert!(shown.starts_with("sandbox        - "), "{shown}");
}

#[tokio::test]
async fn a_second_agent_on_the_same_state_is_refused_and_the_first_goes_on() {
    let world = World::start().await;
    let second = world.agent.run(&["run"]).await;
    assert_eq!(second.code, 7, "{second:?}");
    assert!(second.err.contains("another agent works on `"), "{second:?}");
    world.client().await.tunnel("web").await.echo(b"undisturbed").await;
}

#[tokio::test]
async fn a_state_that_others_could_change_is_refused_until_the_command_of_the_message_mends_it() {
    let mut world = World::start().await;
    world.agent.stop().await;
    let state = world.agent.state();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    for (name, wrong, right) in [("policy.db", 0o620, 0o600), ("audit.db", 0o602, 0o600), ("", 0o770, 0o700)]
    {
        let path = state.join(name);
        mode(&path, wrong);
        let path = path.display().to_string();
        let path = path.trim_end_matches('/');
        for command in [&["run"][..], &["check"]] {
            let refused = world.agent.run(command).await;
            assert_eq!(refused.code, 6, "{refused:?}");
            assert!(refused.err.contains(&format!("`{path}` has mode {wrong:04o}")), "{refused:?}");
            mends(&refused, &format!("chmod go-w {path}"));
        }
        assert!(std::process::Command::new("chmod").args(["go-w", path]).status().unwrap().success());
        let found = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found & 0o022, 0, "{found:o}");
        mode(Path::new(path), right);
    }
    world.agent.start().await;
    world.client().await.tunnel("web").await.echo(b"mended").await;
}

#[tokio::test]
async fn a_link_in_the_state_is_refused_whatever_it_leads_to() {
    let mut world = World::start().await;
    world.agent.stop().await;
    let state = world.agent.state();
    let (database, elsewhere) = (state.join("policy.db"), world.agent.dir().join("policy.db"));
    std::fs::rename(&database, &elsewhere).unwrap();
    symlink(&elsewhere, &database).unwrap();
    let refused = world.agent.run(&["run"]).await;
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.err.contains("policy.db` is a symbolic link"), "{refused:?}");
    std::fs::rename(&elsewhere, &database).unwrap();
    world.agent.start().await;
    world.client().await.tunnel("web").await.echo(b"no link").await;
}

#[tokio::test]
async fn a_file_of_somebody_else_in_the_state_is_refused() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("POSTERN_REQUIRE_PEERS").is_none(), "not root");
        println!("SKIPPED: only root can give files away");
        return;
    }
    let mut world = World::start().await;
    world.agent.stop().await;
    let database = world.agent.state().join("audit.db");
    std::os::unix::fs::chown(&database, Some(4242), None).unwrap();
    let refused = world.agent.run(&["run"]).await;
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.err.contains("audit.db` belongs to user 4242"), "{refused:?}");
    mends(&refused, &format!("chown -h 0 {}", database.display()));
    std::os::unix::fs::chown(&database, Some(0), None).unwrap();
    world.agent.start().await;
    world.client().await.tunnel("web").await.echo(b"given back").await;
}

fn mends(refused: &Done, command: &str) {
    assert!(refused.err.contains(&format!("run `{command}`")), "{refused:?}");
}

const NONE: &str = "0000000000000000";
