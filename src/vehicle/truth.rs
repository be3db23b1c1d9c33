//! What really happened, for whoever judges what was said about it.

use std::time::Duration;

use super::faults::Act;
use super::mode::Mode;

/// Where the vehicle is between ground and sky, as MAVLink tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    /// It stands.
    OnGround,
    /// It flies.
    InAir,
    /// It climbs to the height of its take-off.
    TakingOff,
    /// It comes down to land.
    Landing,
}

/// Who wanted a change of mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody on the wire: a system id and a component id.
    Command(u8, u8),
    /// The pilot.
    Pilot,
    /// A failsafe of the vehicle.
    Failsafe,
    /// The mission itself, or the vehicle's start.
    Vehicle,
}

/// A command as it came over the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Received {
    /// When.
    pub at: Duration,
    /// From which system and component.
    pub from: (u8, u8),
    /// MAV_CMD.
    pub command: u16,
    /// `confirmation`.
    pub confirmation: u8,
    /// `param1` to `param7`.
    pub params: [f32; 7],
    /// MAV_RESULT of the (last) answer, where there was one.
    pub result: Option<u8>,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It is initialised.
    Booted,
    /// It can say where it is.
    PositionKnown,
    /// Its motors may turn.
    Armed,
    /// Its motors are off.
    Disarmed,
    /// Its mode is another.
    Mode(Mode, Cause),
    /// It left the ground.
    TakeOff,
    /// It came to an item of its mission.
    Reached(u16),
    /// It stands again.
    Landed,
    /// It hit the ground, or fell.
    Crashed,
    /// A list was uploaded: `mission` or `fence`, and its length.
    Uploaded(&'static str, usize),
    /// It left the uploaded fence.
    Outside,
    /// A failsafe acted.
    Failsafe(&'static str),
    /// It says something: MAV_SEVERITY and text.
    Says(u8, String),
    /// Something was done to it or to its cable.
    Trouble(Act),
}

/// What really happened. Degrees, metres above where it was switched on, seconds since then.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Until when all this is known.
    pub at: Duration,
    /// Where it is.
    pub latitude: f64,
    /// Where it is.
    pub longitude: f64,
    /// How high it is.
    pub altitude: f64,
    /// How fast it moves over ground.
    pub speed: f64,
    /// Where home is, once it is known.
    pub home: Option<(f64, f64)>,
    /// Whether the motors may turn.
    pub armed: bool,
    /// Its mode.
    pub mode: Mode,
    /// Whether it stands.
    pub landed: Landed,
    /// What is left in the battery, percent.
    pub battery: f64,
    /// The item of the mission that is flown, or is next.
    pub item: u16,
    /// When it left the ground.
    pub take_offs: Vec<Duration>,
    /// When it stood again.
    pub landings: Vec<Duration>,
    /// When it was armed.
    pub arms: Vec<Duration>,
    /// Its modes since it was switched on, and who wanted them.
    pub modes: Vec<(Duration, Mode, Cause)>,
    /// How far from home it ever was, metres over ground.
    pub farthest: f64,
    /// How high it ever was.
    pub highest: f64,
    /// How long it was in the air and outside the uploaded fence.
    pub outside: Duration,
    /// Whether it fell.
    pub crashed: bool,
    /// How often it was switched on.
    pub boots: u32,
    /// What it was told, in order.
    pub commands: Vec<Received>,
}

impl Truth {
    /// Whether it is off the ground.
    pub fn airborne(&self) -> bool {
        self.landed != Landed::OnGround
    }

    /// How often it was told a command (MAV_CMD).
    pub fn told(&self, command: u16) -> usize {
        self.commands
            .iter()
            .filter(|received| received.command == command)
            .count()
    }
}
