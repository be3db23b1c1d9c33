//! A Raspberry Pi's own lines through the rppal crate, which writes the registers directly.
//!
//! The crate was retired by its author and knows the models up to the Pi 500. It goes around the kernel: a line
//! that the kernel or another program holds is not noticed. So [`super::BackendChoice::Auto`] prefers `cdev`.
//!
//! Edges of inputs it has from the kernel all the same, debounced there; the crate waits for them in a thread of its own,
//! one per input, which sleeps until there is one.

use std::path::Path;

use async_trait::async_trait;
use rppal::gpio::{self, Error, Gpio, InputPin, OutputPin, Pin, Trigger};
use rppal::system::{DeviceInfo, SoC};
use tokio::sync::mpsc;

use super::cdev::monotonic;
use super::error::permission;
use super::line::{LineAddress, LineSpec, Physical};
use super::watched::{Bias, LineEvent, WatchedLine, Watching};
use super::{GpioBackend, GpioError, InputLine, Level, OutputLine};

/// The lines of the 40-pin header, BCM 0 to 27; the others carry the SD card, Wi-Fi and the like.
const HEADER_LINES: u8 = 28;

/// Lines of a Raspberry Pi's header.
#[derive(Debug)]
pub struct RppalBackend {
    gpio: Gpio,
    /// What the kernel calls the chip of the header on this model.
    label: &'static str,
}

impl RppalBackend {
    /// Recognises the Raspberry Pi and maps its registers.
    ///
    /// # Errors
    /// [`GpioError::NotAPi`], [`GpioError::Permission`], or what the kernel said.
    pub fn open() -> Result<Self, GpioError> {
        let info = DeviceInfo::new().map_err(|_| GpioError::NotAPi)?;
        let label = header_label(info.soc());
        let gpio = Gpio::new().map_err(|error| convert(error, "the GPIO registers", "map them"))?;
        Ok(RppalBackend { gpio, label })
    }
}

/// The label of the chip that the 40-pin header is on.
fn header_label(soc: SoC) -> &'static str {
    match soc {
        SoC::Bcm2711 => "pinctrl-bcm2711",
        SoC::Bcm2712 => "pinctrl-rp1",
        _ => "pinctrl-bcm2835",
    }
}

/// The BCM number of a line; `label` is the chip of this model's header.
fn bcm_number(spec: &LineSpec, label: &str) -> Result<u8, GpioError> {
    let refuse = |hint: String| GpioError::NotOnHeader {
        line: spec.to_string(),
        hint,
    };
    let number = match &spec.address {
        LineAddress::Named(name) => {
            // `GPIO017` and `GPIO+17` are not names of lines.
            let digits = name
                .strip_prefix("GPIO")
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| {
                digits
                    .parse::<u32>()
                    .ok()
                    .filter(|number| number.to_string() == digits)
            })
        }
        LineAddress::OnChip {
            label: wanted,
            offset,
        } if wanted == label => Some(*offset),
        LineAddress::OnChip { .. } => {
            return Err(refuse(format!("write line = \"GPIO17\" or chip = {label:?}")));
        }
    };
    let number = number
        .and_then(|number| u8::try_from(number).ok())
        .filter(|number| *number < HEADER_LINES);
    number.ok_or_else(|| refuse("write line = \"GPIO0\" to \"GPIO27\" (BCM numbers)".to_owned()))
}

/// What an error of rppal means.
fn convert(error: Error, line: &str, action: &'static str) -> GpioError {
    let line = line.to_owned();
    match error {
        Error::UnknownModel => GpioError::NotAPi,
        Error::PinUsed(_) => GpioError::Busy {
            line,
            holder_name: "another device of this agent".to_owned(),
        },
        Error::PinNotAvailable(_) => GpioError::NotOnHeader {
            line,
            hint: "take a line of the header".to_owned(),
        },
        Error::PermissionDenied(path) => permission(Path::new(&path)),
        Error::Io(cause) => GpioError::Io { line, action, cause },
        Error::ThreadPanic => GpioError::Io {
            line,
            action,
            cause: std::io::Error::other("rppal's thread panicked"),
        },
    }
}

impl RppalBackend {
    fn pin(&self, spec: &LineSpec) -> Result<Pin, GpioError> {
        let number = bcm_number(spec, self.label)?;
        self.gpio
            .get(number)
            .map_err(|error| convert(error, &spec.to_string(), "take it"))
    }
}

impl GpioBackend for RppalBackend {
    fn name(&self) -> &'static str {
        "rppal"
    }

    fn request_output(
        &self,
        spec: &LineSpec,
        initial: Level,
        _consumer: &str,
    ) -> Result<Box<dyn OutputLine>, GpioError> {
        let pin = self.pin(spec)?;
        // Both write the level before the line becomes an output, so nothing glitches.
        let mut pin = match initial.physical(spec.active_low) {
            Physical::Low => pin.into_output_low(),
            Physical::High => pin.into_output_high(),
        };
        // rppal would turn the line into an input when it is dropped; whether it floats then is not ours to decide.
        pin.set_reset_on_drop(false);
        Ok(Box::new(RppalLine {
            pin,
            active_low: spec.active_low,
        }))
    }

    fn request_input(&self, spec: &LineSpec, _consumer: &str) -> Result<Box<dyn InputLine>, GpioError> {
        let pin = self.pin(spec)?;
        Ok(Box::new(RppalInput {
            pin: pin.into_input(),
            active_low: spec.active_low,
        }))
    }

    fn watch_input(
        &self,
        spec: &LineSpec,
        watching: Watching,
        _consumer: &str,
    ) -> Result<Box<dyn WatchedLine>, GpioError> {
        let pin = self.pin(spec)?;
        let mut pin = match watching.bias {
            Bias::AsIs | Bias::None => pin.into_input(),
            Bias::PullUp => pin.into_input_pullup(),
            Bias::PullDown => pin.into_input_pulldown(),
        };
        let debounce = Some(watching.debounce).filter(|debounce| !debounce.is_zero());
        let (sender, events) = mpsc::unbounded_channel();
        let active_low = spec.active_low;
        let tell = move |event: gpio::Event| {
            let seen = (level_after(event.trigger, active_low), event.timestamp);
            // Nobody listens any more: the line is about to be released.
            let _ = sender.send(seen);
        };
        // The thread could not say why it does not get the line; this says it, and gives the line back.
        let listening = pin
            .set_interrupt(Trigger::Both, debounce)
            .and_then(|()| pin.set_async_interrupt(Trigger::Both, debounce, tell));
        listening.map_err(|error| convert(error, &spec.to_string(), "wait for its edges"))?;
        Ok(Box::new(WatchedRppalInput {
            input: RppalInput { pin, active_low },
            events,
            debounced: debounce.is_some(),
        }))
    }
}

/// The level that an edge leads to. The registers know nothing of active-low, and so doesn't the kernel here.
fn level_after(trigger: Trigger, active_low: bool) -> Level {
    match trigger {
        Trigger::RisingEdge => Physical::High.logical(active_low),
        _ => Physical::Low.logical(active_low),
    }
}

struct RppalInput {
    pin: InputPin,
    active_low: bool,
}

impl InputLine for RppalInput {
    fn get(&mut self) -> Result<Level, GpioError> {
        let physical = if self.pin.is_high() {
            Physical::High
        } else {
            Physical::Low
        };
        Ok(physical.logical(self.active_low))
    }

    fn describe(&self) -> String {
        format!("GPIO{} (rppal)", self.pin.pin())
    }
}

struct WatchedRppalInput {
    input: RppalInput,
    /// Level, and when by the kernel's monotonic clock.
    events: mpsc::UnboundedReceiver<(Level, std::time::Duration)>,
    debounced: bool,
}

impl InputLine for WatchedRppalInput {
    fn get(&mut self) -> Result<Level, GpioError> {
        self.input.get()
    }

    fn describe(&self) -> String {
        self.input.describe()
    }
}

#[async_trait]
impl WatchedLine for WatchedRppalInput {
    async fn next(&mut self) -> Result<LineEvent, GpioError> {
        match self.events.recv().await {
            Some((level, at)) => Ok(LineEvent {
                level,
                age: monotonic().saturating_sub(at),
            }),
            // The thread has ended.
            None => Err(GpioError::Io {
                line: self.input.describe(),
                action: "wait for its edges",
                cause: std::io::Error::other("rppal's thread has ended"),
            }),
        }
    }

    fn is_debounced(&self) -> bool {
        self.debounced
    }
}

struct RppalLine {
    pin: OutputPin,
    active_low: bool,
}

impl OutputLine for RppalLine {
    fn set(&mut self, level: Level) -> Result<(), GpioError> {
        match level.physical(self.active_low) {
            Physical::Low => self.pin.set_low(),
            Physical::High => self.pin.set_high(),
        }
        Ok(())
    }

    fn get(&mut self) -> Result<Level, GpioError> {
        // The level register shows the pin itself, not what was written to it.
        let physical = if self.pin.is_set_high() {
            Physical::High
        } else {
            Physical::Low
        };
        Ok(physical.logical(self.active_low))
    }

    fn describe(&self) -> String {
        format!("GPIO{} (rppal)", self.pin.pin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_chip(label: &str, offset: u32) -> LineSpec {
        LineSpec {
            address: LineAddress::OnChip {
                label: label.into(),
                offset,
            },
            active_low: false,
        }
    }

    #[test]
    fn bcm_numbers_come_from_names_or_from_the_header_chip() {
        let label = "pinctrl-bcm2711";
        assert_eq!(bcm_number(&LineSpec::named("GPIO17"), label).unwrap(), 17);
        assert_eq!(bcm_number(&LineSpec::named("GPIO0"), label).unwrap(), 0);
        assert_eq!(bcm_number(&LineSpec::named("GPIO27"), label).unwrap(), 27);
        assert_eq!(bcm_number(&on_chip(label, 4), label).unwrap(), 4);
    }

    #[test]
    fn other_lines_are_refused_with_what_to_write() {
        for name in [
            "GPIO28",
            "GPIO017",
            "GPIO",
            "GPIO-1",
            "GPIO+7",
            "gpio17",
            "LED",
            "GPIO99999999999",
        ] {
            let error = bcm_number(&LineSpec::named(name), "pinctrl-rp1")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(name) && error.contains("\"GPIO0\" to \"GPIO27\""),
                "{error}"
            );
        }
        assert!(bcm_number(&on_chip("pinctrl-rp1", 28), "pinctrl-rp1").is_err());
        let other = bcm_number(&on_chip("mcp23017", 3), "pinctrl-rp1")
            .unwrap_err()
            .to_string();
        assert!(
            other.contains("mcp23017/3 is none") && other.contains("chip = \"pinctrl-rp1\""),
            "{other}"
        );
        assert!(other.contains("backend = \"cdev\""), "{other}");
    }

    #[test]
    fn edges_of_the_registers_are_voltages() {
        assert_eq!(level_after(Trigger::RisingEdge, false), Level::On);
        assert_eq!(level_after(Trigger::RisingEdge, true), Level::Off);
        assert_eq!(level_after(Trigger::FallingEdge, true), Level::On);
    }

    #[test]
    fn each_model_has_its_chip() {
        assert_eq!(header_label(SoC::Bcm2835), "pinctrl-bcm2835");
        assert_eq!(header_label(SoC::Bcm2837B0), "pinctrl-bcm2835");
        assert_eq!(header_label(SoC::Bcm2711), "pinctrl-bcm2711");
        assert_eq!(header_label(SoC::Bcm2712), "pinctrl-rp1");
    }

    #[test]
    fn errors_of_rppal_become_remedies() {
        assert!(matches!(
            convert(Error::UnknownModel, "x", "take it"),
            GpioError::NotAPi
        ));
        let denied = convert(Error::PermissionDenied("/nowhere/gpiomem".into()), "x", "take it").to_string();
        assert!(
            denied.contains("/nowhere/gpiomem") && denied.contains("usermod -aG gpio"),
            "{denied}"
        );
        let used = convert(Error::PinUsed(17), "GPIO17", "take it").to_string();
        assert!(
            used.contains("GPIO17 is in use by \"another device of this agent\""),
            "{used}"
        );
        assert!(matches!(
            convert(Error::PinNotAvailable(60), "x", "take it"),
            GpioError::NotOnHeader { .. }
        ));
        let io = convert(
            Error::Io(std::io::Error::from_raw_os_error(5)),
            "GPIO17",
            "take it",
        )
        .to_string();
        assert!(io.starts_with("GPIO17: cannot take it: "), "{io}");
    }
}
