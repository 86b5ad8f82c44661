//! Names of machines, resolved on the device.
//!
//! The addresses are candidates and nothing more: each is decided and guarded like one that was asked for, and that very address
//! is dialled. Deliberately absent: a cache. What a name meant a minute ago is not what was asked now.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::Semaphore;

use postern_protocol::wire::flow::HostName;
use postern_protocol::wire::registry::Failure;

/// The addresses of a name, in the order of the resolver and at most [`CANDIDATES`]; none where it has none.
///
/// # Errors
/// [`Failure::Busy`] where too many are being resolved.
pub(super) async fn resolve(name: &HostName) -> Result<Vec<IpAddr>, Failure> {
    let place = RESOLVING.try_acquire().map_err(|_| Failure::Busy)?;
    let name = name.as_str().to_owned();
    // The resolver blocks a thread for as long as it waits for its server: it has its place until then, whoever still waits.
    let resolving = tokio::spawn(async move {
        let found = tokio::net::lookup_host((name, 0)).await.map(Vec::from_iter);
        drop(place);
        found
    });
    let Ok(Ok(Ok(found))) = tokio::time::timeout(WITHIN, resolving).await else { return Ok(Vec::new()) };
    let mut candidates = Vec::new();
    for addr in found {
        let ip = addr.ip().to_canonical();
        if candidates.len() < CANDIDATES && !candidates.contains(&ip) {
            candidates.push(ip);
        }
    }
    Ok(candidates)
}

static RESOLVING: Semaphore = Semaphore::const_new(4);
const CANDIDATES: usize = 8;
const WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_has_its_addresses_once_and_an_unknown_one_has_none() {
        let of = async |name: &str| resolve(&name.parse().unwrap()).await.unwrap();
        let local = of("localhost").await;
        assert!(!local.is_empty() && local.iter().all(IpAddr::is_loopback), "{local:?}");
        // RFC 6761, section 6.4: no resolver knows it.
        assert_eq!(of("plc.invalid").await, Vec::<IpAddr>::new());
    }
}
