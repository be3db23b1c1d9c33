//! A named value of a Modbus device: where it lies, how it is coded, within which bounds it may be written. Pure.

use std::fmt;

/// A number of the configuration: finite, so that it equals itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(f64);

impl Eq for Number {}

impl Number {
    /// `None` for infinities and what is no number.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Number(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The four memories of a Modbus device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Bits that can be read and written.
    Coil,
    /// Bits that can be read.
    Discrete,
    /// Words that can be read.
    Input,
    /// Words that can be read and written.
    Holding,
}

impl Memory {
    /// Whether it holds bits.
    pub fn is_bits(self) -> bool {
        matches!(self, Memory::Coil | Memory::Discrete)
    }

    /// Whether Modbus can write it.
    pub fn is_writable(self) -> bool {
        matches!(self, Memory::Coil | Memory::Holding)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Memory::Coil => "coil",
            Memory::Discrete => "discrete input",
            Memory::Input => "input register",
            Memory::Holding => "holding register",
        })
    }
}

/// How a value is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// On or off.
    Bit,
    /// One word, not negative.
    U16,
    /// One word, two's complement.
    I16,
    /// Two words, not negative.
    U32,
    /// Two words, two's complement.
    I32,
    /// Two words, IEEE 754.
    F32,
}

impl Coding {
    /// Registers that it takes; 1 for a bit, which takes one address too.
    pub fn addresses(self) -> u16 {
        match self {
            Coding::Bit | Coding::U16 | Coding::I16 => 1,
            Coding::U32 | Coding::I32 | Coding::F32 => 2,
        }
    }

    /// The smallest and the largest whole number; `None` for those that are not whole.
    fn whole_range(self) -> Option<(f64, f64)> {
        match self {
            Coding::Bit => Some((0.0, 1.0)),
            Coding::U16 => Some((0.0, f64::from(u16::MAX))),
            Coding::I16 => Some((f64::from(i16::MIN), f64::from(i16::MAX))),
            Coding::U32 => Some((0.0, f64::from(u32::MAX))),
            Coding::I32 => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
            Coding::F32 => None,
        }
    }
}

/// In which order the four bytes of two words come: A is the most significant. Modbus says nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// High word first, high byte first.
    #[default]
    Abcd,
    /// Low word first.
    Cdab,
    /// High word first, low byte first.
    Badc,
    /// Low word first, low byte first.
    Dcba,
}

impl Order {
    fn swaps_words(self) -> bool {
        matches!(self, Order::Cdab | Order::Dcba)
    }

    fn swaps_bytes(self) -> bool {
        matches!(self, Order::Badc | Order::Dcba)
    }
}

/// What lies in the device's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// One bit.
    Bit(bool),
    /// One or two words, in the order of their addresses.
    Words(Vec<u16>),
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// `name`: as verbs name it.
    pub name: String,
    /// `unit_id`: which device on the line (default: the one of the whole table).
    pub unit_id: u8,
    /// `memory`: `coil`, `discrete`, `input` or `holding`.
    pub memory: Memory,
    /// `address`: as it is on the wire, from 0; what manuals call 40011 is holding register 10.
    pub address: u16,
    /// `type`: how it is coded (bits have none; registers `u16` by default).
    pub coding: Coding,
    /// `order`: `abcd` (default), `cdab`, `badc` or `dcba`.
    pub order: Order,
    /// `scale`: what one step means (default 1). The value is the coded number × scale + offset.
    pub scale: Number,
    /// `offset`: what zero means (default 0).
    pub offset: Number,
    /// `unit`: for people, `°C`.
    pub unit: Option<String>,
    /// `writable`: whether `write` may change it (default false).
    pub writable: bool,
    /// `min`: the least that may be written.
    pub min: Option<Number>,
    /// `max`: the most that may be written.
    pub max: Option<Number>,
    /// `verify`: whether what was written is read back (default true); false for what resets itself.
    pub verify: bool,
    /// `safe`: what is written to make the device safe.
    pub safe: Option<Raw>,
}

impl Point {
    /// What a text like `21.5` or `on` is in memory, if it is within the bounds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn encode(&self, text: &str) -> Result<Raw, String> {
        let text = text.trim();
        if self.coding == Coding::Bit {
            return match text {
                "on" | "true" | "1" => Ok(Raw::Bit(true)),
                "off" | "false" | "0" => Ok(Raw::Bit(false)),
                _ => Err(format!("{text:?} is neither on nor off")),
            };
        }
        let value = text.parse().ok().and_then(Number::new);
        let Some(Number(value)) = value else {
            return Err(format!("{text:?} is not a number"));
        };
        self.within(value, text)?;
        let steps = (value - self.offset.0) / self.scale.0;
        let words = match self.coding.whole_range() {
            Some((least, most)) => {
                let whole = steps.round();
                if !(least..=most).contains(&whole) {
                    let (one, other) = (self.scaled(least), self.scaled(most));
                    return Err(format!(
                        "{text} does not fit its type, which reaches from {} to {}",
                        self.decimal(one.min(other)),
                        self.decimal(one.max(other))
                    ));
                }
                // The nearest step may lie beyond a bound that is between two steps.
                self.within(self.scaled(whole), text)?;
                // In range, so that nothing is cut off.
                let bits = if least < 0.0 {
                    (whole as i32) as u32
                } else {
                    whole as u32
                };
                self.words(bits)
            }
            None => {
                let single = steps as f32;
                if !single.is_finite() {
                    return Err(format!("{text} does not fit its type"));
                }
                self.words(single.to_bits())
            }
        };
        Ok(Raw::Words(words))
    }

    fn within(&self, value: f64, text: &str) -> Result<(), String> {
        // As exact as a single-precision number is.
        let slack = value.abs() * 1e-7;
        let unit = self.unit.as_deref().unwrap_or_default();
        match (self.min, self.max) {
            (Some(Number(min)), _) if value < min - slack => Err(format!(
                "{text} is too low, at least {min}{unit} (min of this point)"
            )),
            (_, Some(Number(max))) if value > max + slack => Err(format!(
                "{text} is too high, at most {max}{unit} (max of this point)"
            )),
            _ => Ok(()),
        }
    }

    fn scaled(&self, steps: f64) -> f64 {
        steps * self.scale.0 + self.offset.0
    }

    fn words(&self, bits: u32) -> Vec<u16> {
        let (high, low) = ((bits >> 16) as u16, bits as u16);
        let swap = |word: u16| {
            if self.order.swaps_bytes() {
                word.swap_bytes()
            } else {
                word
            }
        };
        match (self.coding.addresses(), self.order.swaps_words()) {
            (1, _) => vec![swap(low)],
            (_, false) => vec![swap(high), swap(low)],
            (_, true) => vec![swap(low), swap(high)],
        }
    }

    fn bits(&self, words: &[u16]) -> u32 {
        let swap = |word: u16| {
            u32::from(if self.order.swaps_bytes() {
                word.swap_bytes()
            } else {
                word
            })
        };
        match words {
            [high, low] if !self.order.swaps_words() => swap(*high) << 16 | swap(*low),
            [low, high] => swap(*high) << 16 | swap(*low),
            [word, ..] => swap(*word),
            [] => 0,
        }
    }

    /// The text for what lies in memory.
    pub fn decode(&self, raw: &Raw) -> String {
        let words = match raw {
            Raw::Bit(bit) => return if *bit { "on" } else { "off" }.to_owned(),
            Raw::Words(words) => words,
        };
        let bits = self.bits(words);
        let steps = match self.coding {
            Coding::Bit | Coding::U16 | Coding::U32 => f64::from(bits),
            Coding::I16 => f64::from(bits as u16 as i16),
            Coding::I32 => f64::from(bits as i32),
            Coding::F32 => {
                let value = self.scaled(f64::from(f32::from_bits(bits)));
                // No more digits than a single-precision number has.
                return (value as f32).to_string();
            }
        };
        self.decimal(self.scaled(steps))
    }

    /// With as many decimals as scale and offset have: 215 × 0.1 is 21.5.
    fn decimal(&self, value: f64) -> String {
        let decimals = |Number(number): Number| {
            let text = number.to_string();
            text.split_once('.').map_or(0, |(_, fraction)| fraction.len())
        };
        let decimals = decimals(self.scale).max(decimals(self.offset)).min(12);
        let text = format!("{value:.decimals$}");
        let zero = text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.');
        if zero {
            text.trim_start_matches('-').to_owned()
        } else {
            text
        }
    }

    /// The point for people: `temperature (unit 1, input register 3)`.
    pub fn describe(&self) -> String {
        format!(
            "{} (unit {}, {} {})",
            self.name, self.unit_id, self.memory, self.address
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(coding: Coding) -> Point {
        Point {
            name: "p".into(),
            unit_id: 1,
            memory: Memory::Holding,
            address: 0,
            coding,
            order: Order::Abcd,
            scale: Number(1.0),
            offset: Number(0.0),
            unit: None,
            writable: true,
            min: None,
            max: None,
            verify: true,
            safe: None,
        }
    }

    fn scaled(coding: Coding, scale: f64, offset: f64) -> Point {
        Point {
            scale: Number(scale),
            offset: Number(offset),
            ..point(coding)
        }
    }

    fn words(words: &[u16]) -> Raw {
        Raw::Words(words.to_vec())
    }

    #[test]
    fn bits_are_on_or_off() {
        let point = point(Coding::Bit);
        for (text, bit) in [
            ("on", true),
            ("true", true),
            ("1", true),
            ("off", false),
            ("0", false),
        ] {
            assert_eq!(point.encode(text).unwrap(), Raw::Bit(bit));
        }
        for text in ["", "2", "ON!", "yes"] {
            assert!(point.encode(text).unwrap_err().contains("neither on nor off"));
        }
        assert_eq!(point.decode(&Raw::Bit(true)), "on");
    }

    #[test]
    fn each_type_reaches_its_limits_and_one_step_beyond_is_refused() {
        for (coding, least, most) in [
            (Coding::U16, 0_i64, 65_535_i64),
            (Coding::I16, -32_768, 32_767),
            (Coding::U32, 0, 4_294_967_295),
            (Coding::I32, -2_147_483_648, 2_147_483_647),
        ] {
            let point = point(coding);
            for limit in [least, most] {
                let raw = point.encode(&limit.to_string()).unwrap();
                assert_eq!(point.decode(&raw), limit.to_string(), "{coding:?}");
            }
            for beyond in [least - 1, most + 1] {
                let error = point.encode(&beyond.to_string()).unwrap_err();
                assert!(error.contains(&format!("from {least} to {most}")), "{error}");
            }
        }
        let single = point(Coding::F32);
        assert!(single.encode("1e39").unwrap_err().contains("does not fit"));
        for text in ["", "x", "inf", "NaN", "1,5"] {
            assert!(
                single.encode(text).unwrap_err().contains("is not a number"),
                "{text}"
            );
        }
    }

    #[test]
    fn words_come_in_the_order_of_the_configuration() {
        let value = 0x1234_5678_u32;
        for (order, expected) in [
            (Order::Abcd, [0x1234, 0x5678]),
            (Order::Cdab, [0x5678, 0x1234]),
            (Order::Badc, [0x3412, 0x7856]),
            (Order::Dcba, [0x7856, 0x3412]),
        ] {
            let point = Point {
                order,
                ..point(Coding::U32)
            };
            assert_eq!(point.encode(&value.to_string()).unwrap(), words(&expected));
            assert_eq!(point.decode(&words(&expected)), value.to_string());
        }
        assert_eq!(point(Coding::F32).encode("21.5").unwrap(), words(&[0x41ac, 0]));
        assert_eq!(point(Coding::F32).decode(&words(&[0x41ac, 0])), "21.5");
        assert_eq!(point(Coding::F32).decode(&words(&[0x7fc0, 0])), "NaN");
        assert_eq!(point(Coding::I16).encode("-1").unwrap(), words(&[0xffff]));
    }

    #[test]
    fn scaled_values_have_the_decimals_of_their_scale() {
        let tenth = scaled(Coding::I16, 0.1, 0.0);
        assert_eq!(tenth.decode(&words(&[215])), "21.5");
        assert_eq!(tenth.decode(&words(&[3])), "0.3");
        assert_eq!(tenth.decode(&words(&[0xffff])), "-0.1");
        assert_eq!(tenth.encode("21.5").unwrap(), words(&[215]));
        assert_eq!(tenth.encode("21.54").unwrap(), words(&[215]), "the nearest step");
        let offset = scaled(Coding::U16, 0.5, -40.0);
        assert_eq!(offset.decode(&words(&[80])), "0.0");
        assert_eq!(offset.encode("-40").unwrap(), words(&[0]));
        assert!(offset.encode("-40.5").unwrap_err().contains("from -40.0 to"));
        assert_eq!(scaled(Coding::U16, 10.0, 0.0).decode(&words(&[12])), "120");
        assert_eq!(
            scaled(Coding::F32, 0.1, 0.0).decode(&words(&[0x4049, 0x0fdb])),
            "0.31415927"
        );
    }

    #[test]
    fn bounds_hold_at_the_limit_and_one_step_beyond() {
        let bounded = Point {
            min: Number::new(5.0),
            max: Number::new(60.0),
            unit: Some("°C".into()),
            ..scaled(Coding::I16, 0.1, 0.0)
        };
        assert!(bounded.encode("5").is_ok() && bounded.encode("60").is_ok());
        assert_eq!(
            bounded.encode("60.1").unwrap_err(),
            "60.1 is too high, at most 60°C (max of this point)"
        );
        assert!(bounded.encode("4.9").unwrap_err().contains("at least 5°C"));
        // 7 is allowed, but the nearest step of 4 is 8.
        let coarse = Point {
            max: Number::new(7.0),
            ..scaled(Coding::U16, 4.0, 0.0)
        };
        assert!(coarse.encode("7").is_err());
        assert!(coarse.encode("5").is_ok());
        let single = Point {
            max: Number::new(0.1),
            ..point(Coding::F32)
        };
        assert!(
            single.encode("0.1").is_ok(),
            "although 0.1 is more than 0.1 there"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bits in any::<u32>(), scale in prop::sample::select(vec![1.0, 0.1, 0.01, 2.0, -0.5]),
            coding in prop::sample::select(vec![Coding::U16, Coding::I16, Coding::U32, Coding::I32]),
            order in prop::sample::select(vec![Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba])) {
            let point = Point { order, ..scaled(coding, scale, 0.0) };
            let raw = Raw::Words(point.words(bits));
            prop_assert_eq!(point.encode(&point.decode(&raw)).unwrap(), raw);
        }

        #[test]
        fn single_precision_survives_as_text(bits in any::<u32>()) {
            let point = point(Coding::F32);
            let raw = Raw::Words(point.words(bits));
            if f32::from_bits(bits).is_finite() {
                prop_assert_eq!(point.encode(&point.decode(&raw)).unwrap(), raw);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            for coding in [Coding::Bit, Coding::U16, Coding::I32, Coding::F32] {
                let _ = point(coding).encode(&text);
            }
        }
    }
}
