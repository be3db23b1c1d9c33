//! What the server has not been told yet: results, kept until they are taken (docs/fence.md, 5).
//!
//! Pure: it says what to send next and is told what came of it; [`super::delivery`] sends. It lives in memory, beside the
//! journal, which keeps the results of what acted over a restart. Bounded: whoever takes on work asks [`Outbox::has_room`]
//! first.

use std::collections::VecDeque;
use std::time::Duration;

use super::backoff::{Backoff, Random};
use super::fence::{Attempt, Close};
use super::journal::{self, MAX_WAITING, MAX_WAITING_BYTES};
use crate::clock::BootTime;
use crate::protocol::model::Attribute;

/// The result of one attempt: first its attributes, in order, then the close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose result it is.
    pub attempt: Attempt,
    /// What to attach before closing.
    pub attributes: VecDeque<Attribute>,
    /// How to close.
    pub close: Close,
    /// From here on somebody else may have the process: ask before telling. `None`: no lease.
    pub lease_end: Option<BootTime>,
    /// From here on it is not to be told any more.
    pub not_after: Option<BootTime>,
    /// How many attributes were attached before those.
    pub attached: u32,
    /// The journal has it, and wants to know what comes of it.
    pub journalled: bool,
}

impl Report {
    /// As the journal kept it over a restart. Its times count only in the boot in which they were written.
    pub fn reloaded(kept: journal::Report, this_boot: bool) -> Self {
        let in_this_boot = |moment: BootTime| if this_boot { moment } else { BootTime::default() };
        Report {
            attempt: kept.attempt,
            attributes: kept.attributes.into(),
            close: kept.close,
            lease_end: kept.lease_end.map(in_this_boot),
            not_after: kept.not_after.map(in_this_boot),
            attached: kept.attached,
            journalled: true,
        }
    }

    fn bytes(&self) -> usize {
        let attributes = self.attributes.iter();
        attributes
            .map(|attribute| attribute.key.len() + attribute.value.len())
            .sum()
    }
}

/// What to send next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the process: is it still in this attempt?
    Ask(Attempt),
    /// Attach this.
    Attach(Attribute),
    /// Close it.
    Close(Attempt, Close),
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or found to have been done before.
    Taken,
    /// This one thing will never be taken (an attribute that the server can't store); go on with the next.
    Skip(String),
    /// The whole result is of no use any more.
    Moot(String),
    /// Not now.
    Later(String),
}

/// What an answer changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The server has the attributes of this result up to this one, counted from 0 (or will never take it).
    Attached {
        /// Whose.
        attempt: Attempt,
        /// Which.
        index: u32,
        /// The journal has this result.
        journalled: bool,
    },
    /// An entry left the outbox.
    Gone(Gone),
}

/// An entry that left the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Whose result it was.
    pub attempt: Attempt,
    /// How it would have closed or has closed.
    pub close: Close,
    /// Why it was dropped; `None`: it was taken.
    pub moot: Option<String>,
    /// The journal has this result.
    pub journalled: bool,
}

struct Entry {
    report: Report,
    backoff: Backoff,
    /// Not before this moment.
    due: BootTime,
    /// Something was sent, and whether it arrived is not known.
    doubtful: bool,
    /// The server said, since the last doubt, that the process is still in this attempt.
    confirmed: bool,
}

/// The results that wait.
pub struct Outbox {
    entries: VecDeque<Entry>,
    backoff: Backoff,
}

impl Outbox {
    /// Empty. Each entry is tried again after pauses between nothing and `min`, growing up to `max`.
    pub fn new(min: Duration, max: Duration, random: Random) -> Self {
        Outbox {
            entries: VecDeque::new(),
            backoff: Backoff::new(min, max, random),
        }
    }

    /// How many results wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether `more` results would find room.
    pub fn has_room(&self, more: usize) -> bool {
        let bytes: usize = self.entries.iter().map(|entry| entry.report.bytes()).sum();
        self.entries.len() + more <= MAX_WAITING && bytes < MAX_WAITING_BYTES
    }

    /// Whether a result of this process waits: then it is not to be acted on again.
    pub fn holds(&self, process_id: &str) -> bool {
        self.position(process_id).is_some()
    }

    /// The processes whose results wait.
    pub fn process_ids(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .map(|entry| entry.report.attempt.process_id.as_str())
    }

    /// Takes a result, unless there is no room or one of the same process waits already: then false.
    pub fn push(&mut self, report: Report, now: BootTime) -> bool {
        self.take(report, false, now)
    }

    /// Takes a result that a former life left: whether anything of it was sent is not known.
    pub fn push_reloaded(&mut self, report: Report, now: BootTime) -> bool {
        self.take(report, true, now)
    }

    fn take(&mut self, report: Report, doubtful: bool, now: BootTime) -> bool {
        if self.entries.len() == MAX_WAITING || self.holds(&report.attempt.process_id) {
            return false;
        }
        self.entries.push_back(Entry {
            report,
            backoff: self.backoff.clone(),
            due: now,
            doubtful,
            confirmed: false,
        });
        true
    }

    /// What to send now: of the oldest entry that is due. `None`: wait until [`Outbox::next_due`].
    pub fn next(&self, now: BootTime) -> Option<Step> {
        let entry = self.entries.iter().find(|entry| entry.due <= now)?;
        let report = &entry.report;
        let late = report.lease_end.is_some_and(|end| now >= end);
        Some(if (late || entry.doubtful) && !entry.confirmed {
            Step::Ask(report.attempt.clone())
        } else if let Some(attribute) = report.attributes.front() {
            Step::Attach(attribute.clone())
        } else {
            Step::Close(report.attempt.clone(), report.close.clone())
        })
    }

    /// When there will be something to send; `None`: when something is pushed.
    pub fn next_due(&self) -> Option<BootTime> {
        let due = |entry: &Entry| entry.due.min(entry.report.not_after.unwrap_or(entry.due));
        self.entries.iter().map(due).min()
    }

    /// Takes what came of a step for a process.
    pub fn answered(
        &mut self,
        process_id: &str,
        step: &Step,
        outcome: Outcome,
        now: BootTime,
    ) -> Option<News> {
        let at = self.position(process_id)?;
        let entry = &mut self.entries[at];
        match outcome {
            Outcome::Later(_) => {
                entry.doubtful = true;
                entry.confirmed = false;
                entry.due = now + entry.backoff.next_pause();
                None
            }
            Outcome::Moot(reason) => self.remove(at, Some(reason)).map(News::Gone),
            Outcome::Taken | Outcome::Skip(_) => {
                entry.backoff.reset();
                match step {
                    Step::Ask(_) => {
                        entry.confirmed = true;
                        None
                    }
                    Step::Attach(attribute) => {
                        let report = &mut entry.report;
                        if report.attributes.front() != Some(attribute) {
                            return None;
                        }
                        report.attributes.pop_front();
                        report.attached += 1;
                        Some(News::Attached {
                            attempt: report.attempt.clone(),
                            index: report.attached - 1,
                            journalled: report.journalled,
                        })
                    }
                    Step::Close(..) => self.remove(at, None).map(News::Gone),
                }
            }
        }
    }

    /// Drops what must not be told any more.
    pub fn expire(&mut self, now: BootTime) -> Vec<Gone> {
        let mut gone = Vec::new();
        while let Some(at) = self
            .entries
            .iter()
            .position(|entry| entry.report.not_after.is_some_and(|end| now >= end))
        {
            gone.extend(self.remove(at, Some("its lease is over".to_owned())));
        }
        gone
    }

    /// Everything that waits may be tried at once: the server is there again, or there is little time left.
    pub fn hurry(&mut self, now: BootTime) {
        for entry in &mut self.entries {
            entry.due = entry.due.min(now);
        }
    }

    fn position(&self, process_id: &str) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.report.attempt.process_id == process_id)
    }

    fn remove(&mut self, at: usize, moot: Option<String>) -> Option<Gone> {
        let report = self.entries.remove(at)?.report;
        Some(Gone {
            attempt: report.attempt,
            close: report.close,
            moot,
            journalled: report.journalled,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::Time;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_nanos(seconds * 1_000_000_000)
    }

    fn attempt(id: &str) -> Attempt {
        Attempt {
            process_id: id.to_owned(),
            retries: 0,
            start_time: Time::NEVER,
        }
    }

    fn attribute(key: &str) -> Attribute {
        Attribute {
            key: key.to_owned(),
            ..Attribute::default()
        }
    }

    fn report(id: &str, keys: &[&str]) -> Report {
        Report {
            attempt: attempt(id),
            attributes: keys.iter().map(|key| attribute(key)).collect(),
            close: Close::Successful,
            lease_end: None,
            not_after: None,
            attached: 0,
            journalled: true,
        }
    }

    /// The entry that left.
    fn gone(news: Option<News>) -> Gone {
        match news {
            Some(News::Gone(gone)) => gone,
            other => panic!("nothing left: {other:?}"),
        }
    }

    fn outbox() -> Outbox {
        let random: Random = Arc::new(|| 1.0);
        Outbox::new(Duration::from_secs(1), Duration::from_secs(8), random)
    }

    fn close(id: &str) -> Step {
        Step::Close(attempt(id), Close::Successful)
    }

    #[test]
    fn attributes_go_first_and_in_order_then_the_close() {
        let mut outbox = outbox();
        assert!(outbox.push(report("a", &["x", "y"]), at(0)));
        for (index, key) in (0..).zip(["x", "y"]) {
            let step = outbox.next(at(0)).unwrap();
            assert_eq!(step, Step::Attach(attribute(key)));
            let attached = News::Attached {
                attempt: attempt("a"),
                index,
                journalled: true,
            };
            assert_eq!(outbox.answered("a", &step, Outcome::Taken, at(0)), Some(attached));
        }
        let gone = gone(outbox.answered("a", &close("a"), Outcome::Taken, at(0)));
        assert_eq!(gone.moot, None);
        assert!(outbox.is_empty() && outbox.next(at(9)).is_none() && outbox.next_due().is_none());
    }

    #[test]
    fn what_was_not_taken_is_asked_about_before_it_is_tried_again() {
        let mut outbox = outbox();
        outbox.push(report("a", &[]), at(0));
        let later = || Outcome::Later("nobody there".to_owned());
        assert_eq!(outbox.next(at(0)), Some(close("a")));
        outbox.answered("a", &close("a"), later(), at(0));
        assert_eq!(outbox.next(at(0)), None, "not before the pause is over");
        assert_eq!(outbox.next_due(), Some(at(1)));
        let ask = Step::Ask(attempt("a"));
        assert_eq!(outbox.next(at(1)), Some(ask.clone()));
        outbox.answered("a", &ask, later(), at(1));
        assert_eq!(outbox.next_due(), Some(at(3)), "the pause doubles");
        outbox.answered("a", &ask, Outcome::Taken, at(3));
        outbox.hurry(at(3));
        assert_eq!(outbox.next(at(3)), Some(close("a")));
        // A new doubt wants a new answer.
        outbox.answered("a", &close("a"), later(), at(3));
        assert_eq!(outbox.next(at(9)), Some(ask.clone()));
        let gone = gone(outbox.answered("a", &ask, Outcome::Moot("final".to_owned()), at(9)));
        assert_eq!(gone.moot.as_deref(), Some("final"));
    }

    #[test]
    fn a_late_result_is_asked_about_first() {
        let mut outbox = outbox();
        let mut late = report("a", &["x"]);
        late.lease_end = Some(at(5));
        outbox.push(late, at(0));
        assert!(matches!(outbox.next(at(4)), Some(Step::Attach(_))));
        assert!(
            matches!(outbox.next(at(5)), Some(Step::Ask(_))),
            "the end itself is late"
        );
    }

    #[test]
    fn one_that_has_to_wait_does_not_hold_up_the_others() {
        let mut outbox = outbox();
        outbox.push(report("a", &[]), at(0));
        outbox.push(report("b", &[]), at(0));
        outbox.answered("a", &close("a"), Outcome::Later("crashed".to_owned()), at(0));
        assert_eq!(outbox.next(at(0)), Some(close("b")));
    }

    #[test]
    fn an_attribute_that_can_never_be_stored_is_skipped() {
        let mut outbox = outbox();
        outbox.push(report("a", &["x"]), at(0));
        let step = outbox.next(at(0)).unwrap();
        outbox.answered("a", &step, Outcome::Skip("too long".to_owned()), at(0));
        assert_eq!(outbox.next(at(0)), Some(close("a")));
    }

    #[test]
    fn what_must_be_told_before_the_deadline_is_dropped_at_it() {
        let mut outbox = outbox();
        let mut pressing = report("a", &[]);
        pressing.not_after = Some(at(5));
        outbox.push(pressing, at(0));
        outbox.push(report("b", &[]), at(0));
        assert!(outbox.expire(at(4)).is_empty());
        let gone = outbox.expire(at(5));
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].attempt, attempt("a"));
        assert!(outbox.holds("b") && !outbox.holds("a"));
    }

    #[test]
    fn it_is_bounded_and_takes_one_result_per_process() {
        let mut outbox = outbox();
        for n in 0..MAX_WAITING {
            assert!(outbox.has_room(1));
            assert!(outbox.push(report(&n.to_string(), &[]), at(0)));
        }
        assert!(!outbox.has_room(1));
        assert!(!outbox.push(report("one more", &[]), at(0)));
        outbox.answered("0", &close("0"), Outcome::Taken, at(0));
        assert!(!outbox.push(report("1", &[]), at(0)), "of that process one waits");
        assert!(outbox.push(report("one more", &[]), at(0)));
        assert_eq!(outbox.len(), MAX_WAITING);
    }

    #[test]
    fn what_a_former_life_left_is_asked_about_first() {
        let kept = |not_after| journal::Report {
            attempt: attempt("a"),
            role: journal::Role::Work,
            close: Close::Successful,
            attributes: vec![attribute("y")],
            attached: 1,
            at: journal::Moment {
                boot_id: "another".to_owned(),
                boot: at(1000),
                wall: Time::NEVER,
            },
            lease_end: None,
            not_after,
        };
        let mut outbox = outbox();
        assert!(outbox.push_reloaded(Report::reloaded(kept(None), true), at(0)));
        let ask = outbox.next(at(0)).unwrap();
        assert_eq!(ask, Step::Ask(attempt("a")));
        outbox.answered("a", &ask, Outcome::Taken, at(0));
        let attach = outbox.next(at(0)).unwrap();
        let news = outbox.answered("a", &attach, Outcome::Taken, at(0));
        assert!(matches!(news, Some(News::Attached { index: 1, .. })), "{news:?}");

        // What had to be told before a moment of another boot is over.
        for (this_boot, expired) in [(false, 1), (true, 0)] {
            let mut outbox = self::outbox();
            outbox.push_reloaded(Report::reloaded(kept(Some(at(2000))), this_boot), at(1));
            assert_eq!(outbox.expire(at(1)).len(), expired);
        }
    }

    #[test]
    fn long_results_fill_it_too() {
        let mut outbox = outbox();
        let mut long = report("a", &["x"]);
        long.attributes[0].value = "x".repeat(MAX_WAITING_BYTES);
        outbox.push(long, at(0));
        assert!(!outbox.has_room(1));
        assert!(
            outbox.push(report("b", &[]), at(0)),
            "what ran already finds room"
        );
    }
}
