//! In the air: the mission runs in the autopilot. Here is watched what it does, and decided when it has to come home.
//!
//! | what happens | what is done |
//! | --- | --- |
//! | an order; the time is just enough to return; battery below the reserve | return (or land) is commanded every second until a heartbeat shows it |
//! | outside its fence | the autopilot's own answer is followed; if there is none, return |
//! | the autopilot returns or lands by itself | followed to the ground |
//! | a pilot or another ground station takes a mode of theirs | hands off, for good |
//! | it stops by itself (HOLD, BRAKE) | waited for a little, then hands off |
//! | no heartbeat | waited for; its own failsafe brings it home; what was commanded is commanded again |
//! | disarmed on the ground | over |
//! | disarmed in the air | hands off |

use std::time::Duration;

use super::super::wire::number::{
    CMD_NAV_LAND, CMD_NAV_RETURN_TO_LAUNCH, RESULT_ACCEPTED, RESULT_IN_PROGRESS,
};
use super::super::wire::{Heard, Node};
use super::commands::acknowledged;
use super::modes::{Family, Mode};
use super::progress::Weight;
use super::sight::{last_item, last_seen, on_ground, own_reason, position_text};
use super::vehicle::{Landed, Vehicle, breach_name};
use super::{End, Flight, LOST_IN_AIR, Order, Phase, RecordPhase, Stage};
use crate::clock::BootTime;

/// Between two commands to return or land.
const AGAIN: Duration = Duration::from_secs(1);
/// Room for hearing that it obeys.
const OBEYS: Duration = Duration::from_secs(5);
/// How long it may stop by itself before that is somebody else's doing.
const STOPPED: Duration = Duration::from_secs(15);
/// How long its own answer to a breach may take to show.
const BREACH: Duration = Duration::from_secs(3);
/// What a mode changed for is told within this time: once a second it says where in the mission it is.
const REASONS: Duration = Duration::from_millis(2_500);
/// How long it may stand on the ground in its mission before that is given up.
const LEAVES_GROUND: Duration = Duration::from_secs(30);
/// How long it may stand after a landing before it is told to disarm, and before that is given up.
const DISARMS: Duration = Duration::from_secs(20);
const STAYS_ARMED: Duration = Duration::from_secs(120);
/// A way home that takes longer than this beyond its estimate is no way home.
const WAY_HOME: Duration = Duration::from_secs(1_200);
/// It stays at a point when it is slower than this, in metres a second, and nearer than that, in metres.
const STANDS_STILL: f64 = 0.7;
const AT_POINT: f64 = 5.0;

/// Where it is to go instead of on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Return,
    Land,
}

/// On its way home, or down.
#[derive(Debug)]
struct Home {
    goal: Goal,
    why: String,
    began: BootTime,
    /// The plan's own last item.
    planned: bool,
    /// Commanded from here; otherwise it went by itself.
    by_us: bool,
    /// It was told.
    told: bool,
    /// A heartbeat showed it.
    seen: bool,
    last: Option<BootTime>,
    sent: u8,
    denied: bool,
}

/// A flight in the air.
#[derive(Debug)]
pub(super) struct Air {
    began: BootTime,
    home: Option<Home>,
    /// It has left the ground.
    left_ground: bool,
    /// Stands on the ground since.
    stands: Option<BootTime>,
    /// Stopped by itself since.
    stopped: Option<BootTime>,
    /// The highest item of the mission that was under way, and the last that was told.
    item: u16,
    told: u16,
    holding: bool,
    landing: bool,
    said_silent: bool,
    said_rival: bool,
    disarm_said: Option<BootTime>,
}

impl Air {
    pub(super) fn en_route(now: BootTime) -> Self {
        Air {
            began: now,
            home: None,
            left_ground: false,
            stands: None,
            stopped: None,
            item: 0,
            told: 0,
            holding: false,
            landing: false,
            said_silent: false,
            said_rival: false,
            disarm_said: None,
        }
    }

    /// It flies, and is to come home at once.
    pub(super) fn home(goal: Goal, why: String, now: BootTime) -> Self {
        Air {
            home: Some(Home::ordered(goal, why, now)),
            left_ground: true,
            ..Air::en_route(now)
        }
    }

    pub(super) fn hear(&mut self, heard: &Heard, us: Node) {
        let Some(home) = &mut self.home else { return };
        for command in [CMD_NAV_RETURN_TO_LAUNCH, CMD_NAV_LAND] {
            match acknowledged(heard, command, us) {
                None | Some(RESULT_ACCEPTED | RESULT_IN_PROGRESS) => {}
                // Then by its mode's number.
                Some(_) => home.denied = true,
            }
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match &self.home {
            _ if self.landing || (self.left_ground && self.stands.is_some()) => Phase::Landing,
            Some(home) if home.goal == Goal::Land => Phase::Landing,
            Some(_) => Phase::Returning,
            None if self.holding => Phase::Holding,
            None => Phase::EnRoute,
        }
    }

    pub(super) fn obeyed(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.seen)
    }
}

impl Home {
    fn ordered(goal: Goal, why: String, now: BootTime) -> Self {
        Home {
            goal,
            why,
            began: now,
            planned: false,
            by_us: true,
            told: true,
            seen: false,
            last: None,
            sent: 0,
            denied: false,
        }
    }

    /// Whether a mode is what was wanted. An autopilot that lands where it should return has its reasons.
    fn reached_by(&self, mode: Option<Mode>) -> bool {
        match self.goal {
            Goal::Return => matches!(mode, Some(Mode::Return | Mode::Land)),
            Goal::Land => mode == Some(Mode::Land),
        }
    }
}

impl Flight {
    pub(super) fn fly(&mut self, mut air: Air, vehicle: &Vehicle, now: BootTime) -> Stage {
        self.log.look(vehicle, now);
        if !vehicle.alive(now) {
            return self.unheard(air, vehicle, now);
        }
        air.said_silent = false;
        air.landing = vehicle.landed(now) == Some(Landed::Landing);
        air.left_ground |= vehicle.in_air(now);
        if let Some((false, _)) = vehicle.settled() {
            return self.disarmed(air, vehicle, now);
        }
        if let Some(why) = foreign(&mut air, vehicle, now) {
            return self.hands_off(why);
        }
        if vehicle.rival(now) && !air.said_rival {
            air.said_rival = true;
            let system = vehicle.us().system;
            self.tell(
                Weight::Turn,
                format!("Another ground station uses our system id {system}."),
                now,
            );
        }
        if let Some(end) = self.stands(&mut air, vehicle, now) {
            return end;
        }
        self.obey_order(&mut air, now);
        match air.home.is_some() {
            false => self.watch_mission(&mut air, vehicle, now),
            true => self.watch_home(&mut air, vehicle, now),
        }
        self.command_home(&mut air, vehicle, now);
        let too_long = air
            .home
            .as_ref()
            .is_some_and(|home| now.saturating_since(home.began) >= WAY_HOME && now >= self.end);
        if too_long {
            let why = format!(
                "it is still in the air {} s after it had to come home",
                WAY_HOME.as_secs()
            );
            return self.hands_off(why);
        }
        if self.progress.due(now) {
            let text = position_text(vehicle, now);
            self.out.push_back(super::Act::Progress(text));
        }
        Stage::Air(air)
    }

    /// No heartbeat: its own failsafe is to bring it home. What was to be commanded is commanded all the same; it may hear.
    fn unheard(&mut self, mut air: Air, vehicle: &Vehicle, now: BootTime) -> Stage {
        let silent = vehicle.silent_for(now);
        if silent >= LOST_IN_AIR {
            let why = format!(
                "it was not heard for {} s; its own failsafe has it. {}",
                silent.as_secs(),
                last_seen(vehicle)
            );
            return self.hands_off(why);
        }
        if !air.said_silent {
            air.said_silent = true;
            let text = "Its heartbeat is not heard; its own failsafe is to bring it home.".to_owned();
            self.tell(Weight::Turn, text, now);
        }
        self.obey_order(&mut air, now);
        if air.home.is_none() && self.time_is_up(vehicle, now) {
            self.go_home(&mut air, Goal::Return, "its time is up".to_owned(), now);
        }
        if let Some(home) = &mut air.home {
            home.seen = false;
        }
        self.command_home(&mut air, vehicle, now);
        Stage::Air(air)
    }

    /// It is disarmed: landed, or not.
    fn disarmed(&mut self, air: Air, vehicle: &Vehicle, now: BootTime) -> Stage {
        let summary = self.log.summary();
        if !air.left_ground {
            let reasons = vehicle.reasons(air.began);
            let space = if reasons.is_empty() { "" } else { ": " };
            let why = format!("it disarmed before it left the ground{space}{reasons}");
            return self.tidy_up(End::NotFlown { why }, now);
        }
        if !vehicle.disarmed_on_ground() {
            let reasons = vehicle.reasons(now - Duration::from_secs(10));
            let why = format!("it disarmed in the air. {} {reasons}", last_seen(vehicle));
            return self.hands_off(why.trim_end().to_owned());
        }
        self.tell(
            Weight::Turn,
            format!("Landed and disarmed: {}.", summary.text()),
            now,
        );
        let last = last_item(&self.mission);
        let end = match air.home {
            Some(home) if !home.planned => End::Returned {
                why: home.why,
                summary,
            },
            None if vehicle.mission_current().is_some() && air.item < last => End::Returned {
                why: format!("it landed at item {} of {last}", air.item),
                summary,
            },
            _ => End::Flown(summary),
        };
        self.tidy_up(end, now)
    }

    /// On the ground and still armed: before it left, or after it came back.
    fn stands(&mut self, air: &mut Air, vehicle: &Vehicle, now: BootTime) -> Option<Stage> {
        if !on_ground(vehicle, now) {
            air.stands = None;
            return None;
        }
        let stood = now.saturating_since(*air.stands.get_or_insert(now));
        if !air.left_ground {
            // Nothing has flown yet: whatever would bring it home disarms it where it stands.
            let why = match &self.order {
                Some(order) => order.why().to_owned(),
                None if stood >= LEAVES_GROUND => {
                    format!(
                        "it was started, and did not leave the ground in {} s",
                        LEAVES_GROUND.as_secs()
                    )
                }
                None => return None,
            };
            return Some(self.stand_down(why, now));
        }
        if stood >= STAYS_ARMED {
            let why = "it landed and does not disarm: keep away and disarm it by hand".to_owned();
            return Some(self.hands_off(why));
        }
        let again = air.disarm_said.is_none_or(|at| now.saturating_since(at) >= AGAIN);
        if stood >= DISARMS && again {
            air.disarm_said = Some(now);
            self.send_disarm();
        }
        None
    }

    fn obey_order(&mut self, air: &mut Air, now: BootTime) {
        let Some(order) = &self.order else { return };
        let (goal, why) = match order {
            Order::Land(why) => (Goal::Land, why.clone()),
            Order::Return(why) | Order::Stop(why) => (Goal::Return, why.clone()),
        };
        let enough = air.home.as_ref().is_some_and(|home| {
            let is_done = home.goal == Goal::Land || goal == Goal::Return;
            is_done && (home.by_us || home.seen)
        });
        if !enough {
            self.go_home(air, goal, why, now);
        }
    }

    fn go_home(&mut self, air: &mut Air, goal: Goal, why: String, now: BootTime) {
        let what = match goal {
            Goal::Return => "Returning",
            Goal::Land => "Landing",
        };
        self.tell(Weight::Turn, format!("{what}: {why}."), now);
        self.record(RecordPhase::Returning);
        air.home = Some(Home::ordered(goal, why, now));
        air.stopped = None;
    }

    fn time_is_up(&self, vehicle: &Vehicle, now: BootTime) -> bool {
        now + self.return_time(vehicle, now) + OBEYS >= self.end
    }

    /// En route: whether it has to come home, or does already.
    fn watch_mission(&mut self, air: &mut Air, vehicle: &Vehicle, now: BootTime) {
        let last = last_item(&self.mission);
        air.item = air.item.max(vehicle.mission_current().unwrap_or(0));
        air.holding = self.holds(vehicle, now);
        if let Some(mode @ (Mode::Return | Mode::Land)) = vehicle.mode() {
            let goal = if mode == Mode::Land {
                Goal::Land
            } else {
                Goal::Return
            };
            air.home = Some(Home {
                by_us: false,
                told: false,
                seen: true,
                ..Home::ordered(goal, String::new(), now)
            });
            self.explain(air, vehicle, now);
            return;
        }
        if let Some((at, seq)) = vehicle.mission_reached()
            && at >= air.began
            && seq > air.told
        {
            air.told = seq;
            let text = format!("Item {seq} of {last} reached. {}", position_text(vehicle, now));
            self.tell(Weight::Phase, text, now);
        }
        let breached = vehicle
            .breach()
            .filter(|(since, _)| now.saturating_since(*since) >= BREACH);
        let low = vehicle.battery().filter(|percent| *percent < self.reserve);
        // Its last item is its way home, or down: nothing gets it there sooner, unless it does not get there at all.
        let ends = air.item >= last && now < self.end;
        let why = if let Some((_, kind)) = breached {
            format!("its fence is breached, {}", breach_name(kind))
        } else if let Some(percent) = low.filter(|_| !ends) {
            format!("battery {percent} %, below battery_reserve = {}", self.reserve)
        } else if !ends && self.time_is_up(vehicle, now) {
            "the time that is left is just enough to return".to_owned()
        } else {
            return;
        };
        self.go_home(air, Goal::Return, why, now);
    }

    /// It came home by itself: because its mission says so, or for a reason, which may be told a little later.
    fn explain(&mut self, air: &mut Air, vehicle: &Vehicle, now: BootTime) {
        let Some(home) = &mut air.home else { return };
        if home.by_us || home.told {
            return;
        }
        air.item = air.item.max(vehicle.mission_current().unwrap_or(0));
        home.planned = air.item >= last_item(&self.mission);
        home.why = own_reason(vehicle, home.goal);
        if home.planned {
            home.told = true;
        } else if now.saturating_since(home.began) >= REASONS {
            home.told = true;
            let text = format!("It comes down: {}.", home.why);
            self.tell(Weight::Turn, text, now);
            self.record(RecordPhase::Returning);
        }
    }

    /// Whether it stays at a point of the mission for a while.
    fn holds(&self, vehicle: &Vehicle, now: BootTime) -> bool {
        let item = vehicle
            .mission_current()
            .and_then(|seq| self.mission.get(usize::from(seq)))
            .filter(|item| item.params[0] > 0.0);
        let (Some(item), Some(fix)) = (item, vehicle.fix(now)) else {
            return false;
        };
        let there = super::super::geo::Position::from_e7(item.x, item.y);
        fix.speed < STANDS_STILL && there.is_some_and(|there| there.distance(fix.position) < AT_POINT)
    }

    /// On the way home: whether it still is.
    fn watch_home(&mut self, air: &mut Air, vehicle: &Vehicle, now: BootTime) {
        self.explain(air, vehicle, now);
        let Some(home) = &mut air.home else { return };
        if home.reached_by(vehicle.mode()) {
            if !home.seen {
                home.seen = true;
                let text = format!("It obeys: mode {}.", vehicle.mode_name());
                self.tell(Weight::Turn, text, now);
            }
            return;
        }
        // It goes on with its mission, or stands: the flight is over all the same. One heartbeat may be an old one.
        if let Some((_, mode)) = vehicle.settled() {
            home.seen = false;
            // A landing after a return is the autopilot's own affair; the other way round, ours.
            home.by_us |= mode == Mode::Mission;
        }
    }

    /// Says what is to be done until a heartbeat shows it.
    fn command_home(&mut self, air: &mut Air, vehicle: &Vehicle, now: BootTime) {
        let Some(home) = &mut air.home else { return };
        let due = home.last.is_none_or(|at| now.saturating_since(at) >= AGAIN);
        if !home.by_us || home.seen || !due || air.stopped.is_some() {
            return;
        }
        home.last = Some(now);
        let confirmation = home.sent;
        home.sent = home.sent.wrapping_add(1);
        let (mode, command) = match home.goal {
            Goal::Return => (Mode::Return, CMD_NAV_RETURN_TO_LAUNCH),
            Goal::Land => (Mode::Land, CMD_NAV_LAND),
        };
        // By command, and by the mode's number where that is refused or does not help; PX4 the other way round.
        let by_mode = home.denied || confirmation % 4 == 3;
        let by_mode = by_mode != (vehicle.family() == Some(Family::Px4));
        let set_mode = vehicle
            .family()
            .and_then(|family| mode.said(family, confirmation));
        match set_mode {
            Some(said) if by_mode => self.send(said),
            _ => self.send_command(command, confirmation, &[]),
        }
    }
}

/// Whether it is somebody else's by now, and why.
fn foreign(air: &mut Air, vehicle: &Vehicle, now: BootTime) -> Option<String> {
    let (_, mode) = vehicle.settled()?;
    let name = vehicle.mode_name();
    match mode {
        Mode::Mission | Mode::Return | Mode::Land | Mode::Takeoff => air.stopped = None,
        Mode::Piloted(_) => return Some(format!("a pilot took over: mode {name}")),
        Mode::Guided | Mode::Other(_) => return Some(format!("somebody else took over: mode {name}")),
        Mode::Hold => {
            // Until our command was obeyed it is commanded on.
            let ours = air.home.as_ref().is_some_and(|home| home.by_us && !home.seen);
            if ours && air.stopped.is_none() {
                return None;
            }
            let since = *air.stopped.get_or_insert(now);
            if now.saturating_since(since) >= STOPPED {
                return Some(format!("it was stopped, not from here, and stays in mode {name}"));
            }
        }
    }
    None
}
