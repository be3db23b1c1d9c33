//! Bytes, frames, signatures and ports.
//!
//! ```text
//! port (bytes) --> frames (whole, checked) --> signing (is it from who it says) --> codec (what it says) --> Frame
//! Said --> codec --> signing --> port
//! ```

pub mod codec;
mod dialect;
pub mod frames;
pub mod sequence;
mod texts;
