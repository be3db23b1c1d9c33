//! Reading back what the autopilot holds, and comparing it with what it was given. Uploads are not atomic: after a
//! rejected one an autopilot may hold a mixture, so what it holds is judged, never what it acknowledged.

use super::super::wire::number::{
    CMD_DO_CHANGE_SPEED, CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION, CMD_NAV_LOITER_TIME,
    CMD_NAV_RETURN_TO_LAUNCH, CMD_NAV_TAKEOFF, CMD_NAV_WAYPOINT, FRAME_GLOBAL_RELATIVE_ALT,
    FRAME_GLOBAL_RELATIVE_ALT_INT, MISSION_ACCEPTED,
};
use super::super::wire::{Heard, Item, ListKind, Said};
use super::modes::Family;
use super::upload::{ANSWER, ListTrouble, SENDINGS};
use crate::clock::BootTime;

/// Degrees × 10⁷: a few centimetres. Autopilots round.
const PLACE: i64 = 5;
/// Metres: autopilots round.
const ALTITUDE: f32 = 0.5;
/// Seconds of a hold: ArduPilot keeps whole ones.
const HOLD: f32 = 1.0;
/// Metres a second.
const SPEED: f32 = 0.1;
/// A list that is longer than this is not ours.
const MOST_ITEMS: u16 = 1000;

/// One list that is read back.
#[derive(Debug, Clone)]
pub struct ReadBack {
    list: ListKind,
    count: Option<u16>,
    items: Vec<Item>,
    next: BootTime,
    unanswered: u8,
    refused: Option<u8>,
    end: Option<Result<(), ListTrouble>>,
}

impl ReadBack {
    /// To be asked for from `now` on.
    pub fn new(list: ListKind, now: BootTime) -> Self {
        ReadBack {
            list,
            count: None,
            items: Vec::new(),
            next: now,
            unanswered: 0,
            refused: None,
            end: None,
        }
    }

    /// Which list it is.
    pub fn list(&self) -> ListKind {
        self.list
    }

    /// What was read; complete once it ended well.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Takes in what belongs to it.
    pub fn hear(&mut self, heard: &Heard, now: BootTime) {
        let asked = self.unanswered > 0 && self.end.is_none();
        match heard {
            Heard::MissionCount { list, count } if asked && *list == self.list && self.count.is_none() => {
                self.count = Some(*count);
                self.forward(now);
            }
            // One that comes twice, or was not asked for, is dropped.
            Heard::MissionItem(item)
                if item.list == self.list
                    && self.count.is_some()
                    && self.end.is_none()
                    && usize::from(item.seq) == self.items.len() =>
            {
                self.items.push(*item);
                self.forward(now);
            }
            Heard::MissionAck { list, result }
                if asked && *list == self.list && *result != MISSION_ACCEPTED && self.count.is_none() =>
            {
                // Perhaps about the upload before: it has its chance to answer all the same.
                self.refused = Some(*result);
            }
            _ => {}
        }
    }

    fn forward(&mut self, now: BootTime) {
        self.unanswered = 0;
        self.next = now;
    }

    /// What to say now, or how it ended.
    pub fn tick(&mut self, now: BootTime) -> (Option<Said>, Option<Result<(), ListTrouble>>) {
        if self.end.is_some() || now < self.next {
            return (None, self.end);
        }
        if let Some(count) = self.count {
            if count > MOST_ITEMS {
                self.end = Some(Err(ListTrouble::Count {
                    holds: count,
                    given: usize::from(MOST_ITEMS),
                }));
                return (None, self.end);
            }
            if self.items.len() == usize::from(count) {
                self.end = Some(Ok(()));
                let said = Said::MissionAck {
                    list: self.list,
                    result: MISSION_ACCEPTED,
                };
                return (Some(said), self.end);
            }
        }
        if self.unanswered >= SENDINGS {
            self.end = Some(Err(self
                .refused
                .map_or(ListTrouble::Silent, ListTrouble::Refused)));
            return (None, self.end);
        }
        self.unanswered += 1;
        self.next = now + ANSWER;
        let said = match self.count {
            None => Said::MissionRequestList { list: self.list },
            Some(_) => Said::MissionRequestInt {
                list: self.list,
                // Below `MOST_ITEMS`.
                seq: self.items.len() as u16,
            },
        };
        (Some(said), None)
    }
}

/// Whether what is held is what was given.
///
/// # Errors
/// The first difference.
pub fn compare(given: &[Item], held: &[Item], family: Family) -> Result<(), ListTrouble> {
    if given.len() != held.len() {
        return Err(ListTrouble::Count {
            holds: held.len() as u16,
            given: given.len(),
        });
    }
    let differs = given.iter().zip(held).find(|(given, held)| {
        // ArduPilot puts home there, wherever that is by now.
        let home = family == Family::ArduPilot && given.list == ListKind::Mission && given.seq == 0;
        !home && !same(given, held)
    });
    differs.map_or(Ok(()), |(given, _)| Err(ListTrouble::Differs(given.seq)))
}

fn same(given: &Item, held: &Item) -> bool {
    if (given.list, given.seq, given.command) != (held.list, held.seq, held.command) {
        return false;
    }
    // NaN is near nothing.
    let near = |a: f32, b: f32, most: f32| (a - b).abs() <= most;
    let place = (i64::from(given.x) - i64::from(held.x)).abs() <= PLACE
        && (i64::from(given.y) - i64::from(held.y)).abs() <= PLACE;
    let frame = frame(given.frame) == frame(held.frame);
    let altitude = near(given.z, held.z, ALTITUDE);
    let [first, second, ..] = given.params;
    let [held_first, held_second, ..] = held.params;
    match given.command {
        CMD_NAV_RETURN_TO_LAUNCH => true,
        CMD_DO_CHANGE_SPEED => near(second, held_second, SPEED),
        CMD_NAV_WAYPOINT | CMD_NAV_LOITER_TIME => place && frame && altitude && near(first, held_first, HOLD),
        // It climbs where it stands; where that is, is left out on the way to some.
        CMD_NAV_TAKEOFF => frame && altitude,
        CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION => place && first == held_first,
        _ => place && frame && altitude,
    }
}

/// Two numbers mean the same frame.
fn frame(number: u8) -> u8 {
    match number {
        FRAME_GLOBAL_RELATIVE_ALT_INT => FRAME_GLOBAL_RELATIVE_ALT,
        other => other,
    }
}

/// A number for a mission as it was read back, to know it again after a crash (FNV-1a). Not a proof against anybody.
/// What the autopilot changes by itself is left out: home, and which item is flown now.
pub fn fingerprint(held: &[Item], family: Family) -> u64 {
    let skip = usize::from(family == Family::ArduPilot);
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for item in held.iter().skip(skip) {
        add(&item.seq.to_le_bytes());
        add(&[item.frame]);
        add(&item.command.to_le_bytes());
        add(&item.x.to_le_bytes());
        add(&item.y.to_le_bytes());
        add(&item.z.to_bits().to_le_bytes());
        for param in item.params {
            add(&param.to_bits().to_le_bytes());
        }
    }
    hash
}

#[cfg(test)]
mod tests;
