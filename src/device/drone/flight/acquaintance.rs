//! Asks the vehicle for what it does not say by itself, until it comes, and again when it stops: an autopilot streams
//! little unasked, and forgets after a reboot what it was asked for.

use std::time::Duration;

use super::super::wire::Said;
use super::super::wire::number::{
    CMD_REQUEST_MESSAGE, CMD_SET_MESSAGE_INTERVAL, MSG_AUTOPILOT_VERSION, MSG_EXTENDED_SYS_STATE,
    MSG_FENCE_STATUS, MSG_GLOBAL_POSITION_INT, MSG_GPS_RAW_INT, MSG_HOME_POSITION, MSG_MISSION_CURRENT,
    MSG_SYS_STATUS,
};
use super::vehicle::Vehicle;
use crate::clock::BootTime;

/// Between two questions: at 57,600 baud the answers need room, too.
const APART: Duration = Duration::from_millis(200);
/// A stream that is silent for so long is asked for again.
const STOPPED: Duration = Duration::from_secs(5);
/// How long an answer may take, at first.
const PATIENCE: Duration = Duration::from_secs(3);
/// What never comes is asked for this seldom: some autopilots don't have it.
const SELDOM: Duration = Duration::from_secs(60);
/// Home moves when ArduPilot arms; it is asked for anew this often.
const HOME_AGAIN: Duration = Duration::from_secs(30);
/// Where it stands elsewhere no flight begins until home is set there; whoever waits for a refusal waits for this.
const HOME_MOVED: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Wish {
    message: u32,
    /// Microseconds between two; none: once.
    interval: Option<u32>,
    asked: Option<BootTime>,
    patience: Duration,
}

impl Wish {
    const fn new(message: u32, interval: Option<u32>) -> Self {
        Wish {
            message,
            interval,
            asked: None,
            patience: PATIENCE,
        }
    }

    /// Whether what came is new enough.
    fn content(&self, vehicle: &Vehicle, now: BootTime) -> bool {
        let old = match (self.interval, self.message) {
            (Some(_), _) => STOPPED,
            (None, MSG_HOME_POSITION) if !vehicle.armed() && vehicle.elsewhere(now).is_some() => HOME_MOVED,
            (None, MSG_HOME_POSITION) => HOME_AGAIN,
            (None, _) => return vehicle.heard_at(self.message).is_some(),
        };
        vehicle
            .heard_at(self.message)
            .is_some_and(|at| now.saturating_since(at) < old)
    }

    fn said(&self) -> Said {
        let mut params = [0.0; 7];
        // Message ids and these intervals are exact as floats.
        params[0] = self.message as f32;
        let command = match self.interval {
            Some(micros) => {
                params[1] = micros as f32;
                CMD_SET_MESSAGE_INTERVAL
            }
            None => CMD_REQUEST_MESSAGE,
        };
        Said::CommandLong {
            command,
            confirmation: 0,
            params,
        }
    }
}

/// Asks for streams, the version and home. One for each device, beside [`Vehicle`].
#[derive(Debug, Clone)]
pub struct Acquaintance {
    wishes: [Wish; 8],
    last: Option<BootTime>,
}

impl Default for Acquaintance {
    fn default() -> Self {
        const SECOND: u32 = 1_000_000;
        Acquaintance {
            wishes: [
                Wish::new(MSG_GLOBAL_POSITION_INT, Some(SECOND / 4)),
                Wish::new(MSG_SYS_STATUS, Some(SECOND)),
                Wish::new(MSG_EXTENDED_SYS_STATE, Some(SECOND)),
                Wish::new(MSG_MISSION_CURRENT, Some(SECOND)),
                Wish::new(MSG_GPS_RAW_INT, Some(SECOND)),
                Wish::new(MSG_FENCE_STATUS, Some(SECOND)),
                Wish::new(MSG_AUTOPILOT_VERSION, None),
                Wish::new(MSG_HOME_POSITION, None),
            ],
            last: None,
        }
    }
}

impl Acquaintance {
    /// What to ask now, if anything. Nothing is asked of who is not heard.
    pub fn tick(&mut self, vehicle: &Vehicle, now: BootTime) -> Option<Said> {
        let soon = self.last.is_some_and(|last| now.saturating_since(last) < APART);
        if soon || !vehicle.alive(now) {
            return None;
        }
        let mut said = None;
        for wish in &mut self.wishes {
            if wish.content(vehicle, now) {
                wish.patience = PATIENCE;
                continue;
            }
            let waiting = wish
                .asked
                .is_some_and(|asked| now.saturating_since(asked) < wish.patience);
            if waiting || said.is_some() {
                continue;
            }
            if wish.asked.is_some() {
                wish.patience = (wish.patience * 2).min(SELDOM);
            }
            wish.asked = Some(now);
            self.last = Some(now);
            said = Some(wish.said());
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::geo::Position;
    use super::super::super::wire::{Frame, Heard, Node};
    use super::*;

    const THEM: Node = Node {
        system: 1,
        component: 1,
    };
    const US: Node = Node {
        system: 255,
        component: 191,
    };

    fn hear(vehicle: &mut Vehicle, heard: Heard, now: BootTime) {
        vehicle.hear(&Frame { from: THEM, heard }, now);
    }

    fn beat(vehicle: &mut Vehicle, base_mode: u8, now: BootTime) {
        let heard = Heard::Heartbeat {
            autopilot: 3,
            vehicle: 2,
            base_mode,
            custom_mode: 0,
            system_status: 3,
        };
        hear(vehicle, heard, now);
    }

    fn asked(said: &Said) -> (u16, u32) {
        let Said::CommandLong { command, params, .. } = said else {
            panic!("{said:?}");
        };
        (*command, params[0] as u32)
    }

    #[test]
    fn what_does_not_come_is_asked_for_politely_and_ever_less_often() {
        let mut vehicle = Vehicle::new(THEM, US);
        let mut acquaintance = Acquaintance::default();
        let at = |millis: u64| BootTime::from_nanos(millis * 1_000_000);
        assert_eq!(acquaintance.tick(&vehicle, at(0)), None, "nobody is there");
        let mut questions: Vec<(u64, (u16, u32))> = Vec::new();
        for millis in (0..600_000).step_by(100) {
            if millis % 1000 == 0 {
                beat(&mut vehicle, 1, at(millis));
                hear(
                    &mut vehicle,
                    Heard::MissionCurrent { seq: 0, state: 0 },
                    at(millis),
                );
            }
            questions.extend(
                acquaintance
                    .tick(&vehicle, at(millis))
                    .map(|said| (millis, asked(&said))),
            );
        }
        assert!(
            questions.windows(2).all(|two| two[1].0 - two[0].0 >= 200),
            "{questions:?}"
        );
        let of = |message: u32| questions.iter().filter(move |(_, one)| one.1 == message);
        assert_eq!(of(42).count(), 0, "it came by itself");
        assert_eq!(of(148).next().map(|(_, one)| one.0), Some(512));
        assert_eq!(of(33).next().map(|(_, one)| one.0), Some(511));
        assert!((8..20).contains(&of(162).count()), "{}", of(162).count());
    }

    #[test]
    fn a_stream_that_stops_is_asked_for_again() {
        let mut vehicle = Vehicle::new(THEM, US);
        let mut acquaintance = Acquaintance::default();
        let at = |second: u64| BootTime::from_nanos(second * 1_000_000_000);
        let mut questions = Vec::new();
        for second in 0..40 {
            beat(&mut vehicle, 1, at(second));
            // A reboot at second 20: the stream is gone until it is asked for.
            if second < 20 {
                hear(
                    &mut vehicle,
                    Heard::MissionCurrent { seq: 0, state: 0 },
                    at(second),
                );
            }
            questions.extend(
                acquaintance
                    .tick(&vehicle, at(second))
                    .map(|said| (second, asked(&said).1)),
            );
        }
        let of = |message| questions.iter().find(|one| one.1 == message).map(|one| one.0);
        assert!((24..30).contains(&of(42).unwrap()), "{questions:?}");
    }

    #[test]
    fn home_is_asked_for_more_often_where_it_stands_elsewhere() {
        let home = Position::new(47.3977, 8.5456).unwrap();
        let at = |second: u64| BootTime::from_nanos(second * 1_000_000_000);
        for (away, base_mode, questions) in [(0.0, 1, 4..6), (200.0, 1, 20..27), (200.0, 129, 4..6)] {
            let mut vehicle = Vehicle::new(THEM, US);
            let mut acquaintance = Acquaintance::default();
            let mut asked_for_home = 0;
            for second in 0..130 {
                beat(&mut vehicle, base_mode, at(second));
                let position = Heard::GlobalPosition {
                    at: home.offset(away, 0.0),
                    altitude_msl: 488.0,
                    altitude: 0.0,
                    north: 0.0,
                    east: 0.0,
                    down: 0.0,
                };
                hear(&mut vehicle, position, at(second));
                let said = acquaintance.tick(&vehicle, at(second));
                if said.is_some_and(|said| asked(&said).1 == MSG_HOME_POSITION) {
                    asked_for_home += 1;
                    let altitude_msl = 488.0;
                    hear(
                        &mut vehicle,
                        Heard::HomePosition {
                            at: home,
                            altitude_msl,
                        },
                        at(second),
                    );
                }
            }
            assert!(
                questions.contains(&asked_for_home),
                "{away} {base_mode}: {asked_for_home}"
            );
        }
    }
}
