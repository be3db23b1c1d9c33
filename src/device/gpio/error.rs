//! What goes wrong with lines and chips, with the remedy. Facts go in, errors come out: no hardware is touched here.

use std::io;
use std::path::{Path, PathBuf};

use super::line::LineSpec;

/// Why a line could not be had or driven.
#[derive(Debug, thiserror::Error)]
pub enum GpioError {
    /// There is no chip at all.
    #[error(
        "no GPIO chip found (/dev/gpiochip*): this machine has none, its driver is not loaded, or the service or \
         container may not see it (systemd: DeviceAllow=char-gpiochip, docker: --device). To try without hardware \
         set backend = \"simulated\""
    )]
    NoChips,
    /// The device file may not be opened.
    #[error("no permission to use {}: {}", path.display(), permission_remedy(path, group.as_deref()))]
    Permission {
        /// The device file.
        path: PathBuf,
        /// The group that owns it, where that is known.
        group: Option<String>,
    },
    /// No line has that name.
    #[error("no line is called {name:?}; {}", available(similar))]
    UnknownLine {
        /// The name.
        name: String,
        /// Names that exist, the most similar first.
        similar: Vec<String>,
    },
    /// Several lines have that name.
    #[error("{} lines are called {name:?}, on the chips {}: write chip = \"LABEL\" and offset = N", chips.len(), chips.join(", "))]
    AmbiguousLine {
        /// The name.
        name: String,
        /// `LABEL/OFFSET` of each.
        chips: Vec<String>,
    },
    /// No chip has that label.
    #[error("no GPIO chip has the label {label:?}; there are: {}", labels.join(", "))]
    UnknownChip {
        /// The label.
        label: String,
        /// The labels there are.
        labels: Vec<String>,
    },
    /// Several chips have that label.
    #[error("{} chips have the label {label:?} ({}): name the line instead, line = \"NAME\"", paths.len(), paths.join(", "))]
    AmbiguousChip {
        /// The label.
        label: String,
        /// Their device files.
        paths: Vec<String>,
    },
    /// The chip has fewer lines.
    #[error("chip {label:?} has no line {offset}: its lines are 0 to {}", lines.saturating_sub(1))]
    NoSuchOffset {
        /// The chip's label.
        label: String,
        /// The offset.
        offset: u32,
        /// How many lines the chip has.
        lines: u32,
    },
    /// Somebody else holds the line.
    #[error(
        "{line} is in use by {}: stop it, or take another line (`gpioinfo` shows who holds which)",
        holder(holder_name)
    )]
    Busy {
        /// The line.
        line: String,
        /// Who holds it, as the kernel knows it; empty if it does not.
        holder_name: String,
    },
    /// The kernel does not have the second version of the GPIO interface.
    #[error(
        "{line}: the kernel refused the request (EINVAL): it needs Linux 5.10 or newer, and outputs a line that can be one"
    )]
    Refused {
        /// The line.
        line: String,
    },
    /// The chip went away: an unplugged expander, an unloaded driver.
    #[error(
        "{line}: its chip is gone (unplugged, or its driver was unloaded): plug it in and restart the agent"
    )]
    Vanished {
        /// The line.
        line: String,
    },
    /// Anything else that the kernel said.
    #[error("{line}: cannot {action}: {cause}")]
    Io {
        /// The line or device file.
        line: String,
        /// What was being done.
        action: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Not a Raspberry Pi that rppal knows.
    #[error(
        "this is not a Raspberry Pi that rppal knows (it is no longer maintained, newer models are missing): \
         set backend = \"cdev\", which works on every Linux board"
    )]
    NotAPi,
    /// rppal can only drive the Raspberry Pi's own header.
    #[error(
        "rppal drives the Raspberry Pi's own lines alone, {line} is none: {hint}, or set backend = \"cdev\""
    )]
    NotOnHeader {
        /// The line.
        line: String,
        /// What to write.
        hint: String,
    },
    /// `backend = "auto"` found nothing that works.
    #[error(
        "backend = \"auto\" found no way to drive lines: {}. (auto never simulates: set backend = \"simulated\" for that)",
        tried(tried_backends)
    )]
    NoBackend {
        /// Each backend that was tried and why it cannot be used.
        tried_backends: Vec<(&'static str, GpioError)>,
    },
}

fn tried(backends: &[(&'static str, GpioError)]) -> String {
    backends
        .iter()
        .map(|(name, error)| format!("{name}: {error}"))
        .collect::<Vec<_>>()
        .join("; ")
}

fn holder(name: &str) -> String {
    if name.is_empty() {
        "something that gave no name".to_owned()
    } else {
        format!("{name:?}")
    }
}

fn available(similar: &[String]) -> String {
    match similar {
        [] => "the chips here name none of their lines: write chip = \"LABEL\" and offset = N".to_owned(),
        names => format!(
            "there are for example {} (`gpioinfo` lists all)",
            names.join(", ")
        ),
    }
}

/// What to do about a device file that may not be opened. `group` owns the file.
fn permission_remedy(path: &Path, group: Option<&str>) -> String {
    match group {
        Some(group) if group != "root" => format!(
            "add the user to its group, `sudo usermod -aG {group} USER`, and log in again; \
             or in the service's unit SupplementaryGroups={group}"
        ),
        _ => format!(
            "no group may use it. Put SUBSYSTEM==\"gpio\", KERNEL==\"gpiochip*\", GROUP=\"gpio\", MODE=\"0660\" \
             into /etc/udev/rules.d/60-gpio.rules, then `sudo groupadd -f gpio && sudo udevadm trigger {}` and \
             `sudo usermod -aG gpio USER`; or in the service's unit SupplementaryGroups=gpio",
            path.display()
        ),
    }
}

/// What an error number of the kernel means for a line. `holder` is asked for only where somebody holds it;
/// `path` is the device file that was used.
pub(super) fn from_errno(
    errno: i32,
    line: &LineSpec,
    path: &Path,
    action: &'static str,
    holder: impl FnOnce() -> String,
) -> GpioError {
    use rustix::io::Errno;
    let line = line.to_string();
    match Errno::from_raw_os_error(errno) {
        Errno::BUSY => GpioError::Busy {
            line,
            holder_name: holder(),
        },
        Errno::ACCESS | Errno::PERM => permission(path),
        Errno::NODEV | Errno::NXIO => GpioError::Vanished { line },
        Errno::INVAL | Errno::NOTTY => GpioError::Refused { line },
        // The chip's file was there a moment ago.
        Errno::NOENT => GpioError::Vanished { line },
        _ => GpioError::Io {
            line,
            action,
            cause: io::Error::from_raw_os_error(errno),
        },
    }
}

/// A [`GpioError::Permission`] for a device file, with the group that owns it.
pub(super) fn permission(path: &Path) -> GpioError {
    use std::os::unix::fs::MetadataExt;
    let group = std::fs::metadata(path).ok().and_then(|file| {
        let groups = std::fs::read_to_string("/etc/group").ok()?;
        group_name(&groups, file.gid())
    });
    GpioError::Permission {
        path: path.to_owned(),
        group,
    }
}

/// The name of a group by its number, from the text of `/etc/group` (group(5)).
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

/// At most five of `names`, the most similar to `wanted` first; unnamed lines (`-`, empty) are left out.
pub(super) fn most_similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<&str> = names.filter(|name| !matches!(*name, "" | "-")).collect();
    names.sort_unstable();
    names.dedup();
    // A stable sort keeps the alphabet among equals.
    names.sort_by_key(|name| strsim::damerau_levenshtein(&name.to_lowercase(), &wanted.to_lowercase()));
    names.truncate(5);
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(errno: rustix::io::Errno) -> GpioError {
        from_errno(
            errno.raw_os_error(),
            &LineSpec::named("GPIO17"),
            Path::new("/nowhere/gpiochip0"),
            "switch on",
            || "spi0 CS0".to_owned(),
        )
    }

    #[test]
    fn error_numbers_become_remedies() {
        use rustix::io::Errno;
        let busy = mapped(Errno::BUSY).to_string();
        assert!(busy.contains("GPIO17 is in use by \"spi0 CS0\""), "{busy}");
        for errno in [Errno::ACCESS, Errno::PERM] {
            let error = mapped(errno);
            assert!(matches!(error, GpioError::Permission { .. }));
            assert!(error.to_string().contains("usermod -aG gpio USER"), "{error}");
            assert!(error.to_string().contains("SupplementaryGroups=gpio"), "{error}");
        }
        for errno in [Errno::NODEV, Errno::NXIO, Errno::NOENT] {
            assert!(matches!(mapped(errno), GpioError::Vanished { .. }));
        }
        for errno in [Errno::INVAL, Errno::NOTTY] {
            assert!(mapped(errno).to_string().contains("Linux 5.10"));
        }
        let other = mapped(Errno::IO).to_string();
        assert!(
            other.starts_with("GPIO17: cannot switch on: ") && other.contains("os error 5"),
            "{other}"
        );
    }

    #[test]
    fn a_nameless_holder_is_said_to_be_nameless() {
        let error = GpioError::Busy {
            line: "GPIO4".into(),
            holder_name: String::new(),
        };
        assert!(
            error
                .to_string()
                .contains("GPIO4 is in use by something that gave no name")
        );
    }

    #[test]
    fn the_group_that_owns_the_file_is_the_one_to_join() {
        let owned = GpioError::Permission {
            path: "/dev/gpiochip0".into(),
            group: Some("dialout".into()),
        };
        let text = owned.to_string();
        assert!(text.contains("sudo usermod -aG dialout USER"), "{text}");
        assert!(text.contains("SupplementaryGroups=dialout"), "{text}");
        let unowned = GpioError::Permission {
            path: "/dev/gpiochip0".into(),
            group: Some("root".into()),
        };
        assert!(unowned.to_string().contains("60-gpio.rules"), "{unowned}");
    }

    #[test]
    fn groups_are_read_as_group_5_says() {
        let groups = "root:x:0:\nbroken\ngpio:x:997:pi,outpost\nodd:x:nine:\n";
        assert_eq!(group_name(groups, 997).as_deref(), Some("gpio"));
        assert_eq!(group_name(groups, 0).as_deref(), Some("root"));
        assert_eq!(group_name(groups, 9), None);
    }

    #[test]
    fn similar_names_come_first() {
        let names = [
            "-", "", "GPIO27", "GPIO17", "ID_SDA", "GPIO18", "SD0_CLK", "GPIO4", "GPIO17",
        ];
        let similar = most_similar("gpio71", names.into_iter());
        assert_eq!(similar[0], "GPIO17", "{similar:?}");
        assert_eq!(similar.len(), 5);
        assert!(!similar.iter().any(|name| name == "-" || name.is_empty()));
        let error = GpioError::UnknownLine {
            name: "gpio71".into(),
            similar,
        };
        assert!(
            error
                .to_string()
                .contains("no line is called \"gpio71\"; there are for example GPIO17"),
            "{error}"
        );
        let nameless = GpioError::UnknownLine {
            name: "x".into(),
            similar: vec![],
        }
        .to_string();
        assert!(nameless.contains("name none of their lines"), "{nameless}");
    }
}
