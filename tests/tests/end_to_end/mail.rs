//! Letters through a mail server of others (aiosmtpd): STARTTLS, TLS from the first byte, passwords, and what is said when one is not taken.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use postern_tests::world::{Call, Mishap, Running, Stream, World};
use serde_json::{Value, json};

use super::approvals::{ask, world_with};
use super::gate::{DENIED, echoed};
use super::peers::browser::keep;
use super::peers::chromium::Browser;
use super::peers::programs;
use super::stage::{LAB, Outcome, Plant};

const FLEET: &str = r#"
[account.acme]
tenant = "operating_company"
[user.ada]
account = "acme"
[assignment.ada]
user = "ada"
role = "tenant-admin"
scope = { account = "acme" }
"#;

/// A mail server beside a hub.
struct Server {
    running: Running,
    port: String,
}

impl Server {
    async fn start(python: &Path, args: &[&str]) -> Result<Self, Mishap> {
        let script = format!("{}/tests/end_to_end/peers/mail.py", env!("CARGO_MANIFEST_DIR"));
        let running = Call::new(python).args(["-u", &script]).args(args).start("the mail server")?;
        let line = running.line("where it listens", |line| line.text.starts_with("listening on ")).await?;
        let port = line.text.rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { running, port })
    }

    /// The letter to an address.
    async fn letter(&self, to: &str) -> Result<Value, Mishap> {
        let wanted = format!("\"to\": [\"{to}\"]");
        let line =
            self.running.line("a letter", |line| line.stream == Stream::Out && line.text.contains(&wanted));
        Ok(serde_json::from_str(&line.await?.text).unwrap())
    }
}

/// A certificate for `localhost` and its key, in PEM.
fn certificate(place: &Path) -> [PathBuf; 2] {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let files = [place.join("server.pem"), place.join("server.key")];
    std::fs::write(&files[0], pem("CERTIFICATE", certificate.der())).unwrap();
    std::fs::write(&files[1], pem("PRIVATE KEY", &key.serialize_der())).unwrap();
    files
}

/// Bytes in PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The settings in the hub's state.
fn settings(world: &World, text: &str, password: &str) {
    let state = world.hub.state_dir();
    std::fs::write(state.join("mail.toml"), text).unwrap();
    let file = state.join("mail.password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn text(tls: &str, port: &str, ca: &Path) -> String {
    format!(
        "server = \"localhost\"\nport = {port}\ntls = \"{tls}\"\nuser = \"postern\"\npassword-file = \"mail.password\"\n\
         from = \"Größe <postern@example.com>\"\nca = \"{}\"\n",
        ca.display()
    )
}

async fn world() -> Result<World, Mishap> {
    let world = World::bare(LAB).await?;
    world.hub.apply(FLEET, &[]).await?;
    Ok(world)
}

/// A running hub whose letters leave by STARTTLS and a password, and the server that takes them.
async fn posting(python: &Path) -> Result<(World, Server), Mishap> {
    let mut world = world().await?;
    let [pem, key] = certificate(world.dir());
    let server =
        Server::start(python, &["starttls", pem.to_str().unwrap(), key.to_str().unwrap(), "open sesame"])
            .await?;
    settings(&world, &text("starttls", &server.port, &pem), "open sesame");
    world.hub.serve().await?;
    Ok((world, server))
}

async fn invite(world: &World, args: &[&str]) -> Result<Value, Mishap> {
    let args = [&["invitation", "new"], args, &["--json"]].concat();
    world.hub.call(args).finish().await?.expect_code(0)?.json()
}

#[tokio::test]
async fn an_invitation_leaves_by_starttls_with_a_password_and_is_accepted_by_whoever_gets_it() -> Outcome {
    let name = "an_invitation_leaves_by_starttls_with_a_password_and_is_accepted_by_whoever_gets_it";
    let Some([python]) = programs(name, ["python3"]) else { return Ok(()) };
    let (world, server) = posting(&python).await?;

    let made = invite(&world, &["jo", "--account", "acme", "--mail", "jo@example.com"]).await?;
    assert_eq!(
        (&made["mailed"], &made["code"], &made["unsent"]),
        (&json!("jo@example.com"), &Value::Null, &Value::Null)
    );
    let letter = server.letter("jo@example.com").await?;
    assert_eq!((&letter["tls"], &letter["user"]), (&json!(true), &json!("postern")));
    assert_eq!(letter["sender"], "postern@example.com");
    let headers = &letter["headers"];
    assert_eq!(
        (&headers["Subject"], &headers["To"]),
        (&json!("Invitation to acme"), &json!("jo@example.com"))
    );
    assert!(headers["From"].as_str().unwrap().contains("Größe"), "{headers}");
    let text = letter["text"].as_str().unwrap();
    let code = text.split_whitespace().find(|word| word.starts_with("postern-")).unwrap();
    world.stranger("jo")?.login_with_code(code).await?.expect_code(0)?;
    // The code is in no log and no history.
    let history = world.hub.call(["history", "--json"]).finish().await?.expect_code(0)?.out;
    assert!(!history.contains(code) && !world.hub.log().contains(code));
    assert!(history.contains("jo@example.com") || history.contains("invitation new jo"), "{history}");

    // What the server does not take is said, with the code, and the invitation is there.
    let made = invite(&world, &["jim", "--account", "acme", "--mail", "refused@example.com"]).await?;
    assert!(made["unsent"].as_str().unwrap().contains("nobody of that name is here"), "{made}");
    let shown = made["code"].as_str().unwrap();
    world.stranger("jim")?.login_with_code(shown).await?.expect_code(0)?;
    // Somebody without an address, and somebody who wants to hand it over in person.
    assert!(invite(&world, &["joe", "--account", "acme"]).await?["code"].is_string());
    let printed =
        invite(&world, &["jan", "--account", "acme", "--mail", "jan@example.com", "--print"]).await?;
    assert!(printed["code"].is_string() && printed["mailed"].is_null(), "{printed}");
    Ok(())
}

#[tokio::test]
async fn mail_is_tried_by_command_and_what_is_wrong_with_it_is_said() -> Outcome {
    let name = "mail_is_tried_by_command_and_what_is_wrong_with_it_is_said";
    let Some([python]) = programs(name, ["python3"]) else { return Ok(()) };
    let world = world().await?;
    let [pem, key] = certificate(world.dir());
    let tried = async |expected: i32| -> Result<String, Mishap> {
        let done =
            world.hub.call(["mail", "test", "jo@example.com"]).finish().await?.expect_code(expected)?;
        Ok(format!("{}{}", done.out, done.err))
    };
    assert!(tried(1).await?.contains("mail is not configured"));
    let args = ["implicit", pem.to_str().unwrap(), key.to_str().unwrap(), "open sesame"];
    let server = Server::start(&python, &args).await?;
    settings(&world, &text("implicit", &server.port, &pem), "open sesame");
    assert_eq!(tried(0).await?, "The mail server took a letter to jo@example.com.\n");
    assert_eq!(server.letter("jo@example.com").await?["tls"], true);
    // A wrong password; a certificate of somebody else; TLS after a word in the clear where it is from the first byte.
    settings(&world, &text("implicit", &server.port, &pem), "guess");
    assert!(tried(1).await?.contains("refused it"), "a wrong password");
    let elsewhere = world.dir().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let [other, _] = certificate(&elsewhere);
    settings(&world, &text("implicit", &server.port, &other), "open sesame");
    assert!(tried(1).await?.contains("could not be used"), "another certificate");
    // Nothing is sent in the clear to a server that has no TLS, and nothing is sent at all by settings that cannot be meant.
    let bare = Server::start(&python, &["none"]).await?;
    settings(&world, &text("starttls", &bare.port, &pem), "open sesame");
    assert!(tried(1).await?.contains("could not be used"), "no TLS");
    let plain = format!(
        "server = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"postern@example.com\"\n",
        bare.port
    );
    settings(&world, &plain, "");
    tried(0).await?;
    assert_eq!(bare.letter("jo@example.com").await?["tls"], false);
    settings(&world, &plain.replace("127.0.0.1", "mail.example.com"), "");
    assert!(tried(5).await?.contains("`tls`: `none` would send codes in the clear"));
    // A hub does not start with them either.
    let serve = world.hub.call(["serve", "--no-relay"]).finish().await?.expect_code(5)?;
    assert!(serve.err.contains("`mail.toml`"), "{}", serve.err);
    Ok(())
}

#[tokio::test]
async fn a_request_comes_by_mail_with_a_code_that_lets_one_in_once_and_nobody_else() -> Outcome {
    let name = "a_request_comes_by_mail_with_a_code_that_lets_one_in_once_and_nobody_else";
    let Some([python]) = programs(name, ["python3"]) else { return Ok(()) };
    let plant = Plant::start().await?;
    let mut world = world_with(&plant, &["user.olga.mail=olga@example.com".to_owned()]).await?;
    let (anna, bert) = (world.person("anna").await?, world.person("bert").await?);
    let otto = world.person("otto").await?;
    world.person("olga").await?;
    let server = Server::start(&python, &["none"]).await?;
    world.hub.stop().await?;
    let plain = format!(
        "server = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"postern@example.com\"\n",
        server.port
    );
    settings(&world, &plain, "");
    world.hub.serve().await?;
    world.settle().await?;

    let request = ask(&anna).await?;
    let letter = server.letter("olga@example.com").await?;
    assert_eq!(letter["headers"]["Subject"], "anna waits to be let in: press-7/echo");
    let text = letter["text"].as_str().unwrap();
    assert!(text.contains("acme/anna asks to use echo of press-7") && text.contains(&request), "{text}");
    let (_, code) = text.split_once("postern approve --code ").unwrap();
    let code = code.split_whitespace().next().unwrap();
    let other = ask(&bert).await?;

    // Not by who asks, on whatever computer of theirs; and there is one answer to every code that is worth nothing.
    let own = anna.call(["approve", "--code", code]).finish().await?.expect_code(DENIED)?;
    let none =
        anna.call(["approve", "--code", "aaaaaaaaaaaaaaaaaaaaaaaaaa"]).finish().await?.expect_code(DENIED)?;
    assert_eq!(own.err, none.err);
    let said = otto.call(["approve", "--code", code]).finish().await?.expect_code(0)?;
    assert!(said.out.starts_with("acme/anna may use press-7/echo until "), "{}", said.out);
    // The device may still be on its way back to the hub that was started anew.
    world.settle().await?;
    let session = anna.connect("echo").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"let in").await?, b"let in");
    // Once; and Bert, who asked for the same, waits on.
    otto.call(["approve", "--code", code]).finish().await?.expect_code(DENIED)?;
    let listed = world.hub.call(["approval", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
    let state = |id: &str| {
        let all = listed["approvals"].as_array().unwrap();
        let one = all.iter().find(|one| one["id"] == id).unwrap();
        (one["state"].clone(), one["decision"]["by"].clone())
    };
    assert_eq!(state(&request), (json!("approved"), json!("olga (by a code)")));
    assert_eq!(state(&other), (json!("pending"), Value::Null));
    assert!(!world.hub.log().contains(code));
    Ok(())
}

#[tokio::test]
async fn an_invitation_by_somebody_s_own_command_leaves_by_mail_and_is_said_to_nobody() -> Outcome {
    let name = "an_invitation_by_somebody_s_own_command_leaves_by_mail_and_is_said_to_nobody";
    let Some([python]) = programs(name, ["python3"]) else { return Ok(()) };
    let (world, server) = posting(&python).await?;
    let ada = world.guest("ada").await?;
    let invite = async |user: &str, mail: &str| {
        ada.call(["admin", "invite", user, "--mail", mail]).finish().await?.expect_code(0)
    };

    let said = invite("acme.jo", "jo@example.com").await?;
    assert!(
        said.out.starts_with("acme.jo of acme gets a code at jo@example.com; it is good once"),
        "{}",
        said.out
    );
    let letter = server.letter("jo@example.com").await?;
    let text = letter["text"].as_str().unwrap();
    let code = text.split_whitespace().find(|word| word.starts_with("postern-")).unwrap();
    assert!(!format!("{}{}", said.out, said.err).contains(code));
    world.stranger("jo")?.login_with_code(code).await?.expect_code(0)?;

    // What the server does not take is said, with the code.
    let said = invite("acme.jim", "refused@example.com").await?;
    assert!(
        said.err.contains("no letter was sent: ") && said.err.contains("nobody of that name is here"),
        "{}",
        said.err
    );
    let code = said.out.split_whitespace().find(|word| word.starts_with("postern-")).unwrap();
    world.stranger("jim")?.login_with_code(code).await?.expect_code(0)?;
    // No address that could begin another header.
    let wrong = ["admin", "invite", "acme.joe", "--mail", "joe@example.com\r\nBcc: jim@example.com"];
    let refused = ada.call(wrong).finish().await?.expect_code(16)?;
    assert!(refused.err.contains("expected an address such as"), "{}", refused.err);
    Ok(())
}

#[tokio::test]
async fn the_page_of_a_letter_lets_somebody_in_by_its_button_in_chromium_and_by_no_look() -> Outcome {
    let name = "the_page_of_a_letter_lets_somebody_in_by_its_button_in_chromium_and_by_no_look";
    let Some([python, chromium]) = programs(name, ["python3", "chromium"]) else { return Ok(()) };
    let plant = Plant::start().await?;
    let mut world = world_with(&plant, &["user.olga.mail=olga@example.com".to_owned()]).await?;
    let anna = world.person("anna").await?;
    world.person("olga").await?;
    let server = Server::start(&python, &["none"]).await?;
    world.hub.stop().await?;
    let plain = format!(
        "server = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"postern@example.com\"\nlink = \"https://cloud.example.com\"\n",
        server.port
    );
    settings(&world, &plain, "");
    world.hub.open_api();
    world.hub.serve().await?;
    world.settle().await?;
    ask(&anna).await?;
    let letter = server.letter("olga@example.com").await?;
    let path = letter["text"].as_str().unwrap().split_once("https://cloud.example.com").unwrap().1;
    let path = path.split_whitespace().next().unwrap();
    let url = format!("http://{}{path}", world.hub.api().await?);

    let room = tempfile::tempdir()?;
    let mut browser = Browser::start(&chromium, room.path()).await?;
    let text = "document.body.innerText";
    for _look in 0..2 {
        browser.open(&url).await?;
        let shown = browser.value(text).await?;
        let shown = shown.as_str().unwrap();
        assert!(
            shown.contains("acme/anna asks to use echo of press-7") && shown.contains("You are olga"),
            "{shown}"
        );
    }
    keep(&mut browser, "approve-waits").await?;
    let listed = world.hub.call(["approval", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
    assert_eq!(listed["approvals"][0]["state"], "pending");
    // How it looks is its own to say, and nothing runs or is loaded.
    let button = "getComputedStyle(document.querySelector('button')).backgroundColor";
    assert_eq!(browser.value(button).await?, "rgb(10, 88, 168)");
    assert_eq!(
        browser.value("document.scripts.length + performance.getEntriesByType('resource').length").await?,
        0
    );
    browser.value("document.querySelector('button').click()").await?;
    browser.until("document.title === 'They are let in'").await?;
    keep(&mut browser, "approve-done").await?;
    assert!(browser.value(text).await?.as_str().unwrap().contains("anna may use echo of press-7 until"));
    world.settle().await?;
    let session = anna.connect("echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"by a button").await?, b"by a button");
    // Once.
    browser.open(&url).await?;
    browser.until("document.title === 'Nothing waits here'").await?;
    keep(&mut browser, "approve-over").await?;
    Ok(())
}
