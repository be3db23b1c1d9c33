//! Which channel is meant, and how fast it switches.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::device::gpio::text_or_number;

/// The frequency unless `pwm.frequency` says otherwise: no eye sees it, and what drives lamps follows it.
const DEFAULT_FREQUENCY: u32 = 1000;
/// The highest frequency: above it a percent is less than the kernel's nanoseconds can tell apart well.
const HIGHEST_FREQUENCY: u32 = 1_000_000;

/// One channel of a PWM chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PwmSpec {
    /// The chip, by the name of its device: `fe20c000.pwm`, `1f00098000.pwm`. `None`: the only one there is.
    pub chip: Option<String>,
    /// The number of the channel on the chip, from 0.
    pub channel: u32,
    /// How often a second it switches on, in Hz, from 1 to a million.
    pub frequency: u32,
    /// Whether low voltage means on.
    pub active_low: bool,
}

/// The keys as they are written: `pwm = { chip = "fe20c000.pwm", channel = 0, frequency = 1000 }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, as in { channel = 0 }")]
pub struct PwmTable {
    #[serde(default, deserialize_with = "text_or_number")]
    chip: Option<String>,
    channel: u32,
    frequency: Option<u32>,
}

/// Why the settings do not name a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PwmSpecError {
    /// A chip number.
    #[error(
        "chip = {chip:?} is a number, and numbers move: on a Raspberry Pi 5 the header's was pwmchip2 and became \
         pwmchip0 with a kernel update. Write the name of its device, for example chip = \"1f00098000.pwm\" (Pi 5), \
         \"fe20c000.pwm\" (Pi 4); `ls -l /sys/class/pwm/*/device` shows them, and so does `outpost-agent check`. Where \
         there is a single chip, leave the key out"
    )]
    ChipNumber {
        /// What was written.
        chip: String,
    },
    /// No name.
    #[error(
        "chip is empty: write the name of the chip's device, or leave the key out where there is a single chip"
    )]
    EmptyChip,
    /// Too slow or too fast.
    #[error("frequency = {frequency} must be from 1 to {HIGHEST_FREQUENCY}, in Hz")]
    Frequency {
        /// What was written.
        frequency: u32,
    },
}

impl PwmSpec {
    /// A channel of the only chip, active-high, with the usual frequency.
    pub fn channel(channel: u32) -> Self {
        PwmSpec {
            chip: None,
            channel,
            frequency: DEFAULT_FREQUENCY,
            active_low: false,
        }
    }

    /// From the key `pwm` of a settings table, and its `active_low`.
    ///
    /// # Errors
    /// A chip's number, or a frequency that no chip has.
    pub fn from_table(table: PwmTable, active_low: bool) -> Result<Self, PwmSpecError> {
        let frequency = table.frequency.unwrap_or(DEFAULT_FREQUENCY);
        if !(1..=HIGHEST_FREQUENCY).contains(&frequency) {
            return Err(PwmSpecError::Frequency { frequency });
        }
        Ok(PwmSpec {
            chip: table.chip.map(chip_name).transpose()?,
            channel: table.channel,
            frequency,
            active_low,
        })
    }

    /// From one switching on to the next.
    pub fn period(&self) -> Duration {
        Duration::from_nanos(1_000_000_000 / u64::from(self.frequency.max(1)))
    }
}

impl fmt::Display for PwmSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.chip.as_deref().unwrap_or("pwm"), self.channel)
    }
}

/// Refuses a chip's number in any of its disguises: `0`, `pwmchip0`, `/sys/class/pwm/pwmchip0`.
fn chip_name(chip: String) -> Result<String, PwmSpecError> {
    let bare = chip.trim();
    if bare.is_empty() {
        return Err(PwmSpecError::EmptyChip);
    }
    let bare = bare.rsplit('/').next().unwrap_or(bare);
    let bare = bare.strip_prefix("pwmchip").unwrap_or(bare);
    if bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PwmSpecError::ChipNumber { chip });
    }
    Ok(chip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(chip: Option<&str>, frequency: Option<u32>) -> Result<PwmSpec, PwmSpecError> {
        let table = PwmTable {
            chip: chip.map(str::to_owned),
            channel: 1,
            frequency,
        };
        PwmSpec::from_table(table, true)
    }

    #[test]
    fn a_channel_has_a_named_chip_or_the_only_one() {
        let only = table(None, None).unwrap();
        assert_eq!(
            only,
            PwmSpec {
                active_low: true,
                ..PwmSpec::channel(1)
            }
        );
        assert_eq!((only.frequency, only.to_string()), (1000, "pwm/1".to_owned()));
        assert_eq!(only.period(), Duration::from_millis(1));
        let named = table(Some("fe20c000.pwm"), Some(25_000)).unwrap();
        assert_eq!(named.to_string(), "fe20c000.pwm/1");
        assert_eq!(named.period(), Duration::from_micros(40));
    }

    #[test]
    fn numbers_of_chips_are_refused_in_every_disguise() {
        for chip in ["0", "2", "pwmchip0", "/sys/class/pwm/pwmchip2", " 1 "] {
            let error = table(Some(chip), None).unwrap_err();
            assert!(
                matches!(error, PwmSpecError::ChipNumber { .. }),
                "{chip}: {error}"
            );
            assert!(error.to_string().contains("1f00098000.pwm"), "{error}");
        }
        assert_eq!(table(Some(" "), None), Err(PwmSpecError::EmptyChip));
    }

    #[test]
    fn frequencies_are_bounded() {
        for frequency in [0, HIGHEST_FREQUENCY + 1] {
            let error = table(None, Some(frequency)).unwrap_err().to_string();
            assert!(error.contains("must be from 1 to 1000000, in Hz"), "{error}");
        }
        for frequency in [1, HIGHEST_FREQUENCY] {
            assert!(table(None, Some(frequency)).is_ok());
        }
    }
}
