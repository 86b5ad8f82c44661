//! Several hubs of one installation, with real `nats-server`s between them: devices, people and the model are at different ones.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures_util::StreamExt as _;
use postern_protocol::limits;
use postern_protocol::trust::{PublicKey, SecretKey};
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::registry::ALPNS_HUB;
use postern_tests::world::probe::http_page;
use postern_tests::world::{Bus, Exchange, Hub, Mishap, Person, World};
use postern_transport::framed::{read_frame, write_frame};
use postern_transport::quic::{Endpoint, Role, Settings};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::gate::DENIED;
use super::peers::programs;
use super::stage::{LAB, Outcome, Plant};
use super::trail::{alarms, note, same, uploaded};

/// Three hubs, the first two of them edges, on one server of NATS or three.
struct Hubs {
    bus: Bus,
    world: World,
    edges: Vec<Hub>,
    plant: Plant,
    /// Knows all hubs.
    bert: Person,
}

impl Hubs {
    async fn start(test: &str, servers: usize) -> Result<Option<Self>, Mishap> {
        let Some([nats]) = programs(test, ["nats-server"]) else { return Ok(None) };
        let (bus, plant) = (Bus::start(&nats, servers).await?, Plant::start().await?);
        let (world, edges) = World::among(2, &bus, LAB, &plant.fleet()).await?;
        // Whoever has no key is in nobody's policy.
        let bert = world.person("bert").await?;
        Ok(Some(Self { bus, world, edges, plant, bert }))
    }

    /// How long it takes until rows of the device are in the cloud after its hub was killed.
    async fn elsewhere(&self) -> Result<Duration, Mishap> {
        let begun = Instant::now();
        while let Err(mishap) = uploaded(&self.world).await {
            if begun.elapsed() > PATIENCE {
                return Err(mishap);
            }
        }
        Ok(begun.elapsed())
    }

    /// How long it takes until a change of policy at the primary is in force on the device, and its rows are in the cloud.
    async fn all_is_well(&self) -> Result<Duration, Mishap> {
        let begun = Instant::now();
        let (with, without) = (self.plant.fleet(), self.plant.fleet().without_grants_of("bert"));
        self.world.apply(&without).await?;
        self.world.apply(&with).await?;
        note(&self.world).await?;
        uploaded(&self.world).await?;
        Ok(begun.elapsed())
    }
}

impl Drop for Hubs {
    fn drop(&mut self) {
        for edge in &self.edges {
            eprintln!("{}", edge.log());
        }
    }
}

#[tokio::test]
async fn a_device_at_one_hub_and_a_person_at_another_meet_and_the_third_decides_what_is_in_force() -> Outcome
{
    const TEST: &str = "a_device_at_one_hub_and_a_person_at_another";
    let Some(hubs) = Hubs::start(TEST, 1).await? else { return Ok(()) };
    let (world, [first, second]) = (&hubs.world, hubs.edges.as_slice()) else { panic!("two edges") };
    let status = world.device.status().await?;
    assert!(status["hub"].to_string().contains(&first.address().to_string()), "{status}");
    let (anna, bert) = (world.person_at("anna", second).await?, world.person_at("bert", second).await?);
    let session = anna.connect("web").await?;
    session.notice("is reached through the relay at").await?;
    assert_eq!(http_page(&session, "/machine-info").await?.status, 200);
    // The twin.
    let refused = bert.refused("web").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("nothing grants you this service"), "{}", refused.err);
    // Withdrawn at the primary is cut at the device.
    world.apply(&hubs.plant.services().allow("anna", &["echo"]).allow("bert", &["hmi"])).await?;
    assert!(http_page(&session, "/machine-info").await.map_or(true, |page| page.status != 200));
    assert_eq!(anna.refused("web").await?.expect_code(DENIED)?.out, "");
    uploaded(world).await?;
    same(world).await?;
    assert_eq!(alarms(world).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_edge_has_no_model_to_ask_and_no_key_that_permits() -> Outcome {
    let Some(hubs) = Hubs::start("an_edge_has_no_model_to_ask_and_no_key_that_permits", 1).await? else {
        return Ok(());
    };
    let [edge, _] = hubs.edges.as_slice() else { panic!("two edges") };
    for args in
        [vec!["status"], vec!["device", "list"], vec!["user", "invite", "anna"], vec!["edge", "new", "x"]]
    {
        let refused = edge.call(args).finish().await?.expect_code(5)?;
        assert!(refused.err.contains("run this on the hub that has it"), "{}", refused.err);
    }
    // Nor is its directory ever made anew over the one that is there.
    let again = hubs.world.hub.call(["edge", "new"]).arg(edge.state_dir()).finish().await?.expect_code(1)?;
    assert!(again.err.contains("keys are never overwritten"), "{}", again.err);
    let mut files: Vec<String> = std::fs::read_dir(edge.state_dir())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".key"))
        .collect();
    files.sort();
    assert_eq!(files, ["cluster.key", "hub.key", "relay.key", "reset.key", "timestamp.key"]);
    let alone = edge.call(["serve", "--listen", "127.0.0.1:0"]).env("POSTERN_NATS", "").finish().await?;
    assert_eq!(alone.expect_code(6)?.out, "", "it runs already");
    Ok(())
}

#[tokio::test]
async fn whoever_is_killed_everything_goes_on_and_no_row_is_lost_or_doubled() -> Outcome {
    const TEST: &str = "whoever_is_killed_everything_goes_on";
    let Some(mut hubs) = Hubs::start(TEST, 3).await? else { return Ok(()) };
    hubs.all_is_well().await?;
    let mut took = Vec::new();
    // The primary.
    hubs.world.hub.kill().await?;
    note(&hubs.world).await?;
    hubs.world.hub.serve().await?;
    took.push(("primary", hubs.all_is_well().await?));
    // Whoever leads NATS.
    let leader = hubs.bus.leader().expect("a leader");
    note(&hubs.world).await?;
    hubs.bus.kill(leader).await?;
    took.push(("leader of NATS", hubs.all_is_well().await?));
    hubs.bus.revive(leader).await?;
    took.push(("leader of NATS is back", hubs.all_is_well().await?));
    // The edge where the device is, in order and by a power cut.
    note(&hubs.world).await?;
    hubs.edges[0].stop().await?;
    took.push(("edge has ended", hubs.all_is_well().await?));
    hubs.edges[0].serve().await?;
    took.push(("edge is back", hubs.all_is_well().await?));
    hubs.edges[1].kill().await?;
    note(&hubs.world).await?;
    took.push(("edge was killed and stays away", hubs.elsewhere().await?));
    hubs.edges[1].serve().await?;
    hubs.edges[0].stop().await?;
    hubs.all_is_well().await?;
    hubs.edges[1].kill().await?;
    hubs.edges[1].serve().await?;
    note(&hubs.world).await?;
    took.push(("edge was killed and is back", hubs.elsewhere().await?));
    hubs.all_is_well().await?;
    println!("{took:?}");
    same(&hubs.world).await?;
    assert_eq!(alarms(&hubs.world).await?, Vec::<String>::new());
    hubs.world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn while_nats_keeps_nothing_policy_and_rows_go_on_and_what_it_keeps_again_is_the_newest() -> Outcome {
    const TEST: &str = "while_nats_keeps_nothing_policy_and_rows_go_on";
    let Some(mut hubs) = Hubs::start(TEST, 3).await? else { return Ok(()) };
    hubs.all_is_well().await?;
    // One of three: it passes plain messages on, and bucket and stream stand still.
    let others: Vec<usize> = (0..hubs.bus.count()).skip(1).collect();
    for server in &others {
        hubs.bus.kill(*server).await?;
    }
    let mut took = Vec::new();
    for _ in 0..3 {
        note(&hubs.world).await?;
        took.push(hubs.all_is_well().await?);
    }
    println!("with one server of three: {took:?}");
    for server in &others {
        hubs.bus.revive(*server).await?;
    }
    for _ in 0..3 {
        hubs.all_is_well().await?;
    }
    // An edge that begins anew has what the bucket has.
    let edge = &mut hubs.edges[0];
    edge.stop().await?;
    edge.serve().await?;
    edge.running()?
        .line("that it knows all", |line| line.text.contains("all that is published is here"))
        .await?;
    hubs.all_is_well().await?;
    same(&hubs.world).await?;
    assert_eq!(alarms(&hubs.world).await?, Vec::<String>::new());
    hubs.world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn a_tunnel_outlasts_the_hub_that_has_both_the_link_and_the_relay() -> Outcome {
    const TEST: &str = "a_tunnel_outlasts_the_hub_that_has_both_the_link_and_the_relay";
    let Some(mut hubs) = Hubs::start(TEST, 1).await? else { return Ok(()) };
    let anna = hubs.world.person_at("anna", &hubs.edges[1]).await?;
    let session = anna.connect("echo").await?;
    session.notice("is reached through the relay at").await?;
    let mut machine = session.exchange().await?;
    says(&mut machine, b"before").await?;
    hubs.edges[0].kill().await?;
    let begun = Instant::now();
    says(&mut machine, b"after").await?;
    println!("the tunnel stood still for {:?}", begun.elapsed());
    // The twin: nothing is carried for whom the policy does not let in any more, wherever the device is now.
    hubs.world.apply(&hubs.plant.fleet().without_grants_of("anna")).await?;
    let cut = says(&mut machine, b"withdrawn").await.map_err(|error| error.kind());
    assert!(cut.is_err_and(|kind| kind != std::io::ErrorKind::TimedOut), "it is not cut: {cut:?}");
    Ok(())
}

#[tokio::test]
async fn an_idle_device_goes_to_another_hub_when_its_own_is_killed() -> Outcome {
    const TEST: &str = "an_idle_device_goes_to_another_hub_when_its_own_is_killed";
    let Some(mut hubs) = Hubs::start(TEST, 1).await? else { return Ok(()) };
    let device = &mut hubs.world.device;
    device.ping_each(2)?;
    device.stop().await?;
    device.run().await?;
    let (here, next) = (hubs.edges[0].address(), hubs.edges[1].address());
    let is_at = |status: &Value, hub: SocketAddr| status["hub"].to_string().contains(&hub.to_string());
    device.status_until("the first hub", |status| is_at(status, here)).await?;
    hubs.edges[0].kill().await?;
    let begun = Instant::now();
    hubs.world.device.status_until("the other hub", |status| is_at(status, next)).await?;
    println!("it took {:?}", begun.elapsed());
    hubs.all_is_well().await?;
    Ok(())
}

/// Says a word to a machine that repeats it.
async fn says(machine: &mut Exchange, word: &[u8]) -> std::io::Result<()> {
    let said = async {
        machine.write_all(word).await?;
        machine.flush().await?;
        let mut answer = vec![0; word.len()];
        machine.read_exact(&mut answer).await?;
        assert_eq!(answer, word);
        Ok(())
    };
    tokio::time::timeout(PATIENCE, said).await?
}

#[tokio::test]
async fn a_hub_alone_asks_the_primary_in_the_name_of_others() -> Outcome {
    let Some(hubs) = Hubs::start("a_hub_alone_asks_the_primary_in_the_name_of_others", 1).await? else {
        return Ok(());
    };
    let (bert, stranger) = (key(&hubs.bert.home().join("key"))?, SecretKey::from_seed([7; 32]).unwrap());
    let hub = key(&hubs.world.hub.state_dir().join("hub.key"))?;
    // A hub has its word believed.
    let answer = ask_as(&hubs.world.hub, &hub, bert.public()).await.expect("an answer");
    let HubAnswer::Devices(devices) = answer else { panic!("no devices: {answer:?}") };
    assert_eq!(devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["press-7"]);
    // The twins: nobody else has, whether known to the hub or not, and an edge believes not even a hub.
    for (at, who) in [(&hubs.world.hub, &stranger), (&hubs.world.hub, &bert), (&hubs.edges[0], &hub)] {
        assert_eq!(ask_as(at, who, bert.public()).await, None);
    }
    Ok(())
}

/// What a hub answers to the holder of `who` that asks for the devices of somebody else; none where it ends the connection.
async fn ask_as(hub: &Hub, who: &SecretKey, whose: PublicKey) -> Option<HubAnswer> {
    let any = SocketAddr::new(hub.address().ip(), 0);
    let endpoint = Endpoint::bind(any, who, Role::Client, &Settings::control()).unwrap();
    let genuine = key(&hub.state_dir().join("hub.key")).unwrap().public();
    let connection = endpoint.connect(hub.address(), genuine, ALPNS_HUB, &Settings::control()).await.unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    write_frame(&mut send, &(whose, any), limits::FRAME_BYTES).await.ok()?;
    write_frame(&mut send, &HubRequest::ListDevices, limits::FRAME_BYTES).await.ok()?;
    read_frame(&mut recv, limits::LIST_FRAME_BYTES, Duration::from_secs(10)).await.ok()
}

/// The key in a file.
fn key(file: &Path) -> Result<SecretKey, Mishap> {
    let seed = data_encoding::HEXLOWER.decode(std::fs::read_to_string(file)?.trim().as_bytes()).unwrap();
    Ok(SecretKey::from_seed(seed.try_into().unwrap()).unwrap())
}

/// After which a device gives its link up, and some more for a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn whoever_holds_nats_reads_nothing_and_brings_nothing_back() -> Outcome {
    const TEST: &str = "whoever_holds_nats_reads_nothing_and_brings_nothing_back";
    let Some(mut hubs) = Hubs::start(TEST, 1).await? else { return Ok(()) };
    let client = async_nats::connect(hubs.bus.urls()).await.unwrap();
    let mut heard = client.subscribe(">").await.unwrap();
    hubs.bert.connect("hmi").await?.interrupt().await?;
    // What is in the bucket while he may.
    let bucket = bucket(&client).await.expect("the bucket");
    let mut then = Vec::new();
    let mut keys = bucket.keys().await.unwrap();
    while let Some(Ok(key)) = keys.next().await {
        let value = bucket.get(&key).await.unwrap().unwrap();
        then.push((key, value));
    }
    hubs.world.apply(&hubs.plant.services().allow("anna", &["web"]).allow("bert", &["web"])).await?;
    note(&hubs.world).await?;
    uploaded(&hubs.world).await?;
    let version = hubs.world.device.status().await?["policy"]["version"].clone();
    // All that went through it says nothing to it, and nothing on its disk does.
    let mut said = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(200), heard.next()).await {
        said.push(message);
    }
    assert!(said.iter().any(|message| message.subject.ends_with(".report")), "nothing was heard");
    for secret in ["press-7", "bert", "anna", "hmi", "127.0.0.1"].map(str::as_bytes) {
        let shows = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        for message in said.iter().filter(|message| message.subject.starts_with("postern.")) {
            assert!(!shows(&message.payload), "{} on {}", String::from_utf8_lossy(secret), message.subject);
        }
        assert!(!then.iter().any(|(_, value)| shows(value)), "{}", String::from_utf8_lossy(secret));
        if secret.len() > 4 {
            files(hubs.bus.dir(), &mut |bytes| assert!(!shows(bytes), "on disk"));
        }
    }
    // A primary that has begun anew does not push again what is older than itself.
    hubs.world.hub.stop().await?;
    hubs.world.hub.serve().await?;
    note(&hubs.world).await?;
    uploaded(&hubs.world).await?;
    // It says everything once more, and puts what was into the place of what is.
    for message in said.iter().filter(|message| message.subject.starts_with("postern.")) {
        client.publish(message.subject.clone(), message.payload.clone()).await.unwrap();
    }
    for (key, value) in &then {
        bucket.put(key, value.clone()).await.unwrap();
    }
    // Edges that begin now know only what it shows them. They vouch for none of it, and the device goes where the truth is.
    for edge in &mut hubs.edges {
        edge.stop().await?;
        edge.serve().await?;
    }
    let primary = hubs.world.hub.address().to_string();
    let moved = |status: &serde_json::Value| status["hub"].to_string().contains(&primary);
    hubs.world.device.status_until("its link at the primary", moved).await?;
    assert_eq!(hubs.world.device.status().await?["policy"]["version"], version);
    assert_eq!(hubs.bert.refused("hmi").await?.expect_code(DENIED)?.out, "");
    note(&hubs.world).await?;
    uploaded(&hubs.world).await?;
    same(&hubs.world).await?;
    assert_eq!(alarms(&hubs.world).await?, Vec::<String>::new());
    Ok(())
}

async fn bucket(client: &async_nats::Client) -> Option<jetstream::kv::Store> {
    let context = jetstream::new(client.clone());
    let mut names = context.stream_names();
    while let Some(Ok(name)) = names.next().await {
        if let Some(bucket) = name.strip_prefix("KV_postern-") {
            return context.get_key_value(format!("postern-{bucket}")).await.ok();
        }
    }
    None
}

/// Shows every file below a directory.
fn files(dir: &Path, look: &mut dyn FnMut(&[u8])) {
    for entry in std::fs::read_dir(dir).unwrap().map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() { files(&path, look) } else { look(&std::fs::read(&path).unwrap_or_default()) }
    }
}
