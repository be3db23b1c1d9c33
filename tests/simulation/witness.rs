//! Who says whether the fence held: the hub's ledger and the outputs' edges, both in the world's time. Never the agent.
//!
//! - *late*: an edge away from the safe level, caused by a verb outside the [assigned … requeued or closed] interval of its attempt.
//! - *twice*: two performances with edges for one process id of a *once* verb on one runtime. (Across runtimes only the spec
//!   can fence: docs/fence.md, 3.)
//! - *unsafe*: an output that is not at its safe level when the lease of its unfinished verb is over, or after a verb ended
//!   badly, or after a start.
//! - *false*: a process closed with the result of another attempt, without having been asked for since its lease ended.
//! - *stuck*: a process that has not ended although nothing has gone wrong for minutes.
//! - *lost*: a result of an attempt without lease, which nobody can have taken away, that did not arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use outpost::device::Effect;
use outpost::device::gpio::Level;
use outpost::hub::ledger::{MemoryStore, Record, View};
use outpost::protocol::model::ProcessState;

use super::machine::VALVE;
use super::scene::{Cause, End, Output, Performance, Seen};
use crate::simulated::clock::Moment;
use crate::simulated::verdict;

/// The one function that only reads.
const READS: &str = "lamp.state";

/// What an agent that runs may take from noticing to the edge.
pub const REACTION: Duration = Duration::from_millis(150);
/// How old a confirmation may be by which a hazardous device is driven (docs/fence.md, 3).
const CONFIRMED: Duration = Duration::from_millis(1001);
/// How old what the server said may be when a late close follows from it.
const ASKED: Duration = Duration::from_secs(25);

/// A promise that was broken.
pub type Violation = verdict::Violation<Kind>;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Late,
    Twice,
    Unsafe,
    False,
    Stuck,
    Lost,
}

/// How an attempt was over for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Its lease ended.
    Expired,
    Closed,
    /// The runtime or the process was deleted: nobody can know before asking.
    Deleted,
}

/// One attempt in the ledger.
#[derive(Debug, Clone)]
struct Interval {
    runtime: String,
    retries: i64,
    start_time: outpost::protocol::Time,
    from: Moment,
    over: Option<(Moment, Over)>,
}

#[derive(Debug)]
struct Process {
    number: usize,
    func: String,
    lease: Option<Duration>,
    attempts: Vec<Interval>,
    last: Option<Record>,
    done: bool,
    deleted: bool,
    /// When the server last told a machine that the process is still its own.
    asked: BTreeMap<usize, Moment>,
}

#[derive(Debug)]
struct Performed {
    output: Output,
    process: String,
    /// For people.
    #[allow(dead_code, reason = "shown by {:?}")]
    verb: String,
    effect: Effect,
    /// Of the process: the one it belongs to.
    attempt: Option<usize>,
    edges: usize,
    ended: Option<(Moment, End)>,
}

#[derive(Debug, Default)]
struct Line {
    level: Level,
    holder: Option<Performance>,
}

/// Who watches.
#[derive(Debug, Default)]
pub struct Witness {
    /// The ids of each machine's runtimes. Two machines have the same where a card was cloned.
    runtimes: Vec<Vec<String>>,
    processes: BTreeMap<String, Process>,
    performed: Vec<Performed>,
    lines: BTreeMap<Output, Line>,
    violations: Vec<Violation>,
    /// Moments at which a machine's power went while it wrote: what it was just doing may be forgotten.
    cut: Vec<(usize, Moment)>,
    /// Machines whose disk failed or lost the journal: since when they may forget.
    forgetful: BTreeMap<usize, Moment>,
    pub edges: usize,
}

impl Witness {
    pub fn new(runtimes: Vec<Vec<String>>) -> Self {
        Witness {
            runtimes,
            ..Witness::default()
        }
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn accuse(&mut self, at: Moment, kind: Kind, text: String) {
        self.violations.push(Violation { at, kind, text });
    }

    /// A machine more, with runtimes that may be known already.
    pub fn add_machine(&mut self, runtimes: Vec<String>) {
        self.runtimes.push(runtimes);
    }

    /// Learns of a submitted process.
    pub fn submitted(&mut self, id: &str, number: usize, func: &str, max_exec_time: i64) {
        let process = Process {
            number,
            func: func.to_owned(),
            lease: u64::try_from(max_exec_time)
                .ok()
                .filter(|&span| span > 0)
                .map(Duration::from_secs),
            attempts: Vec::new(),
            last: None,
            done: false,
            deleted: false,
            asked: BTreeMap::new(),
        };
        self.processes.insert(id.to_owned(), process);
    }

    /// The id of the work that was submitted as number so-and-so.
    pub fn process_of(&self, number: usize) -> Option<String> {
        let found = self
            .processes
            .iter()
            .find(|(_, process)| process.number == number);
        found.map(|(id, _)| id.clone())
    }

    /// Whether nothing more is to be expected of any process.
    pub fn all_done(&self) -> bool {
        self.processes.values().all(|process| process.done)
    }

    /// Reads the ledger after it may have changed. `runs`: whether a machine's agent is able to act.
    pub fn look(&mut self, ledger: &MemoryStore, now: Moment, runs: impl Fn(usize) -> bool) {
        let mut over = Vec::new();
        for (id, process) in &mut self.processes {
            if process.done {
                continue;
            }
            match ledger.record(id).unwrap() {
                Some(record) if process.last.as_ref() == Some(&record) => {}
                Some(record) => {
                    if process.moves_to(record, now) {
                        over.push(id.clone());
                    }
                }
                None => {
                    process.deleted = true;
                    process.done = true;
                    process.finish(now, Over::Deleted);
                }
            }
        }
        for id in over {
            self.check_unfinished(&id, now, &runs);
        }
    }

    /// Nothing that a process's unfinished verb drives may still be driven once its attempt is over, unless somebody had
    /// deleted what the attempt needs: nobody tells the agent.
    fn check_unfinished(&mut self, id: &str, now: Moment, runs: &impl Fn(usize) -> bool) {
        let found = self.lines.iter().find_map(|(output, line)| {
            let holder = &self.performed[line.holder?];
            let attempts = &self.processes.get(&holder.process)?.attempts;
            let over = attempts[holder.attempt?].over;
            let unfinished = line.level == Level::On
                && holder.ended.is_none()
                && holder.process == id
                && over.is_some_and(|(_, over)| over != Over::Deleted);
            (unfinished && runs(output.machine)).then(|| output.clone())
        });
        if let Some(output) = found {
            let number = self.processes[id].number;
            self.accuse(
                now,
                Kind::Unsafe,
                format!("{output:?} is still driven by work {number} at the end of its attempt"),
            );
        }
    }

    /// Looks at a machine that was frozen and had time to react.
    pub fn thawed(&mut self, machine: usize, now: Moment, runs: impl Fn(usize) -> bool) {
        let overdue = self.processes.iter().filter(|(_, process)| {
            matches!(process.attempts.last(), Some(Interval { over: Some((at, over)), .. })
                if *over != Over::Deleted && at.after(REACTION) <= now)
        });
        let ids: Vec<String> = overdue.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.check_unfinished(&id, now, &|other| other == machine && runs(other));
        }
    }

    /// An agent was started: its outputs are safe at once.
    pub fn started(&mut self, output: &Output, now: Moment) {
        if self.lines.get(output).is_some_and(|line| line.level == Level::On) {
            self.accuse(now, Kind::Unsafe, format!("{output:?} is on after a start"));
        }
    }

    /// An output lost its power.
    pub fn fell(&mut self, output: &Output) {
        self.lines.remove(output);
    }

    /// A machine's power went in the middle of what it does at this moment.
    pub fn cut_in_write(&mut self, machine: usize, now: Moment) {
        self.cut.push((machine, now));
    }

    /// From here on a machine may forget what was done.
    pub fn may_forget(&mut self, machine: usize, since: Moment) {
        let earliest = self.forgetful.get(&machine).copied().unwrap_or(since);
        self.forgetful.insert(machine, earliest.min(since));
    }

    /// Takes what happened on the outputs. What has to be looked at again after [`REACTION`].
    pub fn saw(&mut self, at: Moment, seen: Seen) -> Option<Performance> {
        match seen {
            Seen::Began {
                performance,
                output,
                process,
                verb,
                effect,
            } => {
                assert_eq!(performance, self.performed.len());
                let attempt = self.attempt_of(&process, output.machine);
                self.performed.push(Performed {
                    output,
                    process,
                    verb,
                    effect,
                    attempt,
                    edges: 0,
                    ended: None,
                });
                None
            }
            Seen::Edge { output, level, cause } => {
                self.edge(at, output, level, cause);
                None
            }
            Seen::Ended { performance, end } => {
                self.performed[performance].ended = Some((at, end));
                (end != End::Well).then_some(performance)
            }
        }
    }

    /// After a verb that did not end well the output is safe, unless another verb drives it or nobody is there to do it.
    pub fn check_safe(&mut self, performance: Performance, now: Moment, runs: impl Fn(usize) -> bool) {
        let output = &self.performed[performance].output;
        let line = self.lines.get(output);
        if runs(output.machine)
            && line.is_some_and(|line| line.level == Level::On && line.holder == Some(performance))
        {
            let text = format!("{output:?} is still on after {:?}", self.performed[performance]);
            self.accuse(now, Kind::Unsafe, text);
        }
    }

    /// The attempt that a machine holds of a process now, or held last.
    fn attempt_of(&self, process: &str, machine: usize) -> Option<usize> {
        let attempts = &self.processes.get(process)?.attempts;
        attempts
            .iter()
            .rposition(|attempt| self.runtimes[machine].contains(&attempt.runtime))
    }

    fn edge(&mut self, at: Moment, output: Output, level: Level, cause: Cause) {
        self.edges += 1;
        let line = self.lines.entry(output.clone()).or_default();
        line.level = level;
        line.holder = None;
        let Cause::Verb(performance) = cause else {
            if level == Level::On {
                self.accuse(at, Kind::Unsafe, format!("{output:?} went on without a verb"));
            }
            return;
        };
        line.holder = Some(performance);
        self.performed[performance].edges += 1;
        if level == Level::On {
            self.check_late(at, performance);
        }
        self.check_twice(at, performance);
    }

    fn check_late(&mut self, at: Moment, performance: Performance) {
        let performed = &self.performed[performance];
        let process = self.processes.get(&performed.process);
        let attempt = process.zip(performed.attempt).map(|(process, attempt)| {
            let interval = &process.attempts[attempt];
            (process, interval)
        });
        let late = match attempt {
            None => Some("never assigned to it".to_owned()),
            Some((process, interval)) => match interval.over {
                Some((end, Over::Deleted)) => {
                    // Nobody says so: but the lease ends all the same, and for hazardous devices somebody asks.
                    let last = match performed.output.line {
                        VALVE => Some(end.after(CONFIRMED)),
                        _ => process.lease.map(|lease| interval.from.after(lease)),
                    };
                    last.filter(|&last| at > last)
                        .map(|_| format!("deleted at {end}"))
                }
                Some((end, over)) if at > end => Some(format!("{over:?} at {end}")),
                _ => None,
            },
        };
        if let Some(why) = late {
            let text = format!("{performed:?}: {why}");
            self.accuse(at, Kind::Late, text);
        }
    }

    fn check_twice(&mut self, at: Moment, performance: Performance) {
        let performed = &self.performed[performance];
        if performed.effect != Effect::Once || performed.edges > 1 {
            return;
        }
        let runtime = &self.runtimes[performed.output.machine];
        let before = self.performed[..performance].iter().find(|other| {
            other.process == performed.process
                && other.edges > 0
                && self.runtimes[other.output.machine] == *runtime
        });
        if let Some(before) = before {
            let text = format!("{performed:?} after {before:?}");
            self.accuse(at, Kind::Twice, text);
        }
    }

    /// The server told a machine that a process is still its own.
    pub fn asked(&mut self, process: &str, machine: usize, now: Moment) {
        let runtimes = &self.runtimes[machine];
        if let Some(process) = self.processes.get_mut(process)
            && process.attempts.last().is_some_and(|attempt| {
                attempt.over.is_none() && runtimes.contains(&attempt.runtime) && !process.done
            })
        {
            process.asked.insert(machine, now);
        }
    }

    /// Which of a process's attempts (by its number of retries) a machine performed last, and whether that is over.
    pub fn last_performed(&self, id: &str, machine: usize) -> Option<(i64, bool)> {
        let last = self
            .performed
            .iter()
            .rev()
            .find(|performed| performed.process == id && performed.output.machine == machine)?;
        let attempt = &self.processes.get(id)?.attempts[last.attempt?];
        Some((attempt.retries, last.ended.is_some()))
    }

    /// Whether a process runs, so that a close would change it.
    pub fn is_running(&self, process: &str) -> bool {
        let process = self.processes.get(process);
        let last = process.and_then(|process| process.attempts.last());
        last.is_some_and(|attempt| attempt.over.is_none())
    }

    /// A process was closed as successful by a request that a machine had sent at that moment.
    pub fn closed_as_successful(&mut self, id: &str, machine: usize, sent: Moment, now: Moment) {
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let closed = process.attempts.len() - 1;
        // The newest result of that machine.
        let result = self.performed.iter().rev().find(|performed| {
            performed.process == id
                && self.runtimes[performed.output.machine] == self.runtimes[machine]
                && matches!(performed.ended, Some((_, End::Well)))
        });
        let problem = match result.map(|result| result.attempt) {
            // What only reads goes through the device's probe, which nobody watches.
            None if process.func == READS => None,
            None => Some("nothing was done".to_owned()),
            Some(None) => Some("what was done was never assigned".to_owned()),
            Some(Some(attempt)) if attempt == closed => None,
            Some(Some(attempt)) => match process.attempts[attempt].over {
                Some((over, how)) if how != Over::Deleted && sent > over => {
                    let asked = process.asked.get(&machine);
                    let knew = asked.is_some_and(|&asked| asked < over && sent.since(asked) < ASKED);
                    (!knew).then(|| {
                        format!("with the result of attempt {attempt}, over at {over}; sent at {sent}, asked {asked:?}")
                    })
                }
                _ => None,
            },
        };
        if let Some(problem) = problem {
            let text = format!(
                "work {} closed in attempt {closed} by machine {machine}: {problem}",
                process.number
            );
            self.accuse(now, Kind::False, text);
        }
    }

    /// The end: nothing has gone wrong for long.
    pub fn finish(&mut self, now: Moment) {
        let mut found = Vec::new();
        for (id, process) in &self.processes {
            if !process.done {
                let text = format!(
                    "work {} ({}) has not ended: {:?}",
                    process.number, process.func, process.last
                );
                found.push((Kind::Stuck, text));
            }
            if let Some(text) = self.lost(id, process) {
                found.push((Kind::Lost, text));
            }
        }
        for (kind, text) in found {
            self.accuse(now, kind, text);
        }
    }

    /// What was done without a lease is told, unless its machine had a reason to forget it.
    fn lost(&self, id: &str, process: &Process) -> Option<String> {
        if process.lease.is_some() || process.deleted {
            return None;
        }
        let taken = process
            .attempts
            .iter()
            .any(|attempt| matches!(attempt.over, Some((_, Over::Deleted))));
        let state = process.last.as_ref()?.process.state;
        let done = self
            .performed
            .iter()
            .find(|performed| performed.process == id && matches!(performed.ended, Some((_, End::Well))))?;
        let (at, _) = done.ended?;
        let machine = done.output.machine;
        let excused = self.cut.contains(&(machine, at))
            || self.forgetful.get(&machine).is_some_and(|&since| at >= since);
        (state == ProcessState::Failed && !taken && !excused)
            .then(|| format!("{done:?} ended well and work {} failed", process.number))
    }
}

impl Process {
    /// Follows a record. True if an attempt was over without anybody having deleted anything.
    fn moves_to(&mut self, record: Record, now: Moment) -> bool {
        let state = record.process.state;
        let same = self.attempts.last().is_some_and(|attempt| {
            attempt.retries == record.process.retries
                && attempt.start_time == record.process.start_time
                && attempt.runtime == record.process.assigned_runtime_id
        });
        let was_open = self.attempts.last().is_some_and(|attempt| attempt.over.is_none());
        let retried = self
            .attempts
            .last()
            .is_some_and(|attempt| attempt.retries < record.process.retries);
        let mut over = false;
        match state {
            ProcessState::Running if same => {}
            ProcessState::Running => {
                over = was_open && self.finish(now, if retried { Over::Expired } else { Over::Deleted });
                self.attempts.push(Interval {
                    runtime: record.process.assigned_runtime_id.clone(),
                    retries: record.process.retries,
                    start_time: record.process.start_time,
                    from: now,
                    over: None,
                });
            }
            ProcessState::Waiting => {
                over = was_open && self.finish(now, if retried { Over::Expired } else { Over::Deleted });
            }
            ProcessState::Successful | ProcessState::Failed | ProcessState::Other(_) => {
                // The requeue of a process that has waited too long ends it, too.
                over = was_open
                    && self.finish(
                        now,
                        if record.process.assigned_runtime_id.is_empty() && !retried {
                            Over::Deleted
                        } else {
                            Over::Closed
                        },
                    );
                self.done = true;
            }
        }
        self.last = Some(record);
        over
    }

    fn finish(&mut self, now: Moment, how: Over) -> bool {
        match self.attempts.last_mut() {
            Some(attempt) if attempt.over.is_none() => {
                attempt.over = Some((now, how));
                how != Over::Deleted
            }
            _ => false,
        }
    }
}
