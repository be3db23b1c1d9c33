//! The way to a device: what callers may ask of its owner task, and how they wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Command, DeviceHandle, Fault, Job, Reservation, Running, WAITING_MAX};
use crate::device::{
    Call, Context, DeviceError, Helm, Live, Outcome, Probe, READINGS_MAX, Reading, Urgency, Verb, VerbError,
    lock,
};
use crate::watch::Receiver;

/// Why a call that waited is turned away by a preempting verb.
pub(super) fn was_overtaken(device: &str) -> String {
    format!("{device} was stopped while this call waited for it")
}

impl DeviceHandle {
    /// The device's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What the device is.
    pub fn kind(&self) -> &'static str {
        self.shared.kind
    }

    /// What the device can do.
    pub fn verbs(&self) -> &[Verb] {
        &self.shared.verbs
    }

    /// One of the device's verbs.
    ///
    /// # Errors
    /// [`VerbError::UnknownVerb`], which lists those there are.
    pub fn verb(&self, name: &str) -> Result<&Verb, VerbError> {
        self.verbs()
            .iter()
            .find(|verb| verb.name == name)
            .ok_or_else(|| VerbError::UnknownVerb {
                device: self.shared.name.clone(),
                verb: name.to_owned(),
                known: self.verbs().iter().map(|verb| verb.name.to_string()).collect(),
            })
    }

    /// How long making it safe takes at worst: now where the device tells that ([`crate::device::Live`]), else as of the end
    /// of its last verb.
    pub fn time_to_safe(&self) -> Duration {
        let now = self.live().and_then(|live| live.time_to_safe());
        now.unwrap_or_else(|| *lock(&self.shared.time_to_safe))
    }

    /// What the device is doing though perhaps no verb runs ([`crate::device::Live::under_way`]).
    pub fn under_way(&self) -> Option<String> {
        self.live()?.under_way()
    }

    /// How what was last under way has ended ([`Live::became`]).
    pub fn became(&self) -> Option<String> {
        self.live()?.became()
    }

    /// Figures of the device as of now, at most [`READINGS_MAX`] and all of them finite.
    pub fn readings(&self) -> Vec<Reading> {
        let mut readings = self.live().map(|live| live.readings()).unwrap_or_default();
        readings.retain(|reading| reading.value.is_finite());
        readings.truncate(READINGS_MAX);
        readings
    }

    fn live(&self) -> Option<Arc<dyn Live>> {
        lock(&self.shared.beside).live.clone()
    }

    /// Whether a verb holds the device (queries do not).
    pub fn is_busy(&self) -> bool {
        self.shared.slot.available_permits() == 0
    }

    /// The verb that runs now.
    pub fn running(&self) -> Option<Running> {
        lock(&self.shared.running).clone()
    }

    /// Why the device takes no commands (it could not be made safe, or has latched a fault), while that is so; the
    /// receiver hears every change.
    pub fn fault(&self) -> Receiver<Option<Fault>> {
        self.shared.fault.subscribe()
    }

    /// Whether the last attempt to make it safe failed.
    #[cfg(test)]
    pub(crate) fn is_unsafe(&self) -> bool {
        self.shared
            .fault
            .borrow()
            .as_ref()
            .is_some_and(|fault| !fault.safe)
    }

    /// Whether it is an output of this machine ([`crate::device::Device::is_local_output`]).
    pub fn is_local_output(&self) -> bool {
        self.shared.local_output
    }

    /// Performs a verb and waits for its end.
    ///
    /// Work waits for a busy device at most [`Context::queue_wait`]; a query is answered beside whatever runs;
    /// a preempting verb turns away what waits, and stops what runs unless the device steers that to its end
    /// ([`crate::device::Helm`]). Dropping the future cancels the verb.
    ///
    /// # Errors
    /// Every [`VerbError`].
    pub async fn perform(&self, call: Call, context: Context) -> Result<Outcome, VerbError> {
        let verb = self.verb(&call.verb)?.clone();
        context.check()?;
        let permit = match verb.urgency {
            Urgency::Query => {
                let probe = lock(&self.shared.beside).probe.clone();
                match probe {
                    Some(probe) => return self.query(&*probe, &verb, &call, &context).await,
                    None => Some(self.wait_for_slot(&context).await?),
                }
            }
            Urgency::Work => Some(self.wait_for_slot(&context).await?),
            Urgency::Preempt => {
                self.turn_away_waiters();
                let helm = lock(&self.shared.beside).helm.clone();
                if let Some(helm) = helm
                    && let Some(answer) = steer(&*helm, &verb, &call, &context).await
                {
                    return answer;
                }
                self.shared.slot.clone().try_acquire_owned().ok()
            }
        };
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Job {
            call,
            verb,
            context,
            permit,
            reply,
        });
        self.queue
            .send(Command::Perform(job))
            .await
            .map_err(|_| self.gone())?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Stops what runs, turns away what waits and makes the device safe. Clears a fault if it succeeds.
    ///
    /// # Errors
    /// The device is not safe, or its owner task has ended.
    pub async fn make_safe(&self) -> Result<(), DeviceError> {
        self.turn_away_waiters();
        self.ask(Command::MakeSafe).await
    }

    /// Stops what runs, makes the device safe, ends the owner task and drops the device. Who asks a second time
    /// is told [`DeviceError::Gone`].
    ///
    /// # Errors
    /// The device is not safe, or its owner task had ended already.
    pub async fn shutdown(&self) -> Result<(), DeviceError> {
        self.ask(Command::Shutdown).await
    }

    /// Keeps an idle device out of use. `purpose` is what those are told who find it busy.
    ///
    /// # Errors
    /// [`VerbError::Busy`] with what runs, or [`VerbError::Gone`].
    pub fn reserve(&self, purpose: &str) -> Result<Reservation, VerbError> {
        let permit = match self.shared.slot.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(tokio::sync::TryAcquireError::Closed) => return Err(self.gone()),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(self.busy()),
        };
        *lock(&self.shared.running) = Some(Running {
            verb: purpose.to_owned(),
            process: None,
        });
        Ok(Reservation {
            shared: self.shared.clone(),
            _permit: permit,
        })
    }

    /// A sign of life: answered at once by an owner task that gets to run, also while a verb runs or the device is
    /// made safe. How long to wait for it is the caller's affair.
    ///
    /// # Errors
    /// [`DeviceError::Gone`]: the owner task has ended.
    pub async fn tick(&self) -> Result<(), DeviceError> {
        let gone = || DeviceError::Gone {
            device: self.shared.name.clone(),
        };
        let (reply, answer) = oneshot::channel();
        self.ticks.send(reply).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), DeviceError>>) -> Command,
    ) -> Result<(), DeviceError> {
        let gone = || DeviceError::Gone {
            device: self.shared.name.clone(),
        };
        let (reply, answer) = oneshot::channel();
        self.queue.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn turn_away_waiters(&self) {
        self.shared.overtaken.send_modify(|count| *count += 1);
    }

    /// Answers a query in the caller's task.
    async fn query(
        &self,
        probe: &dyn Probe,
        verb: &Verb,
        call: &Call,
        context: &Context,
    ) -> Result<Outcome, VerbError> {
        let own = context.for_device(context.cancellation().clone(), verb.max_time);
        tokio::select! {
            biased;
            result = probe.query(call, &own) => result,
            reason = own.cancellation().cancelled() => Err(VerbError::Cancelled { reason: reason.to_string() }),
            limit = own.ended() => Err(limit.error()),
        }
    }

    /// Takes the device's slot, or waits for it as long as the call may.
    async fn wait_for_slot(&self, context: &Context) -> Result<OwnedSemaphorePermit, VerbError> {
        let mut overtaken = self.shared.overtaken.subscribe();
        match self.shared.slot.clone().try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(self.gone()),
            Err(tokio::sync::TryAcquireError::NoPermits) => {}
        }
        if context.queue_wait().is_zero() {
            return Err(self.busy());
        }
        let waiting = Waiting::enter(&self.shared.waiting);
        if waiting.before >= WAITING_MAX {
            return Err(self.busy());
        }
        let patience = context.now() + context.queue_wait();
        tokio::select! {
            biased;
            () = overtaken.changed() => Err(VerbError::Cancelled {
                reason: was_overtaken(&self.shared.name),
            }),
            reason = context.cancellation().cancelled() => Err(VerbError::Cancelled { reason: reason.to_string() }),
            limit = context.ended() => Err(limit.error()),
            permit = self.shared.slot.clone().acquire_owned() => permit.map_err(|_| self.gone()),
            () = context.clock().sleep_until(patience) => Err(self.busy()),
        }
    }

    fn busy(&self) -> VerbError {
        let running = self
            .running()
            .map_or_else(|| "another process".to_owned(), |running| running.to_string());
        VerbError::Busy {
            device: self.shared.name.clone(),
            running,
        }
    }

    fn gone(&self) -> VerbError {
        VerbError::Gone {
            device: self.shared.name.clone(),
        }
    }
}

/// Asks the helm in the caller's task, within the call's own bounds.
async fn steer(
    helm: &dyn Helm,
    verb: &Verb,
    call: &Call,
    context: &Context,
) -> Option<Result<Outcome, VerbError>> {
    let own = context.for_device(context.cancellation().clone(), verb.max_time);
    tokio::select! {
        biased;
        answer = helm.steer(call, &own) => answer,
        reason = own.cancellation().cancelled() => {
            Some(Err(VerbError::Cancelled { reason: reason.to_string() }))
        }
        limit = own.ended() => Some(Err(limit.error())),
    }
}

impl std::fmt::Debug for DeviceHandle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DeviceHandle")
            .field("name", &self.shared.name)
            .field("kind", &self.shared.kind)
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

/// Counts a call among those who wait, until dropped.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    /// How many waited already.
    before: usize,
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Waiting {
            count,
            before: count.fetch_add(1, Ordering::SeqCst),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}
