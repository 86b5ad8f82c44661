//! `postern doctor` and `postern-agent doctor`: what stands in the way is found, named and asked for in these words.
//!
//! Hub and device are at a router, people and the command of the agent in an office behind a wire. What blocks is put on the router's side of it.

use std::path::Path;

use postern_tests::world::site::Site;
use postern_tests::world::{Call, DEVICE, Done, Fleet, Mishap, Office, Person, Running, World};
use serde_json::Value;

use super::peers::{missing, programs};
use super::stage::{LAB, Outcome};

struct Bench {
    world: World,
    anna: Person,
    office: Office,
    _site: Site,
}

impl Bench {
    async fn start(test: &str) -> Result<Option<Self>, Mishap> {
        if programs(test, ["nft", "ip", "python3", "openssl"]).is_none() {
            return Ok(None);
        }
        let Some(site) = Site::enter()? else {
            missing(test, "the right to make network namespaces (root)");
            return Ok(None);
        };
        let office = Office::beside(&[&site], 1500)?;
        let fleet = Fleet::new().vpn("cell", &["\"tcp 192.168.77.0/24 102\""]).allow("anna", &["cell"]);
        let host = (Office::wan(&site), None);
        let world = World::reached_at(host, LAB, &fleet, "192.168.77.0/24").await?;
        let anna = world.person("anna").await?;
        anna.call(["devices"]).finish().await?.expect_code(0)?;
        Ok(Some(Self { world, anna, office, _site: site }))
    }

    /// What the person's doctor says in the office: its exit code, the results by check, and the lines after the table.
    async fn doctor(&self, more: &[&str]) -> Result<Report, Mishap> {
        let call = self.anna.call([&["doctor"], more].concat());
        let text = self.office.at(&call).finish().await?;
        let call = self.anna.call([&["doctor", "--json"], more].concat());
        Ok(Report::of(&text, &self.office.at(&call).finish().await?))
    }

    /// The same of the device's.
    async fn device_doctor(&self) -> Result<Report, Mishap> {
        let text = self.office.at(&self.world.device.call(["doctor"])).finish().await?;
        let json = self.office.at(&self.world.device.call(["doctor", "--json"])).finish().await?;
        Ok(Report::of(&text, &json))
    }

    fn hub(&self) -> std::net::SocketAddr {
        self.world.hub.address()
    }
}

#[derive(Debug, PartialEq)]
struct Report {
    code: Option<i32>,
    /// `udp ok`, `tcp blocked dropped`.
    checks: Vec<String>,
    word: String,
    level: String,
    lines: Vec<String>,
}

impl Report {
    fn of(text: &Done, json: &Done) -> Self {
        let value: Value = serde_json::from_str(json.out.trim()).unwrap_or_default();
        assert!(value.is_object(), "{json:?}");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let check = |finding: &Value| {
            let all = ["step", "result", "word"].map(|key| word(&finding[key]));
            all.join(" ").trim_end().to_owned()
        };
        let checks = value["findings"].as_array().unwrap().iter().map(check).collect();
        let verdict = &value["verdict"];
        let lines = text.out.lines().skip_while(|line| !line.is_empty()).skip(1).map(str::to_owned).collect();
        assert_eq!(text.ending, json.ending);
        let code = match text.ending {
            postern_tests::world::Ending::Code(code) => Some(code),
            _ => None,
        };
        Self { code, checks, word: word(&verdict["word"]), level: word(&verdict["level"]), lines }
    }

    fn check(&self, step: &str) -> &str {
        let found = self.checks.iter().find(|check| check.split(' ').next() == Some(step));
        found.map_or("missing", |check| check.strip_prefix(step).unwrap().trim())
    }
}

/// Puts rules before what comes over the wire.
async fn block(rules: &[String]) -> Outcome {
    let chain = "table inet doctor {\nchain in {\ntype filter hook input priority 0;\n}\n}\n";
    let rules = rules.iter().map(|rule| format!("add rule inet doctor in iifname wan0 {rule}\n"));
    let script = format!("{chain}\n{}", rules.collect::<String>());
    Call::new("nft").args(["-f", "-"]).input(script.into_bytes()).finish().await?.expect_code(0).map(drop)
}

#[tokio::test]
async fn where_nothing_is_blocked_everything_is_ok_and_nothing_is_asked_for() -> Outcome {
    let Some(bench) =
        Bench::start("where_nothing_is_blocked_everything_is_ok_and_nothing_is_asked_for").await?
    else {
        return Ok(());
    };
    let hub = bench.hub();
    let said = bench.doctor(&[]).await?;
    assert_eq!(said.lines, [format!("The hub at {hub} is reached over UDP, the best way.")]);
    assert_eq!((said.code, said.word.as_str(), said.level.as_str()), (Some(0), "ok", "best"));
    let expected = ["name skipped", "udp ok", "tcp ok", "tls ok", "proxy skipped", "hub ok", "clock ok"];
    assert_eq!(said.checks, expected);
    let of_device = bench.doctor(&[DEVICE]).await?;
    assert_eq!(of_device.lines, [format!("{DEVICE} is reached straight, over UDP.")]);
    assert_eq!((of_device.code, of_device.check("direct")), (Some(0), "ok"));
    assert_eq!((of_device.check("relay_udp"), of_device.check("relay_tls")), ("ok", "ok"));
    // The device's own, while its agent runs: the link stays.
    let own = bench.device_doctor().await?;
    assert_eq!((own.code, &own.lines, own.check("link")), (Some(0), &said.lines, "ok"));
    assert_eq!(bench.world.hub.log().matches("link up").count(), 1, "{}", bench.world.hub.log());
    Ok(())
}

#[tokio::test]
async fn udp_that_is_dropped_or_refused_is_told_apart_and_asked_for_by_port_and_address() -> Outcome {
    let test = "udp_that_is_dropped_or_refused_is_told_apart_and_asked_for_by_port_and_address";
    let Some(bench) = Bench::start(test).await? else { return Ok(()) };
    let (hub, port) = (bench.hub(), bench.hub().port());
    let ask = format!("Ask for: outgoing UDP port {port} from 10.79.0.2 to {}.", hub.ip());
    block(&[format!("udp dport {port} drop")]).await?;
    let dropped = format!(
        "The hub at {hub} is reached over TLS, and not over UDP: its packets are dropped on the way."
    );
    for said in [bench.doctor(&[]).await?, bench.device_doctor().await?] {
        assert_eq!(said.lines, [dropped.clone(), ask.clone()]);
        assert_eq!((said.word.as_str(), said.level.as_str()), ("dropped", "degraded"));
        assert_eq!(
            (said.check("udp"), said.check("tcp"), said.check("tls")),
            ("blocked dropped", "ok", "ok")
        );
        assert!(matches!(said.code, Some(12 | 9)), "{said:?}");
    }
    Call::new("nft").args(["delete", "table", "inet", "doctor"]).finish().await?.expect_code(0)?;
    block(&[format!("udp dport {port} reject")]).await?;
    let said = bench.doctor(&[]).await?;
    let refused = format!(
        "The hub at {hub} is reached over TLS, and not over UDP: its packets are refused by a firewall on the way."
    );
    assert_eq!(said.lines, [refused, ask]);
    assert_eq!((said.code, said.word.as_str()), (Some(12), "rejected"));
    Ok(())
}

#[tokio::test]
async fn where_nothing_gets_through_both_ports_are_asked_for_and_a_stopped_hub_is_told_apart() -> Outcome {
    let test = "where_nothing_gets_through_both_ports_are_asked_for_and_a_stopped_hub_is_told_apart";
    let Some(mut bench) = Bench::start(test).await? else { return Ok(()) };
    let (hub, port) = (bench.hub(), bench.hub().port());
    let ask = format!("Ask for: outgoing UDP and TCP port {port} from 10.79.0.2 to {}.", hub.ip());
    block(&[format!("udp dport {port} drop"), format!("tcp dport {port} drop")]).await?;
    let said = bench.doctor(&[]).await?;
    let dropped = format!(
        "Nothing comes back from {hub}, neither over UDP nor over TCP: a firewall on the way drops both, or the hub's computer is away."
    );
    assert_eq!(said.lines, [dropped, ask.clone()]);
    assert_eq!((said.code, said.word.as_str(), said.level.as_str()), (Some(6), "dropped", "unreachable"));
    Call::new("nft").args(["delete", "table", "inet", "doctor"]).finish().await?.expect_code(0)?;
    bench.world.hub.kill().await?;
    let said = bench.doctor(&[]).await?;
    assert_eq!(
        said.lines,
        [
            format!(
                "{hub} refuses UDP and TCP: the hub does not run, or a firewall on the way refuses both."
            ),
            "Ask your Postern administrator whether the hub runs.".to_owned(),
            format!("If it does, ask the network administrator. {ask}"),
        ]
    );
    assert_eq!((said.code, said.word.as_str()), (Some(6), "rejected"));
    // The device is beside the office and needs no hub.
    let of_device = bench.doctor(&[DEVICE]).await?;
    assert_eq!((of_device.code, of_device.word.as_str()), (Some(0), "ok"));
    Ok(())
}

/// Ends TLS with a certificate of its own, and passes on what it reads, or only what is HTTP.
const BOX: &str = "
import socket, ssl, sys, threading
own, port, hub, passes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == 'all'
inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); inside.load_cert_chain(sys.argv[5])
outside = ssl._create_unverified_context()
def copy(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    one.close(), other.close()
def serve(raw):
    try:
        client = inside.wrap_socket(raw, server_side=True)
    except (OSError, ssl.SSLError):
        return
    if not passes:
        client.recv(65536)
        threading.Event().wait(20)
        return
    server = outside.wrap_socket(socket.create_connection((own, hub)))
    threading.Thread(target=copy, args=[client, server], daemon=True).start()
    copy(server, client)
listener = socket.create_server((own, port))
print('ready', flush=True)
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
";

/// A box on the way that reads TLS, and a network without UDP to the hub.
async fn intercept(bench: &Bench, passes: &str) -> Result<Running, Mishap> {
    let (hub, file) = (bench.hub(), bench.world.dir().join("box.pem"));
    let file = file.to_str().unwrap();
    let made = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=Acme Inspection CA",
        "-keyout",
        file,
        "-out",
    ];
    let certificate = format!("{file}.crt");
    Call::new("openssl").args(made).arg(&certificate).finish().await?.expect_code(0)?;
    let both = [std::fs::read(Path::new(file))?, std::fs::read(&certificate)?].concat();
    std::fs::write(file, both)?;
    let port = std::net::TcpListener::bind((hub.ip(), 0))?.local_addr()?.port();
    let args =
        ["-u", "-c", BOX, &hub.ip().to_string(), &port.to_string(), &hub.port().to_string(), passes, file];
    let running = Call::new("python3").args(args).start("box")?;
    running.line("that it is ready", |line| line.text == "ready").await?;
    block(&[format!("udp dport {} drop", hub.port())]).await?;
    let nat = format!(
        "table ip doctor_nat {{\nchain pre {{\ntype nat hook prerouting priority -100;\niifname wan0 tcp dport {} redirect to :{port}\n}}\n}}\n",
        hub.port()
    );
    Call::new("nft").args(["-f", "-"]).input(nat.into_bytes()).finish().await?.expect_code(0)?;
    Ok(running)
}

#[tokio::test]
async fn a_box_that_reads_tls_is_named_by_its_certificate() -> Outcome {
    let Some(bench) = Bench::start("a_box_that_reads_tls_is_named_by_its_certificate").await? else {
        return Ok(());
    };
    let (hub, port) = (bench.hub(), bench.hub().port());
    let _box = intercept(&bench, "all").await?;
    let said = bench.doctor(&[]).await?;
    assert_eq!(
        said.lines,
        [
            format!("The hub at {hub} is reached over TLS, and not over UDP: its packets are dropped on the way."),
            "A box in between reads all TLS: it shows a certificate by `Acme Inspection CA`, which is not the hub's. What it reads is encrypted once more.".to_owned(),
            format!("Ask for: outgoing UDP port {port} from 10.79.0.2 to {}.", hub.ip()),
        ]
    );
    assert_eq!((said.code, said.check("tls"), said.check("hub")), (Some(12), "ok", "ok"));
    Ok(())
}

#[tokio::test]
async fn a_box_that_passes_on_only_what_it_knows_is_named_and_an_exception_is_asked_for() -> Outcome {
    let test = "a_box_that_passes_on_only_what_it_knows_is_named_and_an_exception_is_asked_for";
    let Some(bench) = Bench::start(test).await? else { return Ok(()) };
    let (hub, port) = (bench.hub(), bench.hub().port());
    let _box = intercept(&bench, "http").await?;
    let said = bench.doctor(&[]).await?;
    assert_eq!(
        said.lines,
        [
            "UDP does not pass, and a box in between reads all TLS and passes on only what it knows: it shows a certificate by `Acme Inspection CA`.".to_owned(),
            format!("Ask for: TCP port {port} from 10.79.0.2 to {} without TLS inspection.", hub.ip()),
            format!("Or ask for: outgoing UDP port {port} from 10.79.0.2 to {}.", hub.ip()),
        ]
    );
    assert_eq!(
        (said.code, said.check("tls"), said.word.as_str()),
        (Some(6), "blocked tls_inspected", "tls_inspected")
    );
    Ok(())
}

#[tokio::test]
async fn a_hub_with_another_key_a_clock_that_is_off_and_a_key_that_nobody_knows_are_named() -> Outcome {
    let test = "a_hub_with_another_key_a_clock_that_is_off_and_a_key_that_nobody_knows_are_named";
    let Some(bench) = Bench::start(test).await? else { return Ok(()) };
    let hub = bench.hub();
    let faketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if Path::new(faketime).exists() {
        let late = |call: Call| {
            let call =
                call.env("LD_PRELOAD", faketime).env("FAKETIME", "-1h").env("DONT_FAKE_MONOTONIC", "1");
            bench.office.at(&call)
        };
        let text = late(bench.anna.call(["doctor"])).finish().await?;
        let json = late(bench.anna.call(["doctor", "--json"])).finish().await?;
        let said = Report::of(&text, &json);
        assert_eq!(
            said.lines,
            [
                format!("The hub at {hub} is reached over UDP, the best way."),
                "The clock of this computer is 1 h 0 min behind the hub's.".to_owned(),
                "To do: set the clock of this computer, best by NTP.".to_owned(),
            ]
        );
        assert_eq!((said.code, said.check("clock"), said.word.as_str()), (Some(0), "blocked clock", "clock"));
    } else {
        missing(test, "faketime");
    }

    // A key that the hub has forgotten, in a profile that does not know that yet.
    let pass = std::fs::read(bench.anna.home().join("pass"))?;
    let key = std::fs::read(bench.anna.home().join("key"))?;
    bench.anna.call(["logout"]).finish().await?.expect_code(0)?;
    for (name, bytes) in [("pass", pass), ("key", key)] {
        write_private(&bench.anna.home().join(name), &bytes)?;
    }
    let said = bench.doctor(&[]).await?;
    assert_eq!(
        said.lines,
        [
            "The hub answers and does not know the key of this computer: it was signed out, disabled, removed, or belongs to another installation.".to_owned(),
            format!("The hub at {hub} is reached over UDP, the best way."),
            "Ask your Postern administrator for a new code.".to_owned(),
        ]
    );
    assert_eq!(
        (said.code, said.check("hub"), said.level.as_str()),
        (Some(3), "blocked unknown_key", "unusable")
    );

    let file = bench.anna.home().join("hub.json");
    let mut membership: Value = serde_json::from_slice(&std::fs::read(&file)?).unwrap();
    let real = membership["hub_key"].as_str().unwrap().to_owned();
    // Another key in form: that of the device.
    let status = bench.world.device.call(["check", "--json"]).finish().await?.expect_code(0)?.json()?;
    membership["hub_key"] = status["key"].clone();
    write_private(&file, membership.to_string().as_bytes())?;
    let said = bench.doctor(&[]).await?;
    assert_eq!(
        (said.code, said.check("udp"), said.word.as_str()),
        (Some(8), "blocked other_key", "other_key")
    );
    assert_eq!(said.lines.len(), 2, "{real} {said:?}");
    assert!(said.lines[0].starts_with(&format!("Somebody else answers at {hub}: key ")), "{said:?}");
    assert_eq!(
        said.lines[1],
        "Ask your Postern administrator whether the hub has a new key; if it has not, ask the network administrator who answers in its place."
    );
    Ok(())
}

/// Wants a login of everybody, by way of CONNECT.
const PROXY: &str = "
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print('ready', flush=True)
while True:
    client = listener.accept()[0]
    client.recv(4096)
    client.sendall(b'HTTP/1.1 407 Wanted\\r\\nProxy-Authenticate: Basic realm=\"acme\"\\r\\nContent-Length: 0\\r\\n\\r\\n')
    client.close()
";

#[tokio::test]
async fn a_proxy_that_wants_a_login_is_named_and_a_login_is_asked_for() -> Outcome {
    let Some(bench) = Bench::start("a_proxy_that_wants_a_login_is_named_and_a_login_is_asked_for").await?
    else {
        return Ok(());
    };
    let (hub, port) = (bench.hub(), bench.hub().port());
    let proxy = std::net::TcpListener::bind((hub.ip(), 0))?.local_addr()?;
    let args = ["-u", "-c", PROXY, &hub.ip().to_string(), &proxy.port().to_string()];
    let running = Call::new("python3").args(args).start("proxy")?;
    running.line("that it is ready", |line| line.text == "ready").await?;
    block(&[format!("udp dport {port} drop"), format!("tcp dport {port} drop")]).await?;
    let named = |call: Call| bench.office.at(&call.env("HTTPS_PROXY", format!("http://{proxy}")));
    let text = named(bench.anna.call(["doctor"])).finish().await?;
    let json = named(bench.anna.call(["doctor", "--json"])).finish().await?;
    let said = Report::of(&text, &json);
    let wants = "407: it wants a user name and password (Basic), and none is configured";
    assert_eq!(
        said.lines,
        [
            format!("The proxy that is configured does not lead to the hub: http://{proxy}: {wants}."),
            format!(
                "Nothing comes back from {hub}, neither over UDP nor over TCP: a firewall on the way drops both, or the hub's computer is away."
            ),
            format!("Ask for: a user name and password for the proxy http://{proxy}, and configure them."),
            format!("Ask for: outgoing UDP and TCP port {port} from 10.79.0.2 to {}.", hub.ip()),
        ]
    );
    assert_eq!((said.code, said.check("proxy")), (Some(6), "blocked proxy_login_wanted"));
    Ok(())
}

fn write_private(path: &Path, bytes: &[u8]) -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

#[tokio::test]
async fn a_device_that_is_only_reached_at_the_relay_or_not_at_all_is_said_to_be_so() -> Outcome {
    let test = "a_device_that_is_only_reached_at_the_relay_or_not_at_all_is_said_to_be_so";
    let Some(mut bench) = Bench::start(test).await? else { return Ok(()) };
    let device = bench.world.device.listen();
    block(&[format!("udp dport {} drop", device.port())]).await?;
    let said = bench.doctor(&[DEVICE]).await?;
    assert_eq!(
        said.lines,
        [
            format!(
                "{DEVICE} is reached through the relay, over UDP, and not straight. That works, and is slower."
            ),
            format!(
                "If that is too slow, ask for: UDP port {} from 10.79.0.2 to {}.",
                device.port(),
                device.ip()
            ),
        ]
    );
    assert_eq!(
        (said.code, said.word.as_str(), said.check("direct")),
        (Some(12), "relayed", "blocked dropped")
    );
    bench.world.device.stop().await?;
    let said = bench.doctor(&[DEVICE]).await?;
    assert_eq!(
        said.lines,
        [
            format!(
                "{DEVICE} has no link to the hub: it is switched off, or something blocks its own way there. This computer's way to the hub is open."
            ),
            "Have somebody beside it run: postern-agent doctor.".to_owned(),
        ]
    );
    assert_eq!((said.code, said.word.as_str()), (Some(5), "no_meeting"));
    // Beside it, with its agent stopped.
    let own = bench.device_doctor().await?;
    assert_eq!((own.code, own.check("link"), own.check("hub")), (Some(0), "skipped", "ok"));
    Ok(())
}
