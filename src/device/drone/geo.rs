//! Where things are on the Earth: positions, distances, polygons. Degrees are WGS 84, lengths are metres.
//!
//! A drone flies a few kilometres at most, so shapes are judged on a plane that touches the Earth at one of their
//! points: over 10 km that errs by less than a metre. Longitudes may cross the date line; the poles are refused.

/// Mean radius of the Earth, in metres.
const EARTH: f64 = 6_371_008.8;
/// Nearer to a pole than this, longitudes mean too little to be judged on a plane.
const MOST_LATITUDE: f64 = 85.0;

/// A point on the ground.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Degrees north, −85 to 85.
    pub latitude: f64,
    /// Degrees east, −180 to 180.
    pub longitude: f64,
}

/// Metres east and north of some origin.
type Flat = (f64, f64);

impl Position {
    /// A position, if the numbers can be one.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        // NaN is in no range.
        let sane =
            (-MOST_LATITUDE..=MOST_LATITUDE).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        sane.then_some(Position { latitude, longitude })
    }

    /// From degrees × 10⁷, as MAVLink has them.
    pub fn from_e7(latitude: i32, longitude: i32) -> Option<Self> {
        Position::new(f64::from(latitude) / 1e7, f64::from(longitude) / 1e7)
    }

    /// Degrees × 10⁷: latitude, longitude.
    pub fn to_e7(self) -> (i32, i32) {
        (
            (self.latitude * 1e7).round() as i32,
            (self.longitude * 1e7).round() as i32,
        )
    }

    /// Metres along the ground.
    pub fn distance(self, to: Position) -> f64 {
        let (from_lat, to_lat) = (self.latitude.to_radians(), to.latitude.to_radians());
        let lat = ((to_lat - from_lat) / 2.0).sin();
        let lon = ((to.longitude - self.longitude).to_radians() / 2.0).sin();
        let square = lat * lat + from_lat.cos() * to_lat.cos() * lon * lon;
        2.0 * EARTH * square.min(1.0).sqrt().asin()
    }

    /// Where one is so many metres east and north of here.
    pub fn offset(self, east: f64, north: f64) -> Position {
        let latitude = self.latitude + (north / EARTH).to_degrees();
        let longitude = self.longitude + (east / (EARTH * self.latitude.to_radians().cos())).to_degrees();
        Position {
            latitude,
            longitude: wrapped(longitude),
        }
    }

    /// Metres east and north of `origin`.
    fn flat(self, origin: Position) -> Flat {
        let east =
            wrapped(self.longitude - origin.longitude).to_radians() * origin.latitude.to_radians().cos();
        let north = (self.latitude - origin.latitude).to_radians();
        (east * EARTH, north * EARTH)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:.6},{:.6}", self.latitude, self.longitude)
    }
}

/// Into −180 to 180.
fn wrapped(longitude: f64) -> f64 {
    (longitude + 540.0).rem_euclid(360.0) - 180.0
}

/// A closed line around an area; its last point is joined to its first.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    points: Vec<Position>,
}

/// Why points are no area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPolygon {
    /// Too few or too many.
    #[error("a polygon has 3 to {most} points, not {0}", most = Polygon::MOST_POINTS)]
    Points(usize),
    /// Two of its sides cross or touch.
    #[error("its sides {0} and {1} cross or touch; list the points in their order around the area")]
    Crosses(usize, usize),
}

impl Polygon {
    /// What autopilots take without trouble.
    pub const MOST_POINTS: usize = 70;

    /// The area within these points.
    ///
    /// # Errors
    /// [`BadPolygon`].
    pub fn new(mut points: Vec<Position>) -> Result<Self, BadPolygon> {
        // As GeoJSON writes it.
        if points.len() > 3 && points.first() == points.last() {
            points.pop();
        }
        if !(3..=Self::MOST_POINTS).contains(&points.len()) {
            return Err(BadPolygon::Points(points.len()));
        }
        let polygon = Polygon { points };
        let sides: Vec<_> = polygon.sides().collect();
        for (first, a) in sides.iter().enumerate() {
            for (second, b) in sides.iter().enumerate().skip(first + 1) {
                let neighbours = second == first + 1 || (first == 0 && second == sides.len() - 1);
                // Neighbours share a point; they must not lie upon each other.
                let bad = if neighbours {
                    let shared = if second == first + 1 { b.0 } else { a.0 };
                    let (p, q) = if second == first + 1 {
                        (a.0, b.1)
                    } else {
                        (a.1, b.0)
                    };
                    folded(shared, p, q)
                } else {
                    meet(*a, *b)
                };
                if bad {
                    return Err(BadPolygon::Crosses(first + 1, second + 1));
                }
            }
        }
        Ok(polygon)
    }

    /// Its points, each once.
    pub fn points(&self) -> &[Position] {
        &self.points
    }

    /// On the plane that touches the Earth at its first point.
    fn flat(&self, point: Position) -> Flat {
        point.flat(self.points[0])
    }

    /// Its sides, on that plane.
    fn sides(&self) -> impl Iterator<Item = (Flat, Flat)> + '_ {
        let next = self.points.iter().cycle().skip(1);
        self.points
            .iter()
            .zip(next)
            .map(|(a, b)| (self.flat(*a), self.flat(*b)))
    }

    /// Whether a point is within, and not on the line.
    pub fn contains(&self, point: Position) -> bool {
        let (x, y) = self.flat(point);
        let on_line = self.sides().any(|side| on((x, y), side));
        let crossings = self.sides().filter(|((ax, ay), (bx, by))| {
            // Of the ray from the point to the east.
            (*ay > y) != (*by > y) && ax + (bx - ax) * ((y - ay) / (by - ay)) > x
        });
        crossings.count() % 2 == 1 && !on_line
    }

    /// Whether the whole straight way is within.
    pub fn contains_leg(&self, from: Position, to: Position) -> bool {
        let leg = (self.flat(from), self.flat(to));
        self.contains(from) && self.contains(to) && !self.sides().any(|side| meet(side, leg))
    }

    /// Whether everything between three points is within: one may go home from wherever one is on a leg.
    pub fn contains_triangle(&self, home: Position, a: Position, b: Position) -> bool {
        let within = self.contains_leg(home, a) && self.contains_leg(home, b) && self.contains_leg(a, b);
        let (home, a, b) = (self.flat(home), self.flat(a), self.flat(b));
        // Where no side crosses, the outside can reach in only with a corner of its own.
        within
            && !self.points.iter().any(|corner| {
                let corner = self.flat(*corner);
                let turns = [turn(home, a, corner), turn(a, b, corner), turn(b, home, corner)];
                turns.iter().all(|turn| *turn > 0.0) || turns.iter().all(|turn| *turn < 0.0)
            })
    }
}

/// Above zero: `c` lies to the left of the way from `a` to `b`.
fn turn(a: Flat, b: Flat, c: Flat) -> f64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

/// Whether a point lies on a segment.
fn on(point: Flat, (a, b): (Flat, Flat)) -> bool {
    let within = |p: f64, a: f64, b: f64| a.min(b) <= p && p <= a.max(b);
    turn(a, b, point) == 0.0 && within(point.0, a.0, b.0) && within(point.1, a.1, b.1)
}

/// Whether two segments have a point in common.
fn meet(first: (Flat, Flat), second: (Flat, Flat)) -> bool {
    let ((a, b), (c, d)) = (first, second);
    let apart = |x: f64, y: f64| (x > 0.0 && y < 0.0) || (x < 0.0 && y > 0.0);
    (apart(turn(a, b, c), turn(a, b, d)) && apart(turn(c, d, a), turn(c, d, b)))
        || on(c, first)
        || on(d, first)
        || on(a, second)
        || on(b, second)
}

/// Whether two sides that share a point go the same way from it.
fn folded(shared: Flat, p: Flat, q: Flat) -> bool {
    let (px, py) = (p.0 - shared.0, p.1 - shared.1);
    let (qx, qy) = (q.0 - shared.0, q.1 - shared.1);
    px * qy - py * qx == 0.0 && px * qx + py * qy >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOME: Position = Position {
        latitude: 47.3977,
        longitude: 8.5456,
    };

    /// A polygon by metres east and north of home.
    fn polygon(points: &[Flat]) -> Result<Polygon, BadPolygon> {
        Polygon::new(
            points
                .iter()
                .map(|(east, north)| HOME.offset(*east, *north))
                .collect(),
        )
    }

    fn square() -> Polygon {
        polygon(&[(-100.0, -100.0), (100.0, -100.0), (100.0, 100.0), (-100.0, 100.0)]).unwrap()
    }

    #[test]
    fn numbers_that_are_no_position_are_none() {
        for (lat, lon) in [(f64::NAN, 0.0), (0.0, f64::INFINITY), (85.1, 0.0), (0.0, -180.1)] {
            assert_eq!(Position::new(lat, lon), None, "{lat} {lon}");
        }
        assert!(Position::new(-85.0, 180.0).is_some());
        let there = Position::from_e7(473_977_000, 85_456_000).unwrap();
        assert_eq!(there.to_e7(), (473_977_000, 85_456_000));
        assert_eq!(Position::from_e7(i32::MAX, 0), None);
    }

    #[test]
    fn distances_are_those_of_the_earth() {
        // A degree of latitude; a degree of longitude at 60° north is half of one at the equator.
        let degree = EARTH.to_radians();
        let at = |lat, lon| Position::new(lat, lon).unwrap();
        assert!((at(0.0, 0.0).distance(at(1.0, 0.0)) - degree).abs() < 1e-6);
        assert!((at(60.0, 0.0).distance(at(60.0, 1.0)) / degree - 0.5).abs() < 1e-4);
        assert!(
            (at(0.0, 179.5).distance(at(0.0, -179.5)) - degree).abs() < 1e-6,
            "over the date line"
        );
    }

    #[test]
    fn within_is_within_and_the_line_is_outside() {
        let square = square();
        assert!(square.contains(HOME));
        assert!(square.contains(HOME.offset(99.9, 99.9)));
        assert!(!square.contains(HOME.offset(100.1, 0.0)));
        assert!(!square.contains(square.points()[0]), "a corner");
        let at = |lon| Position::new(0.0, lon).unwrap();
        let corner = |lat, lon| Position::new(lat, lon).unwrap();
        let date_line = Polygon::new(vec![
            corner(-0.1, 179.9),
            corner(-0.1, -179.9),
            corner(0.1, -179.9),
            corner(0.1, 179.9),
        ])
        .unwrap();
        assert!(date_line.contains(at(180.0)) && date_line.contains(at(-179.95)));
        assert!(!date_line.contains(at(0.0)) && !date_line.contains(at(179.8)));
    }

    #[test]
    fn a_leg_across_a_notch_is_not_within_though_its_ends_are() {
        // A square with a notch from the north down to the middle.
        let notched = polygon(&[
            (-100.0, -100.0),
            (100.0, -100.0),
            (100.0, 100.0),
            (10.0, 100.0),
            (0.0, 0.0),
            (-10.0, 100.0),
            (-100.0, 100.0),
        ])
        .unwrap();
        let (west, east) = (HOME.offset(-50.0, 50.0), HOME.offset(50.0, 50.0));
        assert!(notched.contains(west) && notched.contains(east));
        assert!(!notched.contains_leg(west, east));
        let south = HOME.offset(0.0, -50.0);
        assert!(notched.contains_leg(south, west) && notched.contains_leg(south, east));
        assert!(!notched.contains_triangle(south, west, east));
        assert!(notched.contains_triangle(south, west, HOME.offset(-50.0, 90.0)));
    }

    #[test]
    fn what_is_no_area_is_refused() {
        assert_eq!(polygon(&[(0.0, 0.0), (1.0, 0.0)]), Err(BadPolygon::Points(2)));
        let bow = polygon(&[(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)]);
        assert_eq!(bow, Err(BadPolygon::Crosses(1, 3)));
        let flat = polygon(&[(0.0, 0.0), (10.0, 0.0), (0.0, 0.0)]);
        assert!(flat.is_err(), "{flat:?}");
        assert_eq!(Polygon::new(vec![HOME; 72]), Err(BadPolygon::Points(71)));
        let closed = [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (0.0, 0.0)];
        assert_eq!(
            polygon(&closed).unwrap().points().len(),
            3,
            "closed as GeoJSON does"
        );
    }

    proptest! {
        #[test]
        fn an_offset_is_as_far_as_it_says(
            lat in -70.0..70.0, lon in -180.0..180.0, east in -2000.0..2000.0, north in -2000.0..2000.0
        ) {
            let from = Position::new(lat, lon).unwrap();
            let to = from.offset(east, north);
            let far = f64::hypot(east, north);
            prop_assert!((from.distance(to) - far).abs() < 0.5 + far * 0.002);
        }

        #[test]
        fn a_leg_within_has_every_point_within(
            a in (-150.0..150.0, -150.0..150.0), b in (-150.0..150.0, -150.0..150.0), part in 0.0..1.0
        ) {
            let square = square();
            let (from, to): ((f64, f64), (f64, f64)) = (a, b);
            let between = (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
            let at = |(east, north)| HOME.offset(east, north);
            let ends = square.contains(at(from)) && square.contains(at(to));
            prop_assert_eq!(square.contains_leg(at(from), at(to)), ends, "a square is convex");
            if ends {
                prop_assert!(square.contains(at(between)));
            }
        }
    }
}
