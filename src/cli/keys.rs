//! Private keys: where they come from, and making new ones.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::keyfile::{self, KeyFileError};
use crate::protocol::PrivateKey;

/// Where a key comes from. Read only when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A key file.
    File(PathBuf),
    /// An environment variable that holds the key itself.
    Variable {
        /// Its name.
        name: &'static str,
        /// What it holds.
        hex: Hidden,
    },
}

/// A text that is not shown, not even by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("…")
    }
}

impl KeySource {
    /// Reads the key.
    pub fn read(&self) -> Result<PrivateKey, CliError> {
        match self {
            KeySource::File(path) => read(path),
            KeySource::Variable { name, hex } => PrivateKey::from_hex(hex.0.trim()).map_err(|error| {
                CliError::usage(format!(
                    "{name} is not a private key: {error}; it should be 64 hex digits"
                ))
            }),
        }
    }
}

/// Reads a key file, or standard input for `-`.
pub fn read(path: &Path) -> Result<PrivateKey, CliError> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(1024)
            .read_to_string(&mut text)
            .map_err(|error| CliError::usage(format!("cannot read a key from standard input: {error}")))?;
        return PrivateKey::from_hex(text.trim()).map_err(|error| {
            CliError::usage(format!(
                "standard input is not a private key: {error}; it should be 64 hex digits"
            ))
        });
    }
    keyfile::load(path).map_err(|error| CliError::usage(error.to_string()))
}

/// Makes a key in a new file that only its owner can read.
pub fn make(path: &Path) -> Result<PrivateKey, CliError> {
    let key = PrivateKey::generate(|| {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map(|()| bytes)
    })
    .map_err(|error| {
        CliError::usage(format!(
            "cannot make a key, the system gives no randomness: {error}"
        ))
    })?;
    keyfile::store(path, &key).map_err(|error| match error {
        KeyFileError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => CliError::usage(format!(
            "{} is there already and stays as it is; name another file (outpost keys id prints the id of a key)",
            path.display()
        )),
        error => CliError::usage(error.to_string()),
    })?;
    Ok(key)
}

/// Reads a key file, or makes one where there is none.
pub fn read_or_make(path: &Path) -> Result<PrivateKey, CliError> {
    keyfile::load_or_create(path).map_err(|error| CliError::usage(error.to_string()))
}

/// Makes a directory for keys and configuration, readable by its owner alone.
pub fn make_directory(path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt;
    if path == Path::new("") || path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| CliError::usage(format!("cannot make the directory {}: {error}", path.display())))
}
