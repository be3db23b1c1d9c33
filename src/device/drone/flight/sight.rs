//! How a flight looks from here, as a fact and in words.

use std::time::Duration;

use super::super::wire::Item;
use super::air::Goal;
use super::vehicle::{Landed, Vehicle, breach_name};
use crate::clock::BootTime;

/// Why the autopilot came home by itself.
pub(super) fn own_reason(vehicle: &Vehicle, goal: Goal) -> String {
    let what = match goal {
        Goal::Return => "the autopilot returns by itself",
        Goal::Land => "the autopilot lands by itself",
    };
    let since = vehicle
        .mode_since()
        .map_or(BootTime::default(), |since| since - Duration::from_secs(5));
    let breach = vehicle
        .breach()
        .map(|(_, kind)| format!("its fence is breached, {}", breach_name(kind)));
    let reasons = vehicle.reasons(since);
    // What it said of its reason then went unheard, too; what is heard afterwards may be that the link is back.
    let unheard = vehicle.changed_unheard().map(|gap| {
        format!(
            "it was not heard for {} s, and its mode changed meanwhile",
            gap.as_secs()
        )
    });
    match (breach.or(unheard), reasons.is_empty()) {
        (Some(why), true) => format!("{what}: {why}"),
        (Some(why), false) if vehicle.breach().is_none() => format!("{what}: {why}; it says: {reasons}"),
        (Some(why), false) => format!("{what}: {why}"),
        (None, false) => format!("{what}: {reasons}"),
        (None, true) => what.to_owned(),
    }
}

/// The number of the last item, 0 if the mission is not known.
pub(super) fn last_item(mission: &[Item]) -> u16 {
    mission.last().map_or(0, |item| item.seq)
}

/// Whether it stands: by what it says, or else because it is low and does not move.
pub(super) fn on_ground(vehicle: &Vehicle, now: BootTime) -> bool {
    match vehicle.landed(now) {
        Some(landed) => landed == Landed::OnGround,
        None => vehicle
            .fix(now)
            .is_some_and(|fix| fix.altitude < 1.0 && fix.climb.abs() < 0.3 && fix.speed < 0.5),
    }
}

/// Where it was last, for whoever has to look for it.
pub(super) fn last_seen(vehicle: &Vehicle) -> String {
    vehicle.last_fix().map_or_else(
        || "Where it is, is not known.".to_owned(),
        |fix| {
            format!(
                "It was last at {}, {:.0} m above home.",
                fix.position, fix.altitude
            )
        },
    )
}

/// How it goes, for people.
pub(super) fn position_text(vehicle: &Vehicle, now: BootTime) -> String {
    let Some(fix) = vehicle.fix(now) else {
        return "Flying; its position is not told.".to_owned();
    };
    let home = vehicle.home().map_or_else(String::new, |home| {
        format!(", {:.0} m from home", home.at.distance(fix.position))
    });
    let battery = vehicle
        .battery()
        .map_or_else(String::new, |percent| format!(", battery {percent} %"));
    format!("At {}, {:.0} m high{home}{battery}.", fix.position, fix.altitude)
}
