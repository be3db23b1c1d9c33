//! What one output is to be at a moment, and when to look again. Pure: moments go in, a level comes out.
//!
//! Precedence: interlock > safe > `max_on` > `min_off` (delays *on* only) > verb (docs/fence.md, section 7). A wish is
//! what a verb, the start, the loss of the server or making safe last asked for; the rules decide what becomes of it.
//! For the rules an output is on or off. How bright or how fast it is while it is on is its device's affair.

use std::time::Duration;

use crate::clock::BootTime;
use crate::device::gpio::Level;

/// What an output keeps to by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The level while nobody may drive it.
    pub safe: Level,
    /// The longest time on at a stretch.
    pub max_on: Option<Duration>,
    /// The shortest time off before it may be on again, also after the start of the agent.
    pub min_off: Duration,
    /// What it becomes when the server is not heard from for so long.
    pub lost: Option<(Wish, Duration)>,
}

/// What an output was last asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A level, within `max_on` and `min_off`.
    Be(Level),
    /// [`Rules::safe`], which only an interlock can keep it from.
    Safe,
}

/// Whether the interlock group lets an output be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does; also for the one that is on, and for an output without a group.
    Free,
    /// The dead time runs until then.
    Until(BootTime),
    /// Another one is on, or may still be.
    Held,
}

/// What keeps an output off although it is to be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A time that runs out by itself: `min_off`, or the dead time of its group.
    Time,
    /// Another output of its group.
    Interlock,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What the line must be from now on.
    pub level: Level,
    /// Why it is off, if it is to be on.
    pub hold: Option<Hold>,
    /// When to ask again at the latest, if nothing happens before.
    pub wake: Option<BootTime>,
}

/// The state of one output.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Rules,
    wish: Wish,
    /// What the line is; *on* while that is in doubt.
    level: Level,
    /// Since when it is so.
    since: BootTime,
    /// The server is lost, and what that asks for was wished.
    lost: bool,
}

impl Policy {
    /// An output at its start: off until decided otherwise, all times beginning `now`.
    pub fn new(rules: Rules, start: Wish, now: BootTime) -> Self {
        Policy {
            rules,
            wish: start,
            level: Level::Off,
            since: now,
            lost: false,
        }
    }

    /// What the line is, as far as is known; *on* in doubt.
    pub fn level(&self) -> Level {
        self.level
    }

    /// What it was last asked to be.
    pub fn wish(&self) -> Wish {
        self.wish
    }

    /// Whether the server was lost at the last decision.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The rules it keeps to.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Asks for something; [`Policy::decide`] says what becomes of it.
    pub fn ask(&mut self, wish: Wish) {
        self.wish = wish;
    }

    /// The line was driven. To be told *before* it is driven on and *after* it was driven off, so that in doubt it is
    /// on: then it counts against `max_on` and holds its group.
    pub fn driven(&mut self, level: Level, now: BootTime) {
        if self.level != level {
            self.level = level;
            self.since = now;
        }
    }

    /// What the line must be `now`. `heard`: when the last request was sent that the server answered.
    pub fn decide(&mut self, now: BootTime, heard: BootTime, standing: Standing) -> Decision {
        let lost_at = self.notice_loss(now, heard);
        let (wanted, limited) = match self.wish {
            Wish::Be(level) => (level, true),
            Wish::Safe => (self.rules.safe, false),
        };
        match (wanted, self.level) {
            (Level::Off, _) => off(None, lost_at),
            (Level::On, Level::On) => match self.rules.max_on.filter(|_| limited) {
                Some(max_on) if now >= self.since + max_on => {
                    self.wish = Wish::Be(Level::Off);
                    off(None, lost_at)
                }
                max_on => Decision {
                    level: Level::On,
                    hold: None,
                    wake: earlier(max_on.map(|max_on| self.since + max_on), lost_at),
                },
            },
            (Level::On, Level::Off) => {
                let rested = if limited {
                    self.since + self.rules.min_off
                } else {
                    now
                };
                let ready = match standing {
                    Standing::Held => return off(Some(Hold::Interlock), lost_at),
                    Standing::Until(free) => rested.max(free),
                    Standing::Free => rested,
                };
                if now < ready {
                    return off(Some(Hold::Time), earlier(Some(ready), lost_at));
                }
                let end = self.rules.max_on.filter(|_| limited).map(|max_on| now + max_on);
                Decision {
                    level: Level::On,
                    hold: None,
                    wake: earlier(end, lost_at),
                }
            }
        }
    }

    /// Wishes what the loss of the server asks for, once per loss. When it will be lost, if it is not.
    fn notice_loss(&mut self, now: BootTime, heard: BootTime) -> Option<BootTime> {
        let (wish, after) = self.rules.lost?;
        let lost_at = heard + after;
        let lost = now >= lost_at;
        if lost && !self.lost {
            self.wish = wish;
        }
        self.lost = lost;
        (!lost).then_some(lost_at)
    }
}

fn off(hold: Option<Hold>, wake: Option<BootTime>) -> Decision {
    Decision {
        level: Level::Off,
        hold,
        wake,
    }
}

fn earlier(one: Option<BootTime>, other: Option<BootTime>) -> Option<BootTime> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
