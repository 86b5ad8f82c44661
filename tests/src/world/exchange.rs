//! A request whose body and answer go on side by side: bytes both ways, as a plain connection would carry them.
//!
//! 1. [`Exchange::open`] sends the head of a `POST` and waits for that of the answer.
//! 2. What is written goes out as chunks; shutting down sends the last one, and the connection stays open for the answer.
//! 3. What is read are the bytes of the answer's chunks, up to the last one. An answer that breaks off is an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;

use super::chunks::Unchunked;
use super::mishap::Mishap;
use super::near::Near;
use super::probe::within;

/// An open exchange.
#[derive(Debug)]
pub struct Exchange {
    answer: Unchunked<BufReader<TcpStream>>,
    unsent: Vec<u8>,
    is_ended: bool,
}

impl Exchange {
    /// Begins an exchange.
    ///
    /// # Errors
    /// When nobody listens, or the answer is another than 200, with what it says.
    pub async fn open(near: impl Into<Near>) -> Result<Self, Mishap> {
        let near = near.into();
        within("the answer to a request", async {
            let mut inner = BufReader::new(TcpStream::connect(near.address).await?);
            inner.get_ref().set_nodelay(true)?;
            let head = near.head("POST", "/", "Transfer-Encoding: chunked\r\n");
            inner.write_all(head.as_bytes()).await?;
            let mut first = String::new();
            inner.read_line(&mut first).await?;
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if inner.read_line(&mut line).await? == 0 {
                    return Err(Mishap::unexpected("the answer", format!("`{first}` and its end"), "a head"));
                }
            }
            if !first.starts_with("HTTP/1.1 200 ") {
                return Err(Mishap::unexpected("the answer", first.trim_end(), "status 200"));
            }
            Ok(Self { answer: Unchunked::new(inner), unsent: Vec::new(), is_ended: false })
        })
        .await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let taken = ready!(Pin::new(&mut self.answer.inner).poll_write(cx, &self.unsent))?;
            self.unsent.drain(..taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Exchange {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // What was not taken at once goes out while an answer is awaited.
        let _rest = this.poll_send(cx)?;
        Pin::new(&mut this.answer).poll_read(cx, buf)
    }
}

impl AsyncWrite for Exchange {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        let taken = bytes.len().min(BLOCK);
        if let Some(chunk) = bytes.get(..taken).filter(|chunk| !chunk.is_empty()) {
            this.unsent.extend_from_slice(format!("{taken:x}\r\n").as_bytes());
            this.unsent.extend_from_slice(chunk);
            this.unsent.extend_from_slice(b"\r\n");
        }
        let _rest = this.poll_send(cx)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_ended {
            this.is_ended = true;
            this.unsent.extend_from_slice(b"0\r\n\r\n");
        }
        this.poll_send(cx)
    }
}

const BLOCK: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::world::target::Target;

    #[tokio::test]
    async fn an_echo_answers_while_it_is_asked_and_ends_after() {
        let echo = Target::echo().await.unwrap();
        let mut exchange = Exchange::open(echo.address).await.unwrap();
        for word in [b"first".as_slice(), b"second"] {
            exchange.write_all(word).await.unwrap();
            let mut answer = vec![0; word.len()];
            exchange.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, word);
        }
        exchange.shutdown().await.unwrap();
        let mut rest = Vec::new();
        exchange.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_end() {
        let echo = Target::echo().await.unwrap();
        let mut exchange = Exchange::open(echo.address).await.unwrap();
        drop(echo);
        let end = exchange.read(&mut [0]).await.unwrap_err().kind();
        assert!(matches!(end, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{end}");
    }
}
