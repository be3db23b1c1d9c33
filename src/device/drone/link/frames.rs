//! Where frames begin and end in a stream of bytes (<https://mavlink.io/en/guide/serialization.html>), versions 1 and 2.
//!
//! Pure: bytes go in as they come, whole frames with a right checksum come out. What is no frame is passed over one byte at
//! a time, so noise that looks like the beginning of a frame never hides a whole one behind it.

use mavlink::consts::v2::{FRAME_SIZE, IFLAG_SIGNED, SIGNATURE_SIZE};
use mavlink::{MAV_STX, MAV_STX_V2, MAVLinkV2MessageRaw, calculate_crc};

use super::dialect;
use crate::device::drone::wire::Node;

/// Start, length, two flags, sequence, system, component, three bytes of id.
const HEADER_V2: usize = 10;
/// Start, length, sequence, system, component, id.
const HEADER_V1: usize = 6;
const CHECKSUM: usize = 2;
/// Room for what comes while frames are taken out.
const CAPACITY: usize = 4096;

/// The first 6 bytes of a SHA-256.
pub(super) type SignatureValue = [u8; 6];

/// A frame with a right checksum, in its bytes; at most 280 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame {
    bytes: [u8; FRAME_SIZE],
    length: usize,
}

impl RawFrame {
    /// A frame of version 2 around a payload of at most 255 bytes (more are left out). To be signed it still needs
    /// [`RawFrame::set_signature`].
    pub(super) fn new(from: Node, sequence: u8, id: u32, seed: u8, payload: &[u8], signed: bool) -> Self {
        let payload = &payload[..payload.len().min(255)];
        let kept = mavlink::utils::remove_trailing_zeroes(payload);
        let mut bytes = [0; FRAME_SIZE];
        let [low, middle, high, _] = id.to_le_bytes();
        bytes[..HEADER_V2].copy_from_slice(&[
            MAV_STX_V2,
            kept as u8,
            if signed { IFLAG_SIGNED } else { 0 },
            0,
            sequence,
            from.system,
            from.component,
            low,
            middle,
            high,
        ]);
        let end = HEADER_V2 + kept;
        bytes[HEADER_V2..end].copy_from_slice(&payload[..kept]);
        let checksum = calculate_crc(&bytes[1..end], seed);
        bytes[end..end + CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        let signature = if signed { SIGNATURE_SIZE } else { 0 };
        RawFrame {
            bytes,
            length: end + CHECKSUM + signature,
        }
    }

    fn copy(bytes: &[u8]) -> Self {
        let mut frame = RawFrame {
            bytes: [0; FRAME_SIZE],
            length: bytes.len(),
        };
        frame.bytes[..bytes.len()].copy_from_slice(bytes);
        frame
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Whether it is of version 1.
    pub fn is_v1(&self) -> bool {
        self.bytes[0] == MAV_STX
    }

    /// Who sent it, as it says.
    pub fn from(&self) -> Node {
        let at = if self.is_v1() { 3 } else { 5 };
        Node {
            system: self.bytes[at],
            component: self.bytes[at + 1],
        }
    }

    /// One more with each frame that its sender sends.
    pub fn sequence(&self) -> u8 {
        self.bytes[if self.is_v1() { 2 } else { 4 }]
    }

    /// Which message it is.
    pub fn id(&self) -> u32 {
        if self.is_v1() {
            u32::from(self.bytes[5])
        } else {
            u32::from_le_bytes([self.bytes[7], self.bytes[8], self.bytes[9], 0])
        }
    }

    fn payload_range(&self) -> std::ops::Range<usize> {
        let header = if self.is_v1() { HEADER_V1 } else { HEADER_V2 };
        header..header + usize::from(self.bytes[1])
    }

    /// What it carries; zeros at the end of it were not sent in version 2.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_range()]
    }

    /// The checksum it has.
    pub(super) fn checksum(&self) -> u16 {
        let at = self.payload_range().end;
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// Whether it has a signature.
    pub fn is_signed(&self) -> bool {
        !self.is_v1() && self.bytes[2] & IFLAG_SIGNED != 0
    }

    /// Its signature: the link's id, the timestamp and the value. `None` without one.
    pub(super) fn signature(&self) -> Option<(u8, u64, SignatureValue)> {
        if !self.is_signed() {
            return None;
        }
        let at = self.length - SIGNATURE_SIZE;
        let mut stamp = [0; 8];
        stamp[..6].copy_from_slice(&self.bytes[at + 1..at + 7]);
        let mut value = SignatureValue::default();
        value.copy_from_slice(&self.bytes[at + 7..self.length]);
        Some((self.bytes[at], u64::from_le_bytes(stamp), value))
    }

    /// Signs a frame that was made to be signed; any other stays as it is.
    pub(super) fn set_signature(&mut self, key: &[u8; 32], link: u8, stamp: u64) {
        if !self.is_signed() {
            return;
        }
        let at = self.length - SIGNATURE_SIZE;
        self.bytes[at] = link;
        self.bytes[at + 1..at + 7].copy_from_slice(&stamp.to_le_bytes()[..6]);
        let value = self.signature_by(key);
        self.bytes[at + 7..self.length].copy_from_slice(&value);
    }

    /// What its signature has to be by a key.
    pub(super) fn signature_by(&self, key: &[u8; 32]) -> SignatureValue {
        let mut value = SignatureValue::default();
        MAVLinkV2MessageRaw::from_bytes_unparsed(self.bytes).calculate_signature(key, &mut value);
        value
    }
}

/// What a [`Deframer`] finds.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, on the stack, and most are frames"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A frame of the common messages, checked.
    Frame(RawFrame),
    /// Perhaps the beginning of another message's frame, which can't be checked and is passed over. By its place in the
    /// sequence it may be told from noise.
    Unchecked {
        /// From whom it would be.
        from: Node,
        /// Which place it would have.
        sequence: u8,
    },
}

/// What was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Bytes that belong to no frame that was understood.
    pub bytes: u64,
    /// What looked like a frame and had a wrong checksum.
    pub bad_checksum: u64,
}

/// What the bytes at hand begin with.
enum Start {
    /// It can't be told yet.
    More,
    /// No frame.
    Noise,
    /// See [`Found::Unchecked`].
    Unchecked { from: Node, sequence: u8 },
    /// A frame of so many bytes, if its checksum by this seed is right.
    Frame { length: usize, seed: u8 },
}

/// Finds frames in a stream. Holds at most 4 KiB.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// Where the bytes begin that were not looked at or may begin a frame.
    start: usize,
    passed: Passed,
}

impl Deframer {
    /// Takes bytes as they came, and says how many: fewer than there are only while it is full, until frames are
    /// taken out.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.buffer.drain(..self.start);
        self.start = 0;
        let taken = bytes.len().min(CAPACITY - self.buffer.len().min(CAPACITY));
        self.buffer.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// The next thing that is whole.
    pub fn find(&mut self) -> Option<Found> {
        loop {
            let rest = self.buffer.get(self.start..)?;
            match start(rest) {
                Start::More => return None,
                Start::Noise => self.pass(),
                Start::Unchecked { from, sequence } => {
                    self.pass();
                    return Some(Found::Unchecked { from, sequence });
                }
                Start::Frame { length, seed } => {
                    let bytes = rest.get(..length)?;
                    let frame = RawFrame::copy(bytes);
                    let checked = 1..frame.payload_range().end;
                    if calculate_crc(&bytes[checked], seed) == frame.checksum() {
                        self.start += length;
                        return Some(Found::Frame(frame));
                    }
                    self.passed.bad_checksum += 1;
                    self.pass();
                }
            }
        }
    }

    fn pass(&mut self) {
        self.start += 1;
        self.passed.bytes += 1;
    }

    /// Whether what looks like the beginning of a frame waits for its rest.
    pub fn waits(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// Gives that up, because the rest did not come in time: what is behind its first byte is looked at.
    pub fn give_up(&mut self) {
        if self.waits() {
            self.pass();
        }
    }

    /// Forgets what is there: the stream begins anew.
    pub fn reset(&mut self) {
        self.passed.bytes += (self.buffer.len() - self.start) as u64;
        self.buffer.clear();
        self.start = 0;
    }

    /// What was passed over so far.
    pub fn passed(&self) -> Passed {
        self.passed
    }
}

fn start(bytes: &[u8]) -> Start {
    match *bytes {
        [] => Start::More,
        [MAV_STX, ..] => {
            // Only what is listened to, in its exact length: five bytes alone would be guessed too easily.
            let &[_, length, _, _, _, id, ..] = bytes else {
                return Start::More;
            };
            let payload = usize::from(length);
            match (
                dialect::v1_length(u32::from(id)),
                dialect::checksum_seed(u32::from(id)),
            ) {
                (Some(expected), Some(seed)) if expected == payload => Start::Frame {
                    length: HEADER_V1 + payload + CHECKSUM,
                    seed,
                },
                _ => Start::Noise,
            }
        }
        // A flag that is not known means that the rest can't be understood, its length included.
        [MAV_STX_V2, _, flags, ..] if flags & !IFLAG_SIGNED != 0 => Start::Noise,
        [MAV_STX_V2, ..] => {
            let &[
                _,
                length,
                flags,
                _,
                sequence,
                system,
                component,
                low,
                middle,
                high,
                ..,
            ] = bytes
            else {
                return Start::More;
            };
            match dialect::checksum_seed(u32::from_le_bytes([low, middle, high, 0])) {
                None => Start::Unchecked {
                    from: Node { system, component },
                    sequence,
                },
                Some(seed) => {
                    let signature = if flags & IFLAG_SIGNED == 0 {
                        0
                    } else {
                        SIGNATURE_SIZE
                    };
                    Start::Frame {
                        length: HEADER_V2 + usize::from(length) + CHECKSUM + signature,
                        seed,
                    }
                }
            }
        }
        _ => Start::Noise,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: Node = Node {
        system: 1,
        component: 1,
    };

    /// Everything that is found in a stream cut into pieces.
    fn found(stream: &[u8], cuts: &[usize]) -> (Vec<RawFrame>, Passed, Vec<u8>) {
        let mut deframer = Deframer::default();
        let (mut frames, mut rest, mut cuts) = (Vec::new(), stream, cuts.iter().cycle());
        while !rest.is_empty() {
            let cut = cuts.next().copied().unwrap_or(usize::MAX).min(rest.len());
            let taken = deframer.push(&rest[..cut]);
            rest = &rest[taken..];
            let before = frames.len();
            while let Some(found) = deframer.find() {
                if let Found::Frame(frame) = found {
                    frames.push(frame);
                }
            }
            assert!(taken > 0 || frames.len() > before, "it got stuck");
            assert!(deframer.buffer.len() <= CAPACITY);
        }
        let left = deframer.buffer[deframer.start..].to_vec();
        (frames, deframer.passed(), left)
    }

    fn v1_heartbeat(sequence: u8) -> Vec<u8> {
        let mut bytes = vec![MAV_STX, 9, sequence, 1, 1, 0, 4, 0, 0, 0, 2, 3, 81, 4, 3];
        let checksum = calculate_crc(&bytes[1..], 50);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn a_frame_by_the_crate_is_the_same_bytes_and_comes_back() {
        let header = mavlink::MavHeader {
            system_id: 7,
            component_id: 9,
            sequence: 200,
        };
        let data = mavlink::dialects::common::MISSION_REQUEST_LIST_DATA {
            target_system: 1,
            target_component: 1,
            mission_type: mavlink::dialects::common::MavMissionType::MAV_MISSION_TYPE_MISSION,
        };
        let mut theirs = MAVLinkV2MessageRaw::new();
        theirs.serialize_message_data(header, &data);
        let from = Node {
            system: 7,
            component: 9,
        };
        let ours = RawFrame::new(from, 200, 43, 132, &[1, 1, 0], false);
        assert_eq!(ours.bytes(), theirs.raw_bytes());
        assert_eq!(ours.payload(), [1, 1], "the zero at the end is cut off");
        let (frames, passed, left) = found(ours.bytes(), &[]);
        assert_eq!((frames, passed), (vec![ours], Passed::default()));
        assert!(left.is_empty());
        assert_eq!((ours.from(), ours.sequence(), ours.id()), (from, 200, 43));
    }

    #[test]
    fn version_1_is_heard_in_its_exact_length_only() {
        let bytes = v1_heartbeat(5);
        let (frames, ..) = found(&bytes, &[3]);
        assert_eq!(frames.len(), 1);
        assert!(frames[0].is_v1() && !frames[0].is_signed());
        assert_eq!(
            (frames[0].from(), frames[0].sequence(), frames[0].id()),
            (NODE, 5, 0)
        );
        let mut longer = vec![MAV_STX, 10, 5, 1, 1, 0, 4, 0, 0, 0, 2, 3, 81, 4, 3, 0];
        let checksum = calculate_crc(&longer[1..], 50);
        longer.extend(checksum.to_le_bytes());
        assert!(found(&longer, &[]).0.is_empty());
    }

    #[test]
    fn a_damaged_frame_is_counted_and_the_next_is_found() {
        let one = RawFrame::new(NODE, 1, 0, 50, &[1; 9], false);
        let mut bytes = one.bytes().to_vec();
        bytes[12] ^= 0x10;
        bytes.extend_from_slice(one.bytes());
        let (frames, passed, _) = found(&bytes, &[]);
        assert_eq!(frames, [one]);
        assert_eq!(
            passed,
            Passed {
                bytes: one.bytes().len() as u64,
                bad_checksum: 1
            }
        );
    }

    #[test]
    fn an_unknown_message_is_passed_over_and_named() {
        let unknown = RawFrame::new(NODE, 8, 193, 71, &[1; 22], false);
        let known = RawFrame::new(NODE, 9, 0, 50, &[1; 9], false);
        let mut deframer = Deframer::default();
        deframer.push(&[unknown.bytes(), known.bytes()].concat());
        assert_eq!(
            deframer.find(),
            Some(Found::Unchecked {
                from: NODE,
                sequence: 8
            })
        );
        assert_eq!(deframer.find(), Some(Found::Frame(known)));
        assert_eq!(deframer.find(), None);
        assert!(!deframer.waits());
    }

    #[test]
    fn a_frame_behind_a_false_beginning_is_found_when_that_is_given_up() {
        let frame = RawFrame::new(NODE, 1, 0, 50, &[1; 9], false);
        let mut deframer = Deframer::default();
        // The header of a frame of 255 bytes that never come.
        deframer.push(&[MAV_STX_V2, 255, 0, 0, 1, 1, 1, 0, 0, 0]);
        deframer.push(frame.bytes());
        assert_eq!(deframer.find(), None);
        assert!(deframer.waits());
        deframer.give_up();
        assert_eq!(deframer.find(), Some(Found::Frame(frame)));
    }

    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            Just(MAV_STX),
            Just(MAV_STX_V2),
            Just(0),
            Just(1),
            Just(9),
            any::<u8>()
        ];
        proptest::collection::vec(byte, 0..40)
    }

    fn frame() -> impl Strategy<Value = RawFrame> {
        let payload = proptest::collection::vec(any::<u8>(), 0..=255);
        let id = prop_oneof![Just(0_u32), Just(1), Just(33), Just(253), Just(385)];
        (payload, id, any::<u8>(), any::<bool>()).prop_map(|(payload, id, sequence, signed)| {
            let seed = dialect::checksum_seed(id).unwrap();
            let mut frame = RawFrame::new(NODE, sequence, id, seed, &payload, signed);
            frame.set_signature(&[7; 32], 3, 0x0102_0304_0506);
            frame
        })
    }

    proptest! {
        #[test]
        fn frames_in_noise_are_all_found_however_the_stream_is_cut(
            parts in proptest::collection::vec((noise(), frame()), 1..6),
            cuts in proptest::collection::vec(1_usize..300, 1..20),
        ) {
            let mut stream = Vec::new();
            for (noise, frame) in &parts {
                stream.extend_from_slice(noise);
                stream.extend_from_slice(frame.bytes());
            }
            let whole = found(&stream, &[]);
            prop_assert_eq!(&whole, &found(&stream, &cuts));
            prop_assert_eq!(&whole, &found(&stream, &[1]));
            // A beginning of a frame in the noise may still wait for its rest; what follows a stream ends that.
            let mut deframer = Deframer::default();
            let (mut rest, mut frames) = (stream.as_slice(), Vec::new());
            loop {
                let taken = deframer.push(rest);
                rest = &rest[taken..];
                while let Some(found) = deframer.find() {
                    if let Found::Frame(frame) = found {
                        frames.push(frame);
                    }
                }
                if rest.is_empty() && !deframer.waits() {
                    break;
                }
                if rest.is_empty() {
                    deframer.give_up();
                }
            }
            // Noise may be a frame by chance (one in 65,536 that look like one), and hide another.
            prop_assume!(frames.iter().all(|found| parts.iter().any(|(_, frame)| frame == found)));
            let mut wanted = frames.iter();
            for (_, frame) in &parts {
                prop_assert!(wanted.any(|found| found == frame), "lost: {:?}", frame.bytes());
            }
        }

        #[test]
        fn anything_may_come(stream in proptest::collection::vec(any::<u8>(), 0..2000), cuts in proptest::collection::vec(1_usize..300, 1..20)) {
            let (frames, passed, left) = found(&stream, &cuts);
            let framed: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
            prop_assert_eq!(framed + passed.bytes as usize + left.len(), stream.len());
        }

        #[test]
        fn a_flipped_bit_is_always_noticed(frame in frame(), bit in any::<prop::sample::Index>()) {
            // In the header it would be another kind of frame, which the checksum finds only almost always.
            let end = frame.payload_range().end + CHECKSUM;
            let bit = HEADER_V2 * 8 + bit.index((end - HEADER_V2) * 8);
            let mut bytes = frame.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (frames, ..) = found(&bytes, &[]);
            // A payload may hold whole frames of its own; the damaged one is none of them.
            prop_assert!(frames.iter().all(|found| found.bytes() != &bytes[..] && found != &frame));
        }
    }
}
