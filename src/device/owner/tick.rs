//! Signs of life of an owner task, beside whatever it is doing. They have a way of their own: what waits for the
//! device must neither delay them nor be delayed.

use std::convert::Infallible;

use tokio::sync::{mpsc, oneshot};

/// More than one question at a time is somebody's impatience.
const QUESTIONS: usize = 4;

/// Where to ask.
pub(super) type Asking = mpsc::Sender<oneshot::Sender<()>>;

/// The owner task's end.
pub(super) struct Ticks(mpsc::Receiver<oneshot::Sender<()>>);

pub(super) fn channel() -> (Asking, Ticks) {
    let (asking, questions) = mpsc::channel(QUESTIONS);
    (asking, Ticks(questions))
}

impl Ticks {
    /// Answers whoever asks, for as long as it is polled. A question that was taken is answered: nothing is lost when
    /// this is dropped.
    pub(super) async fn answer(&mut self) -> Infallible {
        while let Some(question) = self.0.recv().await {
            // Who asked may have given up.
            let _ = question.send(());
        }
        // No handle is left to ask.
        std::future::pending().await
    }
}
