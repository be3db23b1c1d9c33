//! Sends what waits in the outbox until it is taken (docs/fence.md, 5).

use std::sync::Arc;
use std::time::Duration;

use super::answers;
use super::lane::Lane;
use super::outbox::{News, Outcome, Step};
use crate::client::Caller;
use crate::clock::BootTime;
use crate::protocol::model::Attribute;

use super::fence::{Attempt, Close};

/// Sends for ever. Dropping it loses nothing: what was under way is asked about or sent again.
pub(super) async fn deliver(lane: Arc<Lane>, caller: Caller) {
    let mut changes = lane.changes();
    loop {
        changes.borrow_and_update();
        let now = lane.clock.now();
        let gone = lane.outbox(|outbox| outbox.expire(now));
        let expired = !gone.is_empty();
        for gone in gone {
            lane.tell(News::Gone(gone));
        }
        if expired {
            lane.nudge();
        }
        let (step, due) = lane.outbox(|outbox| (outbox.next(now), outbox.next_due()));
        match (step, due) {
            (Some(step), _) => {
                let (process_id, outcome) = send(&lane, &caller, &step).await;
                match &outcome {
                    Outcome::Later(reason) => {
                        tracing::debug!(process_id, reason, "its result can't be delivered yet");
                    }
                    Outcome::Skip(reason) => {
                        tracing::warn!(process_id, reason, "an attribute was not taken and is left out");
                    }
                    Outcome::Taken | Outcome::Moot(_) => {}
                }
                let now = lane.clock.now();
                let news = lane.outbox(|outbox| outbox.answered(&process_id, &step, outcome, now));
                if let Some(news) = news {
                    lane.tell(news);
                }
                lane.nudge();
            }
            (None, Some(due)) => {
                tokio::select! {
                    biased;
                    () = changes.changed() => {}
                    () = lane.clock.sleep_until(due) => {}
                }
            }
            (None, None) => {
                changes.changed().await;
            }
        }
    }
}

/// Sends one step and judges the answer.
async fn send(lane: &Lane, caller: &Caller, step: &Step) -> (String, Outcome) {
    match step {
        Step::Ask(attempt) => {
            let answer = caller.get_process(&attempt.process_id).await;
            lane.shared.hear(&answer);
            let judged = answers::of_process(answer.as_ref().map(|timed| &timed.value), attempt, caller.id());
            (attempt.process_id.clone(), judged)
        }
        Step::Attach(attribute) => {
            let answer = caller.add_attribute(attribute).await;
            lane.shared.hear(&answer);
            (attribute.target_id.clone(), answers::of_attribute(&answer))
        }
        Step::Close(attempt, close) => {
            let answer = send_close(caller, attempt, close).await;
            lane.shared.hear(&answer);
            (attempt.process_id.clone(), answers::of_close(&answer))
        }
    }
}

async fn send_close(
    caller: &Caller,
    attempt: &Attempt,
    close: &Close,
) -> Result<crate::client::Timed<()>, crate::client::ClientError> {
    match close {
        Close::Successful => caller.close_successful(&attempt.process_id).await,
        Close::Failed(message) => caller.close_failed(&attempt.process_id, message).await,
    }
}

/// Waits until everything was delivered, at most until `deadline`. How many results are left.
pub(super) async fn drained(lane: &Lane, deadline: BootTime) -> usize {
    let mut changes = lane.changes();
    lane.outbox(|outbox| outbox.hurry(lane.clock.now()));
    lane.nudge();
    loop {
        changes.borrow_and_update();
        let left = lane.outbox(|outbox| outbox.len());
        if left == 0 || lane.clock.now() >= deadline {
            return left;
        }
        tokio::select! {
            biased;
            () = changes.changed() => {}
            () = lane.clock.sleep_until(deadline) => {}
        }
    }
}

/// The longest text that is sent in an error message or an attribute; what is longer is cut.
const TEXT_MAX: usize = 256 * 1024;

/// A text as any store takes it: without NUL characters, and of bounded length.
pub(super) fn storable(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

/// How long what is left may take to be delivered when the agent stops.
pub const LAST_DELIVERY: Duration = Duration::from_secs(5);

/// What a verb had to tell, as attributes of its process.
pub(super) fn attributes(
    pairs: &[(String, String)],
    process: &crate::protocol::model::Process,
    colony_id: &str,
) -> Vec<Attribute> {
    pairs
        .iter()
        .map(|(key, value)| Attribute {
            id: String::new(),
            target_id: process.id.clone(),
            target_colony_id: colony_id.to_owned(),
            target_graph_id: process.graph_id.clone(),
            kind: crate::protocol::model::AttributeKind::Out,
            key: storable(key),
            value: storable(value),
        })
        .collect()
}
