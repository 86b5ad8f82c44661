//! What a person's tools do at the near end of a tunnel: load a page, listen to live values, look at a panel.
//!
//! Each probe speaks the real protocol of its kind and yields what it saw, so that a tunnel that carries nothing, or
//! the wrong machine's bytes, cannot pass for a working one.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::mishap::Mishap;
use super::near::Near;
use crate::machine::rfb_client::{Picture, RfbClient};

/// An answer over HTTP/1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status line's number.
    pub status: u16,
    /// Everything after the header.
    pub body: String,
}

/// Loads `path`.
///
/// # Errors
/// When the connection fails or the answer is no HTTP.
pub async fn http_page(near: impl Into<Near>, path: &str) -> Result<Page, Mishap> {
    let near = near.into();
    within("an HTTP answer", async {
        let mut stream = TcpStream::connect(near.address).await?;
        let request = near.head("GET", path, "Connection: close\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        parse_page(&answer).ok_or_else(|| {
            let start: String = answer.chars().take(80).collect();
            Mishap::unexpected("the answer", format!("`{start}`"), "HTTP/1.1")
        })
    })
    .await
}

/// Reads one text frame of live values, sends `word` and waits for its echo; yields both frames.
///
/// # Errors
/// When the upgrade fails or the frames do not come.
pub async fn websocket_talk(near: impl Into<Near>, word: &str) -> Result<(String, String), Mishap> {
    let near = near.into();
    within("two WebSocket frames", async {
        let mut socket = websocket(near).await?;
        let values = next_text(&mut socket).await?;
        let sent = socket.send(Message::text(word)).await;
        sent.map_err(|error| Mishap::unexpected("a sent frame", error, "success"))?;
        loop {
            let text = next_text(&mut socket).await?;
            if text.contains("echo") {
                return Ok((values, text));
            }
        }
    })
    .await
}

/// Upgrades to a WebSocket.
///
/// # Errors
/// When the connection or the upgrade fails.
pub async fn websocket(near: impl Into<Near>) -> Result<WebSocketStream<TcpStream>, Mishap> {
    let near = near.into();
    let stream = TcpStream::connect(near.address).await?;
    let key = near.key.map(|key| format!("?postern={key}")).unwrap_or_default();
    let upgraded = client_async(format!("ws://{}/{key}", near.host), stream).await;
    let (socket, _) = upgraded.map_err(|error| Mishap::unexpected("the upgrade", error, "a WebSocket"))?;
    Ok(socket)
}

/// Connects as a VNC viewer and takes one full picture.
///
/// # Errors
/// When the handshake fails or the picture does not come.
pub async fn vnc_picture(address: SocketAddr) -> Result<(String, Picture), Mishap> {
    within("a picture", async {
        let stream = TcpStream::connect(address).await?;
        let fault = |fault| Mishap::unexpected("the panel", fault, "a picture");
        let mut viewer = RfbClient::connect(stream).await.map_err(fault)?;
        let picture = viewer.snapshot().await.map_err(fault)?.clone();
        Ok((viewer.name().to_owned(), picture))
    })
    .await
}

async fn next_text(
    socket: &mut (impl StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin),
) -> Result<String, Mishap> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Mishap::unexpected("the WebSocket", error, "a text frame")),
            None => return Err(Mishap::unexpected("the WebSocket", "its end", "a text frame")),
        }
    }
}

/// Gives an exchange at the near end [`PROBE_WITHIN`].
///
/// # Errors
/// Its own, or that it took too long.
pub async fn within<T>(what: &str, exchange: impl Future<Output = Result<T, Mishap>>) -> Result<T, Mishap> {
    timeout(PROBE_WITHIN, exchange).await.unwrap_or_else(|_| {
        Err(Mishap::Deadline { what: what.to_owned(), within: PROBE_WITHIN, seen: String::new() })
    })
}

fn parse_page(answer: &str) -> Option<Page> {
    let (header, body) = answer.split_once("\r\n\r\n")?;
    let status = header.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Page { status, body: body.to_owned() })
}

/// Time for one exchange.
pub const PROBE_WITHIN: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::world::Carries;

    #[tokio::test]
    async fn probes_see_the_machine_itself_when_nothing_is_between() {
        let machine = Machine::start(7).await.unwrap();
        let page = http_page(machine.web, "/api/values").await.unwrap();
        assert_eq!(page.status, 200);
        assert!(page.body.contains("press-7"), "{}", page.body);
        let live = Near { carries: Carries::Websocket, ..Near::from(machine.live) };
        let (values, echo) = websocket_talk(live, "hello").await.unwrap();
        assert!(values.contains("press-7"), "{values}");
        assert_eq!(echo, r#"{"echo":"hello"}"#);
        let (_, picture) = vnc_picture(machine.vnc).await.unwrap();
        assert_eq!((picture.width(), picture.height()), (640, 400));
    }

    #[test]
    fn an_answer_that_is_no_http_is_no_page() {
        assert_eq!(parse_page("RFB 003.008\n"), None);
        let page = Page { status: 404, body: "none".into() };
        assert_eq!(parse_page("HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nnone"), Some(page));
    }
}
