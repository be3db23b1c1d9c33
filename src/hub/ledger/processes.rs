//! The life of a process: submit, assign, close, expire, requeue, delete (RD 5.2 to 5.6, 5.9).

use std::time::Duration;

use super::apply::{Outcome, done};
use super::{
    Attempt, Cause, Change, Effect, Event, Fault, Moment, Queue, Random, Record, View, complete, environment,
    limits, submission_id,
};
use crate::protocol::Refusal;
use crate::protocol::dialect::Dialect;
use crate::protocol::identity::fresh_id;
use crate::protocol::model::{Attribute, Process, ProcessSpec, ProcessState, UNLIMITED};
use crate::protocol::time::Time;

/// The `errormsg` of a process that waited too long (RD 5.5).
const WAITED_TOO_LONG: &str = "Maximum waiting time limit exceeded";
/// The `errormsg` of a process whose last lease ended (RD 5.5).
const RAN_TOO_LONG: &str = "Maximum execution time limit exceeded";
/// The entry that the original stores for an empty list of targets (RD 5.3).
const EVERYBODY: &str = "*";

/// A time limit of a spec.
pub(super) fn seconds(limit: i64) -> Duration {
    Duration::from_secs(u64::try_from(limit).unwrap_or_default())
}

type Applied = Result<(Outcome, Effect), Fault>;

/// What is stored of a spec, where that differs from what was sent.
fn sane(mut spec: ProcessSpec) -> ProcessSpec {
    // The original kills a process without a limit a second after its assignment (RD 5.5). No limit is meant, and −1 is
    // how every reader understands it.
    if spec.max_exec_time <= 0 {
        spec.max_exec_time = UNLIMITED;
    }
    // 0 and −1 both mean no limit and are stored as sent; what lies below the original fails at once.
    spec.max_wait_time = spec.max_wait_time.max(UNLIMITED);
    if spec.conditions.runtime_ids == [EVERYBODY] {
        spec.conditions.runtime_ids.clear();
    }
    spec
}

pub(super) fn submit(
    view: &impl View,
    submitter: String,
    spec: ProcessSpec,
    now: Moment,
    random: &mut Random<'_>,
) -> Applied {
    limits::spec(&spec)?;
    let submission_id = submission_id(&spec);
    if let Some(id) = &submission_id
        && let Some(there) = view.submission(&spec.conditions.colony_id, &submitter, id)?
    {
        let attributes = view.attributes(&there.process.id)?;
        let process = complete(there.process, attributes);
        return Ok((Outcome::Process(Box::new(process)), Effect::default()));
    }

    let mut spec = sane(spec);
    let id = fresh_id(random()?);
    let attributes = environment(&id, &spec, |attribute| Dialect::default().attribute_id(attribute));
    spec.env.clear();
    let wait = (spec.max_wait_time > 0).then(|| seconds(spec.max_wait_time));
    let record = Record {
        process: Process {
            id: id.clone(),
            submission_time: now.stamp.rounded_to_micros(),
            wait_deadline: wait.map_or(Time::NEVER, |wait| now.stamp.plus(wait).rounded_to_micros()),
            spec,
            ..Process::default()
        },
        seq: view.last_seq()? + 1,
        submitter,
        submission_id,
        wait_due: wait.map(|wait| now.boot + wait),
        lease_due: None,
    };

    let mut changes = vec![Change::AddProcess(Box::new(record.clone()))];
    changes.extend(attributes.iter().cloned().map(Change::AddAttribute));
    let process = complete(record.process, attributes);
    let effect = Effect {
        changes,
        events: vec![Event {
            cause: Cause::Submitted,
            process: process.clone(),
        }],
        ready: vec![id],
    };
    Ok((Outcome::Process(Box::new(process)), effect))
}

pub(super) fn assign(
    view: &impl View,
    colony_id: &str,
    runtime_id: &str,
    latest: bool,
    now: Moment,
) -> Applied {
    let nothing = || Refusal::NothingToAssign {
        caller: runtime_id.to_owned(),
    };
    let runtime = view.runtime(runtime_id)?.ok_or_else(nothing)?;
    let before = view
        .head(colony_id, &runtime.runtime_type, runtime_id, latest)?
        .ok_or_else(nothing)?;

    let mut record = before.clone();
    let process = &mut record.process;
    process.state = ProcessState::Running;
    process.is_assigned = true;
    process.assigned_runtime_id = runtime_id.to_owned();
    process.start_time = now.stamp;
    if process.spec.max_exec_time > 0 {
        let lease = seconds(process.spec.max_exec_time);
        process.exec_deadline = now.stamp.plus(lease);
        record.lease_due = Some(now.boot + lease);
    }

    // The reply has nanoseconds, what is read later has microseconds (RD 4.4).
    let attributes = view.attributes(&record.process.id)?;
    let told = complete(record.process.clone(), attributes);
    record.process.start_time = record.process.start_time.rounded_to_micros();
    record.process.exec_deadline = record.process.exec_deadline.rounded_to_micros();

    let attempt = Attempt {
        before: Box::new(before),
        start_time: record.process.start_time,
    };
    let effect = Effect {
        events: vec![Event {
            cause: Cause::Assigned,
            process: told.clone(),
        }],
        changes: vec![Change::PutProcess {
            record: Box::new(record),
            queue: Queue::Leave,
        }],
        ready: Vec::new(),
    };
    Ok((Outcome::Assigned(Box::new(told), attempt), effect))
}

pub(super) fn give_back(view: &impl View, attempt: Attempt) -> Applied {
    match view.record(&attempt.before.process.id)? {
        Some(record) if record.is_attempt(&attempt) => {
            let ready = vec![record.process.id];
            let effect = Effect {
                changes: vec![Change::PutProcess {
                    record: attempt.before,
                    queue: Queue::Enter,
                }],
                events: Vec::new(),
                ready,
            };
            Ok((Outcome::Done, effect))
        }
        _ => Ok((Outcome::Nothing, Effect::default())),
    }
}

/// Ends a process where it stands.
fn end(
    view: &impl View,
    mut record: Record,
    state: ProcessState,
    message: Option<String>,
    now: Moment,
) -> Result<Effect, Fault> {
    let queue = leave(&record);
    record.process.state = state;
    record.process.end_time = now.stamp.rounded_to_micros();
    if let Some(message) = message {
        record.process.error_message = message;
    }
    record.lease_due = None;
    Ok(Effect {
        events: vec![event(view, Cause::Ended, &record)?],
        changes: vec![Change::PutProcess {
            record: Box::new(record),
            queue,
        }],
        ready: Vec::new(),
    })
}

fn leave(record: &Record) -> Queue {
    match record.is_ready() {
        true => Queue::Leave,
        false => Queue::Stay,
    }
}

fn event(view: &impl View, cause: Cause, record: &Record) -> Result<Event, Fault> {
    let attributes = view.attributes(&record.process.id)?;
    Ok(Event {
        cause,
        process: complete(record.process.clone(), attributes),
    })
}

/// Puts a process that no longer runs back into its place, or fails it if it has waited too long by now (RD 5.5).
fn requeue(view: &impl View, mut record: Record, now: Moment) -> Result<Effect, Fault> {
    record.process.state = ProcessState::Waiting;
    record.process.is_assigned = false;
    record.process.assigned_runtime_id.clear();
    record.lease_due = None;
    if record.wait_due.is_some_and(|due| due <= now.boot) {
        record.process.state = ProcessState::Failed;
        record.process.error_message = WAITED_TOO_LONG.to_owned();
        record.process.end_time = now.stamp.rounded_to_micros();
        return Ok(Effect {
            events: vec![event(view, Cause::Ended, &record)?],
            changes: vec![Change::PutProcess {
                record: Box::new(record),
                queue: Queue::Stay,
            }],
            ready: Vec::new(),
        });
    }
    Ok(Effect {
        events: vec![event(view, Cause::Requeued, &record)?],
        ready: vec![record.process.id.clone()],
        changes: vec![Change::PutProcess {
            record: Box::new(record),
            queue: Queue::Enter,
        }],
    })
}

pub(super) fn expire(view: &impl View, now: Moment) -> Applied {
    let Some((due, id)) = view.first_due()? else {
        return Ok((Outcome::Nothing, Effect::default()));
    };
    if due > now.boot {
        return Ok((Outcome::Nothing, Effect::default()));
    }
    let mut record = view.record(&id)?.ok_or(Refusal::Unknown)?;
    let process = &mut record.process;
    let limit = process.spec.max_retries;
    let effect = if process.state == ProcessState::Waiting {
        let message = Some(WAITED_TOO_LONG.to_owned());
        end(view, record, ProcessState::Failed, message, now)?
    } else if limit >= 0 && process.retries >= limit {
        let message = Some(RAN_TOO_LONG.to_owned());
        end(view, record, ProcessState::Failed, message, now)?
    } else {
        process.retries += 1;
        process.end_time = now.stamp.rounded_to_micros();
        requeue(view, record, now)?
    };
    Ok((Outcome::Done, effect))
}

/// RD 5.6. That the caller executes it was checked before.
pub(super) fn close(view: &impl View, id: &str, failure: Option<String>, now: Moment) -> Applied {
    let record = view.record(id)?.ok_or(Refusal::Unknown)?;
    let from = record.process.state;
    let to = match failure {
        Some(_) => ProcessState::Failed,
        None => ProcessState::Successful,
    };
    match (from, to) {
        (ProcessState::Running, _) | (ProcessState::Successful, ProcessState::Successful) => {}
        _ => return Err(Refusal::WrongState { from, to }.into()),
    }
    if let Some(message) = &failure {
        limits::text(message)?;
    }
    Ok((Outcome::Done, end(view, record, to, failure, now)?))
}

pub(super) fn add_attribute(view: &impl View, sent: Attribute) -> Applied {
    limits::attribute(&sent)?;
    let record = view.record(&sent.target_id)?.ok_or(Refusal::Unknown)?;
    let mut attribute = Attribute {
        target_graph_id: record.process.graph_id,
        ..sent
    };
    attribute.id = Dialect::default().attribute_id(&attribute);
    if view.attribute(&attribute.id)?.is_some() {
        return Err(Refusal::Duplicate { table: "attributes" }.into());
    }
    let (_, effect) = done([Change::AddAttribute(attribute.clone())])?;
    Ok((Outcome::Attribute(attribute), effect))
}

pub(super) fn delete(view: &impl View, id: &str) -> Applied {
    let record = view.record(id)?.ok_or(Refusal::Unknown)?;
    let queue = leave(&record);
    done([Change::DeleteProcess {
        record: Box::new(record),
        queue,
    }])
}

pub(super) fn delete_runtime(view: &impl View, id: String, now: Moment) -> Applied {
    let mut effect = Effect::default();
    for mut record in view.running_on(&id)? {
        record.process.start_time = Time::NEVER;
        record.process.end_time = Time::NEVER;
        let of_one = requeue(view, record, now)?;
        effect.changes.extend(of_one.changes);
        effect.events.extend(of_one.events);
        effect.ready.extend(of_one.ready);
    }
    effect.changes.push(Change::DeleteRuntime(id));
    Ok((Outcome::Done, effect))
}
