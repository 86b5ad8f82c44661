//! The real program against a hub and a device on loopback that speak the real protocol.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[cfg(target_os = "linux")]
#[path = "client/adapter.rs"]
mod adapter;
#[path = "client/admin.rs"]
mod admin;
#[path = "client/device.rs"]
mod device;
#[path = "client/directory.rs"]
mod directory;
#[path = "client/discover.rs"]
mod discover;
#[path = "client/documents.rs"]
mod documents;
#[path = "client/forward.rs"]
mod forward;
#[path = "client/history.rs"]
mod history;
#[path = "client/hub.rs"]
mod hub;
#[path = "client/invite.rs"]
mod invite;
#[path = "client/machines.rs"]
mod machines;
#[cfg(target_os = "linux")]
#[path = "client/namespace.rs"]
mod namespace;
#[path = "client/panel.rs"]
mod panel;
#[path = "client/proxy.rs"]
mod proxy;
#[path = "client/replay.rs"]
mod replay;
#[path = "client/sessions.rs"]
mod sessions;
#[path = "client/sign_in.rs"]
mod sign_in;
#[path = "client/step_up.rs"]
mod step_up;
#[path = "client/tunnels.rs"]
mod tunnels;
#[path = "client/web.rs"]
mod web;
#[path = "client/world.rs"]
mod world;
