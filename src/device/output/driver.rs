//! What an output drives: a line that is on or off, or a channel that is on for a share of the time.

use std::fmt;

use crate::device::gpio::{GpioBackend, GpioError, Level, LineSpec, OutputLine};
use crate::device::pwm::{Percent, PwmBackend, PwmChannel, PwmError, PwmSpec};
use crate::device::{DeviceError, Hardware};

/// Where an output is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drive {
    /// On a line: `line`, or `chip` and `offset`.
    Line(LineSpec),
    /// On a PWM channel: `pwm`.
    Pwm(PwmSpec),
}

impl Drive {
    /// The line, if it is one.
    pub fn line(&self) -> Option<&LineSpec> {
        match self {
            Drive::Line(line) => Some(line),
            Drive::Pwm(_) => None,
        }
    }

    /// The PWM channel, if it is one.
    pub fn pwm(&self) -> Option<&PwmSpec> {
        match self {
            Drive::Line(_) => None,
            Drive::Pwm(channel) => Some(channel),
        }
    }

    /// Takes it, with its level from the first moment on. What is on is on all the time.
    ///
    /// # Errors
    /// It can't be had, or there is nothing that could drive it.
    pub fn request(
        &self,
        level: Level,
        consumer: &str,
        gpio: Option<&dyn GpioBackend>,
        pwm: Option<&dyn PwmBackend>,
    ) -> Result<Driver, DriveError> {
        self.request_at(level, Percent::FULL, consumer, gpio, pwm)
    }

    /// The same, with how strong it is while it is on.
    pub(super) fn request_at(
        &self,
        level: Level,
        strength: Percent,
        consumer: &str,
        gpio: Option<&dyn GpioBackend>,
        pwm: Option<&dyn PwmBackend>,
    ) -> Result<Driver, DriveError> {
        Ok(match self {
            Drive::Line(line) => {
                let gpio = gpio.ok_or(DriveError::NoBackend)?;
                Driver::Line(gpio.request_output(line, level, consumer)?)
            }
            Drive::Pwm(channel) => {
                let pwm = pwm.ok_or(DriveError::NoBackend)?;
                Driver::Pwm(pwm.request(channel, share(level, strength), consumer)?)
            }
        })
    }
}

impl fmt::Display for Drive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Drive::Line(line) => write!(out, "line {line}"),
            Drive::Pwm(channel) => write!(out, "PWM channel {channel}"),
        }
    }
}

/// The share of time for a level that is so strong while it is on.
pub(super) fn share(level: Level, strength: Percent) -> Percent {
    match level {
        Level::Off => Percent::NONE,
        Level::On => strength,
    }
}

/// What is ours to drive. Dropping it releases it.
pub enum Driver {
    /// A line.
    Line(Box<dyn OutputLine>),
    /// A PWM channel.
    Pwm(Box<dyn PwmChannel>),
}

/// What was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Off or on.
    pub level: Level,
    /// How strong; of a line nothing but its level can be told.
    pub percent: Option<Percent>,
}

/// Why an output could not be had or driven.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The line.
    #[error(transparent)]
    Line(#[from] GpioError),
    /// The PWM channel.
    #[error(transparent)]
    Pwm(#[from] PwmError),
    /// Nothing was opened that could drive it.
    #[error("nothing was opened that could drive it: set backend = \"auto\" under [gpio]")]
    NoBackend,
}

impl Driver {
    /// Drives it to a level; `strength` counts where it can be told, while it is on.
    ///
    /// # Errors
    /// The line or the channel refuses.
    pub fn set(&mut self, level: Level, strength: Percent) -> Result<(), DriveError> {
        match self {
            Driver::Line(line) => line.set(level)?,
            Driver::Pwm(channel) => channel.set(share(level, strength))?,
        }
        Ok(())
    }

    /// Reads back what is there.
    ///
    /// # Errors
    /// It can't be read.
    pub fn get(&mut self) -> Result<Reading, DriveError> {
        Ok(match self {
            Driver::Line(line) => Reading {
                level: line.get()?,
                percent: None,
            },
            Driver::Pwm(channel) => {
                let percent = channel.get()?;
                Reading {
                    level: percent.level(),
                    percent: Some(percent),
                }
            }
        })
    }

    /// It for people.
    pub fn describe(&self) -> String {
        match self {
            Driver::Line(line) => line.describe(),
            Driver::Pwm(channel) => channel.describe(),
        }
    }
}

impl Reading {
    /// Whether it is what was set.
    pub fn is(&self, level: Level, strength: Percent) -> bool {
        self.level == level
            && self
                .percent
                .is_none_or(|percent| percent == share(level, strength))
    }
}

impl DriveError {
    /// As an error of the device that did `action`.
    pub(super) fn of(self, device: &str, kind: &'static str, action: String) -> DeviceError {
        let device = device.to_owned();
        match self {
            DriveError::Line(cause) => DeviceError::Gpio {
                device,
                action,
                cause,
            },
            DriveError::Pwm(cause) => DeviceError::Pwm {
                device,
                action,
                cause,
            },
            DriveError::NoBackend => DeviceError::NoGpio { device, kind },
        }
    }
}

impl Hardware {
    /// The name of what drives it, for the log.
    pub(super) fn backend_of(&self, drive: &Drive) -> &'static str {
        let name = match drive {
            Drive::Line(_) => self.gpio.as_deref().map(GpioBackend::name),
            Drive::Pwm(_) => self.pwm.as_deref().map(PwmBackend::name),
        };
        name.unwrap_or("none")
    }

    /// Takes what an output drives.
    pub(super) fn drive(
        &self,
        device: &str,
        kind: &'static str,
        drive: &Drive,
        level: Level,
        strength: Percent,
    ) -> Result<Driver, DeviceError> {
        let consumer = format!("outpost:{device}");
        drive
            .request_at(
                level,
                strength,
                &consumer,
                self.gpio.as_deref(),
                self.pwm.as_deref(),
            )
            .map_err(|error| error.of(device, kind, format!("take {drive}")))
    }
}
