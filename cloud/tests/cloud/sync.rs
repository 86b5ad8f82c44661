//! Devices: enrolment, synchronisation, and who may not.

use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::control::{Held, NackCode};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::Invitee;
use postern_protocol::wire::registry::{CloseCode, ProtocolFault};
use postern_protocol::wire::text::Text;

use crate::peers::{Agent, World, announcement, eventually, key, name};

/// What the holder of the key of this seed asks.
fn enroll(secret: [u8; 16], seed: u8) -> HubRequest {
    HubRequest::Enroll { secret, label: Text::clean("me"), sealing: announcement(&key(seed)) }
}

/// What the store says of press-7: online, applied, refused.
fn press_7(world: &World) -> (bool, Option<u64>, Option<u64>) {
    let device = world.read(|tx| tx.device(&name("press-7"))).unwrap();
    (device.online, device.applied, device.refused.map(|refused| refused.version))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_enrolled_denied_everything_and_then_gets_its_policy() {
    let world = World::with_sample("direct-sales").await;
    world.join("eva", 10, "correct horse").await;
    let mut agent = world.enroll("press-7", 1).await;
    assert_eq!((agent.snapshot().version, agent.snapshot().grants.len()), (1, 0));
    assert!(agent.snapshot().assigned);
    let mut link = agent.link(&world).await;
    assert_eq!(agent.take(&mut link).await, 2);
    assert_eq!(agent.snapshot().users.len(), 1);
    eventually((true, Some(2), None), || press_7(&world)).await;
    drop(link);
    eventually((false, Some(2), None), || press_7(&world)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_reaches_the_devices_that_it_concerns_and_no_other() {
    let world = World::with_sample("direct-sales").await;
    let (mut press, mut saw) = (world.enroll("press-7", 1).await, world.enroll("saw-1", 2).await);
    let (mut press_link, mut saw_link) = (press.link(&world).await, saw.link(&world).await);
    press.take(&mut press_link).await;
    saw.take(&mut saw_link).await;
    // Otto operates press 7: his key changes its policy and no other device's.
    world.join("otto", 10, "correct horse").await;
    assert_eq!(press.take(&mut press_link).await, 3);
    // Eva reaches both; had the saw been pushed anything for Otto, this would be version 4.
    world.join("eva", 11, "correct horse").await;
    assert_eq!(press.take(&mut press_link).await, 4);
    assert_eq!(saw.take(&mut saw_link).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_leaves_the_model_is_told_that_it_is_unassigned() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    world.apply("[account.berg]\ntenant = \"service_provider\"\n");
    agent.take(&mut link).await;
    assert!(!agent.snapshot().assigned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_holds_the_newest_is_up_to_date_and_one_that_lost_it_is_pushed_again() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    drop(link);
    let mut link = agent.link(&world).await;
    assert_eq!(link.offered().await, None);
    drop(link);
    let mut hello = agent.hello();
    hello.active = false;
    let mut link = agent.link_with(&world, hello).await;
    assert_eq!(link.offered().await.map(|(held, _)| held), Some(agent.held()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_refuses_for_its_content_is_not_pushed_again_until_it_is_higher() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    link.offered().await.unwrap();
    link.refuse(NackCode::Form).await;
    eventually((true, Some(1), Some(2)), || press_7(&world)).await;
    drop(link);
    let mut link = agent.link(&world).await;
    assert_eq!(link.offered().await, None);
    world.join("otto", 10, "correct horse").await;
    assert_eq!(agent.take(&mut link).await, 3);
    eventually((true, Some(3), None), || press_7(&world)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_could_not_store_is_pushed_again_on_its_next_link() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    link.offered().await.unwrap();
    link.refuse(NackCode::Storage).await;
    eventually((true, Some(1), Some(2)), || press_7(&world)).await;
    drop(link);
    let mut link = agent.link(&world).await;
    assert_eq!(agent.take(&mut link).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_ahead_of_a_restored_cloud_gets_a_version_above_its_own() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    let mut hello = agent.hello();
    hello.held = Some(Held { epoch: 1, version: 40, digest: Digest::of(&[b"forgotten"]) });
    let mut link = agent.link_with(&world, hello).await;
    assert_eq!(link.offered().await.map(|(held, _)| held.version), Some(41));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_claims_the_last_version_is_linked_and_pushed_nothing() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    let mut hello = agent.hello();
    hello.held = Some(Held { epoch: 1, version: u64::MAX, digest: Digest::of(&[b"claimed"]) });
    let mut link = agent.link_with(&world, hello).await;
    assert_eq!(link.offered().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_claims_the_last_version_but_one_stops_nobody_from_publishing() {
    let world = World::with_sample("direct-sales").await;
    let hostile = world.enroll("saw-1", 2).await;
    let mut hello = hostile.hello();
    let claimed = u64::try_from(i64::MAX).unwrap() - 1;
    hello.held = Some(Held { epoch: 1, version: claimed, digest: Digest::of(&[b"claimed"]) });
    let mut link = hostile.link_with(&world, hello).await;
    assert_eq!(link.offered().await, None);
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    // Eva reaches both, so both are signed, in one transaction.
    world.join("eva", 10, "correct horse").await;
    agent.take(&mut link).await;
    assert_eq!(agent.snapshot().users.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_says_which_devices_have_what_it_published() {
    let world = World::with_sample("direct-sales").await;
    world.join("eva", 10, "correct horse").await;
    let mut agent = world.enroll("press-7", 1).await;
    world.enroll("press-9", 2).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    eventually((true, Some(2), None), || press_7(&world)).await;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postern-cloud"));
    command.arg("--state").arg(&world.state).args(["user", "disable", "eva"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    assert_eq!(agent.take(&mut link).await, 3);
    let text = String::from_utf8(output.await.unwrap().stdout).unwrap();
    assert_eq!(text, "eva is disabled; snapshots signed: 2.\n1 of 2 devices have it; press-9 is offline.\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_link_has_ended_is_closed() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    link.send.finish().unwrap();
    assert_eq!(link.closed_with().await, CloseCode::Done.number());
    eventually((false, Some(2), None), || press_7(&world)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connection_of_a_device_takes_over() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut first = agent.link(&world).await;
    agent.take(&mut first).await;
    let mut second = agent.link(&world).await;
    assert_eq!(first.closed_with().await, u32::from(ProtocolFault::Superseded.number()));
    assert_eq!(second.offered().await, None);
    // The end of the first link must not make the device look offline.
    eventually((true, Some(2), None), || press_7(&world)).await;
    world.join("otto", 10, "correct horse").await;
    assert_eq!(agent.take(&mut second).await, 3);
    assert!(press_7(&world).0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_never_enrolled_has_no_link() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    let stranger = Agent { key: key(99), ..agent };
    let link = stranger.link(&world).await;
    assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Unknown.number()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_enrols_one_key_once() {
    let world = World::with_sample("direct-sales").await;
    let secret = world.invite(Invitee::Device, "press-7", 5, 60);
    let first = world.dial(&key(1)).await;
    let HubAnswer::Enrolled { device, .. } = first.ask(&enroll(secret, 1)).await else { panic!("refused") };
    let second = world.dial(&key(2)).await;
    assert_eq!(second.ask(&enroll(secret, 2)).await, HubAnswer::Refused(Refusal::Code));
    // An agent whose answer was lost asks again with its key.
    let HubAnswer::Enrolled { device: again, .. } = first.ask(&enroll(secret, 1)).await else {
        panic!("refused")
    };
    assert_eq!(device, again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_unknown_and_foreign_codes_have_one_answer() {
    let world = World::with_sample("direct-sales").await;
    let expired = world.invite(Invitee::Device, "press-7", 5, 0);
    let replaced = world.invite(Invitee::Device, "press-9", 6, 60);
    world.invite(Invitee::Device, "press-9", 7, 60);
    let of_user = world.invite(Invitee::User, "eva", 8, 60);
    let caller = world.dial(&key(1)).await;
    for secret in [expired, replaced, of_user, [77; 16]] {
        assert_eq!(caller.ask(&enroll(secret, 1)).await, HubAnswer::Refused(Refusal::Code));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolling_again_makes_the_earlier_key_worthless() {
    let world = World::with_sample("direct-sales").await;
    let mut old = world.enroll("press-7", 1).await;
    let mut link = old.link(&world).await;
    old.take(&mut link).await;
    let mut new = world.enroll("press-7", 2).await;
    assert_eq!(link.closed_with().await, u32::from(ProtocolFault::Unknown.number()));
    assert_eq!(old.device, new.device);
    let refused = old.link(&world).await;
    assert_eq!(refused.closed_with().await, u32::from(ProtocolFault::Unknown.number()));
    let mut link = new.link(&world).await;
    // Versions go on: an old snapshot of this id stays old for the new key too.
    assert_eq!(new.take(&mut link).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_renewed_at_half_of_its_lifetime_and_not_before() {
    use postern_cloud::publish::{Affected, Cause, LIFETIME_S, Publisher};
    let world = World::with_sample("direct-sales").await;
    world.enroll("press-7", 1).await;
    let publish = |at: UnixTime| {
        let published =
            world.store.write(|tx| Publisher::open(&world.state, tx)?.publish(tx, Affected::All, at));
        published.unwrap().iter().map(|p| (p.version, p.cause)).collect::<Vec<_>>()
    };
    let issued = world.read(|tx| tx.snapshot_term(&name("press-7"))).unwrap().issued;
    assert_eq!(publish(issued.saturating_add(LIFETIME_S / 2 - 1)), []);
    assert_eq!(publish(issued.saturating_add(LIFETIME_S / 2)), [(3, Cause::Renewed)]);
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_device_is_enrolled_denied_everything_and_then_gets_its_policy",
            a_device_is_enrolled_denied_everything_and_then_gets_its_policy,
        ),
        (
            "what_is_published_reaches_the_devices_that_it_concerns_and_no_other",
            what_is_published_reaches_the_devices_that_it_concerns_and_no_other,
        ),
        (
            "a_device_that_leaves_the_model_is_told_that_it_is_unassigned",
            a_device_that_leaves_the_model_is_told_that_it_is_unassigned,
        ),
        (
            "a_device_that_holds_the_newest_is_up_to_date_and_one_that_lost_it_is_pushed_again",
            a_device_that_holds_the_newest_is_up_to_date_and_one_that_lost_it_is_pushed_again,
        ),
        (
            "what_a_device_refuses_for_its_content_is_not_pushed_again_until_it_is_higher",
            what_a_device_refuses_for_its_content_is_not_pushed_again_until_it_is_higher,
        ),
        (
            "what_a_device_could_not_store_is_pushed_again_on_its_next_link",
            what_a_device_could_not_store_is_pushed_again_on_its_next_link,
        ),
        (
            "a_device_ahead_of_a_restored_cloud_gets_a_version_above_its_own",
            a_device_ahead_of_a_restored_cloud_gets_a_version_above_its_own,
        ),
        (
            "a_device_that_claims_the_last_version_is_linked_and_pushed_nothing",
            a_device_that_claims_the_last_version_is_linked_and_pushed_nothing,
        ),
        (
            "a_device_that_claims_the_last_version_but_one_stops_nobody_from_publishing",
            a_device_that_claims_the_last_version_but_one_stops_nobody_from_publishing,
        ),
        (
            "a_command_says_which_devices_have_what_it_published",
            a_command_says_which_devices_have_what_it_published,
        ),
        ("a_connection_whose_link_has_ended_is_closed", a_connection_whose_link_has_ended_is_closed),
        ("a_second_connection_of_a_device_takes_over", a_second_connection_of_a_device_takes_over),
        ("a_key_that_was_never_enrolled_has_no_link", a_key_that_was_never_enrolled_has_no_link),
        ("a_code_enrols_one_key_once", a_code_enrols_one_key_once),
        (
            "expired_unknown_and_foreign_codes_have_one_answer",
            expired_unknown_and_foreign_codes_have_one_answer,
        ),
        ("enrolling_again_makes_the_earlier_key_worthless", enrolling_again_makes_the_earlier_key_worthless),
        (
            "a_snapshot_is_renewed_at_half_of_its_lifetime_and_not_before",
            a_snapshot_is_renewed_at_half_of_its_lifetime_and_not_before,
        ),
    ]);
}
