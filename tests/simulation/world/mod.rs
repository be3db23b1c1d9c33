//! The world: one queue of events, one thread, no real time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outpost::protocol::control::control_of;
use outpost::protocol::model::{Conditions, ProcessSpec};
use outpost::protocol::{self, Answer};

use crate::fence::Broken;
use crate::machine::{Identity, Machine, Surroundings};
use crate::plan::{Fault, Plan, Work};
use crate::scene::{Performance, Scene};
use crate::simulated::agenda::{Agenda, START, note};
use crate::simulated::clock::{Moment, SimulatedClock};
use crate::simulated::colony::{self, COLONY, SUBMITTER};
use crate::simulated::dice::Dice;
use crate::simulated::hub::SimulatedHub;
use crate::simulated::net::{self, Reply, Request, Sent, Wire};
use crate::simulated::ways::{Ways, refused, reset};
use crate::witness::{REACTION, Violation, Witness};

mod faults;
mod network;

/// How long all processes may take to end once nothing goes wrong any more. Lost assignments without a lease are found
/// by the rare reconcile, every five minutes.
const PATIENCE: Duration = Duration::from_secs(1500);
/// How long somebody who is refused waits until the next attempt.
const AGAIN: Duration = Duration::from_millis(400);

/// What happens.
#[derive(Debug)]
enum Event {
    /// A timer on a machine.
    Timer(usize),
    /// A deadline of the hub.
    HubTimer,
    /// A request reaches the hub.
    Arrive(Arriving),
    /// An answer, or its absence, reaches whoever asked.
    Reach(u64, Reply),
    /// The hub notices that nobody waits any more.
    HangUp(u64),
    Submit(usize),
    Fault(Fault),
    /// Something that was broken is repaired.
    Repair(Repair),
    /// The witness looks at an output again.
    CheckSafe(Performance),
    CheckThawed(usize),
}

#[derive(Debug)]
enum Repair {
    Start(usize),
    Thaw(usize),
    PowerOn(usize),
    Connect(usize),
    HubUp { reboot: bool },
    Disk(usize),
    HubDisk,
    AddRuntime(usize),
}

#[derive(Debug)]
struct Arriving {
    id: u64,
    machine: usize,
    caller: Arc<str>,
    sent: Moment,
    kind: protocol::Kind,
    request: protocol::Request,
    /// A copy that the network made.
    copy: bool,
}

/// What came of a schedule.
#[derive(Debug)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub log: Vec<String>,
    pub requests: u64,
    pub edges: usize,
    pub events: u64,
}

pub struct World {
    plan: Plan,
    agenda: Agenda<Event>,
    dice: Dice,
    hub: SimulatedHub,
    hub_boots: u32,
    machines: Vec<Machine>,
    timers: Vec<Option<Moment>>,
    ways: Ways,
    around: Surroundings,
    copies: u64,
    requests: u64,
    events: u64,
    witness: Witness,
    submitted: usize,
    broken: Option<Broken>,
    /// For those who are lied to: what was assigned to which machine, as it was told.
    assigned: BTreeMap<(usize, String), Vec<protocol::model::Process>>,
}

impl World {
    /// Runs a whole schedule; with a log if somebody wants to read it.
    pub fn run(plan: &Plan, broken: Option<Broken>, with_log: bool) -> Outcome {
        let mut world = World::new(plan.clone(), broken, with_log);
        world.begin();
        world.go_on();
        world.witness.finish(world.agenda.now());
        Outcome {
            violations: world.witness.violations().to_vec(),
            log: world.agenda.take_log(),
            requests: world.requests,
            edges: world.witness.edges,
            events: world.events,
        }
    }

    fn new(plan: Plan, broken: Option<Broken>, with_log: bool) -> Self {
        let mut dice = Dice::new(plan.seed).fork();
        let agenda = Agenda::new(with_log);
        let time = agenda.time().clone();
        let around = Surroundings {
            world: time.clone(),
            wire: Wire::default(),
            scene: Scene::new(&time),
            broken,
        };
        let machines: Vec<Machine> = plan
            .machines
            .iter()
            .enumerate()
            .map(|(number, machine)| {
                Machine::new(
                    number,
                    machine.runtime_type.to_owned(),
                    COLONY.to_owned(),
                    (
                        Identity::of(2 * number + 1),
                        machine.control.then(|| Identity::of(2 * number + 2)),
                    ),
                    machine.ppm,
                    machine.poll_time,
                    &around,
                    dice.fork(),
                )
            })
            .collect();
        let hub = colony::hub(&time, plan.hub_ppm, plan.shows);
        World {
            agenda,
            dice,
            hub,
            hub_boots: 1,
            timers: vec![None; machines.len()],
            ways: Ways::new(machines.len()),
            witness: Witness::new(machines.iter().map(Machine::runtimes).collect()),
            machines,
            around,
            copies: 0,
            requests: 0,
            events: 0,
            submitted: 0,
            broken,
            assigned: BTreeMap::new(),
            plan,
        }
    }

    /// The colony as its owner has set it up, the agents started, the plan in the queue.
    fn begin(&mut self) {
        assert!(self.add_runtime(SUBMITTER, "submitter"));
        for machine in 0..self.machines.len() {
            let (id, runtime_type) = self.identity(machine);
            assert!(self.add_runtime(&id, &runtime_type));
            if let Some(control) = self.machines[machine].control.clone() {
                assert!(self.add_runtime(&control.id, &control_of(&runtime_type)));
            }
            let pause = self.dice.millis(0, 50);
            self.agenda.after(pause, Event::Repair(Repair::Start(machine)));
        }
        for number in 0..self.plan.work.len() {
            let at = self.plan.work[number].at;
            self.agenda.after(at, Event::Submit(number));
        }
        for (at, fault) in self.plan.faults.clone() {
            self.agenda.after(at, Event::Fault(fault));
        }
    }

    fn identity(&self, machine: usize) -> (String, String) {
        let machine = &self.machines[machine];
        (machine.work.id.to_string(), machine.runtime_type.clone())
    }

    /// The colony's owner lets a runtime in. False: not now.
    fn add_runtime(&mut self, id: &str, runtime_type: &str) -> bool {
        let added = self.hub.ask(COLONY, colony::addition(id, runtime_type));
        let known = matches!(added, Some(Ok(_) | Err(protocol::Refusal::Duplicate { .. })));
        let approved = known && matches!(self.hub.ask(COLONY, colony::approval(id)), Some(Ok(_)));
        self.after_hub();
        approved
    }

    /// Until everything ended or nobody has patience any more.
    fn go_on(&mut self) {
        let calm = START.after(self.plan.calm);
        while let Some(event) = self.agenda.next(calm.after(PATIENCE)) {
            self.events += 1;
            self.happen(event);
            let quiet =
                self.agenda.now() > calm && self.submitted == self.plan.work.len() && self.witness.all_done();
            if quiet || !self.witness.violations().is_empty() {
                return;
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Timer(machine) => {
                if self.timers[machine] == Some(self.agenda.now()) {
                    self.timers[machine] = None;
                    self.run_machine(machine);
                }
            }
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
            Event::Submit(number) => self.submit(number),
            Event::Fault(fault) => self.break_something(fault),
            Event::Repair(repair) => self.repair(repair),
            Event::CheckSafe(performance) => {
                let able = self.able();
                self.witness
                    .check_safe(performance, self.agenda.now(), |machine| able[machine]);
            }
            Event::CheckThawed(machine) => {
                let able = self.able();
                self.witness
                    .thawed(machine, self.agenda.now(), |machine| able[machine]);
            }
        }
    }

    /// Which machines' agents can act now.
    fn able(&self) -> Vec<bool> {
        self.machines
            .iter()
            .map(|machine| machine.agent.can_act())
            .collect()
    }

    // ---- machines

    fn run_machine(&mut self, machine: usize) {
        self.machines[machine].run();
        self.after_run(machine);
    }

    /// Takes what a machine did.
    fn after_run(&mut self, machine: usize) {
        for (at, seen) in self.around.scene.take() {
            note!(self.agenda, "{seen:?}");
            if let Some(performance) = self.witness.saw(at, seen) {
                self.agenda.after(REACTION, Event::CheckSafe(performance));
            }
        }
        if self.machines[machine].disk.is_off() && !self.machines[machine].is_off {
            note!(self.agenda, "machine {machine}: the power went while it wrote");
            self.witness.cut_in_write(machine, self.agenda.now());
            let off = self.machines[machine].off_for;
            self.cut_power(machine, off);
            return;
        }
        for sent in self.around.wire.take() {
            match sent {
                Sent::Request(request) => self.send(request),
                Sent::HungUp(id) => self.hung_up(id),
            }
        }
        if self.machines[machine].agent.collect() {
            note!(self.agenda, "machine {machine}: the agent has ended");
        }
        self.set_timer(machine);
    }

    fn set_timer(&mut self, machine: usize) {
        let able = self.machines[machine].agent.can_act();
        let next = self.machines[machine].clock.next_timer().filter(|_| able);
        let Some(next) = next else {
            self.timers[machine] = None;
            return;
        };
        // Timers are late, never early.
        let late = match self.dice.below(20) {
            0 => self.dice.between(0, 30_000_000),
            _ => self.dice.between(0, 1_000_000),
        };
        let next = next.max(self.agenda.now());
        let planned = self.timers[machine];
        if planned.is_some_and(|planned| planned >= next && planned.0 <= next.0 + 30_000_000) {
            return;
        }
        let at = Moment(next.0 + late);
        self.timers[machine] = Some(at);
        self.agenda.at(at, Event::Timer(machine));
    }

    // ---- the hub

    /// Takes what the hub did.
    fn after_hub(&mut self) {
        for (id, answer) in self.hub.answers() {
            self.answered(id, answer);
        }
        let able = self.able();
        self.witness
            .look(self.hub.ledger(), self.agenda.now(), |machine| able[machine]);
        if let Some(at) = self.hub.plan_wakeup(self.agenda.now()) {
            self.agenda.at(at, Event::HubTimer);
        }
    }

    fn submit(&mut self, number: usize) {
        let work = self.plan.work[number].clone();
        let spec = self.spec(&work);
        let answer = self.hub.ask(SUBMITTER, protocol::Request::Submit(Box::new(spec)));
        match answer {
            Some(Ok(Answer::Process(process))) => {
                note!(self.agenda, "work {number} submitted as {}", process.id);
                self.submitted += 1;
                self.witness
                    .submitted(&process.id, number, work.func, work.max_exec_time);
                self.after_hub();
            }
            _ => self.agenda.after(AGAIN, Event::Submit(number)),
        }
    }

    fn spec(&self, work: &Work) -> ProcessSpec {
        let only = work
            .only
            .map(|machine| self.machines[machine].work.id.to_string());
        ProcessSpec {
            func: work.func.to_owned(),
            args: Some(work.args.clone()),
            max_wait_time: work.max_wait_time,
            max_exec_time: work.max_exec_time,
            max_retries: work.max_retries,
            conditions: Conditions {
                colony_id: COLONY.to_owned(),
                runtime_type: work.runtime_type.to_owned(),
                runtime_ids: only.into_iter().collect(),
                ..Conditions::default()
            },
            ..ProcessSpec::default()
        }
    }
}
