//! Where an autopilot is: `port` and `baud` of the configuration.

use std::fmt;
use std::path::PathBuf;

/// Bits per second of a serial port unless the configuration says otherwise: ArduPilot's and PX4's own for a companion
/// computer differ (921600 and 57600 are usual, too).
pub const DEFAULT_BAUD: u32 = 115_200;

/// A machine and a port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name or an IP address, without brackets.
    pub name: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(formatter, "[{}]:{}", self.name, self.port)
        } else {
            write!(formatter, "{}:{}", self.name, self.port)
        }
    }
}

/// Where an autopilot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A serial port of this machine.
    Serial {
        /// The device file.
        path: PathBuf,
        /// Bits per second.
        baud: u32,
    },
    /// `tcp:HOST:PORT`: a simulator or a router, which is connected to.
    Tcp(Host),
    /// `udp:HOST:PORT`: datagrams are waited for at this address of ours, and answered to who sends them.
    UdpListen(Host),
    /// `udpout:HOST:PORT`: datagrams are sent there and heard from there.
    UdpSend(Host),
}

impl fmt::Display for Address {
    /// As it is written in `port`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Serial { path, .. } => path.display().fmt(formatter),
            Address::Tcp(host) => write!(formatter, "tcp:{host}"),
            Address::UdpListen(host) => write!(formatter, "udp:{host}"),
            Address::UdpSend(host) => write!(formatter, "udpout:{host}"),
        }
    }
}

/// Why an address can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither a path nor one of the schemes.
    #[error(
        "port = {written:?} is no address: write a device file (\"/dev/serial/by-id/NAME\"), \"tcp:HOST:PORT\", \
         \"udp:0.0.0.0:14550\" (waits for datagrams there) or \"udpout:HOST:PORT\" (sends there)"
    )]
    Unknown {
        /// What was written.
        written: String,
    },
    /// A scheme without what belongs behind it.
    #[error("port = {written:?}: {problem}; write {example:?}")]
    Host {
        /// What was written.
        written: String,
        /// What is wrong with it.
        problem: &'static str,
        /// How it is written.
        example: &'static str,
    },
    /// `baud` where it means nothing.
    #[error("baud is given, but {written:?} is no serial port: take baud away")]
    NoBaud {
        /// The address.
        written: String,
    },
    /// Out of range.
    #[error("baud = {baud} must be from 1200 to 4000000")]
    Baud {
        /// What was written.
        baud: u32,
    },
}

impl Address {
    /// Reads `port` and `baud`.
    ///
    /// # Errors
    /// [`AddressError`], with how to write it.
    pub fn parse(port: &str, baud: Option<u32>) -> Result<Self, AddressError> {
        if port.starts_with('/') {
            let baud = baud.unwrap_or(DEFAULT_BAUD);
            return if (1200..=4_000_000).contains(&baud) {
                Ok(Address::Serial {
                    path: port.into(),
                    baud,
                })
            } else {
                Err(AddressError::Baud { baud })
            };
        }
        let written = || port.to_owned();
        let (scheme, rest) = port
            .split_once(':')
            .ok_or_else(|| AddressError::Unknown { written: written() })?;
        let (make, example): (fn(Host) -> Address, _) = match scheme {
            "tcp" => (Address::Tcp, "tcp:127.0.0.1:5760"),
            "udp" => (Address::UdpListen, "udp:0.0.0.0:14550"),
            "udpout" => (Address::UdpSend, "udpout:192.168.4.1:14550"),
            _ => return Err(AddressError::Unknown { written: written() }),
        };
        let host = host(rest).map_err(|problem| AddressError::Host {
            written: written(),
            problem,
            example,
        })?;
        match baud {
            None => Ok(make(host)),
            Some(_) => Err(AddressError::NoBaud { written: written() }),
        }
    }

    /// Whether it is a serial port.
    pub fn is_serial(&self) -> bool {
        matches!(self, Address::Serial { .. })
    }
}

fn host(text: &str) -> Result<Host, &'static str> {
    let (name, port) = text
        .rsplit_once(':')
        .ok_or("a host and a port number belong behind it")?;
    let port = match port.parse() {
        Ok(0) | Err(_) => return Err("the port is a number from 1 to 65535"),
        Ok(port) => port,
    };
    let name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(name) => name,
        None if name.contains(':') => return Err("an IPv6 address stands in brackets"),
        None => name,
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '[' | ']' | '@');
    if name.is_empty() || name.contains(odd) {
        return Err("the host is a name or an IP address");
    }
    Ok(Host {
        name: name.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_as_they_are_written() {
        for (text, baud) in [
            ("/dev/serial/by-id/usb-ArduPilot_Pixhawk-if00", Some(57_600)),
            ("tcp:127.0.0.1:5760", None),
            ("tcp:[::1]:5760", None),
            ("udp:0.0.0.0:14550", None),
            ("udpout:drone.local:14550", None),
        ] {
            let address = Address::parse(text, baud).unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_serial(), baud.is_some());
        }
        let Ok(Address::Serial { baud, .. }) = Address::parse("/dev/ttyAMA0", None) else {
            panic!("no serial port");
        };
        assert_eq!(baud, DEFAULT_BAUD);
    }

    #[test]
    fn what_is_none_is_refused_with_an_example() {
        let error = |text, baud| Address::parse(text, baud).unwrap_err().to_string();
        for text in [
            "",
            "ttyUSB0",
            "COM3",
            "serial:/dev/ttyUSB0",
            "http://host:80",
            "UDP:a:1",
        ] {
            assert!(error(text, None).contains("tcp:HOST:PORT"), "{text}");
        }
        for text in [
            "tcp:",
            "tcp:host",
            "tcp:host:",
            "tcp:host:0",
            "tcp:host:70000",
            "tcp::5760",
            "tcp:::1:5760",
            "tcp:a b:1",
            "tcp://host:1",
        ] {
            assert!(error(text, None).contains("tcp:127.0.0.1:5760"), "{text}");
        }
        assert!(error("tcp:host:5760", Some(9600)).contains("take baud away"));
        assert!(error("/dev/ttyUSB0", Some(0)).contains("from 1200"));
    }
}
