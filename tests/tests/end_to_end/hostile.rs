//! Bad input on every door: nothing is lost, nothing opens, and each case has its own words.
//!
//! Strangers here speak the real transport with keys of their own; the world is asked afterwards whether it still
//! works, because surviving is half of the answer.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_protocol::limits;
use postern_protocol::policy::Reason;
use postern_protocol::trust::pass::EXPORTER_LABEL;
use postern_protocol::trust::{Proof, PublicKey, SecretKey};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::Invitation;
use postern_protocol::wire::registry::{ALPNS_HUB, ALPNS_TUNNEL};
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Request};
use postern_tests::world::probe::within;
use postern_tests::world::{DEVICE, Mishap, Person, World};
use postern_transport::framed::{read_frame, write_frame};
use postern_transport::quic::{Connection, ConnectionEnd, Endpoint, Role, Settings, StreamFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::gate::{echoed, has};
use super::peers::missing;
use super::stage::{LAB, Outcome, Plant};

#[tokio::test]
async fn nonsense_in_datagrams_holds_nobody_up() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..2000_usize {
        let mut datagram = vec![0; 1 + round % 1400];
        for byte in &mut datagram {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = noise.to_be_bytes()[0];
        }
        // Every other one looks like the first packet of a connection.
        datagram[0] = if round % 2 == 0 { 0xc3 } else { datagram[0] };
        for door in [world.device.listen(), world.hub.address()] {
            socket.send_to(&datagram, door).await?;
        }
    }
    still_works(&anna).await
}

#[tokio::test]
async fn frames_that_are_too_large_or_malformed_are_answered_with_their_code() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let unknown = [&5_u32.to_le_bytes()[..], &[0xff; 5]].concat();
    for (door, at, key, alpns) in [
        ("agent", world.device.listen(), device_key(&world)?, ALPNS_TUNNEL),
        ("hub", world.hub.address(), hub_key(&world).await?, ALPNS_HUB),
    ] {
        // The agent ends the stream, the hub the connection; the code is the same.
        let connection = dial(at, key, alpns).await?;
        assert_eq!(code_after(&connection, &u32::MAX.to_le_bytes()).await?, Some(200), "{door}: oversize");
        let connection = dial(at, key, alpns).await?;
        assert_eq!(code_after(&connection, &unknown).await?, Some(201), "{door}: malformed");
    }
    still_works(&anna).await
}

#[tokio::test]
async fn a_stranger_who_says_half_a_word_is_put_out_in_time() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    for (door, key, alpns) in [
        (world.device.listen(), device_key(&world)?, ALPNS_TUNNEL),
        (world.hub.address(), hub_key(&world).await?, ALPNS_HUB),
    ] {
        let connection = dial(door, key, alpns).await?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(|end| lost(&end))?;
        send.write_all(&[9, 0]).await.map_err(|fault| lost(&fault))?;
        let begun = std::time::Instant::now();
        let ended = within("the end of patience", async { Ok(recv.read_chunk(1).await) }).await?;
        assert!(matches!(ended, Err(_) | Ok(None)), "half a frame was answered: {ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
    still_works(&anna).await
}

#[tokio::test]
async fn without_a_pass_of_ones_own_nothing_opens() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let connection = dial(world.device.listen(), device_key(&world)?, ALPNS_TUNNEL).await?;
    let open = Request::Open { service: "echo".parse().unwrap(), view_only: false };
    let refused = Answer::Denied(Reason::BadPass);
    assert_eq!(ask(&connection, &open).await?, refused);
    assert_eq!(ask(&connection, &Request::ListServices).await?, refused);

    // Anna's pass is no secret between computers; without her key it is worth nothing.
    let stolen = std::fs::read(anna.home().join("pass"))?;
    let status = world.device.status().await?;
    let device = status["device"].as_str().unwrap().parse().unwrap();
    let exporter = connection.export_keying_material(EXPORTER_LABEL, &[]).map_err(|end| lost(&end))?;
    let proof = Proof::sign(&stranger_key(), &exporter, device, &stolen);
    assert_eq!(ask(&connection, &Request::Authenticate { pass: stolen, proof }).await?, refused);
    let rubbish = Request::Authenticate { pass: vec![1, 2, 3], proof };
    assert_eq!(ask(&connection, &rubbish).await?, refused);
    assert_eq!(ask(&connection, &open).await?, refused);
    assert_eq!(plant.echo.accepted(), 0);

    let hub = dial(world.hub.address(), hub_key(&world).await?, ALPNS_HUB).await?;
    let (mut send, mut recv) = hub.open_bi().await.map_err(|end| lost(&end))?;
    let sent = write_frame(&mut send, &HubRequest::ListDevices, limits::FRAME_BYTES).await;
    sent.map_err(|fault| lost(&fault))?;
    let answer: HubAnswer =
        read_frame(&mut recv, limits::LIST_FRAME_BYTES, PATIENCE).await.map_err(|fault| lost(&fault))?;
    assert_eq!(answer, HubAnswer::Refused(Refusal::UnknownKey));
    still_works(&anna).await
}

#[tokio::test]
async fn nonsense_on_the_control_socket_is_refused_and_changes_nothing() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let endless = vec![b'x'; 1024 * 1024];
    let cases: [&[u8]; 4] = [b"nonsense\n", b"{\"command\":\"open_everything\"}\n", b"\xff\xfe\n", &endless];
    for bytes in cases {
        let mut socket = tokio::net::UnixStream::connect(world.device.control_socket()).await?;
        // A reader that has seen enough closes while we still write.
        let _closed_early = socket.write_all(bytes).await;
        let mut answer = String::new();
        let read =
            within("the end of the answer", async { Ok(socket.read_to_string(&mut answer).await) }).await?;
        assert!(read.is_err() || answer.contains("refused"), "{answer}");
    }
    assert_eq!(world.device.status().await?["tunnels"], 0);
    still_works(&anna).await
}

#[tokio::test]
async fn a_code_with_another_hubs_key_enrols_and_invites_nobody() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = World::bare(LAB).await?;
    world.hub.apply(&plant.fleet().to_toml(), &[]).await?;
    world.hub.serve().await?;
    let forge = |code: &str| {
        let mut invitation: Invitation = code.parse().unwrap();
        invitation.hub_key = stranger_key().public();
        invitation.to_string()
    };

    let code = world.hub.enrolment_code(DEVICE).await?;
    let refused = world.device.enroll(&forge(&code)).await?.expect_code(8)?;
    assert!(refused.err.contains("key"), "{}", refused.err);
    world.device.call(["status"]).finish().await?.expect_code(5)?;

    let invitation = world.hub.invitation_code("anna").await?;
    let anna = world.stranger("anna")?;
    let refused = anna.login_with_code(&forge(&invitation)).await?.expect_code(8)?;
    assert!(refused.err.contains("key"), "{}", refused.err);

    // The genuine codes were not used up by the attempts.
    world.device.enroll(&code).await?.expect_code(0)?;
    anna.login_with_code(&invitation).await?.expect_code(0)?;
    world.device.run().await?;
    world.settle().await?;
    still_works(&anna).await
}

#[tokio::test]
async fn a_damaged_policy_is_set_aside_and_denies_until_the_hub_sends_it_again() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    still_works(&anna).await?;
    world.hub.stop().await?;
    world.device.stop().await?;
    damage(&world.device.state_dir().join("policy.db"))?;

    world.device.run().await?;
    let refused = anna.refused("echo").await?;
    assert!(refused.err.contains("the device has no policy yet"), "{refused:?}");
    assert!(world.device.state_dir().join("policy.db.damaged-0").exists());

    world.hub.serve().await?;
    world.device.status_until("a policy in force", |status| status["policy"].is_object()).await?;
    still_works(&anna).await
}

#[tokio::test]
async fn a_damaged_audit_trail_is_set_aside_and_a_new_one_begins() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    still_works(&anna).await?;
    world.device.stop().await?;
    damage(&world.device.state_dir().join("audit.db"))?;

    world.device.run().await?;
    still_works(&anna).await?;
    assert!(world.device.state_dir().join("audit.db.damaged-0").exists());
    let rows = world.device.audit().await?;
    assert!(rows.iter().any(|row| has(row, "started")), "{rows:#?}");
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    Ok(())
}

#[tokio::test]
async fn the_databases_of_another_device_open_nothing() -> Outcome {
    let plant = Plant::start().await?;
    let other =
        World::start(LAB, &plant.services().allow("anna", &["echo"]).allow("bert", &["echo"])).await?;
    let mut world = World::start(LAB, &plant.services().allow("anna", &["hmi"])).await?;
    let anna = world.person("anna").await?;
    anna.services().await?;
    world.hub.stop().await?;
    world.device.stop().await?;
    let mut other = other;
    other.device.stop().await?;

    // Another installation's policy, floor and enrolment on top of this device's key.
    for entry in std::fs::read_dir(other.device.state_dir())?.filter_map(Result::ok) {
        if entry.file_name() != "device.key" && entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), world.device.state_dir().join(entry.file_name()))?;
        }
    }
    if world.device.run().await.is_ok() {
        let refused = anna.refused("echo").await?;
        assert_ne!(refused.ending, postern_tests::world::Ending::Code(0), "{refused:?}");
        assert_eq!(plant.echo.accepted(), 0);
        let policy = world.device.status().await?["policy"].clone();
        assert!(policy.is_null(), "a foreign policy is in force: {policy}");
    }
    world.device.call(["check"]).finish().await?.expect_code(6)?;
    Ok(())
}

#[tokio::test]
async fn a_second_agent_or_hub_on_one_state_directory_refuses_to_start() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let second = world.device.call(["run"]).finish().await?.expect_code(7)?;
    assert!(second.err.contains("another agent"), "{}", second.err);
    let second = world.hub.call(["serve"]).finish().await?.expect_code(6)?;
    assert!(second.err.contains("another hub"), "{}", second.err);
    still_works(&anna).await
}

#[tokio::test]
async fn keys_that_others_can_read_are_refused_by_name() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = plant.world().await?;
    let anna = world.person("anna").await?;
    let open_up = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644));

    open_up(&anna.home().join("key"))?;
    let refused = anna.refused("echo").await?.expect_code(7)?;
    assert!(refused.err.contains("key"), "{}", refused.err);

    world.device.stop().await?;
    open_up(&world.device.state_dir().join("device.key"))?;
    let refused = world.device.call(["run"]).finish().await?.expect_code(6)?;
    assert!(refused.err.contains("device.key") && refused.err.contains("chmod"), "{}", refused.err);

    world.hub.stop().await?;
    open_up(&world.hub.state_dir().join("policy.key"))?;
    let refused = world.hub.call(["serve"]).finish().await?.expect_code(5)?;
    assert!(refused.err.contains("policy.key"), "{}", refused.err);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_opens_nothing_and_recovers_when_there_is_room() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = World::bare(LAB).await?;
    let state = world.device.state_dir();
    let Some(disk) = SmallDisk::mount(&state)? else {
        missing(
            "a_full_disk_opens_nothing_and_recovers_when_there_is_room",
            "the right to mount a small disk",
        );
        return Ok(());
    };
    world.hub.apply(&plant.fleet().to_toml(), &[]).await?;
    world.hub.serve().await?;
    world.enroll().await?;
    world.device.run().await?;
    let anna = world.person("anna").await?;
    still_works(&anna).await?;

    let filler = state.join("filler");
    fill(&filler);
    // The log of the database may still have room for some rows; each attempt takes of it.
    let mut refused = None;
    for _ in 0..200 {
        let attempt = anna.call(["connect", DEVICE, "sink", "--stdio"]).input("").finish().await?;
        if attempt.err.contains("the device cannot record the decision") {
            refused = Some(attempt.expect_code(9)?);
            break;
        }
        fill(&filler);
    }
    let before = plant.sink.accepted();
    assert!(refused.is_some(), "tunnels were opened without a place for their rows");
    anna.call(["connect", DEVICE, "sink", "--stdio"]).input("").finish().await?.expect_code(9)?;
    assert_eq!(plant.sink.accepted(), before, "the machine was dialled without a row");
    world.device.status().await?;

    std::fs::remove_file(&filler)?;
    still_works(&anna).await?;
    world.device.call(["audit", "verify"]).finish().await?.expect_code(0)?;
    world.device.stop().await?;
    drop(disk);
    Ok(())
}

#[tokio::test]
async fn a_fleet_with_a_cycle_or_a_dangling_name_is_refused_whole() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let sound = plant.fleet().to_toml();
    let cycle = sound.replace("[account.acme]\n", "[account.acme]\nparent = \"holding\"\n")
        + "\n[account.holding]\ntenant = \"service_provider\"\nparent = \"acme\"\n";
    let dangling = sound.replace("user = \"bert\"", "user = \"berta\"");
    for (fleet, words) in [(cycle, ["account", "acme"]), (dangling, ["berta", "bert"])] {
        let refused = world.hub.try_apply(&fleet, &[]).await?.expect_code(3)?;
        for word in words {
            assert!(refused.err.contains(word), "`{word}` is missing in {}", refused.err);
        }
        assert!(refused.err.contains("fleet.toml:"), "no place in {}", refused.err);
    }
    still_works(&anna).await
}

/// Anna reaches the echo.
async fn still_works(anna: &Person) -> Outcome {
    let session = anna.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"still here").await?, b"still here");
    Ok(())
}

fn stranger_key() -> SecretKey {
    SecretKey::from_seed([42; 32]).unwrap()
}

/// The public half of what the device keeps.
fn device_key(world: &World) -> Result<PublicKey, Mishap> {
    let text = std::fs::read_to_string(world.device.state_dir().join("device.key"))?;
    let seed = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).unwrap();
    Ok(SecretKey::from_seed(seed.try_into().unwrap()).unwrap().public())
}

async fn hub_key(world: &World) -> Result<PublicKey, Mishap> {
    let code: Invitation = world.hub.invitation_code("bert").await?.parse().unwrap();
    Ok(code.hub_key)
}

async fn dial(at: SocketAddr, key: PublicKey, alpns: &[&[u8]]) -> Result<Connection, Mishap> {
    let settings = Settings::session();
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = Endpoint::bind(here, &stranger_key(), Role::Client, &settings);
    let endpoint = endpoint.map_err(|error| lost(&error))?;
    endpoint.connect(at, key, alpns, &settings).await.map_err(|error| lost(&error))
}

fn lost(error: &dyn std::fmt::Display) -> Mishap {
    Mishap::unexpected("the stranger's connection", error, "a working one")
}

/// Sends raw bytes on a new stream and yields the code with which stream or connection end, none for any other end.
async fn code_after(connection: &Connection, bytes: &[u8]) -> Result<Option<u32>, Mishap> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|end| lost(&end))?;
    send.write_all(bytes).await.map_err(|fault| lost(&fault))?;
    match within("an answer to nonsense", async { Ok(recv.read_chunk(64).await) }).await? {
        Err(StreamFault::Reset(code))
        | Err(StreamFault::ConnectionLost(ConnectionEnd::ClosedByPeer { code, .. })) => Ok(Some(code)),
        _ => Ok(None),
    }
}

async fn ask(connection: &Connection, request: &Request) -> Result<Answer, Mishap> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|end| lost(&end))?;
    write_frame(&mut send, request, limits::FRAME_BYTES).await.map_err(|fault| lost(&fault))?;
    read_frame(&mut recv, ANSWER_BYTES, PATIENCE).await.map_err(|fault| lost(&fault))
}

/// Overwrites the middle of every page.
fn damage(path: &Path) -> Outcome {
    let mut bytes = std::fs::read(path)?;
    for page in bytes.chunks_mut(4096) {
        let middle = page.len() / 2;
        page[..middle].fill(0xa5);
    }
    Ok(std::fs::write(path, bytes)?)
}

/// Takes all room that is left.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    // The error is the point: there is no room any more.
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}

/// A disk of two megabytes, gone with its last user.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Option<Self>, Mishap> {
        std::fs::create_dir_all(at)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs"]).arg(at);
        Ok(mount.output()?.status.success().then(|| Self(at.to_owned())))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because an agent that is about to be killed may still hold it.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
