//! Bytes, frames, signatures and ports.
//!
//! ```text
//! port (bytes) --> frames (whole, checked) --> signing (is it from who it says) --> codec (what it says) --> Frame
//! Said --> codec --> signing --> outgoing --> port
//! ```
//!
//! | part | what it is |
//! | --- | --- |
//! | [`address`], [`port`] | where an autopilot is, and what opens it |
//! | [`frames`], [`sequence`] | whole frames out of any bytes; what got lost between them |
//! | [`signing`] | signatures, and the timestamps that must rise across boots |
//! | [`codec`] | messages out of frames and back |
//! | [`Link`] | all of that, kept open, with a heartbeat that beats only while somebody pumps |

pub mod address;
pub mod codec;
mod dialect;
mod error;
pub mod frames;
mod outgoing;
pub mod port;
mod pump;
pub mod sequence;
pub mod signing;
mod stamp_file;
mod texts;

pub use address::{Address, AddressError};
pub use error::LinkError;
pub use outgoing::NotSaid;
pub use port::{Dial, SystemDial};
pub use pump::{Ends, Event, Link, Statistics};
pub use signing::{Signing, SigningError, SigningKey};
