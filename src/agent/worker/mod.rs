//! One lane of the agent: enrol, reconcile, take work, have it done, report.
//!
//! ```text
//! enrol ─> reconcile ─> (a slot is free) ─> assign ─> journal ─> confirm ─> device ─> verdict ─> outbox ─> delivery
//!   ^__________________________________________|  “not approved” and the like, at any time
//! ```
//!
//! One lane has one identity and one poll; an agent has one for work and perhaps one for control, which takes only what
//! answers or stops at once. Work waits at the server, not here: it is asked for only while a slot and the devices that
//! it may need are free (docs/fence.md, 4). What may be done about an attempt is decided in [`super::fence`].

mod recovery;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::agent::answers::is_about_membership;
use crate::agent::backoff::{Backoff, Random};
use crate::agent::delivery::{self, LAST_DELIVERY};
use crate::agent::enrolment::Enrolment;
use crate::agent::fence::{self, Attempt, Close, Ending, Lease, Verdict, lease_length, verdict};
use crate::agent::job::{self, Job};
use crate::agent::journal::{self, Record, Role};
use crate::agent::lane::{End, Lane};
use crate::agent::metrics::RefusalReason;
use crate::agent::reconcile;
use crate::agent::registry::{Function, SharedRegistry};
use crate::agent::server_clock::LeaseEnds;
use crate::agent::shared::{Shared, exchange};
use crate::client::{Caller, ClientError, ServerUrl, Stamps, Timed};
use crate::clock::{BootTime, SharedClock};
use crate::device::{Cancellation, Origin, Urgency};
use crate::protocol::model::{Process, ProcessState};
use crate::protocol::{Refusal, control};

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
/// So many processes of old marks are asked about at one reconcile, so that the marks can be forgotten one day.
const MARKS_TO_ASK: usize = 4;
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
    /// How often the server is looked at while a long verb runs.
    pub supervise: Duration,
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
    /// A journal that can't be written is not tried again before.
    mend_at: BootTime,
    /// The process about whose mark the server was asked last.
    mark_asked: String,
    trouble: Trouble,
    /// What a former life did not live to end, and the server must be asked about.
    interrupted: Vec<journal::Begun>,
    /// The same, whose devices have been made safe meanwhile.
    recovered: recovery::Recovered,
    loaded: bool,
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
        role: Role,
        enrolment: Enrolment,
        registry: SharedRegistry,
        settings: LaneSettings,
        shared: Arc<Shared>,
        random: Random,
    ) -> Self {
        let clock = shared.clock.clone();
        let now = clock.now();
        let lane = Arc::new(Lane::new(shared, role, &settings, random.clone()));
        let backoff = |min, max| Backoff::new(min, max, random.clone());
        Worker {
            enrolment,
            registry,
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
            mend_at: now,
            mark_asked: String::new(),
            trouble: Trouble::default(),
            interrupted: Vec::new(),
            recovered: recovery::Recovered::default(),
            loaded: false,
            settings,
        }
    }

    /// Works until `stop`, then lets what runs finish within the grace time, and cancels the rest. When this is done
    /// nothing runs any more; what is not delivered yet is left to [`Worker::settle`].
    pub async fn work(&mut self, stop: &Cancellation) {
        self.load().await;
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
            tracing::warn!(
                left,
                "results are left undelivered; they are told after the next start"
            );
        }
        // What only rode along would be told twice otherwise; and what a full disk had no room for may find some now.
        let synced = self.lane.shared.durably(|journal| journal.retry()).await;
        if let Ok(Err(error)) = synced {
            tracing::warn!(%error, "not everything is written down");
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
        self.take_up_recovered();
        if !self.interrupted.is_empty() {
            return self.ask_about_interrupted().await;
        }
        if self.reconcile_is_due() {
            return self.reconcile().await;
        }
        if !self.has_room() {
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

    /// Whether work may be asked for: a slot is free, and devices that it may need. With one slot that is every device;
    /// with more, whoever configured them takes the chance that work finds its device busy (docs/fence.md, 4).
    fn has_room(&self) -> bool {
        let registry = self.registry.current();
        let devices = registry.devices();
        let free = match (self.lane.role, self.settings.slots) {
            // What it takes does not wait for a device.
            (Role::Control, _) => true,
            (Role::Work, 1) => devices.iter().all(|device| !device.is_busy()),
            (Role::Work, _) => devices.iter().any(|device| !device.is_busy()),
        };
        free && self.lane.has_room(self.settings.slots)
    }

    async fn wait_for_room(&mut self) {
        let mut changes = self.lane.changes();
        let mut frees = self.lane.shared.frees();
        if self.has_room() {
            return;
        }
        let wake = self
            .lost_until
            .map_or(self.reconcile_at, |until| until.min(self.reconcile_at));
        tokio::select! {
            biased;
            Some(job) = self.jobs.join_next() => log_lost_job(job),
            () = changes.changed() => {}
            () = frees.changed() => {}
            () = self.clock.sleep_until(wake) => {}
        }
    }

    /// Closes what runs on us at the server and is not held here. No assign is under way meanwhile.
    async fn reconcile(&mut self) -> Turn {
        self.mend_journal().await;
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
        self.lane.shared.hear(&answer);
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
        for process in reconcile::lost(&running, &held, caller.id()) {
            let known = self.lane.how_it_ended(Attempt::of(process)).await;
            if let Some(report) = reconcile::report(process, known) {
                let (attempt, close) = (&report.attempt, &report.close);
                tracing::warn!(%attempt, ?close, "the server believes that it runs here, but it does not: closing it");
                all &= self.lane.give_up(report).await;
            }
        }
        self.reconcile_at = now + if all { RECONCILE_EVERY } else { RECONCILE_AGAIN };
        if self.lost_until.is_some_and(|until| now >= until) {
            self.lost_until = None;
        }
        self.succeeded();
        if self.lane.role == Role::Work {
            self.ask_about_marks().await;
        }
        Turn::On
    }

    /// A disk that was full may have room again. Nothing new need begin for that: what is not written down a crash would take.
    async fn mend_journal(&mut self) {
        let now = self.clock.now();
        if now < self.mend_at {
            return;
        }
        self.mend_at = now + RECONCILE_AGAIN;
        let mended = self.lane.shared.durably(|journal| match journal.health() {
            journal::Health::Good => Ok(()),
            _ => journal.retry(),
        });
        // That it still can't be written was said, and shows in the health.
        let _ = mended.await;
    }

    /// Asks about a few processes whose *once* verbs began and of which nobody knows whether the server has closed them for
    /// good, so that their marks can be forgotten one day (docs/fence.md, 6). Others the next time: some never end.
    async fn ask_about_marks(&mut self) {
        let keeper = &self.lane.shared.keeper;
        let last = self.mark_asked.clone();
        let asked = keeper.with(move |journal| {
            let open = journal.state().not_known_final(&last);
            open.take(MARKS_TO_ASK).collect::<Vec<_>>()
        });
        for process_id in asked.await.unwrap_or_default() {
            self.mark_asked.clone_from(&process_id);
            let answer = self.caller().get_process(&process_id).await;
            self.lane.shared.hear(&answer);
            let is_final = match &answer {
                Ok(process) => process.value.state.is_final(),
                Err(error) => matches!(error.refusal(), Some(Refusal::Unknown)),
            };
            if is_final {
                self.lane.shared.note(Record::FinalAtServer { process_id });
            }
        }
    }

    /// Quick exchanges until the server's clock is known well enough for a long poll, or it does not get better.
    async fn learn_the_clock(&mut self) {
        for _ in 0..CLOCK_TRIES {
            let now = self.clock.now();
            if self.lane.shared.server_clock(|clock| clock.is_narrow(now)) || now < self.clock_again_at {
                return;
            }
            let answer = self.caller().client().version().await;
            self.lane.shared.observe(&answer);
            if answer.is_err() {
                // The poll will meet the same trouble and say so.
                return;
            }
        }
        let now = self.clock.now();
        if !self.lane.shared.server_clock(|clock| clock.is_narrow(now)) {
            tracing::warn!("the server's clock can't be told; polls are short until it can");
            self.clock_again_at = now + CLOCK_AGAIN;
        }
    }

    fn poll_time(&self) -> Duration {
        let now = self.clock.now();
        if self.lane.shared.server_clock(|clock| clock.is_narrow(now)) {
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
        self.lane.shared.hear(&answer);
        match answer {
            Ok(Timed { value, stamps }) => {
                self.quick_in_a_row = 0;
                self.quick.reset();
                self.served();
                self.begin(value, &stamps).await;
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
            self.lane.shared.metrics.reconnect();
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

    /// Takes on what was assigned, or ends it at once. Waits for nothing.
    async fn begin(&mut self, process: Process, stamps: &Stamps) {
        let attempt = Attempt::of(&process);
        let length = lease_length(process.spec.max_exec_time);
        let ends = length.map(|length| {
            let (ends, news) = self.lane.shared.server_clock(|clock| {
                let before = clock.is_contradicted();
                let ends = clock.lease_ends(exchange(stamps), process.start_time, length);
                (ends, clock.is_contradicted() && !before)
            });
            if news {
                tracing::warn!("start times and the server's clock contradict each other; leases count from asking for work");
            }
            ends
        });
        let lease = |end: fn(&LeaseEnds) -> BootTime| Some(Lease::new(end(&ends?), length?));
        let (surely, likely) = (lease(LeaseEnds::surely), lease(LeaseEnds::likely));
        tracing::info!(%attempt, func = process.spec.func, "assigned");
        self.lane.began(&attempt);
        match self.examine(&process, likely) {
            Ok(function) => self.start(process, attempt, function, surely, ends),
            Err(refused) => {
                let verdict = match refused {
                    NotBegun::Refused(reason, text, function) => {
                        job::note_refused(&self.lane, &process, function.as_deref(), reason, &text);
                        Verdict::Close(Close::Failed(delivery::storable(&text)))
                    }
                    NotBegun::Over(reason, verdict) => {
                        self.lane.shared.metrics.refusal(reason);
                        verdict
                    }
                };
                tracing::info!(%attempt, ?verdict, "not begun");
                let end = End {
                    attempt,
                    attributes: Vec::new(),
                    lease: surely,
                    verdict,
                    begun: false,
                };
                self.lane.ended(end).await;
            }
        }
    }

    /// Has an attempt seen through, beside everything else. `ends`: how far it is known when the lease ends.
    fn start(
        &mut self,
        process: Process,
        attempt: Attempt,
        function: Function,
        lease: Option<Lease>,
        ends: Option<LeaseEnds>,
    ) {
        let working = self.enrolment.health().works_on(&function.name);
        let job = Job {
            process,
            attempt,
            function,
            lease,
            ends,
            lane: self.lane.clone(),
            caller: self.caller().clone(),
            origin: Arc::new(self.origin()),
            supervise: self.settings.supervise,
            stop: self.cancel.clone(),
            _working: working,
        };
        self.jobs.spawn(job.run());
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

    /// Whether the attempt may begin as far as can be told at once; the journal has its say after that.
    fn examine(&self, process: &Process, lease: Option<Lease>) -> Result<Function, NotBegun> {
        if self.lane.outbox(|outbox| outbox.holds(&process.id)) {
            // Never acted on again while a result of it waits. Its own end would find no room beside that result.
            return Err(NotBegun::Over(RefusalReason::Repeated, Verdict::Leave));
        }
        let registry = self.registry.current();
        let function = registry
            .find(&process.spec.func)
            .map_err(|unknown| NotBegun::Refused(RefusalReason::NotCallable, unknown.to_string(), None))?;
        let verb = &function.verb;
        let refused =
            |reason, text: String| NotBegun::Refused(reason, text, Some(Box::new(function.clone())));
        if self.lane.role == Role::Control && verb.urgency == Urgency::Work {
            return Err(refused(
                RefusalReason::NotCallable,
                format!(
                    "{} is work, and this runtime takes only what answers or stops at once; submit it to runtimetype {:?}",
                    function.name,
                    control::work_type(&self.enrolment.runtime().runtime_type)
                ),
            ));
        }
        fence::refusal(process, verb, &function.rules, self.caller().id())
            .map_err(|rejection| refused(RefusalReason::from(&rejection), rejection.to_string()))?;
        if let Some(lease) = lease {
            let end = lease.effective_end(fence::time_to_safe(verb, function.device.time_to_safe()));
            if self.clock.now() >= end {
                return Err(NotBegun::Over(
                    RefusalReason::NoTime,
                    verdict(Ending::NeverBegun, verb.effect, Some(lease)),
                ));
            }
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

/// Why an attempt does not begin.
enum NotBegun {
    /// Closed as failed with this text.
    Refused(RefusalReason, String, Option<Box<Function>>),
    /// This follows.
    Over(RefusalReason, Verdict),
}

fn log_lost_job(job: Result<(), tokio::task::JoinError>) {
    if let Err(error) = job {
        tracing::error!(%error, "a job ended without saying how");
    }
}

/// A task that ends when nobody holds it any more.
#[derive(Debug)]
pub(super) struct AbortOnDrop(pub tokio::task::JoinHandle<()>);

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
