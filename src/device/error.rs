//! What goes wrong with devices and verbs. Every text says what, where and what to do.

use std::time::Duration;

use super::command::CommandError;
use super::drone::DroneError;
use super::duration::format_duration;
use super::gpio::{GpioError, Level};
use super::input::InputError;
use super::modbus::ModbusError;
use super::output::OutputError;
use super::pwm::PwmError;
use super::serial::SerialError;

/// Why a verb did not end well. `to_string()` is the whole text for the process's error message.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// The arguments were wrong; nothing was done.
    #[error("{problem}; usage: {usage}")]
    Usage {
        /// What was wrong with which argument.
        problem: String,
        /// How to write it: `lamp.pulse <duration>`.
        usage: String,
    },
    /// The device has no such verb; nothing was done.
    #[error("{device} has no verb {verb:?}; it has: {}", known.join(", "))]
    UnknownVerb {
        /// The device.
        device: String,
        /// What was asked for.
        verb: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The verb was stopped before it was done.
    #[error("cancelled: {reason}")]
    Cancelled {
        /// Who stopped it and why, as given to [`super::Cancellation::cancel`].
        reason: String,
    },
    /// The effective end of the lease was reached before the verb was done (docs/fence.md, section 2).
    #[error("the lease ended before the verb was done; give the process a longer maxexectime")]
    LeaseOver,
    /// It did not come to begin while it was known that it still may; nothing was done.
    #[error("it could not begin in time")]
    TooLateToBegin,
    /// The verb took longer than it ever may, whatever the lease says.
    #[error("not done within {}, the longest this verb may take", format_duration(*max_time))]
    Overran {
        /// [`super::Verb::max_time`] of the verb.
        max_time: Duration,
    },
    /// The device acted or tried to, and it went wrong.
    #[error(transparent)]
    Failed(#[from] DeviceError),
    /// The device's owner task has ended: the agent is stopping, or a reload took the device away.
    #[error("{device} is closed: the agent is stopping, or its configuration was just changed")]
    Gone {
        /// The device.
        device: String,
    },
    /// The device is doing something else and the call may not wait (longer); nothing was done.
    #[error("busy with {running}: {device} does one thing at a time; submit again later")]
    Busy {
        /// The device.
        device: String,
        /// What it is busy with: the process, or the verb where no process is known.
        running: String,
    },
    /// The device's own rules forbid what was asked, or ended it. It is where those rules put it: no verb is half done.
    #[error("{device}: {reason}")]
    Overruled {
        /// The device.
        device: String,
        /// Which rule, and what to do.
        reason: String,
    },
    /// The device could not be made safe earlier, or has latched a fault of its own; nothing was done.
    #[error("{device} is faulted and takes no commands until it could be made safe: {fault}")]
    Faulted {
        /// The device.
        device: String,
        /// What went wrong.
        fault: String,
    },
    /// The verb ended badly, and then the device could not be made safe either.
    #[error("{cause}; {}", not_safe(cause, fault))]
    NotSafe {
        /// How the verb ended.
        cause: Box<VerbError>,
        /// Why the device is not safe.
        fault: String,
    },
}

/// A port that is gone is the reason for both, and told once.
fn not_safe(cause: &VerbError, fault: &str) -> String {
    if cause.to_string() == fault {
        "for that it could not be made safe either".to_owned()
    } else {
        format!("and then it could not be made safe: {fault}")
    }
}

impl VerbError {
    /// What the verb has to tell although it ended badly: pairs that become OUT attributes of the process, like
    /// those of an [`super::Outcome`]. A program that failed has its output here.
    pub fn attributes(&self) -> &[(String, String)] {
        match self {
            VerbError::Failed(DeviceError::Command(error)) => error.attributes(),
            VerbError::Failed(DeviceError::Drone { cause, .. }) => cause.attributes(),
            VerbError::NotSafe { cause, .. } => cause.attributes(),
            _ => &[],
        }
    }

    /// Whether the device is as it should be although the verb ended badly: nothing is to be made safe for it.
    pub(super) fn leaves_it_settled(&self) -> bool {
        matches!(
            self,
            VerbError::Usage { .. } | VerbError::Overruled { .. } | VerbError::TooLateToBegin
        )
    }
}

/// Why a device could not be opened, could not act or could not be made safe.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The GPIO line or chip refused.
    #[error("{device}: cannot {action}: {cause}")]
    Gpio {
        /// The device.
        device: String,
        /// What was being done: `open its line`, `switch on`.
        action: String,
        /// What the backend said.
        cause: GpioError,
    },
    /// The PWM channel or chip refused.
    #[error("{device}: cannot {action}: {cause}")]
    Pwm {
        /// The device.
        device: String,
        /// What was being done.
        action: String,
        /// What the backend said.
        cause: PwmError,
    },
    /// The line does not have the level that was just set.
    #[error(
        "{device}: {line} reads back {read} after setting {set}: check the wiring for a short, \
         and that nothing else drives the line"
    )]
    ReadBack {
        /// The device.
        device: String,
        /// The line, as the backend describes it.
        line: String,
        /// What was set.
        set: Level,
        /// What was read.
        read: Level,
    },
    /// An output that is not what it is to be, although its line is.
    #[error("{device}: {cause}")]
    Output {
        /// The device.
        device: String,
        /// What went wrong, with the remedy.
        cause: OutputError,
    },
    /// An input that did not tell what was asked.
    #[error("{device}: {cause}")]
    Input {
        /// The device.
        device: String,
        /// What went wrong, with the remedy.
        cause: InputError,
    },
    /// The serial port, or what is behind it.
    #[error("{device}: {cause}")]
    Serial {
        /// The device.
        device: String,
        /// What went wrong, with the remedy.
        cause: SerialError,
    },
    /// A device on a Modbus line.
    #[error("{device}: {point}: {cause}")]
    Modbus {
        /// The device of the configuration.
        device: String,
        /// What was read or written, and where.
        point: String,
        /// What went wrong, with the remedy.
        cause: ModbusError,
    },
    /// A drone.
    #[error("{device}: {cause}")]
    Drone {
        /// The device.
        device: String,
        /// What went wrong, with the remedy.
        cause: Box<DroneError>,
    },
    /// Making safe took longer than [`super::Device::time_to_safe`] and its allowance.
    #[error("{device}: was not safe after {}: it does not answer", format_duration(*waited))]
    SafeTimedOut {
        /// The device.
        device: String,
        /// How long it was given.
        waited: Duration,
    },
    /// A program was not started, ended badly or could not be stopped.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The device's owner task has ended.
    #[error("{device}: closed: the agent is stopping")]
    Gone {
        /// The device.
        device: String,
    },
    /// The name cannot be part of a function's name.
    #[error(
        "{name:?} cannot be a device's name: use 1 to 64 letters, digits, `_` and `-`, \
         since `NAME.verb` is what processes call"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// The device sits on a GPIO line and no GPIO backend was opened.
    #[error("{device}: a {kind} needs a GPIO backend; set backend = \"auto\" under [gpio]")]
    NoGpio {
        /// The device.
        device: String,
        /// Its kind.
        kind: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_for_both_is_told_once() {
        let gone = || DeviceError::Gone {
            device: "meter".to_owned(),
        };
        let told = |fault: &str| {
            let cause = Box::new(VerbError::Failed(gone()));
            let fault = fault.to_owned();
            VerbError::NotSafe { cause, fault }.to_string()
        };
        let reason = gone().to_string();
        assert_eq!(
            told(&reason),
            format!("{reason}; for that it could not be made safe either")
        );
        assert_eq!(
            told("other"),
            format!("{reason}; and then it could not be made safe: other")
        );
    }
}
