//! Small files in the state directory that are there whole or not at all: what a device must still know after a power cut, and
//! what the agent must.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Gives a file new content, readable by its owner alone: written beside it, synced, and put in its place. Not touched
/// if it has that content already: cards wear out. Whether it was.
///
/// # Errors
/// Those of the system; the file then has its old content or the new one.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<bool> {
    replace_by(path, content, File::sync_all)
}

/// The same, by whatever brings a file or a folder to the medium.
fn replace_by(path: &Path, content: &[u8], sync: impl Fn(&File) -> io::Result<()>) -> io::Result<bool> {
    match fs::read(path) {
        Ok(old) if old == content => return Ok(false),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.tmp"));
    let placed = write(&draft, content, &sync).and_then(|()| fs::rename(&draft, path));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        sync(&File::open(folder)?)?;
    }
    Ok(true)
}

fn write(path: &Path, content: &[u8], sync: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
    // A draft that an earlier life left may have other permissions.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    sync(&file)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn it_is_replaced_whole_for_its_owner_alone_and_only_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        assert!(replace(&path, b"one").unwrap());
        fs::write(folder.path().join(".list.tmp"), "left by a crash").unwrap();
        let first = fs::metadata(&path).unwrap();
        assert_eq!(first.mode() & 0o777, 0o600);
        assert!(!replace(&path, b"one").unwrap());
        assert_eq!(
            fs::metadata(&path).unwrap().ino(),
            first.ino(),
            "not written again"
        );
        assert!(replace(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn the_content_is_on_the_medium_before_its_name_and_the_name_before_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        replace(&path, b"one").unwrap();
        let synced = RefCell::new(Vec::new());
        let sync = |file: &File| {
            let metadata = file.metadata()?;
            let size = metadata.is_file().then_some(metadata.len());
            synced.borrow_mut().push((size, fs::read(&path)?));
            Ok(())
        };
        assert!(replace_by(&path, b"other", sync).unwrap());
        let expected = [(Some(5), b"one".to_vec()), (None, b"other".to_vec())];
        assert_eq!(synced.into_inner(), expected);
        for fails_at in 0..2 {
            let count = Cell::new(0);
            let sync = |_: &File| match count.replace(count.get() + 1) {
                at if at == fails_at => Err(io::Error::other("no disk")),
                _ => Ok(()),
            };
            assert!(replace_by(&path, &[fails_at], sync).is_err(), "it is told");
        }
    }

    #[test]
    fn what_is_in_the_way_is_said_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"one").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
