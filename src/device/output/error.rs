//! What goes wrong with outputs beyond their lines.

use std::time::Duration;

use crate::device::duration::format_duration;
use crate::device::gpio::{GpioError, Level};

/// Why an output is not what it is to be.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The contact did not follow.
    #[error(
        "switched {set}, but its feedback {line} still reads {read} after {}: the contact is welded or broken, or its \
         wire is; repair it and restart the agent",
        format_duration(*waited)
    )]
    Feedback {
        /// The input, as the backend describes it.
        line: String,
        /// What was set.
        set: Level,
        /// What the input shows.
        read: Level,
        /// How long the contact was given.
        waited: Duration,
    },
    /// The line of the feedback refused.
    #[error("cannot read its feedback: {0}")]
    FeedbackLine(GpioError),
    /// The agent stops, and the level for that may not be had in time.
    #[error("is off and not on as on_stop says: {reason}")]
    StopHeld {
        /// What keeps it off.
        reason: String,
    },
}
