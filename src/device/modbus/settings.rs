//! The settings of a Modbus device.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

use super::point::{Coding, Memory, Number, Order, Point};
use crate::device::duration::{Span, format_duration};
use crate::device::serial::{
    FlowControl, Parity, PortBackend, PortKeys, PortSettings, Rs485, SerialSettingsError,
};

/// What a device may take to answer unless the configuration says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);
/// The most points that a device may have.
const MOST_POINTS: usize = 1_000;

/// The settings of `kind = "modbus"`: named values of one or several devices on one RTU line.
///
/// ```toml
/// [devices.boiler]
/// kind = "modbus"
/// port = "/dev/serial/by-id/usb-FTDI_RS485-if00-port0"
/// unit_id = 1
///
/// [[devices.boiler.points]]
/// name = "pump"
/// memory = "coil"
/// address = 0
/// writable = true
/// safe = false
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ModbusTable")]
pub struct ModbusSettings {
    /// The port, all its keys; by default 19200 baud and even parity, as the specification has it.
    pub port: PortSettings,
    /// `timeout`: how long an answer may take (default 500ms).
    pub timeout: Duration,
    /// `pause`: the silence before each request (default: that of 3.5 characters, as the specification has it).
    pub pause: Duration,
    /// `points`: in the order in which they are read, and made safe.
    pub points: Vec<Point>,
}

/// Why the settings of a Modbus device can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModbusSettingsError {
    /// The port.
    #[error(transparent)]
    Port(#[from] SerialSettingsError),
    /// A value of the whole device.
    #[error("{key} = {value} must be {range}")]
    Range {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// No points.
    #[error("there are no points: write [[devices.NAME.points]] with name, memory and address for each")]
    NoPoints,
    /// A point.
    #[error("points: number {number} ({name:?}) {problem}")]
    Point {
        /// Which, from 1: where a configuration is explained no values are told, and names are some.
        number: usize,
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MemoryName {
    Coil,
    Discrete,
    Input,
    Holding,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CodingName {
    U16,
    I16,
    U32,
    I32,
    F32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OrderName {
    Abcd,
    Cdab,
    Badc,
    Dcba,
}

/// A value as a text, a number, or true and false.
struct ValueText(String);

impl<'de> Deserialize<'de> for ValueText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = ValueText;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a number, or true or false")
            }
            fn visit_bool<E>(self, value: bool) -> Result<ValueText, E> {
                Ok(ValueText(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<ValueText, E> {
                Ok(ValueText(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<ValueText, E> {
                Ok(ValueText(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<ValueText, E> {
                Ok(ValueText(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<ValueText, E> {
                Ok(ValueText(value.to_owned()))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// For `#[serde(deserialize_with = "…")]`: a finite number.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Number>, D::Error> {
    let value = f64::deserialize(deserializer)?;
    Number::new(value)
        .map(Some)
        .ok_or_else(|| D::Error::custom("must be a finite number"))
}

/// The keys of a point as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PointTable {
    name: String,
    unit_id: Option<u8>,
    memory: MemoryName,
    address: u16,
    #[serde(rename = "type")]
    coding: Option<CodingName>,
    order: Option<OrderName>,
    #[serde(default, deserialize_with = "number")]
    scale: Option<Number>,
    #[serde(default, deserialize_with = "number")]
    offset: Option<Number>,
    unit: Option<String>,
    #[serde(default)]
    writable: bool,
    #[serde(default, deserialize_with = "number")]
    min: Option<Number>,
    #[serde(default, deserialize_with = "number")]
    max: Option<Number>,
    verify: Option<bool>,
    safe: Option<ValueText>,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModbusTable {
    port: Option<PathBuf>,
    #[serde(default)]
    backend: PortBackend,
    baud: Option<u32>,
    data_bits: Option<u8>,
    parity: Option<Parity>,
    stop_bits: Option<u8>,
    #[serde(default)]
    flow_control: FlowControl,
    #[serde(default)]
    rs485: Rs485,
    settle: Option<Span>,
    unit_id: Option<u8>,
    timeout: Option<Span>,
    pause: Option<Span>,
    #[serde(default)]
    points: Vec<PointTable>,
}

impl TryFrom<ModbusTable> for ModbusSettings {
    type Error = ModbusSettingsError;
    fn try_from(table: ModbusTable) -> Result<Self, ModbusSettingsError> {
        let port = PortKeys {
            port: table.port,
            backend: table.backend,
            baud: table.baud.unwrap_or(19_200),
            data_bits: table.data_bits,
            parity: table.parity.unwrap_or(Parity::Even),
            stop_bits: table.stop_bits,
            flow_control: table.flow_control,
            rs485: table.rs485,
            settle: table.settle,
        }
        .check()?;
        if port.data_bits != 8 {
            return Err(range("data_bits", port.data_bits, "8: Modbus RTU sends bytes"));
        }
        let timeout = table.timeout.map_or(DEFAULT_TIMEOUT, |span| span.0);
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&timeout) {
            return Err(range("timeout", format_duration(timeout), "from 1ms to 1m"));
        }
        // Serial line specification 2.5.1.1: 3.5 characters, 1.75 ms at least; timers here have milliseconds.
        let silence = port.time_for(4).max(Duration::from_millis(2));
        let pause = table.pause.map_or(silence, |span| span.0);
        if pause > Duration::from_secs(1) {
            return Err(range("pause", format_duration(pause), "at most 1s"));
        }
        if table.points.is_empty() {
            return Err(ModbusSettingsError::NoPoints);
        }
        if table.points.len() > MOST_POINTS {
            return Err(range("points", table.points.len(), "at most 1000"));
        }
        let mut points: Vec<Point> = Vec::with_capacity(table.points.len());
        for (number, written) in (1..).zip(table.points) {
            let name = written.name.clone();
            let wrong = |problem| ModbusSettingsError::Point {
                number,
                name,
                problem,
            };
            let point = point(written, table.unit_id).and_then(|point| {
                let twin = points.iter().position(|known| known.name == point.name);
                twin.map_or(Ok(point), |twin| {
                    Err(format!("has the name of number {}", twin + 1))
                })
            });
            let point = point.map_err(wrong)?;
            points.push(point);
        }
        Ok(ModbusSettings {
            port,
            timeout,
            pause,
            points,
        })
    }
}

fn range(key: &'static str, value: impl ToString, range: &'static str) -> ModbusSettingsError {
    ModbusSettingsError::Range {
        key,
        value: value.to_string(),
        range,
    }
}

fn point(table: PointTable, unit_id: Option<u8>) -> Result<Point, String> {
    let callable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !(1..=64).contains(&table.name.len()) || !table.name.chars().all(callable) {
        return Err("is no name: use 1 to 64 letters, digits, `_`, `-` and `.`".to_owned());
    }
    let unit_id = table.unit_id.or(unit_id).unwrap_or(1);
    // 0 is for all at once, and nobody answers it; above 247 is reserved.
    if !(1..=247).contains(&unit_id) {
        return Err(format!("has unit_id = {unit_id}, which must be from 1 to 247"));
    }
    let memory = match table.memory {
        MemoryName::Coil => Memory::Coil,
        MemoryName::Discrete => Memory::Discrete,
        MemoryName::Input => Memory::Input,
        MemoryName::Holding => Memory::Holding,
    };
    let coding = match table.coding {
        _ if memory.is_bits() => Coding::Bit,
        None | Some(CodingName::U16) => Coding::U16,
        Some(CodingName::I16) => Coding::I16,
        Some(CodingName::U32) => Coding::U32,
        Some(CodingName::I32) => Coding::I32,
        Some(CodingName::F32) => Coding::F32,
    };
    let a = if memory == Memory::Input { "an" } else { "a" };
    if memory.is_bits() {
        let needless = [
            ("type", table.coding.is_some()),
            ("order", table.order.is_some()),
            ("scale", table.scale.is_some()),
            ("offset", table.offset.is_some()),
            ("min", table.min.is_some()),
            ("max", table.max.is_some()),
        ];
        if let Some((key, _)) = needless.iter().find(|(_, there)| *there) {
            return Err(format!("is {a} {memory}, which has no {key}"));
        }
    }
    if table.writable && !memory.is_writable() {
        return Err(format!("is {a} {memory}, which can't be written"));
    }
    if table.address.checked_add(coding.addresses() - 1).is_none() {
        return Err("reaches beyond address 65535".to_owned());
    }
    if table.scale.is_some_and(|scale| scale.get() == 0.0) {
        return Err("has scale = 0".to_owned());
    }
    if let (Some(min), Some(max)) = (table.min, table.max)
        && min.get() > max.get()
    {
        return Err(format!("has min = {} above max = {}", min.get(), max.get()));
    }
    let order = match table.order {
        None | Some(OrderName::Abcd) => Order::Abcd,
        Some(OrderName::Cdab) => Order::Cdab,
        Some(OrderName::Badc) => Order::Badc,
        Some(OrderName::Dcba) => Order::Dcba,
    };
    let number = |given: Option<Number>, default| given.or_else(|| Number::new(default));
    let (Some(scale), Some(offset)) = (number(table.scale, 1.0), number(table.offset, 0.0)) else {
        // The defaults are finite.
        return Err("has no scale".to_owned());
    };
    let mut point = Point {
        name: table.name,
        unit_id,
        memory,
        address: table.address,
        coding,
        order,
        scale,
        offset,
        unit: table.unit,
        writable: table.writable,
        min: table.min,
        max: table.max,
        verify: table.verify.unwrap_or(true),
        safe: None,
    };
    if let Some(ValueText(safe)) = table.safe {
        if !memory.is_writable() {
            return Err(format!(
                "is {a} {memory}, which can't be written: it can't have safe"
            ));
        }
        let raw = point
            .encode(&safe)
            .map_err(|problem| format!("has a safe value that can't be written: {problem}"))?;
        point.safe = Some(raw);
    }
    Ok(point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::modbus::point::Raw;

    fn read(toml: &str) -> Result<ModbusSettings, String> {
        let source = config::File::from_str(toml, config::FileFormat::Toml);
        let config = config::Config::builder().add_source(source).build();
        config
            .and_then(|config| config.try_deserialize::<ModbusSettings>())
            .map_err(|error| error.to_string())
    }

    const PORT: &str = "port = \"/dev/serial/by-id/usb-RS485\"\n";

    fn with_point(keys: &str) -> Result<ModbusSettings, String> {
        read(&format!("{PORT}[[points]]\nname = \"p\"\n{keys}"))
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let settings = with_point("memory = \"holding\"\naddress = 7").unwrap();
        assert_eq!(settings.port.baud, 19_200);
        assert_eq!(settings.port.parity, Parity::Even);
        assert_eq!(
            settings.pause,
            Duration::from_millis(3),
            "3.5 characters of 11 bits, rounded up"
        );
        let point = &settings.points[0];
        assert_eq!((point.unit_id, point.coding), (1, Coding::U16));
        assert!(!point.writable && point.verify && point.safe.is_none());
    }

    #[test]
    fn points_keep_their_order_and_every_key_is_read() {
        let settings = read(&format!(
            "{PORT}baud = 9600\nparity = \"none\"\nstop_bits = 2\nunit_id = 17\ntimeout = \"1s\"\npause = \"20ms\"\n\
             [[points]]\nname = \"valve\"\nmemory = \"coil\"\naddress = 1\nwritable = true\nsafe = false\nverify = false\n\
             [[points]]\nname = \"a.setpoint\"\nmemory = \"holding\"\naddress = 10\ntype = \"f32\"\norder = \"cdab\"\n\
             unit = \"°C\"\nwritable = true\nmin = 5\nmax = 60.5\nsafe = 20\n\
             [[points]]\nname = \"other\"\nunit_id = 18\nmemory = \"input\"\naddress = 3\ntype = \"i16\"\nscale = 0.1\noffset = -40"
        ))
        .unwrap();
        let names: Vec<_> = settings.points.iter().map(|point| point.name.as_str()).collect();
        assert_eq!(names, ["valve", "a.setpoint", "other"]);
        assert_eq!(settings.points[0].safe, Some(Raw::Bit(false)));
        assert_eq!(settings.points[1].safe, Some(Raw::Words(vec![0, 0x41a0])));
        assert_eq!(settings.points[1].unit_id, 17);
        assert_eq!(settings.points[2].unit_id, 18);
        assert_eq!(settings.pause, Duration::from_millis(20));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_point() {
        for (keys, said) in [
            ("memory = \"coil\"\naddress = 65536", "65536"),
            ("memory = \"coils\"\naddress = 1", "coils"),
            (
                "memory = \"coil\"\naddress = 1\ntype = \"u16\"",
                "points: number 1 (\"p\") is a coil, which has no type",
            ),
            ("memory = \"coil\"\naddress = 1\nscale = 2", "has no scale"),
            (
                "memory = \"discrete\"\naddress = 1\nwritable = true",
                "can't be written",
            ),
            (
                "memory = \"input\"\naddress = 1\nsafe = 1",
                "is an input register, which can't be written: it can't have safe",
            ),
            (
                "memory = \"holding\"\naddress = 65535\ntype = \"u32\"",
                "beyond address 65535",
            ),
            ("memory = \"holding\"\naddress = 1\nscale = 0", "scale = 0"),
            ("memory = \"holding\"\naddress = 1\nscale = inf", "finite"),
            (
                "memory = \"holding\"\naddress = 1\nmin = 2\nmax = 1",
                "min = 2 above max = 1",
            ),
            (
                "memory = \"holding\"\naddress = 1\nmax = 10\nsafe = 11",
                "safe value that can't be written: 11 is too high",
            ),
            ("memory = \"coil\"\naddress = 1\nunit_id = 0", "from 1 to 247"),
            ("memory = \"coil\"\naddress = 1\nunit_id = 248", "from 1 to 247"),
            (
                "memory = \"coil\"\naddress = 1\nadress = 1",
                "unknown field `adress`",
            ),
            ("address = 1", "memory"),
            (
                "memory = \"coil\"\naddress = 1\n[[points]]\nname = \"p\"\nmemory = \"coil\"\naddress = 2",
                "points: number 2 (\"p\") has the name of number 1",
            ),
            (
                "memory = \"coil\"\naddress = 1\n[[points]]\nname = \"a b\"\nmemory = \"coil\"\naddress = 2",
                "points: number 2 (\"a b\") is no name",
            ),
        ] {
            let error = with_point(keys).expect_err(keys);
            assert!(error.contains(said), "{keys:?}: {error}");
        }
        for (keys, said) in [
            ("", "no points"),
            ("unit = 1", "unknown field `unit`"),
            ("data_bits = 7", "data_bits = 7 must be 8"),
            ("timeout = \"61s\"", "timeout"),
            ("pause = \"2s\"", "pause"),
            ("baud = 1", "baud"),
        ] {
            let error = read(&format!("{PORT}{keys}")).expect_err(keys);
            assert!(error.contains(said), "{keys:?}: {error}");
        }
        assert!(with_point("memory = \"holding\"\naddress = 65534\ntype = \"u32\"").is_ok());
        assert!(with_point("memory = \"coil\"\naddress = 65535\nunit_id = 247").is_ok());
    }
}
