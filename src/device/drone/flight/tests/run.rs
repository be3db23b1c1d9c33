//! Runs a flight against the fake, keeps what happened, and checks the rules that hold for every flight.

use std::time::Duration;

use super::super::modes::Mode;
use super::super::*;
use super::fake::{Fake, HOME, Quirk, THEM, US};
use crate::device::drone::geo::{Polygon, Position};
use crate::device::drone::link::Address;
use crate::device::drone::plan::{Limits, Plan, Step};
use crate::device::drone::settings::{Failsafes, OnLostServer};
use crate::device::drone::wire::number::*;
use crate::device::drone::wire::{Heard, Node};

pub fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

pub fn drone() -> DroneSettings {
    DroneSettings {
        address: Address::parse("/dev/test", None).unwrap(),
        allowed_hours: None,
        requires: Vec::new(),
        us: US,
        vehicle: THEM,
        signing_key: None,
        limits: Limits {
            max_altitude: 50.0,
            max_distance: 300.0,
            max_speed: 10.0,
            fence: None,
        },
        performance: Performance {
            cruise_speed: 5.0,
            climb_speed: 2.0,
            descent_speed: 1.0,
            return_altitude: 10.0,
            endurance: Duration::from_secs(1_000),
        },
        min_battery: 50,
        battery_reserve: 25,
        min_satellites: 8,
        min_fix: 3,
        failsafes: Failsafes::Require,
        on_lost_server: OnLostServer::Return,
        lost_after: Duration::from_secs(30),
        max_time: Duration::from_secs(1_800),
    }
}

pub fn square(metres: f64) -> Polygon {
    let corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)];
    let corner = |(east, north): (f64, f64)| HOME.offset(east * metres, north * metres);
    Polygon::new(corners.into_iter().map(corner).collect()).unwrap()
}

/// Up 20 m, 100 m to the east, 10 s there, and back: about 90 s.
pub fn there_and_back() -> Plan {
    plan(100.0, Step::Return)
}

pub fn plan(metres: f64, ending: Step) -> Plan {
    let point = |metres: f64, seconds| Step::Waypoint {
        at: HOME.offset(metres, 0.0),
        altitude: 20.0,
        hold: Duration::from_secs(seconds),
    };
    let steps = vec![
        Step::Takeoff { altitude: 20.0 },
        point(metres / 2.0, 0),
        point(metres, 10),
        ending,
    ];
    Plan::new(steps).unwrap()
}

/// What happens to a flight.
#[derive(Debug, Clone)]
pub enum Event {
    Mode(u32),
    Silent(bool),
    Deaf(bool),
    Disarm,
    Reboot,
    Battery(f64),
    Breach,
    Text(&'static str),
    Rival,
    Order(Order),
    Again,
    Mended(Quirk),
}

/// A flight to be run.
pub struct Case {
    pub fake: Fake,
    pub setup: Setup,
    pub dry: bool,
    pub record: Option<Record>,
    /// When a phase was first seen, and so many milliseconds later.
    pub events: Vec<(Phase, u64, Event)>,
    /// The server's answers in order; then it confirms.
    pub answers: Vec<Confirmed>,
    /// Whether records are written.
    pub writes: bool,
    /// Loses, doubles and reorders a part of all frames, by this seed; 0: none.
    pub noise: u64,
}

impl Case {
    pub fn new() -> Self {
        Case {
            fake: Fake::new(false),
            setup: Setup {
                process: "p".to_owned(),
                plan: there_and_back(),
                drone: drone(),
                end: None,
            },
            dry: false,
            record: None,
            events: Vec::new(),
            answers: Vec::new(),
            writes: true,
            noise: 0,
        }
    }
}

/// What happened.
pub struct Run {
    pub end: End,
    pub millis: u64,
    pub said: Vec<(u64, Said)>,
    pub told: Vec<String>,
    pub records: Vec<RecordPhase>,
    pub phases: Vec<(u64, Phase)>,
    pub fake: Fake,
}

impl Run {
    pub fn commands(&self, number: u16) -> Vec<(u64, f32)> {
        let of = |(millis, said): &(u64, Said)| match said {
            Said::CommandLong { command, params, .. } if *command == number => Some((*millis, params[0])),
            _ => None,
        };
        self.said.iter().filter_map(of).collect()
    }

    pub fn arms(&self) -> usize {
        self.commands(CMD_COMPONENT_ARM_DISARM)
            .iter()
            .filter(|one| one.1 == 1.0)
            .count()
    }

    pub fn starts(&self) -> usize {
        self.commands(CMD_MISSION_START).len()
    }

    pub fn when(&self, phase: Phase) -> Option<u64> {
        self.phases.iter().find(|one| one.1 == phase).map(|one| one.0)
    }

    pub fn why(&self) -> String {
        match &self.end {
            End::Ready(text) => format!("ready: {text}"),
            End::Flown(summary) => format!("flown: {}", summary.text()),
            End::Returned { why, .. } => format!("returned: {why}"),
            End::NotFlown { why } => format!("not flown: {why}"),
            End::HandsOff { why, .. } => format!("hands off: {why}"),
        }
    }
}

/// The rules that hold for every flight, checked act by act.
#[derive(Default)]
pub struct Rules {
    confirmed: Option<BootTime>,
    ordered: bool,
    over: bool,
    starts: usize,
    first_start: Option<BootTime>,
    told: usize,
    recorded: Vec<RecordPhase>,
}

impl Rules {
    pub fn confirm(&mut self, until: BootTime) {
        self.confirmed = Some(until);
    }

    pub fn order(&mut self) {
        self.ordered = true;
    }

    pub fn act(&mut self, act: &Act, vehicle: &Vehicle, now: BootTime) {
        assert!(!self.over, "after its end: {act:?}");
        match act {
            Act::Send(Said::CommandLong { command, params, .. }) => match (*command, params[0]) {
                (CMD_COMPONENT_ARM_DISARM, first) if first != 0.0 => {
                    assert_eq!((first, params[1]), (1.0, 0.0), "never by force");
                    assert_eq!(self.starts, 0, "armed after a start");
                    assert_eq!(self.recorded, [RecordPhase::Armed]);
                    self.spend(now);
                }
                (CMD_COMPONENT_ARM_DISARM, _) => assert_eq!(params[1], 0.0, "never by force"),
                (CMD_MISSION_START, _) => {
                    self.starts += 1;
                    let first = *self.first_start.get_or_insert(now);
                    assert!(self.starts <= 3 && now.saturating_since(first) < Duration::from_secs(8));
                    assert!(vehicle.armed() && matches!(vehicle.mode(), Some(Mode::Guided | Mode::Hold)));
                    assert_eq!(self.recorded, [RecordPhase::Armed, RecordPhase::Started]);
                    self.spend(now);
                }
                (CMD_NAV_RETURN_TO_LAUNCH | CMD_NAV_LAND, _) => {}
                (CMD_DO_SET_MODE, _) => {
                    let family = vehicle.family().unwrap();
                    let home = [Mode::Return, Mode::Land]
                        .iter()
                        .any(|mode| mode.command(family).is_some_and(|one| one.1 == *params));
                    assert!(home || !self.ordered, "a mode after an order: {params:?}");
                }
                (CMD_RUN_PREARM_CHECKS, _) => assert!(!self.ordered, "checks after an order"),
                other => panic!("{other:?}"),
            },
            Act::Send(said) => {
                // A mission that is read back and acknowledged after a crash is no order's business.
                let tidy = matches!(
                    said,
                    Said::MissionClearAll { .. } | Said::MissionRequestList { .. }
                );
                assert!(tidy || !self.ordered, "after an order: {said:?}");
            }
            Act::Confirm => {
                assert!(!self.ordered, "the server is asked after an order");
                self.confirmed = None;
            }
            Act::Record(record) => self.recorded.push(record.phase),
            Act::Progress(text) => {
                self.told += 1;
                assert!(
                    self.told <= MOST_PROGRESS && text.len() < 600,
                    "{} {text}",
                    self.told
                );
            }
            Act::Over(_) => self.over = true,
        }
    }

    fn spend(&mut self, now: BootTime) {
        assert!(!self.ordered, "after an order");
        let until = self.confirmed.take().expect("not confirmed");
        assert!(now < until, "confirmed too long ago");
    }
}

/// What becomes of a frame.
enum Fate {
    Through,
    Lost,
    Twice,
    Late,
}

/// A bad line, the same for the same seed (xorshift).
struct Noise(u64);

impl Noise {
    fn fate(&mut self) -> Fate {
        if self.0 == 0 {
            return Fate::Through;
        }
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        match self.0 % 20 {
            0 => Fate::Lost,
            1 => Fate::Twice,
            2 => Fate::Late,
            _ => Fate::Through,
        }
    }
}

/// Runs until it is over.
pub fn run(case: Case) -> Run {
    let Case {
        mut fake,
        setup,
        dry,
        record,
        events,
        answers,
        writes,
        noise,
    } = case;
    let mut noise = Noise(noise);
    let mut late: Vec<Frame> = Vec::new();
    let mut answers = answers.into_iter();
    let resumed = record.is_some();
    let mut vehicle = Vehicle::new(THEM, US);
    let mut flight = match (record, dry) {
        (Some(record), _) => Flight::resume(record, &setup.drone, at(0)),
        (None, true) => Flight::preflight(setup, at(0)),
        (None, false) => Flight::dispatch(setup, at(0)),
    };
    let mut rules = Rules::default();
    let mut run = Run {
        end: End::Ready(String::new()),
        millis: 0,
        said: Vec::new(),
        told: Vec::new(),
        records: Vec::new(),
        phases: Vec::new(),
        fake: fake.clone(),
    };
    let mut due: Vec<(u64, Event)> = Vec::new();
    run.phases.push((0, flight.phase()));
    let at_once = events.iter().filter(|one| one.0 == flight.phase());
    due.extend(at_once.map(|(_, after, event)| (*after, event.clone())));
    for millis in (0..7_200_000_u64).step_by(100) {
        let now = at(millis);
        let (ripe, rest): (Vec<_>, Vec<_>) = due.into_iter().partition(|one| one.0 <= millis);
        due = rest;
        for (_, event) in ripe {
            match event {
                Event::Mode(mode) => fake.set_mode(mode),
                Event::Silent(silent) => fake.silent = silent,
                Event::Deaf(deaf) => fake.deaf = deaf,
                Event::Disarm => fake.armed = false,
                Event::Reboot => {
                    (fake.armed, fake.mode, fake.altitude) = (false, 0, 0.0);
                }
                Event::Battery(percent) => fake.battery = percent,
                Event::Breach => fake.breached = true,
                Event::Text(text) => fake.say(text),
                Event::Rival => {
                    let from = Node {
                        system: 255,
                        component: 190,
                    };
                    let heard = Heard::Heartbeat {
                        autopilot: 8,
                        vehicle: 6,
                        base_mode: 0,
                        custom_mode: 0,
                        system_status: 4,
                    };
                    vehicle.hear(&Frame { from, heard }, now);
                }
                Event::Order(order) => {
                    // What was decided before is said before.
                    if !resumed {
                        rules.order();
                    }
                    flight.order(order);
                }
                Event::Mended(quirk) => _ = fake.quirks.remove(&quirk),
                Event::Again => fake.set_mode(super::fake::AUTO),
            }
        }
        vehicle.note_signatures(fake.signatures);
        let mut frames = Vec::new();
        for frame in fake.tick(millis) {
            match noise.fate() {
                Fate::Through => frames.push(frame),
                Fate::Lost => {}
                Fate::Twice => frames.extend([frame.clone(), frame]),
                Fate::Late => late.push(frame),
            }
        }
        // Behind what was said after them, up to a second.
        if noise.0 == 0 || millis % 1_000 == 900 {
            frames.append(&mut late);
        }
        for frame in frames {
            vehicle.hear(&frame, now);
            flight.hear(&vehicle, &frame, now);
        }
        flight.tick(&vehicle, now);
        let phase = flight.phase();
        if run.phases.last().is_none_or(|one| one.1 != phase) {
            let first = run.phases.iter().all(|one| one.1 != phase);
            let of = events.iter().filter(|one| first && one.0 == phase);
            due.extend(of.map(|(_, after, event)| (millis + after, event.clone())));
            run.phases.push((millis, phase));
        }
        let mut heard = Vec::new();
        while let Some(act) = flight.next_act() {
            rules.act(&act, &vehicle, now);
            match act {
                Act::Send(said) => {
                    heard.push(said.clone());
                    run.said.push((millis, said));
                }
                Act::Confirm => {
                    let until = now + Duration::from_secs(1);
                    let answer = answers.next().unwrap_or(Confirmed::Until(until));
                    if let Confirmed::Until(until) = answer {
                        rules.confirm(until);
                    }
                    flight.confirmed(answer);
                }
                Act::Record(record) => {
                    run.records.push(record.phase);
                    if writes {
                        flight.recorded();
                    }
                }
                Act::Progress(text) => run.told.push(text),
                Act::Over(end) => {
                    assert_eq!((flight.phase(), flight.wake()), (Phase::Over, None));
                    assert_eq!(flight.next_act(), None);
                    (run.end, run.millis, run.fake) = (end, millis, fake);
                    return run;
                }
            }
        }
        if !fake.silent {
            for said in heard {
                match noise.fate() {
                    Fate::Through | Fate::Late => fake.hear(&said, millis),
                    Fate::Lost => {}
                    Fate::Twice => {
                        fake.hear(&said, millis);
                        fake.hear(&said, millis);
                    }
                }
            }
        }
        assert!(
            flight
                .wake()
                .is_some_and(|wake| wake > now && wake <= now + Duration::from_millis(200))
        );
    }
    panic!("it has no end: {:?} {:?}", run.phases, run.told);
}

/// A position that a test names by metres.
pub fn east(metres: f64) -> Position {
    HOME.offset(metres, 0.0)
}
