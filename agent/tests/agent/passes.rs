//! What a pass is good for on a real agent: replays, sign-ins that are narrowed, and signing out everywhere.

use postern_protocol::policy::Reason;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::EXPORTER_LABEL;
use postern_protocol::trust::{Factor, Method, Narrowing, Pass, Proof};
use postern_protocol::wire::tunnel::{Answer, Request};
use postern_transport::quic::StreamFault;

use crate::client::Client;
use crate::policy::{FLEET, USER, USER_SEED, now, pass_of, secret};
use crate::world::{World, device};

/// The usual user's pass, with one thing changed.
fn usual(change: impl FnOnce(&mut Pass)) -> Vec<u8> {
    let (issued, key) = (now(), secret(USER_SEED).public());
    let factors = vec![Factor { method: Method::Password, at: issued }];
    let expires = issued.saturating_add(3600);
    let mut pass = Pass { fleet: FLEET, user: USER, key, factors, issued, expires, narrow: Narrowing::NONE };
    change(&mut pass);
    pass_of(&pass)
}

fn only(services: &[&str]) -> Vec<u8> {
    let services = Some(services.iter().map(|name| name.parse().unwrap()).collect());
    usual(|pass| pass.narrow = Narrowing { devices: None, services })
}

fn proof(client: &Client, pass: &[u8]) -> Proof {
    let exporter = client.connection.export_keying_material(EXPORTER_LABEL, &[]).unwrap();
    Proof::sign(&secret(USER_SEED), &exporter, device(), pass)
}

#[tokio::test]
async fn each_replay_gets_the_same_answer_and_a_word_of_its_own_in_the_trail() {
    let world = World::start().await;
    let pass = usual(|_| ());
    let earlier = Client::stranger(&world.agent).await;
    let recorded = proof(&earlier, &pass);
    let elsewhere = Proof { device: postern_protocol::id::DeviceId::new([9; 8]), ..recorded };
    let mut altered = pass.clone();
    altered[40] ^= 1;
    // The device counts whole seconds since it was told the time, so its clock may be one behind.
    let over = usual(|pass| {
        pass.factors.clear();
        pass.issued = UnixTime::from_secs(now().as_secs() - 3600);
        pass.expires = UnixTime::from_secs(now().as_secs() - 2);
    });
    let early = usual(|pass| {
        pass.factors.clear();
        pass.issued = now().saturating_add(3600);
        pass.expires = now().saturating_add(7200);
    });
    let replays: [(&str, &[u8], Option<Proof>); 5] = [
        ("other_session", &pass, Some(recorded)),
        ("other_device", &pass, Some(elsewhere)),
        ("envelope", &altered, None),
        ("expired", &over, None),
        ("not_yet", &early, None),
    ];
    for (word, pass, replayed) in replays {
        let client = Client::stranger(&world.agent).await;
        let proof = replayed.unwrap_or_else(|| proof(&client, pass));
        let answer = client.ask(&Request::Authenticate { pass: pass.to_vec(), proof }).await;
        assert_eq!(answer, Answer::Denied(Reason::BadPass), "{word}");
    }
    // Another key than the pass names.
    let thief = Client::connect(&world.agent, 50).await;
    assert_eq!(thief.authenticate(&pass).await, Answer::Denied(Reason::BadPass));
    world.agent.trail_with("denied", 6).await;
    let rows = world.agent.json(&["audit", "list", "--limit", "1000"]).await;
    let mut words: Vec<&str> =
        rows.as_array().unwrap().iter().filter_map(|row| row["detail"].as_str()).collect();
    // Neither the version of the agent nor its enrolment.
    words.retain(|word| !word.contains(['.', ',']));
    words.sort_unstable();
    assert_eq!(words, ["envelope", "expired", "not_yet", "other_device", "other_key", "other_session"]);
    // The twin of all: the same pass with a proof of this session.
    let answer = earlier.ask(&Request::Authenticate { pass: pass.clone(), proof: recorded }).await;
    assert!(matches!(answer, Answer::Welcome { .. }), "{answer:?}");
}

#[tokio::test]
async fn a_narrowed_sign_in_lists_and_opens_what_it_names_and_takes_no_tunnel_that_is_open() {
    let world = World::start().await;
    let client = Client::stranger(&world.agent).await;
    let whole = usual(|_| ());
    assert!(matches!(client.authenticate(&whole).await, Answer::Welcome { .. }));
    let mut open = client.tunnel("live").await;
    assert!(matches!(client.authenticate(&only(&["secret", "web"])).await, Answer::Welcome { .. }));
    // It names a service that nothing grants: naming is no grant.
    let Answer::Services(listed) = client.services().await else { panic!("no list") };
    let listed: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(listed, ["web"]);
    client.tunnel("web").await.echo(b"named").await;
    for service in ["live", "secret"] {
        assert_eq!(client.open(service).await.answer, Answer::Denied(Reason::NoGrant), "{service}");
    }
    open.echo(b"permitted by the pass of before").await;
    let elsewhere = usual(|pass| pass.narrow = Narrowing { devices: Some(Vec::new()), services: None });
    assert_eq!(client.authenticate(&elsewhere).await, Answer::Denied(Reason::BadPass));
}

#[tokio::test]
async fn signing_out_everywhere_cuts_tunnels_of_earlier_passes_and_no_others() {
    let mut world = World::start().await;
    let issued = |at: UnixTime| usual(|pass| (pass.issued, pass.factors) = (at, Vec::new()));
    let cut_off = now();
    let (old, new) = (Client::stranger(&world.agent).await, Client::stranger(&world.agent).await);
    let before = issued(UnixTime::from_secs(cut_off.as_secs() - 1));
    assert!(matches!(old.authenticate(&before).await, Answer::Welcome { .. }));
    assert!(matches!(new.authenticate(&issued(cut_off)).await, Answer::Welcome { .. }));
    let (mut stolen, mut own) = (old.tunnel("web").await, new.tunnel("web").await);
    world.policy.snapshot.users[0].passes_from = cut_off;
    world.publish(3).await;
    assert_eq!(stolen.drain().await, Err(StreamFault::Reset(Reason::BadPass.number().into())));
    own.echo(b"signed in since").await;
    assert_eq!(old.open("web").await.answer, Answer::Denied(Reason::BadPass));
    new.tunnel("web").await.echo(b"and again").await;
}
