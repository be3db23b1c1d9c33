//! Chance by seed.

use std::time::Duration;

use outpost::agent::journal::SplitMix64;

/// The same seed, the same throws.
#[derive(Debug, Clone)]
pub struct Dice(SplitMix64);

impl Dice {
    /// Dice of a seed; neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Self {
        let mut mixed = SplitMix64(seed);
        Dice(SplitMix64(mixed.next_u64() ^ seed.rotate_left(32)))
    }

    /// Further dice, independent of how often these are thrown afterwards.
    pub fn fork(&mut self) -> Dice {
        Dice(SplitMix64(self.0.next_u64()))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of a thousand cases.
    pub fn in_thousand(&mut self, cases: u64) -> bool {
        self.below(1000) < cases
    }

    /// One of them.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    /// A span between two, in milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn fraction(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
