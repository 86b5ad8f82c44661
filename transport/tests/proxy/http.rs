//! HTTP CONNECT.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use postern_transport::proxy::Schemes;
use sha2::Digest as _;

use super::*;

/// What a proxy demands, and how it reads the answer.
#[derive(Clone, Copy)]
enum Demand {
    Nothing,
    Basic,
    /// Digest with one of the hashes, and Basic beside it, which must not be chosen.
    Digest(&'static str),
    Ntlm,
}

async fn proxy(demand: Demand) -> Server {
    Server::start(move |mut stream| async move {
        let head = head(&mut stream).await;
        let target = head.split(' ').nth(1).unwrap().to_owned();
        assert!(head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")), "{head}");
        let login = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
        let is_right = match demand {
            Demand::Nothing => true,
            Demand::Basic => login == Some(&format!("Basic {}", BASE64.encode(b"press-7:sesame"))),
            Demand::Digest(hash) => login.is_some_and(|login| is_digest(login, hash, &target)),
            Demand::Ntlm => false,
        };
        if is_right {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
            return join(stream, target.parse().unwrap()).await;
        }
        let challenge = match demand {
            Demand::Nothing => String::new(),
            Demand::Basic => "Proxy-Authenticate: Basic realm=\"factory\"\r\n".to_owned(),
            Demand::Digest(hash) => format!(
                "Proxy-Authenticate: Basic realm=\"factory\"\r\n\
                 proxy-authenticate: Digest realm=\"factory\", nonce=\"n-1\", qop=\"auth\", algorithm={hash}\r\n"
            ),
            Demand::Ntlm => "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n".to_owned(),
        };
        let answer = format!("HTTP/1.1 407 No\r\n{challenge}Content-Length: 3\r\n\r\nno\n");
        let _gone = stream.write_all(answer.as_bytes()).await;
    })
    .await
}

async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

/// RFC 7616, section 3.4.1, written down once more.
fn is_digest(login: &str, hash: &str, target: &str) -> bool {
    let h = |text: String| match hash {
        "MD5" => HEXLOWER.encode(&md5::Md5::digest(text)),
        _ => HEXLOWER.encode(&sha2::Sha256::digest(text)),
    };
    let value = |name: &str| {
        let rest = login.split_once(&format!("{name}=")).unwrap().1;
        rest.split(',').next().unwrap().trim_matches('"').to_owned()
    };
    let (secret, asked) = (h("press-7:factory:sesame".to_owned()), h(format!("CONNECT:{target}")));
    let response = h(format!("{secret}:n-1:{}:{}:auth:{asked}", value("nc"), value("cnonce")));
    login.starts_with("Digest ") && value("uri") == target && value("response") == response
}

#[tokio::test]
async fn bytes_pass_a_proxy_without_a_login_with_basic_and_with_digest_of_either_hash() {
    for demand in [Demand::Nothing, Demand::Basic, Demand::Digest("MD5"), Demand::Digest("SHA-256")] {
        let proxy = proxy(demand).await.proxy_kept("http", Some(login("sesame")));
        assert_eq!(passes(&proxy.1).await, Ok(()));
    }
    let open = proxy(Demand::Nothing).await.proxy_kept("http", None);
    assert_eq!(passes(&open.1).await, Ok(()));
}

#[tokio::test]
async fn a_wrong_password_is_refused_once_and_a_missing_one_is_asked_for_by_name() {
    let target = "192.0.2.1:443".parse().unwrap();
    for demand in [Demand::Basic, Demand::Digest("MD5"), Demand::Digest("SHA-256")] {
        let (_server, wrong) = proxy(demand).await.proxy_kept("http", Some(login("guess")));
        assert_eq!(wrong.connect(target).await.unwrap_err(), ProxyFault::LoginRefused(407));
    }
    let (_server, none) = proxy(Demand::Digest("MD5")).await.proxy_kept("http", None);
    let schemes = Schemes { basic: true, digest: true, ..Schemes::default() };
    let fault = none.connect(target).await.unwrap_err();
    assert_eq!(fault, ProxyFault::LoginWanted(schemes));
    assert_eq!(
        fault.to_string(),
        "407: it wants a user name and password (Digest, Basic), and none is configured"
    );
}

#[tokio::test]
async fn a_proxy_that_takes_only_ntlm_or_kerberos_is_told_apart_and_gets_no_password() {
    let (_server, proxy) = proxy(Demand::Ntlm).await.proxy_kept("http", Some(login("sesame")));
    let fault = proxy.connect("192.0.2.1:443".parse().unwrap()).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "407: it takes only NTLM, Negotiate (Kerberos or NTLM); spoken are Basic and Digest with MD5 or SHA-256"
    );
}

#[tokio::test]
async fn a_proxy_with_a_login_that_demands_a_digest_never_sees_the_password() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let spy = Arc::clone(&seen);
    let server = Server::start(move |mut stream| {
        let spy = Arc::clone(&spy);
        async move {
            let head = head(&mut stream).await;
            spy.lock().unwrap().push(head);
            let answer = "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\
                          Proxy-Authenticate: Basic realm=\"r\"\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let (_server, proxy) = server.proxy_kept("http", Some(login("sesame")));
    let fault = proxy.connect("192.0.2.1:443".parse().unwrap()).await.unwrap_err();
    assert_eq!(fault, ProxyFault::LoginRefused(407));
    let seen = seen.lock().unwrap().join("\n");
    assert_eq!(seen.matches("CONNECT 192.0.2.1:443 ").count(), 2);
    assert!(!seen.contains("sesame") && !seen.contains(&BASE64.encode(b"press-7:sesame")), "{seen}");
}

#[tokio::test]
async fn what_a_hostile_proxy_answers_is_bounded_and_named() {
    let endless = |stream: TcpStream| async move {
        let mut stream = stream;
        let _ended = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream
            .write_all(b"X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")
            .await
            .is_ok()
        {}
    };
    let server = Server::start(endless).await;
    let fault = server.proxy("http").connect(HERE).await.unwrap_err();
    // Too many headers or too many bytes, whichever comes first.
    assert!(matches!(fault, ProxyFault::NotHttp | ProxyFault::HeadTooLong { .. }), "{fault}");
    for (answer, expected) in [
        (format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(9000)), ProxyFault::HeadTooLong { limit: 8192 }),
        ("HTTP/1.1 200 OK\r\n\r\nmore than is due".to_owned(), ProxyFault::NotHttp),
        ("SSH-2.0-OpenSSH_9.9\r\n".to_owned(), ProxyFault::NotHttp),
        ("HTTP/1.1 403 Forbidden\r\n\r\n".to_owned(), ProxyFault::Refused(403)),
        ("HTTP/1.1 503 Later\r\n\r\n".to_owned(), ProxyFault::Refused(503)),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(), ProxyFault::Refused(101)),
        ("HTTP/1.1 20".to_owned(), ProxyFault::Ended),
        (String::new(), ProxyFault::Ended),
    ] {
        let text = answer.clone();
        let server = Server::start(move |mut stream| {
            let text = text.clone();
            async move {
                let _request = head(&mut stream).await;
                let _gone = stream.write_all(text.as_bytes()).await;
            }
        })
        .await;
        assert_eq!(server.proxy("http").connect(HERE).await.unwrap_err(), expected, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_says_nothing_is_left_after_ten_seconds() {
    let server = Server::start(|stream| async move {
        let _kept = stream;
        std::future::pending().await
    })
    .await;
    let fault = server.proxy("http").connect(HERE).await.unwrap_err();
    assert_eq!(fault, ProxyFault::TimedOut { within: Duration::from_secs(10) });
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_unreachable_and_one_without_an_address_unresolved() {
    let listener = TcpListener::bind(HERE).await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let proxy = |url: String| Proxy::parse(&url).unwrap();
    let fault = proxy(format!("http://{gone}")).connect(HERE).await.unwrap_err();
    assert_eq!(fault, ProxyFault::Unreachable(std::io::ErrorKind::ConnectionRefused));
    let fault = proxy("http://proxy.invalid:3128".to_owned()).connect(HERE).await.unwrap_err();
    assert_eq!(fault, ProxyFault::Unresolved);
}
