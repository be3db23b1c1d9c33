//! Sizes as people write them in settings: `65536`, `"64KiB"`, `"256MiB"`, `"1GiB"`.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// Units and their bytes; decimal ones would only be mistaken for these.
const UNITS: [(&str, u64); 5] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Reads a size: whole decimal digits and a unit.
pub fn parse_size(text: &str) -> Option<Size> {
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*bytes).map(Size)
}

/// Writes a size with the largest unit that fits without remainder.
pub fn format_size(size: Size) -> String {
    let (unit, bytes) = UNITS
        .iter()
        .skip(2)
        .rev()
        .find(|(_, bytes)| size.0 != 0 && size.0.is_multiple_of(*bytes))
        .unwrap_or(&(" bytes", 1));
    format!("{}{unit}", size.0 / bytes)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a size like \"64KiB\", \"256MiB\" or \"1GiB\", or a number of bytes")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                parse_size(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(bytes), &self))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("64KiB", 65_536),
            (" 2 MiB ", 2 << 20),
            ("1GiB", 1 << 30),
            ("17B", 17),
        ] {
            assert_eq!(parse_size(text), Some(Size(bytes)), "{text}");
            assert_eq!(
                parse_size(&format_size(Size(bytes)).replace(" bytes", "")),
                Some(Size(bytes))
            );
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1MB", "1kib", "99999999999GiB", "٣"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(format_size(Size(1536)), "1536 bytes");
        assert_eq!(format_size(Size(64 << 20)), "64MiB");
        let error = serde_json::from_str::<Size>("\"1MB\"").unwrap_err().to_string();
        assert!(error.contains("a size like \"64KiB\""), "{error}");
        assert!(serde_json::from_str::<Size>("-1").is_err());
        assert_eq!(serde_json::from_str::<Size>("7").unwrap(), Size(7));
    }
}
