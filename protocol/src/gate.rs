//! What flows inside of a permitted stream: one state machine for each protocol whose access has levels.
//!
//! 1. [`rfb`]: a screen (VNC), fully or only to look at.
//! 2. [`http`]: web pages (HTTP/1.1), request by request.
//! 3. [`websocket`]: live connections of web pages, frame by frame.
//! 4. [`flow`] and [`modbus`]: flows of a VPN, and those that speak Modbus request by request. [`discovery`]: whom they could go to.
//! 5. [`packet`]: packets of a VPN, one by one, with the flows that they belong to.
//!
//! A gate knows nothing of users, grants and time: it is told a mode and the rules of its service and keeps to them,
//! whatever either peer sends.

pub mod discovery;
pub mod flow;
pub mod http;
pub mod modbus;
pub mod packet;
pub mod rfb;
pub mod websocket;
