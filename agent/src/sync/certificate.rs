//! Compares the certificate that TLS towards the hub has shown with the one that the hub says it shows.
//!
//! 1. Whenever a certificate was shown there, the hub is asked over the link, which proves its key and which nobody can change.
//! 2. The [`Ladder`] names whoever shows another one.
//!
//! Nothing depends on it: the link is as safe with such a box as without.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use postern_protocol::trust::Digest;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_transport::framed::FrameFault;
use postern_transport::ladder::Ladder;
use postern_transport::question;
use postern_transport::quic::Connection;

/// Compares for as long as the link lasts.
pub(super) async fn compare_certificates(ladder: &Ladder, link: &Connection, hub: SocketAddr) -> Infallible {
    let mut shows = ladder.shows();
    loop {
        shows.mark_unchanged();
        if ladder.shown(hub).is_some() {
            match ask(link).await {
                Ok(Some(expected)) => ladder.compare(hub, expected),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the hub does not say which certificate it shows"),
            }
        }
        if shows.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

async fn ask(link: &Connection) -> Result<Option<Digest>, FrameFault> {
    let answer = question::ask(link, &HubRequest::Certificate, WITHIN).await?;
    let HubAnswer::Certificate(certificate) = answer else { return Ok(None) };
    Ok(certificate)
}

const WITHIN: Duration = Duration::from_secs(20);
