//! The end of everything that did not fly, and what is tidied up after everything that did: disarm if it may be armed by us,
//! clear the mission so that nobody flies it by mistake, say why.

use std::time::Duration;

use super::super::wire::Heard;
use super::air::{Air, Goal};
use super::upload::{Clear, list_name};
use super::vehicle::Vehicle;
use super::{End, Flight, LOST_IN_AIR, Stage};
use crate::clock::BootTime;

/// Between two commands to disarm.
const AGAIN: Duration = Duration::from_secs(1);
/// An arming that is still on its way would show within this time.
const ON_ITS_WAY: Duration = Duration::from_secs(4);
/// How long it may stay armed on the ground against our command.
const OBEYS: Duration = Duration::from_secs(30);

/// Disarms and clears.
#[derive(Debug)]
pub(super) struct StandDown {
    end: End,
    /// Since when it is heard, and does not obey.
    heard: Option<BootTime>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// When that was last said.
    Disarm(Option<BootTime>),
    Clear(Clear),
}

impl StandDown {
    /// Only clearing is left.
    fn tidy(end: End, clear: Clear) -> Self {
        StandDown {
            end,
            heard: None,
            step: Step::Clear(clear),
        }
    }

    /// Whether only clearing is left.
    pub(super) fn disarmed(&self) -> bool {
        matches!(self.step, Step::Clear(_))
    }

    pub(super) fn hear(&mut self, heard: &Heard, now: BootTime) {
        if let Step::Clear(clear) = &mut self.step {
            clear.hear(heard, now);
        }
    }
}

impl Flight {
    /// It is not flown, because of `why`.
    pub(super) fn stand_down(&mut self, why: String, now: BootTime) -> Stage {
        if self.arm_sent.is_some() {
            return Stage::StandingDown(StandDown {
                end: End::NotFlown { why },
                heard: None,
                step: Step::Disarm(None),
            });
        }
        self.tidy_up(End::NotFlown { why }, now)
    }

    /// It is disarmed: what is left in it is cleared.
    pub(super) fn tidy_up(&mut self, end: End, now: BootTime) -> Stage {
        match self.to_clear.pop() {
            Some(list) => Stage::StandingDown(StandDown::tidy(end, Clear::new(list, now))),
            None => self.over(end),
        }
    }

    pub(super) fn stand(&mut self, mut down: StandDown, vehicle: &Vehicle, now: BootTime) -> Stage {
        match &mut down.step {
            Step::Clear(clear) => {
                let list = clear.list();
                let (said, end) = clear.tick(now);
                self.send_some(said);
                match end {
                    None => Stage::StandingDown(down),
                    Some(true) => self.tidy_up(down.end, now),
                    Some(false) => {
                        let note = format!(
                            "; the {} may still be in the vehicle, clear it by hand",
                            list_name(list)
                        );
                        if let End::NotFlown { why } | End::Returned { why, .. } = &mut down.end {
                            why.push_str(&note);
                        }
                        self.tidy_up(down.end, now)
                    }
                }
            }
            Step::Disarm(said) => {
                let again = said.is_none_or(|at| now.saturating_since(at) >= AGAIN);
                if again {
                    *said = Some(now);
                }
                self.disarm(down, again, vehicle, now)
            }
        }
    }

    fn disarm(&mut self, mut down: StandDown, again: bool, vehicle: &Vehicle, now: BootTime) -> Stage {
        let why = |end: &End| match end {
            End::NotFlown { why } => why.clone(),
            _ => String::new(),
        };
        let quiet = self
            .arm_sent
            .is_none_or(|at| now.saturating_since(at) >= ON_ITS_WAY);
        let settled = vehicle.alive(now).then(|| vehicle.settled()).flatten();
        if let Some((false, _)) = settled
            && quiet
        {
            // What it did after a start that was obeyed unseen.
            return self.tidy_up(down.end, now);
        }
        if !vehicle.alive(now) {
            down.heard = None;
            if vehicle.silent_for(now) >= LOST_IN_AIR {
                let why = format!("{}; it is not heard any more and may be armed", why(&down.end));
                return self.hands_off(why);
            }
        } else if vehicle.armed() && vehicle.in_air(now) {
            if self.start_sent.is_some() {
                return Stage::Air(Air::home(Goal::Return, why(&down.end), now));
            }
            let why = format!(
                "{}; it left the ground without having been started from here",
                why(&down.end)
            );
            return self.hands_off(why);
        } else if now.saturating_since(*down.heard.get_or_insert(now)) >= OBEYS {
            let why = format!(
                "{}; it stands on the ground and does not disarm: keep away and disarm it by hand",
                why(&down.end)
            );
            return self.hands_off(why);
        }
        if again {
            self.send_disarm();
        }
        Stage::StandingDown(down)
    }
}
