//! The devices that are open, and what processes may call of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::subscriber::NoSubscriber;

use super::edges::{self, EdgeQueue};
use super::registry::{BadFunction, Registry, SharedRegistry};
use super::service::StartError;
use super::settings::Settings;
use super::watchdog::Roster;
use super::worker::AbortOnDrop;
use crate::clock::SharedClock;
use crate::device::builtin::{Echo, Sleep};
use crate::device::command::Pool;
use crate::device::gpio::{BackendChoice, GpioBackend, GpioError, SimulatedBoard, open_backend};
use crate::device::input::{EdgeSink, Inputs};
use crate::device::output::Drive;
use crate::device::pwm::{PwmBackend, SimulatedPwm};
use crate::device::{
    self, Contact, Device, DeviceHandle, DeviceSettings, DeviceTable, Fault, Hardware, Interlocks, Urgency,
    Verb, output, owner, pwm,
};

/// A device of the configuration: one, or as many as it has slots.
#[derive(Debug)]
pub(super) struct Opened {
    pub table: DeviceTable,
    pub device: Pool,
    /// Those who say when it can't be made safe, if it is an output of this machine.
    _watched: Vec<AbortOnDrop>,
}

/// What is open.
pub struct Devices {
    pub(super) opener: Opener,
    pub(super) configured: BTreeMap<String, Opened>,
    builtins: Vec<Pool>,
    registry: SharedRegistry,
    roster: Roster,
    faults: Option<mpsc::UnboundedReceiver<String>>,
    edges: Option<EdgeQueue>,
}

/// What devices are opened on.
pub(super) struct Opener {
    choice: BackendChoice,
    board: SimulatedBoard,
    clock: SharedClock,
    /// Opened when the first device needs it.
    gpio: Option<Arc<dyn GpioBackend>>,
    pwm: Arc<dyn PwmBackend>,
    contact: Contact,
    interlocks: Interlocks,
    /// Where outputs keep their last level.
    state_dir: Option<PathBuf>,
    /// The levels of the inputs.
    inputs: Inputs,
    /// Takes edges for which something is to be submitted.
    edges: Option<EdgeSink>,
    /// Takes the names of outputs that can't be made safe.
    faults: mpsc::UnboundedSender<String>,
}

impl Opener {
    fn new(settings: &Settings, choice: BackendChoice, board: &SimulatedBoard, clock: &SharedClock) -> Self {
        Opener {
            choice,
            board: board.clone(),
            clock: clock.clone(),
            gpio: None,
            pwm: pwm::open_backend(choice, board),
            contact: Contact::new(clock.now()),
            interlocks: Interlocks::of(settings.kinds()),
            state_dir: None,
            inputs: Inputs::default(),
            edges: None,
            // Nobody listens until somebody asks for the other end.
            faults: mpsc::unbounded_channel().0,
        }
    }

    fn gpio(&mut self) -> Result<Arc<dyn GpioBackend>, GpioError> {
        if let Some(gpio) = &self.gpio {
            return Ok(gpio.clone());
        }
        let gpio = open_backend(self.choice, &self.board)?;
        self.gpio = Some(gpio.clone());
        Ok(gpio)
    }

    /// One for each slot.
    fn open(&mut self, name: &str, settings: &DeviceSettings) -> Result<Vec<Box<dyn Device>>, StartError> {
        if settings.needs_gpio() {
            self.gpio()?;
        }
        if let Some(output) = settings.output()
            && let Some(feedback) = &output.feedback
        {
            // Without hardware the contact is a wire.
            match &output.drive {
                Drive::Line(line) => self.board.wire(line, &feedback.line),
                Drive::Pwm(channel) => self.board.wire(&SimulatedPwm::line(channel), &feedback.line),
            }
        }
        let hardware = Hardware {
            clock: self.clock.clone(),
            gpio: self.gpio.clone(),
            pwm: Some(self.pwm.clone()),
            contact: self.contact.clone(),
            interlocks: self.interlocks.clone(),
            dial: None,
            state_dir: self.state_dir.clone(),
            inputs: self.inputs.clone(),
            edges: self.edges.clone(),
        };
        let slots = 0..settings.slots().max(1);
        let opened: Result<_, _> = slots.map(|_| device::open(name, settings, &hardware)).collect();
        Ok(opened?)
    }

    /// Opens one and starts its owner tasks.
    pub fn start(&mut self, name: &str, table: &DeviceTable) -> Result<Opened, StartError> {
        let opened = self.open(name, &table.settings)?;
        let handles = opened
            .into_iter()
            .map(|device| owner::spawn(device, self.clock.clone()));
        let device = Pool::of(handles.collect());
        // What is elsewhere is faulted until it can be reached again, and ending would not help it.
        let outputs = device.handles().iter().filter(|handle| handle.is_local_output());
        Ok(Opened {
            _watched: outputs
                .map(|handle| AbortOnDrop(tokio::spawn(watch(handle.clone(), self.faults.clone()))))
                .collect(),
            device,
            table: table.clone(),
        })
    }
}

/// Says whenever an output of this machine comes to be one that can't be made safe (docs/fence.md, 7). It may have a fault
/// before that and after, which is latched.
async fn watch(output: DeviceHandle, faults: mpsc::UnboundedSender<String>) {
    let mut fault = output.fault();
    let is_safe = |fault: &Option<Fault>| fault.as_ref().is_none_or(|fault| fault.safe);
    loop {
        fault.wait_for(|fault| !is_safe(fault)).await;
        let _ = faults.send(output.name().to_owned());
        fault.wait_for(is_safe).await;
    }
}

/// What every agent has.
pub(super) fn builtins() -> [Box<dyn Device>; 2] {
    [Box::new(Sleep::new("sleep")), Box::new(Echo::new("echo"))]
}

/// Everything that can be called: each device's verbs, those that are always there, and the configuration's names.
fn registry_of<'a>(
    settings: &Settings,
    configured: impl Iterator<Item = (&'a DeviceTable, &'a Pool)>,
    builtins: &[Pool],
) -> Result<Registry, BadFunction> {
    let mut registry = Registry::new();
    for (table, device) in configured {
        let rules = |verb: &Verb| settings.rules(table, verb);
        if table.settings.catch_all() {
            registry.add_catch_all(device, rules);
        } else {
            registry.add_device(device, rules);
        }
    }
    for device in builtins {
        registry.add_builtin(device);
    }
    registry.add_names(&settings.functions)?;
    Ok(registry)
}

/// What a configuration lets processes call, on a simulated board: no hardware is touched, nothing is left behind, and the
/// log says nothing of devices that were never opened.
///
/// # Errors
/// What [`Devices::open`] would say of the configuration itself.
pub(super) fn rehearse(settings: &Settings, clock: &SharedClock) -> Result<Registry, StartError> {
    // Not `Dispatch::none`: what first speaks up under that would be silent for ever.
    tracing::subscriber::with_default(NoSubscriber::default(), || rehearse_aloud(settings, clock))
}

fn rehearse_aloud(settings: &Settings, clock: &SharedClock) -> Result<Registry, StartError> {
    let board = SimulatedBoard::new(clock.clone());
    let mut opener = Opener::new(settings, BackendChoice::Simulated, &board, clock);
    let unowned = |device| owner::unowned(device, clock.clone());
    let mut handles = Vec::new();
    for (name, table) in &settings.devices {
        let devices = opener.open(name, &rehearsed(&table.settings))?;
        handles.push((table, Pool::of(devices.into_iter().map(unowned).collect())));
    }
    let always = builtins().map(|device| Pool::of_one(unowned(device)));
    let configured = handles.iter().map(|(table, device)| (*table, device));
    Ok(registry_of(settings, configured, &always)?)
}

/// A drone's signatures have timestamps that are kept, where nothing is kept: it says nothing in a rehearsal, signed or not.
fn rehearsed(settings: &DeviceSettings) -> Cow<'_, DeviceSettings> {
    match settings {
        DeviceSettings::Drone(drone) if drone.signing_key.is_some() => {
            let mut drone = drone.clone();
            drone.signing_key = None;
            Cow::Owned(DeviceSettings::Drone(drone))
        }
        other => Cow::Borrowed(other),
    }
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
        let mut opener = Opener::new(settings, settings.gpio.backend, board, clock);
        opener.state_dir = Some(settings.agent.state_dir.clone());
        let (sender, faults) = mpsc::unbounded_channel();
        opener.faults = sender;
        let (sink, edges) = edges::channel();
        opener.edges = Some(sink);
        let mut configured = BTreeMap::new();
        for (name, table) in &settings.devices {
            configured.insert(name.clone(), opener.start(name, table)?);
        }
        let devices = Devices {
            opener,
            configured,
            builtins: builtins()
                .map(|device| Pool::of_one(owner::spawn(device, clock.clone())))
                .into(),
            registry: SharedRegistry::default(),
            roster: Roster::default(),
            faults: Some(faults),
            edges: Some(edges),
        };
        devices.publish(settings)?;
        Ok(devices)
    }

    /// When the server was last heard from: the lanes say so, outputs follow.
    pub fn contact(&self) -> &Contact {
        &self.opener.contact
    }

    /// Tells the names of outputs of this machine that can't be made safe; for whoever asks first.
    pub(super) fn faults(&mut self) -> mpsc::UnboundedReceiver<String> {
        self.faults.take().unwrap_or_else(|| mpsc::unbounded_channel().1)
    }

    /// The edges for which something is to be submitted; for whoever asks first.
    pub(super) fn edges(&mut self) -> Option<EdgeQueue> {
        self.edges.take()
    }

    /// The backend that lines are had from; opened if no device needed it yet.
    ///
    /// # Errors
    /// It can't be used here.
    pub(super) fn gpio(&mut self) -> Result<Arc<dyn GpioBackend>, GpioError> {
        self.opener.gpio()
    }

    /// What processes may call, now and after every reload.
    pub fn registry(&self) -> &SharedRegistry {
        &self.registry
    }

    /// Who owes a sign of life, now and after every reload.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Whether something must be able to stop what runs without standing in the queue behind it: a verb that preempts,
    /// other than an output's `off` (docs/fence.md, 4).
    pub fn need_control(&self) -> bool {
        self.handles().any(|device| {
            let mut verbs = device.verbs().iter();
            let is_output = device.is_local_output();
            verbs.any(|verb| verb.urgency == Urgency::Preempt && !(is_output && verb.name == output::OFF))
        })
    }

    /// Those of the configuration and those that are always there.
    fn handles(&self) -> impl Iterator<Item = &DeviceHandle> {
        let configured = self.configured.values().map(|opened| &opened.device);
        configured.chain(&self.builtins).flat_map(Pool::handles)
    }

    /// From now on what is open can be called, and nothing else.
    pub(super) fn publish(&self, settings: &Settings) -> Result<(), BadFunction> {
        let configured = self.configured.values();
        let configured = configured.map(|opened| (&opened.table, &opened.device));
        let registry = registry_of(settings, configured, &self.builtins)?;
        self.registry.replace(registry);
        self.enrol();
        Ok(())
    }

    /// Puts what is open on the roster, and takes off what is not.
    pub(super) fn enrol(&self) {
        self.roster.set(self.handles().cloned().collect());
    }

    /// Closes every device, each in the state that it is to have while the agent is stopped.
    pub async fn shutdown(&mut self) {
        // Who is closed owes no sign of life any more.
        self.roster.set(Vec::new());
        // All at once: of an interlock group one may have to wait until another is off.
        let stops = self
            .handles()
            .map(|device| async move { (device.name(), device.shutdown().await) });
        for (device, result) in futures_util::future::join_all(stops).await {
            if let Err(error) = result {
                tracing::error!(device, %error, "not as it is to be while the agent is stopped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::settings;
    use crate::clock::TestClock;
    use crate::protocol::control;

    #[tokio::test(start_paused = true)]
    async fn whoever_submits_can_tell_by_its_name_what_is_for_the_control_lane() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        let text = [
            include_str!("../../configs/agent-simulated.toml"),
            include_str!("../../configs/devices-serial.toml"),
            include_str!("../../configs/devices-inputs.toml"),
            include_str!("../../configs/devices-drone.toml"),
        ]
        .join("\n");
        std::fs::write(&file, text).unwrap();
        let signed = [(
            "OUTPOST_AGENT__DEVICES__DOCK__SIGNING_KEY".to_owned(),
            "/no/key".to_owned(),
        )];
        let settings = settings::load(Some(&file), signed.into_iter()).unwrap();
        let clock: SharedClock = TestClock::new(0);
        let registry = rehearse(&settings, &clock).unwrap();
        let kinds: Vec<&str> = registry.devices().iter().map(Pool::kind).collect();
        for kind in ["lamp", "serial", "modbus", "input", "drone"] {
            assert!(kinds.contains(&kind), "{kinds:?}");
        }
        for device in registry.devices() {
            for verb in device.verbs() {
                let func = format!("{}.{}", device.name(), verb.name);
                // `echo` is everywhere under its bare name, and work like any other; `read` of an input is the work lane's way
                // to ask for its state.
                let other_way = matches!((device.kind(), &*verb.name), ("echo", _) | ("input", "read"));
                let at_once = verb.urgency != Urgency::Work && !other_way;
                assert_eq!(control::is_for_control(&func), at_once, "{func}");
            }
        }
    }
}
