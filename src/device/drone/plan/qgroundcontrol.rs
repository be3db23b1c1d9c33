//! A plan as QGroundControl writes it (`.plan`, <https://docs.qgroundcontrol.com/master/en/qgc-dev-guide/file_formats/plan.html>).
//!
//! Only simple items whose effect can be checked here are taken; everything else is refused by its name.

use std::time::Duration;

use serde_json::Value;

use super::super::geo::Position;
use super::super::wire::number::{
    CMD_DO_CHANGE_SPEED, CMD_NAV_LAND, CMD_NAV_LOITER_TIME, CMD_NAV_RETURN_TO_LAUNCH, CMD_NAV_TAKEOFF,
    CMD_NAV_WAYPOINT, FRAME_GLOBAL_RELATIVE_ALT, FRAME_GLOBAL_RELATIVE_ALT_INT, FRAME_MISSION,
};
use super::{Ending, PLAN, Plan, PlanError, Step};

/// What else plans contain, by the names that people know them by.
const REFUSED: [(u64, &str); 19] = [
    (17, "LOITER_UNLIM"),
    (18, "LOITER_TURNS"),
    (31, "LOITER_TO_ALT"),
    (82, "SPLINE_WAYPOINT"),
    (84, "VTOL_TAKEOFF"),
    (85, "VTOL_LAND"),
    (92, "GUIDED_ENABLE"),
    (93, "DELAY"),
    (94, "PAYLOAD_PLACE"),
    (112, "CONDITION_DELAY"),
    (114, "CONDITION_DISTANCE"),
    (115, "CONDITION_YAW"),
    (177, "DO_JUMP"),
    (179, "DO_SET_HOME"),
    (181, "DO_SET_RELAY"),
    (183, "DO_SET_SERVO"),
    (189, "DO_LAND_START"),
    (211, "DO_GRIPPER"),
    (400, "COMPONENT_ARM_DISARM"),
];

fn refuse(place: &str, problem: impl Into<String>) -> PlanError {
    PlanError::Document {
        document: PLAN,
        place: place.to_owned(),
        problem: problem.into(),
    }
}

/// The plan of a document.
pub(super) fn plan(text: &str, ending: Option<Ending>) -> Result<Plan, PlanError> {
    let root: Value = serde_json::from_str(text).map_err(|error| refuse("text", error.to_string()))?;
    if root.get("fileType").and_then(Value::as_str) != Some("Plan") {
        return Err(refuse(
            "fileType",
            "it is not \"Plan\": save the plan with QGroundControl as a .plan file",
        ));
    }
    for list in ["polygons", "circles"] {
        let fence = root.get("geoFence").and_then(|fence| fence.get(list));
        if fence
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
        {
            let problem = "the fence of this drone is in the agent's configuration; take the plan's own away";
            return Err(refuse(&format!("geoFence.{list}"), problem));
        }
    }
    let items = root.get("mission").and_then(|mission| mission.get("items"));
    let items = items
        .and_then(Value::as_array)
        .ok_or_else(|| refuse("mission.items", "it is missing, or no list"))?;
    let mut steps = Vec::new();
    for (index, one) in items.iter().enumerate() {
        steps.push(item(one, &format!("mission.items[{index}]"))?);
    }
    let ended = matches!(steps.last(), Some(Step::Return | Step::Land { .. }));
    match ending {
        Some(_) if ended => {
            let place = format!("mission.items[{}]", steps.len() - 1);
            return Err(refuse(
                &place,
                "the plan ends by itself; take the argument away, or this item",
            ));
        }
        Some(ending) => steps.push(ending.step()),
        None if ended => {}
        None => steps.push(Step::Return),
    }
    Plan::new(steps)
}

fn item(value: &Value, place: &str) -> Result<Step, PlanError> {
    if value.get("type").and_then(Value::as_str) != Some("SimpleItem") {
        let kind = value.get("complexItemType").or_else(|| value.get("type"));
        let kind = kind.and_then(Value::as_str).unwrap_or("nothing");
        return Err(refuse(
            place,
            format!("an item of type {kind:?} is not flown, only simple items are"),
        ));
    }
    let command = value.get("command").and_then(Value::as_u64).unwrap_or_default();
    let frame = value.get("frame").and_then(Value::as_u64).unwrap_or_default();
    let list = value.get("params").and_then(Value::as_array);
    // `null` is MAVLink's NaN: left to the autopilot.
    let param = |number: usize| list.and_then(|list| list.get(number - 1)).and_then(Value::as_f64);
    let relative = [FRAME_GLOBAL_RELATIVE_ALT, FRAME_GLOBAL_RELATIVE_ALT_INT].map(u64::from);
    let altitude = || {
        if !relative.contains(&frame) {
            let problem =
                format!("its frame {frame} is not flown: choose altitudes relative to launch (frame 3)");
            return Err(refuse(place, problem));
        }
        param(7).ok_or_else(|| refuse(place, "its altitude (params[6]) is missing"))
    };
    let position = || {
        let at = param(5)
            .zip(param(6))
            .and_then(|(lat, lon)| Position::new(lat, lon));
        at.ok_or_else(|| refuse(place, "params[4] and params[5] are no position"))
    };
    let hold = || {
        let seconds = param(1).unwrap_or(0.0);
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| refuse(place, "params[0], the time to stay, is no number of seconds"))
    };
    let known = u16::try_from(command).unwrap_or(u16::MAX);
    match known {
        CMD_NAV_TAKEOFF => Ok(Step::Takeoff {
            altitude: altitude()?,
        }),
        CMD_NAV_WAYPOINT | CMD_NAV_LOITER_TIME => Ok(Step::Waypoint {
            at: position()?,
            altitude: altitude()?,
            hold: hold()?,
        }),
        CMD_DO_CHANGE_SPEED => match (param(1), param(2)) {
            // 1 is ground speed, 0 air speed, which a multicopter takes for the same.
            (None | Some(0.0 | 1.0), Some(speed)) => Ok(Step::Speed { speed }),
            _ => Err(refuse(
                place,
                "only the speed over ground can be changed (params[0] = 1, params[1] = m/s)",
            )),
        },
        CMD_NAV_RETURN_TO_LAUNCH => Ok(Step::Return),
        CMD_NAV_LAND => {
            if frame != u64::from(FRAME_MISSION) {
                altitude()?;
            }
            // Zeros, as nothing at all, are where it is.
            let here = param(5).unwrap_or(0.0) == 0.0 && param(6).unwrap_or(0.0) == 0.0;
            Ok(Step::Land {
                at: if here { None } else { Some(position()?) },
            })
        }
        _ => {
            let name = REFUSED.iter().find(|(number, _)| *number == command);
            let name = name.map_or_else(
                || command.to_string(),
                |(number, name)| format!("{number} ({name})"),
            );
            let problem = format!(
                "the command {name} is not flown; only TAKEOFF, WAYPOINT, LOITER_TIME, DO_CHANGE_SPEED, \
                 RETURN_TO_LAUNCH and LAND are"
            );
            Err(refuse(place, problem))
        }
    }
}
