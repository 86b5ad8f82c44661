//! The exit codes of `postern-agent`, one for each thing that a script may want to tell apart.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or permitted.
    Ok,
    /// It could not be done.
    Failure,
    /// The command line or the configuration is wrong.
    Usage,
    /// The device is not enrolled.
    NotEnrolled,
    /// Policy says no.
    Denied,
    /// No agent runs here.
    NotRunning,
    /// Key or state are unsafe or corrupt.
    Unsafe,
    /// Another agent holds the state directory or the control socket.
    Occupied,
    /// The hub cannot be reached, or refuses.
    Hub,
    /// The hub is reached, and not by the best way.
    Degraded,
    /// The self-test failed.
    SelfTest,
}

impl Exit {
    /// Every code with its meaning, for `--help` and the documents.
    pub(crate) const ALL: [(Self, &'static str); 11] = [
        (Self::Ok, "done, or permitted"),
        (Self::Failure, "it could not be done"),
        (Self::Usage, "the command line or the configuration is wrong"),
        (Self::NotEnrolled, "the device is not enrolled"),
        (Self::Denied, "policy says no"),
        (Self::NotRunning, "no agent runs here"),
        (Self::Unsafe, "key or state are unsafe or corrupt"),
        (Self::Occupied, "another agent holds the state directory or the control socket"),
        (Self::Hub, "the hub cannot be reached, or refuses"),
        (Self::Degraded, "the hub is reached, and not by the best way (`doctor`)"),
        (Self::SelfTest, "the self-test failed: nobody is served (`check`)"),
    ];

    /// The number that the shell sees.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotEnrolled => 3,
            Self::Denied => 4,
            Self::NotRunning => 5,
            Self::Unsafe => 6,
            Self::Occupied => 7,
            Self::Hub => 8,
            Self::Degraded => 9,
            Self::SelfTest => 10,
        }
    }

    /// The table at the end of `--help`.
    pub(crate) fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in Self::ALL {
            text.push_str(&format!("  {}  {meaning}\n", exit.number()));
        }
        text
    }
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
    fn codes_count_up_from_zero_and_each_is_in_the_table() {
        for (expected, (exit, meaning)) in (0..).zip(Exit::ALL) {
            assert_eq!(exit.number(), expected);
            assert!(Exit::table().contains(&format!("  {expected}  {meaning}\n")));
        }
    }
}
