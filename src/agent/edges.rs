//! What edges of inputs submit (docs/inputs.md): a button that turns on a lamp elsewhere.
//!
//! ```text
//! input --sink--> queue (bounded) --Submitter--> rate limit ─> address ─> submit ─> (answer lost: look, send again) ─> told
//! ```
//!
//! One task, one submission at a time, in the order of the edges: *on* and *off* that follow each other must not be
//! swapped. What can't be submitted within the rule's `maxwaittime`, counted from the edge, is dropped; nothing is kept on
//! disk. A submission is sent again under its one id, and only where that can't make two of it: after an answer that was lost it is
//! looked for, and a server that does not take each id once is not sent it again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::answers::is_about_membership;
use super::metrics::EdgeOutcome;
use super::shared::Shared;
use crate::client::{Caller, ClientError, Look, random_submission_id};
use crate::clock::BootTime;
use crate::device::input::{EdgeEvent, EdgeSink, Submit};
use crate::protocol::model::{Conditions, ProcessSpec, Runtime, RuntimeState, SUBMISSION_ID};
use crate::protocol::{Refusal, control};

/// So many edges may wait; more are dropped. With the longest wait that is more than anybody presses.
const QUEUE: usize = 32;
/// The pause before something is tried again. It is not for long, so it does not grow.
const PAUSE: Duration = Duration::from_millis(500);
/// How much further back than the edge it is looked for, in seconds of the server's clock.
const LOOK_BACK: i64 = 60;

/// Edges on their way.
pub struct EdgeQueue {
    events: mpsc::Receiver<EdgeEvent>,
    /// Edges for which there was no room, and that nobody has been told of.
    overflowed: Arc<AtomicU64>,
}

/// Where inputs put their edges, and where they come out.
pub fn channel() -> (EdgeSink, EdgeQueue) {
    let (sender, events) = mpsc::channel(QUEUE);
    let overflowed: Arc<AtomicU64> = Arc::default();
    let queue = EdgeQueue {
        events,
        overflowed: overflowed.clone(),
    };
    let sink: EdgeSink = Arc::new(move |event: EdgeEvent| {
        if let Err(mpsc::error::TrySendError::Full(event)) = sender.try_send(event) {
            tracing::warn!(input = &*event.input, edge = %event.edge, "dropped: too many edges wait to be submitted");
            overflowed.fetch_add(1, Ordering::Relaxed);
        }
    });
    (sink, queue)
}

/// Submits what edges ask for, signed as the runtime.
pub struct Submitter {
    caller: Caller,
    /// What we are registered as.
    own: Runtime,
    shared: Arc<Shared>,
    /// When a rule (input, place in its table) last took an edge.
    taken: BTreeMap<(Arc<str>, usize), BootTime>,
}

/// What became of one submission.
enum Fate {
    /// The server has it; its id there.
    Submitted(String),
    /// It is certainly not submitted.
    Dropped(String),
    /// Nobody answered whether it was taken.
    Unknown(String),
}

/// How far a submission has come, readable when the time is over in the middle of it.
#[derive(Default)]
struct Progress {
    /// It was sent, and whether it was taken is not known.
    unsure: bool,
    /// What went wrong last.
    trouble: Option<String>,
}

impl Progress {
    fn failed(&mut self, error: impl fmt::Display) {
        self.trouble = Some(error.to_string());
    }

    /// Given up.
    fn over(self, why: &str) -> Fate {
        let text = match self.trouble {
            Some(trouble) => format!("{why}: {trouble}"),
            None => why.to_owned(),
        };
        if self.unsure {
            Fate::Unknown(text)
        } else {
            Fate::Dropped(text)
        }
    }
}

/// Why a rule names nobody.
#[derive(Debug, thiserror::Error)]
enum NoAddress {
    #[error("no approved runtime is called {0:?}, nor has it as its id")]
    Nobody(String),
    #[error("several approved runtimes are called {0:?}: name one by its id")]
    Several(String),
    #[error(transparent)]
    Server(#[from] ClientError),
}

impl Submitter {
    /// Submits as `caller`; `own` is what it is registered as.
    pub fn new(caller: Caller, own: Runtime, shared: Arc<Shared>) -> Self {
        Submitter {
            caller,
            own,
            shared,
            taken: BTreeMap::new(),
        }
    }

    /// Takes edge after edge, until nobody can send one any more.
    pub async fn run(mut self, mut queue: EdgeQueue) {
        while let Some(event) = queue.events.recv().await {
            for _ in 0..queue.overflowed.swap(0, Ordering::Relaxed) {
                self.shared.metrics.edge(EdgeOutcome::Dropped);
            }
            let rules = event.submit.iter().enumerate();
            for (place, rule) in rules.filter(|(_, rule)| rule.edges.contain(event.edge)) {
                if !self.may_take(&event, place, rule) {
                    tracing::debug!(input = &*event.input, func = rule.func, "rate-limited");
                    self.shared.metrics.edge(EdgeOutcome::RateLimited);
                    continue;
                }
                let fate = self.submit(&event, rule).await;
                self.tell(&event, rule, fate);
            }
        }
    }

    /// Whether the rule's last edge lies long enough before this one.
    fn may_take(&mut self, event: &EdgeEvent, place: usize, rule: &Submit) -> bool {
        let key = (event.input.clone(), place);
        if self
            .taken
            .get(&key)
            .is_some_and(|last| event.at < *last + rule.min_interval)
        {
            return false;
        }
        self.taken.insert(key, event.at);
        true
    }

    fn tell(&self, event: &EdgeEvent, rule: &Submit, fate: Fate) {
        let EdgeEvent { input, edge, .. } = event;
        let func = &rule.func;
        let outcome = match fate {
            Fate::Submitted(process) => {
                tracing::info!(input = &**input, %edge, func, process, "submitted");
                EdgeOutcome::Submitted
            }
            Fate::Dropped(why) => {
                tracing::warn!(input = &**input, %edge, func, why, "not submitted");
                EdgeOutcome::Dropped
            }
            Fate::Unknown(why) => {
                tracing::warn!(input = &**input, %edge, func, why, "it is not known whether it was submitted");
                EdgeOutcome::Unknown
            }
        };
        self.shared.metrics.edge(outcome);
    }

    /// One submission, from the edge to its end.
    async fn submit(&self, event: &EdgeEvent, rule: &Submit) -> Fate {
        let deadline = event.at + rule.max_wait;
        let clock = &self.shared.clock;
        let late = "its maxwaittime was over";
        if clock.now() >= deadline {
            return Progress::default().over(late);
        }
        let id = match random_submission_id() {
            Ok(id) => id,
            Err(error) => {
                return Progress::default().over(&format!("the system gives no random numbers: {error}"));
            }
        };
        let mut progress = Progress::default();
        let done = tokio::select! {
            biased;
            done = self.try_until_done(event, rule, &id, &mut progress) => Some(done),
            () = clock.sleep_until(deadline) => None,
        };
        match done {
            Some(Ok(process)) => Fate::Submitted(process),
            Some(Err(refused)) => {
                progress.failed(refused);
                progress.over("refused")
            }
            None => progress.over(late),
        }
    }

    /// Tries for as long as it is let. The id of the process, or why trying is of no use.
    async fn try_until_done(
        &self,
        event: &EdgeEvent,
        rule: &Submit,
        id: &str,
        progress: &mut Progress,
    ) -> Result<String, NoAddress> {
        loop {
            match self.address(rule).await {
                Ok(conditions) => match self.send(event, rule, conditions, id, progress).await {
                    Ok(process) => return Ok(process),
                    Err(error) if error.may_have_been_executed() => {
                        progress.failed(error);
                        if let Some(process) = self.look(event, id, progress).await {
                            return Ok(process);
                        }
                    }
                    Err(error) if may_pass(&error) => progress.failed(error),
                    Err(error) => return Err(error.into()),
                },
                Err(NoAddress::Server(error)) if may_pass(&error) => progress.failed(error),
                Err(error) => return Err(error),
            }
            self.pause().await;
        }
    }

    async fn send(
        &self,
        event: &EdgeEvent,
        rule: &Submit,
        conditions: Conditions,
        id: &str,
        progress: &mut Progress,
    ) -> Result<String, ClientError> {
        let left = (event.at + rule.max_wait).saturating_since(self.shared.clock.now());
        let spec = spec(rule, conditions, id, left);
        // So it is while it is under way, should the time be over then.
        let was_unsure = std::mem::replace(&mut progress.unsure, true);
        let answer = self.caller.submit(&spec).await;
        self.shared.hear(&answer);
        if let Err(error) = &answer {
            progress.unsure = was_unsure || error.may_have_been_executed();
        }
        Ok(answer?.value.id)
    }

    /// Looks for a submission of which no answer came. The id of its process; `None`: it is not there, and the server takes
    /// it once if it is sent again.
    async fn look(&self, event: &EdgeEvent, id: &str, progress: &mut Progress) -> Option<String> {
        loop {
            let since = self.shared.clock.now().saturating_since(event.at).as_secs();
            let back = i64::try_from(since).unwrap_or(0) + LOOK_BACK;
            match self.caller.find_submission(&self.own.colony_id, id, back).await {
                Ok(Look::Found(process)) => return Some(process.id),
                Ok(Look::Absent { dedupes: true }) => return None,
                // It may be on its way, and must not be made two.
                Ok(Look::Absent { dedupes: false }) => {}
                Err(error) => progress.failed(error),
            }
            self.pause().await;
        }
    }

    /// Who shall execute it.
    async fn address(&self, rule: &Submit) -> Result<Conditions, NoAddress> {
        let own_type = || self.own.runtime_type.clone();
        let mut conditions = Conditions {
            colony_id: self.own.colony_id.clone(),
            runtime_type: rule.runtime_type.clone().unwrap_or_else(own_type),
            ..Conditions::default()
        };
        let for_control = control::is_for_control(&rule.func);
        if rule.runtime.is_none() && !for_control {
            return Ok(conditions);
        }
        let mut runtimes = self.caller.get_runtimes(&self.own.colony_id).await?.value;
        runtimes.retain(|runtime| runtime.state == RuntimeState::Approved);
        let Some(word) = &rule.runtime else {
            // As `outpost run` does: what stops at once must not stand in the queue.
            let lane = control::control_of(&conditions.runtime_type);
            if runtimes.iter().any(|runtime| runtime.runtime_type == lane) {
                conditions.runtime_type = lane;
            }
            return Ok(conditions);
        };
        let of_type = |runtime: &&Runtime| {
            let wanted = rule.runtime_type.as_ref();
            wanted.is_none_or(|wanted| runtime.runtime_type == *wanted)
        };
        let mut named = runtimes
            .iter()
            .filter(|runtime| runtime.id == *word || runtime.name == *word)
            .filter(of_type);
        let (found, more) = (named.next(), named.next());
        let found = match (found, more) {
            (None, _) => return Err(NoAddress::Nobody(word.clone())),
            (Some(_), Some(_)) => return Err(NoAddress::Several(word.clone())),
            (Some(one), None) => control::control_lane(one, &runtimes)
                .filter(|_| for_control && rule.runtime_type.is_none())
                .unwrap_or(one),
        };
        conditions.runtime_type.clone_from(&found.runtime_type);
        conditions.runtime_ids = vec![found.id.clone()];
        Ok(conditions)
    }

    async fn pause(&self) {
        let clock = &self.shared.clock;
        clock.sleep_until(clock.now() + PAUSE).await;
    }
}

/// Whether a server that did not execute a request may yet.
fn may_pass(error: &ClientError) -> bool {
    match error.refusal() {
        None | Some(Refusal::Unavailable { .. }) => true,
        // Refused for what it is, it would be refused again.
        Some(_) => is_about_membership(error),
    }
}

/// What is submitted. It may wait at the server for what is `left` of its time here, in whole seconds and at least one; it is
/// never tried twice, since whoever pressed sees what happens and can press again.
fn spec(rule: &Submit, conditions: Conditions, id: &str, left: Duration) -> ProcessSpec {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let rest = i64::from(left.subsec_nanos() > 0);
    ProcessSpec {
        func: rule.func.clone(),
        args: Some(rule.args.clone()),
        max_wait_time: (seconds(left) + rest).max(1),
        max_exec_time: seconds(rule.max_exec),
        max_retries: 0,
        conditions,
        env: [(SUBMISSION_ID.to_owned(), id.to_owned())].into(),
        ..ProcessSpec::default()
    }
}
