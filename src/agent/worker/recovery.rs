//! What a former life of the agent left: results to be told, and attempts that a crash interrupted (docs/fence.md, 5).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Turn, Worker};
use crate::agent::fence::{Close, Interrupted, Lease, Seen, Verdict, after_a_crash, lease_length};
use crate::agent::journal;
use crate::agent::lane::{End, Lane};
use crate::agent::server_clock::{Exchange, Stamp, end_seen_later};
use crate::agent::{answers, delivery};
use crate::clock::BootTime;
use crate::device::command::Pool;
use crate::device::{DeviceHandle, Effect};
use crate::protocol::Refusal;
use crate::protocol::model::Process;

/// Attempts of a former life whose devices are safe again, and about which the server is to be asked.
#[derive(Clone, Default)]
pub(super) struct Recovered(Arc<Mutex<Vec<journal::Begun>>>);

impl Recovered {
    fn add(&self, begun: journal::Begun) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(begun);
    }

    fn take(&self) -> Vec<journal::Begun> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Worker {
    /// Takes over what a former life left: results to be told, and attempts that a crash interrupted.
    pub(super) async fn load(&mut self) {
        if std::mem::replace(&mut self.loaded, true) {
            return;
        }
        let role = self.lane.role;
        let kept = self.lane.shared.keeper.with(move |journal| {
            let state = journal.state();
            let waiting = state.outbox().filter(|report| report.role == role);
            let unfinished = state.unfinished().iter().filter(|begun| begun.role == role);
            (
                waiting.cloned().collect::<Vec<_>>(),
                unfinished.cloned().collect::<Vec<_>>(),
            )
        });
        // A journal that is gone refuses everything else too.
        let Ok((waiting, unfinished)) = kept.await else {
            return;
        };
        for report in waiting {
            self.lane.reload(report);
        }
        for begun in unfinished {
            tracing::warn!(attempt = %begun.attempt, device = begun.device, verb = begun.verb, "was interrupted");
            self.lane.began(&begun.attempt);
            match self.device(&begun).filter(|_| begun.effect != Effect::Read) {
                Some(device) => self.recover(begun, device),
                None => self.take_up(begun, None).await,
            }
        }
    }

    /// The device that an attempt of a former life was about, if there is one of that name still.
    fn device(&self, begun: &journal::Begun) -> Option<Pool> {
        let registry = self.registry.current();
        let mut devices = registry.devices().iter();
        devices.find(|device| device.name() == begun.device).cloned()
    }

    /// Makes a device safe that a former life left on its way, and then ends the attempt or has the server asked. Devices are
    /// opened safe; but one that flies may take its time, and nobody else shall wait for it.
    fn recover(&mut self, begun: journal::Begun, device: Pool) {
        let (lane, recovered, stop) = (self.lane.clone(), self.recovered.clone(), self.cancel.clone());
        // From this moment on: work must not get at it first.
        let reserved: Vec<_> = device
            .handles()
            .iter()
            .filter_map(|handle| handle.reserve("being made safe after a crash").ok())
            .collect();
        self.jobs.spawn(async move {
            let fault = tokio::select! {
                biased;
                safe = device.make_safe() => safe.err(),
                // The next life takes it up again; the device is stopped as all are.
                _ = stop.cancelled() => return,
            };
            if let Some(error) = &fault {
                tracing::error!(device = device.name(), %error, "not safe after a crash");
            }
            drop(reserved);
            let became = || device.handles().iter().find_map(DeviceHandle::became);
            let afterwards = fault.map(|error| error.to_string()).or_else(became);
            match judge(&lane, &begun, None) {
                Interrupted::Over(verdict) => {
                    let verdict = match afterwards {
                        Some(text) => with_afterwards(verdict, &text),
                        None => verdict,
                    };
                    end_interrupted(&lane, begun, verdict).await;
                }
                Interrupted::Ask | Interrupted::Again => {
                    recovered.add(begun);
                    lane.nudge();
                }
            }
        });
    }

    /// Has the server asked about those whose devices were made safe meanwhile.
    pub(super) fn take_up_recovered(&mut self) {
        self.interrupted.append(&mut self.recovered.take());
    }

    /// Takes up an attempt that a crash interrupted; what the server said of it, if it was asked.
    async fn take_up(&mut self, begun: journal::Begun, seen: Option<Looked>) {
        let (seen, process) = seen
            .map(|looked| (looked.seen, looked.process.zip(looked.lease)))
            .unzip();
        match judge(&self.lane, &begun, seen) {
            Interrupted::Ask => self.interrupted.push(begun),
            Interrupted::Again => match process.flatten() {
                Some((process, lease)) => self.begin_again(begun, process, lease).await,
                None => self.interrupted.push(begun),
            },
            Interrupted::Over(verdict) => end_interrupted(&self.lane, begun, verdict).await,
        }
    }

    async fn begin_again(&mut self, begun: journal::Begun, process: Process, lease: Lease) {
        let registry = self.registry.current();
        match registry.find(&process.spec.func) {
            Ok(function) if function.verb.effect == begun.effect => {
                tracing::info!(attempt = %begun.attempt, "begun again after a crash");
                self.start(process, begun.attempt, function.clone(), Some(lease), None);
            }
            // The configuration was changed meanwhile.
            _ => end_interrupted(&self.lane, begun, Verdict::Leave).await,
        }
    }

    /// Asks the server about one attempt that a crash interrupted.
    pub(super) async fn ask_about_interrupted(&mut self) -> Turn {
        let Some(begun) = self.interrupted.last().cloned() else {
            return Turn::On;
        };
        let caller = self.caller().clone();
        let answer = caller.get_process(&begun.attempt.process_id).await;
        let told = self.lane.shared.hear(&answer);
        let process = answer.as_ref().map(|timed| &timed.value);
        let seen = answers::seen(process, &begun.attempt, caller.id());
        let process = process.ok().cloned();
        let lease = process
            .as_ref()
            .and_then(|process| old_lease(&begun, process, told));
        let looked = Looked { seen, process, lease };
        // If the agent's stop drops this while the journal is written, the next life takes it up again.
        self.interrupted.pop();
        self.take_up(begun, Some(looked)).await;
        match answer {
            Err(error) if !matches!(error.refusal(), Some(Refusal::Unknown)) => {
                self.failed(&error, "can't ask about what a crash interrupted")
            }
            _ => Turn::On,
        }
    }
}

/// What is to be done about an attempt that a crash interrupted; what the server said of it, if it was asked.
fn judge(lane: &Lane, begun: &journal::Begun, seen: Option<Seen>) -> Interrupted {
    let this_boot = lane.shared.is_this_boot(&begun.at);
    after_a_crash(
        begun.effect,
        begun.beginning,
        begun.lease_end,
        this_boot,
        seen,
        lane.clock.now(),
    )
}

/// The end of an attempt whose device could not be made safe, or tells itself what became of it: whoever submitted it is to know.
fn with_afterwards(verdict: Verdict, afterwards: &str) -> Verdict {
    match verdict {
        Verdict::Close(Close::Failed(_)) => Verdict::Close(Close::Failed(delivery::storable(&format!(
            "interrupted: the agent crashed or lost its power while it ran, and afterwards: {afterwards}"
        )))),
        other => other,
    }
}

async fn end_interrupted(lane: &Lane, begun: journal::Begun, verdict: Verdict) {
    let end = End {
        // What the journal says of its end is likely, not sure (docs/fence.md, 2): the server is asked before anything is told.
        lease: begun
            .lease_end
            .map(|_| Lease::new(BootTime::default(), Duration::ZERO)),
        attempt: begun.attempt,
        attributes: Vec::new(),
        verdict,
        begun: true,
    };
    lane.ended(end).await;
}

/// What the server said of an attempt that a crash interrupted.
struct Looked {
    seen: Seen,
    process: Option<Process>,
    /// What is left of the lease in which it began.
    lease: Option<Lease>,
}

/// The lease of a former life in this boot, bounded by what the server's clock shows now; its margin is that of its whole length.
fn old_lease(begun: &journal::Begun, process: &Process, told: Option<(Exchange, Stamp)>) -> Option<Lease> {
    let (likely, length) = begun.lease_end.zip(lease_length(process.spec.max_exec_time))?;
    let end = match told {
        Some((exchange, stamp)) => end_seen_later(likely, begun.attempt.start_time, length, exchange, stamp),
        // Such a server never let anything but the sending count.
        None => likely,
    };
    Some(Lease::new(end, length))
}
