//! Watches over a live connection: that it has the newest pass, and that nobody is surprised by the end of a tunnel.
//!
//! 1. Once a second the pass in the profile is read, a file of some hundred bytes; `step-up` and `login` replace it.
//! 2. Another pass of the same user and key is presented on the live connection. The device then judges the open
//!    tunnels by it, if it is as good as the one before.
//! 3. Five minutes and one minute before a tunnel would end, a line says so and what keeps it open. The device is asked first
//!    whether the end has moved: a service case may have been prolonged. This needs no cloud.
//! 4. A person at a terminal is asked for the one-time code that a service needs, there and then.
//!
//! Times of ends are the device's and are compared with this computer's clock: a clock that is off shifts the line and
//! nothing else. Deliberately absent: file-change notices of the platforms, for what one read a second does as well.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use postern_protocol::id::TunnelId;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::clock;
use crate::device::{DeviceError, DeviceLink};
use crate::login::PassFacts;
use crate::problem::Problem;
use crate::profile::{Identity, Profile};
use crate::screen::Screen;
use crate::secret::{SecretError, read_otp};
use crate::step_up::{again, prove};

/// Watches over the connection of one `postern connect`.
#[derive(Debug)]
pub(crate) struct Vigil<'a> {
    identity: Identity,
    profile: &'a Profile,
    screen: &'a Screen,
    device: Name,
    service: Name,
    ends: Ends,
    /// The end that was announced, and how many seconds before it.
    announced: Option<(UnixTime, u64)>,
}

impl<'a> Vigil<'a> {
    pub(crate) fn new(
        identity: Identity,
        profile: &'a Profile,
        screen: &'a Screen,
        (device, service): (Name, Name),
    ) -> Self {
        Self { identity, profile, screen, device, service, ends: Ends::default(), announced: None }
    }

    /// Who dials.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is watched.
    pub(crate) const fn service(&self) -> &Name {
        &self.service
    }

    /// Where tunnels say when they end.
    pub(crate) fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// Takes a newer pass for the next connection.
    pub(crate) fn refresh(&mut self) {
        if let Some(newer) = self.newer() {
            self.identity = newer;
        }
    }

    /// Watches until it is dropped.
    pub(crate) async fn keep(&mut self, link: &DeviceLink) -> Infallible {
        let mut every = tokio::time::interval(GLANCE);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Some(newer) = self.newer() {
                self.present(link, newer).await;
            }
            self.announce(link, clock::now()).await;
        }
    }

    /// Asks a person for one-time codes until the hub takes one, or sends them to their identity provider, and presents the new pass. What keeps the service
    /// closed is handed in, and handed back where there is nobody to ask.
    pub(crate) async fn step_up(&mut self, link: &DeviceLink, closed: Problem) -> Result<(), Problem> {
        if !self.screen.has_person() {
            return Err(closed);
        }
        self.screen.note(&format!("{} on {}: {}", self.service, self.device, closed.reason()));
        if self.identity.membership.provider.is_some() {
            self.identity = again(&self.identity, self.profile, self.screen).await?;
            return Ok(link.authenticate(&self.identity).await?);
        }
        for attempt in 1.. {
            // Beside the connection, which would end while a person looks for the telephone.
            let otp = match tokio::task::spawn_blocking(|| read_otp("")).await {
                Ok(Ok(otp)) => otp,
                Ok(Err(SecretError::NoTerminal(_))) | Err(_) => return Err(closed),
                Ok(Err(error)) => return Err(error.into()),
            };
            match prove(&self.identity, otp, self.profile).await {
                Ok(newer) => {
                    self.identity = newer;
                    break;
                }
                Err(problem) if problem.wants_another_code() && attempt < CODES => {
                    self.screen.note(&problem.to_string());
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(link.authenticate(&self.identity).await?)
    }

    /// Another pass in the profile than the one that was presented. What belongs to another user, or cannot be read
    /// just now, is none.
    fn newer(&self) -> Option<Identity> {
        let pass = self.profile.pass().ok().flatten()?;
        if pass == self.identity.pass {
            return None;
        }
        self.profile.renewed(&self.identity).ok()
    }

    async fn present(&mut self, link: &DeviceLink, newer: Identity) {
        let presented = link.authenticate(&newer).await;
        let as_good = is_as_good(&newer.pass, &self.identity.pass);
        // Also when it was refused: the device will not like it better the next time.
        self.identity = newer;
        let subject = format!("{}/{}", self.device, self.service);
        match presented {
            Ok(()) if as_good => {
                let until = self.until(link).await;
                if let Some(until) = until {
                    self.ends.prolong(until);
                }
                let until = until.map(|until| format!(" until {}", clock::local(until))).unwrap_or_default();
                self.screen.note(&format!("{subject}: your new pass is in force{until}"));
            }
            Ok(()) => self.screen.note(&format!(
                "{subject}: your new pass is in force for new connections; open ones keep the pass before it"
            )),
            // The connection is over, which is noticed elsewhere.
            Err(DeviceError::Ended(_)) => {}
            Err(error) => self.screen.note(&Problem::from(error).about(&subject).to_string()),
        }
    }

    /// Until when the service is open with the pass that was presented.
    async fn until(&self, link: &DeviceLink) -> Option<UnixTime> {
        let services = link.services().await.ok()?;
        services.into_iter().find(|entry| entry.name == self.service)?.until
    }

    async fn announce(&mut self, link: &DeviceLink, now: UnixTime) {
        let Some(end) = self.ends.soonest() else { return };
        let Some(warning) = due(end, now, self.announced) else { return };
        if let Some(later) = self.until(link).await.filter(|later| *later > end) {
            self.ends.prolong(later);
            return;
        }
        self.announced = Some((end, warning));
        let facts = PassFacts::read(&self.identity.pass);
        let what = format!("{} on {} ends {}", self.service, self.device, clock::distance(end, now));
        self.screen.note(&format!("{what}{}", remedy(end, facts)));
    }
}

/// The warning before `end` that is to be given now, by how many seconds before it: the last that is due, if it was not given yet.
fn due(end: UnixTime, now: UnixTime, announced: Option<(UnixTime, u64)>) -> Option<u64> {
    let left = end.secs_since(now);
    let warning = WARNINGS_S.into_iter().filter(|warning| left <= *warning).min()?;
    let is_given = announced.is_some_and(|(of, given)| of == end && given <= warning);
    (!is_given).then_some(warning)
}

/// What keeps a tunnel open beyond `end`.
fn remedy(end: UnixTime, facts: Option<PassFacts>) -> &'static str {
    match facts {
        Some(facts) if facts.expires <= end => " unless you sign in again: `postern login`",
        // A device says when a tunnel ends, and not which of the two ends it.
        Some(PassFacts { second_factor: Some(_), .. }) => {
            " unless you step up (`postern step-up`) or, where it gave you the time, the company that runs the machine prolongs it"
        }
        Some(PassFacts { second_factor: None, .. }) | None => {
            ", when your access ends; ask the company that runs the machine if you need more time"
        }
    }
}

/// Whether a device lets live tunnels go over from one pass to another.
fn is_as_good(newer: &[u8], before: &[u8]) -> bool {
    let (Some(newer), Some(before)) = (PassFacts::read(newer), PassFacts::read(before)) else { return false };
    newer.expires >= before.expires && newer.second_factor >= before.second_factor
}

/// When the live tunnels end, as far as is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Arc<Mutex<BTreeMap<TunnelId, UnixTime>>>);

/// One live tunnel among [`Ends`]; dropping it takes it out.
#[derive(Debug)]
pub(crate) struct Alive {
    ends: Ends,
    tunnel: TunnelId,
}

impl Ends {
    /// Notes a tunnel.
    pub(crate) fn note(&self, tunnel: TunnelId, until: UnixTime) -> Alive {
        self.lock().insert(tunnel, until);
        Alive { ends: self.clone(), tunnel }
    }

    fn prolong(&self, until: UnixTime) {
        self.lock().values_mut().for_each(|end| *end = until);
    }

    fn soonest(&self) -> Option<UnixTime> {
        self.lock().values().min().copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TunnelId, UnixTime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.ends.lock().remove(&self.tunnel);
    }
}

/// How often the profile is looked at.
const GLANCE: Duration = Duration::from_secs(1);
/// How long before its end a tunnel is announced: time to have somebody prolong it, and time to find the telephone with the app.
const WARNINGS_S: [u64; 2] = [300, 60];
/// One-time codes that a person may type for one service.
const CODES: u32 = 3;

#[cfg(test)]
mod tests {
    use postern_protocol::id::UserId;
    use postern_protocol::trust::SecretKey;
    use postern_protocol::wire::text::Text;
    use postern_transport::proxy::Proxies;

    use super::*;
    use crate::profile::Membership;

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    #[test]
    fn the_soonest_end_counts_until_its_tunnel_is_gone() {
        let ends = Ends::default();
        assert_eq!(ends.soonest(), None);
        let first = ends.note(TunnelId::new([1; 8]), at(100));
        let _second = ends.note(TunnelId::new([2; 8]), at(200));
        assert_eq!(ends.soonest(), Some(at(100)));
        drop(first);
        assert_eq!(ends.soonest(), Some(at(200)));
        ends.prolong(at(900));
        assert_eq!(ends.soonest(), Some(at(900)));
    }

    #[test]
    fn the_remedy_is_what_the_pass_can_do_about_the_end() {
        let pass = |expires, second_factor: Option<u64>| {
            Some(PassFacts { expires: at(expires), second_factor: second_factor.map(at) })
        };
        let by_factor = remedy(at(100), pass(900, Some(50)));
        assert_eq!(by_factor.split(" or").next(), Some(" unless you step up (`postern step-up`)"));
        assert_eq!(remedy(at(100), pass(100, Some(50))), " unless you sign in again: `postern login`");
        let by_access =
            ", when your access ends; ask the company that runs the machine if you need more time";
        assert_eq!(remedy(at(100), pass(900, None)), by_access);
    }

    #[test]
    fn an_end_is_announced_five_minutes_and_one_minute_before_it_and_each_once() {
        let end = at(1000);
        assert_eq!(due(end, at(699), None), None);
        assert_eq!(due(end, at(700), None), Some(300));
        assert_eq!(due(end, at(701), Some((end, 300))), None);
        assert_eq!(due(end, at(940), Some((end, 300))), Some(60));
        assert_eq!(due(end, at(941), Some((end, 60))), None);
        // What is shorter than a warning is announced at once and with no warning twice.
        assert_eq!(due(end, at(990), None), Some(60));
        // Another end is another announcement.
        assert_eq!(due(at(1100), at(1000), Some((end, 60))), Some(300));
    }

    #[test]
    fn only_another_pass_of_the_same_user_and_key_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let profile = Profile::locate(Some(home.path()), Proxies::none()).unwrap();
        profile.create_key().unwrap();
        let of = |user: u8| Membership {
            hubs: Vec::new(),
            hub_key: SecretKey::from_seed([3; 32]).unwrap().public(),
            account: Text::clean("acme"),
            user: "anna".parse().unwrap(),
            fleet: None,
            user_id: Some(UserId::new([user; 8])),
            second_factor: true,
            provider: None,
        };
        profile.sign_in(&of(1), b"first").unwrap();
        let screen = Screen::new(true);
        let names = ("press-7".parse().unwrap(), "hmi".parse().unwrap());
        let vigil = Vigil::new(profile.identity().unwrap(), &profile, &screen, names);
        let newer = || vigil.newer().map(|identity| identity.pass);
        assert_eq!(newer(), None);
        profile.sign_in(&of(1), b"second").unwrap();
        assert_eq!(newer(), Some(b"second".to_vec()));
        profile.sign_in(&of(2), b"another user's").unwrap();
        assert_eq!(newer(), None);
        profile.sign_out().unwrap();
        assert_eq!(newer(), None);
        profile.create_key().unwrap();
        profile.sign_in(&of(1), b"for another key").unwrap();
        assert_eq!(newer(), None);
    }
}
