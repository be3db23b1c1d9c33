//! What most commands begin with: the configuration.

use std::path::{Path, PathBuf};

use super::Invocation;
use crate::agent::service;
use crate::agent::settings::{ENVIRONMENT, Settings};
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
        let file = invocation.config.clone().or_else(usual);
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let settings: Settings = crate::config::load(file.as_deref(), ENVIRONMENT, environment)
            .map_err(|error| error.to_string())?;
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
