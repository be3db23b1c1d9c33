//! What goes wrong with PWM channels, with the remedy.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Percent;
use crate::device::gpio::GpioError;

/// Why a channel could not be had or driven.
#[derive(Debug, thiserror::Error)]
pub enum PwmError {
    /// There is no chip at all.
    #[error(
        "no PWM chip found in {}: on a Raspberry Pi put dtoverlay=pwm,pin=18,func=2 (GPIO18; or dtoverlay=pwm-2chan) into \
         /boot/firmware/config.txt and boot; elsewhere the board's device tree must have one. To try without hardware set \
         [gpio] backend = \"simulated\"",
        root.display()
    )]
    NoChips {
        /// Where chips are looked for.
        root: PathBuf,
    },
    /// No chip has that name, or several have.
    #[error("{} PWM chip has the device {chip:?}; there are: {}", if *several { "more than one" } else { "no" }, there.join(", "))]
    UnknownChip {
        /// The name.
        chip: String,
        /// Several have it.
        several: bool,
        /// Those that there are.
        there: Vec<String>,
    },
    /// No chip is named, and there are several.
    #[error(
        "there are several PWM chips: write which in pwm, chip = \"NAME\", one of {}",
        there.join(", ")
    )]
    WhichChip {
        /// Those that there are.
        there: Vec<String>,
    },
    /// The chip has fewer channels.
    #[error("PWM chip {chip} has no channel {channel}: its channels are 0 to {}", channels.saturating_sub(1))]
    NoSuchChannel {
        /// The chip.
        chip: String,
        /// The channel.
        channel: u32,
        /// How many it has.
        channels: u32,
    },
    /// A driver of the kernel has the channel.
    #[error(
        "{channel} is in use by the kernel itself (a fan, a backlight, the audio jack): take another channel, or take that \
         driver out of the device tree"
    )]
    InKernel {
        /// The channel.
        channel: String,
    },
    /// Another program of ours has the channel, or two devices of the configuration name it.
    #[error(
        "{channel} is in use by another outpost-agent, or by another device of this one: one channel, one device"
    )]
    Busy {
        /// The channel.
        channel: String,
    },
    /// The files may not be written.
    #[error(
        "no permission to write {}: install systemd/70-outpost-gpio.rules, which gives PWM chips to the group gpio (`sudo \
         udevadm control --reload && sudo udevadm trigger -s pwm`), and `sudo usermod -aG gpio USER`; or in the service's \
         unit SupplementaryGroups=gpio",
        path.display()
    )]
    Permission {
        /// What may not be written.
        path: PathBuf,
    },
    /// They are read-only here.
    #[error(
        "{} is read-only here: the service's sandbox closes /sys. Install systemd/outpost-agent.service.d/pwm.conf in \
         /etc/systemd/system/outpost-agent.service.d/, then `systemctl daemon-reload` and a restart; in a container mount \
         /sys so that it can be written",
        path.display()
    )]
    ReadOnly {
        /// What is read-only.
        path: PathBuf,
    },
    /// The chip can't do that.
    #[error("{channel}: the kernel refuses {file} = {value}: {}", refused_remedy(file))]
    Refused {
        /// The channel.
        channel: String,
        /// The file.
        file: &'static str,
        /// What was written.
        value: String,
    },
    /// The chip went away.
    #[error("{channel}: its chip is gone (its driver was unloaded): restart the agent when it is back")]
    Vanished {
        /// The channel.
        channel: String,
    },
    /// Somebody else has changed how the channel runs.
    #[error(
        "{channel}: something else drives it, {what}: stop that, then make the device safe or restart the agent"
    )]
    Disturbed {
        /// The channel.
        channel: String,
        /// What was found.
        what: String,
    },
    /// The channel does not have what was just set.
    #[error("{channel} reads back {read} % after setting {set} %: something else drives it")]
    ReadBack {
        /// The channel.
        channel: String,
        /// What was set.
        set: Percent,
        /// What was read.
        read: Percent,
    },
    /// Anything else that the kernel said.
    #[error("{channel}: cannot {action}: {cause}")]
    Io {
        /// The channel, or the file.
        channel: String,
        /// What was being done.
        action: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The simulated line under a simulated channel.
    #[error(transparent)]
    Simulated(#[from] GpioError),
}

fn refused_remedy(file: &str) -> &'static str {
    match file {
        "period" => "the chip can't switch at that frequency: write another in pwm, frequency = N",
        "polarity" => {
            "the chip can't turn its output around: set active_low = false and wire the lamp so that high is on"
        }
        _ => "something else changes how it runs",
    }
}

/// What an error of the kernel means for a file of a channel (Documentation/ABI/testing/sysfs-class-pwm).
pub(super) fn written(
    error: io::Error,
    channel: &str,
    path: &Path,
    file: &'static str,
    value: &str,
) -> PwmError {
    let channel = channel.to_owned();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS | Errno::PERM) => PwmError::Permission {
            path: path.to_owned(),
        },
        Some(Errno::ROFS) => PwmError::ReadOnly {
            path: path.to_owned(),
        },
        Some(Errno::BUSY) if file == "export" => PwmError::InKernel { channel },
        Some(Errno::INVAL | Errno::RANGE | Errno::NOTSUP | Errno::NOSYS) => PwmError::Refused {
            channel,
            file,
            value: value.to_owned(),
        },
        Some(Errno::NODEV | Errno::NXIO | Errno::NOENT) => PwmError::Vanished { channel },
        _ => PwmError::Io {
            channel,
            action: format!("set {file} to {value}"),
            cause: error,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(errno: Errno, file: &'static str) -> String {
        let error = io::Error::from_raw_os_error(errno.raw_os_error());
        written(error, "pwm/0", Path::new("/sys/x"), file, "7").to_string()
    }

    #[test]
    fn error_numbers_become_remedies() {
        for (errno, file, part) in [
            (Errno::ACCESS, "export", "70-outpost-gpio.rules"),
            (Errno::PERM, "duty_cycle", "SupplementaryGroups=gpio"),
            (Errno::ROFS, "export", "outpost-agent.service.d/pwm.conf"),
            (Errno::BUSY, "export", "pwm/0 is in use by the kernel itself"),
            (
                Errno::INVAL,
                "period",
                "refuses period = 7: the chip can't switch at that frequency",
            ),
            (Errno::INVAL, "polarity", "active_low = false"),
            (Errno::NOTSUP, "polarity", "active_low = false"),
            (Errno::INVAL, "duty_cycle", "something else"),
            (Errno::NODEV, "duty_cycle", "its chip is gone"),
            (Errno::IO, "enable", "pwm/0: cannot set enable to 7: "),
            (Errno::BUSY, "enable", "pwm/0: cannot set enable to 7: "),
        ] {
            let text = mapped(errno, file);
            assert!(text.contains(part), "{errno:?} {file}: {text}");
        }
    }
}
