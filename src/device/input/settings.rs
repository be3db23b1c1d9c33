//! The settings of an input: its line, and what its edges submit.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::edge::Edges;
use crate::device::duration::{Span, format_duration};
use crate::device::gpio::{Bias, LineSpec, LineSpecError, Watching, text_or_number};

/// How long a level must last unless the configuration says otherwise; most buttons are quiet after 10 ms.
const DEFAULT_DEBOUNCE: Duration = Duration::from_millis(20);
/// The longest: beyond it a press would be missed rather than cleaned.
const LONGEST_DEBOUNCE: Duration = Duration::from_secs(5);
/// How long a process may wait for somebody who takes it, unless the configuration says otherwise (docs/fence.md, 7).
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(10);
/// The longest: what was pressed long ago surprises whoever stands there now, and what was pressed later waits behind it.
const LONGEST_MAX_WAIT: Duration = Duration::from_secs(300);
/// How long a process may run unless the configuration says otherwise.
const DEFAULT_MAX_EXEC: Duration = Duration::from_secs(60);
/// The longest that it may.
const LONGEST_MAX_EXEC: Duration = Duration::from_secs(24 * 3600);
/// How soon after one submission the next may follow, unless the configuration says otherwise.
const DEFAULT_MIN_INTERVAL: Duration = Duration::from_secs(1);
/// How soon at best: a contact that chatters must not fill a server's queue.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// The longest pause that can be asked for.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// So many rules an input may have.
const MOST_RULES: usize = 8;

/// The settings of an input.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "InputTable")]
pub struct InputSettings {
    /// The line: `line`, or `chip` and `offset`; and `active_low` (default false).
    pub line: LineSpec,
    /// `bias` (default as it is) and `debounce` (default 20 ms).
    pub watching: Watching,
    /// `[[devices.NAME.submit]]`: what edges submit.
    pub submit: Arc<[Submit]>,
}

/// A process that an edge submits: one table `[[devices.NAME.submit]]`. Keys that a process spec has are called as there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SubmitTable")]
pub struct Submit {
    /// `edge`: which edges do.
    pub edges: Edges,
    /// `func`: the function.
    pub func: String,
    /// `args`: its arguments.
    pub args: Vec<String>,
    /// `runtime`: the name or the id of the runtime that alone may execute it; `None`: any of the type.
    pub runtime: Option<String>,
    /// `type`: the type of the runtimes that may execute it; `None`: that of `runtime`, else the agent's own.
    pub runtime_type: Option<String>,
    /// `maxwaittime`: how long after the edge it may be submitted and wait (default 10 s); whole seconds.
    pub max_wait: Duration,
    /// `maxexectime`: how long it may run (default 60 s); whole seconds.
    pub max_exec: Duration,
    /// `min_interval`: edges that come sooner after one that was taken do nothing (default 1 s).
    pub min_interval: Duration,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    #[serde(default, deserialize_with = "text_or_number")]
    line: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    chip: Option<String>,
    offset: Option<u32>,
    #[serde(default)]
    active_low: bool,
    #[serde(default)]
    bias: Bias,
    debounce: Option<Span>,
    #[serde(default)]
    submit: Vec<Submit>,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitTable {
    edge: Edges,
    func: String,
    #[serde(default)]
    args: Vec<String>,
    runtime: Option<String>,
    r#type: Option<String>,
    maxwaittime: Option<Span>,
    maxexectime: Option<Span>,
    min_interval: Option<Span>,
}

/// Why an input's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputSettingsError {
    /// The line.
    #[error(transparent)]
    Line(#[from] LineSpecError),
    /// A span of time out of its bounds.
    #[error("{key} = {} must be {}from {} to {}", format_duration(*span), if *whole { "whole seconds " } else { "" },
        format_duration(*least), format_duration(*most))]
    Span {
        /// The key.
        key: &'static str,
        /// What was written.
        span: Duration,
        /// The shortest that is allowed.
        least: Duration,
        /// The longest that is allowed.
        most: Duration,
        /// Whether the server counts it in seconds.
        whole: bool,
    },
    /// A text that says nothing.
    #[error("{key} is empty: {help}")]
    Empty {
        /// The key.
        key: &'static str,
        /// What to write.
        help: &'static str,
    },
    /// More rules than anybody means.
    #[error("submit has {count} tables, at most {MOST_RULES}")]
    TooManyRules {
        /// How many.
        count: usize,
    },
}

impl TryFrom<InputTable> for InputSettings {
    type Error = InputSettingsError;

    fn try_from(table: InputTable) -> Result<Self, InputSettingsError> {
        if table.submit.len() > MOST_RULES {
            return Err(InputSettingsError::TooManyRules {
                count: table.submit.len(),
            });
        }
        let bounds = (Duration::ZERO, LONGEST_DEBOUNCE);
        Ok(InputSettings {
            line: LineSpec::from_keys(table.line, table.chip, table.offset, table.active_low)?,
            watching: Watching {
                bias: table.bias,
                debounce: span("debounce", table.debounce, DEFAULT_DEBOUNCE, bounds, false)?,
            },
            submit: table.submit.into(),
        })
    }
}

impl TryFrom<SubmitTable> for Submit {
    type Error = InputSettingsError;

    fn try_from(table: SubmitTable) -> Result<Self, InputSettingsError> {
        let texts = [
            (
                "func",
                Some(&table.func),
                "write the function, for example \"lamp.on\"",
            ),
            (
                "runtime",
                table.runtime.as_ref(),
                "write a name or an id, or leave the key out",
            ),
            (
                "type",
                table.r#type.as_ref(),
                "write a type, or leave the key out",
            ),
        ];
        for (key, text, help) in texts {
            if text.is_some_and(|text| text.trim().is_empty()) {
                return Err(InputSettingsError::Empty { key, help });
            }
        }
        let second = Duration::from_secs(1);
        let wait = (second, LONGEST_MAX_WAIT);
        let exec = (second, LONGEST_MAX_EXEC);
        let interval = (SHORTEST_INTERVAL, LONGEST_INTERVAL);
        Ok(Submit {
            edges: table.edge,
            func: table.func,
            args: table.args,
            runtime: table.runtime,
            runtime_type: table.r#type,
            max_wait: span("maxwaittime", table.maxwaittime, DEFAULT_MAX_WAIT, wait, true)?,
            max_exec: span("maxexectime", table.maxexectime, DEFAULT_MAX_EXEC, exec, true)?,
            min_interval: span(
                "min_interval",
                table.min_interval,
                DEFAULT_MIN_INTERVAL,
                interval,
                false,
            )?,
        })
    }
}

fn span(
    key: &'static str,
    written: Option<Span>,
    default: Duration,
    (least, most): (Duration, Duration),
    whole: bool,
) -> Result<Duration, InputSettingsError> {
    let span = written.map_or(default, |span| span.0);
    if (least..=most).contains(&span) && (!whole || span.subsec_nanos() == 0) {
        return Ok(span);
    }
    Err(InputSettingsError::Span {
        key,
        span,
        least,
        most,
        whole,
    })
}

impl InputSettings {
    /// An input on a line, everything else as by default.
    pub fn on_line(line: LineSpec) -> Self {
        InputSettings {
            line,
            watching: Watching {
                bias: Bias::default(),
                debounce: DEFAULT_DEBOUNCE,
            },
            submit: Arc::default(),
        }
    }
}
