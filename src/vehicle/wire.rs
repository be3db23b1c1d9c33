//! Frames on the wire: found in what comes, checked, signed.

use mavlink::dialects::common::MavMessage;
use mavlink::{MAVLinkV2MessageRaw, MavHeader, MavlinkVersion, Message};

use super::config::Signing;

/// The marker with which a MAVLink 2 frame begins.
const MARKER: u8 = 0xFD;
/// Header with marker, and checksum.
const AROUND: usize = 12;
/// What a signature adds.
const SIGNATURE: usize = 13;
/// `incompat_flags`: signed.
const SIGNED: u8 = 0x01;
/// How far behind a new speaker's signing time may lie: a minute, in 10 µs.
const NEW_SPEAKER: u64 = 60 * 100_000;
/// The longest frame.
const LONGEST: usize = 280;

/// How many bytes the frame at the beginning of `bytes` has, signature included; nothing if that isn't known yet, or none
/// begins there.
pub(super) fn frame_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [MARKER, length, flags, ..] => {
            Some(AROUND + usize::from(*length) + if flags & SIGNED != 0 { SIGNATURE } else { 0 })
        }
        _ => None,
    }
}

/// A message that came, or one whose frame is sound but whose content has no meaning.
#[derive(Debug)]
pub(super) enum Came {
    Message(Box<MavMessage>),
    Unreadable(u32),
}

/// From whom, and what.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) from: (u8, u8),
    pub(super) came: Came,
}

#[derive(Debug)]
struct Speaker {
    stream: (u8, u8, u8),
    timestamp: u64,
}

#[derive(Debug)]
pub(super) struct Wire {
    system: u8,
    sequence: u8,
    signing: Option<Signing>,
    /// Of signing; survives a reboot, as the real ones store it.
    timestamp: u64,
    speakers: Vec<Speaker>,
    pending: Vec<u8>,
}

impl Wire {
    pub(super) fn new(system: u8, signing: Option<Signing>) -> Self {
        Wire {
            system,
            sequence: 0,
            timestamp: signing.map_or(0, |signing| signing.timestamp),
            signing,
            speakers: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// After a reboot: half a frame is forgotten.
    pub(super) fn reboot(&mut self) {
        self.pending.clear();
        self.sequence = 0;
    }

    /// Ten microseconds since 2015, as the vehicle counts them.
    pub(super) fn tick(&mut self, steps: u64) {
        self.timestamp += steps;
    }

    pub(super) fn encode(&mut self, message: &MavMessage) -> Vec<u8> {
        self.encode_from((self.system, 1), message)
    }

    /// As if somebody else said it.
    pub(super) fn encode_from(&mut self, from: (u8, u8), message: &MavMessage) -> Vec<u8> {
        let header = MavHeader {
            system_id: from.0.into(),
            component_id: from.1,
            sequence: self.sequence,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut raw = MAVLinkV2MessageRaw::new();
        if let Some(signing) = self.signing {
            raw.serialize_message_for_signing(header, message);
            self.timestamp += 1;
            *raw.signature_link_id_mut() = 1;
            raw.signature_timestamp_bytes_mut()
                .copy_from_slice(&self.timestamp.to_le_bytes()[..6]);
            let mut value = [0; 6];
            raw.calculate_signature(&signing.key, &mut value);
            raw.signature_value_mut().copy_from_slice(&value);
        } else {
            raw.serialize_message(header, message);
        }
        raw.raw_bytes().to_vec()
    }

    /// Takes bytes and gives the messages that are complete, sound and, where that is asked for, rightly signed.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Vec<Incoming> {
        self.pending.extend_from_slice(bytes);
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let rest = &self.pending[at..];
            match rest.first() {
                None => break,
                Some(&MARKER) => {}
                Some(_) => {
                    at += 1;
                    continue;
                }
            }
            let Some(length) = frame_length(rest) else { break };
            // Flags that nobody knows: no frame of ours.
            if rest[2] & !SIGNED != 0 {
                at += 1;
                continue;
            }
            if rest.len() < length {
                break;
            }
            let mut buffer = [0; LONGEST + 3];
            buffer[..length].copy_from_slice(&rest[..length]);
            let raw = MAVLinkV2MessageRaw::from_bytes_unparsed(buffer);
            if !raw.has_valid_crc::<MavMessage>() {
                at += 1;
                continue;
            }
            at += length;
            if !self.trusted(&raw) {
                continue;
            }
            let message = raw.message_id();
            let came = match MavMessage::parse(MavlinkVersion::V2, message, raw.payload()) {
                Ok(message) => Came::Message(Box::new(message)),
                Err(_) => Came::Unreadable(message),
            };
            found.push(Incoming {
                from: (raw.system_id() as u8, raw.component_id()),
                came,
            });
        }
        self.pending.drain(..at);
        found
    }

    fn trusted(&mut self, raw: &MAVLinkV2MessageRaw) -> bool {
        let Some(signing) = self.signing else { return true };
        if raw.incompatibility_flags() & SIGNED == 0 {
            return signing.accept_unsigned;
        }
        let mut value = [0; 6];
        raw.calculate_signature(&signing.key, &mut value);
        if value != raw.signature_value() {
            return false;
        }
        let timestamp = raw.signature_timestamp();
        let stream = (raw.signature_link_id(), raw.system_id() as u8, raw.component_id());
        match self.speakers.iter_mut().find(|speaker| speaker.stream == stream) {
            Some(speaker) if timestamp <= speaker.timestamp => return false,
            Some(speaker) => speaker.timestamp = timestamp,
            None if timestamp + NEW_SPEAKER < self.timestamp => return false,
            None => self.speakers.push(Speaker { stream, timestamp }),
        }
        self.timestamp = self.timestamp.max(timestamp);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mavlink::dialects::common::{HEARTBEAT_DATA, MISSION_COUNT_DATA};

    fn hello() -> MavMessage {
        MavMessage::HEARTBEAT(HEARTBEAT_DATA::default())
    }

    fn key(byte: u8, timestamp: u64) -> Option<Signing> {
        Some(Signing {
            key: [byte; 32],
            accept_unsigned: false,
            timestamp,
        })
    }

    #[test]
    fn frames_are_found_among_noise_and_in_pieces() {
        let mut ours = Wire::new(255, None);
        let mut theirs = Wire::new(1, None);
        let mut bytes = vec![0xFD, 3, 0, 1, 7, 0x55];
        bytes.extend(ours.encode(&hello()));
        bytes.extend([1, 2, 3]);
        bytes.extend(ours.encode(&MavMessage::MISSION_COUNT(MISSION_COUNT_DATA::default())));
        let whole: Vec<Incoming> = bytes.chunks(5).flat_map(|piece| theirs.decode(piece)).collect();
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0].from, (255, 1));
    }

    #[test]
    fn a_damaged_frame_is_no_frame() {
        let mut ours = Wire::new(255, None);
        let good = ours.encode(&hello());
        for place in 1..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            bad.extend(ours.encode(&hello()));
            // Whatever the damage makes of it: at most what was meant, and the next comes through in the end.
            let mut theirs = Wire::new(1, None);
            let mut heard = theirs.decode(&bad);
            for _ in 0..20 {
                heard.extend(theirs.decode(&good));
            }
            assert!(heard.len() >= 20, "place {place}: {}", heard.len());
        }
    }

    #[test]
    fn only_the_right_key_and_a_rising_time_are_trusted() {
        let now = 1_000_000_000;
        let mut vehicle = Wire::new(1, key(7, now));
        let mut right = Wire::new(255, key(7, now));
        let frame = right.encode(&hello());
        assert_eq!(vehicle.decode(&frame).len(), 1);
        assert_eq!(vehicle.decode(&frame).len(), 0, "a repetition");
        assert_eq!(
            vehicle
                .decode(&Wire::new(255, key(8, now + 100)).encode(&hello()))
                .len(),
            0,
            "a wrong key"
        );
        assert_eq!(
            vehicle.decode(&Wire::new(255, None).encode(&hello())).len(),
            0,
            "unsigned"
        );
        assert_eq!(
            vehicle
                .decode(&Wire::new(254, key(7, now - NEW_SPEAKER - 10)).encode(&hello()))
                .len(),
            0,
            "a new speaker from the past"
        );
        assert_eq!(
            vehicle
                .decode(&Wire::new(253, key(7, now - 10)).encode(&hello()))
                .len(),
            1
        );
        let mut first_port = Wire::new(
            1,
            Some(Signing {
                key: [7; 32],
                accept_unsigned: true,
                timestamp: now,
            }),
        );
        assert_eq!(first_port.decode(&Wire::new(255, None).encode(&hello())).len(), 1);
    }
}
