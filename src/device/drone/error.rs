//! Why a drone's verb did not end well. Texts are sentences for whoever submitted the process.

use super::link::{AddressError, SigningError};

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum DroneError {
    /// It did not leave the ground.
    #[error("not flown: {0}")]
    NotFlown(String),
    /// It is down again, but not as planned.
    #[error("it came back before its time: {why}")]
    Returned {
        /// Why it did not go on.
        why: String,
        /// What was flown, as pairs of attributes.
        flown: Vec<(String, String)>,
    },
    /// Somebody else has it, or nobody hears it.
    #[error("hands off: {why}")]
    HandsOff {
        /// Why.
        why: String,
        /// What was flown until then, as pairs of attributes.
        flown: Vec<(String, String)>,
    },
    /// An order that it did not follow.
    #[error("{0}; take over by remote control")]
    NotHeeded(String),
    /// Its flight can't be noted where it outlives a crash.
    #[error("the note of its flight can't be kept: {0}; look at agent.state_dir")]
    Note(String),
    /// Its port.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Its key, or what it has to keep for it.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Signing without a place for its timestamps.
    #[error("signing_key needs agent.state_dir: MAVLink's timestamps must rise across restarts")]
    NoStateDir,
}

impl DroneError {
    /// What was flown all the same, for attributes of the process.
    pub fn attributes(&self) -> &[(String, String)] {
        match self {
            DroneError::Returned { flown, .. } | DroneError::HandsOff { flown, .. } => flown,
            _ => &[],
        }
    }
}
