//! Each call on the disk fails in turn, once or from then on: nothing that was acknowledged is lost by it, and the power may go at
//! once or later.

use postern_disk::{Dice, Disk, Fault, Image, Span};

use super::life::{Life, holding, usual};
use super::works::{Promises, Work};

/// Has each call of a work fail, and demands what was promised of what is left: to a process that starts anew, and after a power
/// cut.
async fn fail_everywhere(work: Work, before: Image, faults: &[Fault]) {
    for (fault, span) in faults.iter().flat_map(|fault| [(*fault, Span::Once), (*fault, Span::FromThen)]) {
        fail_at_each(work, &before, (fault, span)).await;
    }
}

async fn fail_at_each(work: Work, before: &Image, (fault, span): (Fault, Span)) {
    let seed = Dice::seed(1);
    for call in 0.. {
        let dir = holding(before);
        let disk = Disk::under(dir.path());
        let mut images = Vec::new();
        // Where a sync has failed, it matters what the disk has kept of that.
        let mut cut = |many: u32| {
            let count = if span != Span::FromThen && disk.struck_a_sync() { many } else { 1 };
            let dice = (0..count).map(|image| Dice::new(seed + u64::from(call * 8 + image)));
            images.extend(dice.map(|mut dice| disk.image(&mut dice)));
        };
        let arm = || disk.fail(fault, span, call);
        let promised = Promises::of(work, dir.path(), &disk, arm, || cut(6)).await;
        if !disk.struck() {
            break;
        }
        cut(1);
        let what = format!("POSTERN_SEED={seed}, {fault:?} {span:?} at call {call}\n{}\n", disk.log());
        // From then on nothing more comes to the disk: the one is as good as the other.
        let (cuts, kills) =
            (span != Span::FromThen || call % 2 == 0, span != Span::FromThen || call % 2 == 1);
        for image in images.iter().filter(|_image| cuts) {
            promised.hold(image, &format!("{what}, and the power goes")).await;
        }
        if kills {
            promised.hold(&postern_disk::read(dir.path()), &what).await;
        }
    }
}

const MEDIUM: [Fault; 2] = [Fault::Io, Fault::Sync];
const ROOM: [Fault; 2] = [Fault::Full, Fault::ReadOnly];

#[tokio::test]
async fn the_medium_fails_at_each_call_of_an_activation() {
    fail_everywhere(Work::Activation, usual(false).await, &MEDIUM).await;
}

#[tokio::test]
async fn there_is_no_room_and_no_writing_at_each_call_of_an_activation() {
    fail_everywhere(Work::Activation, usual(false).await, &ROOM).await;
}

#[tokio::test]
async fn the_disk_fails_at_each_call_of_the_trail() {
    fail_everywhere(Work::Rows, usual(true).await, &[MEDIUM, ROOM].concat()).await;
}

#[tokio::test]
async fn the_disk_fails_at_each_call_of_a_rotation() {
    fail_everywhere(Work::Rotation, usual(false).await, &[MEDIUM, ROOM].concat()).await;
}

#[tokio::test]
async fn the_disk_fails_at_each_call_of_a_lock_and_its_end() {
    fail_everywhere(Work::Lock, usual(false).await, &[MEDIUM, ROOM].concat()).await;
}

#[tokio::test]
async fn the_disk_fails_at_each_call_of_a_start() {
    fail_everywhere(Work::Start, usual(true).await, &[MEDIUM, ROOM].concat()).await;
}

#[tokio::test]
async fn the_disk_fails_at_each_call_of_an_enrolment() {
    fail_everywhere(Work::Enrolment, Image::new(), &[MEDIUM, ROOM].concat()).await;
}

#[tokio::test]
async fn the_disk_fails_at_each_call_of_a_new_enrolment() {
    fail_everywhere(Work::NewEnrolment, usual(false).await, &[MEDIUM, ROOM].concat()).await;
}

/// Three in a row: that of a commit, and those of whoever would close the file over it.
#[tokio::test]
async fn syncs_that_fail_and_succeed_again_lose_no_row_and_no_policy() {
    for work in [Work::Rows, Work::Activation] {
        fail_at_each(work, &usual(true).await, (Fault::Sync, Span::Thrice)).await;
    }
}

/// A disk that does nothing right from the start: the agent stands, denies, and says why; and it serves when the disk works.
#[tokio::test]
async fn an_agent_starts_on_a_disk_that_fails_denies_and_serves_after_the_next_start() {
    let before = usual(false).await;
    for fault in [Fault::Io, Fault::Sync, Fault::Full, Fault::ReadOnly] {
        let dir = holding(&before);
        let disk = Disk::under(dir.path());
        disk.fail(fault, Span::FromThen, 0);
        let life = Life::start(dir.path()).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        // Nothing can be recorded, so nothing is opened, whatever the policy says.
        assert!(!life.record(1).await, "{fault:?}");
        life.end().await;
        disk.heal();
        let life = Life::start(dir.path()).await.unwrap();
        assert_eq!((life.version(), life.denied()), (Some(2), None), "{fault:?}");
        assert!(life.record(1).await);
        life.end().await;
    }
}
