//! What a drone can do.

use std::time::Duration;

use super::settings::DroneSettings;
use crate::device::{Effect, Urgency, Verb};

/// Flies a plan.
pub(super) const DISPATCH: &str = "dispatch";
/// Checks whether it could be flown.
pub(super) const PREFLIGHT: &str = "preflight";
/// Returns to launch.
pub(super) const ABORT: &str = "abort";
/// Lands where it is.
pub(super) const LAND: &str = "land";
/// Tells what is known.
pub(super) const STATUS: &str = "status";

/// How long a flight may take to be told to come home, and to say that it does.
pub(super) const TIME_TO_SAFE: Duration = Duration::from_secs(15);
/// How long whoever orders it to come down waits until the autopilot says that it does.
pub(super) const STEERING: Duration = Duration::from_secs(12);
/// All checks, also of an autopilot that has just booted.
const PREFLIGHT_TIME: Duration = Duration::from_secs(120);

const PLAN_USAGE: &str = "<lat,lon,alt[,hold[,speed]]>… [return|land]";

/// Its verbs.
pub(super) fn verbs(settings: &DroneSettings) -> Vec<Verb> {
    let verb =
        |name: &'static str, usage: &'static str, help: &'static str, effect, urgency, max_time| Verb {
            name: name.into(),
            usage: usage.into(),
            help: help.into(),
            effect,
            urgency,
            max_time,
        };
    let short = STEERING + Duration::from_secs(3);
    vec![
        verb(
            DISPATCH,
            PLAN_USAGE,
            "Flies to each point (degrees, metres above home, seconds, metres a second) and returns to launch or lands; the \
             plan may also be given as GEOJSON or PLAN in the environment.",
            Effect::Once,
            Urgency::Work,
            settings.max_time,
        ),
        verb(
            PREFLIGHT,
            PLAN_USAGE,
            "Checks whether a plan could be flown now, without arming.",
            Effect::Read,
            Urgency::Work,
            PREFLIGHT_TIME,
        ),
        verb(
            ABORT,
            "",
            "Returns to launch, whatever is flown.",
            Effect::Set,
            Urgency::Preempt,
            short,
        ),
        verb(
            LAND,
            "",
            "Lands where it is.",
            Effect::Set,
            Urgency::Preempt,
            short,
        ),
        verb(
            STATUS,
            "",
            "Tells what is known of the drone now.",
            Effect::Read,
            Urgency::Query,
            short,
        ),
    ]
}
