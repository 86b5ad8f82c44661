//! One address of a discovery: what is known of it, and what it is asked next.

use std::net::IpAddr;

use super::reach::{Reach, is_askable, is_narrow};
use crate::limits;
use crate::policy::{Destination, FlowEnd, Protocol};
use crate::wire::discovery::{Mac, Presence, Sighting};

/// An address that may be asked.
#[derive(Debug)]
pub(super) struct Host {
    ip: IpAddr,
    /// The machine, once there is one.
    sighting: Option<Sighting>,
    /// Whether the client knows that.
    pub(super) is_told: bool,
    /// Nobody is there: it is asked no more.
    pub(super) is_absent: bool,
    /// The device does not dial it.
    pub(super) is_forbidden: bool,
    pub(super) asked: usize,
    /// Whether it answered an echo, once it was asked.
    echo: Option<bool>,
    step: Step,
}

/// What is asked next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// What is expected, from this position on.
    Expected(usize),
    /// The rest, from this port on.
    Rest(u16),
    Over,
}

impl Host {
    pub(super) const fn new(ip: IpAddr) -> Self {
        let (is_absent, is_forbidden, step) = (false, false, Step::Expected(0));
        Self { ip, sighting: None, is_told: true, is_absent, is_forbidden, asked: 0, echo: None, step }
    }

    pub(super) const fn sighting(&self) -> Option<&Sighting> {
        self.sighting.as_ref()
    }

    /// What decides who is asked next: what is expected of known machines, then of others, then the rest in the same way; and
    /// of equals who was asked least. None when there is nothing to ask.
    pub(super) const fn turn(&self) -> Option<(bool, bool, usize)> {
        let is_rest = match self.step {
            Step::Expected(_) => false,
            Step::Rest(_) => true,
            Step::Over => return None,
        };
        if self.is_absent || self.is_forbidden {
            return None;
        }
        Some((is_rest, self.sighting.is_none(), self.asked))
    }

    /// Takes the next question; none where this step has no more, and the next one may have.
    pub(super) fn ask(&mut self, reach: &Reach, can_echo: bool) -> Option<FlowEnd> {
        let ip = self.ip;
        let end = match self.step {
            Step::Expected(position) => match reach.expected(ip).get(position) {
                Some(end) => {
                    self.step = Step::Expected(position.saturating_add(1));
                    (can_echo || end.protocol != Protocol::Icmp).then_some(*end)?
                }
                None => {
                    self.step = Step::Rest(1);
                    return None;
                }
            },
            Step::Rest(from) => match reach.rest(ip, from) {
                Some(port) => {
                    self.step = port.checked_add(1).map_or(Step::Over, Step::Rest);
                    FlowEnd { protocol: Protocol::Tcp, ip, port }
                }
                None => {
                    self.step = Step::Over;
                    return None;
                }
            },
            Step::Over => return None,
        };
        self.asked = self.asked.saturating_add(1);
        Some(end)
    }

    /// Whether everything that a destination grants here was asked, or nobody is here.
    pub(super) fn is_done_with(&self, destination: &Destination, reach: &Reach) -> bool {
        let is_all_expected = is_narrow(destination) || destination.ports().is_none();
        let contains = |end: &FlowEnd| destination.contains(end);
        self.is_absent
            || self.is_forbidden
            || !is_askable(destination)
            || match self.step {
                Step::Over => true,
                Step::Rest(from) => {
                    is_all_expected || destination.ports().is_none_or(|ports| ports.last < from)
                }
                Step::Expected(position) => {
                    is_all_expected && !reach.expected(self.ip).iter().skip(position).any(contains)
                }
            }
    }

    /// The kernel knows a machine here.
    pub(super) fn meet(&mut self, mac: Option<Mac>, presence: Presence) {
        let before = self.sighting.clone();
        self.is_absent = false;
        let sighting = self.sighting_or(presence);
        sighting.mac = mac.or(sighting.mac);
        if presence == Presence::Reachable {
            sighting.presence = presence;
        }
        self.is_told = self.is_told && self.sighting == before;
    }

    /// A machine here has answered: with an echo, at an open port, or by saying that one is closed.
    pub(super) fn answered(&mut self, end: FlowEnd, is_open: bool) {
        let before = self.sighting.clone();
        self.is_absent = false;
        if end.protocol == Protocol::Icmp {
            self.echo = Some(true);
        }
        let echo = self.echo;
        let sighting = self.sighting_or(Presence::Reachable);
        (sighting.presence, sighting.echo) = (Presence::Reachable, echo);
        if end.protocol == Protocol::Tcp
            && is_open
            && let Err(place) = sighting.open.binary_search(&end.port)
            && sighting.open.len() < limits::PROBES
        {
            sighting.open.insert(place, end.port);
        }
        self.is_told = self.is_told && self.sighting == before;
    }

    /// Nothing came back.
    pub(super) fn was_silent(&mut self, end: FlowEnd) {
        if end.protocol != Protocol::Icmp {
            return;
        }
        self.echo = Some(false);
        if let Some(sighting) = &mut self.sighting {
            self.is_told = false;
            sighting.echo = Some(false);
        }
    }

    fn sighting_or(&mut self, presence: Presence) -> &mut Sighting {
        let (ip, echo) = (self.ip, self.echo);
        self.sighting.get_or_insert_with(|| Sighting { ip, mac: None, presence, open: Vec::new(), echo })
    }
}
