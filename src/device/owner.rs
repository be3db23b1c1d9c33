//! One owner task per device: it alone touches the device, and does one verb at a time.
//!
//! The task stops a verb when its caller does, when its lease or its longest time is over, or when a preempting
//! verb comes that its helm ([`super::Helm`]) does not take over; and it makes the device safe after every verb that may
//! have left it half way. What it was told last counts: a preempting verb also turns away everything that waited.
//!
//! | a verb ends | the device is then |
//! | --- | --- |
//! | well | as the verb left it (latched) |
//! | with a usage error, or before it began | untouched |
//! | overruled by the device's own rules | where these have put it |
//! | failed, cancelled, over its time (not *read*) | made safe |
//! | stopped by a preempting verb (not *read*) | left to that verb; made safe if that ends badly |
//! | steered by a preempting verb | as any verb that ends: it went on, and tells its own end |
//!
//! A device that cannot be made safe, or that has latched a fault of its own, is *faulted*: only reading, preempting and
//! making safe are let through. It is tried again when [`Device::tend`] says that this is worth it.
//!
//! Between verbs the device is tended: it follows its own rules, and may act by them. That, too, is in this task, so the
//! device never does two things at once; whatever comes for it interrupts the tending at an await. When what it did by
//! itself goes wrong, it is made safe. At the end it is stopped ([`Device::stop`]), once.

mod handle;
mod tick;

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::beside::Beside;
use super::{
    Call, Cancellation, Context, Device, DeviceError, Effect, Limit, Outcome, Urgency, Verb, VerbError, lock,
};
use crate::clock::{BootTime, SharedClock};
use crate::watch::Watched;

/// How long a stopped verb may take to return before its future is dropped wherever it waits. Well within the
/// margin that every lease keeps (docs/fence.md, section 2: 250 ms, or a tenth of `maxexectime`).
pub const STOP_GRACE: Duration = Duration::from_millis(50);
/// What making safe may take beyond [`Device::time_to_safe`].
pub const SAFE_ALLOWANCE: Duration = Duration::from_secs(5);
/// So many messages may lie before an owner task. More than one verb comes only by preempting.
const QUEUE: usize = 16;
/// So many calls may wait for a busy device.
const WAITING_MAX: usize = 64;

/// What a device is busy with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The verb.
    pub verb: String,
    /// The process for which it runs, if the caller named one.
    pub process: Option<String>,
}

impl std::fmt::Display for Running {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.process {
            Some(process) => out.write_str(process),
            None => out.write_str(&self.verb),
        }
    }
}

/// The way to a device: cheap to clone, usable from every task.
#[derive(Clone)]
pub struct DeviceHandle {
    // Only handles hold senders: when the last handle goes, the owner task makes the device safe and ends.
    queue: mpsc::Sender<Command>,
    ticks: tick::Asking,
    shared: Arc<Shared>,
}

/// A device kept out of use: work is refused as busy until this is dropped. What stops the device, makes it safe or
/// only asks goes through.
pub struct Reservation {
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *lock(&self.shared.running) = None;
    }
}

/// What handles and owner task both see.
struct Shared {
    name: String,
    kind: &'static str,
    verbs: Vec<Verb>,
    /// Taken away at the end, since they may share the device's line or port, which is to be released then.
    beside: Mutex<Beside>,
    /// One permit: whoever holds it has the device. Taken before a verb is sent, returned before it is answered.
    slot: Arc<Semaphore>,
    waiting: AtomicUsize,
    running: Mutex<Option<Running>>,
    time_to_safe: Mutex<Duration>,
    /// Counts what stops the device from outside; whoever waits while it rises is turned away.
    overtaken: Watched<u64>,
    fault: Watched<Option<Fault>>,
    local_output: bool,
}

/// Why a device takes no commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, for people.
    pub text: String,
    /// It is safe all the same: the fault is latched. Else the last attempt to make it safe failed.
    pub safe: bool,
}

/// A verb on its way to the device.
struct Job {
    call: Call,
    verb: Verb,
    context: Context,
    /// The device's slot. A preempting verb comes without if another verb holds it, and inherits that.
    permit: Option<OwnedSemaphorePermit>,
    reply: oneshot::Sender<Result<Outcome, VerbError>>,
}

enum Command {
    Perform(Box<Job>),
    MakeSafe(oneshot::Sender<Result<(), DeviceError>>),
    Shutdown(oneshot::Sender<Result<(), DeviceError>>),
}

/// A state to put the device into.
enum Rest {
    /// Nobody may drive it.
    Safe,
    /// The agent stops.
    Stopped,
}

/// Why the owner stops a verb.
enum Stop {
    Caller(Arc<str>),
    Limit(Limit),
    Preempted(String),
    MadeSafe,
    Shutdown,
}

impl Stop {
    /// The reason that the device is given.
    fn reason(&self) -> Arc<str> {
        match self {
            Stop::Caller(reason) => reason.clone(),
            Stop::Limit(limit) => limit.error().to_string().into(),
            Stop::Preempted(by) => format!("stopped by {by}").into(),
            Stop::MadeSafe => "the device was made safe".into(),
            Stop::Shutdown => "the agent is stopping".into(),
        }
    }

    fn error(&self) -> VerbError {
        match self {
            Stop::Limit(limit) => limit.error(),
            other => VerbError::Cancelled {
                reason: other.reason().to_string(),
            },
        }
    }
}

/// Starts a device's owner task on the current tokio runtime.
pub fn spawn(device: Box<dyn Device>, clock: SharedClock) -> DeviceHandle {
    let (handle, owner) = assemble(device, clock);
    tokio::spawn(owner.run());
    handle
}

/// A handle of a device that nobody owns: it tells name and verbs, and whatever it is asked to do is refused as
/// [`VerbError::Gone`]. For looking at a configuration: the device is dropped at once, and never made safe.
pub fn unowned(device: Box<dyn Device>, clock: SharedClock) -> DeviceHandle {
    assemble(device, clock).0
}

/// An owner task that the caller has to run, or not: for tests of what hangs.
#[cfg(test)]
pub(crate) fn paused(
    device: Box<dyn Device>,
    clock: SharedClock,
) -> (DeviceHandle, impl Future<Output = ()> + Send) {
    let (handle, owner) = assemble(device, clock);
    (handle, owner.run())
}

fn assemble(device: Box<dyn Device>, clock: SharedClock) -> (DeviceHandle, Owner) {
    let (queue, commands) = mpsc::channel(QUEUE);
    let (asking, ticks) = tick::channel();
    let shared = Arc::new(Shared {
        name: device.name().to_owned(),
        kind: device.kind(),
        verbs: device.verbs().to_vec(),
        beside: Mutex::new(Beside {
            probe: device.probe(),
            helm: device.helm(),
            live: device.live(),
        }),
        slot: Arc::new(Semaphore::new(1)),
        waiting: AtomicUsize::new(0),
        running: Mutex::new(None),
        time_to_safe: Mutex::new(device.time_to_safe()),
        overtaken: Watched::new(0),
        fault: Watched::new(None),
        local_output: device.is_local_output(),
    });
    let owner = Owner {
        device,
        clock,
        commands,
        ticks,
        backlog: VecDeque::new(),
        inherited: None,
        owes_safe: false,
        shared: shared.clone(),
    };
    let handle = DeviceHandle {
        queue,
        ticks: asking,
        shared,
    };
    (handle, owner)
}

/// The task's own state.
struct Owner {
    device: Box<dyn Device>,
    clock: SharedClock,
    commands: mpsc::Receiver<Command>,
    ticks: tick::Ticks,
    /// What came while a verb ran, in order.
    backlog: VecDeque<Command>,
    /// The slot of a verb that was preempted, for the verb that did it.
    inherited: Option<OwnedSemaphorePermit>,
    /// A verb was stopped half way and left to the one that preempted it.
    owes_safe: bool,
    shared: Arc<Shared>,
}

impl Owner {
    async fn run(mut self) {
        let last = loop {
            let command = match self.backlog.pop_front() {
                Some(command) => Some(command),
                None => self.next_command().await,
            };
            match command {
                Some(Command::Perform(job)) => self.perform(*job).await,
                Some(Command::MakeSafe(reply)) => {
                    let result = self.make_safe().await;
                    let _ = reply.send(result);
                }
                Some(Command::Shutdown(reply)) => break Some(reply),
                None => break None,
            }
        };
        // Nothing new is taken; who waits in the queue or for the slot hears that the device is gone.
        self.commands.close();
        self.shared.slot.close();
        let result = self.put(Rest::Stopped).await;
        if let (Err(error), None) = (&result, &last) {
            tracing::error!(device = %self.shared.name, %error, "not safe at the end");
        }
        // Lines and ports are released before the answer, so that who waited for it may take them.
        *lock(&self.shared.beside) = Beside::default();
        drop(self);
        if let Some(reply) = last {
            let _ = reply.send(result);
        }
    }

    /// Waits for something to do, and lets the device look after itself meanwhile.
    async fn next_command(&mut self) -> Option<Command> {
        loop {
            let tended = tokio::select! {
                biased;
                command = self.commands.recv() => return command,
                never = self.ticks.answer() => match never {},
                tended = self.device.tend() => tended,
            };
            if let Err(error) = &tended {
                tracing::error!(device = %self.shared.name, %error, "it went wrong by its own rules; it is made safe");
            }
            if tended.is_err() || self.shared.fault.borrow().is_some() {
                // Its outcome is the fault, which is told where it changes.
                let _ = self.make_safe().await;
            }
            *lock(&self.shared.time_to_safe) = self.device.time_to_safe();
        }
    }

    /// Performs one verb, with everything that follows from its end, and answers.
    async fn perform(&mut self, mut job: Job) {
        job.permit = job.permit.or_else(|| self.inherited.take());
        // The verb that held the slot when this one came to preempt it may have ended by itself.
        job.permit = job
            .permit
            .or_else(|| self.shared.slot.clone().try_acquire_owned().ok());
        let (result, stop, began) = match self.may_begin(&job) {
            Ok(()) => {
                *lock(&self.shared.running) = Some(Running {
                    verb: job.verb.name.to_string(),
                    process: job.context.process().map(str::to_owned),
                });
                let (result, stop) = self.attempt(&mut job).await;
                (result, stop, true)
            }
            Err(error) => (Err(error), None, false),
        };
        let result = self.settle(&job.verb, result, stop.as_ref(), began).await;
        if let Some(Stop::Preempted(_)) = stop {
            self.inherited = job.permit.take();
        }
        *lock(&self.shared.time_to_safe) = self.device.time_to_safe();
        *lock(&self.shared.running) = None;
        // The slot is free before the answer is out: who asks again at once finds the device idle.
        drop(job.permit);
        let _ = job.reply.send(result);
    }

    /// Whether a verb may begin; if not, the device was not touched.
    fn may_begin(&self, job: &Job) -> Result<(), VerbError> {
        if job.reply.is_closed() {
            return Err(VerbError::Cancelled {
                reason: CALLER_GONE.to_owned(),
            });
        }
        job.context.check_beginning()?;
        if self.owes_safe && job.verb.urgency == Urgency::Work && job.verb.effect != Effect::Read {
            // It came before the verb that preempted, whose turn it is.
            return Err(VerbError::Cancelled {
                reason: handle::was_overtaken(&self.shared.name),
            });
        }
        let fault = self.shared.fault.borrow().clone();
        match fault {
            Some(fault) if job.verb.effect != Effect::Read && job.verb.urgency != Urgency::Preempt => {
                Err(VerbError::Faulted {
                    device: self.shared.name.clone(),
                    fault: fault.text,
                })
            }
            _ => Ok(()),
        }
    }

    /// Lets the device perform until it returns, or is stopped and returns or is dropped.
    async fn attempt(&mut self, job: &mut Job) -> (Result<Outcome, VerbError>, Option<Stop>) {
        let Job {
            call,
            verb,
            context,
            reply,
            ..
        } = job;
        let token = Cancellation::new();
        let own = context.for_device(token.clone(), verb.max_time);
        let mut work = self.device.perform(call, &own);
        // Something that stops verbs may have come with the one that let this one in; this one gets one chance.
        let mut waiting = self
            .backlog
            .iter()
            .find_map(|command| stop_for(command, &self.shared.name));
        let mut stop: Option<Stop> = None;
        let mut patience = None;
        let ended = loop {
            let stopped = stop.is_some();
            let new_stop = tokio::select! {
                biased;
                ended = &mut work => break Some(ended),
                never = self.ticks.answer() => match never {},
                () = sleep_until(&self.clock, patience) => break None,
                () = std::future::ready(()), if !stopped && waiting.is_some() => match waiting.take() {
                    Some(cause) => cause,
                    None => continue,
                },
                limit = own.ended(), if !stopped => Stop::Limit(limit),
                reason = context.cancellation().cancelled(), if !stopped => Stop::Caller(reason),
                () = reply.closed(), if !stopped => Stop::Caller(CALLER_GONE.into()),
                Some(command) = self.commands.recv(), if self.backlog.len() < QUEUE => {
                    let cause = stop_for(&command, &self.shared.name);
                    self.backlog.push_back(command);
                    match cause {
                        Some(cause) if !stopped => cause,
                        _ => continue,
                    }
                }
            };
            token.cancel(new_stop.reason());
            stop = Some(new_stop);
            patience = Some(self.clock.now() + STOP_GRACE);
        };
        let result = match ended {
            Some(result) => result,
            None => {
                tracing::warn!(device = %self.shared.name, verb = %verb.name, "verb did not stop in time; dropped");
                Err(VerbError::Cancelled {
                    reason: String::new(),
                })
            }
        };
        // A verb that was stopped did not end well, whatever it says.
        match &stop {
            Some(cause) => (Err(cause.error()), stop),
            None => (result, stop),
        }
    }

    /// Makes the device safe where the end of a verb asks for it (the table above).
    async fn settle(
        &mut self,
        verb: &Verb,
        result: Result<Outcome, VerbError>,
        stop: Option<&Stop>,
        began: bool,
    ) -> Result<Outcome, VerbError> {
        let cause = match result {
            Ok(outcome) => {
                // What a preempted verb left half way is settled by a preempting verb, not by a read.
                self.owes_safe &= verb.effect == Effect::Read;
                return Ok(outcome);
            }
            Err(cause) => cause,
        };
        let acted = began && (stop.is_some() || !cause.leaves_it_settled());
        let half_way = acted && verb.effect != Effect::Read;
        if let Some(Stop::Preempted(_)) = stop {
            self.owes_safe |= half_way;
            return Err(cause);
        }
        if !(half_way || self.owes_safe) {
            return Err(cause);
        }
        match self.make_safe().await {
            Ok(()) => Err(cause),
            Err(fault) => Err(VerbError::NotSafe {
                cause: Box::new(cause),
                fault: fault.to_string(),
            }),
        }
    }

    /// Makes the device safe within its bound and keeps or clears the fault.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.put(Rest::Safe).await
    }

    async fn put(&mut self, rest: Rest) -> Result<(), DeviceError> {
        let bound = self.device.time_to_safe() + SAFE_ALLOWANCE;
        let device = self.shared.name.clone();
        let deadline = self.clock.now() + bound;
        let work = match rest {
            Rest::Safe => self.device.make_safe(),
            Rest::Stopped => self.device.stop(),
        };
        let result = tokio::select! {
            biased;
            result = work => result,
            never = self.ticks.answer() => match never {},
            () = self.clock.sleep_until(deadline) => Err(DeviceError::SafeTimedOut { device, waited: bound }),
        };
        if result.is_ok() {
            self.owes_safe = false;
        }
        *lock(&self.shared.time_to_safe) = self.device.time_to_safe();
        let safe = result.is_ok();
        let text = match &result {
            Ok(()) => self.device.latched(),
            Err(error) => Some(error.to_string()),
        };
        let fault = text.map(|text| Fault { text, safe });
        // Told where it changes: what fails again and again must not fill the log.
        let changed = *self.shared.fault.borrow() != fault;
        if changed {
            match &fault {
                Some(Fault { text, safe }) => {
                    tracing::error!(device = %self.shared.name, fault = text, safe, "device is faulted");
                }
                None => tracing::info!(device = %self.shared.name, "device is safe again"),
            }
            self.shared.fault.send_replace(fault);
        }
        result
    }
}

/// Whoever called dropped the future.
const CALLER_GONE: &str = "whoever asked for it no longer waits";

/// Whether a command that comes while a verb runs stops that verb.
fn stop_for(command: &Command, device: &str) -> Option<Stop> {
    match command {
        // A preempting verb that may not act any more must not stop others.
        Command::Perform(job) if job.verb.urgency == Urgency::Preempt && job.context.check().is_ok() => {
            Some(Stop::Preempted(format!("{device}.{}", job.verb.name)))
        }
        Command::Perform(_) => None,
        Command::MakeSafe(_) => Some(Stop::MadeSafe),
        Command::Shutdown(_) => Some(Stop::Shutdown),
    }
}

/// Waits for a moment, for ever if there is none.
async fn sleep_until(clock: &SharedClock, deadline: Option<BootTime>) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod beside_tests;
#[cfg(test)]
mod tests;
