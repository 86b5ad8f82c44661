//! What a verified ID token says, and what it is worth as factors of a pass.

use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Factor, Method};

use super::config::SecondFactor;

/// What a verified ID token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Who, among the identities of the issuer (`sub`).
    pub(crate) subject: String,
    /// By what methods (`amr`, RFC 8176).
    pub(crate) methods: Vec<String>,
    /// In what class (`acr`).
    pub(crate) class: Option<String>,
    /// When the person proved it (`auth_time`); some providers do not say.
    pub(crate) at: Option<UnixTime>,
}

/// Evidence that is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The person signed in there longer ago than the hub asked for.
    Old,
    /// By the provider's clock, the person signs in later than now.
    Early,
}

impl Evidence {
    /// What it is worth at `now`: the provider's word, and a second factor where the provider says that there was one and when.
    /// Without a time nobody could say how old that one is, so that it is not counted.
    ///
    /// # Errors
    /// [`Unfit`]: older than `within` seconds, or from the future.
    pub(crate) fn factors(
        &self,
        second: &SecondFactor,
        within: u64,
        now: UnixTime,
    ) -> Result<Vec<Factor>, Unfit> {
        if self.at.is_some_and(|at| at.secs_since(now) > SKEW_S) {
            return Err(Unfit::Early);
        }
        if self.at.is_some_and(|at| now.secs_since(at) > within.saturating_add(SKEW_S)) {
            return Err(Unfit::Old);
        }
        // No factor may be later than its pass.
        let at = self.at.map(|at| at.min(now));
        let mut factors = vec![Factor { method: Method::Federated, at: at.unwrap_or(now) }];
        let was_second = self.methods.iter().any(|method| second.amr.contains(method))
            || self.class.as_ref().is_some_and(|class| second.acr.contains(class));
        factors.extend(at.filter(|_| was_second).map(|at| Factor { method: Method::FederatedSecond, at }));
        Ok(factors)
    }
}

/// How much clocks may differ.
const SKEW_S: u64 = 60;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn evidence(methods: &[&str], class: Option<&str>, ago: Option<i64>) -> Evidence {
        let at = ago.map(|ago| UnixTime::from_secs(NOW.as_secs().saturating_add_signed(-ago)));
        Evidence {
            subject: "ida".to_owned(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            class: class.map(str::to_owned),
            at,
        }
    }

    fn methods(evidence: &Evidence, second: &SecondFactor) -> Result<Vec<(Method, u64)>, Unfit> {
        let factors = evidence.factors(second, 3600, NOW)?;
        Ok(factors.into_iter().map(|factor| (factor.method, NOW.secs_since(factor.at))).collect())
    }

    #[test]
    fn a_second_factor_is_what_was_named_and_as_old_as_the_provider_says() {
        let second = SecondFactor::default();
        let both = [(Method::Federated, 600), (Method::FederatedSecond, 600)];
        assert_eq!(methods(&evidence(&["pwd", "mfa"], None, Some(600)), &second).unwrap(), both);
        for single in [&["pwd"][..], &["otp"], &["MFA"], &[]] {
            assert_eq!(
                methods(&evidence(single, Some("mfa"), Some(600)), &second).unwrap(),
                both[..1],
                "{single:?}"
            );
        }
        let class = SecondFactor { amr: BTreeSet::new(), acr: BTreeSet::from(["phrh".to_owned()]) };
        assert_eq!(methods(&evidence(&["mfa"], Some("phrh"), Some(600)), &class).unwrap(), both);
        assert_eq!(methods(&evidence(&["mfa"], None, Some(600)), &class).unwrap(), both[..1]);
    }

    #[test]
    fn without_a_time_there_is_no_second_factor() {
        let second = SecondFactor::default();
        assert_eq!(methods(&evidence(&["mfa"], None, None), &second).unwrap(), [(Method::Federated, 0)]);
    }

    #[test]
    fn what_is_old_or_from_the_future_is_worth_nothing() {
        let second = SecondFactor::default();
        assert!(methods(&evidence(&["mfa"], None, Some(3660)), &second).is_ok());
        assert_eq!(methods(&evidence(&["mfa"], None, Some(3661)), &second), Err(Unfit::Old));
        // A clock that goes before: the factor is used now, and not later.
        assert_eq!(methods(&evidence(&[], None, Some(-60)), &second).unwrap(), [(Method::Federated, 0)]);
        assert_eq!(methods(&evidence(&["mfa"], None, Some(-61)), &second), Err(Unfit::Early));
    }
}
