//! The agent's configuration: one struct per section of `agent.toml`. `configs/agent.toml` explains every key.

mod safety;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::fence::Rules;
use super::journal::Role;
use super::metrics::MetricsAddress;
use super::registry::FunctionSettings;
use super::worker::{LONGEST_POLL, LaneSettings};
use crate::client::{HttpSettings, ServerUrl};
use crate::config::{self, ConfigError};
use crate::device::duration::{self, format_duration};
use crate::device::gpio::{BackendChoice, LineSpec};
use crate::device::{self, Care, DeviceSettings, DeviceTable, Verb};
use crate::protocol::identity::ID_LENGTH;
pub use safety::{HeartbeatLine, Safety};

/// Prefix of the environment variables that stand over the file: `OUTPOST_AGENT__SERVER__URL`.
pub const ENVIRONMENT: &str = "OUTPOST_AGENT";

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
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
    /// What shows an external watchdog that all is well.
    pub safety: Safety,
    /// What can act, by name.
    pub devices: BTreeMap<String, DeviceTable>,
    /// Further names for functions.
    pub functions: BTreeMap<String, FunctionSettings>,
    /// Figures for monitoring.
    pub metrics: MetricsSettings,
    /// Where the service manager put keys for us; from the environment alone.
    #[serde(skip)]
    pub credentials: Option<PathBuf>,
}

/// The service manager names there the folder with what `LoadCredential=` gave us (systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The credential that is the agent's own key.
pub const OWN_KEY_CREDENTIAL: &str = "agent.key";
/// The credential that is the key of the colony's owner.
pub const COLONY_KEY_CREDENTIAL: &str = "colony.key";

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file of ours.
    File(PathBuf),
    /// A credential of the service manager: it is there already, and never written.
    Credential(PathBuf),
}

/// Reads the configuration: the file, if one is named, and over it the environment. Not checked yet
/// ([`Settings::check`]).
///
/// # Errors
/// [`ConfigError`]
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let mut credentials = None;
    let environment = environment.inspect(|(name, value)| {
        if name == CREDENTIALS_DIRECTORY && !value.is_empty() {
            credentials = Some(PathBuf::from(value));
        }
    });
    let environment: Vec<_> = environment.collect();
    let settings = config::load(file, ENVIRONMENT, environment.into_iter())?;
    Ok(Settings {
        credentials,
        ..settings
    })
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
    /// How often the server is looked at while a long verb runs.
    #[serde(deserialize_with = "duration::deserialize")]
    pub supervise: Duration,
    /// How many processes may be worked on at once.
    pub slots: u16,
    /// Whether verbs that answer or stop at once come through a runtime of their own. Without it: if a verb other than an
    /// output's `off` stops what runs.
    pub control: Option<bool>,
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
            supervise: Duration::from_secs(5),
            slots: 1,
            control: None,
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

/// `[metrics]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// Where they are served; `None`: nowhere.
    pub listen: Option<MetricsAddress>,
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
/// How often the server may be looked at while a long verb runs: what it says must be of use, and it must not be hammered.
const SUPERVISE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The most that may be worked on at once.
const MOST_SLOTS: u16 = 32;
/// Processes that the control lane works on at once: each is over at once.
const CONTROL_SLOTS: usize = 8;
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
        let agent = &self.agent;
        if agent.slots == 0 || agent.slots > MOST_SLOTS {
            return bad("agent.slots", format!("must be from 1 to {MOST_SLOTS}"));
        }
        let mut catch_all: Option<&String> = None;
        for (name, table) in &self.devices {
            let device = &table.settings;
            if device.catch_all()
                && let Some(other) = catch_all.replace(name)
            {
                let text = format!(
                    "only one device can answer for every function, and devices.{other} does already"
                );
                return bad(&format!("devices.{name}.kind"), text);
            }
            if let Some(problem) = self.lacks_care(&table.care) {
                return bad(&format!("devices.{name}.{}", problem.0), problem.1);
            }
            if device.slots() > self.agent.slots {
                let text = format!(
                    "the agent works on {} at once (agent.slots), so {} would never be used",
                    self.agent.slots,
                    device.slots()
                );
                return bad(&format!("devices.{name}.slots"), text);
            }
        }
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
        for (name, output) in self
            .kinds()
            .filter_map(|(name, device)| Some((name, device.output()?)))
        {
            // One poll may be under way and one lost before the server has had a chance to answer.
            let least = 2 * agent.poll_time;
            if output.rules().lost.is_some() && output.lost_after <= least {
                let text = format!(
                    "{} must be longer than twice agent.poll_time, {}: between two answers that much may pass",
                    format_duration(output.lost_after),
                    format_duration(least)
                );
                return bad(&format!("devices.{name}.lost_after"), text);
            }
        }
        let mut held: Vec<(&String, &LineSpec)> = Vec::new();
        for (name, device) in self.kinds() {
            for line in device.lines() {
                // On a real board the kernel says so; but only when both are opened, which `check` does not do.
                if let Some((other, _)) = held.iter().find(|(_, held)| held.address == line.address) {
                    let text =
                        format!("{line} is a line of devices.{other} already: each line has one holder");
                    return bad(&format!("devices.{name}"), text);
                }
                held.push((name, line));
            }
        }
        if let Some((key, problem)) = self.safety.problem(self.kinds()) {
            return bad(key, problem);
        }
        for (name, kind) in self.kinds() {
            let DeviceSettings::Drone(drone) = kind else {
                continue;
            };
            let is_input = |input: &String| {
                let device = self.devices.get(input);
                device.is_some_and(|device| matches!(device.settings, DeviceSettings::Input(_)))
            };
            if let Some(missing) = drone.requires.iter().find(|input| !is_input(input)) {
                let text = format!("there is no input {missing:?}: name devices with kind = \"input\"");
                return bad(&format!("devices.{name}.requires"), text);
            }
            if drone.lost_after <= 2 * agent.supervise {
                let text = format!(
                    "{} must be longer than twice agent.supervise, {}: between two answers that much may pass",
                    format_duration(drone.lost_after),
                    format_duration(2 * agent.supervise)
                );
                return bad(&format!("devices.{name}.lost_after"), text);
            }
        }
        if let Err(error) = device::check_outputs(self.kinds()) {
            return bad(&format!("devices.{}.{}", error.device, error.key), error.problem);
        }
        if agent.grace_time > LONGEST_GRACE {
            let text = format!("must be at most {}", format_duration(LONGEST_GRACE));
            return bad("agent.grace_time", text);
        }
        if !(SUPERVISE.0..=SUPERVISE.1).contains(&agent.supervise) {
            let text = format!(
                "must be from {} to {}",
                format_duration(SUPERVISE.0),
                format_duration(SUPERVISE.1)
            );
            return bad("agent.supervise", text);
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

    /// What a hazardous device can't be used with (docs/fence.md, 2 and 3): the key and the problem.
    fn lacks_care(&self, care: &Care) -> Option<(&'static str, String)> {
        if !care.hazardous {
            return None;
        }
        let authenticated =
            ServerUrl::parse(&self.server.url).is_ok_and(|url| url.is_https() || url.is_loopback());
        if !authenticated && !care.insecure {
            let text = format!(
                "replies are not signed, so without TLS anybody on the way can start it: use an https address instead of \
                 server.url = {:?}, or set insecure = true in this table",
                self.server.url
            );
            return Some(("hazardous", text));
        }
        if care.max_age.unwrap_or(self.agent.max_age).is_zero() {
            let text = "a hazardous device must not take work however old it is: set it to a time, for example \"60s\"";
            return Some(("max_age", text.to_owned()));
        }
        None
    }

    /// What the devices are, by name.
    pub fn kinds(&self) -> impl Iterator<Item = (&String, &DeviceSettings)> {
        self.devices.iter().map(|(name, table)| (name, &table.settings))
    }

    /// Where the agent's own key is, whether made by us or given to us.
    pub fn key_file(&self) -> PathBuf {
        let (KeySource::File(path) | KeySource::Credential(path)) = self.key_source();
        path
    }

    /// Where the agent's own key comes from: the configured file, else the credential `agent.key`, else `agent.key`
    /// in the state directory.
    pub fn key_source(&self) -> KeySource {
        if let Some(path) = &self.runtime.key_file {
            return KeySource::File(path.clone());
        }
        self.credential(OWN_KEY_CREDENTIAL)
            .unwrap_or_else(|| KeySource::File(self.agent.state_dir.join("agent.key")))
    }

    /// Where the colony's key comes from, if there is one: the configured file, else the credential `colony.key`.
    pub fn colony_key_source(&self) -> Option<KeySource> {
        match &self.colony.key_file {
            Some(path) => Some(KeySource::File(path.clone())),
            None => self.credential(COLONY_KEY_CREDENTIAL),
        }
    }

    /// A credential that is there.
    fn credential(&self, name: &str) -> Option<KeySource> {
        let path = self.credentials.as_ref()?.join(name);
        path.exists().then_some(KeySource::Credential(path))
    }

    /// Where the key of the control lane is.
    pub fn control_key_file(&self) -> PathBuf {
        const NAME: &str = "agent.control.key";
        match &self.runtime.key_file {
            Some(own) => own.with_file_name(NAME),
            None => self.agent.state_dir.join(NAME),
        }
    }

    /// What the fence wants to know of a device's verb.
    pub fn rules(&self, table: &DeviceTable, verb: &Verb) -> Rules {
        let own = table.care.max_age;
        let usual = Some(self.agent.max_age).filter(|_| table.settings.goes_stale());
        Rules {
            max_age: own.or(usual).filter(|age| !age.is_zero()),
            repeat: table.settings.repeats(&verb.name),
            hazardous: table.care.hazardous,
            require_target: table.care.require_target,
            queue_wait: table.care.queue_wait,
        }
    }

    /// How a lane works.
    pub fn lane(&self, role: Role) -> LaneSettings {
        LaneSettings {
            poll_time: self.agent.poll_time,
            grace_time: self.agent.grace_time,
            backoff_min: self.agent.backoff_min,
            backoff_max: self.agent.backoff_max,
            supervise: self.agent.supervise,
            slots: match role {
                Role::Work => usize::from(self.agent.slots),
                Role::Control => CONTROL_SLOTS,
            },
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
mod tests;
