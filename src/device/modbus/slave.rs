//! A small Modbus RTU slave in memory, for `backend = "simulated"` and for tests. Written from the specification and
//! not with the crate that the master uses, so that the two don't share their mistakes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::device::lock;

use super::point::{Memory, Point};

/// The longest frame on a line.
const LONGEST_FRAME: usize = 256;

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

/// One or several devices on a line; clones are the same.
#[derive(Clone, Default)]
pub struct SimulatedSlave {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Only what is here exists: unit, memory, address.
    cells: BTreeMap<(u8, u8, u16), u16>,
    writes: Vec<(u8, Memory, u16, u16)>,
    requests: usize,
    refuse: Option<u8>,
    partial: Vec<u8>,
}

fn kind(memory: Memory) -> u8 {
    match memory {
        Memory::Coil => 0,
        Memory::Discrete => 1,
        Memory::Input => 2,
        Memory::Holding => 3,
    }
}

/// The checksum of serial line specification 2.5.1.2.
pub(super) fn crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xffff_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1 == 1;
            crc >>= 1;
            if carry {
                crc ^= 0xa001;
            }
        }
    }
    crc.to_le_bytes()
}

impl SimulatedSlave {
    /// Has the memory that the points name, all zero and off.
    pub fn for_points(points: &[Point]) -> Self {
        let slave = SimulatedSlave::default();
        for point in points {
            let addresses = point.address..=point.address.saturating_add(point.coding.addresses() - 1);
            for address in addresses {
                slave.set(point.unit_id, point.memory, address, 0);
            }
        }
        slave
    }

    /// Makes a bit (0 or 1) or a word exist, with that value.
    pub fn set(&self, unit: u8, memory: Memory, address: u16, value: u16) {
        lock(&self.inner)
            .cells
            .insert((unit, kind(memory), address), value);
    }

    /// Switches a unit off: it has no memory any more and does not answer.
    pub fn remove(&self, unit: u8) {
        lock(&self.inner).cells.retain(|(known, _, _), _| *known != unit);
    }

    /// What is there.
    pub fn get(&self, unit: u8, memory: Memory, address: u16) -> Option<u16> {
        lock(&self.inner)
            .cells
            .get(&(unit, kind(memory), address))
            .copied()
    }

    /// Every bit and word written so far, in order: unit, memory, address, value.
    pub fn writes(&self) -> Vec<(u8, Memory, u16, u16)> {
        lock(&self.inner).writes.clone()
    }

    /// How many requests came so far that were for a unit which exists.
    pub fn requests(&self) -> usize {
        lock(&self.inner).requests
    }

    /// Answers everything with an exception, or no longer.
    pub fn refuse(&self, exception: Option<u8>) {
        lock(&self.inner).refuse = exception;
    }

    /// Takes bytes from the line, gives the bytes that go back.
    pub fn receive(&self, bytes: &[u8]) -> Vec<u8> {
        let mut inner = lock(&self.inner);
        inner.partial.extend_from_slice(bytes);
        let mut answers = Vec::new();
        while let Some(length) = request_length(&inner.partial) {
            if inner.partial.len() < length {
                return answers;
            }
            let rest = inner.partial.split_off(length);
            let frame = std::mem::replace(&mut inner.partial, rest);
            let (body, sum) = frame.split_at(length - 2);
            if crc(body) != sum {
                // Not a request, or one that was damaged: a real slave waits for silence.
                inner.partial.clear();
                return answers;
            }
            answers.extend(inner.answer(body));
        }
        if inner.partial.len() > LONGEST_FRAME {
            inner.partial.clear();
        }
        answers
    }
}

/// How long the request is that begins so, with its checksum; `None` until that can be told.
fn request_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        15 | 16 => Some(9 + usize::from(*bytes.get(6)?)),
        _ => Some(8),
    }
}

impl Inner {
    fn answer(&mut self, body: &[u8]) -> Vec<u8> {
        let (unit, function) = (body[0], body[1]);
        if !self.cells.keys().any(|(known, _, _)| *known == unit) {
            return Vec::new();
        }
        self.requests += 1;
        let result = match self.refuse {
            Some(code) => Err(code),
            None => self.perform(unit, function, &body[2..]),
        };
        let mut answer = match result {
            Ok(data) => [vec![unit, function], data].concat(),
            Err(code) => vec![unit, function | 0x80, code],
        };
        answer.extend(crc(&answer));
        answer
    }

    fn perform(&mut self, unit: u8, function: u8, data: &[u8]) -> Result<Vec<u8>, u8> {
        let word = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
        let (address, second) = (word(0), word(2));
        match function {
            1 => self.read_bits(unit, Memory::Coil, address, second),
            2 => self.read_bits(unit, Memory::Discrete, address, second),
            3 => self.read_words(unit, Memory::Holding, address, second),
            4 => self.read_words(unit, Memory::Input, address, second),
            5 => {
                let bit = match second {
                    0xff00 => 1,
                    0 => 0,
                    _ => return Err(ILLEGAL_VALUE),
                };
                self.write(unit, Memory::Coil, address, &[bit])?;
                Ok(data.to_vec())
            }
            6 => {
                self.write(unit, Memory::Holding, address, &[second])?;
                Ok(data.to_vec())
            }
            16 => {
                let count = usize::from(second);
                if !(1..=123).contains(&count) || usize::from(data[4]) != count * 2 {
                    return Err(ILLEGAL_VALUE);
                }
                let words: Vec<u16> = (0..count).map(|index| word(5 + index * 2)).collect();
                self.write(unit, Memory::Holding, address, &words)?;
                Ok(data[..4].to_vec())
            }
            _ => Err(ILLEGAL_FUNCTION),
        }
    }

    fn cells(&self, unit: u8, memory: Memory, address: u16, count: u16) -> Result<Vec<u16>, u8> {
        (0..count)
            .map(|index| {
                let address = address.checked_add(index).ok_or(ILLEGAL_ADDRESS)?;
                let cell = self.cells.get(&(unit, kind(memory), address));
                cell.copied().ok_or(ILLEGAL_ADDRESS)
            })
            .collect()
    }

    fn read_bits(&self, unit: u8, memory: Memory, address: u16, count: u16) -> Result<Vec<u8>, u8> {
        if !(1..=2_000).contains(&count) {
            return Err(ILLEGAL_VALUE);
        }
        let cells = self.cells(unit, memory, address, count)?;
        let bytes = cells.chunks(8).map(|eight| {
            let bits = eight.iter().rev();
            bits.fold(0, |byte, bit| byte << 1 | u8::from(*bit != 0))
        });
        let bytes: Vec<u8> = bytes.collect();
        Ok([vec![bytes.len() as u8], bytes].concat())
    }

    fn read_words(&self, unit: u8, memory: Memory, address: u16, count: u16) -> Result<Vec<u8>, u8> {
        if !(1..=125).contains(&count) {
            return Err(ILLEGAL_VALUE);
        }
        let cells = self.cells(unit, memory, address, count)?;
        let bytes: Vec<u8> = cells.iter().flat_map(|word| word.to_be_bytes()).collect();
        Ok([vec![bytes.len() as u8], bytes].concat())
    }

    fn write(&mut self, unit: u8, memory: Memory, address: u16, values: &[u16]) -> Result<(), u8> {
        self.cells(unit, memory, address, values.len() as u16)?;
        for (index, value) in values.iter().enumerate() {
            let address = address + index as u16;
            self.cells.insert((unit, kind(memory), address), *value);
            self.writes.push((unit, memory, address, *value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        [body, &crc(body)].concat()
    }

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        // The example of serial line specification 6.2.2: 02 07 gives 41 12.
        assert_eq!(crc(&[0x02, 0x07]), [0x41, 0x12]);
    }

    #[test]
    fn requests_are_answered_as_in_the_specification_s_examples() {
        let slave = SimulatedSlave::default();
        // Application protocol 6.3 and 6.1, with unit 1.
        for (address, value) in [(107, 0x022b), (108, 0), (109, 0x64)] {
            slave.set(1, Memory::Holding, address, value);
        }
        assert_eq!(
            slave.receive(&framed(&[1, 3, 0, 0x6b, 0, 3])),
            framed(&[1, 3, 6, 0x02, 0x2b, 0, 0, 0, 0x64])
        );
        for (index, bit) in [1, 0, 1, 1, 0, 0, 1, 1, 1, 1].iter().enumerate() {
            slave.set(1, Memory::Coil, index as u16, *bit);
        }
        assert_eq!(
            slave.receive(&framed(&[1, 1, 0, 0, 0, 10])),
            framed(&[1, 1, 2, 0b1100_1101, 0b11])
        );
        assert_eq!(
            slave.receive(&framed(&[1, 5, 0, 1, 0xff, 0])),
            framed(&[1, 5, 0, 1, 0xff, 0])
        );
        assert_eq!(
            slave.receive(&framed(&[1, 16, 0, 0x6b, 0, 2, 4, 0, 10, 1, 2])),
            framed(&[1, 16, 0, 0x6b, 0, 2])
        );
        assert_eq!(slave.get(1, Memory::Holding, 108), Some(0x0102));
        assert_eq!(
            slave.receive(&framed(&[1, 3, 0, 0, 0, 1])),
            framed(&[1, 0x83, 2]),
            "an exception"
        );
        assert_eq!(slave.receive(&framed(&[1, 7, 0, 0, 0, 0])), framed(&[1, 0x87, 1]));
        assert!(
            slave.receive(&framed(&[2, 3, 0, 0x6b, 0, 3])).is_empty(),
            "another unit"
        );
        let mut damaged = framed(&[1, 3, 0, 0x6b, 0, 3]);
        damaged[3] ^= 1;
        assert!(slave.receive(&damaged).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_comes_it_neither_panics_nor_grows(pushes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let slave = SimulatedSlave::default();
            slave.set(1, Memory::Coil, 0, 0);
            for bytes in pushes {
                slave.receive(&bytes);
                prop_assert!(lock(&slave.inner).partial.len() <= 2 * LONGEST_FRAME + 9);
            }
        }

        #[test]
        fn well_formed_frames_never_panic_it(function in 1_u8..20, data in prop::collection::vec(any::<u8>(), 4..6), bytes in any::<u8>()) {
            let slave = SimulatedSlave::default();
            slave.set(1, Memory::Holding, 0, 0);
            let mut body = vec![1, function];
            body.extend_from_slice(&data[..4]);
            if matches!(function, 15 | 16) {
                body.push(bytes);
                body.extend(vec![0; usize::from(bytes)]);
            }
            slave.receive(&framed(&body));
        }
    }
}
