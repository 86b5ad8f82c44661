//! Findings and what they mean, in exact words.

use postern_protocol::policy::Reason;
use postern_protocol::trust::SecretKey;
use postern_protocol::wire::text::Text;

use super::super::{Block, Examination, Finding, Found, Note, Skip, Step};
use super::*;
use crate::proxy::{Proxy, ProxyFault, Schemes};

const PASSED: Found = Found::Passed(Note::Plain);

fn at(udp: Found, tcp: Found, tls: Found) -> Examination {
    let hub = "203.0.113.5:7443".parse().unwrap();
    let skip = Found::Skipped(Skip::NoProxy);
    let findings = [(Step::Udp, udp), (Step::Tcp, tcp), (Step::Tls, tls), (Step::Proxy, skip)];
    let findings = findings.map(|(step, found)| Finding::new(step, None, found)).into();
    Examination { from: Some("10.0.0.7".parse().unwrap()), hub, findings }
}

fn blocked(block: Block) -> Found {
    Found::Blocked(block)
}

const fn needs(step: Step) -> Found {
    Found::Skipped(Skip::NeedsOther(step))
}

impl Examination {
    fn with(mut self, step: Step, found: Found) -> Self {
        self.findings.retain(|one| one.step != step);
        self.findings.push(Finding::new(step, None, found));
        self
    }
}

/// Level, word, and what is asked for.
fn summary(examination: &Examination) -> (Level, &'static str, Vec<String>) {
    let Verdict { level, word, ask, .. } = Verdict::of_hub(examination);
    (level, word, ask)
}

fn key(seed: u8) -> postern_protocol::trust::PublicKey {
    SecretKey::from_seed([seed; 32]).unwrap().public()
}

/// UDP, TCP, TLS; then level, word and what is asked for.
type Row = (Found, Found, Found, Level, &'static str, &'static [&'static str]);

const ASK_UDP: &str = "Ask for: outgoing UDP port 7443 from 10.0.0.7 to 203.0.113.5.";
const ASK_BOTH: &str = "Ask for: outgoing UDP and TCP port 7443 from 10.0.0.7 to 203.0.113.5.";

#[test]
fn each_way_in_which_a_network_can_block_has_a_word_and_a_request() {
    use Level::{Best, Degraded, Unreachable};
    let tls = || blocked(Block::NoTls);
    let cases: [Row; 11] = [
        (PASSED, PASSED, PASSED, Best, "ok", &[]),
        (PASSED, blocked(Block::Silent), needs(Step::Tcp), Best, "ok", &[]),
        (blocked(Block::Silent), PASSED, PASSED, Degraded, "dropped", &[ASK_UDP]),
        (blocked(Block::Rejected), PASSED, PASSED, Degraded, "rejected", &[ASK_UDP]),
        (
            blocked(Block::OwnFirewall),
            PASSED,
            PASSED,
            Degraded,
            "own_firewall",
            &["To do: allow outgoing UDP port 7443 in the firewall of this computer."],
        ),
        (
            blocked(Block::Silent),
            blocked(Block::Silent),
            needs(Step::Tcp),
            Unreachable,
            "dropped",
            &[ASK_BOTH],
        ),
        (
            blocked(Block::Rejected),
            blocked(Block::Rejected),
            needs(Step::Tcp),
            Unreachable,
            "rejected",
            &[
                "Ask your Postern administrator whether the hub runs.",
                "If it does, ask the network administrator. Ask for: outgoing UDP and TCP port 7443 from 10.0.0.7 to 203.0.113.5.",
            ],
        ),
        (
            blocked(Block::NoRoute),
            blocked(Block::NoRoute),
            needs(Step::Tcp),
            Unreachable,
            "no_route",
            &["To do: look at cable, address and default gateway of this computer."],
        ),
        (
            blocked(Block::Silent),
            PASSED,
            tls(),
            Unreachable,
            "no_tls",
            &["Ask your Postern administrator whether the hub speaks TLS there.", ASK_BOTH],
        ),
        (
            blocked(Block::Silent),
            PASSED,
            blocked(Block::NotPassedOn(None)),
            Unreachable,
            "tls_inspected",
            &[
                "Ask for: TCP port 7443 from 10.0.0.7 to 203.0.113.5 without TLS inspection.",
                "Or ask for: outgoing UDP port 7443 from 10.0.0.7 to 203.0.113.5.",
            ],
        ),
        (
            blocked(Block::Silent),
            blocked(Block::Rejected),
            needs(Step::Tcp),
            Unreachable,
            "dropped",
            &[ASK_BOTH],
        ),
    ];
    for (udp, tcp, tls, level, word, ask) in cases {
        let examination = at(udp, tcp, tls);
        let ask: Vec<String> = ask.iter().map(|ask| (*ask).to_owned()).collect();
        assert_eq!(summary(&examination), (level, word, ask), "{examination:?}");
    }
}

#[test]
fn a_proxy_that_is_the_only_way_out_comes_first_with_what_it_wants() {
    let name = Proxy::parse("http://proxy:3128").unwrap().name().clone();
    let shut = || at(blocked(Block::Silent), blocked(Block::Silent), needs(Step::Tcp));
    let wants = ProxyFault::LoginWanted(Schemes { basic: true, ..Schemes::default() });
    for (fault, word, ask) in [
        (
            wants,
            "proxy_login_wanted",
            "Ask for: a user name and password for the proxy http://proxy:3128, and configure them.",
        ),
        (
            ProxyFault::LoginRefused(407),
            "proxy_login_refused",
            "To do: correct user name and password for the proxy http://proxy:3128.",
        ),
        (
            ProxyFault::Refused(403),
            "proxy_refused",
            "Ask for: leave at the proxy http://proxy:3128 to CONNECT to 203.0.113.5:7443.",
        ),
    ] {
        let examination = shut().with(Step::Proxy, blocked(Block::Proxy(name.clone(), fault)));
        assert_eq!(
            summary(&examination),
            (Level::Unreachable, word, vec![ask.to_owned(), ASK_BOTH.to_owned()])
        );
    }
    // A name that is not known is a finding of its own.
    let unknown = blocked(Block::Proxy(name, ProxyFault::Unresolved));
    let examination = shut().with(Step::Name, unknown).with(Step::Proxy, needs(Step::Name));
    assert_eq!(summary(&examination).1, "proxy_name");
    // The same proxy beside a way that leads there is no trouble.
    let wants = blocked(Block::Silent);
    assert_eq!(summary(&at(PASSED, PASSED, PASSED).with(Step::Proxy, wants)).0, Level::Best);
}

#[test]
fn somebody_else_another_version_and_what_the_hub_makes_of_the_key_outweigh_the_network() {
    let other = || blocked(Block::OtherKey { expected: key(1), found: key(2) });
    let verdict = Verdict::of_hub(&at(other(), PASSED, blocked(Block::Silent)));
    assert_eq!((verdict.level, verdict.word), (Level::Unusable, "other_key"));
    let (found, expected) = (key(2).fingerprint(), key(1).fingerprint());
    assert_eq!(
        verdict.what,
        [format!("Somebody else answers at 203.0.113.5:7443: key {found} answers, expected is {expected}.")]
    );
    let old = Verdict::of_hub(&at(blocked(Block::OtherVersion), PASSED, blocked(Block::OtherVersion)));
    assert_eq!((old.level, old.word), (Level::Unusable, "other_version"));
    for (whose, word) in
        [(Whose::Nobody, "unknown_key"), (Whose::Retired, "retired"), (Whose::Unconfirmed, "unconfirmed")]
    {
        let examination = at(PASSED, PASSED, PASSED).with(Step::Hub, blocked(Block::Whose(whose)));
        let (level, found, ask) = summary(&examination);
        assert_eq!((level, found, ask.len()), (Level::Unusable, word, 1));
    }
}

#[test]
fn a_clock_that_is_off_and_a_box_that_reads_tls_are_said_beside_the_rest() {
    let off = blocked(Block::Clock(-3600));
    let verdict = Verdict::of_hub(&at(PASSED, PASSED, PASSED).with(Step::Clock, off));
    assert_eq!((verdict.level, verdict.word), (Level::Best, "clock"));
    assert_eq!(verdict.what.last().unwrap(), "The clock of this computer is 1 h 0 min behind the hub's.");
    let read = Found::Passed(Note::Read(Some(Text::clean("Acme CA"))));
    let verdict = Verdict::of_hub(&at(blocked(Block::Silent), PASSED, read));
    assert_eq!((verdict.level, verdict.word, verdict.what.len()), (Level::Degraded, "dropped", 2));
    assert!(verdict.what[1].contains("a certificate by `Acme CA`, which is not the hub's"), "{verdict:?}");
}

#[test]
fn a_device_is_judged_by_its_best_way_then_by_its_own_word_then_by_the_hub() {
    let hub = at(PASSED, PASSED, PASSED);
    let judge = |direct: Found, nearby: Found, udp: Found, tls: Found| {
        let all =
            [(Step::Direct, direct), (Step::Nearby, nearby), (Step::RelayUdp, udp), (Step::RelayTls, tls)];
        let findings = all.map(|(step, found)| Finding::new(step, None, found));
        let verdict = Verdict::of_device("press-7", &findings, &hub);
        (verdict.level, verdict.word)
    };
    let (silent, nobody) = (|| blocked(Block::Silent), || Found::Skipped(Skip::NobodyHere));
    let (away, waits) = (|| blocked(Block::NoMeeting), || blocked(Block::DoesNotCome));
    let refused = || blocked(Block::Refused(Reason::BadPass));
    assert_eq!(judge(PASSED, nobody(), away(), away()), (Level::Best, "ok"));
    assert_eq!(judge(silent(), PASSED, away(), away()), (Level::Best, "ok"));
    assert_eq!(judge(silent(), nobody(), PASSED, PASSED), (Level::Degraded, "relayed"));
    assert_eq!(judge(silent(), nobody(), waits(), PASSED), (Level::Degraded, "relayed"));
    assert_eq!(judge(refused(), nobody(), refused(), away()), (Level::Unusable, "bad_pass"));
    assert_eq!(judge(silent(), nobody(), away(), away()), (Level::Unreachable, "no_meeting"));
    assert_eq!(judge(silent(), nobody(), waits(), waits()), (Level::Unreachable, "does_not_come"));
    let other = blocked(Block::OtherKey { expected: key(1), found: key(2) });
    assert_eq!(judge(other, nobody(), away(), away()), (Level::Unusable, "other_key"));

    // Without the hub it is the way to the hub that is to be mended.
    let shut = at(blocked(Block::Silent), blocked(Block::Silent), needs(Step::Tcp));
    let findings = [Finding::new(Step::Direct, None, silent())];
    let verdict = Verdict::of_device("press-7", &findings, &shut);
    assert_eq!((verdict.level, verdict.word), (Level::Unreachable, "dropped"));
    assert_eq!(verdict.ask, [ASK_BOTH]);
}
