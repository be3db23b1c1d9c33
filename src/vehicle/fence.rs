//! Polygons and circles that must not be left or entered.

use mavlink::dialects::common::MavCmd;

use super::lists::Item;
use super::place::{self, Plane, Point};

/// Whether the counts in the vertices fit: each polygon has three corners at least, and says how many.
pub(super) fn sound(items: &[Item]) -> bool {
    let mut rest = items;
    while let Some(first) = rest.first() {
        let size = if is_vertex(first) {
            first.params[0] as usize
        } else {
            1
        };
        let polygon = rest.get(..size);
        let fits = polygon.is_some_and(|corners| {
            !is_vertex(first)
                || corners.len() >= 3
                    && corners
                        .iter()
                        .all(|corner| corner.command == first.command && corner.params[0] == first.params[0])
        });
        if !fits {
            return false;
        }
        rest = &rest[size..];
    }
    true
}

fn is_vertex(item: &Item) -> bool {
    matches!(
        item.command,
        MavCmd::MAV_CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION
            | MavCmd::MAV_CMD_NAV_FENCE_POLYGON_VERTEX_EXCLUSION
    )
}

pub(super) fn outside(items: &[Item], plane: Plane, at: Point) -> bool {
    let mut rest = items;
    while let Some(first) = rest.first() {
        let size = if is_vertex(first) {
            (first.params[0] as usize).clamp(1, rest.len())
        } else {
            1
        };
        let corners: Vec<Point> = rest[..size].iter().filter_map(|item| item.point(plane)).collect();
        let within = if is_vertex(first) {
            inside(&corners, at)
        } else {
            corners
                .first()
                .is_some_and(|centre| place::distance(*centre, at) <= f64::from(first.params[0]))
        };
        let must_be_within = matches!(
            first.command,
            MavCmd::MAV_CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION | MavCmd::MAV_CMD_NAV_FENCE_CIRCLE_INCLUSION
        );
        if within != must_be_within {
            return true;
        }
        rest = &rest[size..];
    }
    false
}

/// Counts the edges to the north of a point.
fn inside(corners: &[Point], at: Point) -> bool {
    let mut odd = false;
    for (index, here) in corners.iter().enumerate() {
        let next = corners[(index + 1) % corners.len()];
        if (here[1] > at[1]) != (next[1] > at[1]) {
            let crossing = here[0] + (at[1] - here[1]) / (next[1] - here[1]) * (next[0] - here[0]);
            odd ^= crossing > at[0];
        }
    }
    odd
}

#[cfg(test)]
mod tests {
    use super::*;
    use mavlink::dialects::common::MavFrame;

    fn corner(command: MavCmd, count: f32, north: f64, east: f64) -> Item {
        let plane = Plane::around(60.0, 20.0);
        let (latitude, longitude) = plane.degrees([north, east]);
        Item {
            command,
            frame: MavFrame::MAV_FRAME_GLOBAL,
            params: [count, 0.0, 0.0, 0.0],
            x: place::to_wire(latitude),
            y: place::to_wire(longitude),
            z: 0.0,
        }
    }

    const IN: MavCmd = MavCmd::MAV_CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION;
    const OUT: MavCmd = MavCmd::MAV_CMD_NAV_FENCE_CIRCLE_EXCLUSION;

    fn yard() -> Vec<Item> {
        [
            (-50.0, -50.0),
            (-50.0, 50.0),
            (50.0, 50.0),
            (0.0, 0.0),
            (50.0, -50.0),
        ]
        .map(|(north, east)| corner(IN, 5.0, north, east))
        .to_vec()
    }

    #[test]
    fn the_inside_of_a_polygon_with_a_notch() {
        let plane = Plane::around(60.0, 20.0);
        for (at, out) in [
            ([-10.0, 0.0], false),
            ([10.0, 0.0], true),
            ([10.0, -40.0], false),
            ([10.0, 40.0], false),
            ([-60.0, 0.0], true),
        ] {
            assert_eq!(outside(&yard(), plane, at), out, "{at:?}");
        }
        assert!(!outside(&[], plane, [1e4, 1e4]), "no fence");
        let mut with_mast = yard();
        with_mast.push(corner(OUT, 5.0, -20.0, 20.0));
        assert!(sound(&with_mast));
        assert!(outside(&with_mast, plane, [-20.0, 22.0]));
        assert!(!outside(&with_mast, plane, [-20.0, 28.0]));
    }

    #[test]
    fn counts_must_fit() {
        assert!(sound(&yard()) && sound(&[]));
        assert!(!sound(&yard()[..4]), "a corner is missing");
        assert!(
            !sound(&[corner(IN, 2.0, 0.0, 0.0), corner(IN, 2.0, 1.0, 0.0)]),
            "no area"
        );
        assert!(!sound(&[corner(IN, 0.0, 0.0, 0.0)]), "a count of nothing");
    }
}
