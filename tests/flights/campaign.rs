//! Many flights, on all processors.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::broken::Broken;
use super::judge::{Kind, Violation};
use super::met::Met;
use super::plan::Plan;
use super::world::World;

/// After so many seeds that failed there is enough to look at.
const ENOUGH: usize = 10;

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Tally {
    pub seeds: u64,
    pub flights: u64,
    pub orders: u64,
    pub simulated: Duration,
    pub met: Met,
    pub took: Duration,
    /// The first violation of each seed that had one.
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
            "{} flights of {} seeds in {:.1} s ({:.1} simulated hours); {} times it had to come down at once; failed: {} {:?}",
            self.flights,
            self.seeds,
            self.took.as_secs_f64(),
            self.simulated.as_secs_f64() / 3600.0,
            self.orders,
            self.failed.len(),
            self.kinds(),
        )
    }
}

/// Flies seed after seed until so many flights were flown, or enough failed.
pub fn run(from: u64, flights: u64) -> Tally {
    run_until(from, u64::MAX, None, |tally| {
        tally.flights >= flights || tally.failed.len() >= ENOUGH
    })
}

/// Flies these seeds.
pub fn run_seeds(seeds: &[u64]) -> Tally {
    let mut all = Tally::default();
    for &seed in seeds {
        let one = run_until(seed, 1, None, |_| false);
        all.seeds += one.seeds;
        all.flights += one.flights;
        all.took += one.took;
        all.failed.extend(one.failed);
    }
    all
}

/// Flies broken, until a promise of that kind was broken, for so many seeds at most.
pub fn run_broken(from: u64, most: u64, broken: Broken, wanted: Kind) -> Tally {
    run_until(from, most, Some(broken), |tally| {
        tally.kinds().contains_key(&wanted)
    })
}

/// Flies seeds until it is enough, at most so many.
fn run_until(
    from: u64,
    most: u64,
    broken: Option<Broken>,
    is_enough: impl Fn(&Tally) -> bool + Sync,
) -> Tally {
    let started = Instant::now();
    let tally = Mutex::new(Tally::default());
    let next = Mutex::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = {
                        // Nobody begins another seed once there is enough.
                        let mut next = next.lock().unwrap();
                        if *next >= most || is_enough(&tally.lock().unwrap()) {
                            return;
                        }
                        *next += 1;
                        from + *next - 1
                    };
                    let outcome = World::run(&Plan::of(seed), broken, false);
                    let mut tally = tally.lock().unwrap();
                    if is_enough(&tally) {
                        return;
                    }
                    tally.seeds += 1;
                    tally.flights += outcome.take_offs as u64;
                    tally.orders += outcome.orders as u64;
                    tally.simulated += outcome.simulated;
                    tally.met.add(&outcome.met);
                    if let Some(violation) = outcome.violations.into_iter().next() {
                        tally.failed.insert(seed, violation);
                    }
                }
            });
        }
    });
    let mut tally = tally.into_inner().unwrap();
    tally.took = started.elapsed();
    tally
}
