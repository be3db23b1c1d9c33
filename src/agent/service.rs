//! The whole agent: settings to devices, identity and lane; and its life from start to stop.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Random;
use super::devices::{self, Devices};
use super::enrolment::Enrolment;
use super::health::Health;
use super::journal::{Lock, LockError};
use super::registry::BadFunction;
use super::reload::Reloads;
use super::settings::{BadSetting, KeySource, Settings};
use super::watchdog;
use super::worker::Worker;
use crate::client::{BadServerUrl, BadTrust, Client, HttpTransport, ServerUrl};
use crate::clock::{SharedClock, SystemClock};
use crate::device::gpio::{GpioError, SimulatedBoard};
use crate::device::{Cancellation, DeviceError};
use crate::keyfile::{self, KeyFileError};
use crate::notify::Notifier;
use crate::protocol::PrivateKey;
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
    devices: Devices,
    settings: Settings,
    health: Health,
    clock: SharedClock,
    /// Held as long as the agent lives.
    _lock: Lock,
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
    devices::check(settings, &clock)
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
        let key = match settings.key_source() {
            KeySource::File(path) => keyfile::load_or_create(&path),
            KeySource::Credential(path) => keyfile::load_credential(&path),
        };
        let key = key.map_err(StartError::Key)?;
        let owner_key = owner_key(settings).map_err(StartError::ColonyKey)?;
        let url = ServerUrl::parse(&settings.server.url)?;
        let transport = HttpTransport::new(url, settings.http(), clock.clone())?;
        let client = Client::new(transport, Dialect::Runtime);
        let devices = Devices::open(settings, board, &clock)?;
        let health = Health::new();
        let enrolment = Enrolment::new(
            client.with_key(key),
            owner_key.map(|key| client.with_key(key)),
            describe(settings),
        )
        .with_health(health.clone());
        tracing::info!(
            id = enrolment.runtime().id,
            name = enrolment.runtime().name,
            r#type = enrolment.runtime().runtime_type,
            server = client.server(),
            functions = ?devices.registry().current().names().collect::<Vec<_>>(),
            "outpost-agent starts"
        );
        Ok(Agent {
            worker: Worker::new(
                enrolment,
                devices.registry().clone(),
                settings.lane(),
                clock.clone(),
                random,
            ),
            devices,
            settings: settings.clone(),
            health,
            clock,
            _lock: lock,
        })
    }

    /// Works until `stop`; then lets what runs finish within the grace time or cancels it, makes every device safe,
    /// and delivers what can be delivered in a bounded time. The service manager hears that it is ready at once: devices
    /// are open, and the server may come and go.
    pub async fn run(mut self, stop: Cancellation, surroundings: Surroundings) {
        let Surroundings {
            notifier,
            watchdog,
            mut reloads,
        } = surroundings;
        let (roster, health, clock) = (
            self.devices.roster().clone(),
            self.health.clone(),
            self.clock.clone(),
        );
        notifier.ready();
        let life = async {
            // Boxed, as they are: what is live across their ends would be copied about.
            let serving = Box::pin(reloads.serve(
                &mut self.devices,
                &mut self.settings,
                &notifier,
                &self.health,
                &stop,
            ));
            tokio::join!(Box::pin(self.worker.work(&stop)), serving);
            self.devices.shutdown().await;
            self.worker.settle().await;
        };
        let farewell = async {
            stop.cancelled().await;
            notifier.stopping();
            health.stopping();
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            () = life => {}
            never = farewell => match never {},
            never = health.announce(&notifier, &clock) => match never {},
            never = watchdog::feed(watchdog, &roster, &notifier, &health, &clock) => match never {},
        }
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

/// The colony's key, if we were given one.
fn owner_key(settings: &Settings) -> Result<Option<PrivateKey>, KeyFileError> {
    let key = match settings.colony_key_source() {
        None => return Ok(None),
        Some(KeySource::File(path)) => keyfile::load(&path),
        Some(KeySource::Credential(path)) => keyfile::load_credential(&path),
    };
    key.map(Some)
}

/// What is registered; what the configuration leaves out is looked up on this machine.
fn describe(settings: &Settings) -> Runtime {
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
