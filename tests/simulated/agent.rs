//! An agent on a simulated machine: what `outpost-agent` does at its start, on the machine's disk and clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost::agent::backoff::Random;
use outpost::agent::enrolment::Enrolment;
use outpost::agent::journal::{self, Journal, Limits, OpenError, Role, SimulatedDisk};
use outpost::agent::keeper::Keeper;
use outpost::agent::registry::Registry;
use outpost::agent::shared::Shared;
use outpost::agent::worker::{LaneSettings, Worker};
use outpost::client::Client;
use outpost::clock::SharedClock;
use outpost::device::{Cancellation, Contact};
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::Runtime;

use super::clock::SimulatedClock;
use super::dice::Dice;
use super::idle::Idle;
use super::net::SimulatedTransport;

/// How long an agent that is stopped may finish what it does.
const GRACE: Duration = Duration::from_secs(2);

/// The simulated hub takes a caller's word for who it is (see [`super::hub`]): signing would take most of the time.
const UNSIGNED: &str = "00";

/// A machine's agent, there or not.
#[derive(Default)]
pub struct Agent {
    running: Option<Running>,
    /// SIGSTOP: nothing runs until SIGCONT.
    pub frozen: bool,
}

/// An agent that was started and not yet collected.
struct Running {
    idle: Idle,
    stop: Cancellation,
    ended: Arc<AtomicBool>,
}

impl Agent {
    /// Starts what is assembled, unless that refuses; it runs at the next [`Agent::run`].
    pub fn start(&mut self, assemble: impl FnOnce() -> Result<Lanes, OpenError>) -> Result<(), OpenError> {
        let idle = Idle::new();
        let stop = Cancellation::new();
        let ended = Arc::new(AtomicBool::new(false));
        {
            let _inside = idle.enter();
            let lanes = assemble()?;
            let (stop, ended) = (stop.clone(), ended.clone());
            tokio::spawn(async move {
                lanes.run(stop).await;
                ended.store(true, Ordering::Relaxed);
            });
        }
        self.running = Some(Running { idle, stop, ended });
        Ok(())
    }

    pub fn is_there(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it is there, and not frozen.
    pub fn can_act(&self) -> bool {
        self.is_there() && !self.frozen
    }

    /// Lets it do what it can do now.
    pub fn run(&self) {
        if let Some(running) = &self.running {
            running.idle.run();
        }
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        if let Some(running) = &self.running {
            running.stop.cancel("SIGTERM");
        }
    }

    /// Collects one that ended by itself. Whether it did.
    pub fn collect(&mut self) -> bool {
        let running = self.running.as_ref();
        let ended = running.is_some_and(|running| running.ended.load(Ordering::Relaxed));
        if ended {
            self.running = None;
        }
        ended
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.running = None;
        self.frozen = false;
    }
}

/// The lanes of an agent, and what they share.
pub struct Lanes {
    work: Worker,
    control: Option<Worker>,
    registry: Arc<Registry>,
}

impl Lanes {
    /// As `agent::service::Agent::run`.
    async fn run(mut self, stop: Cancellation) {
        match &mut self.control {
            Some(control) => {
                tokio::join!(Box::pin(self.work.work(&stop)), Box::pin(control.work(&stop)));
            }
            None => self.work.work(&stop).await,
        }
        for device in self.registry.devices() {
            let _ = device.shutdown().await;
        }
        self.work.settle().await;
        if let Some(control) = &mut self.control {
            control.settle().await;
        }
    }
}

/// What an agent is made of.
pub struct Parts<'a> {
    /// The number of its machine.
    pub machine: usize,
    pub disk: &'a SimulatedDisk,
    pub clock: &'a Arc<SimulatedClock>,
    pub poll_time: Duration,
    pub work: Enrolment,
    pub control: Option<Enrolment>,
}

impl Parts<'_> {
    /// Wires them as `agent::service` does.
    pub fn assemble(
        self,
        dice: &mut Dice,
        open_devices: impl FnOnce(&SharedClock, &Contact) -> Registry,
    ) -> Result<Lanes, OpenError> {
        let clock: SharedClock = self.clock.clone();
        let (journal, _) = Journal::open(
            Box::new(self.disk.storage()),
            journal::Moment::of(&**self.clock),
            &journal::Machine::of(&format!("machine-id-{}", self.machine)),
            Limits::default(),
        )?;
        let contact = Contact::new(clock.now());
        let registry = Arc::new(open_devices(&clock, &contact));
        let shared = Shared::new(clock, Keeper::inline(journal), contact);
        let dice = Mutex::new(dice.fork());
        let random: Random = Arc::new(move || dice.lock().unwrap().fraction());
        let worker = |role, enrolment, slots| {
            Worker::new(
                role,
                enrolment,
                registry.clone().into(),
                LaneSettings {
                    poll_time: self.poll_time,
                    grace_time: GRACE,
                    backoff_min: Duration::from_millis(500),
                    backoff_max: Duration::from_secs(8),
                    slots,
                    supervise: Duration::from_secs(5),
                },
                shared.clone(),
                random.clone(),
            )
        };
        let work = worker(Role::Work, self.work, 1);
        let control = self.control.map(|enrolment| worker(Role::Control, enrolment, 8));
        Ok(Lanes {
            work,
            control,
            registry,
        })
    }
}

/// One identity's way to the server.
pub fn enrolment(transport: SimulatedTransport, runtime: Runtime) -> Enrolment {
    let caller = transport.caller.to_string();
    let client = Client::new(transport, Dialect::Runtime);
    let client = client.with_signer(caller, |_| UNSIGNED.to_owned());
    Enrolment::new(client, None, runtime)
}
