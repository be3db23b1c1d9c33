//! The two files of signing: the key, which is only read, and the ceiling of timestamps, which is there whole or not at all.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use super::signing::SigningError;
use crate::device::state_file;

/// What nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// Both files are one short line.
const LONGEST: u64 = 256;
/// The first word of the file of the ceiling.
const MARK: &str = "mavlink-signing-1";

/// What a file keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is not there: nothing was ever signed.
    Nothing,
    /// No timestamp has reached this.
    Ceiling(u64),
    /// It is there and makes no sense.
    Damaged,
}

/// Reads a key of 64 hex digits.
pub(super) fn read_key(path: &Path) -> Result<[u8; 32], SigningError> {
    let no_key = |cause: io::Error| SigningError::NoKey {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let file = File::open(path).map_err(no_key)?;
    let metadata = file.metadata().map_err(no_key)?;
    let bad = || SigningError::BadKey {
        path: path.to_owned(),
    };
    if !metadata.is_file() {
        return Err(bad());
    }
    let mode = metadata.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(SigningError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).map_err(no_key)?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut key).map_err(|_| bad())?;
    Ok(key)
}

fn not_kept(path: &Path, cause: &io::Error) -> SigningError {
    SigningError::NotKept {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

/// Reads the ceiling.
pub(super) fn read(path: &Path) -> Result<Kept, SigningError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kept::Nothing),
        file => file.map_err(|error| not_kept(path, &error))?,
    };
    let mut text = Vec::new();
    file.take(LONGEST)
        .read_to_end(&mut text)
        .map_err(|error| not_kept(path, &error))?;
    Ok(parse(&text).map_or(Kept::Damaged, Kept::Ceiling))
}

/// Keeps a ceiling: written beside the file, synced, and put in its place.
pub(super) fn write(path: &Path, ceiling: u64) -> Result<(), SigningError> {
    let kept = match path.parent() {
        Some(folder) => DirBuilder::new().recursive(true).mode(0o700).create(folder),
        None => Ok(()),
    };
    kept.and_then(|()| state_file::replace(path, line(ceiling).as_bytes()))
        .map(drop)
        .map_err(|error| not_kept(path, &error))
}

/// The number twice, once with all bits turned: neither half a line nor a line of zeros is taken for one.
fn line(ceiling: u64) -> String {
    format!("{MARK} {ceiling:016x} {:016x}\n", !ceiling)
}

fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let number = text.strip_prefix(MARK)?.get(1..17)?;
    let ceiling = u64::from_str_radix(number, 16).ok()?;
    // Timestamps have 48 bits.
    (text == line(ceiling) && ceiling <= 1 << 48).then_some(ceiling)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_read_if_only_its_owner_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(read_key(&path), Err(SigningError::NoKey { .. })));
        fs::write(&path, format!("{}\n", "0a".repeat(32))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read_key(&path),
            Err(SigningError::Exposed { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_key(&path), Ok([10; 32]));
        for text in [
            "",
            "0a",
            &"0a".repeat(33),
            &"0g".repeat(32),
            &"a ".repeat(32),
            &"0a".repeat(500),
        ] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(read_key(&path), Err(SigningError::BadKey { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            read_key(folder.path()),
            Err(SigningError::BadKey { .. })
        ));
    }

    #[test]
    fn a_ceiling_comes_back_and_a_torn_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stamp");
        assert_eq!(read(&path), Ok(Kept::Nothing));
        for ceiling in [0, 1, 0x1234_5678_9abc, 1 << 48] {
            write(&path, ceiling).unwrap();
            assert_eq!(read(&path), Ok(Kept::Ceiling(ceiling)));
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left"
        );
        let whole = line(77).into_bytes();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path), Ok(Kept::Damaged), "{length} bytes");
            let mut zeros = whole.clone();
            zeros[length..].fill(0);
            fs::write(&path, zeros).unwrap();
            assert_eq!(read(&path), Ok(Kept::Damaged), "zeros from {length}");
        }
        fs::write(&path, line(u64::MAX)).unwrap();
        assert_eq!(read(&path), Ok(Kept::Damaged), "more than 48 bits");
    }
}
