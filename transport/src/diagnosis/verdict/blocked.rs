//! What it means that nothing leads to a hub.

use std::net::SocketAddr;

use super::super::words::certificate;
use super::super::{Block, Step};
use super::{Case, Level, Verdict};
use crate::proxy::{ProxyFault, ProxyName};

/// Of a hub to which no rung leads.
pub(super) fn verdict(case: &Case<'_>) -> Verdict {
    somebody_else(case).unwrap_or_else(|| {
        let mut verdict = nobody(case);
        add_proxy(case, &mut verdict);
        verdict
    })
}

/// Somebody is there, and is not the hub or does not speak as this program does.
fn somebody_else(case: &Case<'_>) -> Option<Verdict> {
    let hub = case.hub;
    let blocks = [Step::Udp, Step::Tls, Step::Proxy].into_iter().filter_map(|step| case.block(step));
    let other = blocks.clone().find(|block| matches!(block, Block::OtherKey { .. }));
    if let Some(block) = other {
        let what = format!("Somebody else answers at {hub}: {}.", block.sentence());
        let ask = "Ask your Postern administrator whether the hub has a new key; if it has not, ask the network administrator who answers in its place.";
        return Some(Verdict::new(Level::Unusable, block.word(), what, &[ask.to_owned()]));
    }
    let other = blocks.into_iter().find(|block| matches!(block, Block::OtherVersion))?;
    let what = format!("The hub at {hub} speaks no version of the protocol that this program speaks.");
    let ask = "To do: install the version of this program that your Postern administrator names.";
    Some(Verdict::new(Level::Unusable, other.word(), what, &[ask.to_owned()]))
}

/// Nobody is there, as far as this computer can tell.
fn nobody(case: &Case<'_>) -> Verdict {
    let (hub, port) = (case.hub, case.hub.port());
    let (udp, tcp, tls) = (case.block(Step::Udp), case.block(Step::Tcp), case.block(Step::Tls));
    let both = || case.ask_for("UDP and TCP");
    let far = |word, what: String, ask: &[String]| Verdict::new(Level::Unreachable, word, what, ask);
    if let Some(Block::NotPassedOn(by)) = tls {
        return inspected(case, by.as_ref());
    }
    match (udp, tcp) {
        (Some(Block::NoRoute), Some(Block::NoRoute)) => far(
            "no_route",
            format!("This computer has no way to {hub}: no route leads there."),
            &["To do: look at cable, address and default gateway of this computer.".to_owned()],
        ),
        (Some(Block::Rejected), Some(Block::Rejected)) => far(
            "rejected",
            format!(
                "{hub} refuses UDP and TCP: the hub does not run, or a firewall on the way refuses both."
            ),
            &[
                "Ask your Postern administrator whether the hub runs.".to_owned(),
                format!("If it does, ask the network administrator. {}", both()),
            ],
        ),
        (Some(Block::Silent), Some(Block::Silent)) => far(
            "dropped",
            format!(
                "Nothing comes back from {hub}, neither over UDP nor over TCP: a firewall on the way drops both, or the hub's computer is away."
            ),
            &[both()],
        ),
        (Some(Block::OwnFirewall), _) | (_, Some(Block::OwnFirewall)) => far(
            "own_firewall",
            "The firewall of this computer refuses what would lead to the hub.".to_owned(),
            &[format!("To do: allow outgoing UDP and TCP port {port} in the firewall of this computer.")],
        ),
        (_, None) if matches!(tls, Some(Block::NoTls)) => far(
            "no_tls",
            format!(
                "UDP does not pass, and TCP connects to {hub}, where nobody speaks TLS: a box in between takes the connection, or the hub has no TLS at that port."
            ),
            &["Ask your Postern administrator whether the hub speaks TLS there.".to_owned(), both()],
        ),
        (udp, tcp) => far(
            udp.or(tcp).map_or("unreachable", Block::word),
            format!(
                "The hub at {hub} is not reached. UDP: {}. TCP: {}.",
                udp.map_or_else(|| "not tried".to_owned(), Block::sentence),
                tcp.map_or_else(|| "ok".to_owned(), Block::sentence),
            ),
            &[both()],
        ),
    }
}

fn inspected(case: &Case<'_>, by: Option<&postern_protocol::wire::text::Text>) -> Verdict {
    let (hub, from) = (case.hub, case.from());
    let by = certificate(by);
    let what = format!(
        "UDP does not pass, and a box in between reads all TLS and passes on only what it knows: it shows {by}."
    );
    let ask = [
        format!("Ask for: TCP port {} from {from} to {} without TLS inspection.", hub.port(), hub.ip()),
        format!("Or ask for: {}", case.ask_for("UDP").trim_start_matches("Ask for: ")),
    ];
    Verdict::new(Level::Unreachable, "tls_inspected", what, &ask)
}

/// A proxy that is configured and does not lead there is the nearest thing to mend.
fn add_proxy(case: &Case<'_>, verdict: &mut Verdict) {
    let blocked = case.block(Step::Proxy).or_else(|| case.block(Step::Name));
    let Some(block @ Block::Proxy(name, fault)) = blocked else { return };
    verdict.word = block.word();
    verdict
        .what
        .insert(0, format!("The proxy that is configured does not lead to the hub: {}.", block.sentence()));
    verdict.ask.insert(0, ask_proxy(name, fault, case.hub));
}

fn ask_proxy(name: &ProxyName, fault: &ProxyFault, hub: SocketAddr) -> String {
    match fault {
        ProxyFault::Unresolved => {
            format!("To do: correct the proxy's name, or ask for a resolver that knows it ({name}).")
        }
        ProxyFault::LoginWanted(_) | ProxyFault::SocksLoginWanted => {
            format!("Ask for: a user name and password for the proxy {name}, and configure them.")
        }
        ProxyFault::LoginRefused(_) | ProxyFault::SocksLoginRefused | ProxyFault::LoginUnfit => {
            format!("To do: correct user name and password for the proxy {name}.")
        }
        ProxyFault::SchemeUnspoken(_) | ProxyFault::NoMethod => {
            format!("Ask for: a login with Basic or Digest at the proxy {name}, or none for {}.", hub.ip())
        }
        ProxyFault::Refused(_) | ProxyFault::SocksRefused(_) => {
            format!("Ask for: leave at the proxy {name} to CONNECT to {hub}.")
        }
        ProxyFault::Unreachable(_)
        | ProxyFault::TimedOut { .. }
        | ProxyFault::Ended
        | ProxyFault::NotHttp
        | ProxyFault::HeadTooLong { .. }
        | ProxyFault::NotSocks
        | ProxyFault::NoRandomness => {
            format!("To do: look at address and port of the proxy {name}, and whether it runs.")
        }
    }
}
