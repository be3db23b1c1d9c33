//! The whole agent: settings to devices, journal, identities and lanes; and its life from start to stop.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::backoff::Random;
use super::enrolment::Enrolment;
use super::journal::{FolderStorage, Journal, Limits, LockError, Machine, Moment, OpenError, Opening, Role};
use super::keeper::Keeper;
use super::metrics;
use super::registry::{BadFunction, Registry};
use super::safe::SafeList;
use super::settings::{BadSetting, Settings};
use super::shared::Shared;
use super::worker::Worker;
use crate::client::{BadServerUrl, BadTrust, Client, HttpSettings, HttpTransport, ServerUrl};
use crate::clock::{SharedClock, SystemClock};
use crate::device::builtin::{Echo, Sleep};
use crate::device::command::Pool;
use crate::device::gpio::{BackendChoice, GpioError, SimulatedBoard, open_backend};
use crate::device::{
    self, Cancellation, Contact, DeviceError, DeviceHandle, Hardware, Interlocks, Urgency, Verb, output,
    owner,
};
use crate::keyfile::{self, KeyFileError};
use crate::protocol::Time;
use crate::protocol::control::control_of;
use crate::protocol::dialect::Dialect;
use crate::protocol::model::Runtime;

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
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    /// Where the metrics are served, if anywhere.
    listener: Option<TcpListener>,
}

/// Opens the configured devices on `board` (simulated) or on the real backend, in the order of their names. Outputs keep
/// their last level in `state_dir`, and follow `contact` when the server is lost.
pub(super) fn open_devices(
    settings: &Settings,
    choice: BackendChoice,
    board: &SimulatedBoard,
    clock: &SharedClock,
    contact: &Contact,
    state_dir: Option<&Path>,
) -> Result<Registry, StartError> {
    let outputs = settings.kinds().filter_map(|(_, kind)| kind.output());
    for (output, feedback) in outputs.filter_map(|output| Some((output, output.feedback.as_ref()?))) {
        // Without hardware the contact is a wire.
        board.wire(&output.line, &feedback.line);
    }
    let needs_gpio = settings.kinds().any(|(_, kind)| kind.needs_gpio());
    let gpio = if needs_gpio {
        Some(open_backend(choice, board)?)
    } else {
        None
    };
    let hardware = Hardware {
        clock: clock.clone(),
        gpio,
        contact: contact.clone(),
        interlocks: Interlocks::of(settings.kinds()),
        state_dir: state_dir.map(Path::to_owned),
    };
    let mut registry = Registry::new();
    for (name, table) in &settings.devices {
        let open = || device::open(name, &table.settings, &hardware);
        let opened: Result<Vec<_>, _> = (0..table.settings.slots().max(1)).map(|_| open()).collect();
        let Some(device) = Pool::spawn(opened?, clock) else {
            continue;
        };
        let rules = |verb: &Verb| settings.rules(table, verb);
        if table.settings.catch_all() {
            registry.add_catch_all(&device, rules);
        } else {
            registry.add_device(&device, rules);
        }
    }
    for builtin in builtin_devices() {
        registry.add_builtin(&Pool::of_one(owner::spawn(builtin, clock.clone())));
    }
    registry.add_names(&settings.functions)?;
    Ok(registry)
}

/// What every agent has.
pub(super) fn builtin_devices() -> [Box<dyn device::Device>; 2] {
    [Box::new(Sleep::new("sleep")), Box::new(Echo::new("echo"))]
}

/// Whether the configuration can be used, without touching hardware, files or the network: devices are opened on a
/// simulated board. Needs a tokio runtime.
///
/// # Errors
/// What [`Agent::new`] would say of the configuration itself.
pub fn check(settings: &Settings, file: Option<&Path>) -> Result<(), StartError> {
    settings.check(file)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let board = SimulatedBoard::new(clock.clone());
    let contact = Contact::new(clock.now());
    open_devices(settings, BackendChoice::Simulated, &board, &clock, &contact, None)?;
    Ok(())
}

impl Agent {
    /// Makes or reads the keys, opens the devices; asks nobody. Needs a tokio runtime. `board` is used where the
    /// configuration says `backend = "simulated"`.
    ///
    /// # Errors
    /// [`StartError`]: something that waiting does not cure. An unreachable server is none.
    pub fn new(
        settings: &Settings,
        file: Option<&Path>,
        clock: SharedClock,
        random: Random,
        board: &SimulatedBoard,
    ) -> Result<Self, StartError> {
        settings.check(file)?;
        let (journal, opening) = open_journal(&settings.agent.state_dir, &clock)?;
        tell_opening(&opening, &journal);
        let key = keyfile::load_or_create(&settings.key_file()).map_err(StartError::Key)?;
        let owner_key = settings.colony.key_file.as_deref().map(keyfile::load).transpose();
        let owner_key = owner_key.map_err(StartError::ColonyKey)?;
        let listener = settings
            .metrics
            .listen
            .map(|address| listen(address.get()))
            .transpose()?;
        let url = ServerUrl::parse(&settings.server.url)?;
        let http = HttpSettings {
            good_time: journal.state().last_good_time(),
            ..settings.http()
        };
        let transport = HttpTransport::new(url, http, clock.clone())?;
        let client = Client::new(transport, Dialect::Runtime);
        let contact = Contact::new(clock.now());
        let state_dir = settings.agent.state_dir.as_path();
        let backend = settings.gpio.backend;
        let registry = open_devices(settings, backend, board, &clock, &contact, Some(state_dir))?;
        if let Err(error) = SafeList::of(settings).store(state_dir) {
            tracing::error!(%error, "can't keep the list of outputs: `outpost-agent safe` can't make them safe after a crash");
        }
        let control_key = if settings.agent.control.unwrap_or_else(|| needs_control(&registry)) {
            let key = keyfile::load_or_create(&settings.control_key_file());
            Some(key.map_err(StartError::ControlKey)?)
        } else {
            None
        };
        let registry = Arc::new(registry);
        let shared = Shared::new(
            clock,
            Keeper::threaded(journal).map_err(StartError::Thread)?,
            contact,
        );
        let worker = |role, enrolment: Enrolment| {
            let runtime = enrolment.runtime();
            tracing::info!(
                id = runtime.id,
                name = runtime.name,
                r#type = runtime.runtime_type,
                server = client.server(),
                functions = ?registry.names().collect::<Vec<_>>(),
                "outpost-agent starts"
            );
            let lane = settings.lane(role);
            Worker::new(
                role,
                enrolment,
                registry.clone(),
                lane,
                shared.clone(),
                random.clone(),
            )
        };
        let enrolment = |key, runtime| {
            let owner = owner_key.clone().map(|key| client.with_key(key));
            Enrolment::new(client.with_key(key), owner, runtime)
        };
        let runtime = describe(settings);
        let mut work = enrolment(key, runtime.clone());
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
        Ok(Agent {
            work: worker(Role::Work, work),
            control,
            registry,
            shared,
            listener,
        })
    }

    /// Works until `stop`; then lets what runs finish within the grace time or cancels it, makes every device safe,
    /// and delivers what can be delivered in a bounded time.
    pub async fn run(mut self, stop: Cancellation) {
        // It ends with the runtime: there is nothing to finish.
        if let Some(listener) = self.listener.take() {
            tokio::spawn(metrics::serve(listener, self.shared.metrics.clone()));
        }
        match &mut self.control {
            Some(control) => {
                tokio::join!(Box::pin(self.work.work(&stop)), Box::pin(control.work(&stop)));
            }
            None => self.work.work(&stop).await,
        }
        // All at once: of an interlock group one may have to wait until another is off.
        let devices = self.registry.devices().iter();
        let stops = devices.map(|device| async move { (device.name(), device.shutdown().await) });
        for (device, result) in futures_util::future::join_all(stops).await {
            if let Err(error) = result {
                tracing::error!(device, %error, "not as it is to be while the agent is stopped");
            }
        }
        self.work.settle().await;
        if let Some(control) = &mut self.control {
            control.settle().await;
        }
        tracing::info!("stopped");
    }
}

/// Whether something must be able to stop what runs without standing in the queue behind it: a verb that preempts, other
/// than an output's `off` (docs/fence.md, 4).
fn needs_control(registry: &Registry) -> bool {
    registry.devices().iter().any(|device| {
        let is_output = device.handles().iter().any(DeviceHandle::is_local_output);
        let mut verbs = device.verbs().iter();
        verbs.any(|verb| verb.urgency == Urgency::Preempt && !(is_output && verb.name == output::OFF))
    })
}

/// Bound at the start, so that an address that can't be had stops the agent then and not some time later.
fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = std::net::TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .and_then(TcpListener::from_std);
    listener.map_err(|cause| StartError::Metrics { address, cause })
}

/// Opens the journal, which locks the state directory: two agents with one key would close each other's work as lost.
fn open_journal(folder: &Path, clock: &SharedClock) -> Result<(Journal, Opening), StartError> {
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
