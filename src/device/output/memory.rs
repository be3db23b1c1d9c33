//! The level that an output had last, for `on_start = "last"`.
//!
//! One small file per output, for those outputs alone. It holds the boot id, so it means nothing after a power cut or a
//! reboot: so it is neither synced nor replaced by renaming, its few bytes are written in place, at changes only, and the
//! kernel brings many of them to the card as one. Reading the line instead would not do: who starts the agent after a
//! crash has made its lines safe, and a released line may have lost its level.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use crate::device::gpio::Level;

/// Within the state directory.
const FOLDER: &str = "levels";

/// Where one output's level is kept.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    boot_id: String,
    noted: Option<Level>,
}

impl Memory {
    /// Opens or makes the file of a device. What it says of another boot is forgotten.
    pub(super) fn open(state_dir: &Path, device: &str, boot_id: String) -> io::Result<Self> {
        let folder = state_dir.join(FOLDER);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(folder.join(device))?;
        let mut memory = Memory {
            file,
            boot_id,
            noted: None,
        };
        let text = io::read_to_string(&memory.file)?;
        memory.noted = [Level::Off, Level::On]
            .into_iter()
            .find(|level| text == memory.text(*level));
        if memory.noted.is_none() {
            memory.file.set_len(0)?;
        }
        Ok(memory)
    }

    /// The last level of this boot.
    pub(super) fn last(&self) -> Option<Level> {
        self.noted
    }

    /// Keeps a level, if it is another.
    pub(super) fn note(&mut self, level: Level) -> io::Result<()> {
        if self.noted != Some(level) {
            self.file.write_all_at(self.text(level).as_bytes(), 0)?;
            self.noted = Some(level);
        }
        Ok(())
    }

    /// Of one length within a boot.
    fn text(&self, level: Level) -> String {
        format!("{level:<3} {}\n", self.boot_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, boot: &str) -> Memory {
        Memory::open(folder, "lamp", boot.to_owned()).unwrap()
    }

    #[test]
    fn a_level_is_kept_within_a_boot_and_void_in_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = open(folder.path(), "one");
        assert_eq!(memory.last(), None);
        for level in [Level::On, Level::Off, Level::On] {
            memory.note(level).unwrap();
            assert_eq!(open(folder.path(), "one").last(), Some(level));
        }
        assert_eq!(open(folder.path(), "two").last(), None);
        assert_eq!(
            open(folder.path(), "one").last(),
            None,
            "forgotten, not only passed over"
        );
    }

    #[test]
    fn what_is_no_level_is_none() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), "one").note(Level::On).unwrap();
        let file = folder.path().join(FOLDER).join("lamp");
        for text in ["", "on", "on  on", "on  one\nmore"] {
            fs::write(&file, text).unwrap();
            assert_eq!(open(folder.path(), "one").last(), None, "{text:?}");
        }
    }

    #[test]
    fn the_same_level_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = open(folder.path(), "one");
        memory.note(Level::On).unwrap();
        let file = folder.path().join(FOLDER).join("lamp");
        fs::write(&file, "").unwrap();
        memory.note(Level::On).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
        memory.note(Level::Off).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "off one\n");
    }
}
