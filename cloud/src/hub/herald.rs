//! Wakes the links of those devices that news concerns, and no other.
//!
//! 1. Whenever something may have been published, the state is looked at once for all devices: what each is to be given is a number
//!    ([`Tx::stamps`](crate::store::Tx::stamps)).
//! 2. Devices whose number is another one than before are looked at by their links.
//! 3. Several news while that goes on are one more look.
//!
//! Without it each of ten thousand links would ask the state after every sign-in. A link looks by itself when it begins, so what was
//! published before is not missed; where the state cannot be read, all are woken.

use std::collections::HashMap;
use std::sync::Arc;

use postern_protocol::name::Name;

use super::{Failed, Hub, blocking};
use crate::store::Stamps;

/// Wakes until it is dropped.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut news = hub.news.listen();
    let mut known = look(&hub).await.unwrap_or_default();
    while news.changed().await.is_ok() {
        match look(&hub).await {
            Ok(found) => {
                let concerned = concerned(&known, &found);
                tracing::debug!(concerned = concerned.as_ref().map(Vec::len), "news");
                match concerned {
                    Some(names) => hub.links.wake(names),
                    None => hub.links.wake_all(),
                }
                known = found;
            }
            Err(error) => {
                tracing::error!(%error, "news could not be looked at");
                hub.links.wake_all();
                // Whatever it was, the next look finds it once more.
                known = Stamps::default();
            }
        }
    }
}

async fn look(hub: &Arc<Hub>) -> Result<Stamps, Failed> {
    let hub = Arc::clone(hub);
    blocking(move || hub.store.read(|tx| tx.stamps(hub.publisher.epoch()).map_err(Failed::from))).await
}

/// The devices for which something is another one than before; none where that is something for all.
fn concerned<'a>(known: &'a Stamps, found: &'a Stamps) -> Option<Vec<&'a Name>> {
    if known.root != found.root {
        return None;
    }
    let differs =
        |(name, stamp): &(&Name, &u64), other: &HashMap<Name, u64>| other.get(*name) != Some(*stamp);
    let changed = found.devices.iter().filter(|entry| differs(entry, &known.devices));
    // A device that left is told that nobody knows it.
    let gone = known.devices.iter().filter(|(name, _)| !found.devices.contains_key(*name));
    Some(changed.chain(gone).map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(root: u32, devices: &[(&str, u64)]) -> Stamps {
        let devices = devices.iter().map(|(name, stamp)| (name.parse().unwrap(), *stamp)).collect();
        Stamps { root, devices }
    }

    #[test]
    fn those_are_woken_whose_stamp_is_another_one_and_all_by_a_root() {
        let known = stamps(1, &[("a", 1), ("b", 2), ("c", 3)]);
        let names = |found: &Stamps| {
            let mut names: Vec<String> =
                concerned(&known, found)?.into_iter().map(ToString::to_string).collect();
            names.sort();
            Some(names)
        };
        assert_eq!(names(&known), Some(vec![]));
        assert_eq!(
            names(&stamps(1, &[("a", 1), ("b", 7), ("d", 4)])),
            Some(vec!["b".into(), "c".into(), "d".into()])
        );
        assert_eq!(names(&stamps(2, &[("a", 1), ("b", 2), ("c", 3)])), None);
    }
}
