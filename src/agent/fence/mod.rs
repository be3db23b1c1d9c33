//! What may be done about one attempt, and what follows from its end: the pure part of docs/fence.md, whose section
//! numbers are cited here.
//!
//! Nothing here waits, asks or acts: it is told what happened and when, and says what is to be done.
//!
//! - [`refusal()`]: what is asked of work before anything else (2, 3).
//! - [`Guard`]: one attempt from its assignment to its end: journal, confirm, check the lease, act, supervise (3).
//! - [`verdict`]: what follows from an end (5).
//! - [`after_a_crash`]: what follows where nobody saw the end (5).

mod crash;
mod ends;
mod guard;
mod refusal;

use std::fmt;
use std::time::Duration;

pub use crash::{Interrupted, after_a_crash};
pub use ends::{Close, Ending, LOST, Verdict, verdict};
pub use guard::{Action, Event, Guard, Plan, SUPERVISED, Seen, time_to_safe};
pub use refusal::{Rejection, Rules, refusal};

use crate::clock::BootTime;
use crate::protocol::Time;
use crate::protocol::model::Process;

/// The largest margin before a lease's end (2).
const MARGIN: Duration = Duration::from_millis(250);

/// Start times of one attempt may differ by so much: an assign reply has nanoseconds, later reads microseconds (1).
const SAME_START_NANOS: u128 = 1_000;

/// One assignment of a process to us (1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The process.
    pub process_id: String,
    /// How often an expired lease had put it back before.
    pub retries: i64,
    /// When the server says that it was assigned.
    pub start_time: Time,
}

impl Attempt {
    /// The attempt that a process is in.
    pub fn of(process: &Process) -> Self {
        Attempt {
            process_id: process.id.clone(),
            retries: process.retries,
            start_time: process.start_time,
        }
    }

    /// Whether both are the same attempt, start times being equal within a microsecond.
    pub fn same_as(&self, other: &Attempt) -> bool {
        let apart = self
            .start_time
            .unix_nanos()
            .abs_diff(other.start_time.unix_nanos());
        self.process_id == other.process_id && self.retries == other.retries && apart <= SAME_START_NANOS
    }

    /// Whether a process, as read later, is still in this attempt.
    pub fn is_of(&self, process: &Process) -> bool {
        self.same_as(&Attempt::of(process))
    }

    /// Counted from 1, for people.
    pub fn number(&self) -> i64 {
        self.retries.saturating_add(1)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "attempt {} of {}",
            self.retries.saturating_add(1),
            self.process_id
        )
    }
}

/// How long a lease lasts; `None`: no lease, and a verb's own longest time takes its place (2).
///
/// Zero and everything below −1 are no lease either: the originals kill such a process within a second, so
/// [`refusal()`] lets only verbs through that may be cut off anywhere.
pub fn lease_length(max_exec_time: i64) -> Option<Duration> {
    u64::try_from(max_exec_time)
        .ok()
        .filter(|&seconds| seconds > 0)
        .map(Duration::from_secs)
}

/// A lease in boot time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The earliest instant at which the server could give the process to another runtime.
    pub end: BootTime,
    /// How long before that everything must be over.
    pub margin: Duration,
}

impl Lease {
    /// A lease of `length` that ends at `end`: the margin is 250 ms, at most a tenth of the length (2).
    pub fn new(end: BootTime, length: Duration) -> Self {
        Lease {
            end,
            margin: MARGIN.min(length / 10),
        }
    }

    /// From here on nothing may be driven: early enough to be safe before the end (2).
    pub fn effective_end(&self, time_to_safe: Duration) -> BootTime {
        self.end - self.margin - time_to_safe
    }
}

/// Work as the tests of this room have it.
#[cfg(test)]
mod samples {
    use super::*;

    pub fn server(seconds: i128) -> Time {
        Time::from_unix_nanos((1_660_000_000 + seconds) * 1_000_000_000)
    }

    pub fn process() -> Process {
        let mut process = Process {
            id: "p".to_owned(),
            submission_time: server(0),
            start_time: server(5),
            ..Process::default()
        };
        process.spec.max_exec_time = 10;
        process
    }

    pub fn seconds(span: u64) -> Duration {
        Duration::from_secs(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use samples::{process, seconds};

    #[test]
    fn an_attempt_is_known_again_by_id_retries_and_start_within_a_microsecond() {
        let mut first = process();
        first.start_time = Time::from_unix_nanos(1_660_000_000_123_456_789);
        let attempt = Attempt::of(&first);
        let read = |nanos, retries| {
            let mut read = first.clone();
            read.start_time = Time::from_unix_nanos(nanos);
            read.retries = retries;
            attempt.is_of(&read)
        };
        assert!(read(1_660_000_000_123_457_000, 0), "rounded to microseconds");
        assert!(read(1_660_000_000_123_456_000, 0), "cut to microseconds");
        assert!(read(1_660_000_000_123_457_789, 0));
        assert!(!read(1_660_000_000_123_457_790, 0), "one nanosecond more");
        assert!(!read(1_660_000_000_123_456_789, 1));
    }

    #[test]
    fn the_margin_is_a_tenth_of_short_leases() {
        let end = BootTime::from_nanos(100_000_000_000);
        for (length, margin) in [(1, 100), (2, 200), (3, 250), (3600, 250)] {
            assert_eq!(
                Lease::new(end, seconds(length)).margin,
                Duration::from_millis(margin)
            );
        }
        let lease = Lease::new(end, seconds(60));
        assert_eq!(
            lease.effective_end(seconds(2)),
            BootTime::from_nanos(97_750_000_000)
        );
        assert_eq!(
            lease.effective_end(seconds(3600)),
            BootTime::default(),
            "over before it began"
        );
    }

    #[test]
    fn only_positive_times_are_leases() {
        assert_eq!(lease_length(1), Some(seconds(1)));
        assert_eq!(lease_length(i64::MAX), Some(seconds(i64::MAX as u64)));
        for none in [0, -1, -2, i64::MIN] {
            assert_eq!(lease_length(none), None);
        }
    }
}
