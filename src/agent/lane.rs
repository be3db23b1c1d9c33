//! What the tasks of one lane share: what runs, what waits to be told, what the server's clock shows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::backoff::Random;
use super::fence::{Attempt, Begun, Lease, Verdict};
use super::outbox::{Gone, Outbox, Report};
use super::server_clock::{Exchange, ServerClock, Stamp};
use super::worker::LaneSettings;
use crate::client::{ClientError, Stamps, Timed};
use crate::clock::SharedClock;
use crate::protocol::model::Attribute;

/// Attempts left to the server's requeue are remembered, so that reconciling leaves them alone too.
const LEFT_MAX: usize = 1024;

/// The state of one lane.
pub(super) struct Lane {
    pub clock: SharedClock,
    state: Mutex<State>,
    /// Rises with every change of the state.
    changes: watch::Sender<u64>,
}

struct State {
    outbox: Outbox,
    running: BTreeMap<String, Attempt>,
    left: VecDeque<Attempt>,
    begun: Begun,
    server_clock: ServerClock,
}

/// What a lane holds of its runtime's processes, at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// They run here, or their results wait.
    pub processes: BTreeSet<String>,
    /// Attempts that end by the server's own time limit.
    pub left: Vec<Attempt>,
}

impl Lane {
    pub fn new(clock: SharedClock, settings: &LaneSettings, random: Random) -> Self {
        Lane {
            clock,
            state: Mutex::new(State {
                outbox: Outbox::new(settings.backoff_min, settings.backoff_max, random),
                running: BTreeMap::new(),
                left: VecDeque::new(),
                begun: Begun::default(),
                server_clock: ServerClock::new(),
            }),
            changes: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A holder never panics half way through a change that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
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

    /// Looks at or changes what is known of the server's clock.
    pub fn server_clock<T>(&self, f: impl FnOnce(&mut ServerClock) -> T) -> T {
        f(&mut self.state().server_clock)
    }

    /// Looks at or changes the marks of what was begun.
    pub fn begun<T>(&self, f: impl FnOnce(&mut Begun) -> T) -> T {
        f(&mut self.state().begun)
    }

    /// Learns from an answer what the server's clock shows.
    pub fn observe<T>(&self, answer: &Result<Timed<T>, ClientError>) {
        let stamps = match answer {
            Ok(timed) => Some(timed.stamps),
            // A bad reply's clock may be anybody's.
            Err(ClientError::BadReply { .. }) => None,
            Err(error) => error.stamps(),
        };
        let Some((stamps, stamp)) = stamps.and_then(|stamps| Some((stamps, stamp(&stamps)?))) else {
            return;
        };
        if self.state().server_clock.observe(exchange(&stamps), stamp) {
            tracing::warn!("the server's clock was stepped");
        }
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

    /// Takes the end of an attempt: what is to be told goes to the outbox.
    pub fn ended(
        &self,
        attempt: Attempt,
        attributes: Vec<Attribute>,
        lease: Option<Lease>,
        verdict: Verdict,
    ) {
        let now = self.clock.now();
        let mut state = self.state();
        let (close, not_after) = match verdict {
            Verdict::Close(close) => (Some(close), None),
            Verdict::CloseBefore(at, close) => (Some(close), Some(at)),
            Verdict::Leave => (None, None),
        };
        state.running.remove(&attempt.process_id);
        match close {
            Some(close) => {
                let report = Report {
                    attempt: attempt.clone(),
                    attributes: attributes.into(),
                    close,
                    lease_end: lease.map(|lease| lease.end),
                    not_after,
                };
                if !state.outbox.push(report, now) {
                    // Room is kept for whatever runs; this is for the day on which somebody breaks that.
                    tracing::error!(%attempt, "no room for its result, which is lost");
                }
            }
            // Without a time limit nobody would end it: the next reconcile does.
            None if lease.is_none() => {}
            None => {
                tracing::info!(%attempt, "left to the server's time limit");
                if state.left.len() == LEFT_MAX {
                    state.left.pop_front();
                }
                state.left.push_back(attempt);
            }
        }
        drop(state);
        self.changed();
    }

    /// Puts the close of a process that is nowhere else here into the outbox. False: no room now.
    pub fn give_up(&self, report: Report) -> bool {
        let now = self.clock.now();
        let pushed = {
            let mut state = self.state();
            let running = state.running.len();
            state.outbox.has_room(running + 1) && state.outbox.push(report, now)
        };
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

    /// Reports what left the outbox.
    pub fn log_gone(&self, gone: &Gone) {
        match &gone.moot {
            None => tracing::info!(attempt = %gone.attempt, close = ?gone.close, "closed"),
            Some(reason) => {
                tracing::warn!(attempt = %gone.attempt, close = ?gone.close, reason, "its result is of no use any more");
            }
        }
    }
}

/// Sending and receiving, of an answer's stamps.
pub(super) fn exchange(stamps: &Stamps) -> Exchange {
    Exchange {
        sent_at: stamps.sent_at,
        received_at: stamps.received_at,
    }
}

fn stamp(stamps: &Stamps) -> Option<Stamp> {
    stamps
        .outpost_time
        .map(Stamp::exact)
        .or_else(|| stamps.date.map(Stamp::whole_second))
}
