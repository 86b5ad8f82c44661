//! The guided way into an empty installation: answers in, a fleet file and codes out, and a router that obeys them.

use std::path::{Path, PathBuf};

use postern_tests::programs::{Program, Shelf};
use postern_tests::world::{Call, DEVICE, Done, Mishap, World};
use serde_json::Value;

use super::gate::echoed;
use super::stage::{LAB, Outcome, Plant};

/// A maker, its customer, two people and a press. Goes back once, and asks once what is meant.
const ANSWERS: [&str; 16] = [
    "berg",
    "acme",
    "",
    "screen",
    "?",
    "always",
    "",
    "none",
    "",
    "",
    "eva",
    "otto",
    "",
    "",
    "press-7",
    "192.168.10.20:5900",
];

/// What `postern` ends with when nobody shows it such a device.
const NO_DEVICE: i32 = 11;

struct Empty {
    dir: tempfile::TempDir,
    shelf: Shelf,
}

impl Empty {
    async fn found() -> Result<Self, Mishap> {
        let dir = tempfile::tempdir().map_err(Mishap::io("a directory"))?;
        let shelf =
            Shelf::fill(dir.path().join("bin"), LAB.as_ref()).map_err(Mishap::io("linking the programs"))?;
        let empty = Self { dir, shelf };
        let founded = empty.call(&["init", "--listen", "127.0.0.1:7440"], "").await?;
        founded.expect_code(0)?;
        Ok(empty)
    }

    async fn call(&self, args: &[&str], input: &str) -> Result<Done, Mishap> {
        let state = self.dir.path().join("state");
        let call =
            Call::new(self.shelf.path(Program::Cloud)).args(["--state", state.to_str().unwrap(), "--json"]);
        call.args(args).dir(self.dir.path()).input(input).finish().await
    }

    fn fleet(&self) -> PathBuf {
        self.dir.path().join("fleet.toml")
    }

    /// Whether nothing is there that was not before.
    async fn is_untouched(&self) -> Result<bool, Mishap> {
        let users = self.call(&["user", "list"], "").await?.expect_code(0)?.json()?;
        Ok(users["users"] == serde_json::json!([]) && !self.fleet().exists())
    }
}

fn lines(answers: &[&str]) -> String {
    answers.iter().map(|answer| format!("{answer}\n")).collect()
}

fn services(review: &Value) -> Vec<[&str; 2]> {
    let grants = review["review"]["grants"].as_array().unwrap();
    grants.iter().map(|one| [one["user"].as_str().unwrap(), one["service"].as_str().unwrap()]).collect()
}

#[tokio::test]
async fn answers_become_a_fleet_file_that_is_in_force_with_invitations_and_a_code_for_the_device() -> Outcome
{
    let empty = Empty::found().await?;
    let done = empty.call(&["setup"], &(lines(&ANSWERS) + "yes\n")).await?.expect_code(0)?;
    for shown in [
        "Step 1 of 5: groups",
        "Step 5 of 5",
        "case: only while",
        "eva (not signed in yet)",
        "role `engineer`",
    ] {
        assert!(done.err.contains(shown), "{shown}: {}", done.err);
    }
    let said = done.json()?;
    let invited: Vec<&str> =
        said["invitations"].as_array().unwrap().iter().filter_map(|one| one["user"].as_str()).collect();
    assert_eq!((invited, &said["enrolments"][0]["device"]), (vec!["eva", "otto"], &Value::from("press-7")));
    // What was shown is what is in force, and the file says the same.
    let review = empty.call(&["review", "press-7"], "").await?.expect_code(0)?.json()?;
    assert_eq!(services(&review), [["eva", "hmi"], ["otto", "hmi"]]);
    let diff = empty.call(&["diff", "fleet.toml"], "").await?.expect_code(0)?.json()?;
    for what in ["added", "changed", "removed"] {
        assert_eq!(diff["diff"][what], serde_json::json!([]), "{what}");
    }
    let written = std::fs::read(empty.fleet()).unwrap();
    let again = empty.call(&["setup", "--output", "other.toml"], &lines(&ANSWERS)).await?.expect_code(1)?;
    assert!(again.err.contains("the model is not empty: 2 users, 1 devices"), "{}", again.err);
    assert!(
        std::fs::read(empty.fleet()).unwrap() == written && !empty.dir.path().join("other.toml").exists()
    );
    Ok(())
}

#[tokio::test]
async fn a_router_with_the_code_lets_in_who_was_named_and_nobody_else() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = World::bare(LAB).await?;
    let (target, file) = (plant.echo.address.to_string(), world.dir().join("fleet.toml"));
    let answers = [
        "berg", "acme", "", "pages", "always", "", "none", "", "", "eva", "otto", "", "ada", DEVICE, &target,
        "",
    ];
    let setup = world.hub.call(["setup", "--json", "--output"]).arg(&file).input(lines(&answers));
    let said = setup.finish().await?.expect_code(0)?.json()?;
    world.hub.serve().await?;
    world.device.enroll(said["enrolments"][0]["code"].as_str().unwrap()).await?.expect_code(0)?;
    world.device.run().await?;
    let mut people = Vec::new();
    for invited in said["invitations"].as_array().unwrap() {
        let person = world.stranger(invited["user"].as_str().unwrap())?;
        person.login_with_code(invited["code"].as_str().unwrap()).await?.expect_code(0)?;
        people.push(person);
    }
    world.settle().await?;
    let [ada, eva, otto] = people.as_slice() else { panic!("{said}") };
    for person in [eva, otto] {
        let session = person.connect("web").await?;
        assert_eq!(echoed(&mut session.exchange().await?, b"in").await?, b"in", "{}", person.name());
    }
    // For who administrates users there is no device.
    ada.refused("web").await?.expect_code(NO_DEVICE)?;
    Ok(())
}

#[tokio::test]
async fn whoever_stops_or_says_no_has_changed_nothing_and_no_file_is_written_over() -> Outcome {
    let empty = Empty::found().await?;
    for count in [0, 1, 9, ANSWERS.len()] {
        let done = empty.call(&["setup"], &lines(&ANSWERS[..count])).await?.expect_code(4)?;
        assert!(done.err.contains("nothing was written and nothing was applied"), "{}", done.err);
    }
    let no = empty.call(&["setup"], &(lines(&ANSWERS) + "no\n")).await?.expect_code(4)?;
    assert!(no.err.contains("not confirmed; nothing was applied"), "{}", no.err);
    assert!(empty.is_untouched().await?);
    std::fs::write(empty.fleet(), "mine").unwrap();
    let kept = empty.call(&["setup"], &(lines(&ANSWERS) + "yes\n")).await?.expect_code(1)?;
    assert!(kept.err.contains("exists") && !kept.err.contains("Step 1"), "{}", kept.err);
    assert_eq!(read(&empty.fleet()), "mine");
    Ok(())
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}
