//! The command line of devices and of their secrets.

use clap::Subcommand;

use postern_protocol::name::Name;
use postern_protocol::trust::Fingerprint;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Prints an enrolment code for a device of the model: single use, for 24 hours.
    Add {
        /// The device's name.
        name: String,
        /// Denies everything on the device until the fingerprint of its key was confirmed.
        #[arg(long)]
        confirm_key: bool,
    },
    /// Confirms the key of a device that awaits it: the device gets its policy.
    Confirm {
        /// The device's name.
        name: String,
        /// What the device prints, read to you by somebody who stands before it.
        fingerprint: Fingerprint,
    },
    /// Forgets a key that awaits confirmation.
    Reject {
        /// The device's name.
        name: String,
    },
    /// Asks a device for a new key. The present one works until the new one is in use.
    RotateKey {
        /// The device's name.
        name: String,
    },
    /// Puts a device out of service: it ends all tunnels and forgets its users and services, and keeps its key.
    Decommission {
        /// The device's name.
        name: String,
        /// Forgets the device's key as well, once it has acknowledged: it can only come back with a new code.
        #[arg(long)]
        forget: bool,
    },
    /// Brings a device back into service.
    Recommission {
        /// The device's name.
        name: String,
    },
    /// Lists devices with what is in force on them.
    List,
    /// Lists when devices cut tunnels, because of what, and how soon nothing passed any more; each row was signed by its device.
    Cuts {
        /// The name of one device; all if not given.
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Seals a secret to a device, which alone can open it; asks for it twice.
    Set {
        /// The device's name.
        device: String,
        /// The secret's name, by which services of the device refer to it.
        name: Name,
        /// Reads the first line of standard input instead.
        #[arg(long)]
        stdin: bool,
    },
    /// Lists secrets: for which device and key, since when, and whether they are stale.
    List {
        /// Only those of this device.
        device: Option<String>,
    },
    /// Removes a secret from a device.
    Remove {
        /// The device's name.
        device: String,
        /// The secret's name.
        name: Name,
    },
}
