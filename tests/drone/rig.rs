//! A drone device on the simulated vehicle, in paused time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outpost::clock::{BootTime, Clock, TestClock};
use outpost::device::drone::link::port::{Dial, Opening, Stream};
use outpost::device::drone::link::{Address, LinkError};
use outpost::device::drone::{Drone, DroneSettings};
use outpost::device::gpio::SimulatedBoard;
use outpost::device::input::Inputs;
use outpost::device::{
    Call, Confirmation, Confirmed, Contact, Context, DeviceHandle, DeviceSettings, Hardware, Outcome,
    VerbError, owner,
};
use outpost::vehicle::{Config, Faults, Server, Simulation};

/// Where the vehicle of [`Config::new`] stands, and points around it.
pub const HOME: (f64, f64) = (65.617, 22.137);

/// A target so many metres north of home, as an argument.
pub fn north(metres: f64, rest: &str) -> String {
    format!("{:.7},{:.7},{rest}", HOME.0 + metres / 111_195.0, HOME.1)
}

/// Opens pipes into a simulated vehicle.
struct Pipes(Server);

impl Dial for Pipes {
    fn open(&self, address: &Address) -> Opening {
        let server = self.0.clone();
        let address = address.to_string();
        Box::pin(async move {
            // Time passes for it also while nobody listens.
            server.with(|simulation| simulation.advance(server.now()));
            if !server.with(|simulation| simulation.plugged()) {
                return Err(LinkError::Unreachable {
                    address,
                    cause: "the cable is out".to_owned(),
                });
            }
            let (near, far) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move { server.serve(far).await });
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

/// What the server says when it is asked whether the process is still ours.
pub struct Asked(
    pub Arc<dyn Fn(BootTime) -> Confirmed + Send + Sync>,
    pub Arc<TestClock>,
);

#[async_trait]
impl Confirmation for Asked {
    async fn confirm(&self) -> Confirmed {
        (self.0)(self.1.now())
    }
}

/// Everything that a flight needs.
pub struct Rig {
    pub clock: Arc<TestClock>,
    pub vehicle: Server,
    pub drone: DeviceHandle,
    pub contact: Contact,
    pub board: SimulatedBoard,
    inputs: Inputs,
    settings: DroneSettings,
    state_dir: tempfile::TempDir,
}

impl Rig {
    /// A vehicle with its failsafes on that stands ready, and a drone with these settings besides.
    pub fn new(toml: &str) -> Self {
        Rig::with(
            Config::new(outpost::vehicle::Family::ArduPilot).with_failsafes(),
            Faults::default(),
            1,
            toml,
        )
    }

    pub fn with(config: Config, faults: Faults, seed: u64, toml: &str) -> Self {
        let settings = settings(toml);
        let clock = TestClock::new(1_700_000_000_000_000_000);
        let vehicle = Server::new(Simulation::new(config, faults, seed), 1.0);
        let state_dir = tempfile::tempdir().unwrap();
        let contact = Contact::new(clock.now());
        let inputs = Inputs::default();
        let drone = open(&settings, &clock, &vehicle, &contact, &inputs, state_dir.path());
        Rig {
            board: SimulatedBoard::new(clock.clone()),
            inputs,
            clock,
            vehicle,
            drone,
            contact,
            settings,
            state_dir,
        }
    }

    /// The agent dies and is started again; the vehicle flies on.
    pub async fn crash(&mut self) {
        // Nobody asks the device for anything any more: its owner task is dropped with the runtime in real life.
        let old = std::mem::replace(
            &mut self.drone,
            open(
                &self.settings,
                &self.clock,
                &self.vehicle,
                &self.contact,
                &self.inputs,
                self.state_dir.path(),
            ),
        );
        drop(old);
    }

    /// A context as the agent makes it: for a process, until an end, confirmed.
    pub fn context(&self, process: &str, lease: Duration) -> Context {
        let yes = Arc::new(|now: BootTime| Confirmed::Until(now + Duration::from_secs(1)));
        Context::new(self.clock.clone())
            .with_process(process.to_owned())
            .with_lease(Some(self.clock.now() + lease))
            .with_confirmation(Arc::new(Asked(yes, self.clock.clone())))
    }

    pub async fn run(&self, call: Call, context: Context) -> Result<Outcome, VerbError> {
        // The server answers all the time.
        let contact = self.contact.clone();
        let clock = self.clock.clone();
        let hearing = async move {
            loop {
                contact.heard(clock.now());
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        };
        tokio::select! {
            result = self.drone.perform(call, context) => result,
            never = hearing => never,
        }
    }

    /// An input of that name, on GPIO6.
    pub fn door_open(&self) -> DeviceHandle {
        let hardware = Hardware {
            inputs: self.inputs.clone(),
            ..Hardware::new(self.clock.clone()).with_gpio(Arc::new(self.board.clone()))
        };
        let table = serde_json::json!({ "kind": "input", "line": "GPIO6" });
        let settings: DeviceSettings = serde_json::from_value(table).unwrap();
        let input = outpost::device::open("door_open", &settings, &hardware).unwrap();
        owner::spawn(input, self.clock.clone())
    }

    pub fn flight_note(&self) -> std::path::PathBuf {
        self.state_dir.path().join("flights").join("dock")
    }
}

/// A drone on whatever is at the other end of this pipe.
pub fn on_pipe(near: tokio::io::DuplexStream, clock: &Arc<TestClock>) -> DeviceHandle {
    struct Once(std::sync::Mutex<Option<tokio::io::DuplexStream>>);
    impl Dial for Once {
        fn open(&self, _: &Address) -> Opening {
            let near = self.0.lock().unwrap().take().expect("it is opened once");
            Box::pin(async move { Ok(Box::new(near) as Box<dyn Stream>) })
        }
    }
    let hardware = Hardware {
        dial: Some(Arc::new(Once(Some(near).into()))),
        ..Hardware::new(clock.clone())
    };
    let drone = Drone::open("dock", &settings(""), &hardware).unwrap();
    owner::spawn(Box::new(drone), clock.clone())
}

fn settings(toml: &str) -> DroneSettings {
    let text = format!("port = \"/dev/drone\"\n{toml}");
    let source = config::File::from_str(&text, config::FileFormat::Toml);
    let file = config::Config::builder().add_source(source).build().unwrap();
    let value: serde_json::Value = file.try_deserialize().unwrap();
    serde_json::from_value(value).unwrap()
}

fn open(
    settings: &DroneSettings,
    clock: &Arc<TestClock>,
    vehicle: &Server,
    contact: &Contact,
    inputs: &Inputs,
    state_dir: &Path,
) -> DeviceHandle {
    let hardware = Hardware {
        contact: contact.clone(),
        inputs: inputs.clone(),
        dial: Some(Arc::new(Pipes(vehicle.clone()))),
        state_dir: Some(state_dir.to_owned()),
        ..Hardware::new(clock.clone())
    };
    let drone = Drone::open("dock", settings, &hardware).unwrap();
    owner::spawn(Box::new(drone), clock.clone())
}
