//! What most commands begin with: the configuration, and the state directory.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Invocation;
use super::accounts::for_sudo;
use crate::agent::journal::{Journal, Limits, LockError, Moment, OpenError, Opening, Storage};
use crate::agent::service;
use crate::agent::settings::{self, Settings};
use crate::clock::Clock;
use crate::console::Console;

/// Where the packages and systemd/README.md put the configuration.
pub const USUAL_CONFIG: &str = "/etc/outpost/agent.toml";

/// The configuration, and where it is.
pub struct Setup {
    /// What it says.
    pub settings: Settings,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
}

impl Setup {
    /// Reads it: the file that was named, or [`USUAL_CONFIG`] if that is there; then the environment.
    ///
    /// # Errors
    /// In words, with the remedy.
    pub fn read(invocation: &Invocation) -> Result<Self, String> {
        let usual = || Some(PathBuf::from(USUAL_CONFIG)).filter(|file| file.exists());
        Setup::read_from(invocation.config.clone().or_else(usual))
    }

    /// As [`Setup::read`], of a file that is known.
    pub fn read_from(file: Option<PathBuf>) -> Result<Self, String> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let settings = settings::load(file.as_deref(), environment).map_err(|error| error.to_string())?;
        let setup = Setup { settings, file };
        service::check(&setup.settings, setup.file()).map_err(|error| format!("{error}{}", setup.hint()))?;
        Ok(setup)
    }

    /// As [`Setup::read`]; what is wrong is told.
    pub fn read_or_tell(invocation: &Invocation, console: &mut Console) -> Option<Self> {
        Setup::read(invocation)
            .inspect_err(|problem| console.note(format_args!("outpost-agent: {problem}")))
            .ok()
    }

    /// The file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn hint(&self) -> &'static str {
        match self.file {
            Some(_) => "",
            None => "; no configuration was named: outpost-agent --config FILE",
        }
    }
}

/// Tells a problem as every command does, and gives the exit code back.
pub(super) fn complain(console: &mut Console, code: u8, problem: impl fmt::Display) -> u8 {
    console.note(format_args!("outpost-agent: {problem}"));
    code
}

/// How the service is stopped.
pub(super) const STOP_SERVICE: &str = "sudo systemctl stop outpost-agent";

/// Why a state directory can't be ours, with what to type.
pub(super) fn explain_lock(error: &LockError) -> String {
    match error {
        LockError::Held { .. } => format!("{error}; the service is stopped by `{STOP_SERVICE}`"),
        LockError::Io { .. } => error.to_string(),
    }
}

/// Whoever writes in a state directory must be its owner: files of root there would keep the service from starting.
///
/// # Errors
/// What to type instead.
pub(super) fn as_owner_of(folder: &Path, command: &str) -> Result<(), String> {
    // What is not there yet has no owner.
    let Ok(metadata) = std::fs::metadata(folder) else {
        return Ok(());
    };
    let (ours, theirs) = (rustix::process::geteuid().as_raw(), metadata.uid());
    if ours == theirs {
        return Ok(());
    }
    let user = for_sudo(theirs);
    Err(format!(
        "{} belongs to {user}: run this as that user, `sudo -u {user} outpost-agent {command}`",
        folder.display()
    ))
}

/// Opens the journal as the service does.
///
/// # Errors
/// [`OpenError`]
pub(super) fn open_journal(
    storage: Box<dyn Storage>,
    clock: &dyn Clock,
) -> Result<(Journal, Opening), OpenError> {
    Journal::open(
        storage,
        Moment::of(clock),
        &service::this_machine(),
        Limits::default(),
    )
}
