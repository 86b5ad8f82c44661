//! Chunked bodies (RFC 9112, section 7.1), read as the bytes that they carry.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The bytes that a chunked body carries, up to the last chunk. A body that breaks off is an error.
#[derive(Debug)]
pub(super) struct Unchunked<S> {
    /// Where the body comes from.
    pub(super) inner: S,
    chunks: Chunks,
    unread: Vec<u8>,
}

impl<S> Unchunked<S> {
    /// Reads the body that begins at the next byte of `inner`.
    pub(super) fn new(inner: S) -> Self {
        Self { inner, chunks: Chunks::default(), unread: Vec::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unchunked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() && !this.chunks.is_over {
            let mut block = [0; BLOCK];
            let mut space = ReadBuf::new(&mut block);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut space))?;
            if space.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.chunks.feed(space.filled(), &mut this.unread)?;
        }
        let taken = this.unread.len().min(buf.remaining());
        let rest = this.unread.split_off(taken);
        buf.put_slice(&this.unread);
        this.unread = rest;
        Poll::Ready(Ok(()))
    }
}

/// Where a reader is in a body without trailers, which may come in pieces of any size.
#[derive(Debug, Default)]
struct Chunks {
    line: Vec<u8>,
    left: usize,
    is_last: bool,
    is_over: bool,
}

impl Chunks {
    /// Takes bytes of the body and hands out what they carry. A chunk without a size is an error.
    fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let (data, rest) = bytes.split_at(self.left.min(bytes.len()));
                out.extend_from_slice(data);
                self.left -= data.len();
                bytes = rest;
                continue;
            }
            bytes = rest;
            if *first != b'\n' {
                self.line.push(*first);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
            self.line.clear();
            match line.as_str() {
                // The end of a chunk's data, or of the body.
                "" => self.is_over = self.is_last,
                size => {
                    self.left = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
                    self.is_last = self.left == 0;
                }
            }
        }
        Ok(())
    }
}

const BLOCK: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let body = b"5\r\nfirst\r\nA\r\n0123456789\r\n0\r\n\r\n";
        for size in 1..body.len() {
            let (mut chunks, mut out) = (Chunks::default(), Vec::new());
            for piece in body.chunks(size) {
                assert!(!chunks.is_over);
                chunks.feed(piece, &mut out).unwrap();
            }
            assert_eq!((out.as_slice(), chunks.is_over), (b"first0123456789".as_slice(), true), "{size}");
        }
        let wrong = Chunks::default().feed(b"five\r\n", &mut Vec::new());
        assert_eq!(wrong.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
