//! The real `postern-agent` process between a hub, a machine and clients that the tests play themselves.

#[path = "agent/abuse.rs"]
mod abuse;
#[path = "agent/client.rs"]
mod client;
#[path = "agent/commands.rs"]
mod commands;
#[path = "agent/enrolment.rs"]
mod enrolment;
#[path = "agent/faults.rs"]
mod faults;
#[path = "agent/hub.rs"]
mod hub;
#[path = "agent/machine.rs"]
mod machine;
#[path = "agent/policy.rs"]
mod policy;
#[path = "agent/revocation.rs"]
mod revocation;
#[path = "agent/tunnels.rs"]
mod tunnels;
#[path = "agent/world.rs"]
mod world;
