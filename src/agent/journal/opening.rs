//! Opening the journal: what was found, and what that means.

use std::collections::VecDeque;
use std::io;

use super::frame::{self, Damage, Newer, Reading};
use super::record::{Distrust, Machine, Moment, Opened, Record};
use super::simulated::SplitMix64;
use super::state::State;
use super::storage::Storage;
use super::{DAMAGED, FILE, Health, Journal, Limits, MARKER, NEXT, OLD, WriteError};

/// What was found when the journal was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opening {
    /// There was none, and never had been.
    pub fresh: bool,
    /// So many bytes at its end were not finished when the power was cut; they are dropped.
    pub torn_bytes: usize,
    /// Records before its end can't be read; what is after them was read.
    pub damage: Option<Damage>,
    /// There was one, and it is gone.
    pub missing: bool,
    /// It was last opened in another boot: every lease in it is over.
    pub other_boot: bool,
}

/// Why a journal is not opened at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is another machine's: a card that was cloned or moved.
    #[error(
        "the journal is another machine's: two machines must not be the same runtime; run `outpost-agent rekey` to give this one its own key and a journal of its own"
    )]
    OtherMachine,
    /// A later version of this program wrote it.
    #[error(
        "the journal has format {version}, and this version knows formats up to {}: install the later version again",
        frame::VERSION
    )]
    Newer {
        /// Its format.
        version: u16,
    },
}

/// What is there, before anything is written.
struct Found {
    state: State,
    opening: Opening,
    salt: u32,
    size: usize,
    marker: bool,
    /// A damaged one as it was found.
    damaged: Option<Vec<u8>>,
    unreadable: Option<io::Error>,
}

fn find(storage: &mut dyn Storage) -> Result<Found, OpenError> {
    let mut found = Found {
        state: State::default(),
        opening: Opening::default(),
        salt: 0,
        size: 0,
        marker: true,
        damaged: None,
        unreadable: None,
    };
    let there = storage
        .read(FILE)
        .and_then(|journal| Ok((journal, storage.read(MARKER)?.is_some())));
    match there {
        Ok((Some(bytes), marker)) => {
            found.marker = marker;
            let reading = frame::read(&bytes, |record| found.state.apply(record));
            let Reading {
                salt,
                end,
                torn,
                damage,
            } = reading.map_err(|Newer(version)| OpenError::Newer { version })?;
            found.salt = salt;
            found.size = end;
            found.opening.torn_bytes = torn;
            found.opening.damage = damage;
            if damage.is_some() {
                found.damaged = Some(bytes);
            }
        }
        Ok((None, marker)) => {
            found.marker = marker;
            found.opening.missing = marker;
            found.opening.fresh = !marker;
        }
        Err(error) => found.unreadable = Some(error),
    }
    Ok(found)
}

impl Journal {
    /// Opens the journal, or begins one. `now` tells the boot; `machine` must be the one that began it.
    ///
    /// A torn end is dropped. A damaged or missing journal is opened too, with [`State::distrust`] set: *once* verbs are then
    /// refused until [`Journal::accept`]. If it can't be written, or not even read, it is opened in that
    /// [`Health`]: devices can still be made safe and read.
    ///
    /// # Errors
    /// It must not be used here: nothing was written.
    pub fn open(
        storage: Box<dyn Storage>,
        now: Moment,
        machine: &Machine,
        limits: Limits,
    ) -> Result<(Journal, Opening), OpenError> {
        let mut storage = storage;
        let found = find(storage.as_mut())?;
        let mut opening = found.opening;
        let opened = found.state.opened();
        if opened.is_some_and(|opened| opened.machine != *machine) {
            return Err(OpenError::OtherMachine);
        }
        opening.other_boot = opened.is_some_and(|opened| opened.at.boot_id != now.boot_id);
        let this_boot = opened.is_some() && !opening.other_boot;

        let size = found.size as u64;
        let mut journal = Journal {
            storage,
            limits,
            state: found.state,
            health: Health::Good,
            unsynced: VecDeque::new(),
            salt: found.salt ^ fresh_salt(&now),
            size,
            compact_beyond: limits.file.max(size),
            marker_due: !found.marker,
            bytes_written: 0,
            said_to_fail: false,
        };
        if let Some(error) = found.unreadable {
            tracing::error!(%error, "the journal can't be read");
            journal.health = Health::Unreadable(WriteError::from(&error));
            return Ok((journal, opening));
        }

        let whole = !opening.fresh && !opening.missing && opening.damage.is_none() && opening.torn_bytes == 0;
        if whole {
            journal.salt = found.salt;
        }
        if let Some(damaged) = &found.damaged {
            journal.set_aside(damaged);
        }
        let distrust = match (opening.damage, opening.missing) {
            (Some(_), _) => Some(Distrust::Damaged),
            (None, true) => Some(Distrust::Missing),
            (None, false) => None,
        };
        if !whole {
            // To be written as a whole: a torn end must not stay before what comes next, where it would be damage.
            journal.health = Health::WriteFailed(WriteError {
                kind: io::ErrorKind::Other,
                text: "not tried yet".to_owned(),
            });
        }
        for record in [
            distrust.map(|why| Record::Distrusted { why }),
            (!this_boot).then(|| {
                Record::Opened(Opened {
                    at: now,
                    machine: machine.clone(),
                })
            }),
        ]
        .into_iter()
        .flatten()
        {
            // Neither has a process id that could be too long.
            let _ = journal.append(record);
        }
        journal.settle(whole);
        Ok((journal, opening))
    }

    /// Makes durable what was found and what follows from it. Failures show in the health.
    fn settle(&mut self, whole: bool) {
        // The last agent may have been killed between writing and syncing: then what was read is only in the page cache,
        // and the name of the file only in memory. Nothing is to be decided by what a power cut could still take back.
        let settled = if whole {
            self.storage
                .sync(FILE)
                .and_then(|()| self.storage.sync_folder())
                .and_then(|()| self.mark_existence())
                .map_err(|error| self.failed(&error))
                .and_then(|()| self.sync())
        } else {
            // The copy of a damaged one is worth less than a journal that can be written.
            self.retry().or_else(|_| {
                let _ = self.storage.remove(DAMAGED);
                self.retry()
            })
        };
        // Already in the health, and said.
        let _ = settled;
        // Left behind by a compaction that a crash broke off.
        if matches!(self.health, Health::Good) {
            let _ = self.storage.remove(NEXT);
        }
    }

    /// Keeps a copy of a damaged journal, if there is room for it. It is not synced: nothing depends on it.
    fn set_aside(&mut self, bytes: &[u8]) {
        let kept = self
            .storage
            .create(DAMAGED)
            .and_then(|()| self.storage.append(DAMAGED, bytes));
        if let Err(error) = kept {
            tracing::warn!(%error, "no copy of the damaged journal could be kept");
            let _ = self.storage.remove(DAMAGED);
        }
    }
}

/// Another one for each file: frames of one file are then never right in another.
fn fresh_salt(now: &Moment) -> u32 {
    let mut salt = SplitMix64(now.boot.as_nanos() ^ now.wall.unix_nanos() as u64);
    for byte in now.boot_id.bytes() {
        salt.0 ^= u64::from(byte);
        salt.next_u64();
    }
    salt.next_u64() as u32
}

/// Reads a journal without changing anything, for `history` beside a running agent: whose unfinished write then
/// shows as torn bytes.
///
/// # Errors
/// A later version wrote it, or it can't be read.
pub fn peek(storage: &mut dyn Storage) -> Result<(State, Opening), PeekError> {
    let found = find(storage)?;
    match found.unreadable {
        Some(error) => Err(PeekError::Unreadable(error)),
        None => Ok((found.state, found.opening)),
    }
}

/// Why a journal can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum PeekError {
    /// See there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// As the system says.
    #[error("the journal can't be read: {0}")]
    Unreadable(io::Error),
}

/// Puts the journal aside, so that the next [`Journal::open`] begins a new one: for `rekey`, since marks and results of another
/// runtime are nothing to this one. The old one stays as a copy.
///
/// # Errors
/// As the disk says; doing it again is harmless.
pub fn start_over(storage: &mut dyn Storage) -> io::Result<()> {
    storage.remove(MARKER)?;
    if storage.read(FILE)?.is_some() {
        storage.rename(FILE, OLD)?;
    }
    storage.sync_folder()
}
