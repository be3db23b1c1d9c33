//! Spans of time as people write them in arguments and settings: `500ms`, `3s`, `1.5s`, `2m`, `1h`, `3`.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// Units and their length in nanoseconds; a bare number counts seconds.
const UNITS: [(&str, u128); 5] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("", 1_000_000_000),
];

/// How to write a duration, for error messages.
const SYNTAX: &str = "write a duration like 500ms, 3s, 1.5s, 2m or 1h; a bare number counts seconds";

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: {problem}; {SYNTAX}")]
pub struct DurationError {
    text: String,
    problem: &'static str,
}

/// Reads a duration: decimal digits with an optional fraction (at most 9 digits) and a unit, nothing else.
/// Zero is a duration. At most 999,999,999 units.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let refuse = |problem| {
        Err(DurationError {
            text: text.chars().take(40).collect(),
            problem,
        })
    };
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return refuse("it is negative");
    }
    let split = trimmed
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let Some((_, nanos_per_unit)) = UNITS.iter().find(|(name, _)| *name == unit.trim_start()) else {
        return refuse(if number.is_empty() {
            "it has no number"
        } else {
            "its unit is unknown"
        });
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') || fraction.contains('.') {
        return refuse("its number is malformed");
    }
    if whole.len() > 9 || fraction.len() > 9 {
        return refuse("its number has too many digits");
    }
    // At most 9 digits each: neither the conversions nor the products can overflow.
    let digits = |text: &str| {
        text.bytes()
            .fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'))
    };
    let mut scale = 1_u128;
    for _ in 0..fraction.len() {
        scale *= 10;
    }
    let nanos = digits(whole) * nanos_per_unit + digits(fraction) * nanos_per_unit / scale;
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    Ok(Duration::new(seconds, rest))
}

/// Writes a duration so that [`parse_duration`] reads the same (to the millisecond): `2m`, `1.5s`, `250ms`.
pub fn format_duration(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        1..1_000 => format!("{millis}ms"),
        _ => {
            let fraction = format!("{:03}", millis % 1_000);
            format!("{}.{}s", millis / 1_000, fraction.trim_end_matches('0'))
        }
    }
}

/// Seconds with three decimals, as outcome attributes report measured spans: `3.000`.
pub fn format_seconds(span: Duration) -> String {
    format!("{}.{:03}", span.as_secs(), span.subsec_millis())
}

/// For `#[serde(deserialize_with = "…")]`: a text as [`parse_duration`] reads it, or a number of seconds.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct SpanVisitor;
    impl Visitor<'_> for SpanVisitor {
        type Value = Duration;
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("a duration like \"500ms\", \"3s\" or \"2m\", or a number of seconds")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            parse_duration(text).map_err(E::custom)
        }
        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            self.visit_str(&seconds.to_string())
        }
        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            self.visit_str(&seconds.to_string())
        }
        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            self.visit_str(&seconds.to_string())
        }
    }
    deserializer.deserialize_any(SpanVisitor)
}

/// A [`Duration`] in a settings table, for use inside `Option`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Span(#[serde(deserialize_with = "deserialize")] pub Duration);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documented_forms_are_read() {
        let millis = |text: &str| parse_duration(text).unwrap().as_millis();
        assert_eq!(millis("500ms"), 500);
        assert_eq!(millis("3s"), 3_000);
        assert_eq!(millis("1.5s"), 1_500);
        assert_eq!(millis("2m"), 120_000);
        assert_eq!(millis("0.5m"), 30_000);
        assert_eq!(millis("1h"), 3_600_000);
        assert_eq!(millis("3"), 3_000);
        assert_eq!(millis("0.25"), 250);
        assert_eq!(millis(" 7 s "), 7_000);
        assert_eq!(parse_duration("0.000000001s").unwrap(), Duration::from_nanos(1));
        assert_eq!(parse_duration("0").unwrap(), Duration::ZERO);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, problem) in [
            ("", "malformed"),
            ("soon", "has no number"),
            ("3 fortnights", "unit is unknown"),
            ("3S", "unit is unknown"),
            ("-3s", "negative"),
            ("1.2.3", "malformed"),
            (".5", "malformed"),
            ("5.", "malformed"),
            ("1e3", "unit is unknown"),
            ("inf", "has no number"),
            ("1234567890", "too many digits"),
            ("0.1234567890", "too many digits"),
            ("٣s", "has no number"),
        ] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
            assert!(error.contains("500ms, 3s"), "{error}");
        }
        assert!(
            parse_duration("999999999h").is_ok(),
            "the limit itself is allowed"
        );
    }

    #[test]
    fn settings_take_texts_and_numbers() {
        let read = |json: &str| serde_json::from_str::<Span>(json).map(|span| span.0.as_millis());
        assert_eq!(read("\"2m\"").unwrap(), 120_000);
        assert_eq!(read("5").unwrap(), 5_000);
        assert_eq!(read("0.5").unwrap(), 500);
        assert!(read("-1").unwrap_err().to_string().contains("negative"));
        assert!(read("true").unwrap_err().to_string().contains("a duration like"));
    }

    #[test]
    fn measured_spans_have_three_decimals() {
        assert_eq!(format_seconds(Duration::from_micros(3_000_900)), "3.000");
        assert_eq!(format_seconds(Duration::from_millis(50)), "0.050");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn what_is_written_is_read_back(millis in 0_u64..500_000_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(span)).unwrap(), span);
        }

        #[test]
        fn decimals_agree_with_arithmetic(whole in 0_u64..1_000_000, millis in 0_u64..1_000) {
            let text = format!("{whole}.{millis:03}");
            prop_assert_eq!(parse_duration(&text).unwrap(), Duration::from_millis(whole * 1_000 + millis));
        }
    }
}
