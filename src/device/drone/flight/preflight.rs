//! Whether it may fly now: everything that is looked at before anything is uploaded or armed, each with what is the matter
//! and what to do.

use super::super::plan::Estimate;
use super::super::wire::number::MSG_HOME_POSITION;
use super::Setup;
use super::modes::Family;
use super::vehicle::{Vehicle, breach_name};
use crate::clock::BootTime;
use crate::device::duration::format_duration;

/// So many of the limits that a plan breaks are told one by one.
const MOST_ERRORS: usize = 4;

/// How a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Passed,
    /// It may pass soon.
    Waits,
    /// It won't.
    Failed,
}

/// One thing that is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Check {
    pub(super) standing: Standing,
    pub(super) text: String,
}

impl Check {
    fn new(passed: bool, otherwise: Standing, text: String) -> Self {
        let standing = if passed { Standing::Passed } else { otherwise };
        Check { standing, text }
    }
}

/// What a list of checks comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) standing: Standing,
    /// What passed, if all did; otherwise what did not.
    pub(super) text: String,
}

pub(super) fn verdict(checks: &[Check]) -> Verdict {
    let has = |standing| checks.iter().any(|check| check.standing == standing);
    let standing = if has(Standing::Failed) {
        Standing::Failed
    } else if has(Standing::Waits) {
        Standing::Waits
    } else {
        Standing::Passed
    };
    let told = checks
        .iter()
        .filter(|check| (check.standing == Standing::Passed) == (standing == Standing::Passed));
    let texts: Vec<&str> = told.map(|check| check.text.as_str()).collect();
    Verdict {
        standing,
        text: texts.join("; "),
    }
}

/// Who it is, and whether it stands there free to be used.
pub(super) fn identity(vehicle: &Vehicle, now: BootTime) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut must = |passed, text: String| checks.push(Check::new(passed, Standing::Failed, text));
    let known = matches!(vehicle.family(), Some(Family::ArduPilot | Family::Px4));
    let family = vehicle.family().unwrap_or(Family::Other(0));
    must(
        known && vehicle.multicopter(),
        if known && vehicle.multicopter() {
            let version = vehicle
                .version()
                .map_or_else(String::new, |version| format!(" {version}"));
            format!("{family}{version}, a multicopter")
        } else {
            format!(
                "this is {family} with vehicle type {}; only multicopters with ArduPilot or PX4 are flown from here",
                vehicle.kind().unwrap_or(0)
            )
        },
    );
    if vehicle.armed() {
        must(
            false,
            "it is armed already; somebody else uses it, or disarm it first".to_owned(),
        );
    } else if vehicle.in_air(now) {
        must(false, "it says that it is in the air".to_owned());
    }
    if vehicle.rival(now) {
        must(
            false,
            format!(
                "another ground station uses our system id {}; give one of them another",
                vehicle.us().system
            ),
        );
    }
    checks
}

/// Whether it knows for sure where it is: by its GPS, and by its own checks ([`prearm`]).
pub(super) fn located(setup: &Setup, own: &Check, vehicle: &Vehicle, now: BootTime) -> bool {
    own.standing == Standing::Passed && gps(setup, vehicle, now).standing == Standing::Passed
}

/// Everything that depends on where it stands and what it measures; it is [`located`] since then.
pub(super) fn conditions(
    setup: &Setup,
    end: BootTime,
    vehicle: &Vehicle,
    located: Option<BootTime>,
    now: BootTime,
) -> Vec<Check> {
    let mut checks = vec![gps(setup, vehicle, now)];
    checks.extend(home(setup, end, vehicle, located, now));
    if let Some((_, kind)) = vehicle.breach() {
        let text = format!("its fence is breached where it stands, {}", breach_name(kind));
        checks.push(Check::new(false, Standing::Waits, text));
    }
    checks
}

fn gps(setup: &Setup, vehicle: &Vehicle, now: BootTime) -> Check {
    let drone = &setup.drone;
    let Some((fix, satellites)) = vehicle.gps(now) else {
        return Check::new(false, Standing::Waits, "no word from its GPS".to_owned());
    };
    let enough = satellites.map_or(drone.min_satellites == 0, |seen| seen >= drone.min_satellites);
    let seen = satellites.map_or_else(|| "an unknown number of".to_owned(), |seen| seen.to_string());
    let passed = fix >= drone.min_fix && enough;
    let text = if passed {
        format!("GPS fix {fix} with {seen} satellites")
    } else {
        format!(
            "GPS fix {fix} with {seen} satellites; needed are fix {} and {} satellites: wait for a clear sky",
            drone.min_fix, drone.min_satellites
        )
    };
    Check::new(passed, Standing::Waits, text)
}

fn home(
    setup: &Setup,
    end: BootTime,
    vehicle: &Vehicle,
    located: Option<BootTime>,
    now: BootTime,
) -> Vec<Check> {
    let waits = |text: &str| vec![Check::new(false, Standing::Waits, text.to_owned())];
    let Some(home) = vehicle.home() else {
        return waits("its home is not known");
    };
    if vehicle.fix(now).is_none() {
        return waits("its position is not known");
    }
    if let Some(away) = vehicle.elsewhere(now) {
        let text = format!(
            "its home {} is {away:.0} m from where it stands; set home here",
            home.at
        );
        // ArduPilot sets home once, when it knows where it is, and then only as it is armed; PX4 moves it along on the ground.
        let told = vehicle.heard_at(MSG_HOME_POSITION);
        let stays =
            vehicle.family() == Some(Family::ArduPilot) && located.is_some_and(|since| told > Some(since));
        let standing = if stays { Standing::Failed } else { Standing::Waits };
        return vec![Check::new(false, standing, text)];
    }
    let mut checks = vec![Check::new(true, Standing::Waits, format!("home {}", home.at))];
    if let Err(errors) = setup.plan.check(home.at, &setup.drone.limits) {
        let failed = |text| Check::new(false, Standing::Failed, text);
        checks.extend(
            errors
                .iter()
                .take(MOST_ERRORS)
                .map(|error| failed(error.to_string())),
        );
        let more = errors.len().saturating_sub(MOST_ERRORS);
        if more > 0 {
            checks.push(failed(format!(
                "the plan goes beyond its limits {more} times more"
            )));
        }
    }
    let estimate = setup.plan.estimate(home.at, &setup.drone.performance);
    checks.push(battery(setup, &estimate, vehicle));
    checks.push(time(&estimate, end, now));
    checks
}

fn battery(setup: &Setup, estimate: &Estimate, vehicle: &Vehicle) -> Check {
    let (least, reserve) = (setup.drone.min_battery, setup.drone.battery_reserve);
    let Some(percent) = vehicle.battery() else {
        return Check::new(
            least == 0,
            Standing::Waits,
            "it does not tell the charge of its battery (min_battery = 0 flies without)".to_owned(),
        );
    };
    let needed = estimate.battery + f64::from(reserve);
    let text = if percent < least {
        format!("battery {percent} %, below min_battery = {least}: charge it")
    } else if f64::from(percent) < needed {
        format!(
            "battery {percent} %; the flight takes about {:.0} % and {reserve} % are kept: charge it, or fly less",
            estimate.battery
        )
    } else {
        return Check::new(true, Standing::Failed, format!("battery {percent} %"));
    };
    Check::new(false, Standing::Failed, text)
}

/// Whether the whole flight fits between now and the end, and returning from its worst point does, too.
pub(super) fn time(estimate: &Estimate, end: BootTime, now: BootTime) -> Check {
    let needed = super::cautious(estimate.time).saturating_add(estimate.return_time);
    let left = end.saturating_since(now);
    let text = format!(
        "{:.0} m over ground in about {}",
        estimate.distance,
        format_duration(std::time::Duration::from_secs(estimate.time.as_secs()))
    );
    if needed <= left {
        return Check::new(true, Standing::Failed, text);
    }
    let text = format!(
        "{text}, with caution and the way back {} s; there are {} s: raise maxexectime (or max_time), or fly less",
        needed.as_secs(),
        left.as_secs()
    );
    Check::new(false, Standing::Failed, text)
}

/// The autopilot's own checks before arming, told since `fresh`, with its words since it was `asked`. PX4 may not tell.
pub(super) fn prearm(vehicle: &Vehicle, asked: BootTime, fresh: BootTime) -> Check {
    let told = vehicle.prearm().filter(|(at, _)| *at >= fresh);
    match told {
        Some((_, true)) => Check::new(true, Standing::Waits, "the autopilot is ready to arm".to_owned()),
        Some((_, false)) => {
            let reasons = vehicle.reasons(asked);
            let why = if reasons.is_empty() {
                "it does not say why".to_owned()
            } else {
                reasons
            };
            let text = format!("the autopilot is not ready to arm: {why}");
            Check::new(false, Standing::Waits, text)
        }
        None => Check::new(
            vehicle.prearm().is_none() && vehicle.family() == Some(Family::Px4),
            Standing::Waits,
            "the autopilot does not tell whether it is ready to arm".to_owned(),
        ),
    }
}
