//! No secret is ever logged: everything is done that a secret takes part in, with every program and library at TRACE, and then each
//! secret is looked for in all that was logged, in every form in which bytes are usually printed.
//!
//! 1. A device is enrolled, machines get passwords, a person accepts an invitation, sets a second factor up and signs in with it.
//! 2. Tunnels of every kind are used, one of them logged in at its machine by the device.
//! 3. The device's key is rotated, and agent and hub are started again.
//! 4. What the programs print because somebody asked for it (a code, the secret of an authenticator) is no log: of the client and of
//!    commands it is standard error that is searched, of agent and hub all they say.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use postern_tests::world::probe::{http_page, vnc_picture, websocket_talk, within};
use postern_tests::world::{DEVICE, Mishap, Stream, World};
use totp_rs::Builder;

use super::gate::echoed;
use super::stage::{LAB, Outcome, Plant};

/// The password of a panel, and the one by which the device logs in at a web server.
const PANEL: &str = "canary-panel-4711-yellow";
const WEB: &str = "canary-web-0815-yellow";
/// What every person of a world chooses.
const PASSWORD: &str = "correct horse battery staple";

/// Something that must not be found.
struct Canary {
    what: String,
    bytes: Vec<u8>,
}

impl Canary {
    fn new(what: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { what: what.into(), bytes: bytes.into() }
    }

    /// As text, as digits, and as a list of numbers, of which a part is enough.
    fn forms(&self) -> Vec<String> {
        let bytes = &self.bytes;
        let some = &bytes[..bytes.len().min(12)];
        let list = |format: fn(&u8) -> String| some.iter().map(format).collect::<Vec<_>>().join(", ");
        let mut forms = vec![
            HEXLOWER.encode(some),
            HEXUPPER.encode(some),
            BASE64.encode(bytes).trim_end_matches('=').to_owned(),
            BASE64URL_NOPAD.encode(bytes),
            BASE32_NOPAD.encode(bytes),
            list(u8::to_string),
            list(|byte| format!("{byte:#x}")),
            list(|byte| format!("{byte:x}")),
            some.escape_ascii().to_string(),
        ];
        forms.extend(std::str::from_utf8(bytes).map(str::to_owned));
        forms
    }

    /// How it is found in a log.
    fn found_in<'a>(&self, log: &'a str) -> Option<&'a str> {
        self.forms().iter().find_map(|form| {
            let at = log.find(form.as_str())?;
            let line = log[..at].rfind('\n').map_or(0, |end| end + 1);
            log[line..].lines().next()
        })
    }
}

#[test]
fn a_secret_is_found_in_each_form_in_which_bytes_are_printed() {
    let canary = Canary::new("a key", [7, 200, 0, 13, 99, 1, 2, 3, 4, 5, 6, 7, 8]);
    for log in [
        "key=07c8000d630102030405".to_owned() + "0607",
        "KEY 07C8000D6301020304050607".to_owned(),
        format!("seed: {:?}", canary.bytes),
        format!("seed: {:x?}", canary.bytes),
        "seed: 0x7, 0xc8, 0x0, 0xd, 0x63, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7".to_owned(),
        format!("got {}", BASE64.encode(&canary.bytes)),
    ] {
        assert_eq!(canary.found_in(&format!("a line\n{log}\nanother")), Some(log.as_str()));
    }
    assert_eq!(canary.found_in("key=redacted"), None);
}

/// What was logged, piece by piece.
#[derive(Default)]
struct Logs(Vec<(String, String)>);

impl Logs {
    fn add(&mut self, of: impl Into<String>, log: impl Into<String>) {
        self.0.push((of.into(), log.into()));
    }

    /// Every secret that is in one of them, with the line.
    fn betrayed<'a>(&'a self, canaries: &'a [Canary]) -> Vec<(&'a str, &'a str, &'a str)> {
        let pairs = self.0.iter().flat_map(|log| canaries.iter().map(move |canary| (log, canary)));
        let found = pairs.filter_map(|((of, log), canary)| {
            canary.found_in(log).map(|line| (canary.what.as_str(), of.as_str(), line))
        });
        found.collect()
    }
}

/// Private keys below a directory: files of 32 bytes, or of 64 hexadecimal digits.
fn keys_below(dir: &Path, canaries: &mut Vec<Canary>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            keys_below(&path, canaries);
        } else if path.metadata().is_ok_and(|found| found.is_file() && (32..=66).contains(&found.len())) {
            let bytes = std::fs::read(&path).unwrap();
            let digits = bytes.trim_ascii_end();
            let seed = HEXLOWER.decode(digits).ok().filter(|seed| seed.len() == 32);
            let seed = seed.or_else(|| (bytes.len() == 32).then_some(bytes));
            canaries.extend(seed.map(|seed| Canary::new(path.display().to_string(), seed)));
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_any_log_at_trace_in_any_form() -> Outcome {
    let plant = Plant::start().await?;
    let place = format!("\"tcp {} {}\"", plant.press.web.ip(), plant.press.web.port());
    let everything = ["echo", "hmi", "live", "net", "web"];
    let fleet = plant
        .services()
        .vpn("net", &[&place])
        .limit("hmi", "password = \"panel\"")
        .limit("web", "login = { scheme = \"basic\", user = \"service\", secret = \"web-login\" }")
        .allow("anna", &everything);
    let (mut canaries, mut logs) = (Vec::new(), Logs::default());

    // 1. Who is who.
    let mut world = World::bare(LAB).await?;
    world.hub.log_everything();
    world.device.log_everything()?;
    world.hub.apply(&fleet.to_toml(), &[]).await?;
    world.hub.serve().await?;
    let code = world.hub.enrolment_code(DEVICE).await?;
    logs.add("enroll", world.device.enroll(&code).await?.expect_code(0)?.err);
    canaries.push(Canary::new("the enrolment code", code));
    world.device.run().await?;
    world.settle().await?;
    for (name, secret) in [("panel", PANEL), ("web-login", WEB)] {
        let call = world.hub.call(["secret", "set", DEVICE, name, "--stdin"]).input(secret);
        logs.add("secret set", call.finish().await?.expect_code(0)?.err);
        canaries.push(Canary::new(name, secret));
    }
    world.settle().await?;
    let anna = world.stranger("anna")?;
    let code = world.hub.invitation_code("anna").await?;
    logs.add("login", anna.login_with_code(&code).await?.expect_code(0)?.err);
    canaries.push(Canary::new("the invitation", code));
    let password = format!("{PASSWORD}\n");
    let set_up = anna.call(["login", "--setup-otp", "--password-stdin"]).input(password.clone());
    let done = set_up.finish().await?.expect_code(0)?;
    logs.add("login --setup-otp", done.err);
    let secret = done.out.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
    let secret = BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    let app = Builder::new().with_secret(secret.clone()).build().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let code = app.generate(now).to_string();
    let call = anna.call(["login", "--otp", &code, "--password-stdin"]).input(password);
    logs.add("login --otp", call.finish().await?.expect_code(0)?.err);
    canaries.push(Canary::new("the password", PASSWORD));
    canaries.push(Canary::new("the secret of the second factor", secret));
    world.settle().await?;

    // 2. Tunnels of every kind.
    let session = anna.connect("echo").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"canary").await?, b"canary");
    logs.add("connect echo", errors(&session.log()));
    for (service, kind) in [("hmi", 0), ("web", 1), ("live", 2)] {
        let session = anna.connect(service).await?;
        match kind {
            0 => drop(vnc_picture(session.address).await?),
            1 => drop(http_page(&session, "/").await?),
            _ => drop(websocket_talk(&session, "canary").await?),
        }
        canaries.extend(session.key.clone().map(|key| Canary::new(format!("the key of {service}"), key)));
        logs.add(format!("connect {service}"), errors(&session.log()));
    }
    let target = plant.press.web.to_string();
    let forward = anna.call(["forward", DEVICE, &target, "--json"]).start("forward")?;
    let said = forward.line("where it listens", |line| line.stream == Stream::Out).await?.text;
    let mut near = said.split('"').filter_map(|word| word.parse::<SocketAddr>().ok());
    let near = near.find(|near| *near != plant.press.web).unwrap();
    assert!(page_at(near).await?.starts_with("HTTP/1."));
    logs.add("forward", errors(&forward.log()));

    // 3. Another key, and another life.
    keys_below(world.dir(), &mut canaries);
    let old = world.device.status().await?["fingerprint"].clone();
    let rotate = world.device.call(["key", "rotate"]).finish().await?.expect_code(0)?;
    logs.add("key rotate", rotate.err);
    world.device.status_until("a new key", |status| status["fingerprint"] != old).await?;
    world.device.stop().await?;
    world.device.run().await?;
    world.device.status_until("the link", |status| status["hub"].is_string()).await?;
    assert_eq!(echoed(&mut anna.connect("echo").await?.exchange().await?, b"again").await?, b"again");
    keys_below(world.dir(), &mut canaries);
    world.stop().await?;

    // 4. Nothing of it is anywhere.
    world.hush();
    logs.add("agent", world.device.log());
    logs.add("hub", world.hub.log());
    for (of, chatty) in [("agent", "TRACE"), ("hub", "TRACE")] {
        let (_, log) = logs.0.iter().find(|(name, _)| name == of).unwrap();
        assert!(log.contains(chatty), "the {of} logs at {chatty}");
    }
    // The device's two, the person's, and those of the hub's roles.
    assert!(canaries.len() >= 14, "{:?}", canaries.iter().map(|canary| &canary.what).collect::<Vec<_>>());
    assert_eq!(logs.betrayed(&canaries), []);
    Ok(())
}

/// The machine's page over a plain flow.
async fn page_at(near: SocketAddr) -> Result<String, Mishap> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    within("a page over a flow", async {
        let mut stream = tokio::net::TcpStream::connect(near).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: machine\r\nConnection: close\r\n\r\n").await?;
        let mut page = Vec::new();
        stream.read_to_end(&mut page).await?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    })
    .await
}

/// Of a running command, what is no answer.
fn errors(log: &str) -> String {
    log.lines().filter(|line| !line.contains("://")).map(|line| format!("{line}\n")).collect()
}
