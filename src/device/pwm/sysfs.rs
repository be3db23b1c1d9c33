//! The kernel's PWM chips through their files (Documentation/ABI/testing/sysfs-class-pwm).
//!
//! ```text
//! /sys/class/pwm/pwmchip0/device -> ../../../fe20c000.pwm     the name by which a chip is meant
//!                         npwm                                how many channels it has
//!                         export                              a number written here makes …
//!                         pwm0/{period,duty_cycle}            … these, in nanoseconds
//!                              {polarity,enable}              normal|inversed, 0|1
//! ```
//!
//! The order of writing is the kernel's: the duty cycle is never longer than the period, the polarity changes only while
//! the channel is disabled and has a period, and it is enabled last. Off is *enabled* with a duty cycle of 0, since the
//! kernel does not say what a disabled channel does with its pin (Documentation/driver-api/pwm.rst).
//!
//! The kernel knows no holder of a channel. So each is locked by its file: a second agent, `outpost-agent safe` beside
//! a running one and two devices on one channel are refused, as they are for lines. Other programs don't know of that.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::written;
use super::{Percent, PwmBackend, PwmChannel, PwmError, PwmSpec};

/// Where the kernel has its PWM chips.
pub const ROOT: &str = "/sys/class/pwm";
/// The files of a channel that are written.
const FILES: [&str; 4] = ["period", "duty_cycle", "polarity", "enable"];
/// When a channel was exported, udev gives its files to the group: it is waited for that long, so often.
const UDEV_TURNS: u32 = 50;
const UDEV_TURN: Duration = Duration::from_millis(20);

/// What the kernel does: files are written, and time passes. Tests put their own in its place.
pub trait Kernel: Send + Sync {
    /// Writes a file that is there.
    ///
    /// # Errors
    /// As the system says.
    fn write(&self, file: &Path, text: &str) -> io::Result<()>;

    /// Opens a file that is there for writing, and writes nothing.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, file: &Path) -> io::Result<File>;

    /// Lets others do something.
    fn pause(&self, span: Duration);
}

/// The kernel itself.
struct RealKernel;

impl Kernel for RealKernel {
    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        use io::Write as _;
        let mut file = OpenOptions::new().write(true).truncate(true).open(file)?;
        file.write_all(text.as_bytes())
    }

    fn open(&self, file: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).open(file)
    }

    fn pause(&self, span: Duration) {
        std::thread::sleep(span);
    }
}

/// The kernel's PWM chips.
#[derive(Clone)]
pub struct SysfsPwm {
    root: PathBuf,
    kernel: Arc<dyn Kernel>,
}

impl Default for SysfsPwm {
    fn default() -> Self {
        SysfsPwm::at(ROOT)
    }
}

impl SysfsPwm {
    /// Chips below another folder than the kernel's own.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        SysfsPwm::with_kernel(root, Arc::new(RealKernel))
    }

    /// Chips below another folder, whose files somebody else brings to life.
    pub fn with_kernel(root: impl Into<PathBuf>, kernel: Arc<dyn Kernel>) -> Self {
        SysfsPwm {
            root: root.into(),
            kernel,
        }
    }

    /// Has the kernel make the files of a channel, if they are not there.
    fn export(&self, chip: &Path, spec: &PwmSpec, name: &str) -> Result<bool, PwmError> {
        let there = || channel_folder(chip, spec.channel).exists();
        if there() {
            return Ok(false);
        }
        let file = chip.join("export");
        let value = spec.channel.to_string();
        match self.kernel.write(&file, &value) {
            Ok(()) => Ok(true),
            // Somebody was faster.
            Err(_) if there() => Ok(true),
            Err(error) => Err(written(error, name, &file, "export", &value)),
        }
    }

    /// Makes a channel ours, once its files may be written.
    fn claim(&self, folder: &Path, name: &str, fresh: bool) -> Result<File, PwmError> {
        let mut turns = if fresh { UDEV_TURNS } else { 0 };
        let lock = loop {
            match self.writable(folder) {
                Ok(lock) => break lock,
                Err((_, error)) if error.kind() == io::ErrorKind::PermissionDenied && turns > 0 => {
                    turns -= 1;
                    self.kernel.pause(UDEV_TURN);
                }
                Err((file, error)) => return Err(written(error, name, &folder.join(file), file, "a value")),
            }
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(lock),
            Err(Errno::WOULDBLOCK) => Err(PwmError::Busy {
                channel: name.to_owned(),
            }),
            Err(error) => Err(PwmError::Io {
                channel: name.to_owned(),
                action: "lock it".to_owned(),
                cause: error.into(),
            }),
        }
    }

    /// The first file of a channel, open, if all can be written.
    fn writable(&self, folder: &Path) -> Result<File, (&'static str, io::Error)> {
        let open = |file: &'static str| {
            let opened = self.kernel.open(&folder.join(file));
            opened.map_err(|error| (file, error))
        };
        let [first, others @ ..] = FILES;
        let lock = open(first)?;
        for file in others {
            open(file)?;
        }
        Ok(lock)
    }
}

fn channel_folder(chip: &Path, channel: u32) -> PathBuf {
    chip.join(format!("pwm{channel}"))
}

impl PwmBackend for SysfsPwm {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn request(
        &self,
        spec: &PwmSpec,
        initial: Percent,
        _consumer: &str,
    ) -> Result<Box<dyn PwmChannel>, PwmError> {
        let chips = survey(&self.root)?;
        let chip = locate(spec, &chips)?;
        let name = format!("{}/{}", chip.name, spec.channel);
        let fresh = self.export(&chip.path, spec, &name)?;
        let folder = channel_folder(&chip.path, spec.channel);
        let lock = self.claim(&folder, &name, fresh)?;
        let mut channel = Channel {
            name,
            folder,
            period: spec.period().as_nanos(),
            inversed: spec.active_low,
            kernel: self.kernel.clone(),
            _lock: lock,
        };
        channel.set(initial)?;
        Ok(Box::new(channel))
    }
}

/// A channel that we have locked.
struct Channel {
    name: String,
    folder: PathBuf,
    /// Nanoseconds.
    period: u128,
    inversed: bool,
    kernel: Arc<dyn Kernel>,
    _lock: File,
}

/// How a channel runs.
#[derive(Debug, PartialEq, Eq)]
struct State {
    period: u128,
    duty: u128,
    inversed: bool,
    enabled: bool,
}

impl Channel {
    fn read(&self, file: &'static str) -> Result<String, PwmError> {
        match fs::read_to_string(self.folder.join(file)) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PwmError::Vanished {
                channel: self.name.clone(),
            }),
            Err(cause) => Err(PwmError::Io {
                channel: self.name.clone(),
                action: format!("read its {file}"),
                cause,
            }),
        }
    }

    fn number(&self, file: &'static str) -> Result<u128, PwmError> {
        let text = self.read(file)?;
        text.parse().map_err(|_| PwmError::Io {
            channel: self.name.clone(),
            action: format!("understand its {file}"),
            cause: io::Error::other(format!("{text:?} is no number")),
        })
    }

    fn state(&self) -> Result<State, PwmError> {
        Ok(State {
            period: self.number("period")?,
            duty: self.number("duty_cycle")?,
            inversed: self.read("polarity")? == "inversed",
            enabled: self.number("enable")? == 1,
        })
    }

    fn write(&self, file: &'static str, value: &str) -> Result<(), PwmError> {
        let path = self.folder.join(file);
        self.kernel
            .write(&path, value)
            .map_err(|error| written(error, &self.name, &path, file, value))
    }

    fn polarity(&self) -> &'static str {
        if self.inversed { "inversed" } else { "normal" }
    }
}

impl PwmChannel for Channel {
    /// Also puts right what else is not as it is to be; if the channel runs already, one write.
    fn set(&mut self, percent: Percent) -> Result<(), PwmError> {
        let found = self.state()?;
        let mut enabled = found.enabled;
        if (found.period, found.inversed) != (self.period, self.inversed) {
            // Off meanwhile: neither is what lasts longer than it is to last.
            if found.duty != 0 {
                self.write("duty_cycle", "0")?;
            }
            if found.inversed != self.inversed && enabled {
                self.write("enable", "0")?;
                enabled = false;
            }
            if found.period != self.period {
                self.write("period", &self.period.to_string())?;
            }
            if found.inversed != self.inversed {
                self.write("polarity", self.polarity())?;
            }
        }
        let duty = self.period * u128::from(percent.get()) / 100;
        self.write("duty_cycle", &duty.to_string())?;
        if !enabled {
            self.write("enable", "1")?;
        }
        Ok(())
    }

    fn get(&mut self) -> Result<Percent, PwmError> {
        let found = self.state()?;
        let disturbed = |what: String| PwmError::Disturbed {
            channel: self.name.clone(),
            what,
        };
        if !found.enabled {
            return Err(disturbed("it is disabled".to_owned()));
        }
        if found.inversed != self.inversed {
            return Err(disturbed(format!("its polarity is not {}", self.polarity())));
        }
        Ok(share(found.duty, found.period))
    }

    fn describe(&self) -> String {
        format!("PWM channel {}", self.name)
    }
}

/// The nearest percent; never 0 for what is on for a moment, nor 100 for what is off for one.
fn share(duty: u128, period: u128) -> Percent {
    let percent = match (duty, period) {
        (0, _) | (_, 0) => 0,
        (duty, period) if duty >= period => 100,
        (duty, period) => ((duty * 100 + period / 2) / period).clamp(1, 99),
    };
    u8::try_from(percent)
        .ok()
        .and_then(Percent::new)
        .unwrap_or(Percent::FULL)
}

/// A PWM chip as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChipFacts {
    /// The name of its device, which stays the same from boot to boot: `fe20c000.pwm`.
    pub name: String,
    /// Its folder, `/sys/class/pwm/pwmchipN`.
    pub path: PathBuf,
    /// How many channels it has.
    pub channels: u32,
}

impl ChipFacts {
    /// What would be written to bring a channel to life or to drive it: the channel's file, or that which makes it.
    pub fn written_for(&self, channel: u32) -> PathBuf {
        let folder = channel_folder(&self.path, channel);
        if folder.exists() {
            folder.join("duty_cycle")
        } else {
            self.path.join("export")
        }
    }
}

/// The chips below a folder, in the order of their names. Nothing is changed.
///
/// # Errors
/// There is none.
pub fn survey(root: &Path) -> Result<Vec<ChipFacts>, PwmError> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let chip = |entry: fs::DirEntry| {
        let number = entry.file_name();
        let number = number.to_str().filter(|name| name.starts_with("pwmchip"))?;
        let path = entry.path();
        let device = fs::read_link(path.join("device")).ok();
        let device = device.as_deref().and_then(Path::file_name);
        Some(ChipFacts {
            // One without a device can only be the only one.
            name: device.map_or_else(|| number.to_owned(), |name| name.to_string_lossy().into_owned()),
            channels: fs::read_to_string(path.join("npwm")).ok()?.trim().parse().ok()?,
            path,
        })
    };
    let mut chips: Vec<ChipFacts> = entries.filter_map(chip).collect();
    if chips.is_empty() {
        return Err(PwmError::NoChips {
            root: root.to_owned(),
        });
    }
    chips.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(chips)
}

/// The chip that is meant.
///
/// # Errors
/// There is no such chip, it is not clear which, or it has no such channel.
pub fn locate<'a>(spec: &PwmSpec, chips: &'a [ChipFacts]) -> Result<&'a ChipFacts, PwmError> {
    let there = || {
        let describe = |chip: &ChipFacts| format!("{} ({} channels)", chip.name, chip.channels);
        chips.iter().map(describe).collect()
    };
    let meant = |chip: &&ChipFacts| spec.chip.as_ref().is_none_or(|name| *name == chip.name);
    let mut found = chips.iter().filter(meant);
    let chip = match (found.next(), found.next(), &spec.chip) {
        (Some(chip), None, _) => chip,
        (_, _, None) => return Err(PwmError::WhichChip { there: there() }),
        (first, _, Some(chip)) => {
            return Err(PwmError::UnknownChip {
                chip: chip.clone(),
                several: first.is_some(),
                there: there(),
            });
        }
    };
    if spec.channel >= chip.channels {
        return Err(PwmError::NoSuchChannel {
            chip: chip.name.clone(),
            channel: spec.channel,
            channels: chip.channels,
        });
    }
    Ok(chip)
}

#[cfg(test)]
#[path = "sysfs_tests.rs"]
mod tests;
