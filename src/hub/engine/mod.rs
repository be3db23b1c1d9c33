//! Runs requests against a ledger, many to a commit, and keeps those that wait for work.
//!
//! [`Engine::turn`] is one commit: deadlines that have come, the requests, and the assignments that ride along. Nothing
//! leaves before the commit is durable. It blocks on storage and on nothing else, so a simulation can drive it by
//! hand; [`run()`] drives it in the hub.

mod delivery;
mod run;
mod waiters;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

pub use self::delivery::{Delivery, Job, Reply};
pub use self::run::{Loop, run};

use self::delivery::Receipt;
use self::waiters::{Waiter, Waiters};
use super::ledger::{
    Attempt, Cause, Change, Command, Effect, Event, Fault, LedgerClock, Moment, Outcome, Store, StoreError,
    Untidy, apply,
};
use super::service::{Service, Verdict};
use crate::clock::BootTime;
use crate::protocol::model::RuntimeState;
use crate::protocol::{Answer, Refusal, Request};

/// What an engine is given to do.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // nearly all are jobs
pub enum Input {
    /// A request.
    Job(Job),
    /// An assignment that nobody was there to take.
    Return(Attempt),
    /// No more waiting: those who wait are told that nothing is there, and nobody waits from now on.
    Drain,
}

/// Randomness for fresh ids.
pub type Entropy = Box<dyn FnMut() -> Result<[u8; 16], Refusal> + Send>;

/// Randomness from the operating system.
pub fn system_entropy() -> Entropy {
    Box::new(|| {
        let mut bytes = [0; 16];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(Refusal::Unavailable {
                reason: format!("no randomness: {error}"),
            }),
        }
    })
}

/// How long nothing is tried without being asked after a commit has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Nobody has asked for anything for so long: nobody will wait for tidying up, as far as one can tell.
const QUIET: Duration = Duration::from_millis(100);

/// How long after tidying up failed it is tried again, unless somebody asks for something before.
const TIDY_AGAIN: Duration = Duration::from_secs(60);

/// How many deadlines take effect in one commit at most.
const DEADLINES: usize = 1000;

/// A ledger at work.
pub struct Engine<S> {
    store: S,
    service: Service,
    clock: Arc<LedgerClock>,
    entropy: Entropy,
    waiters: Waiters,
    max_waiters: usize,
    returns: mpsc::UnboundedSender<Attempt>,
    /// Returned, but the commit failed.
    owed: Vec<Attempt>,
    events: broadcast::Sender<Arc<Event>>,
    draining: bool,
    quiet_until: Option<BootTime>,
    /// When the store is tidied up unless somebody asks for something before.
    tidy_at: Option<BootTime>,
    /// Tidying up failed last time: said once, however often it is tried.
    stays_untidy: bool,
}

/// What a turn lets out when its commit is durable.
#[derive(Default)]
struct Turn {
    answers: Vec<(oneshot::Sender<Reply>, Said)>,
    events: Vec<Event>,
    returned: Vec<Attempt>,
}

/// Whether a turn took all its inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    Done,
    More,
}

enum Said {
    No(Refusal),
    Yes(Answer, Option<Attempt>),
}

impl<S: Store> Engine<S> {
    /// An engine on a store whose clock was resumed. Assignments that nobody takes come out of `returns` and have to be put in
    /// again as [`Input::Return`].
    pub fn new(
        store: S,
        service: Service,
        clock: Arc<LedgerClock>,
        entropy: Entropy,
        max_waiters: usize,
        returns: mpsc::UnboundedSender<Attempt>,
    ) -> Self {
        Engine {
            store,
            service,
            clock,
            entropy,
            waiters: Waiters::default(),
            max_waiters,
            returns,
            owed: Vec::new(),
            events: broadcast::Sender::new(1024),
            draining: false,
            quiet_until: None,
            tidy_at: None,
            stays_untidy: false,
        }
    }

    /// The store, to look at.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, to change how it behaves in a test.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Its clock.
    pub fn clock(&self) -> &Arc<LedgerClock> {
        &self.clock
    }

    /// What happens to processes from now on, each when it is durable. Whoever is too slow misses some.
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// How many wait for work.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// When something will have to be done without being asked.
    pub fn next_wakeup(&self) -> Option<BootTime> {
        let due = match self.store.first_due() {
            Ok(due) => due.map(|(due, _)| due),
            Err(error) => {
                tracing::error!(%error, "can't read the next deadline");
                self.quiet_until
            }
        };
        let due = due.max(due.and(self.quiet_until));
        let owed = self.quiet_until.filter(|_| !self.owed.is_empty());
        [due, owed, self.waiters.first_timeout(), self.tidy_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// One commit. Without inputs it does what is due.
    pub fn turn(&mut self, inputs: Vec<Input>) {
        let asked = !inputs.is_empty();
        let mut inputs = inputs.into_iter();
        loop {
            let mut turn = Turn::default();
            let filled = self.fill(&mut turn, &mut inputs);
            match filled.and_then(|filled| self.store.commit(&self.clock.anchor()).map(|()| filled)) {
                Ok(filled) => {
                    self.quiet_until = None;
                    self.release(turn);
                    if filled == Filled::Done {
                        break;
                    }
                }
                Err(error) => {
                    self.store.rollback();
                    self.fail(turn, inputs, &error);
                    break;
                }
            }
        }
        // Waiting is not stored: it ends without a commit.
        let now = self.clock.moment().boot;
        for waiter in self.waiters.timed_out(now) {
            nothing(waiter);
        }
        self.tidy(asked, now);
    }

    /// Tidies the store up: when nobody has asked for anything for a while, or when that can wait no longer.
    fn tidy(&mut self, asked: bool, now: BootTime) {
        let due = match self.store.untidy() {
            Untidy::No => {
                self.tidy_at = None;
                return;
            }
            Untidy::SomeTime => !asked && self.tidy_at.is_some_and(|at| at <= now),
            Untidy::Now => true,
        };
        if due {
            self.tidy_at = None;
            let tidied = self.store.tidy();
            let was_untidy = std::mem::replace(&mut self.stays_untidy, tidied.is_err());
            match tidied {
                Ok(()) if was_untidy => tracing::info!("the database is tidied up again"),
                Ok(()) => {}
                Err(error) => {
                    if !was_untidy {
                        tracing::warn!(
                            %error,
                            "can't tidy up the database, whose log grows on; nothing is lost, and it is tried again: see \
                             whether its disk is full or failing"
                        );
                    }
                    self.tidy_at = Some(now + TIDY_AGAIN);
                }
            }
        } else if asked || self.tidy_at.is_none() {
            self.tidy_at = Some(now + QUIET);
        }
    }

    /// The last commit; tidies the store up.
    ///
    /// # Errors
    /// Storage failed.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        for waiter in self.waiters.all() {
            nothing(waiter);
        }
        self.store.finish(&self.clock.anchor())
    }

    fn fill(
        &mut self,
        turn: &mut Turn,
        inputs: &mut impl Iterator<Item = Input>,
    ) -> Result<Filled, StoreError> {
        self.store.begin()?;
        for attempt in std::mem::take(&mut self.owed) {
            self.take_back(turn, attempt)?;
        }
        // Deadlines that have come take effect before anything else happens; very many of them in several commits.
        let mut deadlines = 0;
        loop {
            let now = self.clock.moment();
            while self.expire_one(turn, now)? {
                deadlines += 1;
                if deadlines >= DEADLINES {
                    return Ok(Filled::More);
                }
            }
            match inputs.next() {
                None => return Ok(Filled::Done),
                Some(Input::Job(job)) => self.serve(turn, job, now)?,
                Some(Input::Return(attempt)) => self.take_back(turn, attempt)?,
                Some(Input::Drain) => {
                    self.draining = true;
                    for waiter in self.waiters.all() {
                        nothing(waiter);
                    }
                }
            }
        }
    }

    fn expire_one(&mut self, turn: &mut Turn, now: Moment) -> Result<bool, StoreError> {
        match self.store.first_due()? {
            Some((due, _)) if due <= now.boot => {}
            _ => return Ok(false),
        }
        match apply(&self.store, Command::Expire, now, &mut self.entropy) {
            Ok((outcome, effect)) => {
                self.write(turn, effect, now)?;
                Ok(outcome != Outcome::Nothing)
            }
            Err(Fault::Store(error)) => Err(error),
            Err(Fault::Refused(refusal)) => Err(StoreError(format!("a deadline was refused: {refusal:?}"))),
        }
    }

    fn take_back(&mut self, turn: &mut Turn, attempt: Attempt) -> Result<(), StoreError> {
        turn.returned.push(attempt.clone());
        let now = self.clock.moment();
        match apply(&self.store, Command::GiveBack(attempt), now, &mut self.entropy) {
            Ok((_, effect)) => self.write(turn, effect, now),
            Err(Fault::Store(error)) => Err(error),
            Err(Fault::Refused(refusal)) => Err(StoreError(format!("a return was refused: {refusal:?}"))),
        }
    }

    fn serve(&mut self, turn: &mut Turn, job: Job, now: Moment) -> Result<(), StoreError> {
        let Job {
            caller,
            request,
            reply,
        } = job;
        let latest = match &request {
            // Whoever hung up is given nothing.
            Request::Assign { .. } if reply.is_closed() => return Ok(()),
            Request::Assign { latest, .. } => *latest,
            _ => false,
        };
        match self
            .service
            .handle(&self.store, &caller, request, now, &mut self.entropy)
        {
            Err(Fault::Refused(refusal)) => turn.answers.push((reply, Said::No(refusal))),
            Err(Fault::Store(error)) => {
                turn.answers.push((reply, Said::No(unavailable(&error))));
                return Err(error);
            }
            Ok((Verdict::Answer(answer), effect)) => {
                turn.answers.push((reply, Said::Yes(answer, None)));
                self.write(turn, effect, now)?;
            }
            Ok((Verdict::Assigned(answer, attempt), effect)) => {
                turn.answers.push((reply, Said::Yes(answer, Some(attempt))));
                self.write(turn, effect, now)?;
            }
            Ok((Verdict::Wait(wait), effect)) => {
                let waiter = Waiter {
                    caller,
                    colony_id: wait.colony_id,
                    runtime_type: wait.runtime_type,
                    latest,
                    until: now.boot + Duration::from_secs(wait.seconds),
                    reply,
                };
                self.keep(turn, waiter, wait.seconds);
                self.write(turn, effect, now)?;
            }
        }
        Ok(())
    }

    /// Lets a runtime wait, if it wants to and may.
    fn keep(&mut self, turn: &mut Turn, waiter: Waiter, seconds: u64) {
        if seconds == 0 || self.draining {
            let refusal = Refusal::NothingToAssign {
                caller: waiter.caller,
            };
            turn.answers.push((waiter.reply, Said::No(refusal)));
            return;
        }
        if self.waiters.len() >= self.max_waiters {
            self.waiters.sweep();
        }
        if self.waiters.len() >= self.max_waiters {
            let refusal = Refusal::Unavailable {
                reason: format!("{} runtimes wait for work already", self.max_waiters),
            };
            turn.answers.push((waiter.reply, Said::No(refusal)));
            return;
        }
        self.waiters.add(waiter);
    }

    /// Writes what a command does, and lets those who wait have what became ready.
    fn write(&mut self, turn: &mut Turn, effect: Effect, now: Moment) -> Result<(), StoreError> {
        for change in &effect.changes {
            self.store.write(change)?;
        }
        turn.events.extend(effect.events);
        for change in &effect.changes {
            let concerned = match change {
                Change::PutRuntime(runtime) if runtime.state != RuntimeState::Approved => {
                    self.waiters.of_runtime(&runtime.id)
                }
                Change::DeleteRuntime(id) => self.waiters.of_runtime(id),
                Change::DeleteColony(id) => self.waiters.of_colony(id),
                _ => continue,
            };
            for waiter in concerned {
                self.try_waiter(turn, waiter, now)?;
            }
        }
        for id in effect.ready {
            self.hand_out(turn, &id, now)?;
        }
        Ok(())
    }

    /// Gives a process that became ready to the first who waits for such.
    fn hand_out(&mut self, turn: &mut Turn, process_id: &str, now: Moment) -> Result<(), StoreError> {
        loop {
            let Some(record) = self.store.record(process_id)?.filter(|record| record.is_ready()) else {
                return Ok(());
            };
            let Some(waiter) = self.waiters.first_for(&record) else {
                return Ok(());
            };
            self.try_waiter(turn, waiter, now)?;
        }
    }

    /// Asks again on behalf of one who waits, with all checks made anew.
    fn try_waiter(&mut self, turn: &mut Turn, waiter: Waiter, now: Moment) -> Result<(), StoreError> {
        let request = Request::Assign {
            colony_id: waiter.colony_id.clone(),
            latest: waiter.latest,
            timeout: -1,
        };
        match self
            .service
            .handle(&self.store, &waiter.caller, request, now, &mut self.entropy)
        {
            Ok((Verdict::Assigned(answer, attempt), effect)) => {
                turn.answers
                    .push((waiter.reply, Said::Yes(answer, Some(attempt))));
                // An assignment makes nothing ready and sends nobody away.
                for change in &effect.changes {
                    self.store.write(change)?;
                }
                turn.events.extend(effect.events);
            }
            Ok((Verdict::Answer(_) | Verdict::Wait(_), _)) => {
                let refusal = Refusal::NothingToAssign {
                    caller: waiter.caller,
                };
                turn.answers.push((waiter.reply, Said::No(refusal)));
            }
            Err(Fault::Refused(refusal)) => turn.answers.push((waiter.reply, Said::No(refusal))),
            Err(Fault::Store(error)) => {
                turn.answers.push((waiter.reply, Said::No(unavailable(&error))));
                return Err(error);
            }
        }
        Ok(())
    }

    fn release(&mut self, turn: Turn) {
        let mut untaken = HashSet::new();
        for (reply, said) in turn.answers {
            let reply_with = match said {
                Said::No(refusal) => Err(refusal),
                Said::Yes(answer, attempt) => {
                    let receipt = attempt.map(|attempt| Receipt {
                        attempt: Some(attempt),
                        returns: self.returns.clone(),
                    });
                    Ok(Delivery::new(answer, receipt))
                }
            };
            // What can't be sent is dropped, and comes back by its receipt.
            if let Err(Ok(delivery)) = reply.send(reply_with)
                && let Some(process_id) = delivery.assigned()
            {
                untaken.insert(process_id.to_owned());
            }
        }
        for event in turn.events {
            // What nobody was there to take was never assigned.
            if event.cause != Cause::Assigned || !untaken.contains(&event.process.id) {
                // Nobody listens: fine.
                let _ = self.events.send(Arc::new(event));
            }
        }
    }

    fn fail(&mut self, turn: Turn, rest: impl Iterator<Item = Input>, error: &StoreError) {
        tracing::error!(%error, "the commit failed; nothing of it happened");
        self.quiet_until = Some(self.clock.moment().boot + AFTER_FAILURE);
        self.owed.extend(turn.returned);
        for (reply, _) in turn.answers {
            let _ = reply.send(Err(unavailable(error)));
        }
        for input in rest {
            match input {
                Input::Job(job) => {
                    let _ = job.reply.send(Err(unavailable(error)));
                }
                Input::Return(attempt) => self.owed.push(attempt),
                Input::Drain => self.draining = true,
            }
        }
    }
}

fn unavailable(error: &StoreError) -> Refusal {
    Refusal::Unavailable {
        reason: format!("storage: {error}"),
    }
}

/// Tells a runtime that there was nothing.
fn nothing(waiter: Waiter) {
    let caller = waiter.caller;
    let _ = waiter.reply.send(Err(Refusal::NothingToAssign { caller }));
}
