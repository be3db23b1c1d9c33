//! What a former life of the agent left: results to be told, and attempts that a crash interrupted (docs/fence.md, 5).

use std::time::Duration;

use super::{Turn, Worker};
use crate::agent::answers;
use crate::agent::fence::{Interrupted, Lease, Seen, Verdict, after_a_crash, lease_length};
use crate::agent::journal;
use crate::agent::lane::End;
use crate::agent::server_clock::{Exchange, Stamp, end_seen_later};
use crate::clock::BootTime;
use crate::device::Effect;
use crate::protocol::Refusal;
use crate::protocol::model::Process;

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
            if begun.effect != Effect::Read {
                self.make_safe(&begun.device).await;
            }
            self.take_up(begun, None).await;
        }
    }

    /// Devices are opened safe; this is for those that a former life left on its way.
    async fn make_safe(&self, device: &str) {
        let registry = self.registry.current();
        let mut devices = registry.devices().iter();
        if let Some(device) = devices.find(|handle| handle.name() == device)
            && let Err(error) = device.make_safe().await
        {
            tracing::error!(device = device.name(), %error, "not safe after a crash");
        }
    }

    /// Takes up an attempt that a crash interrupted; what the server said of it, if it was asked.
    async fn take_up(&mut self, begun: journal::Begun, seen: Option<Looked>) {
        let (seen, process) = seen
            .map(|looked| (looked.seen, looked.process.zip(looked.lease)))
            .unzip();
        let this_boot = self.lane.shared.is_this_boot(&begun.at);
        let now = self.clock.now();
        match after_a_crash(begun.effect, begun.lease_end, this_boot, seen, now) {
            Interrupted::Ask => self.interrupted.push(begun),
            Interrupted::Again => match process.flatten() {
                Some((process, lease)) => self.begin_again(begun, process, lease).await,
                None => self.interrupted.push(begun),
            },
            Interrupted::Over(verdict) => self.end_interrupted(begun, verdict).await,
        }
    }

    async fn end_interrupted(&self, begun: journal::Begun, verdict: Verdict) {
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
        self.lane.ended(end).await;
    }

    async fn begin_again(&mut self, begun: journal::Begun, process: Process, lease: Lease) {
        let registry = self.registry.current();
        match registry.find(&process.spec.func) {
            Ok(function) if function.verb.effect == begun.effect => {
                tracing::info!(attempt = %begun.attempt, "begun again after a crash");
                self.start(process, begun.attempt, function.clone(), Some(lease), None);
            }
            // The configuration was changed meanwhile.
            _ => self.end_interrupted(begun, Verdict::Leave).await,
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
