//! A program with a token at the administration API: one request, one connection, one answer.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::mishap::Mishap;
use super::probe::within;

/// Where the API is, and in whose name it is asked.
#[derive(Clone, Debug)]
pub struct Api {
    pub(super) at: SocketAddr,
    pub(super) token: String,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Api {
    /// Asks, with a body where there is one.
    ///
    /// # Errors
    /// When nobody answers in time, or with something else than HTTP and JSON.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply, Mishap> {
        let body = body.map_or_else(String::new, Value::to_string);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{kind}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.at,
            self.token,
            body.len()
        );
        within("an answer of the API", async {
            let mut stream = TcpStream::connect(self.at).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let wrong = || Mishap::unexpected("the answer of the API", &answer, "HTTP with JSON");
            let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
            Ok(Reply { status, body: serde_json::from_str(body).map_err(|_| wrong())? })
        })
        .await
    }
}
