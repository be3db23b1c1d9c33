//! The world: one queue of events, one thread, no real time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outpost::hub::ledger::MemoryStore;
use outpost::protocol::control::control_of;
use outpost::protocol::model::{Conditions, Process, ProcessSpec};
use outpost::protocol::{self, Answer};
use outpost::vehicle::Truth;

use crate::broken::Broken;
use crate::dock::{DOCK, Dock, Surroundings};
use crate::judge::{Judge, Violation};
use crate::met::{self, Met};
use crate::plan::{Deed, Plan, When, Work};
use crate::simulated::agenda::{Agenda, START, note};
use crate::simulated::clock::Moment;
use crate::simulated::colony::{self, COLONY, SUBMITTER};
use crate::simulated::dice::Dice;
use crate::simulated::hub::{Shows, SimulatedHub};
use crate::simulated::net::{self, Reply, Request, Sent, Wire};
use crate::simulated::ways::{Ways, refused, reset};
use crate::stage::Stage;

mod deeds;
mod network;

/// A step of the vehicles.
const STEP: Duration = Duration::from_millis(50);
/// How long everything may take.
const LIMIT: Duration = Duration::from_secs(1500);
/// For so long everything must be at rest.
const QUIET: Duration = Duration::from_secs(3);
/// How long somebody who is refused waits until the next attempt.
const AGAIN: Duration = Duration::from_millis(400);

/// What happens.
#[derive(Debug)]
enum Event {
    /// A timer on a dock's machine.
    Timer(usize),
    /// The vehicles go on.
    Step,
    HubTimer,
    /// A request reaches the hub.
    Arrive(Arriving),
    /// An answer, or its absence, reaches whoever asked.
    Reach(u64, Reply),
    /// The hub notices that nobody waits any more.
    HangUp(u64),
    Deed(Deed),
    Start(usize),
    Thaw(usize),
    Connect(usize),
    HubUp,
}

#[derive(Debug)]
struct Arriving {
    id: u64,
    dock: usize,
    caller: Arc<str>,
    kind: protocol::Kind,
    request: protocol::Request,
}

/// What came of a seed.
#[derive(Debug)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub log: Vec<String>,
    pub take_offs: usize,
    /// How often it was looked whether an order was followed.
    pub orders: usize,
    pub simulated: Duration,
    pub met: Met,
}

/// See the module.
pub struct World {
    plan: Plan,
    agenda: Agenda<Event>,
    dice: Dice,
    hub: SimulatedHub,
    backup: Option<MemoryStore>,
    docks: Vec<Dock>,
    timers: Vec<Option<Moment>>,
    ways: Ways,
    around: Surroundings,
    judge: Judge,
    /// What waits for its vehicle, and what waits for its time.
    waiting: Vec<(When, Deed)>,
    planned: usize,
    dispatched: Vec<String>,
    /// For those who are lied to: what was assigned to which dock.
    assigned: BTreeMap<(usize, String), Process>,
    quiet_since: Option<Moment>,
}

impl World {
    /// Flies a whole plan; with a log if somebody wants to read it.
    pub fn run(plan: &Plan, broken: Option<Broken>, with_log: bool) -> Outcome {
        let mut world = World::new(plan.clone(), broken, with_log);
        world.begin();
        world.go_on();
        if world.judge.violations().is_empty() {
            let truths: Vec<&Truth> = world.docks.iter().map(Dock::truth).collect();
            world.judge.finish(&world.plan, &truths, world.agenda.now());
        }
        Outcome {
            violations: world.judge.violations().to_vec(),
            log: world.agenda.take_log(),
            take_offs: world.judge.take_offs,
            orders: world.judge.orders_checked,
            simulated: world.agenda.now().since(START),
            met: world.judge.met,
        }
    }

    fn new(plan: Plan, broken: Option<Broken>, with_log: bool) -> Self {
        let mut dice = Dice::new(plan.seed).fork();
        let agenda = Agenda::new(with_log);
        let time = agenda.time().clone();
        let around = Surroundings {
            world: time.clone(),
            wire: Wire::default(),
            stage: Stage::new(&time),
            broken,
        };
        let docks: Vec<Dock> = plan
            .docks
            .iter()
            .enumerate()
            .map(|(number, dock)| Dock::new(number, dock, COLONY, &around, dice.fork()))
            .collect();
        World {
            agenda,
            dice,
            hub: colony::hub(&time, plan.hub_ppm, Shows::Exactly),
            backup: None,
            timers: vec![None; docks.len()],
            ways: Ways::new(docks.len()),
            judge: Judge::new(&plan),
            docks,
            around,
            waiting: Vec::new(),
            planned: 0,
            dispatched: Vec::new(),
            assigned: BTreeMap::new(),
            quiet_since: None,
            plan,
        }
    }

    /// The colony as its owner has set it up, the plan in the queue.
    fn begin(&mut self) {
        self.add_runtime(SUBMITTER, "submitter");
        for dock in 0..self.docks.len() {
            let ids = self.docks[dock].ids.clone();
            self.add_runtime(&ids.work, DOCK);
            self.add_runtime(&ids.control, &control_of(DOCK));
            let pause = self.dice.millis(0, 50);
            self.agenda.after(pause, Event::Start(dock));
        }
        for (when, deed) in self.plan.deeds.clone() {
            match when {
                When::At(after) => {
                    self.planned += 1;
                    self.agenda.at(START.after(after), Event::Deed(deed));
                }
                _ => self.waiting.push((when, deed)),
            }
        }
        self.agenda.after(STEP, Event::Step);
    }

    fn add_runtime(&mut self, id: &str, runtime_type: &str) {
        for request in [colony::addition(id, runtime_type), colony::approval(id)] {
            self.hub.ask(COLONY, request).unwrap().unwrap();
        }
    }

    /// Until everything ended, something is wrong, or nobody has patience any more.
    fn go_on(&mut self) {
        while let Some(event) = self.agenda.next(START.after(LIMIT)) {
            self.happen(event);
            let quiet = self.quiet_since;
            if quiet.is_some_and(|since| self.agenda.now() > since.after(QUIET))
                || !self.judge.violations().is_empty()
            {
                return;
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Timer(dock) => {
                if self.timers[dock] == Some(self.agenda.now()) {
                    self.timers[dock] = None;
                    self.run_dock(dock);
                }
            }
            Event::Step => self.step(),
            Event::HubTimer => {
                if self.hub.wake(self.agenda.now()) {
                    self.after_hub();
                }
            }
            Event::Arrive(arriving) => self.arrive(arriving),
            Event::Reach(id, reply) => self.reach(id, reply),
            Event::HangUp(id) => {
                self.hub.hang_up(id);
                self.after_hub();
            }
            Event::Deed(deed) => {
                self.planned -= 1;
                self.do_deed(deed);
            }
            Event::Start(dock) => self.start(dock),
            Event::Thaw(dock) => {
                note!(self.agenda, "dock {dock}: SIGCONT");
                if self.docks[dock].agent.frozen {
                    self.docks[dock].agent.frozen = false;
                    self.judge.agent(dock, true, self.agenda.now());
                    self.run_dock(dock);
                }
            }
            Event::Connect(dock) => {
                note!(self.agenda, "dock {dock}: connected");
                self.ways.connect(dock);
                self.judge.network_failed(dock, self.agenda.now());
            }
            Event::HubUp => {
                note!(self.agenda, "the hub is back");
                let clock = self.hub.clock().clone();
                assert!(self.hub.restart(clock));
                self.all_networks_fail();
                self.after_hub();
            }
        }
    }

    // ---- docks

    fn step(&mut self) {
        for dock in 0..self.docks.len() {
            let (events, heard) = self.docks[dock].fly(self.agenda.now());
            let events: Vec<_> = events
                .into_iter()
                .map(|(at, event)| (self.docks[dock].moment_of(at), event))
                .collect();
            for (_, event) in &events {
                note!(self.agenda, "vehicle {dock}: {event:?}");
            }
            let there = &self.docks[dock];
            self.judge
                .saw(dock, &events, &heard, there.truth(), self.agenda.now());
            self.judge
                .tick(dock, there.truth(), there.mission_length(), self.agenda.now());
            self.run_dock(dock);
        }
        self.do_waiting();
        let quiet =
            // A ledger that comes back may begin everything again.
            self.hub.is_up()
                && self.planned == 0
                && self.judge.all_final()
                && self.docks.iter().enumerate().all(|(number, dock)| {
                    dock.agent.is_there() && self.judge.is_at_rest(number, dock.truth())
                });
        self.quiet_since = quiet.then(|| self.quiet_since.unwrap_or(self.agenda.now()));
        self.agenda.after(STEP, Event::Step);
    }

    /// Does what waited for a vehicle.
    fn do_waiting(&mut self) {
        let mut index = 0;
        while let Some((when, _)) = self.waiting.get(index) {
            let come = |dock: usize, moment: Option<&Duration>, after: Duration| {
                moment.is_some_and(|moment| self.docks[dock].moment_of(*moment + after) <= self.agenda.now())
            };
            let truth = |dock: usize| self.docks[dock].truth();
            let come = match *when {
                When::At(_) => true,
                When::Armed(dock, after) => come(dock, truth(dock).arms.first(), after),
                When::Air(dock, nth, after) => come(dock, truth(dock).take_offs.get(nth), after),
            };
            if come {
                let (_, deed) = self.waiting.remove(index);
                self.do_deed(deed);
            } else {
                index += 1;
            }
        }
    }

    fn start(&mut self, dock: usize) {
        if self.docks[dock].agent.is_there() {
            // Still stopping.
            self.agenda.after(AGAIN, Event::Start(dock));
            return;
        }
        note!(self.agenda, "dock {dock}: the agent starts");
        self.docks[dock].start();
        self.judge.agent(dock, true, self.agenda.now());
        self.run_dock(dock);
    }

    fn run_dock(&mut self, dock: usize) {
        self.docks[dock].run(self.agenda.now());
        self.after_run(dock);
    }

    /// Takes what a dock's agent did.
    fn after_run(&mut self, dock: usize) {
        for began in self.around.stage.take() {
            note!(self.agenda, "dock {}: {} begins", began.dock, began.process);
            self.judge.began(&began);
        }
        for sent in self.around.wire.take() {
            match sent {
                Sent::Request(request) => self.send(request),
                Sent::HungUp(id) => self.hung_up(id),
            }
        }
        if self.docks[dock].agent.collect() {
            note!(self.agenda, "dock {dock}: the agent has ended");
            self.judge.agent(dock, false, self.agenda.now());
        }
        self.set_timer(dock);
    }

    fn set_timer(&mut self, dock: usize) {
        let able = self.docks[dock].agent.can_act();
        let next = self.docks[dock].clock.next_timer().filter(|_| able);
        let Some(next) = next else {
            self.timers[dock] = None;
            return;
        };
        let next = next.max(self.agenda.now());
        if self.timers[dock].is_none_or(|planned| planned != next) {
            self.timers[dock] = Some(next);
            self.agenda.at(next, Event::Timer(dock));
        }
    }

    // ---- the hub

    fn crash_hub(&mut self, down: Duration) {
        if !self.hub.is_up() {
            return;
        }
        self.all_networks_fail();
        for id in self.hub.crash() {
            let delay = self.delay();
            self.agenda.after(delay, Event::Reach(id, Err(reset())));
        }
        self.agenda.after(down, Event::HubUp);
    }

    fn all_networks_fail(&mut self) {
        for dock in 0..self.docks.len() {
            self.judge.network_failed(dock, self.agenda.now());
        }
    }

    /// Takes what the hub did.
    fn after_hub(&mut self) {
        for (id, answer) in self.hub.answers() {
            self.answered(id, answer);
        }
        let clock = self.hub.clock().clone();
        self.judge.look(self.hub.ledger(), &clock, self.agenda.now());
        if let Some(at) = self.hub.plan_wakeup(self.agenda.now()) {
            self.agenda.at(at, Event::HubTimer);
        }
    }
}
