//! A schedule: everything that will be asked for and go wrong, by seed.

use std::fmt;
use std::time::Duration;

use outpost::agent::journal::Fault as DiskFault;
use outpost::protocol::control::control_of;

use crate::simulated::dice::Dice;
use crate::simulated::hub::Shows;

/// All that happens in one run, but for the network's single packets.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub hub_ppm: i64,
    pub shows: Shows,
    pub network: Network,
    pub machines: Vec<MachinePlan>,
    pub work: Vec<Work>,
    pub faults: Vec<(Duration, Fault)>,
    /// From here on nothing goes wrong any more.
    pub calm: Duration,
}

/// How good the network is, in cases of a thousand requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// A request or an answer is lost on its way.
    pub lost: u64,
    /// Executed, but the connection was closed before the answer.
    pub half_closed: u64,
    /// The request arrives twice.
    pub doubled: u64,
    /// A request or an answer takes long…
    pub slow: u64,
    /// …at most so long.
    pub slowest: Duration,
}

/// A machine.
#[derive(Debug, Clone)]
pub struct MachinePlan {
    pub ppm: i64,
    pub runtime_type: &'static str,
    pub poll_time: Duration,
    /// Whether it has a control lane.
    pub control: bool,
}

/// A process that will be submitted.
#[derive(Debug, Clone)]
pub struct Work {
    pub at: Duration,
    pub func: &'static str,
    pub args: Vec<String>,
    pub max_exec_time: i64,
    pub max_retries: i64,
    pub max_wait_time: i64,
    pub runtime_type: String,
    /// Only for this machine.
    pub only: Option<usize>,
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// SIGKILL; systemd starts the agent again.
    Kill { machine: usize, down: Duration },
    /// SIGTERM; somebody starts the agent again.
    Terminate { machine: usize, down: Duration },
    /// SIGSTOP and SIGCONT.
    Freeze { machine: usize, span: Duration },
    /// The plug.
    PowerCut { machine: usize, off: Duration },
    /// The plug, when so many more operations on the disk were done; after `span` at the latest.
    PowerCutInWrite {
        machine: usize,
        operations: u64,
        span: Duration,
        off: Duration,
    },
    /// The agent's disk is full, read-only or dying.
    Disk {
        machine: usize,
        fault: DiskFault,
        span: Duration,
    },
    /// The power goes, and the journal is gone when it is back: a file system check, or a person.
    LoseJournal { machine: usize, off: Duration },
    /// The card was cloned, and the clone is started in another machine.
    CloneCard { machine: usize },
    /// The machine reaches nobody: connections are refused, or whatever is sent goes nowhere.
    Partition {
        machine: usize,
        span: Duration,
        silent: bool,
    },
    /// The machine's wall clock is set.
    WallStep { machine: usize, seconds: i64 },
    /// The hub crashes and comes back.
    HubCrash { down: Duration },
    /// The hub's machine loses its power.
    HubReboot { off: Duration },
    /// The hub's wall clock is set.
    HubWallStep { seconds: i64 },
    /// The hub's disk is full.
    HubDisk { span: Duration },
    /// The colony's owner deletes a runtime, and lets it in again.
    DeleteRuntime { machine: usize, span: Duration },
    /// Somebody deletes a process.
    DeleteProcess { work: usize },
}

/// What only a confirmed process may do.
const DANGEROUS: &str = "valve.pulse";

/// Steps of the hub's wall clock. One by less than an answer can be late hides behind that delay: the answer then looks merely less late
/// (docs/fence.md, 2).
const HUB_STEPS: &[i64] = &[-3600, -2, 2, 3600, 86_400];

/// How long schedules last until everything is repaired.
const BUSY: u64 = 40_000;

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let machines = machines(&mut dice);
        let work = work(&mut dice, &machines);
        let mut faults = faults(&mut dice, machines.len(), work.len());
        faults.extend(second_thoughts(&mut dice, &work));
        faults.sort_by_key(|(at, _)| *at);
        Plan {
            seed,
            hub_ppm: ppm(&mut dice),
            shows: match dice.below(10) {
                0..=5 => Shows::Exactly,
                6..=7 => Shows::Date,
                8 => Shows::ProxyDate(dice.between(0, 7200) as i64 - 3600),
                _ => Shows::Nothing,
            },
            network: network(&mut dice),
            machines,
            work,
            faults,
            calm: Duration::from_millis(BUSY),
        }
    }
}

/// Clocks run up to 250 ppm wrong: any two differ by less than what the agent allows for.
fn ppm(dice: &mut Dice) -> i64 {
    dice.between(0, 500) as i64 - 250
}

fn machines(dice: &mut Dice) -> Vec<MachinePlan> {
    let count = dice.between(1, 3);
    let shared = dice.in_thousand(500);
    (0..count)
        .map(|number| MachinePlan {
            ppm: ppm(dice),
            runtime_type: if shared || number == 0 { "porch" } else { "cellar" },
            poll_time: Duration::from_secs(dice.pick(&[2, 10, 30])),
            control: dice.in_thousand(250),
        })
        .collect()
}

fn work(dice: &mut Dice, machines: &[MachinePlan]) -> Vec<Work> {
    let count = dice.between(1, 6);
    (0..count)
        .map(|_| {
            let machine = dice.below(machines.len() as u64) as usize;
            if machines[machine].control && dice.in_thousand(200) {
                return control(dice, machines[machine].runtime_type);
            }
            if dice.in_thousand(250) {
                return hazardous(dice, machine, machines[machine].runtime_type);
            }
            let (func, args) = match dice.below(10) {
                0 => ("lamp.on", vec![]),
                1 => ("lamp.off", vec![]),
                2..=4 => ("lamp.toggle", vec![]),
                _ => (
                    "lamp.pulse",
                    vec![format!("{}ms", dice.pick(&[50, 700, 2500, 6000, 12_000]))],
                ),
            };
            let max_exec_time = dice.pick(&[-1, 1, 2, 3, 5, 8, 20]);
            Work {
                at: dice.millis(0, BUSY * 3 / 4),
                func,
                args,
                max_exec_time,
                max_retries: dice.pick(&[0, 1, 1, 2, 5]),
                max_wait_time: dice.pick(&[-1, -1, 5, 20]),
                runtime_type: machines[machine].runtime_type.to_owned(),
                only: dice.in_thousand(500).then_some(machine),
            }
        })
        .collect()
}

/// Work as a hazardous device takes it.
fn hazardous(dice: &mut Dice, machine: usize, runtime_type: &'static str) -> Work {
    Work {
        at: dice.millis(0, BUSY * 3 / 4),
        func: DANGEROUS,
        args: vec![format!("{}ms", dice.pick(&[50, 700, 6000]))],
        max_exec_time: dice.pick(&[2, 5, 20]),
        max_retries: 0,
        max_wait_time: dice.pick(&[-1, 20]),
        runtime_type: runtime_type.to_owned(),
        only: Some(machine),
    }
}

/// Work for a control lane: it stops or asks.
fn control(dice: &mut Dice, runtime_type: &'static str) -> Work {
    Work {
        at: dice.millis(0, BUSY * 3 / 4),
        func: dice.pick(&["lamp.off", "lamp.off", "valve.off", "lamp.state", "lamp.toggle"]),
        args: vec![],
        max_exec_time: dice.pick(&[-1, 2, 5]),
        max_retries: 1,
        max_wait_time: dice.pick(&[-1, 20]),
        runtime_type: control_of(runtime_type),
        only: None,
    }
}

fn network(dice: &mut Dice) -> Network {
    let bad = |dice: &mut Dice| {
        if dice.in_thousand(400) {
            dice.between(5, 200)
        } else {
            0
        }
    };
    Network {
        lost: bad(dice),
        half_closed: bad(dice),
        doubled: bad(dice),
        slow: bad(dice),
        slowest: dice.millis(50, 15_000),
    }
}

fn faults(dice: &mut Dice, machines: usize, work: usize) -> Vec<(Duration, Fault)> {
    let count = dice.below(6);
    (0..count)
        .map(|_| {
            let machine = dice.below(machines as u64) as usize;
            let span = dice.millis(20, 12_000);
            let fault = match dice.below(21) {
                0..=2 => Fault::Kill {
                    machine,
                    down: dice.millis(50, 3000),
                },
                3 => Fault::Terminate {
                    machine,
                    down: dice.millis(50, 3000),
                },
                4..=5 => Fault::Freeze { machine, span },
                6..=7 => Fault::PowerCut {
                    machine,
                    off: dice.millis(500, 8000),
                },
                8..=9 => Fault::Partition {
                    machine,
                    span,
                    silent: dice.in_thousand(500),
                },
                10 => Fault::WallStep {
                    machine,
                    seconds: dice.pick(&[-1_700_000_000, -3600, -2, 2, 3600]),
                },
                11 => Fault::HubCrash {
                    down: dice.millis(50, 5000),
                },
                12 => Fault::HubReboot {
                    off: dice.millis(500, 8000),
                },
                13 => Fault::HubWallStep {
                    seconds: dice.pick(HUB_STEPS),
                },
                14..=15 => Fault::PowerCutInWrite {
                    machine,
                    operations: dice.below(12),
                    span,
                    off: dice.millis(500, 8000),
                },
                16 => Fault::Disk {
                    machine,
                    fault: dice.pick(&[DiskFault::Full, DiskFault::ReadOnly, DiskFault::Io]),
                    span,
                },
                17 => Fault::LoseJournal {
                    machine,
                    off: dice.millis(500, 8000),
                },
                18 => Fault::CloneCard { machine },
                19 => Fault::DeleteRuntime { machine, span },
                _ => match dice.below(2) {
                    0 => Fault::HubDisk { span },
                    _ => Fault::DeleteProcess {
                        work: dice.below(work as u64) as usize,
                    },
                },
            };
            (dice.millis(100, BUSY), fault)
        })
        .collect()
}

/// Who submits something dangerous sometimes takes it back at once.
fn second_thoughts(dice: &mut Dice, work: &[Work]) -> Vec<(Duration, Fault)> {
    let mut deletions = Vec::new();
    for (number, work) in work.iter().enumerate() {
        if work.func == DANGEROUS && dice.in_thousand(400) {
            let at = work.at + dice.millis(1, 5000);
            deletions.push((at, Fault::DeleteProcess { work: number }));
        }
    }
    deletions
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "seed {}: hub {:+} ppm, shows {:?}, {:?}",
            self.seed, self.hub_ppm, self.shows, self.network
        )?;
        for (number, machine) in self.machines.iter().enumerate() {
            writeln!(out, "  machine {number}: {machine:?}")?;
        }
        for (number, work) in self.work.iter().enumerate() {
            writeln!(out, "  work {number}: {work:?}")?;
        }
        for (at, fault) in &self.faults {
            writeln!(out, "  at {:.3} {fault:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
