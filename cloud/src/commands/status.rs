//! `status`: the installation as a whole.

use std::path::Path;

use serde_json::json;

use postern_protocol::time::UnixTime;
use postern_protocol::trust::Root;

use super::{Answer, CommandError, open};
use crate::clock;
use crate::hub;
use crate::signer::{SignerError, days_left};

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
            "Installation {fleet}\nHub          {listening}, key {hub_key}\nRoot         version {version}, epoch {epoch}, {until}\n\
             Model        revision {revision}: {accounts} accounts, {users} users, {modelled} devices\n\
             Devices      {enrolled} enrolled, {online} online, {behind} without the latest policy\n\
             Alarms       {alarms}\n",
            fleet = installation.fleet,
            hub_key = hub_keys.join(" or "),
            version = root.version,
            epoch = root.policy_epoch,
            until = until(&root, clock::now()),
            accounts = model.accounts.len(),
            users = model.users.len(),
            modelled = model.devices.len(),
        );
        let json = json!({
            "fleet": installation.fleet, "running": running, "bound": bound, "advertise": installation.advertise,
            "hub_keys": root.hubs, "root_version": root.version, "policy_epoch": root.policy_epoch,
            "root_expires": root.expires, "root_days_left": days_left(&root, clock::now()),
            "revision": revision, "accounts": model.accounts.len(), "users": model.users.len(),
            "devices": model.devices.len(), "enrolled": enrolled, "online": online, "behind": behind, "alarms": alarms,
        });
        Ok(Answer { text, json })
    })
}

/// Until when the root holds, and what to do when that is not long.
fn until(root: &Root, now: UnixTime) -> String {
    let end = clock::show(root.expires);
    match days_left(root, now) {
        None => format!("until {end}"),
        Some(_) if root.expires <= now => {
            format!(
                "EXPIRED at {end}: devices permit nothing; `postern-cloud root rotate` begins the next one"
            )
        }
        Some(days) => {
            format!("until {end}, in {days} days: `postern-cloud root rotate` begins the next one")
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_protocol::id::FleetId;

    use super::*;

    #[test]
    fn the_end_of_a_root_is_announced_ninety_days_before() {
        let at = UnixTime::from_secs;
        let day = 24 * 3600;
        let root = Root {
            fleet: FleetId::new([1; 8]),
            version: 1,
            expires: at(100 * day),
            policy_epoch: 1,
            roles: Vec::new(),
            hubs: Vec::new(),
        };
        assert_eq!(until(&root, at(10 * day)), "until 1970-04-11T00:00:00Z");
        assert_eq!(
            until(&root, at(10 * day + 1)),
            "until 1970-04-11T00:00:00Z, in 89 days: `postern-cloud root rotate` begins the next one"
        );
        assert_eq!(
            until(&root, at(100 * day)),
            "EXPIRED at 1970-04-11T00:00:00Z: devices permit nothing; `postern-cloud root rotate` begins the next one"
        );
    }
}
