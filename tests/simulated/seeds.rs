//! Many seeds side by side, and one for whoever wants to read it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Mutex;

/// After so many seeds that failed there is enough to look at.
pub const ENOUGH: usize = 10;

/// Runs seed after seed on all processors, until it is enough: then nobody begins another. `add` is told what came of each,
/// in the order in which they end.
pub fn run<Tally: Default + Send, Outcome>(
    seeds: impl Iterator<Item = u64> + Send,
    run: impl Fn(u64) -> Outcome + Sync,
    add: impl Fn(&mut Tally, u64, Outcome) + Sync,
    is_enough: impl Fn(&Tally) -> bool + Sync,
) -> Tally {
    let tally = Mutex::new(Tally::default());
    let seeds = Mutex::new(seeds);
    let next = || {
        let mut seeds = seeds.lock().unwrap();
        if is_enough(&tally.lock().unwrap()) {
            return None;
        }
        seeds.next()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let outcome = run(seed);
                    add(&mut tally.lock().unwrap(), seed, outcome);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

/// Seeds that are run twice, and those of which it was found that the runs differ.
#[derive(Debug, Default)]
pub struct Twice {
    differed: Mutex<BTreeSet<u64>>,
}

impl Twice {
    /// One seed of so many is run twice, unless the environment says otherwise.
    const EVERY: u64 = 100;

    /// Runs a seed; if its turn has come, once more, each time with the log.
    pub fn run<Outcome>(
        &self,
        seed: u64,
        run: impl Fn(bool) -> Outcome,
        log: impl Fn(&Outcome) -> &[String],
    ) -> Outcome {
        let every = number("OUTPOST_TWICE_EVERY").unwrap_or(Self::EVERY);
        if !seed.is_multiple_of(every) {
            return run(false);
        }
        let (first, second) = (run(true), run(true));
        if log(&first) != log(&second) {
            self.differed.lock().unwrap().insert(seed);
        }
        first
    }

    /// The seeds whose two runs differed.
    pub fn differed(self) -> BTreeSet<u64> {
        self.differed.into_inner().unwrap()
    }
}

/// A number that a script passes in the environment.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
    )
}

/// Shows one seed: its plan, everything that happened, and what was said of it.
pub fn show(plan: &impl Display, log: &[String], violations: &[impl Display]) {
    eprintln!("{plan}");
    for line in log {
        eprintln!("{line}");
    }
    for violation in violations {
        eprintln!("{violation}");
    }
}

/// Two runs of one seed must be the same.
pub fn assert_same(seed: u64, first: &[String], second: &[String]) {
    for (first, second) in first.iter().zip(second) {
        assert_eq!(first, second, "seed {seed}");
    }
    assert_eq!(first.len(), second.len(), "seed {seed}");
}
