//! Tells the peers of an earlier run of an endpoint that their connections are gone (RFC 9000 section 10.3).
//!
//! A process that was killed has said nothing. The one that follows it at the same address does not know its connections, and must prove to
//! each peer that it is nobody else who ends them: with a token that the killed one had handed out. Both derive it from one
//! [`ResetSecret`].
//!
//! A secret belongs to one endpoint. Whoever has it can end connections and do nothing else; two endpoints that share one would each answer
//! for connections of the other with the token that ends them, to whoever has seen a packet (section 21.11).

use std::sync::Arc;
use std::time::Duration;

use postern_protocol::trust::Mac;
use quinn::EndpointConfig;
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::HashedConnectionIdGenerator;
use zeroize::Zeroizing;

/// What one endpoint keeps from one run to the next.
#[derive(Clone)]
pub struct ResetSecret(Zeroizing<[u8; 32]>);

impl ResetSecret {
    /// Derived from 32 secret bytes that the endpoint shares with nobody; they may have other uses.
    #[must_use]
    pub fn derive(secret: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*Mac::of(secret, &[LABEL]).as_bytes()))
    }

    /// Ends what an earlier run of the endpoint has left.
    pub(super) fn config(&self) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(ResetKey(self.0.clone())));
        // By which it knows an id of an earlier run from noise, which is not answered.
        let ids = Mac::of(&self.0, &[b"ids"]);
        let ids = ids.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)))
            .min_reset_interval(BETWEEN);
        config
    }
}

impl std::fmt::Debug for ResetSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}

/// HMAC with SHA-256, of which tokens are the first half.
struct ResetKey(Zeroizing<[u8; 32]>);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(Mac::of(&self.0, &[data]).as_bytes());
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if Mac::verifies(&self.0, data, signature) && signature.len() == self.signature_len() {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

const LABEL: &[u8] = b"postern/reset/1";
/// Ten thousand devices hear of it within ten seconds. Each answer is smaller than what it answers.
const BETWEEN: Duration = Duration::from_millis(1);
