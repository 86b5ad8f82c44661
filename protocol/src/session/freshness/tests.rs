use super::*;
use crate::id::{DeviceId, FleetId};
use crate::trust::Digest;

const RULE: FreshnessRule = FreshnessRule { window_s: 900, offline_s: 3600 };
/// What time it is at the boot of the device.
const BOOTED: u64 = 1_800_000_000;

fn boot(secs: u64) -> BootTime {
    BootTime::from_millis(secs * 1000)
}

fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn held(version: u64) -> Held {
    Held { epoch: 1, version, digest: Digest::of(&[&version.to_le_bytes()]) }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::new(bytes)
}

fn told(nonce: Nonce, time: u64, version: u64) -> Timestamp {
    Timestamp {
        fleet: FleetId::new([1; 8]),
        device: DeviceId::new([2; 8]),
        nonce,
        time: at(time),
        root_version: 1,
        held: Some(held(version)),
        lock: 0,
    }
}

/// A device that booted with version 5 in force and nothing else.
fn booted() -> FreshnessWatch {
    let memory = Memory { time: at(1_700_000_000), spent: 600, is_debited: true, root_version: 1 };
    let mut watch = FreshnessWatch::new(&memory, boot(0));
    watch.handle_installed(held(5), RULE, at(1_790_000_000), boot(0));
    watch
}

fn ask(watch: &mut FreshnessWatch, second: u64) -> Nonce {
    watch.poll_question(boot(second), || Some(nonce(second))).unwrap()
}

/// Asks and is answered in the same second.
fn hear(watch: &mut FreshnessWatch, second: u64, version: u64) -> Heard {
    let nonce = ask(watch, second);
    watch.handle_timestamp(&told(nonce, BOOTED + second, version), boot(second))
}

/// A device that heard in second 10 that version 5 is the newest.
fn fresh() -> FreshnessWatch {
    let mut watch = booted();
    watch.handle_link(true, boot(10));
    assert_eq!(hear(&mut watch, 10, 5), Heard { attested: true, refreshed: true });
    watch
}

fn states(watch: &FreshnessWatch, second: u64) -> (Option<FreshnessState>, FreshnessState) {
    let reading = watch.reading(boot(second));
    (watch.state(boot(second)), reading.live.state(reading.now))
}

const FRESH: (Option<FreshnessState>, FreshnessState) = (Some(FreshnessState::Fresh), FreshnessState::Fresh);
const STALE: (Option<FreshnessState>, FreshnessState) = (Some(FreshnessState::Stale), FreshnessState::Stale);
const EXPIRED: (Option<FreshnessState>, FreshnessState) =
    (Some(FreshnessState::Expired), FreshnessState::Expired);

#[test]
fn a_device_is_stale_until_it_has_heard_and_then_fresh_for_its_window() {
    let watch = booted();
    assert_eq!(states(&watch, 0), STALE);
    assert_eq!(watch.reading(boot(7)).now, at(1_790_000_007), "at least");
    let watch = fresh();
    assert_eq!(watch.reading(boot(10)).now, at(BOOTED + 10));
    assert_eq!((states(&watch, 10), states(&watch, 909), states(&watch, 910)), (FRESH, FRESH, STALE));
    assert_eq!(watch.reading(boot(10)).live.offline_until, at(BOOTED + 910 + 3600));
}

/// As [`hear`], and the cloud names a lock.
fn hear_lock(watch: &mut FreshnessWatch, second: u64, version: u64, lock: u64) -> Heard {
    let nonce = ask(watch, second);
    let timestamp = Timestamp { lock, ..told(nonce, BOOTED + second, version) };
    watch.handle_timestamp(&timestamp, boot(second))
}

#[test]
fn a_policy_with_a_shorter_window_has_the_cloud_asked_before_it_ends() {
    let mut watch = fresh();
    assert_eq!(watch.question_due(), Some(boot(310)));
    let nonce = watch.nonce().unwrap();
    watch.handle_timestamp(&told(nonce, BOOTED + 11, 6), boot(11));
    watch.handle_installed(held(6), FreshnessRule { window_s: 60, ..RULE }, at(BOOTED), boot(12));
    assert_eq!(watch.question_due(), Some(boot(30)), "a third of the window after the last question");
    assert_eq!((states(&watch, 69), states(&watch, 70)), (FRESH, STALE));
}

#[test]
fn a_lock_that_is_named_and_withheld_raises_freeze_and_nothing_is_refreshed_until_it_comes() {
    let named = Heard { attested: true, refreshed: false };
    let mut watch = fresh();
    assert_eq!(hear_lock(&mut watch, 310, 5, 3), named);
    assert_eq!(watch.poll_alarm(boot(339)), None);
    assert_eq!(watch.poll_timeout(boot(339)), Some(boot(340)));
    assert_eq!(watch.poll_alarm(boot(340)), Some(Cause::MissingLock { sequence: 3 }));
    assert_eq!(watch.poll_alarm(boot(341)), None, "once");
    assert_eq!(hear_lock(&mut watch, 610, 5, 3), named);
    assert_eq!((states(&watch, 909), states(&watch, 910)), (FRESH, STALE), "counted from second 10");
    // An older one is not the one; the one that comes has the cloud asked again at once.
    watch.handle_locks(2, boot(911));
    assert_eq!(watch.poll_question(boot(909), || Some(nonce(1))), None);
    watch.handle_locks(3, boot(912));
    assert_eq!(hear_lock(&mut watch, 912, 5, 3), Heard { attested: true, refreshed: true });
    assert_eq!(states(&watch, 912), FRESH);
}

#[test]
fn a_lock_that_comes_in_time_raises_nothing_and_one_that_is_lifted_is_not_awaited() {
    let mut watch = fresh();
    assert_eq!(hear_lock(&mut watch, 310, 5, 3), Heard { attested: true, refreshed: false });
    assert!(!watch.awaits_word(boot(311)), "what is fresh stays fresh");
    watch.handle_locks(4, boot(320));
    assert_eq!(hear_lock(&mut watch, 320, 5, 4), Heard { attested: true, refreshed: true });
    assert_eq!(hear_lock(&mut watch, 620, 5, 2), Heard { attested: true, refreshed: true }, "it holds more");
    assert_eq!((watch.poll_alarm(boot(2000)), states(&watch, 1519)), (None, FRESH));
}

#[test]
fn a_policy_that_comes_while_a_lock_is_withheld_is_not_confirmed() {
    let mut watch = fresh();
    assert_eq!(hear_lock(&mut watch, 310, 6, 3), Heard { attested: true, refreshed: false });
    watch.handle_installed(held(6), RULE, at(BOOTED), boot(311));
    assert!(!watch.is_confirmed());
    assert_eq!(watch.poll_alarm(boot(340)), Some(Cause::MissingLock { sequence: 3 }));
    watch.handle_locks(3, boot(341));
    assert_eq!(hear_lock(&mut watch, 341, 6, 3), Heard { attested: true, refreshed: true });
}

#[test]
fn a_thief_s_lock_that_never_existed_holds_a_device_stale_until_the_next_genuine_word() {
    let mut watch = fresh();
    assert_eq!(hear_lock(&mut watch, 310, 5, u64::MAX), Heard { attested: true, refreshed: false });
    assert_eq!(hear_lock(&mut watch, 610, 5, 0), Heard { attested: true, refreshed: true });
    assert_eq!(watch.poll_alarm(boot(900)), None);
}

#[test]
fn without_a_policy_nothing_is_worth_anything() {
    let memory = Memory { time: at(5), spent: 600, is_debited: true, root_version: 1 };
    let mut watch = FreshnessWatch::new(&memory, boot(0));
    watch.handle_link(true, boot(0));
    hear(&mut watch, 0, 5);
    let reading = watch.reading(boot(1));
    assert_eq!((reading.opening, reading.live), (Freshness::NEVER, Freshness::NEVER));
    assert_eq!((watch.state(boot(1)), reading.now), (None, at(BOOTED + 1)), "it knows the time");
    // What was named before it came is confirmed when it comes.
    watch.handle_installed(held(5), RULE, at(1_790_000_000), boot(2));
    assert_eq!(states(&watch, 2), FRESH);
}

#[test]
fn the_window_counts_from_the_question_and_a_late_answer_is_none() {
    let mut watch = booted();
    watch.handle_link(true, boot(10));
    let first = ask(&mut watch, 10);
    let late = watch.handle_timestamp(&told(first, BOOTED + 10, 5), boot(41));
    assert_eq!(late, Heard { attested: false, refreshed: true }, "it names, and that is all");
    assert_eq!((states(&watch, 41), watch.time().is_attested()), (STALE, false));
    let second = ask(&mut watch, 41);
    watch.handle_timestamp(&told(second, BOOTED + 60, 5), boot(71));
    assert_eq!((states(&watch, 71), states(&watch, 940), states(&watch, 941)), (FRESH, FRESH, STALE));
    assert_eq!(watch.reading(boot(71)).now, at(BOOTED + 90));
}

#[test]
fn an_answer_that_is_replayed_refreshes_nothing() {
    let mut watch = booted();
    watch.handle_link(true, boot(10));
    let first = ask(&mut watch, 10);
    let answer = told(first, BOOTED + 10, 5);
    assert_eq!(watch.handle_timestamp(&answer, boot(10)), Heard { attested: true, refreshed: true });
    assert_eq!(watch.handle_timestamp(&answer, boot(300)), Heard { attested: false, refreshed: true });
    assert_eq!(states(&watch, 910), STALE);
    ask(&mut watch, 310);
    assert_eq!(watch.handle_timestamp(&answer, boot(311)), Heard::default());
    watch.handle_link(false, boot(312));
    watch.handle_link(true, boot(313));
    assert_eq!(
        watch.handle_timestamp(&answer, boot(314)),
        Heard::default(),
        "another link, another question"
    );
}

#[test]
fn questions_are_asked_at_once_then_rarely_and_often_while_tunnels_are_live() {
    let mut watch = booted();
    assert_eq!(watch.question_due(), None, "nobody to ask");
    watch.handle_link(true, boot(10));
    assert_eq!(watch.question_due(), Some(boot(10)));
    let first = ask(&mut watch, 10);
    assert_eq!(watch.question_due(), Some(boot(40)), "nobody answered");
    watch.handle_timestamp(&told(first, BOOTED, 5), boot(11));
    assert_eq!(watch.question_due(), Some(boot(310)));
    watch.handle_tunnels(true, boot(15));
    assert_eq!(watch.question_due(), Some(boot(20)), "not sooner than ten seconds after the last");
    hear(&mut watch, 20, 5);
    assert_eq!(watch.question_due(), Some(boot(80)));
    watch.handle_tunnels(false, boot(30));
    watch.handle_tunnels(true, boot(70));
    assert_eq!(watch.question_due(), Some(boot(70)));
    watch.handle_link(false, boot(75));
    assert_eq!(watch.question_due(), None);
}

#[test]
fn a_short_window_is_asked_for_three_times() {
    let mut watch = booted();
    let rule = FreshnessRule { window_s: 30, ..RULE };
    watch.handle_installed(held(6), rule, at(1_790_000_000), boot(1));
    watch.handle_link(true, boot(10));
    hear(&mut watch, 10, 6);
    assert_eq!(watch.question_due(), Some(boot(20)));
}

#[test]
fn without_randomness_nobody_is_asked() {
    let mut watch = booted();
    watch.handle_link(true, boot(10));
    assert_eq!(watch.poll_question(boot(10), || None), None);
    assert_eq!((watch.nonce(), watch.question_due()), (None, Some(boot(40))));
}

#[test]
fn an_unconfirmed_policy_opens_as_if_stale_while_live_tunnels_keep_what_was_earned() {
    let mut watch = fresh();
    watch.handle_installed(held(6), RULE, at(BOOTED), boot(100));
    assert_eq!(states(&watch, 100), (Some(FreshnessState::Stale), FreshnessState::Fresh));
    assert!(watch.awaits_word(boot(100)));
    assert_eq!(watch.question_due(), Some(boot(100)), "asked for at once");
    // The thief of the policy key cannot stretch what was earned with a rule of his own.
    let greedy = FreshnessRule { window_s: 1_000_000, offline_s: 3600 };
    watch.handle_installed(held(7), greedy, at(BOOTED), boot(101));
    assert_eq!(
        (states(&watch, 909).1, states(&watch, 910).1),
        (FreshnessState::Fresh, FreshnessState::Stale)
    );
    let hasty = FreshnessRule { window_s: 200, offline_s: 3600 };
    watch.handle_installed(held(8), hasty, at(BOOTED), boot(102));
    assert_eq!(
        (states(&watch, 209).1, states(&watch, 210).1),
        (FreshnessState::Fresh, FreshnessState::Stale)
    );
    hear(&mut watch, 103, 8);
    assert_eq!(states(&watch, 300), FRESH);
}

#[test]
fn a_policy_that_was_named_before_it_came_is_confirmed_and_earns_nothing_by_that() {
    let mut watch = fresh();
    let last = watch.nonce().unwrap();
    let naming = watch.handle_timestamp(&told(last, BOOTED + 9999, 6), boot(500));
    assert_eq!(naming, Heard::default());
    assert_eq!(watch.reading(boot(500)).now, at(BOOTED + 500), "a repeat is no time");
    watch.handle_installed(held(6), RULE, at(BOOTED), boot(501));
    assert_eq!((states(&watch, 501), states(&watch, 909), states(&watch, 910)), (FRESH, FRESH, STALE));
    assert_eq!(watch.poll_alarm(boot(901)), None);
}

#[test]
fn an_answer_that_named_what_comes_later_counts_from_its_question() {
    let mut watch = booted();
    watch.handle_link(true, boot(10));
    assert_eq!(hear(&mut watch, 10, 6), Heard { attested: true, refreshed: false });
    assert_eq!(states(&watch, 10), STALE);
    watch.handle_installed(held(6), RULE, at(BOOTED), boot(20));
    assert_eq!((states(&watch, 20), states(&watch, 910)), (FRESH, STALE));
    // Twin: delivered after the window of that word it is confirmed, and not fresh.
    let mut watch = booted();
    watch.handle_link(true, boot(10));
    hear(&mut watch, 10, 6);
    watch.poll_note(boot(595)).unwrap();
    watch.handle_noted(true, boot(595));
    watch.handle_installed(held(6), RULE, at(BOOTED), boot(911));
    assert_eq!((states(&watch, 911), watch.is_confirmed()), (STALE, true));
}

#[test]
fn a_newer_version_that_is_named_and_does_not_come_is_a_freeze() {
    let mut watch = fresh();
    watch.handle_tunnels(true, boot(70));
    assert_eq!(hear(&mut watch, 70, 6), Heard { attested: true, refreshed: false });
    assert_eq!(watch.poll_alarm(boot(99)), None);
    assert_eq!(watch.poll_timeout(boot(70)), Some(boot(100)));
    assert_eq!(watch.poll_alarm(boot(100)), Some(Cause::MissingPolicy { named: held(6) }));
    assert_eq!(states(&watch, 910), STALE, "it was no refresh");
    assert_eq!(watch.poll_alarm(boot(500)), None, "once");
}

#[test]
fn a_version_that_comes_is_refused_or_comes_in_parts_is_no_freeze() {
    let mut came = fresh();
    came.handle_tunnels(true, boot(70));
    hear(&mut came, 70, 6);
    let (mut refused, mut slow) = (came.clone(), came.clone());
    came.handle_installed(held(6), RULE, at(BOOTED), boot(99));
    assert_eq!(came.poll_alarm(boot(200)), None);
    refused.handle_refused(held(6), NackCode::Form, boot(99));
    assert_eq!(refused.poll_alarm(boot(200)), None);
    slow.handle_progress(boot(99));
    assert_eq!(slow.poll_alarm(boot(128)), None);
    assert_eq!(slow.poll_alarm(boot(129)), Some(Cause::MissingPolicy { named: held(6) }));
    // Three minutes of crumbs are no delivery.
    let mut crumbs = fresh();
    crumbs.handle_tunnels(true, boot(70));
    hear(&mut crumbs, 70, 6);
    for second in 71..300 {
        crumbs.handle_progress(boot(second));
    }
    assert_eq!(crumbs.poll_alarm(boot(280)), Some(Cause::MissingPolicy { named: held(6) }));
}

#[test]
fn an_outage_of_the_link_is_no_freeze() {
    let mut watch = fresh();
    watch.handle_tunnels(true, boot(70));
    hear(&mut watch, 70, 6);
    watch.handle_link(false, boot(75));
    assert_eq!(watch.poll_alarm(boot(800)), None);
    watch.handle_link(true, boot(800));
    assert_eq!(watch.poll_alarm(boot(829)), None);
    assert_eq!(watch.poll_alarm(boot(830)), Some(Cause::MissingPolicy { named: held(6) }));
}

#[test]
fn a_newer_root_that_is_named_refreshes_nothing_until_it_came() {
    let mut watch = fresh();
    watch.handle_tunnels(true, boot(70));
    let asked = ask(&mut watch, 70);
    let heard = watch.handle_timestamp(&Timestamp { root_version: 2, ..told(asked, BOOTED, 5) }, boot(70));
    assert_eq!(heard, Heard { attested: true, refreshed: false });
    let mut withheld = watch.clone();
    assert_eq!(withheld.poll_alarm(boot(100)), Some(Cause::MissingRoot { version: 2 }));
    watch.handle_root(2, boot(71));
    assert_eq!((watch.poll_alarm(boot(200)), watch.question_due()), (None, Some(boot(71))));
    let asked = ask(&mut watch, 71);
    let heard = watch.handle_timestamp(&Timestamp { root_version: 2, ..told(asked, BOOTED, 5) }, boot(71));
    assert_eq!(heard, Heard { attested: true, refreshed: true });
    let asked = ask(&mut watch, 200);
    let heard = watch.handle_timestamp(&told(asked, BOOTED, 5), boot(200));
    assert_eq!(heard, Heard { attested: true, refreshed: false });
    assert_eq!(watch.poll_alarm(boot(200)), Some(Cause::OlderRoot { found: 1, held: 2 }));
}

#[test]
fn another_content_of_the_version_in_force_is_equivocation_and_refreshes_nothing() {
    for repeated in [false, true] {
        let mut watch = fresh();
        let nonce = if repeated { watch.nonce().unwrap() } else { ask(&mut watch, 310) };
        let other = Held { digest: Digest::of(&[b"another story"]), ..held(5) };
        let story = Timestamp { held: Some(other), ..told(nonce, BOOTED, 5) };
        assert!(!watch.handle_timestamp(&story, boot(311)).refreshed);
        assert_eq!(watch.poll_alarm(boot(311)), Some(Cause::Equivocation { version: 5 }));
        assert_eq!(states(&watch, 910), STALE);
    }
}

#[test]
fn an_older_version_is_a_rollback_when_it_is_an_answer_and_nothing_when_it_is_repeated() {
    let mut watch = fresh();
    let last = watch.nonce().unwrap();
    watch.handle_timestamp(&told(last, BOOTED, 4), boot(300));
    assert_eq!(watch.poll_alarm(boot(300)), None);
    assert_eq!(hear(&mut watch, 310, 4), Heard { attested: true, refreshed: false });
    let older = |found| Some(Cause::OlderPolicy { found, held: held(5) });
    assert_eq!(watch.poll_alarm(boot(310)), older(Some(held(4))));
    let asked = ask(&mut watch, 610);
    watch.handle_timestamp(&Timestamp { held: None, ..told(asked, BOOTED, 5) }, boot(610));
    assert_eq!(watch.poll_alarm(boot(610)), None, "within the hour");
    assert_eq!(states(&watch, 910), STALE);
}

#[test]
fn refusals_for_rollback_and_equivocation_raise_their_alarms() {
    let mut watch = fresh();
    watch.handle_refused(held(3), NackCode::Rollback, boot(20));
    watch.handle_refused(held(5), NackCode::Equivocation, boot(20));
    watch.handle_refused(held(9), NackCode::Form, boot(20));
    let older = Cause::OlderPolicy { found: Some(held(3)), held: held(5) };
    assert_eq!(watch.poll_alarm(boot(20)), Some(older));
    assert_eq!(watch.poll_alarm(boot(20)), Some(Cause::Equivocation { version: 5 }));
    assert_eq!(watch.poll_alarm(boot(20)), None);
}

#[test]
fn a_thief_s_2106_is_healed_by_the_next_genuine_answer() {
    let mut watch = fresh();
    let asked = ask(&mut watch, 310);
    watch.handle_timestamp(&told(asked, 4_291_747_200, 5), boot(310));
    assert_eq!(watch.reading(boot(311)).now, at(4_291_747_201));
    hear(&mut watch, 610, 5);
    assert_eq!(watch.reading(boot(611)).now, at(BOOTED + 611));
    assert_eq!(watch.note(boot(611)).time, at(BOOTED + 611));
}

#[test]
fn a_fresh_device_notes_its_first_attestation_and_nothing_more_for_a_year() {
    let mut watch = fresh();
    let note = watch.poll_note(boot(10)).unwrap();
    assert_eq!(note, Note { time: at(BOOTED + 10), spent: 0 });
    watch.handle_noted(true, boot(10));
    for second in (310..365 * 24 * 3600).step_by(300) {
        assert_eq!(watch.poll_note(boot(second)), None);
        assert!(hear(&mut watch, second, 5).refreshed);
        assert_eq!(watch.poll_note(boot(second)), None);
        assert_eq!(watch.poll_alarm(boot(second)), None);
    }
}

#[test]
fn a_device_that_is_cut_off_pays_every_ten_minutes_and_then_permits_nothing() {
    let mut watch = fresh();
    watch.poll_note(boot(10)).unwrap();
    watch.handle_noted(true, boot(10));
    watch.handle_link(false, boot(11));
    let (mut now, mut written) = (boot(11), Vec::new());
    while let Some(next) = watch.poll_timeout(now) {
        now = next;
        if let Some(note) = watch.poll_note(now) {
            written.push((now.as_millis() / 1000, note.spent));
            watch.handle_noted(true, now);
        }
    }
    let times: Vec<u64> = std::iter::once(910).chain((1..6).map(|n| 910 + n * 600 - 5)).collect();
    assert_eq!(written, times.into_iter().zip((1..=6).map(|n| n * 600)).collect::<Vec<_>>());
    assert_eq!((states(&watch, 4509), states(&watch, 4510)), (STALE, EXPIRED));
    assert_eq!(watch.poll_alarm(boot(4510)), Some(Cause::Spent { total_s: 3600 }));
    assert_eq!(watch.poll_alarm(boot(9000)), None);
    watch.handle_link(true, boot(9000));
    hear(&mut watch, 9000, 5);
    assert_eq!(states(&watch, 9000), FRESH);
    assert_eq!(watch.poll_note(boot(9000)), Some(Note { time: at(BOOTED + 9000), spent: 0 }));
}

#[test]
fn a_debit_that_cannot_be_stored_ends_what_is_stale_and_a_later_one_begins_it_again() {
    let mut watch = fresh();
    watch.poll_note(boot(10)).unwrap();
    watch.handle_noted(true, boot(10));
    watch.handle_link(false, boot(11));
    watch.poll_note(boot(910)).unwrap();
    watch.handle_noted(false, boot(911));
    assert_eq!(states(&watch, 911), EXPIRED);
    assert_eq!(watch.poll_alarm(boot(911)), None, "the budget is not used up");
    assert_eq!((watch.poll_timeout(boot(911)), watch.poll_note(boot(970))), (Some(boot(971)), None));
    assert_eq!(watch.poll_note(boot(971)).map(|note| note.spent), Some(600));
    watch.handle_noted(true, boot(971));
    assert_eq!((states(&watch, 971), states(&watch, 971 + 599)), (STALE, STALE));
    assert_eq!(states(&watch, 971 + 600), EXPIRED, "nobody took the next debit to the disk");
    watch.poll_note(boot(971 + 595)).unwrap();
    watch.handle_noted(true, boot(971 + 595));
    assert_eq!(states(&watch, 971 + 600), STALE);
}

#[test]
fn a_refresh_while_a_debit_is_on_its_way_is_stored_after_it() {
    let mut watch = fresh();
    watch.poll_note(boot(10)).unwrap();
    watch.handle_noted(true, boot(10));
    let debit = watch.poll_note(boot(910)).unwrap();
    assert_eq!(debit.spent, 600);
    hear(&mut watch, 910, 5);
    assert_eq!(watch.poll_note(boot(910)), None, "one at a time");
    watch.handle_noted(true, boot(911));
    assert_eq!(watch.poll_note(boot(911)).map(|note| note.spent), Some(0));
    watch.handle_noted(true, boot(911));
    assert_eq!((watch.poll_note(boot(912)), states(&watch, 1809)), (None, FRESH));
}

#[test]
fn a_pass_raises_the_bound_of_a_device_that_does_not_know_the_time_and_no_other() {
    let mut watch = booted();
    watch.handle_signed(at(1_790_000_030), boot(1));
    assert_eq!((watch.reading(boot(1)).now, watch.poll_note(boot(1))), (at(1_790_000_030), None));
    watch.handle_signed(at(1_795_000_000), boot(1));
    assert_eq!(watch.poll_note(boot(2)), Some(Note { time: at(1_795_000_001), spent: 600 }));
    let mut watch = fresh();
    watch.handle_signed(at(1_900_000_000), boot(20));
    assert_eq!(watch.reading(boot(20)).now, at(BOOTED + 20));
}

#[test]
fn an_opening_waits_only_while_a_word_may_come() {
    let mut watch = booted();
    assert!(watch.awaits_word(boot(0)), "the link was not tried yet");
    watch.handle_link(false, boot(1));
    assert!(!watch.awaits_word(boot(1)));
    watch.handle_link(true, boot(2));
    assert!(watch.awaits_word(boot(2)));
    hear(&mut watch, 2, 5);
    assert!(!watch.awaits_word(boot(2)));
}
