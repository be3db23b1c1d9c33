//! What is said, as frames, and frames as what is heard: units, “unknown” and addressees are MAVLink's on one side and
//! [`wire`](super::super::wire)'s on the other.
//!
//! Fields are read at their places in the payload and not through the types of the `mavlink` crate: those refuse a whole
//! message for one number that is not in their lists (a vehicle of a new type would have no heartbeat), and would
//! bring those lists along. The tests compare both.

use mavlink::MessageData;
use mavlink::dialects::common::{
    AUTOPILOT_VERSION_DATA, COMMAND_ACK_DATA, COMMAND_LONG_DATA, EXTENDED_SYS_STATE_DATA, FENCE_STATUS_DATA,
    GLOBAL_POSITION_INT_DATA, GPS_RAW_INT_DATA, HEARTBEAT_DATA, HOME_POSITION_DATA, MISSION_ACK_DATA,
    MISSION_CLEAR_ALL_DATA, MISSION_COUNT_DATA, MISSION_CURRENT_DATA, MISSION_ITEM_INT_DATA,
    MISSION_ITEM_REACHED_DATA, MISSION_REQUEST_INT_DATA, MISSION_REQUEST_LIST_DATA, PARAM_REQUEST_READ_DATA,
    PARAM_SET_DATA, PARAM_VALUE_DATA, STATUSTEXT_DATA, SYS_STATUS_DATA,
};

use super::dialect;
use super::frames::RawFrame;
use super::texts::{PART, Part, Text, Texts};
use crate::device::drone::geo::Position;
use crate::device::drone::wire::{Frame, Heard, Item, ListKind, Node, ParamValue, Said, number};

/// MAV_TYPE_GCS: PX4's failsafe for a lost link (NAV_DLL_ACT) listens to no other kind, ArduPilot's to any.
const TYPE_GCS: u8 = 6;
/// MAV_STATE_ACTIVE.
const STATE_ACTIVE: u8 = 4;
/// `mavlink_version` of every heartbeat.
const MAVLINK_VERSION: u8 = 3;
/// The longest name of a parameter.
const LONGEST_NAME: usize = 16;

/// Why something can't be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// A parameter's name.
    #[error(
        "{0:?} is no parameter's name: MAVLink allows 1 to {LONGEST_NAME} printable ASCII characters without spaces"
    )]
    ParameterName(String),
}

/// Reads and writes messages between us and a vehicle.
#[derive(Debug)]
pub struct Codec {
    us: Node,
    vehicle: Node,
    texts: Texts,
}

impl Codec {
    /// `us` is who writes, `vehicle` whom messages with an addressee are written to.
    pub fn new(us: Node, vehicle: Node) -> Self {
        Codec {
            us,
            vehicle,
            texts: Texts::default(),
        }
    }

    /// What a frame says, from whoever it came: nothing if it is none of [`Heard`], is addressed to somebody else or
    /// makes no sense; up to two frames where it ends a text that came in parts.
    pub fn read(&mut self, raw: &RawFrame) -> impl Iterator<Item = Frame> + use<> {
        let fields = Fields::new(raw.payload());
        let both = if raw.id() == STATUSTEXT_DATA::ID {
            self.texts.take(&fields.part(raw.from())).map(text_frame)
        } else {
            let heard = fields.heard(raw.id(), self.us);
            let from = raw.from();
            [heard.map(|heard| Frame { from, heard }), None]
        };
        both.into_iter().flatten()
    }

    /// To be called now and then: a text whose next part did not come since the last time.
    pub fn give_up_text(&mut self) -> Option<Frame> {
        text_frame(self.texts.give_up())
    }

    /// As a frame of version 2; one that is `signed` still needs its signature.
    ///
    /// # Errors
    /// [`Unsayable`]
    pub fn write(&self, said: &Said, sequence: u8, signed: bool) -> Result<RawFrame, Unsayable> {
        let (payload, (id, seed, length)) = self.payload(said)?;
        Ok(RawFrame::new(
            self.us,
            sequence,
            id,
            seed,
            &payload.0[..length],
            signed,
        ))
    }

    fn payload(&self, said: &Said) -> Result<(Fields, Kind), Unsayable> {
        let mut fields = Fields([0; 255]);
        let target = [self.vehicle.system, self.vehicle.component];
        let kind = match said {
            Said::Heartbeat => {
                fields.put(
                    4,
                    [
                        TYPE_GCS,
                        number::AUTOPILOT_INVALID,
                        0,
                        STATE_ACTIVE,
                        MAVLINK_VERSION,
                    ],
                );
                kind::<HEARTBEAT_DATA>()
            }
            Said::CommandLong {
                command,
                confirmation,
                params,
            } => {
                for (place, param) in params.iter().enumerate() {
                    fields.put(place * 4, param.to_le_bytes());
                }
                fields.put(28, command.to_le_bytes());
                fields.put(30, target);
                fields.put(32, [*confirmation]);
                kind::<COMMAND_LONG_DATA>()
            }
            Said::MissionCount { list, count } => {
                fields.put(0, count.to_le_bytes());
                fields.put(2, target);
                fields.put(4, [list_number(*list)]);
                kind::<MISSION_COUNT_DATA>()
            }
            Said::MissionItem(item) => {
                fields.put_item(item, target);
                kind::<MISSION_ITEM_INT_DATA>()
            }
            Said::MissionRequestList { list } => {
                fields.put(0, target);
                fields.put(2, [list_number(*list)]);
                kind::<MISSION_REQUEST_LIST_DATA>()
            }
            Said::MissionRequestInt { list, seq } => {
                fields.put(0, seq.to_le_bytes());
                fields.put(2, target);
                fields.put(4, [list_number(*list)]);
                kind::<MISSION_REQUEST_INT_DATA>()
            }
            Said::MissionAck { list, result } => {
                fields.put(0, target);
                fields.put(2, [*result, list_number(*list)]);
                kind::<MISSION_ACK_DATA>()
            }
            Said::MissionClearAll { list } => {
                fields.put(0, target);
                fields.put(2, [list_number(*list)]);
                kind::<MISSION_CLEAR_ALL_DATA>()
            }
            Said::ParamRequestRead { name } => {
                // By its name, not by its place.
                fields.put(0, (-1_i16).to_le_bytes());
                fields.put(2, target);
                fields.put(4, padded(name)?);
                kind::<PARAM_REQUEST_READ_DATA>()
            }
            Said::ParamSet { name, value } => {
                fields.put(0, value.raw.to_le_bytes());
                fields.put(4, target);
                fields.put(6, padded(name)?);
                fields.put(22, [value.kind]);
                kind::<PARAM_SET_DATA>()
            }
        };
        Ok((fields, kind))
    }
}

/// Number, checksum seed and length with extensions.
type Kind = (u32, u8, usize);

fn kind<D: MessageData>() -> Kind {
    (D::ID, D::EXTRA_CRC, D::ENCODED_LEN)
}

fn text_frame(text: Option<Text>) -> Option<Frame> {
    text.map(|Text { from, severity, text }| Frame {
        from,
        heard: Heard::StatusText { severity, text },
    })
}

fn list_number(list: ListKind) -> u8 {
    match list {
        ListKind::Mission => 0,
        ListKind::Fence => 1,
    }
}

fn padded(name: &str) -> Result<[u8; LONGEST_NAME], Unsayable> {
    let mut bytes = [0; LONGEST_NAME];
    match bytes.get_mut(..name.len()) {
        Some(room) if is_name(name.as_bytes()) => room.copy_from_slice(name.as_bytes()),
        _ => return Err(Unsayable::ParameterName(name.to_owned())),
    }
    Ok(bytes)
}

fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// A payload; what was not sent of it is zero.
struct Fields([u8; 255]);

impl Fields {
    fn new(payload: &[u8]) -> Self {
        let mut bytes = [0; 255];
        let length = payload.len().min(bytes.len());
        bytes[..length].copy_from_slice(&payload[..length]);
        Fields(bytes)
    }

    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.0[at..at + N].copy_from_slice(&bytes);
    }

    fn take<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn u8(&self, at: usize) -> u8 {
        self.0[at]
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.take(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.take(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.take(at))
    }

    fn f32(&self, at: usize) -> f32 {
        f32::from_le_bytes(self.take(at))
    }

    /// Two bytes of 1/100, as a number of ones.
    fn hundredths(&self, at: usize) -> f64 {
        f64::from(i16::from_le_bytes(self.take(at))) / 100.0
    }

    /// Four bytes of 1/1000, as a number of ones.
    fn thousandths(&self, at: usize) -> f64 {
        f64::from(self.i32(at)) / 1000.0
    }

    /// Latitude and longitude in degrees × 10⁷. What lies on no globe is none, and 0, 0 is what autopilots say that
    /// don't know.
    fn position(&self, at: usize) -> Option<Position> {
        let (latitude, longitude) = (self.i32(at), self.i32(at + 4));
        let on_the_globe = (-900_000_000..=900_000_000).contains(&latitude)
            && (-1_800_000_000..=1_800_000_000).contains(&longitude);
        (on_the_globe && (latitude, longitude) != (0, 0)).then(|| Position {
            latitude: f64::from(latitude) / 1e7,
            longitude: f64::from(longitude) / 1e7,
        })
    }

    fn list(&self, at: usize) -> Option<ListKind> {
        match self.u8(at) {
            0 => Some(ListKind::Mission),
            1 => Some(ListKind::Fence),
            _ => None,
        }
    }

    fn node(&self, at: usize) -> Node {
        Node {
            system: self.u8(at),
            component: self.u8(at + 1),
        }
    }

    /// Nothing if it is addressed to somebody else; 0 is everybody.
    fn only_for(&self, us: Node, at: usize) -> Option<()> {
        let target = self.node(at);
        let system = target.system == 0 || target.system == us.system;
        let component = target.component == 0 || target.component == us.component;
        (system && component).then_some(())
    }

    fn part(&self, from: Node) -> Part {
        Part {
            from,
            severity: self.u8(0),
            bytes: self.take::<PART>(1),
            id: self.u16(51),
            place: self.u8(53),
        }
    }

    fn put_item(&mut self, item: &Item, target: [u8; 2]) {
        for (place, param) in item.params.iter().enumerate() {
            self.put(place * 4, param.to_le_bytes());
        }
        self.put(16, item.x.to_le_bytes());
        self.put(20, item.y.to_le_bytes());
        self.put(24, item.z.to_le_bytes());
        self.put(28, item.seq.to_le_bytes());
        self.put(30, item.command.to_le_bytes());
        self.put(32, target);
        let flags = [u8::from(item.current), u8::from(item.autocontinue)];
        self.put(34, [item.frame, flags[0], flags[1], list_number(item.list)]);
    }

    fn item(&self) -> Option<Item> {
        Some(Item {
            list: self.list(37)?,
            seq: self.u16(28),
            frame: self.u8(34),
            command: self.u16(30),
            current: self.u8(35) == 1,
            autocontinue: self.u8(36) != 0,
            params: [self.f32(0), self.f32(4), self.f32(8), self.f32(12)],
            x: self.i32(16),
            y: self.i32(20),
            z: self.f32(24),
        })
    }

    fn heard(&self, id: u32, us: Node) -> Option<Heard> {
        Some(match id {
            HEARTBEAT_DATA::ID => Heard::Heartbeat {
                custom_mode: self.u32(0),
                vehicle: self.u8(4),
                autopilot: self.u8(5),
                base_mode: self.u8(6),
                system_status: self.u8(7),
            },
            SYS_STATUS_DATA::ID => Heard::SysStatus {
                present: self.u32(0),
                enabled: self.u32(4),
                health: self.u32(8),
                voltage: Some(self.u16(14))
                    .filter(|millivolts| *millivolts != u16::MAX)
                    .map(|millivolts| f32::from(millivolts) / 1000.0),
                // −1 (255) is unknown.
                battery_remaining: Some(self.u8(30)).filter(|percent| *percent <= 100),
            },
            GPS_RAW_INT_DATA::ID => Heard::GpsRaw {
                fix: self.u8(28),
                satellites: Some(self.u8(29)).filter(|count| *count != u8::MAX),
            },
            GLOBAL_POSITION_INT_DATA::ID => Heard::GlobalPosition {
                at: self.position(4)?,
                altitude_msl: self.thousandths(12),
                altitude: self.thousandths(16),
                north: self.hundredths(20),
                east: self.hundredths(22),
                down: self.hundredths(24),
            },
            EXTENDED_SYS_STATE_DATA::ID => Heard::ExtendedSysState { landed: self.u8(1) },
            MISSION_CURRENT_DATA::ID => Heard::MissionCurrent {
                seq: self.u16(0),
                state: self.u8(4),
            },
            MISSION_ITEM_REACHED_DATA::ID => Heard::MissionItemReached { seq: self.u16(0) },
            dialect::MISSION_REQUEST | MISSION_REQUEST_INT_DATA::ID => {
                self.only_for(us, 2)?;
                Heard::MissionRequest {
                    list: self.list(4)?,
                    seq: self.u16(0),
                }
            }
            MISSION_COUNT_DATA::ID => {
                self.only_for(us, 2)?;
                Heard::MissionCount {
                    list: self.list(4)?,
                    count: self.u16(0),
                }
            }
            MISSION_ITEM_INT_DATA::ID => {
                self.only_for(us, 32)?;
                Heard::MissionItem(self.item()?)
            }
            MISSION_ACK_DATA::ID => {
                self.only_for(us, 0)?;
                Heard::MissionAck {
                    list: self.list(3)?,
                    result: self.u8(2),
                }
            }
            COMMAND_ACK_DATA::ID => {
                let result = self.u8(2);
                // Where nothing is in progress the field means other things, or nothing.
                let progress = Some(self.u8(3)).filter(|percent| *percent <= 100);
                Heard::CommandAck {
                    command: self.u16(0),
                    result,
                    progress: progress.filter(|_| result == number::RESULT_IN_PROGRESS),
                    target: self.node(8),
                }
            }
            PARAM_VALUE_DATA::ID => Heard::ParamValue {
                name: self.name(8)?,
                value: ParamValue {
                    raw: self.f32(0),
                    kind: self.u8(24),
                },
            },
            HOME_POSITION_DATA::ID => Heard::HomePosition {
                at: self.position(0)?,
                altitude_msl: self.thousandths(8),
            },
            AUTOPILOT_VERSION_DATA::ID => Heard::AutopilotVersion {
                capabilities: u64::from_le_bytes(self.take(0)),
                firmware: self.u32(16),
            },
            FENCE_STATUS_DATA::ID => Heard::FenceStatus {
                breached: self.u8(6) != 0,
                kind: self.u8(7),
            },
            _ => return None,
        })
    }

    fn name(&self, at: usize) -> Option<String> {
        let bytes: [u8; LONGEST_NAME] = self.take(at);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(LONGEST_NAME);
        let name = &bytes[..end];
        is_name(name).then(|| String::from_utf8_lossy(name).into_owned())
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
