//! The devices that a user may see: listed by the hub, remembered here, found by name.
//!
//! 1. The hub lists the devices on which the user may use something, and no others.
//! 2. The list is kept, with keys and addresses, so that a device can be reached while the hub is away.
//! 3. A name is looked up in what is kept; only an unknown name asks the hub again.
//!
//! What is suggested for a mistyped name comes from the same list: a name that is not in it does not exist here.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use postern_protocol::time::UnixTime;
use postern_protocol::wire::hub::{DeviceEntry, HubAnswer, HubRequest};

use crate::args::DeviceRef;
use crate::clock;
use crate::exit::Exit;
use crate::hub::{DIAL_WITHIN, GLANCE_WITHIN, HubError, HubLink};
use crate::login::narrowing;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;

/// A listing and when the hub gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// When.
    pub(crate) fetched: UnixTime,
    /// In the hub's order.
    pub(crate) devices: Vec<Known>,
}

/// A device, and where it answered last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// What the hub says about it.
    pub(crate) entry: DeviceEntry,
    /// The address at which it answered this computer; dialled first.
    pub(crate) last: Option<SocketAddr>,
    /// Where a person said that it is.
    #[serde(skip)]
    pub(crate) at: Option<SocketAddr>,
}

impl Known {
    /// Addresses, best first; where a person has said one, that alone.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        if let Some(at) = self.at {
            return vec![at];
        }
        let others = self.entry.addresses.iter().copied().filter(|addr| Some(*addr) != self.last);
        self.last.into_iter().chain(others).collect()
    }
}

impl Listing {
    /// Finds a device by what a person typed.
    pub(crate) fn find(&self, wanted: &DeviceRef) -> Result<&Known, FindError> {
        let matches = |known: &&Known| {
            let account = wanted.account.as_deref();
            known.entry.name == wanted.name && account.is_none_or(|path| path == known.entry.account.as_str())
        };
        let mut found = self.devices.iter().filter(matches);
        match (found.next(), found.next()) {
            (Some(known), None) => Ok(known),
            (None, _) => {
                Err(FindError::Unknown { wanted: wanted.to_string(), similar: self.similar(wanted) })
            }
            (Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(found);
                let candidates = all.map(full_name).collect::<Vec<_>>().join(", ");
                Err(FindError::Ambiguous { wanted: wanted.to_string(), candidates })
            }
        }
    }

    fn similar(&self, wanted: &DeviceRef) -> Option<String> {
        let text = wanted.to_string();
        let candidates = self.devices.iter().map(|known| match &wanted.account {
            Some(_) => full_name(known),
            None => known.entry.name.to_string(),
        });
        let scored = candidates.map(|name| (strsim::jaro_winkler(&name, &text), name));
        scored
            .filter(|(score, _)| *score > SIMILAR)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, name)| name)
    }
}

/// Why a name leads to no device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    /// Not in the list.
    #[error("no device `{wanted}` is among yours{}", did_you_mean(.similar.as_deref()))]
    Unknown {
        /// What was typed.
        wanted: String,
        /// The nearest name in the list.
        similar: Option<String>,
    },
    /// In the list several times.
    #[error("several of your devices are called `{wanted}`: {candidates}")]
    Ambiguous {
        /// What was typed.
        wanted: String,
        /// The full names.
        candidates: String,
    },
}

/// `postern devices`.
pub(crate) async fn run(profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let identity = profile.identity()?;
    let narrow = narrowing(&identity.pass);
    let (mut listing, cached) = match fetch(&identity, profile, DIAL_WITHIN).await {
        Ok(listing) => (listing, false),
        Err(error) => {
            let away = matches!(error, HubError::Dial(_) | HubError::Ended(_));
            let kept = profile.listing().filter(|_| away);
            let problem = Problem::from(error);
            let Some(listing) = kept else { return Err(problem) };
            screen.note(&format!("{problem}; this is the list of {}", clock::local(listing.fetched)));
            (listing, true)
        }
    };
    // The hub lists what the user may use; this sign-in may be good for less.
    listing.devices.retain(|known| narrow.allows_device(&known.entry.device));
    screen.answer(&Devices {
        cached,
        fetched: clock::rfc3339(listing.fetched),
        devices: listing.devices.iter().map(|known| &known.entry).collect(),
    });
    if listing.devices.is_empty() {
        screen.note("no device is open to you; ask your administrator for access");
    }
    let rows: Vec<Vec<String>> = listing.devices.iter().map(|known| row(known, cached)).collect();
    screen.list(&["DEVICE", "ACCOUNT", "STATE", "LABEL"], &rows);
    Ok(Exit::Done)
}

/// Finds the device that a person named, asking the hub when it is not among the known ones.
pub(crate) async fn look_up(
    wanted: &DeviceRef,
    identity: &Identity,
    profile: &Profile,
) -> Result<Known, Problem> {
    let found = |known: &Known| Known { at: wanted.at, ..known.clone() };
    let kept = profile.listing();
    if let Some(Ok(known)) = kept.as_ref().map(|listing| listing.find(wanted)) {
        return Ok(found(known));
    }
    match (fetch(identity, profile, DIAL_WITHIN).await, kept) {
        (Ok(listing), _) => Ok(found(listing.find(wanted)?)),
        // The hub is away: what is kept is all there is to say.
        (Err(HubError::Dial(_) | HubError::Ended(_)), Some(listing)) => Ok(found(listing.find(wanted)?)),
        (Err(error), _) => Err(error.into()),
    }
}

/// What the hub says now about a device that did not answer; `None` when it says nothing new.
pub(crate) async fn look_again(known: &Known, identity: &Identity, profile: &Profile) -> Option<Known> {
    let listing = fetch(identity, profile, GLANCE_WITHIN).await.ok()?;
    let again = listing.devices.into_iter().find(|again| again.entry.device == known.entry.device)?;
    let news = again.entry.key != known.entry.key || again.entry.addresses != known.entry.addresses;
    news.then_some(again)
}

/// Asks the hub and keeps the answer, with the addresses that this computer has learned.
pub(crate) async fn fetch(
    identity: &Identity,
    profile: &Profile,
    within: Duration,
) -> Result<Listing, HubError> {
    let membership = &identity.membership;
    let hub =
        HubLink::dial(&identity.key, membership.hub_key, &membership.hubs, within, &identity.ladder).await?;
    let answer = hub.ask(&HubRequest::ListDevices).await;
    hub.close().await;
    let HubAnswer::Devices(entries) = answer? else { return Err(HubError::Unexpected) };
    let before = profile.listing().map(|listing| listing.devices).unwrap_or_default();
    let devices = entries.into_iter().map(|entry| {
        // An address under the old key of a device says nothing about the new one.
        let same = |known: &&Known| known.entry.device == entry.device && known.entry.key == entry.key;
        let last = before.iter().find(same).and_then(|known| known.last);
        Known { entry, last, at: None }
    });
    let listing = Listing { fetched: clock::now(), devices: devices.collect() };
    // The answer is of use even where it cannot be kept.
    let _unkept = profile.save_listing(&listing);
    Ok(listing)
}

/// Keeps the address at which a device has answered.
pub(crate) fn remember_address(profile: &Profile, device: &DeviceEntry, addr: SocketAddr) {
    let Some(mut listing) = profile.listing() else { return };
    let Some(known) = listing.devices.iter_mut().find(|known| known.entry.device == device.device) else {
        return;
    };
    if known.last != Some(addr) {
        known.last = Some(addr);
        // Dialling finds it again next time, only later.
        let _unkept = profile.save_listing(&listing);
    }
}

#[derive(Serialize)]
struct Devices<'a> {
    cached: bool,
    fetched: String,
    devices: Vec<&'a DeviceEntry>,
}

fn row(known: &Known, cached: bool) -> Vec<String> {
    let entry = &known.entry;
    let state = match (cached, entry.online) {
        (true, _) => "unknown",
        (false, true) => "online",
        (false, false) => "offline",
    };
    let label = entry.label.as_ref().map(ToString::to_string).unwrap_or_default();
    vec![entry.name.to_string(), entry.account.to_string(), state.to_owned(), label]
}

fn full_name(known: &Known) -> String {
    format!("{}/{}", known.entry.account, known.entry.name)
}

fn did_you_mean(similar: Option<&str>) -> String {
    similar.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Above it two names look like a slip of the finger (Jaro-Winkler, 1.0 is equal).
const SIMILAR: f64 = 0.8;

#[cfg(test)]
mod tests {
    use postern_protocol::id::DeviceId;
    use postern_protocol::trust::SecretKey;
    use postern_protocol::wire::text::Text;

    use super::*;

    fn known(number: u8, account: &str, name: &str) -> Known {
        Known {
            entry: DeviceEntry {
                device: DeviceId::new([number; 8]),
                name: name.parse().unwrap(),
                account: Text::clean(account),
                label: None,
                key: SecretKey::from_seed([number; 32]).unwrap().public(),
                addresses: vec!["10.0.0.1:7441".parse().unwrap(), "10.0.0.2:7441".parse().unwrap()],
                online: true,
            },
            last: None,
            at: None,
        }
    }

    fn listing() -> Listing {
        let devices = vec![known(1, "acme", "press-7"), known(2, "acme", "oven"), known(3, "beta", "oven")];
        Listing { fetched: UnixTime::from_secs(5), devices }
    }

    fn find(text: &str) -> Result<u8, String> {
        let listing = listing();
        let found = listing.find(&text.parse().unwrap());
        found.map(|known| known.entry.device.as_bytes()[0]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_device_is_found_by_name_or_by_account_and_name() {
        assert_eq!(find("press-7"), Ok(1));
        assert_eq!(find("acme/press-7"), Ok(1));
        assert_eq!(find("beta/oven"), Ok(3));
    }

    #[test]
    fn a_slip_of_the_finger_gets_the_nearest_name_and_a_guess_gets_nothing() {
        let slip = "no device `pres-7` is among yours; did you mean `press-7`?";
        assert_eq!(find("pres-7"), Err(slip.to_owned()));
        assert_eq!(find("boiler"), Err("no device `boiler` is among yours".to_owned()));
        let other = "no device `beta/press-7` is among yours";
        assert!(find("beta/press-7").unwrap_err().starts_with(other));
    }

    #[test]
    fn a_name_in_two_accounts_must_be_said_in_full() {
        let expected = "several of your devices are called `oven`: acme/oven, beta/oven";
        assert_eq!(find("oven"), Err(expected.to_owned()));
    }

    #[test]
    fn the_address_that_answered_last_is_dialled_first_and_once() {
        let mut device = known(1, "acme", "press-7");
        device.last = Some("10.0.0.2:7441".parse().unwrap());
        let order: Vec<String> = device.addresses().iter().map(ToString::to_string).collect();
        assert_eq!(order, ["10.0.0.2:7441", "10.0.0.1:7441"]);
    }
}
