//! What is said on the wire: messages, their numbers and their exact encoding. `docs/wire.md` is normative.
//!
//! 1. [`codec`]: bytes to values and back, one spelling for each value.
//! 2. [`registry`]: every number in one place: protocol names, refusals, close codes, answers to pushes.
//! 3. [`tunnel`]: client and agent.
//! 4. [`flow`]: flows of a VPN.
//! 5. [`discovery`]: what is on the machine network.
//! 6. [`hub`]: client and hub (login), agent and hub (enrolment).
//! 7. [`control`]: agent and hub (synchronisation of policy).
//! 8. [`relay`]: both ends of a meeting and a relay that reads nothing.
//! 9. [`nearby`]: how a device is found on a network, over multicast DNS.
//! 10. [`sessions`]: what a hub says of sessions that were.
//! 11. [`approval`], [`case`] and [`administration`]: what people ask of a hub for others, and for the model of who may what.
//! 12. [`invitation`]: the code that an installer or an invited user pastes.

pub mod administration;
pub mod approval;
pub mod approval_code;
mod bounded;
pub mod case;
pub mod codec;
pub mod control;
pub mod discovery;
pub mod flow;
pub mod hub;
pub mod invitation;
pub mod nearby;
pub mod registry;
pub mod relay;
pub mod sessions;
pub mod sign_on;
pub mod text;
pub mod tunnel;
