//! Processes.

use std::time::Duration;

use super::{Desk, Handled, Verdict, Wait, answer};
use crate::hub::ledger::{Command, Fault, Record, View, complete};
use crate::protocol::model::{Process, ProcessSpec, ProcessState};
use crate::protocol::request::MAX_COUNT;
use crate::protocol::time::Time;
use crate::protocol::{Answer, Refusal};

/// The longest history that is told. The original has no limit, and answers a long one with whatever memory it has.
const LONGEST_HISTORY: usize = 10_000;

fn named<V: View>(desk: &Desk<'_, V>, process_id: &str) -> Result<Record, Fault> {
    Ok(desk.view.record(process_id)?.ok_or(Refusal::Unknown)?)
}

fn colony_of(record: &Record) -> &str {
    &record.process.spec.conditions.colony_id
}

fn whole<V: View>(desk: &Desk<'_, V>, record: Record) -> Result<Process, Fault> {
    let attributes = desk.view.attributes(&record.process.id)?;
    Ok(complete(record.process, attributes))
}

fn list<V: View>(desk: &Desk<'_, V>, records: Vec<Record>) -> Handled {
    let processes: Result<Vec<_>, _> = records.into_iter().map(|record| whole(desk, record)).collect();
    answer(Answer::Processes(processes?))
}

pub(super) fn submit<V: View>(desk: &mut Desk<'_, V>, spec: Box<ProcessSpec>) -> Handled {
    desk.require_runtime(&spec.conditions.colony_id)?;
    desk.tell(Command::Submit {
        submitter: desk.caller.to_owned(),
        spec,
    })
}

pub(super) fn assign<V: View>(
    desk: &mut Desk<'_, V>,
    colony_id: String,
    latest: bool,
    timeout: i64,
) -> Handled {
    desk.require_runtime(&colony_id)?;
    if timeout == 0 {
        return Err(Refusal::ZeroTimeout.into());
    }
    let (_, mut heard) = desk.tell(Command::Heard(desk.caller.to_owned()))?;
    let assigned = desk.tell(Command::Assign {
        colony_id: colony_id.clone(),
        runtime_id: desk.caller.to_owned(),
        latest,
    });
    match assigned {
        Ok((verdict, mut effect)) => {
            heard.changes.append(&mut effect.changes);
            effect.changes = heard.changes;
            Ok((verdict, effect))
        }
        Err(Fault::Refused(Refusal::NothingToAssign { .. })) => {
            let runtime = desk.view.runtime(desk.caller)?.unwrap_or_default();
            let wait = Wait {
                colony_id,
                runtime_type: runtime.runtime_type,
                // Negative: not at all.
                seconds: u64::try_from(timeout).unwrap_or_default(),
            };
            Ok((Verdict::Wait(wait), heard))
        }
        Err(fault) => Err(fault),
    }
}

pub(super) fn history<V: View>(
    desk: &mut Desk<'_, V>,
    colony_id: &str,
    runtime_id: &str,
    seconds: i64,
    state: ProcessState,
) -> Handled {
    desk.require_runtime_or_owner(colony_id)?;
    let Ok(seconds) = u64::try_from(seconds) else {
        return answer(Answer::Processes(Vec::new()));
    };
    let span = Duration::from_secs(seconds).as_nanos();
    let since = desk
        .now
        .stamp
        .unix_nanos()
        .saturating_sub(i128::try_from(span).unwrap_or(i128::MAX));
    let runtime_id = (!runtime_id.is_empty()).then_some(runtime_id);
    let since = Time::from_unix_nanos(since);
    let records = desk
        .view
        .history(colony_id, runtime_id, state, since, LONGEST_HISTORY)?;
    list(desk, records)
}

pub(super) fn newest<V: View>(
    desk: &mut Desk<'_, V>,
    colony_id: &str,
    count: i64,
    state: ProcessState,
) -> Handled {
    desk.require_runtime_or_owner(colony_id)?;
    if count > MAX_COUNT {
        return Err(Refusal::CountTooLarge.into());
    }
    if let ProcessState::Other(_) = state {
        return Err(Refusal::UnknownState.into());
    }
    let count = usize::try_from(count).map_err(|_| Refusal::NegativeCount)?;
    let records = desk.view.newest(colony_id, state, count)?;
    list(desk, records)
}

pub(super) fn get<V: View>(desk: &mut Desk<'_, V>, process_id: &str) -> Handled {
    let record = named(desk, process_id)?;
    desk.require_runtime(colony_of(&record))?;
    answer(Answer::Process(Box::new(whole(desk, record)?)))
}

pub(super) fn delete<V: View>(desk: &mut Desk<'_, V>, process_id: String) -> Handled {
    let record = named(desk, &process_id)?;
    desk.require_runtime(colony_of(&record))?;
    desk.tell(Command::DeleteProcess(process_id))
}

pub(super) fn delete_all<V: View>(desk: &mut Desk<'_, V>, colony_id: String) -> Handled {
    desk.require_colony_owner(&colony_id)?;
    desk.tell(Command::DeleteProcesses(colony_id))
}

pub(super) fn close<V: View>(desk: &mut Desk<'_, V>, process_id: String, failure: Option<String>) -> Handled {
    let record = named(desk, &process_id)?;
    desk.require_runtime(colony_of(&record))?;
    require_assigned(desk, &record)?;
    desk.tell(Command::Close { process_id, failure })
}

/// A: the runtime that executes or executed the process.
pub(super) fn require_assigned<V: View>(desk: &Desk<'_, V>, record: &Record) -> Result<(), Fault> {
    let assigned = &record.process.assigned_runtime_id;
    match desk.caller == assigned {
        true => Ok(()),
        false => Err(Refusal::NotAssigned {
            assigned: assigned.clone(),
        }
        .into()),
    }
}
