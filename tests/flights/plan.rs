//! What will be flown, ordered and broken in one run, by seed.

use std::fmt;
use std::time::Duration;

use outpost::vehicle::{Act, Family, Line, Mode, Moment, Trouble, Wind};

use crate::simulated::dice::Dice;

/// Where the first dock stands; the others beside it.
const HOME: (f64, f64) = (65.617, 22.137);
/// Metres a degree of latitude.
const DEGREE: f64 = 111_195.0;

/// No flight may go farther from home than this, metres: what every dock is configured with.
pub const MAX_DISTANCE: f64 = 200.0;
/// Nor higher.
pub const MAX_ALTITUDE: f64 = 45.0;

/// Seconds; a lease that is no longer is enough for a hop only.
pub const SHORT_LEASE: i64 = 150;

/// All that happens in one run, but for single frames and packets.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub docks: Vec<DockPlan>,
    pub deeds: Vec<(When, Deed)>,
    /// Requests or answers that are lost on their way, of a thousand.
    pub lost: u64,
    pub hub_ppm: i64,
}

/// A dock: a machine with an agent and a vehicle at its port.
#[derive(Debug, Clone)]
pub struct DockPlan {
    pub family: Family,
    /// Degrees.
    pub home: (f64, f64),
    pub line: Line,
    pub acts: Vec<(Moment, Act)>,
    /// Percent.
    pub battery: f64,
    pub wind: Wind,
    /// How fast it moves over ground, as a share of what its table says.
    pub pace: f64,
    /// How long arming and the checks before it take.
    pub slow: Duration,
    /// As `hazardous` in the device's table; without it requeued work reaches the device.
    pub hazardous: bool,
    /// As `require_target` in the device's table.
    pub require_target: bool,
    /// Half the side of the square that is its `fence`, metres; none is configured without it.
    pub fence: Option<f64>,
    /// As `failsafes` in the device's table; `set`: the vehicle has none of its own.
    pub failsafes: &'static str,
    pub ppm: i64,
    pub poll_time: Duration,
}

/// From when something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// After everything was switched on.
    At(Duration),
    /// After a dock's vehicle was first armed.
    Armed(usize, Duration),
    /// After it left the ground for the first time, or for the next (counted from 0).
    Air(usize, usize, Duration),
}

/// What is done from outside of the vehicle.
#[derive(Debug, Clone)]
pub enum Deed {
    Submit(Work),
    /// SIGKILL; systemd starts the agent again.
    Kill {
        dock: usize,
        down: Duration,
    },
    /// SIGTERM; somebody starts the agent again.
    Terminate {
        dock: usize,
        down: Duration,
    },
    /// SIGSTOP and SIGCONT.
    Freeze {
        dock: usize,
        span: Duration,
    },
    /// The dock's machine reaches nobody: connections are refused, or whatever is sent goes nowhere.
    Partition {
        dock: usize,
        span: Duration,
        silent: bool,
    },
    HubCrash {
        down: Duration,
    },
    /// The ledger is copied.
    Backup,
    /// The hub crashes and comes back with the copy.
    Restore {
        down: Duration,
    },
    /// Somebody deletes the dispatch that was submitted as number so-and-so.
    Delete {
        dispatch: usize,
    },
}

/// A process that will be submitted.
#[derive(Debug, Clone)]
pub struct Work {
    pub verb: &'static str,
    pub args: Vec<String>,
    /// Seconds.
    pub lease: i64,
    pub retries: i64,
    /// For which dock; `None`: for any.
    pub dock: Option<usize>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let count = 1 + usize::from(dice.in_thousand(350));
        let mut docks: Vec<DockPlan> = (0..count).map(|number| dock(&mut dice, number)).collect();
        let mut deeds = Vec::new();
        for (number, dock) in docks.iter().enumerate() {
            dispatches(&mut dice, number, dock, &mut deeds);
            orders(&mut dice, number, &mut deeds);
        }
        match dice.below(12) {
            0 => old_ledger(&mut dice, &mut deeds),
            1 => second_thoughts(&mut dice, &mut deeds),
            2 => too_slow(&mut dice, &mut docks[0], &mut deeds),
            _ => faults(&mut dice, &docks, &mut deeds),
        }
        let restored = deeds.iter().any(|(_, deed)| matches!(deed, Deed::Restore { .. }));
        untarget(&mut dice, &docks, restored, &mut deeds);
        Plan {
            seed,
            docks,
            deeds,
            lost: if dice.in_thousand(250) {
                dice.between(2, 60)
            } else {
                0
            },
            hub_ppm: ppm(&mut dice),
        }
    }

    /// Whether anything moves the vehicle that nobody commanded, or hides from it where it is.
    pub fn is_pushed(&self, dock: usize) -> bool {
        let dock = &self.docks[dock];
        let pushes = |act: &Act| {
            matches!(
                act,
                Act::Vehicle(Trouble::Gust(..) | Trouble::GpsLoss(_) | Trouble::Reboot | Trouble::Pilot(_))
            )
        };
        dock.wind.speed > 0.0 || dock.acts.iter().any(|(_, act)| pushes(act))
    }
}

/// Clocks run up to 250 ppm wrong.
fn ppm(dice: &mut Dice) -> i64 {
    dice.between(0, 500) as i64 - 250
}

fn seconds(dice: &mut Dice, low: u64, high: u64) -> Duration {
    dice.millis(low * 1000, high * 1000)
}

fn dock(dice: &mut Dice, number: usize) -> DockPlan {
    let hazardous = dice.in_thousand(750);
    DockPlan {
        family: dice.pick(&[Family::ArduPilot, Family::Px4]),
        home: (HOME.0, HOME.1 + number as f64 * 0.05),
        line: line(dice),
        acts: acts(dice),
        battery: if dice.in_thousand(100) {
            dice.between(45, 70) as f64
        } else {
            100.0
        },
        wind: if dice.in_thousand(150) {
            wind(dice, 8)
        } else {
            Wind::default()
        },
        pace: if dice.in_thousand(250) {
            dice.between(25, 70) as f64 / 100.0
        } else {
            1.0
        },
        slow: if dice.in_thousand(100) {
            seconds(dice, 1, 5)
        } else {
            Duration::ZERO
        },
        hazardous,
        require_target: dice.in_thousand(600),
        fence: dice.in_thousand(400).then(|| dice.between(80, 160) as f64),
        failsafes: dice.pick(&["require", "require", "require", "set"]),
        ppm: ppm(dice),
        poll_time: Duration::from_secs(dice.pick(&[5, 10, 30])),
    }
}

fn line(dice: &mut Dice) -> Line {
    if dice.in_thousand(500) {
        return Line::default();
    }
    let mut share = |most: u64| match dice.in_thousand(400) {
        true => dice.below(most) as f64 / 1000.0,
        false => 0.0,
    };
    let mut line = Line {
        loss: share(100),
        corrupt: share(40),
        duplicate: share(100),
        reorder: share(100),
        ..Line::default()
    };
    if dice.in_thousand(300) {
        line.delay = dice.millis(10, 250);
        line.jitter = dice.millis(10, 250);
    }
    line
}

fn wind(dice: &mut Dice, most: u64) -> Wind {
    Wind {
        speed: dice.between(1, most) as f64,
        from: dice.below(360) as f64,
        turbulence: 0.2,
    }
}

/// What goes wrong with the vehicle and its cable.
fn acts(dice: &mut Dice) -> Vec<(Moment, Act)> {
    let count = dice.pick(&[0, 0, 0, 1, 1, 2]);
    (0..count)
        .map(|_| {
            let moment = match dice.below(5) {
                0 => Moment::Start(seconds(dice, 0, 60)),
                1 => Moment::Armed(dice.millis(0, 8000)),
                _ => Moment::Air(seconds(dice, 0, 60)),
            };
            let span = seconds(dice, 1, 40);
            let act = match dice.below(13) {
                0..=1 => Act::Silence(span),
                2..=3 => Act::Unplug(span),
                4 => Act::Vehicle(Trouble::Reboot),
                5 => Act::Vehicle(Trouble::Pilot(dice.pick(&[
                    Mode::Stabilize,
                    Mode::Loiter,
                    Mode::Land,
                    Mode::Return,
                ]))),
                6 => Act::Vehicle(Trouble::GpsLoss(span)),
                7 => Act::Vehicle(Trouble::Battery(dice.between(8, 40) as f64)),
                8 => Act::Vehicle(Trouble::Gust(wind(dice, 14), span)),
                9 => Act::Vehicle(Trouble::StuckArming(span)),
                10 => Act::Vehicle(Trouble::Hollow(dice.pick(&[20, 176, 300, 400]), span)),
                11 => Act::Vehicle(Trouble::Unanswered(dice.pick(&[20, 176, 300, 400]), span)),
                _ => Act::Vehicle(Trouble::SlowAnswers(dice.millis(200, 4000), span)),
            };
            (moment, act)
        })
        .collect()
}

fn dispatches(dice: &mut Dice, number: usize, dock: &DockPlan, deeds: &mut Vec<(When, Deed)>) {
    let mut at = seconds(dice, 1, 35);
    for _ in 0..dice.pick(&[1, 1, 1, 2, 2, 3]) {
        let lease = dice.pick(&[60, 150, 150, 180, 240, 300, 300, 450, 600, 600, 900]);
        let work = Work {
            verb: "dispatch",
            args: if lease <= SHORT_LEASE {
                vec![target(dice, dock.home, (3, 15), (5, 7), 0)]
            } else {
                route(dice, dock.home)
            },
            lease,
            retries: match dock.hazardous {
                true => i64::from(dice.in_thousand(30)),
                false => dice.pick(&[0, 1, 3]),
            },
            dock: Some(number),
        };
        deeds.push((When::At(at), Deed::Submit(work)));
        at += seconds(dice, 1, 120);
    }
}

/// One to three points, most of them within the limits.
fn route(dice: &mut Dice, home: (f64, f64)) -> Vec<String> {
    let mut args: Vec<String> = (0..dice.pick(&[1, 1, 1, 2, 2, 3]))
        .map(|_| {
            let far = if dice.in_thousand(10) {
                (250, 250)
            } else {
                (10, 80)
            };
            let hold = dice.pick(&[0, 0, 2, 5, 20]);
            target(dice, home, far, (5, 35), hold)
        })
        .collect();
    if dice.in_thousand(200) {
        args.push("land".to_owned());
    }
    args
}

/// A point so far from home and so high, metres from and to, with a hold of so many seconds.
fn target(dice: &mut Dice, home: (f64, f64), far: (u64, u64), high: (u64, u64), hold: u64) -> String {
    let far = dice.between(far.0, far.1) as f64;
    let towards = (dice.below(360) as f64).to_radians();
    let latitude = home.0 + far * towards.cos() / DEGREE;
    let longitude = home.1 + far * towards.sin() / (DEGREE * home.0.to_radians().cos());
    let high = dice.between(high.0, high.1);
    format!("{latitude:.7},{longitude:.7},{high},{hold}s")
}

/// Aborts and landings through the control lane, some with a queue of dispatches before them.
fn orders(dice: &mut Dice, dock: usize, deeds: &mut Vec<(When, Deed)>) {
    if !dice.in_thousand(450) {
        return;
    }
    let when = match dice.below(6) {
        0 => When::At(seconds(dice, 10, 120)),
        1 => When::Armed(dock, dice.millis(0, 5000)),
        _ => When::Air(dock, 0, seconds(dice, 0, 50)),
    };
    let work = Work {
        verb: dice.pick(&["abort", "abort", "land"]),
        args: Vec::new(),
        lease: dice.pick(&[20, 60]),
        retries: 0,
        dock: Some(dock),
    };
    if dice.in_thousand(400) {
        let waiting = Work {
            verb: "dispatch",
            args: vec!["0,0,10".to_owned()],
            lease: 60,
            ..work.clone()
        };
        for _ in 0..5 {
            deeds.push((when, Deed::Submit(waiting.clone())));
        }
    }
    deeds.push((when, Deed::Submit(work)));
}

fn faults(dice: &mut Dice, docks: &[DockPlan], deeds: &mut Vec<(When, Deed)>) {
    for _ in 0..dice.pick(&[0, 0, 1, 1, 2, 3]) {
        let dock = dice.below(docks.len() as u64) as usize;
        let when = match dice.below(6) {
            0..=1 => When::At(seconds(dice, 1, 200)),
            2 => When::Armed(dock, dice.millis(0, 6000)),
            _ => When::Air(dock, 0, seconds(dice, 0, 60)),
        };
        let deed = match dice.below(14) {
            0..=2 => Deed::Kill {
                dock,
                down: dice.millis(100, 20_000),
            },
            3 => Deed::Terminate {
                dock,
                down: dice.millis(100, 20_000),
            },
            4 => Deed::Freeze {
                dock,
                span: dice.millis(100, 20_000),
            },
            5..=6 => Deed::Partition {
                dock,
                span: seconds(dice, 1, 90),
                silent: dice.in_thousand(500),
            },
            7 => Deed::HubCrash {
                down: seconds(dice, 1, 60),
            },
            8..=10 => {
                deeds.push((When::At(seconds(dice, 1, 100)), Deed::Backup));
                Deed::Restore {
                    down: seconds(dice, 1, 20),
                }
            }
            _ => Deed::Delete {
                dispatch: dice.below(2) as usize,
            },
        };
        deeds.push((when, deed));
    }
}

/// A dispatch waits behind another when the ledger is copied, and is flown before the copy comes back: it is handed out
/// again as if it had never been.
fn old_ledger(dice: &mut Dice, deeds: &mut Vec<(When, Deed)>) {
    deeds.retain(
        |(_, deed)| matches!(deed, Deed::Submit(work) if work.verb == "dispatch" && work.dock == Some(0)),
    );
    let Some((_, Deed::Submit(work))) = deeds.first().cloned() else {
        return;
    };
    let work = Work { lease: 900, ..work };
    let at = seconds(dice, 10, 40);
    *deeds = vec![
        (When::At(at), Deed::Submit(work.clone())),
        (When::At(at + Duration::from_secs(1)), Deed::Submit(work)),
        (When::Air(0, 0, seconds(dice, 0, 10)), Deed::Backup),
    ];
    if dice.in_thousand(600) {
        let down = dice.millis(100, 10_000);
        deeds.push((
            When::Air(0, 1, seconds(dice, 0, 60)),
            Deed::Kill { dock: 0, down },
        ));
    }
    let down = seconds(dice, 1, 20);
    deeds.push((When::Air(0, 1, seconds(dice, 0, 100)), Deed::Restore { down }));
}

/// Who submits a dispatch takes it back before it flies.
fn second_thoughts(dice: &mut Dice, deeds: &mut Vec<(When, Deed)>) {
    let first = deeds.iter().find_map(|(when, deed)| match (when, deed) {
        (When::At(at), Deed::Submit(work)) if work.verb == "dispatch" => Some(*at),
        _ => None,
    });
    if let Some(at) = first {
        let when = When::At(at + dice.millis(500, 10_000));
        deeds.push((when, Deed::Delete { dispatch: 0 }));
    }
}

/// A vehicle is much slower than its table says, and goes far: it has to turn back when the lease ends.
fn too_slow(dice: &mut Dice, dock: &mut DockPlan, deeds: &mut Vec<(When, Deed)>) {
    dock.pace = dice.between(22, 45) as f64 / 100.0;
    dock.fence = None;
    let work = Work {
        verb: "dispatch",
        args: vec![target(dice, dock.home, (140, 180), (8, 20), 0)],
        lease: dice.between(270, 330) as i64,
        retries: 0,
        dock: Some(0),
    };
    *deeds = vec![(When::At(seconds(dice, 10, 40)), Deed::Submit(work))];
}

/// Where every dock takes work that names none, some names none: the server gives it to whichever asks first. What happens
/// across agents only the spec can fence (docs/fence.md, 3); a ledger that forgot would break that, so not with one.
fn untarget(dice: &mut Dice, docks: &[DockPlan], restored: bool, deeds: &mut [(When, Deed)]) {
    if restored || docks.iter().any(|dock| dock.require_target || !dock.hazardous) {
        return;
    }
    for (_, deed) in deeds {
        if let Deed::Submit(work) = deed
            && work.verb == "dispatch"
            && dice.in_thousand(500)
        {
            work.dock = None;
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "seed {}: {} of 1000 packets lost", self.seed, self.lost)?;
        for (number, dock) in self.docks.iter().enumerate() {
            writeln!(out, "  dock {number}: {dock:?}")?;
        }
        for (when, deed) in &self.deeds {
            writeln!(out, "  {when:?} {deed:?}")?;
        }
        Ok(())
    }
}
