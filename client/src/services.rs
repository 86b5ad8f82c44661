//! `postern services DEVICE`: what the device itself says that the user may use.

use serde::Serialize;

use postern_protocol::policy::{Kind, Mode};
use postern_protocol::wire::tunnel::ServiceEntry;

use crate::args::DeviceRef;
use crate::clock;
use crate::connect;
use crate::device::DeviceError;
use crate::directory;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::profile::Profile;
use crate::screen::Screen;

/// Lists the services of a device.
pub(crate) async fn run(wanted: &DeviceRef, profile: &Profile, screen: &Screen) -> Result<Exit, Problem> {
    let identity = profile.identity()?;
    let known = directory::look_up(wanted, &identity, profile).await?;
    let about = |error: DeviceError| Problem::from(error).about(known.entry.name.as_str());
    let (link, _) = connect::reach(&known, &identity, profile).await.map_err(about)?;
    let services = link.services().await.map_err(about);
    link.close().await;
    let services = services?;
    screen.answer(&Services {
        device: known.entry.name.as_str(),
        services: services.iter().map(service).collect(),
    });
    if services.is_empty() {
        screen.note(&format!(
            "no service of {} is open to you; ask your administrator for access",
            known.entry.name
        ));
    }
    let rows: Vec<Vec<String>> = services.iter().map(row).collect();
    screen.list(&["SERVICE", "KIND", "MODE", "UNTIL", "ACCESS"], &rows);
    Ok(Exit::Done)
}

fn row(entry: &ServiceEntry) -> Vec<String> {
    let access = entry
        .blocked
        .map_or_else(|| "open".to_owned(), |reason| format!("{}: {}", reason.sentence(), reason.next_step()));
    let until = entry.until.map(clock::local).unwrap_or_default();
    let mut mode = entry.mode.map(|mode| mode.to_string()).unwrap_or_default();
    if entry.recorded {
        mode.push_str(", recorded");
    }
    vec![entry.name.to_string(), entry.kind.word().to_owned(), mode, until, access]
}

fn service(entry: &ServiceEntry) -> ServiceAnswer<'_> {
    ServiceAnswer {
        name: entry.name.as_str(),
        kind: entry.kind,
        mode: entry.mode,
        blocked: entry.blocked.map(|reason| reason.word()),
        until: entry.until.map(clock::rfc3339),
        recorded: entry.recorded,
    }
}

#[derive(Serialize)]
struct Services<'a> {
    device: &'a str,
    services: Vec<ServiceAnswer<'a>>,
}

#[derive(Serialize)]
struct ServiceAnswer<'a> {
    name: &'a str,
    kind: Kind,
    mode: Option<Mode>,
    blocked: Option<&'static str>,
    until: Option<String>,
    recorded: bool,
}
