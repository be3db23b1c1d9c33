//! What keeps the vehicle from being armed, in its own words.

use mavlink::dialects::common::MavSeverity;

use super::autopilot::Autopilot;
use super::config::Family;
use super::mode::Mode;

/// So little is too little to fly, percent.
const EMPTY: f64 = 5.0;

impl Autopilot {
    /// Why it may not be armed in its present mode; empty if it may.
    pub(super) fn objections(&self) -> Vec<String> {
        if !self.initialised() {
            return vec!["System not initialised".to_owned()];
        }
        let mut found = Vec::new();
        if let Some(reason) = self.config.quirks.refuses {
            found.push(reason.to_owned());
        }
        if self.truth.crashed {
            found.push("Crash detected".to_owned());
        }
        // In a mode that a pilot flies by hand nobody asks for satellites.
        if self.mode.needs_position() {
            if self.announced.1 && !self.satellites() {
                found.push("GPS 1: Bad fix".to_owned());
            }
            if !self.position_known() {
                found.push(match self.config.family {
                    Family::ArduPilot => "Need Position Estimate".to_owned(),
                    Family::Px4 => "No valid global position estimate".to_owned(),
                });
            }
        }
        if self.battery_stage() > 0 || self.battery.percent() < EMPTY {
            found.push(match self.config.family {
                Family::ArduPilot => "Battery 1 low".to_owned(),
                Family::Px4 => "Low battery".to_owned(),
            });
        }
        let px4_link = self.params.get("NAV_DLL_ACT") > 0.0 && !self.station_present();
        if px4_link {
            found.push("No connection to the ground control station".to_owned());
        }
        if self.fence_breach() > 0 {
            found.push("Vehicle outside Polygon fence".to_owned());
        }
        found
    }

    /// Says them, as the checks or as an attempt to arm does.
    pub(super) fn object(&mut self, objections: &[String], arming: bool) {
        for reason in objections {
            let text = match self.config.family {
                Family::ArduPilot if arming => format!("Arm: {reason}"),
                Family::ArduPilot => format!("PreArm: {reason}"),
                Family::Px4 => format!("Preflight Fail: {reason}"),
            };
            self.say(MavSeverity::MAV_SEVERITY_CRITICAL, &text);
        }
    }

    /// Whether motors may be started in the present mode.
    pub(super) fn armable_mode(&self) -> bool {
        match self.config.family {
            Family::ArduPilot => !matches!(self.mode, Mode::Auto | Mode::Return | Mode::Land),
            Family::Px4 => !matches!(self.mode, Mode::Return | Mode::Land),
        }
    }
}
