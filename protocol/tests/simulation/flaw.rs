//! What the shell can be made to forget, to show that a promise notices.

/// A duty that the shell forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// A snapshot comes into force and live tunnels are not decided again.
    NoJudgeAfterInstall,
    NoJudgeAfterLock,
    /// A root takes the key away that signed what is in force, and that stays.
    NoJudgeAfterRoot,
    /// Permits run out and nobody looks.
    NoEdges,
    /// A boot begins without the floor.
    ForgetsFloor,
    ForgetsLocks,
    /// A boot costs nothing of the budget.
    NoDebitAtBoot,
    /// What is debited is believed and not stored.
    NoDebitStored,
    /// While the disk hangs nobody looks whether the policy has lapsed.
    WaitsForTheDisk,
    /// An answer to any question counts for the last one.
    TakesEveryAnswer,
    /// A tunnel carries before its row is durable.
    CarriesBeforeRow,
    /// A tunnel that was cut goes on when its right comes back.
    RevivesTunnels,
    /// New tunnels are judged like live ones, also under a policy that nobody has confirmed.
    OpensUnconfirmed,
    /// A snapshot is acknowledged before it is stored.
    AcknowledgesEarly,
    /// What became of a push is not told.
    NeverAnswers,
    /// The time is stored whenever the cloud is heard.
    WritesWhenIdle,
}
