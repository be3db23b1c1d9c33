//! A machine and the agent on it.

use std::sync::Arc;
use std::time::Duration;

use outpost::agent::enrolment::Enrolment;
use outpost::agent::fence::Rules;
use outpost::agent::journal::SimulatedDisk;
use outpost::agent::registry::Registry;
use outpost::clock::SharedClock;
use outpost::device::command::Pool;
use outpost::device::gpio::{LineSpec, SimulatedBoard};
use outpost::device::lamp::{Lamp, LampSettings};
use outpost::device::{Contact, Hardware, owner};
use outpost::protocol::control::control_of;
use outpost::protocol::model::Runtime;

use super::fence::Broken;
use super::scene::{Output, Scene, Watched};
use crate::simulated::agent::{Agent, Parts, enrolment};
use crate::simulated::clock::{SimulatedClock, WorldTime};
use crate::simulated::dice::Dice;
use crate::simulated::net::{SimulatedTransport, Wire};

/// The line of every machine's lamp.
pub const LAMP: &str = "GPIO17";
/// The line of every machine's hazardous device.
pub const VALVE: &str = "GPIO27";

/// One of an agent's runtimes.
#[derive(Clone)]
pub struct Identity {
    pub id: Arc<str>,
}

impl Identity {
    /// The identity of a small number.
    pub fn of(number: usize) -> Self {
        Identity {
            id: format!("{number:064x}").into(),
        }
    }
}

/// What stays the same through all its boots.
pub struct Machine {
    pub number: usize,
    pub runtime_type: String,
    pub colony_id: String,
    pub work: Identity,
    pub control: Option<Identity>,
    pub ppm: i64,
    pub poll_time: Duration,
    pub disk: SimulatedDisk,
    pub clock: Arc<SimulatedClock>,
    pub board: SimulatedBoard,
    pub agent: Agent,
    /// Without power.
    pub is_off: bool,
    /// How long it will be without once the disk is cut in the middle of writing.
    pub off_for: Duration,
    /// The journal will be gone when the power is back.
    pub loses_journal: bool,
    boots: u32,
    broken: Option<Broken>,
    world: WorldTime,
    wire: Wire,
    scene: Scene,
    dice: Dice,
}

/// What all machines are in.
#[derive(Clone)]
pub struct Surroundings {
    pub world: WorldTime,
    pub wire: Wire,
    pub scene: Scene,
    pub broken: Option<Broken>,
}

impl Machine {
    /// A machine that was just switched on; no agent runs on it yet.
    #[allow(clippy::too_many_arguments)] // its plan and the world
    pub fn new(
        number: usize,
        runtime_type: String,
        colony_id: String,
        (work, control): (Identity, Option<Identity>),
        ppm: i64,
        poll_time: Duration,
        around: &Surroundings,
        mut dice: Dice,
    ) -> Self {
        let clock = boot(&around.world, number, 1, ppm, &mut dice);
        let mut machine = Machine {
            number,
            runtime_type,
            colony_id,
            work,
            control,
            ppm,
            poll_time,
            disk: SimulatedDisk::new(dice.below(u64::MAX)),
            board: SimulatedBoard::new(clock.clone()),
            clock,
            agent: Agent::default(),
            is_off: false,
            off_for: Duration::ZERO,
            loses_journal: false,
            boots: 1,
            broken: around.broken,
            world: around.world.clone(),
            wire: around.wire.clone(),
            scene: around.scene.clone(),
            dice,
        };
        machine.watch_board();
        machine
    }

    /// The ids of its runtimes.
    pub fn runtimes(&self) -> Vec<String> {
        let all = [Some(&self.work), self.control.as_ref()];
        all.into_iter()
            .flatten()
            .map(|identity| identity.id.to_string())
            .collect()
    }

    /// All that it drives.
    pub fn outputs(&self) -> [Output; 2] {
        [LAMP, VALVE].map(|line| Output {
            machine: self.number,
            line,
        })
    }

    fn watch_board(&mut self) {
        for output in self.outputs() {
            let disk = self.disk.clone();
            self.scene.watch(&self.board, output, move || !disk.is_off());
        }
    }

    /// Starts the agent: what `outpost-agent` does at its start, on this machine's board, disk and clock. False: it refuses.
    pub fn start(&mut self) -> bool {
        if self.broken == Some(Broken::NoJournal) {
            self.disk = SimulatedDisk::new(0);
        }
        let enrolment = |identity, runtime_type| self.enrolment(identity, runtime_type);
        let parts = Parts {
            machine: self.number,
            disk: &self.disk,
            clock: &self.clock,
            poll_time: self.poll_time,
            work: enrolment(&self.work, self.runtime_type.clone()),
            control: (self.control.as_ref())
                .map(|identity| enrolment(identity, control_of(&self.runtime_type))),
        };
        let mut dice = self.dice.clone();
        let mut agent = std::mem::take(&mut self.agent);
        let started =
            agent.start(|| parts.assemble(&mut dice, |clock, contact| self.open_devices(clock, contact)));
        self.dice = dice;
        self.agent = agent;
        started.is_ok()
    }

    fn open_devices(&self, clock: &SharedClock, contact: &Contact) -> Registry {
        let hardware = Hardware {
            gpio: Some(Arc::new(self.board.clone())),
            contact: contact.clone(),
            ..Hardware::new(clock.clone())
        };
        let mut registry = Registry::new();
        for (output, name) in self.outputs().into_iter().zip(["lamp", "valve"]) {
            let settings = LampSettings::on_line(LineSpec::named(output.line));
            let device = Lamp::open(name, &settings, &hardware).unwrap();
            let watched = Watched {
                device,
                output,
                scene: self.scene.clone(),
            };
            let device = Pool::of_one(owner::spawn(Box::new(watched), clock.clone()));
            registry.add_device(&device, |_| Rules {
                max_age: Some(Duration::from_secs(60)),
                hazardous: name == "valve",
                ..Rules::default()
            });
        }
        registry
    }

    /// One identity's way to the server.
    fn enrolment(&self, identity: &Identity, runtime_type: String) -> Enrolment {
        let transport = SimulatedTransport {
            wire: self.wire.clone(),
            world: self.world.clone(),
            clock: self.clock.clone(),
            machine: self.number,
            caller: identity.id.clone(),
            only_arrival: self.broken == Some(Broken::LeaseFromArrival),
        };
        let runtime = Runtime {
            name: format!("machine-{}", self.number),
            runtime_type,
            colony_id: self.colony_id.clone(),
            ..Runtime::default()
        };
        enrolment(transport, runtime)
    }

    /// Lets the agent do what it can do now.
    pub fn run(&mut self) {
        if self.agent.frozen {
            return;
        }
        self.clock.fire();
        self.agent.run();
    }

    /// A card cloned from this machine's, in a machine of its own.
    pub fn clone_card(&mut self, number: usize, around: &Surroundings) -> Machine {
        let mut other = Machine::new(
            number,
            self.runtime_type.clone(),
            self.colony_id.clone(),
            (self.work.clone(), self.control.clone()),
            self.ppm,
            self.poll_time,
            around,
            self.dice.fork(),
        );
        other.disk = self.disk.duplicate();
        other.board = SimulatedBoard::new(other.clock.clone());
        other.watch_board();
        other
    }

    /// Whether its journal is where it was.
    pub fn has_journal(&self) -> bool {
        self.disk.content("journal").is_some()
    }

    /// The power goes: lines fall to their resting level, the disk forgets what was not synced.
    pub fn cut_power(&mut self) {
        self.disk.cut();
        self.is_off = true;
        self.agent.kill();
        self.board = SimulatedBoard::new(self.clock.clone());
    }

    /// The power is back: another boot.
    pub fn restore_power(&mut self) {
        self.disk.restart();
        self.is_off = false;
        if std::mem::take(&mut self.loses_journal) {
            self.disk.lose("journal");
        }
        self.boots += 1;
        self.clock = boot(&self.world, self.number, self.boots, self.ppm, &mut self.dice);
        self.board = SimulatedBoard::new(self.clock.clone());
        self.watch_board();
    }
}

fn boot(world: &WorldTime, machine: usize, number: u32, ppm: i64, dice: &mut Dice) -> Arc<SimulatedClock> {
    let shown_first = dice.millis(100, 20_000);
    SimulatedClock::boot(
        world,
        shown_first,
        ppm,
        format!("machine-{machine}-boot-{number}"),
    )
}
