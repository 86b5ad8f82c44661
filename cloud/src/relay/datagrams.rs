//! Packets that come over UDP.
//!
//! 1. A batch is received: messages, each with packets of one sender.
//! 2. Packets of a message that begin with the same handle are passed on together: the other leg's handle is written over theirs
//!    where they lie, and one call sends them all.
//! 3. A notice is answered to whoever sent it.
//!
//! Nothing is allocated for a packet, and nothing waits: what the kernel does not take is dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postern_protocol::wire::relay::{HANDLE_BYTES, Handle, Notice, Packet, split};
use postern_transport::quic::{Mark, Message};

use super::origin::Origin;
use super::table::{Reply, Route};
use super::{Shared, clock};

/// Passes packets on until it is dropped.
pub(super) async fn serve(shared: Arc<Shared>) {
    let mut batch = shared.socket.batch();
    loop {
        if let Err(error) = shared.socket.recv(&mut batch).await {
            // An error that an earlier packet has caused at its receiver, or no memory: not for ever.
            tracing::debug!(%error, "packets could not be received");
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        for message in batch.messages() {
            shared.pass(message);
        }
    }
}

impl Shared {
    fn pass(&self, message: Message<'_>) {
        let Message { from, mut bytes, stride, mark } = message;
        while !bytes.is_empty() {
            let (run, handle) = run(bytes, stride);
            let (packets, rest) = bytes.split_at_mut(run);
            bytes = rest;
            match handle {
                Some(handle) => self.pass_run(from, handle, packets, stride, mark),
                None => self.hear(from, packets),
            }
        }
    }

    /// Passes packets on that begin with the same handle.
    fn pass_run(&self, from: SocketAddr, handle: Handle, packets: &mut [u8], stride: usize, mark: Mark) {
        let count = packets.len().div_ceil(stride);
        let size = (whole(count), whole(packets.len() - count * HANDLE_BYTES));
        let route = self.table().data(Origin::Udp(from), handle, size, self.now());
        match route {
            Route::To(Origin::Udp(to), other) => {
                for packet in packets.chunks_mut(stride) {
                    if let Some(first) = packet.first_chunk_mut() {
                        *first = *other.as_bytes();
                    }
                }
                if self.socket.try_send(to, packets, stride, mark).is_err() {
                    self.table().dropped(whole(count));
                }
            }
            Route::To(Origin::Stream(stream, _), other) => {
                let bodies = packets.chunks(stride).filter_map(|packet| packet.get(HANDLE_BYTES..));
                self.frame(stream, other, bodies);
            }
            Route::Unbound => self.tell(from, packets.len().min(stride), &Notice::unbound(handle)),
            Route::Drop => {}
        }
    }

    fn hear(&self, from: SocketAddr, packet: &[u8]) {
        let Some(Packet::Notice(notice)) = split(packet) else { return };
        let reply = self.table().notice(Origin::Udp(from), notice, self.now(), clock());
        match reply {
            Reply::Answer(answer) => self.tell(from, packet.len(), &answer),
            Reply::Both(answer, (other, notice)) => {
                self.tell(from, packet.len(), &answer);
                self.tell(other, packet.len(), &notice);
            }
            Reply::Silence => {}
        }
    }

    /// Sends an answer that is no longer than what it answers.
    fn tell(&self, to: SocketAddr, heard: usize, answer: &[u8]) {
        if answer.len() <= heard {
            // It is asked for again when it is lost.
            let _lost = self.socket.try_send(to, answer, answer.len(), Mark::default());
        }
    }

    /// Puts packets into the queue of a connection.
    pub(super) fn frame<'a>(&self, stream: u64, handle: Handle, packets: impl Iterator<Item = &'a [u8]>) {
        let outbox = self.streams().get(&stream).map(Arc::clone);
        let Some(outbox) = outbox else { return };
        let dropped = outbox.put(handle.as_bytes(), packets);
        if dropped > 0 {
            self.table().dropped(dropped);
        }
    }
}

/// Bytes of the packets at the beginning that have the same handle, and that one; or of the first packet, which has none.
fn run(bytes: &[u8], stride: usize) -> (usize, Option<Handle>) {
    let handle_of = |packet| match split(packet) {
        Some(Packet::Data(handle, _)) => Some(handle),
        Some(Packet::Notice(_)) | None => None,
    };
    let mut packets = bytes.chunks(stride);
    let first = packets.next().unwrap_or_default();
    let Some(handle) = handle_of(first) else { return (first.len(), None) };
    let alike = packets.take_while(|packet| handle_of(packet) == Some(handle));
    (first.len() + alike.map(<[u8]>::len).sum::<usize>(), Some(handle))
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_with_one_handle_go_together_and_a_notice_by_itself() {
        let packet = |handle: u8, last: u8| [&[handle; 8][..], &[last]].concat();
        let handle = |byte| Handle::new([byte; 8]);
        let bytes =
            [packet(1, 0), packet(1, 0), packet(2, 0), packet(0, 1), packet(2, 0)[..8].to_vec()].concat();
        assert_eq!(run(&bytes, 9), (18, handle(1)));
        assert_eq!(run(&bytes[18..], 9), (9, handle(2)));
        assert_eq!(run(&bytes[27..], 9), (9, None));
        assert_eq!(run(&bytes[36..], 9), (8, handle(2)));
        assert_eq!(run(&[7; 5], 9), (5, None));
    }
}
