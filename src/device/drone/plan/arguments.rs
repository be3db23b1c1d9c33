//! A plan as arguments: `47.3985,8.5460,30,10s 47.3990,8.5470,30 land`.

use super::super::geo::Position;
use super::{Ending, Plan, PlanError, Target};
use crate::device::duration::parse_duration;

/// The plan that arguments describe.
pub(super) fn plan(args: &[String]) -> Result<Plan, PlanError> {
    let (points, ending) = match args.split_last() {
        Some((last, points)) => match ending(last) {
            Some(ending) => (points, ending),
            None => (args, Ending::Return),
        },
        None => return Err(PlanError::Empty),
    };
    let targets: Result<_, _> = points.iter().map(|text| target(text)).collect();
    Plan::through(targets?, ending)
}

/// What may stand beside a document: how the flight ends, if anything.
pub(super) fn ending_alone(args: &[String]) -> Result<Option<Ending>, PlanError> {
    match args {
        [] => Ok(None),
        [only] if ending(only).is_some() => Ok(ending(only)),
        [first, ..] => Err(PlanError::ArgumentBesideDocument {
            text: shortened(first),
        }),
    }
}

fn ending(text: &str) -> Option<Ending> {
    match text {
        "return" => Some(Ending::Return),
        "land" => Some(Ending::Land),
        _ => None,
    }
}

fn target(text: &str) -> Result<Target, PlanError> {
    let refuse = |problem: String| PlanError::Argument {
        text: shortened(text),
        problem,
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if !(3..=5).contains(&parts.len()) {
        return Err(refuse(format!("it has {} parts, not 3 to 5", parts.len())));
    }
    let number = |index: usize, what: &str| {
        let part = parts[index];
        // What `f64` reads beyond digits (inf, NaN) is refused where the number is used.
        part.parse::<f64>()
            .map_err(|_| refuse(format!("{what} {part:?} is no number")))
    };
    let at = Position::new(number(0, "latitude")?, number(1, "longitude")?)
        .ok_or_else(|| refuse("latitude is from -85 to 85, longitude from -180 to 180".to_owned()))?;
    let hold = match parts.get(3) {
        Some(part) => parse_duration(part).map_err(|error| refuse(format!("hold {error}")))?,
        None => std::time::Duration::ZERO,
    };
    let speed = match parts.len() {
        5 => Some(number(4, "speed")?),
        _ => None,
    };
    Ok(Target {
        at,
        altitude: number(2, "altitude")?,
        hold,
        speed,
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
