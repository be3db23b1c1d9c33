//! The whole agent: settings to devices, journal, identities and lanes; and its life from start to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::backoff::Random;
use super::devices::{self, Devices};
use super::edges::Submitter;
use super::enrolment::Enrolment;
use super::fault_exits::{AfterFault, EXIT_CODE, FaultExits};
use super::health::Health;
use super::heartbeat::Heartbeat;
use super::journal::{FolderStorage, Journal, Limits, LockError, Machine, Moment, OpenError, Opening, Role};
use super::keeper::Keeper;
use super::metrics;
use super::registry::BadFunction;
use super::reload::Reloads;
use super::settings::{BadSetting, KeySource, Settings};
use super::shared::Shared;
use super::watchdog;
use super::worker::{AbortOnDrop, Worker};
use crate::client::{BadServerUrl, BadTrust, Client, HttpSettings, HttpTransport, ServerUrl};
use crate::clock::{SharedClock, SystemClock};
use crate::device::gpio::{GpioError, SimulatedBoard};
use crate::device::{Cancellation, DeviceError};
use crate::keyfile::{self, KeyFileError};
use crate::notify::Notifier;
use crate::protocol::control::control_of;
use crate::protocol::dialect::Dialect;
use crate::protocol::model::Runtime;
use crate::protocol::{PrivateKey, Time};

/// Why the agent can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value of the configuration.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The server's address.
    #[error("server.url: {0}")]
    Url(#[from] BadServerUrl),
    /// Whom to trust.
    #[error("server.ca_file: {0}")]
    Trust(#[from] BadTrust),
    /// The agent's own key.
    #[error("runtime.key_file: {0}")]
    Key(#[source] KeyFileError),
    /// The colony's key.
    #[error("colony.key_file: {0}")]
    ColonyKey(#[source] KeyFileError),
    /// The GPIO backend.
    #[error("gpio.backend: {0}")]
    Gpio(#[from] GpioError),
    /// The heartbeat line.
    #[error("safety.heartbeat_line: {0}")]
    Heartbeat(#[source] GpioError),
    /// A device.
    #[error("devices.{0}")]
    Device(#[from] DeviceError),
    /// A further name for a function.
    #[error(transparent)]
    Function(#[from] BadFunction),
    /// The state directory.
    #[error("agent.state_dir: {} can't be used ({cause}); create it, writable for the agent's user alone", path.display())]
    StateDir {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Another agent has the state directory, or its lock can't be opened.
    #[error("agent.state_dir: {0}")]
    Lock(#[from] LockError),
    /// The journal must not be used here.
    #[error("agent.state_dir: {0}")]
    Journal(#[from] OpenError),
    /// The journal's thread.
    #[error("can't start a thread for the journal: {0}")]
    Thread(#[source] io::Error),
    /// The control lane's key.
    #[error("the control lane's key: {0}")]
    ControlKey(#[source] KeyFileError),
    /// Nothing can listen where the metrics are to be served.
    #[error("metrics.listen: {address} can't be used ({cause}); choose another port, or leave the key out")]
    Metrics {
        /// As configured.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
}

/// An agent that is ready to run: its devices are open, its state directory is locked by the journal.
pub struct Agent {
    work: Worker,
    /// The lane of what answers or stops at once, where one is needed (docs/fence.md, 4).
    control: Option<Worker>,
    devices: Devices,
    shared: Arc<Shared>,
    settings: Settings,
    health: Health,
    fault_exits: FaultExits,
    /// Submits what edges ask for.
    submitter: Submitter,
    heartbeat: Option<Heartbeat>,
    /// Where the metrics are served, if anywhere.
    listener: Option<TcpListener>,
}

/// What surrounds a running agent.
pub struct Surroundings {
    /// The service manager.
    pub notifier: Notifier,
    /// Within which time it wants a sign of life; `None`: not at all.
    pub watchdog: Option<Duration>,
    /// Who asks for another configuration.
    pub reloads: Reloads,
}

/// Whether the configuration can be used, without touching hardware, files or the network: devices are opened on a
/// simulated board.
///
/// # Errors
/// What [`Agent::new`] would say of the configuration itself.
pub fn check(settings: &Settings, file: Option<&Path>) -> Result<(), StartError> {
    settings.check(file)?;
    let clock: SharedClock = Arc::new(SystemClock);
    devices::rehearse(settings, &clock)?;
    Ok(())
}

impl Agent {
    /// Makes or reads the keys, opens the devices; asks nobody. Needs a tokio runtime. `board` is used where the
    /// configuration says `backend = "simulated"`. `keeper` takes the journal: [`Keeper::threaded`], or [`Keeper::inline`] where
    /// the clock is paused and would run ahead of a thread.
    ///
    /// # Errors
    /// [`StartError`]: something that waiting does not cure. An unreachable server is none.
    pub fn new(
        settings: &Settings,
        file: Option<&Path>,
        clock: SharedClock,
        random: Random,
        board: &SimulatedBoard,
        keeper: impl FnOnce(Journal) -> io::Result<Keeper>,
    ) -> Result<Self, StartError> {
        settings.check(file)?;
        let (journal, opening) = open_journal(&settings.agent.state_dir, &clock)?;
        tell_opening(&opening, &journal);
        let key = read_key(&settings.key_source(), keyfile::load_or_create).map_err(StartError::Key)?;
        let owner_key = settings.colony_key_source();
        let owner_key = owner_key
            .map(|source| read_key(&source, keyfile::load))
            .transpose();
        let owner_key = owner_key.map_err(StartError::ColonyKey)?;
        let listener = settings.metrics.listen.map(|address| listen(address.get()));
        let listener = listener.transpose()?;
        let url = ServerUrl::parse(&settings.server.url)?;
        let http = HttpSettings {
            good_time: journal.state().last_good_time(),
            ..settings.http()
        };
        let transport = HttpTransport::new(url, http, clock.clone())?;
        let client = Client::new(transport, Dialect::Runtime);
        let mut devices = Devices::open(settings, board, &clock)?;
        let heartbeat = match &settings.safety.heartbeat_line {
            Some(line) => {
                let gpio = devices.gpio()?;
                let heartbeat = Heartbeat::open(line, &settings.safety, &*gpio);
                Some(heartbeat.map_err(StartError::Heartbeat)?)
            }
            None => None,
        };
        devices.keep_safe_list(settings);
        let wanted = settings.agent.control.unwrap_or_else(|| devices.need_control());
        // Only the runtime that was assigned a process can close it.
        let owing = !wanted && journal.state().owes(Role::Control);
        if owing {
            tracing::info!("the control lane, which is off, runs once more: results of it wait to be told");
        }
        let control_key = if wanted || owing {
            let key = keyfile::load_or_create(&settings.control_key_file());
            Some(key.map_err(StartError::ControlKey)?)
        } else {
            None
        };
        let fault_exits = FaultExits::open(&settings.agent.state_dir, clock.boot_id());
        let keeper = keeper(journal).map_err(StartError::Thread)?;
        let shared = Shared::new(clock, keeper, devices.contact().clone());
        let worker = |role, enrolment| {
            let (registry, lane) = (devices.registry().clone(), settings.lane(role));
            Worker::new(role, enrolment, registry, lane, shared.clone(), random.clone())
        };
        let enrolment = |key, runtime| {
            let owner = owner_key.clone().map(|key| client.with_key(key));
            Enrolment::new(client.with_key(key), owner, runtime)
        };
        let runtime = describe(settings);
        let health = Health::new();
        let mut work = enrolment(key, runtime.clone()).with_health(health.clone());
        let submitter = Submitter::new(work.caller().clone(), work.runtime().clone(), shared.clone());
        let mut control = None;
        if let Some(key) = control_key {
            work = work.with_control(&key.id());
            let runtime = Runtime {
                name: control_of(&runtime.name),
                runtime_type: control_of(&runtime.runtime_type),
                ..runtime
            };
            control = Some(worker(Role::Control, enrolment(key, runtime)));
        }
        tracing::info!(
            id = work.runtime().id,
            name = work.runtime().name,
            r#type = work.runtime().runtime_type,
            server = client.server(),
            functions = ?devices.registry().current().names().collect::<Vec<_>>(),
            "outpost-agent starts"
        );
        Ok(Agent {
            work: worker(Role::Work, work),
            control,
            devices,
            shared,
            settings: settings.clone(),
            health,
            fault_exits,
            submitter,
            heartbeat,
            listener,
        })
    }

    /// Works until `stop`; then lets what runs finish within the grace time or cancels it, makes every device safe,
    /// and delivers what can be delivered in a bounded time. The service manager hears that it is ready at once: devices
    /// are open, and the server may come and go.
    ///
    /// Gives the exit code: 0, or [`EXIT_CODE`] when it ended itself so that `outpost-agent safe` runs.
    pub async fn run(self, stop: Cancellation, surroundings: Surroundings) -> u8 {
        let Surroundings {
            notifier,
            watchdog,
            mut reloads,
        } = surroundings;
        let Agent {
            mut work,
            mut control,
            mut devices,
            shared,
            mut settings,
            health,
            mut fault_exits,
            submitter,
            mut heartbeat,
            listener,
        } = self;
        let clock = shared.clock.clone();
        let roster = devices.roster().clone();
        // It ends with the runtime: there is nothing to finish.
        if let Some(listener) = listener {
            let figures = metrics::Figures {
                metrics: shared.metrics.clone(),
                roster: roster.clone(),
            };
            tokio::spawn(metrics::serve(listener, figures));
        }
        let _submitting = devices
            .edges()
            .map(|edges| AbortOnDrop(tokio::spawn(submitter.run(edges))));
        // No heartbeat any more.
        let silence = Cancellation::new();
        let mut faults = devices.faults();
        let mut code = 0;
        notifier.ready();
        let life = async {
            // Boxed, as they are: what is live across their ends would be copied about.
            let serving = Box::pin(reloads.serve(&mut devices, &mut settings, &notifier, &health, &stop));
            let controlling = Box::pin(async {
                if let Some(control) = &mut control {
                    control.work(&stop).await;
                }
            });
            tokio::join!(Box::pin(work.work(&stop)), controlling, serving);
            devices.shutdown().await;
            work.settle().await;
            if let Some(control) = &mut control {
                control.settle().await;
            }
            shared.keeper.close().await;
        };
        let farewell = async {
            stop.cancelled().await;
            notifier.stopping();
            health.stopping();
            std::future::pending::<Infallible>().await
        };
        let minding = async {
            while let Some(device) = faults.recv().await {
                if stop.is_cancelled() {
                    continue;
                }
                // Whatever is tried here: the relay behind the heartbeat line may help, and at once.
                silence.cancel(format!("{device} can't be made safe"));
                match fault_exits.after_fault(clock.now()) {
                    AfterFault::Exit => {
                        tracing::error!(
                            device,
                            "an output can't be made safe: ending, so that `outpost-agent safe` tries"
                        );
                        code = EXIT_CODE;
                        stop.cancel(format!("{device} can't be made safe"));
                    }
                    AfterFault::StayUp => {
                        tracing::error!(
                            device,
                            "an output can't be made safe, and ending has not helped: somebody must look at it"
                        );
                    }
                }
            }
            std::future::pending::<Infallible>().await
        };
        let beating = async {
            match &mut heartbeat {
                Some(heartbeat) => heartbeat.beat(&roster, &silence, &clock).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = life => {}
            never = beating => match never {},
            never = farewell => match never {},
            never = minding => match never {},
            never = health.announce(&notifier, &clock) => match never {},
            never = watchdog::feed(watchdog, &roster, &notifier, &health, &clock) => match never {},
        }
        tracing::info!("stopped");
        code
    }
}

/// Reads a key from where it is: a file by `of_file`, or what the service manager gave us.
fn read_key(
    source: &KeySource,
    of_file: impl Fn(&Path) -> Result<PrivateKey, KeyFileError>,
) -> Result<PrivateKey, KeyFileError> {
    match source {
        KeySource::File(path) => of_file(path),
        KeySource::Credential(path) => keyfile::load_credential(path),
    }
}

/// Bound at the start, so that an address that can't be had stops the agent then and not some time later.
fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = std::net::TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .and_then(TcpListener::from_std);
    listener.map_err(|cause| StartError::Metrics { address, cause })
}

/// Opens the journal, which locks the state directory: two agents with one key would close each other's work as lost.
pub(super) fn open_journal(folder: &Path, clock: &SharedClock) -> Result<(Journal, Opening), StartError> {
    keyfile::make_folder(folder).map_err(|cause| StartError::StateDir {
        path: folder.to_owned(),
        cause,
    })?;
    let storage = FolderStorage::lock(folder)?;
    let opened = Journal::open(
        Box::new(storage),
        Moment::of(&**clock),
        &this_machine(),
        Limits::default(),
    );
    Ok(opened?)
}

/// The machine that a journal belongs to: a card that is put into another one is noticed (docs/fence.md, 6).
pub fn this_machine() -> Machine {
    // machine-id(5); a system without it can't tell machines apart, and says the same of all.
    Machine::of(&std::fs::read_to_string("/etc/machine-id").unwrap_or_default())
}

/// Says what was found when the journal was opened, where somebody needs to know.
fn tell_opening(opening: &Opening, journal: &Journal) {
    if opening.torn_bytes > 0 {
        tracing::warn!(
            bytes = opening.torn_bytes,
            "the journal's end was being written when the power went; what it would have said was not done"
        );
    }
    if let Some(why) = journal.state().distrust() {
        tracing::error!(
            "{why}: verbs that may be done only once are refused until `outpost-agent journal accept`; look at `outpost-agent history` first"
        );
    }
}

/// The last moment that the journal knows to be reached: certificates are not judged by an earlier one. A journal that can't
/// be read knows none.
pub(super) fn last_good_time(state_dir: &Path) -> Option<Time> {
    let (state, _) = super::journal::peek(&mut FolderStorage::look(state_dir)).ok()?;
    state.last_good_time()
}

/// What is registered; what the configuration leaves out is looked up on this machine.
pub(super) fn describe(settings: &Settings) -> Runtime {
    let runtime = &settings.runtime;
    let host = || {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "outpost-agent".to_owned())
    };
    let cores =
        || std::thread::available_parallelism().map_or(1, |cores| i64::try_from(cores.get()).unwrap_or(1));
    Runtime {
        runtime_type: runtime.runtime_type.clone(),
        name: runtime.name.clone().unwrap_or_else(host),
        colony_id: settings.colony.id.clone(),
        cpu: runtime
            .cpu
            .clone()
            .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: runtime.cores.unwrap_or_else(cores),
        mem: runtime.mem.unwrap_or_else(memory_mib),
        gpu: runtime.gpu.clone(),
        gpus: runtime.gpus,
        ..Runtime::default()
    }
}

/// `MemTotal` of proc(5) `/proc/meminfo`, in MiB; 0 if it can't be told.
fn memory_mib() -> i64 {
    let kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().split(' ').next()?.parse::<i64>().ok()
    });
    kib.map_or(0, |kib| kib / 1024)
}
