//! How the program ends: one number for each thing that a script may want to tell apart.

use std::process::ExitCode;

macro_rules! exits {
    ($( $(#[$doc:meta])* $name:ident = $number:literal, $meaning:literal; )+) => {
        /// What the program ends with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Exit {
            $( $(#[$doc])* $name = $number, )+
        }

        impl Exit {
            /// The number that the operating system sees.
            pub(crate) const fn number(self) -> u8 {
                match self { $( Self::$name => $number, )+ }
            }
        }

        /// The list at the end of `--help` and of the manual page.
        pub(crate) const HELP: &str =
            concat!("Exit codes:\n", $( "  ", stringify!($number), "  ", $meaning, "\n", )+);
    };
}

exits! {
    /// Nothing to complain about.
    Done = 0, "done";
    /// Something local or unexpected.
    Failure = 1, "failure on this computer, or an answer that makes no sense";
    /// The command line.
    Usage = 2, "wrong usage";
    /// Nobody is signed in.
    SignedOut = 3, "not signed in, or not any more";
    /// The policy.
    Denied = 4, "the policy says no, or no more";
    /// The device.
    DeviceUnreachable = 5, "the device cannot be reached";
    /// The hub.
    HubUnreachable = 6, "the hub cannot be reached";
    /// The profile directory or a file in it.
    UnsafeProfile = 7, "the key or another file of the profile is unsafe or damaged";
    /// A peer that is not the expected one.
    WrongKey = 8, "the other side proved another key than the expected one";
    /// Permitted, but not possible.
    NotDone = 9, "permitted, but the device or hub could not do it";
    /// The hub refuses to sign in.
    SignInRefused = 10, "the hub refused the code, password or one-time code";
    /// A device that is not in the list.
    NoSuchDevice = 11, "no such device among yours, or several of that name";
    /// What `doctor` looked at is there.
    Degraded = 12, "reached, and not by the best way (`doctor`)";
    /// Somebody has to approve.
    Waiting = 13, "a request for approval waits for its answer";
    /// Administration: what may not be seen is unknown as well.
    Unknown = 14, "there is no such thing that you may see (`admin`, `case`)";
    /// Administration: another version is there.
    Overtaken = 15, "somebody else has changed it in the meantime; nothing was changed (`admin`, `case`)";
    /// Administration: it cannot be.
    Unfit = 16, "it cannot be read, or does not fit the rest of the model; nothing was changed (`admin`, `case`)";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_help() {
        assert!(HELP.contains("\n  0  done\n"), "{HELP}");
        assert!(HELP.contains("\n  11  no such device"), "{HELP}");
        assert_eq!(HELP.lines().count(), 18);
    }
}
