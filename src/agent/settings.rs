//! The agent's configuration: one struct per section of `agent.toml`. `configs/agent.toml` explains every key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::registry::FunctionSettings;
use super::worker::{LONGEST_POLL, LaneSettings};
use crate::client::{HttpSettings, ServerUrl};
use crate::device::DeviceSettings;
use crate::device::duration::{self, format_duration};
use crate::device::gpio::BackendChoice;
use crate::protocol::identity::ID_LENGTH;

/// Prefix of the environment variables that stand over the file: `OUTPOST_AGENT__SERVER__URL`.
pub const ENVIRONMENT: &str = "OUTPOST_AGENT";

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the Colonies server is.
    pub server: Server,
    /// Which colony to work for.
    pub colony: Colony,
    /// What to register as.
    pub runtime: Runtime,
    /// How to work.
    pub agent: Agent,
    /// How GPIO lines are driven.
    pub gpio: Gpio,
    /// What can act, by name.
    pub devices: BTreeMap<String, DeviceSettings>,
    /// Further names for functions.
    pub functions: BTreeMap<String, FunctionSettings>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// `http://host:port` or `https://host`.
    pub url: String,
    /// Further certificate authorities to trust, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Until a connection stands.
    #[serde(deserialize_with = "duration::deserialize")]
    pub connect_timeout: Duration,
    /// Until an answer begins, beyond the time for which the server may hold it.
    #[serde(deserialize_with = "duration::deserialize")]
    pub answer_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        let http = HttpSettings::default();
        Server {
            url: "http://localhost:50080".to_owned(),
            ca_file: None,
            connect_timeout: http.connect,
            answer_timeout: http.answer,
        }
    }
}

/// `[colony]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Colony {
    /// 64 hex digits.
    pub id: String,
    /// The key of the colony's owner, if the agent is to add and approve itself.
    pub key_file: Option<PathBuf>,
}

/// `[runtime]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// For people and service discovery; the host's name if not given.
    pub name: Option<String>,
    /// Processes of this `runtimetype` come here.
    #[serde(rename = "type")]
    pub runtime_type: String,
    /// The agent's own key; made at the first start. In the state directory if not given.
    pub key_file: Option<PathBuf>,
    /// Informative; the processor's architecture if not given.
    pub cpu: Option<String>,
    /// Informative; as found if not given.
    pub cores: Option<i64>,
    /// Informative, MiB; as found if not given.
    pub mem: Option<i64>,
    /// Informative.
    pub gpu: String,
    /// Informative.
    pub gpus: i64,
}

/// `[agent]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// What the agent keeps between starts.
    pub state_dir: PathBuf,
    /// How long one request for work may be held by the server.
    #[serde(deserialize_with = "duration::deserialize")]
    pub poll_time: Duration,
    /// How long what runs may go on when the agent is told to stop.
    #[serde(deserialize_with = "duration::deserialize")]
    pub grace_time: Duration,
    /// Work for verbs that change something is refused when it waited longer; 0: never.
    #[serde(deserialize_with = "duration::deserialize")]
    pub max_age: Duration,
    /// The first pause after a failure is at most so long.
    #[serde(deserialize_with = "duration::deserialize")]
    pub backoff_min: Duration,
    /// No pause is longer.
    #[serde(deserialize_with = "duration::deserialize")]
    pub backoff_max: Duration,
    /// error, warn, info, debug or trace.
    pub log: LogLevel,
}

impl Default for Agent {
    fn default() -> Self {
        Agent {
            state_dir: PathBuf::from("/var/lib/outpost-agent"),
            poll_time: LONGEST_POLL,
            grace_time: Duration::from_secs(10),
            max_age: Duration::from_secs(60),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            log: LogLevel::Info,
        }
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LogLevel {
    /// What needs somebody.
    Error,
    /// And what may need somebody.
    Warn,
    /// And every process.
    Info,
    /// And every repeated attempt.
    Debug,
    /// Everything.
    Trace,
}

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

impl LogLevel {
    /// As `tracing` counts.
    pub fn as_tracing(self) -> tracing::Level {
        match self {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        }
    }
}

/// `[gpio]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpio {
    /// cdev, rppal, simulated or auto.
    pub backend: BackendChoice,
    /// Edges of the simulated board are written with their time, for a witness that reads them later.
    pub edge_times: bool,
}

/// A setting that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{key}: {problem}", place(file.as_deref()))]
pub struct BadSetting {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// `section.key`.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

fn place(file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| format!("{}: ", file.display()))
}

/// The longest grace time: with making safe and the last delivery it must fit into the service manager's patience
/// (`TimeoutStopSec=` of systemd/outpost-agent.service).
const LONGEST_GRACE: Duration = Duration::from_secs(60);
/// The shortest first pause: below it a dead server is hammered.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

impl Settings {
    /// Whether every value can be used, as far as can be told without touching anything. `file` is named in errors.
    ///
    /// # Errors
    /// The first one that can't.
    pub fn check(&self, file: Option<&Path>) -> Result<(), BadSetting> {
        let bad = |key: &str, problem: String| {
            Err(BadSetting {
                file: file.map(Path::to_owned),
                key: key.to_owned(),
                problem,
            })
        };
        if let Err(error) = ServerUrl::parse(&self.server.url) {
            return bad("server.url", error.to_string());
        }
        for (key, span) in [
            ("server.connect_timeout", self.server.connect_timeout),
            ("server.answer_timeout", self.server.answer_timeout),
        ] {
            if span.is_zero() {
                return bad(key, "it must be longer than nothing".to_owned());
            }
        }
        let id = &self.colony.id;
        if id.is_empty() {
            let text = "not set: write the colony's id there (`outpost colony list` shows it)";
            return bad("colony.id", text.to_owned());
        }
        if id.len() != ID_LENGTH || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            let text = format!("{id:?} is no colony id: it has {ID_LENGTH} lower-case hex digits");
            return bad("colony.id", text);
        }
        if self.runtime.runtime_type.is_empty() {
            let text = "not set: processes whose conditions name this runtimetype come to this agent, for example \"cli\"";
            return bad("runtime.type", text.to_owned());
        }
        if self.runtime.name.as_deref() == Some("") {
            return bad(
                "runtime.name",
                "empty: write a name, or leave the key out to take the host's".to_owned(),
            );
        }
        for (name, device) in &self.devices {
            if device.catch_all() {
                let text = "the agent does not serve shell workers yet: configure the programs with kind = \"command\"";
                return bad(&format!("devices.{name}.kind"), text.to_owned());
            }
            if device.slots() > 1 {
                let text = "the agent runs one program of a device at a time for now: write 1, or configure several devices";
                return bad(&format!("devices.{name}.slots"), text.to_owned());
            }
        }
        let agent = &self.agent;
        if agent.poll_time.subsec_nanos() != 0
            || !(Duration::from_secs(1)..=LONGEST_POLL).contains(&agent.poll_time)
        {
            let text = format!(
                "{} must be whole seconds from 1s to {}",
                format_duration(agent.poll_time),
                format_duration(LONGEST_POLL)
            );
            return bad("agent.poll_time", text);
        }
        if agent.grace_time > LONGEST_GRACE {
            let text = format!("must be at most {}", format_duration(LONGEST_GRACE));
            return bad("agent.grace_time", text);
        }
        if agent.backoff_min < SHORTEST_PAUSE {
            let text = format!("must be at least {}", format_duration(SHORTEST_PAUSE));
            return bad("agent.backoff_min", text);
        }
        if agent.backoff_max < agent.backoff_min {
            let text = format!(
                "must not be shorter than agent.backoff_min, {}",
                format_duration(agent.backoff_min)
            );
            return bad("agent.backoff_max", text);
        }
        Ok(())
    }

    /// Where the agent's own key is.
    pub fn key_file(&self) -> PathBuf {
        let default = || self.agent.state_dir.join("agent.key");
        self.runtime.key_file.clone().unwrap_or_else(default)
    }

    /// The oldest work that verbs may be given that change something.
    pub fn max_age(&self) -> Option<Duration> {
        Some(self.agent.max_age).filter(|age| !age.is_zero())
    }

    /// How a lane works.
    pub fn lane(&self) -> LaneSettings {
        LaneSettings {
            poll_time: self.agent.poll_time,
            grace_time: self.agent.grace_time,
            backoff_min: self.agent.backoff_min,
            backoff_max: self.agent.backoff_max,
            slots: 1,
        }
    }

    /// How the server is reached.
    pub fn http(&self) -> HttpSettings {
        HttpSettings {
            connect: self.server.connect_timeout,
            answer: self.server.answer_timeout,
            ca_file: self.server.ca_file.clone(),
            ..HttpSettings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::registry::FunctionTable;
    use crate::config::load;

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, text).unwrap();
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings: Settings = load(Some(&file), ENVIRONMENT, env).map_err(|error| error.to_string())?;
        settings.check(Some(&file)).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    const SHIPPED: &str = include_str!("../../configs/agent.toml");
    const SIMULATED: &str = include_str!("../../configs/agent-simulated.toml");

    #[test]
    fn the_shipped_configurations_can_be_used() {
        let real = read(SHIPPED, &[]).unwrap();
        assert_eq!(real.gpio.backend, BackendChoice::Auto);
        assert!(real.devices["lamp"].needs_gpio());
        assert_eq!(
            real.functions["turn_on_lamp"],
            FunctionSettings::Name("lamp.on".to_owned())
        );
        let simulated = read(SIMULATED, &[]).unwrap();
        assert_eq!(simulated.gpio.backend, BackendChoice::Simulated);
        assert_eq!(simulated.runtime.runtime_type, "cli");
    }

    /// Keys whose comment shows an example, since their default is found on the machine or is nothing at all.
    const EXAMPLES: &[&str] = &["ca_file", "name", "cpu", "cores", "mem", "flash", "key_file"];

    #[test]
    fn what_is_commented_out_shows_the_defaults_and_nothing_is_missing() {
        let plain = read(SHIPPED, &[]).unwrap();
        let mut shown = Vec::new();
        let uncommented: Vec<String> = SHIPPED
            .lines()
            .map(|line| match line.strip_prefix('#') {
                // Prose has a blank after the sign.
                Some(key) if !key.is_empty() && !key.starts_with(' ') => {
                    shown.push(key.split(' ').next().unwrap().to_owned());
                    key.to_owned()
                }
                _ => line.to_owned(),
            })
            .collect();
        let mut all = read(&uncommented.join("\n"), &[]).unwrap();
        assert_eq!(all.key_file(), plain.key_file(), "the example is the default");
        assert_eq!(
            all.functions.remove("flash"),
            Some(FunctionSettings::Table(FunctionTable {
                call: "lamp.pulse".to_owned(),
                args: vec!["3s".to_owned()]
            }))
        );
        all.server.ca_file = None;
        all.colony.key_file = None;
        all.runtime = Runtime {
            runtime_type: all.runtime.runtime_type,
            gpu: all.runtime.gpu,
            gpus: all.runtime.gpus,
            ..Runtime::default()
        };
        assert_eq!(all, plain);
        for key in EXAMPLES {
            assert!(shown.iter().any(|shown| shown == key), "{key} is not in the file");
        }
        // Every key of every section is there, commented or not.
        for (section, keys) in [
            (
                "server",
                &["url", "ca_file", "connect_timeout", "answer_timeout"][..],
            ),
            ("colony", &["id", "key_file"]),
            (
                "runtime",
                &["name", "type", "key_file", "cpu", "cores", "mem", "gpu", "gpus"],
            ),
            (
                "agent",
                &[
                    "state_dir",
                    "poll_time",
                    "grace_time",
                    "max_age",
                    "backoff_min",
                    "backoff_max",
                    "log",
                ],
            ),
            ("gpio", &["backend", "edge_times"]),
        ] {
            let unknown = format!("[{section}]\nno_such_key = 1\n");
            let error = read(&unknown, &[]).unwrap_err();
            let body = SHIPPED
                .split(&format!("[{section}]\n"))
                .nth(1)
                .unwrap()
                .split("\n[")
                .next()
                .unwrap();
            for key in keys {
                let there = body
                    .lines()
                    .any(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")));
                assert!(there, "[{section}] {key} is not in configs/agent.toml");
            }
            let known = error
                .split("known there are ")
                .nth(1)
                .unwrap_or(&error)
                .to_owned();
            assert_eq!(
                known.split(", ").count(),
                keys.len(),
                "this test knows every key of [{section}]: {error}"
            );
        }
    }

    #[test]
    fn the_environment_stands_over_the_file() {
        let env = [
            ("OUTPOST_AGENT__SERVER__URL", "https://hub.example"),
            ("OUTPOST_AGENT__AGENT__POLL_TIME", "5"),
            ("OUTPOST_AGENT__RUNTIME__CORES", "3"),
            ("OUTPOST_AGENT__GPIO__BACKEND", "simulated"),
            ("COLONIES_SERVERHOST", "not.read"),
        ];
        let settings = read(SHIPPED, &env).unwrap();
        assert_eq!(settings.server.url, "https://hub.example");
        assert_eq!(settings.agent.poll_time, Duration::from_secs(5));
        assert_eq!(settings.runtime.cores, Some(3));
        assert_eq!(settings.gpio.backend, BackendChoice::Simulated);
    }

    #[test]
    fn errors_name_the_key_the_file_and_what_to_do() {
        let with = |from: &str, to: &str| {
            assert!(SHIPPED.contains(from), "{from}");
            read(&SHIPPED.replace(from, to), &[]).unwrap_err()
        };
        for (from, to, key, help) in [
            ("#grace_time", "grace_tme", "agent.grace_tme", "`grace_time`"),
            (
                "\"http://hub.local",
                "\"hub.local",
                "server.url",
                "http://host:50080",
            ),
            ("id = \"4787", "id = \"", "colony.id", "64 lower-case hex digits"),
            ("type = \"cli\"", "type = \"\"", "runtime.type", "runtimetype"),
            (
                "#poll_time = \"30s\"",
                "poll_time = \"31s\"",
                "agent.poll_time",
                "from 1s to 30s",
            ),
            (
                "#poll_time = \"30s\"",
                "poll_time = \"1500ms\"",
                "agent.poll_time",
                "whole seconds",
            ),
            (
                "#grace_time = \"10s\"",
                "grace_time = \"61s\"",
                "agent.grace_time",
                "1m",
            ),
            (
                "#backoff_max = \"30s\"",
                "backoff_max = \"500ms\"",
                "agent.backoff_max",
                "backoff_min",
            ),
            (
                "#backend = \"auto\"",
                "backend = \"gpio\"",
                "gpio.backend",
                "rppal",
            ),
            ("#log = \"info\"", "log = \"loud\"", "agent.log", "debug or trace"),
            ("#max_pulse = \"10m\"", "max_puls = 3", "max_puls", "max_pulse"),
        ] {
            let error = with(from, to);
            assert!(error.contains(key), "{key}: {error}");
            assert!(error.contains(help), "{help}: {error}");
            assert!(error.contains("agent.toml"), "the file: {error}");
        }
        for (device, key, help) in [
            (
                "kind = \"shell-worker\"",
                "devices.box.kind",
                "kind = \"command\"",
            ),
            (
                "kind = \"command\"\nslots = 2\n[devices.box.functions.now]\nprogram = \"/bin/date\"",
                "devices.box.slots",
                "write 1",
            ),
        ] {
            let error = read(&format!("{SHIPPED}\n[devices.box]\n{device}"), &[]).unwrap_err();
            assert!(error.contains(key) && error.contains(help), "{error}");
        }
        let missing = read("[runtime]\ntype = \"cli\"", &[]).unwrap_err();
        assert!(missing.contains("colony.id: not set"), "{missing}");
    }
}
