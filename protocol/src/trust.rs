//! From received bytes to values that the right keys have signed.
//!
//! 1. [`keys`]: ed25519, with weak keys refused wherever one enters.
//! 2. [`envelope`]: the frame around every signed object, and the numbered steps of its verification.
//! 3. [`root`]: which keys may sign what.
//! 4. [`fingerprint`]: a key as people compare it.
//! 5. [`next_key`]: how a device announces its next key.
//! 6. [`pass`]: a user's signed identity, and how it becomes a [`Subject`].
//! 7. [`receipt`]: what a device says of tunnels that it stopped.
//! 8. [`sealed`]: secrets that only one device can open.
//! 9. [`timestamp`]: what time it is and what is newest.
//!
//! The words are TUF's (The Update Framework 1.0.34): root, role, threshold, version, expiry, rollback.

pub mod digest;
pub mod envelope;
pub mod fingerprint;
pub mod keys;
pub mod lock;
pub mod mac;
pub mod next_key;
pub mod pass;
pub mod receipt;
pub mod root;
pub mod sealed;
pub mod timestamp;

pub use digest::Digest;
pub use envelope::{Domain, Envelope, EnvelopeFault, Signed};
pub use fingerprint::{Fingerprint, FingerprintFault};
pub use keys::{KeyFault, PublicKey, SecretKey, Signature};
pub use lock::{Lock, LockFault, LockTarget};
pub use mac::Mac;
pub use next_key::NextKey;
pub use pass::{Channel, Factor, Method, Narrowing, Pass, PassFault, Proof, Subject};
pub use receipt::{CutCause, Receipt, ReceiptFault, ReceiptId, SignedReceipt};
pub use root::{Role, RoleKeys, Root, RootFault};
pub use timestamp::{Nonce, Timestamp, TimestampFault};
