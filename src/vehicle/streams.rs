//! What the vehicle tells about itself, at the rates that were asked for. Nothing but the heartbeat comes unasked.

use std::time::Duration;

use mavlink::MessageData as _;
use mavlink::dialects::common::{
    AUTOPILOT_VERSION_DATA, EXTENDED_SYS_STATE_DATA, FENCE_STATUS_DATA, FenceBreach,
    GLOBAL_POSITION_INT_DATA, GPS_RAW_INT_DATA, GpsFixType, HEARTBEAT_DATA, HOME_POSITION_DATA,
    MISSION_CURRENT_DATA, MavAutopilot, MavLandedState, MavMessage, MavModeFlag, MavProtocolCapability,
    MavResult, MavState, MavSysStatusSensor, MavType, MavVtolState, SYS_STATUS_DATA,
};

use super::autopilot::Autopilot;
use super::config::Family;
use super::mode::Mode;
use super::place;
use super::truth::Landed;

const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Streams {
    heartbeat: Duration,
    /// Message, interval, when next.
    asked: Vec<(u32, Duration, Duration)>,
}

impl Autopilot {
    /// MAV_CMD_SET_MESSAGE_INTERVAL: microseconds; −1 stops, 0 is the default, which is one a second.
    pub(super) fn set_interval(&mut self, message: u32, micros: f32) -> MavResult {
        if message == HEARTBEAT_DATA::ID {
            return MavResult::MAV_RESULT_ACCEPTED;
        }
        if !KNOWN.contains(&message) {
            return MavResult::MAV_RESULT_DENIED;
        }
        self.streams.asked.retain(|(which, ..)| *which != message);
        if micros >= 0.0 {
            let interval = if micros == 0.0 {
                HEARTBEAT_EVERY
            } else {
                Duration::from_micros(micros as u64).max(super::autopilot::STEP)
            };
            self.streams.asked.push((message, interval, self.now));
        }
        MavResult::MAV_RESULT_ACCEPTED
    }

    /// MAV_CMD_REQUEST_MESSAGE.
    pub(super) fn send_once(&mut self, message: u32) -> MavResult {
        match self.told(message) {
            Some(message) => {
                self.send(&message);
                MavResult::MAV_RESULT_ACCEPTED
            }
            None => MavResult::MAV_RESULT_FAILED,
        }
    }

    pub(super) fn send_home(&mut self) {
        self.send_once(HOME_POSITION_DATA::ID);
    }

    pub(super) fn step_streams(&mut self) {
        if self.now < self.silent_until {
            return;
        }
        if self.now >= self.streams.heartbeat {
            self.streams.heartbeat = self.now + HEARTBEAT_EVERY;
            let heartbeat = self.heartbeat();
            self.send(&heartbeat);
            let others: Vec<(u8, u8)> = self.lasting.others().collect();
            for other in others {
                let message = MavMessage::HEARTBEAT(HEARTBEAT_DATA {
                    mavtype: MavType::MAV_TYPE_GCS,
                    autopilot: MavAutopilot::MAV_AUTOPILOT_INVALID,
                    system_status: MavState::MAV_STATE_ACTIVE,
                    ..HEARTBEAT_DATA::default()
                });
                let bytes = self.wire.encode_from(other, &message);
                self.outbox.extend(bytes);
            }
        }
        for index in 0..self.streams.asked.len() {
            let (message, interval, next) = self.streams.asked[index];
            if self.now >= next {
                self.streams.asked[index].2 = self.now + interval;
                if let Some(message) = self.told(message) {
                    self.send(&message);
                }
            }
        }
    }

    fn heartbeat(&self) -> MavMessage {
        let mut base_mode = MavModeFlag::MAV_MODE_FLAG_CUSTOM_MODE_ENABLED;
        if self.armed {
            base_mode |= MavModeFlag::MAV_MODE_FLAG_SAFETY_ARMED;
        }
        if self.mode != Mode::Stabilize {
            base_mode |= MavModeFlag::MAV_MODE_FLAG_GUIDED_ENABLED;
        }
        MavMessage::HEARTBEAT(HEARTBEAT_DATA {
            custom_mode: self.mode.custom(self.config.family),
            mavtype: MavType::MAV_TYPE_QUADROTOR,
            autopilot: match self.config.family {
                Family::ArduPilot => MavAutopilot::MAV_AUTOPILOT_ARDUPILOTMEGA,
                Family::Px4 => MavAutopilot::MAV_AUTOPILOT_PX4,
            },
            base_mode,
            system_status: if !self.initialised() {
                MavState::MAV_STATE_BOOT
            } else if self.failing.is_some() {
                MavState::MAV_STATE_CRITICAL
            } else if self.armed {
                MavState::MAV_STATE_ACTIVE
            } else {
                MavState::MAV_STATE_STANDBY
            },
            ..HEARTBEAT_DATA::default()
        })
    }

    /// A message as it is now; nothing if it is none that this vehicle tells, or there is nothing to tell.
    fn told(&self, message: u32) -> Option<MavMessage> {
        Some(match message {
            SYS_STATUS_DATA::ID => self.sys_status(),
            GPS_RAW_INT_DATA::ID => self.gps(),
            GLOBAL_POSITION_INT_DATA::ID => self.position(),
            MISSION_CURRENT_DATA::ID => MavMessage::MISSION_CURRENT(MISSION_CURRENT_DATA {
                seq: self.progress.current,
                total: self.lists.mission.len() as u16,
                mission_state: self.mission_state(),
                mission_mode: if self.mode == Mode::Auto { 1 } else { 2 },
                ..MISSION_CURRENT_DATA::default()
            }),
            AUTOPILOT_VERSION_DATA::ID => self.version(),
            FENCE_STATUS_DATA::ID => MavMessage::FENCE_STATUS(FENCE_STATUS_DATA {
                breach_count: self.breaches,
                breach_status: u8::from(self.breach > 0),
                breach_type: match self.breach {
                    0 => FenceBreach::FENCE_BREACH_NONE,
                    2 => FenceBreach::FENCE_BREACH_MAXALT,
                    _ => FenceBreach::FENCE_BREACH_BOUNDARY,
                },
                ..FENCE_STATUS_DATA::default()
            }),
            HOME_POSITION_DATA::ID => {
                let (latitude, longitude) = self.plane.degrees(self.home?);
                MavMessage::HOME_POSITION(HOME_POSITION_DATA {
                    latitude: place::to_wire(latitude),
                    longitude: place::to_wire(longitude),
                    altitude: (self.config.home.2 * 1000.0) as i32,
                    ..HOME_POSITION_DATA::default()
                })
            }
            EXTENDED_SYS_STATE_DATA::ID => MavMessage::EXTENDED_SYS_STATE(EXTENDED_SYS_STATE_DATA {
                vtol_state: MavVtolState::MAV_VTOL_STATE_UNDEFINED,
                landed_state: match self.landed() {
                    _ if !self.initialised() => MavLandedState::MAV_LANDED_STATE_UNDEFINED,
                    Landed::OnGround => MavLandedState::MAV_LANDED_STATE_ON_GROUND,
                    Landed::InAir => MavLandedState::MAV_LANDED_STATE_IN_AIR,
                    Landed::TakingOff => MavLandedState::MAV_LANDED_STATE_TAKEOFF,
                    Landed::Landing => MavLandedState::MAV_LANDED_STATE_LANDING,
                },
            }),
            _ => return None,
        })
    }

    fn sys_status(&self) -> MavMessage {
        let mut present = MavSysStatusSensor::MAV_SYS_STATUS_SENSOR_3D_GYRO
            | MavSysStatusSensor::MAV_SYS_STATUS_SENSOR_3D_ACCEL
            | MavSysStatusSensor::MAV_SYS_STATUS_SENSOR_GPS
            | MavSysStatusSensor::MAV_SYS_STATUS_SENSOR_BATTERY
            | MavSysStatusSensor::MAV_SYS_STATUS_PREARM_CHECK;
        if !self.lists.fence.is_empty() {
            present |= MavSysStatusSensor::MAV_SYS_STATUS_GEOFENCE;
        }
        let mut health = present;
        if !self.satellites() {
            health &= !MavSysStatusSensor::MAV_SYS_STATUS_SENSOR_GPS;
        }
        if self.breach > 0 {
            health &= !MavSysStatusSensor::MAV_SYS_STATUS_GEOFENCE;
        }
        if self.battery_stage() > 0 {
            health &= !MavSysStatusSensor::MAV_SYS_STATUS_SENSOR_BATTERY;
        }
        if !self.objections().is_empty() {
            health &= !MavSysStatusSensor::MAV_SYS_STATUS_PREARM_CHECK;
        }
        MavMessage::SYS_STATUS(SYS_STATUS_DATA {
            onboard_control_sensors_present: present,
            onboard_control_sensors_enabled: present,
            onboard_control_sensors_health: health,
            load: 250,
            voltage_battery: (self.battery.volts() * 1000.0) as u16,
            current_battery: (self.battery.current * 100.0) as i16,
            battery_remaining: self.battery.percent().floor() as i8,
            ..SYS_STATUS_DATA::default()
        })
    }

    fn gps(&self) -> MavMessage {
        let fix = self.satellites();
        let (latitude, longitude) = if fix {
            self.plane.degrees(self.body.at)
        } else {
            (0.0, 0.0)
        };
        MavMessage::GPS_RAW_INT(GPS_RAW_INT_DATA {
            time_usec: self.up().as_micros() as u64,
            lat: place::to_wire(latitude),
            lon: place::to_wire(longitude),
            alt: ((self.config.home.2 + self.body.height) * 1000.0) as i32,
            eph: if fix { 90 } else { 9999 },
            epv: if fix { 140 } else { 9999 },
            vel: (self.body.ground_speed() * 100.0) as u16,
            cog: u16::MAX,
            fix_type: if fix {
                GpsFixType::GPS_FIX_TYPE_3D_FIX
            } else {
                GpsFixType::GPS_FIX_TYPE_NO_FIX
            },
            satellites_visible: if fix { 13 } else { 2 },
            ..GPS_RAW_INT_DATA::default()
        })
    }

    fn position(&self) -> MavMessage {
        // Before the estimate there is only zero.
        let (latitude, longitude) = if self.announced.1 {
            self.plane.degrees(self.body.at)
        } else {
            (0.0, 0.0)
        };
        let [north, east, up] = self.body.velocity.map(|speed| (speed * 100.0).round() as i16);
        let heading = self.body.velocity[1]
            .atan2(self.body.velocity[0])
            .to_degrees()
            .rem_euclid(360.0);
        MavMessage::GLOBAL_POSITION_INT(GLOBAL_POSITION_INT_DATA {
            time_boot_ms: self.up().as_millis() as u32,
            lat: place::to_wire(latitude),
            lon: place::to_wire(longitude),
            alt: ((self.config.home.2 + self.body.height) * 1000.0) as i32,
            relative_alt: (self.body.height * 1000.0) as i32,
            vx: north,
            vy: east,
            vz: -up,
            hdg: (heading * 100.0) as u16,
        })
    }

    fn version(&self) -> MavMessage {
        let (major, minor, patch) = self.config.firmware;
        let common = MavProtocolCapability::MAV_PROTOCOL_CAPABILITY_MISSION_INT
            | MavProtocolCapability::MAV_PROTOCOL_CAPABILITY_COMMAND_INT
            | MavProtocolCapability::MAV_PROTOCOL_CAPABILITY_MISSION_FENCE
            | MavProtocolCapability::MAV_PROTOCOL_CAPABILITY_MAVLINK2;
        let own = match self.config.family {
            Family::ArduPilot => MavProtocolCapability::MAV_PROTOCOL_CAPABILITY_PARAM_ENCODE_C_CAST,
            Family::Px4 => MavProtocolCapability::MAV_PROTOCOL_CAPABILITY_PARAM_ENCODE_BYTEWISE,
        };
        MavMessage::AUTOPILOT_VERSION(AUTOPILOT_VERSION_DATA {
            capabilities: common | own,
            flight_sw_version: u32::from_be_bytes([major, minor, patch, 0]),
            ..AUTOPILOT_VERSION_DATA::default()
        })
    }
}

/// What can be asked for.
const KNOWN: [u32; 8] = [
    SYS_STATUS_DATA::ID,
    GPS_RAW_INT_DATA::ID,
    GLOBAL_POSITION_INT_DATA::ID,
    MISSION_CURRENT_DATA::ID,
    AUTOPILOT_VERSION_DATA::ID,
    FENCE_STATUS_DATA::ID,
    HOME_POSITION_DATA::ID,
    EXTENDED_SYS_STATE_DATA::ID,
];
