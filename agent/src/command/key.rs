//! `key rotate`: has the running agent make the device's next key and announce it.

use super::inspect::online;
use super::{Trouble, View, print};
use crate::control::Request;
use crate::exit::Exit;

pub(super) fn rotate(view: &View<'_>) -> Result<Exit, Trouble> {
    let next: String = online(view, &Request::RotateKey {})?;
    if view.json {
        view.show_json(&serde_json::json!({ "next_fingerprint": next }));
    } else {
        print(&format!(
            "the next key is made and announced; its fingerprint is\n\n{next}\n\n\
             it comes into force with the hub's next policy; `postern-agent status` shows both keys until then"
        ));
    }
    Ok(Exit::Ok)
}
