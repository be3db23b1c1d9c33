//! What a verb is given beside its arguments: the time, its end, whether to stop, where to report.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{CONFIRM_MAX_AGE, Confirmation, Confirmed, VerbError};
use crate::clock::{BootTime, SharedClock};
use crate::watch::Watched;

/// A token that says once and for all that something shall stop, and why. Clones share the same fate.
#[derive(Clone)]
pub struct Cancellation {
    reason: Watched<Option<Arc<str>>>,
}

impl Cancellation {
    /// Not cancelled.
    pub fn new() -> Self {
        Cancellation {
            reason: Watched::new(None),
        }
    }

    /// Cancels. The first reason stays; later calls change nothing.
    pub fn cancel(&self, reason: impl Into<Arc<str>>) {
        let reason = reason.into();
        self.reason.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// Why it was cancelled, if it was.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.reason.borrow().clone()
    }

    /// Waits until it is cancelled and says why. Safe to drop and to call again.
    pub async fn cancelled(&self) -> Arc<str> {
        self.reason.find(Clone::clone).await
    }
}

impl Default for Cancellation {
    fn default() -> Self {
        Cancellation::new()
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cancellation")
            .field("reason", &self.reason())
            .finish()
    }
}

/// Takes what a running verb reports: name and value of an attribute. Called from the owner task: must not block.
pub type ProgressSink = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// What ends a verb that does not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The effective end of the lease.
    Lease,
    /// The verb's own longest time.
    MaxTime(Duration),
}

impl Limit {
    /// The error of a verb that ran into this limit.
    pub fn error(self) -> VerbError {
        match self {
            Limit::Lease => VerbError::LeaseOver,
            Limit::MaxTime(max_time) => VerbError::Overran { max_time },
        }
    }
}

/// Who sent the work: what programs are told about it (docs/protocol/runtime-dialect.md, section 6). No keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The colony's id.
    pub colony: String,
    /// The server's host.
    pub server_host: String,
    /// The server's port.
    pub server_port: String,
    /// The id of this agent's runtime.
    pub runtime: String,
}

/// The circumstances of one call.
#[derive(Clone)]
pub struct Context {
    clock: SharedClock,
    cancellation: Cancellation,
    end: Option<(BootTime, Limit)>,
    begin_by: Option<BootTime>,
    progress: Option<ProgressSink>,
    process: Option<Arc<str>>,
    origin: Option<Arc<Origin>>,
    queue_wait: Duration,
    confirmation: Option<Arc<dyn Confirmation>>,
}

impl Context {
    /// No lease, nobody to cancel, nobody who listens, no waiting for a busy device.
    pub fn new(clock: SharedClock) -> Self {
        Context {
            clock,
            cancellation: Cancellation::new(),
            end: None,
            begin_by: None,
            progress: None,
            process: None,
            origin: None,
            queue_wait: Duration::ZERO,
            confirmation: None,
        }
    }

    /// Stops when `cancellation` does.
    #[must_use]
    pub fn with_cancellation(mut self, cancellation: Cancellation) -> Self {
        self.cancellation = cancellation;
        self
    }

    /// Nothing may be driven from `end` on: the *effective* end of the lease, that is lease end − margin −
    /// `time_to_safe` (docs/fence.md, section 2). `None`: no lease, the verb's `max_time` alone counts.
    #[must_use]
    pub fn with_lease(mut self, end: Option<BootTime>) -> Self {
        self.end = end.map(|at| (at, Limit::Lease));
        self
    }

    /// The verb must not begin from this moment on: what allowed it is too old by then (docs/fence.md, section 3).
    #[must_use]
    pub fn with_begin_by(mut self, moment: Option<BootTime>) -> Self {
        self.begin_by = moment;
        self
    }

    /// Where the verb's progress goes.
    #[must_use]
    pub fn with_progress(mut self, sink: ProgressSink) -> Self {
        self.progress = Some(sink);
        self
    }

    /// For whom the verb runs (a process id); shown to those who find the device busy.
    #[must_use]
    pub fn with_process(mut self, process: impl Into<Arc<str>>) -> Self {
        self.process = Some(process.into());
        self
    }

    /// Who sent the work.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<Arc<Origin>>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// How long the call may wait for a busy device; zero (the default) refuses at once.
    #[must_use]
    pub fn with_queue_wait(mut self, span: Duration) -> Self {
        self.queue_wait = span;
        self
    }

    /// Whom to ask in the middle of the verb whether the work is still ours. Without, nobody else could have taken it.
    #[must_use]
    pub fn with_confirmation(mut self, confirmation: Arc<dyn Confirmation>) -> Self {
        self.confirmation = Some(confirmation);
        self
    }

    /// The clock by which everything is decided.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Now, in boot time.
    pub fn now(&self) -> BootTime {
        self.clock.now()
    }

    /// When the verb must have ended, and what says so.
    pub fn end(&self) -> Option<(BootTime, Limit)> {
        self.end
    }

    /// The token that stops this call.
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// For whom the verb runs.
    pub fn process(&self) -> Option<&str> {
        self.process.as_deref()
    }

    /// Who sent the work, if the caller said so.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// How long the call may wait for a busy device.
    pub fn queue_wait(&self) -> Duration {
        self.queue_wait
    }

    /// Reports an attribute while the verb runs.
    pub fn progress(&self, name: &str, value: &str) {
        if let Some(sink) = &self.progress {
            sink(name, value);
        }
    }

    /// Whether the verb may still act: to be asked immediately before every actuation.
    ///
    /// # Errors
    /// [`VerbError::Cancelled`], [`VerbError::LeaseOver`] or [`VerbError::Overran`].
    pub fn check(&self) -> Result<(), VerbError> {
        if let Some(reason) = self.cancellation.reason() {
            return Err(VerbError::Cancelled {
                reason: reason.to_string(),
            });
        }
        match self.end {
            Some((at, limit)) if self.now() >= at => Err(limit.error()),
            _ => Ok(()),
        }
    }

    /// Whether the verb may begin: asked when the device is free for it, and by a device that had to wait before its first step
    /// (for a port, for a time off), right before that step. Never after it: who is too late to begin is let begin anew.
    ///
    /// # Errors
    /// As [`Context::check`], and [`VerbError::TooLateToBegin`].
    pub fn check_beginning(&self) -> Result<(), VerbError> {
        self.check()?;
        match self.begin_by {
            Some(moment) if self.now() >= moment => Err(VerbError::TooLateToBegin),
            _ => Ok(()),
        }
    }

    /// Asks whether the work is still ours, before a step of the verb that must not be taken for nobody: once more than
    /// the fence did before the verb began (docs/fence.md, section 3). [`Confirmed::Unclear`] as well when the verb has to
    /// stop meanwhile, which [`Context::check`] then says.
    ///
    /// May be dropped wherever it waits.
    pub async fn confirm(&self) -> Confirmed {
        let Some(confirmation) = &self.confirmation else {
            return Confirmed::Until(self.now() + CONFIRM_MAX_AGE);
        };
        tokio::select! {
            biased;
            _ = self.cancellation.cancelled() => Confirmed::Unclear,
            _ = self.ended() => Confirmed::Unclear,
            confirmed = confirmation.confirm() => confirmed,
        }
    }

    /// Waits on the clock for `span`, or until the verb has to stop.
    ///
    /// # Errors
    /// As [`Context::check`], of the moment the wait ended.
    pub async fn sleep(&self, span: Duration) -> Result<(), VerbError> {
        let deadline = self.now() + span;
        let wake = self.end.map_or(deadline, |(at, _)| deadline.min(at));
        tokio::select! {
            biased;
            _ = self.cancellation.cancelled() => {}
            () = self.clock.sleep_until(wake) => {}
        }
        self.check()
    }

    /// Waits until the end has come; for ever where there is none.
    pub(super) async fn ended(&self) -> Limit {
        match self.end {
            Some((at, limit)) => {
                self.clock.sleep_until(at).await;
                limit
            }
            None => std::future::pending().await,
        }
    }

    /// What the device is given: a token of the owner's own, and an end that `max_time` may have brought closer.
    pub(super) fn for_device(&self, cancellation: Cancellation, max_time: Duration) -> Context {
        let own_end = self.now() + max_time;
        let end = match self.end {
            Some(lease) if lease.0 <= own_end => lease,
            _ => (own_end, Limit::MaxTime(max_time)),
        };
        Context {
            cancellation,
            end: Some(end),
            ..self.clone()
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Context")
            .field("cancellation", &self.cancellation)
            .field("end", &self.end)
            .field("begin_by", &self.begin_by)
            .field("process", &self.process)
            .field("origin", &self.origin)
            .field("queue_wait", &self.queue_wait)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, TestClock};

    #[tokio::test(start_paused = true)]
    async fn the_first_reason_stays_and_every_clone_hears_it() {
        let token = Cancellation::new();
        let listener = tokio::spawn({
            let token = token.clone();
            async move { token.cancelled().await }
        });
        assert!(!token.is_cancelled());
        token.cancel("first");
        token.cancel("second");
        assert_eq!(&*listener.await.unwrap(), "first");
        assert_eq!(
            &*token.cancelled().await,
            "first",
            "who asks late hears it at once"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn check_refuses_from_the_end_on_and_not_before() {
        let clock = TestClock::new(0);
        let end = clock.now() + Duration::from_secs(5);
        let context = Context::new(clock.clone()).with_lease(Some(end));
        tokio::time::advance(Duration::from_millis(4_999)).await;
        assert!(context.check().is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(
            matches!(context.check(), Err(VerbError::LeaseOver)),
            "the end itself is too late"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_go_on_may_still_be_too_late_to_begin() {
        let clock = TestClock::new(0);
        let by = clock.now() + Duration::from_secs(1);
        let context = Context::new(clock.clone()).with_begin_by(Some(by));
        assert!(context.check_beginning().is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(context.check().is_ok());
        let late = context.check_beginning();
        assert!(matches!(late, Err(VerbError::TooLateToBegin)), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_by_itself_by_the_lease_or_by_cancellation() {
        let clock = TestClock::new(0);
        let context = Context::new(clock.clone());
        context.sleep(Duration::from_secs(3)).await.unwrap();
        assert_eq!(clock.now().as_nanos(), 3_000_000_000);

        let leased = context
            .clone()
            .with_lease(Some(clock.now() + Duration::from_secs(1)));
        assert!(matches!(
            leased.sleep(Duration::from_secs(60)).await,
            Err(VerbError::LeaseOver)
        ));
        assert_eq!(clock.now().as_nanos(), 4_000_000_000);

        let token = context.cancellation().clone();
        let (slept, ()) = tokio::join!(context.sleep(Duration::from_secs(60)), async {
            clock.sleep_until(BootTime::from_nanos(5_000_000_000)).await;
            token.cancel("enough");
        });
        assert_eq!(slept.unwrap_err().to_string(), "cancelled: enough");
        assert_eq!(clock.now().as_nanos(), 5_000_000_000);
    }

    /// Answers after a second that it was ours when it was asked.
    struct Slow(Arc<TestClock>);

    #[async_trait::async_trait]
    impl Confirmation for Slow {
        async fn confirm(&self) -> Confirmed {
            let asked_at = self.0.now();
            self.0.sleep_until(asked_at + Duration::from_secs(1)).await;
            Confirmed::Until(asked_at + CONFIRM_MAX_AGE)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_confirmation_is_asked_for_and_never_outlives_the_verb() {
        let clock = TestClock::new(0);
        let at = |millis: u64| BootTime::from_nanos(millis * 1_000_000);
        let alone = Context::new(clock.clone());
        assert_eq!(alone.confirm().await, Confirmed::Until(at(1_000)));
        assert_eq!(clock.now(), at(0), "nobody to ask");

        let asked = alone.with_confirmation(Arc::new(Slow(clock.clone())));
        // The device's own context asks the same.
        let own = asked.for_device(Cancellation::new(), Duration::from_secs(60));
        assert_eq!(own.confirm().await, Confirmed::Until(at(1_000)));
        assert_eq!(clock.now(), at(1_000));

        let leased = asked.clone().with_lease(Some(at(1_500)));
        assert_eq!(leased.confirm().await, Confirmed::Unclear);
        assert_eq!(clock.now(), at(1_500));
        assert!(matches!(leased.check(), Err(VerbError::LeaseOver)));

        let token = asked.cancellation().clone();
        let (confirmed, ()) = tokio::join!(asked.confirm(), async {
            clock.sleep_until(at(1_700)).await;
            token.cancel("enough");
        });
        assert_eq!((confirmed, clock.now()), (Confirmed::Unclear, at(1_700)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_lease_and_max_time_counts() {
        let clock = TestClock::new(0);
        let at = |seconds| clock.now() + Duration::from_secs(seconds);
        let leased = |end| Context::new(clock.clone()).with_lease(end);
        let device = |context: Context| {
            context
                .for_device(Cancellation::new(), Duration::from_secs(10))
                .end()
        };
        let max_time = Limit::MaxTime(Duration::from_secs(10));
        assert_eq!(device(leased(None)), Some((at(10), max_time)));
        assert_eq!(device(leased(Some(at(9)))), Some((at(9), Limit::Lease)));
        assert_eq!(device(leased(Some(at(11)))), Some((at(10), max_time)));
    }
}
