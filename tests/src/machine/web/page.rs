//! Puts each page together from its own part and the frame that all pages share.
//!
//! 1. The frame holds the head, the navigation, the style and the script that fills in live values.
//! 2. The page's part goes into it, then the first values and the visitor's session.
//!
//! Deliberately absent: escaping. Nothing that a visitor sends is shown; a session is a number.

/// One of the press's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// Live values.
    Dashboard,
    /// Service counters, set points and the reset of alarms.
    Maintenance,
    /// Type plate and software versions.
    MachineInfo,
}

impl Page {
    /// The whole document, with `values` and `trend` (both JSON) inside for the first view.
    pub(crate) fn render(self, values: &str, trend: &str, session: u64) -> String {
        FRAME
            .replace("{{style}}", STYLE)
            .replace("{{body}}", self.body())
            .replace("{{script}}", SCRIPT)
            .replace("{{title}}", self.title())
            .replace(self.link(), &format!("{} aria-current=\"page\"", self.link()))
            .replace("{{session}}", &session.to_string())
            .replace("{{trend}}", trend)
            .replace("{{values}}", values)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Dashboard => "Dashboard",
            Self::Maintenance => "Maintenance",
            Self::MachineInfo => "Machine info",
        }
    }

    /// The navigation's link to this page, as it is written in the frame.
    const fn link(self) -> &'static str {
        match self {
            Self::Dashboard => "<a href=\"/\"",
            Self::Maintenance => "<a href=\"/maintenance\"",
            Self::MachineInfo => "<a href=\"/machine-info\"",
        }
    }

    const fn body(self) -> &'static str {
        match self {
            Self::Dashboard => include_str!("dashboard.html"),
            Self::Maintenance => include_str!("maintenance.html"),
            Self::MachineInfo => include_str!("machine-info.html"),
        }
    }
}

const FRAME: &str = include_str!("frame.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_navigation_marks_the_page_that_is_shown_and_no_other() {
        for page in [Page::Dashboard, Page::Maintenance, Page::MachineInfo] {
            let html = page.render("{}", "[]", 4);
            assert_eq!(html.matches("aria-current=\"page\"").count(), 1, "{page:?}");
            assert!(html.contains(&format!("{} aria-current=\"page\">", page.link())), "{page:?}");
        }
    }
}
