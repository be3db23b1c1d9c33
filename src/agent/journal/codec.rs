//! The bytes of the journal's fields: variable-length whole numbers and short texts, nothing self-describing.
//!
//! Ids dominate a journal, so a text of hexadecimal digits or a UUID is stored in half its length.

/// Appends fields to a record.
pub(super) struct Writer<'a>(pub &'a mut Vec<u8>);

/// How a text is stored: the two low bits of its length.
const RAW: u128 = 0;
const HEX: u128 = 1;
const UUID: u128 = 2;

/// Where a UUID has its hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl Writer<'_> {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn unsigned(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Small numbers of either sign stay short.
    pub(super) fn signed(&mut self, number: i128) {
        self.unsigned(((number << 1) ^ (number >> 127)) as u128);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    pub(super) fn text(&mut self, text: &str) {
        let (form, packed) = pack(text);
        let bytes = packed.as_deref().unwrap_or(text.as_bytes());
        self.unsigned((bytes.len() as u128) << 2 | form);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

fn pack(text: &str) -> (u128, Option<Vec<u8>>) {
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let bytes = text.as_bytes();
    let uuid = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| {
            if HYPHENS.contains(&at) {
                *byte == b'-'
            } else {
                lower(byte)
            }
        });
    if uuid {
        return (UUID, hex::decode(text.replace('-', "")).ok());
    }
    if !bytes.is_empty() && bytes.len().is_multiple_of(2) && bytes.iter().all(lower) {
        return (HEX, hex::decode(bytes).ok());
    }
    (RAW, None)
}

/// Takes fields off a record. `None`: these are not the bytes of such a field.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(super) fn unsigned(&mut self) -> Option<u128> {
        let mut number = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if shift > 121 && bits >> (128 - shift) != 0 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn number<T: TryFrom<u128>>(&mut self) -> Option<T> {
        T::try_from(self.unsigned()?).ok()
    }

    pub(super) fn signed(&mut self) -> Option<i128> {
        let number = self.unsigned()?;
        Some((number >> 1) as i128 ^ -((number & 1) as i128))
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let head = self.unsigned()?;
        let bytes = self.bytes(usize::try_from(head >> 2).ok()?)?;
        match head & 3 {
            RAW => String::from_utf8(bytes.to_vec()).ok(),
            HEX => Some(hex::encode(bytes)),
            UUID if bytes.len() == 16 => {
                let mut text = hex::encode(bytes);
                for at in HYPHENS {
                    text.insert(at, '-');
                }
                Some(text)
            }
            _ => None,
        }
    }

    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Some(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut Writer(&mut bytes));
        bytes
    }

    #[test]
    fn ids_take_half_their_length() {
        let process = "0123456789abcdef".repeat(4);
        let bytes = written(|writer| writer.text(&process));
        assert_eq!(bytes.len(), 2 + 32);
        assert_eq!(Reader(&bytes).text().unwrap(), process);
        let boot = "0f9dd27c-c2cf-4a9e-b4bf-0c1d2e3f4a5b";
        let bytes = written(|writer| writer.text(boot));
        assert_eq!(bytes.len(), 1 + 16);
        assert_eq!(Reader(&bytes).text().unwrap(), boot);
    }

    #[test]
    fn what_is_no_number_is_none() {
        assert_eq!(Reader(&[0x80]).unsigned(), None, "ends within");
        assert_eq!(Reader(&[0x80; 30]).unsigned(), None, "never ends");
        let mut most = vec![0xff; 18];
        most.push(0x03);
        assert_eq!(Reader(&most).unsigned(), Some(u128::MAX));
        most[18] = 0x04;
        assert_eq!(Reader(&most).unsigned(), None, "one bit too many");
        assert_eq!(Reader(&[2]).flag(), None);
        assert_eq!(Reader(&[200, 1, b'x']).text(), None, "longer than what is there");
        assert_eq!(Reader(&[2 << 2 | 3, 1, 2]).text(), None, "no such form");
        assert_eq!(Reader(&[1 << 2 | 2, 1]).text(), None, "no UUID");
        assert_eq!(Reader(&[1 << 2, 0xff]).text(), None, "no UTF-8");
    }

    proptest! {
        #[test]
        fn every_number_and_text_is_read_back(unsigned: u128, signed: i128, text: String, hex in "[0-9a-f]{0,70}") {
            let bytes = written(|writer| {
                writer.unsigned(unsigned);
                writer.signed(signed);
                writer.text(&text);
                writer.text(&hex);
                writer.option(Some(7_u8), Writer::byte);
                writer.option(None, Writer::byte);
            });
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.unsigned(), Some(unsigned));
            prop_assert_eq!(reader.signed(), Some(signed));
            prop_assert_eq!(reader.text(), Some(text));
            prop_assert_eq!(reader.text(), Some(hex));
            prop_assert_eq!(reader.option(Reader::byte), Some(Some(7)));
            prop_assert_eq!(reader.option(Reader::byte), Some(None));
            prop_assert!(reader.is_empty());
        }
    }
}
