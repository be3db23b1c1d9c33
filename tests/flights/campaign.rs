//! Many flights, on all processors.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use super::broken::Broken;
use super::judge::Kind;
use super::met::Met;
use super::plan::Plan;
use super::world::{Outcome, World};
use crate::simulated::seeds::{self, ENOUGH, Twice};
use crate::simulated::verdict::Failed;

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Tally {
    pub seeds: u64,
    pub flights: u64,
    pub orders: u64,
    pub simulated: Duration,
    pub met: Met,
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
            "{} flights of {} seeds in {:.1} s ({:.1} simulated hours); {} times it had to come down at once; failed: {} {:?}; differed from run to run: {:?}",
            self.flights,
            self.seeds,
            self.took.as_secs_f64(),
            self.simulated.as_secs_f64() / 3600.0,
            self.orders,
            self.failed.len(),
            self.failed.kinds(),
            self.differed,
        )
    }
}

/// Flies seed after seed until so many flights were flown, or enough failed.
pub fn run(from: u64, flights: u64) -> Tally {
    run_until(from.., None, |tally| {
        tally.flights >= flights || tally.failed.len() >= ENOUGH
    })
}

/// Flies these seeds.
pub fn run_seeds(seeds: impl Iterator<Item = u64> + Send) -> Tally {
    run_until(seeds, None, |_| false)
}

/// Flies seeds with a precaution broken, until a promise of that kind was broken.
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
        // What was still in the air when there was enough does not count.
        if is_enough(tally) {
            return;
        }
        tally.seeds += 1;
        tally.flights += outcome.take_offs as u64;
        tally.orders += outcome.orders as u64;
        tally.simulated += outcome.simulated;
        tally.met.add(&outcome.met);
        tally.failed.add(seed, outcome.violations);
    };
    let tally = seeds::run(seeds, run, add, &is_enough);
    Tally {
        took: started.elapsed(),
        differed: twice.differed(),
        ..tally
    }
}
