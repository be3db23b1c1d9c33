//! What a process asks to be flown: read from its arguments or a document, checked, and what it will cost.

use std::time::Duration;

use super::geo::Position;

/// One leg or act of a flight. Altitudes are metres above home, speeds metres a second.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Climb straight up. Always the first step, and only that.
    Takeoff {
        /// Metres above home.
        altitude: f64,
    },
    /// Fly to a point, and stay there for a while.
    Waypoint {
        /// Where to.
        at: Position,
        /// Metres above home.
        altitude: f64,
        /// How long to stay there.
        hold: Duration,
    },
    /// Fly so fast from here on.
    Speed {
        /// Metres a second over ground.
        speed: f64,
    },
    /// Return to launch and land there. Always the last step, unless that is [`Step::Land`].
    Return,
    /// Land, at a point or where it is.
    Land {
        /// Where; `None`: below.
        at: Option<Position>,
    },
}

/// A whole flight: a take-off, what is between, and a return or a landing.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In the order in which they are flown.
    pub steps: Vec<Step>,
}

/// What a plan will take, at worst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// From arming until it is disarmed on the ground.
    pub time: Duration,
    /// Metres over ground, the way back included.
    pub distance: f64,
    /// The farthest that it is from home, in metres.
    pub farthest: f64,
    /// From the farthest point home and down.
    pub return_time: Duration,
}
