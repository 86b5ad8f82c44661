//! What a gate let through and dropped, in words.

use crate::audit::GateCounts;
use crate::gate::rfb::Tally;

/// The counts without those of what did not happen.
pub(super) fn text(counts: GateCounts) -> String {
    match counts {
        GateCounts::Vnc { began, ended, keys, pointers, cut_texts, released } => {
            let mut parts = vec![began.words().to_owned()];
            if ended != began {
                parts.push(format!("then {ended}"));
            }
            parts.extend(tally(keys, "keys"));
            parts.extend(tally(pointers, "pointer events"));
            parts.extend(tally(cut_texts, "clipboard texts"));
            parts.extend((released > 0).then(|| format!("{released} released")));
            parts.join(", ")
        }
        GateCounts::Http(requests) => tally(requests, "requests").unwrap_or_else(|| "no request".to_owned()),
        GateCounts::Flows { opened, denied, failed } => {
            format!("{opened} flows ({denied} more denied, {failed} failed)")
        }
        GateCounts::Websocket { to_machine, to_client, controls } => {
            let mut parts: Vec<String> = tally(to_machine, "messages to the machine").into_iter().collect();
            parts.push(format!("{to_client} messages to the client, {controls} control frames"));
            parts.join(", ")
        }
    }
}

fn tally(tally: Tally, what: &str) -> Option<String> {
    match (tally.forwarded, tally.dropped) {
        (0, 0) => None,
        (forwarded, 0) => Some(format!("{forwarded} {what}")),
        (forwarded, dropped) => Some(format!("{forwarded} {what} ({dropped} more dropped)")),
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::Mode;

    use super::*;

    #[test]
    fn requests_and_messages_read_as_what_passed_and_what_did_not() {
        let tally = |forwarded, dropped| Tally { forwarded, dropped };
        assert_eq!(text(GateCounts::Http(tally(7, 2))), "7 requests (2 more dropped)");
        assert_eq!(text(GateCounts::Http(tally(0, 0))), "no request");
        let counts = GateCounts::Websocket { to_machine: tally(3, 0), to_client: 12, controls: 1 };
        assert_eq!(text(counts), "3 messages to the machine, 12 messages to the client, 1 control frames");
    }

    #[test]
    fn a_session_reads_as_its_modes_and_what_passed_and_what_did_not() {
        let none = Tally::default();
        let mut counts = GateCounts::Vnc {
            began: Mode::Full { clipboard: true },
            ended: Mode::ViewOnly,
            keys: Tally { forwarded: 24, dropped: 2 },
            pointers: Tally { forwarded: 310, dropped: 0 },
            cut_texts: Tally { forwarded: 0, dropped: 1 },
            released: 1,
        };
        assert_eq!(
            text(counts),
            "full, with clipboard, then view only, 24 keys (2 more dropped), 310 pointer events, \
             0 clipboard texts (1 more dropped), 1 released"
        );
        let looked = Mode::ViewOnly;
        counts = GateCounts::Vnc {
            began: looked,
            ended: looked,
            keys: none,
            pointers: none,
            cut_texts: none,
            released: 0,
        };
        assert_eq!(text(counts), "view only");
    }
}
