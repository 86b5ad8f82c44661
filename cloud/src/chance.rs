//! Randomness, straight from the operating system.

/// `N` random bytes.
///
/// # Panics
/// When the operating system has no randomness: no key, id or code can be made then.
#[expect(
    clippy::expect_used,
    reason = "without randomness nothing secret can be made, and no caller can repair that"
)]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}
