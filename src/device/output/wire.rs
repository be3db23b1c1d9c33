//! The lines of one output: the one it drives, and the one that shows whether the contact followed.

use std::sync::Mutex;
use std::time::Duration;

use super::driver::{DriveError, Driver, Reading, share};
use super::error::OutputError;
use super::settings::FeedbackSettings;
use crate::clock::{Clock, SharedClock};
use crate::device::gpio::{InputLine, Level};
use crate::device::pwm::{Percent, PwmError};
use crate::device::{DeviceError, Hardware, lock};

/// A line with a capacitor on it may take a moment until it reads as it was set.
const SETTLE: Duration = Duration::from_millis(5);
/// How often a contact is looked at while it may still be moving.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is driven, shared by the output, which drives it, and its device's probe, which only reads it.
pub struct Wire {
    device: String,
    kind: &'static str,
    driver: Mutex<Driver>,
}

impl Wire {
    pub(super) fn new(device: &str, kind: &'static str, driver: Driver) -> Self {
        Wire {
            device: device.to_owned(),
            kind,
            driver: Mutex::new(driver),
        }
    }

    /// The device whose line it is.
    pub fn device(&self) -> &str {
        &self.device
    }

    pub(super) fn set(&self, level: Level, strength: Percent) -> Result<(), DeviceError> {
        lock(&self.driver)
            .set(level, strength)
            .map_err(|cause| self.failed(&format!("switch {level}"), cause))
    }

    /// The level that is there.
    ///
    /// # Errors
    /// The line cannot be read.
    pub fn get(&self) -> Result<Level, DeviceError> {
        Ok(self.read()?.level)
    }

    /// The level that is there, and how strong it is.
    ///
    /// # Errors
    /// The line cannot be read.
    pub fn read(&self) -> Result<Reading, DeviceError> {
        lock(&self.driver)
            .get()
            .map_err(|cause| self.failed("read its line", cause))
    }

    /// Whether the line is what it was set to.
    pub(super) async fn verify(
        &self,
        set: Level,
        strength: Percent,
        clock: &SharedClock,
    ) -> Result<(), DeviceError> {
        if !self.read()?.is(set, strength) {
            clock.sleep_until(clock.now() + SETTLE).await;
        }
        let read = self.read()?;
        if read.is(set, strength) {
            return Ok(());
        }
        let line = lock(&self.driver).describe();
        Err(match read.percent {
            None => DeviceError::ReadBack {
                device: self.device.clone(),
                line,
                set,
                read: read.level,
            },
            Some(read) => self.failed(
                "be sure of it",
                DriveError::Pwm(PwmError::ReadBack {
                    channel: line,
                    set: share(set, strength),
                    read,
                }),
            ),
        })
    }

    fn failed(&self, action: &str, cause: DriveError) -> DeviceError {
        cause.of(&self.device, self.kind, action.to_owned())
    }
}

/// The input that shows the contact.
pub(super) struct Feedback {
    line: Mutex<Box<dyn InputLine>>,
    time: Duration,
}

impl Feedback {
    pub(super) fn open(
        device: &str,
        kind: &'static str,
        settings: &FeedbackSettings,
        hardware: &Hardware,
    ) -> Result<Self, DeviceError> {
        let gpio = hardware.gpio.as_deref().ok_or_else(|| DeviceError::NoGpio {
            device: device.to_owned(),
            kind,
        })?;
        let line = gpio
            .request_input(&settings.line, &format!("outpost:{device}"))
            .map_err(|cause| DeviceError::Gpio {
                device: device.to_owned(),
                action: format!("take feedback line {}", settings.line),
                cause,
            })?;
        Ok(Feedback {
            line: Mutex::new(line),
            time: settings.time,
        })
    }

    /// Whether the contact is surely at a level now.
    pub(super) fn is(&self, level: Level) -> bool {
        lock(&self.line).get().is_ok_and(|read| read == level)
    }

    /// Waits until the contact is what was set, as long as it may take.
    pub(super) async fn verify(&self, set: Level, clock: &dyn Clock) -> Result<(), OutputError> {
        let deadline = clock.now() + self.time;
        loop {
            let read = lock(&self.line).get().map_err(OutputError::FeedbackLine)?;
            if read == set {
                return Ok(());
            }
            let now = clock.now();
            if now >= deadline {
                return Err(OutputError::Feedback {
                    line: lock(&self.line).describe(),
                    set,
                    read,
                    waited: self.time,
                });
            }
            clock.sleep_until(deadline.min(now + LOOK_EVERY)).await;
        }
    }
}
