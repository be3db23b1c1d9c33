//! One instance per state directory (docs/fence.md, 6): two agents over one journal would each begin what the other has begun.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The file that is locked. It stays when the lock goes: removing it would let two hold “the” lock.
const FILE: &str = "lock";

/// A state directory is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a state directory can't be ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{} is in use by {}: only one outpost-agent may work in a state directory; stop that one, or give this one its own `state_dir`",
        path.display(), holder(*pid)
    )]
    Held {
        /// The state directory.
        path: PathBuf,
        /// Who has it, as far as it said.
        pid: Option<u32>,
    },
    /// The directory or its lock file can't be opened.
    #[error("can't lock {}: {source}", path.display())]
    Io {
        /// What could not be opened or made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Lock {
    /// Takes the lock of a state directory, or fails at once.
    ///
    /// # Errors
    /// Another process has it, or the lock file can't be opened.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(FILE);
        let io = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let (mut file, writable) = match options.open(&path) {
            Ok(file) => (file, true),
            // A card that the kernel has made read-only must not keep the agent from making devices safe.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                (File::open(&path).map_err(io)?, false)
            }
            Err(error) => return Err(io(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // Only to name the holder: unreadable is as good as unknown.
                let _ = file.read_to_string(&mut text);
                return Err(LockError::Held {
                    path: folder.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(error) => return Err(io(error.into())),
        }
        if writable {
            // Likewise: a full disk must not keep us from the lock that we already have.
            let _ = file.set_len(0);
            let _ = file.rewind();
            let _ = writeln!(file, "{}", std::process::id());
        }
        Ok(Lock { _file: file })
    }
}

/// The process that has a state directory, without touching its lock: taking it even for a moment could turn away an
/// agent that starts. `None`: none, or it can't be seen from here.
pub fn holder_of(folder: &Path) -> Option<u32> {
    let inode = std::fs::metadata(folder.join(FILE)).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    holder_in(&locks, inode)
}

/// Finds who holds a `flock` in the text of proc(5) `/proc/locks`: `1: FLOCK ADVISORY WRITE 1234 00:25:98765 0 EOF`. The device
/// there is not always the one that stat(2) tells (btrfs, overlayfs), so the inode alone counts.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid, file) = (words.next()?, words.nth(2)?, words.next()?);
        let of_file = file.rsplit(':').next()?.parse::<u64>().ok()?;
        (kind == "FLOCK" && of_file == inode)
            .then(|| pid.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_seen_without_touching_the_lock() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(holder_of(place.path()), None);
        let lock = Lock::take(place.path()).unwrap();
        assert_eq!(holder_of(place.path()), Some(std::process::id()));
        drop(lock);
        assert_eq!(holder_of(place.path()), None);
    }

    #[test]
    fn locks_of_other_files_and_kinds_do_not_count() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 08:02:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 08:02:78 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 08:02:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 14 08:02:77 0 EOF\n";
        assert_eq!(holder_in(locks, 77), Some(14));
        assert_eq!(holder_in(locks, 79), None);
    }

    #[test]
    fn one_at_a_time_and_the_error_names_the_holder() {
        let place = tempfile::tempdir().unwrap();
        let first = Lock::take(place.path()).unwrap();
        // flock(2) is per open file, so a second one in the same process is refused like another process's.
        let error = Lock::take(place.path()).unwrap_err();
        assert!(matches!(&error, LockError::Held { pid: Some(pid), .. } if *pid == std::process::id()));
        let text = error.to_string();
        assert!(
            text.contains(&format!("process {}", std::process::id())) && text.contains("state_dir"),
            "{text}"
        );
        drop(first);
        let again = Lock::take(place.path()).unwrap();
        drop(again);
        std::fs::write(place.path().join("lock"), "garbage").unwrap();
        Lock::take(place.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(place.path().join("lock")).unwrap().trim(),
            std::process::id().to_string()
        );
    }

    #[test]
    fn a_holder_that_said_nothing_is_another_process() {
        let error = LockError::Held {
            path: "/var/lib/outpost".into(),
            pid: None,
        };
        assert!(error.to_string().contains("in use by another process"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_so() {
        let place = tempfile::tempdir().unwrap();
        let error = Lock::take(&place.path().join("missing")).unwrap_err();
        assert!(error.to_string().contains("missing/lock"), "{error}");
    }
}
