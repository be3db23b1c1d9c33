//! Flight modes by name, in both directions: the numbers in a heartbeat, and the parameters of DO_SET_MODE.
//!
//! ArduPilot's are those of ArduCopter (<https://ardupilot.org/copter/docs/parameters.html#fltmode1>); PX4 packs a main
//! mode and a sub mode into one number (`px4_custom_mode.h`).

use super::super::wire::Said;
use super::super::wire::number::{
    AUTOPILOT_ARDUPILOTMEGA, AUTOPILOT_PX4, CMD_DO_SET_MODE, MODE_FLAG_ARMED, MODE_FLAG_CUSTOM_MODE,
};

/// Whose autopilot it is (MAV_AUTOPILOT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// ArduPilot.
    ArduPilot,
    /// PX4.
    Px4,
    /// Another one, by its number.
    Other(u8),
}

impl Family {
    /// From MAV_AUTOPILOT.
    pub fn of(autopilot: u8) -> Self {
        match autopilot {
            AUTOPILOT_ARDUPILOTMEGA => Family::ArduPilot,
            AUTOPILOT_PX4 => Family::Px4,
            other => Family::Other(other),
        }
    }

    /// MAV_AUTOPILOT.
    pub fn autopilot(self) -> u8 {
        match self {
            Family::ArduPilot => AUTOPILOT_ARDUPILOTMEGA,
            Family::Px4 => AUTOPILOT_PX4,
            Family::Other(other) => other,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Family::ArduPilot => out.write_str("ArduPilot"),
            Family::Px4 => out.write_str("PX4"),
            Family::Other(other) => write!(out, "autopilot {other}"),
        }
    }
}

/// What the autopilot does, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It flies the mission (ArduPilot AUTO, PX4 MISSION).
    Mission,
    /// It flies home and lands (RTL, and ArduPilot's SMART_RTL and AUTO_RTL).
    Return,
    /// It lands.
    Land,
    /// It goes where a ground station says (ArduPilot GUIDED, PX4 OFFBOARD).
    Guided,
    /// It stays where it is by itself (PX4 HOLD, ArduPilot BRAKE), or gets out of another's way (AVOID_ADSB).
    Hold,
    /// It climbs to its take-off altitude (PX4 TAKEOFF).
    Takeoff,
    /// A pilot steers: STABILIZE, ALT_HOLD, LOITER, POSCTL and the like, by the number.
    Piloted(u32),
    /// A mode that is not known here, by its number.
    Other(u32),
}

/// ArduCopter's modes that have a name here of their own.
const ARDUCOPTER: &[(u32, Mode, &str)] = &[
    (3, Mode::Mission, "AUTO"),
    (4, Mode::Guided, "GUIDED"),
    (6, Mode::Return, "RTL"),
    (9, Mode::Land, "LAND"),
    (17, Mode::Hold, "BRAKE"),
    (19, Mode::Hold, "AVOID_ADSB"),
    (21, Mode::Return, "SMART_RTL"),
    (27, Mode::Return, "AUTO_RTL"),
];

/// ArduCopter's modes in which a pilot steers.
const ARDUCOPTER_PILOTED: &[(u32, &str)] = &[
    (0, "STABILIZE"),
    (1, "ACRO"),
    (2, "ALT_HOLD"),
    (5, "LOITER"),
    (7, "CIRCLE"),
    (11, "DRIFT"),
    (13, "SPORT"),
    (14, "FLIP"),
    (15, "AUTOTUNE"),
    (16, "POSHOLD"),
    (18, "THROW"),
    (20, "GUIDED_NOGPS"),
    (22, "FLOWHOLD"),
    (23, "FOLLOW"),
    (24, "ZIGZAG"),
    (25, "SYSTEMID"),
    (26, "AUTOROTATE"),
    (28, "TURTLE"),
];

/// `custom_mode` of PX4.
const fn px4(main: u32, sub: u32) -> u32 {
    sub << 24 | main << 16
}

/// PX4's modes that have a name here of their own. READY is what it shows on the ground before anything was asked of it.
const PX4: &[(u32, Mode, &str)] = &[
    (px4(4, 4), Mode::Mission, "MISSION"),
    (px4(4, 5), Mode::Return, "RTL"),
    (px4(4, 6), Mode::Land, "LAND"),
    (px4(4, 9), Mode::Land, "PRECISION_LAND"),
    (px4(4, 3), Mode::Hold, "HOLD"),
    (px4(4, 1), Mode::Hold, "READY"),
    (px4(4, 2), Mode::Takeoff, "TAKEOFF"),
    (px4(6, 0), Mode::Guided, "OFFBOARD"),
];

/// PX4's main modes in which a pilot steers.
const PX4_PILOTED: &[(u32, &str)] = &[
    (1, "MANUAL"),
    (2, "ALTCTL"),
    (3, "POSCTL"),
    (5, "ACRO"),
    (7, "STABILIZED"),
    (8, "RATTITUDE"),
];

impl Mode {
    /// From a heartbeat's `custom_mode`.
    pub fn of(family: Family, custom: u32) -> Self {
        let (named, piloted) = match family {
            Family::ArduPilot => (ARDUCOPTER, ARDUCOPTER_PILOTED.iter().any(|row| row.0 == custom)),
            Family::Px4 => {
                let main = custom >> 16 & 0xff;
                (PX4, PX4_PILOTED.iter().any(|row| row.0 == main))
            }
            Family::Other(_) => return Mode::Other(custom),
        };
        match named.iter().find(|row| row.0 == custom) {
            Some((_, mode, _)) => *mode,
            None if piloted => Mode::Piloted(custom),
            None => Mode::Other(custom),
        }
    }

    /// The autopilot's own name of a `custom_mode`.
    pub fn name(family: Family, custom: u32) -> String {
        let (named, piloted, key) = match family {
            Family::ArduPilot => (ARDUCOPTER, ARDUCOPTER_PILOTED, custom),
            Family::Px4 => (PX4, PX4_PILOTED, custom >> 16 & 0xff),
            Family::Other(_) => return format!("number {custom}"),
        };
        let own = named.iter().find(|row| row.0 == custom).map(|row| row.2);
        let name = own.or_else(|| piloted.iter().find(|row| row.0 == key).map(|row| row.1));
        name.map_or_else(|| format!("number {custom}"), str::to_owned)
    }

    /// DO_SET_MODE for a mode; none where the family has no such mode.
    pub fn command(self, family: Family) -> Option<(u16, [f32; 7])> {
        let rows = match family {
            Family::ArduPilot => ARDUCOPTER,
            Family::Px4 => PX4,
            Family::Other(_) => return None,
        };
        let custom = rows.iter().find(|row| row.1 == self)?.0;
        let flag = f32::from(MODE_FLAG_CUSTOM_MODE);
        let params = match family {
            // Small numbers: a float holds them.
            Family::ArduPilot => [flag, custom as f32, 0.0, 0.0, 0.0, 0.0, 0.0],
            _ => {
                let (main, sub) = ((custom >> 16 & 0xff) as f32, (custom >> 24) as f32);
                [flag, main, sub, 0.0, 0.0, 0.0, 0.0]
            }
        };
        Some((CMD_DO_SET_MODE, params))
    }

    /// DO_SET_MODE as it is said once.
    pub fn said(self, family: Family, confirmation: u8) -> Option<Said> {
        self.command(family).map(|(command, params)| Said::CommandLong {
            command,
            confirmation,
            params,
        })
    }
}

/// Whether a heartbeat's `base_mode` says that it is armed.
pub(super) fn armed(base_mode: u8) -> bool {
    base_mode & MODE_FLAG_ARMED != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_go_both_ways() {
        for (family, mode, custom, params) in [
            (Family::ArduPilot, Mode::Return, 6, [1.0, 6.0, 0.0]),
            (Family::ArduPilot, Mode::Guided, 4, [1.0, 4.0, 0.0]),
            (Family::Px4, Mode::Return, 0x0504_0000, [1.0, 4.0, 5.0]),
            (Family::Px4, Mode::Hold, 0x0304_0000, [1.0, 4.0, 3.0]),
            (Family::Px4, Mode::Mission, 0x0404_0000, [1.0, 4.0, 4.0]),
        ] {
            assert_eq!(Mode::of(family, custom), mode);
            let (command, all) = mode.command(family).unwrap();
            assert_eq!((command, &all[..3]), (176, &params[..]), "{family} {mode:?}");
        }
        assert_eq!(Mode::Return.command(Family::Other(0)), None);
    }

    #[test]
    fn whoever_steers_by_hand_is_known_and_named() {
        for (family, custom, name) in [
            (Family::ArduPilot, 5, "LOITER"),
            (Family::ArduPilot, 0, "STABILIZE"),
            (Family::Px4, 0x0003_0000, "POSCTL"),
            // POSCTL has sub modes: orbit.
            (Family::Px4, 0x0103_0000, "POSCTL"),
        ] {
            assert_eq!(Mode::of(family, custom), Mode::Piloted(custom));
            assert_eq!(Mode::name(family, custom), name);
        }
        assert_eq!(Mode::of(Family::ArduPilot, 99), Mode::Other(99));
        assert_eq!(Mode::name(Family::Px4, 99), "number 99");
        assert_eq!(Mode::name(Family::Px4, 0x0504_0000), "RTL");
    }
}
