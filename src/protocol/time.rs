//! Moments as the wire writes them: RFC 3339, nanoseconds, “never” as the year-1 zero time (RD 4.4).

use std::fmt;
use std::time::Duration;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS: i128 = 1_000_000_000;

/// A moment in wall time, in nanoseconds since 1970-01-01T00:00:00Z, between the years 0 and 9999.
///
/// The default is [`Time::NEVER`]. Stored zero times come back with historical offsets and may lie in year 0, so
/// ask [`Time::is_never`], never for equality.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i128);

impl Time {
    /// 0001-01-01T00:00:00Z: unset.
    pub const NEVER: Time = Time(-62_135_596_800 * NANOS);
    /// 9999-12-31T23:59:59.999999999Z: the last moment that RFC 3339 can write.
    pub const LAST: Time = Time(253_402_300_800 * NANOS - 1);
    /// 0000-01-01T00:00:00Z, the first one.
    const FIRST: Time = Time(-62_167_219_200 * NANOS);

    /// From nanoseconds since 1970; clamped to what RFC 3339 can write.
    pub fn from_unix_nanos(nanos: i128) -> Self {
        Time(nanos).clamp(Time::FIRST, Time::LAST)
    }

    /// Nanoseconds since 1970.
    pub const fn unix_nanos(self) -> i128 {
        self.0
    }

    /// Unset: in or before year 1 (zero times carry odd historical offsets, up to a minute off).
    pub fn is_never(self) -> bool {
        // The first moment of year 2.
        self.0 < -62_104_060_800 * NANOS
    }

    /// Rounded to microseconds, as a database keeps it (RD 4.4).
    #[must_use]
    pub fn rounded_to_micros(self) -> Self {
        Time::from_unix_nanos((self.0 + 500).div_euclid(1000) * 1000)
    }

    /// This much later; stays within the years that can be written.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let span = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        Time::from_unix_nanos(self.0.saturating_add(span))
    }

    /// How long `self` lies after `earlier`; `None` if it lies before.
    pub fn since(self, earlier: Time) -> Option<Duration> {
        let nanos = u64::try_from(self.0.checked_sub(earlier.0)?).ok()?;
        Some(Duration::from_nanos(nanos))
    }

    /// Reads RFC 3339: optional fraction of up to nine digits, `Z` or an offset.
    ///
    /// # Errors
    /// The text that is not such a time.
    pub fn parse(text: &str) -> Result<Self, BadTime> {
        // RFC 3339 lets the date and the time stand apart by a space; the original does not.
        let joined = text.as_bytes().get(10) == Some(&b'T');
        match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(moment) if joined => Ok(Time::from_unix_nanos(moment.unix_timestamp_nanos())),
            _ => Err(BadTime(text.chars().take(64).collect())),
        }
    }
}

/// Not a time as RFC 3339 writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time such as \"2022-08-04T19:46:30Z\"")]
pub struct BadTime(String);

impl Default for Time {
    fn default() -> Self {
        Time::NEVER
    }
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(self.0)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        // `from_unix_nanos` clamps, so every value can be written.
        out.write_str(text.as_deref().unwrap_or("0001-01-01T00:00:00Z"))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    /// `null` is the zero time, an empty string is an error (RD 1.5).
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Option::<String>::deserialize(from)? {
            None => Ok(Time::NEVER),
            Some(text) => Time::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_times_of_every_zone_are_never() {
        for text in [
            "0001-01-01T00:00:00Z",
            "0001-01-01T01:12:12+01:12",
            "0000-12-31T19:03:58-04:56",
        ] {
            assert!(Time::parse(text).unwrap().is_never(), "{text}");
        }
        assert_eq!(Time::NEVER.to_string(), "0001-01-01T00:00:00Z");
        assert!(!Time::parse("1970-01-01T00:00:00Z").unwrap().is_never());
    }

    #[test]
    fn fractions_are_trimmed_and_kept() {
        for text in [
            "2022-08-04T19:46:31.123921Z",
            "2022-08-04T19:46:30Z",
            "2022-08-04T02:08:31.194673695Z",
        ] {
            assert_eq!(Time::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Time::parse("2022-08-04T02:08:31.194673695Z")
                .unwrap()
                .rounded_to_micros()
                .to_string(),
            "2022-08-04T02:08:31.194674Z"
        );
        assert_eq!(
            Time::parse("2022-08-04T04:46:30+02:00").unwrap().to_string(),
            "2022-08-04T02:46:30Z"
        );
        for text in [
            "",
            "yesterday",
            "2022-08-04",
            "2022-08-04 19:46:30Z",
            "2022-13-04T19:46:30Z",
        ] {
            assert!(Time::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_stays_within_what_can_be_written() {
        assert_eq!(
            Time::LAST.plus(Duration::from_secs(9)).to_string(),
            "9999-12-31T23:59:59.999999999Z"
        );
        assert_eq!(
            Time::from_unix_nanos(i128::MIN).to_string(),
            "0000-01-01T00:00:00Z"
        );
        let start = Time::parse("2022-08-04T02:08:31Z").unwrap();
        assert_eq!(
            start.plus(Duration::from_millis(1500)).since(start),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(start.since(start.plus(Duration::from_secs(1))), None);
    }
}
