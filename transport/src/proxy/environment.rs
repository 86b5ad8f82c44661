//! The proxy that the environment names, as other programs read it.
//!
//! 1. `HTTPS_PROXY`, `https_proxy`, `ALL_PROXY`, `all_proxy`: the first that is not empty.
//! 2. `NO_PROXY`, `no_proxy`: addresses, networks and `*`, with commas between them. Names in it match nothing, because hubs and
//!    relays have addresses; one that is written differently by each program is `*`.

use std::net::{IpAddr, SocketAddr};

use super::{Proxy, ProxyUrlFault};

/// The proxy of this computer, and what is reached without it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    proxy: Option<Proxy>,
    except: Vec<Network>,
}

/// A variable that names no proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable `{variable}` names no proxy: {fault}")]
pub struct EnvironmentFault {
    /// Which.
    pub variable: &'static str,
    /// Why.
    #[source]
    pub fault: ProxyUrlFault,
}

impl Proxies {
    /// No proxy.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// This one, for every hub and relay.
    #[must_use]
    pub const fn always(proxy: Proxy) -> Self {
        Self { proxy: Some(proxy), except: Vec::new() }
    }

    /// What the environment says; `value` yields a variable.
    ///
    /// # Errors
    /// The variable that names no proxy.
    pub fn from_environment(
        value: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, EnvironmentFault> {
        let first = |names: [&'static str; 4]| {
            names
                .into_iter()
                .find_map(|name| value(name).filter(|text| !text.is_empty()).map(|text| (name, text)))
        };
        let Some((variable, url)) = first(PROXY) else { return Ok(Self::none()) };
        let proxy = Proxy::parse(&url).map_err(|fault| EnvironmentFault { variable, fault })?;
        let except = NO_PROXY.into_iter().find_map(value).unwrap_or_default();
        let except = except.split(',').filter_map(|word| Network::parse(word.trim())).take(EXCEPTIONS);
        Ok(Self { proxy: Some(proxy), except: except.collect() })
    }

    /// The proxy by which `target` is reached, if it is reached by one.
    #[must_use]
    pub fn towards(&self, target: SocketAddr) -> Option<&Proxy> {
        let ip = target.ip().to_canonical();
        self.proxy.as_ref().filter(|_| !self.except.iter().any(|network| network.contains(ip)))
    }
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    All,
    V4(u32, u32),
    V6(u128, u32),
}

impl Network {
    fn parse(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::All);
        }
        let (ip, bits) = word.split_once('/').map_or((word, None), |(ip, bits)| (ip, Some(bits)));
        let bits = bits.map(|bits| bits.parse::<u32>()).transpose().ok()?;
        match ip.trim_matches(['[', ']']).parse().ok()? {
            IpAddr::V4(ip) => bits.unwrap_or(32).le(&32).then(|| Self::V4(ip.to_bits(), bits.unwrap_or(32))),
            IpAddr::V6(ip) => {
                bits.unwrap_or(128).le(&128).then(|| Self::V6(ip.to_bits(), bits.unwrap_or(128)))
            }
        }
    }

    fn contains(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Self::All, _) => true,
            (Self::V4(network, bits), IpAddr::V4(ip)) => {
                (network ^ ip.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (Self::V6(network, bits), IpAddr::V6(ip)) => {
                (network ^ ip.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
            }
            (Self::V4(..), IpAddr::V6(_)) | (Self::V6(..), IpAddr::V4(_)) => false,
        }
    }
}

const PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Words of `NO_PROXY` that are looked at.
const EXCEPTIONS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&'static str, &str)]) -> Result<Proxies, EnvironmentFault> {
        Proxies::from_environment(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn towards(proxies: &Proxies, target: &str) -> Option<String> {
        proxies.towards(target.parse().unwrap()).map(|proxy| proxy.name().to_string())
    }

    #[test]
    fn the_first_variable_that_is_set_names_the_proxy() {
        let two = [("ALL_PROXY", "socks5://b:2"), ("https_proxy", "http://a:1"), ("HTTPS_PROXY", "")];
        assert_eq!(towards(&read(&two).unwrap(), "192.0.2.1:443"), Some("http://a:1".to_owned()));
        assert_eq!(towards(&read(&two[..1]).unwrap(), "192.0.2.1:443"), Some("socks5://b:2".to_owned()));
        assert_eq!(read(&[]), Ok(Proxies::none()));
    }

    #[test]
    fn addresses_and_networks_are_reached_without_it_and_no_others() {
        let except = "localhost, .acme.example,192.0.2.0/24, 10.1.2.3,[2001:db8::]/32,0.0.0.0/33,";
        let proxies = read(&[("HTTPS_PROXY", "a:1"), ("no_proxy", except)]).unwrap();
        for (target, is_direct) in [
            ("192.0.2.255:443", true),
            ("192.0.3.0:443", false),
            ("10.1.2.3:1", true),
            ("10.1.2.4:1", false),
            ("[2001:db8:1::1]:443", true),
            ("[2001:db9::1]:443", false),
            ("[::ffff:192.0.2.7]:443", true),
        ] {
            assert_eq!(towards(&proxies, target).is_none(), is_direct, "{target}");
        }
        let all = read(&[("HTTPS_PROXY", "a:1"), ("NO_PROXY", "*")]).unwrap();
        assert_eq!(towards(&all, "192.0.2.1:443"), None);
        let zero = read(&[("HTTPS_PROXY", "a:1"), ("NO_PROXY", "0.0.0.0/0")]).unwrap();
        assert_eq!(towards(&zero, "192.0.2.1:443"), None);
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_named() {
        let fault = read(&[("ALL_PROXY", "https://secret:word@a:1")]).unwrap_err().to_string();
        assert_eq!(
            fault,
            "the environment variable `ALL_PROXY` names no proxy: TLS to the proxy itself (`https://`) is not spoken; \
             expected is `http://`, which carries TLS all the same"
        );
    }
}
