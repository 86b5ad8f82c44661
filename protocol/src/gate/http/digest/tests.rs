use super::*;

fn strongest(values: &[&str]) -> Option<Challenge> {
    Challenge::strongest(values.iter().map(|value| value.as_bytes()))
}

fn session(value: &str, cnonce: &str) -> Session {
    let session = Session::new(strongest(&[value]).unwrap(), [0; 16]);
    Session { cnonce: cnonce.into(), ..session }
}

fn answer(session: &mut Session, (user, password): (&str, &str), asked: (&str, &str)) -> String {
    String::from_utf8(session.authorization((user, password.as_bytes()), asked).unwrap()).unwrap()
}

const RFC_REST: &str = "qop=\"auth, auth-int\", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
const RFC_CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
const MUFASA: (&str, &str) = ("Mufasa", "Circle of Life");

#[test]
fn the_examples_of_rfc_7616_are_answered_as_they_stand_there() {
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let value = format!("Digest realm=\"http-auth@example.org\", {RFC_REST}, algorithm={algorithm}");
        let answer = answer(&mut session(&value, RFC_CNONCE), MUFASA, ("GET", "/dir/index.html"));
        assert_eq!(
            answer,
            format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"/dir/index.html\", \
                 response=\"{response}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", \
                 algorithm={algorithm}, qop=auth, nc=00000001, cnonce=\"{RFC_CNONCE}\""
            )
        );
    }
}

#[test]
fn the_example_of_rfc_2617_is_answered_with_and_without_qop() {
    let rest = "realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    let asked = ("GET", "/dir/index.html");
    let user = ("Mufasa", "Circle Of Life");
    let with = answer(&mut session(&format!("Digest {rest}, qop=auth"), "0a4f113b"), user, asked);
    assert!(with.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{with}");
    assert!(with.ends_with(", qop=auth, nc=00000001, cnonce=\"0a4f113b\""), "{with}");
    // RFC 2069, as its erratum corrects it.
    let without = answer(&mut session(&format!("digest {rest}"), "0a4f113b"), user, asked);
    assert!(without.ends_with("response=\"670fd8c2df070c60b045671b8b24ff02\""), "{without}");
}

#[test]
fn each_request_counts_and_a_next_nonce_counts_from_the_start() {
    let value = format!("Digest realm=\"a\", {RFC_REST}, algorithm=SHA-256-sess");
    let mut session = session(&value, "c");
    let count = |session: &mut Session| {
        let answer = answer(session, MUFASA, ("GET", "/"));
        let (_, rest) = answer.split_once("nc=").unwrap();
        rest[..8].to_owned()
    };
    assert_eq!((count(&mut session), count(&mut session)), ("00000001".to_owned(), "00000002".to_owned()));
    let before = session.clone();
    session.learn(b"rspauth=\"1\", qop=auth");
    session.learn(b"nextnonce=\"unfinished");
    assert_eq!(session, before);
    session.learn(b"qop=auth, nextnonce=\"n2\"");
    assert_eq!(count(&mut session), "00000001");
    assert_eq!((&*session.challenge.nonce, &*session.first_nonce), (&b"n2"[..], &*before.challenge.nonce));
    session.count = u32::MAX;
    assert_eq!(session.authorization(("a", b"b"), ("GET", "/")), None);
}

#[test]
fn the_strongest_challenge_is_taken_and_basic_never() {
    let hash = |values: &[&str]| strongest(values).map(|challenge| challenge.algorithm());
    let (md5, sha) = (
        "Digest realm=\"r\", nonce=\"1\", qop=\"auth\"",
        "Digest realm=\"r\", nonce=\"2\", qop=\"auth\", algorithm=SHA-256",
    );
    assert_eq!(hash(&[md5, sha]), Some("SHA-256"));
    assert_eq!(hash(&[&format!("Basic realm=\"r, s\", Negotiate, {sha}, {md5}")]), Some("SHA-256"));
    assert_eq!(
        hash(&[&format!("Negotiate YWJj==, {sha}"), md5]),
        Some("MD5"),
        "one header cannot be read, the other can"
    );
    for none in [
        "Basic realm=\"r\"",
        "Digest",
        "Digest realm=\"r\"",
        "Digest nonce=\"1\"",
        "Digest realm=\"r\", nonce=\"1",
        "Digest realm=\"r\" nonce=\"1\"",
        "Digest realm=\"r\", nonce=\"1\", nonce=\"2\"",
        "Digest realm=\"r\", nonce=\"1\", qop=\"auth-int\"",
        "Digest realm=\"r\", nonce=\"1\", qop=auth, QOP=\"auth-int\"",
        "Digest realm=\"r\", nonce=\"1\", algorithm=SHA-512-256",
        "",
        ",,",
        "\"",
    ] {
        assert_eq!(hash(&[none]), None, "{none}");
    }
}

#[test]
fn what_stands_between_quotes_goes_back_as_it_came_and_what_cannot_stand_there_is_not_sent() {
    let mut session = session("Digest realm=\"a \\\"b\\\" \\\\\", nonce=\"n,=\"", "c");
    let header = answer(&mut session, MUFASA, ("GET", "/"));
    assert!(
        header.starts_with("Digest username=\"Mufasa\", realm=\"a \\\"b\\\" \\\\\", nonce=\"n,=\","),
        "{header}"
    );
    for (user, target) in [("a\"b", "/"), ("a\\", "/"), ("a", "/\""), ("a\n", "/")] {
        assert_eq!(session.authorization((user, b"x"), ("GET", target)), None, "{user} {target}");
    }
}
