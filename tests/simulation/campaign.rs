//! Many schedules, on all processors.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::fence::Broken;
use super::plan::Plan;
use super::witness::{Kind, Violation};
use super::world::World;

/// After so many schedules that failed there is enough to look at.
const ENOUGH: usize = 10;

/// What came of many schedules.
#[derive(Debug, Default)]
pub struct Tally {
    pub schedules: u64,
    pub requests: u64,
    pub edges: usize,
    pub events: u64,
    pub took: Duration,
    /// The first violation of each schedule that had one, by seed.
    pub failed: BTreeMap<u64, Violation>,
}

impl Tally {
    /// How often a promise was broken first.
    pub fn kinds(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for violation in self.failed.values() {
            *kinds.entry(violation.kind).or_insert(0) += 1;
        }
        kinds
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (seed, violation) in &self.failed {
            writeln!(out, "{}{violation}\n", Plan::of(*seed))?;
        }
        write!(
            out,
            "{} schedules in {:.1} s ({:.0} a second): {} requests, {} events, {} edges; failed: {} {:?}",
            self.schedules,
            self.took.as_secs_f64(),
            self.schedules as f64 / self.took.as_secs_f64(),
            self.requests,
            self.events,
            self.edges,
            self.failed.len(),
            self.kinds(),
        )
    }
}

/// Runs the schedules of `seeds`: until enough of them failed.
pub fn run(seeds: impl IntoIterator<Item = u64>) -> Tally {
    run_until(seeds, None, |tally| tally.failed.len() >= ENOUGH)
}

/// Runs the schedules of `seeds` on a broken fence, until a promise of that kind was broken.
pub fn run_broken(seeds: impl IntoIterator<Item = u64>, broken: Broken, wanted: Kind) -> Tally {
    run_until(seeds, Some(broken), |tally| tally.kinds().contains_key(&wanted))
}

fn run_until(
    seeds: impl IntoIterator<Item = u64>,
    broken: Option<Broken>,
    is_enough: impl Fn(&Tally) -> bool + Sync,
) -> Tally {
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let started = Instant::now();
    let tally = Mutex::new(Tally::default());
    let next = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(seeds.len()) {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(&seed) = seeds.get(at) else {
                        return;
                    };
                    let outcome = World::run(&Plan::of(seed), broken, false);
                    let mut tally = tally.lock().unwrap();
                    tally.schedules += 1;
                    tally.requests += outcome.requests;
                    tally.edges += outcome.edges;
                    tally.events += outcome.events;
                    if let Some(violation) = outcome.violations.into_iter().next() {
                        tally.failed.insert(seed, violation);
                    }
                    if is_enough(&tally) {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut tally = tally.into_inner().unwrap();
    tally.took = started.elapsed();
    tally
}
