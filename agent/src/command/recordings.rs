//! `recordings list`, `export` and `remove`: what was recorded on this device. None of it can be opened here.

use std::path::Path;

use serde::{Deserialize, Serialize};

use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::policy::Kind;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::SealingKey;

use super::inspect::online;
use super::{Trouble, View, print};
use crate::control::Request;
use crate::exit::Exit;
use crate::recordings::{Kept, Shelf, ShelfError};
use crate::report::Shown;

/// One recording, as its file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RecordingReport {
    tunnel: TunnelId,
    user: UserId,
    service: Name,
    kind: Kind,
    category: Name,
    /// When it began.
    begun: UnixTime,
    bytes: u64,
    /// The key that opens it.
    key: SealingKey,
}

pub(super) fn list(view: &View<'_>) -> Result<Exit, Trouble> {
    let kept = Shelf::list(&view.config.state_dir)?;
    view.show(&kept.into_iter().map(RecordingReport::from).collect::<Vec<_>>());
    Ok(Exit::Ok)
}

pub(super) fn export(view: &View<'_>, tunnel: TunnelId, to: &Path) -> Result<Exit, Trouble> {
    let found = Shelf::list(&view.config.state_dir)?.into_iter().find(|kept| kept.header.tunnel == tunnel);
    let kept = found.ok_or(Trouble::NoRecording { tunnel })?;
    let fail = |error| ShelfError { path: to.to_owned(), error };
    let mut from = std::fs::File::open(&kept.path).map_err(fail)?;
    // What is there already may be another recording.
    let mut file = std::fs::File::create_new(to).map_err(fail)?;
    let bytes = std::io::copy(&mut from, &mut file)
        .and_then(|bytes| file.sync_all().map(|()| bytes))
        .map_err(fail)?;
    if view.json {
        view.show_json(&serde_json::json!({ "tunnel": tunnel, "bytes": bytes }));
    } else {
        print(&format!("{bytes} bytes of {tunnel} are in {}", to.display()));
    }
    Ok(Exit::Ok)
}

pub(super) fn remove(view: &View<'_>, tunnel: TunnelId) -> Result<Exit, Trouble> {
    let removed: bool = online(view, &Request::RecordingRemove { tunnel })?;
    if !removed {
        return Err(Trouble::NoRecording { tunnel });
    }
    if view.json {
        view.show_json(&serde_json::json!({ "tunnel": tunnel }));
    } else {
        print(&format!("the recording of {tunnel} is removed"));
    }
    Ok(Exit::Ok)
}

impl From<Kept> for RecordingReport {
    fn from(Kept { bytes, header, .. }: Kept) -> Self {
        let postern_protocol::recording::Header { tunnel, user, service, kind, category, begun, key, .. } =
            header;
        Self { tunnel, user, service, kind, category, begun, bytes, key }
    }
}

impl Shown for Vec<RecordingReport> {
    fn text(&self) -> String {
        if self.is_empty() {
            return "no recordings".to_owned();
        }
        let line = |one: &RecordingReport| {
            let RecordingReport { tunnel, user, service, begun, bytes, .. } = one;
            format!("{tunnel}  {begun}  {user}  {service}  {} KiB\n", bytes.div_ceil(1024))
        };
        self.iter().map(line).collect()
    }
}
