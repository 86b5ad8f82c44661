//! Many agents at one hub: all are linked, all hear of what concerns them and nobody else does, and all come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_tests::bench::proc::resident_kib;
use postern_tests::programs::Shelf;
use postern_tests::swarm::{Edit, Installation, Swarm, fleet};

use super::stage::{LAB, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_agents_link_hear_what_concerns_them_send_their_rows_and_come_back() -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::fill(dir.path().join("bin"), LAB.as_ref()).unwrap();
    let (mut hub, installation) = Installation::found(&shelf, &dir.path().join("state"), AGENTS).await?;
    hub.open_metrics();
    hub.serve().await?;
    let pid = hub.running()?.pid().unwrap();
    let before = resident_kib(pid).unwrap();
    let swarm = Swarm::start(&Arc::new(installation));
    swarm.until("all links", WITHIN, |seen| seen.linked == AGENTS && seen.pushes.len() == AGENTS).await?;
    let each = (resident_kib(pid).unwrap() - before) / f64::from(u32::try_from(AGENTS).unwrap());
    // An unoptimised build, just after its handshakes; the bench judges the target.
    assert!(each < 640.0, "{each} KiB for each agent");

    // What concerns all reaches all.
    swarm.forget();
    hub.apply(&fleet(AGENTS, Edit::All), &[]).await?;
    swarm.until("every policy", WITHIN, |seen| seen.pushes.len() == AGENTS).await?;
    hub.apply(&fleet(AGENTS, Edit::None), &[]).await?;
    swarm.until("every policy again", WITHIN, |seen| seen.pushes.len() == 2 * AGENTS).await?;
    // The twin: what concerns one reaches nobody else.
    swarm.forget();
    hub.apply(&fleet(AGENTS, Edit::One), &[]).await?;
    swarm.until("one policy", WITHIN, |seen| seen.pushes.len() == 1).await?;

    swarm.upload(2);
    swarm.until("every batch", WITHIN, |seen| seen.batches == 2 * AGENTS).await?;
    let watch = hub.watch().await?;
    let seen = watch.read().await?;
    let rows = 2.0 * 64.0 * f64::from(u32::try_from(AGENTS).unwrap());
    assert_eq!(seen.value("postern_hub_audit_rows_total"), rows);
    assert_eq!(seen.value("postern_hub_links"), f64::from(u32::try_from(AGENTS).unwrap()));
    assert_eq!(swarm.seen().pushes.len(), 1, "somebody was pushed what does not concern them");

    // A hub that ends in order tells each when to come back.
    swarm.forget();
    let began = Instant::now();
    hub.stop().await?;
    hub.serve().await?;
    swarm.until("all links again", WITHIN, |seen| seen.linked == AGENTS && seen.ups.len() == AGENTS).await?;
    let seen = swarm.seen();
    assert_eq!(seen.ends.keys().map(String::as_str).collect::<Vec<_>>(), ["told to leave"]);
    assert!(began.elapsed() >= Duration::from_secs(2), "they came before they were told to");
    // What was sent before is not sent again, and goes on.
    swarm.upload(1);
    swarm.until("the next batch", WITHIN, |seen| seen.batches == AGENTS).await?;
    assert_eq!(swarm.seen().pushes.len(), 0, "what they hold was pushed again");
    hub.stop().await
}

const AGENTS: usize = 300;
const WITHIN: Duration = Duration::from_secs(60);
