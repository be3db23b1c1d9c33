//! Channels of PWM chips, by which a lamp is dimmed, behind one trait.
//!
//! | backend | drives | when |
//! | --- | --- | --- |
//! | [`SysfsPwm`] | the kernel's PWM chips, every Linux board | whenever the board is real |
//! | [`SimulatedPwm`] | nothing; edges go to the simulated board | `gpio.backend = "simulated"` |
//!
//! Which backend it is follows the one for GPIO: a configuration is simulated as a whole, or not at all.

mod error;
mod simulated;
mod spec;
mod sysfs;

use std::fmt;
use std::sync::Arc;

pub use error::PwmError;
pub use simulated::SimulatedPwm;
pub use spec::{PwmSpec, PwmSpecError, PwmTable};
pub use sysfs::{ChipFacts, Kernel, ROOT, SysfsPwm, locate, survey};

use super::gpio::{BackendChoice, Level, SimulatedBoard};

/// The share of time in which something is on: a whole number from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

/// A text that is no [`Percent`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a whole number from 0 to 100, as in 30 or 30%")]
pub struct NotPercent(String);

impl Percent {
    /// Off.
    pub const NONE: Percent = Percent(0);
    /// All the time.
    pub const FULL: Percent = Percent(100);

    /// `None`: more than 100.
    pub fn new(percent: u8) -> Option<Self> {
        (percent <= 100).then_some(Percent(percent))
    }

    /// From `30` or `30%`.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, NotPercent> {
        let bare = text.trim();
        let bare = bare.strip_suffix('%').map_or(bare, str::trim_end);
        let digits = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
        let number = bare.parse().ok().filter(|_| digits);
        number
            .and_then(Percent::new)
            .ok_or_else(|| NotPercent(text.to_owned()))
    }

    /// From 0 to 100.
    pub fn get(self) -> u8 {
        self.0
    }

    /// On, if it is more than nothing.
    pub fn level(self) -> Level {
        if self == Percent::NONE {
            Level::Off
        } else {
            Level::On
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Something that has PWM channels.
pub trait PwmBackend: Send + Sync {
    /// Its name, for the log.
    fn name(&self) -> &'static str;

    /// Takes a channel and brings it to `initial`; a channel that runs already as it is to run is not interrupted.
    /// `consumer` is shown to others who look for the holder, where that can be seen.
    ///
    /// # Errors
    /// It cannot be had.
    fn request(
        &self,
        spec: &PwmSpec,
        initial: Percent,
        consumer: &str,
    ) -> Result<Box<dyn PwmChannel>, PwmError>;
}

/// A PWM channel that is ours. Dropping it lets others have it; it goes on as it is.
pub trait PwmChannel: Send {
    /// Sets the share of time in which it is on.
    ///
    /// # Errors
    /// The kernel refuses.
    fn set(&mut self, percent: Percent) -> Result<(), PwmError>;

    /// Reads back what is set there. What the pin really does no PWM chip tells.
    ///
    /// # Errors
    /// It cannot be read, or somebody else has changed how it runs.
    fn get(&mut self) -> Result<Percent, PwmError>;

    /// The channel for people.
    fn describe(&self) -> String;
}

/// The backend beside that of GPIO. Nothing is looked for until a channel is requested.
pub fn open_backend(choice: BackendChoice, board: &SimulatedBoard) -> Arc<dyn PwmBackend> {
    match choice {
        BackendChoice::Simulated => Arc::new(SimulatedPwm::new(board.clone())),
        BackendChoice::Auto | BackendChoice::Cdev | BackendChoice::Rppal => Arc::new(SysfsPwm::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_whole_numbers_with_or_without_the_sign() {
        for (text, percent) in [("0", 0), ("30", 30), ("30%", 30), (" 100 % ", 100), ("007", 7)] {
            assert_eq!(Percent::parse(text).unwrap().get(), percent, "{text:?}");
        }
        for text in ["", "%", "-1", "+5", "101", "12.5", "1e1", "half", "30%%", "300"] {
            let error = Percent::parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?} is not a whole number")),
                "{error}"
            );
        }
    }

    #[test]
    fn anything_more_than_nothing_is_on() {
        assert_eq!(Percent::NONE.level(), Level::Off);
        assert_eq!(Percent::new(1).unwrap().level(), Level::On);
        assert_eq!(Percent::FULL.level(), Level::On);
        assert_eq!(Percent::new(101), None);
    }
}
