//! The settings of a lamp: those of its output, and the longest pulse.

use std::time::Duration;

use serde::Deserialize;

use crate::device::duration::{Span, format_duration};
use crate::device::gpio::{Level, LineSpec, text_or_number};
use crate::device::output::Drive;
use crate::device::output::settings::{
    InputTable, OnLostServer, OnStart, OnStop, OutputSettings, OutputSettingsError, OutputTable,
};
use crate::device::pwm::PwmTable;

/// The longest pulse unless the configuration says otherwise.
const DEFAULT_MAX_PULSE: Duration = Duration::from_secs(600);
/// The longest pulse that the configuration may allow.
const LONGEST_MAX_PULSE: Duration = Duration::from_secs(24 * 3600);
/// The shortest pulse; timers are no finer.
pub(super) const SHORTEST_PULSE: Duration = Duration::from_millis(1);

/// The settings of a lamp.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "LampTable")]
pub struct LampSettings {
    /// What every output has.
    pub output: OutputSettings,
    /// `max_pulse`: the longest pulse that may be asked for (default 10 minutes, at most 24 hours).
    pub max_pulse: Duration,
}

/// The keys as they are written. Serde's `flatten` would let unknown ones pass.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LampTable {
    #[serde(default, deserialize_with = "text_or_number")]
    line: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    chip: Option<String>,
    offset: Option<u32>,
    pwm: Option<PwmTable>,
    #[serde(default)]
    active_low: bool,
    #[serde(default)]
    safe: Level,
    #[serde(default)]
    on_start: OnStart,
    #[serde(default)]
    on_stop: OnStop,
    #[serde(default)]
    on_lost_server: OnLostServer,
    lost_after: Option<Span>,
    max_on: Option<Span>,
    min_off: Option<Span>,
    interlock: Option<String>,
    interlock_dead_time: Option<Span>,
    feedback: Option<InputTable>,
    feedback_time: Option<Span>,
    max_pulse: Option<Span>,
}

/// Why a lamp's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LampSettingsError {
    /// Those of its output.
    #[error(transparent)]
    Output(#[from] OutputSettingsError),
    /// The longest pulse.
    #[error("max_pulse = {} must be from 1ms to 24h", format_duration(*max_pulse))]
    MaxPulse {
        /// What was written.
        max_pulse: Duration,
    },
}

impl TryFrom<LampTable> for LampSettings {
    type Error = LampSettingsError;

    fn try_from(table: LampTable) -> Result<Self, LampSettingsError> {
        let max_pulse = table.max_pulse.map_or(DEFAULT_MAX_PULSE, |span| span.0);
        if !(SHORTEST_PULSE..=LONGEST_MAX_PULSE).contains(&max_pulse) {
            return Err(LampSettingsError::MaxPulse { max_pulse });
        }
        let output = OutputTable {
            line: table.line,
            chip: table.chip,
            offset: table.offset,
            pwm: table.pwm,
            active_low: table.active_low,
            safe: table.safe,
            on_start: table.on_start,
            on_stop: table.on_stop,
            on_lost_server: table.on_lost_server,
            lost_after: table.lost_after,
            max_on: table.max_on,
            min_off: table.min_off,
            interlock: table.interlock,
            interlock_dead_time: table.interlock_dead_time,
            feedback: table.feedback,
            feedback_time: table.feedback_time,
        };
        Ok(LampSettings {
            output: output.try_into()?,
            max_pulse,
        })
    }
}

impl LampSettings {
    /// A lamp on a line, everything else as by default.
    pub fn on_line(line: LineSpec) -> Self {
        LampSettings::on(Drive::Line(line))
    }

    /// A lamp somewhere, everything else as by default.
    pub fn on(drive: Drive) -> Self {
        LampSettings {
            output: OutputSettings::on(drive),
            max_pulse: DEFAULT_MAX_PULSE,
        }
    }
}

/// The longest pulse that can end by itself.
pub(super) fn longest_pulse(settings: &LampSettings) -> Duration {
    let max_on = settings.output.max_on.unwrap_or(settings.max_pulse);
    settings.max_pulse.min(max_on)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSettings;
    use crate::device::pwm::PwmSpec;

    /// As the agent reads a device's table.
    fn lamp(keys: &str) -> Result<LampSettings, String> {
        let text = format!("kind = \"lamp\"\n{keys}");
        let source = config::File::from_str(&text, config::FileFormat::Toml);
        let file = config::Config::builder().add_source(source).build().unwrap();
        match file.try_deserialize().map_err(|error| error.to_string())? {
            DeviceSettings::Lamp(lamp) => Ok(lamp),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lamp_on_a_pwm_channel_has_no_line() {
        let short = lamp("pwm = { channel = 0 }").unwrap();
        assert_eq!(short.output, OutputSettings::on(Drive::Pwm(PwmSpec::channel(0))));
        let long = lamp(
            "pwm = { chip = \"fe20c000.pwm\", channel = 1, frequency = 200 }\nactive_low = true\nmax_on = \"1h\"",
        );
        let long = DeviceSettings::Lamp(long.unwrap());
        let spec = PwmSpec {
            chip: Some("fe20c000.pwm".into()),
            channel: 1,
            frequency: 200,
            active_low: true,
        };
        assert_eq!(long.pwm(), Some(&spec));
        assert!(!long.needs_gpio() && long.lines().is_empty());
        let both = lamp("pwm = { channel = 0 }\nfeedback = { line = \"GPIO27\" }").unwrap();
        assert!(DeviceSettings::Lamp(both).needs_gpio(), "for its feedback");
        for (keys, help) in [
            (
                "line = \"GPIO18\"\npwm = { channel = 0 }",
                "pwm says already what is driven",
            ),
            (
                "chip = \"fe20c000.pwm\"\npwm = { channel = 0 }",
                "stands within pwm",
            ),
            (
                "pwm = { chip = 0, channel = 0 }",
                "pwm: chip = \"0\" is a number, and numbers move",
            ),
            ("pwm = { chip = \"\", channel = 0 }", "pwm: chip is empty"),
            (
                "pwm = { channel = 0, frequency = 0 }",
                "pwm: frequency = 0 must be from 1",
            ),
            ("pwm = { frequency = 50 }", "missing field `channel`"),
            ("pwm = { channel = -1 }", "-1"),
            ("pwm = { channel = 0, period = 5 }", "unknown field `period`"),
            ("pwm = \"GPIO18\"", "expected a table, as in { channel = 0 }"),
        ] {
            let error = lamp(keys).unwrap_err();
            assert!(error.contains(help), "{keys}: {error}");
        }
    }
}
