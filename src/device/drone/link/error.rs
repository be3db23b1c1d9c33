//! Why a link is down, with the remedy.

use std::io;
use std::time::Duration;

use super::address::Address;
use crate::device::duration::format_duration;
use crate::device::serial::SerialError;

/// Why a link is down. It is opened again by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The serial port.
    #[error(transparent)]
    Serial(#[from] SerialError),
    /// Nobody is there.
    #[error("can't reach {address}: {cause}; is the simulator or router running, and is port right?")]
    Unreachable {
        /// The address.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// It can't be listened at.
    #[error(
        "can't listen at {address}: {cause}; it must be an address of this machine that no other program has"
    )]
    NotOurs {
        /// The address.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// Opening took too long.
    #[error("{address} does not open within {}: it is tried on", format_duration(*waited))]
    OpenTimedOut {
        /// The address.
        address: String,
        /// How long it was given.
        waited: Duration,
    },
    /// The other side hung up, or the network failed.
    #[error(
        "{address} was closed ({cause}): it is opened again as soon as somebody is there; is the simulator or router running?"
    )]
    Closed {
        /// The address.
        address: String,
        /// `end of the stream`, or what the system said.
        cause: String,
    },
    /// What was to be sent is not taken.
    #[error("{address} takes no bytes for {}: the other side does not read", format_duration(*waited))]
    Held {
        /// The address.
        address: String,
        /// How long it was given.
        waited: Duration,
    },
    /// A connection over which nothing comes.
    #[error("nothing came over {address} for {}: it is opened again", format_duration(*waited))]
    Silent {
        /// The address.
        address: String,
        /// How long it was silent.
        waited: Duration,
    },
}

impl LinkError {
    /// Whether it says that nobody is at the other end: a port that goes says so, and then each attempt to open it, in other words.
    pub fn is_absence(&self) -> bool {
        match self {
            LinkError::Serial(cause) => cause.is_absence(),
            LinkError::Closed { .. } | LinkError::Unreachable { .. } => true,
            _ => false,
        }
    }

    pub(super) fn connecting(address: &Address, cause: &io::Error) -> Self {
        LinkError::Unreachable {
            address: address.to_string(),
            cause: cause.to_string(),
        }
    }

    pub(super) fn listening(address: &Address, cause: &io::Error) -> Self {
        LinkError::NotOurs {
            address: address.to_string(),
            cause: cause.to_string(),
        }
    }

    /// The end of an open port. A serial port that is unplugged ends in EIO or in no bytes.
    pub(super) fn closed(address: &Address, cause: Option<&io::Error>) -> Self {
        match address {
            Address::Serial { path, .. } => SerialError::Unplugged { path: path.clone() }.into(),
            _ => LinkError::Closed {
                address: address.to_string(),
                cause: cause.map_or_else(|| "end of the stream".to_owned(), io::Error::to_string),
            },
        }
    }
}
