//! JSON as the original reads and writes it (RD 1.5).
//!
//! Reading takes two steps: [`read()`] makes a tree out of bytes, as tolerant as the original (invalid UTF-8 and lone
//! surrogates become U+FFFD) and as strict (nothing after the value, a bounded depth); the typed step hands
//! the tree to serde with the original's rules (names in any case, the last duplicate wins, `null` is the zero
//! value, integers only as integers), which serde_json's own deserializer does not have.

mod read;
mod typed;
mod write;

pub use read::{MAX_DEPTH, Value, read};
pub use typed::{from_slice, from_value};
pub use write::{to_compact, to_indented};

/// Why bytes are not the JSON that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends within a value.
    #[error("unexpected end of JSON input")]
    End,
    /// A byte that can't stand there.
    #[error("invalid character {} {expected} (byte {at})", quoted(*byte))]
    Character {
        /// The byte.
        byte: u8,
        /// Where, counted from 0.
        at: usize,
        /// What was being read, in the original's words.
        expected: &'static str,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested more than {MAX_DEPTH} levels deep (byte {at})")]
    Depth {
        /// Where, counted from 0.
        at: usize,
    },
    /// JSON, but not of the expected shape.
    #[error("{0}")]
    Shape(String),
}

fn quoted(byte: u8) -> String {
    match byte {
        0x20..=0x7e => format!("'{}'", char::from(byte)),
        _ => format!("0x{byte:02x}"),
    }
}

impl serde::de::Error for JsonError {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        JsonError::Shape(text.to_string())
    }
}
