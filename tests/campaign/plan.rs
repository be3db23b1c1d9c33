//! What is to happen, all of it drawn from the seed before anything starts.

use std::fmt;
use std::time::Duration;

use outpost::agent::journal::SplitMix64;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes between an agent and the hub for a while, either way: loss, as TCP shows it.
    Stall(Duration),
    /// Whatever passes is late by half a second, for a while.
    Slow(Duration),
    /// The next answer that assigns something is late by so much, beyond many leases.
    LateAssignment(Duration),
    /// Every connection is reset.
    Reset,
    /// The next request's sender is told that no answer will come, though the request passed.
    HalfCloseToAgent,
    /// The hub is told that nothing will follow the next request.
    HalfCloseToHub,
    /// The next answer ends after so many bytes.
    CutAnswer(usize),
    /// The bytes of the next request reach the hub once more, that much later.
    Duplicate(Duration),
    /// The next request is overtaken by what is sent within that time.
    Reorder(Duration),
    /// The agent is killed, and started again after a while.
    Kill(Duration),
    /// The agent is frozen for a while.
    Freeze(Duration),
    /// The agent is told to stop, and started again.
    Stop,
    /// The hub is killed, and started again after a while.
    KillHub(Duration),
}

impl Fault {
    /// For the count of what happened.
    pub fn kind(self) -> &'static str {
        match self {
            Fault::Stall(_) => "stall",
            Fault::Slow(_) => "slow",
            Fault::LateAssignment(_) => "late assignment",
            Fault::Reset => "reset",
            Fault::HalfCloseToAgent => "half-close to the agent",
            Fault::HalfCloseToHub => "half-close to the hub",
            Fault::CutAnswer(_) => "cut in mid-answer",
            Fault::Duplicate(_) => "duplicate",
            Fault::Reorder(_) => "reorder",
            Fault::Kill(_) => "agent killed",
            Fault::Freeze(_) => "agent frozen",
            Fault::Stop => "agent stopped",
            Fault::KillHub(_) => "hub killed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Stall(span)
            | Fault::Slow(span)
            | Fault::LateAssignment(span)
            | Fault::Duplicate(span)
            | Fault::Reorder(span)
            | Fault::Kill(span)
            | Fault::Freeze(span)
            | Fault::KillHub(span) => write!(out, "{}, {} ms", self.kind(), span.as_millis()),
            Fault::CutAnswer(bytes) => write!(out, "{} after {bytes} bytes", self.kind()),
            Fault::Reset | Fault::HalfCloseToAgent | Fault::HalfCloseToHub | Fault::Stop => {
                out.write_str(self.kind())
            }
        }
    }
}

/// What a process asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// *Once*.
    Pulse(Duration),
    /// *Once*.
    Toggle,
    /// *Set*: may be done again.
    On,
}

impl Verb {
    /// As a function names it.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Pulse(_) => "pulse",
            Verb::Toggle => "toggle",
            Verb::On => "on",
        }
    }

    /// Whether what a function asks for may be done once only.
    pub fn is_once(func: &str) -> bool {
        !func.ends_with(".on")
    }
}

/// One process. Each has a line of its own, so that every edge has one that it can be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Before it is submitted, after the last one.
    pub pause: Duration,
    /// The device, whose line is `GPIO…` of the same number.
    pub lamp: usize,
    /// What it asks for.
    pub verb: Verb,
    /// `maxexectime`.
    pub lease: i64,
    /// `maxretries`.
    pub retries: i64,
    /// The agents that may have it: one, or a pair.
    pub agents: Vec<usize>,
    /// How long after it was assigned it is deleted, if it is.
    pub deleted_after: Option<Duration>,
}

/// All of one round.
pub struct Plan {
    /// What befalls each agent, each after a pause.
    pub faults: Vec<Vec<(Duration, Fault)>>,
    /// What befalls the hub.
    pub hub: Vec<(Duration, Fault)>,
    /// What each agent is given to do.
    pub work: Vec<Vec<Work>>,
}

/// Lamps that an agent has of its own, and shares with the other of its pair; then come valves, which are hazardous.
pub const OWN: usize = 48;
pub const SHARED: usize = 16;
pub const VALVES: usize = 32;

const VALVE: &str = "valve";

/// How the device of a number is called, without the number.
pub fn device(lamp: usize) -> &'static str {
    if lamp < OWN + SHARED { "lamp" } else { VALVE }
}

/// Whether a function is one of a hazardous device.
pub fn is_hazardous(func: &str) -> bool {
    func.starts_with(VALVE)
}

struct Draw(SplitMix64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }

    fn fault(&mut self) -> Fault {
        match self.below(100) {
            0..12 => Fault::Stall(self.millis(500, 5_000)),
            12..22 => Fault::LateAssignment(self.millis(500, 4_000)),
            22..28 => Fault::Slow(self.millis(1_000, 5_000)),
            28..35 => Fault::Reset,
            35..41 => Fault::HalfCloseToAgent,
            41..45 => Fault::HalfCloseToHub,
            45..53 => Fault::CutAnswer(self.below(900)),
            53..61 => Fault::Duplicate(self.millis(0, 4_000)),
            61..66 => Fault::Reorder(self.millis(50, 3_500)),
            66..80 => Fault::Kill(self.millis(1, 2_500)),
            80..93 => Fault::Freeze(self.millis(300, 5_000)),
            _ => Fault::Stop,
        }
    }

    /// What a hazardous device takes: no retries, a lease, exactly one agent.
    fn valve(&mut self, agent: usize, lamp: usize) -> Work {
        let verb = match self.below(4) {
            0 => Verb::On,
            _ => Verb::Pulse(self.millis(20, 600)),
        };
        // Most while somebody is about to begin with it.
        let deleted = self.below(4) > 0;
        Work {
            pause: self.millis(200, 2_600),
            lamp,
            verb,
            lease: [3, 5, 10][self.below(3)],
            retries: 0,
            agents: vec![agent],
            deleted_after: deleted.then(|| self.millis(0, 600)),
        }
    }

    fn work(&mut self, agent: usize, agents: usize, lamp: usize) -> Work {
        if lamp >= OWN + SHARED {
            return self.valve(agent, lamp);
        }
        let pair: Vec<usize> = (agent & !1..=agent | 1).filter(|one| *one < agents).collect();
        let lease = [1, 1, 2, 2, 3, -1][self.below(6)];
        let (verb, retries) = if lamp >= OWN {
            // Two may have it: what may be done once must then not be given to the second, which only the spec can say.
            match self.below(2) {
                0 => (Verb::On, 5),
                _ => (Verb::Pulse(self.millis(20, 400)), 0),
            }
        } else {
            let retries = [0, 1, 3, 5][self.below(4)];
            match self.below(20) {
                0..11 => (Verb::Pulse(self.millis(20, 900)), retries),
                // Beyond most leases.
                11..14 => (Verb::Pulse(self.millis(900, 2_500)), retries),
                14..18 => (Verb::Toggle, retries),
                _ => (Verb::On, retries),
            }
        };
        Work {
            pause: self.millis(200, 2_600),
            lamp,
            verb,
            lease,
            retries,
            agents: if lamp >= OWN { pair } else { vec![agent] },
            deleted_after: None,
        }
    }
}

impl Plan {
    /// Draws a round of so many faults for so many agents.
    pub fn draw(seed: u64, faults: usize, agents: usize) -> Self {
        let mut draw = Draw(SplitMix64(seed));
        let of_hub = faults / 50;
        let hub = (0..of_hub)
            .map(|_| {
                let span = draw.millis(50, 2_500);
                (draw.millis(3_000, 11_000), Fault::KillHub(span))
            })
            .collect();
        let mut each = vec![Vec::new(); agents];
        for number in 0..faults - of_hub {
            let fault = draw.fault();
            each[number % agents].push((draw.millis(500, 7_000), fault));
        }
        let work = (0..agents)
            .map(|agent| {
                // Of a pair the first hands out what both may have.
                let shared = if agent.is_multiple_of(2) { SHARED } else { 0 };
                let valves = OWN + SHARED..OWN + SHARED + VALVES;
                let mut lamps: Vec<usize> = (0..OWN + shared).chain(valves).collect();
                for at in (1..lamps.len()).rev() {
                    lamps.swap(at, draw.below(at + 1));
                }
                lamps
                    .into_iter()
                    .map(|lamp| draw.work(agent, agents, lamp))
                    .collect()
            })
            .collect();
        Plan {
            faults: each,
            hub,
            work,
        }
    }
}
