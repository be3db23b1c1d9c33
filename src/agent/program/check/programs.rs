//! Configured programs: there, and executable.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::finding::Finding;
use crate::device::DeviceSettings;
use crate::device::command::{ProgramSettings, SHELL};

/// A configured program as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFacts {
    /// `DEVICE.FUNCTION`
    pub function: String,
    /// Its file.
    pub program: PathBuf,
    /// A file is there.
    pub is_there: bool,
    /// It may be run: by us, or by somebody at least where it runs as another user.
    pub executable: bool,
    /// Where it is run.
    pub directory: PathBuf,
    /// That is a folder.
    pub directory_is_there: bool,
}

impl ProgramFacts {
    /// Looks at all programs of a device.
    pub fn gather(device: &str, settings: &DeviceSettings) -> Vec<Self> {
        let DeviceSettings::Command(command) = settings else {
            return Vec::new();
        };
        command
            .functions
            .iter()
            .map(|(name, function)| {
                let program = match &function.program {
                    ProgramSettings::File(path) => path.clone(),
                    ProgramSettings::Shell(_) => PathBuf::from(SHELL),
                };
                ProgramFacts {
                    function: format!("{device}.{name}"),
                    is_there: program.is_file(),
                    executable: match function.user {
                        None => rustix::fs::access(&program, Access::EXEC_OK).is_ok(),
                        Some(_) => fs::metadata(&program).is_ok_and(|file| file.mode() & 0o111 != 0),
                    },
                    program,
                    directory_is_there: Path::new(&function.directory).is_dir(),
                    directory: function.directory.clone(),
                }
            })
            .collect()
    }
}

/// What the facts mean.
pub fn judge(facts: &ProgramFacts) -> Finding {
    let program = facts.program.display();
    if !facts.is_there {
        Finding::error(&facts.function, format!("there is no program {program}"))
            .remedy("install it, or correct `program`")
    } else if !facts.executable {
        Finding::error(&facts.function, format!("{program} may not be run"))
            .remedy(format!("sudo chmod a+rx {program}"))
    } else if !facts.directory_is_there {
        Finding::error(
            &facts.function,
            format!("there is no folder {}", facts.directory.display()),
        )
        .remedy("make it, or correct `directory`")
    } else {
        Finding::ok(&facts.function, format!("{program} can be run"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn what_a_program_lacks_is_named() {
        let good = ProgramFacts {
            function: "box.now".to_owned(),
            program: "/bin/date".into(),
            is_there: true,
            executable: true,
            directory: "/srv".into(),
            directory_is_there: true,
        };
        assert_eq!(judge(&good).level, Level::Ok);
        let gone = ProgramFacts {
            is_there: false,
            ..good.clone()
        };
        assert!(judge(&gone).text.contains("no program /bin/date"));
        let plain = ProgramFacts {
            executable: false,
            ..good.clone()
        };
        assert_eq!(judge(&plain).remedy.as_deref(), Some("sudo chmod a+rx /bin/date"));
        let nowhere = ProgramFacts {
            directory_is_there: false,
            ..good
        };
        assert!(judge(&nowhere).text.contains("no folder /srv"));
    }
}
