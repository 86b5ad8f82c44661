//! A web server that says what a test wants and tells every byte that it heard.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use tokio_rustls::TlsAcceptor;

use crate::world::GENEROUS;

/// What the server does after it has read a request.
#[derive(Clone)]
pub(crate) enum Says {
    /// This, and reads the next request.
    This(Vec<u8>),
    /// This, and hangs up.
    Last(Vec<u8>),
    /// This, and then nothing, but stays.
    Begins(Vec<u8>),
    /// This, and then sends back every byte.
    Echoes(Vec<u8>),
}

pub(crate) struct Web {
    addr: SocketAddr,
    heard: UnboundedReceiver<Heard>,
    /// With what it speaks TLS, if it does.
    tls: Arc<Mutex<Option<TlsAcceptor>>>,
    task: tokio::task::JoinHandle<()>,
}

/// A request, with the number of the connection that it came on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) connection: usize,
    pub(crate) text: String,
}

impl Web {
    /// A server that answers as `answer` says, which is told the request.
    pub(crate) async fn start(answer: impl Fn(&str) -> Says + Send + Sync + 'static) -> Self {
        Self::start_with(None, answer).await
    }

    /// The same in TLS, with the certificate whose key is [`PIN`].
    pub(crate) async fn start_tls(answer: impl Fn(&str) -> Says + Send + Sync + 'static) -> Self {
        let (certificate, key): (&[u8], &[u8]) = (
            include_bytes!("../../../transport/testdata/machine-certificate.der"),
            include_bytes!("../../../transport/testdata/machine-key.der"),
        );
        Self::start_with(Some(acceptor(certificate, key)), answer).await
    }

    /// Proves another key from now on, whose pin is [`RENEWED_PIN`].
    pub(crate) fn renew(&self) {
        let (certificate, key): (&[u8], &[u8]) = (
            include_bytes!("../../../transport/testdata/renewed-certificate.der"),
            include_bytes!("../../../transport/testdata/renewed-key.der"),
        );
        *self.tls.lock().unwrap() = Some(acceptor(certificate, key));
    }

    async fn start_with(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&str) -> Says + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, heard) = unbounded_channel();
        let (answer, count) = (Arc::new(answer), AtomicUsize::new(0));
        let tls = Arc::new(Mutex::new(tls));
        let acceptor = Arc::clone(&tls);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = count.fetch_add(1, Ordering::Relaxed);
                let (tell, answer) = (tell.clone(), Arc::clone(&answer));
                let acceptor = acceptor.lock().unwrap().clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, connection, tell, answer).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, connection, tell, answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { addr, heard, tls, task }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next request.
    pub(crate) async fn heard(&mut self) -> Heard {
        tokio::time::timeout(GENEROUS, self.heard.recv()).await.unwrap().unwrap()
    }

    /// Demands that nothing was heard since the last request.
    pub(crate) fn heard_nothing(&mut self) {
        assert!(self.heard.try_recv().is_err(), "something reached the machine");
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A plain answer.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A pin as policies have it.
pub(crate) fn pin(text: &str) -> [u8; 32] {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

fn acceptor(certificate: &'static [u8], key: &'static [u8]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivateKeyDer::try_from(key).unwrap())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    tell: UnboundedSender<Heard>,
    answer: Arc<impl Fn(&str) -> Says>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(text) = request(&mut stream, &mut buffer).await else { return };
        let says = answer(&text);
        let _gone = tell.send(Heard { connection, text });
        let (bytes, then) = match says {
            Says::This(bytes) => (bytes, None),
            Says::Last(bytes) => (bytes, Some(false)),
            Says::Begins(bytes) => (bytes, Some(true)),
            Says::Echoes(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                let (mut read, mut write) = tokio::io::split(stream);
                let _over = tokio::io::copy(&mut read, &mut write).await;
                return;
            }
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        match then {
            None => {}
            Some(false) => return,
            Some(true) => {
                let _until_the_end = stream.read(&mut [0; 16]).await;
                return;
            }
        }
    }
}

/// Reads one request as a careless server does.
async fn request(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let low = head.to_ascii_lowercase();
            let value = |name: &str| low.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let whole = match (value("content-length:"), value("transfer-encoding:")) {
                (Some(length), _) => {
                    Some(length.parse::<usize>().unwrap()).filter(|length| body.len() >= *length)
                }
                (None, Some(_)) => body.find("0\r\n\r\n").map(|end| end + 5),
                (None, None) => Some(0),
            };
            if let Some(length) = whole {
                let rest = buffer.split_off(head.len() + 4 + length);
                let taken = std::mem::replace(buffer, rest);
                return Some(String::from_utf8(taken).unwrap());
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// SHA-256 of the `SubjectPublicKeyInfo`, as `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum` says it.
pub(crate) const PIN: &str = "b68906b8e16205c524ca8ada5f0f6cf3449232a48dff41718167e81168510e7a";
pub(crate) const RENEWED_PIN: &str = "0db787de118bdf57b24309242947621abc729e9bfbf9ae9f2e1c114438d6930d";
