//! Lines over a Unix socket, and the adapter that comes with one of them.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::LINE_BYTES;

/// What has come over a socket.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: VecDeque<u8>,
    passed: Option<OwnedFd>,
}

/// How reading ended.
#[derive(Debug, thiserror::Error)]
pub enum InboxFault {
    /// Nothing comes any more.
    #[error("the other side hung up")]
    Ended,
    /// More than a line.
    #[error("a line of more than {LINE_BYTES} bytes")]
    Long,
    /// The socket.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// No message.
    #[error("a line that is no message")]
    Malformed,
}

impl Inbox {
    /// Reads once what is there; on a socket that does not block, `WouldBlock` where that is nothing.
    ///
    /// # Errors
    /// [`InboxFault`].
    pub fn fill(&mut self, socket: impl AsFd) -> Result<(), InboxFault> {
        let mut buffer = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags);
        let count = received.map_err(io::Error::from)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                self.passed = passed.last().or(self.passed.take());
            }
        }
        if count == 0 {
            return Err(InboxFault::Ended);
        }
        if self.bytes.len().saturating_add(count) > LINE_BYTES {
            return Err(InboxFault::Long);
        }
        self.bytes.extend(buffer.get(..count).unwrap_or_default());
        Ok(())
    }

    /// The next whole line, if there is one.
    ///
    /// # Errors
    /// [`InboxFault::Malformed`].
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, InboxFault> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        serde_json::from_slice(&line).map(Some).map_err(|_| InboxFault::Malformed)
    }

    /// The file that came with what was read.
    pub fn take_passed(&mut self) -> Option<OwnedFd> {
        self.passed.take()
    }
}

/// Sends a line, and a file with it. The socket must block, or have room: a line fits every socket's buffer.
///
/// # Errors
/// The socket's.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files: Vec<BorrowedFd<'_>> = file.into_iter().collect();
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        // Whoever hung up must not end this program by a signal.
        let sent = sendmsg(&socket, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL)?;
        control.clear();
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::message::Answer;

    #[test]
    fn a_file_comes_with_its_line() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut file = std::fs::File::from(rustix_memory());
        file.write_all(b"adapter").unwrap();
        let created = Answer::Created { name: "postern0".to_owned() };
        send(&one, &created, Some(file.as_fd())).unwrap();
        send(&one, &Answer::Done, None).unwrap();
        let mut inbox = Inbox::default();
        inbox.fill(&other).unwrap();
        assert_eq!(inbox.take::<Answer>().unwrap(), Some(created));
        let mut passed = std::fs::File::from(inbox.take_passed().unwrap());
        let mut content = String::new();
        passed.rewind().unwrap();
        passed.read_to_string(&mut content).unwrap();
        assert_eq!(content, "adapter");
        if inbox.take::<Answer>().unwrap().is_none() {
            inbox.fill(&other).unwrap();
        }
        assert!(inbox.take_passed().is_none());
        drop(one);
        assert!(matches!(inbox.fill(&other), Err(InboxFault::Ended)));
    }

    #[test]
    fn what_never_ends_is_not_kept_and_what_is_no_message_is_said() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::default();
        one.write_all(b"{}\n").unwrap();
        inbox.fill(&other).unwrap();
        assert!(matches!(inbox.take::<Answer>(), Err(InboxFault::Malformed)));
        let writer = std::thread::spawn(move || one.write_all(&vec![b'x'; 2 * LINE_BYTES]));
        let fault = loop {
            if let Err(fault) = inbox.fill(&other) {
                break fault;
            }
        };
        assert!(matches!(fault, InboxFault::Long));
        drop(other);
        let _broken = writer.join().unwrap();
    }

    fn rustix_memory() -> OwnedFd {
        tempfile::tempfile().unwrap().into()
    }
}
