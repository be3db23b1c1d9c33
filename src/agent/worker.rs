//! One lane of the agent: enrol, reconcile, take work, have it done, report.
//!
//! ```text
//! enrol ─> reconcile ─> (a slot is free) ─> assign ─> attempt ─> device ─> verdict ─> outbox ─> delivery
//!   ^__________________________________________|  “not approved” and the like, at any time
//! ```
//!
//! One lane has one identity and one poll. Work waits at the server, not here: it is asked for only while a slot is
//! free (docs/fence.md, 4). What may be done about an attempt is decided in [`super::fence`].

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::answers::is_about_membership;
use super::backoff::{Backoff, Random};
use super::delivery::{self, LAST_DELIVERY};
use super::enrolment::Enrolment;
use super::fence::{self, Attempt, Close, Ending, Lease, Verdict, lease_length, verdict};
use super::health::Working;
use super::lane::{self, Lane};
use super::reconcile;
use super::registry::{Function, SharedRegistry};
use crate::client::{Caller, ClientError, ServerUrl, Stamps, Timed};
use crate::clock::{BootTime, SharedClock};
use crate::device::{Cancellation, Context, Effect, Origin};
use crate::protocol::model::{Attribute, Process, ProcessState};

/// The longest poll there is: proxies cut idle requests after a minute, and a lost one delays a reconcile.
pub const LONGEST_POLL: Duration = Duration::from_secs(30);
/// How long a poll lasts while the server's clock is not known well enough to tell when a lease began.
const BLIND_POLL: Duration = Duration::from_secs(1);
/// Quick exchanges in a row to learn the server's clock.
const CLOCK_TRIES: usize = 5;
/// When those were not enough, so long until they are tried again.
const CLOCK_AGAIN: Duration = Duration::from_secs(60);
/// How long after its poll time a request that was lost may still be at work in the server.
const POLL_SLACK: Duration = Duration::from_secs(2);
/// How often to reconcile without a reason.
const RECONCILE_EVERY: Duration = Duration::from_secs(300);
/// When a reconcile was refused for a reason that asking again at once won't cure.
const RECONCILE_AGAIN: Duration = Duration::from_secs(30);
/// Polls that come back empty faster than this are not held by the server as they should be.
const QUICK: Duration = Duration::from_millis(200);
/// How many such polls in a row are no reason for a pause: each is another runtime that won.
const QUICK_IN_A_ROW: u32 = 5;
/// What jobs that were cancelled may take beyond their devices' own bounds.
const LAST_JOBS: Duration = Duration::from_secs(30);

/// How a lane works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneSettings {
    /// How long one assign may be held by the server; at most [`LONGEST_POLL`].
    pub poll_time: Duration,
    /// How long what runs may go on when the agent stops.
    pub grace_time: Duration,
    /// The first pause after a failure is at most so long…
    pub backoff_min: Duration,
    /// …and every one at most so.
    pub backoff_max: Duration,
    /// Attempts that may run at once.
    pub slots: usize,
}

/// One lane.
pub struct Worker {
    enrolment: Enrolment,
    registry: SharedRegistry,
    settings: LaneSettings,
    clock: SharedClock,
    lane: Arc<Lane>,
    delivery: Option<AbortOnDrop>,
    jobs: JoinSet<()>,
    /// Cancels what runs, once the agent stops and the grace time is over.
    cancel: Cancellation,
    /// Pauses after a failure to reach the server.
    backoff: Backoff,
    /// Pauses when it is refused as a stranger right after it was told that it is welcome.
    unwelcome: Backoff,
    unwelcome_in_a_row: u32,
    /// Pauses after polls that should have lasted longer.
    quick: Backoff,
    quick_in_a_row: u32,
    /// The next reconcile without a reason.
    reconcile_at: BootTime,
    /// A request that was lost may be at work in the server until then; reconcile after it.
    lost_until: Option<BootTime>,
    clock_again_at: BootTime,
    trouble: Trouble,
}

/// How one turn of the loop ended.
enum Turn {
    /// Go on at once.
    On,
    /// The server doesn't want us now: enrol again.
    Unwelcome,
    /// Pause first.
    Pause,
}

impl Worker {
    /// A lane that has not begun. `random` is asked for the jitter of every pause.
    pub fn new(
        enrolment: Enrolment,
        registry: impl Into<SharedRegistry>,
        settings: LaneSettings,
        clock: SharedClock,
        random: Random,
    ) -> Self {
        let now = clock.now();
        let lane = Arc::new(Lane::new(clock.clone(), &settings, random.clone()));
        let backoff = |min, max| Backoff::new(min, max, random.clone());
        Worker {
            enrolment,
            registry: registry.into(),
            clock,
            lane,
            delivery: None,
            jobs: JoinSet::new(),
            cancel: Cancellation::new(),
            backoff: backoff(settings.backoff_min, settings.backoff_max),
            unwelcome: backoff(settings.backoff_min, settings.backoff_max),
            unwelcome_in_a_row: 0,
            quick: backoff(Duration::from_millis(50), Duration::from_secs(1)),
            quick_in_a_row: 0,
            reconcile_at: now,
            // A former life may have been polling when it ended.
            lost_until: Some(now + LONGEST_POLL + POLL_SLACK),
            clock_again_at: now,
            trouble: Trouble::default(),
            settings,
        }
    }

    /// Works until `stop`, then lets what runs finish within the grace time, and cancels the rest. When this is done
    /// nothing runs any more; what is not delivered yet is left to [`Worker::settle`].
    pub async fn work(&mut self, stop: &Cancellation) {
        self.start_delivery();
        let mut enrolled = false;
        while !stop.is_cancelled() {
            if !enrolled {
                if !self.enrolment.enrol(&self.clock, &mut self.backoff, stop).await {
                    break;
                }
                enrolled = true;
                self.welcome();
            }
            let turn = tokio::select! {
                biased;
                _ = stop.cancelled() => break,
                turn = self.turn() => turn,
            };
            let pause = match turn {
                Turn::On => continue,
                Turn::Unwelcome => {
                    enrolled = false;
                    self.unwelcome_in_a_row += 1;
                    if self.unwelcome_in_a_row == 1 {
                        continue;
                    }
                    self.unwelcome.next_pause()
                }
                Turn::Pause => self.backoff.next_pause(),
            };
            tokio::select! {
                biased;
                _ = stop.cancelled() => break,
                () = self.clock.sleep_until(self.clock.now() + pause) => {}
            }
        }
        self.finish_jobs(stop.reason().as_deref().unwrap_or("it was told to"))
            .await;
    }

    /// Delivers what waits, for a bounded time. How many results are left undelivered.
    pub async fn settle(&mut self) -> usize {
        self.start_delivery();
        let left = delivery::drained(&self.lane, self.clock.now() + LAST_DELIVERY).await;
        if left > 0 {
            tracing::warn!(left, "results are left undelivered");
        }
        left
    }

    fn start_delivery(&mut self) {
        if self.delivery.is_none() {
            let delivery = delivery::deliver(self.lane.clone(), self.caller().clone());
            self.delivery = Some(AbortOnDrop(tokio::spawn(delivery)));
        }
    }

    fn caller(&self) -> &Caller {
        self.enrolment.caller()
    }

    fn colony(&self) -> &str {
        &self.enrolment.runtime().colony_id
    }

    /// Enrolled, at the start or again.
    fn welcome(&mut self) {
        let now = self.clock.now();
        self.reconcile_at = now;
        self.lane.outbox(|outbox| outbox.hurry(now));
        self.lane.nudge();
    }

    /// One step: reconcile, or wait for a slot, or ask for work. May be dropped wherever it waits.
    async fn turn(&mut self) -> Turn {
        while let Some(job) = self.jobs.try_join_next() {
            log_lost_job(job);
        }
        if self.reconcile_is_due() {
            return self.reconcile().await;
        }
        if !self.lane.has_room(self.settings.slots) {
            self.wait_for_room().await;
            return Turn::On;
        }
        self.learn_the_clock().await;
        self.take_work().await
    }

    fn reconcile_is_due(&self) -> bool {
        let now = self.clock.now();
        now >= self.reconcile_at || self.lost_until.is_some_and(|until| now >= until)
    }

    async fn wait_for_room(&mut self) {
        let mut changes = self.lane.changes();
        if self.lane.has_room(self.settings.slots) {
            return;
        }
        let wake = self
            .lost_until
            .map_or(self.reconcile_at, |until| until.min(self.reconcile_at));
        tokio::select! {
            Some(job) = self.jobs.join_next() => log_lost_job(job),
            _ = changes.changed() => {}
            () = self.clock.sleep_until(wake) => {}
        }
    }

    /// Closes as failed what runs on us at the server and is not held here. No assign is under way meanwhile.
    async fn reconcile(&mut self) -> Turn {
        let held = self.lane.held();
        let caller = self.caller().clone();
        let answer = caller
            .history(
                self.colony(),
                caller.id(),
                reconcile::ALL_OF_HISTORY,
                ProcessState::Running,
            )
            .await;
        self.lane.observe(&answer);
        let now = self.clock.now();
        let running = match answer {
            Ok(running) => running.value,
            Err(error) => {
                let again = matches!(
                    error,
                    ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::Lost { .. }
                );
                if !again {
                    self.reconcile_at = now + RECONCILE_AGAIN;
                    self.lost_until = self.lost_until.map(|until| until.max(now + RECONCILE_AGAIN));
                }
                return self.failed(&error, "can't look for lost assignments");
            }
        };
        self.lane
            .forget_left(|left| running.iter().any(|process| left.is_of(process)));
        let mut all = true;
        for attempt in reconcile::lost(&running, &held, caller.id()) {
            tracing::warn!(%attempt, "the server believes it runs here, but its assignment was lost: closing it as failed");
            all &= self.lane.give_up(reconcile::report(attempt));
        }
        self.reconcile_at = now + if all { RECONCILE_EVERY } else { RECONCILE_AGAIN };
        if self.lost_until.is_some_and(|until| now >= until) {
            self.lost_until = None;
        }
        self.succeeded();
        Turn::On
    }

    /// Quick exchanges until the server's clock is known well enough for a long poll, or it does not get better.
    async fn learn_the_clock(&mut self) {
        for _ in 0..CLOCK_TRIES {
            let now = self.clock.now();
            if self.lane.server_clock(|clock| clock.is_narrow(now)) || now < self.clock_again_at {
                return;
            }
            let answer = self.caller().client().version().await;
            self.lane.observe(&answer);
            if answer.is_err() {
                // The poll will meet the same trouble and say so.
                return;
            }
        }
        let now = self.clock.now();
        if !self.lane.server_clock(|clock| clock.is_narrow(now)) {
            tracing::warn!("the server's clock can't be told; polls are short until it can");
            self.clock_again_at = now + CLOCK_AGAIN;
        }
    }

    fn poll_time(&self) -> Duration {
        let now = self.clock.now();
        if self.lane.server_clock(|clock| clock.is_narrow(now)) {
            self.settings.poll_time.min(LONGEST_POLL)
        } else {
            self.settings.poll_time.min(BLIND_POLL)
        }
    }

    async fn take_work(&mut self) -> Turn {
        let asked_at = self.clock.now();
        let poll = self.poll_time();
        let timeout = i64::try_from(poll.as_secs()).unwrap_or(1).max(1);
        let caller = self.caller().clone();
        let answer = caller.assign(self.colony(), false, timeout).await;
        self.lane.observe(&answer);
        match answer {
            Ok(Timed { value, stamps }) => {
                self.quick_in_a_row = 0;
                self.quick.reset();
                self.served();
                self.begin(value, &stamps);
                Turn::On
            }
            Err(ClientError::NothingToAssign(_)) => {
                self.served();
                self.empty_handed(asked_at, poll).await;
                Turn::On
            }
            Err(error) => {
                if error.may_have_been_executed() {
                    let now = self.clock.now();
                    let until = match error {
                        // The client waits longer than the server may.
                        ClientError::TimedOut { .. } => now,
                        _ => now + poll + POLL_SLACK,
                    };
                    self.lost_until = Some(self.lost_until.map_or(until, |other| other.max(until)));
                }
                self.failed(&error, "can't ask for work")
            }
        }
    }

    /// A poll that came back empty: again at once, unless the server never holds them.
    async fn empty_handed(&mut self, asked_at: BootTime, poll: Duration) {
        let now = self.clock.now();
        if now.saturating_since(asked_at) >= QUICK.min(poll) {
            self.quick_in_a_row = 0;
            self.quick.reset();
            return;
        }
        self.quick_in_a_row += 1;
        if self.quick_in_a_row > QUICK_IN_A_ROW {
            self.clock.sleep_until(now + self.quick.next_pause()).await;
        }
    }

    /// A request for work was answered as one of a member.
    fn served(&mut self) {
        self.unwelcome_in_a_row = 0;
        self.unwelcome.reset();
        self.succeeded();
    }

    fn succeeded(&mut self) {
        self.enrolment.health().fine();
        if self.trouble.is_over() {
            tracing::info!("the server answers again");
            let now = self.clock.now();
            self.lane.outbox(|outbox| outbox.hurry(now));
            self.lane.nudge();
        }
        self.backoff.reset();
    }

    fn failed(&mut self, error: &ClientError, what: &str) -> Turn {
        if is_about_membership(error) {
            tracing::debug!(%error, "{what}");
            return Turn::Unwelcome;
        }
        self.enrolment.health().trouble(format!("{what}: {error}"));
        self.trouble.say(error, what);
        Turn::Pause
    }

    /// Takes on what was assigned, or ends it at once. Does not wait.
    fn begin(&mut self, process: Process, stamps: &Stamps) {
        let attempt = Attempt::of(&process);
        let length = lease_length(process.spec.max_exec_time);
        let lease = length.map(|length| {
            let (end, news) = self.lane.server_clock(|clock| {
                let before = clock.is_contradicted();
                let end = clock.lease_end(lane::exchange(stamps), process.start_time, length);
                (end, clock.is_contradicted() && !before)
            });
            if news {
                tracing::warn!("start times and the server's clock contradict each other; leases count from asking for work");
            }
            Lease::new(end, length)
        });
        tracing::info!(%attempt, func = process.spec.func, "assigned");
        self.lane.began(&attempt);
        match self.examine(&process, &attempt, lease) {
            Ok(function) => {
                let job = Job {
                    effect: function.verb.effect,
                    _working: self.enrolment.health().works_on(&function.name),
                    function,
                    process,
                    attempt,
                    lease,
                    lane: self.lane.clone(),
                    origin: self.origin(),
                    cancel: self.cancel.clone(),
                };
                self.jobs.spawn(job.run());
            }
            Err(verdict) => {
                tracing::info!(%attempt, ?verdict, "not begun");
                self.lane.ended(attempt, Vec::new(), lease, verdict);
            }
        }
    }

    /// Where the work comes from, as programs are told.
    fn origin(&self) -> Origin {
        // A server that is reached otherwise than by HTTP has neither.
        let server = ServerUrl::parse(self.caller().client().server()).ok();
        Origin {
            colony: self.colony().to_owned(),
            server_host: server
                .as_ref()
                .map(|url| url.host().to_owned())
                .unwrap_or_default(),
            server_port: server.map(|url| url.port().to_string()).unwrap_or_default(),
            runtime: self.caller().id().to_owned(),
        }
    }

    /// Whether the attempt may begin; else what to do about it.
    fn examine(
        &self,
        process: &Process,
        attempt: &Attempt,
        lease: Option<Lease>,
    ) -> Result<Function, Verdict> {
        let failed = |text: String| Verdict::Close(Close::Failed(delivery::storable(&text)));
        if self.lane.outbox(|outbox| outbox.holds(&process.id)) {
            // Never acted on again while a result of it waits. Its own end would find no room beside that result.
            return Err(Verdict::Leave);
        }
        let registry = self.registry.current();
        let function = registry
            .find(&process.spec.func)
            .map_err(|unknown| failed(unknown.to_string()))?;
        let effect = function.verb.effect;
        fence::refusal(process, effect, function.max_age).map_err(|refused| failed(refused.to_string()))?;
        if let Some(lease) = lease {
            let end = lease.effective_end(function.device.time_to_safe());
            if self.clock.now() >= end {
                return Err(verdict(Ending::NeverBegun, effect, Some(lease)));
            }
        }
        if effect == Effect::Once && !function.repeat {
            self.lane.begun(|begun| begun.mark(attempt)).map_err(failed)?;
        }
        Ok(function.clone())
    }

    /// Lets what runs finish within the grace time, and cancels the rest.
    async fn finish_jobs(&mut self, reason: &str) {
        let grace = self.settings.grace_time;
        if !self.jobs.is_empty() {
            tracing::info!(running = self.jobs.len(), ?grace, "waiting for what runs");
        }
        if !self.jobs_done_by(self.clock.now() + grace).await {
            self.cancel.cancel(format!(
                "the agent stops ({reason}) and it was not done within the grace time of {}s",
                grace.as_secs_f64()
            ));
            if !self.jobs_done_by(self.clock.now() + LAST_JOBS).await {
                tracing::error!("a device does not let go");
            }
        }
    }

    /// False: some still run at that moment.
    async fn jobs_done_by(&mut self, deadline: BootTime) -> bool {
        loop {
            tokio::select! {
                biased;
                job = self.jobs.join_next() => match job {
                    Some(job) => log_lost_job(job),
                    None => return true,
                },
                () = self.clock.sleep_until(deadline) => return false,
            }
        }
    }
}

/// One attempt on its way.
struct Job {
    process: Process,
    attempt: Attempt,
    function: Function,
    effect: Effect,
    lease: Option<Lease>,
    lane: Arc<Lane>,
    origin: Origin,
    cancel: Cancellation,
    _working: Working,
}

impl Job {
    async fn run(self) {
        let (ending, attributes) = match AssertUnwindSafe(self.perform()).catch_unwind().await {
            Ok(ended) => ended,
            // The device's owner task catches the verb's panics; this one is ours.
            Err(_) => (
                Ending::Failed(
                    "the agent panicked; this is a defect of outpost, please report it".to_owned(),
                ),
                Vec::new(),
            ),
        };
        tracing::info!(attempt = %self.attempt, func = self.function.name, ?ending, "ended");
        if self.effect == Effect::Once {
            let outcome = match &ending {
                Ending::Done => "it was done".to_owned(),
                Ending::Failed(text) | Ending::Stopped(text) => text.clone(),
                Ending::LeaseOver | Ending::NeverBegun => "its lease ended first".to_owned(),
            };
            self.lane
                .begun(|begun| begun.note(&self.attempt.process_id, outcome));
        }
        let verdict = verdict(ending, self.effect, self.lease);
        self.lane.ended(self.attempt, attributes, self.lease, verdict);
    }

    async fn perform(&self) -> (Ending, Vec<Attribute>) {
        let device = &self.function.device;
        let lease_end = self.lease.map(|lease| lease.effective_end(device.time_to_safe()));
        let context = Context::new(self.lane.clock.clone())
            .with_lease(lease_end)
            .with_cancellation(self.cancel.clone())
            .with_process(self.attempt.process_id.as_str())
            .with_origin(self.origin.clone());
        match device.perform(self.function.call(&self.process), context).await {
            Ok(outcome) => (
                Ending::Done,
                delivery::attributes(&outcome.attributes, &self.process, &self.origin.colony),
            ),
            Err(error) => {
                let text = delivery::storable(&self.function.explain(&error));
                let stopping = self.cancel.is_cancelled();
                let attributes = delivery::attributes(error.attributes(), &self.process, &self.origin.colony);
                (Ending::of_error(&error, text, stopping), attributes)
            }
        }
    }
}

fn log_lost_job(job: Result<(), tokio::task::JoinError>) {
    if let Err(error) = job {
        tracing::error!(%error, "a job ended without saying how");
    }
}

/// A task that ends when nobody holds it any more.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What went wrong last, so that the log says it once and not every half minute.
#[derive(Default)]
struct Trouble {
    last: Option<String>,
}

impl Trouble {
    fn say(&mut self, error: &ClientError, what: &str) {
        let text = error.to_string();
        if self.last.as_deref() == Some(&text) {
            tracing::debug!(error = text, "{what}");
        } else {
            tracing::warn!(error = text, "{what}; trying again for as long as it takes");
            self.last = Some(text);
        }
    }

    /// True once after trouble.
    fn is_over(&mut self) -> bool {
        self.last.take().is_some()
    }
}
