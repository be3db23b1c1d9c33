//! A small autopilot for tests: answers as ArduCopter or PX4 do, moves in straight lines, and has quirks to order.

use std::collections::{BTreeMap, BTreeSet};

use crate::device::drone::geo::Position;
use crate::device::drone::wire::number::*;
use crate::device::drone::wire::{Frame, Heard, Item, ListKind, Node, ParamValue, Said, SignatureTrouble};

pub const THEM: Node = Node {
    system: 1,
    component: 1,
};
pub const US: Node = Node {
    system: 255,
    component: 191,
};
pub const HOME: Position = Position {
    latitude: 47.3977,
    longitude: 8.5456,
};

pub const AUTO: u32 = 3;
pub const GUIDED: u32 = 4;
pub const LOITER: u32 = 5;
pub const RTL: u32 = 6;
pub const LAND: u32 = 9;
pub const BRAKE: u32 = 17;

/// How it misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// Asks for items with MISSION_REQUEST, as ArduPilot does, is all the same on this wire; it asks for each twice.
    AsksTwice,
    /// NO_SPACE for the first 8 s.
    Booting,
    /// Every upload is refused with INVALID_PARAM5_X.
    RefusesMission,
    /// Holds an item at another place than it was given.
    HoldsAnother,
    /// Holds another fence.
    HoldsAnotherFence,
    /// Rounds as ArduPilot does.
    Rounds,
    /// Never answers the start, but obeys.
    StartUnanswered,
    /// Accepts the start and does nothing.
    StartIgnored,
    /// Refuses the start.
    StartDenied,
    /// Drops the first start.
    StartLostOnce,
    /// Accepts arming and does nothing.
    ArmIgnored,
    /// Arming fails for 20 s after the mode was set.
    ArmLater,
    /// Arming fails for ever.
    ArmNever,
    /// Says nothing about landing (EXTENDED_SYS_STATE).
    LandedUntold,
    /// Refuses NAV_RETURN_TO_LAUNCH and NAV_LAND.
    DeniesReturn,
    /// Does not return for its first 5 commands.
    ReturnsLate,
    /// Does not take off in AUTO.
    StaysDown,
    /// Stays armed after landing until it is told.
    StaysArmed,
    /// Does not disarm on the ground either.
    NeverDisarms,
    /// Does not clear its mission.
    KeepsMission,
    /// PREARM unhealthy.
    PrearmBad,
    /// Stays in its mode whatever is asked.
    ModeStuck,
    /// Its home is far away.
    HomeFar,
    /// Tells where home is in its first moment only.
    HomeUntold,
    /// Does nothing at its fence.
    FenceIgnored,
    /// No GPS fix.
    NoFix,
}

#[derive(Debug, Clone)]
pub struct Fake {
    pub px4: bool,
    pub quirks: BTreeSet<Quirk>,
    pub armed: bool,
    pub mode: u32,
    pub altitude: f64,
    pub east: f64,
    pub battery: f64,
    pub silent: bool,
    pub deaf: bool,
    /// What its link says of its signatures.
    pub signatures: Option<SignatureTrouble>,
    pub breached: bool,
    /// Its mission never comes to its last item.
    pub hangs: bool,
    pub mission: Vec<Item>,
    pub fence: Vec<Item>,
    pub params: BTreeMap<&'static str, f32>,
    pub kind: u8,
    pub take_offs: usize,
    pub starts: usize,
    pub highest: f64,
    index: usize,
    held_for: f64,
    receiving: Option<(ListKind, u16)>,
    returns: usize,
    mode_set: u64,
    armed_at: u64,
    started: bool,
    descending: bool,
    out: Vec<Heard>,
}

impl Fake {
    pub fn new(px4: bool) -> Self {
        let params = [
            ("SYSID_MYGCS", 255.0),
            ("FS_GCS_ENABLE", 1.0),
            ("FENCE_ENABLE", 1.0),
            ("FENCE_ACTION", 1.0),
            ("BATT_FS_LOW_ACT", 2.0),
            ("NAV_DLL_ACT", f32::from_bits(2)),
            ("COM_LOW_BAT_ACT", f32::from_bits(3)),
            ("GF_ACTION", f32::from_bits(3)),
            ("RTL_ALT_M", 10.0),
            ("RTL_RETURN_ALT", f32::from_bits(10)),
        ];
        Fake {
            px4,
            quirks: BTreeSet::new(),
            armed: false,
            mode: if px4 { 3 << 16 } else { 0 },
            altitude: 0.0,
            east: 0.0,
            battery: 95.0,
            silent: false,
            deaf: false,
            signatures: None,
            breached: false,
            hangs: false,
            mission: Vec::new(),
            fence: Vec::new(),
            params: params.into_iter().collect(),
            kind: 2,
            take_offs: 0,
            starts: 0,
            highest: 0.0,
            index: 0,
            held_for: 0.0,
            receiving: None,
            returns: 0,
            mode_set: 0,
            armed_at: 0,
            started: false,
            descending: false,
            out: Vec::new(),
        }
    }

    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// ArduCopter's number of a mode as this autopilot writes it.
    pub fn number(&self, mode: u32) -> u32 {
        if !self.px4 {
            return mode;
        }
        match mode {
            AUTO => 4 << 24 | 4 << 16,
            RTL => 5 << 24 | 4 << 16,
            LAND => 6 << 24 | 4 << 16,
            LOITER => 3 << 16,
            GUIDED => 6 << 16,
            _ => 3 << 24 | 4 << 16,
        }
    }

    pub fn set_mode(&mut self, mode: u32) {
        self.mode = self.number(mode);
    }

    pub fn in_mode(&self, mode: u32) -> bool {
        self.mode == self.number(mode)
    }

    pub fn say(&mut self, text: &str) {
        self.out.push(Heard::StatusText {
            severity: 2,
            text: text.to_owned(),
        });
    }

    pub fn on_ground(&self) -> bool {
        self.altitude <= 0.05
    }

    fn ack(&mut self, command: u16, result: u8) {
        self.out.push(Heard::CommandAck {
            command,
            result,
            progress: None,
            target: US,
        });
    }

    pub fn hear(&mut self, said: &Said, millis: u64) {
        if self.deaf {
            return;
        }
        match said {
            Said::CommandLong { command, params, .. } => self.command(*command, params, millis),
            Said::MissionCount { list, count } => {
                let result = if self.has(Quirk::Booting) && millis < 8_000 {
                    Some(MISSION_NO_SPACE)
                } else if self.has(Quirk::RefusesMission) && *list == ListKind::Mission {
                    Some(10)
                } else {
                    None
                };
                if let Some(result) = result {
                    self.out.push(Heard::MissionAck { list: *list, result });
                    return;
                }
                self.list(*list).clear();
                self.receiving = Some((*list, *count));
                self.ask(*list, 0);
            }
            Said::MissionItem(item) => self.item(item),
            Said::MissionRequestList { list } => {
                let count = self.list(*list).len() as u16;
                self.out.push(Heard::MissionCount { list: *list, count });
            }
            Said::MissionRequestInt { list, seq } => {
                let another = match list {
                    ListKind::Mission => self.has(Quirk::HoldsAnother),
                    ListKind::Fence => self.has(Quirk::HoldsAnotherFence),
                };
                let rounds = self.has(Quirk::Rounds);
                let Some(mut item) = self.list(*list).get(usize::from(*seq)).copied() else {
                    return;
                };
                if another && *seq == 2 {
                    item.x += 5_000;
                }
                if rounds {
                    item.frame = if item.frame == 6 { 3 } else { item.frame };
                    item.y += 1;
                    item.z -= 0.09;
                }
                self.out.push(Heard::MissionItem(item));
            }
            Said::MissionClearAll { list } => {
                if !self.has(Quirk::KeepsMission) {
                    self.list(*list).clear();
                    self.out.push(Heard::MissionAck {
                        list: *list,
                        result: 0,
                    });
                }
            }
            Said::ParamRequestRead { name } => {
                if let Some(raw) = self.params.get(name.as_str()) {
                    let value = ParamValue { raw: *raw, kind: 6 };
                    self.out.push(Heard::ParamValue {
                        name: name.clone(),
                        value,
                    });
                }
            }
            Said::ParamSet { name, value } => {
                if let Some((_, raw)) = self.params.iter_mut().find(|one| *one.0 == name) {
                    *raw = value.raw;
                    self.out.push(Heard::ParamValue {
                        name: name.clone(),
                        value: *value,
                    });
                }
            }
            Said::Heartbeat | Said::MissionAck { .. } => {}
        }
    }

    fn list(&mut self, list: ListKind) -> &mut Vec<Item> {
        match list {
            ListKind::Mission => &mut self.mission,
            ListKind::Fence => &mut self.fence,
        }
    }

    fn ask(&mut self, list: ListKind, seq: u16) {
        let times = if self.has(Quirk::AsksTwice) { 2 } else { 1 };
        for _ in 0..times {
            self.out.push(Heard::MissionRequest { list, seq });
        }
    }

    fn item(&mut self, item: &Item) {
        let Some((list, count)) = self.receiving.filter(|one| one.0 == item.list) else {
            self.out.push(Heard::MissionAck {
                list: item.list,
                result: MISSION_ERROR,
            });
            return;
        };
        let next = self.list(list).len() as u16;
        if item.seq == next {
            self.list(list).push(*item);
        }
        let next = self.list(list).len() as u16;
        if next == count {
            self.receiving = None;
            self.index = 0;
            self.out.push(Heard::MissionAck { list, result: 0 });
        } else {
            self.ask(list, next);
        }
    }

    fn command(&mut self, command: u16, params: &[f32; 7], millis: u64) {
        match command {
            CMD_DO_SET_MODE => {
                let custom = if self.px4 {
                    (params[2] as u32) << 24 | (params[1] as u32) << 16
                } else {
                    params[1] as u32
                };
                if !self.has(Quirk::ModeStuck) {
                    self.mode = custom;
                    self.mode_set = millis;
                }
                self.ack(command, 0);
            }
            CMD_COMPONENT_ARM_DISARM if params[0] == 1.0 => self.arm(millis),
            CMD_COMPONENT_ARM_DISARM => {
                let may = self.on_ground() && !self.has(Quirk::NeverDisarms);
                if may {
                    self.armed = false;
                }
                self.ack(command, if may { 0 } else { RESULT_FAILED });
            }
            CMD_MISSION_START => self.start(),
            CMD_NAV_RETURN_TO_LAUNCH | CMD_NAV_LAND => {
                self.returns += 1;
                if self.has(Quirk::DeniesReturn) {
                    self.ack(command, RESULT_DENIED);
                } else {
                    if !self.has(Quirk::ReturnsLate) || self.returns > 5 {
                        self.set_mode(if command == CMD_NAV_LAND { LAND } else { RTL });
                    }
                    self.ack(command, 0);
                }
            }
            CMD_RUN_PREARM_CHECKS => {
                if self.has(Quirk::PrearmBad) {
                    self.say("PreArm: Compass not calibrated");
                }
                self.ack(command, 0);
            }
            _ => self.ack(command, RESULT_UNSUPPORTED),
        }
    }

    fn arm(&mut self, millis: u64) {
        let later = self.has(Quirk::ArmLater) && millis < self.mode_set + 20_000;
        if later || self.has(Quirk::ArmNever) {
            self.say("Arm: Need Position Estimate");
            self.ack(CMD_COMPONENT_ARM_DISARM, RESULT_FAILED);
            return;
        }
        if !self.has(Quirk::ArmIgnored) && !self.armed {
            self.armed = true;
            self.armed_at = millis;
            self.started = false;
        }
        self.ack(CMD_COMPONENT_ARM_DISARM, 0);
    }

    fn start(&mut self) {
        self.starts += 1;
        if self.has(Quirk::StartDenied) {
            self.ack(CMD_MISSION_START, RESULT_DENIED);
            return;
        }
        if self.has(Quirk::StartLostOnce) && self.starts == 1 {
            return;
        }
        // Accepted while disarmed, too, as ArduCopter does.
        if !self.has(Quirk::StartIgnored) {
            self.set_mode(AUTO);
            self.started = true;
        }
        if !self.has(Quirk::StartUnanswered) {
            self.ack(CMD_MISSION_START, 0);
        }
    }

    /// 100 ms of flight.
    fn fly(&mut self, millis: u64) {
        let was_down = self.on_ground();
        self.descending = false;
        if !self.armed {
            self.altitude = (self.altitude - 1.0).max(0.0);
            return;
        }
        self.battery = (self.battery - 0.003).max(0.0);
        if self.in_mode(AUTO) && self.started && !self.has(Quirk::StaysDown) {
            self.fly_mission();
        } else if self.in_mode(RTL) {
            self.return_home();
        } else if self.in_mode(LAND) {
            self.descend();
        } else if was_down && !self.in_mode(AUTO) && millis > self.armed_at + 10_000 {
            // The disarm delay.
            self.armed = self.has(Quirk::NeverDisarms);
        }
        self.highest = self.highest.max(self.altitude);
        if was_down && !self.on_ground() {
            self.take_offs += 1;
        }
        if self.breached && !self.has(Quirk::FenceIgnored) && self.in_mode(AUTO) {
            self.set_mode(RTL);
        }
    }

    fn fly_mission(&mut self) {
        let Some(item) = self.mission.get(self.index).copied() else {
            return;
        };
        let there = Position::from_e7(item.x, item.y).unwrap_or(HOME);
        let east = HOME.distance(there);
        let done = match item.command {
            CMD_NAV_TAKEOFF => {
                self.altitude += 0.2;
                self.altitude >= f64::from(item.z)
            }
            CMD_NAV_WAYPOINT if self.index > 0 || self.px4 => {
                self.east += (east - self.east).clamp(-0.5, 0.5);
                let there = (east - self.east).abs() < 0.6;
                if there {
                    self.held_for += 0.1;
                }
                there && self.held_for >= f64::from(item.params[0])
            }
            CMD_NAV_RETURN_TO_LAUNCH => {
                if self.px4 {
                    self.set_mode(RTL);
                }
                self.return_home();
                false
            }
            CMD_NAV_LAND => {
                self.descend();
                false
            }
            _ => true,
        };
        if done && !(self.hangs && self.index == 3) {
            self.out.push(Heard::MissionItemReached {
                seq: self.index as u16,
            });
            self.index += 1;
            self.held_for = 0.0;
        }
    }

    fn return_home(&mut self) {
        if self.east.abs() < 0.6 {
            self.descend();
        } else {
            self.east -= self.east.clamp(-0.5, 0.5);
        }
    }

    fn descend(&mut self) {
        self.descending = true;
        self.altitude = (self.altitude - 0.1).max(0.0);
        if self.on_ground() && !self.has(Quirk::StaysArmed) && !self.has(Quirk::NeverDisarms) {
            self.armed = false;
        }
    }

    /// What it says in these 100 ms.
    pub fn tick(&mut self, millis: u64) -> Vec<Frame> {
        self.fly(millis);
        if millis.is_multiple_of(1_000) {
            self.status(millis);
        }
        if millis.is_multiple_of(200) {
            let moving = |mode| self.armed && self.in_mode(mode);
            self.out.push(Heard::GlobalPosition {
                at: HOME.offset(self.east, 0.0),
                altitude_msl: 488.0 + self.altitude,
                altitude: self.altitude,
                north: 0.0,
                east: if moving(AUTO) && self.held_for == 0.0 && self.altitude > 1.0 {
                    5.0
                } else {
                    0.0
                },
                down: 0.0,
            });
        }
        let out = std::mem::take(&mut self.out);
        if self.silent {
            return Vec::new();
        }
        out.into_iter().map(|heard| Frame { from: THEM, heard }).collect()
    }

    fn status(&mut self, millis: u64) {
        let health = if self.has(Quirk::PrearmBad) {
            0
        } else {
            SENSOR_PREARM_CHECK
        };
        let away = if self.has(Quirk::HomeFar) { 200.0 } else { 0.0 };
        let landed = match () {
            () if self.on_ground() => LANDED_ON_GROUND,
            () if self.descending => LANDED_LANDING,
            () => LANDED_IN_AIR,
        };
        self.out.extend([
            Heard::Heartbeat {
                autopilot: if self.px4 {
                    AUTOPILOT_PX4
                } else {
                    AUTOPILOT_ARDUPILOTMEGA
                },
                vehicle: self.kind,
                base_mode: 1 | if self.armed { MODE_FLAG_ARMED } else { 0 },
                custom_mode: self.mode,
                system_status: 4,
            },
            Heard::SysStatus {
                present: SENSOR_PREARM_CHECK,
                enabled: SENSOR_PREARM_CHECK,
                health,
                voltage: Some(12.0),
                battery_remaining: Some(self.battery as u8),
            },
            Heard::GpsRaw {
                fix: if self.has(Quirk::NoFix) { 1 } else { 3 },
                satellites: Some(14),
            },
            Heard::MissionCurrent {
                seq: self.index as u16,
                state: 0,
            },
            Heard::FenceStatus {
                breached: self.breached,
                kind: if self.breached { 3 } else { 0 },
            },
        ]);
        if millis.is_multiple_of(5_000) && (millis == 0 || !self.has(Quirk::HomeUntold)) {
            self.out.push(Heard::HomePosition {
                at: HOME.offset(away, 0.0),
                altitude_msl: 488.0,
            });
        }
        if !self.has(Quirk::LandedUntold) {
            self.out.push(Heard::ExtendedSysState { landed });
        }
    }
}
