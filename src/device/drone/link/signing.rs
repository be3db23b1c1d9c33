//! Signatures of MAVLink 2 (<https://mavlink.io/en/guide/message_signing.html>): what we send carries one, what comes
//! without a right one is not heard.
//!
//! A signature's timestamp (10 µs since 2015) must rise with each frame, also across boots of a board whose clock starts
//! in 1970. So a file holds a ceiling that no timestamp has reached; each life begins at it. It is raised rarely, by
//! `LEAD`, and timestamps follow the clock only below it: a clock that jumps, or a disk that fails in flight, stops no
//! frame and breaks no promise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dialect::RADIO_STATUS;
use super::frames::RawFrame;
use super::stamp_file;
use crate::device::drone::wire::Node;

/// 2015-01-01T00:00:00Z in nanoseconds since 1970.
const EPOCH_NANOS: i128 = 1_420_070_400_000_000_000;
/// One unit of a timestamp.
const UNIT_NANOS: i128 = 10_000;
/// Timestamps have 48 bits, which last until 2104.
const END: u64 = 1 << 48;
/// How far ahead of the clock the ceiling is put. After a crash timestamps run ahead of the clock by at most this; a longer
/// one would mean fewer writes, a shorter one that others may join the same vehicle sooner.
const LEAD: u64 = units(Duration::from_secs(600));
/// It is raised when so much is left.
const LEFT: u64 = units(Duration::from_secs(120));
/// What the clock leaves below the ceiling for frames while raising it fails: weeks of them.
const RESERVE: u64 = units(Duration::from_secs(60));
/// A sender not heard before may be behind us by this; MAVLink's number.
const NEW_STREAM: u64 = units(Duration::from_secs(60));
/// How many senders are followed; more are refused.
const STREAMS: usize = 32;

/// 2026-01-01: a clock before that was never set.
const PLAUSIBLE: u64 = units(Duration::from_secs(4018 * 86_400));

const fn units(span: Duration) -> u64 {
    span.as_millis() as u64 * 100
}

/// A moment of the wall clock as a timestamp; `None` for a clock before 2015 or beyond what a timestamp can say.
fn stamp_at(wall_nanos: i128) -> Option<u64> {
    let units = u64::try_from((wall_nanos - EPOCH_NANOS) / UNIT_NANOS).ok()?;
    (units > 0 && units < END - 2 * LEAD).then_some(units)
}

/// Why a link can't be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The key file is not there or can't be read.
    #[error(
        "can't read the signing key {}: {cause}; make one with `(umask 077; openssl rand -hex 32 > FILE)` and give the \
         same one to the autopilot", path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Others may read the key.
    #[error("the signing key {} can be read by others (mode {mode:03o}): run `chmod 600 {}`, and make a new key if others had access", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds something else.
    #[error("the signing key {} must be 64 hex digits on one line", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// What was promised for after a restart can't be kept.
    #[error(
        "can't keep the signing timestamp in {}: {cause}; without it the autopilot would ignore everything after a restart, so \
         make that folder writable for the agent and see that the disk has room", path.display()
    )]
    NotKept {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// What was kept is damaged, and the clock can't take its place.
    #[error(
        "the signing timestamp in {} is damaged, and the clock, which would take its place, was never set: set it (or let NTP do \
         it) and start again", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Why a frame is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has no signature.
    Unsigned,
    /// It was signed with another key, or changed.
    Signature,
    /// It, or a later one, was heard before; or it is from long ago.
    Old,
    /// Too many senders.
    Crowd,
}

/// A secret of 32 bytes that both ends have.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey([u8; 32]);

impl std::fmt::Debug for SigningKey {
    /// Never shows it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SigningKey")
    }
}

impl SigningKey {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        SigningKey(bytes)
    }

    /// Reads a file of 64 hex digits, which only its owner may read. Blocks.
    ///
    /// # Errors
    /// [`SigningError`], about the key.
    pub fn load(path: &Path) -> Result<Self, SigningError> {
        stamp_file::read_key(path).map(SigningKey)
    }
}

/// Timestamps that rise, below a ceiling that is kept. Pure; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamps {
    last: u64,
    ceiling: u64,
}

impl Stamps {
    /// Takes up at a ceiling that was kept: everything used so far lies below it.
    fn from_ceiling(kept: u64) -> Self {
        Stamps {
            last: kept,
            ceiling: kept,
        }
    }

    /// The next timestamp.
    ///
    /// The others' clocks count, too (`heard`): who is behind them is not heard by a vehicle that starts anew.
    fn next(&mut self, wall_nanos: i128, heard: u64) -> u64 {
        let clock = stamp_at(wall_nanos).unwrap_or(0).max(heard);
        let allowed = self.ceiling.saturating_sub(RESERVE);
        self.last = (self.last + 1).max(clock.min(allowed)).min(END - 1);
        self.last
    }

    /// A higher ceiling, if it is time for one: to be kept and then set.
    fn wanted(&self, wall_nanos: i128, heard: u64) -> Option<u64> {
        let now = self.last.max(stamp_at(wall_nanos).unwrap_or(0)).max(heard);
        let due = now + LEFT + RESERVE > self.ceiling && self.ceiling < END;
        due.then(|| (now + LEAD + RESERVE).min(END))
    }
}

/// Where a sender's timestamps are.
#[derive(Debug, Clone, Copy)]
struct Stream {
    link: u8,
    from: Node,
    last: u64,
}

/// Signs what goes out and checks what comes in.
#[derive(Debug)]
pub struct Signing {
    key: SigningKey,
    link: u8,
    file: PathBuf,
    stamps: Stamps,
    /// The latest timestamp of anybody.
    latest: u64,
    streams: Vec<Stream>,
}

impl Signing {
    /// Begins with what `file` keeps of earlier lives, and keeps the first ceiling there. Blocks.
    ///
    /// `link` tells apart the ways by which one program reaches a vehicle.
    ///
    /// # Errors
    /// [`SigningError`], about the file: signing does not begin without it.
    pub fn open(key: SigningKey, link: u8, file: &Path, wall_nanos: i128) -> Result<Self, SigningError> {
        let kept = match stamp_file::read(file)? {
            stamp_file::Kept::Ceiling(kept) => kept,
            stamp_file::Kept::Nothing => 0,
            // The clock, if it was ever set, is ahead of what was used, but for the lead.
            stamp_file::Kept::Damaged => match stamp_at(wall_nanos) {
                Some(now) if now > PLAUSIBLE => now + LEAD + RESERVE,
                _ => {
                    return Err(SigningError::Damaged {
                        path: file.to_owned(),
                    });
                }
            },
        };
        let mut signing = Signing {
            key,
            link,
            file: file.to_owned(),
            stamps: Stamps::from_ceiling(kept),
            latest: 0,
            streams: Vec::new(),
        };
        if let Some(raise) = signing.raise(wall_nanos) {
            raise.keep()?;
            signing.raised(&raise);
        }
        Ok(signing)
    }

    /// Signs a frame that was made to be signed.
    pub(super) fn sign(&mut self, frame: &mut RawFrame, wall_nanos: i128) {
        let stamp = self.stamps.next(wall_nanos, self.latest);
        frame.set_signature(&self.key.0, self.link, stamp);
    }

    /// Whether a frame may be heard.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn accept(&mut self, frame: &RawFrame, wall_nanos: i128) -> Result<(), Refused> {
        let Some((link, stamp, value)) = frame.signature() else {
            let radio = frame.id() == RADIO_STATUS;
            return if radio { Ok(()) } else { Err(Refused::Unsigned) };
        };
        let right = frame.signature_by(&self.key.0);
        // All bytes are compared, so that the time it takes tells nothing.
        let differ = right
            .iter()
            .zip(&value)
            .fold(0, |differ, (one, other)| differ | (one ^ other));
        if differ != 0 {
            return Err(Refused::Signature);
        }
        let from = frame.from();
        let same = |stream: &&mut Stream| stream.link == link && stream.from == from;
        match self.streams.iter_mut().find(same) {
            Some(stream) if stamp <= stream.last => return Err(Refused::Old),
            Some(stream) => stream.last = stamp,
            None => {
                let now = self
                    .stamps
                    .last
                    .max(self.latest)
                    .max(stamp_at(wall_nanos).unwrap_or(0));
                if stamp.saturating_add(NEW_STREAM) < now {
                    return Err(Refused::Old);
                }
                if self.streams.len() >= STREAMS {
                    return Err(Refused::Crowd);
                }
                self.streams.push(Stream {
                    link,
                    from,
                    last: stamp,
                });
            }
        }
        self.latest = self.latest.max(stamp);
        Ok(())
    }

    /// A higher ceiling to be kept, if it is time for one; until it is, timestamps rise by one with each frame.
    pub(super) fn raise(&self, wall_nanos: i128) -> Option<Raise> {
        let ceiling = self.stamps.wanted(wall_nanos, self.latest)?;
        Some(Raise {
            file: self.file.clone(),
            ceiling,
        })
    }

    /// It is kept.
    pub(super) fn raised(&mut self, raise: &Raise) {
        self.stamps.ceiling = self.stamps.ceiling.max(raise.ceiling);
    }
}

/// A ceiling on its way to the disk.
#[derive(Debug, Clone)]
pub(super) struct Raise {
    file: PathBuf,
    ceiling: u64,
}

impl Raise {
    /// Keeps it. Blocks, for seconds with a bad card.
    ///
    /// # Errors
    /// [`SigningError::NotKept`]
    pub fn keep(&self) -> Result<(), SigningError> {
        stamp_file::write(&self.file, self.ceiling)
    }
}

#[cfg(test)]
#[path = "signing_tests.rs"]
mod tests;
