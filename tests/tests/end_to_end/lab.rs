//! The laboratory itself: it shows what it promises and leaves nothing behind.

use std::path::Path;

use postern_tests::world::probe::within;
use postern_tests::world::{Call, Ending, Mishap};
use rustix::process::Signal;

use super::stage::{LAB, Outcome};

#[tokio::test]
async fn the_laboratory_shows_who_may_what_and_a_cut_within_a_second() -> Outcome {
    let room = tempfile::tempdir()?;
    let done = Call::new(LAB)
        .args(["--once", "--json"])
        .env("TMPDIR", room.path().as_os_str())
        .finish()
        .await?
        .expect_code(0)?;
    let report = done.json()?;
    assert_eq!(report["as_expected"], true, "{report:#}");
    let attempts = report["attempts"].as_array().expect("a list of attempts");
    let verdict = |who: &str, service: &str| {
        let row = attempts.iter().find(|row| row["who"] == who && row["service"] == service);
        row.and_then(|row| row["allowed"].as_bool())
    };
    for (who, service, allowed) in [
        ("eva", "hmi", true),
        ("eva", "web", false),
        ("sam", "live", true),
        ("otto", "hmi", true),
        ("otto", "live", false),
        ("ada", "hmi", false),
        ("bea", "hmi", false),
    ] {
        assert_eq!(verdict(who, service), Some(allowed), "{who} at {service}: {report:#}");
    }
    assert!(report["cut"]["activation_to_last_byte_ms"].as_u64().is_some_and(|ms| ms <= 1000), "{report:#}");
    assert!(report["cut"]["bytes"].as_u64().is_some_and(|bytes| bytes > 1_000_000), "{report:#}");
    expect_nothing_left(room.path())
}

#[tokio::test]
async fn an_interrupted_laboratory_leaves_nothing_behind() -> Outcome {
    for (signal, awaited, ending) in [
        (Signal::INT, "... enrolling the device", Ending::Code(130)),
        (Signal::TERM, "... withdrawing a right", Ending::Code(130)),
    ] {
        let room = tempfile::tempdir()?;
        let mut lab = Call::new(LAB).env("TMPDIR", room.path().as_os_str()).start("laboratory")?;
        lab.line(awaited, |line| line.text.starts_with(awaited)).await?;
        lab.signal(signal);
        assert_eq!(lab.ended().await?, ending);
        expect_nothing_left(room.path())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_laboratory_that_stays_up_ends_in_order_at_ctrl_c() -> Outcome {
    let room = tempfile::tempdir()?;
    let mut lab = Call::new(LAB).env("TMPDIR", room.path().as_os_str()).start("laboratory")?;
    lab.line("the last hint", |line| line.text.starts_with("Ctrl-C ends everything")).await?;
    lab.signal(Signal::INT);
    assert_eq!(lab.ended().await?, Ending::Code(0));
    expect_nothing_left(room.path())
}

#[tokio::test]
async fn a_laboratory_that_is_killed_takes_its_children_with_it() -> Outcome {
    let room = tempfile::tempdir()?;
    let mut lab = Call::new(LAB).env("TMPDIR", room.path().as_os_str()).start("laboratory")?;
    lab.line("the last hint", |line| line.text.starts_with("Ctrl-C ends everything")).await?;
    assert_ne!(processes_of(room.path())?, Vec::<String>::new(), "nothing runs, so nothing could be left");
    lab.kill().await?;
    // The kernel tells the children; they end in order.
    within("the end of the children", async {
        while !processes_of(room.path())?.is_empty() {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await
}

/// No file in the place for temporary files, and no process that was started from there or works in there.
fn expect_nothing_left(room: &Path) -> Result<(), Mishap> {
    let files: Vec<_> = std::fs::read_dir(room)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    assert_eq!(files, Vec::<std::path::PathBuf>::new());
    assert_eq!(processes_of(room)?, Vec::<String>::new());
    Ok(())
}

/// The command lines of processes that were started from `room` or work in there.
fn processes_of(room: &Path) -> Result<Vec<String>, Mishap> {
    let place = room.display().to_string();
    // Processes come and go while we look; those that are gone do not matter.
    let commands = std::fs::read_dir("/proc")?.filter_map(|entry| {
        let command = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&command).replace('\0', " "))
    });
    Ok(commands.filter(|command| command.contains(&place)).collect())
}
