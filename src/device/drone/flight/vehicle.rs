//! What is known of the vehicle: the last of each thing that it said, and when. Lives as long as the device.
//!
//! Frames come damaged, twice, or out of order: numbers that can't be are dropped here, and what a decision hangs on is
//! *settled* only when two heartbeats half a second apart say the same.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::geo::Position;
use super::super::plan::Home;
use super::super::wire::number::{
    AUTOPILOT_INVALID, LANDED_IN_AIR, LANDED_LANDING, LANDED_ON_GROUND, LANDED_TAKEOFF, LANDED_UNDEFINED,
    MSG_AUTOPILOT_VERSION, MSG_EXTENDED_SYS_STATE, MSG_FENCE_STATUS, MSG_GLOBAL_POSITION_INT,
    MSG_GPS_RAW_INT, MSG_HOME_POSITION, MSG_MISSION_CURRENT, MSG_SYS_STATUS, SENSOR_PREARM_CHECK,
    SEVERITY_WARNING,
};
use super::super::wire::{Frame, Heard, Node, SignatureTrouble};
use super::modes::{Family, Mode, armed};
use crate::clock::BootTime;

/// Without a heartbeat for so long, it is not heard any more: five were missed.
pub const SILENT: Duration = Duration::from_secs(5);
/// Three heartbeats were missed: its failsafe for a lost link may have found the same.
const GAP: Duration = Duration::from_millis(3_500);
/// A measured thing older than this says nothing about now.
const STALE: Duration = Duration::from_secs(5);
/// Two heartbeats that say the same are so far apart, or the second may be a copy of the first.
const SETTLED: Duration = Duration::from_millis(500);
/// Another ground station with our system id is believed to be there for so long after its last heartbeat.
const RIVAL: Duration = Duration::from_secs(10);
/// What the vehicle said in words is kept so far back.
const MOST_TEXTS: usize = 24;
/// Characters of one text; MAVLink's longest have a few hundred.
const LONGEST_TEXT: usize = 200;
/// Lower than this above home, it may stand on the ground.
const NEAR_THE_GROUND: f64 = 4.0;
/// Home and the vehicle are at most so far apart before a flight, in metres.
const AT_HOME: f64 = 30.0;
/// Heights that are looked at to tell a landing from a fall or from a reboot, which sets the height to zero.
const HEIGHTS: usize = 6;

/// The messages that are asked for, and whose coming is watched.
pub(super) const WATCHED: [u32; 8] = [
    MSG_GLOBAL_POSITION_INT,
    MSG_SYS_STATUS,
    MSG_EXTENDED_SYS_STATE,
    MSG_MISSION_CURRENT,
    MSG_GPS_RAW_INT,
    MSG_FENCE_STATUS,
    MSG_AUTOPILOT_VERSION,
    MSG_HOME_POSITION,
];

/// Where it is and how it moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fix {
    /// When that was heard.
    pub at: BootTime,
    /// Where.
    pub position: Position,
    /// Metres above home.
    pub altitude: f64,
    /// Metres a second over ground.
    pub speed: f64,
    /// Metres a second up.
    pub climb: f64,
}

/// What a heartbeat said.
#[derive(Debug, Clone, Copy)]
struct Beat {
    at: BootTime,
    /// When the mode and the armed bit were first heard to be as they are.
    since: BootTime,
    family: Family,
    kind: u8,
    armed: bool,
    custom_mode: u32,
}

/// What was said in words (STATUSTEXT).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// When.
    pub at: BootTime,
    /// MAV_SEVERITY: 0 emergency … 7 debug.
    pub severity: u8,
    /// The words.
    pub text: String,
}

/// MAV_LANDED_STATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    /// It stands.
    OnGround,
    /// It flies.
    InAir,
    /// It takes off.
    TakingOff,
    /// It lands.
    Landing,
}

/// Everything that is known of one vehicle.
#[derive(Debug, Clone)]
pub struct Vehicle {
    of: Node,
    us: Node,
    beat: Option<Beat>,
    fix: Option<Fix>,
    heights: VecDeque<f64>,
    landed: Option<(BootTime, Landed)>,
    /// The landed state while it was still armed: a disarmed vehicle says "on the ground" wherever it is.
    landed_armed: Option<Landed>,
    battery: Option<u8>,
    voltage: Option<f32>,
    gps: Option<(BootTime, u8, Option<u8>)>,
    prearm: Option<(BootTime, bool)>,
    home: Option<Home>,
    firmware: Option<u32>,
    current: Option<u16>,
    reached: Option<(BootTime, u16)>,
    breach: Option<(BootTime, bool, u8)>,
    rival: Option<BootTime>,
    texts: VecDeque<Text>,
    signature_trouble: Option<SignatureTrouble>,
    /// When it was heard again after it was not, and how long it was not.
    gap: Option<(BootTime, Duration)>,
    watched: [Option<BootTime>; WATCHED.len()],
}

impl Vehicle {
    /// Nothing is known yet of `of`; we are `us`.
    pub fn new(of: Node, us: Node) -> Self {
        Vehicle {
            of,
            us,
            beat: None,
            fix: None,
            heights: VecDeque::new(),
            landed: None,
            landed_armed: None,
            battery: None,
            voltage: None,
            gps: None,
            prearm: None,
            home: None,
            firmware: None,
            current: None,
            reached: None,
            breach: None,
            rival: None,
            texts: VecDeque::new(),
            signature_trouble: None,
            gap: None,
            watched: [None; WATCHED.len()],
        }
    }

    /// Takes in what was heard.
    pub fn hear(&mut self, frame: &Frame, now: BootTime) {
        if frame.from != self.of {
            // Another component of the vehicle itself may share our system id; another ground station must not.
            let ours = frame.from.system == self.us.system
                && (frame.from.system != self.of.system || frame.from == self.us);
            if ours && matches!(frame.heard, Heard::Heartbeat { .. }) {
                self.rival = Some(now);
            }
            return;
        }
        match &frame.heard {
            Heard::Heartbeat {
                autopilot,
                vehicle,
                base_mode,
                custom_mode,
                ..
            } => self.heartbeat(*autopilot, *vehicle, *base_mode, *custom_mode, now),
            Heard::GlobalPosition {
                at,
                altitude,
                north,
                east,
                down,
                ..
            } => {
                self.watch(MSG_GLOBAL_POSITION_INT, now);
                self.position(*at, *altitude, [*north, *east, *down], now);
            }
            Heard::SysStatus {
                present,
                enabled,
                health,
                voltage,
                battery_remaining,
            } => {
                self.watch(MSG_SYS_STATUS, now);
                self.battery = battery_remaining.filter(|percent| *percent <= 100);
                self.voltage = voltage.filter(|volts| volts.is_finite() && *volts >= 0.0);
                if present & SENSOR_PREARM_CHECK != 0 {
                    self.prearm = Some((now, enabled & health & SENSOR_PREARM_CHECK != 0));
                }
            }
            Heard::GpsRaw { fix, satellites } => {
                self.watch(MSG_GPS_RAW_INT, now);
                self.gps = Some((now, *fix, *satellites));
            }
            Heard::ExtendedSysState { landed } => {
                self.watch(MSG_EXTENDED_SYS_STATE, now);
                self.landed_state(*landed, now);
            }
            Heard::StatusText { severity, text } => {
                self.texts.push_back(Text {
                    at: now,
                    severity: *severity,
                    text: text
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(LONGEST_TEXT)
                        .collect(),
                });
                while self.texts.len() > MOST_TEXTS {
                    self.texts.pop_front();
                }
            }
            Heard::MissionCurrent { seq, .. } => {
                self.watch(MSG_MISSION_CURRENT, now);
                self.current = Some(*seq);
            }
            Heard::MissionItemReached { seq } => self.reached = Some((now, *seq)),
            Heard::HomePosition { at, altitude_msl } => {
                if let Some(at) = real(*at).filter(|_| altitude_msl.is_finite()) {
                    self.watch(MSG_HOME_POSITION, now);
                    self.home = Some(Home {
                        at,
                        altitude_msl: *altitude_msl,
                    });
                }
            }
            Heard::AutopilotVersion { firmware, .. } => {
                self.watch(MSG_AUTOPILOT_VERSION, now);
                self.firmware = Some(*firmware);
            }
            Heard::FenceStatus { breached, kind } => {
                self.watch(MSG_FENCE_STATUS, now);
                let since = match self.breach {
                    Some((since, true, _)) if *breached => since,
                    _ => now,
                };
                self.breach = Some((since, *breached, *kind));
            }
            _ => {}
        }
    }

    /// What the link has to say about its signatures.
    pub fn note_signatures(&mut self, trouble: Option<SignatureTrouble>) {
        self.signature_trouble = trouble;
    }

    /// What its signatures have against being heard, or against hearing us.
    pub fn signature_trouble(&self) -> Option<SignatureTrouble> {
        self.signature_trouble
    }

    fn watch(&mut self, message: u32, now: BootTime) {
        if let Some(index) = WATCHED.iter().position(|one| *one == message) {
            self.watched[index] = Some(now);
        }
    }

    fn heartbeat(&mut self, autopilot: u8, kind: u8, base_mode: u8, custom_mode: u32, now: BootTime) {
        // A gimbal, or a ground station: no autopilot.
        if autopilot == AUTOPILOT_INVALID {
            return;
        }
        let armed = armed(base_mode);
        if let Some(beat) = self.beat
            && now.saturating_since(beat.at) >= GAP
        {
            self.gap = Some((now, now.saturating_since(beat.at)));
        }
        let since = match self.beat {
            Some(beat) if (beat.armed, beat.custom_mode) == (armed, custom_mode) => beat.since,
            _ => now,
        };
        if armed && !self.beat.is_some_and(|beat| beat.armed) {
            self.landed_armed = None;
        }
        self.beat = Some(Beat {
            at: now,
            since,
            family: Family::of(autopilot),
            kind,
            armed,
            custom_mode,
        });
    }

    fn position(&mut self, at: Position, altitude: f64, [north, east, down]: [f64; 3], now: BootTime) {
        let numbers = [altitude, north, east, down];
        let Some(position) = real(at).filter(|_| numbers.iter().all(|number| number.abs() < 1e5)) else {
            return;
        };
        self.fix = Some(Fix {
            at: now,
            position,
            altitude,
            speed: north.hypot(east),
            climb: -down,
        });
        if self.armed() {
            self.heights.push_back(altitude);
            while self.heights.len() > HEIGHTS {
                self.heights.pop_front();
            }
        }
    }

    fn landed_state(&mut self, landed: u8, now: BootTime) {
        let state = match landed {
            LANDED_ON_GROUND => Landed::OnGround,
            LANDED_IN_AIR => Landed::InAir,
            LANDED_TAKEOFF => Landed::TakingOff,
            LANDED_LANDING => Landed::Landing,
            LANDED_UNDEFINED | 5.. => return,
        };
        self.landed = Some((now, state));
        if self.armed() {
            self.landed_armed = Some(state);
        }
    }

    /// Who it is.
    pub fn node(&self) -> Node {
        self.of
    }

    /// Who we are.
    pub fn us(&self) -> Node {
        self.us
    }

    /// Whether its heartbeat is heard.
    pub fn alive(&self, now: BootTime) -> bool {
        self.beat
            .is_some_and(|beat| now.saturating_since(beat.at) < SILENT)
    }

    /// How long it was not heard; for ever if it never was.
    pub fn silent_for(&self, now: BootTime) -> Duration {
        self.beat
            .map_or(Duration::MAX, |beat| now.saturating_since(beat.at))
    }

    /// When its last heartbeat was heard.
    pub fn last_heartbeat(&self) -> Option<BootTime> {
        self.beat.map(|beat| beat.at)
    }

    /// Whose autopilot it is.
    pub fn family(&self) -> Option<Family> {
        self.beat.map(|beat| beat.family)
    }

    /// Whether it is a multicopter (MAV_TYPE): nothing else is flown from here.
    pub fn multicopter(&self) -> bool {
        // Quadrotor, coaxial, helicopter, hexa, octo, tri, dodeca, deca.
        const TYPES: [u8; 8] = [2, 3, 4, 13, 14, 15, 29, 35];
        self.beat.is_some_and(|beat| TYPES.contains(&beat.kind))
    }

    /// MAV_TYPE.
    pub fn kind(&self) -> Option<u8> {
        self.beat.map(|beat| beat.kind)
    }

    /// The mode by its last heartbeat.
    pub fn mode(&self) -> Option<Mode> {
        self.beat.map(|beat| Mode::of(beat.family, beat.custom_mode))
    }

    /// The autopilot's own name of its mode, or `unknown`.
    pub fn mode_name(&self) -> String {
        self.beat.map_or_else(
            || "unknown".to_owned(),
            |beat| Mode::name(beat.family, beat.custom_mode),
        )
    }

    /// Since when its mode and its armed bit are as they are.
    pub fn mode_since(&self) -> Option<BootTime> {
        self.beat.map(|beat| beat.since)
    }

    /// How long it was not heard before its mode was found to be as it is, if that is why it was found only then.
    pub fn changed_unheard(&self) -> Option<Duration> {
        let since = self.mode_since()?;
        self.gap.filter(|(at, _)| *at == since).map(|(_, gap)| gap)
    }

    /// Whether it is armed, by its last heartbeat.
    pub fn armed(&self) -> bool {
        self.beat.is_some_and(|beat| beat.armed)
    }

    /// Armed and mode, when two heartbeats said the same.
    pub fn settled(&self) -> Option<(bool, Mode)> {
        let beat = self.beat?;
        let settled = beat.at.saturating_since(beat.since) >= SETTLED;
        settled.then(|| (beat.armed, Mode::of(beat.family, beat.custom_mode)))
    }

    /// MAV_LANDED_STATE, while it is told.
    pub fn landed(&self, now: BootTime) -> Option<Landed> {
        self.landed
            .filter(|(at, _)| now.saturating_since(*at) < STALE)
            .map(|(_, landed)| landed)
    }

    /// Whether it is in the air: by what it says, or else by its height. What is not told is on the ground.
    pub fn in_air(&self, now: BootTime) -> bool {
        match self.landed(now) {
            Some(landed) => landed != Landed::OnGround,
            None => self
                .fix(now)
                .is_some_and(|fix| fix.altitude > NEAR_THE_GROUND / 2.0),
        }
    }

    /// Whether it stood on the ground when it was disarmed, for what was heard before that.
    pub fn disarmed_on_ground(&self) -> bool {
        if self.landed_armed == Some(Landed::OnGround) {
            return true;
        }
        let low = self.heights.iter().all(|height| *height <= NEAR_THE_GROUND);
        // It may land on a hill or in a valley; it does not move then.
        let lands = match self.landed_armed {
            Some(landed) => landed == Landed::Landing,
            None => self.mode() == Some(Mode::Land),
        };
        let still = match (self.heights.front(), self.heights.back()) {
            (Some(first), Some(last)) => (first - last).abs() < 0.5,
            _ => true,
        };
        low || (lands && still)
    }

    /// Where it is and how it moves, while that is told.
    pub fn fix(&self, now: BootTime) -> Option<Fix> {
        self.fix.filter(|fix| now.saturating_since(fix.at) < STALE)
    }

    /// Where it last was.
    pub fn last_fix(&self) -> Option<Fix> {
        self.fix
    }

    /// Percent.
    pub fn battery(&self) -> Option<u8> {
        self.battery
    }

    /// Volts.
    pub fn voltage(&self) -> Option<f32> {
        self.voltage
    }

    /// GPS_FIX_TYPE and satellites, while they are told.
    pub fn gps(&self, now: BootTime) -> Option<(u8, Option<u8>)> {
        self.gps
            .filter(|(at, ..)| now.saturating_since(*at) < STALE)
            .map(|(_, fix, satellites)| (fix, satellites))
    }

    /// Whether its own checks before arming pass, and since when that was told; none if it does not say.
    pub fn prearm(&self) -> Option<(BootTime, bool)> {
        self.prearm
    }

    /// Where it returns to.
    pub fn home(&self) -> Option<Home> {
        self.home
    }

    /// Metres from where it returns to, while it tells where it is.
    pub fn from_home(&self, now: BootTime) -> Option<f64> {
        let (fix, home) = (self.fix(now)?, self.home?);
        Some(home.at.distance(fix.position))
    }

    /// The same, where that is too far for a flight to begin.
    pub fn elsewhere(&self, now: BootTime) -> Option<f64> {
        self.from_home(now).filter(|away| *away > AT_HOME)
    }

    /// Its firmware as `4.7.0`.
    pub fn version(&self) -> Option<String> {
        let [major, minor, patch, _] = self.firmware?.to_be_bytes();
        Some(format!("{major}.{minor}.{patch}"))
    }

    /// The mission item that is flown now.
    pub fn mission_current(&self) -> Option<u16> {
        self.current
    }

    /// The mission item that was reached last, and when.
    pub fn mission_reached(&self) -> Option<(BootTime, u16)> {
        self.reached
    }

    /// Since when it is outside its fence, and FENCE_BREACH.
    pub fn breach(&self) -> Option<(BootTime, u8)> {
        self.breach
            .filter(|(_, breached, _)| *breached)
            .map(|(since, _, kind)| (since, kind))
    }

    /// Whether somebody else uses our system id.
    pub fn rival(&self, now: BootTime) -> bool {
        self.rival.is_some_and(|at| now.saturating_since(at) < RIVAL)
    }

    /// What it said in words lately, the oldest first.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        self.texts.iter()
    }

    /// Warnings and worse since a moment, each once, at most four, for people; empty if there were none.
    pub fn reasons(&self, since: BootTime) -> String {
        let mut said: Vec<&str> = Vec::new();
        for text in self.texts.iter().rev() {
            let new = !said.contains(&text.text.as_str());
            if text.at >= since && text.severity <= SEVERITY_WARNING && new && said.len() < 4 {
                said.push(&text.text);
            }
        }
        said.reverse();
        said.join("; ")
    }

    /// When a watched message was last heard.
    pub(super) fn heard_at(&self, message: u32) -> Option<BootTime> {
        let index = WATCHED.iter().position(|one| *one == message)?;
        self.watched[index]
    }
}

/// A position that can be one. An autopilot without one says 0, 0.
fn real(at: Position) -> Option<Position> {
    let nowhere = at.latitude.abs() < 1e-6 && at.longitude.abs() < 1e-6;
    Position::new(at.latitude, at.longitude).filter(|_| !nowhere)
}

/// FENCE_BREACH in words.
pub(super) fn breach_name(kind: u8) -> &'static str {
    match kind {
        1 => "too low",
        2 => "too high",
        3 => "outside its boundary",
        _ => "outside",
    }
}

#[cfg(test)]
mod tests;
