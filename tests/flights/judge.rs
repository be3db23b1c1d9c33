//! Who says whether the promises were kept: the vehicle's own truth and the hub's ledger, both in the world's time. Never the
//! agent.
//!
//! - *twice*: two take-offs for one process, over all docks, restarts and copies of the ledger.
//! - *forbidden*: armed or started for a process that was not the dock's any more, or after an order to come down was
//!   answered.
//! - *aloft*: in the air after the lease, without anything that kept our last commands from reaching it.
//! - *outside*: beyond the fence or the limits, moved there by nobody else.
//! - *deaf*: an order, a deleted process, a stop or a lost server that did not bring it home in time.
//! - *false*: closed as successful, and not flown as planned.
//! - *unsaid*: a pilot took over, and the process does not say so.
//! - *left*: a mission that was not flown was left in the vehicle.
//! - *fell*: it fell, and nothing had happened to it.
//! - *stuck*: a process that has not ended, or a vehicle that is not at rest, long after everything.

use std::collections::BTreeMap;
use std::time::Duration;

use outpost::hub::ledger::{MemoryStore, View};
use outpost::protocol::model::ProcessState;
use outpost::vehicle::{Act, Cause, Event, Family, Mode, Trouble, Truth};

use super::met::{self, Met};
use super::plan::{MAX_ALTITUDE, MAX_DISTANCE, Plan, SHORT_LEASE, Work};
use super::stage::Began;
use crate::simulated::clock::{Moment, SimulatedClock};
use crate::simulated::verdict;

/// How old a confirmation may be by which it is armed or started (docs/fence.md, 3), and what a step of the world adds.
const CONFIRMED: Duration = Duration::from_millis(1150);
/// What frames that are lost, damaged or swapped may add: a few commands are repeated.
const REPEATED: Duration = Duration::from_secs(6);
/// How soon an order that was submitted must show in the vehicle's mode.
const ORDERED: Duration = Duration::from_secs(2);
/// The same where the agent has to find out by itself: it asks every five seconds.
const SUPERVISED: Duration = Duration::from_secs(9);
/// The same for SIGTERM: two seconds of grace come first.
const STOPPED: Duration = Duration::from_secs(6);
/// The same for a server that can't be reached: 30 s by default, from the last answered question.
const LOST: Duration = Duration::from_secs(40);
/// Whatever happens to a vehicle or its wire lasts no longer (plan.rs).
const TROUBLE: Duration = Duration::from_secs(45);
/// How long it takes until an agent whose network failed is certain to listen again: a poll, its deadline, a pause.
const LISTENS: Duration = Duration::from_secs(50);
/// How long it takes until an agent that was not there knows its vehicle.
const KNOWS: Duration = Duration::from_secs(12);
/// A command given so long before the lease ends has brought it down by then.
const WAY_HOME: Duration = Duration::from_secs(150);
/// So many heartbeats are remembered.
const HEARTBEATS: usize = 20;
/// Two that are so far apart are not one and its copy.
const APART: Duration = Duration::from_millis(500);
/// How long a frame is on its way at most, on a line that does not hold it up: two steps of the world.
const STEPS: Duration = Duration::from_millis(100);
/// After so long it is known who chose a mode.
const NOTICED: Duration = Duration::from_secs(8);
/// How long a vehicle may keep a mission after its process was closed.
const CLEARED: Duration = Duration::from_secs(8);

const ARM: u16 = 400;
const START: u16 = 300;

/// A promise that was broken.
pub type Violation = verdict::Violation<Kind>;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Twice,
    Forbidden,
    Aloft,
    Outside,
    Deaf,
    False,
    Unsaid,
    Left,
    Fell,
    Stuck,
}

/// A process, as the ledger has it.
#[derive(Debug)]
struct Process {
    verb: &'static str,
    /// Seconds.
    lease: i64,
    dock: Option<usize>,
    state: Option<ProcessState>,
    /// By whom it may be flown now.
    runs: Option<String>,
    assigned: Option<Moment>,
    lease_end: Option<Moment>,
    /// Since when it is nobody's.
    over: Option<Moment>,
    /// Since when it was answered that what began of it comes down.
    ordered: Option<Moment>,
    began: Option<Moment>,
    /// It was said once that a pilot took over; a ledger may have forgotten that.
    hands_off: bool,
    /// Uploaded to the vehicle since it began.
    uploaded: bool,
}

impl Process {
    fn is_final(&self) -> bool {
        matches!(
            self.state,
            None | Some(ProcessState::Successful | ProcessState::Failed)
        )
    }
}

/// From arming to disarming.
#[derive(Debug)]
struct Flight {
    process: Option<String>,
    took_off: Option<Moment>,
    is_over: bool,
    /// When a pilot chose a mode by which he flies himself, and which (`custom_mode`).
    piloted: Option<(Moment, u32)>,
    /// What happened to the vehicle meanwhile, but for its battery.
    troubles: usize,
    aloft_said: bool,
}

impl Flight {
    fn is_up(&self) -> bool {
        self.took_off.is_some() && !self.is_over
    }
}

/// What is known of a dock.
#[derive(Debug, Default)]
struct Dock {
    /// What was begun last.
    process: Option<String>,
    flights: Vec<Flight>,
    is_armed: bool,
    troubles: usize,
    rebooted: bool,
    piloted: bool,
    troubled_until: Moment,
    network_failed: Moment,
    agent_missed: Moment,
    agent_is_up: bool,
    commands: usize,
    /// The last heartbeats that came through: when, and their mode.
    heard: Vec<(Moment, u32)>,
}

/// Something that has to be looked at later.
#[derive(Debug)]
struct Expected {
    at: Moment,
    since: Moment,
    dock: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The flight with that number returns or lands (or: lands), or is down.
    Down {
        flight: usize,
        lands: bool,
        needs_agent: bool,
        needs_network: bool,
        /// As it is counted (met.rs).
        why: &'static str,
    },
    /// No mission is left of that process, which failed of that.
    Cleared { process: String, error: String },
}

/// See the module.
pub struct Judge {
    docks: Vec<Dock>,
    /// What wires and arming add to every patience.
    slack: Vec<Duration>,
    processes: BTreeMap<String, Process>,
    expected: Vec<Expected>,
    violations: Vec<Violation>,
    pub take_offs: usize,
    pub orders_checked: usize,
    pub met: Met,
    /// How long a command is on its way to each vehicle.
    reach: Vec<Duration>,
    families: Vec<Family>,
    /// How each dock's flights are counted.
    flown: Vec<Vec<&'static str>>,
}

impl Judge {
    pub fn new(plan: &Plan) -> Self {
        let slack = plan.docks.iter().map(|dock| {
            let line = &dock.line;
            let bad = line.loss + line.corrupt + line.reorder + line.duplicate > 0.0;
            let repeated = if bad { REPEATED } else { Duration::ZERO };
            repeated + 2 * (line.delay + line.jitter)
        });
        let flown = plan.docks.iter().map(|dock| {
            let mut flown = vec![met::family(dock.family)];
            let line = &dock.line;
            if line.loss + line.corrupt + line.reorder + line.duplicate > 0.0 {
                flown.push("flown over a bad wire");
            }
            if plan.docks.len() > 1 {
                flown.push("flown beside a second dock");
            }
            flown
        });
        Judge {
            docks: plan.docks.iter().map(|_| Dock::default()).collect(),
            flown: flown.collect(),
            reach: plan
                .docks
                .iter()
                .map(|dock| dock.line.delay + dock.line.jitter + STEPS)
                .collect(),
            families: plan.docks.iter().map(|dock| dock.family).collect(),
            slack: slack.collect(),
            processes: BTreeMap::new(),
            expected: Vec::new(),
            violations: Vec::new(),
            take_offs: 0,
            orders_checked: 0,
            met: Met::default(),
        }
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn accuse(&mut self, at: Moment, kind: Kind, text: String) {
        self.violations.push(Violation { at, kind, text });
    }

    // ---- what the world tells

    /// A process was submitted.
    pub fn submitted(&mut self, id: &str, work: &Work, now: Moment, is_airborne: impl Fn(usize) -> bool) {
        let process = Process {
            verb: work.verb,
            lease: work.lease,
            dock: work.dock,
            state: Some(ProcessState::Waiting),
            runs: None,
            assigned: None,
            lease_end: None,
            over: None,
            ordered: None,
            began: None,
            hands_off: false,
            uploaded: false,
        };
        self.processes.insert(id.to_owned(), process);
        if let (Some(dock), "abort" | "land") = (work.dock, work.verb)
            && is_airborne(dock)
        {
            self.met.note("in the air: an order");
            let (lands, why) = match work.verb {
                "land" => (true, "judged: down after a land"),
                _ => (false, "judged: down after an abort"),
            };
            let queued = |process: &&Process| {
                process.verb == "dispatch"
                    && process.dock == Some(dock)
                    && process.state == Some(ProcessState::Waiting)
            };
            if self.processes.values().filter(queued).count() >= 5 {
                self.met.note("in the air: an order behind five dispatches");
            }
            self.expect_down(dock, now, ORDERED, (lands, true, true), why);
        }
    }

    /// A device began a dispatch.
    pub fn began(&mut self, began: &Began) {
        self.docks[began.dock].process = Some(began.process.clone());
        if let Some(process) = self.processes.get_mut(&began.process) {
            process.began = Some(began.at);
            process.dock = Some(began.dock);
            process.uploaded = false;
        }
    }

    /// An agent is there, or not.
    pub fn agent(&mut self, dock: usize, is_up: bool, now: Moment) {
        self.docks[dock].agent_is_up = is_up;
        self.docks[dock].agent_missed = now;
    }

    /// Something on the way between a dock and the server failed.
    pub fn network_failed(&mut self, dock: usize, now: Moment) {
        self.docks[dock].network_failed = now;
    }

    /// An agent can't do anything any more, whatever it was about to do.
    pub fn killed(&mut self, dock: usize, now: Moment) {
        self.agent(dock, false, now);
        self.expected.retain(|expected| expected.dock != dock);
    }

    /// An agent was told to stop.
    pub fn stopping(&mut self, number: usize, now: Moment) {
        let dock = &self.docks[number];
        if dock.agent_is_up && dock.agent_missed.after(KNOWS) < now {
            self.expect_down(
                number,
                now,
                STOPPED,
                (false, false, false),
                "judged: down after SIGTERM",
            );
        }
        self.agent(number, false, now);
    }

    /// A dock reaches the server no more, for so long.
    pub fn partitioned(&mut self, dock: usize, now: Moment, span: Duration) {
        if span > LOST {
            self.expect_down(
                dock,
                now,
                LOST,
                (false, true, false),
                "judged: down after the server was lost",
            );
        }
    }

    fn expect_down(
        &mut self,
        dock: usize,
        since: Moment,
        patience: Duration,
        (lands, needs_agent, needs_network): (bool, bool, bool),
        why: &'static str,
    ) {
        let Some(flight) = self.docks[dock].flights.len().checked_sub(1) else {
            return;
        };
        if self.docks[dock].flights[flight].took_off.is_none() {
            return;
        }
        self.expected.push(Expected {
            at: since.after(patience + self.slack[dock]),
            since,
            dock,
            what: What::Down {
                flight,
                lands,
                needs_agent,
                needs_network,
                why,
            },
        });
    }

    // ---- the ledger

    /// Reads the ledger after it may have changed.
    pub fn look(&mut self, ledger: &MemoryStore, clock: &SimulatedClock, now: Moment) {
        let ids: Vec<String> = self.processes.keys().cloned().collect();
        for id in ids {
            let record = ledger.record(&id).unwrap();
            let state = record.as_ref().map(|record| record.process.state);
            let runs = record.as_ref().and_then(|record| {
                (record.process.state == ProcessState::Running)
                    .then(|| record.process.assigned_runtime_id.clone())
            });
            let process = self.processes.get_mut(&id).unwrap();
            let before = (process.state, process.runs.clone());
            if before == (state, runs.clone()) {
                continue;
            }
            process.state = state;
            process.runs = runs;
            if let Some(record) = record.as_ref().filter(|_| process.runs.is_some()) {
                process.over = None;
                process.ordered = None;
                if process.assigned.replace(now).is_some() {
                    self.met.note("handed out again");
                }
                let dock = process.dock.filter(|_| process.verb == "dispatch");
                let flight = dock.and_then(|dock| self.docks[dock].flights.last());
                if flight.is_some_and(|flight| flight.is_up() && flight.process.as_ref() != Some(&id)) {
                    self.met.note("handed out while another flies");
                }
                process.lease_end = record.lease_due.map(|due| clock.moment_of(due));
            } else if before.1.is_some() {
                process.over = Some(now);
            }
            let text = record.map(|record| record.process.error_message);
            self.changed(&id, text.unwrap_or_default(), now);
        }
    }

    fn changed(&mut self, id: &str, error: String, now: Moment) {
        let process = &self.processes[id];
        let Some(dock) = process.dock else { return };
        match (process.verb, process.state) {
            ("dispatch", Some(ProcessState::Successful)) => self.check_success(id, now),
            ("dispatch", Some(ProcessState::Failed)) => self.check_failure(id, dock, &error, now),
            ("dispatch", None) => {
                let current = self.docks[dock].process.as_deref() == Some(id);
                if current && process.began.is_some() {
                    self.expect_down(
                        dock,
                        now,
                        SUPERVISED,
                        (false, true, true),
                        "judged: down after a deletion",
                    );
                }
            }
            ("abort" | "land", Some(ProcessState::Successful)) => {
                let assigned = process.assigned.unwrap_or(now);
                for other in self.processes.values_mut() {
                    let begun = other.began.is_some_and(|began| began < assigned);
                    if other.verb == "dispatch" && other.dock == Some(dock) && begun && other.over.is_none() {
                        other.ordered.get_or_insert(now);
                    }
                }
            }
            _ => {}
        }
    }

    /// By which dock a process is flown now.
    pub fn flown_now(&self, id: &str) -> Option<usize> {
        self.docks.iter().position(|dock| {
            let flight = dock.flights.last();
            flight.is_some_and(|flight| flight.is_up() && flight.process.as_deref() == Some(id))
        })
    }

    fn flights_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (&'a Dock, &'a Flight)> {
        self.docks.iter().flat_map(move |dock| {
            let flights = dock.flights.iter();
            flights
                .filter(move |flight| flight.process.as_deref() == Some(id))
                .map(move |flight| (dock, flight))
        })
    }

    fn check_success(&mut self, id: &str, now: Moment) {
        let flown: Vec<_> = self
            .flights_of(id)
            .filter(|(_, flight)| flight.took_off.is_some())
            .collect();
        let well = matches!(flown.as_slice(), [(_, flight)] if flight.piloted.is_none() && flight.is_over);
        if well {
            self.met.note("judged: flown as planned");
        } else {
            let text = format!("{id} was closed as successful after {flown:?}");
            self.accuse(now, Kind::False, text);
        }
    }

    fn check_failure(&mut self, id: &str, dock: usize, error: &str, now: Moment) {
        let flown = self.flights_of(id).any(|(_, flight)| flight.took_off.is_some());
        if !flown && self.processes[id].uploaded {
            self.expected.push(Expected {
                at: now.after(CLEARED + self.slack[dock]),
                since: now,
                dock,
                what: What::Cleared {
                    process: id.to_owned(),
                    error: error.to_owned(),
                },
            });
        }
        if flown && error.contains("the time that is left") {
            self.met.note("judged: turned back for its lease");
        }
        let piloted = self.flights_of(id).find_map(|(dock, flight)| {
            let (at, _) = flight.piloted?;
            let alone = flight.troubles == 1 && dock.agent_missed < at;
            (alone && dock.agent_is_up).then_some(at)
        });
        let by_server = self.processes[id].lease_end.is_some_and(|end| now >= end);
        let Some(at) = piloted.filter(|_| !by_server) else {
            return;
        };
        let process = self.processes.get_mut(id).unwrap();
        if error.contains("hands off") {
            process.hands_off = true;
            self.met.note("judged: a pilot is named");
        } else if !process.hands_off && now > at.after(NOTICED) {
            let text = format!("a pilot took over at {at}, and {id} failed of: {error}");
            self.accuse(now, Kind::Unsaid, text);
        }
    }

    // ---- the vehicle

    /// What happened to a vehicle since it was last looked at.
    pub fn saw(
        &mut self,
        dock: usize,
        events: &[(Moment, Event)],
        heard: &[u32],
        truth: &Truth,
        now: Moment,
    ) {
        self.docks[dock].is_armed = truth.armed;
        for (at, event) in events {
            self.event(dock, *at, event);
        }
        // The agent has them after all that happened.
        let heartbeats = &mut self.docks[dock].heard;
        heartbeats.extend(heard.iter().map(|mode| (now, *mode)));
        let old = heartbeats.len().saturating_sub(HEARTBEATS);
        heartbeats.drain(..old);
        let told = &truth.commands[self.docks[dock].commands..];
        self.docks[dock].commands = truth.commands.len();
        for command in told {
            let name = match command.command {
                ARM if command.params[0] == 1.0 => "armed",
                START => "started",
                _ => continue,
            };
            self.check_allowed(dock, name, now);
        }
        self.check_aloft(dock, truth, now);
    }

    fn event(&mut self, dock: usize, at: Moment, event: &Event) {
        match event {
            Event::Armed => {
                let dock = &mut self.docks[dock];
                dock.flights.push(Flight {
                    process: dock.process.clone(),
                    took_off: None,
                    is_over: false,
                    piloted: None,
                    troubles: usize::from(at < dock.troubled_until),
                    aloft_said: false,
                });
            }
            Event::Disarmed => {
                if let Some(flight) = self.docks[dock].flights.last_mut() {
                    let process = flight.process.as_ref().and_then(|id| self.processes.get(id));
                    let in_time = process.is_some_and(|process| process.lease_end > Some(at));
                    if flight.is_up() && flight.troubles == 0 && in_time {
                        self.met.note("judged: down before the lease ends");
                    }
                    flight.is_over = true;
                }
            }
            Event::TakeOff => self.take_off(dock, at),
            Event::Uploaded("mission", length) if *length > 0 => {
                let process = self.docks[dock].process.as_ref();
                if let Some(process) = process.and_then(|id| self.processes.get_mut(id)) {
                    process.uploaded = true;
                }
            }
            Event::Mode(_, Cause::Command(..)) => {
                // Nobody at our end can know of a pilot whose mode no two heartbeats had told when the command left. One may
                // be a copy, or late.
                let reach = self.reach[dock];
                let there = &mut self.docks[dock];
                if let Some(flight) = there.flights.last_mut()
                    && let Some((chosen, mode)) = flight.piloted
                {
                    let told = there
                        .heard
                        .iter()
                        .filter(|(heard, told)| *told == mode && *heard > chosen && heard.after(reach) <= at);
                    let told: Vec<Moment> = told.map(|(heard, _)| *heard).collect();
                    let known = told.first().zip(told.last());
                    if known.is_none_or(|(first, last)| first.after(APART) > *last) {
                        flight.piloted = None;
                    }
                }
            }
            Event::Mode(mode, Cause::Pilot) => {
                let family = self.families[dock];
                let dock = &mut self.docks[dock];
                dock.piloted = true;
                if let (Mode::Stabilize | Mode::Loiter, Some(flight)) = (mode, dock.flights.last_mut())
                    && dock.is_armed
                {
                    flight.piloted.get_or_insert((at, mode.custom(family)));
                }
            }
            Event::Trouble(act) => {
                let dock = &mut self.docks[dock];
                let up = dock.flights.last().is_some_and(Flight::is_up);
                if let Some(what) = met::act(act).filter(|_| up) {
                    self.met.note(what);
                }
                if matches!(act, Act::Vehicle(Trouble::Battery(_))) {
                    return;
                }
                dock.troubled_until = at.after(TROUBLE);
                dock.troubles += 1;
                dock.rebooted |= matches!(act, Act::Vehicle(Trouble::Reboot));
                if let Some(flight) = dock.flights.last_mut() {
                    flight.troubles += 1;
                }
            }
            _ => {}
        }
    }

    fn take_off(&mut self, dock: usize, at: Moment) {
        self.take_offs += 1;
        for what in &self.flown[dock] {
            self.met.note(what);
        }
        let Some(flight) = self.docks[dock].flights.last_mut() else {
            return;
        };
        let process = flight.process.clone();
        let again = flight.took_off.replace(at);
        let Some(id) = process else {
            self.accuse(
                at,
                Kind::Forbidden,
                format!("dock {dock} took off for no process"),
            );
            return;
        };
        if let Some(process) = self.processes.get(&id)
            && process.lease <= SHORT_LEASE
        {
            self.met.note("flown on a short lease");
        }
        let count = self
            .flights_of(&id)
            .filter(|(_, flight)| flight.took_off.is_some())
            .count();
        if count > 1 || again.is_some() {
            self.accuse(at, Kind::Twice, format!("dock {dock} took off again for {id}"));
        }
    }

    fn check_allowed(&mut self, dock: usize, what: &str, now: Moment) {
        let id = self.docks[dock].process.clone().unwrap_or_default();
        let Some(process) = self.processes.get(&id) else {
            self.accuse(now, Kind::Forbidden, format!("dock {dock} was {what} for {id:?}"));
            return;
        };
        let allowed = CONFIRMED + self.slack[dock];
        let since = [process.over, process.ordered].into_iter().flatten().min();
        if let Some(since) = since.filter(|since| since.after(allowed) < now) {
            let text = format!("dock {dock} was {what} for {id}, which was over since {since}");
            self.accuse(now, Kind::Forbidden, text);
        }
    }

    fn check_aloft(&mut self, number: usize, truth: &Truth, now: Moment) {
        let dock = &self.docks[number];
        let Some(flight) = dock.flights.last().filter(|_| truth.airborne()) else {
            return;
        };
        if flight.aloft_said || flight.troubles > 0 {
            return;
        }
        let process = flight.process.as_ref().and_then(|id| self.processes.get(id));
        let Some(end) = process.and_then(|process| process.lease_end) else {
            return;
        };
        let missed = dock.agent_missed.after(WAY_HOME) > end && flight.took_off < Some(dock.agent_missed);
        if now <= end.after(Duration::from_millis(100)) || missed {
            return;
        }
        let text = format!(
            "dock {number} flies in mode {}; the lease ended at {end}: {flight:?}",
            truth.mode
        );
        self.docks[number].flights.last_mut().unwrap().aloft_said = true;
        self.accuse(now, Kind::Aloft, text);
    }

    /// Looks at what is due.
    pub fn tick(&mut self, number: usize, truth: &Truth, mission: usize, now: Moment) {
        let mut index = 0;
        while let Some(expected) = self.expected.get(index) {
            if expected.dock != number || expected.at > now {
                index += 1;
                continue;
            }
            let expected = self.expected.swap_remove(index);
            self.check_expected(&expected, truth, mission, now);
        }
    }

    fn check_expected(&mut self, expected: &Expected, truth: &Truth, mission: usize, now: Moment) {
        let dock = &self.docks[expected.dock];
        let calm = dock.troubled_until < expected.since;
        let agent = dock.agent_is_up && dock.agent_missed.after(KNOWS) < expected.since;
        match &expected.what {
            What::Down {
                flight,
                lands,
                needs_agent,
                needs_network,
                why,
            } => {
                let network =
                    dock.network_failed == Moment(0) || dock.network_failed.after(LISTENS) < expected.since;
                let same = *flight + 1 == dock.flights.len() && dock.flights[*flight].troubles == 0;
                if !calm || (*needs_agent && !agent) || (*needs_network && !network) || !same {
                    return;
                }
                self.orders_checked += 1;
                self.met.note(why);
                let comes = matches!((truth.mode, lands), (Mode::Land, _) | (Mode::Return, false));
                if truth.airborne() && !comes {
                    let text = format!("{why} at {}, and it is in mode {}", expected.since, truth.mode);
                    self.accuse(now, Kind::Deaf, text);
                }
            }
            What::Cleared { process, error } => {
                let same = dock.process.as_deref() == Some(process);
                if calm && agent && same {
                    self.met.note("judged: cleared");
                    if mission > 0 {
                        let text = format!("{mission} items are left; {process} failed: {error}");
                        self.accuse(now, Kind::Left, text);
                    }
                }
            }
        }
    }

    // ---- the end

    /// Whether nothing more is to be expected of any process.
    pub fn all_final(&self) -> bool {
        self.processes.values().all(Process::is_final) && self.expected.is_empty()
    }

    /// Whether a vehicle is where it should be when all is over: at rest, or somebody else's.
    pub fn is_at_rest(&self, dock: usize, truth: &Truth) -> bool {
        let dock = &self.docks[dock];
        !truth.airborne() && !truth.armed || dock.piloted || dock.rebooted
    }

    /// Everything had time enough to end.
    pub fn finish(&mut self, plan: &Plan, truths: &[&Truth], now: Moment) {
        let open: Vec<String> = self
            .processes
            .iter()
            .filter(|(_, process)| !process.is_final())
            .map(|(id, process)| format!("{id} has not ended: {process:?}"))
            .collect();
        for text in open {
            self.accuse(now, Kind::Stuck, text);
        }
        for (number, truth) in truths.iter().enumerate() {
            if !self.is_at_rest(number, truth) {
                let text = format!(
                    "dock {number}: mode {}, armed {}, {:?}",
                    truth.mode, truth.armed, truth.landed
                );
                self.accuse(now, Kind::Stuck, text);
            }
            let beyond = truth.farthest > MAX_DISTANCE + 5.0 || truth.highest > MAX_ALTITUDE + 2.0;
            if (beyond || truth.outside > Duration::from_millis(500)) && !plan.is_pushed(number) {
                let text = format!(
                    "dock {number}: {:.0} m far, {:.0} m high, {:?} outside the fence",
                    truth.farthest, truth.highest, truth.outside
                );
                self.accuse(now, Kind::Outside, text);
            }
            let battery = plan.docks[number].battery;
            if truth.crashed && self.docks[number].troubles == 0 && battery >= 100.0 {
                self.accuse(now, Kind::Fell, format!("dock {number} fell"));
            }
        }
    }
}
