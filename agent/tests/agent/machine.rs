//! Machines: one that echoes, one that never stops talking, one that only listens.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

pub(crate) struct Machine {
    addr: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Machine {
    /// Sends back what it gets, and its FIN when it gets one.
    pub(crate) async fn echo() -> Self {
        Self::serve(|mut stream| async move {
            let (mut read, mut write) = stream.split();
            let _broken = tokio::io::copy(&mut read, &mut write).await;
            let _broken = write.shutdown().await;
        })
        .await
    }

    /// Sends without end.
    pub(crate) async fn torrent() -> Self {
        Self::serve(|mut stream| async move {
            let bytes = vec![0x55; 16 * 1024];
            while stream.write_all(&bytes).await.is_ok() {}
        })
        .await
    }

    /// Says hello, hangs up its sending side, and collects what comes until the end.
    pub(crate) async fn half_closed() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
        let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
        let machine = Self::serve(move |mut stream| {
            let tell = tell.clone();
            async move {
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
                let mut all = Vec::new();
                let _broken = stream.read_to_end(&mut all).await;
                let _gone = tell.send(all);
            }
        })
        .await;
        (machine, heard)
    }

    /// Sends back each UDP datagram that it gets.
    pub(crate) async fn udp() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut packet = vec![0; 65_536];
            loop {
                let (bytes, from) = socket.recv_from(&mut packet).await.unwrap();
                let _gone = socket.send_to(&packet[..bytes], from).await;
            }
        });
        Self { addr, task }
    }

    /// Says how each of its connections ended: true for a FIN, false for a reset.
    pub(crate) async fn listener() -> (Self, tokio::sync::mpsc::UnboundedReceiver<bool>) {
        let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
        let machine = Self::serve(move |mut stream| {
            let tell = tell.clone();
            async move {
                let _gone = tell.send(stream.read_to_end(&mut Vec::new()).await.is_ok());
            }
        })
        .await;
        (machine, heard)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    async fn serve<F: Future<Output = ()> + Send + 'static>(
        each: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(each(stream));
            }
        });
        Self { addr, task }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.task.abort();
    }
}
