//! What the journal needs of a disk: a handful of operations on named files within one folder.
//!
//! A file's bytes outlive a power cut only after [`Storage::sync`]; its name (created, renamed, removed) only after
//! [`Storage::sync_folder`]. [`super::SimulatedStorage`] takes both literally.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::lock::{Lock, LockError};
use crate::keyfile;

/// Files by name within one folder. Names are plain: no separators.
pub trait Storage: Send {
    /// The whole content of a file; `None` if there is none of that name.
    ///
    /// # Errors
    /// The file is there, or may be, and can't be read.
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Makes an empty file; one that is there is emptied.
    ///
    /// # Errors
    /// As the disk says.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Adds bytes at the end of a file that exists.
    ///
    /// # Errors
    /// As the disk says; any part of the bytes may have been written all the same.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Returns once what is in the file is on the medium.
    ///
    /// # Errors
    /// As the disk says. What was written since the last sync may then be lost although it still reads back, and no later sync
    /// brings it back: write it again, elsewhere.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name, at once replacing what had it.
    ///
    /// # Errors
    /// As the disk says.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; none of that name is no error.
    ///
    /// # Errors
    /// As the disk says.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Returns once the names are on the medium.
    ///
    /// # Errors
    /// As the disk says.
    fn sync_folder(&mut self) -> io::Result<()>;
}

/// A real folder. Its files are readable by their owner alone (0600): results may hold what nobody else should read.
#[derive(Debug)]
pub struct FolderStorage {
    folder: PathBuf,
    /// Kept open from writing to syncing: a failed write-back is reported to those who had the file open.
    open: BTreeMap<String, File>,
    /// `None`: only looking, never writing.
    lock: Option<Lock>,
}

impl FolderStorage {
    /// A folder to write in, made (0700) if it is missing, and locked as long as this lives: one agent per state directory.
    ///
    /// # Errors
    /// Another process has it, or it can't be made.
    pub fn lock(folder: impl Into<PathBuf>) -> Result<Self, LockError> {
        let folder = folder.into();
        let io = |source| LockError::Io {
            path: folder.clone(),
            source,
        };
        // Each folder above it that is missing, too, is there after a power cut: a journal that went with its folder would
        // be taken for a first start.
        keyfile::make_folder(&folder).map_err(io)?;
        let lock = Lock::take(&folder)?;
        Ok(FolderStorage {
            folder,
            open: BTreeMap::new(),
            lock: Some(lock),
        })
    }

    /// A folder to look into, whoever works in it; everything that would change it is refused.
    pub fn look(folder: impl Into<PathBuf>) -> Self {
        FolderStorage {
            folder: folder.into(),
            open: BTreeMap::new(),
            lock: None,
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a plain file name",
            ));
        }
        Ok(self.folder.join(name))
    }

    fn writable(&self) -> io::Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "opened for reading only",
            )),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.writable()?;
        let path = self.path(name)?;
        match self.open.entry(name.to_owned()) {
            std::collections::btree_map::Entry::Occupied(there) => Ok(there.into_mut()),
            std::collections::btree_map::Entry::Vacant(free) => {
                Ok(free.insert(OpenOptions::new().append(true).open(path)?))
            }
        }
    }
}

impl Storage for FolderStorage {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match File::open(self.path(name)?) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.writable()?;
        let path = self.path(name)?;
        self.open.remove(name);
        // A new file rather than an emptied one: then the mode is ours whatever was there.
        self.remove(name)?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        self.open.insert(name.to_owned(), file);
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        // fdatasync(2): the length is synced too, the time of the last change is not.
        self.file(name)?.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.writable()?;
        fs::rename(self.path(from)?, self.path(to)?)?;
        self.open.remove(to);
        if let Some(file) = self.open.remove(from) {
            self.open.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.writable()?;
        self.open.remove(name);
        match fs::remove_file(self.path(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.writable()?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_real_folder_does_what_the_trait_says() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("state");
        let mut storage = FolderStorage::lock(&folder).unwrap();
        assert_eq!(storage.read("a").unwrap(), None);
        storage.remove("a").unwrap();
        storage.create("a").unwrap();
        storage.append("a", b"one ").unwrap();
        storage.append("a", b"two").unwrap();
        storage.sync("a").unwrap();
        storage.rename("a", "b").unwrap();
        storage.append("b", b" three").unwrap();
        storage.sync("b").unwrap();
        storage.sync_folder().unwrap();
        assert_eq!(storage.read("a").unwrap(), None);
        assert_eq!(storage.read("b").unwrap().unwrap(), b"one two three");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.join("b")), 0o600);
        assert_eq!(mode(&folder), 0o700);
        storage.create("b").unwrap();
        assert_eq!(storage.read("b").unwrap().unwrap(), b"");
        storage.remove("b").unwrap();
        assert_eq!(storage.read("b").unwrap(), None);
    }

    /// The power-cut tests take the trait at its word; this is where the word is kept. Neither the null device nor a folder
    /// of proc(5) can be synced (fsync(2), `EINVAL`), so trying shows.
    #[test]
    fn to_sync_is_to_ask_the_system() {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", place.path().join("null")).unwrap();
        let mut storage = FolderStorage::lock(place.path()).unwrap();
        storage.append("null", b"x").unwrap();
        let refused = storage.sync("null").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        storage.folder = "/proc/self".into();
        let refused = storage.sync_folder().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn names_stay_within_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let mut storage = FolderStorage::lock(place.path()).unwrap();
        for name in ["", ".", "..", "../x", "a/b", "a\0"] {
            assert!(storage.create(name).is_err(), "{name:?}");
            assert!(storage.read(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn who_only_looks_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let mut storage = FolderStorage::lock(place.path()).unwrap();
        storage.create("a").unwrap();
        let mut looking = FolderStorage::look(place.path());
        assert_eq!(looking.read("a").unwrap().unwrap(), b"");
        for refused in [
            looking.create("b"),
            looking.append("a", b"x"),
            looking.sync("a"),
            looking.rename("a", "b"),
            looking.remove("a"),
            looking.sync_folder(),
        ] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
        assert_eq!(storage.read("a").unwrap().unwrap(), b"");
    }
}
