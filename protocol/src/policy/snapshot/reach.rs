//! Where a service leads, and what its gate lets through there.

use serde::{Deserialize, Serialize};

use super::Target;
use super::form::FormFault;
use super::rules::{Kind, Rules, Upstream, VpnRules};

/// Where a service leads: to many destinations or to one place, never to a mix of both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Flows to destinations on the machine network: [`Kind::Vpn`].
    Flows(VpnRules),
    /// One place, with a gate that understands what is said to it: every other kind.
    Place {
        /// Where it is.
        target: Target,
        /// What it speaks, and what its gate lets through.
        rules: Rules,
    },
}

impl Reach {
    /// All that a kind can do at a target; of a VPN the TCP flows to it.
    #[must_use]
    pub fn whole(kind: Kind, target: Target) -> Self {
        match Rules::whole(kind) {
            Some(rules) => Self::Place { target, rules },
            None => Self::Flows(VpnRules::tcp(target)),
        }
    }

    /// The same at another place; a VPN then carries TCP to that place and nothing else.
    #[must_use]
    pub fn moved(&self, target: Target) -> Self {
        match self {
            Self::Flows(_) => Self::Flows(VpnRules::tcp(target)),
            Self::Place { rules, .. } => Self::Place { target, rules: rules.clone() },
        }
    }

    /// What the service speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Flows(_) => Kind::Vpn,
            Self::Place { rules, .. } => rules.kind(),
        }
    }

    /// The one place to which it leads; none of a VPN, whose flows say where they go.
    #[must_use]
    pub const fn target(&self) -> Option<Target> {
        match self {
            Self::Flows(_) => None,
            Self::Place { target, .. } => Some(*target),
        }
    }

    /// The rules of that place.
    #[must_use]
    pub const fn rules(&self) -> Option<&Rules> {
        match self {
            Self::Flows(_) => None,
            Self::Place { rules, .. } => Some(rules),
        }
    }

    /// The rules of that place, to be changed.
    #[must_use]
    pub const fn rules_mut(&mut self) -> Option<&mut Rules> {
        match self {
            Self::Flows(_) => None,
            Self::Place { rules, .. } => Some(rules),
        }
    }

    /// The destinations of a VPN.
    #[must_use]
    pub const fn flows(&self) -> Option<&VpnRules> {
        match self {
            Self::Flows(rules) => Some(rules),
            Self::Place { .. } => None,
        }
    }

    /// How the gate speaks to the machine, where it speaks HTTP.
    #[must_use]
    pub const fn upstream(&self) -> Option<&Upstream> {
        match self {
            Self::Place { rules: Rules::Http(rules), .. } => Some(&rules.upstream),
            Self::Place { rules: Rules::Websocket(rules), .. } => Some(&rules.upstream),
            Self::Place { rules: Rules::Vnc(_), .. } | Self::Flows(_) => None,
        }
    }

    /// Checks addresses, order, counts and values.
    ///
    /// # Errors
    /// The first [`FormFault`].
    pub fn check_form(&self) -> Result<(), FormFault> {
        match self {
            Self::Flows(rules) => rules.check_form(),
            Self::Place { target, rules } => {
                let value = |field| Err(FormFault::Value { list: "services", field });
                // An IPv4 address in IPv6 clothes would slip past networks that are written in IPv4, the unspecified
                // address is the device itself on Linux, and nothing is served at a multicast address.
                if target.ip.to_canonical() != target.ip
                    || target.ip.is_unspecified()
                    || target.ip.is_multicast()
                {
                    return value("ip");
                }
                if target.port == 0 {
                    return value("port");
                }
                rules.check_form()
            }
        }
    }
}
