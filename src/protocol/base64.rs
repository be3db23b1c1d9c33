//! Standard base64 with padding, read as leniently as the original does (RD 1.4).

use ::base64::Engine;
use ::base64::alphabet;
use ::base64::engine::DecodePaddingMode;
use ::base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// Trailing bits of the last group are not checked, as in the original.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Writes the standard alphabet with padding, without line breaks.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads as the original does: line breaks are skipped, reading stops silently at the first character that does
/// not belong, and only whole groups count. What is cut off so is left to the JSON reader to refuse.
pub fn decode(text: &str) -> Vec<u8> {
    let unbroken: Vec<u8> = text
        .bytes()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let legal = unbroken
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')))
        .unwrap_or(unbroken.len());
    let padding: &[u8] = match legal % 4 {
        2 => b"==",
        3 => b"=",
        _ => b"",
    };
    let whole = if !padding.is_empty() && unbroken[legal..].starts_with(padding) {
        legal + padding.len()
    } else {
        legal - legal % 4
    };
    LENIENT.decode(&unbroken[..whole]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_the_original_does() {
        assert_eq!(decode("e30="), b"{}");
        assert_eq!(decode("e3\r\n0=\n"), b"{}", "line breaks are skipped");
        assert_eq!(decode("e30"), b"", "unpadded: the last group is lost");
        assert_eq!(
            decode("aGVsbG8!e30="),
            b"hel",
            "stops at the first illegal character"
        );
        assert_eq!(decode("aGVs_-8="), b"hel", "the URL-safe alphabet is illegal");
        assert_eq!(decode(""), b"");
        assert_eq!(decode("="), b"");
        assert_eq!(decode("e30=e30="), b"{}", "nothing is read after the padding");
        assert_eq!(decode("e31="), b"{}", "trailing bits are not checked");
        assert_eq!(encode(b"{}"), "e30=");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(decode(&encode(&bytes)), bytes);
        }

        #[test]
        fn any_text_is_survived(text: String) {
            decode(&text);
        }
    }
}
