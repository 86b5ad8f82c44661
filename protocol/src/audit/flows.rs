//! What the flows of one VPN tunnel come to in the trail; pure.
//!
//! 1. [`Ledger::note`] is told of each flow that is permitted, refused, not opened or over. The first opening of a kind in a
//!    minute is returned as a row of its own, which must be durable before the flow's first byte.
//! 2. Everything else is summed up by kind: far end and fate. [`Ledger::take_rows`] gives the sums of a minute.
//! 3. Far ends beyond a bound, of the minute and of the hour, are told apart no more: a scan of a network is a handful of
//!    rows, whatever the scanner does. What opened has bounds of its own, which no scan uses up.
//!
//! A scan that the device makes itself is announced by a row of none, and its probes are told apart like flows that did not open.
//!
//! Time is the caller's, in milliseconds of a clock that only goes forward.

use std::collections::BTreeMap;

use super::{Event, FlowFate, GateCounts};
use crate::id::TunnelId;
use crate::policy::FlowEnd;

/// The flows of one tunnel, as they are recorded.
#[derive(Debug)]
pub struct Ledger {
    tunnel: TunnelId,
    /// When the first of `kinds` was noted.
    began_ms: Option<u64>,
    kinds: BTreeMap<Kind, Sum>,
    /// When the hour began.
    hour_began_ms: Option<u64>,
    /// Kinds that were told apart in the hour: of flows that opened, and of the others.
    hour: [usize; 2],
    opened: u64,
    denied: u64,
    failed: u64,
}

/// What a row says of its flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    to: Option<FlowEnd>,
    fate: FlowFate,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u32,
    carried: Carried,
}

/// What a flow carried until it was over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes from the client to the machine.
    pub to_machine: u64,
    /// Bytes from the machine to the client.
    pub to_client: u64,
    /// For how long it was open.
    pub seconds: u64,
}

impl Ledger {
    /// An empty ledger of a tunnel.
    #[must_use]
    pub const fn new(tunnel: TunnelId) -> Self {
        let (opened, denied, failed) = (0, 0, 0);
        Self {
            tunnel,
            began_ms: None,
            kinds: BTreeMap::new(),
            hour_began_ms: None,
            hour: [0; 2],
            opened,
            denied,
            failed,
        }
    }

    /// Notes a flow; its far end is none where it never had one. The row that is returned must be durable before the flow goes on.
    pub fn note(
        &mut self,
        now_ms: u64,
        to: Option<FlowEnd>,
        fate: FlowFate,
        carried: Carried,
    ) -> Option<Event> {
        let total = match fate {
            FlowFate::Opened | FlowFate::Probed => Some(&mut self.opened),
            FlowFate::Denied(_) => Some(&mut self.denied),
            FlowFate::Failed(_) => Some(&mut self.failed),
            FlowFate::Closed(_) => None,
        };
        total.into_iter().for_each(|total| *total = total.saturating_add(1));
        self.began_ms.get_or_insert(now_ms);
        let kind = self.tell_apart(now_ms, Kind { to, fate });
        let is_first = !self.kinds.contains_key(&kind);
        let sum = self.kinds.entry(kind).or_default();
        if is_first && fate == FlowFate::Opened {
            // It has a row already; the sum is of those behind it.
            return Some(row(self.tunnel, kind, Sum { count: 1, carried }));
        }
        sum.count = sum.count.saturating_add(1);
        sum.carried = Carried {
            to_machine: sum.carried.to_machine.saturating_add(carried.to_machine),
            to_client: sum.carried.to_client.saturating_add(carried.to_client),
            seconds: sum.carried.seconds.max(carried.seconds),
        };
        None
    }

    /// The row that must be durable before a scan begins; what its probes come to is noted like other flows.
    #[must_use]
    pub fn scan(&self) -> Event {
        row(self.tunnel, Kind { to: None, fate: FlowFate::Probed }, Sum::default())
    }

    /// When rows are to be written; none while there is nothing to write.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.began_ms.map(|began| began.saturating_add(MINUTE_MS))
    }

    /// Takes the rows that stand for what was noted since the last time.
    pub fn take_rows(&mut self) -> Vec<Event> {
        self.began_ms = None;
        let kinds = std::mem::take(&mut self.kinds);
        let noted = kinds.into_iter().filter(|(_, sum)| sum.count > 0);
        noted.map(|(kind, sum)| row(self.tunnel, kind, sum)).collect()
    }

    /// What the flows came to, for the row of the tunnel's end.
    #[must_use]
    pub const fn counts(&self) -> GateCounts {
        GateCounts::Flows { opened: self.opened, denied: self.denied, failed: self.failed }
    }

    /// The kind under which a flow is counted: its own while there is room, otherwise that of all others of its fate.
    fn tell_apart(&mut self, now_ms: u64, kind: Kind) -> Kind {
        if kind.to.is_none() || self.kinds.contains_key(&kind) {
            return kind;
        }
        if self.hour_began_ms.is_none_or(|began| now_ms.saturating_sub(began) >= HOUR_MS) {
            (self.hour_began_ms, self.hour) = (Some(now_ms), [0; 2]);
        }
        let opened = has_opened(kind.fate);
        let [of_opened, of_others] = &mut self.hour;
        let (used, minute, hour) = if opened {
            (of_opened, OPENED_A_MINUTE, OPENED_AN_HOUR)
        } else {
            (of_others, OTHERS_A_MINUTE, OTHERS_AN_HOUR)
        };
        let alike = self.kinds.keys().filter(|kind| kind.to.is_some() && has_opened(kind.fate) == opened);
        let full = alike.count() >= minute || *used >= hour;
        *used += usize::from(!full);
        if full { Kind { to: None, ..kind } } else { kind }
    }
}

fn row(tunnel: TunnelId, Kind { to, fate }: Kind, Sum { count, carried }: Sum) -> Event {
    let Carried { to_machine, to_client, seconds } = carried;
    Event::Flows { tunnel, to, fate, count, to_machine, to_client, seconds }
}

/// Whether flows of this fate may have carried something.
const fn has_opened(fate: FlowFate) -> bool {
    match fate {
        FlowFate::Opened | FlowFate::Closed(_) => true,
        FlowFate::Denied(_) | FlowFate::Failed(_) | FlowFate::Probed => false,
    }
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
/// Kinds of flows that opened which are told apart within a minute; those of one fate beyond them share one row.
const OPENED_A_MINUTE: usize = 32;
/// The same within an hour.
const OPENED_AN_HOUR: usize = 256;
/// Kinds of flows that were refused or failed which are told apart within a minute.
const OTHERS_A_MINUTE: usize = 8;
/// The same within an hour.
const OTHERS_AN_HOUR: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Protocol, Reason};
    use crate::wire::registry::Failure;

    const TUNNEL: TunnelId = TunnelId::new([7; 8]);

    fn to(host: u8, port: u16) -> Option<FlowEnd> {
        Some(FlowEnd { protocol: Protocol::Tcp, ip: [10, 0, 0, host].into(), port })
    }

    /// Far end, fate and count of a row.
    fn brief(event: &Event) -> (Option<FlowEnd>, FlowFate, u32) {
        let Event::Flows { to, fate, count, .. } = event else { panic!("{event:?}") };
        (*to, *fate, *count)
    }

    #[test]
    fn the_first_opening_of_a_kind_in_a_minute_has_its_row_at_once_and_the_others_share_one() {
        let mut ledger = Ledger::new(TUNNEL);
        let first = ledger.note(0, to(1, 102), FlowFate::Opened, Carried::default()).unwrap();
        assert_eq!(brief(&first), (to(1, 102), FlowFate::Opened, 1));
        for _ in 0..9 {
            assert_eq!(ledger.note(1, to(1, 102), FlowFate::Opened, Carried::default()), None);
        }
        assert!(ledger.note(1, to(1, 103), FlowFate::Opened, Carried::default()).is_some());
        assert_eq!(ledger.due_ms(), Some(60_000));
        let rows: Vec<_> = ledger.take_rows().iter().map(brief).collect();
        assert_eq!(rows, [(to(1, 102), FlowFate::Opened, 9)]);
        assert_eq!((ledger.due_ms(), ledger.take_rows()), (None, vec![]));
        assert!(ledger.note(60_001, to(1, 102), FlowFate::Opened, Carried::default()).is_some());
        assert_eq!(ledger.counts(), GateCounts::Flows { opened: 12, denied: 0, failed: 0 });
    }

    #[test]
    fn what_ended_flows_carried_is_summed_up_and_the_longest_is_remembered() {
        let mut ledger = Ledger::new(TUNNEL);
        for (to_machine, to_client, seconds) in [(1, 10, 5), (2, 20, 3)] {
            let carried = Carried { to_machine, to_client, seconds };
            assert_eq!(ledger.note(0, to(1, 102), FlowFate::Closed(0), carried), None);
        }
        let rows = ledger.take_rows();
        assert!(matches!(
            rows.as_slice(),
            [Event::Flows { count: 2, to_machine: 3, to_client: 30, seconds: 5, .. }]
        ));
    }

    #[test]
    fn a_scan_of_a_network_is_a_handful_of_rows() {
        let mut ledger = Ledger::new(TUNNEL);
        let denied = FlowFate::Denied(Reason::PortDenied);
        for host in 0..=255 {
            for port in 1..=100 {
                assert_eq!(ledger.note(5, to(host, port), denied, Carried::default()), None);
            }
        }
        let rows = ledger.take_rows();
        assert_eq!(rows.len(), OTHERS_A_MINUTE + 1);
        assert_eq!(brief(&rows[0]), (None, denied, 25_600 - 8));
        assert_eq!(ledger.counts(), GateCounts::Flows { opened: 0, denied: 25_600, failed: 0 });
        // What opens meanwhile is still told apart.
        for port in 1..=32 {
            assert!(ledger.note(6, to(1, port), FlowFate::Opened, Carried::default()).is_some());
        }
        let beyond = ledger.note(6, to(1, 33), FlowFate::Opened, Carried::default()).unwrap();
        assert_eq!(brief(&beyond), (None, FlowFate::Opened, 1));
        assert_eq!(ledger.note(6, to(1, 34), FlowFate::Opened, Carried::default()), None);
    }

    #[test]
    fn a_scan_by_the_device_is_announced_and_then_a_handful_of_rows_that_take_no_room_of_flows() {
        let mut ledger = Ledger::new(TUNNEL);
        assert_eq!(brief(&ledger.scan()), (None, FlowFate::Probed, 0));
        for host in 1..=254 {
            let (answered, refused) = (FlowFate::Probed, FlowFate::Failed(Failure::Refused));
            for (port, fate) in [(102, answered), (502, refused), (4840, FlowFate::Failed(Failure::Timeout))]
            {
                assert_eq!(ledger.note(5, to(host, port), fate, Carried::default()), None);
            }
        }
        for port in 1..=32 {
            assert!(ledger.note(6, to(1, port), FlowFate::Opened, Carried::default()).is_some());
        }
        let rows: Vec<_> = ledger.take_rows().iter().map(brief).collect();
        let others = rows.iter().filter(|(to, ..)| to.is_none()).map(|(.., count)| *count);
        assert_eq!((rows.len(), others.sum::<u32>()), (OTHERS_A_MINUTE + 3, 3 * 254 - 8));
        assert_eq!(ledger.counts(), GateCounts::Flows { opened: 254 + 32, denied: 0, failed: 2 * 254 });
    }

    #[test]
    fn a_day_of_ever_new_far_ends_costs_a_bounded_number_of_rows() {
        let mut ledger = Ledger::new(TUNNEL);
        let mut rows = 0;
        for minute in 0..24 * 60_u64 {
            for port in 0..200_u16 {
                let end = to(u8::try_from(minute % 250).unwrap(), 1 + port);
                let now = minute * MINUTE_MS;
                rows += usize::from(ledger.note(now, end, FlowFate::Opened, Carried::default()).is_some());
                ledger.note(now, end, FlowFate::Failed(Failure::Timeout), Carried::default());
            }
            rows += ledger.take_rows().len();
        }
        // Each kind has at most two rows, and each minute one for the rest of each fate, of openings two.
        assert!(rows <= 24 * (2 * OPENED_AN_HOUR + OTHERS_AN_HOUR + 60 * 3), "{rows}");
    }
}
