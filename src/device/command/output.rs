//! What a program wrote, bounded: the beginning and the end are kept, and it says how much is missing between.

use std::collections::VecDeque;

/// Takes output in pieces of any size and keeps at most its cap (and one line that says what was dropped).
#[derive(Debug)]
pub struct Collector {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_cap: usize,
    tail_cap: usize,
    dropped: u64,
}

impl Collector {
    /// Keeps `cap` bytes: half of them from the beginning, half from the end.
    pub fn new(cap: usize) -> Self {
        let tail_cap = cap / 2;
        Collector {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_cap: cap - tail_cap,
            tail_cap,
            dropped: 0,
        }
    }

    /// Takes a piece. NUL bytes are left out (docs/protocol/runtime-dialect.md, section 6) and do not count.
    pub fn push(&mut self, piece: &[u8]) {
        for part in piece.split(|&byte| byte == 0) {
            self.push_clean(part);
        }
    }

    fn push_clean(&mut self, piece: &[u8]) {
        let room = self.head_cap - self.head.len();
        let (first, rest) = piece.split_at(room.min(piece.len()));
        self.head.extend_from_slice(first);
        // Of a piece longer than the tail only its end can stay.
        let skipped = rest.len().saturating_sub(self.tail_cap);
        let kept = &rest[skipped..];
        let over = (self.tail.len() + kept.len()).saturating_sub(self.tail_cap);
        self.tail.drain(..over);
        self.tail.extend(kept);
        self.dropped += (skipped + over) as u64;
    }

    /// How many bytes are missing.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Everything that was kept, as text: what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        if self.dropped == 0 {
            let mut all = self.head.clone();
            all.extend(&self.tail);
            return into_text(all);
        }
        // Characters that the cut went through are left out rather than replaced.
        let head_end = self.head.len() - cut_at_end(&self.head);
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let tail_start = tail
            .iter()
            .take(3)
            .take_while(|&&byte| is_continuation(byte))
            .count();
        let cut = self.dropped + (self.head.len() - head_end + tail_start) as u64;
        format!(
            "{}\n[outpost: {cut} bytes left out here]\n{}",
            String::from_utf8_lossy(&self.head[..head_end]),
            String::from_utf8_lossy(&tail[tail_start..])
        )
    }

    /// The last line that is not empty, at most so many characters of it.
    pub fn last_line(&self, most: usize) -> Option<String> {
        let text = self.text();
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        let mut short: String = line.chars().take(most).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        Some(short)
    }
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// How many bytes at the end belong to a character that goes on beyond it.
fn cut_at_end(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        if is_continuation(byte) {
            continue;
        }
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collected(cap: usize, pieces: &[&[u8]]) -> Collector {
        let mut collector = Collector::new(cap);
        for piece in pieces {
            collector.push(piece);
        }
        collector
    }

    #[test]
    fn up_to_the_cap_everything_stays_and_one_more_is_said() {
        let full = collected(10, &[b"01234", b"56789"]);
        assert_eq!((full.text().as_str(), full.dropped()), ("0123456789", 0));
        let over = collected(10, &[b"01234", b"56789", b"a"]);
        assert_eq!(over.text(), "01234\n[outpost: 1 bytes left out here]\n6789a");
        assert_eq!(over.dropped(), 1);
        let none = collected(0, &[b"abc"]);
        assert_eq!(none.text(), "\n[outpost: 3 bytes left out here]\n");
    }

    #[test]
    fn nul_bytes_go_and_bad_utf8_is_replaced() {
        let text = collected(100, &[b"a\0b\0", b"\0c\xFFd"]).text();
        assert_eq!(text, "abc\u{FFFD}d");
        assert_eq!(collected(2, &[&[0; 50]]).dropped(), 0);
    }

    #[test]
    fn a_character_split_between_pieces_stays_whole_and_one_cut_by_the_cap_is_left_out() {
        let euro = "€".as_bytes();
        assert_eq!(collected(9, &[&euro[..1], &euro[1..]]).text(), "€");
        // Head of 4: `€` and one byte of the next; tail of 4: the last byte of one and `€`.
        let text = collected(8, &["€€€€".as_bytes()]).text();
        assert_eq!(text, "€\n[outpost: 6 bytes left out here]\n€");
    }

    #[test]
    fn the_last_line_is_found() {
        let collector = collected(100, &[b"one\ntwo \xE2\x82\xAC three\n \n\n"]);
        assert_eq!(collector.last_line(100).as_deref(), Some("two € three"));
        assert_eq!(collector.last_line(3).as_deref(), Some("two…"));
        assert_eq!(collected(9, &[b"\n"]).last_line(9), None);
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_counts_right(cap in 0_usize..64, pieces in proptest::collection::vec(proptest::collection::vec(1_u8..128, 0..40), 0..12)) {
            let mut collector = Collector::new(cap);
            for piece in &pieces {
                collector.push(piece);
            }
            let all = pieces.concat();
            let kept = collector.head.len() + collector.tail.len();
            prop_assert_eq!(kept as u64 + collector.dropped(), all.len() as u64);
            prop_assert_eq!(kept, all.len().min(cap));
            prop_assert!(all.starts_with(&collector.head));
            let tail: Vec<u8> = collector.tail.iter().copied().collect();
            prop_assert!(all.ends_with(&tail));
        }

        #[test]
        fn no_bytes_panic_and_no_nul_is_left(cap in 0_usize..40, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut collector = Collector::new(cap);
            collector.push(&bytes);
            prop_assert!(!collector.text().contains('\0'));
        }
    }
}
