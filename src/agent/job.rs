//! One attempt on its way: does what its [`Guard`] says and tells it what happened.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::answers;
use super::delivery;
use super::fence::{self, Action, Attempt, Close, Ending, Event, Guard, Lease, Plan, SUPERVISED, Verdict};
use super::health::Working;
use super::journal::{Begun, Health, Record, Refusal, Refused};
use super::lane::{End, Lane};
use super::metrics::RefusalReason;
use super::question::Question;
use super::registry::Function;
use super::server_clock::LeaseEnds;
use crate::client::Caller;
use crate::clock::BootTime;
use crate::device::{Cancellation, Context, Effect, Origin, Urgency, VerbError};
use crate::protocol::model::{Attribute, Process};

/// The most that a verb may report while it runs; the rest is left out.
const PROGRESS_MAX: usize = 30;

/// One attempt, with everything that it needs.
pub(super) struct Job {
    pub process: Process,
    pub attempt: Attempt,
    pub function: Function,
    /// As it surely lasts.
    pub lease: Option<Lease>,
    /// How far that is known.
    pub ends: Option<LeaseEnds>,
    pub lane: Arc<Lane>,
    pub caller: Caller,
    pub origin: Arc<Origin>,
    /// How often the server is looked at while a long verb runs.
    pub supervise: Duration,
    /// The agent stops and the grace time is over.
    pub stop: Cancellation,
    /// While it lives, it is said that this is worked on.
    pub _working: Working,
}

/// Something under way, or nothing.
type Slot<'a, T> = Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>;

/// Waits for what is under way, for ever if nothing is; empties the slot when it is done.
async fn done<T>(slot: &mut Slot<'_, T>) -> T {
    match slot {
        Some(future) => {
            let value = future.await;
            *slot = None;
            value
        }
        None => std::future::pending().await,
    }
}

impl Job {
    /// Sees the attempt through to its end and hands that to the lane.
    pub async fn run(self) {
        let (verdict, attributes, begun, lease) = self.see_through().await;
        let Job { attempt, lane, .. } = self;
        let end = End {
            attempt,
            attributes,
            lease,
            verdict,
            begun,
        };
        lane.ended(end).await;
    }

    fn plan(&self) -> Plan {
        let verb = &self.function.verb;
        let time_to_safe = fence::time_to_safe(verb, self.function.device.time_to_safe());
        // What waits for a busy device is no shorter for the server.
        let longest = verb.max_time + self.function.rules.queue_wait;
        Plan {
            effect: verb.effect,
            lease: self.lease,
            likely_end: self.likely_end(longest, time_to_safe),
            time_to_safe,
            confirm: self.function.rules.guards(verb),
            supervise: (longest > SUPERVISED).then_some(self.supervise),
        }
    }

    /// When the lease likely ends, if that is worth an exchange: what surely remains may not do for the verb, and there is more
    /// than a tenth of the lease to be won.
    fn likely_end(&self, longest: Duration, time_to_safe: Duration) -> Option<BootTime> {
        let (lease, ends) = self.lease.zip(self.ends)?;
        let left = lease
            .effective_end(time_to_safe)
            .saturating_since(self.lane.clock.now());
        (left < longest && ends.is_worth_bounding()).then_some(ends.likely())
    }

    /// What follows, what the verb had to tell, whether the journal knows the attempt as begun, and its lease.
    async fn see_through(&self) -> (Verdict, Vec<Attribute>, bool, Option<Lease>) {
        let clock = &self.lane.clock;
        let progress = Progress::default();
        let cancel = Cancellation::new();
        let question = Arc::new(Question::new(
            self.lane.clone(),
            self.caller.clone(),
            self.attempt.clone(),
        ));
        let plan = self.plan();
        let (mut guard, first) = Guard::new(plan);
        let mut recording: Slot<'_, Event> = None;
        let mut bounding: Slot<'_, Event> = None;
        let mut asking: Slot<'_, Event> = None;
        let mut acting: Slot<'_, (Event, Vec<Attribute>)> = None;
        let mut telling: Slot<'_, ()> = None;
        let mut attributes = Vec::new();
        let mut begun = false;
        let mut stopped = false;
        let mut action = Some(first);
        loop {
            match action.take() {
                Some(Action::Record { bound }) => {
                    let question = plan.confirm.then(|| question.clone());
                    recording = Some(Box::pin(async move {
                        // While the journal is on its way to the disk there is time to sign what is asked next.
                        let sign = async {
                            if let Some(question) = question {
                                question.seal();
                            }
                        };
                        tokio::join!(biased; self.record(), sign).0
                    }));
                    if bound {
                        bounding = Some(Box::pin(self.bound()));
                    }
                }
                Some(Action::Bound) => bounding = Some(Box::pin(self.bound())),
                Some(Action::Ask) => {
                    let question = question.clone();
                    asking = Some(Box::pin(async move {
                        let (sent_at, seen) = question.ask().await;
                        Event::Seen(sent_at, seen)
                    }));
                }
                Some(Action::Act { until, begin_by }) => {
                    let context = self.context(until, begin_by, &cancel, &progress);
                    let context = context.with_confirmation(question.clone());
                    acting = Some(Box::pin(self.act(context, &question)));
                }
                Some(Action::Cancel(reason)) => cancel.cancel(reason),
                Some(Action::Finish(verdict)) => {
                    tracing::info!(attempt = %self.attempt, func = self.function.name, ?verdict, "ended");
                    // What could not be told meanwhile is told at the end; a duplicate counts as told.
                    let mut told: Vec<Attribute> = progress.lock().waiting.drain(..).collect();
                    told.append(&mut attributes);
                    return (verdict, told, begun, guard.lease());
                }
                None => {}
            }
            if telling.is_none() {
                telling = self.tell(&progress);
            }
            let wake = guard.wake();
            let event = tokio::select! {
                biased;
                event = done(&mut recording) => {
                    begun = event == Event::Recorded;
                    event
                }
                (event, told) = done(&mut acting) => {
                    attributes = told;
                    event
                }
                event = done(&mut bounding) => event,
                event = done(&mut asking) => event,
                reason = self.stop.cancelled(), if !stopped => {
                    stopped = true;
                    Event::Stop(reason.to_string())
                }
                () = sleep_until(self, wake) => Event::Wake,
                () = done(&mut telling) => continue,
                () = progress.changed.notified(), if telling.is_none() => continue,
            };
            action = guard.on(event, clock.now());
        }
    }

    /// Writes down that it begins.
    async fn record(&self) -> Event {
        let shared = &self.lane.shared;
        let verb = &self.function.verb;
        let begun = Begun {
            attempt: self.attempt.clone(),
            role: self.lane.role,
            verb: verb.name.to_string(),
            device: self.function.device.name().to_owned(),
            effect: verb.effect,
            repeat: self.function.rules.repeat,
            at: shared.moment(),
            // What bounds it further is asked for beside this, and again by whoever takes it up after a crash.
            lease_end: self
                .ends
                .map(|ends| ends.likely())
                .or(self.lease.map(|lease| lease.end)),
            beginning: 1,
        };
        let answer = shared
            .durably(move |journal| {
                // A disk that was full may have room again. Where all is well this would sync what else waits: one sync too many
                // between an assignment and its edge.
                if *journal.health() != Health::Good {
                    let _ = journal.retry();
                }
                journal.begin(begun)
            })
            .await;
        let refusal = match answer {
            Ok(Ok(())) => return Event::Recorded,
            Ok(Err(refusal)) => refusal,
            Err(gone) => return Event::NotRecorded(self.refuse(RefusalReason::NoJournal, gone.to_string())),
        };
        if let Refusal::NotWritable(error) = &refusal
            && (verb.effect, verb.urgency) == (Effect::Set, Urgency::Preempt)
        {
            // What stops is as good as making safe, which no journal holds up (docs/fence.md, 6).
            tracing::warn!(attempt = %self.attempt, %error, "not written down, and done all the same: it stops what runs");
            return Event::Recorded;
        }
        let reason = RefusalReason::from(&refusal);
        Event::NotRecorded(match refusal {
            // Never acted on again while a result of it waits; and that result will say all there is to say.
            Refusal::Undelivered | Refusal::OutboxFull => {
                shared.metrics.refusal(reason);
                Verdict::Leave
            }
            refusal => self.refuse(reason, refusal.to_string()),
        })
    }

    /// Bounds the lease by a quick exchange.
    async fn bound(&self) -> Event {
        let answer = self.caller.client().version().await;
        match (self.lane.shared.observe(&answer), self.ends) {
            (Some((exchange, stamp)), Some(mut ends)) => {
                ends.bounded_by(exchange, stamp);
                Event::Bounded {
                    surely: ends.surely(),
                    likely: ends.likely(),
                }
            }
            _ => Event::NotBounded,
        }
    }

    /// Refused: for the process and for `history`.
    fn refuse(&self, reason: RefusalReason, text: String) -> Verdict {
        note_refused(&self.lane, &self.process, Some(&self.function), reason, &text);
        Verdict::Close(Close::Failed(delivery::storable(&text)))
    }

    fn context(
        &self,
        until: Option<BootTime>,
        begin_by: Option<BootTime>,
        cancel: &Cancellation,
        progress: &Progress,
    ) -> Context {
        let sink = progress.clone();
        let (process, colony) = (self.process.clone(), self.origin.colony.clone());
        Context::new(self.lane.clock.clone())
            .with_lease(until)
            .with_begin_by(begin_by)
            .with_cancellation(cancel.clone())
            .with_process(self.attempt.process_id.as_str())
            .with_origin(self.origin.clone())
            .with_queue_wait(self.function.rules.queue_wait)
            .with_progress(Arc::new(move |name, value| {
                let pair = [(name.to_owned(), value.to_owned())];
                sink.add(delivery::attributes(&pair, &process, &colony));
            }))
    }

    /// Has the device perform.
    async fn act(&self, context: Context, question: &Question) -> (Event, Vec<Attribute>) {
        let cancel = context.cancellation().clone();
        let call = self.function.call(&self.process);
        let attributes =
            |pairs: &[(String, String)]| delivery::attributes(pairs, &self.process, &self.origin.colony);
        let result = self.function.device.perform(call, context).await;
        if let Some(reason) = question.lost() {
            return (Event::Ended(Ending::Lost(reason)), Vec::new());
        }
        match result {
            Ok(outcome) => (Event::Ended(Ending::Done), attributes(&outcome.attributes)),
            Err(error) => {
                let text = delivery::storable(&self.function.explain(&error));
                if matches!(error, VerbError::Busy { .. } | VerbError::Faulted { .. }) {
                    self.lane.shared.metrics.refusal(RefusalReason::Unavailable);
                }
                let ending = Ending::of_error(&error, text, cancel.is_cancelled());
                (Event::Ended(ending), attributes(error.attributes()))
            }
        }
    }

    /// Sends the first thing that the verb reported and was not told yet.
    fn tell<'a>(&'a self, progress: &Progress) -> Slot<'a, ()> {
        let first = {
            let state = progress.lock();
            state.waiting.front().filter(|_| !state.paused).cloned()?
        };
        let progress = progress.clone();
        Some(Box::pin(async move {
            let answer = self.caller.add_attribute(&first).await;
            self.lane.shared.hear(&answer);
            let mut state = progress.lock();
            // What can't be told now waits for the end, and what comes after it too: order matters more.
            match answers::of_attribute(&answer) {
                super::outbox::Outcome::Later(_) => state.paused = true,
                _ => {
                    if state.waiting.front() == Some(&first) {
                        state.waiting.pop_front();
                    }
                }
            }
        }))
    }
}

async fn sleep_until(job: &Job, moment: Option<BootTime>) {
    match moment {
        Some(moment) => job.lane.clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What a running verb reports, until it is told.
#[derive(Clone, Default)]
struct Progress {
    state: Arc<Mutex<Reports>>,
    changed: Arc<tokio::sync::Notify>,
}

#[derive(Default)]
struct Reports {
    waiting: VecDeque<Attribute>,
    /// So many were reported.
    count: usize,
    /// The server did not take one: the rest waits for the end.
    paused: bool,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, attributes: Vec<Attribute>) {
        let mut state = self.lock();
        for attribute in attributes {
            state.count += 1;
            if state.count <= PROGRESS_MAX {
                state.waiting.push_back(attribute);
            }
        }
        drop(state);
        self.changed.notify_one();
    }
}

/// Counts that work was refused, and notes it for `history`.
pub(super) fn note_refused(
    lane: &Lane,
    process: &Process,
    function: Option<&Function>,
    reason: RefusalReason,
    text: &str,
) {
    lane.shared.metrics.refusal(reason);
    lane.shared.note(Record::Refused(Refused {
        process_id: process.id.clone(),
        verb: function.map_or_else(
            || process.spec.func.clone(),
            |function| function.verb.name.to_string(),
        ),
        device: function.map_or_else(String::new, |function| function.device.name().to_owned()),
        reason: text.to_owned(),
        wall: lane.shared.moment().wall,
    }));
}
