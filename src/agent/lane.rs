//! What the tasks of one lane share: what runs and what waits to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backoff::Random;
use super::fence::{Attempt, Lease, Verdict};
use super::journal::{self, Ended, Record, Role};
use super::metrics::AttemptOutcome;
use super::outbox::{Gone, News, Outbox, Report};
use super::shared::Shared;
use super::worker::LaneSettings;
use crate::clock::SharedClock;
use crate::protocol::model::Attribute;
use crate::watch::{Receiver, Watched};

/// Attempts left to the server's requeue are remembered, so that reconciling leaves them alone too.
const LEFT_MAX: usize = 1024;
/// What the journal says of them.
const LEFT: &str = "its lease ended, and the server's own time limit puts it back";

/// The state of one lane.
pub(super) struct Lane {
    pub clock: SharedClock,
    pub role: Role,
    pub shared: Arc<Shared>,
    state: Mutex<State>,
    /// Rises with every change of the state.
    changes: Watched<u64>,
}

struct State {
    outbox: Outbox,
    running: BTreeMap<String, Attempt>,
    left: VecDeque<Attempt>,
}

/// What a lane holds of its runtime's processes, at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// They run here, or their results wait.
    pub processes: BTreeSet<String>,
    /// Attempts that end by the server's own time limit.
    pub left: Vec<Attempt>,
}

/// How an attempt ended.
pub(super) struct End {
    pub attempt: Attempt,
    pub attributes: Vec<Attribute>,
    pub lease: Option<Lease>,
    pub verdict: Verdict,
    /// The journal knows it as begun.
    pub begun: bool,
}

impl Lane {
    pub fn new(shared: Arc<Shared>, role: Role, settings: &LaneSettings, random: Random) -> Self {
        Lane {
            clock: shared.clock.clone(),
            role,
            shared,
            state: Mutex::new(State {
                outbox: Outbox::new(settings.backoff_min, settings.backoff_max, random),
                running: BTreeMap::new(),
                left: VecDeque::new(),
            }),
            changes: Watched::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A holder never panics half way through a change that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of every change from now on.
    pub fn changes(&self) -> Receiver<u64> {
        self.changes.subscribe()
    }

    /// Wakes whoever waits for changes.
    pub fn nudge(&self) {
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Looks at or changes the outbox.
    pub fn outbox<T>(&self, f: impl FnOnce(&mut Outbox) -> T) -> T {
        f(&mut self.state().outbox)
    }

    /// Whether one more attempt may be taken on beside those that run: a slot is free, its result will find room, and what
    /// can be told now was told. Results whose time has not come hold up nothing.
    pub fn has_room(&self, slots: usize) -> bool {
        let now = self.clock.now();
        let state = self.state();
        state.running.len() < slots
            && state.outbox.has_room(state.running.len() + 1)
            && state.outbox.next(now).is_none()
    }

    /// Marks an attempt as running here.
    pub fn began(&self, attempt: &Attempt) {
        self.state()
            .running
            .insert(attempt.process_id.clone(), attempt.clone());
        self.changed();
    }

    /// Takes the end of an attempt: what is to be told is written down and then goes to the outbox.
    pub async fn ended(&self, end: End) {
        let End {
            attempt,
            attributes,
            lease,
            verdict,
            begun,
        } = end;
        if begun {
            self.count(&verdict, lease);
        }
        let (close, not_after) = match verdict {
            Verdict::Close(close) => (close, None),
            Verdict::CloseBefore(at, close) => (close, Some(at)),
            Verdict::Leave => return self.left(attempt, lease, begun),
            Verdict::Drop(reason) => {
                tracing::warn!(%attempt, reason, "not ours any more; nobody is told");
                return self.let_go(attempt, begun.then_some(reason));
            }
        };
        let report = Report {
            attempt,
            attributes: attributes.into(),
            close,
            lease_end: lease.map(|lease| lease.end),
            not_after,
            attached: 0,
            journalled: begun,
        };
        if begun {
            self.write_down(&report).await;
        }
        let now = self.clock.now();
        let attempt = report.attempt.clone();
        self.state().running.remove(&attempt.process_id);
        if !self.push(|outbox| outbox.push(report, now)) {
            // Room is kept for whatever runs; this is for the day on which somebody breaks that.
            tracing::error!(%attempt, "no room for its result, which is lost");
        }
        self.changed();
        self.shared.freed();
    }

    fn count(&self, verdict: &Verdict, lease: Option<Lease>) {
        let metrics = &self.shared.metrics;
        metrics.attempt(AttemptOutcome::of(verdict));
        if let Some(lease) = lease {
            metrics.lease_margin(lease.end.saturating_since(self.clock.now()));
        }
    }

    /// Puts a result into the outbox, if there is room.
    fn push(&self, push: impl FnOnce(&mut Outbox) -> bool) -> bool {
        let pushed = self.outbox(push);
        if pushed {
            self.shared.metrics.outbox_took();
        }
        pushed
    }

    /// A result is durable before it is sent (docs/fence.md, 5).
    async fn write_down(&self, report: &Report) {
        let record = Record::Result(journal::Report {
            attempt: report.attempt.clone(),
            role: self.role,
            close: report.close.clone(),
            attributes: report.attributes.iter().cloned().collect(),
            attached: 0,
            at: self.shared.moment(),
            lease_end: report.lease_end,
            not_after: report.not_after,
        });
        let written = self.shared.durably(|journal| journal.record(record)).await;
        // It is told all the same: the world has changed, and saying so once too often is better than never.
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(attempt = %report.attempt, %error, "its result is not written down")
            }
            Err(gone) => {
                tracing::error!(attempt = %report.attempt, error = %gone, "its result is not written down")
            }
        }
    }

    /// An attempt of which nobody is told anything. With a reason: for the journal.
    fn let_go(&self, attempt: Attempt, reason: Option<String>) {
        self.state().running.remove(&attempt.process_id);
        if let Some(reason) = reason {
            self.shared.note(Record::Moot { attempt, reason });
        }
        self.changed();
        self.shared.freed();
    }

    fn left(&self, attempt: Attempt, lease: Option<Lease>, begun: bool) {
        // Without a time limit nobody would end it: the next reconcile does.
        if lease.is_some() {
            tracing::info!(%attempt, "left to the server's time limit");
            let mut state = self.state();
            if state.left.len() == LEFT_MAX {
                state.left.pop_front();
            }
            state.left.push_back(attempt.clone());
        }
        self.let_go(attempt, begun.then(|| LEFT.to_owned()));
    }

    /// Takes over what a former life left to be told.
    pub fn reload(&self, kept: journal::Report) {
        let this_boot = self.shared.is_this_boot(&kept.at);
        let now = self.clock.now();
        let attempt = kept.attempt.clone();
        let report = Report::reloaded(kept, this_boot);
        if !self.push(|outbox| outbox.push_reloaded(report, now)) {
            tracing::error!(%attempt, "no room for its result, which waits for the next start");
        }
        self.changed();
    }

    /// How an attempt ended here, if the journal remembers that.
    pub async fn how_it_ended(&self, attempt: Attempt) -> Option<Ended> {
        let known = self
            .shared
            .durably(move |journal| journal.state().ended(&attempt).cloned())
            .await;
        known.ok().flatten()
    }

    /// Puts the close of a process that is nowhere else here into the outbox, once it is written down that this process is never
    /// to be acted on. False: no room now. May be dropped wherever it waits, and done again.
    pub async fn give_up(&self, report: Report) -> bool {
        let running = self.state().running.len();
        if !self.outbox(|outbox| outbox.has_room(running + 1)) {
            return false;
        }
        self.write_down(&report).await;
        let now = self.clock.now();
        let pushed = self.push(|outbox| outbox.push(report, now));
        self.changed();
        pushed
    }

    /// What is held now.
    pub fn held(&self) -> Held {
        let state = self.state();
        Held {
            processes: state
                .running
                .keys()
                .map(String::as_str)
                .chain(state.outbox.process_ids())
                .map(str::to_owned)
                .collect(),
            left: state.left.iter().cloned().collect(),
        }
    }

    /// Forgets the attempts left to the server that are not among those that still run there.
    pub fn forget_left(&self, keep: impl Fn(&Attempt) -> bool) {
        self.state().left.retain(keep);
    }

    /// Tells the log and the journal what became of a result.
    pub fn tell(&self, news: News) {
        match news {
            News::Attached {
                attempt,
                index,
                journalled,
            } => {
                if journalled {
                    self.shared.note(Record::AttributeDelivered { attempt, index });
                }
            }
            News::Gone(gone) => self.tell_gone(gone),
        }
    }

    fn tell_gone(&self, gone: Gone) {
        let Gone {
            attempt,
            close,
            moot,
            journalled,
        } = gone;
        self.shared.metrics.outbox_gave();
        match &moot {
            None => tracing::info!(%attempt, ?close, "closed"),
            Some(reason) => tracing::warn!(%attempt, ?close, reason, "its result is of no use any more"),
        }
        if journalled {
            self.shared.note(match moot {
                None => Record::Delivered { attempt },
                Some(reason) => Record::Moot { attempt, reason },
            });
        }
    }
}
