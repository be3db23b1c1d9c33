//! Who we are, and what we may do with a file: facts of the system, and what follows from them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::finding::Finding;
use crate::agent::program::accounts::{for_sudo, group_name, user_name};

/// The user that checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The name, or the number where there is none.
    pub name: String,
    /// The groups of this process, by number.
    pub groups: BTreeSet<u32>,
}

impl User {
    /// The one who runs this process.
    pub fn current() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let groups = rustix::process::getgroups().unwrap_or_default();
        let mut groups: BTreeSet<u32> = groups.iter().map(|group| group.as_raw()).collect();
        groups.insert(rustix::process::getegid().as_raw());
        User {
            uid,
            name: name_of_user(uid),
            groups,
        }
    }
}

/// The name of a user, or the number.
pub fn name_of_user(uid: u32) -> String {
    user_name(uid).unwrap_or_else(|| uid.to_string())
}

/// A file as far as it matters for who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Where.
    pub path: PathBuf,
    /// The number of its group.
    pub gid: u32,
    /// The name of its group, or the number.
    pub group: String,
    /// The group may read and write it.
    pub group_may: bool,
    /// It is a character device.
    pub is_device: bool,
    /// This process may read and write it.
    pub accessible: bool,
}

impl FileFacts {
    /// Looks, without opening it. `None`: it is not there.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(FileFacts {
            path: path.to_owned(),
            gid: metadata.gid(),
            group: group_name(metadata.gid()).unwrap_or_else(|| metadata.gid().to_string()),
            group_may: metadata.mode() & 0o060 == 0o060,
            is_device: metadata.file_type().is_char_device(),
            accessible: rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_ok(),
        })
    }
}

/// What to install where no group may use a device file.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// A GPIO chip.
    Gpio,
    /// A serial port.
    Serial,
}

/// What is wrong with the access to a device file; `None`: nothing.
pub fn judge_access(about: &str, user: &User, file: &FileFacts, rule: Rule) -> Option<Finding> {
    if file.accessible {
        return None;
    }
    let path = file.path.display();
    let finding = Finding::error(about, format!("{} may not use {path}", user.name));
    Some(
        if file.group_may && file.gid != 0 && user.groups.contains(&file.gid) {
            // A member already: something else forbids it.
            finding.remedy(format!(
                "{} is in its group {} already: look for a sandbox (systemd: DeviceAllow=, docker: --device)",
                user.name, file.group
            ))
        } else if file.group_may && file.gid != 0 {
            finding.remedy(format!(
                "sudo usermod -aG {} {} (then log in again, or restart the service)",
                file.group, user.name
            ))
        } else {
            let (rule, group, subsystem) = match rule {
                Rule::Gpio => (
                    "SUBSYSTEM==\"gpio\", KERNEL==\"gpiochip*\", GROUP=\"gpio\", MODE=\"0660\"",
                    "gpio",
                    "gpio",
                ),
                Rule::Serial => (
                    "SUBSYSTEM==\"tty\", KERNEL==\"tty[A-Z]*\", GROUP=\"dialout\", MODE=\"0660\"",
                    "dialout",
                    "tty",
                ),
            };
            finding.remedy(format!(
            "echo '{rule}' | sudo tee /etc/udev/rules.d/70-outpost-{group}.rules; sudo groupadd -f {group}; sudo udevadm control \
             --reload; sudo udevadm trigger -s {subsystem}; sudo usermod -aG {group} {}",
            user.name
        ))
        },
    )
}

/// Who checks, and whether that tells anything about the service. `owner` has the state directory.
pub fn judge_user(user: &User, owner: Option<u32>) -> Finding {
    let groups: Vec<String> = user
        .groups
        .iter()
        .map(|&gid| group_name(gid).unwrap_or_else(|| gid.to_string()))
        .collect();
    match owner {
        Some(owner) if owner != user.uid => {
            let service = name_of_user(owner);
            Finding::note(
                "user",
                format!(
                    "checked as {}, but the state directory belongs to {service}: what follows is true of {} alone",
                    user.name, user.name
                ),
            )
            .remedy(format!("sudo -u {} outpost-agent check", for_sudo(owner)))
        }
        _ => Finding::ok("user", format!("{}, groups {}", user.name, groups.join(", "))),
    }
}

/// A process that has a file open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Who has a device file open, as far as this user may know (proc(5): of others' processes only root sees it).
pub fn holders(path: &Path) -> Vec<Holder> {
    let Ok(real) = fs::canonicalize(path) else {
        return Vec::new();
    };
    let own = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
                .flatten();
            files
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|target| target == real)
        })
        .map(|pid| Holder {
            pid,
            name: fs::read_to_string(format!("/proc/{pid}/comm"))
                .map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn user(uid: u32, groups: &[u32]) -> User {
        User {
            uid,
            name: "pi".to_owned(),
            groups: groups.iter().copied().collect(),
        }
    }

    fn chip(gid: u32, group_may: bool, accessible: bool) -> FileFacts {
        FileFacts {
            path: "/dev/gpiochip0".into(),
            gid,
            group: "gpio".to_owned(),
            group_may,
            is_device: true,
            accessible,
        }
    }

    fn remedy(user: &User, file: &FileFacts, rule: Rule) -> String {
        judge_access("gpio", user, file, rule).unwrap().remedy.unwrap()
    }

    #[test]
    fn what_may_be_used_is_no_finding() {
        let file = chip(993, true, true);
        assert_eq!(judge_access("gpio", &user(1000, &[]), &file, Rule::Gpio), None);
    }

    #[test]
    fn the_group_of_the_file_is_what_to_join() {
        let pi = user(1000, &[1000]);
        let joined = remedy(&pi, &chip(993, true, false), Rule::Gpio);
        assert!(joined.starts_with("sudo usermod -aG gpio pi "), "{joined}");
        let member = remedy(&user(1000, &[993]), &chip(993, true, false), Rule::Gpio);
        assert!(member.contains("sandbox"), "{member}");
    }

    #[test]
    fn where_no_group_may_a_rule_is_needed() {
        let pi = user(1000, &[0, 1000]);
        // Root's group is nobody's to join, whatever it may.
        for file in [chip(0, true, false), chip(993, false, false)] {
            for (rule, group) in [(Rule::Gpio, "gpio"), (Rule::Serial, "dialout")] {
                let text = remedy(&pi, &file, rule);
                assert!(
                    text.contains(&format!("GROUP=\"{group}\"")) && text.contains(&format!("-aG {group} pi")),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn another_user_than_the_services_is_told_whom_to_be() {
        assert_eq!(judge_user(&user(7, &[0]), Some(7)).level, Level::Ok);
        assert_eq!(judge_user(&user(7, &[0]), None).level, Level::Ok);
        let other = judge_user(&user(7, &[0]), Some(0));
        assert_eq!(other.remedy.as_deref(), Some("sudo -u root outpost-agent check"));
    }

    #[test]
    fn who_has_a_file_open_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        assert_eq!(holders(&path), []);
        let mut cat = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(fs::File::open(&path).unwrap())
            .spawn()
            .unwrap();
        let found = holders(&path);
        drop(cat.stdin.take());
        cat.wait().unwrap();
        assert!(found.iter().any(|holder| holder.pid == cat.id()), "{found:?}");
    }
}
