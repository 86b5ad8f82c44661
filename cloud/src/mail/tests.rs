//! Settings that cannot be meant, letters that carry more than one subject, and servers that refuse, close, or say nothing.

use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;

const PLAIN: &str = "server = \"127.0.0.1\"\ntls = \"none\"\nfrom = \"Postern <postern@example.com>\"\n";

struct Place(tempfile::TempDir);

impl Place {
    fn of(text: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("mail.toml", text, 0o644);
        place
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn open(&self) -> Result<Option<Mailer>, SettingsError> {
        Mailer::open(self.0.path())
    }
}

fn letter() -> Letter {
    Letter::new("jo@example.com".parse().unwrap(), "Invitation to acme".into(), "A text.\n".into()).unwrap()
}

/// A mailer whose server is at this port.
fn at(port: u16) -> Mailer {
    Place::of(&format!("{PLAIN}port = {port}\n")).open().unwrap().unwrap()
}

#[test]
fn without_settings_there_is_no_mail_and_with_good_ones_there_is() {
    let nothing = Place(tempfile::tempdir().unwrap());
    assert!(nothing.open().unwrap().is_none());
    assert_eq!(Place::of(PLAIN).open().unwrap().unwrap().server, "127.0.0.1:25");
    for (tls, port) in [("implicit", 465), ("starttls", 587)] {
        let text = PLAIN.replace("none", tls).replace("127.0.0.1", "mail.example.com");
        let place = Place::of(&format!("{text}user = \"postern\"\npassword-file = \"mail.password\"\n"));
        place.write("mail.password", "secret\n", 0o600);
        let mailer = place.open().unwrap().unwrap();
        assert_eq!(mailer.server, format!("mail.example.com:{port}"));
        assert!(!format!("{mailer:?}").contains("secret"));
    }
    let link = Place::of(&format!("{PLAIN}link = \"https://cloud.example.com/\"\n"));
    assert_eq!(link.open().unwrap().unwrap().link(), Some("https://cloud.example.com"));
}

#[test]
fn settings_that_cannot_be_meant_are_refused_with_their_key_or_line() {
    for (text, expected) in [
        (PLAIN.replace("127.0.0.1", "mail.example.com"), "`tls`: `none` would send codes in the clear"),
        (PLAIN.replace("none", "maybe"), "line 2: unknown variant `maybe`"),
        (PLAIN.replace("server", "sever"), "line 1: unknown field `sever`"),
        (PLAIN.replace("127.0.0.1", "mail\\r\\nEHLO"), "`server`: expected the name or address"),
        (PLAIN.replace("Postern <postern@example.com>", "Postern"), "`from`: expected an address"),
        (PLAIN.replace("Postern <", "Post\\r\\nern <"), "`from`: expected an address"),
        (format!("{PLAIN}port = 0\n"), "`port`: expected 1 to 65535"),
        (format!("{PLAIN}user = \"postern\"\n"), "`user`: this needs a `password-file`"),
        (format!("{PLAIN}password-file = \"mail.password\"\n"), "`password-file`: this needs a `user`"),
        (format!("{PLAIN}ca = \"ca.pem\"\n"), "`ca`: nothing is verified without TLS"),
        (
            format!("{PLAIN}link = \"http://cloud.example.com\"\n"),
            "`link`: expected where people reach the API",
        ),
        (format!("{PLAIN}link = \"https://a b\"\n"), "`link`: expected where people reach the API"),
        (format!("{}ca = \"empty.pem\"\n", PLAIN.replace("none", "starttls")), "`ca`: no certificate in PEM"),
        (
            format!("{}ca = \"missing.pem\"\n", PLAIN.replace("none", "starttls")),
            "missing.pem`: No such file",
        ),
        (format!("{PLAIN}user = \"postern\"\npassword-file = \"open\"\n"), "has mode 0644, expected 0600"),
        (
            format!("{PLAIN}user = \"postern\"\npassword-file = \"empty\"\n"),
            "has no password in its first line",
        ),
    ] {
        let place = Place::of(&text);
        place.write("empty.pem", "nothing\n", 0o644);
        place.write("open", "secret\n", 0o644);
        place.write("empty", "\n", 0o600);
        let error = place.open().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn no_name_or_subject_begins_another_header() {
    let to: MailAddress = "jo@example.com".parse().unwrap();
    for subject in ["Hello\r\nBcc: eve@example.com", "Hello\nX", "Hello\rX", "a\0b"] {
        let refused = Letter::new(to.clone(), subject.into(), String::new());
        assert!(matches!(refused, Err(SendError::Subject)), "{subject:?}");
    }
    // A text has as many lines as it likes, all of them after the headers.
    let text = "Hello\r\n.\r\nBcc: eve@example.com\r\n\r\nMAIL FROM:<x>\r\n";
    let long = Letter::new(to, "Größe".into(), text.into()).unwrap();
    let message = at(1).message(&long).unwrap();
    let formatted = String::from_utf8(message.formatted()).unwrap();
    let (headers, body) = formatted.split_once("\r\n\r\n").unwrap();
    assert!(!headers.contains("eve@") && body.contains("eve@"), "{formatted}");
    assert!(
        headers.contains("Auto-Submitted: auto-generated") && headers.contains("To: jo@example.com"),
        "{headers}"
    );
    let recipients: Vec<String> = message.envelope().to().iter().map(ToString::to_string).collect();
    assert_eq!(recipients, ["jo@example.com"]);
    assert!(!format!("{long:?}").contains("Bcc"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = at(port).send(&letter()).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Unusable { server, .. } if *server == format!("127.0.0.1:{port}")),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_server_refuses_is_said_in_its_words_on_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 here\r\n").await.unwrap();
        while let Some(line) = lines.next_line().await.unwrap() {
            let answer: &[u8] = if line.starts_with("EHLO") {
                b"250 here\r\n"
            } else if line.starts_with("RCPT") {
                b"550-no such\x1b[31m person\r\n550 here\r\n"
            } else {
                b"250 ok\r\n"
            };
            write.write_all(answer).await.unwrap();
        }
    });
    let error = at(port).send(&letter()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SendError::Refused { .. }) && text.contains("no such"), "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    serve.abort();
}

#[tokio::test]
async fn a_server_that_knows_no_tls_gets_no_letter_and_no_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut heard = Vec::new();
        write.write_all(b"220 here\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            write.write_all(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n").await.unwrap();
            heard.push(line.split(' ').next().unwrap_or_default().to_owned());
        }
        heard
    });
    let text = format!(
        "{}port = {port}\nuser = \"postern\"\npassword-file = \"p\"\n",
        PLAIN.replace("none", "starttls")
    );
    let place = Place::of(&text);
    place.write("p", "secret\n", 0o600);
    let error = place.open().unwrap().unwrap().send(&letter()).await.unwrap_err();
    assert!(matches!(error, SendError::Unusable { .. }), "{error}");
    let heard = heard.await.unwrap();
    assert!(heard.iter().all(|word| word == "EHLO" || word == "QUIT"), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left_after_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    let before = tokio::time::Instant::now();
    let error = at(port).send(&letter()).await.unwrap_err();
    assert!(matches!(error, SendError::Late { .. }), "{error}");
    assert!(before.elapsed() <= PATIENCE + Duration::from_secs(1));
    silent.abort();
}

#[tokio::test(start_paused = true)]
async fn letters_that_wait_are_bounded_and_whoever_dispatches_does_not_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let post = Post::new(at(listener.local_addr().unwrap().port()));
    for _ in 0..2 * WAITING {
        post.dispatch(letter());
    }
    assert_eq!(post.waiting.available_permits(), 0);
    // Nobody answers: each gives up in its time, and its place is free again.
    while post.waiting.available_permits() < WAITING {
        tokio::time::sleep(PATIENCE).await;
    }
}
