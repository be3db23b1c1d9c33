//! Another user to run a program as: who that is, and whether the agent may become it.

use std::ffi::OsString;
use std::path::Path;

use rustix::process::{Gid, Uid};
use rustix::thread::CapabilitySet;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its own group.
    pub gid: Gid,
    /// All its groups.
    pub groups: Vec<Gid>,
    /// Its home directory.
    pub home: OsString,
}

/// Why a program can't be run as another user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// No such user.
    #[error("user = {name:?}: /etc/passwd has no such user (users from elsewhere can't be used)")]
    Unknown {
        /// What was written.
        name: String,
    },
    /// No capability.
    #[error(
        "user = {name:?}: the agent may not change to another user; install the drop-in \
         systemd/outpost-agent.service.d/command-user.conf (docs/commands.md says what it opens), or leave `user` \
         out and the program runs as the agent's own user"
    )]
    NotAllowed {
        /// What was written.
        name: String,
    },
    /// A file can't be read.
    #[error("user = {name:?}: {file} can't be read: {cause}")]
    Unreadable {
        /// What was written.
        name: String,
        /// The file.
        file: &'static str,
        /// The system's words.
        cause: String,
    },
}

impl Account {
    /// Looks a user up and makes sure that the agent may run programs as it, and may stop them.
    ///
    /// # Errors
    /// Every [`AccountError`].
    pub fn open(name: &str) -> Result<Account, AccountError> {
        let read = |file: &'static str| {
            std::fs::read(Path::new(file))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|cause| AccountError::Unreadable {
                    name: name.to_owned(),
                    file,
                    cause: cause.to_string(),
                })
        };
        let account =
            find(name, &read("/etc/passwd")?, &read("/etc/group")?).ok_or_else(|| AccountError::Unknown {
                name: name.to_owned(),
            })?;
        if may_switch() || !account.is_other() {
            return Ok(account);
        }
        Err(AccountError::NotAllowed {
            name: name.to_owned(),
        })
    }

    /// Whether that is somebody else than the agent runs as.
    pub fn is_other(&self) -> bool {
        self.uid != rustix::process::geteuid()
    }

    /// What belongs to the user in an environment.
    pub fn environment(&self) -> [(&'static str, OsString); 3] {
        [
            ("HOME", self.home.clone()),
            ("USER", self.name.clone().into()),
            ("LOGNAME", self.name.clone().into()),
        ]
    }
}

/// Whether this process can become another user and still stop what runs as that one.
fn may_switch() -> bool {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}

/// passwd(5): `name:password:uid:gid:comment:home:shell`; group(5): `name:password:gid:members`.
fn find(name: &str, passwd: &str, group: &str) -> Option<Account> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number != u32::MAX);
    let fields: Vec<&str> = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 6 && fields[0] == name)?;
    let gid = Gid::from_raw(number(fields[3])?);
    let mut groups = vec![gid];
    for line in group.lines() {
        let [_, _, id, members] = line.split(':').collect::<Vec<_>>()[..] else {
            continue;
        };
        if members.split(',').any(|member| member == name) {
            groups.extend(number(id).map(Gid::from_raw).filter(|id| *id != gid));
        }
    }
    Some(Account {
        name: name.to_owned(),
        uid: Uid::from_raw(number(fields[2])?),
        gid,
        groups,
        home: fields[5].into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_with_its_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\npi:x:1000:1001:,,,:/home/pi:/bin/bash\n";
        let group = "pi:x:1001:\ngpio:x:997:pi,other\nvideo:x:44:other\ndialout:x:20:other,pi\nbroken\n";
        let pi = find("pi", passwd, group).unwrap();
        assert_eq!((pi.uid.as_raw(), pi.gid.as_raw()), (1000, 1001));
        assert_eq!(
            pi.groups.iter().map(|id| id.as_raw()).collect::<Vec<_>>(),
            [1001, 997, 20]
        );
        assert_eq!(pi.home, "/home/pi");
        for name in ["", "p", "broken", "PI", "1000"] {
            assert_eq!(find(name, passwd, group), None, "{name:?}");
        }
        // −1 means “leave as it is” to the system calls.
        assert_eq!(find("bad", "bad:x:4294967295:0::/:", ""), None);
    }

    #[test]
    fn an_unknown_user_and_a_missing_capability_are_named_with_the_remedy() {
        let unknown = Account::open("no-such-user-here").unwrap_err().to_string();
        assert!(unknown.contains("/etc/passwd has no such user"), "{unknown}");
        let refused = AccountError::NotAllowed { name: "pi".into() }.to_string();
        assert!(
            refused.contains("systemd/outpost-agent.service.d/command-user.conf"),
            "{refused}"
        );
    }
}
