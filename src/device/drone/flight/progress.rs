//! What is told while it flies. Attributes of a process can't be changed, only added, so they are counted.

use std::time::Duration;

use crate::clock::BootTime;

/// How many there are in all.
pub const MOST: usize = 30;
/// Kept for what must be told at the end: a return, a landing, hands off.
const KEPT: usize = 6;
/// How many are told only because time has passed.
const MOST_BY_TIME: u32 = 8;
/// Between two that are told because time has passed, at first; each time it is half as long again.
const APART: Duration = Duration::from_secs(60);

/// Counts what was told.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    told: usize,
    by_time: u32,
    last: BootTime,
    apart: Duration,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// A phase begins.
    Phase,
    /// The flight turns out another way.
    Turn,
}

impl Progress {
    pub(super) fn new(now: BootTime) -> Self {
        Progress {
            told: 0,
            by_time: 0,
            last: now,
            apart: APART,
        }
    }

    /// Whether it may be told; it is counted then.
    pub(super) fn may(&mut self, weight: Weight, now: BootTime) -> bool {
        let most = match weight {
            Weight::Phase => MOST - KEPT,
            Weight::Turn => MOST,
        };
        let may = self.told < most;
        if may {
            self.told += 1;
            self.last = now;
        }
        may
    }

    /// Whether it is time to tell how it goes; it is counted then.
    pub(super) fn due(&mut self, now: BootTime) -> bool {
        if self.by_time >= MOST_BY_TIME || now.saturating_since(self.last) < self.apart {
            return false;
        }
        self.by_time += 1;
        self.apart = self.apart.mul_f64(1.5);
        self.may(Weight::Phase, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_too_many_and_some_are_kept_for_the_end() {
        let at = |second: u64| BootTime::from_nanos(second * 1_000_000_000);
        let mut progress = Progress::new(at(0));
        let times: Vec<u64> = (0..24 * 3600)
            .filter(|second| progress.due(at(*second)))
            .collect();
        assert_eq!((times[0], times.len()), (60, 8));
        assert!(times.windows(2).all(|two| two[1] - two[0] >= 60), "{times:?}");
        let phases = (0..100)
            .filter(|_| progress.may(Weight::Phase, at(90_000)))
            .count();
        assert_eq!(phases, MOST - KEPT - 8);
        let turns = (0..100)
            .filter(|_| progress.may(Weight::Turn, at(90_000)))
            .count();
        assert_eq!(turns, KEPT);
    }
}
