//! Secrets: set in the cloud, sealed to the device, opened there, and readable nowhere on the way.

use std::path::Path;

use postern_tests::world::DEVICE;

use super::stage::{Outcome, Plant};

const SECRET: &str = "seven-green-presses-4711";

#[tokio::test]
async fn a_secret_that_is_set_in_the_cloud_opens_on_the_device_and_its_plain_text_is_in_no_file() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let set = world.hub.call(["secret", "set", DEVICE, "hmi", "--stdin"]).input(SECRET).finish().await?;
    let set = set.expect_code(0)?;
    assert_eq!(set.out, format!("Secret hmi is set for {DEVICE}.\nThe device has it.\n"), "{}", set.err);
    let list = world.device.call(["secret", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
    assert_eq!(
        list,
        serde_json::json!([{ "name": "hmi", "source": "cloud", "covers": false, "problem": null }])
    );
    let snapshot = world.device.call(["policy", "show", "--json"]).finish().await?.expect_code(0)?;
    // Over a restart of both: what is stored is what opens.
    world.device.kill().await?;
    world.device.run().await?;
    let again = world.device.call(["secret", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
    assert_eq!(again, list);
    assert!(!snapshot.out.contains(SECRET) && !world.device.log().contains(SECRET));
    assert!(!world.hub.log().contains(SECRET));

    let (mut files, mut plain) = (0, Vec::new());
    for file in files_below(world.dir()) {
        files += 1;
        let bytes = std::fs::read(&file)?;
        if bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
            plain.push(file);
        }
    }
    assert!(files > 10, "{files}");
    assert_eq!(plain, Vec::<std::path::PathBuf>::new());
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_set_at_the_machine_wins_and_a_removed_one_is_gone_on_the_device_at_once() -> Outcome
{
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let set = world.hub.call(["secret", "set", DEVICE, "hmi", "--stdin"]).input(SECRET).finish().await?;
    set.expect_code(0)?;
    world.device.call(["secret", "set", "hmi", "--stdin"]).input("here").finish().await?.expect_code(0)?;
    let list = world.device.call(["secret", "list", "--json"]).finish().await?.json()?;
    assert_eq!((&list[0]["source"], &list[0]["covers"]), (&"device".into(), &true.into()));
    world.device.call(["secret", "remove", "hmi"]).finish().await?.expect_code(0)?;
    let list = world.device.call(["secret", "list", "--json"]).finish().await?.json()?;
    assert_eq!((&list[0]["source"], &list[0]["covers"]), (&"cloud".into(), &false.into()));
    world.hub.call(["secret", "remove", DEVICE, "hmi"]).finish().await?.expect_code(0)?;
    let list = world.device.call(["secret", "list", "--json"]).finish().await?.json()?;
    assert_eq!(list, serde_json::json!([]));
    Ok(())
}

/// Every regular file below a folder, databases with their logs among them.
fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files
}
