//! The whole agent: settings to devices, identity and lane; and its life from start to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backoff::Random;
use super::enrolment::Enrolment;
use super::journal::{self, FolderStorage, Lock, LockError};
use super::registry::{BadFunction, Registry};
use super::settings::{BadSetting, Settings};
use super::worker::Worker;
use crate::client::{BadServerUrl, BadTrust, Client, HttpSettings, HttpTransport, ServerUrl};
use crate::clock::{SharedClock, SystemClock};
use crate::device::builtin::{Echo, Sleep};
use crate::device::gpio::{BackendChoice, GpioError, SimulatedBoard, open_backend};
use crate::device::{self, Cancellation, DeviceError, DeviceHandle, Hardware, owner};
use crate::keyfile::{self, KeyFileError};
use crate::protocol::Time;
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
}

/// An agent that is ready to run: its devices are open, its state directory is locked.
pub struct Agent {
    worker: Worker,
    devices: Vec<DeviceHandle>,
    /// Held as long as the agent lives.
    _lock: Lock,
}

/// Opens the configured devices on `board` (simulated) or on the real backend, in the order of their names.
pub(super) fn open_devices(
    settings: &Settings,
    choice: BackendChoice,
    board: &SimulatedBoard,
    clock: &SharedClock,
) -> Result<(Vec<DeviceHandle>, Registry), StartError> {
    let needs_gpio = settings.devices.values().any(|device| device.needs_gpio());
    let gpio = if needs_gpio {
        Some(open_backend(choice, board)?)
    } else {
        None
    };
    let hardware = Hardware {
        clock: clock.clone(),
        gpio,
    };
    let mut devices = Vec::new();
    let mut registry = Registry::new();
    for (name, device) in &settings.devices {
        let handle = owner::spawn(device::open(name, device, &hardware)?, clock.clone());
        let max_age = settings.max_age().filter(|_| device.goes_stale());
        registry.add_device(&handle, max_age, |verb| device.repeats(verb));
        devices.push(handle);
    }
    for builtin in builtin_devices() {
        let handle = owner::spawn(builtin, clock.clone());
        registry.add_builtin(&handle);
        devices.push(handle);
    }
    registry.add_names(&settings.functions)?;
    Ok((devices, registry))
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
    open_devices(settings, BackendChoice::Simulated, &board, &clock)?;
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
        let lock = lock_state_dir(&settings.agent.state_dir)?;
        let key = keyfile::load_or_create(&settings.key_file()).map_err(StartError::Key)?;
        let owner_key = settings.colony.key_file.as_deref().map(keyfile::load).transpose();
        let owner_key = owner_key.map_err(StartError::ColonyKey)?;
        let url = ServerUrl::parse(&settings.server.url)?;
        let http = HttpSettings {
            good_time: last_good_time(&settings.agent.state_dir),
            ..settings.http()
        };
        let transport = HttpTransport::new(url, http, clock.clone())?;
        let client = Client::new(transport, Dialect::Runtime);
        let (devices, registry) = open_devices(settings, settings.gpio.backend, board, &clock)?;
        let enrolment = Enrolment::new(
            client.with_key(key),
            owner_key.map(|key| client.with_key(key)),
            describe(settings),
        );
        tracing::info!(
            id = enrolment.runtime().id,
            name = enrolment.runtime().name,
            r#type = enrolment.runtime().runtime_type,
            server = client.server(),
            functions = ?registry.names().collect::<Vec<_>>(),
            "outpost-agent starts"
        );
        Ok(Agent {
            worker: Worker::new(enrolment, Arc::new(registry), settings.lane(), clock, random),
            devices,
            _lock: lock,
        })
    }

    /// Works until `stop`; then lets what runs finish within the grace time or cancels it, makes every device safe,
    /// and delivers what can be delivered in a bounded time.
    pub async fn run(mut self, stop: Cancellation) {
        self.worker.work(&stop).await;
        for device in &self.devices {
            if let Err(error) = device.shutdown().await {
                tracing::error!(device = device.name(), %error, "not safe");
            }
        }
        self.worker.settle().await;
        tracing::info!("stopped");
    }
}

/// One agent per state directory: two with one key would close each other's work as lost.
fn lock_state_dir(path: &Path) -> Result<Lock, StartError> {
    keyfile::make_folder(path).map_err(|cause| StartError::StateDir {
        path: path.to_owned(),
        cause,
    })?;
    Ok(Lock::take(path)?)
}

/// The last moment that the journal knows to be reached: certificates are not judged by an earlier one. A journal that can't
/// be read knows none.
pub(super) fn last_good_time(state_dir: &Path) -> Option<Time> {
    let (state, _) = journal::peek(&mut FolderStorage::look(state_dir)).ok()?;
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
