//! Input lines whose edges are waited for.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::{GpioError, InputLine, Level};

/// The pull resistor inside the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    /// What it is; with `rppal`, which can't leave it, none.
    #[default]
    AsIs,
    /// Towards the supply: for a contact to ground.
    PullUp,
    /// Towards ground: for a contact to the supply.
    PullDown,
    /// None: there is a resistor outside.
    None,
}

impl fmt::Display for Bias {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Bias::AsIs => "as-is",
            Bias::PullUp => "pull-up",
            Bias::PullDown => "pull-down",
            Bias::None => "none",
        })
    }
}

/// How an input is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watching {
    /// The pull resistor.
    pub bias: Bias,
    /// How long a level must last before it counts; zero: every edge counts. Whether the line sees to it is told by
    /// [`WatchedLine::is_debounced`].
    pub debounce: Duration,
}

/// An edge as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineEvent {
    /// The level from then on.
    pub level: Level,
    /// How long ago that was when it was told. Time in which the machine slept is not counted.
    pub age: Duration,
}

/// An input line that tells its edges. Dropping it releases the line.
#[async_trait]
pub trait WatchedLine: InputLine {
    /// Waits for the next edge; several are told one by one. Without edges nothing wakes up. Safe to drop and to call
    /// again.
    ///
    /// # Errors
    /// The line is lost: it tells no more edges, and must be requested again.
    async fn next(&mut self) -> Result<LineEvent, GpioError>;

    /// Whether edges come from levels that have lasted for [`Watching::debounce`] already.
    fn is_debounced(&self) -> bool;
}
