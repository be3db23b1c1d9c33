//! How long to wait before trying again: capped exponential backoff with full jitter, so that a thousand agents
//! whose server comes back don't all come at once.

use std::sync::Arc;
use std::time::Duration;

/// Where chance comes from: a number between 0 and 1, 1 excluded. Tests give their own.
pub type Random = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Chance from the operating system. Should that fail, the middle.
pub fn system_random() -> Random {
    Arc::new(|| {
        // 53 bits fill a float's mantissa.
        getrandom::u64().map_or(0.5, |bits| (bits >> 11) as f64 / (1_u64 << 53) as f64)
    })
}

/// The pauses between attempts at one thing. They grow with every failure up to a limit and never end.
#[derive(Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: Random,
}

impl Backoff {
    /// The first pause is at most `min`, every further one at most twice as long as the one before, up to `max`.
    pub fn new(min: Duration, max: Duration, random: Random) -> Self {
        Backoff {
            min,
            max: max.max(min),
            failures: 0,
            random,
        }
    }

    /// The pause after one more failure: anything between nothing and the current ceiling.
    pub fn next_pause(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64((self.random)().clamp(0.0, 1.0))
    }

    /// The longest that the next pause can be.
    pub fn ceiling(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures.min(31));
        self.min.saturating_mul(factor).min(self.max)
    }

    /// It worked: start over.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always(value: f64) -> Random {
        Arc::new(move || value)
    }

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), always(1.0));
        let pauses: Vec<u64> = (0..9).map(|_| backoff.next_pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        for _ in 0..1000 {
            assert_eq!(backoff.next_pause(), Duration::from_secs(60));
        }
        backoff.reset();
        assert_eq!(backoff.next_pause(), Duration::from_secs(1));
    }

    #[test]
    fn the_jitter_is_full() {
        let mut low = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), always(0.0));
        let mut middle = Backoff::new(Duration::from_secs(8), Duration::from_secs(60), always(0.5));
        assert_eq!(low.next_pause(), Duration::ZERO);
        assert_eq!(middle.next_pause(), Duration::from_secs(4));
        let random = system_random();
        for _ in 0..100 {
            assert!((0.0..1.0).contains(&random()));
        }
    }

    #[test]
    fn a_limit_below_the_start_is_the_start() {
        let mut backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(1), always(1.0));
        assert_eq!(backoff.next_pause(), Duration::from_secs(5));
        assert_eq!(backoff.next_pause(), Duration::from_secs(5));
    }
}
