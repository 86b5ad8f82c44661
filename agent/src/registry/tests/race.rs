//! A change of policy races tunnels that open: in every order in which they can come to a lock, and with a thousand of them.
//!
//! What is promised: when all is done nothing is live that the policy of the moment refuses. Each model has a twin without one of
//! the steps that keep the promise, in which an order is found that breaks it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use postern_protocol::policy::Locks;
use postern_protocol::trust::{Lock, LockTarget};
use shuttle::scheduler::{DfsScheduler, PctScheduler};
use shuttle::{Config, Runner};

use super::*;
use crate::mutex::model;

/// How a tunnel opens.
type Open = fn(&Arc<Registry>, &Gate, &Caller<'_>) -> Option<Admitted>;

/// What is done to the policy, and to the live tunnels after it.
type Change = fn(&Arc<Registry>, &Gate, &Prepared);

/// What is the same in every run of a model: signatures take long.
struct Prepared {
    subjects: [Arc<Subject>; 2],
    before: Index,
    /// Nothing is granted to user 11 any more.
    after: Index,
    locks: Locks,
}

impl Prepared {
    fn new() -> Self {
        Self {
            subjects: [subject(11), subject(12)],
            before: index(1, |_| {}),
            after: index(2, |snapshot| snapshot.grants.retain(|grant| grant.user == 1)),
            locks: locked_out(11),
        }
    }
}

/// A lock for one user.
fn locked_out(number: u8) -> Locks {
    let lock = Lock {
        fleet: FLEET,
        device: DEVICE,
        epoch: 1,
        sequence: 1,
        issued: UnixTime::from_secs(NOW),
        targets: vec![LockTarget::User(user(number))],
    };
    let mut locks = Locks::default();
    locks.handle_lock(&lock, 0).unwrap();
    locks
}

/// As the product opens one.
fn in_one_step(registry: &Arc<Registry>, gate: &Gate, caller: &Caller<'_>) -> Option<Admitted> {
    registry.admit(gate, caller, &"a".parse().unwrap(), wish(false)).ok().map(|(admitted, _permit)| admitted)
}

/// As it must not: the decision is made, and anything may happen before the tunnel is registered.
fn in_two_steps(registry: &Arc<Registry>, gate: &Gate, caller: &Caller<'_>) -> Option<Admitted> {
    let service = "a".parse().unwrap();
    let decided = registry.lock().decide(gate, caller, &service, wish(false), 10);
    let (permit, id) = (decided.ok()?, tunnel_id().unwrap());
    let since = gate.clock().now();
    Some(registry.enter(&mut registry.lock(), id, &permit, (caller, since), (&service, wish(false))))
}

/// As the product does it.
fn activate(registry: &Arc<Registry>, gate: &Gate, prepared: &Prepared) {
    install(gate, prepared.after.clone());
    registry.judge(gate, CutCause::Time);
}

/// As it must not be done: the live tunnels are looked at before the policy is in force.
fn activate_after_judging(registry: &Arc<Registry>, gate: &Gate, prepared: &Prepared) {
    registry.judge(gate, CutCause::Time);
    install(gate, prepared.after.clone());
}

fn lock(registry: &Arc<Registry>, gate: &Gate, prepared: &Prepared) {
    gate.lock(&prepared.locks);
    registry.judge(gate, CutCause::Time);
}

fn lock_after_judging(registry: &Arc<Registry>, gate: &Gate, prepared: &Prepared) {
    registry.judge(gate, CutCause::Time);
    gate.lock(&prepared.locks);
}

/// Tunnels of user 11 open while the policy changes, in every order: one of them, and in many orders three of them and one of user 12.
fn race(open: Open, change: Change) {
    let prepared = Arc::new(Prepared::new());
    model(|| {
        let one = Arc::clone(&prepared);
        let every = Runner::new(DfsScheduler::new(None, false), Config::new());
        let orders = every.run(move || run(&one, &[0], open, change));
        assert!(orders > 10, "{orders} orders are not all that there are");
        let several = move || run(&prepared, &[0, 0, 0, 1], open, change);
        Runner::new(PctScheduler::new(3, ORDERS), Config::new()).run(several);
    });
}

/// One order.
fn run(prepared: &Arc<Prepared>, openers: &[usize], open: Open, change: Change) {
    let (gate, registry) = (empty(), registry(10));
    install(&gate, prepared.before.clone());
    let gate = Arc::new(gate);
    let opener = |number: &usize| {
        let (gate, registry) = (Arc::clone(&gate), Arc::clone(&registry));
        let subject = Arc::clone(&prepared.subjects[*number]);
        shuttle::thread::spawn(move || open(&registry, &gate, &caller(&subject)))
    };
    let openers: Vec<_> = openers.iter().map(opener).collect();
    change(&registry, &gate, prepared);
    let opened: Vec<Admitted> = openers.into_iter().filter_map(|opener| opener.join().unwrap()).collect();
    let live = registry.sessions();
    assert!(live.iter().all(|session| session.user == user(12)), "{REFUSED}");
    for tunnel in &opened {
        let is_live = live.iter().any(|session| session.id == tunnel.id);
        let goes_on = matches!(tunnel.leash.ruling(), Ruling::Permitted(_));
        assert_eq!(goes_on, is_live, "a tunnel is live and told to stop, or stopped and not told");
    }
}

#[test]
fn an_activation_leaves_no_tunnel_that_it_refuses_in_whatever_order_tunnels_open_beside_it() {
    race(in_one_step, activate);
}

#[test]
fn a_lock_leaves_no_tunnel_that_it_refuses_in_whatever_order_tunnels_open_beside_it() {
    race(in_one_step, lock);
}

#[test]
#[should_panic(expected = "a live tunnel is refused")]
fn an_order_is_found_in_which_an_activation_misses_a_tunnel_that_was_decided_before_the_lock() {
    race(in_two_steps, activate);
}

#[test]
#[should_panic(expected = "a live tunnel is refused")]
fn an_order_is_found_in_which_a_lock_misses_a_tunnel_that_was_decided_before_the_lock() {
    race(in_two_steps, lock);
}

#[test]
#[should_panic(expected = "a live tunnel is refused")]
fn an_order_is_found_in_which_an_activation_misses_a_tunnel_that_opens_after_the_others_were_judged() {
    race(in_one_step, activate_after_judging);
}

#[test]
#[should_panic(expected = "a live tunnel is refused")]
fn an_order_is_found_in_which_a_lock_misses_a_tunnel_that_opens_after_the_others_were_judged() {
    race(in_one_step, lock_after_judging);
}

#[test]
fn a_thousand_tunnels_that_open_while_policy_changes_leave_none_that_the_policy_of_the_moment_refuses() {
    let many = |snapshot: &mut Snapshot| {
        snapshot.limits = DeviceLimits { tunnels: 2000, tunnels_per_user: 2000 };
        snapshot.services.iter_mut().for_each(|service| service.tunnels = 2000);
    };
    // In every second policy user 11 has nothing.
    let policies: Vec<Index> = (2..2 + CHANGES as u64)
        .map(|version| {
            index(version, |snapshot| {
                many(snapshot);
                snapshot.grants.retain(|grant| version % 2 == 1 || grant.user == 1);
            })
        })
        .collect();
    let (gate, registry) = (Arc::new(gate(many)), registry(2000));
    let (opened, barrier) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(OPENERS + 1)));
    let openers: Vec<_> = (0..OPENERS)
        .map(|opener| {
            let (gate, registry) = (Arc::clone(&gate), Arc::clone(&registry));
            let (opened, barrier) = (Arc::clone(&opened), Arc::clone(&barrier));
            std::thread::spawn(move || {
                let subject = subject(if opener % 2 == 0 { 11 } else { 12 });
                barrier.wait();
                let open = |_| {
                    let tunnel = in_one_step(&registry, &gate, &caller(&subject));
                    opened.fetch_add(1, Ordering::Relaxed);
                    tunnel
                };
                (0..OPENS).filter_map(open).collect::<Vec<Admitted>>()
            })
        })
        .collect();
    barrier.wait();
    let mut cut = 0;
    for (change, policy) in policies.into_iter().enumerate() {
        // Spread over all that open, so that each comes among them.
        while opened.load(Ordering::Relaxed) < change * OPENERS * OPENS / CHANGES {
            std::thread::yield_now();
        }
        let refuses = policy.floor().version % 2 == 0;
        install(&gate, policy);
        cut += registry.judge(&gate, CutCause::Time);
        // Nobody else changes policy: what opens from here on is decided under this one.
        assert!(
            !refuses || registry.sessions().iter().all(|session| session.user == user(12)),
            "{REFUSED} after change {change}"
        );
    }
    let tunnels: Vec<Admitted> = openers.into_iter().flat_map(|opener| opener.join().unwrap()).collect();
    let live = registry.sessions();
    let stopped = tunnels.iter().filter(|tunnel| matches!(tunnel.leash.ruling(), Ruling::Cut(_))).count();
    assert_eq!((u32::try_from(stopped).unwrap(), live.len() + stopped), (cut, tunnels.len()));
    assert!(cut > 0, "no change came among the tunnels");
}

const REFUSED: &str = "a live tunnel is refused by the policy of the moment";
/// Of several tunnels.
const ORDERS: usize = 1000;
const OPENERS: usize = 20;
/// Of each: a thousand.
const OPENS: usize = 50;
const CHANGES: usize = 20;
