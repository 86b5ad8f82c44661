use proptest::prelude::*;

use super::*;
use crate::gate::http::TargetFault;

/// What came of a stream: heads, bytes handed on, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Outline {
    heads: Vec<Head>,
    sent: Vec<u8>,
    fault: Option<RequestFault>,
    between: bool,
}

fn read_in(pieces: &[&[u8]]) -> Outline {
    let mut guard = Guard::default();
    let mut outline = Outline { heads: Vec::new(), sent: Vec::new(), fault: None, between: false };
    'stream: for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match guard.take(rest) {
                Ok((taken, part)) => {
                    assert!(taken > 0 && taken <= rest.len());
                    match part {
                        Part::More => {}
                        Part::Head { bytes, head } => {
                            outline.sent.extend(bytes);
                            outline.heads.push(head);
                        }
                        Part::Body => outline.sent.extend_from_slice(&rest[..taken]),
                    }
                    rest = &rest[taken..];
                }
                Err(fault) => {
                    assert_eq!(guard.take(rest), Err(fault));
                    outline.fault = Some(fault);
                    break 'stream;
                }
            }
        }
    }
    outline.between = guard.is_between();
    outline
}

fn read(text: &str) -> Outline {
    read_in(&[text.as_bytes()])
}

fn fault(text: &str) -> RequestFault {
    let outline = read(text);
    assert_eq!(outline.heads, [], "nothing of a head with a fault is handed on");
    assert_eq!(outline.sent, b"");
    outline.fault.unwrap()
}

/// A head with these lines behind `Host`.
fn head(line: &str, more: &str) -> String {
    format!("{line}\r\nHost: a\r\n{more}\r\n")
}

#[test]
fn a_plain_request_passes_byte_by_byte() {
    let text = "GET /a?b=c HTTP/1.1\r\nHost: press-7.localhost:4001\r\nAccept:\t*/* \r\nX-Empty:\r\nX-Ü: \u{fc}\r\n\r\n";
    assert_eq!(fault(text), RequestFault::Name);
    let text = text.replace("X-Ü", "X-U");
    let outline = read(&text);
    assert_eq!((outline.sent.as_slice(), outline.fault, outline.between), (text.as_bytes(), None, true));
    let expected = Head {
        method: "GET".into(),
        target: "/a?b=c".into(),
        framing: Framing::None,
        upgrade: false,
        named: Vec::new(),
    };
    assert_eq!(outline.heads, [expected]);
}

#[test]
fn each_request_of_a_connection_ends_where_it_says() {
    let text = [
        head("POST /1 HTTP/1.1", "Content-Length: 5\r\n").as_str(),
        "GET /",
        &head("GET /2 HTTP/1.1", "Connection: keep-alive, X-Hop\r\n"),
        &head("PUT /3 HTTP/1.1", "Transfer-Encoding: Chunked\r\n"),
        "5\r\nGET /\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
        &head("DELETE /4 HTTP/1.1", "Content-Length: 0\r\n"),
    ]
    .concat();
    let outline = read(&text);
    assert_eq!((outline.sent.as_slice(), outline.fault, outline.between), (text.as_bytes(), None, true));
    let targets: Vec<_> = outline.heads.iter().map(|head| (&*head.target, head.framing)).collect();
    assert_eq!(
        targets,
        [
            ("/1", Framing::Length(5)),
            ("/2", Framing::None),
            ("/3", Framing::Chunked),
            ("/4", Framing::Length(0))
        ]
    );
    assert_eq!(outline.heads[1].named, ["keep-alive".into(), "x-hop".into()] as [Box<str>; 2]);
}

#[test]
fn a_line_that_ends_in_another_way_is_refused() {
    for (text, byte) in [
        ("GET / HTTP/1.1\nHost: a\n\n", b'\n'),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", b'\n'),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", b'\n'),
        ("GET / HTTP/1.1\rHost: a\r\r", b'H'),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", b'\r'),
        ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 0),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n", 0x0b),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 0x7f),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b'\r'),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b'\n'),
    ] {
        assert_eq!(fault(text), RequestFault::Byte { byte }, "{text:?}");
    }
}

#[test]
fn a_request_line_has_one_form() {
    for (line, expected) in [
        ("GET  / HTTP/1.1", RequestFault::Line),
        ("GET / HTTP/1.1 ", RequestFault::Line),
        (" GET / HTTP/1.1", RequestFault::Line),
        ("GET\t/ HTTP/1.1", RequestFault::Line),
        ("GET /", RequestFault::Line),
        ("G(T / HTTP/1.1", RequestFault::Line),
        ("GET / http/1.1", RequestFault::Line),
        ("GET / HTTP/1.0", RequestFault::Version),
        ("GET / HTTP/1.10", RequestFault::Version),
        ("GET / HTTP/2.0", RequestFault::Version),
        ("PRI * HTTP/2.0", RequestFault::Version),
        ("PRI * HTTP/1.1", RequestFault::Method),
        ("CONNECT a:80 HTTP/1.1", RequestFault::Method),
        ("TRACE / HTTP/1.1", RequestFault::Method),
        ("GET http://a/ HTTP/1.1", RequestFault::Target(TargetFault::NotOriginForm)),
        ("OPTIONS * HTTP/1.1", RequestFault::Target(TargetFault::NotOriginForm)),
        ("GET /a/../b HTTP/1.1", RequestFault::Target(TargetFault::Dots)),
        ("GET /\u{fc} HTTP/1.1", RequestFault::Target(TargetFault::Character { byte: 0xc3 })),
    ] {
        assert_eq!(fault(&head(line, "")), expected, "{line}");
    }
    let method = "M".repeat(33);
    assert_eq!(fault(&head(&format!("{method} / HTTP/1.1"), "")), RequestFault::Line);
}

#[test]
fn ambiguous_framing_is_refused() {
    for (more, expected) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", RequestFault::TwoLengths),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", RequestFault::TwoLengths),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", RequestFault::Length),
        ("Content-Length: 5\r\ncontent-length: 6\r\n", RequestFault::Length),
        ("Content-Length: 5, 5\r\n", RequestFault::Length),
        ("Content-Length: +5\r\n", RequestFault::Length),
        ("Content-Length: -1\r\n", RequestFault::Length),
        ("Content-Length: 0x5\r\n", RequestFault::Length),
        ("Content-Length: 05\r\n", RequestFault::Length),
        ("Content-Length: 5 5\r\n", RequestFault::Length),
        ("Content-Length:\r\n", RequestFault::Length),
        ("Content-Length: 1000000000000000\r\n", RequestFault::Length),
        ("Transfer-Encoding: gzip, chunked\r\n", RequestFault::Encoding),
        ("Transfer-Encoding: chunked, chunked\r\n", RequestFault::Encoding),
        ("Transfer-Encoding: identity\r\n", RequestFault::Encoding),
        ("Transfer-Encoding: xchunked\r\n", RequestFault::Encoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", RequestFault::Encoding),
        ("Transfer-Encoding:\u{b}chunked\r\n", RequestFault::Byte { byte: 0x0b }),
        ("Transfer-Encoding : chunked\r\n", RequestFault::Name),
        ("Content-Length : 5\r\n", RequestFault::Name),
        ("X: y\r\n Content-Length: 5\r\n", RequestFault::Fold),
        ("X: y\r\n\tz\r\n", RequestFault::Fold),
        (": y\r\n", RequestFault::Name),
        ("nothing\r\n", RequestFault::Name),
        ("X\u{fc}: y\r\n", RequestFault::Name),
        ("Host: a\r\n", RequestFault::Host),
        ("host: b\r\n", RequestFault::Host),
        ("Expect: 200-ok\r\n", RequestFault::Expect),
        ("Connection: close, content-length\r\n", RequestFault::Connection),
        ("Connection: Transfer-Encoding\r\n", RequestFault::Connection),
        ("Connection: Host\r\n", RequestFault::Connection),
        ("Connection: a b\r\n", RequestFault::Connection),
        ("Connection: close,\r\n", RequestFault::Connection),
    ] {
        assert_eq!(fault(&head("POST / HTTP/1.1", more)), expected, "{more:?}");
    }
    for line in ["Host:", "Host: a b", "Host: a,b", "Host: a/b", "Host: u@a", "X: y"] {
        assert_eq!(fault(&format!("GET / HTTP/1.1\r\n{line}\r\n\r\n")), RequestFault::Host, "{line}");
    }
}

#[test]
fn a_method_that_reads_has_no_body() {
    for method in ["GET", "HEAD"] {
        for more in ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert_eq!(fault(&head(&format!("{method} / HTTP/1.1"), more)), RequestFault::Body);
        }
        assert_eq!(read(&head(&format!("{method} / HTTP/1.1"), "Content-Length: 0\r\n")).fault, None);
    }
    assert_eq!(read(&head("DELETE / HTTP/1.1", "Content-Length: 1\r\n")).fault, None);
}

#[test]
fn an_upgrade_is_one_to_websocket_or_none() {
    let whole = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
    let outline = read(&head("GET /ws HTTP/1.1", whole));
    assert!(outline.heads[0].upgrade && !outline.between);
    for more in [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
    ] {
        assert_eq!(fault(&head("GET / HTTP/1.1", more)), RequestFault::Upgrade, "{more}");
    }
    assert_eq!(fault(&head("POST / HTTP/1.1", whole)), RequestFault::Upgrade);
}

#[test]
fn nothing_passes_between_an_upgrade_and_its_answer() {
    let mut guard = Guard::default();
    let upgrade = head("GET /ws HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    let (taken, _) = guard.take(upgrade.as_bytes()).unwrap();
    assert_eq!(taken, upgrade.len());
    assert_eq!((guard.end(), guard.is_between()), (Ok(()), false));
    guard.refused();
    assert!(guard.is_between());
    assert_eq!(guard.take(b"GET"), Ok((3, Part::More)));
    assert_eq!(guard.end(), Err(RequestFault::Truncated));
    let mut early = Guard::default();
    early.take(upgrade.as_bytes()).unwrap();
    assert_eq!(early.take(b"\x81"), Err(RequestFault::Early));
}

#[test]
fn chunk_tricks_are_refused_where_they_stand() {
    let chunked = head("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n");
    for (body, passed, expected) in [
        ("5;x=y\r\nhello", "5", RequestFault::Chunk),
        ("5 \r\nhello", "5", RequestFault::Chunk),
        (" 5\r\nhello", "", RequestFault::Chunk),
        ("+5\r\nhello", "", RequestFault::Chunk),
        ("0x5\r\nhello", "0", RequestFault::Chunk),
        ("05\r\nhello", "0", RequestFault::Chunk),
        ("00\r\n\r\n", "0", RequestFault::Chunk),
        ("123456789\r\n", "12345678", RequestFault::Chunk),
        ("\r\n", "", RequestFault::Chunk),
        ("g\r\n", "", RequestFault::Chunk),
        ("5\nhello", "5", RequestFault::Chunk),
        ("5\r\nhello\n0\r\n\r\n", "5\r\nhello", RequestFault::Chunk),
        ("5\r\nhello0\r\n\r\n", "5\r\nhello", RequestFault::Chunk),
        ("5\r\nhello\r0\r\n\r\n", "5\r\nhello\r", RequestFault::Chunk),
        ("0\r\nX: y\r\n\r\n", "0\r\n", RequestFault::Trailer),
        ("0\r\n\n", "0\r\n", RequestFault::Trailer),
        ("0\r\n\rX", "0\r\n\r", RequestFault::Chunk),
    ] {
        let outline = read(&(chunked.clone() + body));
        assert_eq!(
            (outline.sent, outline.fault),
            ((chunked.clone() + passed).into(), Some(expected)),
            "{body:?}"
        );
    }
}

#[test]
fn heads_have_so_many_bytes_and_headers_and_no_more() {
    let longest = format!("GET /{} HTTP/1.1", "a".repeat(4095));
    assert_eq!(read(&head(&longest, "")).fault, None);
    let longer = format!("GET /{} HTTP/1.1", "a".repeat(4096));
    assert_eq!(fault(&head(&longer, "")), RequestFault::Target(TargetFault::TooLong { found: 4097 }));
    assert_eq!(fault(&"a".repeat(LINE_BYTES + 1)), RequestFault::LineLength);
    assert_eq!(read(&head("GET / HTTP/1.1", &"X: y\r\n".repeat(63))).fault, None);
    assert_eq!(fault(&head("GET / HTTP/1.1", &"X: y\r\n".repeat(64))), RequestFault::HeaderCount);
    let room = HEAD_BYTES - head("GET / HTTP/1.1", "X: \r\n").len();
    assert_eq!(read(&head("GET / HTTP/1.1", &format!("X: {}\r\n", "y".repeat(room)))).fault, None);
    assert_eq!(
        fault(&head("GET / HTTP/1.1", &format!("X: {}\r\n", "y".repeat(room + 1)))),
        RequestFault::HeadLength
    );
    assert_eq!(fault(&format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(4096))), RequestFault::HeadLength);
}

#[test]
fn a_fault_has_the_status_that_a_browser_can_name() {
    assert_eq!(RequestFault::TwoLengths.status(), 400);
    assert_eq!(RequestFault::Target(TargetFault::TooLong { found: 5000 }).status(), 414);
    assert_eq!(RequestFault::HeaderCount.status(), 431);
    assert_eq!(RequestFault::Version.status(), 505);
    assert_eq!(RequestFault::Method.status(), 405);
}

/// Streams that are nearly right: pieces of requests, put together at random.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("GET / HTTP/1.1\r\n"),
        Just("POST /a HTTP/1.1\r\n"),
        Just("Host: a\r\n"),
        Just("Content-Length: 3\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("Connection: close\r\n"),
        Just("\r\n"),
        Just("abc"),
        Just("3\r\nabc\r\n"),
        Just("0\r\n\r\n"),
        Just("\n"),
        Just(" "),
    ];
    let request = prop_oneof![
        Just("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Just("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ];
    let pieces = prop::collection::vec(prop_oneof![3 => request, 1 => piece], 0..12);
    pieces.prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn segments_do_not_matter(stream in streams(), size in 1_usize..40) {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        prop_assert_eq!(read_in(&pieces), read_in(&[&stream]));
    }

    #[test]
    fn what_passes_is_a_beginning_of_what_came(stream in streams()) {
        let outline = read_in(&[&stream]);
        prop_assert!(stream.starts_with(&outline.sent));
        if outline.fault.is_none() && outline.between {
            prop_assert_eq!(outline.sent, stream);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(stream in prop::collection::vec(any::<u8>(), 0..300)) {
        read_in(&[&stream]);
    }
}
