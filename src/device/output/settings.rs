//! The keys that every output has, within its device's table.

use std::time::Duration;

use serde::Deserialize;

use super::driver::Drive;
use super::policy::{Rules, Wish};
use crate::device::duration::{Span, format_duration};
use crate::device::gpio::{Level, LineSpec, LineSpecError, text_or_number};
use crate::device::pwm::{PwmSpec, PwmSpecError, PwmTable};

/// When the server counts as lost unless `lost_after` says otherwise; more than two of the longest polls.
const DEFAULT_LOST_AFTER: Duration = Duration::from_secs(120);
/// The dead time of an interlock unless the configuration says otherwise.
const DEFAULT_DEAD_TIME: Duration = Duration::from_secs(1);
/// The longest dead time: `outpost-agent safe` waits it out while the service manager waits for that.
const LONGEST_DEAD_TIME: Duration = Duration::from_secs(60);
/// How long a contact may take to follow unless the configuration says otherwise.
const DEFAULT_FEEDBACK_TIME: Duration = Duration::from_millis(200);
/// The longest: making safe includes it and is bounded ([`crate::device::owner::SAFE_ALLOWANCE`]).
const LONGEST_FEEDBACK_TIME: Duration = Duration::from_secs(2);
/// Timers are no finer.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest time that `max_on`, `min_off` and `lost_after` may be.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest name of an interlock group, in bytes.
const GROUP_MAX: usize = 64;

/// `on_start`: the level from the moment the agent takes the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStart {
    /// The safe level.
    #[default]
    Safe,
    /// On.
    On,
    /// Off.
    Off,
    /// What it was while the agent last ran in this boot; without that the safe level.
    Last,
}

/// `on_stop`: the level when the agent is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// The safe level.
    #[default]
    Safe,
    /// On.
    On,
    /// Off.
    Off,
    /// What it is; the kernel may still change it when the line is released.
    Hold,
}

/// `on_lost_server`: the level when the server was not heard from for `lost_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLostServer {
    /// What it is.
    #[default]
    Hold,
    /// The safe level.
    Safe,
    /// On.
    On,
    /// Off.
    Off,
}

/// An input that shows whether the contact followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackSettings {
    /// `feedback`: its line, with its own `active_low`. Active means on.
    pub line: LineSpec,
    /// `feedback_time`: how long the contact may take (default 200 ms).
    pub time: Duration,
}

/// What is set of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSettings {
    /// The line: `line`, or `chip` and `offset`; or the PWM channel: `pwm`; and `active_low` (default false).
    pub drive: Drive,
    /// `safe`: the level while nobody may drive it (default off).
    pub safe: Level,
    /// `on_start` (default safe).
    pub on_start: OnStart,
    /// `on_stop` (default safe).
    pub on_stop: OnStop,
    /// `on_lost_server` (default hold).
    pub on_lost_server: OnLostServer,
    /// `lost_after`: when the server counts as lost (default 2 minutes).
    pub lost_after: Duration,
    /// `max_on`: the longest time on at a stretch; `None` (written 0, the default): no limit.
    pub max_on: Option<Duration>,
    /// `min_off`: the shortest time off (default 0).
    pub min_off: Duration,
    /// `interlock`: the group of which at most one is on.
    pub interlock: Option<String>,
    /// `interlock_dead_time`: from one off to the next on (default 1 s).
    pub interlock_dead_time: Duration,
    /// `feedback` and `feedback_time`.
    pub feedback: Option<FeedbackSettings>,
}

/// The keys as they are written; a device's own table hands them on.
#[derive(Debug, Default)]
pub struct OutputTable {
    /// `line`
    pub line: Option<String>,
    /// `chip`
    pub chip: Option<String>,
    /// `offset`
    pub offset: Option<u32>,
    /// `pwm`
    pub pwm: Option<PwmTable>,
    /// `active_low`
    pub active_low: bool,
    /// `safe`
    pub safe: Level,
    /// `on_start`
    pub on_start: OnStart,
    /// `on_stop`
    pub on_stop: OnStop,
    /// `on_lost_server`
    pub on_lost_server: OnLostServer,
    /// `lost_after`
    pub lost_after: Option<Span>,
    /// `max_on`
    pub max_on: Option<Span>,
    /// `min_off`
    pub min_off: Option<Span>,
    /// `interlock`
    pub interlock: Option<String>,
    /// `interlock_dead_time`
    pub interlock_dead_time: Option<Span>,
    /// `feedback`
    pub feedback: Option<InputTable>,
    /// `feedback_time`
    pub feedback_time: Option<Span>,
}

/// The line of an input as it is written: `{ line = "GPIO27", active_low = true }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputTable {
    #[serde(default, deserialize_with = "text_or_number")]
    line: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    chip: Option<String>,
    offset: Option<u32>,
    #[serde(default)]
    active_low: bool,
}

/// Why an output's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputSettingsError {
    /// The line.
    #[error(transparent)]
    Line(#[from] LineSpecError),
    /// The PWM channel.
    #[error("pwm: {0}")]
    Pwm(#[from] PwmSpecError),
    /// A line and a PWM channel.
    #[error(
        "pwm says already what is driven: leave `line`, `chip` and `offset` out (a chip of PWM channels stands within pwm)"
    )]
    PwmAndLine,
    /// The line of the feedback.
    #[error("feedback: {0}")]
    Feedback(LineSpecError),
    /// The feedback is the output itself.
    #[error("feedback = {line} is the output's own line: name the input that the contact switches")]
    FeedbackOnItself {
        /// The line.
        line: String,
    },
    /// A span of time out of its bounds.
    #[error("{key} = {} must be from {} to {}{}", format_duration(*span), format_duration(*least), format_duration(*most), if *zero { ", or 0 for none" } else { "" })]
    Span {
        /// The key.
        key: &'static str,
        /// What was written.
        span: Duration,
        /// The shortest that is allowed.
        least: Duration,
        /// The longest that is allowed.
        most: Duration,
        /// Whether zero means that there is none.
        zero: bool,
    },
    /// The name of a group.
    #[error(
        "interlock = {name:?} is no name: write 1 to {GROUP_MAX} bytes, the same at every output of the group"
    )]
    Group {
        /// What was written.
        name: String,
    },
}

impl TryFrom<OutputTable> for OutputSettings {
    type Error = OutputSettingsError;

    fn try_from(table: OutputTable) -> Result<Self, OutputSettingsError> {
        let drive = match (table.pwm, table.line, table.chip, table.offset) {
            (Some(pwm), None, None, None) => Drive::Pwm(PwmSpec::from_table(pwm, table.active_low)?),
            (Some(_), ..) => return Err(OutputSettingsError::PwmAndLine),
            (None, line, chip, offset) => {
                Drive::Line(LineSpec::from_keys(line, chip, offset, table.active_low)?)
            }
        };
        let feedback = table.feedback.map(|input| {
            LineSpec::from_keys(input.line, input.chip, input.offset, input.active_low)
                .map_err(OutputSettingsError::Feedback)
        });
        let feedback = feedback.transpose()?;
        if let Some(feedback) = feedback
            .as_ref()
            .filter(|feedback| drive.line().is_some_and(|line| feedback.address == line.address))
        {
            return Err(OutputSettingsError::FeedbackOnItself {
                line: feedback.to_string(),
            });
        }
        if let Some(name) = table
            .interlock
            .as_ref()
            .filter(|name| name.trim().is_empty() || name.len() > GROUP_MAX)
        {
            return Err(OutputSettingsError::Group { name: name.clone() });
        }
        let time = span(
            "feedback_time",
            table.feedback_time,
            DEFAULT_FEEDBACK_TIME,
            LONGEST_FEEDBACK_TIME,
        )?;
        Ok(OutputSettings {
            drive,
            safe: table.safe,
            on_start: table.on_start,
            on_stop: table.on_stop,
            on_lost_server: table.on_lost_server,
            lost_after: span("lost_after", table.lost_after, DEFAULT_LOST_AFTER, LONGEST)?,
            max_on: span_or_none("max_on", table.max_on, LONGEST)?,
            min_off: span_or_none("min_off", table.min_off, LONGEST)?.unwrap_or_default(),
            interlock: table.interlock,
            interlock_dead_time: match table.interlock_dead_time {
                None => DEFAULT_DEAD_TIME,
                some => span_or_none("interlock_dead_time", some, LONGEST_DEAD_TIME)?.unwrap_or_default(),
            },
            feedback: feedback.map(|line| FeedbackSettings { line, time }),
        })
    }
}

/// A span that must be something.
fn span(
    key: &'static str,
    written: Option<Span>,
    default: Duration,
    most: Duration,
) -> Result<Duration, OutputSettingsError> {
    let span = written.map_or(default, |span| span.0);
    within(key, span, most, false)
}

/// A span of which zero is none.
fn span_or_none(
    key: &'static str,
    written: Option<Span>,
    most: Duration,
) -> Result<Option<Duration>, OutputSettingsError> {
    let span = written.map(|span| span.0).filter(|span| !span.is_zero());
    span.map(|span| within(key, span, most, true)).transpose()
}

fn within(
    key: &'static str,
    span: Duration,
    most: Duration,
    zero: bool,
) -> Result<Duration, OutputSettingsError> {
    if (SHORTEST..=most).contains(&span) {
        return Ok(span);
    }
    Err(OutputSettingsError::Span {
        key,
        span,
        least: SHORTEST,
        most,
        zero,
    })
}

impl OutputSettings {
    /// An output on a line, everything else as by default.
    pub fn on_line(line: LineSpec) -> Self {
        OutputSettings::on(Drive::Line(line))
    }

    /// An output somewhere, everything else as by default.
    pub fn on(drive: Drive) -> Self {
        OutputSettings {
            drive,
            safe: Level::Off,
            on_start: OnStart::default(),
            on_stop: OnStop::default(),
            on_lost_server: OnLostServer::default(),
            lost_after: DEFAULT_LOST_AFTER,
            max_on: None,
            min_off: Duration::ZERO,
            interlock: None,
            interlock_dead_time: DEFAULT_DEAD_TIME,
            feedback: None,
        }
    }

    /// What the output keeps to by itself.
    pub fn rules(&self) -> Rules {
        let lost = match self.on_lost_server {
            OnLostServer::Hold => None,
            OnLostServer::Safe => Some(Wish::Safe),
            OnLostServer::On => Some(Wish::Be(Level::On)),
            OnLostServer::Off => Some(Wish::Be(Level::Off)),
        };
        Rules {
            safe: self.safe,
            max_on: self.max_on,
            min_off: self.min_off,
            lost: lost.map(|wish| (wish, self.lost_after)),
        }
    }

    /// The level when the agent is told to stop; `None`: it stays what it is.
    pub fn stop_level(&self) -> Option<Level> {
        match self.on_stop {
            OnStop::Safe => Some(self.safe),
            OnStop::On => Some(Level::On),
            OnStop::Off => Some(Level::Off),
            OnStop::Hold => None,
        }
    }

    /// How long switching on may be put off by `min_off` and the dead time of a free group. Another output's dead time
    /// may be longer; then it is the lease or the verb's time that ends the wait.
    pub fn longest_wait(&self) -> Duration {
        let dead_time = if self.interlock.is_some() {
            LONGEST_DEAD_TIME
        } else {
            Duration::ZERO
        };
        self.min_off.max(dead_time)
    }
}
