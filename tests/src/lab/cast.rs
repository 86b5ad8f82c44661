//! Who plays in the laboratory, what they try, and what the *direct sales* fleet says to it.

/// Somebody of the fleet.
#[derive(Debug)]
pub(super) struct Member {
    /// The user's name in the fleet.
    pub(super) name: &'static str,
    /// What they are, for the table.
    pub(super) part: &'static str,
    /// Services, and whether the fleet allows them.
    pub(super) tries: &'static [(&'static str, bool)],
}

/// The cast, in the order of the table.
pub(super) const CAST: &[Member] = &[
    Member {
        name: "eva",
        part: "engineer of the machine builder",
        tries: &[("hmi", true), ("web", false), ("live", false)],
    },
    Member {
        name: "sam",
        part: "support of the machine builder",
        tries: &[("web", true), ("live", true), ("hmi", false)],
    },
    Member {
        name: "otto",
        part: "operator of this machine",
        tries: &[("hmi", true), ("web", false), ("live", false)],
    },
    Member { name: "ada", part: "administrator of the customer", tries: &[("hmi", false)] },
    Member { name: "bea", part: "operator at another customer", tries: &[("hmi", false)] },
];

/// The services of the press with the key under which the fleet file keeps their addresses.
pub(super) const SERVICES: [&str; 3] = ["hmi", "web", "live"];

/// The fleet, as it is in the repository.
pub(super) const FLEET: &str = include_str!("../../../samples/direct-sales.toml");

/// Takes the screens away from engineers and leaves them the controllers: the change that cuts.
pub(super) const WITHDRAWAL: &str = "role.engineer.categories=[\"plc-network\"]";
