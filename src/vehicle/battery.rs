//! What the battery gives: amperes by what the vehicle does, volts by what is left.

use super::physics::Body;

/// Amperes that the electronics take.
const IDLE: f64 = 0.4;
/// With the motors turning on the ground.
const SPINNING: f64 = 2.0;
/// Hovering.
const HOVER: f64 = 14.0;
/// More for each metre a second upwards.
const PER_CLIMB: f64 = 2.5;
/// More for each (metre a second through the air)².
const PER_AIRSPEED: f64 = 0.03;

/// Milliampere hours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Battery {
    pub(super) capacity: f64,
    pub(super) left: f64,
    pub(super) current: f64,
}

impl Battery {
    pub(super) fn new(capacity: f64, percent: f64) -> Self {
        Battery {
            capacity,
            left: capacity * percent.clamp(0.0, 100.0) / 100.0,
            current: 0.0,
        }
    }

    pub(super) fn drain(&mut self, span: f64, armed: bool, body: &Body, wind: [f64; 2]) {
        self.current = if !armed {
            IDLE
        } else if body.on_ground() {
            SPINNING
        } else {
            let air = [body.velocity[0] - wind[0], body.velocity[1] - wind[1]];
            HOVER + PER_CLIMB * body.velocity[2].max(0.0) + PER_AIRSPEED * (air[0] * air[0] + air[1] * air[1])
        };
        self.left = (self.left - self.current * 1000.0 * span / 3600.0).max(0.0);
    }

    pub(super) fn percent(&self) -> f64 {
        100.0 * self.left / self.capacity
    }

    /// A battery of three cells: 12.6 V full, 9.9 V empty.
    pub(super) fn volts(&self) -> f64 {
        9.9 + 2.7 * self.left / self.capacity - self.current * 0.01
    }
}
