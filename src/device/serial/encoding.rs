//! Bytes of the line as texts of a process, and back.

use serde::Deserialize;

/// How bytes are written in arguments and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As they are, in UTF-8.
    #[default]
    Text,
    /// Two hexadecimal digits each.
    Hex,
}

impl Encoding {
    /// The bytes that a text stands for; spaces and colons between hexadecimal digits don't count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn bytes(self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Encoding::Text => Ok(text.as_bytes().to_vec()),
            Encoding::Hex => {
                let digits: String = text.chars().filter(|c| !matches!(c, ' ' | ':')).collect();
                hex::decode(&digits).map_err(|fault| {
                    format!("{text:?} is not hexadecimal ({fault}): write bytes like \"01 a0 ff\"")
                })
            }
        }
    }

    /// The text for bytes. What is no UTF-8 becomes U+FFFD, and so does the zero byte, which servers can't store.
    pub fn text(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Text => String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}"),
            Encoding::Hex => hex::encode(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hex_is_read_with_and_without_gaps_and_refused_with_the_reason() {
        assert_eq!(Encoding::Hex.bytes("01 A0:ff").unwrap(), [1, 0xa0, 0xff]);
        assert_eq!(Encoding::Hex.bytes("").unwrap(), [0_u8; 0]);
        for text in ["0", "0g", "01 2"] {
            let error = Encoding::Hex.bytes(text).unwrap_err();
            assert!(
                error.contains("is not hexadecimal") && error.contains("01 a0 ff"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_text_is_marked() {
        assert_eq!(
            Encoding::Text.text(b"12\xff5\0 \xc2\xb0C"),
            "12\u{fffd}5\u{fffd} \u{b0}C"
        );
        assert_eq!(Encoding::Hex.text(&[0, 0xff]), "00ff");
    }

    proptest! {
        #[test]
        fn hex_goes_both_ways(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Encoding::Hex.bytes(&Encoding::Hex.text(&bytes)).unwrap(), bytes);
        }
    }
}
