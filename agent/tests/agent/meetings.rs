//! Meetings at relays that a hub names.

use std::net::SocketAddr;

use postern_protocol::time::UnixTime;
use postern_protocol::wire::control::HubMessage;
use postern_protocol::wire::relay::{End, Meeting, MeetingId, Notice, Place, RelayKey, Ticket};
use tokio::net::{TcpListener, UdpSocket};

use crate::world::{GENEROUS, World};

fn key() -> RelayKey {
    RelayKey::new([7; 32])
}

fn meeting(number: u8, relay: Place) -> HubMessage {
    let ticket = Ticket { meeting: MeetingId([number; 16]), end: End::Agent, until: UnixTime::MAX };
    HubMessage::Meet(Meeting { leg: key().leg(ticket), relays: vec![relay] })
}

async fn socket() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[tokio::test]
async fn the_device_comes_to_a_relay_and_speaks_to_no_machine_that_is_called_one() {
    let mut world = World::start().await;
    let (machine, port) = socket().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = listener.local_addr().unwrap().port();
    let at_machine = Some([127, 0, 0, 1].into());
    world.hub.send(meeting(1, Place { ip: at_machine, udp: Some(port), tls: Some(tls), certificate: None }));
    let (relay, port) = socket().await;
    world.hub.send(meeting(2, Place { ip: None, udp: Some(port), tls: None, certificate: None }));
    let mut bytes = [0; 128];
    let heard = tokio::time::timeout(GENEROUS, relay.recv_from(&mut bytes)).await.unwrap();
    let (length, from): (usize, SocketAddr) = heard.unwrap();
    let notice = Notice::read(&bytes[8..length], |ticket| key().leg_key(ticket.unwrap()));
    assert!(
        matches!(notice, Ok(Notice::Bind { ticket, .. }) if ticket.meeting == MeetingId([2; 16])),
        "{notice:?}"
    );
    assert_eq!(from.port(), world.agent.listening().port());
    // It would have come before, and over TLS two seconds later.
    assert!(machine.try_recv_from(&mut bytes).is_err());
    let connected = tokio::time::timeout(std::time::Duration::from_secs(3), listener.accept()).await;
    assert!(connected.is_err(), "{connected:?}");
}
