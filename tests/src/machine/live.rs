//! The stand-alone WebSocket service of the press: a text frame of values five times a second, and an echo.
//!
//! 1. Each connection upgrades within a deadline.
//! 2. Values are sent on a fixed beat, as the JSON text of the readings.
//! 3. A text that the peer sends comes back as `{"echo":"..."}`; a binary message comes back as it is.
//!
//! Deliberately absent: subscriptions and commands; the panel and the maintenance page take those.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::process::Readings;

/// Serves until the task is aborted, which also ends every connection.
pub(crate) async fn serve(listener: TcpListener, readings: watch::Receiver<Readings>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let readings = readings.clone();
        connections.spawn(async move {
            if let Err(error) = converse(stream, readings).await {
                tracing::debug!(%peer, %error, "live connection ended");
            }
            drop(seat);
        });
    }
}

/// The text of one frame of values.
pub(crate) fn frame(readings: &Readings) -> String {
    // Readings hold numbers and fixed words, which always have a JSON form.
    serde_json::to_string(readings).unwrap_or_default()
}

async fn converse(stream: TcpStream, readings: watch::Receiver<Readings>) -> Result<(), Error> {
    let mut limits = WebSocketConfig::default();
    limits.max_message_size = Some(MESSAGE_MAX);
    limits.max_frame_size = Some(MESSAGE_MAX);
    let upgrade = timeout(UPGRADE_WITHIN, accept_async_with_config(stream, Some(limits)));
    let Ok(upgraded) = upgrade.await else { return Ok(()) };
    let mut socket = upgraded?;
    let mut beat = interval(SEND_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let answer = tokio::select! {
            _ = beat.tick() => Message::text(frame(&readings.borrow())),
            received = socket.next() => match received {
                None => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok(Message::Text(text))) => Message::text(json!({ "echo": text.as_str() }).to_string()),
                Some(Ok(Message::Binary(bytes))) => Message::Binary(bytes),
                // The library answers pings and closes by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => continue,
            },
        };
        socket.send(answer).await?;
    }
}

/// How often values are sent.
pub(crate) const SEND_EVERY: Duration = Duration::from_millis(200);

/// Longest message that is accepted, in bytes.
pub(crate) const MESSAGE_MAX: usize = 64 * 1024;

const UPGRADE_WITHIN: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio_tungstenite::{WebSocketStream, client_async};

    use super::super::Machine;
    use super::*;

    async fn connected(machine: &Machine) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(machine.live).await.unwrap();
        client_async(format!("ws://{}/", machine.live), stream).await.unwrap().0
    }

    async fn next_json(socket: &mut WebSocketStream<TcpStream>) -> Value {
        serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn values_arrive_without_being_asked_for() {
        let machine = Machine::start(3).await.unwrap();
        let mut socket = connected(&machine).await;
        for _ in 0..2 {
            let values = next_json(&mut socket).await;
            assert_eq!(values["machine"], "press-7");
            assert_eq!(values["state"], "running");
            assert_eq!(values["zones"][0]["name"], "Nozzle");
        }
    }

    #[tokio::test]
    async fn text_is_echoed_as_json_and_binary_as_it_is() {
        let machine = Machine::start(3).await.unwrap();
        let mut socket = connected(&machine).await;
        socket.send(Message::text("say \"hi\"")).await.unwrap();
        socket.send(Message::binary(vec![0, 255])).await.unwrap();
        let mut echoes = Vec::new();
        while echoes.len() < 2 {
            let message = socket.next().await.unwrap().unwrap();
            let values = message.to_text().is_ok_and(|text| text.contains("press-7"));
            if !values {
                echoes.push(message);
            }
        }
        assert_eq!(echoes, [Message::text(r#"{"echo":"say \"hi\""}"#), Message::binary(vec![0, 255])]);
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_ends_the_connection() {
        let machine = Machine::start(3).await.unwrap();
        let mut socket = connected(&machine).await;
        // The other end may reset before everything is written; either way it stops answering.
        let _sent = socket.send(Message::binary(vec![0; MESSAGE_MAX + 1])).await;
        let mut echoed = false;
        while let Some(Ok(message)) = socket.next().await {
            echoed |= message.is_binary();
        }
        assert!(!echoed);
    }

    #[tokio::test]
    async fn the_press_stopping_ends_the_connection() {
        let machine = Machine::start(3).await.unwrap();
        let mut socket = connected(&machine).await;
        next_json(&mut socket).await;
        drop(machine);
        while let Some(Ok(message)) = socket.next().await {
            assert!(message.is_text());
        }
    }
}
