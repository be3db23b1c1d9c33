//! The keys: there, readable by their owner alone, and by the service.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::access::name_of_user;
use super::finding::Finding;
use crate::keyfile::{self, KeyFileError};
use crate::protocol::PrivateKey;

/// A key file as it was found.
#[derive(Debug)]
pub struct KeyFacts {
    /// `runtime.key_file` or `colony.key_file`.
    pub setting: &'static str,
    /// Where.
    pub path: PathBuf,
    /// The key's id, or why there is none.
    pub id: Result<String, KeyFileError>,
    /// Whose file it is, if it is there.
    pub owner: Option<u32>,
    /// It is made at the first start if it is missing.
    pub is_made: bool,
}

impl KeyFacts {
    /// Looks; makes nothing.
    pub fn gather(setting: &'static str, path: &Path, is_made: bool) -> (Self, Option<PrivateKey>) {
        let loaded = keyfile::load(path);
        let key = loaded.as_ref().ok().cloned();
        let facts = KeyFacts {
            setting,
            path: path.to_owned(),
            id: loaded.map(|key| key.id()),
            owner: std::fs::metadata(path).ok().map(|file| file.uid()),
            is_made,
        };
        (facts, key)
    }
}

/// `service` is the user whose state directory it is, if there is one.
pub fn judge(facts: &KeyFacts, service: Option<u32>) -> Finding {
    let path = facts.path.display();
    match (&facts.id, facts.owner, service) {
        (Ok(_), Some(owner), Some(service)) if owner != service => Finding::error(
            facts.setting,
            format!(
                "{path} belongs to {}, so the service, as {}, can't read it",
                name_of_user(owner),
                name_of_user(service)
            ),
        )
        .remedy(format!("sudo chown {} {path}", name_of_user(service))),
        (Ok(id), ..) => Finding::ok(facts.setting, format!("{path}: id {id}")),
        (Err(KeyFileError::Missing(_)), ..) if facts.is_made => {
            Finding::note(facts.setting, format!("{path} is made at the first start"))
        }
        (Err(error), ..) => {
            let finding = Finding::error(facts.setting, error.to_string());
            match error {
                KeyFileError::Exposed { .. } => finding.remedy(format!("sudo chmod 600 {path}")),
                _ => finding,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn facts(id: Result<String, KeyFileError>, owner: Option<u32>, is_made: bool) -> KeyFacts {
        KeyFacts {
            setting: "runtime.key_file",
            path: "/k".into(),
            id,
            owner,
            is_made,
        }
    }

    #[test]
    fn each_state_of_a_key_has_its_level_and_remedy() {
        let missing = || Err(KeyFileError::Missing("/k".into()));
        let exposed = Err(KeyFileError::Exposed {
            path: "/k".into(),
            mode: 0o644,
        });
        let good = || Ok("ab".to_owned());
        for (facts, service, level, remedy) in [
            (facts(good(), Some(5), true), Some(5), Level::Ok, None),
            (facts(good(), Some(5), true), None, Level::Ok, None),
            (
                facts(good(), Some(5), true),
                Some(0),
                Level::Error,
                Some("sudo chown root /k"),
            ),
            (facts(missing(), None, true), Some(5), Level::Note, None),
            (facts(missing(), None, false), Some(5), Level::Error, None),
            (
                facts(exposed, Some(5), true),
                Some(5),
                Level::Error,
                Some("sudo chmod 600 /k"),
            ),
        ] {
            let finding = judge(&facts, service);
            assert_eq!(
                (finding.level, finding.remedy.as_deref()),
                (level, remedy),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn looking_makes_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.key");
        let (facts, key) = KeyFacts::gather("runtime.key_file", &path, true);
        assert!(key.is_none() && !path.exists());
        assert_eq!(judge(&facts, None).level, Level::Note);
    }
}
