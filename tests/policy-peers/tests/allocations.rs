//! How often one decision allocates: Postern's never, the peers' for comparison.

use postern_policy_peers::model::{FULL, Random};
use postern_policy_peers::{Peer, Questions, World, peers};

#[test]
fn a_decision_of_postern_allocates_nothing_and_one_of_each_peer_does() {
    let mut random = Random::new(5);
    let world = World::draw(FULL, &mut random);
    let questions = Questions::draw(&world, 2, &mut random);
    let counted: Vec<(&str, u64)> = peers(&world, &questions)
        .unwrap()
        .iter()
        .map(|peer| (peer.name(), allocations(peer.as_ref(), questions.all().len())))
        .collect();
    for (peer, count) in &counted {
        println!("{peer}: {count} allocations for each decision");
    }
    let free: Vec<&str> = counted.iter().filter(|(_, count)| *count == 0).map(|(peer, _)| *peer).collect();
    assert_eq!(free, ["postern, subject and service resolved", "postern, from user id and service name"]);
}

/// Allocations for each decision, rounded up, after one pass that fills what is filled once.
fn allocations(peer: &dyn Peer, questions: usize) -> u64 {
    let decided = |peer: &dyn Peer| assert_eq!(peer.permitted(0..questions), Ok(questions / 2));
    decided(peer);
    let counted = allocation_counter::measure(|| decided(peer));
    counted.count_total.div_ceil(questions as u64)
}
