//! The product from end to end: real processes, real QUIC on loopback, real databases, one world for each test.
//!
//! A test starts what it needs, does what people do, and looks at what people and the audit see. The suites:
//! [`setup`] (from nothing to a first model), [`gate`] (who gets in), [`access_model`] (by which case, membership or deny), [`approvals`] (by whose word), [`cases`] (for as long as the machine's company says), [`administration`] (by the edits of those who may), [`roles`] (which those are), [`races`] (also at once), [`examples`] (as the worked examples say), [`sign_in`] (for less, and no more), [`single_sign_on`] (with the identity of one's own company), [`step_up`] (with a second factor,
//! again and again), [`secrets`] (sealed to the device), [`prompts`] (typed unseen), [`revocation`] (who is thrown out, and how fast), [`cuts`] (for every cause, whatever is open), [`offline`] (without the hub), [`nearby`] (on the machine network itself), [`doctor`] (what stands in the way), [`device_life`] (a device that changes hands, keys and state), [`hostile`] (bad
//! input), [`audit`] (what is recorded), [`trail`] (how it comes to the cloud, and what a file of it is worth), [`reading`] (who sees what of it, and is seen), [`bad_relay`] (what a relay in bad hands can do), [`canary`] (no secret in any log), [`floods`] (what works goes on), [`bad_networks`] (what tunnels live through), [`nats`] (between routers that translate addresses), [`discovery`] (what is behind the device), [`vpn`] (the machine network over an adapter), [`packets`] (the same with packets as they are), [`paths`] (over bad ways,
//! and two plants with the same addresses), [`ladder`] (where UDP, or all but a proxy, is blocked), [`crash`] (what a sudden end leaves behind), [`plant`] (what these two share), [`mail`] (letters, and a mail server of others), [`monitoring`] (what an operator watches), [`database`] (its state on a server), [`crowd`] (many agents at one hub), [`versions`] (while it is replaced), [`peers`] and [`gnutls`]
//! (software of others), [`arm`] (the agent of a router)
//! and [`lab`] (the laboratory itself).

// Failing is what tests are for; the lints that keep the product from panicking do not fit them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

mod end_to_end {
    pub(crate) mod access_model;
    mod administration;
    pub(crate) mod approvals;
    pub(crate) mod arm;
    pub(crate) mod audit;
    pub(crate) mod bad_networks;
    pub(crate) mod bad_relay;
    pub(crate) mod canary;
    pub(crate) mod cases;
    pub(crate) mod crash;
    mod crowd;
    pub(crate) mod cuts;
    mod database;
    pub(crate) mod device_life;
    pub(crate) mod discovery;
    pub(crate) mod doctor;
    mod examples;
    pub(crate) mod explain;
    pub(crate) mod floods;
    pub(crate) mod gate;
    pub(crate) mod gnutls;
    mod history;
    pub(crate) mod hostile;
    mod hubs;
    mod invitations;
    pub(crate) mod lab;
    pub(crate) mod ladder;
    pub(crate) mod mail;
    mod monitoring;
    pub(crate) mod nats;
    pub(crate) mod nearby;
    pub(crate) mod offline;
    pub(crate) mod packets;
    pub(crate) mod paths;
    pub(crate) mod peers;
    pub(crate) mod plant;
    pub(crate) mod prompts;
    mod races;
    mod reading;
    pub(crate) mod relay;
    pub(crate) mod revocation;
    mod roles;
    pub(crate) mod roots;
    pub(crate) mod secrets;
    pub(crate) mod setup;
    pub(crate) mod sign_in;
    mod single_sign_on;
    pub(crate) mod stage;
    pub(crate) mod step_up;
    mod trail;
    mod versions;
    pub(crate) mod vpn;
}
