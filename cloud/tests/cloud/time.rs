//! What time it is and what is newest: the hub's answers to devices, and what it does with their alarms.

use postern_cloud::store::{Alarm, AlarmKind, Store};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::control;

use crate::locks::done;
use crate::peers::{World, eventually, name, now};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_for_the_time_is_answered_with_the_newest_policy_and_writes_once_for_each_link() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    eventually(Some(2), || world.read(|tx| tx.device(&name("press-7"))).unwrap().applied).await;
    link.ask(99).await;
    link.timestamp(&agent, 99).await;
    eventually(true, || world.read(|tx| tx.device(&name("press-7"))).unwrap().confirmed_at.is_some()).await;
    let before = std::fs::read(world.state.join("cloud.db-wal")).unwrap_or_default();
    for question in 1..=20 {
        link.ask(question).await;
        let told = link.timestamp(&agent, question).await;
        assert!(told.time.secs_since(now()) <= 1 && now().secs_since(told.time) <= 1, "{told:?}");
        assert_eq!((told.held, told.root_version, told.lock), (Some(agent.held()), 1, 0));
    }
    assert!(std::fs::read(world.state.join("cloud.db-wal")).unwrap_or_default() == before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_named_for_the_last_question_before_it_is_pushed() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    link.ask(7).await;
    assert_eq!(link.timestamp(&agent, 7).await.held, Some(agent.held()));
    world.join("eva", 10, "correct horse").await;
    let named = link.timestamp(&agent, 7).await.held.unwrap();
    let (held, bytes) = link.offered().await.unwrap();
    assert_eq!((named, named.version), (held, 3));
    agent.apply(&mut link, held, &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_says_whether_a_device_knows_that_its_policy_is_the_newest() {
    let world = World::with_sample("direct-sales").await;
    let mut agent = world.enroll("press-7", 1).await;
    let freshness = async || {
        let listed = done(&world, &["device", "list"]).await;
        let row = listed["devices"].as_array().unwrap().iter().find(|row| row["name"] == "press-7").unwrap();
        (row["freshness"].clone(), row["confirmed"].as_u64())
    };
    let mut link = agent.link(&world).await;
    agent.take(&mut link).await;
    assert_eq!(freshness().await, (serde_json::Value::Null, None), "it has not asked yet");
    link.ask(1).await;
    link.timestamp(&agent, 1).await;
    let confirmed = || world.read(|tx| tx.device(&name("press-7"))).unwrap().confirmed_at;
    eventually(true, || confirmed().is_some()).await;
    assert_eq!(freshness().await, ("fresh".into(), confirmed().map(|at| at.as_secs())));
    drop(link);
    // Its link is over; within the window it is fresh all the same.
    eventually(false, || world.read(|tx| tx.device(&name("press-7"))).unwrap().online).await;
    assert_eq!(freshness().await.0, "fresh");
    let yesterday = UnixTime::from_secs(now().as_secs() - 86_400);
    let store = Store::of(&world.state).unwrap();
    store.write(|tx| tx.confirmed(&name("press-7"), yesterday)).unwrap();
    assert_eq!(
        freshness().await,
        ("stale".into(), Some(yesterday.as_secs())),
        "seven days without the cloud"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_s_answer_is_worth_nothing() {
    use postern_protocol::trust::{Nonce, Timestamp, TimestampFault};
    let world = World::with_sample("direct-sales").await;
    let (mut press, saw) = (world.enroll("press-7", 1).await, world.enroll("saw-1", 2).await);
    let mut link = press.link(&world).await;
    press.take(&mut link).await;
    link.ask(1).await;
    let told = link.timestamp(&press, 1).await;
    let sealed = world.keys().timestamp.seal(&told).unwrap();
    let opened = |device, nonce| Timestamp::open(&sealed, &press.root, device, Nonce::new([nonce; 16]));
    assert_eq!(opened(press.device, 1), Ok(told));
    let fault = TimestampFault::Device { found: press.device, expected: saw.device };
    assert_eq!(opened(saw.device, 1), Err(fault));
    assert_eq!(opened(press.device, 2), Err(TimestampFault::Nonce));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_of_a_device_is_kept_and_counted() {
    let world = World::with_sample("direct-sales").await;
    let agent = world.enroll("press-7", 1).await;
    let mut link = agent.link(&world).await;
    for detail in ["version 8", "version 9"] {
        link.alarm(control::AlarmKind::Freeze, detail).await;
    }
    let alarms = || world.read(|tx| tx.alarms());
    let short = |alarm: Alarm| (alarm.device, alarm.kind, alarm.detail, alarm.count);
    let expected = vec![(name("press-7"), AlarmKind::Freeze, "version 9".to_owned(), 2)];
    eventually(expected, || alarms().into_iter().map(short).collect::<Vec<_>>()).await;
}

#[test]
fn the_same_holds_on_a_server() {
    crate::ground::on_a_server(&[
        (
            "a_question_for_the_time_is_answered_with_the_newest_policy_and_writes_once_for_each_link",
            a_question_for_the_time_is_answered_with_the_newest_policy_and_writes_once_for_each_link,
        ),
        (
            "a_policy_is_named_for_the_last_question_before_it_is_pushed",
            a_policy_is_named_for_the_last_question_before_it_is_pushed,
        ),
        (
            "a_listing_says_whether_a_device_knows_that_its_policy_is_the_newest",
            a_listing_says_whether_a_device_knows_that_its_policy_is_the_newest,
        ),
        ("a_neighbour_s_answer_is_worth_nothing", a_neighbour_s_answer_is_worth_nothing),
        ("an_alarm_of_a_device_is_kept_and_counted", an_alarm_of_a_device_is_kept_and_counted),
    ]);
}
