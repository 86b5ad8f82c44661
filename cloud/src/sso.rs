//! Single sign-on: asks identity providers who somebody is (OpenID Connect Core 1.0).
//!
//! 1. [`Providers::read`] reads `sso.toml` in the state directory: whom the installation believes, and about whom.
//! 2. [`Provider::authorize`] says where a browser on the user's computer goes (authorization code with PKCE, RFC 7636), and
//!    [`Provider::redeem`] trades the code that comes back for an ID token.
//! 3. [`Provider::begin_elsewhere`] and [`Provider::await_elsewhere`] do the same with a browser anywhere else (RFC 8628).
//! 4. [`Evidence`] is what a verified ID token says; what it is [worth](evidence) as factors of a pass is decided without asking anyone.
//!
//! A provider vouches for identities, which are a pair of issuer and subject and never an address of e-mail; which user an identity is
//! decides the [login](crate::login). Deliberately absent: refresh tokens, user info and everything else that a provider knows. Access
//! tokens are dropped unread.

mod config;
mod evidence;
mod pending;
mod provider;
mod web;

pub use self::config::{ConfigError, Fault, Settings};
pub(crate) use self::evidence::{Evidence, Unfit};
pub(crate) use self::pending::{Asking, Attempt, Signing, Way};
pub(crate) use self::provider::Demand;
pub use self::provider::{Provider, SsoError};

use std::path::Path;
use std::sync::Arc;

use postern_protocol::name::Name;

/// The providers of an installation.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    list: Arc<[Arc<Provider>]>,
}

impl Providers {
    /// Reads `sso.toml`; without the file there is none.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the provider and the entry.
    pub fn read(state: &Path) -> Result<Self, ConfigError> {
        let list = config::read(state)?
            .into_iter()
            .map(|settings| Provider::new(settings).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self { list })
    }

    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.list.iter()
    }

    /// The one of a name, or the only one there is.
    pub(crate) fn named(&self, name: Option<&Name>) -> Option<&Arc<Provider>> {
        match (name, &*self.list) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), list) => list.iter().find(|provider| provider.settings().name == *name),
        }
    }
}
