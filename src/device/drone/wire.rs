//! What is said to an autopilot and heard from it, in plain types: a subset of MAVLink's common messages
//! (<https://mavlink.io/en/messages/common.html>), each named as there. Degrees, metres, metres a second, seconds.
//!
//! What an autopilot does not know (MAVLink's −1, 255 or `UINT16_MAX`) is `None`. Numbers that mean something by MAVLink's
//! enums alone (commands, results, modes) stay numbers here and are named in [`number`].

use super::geo::Position;

/// Who speaks: an autopilot is component 1 of its system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// `sysid`.
    pub system: u8,
    /// `compid`.
    pub component: u8,
}

/// A message that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// From whom.
    pub from: Node,
    /// What it says.
    pub heard: Heard,
}

/// What the signatures of the vehicle's frames have against the two ends hearing each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureTrouble {
    /// It signs, and we don't: it is heard, and may not hear us.
    OnlyTheirs,
    /// We sign, and it does not: it is not heard.
    OnlyOurs,
    /// Both sign, by different keys.
    OtherKey,
    /// Signed rightly, at a time that is long past.
    Late,
}

impl std::fmt::Display for SignatureTrouble {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            SignatureTrouble::OnlyTheirs => {
                "it signs what it says, and obeys on this port only what is signed by its key: set signing_key"
            }
            SignatureTrouble::OnlyOurs => {
                "what it says is not signed: give it the key of signing_key, or take signing_key away"
            }
            SignatureTrouble::OtherKey => "what it says is signed by another key than that of signing_key",
            SignatureTrouble::Late => {
                "the times of its signatures are long past: a GPS fix sets its clock; or is this machine's clock wrong?"
            }
        })
    }
}

/// Which list a mission message is about (MAV_MISSION_TYPE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// 0: what is flown.
    Mission,
    /// 1: the geofence.
    Fence,
}

/// MISSION_ITEM_INT: one item of a list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item {
    /// Its list.
    pub list: ListKind,
    /// Its place in it, from 0.
    pub seq: u16,
    /// MAV_FRAME.
    pub frame: u8,
    /// MAV_CMD.
    pub command: u16,
    /// Whether it is the one to be flown now.
    pub current: bool,
    /// Whether the next follows by itself.
    pub autocontinue: bool,
    /// `param1` to `param4`; NaN where MAVLink wants it.
    pub params: [f32; 4],
    /// Latitude in degrees × 10⁷, as it is on the wire.
    pub x: i32,
    /// Longitude in degrees × 10⁷, as it is on the wire.
    pub y: i32,
    /// Metres, by `frame`.
    pub z: f32,
}

/// PARAM_VALUE's number as it was sent: ArduPilot writes every type as a float, PX4 writes the bytes of an integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParamValue {
    /// The four bytes, read as a float.
    pub raw: f32,
    /// MAV_PARAM_TYPE.
    pub kind: u8,
}

/// What is heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// HEARTBEAT (0).
    Heartbeat {
        /// MAV_AUTOPILOT.
        autopilot: u8,
        /// MAV_TYPE.
        vehicle: u8,
        /// MAV_MODE_FLAG; see [`number::MODE_FLAG_ARMED`].
        base_mode: u8,
        /// By autopilot and vehicle.
        custom_mode: u32,
        /// MAV_STATE.
        system_status: u8,
    },
    /// SYS_STATUS (1).
    SysStatus {
        /// Of MAV_SYS_STATUS_SENSOR: which there are.
        present: u32,
        /// Which are switched on.
        enabled: u32,
        /// Which are well.
        health: u32,
        /// Volts.
        voltage: Option<f32>,
        /// Percent.
        battery_remaining: Option<u8>,
    },
    /// GPS_RAW_INT (24).
    GpsRaw {
        /// GPS_FIX_TYPE: 3 is a position in space.
        fix: u8,
        /// Satellites that are seen.
        satellites: Option<u8>,
    },
    /// GLOBAL_POSITION_INT (33).
    GlobalPosition {
        /// Where it is.
        at: Position,
        /// Metres above the sea.
        altitude_msl: f64,
        /// Metres above home.
        altitude: f64,
        /// Metres a second north.
        north: f64,
        /// Metres a second east.
        east: f64,
        /// Metres a second down.
        down: f64,
    },
    /// EXTENDED_SYS_STATE (245): MAV_LANDED_STATE, see [`number`].
    ExtendedSysState {
        /// MAV_LANDED_STATE.
        landed: u8,
    },
    /// STATUSTEXT (253), a long one put together from its parts where they came in order.
    StatusText {
        /// MAV_SEVERITY: 0 emergency … 7 debug.
        severity: u8,
        /// Without what is not printable.
        text: String,
    },
    /// MISSION_CURRENT (42).
    MissionCurrent {
        /// The item that is flown now.
        seq: u16,
        /// MISSION_STATE; 0: not told.
        state: u8,
    },
    /// MISSION_ITEM_REACHED (46).
    MissionItemReached {
        /// The item.
        seq: u16,
    },
    /// MISSION_REQUEST (40) and MISSION_REQUEST_INT (51): both want MISSION_ITEM_INT.
    MissionRequest {
        /// Of which list.
        list: ListKind,
        /// Which item.
        seq: u16,
    },
    /// MISSION_COUNT (44).
    MissionCount {
        /// Of which list.
        list: ListKind,
        /// How many items it has.
        count: u16,
    },
    /// MISSION_ITEM_INT (73).
    MissionItem(Item),
    /// MISSION_ACK (47).
    MissionAck {
        /// Of which list.
        list: ListKind,
        /// MAV_MISSION_RESULT.
        result: u8,
    },
    /// COMMAND_ACK (77).
    CommandAck {
        /// MAV_CMD.
        command: u16,
        /// MAV_RESULT.
        result: u8,
        /// Percent, while it is in progress.
        progress: Option<u8>,
        /// For whom, where it says so (0: everybody).
        target: Node,
    },
    /// PARAM_VALUE (22).
    ParamValue {
        /// Its name.
        name: String,
        /// Its value.
        value: ParamValue,
    },
    /// HOME_POSITION (242).
    HomePosition {
        /// Where home is.
        at: Position,
        /// Metres above the sea.
        altitude_msl: f64,
    },
    /// AUTOPILOT_VERSION (148).
    AutopilotVersion {
        /// MAV_PROTOCOL_CAPABILITY.
        capabilities: u64,
        /// `flight_sw_version`: major, minor, patch and type, a byte each from the highest.
        firmware: u32,
    },
    /// FENCE_STATUS (162).
    FenceStatus {
        /// Whether it is outside.
        breached: bool,
        /// FENCE_BREACH.
        kind: u8,
    },
}

/// What is said. Messages that name a target are sent to the vehicle of the link.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// HEARTBEAT (0): we are here, as a ground station: the autopilot's link failsafe is to act when we are not.
    Heartbeat,
    /// COMMAND_LONG (76).
    CommandLong {
        /// MAV_CMD.
        command: u16,
        /// 0, and one more each time that it is sent again.
        confirmation: u8,
        /// `param1` to `param7`.
        params: [f32; 7],
    },
    /// MISSION_COUNT (44): begins an upload.
    MissionCount {
        /// Of which list.
        list: ListKind,
        /// How many items it will have.
        count: u16,
    },
    /// MISSION_ITEM_INT (73).
    MissionItem(Item),
    /// MISSION_REQUEST_LIST (43): begins reading back.
    MissionRequestList {
        /// Of which list.
        list: ListKind,
    },
    /// MISSION_REQUEST_INT (51).
    MissionRequestInt {
        /// Of which list.
        list: ListKind,
        /// Which item.
        seq: u16,
    },
    /// MISSION_ACK (47).
    MissionAck {
        /// Of which list.
        list: ListKind,
        /// MAV_MISSION_RESULT.
        result: u8,
    },
    /// MISSION_CLEAR_ALL (45).
    MissionClearAll {
        /// Which list.
        list: ListKind,
    },
    /// PARAM_REQUEST_READ (20), by name.
    ParamRequestRead {
        /// At most 16 ASCII characters.
        name: String,
    },
    /// PARAM_SET (23).
    ParamSet {
        /// At most 16 ASCII characters.
        name: String,
        /// As [`ParamValue`] describes.
        value: ParamValue,
    },
}

/// MAVLink's numbers, by its own names.
#[allow(
    missing_docs,
    reason = "documented by MAVLink: https://mavlink.io/en/messages/common.html"
)]
pub mod number {
    // MAV_AUTOPILOT
    pub const AUTOPILOT_ARDUPILOTMEGA: u8 = 3;
    pub const AUTOPILOT_INVALID: u8 = 8;
    pub const AUTOPILOT_PX4: u8 = 12;
    // MAV_MODE_FLAG
    pub const MODE_FLAG_CUSTOM_MODE: u8 = 1;
    pub const MODE_FLAG_ARMED: u8 = 128;
    // MAV_SYS_STATUS_SENSOR
    pub const SENSOR_PREARM_CHECK: u32 = 0x1000_0000;
    // MAV_LANDED_STATE
    pub const LANDED_UNDEFINED: u8 = 0;
    pub const LANDED_ON_GROUND: u8 = 1;
    pub const LANDED_IN_AIR: u8 = 2;
    pub const LANDED_TAKEOFF: u8 = 3;
    pub const LANDED_LANDING: u8 = 4;
    // MAV_RESULT
    pub const RESULT_ACCEPTED: u8 = 0;
    pub const RESULT_TEMPORARILY_REJECTED: u8 = 1;
    pub const RESULT_DENIED: u8 = 2;
    pub const RESULT_UNSUPPORTED: u8 = 3;
    pub const RESULT_FAILED: u8 = 4;
    pub const RESULT_IN_PROGRESS: u8 = 5;
    pub const RESULT_CANCELLED: u8 = 6;
    // MAV_MISSION_RESULT
    pub const MISSION_ACCEPTED: u8 = 0;
    pub const MISSION_ERROR: u8 = 1;
    pub const MISSION_UNSUPPORTED_FRAME: u8 = 2;
    pub const MISSION_UNSUPPORTED: u8 = 3;
    pub const MISSION_NO_SPACE: u8 = 4;
    pub const MISSION_INVALID: u8 = 5;
    pub const MISSION_INVALID_SEQUENCE: u8 = 13;
    pub const MISSION_DENIED: u8 = 14;
    pub const MISSION_OPERATION_CANCELLED: u8 = 15;
    // MAV_FRAME
    pub const FRAME_GLOBAL: u8 = 0;
    pub const FRAME_MISSION: u8 = 2;
    pub const FRAME_GLOBAL_RELATIVE_ALT: u8 = 3;
    pub const FRAME_GLOBAL_RELATIVE_ALT_INT: u8 = 6;
    // MAV_CMD
    pub const CMD_NAV_WAYPOINT: u16 = 16;
    pub const CMD_NAV_LOITER_TIME: u16 = 19;
    pub const CMD_NAV_RETURN_TO_LAUNCH: u16 = 20;
    pub const CMD_NAV_LAND: u16 = 21;
    pub const CMD_NAV_TAKEOFF: u16 = 22;
    pub const CMD_DO_SET_MODE: u16 = 176;
    pub const CMD_DO_CHANGE_SPEED: u16 = 178;
    pub const CMD_MISSION_START: u16 = 300;
    pub const CMD_COMPONENT_ARM_DISARM: u16 = 400;
    pub const CMD_RUN_PREARM_CHECKS: u16 = 401;
    pub const CMD_SET_MESSAGE_INTERVAL: u16 = 511;
    pub const CMD_REQUEST_MESSAGE: u16 = 512;
    pub const CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION: u16 = 5001;
    // MAV_SEVERITY
    pub const SEVERITY_WARNING: u8 = 4;
    // FENCE_BREACH
    pub const FENCE_BREACH_NONE: u8 = 0;
    // Message ids that are asked for
    pub const MSG_SYS_STATUS: u32 = 1;
    pub const MSG_GPS_RAW_INT: u32 = 24;
    pub const MSG_GLOBAL_POSITION_INT: u32 = 33;
    pub const MSG_MISSION_CURRENT: u32 = 42;
    pub const MSG_AUTOPILOT_VERSION: u32 = 148;
    pub const MSG_FENCE_STATUS: u32 = 162;
    pub const MSG_HOME_POSITION: u32 = 242;
    pub const MSG_EXTENDED_SYS_STATE: u32 = 245;
}
