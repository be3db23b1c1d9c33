//! What can be done to the vehicle itself, apart from the wire.

use std::fmt;
use std::time::Duration;

use super::autopilot::Autopilot;
use super::config::Wind;
use super::faults::Act;
use super::mode::Mode;
use super::truth::{Cause, Event};

/// How long the autopilot says nothing while it starts again.
const RESTART: Duration = Duration::from_millis(1500);

/// Something that goes wrong with the vehicle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// The autopilot starts again. On the ground it is as if just switched on. In the air it stays armed, forgets the
    /// streams, and comes back landing: what a real one does then is nowhere promised.
    Reboot,
    /// The pilot takes over by choosing a mode.
    Pilot(Mode),
    /// The battery is suddenly at so many percent.
    Battery(f64),
    /// Another wind, for so long.
    Gust(Wind, Duration),
    /// No satellites, for so long.
    GpsLoss(Duration),
    /// Arming and disarming have no effect, whatever the answer: it stays as it is, for so long.
    StuckArming(Duration),
    /// A command (MAV_CMD) is answered by ACCEPTED and does nothing, for so long.
    Hollow(u16, Duration),
    /// A command is answered by a result (MAV_RESULT) and does nothing, for so long.
    Refused(u16, u8, Duration),
    /// A command is done and not answered, for so long.
    Unanswered(u16, Duration),
    /// All answers to commands come so much later, for so long.
    SlowAnswers(Duration, Duration),
    /// Somebody else speaks on the same wire: heartbeats of a system and a component, for so long.
    OtherStation(u8, u8, Duration),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Reboot => f.write_str("the autopilot starts again"),
            Trouble::Pilot(mode) => write!(f, "the pilot takes over: {mode}"),
            Trouble::Battery(percent) => write!(f, "the battery drops to {percent} %"),
            Trouble::Gust(wind, lasts) => {
                write!(f, "wind of {} m/s from {}° for {lasts:?}", wind.speed, wind.from)
            }
            Trouble::GpsLoss(lasts) => write!(f, "no satellites for {lasts:?}"),
            Trouble::StuckArming(lasts) => write!(f, "arming and disarming are stuck for {lasts:?}"),
            Trouble::Hollow(command, lasts) => {
                write!(f, "command {command} is accepted without effect for {lasts:?}")
            }
            Trouble::Refused(command, result, lasts) => {
                write!(f, "command {command} is answered by {result} for {lasts:?}")
            }
            Trouble::Unanswered(command, lasts) => {
                write!(f, "command {command} is not answered for {lasts:?}")
            }
            Trouble::SlowAnswers(by, lasts) => write!(f, "answers come {by:?} later for {lasts:?}"),
            Trouble::OtherStation(system, component, lasts) => {
                write!(f, "another station {system}/{component} speaks for {lasts:?}")
            }
        }
    }
}

/// Troubles that last, each with its end.
#[derive(Debug, Default)]
pub(super) struct Lasting(Vec<(Trouble, Duration)>);

impl Lasting {
    fn add(&mut self, trouble: Trouble, until: Duration) {
        self.0.push((trouble, until));
    }

    pub(super) fn expire(&mut self, now: Duration) {
        self.0.retain(|(_, until)| now < *until);
    }

    pub(super) fn wind(&self) -> Option<Wind> {
        self.0.iter().rev().find_map(|(trouble, _)| match trouble {
            Trouble::Gust(wind, _) => Some(*wind),
            _ => None,
        })
    }

    pub(super) fn no_satellites(&self) -> bool {
        self.0
            .iter()
            .any(|(trouble, _)| matches!(trouble, Trouble::GpsLoss(_)))
    }

    pub(super) fn stuck_arming(&self) -> bool {
        self.0
            .iter()
            .any(|(trouble, _)| matches!(trouble, Trouble::StuckArming(_)))
    }

    /// The result with which a command is answered instead of being done.
    pub(super) fn refusal(&self, command: u16) -> Option<u8> {
        self.0.iter().find_map(|(trouble, _)| match trouble {
            Trouble::Hollow(which, _) if *which == command => Some(0),
            Trouble::Refused(which, result, _) if *which == command => Some(*result),
            _ => None,
        })
    }

    pub(super) fn unanswered(&self, command: u16) -> bool {
        self.0
            .iter()
            .any(|(trouble, _)| matches!(trouble, Trouble::Unanswered(which, _) if *which == command))
    }

    pub(super) fn slowness(&self) -> Duration {
        self.0
            .iter()
            .find_map(|(trouble, _)| match trouble {
                Trouble::SlowAnswers(by, _) => Some(*by),
                _ => None,
            })
            .unwrap_or_default()
    }

    pub(super) fn others(&self) -> impl Iterator<Item = (u8, u8)> {
        self.0.iter().filter_map(|(trouble, _)| match trouble {
            Trouble::OtherStation(system, component, _) => Some((*system, *component)),
            _ => None,
        })
    }
}

impl Autopilot {
    /// Lets something go wrong, now.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.event(Event::Trouble(Act::Vehicle(trouble)));
        match trouble {
            Trouble::Reboot => self.restart(RESTART),
            Trouble::Pilot(mode) => self.change_mode(mode, Cause::Pilot),
            Trouble::Battery(percent) => {
                self.battery.left = self.battery.capacity * percent.clamp(0.0, 100.0) / 100.0;
            }
            Trouble::Gust(_, lasts)
            | Trouble::GpsLoss(lasts)
            | Trouble::StuckArming(lasts)
            | Trouble::Hollow(_, lasts)
            | Trouble::Refused(_, _, lasts)
            | Trouble::Unanswered(_, lasts)
            | Trouble::SlowAnswers(_, lasts)
            | Trouble::OtherStation(_, _, lasts) => self.lasting.add(trouble, self.now + lasts),
        }
    }
}
