//! Attributes.

use super::{Desk, Handled, answer, processes};
use crate::hub::ledger::{Command, View};
use crate::protocol::model::Attribute;
use crate::protocol::{Answer, Refusal};

pub(super) fn add<V: View>(desk: &mut Desk<'_, V>, attribute: Attribute) -> Handled {
    let record = desk.view.record(&attribute.target_id)?.ok_or(Refusal::Unknown)?;
    desk.require_runtime(&record.process.spec.conditions.colony_id)?;
    processes::require_assigned(desk, &record)?;
    desk.tell(Command::AddAttribute(attribute))
}

pub(super) fn get<V: View>(desk: &mut Desk<'_, V>, attribute_id: &str) -> Handled {
    let attribute = desk
        .view
        .attribute(attribute_id)?
        .ok_or(Refusal::UnknownAttribute)?;
    let record = desk.view.record(&attribute.target_id)?;
    let record = record.ok_or(Refusal::UnknownAttributeProcess)?;
    desk.require_runtime(&record.process.spec.conditions.colony_id)?;
    answer(Answer::Attribute(attribute))
}
