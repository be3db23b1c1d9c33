//! What must outlive a crash of the agent in the middle of a flight (`flights/NAME` in the state directory).
//!
//! It holds the boot id: after another start of the machine nobody can tell whose flight it is, and the autopilot has it. So it
//! is replaced by renaming, but not synced: a crash of the agent alone loses nothing that was written.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::flight::{Record, RecordPhase};

/// Within the state directory.
const FOLDER: &str = "flights";

/// The note of one drone.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    boot_id: String,
}

fn name(phase: RecordPhase) -> &'static str {
    match phase {
        RecordPhase::Armed => "armed",
        RecordPhase::Started => "started",
        RecordPhase::Returning => "returning",
    }
}

impl Note {
    /// Where the note of a device is.
    pub(super) fn of(state_dir: &Path, device: &str, boot_id: String) -> Self {
        Note {
            path: state_dir.join(FOLDER).join(device),
            boot_id,
        }
    }

    /// What a former life left in this boot.
    pub(super) fn read(&self) -> Option<Record> {
        let text = fs::read_to_string(&self.path).ok()?;
        let mut words = text.split_ascii_whitespace();
        let mut word = || words.next();
        if word()? != self.boot_id {
            return None;
        }
        let phase = word()?;
        let all = [RecordPhase::Armed, RecordPhase::Started, RecordPhase::Returning];
        let phase = all.into_iter().find(|one| name(*one) == phase)?;
        let mission = u64::from_str_radix(word()?, 16).ok()?;
        Some(Record {
            phase,
            mission,
            process: word().unwrap_or_default().to_owned(),
        })
    }

    /// Writes it, or takes it away.
    pub(super) fn write(&self, record: Option<&Record>) -> io::Result<()> {
        let Some(record) = record else {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        if let Some(folder) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let text = format!(
            "{} {} {:016x} {}\n",
            self.boot_id,
            name(record.phase),
            record.mission,
            record.process
        );
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_in_its_own_boot_alone() {
        let folder = tempfile::tempdir().unwrap();
        let note = |boot: &str| Note::of(folder.path(), "dock", boot.to_owned());
        assert_eq!(note("one").read(), None);
        note("one").write(None).unwrap();
        for (phase, process) in [
            (RecordPhase::Armed, "a1"),
            (RecordPhase::Started, ""),
            (RecordPhase::Returning, "b2"),
        ] {
            let record = Record {
                process: process.to_owned(),
                mission: 0x0102_0304_0506_0708,
                phase,
            };
            note("one").write(Some(&record)).unwrap();
            assert_eq!(note("one").read(), Some(record));
            assert_eq!(note("two").read(), None);
        }
        note("one").write(None).unwrap();
        assert_eq!(note("one").read(), None);
    }

    #[test]
    fn what_is_no_note_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let note = Note::of(folder.path(), "dock", "one".to_owned());
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        for text in ["", "one", "one started", "one flying 00 p", "one started xyz p"] {
            fs::write(folder.path().join(FOLDER).join("dock"), text).unwrap();
            assert_eq!(note.read(), None, "{text:?}");
        }
    }
}
