//! How the vehicle moves: towards where it is steered, no faster than it can, carried by the wind.

use super::config::Limits;
use super::place::Point;

/// How the motors are used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Steering {
    /// Off, or idling on the ground.
    None,
    /// To a point and a height, at most so fast over ground and up and down.
    Towards {
        point: Point,
        height: f64,
        speed: f64,
        up: f64,
        down: f64,
    },
    /// Down, without knowing where: the wind moves it.
    BlindDown { down: f64 },
}

/// Where it is and how it moves: north, east, up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Body {
    pub(super) at: Point,
    pub(super) height: f64,
    pub(super) velocity: [f64; 3],
    /// The speed with which it last met the ground, if that was in the last step.
    pub(super) impact: Option<f64>,
}

const GRAVITY: f64 = 9.81;

impl Body {
    pub(super) fn on_ground(&self) -> bool {
        self.height <= 0.0
    }

    pub(super) fn ground_speed(&self) -> f64 {
        self.velocity[0].hypot(self.velocity[1])
    }

    /// Moves for `span` seconds.
    pub(super) fn step(&mut self, span: f64, steering: Steering, wind: [f64; 2], limits: &Limits) {
        self.impact = None;
        let wish = match steering {
            Steering::None if self.on_ground() => {
                self.velocity = [0.0; 3];
                return;
            }
            Steering::None => {
                self.velocity[2] -= GRAVITY * span;
                self.advance(span);
                return;
            }
            Steering::Towards {
                point,
                height,
                speed,
                up,
                down,
            } => {
                let (north, east) = (point[0] - self.at[0], point[1] - self.at[1]);
                let left = north.hypot(east);
                let fast = braked(left, speed, limits.acceleration);
                let scale = if left > 1e-9 { fast / left } else { 0.0 };
                let climb = height - self.height;
                let vertical = braked(
                    climb.abs(),
                    if climb > 0.0 { up } else { down },
                    limits.acceleration,
                );
                let ground = within_airspeed([north * scale, east * scale], wind, limits.airspeed);
                [ground[0], ground[1], vertical.copysign(climb)]
            }
            Steering::BlindDown { down } => [wind[0] * 0.5, wind[1] * 0.5, -down],
        };
        let change = limits.acceleration * span;
        let (north, east) = (wish[0] - self.velocity[0], wish[1] - self.velocity[1]);
        let turn = (change / north.hypot(east).max(1e-9)).min(1.0);
        self.velocity[0] += north * turn;
        self.velocity[1] += east * turn;
        self.velocity[2] += (wish[2] - self.velocity[2]).clamp(-change, change);
        self.advance(span);
    }

    fn advance(&mut self, span: f64) {
        let was_above = self.height > 0.0;
        self.height += self.velocity[2] * span;
        if self.height <= 0.0 {
            if was_above {
                self.impact = Some(-self.velocity[2]);
            }
            self.height = 0.0;
            if self.velocity[2] <= 0.0 {
                self.velocity = [0.0; 3];
                return;
            }
        }
        self.at[0] += self.velocity[0] * span;
        self.at[1] += self.velocity[1] * span;
    }
}

/// The speed from which it can still stop in time, with some gentleness at the end.
fn braked(left: f64, speed: f64, acceleration: f64) -> f64 {
    speed.min((acceleration * left).sqrt()).min(left * 1.5)
}

/// What is left of a wish over ground if the air moves.
fn within_airspeed(wish: [f64; 2], wind: [f64; 2], most: f64) -> [f64; 2] {
    let air = [wish[0] - wind[0], wish[1] - wind[1]];
    let speed = air[0].hypot(air[1]);
    if speed <= most {
        return wish;
    }
    let scale = most / speed;
    [wind[0] + air[0] * scale, wind[1] + air[1] * scale]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vehicle::{Config, Family};

    fn limits() -> Limits {
        Config::new(Family::ArduPilot).limits
    }

    fn to(point: Point, height: f64) -> Steering {
        let limits = limits();
        Steering::Towards {
            point,
            height,
            speed: limits.cruise,
            up: limits.climb,
            down: limits.descent,
        }
    }

    fn fly(body: &mut Body, seconds: f64, steering: Steering, wind: [f64; 2]) {
        for _ in 0..(seconds * 50.0) as usize {
            body.step(0.02, steering, wind, &limits());
        }
    }

    #[test]
    fn it_climbs_at_its_speed_and_stops_where_it_should() {
        let mut body = Body::default();
        fly(&mut body, 10.0, to([0.0, 0.0], 30.0), [0.0; 2]);
        assert!((20.0..25.5).contains(&body.height), "{body:?}");
        assert!((body.velocity[2] - 2.5).abs() < 0.01, "{body:?}");
        fly(&mut body, 10.0, to([0.0, 0.0], 30.0), [0.0; 2]);
        assert!((body.height - 30.0).abs() < 0.05, "{body:?}");
    }

    #[test]
    fn it_reaches_cruise_and_brakes_without_flying_past() {
        let mut body = Body {
            height: 30.0,
            ..Body::default()
        };
        fly(&mut body, 8.0, to([200.0, 0.0], 30.0), [0.0; 2]);
        assert!((body.ground_speed() - 10.0).abs() < 0.01, "{body:?}");
        let mut most = 0.0_f64;
        for _ in 0..40 {
            fly(&mut body, 1.0, to([200.0, 0.0], 30.0), [0.0; 2]);
            most = most.max(body.at[0]);
        }
        assert!(
            (body.at[0] - 200.0).abs() < 0.1 && most < 200.5,
            "{body:?} {most}"
        );
    }

    #[test]
    fn wind_slows_it_and_a_storm_carries_it_off() {
        let start = Body {
            height: 30.0,
            ..Body::default()
        };
        let mut against = start;
        fly(&mut against, 20.0, to([1000.0, 0.0], 30.0), [-12.0, 0.0]);
        assert!((against.ground_speed() - 6.0).abs() < 0.1, "{against:?}");
        let mut storm = start;
        fly(&mut storm, 20.0, to([0.0, 0.0], 30.0), [-25.0, 0.0]);
        assert!(storm.at[0] < -50.0, "{storm:?}");
        let mut blind = start;
        fly(&mut blind, 10.0, Steering::BlindDown { down: 1.0 }, [4.0, 0.0]);
        assert!(blind.at[0] > 10.0 && blind.height < 21.0, "{blind:?}");
    }

    #[test]
    fn without_motors_it_falls_and_the_ground_is_where_it_ends() {
        let mut body = Body {
            height: 20.0,
            ..Body::default()
        };
        let mut impact = None;
        for _ in 0..200 {
            body.step(0.02, Steering::None, [0.0; 2], &limits());
            impact = impact.or(body.impact);
        }
        assert!(impact.is_some_and(|speed| speed > 15.0), "{impact:?}");
        assert!(body.on_ground() && body.velocity == [0.0; 3]);
    }
}
