//! What may be done about one attempt, and what follows from its end: the pure part of docs/fence.md.
//!
//! Nothing here waits, asks or acts. Section numbers are those of docs/fence.md. Journal, confirmation and
//! supervision will join as further inputs of the same decisions.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::clock::BootTime;
use crate::device::{Effect, VerbError};
use crate::protocol::Time;
use crate::protocol::model::{Process, UNLIMITED};

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
/// [`refusal`] lets only verbs through that may be cut off anywhere.
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

/// Why work that was assigned is not begun; closed as failed with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It waited too long to be done now.
    #[error(
        "stale: it waited {}s before it was assigned, more than max_age = {}s allows; submit it again",
        age.as_secs(), max_age.as_secs()
    )]
    Stale {
        /// From submission to assignment, both by the server's clock.
        age: Duration,
        /// What the configuration allows.
        max_age: Duration,
    },
    /// Its time to wait was over.
    #[error("not begun: its maxwaittime was over when it was assigned")]
    WaitOver,
    /// It had failed while it waited (a defect of the original, RD 5.3).
    #[error("not begun: it had ended before it was assigned{}", said(message))]
    EndedBefore {
        /// What it failed of.
        message: String,
    },
    /// It would be killed by the server within a second, in the middle of something that can't be repeated.
    #[error(
        "not begun: maxexectime {max_exec_time} means that the server ends it at once; give it a time, or -1 for none"
    )]
    NoTime {
        /// As received.
        max_exec_time: i64,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}

/// What is asked of work before it is begun (2). `max_age`: `None` where old work is as good as fresh.
///
/// # Errors
/// Why it must not be begun.
pub fn refusal(process: &Process, effect: Effect, max_age: Option<Duration>) -> Result<(), Rejection> {
    // All times are the server's; ours play no part.
    let started = process.start_time;
    if !process.wait_deadline.is_never() && process.wait_deadline < started {
        return Err(Rejection::WaitOver);
    }
    if process.retries == 0 && (!process.error_message.is_empty() || !process.end_time.is_never()) {
        return Err(Rejection::EndedBefore {
            message: process.error_message.clone(),
        });
    }
    let limit = process.spec.max_exec_time;
    if effect == Effect::Once && limit != UNLIMITED && lease_length(limit).is_none() {
        return Err(Rejection::NoTime { max_exec_time: limit });
    }
    if let (Some(max_age), Some(age)) = (max_age, started.since(process.submission_time))
        && age > max_age
        && !process.submission_time.is_never()
    {
        return Err(Rejection::Stale { age, max_age });
    }
    Ok(())
}

/// How an attempt ended here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The verb was done.
    Done,
    /// The verb failed by itself, or was refused; the text is for whoever submitted it.
    Failed(String),
    /// The effective end of the lease came first; the device is safe.
    LeaseOver,
    /// The lease was over before anything was begun.
    NeverBegun,
    /// The agent stops and the grace time was over; the device is safe.
    Stopped(String),
}

impl Ending {
    /// What a verb's error means. `text` is what whoever submitted it shall read; `stopping` says that the agent
    /// cancels its verbs (else another verb did, and that is this one's failure).
    pub fn of_error(error: &VerbError, text: String, stopping: bool) -> Self {
        match error {
            VerbError::LeaseOver => Ending::LeaseOver,
            VerbError::Cancelled { .. } | VerbError::Gone { .. } if stopping => Ending::Stopped(text),
            VerbError::NotSafe { cause, .. } => Ending::of_error(cause, text, stopping),
            VerbError::Cancelled { .. }
            | VerbError::Gone { .. }
            | VerbError::Usage { .. }
            | VerbError::UnknownVerb { .. }
            | VerbError::Overran { .. }
            | VerbError::Failed(_)
            | VerbError::Panicked { .. }
            | VerbError::Busy { .. }
            | VerbError::Overruled { .. }
            | VerbError::Faulted { .. } => Ending::Failed(text),
        }
    }
}

/// How a process is closed. Failed is final at the server: retries live from requeues (5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// As successful.
    Successful,
    /// As failed, with the reason.
    Failed(String),
}

/// What follows from an attempt's end (5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Tell the server, however long it takes.
    Close(Close),
    /// Tell the server before this moment or not at all.
    CloseBefore(BootTime, Close),
    /// Say nothing: the server's own time limit puts it back into the queue.
    Leave,
}

/// The table of ends (5): the agent's own crash is not in it, see [`super::reconcile`].
pub fn verdict(ending: Ending, effect: Effect, lease: Option<Lease>) -> Verdict {
    let repeatable = effect != Effect::Once;
    match (ending, lease) {
        (Ending::Done, _) => Verdict::Close(Close::Successful),
        (Ending::Failed(text), _) => Verdict::Close(Close::Failed(text)),
        // Nothing was done, so whoever gets it next may.
        (Ending::NeverBegun, _) => Verdict::Leave,
        (Ending::LeaseOver, Some(lease)) if !repeatable => {
            Verdict::CloseBefore(lease.end, Close::Failed(VerbError::LeaseOver.to_string()))
        }
        (Ending::LeaseOver | Ending::Stopped(_), Some(_)) if repeatable => Verdict::Leave,
        // Without a lease nobody would ever put it back.
        (Ending::LeaseOver, _) => Verdict::Close(Close::Failed(VerbError::LeaseOver.to_string())),
        (Ending::Stopped(text), _) => Verdict::Close(Close::Failed(text)),
    }
}

/// *Once* verbs begin at most once per process (3). These are the marks of those that did, in memory: the journal will
/// keep them over a restart. Bounded; the oldest go first.
#[derive(Debug, Default)]
pub struct Begun {
    marks: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    attempt: Attempt,
    outcome: Option<String>,
}

/// So many marks are kept.
const MARKS: usize = 4096;

impl Begun {
    /// Marks an attempt at a *once* verb as begun.
    ///
    /// # Errors
    /// It began before; the text says in which attempt and what came of it.
    pub fn mark(&mut self, attempt: &Attempt) -> Result<(), String> {
        if let Some(mark) = self.find(&attempt.process_id) {
            let number = mark.attempt.number();
            let outcome = mark.outcome.as_deref().unwrap_or("not done yet");
            return Err(format!("already begun in attempt {number}: {outcome}"));
        }
        if self.marks.len() == MARKS {
            self.marks.pop_front();
        }
        self.marks.push_back(Mark {
            attempt: attempt.clone(),
            outcome: None,
        });
        Ok(())
    }

    /// Notes what came of it, for those who ask later.
    pub fn note(&mut self, process_id: &str, outcome: String) {
        if let Some(mark) = self.find(process_id) {
            mark.outcome = Some(outcome);
        }
    }

    fn find(&mut self, process_id: &str) -> Option<&mut Mark> {
        self.marks
            .iter_mut()
            .find(|mark| mark.attempt.process_id == process_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(seconds: i128) -> Time {
        Time::from_unix_nanos((1_660_000_000 + seconds) * 1_000_000_000)
    }

    fn process() -> Process {
        let mut process = Process {
            id: "p".to_owned(),
            submission_time: server(0),
            start_time: server(5),
            ..Process::default()
        };
        process.spec.max_exec_time = 10;
        process
    }

    fn seconds(span: u64) -> Duration {
        Duration::from_secs(span)
    }

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

    #[test]
    fn work_without_a_usable_time_is_only_for_verbs_that_can_be_repeated() {
        for (max_exec_time, once) in [(10, true), (-1, true), (0, false), (-2, false)] {
            let mut process = process();
            process.spec.max_exec_time = max_exec_time;
            for effect in [Effect::Read, Effect::Set] {
                assert_eq!(refusal(&process, effect, None), Ok(()), "{max_exec_time}");
            }
            let refused = refusal(&process, Effect::Once, None);
            assert_eq!(refused.is_ok(), once, "{max_exec_time}: {refused:?}");
        }
    }

    #[test]
    fn stale_work_is_refused_by_the_servers_two_times() {
        let mut process = process();
        process.start_time = server(60);
        assert_eq!(refusal(&process, Effect::Set, Some(seconds(60))), Ok(()));
        process.start_time = process.start_time.plus(Duration::from_nanos(1));
        let stale = refusal(&process, Effect::Set, Some(seconds(60))).unwrap_err();
        assert!(stale.to_string().contains("max_age = 60s"), "{stale}");
        assert_eq!(refusal(&process, Effect::Set, None), Ok(()), "off");
        process.submission_time = Time::NEVER;
        assert_eq!(
            refusal(&process, Effect::Set, Some(seconds(60))),
            Ok(()),
            "unknown is not stale"
        );
        // A clock that went backwards at the server says nothing about age.
        process.submission_time = server(100);
        assert_eq!(refusal(&process, Effect::Set, Some(seconds(60))), Ok(()));
    }

    #[test]
    fn work_that_the_server_should_not_have_handed_out_is_refused() {
        let mut late = process();
        late.wait_deadline = server(4);
        assert_eq!(refusal(&late, Effect::Read, None), Err(Rejection::WaitOver));
        late.wait_deadline = server(5);
        assert_eq!(refusal(&late, Effect::Read, None), Ok(()));

        let mut failed = process();
        failed.error_message = "Maximum waiting time limit exceeded".to_owned();
        let text = refusal(&failed, Effect::Read, None).unwrap_err().to_string();
        assert!(text.contains("Maximum waiting time"), "{text}");
        failed.retries = 1;
        assert_eq!(refusal(&failed, Effect::Read, None), Ok(()));

        let mut ended = process();
        ended.end_time = server(3);
        assert!(refusal(&ended, Effect::Read, None).is_err());
        ended.retries = 2;
        assert_eq!(
            refusal(&ended, Effect::Read, None),
            Ok(()),
            "a requeued process has an end time"
        );
        let mut zoned = process();
        zoned.end_time = Time::parse("0000-12-31T19:03:58-04:56").unwrap();
        assert_eq!(
            refusal(&zoned, Effect::Read, None),
            Ok(()),
            "never, in another zone"
        );
    }

    #[test]
    fn the_table_of_ends() {
        let lease = Some(Lease::new(BootTime::from_nanos(9), seconds(1)));
        let end = BootTime::from_nanos(9);
        let failed = |text: &str| Verdict::Close(Close::Failed(text.to_owned()));
        let stopped = || Ending::Stopped("stop".to_owned());
        for effect in [Effect::Read, Effect::Set] {
            assert_eq!(
                verdict(Ending::Done, effect, lease),
                Verdict::Close(Close::Successful)
            );
            assert_eq!(verdict(Ending::Failed("x".into()), effect, lease), failed("x"));
            assert_eq!(verdict(Ending::LeaseOver, effect, lease), Verdict::Leave);
            assert_eq!(verdict(Ending::NeverBegun, effect, lease), Verdict::Leave);
            assert_eq!(verdict(stopped(), effect, lease), Verdict::Leave);
            assert_eq!(
                verdict(stopped(), effect, None),
                failed("stop"),
                "nobody else would end it"
            );
        }
        let once = Effect::Once;
        assert_eq!(
            verdict(Ending::Done, once, lease),
            Verdict::Close(Close::Successful)
        );
        assert_eq!(verdict(Ending::Failed("x".into()), once, lease), failed("x"));
        assert!(
            matches!(verdict(Ending::LeaseOver, once, lease), Verdict::CloseBefore(at, Close::Failed(_)) if at == end)
        );
        assert_eq!(verdict(Ending::NeverBegun, once, lease), Verdict::Leave);
        assert_eq!(verdict(stopped(), once, lease), failed("stop"));
        assert_eq!(verdict(stopped(), once, None), failed("stop"));
    }

    #[test]
    fn errors_of_verbs_become_endings() {
        let text = || "text".to_owned();
        let not_safe = VerbError::NotSafe {
            cause: Box::new(VerbError::LeaseOver),
            fault: "stuck".to_owned(),
        };
        assert_eq!(Ending::of_error(&not_safe, text(), false), Ending::LeaseOver);
        let overran = VerbError::Overran { max_time: seconds(1) };
        assert_eq!(Ending::of_error(&overran, text(), true), Ending::Failed(text()));
        let cancelled = VerbError::Cancelled {
            reason: "stop".to_owned(),
        };
        assert_eq!(
            Ending::of_error(&cancelled, text(), true),
            Ending::Stopped(text())
        );
        assert_eq!(
            Ending::of_error(&cancelled, text(), false),
            Ending::Failed(text())
        );
    }

    #[test]
    fn a_once_verb_is_marked_once_and_its_outcome_told() {
        let mut begun = Begun::default();
        let first = Attempt::of(&process());
        let mut second = first.clone();
        second.retries = 1;
        assert_eq!(begun.mark(&first), Ok(()));
        assert_eq!(
            begun.mark(&second).unwrap_err(),
            "already begun in attempt 1: not done yet"
        );
        begun.note("p", "the lease ended".to_owned());
        assert_eq!(
            begun.mark(&second).unwrap_err(),
            "already begun in attempt 1: the lease ended"
        );
        for n in 0..MARKS {
            let mut other = first.clone();
            other.process_id = n.to_string();
            assert_eq!(begun.mark(&other), Ok(()));
        }
        assert_eq!(begun.mark(&second), Ok(()), "bounded: the oldest was forgotten");
    }
}
