//! Shows why there is no tunnel in the program that wanted one, where its protocol has a place for words: a VNC viewer.
//!
//! The words go where the viewer expects the machine's security types. A session that was open can only be closed: then
//! the reason stands on the terminal alone.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use postern_protocol::gate::rfb::Refusal;
use postern_protocol::policy::Kind;
use postern_protocol::wire::text::Text;

use crate::problem::Problem;

/// Whether the program at the other end of the socket was told.
pub(super) async fn show(kind: Kind, socket: &mut TcpStream, problem: &Problem) -> bool {
    match kind {
        Kind::Vnc => {
            let told = tokio::time::timeout(WITHIN, tell_viewer(socket, problem)).await;
            matches!(told, Ok(Ok(())))
        }
        Kind::Vpn | Kind::Http | Kind::Websocket => false,
    }
}

async fn tell_viewer(socket: &mut TcpStream, problem: &Problem) -> io::Result<()> {
    let mut refusal = Refusal::new(Text::clean(&problem.to_string()));
    let mut heard = [0; 64];
    loop {
        if let Some(bytes) = refusal.poll_to_viewer() {
            socket.write_all(bytes).await?;
        }
        if refusal.is_over() {
            break;
        }
        match socket.read(&mut heard).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => refusal.handle_viewer(heard.get(..read).unwrap_or_default()),
        }
    }
    socket.shutdown().await?;
    // A viewer that still speaks would get a reset, and some systems then forget what they have not read yet.
    while socket.read(&mut heard).await? > 0 {}
    Ok(())
}

/// Time for a viewer to speak first and to read.
const WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use postern_protocol::policy::Reason;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_viewer_reads_what_the_terminal_says_and_other_programs_read_nothing() {
        let problem = Problem::denied(Reason::Concurrency);
        let (mut viewer, mut socket) = pair().await;
        let looking = tokio::spawn(async move {
            let mut read = Vec::new();
            viewer.write_all(b"RFB 003.008\n").await.unwrap();
            viewer.read_to_end(&mut read).await.unwrap();
            read
        });
        assert!(show(Kind::Vnc, &mut socket, &problem).await);
        let words = "as many tunnels are open as this service allows; close one of them or try again later \
                     (it passes with time)";
        let length = u32::try_from(words.len()).unwrap().to_be_bytes();
        assert_eq!(
            looking.await.unwrap(),
            [b"RFB 003.008\n\0".as_slice(), &length, words.as_bytes()].concat()
        );
        let (mut other, mut socket) = pair().await;
        assert!(!show(Kind::Http, &mut socket, &problem).await);
        drop(socket);
        let mut read = Vec::new();
        other.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"");
    }
}
