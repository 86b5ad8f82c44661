//! Fleet files for tests: one account, the device [`DEVICE`], its services, and who may use which of them.
//!
//! Each grant becomes a category, a role and an assignment of its own, so that a test can take away exactly one.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::DEVICE;

/// A fleet that a test describes.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    services: Vec<Service>,
    grants: Vec<Grant>,
    /// The key to which everything is recorded, if it is.
    recording_key: Option<String>,
    /// Lines of the device's section.
    device: String,
}

/// Who may use what.
#[derive(Clone, Debug)]
pub struct Grant {
    user: String,
    services: Vec<String>,
    from: Option<SystemTime>,
    until: Option<SystemTime>,
    offline: bool,
}

#[derive(Clone, Debug)]
struct Service {
    name: String,
    kind: String,
    /// The line that says where it leads.
    leads: String,
    limits: String,
}

impl Fleet {
    /// A fleet with nothing behind its device.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, name: &str, kind: &str, target: SocketAddr) -> Self {
        let (name, kind) = (name.to_owned(), kind.to_owned());
        let leads = format!("target = \"{target}\"");
        self.services.push(Service { name, kind, leads, limits: String::new() });
        self
    }

    /// Adds a VPN with these destinations, each as a fleet file has it: `"tcp 192.0.2.10 102"`, with the quotation marks.
    #[must_use]
    pub fn vpn(mut self, name: &str, destinations: &[&str]) -> Self {
        let (name, kind) = (name.to_owned(), "vpn".to_owned());
        let leads = format!("allow = [{}]", destinations.join(", "));
        self.services.push(Service { name, kind, leads, limits: String::new() });
        self
    }

    /// Adds lines to the section of a service, such as `idle = "2s"`.
    #[must_use]
    pub fn limit(mut self, service: &str, line: &str) -> Self {
        for known in self.services.iter_mut().filter(|known| known.name == service) {
            known.limits.push_str(line);
            known.limits.push('\n');
        }
        self
    }

    /// Adds a line to the section of the device, such as `freshness = "1m"`.
    #[must_use]
    pub fn of_device(mut self, line: &str) -> Self {
        self.device.push_str(line);
        self.device.push('\n');
        self
    }

    /// Adds a user who may use these services; none for a user with an empty role.
    #[must_use]
    pub fn allow(self, user: &str, services: &[&str]) -> Self {
        self.grant(Grant::new(user, services))
    }

    /// Adds a grant, and its user where that is new.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.grants.push(grant);
        self
    }

    /// Takes all grants of a user away; the user stays.
    #[must_use]
    pub fn without_grants_of(mut self, user: &str) -> Self {
        for grant in self.grants.iter_mut().filter(|grant| grant.user == user) {
            grant.services.clear();
        }
        self
    }

    /// Has all that is granted recorded to a key, 64 hexadecimal digits.
    #[must_use]
    pub fn recorded(mut self, key: &str) -> Self {
        self.recording_key = Some(key.to_owned());
        self
    }

    /// The file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "[account.acme]\ntenant = \"service_provider\"\n{}\n[device.{DEVICE}]\naccount = \"acme\"\n{}\n",
            self.recording_key.iter().map(|key| format!("recording-key = \"{key}\"\n")).collect::<String>(),
            self.device
        );
        for Service { name, kind, leads, limits } in &self.services {
            let head = format!("[device.{DEVICE}.service.{name}]\nkind = \"{kind}\"\n{leads}");
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{head}\n{limits}");
        }
        let mut users: Vec<&str> = self.grants.iter().map(|grant| grant.user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        for user in users {
            let _ = writeln!(text, "[user.{user}]\naccount = \"acme\"\n");
        }
        for (number, grant) in self.grants.iter().enumerate().filter(|(_, grant)| !grant.services.is_empty())
        {
            grant.write(number, self.recording_key.is_some(), &mut text);
        }
        text
    }
}

impl Grant {
    /// A grant without a window.
    #[must_use]
    pub fn new(user: &str, services: &[&str]) -> Self {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        Self { user: user.to_owned(), services, from: None, until: None, offline: false }
    }

    /// Lets it begin at a time.
    #[must_use]
    pub const fn from(mut self, time: SystemTime) -> Self {
        self.from = Some(time);
        self
    }

    /// Lets it end at a time.
    #[must_use]
    pub const fn until(mut self, time: SystemTime) -> Self {
        self.until = Some(time);
        self
    }

    /// Lets it hold while the device is cut off from the hub.
    #[must_use]
    pub const fn offline(mut self) -> Self {
        self.offline = true;
        self
    }

    fn write(&self, number: usize, recorded: bool, text: &mut String) {
        let name = format!("{}-{number}", self.user);
        let services: Vec<String> = self.services.iter().map(|service| format!("\"{service}\"")).collect();
        let services = services.join(", ");
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "[category.{name}]\nservices = [{services}]\nrecord = {recorded}\n");
        let _ = writeln!(text, "[role.{name}]\ntenant = \"service_provider\"");
        let offline = if self.offline { "offline = true\n" } else { "" };
        let _ = writeln!(text, "permissions = [\"remote-access.use\"]\ncategories = [\"{name}\"]\n{offline}");
        let _ = writeln!(
            text,
            "[assignment.{name}]\nuser = \"{}\"\nrole = \"{name}\"\nscope = {{ device = \"{DEVICE}\" }}",
            self.user
        );
        for (key, time) in [("from", self.from), ("until", self.until)] {
            if let Some(time) = time {
                let _ = writeln!(text, "{key} = \"{}\"", rfc3339(time));
            }
        }
        text.push('\n');
    }
}

/// The next full second that is at least `ahead` from now: policy knows no fractions.
#[must_use]
pub fn in_seconds(ahead: u64) -> SystemTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs() + ahead + 1)
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| time.to_string()).unwrap_or_default()
}

/// The account of everybody.
pub(super) const ACCOUNT: &str = "acme";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_reads_as_toml_with_one_assignment_for_each_grant() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let fleet = Fleet::new()
            .service("hmi", "vnc", "127.0.0.1:5900".parse().unwrap())
            .limit("hmi", "idle = \"2s\"")
            .allow("anna", &["hmi"])
            .grant(Grant::new("anna", &["hmi"]).until(time).offline())
            .allow("bert", &[]);
        let text = fleet.to_toml();
        for part in [
            "[device.press-7.service.hmi]\nkind = \"vnc\"\ntarget = \"127.0.0.1:5900\"\nidle = \"2s\"\n",
            "[assignment.anna-0]\n",
            "categories = [\"anna-1\"]\noffline = true\n",
            "until = \"2027-01-15T08:00:00Z\"\n",
            "[user.bert]\naccount = \"acme\"\n",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("categories = [\"anna-0\"]\noffline"), "{text}");
        assert!(!text.contains("assignment.bert"), "{text}");
        assert!(!fleet.without_grants_of("anna").to_toml().contains("assignment."));
    }
}
