//! `[safety]`: the line by which an external watchdog sees that the agent is alive.

use std::time::Duration;

use serde::Deserialize;

use crate::device::DeviceSettings;
use crate::device::duration::{self, format_duration};
use crate::device::gpio::{LineSpec, LineSpecError, text_or_number};

/// What the period may be: relays that watch for pulses are content with it, and the agent is not woken all the time.
const PERIOD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// `[safety]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Safety {
    /// A line that no device has, toggled while all is well; `None`: none is.
    pub heartbeat_line: Option<HeartbeatLine>,
    /// How long one high and one low take together.
    #[serde(deserialize_with = "duration::deserialize")]
    pub heartbeat_period: Duration,
}

impl Default for Safety {
    fn default() -> Self {
        Safety {
            heartbeat_line: None,
            heartbeat_period: Duration::from_millis(500),
        }
    }
}

/// Which line: its name, or its place on a chip.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct HeartbeatLine(pub LineSpec);

/// As it is written.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "write heartbeat_line = \"GPIO25\", or { chip = \"pinctrl-bcm2711\", offset = 25 }"
)]
enum Written {
    Name(#[serde(deserialize_with = "text_or_number")] Option<String>),
    OnChip(OnChip),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnChip {
    chip: String,
    offset: u32,
}

impl TryFrom<Written> for HeartbeatLine {
    type Error = LineSpecError;

    fn try_from(written: Written) -> Result<Self, LineSpecError> {
        let line = match written {
            Written::Name(name) => LineSpec::from_keys(name, None, None, false),
            Written::OnChip(OnChip { chip, offset }) => {
                LineSpec::from_keys(None, Some(chip), Some(offset), false)
            }
        };
        line.map(HeartbeatLine)
    }
}

impl Safety {
    /// Whether it can be used beside these devices. Else the key, and what to do.
    pub(super) fn problem<'a>(
        &self,
        mut devices: impl Iterator<Item = (&'a String, &'a DeviceSettings)>,
    ) -> Option<(&'static str, String)> {
        if !(PERIOD.0..=PERIOD.1).contains(&self.heartbeat_period) {
            let text = format!(
                "{} must be from {} to {}",
                format_duration(self.heartbeat_period),
                format_duration(PERIOD.0),
                format_duration(PERIOD.1)
            );
            return Some(("safety.heartbeat_period", text));
        }
        let HeartbeatLine(own) = self.heartbeat_line.as_ref()?;
        let (device, _) = devices.find(|(_, device)| {
            let mut lines = device.lines().into_iter();
            lines.any(|line| line.address == own.address)
        })?;
        let text = format!("{own} is a line of devices.{device}: the heartbeat needs one that no device has");
        Some(("safety.heartbeat_line", text))
    }
}
