//! What the numbers of frames tell: which were lost on the way, which came twice.

use super::frames::RawFrame;
use crate::device::drone::wire::Node;

/// Whose numbers are followed; who was silent the longest makes room for others.
const SENDERS: usize = 32;

/// Counts of frames that did not come once and in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gaps {
    /// Numbers that were left out, that is frames that got lost (or damaged).
    pub lost: u64,
    /// The same frame once more.
    pub duplicated: u64,
    /// Overtaken by a later one; counted as lost before.
    pub late: u64,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    from: Node,
    sequence: u8,
    checksum: u16,
}

/// Follows the numbers of each sender.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    /// Who was heard last comes last.
    last: Vec<Last>,
    gaps: Gaps,
}

impl Sequences {
    /// Notes a frame. `false` if it is the one before once more, which tells nothing new.
    pub fn follow(&mut self, frame: &RawFrame) -> bool {
        let now = Last {
            from: frame.from(),
            sequence: frame.sequence(),
            checksum: frame.checksum(),
        };
        let Some(at) = self.last.iter().position(|last| last.from == now.from) else {
            if self.last.len() >= SENDERS {
                self.last.remove(0);
            }
            self.last.push(now);
            return true;
        };
        let last = self.last.remove(at);
        let ahead = now.sequence.wrapping_sub(last.sequence);
        let (keep, is_new) = match ahead {
            0 if now.checksum == last.checksum => {
                self.gaps.duplicated += 1;
                (last, false)
            }
            // The number of another frame, or of one from before: it stays where it is.
            0 | 128.. => {
                self.gaps.late += 1;
                // A sender that began anew goes on from its own number.
                (if ahead < 224 { now } else { last }, true)
            }
            1..128 => {
                self.gaps.lost += u64::from(ahead - 1);
                (now, true)
            }
        };
        self.last.push(keep);
        is_new
    }

    /// Notes what may be a frame of a message that is not known: it is, if it is the next of a sender.
    pub fn follow_unchecked(&mut self, from: Node, sequence: u8) -> bool {
        let next = |last: &&mut Last| last.from == from && sequence.wrapping_sub(last.sequence) == 1;
        match self.last.iter_mut().find(next) {
            Some(last) => {
                last.sequence = sequence;
                true
            }
            None => false,
        }
    }

    /// The counts so far.
    pub fn gaps(&self) -> Gaps {
        self.gaps
    }

    /// A new connection: what was lost in between is not counted.
    pub fn reset(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(system: u8, sequence: u8, content: u8) -> RawFrame {
        let from = Node { system, component: 1 };
        RawFrame::new(from, sequence, 0, 50, &[content; 9], false)
    }

    fn follow(numbers: &[u8]) -> Gaps {
        let mut sequences = Sequences::default();
        for &number in numbers {
            sequences.follow(&frame(1, number, number));
        }
        sequences.gaps()
    }

    #[test]
    fn gaps_repetitions_and_late_ones_are_counted() {
        assert_eq!(follow(&[254, 255, 0, 1]), Gaps::default());
        let gaps = |lost, duplicated, late| Gaps {
            lost,
            duplicated,
            late,
        };
        assert_eq!(follow(&[1, 2, 5]), gaps(2, 0, 0));
        assert_eq!(follow(&[1, 2, 2, 3]), gaps(0, 1, 0));
        assert_eq!(follow(&[250, 1]), gaps(6, 0, 0));
        assert_eq!(
            follow(&[1, 3, 2, 4]),
            gaps(1, 0, 1),
            "3 overtook 2, nothing else is missing"
        );
        assert_eq!(follow(&[200, 0, 1, 2]), gaps(55, 0, 0), "restarted");
        assert_eq!(
            follow(&[100, 0, 1, 2]),
            gaps(0, 0, 1),
            "restarted, told from lost frames"
        );
    }

    #[test]
    fn each_sender_counts_for_itself_and_only_repetitions_are_nothing_new() {
        let mut sequences = Sequences::default();
        assert!(sequences.follow(&frame(1, 7, 1)));
        assert!(sequences.follow(&frame(2, 90, 1)));
        assert!(sequences.follow(&frame(1, 8, 1)));
        assert!(!sequences.follow(&frame(1, 8, 1)));
        assert!(
            sequences.follow(&frame(1, 8, 2)),
            "the same number, another content"
        );
        assert_eq!(sequences.gaps().duplicated, 1);
        assert_eq!(sequences.gaps().lost, 0);
    }

    #[test]
    fn unknown_messages_fill_their_place_and_noise_does_not() {
        let mut sequences = Sequences::default();
        let from = Node {
            system: 1,
            component: 1,
        };
        assert!(!sequences.follow_unchecked(from, 5), "never heard");
        sequences.follow(&frame(1, 4, 0));
        assert!(sequences.follow_unchecked(from, 5));
        assert!(!sequences.follow_unchecked(from, 200));
        sequences.follow(&frame(1, 6, 0));
        assert_eq!(sequences.gaps(), Gaps::default());
    }

    #[test]
    fn inventing_senders_costs_no_memory() {
        let mut sequences = Sequences::default();
        for system in 0..=255 {
            sequences.follow(&frame(system, 1, 0));
        }
        assert_eq!(sequences.last.len(), SENDERS);
        assert!(!sequences.follow(&frame(255, 1, 0)));
    }
}
