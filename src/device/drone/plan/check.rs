//! Whether a plan keeps to what is allowed, everywhere and at every moment: also when the drone has to return from the
//! middle of a leg.

use std::time::Duration;

use super::super::geo::{Polygon, Position};
use super::{Plan, PlanError, Step};

/// Lower than this nothing is flown: the ground is not that flat.
const LEAST_ALTITUDE: f64 = 2.0;
/// Slower than this an autopilot does not get there.
const LEAST_SPEED: f64 = 0.5;
/// The longest time in one place.
const LONGEST_HOLD: Duration = Duration::from_secs(3_600);

/// What is allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Metres above home.
    pub max_altitude: f64,
    /// Metres from home, along the ground.
    pub max_distance: f64,
    /// Metres a second over ground.
    pub max_speed: f64,
    /// Where flying is allowed.
    pub fence: Option<Polygon>,
}

impl Plan {
    /// Whether the plan keeps to the limits.
    ///
    /// # Errors
    /// Everything in which it does not, in the order of its steps; never nothing.
    pub fn check(&self, home: Position, limits: &Limits) -> Result<(), Vec<PlanError>> {
        if limits.fence.as_ref().is_some_and(|fence| !fence.contains(home)) {
            return Err(vec![PlanError::HomeOutside { home }]);
        }
        let mut errors = Vec::new();
        // `None`: the place of the step before is refused already, and with it the way from there.
        let mut from = Some(home);
        for (index, step) in self.steps().iter().enumerate() {
            let number = index + 1;
            let to = match step {
                Step::Takeoff { altitude } => {
                    errors.extend(altitude_error(number, *altitude, limits));
                    continue;
                }
                Step::Waypoint { at, altitude, hold } => {
                    errors.extend(altitude_error(number, *altitude, limits));
                    errors.extend(hold_error(number, *hold));
                    *at
                }
                Step::Speed { speed } => {
                    errors.extend(speed_error(number, *speed, limits));
                    continue;
                }
                Step::Return => home,
                Step::Land { at } => match at.or(from) {
                    Some(to) => to,
                    None => continue,
                },
            };
            let error = leg_error(number, home, from, to, limits);
            from = error.is_none().then_some(to);
            errors.extend(error);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn hold_error(step: usize, hold: Duration) -> Option<PlanError> {
    let (seconds, most) = (hold.as_secs(), LONGEST_HOLD.as_secs());
    (hold > LONGEST_HOLD).then_some(PlanError::Hold { step, seconds, most })
}

fn speed_error(step: usize, speed: f64, limits: &Limits) -> Option<PlanError> {
    let (least, most) = (LEAST_SPEED, limits.max_speed);
    let kept = (least..=most).contains(&speed);
    (!kept).then_some(PlanError::Speed {
        step,
        speed,
        least,
        most,
    })
}

fn altitude_error(step: usize, altitude: f64, limits: &Limits) -> Option<PlanError> {
    let (least, most) = (LEAST_ALTITUDE, limits.max_altitude);
    let kept = (least..=most).contains(&altitude);
    (!kept).then_some(PlanError::Altitude {
        step,
        altitude,
        least,
        most,
    })
}

/// A circle around home is convex: where both ends of a leg are within, all of it is.
fn leg_error(
    step: usize,
    home: Position,
    from: Option<Position>,
    to: Position,
    limits: &Limits,
) -> Option<PlanError> {
    let (at, most) = (to, limits.max_distance);
    let distance = home.distance(to);
    if !(0.0..=most).contains(&distance) {
        return Some(PlanError::Distance {
            step,
            at,
            home,
            distance,
            most,
        });
    }
    let fence = limits.fence.as_ref()?;
    if !fence.contains(to) {
        return Some(PlanError::Outside { step, at });
    }
    let from = from?;
    if !fence.contains_leg(from, to) {
        return Some(PlanError::Leg { step, from, to });
    }
    (!fence.contains_triangle(home, from, to)).then_some(PlanError::WayHome { step, to })
}
