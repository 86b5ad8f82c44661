//! A real Chromium without a window, driven over the DevTools protocol.
//!
//! 1. [`Browser::start`] runs it with a profile of its own and opens one empty page.
//! 2. [`Browser::open`] goes somewhere and waits until the page has loaded.
//! 3. [`Browser::value`] evaluates a JavaScript expression there, promises included; [`Browser::until`] waits until one is
//!    true; [`Browser::picture`] is what a person would see.
//!
//! Dropping it ends the browser.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use futures_util::{SinkExt, StreamExt};
use postern_tests::world::probe::within;
use postern_tests::world::{Call, Mishap, Running, Stream};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// One browser with one page.
#[derive(Debug)]
pub(crate) struct Browser {
    socket: WebSocketStream<TcpStream>,
    /// The page, as the protocol calls it.
    session: Value,
    last: u64,
    _running: Running,
}

impl Browser {
    /// Starts `program` with its profile below `room`.
    pub(crate) async fn start(program: &Path, room: &Path) -> Result<Self, Mishap> {
        let profile = format!("--user-data-dir={}", room.join("browser").display());
        let running = Call::new(program).args(FLAGS).arg(profile).arg("about:blank").start("chromium")?;
        let prefix = "DevTools listening on ";
        let line = running
            .line("an address", |line| line.stream == Stream::Err && line.text.starts_with(prefix))
            .await?;
        let url = line.text.trim_start_matches(prefix).to_owned();
        let mut limits = WebSocketConfig::default();
        limits.max_message_size = Some(ANSWER_MAX);
        limits.max_frame_size = Some(ANSWER_MAX);
        let address = url.split('/').nth(2).unwrap_or_default().to_owned();
        let (socket, _) = within("a connection to the browser", async {
            let stream = TcpStream::connect(address).await?;
            let connected = client_async_with_config(url, stream, Some(limits)).await;
            connected.map_err(|error| Mishap::unexpected("the browser", error, "a connection"))
        })
        .await?;
        let mut browser = Self { socket, session: Value::Null, last: 0, _running: running };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        browser.session = browser.ask("Target.attachToTarget", attach).await?["sessionId"].take();
        browser.ask("Page.enable", json!({})).await?;
        Ok(browser)
    }

    /// Goes to `url` and waits until the page has loaded.
    pub(crate) async fn open(&mut self, url: &str) -> Result<(), Mishap> {
        let answer = self.ask("Page.navigate", json!({ "url": url })).await?;
        if let Some(error) = answer.get("errorText") {
            return Err(Mishap::unexpected(format!("opening {url}"), error, "a page"));
        }
        // An expression waits for the new document by itself, but not for all that it loads.
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'").await
    }

    /// What an expression, or the promise that it yields, comes to.
    pub(crate) async fn value(&mut self, expression: &str) -> Result<Value, Mishap> {
        let params = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let mut answer = self.ask("Runtime.evaluate", params).await?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            return Err(Mishap::unexpected(expression, thrown, "a value"));
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true, also across pages.
    pub(crate) async fn until(&mut self, expression: &str) -> Result<(), Mishap> {
        let what = format!("`{expression}` in the browser");
        within(&what, async {
            // While one page goes and the next comes, there is nothing to evaluate anything in.
            while !self.value(expression).await.is_ok_and(|value| value == true) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        })
        .await
    }

    /// What the page looks like, as PNG.
    pub(crate) async fn picture(&mut self) -> Result<Vec<u8>, Mishap> {
        let answer = self.ask("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let text = answer["data"].as_str().unwrap_or_default();
        BASE64.decode(text.as_bytes()).map_err(|error| Mishap::unexpected("a picture", error, "base 64"))
    }

    /// Moves and clicks the mouse at a point of the page, as a person does.
    pub(crate) async fn click(&mut self, x: u32, y: u32) -> Result<(), Mishap> {
        for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let params = json!({
                "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1,
            });
            self.ask("Input.dispatchMouseEvent", params).await?;
        }
        Ok(())
    }

    /// Presses and releases a key that writes `letter`.
    pub(crate) async fn key(&mut self, letter: char) -> Result<(), Mishap> {
        let upper = letter.to_ascii_uppercase();
        for kind in ["keyDown", "keyUp"] {
            let params = json!({
                "type": kind, "key": letter.to_string(), "text": letter.to_string(), "code": format!("Key{upper}"),
                "windowsVirtualKeyCode": u32::from(upper),
            });
            self.ask("Input.dispatchKeyEvent", params).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, method: &str, params: Value) -> Result<Value, Mishap> {
        self.last += 1;
        let id = self.last;
        let mut call = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_null() {
            call["sessionId"] = self.session.clone();
        }
        let wrong = |seen: String| Mishap::unexpected(method, seen, "an answer");
        self.socket.send(Message::text(call.to_string())).await.map_err(|error| wrong(error.to_string()))?;
        within(method, async {
            loop {
                let message = self.socket.next().await.ok_or_else(|| wrong("the end".to_owned()))?;
                let message = message.map_err(|error| wrong(error.to_string()))?;
                let Ok(text) = message.to_text() else { continue };
                let Ok(mut answer) = serde_json::from_str::<Value>(text) else { continue };
                // Everything else is news that nobody asked for.
                if answer["id"] == id {
                    return match answer.get("error") {
                        Some(error) => Err(wrong(error.to_string())),
                        None => Ok(answer["result"].take()),
                    };
                }
            }
        })
        .await
    }
}

const FLAGS: [&str; 14] = [
    "--headless",
    "--remote-debugging-port=0",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    // A name of somebody else that was made to point here.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--window-size=1000,720",
];

/// Bytes of the longest answer: a picture.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// A page cannot tell when something in it has become true.
const LOOK_EVERY: Duration = Duration::from_millis(50);
