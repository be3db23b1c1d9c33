//! The chips of the kernel as a temporary folder, with a kernel that keeps to the rules of the real one.

use std::os::unix::fs::symlink;
use std::sync::Mutex;

use super::*;

/// A board whose files are real and whose kernel is not.
struct Board {
    root: tempfile::TempDir,
    kernel: Arc<FakeKernel>,
}

/// Checks what is written as drivers/pwm/{core,sysfs}.c do, then writes it.
#[derive(Default)]
struct FakeKernel {
    /// `FILE=TEXT` of every write to a channel, and `export=N`.
    log: Mutex<Vec<String>>,
    /// So many pauses until the files of a channel may be written.
    udev: Mutex<u32>,
    /// Writing this file fails so.
    fault: Mutex<Option<(&'static str, i32)>>,
    pauses: Mutex<u32>,
}

const INVALID: i32 = Errno::INVAL.raw_os_error();

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

impl Kernel for FakeKernel {
    fn write(&self, path: &Path, value: &str) -> io::Result<()> {
        let refused = |errno| Err(io::Error::from_raw_os_error(errno));
        let file = path.file_name().unwrap().to_str().unwrap();
        if let Some((faulty, errno)) = *self.fault.lock().unwrap()
            && faulty == file
        {
            return refused(errno);
        }
        let folder = path.parent().unwrap();
        if file == "export" {
            let channel = folder.join(format!("pwm{value}"));
            fs::create_dir(&channel)?;
            for (file, text) in [
                ("period", "0"),
                ("duty_cycle", "0"),
                ("polarity", "normal"),
                ("enable", "0"),
            ] {
                fs::write(channel.join(file), format!("{text}\n"))?;
            }
        } else {
            let of = |file: &str| text(&folder.join(file));
            let number = |file: &str| of(file).parse::<u64>().unwrap();
            let enabled = of("enable") == "1";
            let valid = match file {
                "period" => value.parse::<u64>().unwrap() >= number("duty_cycle"),
                "duty_cycle" => value.parse::<u64>().unwrap() <= number("period") && number("period") > 0,
                "polarity" => !enabled && number("period") > 0,
                _ => value == "0" || number("period") > 0,
            };
            if !valid {
                return refused(INVALID);
            }
            fs::write(path, format!("{value}\n"))?;
        }
        self.log.lock().unwrap().push(format!("{file}={value}"));
        Ok(())
    }

    fn open(&self, file: &Path) -> io::Result<File> {
        if *self.udev.lock().unwrap() > 0 {
            return Err(io::Error::from_raw_os_error(Errno::ACCESS.raw_os_error()));
        }
        OpenOptions::new().write(true).open(file)
    }

    fn pause(&self, _span: Duration) {
        *self.pauses.lock().unwrap() += 1;
        let mut udev = self.udev.lock().unwrap();
        *udev = udev.saturating_sub(1);
    }
}

impl Board {
    /// One chip for each name, with two channels, numbered from 0.
    fn new(chips: &[&str]) -> Self {
        let board = Board {
            root: tempfile::tempdir().unwrap(),
            kernel: Arc::default(),
        };
        for (number, name) in chips.iter().enumerate() {
            let folder = board.root.path().join(format!("pwmchip{number}"));
            fs::create_dir(&folder).unwrap();
            symlink(format!("../../../{name}"), folder.join("device")).unwrap();
            fs::write(folder.join("npwm"), "2\n").unwrap();
            fs::write(folder.join("export"), "").unwrap();
        }
        board
    }

    fn pwm(&self) -> SysfsPwm {
        SysfsPwm::with_kernel(self.root.path(), self.kernel.clone())
    }

    fn request(&self, spec: &PwmSpec, percent: u8) -> Result<Box<dyn PwmChannel>, PwmError> {
        self.pwm()
            .request(spec, Percent::new(percent).unwrap(), "outpost:lamp")
    }

    fn refused(&self, spec: &PwmSpec) -> String {
        self.request(spec, 0).err().unwrap().to_string()
    }

    /// What was written since the last time.
    fn written(&self) -> Vec<String> {
        std::mem::take(&mut *self.kernel.log.lock().unwrap())
    }

    fn channel(&self) -> PathBuf {
        self.root.path().join("pwmchip0/pwm0")
    }

    /// The channel as an earlier holder left it.
    fn left(&self, period: &str, duty: &str, polarity: &str, enable: &str) {
        let folder = self.channel();
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in FILES.into_iter().zip([period, duty, polarity, enable]) {
            fs::write(folder.join(file), format!("{text}\n")).unwrap();
        }
    }

    fn fail(&self, file: &'static str, errno: Errno) {
        *self.kernel.fault.lock().unwrap() = Some((file, errno.raw_os_error()));
    }
}

fn spec() -> PwmSpec {
    PwmSpec::channel(0)
}

fn inversed() -> PwmSpec {
    PwmSpec {
        active_low: true,
        ..spec()
    }
}

fn percent(number: u8) -> Percent {
    Percent::new(number).unwrap()
}

#[test]
fn a_new_channel_gets_its_period_then_its_duty_and_is_enabled_last() {
    let board = Board::new(&["fe20c000.pwm"]);
    let mut channel = board.request(&spec(), 30).unwrap();
    assert_eq!(
        board.written(),
        ["export=0", "period=1000000", "duty_cycle=300000", "enable=1"]
    );
    assert_eq!(channel.get().unwrap(), percent(30));
    assert_eq!(channel.describe(), "PWM channel fe20c000.pwm/0");
    for (number, duty) in [(60, "600000"), (0, "0"), (100, "1000000")] {
        channel.set(percent(number)).unwrap();
        assert_eq!(board.written(), [format!("duty_cycle={duty}")], "one write");
        assert_eq!(channel.get().unwrap(), percent(number));
        assert_eq!(text(&board.channel().join("enable")), "1", "off is enabled, too");
    }
}

#[test]
fn active_low_is_inversed_before_it_is_enabled() {
    let board = Board::new(&["fe20c000.pwm"]);
    let mut channel = board.request(&inversed(), 0).unwrap();
    assert_eq!(
        board.written(),
        [
            "export=0",
            "period=1000000",
            "polarity=inversed",
            "duty_cycle=0",
            "enable=1"
        ]
    );
    channel.set(percent(1)).unwrap();
    assert_eq!(board.written(), ["duty_cycle=10000"]);
    assert_eq!(channel.get().unwrap(), percent(1));
}

#[test]
fn a_channel_that_runs_as_it_is_to_run_is_not_interrupted() {
    let board = Board::new(&["fe20c000.pwm"]);
    drop(board.request(&spec(), 40).unwrap());
    board.written();
    let mut channel = board.request(&spec(), 40).unwrap();
    assert_eq!(
        board.written(),
        ["duty_cycle=400000"],
        "neither exported nor enabled again"
    );
    assert_eq!(channel.get().unwrap(), percent(40));
}

#[test]
fn whatever_an_earlier_holder_left_the_order_is_one_that_the_kernel_takes() {
    for polarity in ["normal", "inversed"] {
        for enable in ["0", "1"] {
            for (period, duty) in [
                ("0", "0"),
                ("500", "500"),
                ("1000000", "7"),
                ("90000000", "80000000"),
            ] {
                if (period, enable) == ("0", "1") {
                    continue;
                }
                for wanted in [spec(), inversed()] {
                    let board = Board::new(&["fe20c000.pwm"]);
                    board.left(period, duty, polarity, enable);
                    let mut channel = board.request(&wanted, 30).unwrap();
                    assert_eq!(channel.get().unwrap(), percent(30));
                    let log = board.written();
                    let starts = |file: &str| log.iter().any(|line| line.starts_with(file));
                    let same = (polarity == "inversed") == wanted.active_low;
                    assert_eq!(starts("polarity"), !same, "{log:?}");
                    assert_eq!(starts("enable=0"), !same && enable == "1", "{log:?}");
                    assert_eq!(starts("period"), period != "1000000", "{log:?}");
                }
            }
        }
    }
}

#[test]
fn what_another_program_changed_is_told_and_put_right_by_setting() {
    let board = Board::new(&["fe20c000.pwm"]);
    let mut channel = board.request(&spec(), 30).unwrap();
    for (file, value, told) in [
        ("enable", "0", "it is disabled"),
        ("polarity", "inversed", "its polarity is not normal"),
    ] {
        fs::write(board.channel().join(file), value).unwrap();
        let error = channel.get().unwrap_err().to_string();
        assert!(
            error.contains(told) && error.contains("something else drives it"),
            "{error}"
        );
        channel.set(percent(30)).unwrap();
        assert_eq!(channel.get().unwrap(), percent(30));
    }
    fs::write(board.channel().join("duty_cycle"), "990000").unwrap();
    assert_eq!(channel.get().unwrap(), percent(99));
    fs::write(board.channel().join("period"), "2000000").unwrap();
    channel.set(percent(50)).unwrap();
    assert_eq!(text(&board.channel().join("period")), "1000000");
}

#[test]
fn udev_gives_the_files_of_a_new_channel_a_little_later() {
    let board = Board::new(&["fe20c000.pwm"]);
    *board.kernel.udev.lock().unwrap() = 3;
    let channel = board.request(&spec(), 30).unwrap();
    assert_eq!(*board.kernel.pauses.lock().unwrap(), 3);
    drop(channel);
    // One that was there before gets no other rights by waiting.
    *board.kernel.udev.lock().unwrap() = 3;
    assert!(board.refused(&spec()).contains("no permission to write"));
    assert_eq!(*board.kernel.pauses.lock().unwrap(), 3);
    // And udev may have no rule at all.
    let board = Board::new(&["fe20c000.pwm"]);
    *board.kernel.udev.lock().unwrap() = 10 * UDEV_TURNS;
    let error = board.refused(&spec());
    assert!(error.contains("70-outpost-gpio.rules"), "{error}");
    assert_eq!(*board.kernel.pauses.lock().unwrap(), UDEV_TURNS);
}

#[test]
fn a_channel_has_one_holder() {
    let board = Board::new(&["fe20c000.pwm"]);
    let first = board.request(&spec(), 30).unwrap();
    board.written();
    let busy = board.refused(&spec());
    assert!(
        busy.contains("fe20c000.pwm/0 is in use by another outpost-agent"),
        "{busy}"
    );
    assert_eq!(board.written(), [""; 0], "the second changed nothing");
    assert!(
        board.request(&PwmSpec::channel(1), 0).is_ok(),
        "the other channel is free"
    );
    drop(first);
    assert!(board.request(&spec(), 0).is_ok());
}

#[test]
fn chips_are_found_by_the_name_of_their_device() {
    let board = Board::new(&["107d517a80.pwm", "1f00098000.pwm"]);
    let named = PwmSpec {
        chip: Some("1f00098000.pwm".to_owned()),
        ..spec()
    };
    assert_eq!(
        board.request(&named, 1).unwrap().describe(),
        "PWM channel 1f00098000.pwm/0"
    );
    assert!(board.root.path().join("pwmchip1/pwm0").exists());
    let which = board.refused(&spec());
    assert!(
        which.contains("one of 107d517a80.pwm (2 channels), 1f00098000.pwm (2 channels)"),
        "{which}"
    );
    let unknown = PwmSpec {
        chip: Some("fe20c000.pwm".to_owned()),
        ..spec()
    };
    let unknown = board.refused(&unknown);
    assert!(
        unknown.contains("no PWM chip has the device \"fe20c000.pwm\"; there are: 107d"),
        "{unknown}"
    );
    let board = Board::new(&["pwm-fan", "pwm-fan"]);
    let twice = PwmSpec {
        chip: Some("pwm-fan".to_owned()),
        ..spec()
    };
    assert!(board.refused(&twice).contains("more than one PWM chip has"));
    let missing = board.refused(&PwmSpec {
        channel: 0,
        ..PwmSpec::channel(2)
    });
    assert!(missing.contains("several PWM chips"), "{missing}");
}

#[test]
fn what_is_missing_is_told_with_the_remedy() {
    let none = Board::new(&[]).refused(&spec());
    assert!(
        none.contains("dtoverlay=pwm,pin=18,func=2") && none.contains("config.txt"),
        "{none}"
    );
    let nowhere = survey(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(matches!(nowhere, PwmError::NoChips { .. }));
    let board = Board::new(&["fe20c000.pwm"]);
    let channel = board.refused(&PwmSpec::channel(2));
    assert!(
        channel.contains("PWM chip fe20c000.pwm has no channel 2: its channels are 0 to 1"),
        "{channel}"
    );
    board.fail("export", Errno::BUSY);
    assert!(board.refused(&spec()).contains("in use by the kernel itself"));
    board.fail("export", Errno::ROFS);
    assert!(board.refused(&spec()).contains("pwm.conf"));
    board.fail("period", Errno::INVAL);
    let frequency = board.refused(&spec());
    assert!(frequency.contains("frequency = N"), "{frequency}");
    board.fail("polarity", Errno::INVAL);
    let polarity = board.refused(&inversed());
    assert!(polarity.contains("active_low = false"), "{polarity}");
}

#[test]
fn a_chip_that_went_away_is_told_so() {
    let board = Board::new(&["fe20c000.pwm"]);
    let mut channel = board.request(&spec(), 30).unwrap();
    fs::remove_dir_all(board.channel()).unwrap();
    for error in [channel.set(percent(0)).unwrap_err(), channel.get().unwrap_err()] {
        assert!(matches!(error, PwmError::Vanished { .. }), "{error}");
    }
}

#[test]
fn shares_are_rounded_but_never_to_off_or_to_full() {
    for (duty, period, expected) in [
        (0, 1000, 0),
        (0, 0, 0),
        (1, 1000, 1),
        (304, 1000, 30),
        (305, 1000, 31),
        (999, 1000, 99),
        (1000, 1000, 100),
        (7, 3, 100),
    ] {
        assert_eq!(share(duty, period).get(), expected, "{duty} of {period}");
    }
    // Every percent comes back as it was set, also at the highest frequency.
    for number in 0..=100 {
        assert_eq!(share(1000 * u128::from(number) / 100, 1000).get(), number);
    }
}

#[test]
fn the_kernel_itself_is_written_to_in_place_of_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("duty_cycle");
    assert!(RealKernel.write(&file, "1").is_err(), "makes no files");
    fs::write(&file, "1000000\n").unwrap();
    RealKernel.write(&file, "0").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "0");
}
