//! Why a request is refused: the cause in our words, and what the wire says of it.

use super::identity::BadSignature;
use super::json::JsonError;
use super::model::ProcessState;

/// What the wire says: an HTTP status and a text (RD 1.3, “Failure JSON”).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status, repeated in the payload. 200 in a failed assign.
    pub status: u16,
    /// The text.
    pub message: String,
}

/// The cause of a refusal, without a dialect's words; a dialect turns it into a [`Failure`], and a client turns
/// the [`Failure`] back as far as the words allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The envelope is not JSON, or its members are of a wrong type.
    BadEnvelope(JsonError),
    /// The body is larger than this server takes.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The signature is malformed or nothing can be recovered from it.
    BadSignature(BadSignature),
    /// No such message type.
    UnknownKind,
    /// The payload is not JSON, or its members are of a wrong type.
    BadPayload,
    /// The payload's own type is not that of the envelope.
    KindMismatch,
    /// The object that the message is about is not in it.
    Missing,

    /// Only the server's owner may.
    NotServerOwner,
    /// Only the colony's owner may; also what a stranger gets where owner or runtime may.
    NotColonyOwner,
    /// No such colony.
    UnknownColony {
        /// As asked for.
        colony_id: String,
    },
    /// The caller is no registered runtime.
    NotMember {
        /// The caller.
        caller: String,
        /// As asked for.
        colony_id: String,
    },
    /// The caller is a runtime of another colony.
    OtherColony {
        /// The caller.
        caller: String,
        /// As asked for.
        colony_id: String,
    },
    /// The caller is a runtime that is pending or rejected.
    NotApproved {
        /// The caller.
        caller: String,
    },
    /// Only the runtime that executes the process may.
    NotAssigned {
        /// Who executes or executed it; may be empty.
        assigned: String,
    },

    /// What the message names by id does not exist.
    Unknown,
    /// The attribute does not exist (its own status in the runtime dialect).
    UnknownAttribute,
    /// The process of the attribute does not exist.
    UnknownAttributeProcess,
    /// A colony id is not 64 bytes long.
    ColonyIdLength,
    /// The id exists already.
    Duplicate {
        /// Of what: `colonies`, `runtimes`, `attributes`, `generators`.
        table: &'static str,
    },
    /// A whole number that can't be stored (32 bits).
    OutOfRange {
        /// The number.
        value: i64,
    },
    /// A NUL character in a text that is stored.
    NulCharacter,
    /// More than [`super::request::MAX_COUNT`] asked for.
    CountTooLarge,
    /// A negative count.
    NegativeCount,
    /// No such state.
    UnknownState,
    /// Assign with timeout 0.
    ZeroTimeout,
    /// No process waits for this runtime; not an error but how the original says it.
    NothingToAssign {
        /// The caller.
        caller: String,
    },
    /// A process can't be closed as `to` when it is `from`.
    WrongState {
        /// What it is.
        from: ProcessState,
        /// What it should become.
        to: ProcessState,
    },

    /// This server does not do that.
    Unsupported,
    /// The server can't answer now (storage fails, too many waiters): try again later.
    Unavailable {
        /// For the operator.
        reason: String,
    },
}
