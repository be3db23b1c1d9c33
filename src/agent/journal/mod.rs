//! The durable journal of attempts (docs/fence.md, 6): what must still be known after a crash or a power cut.
//!
//! - [`Record`] says one thing that happened; [`State`] is the fold over all of them and answers the questions:
//!   has this process ever begun, what was interrupted, what does the server not know yet, what was done lately.
//! - [`Journal`] keeps both in step on a [`Storage`]: [`Journal::append`] notes, [`Journal::sync`] makes durable,
//!   [`Journal::begin`] does both for the record that must be durable before a verb acts.
//! - [`FolderStorage`] is a real state directory (one agent each: [`Lock`]); [`SimulatedDisk`] forgets, tears and fails.
//!
//! Nothing here waits, retries by itself or writes while nothing happens.

mod codec;
mod encoding;
mod frame;
mod lock;
mod opening;
mod record;
mod simulated;
mod state;
mod storage;

#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io;

pub use frame::Damage;
pub use lock::{Lock, LockError, holder_of};
pub use opening::{OpenError, Opening, PeekError, peek, start_over};
pub use record::{
    Attempt, Begun, Close, Delivery, Distrust, Ended, MAX_NAME, MAX_PROCESS_ID, MAX_REASON, MAX_RECORD,
    Machine, Mark, Moment, Opened, Past, Record, Refused, Report, Role, Unfit,
};
pub use simulated::{Fault, SimulatedDisk, SimulatedStorage, SplitMix64};
pub use state::{HISTORY, MARK_DAYS, State};
pub use storage::{FolderStorage, Storage};

use super::fence::LOST;
use crate::device::Effect;
use crate::protocol::Time;

/// The journal's own file within the state directory.
pub const FILE: &str = "journal";
/// Its successor while compaction writes it.
const NEXT: &str = "journal.next";
/// That there is or was a journal; made after the first one, so that a journal that got lost is not taken for a first start.
const MARKER: &str = "journal.exists";
/// A copy of the last damaged one, for whoever looks into it.
const DAMAGED: &str = "journal.damaged";
/// The one of before `rekey`.
const OLD: &str = "journal.old";

/// Unsynced records beyond this are written at the next append whether somebody asks for it or not.
const MAX_UNSYNCED: usize = frame::MAX_BODY;

/// Attempts that run or whose results wait, at most; the outbox in memory holds as many.
pub const MAX_WAITING: usize = 64;
/// Bytes of results that wait, about, at most.
pub const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file beyond which it is compacted; a file that is mostly alive may grow to twice what is.
    pub file: u64,
    /// Marks of *once* verbs. Beyond it *once* verbs are refused: forgetting one could mean acting twice.
    pub marks: usize,
    /// Attempts that run or whose results wait. Beyond it nothing is begun.
    pub waiting: usize,
    /// Bytes of results that wait. Beyond it nothing is begun.
    pub waiting_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file: 256 * 1024,
            // One every five minutes for 30 days, and a tenth more; about 50 bytes each on disk.
            marks: 10_000,
            waiting: MAX_WAITING,
            waiting_bytes: MAX_WAITING_BYTES,
        }
    }
}

/// The journal can't be written, so that nothing can be begun that needs to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal can't be written ({text}): only verbs that read are done until it can; {}", remedy(*kind))]
pub struct WriteError {
    /// What kind of failure it was.
    pub kind: io::ErrorKind,
    /// What the system said.
    pub text: String,
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space on the state directory's disk"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: the kernel does that after an error on the card, see `dmesg`"
        }
        io::ErrorKind::PermissionDenied => "give the state directory to the agent's user",
        _ => "the card or disk may be failing, see `dmesg`",
    }
}

impl From<&io::Error> for WriteError {
    fn from(error: &io::Error) -> Self {
        WriteError {
            kind: error.kind(),
            text: error.to_string(),
        }
    }
}

/// Whether the journal can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// What is synced is durable.
    Good,
    /// The last write failed; [`Journal::retry`] makes it good again once the disk allows.
    WriteFailed(WriteError),
    /// It is there and can't be read: nothing is known, and it must not be overwritten. Only a restart tries again.
    Unreadable(WriteError),
}

/// Why a verb must not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The beginning could not be made durable.
    NotWritable(WriteError),
    /// It may have begun before, and the journal would not know.
    Distrusted(Distrust),
    /// A *once* verb of this process began before.
    AlreadyBegun(Mark),
    /// A result of this process waits to be told.
    Undelivered,
    /// No mark can be added without forgetting one.
    MarksFull {
        /// How many there are.
        marks: usize,
    },
    /// Too many results wait to be told.
    OutboxFull,
    /// Its process id can't be kept.
    Unfit(Unfit),
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotWritable(error) => error.fmt(out),
            Refusal::Distrusted(why) => write!(
                out,
                "{why}, so this may have been done before: look at `outpost-agent history`, then `outpost-agent journal accept`"
            ),
            Refusal::AlreadyBegun(mark) if mark.ended == Ended::Failed(LOST.to_owned()) => write!(
                out,
                "attempt {} was closed as failed because its assignment was lost, and that may take effect at any time: submit it again",
                mark.retries.saturating_add(1),
            ),
            Refusal::AlreadyBegun(mark) => write!(
                out,
                "already begun in attempt {}: {}",
                mark.retries.saturating_add(1),
                mark.ended
            ),
            Refusal::Undelivered => out.write_str("a result of this process waits to be delivered"),
            Refusal::MarksFull { marks } => write!(
                out,
                "the journal remembers {marks} verbs that may be done once only, and none is old enough to be forgotten: \
                 do them less often, or set `repeat = true` where doing them twice is harmless"
            ),
            Refusal::OutboxFull => out.write_str("too many results wait to be delivered to the server"),
            Refusal::Unfit(unfit) => unfit.fmt(out),
        }
    }
}

impl std::error::Error for Refusal {}

/// The journal of one agent.
///
/// Dropping it loses what was appended and not synced, as a crash would.
pub struct Journal {
    storage: Box<dyn Storage>,
    limits: Limits,
    state: State,
    health: Health,
    /// Records that are not written yet, as bodies of frames.
    unsynced: VecDeque<Vec<u8>>,
    /// Of the file that is written now.
    salt: u32,
    size: u64,
    /// Compaction is due when the file is longer.
    compact_beyond: u64,
    /// The marker file may still have to be made.
    marker_due: bool,
    bytes_written: u64,
    /// That it can't be written was said.
    said_to_fail: bool,
}

impl fmt::Debug for Journal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Journal")
            .field("health", &self.health)
            .field("size", &self.size)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// What it knows, records that are not synced yet included.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether it can be relied on.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Bytes that it wrote since it was opened: what wears out a card.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// Whether something was appended that is not durable yet.
    pub fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Notes a record: known at once, durable after [`Journal::sync`]. Records that can wait (what was delivered,
    /// what was refused) ride along with the next one that can't.
    ///
    /// While the journal can't be written it is known all the same, and written when it can.
    ///
    /// # Errors
    /// It can't be kept at all. That the disk fails is said by [`Journal::sync`].
    pub fn append(&mut self, record: Record) -> Result<(), Unfit> {
        let record = record.bounded()?;
        if self.health == Health::Good {
            let mut bytes = Vec::new();
            frame::put(&mut bytes, &record);
            match self.unsynced.back_mut() {
                Some(body) if body.len() + bytes.len() <= frame::MAX_BODY => body.extend_from_slice(&bytes),
                _ => self.unsynced.push_back(bytes),
            }
        }
        self.state.apply(record);
        if self.unsynced.iter().map(Vec::len).sum::<usize>() > MAX_UNSYNCED {
            // Its failure shows in the health, and at the next sync.
            let _ = self.sync();
        }
        Ok(())
    }

    /// Returns once everything that was appended is durable. Writes nothing if nothing was.
    ///
    /// # Errors
    /// The journal can't be written, now or since an earlier failure: see [`Journal::retry`].
    pub fn sync(&mut self) -> Result<(), WriteError> {
        if let Health::WriteFailed(error) | Health::Unreadable(error) = &self.health {
            return Err(error.clone());
        }
        while let Some(body) = self.unsynced.pop_front() {
            // One sync for each frame: only the last may ever be incomplete (frame.rs).
            let bytes = frame::frame(self.salt, self.size, &body);
            let written = self.write(FILE, &bytes).and_then(|()| self.storage.sync(FILE));
            written.map_err(|error| self.failed(&error))?;
            self.size += bytes.len() as u64;
        }
        Ok(())
    }

    /// Rewrites the journal with only what is still known if it has grown. Nothing that has to be durable waits for that, so it is
    /// done once whoever asked for a sync has his answer.
    pub fn tidy(&mut self) {
        if self.health == Health::Good && self.size > self.compact_beyond {
            // Its failure shows in the health.
            let _ = self.compact();
        }
    }

    /// Notes a record and makes it durable.
    ///
    /// # Errors
    /// It can't be kept, or the journal can't be written; then it is known, and written when that can be done.
    pub fn record(&mut self, record: Record) -> Result<(), RecordError> {
        self.append(record)?;
        Ok(self.sync()?)
    }

    /// Whether a verb for this process may begin, as far as the journal knows (docs/fence.md, 3, 5 and 6).
    ///
    /// # Errors
    /// Why not.
    pub fn may_begin(&self, process_id: &str, effect: Effect, repeat: bool) -> Result<(), Refusal> {
        if process_id.len() > MAX_PROCESS_ID {
            return Err(Refusal::Unfit(Unfit::ProcessId {
                length: process_id.len(),
            }));
        }
        let marks = record::leaves_mark(effect, repeat);
        if marks && let Some(mark) = self.state.begun_once(process_id) {
            return Err(Refusal::AlreadyBegun(mark.clone()));
        }
        if self.state.undelivered(process_id) {
            return Err(Refusal::Undelivered);
        }
        if let Health::WriteFailed(error) | Health::Unreadable(error) = &self.health
            && effect != Effect::Read
        {
            return Err(Refusal::NotWritable(error.clone()));
        }
        if marks {
            if let Some(why) = self.state.distrust() {
                return Err(Refusal::Distrusted(*why));
            }
            if self.state.marks() >= self.limits.marks {
                return Err(Refusal::MarksFull {
                    marks: self.state.marks(),
                });
            }
        }
        if !self.has_room() {
            return Err(Refusal::OutboxFull);
        }
        Ok(())
    }

    /// Whether one more attempt can be taken on, its result included.
    pub fn has_room(&self) -> bool {
        self.state.outbox().len() + self.state.unfinished().len() < self.limits.waiting
            && self.state.outbox_bytes() < self.limits.waiting_bytes
    }

    /// Makes durable that a verb is about to act; it may act once this returned `Ok`. Of verbs that only read it is enough
    /// to have tried.
    ///
    /// # Errors
    /// It must not act. Nothing remembers it as begun, except perhaps the disk after a crash.
    pub fn begin(&mut self, mut begun: Begun) -> Result<(), Refusal> {
        self.may_begin(&begun.attempt.process_id, begun.effect, begun.repeat)?;
        let mut unfinished = self.state.unfinished().iter();
        let former = unfinished.find(|known| known.attempt.same_as(&begun.attempt));
        let again = former.is_some();
        begun.beginning = former.map_or(1, |known| known.beginning.saturating_add(1));
        self.append(Record::Begun(begun.clone()))
            .map_err(Refusal::Unfit)?;
        match self.sync() {
            Err(error) if begun.effect != Effect::Read => {
                if !again {
                    self.state.retract(&begun);
                }
                Err(Refusal::NotWritable(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Notes a moment that was surely reached (the server's time, or ours once it was set). Kept about once a day, with
    /// the next record that is synced. Whether it was noted.
    pub fn good_time(&mut self, wall: Time) -> bool {
        let due = self
            .state
            .last_good_time()
            .is_none_or(|last| last.plus(state::DAY) <= wall);
        due && self.append(Record::LastGoodTime { wall }).is_ok()
    }

    /// The owner vouches for what the journal does not know: *once* verbs may begin again, and the last good time is
    /// forgotten. What the journal does know it keeps.
    ///
    /// # Errors
    /// It can't be written; then nothing is accepted.
    pub fn accept(&mut self, wall: Time) -> Result<(), WriteError> {
        self.retry()?;
        let why = self.state.distrust().cloned();
        // Accepting has no id that could be too long.
        let _ = self.append(Record::Accepted { wall });
        let accepted = self.sync();
        if let (Err(_), Some(why)) = (&accepted, why) {
            self.state.apply(Record::Distrusted { why });
        }
        accepted
    }

    /// After a failed write: tries to write everything that is known into a new file. How often is the caller's
    /// to decide. Does nothing while all is well.
    ///
    /// # Errors
    /// It still can't be written.
    pub fn retry(&mut self) -> Result<(), WriteError> {
        match &self.health {
            Health::Good => return self.sync(),
            Health::Unreadable(error) => return Err(error.clone()),
            Health::WriteFailed(_) => {}
        }
        // Not the same file: after a failed sync nobody knows what of it is on the medium, and a second sync of the same
        // pages succeeds without writing them.
        match self.rewrite() {
            Ok(()) => {}
            Err(Unwritten::OldOneStays(error) | Unwritten::Unknown(error)) => return Err(self.failed(&error)),
        }
        self.health = Health::Good;
        self.mark_existence().map_err(|error| self.failed(&error))?;
        if std::mem::take(&mut self.said_to_fail) {
            tracing::info!("the journal can be written again");
        }
        Ok(())
    }

    /// Rewrites the journal with only what is still known; [`Journal::tidy`] does so when it has grown.
    ///
    /// # Errors
    /// It can't be written any more. That there is no room for a second file is no error: it grows on, and what was not
    /// synced before still is not.
    pub fn compact(&mut self) -> Result<(), WriteError> {
        if let Health::WriteFailed(error) | Health::Unreadable(error) = &self.health {
            return Err(error.clone());
        }
        match self.rewrite() {
            Ok(()) => Ok(()),
            Err(Unwritten::OldOneStays(error)) => {
                tracing::warn!(%error, "the journal could not be compacted and grows on");
                self.compact_beyond = self.size + self.limits.file / 4;
                Ok(())
            }
            Err(Unwritten::Unknown(error)) => Err(self.failed(&error)),
        }
    }

    /// Writes the state into a new file and puts that in the old one's place.
    fn rewrite(&mut self) -> Result<(), Unwritten> {
        let salt = SplitMix64(u64::from(self.salt) << 32 | self.size).next_u64() as u32;
        let mut size = 0;
        let filled = self.fill_next(salt, &mut size);
        if let Err(error) = filled.and_then(|()| self.storage.sync(NEXT)) {
            // On a full disk it takes the room that others need.
            let _ = self.storage.remove(NEXT);
            return Err(Unwritten::OldOneStays(error));
        }
        // From here on the file of that name is the old one or the new one, and both are whole.
        self.storage
            .rename(NEXT, FILE)
            .and_then(|()| self.storage.sync_folder())
            .map_err(Unwritten::Unknown)?;
        // All of it is in the state that was just written.
        self.unsynced.clear();
        self.salt = salt;
        self.size = size;
        self.compact_beyond = self.limits.file.max(2 * size);
        Ok(())
    }

    fn fill_next(&mut self, salt: u32, size: &mut u64) -> io::Result<()> {
        self.storage.create(NEXT)?;
        let header = frame::header(salt);
        *size = header.len() as u64;
        self.write(NEXT, &header)?;
        // Taken out for as long as it is read, so that each record can be written as it comes.
        let state = std::mem::take(&mut self.state);
        let mut body = Vec::new();
        let mut outcome = Ok(());
        state.records(|record| {
            if outcome.is_ok() {
                frame::put(&mut body, record);
                if body.len() >= frame::MAX_BODY / 2 {
                    outcome = self.write_frame(NEXT, salt, size, &mut body);
                }
            }
        });
        self.state = state;
        outcome?;
        self.write_frame(NEXT, salt, size, &mut body)
    }

    fn write_frame(&mut self, name: &str, salt: u32, size: &mut u64, body: &mut Vec<u8>) -> io::Result<()> {
        if !body.is_empty() {
            let bytes = frame::frame(salt, *size, body);
            self.write(name, &bytes)?;
            *size += bytes.len() as u64;
            body.clear();
        }
        Ok(())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.bytes_written += bytes.len() as u64;
        self.storage.append(name, bytes)
    }

    /// Makes the marker file, after the first journal is durable: the other way round a power cut in between would
    /// look like a journal that got lost.
    fn mark_existence(&mut self) -> io::Result<()> {
        if self.marker_due {
            self.storage.create(MARKER)?;
            self.storage.sync_folder()?;
            self.marker_due = false;
        }
        Ok(())
    }

    fn failed(&mut self, error: &io::Error) -> WriteError {
        let failure = WriteError::from(error);
        // It is tried again with every verb: said once until it works.
        if !std::mem::replace(&mut self.said_to_fail, true) {
            tracing::error!(%error, "the journal can't be written");
        }
        self.health = Health::WriteFailed(failure.clone());
        // What is in them is in the state, which is written as a whole when that can be done.
        self.unsynced.clear();
        failure
    }
}

/// A record that is not durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It can't be kept at all.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The journal can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Why a new file did not take the old one's place.
enum Unwritten {
    /// The old one is as it was.
    OldOneStays(io::Error),
    /// Either may be there after a power cut.
    Unknown(io::Error),
}
