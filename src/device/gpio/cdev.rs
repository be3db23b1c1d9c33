//! The kernel's GPIO character device (`/dev/gpiochip*`, uAPI v2, Linux 5.10), through gpiocdev.

mod watched;

use std::path::{Path, PathBuf};

use gpiocdev::Request;
use gpiocdev::chip::{Chip, chips};
use gpiocdev::line::{self, EdgeDetection, Offset, Value};

use super::error::{from_errno, most_similar, permission};
use super::line::{LineAddress, LineSpec};
use super::watched::{Bias, WatchedLine, Watching};
use super::{GpioBackend, GpioError, InputLine, Level, OutputLine};
use watched::WatchedCdevLine;
pub(super) use watched::monotonic;

/// The longest consumer name that the kernel keeps (GPIO_MAX_NAME_SIZE without its final zero).
const CONSUMER_MAX: usize = 31;

/// One chip as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChipFacts {
    /// Its device file; the number in it means nothing.
    pub path: PathBuf,
    /// Its label, which stays: `pinctrl-bcm2711`.
    pub label: String,
    /// Its lines by offset.
    pub lines: Vec<LineFacts>,
}

/// One line as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFacts {
    /// Its number on the chip.
    pub offset: u32,
    /// Its name; empty where the board gives none.
    pub name: String,
    /// Whether somebody holds it.
    pub used: bool,
    /// Who holds it, as far as the kernel knows.
    pub consumer: String,
}

/// Every chip of this machine with its lines.
///
/// # Errors
/// [`GpioError::NoChips`]; or, if none of the chips there are may be opened, why the first may not.
pub fn survey() -> Result<Vec<ChipFacts>, GpioError> {
    Ok(look_around()?.0)
}

/// The chips that may be looked at (one at least), and why the first of the others may not.
fn look_around() -> Result<(Vec<ChipFacts>, Option<GpioError>), GpioError> {
    let paths = chips().map_err(|error| match errno_of(&error) {
        Some(errno) => not_opened(Path::new("/dev"), errno),
        None => GpioError::NoChips,
    })?;
    let mut facts = Vec::new();
    let mut refused = None;
    for path in paths {
        match look_at(&path) {
            Ok(chip) => facts.push(chip),
            Err(error) => {
                let errno = errno_of(&error).unwrap_or(0);
                tracing::debug!(chip = %path.display(), %error, "a GPIO chip cannot be looked at");
                refused.get_or_insert_with(|| not_opened(&path, errno));
            }
        }
    }
    match (facts.is_empty(), refused) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(GpioError::NoChips),
        (false, refused) => Ok((facts, refused)),
    }
}

fn look_at(path: &Path) -> Result<ChipFacts, gpiocdev::Error> {
    let chip = Chip::from_path(path)?;
    let info = chip.info()?;
    let lines = (0..info.num_lines).map(|offset| {
        let line = chip.line_info(offset)?;
        Ok(LineFacts {
            offset,
            name: line.name,
            used: line.used,
            consumer: line.consumer,
        })
    });
    Ok(ChipFacts {
        path: path.to_owned(),
        label: info.label,
        lines: lines.collect::<Result<_, gpiocdev::Error>>()?,
    })
}

fn not_opened(path: &Path, errno: i32) -> GpioError {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(errno) {
        Errno::ACCESS | Errno::PERM => permission(path),
        // The second version of the line information is as old as that of the requests.
        Errno::INVAL | Errno::NOTTY => GpioError::Refused {
            line: path.display().to_string(),
        },
        _ => GpioError::Io {
            line: path.display().to_string(),
            action: "look at it",
            cause: std::io::Error::from_raw_os_error(errno),
        },
    }
}

/// The error number inside an error of gpiocdev. The type that carries it for ioctls belongs to gpiocdev-uapi,
/// which gpiocdev does not export; its text, made by `std::io::Error`, always ends in `(os error N)`.
fn errno_of(error: &gpiocdev::Error) -> Option<i32> {
    match error {
        gpiocdev::Error::Os(errno) => Some(errno.0),
        gpiocdev::Error::Uapi(_, cause) => errno_in(&cause.to_string()),
        _ => None,
    }
}

fn errno_in(text: &str) -> Option<i32> {
    let (_, rest) = text.rsplit_once("(os error ")?;
    rest.strip_suffix(')')?.parse().ok()
}

/// Finds the one line that is meant among the chips there are.
///
/// # Errors
/// There is none of that name or at that place, or more than one; with what there is.
pub fn locate<'a>(
    spec: &LineSpec,
    chips: &'a [ChipFacts],
) -> Result<(&'a ChipFacts, &'a LineFacts), GpioError> {
    match &spec.address {
        LineAddress::Named(name) => {
            let lines = || {
                chips
                    .iter()
                    .flat_map(|chip| chip.lines.iter().map(move |line| (chip, line)))
            };
            let found: Vec<_> = lines().filter(|(_, line)| line.name == *name).collect();
            match found.as_slice() {
                [] => Err(GpioError::UnknownLine {
                    name: name.clone(),
                    similar: most_similar(name, lines().map(|(_, line)| line.name.as_str())),
                }),
                [one] => Ok(*one),
                several => Err(GpioError::AmbiguousLine {
                    name: name.clone(),
                    chips: several
                        .iter()
                        .map(|(chip, line)| format!("{}/{}", chip.label, line.offset))
                        .collect(),
                }),
            }
        }
        LineAddress::OnChip { label, offset } => {
            let found: Vec<_> = chips.iter().filter(|chip| chip.label == *label).collect();
            let chip = match found.as_slice() {
                [] => {
                    let labels = chips.iter().map(|chip| chip.label.clone()).collect();
                    return Err(GpioError::UnknownChip {
                        label: label.clone(),
                        labels,
                    });
                }
                [one] => *one,
                several => {
                    let paths = several
                        .iter()
                        .map(|chip| chip.path.display().to_string())
                        .collect();
                    return Err(GpioError::AmbiguousChip {
                        label: label.clone(),
                        paths,
                    });
                }
            };
            let line = chip.lines.iter().find(|line| line.offset == *offset);
            line.map(|line| (chip, line))
                .ok_or_else(|| GpioError::NoSuchOffset {
                    label: label.clone(),
                    offset: *offset,
                    lines: u32::try_from(chip.lines.len()).unwrap_or(u32::MAX),
                })
        }
    }
}

/// What is missing may be on the chip that could not be looked at: then that is the thing to mend.
fn rather(missing: GpioError, refused: Option<GpioError>) -> GpioError {
    match missing {
        GpioError::UnknownLine { .. } | GpioError::UnknownChip { .. } => refused.unwrap_or(missing),
        other => other,
    }
}

/// Lines of the kernel's GPIO character device.
#[derive(Debug)]
pub struct CdevBackend(());

impl CdevBackend {
    /// Checks that there is at least one chip that may be used.
    ///
    /// # Errors
    /// As [`survey`].
    pub fn open() -> Result<Self, GpioError> {
        survey()?;
        Ok(CdevBackend(()))
    }
}

impl GpioBackend for CdevBackend {
    fn name(&self) -> &'static str {
        "cdev"
    }

    fn request_output(
        &self,
        spec: &LineSpec,
        initial: Level,
        consumer: &str,
    ) -> Result<Box<dyn OutputLine>, GpioError> {
        let line = request(spec, Use::Output(initial), consumer)?;
        Ok(Box::new(line))
    }

    fn request_input(&self, spec: &LineSpec, consumer: &str) -> Result<Box<dyn InputLine>, GpioError> {
        Ok(Box::new(request(spec, Use::Input, consumer)?))
    }

    fn watch_input(
        &self,
        spec: &LineSpec,
        watching: Watching,
        consumer: &str,
    ) -> Result<Box<dyn WatchedLine>, GpioError> {
        let line = request(spec, Use::Watched(watching), consumer)?;
        Ok(Box::new(WatchedCdevLine::new(line, watching)?))
    }
}

/// What a line is taken for.
enum Use {
    Output(Level),
    Input,
    Watched(Watching),
}

fn request(spec: &LineSpec, what: Use, consumer: &str) -> Result<CdevLine, GpioError> {
    // Looked up afresh: chips come and go with expanders, holders with their programs.
    let (chips, refused) = look_around()?;
    let (chip, line) = locate(spec, &chips).map_err(|error| rather(error, refused))?;
    let mut builder = Request::builder();
    builder.on_chip(&chip.path).with_consumer(consumer_name(consumer));
    builder.with_line(line.offset);
    let action = match what {
        Use::Output(initial) => {
            builder.as_output(value(initial));
            "request it as an output"
        }
        Use::Input => {
            builder.as_input();
            "request it as an input"
        }
        Use::Watched(Watching { bias, debounce }) => {
            builder.as_input().with_edge_detection(EdgeDetection::BothEdges);
            if let Some(bias) = kernel_bias(bias) {
                builder.with_bias(bias);
            }
            if !debounce.is_zero() {
                // Where the chip can't, the kernel does it with a timer: it is never refused for that.
                builder.with_debounce_period(debounce);
            }
            "request it as an input with edges"
        }
    };
    if spec.active_low {
        builder.as_active_low();
    }
    let request = builder
        .request()
        .map_err(|error| convert(&error, spec, &chip.path, action, || holder(&chip.path, line)))?;
    Ok(CdevLine {
        request,
        offset: line.offset,
        spec: spec.clone(),
        chip: chip.path.clone(),
        description: describe(chip, line),
    })
}

/// Who holds the line now; it may have been taken since the survey.
fn holder(path: &Path, line: &LineFacts) -> String {
    Chip::from_path(path)
        .and_then(|chip| chip.line_info(line.offset))
        .map_or_else(|_| line.consumer.clone(), |info| info.consumer)
}

/// `GPIO17 (pinctrl-bcm2711/17)`, or the address alone where the line has no name.
fn describe(chip: &ChipFacts, line: &LineFacts) -> String {
    match line.name.as_str() {
        "" | "-" => format!("{}/{}", chip.label, line.offset),
        name => format!("{name} ({}/{})", chip.label, line.offset),
    }
}

/// Cuts a name to what the kernel keeps, between characters.
fn consumer_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(CONSUMER_MAX)]
}

/// `None`: what it is.
fn kernel_bias(bias: Bias) -> Option<line::Bias> {
    match bias {
        Bias::AsIs => None,
        Bias::PullUp => Some(line::Bias::PullUp),
        Bias::PullDown => Some(line::Bias::PullDown),
        Bias::None => Some(line::Bias::Disabled),
    }
}

fn value(level: Level) -> Value {
    match level {
        Level::Off => Value::Inactive,
        Level::On => Value::Active,
    }
}

fn convert(
    error: &gpiocdev::Error,
    spec: &LineSpec,
    path: &Path,
    action: &'static str,
    holder: impl FnOnce() -> String,
) -> GpioError {
    match errno_of(error) {
        Some(errno) => from_errno(errno, spec, path, action, holder),
        None => GpioError::Io {
            line: spec.to_string(),
            action,
            cause: std::io::Error::other(error.to_string()),
        },
    }
}

/// A line that the kernel has given us; active-low is the kernel's work.
struct CdevLine {
    request: Request,
    offset: Offset,
    spec: LineSpec,
    chip: PathBuf,
    description: String,
}

impl CdevLine {
    fn failed(&self, error: &gpiocdev::Error, action: &'static str) -> GpioError {
        convert(error, &self.spec, &self.chip, action, String::new)
    }

    fn read(&self, action: &'static str) -> Result<Level, GpioError> {
        match self.request.value(self.offset) {
            Ok(Value::Inactive) => Ok(Level::Off),
            Ok(Value::Active) => Ok(Level::On),
            Err(error) => Err(self.failed(&error, action)),
        }
    }
}

impl OutputLine for CdevLine {
    fn set(&mut self, level: Level) -> Result<(), GpioError> {
        self.request
            .set_value(self.offset, value(level))
            .map_err(|error| self.failed(&error, "set its level"))
    }

    fn get(&mut self) -> Result<Level, GpioError> {
        self.read("read its level back")
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

impl InputLine for CdevLine {
    fn get(&mut self) -> Result<Level, GpioError> {
        self.read("read it")
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip(path: &str, label: &str, names: &[&str]) -> ChipFacts {
        let lines = names.iter().zip(0..).map(|(name, offset)| LineFacts {
            offset,
            name: (*name).to_owned(),
            used: false,
            consumer: String::new(),
        });
        ChipFacts {
            path: path.into(),
            label: label.into(),
            lines: lines.collect(),
        }
    }

    fn board() -> Vec<ChipFacts> {
        vec![
            chip(
                "/dev/gpiochip0",
                "pinctrl-rp1",
                &["ID_SDA", "ID_SCL", "GPIO2", "GPIO3", "-"],
            ),
            chip("/dev/gpiochip10", "gpio-brcmstb@107d508500", &["-", "2712_WAKE"]),
        ]
    }

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
    fn lines_are_found_by_name_or_by_label_and_offset() {
        let board = board();
        let (found, line) = locate(&LineSpec::named("GPIO3"), &board).unwrap();
        assert_eq!((found.label.as_str(), line.offset), ("pinctrl-rp1", 3));
        assert_eq!(describe(found, line), "GPIO3 (pinctrl-rp1/3)");
        let (found, line) = locate(&on_chip("gpio-brcmstb@107d508500", 0), &board).unwrap();
        assert_eq!(describe(found, line), "gpio-brcmstb@107d508500/0");
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let board = board();
        let unknown = locate(&LineSpec::named("GPIO33"), &board)
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("there are for example GPIO3, "), "{unknown}");
        let chip = locate(&on_chip("pinctrl-bcm2711", 2), &board)
            .unwrap_err()
            .to_string();
        assert!(
            chip.contains("there are: pinctrl-rp1, gpio-brcmstb@107d508500"),
            "{chip}"
        );
        assert!(
            locate(&on_chip("pinctrl-rp1", 4), &board).is_ok(),
            "the last line"
        );
        let offset = locate(&on_chip("pinctrl-rp1", 5), &board)
            .unwrap_err()
            .to_string();
        assert!(offset.contains("has no line 5: its lines are 0 to 4"), "{offset}");
    }

    #[test]
    fn doubles_are_refused_rather_than_guessed() {
        let mut board = board();
        board.push(chip("/dev/gpiochip11", "pinctrl-rp1", &["GPIO2"]));
        let line = locate(&LineSpec::named("GPIO2"), &board).unwrap_err().to_string();
        assert!(
            line.contains("2 lines are called \"GPIO2\", on the chips pinctrl-rp1/2, pinctrl-rp1/0"),
            "{line}"
        );
        let chip = locate(&on_chip("pinctrl-rp1", 0), &board)
            .unwrap_err()
            .to_string();
        assert!(chip.contains("/dev/gpiochip0, /dev/gpiochip11"), "{chip}");
    }

    #[test]
    fn error_numbers_are_found_in_what_gpiocdev_says() {
        let error = gpiocdev::Error::from(std::io::Error::from_raw_os_error(13));
        assert_eq!(errno_of(&error), Some(13));
        assert_eq!(errno_of(&gpiocdev::Error::NoGpioChips()), None);
        // What gpiocdev-uapi prints for an ioctl's error number.
        assert_eq!(
            errno_in(&std::io::Error::from_raw_os_error(16).to_string()),
            Some(16)
        );
        assert_eq!(errno_in("Reading LineInfo returned 3 bytes, expected 256."), None);
    }

    #[test]
    fn chips_that_may_not_be_opened_name_the_remedy() {
        let denied = not_opened(Path::new("/nowhere/gpiochip0"), 13).to_string();
        assert!(
            denied.contains("no permission to use /nowhere/gpiochip0") && denied.contains("usermod"),
            "{denied}"
        );
        let old = not_opened(Path::new("/nowhere/gpiochip0"), 22).to_string();
        assert!(old.contains("Linux 5.10"), "{old}");
        assert!(matches!(
            not_opened(Path::new("/nowhere/gpiochip0"), 5),
            GpioError::Io { .. }
        ));
    }

    #[test]
    fn a_chip_that_may_not_be_looked_at_explains_a_missing_line() {
        let board = board();
        let missing = || locate(&LineSpec::named("GPIO33"), &board).unwrap_err();
        let refused = || Some(not_opened(Path::new("/nowhere/gpiochip4"), 13));
        assert!(matches!(
            rather(missing(), refused()),
            GpioError::Permission { .. }
        ));
        assert!(matches!(rather(missing(), None), GpioError::UnknownLine { .. }));
        let offset = locate(&on_chip("pinctrl-rp1", 5), &board).unwrap_err();
        assert!(matches!(
            rather(offset, refused()),
            GpioError::NoSuchOffset { .. }
        ));
    }

    #[test]
    fn consumer_names_are_cut_between_characters() {
        assert_eq!(consumer_name("outpost:lamp"), "outpost:lamp");
        let exact = "x".repeat(31);
        assert_eq!(consumer_name(&exact), exact);
        assert_eq!(consumer_name(&"x".repeat(32)), exact);
        assert_eq!(consumer_name(&format!("{}ä", "x".repeat(30))), "x".repeat(30));
    }
}
