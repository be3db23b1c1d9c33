//! Private keys on disk: 64 hex digits in a file that only its owner can read.
//!
//! A key is made once and never overwritten. Its text goes into the file and nowhere else: no error and no log shows it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::protocol::PrivateKey;
use crate::protocol::identity::BadKey;

/// Why a key file can't be used. Names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there.
    #[error("there is no key file {0}: make one, or name another")]
    Missing(PathBuf),
    /// Others can read it.
    #[error(
        "the key file {path} can be read by others (mode {mode:03o}): run `chmod 600 {path}`, and make a new key if others had access"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no key.
    #[error("the key file {path} holds no private key ({reason}): it must be 64 hex digits on one line")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the text.
        reason: &'static str,
    },
    /// The system refuses.
    #[error("can't {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no randomness.
    #[error("can't make a key, the system gives no randomness: {0}")]
    Entropy(String),
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> KeyFileError + 'a {
    move |source| KeyFileError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// A key file is a line; what is longer is something else.
const LONGEST: u64 = 1024;

/// What nobody but the owner may have, of a file of ours.
const OTHERS: u32 = 0o077;
/// Of a credential the service manager's group may be shown as a reader: where it lets a user in by an access control
/// list, the group's bits show that list's mask (systemd.exec(5), acl(5)).
const OTHERS_OF_A_CREDENTIAL: u32 = 0o037;

/// Reads a key. White space around the digits is tolerated.
///
/// # Errors
/// [`KeyFileError`], above all if anybody but the owner may read the file.
pub fn load(path: &Path) -> Result<PrivateKey, KeyFileError> {
    load_private(path, OTHERS)
}

/// Reads a key that the service manager gave to us alone, in `$CREDENTIALS_DIRECTORY`. It is never made or written.
///
/// # Errors
/// [`KeyFileError`]
pub fn load_credential(path: &Path) -> Result<PrivateKey, KeyFileError> {
    load_private(path, OTHERS_OF_A_CREDENTIAL)
}

fn load_private(path: &Path, forbidden: u32) -> Result<PrivateKey, KeyFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(KeyFileError::Missing(path.to_owned()));
        }
        Err(error) => return Err(failed("open the key file", path)(error)),
    };
    let metadata = file.metadata().map_err(failed("look at the key file", path))?;
    let no_key = |reason| KeyFileError::NoKey {
        path: path.to_owned(),
        reason,
    };
    if !metadata.is_file() {
        return Err(no_key("it is no regular file"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Vec::new();
    file.take(LONGEST)
        .read_to_end(&mut text)
        .map_err(failed("read the key file", path))?;
    let text = std::str::from_utf8(&text).map_err(|_| no_key("it is no text"))?;
    PrivateKey::from_hex(text.trim()).map_err(|error| {
        no_key(match error {
            BadKey::Hex(_) => "something else than hex digits is in it",
            BadKey::Length => "it has another length",
            BadKey::Range => "the number is no key",
        })
    })
}

/// Reads a key, or makes one if the file is not there yet; missing folders are made too, for their owner alone.
///
/// The file appears whole or not at all, also if the power fails. Of two that make it at once both use the same key.
///
/// # Errors
/// [`KeyFileError`]
pub fn load_or_create(path: &Path) -> Result<PrivateKey, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Missing(_)) => {}
        other => return other,
    }
    let key = PrivateKey::generate(|| {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map(|()| bytes)
    })
    .map_err(|error| KeyFileError::Entropy(error.to_string()))?;
    match store(path, &key) {
        Ok(()) => Ok(key),
        // Somebody was faster.
        Err(KeyFileError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => load(path),
        Err(error) => Err(error),
    }
}

/// Writes a key into a new file.
///
/// # Errors
/// [`KeyFileError`]; [`ErrorKind::AlreadyExists`] if the file is there already, whatever it holds.
pub fn store(path: &Path, key: &PrivateKey) -> Result<(), KeyFileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_folder(folder).map_err(failed("make the folder", folder))?;

    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let _ = fs::remove_file(&draft);
    let written = write_new(&draft, key).map_err(failed("write the key file", &draft));
    let placed = written.and_then(|()| place(&draft, path).map_err(failed("make the key file", path)));
    let _ = fs::remove_file(&draft);
    placed?;
    sync_folder(folder).map_err(failed("sync the folder", folder))
}

/// Makes a folder for its owner alone, and what is missing above it; there also after a power cut.
///
/// # Errors
/// Those of the system.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_folder(above)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        // Somebody was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(above),
    }
}

fn write_new(path: &Path, key: &PrivateKey) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(format!("{}\n", key.to_hex()).as_bytes())?;
    file.sync_all()
}

/// Gives the draft its name, unless that is taken.
fn place(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        // A file system without links (FAT on a card); `AlreadyExists` stays what it is.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(rustix::fs::CWD, draft, rustix::fs::CWD, path, flags)?;
            Ok(())
        }
        other => other,
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_is_made_once_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/agent.key");
        assert!(matches!(load(&path), Err(KeyFileError::Missing(_))));
        let made = load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777,
            0o700
        );
        assert_eq!(load_or_create(&path).unwrap(), made);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", made.to_hex()));
        let files: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(files.len(), 1, "no draft is left");
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.key");
        let first = load_or_create(&path).unwrap();
        let second = PrivateKey::from_hex(&"22".repeat(32)).unwrap();
        let error = store(&path, &second).unwrap_err();
        assert!(
            matches!(&error, KeyFileError::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists)
        );
        assert_eq!(load(&path).unwrap(), first);
        // Not even one that can't be used.
        fs::write(&path, "garbage").unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyFileError::NoKey { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "garbage");
    }

    #[test]
    fn what_others_can_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let key = load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o610, 0o660, 0o644] {
            chmod(&path, mode);
            let text = load(&path).unwrap_err().to_string();
            assert!(
                text.contains(&format!("chmod 600 {}", path.display())),
                "{mode:o}: {text}"
            );
            assert!(!text.contains(&key.to_hex()));
        }
        for mode in [0o600, 0o400] {
            chmod(&path, mode);
            assert!(load(&path).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_credential_may_show_its_readers_as_a_group_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.key");
        let key = load_or_create(&path).unwrap();
        for mode in [0o400, 0o440, 0o600] {
            chmod(&path, mode);
            assert_eq!(load_credential(&path).unwrap(), key, "{mode:o}");
        }
        for mode in [0o444, 0o460, 0o404, 0o450] {
            chmod(&path, mode);
            assert!(
                matches!(load_credential(&path), Err(KeyFileError::Exposed { .. })),
                "{mode:o}"
            );
        }
        let absent = load_credential(&dir.path().join("none"));
        assert!(matches!(absent, Err(KeyFileError::Missing(_))), "it is not made");
    }

    #[test]
    fn errors_name_the_file_and_never_the_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.key");
        for text in [
            "secret-words",
            &"22".repeat(31),
            &"f".repeat(64),
            "",
            &"2".repeat(3000),
        ] {
            fs::write(&path, text).unwrap();
            chmod(&path, 0o600);
            let error = load(&path).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains("b.key"), "{said}");
            assert!(text.is_empty() || !said.contains(text), "{said}");
        }
        fs::write(&path, format!(" {}\r\n", "22".repeat(32))).unwrap();
        assert!(load(&path).is_ok(), "white space around it is tolerated");
        assert!(load(dir.path()).unwrap_err().to_string().contains("regular file"));
    }

    #[test]
    fn of_many_that_make_it_at_once_all_use_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.key");
        // Another process's draft has another name; within one process only one thread makes keys.
        let made = store(&path, &PrivateKey::from_hex(&"22".repeat(32)).unwrap());
        assert!(made.is_ok());
        assert_eq!(load_or_create(&path).unwrap().to_hex(), "22".repeat(32));
    }
}
