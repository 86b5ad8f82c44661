//! The real `postern-agent` process between a hub, a machine and clients that the tests play themselves.

#[cfg(test)]
#[path = "agent/abuse.rs"]
mod abuse;
#[cfg(test)]
#[path = "agent/client.rs"]
mod client;
#[cfg(test)]
#[path = "agent/commands.rs"]
mod commands;
#[cfg(test)]
#[path = "agent/digest.rs"]
mod digest;
#[cfg(test)]
#[path = "agent/discovery.rs"]
mod discovery;
#[cfg(test)]
#[path = "agent/enrolment.rs"]
mod enrolment;
#[cfg(test)]
#[path = "agent/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "agent/flows.rs"]
mod flows;
#[cfg(test)]
#[path = "agent/hanging.rs"]
mod hanging;
#[cfg(test)]
#[path = "agent/http.rs"]
mod http;
#[cfg(test)]
#[path = "agent/https.rs"]
mod https;
#[cfg(test)]
#[path = "agent/hub.rs"]
mod hub;
#[cfg(test)]
#[path = "agent/key_life.rs"]
mod key_life;
#[cfg(test)]
#[path = "agent/kills.rs"]
mod kills;
#[cfg(test)]
#[path = "agent/locks.rs"]
mod locks;
#[cfg(test)]
#[path = "agent/machine.rs"]
mod machine;
#[cfg(test)]
#[path = "agent/meetings.rs"]
mod meetings;
#[cfg(test)]
#[path = "agent/memory.rs"]
mod memory;
#[cfg(test)]
#[path = "agent/packets.rs"]
mod packets;
#[cfg(test)]
#[path = "agent/panel.rs"]
mod panel;
#[cfg(test)]
#[path = "agent/passes.rs"]
mod passes;
#[cfg(test)]
#[path = "agent/policy.rs"]
mod policy;
#[cfg(test)]
#[path = "agent/receipts.rs"]
mod receipts;
#[cfg(test)]
#[path = "agent/recordings.rs"]
mod recordings;
#[cfg(test)]
#[path = "agent/returns.rs"]
mod returns;
#[cfg(test)]
#[path = "agent/revocation.rs"]
mod revocation;
#[cfg(test)]
#[path = "agent/sandbox.rs"]
mod sandbox;
#[cfg(test)]
#[path = "agent/secrets.rs"]
mod secrets;
#[cfg(test)]
#[path = "agent/site.rs"]
mod site;
#[cfg(test)]
#[path = "agent/step_up.rs"]
mod step_up;
#[cfg(test)]
#[path = "agent/thefts.rs"]
mod thefts;
#[cfg(test)]
#[path = "agent/time.rs"]
mod time;
#[cfg(test)]
#[path = "agent/tuf.rs"]
mod tuf;
#[cfg(test)]
#[path = "agent/tunnels.rs"]
mod tunnels;
#[cfg(test)]
#[path = "agent/vnc.rs"]
mod vnc;
#[cfg(test)]
#[path = "agent/web.rs"]
mod web;
#[cfg(test)]
#[path = "agent/websocket.rs"]
mod websocket;
#[cfg(test)]
#[path = "agent/world.rs"]
mod world;
