//! Settings from a file, then from the environment; the sections are typed by the rooms that use them.
//!
//! A key that nobody knows is an error: a misspelt limit must not silently be no limit.

use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;

/// What stands between the parts of an environment variable's name: `OUTPOST_HUB__SECTION__KEY`.
pub const SEPARATOR: &str = "__";

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("can't read the configuration {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is no TOML, or a value can't be what it should be. Names key, place and remedy.
    #[error("in {place}: {text}")]
    Wrong {
        /// The file, or the environment.
        place: String,
        /// What is wrong.
        text: String,
    },
}

/// Loads settings: from `file` if there is one, then from those variables of `environment` that begin with
/// `prefix` and [`SEPARATOR`]; their names are otherwise the keys in upper case, joined by [`SEPARATOR`].
///
/// # Errors
/// [`SettingsError`] that names the key, the place and, for a key that nobody knows, the one that may be meant.
pub fn load<T: DeserializeOwned>(
    file: Option<&Path>,
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, SettingsError> {
    let mut builder = Config::builder();
    let mut place = "the environment".to_owned();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|cause| SettingsError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        place = path.display().to_string();
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let begins = format!("{prefix}{SEPARATOR}");
    let ours: config::Map<String, String> = environment
        .into_iter()
        .filter(|(name, _)| name.starts_with(&begins))
        .collect();
    let named: Vec<&str> = ours.keys().map(String::as_str).collect();
    if !named.is_empty() && file.is_some() {
        place = format!("{place} and the environment ({})", named.join(", "));
    }
    // No guessing at types: an id of digits alone stays a text, and what should be a number is read as one.
    let variables = Environment::with_prefix(prefix)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .try_parsing(false)
        .source(Some(ours));
    let wrong = |error: config::ConfigError| SettingsError::Wrong {
        place: place.clone(),
        text: explain(&error.to_string()),
    };
    builder
        .add_source(variables)
        .build()
        .map_err(wrong)?
        .try_deserialize()
        .map_err(wrong)
}

/// Adds to serde's words about an unknown key the one that may be meant.
fn explain(text: &str) -> String {
    let Some((_, rest)) = text.split_once("unknown field `") else {
        return text.to_owned();
    };
    let Some((found, rest)) = rest.split_once('`') else {
        return text.to_owned();
    };
    // `… expected one of `a`, `b` …`: every second part stands between back quotes.
    let list = rest.split(" for key").next().unwrap_or_default();
    let known: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    match nearest(found, known.iter().copied()) {
        Some(meant) => format!("{text}; did you mean `{meant}`?"),
        None => text.to_owned(),
    }
}

/// The word that is most like `found`, if one is.
pub fn nearest<'a>(found: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this (of 1) two words have little in common.
    const ALIKE: f64 = 0.7;
    let scored = words
        .into_iter()
        .map(|word| (strsim::jaro_winkler(found, word), word));
    scored
        .filter(|(score, _)| *score > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        listen: String,
        limits: Limits,
        devices: BTreeMap<String, Device>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        body: u32,
        id: String,
        on: bool,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Device {
        line: String,
    }

    fn sample(text: &str, environment: &[(&str, &str)]) -> Result<Sample, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(Some(&path), "OUTPOST_HUB", environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_comes_after_the_file() {
        let text = "listen = \"a\"\n[limits]\nbody = 1\nid = \"x\"\n[devices.lamp]\nline = \"GPIO17\"";
        let environment = [
            ("OUTPOST_HUB__LIMITS__BODY", "2"),
            ("OUTPOST_HUB__LIMITS__ID", "1234567e89"),
            ("OUTPOST_HUB__LIMITS__ON", "true"),
            ("OUTPOST_HUB__DEVICES__LAMP__LINE", "GPIO18"),
            ("OUTPOST_HUB_LISTEN", "not ours"),
            ("OUTPOST_AGENT__LISTEN", "not ours"),
            ("LISTEN", "not ours"),
        ];
        let found = sample(text, &environment).unwrap();
        assert_eq!(found.listen, "a");
        assert_eq!(
            found.limits,
            Limits {
                body: 2,
                id: "1234567e89".into(),
                on: true
            }
        );
        assert_eq!(found.devices["lamp"].line, "GPIO18");
    }

    #[test]
    fn errors_name_the_key_the_place_and_the_remedy() {
        for (text, environment, parts) in [
            (
                "lisen = \"a\"",
                [].as_slice(),
                ["sample.toml", "`lisen`", "did you mean `listen`?"],
            ),
            (
                "[limits]\nbodi = 1",
                &[],
                ["sample.toml", "`bodi`", "did you mean `body`?"],
            ),
            (
                "[devices.lamp]\nline = \"a\"\nchip = 1",
                &[],
                ["sample.toml", "`chip`", "devices"],
            ),
            (
                "[limits]\nbody = \"large\"",
                &[],
                ["sample.toml", "limits.body", "large"],
            ),
            (
                "[devices.lamp]\nlines = \"a\"",
                &[],
                ["sample.toml", "`lines`", "did you mean `line`?"],
            ),
            ("listen = ", &[], ["sample.toml", "listen", "line 1"]),
            (
                "",
                &[("OUTPOST_HUB__LIMITS__BODY", "x")],
                ["OUTPOST_HUB__LIMITS__BODY", "limits.body", "x"],
            ),
            (
                "",
                &[("OUTPOST_HUB__LISTN", "x")],
                ["OUTPOST_HUB__LISTN", "`listn`", "did you mean `listen`?"],
            ),
        ] {
            let error = sample(text, environment).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
        let missing = load::<Sample>(Some(Path::new("/nowhere/hub.toml")), "OUTPOST_HUB", []).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/hub.toml"), "{missing}");
        assert_eq!(
            load::<Sample>(None, "OUTPOST_HUB", []).unwrap(),
            Sample::default()
        );
    }
}
