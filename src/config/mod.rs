//! Settings from a file and the environment: typed by the room that uses them, checked here, with messages that name
//! the key and the file, and never a value.
//!
//! First the file (TOML), then the environment: `PREFIX__SECTION__KEY`, in any case. Nothing else is read. The types
//! must have `deny_unknown_fields`, so that a misspelt key is an error.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Value, ValueKind};
use serde::de::DeserializeOwned;

/// Why settings can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is no TOML.
    #[error("{path} is not valid TOML: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what, without the text.
        reason: String,
    },
    /// A key that nobody knows.
    #[error("unknown key `{key}` in {origin}{}", hint(.suggestion, .known))]
    Unknown {
        /// With its sections.
        key: String,
        /// The file, or the environment.
        origin: String,
        /// A known key that looks like it.
        suggestion: Option<String>,
        /// All keys known there.
        known: Vec<String>,
    },
    /// A key whose value is of a wrong type, or out of range, or missing.
    #[error("{} in {origin}: {reason}", named(.key))]
    Value {
        /// With its sections; `None` where that could not be found out.
        key: Option<String>,
        /// The file, or the environment.
        origin: String,
        /// What is expected.
        reason: String,
    },
}

fn hint(suggestion: &Option<String>, known: &[String]) -> String {
    match suggestion {
        Some(name) => format!(": did you mean `{name}`?"),
        None if known.is_empty() => String::new(),
        None => format!(": known there are {}", known.join(", ")),
    }
}

fn named(key: &Option<String>) -> String {
    match key {
        Some(key) => format!("`{key}`"),
        None => "a value".to_owned(),
    }
}

/// Loads settings: the file, if one is named, then the variables of `env` that begin with `PREFIX__`.
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Settings { listen: String }
/// # impl Default for Settings { fn default() -> Self { Settings { listen: "127.0.0.1:0".into() } } }
///
/// let env = [("OUTPOST_HUB__LISTEN".to_owned(), "127.0.0.1:50080".to_owned())];
/// let settings: Settings = outpost::config::load(None, "OUTPOST_HUB", env.into_iter())?;
/// assert_eq!(settings.listen, "127.0.0.1:50080");
/// # Ok::<(), outpost::config::ConfigError>(())
/// ```
///
/// # Errors
/// [`ConfigError`]
pub fn load<T: DeserializeOwned>(
    file: Option<&Path>,
    env_prefix: &str,
    env: impl Iterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?,
        None => String::new(),
    };
    parse(&text, file, env_prefix, env)
}

/// [`load`] with the file's text at hand; `file` is only named in errors.
///
/// # Errors
/// [`ConfigError`], never [`ConfigError::Unreadable`].
pub fn parse<T: DeserializeOwned>(
    text: &str,
    file: Option<&Path>,
    env_prefix: &str,
    env: impl Iterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let of_us = format!("{}__", env_prefix.to_ascii_uppercase());
    let env: HashMap<String, String> = env
        .filter(|(name, _)| name.to_ascii_uppercase().starts_with(&of_us))
        .collect();
    let from_env: Vec<String> = env
        .keys()
        .map(|name| name[of_us.len()..].to_ascii_lowercase().replace("__", "."))
        .collect();
    let mut origins = Origins {
        file,
        env_prefix,
        from_env,
        settings: None,
    };
    let environment = Environment::with_prefix(env_prefix)
        .prefix_separator("__")
        .separator("__")
        .source(Some(env));
    Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(environment)
        .build()
        .and_then(|settings| {
            origins.settings = Some(settings.clone());
            settings.try_deserialize()
        })
        .map_err(|error| origins.explain(error))
}

/// Where a value came from.
struct Origins<'a> {
    file: Option<&'a Path>,
    env_prefix: &'a str,
    from_env: Vec<String>,
    /// What was read, once it was.
    settings: Option<Config>,
}

impl Origins<'_> {
    fn of(&self, key: Option<&str>) -> String {
        let by_env = key.is_some_and(|key| {
            let key = key.to_ascii_lowercase();
            self.from_env.iter().any(|name| {
                *name == key || key.ends_with(&format!(".{name}")) || name.ends_with(&format!(".{key}"))
            })
        });
        match (by_env, self.file, key) {
            (true, _, Some(key)) => format!(
                "the environment ({}__{})",
                self.env_prefix,
                key.to_ascii_uppercase().replace('.', "__")
            ),
            (_, Some(file), _) => file.display().to_string(),
            _ => "the environment".to_owned(),
        }
    }

    fn explain(&self, error: config::ConfigError) -> ConfigError {
        self.explain_at(error, None)
    }

    fn explain_at(&self, error: config::ConfigError, outer: Option<String>) -> ConfigError {
        match error {
            config::ConfigError::At { error, key, .. } => self.explain_at(*error, outer.or(key)),
            config::ConfigError::FileParse { cause, .. } => ConfigError::Syntax {
                path: self.file.unwrap_or(Path::new("")).to_owned(),
                reason: without_text(&cause.to_string()),
            },
            config::ConfigError::Type {
                unexpected,
                expected,
                key,
                ..
            } => {
                let key = outer.or(key);
                // Only the kind of what was found, not the value: it may be a secret in the wrong place.
                let found = unexpected.to_string();
                let is = match found.split(' ').next().unwrap_or_default() {
                    "boolean" => "true or false",
                    "floating" => "a fraction",
                    "string" => "a text",
                    "unit" => "nothing",
                    "sequence" => "a list",
                    "map" => "a section",
                    _ => "a number",
                };
                ConfigError::Value {
                    origin: self.of(key.as_deref()),
                    key,
                    reason: format!("expected {}, found {is}", in_words(expected)),
                }
            }
            config::ConfigError::NotFound(name) => {
                let key = match &outer {
                    Some(section) if !name.starts_with(section.as_str()) => format!("{section}.{name}"),
                    _ => name,
                };
                ConfigError::Value {
                    origin: self.of(Some(&key)),
                    key: Some(key),
                    reason: "it is missing".to_owned(),
                }
            }
            other => {
                let given = self.given(outer.as_deref());
                let text = other.to_string();
                let number = || the_number_named(&text, self.below(outer.as_deref())?);
                let outer = the_one_named(&text, &given).or_else(number).or(outer);
                self.explain_text(&without_values(&text, &given), outer)
            }
        }
    }

    /// The texts that were given below a key, with their keys; all of them where the key is not known.
    fn given(&self, key: Option<&str>) -> Vec<(String, String)> {
        let mut given = Vec::new();
        if let Some((key, value)) = self.below(key) {
            each(key, value, &mut |key, kind| {
                if let ValueKind::String(text) = kind {
                    given.push((key.to_owned(), text));
                }
            });
        }
        given
    }

    /// What was given below a key; everything where the key is not known.
    fn below<'key>(&self, key: Option<&'key str>) -> Option<(&'key str, Value)> {
        let settings = self.settings.as_ref()?;
        let found = key.and_then(|key| Some((key, settings.get::<Value>(key).ok()?)));
        Some(found.unwrap_or_else(|| ("", settings.cache.clone())))
    }

    /// Where below a section an unknown key stands, if it stands there only once; else the section. Some sections are read by
    /// readers that don't tell where in them they were.
    fn unknown_within(&self, section: String, name: &str) -> String {
        let mut found = Vec::new();
        if let Some(value) = self
            .settings
            .as_ref()
            .and_then(|settings| settings.get::<Value>(&section).ok())
        {
            named_so(&section, value, name, &mut found);
        }
        match <[String; 1]>::try_from(found) {
            Ok([key]) => key,
            Err(_) => section,
        }
    }

    /// Errors that serde worded.
    fn explain_text(&self, text: &str, outer: Option<String>) -> ConfigError {
        let names: Vec<String> = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        if let Some(rest) = text.strip_prefix("unknown field `")
            && let Some((name, _)) = rest.split_once('`')
        {
            let known: Vec<String> = names
                .iter()
                .skip(1)
                .filter(|known| *known != name)
                .cloned()
                .collect();
            let key = match outer.map(|section| self.unknown_within(section, name)) {
                Some(section) if section != name && !section.ends_with(&format!(".{name}")) => {
                    format!("{section}.{name}")
                }
                Some(key) => key,
                None => name.to_owned(),
            };
            return ConfigError::Unknown {
                origin: self.of(Some(&key)),
                key,
                suggestion: nearest(name, &known),
                known,
            };
        }
        let reason = if text.contains("does not have variant constructor") {
            "that is none of the choices".to_owned()
        } else if let Some((_, choices)) = text
            .strip_prefix("unknown variant `")
            .and_then(|rest| rest.split_once("`, "))
        {
            choices.to_owned()
        } else if let Some((found, expected)) = text.rsplit_once(", expected ") {
            format!("{found}, expected {}", in_words(expected))
        } else {
            text.to_owned()
        };
        ConfigError::Value {
            origin: self.of(outer.as_deref()),
            key: outer,
            reason,
        }
    }
}

/// The known name that a misspelt one was meant to be.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let likeness = |other: &String| strsim::jaro_winkler(&name.to_ascii_lowercase(), other);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.75).then(|| best.clone())
}

/// A syntax error's first and last line: where, and what. Between them stands the line of the file, which may hold a
/// secret.
fn without_text(error: &str) -> String {
    let lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let told: Vec<&str> = lines
        .filter(|line| !line.contains('|') && !line.starts_with('^'))
        .collect();
    let place = told
        .first()
        .map(|line| line.trim_start_matches("TOML parse error "))
        .unwrap_or_default();
    match told.last() {
        Some(what) if told.len() > 1 => format!("{place}: {what}"),
        _ => place.to_owned(),
    }
}

/// Shows every plain value in a value, with its key.
fn each(key: &str, value: Value, see: &mut impl FnMut(&str, ValueKind)) {
    match value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                let key = match key {
                    "" => name,
                    key => format!("{key}.{name}"),
                };
                each(&key, value, see);
            }
        }
        ValueKind::Array(list) => list.into_iter().for_each(|value| each(key, value, see)),
        plain => see(key, plain),
    }
}

/// The keys in a value that have that name.
fn named_so(key: &str, value: Value, name: &str, into: &mut Vec<String>) {
    match value.kind {
        ValueKind::Table(table) => {
            for (inner, value) in table {
                let key = format!("{key}.{inner}");
                named_so(&key, value, name, into);
                if inner == name {
                    into.push(key);
                }
            }
        }
        ValueKind::Array(list) => list
            .into_iter()
            .for_each(|value| named_so(key, value, name, into)),
        _ => {}
    }
}

/// A message in pieces; every second one was quoted, and stands here without its quotes.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            b'\\' if !pieces.len().is_multiple_of(2) => escaped = !escaped,
            _ => escaped = false,
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// Fewer letters of a value that was cut short would be in many a word.
const LONG: usize = 16;

/// Whether a quoted text is a value, or the beginning of one.
fn is_value(quoted: &str, value: &str) -> bool {
    quoted == value || (quoted.len() >= LONG && value.starts_with(quoted))
}

/// The key of the one text that a message complains about.
fn the_one_named(message: &str, given: &[(String, String)]) -> Option<String> {
    let variant = message
        .strip_prefix("unknown variant `")
        .and_then(|rest| rest.split('`').next());
    let said: Vec<&str> = pieces(message)
        .into_iter()
        .skip(1)
        .step_by(2)
        .chain(variant)
        .collect();
    let mut keys = given
        .iter()
        .filter(|(_, value)| said.iter().any(|quoted| is_value(quoted, value)))
        .map(|(key, _)| key);
    let first = keys.next()?;
    keys.all(|key| key == first).then(|| first.clone())
}

/// The key of the one number that a message complains about.
fn the_number_named(message: &str, (key, value): (&str, Value)) -> Option<String> {
    let said = ["integer `", "floating point `"].iter().find_map(|kind| {
        let (_, rest) = message.split_once(kind)?;
        rest.split('`').next()?.parse::<f64>().ok()
    })?;
    let mut keys = Vec::new();
    each(key, value, &mut |key, kind| {
        let number = match kind {
            ValueKind::I64(number) => number as f64,
            ValueKind::U64(number) => number as f64,
            ValueKind::Float(number) => number,
            _ => return,
        };
        if number == said {
            keys.push(key.to_owned());
        }
    });
    <[String; 1]>::try_from(keys).ok().map(|[key]| key)
}

/// What a type of number takes, in words for people; everything else as it is.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "an unsigned 8 bit integer" => "a whole number from 0 to 255",
        "u16" | "an unsigned 16 bit integer" => "a whole number from 0 to 65535",
        "u32" | "an unsigned 32 bit integer" => "a whole number from 0 to 4294967295",
        "u64" | "usize" | "an unsigned 64 bit or less integer" => "a whole number, 0 or more",
        "i64" | "isize" | "a signed 64 bit or less integer" => "a whole number",
        "f32" | "f64" | "a floating point" => "a number",
        other => other,
    }
}

/// A message without the values that it quotes: `invalid type: string "…"`. What else it quotes (an example, a
/// choice) stays. What had to be escaped is taken for a value.
fn without_values(message: &str, given: &[(String, String)]) -> String {
    let pieces = pieces(message);
    let closed = !pieces.len().is_multiple_of(2);
    let last = pieces.len() - 1;
    let shown = pieces.iter().enumerate().map(|(number, piece)| {
        let is_given = given.iter().any(|(_, value)| is_value(piece, value));
        if number.is_multiple_of(2) {
            (*piece).to_owned()
        } else if is_given || piece.contains('\\') || (number == last && !closed) {
            "…".to_owned()
        } else {
            format!("\"{piece}\"")
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        listen: String,
        http: Http,
        devices: BTreeMap<String, Device>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Http {
        max_body: usize,
        verbose: bool,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Device {
        kind: Kind,
        #[serde(default)]
        line: String,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Lamp,
        Serial,
    }

    fn load_text(text: &str, env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let mut file = tempfile::Builder::new().suffix("my.toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let env = env
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        load(Some(file.path()), "OUTPOST_TEST", env)
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let settings = load_text(
            "listen = 'a'\n[http]\nmax_body = 5\n[devices.lamp-1]\nkind = 'lamp'\nline = 'GPIO17'\n",
            &[
                ("OUTPOST_TEST__LISTEN", "007"),
                ("OUTPOST_TEST__HTTP__VERBOSE", "true"),
                ("OUTPOST_TESTER__LISTEN", "no"),
                ("LISTEN", "no"),
                ("OUTPOST_TEST_LISTEN", "no"),
            ],
        )
        .unwrap();
        assert_eq!(settings.listen, "007");
        assert_eq!(
            settings.http,
            Http {
                max_body: 5,
                verbose: true
            }
        );
        assert_eq!(settings.devices["lamp-1"].line, "GPIO17");
    }

    #[test]
    fn nothing_at_all_gives_the_defaults() {
        let none = std::iter::empty();
        assert_eq!(load::<Settings>(None, "X", none).unwrap(), Settings::default());
    }

    #[test]
    fn unknown_keys_are_named_with_file_and_suggestion() {
        let text = load_text("lisen = 'a'", &[]).unwrap_err().to_string();
        assert!(text.starts_with("unknown key `lisen` in /"), "{text}");
        assert!(text.ends_with("my.toml: did you mean `listen`?"), "{text}");

        let text = load_text("[http]\nmax_boby = 5", &[]).unwrap_err().to_string();
        assert!(text.contains("`http.max_boby`"), "{text}");
        assert!(text.contains("did you mean `max_body`?"), "{text}");

        let text = load_text("[devices.lamp]\nkind = 'lamp'\nlien = 'x'", &[])
            .unwrap_err()
            .to_string();
        assert!(text.contains("`devices.lamp.lien`"), "{text}");
        assert!(text.contains("did you mean `line`?"), "{text}");

        let text = load_text("[quite_else]\na = 1", &[]).unwrap_err().to_string();
        assert!(text.contains("`quite_else`"), "{text}");
        assert!(text.contains("known there are listen, http, devices"), "{text}");
    }

    #[test]
    fn unknown_variables_are_named_as_variables() {
        let text = load_text("", &[("OUTPOST_TEST__HTTP__MAX_BOBY", "5")])
            .unwrap_err()
            .to_string();
        assert!(text.contains("OUTPOST_TEST__HTTP__MAX_BOBY"), "{text}");
        assert!(text.contains("did you mean `max_body`?"), "{text}");
    }

    #[test]
    fn wrong_values_are_named_but_never_shown() {
        for (text, key) in [
            ("[http]\nmax_body = 'secret-1'", "`http.max_body`"),
            ("[http]\nverbose = 'secret-1'", "`http.verbose`"),
            ("http = 'secret-1'", "`http`"),
            ("[devices.lamp]\nkind = 'secret-1'", "`devices.lamp.kind`"),
            ("[http]\nmax_body = -5", "`http.max_body`"),
        ] {
            let error = load_text(text, &[]).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(key), "{text}: {said}");
            assert!(said.contains("my.toml"), "{said}");
            assert!(!said.contains("secret-1"), "{said}");
        }
        let text = load_text("[devices.lamp]\nline = 'x'", &[])
            .unwrap_err()
            .to_string();
        assert!(text.starts_with("`devices.lamp.kind` in /"), "{text}");
        assert!(text.ends_with("my.toml: it is missing"), "{text}");
    }

    #[test]
    fn a_number_that_does_not_fit_is_named_and_told_what_would() {
        // Tables that are read by readers that don't tell where in them they were.
        #[derive(Debug)]
        struct Port;
        impl<'de> Deserialize<'de> for Port {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                use serde::de::Error;
                #[derive(Deserialize)]
                #[expect(dead_code, reason = "only read")]
                struct Keys {
                    unit: u8,
                    scale: f64,
                }
                let value = serde_json::Value::deserialize(from)?;
                let keys: Result<Keys, _> = serde_json::from_value(value);
                keys.map(|_| Port).map_err(D::Error::custom)
            }
        }
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only read")]
        struct Ports {
            ports: BTreeMap<String, Port>,
            slots: u16,
        }
        for (text, said) in [
            (
                "slots = 70000\nports = {}",
                "`slots` in F: expected a whole number from 0 to 65535, found a number",
            ),
            (
                "slots = 1\nports.a = { unit = 300, scale = 1 }",
                "`ports.a.unit` in F: invalid value: integer `300`, expected a whole number from 0 to 255",
            ),
            (
                "slots = 1\nports.a = { unit = 1.5, scale = 1 }",
                "`ports.a.unit` in F: invalid type: floating point `1.5`, expected a whole number from 0 to 255",
            ),
            // Either could be meant.
            (
                "slots = 1\nports.a = { unit = 300, scale = 300 }",
                "`ports.a` in F: invalid value: integer `300`, expected a whole number from 0 to 255",
            ),
        ] {
            let mut file = tempfile::Builder::new().suffix("my.toml").tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let read: Result<Ports, _> = load(Some(file.path()), "X", std::iter::empty());
            let name = file.path().display().to_string();
            assert_eq!(read.unwrap_err().to_string().replace(&name, "F"), said);
        }
    }

    #[test]
    fn what_a_room_says_of_a_value_is_shown_whole_but_for_the_value() {
        #[derive(Debug, Deserialize)]
        #[serde(try_from = "String")]
        struct Line;
        impl TryFrom<String> for Line {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Err(format!(
                    "{text:?} is no line: write line = \"GPIO17\" for BCM 17, or \"GPIO4\""
                ))
            }
        }
        #[derive(Debug, Deserialize)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        enum Thing {
            Lamp {
                #[expect(dead_code, reason = "only read")]
                line: Line,
            },
            Valve {
                #[expect(dead_code, reason = "only read")]
                at: Kind,
                #[expect(dead_code, reason = "only read")]
                name: String,
            },
        }
        #[derive(Debug, Deserialize)]
        struct Things {
            #[expect(dead_code, reason = "only read")]
            things: BTreeMap<String, Thing>,
        }
        let said = |text: &str| {
            let mut file = tempfile::Builder::new().suffix("my.toml").tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let read: Result<Things, _> = load(Some(file.path()), "X", std::iter::empty());
            read.unwrap_err().to_string()
        };
        for secret in ["secret-1", "GPIO4", "sec\\\"ret\\n-1", "a \\\\"] {
            let text = format!("[things.a]\nkind = 'lamp'\nline = \"{secret}\"");
            let text = said(&text);
            let key = if secret.contains('\\') {
                "things.a"
            } else {
                "things.a.line"
            };
            assert!(text.starts_with(&format!("`{key}` in /")), "{text}");
            let shown = text.split_once("my.toml: ").unwrap().1;
            let expected = match secret {
                "GPIO4" => "… is no line: write line = \"GPIO17\" for BCM 17, or …",
                _ => "… is no line: write line = \"GPIO17\" for BCM 17, or \"GPIO4\"",
            };
            assert_eq!(shown, expected);
        }
        // A choice inside a table that is told apart by `kind`: the key is found by what was written there.
        let text = said("[things.a]\nkind = 'valve'\nname = 'x'\nat = 'secret-1'");
        assert!(text.starts_with("`things.a.at` in /"), "{text}");
        assert!(
            text.ends_with("expected `lamp` or `serial`") && !text.contains("secret"),
            "{text}"
        );
    }

    #[test]
    fn broken_files_are_told_by_line_without_the_line() {
        let error = load_text("listen = 'a'\nhttp = secret-1 secret", &[]).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains("line 2"), "{said}");
        assert!(!said.contains("secret"), "{said}");
        let missing = load::<Settings>(Some(Path::new("/nowhere/at.toml")), "X", std::iter::empty());
        let text = missing.unwrap_err().to_string();
        assert!(text.contains("/nowhere/at.toml"), "{text}");
    }
}
