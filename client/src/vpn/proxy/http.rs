//! HTTP CONNECT (RFC 9110 section 9.3.6), and nothing else of HTTP.
//!
//! 1. A head of at most [`HEAD_BYTES`] is read; its fields mean nothing here. Whether a body would follow is not asked: what
//!    comes behind the head belongs to the flow.
//! 2. `CONNECT host:port HTTP/1.x` opens a flow. Every other method is refused, also because a web page could send it here.
//! 3. A refusal has a body that a person can read.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::args::HostPort;

/// The answer to a flow that was opened.
pub(super) const OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Reads where a program wants to go, and what it said behind that. None when it was refused, or has hung up.
pub(super) async fn listen<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) -> Option<(HostPort, Vec<u8>)> {
    let mut heard = Vec::new();
    let refusal = loop {
        if let Some(end) = heard.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
            match target(heard.get(..end).unwrap_or_default()) {
                Ok(target) => {
                    let early = heard.split_off(end.saturating_add(HEAD_END.len()));
                    return Some((target, early));
                }
                Err(refusal) => break refusal,
            }
        }
        if heard.len() >= HEAD_BYTES {
            break TOO_LARGE;
        }
        let room = HEAD_BYTES.saturating_sub(heard.len());
        let mut limited = (&mut *socket).take(u64::try_from(room).unwrap_or(0));
        if limited.read_buf(&mut heard).await.ok()? == 0 {
            return None;
        }
    };
    let _hung_up = socket.write_all(&refuse(refusal.0, refusal.1)).await;
    let _hung_up = socket.shutdown().await;
    None
}

/// The place that a head names, or status and words of its refusal.
fn target(head: &[u8]) -> Result<HostPort, (&'static str, &'static str)> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| MALFORMED)?;
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("CONNECT"), Some(place), Some("HTTP/1.1" | "HTTP/1.0"), None) => {
            place.parse().map_err(|_| MALFORMED)
        }
        (Some("CONNECT"), ..) => Err(MALFORMED),
        (Some(_), Some(_), Some(version), None) if version.starts_with("HTTP/1.") => Err(OTHER_METHOD),
        _ => Err(MALFORMED),
    }
}

/// A refusal with a body.
pub(super) fn refuse(status: &str, words: &str) -> Vec<u8> {
    let allow = if status == OTHER_METHOD.0 { "Allow: CONNECT\r\n" } else { "" };
    let length = words.len().saturating_add(1);
    format!(
        "HTTP/1.1 {status}\r\n{allow}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{words}\n"
    )
    .into_bytes()
}

const HEAD_END: &[u8] = b"\r\n\r\n";
/// Browsers send some hundred bytes.
const HEAD_BYTES: usize = 8 * 1024;
const MALFORMED: (&str, &str) = ("400 Bad Request", "expected is CONNECT with a host and a port");
const TOO_LARGE: (&str, &str) = ("431 Request Header Fields Too Large", "the head is larger than 8 KiB");
const OTHER_METHOD: (&str, &str) = (
    "405 Method Not Allowed",
    "this proxy knows CONNECT only; let the program tunnel plain HTTP as well (curl: --proxytunnel), or use SOCKS5",
);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of what a program says, and the first line that it hears.
    async fn say(words: &[u8]) -> (Option<(String, Vec<u8>)>, String) {
        let (mut program, mut proxy) = tokio::io::duplex(64 * 1024);
        program.write_all(words).await.unwrap();
        program.shutdown().await.unwrap();
        let wish = listen(&mut proxy).await.map(|(to, early)| (to.to_string(), early));
        drop(proxy);
        let mut heard = String::new();
        program.read_to_string(&mut heard).await.unwrap();
        (wish, heard.lines().next().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn connect_names_a_place_and_what_comes_behind_its_head_is_the_flows() {
        let (wish, heard) = say(b"CONNECT plc-7:80 HTTP/1.1\r\nHost: other:1\r\n\r\nearly\r\n\r\n").await;
        assert_eq!(wish, Some(("plc-7:80".to_owned(), b"early\r\n\r\n".to_vec())));
        assert_eq!(heard, "");
        let (wish, _) = say(b"CONNECT [fd00::10]:102 HTTP/1.0\r\n\r\n").await;
        assert_eq!(wish, Some(("[fd00::10]:102".to_owned(), Vec::new())));
    }

    #[tokio::test]
    async fn what_is_no_connect_is_refused_with_its_status() {
        for (words, line) in [
            ("GET http://plc-7/ HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            ("POST / HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            ("CONNECT plc-7 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("CONNECT plc-7:80 HTTP/2\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("CONNECT  plc-7:80 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("CONNECT http://plc-7:80 HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("HELLO\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("CONNECT plc-7:80 HTTP/1.1\r\n", ""),
        ] {
            assert_eq!(say(words.as_bytes()).await, (None, line.to_owned()), "{words}");
        }
        let long = format!("CONNECT plc-7:80 HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(9000));
        assert_eq!(
            say(long.as_bytes()).await,
            (None, "HTTP/1.1 431 Request Header Fields Too Large".to_owned())
        );
    }

    #[test]
    fn a_refusal_can_be_read_and_its_length_is_right() {
        let answer = String::from_utf8(refuse("403 Forbidden", "why")).unwrap();
        let expected = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n\
                        Connection: close\r\n\r\nwhy\n";
        assert_eq!(answer, expected);
    }
}
