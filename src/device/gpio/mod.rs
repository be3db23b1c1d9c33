//! Lines of GPIO chips, behind one trait.
//!
//! | backend | drives | when |
//! | --- | --- | --- |
//! | `cdev` | the kernel's character device, every Linux board | the default choice of `auto` |
//! | `rppal` | a Raspberry Pi's registers | named by the user, or where `cdev` is missing on a recognised Pi |
//! | `simulated` | nothing; records every edge | only where the configuration says so |
//!
//! Lines are requested together with their initial level, so that nothing glitches when the agent starts.

mod cdev;
mod error;
mod line;
mod rppal;
mod simulated;
mod watched;

use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

pub use cdev::{CdevBackend, ChipFacts, LineFacts, locate, survey};
pub use error::GpioError;
pub use line::{Level, LineAddress, LineSpec, LineSpecError, Physical, text_or_number};
pub use rppal::RppalBackend;
pub use simulated::{Edge, LineFault, SimulatedBoard};
pub use watched::{Bias, LineEvent, WatchedLine, Watching};

/// Something that can drive lines.
pub trait GpioBackend: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Takes a line as an output that has the level `initial` from the first moment on. `consumer` is shown
    /// to others who look for the line's holder (the kernel keeps 31 bytes of it).
    fn request_output(
        &self,
        spec: &LineSpec,
        initial: Level,
        consumer: &str,
    ) -> Result<Box<dyn OutputLine>, GpioError>;

    /// Takes a line as an input. No bias is asked for: `cdev` leaves the pull resistor as it is, `rppal` turns it off.
    fn request_input(&self, spec: &LineSpec, consumer: &str) -> Result<Box<dyn InputLine>, GpioError>;

    /// Takes a line as an input whose edges are told. Needs a tokio runtime.
    fn watch_input(
        &self,
        spec: &LineSpec,
        watching: Watching,
        consumer: &str,
    ) -> Result<Box<dyn WatchedLine>, GpioError>;
}

/// An input line that is ours. Dropping it releases the line.
pub trait InputLine: Send {
    /// The level that is there.
    fn get(&mut self) -> Result<Level, GpioError>;

    /// The line for people: name, chip and offset as far as they are known.
    fn describe(&self) -> String;
}

/// An output line that is ours. Dropping it releases the line; its level afterwards is the kernel's affair.
pub trait OutputLine: Send {
    /// Drives the line to a level.
    fn set(&mut self, level: Level) -> Result<(), GpioError>;

    /// Reads back the level that is really there.
    fn get(&mut self) -> Result<Level, GpioError>;

    /// The line for people: name, chip and offset as far as they are known.
    fn describe(&self) -> String;
}

/// Which backend the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum BackendChoice {
    /// `cdev`, else `rppal` on a recognised Raspberry Pi; never `simulated`.
    #[default]
    Auto,
    /// The kernel's GPIO character device.
    Cdev,
    /// A Raspberry Pi's registers through the rppal crate.
    Rppal,
    /// No hardware; edges are recorded.
    Simulated,
}

impl BackendChoice {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            BackendChoice::Auto => "auto",
            BackendChoice::Cdev => "cdev",
            BackendChoice::Rppal => "rppal",
            BackendChoice::Simulated => "simulated",
        }
    }
}

/// The configuration names a backend that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown backend {0:?}: write \"cdev\" (Linux character device, every board), \"rppal\" (Raspberry Pi registers), \
     \"simulated\" (no hardware) or \"auto\" (cdev, else rppal on a Raspberry Pi)"
)]
pub struct UnknownBackend(String);

impl FromStr for BackendChoice {
    type Err = UnknownBackend;
    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        [
            BackendChoice::Auto,
            BackendChoice::Cdev,
            BackendChoice::Rppal,
            BackendChoice::Simulated,
        ]
        .into_iter()
        .find(|choice| choice.as_str() == text)
        .ok_or_else(|| UnknownBackend(text.to_owned()))
    }
}

impl TryFrom<String> for BackendChoice {
    type Error = UnknownBackend;
    fn try_from(text: String) -> Result<Self, UnknownBackend> {
        text.parse()
    }
}

/// Opens the backend that the configuration asks for. `board` is used by [`BackendChoice::Simulated`] alone.
///
/// # Errors
/// Why the backend cannot be used here; for `auto` the reasons of all that were tried.
pub fn open_backend(
    choice: BackendChoice,
    board: &SimulatedBoard,
) -> Result<Arc<dyn GpioBackend>, GpioError> {
    match choice {
        BackendChoice::Auto => auto(cdev_backend, rppal_backend),
        BackendChoice::Cdev => cdev_backend(),
        BackendChoice::Rppal => rppal_backend(),
        BackendChoice::Simulated => Ok(Arc::new(board.clone())),
    }
}

fn cdev_backend() -> Result<Arc<dyn GpioBackend>, GpioError> {
    Ok(Arc::new(CdevBackend::open()?))
}

fn rppal_backend() -> Result<Arc<dyn GpioBackend>, GpioError> {
    Ok(Arc::new(RppalBackend::open()?))
}

/// The order of `auto`; the second is not even tried where the first works.
fn auto(
    cdev: impl FnOnce() -> Result<Arc<dyn GpioBackend>, GpioError>,
    rppal: impl FnOnce() -> Result<Arc<dyn GpioBackend>, GpioError>,
) -> Result<Arc<dyn GpioBackend>, GpioError> {
    let first = match cdev() {
        Ok(backend) => return Ok(backend),
        Err(error) => error,
    };
    match rppal() {
        Ok(backend) => {
            tracing::warn!(reason = %first, "the GPIO character device cannot be used; falling back to rppal");
            Ok(backend)
        }
        Err(second) => Err(GpioError::NoBackend {
            tried_backends: vec![("cdev", first), ("rppal", second)],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn board() -> SimulatedBoard {
        SimulatedBoard::new(Arc::new(SystemClock))
    }

    fn works() -> Result<Arc<dyn GpioBackend>, GpioError> {
        Ok(Arc::new(board()))
    }

    #[test]
    fn auto_takes_the_first_that_works_and_tells_why_none_did() {
        assert!(auto(works, || panic!("not tried where cdev works")).is_ok());
        assert!(auto(|| Err(GpioError::NoChips), works).is_ok());
        let neither = auto(|| Err(GpioError::NoChips), || Err(GpioError::NotAPi))
            .err()
            .unwrap()
            .to_string();
        assert!(neither.contains("cdev: no GPIO chip found"), "{neither}");
        assert!(neither.contains("rppal: this is not a Raspberry Pi"), "{neither}");
        assert!(neither.contains("auto never simulates"), "{neither}");
    }

    #[test]
    fn without_a_chip_cdev_and_auto_fail_and_say_so() {
        let chips = std::fs::read_dir("/dev").unwrap().filter_map(Result::ok);
        let has_chips = chips
            .map(|entry| entry.file_name())
            .any(|name| name.to_string_lossy().starts_with("gpiochip"));
        let cdev = open_backend(BackendChoice::Cdev, &board());
        let auto = open_backend(BackendChoice::Auto, &board());
        assert_ne!(
            auto.as_ref().ok().map(|backend| backend.name()),
            Some("simulated")
        );
        if has_chips {
            assert!(!matches!(cdev, Err(GpioError::NoChips)));
        } else {
            assert!(matches!(cdev, Err(GpioError::NoChips)));
            assert!(matches!(auto, Err(GpioError::NoBackend { .. })));
        }
    }

    #[test]
    fn simulation_is_had_by_asking_for_it() {
        assert_eq!(
            open_backend(BackendChoice::Simulated, &board()).unwrap().name(),
            "simulated"
        );
    }

    #[test]
    fn an_unknown_backend_is_answered_with_the_known_ones() {
        let read = |json: &str| serde_json::from_str::<BackendChoice>(json);
        assert_eq!(read("\"cdev\"").unwrap(), BackendChoice::Cdev);
        assert_eq!(read("\"simulated\"").unwrap(), BackendChoice::Simulated);
        let error = read("\"gpiod\"").unwrap_err().to_string();
        assert!(
            error.contains("unknown backend \"gpiod\"") && error.contains("\"cdev\""),
            "{error}"
        );
        assert_eq!(BackendChoice::default(), BackendChoice::Auto);
    }
}
