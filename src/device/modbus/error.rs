//! What goes wrong between us and a Modbus device that the port itself is not to blame for.

use std::time::Duration;

use tokio_modbus::ExceptionCode;

use crate::device::duration::format_duration;

/// Why a request had no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModbusError {
    /// Nothing that could be an answer came.
    #[error("no answer within {}{}", format_duration(*waited), hint(*received))]
    NoAnswer {
        /// How long it was given.
        waited: Duration,
        /// How many bytes came that were no answer.
        received: u64,
    },
    /// The device refused.
    #[error("refused: {}", exception(*code))]
    Exception {
        /// The code in its answer.
        code: u8,
    },
    /// An answer came that fits no request, or another one.
    #[error(
        "the answer does not fit the request ({problem}): two devices with one unit_id, or a second master?"
    )]
    WrongAnswer {
        /// In what it does not fit.
        problem: String,
    },
    /// Written, and something else reads back.
    #[error(
        "reads back {read} after writing {written}: the device did not take it (verify = false if that is its way)"
    )]
    NotTaken {
        /// What was written.
        written: String,
        /// What was read.
        read: String,
    },
}

fn hint(received: u64) -> String {
    match received {
        0 => ": is it on, are unit_id, baud and parity right, are the wires A and B the right way round?"
            .to_owned(),
        count => {
            format!("; {count} bytes came that were none: are baud and parity right, is the line terminated?")
        }
    }
}

/// The names of the application protocol specification, section 7, with what to do.
fn exception(code: u8) -> String {
    match ExceptionCode::new(code) {
        ExceptionCode::IllegalFunction => {
            "illegal function (1): the device has no such memory, or can't write it".to_owned()
        }
        ExceptionCode::IllegalDataAddress => {
            "illegal data address (2): addresses count from 0 here, what manuals call 40011 is holding register 10"
                .to_owned()
        }
        ExceptionCode::IllegalDataValue => {
            "illegal data value (3): the device does not take this value now, or not in this type".to_owned()
        }
        ExceptionCode::ServerDeviceFailure => "server device failure (4): look at the device itself".to_owned(),
        ExceptionCode::Acknowledge => {
            "acknowledge (5): it has begun and will take long; whether it was done is not known".to_owned()
        }
        ExceptionCode::ServerDeviceBusy => "server device busy (6): try again later".to_owned(),
        ExceptionCode::MemoryParityError => "memory parity error (8): look at the device itself".to_owned(),
        ExceptionCode::GatewayPathUnavailable => {
            "gateway path unavailable (10): look at the gateway's configuration".to_owned()
        }
        ExceptionCode::GatewayTargetDevice => {
            "gateway target device failed to respond (11): is the device behind the gateway on?".to_owned()
        }
        ExceptionCode::Custom(code) => format!("exception {code}, which only its manufacturer knows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_named_with_a_remedy() {
        for (code, said) in [
            (1, "illegal function"),
            (2, "count from 0"),
            (6, "try again later"),
            (11, "behind the gateway"),
            (99, "exception 99"),
        ] {
            let text = ModbusError::Exception { code }.to_string();
            assert!(text.starts_with("refused: ") && text.contains(said), "{text}");
        }
    }
}
