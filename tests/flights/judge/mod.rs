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

use crate::met::{self, Met};
use crate::plan::{MAX_ALTITUDE, MAX_DISTANCE, Plan, SHORT_LEASE, Work};
use crate::simulated::clock::{Moment, SimulatedClock};
use crate::simulated::verdict;
use crate::stage::Began;

mod expected;
mod ledger;
mod told;
mod vehicle;

/// What frames that are lost, damaged or swapped may add: a few commands are repeated.
const REPEATED: Duration = Duration::from_secs(6);
/// How long a frame is on its way at most, on a line that does not hold it up: two steps of the world.
const STEPS: Duration = Duration::from_millis(100);
/// How long it takes until an agent that was not there knows its vehicle.
const KNOWS: Duration = Duration::from_secs(12);

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
