//! A scripted panel: a VNC server that answers each request with one pixel and tells what it got, message by message.

use std::net::{Ipv4Addr, SocketAddr};

use postern_protocol::gate::rfb::Password;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::client::Tunnel;
use crate::world::GENEROUS;

/// How a panel lets somebody in.
#[derive(Clone, Copy)]
pub(crate) enum Door {
    /// Whoever comes.
    Open,
    /// Whoever knows the password.
    Password(&'static str),
    /// Nobody, in these words.
    Shut(&'static str),
    /// It says nothing at all.
    Silent,
    /// It lets everybody in and reads nothing of what they do, until it is told to.
    Deaf,
    /// Whoever comes is shown so many bytes at once.
    Film(usize),
}

/// What happened at a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody is in, with this shared flag.
    Entered(u8),
    /// A whole message.
    Message(Vec<u8>),
    /// The connection is over.
    Left,
}

pub(crate) struct Panel {
    addr: SocketAddr,
    heard: UnboundedReceiver<Heard>,
    /// Ends the silence of a deaf panel.
    listen: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Panel {
    pub(crate) async fn start(door: Door) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // What the kernel keeps for a panel that reads nothing; accepted connections inherit it.
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(16).unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, heard) = unbounded_channel();
        let (listen, listening) = tokio::sync::watch::channel(!matches!(door, Door::Deaf));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tell, mut listening) = (tell.clone(), listening.clone());
                tokio::spawn(async move {
                    let mut stream = stream;
                    let _over = serve(&mut stream, door, &tell, &mut listening).await;
                    let _gone = tell.send(Heard::Left);
                });
            }
        });
        Self { addr, heard, listen, task }
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What happened next.
    pub(crate) async fn heard(&mut self) -> Heard {
        tokio::time::timeout(GENEROUS, self.heard.recv()).await.unwrap().unwrap()
    }

    /// The next message, requests for pictures aside.
    pub(crate) async fn message(&mut self) -> Vec<u8> {
        loop {
            match self.heard().await {
                Heard::Message(message) if message[0] == 3 => {}
                Heard::Message(message) => return message,
                other @ (Heard::Entered(_) | Heard::Left) => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn listen(&self) {
        self.listen.send_replace(true);
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: &mut TcpStream,
    door: Door,
    tell: &UnboundedSender<Heard>,
    listening: &mut tokio::sync::watch::Receiver<bool>,
) -> std::io::Result<()> {
    if let Door::Silent = door {
        while stream.read(&mut [0; 64]).await? > 0 {}
        return Ok(());
    }
    stream.write_all(b"RFB 003.008\n").await?;
    stream.read_exact(&mut [0; 12]).await?;
    match door {
        Door::Shut(words) => {
            stream.write_all(&[0]).await?;
            return tell_words(stream, words).await;
        }
        Door::Password(password) => {
            stream.write_all(&[1, 2]).await?;
            assert_eq!(stream.read_u8().await?, 2);
            let challenge = *b"sixteen bytes of";
            stream.write_all(&challenge).await?;
            let mut response = [0; 16];
            stream.read_exact(&mut response).await?;
            if !Password::new(password.as_bytes()).accepts(&challenge, &response) {
                stream.write_all(&1_u32.to_be_bytes()).await?;
                return tell_words(stream, "wrong password").await;
            }
        }
        Door::Open | Door::Deaf | Door::Film(_) | Door::Silent => {
            stream.write_all(&[1, 1]).await?;
            assert_eq!(stream.read_u8().await?, 1);
        }
    }
    stream.write_all(&[0; 4]).await?;
    let _gone = tell.send(Heard::Entered(stream.read_u8().await?));
    stream.write_all(&INIT).await?;
    if let Door::Film(bytes) = door {
        stream.write_all(&vec![0x66; bytes]).await?;
    }
    let _gone = listening.wait_for(|listening| *listening).await.is_err();
    let mut pictures = 0_u32;
    loop {
        let message = read_message(stream).await?;
        if message[0] == 3 {
            pictures += 1;
            stream.write_all(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]).await?;
            stream.write_all(&pictures.to_be_bytes()).await?;
        }
        let _gone = tell.send(Heard::Message(message));
    }
}

async fn tell_words(stream: &mut TcpStream, words: &str) -> std::io::Result<()> {
    stream.write_all(&u32::try_from(words.len()).unwrap().to_be_bytes()).await?;
    stream.write_all(words.as_bytes()).await
}

/// A message of the six that a viewer may send, read by the lengths of RFC 6143.
async fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![stream.read_u8().await?];
    let mut more = async |message: &mut Vec<u8>, length: usize| {
        let at = message.len();
        message.resize(at + length, 0);
        stream.read_exact(&mut message[at..]).await.map(drop)
    };
    match message[0] {
        0 => more(&mut message, 19).await?,
        2 => {
            more(&mut message, 3).await?;
            let count = u16::from_be_bytes([message[2], message[3]]);
            more(&mut message, usize::from(count) * 4).await?;
        }
        3 => more(&mut message, 9).await?,
        4 => more(&mut message, 7).await?,
        5 => more(&mut message, 5).await?,
        6 => {
            more(&mut message, 7).await?;
            let length = u32::from_be_bytes(message[4..8].try_into().unwrap());
            more(&mut message, usize::try_from(length).unwrap()).await?;
        }
        other => panic!("the panel got a message of type {other}"),
    }
    Ok(message)
}

/// 4 by 3 pixels of 32 bits, named "panel".
const INIT: [u8; 29] = *b"\0\x04\0\x03\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0\0\0\0\x05panel";

/// Who looks at a panel through a tunnel.
pub(crate) struct Viewer {
    pub(crate) tunnel: Tunnel,
}

impl Viewer {
    /// Shakes hands like a viewer that wants the screen for itself.
    pub(crate) async fn enter(mut tunnel: Tunnel) -> Self {
        assert_eq!(tunnel.take::<12>().await, *b"RFB 003.008\n");
        tunnel.send.write_all(b"RFB 003.008\n").await.unwrap();
        assert_eq!(tunnel.take::<2>().await, [1, 1], "the viewer is offered no security and nothing else");
        tunnel.send.write_all(&[1]).await.unwrap();
        assert_eq!(tunnel.take::<4>().await, [0; 4]);
        tunnel.send.write_all(&[0]).await.unwrap();
        assert_eq!(tunnel.take::<29>().await, INIT);
        Self { tunnel }
    }

    /// Reads why there is no session, and the end of the stream.
    pub(crate) async fn refused(tunnel: &mut Tunnel) -> String {
        assert_eq!(tunnel.take::<12>().await, *b"RFB 003.008\n");
        tunnel.send.write_all(b"RFB 003.008\n").await.unwrap();
        assert_eq!(tunnel.take::<1>().await, [0]);
        let length = u32::from_be_bytes(tunnel.take().await);
        let mut words = vec![0; usize::try_from(length).unwrap()];
        tunnel.recv.read_exact(&mut words).await.unwrap();
        assert_eq!(tunnel.drain().await, Ok(0), "nothing follows the words");
        String::from_utf8(words).unwrap()
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.tunnel.send.write_all(bytes).await.unwrap();
    }

    /// Asks for a picture and returns its number at the panel.
    pub(crate) async fn look(&mut self) -> u32 {
        self.say(&[3, 0, 0, 0, 0, 0, 0, 4, 0, 3]).await;
        let update: [u8; 20] = self.tunnel.take().await;
        u32::from_be_bytes(update[16..].try_into().unwrap())
    }
}

impl Tunnel {
    async fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        tokio::time::timeout(GENEROUS, self.recv.read_exact(&mut bytes)).await.unwrap().unwrap();
        bytes
    }
}

/// A key goes down or up.
pub(crate) const fn key(down: u8, key: u8) -> [u8; 8] {
    [4, down, 0, 0, 0, 0, 0, key]
}

/// The pointer at (7, 9).
pub(crate) const fn pointer(buttons: u8) -> [u8; 6] {
    [5, buttons, 0, 7, 0, 9]
}

/// A text for the machine's clipboard.
pub(crate) fn cut_text(text: &str) -> Vec<u8> {
    let mut message = vec![6, 0, 0, 0];
    message.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    message.extend_from_slice(text.as_bytes());
    message
}
