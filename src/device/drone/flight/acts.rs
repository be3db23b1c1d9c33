//! What goes into a flight and comes out of it.

use super::super::plan::Plan;
use super::super::settings::DroneSettings;
use super::super::wire::Said;
use super::summary::Summary;
use crate::clock::BootTime;

/// What is to be flown.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The process's id.
    pub process: String,
    /// What it asks for.
    pub plan: Plan,
    /// The drone as it is configured.
    pub drone: DroneSettings,
    /// Everything must be on the ground by then; `max_time` holds besides.
    pub end: Option<BootTime>,
}

/// What somebody wants instead of the flight, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Return to launch; before the start: stand down.
    Return(String),
    /// Land where it is; before the start: stand down.
    Land(String),
    /// Before the start: stand down; in the air: return.
    Stop(String),
}

impl Order {
    pub(super) fn why(&self) -> &str {
        match self {
            Order::Return(why) | Order::Land(why) | Order::Stop(why) => why,
        }
    }
}

/// How far a flight got, for whoever has to go on after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordPhase {
    /// It may be armed, on the ground.
    Armed,
    /// The start may have been said.
    Started,
    /// It may be on its way home.
    Returning,
}

/// What must outlive a crash. It is written before arming and may be forgotten once [`Act::Over`] came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The process's id.
    pub process: String,
    /// [`super::readback::fingerprint`] of the mission as it was read back.
    pub mission: u64,
    /// How far it got.
    pub phase: RecordPhase,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Said to the vehicle.
    Send(Said),
    /// The server is asked whether the process is still ours; the answer goes to [`super::Flight::confirmed`].
    Confirm,
    /// Written where it outlives a crash; then [`super::Flight::recorded`]. Only [`RecordPhase::Returning`] is not waited for.
    Record(Record),
    /// Told to whoever waits for the process.
    Progress(String),
    /// The flight is over. The last act, and there is always one.
    Over(End),
}

/// How a flight ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// A dry run: it could fly now. What was found.
    Ready(String),
    /// As planned: landed and disarmed.
    Flown(Summary),
    /// It is down and disarmed, but not as planned.
    Returned {
        /// Why it did not go on.
        why: String,
        /// What it flew.
        summary: Summary,
    },
    /// It did not leave the ground by our doing, and is disarmed as far as it was ours to disarm.
    NotFlown {
        /// Why.
        why: String,
    },
    /// Somebody else has it, or nobody hears it: nothing is said to it any more.
    HandsOff {
        /// Why.
        why: String,
        /// What was seen until then.
        summary: Summary,
    },
}

/// Where a flight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for a heartbeat.
    Connecting,
    /// Reads, perhaps sets, the autopilot's failsafes.
    Failsafes,
    /// Puts it into the mode in which it is armed.
    SettingMode,
    /// Waits until all checks pass.
    Checking,
    /// Gives it fence and mission, and reads them back.
    Uploading,
    /// Asks the server, and arms.
    Arming,
    /// Asks the server again, and starts the mission.
    Starting,
    /// Flies the mission.
    EnRoute,
    /// Stays at a point of the mission for as long as the plan says.
    Holding,
    /// Flies home.
    Returning,
    /// Lands.
    Landing,
    /// Disarms, and clears the mission.
    StandingDown,
    /// Finds out after a crash whose flight this is.
    Resuming,
    /// Over.
    Over,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Phase::Connecting => "connecting",
            Phase::Failsafes => "checking failsafes",
            Phase::SettingMode => "setting the mode",
            Phase::Checking => "checking",
            Phase::Uploading => "uploading",
            Phase::Arming => "arming",
            Phase::Starting => "starting",
            Phase::EnRoute => "en route",
            Phase::Holding => "holding",
            Phase::Returning => "returning",
            Phase::Landing => "landing",
            Phase::StandingDown => "standing down",
            Phase::Resuming => "resuming",
            Phase::Over => "over",
        })
    }
}
