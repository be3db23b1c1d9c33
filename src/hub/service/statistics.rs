//! Counts.

use super::{Desk, Handled, answer};
use crate::hub::ledger::View;
use crate::protocol::Answer;

pub(super) fn of_server<V: View>(desk: &mut Desk<'_, V>) -> Handled {
    desk.require_server_owner()?;
    answer(Answer::Statistics(desk.view.statistics(None)?))
}

pub(super) fn of_colony<V: View>(desk: &mut Desk<'_, V>, colony_id: &str) -> Handled {
    desk.require_runtime_or_owner(colony_id)?;
    answer(Answer::Statistics(desk.view.statistics(Some(colony_id))?))
}
