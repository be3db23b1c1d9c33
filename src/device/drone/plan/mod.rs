//! What a process asks to be flown: read from its arguments or from a document, checked against the drone's limits, what
//! it will cost, and the list that the autopilot is given.
//!
//! | given as | how |
//! | --- | --- |
//! | arguments | `LAT,LON,ALT[,HOLD[,SPEED]]` for each point, then `return` (default) or `land` |
//! | `GEOJSON` in the environment | points and lines with `altitude`, `hold`, `speed` among their properties |
//! | `PLAN` in the environment | a QGroundControl `.plan` document |
//!
//! Degrees of WGS 84; altitudes in metres above home; speeds in metres a second over ground. Everything else is refused:
//! what an autopilot would do with it can't be checked here.

mod arguments;
mod check;
mod error;
mod estimate;
mod geojson;
mod items;
mod qgroundcontrol;

use std::time::Duration;

pub use check::Limits;
pub use error::PlanError;
pub use estimate::{Estimate, Performance};
pub use items::{Home, fence_items};

use super::geo::Position;
use crate::device::Call;

/// The variable with a GeoJSON document.
pub const GEOJSON: &str = "GEOJSON";
/// The variable with a QGroundControl plan.
pub const PLAN: &str = "PLAN";
/// A plan has no more steps than this.
pub const MOST_STEPS: usize = 200;

/// One leg or act of a flight. Altitudes are metres above home, speeds metres a second over ground.
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
    steps: Vec<Step>,
}

/// How a flight ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Return,
    Land,
}

impl Ending {
    fn step(self) -> Step {
        match self {
            Ending::Return => Step::Return,
            Ending::Land => Step::Land { at: None },
        }
    }
}

impl Plan {
    /// The plan that a process asks for, in its arguments and its environment.
    ///
    /// # Errors
    /// [`PlanError`], which names the place.
    pub fn of(call: &Call) -> Result<Self, PlanError> {
        let document = |name: &str| call.env.get(name).filter(|text| !text.trim().is_empty());
        match (document(GEOJSON), document(PLAN)) {
            (None, None) => arguments::plan(&call.args),
            (Some(text), None) => geojson::plan(text, arguments::ending_alone(&call.args)?),
            (None, Some(text)) => qgroundcontrol::plan(text, arguments::ending_alone(&call.args)?),
            (Some(_), Some(_)) => Err(PlanError::TwoDocuments),
        }
    }

    /// From steps in order.
    ///
    /// # Errors
    /// They don't begin with a take-off and end with a return or a landing, or there are too many.
    pub fn new(steps: Vec<Step>) -> Result<Self, PlanError> {
        if steps.len() > MOST_STEPS {
            return Err(PlanError::TooLong { steps: steps.len() });
        }
        let last = steps.len().saturating_sub(1);
        for (index, step) in steps.iter().enumerate() {
            let ends = matches!(step, Step::Return | Step::Land { .. });
            let begins = matches!(step, Step::Takeoff { .. });
            if begins != (index == 0) || ends != (index == last) {
                return Err(PlanError::Order { step: index + 1 });
            }
        }
        if steps.len() < 2 {
            return Err(PlanError::Empty);
        }
        Ok(Plan { steps })
    }

    /// In the order in which they are flown.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A flight to points, as arguments and GeoJSON describe them: up to the altitude of the first, then from one to
    /// the next.
    fn through(points: Vec<Target>, ending: Ending) -> Result<Self, PlanError> {
        let first = points.first().ok_or(PlanError::Empty)?;
        let mut steps = vec![Step::Takeoff {
            altitude: first.altitude,
        }];
        for point in points {
            steps.extend(point.speed.map(|speed| Step::Speed { speed }));
            steps.push(Step::Waypoint {
                at: point.at,
                altitude: point.altitude,
                hold: point.hold,
            });
        }
        steps.push(ending.step());
        Plan::new(steps)
    }
}

/// A point to fly to.
struct Target {
    at: Position,
    altitude: f64,
    hold: Duration,
    speed: Option<f64>,
}

#[cfg(test)]
mod tests;
