//! Who may (RD 3.1, column “Caller”; the refusals are those of 3.2).

use super::Desk;
use crate::hub::ledger::{Fault, View};
use crate::protocol::Refusal;
use crate::protocol::model::RuntimeState;

impl<V: View> Desk<'_, V> {
    /// S: the server's owner.
    pub(super) fn require_server_owner(&self) -> Result<(), Fault> {
        match self.caller == self.server_id {
            true => Ok(()),
            false => Err(Refusal::NotServerOwner.into()),
        }
    }

    /// C: the colony's owner.
    pub(super) fn require_colony_owner(&self, colony_id: &str) -> Result<(), Fault> {
        if self.caller != colony_id {
            return Err(Refusal::NotColonyOwner.into());
        }
        self.require_colony(colony_id)
    }

    fn require_colony(&self, colony_id: &str) -> Result<(), Fault> {
        match self.view.colony(colony_id)? {
            Some(_) => Ok(()),
            None => Err(Refusal::UnknownColony {
                colony_id: colony_id.to_owned(),
            }
            .into()),
        }
    }

    /// r: a runtime of the colony, in any state.
    fn require_member(&self, colony_id: &str) -> Result<RuntimeState, Fault> {
        self.require_colony(colony_id)?;
        let (caller, colony_id) = (self.caller.to_owned(), colony_id.to_owned());
        match self.view.runtime(self.caller)? {
            None => Err(Refusal::NotMember { caller, colony_id }.into()),
            Some(runtime) if runtime.colony_id != colony_id => {
                Err(Refusal::OtherColony { caller, colony_id }.into())
            }
            Some(runtime) => Ok(runtime.state),
        }
    }

    /// R: an approved runtime of the colony.
    pub(super) fn require_runtime(&self, colony_id: &str) -> Result<(), Fault> {
        match self.require_member(colony_id)? {
            RuntimeState::Approved => Ok(()),
            _ => Err(Refusal::NotApproved {
                caller: self.caller.to_owned(),
            }
            .into()),
        }
    }

    /// R or C. Why the caller is no runtime is not told: the owner's check reports.
    pub(super) fn require_runtime_or_owner(&self, colony_id: &str) -> Result<(), Fault> {
        match self.require_runtime(colony_id) {
            Err(Fault::Refused(_)) => self.require_colony_owner(colony_id),
            other => other,
        }
    }

    /// r or C. As above.
    pub(super) fn require_member_or_owner(&self, colony_id: &str) -> Result<(), Fault> {
        match self.require_member(colony_id) {
            Err(Fault::Refused(_)) => self.require_colony_owner(colony_id),
            other => other.map(|_| ()),
        }
    }
}
