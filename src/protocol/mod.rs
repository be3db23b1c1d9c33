//! What goes over the wire: identities, envelopes, the data model, every request and answer, and the dialects
//! that give them names and shapes. Pure: no I/O, no clock, no tokio.
//!
//! A request travels in a straight line, the same over every transport and in both dialects:
//!
//! ```text
//! bytes > Envelope::parse > caller (signature → id) > dialect.decode > Request > (service) > Answer > dialect.encode > bytes
//! ```
//!
//! Sections named “1.5” or “RD 1.5” are those of `docs/protocol/runtime-dialect.md`.

pub mod base64;
pub mod control;
pub mod dialect;
pub mod envelope;
pub mod failure;
pub mod identity;
pub mod json;
pub mod model;
pub mod request;
pub mod time;

pub use envelope::{Envelope, Reply};
pub use failure::{Failure, Refusal};
pub use identity::PrivateKey;
pub use request::{Answer, Kind, Request};
pub use time::Time;
