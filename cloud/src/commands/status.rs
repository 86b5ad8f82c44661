//! `status`: the installation as a whole.

use std::path::Path;

use serde_json::json;

use postern_protocol::trust::Root;

use super::{Answer, CommandError, open};
use crate::hub;
use crate::signer::SignerError;

pub(super) fn run(state: &Path) -> Result<Answer, CommandError> {
    let running = hub::is_running(state);
    open(state)?.read::<_, CommandError>(|tx| {
        let (installation, model, devices) = (tx.installation()?, tx.model()?, tx.devices()?);
        let root = Root::self_signed(&tx.newest_root()?).map_err(SignerError::from)?;
        let enrolled = devices.iter().filter(|device| device.key.is_some()).count();
        let online = devices.iter().filter(|device| running && device.online).count();
        let mut behind = 0usize;
        for device in devices.iter().filter(|device| device.key.is_some()) {
            let latest = tx.snapshot_term(&device.name)?.map(|term| term.held.version);
            behind += usize::from(latest != device.applied);
        }
        let (revision, bound) = (tx.revision()?, tx.bound()?);
        let alarms = tx.alarms()?.len();
        let hub_keys: Vec<String> = root.hubs.iter().map(|key| key.fingerprint().to_string()).collect();
        let listening = bound.filter(|_| running).map_or_else(|| "stopped".to_owned(), |at| format!("listening on {at}"));
        let text = format!(
            "Installation {fleet}\nHub          {listening}, key {hub_key}\nRoot         version {version}, epoch {epoch}\n\
             Model        revision {revision}: {accounts} accounts, {users} users, {modelled} devices\n\
             Devices      {enrolled} enrolled, {online} online, {behind} without the latest policy\n\
             Alarms       {alarms}\n",
            fleet = installation.fleet,
            hub_key = hub_keys.join(" or "),
            version = root.version,
            epoch = root.policy_epoch,
            accounts = model.accounts.len(),
            users = model.users.len(),
            modelled = model.devices.len(),
        );
        let json = json!({
            "fleet": installation.fleet, "running": running, "bound": bound, "advertise": installation.advertise,
            "hub_keys": root.hubs, "root_version": root.version, "policy_epoch": root.policy_epoch,
            "revision": revision, "accounts": model.accounts.len(), "users": model.users.len(),
            "devices": model.devices.len(), "enrolled": enrolled, "online": online, "behind": behind, "alarms": alarms,
        });
        Ok(Answer { text, json })
    })
}
