//! The devices' own figures beside what the agent counts: looked at when somebody reads them and at no other time.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Metrics;
use crate::agent::watchdog::Roster;
use crate::device::Reading;

/// Everything that is served.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What the agent counts.
    pub metrics: Arc<Metrics>,
    /// Whose readings are shown.
    pub roster: Roster,
}

impl Figures {
    /// All of it, as [`Metrics::text`].
    pub fn text(&self) -> String {
        let mut text = self.metrics.text();
        let devices = self.roster.devices();
        append(
            &mut text,
            devices.iter().map(|device| (device.name(), device.readings())),
        );
        text
    }
}

const NAME: &str = "outpost_device_reading";

/// Appends the readings of devices. Of several of one name (the slots of one device) the first that has some counts: a series
/// must be there once.
fn append<'a>(text: &mut String, devices: impl Iterator<Item = (&'a str, Vec<Reading>)>) {
    let mut shown: Vec<&str> = Vec::new();
    for (device, readings) in devices {
        if readings.is_empty() || shown.contains(&device) {
            continue;
        }
        if shown.is_empty() {
            // Writing to a String can't fail; so below.
            let _ = writeln!(
                text,
                "# HELP {NAME} What a device measures now; the name has the unit.\n# TYPE {NAME} gauge"
            );
        }
        shown.push(device);
        for (index, reading) in readings.iter().enumerate() {
            if readings[..index].iter().any(|other| other.name == reading.name) {
                continue;
            }
            let _ = writeln!(
                text,
                "{NAME}{{device=\"{}\",name=\"{}\"}} {}",
                escaped(device),
                escaped(reading.name),
                decimal(reading.value)
            );
        }
    }
}

/// As the text format wants the value of a label.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' | '"' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
    text
}

/// Seven decimals at most, which is a centimetre in degrees. By hand: what the standard library has for floating point would
/// cost more than all of this. Values beyond 900 thousand million are cut there.
fn decimal(value: f64) -> String {
    const SCALE: u64 = 10_000_000;
    let scaled = (value * SCALE as f64).round() as i64;
    let sign = if scaled < 0 { "-" } else { "" };
    let digits = scaled.unsigned_abs();
    let text = format!("{sign}{}.{:07}", digits / SCALE, digits % SCALE);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(name: &'static str, value: f64) -> Reading {
        Reading { name, value }
    }

    #[test]
    fn figures_are_written_without_floating_point() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (12.5, "12.5"),
            (-58.393_412_3, "-58.3934123"),
            (100.0, "100"),
            (0.000_000_04, "0"),
            (-0.000_000_1, "-0.0000001"),
            (1e30, "922337203685.4775807"),
        ] {
            assert_eq!(decimal(value), expected, "{value}");
        }
    }

    #[test]
    fn every_series_is_there_once_under_its_type() {
        let mut text = String::new();
        append(&mut text, [("lamp", Vec::new())].into_iter());
        assert_eq!(text, "", "nothing to say");
        let dock = vec![reading("altitude_metres", 12.5), reading("battery_percent", 87.0)];
        let again = vec![reading("altitude_metres", 99.0)];
        let twice = vec![reading("height_metres", 1.0), reading("height_metres", 2.0)];
        let devices = [
            ("lamp", Vec::new()),
            ("dock", dock),
            ("dock", again),
            ("a\"b\\", twice),
        ];
        append(&mut text, devices.into_iter());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# HELP outpost_device_reading "), "{text}");
        assert_eq!(
            lines[1..],
            [
                "# TYPE outpost_device_reading gauge",
                "outpost_device_reading{device=\"dock\",name=\"altitude_metres\"} 12.5",
                "outpost_device_reading{device=\"dock\",name=\"battery_percent\"} 87",
                "outpost_device_reading{device=\"a\\\"b\\\\\",name=\"height_metres\"} 1",
            ]
        );
    }
}
