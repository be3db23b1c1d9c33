//! A whole lane against a server in the same process, in paused time.

mod attempts;
mod counting;
mod crashes;
mod edges;
mod faults;
mod hazardous;
mod membership;
mod results;
mod server;
mod stopping;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::enrolment::Enrolment;
use super::fence::Rules;
use super::journal::{Journal, Limits, Machine, Moment, Role, SimulatedDisk};
use super::keeper::Keeper;
use super::registry::{FunctionSettings, FunctionTable, Registry};
use super::shared::Shared;
use super::worker::{LaneSettings, Worker};
use crate::clock::{BootTime, Clock, TestClock};
use crate::device::builtin::{Echo, Sleep};
use crate::device::command::Pool;
use crate::device::gpio::{Level, LineSpec, SimulatedBoard};
use crate::device::lamp::{Lamp, LampSettings};
use crate::device::{
    Call, Cancellation, Confirmed, Contact, Context, Device, DeviceError, DeviceHandle, Effect, Hardware,
    Outcome, Urgency, Verb, VerbError, owner,
};
use crate::protocol::PrivateKey;
use crate::protocol::model::{Process, ProcessSpec, ProcessState, Runtime, RuntimeState};
use server::FakeServer;

/// A lane, its server and its devices.
struct Bench {
    clock: Arc<TestClock>,
    server: FakeServer,
    board: SimulatedBoard,
    key: PrivateKey,
    settings: LaneSettings,
    stop: Cancellation,
    with_owner_key: bool,
    /// What the configuration says of every function.
    rules: Rules,
    role: Role,
    /// Where the journal is.
    disk: SimulatedDisk,
    contact: Contact,
    odd: Arc<Mutex<OddLog>>,
    /// How long the odd device takes to be made safe.
    odd_takes: Duration,
    /// How long the lamp stays off at least.
    min_off: Duration,
}

/// A process failed, and what is said of that begins so.
#[track_caller]
fn assert_failed_with(process: &Process, beginning: &str) {
    assert_eq!(process.state, ProcessState::Failed);
    let text = &process.error_message;
    assert!(text.starts_with(beginning), "{text}");
}

impl Bench {
    /// A server that knows and approved the runtime.
    fn new() -> Self {
        let bench = Bench::stranger();
        bench.server.set_runtime(&bench.key.id(), RuntimeState::Approved);
        bench
    }

    /// A server that does not know the runtime.
    fn stranger() -> Self {
        let clock = TestClock::new(0);
        Bench {
            server: FakeServer::new(&clock),
            board: SimulatedBoard::new(clock.clone()),
            clock,
            key: PrivateKey::from_hex(&"44".repeat(32)).unwrap(),
            settings: LaneSettings {
                poll_time: Duration::from_secs(30),
                grace_time: Duration::from_secs(5),
                backoff_min: Duration::from_secs(1),
                backoff_max: Duration::from_secs(30),
                slots: 1,
                supervise: Duration::from_secs(5),
            },
            stop: Cancellation::new(),
            with_owner_key: false,
            rules: Rules {
                max_age: Some(Duration::from_secs(60)),
                ..Rules::default()
            },
            role: Role::Work,
            disk: SimulatedDisk::new(7),
            contact: Contact::new(BootTime::default()),
            odd: Arc::default(),
            odd_takes: Duration::from_millis(400),
            min_off: Duration::ZERO,
        }
    }

    fn enrolment(&self) -> Enrolment {
        let client = self.server.client();
        let runtime = Runtime {
            name: "porch".to_owned(),
            runtime_type: "cli".to_owned(),
            colony_id: self.server.colony_id(),
            ..Runtime::default()
        };
        let owner = self
            .with_owner_key
            .then(|| client.with_key(self.server.owner_key()));
        Enrolment::new(client.with_key(self.key.clone()), owner, runtime)
    }

    fn devices(&self) -> Vec<DeviceHandle> {
        let mut settings = LampSettings::on_line(LineSpec::named("GPIO17"));
        settings.output.min_off = self.min_off;
        let hardware = Hardware::new(self.clock.clone()).with_gpio(Arc::new(self.board.clone()));
        let lamp = Lamp::open("lamp", &settings, &hardware).unwrap();
        vec![
            owner::spawn(Box::new(lamp), self.clock.clone()),
            owner::spawn(
                Box::new(Odd::new(self.odd.clone(), self.odd_takes, self.clock.clone())),
                self.clock.clone(),
            ),
        ]
    }

    fn registry(&self, devices: &[DeviceHandle]) -> Registry {
        let mut registry = Registry::new();
        for device in devices {
            registry.add_device(&Pool::of_one(device.clone()), |_| self.rules);
        }
        for builtin in [
            Box::new(Sleep::new("sleep")) as Box<dyn Device>,
            Box::new(Echo::new("echo")),
        ] {
            registry.add_builtin(&Pool::of_one(owner::spawn(builtin, self.clock.clone())));
        }
        let table = FunctionTable {
            call: "lamp.pulse".to_owned(),
            args: vec!["3s".to_owned()],
        };
        let names = [
            (
                "turn_on_lamp".to_owned(),
                FunctionSettings::Name("lamp.on".to_owned()),
            ),
            ("flash".to_owned(), FunctionSettings::Table(table)),
            ("say".to_owned(), FunctionSettings::Name("echo".to_owned())),
        ];
        registry.add_names(&names.into()).unwrap();
        registry
    }

    fn journal(&self) -> Journal {
        let opened = Journal::open(
            Box::new(self.disk.storage()),
            Moment::of(&*self.clock),
            &Machine::of("porch"),
            Limits::default(),
        );
        opened.unwrap().0
    }

    fn shared(&self) -> Arc<Shared> {
        Shared::new(
            self.clock.clone(),
            Keeper::inline(self.journal()),
            self.contact.clone(),
        )
    }

    fn worker(&self, shared: Arc<Shared>) -> Worker {
        let devices = self.devices();
        let registry = Arc::new(self.registry(&devices));
        Worker::new(
            self.role,
            self.enrolment(),
            registry.into(),
            self.settings.clone(),
            shared,
            Arc::new(|| 0.75),
        )
    }

    /// Runs the lane until it is stopped; gives back how many results were left undelivered.
    fn start(&self) -> tokio::task::JoinHandle<usize> {
        self.start_with(self.shared())
    }

    fn start_with(&self, shared: Arc<Shared>) -> tokio::task::JoinHandle<usize> {
        let mut worker = self.worker(shared);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            worker.work(&stop).await;
            worker.settle().await
        })
    }

    fn now(&self) -> BootTime {
        self.clock.now()
    }

    fn submit(&self, func: &str, args: &[&str], max_exec_time: i64, max_retries: i64) -> String {
        self.server.submit(spec(func, args, max_exec_time, max_retries))
    }

    fn lamp_edges(&self) -> Vec<Level> {
        self.board.levels("GPIO17")
    }

    fn odd_log(&self) -> OddLog {
        self.odd.lock().unwrap().clone()
    }
}

fn spec(func: &str, args: &[&str], max_exec_time: i64, max_retries: i64) -> ProcessSpec {
    let mut spec = ProcessSpec {
        func: func.to_owned(),
        args: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
        max_wait_time: -1,
        max_exec_time,
        max_retries,
        ..ProcessSpec::default()
    };
    spec.conditions.runtime_type = "cli".to_owned();
    spec
}

fn at(seconds: f64) -> BootTime {
    BootTime::from_nanos((seconds * 1e9) as u64)
}

/// What the odd device was made to do.
#[derive(Debug, Clone, Default)]
struct OddLog {
    began: Vec<BootTime>,
    safe: Vec<BootTime>,
    /// What its verbs were told when they asked whether they are still wanted.
    confirmed: Vec<Confirmed>,
}

/// A device for what no real one does on purpose: hangs, fails at once, takes long to be safe.
struct Odd {
    verbs: Vec<Verb>,
    log: Arc<Mutex<OddLog>>,
    takes: Duration,
    clock: Arc<TestClock>,
}

impl Odd {
    fn new(log: Arc<Mutex<OddLog>>, takes: Duration, clock: Arc<TestClock>) -> Self {
        let verb = |name: &'static str, effect| Verb {
            name: name.into(),
            usage: "".into(),
            help: "".into(),
            effect,
            urgency: match name {
                "rescue" => Urgency::Preempt,
                _ => Urgency::Work,
            },
            max_time: Duration::from_secs(600),
        };
        Odd {
            verbs: vec![
                verb("read", Effect::Read),
                verb("set", Effect::Set),
                verb("once", Effect::Once),
                verb("fail", Effect::Set),
                verb("steps", Effect::Once),
                verb("rescue", Effect::Set),
            ],
            log,
            takes,
            clock,
        }
    }
}

#[async_trait]
impl Device for Odd {
    fn name(&self) -> &str {
        "odd"
    }

    fn kind(&self) -> &'static str {
        "odd"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        self.takes + Duration::from_millis(100)
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        self.log.lock().unwrap().began.push(context.now());
        if call.verb == "fail" {
            return Err(DeviceError::Gone { device: "odd".into() }.into());
        }
        if call.verb == "rescue" {
            return Ok(Outcome::new());
        }
        if call.verb == "steps" {
            // The second step is only taken for somebody.
            context.sleep(Duration::from_secs(2)).await?;
            let confirmed = context.confirm().await;
            self.log.lock().unwrap().confirmed.push(confirmed.clone());
            return match confirmed {
                Confirmed::Until(_) => Ok(Outcome::new()),
                Confirmed::NotOurs(reason) => Err(VerbError::Cancelled { reason }),
                Confirmed::Unclear => Err(VerbError::LeaseOver),
            };
        }
        // Ends only when it is stopped.
        context.sleep(Duration::from_secs(100_000)).await?;
        Ok(Outcome::new())
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        tokio::time::sleep(self.takes).await;
        self.log.lock().unwrap().safe.push(self.clock.now());
        Ok(())
    }
}
