//! What the journal says: one record for each thing that must still be known after a crash.

use std::fmt;

pub use super::super::fence::{Attempt, Close};
use super::codec::Writer;
use super::encoding::write_report;
use crate::clock::{BootTime, Clock};
use crate::device::Effect;
use crate::protocol::Time;
use crate::protocol::identity::sha3_hex;
use crate::protocol::model::Attribute;

/// The most that one record takes, in bytes: the 64 KiB of output that a command keeps by default, and what stands around
/// them. A longer result is cut (see [`Report::cut_to_fit`]).
pub const MAX_RECORD: usize = 72 * 1024;

/// The longest process id, in bytes: ours are 64, and one that is cut could be taken for another.
pub const MAX_PROCESS_ID: usize = 128;

/// The longest name of a verb, a device or a boot that is kept, in bytes.
pub const MAX_NAME: usize = 64;

/// The longest reason that is kept for `history`, in bytes; the server is told the whole.
pub const MAX_REASON: usize = 160;

/// Which of the agent's runtimes something concerns: each has its own key, and only the one that a process was assigned to
/// may close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The one that takes work.
    Work,
    /// The control lane (docs/fence.md, 4).
    Control,
}

/// Which machine a journal belongs to: a hash of its machine id, since machine-id(5) asks not to spread the id itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(pub(super) String);

impl Machine {
    /// Of a machine id as /etc/machine-id has it.
    pub fn of(machine_id: &str) -> Self {
        let mut hash = sha3_hex(format!("outpost journal {}", machine_id.trim()).as_bytes());
        hash.truncate(32);
        Machine(hash)
    }
}

/// A moment in every clock that we have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The boot in which [`Moment::boot`] counts.
    pub boot_id: String,
    /// Decides, within this boot.
    pub boot: BootTime,
    /// Only shown: it may be wrong by decades.
    pub wall: Time,
}

impl Moment {
    /// Now.
    pub fn of(clock: &dyn Clock) -> Self {
        Moment {
            boot_id: clock.boot_id(),
            boot: clock.now(),
            wall: Time::from_unix_nanos(clock.wall_nanos()),
        }
    }
}

/// An agent began to use the journal: written once a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// When.
    pub at: Moment,
    /// On which machine.
    pub machine: Machine,
}

/// A verb is about to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// For whom.
    pub attempt: Attempt,
    /// Who was assigned it.
    pub role: Role,
    /// The function, or the verb of it.
    pub verb: String,
    /// What it acts on.
    pub device: String,
    /// What it does to the world.
    pub effect: Effect,
    /// The configuration says `repeat = true`: each attempt may begin, so nothing needs to be remembered for ever.
    pub repeat: bool,
    /// When.
    pub at: Moment,
    /// When its lease ends, in the boot of `at`; `None`: no lease.
    pub lease_end: Option<BootTime>,
    /// Which beginning of this attempt it is, from 1: a crash ended each one before. The journal counts ([`super::Journal::begin`]).
    pub beginning: u32,
}

impl Begun {
    /// Whether this process must never begin again.
    pub fn leaves_mark(&self) -> bool {
        leaves_mark(self.effect, self.repeat)
    }
}

pub(super) fn leaves_mark(effect: Effect, repeat: bool) -> bool {
    effect == Effect::Once && !repeat
}

/// The result of an attempt, to be told to the server: an entry of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose result it is.
    pub attempt: Attempt,
    /// Who was assigned it.
    pub role: Role,
    /// How to close it.
    pub close: Close,
    /// What is still to be attached before closing, in order.
    pub attributes: Vec<Attribute>,
    /// How many attributes were attached before those.
    pub attached: u32,
    /// When it ended.
    pub at: Moment,
    /// From here on somebody else may have the process; in the boot of `at`.
    pub lease_end: Option<BootTime>,
    /// From here on it is not to be told any more; in the boot of `at`.
    pub not_after: Option<BootTime>,
}

impl Report {
    /// Shortens what is longest until the record fits [`MAX_RECORD`], saying so where it was cut. Whether it had to.
    pub fn cut_to_fit(&mut self) -> bool {
        let mut cut = false;
        loop {
            let mut bytes = Vec::new();
            write_report(&mut Writer(&mut bytes), self);
            let excess = (bytes.len() + 1).saturating_sub(MAX_RECORD);
            if excess == 0 {
                return cut;
            }
            cut = true;
            let reason = match &mut self.close {
                Close::Failed(reason) => Some(reason),
                Close::Successful => None,
            };
            let values = self.attributes.iter_mut().map(|attribute| &mut attribute.value);
            match values.chain(reason).max_by_key(|text| text.len()) {
                Some(longest) if longest.len() > 2 * CUT.len() => {
                    let keep = longest.len().saturating_sub(excess + CUT.len());
                    shorten(longest, keep);
                    longest.push_str(CUT);
                }
                // Thousands of tiny ones: the last are left out.
                _ => {
                    let keep = self.attributes.len() / 2;
                    self.attributes.truncate(keep);
                }
            }
        }
    }
}

/// What stands where a text was cut.
const CUT: &str = " [cut here: too long for the journal of results]";

/// Work was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub process_id: String,
    /// What it asked for.
    pub verb: String,
    /// Of what; may be empty.
    pub device: String,
    /// Why not.
    pub reason: String,
    /// When; only shown.
    pub wall: Time,
}

/// Why the journal may not know all that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// Records before its end could not be read.
    Damaged,
    /// There was one, and it is gone.
    Missing,
}

impl fmt::Display for Distrust {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::Damaged => out.write_str("the journal was damaged"),
            Distrust::Missing => out.write_str("the journal is missing, though there was one"),
        }
    }
}

/// How an attempt ended here, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ended {
    /// It did not, or nobody was there to write it down.
    #[default]
    Not,
    /// The verb was done.
    Successful,
    /// It failed; why, shortened.
    Failed(String),
    /// It was broken off and left to the server; why, shortened.
    Left(String),
}

impl Ended {
    pub(super) fn of(close: &Close) -> Self {
        match close {
            Close::Successful => Ended::Successful,
            Close::Failed(reason) => Ended::Failed(shortened(reason)),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Not => out.write_str("no outcome known"),
            Ended::Successful => out.write_str("successful"),
            Ended::Failed(reason) => write!(out, "failed: {reason}"),
            Ended::Left(reason) => write!(out, "left to the server: {reason}"),
        }
    }
}

/// Whether the server knows how an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Delivery {
    /// There is nothing to tell, or not yet.
    #[default]
    Nothing,
    /// In the outbox.
    Waiting,
    /// It does.
    Taken,
    /// It does not and need not; why.
    Moot(String),
}

/// A line of `history`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// For whom. Of refused work only the process is known; its start time is never.
    pub attempt: Attempt,
    /// What was asked for; empty for a result without a beginning.
    pub verb: String,
    /// Of what; may be empty.
    pub device: String,
    /// When it began or was refused, as the wall clock showed it.
    pub wall: Time,
    /// Refused, and why.
    pub refused: Option<String>,
    /// How it ended.
    pub ended: Ended,
    /// Whether the server knows.
    pub delivery: Delivery,
}

impl fmt::Display for Past {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.device.is_empty() || self.verb.is_empty() {
            ""
        } else {
            "."
        };
        write!(out, "{} {}{dot}{} ", self.wall, self.device, self.verb)?;
        if let Some(reason) = &self.refused {
            return write!(out, "of {}: refused: {reason}", self.attempt.process_id);
        }
        write!(
            out,
            "attempt {} of {}: {}",
            self.attempt.number(),
            self.attempt.process_id,
            self.ended
        )?;
        match &self.delivery {
            Delivery::Nothing | Delivery::Taken => Ok(()),
            Delivery::Waiting => out.write_str(" (the server was not told yet)"),
            Delivery::Moot(reason) => write!(out, " (the server was not told: {reason})"),
        }
    }
}

/// That a *once* verb of a process began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Of the attempt that began.
    pub retries: i64,
    /// On which day of the journal; see [`super::State`].
    pub day: u32,
    /// What came of it.
    pub ended: Ended,
    /// The server has closed the process for good.
    pub is_final: bool,
}

/// One thing to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An agent uses this journal.
    Opened(Opened),
    /// A verb is about to act; synced before it does.
    Begun(Begun),
    /// An attempt has a result; synced before it is sent.
    Result(Report),
    /// The server has the attributes of a result up to this one, counted from 0.
    AttributeDelivered {
        /// Whose.
        attempt: Attempt,
        /// Which.
        index: u32,
    },
    /// The server has closed the process as a result said.
    Delivered {
        /// Whose.
        attempt: Attempt,
    },
    /// Of this attempt nothing more will be told: its result is of no use, or it is left to the server's requeue.
    Moot {
        /// Which.
        attempt: Attempt,
        /// Why.
        reason: String,
    },
    /// Work was refused; for `history`.
    Refused(Refused),
    /// The server has closed this process for good, or does not know it any more.
    FinalAtServer {
        /// Which.
        process_id: String,
    },
    /// A moment that was surely reached: by the server's clock, or by ours once it was set.
    LastGoodTime {
        /// Which.
        wall: Time,
    },
    /// The journal may not know all that was begun: *once* verbs are refused.
    Distrusted {
        /// Why.
        why: Distrust,
    },
    /// The owner vouches for what is outside the journal's knowledge: *once* verbs may begin again.
    Accepted {
        /// When; only shown.
        wall: Time,
    },
    /// What compaction left of [`Record::LastGoodTime`].
    Days {
        /// Days that were seen to pass.
        days: u32,
        /// The last of them.
        last_good_time: Option<Time>,
    },
    /// What compaction left of [`Record::Begun`].
    Mark {
        /// Of which process.
        process_id: String,
        /// That it began.
        mark: Mark,
    },
    /// What compaction left for `history`.
    Past(Past),
    /// A beginning without an end, after compaction.
    Unfinished(Begun),
    /// A result that waits, after compaction.
    Waiting(Report),
}

/// A record that can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A process id beyond what any server makes.
    #[error("a process id of {length} bytes is not kept in the journal (at most {MAX_PROCESS_ID})")]
    ProcessId {
        /// Its length.
        length: usize,
    },
}

impl Record {
    /// Within every bound: texts for people are shortened, a result is cut to fit.
    ///
    /// # Errors
    /// The process id is too long, and must not be shortened.
    pub(super) fn bounded(mut self) -> Result<Self, Unfit> {
        match &mut self {
            Record::Opened(opened) => shorten(&mut opened.at.boot_id, MAX_NAME),
            Record::Begun(begun) | Record::Unfinished(begun) => {
                shorten(&mut begun.verb, MAX_NAME);
                shorten(&mut begun.device, MAX_NAME);
                shorten(&mut begun.at.boot_id, MAX_NAME);
            }
            Record::Result(report) | Record::Waiting(report) => {
                shorten(&mut report.at.boot_id, MAX_NAME);
                if report.cut_to_fit() {
                    let process_id = report.attempt.process_id.as_str();
                    tracing::info!(
                        process_id,
                        "its result is kept in the journal cut to {} KiB: told after a restart, it would be no more",
                        MAX_RECORD / 1024
                    );
                }
            }
            Record::Moot { reason, .. } => shorten(reason, MAX_REASON),
            Record::Refused(refused) => {
                shorten(&mut refused.verb, MAX_NAME);
                shorten(&mut refused.device, MAX_NAME);
                shorten(&mut refused.reason, MAX_REASON);
            }
            _ => {}
        }
        let length = self.process_id().map_or(0, str::len);
        if length > MAX_PROCESS_ID {
            return Err(Unfit::ProcessId { length });
        }
        Ok(self)
    }

    /// The process that it is about.
    pub fn process_id(&self) -> Option<&str> {
        Some(match self {
            Record::Begun(begun) | Record::Unfinished(begun) => &begun.attempt.process_id,
            Record::Result(report) | Record::Waiting(report) => &report.attempt.process_id,
            Record::AttributeDelivered { attempt, .. }
            | Record::Delivered { attempt }
            | Record::Moot { attempt, .. } => &attempt.process_id,
            Record::Refused(refused) => &refused.process_id,
            Record::Past(past) => &past.attempt.process_id,
            Record::FinalAtServer { process_id } | Record::Mark { process_id, .. } => process_id,
            Record::Opened(_)
            | Record::LastGoodTime { .. }
            | Record::Distrusted { .. }
            | Record::Accepted { .. }
            | Record::Days { .. } => return None,
        })
    }
}

/// Keeps at most so many bytes of a text, whole characters.
fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

pub(super) fn shortened(reason: &str) -> String {
    let mut reason = reason.to_owned();
    shorten(&mut reason, MAX_REASON);
    reason
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::device::command::DEFAULT_OUTPUT_CAP;

    fn length(record: &Record) -> usize {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes.len()
    }

    #[test]
    fn a_record_is_small_where_it_is_written_often() {
        let begun = Record::Begun(samples::begun(samples::attempt(1, 0), Effect::Once));
        assert!(length(&begun) <= 110, "{}", length(&begun));
        let mark = Record::Mark {
            process_id: samples::process_id(1),
            mark: Mark {
                retries: 0,
                day: 300,
                ended: Ended::Successful,
                is_final: true,
            },
        };
        assert!(length(&mark) <= 50, "{}", length(&mark));
    }

    #[test]
    fn a_result_of_any_size_is_cut_to_fit() {
        let fits = "x".repeat(MAX_RECORD - 400);
        let mut report = samples::report(samples::attempt(1, 0), Close::Successful, &[&fits]);
        assert!(!report.cut_to_fit());
        let long = "é".repeat(MAX_RECORD);
        for values in [vec![long.as_str()], vec![long.as_str(), "short", long.as_str()]] {
            let mut report = samples::report(
                samples::attempt(1, 0),
                Close::Failed("y".repeat(MAX_RECORD * 2)),
                &values,
            );
            assert!(report.cut_to_fit());
            assert!(
                report
                    .attributes
                    .iter()
                    .any(|attribute| attribute.value.ends_with(CUT))
            );
            assert!(matches!(&report.close, Close::Failed(reason) if reason.len() < MAX_RECORD));
            assert_eq!(report.attributes.len(), values.len());
            let length = length(&Record::Result(report));
            assert!((MAX_RECORD / 8..=MAX_RECORD).contains(&length), "{length}");
        }
        let many = vec!["z"; 10_000];
        let mut report = samples::report(samples::attempt(1, 0), Close::Successful, &many);
        assert!(report.cut_to_fit());
        assert!(length(&Record::Result(report)) <= MAX_RECORD);
    }

    /// Many commands say more than is kept; nobody should hear that the journal cut it once more.
    #[test]
    fn the_output_that_a_command_keeps_by_default_fits() {
        let said = "[outpost: 18446744073709551615 bytes left out here]";
        let output = "x".repeat(DEFAULT_OUTPUT_CAP.0 as usize + said.len());
        let around = ["exit_code", "duration"].map(|_| "y".repeat(100));
        let values = [output.as_str(), &around[0], &around[1]];
        let mut report = samples::report(samples::attempt(1, 0), Close::Failed("z".repeat(2000)), &values);
        assert!(!report.cut_to_fit());
    }

    #[test]
    fn every_bound_holds_at_the_limit_and_one_beyond() {
        let text = |length| "é".repeat(length / 2) + &"x".repeat(length % 2);
        let mut begun = samples::begun(samples::attempt(1, 0), Effect::Set);
        begun.verb = text(MAX_NAME);
        begun.device = text(MAX_NAME + 1);
        begun.at.boot_id = text(MAX_NAME + 2);
        let Record::Begun(bounded) = Record::Begun(begun.clone()).bounded().unwrap() else {
            panic!("another record");
        };
        assert_eq!(bounded.verb, begun.verb);
        assert_eq!(bounded.device, text(MAX_NAME));
        assert_eq!(bounded.at.boot_id, text(MAX_NAME));
        for (length, fits) in [(MAX_PROCESS_ID, true), (MAX_PROCESS_ID + 1, false)] {
            begun.attempt.process_id = "x".repeat(length);
            assert_eq!(Record::Begun(begun.clone()).bounded().is_ok(), fits);
        }
        assert_eq!(shortened(&text(MAX_REASON + 1)), text(MAX_REASON));
    }

    #[test]
    fn the_machine_is_hashed_and_without_line_ends() {
        let machine = Machine::of("0123456789abcdef0123456789abcdef\n");
        assert_eq!(machine, Machine::of("0123456789abcdef0123456789abcdef"));
        assert_ne!(machine, Machine::of("0123456789abcdef0123456789abcde0"));
        assert_eq!(machine.0.len(), 32);
        assert!(!machine.0.contains("0123456789abcdef"));
    }
}
