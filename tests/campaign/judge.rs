//! What was seen against what was promised (docs/fence.md, 8). The witnesses are the hub's ledger and the lines' edges.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::ledger::{Held, Left, STAMP, Story};
use crate::plan::{Fault, Verb, Work, device};
use crate::processes::{Death, Life};
use crate::told::{self, Told};

/// In nanoseconds, as all moments and spans here.
pub const SECOND: i128 = 1_000_000_000;
/// How late a line may be switched off, on a machine that does much else.
const SAFE_WITHIN: i128 = 2 * SECOND;
/// A result is durable that long after its verb was done, on such a machine.
const NOTED_WITHIN: i128 = SECOND;
/// So near the end of a lease it is the agent's choice whether a verb was done in time.
const NEAR_THE_END: i128 = SECOND;
/// How old a confirmation may be by which a hazardous device is driven (docs/fence.md, 3).
const CONFIRMED: i128 = SECOND;

/// A change of a line's level.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    pub lamp: usize,
    pub on: bool,
    /// Nanoseconds since 1970.
    pub at: i128,
    /// In which life of its agent.
    pub life: usize,
}

/// A process that was submitted, by the plan of an agent.
pub struct Submitted {
    pub id: String,
    pub work: Work,
}

/// An agent's runtime id, lives and edges.
pub struct Witnessed {
    pub id: String,
    pub lives: Vec<Life>,
    pub edges: Vec<Edge>,
    /// What it asked and told.
    pub told: Vec<Told>,
}

/// A fault as it happened: to which agent, or to the hub.
pub struct Happened {
    pub at: i128,
    pub agent: Option<usize>,
    pub fault: Fault,
}

/// All that was seen in a round.
pub struct Seen {
    pub began: i128,
    pub submitted: Vec<Submitted>,
    pub stories: BTreeMap<String, Story>,
    pub agents: Vec<Witnessed>,
    pub happened: Vec<Happened>,
    /// Faults that waited for a request or an answer and found none any more.
    pub unspent: usize,
}

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    Unended,
    Rewritten,
    Lost,
    Twice,
    Late,
    False,
    Unsafe,
    Died,
}

impl fmt::Display for Breach {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Breach::Unended => "a process did not end",
            Breach::Rewritten => "a process changed after it had ended",
            Breach::Lost => "a result did not arrive though its attempt was still ours",
            Breach::Twice => "done twice",
            Breach::Late => "switched on outside [assigned … requeued, closed or deleted]",
            Breach::False => "closed with the result of an attempt that was over",
            Breach::Unsafe => "a line was not at its safe level in time",
            Breach::Died => "an agent ended by itself",
        })
    }
}

/// One of them, with the evidence.
pub struct Violation {
    pub breach: Breach,
    pub evidence: String,
}

/// An agent's edges, out of what its lives wrote.
pub fn edges(lives: &[Life]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (life, of_life) in lives.iter().enumerate() {
        let text = std::fs::read_to_string(&of_life.out).unwrap();
        // What a kill left of a line has no end.
        for line in text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
        {
            let words: Vec<&str> = line.split(' ').collect();
            let ["edge", line, level, at] = words[..] else {
                panic!("no edge: {line:?}");
            };
            edges.push(Edge {
                lamp: line.strip_prefix("GPIO").unwrap().parse().unwrap(),
                on: level == "on",
                at: at.parse().unwrap(),
                life,
            });
        }
    }
    edges
}

fn nanos(span: Duration) -> i128 {
    span.as_nanos() as i128
}

impl Seen {
    /// Everything that must not be.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for submitted in &self.submitted {
            self.judge(submitted, &mut found);
        }
        for (number, agent) in self.agents.iter().enumerate() {
            for edge in agent.edges.iter().filter(|edge| edge.on) {
                let for_one = |submitted: &Submitted| {
                    submitted.work.lamp == edge.lamp && submitted.work.agents.contains(&number)
                };
                if !self.submitted.iter().any(for_one) {
                    found.push(Violation {
                        breach: Breach::Late,
                        evidence: format!("agent {number}: {edge:?}, and no process asked for it"),
                    });
                }
            }
            for (life, of_life) in agent.lives.iter().enumerate() {
                if of_life.death == Death::Wrong {
                    found.push(Violation {
                        breach: Breach::Died,
                        evidence: format!("agent {number}, life {life}: {of_life:?}"),
                    });
                }
            }
        }
        found
    }

    fn judge(&self, submitted: &Submitted, found: &mut Vec<Violation>) {
        let story = self.stories.get(&submitted.id).cloned().unwrap_or_default();
        let work = &submitted.work;
        let mut breach = |breach: Breach, what: String| {
            found.push(Violation {
                breach,
                evidence: format!("{what}\n{}", self.evidence(submitted, &story)),
            });
        };
        if !story.is_final && story.deleted.is_none() {
            breach(Breach::Unended, String::new());
        }
        if story.rewritten {
            breach(Breach::Rewritten, String::new());
        }
        let mut times = 0;
        for &number in &work.agents {
            let agent = &self.agents[number];
            for edge in agent
                .edges
                .iter()
                .filter(|edge| edge.lamp == work.lamp && edge.on)
            {
                times += 1;
                let held = story
                    .held
                    .iter()
                    .find(|held| held.runtime_id == agent.id && may_act(work, held, edge.at));
                let Some(held) = held else {
                    breach(Breach::Late, format!("agent {number}: {}", self.show_edge(edge)));
                    continue;
                };
                let off = agent.edges.iter().find(|off| {
                    !off.on && off.lamp == edge.lamp && off.life == edge.life && off.at >= edge.at
                });
                let life = &agent.lives[edge.life];
                if !safe_in_time(work, held, edge, off, life) {
                    breach(
                        Breach::Unsafe,
                        format!("agent {number}: {}", self.show_edge(edge)),
                    );
                }
                if lost(work, held, edge, off, life) {
                    breach(Breach::Lost, format!("agent {number}: {}", self.show_edge(edge)));
                }
            }
        }
        if times > 1 && work.verb != Verb::On {
            breach(Breach::Twice, format!("{times} times"));
        }
        if let Some(what) = told::falsely(work, &story, &self.agents) {
            breach(Breach::False, what);
        }
    }
}

/// Whether something may be switched on for it. Nobody tells an agent that a process was deleted (only hazardous ones are);
/// it asks, and may be as late as its confirmation is old.
fn may_act(work: &Work, held: &Held, at: i128) -> bool {
    match held.to {
        Some((deleted, Left::Deleted)) if at > deleted => {
            at <= (deleted + CONFIRMED).min(lease_end(work, held)) + STAMP
        }
        _ => held.contains(at),
    }
}

/// When a lease ends at the earliest.
fn lease_end(work: &Work, held: &Held) -> i128 {
    match work.lease {
        -1 => i128::MAX,
        seconds => held.from + i128::from(seconds) * 1_000_000_000,
    }
}

/// Whether a line that was switched on was off when it had to be.
fn safe_in_time(work: &Work, held: &Held, edge: &Edge, off: Option<&Edge>, life: &Life) -> bool {
    // At the end of a life that ended as told everything is safe; a kill leaves it to others (docs/fence.md, 7).
    let mut by = match life.death {
        Death::Stopped => life.ended,
        Death::Killed | Death::Wrong => i128::MAX,
    };
    if let Verb::Pulse(span) = work.verb {
        let mut due = (edge.at + nanos(span)).min(lease_end(work, held)) + SAFE_WITHIN;
        for (from, to) in &life.freezes {
            if *from <= due {
                due = due.max(to + SAFE_WITHIN);
            }
        }
        if due < life.ended {
            by = by.min(due);
        }
    }
    off.map_or(by == i128::MAX, |off| off.at <= by)
}

/// Whether a verb was done in time, its agent had the time to note that, and the server took something else for its end.
fn lost(work: &Work, held: &Held, edge: &Edge, off: Option<&Edge>, life: &Life) -> bool {
    let done = match (work.verb, off) {
        (Verb::Pulse(span), Some(off)) if off.at - edge.at >= nanos(span) => off.at,
        (Verb::Pulse(_), _) => return false,
        (Verb::Toggle | Verb::On, _) => edge.at,
    };
    let frozen: i128 = life
        .freezes
        .iter()
        .map(|(from, to)| (to.min(&life.ended) - from.max(&done)).max(0))
        .sum();
    if life.death == Death::Killed && life.ended - done - frozen < NOTED_WITHIN {
        return false;
    }
    if done > lease_end(work, held).saturating_sub(NEAR_THE_END) {
        return false;
    }
    // A lease that ended before the result could be told gave the process to whom the server liked.
    !matches!(
        held.to,
        Some((
            _,
            Left::Successful | Left::Requeued | Left::RanOut | Left::Deleted
        ))
    )
}

impl Seen {
    fn since(&self, at: i128) -> String {
        format!("{:.3}", (at - self.began) as f64 / 1e9)
    }

    fn show_edge(&self, edge: &Edge) -> String {
        let level = if edge.on { "on" } else { "off" };
        format!(
            "life {}: GPIO{} {level} at {}",
            edge.life,
            edge.lamp,
            self.since(edge.at)
        )
    }

    /// Everything about one process; times are seconds since the round began.
    fn evidence(&self, submitted: &Submitted, story: &Story) -> String {
        let Work {
            lamp,
            verb,
            lease,
            retries,
            agents,
            ..
        } = &submitted.work;
        let mut text = format!(
            "  process {}: {}{lamp} {verb:?}, maxexectime {lease}, maxretries {retries}, for agents {agents:?}; \
             retries {}, error {:?}\n",
            submitted.id,
            device(*lamp),
            story.retries,
            story.error
        );
        if let Some(deleted) = story.deleted {
            let _ = writeln!(text, "  ledger: deleted at {}", self.since(deleted));
        }
        for held in &story.held {
            let agent = self.agents.iter().position(|agent| agent.id == held.runtime_id);
            let end = match held.to {
                Some((to, left)) => format!("{} {left:?}", self.since(to)),
                None => "still".to_owned(),
            };
            let _ = writeln!(
                text,
                "  ledger: agent {agent:?} from {} to {end}",
                self.since(held.from)
            );
        }
        for &number in agents {
            let agent = &self.agents[number];
            for edge in agent.edges.iter().filter(|edge| edge.lamp == *lamp) {
                let _ = writeln!(text, "  edge: agent {number}, {}", self.show_edge(edge));
            }
            for told in agent.told.iter().filter(|told| told.process_id == submitted.id) {
                let _ = writeln!(
                    text,
                    "  agent {number}: {:?} at {}",
                    told.said,
                    self.since(told.at)
                );
            }
            for (life, of_life) in agent.lives.iter().enumerate() {
                let ended = self.since(of_life.ended);
                let _ = writeln!(
                    text,
                    "  agent {number}: life {life} {:?} at {ended}",
                    of_life.death
                );
            }
        }
        for happened in &self.happened {
            let who = match happened.agent {
                Some(number) if agents.contains(&number) => format!("agent {number}"),
                Some(_) => continue,
                None => "the hub".to_owned(),
            };
            let _ = writeln!(
                text,
                "  fault: {} {who}: {}",
                self.since(happened.at),
                happened.fault
            );
        }
        text
    }
}
