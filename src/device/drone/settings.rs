//! The settings of a drone: the table `[devices.NAME]` with `kind = "drone"`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::geo::{BadPolygon, Polygon, Position};
use super::link::{Address, AddressError};
use super::plan::{Limits, Performance};
use super::wire::Node;
use crate::device::duration::{Span, format_duration};
use crate::device::hours::DailyHours;

/// The system id that ArduPilot's link-loss failsafe listens to unless it is told otherwise (MAV_GCS_SYSID).
const DEFAULT_SYSTEM: u8 = 255;
/// MAV_COMP_ID_ONBOARD_COMPUTER.
const DEFAULT_COMPONENT: u8 = 191;

/// What is done about an autopilot's own failsafes when they are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Failsafes {
    /// `require` (default): nothing is flown until somebody has set them.
    #[default]
    Require,
    /// `set`: they are set before each flight.
    Set,
    /// `ignore`: they are not looked at.
    Ignore,
}

/// What becomes of a flight when the server is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLostServer {
    /// `return` (default).
    #[default]
    Return,
    /// `land`: where it is.
    Land,
    /// `continue`: the plan is flown to its end.
    Continue,
}

/// A drone as it is configured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "DroneTable")]
pub struct DroneSettings {
    /// `port`: a serial port, `tcp:HOST:PORT`, `udp:HOST:PORT` or `udpout:HOST:PORT`; `baud`: bits per second of a serial
    /// port.
    pub address: Address,
    /// `system_id` and `component_id`: who we are.
    pub us: Node,
    /// `vehicle_system_id` and `vehicle_component_id`: who the autopilot is.
    pub vehicle: Node,
    /// `signing_key`: the file with the key of MAVLink's message signing, 64 hexadecimal digits.
    pub signing_key: Option<PathBuf>,
    /// `max_altitude`, `max_distance`, `max_speed` and `fence`.
    pub limits: Limits,
    /// `cruise_speed`, `climb_speed`, `descent_speed`, `return_altitude` and `endurance`.
    pub performance: Performance,
    /// `min_battery`: percent before a flight begins.
    pub min_battery: u8,
    /// `battery_reserve`: percent that must be left at its end; with less in the air it returns.
    pub battery_reserve: u8,
    /// `min_satellites`.
    pub min_satellites: u8,
    /// `min_fix`: GPS_FIX_TYPE, 3 is a position in space.
    pub min_fix: u8,
    /// `failsafes`.
    pub failsafes: Failsafes,
    /// `on_lost_server`.
    pub on_lost_server: OnLostServer,
    /// `lost_after`: without an answer of the server for so long, it is lost. While it flies, the server is asked every few
    /// seconds (docs/fence.md, section 3).
    pub lost_after: Duration,
    /// `max_time`: the longest flight, lease or not.
    pub max_time: Duration,
    /// `requires`: inputs that must be on for a flight to begin (a dock that is open, a key switch).
    pub requires: Vec<String>,
    /// `allowed_hours`: when it may be flown; refused while the clock is not synchronised.
    pub allowed_hours: Option<DailyHours>,
}

/// Why the settings of a drone can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DroneSettingsError {
    /// A number out of its range.
    #[error("{key} = {value} must be from {least} to {most}")]
    Range {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// The least that is allowed.
        least: String,
        /// The most that is allowed.
        most: String,
    },
    /// Its port.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A corner of the fence.
    #[error("fence: corner {0} is no position: write [latitude, longitude] in degrees")]
    Corner(usize),
    /// Its corners are no area.
    #[error("fence: {0}")]
    Fence(BadPolygon),
    /// Both the same.
    #[error(
        "system_id and component_id are those of the vehicle; take others for this agent (default {DEFAULT_SYSTEM} and {DEFAULT_COMPONENT})"
    )]
    SameNode,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DroneTable {
    port: String,
    baud: Option<u32>,
    system_id: Option<u8>,
    component_id: Option<u8>,
    vehicle_system_id: Option<u8>,
    vehicle_component_id: Option<u8>,
    signing_key: Option<PathBuf>,
    max_altitude: Option<f64>,
    max_distance: Option<f64>,
    max_speed: Option<f64>,
    fence: Option<Vec<[f64; 2]>>,
    cruise_speed: Option<f64>,
    climb_speed: Option<f64>,
    descent_speed: Option<f64>,
    return_altitude: Option<f64>,
    endurance: Option<Span>,
    min_battery: Option<f64>,
    battery_reserve: Option<f64>,
    min_satellites: Option<f64>,
    min_fix: Option<f64>,
    #[serde(default)]
    failsafes: Failsafes,
    #[serde(default)]
    on_lost_server: OnLostServer,
    lost_after: Option<Span>,
    max_time: Option<Span>,
    allowed_hours: Option<DailyHours>,
    #[serde(default)]
    requires: Vec<String>,
}

/// A number within its range, or the default.
fn number(
    key: &'static str,
    given: Option<f64>,
    default: f64,
    least: f64,
    most: f64,
) -> Result<f64, DroneSettingsError> {
    let value = given.unwrap_or(default);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(DroneSettingsError::Range {
        key,
        value: value.to_string(),
        least: least.to_string(),
        most: most.to_string(),
    })
}

fn span(
    key: &'static str,
    given: Option<Span>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<Duration, DroneSettingsError> {
    let value = given.map_or(Duration::from_secs(default), |span| span.0);
    let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(DroneSettingsError::Range {
        key,
        value: format_duration(value),
        least: format_duration(least),
        most: format_duration(most),
    })
}

impl TryFrom<DroneTable> for DroneSettings {
    type Error = DroneSettingsError;

    fn try_from(table: DroneTable) -> Result<Self, DroneSettingsError> {
        let us = Node {
            system: table.system_id.unwrap_or(DEFAULT_SYSTEM),
            component: table.component_id.unwrap_or(DEFAULT_COMPONENT),
        };
        let vehicle = Node {
            system: table.vehicle_system_id.unwrap_or(1),
            component: table.vehicle_component_id.unwrap_or(1),
        };
        if us == vehicle {
            return Err(DroneSettingsError::SameNode);
        }
        let max_altitude = number("max_altitude", table.max_altitude, 50.0, 2.0, 1_000.0)?;
        let max_speed = number("max_speed", table.max_speed, 10.0, 0.5, 30.0)?;
        Ok(DroneSettings {
            address: Address::parse(&table.port, table.baud)?,
            us,
            vehicle,
            signing_key: table.signing_key,
            limits: Limits {
                max_altitude,
                max_distance: number("max_distance", table.max_distance, 300.0, 1.0, 20_000.0)?,
                max_speed,
                fence: table.fence.map(|corners| fence(&corners)).transpose()?,
            },
            performance: Performance {
                cruise_speed: number(
                    "cruise_speed",
                    table.cruise_speed,
                    5.0_f64.min(max_speed),
                    0.5,
                    max_speed,
                )?,
                climb_speed: number("climb_speed", table.climb_speed, 1.5, 0.1, 20.0)?,
                descent_speed: number("descent_speed", table.descent_speed, 0.7, 0.1, 20.0)?,
                return_altitude: number(
                    "return_altitude",
                    table.return_altitude,
                    15.0_f64.min(max_altitude),
                    0.0,
                    max_altitude,
                )?,
                endurance: span("endurance", table.endurance, 15 * 60, 60, 24 * 3_600)?,
            },
            min_battery: number("min_battery", table.min_battery, 50.0, 0.0, 100.0)? as u8,
            battery_reserve: number("battery_reserve", table.battery_reserve, 25.0, 0.0, 100.0)? as u8,
            min_satellites: number("min_satellites", table.min_satellites, 8.0, 0.0, 50.0)? as u8,
            min_fix: number("min_fix", table.min_fix, 3.0, 2.0, 6.0)? as u8,
            failsafes: table.failsafes,
            on_lost_server: table.on_lost_server,
            lost_after: span("lost_after", table.lost_after, 30, 12, 24 * 3_600)?,
            allowed_hours: table.allowed_hours,
            requires: table.requires,
            max_time: span("max_time", table.max_time, 30 * 60, 30, 24 * 3_600)?,
        })
    }
}

fn fence(corners: &[[f64; 2]]) -> Result<Polygon, DroneSettingsError> {
    let points: Result<Vec<Position>, _> = corners
        .iter()
        .enumerate()
        .map(|(index, [latitude, longitude])| {
            Position::new(*latitude, *longitude).ok_or(DroneSettingsError::Corner(index + 1))
        })
        .collect();
    Polygon::new(points?).map_err(DroneSettingsError::Fence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<DroneSettings, String> {
        let source = config::File::from_str(toml, config::FileFormat::Toml);
        let file = config::Config::builder().add_source(source).build().unwrap();
        let value: serde_json::Value = file.try_deserialize().map_err(|error| error.to_string())?;
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_careful() {
        let drone = read("port = \"/dev/ttyACM0\"").unwrap();
        assert_eq!(drone.address, Address::parse("/dev/ttyACM0", None).unwrap());
        assert_eq!((drone.us.system, drone.us.component), (255, 191));
        assert_eq!((drone.vehicle.system, drone.vehicle.component), (1, 1));
        assert_eq!(
            (drone.limits.max_altitude, drone.limits.max_distance),
            (50.0, 300.0)
        );
        assert_eq!((drone.min_battery, drone.battery_reserve), (50, 25));
        assert_eq!(
            (drone.failsafes, drone.on_lost_server),
            (Failsafes::Require, OnLostServer::Return)
        );
        assert_eq!(
            (drone.lost_after, drone.max_time),
            (Duration::from_secs(30), Duration::from_secs(1800))
        );
        let low = read("port = \"/dev/ttyACM0\"\nmax_altitude = 10\nmax_speed = 3").unwrap();
        assert_eq!(
            (low.performance.return_altitude, low.performance.cruise_speed),
            (10.0, 3.0)
        );
    }

    #[test]
    fn what_can_t_be_meant_is_refused_by_its_key() {
        for (keys, help) in [
            ("max_altitude = 1", "max_altitude = 1 must be from 2 to 1000"),
            ("cruise_speed = 11", "cruise_speed = 11 must be from 0.5 to 10"),
            (
                "return_altitude = 51",
                "return_altitude = 51 must be from 0 to 50",
            ),
            ("min_battery = 101", "min_battery = 101"),
            ("lost_after = 1", "lost_after = 1s must be from 12s to 24h"),
            ("system_id = 1\ncomponent_id = 1", "are those of the vehicle"),
            (
                "fence = [[47.0, 8.0], [47.1, 8.0]]",
                "a polygon has 3 to 70 points, not 2",
            ),
            (
                "fence = [[47.0, 8.0], [97.1, 8.0], [47.0, 8.1]]",
                "corner 2 is no position",
            ),
            (
                "fence = [[0, 0], [1, 1], [1, 0], [0, 1]]",
                "its sides 1 and 3 cross",
            ),
            ("failsafes = \"off\"", "`require`"),
            ("allowed_hours = \"all day\"", "says no hours of a day"),
            ("baud = 300", "baud = 300 must be from 1200"),
            ("max_hight = 3", "`max_altitude`"),
        ] {
            let error = read(&format!("port = \"/dev/ttyACM0\"\n{keys}")).unwrap_err();
            assert!(error.contains(help), "{keys}: {error}");
        }
        assert!(read("baud = 9600").unwrap_err().contains("port"));
    }
}
