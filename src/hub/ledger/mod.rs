//! The ledger: the state machine of colonies, runtimes and processes, and what keeps it.
//!
//! [`apply()`] is pure: it reads a [`View`], takes the moment and the randomness as arguments, and says what changes
//! ([`Change`]), what is to be told ([`Event`]) and which processes became ready to be assigned. The same function
//! serves the hub on SQLite ([`SqliteStore`]) and tests and simulation in memory ([`MemoryStore`]).
//!
//! Whoever calls [`apply()`] first lets pass what is due ([`Command::Expire`] until nothing is): a deadline holds from its
//! very moment on, however late a timer wakes.
//!
//! Sections named “RD 5.5” are those of `docs/protocol/runtime-dialect.md`.

mod apply;
mod clock;
mod limits;
mod memory;
mod processes;
mod sqlite;
mod view;

#[cfg(test)]
mod properties;

use std::collections::BTreeMap;

pub use self::apply::{Command, Outcome, apply};
pub use self::clock::{Anchor, LedgerClock, Moment, resume};
pub use self::memory::MemoryStore;
pub use self::sqlite::{OpenError, OpenOptions, SqliteStore, Synchronous};
pub use self::view::{Store, StoreError, Untidy, View};

use crate::clock::BootTime;
use crate::protocol::Refusal;
use crate::protocol::model::{
    Attribute, AttributeKind, Colony, Process, ProcessSpec, ProcessState, Runtime, SUBMISSION_ID,
};
use crate::protocol::time::Time;

/// A process as the ledger keeps it: what the wire shows, and what only the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As the wire shows it, times rounded to microseconds, but without its attributes and the environment made of
    /// them: those are kept apart ([`View::attributes`]).
    pub process: Process,
    /// Its place in the strict order of submission; kept for life, also through requeues.
    pub seq: u64,
    /// Who submitted it.
    pub submitter: String,
    /// The client's own id of the submission ([`SUBMISSION_ID`]), if it gave one.
    pub submission_id: Option<String>,
    /// When it fails if it is waiting then. Boot time of the store's current boot.
    pub wait_due: Option<BootTime>,
    /// When the lease ends, while it is running. Boot time of the store's current boot.
    pub lease_due: Option<BootTime>,
}

impl Record {
    /// The deadline that counts in the present state.
    pub fn due(&self) -> Option<BootTime> {
        match self.process.state {
            ProcessState::Waiting => self.wait_due,
            ProcessState::Running => self.lease_due,
            _ => None,
        }
    }

    /// Whether it may be assigned: waiting, and not for its parents. (The original looks at no state: a defect, RD 5.3.)
    pub fn is_ready(&self) -> bool {
        self.process.state == ProcessState::Waiting && !self.process.wait_for_parents
    }

    /// Whether a runtime of the right type may have it.
    pub fn is_for(&self, runtime_id: &str) -> bool {
        let targets = &self.process.spec.conditions.runtime_ids;
        targets.is_empty() || targets.iter().any(|target| target == runtime_id)
    }

    /// What lists are sorted by (RD 3.4): when it came into its present state.
    pub fn moved(&self) -> Time {
        match self.process.state {
            ProcessState::Waiting => self.process.submission_time,
            ProcessState::Running => self.process.start_time,
            _ => self.process.end_time,
        }
    }

    /// The attempt that is going on.
    fn is_attempt(&self, attempt: &Attempt) -> bool {
        let (is, was) = (&self.process, &attempt.before.process);
        is.state == ProcessState::Running
            && is.retries == was.retries
            && is.start_time == attempt.start_time
            && self.seq == attempt.before.seq
    }
}

/// The process with its attributes, and the environment made of them (RD 5.2).
pub fn complete(mut process: Process, attributes: Vec<Attribute>) -> Process {
    process.spec.env = attributes
        .iter()
        .filter(|attribute| attribute.kind == AttributeKind::Env)
        .map(|attribute| (attribute.key.clone(), attribute.value.clone()))
        .collect();
    process.attributes = attributes;
    process
}

/// What an assignment was, and what was before it: enough to undo it when nobody was there to take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The process as it waited.
    pub before: Box<Record>,
    /// When it was assigned, as stored.
    pub start_time: Time,
}

/// What happens to a process's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// It becomes ready.
    Enter,
    /// It was ready.
    Leave,
    /// It was not ready and is not.
    Stay,
}

/// One thing that a store has to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new colony.
    AddColony(Colony),
    /// A colony goes, with its runtimes and processes.
    DeleteColony(String),
    /// A new runtime, or a changed one.
    PutRuntime(Runtime),
    /// A runtime goes.
    DeleteRuntime(String),
    /// A runtime asked for work. The one change that need not be durable at once: a store may keep it in memory until the
    /// next other change or a minute later, so that an idle poll costs no sync.
    Heard {
        /// Who.
        runtime_id: String,
        /// When.
        time: Time,
    },
    /// A new process; it is ready, and takes its place in the queue.
    AddProcess(Box<Record>),
    /// A process in a new state. Its spec, submitter and places never change.
    PutProcess {
        /// The process.
        record: Box<Record>,
        /// What happens to its place.
        queue: Queue,
    },
    /// A process goes, with its attributes.
    DeleteProcess {
        /// The process as it was.
        record: Box<Record>,
        /// What happens to its place.
        queue: Queue,
    },
    /// All processes of a colony go.
    DeleteProcesses(String),
    /// A new attribute of an existing process.
    AddAttribute(Attribute),
}

/// Something that happened to a process, to be told once it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub cause: Cause,
    /// The process after it.
    pub process: Process,
}

/// What happened to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was submitted.
    Submitted,
    /// It was assigned. (The original tells nobody, RD 5.4.)
    Assigned,
    /// It is back in the queue.
    Requeued,
    /// It ended, closed or failed by a time limit.
    Ended,
}

/// What a command does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// To be written, in this order, in one commit.
    pub changes: Vec<Change>,
    /// To be told after that commit.
    pub events: Vec<Event>,
    /// Processes that became ready, in order of submission.
    pub ready: Vec<String>,
}

/// Why a command has no effect.
#[derive(Debug)]
pub enum Fault {
    /// The caller asked for what is not to be had.
    Refused(Refusal),
    /// The store failed; nothing of this commit may become visible.
    Store(StoreError),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault::Refused(refusal)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

/// A source of random bytes for fresh ids.
pub type Random<'a> = dyn FnMut() -> Result<[u8; 16], Refusal> + 'a;

/// What a client wrote as the id of its submission.
fn submission_id(spec: &ProcessSpec) -> Option<String> {
    spec.env.get(SUBMISSION_ID).filter(|id| !id.is_empty()).cloned()
}

/// The attributes that a spec's environment becomes (RD 5.2).
fn environment(process_id: &str, spec: &ProcessSpec, id: impl Fn(&Attribute) -> String) -> Vec<Attribute> {
    let env: &BTreeMap<String, String> = &spec.env;
    env.iter()
        .map(|(key, value)| {
            let mut attribute = Attribute {
                id: String::new(),
                target_id: process_id.to_owned(),
                target_colony_id: spec.conditions.colony_id.clone(),
                target_graph_id: String::new(),
                kind: AttributeKind::Env,
                key: key.clone(),
                value: value.clone(),
            };
            attribute.id = id(&attribute);
            attribute
        })
        .collect()
}
