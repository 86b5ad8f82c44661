//! The press's web pages: a dashboard with live values, a maintenance page and a machine-info page.
//!
//! 1. [`serve`] answers until the press stops; then idle connections close and live ones end.
//! 2. Each page is one self-contained document: style, script and first values are inside.
//! 3. `/live` is a WebSocket with the readings five times a second; `/api/values` is the same, once.
//! 4. The first answer sets a session cookie for the whole site, and every link starts at the root, as machines' pages do.
//!
//! Deliberately absent: a log-in, and any link to another host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use self::page::Page;
use super::live::{MESSAGE_MAX, SEND_EVERY, frame};
use super::process::{Command, Readings};

mod page;

/// Serves the pages until the press stops.
pub(crate) async fn serve(
    listener: TcpListener,
    readings: watch::Receiver<Readings>,
    commands: mpsc::Sender<Command>,
) {
    let mut press = readings.clone();
    let stopped = async move { while press.changed().await.is_ok() {} };
    let site = Site { readings, commands, sessions: Arc::new(AtomicU64::new(1)) };
    let router = Router::new()
        .route("/", get(|site, headers| show(Page::Dashboard, site, headers)))
        .route("/maintenance", get(|site, headers| show(Page::Maintenance, site, headers)))
        .route("/machine-info", get(|site, headers| show(Page::MachineInfo, site, headers)))
        .route("/maintenance/acknowledge", post(acknowledge))
        .route("/api/values", get(values))
        .route("/live", get(live))
        .fallback(async || (StatusCode::NOT_FOUND, "this page does not exist; start at /\n"))
        .with_state(site);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::debug!(%error, "web pages ended");
    }
}

/// What every page shares.
#[derive(Debug, Clone)]
struct Site {
    readings: watch::Receiver<Readings>,
    commands: mpsc::Sender<Command>,
    sessions: Arc<AtomicU64>,
}

async fn show(page: Page, State(site): State<Site>, headers: HeaderMap) -> Response {
    let known = session_of(&headers);
    let session = known.unwrap_or_else(|| site.sessions.fetch_add(1, Ordering::Relaxed));
    let now = site.readings.borrow().clone();
    // Numbers always have a JSON form.
    let trend = serde_json::to_string(&now.pressure_trend_bar).unwrap_or_default();
    let html = page.render(&frame(&now), &trend, session);
    let mut response =
        ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")], html).into_response();
    if known.is_none() {
        let cookie = format!("{COOKIE_NAME}={session}; Path=/; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
    }
    response
}

async fn acknowledge(State(site): State<Site>) -> Response {
    match site.commands.try_send(Command::Acknowledge) {
        Ok(()) => Redirect::to("/maintenance").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the press is busy; try again\n").into_response(),
    }
}

async fn values(State(site): State<Site>) -> Response {
    let json = frame(&site.readings.borrow());
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], json).into_response()
}

async fn live(State(site): State<Site>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| stream(socket, site.readings))
}

/// Sends values until the browser leaves or the press stops.
async fn stream(mut socket: WebSocket, mut readings: watch::Receiver<Readings>) {
    let mut beat = interval(SEND_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let alive = tokio::select! {
            _ = beat.tick() => {
                // The channel closes with the press, whose browsers then see the connection end.
                let text = frame(&readings.borrow_and_update());
                readings.has_changed().is_ok() && socket.send(Message::Text(text.into())).await.is_ok()
            }
            received = socket.recv() => matches!(received, Some(Ok(_))),
        };
        if !alive {
            return;
        }
    }
}

fn session_of(headers: &HeaderMap) -> Option<u64> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .and_then(|(_, value)| value.parse().ok())
}

const COOKIE_NAME: &str = "press7_session";

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures_util::StreamExt;
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_tungstenite::client_async;

    use super::super::Machine;

    /// Sends one request and returns the head and the body of the answer.
    async fn ask(address: SocketAddr, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{request}Host: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn status(head: &str) -> &str {
        head.lines().next().unwrap()
    }

    fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    #[tokio::test]
    async fn every_page_is_complete_in_itself_and_links_from_the_root() {
        let machine = Machine::start(2).await.unwrap();
        for (path, title) in [
            ("/", "<title>Dashboard - press-7</title>"),
            ("/maintenance", "<title>Maintenance - press-7</title>"),
            ("/machine-info", "<title>Machine info - press-7</title>"),
        ] {
            let (head, body) = ask(machine.web, &format!("GET {path} HTTP/1.1\r\n")).await;
            assert_eq!(status(&head), "HTTP/1.1 200 OK");
            assert_eq!(header(&head, "content-type"), Some("text/html; charset=utf-8"));
            assert!(body.contains(title), "{path}");
            assert!(body.contains("\"machine\":\"press-7\""), "{path} has no first values");
            assert!(body.contains("href=\"/machine-info\""), "{path}");
            for outside in ["http://", "https://", "src=", "@import", "{{"] {
                assert!(!body.contains(outside), "{path} contains {outside}");
            }
        }
    }

    #[tokio::test]
    async fn a_page_that_does_not_exist_says_where_to_start() {
        let machine = Machine::start(2).await.unwrap();
        let (head, body) = ask(machine.web, "GET /admin HTTP/1.1\r\n").await;
        assert_eq!(status(&head), "HTTP/1.1 404 Not Found");
        assert_eq!(body, "this page does not exist; start at /\n");
    }

    #[tokio::test]
    async fn a_first_visit_gets_a_cookie_for_the_whole_site_and_a_second_keeps_it() {
        let machine = Machine::start(2).await.unwrap();
        let (head, _) = ask(machine.web, "GET / HTTP/1.1\r\n").await;
        assert_eq!(header(&head, "set-cookie"), Some("press7_session=1; Path=/; HttpOnly; SameSite=Lax"));
        let again = "GET /machine-info HTTP/1.1\r\nCookie: other=9; press7_session=1\r\n";
        let (head, body) = ask(machine.web, again).await;
        assert_eq!(header(&head, "set-cookie"), None);
        assert!(body.contains("<dd>no. 1</dd>"));
    }

    #[tokio::test]
    async fn values_are_the_readings_as_json() {
        let machine = Machine::start(2).await.unwrap();
        let (head, body) = ask(machine.web, "GET /api/values HTTP/1.1\r\n").await;
        assert_eq!(header(&head, "content-type"), Some("application/json"));
        let values: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(values["machine"], "press-7");
        assert_eq!(values["state"], "running");
        assert_eq!(values["pressure_trend_bar"], Value::Null);
    }

    #[tokio::test]
    async fn acknowledging_answers_with_a_redirect_and_reading_it_is_not_allowed() {
        let machine = Machine::start(2).await.unwrap();
        let post = "POST /maintenance/acknowledge HTTP/1.1\r\nContent-Length: 0\r\n";
        let (head, _) = ask(machine.web, post).await;
        assert_eq!(status(&head), "HTTP/1.1 303 See Other");
        assert_eq!(header(&head, "location"), Some("/maintenance"));
        let (head, _) = ask(machine.web, "GET /maintenance/acknowledge HTTP/1.1\r\n").await;
        assert_eq!(status(&head), "HTTP/1.1 405 Method Not Allowed");
    }

    #[tokio::test]
    async fn the_live_socket_sends_values_and_ends_with_the_press() {
        let machine = Machine::start(2).await.unwrap();
        let stream = TcpStream::connect(machine.web).await.unwrap();
        let (mut socket, _) = client_async(format!("ws://{}/live", machine.web), stream).await.unwrap();
        let first = socket.next().await.unwrap().unwrap();
        let values: Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
        assert_eq!(values["machine"], "press-7");
        drop(machine);
        while let Some(Ok(message)) = socket.next().await {
            assert!(message.is_text());
        }
    }
}
