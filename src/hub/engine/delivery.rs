//! Answers on their way to whoever asked, and what happens to work that nobody was there to take.

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::hub::ledger::Attempt;
use crate::protocol::{Answer, Refusal, Request};

/// A request, who signed it, and where the answer goes.
#[derive(Debug)]
pub struct Job {
    /// The id of the key that signed it.
    pub caller: String,
    /// What is asked.
    pub request: Request,
    /// Closed by whoever no longer waits for the answer.
    pub reply: oneshot::Sender<Reply>,
}

/// What comes back, once it is on disk.
pub type Reply = Result<Delivery, Refusal>;

/// An answer. One that holds an assignment gives it back when it is dropped instead of taken.
#[derive(Debug)]
pub struct Delivery {
    answer: Answer,
    receipt: Option<Receipt>,
}

impl Delivery {
    pub(super) fn new(answer: Answer, receipt: Option<Receipt>) -> Self {
        Delivery { answer, receipt }
    }

    /// The process that it assigns.
    pub(super) fn assigned(&self) -> Option<&str> {
        let attempt = self.receipt.as_ref()?.attempt.as_ref()?;
        Some(&attempt.before.process.id)
    }

    /// Takes the answer: somebody is there, or was until now.
    pub fn take(self) -> Answer {
        if let Some(mut receipt) = self.receipt {
            receipt.attempt = None;
        }
        self.answer
    }
}

/// Gives an assignment back unless it is taken.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) attempt: Option<Attempt>,
    pub(super) returns: UnboundedSender<Attempt>,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            // Nobody receives: the hub is going down, and the lease will see to it.
            let _ = self.returns.send(attempt);
        }
    }
}
