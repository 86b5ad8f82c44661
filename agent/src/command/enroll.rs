//! `enroll CODE`: makes the key, proves the code, stores what the hub assigns.

use postern_protocol::audit::Event;
use postern_protocol::trust::SecretKey;
use postern_protocol::wire::invitation::{Invitation, Invitee};

use super::{Trouble, View, print};
use crate::clock::Clock;
use crate::daemon::{StateDir, runtime};
use crate::exit::Exit;
use crate::sync::EnrollError;
use crate::{identity, logging, store, surroundings, sync};

pub(super) fn run(view: &View<'_>, code: &str, label: &str, replace: bool) -> Result<Exit, Trouble> {
    logging::start(view.config.log);
    // A mistyped code is noticed before anything is made.
    let invitation = Invitation::parse(code, Invitee::Device)?;
    let ladder = surroundings::ladder(view.config.proxies()?);
    let state = StateDir::lock(&view.config.state_dir)?;
    store::prepare_enrollment(state.path(), replace)?;
    let had_next = state.path().join(identity::NEXT).exists();
    let key = if replace { identity::create_next(state.path())? } else { identity::create(state.path())? };
    let enrolling = sync::enroll(state.path(), &key, &invitation, label, &ladder);
    let device = match runtime()?.block_on(enrolling) {
        Ok(device) => device,
        Err(error) => {
            // The hub will not know this key. After any other failure it might, and the code is good for this key.
            if matches!(error, EnrollError::Refused(_)) && replace && !had_next {
                identity::drop_next(state.path())?;
            }
            return Err(error.into());
        }
    };
    let event = Event::Enrolled { device, key: key.public() };
    let bytes = u64::from(view.config.audit.size_kib) * 1024;
    if let Err(error) = store::record(state.path(), bytes, Clock::wall(), &event) {
        tracing::error!(%error, "the enrolment was not recorded in the trail");
    }
    show(view, device, &key);
    Ok(Exit::Ok)
}

fn show(view: &View<'_>, device: postern_protocol::id::DeviceId, key: &SecretKey) {
    let (key, fingerprint) = (key.public(), key.public().fingerprint());
    if view.json {
        view.show_json(&serde_json::json!({ "device": device, "key": key, "fingerprint": fingerprint }));
    } else {
        print(&format!(
            "enrolled as {device}; the fingerprint of its key is\n\n{fingerprint}\n\n\
             start the gate with `postern-agent run`"
        ));
    }
}
