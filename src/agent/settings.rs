//! The agent's configuration: one struct per section of `agent.toml`. `configs/agent.toml` explains every key.

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
use crate::device::gpio::BackendChoice;
use crate::device::{self, Care, DeviceSettings, DeviceTable, Verb};
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
        if agent.slots == 0 || agent.slots > MOST_SLOTS {
            return bad("agent.slots", format!("must be from 1 to {MOST_SLOTS}"));
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

    /// Where the agent's own key is.
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
mod tests {
    use super::*;
    use crate::agent::registry::FunctionTable;

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, text).unwrap();
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = load(Some(&file), env).map_err(|error| error.to_string())?;
        settings.check(Some(&file)).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    const SHIPPED: &str = include_str!("../../configs/agent.toml");
    const SIMULATED: &str = include_str!("../../configs/agent-simulated.toml");

    #[test]
    fn the_shipped_configurations_can_be_used() {
        let real = read(SHIPPED, &[]).unwrap();
        assert_eq!(real.gpio.backend, BackendChoice::Auto);
        assert!(real.devices["lamp"].settings.needs_gpio());
        assert_eq!(
            real.functions["turn_on_lamp"],
            FunctionSettings::Name("lamp.on".to_owned())
        );
        let simulated = read(SIMULATED, &[]).unwrap();
        assert_eq!(simulated.gpio.backend, BackendChoice::Simulated);
        assert_eq!(simulated.runtime.runtime_type, "cli");
    }

    /// Keys whose comment shows an example, since their default is found on the machine or is nothing at all.
    const EXAMPLES: &[&str] = &[
        "ca_file",
        "name",
        "cpu",
        "cores",
        "mem",
        "flash",
        "key_file",
        "listen",
        "interlock",
        "feedback",
    ];

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
        let uncommented = uncommented.join("\n");
        let alone = read(&uncommented, &[]).unwrap_err();
        assert!(
            alone.contains("devices.lamp.interlock: \"bridge\" has this output alone"),
            "{alone}"
        );
        let mut all = read(&uncommented.replace("\ninterlock = ", "\n#interlock = "), &[]).unwrap();
        assert_eq!(all.key_file(), plain.key_file(), "the example is the default");
        assert_eq!(
            all.functions.remove("flash"),
            Some(FunctionSettings::Table(FunctionTable {
                call: "lamp.pulse".to_owned(),
                args: vec!["3s".to_owned()]
            }))
        );
        let DeviceSettings::Lamp(lamp) = &mut all.devices.get_mut("lamp").unwrap().settings else {
            panic!("no lamp");
        };
        let feedback = lamp.output.feedback.take().unwrap();
        assert_eq!(feedback.time, Duration::from_millis(200), "the default is shown");
        all.server.ca_file = None;
        all.colony.key_file = None;
        assert_eq!(all.agent.control.take(), Some(false));
        let lamp = all.devices.get_mut("lamp").unwrap();
        assert_eq!(lamp.care.max_age.take(), Some(plain.agent.max_age), "the usual");
        all.metrics.listen = None;
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
                    "supervise",
                    "slots",
                    "control",
                    "backoff_min",
                    "backoff_max",
                    "log",
                ],
            ),
            ("gpio", &["backend", "edge_times"]),
            ("metrics", &["listen"]),
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
        let unknown = "[devices.lamp]\nkind = \"lamp\"\nline = \"GPIO17\"\nno_such_key = 1\n";
        let error = read(unknown, &[]).unwrap_err();
        let known: Vec<&str> = error
            .split("known there are ")
            .nth(1)
            .unwrap()
            .split(", ")
            .collect();
        assert!(known.len() > 15, "{error}");
        for key in known {
            // The other way to name a line is in the comment of `line`.
            let told = matches!(key, "chip" | "offset");
            let there = SHIPPED
                .lines()
                .any(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")));
            assert!(told || there, "[devices.lamp] {key} is not in configs/agent.toml");
        }
    }

    #[test]
    fn a_hazardous_device_needs_an_authenticated_server_and_an_age_limit() {
        let with = |url: &str, keys: &str| {
            let text = SHIPPED
                .replace("http://hub.local:50080", url)
                .replace("#hazardous = false", &format!("hazardous = true\n{keys}"));
            read(&text, &[])
        };
        let error = with("http://hub.local:50080", "").unwrap_err();
        assert!(
            error.contains("devices.lamp.hazardous")
                && error.contains("https")
                && error.contains("insecure = true"),
            "{error}"
        );
        assert!(with("http://hub.local:50080", "insecure = true").is_ok());
        for url in [
            "https://hub.local",
            "http://127.0.0.1:50080",
            "http://localhost:50080",
        ] {
            assert!(with(url, "").is_ok(), "{url}");
        }
        let error = with("https://hub.local", "max_age = 0").unwrap_err();
        assert!(error.contains("devices.lamp.max_age"), "{error}");
    }

    #[test]
    fn keys_come_from_the_configuration_else_from_credentials_else_from_the_state_directory() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            (OWN_KEY_CREDENTIAL, COLONY_KEY_CREDENTIAL),
            ("agent.key", "colony.key"),
            "as the unit says"
        );
        let own = folder.path().join(OWN_KEY_CREDENTIAL);
        let colonys = folder.path().join(COLONY_KEY_CREDENTIAL);
        let name = folder.path().to_str().unwrap();
        let given = |text: &str| read(text, &[(CREDENTIALS_DIRECTORY, name)]).unwrap();
        let state = KeySource::File("/var/lib/outpost-agent/agent.key".into());

        // A folder that was given for other credentials.
        let settings = given(SHIPPED);
        assert_eq!(
            (settings.key_source(), settings.colony_key_source()),
            (state.clone(), None)
        );
        std::fs::write(&own, "").unwrap();
        std::fs::write(&colonys, "").unwrap();
        let settings = given(SHIPPED);
        assert_eq!(settings.key_source(), KeySource::Credential(own.clone()));
        assert_eq!(settings.key_file(), own);
        assert_eq!(settings.colony_key_source(), Some(KeySource::Credential(colonys)));

        let named = SHIPPED
            .replace("#key_file = \"/etc", "key_file = \"/etc")
            .replace("#key_file = \"/var", "key_file = \"/var");
        let settings = given(&named);
        assert_eq!(settings.key_source(), state);
        let colonys = KeySource::File("/etc/outpost/colony.key".into());
        assert_eq!(settings.colony_key_source(), Some(colonys));
        assert_eq!(read(SHIPPED, &[]).unwrap().key_source(), state);
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
            (
                "#on_lost_server = \"hold\"",
                "on_lost_server = \"off\"\nlost_after = \"60s\"",
                "devices.lamp.lost_after",
                "longer than twice agent.poll_time, 1m",
            ),
            (
                "#interlock = \"bridge\"",
                "safe = \"on\"\ninterlock = \"bridge\"\n[devices.other]\nkind = \"lamp\"\nline = \"GPIO5\"\nsafe = \"on\"\ninterlock = \"bridge\"",
                "devices.lamp.safe",
                "at most one may be on",
            ),
        ] {
            let error = with(from, to);
            assert!(error.contains(key), "{key}: {error}");
            assert!(error.contains(help), "{help}: {error}");
            assert!(error.contains("agent.toml"), "the file: {error}");
        }
        for (device, key, help) in [
            (
                "kind = \"shell-worker\"\n[devices.box2]\nkind = \"shell-worker\"",
                "devices.box2.kind",
                "devices.box does already",
            ),
            (
                "kind = \"command\"\nslots = 2\n[devices.box.functions.now]\nprogram = \"/bin/date\"",
                "devices.box.slots",
                "works on 1 at once (agent.slots)",
            ),
        ] {
            let error = read(&format!("{SHIPPED}\n[devices.box]\n{device}"), &[]).unwrap_err();
            assert!(error.contains(key) && error.contains(help), "{error}");
        }
        let missing = read("[runtime]\ntype = \"cli\"", &[]).unwrap_err();
        assert!(missing.contains("colony.id: not set"), "{missing}");
    }
}
