//! Why a command did not do what was asked, and the exit code that says so.

use crate::client::{BadTrust, ClientError};

/// Done.
pub const DONE: u8 = 0;
/// The process failed.
pub const PROCESS_FAILED: u8 = 1;
/// Wrong usage or configuration.
pub const USAGE: u8 = 2;
/// The server is unreachable or refuses, or the outcome is not known.
pub const REFUSED: u8 = 3;

/// An error in one sentence that names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Something on this side is wrong: the command line, the configuration, a file.
    #[error("{0}")]
    Usage(String),
    /// The server did not do what was asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is not known whom to trust.
    #[error(transparent)]
    Trust(#[from] BadTrust),
    /// What was asked for did not happen, or it is not known whether it did.
    #[error("{0}")]
    Unfinished(String),
}

impl CliError {
    /// Something on this side is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        CliError::Usage(text.into())
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            CliError::Usage(_) | CliError::Trust(_) => USAGE,
            CliError::Client(_) | CliError::Unfinished(_) => REFUSED,
        }
    }
}
