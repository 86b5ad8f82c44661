//! How long a device still works without a word of its cloud: served time, paid for before it is used.
//!
//! 1. At each boot, and every ten minutes while the policy is not fresh, the next ten minutes are debited: stored first,
//!    used afterwards. Whoever cuts the power loses what was debited and gains nothing.
//! 2. A refresh sets what was spent back to nothing.
//! 3. What cannot be stored was not paid, and what was not paid permits nothing.
//!
//! Deliberately absent: the calendar. The budget is counted by the boot clock, which nobody can set.

use std::time::Duration;

use crate::time::BootTime;

/// The budget of one device; pure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Seconds that were debited since the last refresh, as far as is stored.
    spent: u32,
    /// Until when what was debited lasts; none while nothing is.
    paid_until: Option<BootTime>,
    /// A debit that is not stored yet.
    writing: Option<Debit>,
    /// The last debit could not be stored.
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Debit {
    spent: u32,
    /// What it is for begins here.
    from: BootTime,
    /// When it was handed out.
    since: BootTime,
}

impl Budget {
    /// At boot. `spent` is what is stored, whether or not the debit of this boot could be: a disk that refuses it and takes the
    /// next one must not have what was spent before begin anew.
    pub(super) fn new(spent: u32, is_debited: bool, now: BootTime) -> Self {
        Self { spent, paid_until: is_debited.then(|| now.after(CHUNK)), writing: None, failed: !is_debited }
    }

    /// The cloud was heard. Returns whether that must be stored.
    pub(super) const fn handle_refresh(&mut self) -> bool {
        let used = self.spent > 0 || self.writing.is_some();
        *self = Self { spent: 0, paid_until: None, writing: None, failed: false };
        used
    }

    /// The next debit to store, when one is due: none while the policy is fresh or nothing is left.
    pub(super) fn poll_debit(
        &mut self,
        total: u32,
        fresh_until: Option<BootTime>,
        now: BootTime,
    ) -> Option<u32> {
        let chunk = CHUNK_S.min(total.saturating_sub(self.spent));
        if self.writing.is_some() || chunk == 0 || now < self.due(fresh_until) {
            return None;
        }
        // What was served unpaid, if anything, is paid with it; a pause in which nothing was permitted is not.
        let base = self.paid_until.max(fresh_until);
        let from = if self.is_unpaid(fresh_until, now) { now } else { base.unwrap_or(now) };
        let spent = self.spent.saturating_add(chunk);
        self.writing = Some(Debit { spent, from, since: now });
        Some(spent)
    }

    /// A debit was stored or could not be.
    pub(super) fn handle_debited(&mut self, stored: bool) {
        let Some(debit) = self.writing.take() else { return };
        self.failed = !stored;
        if stored {
            let chunk = Duration::from_secs(u64::from(debit.spent - self.spent));
            self.spent = debit.spent;
            self.paid_until = Some(debit.from.after(chunk));
        }
    }

    /// When the next debit is due.
    pub(super) fn due(&self, fresh_until: Option<BootTime>) -> BootTime {
        match self.paid_until {
            Some(paid) if fresh_until.is_none_or(|fresh| fresh < paid) => {
                BootTime::from_millis(paid.as_millis().saturating_sub(AHEAD_MS))
            }
            Some(_) | None => fresh_until.unwrap_or(BootTime::ZERO),
        }
    }

    /// The first moment in which nothing is permitted without a word of the cloud.
    pub(super) fn end(&self, total: u32, fresh_until: Option<BootTime>, now: BootTime) -> BootTime {
        let Some(base) = self.paid_until.max(fresh_until) else { return BootTime::ZERO };
        let left = i64::from(total) - i64::from(self.spent);
        let left = if self.is_unpaid(fresh_until, now) { left.min(0) } else { left };
        let millis = i128::from(base.as_millis()) + i128::from(left) * 1000;
        // The cloud's word itself is no matter of the budget.
        let end = BootTime::from_millis(u64::try_from(millis.max(0)).unwrap_or(u64::MAX));
        fresh_until.map_or(end, |fresh| end.max(fresh))
    }

    /// When the next debit counts as not paid, unless it does already: also one that waits behind another note for a disk
    /// that hangs.
    pub(super) fn overdue(&self, fresh_until: Option<BootTime>) -> Option<BootTime> {
        let since = self.writing.map_or_else(|| self.due(fresh_until), |debit| debit.since);
        (!self.failed).then(|| since.after(PATIENCE))
    }

    /// Seconds that were debited since the last refresh.
    pub(super) const fn spent(&self) -> u32 {
        self.spent
    }

    fn is_unpaid(&self, fresh_until: Option<BootTime>, now: BootTime) -> bool {
        self.overdue(fresh_until).is_none_or(|overdue| overdue <= now)
    }
}

/// Seconds that are debited ahead at each boot and in each debit.
pub const CHUNK_S: u32 = 600;
const CHUNK: Duration = Duration::from_secs(600);
/// The next chunk is paid a little before the last one is used up: a commit to slow flash takes a second.
const AHEAD_MS: u64 = 5_000;
/// A debit that is not stored by then is not paid.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: u32 = 3600;

    fn boot(secs: u64) -> BootTime {
        BootTime::from_millis(secs * 1000)
    }

    #[test]
    fn a_boot_has_paid_its_first_ten_minutes_and_pays_the_next_before_they_end() {
        let mut budget = Budget::new(600, true, boot(0));
        assert_eq!(budget.end(TOTAL, None, boot(0)), boot(3600));
        assert_eq!(budget.poll_debit(TOTAL, None, boot(594)), None);
        assert_eq!(budget.poll_debit(TOTAL, None, boot(595)), Some(1200));
        assert_eq!(budget.poll_debit(TOTAL, None, boot(596)), None, "one at a time");
        budget.handle_debited(true);
        assert_eq!((budget.spent(), budget.end(TOTAL, None, boot(597))), (1200, boot(3600)));
        assert_eq!(budget.due(None), boot(1195));
    }

    #[test]
    fn a_debit_that_is_not_stored_permits_nothing_beyond_what_was_paid() {
        let mut budget = Budget::new(600, true, boot(0));
        budget.poll_debit(TOTAL, None, boot(595)).unwrap();
        assert_eq!(budget.end(TOTAL, None, boot(599)), boot(3600));
        assert_eq!(budget.overdue(None), Some(boot(600)));
        assert_eq!(budget.end(TOTAL, None, boot(600)), boot(600), "the disk hangs");
        budget.handle_debited(false);
        assert_eq!(budget.end(TOTAL, None, boot(601)), boot(600), "the disk refuses");
        assert_eq!(budget.poll_debit(TOTAL, None, boot(700)), Some(1200));
        budget.handle_debited(true);
        assert_eq!(budget.end(TOTAL, None, boot(700)), boot(700 + 600 + 2400), "the pause was not served");
    }

    #[test]
    fn a_debit_that_nobody_takes_to_the_disk_is_not_paid_either() {
        let mut budget = Budget::new(600, true, boot(0));
        assert_eq!(budget.end(TOTAL, None, boot(599)), boot(3600));
        assert_eq!((budget.overdue(None), budget.end(TOTAL, None, boot(600))), (Some(boot(600)), boot(600)));
        budget.handle_refresh();
        let fresh = Some(boot(900));
        assert_eq!(budget.end(TOTAL, fresh, boot(904)), boot(900 + 3600));
        assert_eq!(
            (budget.overdue(fresh), budget.end(TOTAL, fresh, boot(905))),
            (Some(boot(905)), boot(900))
        );
        assert_eq!(budget.poll_debit(TOTAL, fresh, boot(2000)), Some(600));
        budget.handle_debited(true);
        assert_eq!(budget.end(TOTAL, fresh, boot(2000)), boot(2000 + 3600), "the pause was not served");
    }

    #[test]
    fn without_the_debit_of_the_boot_nothing_is_permitted_until_one_is_stored() {
        let mut budget = Budget::new(0, false, boot(10));
        assert_eq!(budget.end(TOTAL, None, boot(10)), BootTime::ZERO);
        assert_eq!(budget.poll_debit(TOTAL, None, boot(20)), Some(600));
        budget.handle_debited(true);
        assert_eq!(budget.end(TOTAL, None, boot(20)), boot(20 + 3600));
    }

    #[test]
    fn a_boot_that_could_not_be_debited_gives_nothing_of_earlier_boots_back() {
        let mut budget = Budget::new(3000, false, boot(0));
        assert_eq!((budget.spent(), budget.end(TOTAL, None, boot(1))), (3000, BootTime::ZERO));
        assert_eq!(
            budget.poll_debit(TOTAL, None, boot(20)),
            Some(3600),
            "it was 600 while the disk was full at boot"
        );
        budget.handle_debited(true);
        assert_eq!(budget.end(TOTAL, None, boot(20)), boot(20 + 600));
        let mut unknown = Budget::new(u32::MAX, false, boot(0));
        assert_eq!(
            (unknown.poll_debit(TOTAL, None, boot(20)), unknown.end(TOTAL, None, boot(20))),
            (None, BootTime::ZERO)
        );
        assert!(unknown.handle_refresh(), "the cloud was heard");
        assert_eq!(unknown.end(TOTAL, Some(boot(900)), boot(30)), boot(900 + 3600));
    }

    #[test]
    fn while_the_policy_is_fresh_nothing_is_debited_and_a_refresh_gives_everything_back() {
        let mut budget = Budget::new(3600, true, boot(0));
        assert_eq!(budget.end(TOTAL, None, boot(0)), boot(600), "the last ten minutes");
        assert!(budget.handle_refresh());
        assert!(!budget.handle_refresh(), "nothing was used since");
        assert_eq!(budget.end(TOTAL, Some(boot(900)), boot(1)), boot(900 + 3600));
        assert_eq!(budget.poll_debit(TOTAL, Some(boot(900)), boot(899)), None);
        assert_eq!(budget.poll_debit(TOTAL, Some(boot(900)), boot(900)), Some(600));
        budget.handle_debited(true);
        assert_eq!(budget.end(TOTAL, Some(boot(900)), boot(901)), boot(900 + 3600));
    }

    #[test]
    fn a_budget_below_a_chunk_is_not_stretched_by_it() {
        let budget = Budget::new(600, true, boot(0));
        assert_eq!(budget.end(300, None, boot(0)), boot(300));
        let again = Budget::new(1200, true, boot(0));
        assert_eq!(again.end(300, None, boot(0)), BootTime::ZERO, "the second boot has nothing left");
        let mut none = Budget::new(600, true, boot(0));
        assert_eq!(none.end(0, None, boot(0)), BootTime::ZERO);
        none.handle_refresh();
        assert_eq!(none.end(0, Some(boot(900)), boot(1)), boot(900), "fresh is fresh");
        assert_eq!(none.poll_debit(0, Some(boot(900)), boot(901)), None);
    }

    #[test]
    fn a_thousand_boots_serve_no_longer_than_the_budget() {
        let (mut stored, mut served) = (0u32, Duration::ZERO);
        for _ in 0..1000 {
            stored += CHUNK_S;
            let budget = Budget::new(stored, true, boot(0));
            // Cut off one second after it began to serve.
            served += Duration::from_secs(1).min(budget.end(TOTAL, None, boot(0)).since(boot(0)));
        }
        assert_eq!(served, Duration::from_secs(6), "one second for each chunk of the budget");
    }
}
