//! The journal as a file: a header, then frames, each of what was synced together.
//!
//! ```text
//! header  "OPJRNL" | version u16 | salt u32 | CRC-32C of the 12 bytes before
//! frame   0xF5 | length u24 | CRC-32C of (salt, offset, the 4 bytes before, body) | body
//! body    records, each with its length (as in codec.rs) before it
//! ```
//! Numbers are little-endian. A frame is right only at its offset in its file: leftovers of an earlier journal in a block
//! that the file system handed out again, moved blocks, or a journal within a result are never taken for records. Since
//! each frame is synced before the next is written, at a power cut only the last one can be incomplete, even
//! where a disk writes its blocks in any order. So a bad frame that a good one follows is damage, and a bad one at
//! the end is the cut.

use super::codec::{Reader, Writer};
use super::record::{MAX_RECORD, Record};

/// The version of the format that is written here.
pub(super) const VERSION: u16 = 1;
/// The length of the header.
pub(super) const HEADER: usize = 16;
/// The most that is put in one frame's body: two of the largest records.
pub(super) const MAX_BODY: usize = 2 * (MAX_RECORD + 4);

const MAGIC: &[u8; 6] = b"OPJRNL";
/// Begins a frame: never part of UTF-8, so texts in a torn frame are skipped at a byte each.
const FRAME: u8 = 0xf5;
const FRAME_HEADER: usize = 8;
/// Looking for a good frame after a bad one may cost so much; a journal made to cost more counts as damaged.
const SEARCH_BYTES: usize = 32 * 1024 * 1024;

/// Records could not be read, and others after them could (or none can be, since the header is gone).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins, in bytes from the start of the file.
    pub at: usize,
    /// How many bytes could not be read, all such places together.
    pub bytes: usize,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// To go on writing this file.
    pub(super) salt: u32,
    /// Where the last good frame ends.
    pub(super) end: usize,
    /// What stands after it.
    pub(super) torn: usize,
    /// Bad frames before it.
    pub(super) damage: Option<Damage>,
}

/// Written by a later version of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newer(pub(super) u16);

/// The first bytes of a file.
pub(super) fn header(salt: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..6].copy_from_slice(MAGIC);
    header[6..8].copy_from_slice(&VERSION.to_le_bytes());
    header[8..12].copy_from_slice(&salt.to_le_bytes());
    let check = crc32c(&[&header[..12]]);
    header[12..].copy_from_slice(&check.to_le_bytes());
    header
}

/// Adds a record to a frame's body.
pub(super) fn put(body: &mut Vec<u8>, record: &Record) {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    Writer(body).unsigned(bytes.len() as u128);
    body.extend_from_slice(&bytes);
}

/// A body as it is written at `offset`.
pub(super) fn frame(salt: u32, offset: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME_HEADER + body.len());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes()[..3]);
    bytes.insert(0, FRAME);
    let check = check(salt, offset, &bytes, body);
    bytes.extend_from_slice(&check.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn check(salt: u32, offset: u64, word: &[u8], body: &[u8]) -> u32 {
    crc32c(&[&salt.to_le_bytes(), &offset.to_le_bytes(), word, body])
}

/// Hands every record that can be read to `each`, in order.
///
/// # Errors
/// A later version wrote it; nothing was handed out.
pub(super) fn read(bytes: &[u8], mut each: impl FnMut(Record)) -> Result<Reading, Newer> {
    let Some(salt) = read_header(bytes)? else {
        return Ok(Reading {
            salt: 0,
            end: 0,
            torn: 0,
            damage: Some(Damage {
                at: 0,
                bytes: bytes.len(),
            }),
        });
    };
    let mut reading = Reading {
        salt,
        end: HEADER,
        torn: 0,
        damage: None,
    };
    let mut at = HEADER;
    let mut effort = SEARCH_BYTES;
    while at < bytes.len() {
        let found = match frame_at(bytes, at, salt, &mut effort) {
            // The checksum is right and the content is not: no cut does that.
            Some(body) if !records(body, &mut each) => {
                note(&mut reading.damage, at, FRAME_HEADER + body.len());
                Some((at, FRAME_HEADER + body.len()))
            }
            Some(body) => Some((at, FRAME_HEADER + body.len())),
            None => search(bytes, at + 1, salt, &mut effort),
        };
        match found {
            Some((start, length)) => {
                if start > at {
                    // Read it in the next turn.
                    note(&mut reading.damage, at, start - at);
                    at = start;
                } else {
                    at += length;
                    reading.end = at;
                }
            }
            None if effort == 0 => {
                note(&mut reading.damage, at, bytes.len() - at);
                break;
            }
            None => {
                reading.torn = bytes.len() - at;
                break;
            }
        }
    }
    Ok(reading)
}

fn note(damage: &mut Option<Damage>, at: usize, bytes: usize) {
    match damage {
        Some(damage) => damage.bytes += bytes,
        None => *damage = Some(Damage { at, bytes }),
    }
}

/// The salt, if this is a header of ours.
fn read_header(bytes: &[u8]) -> Result<Option<u32>, Newer> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if &header[..6] != MAGIC || word(12) != crc32c(&[&header[..12]]) {
        return Ok(None);
    }
    match u16::from_le_bytes([header[6], header[7]]) {
        VERSION => Ok(Some(word(8))),
        newer if newer > VERSION => Err(Newer(newer)),
        _ => Ok(None),
    }
}

/// The body of the frame at `at`, if a good one is there.
fn frame_at<'a>(bytes: &'a [u8], at: usize, salt: u32, effort: &mut usize) -> Option<&'a [u8]> {
    let rest = bytes.get(at..)?;
    let header = rest.first_chunk::<FRAME_HEADER>()?;
    let length = u32::from_le_bytes([header[1], header[2], header[3], 0]) as usize;
    if header[0] != FRAME || length == 0 || length > MAX_BODY {
        return None;
    }
    let body = rest.get(FRAME_HEADER..FRAME_HEADER + length)?;
    let expected = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let good = check(salt, at as u64, &header[..4], body) == expected;
    if !good {
        *effort = effort.saturating_sub(length);
    }
    good.then_some(body)
}

/// Where the next good frame begins, and its length.
fn search(bytes: &[u8], from: usize, salt: u32, effort: &mut usize) -> Option<(usize, usize)> {
    for at in from..bytes.len() {
        if *effort == 0 {
            return None;
        }
        if bytes[at] == FRAME
            && let Some(body) = frame_at(bytes, at, salt, effort)
        {
            return Some((at, FRAME_HEADER + body.len()));
        }
    }
    None
}

/// Hands out the records of a body; false if it holds something else, which and whose successors are then left out.
fn records(body: &[u8], each: &mut impl FnMut(Record)) -> bool {
    let mut from = Reader(body);
    while !from.is_empty() {
        let record = from
            .number()
            .and_then(|length| from.bytes(length))
            .and_then(Record::decode);
        match record {
            Some(record) => each(record),
            None => return false,
        }
    }
    true
}

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), a byte at a time: a journal is read once, at start.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = at as u32;
            let mut bit = 0;
            while bit < 8 {
                value = (value >> 1) ^ (0x82f6_3b78 & (value & 1).wrapping_neg());
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    !parts.iter().copied().flatten().fold(!0, |value, byte| {
        (value >> 8) ^ TABLE[((value ^ u32::from(*byte)) & 0xff) as usize]
    })
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
