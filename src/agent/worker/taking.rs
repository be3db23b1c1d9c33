//! Asking for work, and what becomes of what was assigned: a job, or an end at once.

use std::sync::Arc;
use std::time::Duration;

use super::{LONGEST_POLL, POLL_SLACK, Turn, Worker};
use crate::agent::delivery;
use crate::agent::fence::{self, Attempt, Close, Ending, Lease, Verdict, lease_length, verdict};
use crate::agent::job::{self, Job};
use crate::agent::journal::Role;
use crate::agent::lane::End;
use crate::agent::metrics::RefusalReason;
use crate::agent::registry::Function;
use crate::agent::server_clock::LeaseEnds;
use crate::agent::shared::exchange;
use crate::client::{ClientError, ServerUrl, Stamps, Timed};
use crate::clock::BootTime;
use crate::device::{Origin, Urgency};
use crate::protocol::control;
use crate::protocol::model::Process;

/// How long a poll lasts while the server's clock is not known well enough to tell when a lease began.
const BLIND_POLL: Duration = Duration::from_secs(1);
/// Polls that come back empty faster than this are not held by the server as they should be.
const QUICK: Duration = Duration::from_millis(200);
/// How many such polls in a row are no reason for a pause: each is another runtime that won.
const QUICK_IN_A_ROW: u32 = 5;

impl Worker {
    fn poll_time(&self) -> Duration {
        let now = self.clock.now();
        if self.lane.shared.server_clock(|clock| clock.is_narrow(now)) {
            self.settings.poll_time.min(LONGEST_POLL)
        } else {
            self.settings.poll_time.min(BLIND_POLL)
        }
    }

    pub(super) async fn take_work(&mut self) -> Turn {
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
    pub(super) fn start(
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
}

/// Why an attempt does not begin.
enum NotBegun {
    /// Closed as failed with this text.
    Refused(RefusalReason, String, Option<Box<Function>>),
    /// This follows.
    Over(RefusalReason, Verdict),
}
