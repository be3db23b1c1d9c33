//! The operator's configuration file: reading it strictly, and setting single keys without losing the rest.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::CliError;
use super::keys::make_directory;

/// What the configuration file may hold. Relative paths are relative to the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileSettings {
    /// The server's address.
    pub server: Option<String>,
    /// Further authorities for HTTPS, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The colony's id.
    pub colony: Option<String>,
    /// The operator's key file.
    pub operator_key: Option<PathBuf>,
    /// The colony owner's key file.
    pub colony_key: Option<PathBuf>,
    /// The server owner's key file.
    pub server_key: Option<PathBuf>,
}

/// Only the file is read: the environment's variables are those of the original command line, which have other names.
const NO_ENVIRONMENT: &str = "OUTPOST_OPERATOR";

impl FileSettings {
    /// Reads `file`; one that is not there says nothing.
    pub fn load(file: &Path) -> Result<Self, CliError> {
        if !file.exists() {
            return Ok(FileSettings::default());
        }
        let mut settings: FileSettings = crate::config::load(Some(file), NO_ENVIRONMENT, std::iter::empty())
            .map_err(|error| CliError::usage(error.to_string()))?;
        let base = file.parent().unwrap_or(Path::new(""));
        for path in [
            &mut settings.ca_file,
            &mut settings.operator_key,
            &mut settings.colony_key,
            &mut settings.server_key,
        ]
        .into_iter()
        .flatten()
        {
            *path = base.join(&*path);
        }
        Ok(settings)
    }
}

/// Sets keys in the file, which is made if it is not there; everything else in it stays as it is.
pub fn set(file: &Path, values: &[(&str, &str)]) -> Result<(), CliError> {
    let wrong = |error: std::io::Error| CliError::usage(format!("cannot write {}: {error}", file.display()));
    if let Some(directory) = file.parent() {
        make_directory(directory)?;
    }
    let old = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "# The operator's settings, made by `outpost`; `outpost help` explains them.\n".to_owned()
        }
        Err(error) => return Err(wrong(error)),
    };
    let text = with_values(&old, values);
    if text == old {
        return Ok(());
    }
    // Whole or not at all: a reader never sees half of it.
    let beside = file.with_extension("toml.new");
    std::fs::write(&beside, text).map_err(wrong)?;
    std::fs::rename(&beside, file).map_err(wrong)
}

/// The file is flat, so each key is a line.
fn with_values(text: &str, values: &[(&str, &str)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (key, value) in values {
        let line = format!("{key} = {}", quoted(value));
        let place = lines
            .iter_mut()
            .find(|line| line.split_once('=').is_some_and(|(name, _)| name.trim() == *key));
        match place {
            Some(place) => *place = line,
            None => lines.push(line),
        }
    }
    lines.join("\n") + "\n"
}

/// A basic string of TOML.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => {
                text.push('\\');
                text.push(letter);
            }
            letter if letter.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<(FileSettings, PathBuf), String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let settings = FileSettings::load(&file).map_err(|error| error.to_string())?;
        Ok((settings, directory.path().to_owned()))
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text = "server = \"http://h:1\"\noperator_key = \"operator.key\"\ncolony_key = \"/x/c.key\"";
        let (settings, directory) = load(text).unwrap();
        assert_eq!(settings.server.as_deref(), Some("http://h:1"));
        assert_eq!(settings.operator_key, Some(directory.join("operator.key")));
        assert_eq!(settings.colony_key, Some(PathBuf::from("/x/c.key")));
        assert_eq!(load("").unwrap().0, FileSettings::default());
        assert_eq!(
            FileSettings::load(Path::new("/nowhere/at/all")).unwrap(),
            FileSettings::default()
        );
    }

    #[test]
    fn unknown_keys_are_refused_with_a_suggestion() {
        let error = load("colonykey = \"x\"").unwrap_err();
        assert!(
            error.contains("config.toml") && error.contains("did you mean `colony_key`"),
            "{error}"
        );
        for text in ["[agent]\nname = \"x\"", "server = 7 7", "server = [\"x\"]"] {
            let error = load(text).unwrap_err();
            assert!(error.contains("config.toml"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_set_is_read_again_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deep/config.toml");
        set(
            &file,
            &[("server", "http://h:1"), ("operator_key", "we\"ird\\n\u{7}ame")],
        )
        .unwrap();
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("# mine\n");
        std::fs::write(&file, text).unwrap();
        set(&file, &[("server", "http://h:2"), ("colony", "c")]).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let settings = FileSettings::load(&file).unwrap();
        assert_eq!(settings.server.as_deref(), Some("http://h:2"));
        assert_eq!(settings.colony.as_deref(), Some("c"));
        assert_eq!(
            settings.operator_key,
            Some(directory.path().join("deep/we\"ird\\n\u{7}ame"))
        );
        assert!(text.contains("# mine"), "{text}");
    }
}
