//! What a plan takes, by what the configuration says about the drone.

use std::time::Duration;

use super::super::geo::Position;
use super::{Plan, Step};

/// Arming, spinning up, touching down, disarming.
const ON_THE_GROUND: Duration = Duration::from_secs(20);

/// How the drone flies, on the slow side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Performance {
    /// Metres a second over ground, where a plan does not say.
    pub cruise_speed: f64,
    /// Metres a second up.
    pub climb_speed: f64,
    /// Metres a second down, landing included.
    pub descent_speed: f64,
    /// Metres above home at which the autopilot returns, if it is lower (ArduPilot: RTL_ALT; PX4: RTL_RETURN_ALT).
    pub return_altitude: f64,
    /// How long it stays in the air on a full battery.
    pub endurance: Duration,
}

/// What a plan will take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// From arming until it is disarmed on the ground.
    pub time: Duration,
    /// Metres over ground, the way back included.
    pub distance: f64,
    /// The farthest that it is from home, in metres.
    pub farthest: f64,
    /// From the worst point home and down.
    pub return_time: Duration,
    /// Percent of a full battery.
    pub battery: f64,
}

impl Performance {
    /// How long a return takes from so far and so high, until it is disarmed on the ground.
    pub fn return_time(&self, distance: f64, altitude: f64) -> Duration {
        let top = altitude.max(self.return_altitude);
        let climb = (top - altitude) / self.climb_speed;
        let seconds = climb + distance / self.cruise_speed + top / self.descent_speed;
        seconds_of(seconds) + ON_THE_GROUND
    }
}

/// No time is negative or unlimited here; whatever can't be told is for ever.
fn seconds_of(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
}

impl Plan {
    /// What the plan will take from `home`.
    pub fn estimate(&self, home: Position, performance: &Performance) -> Estimate {
        let mut seconds = 0.0;
        let (mut distance, mut farthest) = (0.0_f64, 0.0_f64);
        let mut worst_return = Duration::ZERO;
        let (mut at, mut height, mut speed) = (home, 0.0_f64, performance.cruise_speed);
        let mut ending = Duration::ZERO;
        for step in self.steps() {
            match step {
                Step::Takeoff { altitude } => {
                    seconds += altitude / performance.climb_speed;
                    height = *altitude;
                }
                Step::Speed { speed: asked } => speed = *asked,
                Step::Waypoint {
                    at: to,
                    altitude,
                    hold,
                } => {
                    let leg = at.distance(*to);
                    let rate = if *altitude > height {
                        performance.climb_speed
                    } else {
                        performance.descent_speed
                    };
                    seconds += (leg / speed).max((altitude - height).abs() / rate) + hold.as_secs_f64();
                    distance += leg;
                    (at, height) = (*to, *altitude);
                }
                Step::Return => {
                    distance += at.distance(home);
                    ending = performance.return_time(at.distance(home), height);
                }
                Step::Land { at: to } => {
                    let leg = to.map_or(0.0, |to| at.distance(to));
                    distance += leg;
                    seconds += leg / speed;
                    at = to.unwrap_or(at);
                    ending = seconds_of(height / performance.descent_speed) + ON_THE_GROUND;
                }
            }
            farthest = farthest.max(at.distance(home));
            worst_return = worst_return.max(performance.return_time(at.distance(home), height));
        }
        let time = seconds_of(seconds).saturating_add(ending);
        Estimate {
            time,
            distance,
            farthest,
            return_time: worst_return,
            battery: 100.0 * time.as_secs_f64() / performance.endurance.as_secs_f64(),
        }
    }
}
