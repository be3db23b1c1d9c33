//! A plan as GeoJSON (RFC 7946): a Feature, or a FeatureCollection in the order of flight, of Points and LineStrings.
//!
//! GeoJSON's own third coordinate counts from the ellipsoid and not from home, so it is refused: the altitude above home
//! is a property.

use serde_json::Value;

use super::super::geo::Position;
use super::{Ending, GEOJSON, Plan, PlanError, Target};
use crate::device::duration::parse_duration;

fn refuse(place: &str, problem: impl Into<String>) -> PlanError {
    PlanError::Document {
        document: GEOJSON,
        place: place.to_owned(),
        problem: problem.into(),
    }
}

/// The plan of a document.
pub(super) fn plan(text: &str, ending: Option<Ending>) -> Result<Plan, PlanError> {
    let root: Value = serde_json::from_str(text).map_err(|error| refuse("text", error.to_string()))?;
    let mut targets = Vec::new();
    match kind(&root) {
        "Feature" => feature(&root, "feature", &mut targets)?,
        "FeatureCollection" => {
            let features = root.get("features").and_then(Value::as_array);
            let features = features.ok_or_else(|| refuse("features", "it is missing, or no list"))?;
            for (index, one) in features.iter().enumerate() {
                feature(one, &format!("features[{index}]"), &mut targets)?;
            }
        }
        other => {
            let problem = format!(
                "is {other:?}, only Feature and FeatureCollection are flown (their properties tell the altitude)"
            );
            return Err(refuse("type", problem));
        }
    }
    Plan::through(targets, ending.unwrap_or(Ending::Return))
}

fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn feature(value: &Value, place: &str, targets: &mut Vec<Target>) -> Result<(), PlanError> {
    let geometry = value.get("geometry").unwrap_or(&Value::Null);
    let coordinates = geometry.get("coordinates").unwrap_or(&Value::Null);
    let at = format!("{place}.geometry.coordinates");
    let mut points = Vec::new();
    match kind(geometry) {
        "Point" => points.push(position(coordinates, &at)?),
        "LineString" => {
            let list = coordinates
                .as_array()
                .ok_or_else(|| refuse(&at, "it is no list"))?;
            for (index, one) in list.iter().enumerate() {
                points.push(position(one, &format!("{at}[{index}]"))?);
            }
        }
        other => {
            let problem = format!("its type {other:?} is not flown, only Point and LineString are");
            return Err(refuse(&format!("{place}.geometry"), problem));
        }
    }
    let number = |name: &str| match value.get("properties").and_then(|all| all.get(name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(refuse(&format!("{place}.properties.{name}"), "it is no number")),
    };
    let altitude = number("altitude")?.ok_or_else(|| {
        refuse(
            &format!("{place}.properties"),
            "\"altitude\" is missing: metres above home",
        )
    })?;
    let speed = number("speed")?;
    let hold = match value.get("properties").and_then(|all| all.get("hold")) {
        None | Some(Value::Null) => std::time::Duration::ZERO,
        Some(hold) => {
            let text = hold.as_str().map_or_else(|| hold.to_string(), str::to_owned);
            parse_duration(&text)
                .map_err(|error| refuse(&format!("{place}.properties.hold"), error.to_string()))?
        }
    };
    // The speed is set once for the whole feature.
    targets.extend(points.into_iter().enumerate().map(|(index, at)| Target {
        at,
        altitude,
        hold,
        speed: speed.filter(|_| index == 0),
    }));
    Ok(())
}

fn position(value: &Value, place: &str) -> Result<Position, PlanError> {
    let numbers: Option<Vec<f64>> = value
        .as_array()
        .and_then(|list| list.iter().map(Value::as_f64).collect());
    match numbers.as_deref() {
        Some([longitude, latitude]) => Position::new(*latitude, *longitude).ok_or_else(|| {
            refuse(
                place,
                "longitude is from -180 to 180, latitude from -85 to 85, in this order",
            )
        }),
        Some([_, _, _, ..]) => {
            let problem = "a third coordinate is metres above the ellipsoid, which is not flown by: take it away and write \
                           the metres above home as the property \"altitude\"";
            Err(refuse(place, problem))
        }
        _ => Err(refuse(place, "it is not [longitude, latitude]")),
    }
}
