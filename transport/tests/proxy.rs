//! Proxies that demand, refuse, lie and dawdle, and a ladder that goes through them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "proxy/http.rs"]
mod http;
#[path = "proxy/socks.rs"]
mod socks;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use postern_transport::proxy::{Login, Proxy, ProxyFault};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Something that listens, and does the same with every connection.
struct Server {
    at: SocketAddr,
    _task: JoinSet<()>,
}

impl Server {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        each: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let (at, mut task) = (listener.local_addr().unwrap(), JoinSet::new());
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(each(stream));
            }
        });
        Self { at, _task: task }
    }

    /// Answers what it gets.
    async fn echo() -> Self {
        Self::start(|stream| async move {
            let (mut from, mut to) = stream.into_split();
            let _ended = tokio::io::copy(&mut from, &mut to).await;
        })
        .await
    }

    /// Itself, and a proxy that it is.
    fn proxy_kept(self, scheme: &str, login: Option<Login>) -> (Self, Proxy) {
        let proxy = self.proxy(scheme);
        let proxy = match login {
            Some(login) => proxy.with_login(login),
            None => proxy,
        };
        (self, proxy)
    }

    fn proxy(&self, scheme: &str) -> Proxy {
        Proxy::parse(&format!("{scheme}://{}", self.at)).unwrap()
    }
}

/// Joins a client to whom it wants to speak with.
async fn join(mut client: TcpStream, target: SocketAddr) {
    if let Ok(mut far) = TcpStream::connect(target).await {
        let _ended = tokio::io::copy_bidirectional(&mut client, &mut far).await;
    }
}

/// Whether bytes pass a proxy and come back.
async fn passes(proxy: &Proxy) -> Result<(), ProxyFault> {
    let echo = Server::echo().await;
    let mut stream = proxy.connect(echo.at).await?;
    stream.write_all(b"there and back").await.unwrap();
    let mut back = [0; 14];
    tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"there and back");
    Ok(())
}

fn login(password: &str) -> Login {
    Login::new("press-7", password.as_bytes()).unwrap()
}
