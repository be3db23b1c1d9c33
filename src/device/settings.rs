//! A device's table in the configuration, and how a device is made from it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::{Map, Value};

use super::builtin::{Echo, EchoSettings, Sleep, SleepSettings};
use super::command::{CommandDevice, CommandSettings, ShellWorker, ShellWorkerSettings};
use super::drone::link::Dial;
use super::drone::{Drone, DroneSettings};
use super::gpio::{GpioBackend, LineSpec};
use super::input::{EdgeSink, Input, InputSettings, Inputs};
use super::lamp::{Lamp, LampSettings};
use super::lenient::from_value;
use super::modbus::{Modbus, ModbusSettings};
use super::output::{Interlocks, OutputSettings};
use super::pwm::{PwmBackend, PwmSpec};
use super::serial::{Serial, SerialSettings};
use super::{Contact, Device, DeviceError};
use crate::clock::SharedClock;

/// What a device is and how it is wired: the table `[devices.NAME]`, told apart by its key `kind`.
///
/// Each kind's settings are a struct of their own that refuses unknown keys (serde's `flatten`, which would
/// not, is used nowhere).
///
/// ```toml
/// [devices.lamp]
/// kind = "lamp"
/// line = "GPIO17"
/// active_low = false
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceSettings {
    /// Something switched by a GPIO line.
    Lamp(LampSettings),
    /// A GPIO line that is read.
    Input(InputSettings),
    /// An instrument behind a serial port.
    Serial(SerialSettings),
    /// Devices on a Modbus line.
    Modbus(ModbusSettings),
    /// An aircraft behind an autopilot.
    Drone(Box<DroneSettings>),
    /// Waits for a number of seconds.
    Sleep(SleepSettings),
    /// Gives back its arguments.
    Echo(EchoSettings),
    /// Runs configured programs.
    Command(CommandSettings),
    /// Runs any program, as the original worker does.
    ShellWorker(ShellWorkerSettings),
}

/// A kind's name and how its keys are read.
type Kind = (
    &'static str,
    fn(Value) -> Result<DeviceSettings, serde_json::Error>,
);

/// Every kind. By hand, since what serde generates for a tag among the keys is large.
const KINDS: [Kind; 9] = [
    ("lamp", |keys| from_value(keys).map(DeviceSettings::Lamp)),
    ("input", |keys| from_value(keys).map(DeviceSettings::Input)),
    ("serial", |keys| from_value(keys).map(DeviceSettings::Serial)),
    ("modbus", |keys| from_value(keys).map(DeviceSettings::Modbus)),
    ("drone", |keys| from_value(keys).map(DeviceSettings::Drone)),
    ("sleep", |keys| from_value(keys).map(DeviceSettings::Sleep)),
    ("echo", |keys| from_value(keys).map(DeviceSettings::Echo)),
    ("command", |keys| from_value(keys).map(DeviceSettings::Command)),
    ("shell-worker", |keys| {
        from_value(keys).map(DeviceSettings::ShellWorker)
    }),
];

impl<'de> Deserialize<'de> for DeviceSettings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DeviceSettings::read(Map::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl DeviceSettings {
    /// Reads the keys of a table that belong to its kind, `kind` among them.
    ///
    /// # Errors
    /// In serde's words, so that whoever reads the configuration can name the place.
    pub(super) fn read(mut keys: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let Some(kind) = keys.remove("kind") else {
            return Err(Error::missing_field("kind"));
        };
        let found = KINDS.iter().find(|(name, _)| kind.as_str() == Some(name));
        let Some((_, read)) = found else {
            let known: Vec<String> = KINDS.iter().map(|(name, _)| format!("`{name}`")).collect();
            let kind = kind.as_str().map_or_else(|| kind.to_string(), str::to_owned);
            return Err(Error::custom(format!(
                "unknown variant `{kind}`, expected one of {}",
                known.join(", ")
            )));
        };
        read(Value::Object(keys))
    }

    /// The value of `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            DeviceSettings::Lamp(_) => "lamp",
            DeviceSettings::Input(_) => "input",
            DeviceSettings::Serial(_) => "serial",
            DeviceSettings::Modbus(_) => "modbus",
            DeviceSettings::Drone(_) => "drone",
            DeviceSettings::Sleep(_) => "sleep",
            DeviceSettings::Echo(_) => "echo",
            DeviceSettings::Command(_) => "command",
            DeviceSettings::ShellWorker(_) => "shell-worker",
        }
    }

    /// So many devices of this name are to be opened and put into one [`super::command::Pool`].
    pub fn slots(&self) -> u16 {
        match self {
            DeviceSettings::Command(command) => command.slots,
            DeviceSettings::ShellWorker(worker) => worker.slots,
            _ => 1,
        }
    }

    /// Whether a *once* verb may be begun again for the same process (`repeat`, docs/fence.md, section 3).
    pub fn repeats(&self, verb: &str) -> bool {
        match self {
            DeviceSettings::Command(command) => command
                .functions
                .get(verb)
                .is_some_and(|function| function.repeat),
            DeviceSettings::ShellWorker(_) => true,
            _ => false,
        }
    }

    /// Whether work for it that waited too long must not be begun any more (docs/fence.md, section 2): old work is
    /// as good as fresh for a program.
    pub fn goes_stale(&self) -> bool {
        !matches!(self, DeviceSettings::Command(_) | DeviceSettings::ShellWorker(_))
    }

    /// Whether a device of this kind can hurt somebody, so that all the care of docs/fence.md, section 3, is taken of it
    /// unless its table says otherwise.
    pub fn is_hazardous_kind(&self) -> bool {
        match self {
            DeviceSettings::Drone(_) => true,
            DeviceSettings::Lamp(_)
            | DeviceSettings::Input(_)
            | DeviceSettings::Serial(_)
            | DeviceSettings::Modbus(_)
            | DeviceSettings::Sleep(_)
            | DeviceSettings::Echo(_)
            | DeviceSettings::Command(_)
            | DeviceSettings::ShellWorker(_) => false,
        }
    }

    /// Whether it answers for every function that nothing else is configured for; its calls are made by
    /// [`ShellWorker::call`]. At most one device of an agent may.
    pub fn catch_all(&self) -> bool {
        matches!(self, DeviceSettings::ShellWorker(_))
    }

    /// Whether [`Hardware::gpio`] must be there to open it.
    pub fn needs_gpio(&self) -> bool {
        !self.lines().is_empty()
    }

    /// The settings of the output that it is, if it is one on a line of this machine.
    pub fn output(&self) -> Option<&OutputSettings> {
        match self {
            DeviceSettings::Lamp(lamp) => Some(&lamp.output),
            _ => None,
        }
    }

    /// The GPIO lines that it needs.
    pub fn lines(&self) -> Vec<&LineSpec> {
        if let DeviceSettings::Input(input) = self {
            return vec![&input.line];
        }
        let Some(output) = self.output() else {
            return Vec::new();
        };
        let feedback = output.feedback.as_ref().map(|feedback| &feedback.line);
        output.drive.line().into_iter().chain(feedback).collect()
    }

    /// The PWM channel that it needs.
    pub fn pwm(&self) -> Option<&PwmSpec> {
        self.output()?.drive.pwm()
    }

    /// What works and will yet surprise, for `check`: each with the remedy.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            DeviceSettings::Serial(serial) => serial.port.warnings(),
            DeviceSettings::Modbus(modbus) => modbus.port.warnings(),
            DeviceSettings::ShellWorker(_) => vec![ShellWorker::WARNING.to_owned()],
            DeviceSettings::Lamp(_)
            | DeviceSettings::Drone(_)
            | DeviceSettings::Input(_)
            | DeviceSettings::Sleep(_)
            | DeviceSettings::Echo(_)
            | DeviceSettings::Command(_) => Vec::new(),
        }
    }
}

/// What devices are opened on.
#[derive(Clone)]
pub struct Hardware {
    /// The clock by which devices time what they do on their own.
    pub clock: SharedClock,
    /// The GPIO backend; `None` where no configured device needs one.
    pub gpio: Option<Arc<dyn GpioBackend>>,
    /// The PWM backend; `None` where no configured device needs one.
    pub pwm: Option<Arc<dyn PwmBackend>>,
    /// When the server was last heard from.
    pub contact: Contact,
    /// Which outputs must not be on together.
    pub interlocks: Interlocks,
    /// What opens a drone's port; `None`: what opens those of this machine.
    pub dial: Option<Arc<dyn Dial>>,
    /// Where outputs keep their last level; `None`: nothing is kept, and `on_start = "last"` is the safe level.
    pub state_dir: Option<PathBuf>,
    /// The levels of the inputs that are open: inputs say them here, any device may look.
    pub inputs: Inputs,
    /// Takes edges for which something is to be submitted; `None`: nobody submits anything.
    pub edges: Option<EdgeSink>,
}

impl Hardware {
    /// No GPIO, no PWM, a server heard from just now, no interlocks, nothing kept, nobody who submits.
    pub fn new(clock: SharedClock) -> Self {
        Hardware {
            contact: Contact::new(clock.now()),
            clock,
            gpio: None,
            pwm: None,
            interlocks: Interlocks::default(),
            dial: None,
            state_dir: None,
            inputs: Inputs::default(),
            edges: None,
        }
    }

    /// The same with a GPIO backend.
    #[must_use]
    pub fn with_gpio(mut self, gpio: Arc<dyn GpioBackend>) -> Self {
        self.gpio = Some(gpio);
        self
    }

    /// The same with a PWM backend.
    #[must_use]
    pub fn with_pwm(mut self, pwm: Arc<dyn PwmBackend>) -> Self {
        self.pwm = Some(pwm);
        self
    }
}

/// Longest name of a device, in bytes.
const NAME_MAX: usize = 64;

/// Opens a device. An output is driven to the level of its start by this.
///
/// # Errors
/// A name that cannot be called, no GPIO backend for a device that needs one, or a line that cannot be had.
pub fn open(
    name: &str,
    settings: &DeviceSettings,
    hardware: &Hardware,
) -> Result<Box<dyn Device>, DeviceError> {
    let callable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(callable) {
        return Err(DeviceError::BadName {
            name: name.to_owned(),
        });
    }
    Ok(match settings {
        DeviceSettings::Lamp(lamp) => Box::new(Lamp::open(name, lamp, hardware)?),
        DeviceSettings::Input(input) => Box::new(Input::open(name, input, hardware)?),
        DeviceSettings::Serial(serial) => Box::new(Serial::new(name, serial, hardware.clock.clone())),
        DeviceSettings::Modbus(modbus) => Box::new(Modbus::new(name, modbus, hardware.clock.clone())),
        DeviceSettings::Drone(drone) => Box::new(Drone::open(name, drone, hardware)?),
        DeviceSettings::Sleep(_) => Box::new(Sleep::new(name)),
        DeviceSettings::Echo(_) => Box::new(Echo::new(name)),
        DeviceSettings::Command(command) => {
            Box::new(CommandDevice::open(name, command, hardware.clock.clone())?)
        }
        DeviceSettings::ShellWorker(worker) => {
            Box::new(ShellWorker::open(name, worker, hardware.clock.clone()))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::clock::SystemClock;
    use crate::device::gpio::{Level, LineAddress, LineSpec, Physical, SimulatedBoard};
    use crate::device::output::Drive;
    use crate::device::output::settings::{FeedbackSettings, OnLostServer, OnStart, OnStop};

    #[derive(Debug, Deserialize)]
    struct File {
        devices: BTreeMap<String, DeviceSettings>,
    }

    /// As the agent reads its file.
    fn read(toml: &str) -> Result<BTreeMap<String, DeviceSettings>, String> {
        let source = config::File::from_str(toml, config::FileFormat::Toml);
        let file = config::Config::builder()
            .add_source(source)
            .build()
            .map_err(|error| error.to_string())?;
        file.try_deserialize::<File>()
            .map(|file| file.devices)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_is_read_by_its_name() {
        for (name, read) in KINDS {
            // Those that need keys say so; what can be read is of that kind.
            match read(Value::Object(Map::new())) {
                Ok(settings) => assert_eq!(settings.kind(), name),
                Err(error) => assert!(!error.to_string().contains("unknown"), "{name}: {error}"),
            }
        }
        let lamp = lamp("line = \"GPIO17\"").unwrap();
        assert_eq!(DeviceSettings::Lamp(lamp).kind(), "lamp");
    }

    fn lamp(keys: &str) -> Result<LampSettings, String> {
        match read(&format!("[devices.lamp]\nkind = \"lamp\"\n{keys}"))?.remove("lamp") {
            Some(DeviceSettings::Lamp(lamp)) => Ok(lamp),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lamp_needs_its_line_and_has_defaults_for_the_rest() {
        let short = lamp("line = \"GPIO17\"").unwrap();
        assert_eq!(short.output, OutputSettings::on_line(LineSpec::named("GPIO17")));
        assert_eq!(
            (short.output.on_start, short.output.safe),
            (OnStart::Safe, Level::Off)
        );
        assert_eq!(short.max_pulse, Duration::from_secs(600));
        let long = lamp(
            "chip = \"pinctrl-rp1\"\noffset = 4\nactive_low = true\nsafe = \"on\"\nmax_pulse = \"2m\"\n\
             on_start = \"last\"\non_stop = \"hold\"\non_lost_server = \"off\"\nlost_after = \"90s\"\n\
             max_on = \"1h\"\nmin_off = \"3m\"\ninterlock = \"bridge\"\ninterlock_dead_time = \"250ms\"\n\
             feedback = { line = \"GPIO27\", active_low = true }\nfeedback_time = \"50ms\"",
        )
        .unwrap();
        let seconds = Duration::from_secs;
        let output = OutputSettings {
            drive: Drive::Line(LineSpec {
                address: LineAddress::OnChip {
                    label: "pinctrl-rp1".into(),
                    offset: 4,
                },
                active_low: true,
            }),
            safe: Level::On,
            on_start: OnStart::Last,
            on_stop: OnStop::Hold,
            on_lost_server: OnLostServer::Off,
            lost_after: seconds(90),
            max_on: Some(seconds(3600)),
            min_off: seconds(180),
            interlock: Some("bridge".into()),
            interlock_dead_time: Duration::from_millis(250),
            feedback: Some(FeedbackSettings {
                line: LineSpec {
                    active_low: true,
                    ..LineSpec::named("GPIO27")
                },
                time: Duration::from_millis(50),
            }),
        };
        assert_eq!(long.output, output);
        assert_eq!(long.max_pulse, Duration::from_secs(120));
    }

    #[test]
    fn the_example_of_the_page_on_outputs_can_be_used() {
        let page = include_str!("../../docs/outputs.md");
        let example = page
            .split("```toml\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let devices = read(example).unwrap();
        assert!(devices["heater"].output().unwrap().feedback.is_some());
        crate::device::check_outputs(&devices).unwrap();
    }

    #[test]
    fn unknown_keys_are_refused_by_name_in_every_kind() {
        let error = lamp("line = \"GPIO17\"\nactive_lo = true").unwrap_err();
        assert!(
            error.contains("unknown field `active_lo`") && error.contains("`active_low`"),
            "{error}"
        );
        for kind in ["sleep", "echo"] {
            let error = read(&format!("[devices.x]\nkind = \"{kind}\"\nline = \"GPIO17\"")).unwrap_err();
            assert!(error.contains("unknown field `line`"), "{kind}: {error}");
            assert!(read(&format!("[devices.x]\nkind = \"{kind}\"")).is_ok());
        }
    }

    #[test]
    fn programs_are_devices_too() {
        let settings = read(
            "[devices.tool]\nkind = \"command\"\nslots = 3\n[devices.tool.functions.run]\nprogram = \"/bin/true\"\nrepeat = true\n\
             [devices.sh]\nkind = \"shell-worker\"",
        )
        .unwrap();
        let (tool, sh) = (&settings["tool"], &settings["sh"]);
        assert_eq!(
            (tool.kind(), tool.slots(), tool.catch_all()),
            ("command", 3, false)
        );
        assert_eq!((sh.kind(), sh.slots(), sh.catch_all()), ("shell-worker", 1, true));
        assert!(tool.repeats("run") && !tool.repeats("other") && sh.repeats("run"));
        let error = read("[devices.x]\nkind = \"shell-worker\"\nuser = \"pi\"").unwrap_err();
        assert!(error.contains("unknown field `user`"), "{error}");
        let error = read("[devices.x]\nkind = \"command\"\nline = \"GPIO17\"").unwrap_err();
        assert!(error.contains("unknown field `line`"), "{error}");
    }

    #[test]
    fn an_unknown_or_missing_kind_is_answered_with_the_known_ones() {
        let unknown = read("[devices.x]\nkind = \"lmap\"").unwrap_err();
        assert!(
            unknown.contains("lmap")
                && unknown.contains("`lamp`, `input`, `serial`, `modbus`, `drone`, `sleep`"),
            "{unknown}"
        );
        let missing = read("[devices.x]\nline = \"GPIO17\"").unwrap_err();
        assert!(missing.contains("kind"), "{missing}");
    }

    #[test]
    fn chip_numbers_are_refused_with_the_reason_however_they_are_written() {
        for chip in ["0", "\"0\"", "\"/dev/gpiochip0\"", "\"gpiochip4\""] {
            let error = lamp(&format!("chip = {chip}\noffset = 17")).unwrap_err();
            assert!(
                error.contains("numbers move") && error.contains("pinctrl-rp1"),
                "{chip}: {error}"
            );
        }
        let error = lamp("line = 17").unwrap_err();
        assert!(error.contains("line = \"GPIO17\" for BCM 17"), "{error}");
        let none = lamp("active_low = true").unwrap_err();
        assert!(none.contains("no line is given"), "{none}");
    }

    #[test]
    fn out_of_range_and_misspelt_values_are_refused() {
        for max_pulse in ["\"0s\"", "\"25h\"", "0"] {
            let error = lamp(&format!("line = \"GPIO17\"\nmax_pulse = {max_pulse}")).unwrap_err();
            assert!(error.contains("max_pulse"), "{error}");
        }
        assert!(
            lamp("line = \"GPIO17\"\nmax_pulse = \"24h\"").is_ok(),
            "the limit itself is allowed"
        );
        for (keys, help) in [
            ("safe = \"dark\"", "`off`"),
            ("on_start = \"hold\"", "`last`"),
            ("on_stop = \"last\"", "`hold`"),
            ("on_lost_server = \"last\"", "`hold`"),
            ("initial = \"on\"", "`on_start`"),
            ("lost_after = 0", "lost_after = 0s must be from 1ms to 168h"),
            (
                "max_on = \"169h\"",
                "max_on = 169h must be from 1ms to 168h, or 0 for none",
            ),
            ("interlock = \" \"", "the same at every output of the group"),
            ("interlock_dead_time = \"61s\"", "from 1ms to 1m"),
            ("feedback_time = \"3s\"", "from 1ms to 2s"),
            ("feedback = { line = 27 }", "feedback: line = \"27\" is a number"),
            ("feedback = { line = \"GPIO17\" }", "the output's own line"),
            ("feedback = { line = \"GPIO27\", active = true }", "`active_low`"),
        ] {
            let error = lamp(&format!("line = \"GPIO17\"\n{keys}")).unwrap_err();
            assert!(error.contains(help), "{keys}: {error}");
        }
        let none = lamp("line = \"GPIO17\"\nmax_on = 0\nmin_off = 0\ninterlock_dead_time = 0").unwrap();
        assert_eq!((none.output.max_on, none.output.min_off), (None, Duration::ZERO));
        assert_eq!(none.output.interlock_dead_time, Duration::ZERO);
    }

    #[test]
    fn devices_are_opened_by_kind() {
        let board = SimulatedBoard::new(Arc::new(SystemClock));
        let mut hardware = Hardware::new(Arc::new(SystemClock));
        let settings = read("[devices.lamp]\nkind = \"lamp\"\nline = \"GPIO17\"\non_start = \"on\"\n[devices.e]\nkind = \"echo\"\n[devices.s]\nkind = \"sleep\"").unwrap();
        let error = open("lamp", &settings["lamp"], &hardware)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("lamp: a lamp needs a GPIO backend"), "{error}");
        assert!(settings["lamp"].needs_gpio() && !settings["e"].needs_gpio());
        hardware.gpio = Some(Arc::new(board.clone()));
        for (name, settings) in &settings {
            let device = open(name, settings, &hardware).unwrap();
            assert_eq!(device.name(), name);
            assert_eq!(device.kind(), settings.kind());
        }
        assert_eq!(
            board.physical("GPIO17"),
            Some(Physical::High),
            "opening drove the level of its start"
        );
    }

    #[test]
    fn names_that_no_process_could_call_are_refused() {
        let hardware = Hardware::new(Arc::new(SystemClock));
        let echo = DeviceSettings::Echo(EchoSettings {});
        for name in ["", "a.b", "a b", "lämp", &"x".repeat(65)] {
            assert!(
                matches!(open(name, &echo, &hardware), Err(DeviceError::BadName { .. })),
                "{name:?}"
            );
        }
        assert!(open(&"x".repeat(64), &echo, &hardware).is_ok());
        assert!(open("porch_lamp-2", &echo, &hardware).is_ok());
    }

    #[test]
    fn old_work_is_refused_by_what_acts_and_not_by_programs() {
        let toml = "[devices.lamp]\nkind = \"lamp\"\nline = \"GPIO17\"\n[devices.box]\nkind = \"command\"\n\
                    [devices.box.functions.now]\nprogram = \"/bin/date\"";
        let devices = read(toml).unwrap();
        assert!(devices["lamp"].goes_stale());
        assert!(!devices["box"].goes_stale());
    }
}
