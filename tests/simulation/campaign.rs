//! Many schedules, on all processors.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use super::fence::Broken;
use super::plan::Plan;
use super::witness::Kind;
use super::world::{Outcome, World};
use crate::simulated::seeds::{self, ENOUGH, Twice};
use crate::simulated::verdict::Failed;

/// What came of many schedules.
#[derive(Debug, Default)]
pub struct Tally {
    pub schedules: u64,
    pub requests: u64,
    pub edges: usize,
    pub events: u64,
    pub took: Duration,
    pub failed: Failed<Kind>,
    /// Whose two runs were not the same.
    pub differed: BTreeSet<u64>,
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failed.write(out, Plan::of)?;
        write!(
            out,
            "{} schedules in {:.1} s ({:.0} a second): {} requests, {} events, {} edges; failed: {} {:?}; differed from run to run: {:?}",
            self.schedules,
            self.took.as_secs_f64(),
            self.schedules as f64 / self.took.as_secs_f64(),
            self.requests,
            self.events,
            self.edges,
            self.failed.len(),
            self.failed.kinds(),
            self.differed,
        )
    }
}

/// Runs the schedules of `seeds`: until enough of them failed.
pub fn run(seeds: impl Iterator<Item = u64> + Send) -> Tally {
    run_until(seeds, None, |tally| tally.failed.len() >= ENOUGH)
}

/// Runs the schedules of `seeds` on a broken fence, until a promise of that kind was broken.
pub fn run_broken(seeds: impl Iterator<Item = u64> + Send, broken: Broken, wanted: Kind) -> Tally {
    run_until(seeds, Some(broken), |tally| tally.failed.first(wanted).is_some())
}

fn run_until(
    seeds: impl Iterator<Item = u64> + Send,
    broken: Option<Broken>,
    is_enough: impl Fn(&Tally) -> bool + Sync,
) -> Tally {
    let started = Instant::now();
    let twice = Twice::default();
    let run = |seed| {
        let plan = Plan::of(seed);
        twice.run(
            seed,
            |with_log| World::run(&plan, broken, with_log),
            |outcome| &outcome.log,
        )
    };
    let add = |tally: &mut Tally, seed, outcome: Outcome| {
        tally.schedules += 1;
        tally.requests += outcome.requests;
        tally.edges += outcome.edges;
        tally.events += outcome.events;
        tally.failed.add(seed, outcome.violations);
    };
    let tally = seeds::run(seeds, run, add, is_enough);
    Tally {
        took: started.elapsed(),
        differed: twice.differed(),
        ..tally
    }
}
