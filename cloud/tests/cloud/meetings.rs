//! Meetings: who is told where a device waits, and who is not.

use postern_cloud::hub::Relays;
use postern_protocol::id::DeviceId;
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::relay::{End, Meeting, Place, RelayKey, Ticket};

use crate::peers::{Caller, World, key};

fn relays() -> Relays {
    let place = Place { ip: None, udp: Some(4434), tls: Some(443), certificate: None };
    Relays { key: RelayKey::new([7; 32]), places: vec![place], address: None }
}

async fn meet(caller: &Caller, device: DeviceId) -> HubAnswer {
    caller.ask(&HubRequest::Meet { device }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_and_a_device_that_is_theirs_are_told_of_one_meeting_each_with_its_own_end() {
    let world = World::with_sample("direct-sales").await;
    world.hub.offer(relays());
    let eva = world.join("eva", 10, "correct horse").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    let HubAnswer::Meeting(near) = meet(&eva, agent.device).await else { panic!("no meeting") };
    let far = link.told_to_meet().await;
    let Ticket { meeting, until, .. } = near.leg.ticket;
    for (told, end) in [(&near, End::Client), (&far, End::Agent)] {
        let leg = RelayKey::new([7; 32]).leg(Ticket { meeting, end, until });
        assert_eq!(*told, Meeting { leg, relays: relays().places });
    }
    // Another one is another meeting.
    let HubAnswer::Meeting(again) = meet(&eva, agent.device).await else { panic!("no meeting") };
    assert_ne!(again.leg.ticket.meeting, meeting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_meets_a_device_that_is_none_of_theirs_offline_or_unknown_and_a_stranger_none_at_all() {
    let world = World::with_sample("direct-sales").await;
    let eva = world.join("eva", 10, "correct horse").await;
    let otto = world.join("otto", 11, "correct horse").await;
    let (mut press, saw) = (world.enroll("press-7", 1).await, world.enroll("saw-1", 2).await);
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    let refused = |refusal| HubAnswer::Refused(refusal);
    // Without a relay there is nowhere to meet.
    assert_eq!(meet(&eva, press.device).await, refused(Refusal::NoMeeting));
    world.hub.offer(relays());
    // The saw is offline; and Otto may not see it, and hears the same.
    for (caller, device) in [(&eva, saw.device), (&otto, saw.device), (&eva, DeviceId::new([9; 8]))] {
        assert_eq!(meet(caller, device).await, refused(Refusal::NoMeeting));
    }
    let mut saw = saw;
    let mut saw_link = saw.link(&world).await;
    saw.take(&mut saw_link).await;
    assert!(matches!(meet(&eva, saw.device).await, HubAnswer::Meeting(_)));
    assert_eq!(meet(&otto, saw.device).await, refused(Refusal::NoMeeting));
    let stranger = world.dial(&key(99)).await;
    assert_eq!(meet(&stranger, press.device).await, refused(Refusal::UnknownKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_meets_thirty_times_a_minute_and_another_one_is_not_concerned() {
    let world = World::with_sample("direct-sales").await;
    world.hub.offer(relays());
    let (eva, otto) =
        (world.join("eva", 10, "correct horse").await, world.join("otto", 11, "correct horse").await);
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    for _ in 0..30 {
        assert!(matches!(meet(&eva, agent.device).await, HubAnswer::Meeting(_)));
        link.told_to_meet().await;
    }
    assert_eq!(meet(&eva, agent.device).await, HubAnswer::Refused(Refusal::TooMany));
    assert!(matches!(meet(&otto, agent.device).await, HubAnswer::Meeting(_)));
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_user_and_a_device_that_is_theirs_are_told_of_one_meeting_each_with_its_own_end",
            a_user_and_a_device_that_is_theirs_are_told_of_one_meeting_each_with_its_own_end,
        ),
        (
            "nobody_meets_a_device_that_is_none_of_theirs_offline_or_unknown_and_a_stranger_none_at_all",
            nobody_meets_a_device_that_is_none_of_theirs_offline_or_unknown_and_a_stranger_none_at_all,
        ),
        (
            "a_user_meets_thirty_times_a_minute_and_another_one_is_not_concerned",
            a_user_meets_thirty_times_a_minute_and_another_one_is_not_concerned,
        ),
    ]);
}
