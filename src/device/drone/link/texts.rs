//! STATUSTEXT: long texts come in parts of 50 bytes, and what is shown of them is printable.

use crate::device::drone::wire::Node;

/// Bytes of one part.
pub(super) const PART: usize = 50;
/// A text longer than this many parts is no text.
const MOST_PARTS: u8 = 10;

/// A part as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub from: Node,
    pub severity: u8,
    pub bytes: [u8; PART],
    /// 0: a text of this part alone.
    pub id: u16,
    /// Its place, from 0.
    pub place: u8,
}

/// A text that is whole, or as much of it as came in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub from: Node,
    pub severity: u8,
    pub text: String,
}

#[derive(Debug)]
struct Open {
    from: Node,
    severity: u8,
    id: u16,
    next: u8,
    bytes: Vec<u8>,
    /// Whether it has waited for a while already.
    old: bool,
}

impl Open {
    fn close(self) -> Text {
        Text {
            from: self.from,
            severity: self.severity,
            text: printable(&self.bytes),
        }
    }
}

/// Puts texts together; one at a time, as they are sent.
#[derive(Debug, Default)]
pub(super) struct Texts {
    open: Option<Open>,
}

impl Texts {
    /// Takes a part; answers what is complete by it, at most two texts: one whose next part is missing, and a whole one.
    pub fn take(&mut self, part: &Part) -> [Option<Text>; 2] {
        let end = part.bytes.iter().position(|byte| *byte == 0);
        let bytes = &part.bytes[..end.unwrap_or(PART)];
        let alone = Open {
            from: part.from,
            severity: part.severity,
            id: part.id,
            next: part.place,
            bytes: Vec::new(),
            old: false,
        };
        if part.id == 0 {
            let mut text = alone;
            text.bytes.extend_from_slice(bytes);
            return [None, Some(text.close())];
        }
        let goes_on = |open: &Open| open.from == part.from && open.id == part.id && open.next == part.place;
        let (broken, mut text) = match self.open.take() {
            Some(open) if goes_on(&open) => (None, open),
            other => (other.map(Open::close), alone),
        };
        text.bytes.extend_from_slice(bytes);
        text.next = part.place.saturating_add(1);
        text.old = false;
        let whole = end.is_some() || text.next >= MOST_PARTS;
        if whole {
            return [broken, Some(text.close())];
        }
        self.open = Some(text);
        [broken, None]
    }

    /// To be called now and then: gives up a text whose next part did not come since the last time.
    pub fn give_up(&mut self) -> Option<Text> {
        match &mut self.open {
            Some(open) if !open.old => {
                open.old = true;
                None
            }
            _ => self.open.take().map(Open::close),
        }
    }
}

/// Without what would do something to a terminal or a reader: control characters, and those that change the direction
/// or have no width.
fn printable(bytes: &[u8]) -> String {
    let shown = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
    };
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(shown)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: u16, place: u8, text: &str) -> Part {
        let mut bytes = [0; PART];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Part {
            from: Node {
                system: 1,
                component: 1,
            },
            severity: 4,
            bytes,
            id,
            place,
        }
    }

    fn texts(parts: &[Part]) -> Vec<String> {
        let mut texts = Texts::default();
        let took: Vec<_> = parts.iter().flat_map(|part| texts.take(part)).collect();
        took.into_iter().flatten().map(|text| text.text).collect()
    }

    #[test]
    fn short_ones_are_whole_and_long_ones_are_put_together() {
        let fifty = "x".repeat(50);
        assert_eq!(
            texts(&[part(0, 0, "PreArm: Need Position Estimate")]),
            ["PreArm: Need Position Estimate"]
        );
        assert_eq!(texts(&[part(0, 0, &fifty)]), [fifty.as_str()]);
        assert_eq!(
            texts(&[part(3, 0, &fifty), part(3, 1, " end")]),
            [format!("{fifty} end")]
        );
        assert_eq!(
            texts(&[part(3, 0, &fifty), part(3, 1, "")]),
            [fifty.as_str()],
            "an empty last part"
        );
        let split = format!("{}é", "x".repeat(49));
        let mut parts = [part(3, 0, &"x".repeat(49)), part(3, 1, "")];
        parts[0].bytes[49] = split.as_bytes()[49];
        parts[1].bytes[0] = split.as_bytes()[50];
        assert_eq!(texts(&parts), [split], "a character may lie across the boundary");
    }

    #[test]
    fn what_came_in_order_is_told_where_a_part_is_missing() {
        let fifty = "x".repeat(50);
        let parts = [part(3, 0, &fifty), part(3, 2, "tail"), part(4, 0, "next")];
        assert_eq!(texts(&parts), [fifty.as_str(), "tail", "next"]);
        let endless: Vec<Part> = (0..=255).map(|place| part(3, place, &fifty)).collect();
        assert!(texts(&endless).iter().all(|text| text.len() <= 500));
    }

    #[test]
    fn a_text_whose_end_never_comes_is_given_up() {
        let mut texts = Texts::default();
        let _ = texts.take(&part(3, 0, &"x".repeat(50)));
        assert_eq!(texts.give_up(), None, "its end may be on the way");
        assert_eq!(texts.give_up().unwrap().text, "x".repeat(50));
        assert_eq!(texts.give_up(), None);
    }

    #[test]
    fn only_what_is_printable_is_left() {
        assert_eq!(
            printable(b" a\x1b[31mb\x00\x07\xff\xc3\xa9\xe2\x80\xae\n"),
            "a[31mbé"
        );
    }
}
