//! Builds every TLS configuration of the project: TLS 1.3 with raw public keys (RFC 7250) in both directions.
//!
//! 1. [`Identity`] turns the own ed25519 key into what rustls presents and signs with.
//! 2. [`client_config`] pins the one key that the dialled peer must prove.
//! 3. [`server_config`] demands a key from every peer and accepts any sound one; who that is, is decided above.
//!
//! Nothing is resumed: no session store, no tickets, no early data. A resumed session would skip the verifiers,
//! so a key that was removed could come back in. Deliberately absent: X.509 and TLS 1.2. The configurations name
//! no transport, so the same ones can serve QUIC and TCP.
//!
//! Machines behind the gate are no peers of Postern: what they are spoken to with is in `machine` alone. TLS that hides
//! QUIC from firewalls is no protection: it is in `outer` alone.

mod fault;
mod identity;
mod machine;
mod outer;
mod verify;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use postern_protocol::trust::keys::{PublicKey, SecretKey};

pub use self::fault::TlsFault;
pub(crate) use self::identity::{Identity, proved_key};
pub use self::machine::{MachineStream, MachineTlsFault};
pub use self::outer::{OuterAcceptor, OuterFault, OuterStream};
use self::verify::AnySoundKey;
pub(crate) use self::verify::PinnedKey;

/// The configuration for dialling the holder of `expected`, and the pin that remembers another key if one came.
pub(crate) fn client_config(
    identity: &Identity,
    expected: PublicKey,
    alpns: &[&[u8]],
) -> (Arc<ClientConfig>, Arc<PinnedKey>) {
    let pin = Arc::new(PinnedKey::new(expected));
    #[expect(
        clippy::expect_used,
        reason = "fails only for a provider without a TLS 1.3 suite, and ours is fixed"
    )]
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 suites")
        .dangerous() // rustls' word for any verifier of one's own
        .with_custom_certificate_verifier(Arc::clone(&pin) as _)
        .with_client_cert_resolver(identity.for_client());
    config.alpn_protocols = alpns.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false; // the peer is named by its key; a name would only tell observers something
    (Arc::new(config), pin)
}

/// The configuration for admitting peers that speak one of `alpns`.
pub(crate) fn server_config(identity: &Identity, alpns: &[Vec<u8>]) -> Arc<ServerConfig> {
    server_config_with(identity, alpns, Arc::new(AnySoundKey))
}

/// What this project demands of everyone who dials, for a listener over TCP: software of others that knows raw public
/// keys but no QUIC is tried against exactly this.
#[must_use]
pub fn server_tls(key: &SecretKey, alpns: &[&[u8]]) -> Arc<ServerConfig> {
    let alpns: Vec<Vec<u8>> = alpns.iter().map(|name| name.to_vec()).collect();
    server_config(&Identity::new(key), &alpns)
}

fn server_config_with(
    identity: &Identity,
    alpns: &[Vec<u8>],
    verifier: Arc<dyn ClientCertVerifier>,
) -> Arc<ServerConfig> {
    #[expect(
        clippy::expect_used,
        reason = "fails only for a provider without a TLS 1.3 suite, and ours is fixed"
    )]
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 suites")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity.for_server());
    config.alpn_protocols = alpns.to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    // The weaker processor decides: without AES instructions our order wins, otherwise the client's does.
    config.ignore_client_order = !has_aes_instructions();
    Arc::new(config)
}

/// ring with X25519 alone and the suites in the order that this processor is fast at.
///
/// On a Cortex-A7 ring reaches 166 Mbit/s with ChaCha20-Poly1305 and 73 with AES-128-GCM (1200-byte packets).
/// AES-128-GCM stays in the list in any case: QUIC protects its Initial packets with it (RFC 9001 section 5.2).
fn provider() -> Arc<CryptoProvider> {
    use ring::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    let cipher_suites = if has_aes_instructions() {
        vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256]
    } else {
        vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384]
    };
    Arc::new(CryptoProvider {
        cipher_suites,
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    })
}

/// Asked at run time, because aarch64 boards come with and without them (a Raspberry Pi 4 has none).
fn has_aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

#[cfg(test)]
mod tests;
