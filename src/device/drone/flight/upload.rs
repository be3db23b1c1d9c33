//! Giving the autopilot a list (<https://mavlink.io/en/services/mission.html>): it is told how many items there are, asks
//! for one after the other, and acknowledges. What it really holds is seen by reading back ([`super::readback`]).
//!
//! ArduPilot asks with MISSION_REQUEST, PX4 with MISSION_REQUEST_INT; both are answered with MISSION_ITEM_INT. An autopilot
//! that is still starting answers NO_SPACE: later it will not.

use std::time::Duration;

use super::super::wire::number::{
    MISSION_ACCEPTED, MISSION_ERROR, MISSION_INVALID_SEQUENCE, MISSION_NO_SPACE, MISSION_OPERATION_CANCELLED,
};
use super::super::wire::{Heard, Item, ListKind, Said};
use crate::clock::BootTime;

/// How long an answer may take.
pub(super) const ANSWER: Duration = Duration::from_millis(1500);
/// How often a thing is said without any answer.
pub(super) const SENDINGS: u8 = 8;
/// How often emptying a list is said, and how often it is asked afterwards: whoever waits for the end of a flight waits for this.
const CLEARINGS: u8 = 5;
/// Until an autopilot that is starting, or that gave an upload up, is asked again.
const LATER: Duration = Duration::from_secs(3);
/// The longest time in all.
const LONGEST: Duration = Duration::from_secs(90);

/// Why a list is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListTrouble {
    /// MAV_MISSION_RESULT.
    Refused(u8),
    /// Nobody answered, or not to the end.
    Silent,
    /// It holds another number of items than it was given.
    Count {
        /// It holds.
        holds: u16,
        /// It was given.
        given: usize,
    },
    /// An item differs from what was given.
    Differs(u16),
}

impl ListTrouble {
    /// For people: `the mission was refused with INVALID_PARAM5_X`.
    pub fn text(self, list: ListKind) -> String {
        let list = list_name(list);
        match self {
            ListTrouble::Refused(result) => {
                format!(
                    "the autopilot refused the {list} with {}",
                    mission_result_name(result)
                )
            }
            ListTrouble::Silent => format!("the autopilot did not take the {list}: it stopped answering"),
            ListTrouble::Count { holds, given } => {
                format!("the {list} was read back with {holds} items instead of {given}")
            }
            ListTrouble::Differs(seq) => {
                format!("the {list} was read back differently than it was sent, at item {seq}")
            }
        }
    }
}

/// A list by its name.
pub(super) fn list_name(list: ListKind) -> &'static str {
    match list {
        ListKind::Mission => "mission",
        ListKind::Fence => "fence",
    }
}

/// MAV_MISSION_RESULT by its name.
pub fn mission_result_name(result: u8) -> &'static str {
    const NAMES: [&str; 16] = [
        "ACCEPTED",
        "ERROR",
        "UNSUPPORTED_FRAME",
        "UNSUPPORTED",
        "NO_SPACE",
        "INVALID",
        "INVALID_PARAM1",
        "INVALID_PARAM2",
        "INVALID_PARAM3",
        "INVALID_PARAM4",
        "INVALID_PARAM5_X",
        "INVALID_PARAM6_Y",
        "INVALID_PARAM7",
        "INVALID_SEQUENCE",
        "DENIED",
        "OPERATION_CANCELLED",
    ];
    NAMES
        .get(usize::from(result))
        .copied()
        .unwrap_or("a result that is not known here")
}

/// One list on its way.
#[derive(Debug, Clone)]
pub struct Upload {
    list: ListKind,
    items: Vec<Item>,
    began: BootTime,
    next: BootTime,
    /// How many items it has asked for; it may ask for one again.
    served: usize,
    /// To be said at once: an item that was asked for.
    asked: Option<u16>,
    /// Said without any answer since the last step forward.
    unanswered: u8,
    /// It will be told the number of items again, from the start.
    refused: Option<u8>,
    end: Option<Result<(), ListTrouble>>,
}

impl Upload {
    /// To be said from `now` on.
    pub fn new(list: ListKind, items: Vec<Item>, now: BootTime) -> Self {
        Upload {
            list,
            items,
            began: now,
            next: now,
            served: 0,
            asked: None,
            unanswered: 0,
            refused: None,
            end: None,
        }
    }

    /// Which list it is.
    pub fn list(&self) -> ListKind {
        self.list
    }

    /// Takes in what belongs to the upload.
    pub fn hear(&mut self, heard: &Heard, now: BootTime) {
        if self.end.is_some() {
            return;
        }
        match heard {
            Heard::MissionRequest { list, seq } if *list == self.list => {
                let index = usize::from(*seq);
                // Before it was told the number, or beyond it: of somebody else's upload.
                if self.unanswered == 0 && self.served == 0 || index >= self.items.len() {
                    return;
                }
                if index >= self.served {
                    self.unanswered = 0;
                    self.served = index + 1;
                }
                self.asked = Some(*seq);
            }
            Heard::MissionAck { list, result } if *list == self.list => self.acknowledged(*result, now),
            _ => {}
        }
    }

    fn acknowledged(&mut self, result: u8, now: BootTime) {
        let all = self.served == self.items.len();
        match result {
            // One that comes too early is about something before.
            MISSION_ACCEPTED if !all => {}
            // The acknowledgement was lost and the last item came twice: reading back will tell.
            MISSION_ACCEPTED | MISSION_ERROR | MISSION_INVALID_SEQUENCE if all => self.end = Some(Ok(())),
            // Items that came twice or out of order: it will ask for what it wants.
            MISSION_INVALID_SEQUENCE => {}
            MISSION_NO_SPACE | MISSION_OPERATION_CANCELLED | MISSION_ERROR => {
                self.refused = Some(result);
                self.served = 0;
                self.unanswered = 0;
                self.asked = None;
                self.next = now + LATER;
            }
            other => self.end = Some(Err(ListTrouble::Refused(other))),
        }
    }

    /// What to say now, or how it ended. That it was taken means only that it can be read back.
    pub fn tick(&mut self, now: BootTime) -> (Option<Said>, Option<Result<(), ListTrouble>>) {
        if self.end.is_some() {
            return (None, self.end);
        }
        if let Some(item) = self.asked.take().and_then(|seq| self.items.get(usize::from(seq))) {
            self.next = now + ANSWER;
            return (Some(Said::MissionItem(*item)), None);
        }
        let over = now.saturating_since(self.began) >= LONGEST;
        if now < self.next && !over {
            return (None, None);
        }
        if over || self.unanswered >= SENDINGS {
            let all = self.served == self.items.len() && self.served > 0;
            let trouble = self.refused.map_or(ListTrouble::Silent, ListTrouble::Refused);
            self.end = Some(if all { Ok(()) } else { Err(trouble) });
            return (None, self.end);
        }
        self.unanswered += 1;
        self.next = now + ANSWER;
        let said = match self.served.checked_sub(1).and_then(|last| self.items.get(last)) {
            Some(item) => Said::MissionItem(*item),
            None => Said::MissionCount {
                list: self.list,
                count: u16::try_from(self.items.len()).unwrap_or(u16::MAX),
            },
        };
        (Some(said), None)
    }
}

/// Emptying a list, until it is told to be empty: an acknowledgement alone may be that of an upload which was broken off, whose
/// last item arrives after the command that should have emptied it.
#[derive(Debug, Clone)]
pub struct Clear {
    list: ListKind,
    next: BootTime,
    /// How often it was said.
    said: u8,
    /// How often its length was asked for since it was last acknowledged.
    asked: Option<u8>,
    end: Option<bool>,
}

impl Clear {
    /// To be said from `now` on.
    pub fn new(list: ListKind, now: BootTime) -> Self {
        Clear {
            list,
            next: now,
            said: 0,
            asked: None,
            end: None,
        }
    }

    /// Which list it is.
    pub fn list(&self) -> ListKind {
        self.list
    }

    /// Takes in what belongs to it.
    pub fn hear(&mut self, heard: &Heard, now: BootTime) {
        match heard {
            // An upload that was broken off may be acknowledged as cancelled first.
            Heard::MissionAck { list, result }
                if *list == self.list
                    && self.said > 0
                    && self.asked.is_none()
                    && *result == MISSION_ACCEPTED =>
            {
                (self.asked, self.next) = (Some(0), now);
            }
            Heard::MissionCount { list, count }
                if *list == self.list && self.asked.is_some_and(|asked| asked > 0) =>
            {
                if *count <= self.always() {
                    self.end = Some(true);
                } else {
                    (self.asked, self.next) = (None, now);
                }
            }
            _ => {}
        }
    }

    /// How many items are no flight: a mission may hold home alone.
    fn always(&self) -> u16 {
        match self.list {
            ListKind::Mission => 1,
            ListKind::Fence => 0,
        }
    }

    /// What to say now, or whether it was emptied.
    pub fn tick(&mut self, now: BootTime) -> (Option<Said>, Option<bool>) {
        if self.end.is_some() || now < self.next {
            return (None, self.end);
        }
        let often = self.asked.as_mut().unwrap_or(&mut self.said);
        if *often >= CLEARINGS {
            self.end = Some(false);
            return (None, self.end);
        }
        *often += 1;
        self.next = now + ANSWER;
        let list = self.list;
        let said = match self.asked {
            None => Said::MissionClearAll { list },
            Some(_) => Said::MissionRequestList { list },
        };
        (Some(said), None)
    }
}

#[cfg(test)]
mod tests;
