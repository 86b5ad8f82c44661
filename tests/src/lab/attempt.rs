//! One person tries one service, with the real command and the real protocol of the service.

use serde::Serialize;

use super::cast::Member;
use crate::world::probe::{http_page, vnc_picture, websocket_talk};
use crate::world::{DEVICE, Ending, Mishap, Person};

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Attempt {
    pub(super) who: &'static str,
    pub(super) part: &'static str,
    pub(super) service: &'static str,
    pub(super) allowed: bool,
    /// What the fleet says.
    pub(super) expected: bool,
    /// The product's own words when it refused.
    pub(super) why: String,
    /// What came out of the tunnel when it opened.
    pub(super) seen: String,
}

/// Tries `service`, which the fleet allows or not.
pub(super) async fn attempt(
    member: &Member,
    person: &Person,
    service: &'static str,
    expected: bool,
) -> Result<Attempt, Mishap> {
    let outcome = if expected { visit(person, service).await? } else { knock(person, service).await? };
    let (allowed, why, seen) = match outcome {
        Outcome::Opened(seen) => (true, String::new(), seen),
        Outcome::Refused(why) => (false, why, String::new()),
    };
    Ok(Attempt { who: member.name, part: member.part, service, allowed, expected, why, seen })
}

enum Outcome {
    Opened(String),
    Refused(String),
}

/// Opens a tunnel and uses it as its kind is used.
async fn visit(person: &Person, service: &str) -> Result<Outcome, Mishap> {
    let session = person.connect(service).await?;
    let seen = match service {
        "hmi" => {
            let (name, picture) = vnc_picture(session.address).await?;
            let mut colours = picture.pixels().to_vec();
            colours.sort_unstable();
            colours.dedup();
            let (width, height) = (picture.width(), picture.height());
            format!("panel `{name}`, {width} x {height} pixels in {} colours", colours.len())
        }
        "live" => {
            let (values, echo) = websocket_talk(&session, "hello").await?;
            format!("a frame of {} bytes of live values, and the echo {echo}", values.len())
        }
        _ => {
            let page = http_page(&session, "/").await?;
            let title = page.body.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
            let title = title.map_or("without title", |(title, _)| title);
            format!("status {}, page `{title}`, {} bytes", page.status, page.body.len())
        }
    };
    session.interrupt().await?;
    Ok(Outcome::Opened(seen))
}

/// Asks for a service that should be refused, in a way that would also notice if it opened.
async fn knock(person: &Person, service: &str) -> Result<Outcome, Mishap> {
    let command = ["connect", DEVICE, service, "--stdio"];
    let done = person.call(command).input("").finish().await?;
    Ok(if REFUSALS.contains(&done.ending) {
        Outcome::Refused(done.err.trim().trim_start_matches("postern: ").to_owned())
    } else {
        Outcome::Opened(format!("{}: {}{}", done.ending, done.out, done.err))
    })
}

/// How `postern connect` ends when the device says no, and when the hub does not even tell of such a device.
const REFUSALS: [Ending; 2] = [Ending::Code(4), Ending::Code(11)];
