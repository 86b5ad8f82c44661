//! SOCKS5.

use postern_transport::proxy::SocksReply;

use super::*;

/// A SOCKS5 proxy that demands a login or none, written from RFC 1928 and RFC 1929.
async fn proxy(password: Option<&'static str>) -> Server {
    Server::start(move |mut stream| async move {
        assert_eq!(stream.read_u8().await.unwrap(), 5);
        let mut methods = vec![0; stream.read_u8().await.unwrap().into()];
        stream.read_exact(&mut methods).await.unwrap();
        let method = if password.is_some() { 2 } else { 0 };
        if !methods.contains(&method) {
            stream.write_all(&[5, 0xff]).await.unwrap();
            return;
        }
        stream.write_all(&[5, method]).await.unwrap();
        if let Some(password) = password {
            let login = read_login(&mut stream).await;
            let is_right = login == ("press-7".to_owned(), password.to_owned());
            stream.write_all(&[1, u8::from(!is_right)]).await.unwrap();
            if !is_right {
                return;
            }
        }
        let mut request = [0; 4];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request, [5, 1, 0, 1]);
        let mut ip = [0; 4];
        stream.read_exact(&mut ip).await.unwrap();
        let target = SocketAddr::from((ip, stream.read_u16().await.unwrap()));
        if target.ip().is_loopback() {
            // A name as its own address, which is rare and allowed.
            stream.write_all(&[5, 0, 0, 3, 2, b'h', b'i', 0, 80]).await.unwrap();
            join(stream, target).await;
        } else {
            stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        }
    })
    .await
}

async fn read_login(stream: &mut TcpStream) -> (String, String) {
    assert_eq!(stream.read_u8().await.unwrap(), 1);
    let mut parts = Vec::new();
    for _ in 0..2 {
        let mut bytes = vec![0; stream.read_u8().await.unwrap().into()];
        stream.read_exact(&mut bytes).await.unwrap();
        parts.push(String::from_utf8(bytes).unwrap());
    }
    (parts[0].clone(), parts[1].clone())
}

#[tokio::test]
async fn bytes_pass_a_socks5_proxy_without_a_login_and_with_one() {
    let open = proxy(None).await;
    assert_eq!(passes(&open.proxy("socks5")).await, Ok(()));
    assert_eq!(passes(&open.proxy("socks5h").with_login(login("sesame"))).await, Ok(()));
    let closed = proxy(Some("sesame")).await;
    assert_eq!(passes(&closed.proxy("socks5").with_login(login("sesame"))).await, Ok(()));
}

#[tokio::test]
async fn a_socks5_proxy_that_refuses_is_quoted() {
    let closed = proxy(Some("sesame")).await;
    let target = "192.0.2.1:443".parse().unwrap();
    let ask = async |proxy: Proxy| proxy.connect(target).await.unwrap_err();
    assert_eq!(ask(closed.proxy("socks5").with_login(login("guess"))).await, ProxyFault::SocksLoginRefused);
    assert_eq!(ask(closed.proxy("socks5")).await, ProxyFault::SocksLoginWanted);
    let fault = ask(closed.proxy("socks5").with_login(login("sesame"))).await;
    assert_eq!(fault, ProxyFault::SocksRefused(SocksReply(2)));
    assert_eq!(fault.to_string(), "it says: its rules do not allow that connection");
}

#[tokio::test]
async fn what_is_no_socks5_is_named() {
    for (answer, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], ProxyFault::NotSocks),
        (&[5, 2], ProxyFault::NotSocks),
        (&[5, 0xff], ProxyFault::SocksLoginWanted),
        (&[5, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0], ProxyFault::NotSocks),
        (&[5, 0, 5, 0, 0, 9], ProxyFault::NotSocks),
        (&[5, 0, 5, 0, 0, 1, 0, 0], ProxyFault::Ended),
        (&[5], ProxyFault::Ended),
    ] {
        let server = Server::start(move |mut stream| async move {
            let _greeting = stream.read(&mut [0; 16]).await;
            let _gone = stream.write_all(answer).await;
            let _gone = stream.shutdown().await;
            let _request = stream.read(&mut [0; 64]).await;
        })
        .await;
        assert_eq!(
            server.proxy("socks5").connect("192.0.2.1:1".parse().unwrap()).await.unwrap_err(),
            expected,
            "{answer:?}"
        );
    }
}
