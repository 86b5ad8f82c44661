//! Seeds of the gates of HTTP and WebSocket: requests and frames that are right, and those that two programs read in two ways.

/// Each with its target and name.
pub(crate) fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (name, text) in REQUESTS {
        seeds.push(("http_request", *name, [b"\x03", text.as_bytes()].concat()));
    }
    for (name, text) in TARGETS {
        seeds.push(("http_target", *name, text.as_bytes().to_vec()));
    }
    for (name, text) in CHALLENGES {
        seeds.push(("digest_challenge", *name, text.as_bytes().to_vec()));
    }
    for (name, bytes) in FRAMES {
        seeds.push(("websocket_frames", *name, bytes.to_vec()));
    }
    seeds
}

const REQUESTS: &[(&str, &str)] = &[
    ("get", "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "chunked",
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
    ),
    (
        "cl-te",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    ("two-lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    ("lone-lf", "GET / HTTP/1.1\nHost: a\n\n"),
    ("folded", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
    ("extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n"),
    ("trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n"),
    ("upgrade", "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\u{1}"),
    ("absolute", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
];

const TARGETS: &[(&str, &str)] = &[
    ("plain", "/a/b.html?x=1&y[]=%2F"),
    ("words", "/%C3%BCber%20uns/"),
    ("dots", "/a/../b"),
    ("hidden-dots", "/a/%2e%2E/b"),
    ("twice", "/a/%252e%252e/b"),
    ("slash", "/a%2fb"),
    ("backslash", "/a%5c..%5cb"),
    ("overlong", "/%c0%ae%c0%ae/"),
    ("wide", "/%ef%bc%8e%ef%bc%8e/"),
    ("parameter", "/a;b=c/d"),
    ("trailing-space", "/a/..%20/b"),
];

const CHALLENGES: &[(&str, &str)] = &[
    ("sha-256", "Digest realm=\"a\", nonce=\"b\", qop=\"auth, auth-int\", algorithm=SHA-256, opaque=\"c\""),
    ("session", "Basic realm=\"a\", Digest realm=a, nonce=b, qop=auth, algorithm=MD5-sess, stale=true"),
    ("old", "digest realm=\"a \\\"b\\\", c\", nonce=\"\""),
    ("twice", "Digest realm=\"a\", nonce=\"b\", nonce=\"c\""),
    ("unfinished", "Digest realm=\"a\", nonce=\"b"),
];

const FRAMES: &[(&str, &[u8])] = &[
    ("text", b"\0\0\x02\x81\x82\x01\x02\x03\x04hi"),
    ("looking", b"\0\x01\x02\x81\x82\x01\x02\x03\x04hi\x89\x80\x01\x02\x03\x04"),
    ("of-machine", b"\x01\0\x01\x82\x7e\x00\x80"),
    ("fragments", b"\0\0\x05\x01\x80\0\0\0\0\x89\x80\0\0\0\0\x80\x80\0\0\0\0"),
    ("close", b"\0\0\x01\x88\x82\0\0\0\0\x03\xe8\x81\x80\0\0\0\0"),
    ("longest", b"\0\0\x01\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"),
    ("negative", b"\0\0\x01\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"),
    ("reserved", b"\0\0\x01\xf1\x80\0\0\0\0"),
];
