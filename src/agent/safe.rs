//! `outpost-agent safe`: drives every output to its safe level without the agent and without its configuration.
//!
//! The service manager runs it after the agent ended, however that was (`ExecStopPost=`), so it relies on nothing but a
//! list that the agent compiled at its last good start. It goes on after every line that refuses.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::{ENVIRONMENT, HeartbeatLine, Settings};
use crate::clock::{BootTime, SharedClock, SystemClock};
use crate::device::gpio::{
    BackendChoice, GpioBackend, GpioError, Level, LineAddress, LineSpec, LineSpecError, SimulatedBoard,
    open_backend,
};
use crate::device::output::{Drive, DriveError, Driver};
use crate::device::pwm::{self, Percent, PwmBackend, PwmSpec, SimulatedPwm};
use crate::device::state_file;

/// The list's file in the state directory.
pub const FILE: &str = "safe.json";
/// How long a line may take until it reads as it was set.
const SETTLE: Duration = Duration::from_millis(5);
/// What the heartbeat line is called; no device can be.
const HEARTBEAT: &str = "the heartbeat line";
/// Who holds the lines meanwhile.
const CONSUMER: &str = "outpost-agent safe";
/// How the subcommand is written.
const USAGE: &str = "outpost-agent safe [--state-dir DIR]";

/// Every output of a configuration with what it needs to be driven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafeList {
    /// As `gpio.backend` says.
    backend: String,
    outputs: Vec<Entry>,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pwm: Option<PwmEntry>,
    active_low: bool,
    safe: Level,
    /// The level after a stop that was asked for; none: whatever it is.
    stop: Option<Level>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interlock: Option<String>,
    dead_time_ms: u64,
}

/// The PWM channel of an output, instead of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PwmEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chip: Option<String>,
    channel: u32,
    frequency: u32,
}

/// What outputs are driven by. Where there is no way to drive lines, PWM channels are driven all the same.
pub struct Backends {
    /// For lines; why there is none, or `None` if no output is on one.
    gpio: Result<Option<Arc<dyn GpioBackend>>, String>,
    /// For PWM channels.
    pwm: Arc<dyn PwmBackend>,
}

/// Which levels to drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Levels {
    /// The safe ones: nobody may drive the outputs.
    Safe,
    /// Those of `on_stop`: the agent was told to stop, and did.
    Stop,
}

/// Why nothing could be driven.
#[derive(Debug, thiserror::Error)]
pub enum SafeError {
    /// There is no list.
    #[error(
        "no list of outputs at {}: no agent has ever started well with this state directory; if it works in another one, \
         name that: {USAGE}", path.display()
    )]
    NoList {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The list can't be read.
    #[error("can't read the list of outputs {}: {cause}; a good start of the agent writes it anew", path.display())]
    BadList {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

/// Why one output could not be driven.
#[derive(Debug, thiserror::Error)]
enum OutputFailed {
    #[error(transparent)]
    Spec(#[from] LineSpecError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error("can't drive lines: {0}")]
    NoGpio(String),
    #[error("{line} reads back {read}")]
    ReadBack { line: String, read: String },
    #[error("not driven, since another output of interlock {group:?} is not surely off")]
    Interlocked { group: String },
}

/// A line as it is kept: name, chip and offset.
fn written(line: &LineSpec) -> (Option<String>, Option<String>, Option<u32>) {
    match &line.address {
        LineAddress::Named(name) => (Some(name.clone()), None, None),
        LineAddress::OnChip { label, offset } => (None, Some(label.clone()), Some(*offset)),
    }
}

impl SafeList {
    /// The outputs of a configuration, and its heartbeat line.
    pub fn of(settings: &Settings) -> Self {
        let outputs = settings.kinds().filter_map(|(device, settings)| {
            let output = settings.output()?;
            let written = output.drive.line().map(written);
            let (line, chip, offset) = written.unwrap_or_default();
            let pwm = output.drive.pwm().map(|channel| PwmEntry {
                chip: channel.chip.clone(),
                channel: channel.channel,
                frequency: channel.frequency,
            });
            Some(Entry {
                device: device.clone(),
                line,
                chip,
                offset,
                pwm,
                active_low: match &output.drive {
                    Drive::Line(line) => line.active_low,
                    Drive::Pwm(channel) => channel.active_low,
                },
                safe: output.safe,
                stop: output.stop_level(),
                interlock: output.interlock.clone(),
                dead_time_ms: u64::try_from(output.interlock_dead_time.as_millis()).unwrap_or(u64::MAX),
            })
        });
        // Whoever watches it must see that nobody is there.
        let heartbeat = settings.safety.heartbeat_line.iter().map(|HeartbeatLine(spec)| {
            let (line, chip, offset) = written(spec);
            Entry {
                device: HEARTBEAT.to_owned(),
                line,
                chip,
                offset,
                pwm: None,
                active_low: spec.active_low,
                safe: Level::Off,
                stop: Some(Level::Off),
                interlock: None,
                dead_time_ms: 0,
            }
        });
        SafeList {
            backend: settings.gpio.backend.as_str().to_owned(),
            outputs: outputs.chain(heartbeat).collect(),
        }
    }

    /// Keeps the list in the state directory, if it is another than the one there.
    ///
    /// # Errors
    /// It can't be written: after a crash the old list counts, or none.
    pub fn store(&self, state_dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        state_file::replace(&state_dir.join(FILE), &text).map(|_| ())
    }

    /// The list in a state directory.
    ///
    /// # Errors
    /// There is none, or it can't be understood.
    pub fn load(state_dir: &Path) -> Result<Self, SafeError> {
        let path = state_dir.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SafeError::NoList { path }),
            Err(error) => {
                let cause = error.to_string();
                return Err(SafeError::BadList { path, cause });
            }
        };
        serde_json::from_slice(&text).map_err(|error| SafeError::BadList {
            path,
            cause: error.to_string(),
        })
    }

    /// The backends to use. `board` is used where the list says “simulated”: as nobody knows what its lines were, each is
    /// taken for not being what it is to be, so that driving it shows as an edge.
    fn backends(&self, levels: Levels, board: &SimulatedBoard) -> Backends {
        let choice: BackendChoice = self.backend.parse().unwrap_or_default();
        if choice == BackendChoice::Simulated {
            for entry in &self.outputs {
                if let (Ok(drive), Some(level)) = (entry.drive(), entry.level(levels)) {
                    match drive {
                        Drive::Line(line) => board.assume(&line, !level),
                        Drive::Pwm(channel) => board.assume(&SimulatedPwm::line(&channel), !level),
                    }
                }
            }
        }
        let lines = self.outputs.iter().any(|entry| entry.pwm.is_none());
        Backends {
            gpio: lines
                .then(|| open_backend(choice, board))
                .transpose()
                .map_err(|error: GpioError| error.to_string()),
            pwm: pwm::open_backend(choice, board),
        }
    }

    /// Drives every output, those that go off first, those that go on after the dead time of their group; one that
    /// refuses does not stop the others. Says each to `say`. How many were not driven.
    pub async fn drive(
        &self,
        levels: Levels,
        backends: &Backends,
        clock: &SharedClock,
        say: &mut dyn FnMut(&str),
    ) -> usize {
        // Held to the end: a line that is released may lose its level.
        let mut held = Vec::new();
        let mut failed = 0;
        // Groups of which something may be on.
        let mut doubtful = BTreeSet::new();
        let mut off_at = clock.now();
        let wanted = |entry: &&Entry, level| entry.level(levels) == level;
        for entry in self.outputs.iter().filter(|entry| wanted(entry, None)) {
            doubtful.extend(entry.interlock.clone());
            say(&format!("{}: left as it is", entry.device));
        }
        for level in [Level::Off, Level::On] {
            for entry in self.outputs.iter().filter(|entry| wanted(entry, Some(level))) {
                let result = match level {
                    Level::Off => entry.drive_to(level, backends, clock).await,
                    Level::On => self.drive_on(entry, off_at, &doubtful, backends, clock).await,
                };
                // One that is on keeps the others of its group off, and so does one that may be.
                if level == Level::On || result.is_err() {
                    doubtful.extend(entry.interlock.clone());
                }
                match result {
                    Ok(line) => {
                        say(&format!("{}: {} is {level}", entry.device, line.describe()));
                        held.push(line);
                    }
                    Err(error) => {
                        say(&format!("{}: NOT {level}: {error}", entry.device));
                        failed += 1;
                    }
                }
            }
            off_at = clock.now();
        }
        failed
    }

    async fn drive_on(
        &self,
        entry: &Entry,
        off_at: BootTime,
        doubtful: &BTreeSet<String>,
        backends: &Backends,
        clock: &SharedClock,
    ) -> Result<Driver, OutputFailed> {
        if let Some(group) = &entry.interlock {
            if doubtful.contains(group) {
                return Err(OutputFailed::Interlocked { group: group.clone() });
            }
            clock.sleep_until(off_at + self.dead_time(group)).await;
        }
        entry.drive_to(Level::On, backends, clock).await
    }

    /// The longest that an output of the group asks for.
    fn dead_time(&self, group: &str) -> Duration {
        let members = self
            .outputs
            .iter()
            .filter(|entry| entry.interlock.as_deref() == Some(group));
        let longest = members.map(|entry| entry.dead_time_ms).max();
        Duration::from_millis(longest.unwrap_or_default())
    }
}

impl Entry {
    fn level(&self, levels: Levels) -> Option<Level> {
        match levels {
            Levels::Safe => Some(self.safe),
            Levels::Stop => self.stop,
        }
    }

    fn drive(&self) -> Result<Drive, LineSpecError> {
        if let Some(pwm) = &self.pwm {
            return Ok(Drive::Pwm(PwmSpec {
                chip: pwm.chip.clone(),
                channel: pwm.channel,
                frequency: pwm.frequency,
                active_low: self.active_low,
            }));
        }
        LineSpec::from_keys(self.line.clone(), self.chip.clone(), self.offset, self.active_low)
            .map(Drive::Line)
    }

    async fn drive_to(
        &self,
        level: Level,
        backends: &Backends,
        clock: &SharedClock,
    ) -> Result<Driver, OutputFailed> {
        let gpio = match (&self.pwm, &backends.gpio) {
            (None, Err(error)) => return Err(OutputFailed::NoGpio(error.clone())),
            (_, gpio) => gpio.as_ref().ok().and_then(Option::as_deref),
        };
        let mut driver = self
            .drive()?
            .request(level, CONSUMER, gpio, Some(&*backends.pwm))?;
        if !driver.get()?.is(level, Percent::FULL) {
            clock.sleep_until(clock.now() + SETTLE).await;
        }
        let read = driver.get()?;
        if read.is(level, Percent::FULL) {
            return Ok(driver);
        }
        Err(OutputFailed::ReadBack {
            line: driver.describe(),
            read: match read.percent {
                Some(percent) => format!("{percent} %"),
                None => read.level.to_string(),
            },
        })
    }
}

/// The whole of `outpost-agent safe`: finds the list, drives, and gives the exit code: 0 every output is as it is to be, 1 one
/// is not. `named`: where the list is, if somebody said so. `edge` is given `edge LINE on|off` of simulated lines, `say`
/// everything else.
///
/// After a stop that was asked for (systemd tells by `SERVICE_RESULT=success`) the levels of `on_stop` are driven, else the
/// safe ones.
pub async fn run(
    named: Option<PathBuf>,
    environment: impl Fn(&str) -> Option<OsString>,
    edge: &mut dyn FnMut(&str),
    say: &mut dyn FnMut(&str),
) -> u8 {
    let state_dir = state_dir(named, &environment);
    let levels = match environment("SERVICE_RESULT") {
        Some(result) if result == "success" => Levels::Stop,
        _ => Levels::Safe,
    };
    let clock: SharedClock = Arc::new(SystemClock);
    let board = SimulatedBoard::new(clock.clone());
    let list = match SafeList::load(&state_dir) {
        Ok(list) => list,
        Err(error) => {
            say(&error.to_string());
            return 1;
        }
    };
    let backends = list.backends(levels, &board);
    let failed = list.drive(levels, &backends, &clock, say).await;
    for made in board.edges() {
        edge(&format!("edge {} {}", made.line, made.level));
    }
    u8::from(failed > 0)
}

/// Where the list is: as somebody says, as the agent's setting in the environment, as systemd's `StateDirectory=`, or by
/// default.
fn state_dir(named: Option<PathBuf>, environment: &impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let found = named
        .or_else(|| Some(environment(&format!("{ENVIRONMENT}__AGENT__STATE_DIR"))?.into()))
        // Several are separated by colons; the agent's is the first.
        .or_else(|| Some(environment("STATE_DIRECTORY")?.to_str()?.split(':').next()?.into()));
    found.unwrap_or_else(|| Settings::default().agent.state_dir)
}

#[cfg(test)]
mod tests;
