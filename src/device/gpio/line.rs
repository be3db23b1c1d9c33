//! Which line is meant, and its levels.

use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// The *logical* level of a line: what the thing on it does, whichever voltage that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Inactive.
    #[default]
    Off,
    /// Active.
    On,
}

impl Level {
    /// The voltage for this level.
    pub fn physical(self, active_low: bool) -> Physical {
        if (self == Level::On) != active_low {
            Physical::High
        } else {
            Physical::Low
        }
    }
}

impl std::ops::Not for Level {
    type Output = Level;
    fn not(self) -> Level {
        match self {
            Level::Off => Level::On,
            Level::On => Level::Off,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Level::Off => "off",
            Level::On => "on",
        })
    }
}

/// The voltage on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Physical {
    /// 0 V.
    Low,
    /// The supply of the pin, 3.3 V on a Raspberry Pi.
    High,
}

impl Physical {
    /// The level that this voltage means.
    pub fn logical(self, active_low: bool) -> Level {
        if (self == Physical::High) != active_low {
            Level::On
        } else {
            Level::Off
        }
    }
}

impl fmt::Display for Physical {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Physical::Low => "low",
            Physical::High => "high",
        })
    }
}

/// Where a line is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LineAddress {
    /// By the name the board's device tree gives it: `GPIO17`.
    Named(String),
    /// By the label of its chip, which stays the same from boot to boot and kernel to kernel, and its offset there.
    OnChip {
        /// The chip's label: `pinctrl-rp1`, `pinctrl-bcm2711`, …
        label: String,
        /// The number of the line on that chip, from 0.
        offset: u32,
    },
}

impl fmt::Display for LineAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineAddress::Named(name) => out.write_str(name),
            LineAddress::OnChip { label, offset } => write!(out, "{label}/{offset}"),
        }
    }
}

/// One line and how to read its voltage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LineSpec {
    /// Where it is.
    pub address: LineAddress,
    /// Whether low voltage means on, as most relay boards have it.
    pub active_low: bool,
}

/// Why the settings do not name a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineSpecError {
    /// Neither `line` nor `chip`.
    #[error(
        "no line is given: write line = \"GPIO17\" (its name), \
         or chip = \"pinctrl-bcm2711\" (its chip's label) and offset = 17"
    )]
    Missing,
    /// Both `line` and `chip` or `offset`.
    #[error("line = {line:?} names the line already: leave `chip` and `offset` out")]
    Both {
        /// The name.
        line: String,
    },
    /// `chip` without `offset`.
    #[error("chip = {chip:?} needs `offset` too, the number of the line on that chip")]
    NoOffset {
        /// The chip.
        chip: String,
    },
    /// `offset` without `chip`.
    #[error(
        "offset = {offset} needs `chip` too, the label of its chip, for example chip = \"pinctrl-bcm2711\""
    )]
    NoChip {
        /// The offset.
        offset: u32,
    },
    /// A chip number.
    #[error(
        "chip = {chip:?} is a number, and numbers move: on a Raspberry Pi 5 the header was gpiochip4 and became \
         gpiochip0 with a kernel update. Write the chip's label, for example chip = \"pinctrl-rp1\" (Pi 5), \
         \"pinctrl-bcm2711\" (Pi 4), \"pinctrl-bcm2835\" (older); `gpiodetect` lists labels in brackets. \
         Or name the line: line = \"GPIO17\""
    )]
    ChipNumber {
        /// What was written.
        chip: String,
    },
    /// A line number.
    #[error(
        "line = {line:?} is a number: is it the header's pin, the BCM number or an offset? \
         Write the line's name, line = \"GPIO17\" for BCM 17"
    )]
    LineNumber {
        /// What was written.
        line: String,
    },
    /// An empty name.
    #[error("`{key}` is empty: write a name")]
    Empty {
        /// Which key.
        key: &'static str,
    },
}

impl LineSpec {
    /// A line by its name, active-high.
    pub fn named(name: impl Into<String>) -> Self {
        LineSpec {
            address: LineAddress::Named(name.into()),
            active_low: false,
        }
    }

    /// From the keys `line`, `chip`, `offset` and `active_low` of a settings table: either `line` alone, or
    /// `chip` and `offset`. Numbers of chips are refused.
    pub fn from_keys(
        line: Option<String>,
        chip: Option<String>,
        offset: Option<u32>,
        active_low: bool,
    ) -> Result<Self, LineSpecError> {
        let address = match (line, chip, offset) {
            (None, None, None) => return Err(LineSpecError::Missing),
            (Some(line), None, None) => LineAddress::Named(line_name(line)?),
            (Some(line), _, _) => return Err(LineSpecError::Both { line }),
            (None, Some(chip), None) => {
                return Err(LineSpecError::NoOffset {
                    chip: chip_label(chip)?,
                });
            }
            (None, None, Some(offset)) => return Err(LineSpecError::NoChip { offset }),
            (None, Some(chip), Some(offset)) => LineAddress::OnChip {
                label: chip_label(chip)?,
                offset,
            },
        };
        Ok(LineSpec { address, active_low })
    }
}

impl fmt::Display for LineSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}

/// Refuses what only looks like a line's name.
fn line_name(line: String) -> Result<String, LineSpecError> {
    if line.trim().is_empty() {
        return Err(LineSpecError::Empty { key: "line" });
    }
    if is_number(&line) {
        return Err(LineSpecError::LineNumber { line });
    }
    Ok(line)
}

/// Refuses a chip's number in any of its disguises: `0`, `gpiochip0`, `/dev/gpiochip0`.
fn chip_label(chip: String) -> Result<String, LineSpecError> {
    let bare = chip.trim();
    if bare.is_empty() {
        return Err(LineSpecError::Empty { key: "chip" });
    }
    let bare = bare.strip_prefix("/dev/").unwrap_or(bare);
    let bare = bare.strip_prefix("gpiochip").unwrap_or(bare);
    if is_number(bare) {
        return Err(LineSpecError::ChipNumber { chip });
    }
    Ok(chip)
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    let text = text.strip_prefix('-').unwrap_or(text);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// For `#[serde(deserialize_with = "…")]`: a text or a whole number, as text. A number is refused later, by
/// [`LineSpec::from_keys`], with the reason, instead of here as an “invalid type”.
pub fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct TextVisitor;
    impl Visitor<'_> for TextVisitor {
        type Value = Option<String>;
        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a name in quotes")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }
        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }
        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }
    }
    deserializer.deserialize_any(TextVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(line: Option<&str>, chip: Option<&str>, offset: Option<u32>) -> Result<LineSpec, LineSpecError> {
        LineSpec::from_keys(line.map(str::to_owned), chip.map(str::to_owned), offset, false)
    }

    #[test]
    fn a_line_is_given_by_name_or_by_label_and_offset() {
        assert_eq!(
            keys(Some("GPIO17"), None, None).unwrap(),
            LineSpec::named("GPIO17")
        );
        let on_chip = keys(None, Some("pinctrl-rp1"), Some(17)).unwrap();
        assert_eq!(on_chip.to_string(), "pinctrl-rp1/17");
    }

    #[test]
    fn numbers_of_chips_are_refused_in_every_disguise() {
        for chip in ["0", "4", "gpiochip0", "/dev/gpiochip4", " 0 ", "-1"] {
            for offset in [None, Some(17)] {
                let error = keys(None, Some(chip), offset).unwrap_err();
                assert!(
                    matches!(error, LineSpecError::ChipNumber { .. }),
                    "{chip}: {error}"
                );
                let text = error.to_string();
                assert!(
                    text.contains("numbers move") && text.contains("pinctrl-rp1"),
                    "{text}"
                );
                assert!(text.contains("line = \"GPIO17\""), "{text}");
            }
        }
        assert!(
            keys(None, Some("gpiochip-expander"), Some(0)).is_ok(),
            "a label may begin like that"
        );
        assert!(keys(None, Some("gpiochip"), Some(0)).is_ok());
    }

    #[test]
    fn half_a_line_and_two_lines_are_refused() {
        assert_eq!(keys(None, None, None), Err(LineSpecError::Missing));
        assert!(matches!(
            keys(Some("GPIO1"), Some("x"), Some(1)),
            Err(LineSpecError::Both { .. })
        ));
        assert!(matches!(
            keys(Some("GPIO1"), None, Some(1)),
            Err(LineSpecError::Both { .. })
        ));
        assert!(matches!(
            keys(None, Some("x"), None),
            Err(LineSpecError::NoOffset { .. })
        ));
        assert!(matches!(
            keys(None, None, Some(1)),
            Err(LineSpecError::NoChip { .. })
        ));
        assert!(matches!(
            keys(Some("17"), None, None),
            Err(LineSpecError::LineNumber { .. })
        ));
        assert!(matches!(
            keys(Some(" "), None, None),
            Err(LineSpecError::Empty { key: "line" })
        ));
        assert!(matches!(
            keys(None, Some(""), Some(1)),
            Err(LineSpecError::Empty { key: "chip" })
        ));
    }

    #[test]
    fn active_low_turns_the_voltage_around_and_back() {
        assert_eq!(Level::On.physical(false), Physical::High);
        assert_eq!(Level::On.physical(true), Physical::Low);
        for level in [Level::Off, Level::On] {
            for active_low in [false, true] {
                assert_eq!(level.physical(active_low).logical(active_low), level);
            }
        }
        assert_eq!(!Level::On, Level::Off);
    }
}
