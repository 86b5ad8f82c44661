//! `enroll CODE`: makes the key, proves the code, stores what the hub assigns.

use postern_protocol::wire::invitation::{Invitation, Invitee};

use super::{Trouble, View, print};
use crate::daemon::{StateDir, runtime};
use crate::exit::Exit;
use crate::{identity, logging, sync};

pub(super) fn run(view: &View<'_>, code: &str, label: &str) -> Result<Exit, Trouble> {
    logging::start(view.config.log);
    // A mistyped code is noticed before anything is made.
    let invitation = Invitation::parse(code, Invitee::Device)?;
    let state = StateDir::lock(&view.config.state_dir)?;
    let key = identity::create(state.path())?;
    let enrolling = sync::enroll(state.path(), &key, &invitation, label);
    let device = runtime()?.block_on(enrolling)?;
    if view.json {
        view.show_json(&serde_json::json!({ "device": device, "key": key.public() }));
    } else {
        print(&format!("enrolled as {device}; start the gate with `postern-agent run`"));
    }
    Ok(Exit::Ok)
}
