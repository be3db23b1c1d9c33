//! The hub's settings. `configs/hub.toml` shows all of them with their defaults.

use std::path::PathBuf;

use serde::Deserialize;

use crate::protocol::identity::ID_LENGTH;

/// What the variables in the environment begin with, before `__`.
pub const ENV_PREFIX: &str = "OUTPOST_HUB";

/// All settings of a hub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen: `HOST:PORT`; port 0 is chosen by the system.
    pub listen: String,
    /// Where the database and the keys are.
    pub data_dir: PathBuf,
    /// The id of the server's owner, if the key is kept elsewhere; empty: the key is `keys/server.key`.
    pub server_id: String,
    /// A colony to make at the start, if it is not there yet; empty: none.
    pub init_colony: String,
    /// How much is logged.
    pub log: LogLevel,
    /// The HTTP server.
    pub http: Http,
    /// The ledger.
    pub ledger: Ledger,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: "127.0.0.1:50080".to_owned(),
            data_dir: PathBuf::from("outpost-data"),
            server_id: String::new(),
            init_colony: String::new(),
            log: LogLevel::default(),
            http: Http::default(),
            ledger: Ledger::default(),
        }
    }
}

/// How much is logged; each level includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LogLevel {
    /// What fails.
    Error,
    /// What may become a failure.
    Warn,
    /// Starts, stops, and what an owner wants to know.
    #[default]
    Info,
    /// Every request.
    Debug,
    /// Everything.
    Trace,
}

// Not by serde's own reading of choices, since that can't say which there are.
impl TryFrom<String> for LogLevel {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Ok(match text.as_str() {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => return Err("write error, warn, info, debug or trace"),
        })
    }
}

/// Settings of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// How many connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// Seconds a client may take to send the headers of its next request. A long poll that waits for work is a request
    /// already and is not limited by it.
    pub idle_timeout: u64,
    /// Seconds a client may take to send a body.
    pub body_timeout: u64,
    /// Seconds that open requests get to finish when the hub stops.
    pub shutdown_grace: u64,
}

impl Default for Http {
    fn default() -> Self {
        Http {
            max_body: 1024 * 1024,
            max_connections: 1000,
            idle_timeout: 120,
            body_timeout: 30,
            shutdown_grace: 5,
        }
    }
}

/// Settings of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// How many requests share a commit at most.
    pub max_batch: usize,
    /// How many requests may wait for the ledger; more wait in their connections.
    pub max_queue: usize,
    /// How many runtimes may wait for work at once.
    pub max_waiters: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            max_batch: 128,
            max_queue: 256,
            max_waiters: 10_000,
        }
    }
}

/// A setting whose value can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {reason}")]
pub struct BadSetting {
    /// Which.
    pub key: &'static str,
    /// Why, and what would do.
    pub reason: String,
}

impl Settings {
    /// Checks what the types alone don't.
    ///
    /// # Errors
    /// The first setting that can't be used.
    pub fn check(&self) -> Result<(), BadSetting> {
        let bad = |key, reason: &str| {
            Err(BadSetting {
                key,
                reason: reason.to_owned(),
            })
        };
        let port = self.listen.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) || self.listen.starts_with(':') {
            return bad(
                "listen",
                "must be HOST:PORT, such as 127.0.0.1:50080 or [::]:50080",
            );
        }
        if self.data_dir.as_os_str().is_empty() {
            return bad("data_dir", "must name a folder");
        }
        if !self.server_id.is_empty() && !is_id(&self.server_id) {
            return bad(
                "server_id",
                "must be the id of a key: 64 lower-case hex digits (`outpost keys id` tells it)",
            );
        }
        if !self.init_colony.is_empty() && !is_file_name(&self.init_colony) {
            return bad(
                "init_colony",
                "must be a name of at most 64 letters, digits, `-`, `_` and `.` that begins with a letter or digit",
            );
        }
        for (key, value) in [
            ("http.max_body", self.http.max_body),
            ("http.max_connections", self.http.max_connections),
            ("ledger.max_batch", self.ledger.max_batch),
            ("ledger.max_queue", self.ledger.max_queue),
            ("ledger.max_waiters", self.ledger.max_waiters),
        ] {
            // The upper bound is what tokio's semaphores take on the smallest machine.
            if value == 0 || value > 1 << 28 {
                return bad(key, "must be at least 1 and at most 268435456");
            }
        }
        for (key, value) in [
            ("http.idle_timeout", self.http.idle_timeout),
            ("http.body_timeout", self.http.body_timeout),
            ("http.shutdown_grace", self.http.shutdown_grace),
        ] {
            if value == 0 || value > 86_400 {
                return bad(key, "must be at least 1 and at most 86400 seconds");
            }
        }
        Ok(())
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A colony's name becomes part of the name of a key file.
pub fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= 64
        && name.bytes().all(plain)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_shows_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/hub.toml");
        let text = std::fs::read_to_string(path).unwrap();
        // Every setting is there, not commented out: compare what the file alone says.
        let table: toml_keys::Keys = toml_keys::of(&text);
        let shipped: Settings =
            crate::config::load(Some(path.as_ref()), ENV_PREFIX, std::iter::empty()).unwrap();
        assert_eq!(shipped, Settings::default());
        assert_eq!(
            table,
            [
                "listen",
                "data_dir",
                "server_id",
                "init_colony",
                "log",
                "max_body",
                "max_connections",
                "idle_timeout",
                "body_timeout",
                "shutdown_grace",
                "max_batch",
                "max_queue",
                "max_waiters"
            ]
        );
    }

    #[test]
    fn a_wrong_log_level_is_told_the_right_ones() {
        let level = |text: &str| {
            let variable = ("OUTPOST_HUB__LOG".to_owned(), text.to_owned());
            crate::config::load::<Settings>(None, ENV_PREFIX, std::iter::once(variable))
        };
        assert_eq!(level("debug").unwrap().log, LogLevel::Debug);
        let error = level("loud").unwrap_err().to_string();
        assert!(
            error.contains("`log`") && error.contains("error, warn, info, debug or trace"),
            "{error}"
        );
    }

    mod toml_keys {
        pub type Keys = Vec<String>;

        /// The keys that a file sets, in order.
        pub fn of(text: &str) -> Keys {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines
                .filter_map(|line| line.split_once('='))
                .map(|(key, _)| key.trim().to_owned())
                .collect()
        }
    }

    #[test]
    fn what_cant_be_used_is_named() {
        type Break = fn(&mut Settings);
        let bad: [(&str, Break); 8] = [
            ("listen", |s| s.listen = "localhost".into()),
            ("listen", |s| s.listen = ":80".into()),
            ("listen", |s| s.listen = "localhost:70000".into()),
            ("server_id", |s| s.server_id = "AB".repeat(32)),
            ("init_colony", |s| s.init_colony = "../x".into()),
            ("http.max_body", |s| s.http.max_body = 0),
            ("ledger.max_queue", |s| s.ledger.max_queue = usize::MAX),
            ("http.idle_timeout", |s| s.http.idle_timeout = 0),
        ];
        for (key, break_it) in bad {
            let mut settings = Settings::default();
            assert_eq!(settings.check(), Ok(()));
            break_it(&mut settings);
            assert_eq!(settings.check().unwrap_err().key, key);
        }
    }

    #[test]
    fn names_are_file_names() {
        for name in ["dev", "a.b-c_d", "7"] {
            assert!(is_file_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "-x", "a b", "ä", &"x".repeat(65)] {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
