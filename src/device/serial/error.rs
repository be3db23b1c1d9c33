//! What goes wrong with serial ports and what is behind them, with the remedy.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::framing::Oversize;
use super::settings::BY_ID;
use crate::device::duration::format_duration;

/// Why a port could not be had or used, or what is behind it did not do as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// The device file does not exist.
    #[error("no serial port at {}: plug the device in, or correct port. {}", path.display(), ports_there(there))]
    Missing {
        /// What the configuration names.
        path: PathBuf,
        /// The stable names that exist.
        there: Vec<String>,
    },
    /// The device file may not be opened.
    #[error("no permission to use {}: {}", path.display(), permission_remedy(group.as_deref()))]
    Permission {
        /// The device file.
        path: PathBuf,
        /// The group that owns it, by name or number, where that is known.
        group: Option<String>,
    },
    /// Another program has it.
    #[error(
        "{} is in use by another program, or by another device of this configuration: `fuser -v {}` names the program \
         (ModemManager and gpsd take ports unasked)", path.display(), path.display()
    )]
    Busy {
        /// The device file.
        path: PathBuf,
    },
    /// Not a serial port.
    #[error("{} is not a serial port: correct port, `ls {BY_ID}` lists those with stable names", path.display())]
    NotAPort {
        /// The path.
        path: PathBuf,
    },
    /// The driver did not take a setting.
    #[error("{} can't do {setting}: its driver refused or ignored it", path.display())]
    Refused {
        /// The device file.
        path: PathBuf,
        /// The setting as it is written.
        setting: String,
    },
    /// The kernel can't switch the direction.
    #[error(
        "the driver of {} can't switch the direction of an RS-485 line ({cause}): take an adapter that does it alone and \
         set rs485 = \"off\", or a UART whose driver can", path.display()
    )]
    NoRs485 {
        /// The device file.
        path: PathBuf,
        /// What the kernel said.
        cause: String,
    },
    /// It went away.
    #[error("{} is gone (unplugged, or its adapter was reset): it is opened again as soon as it is back", path.display())]
    Unplugged {
        /// The device file.
        path: PathBuf,
    },
    /// Opening took too long.
    #[error("{} does not open within {}: its adapter hangs, unplug it and plug it in again", path.display(), format_duration(*waited))]
    OpenTimedOut {
        /// The device file.
        path: PathBuf,
        /// How long it was given.
        waited: Duration,
    },
    /// What was to be sent is not taken.
    #[error(
        "{} took only {sent} of {length} bytes within {}; the rest was thrown away: is something holding it up \
         (flow_control)?", path.display(), format_duration(*waited)
    )]
    Held {
        /// The device file.
        path: PathBuf,
        /// How many bytes left, as far as the kernel knows.
        sent: usize,
        /// How many there were.
        length: usize,
        /// How long it was given.
        waited: Duration,
    },
    /// No answer.
    #[error("no answer on {} within {}{}: is it on, are baud, parity and terminator right?", path.display(), format_duration(*waited), fragment(got))]
    NoAnswer {
        /// The device file.
        path: PathBuf,
        /// How long it was given.
        waited: Duration,
        /// The part of an answer that came, as text.
        got: String,
    },
    /// Answers, but not the one that was expected.
    #[error("nothing on {} matched /{expected}/ within {}; the last of {count} answers was {last:?}", path.display(), format_duration(*waited))]
    Unexpected {
        /// The device file.
        path: PathBuf,
        /// The pattern.
        expected: String,
        /// How long it was given.
        waited: Duration,
        /// How many answers came.
        count: usize,
        /// The last of them.
        last: String,
    },
    /// The line never comes to rest.
    #[error(
        "{} did not fall silent within {} after an earlier call went wrong, so an answer could not be told from what else \
         comes: use `read` for instruments that send on their own", path.display(), format_duration(*waited)
    )]
    Restless {
        /// The device file.
        path: PathBuf,
        /// How long it was given.
        waited: Duration,
    },
    /// Too long.
    #[error("{}: {cause}", path.display())]
    TooLong {
        /// The device file.
        path: PathBuf,
        /// What is allowed.
        cause: Oversize,
    },
    /// Anything else that the system said.
    #[error("{}: cannot {action}: {cause}", path.display())]
    Io {
        /// The device file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        cause: String,
    },
}

impl SerialError {
    /// Whether it says that nothing is plugged in.
    pub fn is_absence(&self) -> bool {
        matches!(self, SerialError::Unplugged { .. } | SerialError::Missing { .. })
    }
}

fn ports_there(there: &[String]) -> String {
    if there.is_empty() {
        format!("There is none in {BY_ID}")
    } else {
        format!("In {BY_ID} there are: {}", there.join(", "))
    }
}

fn fragment(got: &str) -> String {
    if got.is_empty() {
        String::new()
    } else {
        format!(", only the fragment {got:?}")
    }
}

fn permission_remedy(group: Option<&str>) -> String {
    let group = match group {
        Some(group) if group != "root" => group,
        _ => "dialout",
    };
    format!(
        "add the user to its group, `sudo usermod -aG {group} USER`, and log in again; or in the service's unit \
         SupplementaryGroups={group}"
    )
}

/// What an error while opening means.
pub(super) fn opening(path: &Path, error: &tokio_serial::Error) -> SerialError {
    use tokio_serial::ErrorKind;
    let path_buf = path.to_owned();
    // Errors that the crate knows no kind for keep only the text for their number.
    match (error.kind(), &*error.description) {
        (ErrorKind::NoDevice, _) => SerialError::Busy { path: path_buf },
        (ErrorKind::Io(io::ErrorKind::PermissionDenied), _) | (_, "Operation not permitted") => {
            SerialError::Permission {
                group: group_of(path),
                path: path_buf,
            }
        }
        (ErrorKind::Io(io::ErrorKind::NotFound), _)
        | (_, "No such device" | "No such device or address" | "I/O error") => SerialError::Missing {
            path: path_buf,
            there: ports_by_id(),
        },
        (_, "Not a typewriter") => SerialError::NotAPort { path: path_buf },
        (_, text) => SerialError::Io {
            path: path_buf,
            action: "open it",
            cause: text.to_owned(),
        },
    }
}

/// Whether a path leads to something that can be a port; tells what it is instead.
pub(super) fn is_device(path: &Path) -> Result<(), SerialError> {
    let metadata = std::fs::metadata(path).map_err(|error| opening(path, &error.into()))?;
    if metadata.file_type().is_char_device() {
        Ok(())
    } else {
        Err(SerialError::NotAPort {
            path: path.to_owned(),
        })
    }
}

/// The stable names there are, sorted.
pub fn ports_by_id() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(BY_ID) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The group of a device file: its name, or its number where `/etc/group` does not have it.
fn group_of(path: &Path) -> Option<String> {
    let gid = std::fs::metadata(path).ok()?.gid().to_string();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    // group(5): NAME:PASSWORD:GID:MEMBERS
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == gid).then(|| name.to_owned())
    });
    Some(name.unwrap_or(gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_errors_are_told_apart_and_name_the_remedy() {
        let path = Path::new("/dev/serial/by-id/usb-ACME");
        let said = |kind, text: &str| opening(path, &Error::new(kind, text)).to_string();
        use tokio_serial::{Error, ErrorKind};
        for (kind, text, remedy) in [
            (ErrorKind::Io(io::ErrorKind::NotFound), "", "plug the device in"),
            (
                ErrorKind::Unknown,
                "No such device or address",
                "plug the device in",
            ),
            (
                ErrorKind::Io(io::ErrorKind::PermissionDenied),
                "",
                "usermod -aG dialout",
            ),
            (ErrorKind::NoDevice, "", "fuser -v"),
            (ErrorKind::Unknown, "Not a typewriter", "not a serial port"),
            (
                ErrorKind::Unknown,
                "Too many open files",
                "cannot open it: Too many open files",
            ),
        ] {
            let text = said(kind, text);
            assert!(text.contains(remedy) && text.contains("usb-ACME"), "{text}");
        }
    }

    #[test]
    fn groups_are_named() {
        assert!(permission_remedy(Some("uucp")).contains("SupplementaryGroups=uucp"));
        assert!(permission_remedy(Some("root")).contains("dialout"));
        assert_eq!(group_of(Path::new("/")), Some("root".to_owned()));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        assert!(matches!(
            is_device(Path::new("/etc")),
            Err(SerialError::NotAPort { .. })
        ));
        assert!(matches!(
            is_device(Path::new("/dev/nothing-like-that")),
            Err(SerialError::Missing { .. })
        ));
    }
}
