//! A dock: a machine, the agent on it, and the vehicle at its port.

use std::sync::Arc;
use std::time::Duration;

use outpost::agent::enrolment::Enrolment;
use outpost::agent::fence::Rules;
use outpost::agent::journal::SimulatedDisk;
use outpost::agent::registry::Registry;
use outpost::clock::SharedClock;
use outpost::device::command::Pool;
use outpost::device::drone::{Drone, DroneSettings};
use outpost::device::{Contact, Hardware, owner};
use outpost::protocol::control::control_of;
use outpost::protocol::model::Runtime;
use outpost::vehicle::{Config, Event, Faults, Simulation, Truth};

use super::broken::{Broken, Watched};
use super::heartbeats::Heartbeats;
use super::pipe::Cable;
use super::plan::{DockPlan, MAX_ALTITUDE, MAX_DISTANCE};
use super::stage::Stage;
use crate::simulated::agent::{Agent, Parts, enrolment};
use crate::simulated::clock::{Moment, SimulatedClock, WorldTime};
use crate::simulated::dice::Dice;
use crate::simulated::net::{SimulatedTransport, Wire};

/// The type of every dock's runtime.
pub const DOCK: &str = "dock";

/// The ids of a dock's runtimes: for work, and for control.
#[derive(Clone)]
pub struct Ids {
    pub work: Arc<str>,
    pub control: Arc<str>,
}

impl Ids {
    pub fn of(dock: usize) -> Self {
        let id = |number: usize| format!("{number:064x}").into();
        Ids {
            work: id(2 * dock + 1),
            control: id(2 * dock + 2),
        }
    }
}

/// What all docks are in.
#[derive(Clone)]
pub struct Surroundings {
    pub world: WorldTime,
    pub wire: Wire,
    pub stage: Stage,
    pub broken: Option<Broken>,
}

/// See the module.
pub struct Dock {
    pub number: usize,
    pub ids: Ids,
    pub clock: Arc<SimulatedClock>,
    pub agent: Agent,
    plan: DockPlan,
    colony_id: String,
    settings: DroneSettings,
    disk: SimulatedDisk,
    state_dir: tempfile::TempDir,
    vehicle: Simulation,
    heartbeats: Heartbeats,
    switched_on: Moment,
    cable: Cable,
    around: Surroundings,
    dice: Dice,
}

impl Dock {
    /// A dock whose vehicle is switched on now; no agent runs yet.
    pub fn new(
        number: usize,
        plan: &DockPlan,
        colony_id: &str,
        around: &Surroundings,
        mut dice: Dice,
    ) -> Self {
        let mut config = Config::new(plan.family);
        config.home = (plan.home.0, plan.home.1, 14.0);
        config.battery = plan.battery;
        config.wind = plan.wind;
        config.limits.cruise *= plan.pace;
        config.quirks.slow = plan.slow;
        config.failsafes = plan.failsafes == "require";
        let faults = Faults {
            line: plan.line.clone(),
            acts: plan.acts.clone(),
        };
        let seed = dice.below(u64::MAX);
        Dock {
            number,
            ids: Ids::of(number),
            clock: SimulatedClock::boot(
                &around.world,
                dice.millis(100, 20_000),
                plan.ppm,
                format!("dock-{number}-boot-1"),
            ),
            agent: Agent::default(),
            settings: settings(plan),
            plan: plan.clone(),
            colony_id: colony_id.to_owned(),
            disk: SimulatedDisk::new(dice.below(u64::MAX)),
            state_dir: tempfile::tempdir().unwrap(),
            vehicle: Simulation::new(config, faults, seed),
            heartbeats: Heartbeats::default(),
            switched_on: around.world.now(),
            cable: Cable::default(),
            around: around.clone(),
            dice,
        }
    }

    /// Starts the agent: what `outpost-agent` does at its start.
    pub fn start(&mut self) {
        if self.around.broken == Some(Broken::NoJournal) {
            self.disk = SimulatedDisk::new(0);
        }
        let parts = Parts {
            machine: self.number,
            disk: &self.disk,
            clock: &self.clock,
            poll_time: self.plan.poll_time,
            work: self.enrolment(&self.ids.work, DOCK.to_owned()),
            control: Some(self.enrolment(&self.ids.control, control_of(DOCK))),
        };
        let mut dice = self.dice.clone();
        let mut agent = std::mem::take(&mut self.agent);
        let started =
            agent.start(|| parts.assemble(&mut dice, |clock, contact| self.open_devices(clock, contact)));
        started.unwrap();
        self.dice = dice;
        self.agent = agent;
    }

    fn open_devices(&self, clock: &SharedClock, contact: &Contact) -> Registry {
        let hardware = Hardware {
            contact: contact.clone(),
            dial: Some(Arc::new(self.cable.clone())),
            state_dir: Some(self.state_dir.path().to_owned()),
            ..Hardware::new(clock.clone())
        };
        let watched = Watched {
            device: Drone::open("drone", &self.settings, &hardware).unwrap(),
            dock: self.number,
            stage: self.around.stage.clone(),
            broken: self.around.broken,
        };
        let device = Pool::of_one(owner::spawn(Box::new(watched), clock.clone()));
        let mut registry = Registry::new();
        registry.add_device(&device, |_| Rules {
            // Old work is taken, so that it is the journal that knows what was flown.
            max_age: Some(Duration::from_secs(3600)),
            hazardous: self.plan.hazardous,
            require_target: self.plan.require_target,
            ..Rules::default()
        });
        registry
    }

    /// One identity's way to the server.
    fn enrolment(&self, id: &Arc<str>, runtime_type: String) -> Enrolment {
        let transport = SimulatedTransport {
            wire: self.around.wire.clone(),
            world: self.around.world.clone(),
            clock: self.clock.clone(),
            machine: self.number,
            caller: id.clone(),
            only_arrival: false,
        };
        let runtime = Runtime {
            name: format!("dock-{}", self.number),
            runtime_type,
            colony_id: self.colony_id.clone(),
            ..Runtime::default()
        };
        enrolment(transport, runtime)
    }

    /// Lets time pass for the vehicle, and gives the agent what it said. What happened, and the modes (`custom_mode`) of the
    /// heartbeats that came through.
    pub fn fly(&mut self, now: Moment) -> (Vec<(Duration, Event)>, Vec<u32>) {
        let arrived = self.vehicle.advance(self.vehicle_time(now));
        self.cable.set_out(!self.vehicle.plugged());
        self.cable.give(&arrived);
        (self.vehicle.take_events(), self.heartbeats.read(&arrived))
    }

    /// Lets the agent do what it can do now.
    pub fn run(&mut self, now: Moment) {
        if self.agent.frozen {
            return;
        }
        self.clock.fire();
        self.agent.run();
        let said = self.cable.take();
        if !said.is_empty() {
            self.vehicle.send(&said, self.vehicle_time(now));
        }
    }

    fn vehicle_time(&self, now: Moment) -> Duration {
        now.since(self.switched_on)
    }

    /// A moment of the vehicle in the world's time.
    pub fn moment_of(&self, at: Duration) -> Moment {
        self.switched_on.after(at)
    }

    /// What really happened.
    pub fn truth(&self) -> &Truth {
        self.vehicle.truth()
    }

    /// How many items its mission has.
    pub fn mission_length(&self) -> usize {
        self.vehicle.autopilot().list_lengths().0
    }
}

fn settings(plan: &DockPlan) -> DroneSettings {
    let mut text = format!(
        "port = \"/dev/drone\"\nmax_distance = {MAX_DISTANCE}\nmax_altitude = {MAX_ALTITUDE}\nfailsafes = \"{}\"\n",
        plan.failsafes
    );
    if let Some(half) = plan.fence {
        let north = half / 111_195.0;
        let east = north / plan.home.0.to_radians().cos();
        let corner = |up: f64, right: f64| format!("[{:.7}, {:.7}]", plan.home.0 + up, plan.home.1 + right);
        let corners = [
            corner(-north, -east),
            corner(-north, east),
            corner(north, east),
            corner(north, -east),
        ];
        text += &format!("fence = [{}]\n", corners.join(", "));
    }
    let source = config::File::from_str(&text, config::FileFormat::Toml);
    let file = config::Config::builder().add_source(source).build().unwrap();
    let value: serde_json::Value = file.try_deserialize().unwrap();
    serde_json::from_value(value).unwrap()
}
