//! A second factor that is proved again on a live connection, and passes that must change nothing.

use postern_protocol::policy::Reason;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Factor, Method, Narrowing, Pass};
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::{ConnectionEnd, StreamFault};

use crate::client::Client;
use crate::policy::{FLEET, USER, USER_SEED, now, pass, pass_of, secret};
use crate::world::{GENEROUS, World, other_user};

/// Seconds for which a second factor counts here.
const MAX_AGE: u32 = 60;

/// A device on which everything demands a second factor.
async fn world() -> World {
    let mut world = World::start().await;
    for grant in &mut world.policy.snapshot.grants {
        grant.second_factor_s = Some(MAX_AGE);
    }
    world.publish(3).await;
    world
}

/// The usual user's pass with a second factor that is this old.
fn aged(age: u64) -> Vec<u8> {
    with_totp(age, UnixTime::from_secs(4_000_000_000))
}

fn with_totp(age: u64, expires: UnixTime) -> Vec<u8> {
    let issued = now();
    let at = |age| UnixTime::from_secs(issued.as_secs() - age);
    let factors =
        vec![Factor { method: Method::Password, at: at(500) }, Factor { method: Method::Totp, at: at(age) }];
    pass_of(&Pass {
        fleet: FLEET,
        user: USER,
        key: secret(USER_SEED).public(),
        factors,
        issued,
        expires,
        narrow: Narrowing::NONE,
    })
}

async fn signed_in(world: &World, pass: &[u8]) -> Client {
    let client = Client::stranger(&world.agent).await;
    welcomed(&client, pass).await;
    client
}

async fn welcomed(client: &Client, pass: &[u8]) {
    let answer = client.authenticate(pass).await;
    assert!(matches!(answer, Answer::Welcome { .. }), "{answer:?}");
}

fn stale() -> Result<u64, StreamFault> {
    Err(StreamFault::Reset(Reason::SecondFactorStale.number().into()))
}

#[tokio::test]
async fn a_tunnel_goes_on_past_its_end_after_a_step_up_and_its_twin_is_cut() {
    let world = world().await;
    let old = aged(u64::from(MAX_AGE) - 3);
    let (renewed, twin) = (signed_in(&world, &old).await, signed_in(&world, &old).await);
    let (mut lives, mut dies) = (renewed.tunnel("web").await, twin.tunnel("web").await);
    lives.echo(b"before").await;
    dies.echo(b"before").await;
    welcomed(&renewed, &aged(0)).await;
    lives.echo(b"stepped up").await;
    // Both were permitted until the same second.
    assert_eq!(dies.drain().await, stale());
    lives.echo(b"after the end of the old permit").await;
    assert_eq!(twin.open("web").await.answer, Answer::Denied(Reason::SecondFactorStale));
    let mut another = renewed.tunnel("web").await;
    another.echo(b"new ones open as well").await;
    let trail = world.agent.trail_with("closed", 1).await;
    let closed: Vec<_> = trail.iter().filter(|(event, _)| event == "closed").collect();
    assert_eq!(closed, [&("closed".to_owned(), "second_factor_stale".to_owned())]);
}

#[tokio::test]
async fn a_pass_without_a_second_factor_counts_for_new_tunnels_and_ends_no_live_one() {
    let world = world().await;
    let client = signed_in(&world, &aged(u64::from(MAX_AGE) - 3)).await;
    let mut tunnel = client.tunnel("web").await;
    welcomed(&client, &pass(USER, USER_SEED, false)).await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::SecondFactorRequired));
    tunnel.echo(b"permitted by the first pass").await;
    // For as long as the first pass says, and not for longer.
    assert_eq!(tunnel.drain().await, stale());
}

#[tokio::test]
async fn a_pass_that_ends_earlier_ends_neither_live_tunnels_nor_their_connection() {
    let world = world().await;
    let client = signed_in(&world, &aged(0)).await;
    let mut tunnel = client.tunnel("web").await;
    // The twin has nothing but a pass that ends a little later: when its connection is closed, time is up.
    let twin = signed_in(&world, &with_totp(0, now().saturating_add(4))).await;
    welcomed(&client, &with_totp(0, now().saturating_add(2))).await;
    let end = tokio::time::timeout(GENEROUS, twin.connection.closed()).await.unwrap();
    assert!(matches!(end, ConnectionEnd::ClosedByPeer { code: 1, .. }), "{end:?}");
    tunnel.echo(b"permitted by the first pass").await;
    assert_eq!(client.open("web").await.answer, Answer::Denied(Reason::BadPass));
}

#[tokio::test]
async fn a_connection_whose_passes_are_over_is_closed_however_much_it_asks() {
    let world = world().await;
    let client = signed_in(&world, &with_totp(0, now().saturating_add(2))).await;
    let mut asking = tokio::time::interval(std::time::Duration::from_millis(200));
    let end = async {
        loop {
            tokio::select! {
                end = client.connection.closed() => return end,
                _ = asking.tick() => if let Ok((mut send, _)) = client.connection.open_bi().await {
                    send.reset(0);
                },
            }
        }
    };
    let end = tokio::time::timeout(GENEROUS, end).await.unwrap();
    assert!(matches!(end, ConnectionEnd::ClosedByPeer { code: 1, .. }), "{end:?}");
}

#[tokio::test]
async fn a_later_pass_that_comes_within_the_grace_keeps_the_connection() {
    let world = world().await;
    let client = signed_in(&world, &with_totp(0, now().saturating_add(2))).await;
    let twin = signed_in(&world, &with_totp(0, now().saturating_add(2))).await;
    let mut over = client.tunnel("web").await;
    // Cut by its reason at the end of the pass; the connection has three seconds more.
    assert_eq!(over.drain().await, Err(StreamFault::Reset(Reason::BadPass.number().into())));
    welcomed(&client, &aged(0)).await;
    let end = tokio::time::timeout(GENEROUS, twin.connection.closed()).await.unwrap();
    assert!(matches!(end, ConnectionEnd::ClosedByPeer { code: 1, .. }), "{end:?}");
    client.tunnel("web").await.echo(b"of the later pass").await;
}

#[tokio::test]
async fn a_cut_tunnel_stays_cut_after_a_step_up() {
    let world = world().await;
    let client = signed_in(&world, &aged(u64::from(MAX_AGE) - 2)).await;
    let mut old = client.tunnel("web").await;
    assert_eq!(old.drain().await, stale());
    welcomed(&client, &aged(0)).await;
    assert_eq!(world.agent.json(&["sessions"]).await, serde_json::json!([]));
    client.tunnel("web").await.echo(b"a new one").await;
}

#[tokio::test]
async fn a_connection_speaks_for_one_user() {
    let mut world = world().await;
    // Bert has the same key: no cloud of ours lets that happen, and a stolen identity key would.
    let (bert, _) = other_user();
    let anna = world.policy.snapshot.users[0].clone();
    world.policy.snapshot.users.push(postern_protocol::policy::User { id: bert, ..anna });
    let grant = postern_protocol::policy::Grant { user: 1, ..world.policy.snapshot.grants[0] };
    world.policy.grant(grant);
    world.publish(4).await;
    let client = signed_in(&world, &aged(0)).await;
    let mut tunnel = client.tunnel("web").await;
    assert_eq!(client.authenticate(&pass(bert, USER_SEED, true)).await, Answer::Denied(Reason::BadPass));
    tunnel.echo(b"still hers").await;
    let mut second = client.tunnel("web").await;
    second.echo(b"and so are new ones").await;
    let sessions = world.agent.json(&["sessions"]).await;
    let users: Vec<_> = sessions.as_array().unwrap().iter().map(|row| row["user"].clone()).collect();
    assert_eq!(users, vec![serde_json::json!(USER.to_string()); 2]);
    // On a connection of his own he is welcome.
    welcomed(&Client::stranger(&world.agent).await, &pass(bert, USER_SEED, true)).await;
}
