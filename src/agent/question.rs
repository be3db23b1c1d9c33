//! Whether the server says that an attempt is still ours. The fence asks before the verb begins and while it runs, and the
//! verb itself may ask before a step that must not be taken for nobody (docs/fence.md, 3): one question for all of them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;

use super::answers;
use super::fence::{Attempt, Seen};
use super::lane::Lane;
use crate::client::{Caller, Sealed};
use crate::clock::BootTime;
use crate::device::{CONFIRM_MAX_AGE, Confirmation, Confirmed};
use crate::protocol::model::Process;

/// The question about one attempt.
pub(super) struct Question {
    lane: Arc<Lane>,
    caller: Caller,
    attempt: Attempt,
    /// Signed once, by whoever comes first: it is the same question every time.
    sealed: OnceLock<Sealed<Process>>,
    /// Why the verb was told that its process is not ours any more.
    lost: Mutex<Option<String>>,
}

impl Question {
    pub fn new(lane: Arc<Lane>, caller: Caller, attempt: Attempt) -> Self {
        Question {
            lane,
            caller,
            attempt,
            sealed: OnceLock::new(),
            lost: Mutex::default(),
        }
    }

    /// Signs it, so that nothing but the exchange is left to wait for when it is asked.
    pub fn seal(&self) -> &Sealed<Process> {
        self.sealed
            .get_or_init(|| self.caller.seal_get_process(&self.attempt.process_id))
    }

    /// Asks the server once; when that was sent, and what it says.
    pub async fn ask(&self) -> (BootTime, Seen) {
        let sealed = self.seal();
        let sent_at = self.lane.clock.now();
        let answer = self.caller.ask_sealed(sealed).await;
        self.lane.shared.hear(&answer);
        let seen = answers::seen(
            answer.as_ref().map(|timed| &timed.value),
            &self.attempt,
            self.caller.id(),
        );
        if seen == Seen::Unclear {
            tracing::debug!(attempt = %self.attempt, "the server does not say whether it is still ours");
        }
        (sent_at, seen)
    }

    /// Why the verb was told that its process is not ours any more, if it was: then nobody waits for its result, whatever
    /// end it makes of itself.
    pub fn lost(&self) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Confirmation for Question {
    async fn confirm(&self) -> Confirmed {
        match self.ask().await {
            (sent_at, Seen::Ours) => Confirmed::Until(sent_at + CONFIRM_MAX_AGE),
            (_, Seen::NotOurs(reason)) => {
                *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
                Confirmed::NotOurs(reason)
            }
            (_, Seen::Unclear) => Confirmed::Unclear,
        }
    }
}
