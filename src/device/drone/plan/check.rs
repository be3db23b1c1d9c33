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
                    errors.extend(check_altitude(number, *altitude, limits).err());
                    continue;
                }
                Step::Waypoint { at, altitude, hold } => {
                    errors.extend(check_altitude(number, *altitude, limits).err());
                    errors.extend(check_hold(number, *hold).err());
                    *at
                }
                Step::Speed { speed } => {
                    errors.extend(check_speed(number, *speed, limits).err());
                    continue;
                }
                Step::Return => home,
                Step::Land { at } => match at.or(from) {
                    Some(to) => to,
                    None => continue,
                },
            };
            let leg = check_leg(number, home, from, to, limits);
            from = leg.is_ok().then_some(to);
            errors.extend(leg.err());
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn check_hold(step: usize, hold: Duration) -> Result<(), PlanError> {
    if hold <= LONGEST_HOLD {
        return Ok(());
    }
    Err(PlanError::Hold {
        step,
        seconds: hold.as_secs(),
        most: LONGEST_HOLD.as_secs(),
    })
}

fn check_speed(step: usize, speed: f64, limits: &Limits) -> Result<(), PlanError> {
    if (LEAST_SPEED..=limits.max_speed).contains(&speed) {
        return Ok(());
    }
    Err(PlanError::Speed {
        step,
        speed,
        least: LEAST_SPEED,
        most: limits.max_speed,
    })
}

fn check_altitude(step: usize, altitude: f64, limits: &Limits) -> Result<(), PlanError> {
    if (LEAST_ALTITUDE..=limits.max_altitude).contains(&altitude) {
        return Ok(());
    }
    Err(PlanError::Altitude {
        step,
        altitude,
        least: LEAST_ALTITUDE,
        most: limits.max_altitude,
    })
}

/// A circle around home is convex: where both ends of a leg are within, all of it is.
fn check_leg(
    step: usize,
    home: Position,
    from: Option<Position>,
    to: Position,
    limits: &Limits,
) -> Result<(), PlanError> {
    let distance = home.distance(to);
    if !(0.0..=limits.max_distance).contains(&distance) {
        return Err(PlanError::Distance {
            step,
            at: to,
            home,
            distance,
            most: limits.max_distance,
        });
    }
    let Some(fence) = &limits.fence else {
        return Ok(());
    };
    if !fence.contains(to) {
        return Err(PlanError::Outside { step, at: to });
    }
    let Some(from) = from else {
        return Ok(());
    };
    if !fence.contains_leg(from, to) {
        return Err(PlanError::Leg { step, from, to });
    }
    if !fence.contains_triangle(home, from, to) {
        return Err(PlanError::WayHome { step, to });
    }
    Ok(())
}
