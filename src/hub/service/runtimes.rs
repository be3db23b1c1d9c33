//! Runtimes.

use super::{Desk, Handled, answer};
use crate::hub::ledger::{Command, Fault, View};
use crate::protocol::model::{Runtime, RuntimeState};
use crate::protocol::{Answer, Refusal};

pub(super) fn add<V: View>(desk: &mut Desk<'_, V>, runtime: Runtime) -> Handled {
    desk.require_colony_owner(&runtime.colony_id)?;
    desk.tell(Command::AddRuntime(runtime))
}

pub(super) fn all<V: View>(desk: &mut Desk<'_, V>, colony_id: &str) -> Handled {
    desk.require_member_or_owner(colony_id)?;
    answer(Answer::Runtimes(desk.view.runtimes(colony_id)?))
}

fn named<V: View>(desk: &Desk<'_, V>, runtime_id: &str) -> Result<Runtime, Fault> {
    Ok(desk.view.runtime(runtime_id)?.ok_or(Refusal::Unknown)?)
}

pub(super) fn get<V: View>(desk: &mut Desk<'_, V>, runtime_id: &str) -> Handled {
    let runtime = named(desk, runtime_id)?;
    desk.require_runtime(&runtime.colony_id)?;
    answer(Answer::Runtime(runtime))
}

fn set_state<V: View>(desk: &mut Desk<'_, V>, runtime_id: String, state: RuntimeState) -> Handled {
    let runtime = named(desk, &runtime_id)?;
    desk.require_colony_owner(&runtime.colony_id)?;
    desk.tell(Command::SetRuntimeState { runtime_id, state })
}

pub(super) fn approve<V: View>(desk: &mut Desk<'_, V>, runtime_id: String) -> Handled {
    set_state(desk, runtime_id, RuntimeState::Approved)
}

pub(super) fn reject<V: View>(desk: &mut Desk<'_, V>, runtime_id: String) -> Handled {
    set_state(desk, runtime_id, RuntimeState::Rejected)
}

pub(super) fn delete<V: View>(desk: &mut Desk<'_, V>, runtime_id: String) -> Handled {
    let runtime = named(desk, &runtime_id)?;
    desk.require_colony_owner(&runtime.colony_id)?;
    desk.tell(Command::DeleteRuntime(runtime_id))
}
