//! The power goes while something is being changed: each change in turn, until the work is done.

use postern_disk::{Dice, Disk, Fault, Image, Span};

use super::life::{holding, usual};
use super::works::{Promises, Work};

/// Cuts the power at each change of a work, and demands what was promised of what may be left.
async fn cut_everywhere(work: Work, before: Image, least: u32) {
    let seed = Dice::seed(1);
    for change in 0.. {
        let dir = holding(&before);
        let disk = Disk::under(dir.path());
        let arm = || disk.fail(Fault::Cut, Span::FromThen, change);
        let promised = Promises::of(work, dir.path(), &disk, arm, || ()).await;
        if !disk.struck() {
            assert!(change > least, "the work is {change} changes");
            return;
        }
        for image in 0..IMAGES {
            let mut dice = Dice::new(seed + u64::from(change * IMAGES + image));
            let image = disk.image(&mut dice);
            promised.hold(&image, &format!("POSTERN_SEED={seed}, change {change}")).await;
        }
    }
}

/// Images for each change; a quarter of them is drawn in each way.
const IMAGES: u32 = 4;

#[tokio::test]
async fn the_power_goes_at_each_change_of_a_start() {
    cut_everywhere(Work::Start, usual(true).await, 30).await;
}

#[tokio::test]
async fn the_power_goes_at_each_change_of_an_activation() {
    cut_everywhere(Work::Activation, usual(false).await, 50).await;
}

#[tokio::test]
async fn the_power_goes_at_each_change_of_the_trail() {
    cut_everywhere(Work::Rows, usual(true).await, 15).await;
}

#[tokio::test]
async fn the_power_goes_at_each_change_of_a_lock_and_its_end() {
    cut_everywhere(Work::Lock, usual(false).await, 40).await;
}

#[tokio::test]
async fn the_power_goes_at_each_change_of_a_rotation() {
    cut_everywhere(Work::Rotation, usual(false).await, 40).await;
}

#[tokio::test]
async fn the_power_goes_at_each_change_of_an_enrolment() {
    cut_everywhere(Work::Enrolment, Image::new(), 40).await;
}

#[tokio::test]
async fn the_power_goes_at_each_change_of_a_new_enrolment() {
    cut_everywhere(Work::NewEnrolment, usual(false).await, 40).await;
}
