//! One flight as a pure state machine: a frame, an answer or the time goes in, [`Act`]s come out. No I/O, and no clock but
//! the moments that it is given.
//!
//! ```text
//!              dispatch                                                         resume (after a crash)
//!                 |                                                                |
//!  Connecting -> Failsafes -> SettingMode -> Checking -> Uploading -> Arming    Resuming
//!      |            |             |            |  |        |            |          |  |
//!      |            |             |   preflight|  |        |         Starting      |  |
//!      |            |             |      Ready v  |        |          |   | AUTO   |  | ours
//!      +------------+---- why ----+---------------+--------+----------+   v in a   |  |
//!                          |                                   heartbeat  |        |  |
//!                          v            it flies after all                v        |  |
//!                     StandingDown ------------------------------------> EnRoute   |  |
//!                disarm, clear the mission                    order, time,|        |  |
//!                          |                          battery, fence, its |        |  |
//!                          |                               own failsafe   v        |  |
//!                          |         somebody else steers            Returning <---+--+
//!                          |         or it is not heard    HandsOff <--+  | Landing
//!                          v                                             v
//!                       NotFlown                     landed, disarmed: Clearing -> Flown, Returned
//! ```
//!
//! Rules that hold everywhere, and that a property test tries to break:
//!
//! - Every ARM and every MISSION_START is preceded by an own confirmation by the server, not older than it allows; one
//!   confirmation is good for one sending. A lost frame costs a confirmation, too.
//! - After MISSION_START was said nothing arms any more. It is said again only while the vehicle is heard to stand armed in
//!   the mode that it was put into, within the seconds before it would disarm by itself.
//! - After an order, or when the flight is over, nothing is said but disarm, clear, return and land.
//! - An acknowledgement is never believed to be the thing itself: that is what heartbeats and reading back are for.
//! - Whoever is steered by somebody else is never commanded again.
//! - Every flight ends: each wait has its own limit.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`vehicle`], [`modes`] | what is known; the autopilots' modes |
//! | [`acquaintance`] | asking for what is not said by itself |
//! | [`commands`], [`upload`], [`readback`], [`params`] | MAVLink's protocols, one exchange each |
//! | [`failsafes`], `preflight` | what must be so before a flight |
//! | `acts` | what goes in and comes out |
//! | `ground`, `arming`, `stand_down`, `air`, `resume` | the states; `sight` is how a flight looks from here |
//! | `progress`, [`summary`] | what is told |

pub mod acquaintance;
mod acts;
mod air;
mod arming;
pub mod commands;
pub mod failsafes;
mod ground;
pub mod modes;
pub mod params;
mod preflight;
mod progress;
pub mod readback;
mod resume;
mod sight;
mod stand_down;
pub mod summary;
pub mod upload;
pub mod vehicle;

use std::collections::VecDeque;
use std::time::Duration;

pub use acquaintance::Acquaintance;
pub use acts::{Act, End, Order, Phase, Record, RecordPhase, Setup};
pub use modes::{Family, Mode};
pub use progress::MOST as MOST_PROGRESS;
pub use summary::Summary;
pub use vehicle::Vehicle;

use super::plan::{Estimate, Performance};
use super::settings::DroneSettings;
use super::wire::number::CMD_COMPONENT_ARM_DISARM;
use super::wire::{Frame, Item, ListKind, Said};
use crate::clock::BootTime;
pub use crate::device::Confirmed;
use air::Air;
use arming::{Arming, Starting};
use ground::{Checking, SettingMode};
use progress::{Progress, Weight};
use readback::ReadBack;
use resume::Resuming;
use stand_down::StandDown;
use summary::Log;

/// A flight looks at everything this often, whatever is heard.
const LOOK: Duration = Duration::from_millis(200);
/// A vehicle that is not heard for so long is given up: on the ground, and in the air.
const LOST_ON_GROUND: Duration = Duration::from_secs(30);
const LOST_IN_AIR: Duration = Duration::from_secs(600);

/// The states; each one's file has what it does.
#[derive(Debug)]
enum Stage {
    Connecting,
    Failsafes(failsafes::FailsafeCheck),
    SettingMode(SettingMode),
    Checking(Checking),
    Upload(upload::Upload),
    ReadBack(ReadBack),
    Arming(Arming),
    Starting(Starting),
    Air(Air),
    StandingDown(StandDown),
    Resuming(Resuming),
    Over,
}

/// One flight.
#[derive(Debug)]
pub struct Flight {
    process: String,
    /// None when only somebody else's flight is brought home.
    setup: Option<Setup>,
    dry: bool,
    performance: Performance,
    reserve: u8,
    /// On the ground by then.
    end: BootTime,
    stage: Stage,
    /// When the stage began.
    since: BootTime,
    out: VecDeque<Act>,
    order: Option<Order>,
    confirmed: Option<Confirmed>,
    recorded: bool,
    progress: Progress,
    log: Log,
    /// What was uploaded, once home was known.
    mission: Vec<Item>,
    estimate: Option<Estimate>,
    fingerprint: u64,
    /// What may be left in the vehicle.
    to_clear: Vec<ListKind>,
    arm_sent: Option<BootTime>,
    start_sent: Option<BootTime>,
    wake: BootTime,
}

impl Flight {
    /// A flight from its first check to its landing.
    pub fn dispatch(setup: Setup, now: BootTime) -> Self {
        Flight::new(setup, false, now)
    }

    /// A dry run: all checks that need no upload; nothing is uploaded or armed. The mode is set, since an autopilot's
    /// checks depend on it, and failsafes are where the configuration says so.
    pub fn preflight(setup: Setup, now: BootTime) -> Self {
        Flight::new(setup, true, now)
    }

    fn new(setup: Setup, dry: bool, now: BootTime) -> Self {
        let base = Flight::begun(setup.process.clone(), &setup.drone, Stage::Connecting, now);
        Flight {
            dry,
            end: setup.end.map_or(base.end, |end| end.min(base.end)),
            setup: Some(setup),
            ..base
        }
    }

    /// What every flight begins with; nobody's plan, and nothing in the vehicle.
    fn begun(process: String, drone: &DroneSettings, stage: Stage, now: BootTime) -> Self {
        Flight {
            process,
            setup: None,
            dry: false,
            performance: drone.performance,
            reserve: drone.battery_reserve,
            end: now + drone.max_time,
            stage,
            since: now,
            out: VecDeque::new(),
            order: None,
            confirmed: None,
            recorded: false,
            progress: Progress::new(now),
            log: Log::default(),
            mission: Vec::new(),
            estimate: None,
            fingerprint: 0,
            to_clear: Vec::new(),
            arm_sent: None,
            start_sent: None,
            wake: now,
        }
    }

    /// After a crash: what `record` says was begun is ended. On the ground it is disarmed; in the air it is brought home if
    /// record, mission and mode say that it is ours. It ends with [`End::NotFlown`], [`End::Returned`] or
    /// [`End::HandsOff`].
    pub fn resume(record: Record, drone: &DroneSettings, now: BootTime) -> Self {
        let (process, fingerprint) = (record.process.clone(), record.mission);
        let stage = Stage::Resuming(Resuming::new(record));
        Flight {
            fingerprint,
            to_clear: vec![ListKind::Mission],
            arm_sent: Some(now),
            ..Flight::begun(process, drone, stage, now)
        }
    }

    /// A frame came, which `vehicle` has heard already.
    pub fn hear(&mut self, vehicle: &Vehicle, frame: &Frame, now: BootTime) {
        if frame.from != vehicle.node() {
            return;
        }
        let (heard, us) = (&frame.heard, vehicle.us());
        match &mut self.stage {
            Stage::Failsafes(check) => check.hear(heard),
            Stage::SettingMode(setting) => setting.hear(heard, us, now),
            Stage::Checking(checking) => checking.hear(heard, us, now),
            Stage::Upload(upload) => upload.hear(heard, now),
            Stage::ReadBack(read) => read.hear(heard, now),
            Stage::Arming(arming) => arming.hear(heard, us, now),
            Stage::Starting(starting) => starting.hear(heard, us),
            Stage::Air(air) => air.hear(heard, us),
            Stage::StandingDown(down) => down.hear(heard, now),
            Stage::Resuming(resuming) => resuming.hear(heard, now),
            Stage::Connecting | Stage::Over => {}
        }
        self.advance(vehicle, now);
    }

    /// Time has passed.
    pub fn tick(&mut self, vehicle: &Vehicle, now: BootTime) {
        self.advance(vehicle, now);
    }

    /// Somebody wants it otherwise. A landing that was ordered is not undone by a later return.
    pub fn order(&mut self, order: Order) {
        let keeps = matches!(
            (&self.order, &order),
            (Some(Order::Land(_)), Order::Return(_) | Order::Stop(_))
        );
        if !keeps {
            self.order = Some(order);
        }
    }

    /// The server's answer to [`Act::Confirm`].
    pub fn confirmed(&mut self, confirmed: Confirmed) {
        self.confirmed = Some(confirmed);
    }

    /// The last [`Act::Record`] is written.
    pub fn recorded(&mut self) {
        self.recorded = true;
    }

    /// What is to be done next.
    pub fn next_act(&mut self) -> Option<Act> {
        self.out.pop_front()
    }

    /// When to [`Flight::tick`] again at the latest; none once it is over.
    pub fn wake(&self) -> Option<BootTime> {
        (!matches!(self.stage, Stage::Over)).then_some(self.wake)
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Connecting => Phase::Connecting,
            Stage::Failsafes(_) => Phase::Failsafes,
            Stage::SettingMode(_) => Phase::SettingMode,
            Stage::Checking(_) => Phase::Checking,
            Stage::Upload(_) | Stage::ReadBack(_) => Phase::Uploading,
            Stage::Arming(_) => Phase::Arming,
            Stage::Starting(_) => Phase::Starting,
            Stage::Air(air) => air.phase(),
            Stage::StandingDown(_) => Phase::StandingDown,
            Stage::Resuming(_) => Phase::Resuming,
            Stage::Over => Phase::Over,
        }
    }

    /// Whether it flies by our doing: the mission was seen to run, or it is on its way home.
    pub fn airborne(&self) -> bool {
        matches!(self.stage, Stage::Air(_))
    }

    /// Whether nobody has to wait for the vehicle any more to obey: a return or a landing was seen in a heartbeat, or it
    /// does not fly.
    pub fn obeyed(&self) -> bool {
        match &self.stage {
            Stage::Air(air) => air.obeyed(),
            Stage::StandingDown(down) => down.disarmed(),
            Stage::Over => true,
            _ => self.arm_sent.is_none(),
        }
    }

    /// How long a return takes from where it is until it is disarmed on the ground, with caution. From somewhere unknown: from
    /// the worst point of the plan.
    pub fn return_time(&self, vehicle: &Vehicle, now: BootTime) -> Duration {
        let worst = self
            .estimate
            .map_or(Duration::ZERO, |estimate| estimate.return_time);
        let (Some(fix), Some(home)) = (vehicle.fix(now), vehicle.home()) else {
            return cautious(worst);
        };
        let mut performance = self.performance;
        // Slower than assumed is measured; faster may have been the wind.
        if let Some(fastest) = self.log.fastest() {
            performance.cruise_speed = performance.cruise_speed.min(fastest.max(1.0));
        }
        let distance = home.at.distance(fix.position);
        cautious(performance.return_time(distance, fix.altitude.max(0.0)))
    }

    fn advance(&mut self, vehicle: &Vehicle, now: BootTime) {
        self.wake = now + LOOK;
        // One state may lead to the next at once; a few steps are more than there ever are.
        for _ in 0..4 {
            let before = self.phase();
            let stage = std::mem::replace(&mut self.stage, Stage::Over);
            self.stage = self.step(stage, vehicle, now);
            if self.phase() == before {
                return;
            }
            self.since = now;
        }
    }

    fn step(&mut self, stage: Stage, vehicle: &Vehicle, now: BootTime) -> Stage {
        let stage = match self.disturbed(&stage, vehicle, now) {
            Some(why) => self.stand_down(why, now),
            None => stage,
        };
        match stage {
            Stage::Connecting => self.connect(vehicle, now),
            Stage::Failsafes(check) => self.check_failsafes(check, vehicle, now),
            Stage::SettingMode(setting) => self.set_mode(setting, vehicle, now),
            Stage::Checking(checking) => self.check(checking, vehicle, now),
            Stage::Upload(upload) => self.upload(upload, now),
            Stage::ReadBack(read) => self.read_back(read, vehicle, now),
            Stage::Arming(arming) => self.arm(arming, vehicle, now),
            Stage::Starting(starting) => self.start(starting, vehicle, now),
            Stage::Air(air) => self.fly(air, vehicle, now),
            Stage::StandingDown(down) => self.stand(down, vehicle, now),
            Stage::Resuming(resuming) => self.resume_step(resuming, vehicle, now),
            Stage::Over => Stage::Over,
        }
    }

    fn send(&mut self, said: Said) {
        self.out.push_back(Act::Send(said));
    }

    fn send_some(&mut self, said: Option<Said>) {
        self.out.extend(said.map(Act::Send));
    }

    fn send_command(&mut self, command: u16, confirmation: u8, params: &[f32]) {
        let mut all = [0.0; 7];
        for (to, from) in all.iter_mut().zip(params) {
            *to = *from;
        }
        self.send(Said::CommandLong {
            command,
            confirmation,
            params: all,
        });
    }

    /// Disarms, never by force: in the air it is refused.
    fn send_disarm(&mut self) {
        self.send_command(CMD_COMPONENT_ARM_DISARM, 0, &[0.0]);
    }

    fn tell(&mut self, weight: Weight, text: String, now: BootTime) {
        if self.progress.may(weight, now) {
            self.out.push_back(Act::Progress(text));
        }
    }

    fn record(&mut self, phase: RecordPhase) {
        self.recorded = false;
        self.out.push_back(Act::Record(Record {
            process: self.process.clone(),
            mission: self.fingerprint,
            phase,
        }));
    }

    fn ask_server(&mut self) {
        self.confirmed = None;
        self.out.push_back(Act::Confirm);
    }

    fn over(&mut self, end: End) -> Stage {
        self.out.push_back(Act::Over(end));
        Stage::Over
    }

    /// Nothing is said to it any more.
    fn hands_off(&mut self, why: String) -> Stage {
        let summary = self.log.summary();
        self.over(End::HandsOff { why, summary })
    }
}

/// An estimate with room for what it does not know.
fn cautious(estimate: Duration) -> Duration {
    estimate.saturating_mul(13) / 10
}

#[cfg(test)]
mod tests;
