//! What the vehicle does by itself when something is wrong, if its parameters say so.

use std::time::Duration;

use mavlink::dialects::common::{HEARTBEAT_DATA, MavSeverity, MavType};

use super::autopilot::Autopilot;
use super::config::Family;
use super::mode::Mode;
use super::place;
use super::truth::{Cause, Event};

/// How long it goes on without satellites.
const BLIND: Duration = Duration::from_secs(5);

// FENCE_BREACH.
const ALTITUDE: u8 = 2;
const BOUNDARY: u8 = 3;

impl Autopilot {
    /// A heartbeat: whether it is from the ground station whose absence matters.
    pub(super) fn note_station(&mut self, from: (u8, u8), data: &HEARTBEAT_DATA) {
        let counts = match self.config.family {
            // Whoever has that system id, of whatever type.
            Family::ArduPilot => {
                let ours = if self.params.index("MAV_GCS_SYSID").is_some() {
                    self.params.get("MAV_GCS_SYSID")
                } else {
                    self.params.get("SYSID_MYGCS")
                };
                f64::from(from.0) == ours
            }
            // Whoever says that it is a ground station.
            Family::Px4 => data.mavtype == MavType::MAV_TYPE_GCS,
        };
        if counts {
            self.station_heard = Some(self.now);
        }
    }

    fn station_patience(&self) -> Duration {
        Duration::from_secs_f64(match self.config.family {
            Family::ArduPilot => self.params.get("FS_GCS_TIMEOUT").clamp(2.0, 120.0),
            Family::Px4 => self.params.get("COM_DL_LOSS_T").clamp(5.0, 300.0),
        })
    }

    pub(super) fn station_present(&self) -> bool {
        self.station_heard
            .is_some_and(|heard| self.now - heard < self.station_patience())
    }

    /// 0 enough, 1 low, 2 critical, by thresholds that have an action.
    pub(super) fn battery_stage(&self) -> u8 {
        match self.config.family {
            Family::ArduPilot => {
                let below = |mah: &str, volt: &str| {
                    self.battery.left < self.params.get(mah) || self.battery.volts() < self.params.get(volt)
                };
                if self.params.get("BATT_FS_CRT_ACT") > 0.0 && below("BATT_CRT_MAH", "BATT_CRT_VOLT") {
                    2
                } else {
                    u8::from(
                        self.params.get("BATT_FS_LOW_ACT") > 0.0 && below("BATT_LOW_MAH", "BATT_LOW_VOLT"),
                    )
                }
            }
            Family::Px4 => {
                let share = self.battery.percent() / 100.0;
                let acts = self.params.get("COM_LOW_BAT_ACT") > 0.0;
                if acts && share < self.params.get("BAT_EMERGEN_THR") {
                    2
                } else {
                    u8::from(acts && share < self.params.get("BAT_CRIT_THR"))
                }
            }
        }
    }

    /// FENCE_BREACH, by the fences that are switched on.
    pub(super) fn fence_breach(&self) -> u8 {
        let kinds = match self.config.family {
            Family::ArduPilot if self.params.get("FENCE_ENABLE") <= 0.0 => return 0,
            Family::ArduPilot => self.params.get("FENCE_TYPE") as u8,
            Family::Px4 if self.params.get("GF_ACTION") <= 0.0 => return 0,
            Family::Px4 => 7,
        };
        let (highest, widest) = match self.config.family {
            Family::ArduPilot => (self.params.get("FENCE_ALT_MAX"), self.params.get("FENCE_RADIUS")),
            Family::Px4 => (
                self.params.get("GF_MAX_VER_DIST"),
                self.params.get("GF_MAX_HOR_DIST"),
            ),
        };
        let away = place::distance(self.home.unwrap_or_default(), self.body.at);
        if kinds & 1 != 0 && highest > 0.0 && self.body.height > highest {
            ALTITUDE
        } else if kinds & 2 != 0 && widest > 0.0 && away > widest
            || kinds & 4 != 0 && self.lists.outside(self.plane, self.body.at)
        {
            BOUNDARY
        } else {
            0
        }
    }

    pub(super) fn watch_failsafes(&mut self) {
        let breach = self.fence_breach();
        if breach != self.breach {
            self.breach = breach;
            if breach > 0 {
                self.breaches += 1;
                if self.airborne {
                    self.say(MavSeverity::MAV_SEVERITY_WARNING, "Fence breached");
                }
            }
        }
        self.watch_satellites();
        if !self.armed || !self.airborne {
            return;
        }
        let link_action = match self.config.family {
            Family::ArduPilot => self.params.get("FS_GCS_ENABLE"),
            Family::Px4 => self.params.get("NAV_DLL_ACT"),
        };
        let link_lost = link_action > 0.0 && self.station_heard.is_some() && !self.station_present();
        let stage = self.battery_stage();
        if stage == 2 {
            self.fail("battery", "Battery 1 is critical", Mode::Land);
        } else if stage == 1 {
            let land = self.config.family == Family::ArduPilot && self.params.get("BATT_FS_LOW_ACT") == 1.0;
            self.fail(
                "battery",
                "Battery 1 is low",
                if land { Mode::Land } else { Mode::Return },
            );
        } else if link_lost {
            let mode = match (self.config.family, link_action as u8) {
                (Family::ArduPilot, 5) | (Family::Px4, 3) => Mode::Land,
                (Family::Px4, 1) => Mode::Guided,
                _ => Mode::Return,
            };
            self.fail("link", "GCS Failsafe", mode);
        } else if breach > 0 && self.fence_acts() {
            self.fail("fence", "Fence Failsafe", Mode::Return);
        } else if self.failing.is_some() && self.failing != Some("position") {
            self.failing = None;
        }
    }

    fn fence_acts(&self) -> bool {
        match self.config.family {
            Family::ArduPilot => self.params.get("FENCE_ACTION") > 0.0,
            Family::Px4 => self.params.get("GF_ACTION") >= 3.0,
        }
    }

    fn watch_satellites(&mut self) {
        if !self.announced.1 || self.satellites() {
            self.gps_lost = None;
            if self.failing == Some("position") {
                self.failing = None;
            }
            return;
        }
        let since = *self.gps_lost.get_or_insert(self.now);
        if self.airborne && self.mode.needs_position() && self.now - since >= BLIND {
            self.fail("position", "EKF Failsafe: changed to LAND Mode", Mode::Land);
        }
    }

    /// Acts once for each cause: whoever changes the mode afterwards has the last word.
    fn fail(&mut self, cause: &'static str, text: &str, mode: Mode) {
        if self.failing == Some(cause)
            && !(cause == "battery" && mode == Mode::Land && self.mode == Mode::Return)
        {
            return;
        }
        self.failing = Some(cause);
        self.event(Event::Failsafe(cause));
        self.say(MavSeverity::MAV_SEVERITY_WARNING, text);
        let on_the_way = self.mode == Mode::Land || self.mode == Mode::Return && mode == Mode::Return;
        if !on_the_way {
            self.change_mode(mode, Cause::Failsafe);
        }
    }
}
