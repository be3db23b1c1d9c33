//! What a flight was, told when it is over: times, distances, and the track as GeoJSON.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::geo::Position;
use super::vehicle::{Fix, Vehicle};
use crate::clock::BootTime;

/// A track has at most so many points; a longer flight has fewer of them a minute.
const MOST_POINTS: usize = 500;
/// Between two points of a short flight.
const APART: Duration = Duration::from_secs(1);
/// A jump faster than this is a mistake of the position, in metres a second.
const FASTEST: f64 = 60.0;

/// A point of the track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackPoint {
    /// Since the start was commanded.
    pub after: Duration,
    /// Where it was.
    pub at: Position,
    /// Metres above home.
    pub altitude: f64,
}

/// What a flight was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// From leaving the ground until it was down again, or as long as it was seen.
    pub time_aloft: Duration,
    /// Metres over ground.
    pub distance: f64,
    /// The farthest that it was from home, in metres.
    pub farthest: f64,
    /// The highest that it was above home, in metres.
    pub highest: f64,
    /// Percent of a full battery, where it tells its charge.
    pub battery_used: Option<u8>,
    /// Where it was, at most 500 points.
    pub track: Vec<TrackPoint>,
}

impl Summary {
    /// One line for people.
    pub fn text(&self) -> String {
        let seconds = self.time_aloft.as_secs();
        let battery = self
            .battery_used
            .map_or_else(String::new, |percent| format!(", {percent} % of the battery"));
        format!(
            "{} min {:02} s in the air, {:.0} m over ground, at most {:.0} m from home and {:.0} m high{battery}",
            seconds / 60,
            seconds % 60,
            self.distance,
            self.farthest,
            self.highest
        )
    }

    /// A GeoJSON Feature: the track as a line, `[longitude, latitude, metres above home]`, and the numbers as properties.
    /// A track of fewer than two points is no line: its geometry is null.
    pub fn to_geojson(&self) -> String {
        let mut json = String::from("{\"type\":\"Feature\",\"geometry\":");
        // Writing to a String does not fail.
        if self.track.len() < 2 {
            json.push_str("null");
        } else {
            json.push_str("{\"type\":\"LineString\",\"coordinates\":[");
            for (index, point) in self.track.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let (lat, lon) = (point.at.latitude, point.at.longitude);
                let _ = write!(json, "{comma}[{lon:.7},{lat:.7},{:.1}]", point.altitude);
            }
            json.push_str("]}");
        }
        let _ = write!(
            json,
            ",\"properties\":{{\"altitude\":\"metres above home\",\"time_aloft_seconds\":{},\"distance_metres\":{:.0},\"farthest_metres\":{:.0},\"highest_metres\":{:.0},\"battery_used_percent\":",
            self.time_aloft.as_secs(),
            self.distance,
            self.farthest,
            self.highest
        );
        match self.battery_used {
            Some(percent) => {
                let _ = write!(json, "{percent}");
            }
            None => json.push_str("null"),
        }
        json.push_str(",\"seconds\":[");
        for (index, point) in self.track.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(json, "{comma}{}", point.after.as_secs());
        }
        json.push_str("]}}");
        json
    }
}

/// Keeps the track and the sums while it flies.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    began: Option<BootTime>,
    left_ground: Option<BootTime>,
    last_seen: Option<BootTime>,
    home: Option<Position>,
    battery: Option<u8>,
    apart: Duration,
    last: Option<Fix>,
    /// The fastest over ground, in metres a second.
    fastest: f64,
    summary: Summary,
}

impl Log {
    /// The start was commanded.
    pub(super) fn begin(&mut self, vehicle: &Vehicle, now: BootTime) {
        self.began = Some(now);
        self.home = vehicle.home().map(|home| home.at);
        self.battery = vehicle.battery();
        self.apart = APART;
    }

    /// Looks at where it is.
    pub(super) fn look(&mut self, vehicle: &Vehicle, now: BootTime) {
        let Some(began) = self.began else { return };
        if vehicle.in_air(now) {
            self.left_ground.get_or_insert(now);
            self.last_seen = Some(now);
        }
        if let (Some(before), Some(after)) = (self.battery, vehicle.battery()) {
            self.summary.battery_used = Some(before.saturating_sub(after));
        }
        let Some(fix) = vehicle.fix(now) else { return };
        let Some(last) = self.last else {
            self.last = Some(fix);
            self.point(fix, began);
            return;
        };
        let passed = fix.at.saturating_since(last.at);
        if passed < APART {
            return;
        }
        let way = last.position.distance(fix.position);
        if way > FASTEST * passed.as_secs_f64() {
            return;
        }
        self.last = Some(fix);
        self.summary.distance += way;
        self.fastest = self.fastest.max(way / passed.as_secs_f64());
        self.summary.highest = self.summary.highest.max(fix.altitude);
        if let Some(home) = self.home {
            self.summary.farthest = self.summary.farthest.max(home.distance(fix.position));
        }
        let due = self
            .summary
            .track
            .last()
            .is_none_or(|point| fix.at.saturating_since(began) >= point.after.saturating_add(self.apart));
        if due {
            self.point(fix, began);
        }
    }

    fn point(&mut self, fix: Fix, began: BootTime) {
        self.summary.track.push(TrackPoint {
            after: fix.at.saturating_since(began),
            at: fix.position,
            altitude: fix.altitude,
        });
        if self.summary.track.len() >= MOST_POINTS {
            // Every second one goes, and from here on they come half as often.
            let mut keep = false;
            self.summary.track.retain(|_| {
                keep = !keep;
                keep
            });
            self.apart = self.apart.saturating_mul(2);
        }
    }

    /// The fastest that it was over ground, once it has gone far enough for that to say something; metres a second.
    pub(super) fn fastest(&self) -> Option<f64> {
        (self.summary.distance > 50.0).then_some(self.fastest)
    }

    /// What the flight was until now.
    pub(super) fn summary(&self) -> Summary {
        let mut summary = self.summary.clone();
        if let (Some(from), Some(to)) = (self.left_ground, self.last_seen) {
            summary.time_aloft = to.saturating_since(from);
        }
        // Where it ended.
        if let (Some(last), Some(began)) = (self.last, self.began) {
            let after = last.at.saturating_since(began);
            if summary.track.last().is_some_and(|point| point.after < after) {
                summary.track.push(TrackPoint {
                    after,
                    at: last.position,
                    altitude: last.altitude,
                });
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::wire::{Frame, Heard, Node};
    use super::*;

    const THEM: Node = Node {
        system: 1,
        component: 1,
    };

    /// Flies north at 5 m/s for some seconds, 20 m high.
    fn fly(seconds: u64) -> Summary {
        let home = Position::new(47.3977, 8.5456).unwrap();
        let mut vehicle = Vehicle::new(
            THEM,
            Node {
                system: 255,
                component: 191,
            },
        );
        let mut log = Log::default();
        let hear = |vehicle: &mut Vehicle, heard, now| vehicle.hear(&Frame { from: THEM, heard }, now);
        let at = |second: u64| BootTime::from_nanos(second * 1_000_000_000);
        let battery = |percent| Heard::SysStatus {
            present: 0,
            enabled: 0,
            health: 0,
            voltage: None,
            battery_remaining: Some(percent),
        };
        hear(
            &mut vehicle,
            Heard::HomePosition {
                at: home,
                altitude_msl: 400.0,
            },
            at(0),
        );
        hear(&mut vehicle, battery(90), at(0));
        log.begin(&vehicle, at(0));
        for second in 0..=seconds {
            let heard = Heard::GlobalPosition {
                // At second 7 it is far away for a moment.
                at: home.offset(if second == 7 { 9_000.0 } else { 0.0 }, 5.0 * second as f64),
                altitude_msl: 420.0,
                altitude: 20.0,
                north: 5.0,
                east: 0.0,
                down: 0.0,
            };
            hear(&mut vehicle, heard, at(second));
            log.look(&vehicle, at(second));
        }
        hear(&mut vehicle, battery(70), at(seconds));
        log.look(&vehicle, at(seconds));
        log.summary()
    }

    #[test]
    fn sums_are_those_of_the_flight() {
        let summary = fly(100);
        assert!((summary.distance - 500.0).abs() < 2.0, "{}", summary.distance);
        assert!((summary.farthest - 500.0).abs() < 2.0, "{}", summary.farthest);
        assert_eq!(
            (summary.time_aloft.as_secs(), summary.battery_used),
            (100, Some(20))
        );
        assert_eq!(
            summary.text(),
            "1 min 40 s in the air, 500 m over ground, at most 500 m from home and 20 m high, 20 % of the battery"
        );
    }

    #[test]
    fn a_long_track_keeps_its_shape_in_few_points() {
        let track = fly(4_000).track;
        assert!((250..=MOST_POINTS).contains(&track.len()), "{}", track.len());
        assert_eq!(track.last().map(|point| point.after.as_secs()), Some(4_000));
        assert_eq!(track[0].after, Duration::ZERO);
    }

    #[test]
    fn geojson_is_a_feature_with_a_line() {
        let json: serde_json::Value = serde_json::from_str(&fly(10).to_geojson()).unwrap();
        assert_eq!(json["geometry"]["type"], "LineString");
        let points = json["geometry"]["coordinates"].as_array().unwrap();
        assert_eq!(points[0], serde_json::json!([8.5456, 47.3977, 20.0]));
        assert_eq!(json["properties"]["battery_used_percent"], 20);
        assert_eq!(
            json["properties"]["seconds"].as_array().map(Vec::len),
            Some(points.len())
        );
        let none: serde_json::Value = serde_json::from_str(&Summary::default().to_geojson()).unwrap();
        assert!(none["geometry"].is_null());
    }
}
