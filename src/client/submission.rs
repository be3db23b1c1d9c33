//! Looking for a submission whose answer was lost, by the id that whoever submitted gave it.

use super::{Caller, ClientError};
use crate::protocol::model::{Process, ProcessState, SUBMISSION_ID};

/// Whether a submission is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is.
    Found(Box<Process>),
    /// It is not, now. It may still be on its way.
    Absent {
        /// Whether the server takes each submission id once, so that it can be sent again.
        dedupes: bool,
    },
}

impl Caller {
    /// Looks for a submission among what was submitted within the last `seconds`, in the order of a process's life, so that
    /// one that moves on meanwhile is met later.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn find_submission(&self, colony: &str, id: &str, seconds: i64) -> Result<Look, ClientError> {
        let mut dedupes = true;
        for state in [
            ProcessState::Waiting,
            ProcessState::Running,
            ProcessState::Successful,
            ProcessState::Failed,
        ] {
            let list = self.history(colony, "", seconds, state).await?;
            dedupes &= list.stamps.is_outpost_hub();
            let own = list.value.into_iter().find(|process| {
                let found = process.spec.env.get(SUBMISSION_ID);
                found.is_some_and(|found| found == id)
            });
            if let Some(process) = own {
                return Ok(Look::Found(Box::new(process)));
            }
        }
        Ok(Look::Absent { dedupes })
    }
}

/// A submission id that nobody else has.
///
/// # Errors
/// The system gives no random numbers.
pub fn random_submission_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}
