//! Colonies.

use super::{Desk, Handled, answer};
use crate::hub::ledger::{Command, View};
use crate::protocol::model::Colony;
use crate::protocol::{Answer, Refusal};

pub(super) fn add<V: View>(desk: &mut Desk<'_, V>, colony: Option<Colony>) -> Handled {
    // Here the caller is checked before the missing object (RD 1.6, “Exceptions”).
    desk.require_server_owner()?;
    desk.tell(Command::AddColony(colony.ok_or(Refusal::Missing)?))
}

pub(super) fn delete<V: View>(desk: &mut Desk<'_, V>, colony_id: String) -> Handled {
    desk.require_server_owner()?;
    desk.tell(Command::DeleteColony(colony_id))
}

pub(super) fn all<V: View>(desk: &mut Desk<'_, V>) -> Handled {
    desk.require_server_owner()?;
    answer(Answer::Colonies(desk.view.colonies()?))
}

pub(super) fn get<V: View>(desk: &mut Desk<'_, V>, colony_id: &str) -> Handled {
    desk.require_runtime(colony_id)?;
    answer(Answer::Colony(
        desk.view.colony(colony_id)?.ok_or(Refusal::Unknown)?,
    ))
}
