//! Values that name the machine's own address, so that a browser stays at the local one.
//!
//! The browser sits at a local origin, the machine knows only its own. Pages are not touched; what a header says about an origin is:
//! in requests the local one becomes the machine's, in answers the machine's becomes a path, which is right at any origin.

/// Where the machine believes it is: scheme and authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    scheme: &'static str,
    authority: Box<str>,
}

impl Site {
    /// The origin of a machine that is told `authority` as `Host`, over TLS or not.
    #[must_use]
    pub fn new(is_tls: bool, authority: &str) -> Self {
        Self { scheme: if is_tls { "https" } else { "http" }, authority: authority.into() }
    }

    /// The value of `Host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The value of `Origin` for a request of the machine's own page.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// The `Origin` of a request that a page made. The client's listener lets pass only those of its own page; a page without
    /// origin (`null`) stays one.
    #[must_use]
    pub fn of_page(&self, value: &str) -> String {
        if value == "null" { value.to_owned() } else { self.to_text() }
    }

    /// The `Referer` of a request that a page made; none where it says nothing.
    #[must_use]
    pub fn referer(&self, value: &str) -> Option<String> {
        let (_authority, path) = absolute(value)?;
        Some(format!("{}{path}", self.to_text()))
    }

    /// The `Location` of an answer: a path where it names the machine itself, otherwise unchanged.
    #[must_use]
    pub fn location<'a>(&self, value: &'a str) -> &'a str {
        match absolute(value) {
            // `//host` is left alone: as a path it would name another host.
            Some((authority, path)) if self.is_here(value, authority) && !path.starts_with("//") => {
                if path.is_empty() { "/" } else { path }
            }
            Some(_) | None => value,
        }
    }

    /// A `Set-Cookie` of an answer without `Domain`, so that the cookie is of the local origin alone.
    #[must_use]
    pub fn cookie(value: &str) -> String {
        let is_domain = |part: &&str| {
            let name = part.split('=').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("domain")
        };
        // The first part is the cookie itself, whatever its name.
        let mut parts = value.split(';');
        let mut kept = parts.next().unwrap_or_default().to_owned();
        for part in parts.filter(|part| !is_domain(part)) {
            kept.push(';');
            kept.push_str(part);
        }
        kept
    }

    /// Whether an absolute URL names this machine. Another scheme on the same authority is another server.
    fn is_here(&self, url: &str, authority: &str) -> bool {
        let scheme = url.split(':').next().unwrap_or_default();
        let port = if self.scheme == "https" { ":443" } else { ":80" };
        let plain = |authority: &str| {
            let authority = authority.to_ascii_lowercase();
            authority.strip_suffix(port).unwrap_or(&authority).to_owned()
        };
        scheme.eq_ignore_ascii_case(self.scheme) && plain(authority) == plain(&self.authority)
    }
}

/// Authority and the rest of an absolute HTTP URL.
fn absolute(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    (!authority.is_empty() && !authority.contains('@')).then_some((authority, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel() -> Site {
        Site::new(false, "Panel.local")
    }

    #[test]
    fn a_redirect_to_the_machine_itself_becomes_a_path_and_others_stay() {
        for (value, expected) in [
            ("http://panel.local/login?next=/", "/login?next=/"),
            ("http://PANEL.local:80/a", "/a"),
            ("HTTP://panel.local", "/"),
            ("/login", "/login"),
            ("login", "login"),
            ("https://panel.local/login", "https://panel.local/login"),
            ("http://panel.local:8080/a", "http://panel.local:8080/a"),
            ("http://other.local/a", "http://other.local/a"),
            ("http://panel.local@other.local/a", "http://panel.local@other.local/a"),
            ("http://panel.local//other.local", "http://panel.local//other.local"),
            ("javascript:alert(1)", "javascript:alert(1)"),
        ] {
            assert_eq!(panel().location(value), expected, "{value}");
        }
        assert_eq!(Site::new(true, "10.0.0.1").location("https://10.0.0.1:443/a"), "/a");
        assert_eq!(Site::new(true, "10.0.0.1:8443").location("https://10.0.0.1:8443/a"), "/a");
    }

    #[test]
    fn a_cookie_loses_its_domain_and_nothing_else() {
        for (value, expected) in [
            ("id=1; Path=/; Domain=panel.local; HttpOnly", "id=1; Path=/; HttpOnly"),
            ("id=1;domain=.panel.local", "id=1"),
            ("domain=x; Secure", "domain=x; Secure"),
            ("id=a=b", "id=a=b"),
            ("", ""),
        ] {
            assert_eq!(Site::cookie(value), expected, "{value}");
        }
    }

    #[test]
    fn a_page_of_the_local_origin_is_one_of_the_machine() {
        assert_eq!(panel().of_page("http://hmi.localhost:4001"), "http://Panel.local");
        assert_eq!(panel().of_page("null"), "null");
        assert_eq!(
            panel().referer("http://hmi.localhost:4001/a?b").as_deref(),
            Some("http://Panel.local/a?b")
        );
        assert_eq!(panel().referer("about:blank"), None);
        assert_eq!(panel().referer("http://user@x/"), None);
    }
}
