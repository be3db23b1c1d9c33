//! What the journal knows: a pure fold over its records.
//!
//! Compaction writes the state as records ([`State::records`]) whose fold is the same state; so nothing can be
//! forgotten by compaction that [`State::apply`] itself does not forget.
//!
//! # Days
//! The mark of a *once* verb is forgotten when the server has closed its process for good and 30 days have passed. No
//! clock of ours can be trusted to say so: a Raspberry Pi boots in 1970, and one wrong date would make every mark old
//! at once. So the journal counts days that it *saw* pass: a [`Record::LastGoodTime`] at least a day after the last one
//! counts as one day, however far it jumps. Time that was not seen (the agent was off, the clock stood
//! wrong) counts too little, never too much, and so marks are kept too long, never too short. What bounds them then
//! is their number, and beyond that *once* verbs are refused rather than marks forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::record::{
    Attempt, Begun, Delivery, Distrust, Ended, Mark, Opened, Past, Record, Report, Role, shortened,
};
use crate::protocol::Time;

/// Lines of `history` that are kept.
pub const HISTORY: usize = 200;

/// Days after which the mark of a process that is final at the server is forgotten.
pub const MARK_DAYS: u32 = 30;

/// From one [`Record::LastGoodTime`] to the next, at least.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the journal knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    opened: Option<Opened>,
    days: u32,
    last_good_time: Option<Time>,
    marks: BTreeMap<Id, Mark>,
    unfinished: Vec<Begun>,
    outbox: VecDeque<Report>,
    history: VecDeque<Past>,
    distrust: Option<Distrust>,
}

impl State {
    /// What is known once this record is known as well.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Opened(opened) => self.opened = Some(opened),
            Record::Begun(begun) => self.begun(begun),
            Record::Result(report) => self.result(report),
            Record::AttributeDelivered { attempt, index } => self.attached(&attempt, index),
            Record::Delivered { attempt } => self.delivered(&attempt),
            Record::Moot { attempt, reason } => self.moot(&attempt, reason),
            Record::Refused(refused) => self.remember(Past {
                attempt: Attempt {
                    process_id: refused.process_id,
                    retries: 0,
                    start_time: Time::NEVER,
                },
                verb: refused.verb,
                device: refused.device,
                wall: refused.wall,
                refused: Some(refused.reason),
                ended: Ended::Not,
                delivery: Delivery::Nothing,
            }),
            Record::FinalAtServer { process_id } => self.is_final(&process_id),
            Record::LastGoodTime { wall } => self.good_time(wall),
            Record::Distrusted { why } => self.distrust = Some(why),
            Record::Accepted { .. } => {
                self.distrust = None;
                // A server whose clock was decades ahead would otherwise be believed for ever.
                self.last_good_time = None;
            }
            Record::Days { days, last_good_time } => {
                self.days = days;
                self.last_good_time = last_good_time;
            }
            Record::Mark { process_id, mark } => {
                self.marks.insert(Id::of(&process_id), mark);
            }
            Record::Past(past) => self.remember(past),
            Record::Unfinished(begun) => self.unfinished.push(begun),
            Record::Waiting(report) => self.outbox.push_back(report),
        }
    }

    fn begun(&mut self, begun: Begun) {
        if begun.leaves_mark() {
            let mark = Mark {
                retries: begun.attempt.retries,
                day: self.days,
                ended: Ended::Not,
                is_final: false,
            };
            // The first one stays: it is the one that acted.
            self.marks
                .entry(Id::of(&begun.attempt.process_id))
                .or_insert(mark);
        }
        if self.past(&begun.attempt).is_none() {
            self.remember(Past {
                attempt: begun.attempt.clone(),
                verb: begun.verb.clone(),
                device: begun.device.clone(),
                wall: begun.at.wall,
                refused: None,
                ended: Ended::Not,
                delivery: Delivery::Nothing,
            });
        }
        match self.unfinished_mut(&begun.attempt) {
            Some(at) => self.unfinished[at] = begun,
            None => self.unfinished.push(begun),
        }
    }

    fn result(&mut self, report: Report) {
        let ended = Ended::of(&report.close);
        if self.unfinished_mut(&report.attempt).is_none() && self.waiting(&report.attempt).is_none() {
            // Closed without running here, because its assignment was lost or the server forgot how it ended: a close names no
            // attempt and may arrive late, so a later one must not be running then.
            self.marks
                .entry(Id::of(&report.attempt.process_id))
                .or_insert(Mark {
                    retries: report.attempt.retries,
                    day: self.days,
                    ended: ended.clone(),
                    is_final: false,
                });
        }
        self.no_longer_runs(&report.attempt, &ended);
        match self.past(&report.attempt) {
            Some(past) => {
                past.ended = ended;
                past.delivery = Delivery::Waiting;
            }
            None => self.remember(Past {
                attempt: report.attempt.clone(),
                verb: String::new(),
                device: String::new(),
                wall: report.at.wall,
                refused: None,
                ended,
                delivery: Delivery::Waiting,
            }),
        }
        // Of an attempt there is one result; perhaps a part of it was sent already.
        if self.waiting(&report.attempt).is_none() {
            self.outbox.push_back(report);
        }
    }

    fn attached(&mut self, attempt: &Attempt, index: u32) {
        if let Some(at) = self.waiting(attempt) {
            let report = &mut self.outbox[at];
            let gone = index.saturating_add(1).saturating_sub(report.attached);
            let gone = report.attributes.len().min(gone as usize);
            report.attributes.drain(..gone);
            report.attached += gone as u32;
        }
    }

    fn delivered(&mut self, attempt: &Attempt) {
        if let Some(at) = self.waiting(attempt) {
            self.outbox.remove(at);
        }
        if let Some(past) = self.past(attempt) {
            past.delivery = Delivery::Taken;
        }
        // A close is final at the server, successful or failed.
        self.is_final(&attempt.process_id);
    }

    fn moot(&mut self, attempt: &Attempt, reason: String) {
        if let Some(at) = self.waiting(attempt) {
            self.outbox.remove(at);
            if let Some(past) = self.past(attempt) {
                past.delivery = Delivery::Moot(reason);
            }
        } else if self.unfinished_mut(attempt).is_some() {
            let ended = Ended::Left(shortened(&reason));
            self.no_longer_runs(attempt, &ended);
            if let Some(past) = self.past(attempt) {
                past.ended = ended;
            }
        }
    }

    fn no_longer_runs(&mut self, attempt: &Attempt, ended: &Ended) {
        if let Some(at) = self.unfinished_mut(attempt) {
            self.unfinished.remove(at);
        }
        if let Some(mark) = self.marks.get_mut(&Id::of(&attempt.process_id))
            && mark.retries == attempt.retries
            && mark.ended == Ended::Not
        {
            mark.ended = ended.clone();
        }
    }

    fn is_final(&mut self, process_id: &str) {
        if let Some(mark) = self.marks.get_mut(&Id::of(process_id)) {
            mark.is_final = true;
        }
    }

    fn good_time(&mut self, wall: Time) {
        match self.last_good_time {
            None => self.last_good_time = Some(wall),
            Some(last) if last.plus(DAY) <= wall => {
                self.last_good_time = Some(wall);
                self.days = self.days.saturating_add(1);
                self.forget();
            }
            Some(_) => {}
        }
    }

    /// Forgets the marks that may be forgotten.
    fn forget(&mut self) {
        let days = self.days;
        let busy: Vec<Id> = self
            .unfinished
            .iter()
            .map(|begun| &begun.attempt)
            .chain(self.outbox.iter().map(|report| &report.attempt))
            .map(|attempt| Id::of(&attempt.process_id))
            .collect();
        self.marks.retain(|id, mark| {
            // More than 30 days seen: the first of them was perhaps nearly over when it began.
            !mark.is_final || days.saturating_sub(mark.day) <= MARK_DAYS || busy.contains(id)
        });
    }

    fn remember(&mut self, past: Past) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(past);
    }

    fn past(&mut self, attempt: &Attempt) -> Option<&mut Past> {
        let known = |past: &&mut Past| past.refused.is_none() && past.attempt.same_as(attempt);
        self.history.iter_mut().rev().find(known)
    }

    fn unfinished_mut(&self, attempt: &Attempt) -> Option<usize> {
        self.unfinished
            .iter()
            .position(|begun| begun.attempt.same_as(attempt))
    }

    fn waiting(&self, attempt: &Attempt) -> Option<usize> {
        self.outbox
            .iter()
            .position(|report| report.attempt.same_as(attempt))
    }

    /// Takes back a beginning that could not be written down and so did not happen.
    pub(super) fn retract(&mut self, begun: &Begun) {
        let why = Ended::Left("not begun: the journal could not be written".to_owned());
        if let Some(at) = self.unfinished_mut(&begun.attempt) {
            self.unfinished.remove(at);
        }
        if begun.leaves_mark() {
            self.marks.remove(&Id::of(&begun.attempt.process_id));
        }
        if let Some(past) = self.past(&begun.attempt) {
            past.ended = why;
        }
    }

    /// The state as records: their fold over an empty state is this state.
    pub(super) fn records(&self, mut each: impl FnMut(&Record)) {
        if let Some(opened) = &self.opened {
            each(&Record::Opened(opened.clone()));
        }
        each(&Record::Days {
            days: self.days,
            last_good_time: self.last_good_time,
        });
        for (id, mark) in &self.marks {
            each(&Record::Mark {
                process_id: id.text(),
                mark: mark.clone(),
            });
        }
        for past in &self.history {
            each(&Record::Past(past.clone()));
        }
        for begun in &self.unfinished {
            each(&Record::Unfinished(begun.clone()));
        }
        for report in &self.outbox {
            each(&Record::Waiting(report.clone()));
        }
        if let Some(why) = &self.distrust {
            each(&Record::Distrusted { why: *why });
        }
    }

    /// Whether a *once* verb of this process ever began here: in which attempt, and what came of it.
    pub fn begun_once(&self, process_id: &str) -> Option<&Mark> {
        self.marks.get(&Id::of(process_id))
    }

    /// How an attempt ended, as far as `history` reaches.
    pub fn ended(&self, attempt: &Attempt) -> Option<&Ended> {
        let known = |past: &&Past| past.refused.is_none() && past.attempt.same_as(attempt);
        self.history.iter().rev().find(known).map(|past| &past.ended)
    }

    /// How many processes are remembered for [`State::begun_once`].
    pub fn marks(&self) -> usize {
        self.marks.len()
    }

    /// The processes of which it is not known whether the server has closed them for good, and which nothing here waits for:
    /// asking about them now and then, and noting [`Record::FinalAtServer`], keeps the marks few. Each once, beginning with
    /// the one that follows `last`, whatever that is: whoever asks about a few at a time comes by all of them.
    pub fn not_known_final(&self, last: &str) -> impl Iterator<Item = String> {
        let last = Id::of(last);
        let following = (Bound::Excluded(last.clone()), Bound::Unbounded);
        self.marks
            .range(following)
            .chain(self.marks.range(..=last))
            .filter(|(_, mark)| !mark.is_final)
            .map(|(id, _)| id.text())
            .filter(|id| {
                !self.undelivered(id)
                    && self
                        .unfinished
                        .iter()
                        .all(|begun| begun.attempt.process_id != *id)
            })
    }

    /// Attempts that began and have no result. At start these are the ones that a crash interrupted; the lease of those of
    /// another boot is over.
    pub fn unfinished(&self) -> &[Begun] {
        &self.unfinished
    }

    /// Results that the server does not have yet, oldest first.
    pub fn outbox(&self) -> impl ExactSizeIterator<Item = &Report> {
        self.outbox.iter()
    }

    /// Whether a runtime of this agent still has to tell the server something, or what it began was interrupted.
    pub fn owes(&self, role: Role) -> bool {
        self.outbox.iter().any(|report| report.role == role)
            || self.unfinished.iter().any(|begun| begun.role == role)
    }

    /// Whether a result of this process waits: then it is never acted on again.
    pub fn undelivered(&self, process_id: &str) -> bool {
        self.outbox
            .iter()
            .any(|report| report.attempt.process_id == process_id)
    }

    /// How many bytes of results wait, about.
    pub fn outbox_bytes(&self) -> usize {
        let texts = |report: &Report| -> usize {
            let attributes = report.attributes.iter();
            attributes
                .map(|attribute| attribute.key.len() + attribute.value.len())
                .sum()
        };
        self.outbox.iter().map(texts).sum()
    }

    /// What was done and what was refused, oldest first; the last [`HISTORY`] of them.
    pub fn history(&self) -> impl ExactSizeIterator<Item = &Past> + DoubleEndedIterator {
        self.history.iter()
    }

    /// The latest moment that was surely reached, to about a day: a floor for judging certificates.
    pub fn last_good_time(&self) -> Option<Time> {
        self.last_good_time
    }

    /// Days that the journal saw pass.
    pub fn days(&self) -> u32 {
        self.days
    }

    /// Why the journal may not know all that was begun; *once* verbs are refused until the owner accepts it.
    pub fn distrust(&self) -> Option<&Distrust> {
        self.distrust.as_ref()
    }

    /// When, in which boot and on which machine the journal was last opened for writing for the first time in a boot.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }
}

/// A process id in memory: thousands are kept, nearly all of them 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Hash([u8; 32]),
    Text(Box<str>),
}

impl Id {
    fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        let lower = text.bytes().all(|byte| !byte.is_ascii_uppercase());
        if lower && hex::decode_to_slice(text, &mut hash).is_ok() {
            Id::Hash(hash)
        } else {
            Id::Text(text.into())
        }
    }

    fn text(&self) -> String {
        match self {
            Id::Hash(hash) => hex::encode(hash),
            Id::Text(text) => text.clone().into(),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
