//! What the state machine reads, and what a store must do.

use super::{Anchor, Change, Record};
use crate::clock::BootTime;
use crate::protocol::model::{Attribute, Colony, ProcessState, Runtime, Statistics};
use crate::protocol::time::Time;

/// Storage failed. What it says is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Reading, with the writes of the open transaction already in sight. No read costs more with a longer queue.
pub trait View {
    /// One colony.
    ///
    /// # Errors
    /// Storage failed; so all of them.
    fn colony(&self, id: &str) -> Result<Option<Colony>, StoreError>;
    /// All colonies, oldest first.
    fn colonies(&self) -> Result<Vec<Colony>, StoreError>;
    /// One runtime.
    fn runtime(&self, id: &str) -> Result<Option<Runtime>, StoreError>;
    /// The runtimes of a colony, oldest first.
    fn runtimes(&self, colony_id: &str) -> Result<Vec<Runtime>, StoreError>;
    /// One process.
    fn record(&self, process_id: &str) -> Result<Option<Record>, StoreError>;
    /// The attributes of a process, oldest first.
    fn attributes(&self, process_id: &str) -> Result<Vec<Attribute>, StoreError>;
    /// One attribute.
    fn attribute(&self, id: &str) -> Result<Option<Attribute>, StoreError>;
    /// The first ready process that a runtime may have, or the last one.
    fn head(
        &self,
        colony_id: &str,
        runtime_type: &str,
        runtime_id: &str,
        latest: bool,
    ) -> Result<Option<Record>, StoreError>;
    /// The nearest deadline; of several at the same moment that of the process submitted first.
    fn first_due(&self) -> Result<Option<(BootTime, String)>, StoreError>;
    /// What runs on a runtime, in order of submission.
    fn running_on(&self, runtime_id: &str) -> Result<Vec<Record>, StoreError>;
    /// The newest processes of a colony in a state (by [`Record::moved`]).
    fn newest(&self, colony_id: &str, state: ProcessState, count: usize) -> Result<Vec<Record>, StoreError>;
    /// Processes of a colony in a state that were submitted at or after `since`, newest first; with a runtime only those
    /// assigned to it.
    fn history(
        &self,
        colony_id: &str,
        runtime_id: Option<&str>,
        state: ProcessState,
        since: Time,
        count: usize,
    ) -> Result<Vec<Record>, StoreError>;
    /// The process that a client submitted with an id of its own.
    fn submission(
        &self,
        colony_id: &str,
        submitter: &str,
        submission_id: &str,
    ) -> Result<Option<Record>, StoreError>;
    /// Counts over everything, or over one colony.
    fn statistics(&self, colony_id: Option<&str>) -> Result<Statistics, StoreError>;
    /// The highest place ever taken and still there.
    fn last_seq(&self) -> Result<u64, StoreError>;
    /// All processes that have not ended and have any deadline.
    fn with_deadlines(&self) -> Result<Vec<Record>, StoreError>;
}

/// Whether a store would have time to tidy up: to move what was committed from its log to its proper place, say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Untidy {
    /// There is nothing to do.
    #[default]
    No,
    /// Enough to be worth it, once nobody asks for anything.
    SomeTime,
    /// So much that somebody may have to wait for it.
    Now,
}

/// A view that can be written to, in transactions. What [`Store::commit`] reports as done survives the machine.
pub trait Store: View {
    /// Opens a transaction.
    ///
    /// # Errors
    /// Storage failed; so all of them.
    fn begin(&mut self) -> Result<(), StoreError>;
    /// Writes into the open transaction.
    fn write(&mut self, change: &Change) -> Result<(), StoreError>;
    /// Makes the transaction durable, and with it how far the clock has come.
    fn commit(&mut self, anchor: &Anchor) -> Result<(), StoreError>;
    /// Forgets the open transaction, if one is.
    fn rollback(&mut self);
    /// How far the clock had come at the last commit.
    fn anchor(&self) -> Result<Option<Anchor>, StoreError>;
    /// Whether [`Store::tidy`] has something to do.
    fn untidy(&self) -> Untidy {
        Untidy::No
    }
    /// Does what no transaction has to wait for.
    fn tidy(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Writes down what may wait (see [`Change::Heard`]), and tidies up.
    fn finish(&mut self, anchor: &Anchor) -> Result<(), StoreError>;
}
