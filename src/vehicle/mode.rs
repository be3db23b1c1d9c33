//! Flight modes, and how each family writes them into a heartbeat.

use std::fmt;
use std::str::FromStr;

use super::config::Family;

/// What the vehicle is told to do. PX4's names are given where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A pilot flies by hand (PX4: manual).
    Stabilize,
    /// Waits for targets from a computer (PX4: hold).
    Guided,
    /// Flies the mission.
    Auto,
    /// A pilot moves it about, otherwise it stays (PX4: position).
    Loiter,
    /// Goes home and lands.
    Return,
    /// Lands where it is.
    Land,
    /// PX4 alone: climbs to the take-off altitude.
    TakeOff,
}

/// PX4's main mode "auto", whose sub modes say what.
const PX4_AUTO: u8 = 4;

impl Mode {
    /// `custom_mode` of the heartbeat.
    pub fn custom(self, family: Family) -> u32 {
        match family {
            Family::ArduPilot => match self {
                Mode::Stabilize => 0,
                Mode::Auto => 3,
                Mode::Guided | Mode::TakeOff => 4,
                Mode::Loiter => 5,
                Mode::Return => 6,
                Mode::Land => 9,
            },
            Family::Px4 => {
                let (main, sub) = self.px4();
                u32::from(main) << 16 | u32::from(sub) << 24
            }
        }
    }

    fn px4(self) -> (u8, u8) {
        match self {
            Mode::Stabilize => (1, 0),
            Mode::Loiter => (3, 0),
            Mode::TakeOff => (PX4_AUTO, 2),
            Mode::Guided => (PX4_AUTO, 3),
            Mode::Auto => (PX4_AUTO, 4),
            Mode::Return => (PX4_AUTO, 5),
            Mode::Land => (PX4_AUTO, 6),
        }
    }

    const ALL: [Mode; 7] = [
        Mode::Stabilize,
        Mode::Guided,
        Mode::Auto,
        Mode::Loiter,
        Mode::Return,
        Mode::Land,
        Mode::TakeOff,
    ];

    /// From `custom_mode`; nothing if the vehicle has no such mode.
    pub fn from_custom(family: Family, custom: u32) -> Option<Mode> {
        Mode::ALL
            .into_iter()
            .find(|mode| (family == Family::Px4 || *mode != Mode::TakeOff) && mode.custom(family) == custom)
    }

    /// From the second and third parameter of MAV_CMD_DO_SET_MODE.
    pub(super) fn from_parameters(family: Family, second: f32, third: f32) -> Option<Mode> {
        let custom = match family {
            Family::ArduPilot => second as u32,
            Family::Px4 => u32::from(second as u8) << 16 | u32::from(third as u8) << 24,
        };
        Mode::from_custom(family, custom)
    }

    /// Whether it works by satellite positions.
    pub(super) fn needs_position(self) -> bool {
        self != Mode::Stabilize
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Stabilize => "stabilize",
            Mode::Guided => "guided",
            Mode::Auto => "auto",
            Mode::Loiter => "loiter",
            Mode::Return => "rtl",
            Mode::Land => "land",
            Mode::TakeOff => "takeoff",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        Mode::ALL
            .into_iter()
            .find(|mode| mode.to_string() == text)
            .ok_or_else(|| {
                format!("no mode is called {text:?}: stabilize, guided, auto, loiter, rtl, land or takeoff")
            })
    }
}
