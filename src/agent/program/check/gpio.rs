//! GPIO: chips, lines, who holds them, and what becomes of outputs that are let go.

use std::path::{Path, PathBuf};

use super::access::{FileFacts, Rule, User, judge_access};
use super::finding::Finding;
use crate::agent::heartbeat;
use crate::console::table::table;
use crate::device::gpio::{BackendChoice, ChipFacts, GpioError, LineFacts, LineSpec, locate, survey};

/// What the agent calls itself to the kernel begins so (`outpost:DEVICE`).
const CONSUMER: &str = "outpost:";

/// The header's pins of BCM 0 to 27, on every Raspberry Pi with 40 pins.
const HEADER_PINS: [u8; 28] = [
    27, 28, 3, 5, 7, 29, 31, 26, 24, 21, 19, 23, 32, 33, 8, 10, 36, 11, 12, 35, 38, 40, 15, 16, 18, 22, 37,
    13,
];

/// A line that the configuration names.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The table or key that names it: `devices.lamp`.
    about: String,
    /// What it is for, as the table of lines shows it.
    shown: String,
    /// How the agent calls itself to the kernel when it holds it.
    consumer: String,
    spec: LineSpec,
    /// Whether it is driven.
    is_output: bool,
}

impl Wanted {
    /// A line of a device.
    pub fn of_device(device: &str, spec: &LineSpec, is_output: bool) -> Self {
        Wanted {
            about: format!("devices.{device}"),
            shown: device.to_owned(),
            consumer: format!("{CONSUMER}{device}"),
            spec: spec.clone(),
            is_output,
        }
    }

    /// The heartbeat line.
    pub fn heartbeat(spec: &LineSpec) -> Self {
        Wanted {
            about: "safety.heartbeat_line".to_owned(),
            shown: "(heartbeat)".to_owned(),
            consumer: heartbeat::CONSUMER.to_owned(),
            spec: spec.clone(),
            is_output: true,
        }
    }
}

/// What the kernel does with an output that is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRelease {
    /// It goes on driving.
    Stays,
    /// The line becomes an input.
    BecomesInput,
    /// It does not say.
    Unknown,
}

/// GPIO as it was found.
#[derive(Debug)]
pub struct GpioFacts {
    /// Which backend is configured.
    pub backend: BackendChoice,
    /// The configured lines.
    pub wanted: Vec<Wanted>,
    /// The chips, as far as they may be looked at.
    pub chips: Result<Vec<ChipFacts>, GpioError>,
    /// The device files of all chips.
    pub files: Vec<FileFacts>,
    /// The registers of a Raspberry Pi, for `rppal`.
    pub registers: Option<FileFacts>,
    /// What becomes of outputs, by the chip's label.
    pub on_release: Vec<(String, OnRelease)>,
    /// An agent holds the state directory.
    pub service_runs: bool,
}

impl GpioFacts {
    /// Looks; requests no line.
    pub fn gather(backend: BackendChoice, wanted: Vec<Wanted>, service_runs: bool) -> Self {
        let chips = survey();
        let labels = chips.iter().flatten().map(|chip| chip.label.clone());
        GpioFacts {
            backend,
            wanted,
            on_release: labels
                .map(|label| {
                    let outcome = on_release(&label, |path| std::fs::read_to_string(path).ok());
                    (label, outcome)
                })
                .collect(),
            chips,
            files: chip_files()
                .iter()
                .filter_map(|path| FileFacts::of(path))
                .collect(),
            registers: FileFacts::of(Path::new("/dev/gpiomem")),
            service_runs,
        }
    }
}

fn chip_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("gpiochip"))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// The parameter of a driver that tells it: Raspberry Pi kernels since 6.6 have one (raspberrypi/linux#6150).
fn parameter(label: &str) -> Option<&'static str> {
    match label {
        "pinctrl-bcm2835" | "pinctrl-bcm2711" => {
            Some("/sys/module/pinctrl_bcm2835/parameters/persist_gpio_outputs")
        }
        "pinctrl-rp1" => Some("/sys/module/pinctrl_rp1/parameters/persist_gpio_outputs"),
        _ => None,
    }
}

fn on_release(label: &str, read: impl Fn(&Path) -> Option<String>) -> OnRelease {
    match parameter(label)
        .and_then(|path| read(Path::new(path)))
        .as_deref()
        .map(str::trim)
    {
        Some("Y" | "1") => OnRelease::Stays,
        Some("N" | "0") => OnRelease::BecomesInput,
        _ => OnRelease::Unknown,
    }
}

/// What the facts mean.
pub fn judge(facts: &GpioFacts, user: &User) -> Vec<Finding> {
    if facts.backend == BackendChoice::Simulated {
        return vec![Finding::note("gpio", "simulated: no hardware is driven")];
    }
    let mut findings: Vec<Finding> = Vec::new();
    if facts.backend == BackendChoice::Rppal {
        findings.push(registers(facts, user));
    } else {
        let refused = facts.files.iter();
        findings.extend(refused.filter_map(|file| judge_access("gpio", user, file, Rule::Gpio)));
    }
    match &facts.chips {
        Ok(chips) => {
            findings.extend(facts.wanted.iter().map(|wanted| line(wanted, chips, facts)));
            findings.extend(releases(chips, facts));
        }
        Err(error) if facts.backend == BackendChoice::Rppal => {
            findings.push(Finding::note(
                "gpio",
                format!("who holds the lines can't be told: {error}"),
            ));
        }
        Err(error) => {
            let usable = facts.registers.as_ref().is_some_and(|file| file.accessible);
            findings.push(if facts.backend == BackendChoice::Auto && usable {
                Finding::warning("gpio", format!("the agent falls back to rppal, since {error}"))
            } else {
                Finding::error("gpio", error.to_string())
            });
        }
    }
    findings
}

fn registers(facts: &GpioFacts, user: &User) -> Finding {
    match &facts.registers {
        None => Finding::error(
            "gpio",
            "there is no /dev/gpiomem: rppal works on a Raspberry Pi alone",
        )
        .remedy("set [gpio] backend = \"cdev\""),
        Some(file) => judge_access("gpio", user, file, Rule::Gpio)
            .unwrap_or_else(|| Finding::ok("gpio", "/dev/gpiomem can be used")),
    }
}

/// About one configured line.
fn line(wanted: &Wanted, chips: &[ChipFacts], facts: &GpioFacts) -> Finding {
    let Wanted { about, spec, .. } = wanted;
    let (chip, line) = match locate(spec, chips) {
        Ok(found) => found,
        Err(error) => return Finding::error(about, error.to_string()),
    };
    let place = format!("{spec} is line {} of {}", line.offset, chip.label);
    if !line.used {
        return Finding::ok(about, format!("{place}, free"));
    }
    let ours = line.consumer == wanted.consumer;
    if ours && facts.service_runs {
        return Finding::ok(about, format!("{place}, held by the agent that is at work"));
    }
    let error = GpioError::Busy {
        line: spec.to_string(),
        holder_name: line.consumer.clone(),
    };
    Finding::error(about, error.to_string())
}

/// What becomes of the configured outputs if the agent is killed.
fn releases(chips: &[ChipFacts], facts: &GpioFacts) -> Vec<Finding> {
    let used = |label: &str| {
        facts
            .wanted
            .iter()
            .filter(|wanted| wanted.is_output)
            .filter_map(|wanted| locate(&wanted.spec, chips).ok())
            .any(|(chip, _)| chip.label == label)
    };
    facts
        .on_release
        .iter()
        .filter(|(label, _)| used(label))
        .map(|(label, outcome)| match outcome {
            OnRelease::Stays => Finding::note(
                "outputs",
                format!(
                    "the kernel goes on driving lines of {label} that were let go (persist_gpio_outputs is Y): after a crash \
                     outputs stay as they were"
                ),
            )
            .remedy(
                "to have them become inputs, put dtparam=strict_gpiod into /boot/firmware/config.txt and boot; either way wire \
                 a pull resistor towards the safe level",
            ),
            OnRelease::BecomesInput => Finding::note(
                "outputs",
                format!(
                    "lines of {label} become inputs when they are let go (persist_gpio_outputs is N): after a crash the pull \
                     resistors decide"
                ),
            )
            .remedy("wire a pull resistor towards the safe level"),
            OnRelease::Unknown => Finding::note(
                "outputs",
                format!("what becomes of lines of {label} that are let go can't be told: its driver has no setting for it"),
            )
            .remedy("wire a pull resistor towards the safe level, and try what a killed agent leaves behind"),
        })
        .collect()
}

/// The lines that there are, but for those that have no name and that nobody uses.
pub fn lines(facts: &GpioFacts) -> Option<String> {
    let chips = facts.chips.as_ref().ok()?;
    let device_of = |chip: &ChipFacts, line: &LineFacts| {
        facts
            .wanted
            .iter()
            .find(|wanted| locate(&wanted.spec, chips).is_ok_and(|found| found == (chip, line)))
            .map_or_else(String::new, |wanted| wanted.shown.clone())
    };
    let rows: Vec<[String; 6]> = chips
        .iter()
        .flat_map(|chip| chip.lines.iter().map(move |line| (chip, line)))
        .filter(|(_, line)| line.used || !matches!(line.name.as_str(), "" | "-"))
        .map(|(chip, line)| {
            let bcm = bcm(chip, line);
            let text = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
            [
                line.name.clone(),
                format!("{}/{}", chip.label, line.offset),
                text(bcm),
                text(bcm.map(|bcm| u32::from(HEADER_PINS[bcm as usize]))),
                match (line.used, line.consumer.as_str()) {
                    (false, _) => String::new(),
                    (true, "") => "somebody".to_owned(),
                    (true, name) => name.to_owned(),
                },
                device_of(chip, line),
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| table(["LINE", "CHIP/OFFSET", "BCM", "PIN", "HELD BY", "DEVICE"], &rows))
}

/// The number by which Raspberry Pi's own documents call a line of the header.
fn bcm(chip: &ChipFacts, line: &LineFacts) -> Option<u32> {
    let header = matches!(
        chip.label.as_str(),
        "pinctrl-bcm2835" | "pinctrl-bcm2711" | "pinctrl-rp1"
    );
    (header && (line.offset as usize) < HEADER_PINS.len()).then_some(line.offset)
}

#[cfg(test)]
#[path = "gpio_tests.rs"]
mod tests;
