//! Drives an engine: takes what comes, sleeps until the next deadline.

use tokio::sync::{mpsc, oneshot};

use super::{Engine, Input, Job};
use crate::hub::ledger::{Attempt, Store};

/// What a running engine listens to.
#[derive(Debug)]
pub struct Loop {
    /// Requests. When all senders are gone, the engine finishes.
    pub jobs: mpsc::Receiver<Job>,
    /// Assignments that nobody was there to take.
    pub returns: mpsc::UnboundedReceiver<Attempt>,
    /// Says that the hub is going down: nobody waits from then on.
    pub drain: oneshot::Receiver<()>,
    /// How many requests share a commit at most.
    pub max_batch: usize,
}

/// Runs until all senders of jobs are gone; then finishes the store. Blocks the thread while it writes.
pub async fn run<S: Store>(mut engine: Engine<S>, mut inputs: Loop) -> Engine<S> {
    let clock = engine.clock().clone();
    let mut draining = false;
    loop {
        let wakeup = engine.next_wakeup();
        let timer = async {
            match wakeup {
                Some(deadline) => clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            biased;
            attempt = inputs.returns.recv() => attempt.map(Input::Return),
            // Sent, or the sender dropped: both mean that the hub is going down.
            _ = &mut inputs.drain, if !draining => {
                draining = true;
                Some(Input::Drain)
            }
            job = inputs.jobs.recv() => match job {
                Some(job) => Some(Input::Job(job)),
                None => break,
            },
            () = timer => None,
        };
        let mut batch: Vec<Input> = first.into_iter().collect();
        while batch.len() < inputs.max_batch {
            match inputs.jobs.try_recv() {
                Ok(job) => batch.push(Input::Job(job)),
                Err(_) => break,
            }
        }
        engine.turn(batch);
    }
    while let Ok(attempt) = inputs.returns.try_recv() {
        engine.turn(vec![Input::Return(attempt)]);
    }
    if let Err(error) = engine.finish() {
        tracing::error!(%error, "can't tidy up the database; nothing is lost");
    }
    engine
}
