//! What can't be stored (RD 3.2): numbers over 32 bits, NUL characters.

use crate::protocol::Refusal;
use crate::protocol::model::{Attribute, AttributeKind, Colony, ProcessSpec, Runtime};

pub(super) fn number(value: i64) -> Result<(), Refusal> {
    match i32::try_from(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::OutOfRange { value }),
    }
}

pub(super) fn text(value: &str) -> Result<(), Refusal> {
    match value.contains('\0') {
        true => Err(Refusal::NulCharacter),
        false => Ok(()),
    }
}

fn texts<'a>(values: impl IntoIterator<Item = &'a String>) -> Result<(), Refusal> {
    values.into_iter().try_for_each(|value| text(value))
}

pub(super) fn colony(colony: &Colony) -> Result<(), Refusal> {
    texts([&colony.id, &colony.name])
}

pub(super) fn runtime(runtime: &Runtime) -> Result<(), Refusal> {
    let Runtime {
        id,
        runtime_type,
        name,
        colony_id,
        cpu,
        gpu,
        ..
    } = runtime;
    [runtime.cores, runtime.mem, runtime.gpus]
        .into_iter()
        .try_for_each(number)?;
    texts([id, runtime_type, name, colony_id, cpu, gpu])
}

pub(super) fn spec(spec: &ProcessSpec) -> Result<(), Refusal> {
    let numbers = [
        spec.priority,
        spec.max_wait_time,
        spec.max_exec_time,
        spec.max_retries,
    ];
    numbers.into_iter().try_for_each(number)?;
    let conditions = &spec.conditions;
    texts([
        &spec.name,
        &spec.func,
        &conditions.colony_id,
        &conditions.runtime_type,
    ])?;
    texts(spec.args.iter().flatten())?;
    texts(&conditions.runtime_ids)?;
    texts(&conditions.dependencies)?;
    texts(spec.env.keys())?;
    texts(spec.env.values())
}

pub(super) fn attribute(attribute: &Attribute) -> Result<(), Refusal> {
    if let AttributeKind::Other(kind) = attribute.kind {
        number(kind)?;
    }
    let Attribute {
        target_id,
        target_colony_id,
        key,
        value,
        ..
    } = attribute;
    texts([target_id, target_colony_id, key, value])
}
