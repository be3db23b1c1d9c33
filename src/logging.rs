//! The log: one line an event on standard error, and nothing else. A subscriber of our own for `tracing`, because the
//! usual one brings a registry of spans, which nothing here uses, at a tenth of the device's program
//! (docs/decisions/0045-size.md).
//!
//! A line is `TIME LEVEL message key=value …`. Control characters are escaped: what came over the wire can neither
//! begin a line of its own nor steer a terminal.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, SetGlobalDefaultError};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::protocol::Time;

/// Lets events of `level` and graver ones be written to standard error, in colour on a terminal.
///
/// # Errors
/// Where a subscriber is set already.
pub fn start(level: Level) -> Result<(), SetGlobalDefaultError> {
    let colour = io::stderr().is_terminal();
    tracing::subscriber::set_global_default(Lines { level, colour })
}

struct Lines {
    level: Level,
    colour: bool,
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    // Spans are never enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let line = line(event, now(), self.colour);
        // One call, so that lines of several threads do not mix. A log that can't be written must not stop the work.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// The wall clock's; before 1970 it is 1970.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Whole microseconds: more would only be noise.
    let micros = i128::try_from(since.as_micros()).unwrap_or_default();
    Time::from_unix_nanos(micros * 1000)
}

fn line(event: &Event<'_>, now: Time, colour: bool) -> String {
    let level = *event.metadata().level();
    let mut fields = Fields::default();
    event.record(&mut fields);
    let Fields { message, rest } = fields;
    if !colour {
        return format!("{now} {level:>5} {message}{rest}\n");
    }
    let paint = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    format!("\x1b[2m{now}\x1b[0m \x1b[{paint}m{level:>5}\x1b[0m {message}{rest}\n")
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A failing formatter leaves its value cut short, which is all that can be done.
        let _ = if field.name() == "message" {
            write!(Printable(&mut self.message), "{value:?}")
        } else {
            let name = field.name().trim_start_matches("r#");
            write!(Printable(&mut self.rest), " {name}={value:?}")
        };
    }
}

/// Escapes control characters.
struct Printable<'a>(&'a mut String);

impl fmt::Write for Printable<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) use kept::logged;

/// For tests of what is said, in any room.
#[cfg(test)]
mod kept {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Writes into memory, with a fixed time, what [`Lines`] writes to standard error.
    struct Kept(Lines, Arc<Mutex<String>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            self.0.enabled(metadata)
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.0.new_span(span)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let line = line(event, Time::from_unix_nanos(1_500_000_000), self.0.colour);
            self.1.lock().unwrap().push_str(&line);
        }
    }

    /// What is logged while `what` is done on this thread: its lines, all at the same time.
    pub(crate) fn logged(level: Level, colour: bool, what: impl FnOnce()) -> String {
        let text = Arc::new(Mutex::new(String::new()));
        let kept = Kept(Lines { level, colour }, text.clone());
        tracing::subscriber::with_default(kept, what);
        let text = text.lock().unwrap();
        text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_level_message_and_fields() {
        let error = io::Error::other("no disk");
        let text = logged(Level::INFO, false, || {
            tracing::info!(id = "a b", r#type = 5, %error, ok = true, "started {}", 1);
        });
        assert_eq!(
            text,
            "1970-01-01T00:00:01.5Z  INFO started 1 id=\"a b\" type=5 error=no disk ok=true\n"
        );
    }

    #[test]
    fn what_is_less_grave_than_the_level_is_left_out() {
        let text = logged(Level::WARN, false, || {
            tracing::info!("left out");
            tracing::warn!("kept");
            tracing::error!("kept too");
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains("left out"), "{text}");
    }

    #[test]
    fn nothing_that_is_logged_begins_a_line_or_steers_the_terminal() {
        let evil = "x\n1970-01-01T00:00:01Z ERROR forged\x1b[2J\u{9b}";
        let text = logged(Level::INFO, false, || {
            tracing::info!(plain = %evil, quoted = evil, "{evil}");
        });
        assert_eq!(text.matches(|c: char| c.is_control()).count(), 1, "{text:?}");
        assert!(text.ends_with('\n') && text.contains("\\n1970"), "{text:?}");
    }

    #[test]
    fn colour_is_for_terminals() {
        let text = logged(Level::ERROR, true, || tracing::error!("red"));
        assert!(text.contains("\x1b[31mERROR\x1b[0m red"), "{text:?}");
    }
}
