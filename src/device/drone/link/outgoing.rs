//! Frames that wait to be sent: few, whole, and thrown away rather than sent late.

use std::collections::VecDeque;

use super::codec::Unsayable;
use super::frames::RawFrame;

/// How many frames may wait; a second's worth at 115,200 baud.
const MOST: usize = 48;

/// Why something was not said. It is not kept: who wants it said says it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSaid {
    /// The port is closed; nothing that was said before it opened goes out after it.
    #[error("the link to the autopilot is down")]
    Closed,
    /// More was said than the line takes.
    #[error("{MOST} messages already wait to be sent: the link is slower than what is said")]
    Full,
    /// It can't be written.
    #[error(transparent)]
    Unsayable(#[from] Unsayable),
}

/// Frames in the order in which they go out.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    frames: VecDeque<(RawFrame, Kind)>,
    /// How much of the first one has left.
    sent: usize,
}

/// Whether a frame is our heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Heartbeat,
    Other,
}

impl Outgoing {
    /// Whether another frame may wait. A heartbeat may if none does; it is in nobody's way.
    pub fn has_room(&self, kind: Kind) -> bool {
        match kind {
            Kind::Heartbeat => self.frames.iter().all(|(_, waits)| *waits != kind),
            Kind::Other => self.frames.len() < MOST,
        }
    }

    pub fn push(&mut self, frame: RawFrame, kind: Kind) {
        self.frames.push_back((frame, kind));
    }

    /// What is to be written next: (the rest of) one frame.
    pub fn next(&self) -> Option<&[u8]> {
        self.frames.front()?.0.bytes().get(self.sent..)
    }

    /// So many bytes of that have left. Whether the frame is through.
    pub fn advance(&mut self, count: usize) -> bool {
        self.sent += count;
        let through = self
            .frames
            .front()
            .is_some_and(|(frame, _)| self.sent >= frame.bytes().len());
        if through {
            self.frames.pop_front();
            self.sent = 0;
        }
        through
    }

    /// Throws away what waits, and says how many frames.
    pub fn clear(&mut self) -> usize {
        let count = self.frames.len();
        self.frames.clear();
        self.sent = 0;
        count
    }
}
