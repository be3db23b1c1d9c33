//! Private keys on disk: 64 hex digits, readable by their owner alone, made once and never written over.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::protocol::PrivateKey;
use crate::protocol::identity::BadKey;

/// Why a key file can't be used. Never shows what is in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("there is no key file {}; give its right place, or make one with `outpost keys new --out {}`", .0.display(), .0.display())]
    Missing(PathBuf),
    /// Others may read it.
    #[error("the key file {} is open to others (mode {mode:03o}); close it with `chmod 600 {}`, and change the key if others may have read it", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no key.
    #[error("{} is no key file: {cause}; it should hold 64 hex digits and nothing else", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: BadKey,
    },
    /// It can't be read or made.
    #[error("can't {what} the key file {}: {cause}", path.display())]
    Io {
        /// `read` or `make`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A new key needs random numbers, and the kernel gives none.
    #[error("can't make a key: the kernel gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What is read of a file at most: a key with its line end and some white space.
const LONGEST: u64 = 256;

/// Permission bits that let others in.
const OTHERS: u32 = 0o077;

/// Reads a key.
///
/// # Errors
/// [`KeyFileError`]; a file that others may read is refused.
pub fn load(path: &Path) -> Result<PrivateKey, KeyFileError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
        _ => KeyFileError::Io {
            what: "read",
            path: path.to_owned(),
            cause,
        },
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).map_err(failed)?;
    PrivateKey::from_hex(String::from_utf8_lossy(&text).trim()).map_err(|cause| KeyFileError::Content {
        path: path.to_owned(),
        cause: hide(cause),
    })
}

/// A wrong digit may be part of a secret that was meant for another file: it is not repeated.
fn hide(cause: BadKey) -> BadKey {
    match cause {
        BadKey::Hex(_) => BadKey::Length,
        other => other,
    }
}

/// Reads a key, or makes one where there is none; `true` if it was made.
///
/// A key is written whole or not at all, also through a power cut, and never over another: of two programs that
/// make the same file at once, both get the key of the first.
///
/// # Errors
/// [`KeyFileError`]
pub fn load_or_create(path: &Path) -> Result<(PrivateKey, bool), KeyFileError> {
    match load(path) {
        Err(KeyFileError::Missing(_)) => {}
        other => return other.map(|key| (key, false)),
    }
    let key = generate()?;
    match create(path, &key) {
        Ok(()) => Ok((key, true)),
        Err(KeyFileError::Io { cause, .. }) if cause.kind() == io::ErrorKind::AlreadyExists => {
            load(path).map(|key| (key, false))
        }
        Err(other) => Err(other),
    }
}

/// A new key out of the kernel's random numbers.
///
/// # Errors
/// [`KeyFileError::Random`]
pub fn generate() -> Result<PrivateKey, KeyFileError> {
    PrivateKey::generate(|| {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map(|()| bytes)
    })
    .map_err(KeyFileError::Random)
}

/// Writes a key to a file that does not exist yet; folders above it are made, for their owner alone.
///
/// # Errors
/// [`KeyFileError::Io`], of kind `AlreadyExists` where there is such a file.
pub fn create(path: &Path, key: &PrivateKey) -> Result<(), KeyFileError> {
    write_new(path, key).map_err(|cause| KeyFileError::Io {
        what: "make",
        path: path.to_owned(),
        cause,
    })
}

fn write_new(path: &Path, key: &PrivateKey) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".new-{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    // One that a crashed process of the same number left.
    let _ = fs::remove_file(&unfinished);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    let written = writeln!(file, "{}", key.to_hex())
        .and_then(|()| file.sync_all())
        // Unlike renaming, linking fails where there is a file already.
        .and_then(|()| fs::hard_link(&unfinished, path));
    fs::remove_file(&unfinished)?;
    written?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/agent.key");
        let (key, made) = load_or_create(&path).unwrap();
        assert!(made);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777,
            0o700
        );
        assert_eq!(load_or_create(&path).unwrap(), (key.clone(), false));
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing unfinished is left"
        );

        let error = create(&path, &generate().unwrap()).unwrap_err();
        assert!(error.to_string().contains("can't make the key file"), "{error}");
        assert_eq!(load(&path).unwrap(), key, "nothing was written over");
    }

    #[test]
    fn a_key_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.key");
        load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(
                error.contains(&format!("mode {mode:03o}")) && error.contains("chmod 600"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_key_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.key");
        let error = load(&path).unwrap_err().to_string();
        assert!(
            error.contains("there is no key file") && error.contains("outpost keys new"),
            "{error}"
        );
        for content in ["", "secret-password", &"0".repeat(64), &"22".repeat(33), "zz"] {
            let _ = fs::remove_file(&path);
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)
                .unwrap();
            fs::write(&path, content).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains("agent.key is no key file"), "{error}");
            assert!(content.is_empty() || !error.contains(content), "{error}");
        }
        fs::write(&path, format!("  {}\r\n", "22".repeat(32).to_uppercase())).unwrap();
        assert_eq!(
            load(&path).unwrap().to_hex(),
            "22".repeat(32),
            "white space and case do not matter"
        );
    }
}
