//! The wire between the vehicle and whoever speaks with it: frames are lost, damaged, doubled, swapped and late, by seed.

use std::collections::VecDeque;
use std::time::Duration;

use super::random::Random;
use super::wire::frame_length;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the vehicle.
    Down,
    /// To the vehicle.
    Up,
}

/// A while: from when, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From the first switching on.
    pub from: Duration,
    /// How long.
    pub lasts: Duration,
}

impl Span {
    fn holds(self, now: Duration) -> bool {
        now >= self.from && now < self.from + self.lasts
    }
}

/// How bad the wire is. Shares are of frames, 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// The share that never arrives.
    pub loss: f64,
    /// The share in which a byte is another.
    pub corrupt: f64,
    /// The share that arrives twice.
    pub duplicate: f64,
    /// The share that arrives after the one that follows it.
    pub reorder: f64,
    /// How much later everything arrives.
    pub delay: Duration,
    /// By how much more at most, by chance; what follows waits.
    pub jitter: Duration,
    /// When nothing passes, and nobody is told.
    pub silence: Vec<Span>,
    /// When the cable is pulled out.
    pub unplugged: Vec<Span>,
}

#[derive(Debug, Default)]
struct Way {
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    /// Frames with the moment at which they arrive, in that order.
    under_way: VecDeque<(Duration, Vec<u8>)>,
    /// One that waits for its successor.
    held: Option<Vec<u8>>,
}

/// A wire with both directions. Pure: it is told the time, and the same seed makes the same faults.
#[derive(Debug)]
pub struct Channel {
    line: Line,
    random: Random,
    ways: [Way; 2],
}

impl Channel {
    /// A wire as bad as `line` says.
    pub fn new(line: Line, seed: u64) -> Self {
        Channel {
            line,
            random: Random::new(seed.wrapping_mul(3).wrapping_add(1)),
            ways: Default::default(),
        }
    }

    /// Whether the cable is in.
    pub fn plugged(&self, now: Duration) -> bool {
        !self.line.unplugged.iter().any(|span| span.holds(now))
    }

    /// Pulls the cable out, or lets it be silent, also.
    pub fn line_mut(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Bytes go in.
    pub fn send(&mut self, direction: Direction, bytes: &[u8], now: Duration) {
        if !self.plugged(now) || self.line.silence.iter().any(|span| span.holds(now)) {
            // Also what had begun.
            self.ways[direction as usize].partial.clear();
            return;
        }
        self.ways[direction as usize].partial.extend_from_slice(bytes);
        while let Some(piece) = self.piece(direction) {
            self.pass(direction, piece, now);
        }
    }

    /// Bytes come out.
    pub fn deliver(&mut self, direction: Direction, now: Duration) -> Vec<u8> {
        if !self.plugged(now) {
            self.ways = Default::default();
            return Vec::new();
        }
        let way = &mut self.ways[direction as usize];
        let mut bytes = Vec::new();
        while way.under_way.front().is_some_and(|(due, _)| *due <= now) {
            bytes.extend(
                way.under_way
                    .pop_front()
                    .map(|(_, frame)| frame)
                    .unwrap_or_default(),
            );
        }
        bytes
    }

    /// The next frame, or the noise before it.
    fn piece(&mut self, direction: Direction) -> Option<Vec<u8>> {
        let partial = &mut self.ways[direction as usize].partial;
        let length = match partial.iter().position(|byte| *byte == 0xFD) {
            None if partial.is_empty() => return None,
            None => partial.len(),
            Some(0) => frame_length(partial).filter(|length| *length <= partial.len())?,
            Some(noise) => noise,
        };
        Some(partial.drain(..length).collect())
    }

    fn pass(&mut self, direction: Direction, mut piece: Vec<u8>, now: Duration) {
        if self.random.chance(self.line.loss) {
            return;
        }
        if self.random.chance(self.line.corrupt) {
            let place = self.random.below(piece.len());
            piece[place] ^= 1 << self.random.below(8);
        }
        let twice = self.random.chance(self.line.duplicate);
        let waits = self.random.chance(self.line.reorder);
        let jitter = self.line.jitter.mul_f64(self.random.unit());
        let way = &mut self.ways[direction as usize];
        if waits && way.held.is_none() {
            way.held = Some(piece);
            return;
        }
        // What was sent first arrives first, unless it is swapped on purpose.
        let earliest = way.under_way.back().map_or(Duration::ZERO, |(due, _)| *due);
        let due = (now + self.line.delay + jitter).max(earliest);
        if twice {
            way.under_way.push_back((due, piece.clone()));
        }
        way.under_way.push_back((due, piece));
        if let Some(held) = way.held.take() {
            way.under_way.push_back((due, held));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vehicle::wire::{Came, Wire};
    use mavlink::dialects::common::{MISSION_ITEM_REACHED_DATA, MavMessage};

    /// Sends `count` numbered frames, one every 10 ms, and tells in which order which arrive when.
    fn sent(line: Line, seed: u64, count: u16) -> Vec<(u64, u16)> {
        let (mut from, mut to) = (Wire::new(1, None), Wire::new(2, None));
        let mut channel = Channel::new(line, seed);
        let mut arrived = Vec::new();
        for step in 0..u64::from(count) + 200 {
            let now = Duration::from_millis(step * 10);
            if step < u64::from(count) {
                let seq = step as u16;
                let frame = from.encode(&MavMessage::MISSION_ITEM_REACHED(MISSION_ITEM_REACHED_DATA {
                    seq,
                }));
                // In pieces, as a serial port gives it.
                channel.send(Direction::Down, &frame[..5], now);
                channel.send(Direction::Down, &frame[5..], now);
            }
            for incoming in to.decode(&channel.deliver(Direction::Down, now)) {
                if let Came::Message(message) = incoming.came
                    && let MavMessage::MISSION_ITEM_REACHED(data) = *message
                {
                    arrived.push((step, data.seq));
                }
            }
        }
        arrived
    }

    fn numbers(arrived: &[(u64, u16)]) -> Vec<u16> {
        arrived.iter().map(|(_, seq)| *seq).collect()
    }

    #[test]
    fn a_good_wire_changes_nothing() {
        let arrived = sent(Line::default(), 1, 50);
        assert_eq!(numbers(&arrived), (0..50).collect::<Vec<_>>());
        assert!(arrived.iter().all(|(step, seq)| *step == u64::from(*seq)));
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let line = |change: fn(&mut Line)| {
            let mut line = Line::default();
            change(&mut line);
            line
        };
        let lost = sent(line(|line| line.loss = 0.2), 1, 1000).len();
        assert!((700..900).contains(&lost), "{lost}");
        let sound = sent(line(|line| line.corrupt = 0.2), 1, 1000).len();
        assert!((700..900).contains(&sound), "{sound}");
        let doubled = sent(line(|line| line.duplicate = 0.2), 1, 1000).len();
        assert!((1100..1300).contains(&doubled), "{doubled}");
        let swapped = numbers(&sent(line(|line| line.reorder = 0.2), 1, 1000));
        assert!(swapped.len() >= 999 && !swapped.is_sorted());
        let mut sorted = swapped.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), swapped.len(), "nothing comes twice");
        let late = sent(line(|line| line.delay = Duration::from_millis(300)), 1, 20);
        assert!(
            late.iter().all(|(step, seq)| *step == u64::from(*seq) + 30),
            "{late:?}"
        );
        let jittery = sent(line(|line| line.jitter = Duration::from_millis(300)), 1, 200);
        assert!(numbers(&jittery).is_sorted() && jittery.len() == 200);
        assert!(jittery.iter().any(|(step, seq)| *step > u64::from(*seq) + 5));
    }

    #[test]
    fn silence_and_an_unplugged_cable_let_nothing_through() {
        let while_ = vec![Span {
            from: Duration::from_millis(100),
            lasts: Duration::from_millis(100),
        }];
        let silent = Line {
            silence: while_.clone(),
            ..Line::default()
        };
        let expected: Vec<u16> = (0..10).chain(20..50).collect();
        assert_eq!(numbers(&sent(silent, 1, 50)), expected);
        let pulled = Line {
            unplugged: while_,
            ..Line::default()
        };
        assert_eq!(numbers(&sent(pulled.clone(), 1, 50)), expected);
        let channel = Channel::new(pulled, 1);
        assert!(channel.plugged(Duration::ZERO) && !channel.plugged(Duration::from_millis(150)));
    }

    #[test]
    fn the_same_seed_makes_the_same_faults() {
        let line = || Line {
            loss: 0.1,
            corrupt: 0.1,
            duplicate: 0.1,
            reorder: 0.1,
            jitter: Duration::from_millis(50),
            ..Line::default()
        };
        assert_eq!(sent(line(), 7, 300), sent(line(), 7, 300));
        assert_ne!(sent(line(), 7, 300), sent(line(), 8, 300));
    }
}
