//! The fence as it is, and broken on purpose (docs/fence.md, 8): the witness must notice each.
//!
//! Nothing of this is in the product. Each break is made around the real agent, which then does what an agent would do
//! that lacked the precaution: a journal that is gone at every start is none; whoever is lied to about the server's clock counts a
//! lease from the answer's arrival; whoever is always told “still yours” might as well not ask.

/// A precaution that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
}
