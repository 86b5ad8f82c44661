//! Whether a live tunnel may be judged by a later pass of its caller.

use postern_protocol::trust::Subject;

/// Whether a live tunnel of `before` is judged by `later` from now on: the same user and key, no fact that is worse,
/// and one that is better.
pub(super) fn supersedes(later: &Subject, before: &Subject) -> bool {
    // No second factor is before any time.
    let facts = |subject: &Subject| (subject.expires(), subject.second_factor_at());
    (later.user(), later.key()) == (before.user(), before.key())
        && later.expires() >= before.expires()
        && later.second_factor_at() >= before.second_factor_at()
        // A pass that opens less takes the place of none that opens more.
        && opens_all_of(later, before)
        && facts(later) != facts(before)
}

/// Whether every service that `before` opens is one that `later` opens.
fn opens_all_of(later: &Subject, before: &Subject) -> bool {
    match (later.services(), before.services()) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(later), Some(before)) => before.iter().all(|service| later.contains(service)),
    }
}
