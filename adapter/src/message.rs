//! What client and program say to each other: one JSON value a line, an answer for each question.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::check::Fault;

/// What the client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// The adapter; the first question, and asked once.
    Create {
        /// [`VERSION`] of whoever asks.
        version: u16,
        /// Its addresses: at most one of each family.
        addresses: Vec<IpAddr>,
        /// Its routes.
        routes: Vec<IpNet>,
        /// Whether packets come and go one by one as they are on a wire; otherwise in bursts, with a header. Only then is it said.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        plain: bool,
    },
    /// These routes instead of those before.
    Routes {
        /// All of them.
        routes: Vec<IpNet>,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The adapter comes with this line.
    Created {
        /// Its name on this computer.
        name: String,
    },
    /// The routes are there.
    Done,
    /// What was asked for is not done for anybody.
    Refused {
        /// Why.
        fault: Fault,
    },
    /// The program speaks another language.
    OtherVersion {
        /// Its own.
        version: u16,
    },
    /// The question does not fit.
    Unexpected,
    /// The kernel would not.
    Failed {
        /// What.
        step: Step,
        /// The number of its error; zero where it gave none.
        errno: i32,
    },
}

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Looking at the routes that there are.
    #[error("the routes of this computer cannot be read")]
    Look,
    /// Making the adapter.
    #[error("no adapter can be made")]
    Create,
    /// Giving it an address.
    #[error("the adapter gets no address")]
    Address,
    /// Setting its routes.
    #[error("a route cannot be set")]
    Route,
}

/// Version of the language.
pub const VERSION: u16 = 1;
/// A line is never longer.
pub const LINE_BYTES: usize = 32 * 1024;
/// Largest packet of the adapter: what fits everywhere (RFC 8200 section 5).
pub const MTU: u16 = 1280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_question_fits_a_line() {
        let route: IpNet = "fd70:6f73:7465:abcd:1234:5678:9abc:def0/128".parse().unwrap();
        let ask = Ask::Create {
            version: VERSION,
            addresses: vec![route.addr(); 2],
            routes: vec![route; crate::check::ROUTES],
            plain: false,
        };
        assert!(serde_json::to_vec(&ask).unwrap().len() < LINE_BYTES);
    }

    #[test]
    fn a_question_is_read_as_it_was_written_and_nothing_is_added_to_it() {
        let line = r#"{"ask":"create","version":1,"addresses":["100.127.0.1"],"routes":["192.168.0.0/24"]}"#;
        let ask = Ask::Create {
            version: 1,
            addresses: vec!["100.127.0.1".parse().unwrap()],
            routes: vec!["192.168.0.0/24".parse().unwrap()],
            plain: false,
        };
        assert_eq!(serde_json::from_str::<Ask>(line).unwrap(), ask);
        assert_eq!(serde_json::to_string(&ask).unwrap(), line);
        let more = r#"{"ask":"routes","routes":[],"gateway":"10.0.0.1"}"#;
        assert!(
            serde_json::from_str::<Ask>(more).unwrap_err().to_string().starts_with("unknown field `gateway`")
        );
    }
}
