//! The vehicle as a whole: bytes and moments in, bytes out.

use std::time::Duration;

use mavlink::dialects::common::{MavMessage, MavSeverity, STATUSTEXT_DATA};

use super::battery::Battery;
use super::commands::Pending;
use super::config::{Config, Family};
use super::lists::Lists;
use super::mission::Progress;
use super::mode::Mode;
use super::navigation::Task;
use super::params::Params;
use super::physics::Body;
use super::place::{self, Plane, Point};
use super::random::Random;
use super::streams::Streams;
use super::transfer::Upload;
use super::trouble::Lasting;
use super::truth::{Cause, Event, Landed, Truth};
use super::wire::{Came, Wire};

/// The step of the simulation: 50 a second.
pub(super) const STEP: Duration = Duration::from_millis(20);
/// A touch faster than this, in metres a second, is a crash.
const HARD: f64 = 3.0;
/// What leaves the ground is higher than this, in metres.
const OFF_THE_GROUND: f64 = 0.2;
/// How long it must stand to have landed.
const SETTLED: Duration = Duration::from_secs(1);

/// A simulated vehicle. It does nothing by itself: whoever has it says what comes and what time it is.
///
/// Moments count from when it was first switched on, and don't go back.
#[derive(Debug)]
pub struct Autopilot {
    pub(super) config: Config,
    pub(super) random: Random,
    pub(super) plane: Plane,
    pub(super) now: Duration,
    pub(super) booted: Duration,
    pub(super) silent_until: Duration,
    pub(super) position_after: Duration,
    pub(super) announced: (bool, bool),
    pub(super) wire: Wire,
    pub(super) outbox: Vec<u8>,
    pub(super) text_id: u16,
    pub(super) mode: Mode,
    pub(super) armed: bool,
    pub(super) airborne: bool,
    pub(super) standing_since: Duration,
    pub(super) touched: Option<Duration>,
    pub(super) task: Task,
    pub(super) body: Body,
    pub(super) gusting: f64,
    pub(super) battery: Battery,
    pub(super) home: Option<Point>,
    pub(super) params: Params,
    pub(super) lists: Lists,
    pub(super) upload: Option<Upload>,
    pub(super) progress: Progress,
    pub(super) streams: Streams,
    pub(super) pending: Vec<Pending>,
    pub(super) station_heard: Option<Duration>,
    pub(super) gps_lost: Option<Duration>,
    pub(super) failing: Option<&'static str>,
    pub(super) breach: u8,
    pub(super) breaches: u16,
    pub(super) lasting: Lasting,
    pub(super) truth: Truth,
    pub(super) events: Vec<(Duration, Event)>,
}

impl Autopilot {
    /// A vehicle that is switched on at moment zero.
    pub fn new(config: Config, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (soonest, latest) = config.quirks.settle;
        let share = random.unit();
        let position_after = soonest + latest.saturating_sub(soonest).mul_f64(share);
        let (latitude, longitude, _) = config.home;
        let truth = Truth {
            at: Duration::ZERO,
            latitude,
            longitude,
            altitude: 0.0,
            speed: 0.0,
            home: None,
            armed: false,
            mode: Mode::Stabilize,
            landed: Landed::OnGround,
            battery: config.battery,
            item: 0,
            take_offs: Vec::new(),
            landings: Vec::new(),
            arms: Vec::new(),
            modes: vec![(Duration::ZERO, Mode::Stabilize, Cause::Vehicle)],
            farthest: 0.0,
            highest: 0.0,
            outside: Duration::ZERO,
            crashed: false,
            boots: 1,
            commands: Vec::new(),
        };
        Autopilot {
            plane: Plane::around(latitude, longitude),
            wire: Wire::new(config.system, config.signing),
            battery: Battery::new(config.capacity, config.battery),
            params: Params::new(&config),
            config,
            random,
            now: Duration::ZERO,
            booted: Duration::ZERO,
            silent_until: Duration::ZERO,
            position_after,
            announced: (false, false),
            outbox: Vec::new(),
            text_id: 0,
            mode: Mode::Stabilize,
            armed: false,
            airborne: false,
            standing_since: Duration::ZERO,
            touched: None,
            task: Task::Idle,
            body: Body::default(),
            gusting: 0.0,
            home: None,
            lists: Lists::default(),
            upload: None,
            progress: Progress::default(),
            streams: Streams::default(),
            pending: Vec::new(),
            station_heard: None,
            gps_lost: None,
            failing: None,
            breach: 0,
            breaches: 0,
            lasting: Lasting::default(),
            truth,
            events: Vec::new(),
        }
    }

    /// Takes what came over the wire.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) {
        self.advance(now);
        if self.now < self.silent_until {
            return;
        }
        for incoming in self.wire.decode(bytes) {
            match incoming.came {
                Came::Message(message) => self.hear(incoming.from, *message),
                Came::Unreadable(message) => self.unreadable(incoming.from, message),
            }
        }
    }

    /// Lets time pass, in steps of 20 ms.
    pub fn advance(&mut self, now: Duration) {
        while self.now + STEP <= now {
            self.step();
        }
    }

    /// What the vehicle has said since the last call.
    pub fn transmit(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outbox)
    }

    /// What really happened so far.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// What happened since the last call, with its moments.
    pub fn take_events(&mut self) -> Vec<(Duration, Event)> {
        std::mem::take(&mut self.events)
    }

    /// A parameter's value as the vehicle has it; nothing if it has none of that name.
    pub fn parameter(&self, name: &str) -> Option<f64> {
        self.params.index(name).map(|_| self.params.get(name))
    }

    /// How many items the mission and the fence have.
    pub fn list_lengths(&self) -> (usize, usize) {
        (self.lists.mission.len(), self.lists.fence.len())
    }

    fn step(&mut self) {
        self.now += STEP;
        self.wire.tick(STEP.as_micros() as u64 / 10);
        let span = STEP.as_secs_f64();
        self.lasting.expire(self.now);
        self.wake_up();
        let wind = self.wind(span);
        if self.initialised() {
            self.watch_failsafes();
        }
        let steering = self.steer();
        let limits = self.config.limits;
        self.body.step(span, steering, wind, &limits);
        self.battery.drain(span, self.armed, &self.body, wind);
        self.touch_ground();
        if self.initialised() {
            self.step_upload();
            self.step_commands();
        }
        self.step_streams();
        self.note_truth();
    }

    /// Since when this boot has lasted.
    pub(super) fn up(&self) -> Duration {
        self.now.saturating_sub(self.booted)
    }

    pub(super) fn initialised(&self) -> bool {
        self.now >= self.silent_until && self.up() >= self.config.quirks.boot
    }

    pub(super) fn satellites(&self) -> bool {
        self.initialised() && self.up() * 2 >= self.position_after && !self.lasting.no_satellites()
    }

    pub(super) fn position_known(&self) -> bool {
        self.initialised() && self.up() >= self.position_after && self.gps_lost.is_none()
    }

    fn wake_up(&mut self) {
        if self.initialised() && !self.announced.0 {
            self.announced.0 = true;
            self.event(Event::Booted);
            match self.config.family {
                Family::ArduPilot => {
                    let (major, minor, patch) = self.config.firmware;
                    self.say(
                        MavSeverity::MAV_SEVERITY_INFO,
                        &format!("ArduCopter V{major}.{minor}.{patch}-dev (simulated by outpost)"),
                    );
                }
                Family::Px4 => self.say(MavSeverity::MAV_SEVERITY_INFO, "PX4 (simulated by outpost)"),
            }
        }
        if self.position_known() && !self.announced.1 {
            self.announced.1 = true;
            if self.home.is_none() {
                self.home = Some(self.body.at);
            }
            self.event(Event::PositionKnown);
            self.send_home();
        }
    }

    /// Starts again: on the ground from nothing, in the air still armed.
    pub(super) fn restart(&mut self, silence: Duration) {
        self.booted = self.now;
        self.silent_until = self.now + silence;
        self.announced = (false, self.airborne);
        self.truth.boots += 1;
        self.wire.reboot();
        self.outbox.clear();
        self.streams = Streams::default();
        self.upload = None;
        self.pending.clear();
        self.station_heard = None;
        self.failing = None;
        self.breach = 0;
        self.progress = Progress::default();
        if self.airborne {
            // It knew where it was a moment ago.
            self.booted = self
                .now
                .saturating_sub(self.position_after + self.config.quirks.boot);
            self.change_mode(Mode::Land, Cause::Failsafe);
        } else {
            if std::mem::take(&mut self.armed) {
                self.event(Event::Disarmed);
            }
            self.home = None;
            self.change_mode(Mode::Stabilize, Cause::Vehicle);
        }
    }

    pub(super) fn wind(&mut self, span: f64) -> [f64; 2] {
        let wind = self.lasting.wind().unwrap_or(self.config.wind);
        if wind.turbulence > 0.0 {
            self.gusting += -self.gusting * span / 4.0 + self.random.between(-1.0, 1.0) * (span / 2.0).sqrt();
        }
        let [north, east] = wind.drift();
        let factor = 1.0 + wind.turbulence * self.gusting;
        [north * factor, east * factor]
    }

    fn touch_ground(&mut self) {
        if !self.airborne {
            // Disarmed while it was about to lift off it hops at most.
            if self.armed && self.body.height > OFF_THE_GROUND {
                self.airborne = true;
                self.truth.take_offs.push(self.now);
                self.event(Event::TakeOff);
            }
            return;
        }
        if self.body.impact.is_some_and(|speed| speed > HARD) {
            self.truth.crashed = true;
            self.stand();
            self.event(Event::Crashed);
            self.set_armed(false);
            return;
        }
        if !self.body.on_ground() || self.armed && !self.task.comes_down() {
            self.touched = None;
            return;
        }
        let since = *self.touched.get_or_insert(self.now);
        if self.now - since >= SETTLED {
            self.truth.landings.push(self.now);
            self.stand();
            self.event(Event::Landed);
            self.mission_landed();
            if self.config.family == Family::ArduPilot {
                self.set_armed(false);
            }
        }
    }

    /// It stands.
    fn stand(&mut self) {
        self.airborne = false;
        self.touched = None;
        self.task = Task::Idle;
        self.standing_since = self.now;
    }

    pub(super) fn set_armed(&mut self, armed: bool) {
        if self.armed == armed || self.lasting.stuck_arming() {
            return;
        }
        self.armed = armed;
        self.truth.armed = armed;
        self.standing_since = self.now;
        if armed {
            self.truth.arms.push(self.now);
            if self.position_known() {
                self.home = Some(self.body.at);
                self.send_home();
            }
            self.event(Event::Armed);
            self.say(MavSeverity::MAV_SEVERITY_INFO, "Arming motors");
        } else {
            self.task = Task::Idle;
            self.reset_mission();
            self.failing = None;
            self.event(Event::Disarmed);
            self.say(MavSeverity::MAV_SEVERITY_INFO, "Disarming motors");
        }
    }

    pub(super) fn landed(&self) -> Landed {
        match self.task {
            _ if !self.airborne => Landed::OnGround,
            Task::TakeOff { .. } => Landed::TakingOff,
            _ if self.task.comes_down() => Landed::Landing,
            _ => Landed::InAir,
        }
    }

    fn note_truth(&mut self) {
        let (latitude, longitude) = self.plane.degrees(self.body.at);
        if self.airborne && self.lists.outside(self.plane, self.body.at) {
            if self.truth.outside.is_zero() {
                self.event(Event::Outside);
            }
            self.truth.outside += STEP;
        }
        let away = place::distance(self.home.unwrap_or_default(), self.body.at);
        let landed = self.landed();
        let truth = &mut self.truth;
        truth.at = self.now;
        (truth.latitude, truth.longitude) = (latitude, longitude);
        truth.altitude = self.body.height;
        truth.speed = self.body.ground_speed();
        truth.home = self.home.map(|home| self.plane.degrees(home));
        truth.armed = self.armed;
        truth.mode = self.mode;
        truth.landed = landed;
        truth.battery = self.battery.percent();
        truth.item = self.progress.current;
        truth.farthest = truth.farthest.max(away);
        truth.highest = truth.highest.max(self.body.height);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push((self.now, event));
    }

    pub(super) fn send(&mut self, message: &MavMessage) {
        if self.now >= self.silent_until {
            let bytes = self.wire.encode(message);
            self.outbox.extend(bytes);
        }
    }

    /// STATUSTEXT, in several parts where it is long.
    pub(super) fn say(&mut self, severity: MavSeverity, text: &str) {
        self.event(Event::Says(severity as u8, text.to_owned()));
        let parts: Vec<&[u8]> = text.as_bytes().chunks(50).collect();
        let id = if parts.len() > 1 {
            self.text_id = self.text_id % 65_000 + 1;
            self.text_id
        } else {
            0
        };
        for (part, number) in parts.into_iter().zip(0..) {
            let mut bytes = [0; 50];
            bytes[..part.len()].copy_from_slice(part);
            self.send(&MavMessage::STATUSTEXT(STATUSTEXT_DATA {
                severity,
                text: bytes.into(),
                id,
                chunk_seq: number,
            }));
        }
    }
}
