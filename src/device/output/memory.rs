//! The level that an output had last, for `on_start = "last"`, and how strong it was.
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
use crate::device::pwm::Percent;

/// Within the state directory.
const FOLDER: &str = "levels";

/// Where one output's level is kept.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    boot_id: String,
    noted: Option<(Level, Percent)>,
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
        memory.noted = text.split(' ').next().and_then(read);
        memory.noted = memory.noted.filter(|noted| text == memory.text(*noted));
        if memory.noted.is_none() {
            memory.file.set_len(0)?;
        }
        Ok(memory)
    }

    /// The last level of this boot.
    pub(super) fn last(&self) -> Option<(Level, Percent)> {
        self.noted
    }

    /// Keeps a level, if it is another.
    pub(super) fn note(&mut self, level: Level, strength: Percent) -> io::Result<()> {
        // What is off is not off more or less.
        let strength = if level == Level::On {
            strength
        } else {
            Percent::FULL
        };
        let noted = (level, strength);
        if self.noted != Some(noted) {
            self.file.write_all_at(self.text(noted).as_bytes(), 0)?;
            self.noted = Some(noted);
        }
        Ok(())
    }

    /// Of one length within a boot.
    fn text(&self, (level, strength): (Level, Percent)) -> String {
        let boot_id = &self.boot_id;
        match level {
            Level::On if strength != Percent::FULL => format!("{:<3} {boot_id}\n", strength.get()),
            level => format!("{level:<3} {boot_id}\n"),
        }
    }
}

/// What the first word says: `off`, `on`, or the percent that it was on.
fn read(word: &str) -> Option<(Level, Percent)> {
    match word {
        "off" => Some((Level::Off, Percent::FULL)),
        "on" => Some((Level::On, Percent::FULL)),
        percent => Some((Level::On, Percent::parse(percent).ok()?))
            .filter(|(level, percent)| *level == percent.level()),
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
        for (level, number) in [
            (Level::On, 100),
            (Level::Off, 100),
            (Level::On, 7),
            (Level::On, 42),
        ] {
            let strength = Percent::new(number).unwrap();
            memory.note(level, strength).unwrap();
            assert_eq!(open(folder.path(), "one").last(), Some((level, strength)));
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
        open(folder.path(), "one").note(Level::On, Percent::FULL).unwrap();
        let file = folder.path().join(FOLDER).join("lamp");
        for text in ["", "on", "on  on", "on  one\nmore", "0   one\n", "200 one\n"] {
            fs::write(&file, text).unwrap();
            assert_eq!(open(folder.path(), "one").last(), None, "{text:?}");
        }
    }

    #[test]
    fn the_same_level_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = open(folder.path(), "one");
        memory.note(Level::On, Percent::FULL).unwrap();
        let file = folder.path().join(FOLDER).join("lamp");
        fs::write(&file, "").unwrap();
        memory.note(Level::On, Percent::FULL).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
        memory.note(Level::Off, Percent::new(3).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "off one\n");
    }
}
