//! Secrets that the policy's rules name and that the device cannot use: said when the policy comes into force, and not when
//! somebody stands before the machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use postern_protocol::name::Name;
use postern_protocol::policy::Rules;

use super::Secrets;

/// A secret that is wanted and is not there, or does not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanting {
    /// Its name.
    pub(crate) name: Name,
    /// The services whose rules name it, ascending.
    pub(crate) services: Vec<Name>,
    /// What is wrong.
    pub(crate) problem: String,
}

impl Secrets {
    /// What the policy in force needs and the device cannot use, ascending by name.
    pub(crate) fn wanting(&self) -> Vec<Wanting> {
        let policy = self.gate.policy();
        let mut wanted: BTreeMap<&Name, Vec<Name>> = BTreeMap::new();
        for service in policy.iter().flat_map(|policy| &policy.snapshot().services) {
            if let Some(secret) = service.reach.rules().and_then(Rules::secret) {
                wanted.entry(secret).or_default().push(service.name.clone());
            }
        }
        let wanting = wanted.into_iter().filter_map(|(name, services)| {
            let problem = self.reveal(name).err()?.to_string();
            Some(Wanting { name: name.clone(), services, problem })
        });
        wanting.collect()
    }

    /// Says so in the log, in one line whatever is missing.
    pub(crate) fn report_wanting(&self, version: u64) {
        let wanting = self.wanting();
        let Some(first) = wanting.first() else { return };
        let (service, reason) =
            (first.services.first().map(Name::to_string).unwrap_or_default(), &first.problem);
        let count = wanting.len();
        tracing::warn!(
            version,
            service,
            reason,
            count,
            "secrets that the policy's services need cannot be used; `postern-agent status` lists them"
        );
    }
}
