//! The dialects: names and shapes on the wire for the requests and answers of [`super::request`].
//!
//! Each dialect is one module with the same functions; [`Dialect`] chooses between them. A second dialect
//! (`docs/protocol/executor-dialect.md`) is one more module and one more arm in each `match`.

mod runtime;

use super::failure::{Failure, Refusal};
use super::json::JsonError;
use super::model::{Attribute, ProcessSpec};
use super::request::{Answer, Kind, Request};

/// A value that a success tells.
///
/// Each is read apart from the others, so that a program carries no readers of what it never asks for.
pub trait Told: Sized {
    /// Reads it as the runtime dialect writes it.
    ///
    /// # Errors
    /// It is something else.
    fn in_runtime_dialect(payload: &[u8]) -> Result<Self, JsonError>;
}

/// Which generation of the protocol is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// August 2022: workers are *runtimes* (`docs/protocol/runtime-dialect.md`).
    #[default]
    Runtime,
}

impl Dialect {
    /// Which request a payload type names, subscriptions included.
    pub fn kind(self, payload_type: &str) -> Option<Kind> {
        match self {
            Dialect::Runtime => runtime::kind(payload_type),
        }
    }

    /// The payload type that names a request.
    pub fn payload_type(self, kind: Kind) -> &'static str {
        match self {
            Dialect::Runtime => runtime::words(kind).payload_type,
        }
    }

    /// A request's payload.
    pub fn encode_request(self, request: &Request) -> Vec<u8> {
        match self {
            Dialect::Runtime => runtime::encode_request(request),
        }
    }

    /// Reads a payload whose envelope names `kind`.
    ///
    /// # Errors
    /// [`Refusal::BadPayload`], [`Refusal::KindMismatch`] or [`Refusal::Missing`].
    pub fn decode_request(self, kind: Kind, payload: &[u8]) -> Result<Request, Refusal> {
        match self {
            Dialect::Runtime => runtime::decode_request(kind, payload),
        }
    }

    /// An answer's payload.
    pub fn encode_answer(self, kind: Kind, answer: &Answer) -> Vec<u8> {
        match self {
            Dialect::Runtime => runtime::encode_answer(kind, answer),
        }
    }

    /// Reads the payload of a success, of which the caller knows what it tells.
    ///
    /// # Errors
    /// It tells something else.
    pub fn read<T: Told>(self, payload: &[u8]) -> Result<T, JsonError> {
        match self {
            Dialect::Runtime => T::in_runtime_dialect(payload),
        }
    }

    /// Reads the payload of the answer to a request of `kind`.
    ///
    /// # Errors
    /// It is not what answers such a request.
    pub fn decode_answer(self, kind: Kind, payload: &[u8]) -> Result<Answer, JsonError> {
        match self {
            Dialect::Runtime => runtime::decode_answer(kind, payload),
        }
    }

    /// How a refusal is said: status and text. `kind` is `None` where the envelope did not tell.
    pub fn failure(self, kind: Option<Kind>, refusal: &Refusal) -> Failure {
        match self {
            Dialect::Runtime => runtime::failure(kind, refusal),
        }
    }

    /// What a failure that answers a request of `kind` means, as far as its words tell.
    pub fn refusal(self, kind: Kind, failure: &Failure) -> Option<Refusal> {
        match self {
            Dialect::Runtime => runtime::refusal(kind, failure),
        }
    }

    /// The id that an attribute gets: derived from its target, key and kind (RD 5.6).
    pub fn attribute_id(self, attribute: &Attribute) -> String {
        match self {
            Dialect::Runtime => runtime::attribute_id(attribute),
        }
    }

    /// Reads a process spec as people write it to a file, with the rules of the wire.
    ///
    /// # Errors
    /// It is no JSON object of that shape.
    pub fn read_spec(self, text: &[u8]) -> Result<ProcessSpec, JsonError> {
        match self {
            Dialect::Runtime => runtime::read_spec(text),
        }
    }

    /// Members of a process spec in a file that nobody reads: misspelt ones, since the protocol ignores what it does not
    /// know. Those of its conditions begin with `conditions.`.
    pub fn strangers_in_spec(self, text: &[u8]) -> Vec<String> {
        match self {
            Dialect::Runtime => runtime::strangers_in_spec(text),
        }
    }

    /// An answer for people and scripts to read: indented JSON with the dialect's names.
    pub fn show(self, answer: &Answer) -> Vec<u8> {
        match self {
            Dialect::Runtime => runtime::show(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_in_a_spec_is_told() {
        let strangers = |text: &str| Dialect::Runtime.strangers_in_spec(text.as_bytes());
        assert_eq!(
            strangers(
                r#"{"Func":"f","MAXEXECTIME":1,"maxexecktime":5,"env":{"any":"x"},"conditions":{"runtimetype":"cli","runtimeid":[]}}"#
            ),
            ["maxexecktime", "conditions.runtimeid"]
        );
        for text in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"conditions":7}"#,
            r#"{"conditions":null}"#,
        ] {
            assert!(strangers(text).is_empty(), "{text}");
        }
    }
}
