//! What a mode makes the vehicle do, step by step.

use std::time::Duration;

use mavlink::dialects::common::MavSeverity;

use super::autopilot::Autopilot;
use super::config::Family;
use super::mode::Mode;
use super::physics::Steering;
use super::place::{self, Point};
use super::truth::{Cause, Event};

/// So near is there, in metres.
const THERE: f64 = 2.0;
/// So near is high enough, in metres.
const HIGH_ENOUGH: f64 = 0.3;

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Task {
    /// Nothing: standing, or falling.
    Idle,
    TakeOff {
        at: Point,
        height: f64,
    },
    GoTo {
        point: Point,
        height: f64,
        hold: Duration,
        there: Option<Duration>,
    },
    Hold {
        point: Point,
        height: f64,
    },
    Return(Leg),
    /// Over a point, then down.
    Land {
        point: Point,
        height: f64,
        down: bool,
    },
}

/// The way home.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leg {
    Climb { at: Point, height: f64 },
    Home { height: f64 },
    Linger { height: f64, until: Duration },
}

impl Task {
    /// Whether it is on its last way down.
    pub(super) fn comes_down(self) -> bool {
        matches!(self, Task::Land { down: true, .. })
    }
}

impl Autopilot {
    /// A change of mode as somebody on the wire or a failsafe wants it: false if the vehicle refuses.
    pub(super) fn set_mode(&mut self, mode: Mode, cause: Cause) -> bool {
        if !self.initialised() {
            return false;
        }
        let px4 = self.config.family == Family::Px4;
        let reason =
            if mode.needs_position() && !self.position_known() && mode != Mode::Land && (self.armed || px4) {
                Some("requires position")
            } else if mode == Mode::Auto && (self.armed || px4) && !self.has_mission() {
                Some("missing mission")
            } else if mode == Mode::Auto && self.armed && !self.airborne && !self.begins_with_take_off() {
                Some("missing takeoff")
            } else {
                None
            };
        if let Some(reason) = reason {
            let text = format!(
                "Mode change to {} failed: {reason}",
                mode.to_string().to_uppercase()
            );
            self.say(MavSeverity::MAV_SEVERITY_WARNING, &text);
            return false;
        }
        self.change_mode(mode, cause);
        true
    }

    /// A change of mode that nobody can refuse.
    pub(super) fn change_mode(&mut self, mode: Mode, cause: Cause) {
        let before = self.mode;
        if before != mode {
            self.mode = mode;
            self.truth.mode = mode;
            self.truth.modes.push((self.now, mode, cause));
            self.event(Event::Mode(mode, cause));
            if before == Mode::Auto {
                self.pause_mission();
            }
        } else if self.airborne && self.task != Task::Idle {
            // The same again: it goes on.
            return;
        }
        let (point, height) = (self.body.at, self.body.height);
        self.task = match mode {
            Mode::TakeOff if self.armed => Task::TakeOff {
                at: point,
                height: height.max(self.params.get("MIS_TAKEOFF_ALT")),
            },
            _ if !self.airborne || !self.armed => Task::Idle,
            Mode::Return => self.way_home(),
            Mode::Land => Task::Land {
                point,
                height,
                down: true,
            },
            _ => Task::Hold { point, height },
        };
        let flies_by_itself = self.airborne || self.config.family == Family::Px4;
        if mode == Mode::Auto && self.armed && flies_by_itself {
            self.run_mission();
        }
    }

    pub(super) fn way_home(&self) -> Task {
        let (at, height) = (self.body.at, self.body.height);
        let from = match self.config.family {
            Family::ArduPilot if self.params.index("RTL_ALT_M").is_some() => self.params.get("RTL_ALT_M"),
            Family::ArduPilot => self.params.get("RTL_ALT") / 100.0,
            // Above home already: no climb to sixty metres.
            Family::Px4 if place::distance(at, self.home.unwrap_or_default()) < THERE => height,
            Family::Px4 => self.params.get("RTL_RETURN_ALT"),
        };
        Task::Return(Leg::Climb {
            at,
            height: from.max(height),
        })
    }

    fn linger(&self) -> Duration {
        match self.config.family {
            Family::ArduPilot => Duration::from_millis(self.params.get("RTL_LOIT_TIME").max(0.0) as u64),
            Family::Px4 => Duration::ZERO,
        }
    }

    /// Goes on with the task and says how to move now.
    pub(super) fn steer(&mut self) -> Steering {
        if !self.armed || self.battery.left <= 0.0 {
            return Steering::None;
        }
        self.disarm_when_idle();
        let (at, height) = (self.body.at, self.body.height);
        let near = |point: Point| place::distance(point, at) < THERE;
        let (point, target) = match self.task {
            Task::Idle => return Steering::None,
            Task::TakeOff { at, height: to } => {
                if height > to - HIGH_ENOUGH {
                    self.arrived();
                }
                (at, to)
            }
            Task::GoTo {
                point,
                height: to,
                hold,
                there,
            } => {
                let since = there.or((near(point) && (height - to).abs() < THERE).then_some(self.now));
                self.task = Task::GoTo {
                    point,
                    height: to,
                    hold,
                    there: since,
                };
                if since.is_some_and(|since| self.now >= since + hold) {
                    self.arrived();
                }
                (point, to)
            }
            Task::Hold { point, height } => (point, height),
            Task::Return(leg) => self.steer_home(leg),
            Task::Land {
                point,
                height: over,
                down,
            } => {
                if !down && place::distance(point, at) < 1.0 {
                    self.task = Task::Land {
                        point,
                        height: over,
                        down: true,
                    };
                }
                (point, if down { -1.0 } else { over })
            }
        };
        self.towards(point, target)
    }

    fn steer_home(&mut self, leg: Leg) -> (Point, f64) {
        let home = self.home.unwrap_or_default();
        let (next, aim) = match leg {
            Leg::Climb { at, height } if self.body.height > height - HIGH_ENOUGH => {
                (Task::Return(Leg::Home { height }), (at, height))
            }
            Leg::Climb { at, height } => (self.task, (at, height)),
            Leg::Home { height } if place::distance(home, self.body.at) < 1.0 => {
                let until = self.now + self.linger();
                (Task::Return(Leg::Linger { height, until }), (home, height))
            }
            Leg::Home { height } => (self.task, (home, height)),
            Leg::Linger { height, until } if self.now >= until => (
                Task::Land {
                    point: home,
                    height,
                    down: true,
                },
                (home, height),
            ),
            Leg::Linger { height, .. } => (self.task, (home, height)),
        };
        self.task = next;
        aim
    }

    fn towards(&self, point: Point, height: f64) -> Steering {
        let limits = &self.config.limits;
        let last_metres = self.task.comes_down() && self.body.height < limits.landing_below;
        let down = if last_metres {
            limits.landing
        } else {
            limits.descent
        };
        if self.gps_lost.is_some() {
            return Steering::BlindDown {
                down: if self.task.comes_down() { down } else { 0.0 },
            };
        }
        let speed = match self.progress.speed {
            Some(speed) if self.mode == Mode::Auto => speed,
            _ => limits.cruise,
        };
        Steering::Towards {
            point,
            height,
            speed,
            up: limits.climb,
            down,
        }
    }

    /// A task of the mission or of a take-off is done.
    fn arrived(&mut self) {
        if self.mode == Mode::Auto {
            self.item_done();
            return;
        }
        let (point, height) = (self.body.at, self.body.height);
        self.task = Task::Hold { point, height };
        if self.mode == Mode::TakeOff {
            self.change_mode(Mode::Guided, Cause::Vehicle);
        }
    }

    /// Nobody leaves the motors on for nothing.
    fn disarm_when_idle(&mut self) {
        let landed_before = self.truth.landings.last() > self.truth.arms.last();
        let delay = match self.config.family {
            Family::ArduPilot => self.params.get("DISARM_DELAY"),
            Family::Px4 if landed_before => self.params.get("COM_DISARM_LAND"),
            Family::Px4 => self.params.get("COM_DISARM_PRFLT"),
        };
        let idle = !self.airborne && self.task == Task::Idle;
        if idle && delay > 0.0 && self.now - self.standing_since >= Duration::from_secs_f64(delay.min(1e6)) {
            self.set_armed(false);
        }
    }
}
