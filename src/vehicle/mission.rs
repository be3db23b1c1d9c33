//! The mission is flown.

use std::time::Duration;

use mavlink::dialects::common::{MISSION_ITEM_REACHED_DATA, MavCmd, MavMessage, MavSeverity, MissionState};

use super::autopilot::Autopilot;
use super::config::Family;
use super::mode::Mode;
use super::navigation::Task;
use super::truth::{Cause, Event};

/// How far the mission is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) current: u16,
    pub(super) stage: Stage,
    /// Metres a second over ground, as the mission wants it.
    pub(super) speed: Option<f64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    NotStarted,
    Active,
    Paused,
    Complete,
}

impl Autopilot {
    /// ArduPilot's item 0 is home.
    fn first_item(&self) -> u16 {
        match self.config.family {
            Family::ArduPilot => 1,
            Family::Px4 => 0,
        }
    }

    pub(super) fn has_mission(&self) -> bool {
        self.lists.mission.len() > usize::from(self.first_item())
    }

    pub(super) fn begins_with_take_off(&self) -> bool {
        let flown = &self.lists.mission[self.lists.mission.len().min(usize::from(self.first_item()))..];
        flown
            .iter()
            .find(|item| item.command != MavCmd::MAV_CMD_DO_CHANGE_SPEED)
            .is_some_and(|item| item.command == MavCmd::MAV_CMD_NAV_TAKEOFF)
    }

    pub(super) fn mission_state(&self) -> MissionState {
        match self.progress.stage {
            _ if !self.has_mission() => MissionState::MISSION_STATE_NO_MISSION,
            Stage::NotStarted => MissionState::MISSION_STATE_NOT_STARTED,
            Stage::Active => MissionState::MISSION_STATE_ACTIVE,
            Stage::Paused => MissionState::MISSION_STATE_PAUSED,
            Stage::Complete => MissionState::MISSION_STATE_COMPLETE,
        }
    }

    pub(super) fn reset_mission(&mut self) {
        self.progress = Progress::default();
    }

    pub(super) fn pause_mission(&mut self) {
        if self.progress.stage == Stage::Active {
            self.progress.stage = Stage::Paused;
        }
    }

    /// Begins, or goes on where it was.
    pub(super) fn run_mission(&mut self) {
        if matches!(self.progress.stage, Stage::NotStarted | Stage::Complete) {
            let chosen = self.progress.stage == Stage::NotStarted && self.progress.current > 0;
            if !chosen {
                self.progress.current = self.first_item();
            }
        }
        self.progress.stage = Stage::Active;
        self.run_item();
    }

    /// MISSION_SET_CURRENT and its command: false if there is no such item.
    pub(super) fn choose_item(&mut self, seq: u16) -> bool {
        if usize::from(seq) >= self.lists.mission.len() {
            return false;
        }
        self.progress.current = seq;
        if self.progress.stage == Stage::Active {
            self.run_item();
        }
        true
    }

    fn run_item(&mut self) {
        let (point, height) = (self.body.at, self.body.height);
        while let Some(item) = self
            .lists
            .mission
            .get(usize::from(self.progress.current))
            .copied()
        {
            let there = item.point(self.plane).unwrap_or(point);
            let target = item.height(self.config.home.2);
            // PX4 allows NaN.
            let hold = if item.params[0].is_nan() {
                0.0
            } else {
                item.params[0]
            };
            let seconds = Duration::from_secs_f32(hold.clamp(0.0, 3600.0));
            self.task = match item.command {
                MavCmd::MAV_CMD_NAV_TAKEOFF => Task::TakeOff {
                    at: point,
                    height: target.max(height),
                },
                MavCmd::MAV_CMD_NAV_WAYPOINT | MavCmd::MAV_CMD_NAV_LOITER_TIME => Task::GoTo {
                    point: there,
                    height: target,
                    hold: seconds,
                    there: None,
                },
                MavCmd::MAV_CMD_NAV_LAND => Task::Land {
                    point: there,
                    height,
                    down: false,
                },
                // ArduPilot goes home as part of the mission, in mode AUTO; PX4 changes to its return mode.
                MavCmd::MAV_CMD_NAV_RETURN_TO_LAUNCH => match self.config.family {
                    Family::ArduPilot => self.way_home(),
                    Family::Px4 => {
                        self.progress.stage = Stage::Complete;
                        self.change_mode(Mode::Return, Cause::Vehicle);
                        return;
                    }
                },
                MavCmd::MAV_CMD_DO_CHANGE_SPEED => {
                    if item.params[1] > 0.0 && item.params[0] <= 1.0 {
                        self.progress.speed = Some(f64::from(item.params[1]));
                    }
                    self.progress.current += 1;
                    continue;
                }
                _ => {
                    self.progress.current += 1;
                    continue;
                }
            };
            return;
        }
        self.end_of_mission();
    }

    /// Nothing follows: it stays where it is.
    fn end_of_mission(&mut self) {
        self.progress.stage = Stage::Complete;
        self.progress.current = self.lists.mission.len().saturating_sub(1) as u16;
        if self.airborne {
            let (point, height) = (self.body.at, self.body.height);
            self.task = Task::Hold { point, height };
        } else {
            self.task = Task::Idle;
        }
        if self.config.family == Family::Px4 {
            self.change_mode(Mode::Guided, Cause::Vehicle);
        }
    }

    fn reached(&mut self) {
        let seq = self.progress.current;
        self.event(Event::Reached(seq));
        self.send(&MavMessage::MISSION_ITEM_REACHED(MISSION_ITEM_REACHED_DATA {
            seq,
        }));
        let text = format!("Reached command #{seq}");
        self.say(MavSeverity::MAV_SEVERITY_INFO, &text);
    }

    pub(super) fn item_done(&mut self) {
        self.reached();
        self.progress.current += 1;
        self.run_item();
    }

    /// It landed while it flew the mission.
    pub(super) fn mission_landed(&mut self) {
        if self.mode == Mode::Auto && self.progress.stage == Stage::Active {
            self.reached();
            self.progress.stage = Stage::Complete;
        }
    }
}
