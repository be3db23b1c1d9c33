//! The settings of a serial port, and of an instrument behind one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::encoding::Encoding;
use super::framing::Framing;
use crate::device::Effect;
use crate::device::duration::{Span, format_duration};

/// Where stable names of USB serial ports are found.
pub const BY_ID: &str = "/dev/serial/by-id";
/// What an instrument may take to answer unless the configuration says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long `read` may wait unless the configuration says otherwise.
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(600);
/// Longest frame unless the configuration says otherwise, in bytes.
const DEFAULT_MAX_FRAME: usize = 4096;
/// The longest frame that the configuration may allow.
const LONGEST_FRAME: usize = 64 * 1024;
/// The shortest pause that can end a frame: what arrives together within a few milliseconds can't be told apart.
const SHORTEST_GAP: Duration = Duration::from_millis(5);
/// The longest terminator, in bytes.
const LONGEST_TERMINATOR: usize = 8;

/// What is behind a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortBackend {
    /// A serial port of this machine.
    #[default]
    Port,
    /// Nothing: an instrument that answers from a script.
    Simulated,
}

/// The bit that guards each character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    /// No such bit.
    None,
    /// The ones are even in number.
    Even,
    /// The ones are odd in number.
    Odd,
}

/// Who may say “wait”.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowControl {
    /// Nobody.
    #[default]
    None,
    /// The lines RTS and CTS.
    Hardware,
    /// The characters XON and XOFF.
    Software,
}

/// Who switches an RS-485 line between sending and receiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rs485 {
    /// Not this machine: no RS-485, or an adapter that does it alone (most USB adapters).
    #[default]
    Off,
    /// The kernel, by RTS, which is high while sending.
    RtsHighSends,
    /// The kernel, by RTS, which is low while sending.
    RtsLowSends,
}

/// A serial port as it shall be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSettings {
    /// `port`: the device file; one below `/dev/serial/by-id/` stays the same whatever is plugged in first.
    pub path: PathBuf,
    /// `backend`: `port` (default) or `simulated`.
    pub backend: PortBackend,
    /// `baud`: bits per second.
    pub baud: u32,
    /// `data_bits`: 5 to 8 (default 8).
    pub data_bits: u8,
    /// `parity`: `none`, `even` or `odd`.
    pub parity: Parity,
    /// `stop_bits`: 1 (default) or 2.
    pub stop_bits: u8,
    /// `flow_control`: `none` (default), `hardware` or `software`.
    pub flow_control: FlowControl,
    /// `rs485`: `off` (default), `rts-high-sends` or `rts-low-sends`.
    pub rs485: Rs485,
    /// `settle`: how long after opening nothing is sent, for boards that restart when they are opened (default 0).
    pub settle: Duration,
}

/// The keys of a port as they are written; each kind's table has them all.
pub(in crate::device) struct PortKeys {
    pub port: Option<PathBuf>,
    pub backend: PortBackend,
    pub baud: u32,
    pub data_bits: Option<u8>,
    pub parity: Parity,
    pub stop_bits: Option<u8>,
    pub flow_control: FlowControl,
    pub rs485: Rs485,
    pub settle: Option<Span>,
}

/// Why the settings of a port, or of an instrument behind it, can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialSettingsError {
    /// No port.
    #[error("no port is given: write port = \"{BY_ID}/NAME\" (`ls {BY_ID}` lists the names)")]
    NoPort,
    /// A path that is none.
    #[error("port = {path:?} is not an absolute path: write port = \"{BY_ID}/NAME\"")]
    RelativePort {
        /// What was written.
        path: PathBuf,
    },
    /// A port for what has none.
    #[error("port is given, but backend = \"simulated\" opens none: take one of them away")]
    SimulatedPort,
    /// A number out of its range.
    #[error("{key} = {value} must be {range}")]
    Range {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// A key that the chosen framing has no use for, or one that it lacks.
    #[error("framing = \"{framing}\" {problem}")]
    Framing {
        /// The framing.
        framing: &'static str,
        /// `needs length`, `has no terminator`.
        problem: &'static str,
    },
    /// `rs485` beside flow control.
    #[error("rs485 and flow_control = \"hardware\" both want the RTS line: set flow_control = \"none\"")]
    Rts,
    /// A text of the configuration that can't be sent.
    #[error("{key}: {problem}")]
    Text {
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A script without a simulated instrument.
    #[error("script is only for backend = \"simulated\"")]
    Script,
}

fn range(key: &'static str, value: impl ToString, range: &'static str) -> SerialSettingsError {
    SerialSettingsError::Range {
        key,
        value: value.to_string(),
        range,
    }
}

impl PortKeys {
    pub(in crate::device) fn check(self) -> Result<PortSettings, SerialSettingsError> {
        let path = match (self.backend, self.port) {
            (PortBackend::Simulated, None) => PathBuf::from("(simulated)"),
            (PortBackend::Simulated, Some(_)) => return Err(SerialSettingsError::SimulatedPort),
            (PortBackend::Port, None) => return Err(SerialSettingsError::NoPort),
            (PortBackend::Port, Some(path)) if path.is_absolute() => path,
            (PortBackend::Port, Some(path)) => return Err(SerialSettingsError::RelativePort { path }),
        };
        let data_bits = self.data_bits.unwrap_or(8);
        let stop_bits = self.stop_bits.unwrap_or(1);
        let settle = self.settle.map_or(Duration::ZERO, |span| span.0);
        if !(50..=4_000_000).contains(&self.baud) {
            return Err(range("baud", self.baud, "from 50 to 4000000"));
        }
        if !(5..=8).contains(&data_bits) {
            return Err(range("data_bits", data_bits, "5, 6, 7 or 8"));
        }
        if !(1..=2).contains(&stop_bits) {
            return Err(range("stop_bits", stop_bits, "1 or 2"));
        }
        if settle > Duration::from_secs(30) {
            return Err(range("settle", format_duration(settle), "at most 30s"));
        }
        if self.rs485 != Rs485::Off && self.flow_control == FlowControl::Hardware {
            return Err(SerialSettingsError::Rts);
        }
        Ok(PortSettings {
            path,
            backend: self.backend,
            baud: self.baud,
            data_bits,
            parity: self.parity,
            stop_bits,
            flow_control: self.flow_control,
            rs485: self.rs485,
            settle,
        })
    }
}

impl PortSettings {
    /// How long so many bytes take on the line, rounded up to the next millisecond.
    pub fn time_for(&self, bytes: usize) -> Duration {
        let parity = u64::from(self.parity != Parity::None);
        let bits = 1 + u64::from(self.data_bits) + parity + u64::from(self.stop_bits);
        let bits = bits.saturating_mul(bytes as u64);
        Duration::from_millis(bits.saturating_mul(1_000).div_ceil(u64::from(self.baud)))
    }

    /// What works and will yet surprise, for `check`: each with the remedy.
    pub fn warnings(&self) -> Vec<String> {
        let numbered = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            let usb = name.starts_with("ttyUSB") || name.starts_with("ttyACM");
            (usb && path.parent() == Some(Path::new("/dev"))).then(|| name.to_owned())
        };
        match (self.backend, numbered(&self.path)) {
            (PortBackend::Port, Some(name)) => vec![format!(
                "port = \"/dev/{name}\" may be another device after the next plugging or boot: use the name of it that stays, \
                 `find {BY_ID} -lname '*/{name}'`"
            )],
            _ => Vec::new(),
        }
    }
}

/// The settings of `kind = "serial"`: an instrument that is asked and told in frames.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SerialTable")]
pub struct SerialSettings {
    /// The port, all its keys.
    pub port: PortSettings,
    /// `framing`: `line` (default; `terminator`, default `"\n"`, a carriage return before it is dropped),
    /// `length` (`length`, in bytes) or `idle` (`idle_gap`).
    pub framing: Framing,
    /// `send_terminator`: what is added to everything sent (default: as `terminator`; else nothing).
    pub send_terminator: Vec<u8>,
    /// `encoding`: `text` (default) or `hex`.
    pub encoding: Encoding,
    /// `timeout`: how long an answer may take, and how long sending may be held up (default 1s).
    pub timeout: Duration,
    /// `max_wait`: how long `read` may be told to wait (default 10m, at most 24h).
    pub max_wait: Duration,
    /// `max_frame`: longest frame in either direction, in bytes (default 4096, at most 65536).
    pub max_frame: usize,
    /// `query_effect`: what asking changes, `once` (default), `set` or `read`. Only who knows the instrument can
    /// say that asking is harmless.
    pub query_effect: Effect,
    /// `safe`: what is sent, one after the other, to make it safe (default nothing).
    pub safe: Vec<String>,
    /// `script`: what a simulated instrument answers, pairs of question and answer.
    pub script: Vec<(String, String)>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FramingName {
    #[default]
    Line,
    Length,
    Idle,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EffectName {
    Read,
    Set,
    #[default]
    Once,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SerialTable {
    port: Option<PathBuf>,
    #[serde(default)]
    backend: PortBackend,
    baud: Option<u32>,
    data_bits: Option<u8>,
    parity: Option<Parity>,
    stop_bits: Option<u8>,
    #[serde(default)]
    flow_control: FlowControl,
    #[serde(default)]
    rs485: Rs485,
    settle: Option<Span>,
    #[serde(default)]
    framing: FramingName,
    terminator: Option<String>,
    send_terminator: Option<String>,
    length: Option<usize>,
    idle_gap: Option<Span>,
    #[serde(default)]
    encoding: Encoding,
    timeout: Option<Span>,
    max_wait: Option<Span>,
    max_frame: Option<usize>,
    #[serde(default)]
    query_effect: EffectName,
    #[serde(default)]
    safe: Vec<String>,
    #[serde(default)]
    script: Vec<(String, String)>,
}

impl TryFrom<SerialTable> for SerialSettings {
    type Error = SerialSettingsError;
    fn try_from(table: SerialTable) -> Result<Self, SerialSettingsError> {
        let max_frame = table.max_frame.unwrap_or(DEFAULT_MAX_FRAME);
        if !(1..=LONGEST_FRAME).contains(&max_frame) {
            return Err(range("max_frame", max_frame, "from 1 to 65536"));
        }
        let framing = framing(&table, max_frame)?;
        let send_terminator = match (&table.send_terminator, &framing) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Framing::Line { terminator }) => terminator.clone(),
            (None, _) => Vec::new(),
        };
        if send_terminator.len() > LONGEST_TERMINATOR {
            return Err(range(
                "send_terminator",
                format!("{:?}", table.send_terminator),
                "at most 8 bytes",
            ));
        }
        let timeout = table.timeout.map_or(DEFAULT_TIMEOUT, |span| span.0);
        if !(Duration::from_millis(1)..=Duration::from_secs(600)).contains(&timeout) {
            return Err(range("timeout", format_duration(timeout), "from 1ms to 10m"));
        }
        let max_wait = table.max_wait.map_or(DEFAULT_MAX_WAIT, |span| span.0);
        if !(timeout..=Duration::from_secs(24 * 3600)).contains(&max_wait) {
            return Err(range(
                "max_wait",
                format_duration(max_wait),
                "at least timeout and at most 24h",
            ));
        }
        let port = PortKeys {
            port: table.port,
            backend: table.backend,
            baud: table.baud.unwrap_or(9600),
            data_bits: table.data_bits,
            parity: table.parity.unwrap_or(Parity::None),
            stop_bits: table.stop_bits,
            flow_control: table.flow_control,
            rs485: table.rs485,
            settle: table.settle,
        }
        .check()?;
        if port.backend == PortBackend::Port && !table.script.is_empty() {
            return Err(SerialSettingsError::Script);
        }
        let settings = SerialSettings {
            port,
            framing,
            send_terminator,
            encoding: table.encoding,
            timeout,
            max_wait,
            max_frame,
            query_effect: match table.query_effect {
                EffectName::Read => Effect::Read,
                EffectName::Set => Effect::Set,
                EffectName::Once => Effect::Once,
            },
            safe: table.safe,
            script: table.script,
        };
        settings.check_texts()?;
        Ok(settings)
    }
}

fn framing(table: &SerialTable, max_frame: usize) -> Result<Framing, SerialSettingsError> {
    let wrong = |framing, problem| Err(SerialSettingsError::Framing { framing, problem });
    match (table.framing, &table.terminator, table.length, table.idle_gap) {
        (FramingName::Line, terminator, None, None) => {
            let terminator = terminator.as_deref().unwrap_or("\n");
            if terminator.is_empty() || terminator.len() > LONGEST_TERMINATOR {
                return Err(range("terminator", format!("{terminator:?}"), "1 to 8 bytes"));
            }
            Ok(Framing::Line {
                terminator: terminator.as_bytes().to_vec(),
            })
        }
        (FramingName::Line, ..) => wrong("line", "has no length and no idle_gap"),
        (FramingName::Length, None, Some(length), None) => {
            if !(1..=max_frame).contains(&length) {
                return Err(range("length", length, "from 1 to max_frame"));
            }
            Ok(Framing::Length(length))
        }
        (FramingName::Length, _, None, _) => wrong("length", "needs length, in bytes"),
        (FramingName::Length, ..) => wrong("length", "has no terminator and no idle_gap"),
        (FramingName::Idle, None, None, Some(Span(gap))) => {
            if !(SHORTEST_GAP..=Duration::from_secs(10)).contains(&gap) {
                return Err(range("idle_gap", format_duration(gap), "from 5ms to 10s"));
            }
            Ok(Framing::Idle(gap))
        }
        (FramingName::Idle, _, _, None) => wrong("idle", "needs idle_gap, for example \"20ms\""),
        (FramingName::Idle, ..) => wrong("idle", "has no terminator and no length"),
    }
}

impl SerialSettings {
    /// Every text of the configuration can be sent.
    fn check_texts(&self) -> Result<(), SerialSettingsError> {
        let wrong = |key| move |problem| SerialSettingsError::Text { key, problem };
        for text in &self.safe {
            self.outgoing(text).map_err(wrong("safe"))?;
        }
        for (question, answer) in &self.script {
            self.outgoing(question).map_err(wrong("script"))?;
            self.encoding.bytes(answer).map_err(wrong("script"))?;
        }
        Ok(())
    }

    /// The bytes on the line for a text that shall be sent.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn outgoing(&self, text: &str) -> Result<Vec<u8>, String> {
        let mut bytes = self.encoding.bytes(text)?;
        let end = &self.send_terminator;
        if !end.is_empty() && bytes.windows(end.len()).any(|part| part == end) {
            return Err(format!(
                "{text:?} contains the terminator, so it is more than one frame: send one at a time"
            ));
        }
        bytes.extend_from_slice(end);
        if bytes.is_empty() {
            return Err("there is nothing to send".to_owned());
        }
        if bytes.len() > self.max_frame + end.len() {
            return Err(format!(
                "{} bytes are too many, at most {} (max_frame of this device)",
                bytes.len() - end.len(),
                self.max_frame
            ));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: &str) -> Result<SerialSettings, String> {
        let source = config::File::from_str(keys, config::FileFormat::Toml);
        let config = config::Config::builder().add_source(source).build();
        config
            .and_then(|config| config.try_deserialize::<SerialSettings>())
            .map_err(|error| error.to_string())
    }

    const PORT: &str = "port = \"/dev/serial/by-id/usb-ACME-if00\"\n";

    #[test]
    fn a_port_is_enough_and_the_rest_has_defaults() {
        let settings = read(PORT).unwrap();
        assert_eq!(settings.port.baud, 9600);
        assert_eq!((settings.port.data_bits, settings.port.stop_bits), (8, 1));
        assert_eq!(settings.port.parity, Parity::None);
        assert_eq!(
            settings.framing,
            Framing::Line {
                terminator: b"\n".to_vec()
            }
        );
        assert_eq!(settings.send_terminator, b"\n");
        assert_eq!(settings.query_effect, Effect::Once);
        assert_eq!(settings.timeout, Duration::from_secs(1));
        assert!(settings.port.warnings().is_empty());
    }

    #[test]
    fn every_key_is_read() {
        let keys = "baud = 115200\ndata_bits = 7\nparity = \"even\"\nstop_bits = 2\nflow_control = \"software\"\n\
             settle = \"2s\"\nframing = \"idle\"\nidle_gap = \"20ms\"\nencoding = \"hex\"\ntimeout = \"250ms\"\n\
             max_wait = \"1m\"\nmax_frame = 64\nquery_effect = \"read\"\nsafe = [\"00\", \"01\"]\nsend_terminator = \"\\r\"\n\
             rs485 = \"rts-high-sends\"";
        let settings = read(&format!("{PORT}{keys}")).unwrap();
        assert_eq!(settings.framing, Framing::Idle(Duration::from_millis(20)));
        assert_eq!(settings.query_effect, Effect::Read);
        assert_eq!(settings.safe, ["00", "01"]);
        assert_eq!(settings.outgoing("a0").unwrap(), [0xa0, b'\r']);
        assert_eq!(settings.port.rs485, Rs485::RtsHighSends);
        assert_eq!(settings.port.settle, Duration::from_secs(2));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_key() {
        for (keys, said) in [
            ("", "no port is given"),
            ("port = \"ttyUSB0\"", "not an absolute path"),
            ("port = \"/dev/x\"\nbaud = 10", "baud = 10"),
            ("port = \"/dev/x\"\ndata_bits = 9", "data_bits = 9"),
            ("port = \"/dev/x\"\nstop_bits = 0", "stop_bits = 0"),
            ("port = \"/dev/x\"\nbuad = 9600", "unknown field `buad`"),
            ("port = \"/dev/x\"\nparity = \"mark\"", "mark"),
            ("port = \"/dev/x\"\nframing = \"length\"", "needs length"),
            (
                "port = \"/dev/x\"\nframing = \"length\"\nlength = 0",
                "length = 0",
            ),
            (
                "port = \"/dev/x\"\nframing = \"length\"\nlength = 4097",
                "length = 4097",
            ),
            ("port = \"/dev/x\"\nlength = 4", "has no length"),
            ("port = \"/dev/x\"\nframing = \"idle\"", "needs idle_gap"),
            (
                "port = \"/dev/x\"\nframing = \"idle\"\nidle_gap = \"4ms\"",
                "idle_gap = 4ms",
            ),
            ("port = \"/dev/x\"\nterminator = \"\"", "terminator"),
            ("port = \"/dev/x\"\nmax_frame = 65537", "max_frame = 65537"),
            ("port = \"/dev/x\"\ntimeout = 0", "timeout = 0s"),
            ("port = \"/dev/x\"\nmax_wait = \"500ms\"", "max_wait = 500ms"),
            ("port = \"/dev/x\"\nsettle = \"31s\"", "settle = 31s"),
            ("port = \"/dev/x\"\nquery_effect = \"none\"", "none"),
            ("port = \"/dev/x\"\nsafe = [\"A\\nB\"]", "more than one frame"),
            ("port = \"/dev/x\"\nscript = [[\"A\", \"B\"]]", "only for backend"),
            (
                "port = \"/dev/x\"\nrs485 = \"rts-low-sends\"\nflow_control = \"hardware\"",
                "RTS",
            ),
            ("port = \"/dev/x\"\nbackend = \"simulated\"", "opens none"),
        ] {
            let error = read(keys).expect_err(keys);
            assert!(error.contains(said), "{keys:?}: {error}");
        }
        assert!(read("port = \"/dev/x\"\nframing = \"length\"\nlength = 4096").is_ok());
        assert!(read("port = \"/dev/x\"\nframing = \"idle\"\nidle_gap = \"5ms\"").is_ok());
    }

    #[test]
    fn a_numbered_port_works_with_a_warning_and_the_remedy() {
        for (path, warned) in [
            ("/dev/ttyUSB0", true),
            ("/dev/ttyACM3", true),
            ("/dev/ttyAMA0", false),
            ("/dev/serial/by-id/usb-FTDI-port0", false),
        ] {
            let settings = read(&format!("port = \"{path}\"")).unwrap();
            let warnings = settings.port.warnings();
            assert_eq!(!warnings.is_empty(), warned, "{path}: {warnings:?}");
            if warned {
                assert!(warnings[0].contains("find /dev/serial/by-id"), "{warnings:?}");
            }
        }
    }

    #[test]
    fn what_is_sent_is_one_frame_of_a_bounded_length() {
        let settings = read(&format!("{PORT}max_frame = 4")).unwrap();
        assert_eq!(settings.outgoing("abcd").unwrap(), b"abcd\n");
        assert!(settings.outgoing("abcde").unwrap_err().contains("at most 4"));
        assert!(settings.outgoing("a\nb").unwrap_err().contains("terminator"));
        assert_eq!(
            settings.outgoing("").unwrap(),
            b"\n",
            "some instruments wake up to that"
        );
        let bare = read(&format!("{PORT}send_terminator = \"\"")).unwrap();
        assert!(bare.outgoing("").unwrap_err().contains("nothing to send"));
    }

    #[test]
    fn the_time_on_the_line_follows_from_the_settings() {
        let mut port = read(PORT).unwrap().port;
        assert_eq!(
            port.time_for(960),
            Duration::from_secs(1),
            "10 bits each at 9600 baud"
        );
        assert_eq!(port.time_for(1), Duration::from_millis(2), "rounded up");
        port.parity = Parity::Even;
        assert_eq!(port.time_for(960), Duration::from_millis(1_100));
    }
}
