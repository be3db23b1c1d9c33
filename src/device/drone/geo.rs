//! Where things are on the Earth: positions, distances, polygons. Degrees are WGS 84, lengths are metres.

/// A point on the ground.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Degrees north, −90 to 90.
    pub latitude: f64,
    /// Degrees east, −180 to 180.
    pub longitude: f64,
}

/// A closed line around an area where flying is allowed; its last point is joined to its first.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon(pub Vec<Position>);
