use super::*;

fn fault(text: &str) -> TargetFault {
    Target::parse(text).unwrap_err()
}

#[test]
fn what_browsers_send_passes_unchanged() {
    for (text, path, query) in [
        ("/", "/", None),
        ("/?", "/", Some("")),
        ("/a/b.html?x=1&y[]=%2Fhome&z={1|2}`", "/a/b.html", Some("x=1&y[]=%2Fhome&z={1|2}`")),
        ("/a/?b?c=/d", "/a/", Some("b?c=/d")),
        ("/%C3%BCber%20uns/%e5%b7%a5%e5%8e%82", "/%C3%BCber%20uns/%e5%b7%a5%e5%8e%82", None),
        ("/values[3]/a:b@c,d=e+f|g^h*", "/values[3]/a:b@c,d=e+f|g^h*", None),
        ("/..a/b../.well-known/a.b.c", "/..a/b../.well-known/a.b.c", None),
        ("/a?%41%2e%2e%25%0a;x=\u{27}", "/a", Some("%41%2e%2e%25%0a;x='")),
    ] {
        let target = Target::parse(text).unwrap();
        assert_eq!((target.path(), target.query()), (path, query), "{text}");
    }
}

#[test]
fn a_target_that_names_another_place_is_refused() {
    for text in ["http://192.0.2.1/", "https://a/", "192.0.2.1:80", "*", "", "a/b", "?a", "\\a"] {
        assert_eq!(fault(text), TargetFault::NotOriginForm, "{text}");
    }
}

#[test]
fn a_path_that_machines_resolve_differently_is_refused() {
    for (text, expected) in [
        ("//", TargetFault::EmptySegment),
        ("//evil.example/a", TargetFault::EmptySegment),
        ("/a//b", TargetFault::EmptySegment),
        ("/a//", TargetFault::EmptySegment),
        ("/.", TargetFault::Dots),
        ("/..", TargetFault::Dots),
        ("/a/../b", TargetFault::Dots),
        ("/a/./b", TargetFault::Dots),
        ("/a/...", TargetFault::Dots),
        ("/a/..%20/b", TargetFault::Dots),
        ("/a/%20/b", TargetFault::Dots),
        ("/a/%2e%2e/b", TargetFault::Escaped { byte: b'.' }),
        ("/a/.%2E/b", TargetFault::Escaped { byte: b'.' }),
        ("/a%2fb", TargetFault::Escaped { byte: b'/' }),
        ("/a%2Fb", TargetFault::Escaped { byte: b'/' }),
        ("/a%5cb", TargetFault::Escaped { byte: b'\\' }),
        ("/a%00", TargetFault::Escaped { byte: 0 }),
        ("/a%0d%0aX:y", TargetFault::Escaped { byte: b'\r' }),
        ("/a%7f", TargetFault::Escaped { byte: 0x7f }),
        ("/%61dmin", TargetFault::Escaped { byte: b'a' }),
        ("/a%3bx", TargetFault::Escaped { byte: b';' }),
        ("/a%3fx", TargetFault::Escaped { byte: b'?' }),
        ("/a%23x", TargetFault::Escaped { byte: b'#' }),
        ("/a/%252e%252e/b", TargetFault::Escaped { byte: b'%' }),
        ("/a;jsessionid=1", TargetFault::Character { byte: b';' }),
        ("/a;/../b", TargetFault::Character { byte: b';' }),
        ("/a\\b", TargetFault::Character { byte: b'\\' }),
        ("/a#b", TargetFault::Character { byte: b'#' }),
        ("/a b", TargetFault::Character { byte: b' ' }),
        ("/a\tb", TargetFault::Character { byte: b'\t' }),
        ("/a\"b", TargetFault::Character { byte: b'"' }),
        ("/ü", TargetFault::Character { byte: 0xc3 }),
        ("/%c0%ae%c0%ae/b", TargetFault::Utf8),
        ("/%c0%af", TargetFault::Utf8),
        ("/%ff", TargetFault::Utf8),
        ("/%ed%a0%80", TargetFault::Utf8),
        ("/%ef%bc%8e%ef%bc%8e/b", TargetFault::Resembles { found: '\u{ff0e}' }),
        ("/a%ef%bc%8fb", TargetFault::Resembles { found: '\u{ff0f}' }),
        ("/%e2%80%a5/b", TargetFault::Resembles { found: '\u{2025}' }),
        ("/%c2%85", TargetFault::Resembles { found: '\u{85}' }),
        ("/%", TargetFault::Percent),
        ("/%2", TargetFault::Percent),
        ("/%u002e", TargetFault::Percent),
        ("/%zz", TargetFault::Percent),
        ("/%+1", TargetFault::Percent),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn a_query_with_a_fragment_a_null_or_a_backslash_is_refused() {
    for (text, expected) in [
        ("/a?b#c", TargetFault::Character { byte: b'#' }),
        ("/a?b=%00", TargetFault::Escaped { byte: 0 }),
        ("/a?b\\c", TargetFault::Character { byte: b'\\' }),
        ("/a?b=%4", TargetFault::Percent),
        ("/a?b c", TargetFault::Character { byte: b' ' }),
        ("/a?ü", TargetFault::Character { byte: 0xc3 }),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn a_target_has_so_many_bytes_and_no_more() {
    let longest = format!("/{}", "a".repeat(TARGET_BYTES - 1));
    assert_eq!(Target::parse(&longest).unwrap().path(), longest);
    assert_eq!(fault(&(longest + "a")), TargetFault::TooLong { found: 4097 });
}
