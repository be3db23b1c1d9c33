//! Where an answer begins and ends in a stream of bytes. Pure: bytes and the time go in, frames come out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::BootTime;

/// A pause that long separates what belongs together from what doesn't: a fragment older than this was noise,
/// a stream that was silent for this long starts afresh. Longer than the pauses that USB adapters make (16 ms).
pub const FRAGMENT_AGE: Duration = Duration::from_millis(100);

/// How frames are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// A frame ends with these bytes, which don't belong to it.
    Line {
        /// At least one byte.
        terminator: Vec<u8>,
    },
    /// Every frame has this many bytes.
    Length(usize),
    /// A frame ends when nothing came for this long.
    Idle(Duration),
}

/// A frame was longer than allowed and was thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer of more than {max_frame} bytes came (max_frame): wrong framing, or wrong baud rate?")]
pub struct Oversize {
    /// What is allowed, in bytes.
    pub max_frame: usize,
}

/// Cuts a stream of bytes into frames. Holds at most one unfinished frame and what was finished by one push.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    max_frame: usize,
    partial: Vec<u8>,
    /// The unfinished frame is not wanted: it is dropped where it ends.
    skipping: Skip,
    last_byte: BootTime,
    ready: VecDeque<Result<Vec<u8>, Oversize>>,
}

/// What becomes of the unfinished frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    No,
    /// Drop it silently.
    Unwanted,
    /// Drop it and say that it was too long.
    Oversize,
    /// The port was opened at that moment, perhaps in the middle of a frame: see [`Framer::opened`].
    Opened,
}

impl Framer {
    /// Nothing received yet.
    pub fn new(framing: Framing, max_frame: usize) -> Self {
        Framer {
            framing,
            max_frame,
            partial: Vec::new(),
            skipping: Skip::No,
            last_byte: BootTime::default(),
            ready: VecDeque::new(),
        }
    }

    /// Forgets everything received.
    pub fn clear(&mut self) {
        self.partial.clear();
        self.ready.clear();
        self.skipping = Skip::No;
    }

    /// The stream begins at `now`, perhaps in the middle of a frame. What comes at once is taken for the rest
    /// of one and dropped; what comes after a silence begins one.
    pub fn opened(&mut self, now: BootTime) {
        self.clear();
        self.last_byte = now;
        if self.framing != Framing::Length(1) {
            self.skipping = Skip::Opened;
        }
    }

    /// From now on only frames that begin later are wanted.
    pub fn only_later(&mut self, now: BootTime) {
        self.settle(now);
        self.ready.clear();
        let fresh = now.saturating_since(self.last_byte) < FRAGMENT_AGE;
        match self.skipping {
            Skip::Opened => {}
            // A fragment that nothing followed was noise: it must not swallow the answer.
            _ if !fresh => self.clear(),
            Skip::No if self.partial.is_empty() => {}
            _ => self.skipping = Skip::Unwanted,
        }
    }

    /// Drops the frames that are complete; the unfinished one goes on.
    pub fn forget_complete(&mut self, now: BootTime) {
        self.settle(now);
        self.ready.clear();
    }

    /// Takes bytes that arrived at `now`.
    pub fn push(&mut self, bytes: &[u8], now: BootTime) {
        if bytes.is_empty() {
            return;
        }
        self.settle(now);
        if self.skipping == Skip::Opened {
            let silent = now.saturating_since(self.last_byte) >= FRAGMENT_AGE;
            self.skipping = if silent { Skip::No } else { Skip::Unwanted };
        }
        let stale = now.saturating_since(self.last_byte) >= FRAGMENT_AGE;
        if stale && matches!(self.framing, Framing::Length(_)) {
            // Lengths alone never find their place again once a byte was lost.
            self.partial.clear();
            self.skipping = Skip::No;
        }
        self.last_byte = now;
        for &byte in bytes {
            self.take(byte);
        }
    }

    fn take(&mut self, byte: u8) {
        if self.partial.len() > self.max_frame + self.terminator_len() {
            // Too long. Only the end is kept, in which a terminator may be half there.
            if self.skipping == Skip::No {
                self.skipping = Skip::Oversize;
            }
            let keep = self.terminator_len();
            self.partial.drain(..self.partial.len() - keep);
        }
        self.partial.push(byte);
        match &self.framing {
            Framing::Line { terminator } => {
                if self.partial.ends_with(terminator) {
                    self.partial.truncate(self.partial.len() - terminator.len());
                    self.finish();
                }
            }
            Framing::Length(length) => {
                if self.partial.len() >= *length {
                    self.finish();
                }
            }
            Framing::Idle(_) => {}
        }
    }

    fn terminator_len(&self) -> usize {
        match &self.framing {
            Framing::Line { terminator } => terminator.len(),
            Framing::Length(_) | Framing::Idle(_) => 0,
        }
    }

    /// The unfinished frame is complete.
    fn finish(&mut self) {
        let mut frame = std::mem::take(&mut self.partial);
        let skipped = std::mem::replace(&mut self.skipping, Skip::No);
        if let Framing::Line { terminator } = &self.framing
            && terminator == b"\n"
            && frame.last() == Some(&b'\r')
        {
            frame.pop();
        }
        match skipped {
            Skip::Unwanted | Skip::Opened => {}
            Skip::No if frame.len() <= self.max_frame => {
                // An empty line says nothing: the other half of a "\n\r", or a blank between answers.
                if !frame.is_empty() {
                    self.ready.push_back(Ok(frame));
                }
            }
            Skip::No | Skip::Oversize => self.ready.push_back(Err(Oversize {
                max_frame: self.max_frame,
            })),
        }
    }

    /// Ends a frame that only silence ends.
    fn settle(&mut self, now: BootTime) {
        if let Framing::Idle(gap) = self.framing
            && now.saturating_since(self.last_byte) >= gap
        {
            if self.partial.is_empty() {
                if self.skipping == Skip::Unwanted {
                    self.skipping = Skip::No;
                }
            } else {
                self.finish();
            }
        }
    }

    /// The next frame that is complete at `now`.
    pub fn next(&mut self, now: BootTime) -> Option<Result<Vec<u8>, Oversize>> {
        self.settle(now);
        self.ready.pop_front()
    }

    /// When to ask again although no byte came: where only silence ends a frame.
    pub fn wake(&self) -> Option<BootTime> {
        match self.framing {
            Framing::Idle(gap) if !self.partial.is_empty() => Some(self.last_byte + gap),
            _ => None,
        }
    }

    /// What there is of the unfinished frame, for error messages.
    pub fn fragment(&self) -> &[u8] {
        &self.partial
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }

    fn lines(terminator: &str) -> Framer {
        Framer::new(
            Framing::Line {
                terminator: terminator.as_bytes().to_vec(),
            },
            16,
        )
    }

    fn all(framer: &mut Framer, now: BootTime) -> Vec<Result<Vec<u8>, Oversize>> {
        std::iter::from_fn(|| framer.next(now)).collect()
    }

    fn texts(framer: &mut Framer, now: BootTime) -> Vec<String> {
        all(framer, now)
            .into_iter()
            .map(|frame| frame.map_or("OVERSIZE".into(), |frame| String::from_utf8(frame).unwrap()))
            .collect()
    }

    #[test]
    fn lines_end_with_their_terminator_and_blank_ones_say_nothing() {
        let mut framer = lines("\n");
        framer.push(b"one\r\n\r\n\ntwo\nthr", at(0));
        assert_eq!(texts(&mut framer, at(0)), ["one", "two"]);
        assert_eq!(framer.fragment(), b"thr");
        framer.push(b"ee\n", at(5_000));
        assert_eq!(
            texts(&mut framer, at(5_000)),
            ["three"],
            "a slow line is still a line"
        );
        let mut framer = lines("\r\n");
        framer.push(b"a\rb\n\r", at(0));
        framer.push(b"\nc\r\n", at(0));
        assert_eq!(texts(&mut framer, at(0)), ["a\rb\n", "c"]);
    }

    #[test]
    fn the_longest_frame_passes_and_one_byte_more_does_not() {
        for terminator in ["\n", "\r\n", "END"] {
            let mut framer = lines(terminator);
            framer.push(format!("{}{terminator}", "x".repeat(16)).as_bytes(), at(0));
            framer.push(format!("{}{terminator}", "y".repeat(17)).as_bytes(), at(0));
            framer.push(
                format!("{}{terminator}ok{terminator}", "z".repeat(1_000)).as_bytes(),
                at(0),
            );
            assert_eq!(
                texts(&mut framer, at(0)),
                ["x".repeat(16).as_str(), "OVERSIZE", "OVERSIZE", "ok"],
                "{terminator:?}"
            );
        }
    }

    #[test]
    fn lengths_count_and_find_their_place_again_after_a_pause() {
        let mut framer = Framer::new(Framing::Length(4), 16);
        framer.push(b"abcdefgh", at(0));
        framer.push(b"xy", at(1));
        assert_eq!(texts(&mut framer, at(1)), ["abcd", "efgh"]);
        framer.push(b"12", at(100));
        assert_eq!(texts(&mut framer, at(100)), ["xy12"], "99 ms later it goes on");
        framer.push(b"z", at(101));
        framer.push(b"good", at(201));
        assert_eq!(
            texts(&mut framer, at(201)),
            ["good"],
            "100 ms later it begins afresh"
        );
    }

    #[test]
    fn silence_ends_a_frame() {
        let gap = Duration::from_millis(20);
        let mut framer = Framer::new(Framing::Idle(gap), 16);
        assert_eq!(framer.wake(), None);
        framer.push(b"ab", at(0));
        framer.push(b"cd", at(19));
        assert_eq!(framer.next(at(38)), None);
        assert_eq!(framer.wake(), Some(at(39)));
        assert_eq!(texts(&mut framer, at(39)), ["abcd"]);
        framer.push(b"ef", at(50));
        framer.push(b"gh", at(70));
        assert_eq!(
            texts(&mut framer, at(70)),
            ["ef"],
            "the gap is seen in hindsight, too"
        );
        framer.push(&[b'x'; 20], at(71));
        assert_eq!(texts(&mut framer, at(100)), ["OVERSIZE"]);
    }

    #[test]
    fn a_stream_joined_in_the_middle_begins_with_the_next_frame() {
        let mut framer = lines("\n");
        framer.opened(at(1_000));
        framer.push(b"2.5 kg\n12.5 kg\n", at(1_002));
        assert_eq!(texts(&mut framer, at(1_002)), ["12.5 kg"]);
        framer.opened(at(2_000));
        framer.push(b"scanned\n", at(2_100));
        assert_eq!(
            texts(&mut framer, at(2_100)),
            ["scanned"],
            "after a silence a frame begins"
        );
    }

    #[test]
    fn only_what_begins_later_counts() {
        let mut framer = lines("\n");
        framer.push(b"old\nhalf", at(0));
        framer.only_later(at(99));
        framer.push(b" old\nnew\n", at(99));
        assert_eq!(
            texts(&mut framer, at(99)),
            ["new"],
            "half a line is finished and dropped"
        );
        framer.push(b"\xff", at(200));
        framer.only_later(at(300));
        framer.push(b"answer\n", at(301));
        assert_eq!(
            texts(&mut framer, at(301)),
            ["answer"],
            "noise does not spoil the answer"
        );
    }

    proptest! {
        #[test]
        fn lines_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec("[a-z0-9.,+-]{1,16}", 0..8),
            cuts in prop::collection::vec(1_usize..9, 1..40),
            terminator in prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n"]),
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|frame| format!("{frame}{terminator}").into_bytes()).collect();
            let mut framer = lines(terminator);
            let mut rest = stream.as_slice();
            let mut out = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                framer.push(now, at(0));
                out.extend(texts(&mut framer, at(0)));
                rest = later;
            }
            prop_assert_eq!(out, frames);
        }

        #[test]
        fn whatever_comes_frames_stay_within_their_limit_and_memory_does_too(
            pushes in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), 0_u64..300), 0..30),
            kind in 0..3,
            opened in any::<bool>(),
        ) {
            let framing = match kind {
                0 => Framing::Line { terminator: b"\r\n".to_vec() },
                1 => Framing::Length(7),
                _ => Framing::Idle(Duration::from_millis(20)),
            };
            let mut framer = Framer::new(framing, 16);
            let mut now = 1_000;
            if opened {
                framer.opened(at(now));
            }
            for (bytes, pause) in pushes {
                now += pause;
                framer.push(&bytes, at(now));
                for frame in all(&mut framer, at(now)).into_iter().flatten() {
                    prop_assert!(!frame.is_empty() && frame.len() <= 16);
                    prop_assert!(kind != 1 || frame.len() == 7);
                }
                prop_assert!(framer.fragment().len() <= 16 + 3);
            }
        }

        #[test]
        fn noise_before_an_answer_never_spoils_it_when_the_line_was_at_rest(
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut framer = lines("\n");
            framer.push(&noise, at(0));
            framer.only_later(at(100));
            framer.push(b"12.5\n", at(120));
            prop_assert_eq!(texts(&mut framer, at(120)), ["12.5"]);
        }
    }
}
