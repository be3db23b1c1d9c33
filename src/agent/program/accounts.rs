//! Names of users and groups, as /etc/passwd and /etc/group have them. The agent is linked statically on some boards, where
//! asking the system's own resolver would not do.

/// The name of a user.
pub(super) fn user_name(uid: u32) -> Option<String> {
    name_in(&std::fs::read_to_string("/etc/passwd").ok()?, uid)
}

/// A user as `sudo -u` takes it, also one without a name.
pub(super) fn for_sudo(uid: u32) -> String {
    user_name(uid).unwrap_or_else(|| format!("'#{uid}'"))
}

/// The name of a group.
pub(super) fn group_name(gid: u32) -> Option<String> {
    name_in(&std::fs::read_to_string("/etc/group").ok()?, gid)
}

/// passwd(5) and group(5) both begin with `NAME:PASSWORD:ID`.
fn name_in(file: &str, id: u32) -> Option<String> {
    let id = id.to_string();
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number() {
        let file = "root:x:0:0:root:/root:/bin/bash\nbroken\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n";
        assert_eq!(name_in(file, 1000).as_deref(), Some("pi"));
        assert_eq!(name_in(file, 0).as_deref(), Some("root"));
        assert_eq!(name_in(file, 1), None);
        assert_eq!(for_sudo(0), "root");
        assert_eq!(
            for_sudo(4_000_000_000),
            "'#4000000000'",
            "no comment of the shell"
        );
    }
}
