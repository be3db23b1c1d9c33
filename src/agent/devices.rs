//! The devices that are open, and what processes may call of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::registry::{BadFunction, Registry, SharedRegistry};
use super::service::StartError;
use super::settings::Settings;
use super::watchdog::Roster;
use crate::clock::SharedClock;
use crate::device::builtin::{Echo, Sleep};
use crate::device::gpio::{BackendChoice, GpioBackend, SimulatedBoard, open_backend};
use crate::device::{self, Device, DeviceHandle, DeviceSettings, Hardware, owner};

/// A device of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub settings: DeviceSettings,
    pub handle: DeviceHandle,
}

/// What is open.
pub struct Devices {
    pub(super) opener: Opener,
    pub(super) configured: BTreeMap<String, Opened>,
    builtins: Vec<DeviceHandle>,
    registry: SharedRegistry,
    roster: Roster,
}

/// What devices are opened on.
pub(super) struct Opener {
    choice: BackendChoice,
    board: SimulatedBoard,
    clock: SharedClock,
    /// Opened when the first device needs it.
    gpio: Option<Arc<dyn GpioBackend>>,
}

impl Opener {
    fn new(choice: BackendChoice, board: &SimulatedBoard, clock: &SharedClock) -> Self {
        Opener {
            choice,
            board: board.clone(),
            clock: clock.clone(),
            gpio: None,
        }
    }

    fn open(&mut self, name: &str, settings: &DeviceSettings) -> Result<Box<dyn Device>, StartError> {
        if settings.needs_gpio() && self.gpio.is_none() {
            self.gpio = Some(open_backend(self.choice, &self.board)?);
        }
        let hardware = Hardware {
            clock: self.clock.clone(),
            gpio: self.gpio.clone(),
        };
        Ok(device::open(name, settings, &hardware)?)
    }

    /// Opens one and starts its owner task.
    pub fn start(&mut self, name: &str, settings: &DeviceSettings) -> Result<Opened, StartError> {
        Ok(Opened {
            handle: owner::spawn(self.open(name, settings)?, self.clock.clone()),
            settings: settings.clone(),
        })
    }
}

fn builtins() -> [Box<dyn Device>; 2] {
    [Box::new(Sleep::new("sleep")), Box::new(Echo::new("echo"))]
}

/// Everything that can be called: each device's verbs, those that are always there, and the configuration's names.
fn registry_of<'a>(
    settings: &Settings,
    configured: impl Iterator<Item = (&'a DeviceSettings, &'a DeviceHandle)>,
    builtins: &[DeviceHandle],
) -> Result<Registry, BadFunction> {
    let mut registry = Registry::new();
    for (device, handle) in configured {
        let max_age = settings.max_age().filter(|_| device.goes_stale());
        registry.add_device(handle, max_age, |verb| device.repeats(verb));
    }
    for handle in builtins {
        registry.add_builtin(handle);
    }
    registry.add_names(&settings.functions)?;
    Ok(registry)
}

/// Whether the devices and functions of a configuration can be used, on a simulated board: no hardware is touched,
/// and nothing is left behind.
///
/// # Errors
/// What [`Devices::open`] would say of the configuration itself.
pub(super) fn check(settings: &Settings, clock: &SharedClock) -> Result<(), StartError> {
    let board = SimulatedBoard::new(clock.clone());
    let mut opener = Opener::new(BackendChoice::Simulated, &board, clock);
    let unowned = |device| owner::unowned(device, clock.clone());
    let mut handles = Vec::new();
    for (name, device) in &settings.devices {
        handles.push((device, unowned(opener.open(name, device)?)));
    }
    let always = builtins().map(unowned);
    registry_of(
        settings,
        handles.iter().map(|(device, handle)| (*device, handle)),
        &always,
    )?;
    Ok(())
}

impl Devices {
    /// Opens the configured devices, on `board` where the configuration says so, in the order of their names. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// A device that can't be opened, or a function that stands for nothing.
    pub fn open(
        settings: &Settings,
        board: &SimulatedBoard,
        clock: &SharedClock,
    ) -> Result<Self, StartError> {
        let mut opener = Opener::new(settings.gpio.backend, board, clock);
        let mut configured = BTreeMap::new();
        for (name, device) in &settings.devices {
            configured.insert(name.clone(), opener.start(name, device)?);
        }
        let devices = Devices {
            opener,
            configured,
            builtins: builtins()
                .map(|device| owner::spawn(device, clock.clone()))
                .into(),
            registry: SharedRegistry::default(),
            roster: Roster::default(),
        };
        devices.publish(settings)?;
        Ok(devices)
    }

    /// What processes may call, now and after every reload.
    pub fn registry(&self) -> &SharedRegistry {
        &self.registry
    }

    /// Who owes a sign of life, now and after every reload.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Those of the configuration and those that are always there.
    fn handles(&self) -> impl Iterator<Item = &DeviceHandle> {
        let configured = self.configured.values().map(|opened| &opened.handle);
        configured.chain(&self.builtins)
    }

    /// From now on what is open can be called, and nothing else.
    pub(super) fn publish(&self, settings: &Settings) -> Result<(), BadFunction> {
        let configured = self.configured.values();
        let configured = configured.map(|opened| (&opened.settings, &opened.handle));
        let registry = registry_of(settings, configured, &self.builtins)?;
        self.registry.replace(registry);
        self.enrol();
        Ok(())
    }

    /// Puts what is open on the roster, and takes off what is not.
    pub(super) fn enrol(&self) {
        self.roster.set(self.handles().cloned().collect());
    }

    /// Makes every device safe and closes it.
    pub async fn shutdown(&mut self) {
        // Who is closed owes no sign of life any more.
        self.roster.set(Vec::new());
        for device in self.handles() {
            if let Err(error) = device.shutdown().await {
                tracing::error!(device = device.name(), %error, "not safe");
            }
        }
    }
}
