//! What goes wrong with inputs.

use std::time::Duration;

use super::edge::Edges;
use crate::device::duration::format_duration;
use crate::device::gpio::Level;

/// Why an input did not tell what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The edge that was waited for did not come.
    #[error("no {edges} within {}; it is {level}", format_duration(*waited))]
    NoEdge {
        /// What was waited for.
        edges: Edges,
        /// How long.
        waited: Duration,
        /// The level at the end.
        level: Level,
    },
    /// The line can't be read now.
    #[error(
        "its line is lost ({reason}); it is tried again every {}",
        format_duration(super::REOPEN_EVERY)
    )]
    Lost {
        /// What the backend said last.
        reason: String,
    },
}
