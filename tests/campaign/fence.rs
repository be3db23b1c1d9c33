//! The fence, broken on purpose (docs/fence.md, 8): the judge must notice each.
//!
//! The agent is the one that is shipped, and has no switch for it. Each break is made around it, and it then does what an agent
//! would do that lacked the precaution: whose journal is gone at every start has none; who is told that an assignment was
//! made when its answer arrived counts the lease from there; who is always told “still yours” might as well not ask.

use std::fmt;

use crate::judge::Breach;

/// A precaution that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Nothing is remembered over a restart.
    NoJournal,
    /// A lease counts from the moment at which the assignment arrived.
    LeaseFromArrival,
    /// Hazardous work is begun without asking whether it is still ours.
    NoConfirm,
    /// Late results are told without asking whether the attempt is still ours.
    OutboxWithoutAsking,
}

impl Broken {
    /// All of them.
    pub const ALL: [Broken; 4] = [
        Broken::NoJournal,
        Broken::LeaseFromArrival,
        Broken::NoConfirm,
        Broken::OutboxWithoutAsking,
    ];

    /// As `--broken` names it.
    pub fn name(self) -> &'static str {
        match self {
            Broken::NoJournal => "no-journal",
            Broken::LeaseFromArrival => "lease-from-arrival",
            Broken::NoConfirm => "no-confirm",
            Broken::OutboxWithoutAsking => "outbox-without-asking",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Result<Self, String> {
        let names = || Broken::ALL.map(Broken::name).join(", ");
        Broken::ALL
            .into_iter()
            .find(|broken| broken.name() == name)
            .ok_or_else(|| format!("no fence is broken as {name:?}, only as {}", names()))
    }

    /// What the judge must find then. Others may come with it.
    pub fn breach(self) -> Breach {
        match self {
            Broken::NoJournal => Breach::Twice,
            Broken::LeaseFromArrival | Broken::NoConfirm => Breach::Late,
            Broken::OutboxWithoutAsking => Breach::False,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
