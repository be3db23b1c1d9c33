//! Hours of the day as people write them in settings: `06:00-20:00`, `22:00-05:30+01:00`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// How to write them, for error messages.
const SYNTAX: &str = "write hours like 06:00-20:00 (in UTC), 06:00-20:00+01:00 (with an offset) or 22:00-05:00 (over midnight)";

const DAY: u16 = 24 * 60;
/// Offsets from UTC reach so far, in minutes (Kiribati).
const OFFSET_MAX: i16 = 14 * 60;

/// The same hours of every day, in UTC or at a fixed offset from it. From the first minute on and before the last; over
/// midnight where the first is later than the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DailyHours {
    /// Minutes after midnight.
    from: u16,
    /// Minutes after midnight, up to 24:00.
    until: u16,
    /// Minutes that local time is ahead of UTC.
    offset: i16,
}

/// The text says no hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} says no hours of a day: {problem}; {SYNTAX}")]
pub struct HoursError {
    text: String,
    problem: &'static str,
}

impl DailyHours {
    /// Whether a moment lies within them; `utc_nanos`: nanoseconds since 1970-01-01T00:00:00Z.
    pub fn contains(&self, utc_nanos: i128) -> bool {
        let minutes = utc_nanos.div_euclid(60 * 1_000_000_000) + i128::from(self.offset);
        let minute = minutes.rem_euclid(i128::from(DAY));
        let (from, until) = (i128::from(self.from), i128::from(self.until));
        if from < until {
            from <= minute && minute < until
        } else {
            from <= minute || minute < until
        }
    }
}

impl FromStr for DailyHours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let refuse = |problem| HoursError {
            text: text.chars().take(40).collect(),
            problem,
        };
        let parts = text.trim().split_once('-');
        let (from, rest) = parts.ok_or_else(|| refuse("it has no hyphen"))?;
        let split = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
        let (until, zone) = rest.split_at(split);
        let from = minutes(from).filter(|from| *from < DAY);
        let from = from.ok_or_else(|| refuse("its first is no time of day"))?;
        let until = minutes(until).filter(|until| *until <= DAY);
        let until = until.ok_or_else(|| refuse("its last is no time of day"))?;
        let offset = offset(zone).ok_or_else(|| refuse("its offset from UTC is none"))?;
        if from == until {
            return Err(refuse("both times are the same (the whole day is 00:00-24:00)"));
        }
        Ok(DailyHours { from, until, offset })
    }
}

impl TryFrom<String> for DailyHours {
    type Error = HoursError;

    fn try_from(text: String) -> Result<Self, HoursError> {
        text.parse()
    }
}

impl fmt::Display for DailyHours {
    /// As it is read.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(out, "{}-{}", time(self.from), time(self.until))?;
        let sign = match self.offset {
            0 => return out.write_str("Z"),
            1.. => '+',
            _ => '-',
        };
        write!(out, "{sign}{}", time(self.offset.unsigned_abs()))
    }
}

/// `HH:MM` in minutes; up to 99:59.
fn minutes(text: &str) -> Option<u16> {
    let [a, b, b':', c, d] = text.as_bytes() else {
        return None;
    };
    let digits = [a, b, c, d].map(|digit| digit.wrapping_sub(b'0'));
    let [a, b, c, d] = digits.map(u16::from);
    (digits.iter().all(|digit| *digit <= 9) && c <= 5).then_some((a * 10 + b) * 60 + c * 10 + d)
}

fn offset(text: &str) -> Option<i16> {
    let sign = match text.chars().next() {
        None => return Some(0),
        Some('Z') => return (text == "Z").then_some(0),
        Some('-') => -1,
        Some(_) => 1,
    };
    let ahead = i16::try_from(minutes(text.get(1..)?)?).ok()?;
    (ahead <= OFFSET_MAX).then_some(sign * ahead)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(text: &str) -> DailyHours {
        text.parse().unwrap()
    }

    /// Nanoseconds since 1970 of a minute of a day of 2026.
    fn utc(hour: i128, minute: i128) -> i128 {
        let day = 20_600;
        ((day * 24 + hour) * 60 + minute) * 60 * 1_000_000_000
    }

    #[test]
    fn the_first_minute_is_in_and_the_last_is_not() {
        let day = hours("06:00-20:30");
        for (hour, minute, within) in [
            (5, 59, false),
            (6, 0, true),
            (20, 29, true),
            (20, 30, false),
            (0, 0, false),
        ] {
            assert_eq!(day.contains(utc(hour, minute)), within, "{hour}:{minute}");
        }
        assert!(day.contains(utc(20, 30) - 1), "to the nanosecond");
        assert!(!day.contains(utc(6, 0) - 1));
        assert!(day.contains(-6 * 3_600 * 1_000_000_000), "18:00 of 1969");
    }

    #[test]
    fn hours_may_go_over_midnight_and_have_an_offset() {
        let night = hours("22:00-05:00");
        for (hour, within) in [
            (21, false),
            (22, true),
            (23, true),
            (0, true),
            (4, true),
            (5, false),
        ] {
            assert_eq!(night.contains(utc(hour, 0)), within, "{hour}");
        }
        let local = hours("06:00-20:00+01:00");
        assert!(local.contains(utc(5, 0)) && !local.contains(utc(19, 0)));
        let west = hours(" 06:00-20:00-09:30 ");
        assert!(west.contains(utc(15, 30)) && !west.contains(utc(15, 29)));
        assert!(west.contains(utc(5, 29)) && !west.contains(utc(5, 30)));
        let always = hours("00:00-24:00Z");
        assert!((0..24).all(|hour| always.contains(utc(hour, 59))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, problem) in [
            ("", "no hyphen"),
            ("06:00", "no hyphen"),
            ("6:00-20:00", "first"),
            ("24:00-20:00", "first"),
            ("06:60-20:00", "first"),
            ("٠٦:00-20:00", "first"),
            ("06:00-24:01", "last"),
            ("06:00 - 20:00", "first"),
            ("06:00-20:00 CET", "last"),
            ("06:00-20:00+1", "offset"),
            ("06:00-20:00+14:01", "offset"),
            ("06:00-20:00Zulu", "offset"),
            ("06:00-06:00", "00:00-24:00"),
        ] {
            let error = text.parse::<DailyHours>().expect_err(text).to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
            assert!(error.contains("06:00-20:00+01:00"), "{error}");
        }
        let read = |json: &str| serde_json::from_str::<DailyHours>(json);
        assert_eq!(read("\"06:00-20:00\"").unwrap(), hours("06:00-20:00Z"));
        assert!(read("\"dawn\"").unwrap_err().to_string().contains("no hyphen"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<DailyHours>();
        }

        #[test]
        fn what_is_written_is_read_back(from in 0..DAY, until in 0..=DAY, offset in -OFFSET_MAX..=OFFSET_MAX) {
            prop_assume!(from != until);
            let some = DailyHours { from, until, offset };
            prop_assert_eq!(some.to_string().parse::<DailyHours>(), Ok(some));
        }
    }
}
