//! A proxy that opens TLS: it shows a certificate of its own, reads everything, and may change it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use postern_protocol::trust::Digest;
use postern_tests::world::Mishap;
use postern_transport::{OuterAcceptor, OuterStream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::GENEROUS;

pub(super) struct Opener {
    pub(super) at: SocketAddr,
    /// What it shows.
    pub(super) certificate: Digest,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<u8>>,
    tampers: AtomicBool,
}

impl Opener {
    pub(super) async fn start() -> Result<Self, Mishap> {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["inspection.factory.example".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let certificate = Digest::of(&[&der]);
        let acceptor = OuterAcceptor::new(der, key.serialize_der()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (at, shared, mut task) = (listener.local_addr()?, Arc::new(Shared::default()), JoinSet::new());
        let sees = Arc::clone(&shared);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&sees));
                connections.spawn(async move { drop(open(stream, &acceptor, &shared).await) });
            }
        });
        Ok(Self { at, certificate, shared, _task: task })
    }

    /// Everything that it has read.
    pub(super) fn seen(&self) -> Vec<u8> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(super) fn tamper(&self, tampers: bool) {
        self.shared.tampers.store(tampers, Ordering::Relaxed);
    }
}

async fn open(mut stream: TcpStream, acceptor: &OuterAcceptor, shared: &Shared) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target: SocketAddr = head.split(' ').nth(1).unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.99:0".parse().unwrap())?;
    let far = socket.connect(target).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let near = acceptor.accept(stream, GENEROUS).await.map_err(std::io::Error::other)?;
    let far = OuterStream::connect(far, target, GENEROUS).await.map_err(std::io::Error::other)?;
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    tokio::select! {
        ended = copy(near_read, far_write, shared) => ended,
        ended = copy(far_read, near_write, shared) => ended,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut block = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut block).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        shared.seen.lock().unwrap().extend_from_slice(&block[..length]);
        if shared.tampers.load(Ordering::Relaxed) {
            // Behind the length of a frame, so that frames go on.
            block[..length].iter_mut().skip(20).step_by(64).for_each(|byte| *byte ^= 1);
        }
        to.write_all(&block[..length]).await?;
        to.flush().await?;
    }
}
