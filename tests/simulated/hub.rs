//! The hub: its real ledger, service and engine, driven by hand. Only HTTP, signatures and the disk are left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outpost::clock::Clock;
use outpost::hub::engine::{Delivery, Engine, Entropy, Input, Job};
use outpost::hub::ledger::{Attempt, MemoryStore, Store, resume};
use outpost::hub::service::{Service, version};
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::Process;
use outpost::protocol::{Answer, Envelope, Kind, Refusal, Reply, Request, Time};
use tokio::sync::{mpsc, oneshot};

use super::clock::{Moment, SimulatedClock};
use super::net;

/// Which time the server, or what stands before it, shows in its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// `Outpost-Time` and `Date`, as our hub.
    Exactly,
    /// `Date`, as the originals.
    Date,
    /// A proxy's own `Date`, so many seconds off.
    ProxyDate(i64),
    Nothing,
}

/// A request that waits for its answer.
struct Pending {
    id: u64,
    kind: Kind,
    answer: oneshot::Receiver<Result<Delivery, Refusal>>,
}

/// The hub, up or down.
pub struct SimulatedHub {
    server_id: String,
    clock: Arc<SimulatedClock>,
    shows: Shows,
    engine: Option<Engine<MemoryStore>>,
    /// What is on disk while it is down.
    store: MemoryStore,
    pending: Vec<Pending>,
    returns: mpsc::UnboundedReceiver<Attempt>,
    ids: Arc<AtomicU64>,
    /// When it will be woken.
    planned: Option<Moment>,
}

impl SimulatedHub {
    /// A hub that is up, on a store that somebody prepared.
    pub fn start(store: MemoryStore, server_id: String, clock: Arc<SimulatedClock>, shows: Shows) -> Self {
        let mut hub = SimulatedHub {
            server_id,
            clock: clock.clone(),
            shows,
            engine: None,
            store,
            pending: Vec::new(),
            returns: mpsc::unbounded_channel().1,
            ids: Arc::default(),
            planned: None,
        };
        assert!(hub.restart(clock));
        hub
    }

    /// Up again, in the same boot or another. False: its disk does not let it.
    pub fn restart(&mut self, clock: Arc<SimulatedClock>) -> bool {
        self.clock = clock;
        let Ok(ledger_clock) = resume(&mut self.store, self.clock.clone()) else {
            return false;
        };
        let (returns, returned) = mpsc::unbounded_channel();
        self.returns = returned;
        self.engine = Some(Engine::new(
            std::mem::take(&mut self.store),
            Service::new(self.server_id.clone()),
            Arc::new(ledger_clock),
            self.entropy(),
            100,
            returns,
        ));
        true
    }

    /// Crashes: everything but the ledger's store is gone. Whose requests were left without an answer.
    pub fn crash(&mut self) -> Vec<u64> {
        if let Some(engine) = self.engine.take() {
            self.store = engine.store().clone();
            // A transaction is never open between two turns.
            self.store.rollback();
        }
        self.pending.drain(..).map(|pending| pending.id).collect()
    }

    /// What is on disk is replaced while it is down.
    pub fn put_back(&mut self, store: MemoryStore) {
        assert!(!self.is_up());
        self.store = store;
    }

    pub fn is_up(&self) -> bool {
        self.engine.is_some()
    }

    pub fn clock(&self) -> &Arc<SimulatedClock> {
        &self.clock
    }

    /// Its disk is full, or no longer.
    pub fn set_broken(&mut self, broken: bool) {
        match &mut self.engine {
            Some(engine) => engine.store_mut().set_broken(broken),
            None => self.store.set_broken(broken),
        }
    }

    /// The ledger as it is on disk.
    pub fn ledger(&self) -> &MemoryStore {
        self.engine.as_ref().map_or(&self.store, Engine::store)
    }

    /// When it has to be woken, if it has something to do unasked and nobody planned that yet.
    pub fn plan_wakeup(&mut self, now: Moment) -> Option<Moment> {
        let at = self.engine.as_ref()?.next_wakeup()?;
        let at = self.clock.moment_of(at).max(now);
        (self.planned.replace(at) != Some(at)).then_some(at)
    }

    /// Ids that are the same in every run, and so similar in every schedule that signatures can be remembered.
    fn entropy(&self) -> Entropy {
        let ids = self.ids.clone();
        Box::new(move || Ok(u128::from(ids.fetch_add(1, Ordering::Relaxed) + 1).to_le_bytes()))
    }

    /// Somebody next to it asks: the submitter, the colony's owner.
    pub fn ask(&mut self, caller: &str, request: Request) -> Option<Result<Answer, Refusal>> {
        let mut answer = self.give(caller, request)?;
        let answered = answer.try_recv().ok()?;
        Some(answered.map(Delivery::take))
    }

    fn give(
        &mut self,
        caller: &str,
        request: Request,
    ) -> Option<oneshot::Receiver<Result<Delivery, Refusal>>> {
        let engine = self.engine.as_mut()?;
        let (reply, answer) = oneshot::channel();
        engine.turn(vec![Input::Job(Job {
            caller: caller.to_owned(),
            request,
            reply,
        })]);
        self.take_back();
        Some(answer)
    }

    /// Does what is due, if this is the wakeup that was planned last. Whether it was.
    pub fn wake(&mut self, now: Moment) -> bool {
        if self.planned != Some(now) {
            return false;
        }
        self.planned = None;
        if let Some(engine) = &mut self.engine {
            engine.turn(Vec::new());
        }
        self.take_back();
        true
    }

    /// Puts assignments back that nobody was there to take.
    fn take_back(&mut self) {
        while let Ok(attempt) = self.returns.try_recv() {
            if let Some(engine) = &mut self.engine {
                engine.turn(vec![Input::Return(attempt)]);
            }
        }
    }

    /// Reads a request as `hub::api` does, but takes its word for who signed it.
    pub fn read(body: &[u8]) -> (Kind, Request) {
        let dialect = Dialect::Runtime;
        let envelope = Envelope::parse(body).unwrap();
        let kind = dialect.kind(envelope.payload_type()).unwrap();
        (kind, dialect.decode_request(kind, &envelope.payload()).unwrap())
    }

    /// A request arrives; its answer comes out of [`SimulatedHub::answers`], now or later.
    pub fn arrive(
        &mut self,
        id: u64,
        caller: &str,
        kind: Kind,
        request: Request,
    ) -> Option<(u64, net::Answer)> {
        if kind == Kind::Version {
            return Some((id, self.say(kind, Ok(Answer::Version(version())))));
        }
        let answer = self.give(caller, request)?;
        self.pending.push(Pending { id, kind, answer });
        None
    }

    /// Whoever asked is gone.
    pub fn hang_up(&mut self, id: u64) {
        self.pending.retain(|pending| pending.id != id);
        self.take_back();
    }

    /// The answers that are ready.
    pub fn answers(&mut self) -> Vec<(u64, net::Answer)> {
        let mut ready = Vec::new();
        let mut still = Vec::new();
        for mut pending in std::mem::take(&mut self.pending) {
            match pending.answer.try_recv() {
                Ok(answer) => {
                    ready.push((pending.id, self.say(pending.kind, answer.map(Delivery::take))));
                }
                Err(oneshot::error::TryRecvError::Empty) => still.push(pending),
                Err(oneshot::error::TryRecvError::Closed) => panic!("the ledger dropped a request"),
            }
        }
        self.pending = still;
        ready
    }

    /// An answer to a question for a process, from nobody.
    pub fn tell(answer: Answer) -> net::Answer {
        let dialect = Dialect::Runtime;
        let payload = dialect.encode_answer(Kind::GetProcess, &answer);
        net::Answer {
            status: 200,
            body: Reply::success(dialect.payload_type(Kind::GetProcess), payload)
                .to_bytes()
                .into(),
            date: None,
            outpost_time: None,
        }
    }

    /// The process that an answer assigns.
    pub fn assigned(answer: &net::Answer) -> Option<Process> {
        let reply = Reply::parse(&answer.body).unwrap();
        match Dialect::Runtime.decode_answer(Kind::Assign, &reply.payload) {
            Ok(Answer::Process(process)) if !reply.error => Some(*process),
            _ => None,
        }
    }

    fn say(&self, kind: Kind, result: Result<Answer, Refusal>) -> net::Answer {
        let dialect = Dialect::Runtime;
        let (status, body) = match result {
            Ok(answer) => {
                let payload = dialect.encode_answer(kind, &answer);
                (
                    200,
                    Reply::success(dialect.payload_type(kind), payload).to_bytes(),
                )
            }
            Err(refusal) => {
                let failure = dialect.failure(Some(kind), &refusal);
                (failure.status, Reply::failure(&failure).to_bytes())
            }
        };
        let stamp = self.stamp();
        let date = |seconds: i64| {
            let nanos = stamp.unix_nanos() + i128::from(seconds) * 1_000_000_000;
            Time::from_unix_nanos(nanos.div_euclid(1_000_000_000) * 1_000_000_000)
        };
        net::Answer {
            status,
            body: body.into(),
            date: match self.shows {
                Shows::Exactly | Shows::Date => Some(date(0)),
                Shows::ProxyDate(seconds) => Some(date(seconds)),
                Shows::Nothing => None,
            },
            outpost_time: (self.shows == Shows::Exactly).then_some(stamp),
        }
    }

    /// As `hub::http` stamps its answers.
    fn stamp(&self) -> Time {
        match &self.engine {
            Some(engine) => engine.clock().moment().stamp,
            None => Time::from_unix_nanos(self.clock.wall_nanos()),
        }
    }
}
