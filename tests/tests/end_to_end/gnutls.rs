//! GnuTLS, which shares no code with this project, against its TLS: a raw ed25519 key is admitted and recognised,
//! everything else is refused.
//!
//! GnuTLS has no QUIC in its command, so it dials the same configuration over TCP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use postern_protocol::trust::{PublicKey, SecretKey};
use postern_tests::world::{Call, Done, Ending, Mishap};
use postern_transport::server_tls;
use rustls::{ServerConnection, StreamOwned};

use super::peers::programs;
use super::stage::Outcome;

#[tokio::test]
async fn gnutls_is_admitted_with_a_raw_ed25519_key_and_refused_with_anything_else() -> Outcome {
    let name = "gnutls_is_admitted_with_a_raw_ed25519_key_and_refused_with_anything_else";
    let Some([cli, certtool]) = programs(name, ["gnutls-cli", "certtool"]) else { return Ok(()) };
    let keys = Keys::make(&certtool).await?;
    let key = keys.own.to_string_lossy();
    let public = keys.own_public.to_string_lossy();

    let raw = format!("{BASE}:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK");
    let own = ["--rawpkkeyfile", &key, "--rawpkfile", &public];
    let (done, seen) = attempt(&cli, &raw, &own, ALPN).await?;
    assert_eq!(seen, Ok(keys.own_key()?), "{done:?}");
    assert!(done.out.contains("welcome"), "{done:?}");

    let (rsa, rsa_public) = (keys.rsa.to_string_lossy(), keys.rsa_public.to_string_lossy());
    let rsa = ["--rawpkkeyfile", &rsa, "--rawpkfile", &rsa_public];
    let certificate = keys.certificate.to_string_lossy();
    let x509 = ["--x509keyfile", &key, "--x509certfile", &certificate];
    let old = raw.replace("+VERS-TLS1.3", "+VERS-TLS1.2");
    let refused: [(&str, &[&str], &str, &str); 5] = [
        // Asked for a key that it does not have, gnutls gives up by itself.
        (&raw, &[], ALPN, "received fatal alert: UserCanceled"),
        // It has one, but of no kind that is asked for.
        (&raw, &rsa, ALPN, "peer sent no certificates"),
        (BASE, &x509, ALPN, "peer is incompatible: IncorrectCertificateTypeExtension"),
        (&raw, &own, "other/1", "peer doesn't support any known protocol"),
        (&old, &own, ALPN, "peer is incompatible: SupportedVersionsExtensionRequired"),
    ];
    for (priority, credentials, alpn, error) in refused {
        let (done, seen) = attempt(&cli, priority, credentials, alpn).await?;
        assert_eq!(seen, Err(error.to_owned()), "{done:?}");
        assert_ne!(done.ending, Ending::Code(0), "{done:?}");
    }
    Ok(())
}

/// Lets gnutls dial once, and yields what it printed and whom the listener saw.
async fn attempt(
    cli: &Path,
    priority: &str,
    credentials: &[&str],
    alpn: &str,
) -> Result<(Done, Result<PublicKey, String>), Mishap> {
    let (address, seen) = listen()?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let call = Call::new(cli)
        .args(["--priority", priority, "--insecure", "--no-ca-verification", "--alpn", alpn, "--port", &port])
        .args(credentials)
        .arg(host)
        .input("hello\n");
    let done = call.finish().await?;
    let seen = seen.recv_timeout(PATIENCE);
    Ok((done, seen.map_err(|_| Mishap::unexpected("the listener", "silence", "a verdict"))?))
}

type Seen = mpsc::Receiver<Result<PublicKey, String>>;

/// Admits one peer with the project's configuration and greets it; what it saw goes into the channel.
fn listen() -> Result<(SocketAddr, Seen), Mishap> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (verdict, seen) = mpsc::channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let config = server_tls(&SecretKey::from_seed([9; 32]).unwrap(), &[ALPN.as_bytes()]);
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut word = [0; 5];
        let outcome = stream.read_exact(&mut word).map_err(|error| error.to_string()).map(|()| {
            let spki = stream.conn.peer_certificates().unwrap()[0].to_vec();
            PublicKey::try_from(&spki[12..]).unwrap()
        });
        if outcome.is_ok() {
            stream.write_all(b"welcome\n").unwrap();
            stream.conn.send_close_notify();
        }
        // The alert, or the greeting; a peer that has left already does not want it.
        let _gone = stream.flush();
        verdict.send(outcome).unwrap();
    });
    Ok((address, seen))
}

/// Keys that certtool has made.
struct Keys {
    own: PathBuf,
    own_public: PathBuf,
    rsa: PathBuf,
    rsa_public: PathBuf,
    certificate: PathBuf,
    _room: tempfile::TempDir,
}

impl Keys {
    async fn make(certtool: &Path) -> Result<Self, Mishap> {
        let room = tempfile::tempdir()?;
        let at = |name: &str| room.path().join(name);
        for (kind, name) in [("ed25519", "own"), ("rsa", "rsa")] {
            let (key, public) = (at(&format!("{name}.key")), at(&format!("{name}.pub")));
            let make =
                Call::new(certtool).args(["--generate-privkey", "--key-type", kind, "--outfile"]).arg(&key);
            make.finish().await?.expect_code(0)?;
            let show = Call::new(certtool).arg("--load-privkey").arg(&key);
            show.args(["--pubkey-info", "--outfile"]).arg(&public).finish().await?.expect_code(0)?;
        }
        std::fs::write(at("template"), "cn = \"stranger\"\nexpiration_days = 2\n")?;
        let sign = Call::new(certtool).args(["--generate-self-signed", "--load-privkey"]).arg(at("own.key"));
        let sign = sign.arg("--template").arg(at("template")).arg("--outfile").arg(at("own.crt"));
        sign.finish().await?.expect_code(0)?;
        Ok(Self {
            own: at("own.key"),
            own_public: at("own.pub"),
            rsa: at("rsa.key"),
            rsa_public: at("rsa.pub"),
            certificate: at("own.crt"),
            _room: room,
        })
    }

    /// The last 32 bytes of the SubjectPublicKeyInfo that certtool wrote after its description.
    fn own_key(&self) -> Result<PublicKey, Mishap> {
        let text = std::fs::read_to_string(&self.own_public)?;
        let (_, body) = text.split_once("-----BEGIN PUBLIC KEY-----").unwrap();
        let (body, _) = body.split_once("-----END").unwrap();
        let spki =
            data_encoding::BASE64.decode(body.split_whitespace().collect::<String>().as_bytes()).unwrap();
        Ok(PublicKey::try_from(&spki[12..]).unwrap())
    }
}

const ALPN: &str = "postern-tunnel/1";
/// TLS 1.3 and nothing older; the lists of certificate types follow.
const BASE: &str = "NORMAL:-VERS-ALL:+VERS-TLS1.3";
const PATIENCE: Duration = Duration::from_secs(10);
