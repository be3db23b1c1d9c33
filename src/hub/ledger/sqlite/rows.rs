//! Rows to values and back.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Error, Row};

use crate::clock::BootTime;
use crate::hub::ledger::Record;
use crate::protocol::model::{
    Attribute, AttributeKind, Colony, Conditions, Process, ProcessSpec, ProcessState, Runtime, RuntimeState,
};
use crate::protocol::time::Time;

/// A time as the database keeps it: microseconds since 1970. The year 1 fits as well as the year 9999.
pub(super) struct Micros(pub(super) Time);

impl Micros {
    /// Rounded up: for the clock, which must not go backwards.
    pub(super) fn ceil(time: Time) -> i64 {
        let nanos = time.unix_nanos();
        i64::try_from(-(-nanos).div_euclid(1000)).unwrap_or(i64::MAX)
    }
}

impl ToSql for Micros {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let micros = self.0.rounded_to_micros().unix_nanos().div_euclid(1000);
        let micros = i64::try_from(micros).map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::Owned(Value::Integer(micros)))
    }
}

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = i128::from(value.as_i64()?);
        Ok(Micros(Time::from_unix_nanos(micros * 1000)))
    }
}

/// A moment in boot time, in nanoseconds.
pub(super) struct Boot(pub(super) BootTime);

impl ToSql for Boot {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let nanos = i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX);
        Ok(ToSqlOutput::Owned(Value::Integer(nanos)))
    }
}

impl FromSql for Boot {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let nanos = u64::try_from(value.as_i64()?).map_err(|error| FromSqlError::Other(error.into()))?;
        Ok(Boot(BootTime::from_nanos(nanos)))
    }
}

/// A list of texts, as JSON.
pub(super) struct Texts<T>(pub(super) T);

impl ToSql for Texts<&[String]> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text =
            serde_json::to_string(self.0).map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::Owned(Value::Text(text)))
    }
}

impl FromSql for Texts<Vec<String>> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let list = serde_json::from_str(value.as_str()?);
        list.map(Texts).map_err(|error| FromSqlError::Other(error.into()))
    }
}

pub(super) fn state_number(state: ProcessState) -> i64 {
    match state {
        ProcessState::Waiting => 0,
        ProcessState::Running => 1,
        ProcessState::Successful => 2,
        ProcessState::Failed => 3,
        ProcessState::Other(number) => number,
    }
}

fn state_of(number: i64) -> ProcessState {
    match number {
        0 => ProcessState::Waiting,
        1 => ProcessState::Running,
        2 => ProcessState::Successful,
        3 => ProcessState::Failed,
        other => ProcessState::Other(other),
    }
}

pub(super) fn runtime_state_number(state: RuntimeState) -> i64 {
    match state {
        RuntimeState::Pending => 0,
        RuntimeState::Approved => 1,
        RuntimeState::Rejected => 2,
        RuntimeState::Other(number) => number,
    }
}

fn runtime_state_of(number: i64) -> RuntimeState {
    match number {
        0 => RuntimeState::Pending,
        1 => RuntimeState::Approved,
        2 => RuntimeState::Rejected,
        other => RuntimeState::Other(other),
    }
}

/// Our own numbers, whatever a dialect's are.
pub(super) fn kind_number(kind: AttributeKind) -> (i64, bool) {
    match kind {
        AttributeKind::In => (0, true),
        AttributeKind::Out => (1, true),
        AttributeKind::Err => (2, true),
        AttributeKind::Env => (3, true),
        AttributeKind::Other(number) => (number, false),
    }
}

fn kind_of(number: i64, known: bool) -> AttributeKind {
    match (known, number) {
        (true, 0) => AttributeKind::In,
        (true, 1) => AttributeKind::Out,
        (true, 2) => AttributeKind::Err,
        (true, 3) => AttributeKind::Env,
        _ => AttributeKind::Other(number),
    }
}

pub(super) fn colony(row: &Row<'_>) -> rusqlite::Result<Colony> {
    Ok(Colony {
        id: row.get("id")?,
        name: row.get("name")?,
    })
}

pub(super) fn runtime(row: &Row<'_>) -> rusqlite::Result<Runtime> {
    Ok(Runtime {
        id: row.get("id")?,
        runtime_type: row.get("runtime_type")?,
        name: row.get("name")?,
        colony_id: row.get("colony_id")?,
        cpu: row.get("cpu")?,
        cores: row.get("cores")?,
        mem: row.get("mem")?,
        gpu: row.get("gpu")?,
        gpus: row.get("gpus")?,
        state: runtime_state_of(row.get("state")?),
        commission_time: row.get::<_, Micros>("commissioned")?.0,
        last_heard_from: row.get::<_, Micros>("heard")?.0,
    })
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let args: Option<Texts<Vec<String>>> = row.get("args")?;
    let spec = ProcessSpec {
        name: row.get("name")?,
        func: row.get("func")?,
        args: args.map(|args| args.0),
        priority: row.get("priority")?,
        max_wait_time: row.get("max_wait")?,
        max_exec_time: row.get("max_exec")?,
        max_retries: row.get("max_retries")?,
        conditions: Conditions {
            colony_id: row.get("colony_id")?,
            runtime_ids: row.get::<_, Texts<Vec<String>>>("targets")?.0,
            runtime_type: row.get("runtime_type")?,
            dependencies: row.get::<_, Texts<Vec<String>>>("dependencies")?.0,
        },
        ..ProcessSpec::default()
    };
    Ok(Record {
        process: Process {
            id: row.get("id")?,
            assigned_runtime_id: row.get("runtime_id")?,
            is_assigned: row.get("assigned")?,
            state: state_of(row.get("state")?),
            submission_time: row.get::<_, Micros>("submitted")?.0,
            start_time: row.get::<_, Micros>("started")?.0,
            end_time: row.get::<_, Micros>("ended")?.0,
            wait_deadline: row.get::<_, Micros>("wait_deadline")?.0,
            exec_deadline: row.get::<_, Micros>("exec_deadline")?.0,
            error_message: row.get("error")?,
            retries: row.get("retries")?,
            spec,
            ..Process::default()
        },
        seq: u64::try_from(row.get::<_, i64>("seq")?).unwrap_or_default(),
        submitter: row.get("submitter")?,
        submission_id: row.get("submission_id")?,
        wait_due: row.get::<_, Option<Boot>>("wait_due")?.map(|due| due.0),
        lease_due: row.get::<_, Option<Boot>>("lease_due")?.map(|due| due.0),
    })
}

pub(super) fn attribute(row: &Row<'_>) -> rusqlite::Result<Attribute> {
    Ok(Attribute {
        id: row.get("id")?,
        target_id: row.get("target_id")?,
        target_colony_id: row.get("target_colony_id")?,
        target_graph_id: String::new(),
        kind: kind_of(row.get("kind")?, row.get("known")?),
        key: row.get("key")?,
        value: row.get("value")?,
    })
}
