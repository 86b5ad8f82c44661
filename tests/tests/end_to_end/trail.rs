//! The way of the audit trail from the device to the cloud, and what a file of it is worth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use postern_cloud::signer::Signer;
use postern_cloud::store::{Store, TrailQuery, TrailRow};
use postern_protocol::audit::export::Item;
use postern_protocol::audit::{Checkpoint, End, Event, LogId, Row, Whose, chain};
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::SecretKey;
use postern_protocol::wire::codec;
use postern_tests::world::{Done, Ending, Mishap, World};
use serde_json::Value;

use super::gate::{DENIED, echoed, has};
use super::stage::{Outcome, Plant};

/// What `postern-cloud audit verify` ends with where the trail was changed.
const CHANGED: i32 = 9;
/// What `postern-agent audit verify` ends with then.
const UNSAFE: i32 = 6;
/// The device of every world.
const PRESS: &str = "press-7";

#[tokio::test]
async fn an_outage_is_stored_and_forwarded_and_every_row_is_in_the_cloud_exactly_once() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    uploaded(&world).await?;
    world.hub.stop().await?;
    for _ in 0..3 {
        note(&world).await?;
    }
    world.device.kill().await?;
    world.device.run().await?;
    note(&world).await?;
    let waiting = world.device.status().await?["audit"]["waiting"].clone();
    assert!(waiting.as_u64().is_some_and(|waiting| waiting >= 5), "{waiting}");
    world.hub.serve().await?;
    uploaded(&world).await?;
    same(&world).await?;
    assert_eq!(alarms(&world).await?, Vec::<String>::new());
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn a_session_is_in_the_cloud_within_moments_with_its_permit_and_its_end() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let session = world.person("anna").await?.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"x").await?, b"x");
    session.interrupt().await?;
    world.device.audit_until("a closed row", |rows| rows.iter().any(|row| has(row, "closed"))).await?;
    uploaded(&world).await?;
    let rows = same(&world).await?;
    let words: Vec<&str> = rows.iter().map(|row| row.row.event.word()).collect();
    assert_eq!(words[0], "enrolled", "{words:?}");
    let mut tunnels = Vec::new();
    for row in &rows {
        if let Event::Permitted { tunnel, .. } | Event::Closed { tunnel, .. } = &row.row.event {
            tunnels.push(*tunnel);
        }
    }
    assert!(matches!(tunnels.as_slice(), [begun, ended] if begun == ended), "{words:?}");
    Ok(())
}

#[tokio::test]
async fn either_end_may_be_killed_at_any_time_and_every_row_is_there_exactly_once() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    for turn in 0..6 {
        note(&world).await?;
        note(&world).await?;
        if turn % 2 == 0 {
            world.hub.kill().await?;
            note(&world).await?;
            world.hub.serve().await?;
        } else {
            world.device.kill().await?;
            world.device.run().await?;
        }
    }
    note(&world).await?;
    uploaded(&world).await?;
    same(&world).await?;
    assert_eq!(alarms(&world).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_full_trail_shuts_the_gate_and_the_cloud_opens_it_again_without_a_visit() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    anna.connect("echo").await?.interrupt().await?;
    world.device.stop().await?;
    world.device.configure("[audit]\nsize_kib = 256\n")?;
    world.device.run().await?;
    uploaded(&world).await?;
    let written = world.device.audit().await?.len();
    world.hub.stop().await?;
    while percent(&world).await? < 95 {
        let notes = futures_util::future::join_all((0..16).map(|_| note(&world))).await;
        notes.into_iter().collect::<Outcome>()?;
    }
    assert!(world.device.audit().await?.len() > written);
    let refused = anna.call(["connect", PRESS, "echo", "--stdio"]).input("").finish().await?;
    // Policy has nothing against it.
    assert!(![Ending::Code(0), Ending::Code(DENIED)].contains(&refused.ending), "{refused:?}");
    // What is not acknowledged is not removed, whatever the price.
    let waiting = world.device.status().await?["audit"]["waiting"].as_u64().unwrap_or(0);
    assert!(waiting >= 500, "{waiting}");
    world.hub.serve().await?;
    // On a slow machine the outage took a minute, and after one that long the next attempt is up to a minute away.
    if uploaded(&world).await.is_err() {
        uploaded(&world).await?;
    }
    assert!(percent(&world).await? < 80);
    anna.connect("echo").await?.interrupt().await?;
    uploaded(&world).await?;
    let rows = cloud_rows(&world)?;
    let places: Vec<u64> = rows.iter().map(|row| row.row.seq).collect();
    assert_eq!(places, (1..).take(rows.len()).collect::<Vec<_>>(), "each once, and none is missing");
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn an_export_verifies_by_public_keys_alone_until_something_of_it_is_changed() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let session = world.person("anna").await?.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"x").await?, b"x");
    session.interrupt().await?;
    world.device.stop().await?;
    world.device.run().await?;
    uploaded(&world).await?;
    let genuine = export(&world)?;
    let count = genuine.iter().filter(|line| line.starts_with("row ")).count();
    let said = judged(&world, &genuine).await?.expect_code(0)?.json()?;
    assert_eq!((said["rows"].as_u64(), said["device"].as_str()), (u64::try_from(count).ok(), Some(PRESS)));
    assert_eq!(said["unchecked"], 0);

    let row = |seq: usize| places(&genuine)[seq - 1];
    // A changed byte in row 2.
    let mut changed = genuine.clone();
    let at = row(2);
    let digit = if changed[at].ends_with('0') { "1" } else { "0" };
    let kept = changed[at].len() - 1;
    changed[at].replace_range(kept.., digit);
    named(&world, &changed, "row 2 ").await?;
    // A row that is gone, and one that was inserted.
    let mut removed = genuine.clone();
    removed.remove(row(3));
    named(&world, &removed, "row 3 ").await?;
    let mut inserted = genuine.clone();
    inserted.insert(row(3), genuine[row(1)].clone());
    named(&world, &inserted, "row 3 ").await?;
    // The newest row is gone; the acknowledgement of it is still there, or is gone as well.
    let mut cut = genuine.clone();
    cut.remove(row(count));
    named(&world, &cut, &format!("row {count} ")).await?;
    let mut blind = genuine.clone();
    blind.retain(|line| !line.starts_with("ack "));
    named(&world, &blind, "row 1 ").await?;
    // With the device's newest key and all links made anew: row 4 says something else.
    let key = newest_key(&world)?;
    let resealed = reseal(&genuine, &key, 4);
    named(&world, &resealed, "row 4 ").await?;
    // The device judges likewise, by the root that it trusts.
    let path = text(&world.dir().join("export.txt"));
    let said = world.device.call(["audit", "verify", &path]).finish().await?.expect_code(UNSAFE)?;
    assert!(said.err.contains("row 4 "), "{said:?}");
    judged(&world, &genuine).await?.expect_code(0)?;
    world.device.call(["audit", "verify", &path]).finish().await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn a_trail_that_is_removed_or_set_back_raises_an_alarm_and_nothing_in_the_cloud_changes() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    note(&world).await?;
    uploaded(&world).await?;
    world.device.stop().await?;
    // An image of the trail with its ratchet.
    let files = ["audit.db", "audit.ratchet"].map(|name| world.device.state_dir().join(name));
    let image: Vec<Vec<u8>> = files.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    world.device.run().await?;
    uploaded(&world).await?;
    let before = cloud_rows(&world)?;
    world.device.stop().await?;
    for (file, bytes) in files.iter().zip(image) {
        std::fs::write(file, bytes)?;
    }
    world.device.run().await?;
    note(&world).await?;
    uploaded(&world).await?;
    let after = cloud_rows(&world)?;
    let first_log = |rows: &[TrailRow]| -> Vec<Row> {
        rows.iter().filter(|row| row.log == rows[0].log).map(|row| row.row.clone()).collect()
    };
    assert_eq!(first_log(&after), first_log(&before));
    let alarms_now = alarms(&world).await?;
    assert!(
        alarms_now.contains(&"fork".to_owned()) && alarms_now.contains(&"new_log".to_owned()),
        "{alarms_now:?}"
    );
    judged(&world, &export(&world)?).await?.expect_code(0)?;

    world.device.stop().await?;
    std::fs::remove_file(&files[0])?;
    world.device.run().await?;
    uploaded(&world).await?;
    let rows = world.device.audit().await?;
    assert!(has(&rows[0], "gap") && rows[0]["reason"] == "lost", "{rows:#?}");
    let logs: BTreeMap<i64, usize> = cloud_rows(&world)?.iter().fold(BTreeMap::new(), |mut logs, row| {
        *logs.entry(row.log).or_default() += 1;
        logs
    });
    assert_eq!(logs.len(), 3, "{logs:?}");
    judged(&world, &export(&world)?).await?.expect_code(0)?;
    Ok(())
}

/// Waits until the cloud has all that is written.
pub(crate) async fn uploaded(world: &World) -> Outcome {
    let done = |status: &Value| status["audit"]["waiting"] == 0 && !status["hub"].is_null();
    world.device.status_until("every row acknowledged", done).await?;
    Ok(())
}

/// Writes a row of no further meaning.
pub(crate) async fn note(world: &World) -> Outcome {
    let ended = ["tunnel", "end", "tun-00000000000000ff"];
    world.device.call(ended).finish().await?;
    Ok(())
}

async fn percent(world: &World) -> Result<u64, Mishap> {
    Ok(world.device.status().await?["audit"]["percent"].as_u64().unwrap_or(0))
}

pub(crate) async fn alarms(world: &World) -> Result<Vec<String>, Mishap> {
    let answer = world.hub.call(["alarms", "--json"]).finish().await?.expect_code(0)?.json()?;
    let alarms = answer["alarms"].as_array().cloned().unwrap_or_default();
    Ok(alarms.iter().filter_map(|alarm| alarm["kind"].as_str().map(str::to_owned)).collect())
}

fn store(world: &World) -> Store {
    Store::of(world.hub.state_dir()).unwrap()
}

fn cloud_rows(world: &World) -> Result<Vec<TrailRow>, Mishap> {
    let query = TrailQuery { limit: 100_000, ..TrailQuery::default() };
    Ok(store(world).read(|tx| tx.trail_rows(&query)).unwrap())
}

/// The rows of the cloud, which are those of the device, each once.
pub(crate) async fn same(world: &World) -> Result<Vec<TrailRow>, Mishap> {
    let (here, there) = (world.device.audit().await?, cloud_rows(world)?);
    let of_device: Vec<_> = here.iter().map(|row| (row["seq"].as_u64(), row["event"].as_str())).collect();
    let of_cloud: Vec<_> = there.iter().map(|row| (Some(row.row.seq), Some(row.row.event.word()))).collect();
    assert_eq!(of_cloud, of_device);
    Ok(there)
}

/// The lines of an export of the press's trail.
fn export(world: &World) -> Result<Vec<String>, Mishap> {
    let (store, state) = (store(world), world.hub.state_dir());
    let device: Name = PRESS.parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut text = Vec::new();
    let signer = store.read(|tx| Signer::open(state, tx)).unwrap();
    store
        .read(|tx| {
            postern_cloud::trail::export(tx, &signer.now(), &device, UnixTime::from_secs(now), &mut text)
        })
        .unwrap();
    Ok(String::from_utf8(text).unwrap().lines().map(str::to_owned).collect())
}

/// The trail can be exported, and the export verifies.
pub(crate) async fn verified(world: &World) -> Outcome {
    judged(world, &export(world)?).await?.expect_code(0).map(drop)
}

/// What the cloud's program says of an export, by the root of the installation alone.
async fn judged(world: &World, lines: &[String]) -> Result<Done, Mishap> {
    let path = world.dir().join("export.txt");
    std::fs::write(&path, lines.join("\n") + "\n")?;
    let root = root_file(world)?;
    let (path, root) = (text(&path), text(&root));
    world.hub.call(["audit", "verify", &path, "--root", &root, "--json"]).finish().await
}

/// The export does not verify, and the program names this row.
async fn named(world: &World, lines: &[String], row: &str) -> Outcome {
    let done = judged(world, lines).await?.expect_code(CHANGED)?;
    let said = format!("{done:?}");
    assert!(said.contains(row), "{row} in {said}");
    Ok(())
}

fn root_file(world: &World) -> Result<PathBuf, Mishap> {
    let roots = store(world).read(|tx| tx.roots_after(0, 1)).unwrap();
    let sealed = roots.into_iter().next().unwrap().1;
    let file = postern_cloud::ceremony::RootFile::new(None, sealed).unwrap();
    let path = world.dir().join("root.txt");
    std::fs::write(&path, file.to_string())?;
    Ok(path)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Where the rows are among the lines.
fn places(lines: &[String]) -> Vec<usize> {
    lines.iter().enumerate().filter(|(_, line)| line.starts_with("row ")).map(|(at, _)| at).collect()
}

fn newest_key(world: &World) -> Result<SecretKey, Mishap> {
    let digits = std::fs::read_to_string(world.device.state_dir().join("device.key"))?;
    let seed = HEXLOWER.decode(digits.trim().as_bytes()).unwrap();
    Ok(SecretKey::from_seed(seed.try_into().unwrap()).unwrap())
}

/// The same history with another row in one place, and everything that the device signs made anew.
fn reseal(lines: &[String], key: &SecretKey, changed: u64) -> Vec<String> {
    let (mut whose, mut log, mut end) =
        (None::<Whose>, LogId::new([0; 16]), End { seq: 0, link: chain::ORIGIN });
    let mut again = vec![lines[0].clone()];
    for line in &lines[1..] {
        let item = match Item::parse(line).unwrap().unwrap() {
            Item::Row { body, .. } => {
                let mut row: Row = codec::decode(&body, 4096).unwrap();
                if row.seq == changed {
                    row.event = Event::Stopped;
                }
                let (body, link) = chain::append(&end.link, &row).unwrap();
                end = End { seq: row.seq, link };
                Item::Row { link, body }
            }
            Item::Checkpoint(_) => Item::Checkpoint(Checkpoint::sign(whose.unwrap(), log, end, key)),
            other @ (Item::Root(_) | Item::Device { .. } | Item::Log { .. } | Item::Ack(_)) => {
                if let Item::Device { whose: found, .. } = &other {
                    whose = Some(*found);
                }
                if let Item::Log { log: found, .. } = &other {
                    log = *found;
                }
                other
            }
        };
        again.push(item.line());
    }
    again
}
