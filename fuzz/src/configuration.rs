//! The three configuration files.

use std::fmt::Debug;
use std::path::Path;

use outpost::cli::file::FileSettings;
use outpost::config::{self, ConfigError};
use outpost::{agent, hub};
use serde::de::DeserializeOwned;

/// The first byte chooses the program, the others are its file: read the same each time or refused each time, with a reason; what nobody
/// knows is refused; the environment stands over the file.
pub fn run(data: &[u8]) {
    let Some((&program, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match program % 3 {
        0 => {
            let Some(settings) = read::<agent::settings::Settings>(text) else {
                return;
            };
            if let Err(error) = settings.check(None) {
                assert!(!error.key.is_empty() && !error.problem.is_empty());
            }
            let above = [("OUTPOST_AGENT__SERVER__URL", "http://above:1")];
            // Of an inline table or a dotted key as of a section.
            if let Ok(settings) =
                load::<agent::settings::Settings>(text, agent::settings::ENVIRONMENT, &above)
            {
                assert_eq!(settings.server.url, "http://above:1");
            }
        }
        1 => {
            let Some(settings) = read::<hub::Settings>(text) else {
                return;
            };
            let _ = settings.check();
            let above = [("OUTPOST_HUB__LISTEN", "127.0.0.1:0")];
            let settings: hub::Settings =
                load(text, hub::settings::ENV_PREFIX, &above).expect("it was read without");
            assert_eq!(settings.listen, "127.0.0.1:0");
        }
        _ => {
            let _ = read::<FileSettings>(text);
        }
    }
}

fn load<T: DeserializeOwned>(text: &str, prefix: &str, env: &[(&str, &str)]) -> Result<T, ConfigError> {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config::parse(text, Some(Path::new("file.toml")), prefix, env)
}

fn read<T: DeserializeOwned + PartialEq + Debug>(text: &str) -> Option<T> {
    let of_file = |text: &str| load::<T>(text, "OUTPOST_NOBODY", &[]);
    let first = of_file(text);
    // Of several mistakes now this one is named, now that one: sections are read in no order.
    assert_eq!(first.as_ref().ok(), of_file(text).as_ref().ok());
    if let Err(error) = &first {
        assert!(!error.to_string().is_empty());
        assert!(!matches!(error, ConfigError::Unreadable { .. }));
        return None;
    }
    let with_stranger = of_file(&format!("{text}\n[stranger]\nkey = 1\n"));
    assert!(with_stranger.is_err(), "a section that nobody knows was taken");
    first.ok()
}
