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
mod taking;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::agent::answers::is_about_membership;
use crate::agent::backoff::{Backoff, Random};
use crate::agent::delivery::{self, LAST_DELIVERY};
use crate::agent::enrolment::Enrolment;
use crate::agent::journal::{self, Role};
use crate::agent::lane::Lane;
use crate::agent::registry::SharedRegistry;
use crate::agent::shared::Shared;
use crate::client::{Caller, ClientError};
use crate::clock::{BootTime, SharedClock};
use crate::device::Cancellation;

/// The longest poll there is: proxies cut idle requests after a minute, and a lost one delays a reconcile.
pub const LONGEST_POLL: Duration = Duration::from_secs(30);
/// How long after its poll time a request that was lost may still be at work in the server.
const POLL_SLACK: Duration = Duration::from_secs(2);
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
