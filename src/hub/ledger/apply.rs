//! The one function that changes a ledger, and what it can be told.

use super::{Attempt, Change, Effect, Fault, Moment, Random, View, limits, processes};
use crate::protocol::Refusal;
use crate::protocol::identity::ID_LENGTH;
use crate::protocol::model::{Attribute, Colony, Process, ProcessSpec, Runtime, RuntimeState};
use crate::protocol::time::Time;

/// What a ledger can be told to do. Who may is decided before, in the same serial order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Adds a colony.
    AddColony(Colony),
    /// Deletes a colony with all that belongs to it. An unknown one is no error (RD 5.9).
    DeleteColony(String),
    /// Adds a runtime, pending (RD 3.4).
    AddRuntime(Runtime),
    /// Approves or rejects a runtime.
    SetRuntimeState {
        /// Which.
        runtime_id: String,
        /// What it becomes.
        state: RuntimeState,
    },
    /// Deletes a runtime; what runs on it goes back to the queue (RD 5.9).
    DeleteRuntime(String),
    /// A runtime asks for work (RD 5.3, 2).
    Heard(String),
    /// Puts a process into the queue (RD 5.2), unless the same submission is there already.
    Submit {
        /// Who submits.
        submitter: String,
        /// What.
        spec: Box<ProcessSpec>,
    },
    /// Gives the first ready process to a runtime (RD 5.3).
    Assign {
        /// Whose queue.
        colony_id: String,
        /// To whom.
        runtime_id: String,
        /// The last instead of the first.
        latest: bool,
    },
    /// Undoes an assignment that nobody was there to take. Without effect if the attempt is no longer going on.
    GiveBack(Attempt),
    /// Ends a process (RD 5.6).
    Close {
        /// Which.
        process_id: String,
        /// As failed, and why; `None` as successful.
        failure: Option<String>,
    },
    /// Attaches a key and a value (RD 5.6).
    AddAttribute(Attribute),
    /// Deletes a process in any state.
    DeleteProcess(String),
    /// Deletes all processes of a colony.
    DeleteProcesses(String),
    /// Lets the nearest deadline take effect, if it has come (RD 5.5).
    Expire,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; nothing to tell.
    Done,
    /// Nothing was to be done.
    Nothing,
    /// The colony as stored.
    Colony(Colony),
    /// The runtime as stored.
    Runtime(Runtime),
    /// The process as stored, with its attributes.
    Process(Box<Process>),
    /// The process as it was assigned, with nanoseconds (RD 4.4), and what would undo that.
    Assigned(Box<Process>, Attempt),
    /// The attribute as stored.
    Attribute(Attribute),
}

/// What a command does to what is seen.
///
/// # Errors
/// [`Fault`]: refused, or the view failed. Either way there is no effect.
pub fn apply(
    view: &impl View,
    command: Command,
    now: Moment,
    random: &mut Random<'_>,
) -> Result<(Outcome, Effect), Fault> {
    match command {
        Command::AddColony(colony) => add_colony(view, colony),
        Command::DeleteColony(id) => done([Change::DeleteColony(id)]),
        Command::AddRuntime(runtime) => add_runtime(view, runtime, now.stamp),
        Command::SetRuntimeState { runtime_id, state } => {
            let mut runtime = view.runtime(&runtime_id)?.ok_or(Refusal::Unknown)?;
            runtime.state = state;
            done([Change::PutRuntime(runtime)])
        }
        Command::DeleteRuntime(id) => processes::delete_runtime(view, id, now),
        Command::Heard(runtime_id) => done([Change::Heard {
            runtime_id,
            time: now.stamp.rounded_to_micros(),
        }]),
        Command::Submit { submitter, spec } => processes::submit(view, submitter, *spec, now, random),
        Command::Assign {
            colony_id,
            runtime_id,
            latest,
        } => processes::assign(view, &colony_id, &runtime_id, latest, now),
        Command::GiveBack(attempt) => processes::give_back(view, attempt),
        Command::Close { process_id, failure } => processes::close(view, &process_id, failure, now),
        Command::AddAttribute(attribute) => processes::add_attribute(view, attribute),
        Command::DeleteProcess(id) => processes::delete(view, &id),
        Command::DeleteProcesses(colony_id) => done([Change::DeleteProcesses(colony_id)]),
        Command::Expire => processes::expire(view, now),
    }
}

pub(super) fn done(changes: impl Into<Vec<Change>>) -> Result<(Outcome, Effect), Fault> {
    let effect = Effect {
        changes: changes.into(),
        ..Effect::default()
    };
    Ok((Outcome::Done, effect))
}

fn add_colony(view: &impl View, colony: Colony) -> Result<(Outcome, Effect), Fault> {
    if colony.id.len() != ID_LENGTH {
        return Err(Refusal::ColonyIdLength.into());
    }
    limits::colony(&colony)?;
    if view.colony(&colony.id)?.is_some() {
        return Err(Refusal::Duplicate { table: "colonies" }.into());
    }
    let (_, effect) = done([Change::AddColony(colony.clone())])?;
    Ok((Outcome::Colony(colony), effect))
}

fn add_runtime(view: &impl View, sent: Runtime, now: Time) -> Result<(Outcome, Effect), Fault> {
    limits::runtime(&sent)?;
    if view.runtime(&sent.id)?.is_some() {
        return Err(Refusal::Duplicate { table: "runtimes" }.into());
    }
    // RD 3.4: state and commission time are ours, the last sign of life is stored as sent.
    let runtime = Runtime {
        state: RuntimeState::Pending,
        commission_time: now.rounded_to_micros(),
        last_heard_from: sent.last_heard_from.rounded_to_micros(),
        ..sent
    };
    let (_, effect) = done([Change::PutRuntime(runtime.clone())])?;
    Ok((Outcome::Runtime(runtime), effect))
}
