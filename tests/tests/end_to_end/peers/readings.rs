//! Requests that two programs could understand in two ways: whatever the gate lets through, a machine understands as the gate has
//! judged it; everything else is answered by the gate, and ends the connection.
//!
//! 1. `readings.jsonl` has one case a line: the bytes that a client sends, the status of each answer, and each request that a machine
//!    must hear, as method, decoded path and bytes of the body.
//! 2. Behind each case the client sends one more plain request. Where the case is let through it is answered as what it is, so
//!    gate and machine agree about where the case ends; otherwise nobody hears it.
//! 3. Three machines tell what they understand: Node and Python with their own parsers, and nginx by what it hands on to a server behind
//!    it, after it has put path and body into its own form.
//!
//! What a machine hears of all cases is compared as a whole, so that a request which comes late or from nowhere is found as well.

use std::net::SocketAddr;

use postern_tests::world::probe::within;
use postern_tests::world::{Call, Mishap, Person, Running, Stream};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::stage::Outcome;
use super::web::start_nginx;
use super::{behind_the_gate, programs};

/// Bytes of a client and what must come of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    send: String,
    status: Vec<u16>,
    heard: Vec<String>,
    /// The client has asked for the end.
    #[serde(default)]
    ends: bool,
}

impl Case {
    /// Whether the connection goes on behind it.
    fn goes_on(&self) -> bool {
        // A request that is read well and denied (403) ends nothing.
        !self.ends && self.status.iter().all(|status| *status < 400 || *status == 403)
    }
}

#[tokio::test]
async fn node_understands_requests_as_the_gate_has_judged_them() -> Outcome {
    let name = "node_understands_requests_as_the_gate_has_judged_them";
    let Some([node]) = programs(name, ["node"]) else { return Ok(()) };
    let machine = Call::new(&node).args(["-e", NODE]).start("node")?;
    let at = listening(&machine).await?;
    compare(at, &machine).await
}

#[tokio::test]
async fn python_understands_requests_as_the_gate_has_judged_them() -> Outcome {
    let name = "python_understands_requests_as_the_gate_has_judged_them";
    let Some([python]) = programs(name, ["python3"]) else { return Ok(()) };
    let machine = Call::new(&python).args(["-u", "-c", PYTHON]).start("python")?;
    let at = listening(&machine).await?;
    compare(at, &machine).await
}

#[tokio::test]
async fn nginx_understands_requests_as_the_gate_has_judged_them() -> Outcome {
    let name = "nginx_understands_requests_as_the_gate_has_judged_them";
    let Some([nginx, python]) = programs(name, ["nginx", "python3"]) else { return Ok(()) };
    let behind = Call::new(&python).args(["-u", "-c", PYTHON]).start("python")?;
    let room = tempfile::tempdir()?;
    // With a path of its own in `proxy_pass` it hands on the path as it has decoded and resolved it.
    let server =
        format!("location / {{ proxy_http_version 1.1; proxy_pass http://{}/; }}", listening(&behind).await?);
    let (at, _nginx) = start_nginx(&nginx, room.path(), &server).await?;
    compare(at, &behind).await
}

/// Sends every case through the gate to `machine`, which tells what it hears.
async fn compare(at: SocketAddr, machine: &Running) -> Outcome {
    let (world, _session) = behind_the_gate("http", at).await?;
    let anna = world.person("anna").await?;
    let mut expected = Vec::new();
    for line in CASES.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let mut status = case.status.clone();
        expected.extend(case.heard.iter().cloned());
        if case.goes_on() {
            status.push(200);
            expected.push("GET /behind 0".to_owned());
        }
        let answers = send(&anna, &case.send).await?;
        assert_eq!(statuses(&answers), status, "{}: {}", case.case, String::from_utf8_lossy(&answers));
    }
    // Whatever the machine still has to say comes before the answer to this.
    let mut last = TcpStream::connect(at).await?;
    last.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    within("the last answer", async { Ok(last.read_to_end(&mut Vec::new()).await?) }).await?;
    expected.push("GET /last 0".to_owned());
    machine.line("the last request", |line| line.text == "GET /last 0").await?;
    let log = machine.log();
    let heard: Vec<&str> =
        log.lines().filter_map(|line| line.split_once("| ")).map(|(_, text)| text).skip(1).collect();
    assert_eq!(heard, expected);
    Ok(())
}

/// Sends a case and one plain request behind it on a tunnel of their own, and reads all answers.
async fn send(anna: &Person, case: &str) -> Result<Vec<u8>, Mishap> {
    let mut pipe = anna.pipe("peer")?;
    let bytes = [case.as_bytes(), b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let mut answers = Vec::new();
    within("the answers", async {
        // A gate that has refused reads no more.
        let mut input = pipe.input.take();
        if let Some(input) = &mut input {
            let _refused = input.write_all(&bytes).await;
        }
        drop(input);
        Ok(pipe.output.read_to_end(&mut answers).await?)
    })
    .await?;
    pipe.ended().await?;
    Ok(answers)
}

/// The status of each answer.
fn statuses(mut answers: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(end) = answers.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&answers[..end]).to_ascii_lowercase();
        statuses.push(head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        answers = answers.get(end + 4 + length.unwrap_or(0)..).unwrap_or_default();
    }
    statuses
}

/// Where a machine listens: its first line.
async fn listening(machine: &Running) -> Result<SocketAddr, Mishap> {
    let line = machine.line("a port", |line| line.stream == Stream::Out).await?;
    line.text.parse().map_err(|_| Mishap::unexpected("the machine", &line.text, "an address"))
}

const CASES: &str = include_str!("readings.jsonl");

/// Says each request as soon as it is whole.
const NODE: &str = "
const server = require('http').createServer((request, answer) => {
    let length = 0;
    request.on('data', bytes => length += bytes.length);
    request.on('end', () => {
        const path = decodeURIComponent(new URL(request.url, 'http://a').pathname);
        console.log(request.method + ' ' + path + ' ' + length);
        answer.setHeader('Content-Length', 0);
        answer.end();
    });
});
server.listen(0, '127.0.0.1', () => console.log('127.0.0.1:' + server.address().port));
";

/// The same. Its library leaves bodies to the program, which reads them as RFC 9112 says.
const PYTHON: &str = "
import http.server, urllib.parse
class Machine(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def hear(self):
        if self.headers.get('Transfer-Encoding', '').lower() == 'chunked':
            length = 0
            while size := int(self.rfile.readline(), 16):
                length += len(self.rfile.read(size))
                assert self.rfile.readline() == b'\\r\\n'
            assert self.rfile.readline() == b'\\r\\n'
        else:
            length = len(self.rfile.read(int(self.headers.get('Content-Length', 0))))
            assert length == int(self.headers.get('Content-Length', 0))
        path = urllib.parse.unquote(self.path.split('?')[0])
        print(self.command, path, length, flush=True)
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = hear
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):
        pass
server = Server(('127.0.0.1', 0), Machine)
print('127.0.0.1:%d' % server.server_port, flush=True)
server.serve_forever()
";
