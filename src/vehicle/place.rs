//! A flat piece of the world around where the vehicle was switched on.

/// Metres to a degree of latitude on the WGS84 equator's sphere; over the few kilometres of a flight nothing else matters.
const METRES_PER_DEGREE: f64 = 111_319.490_793;

/// Metres north and east of the origin.
pub(super) type Point = [f64; 2];

/// The origin, in degrees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane {
    latitude: f64,
    longitude: f64,
    narrowing: f64,
}

impl Plane {
    pub(super) fn around(latitude: f64, longitude: f64) -> Self {
        Plane {
            latitude,
            longitude,
            narrowing: latitude.to_radians().cos().max(0.01),
        }
    }

    pub(super) fn point(self, latitude: f64, longitude: f64) -> Point {
        [
            (latitude - self.latitude) * METRES_PER_DEGREE,
            (longitude - self.longitude) * METRES_PER_DEGREE * self.narrowing,
        ]
    }

    pub(super) fn degrees(self, at: Point) -> (f64, f64) {
        (
            self.latitude + at[0] / METRES_PER_DEGREE,
            self.longitude + at[1] / METRES_PER_DEGREE / self.narrowing,
        )
    }
}

pub(super) fn distance(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// Degrees as they go over the wire.
pub(super) fn to_wire(degrees: f64) -> i32 {
    (degrees * 1e7).round() as i32
}

pub(super) fn from_wire(wire: i32) -> f64 {
    f64::from(wire) / 1e7
}
