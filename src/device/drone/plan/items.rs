//! The lists that an autopilot is given (MISSION_ITEM_INT).

use super::super::geo::{Polygon, Position};
use super::super::wire::number::{
    AUTOPILOT_PX4, CMD_DO_CHANGE_SPEED, CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION, CMD_NAV_LAND,
    CMD_NAV_RETURN_TO_LAUNCH, CMD_NAV_TAKEOFF, CMD_NAV_WAYPOINT, FRAME_GLOBAL, FRAME_GLOBAL_RELATIVE_ALT_INT,
    FRAME_MISSION,
};
use super::super::wire::{Item, ListKind};
use super::{Plan, Step};

/// Where the flight begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Home {
    /// Where.
    pub at: Position,
    /// Metres above the sea.
    pub altitude_msl: f64,
}

impl Plan {
    /// The mission as it is uploaded. `autopilot` is MAV_AUTOPILOT: ArduPilot keeps item 0 for home, PX4 does not, and wants
    /// to be told where to take off and that the heading is its own affair (NaN), which ArduPilot refuses in places.
    pub fn items(&self, home: Home, autopilot: u8) -> Vec<Item> {
        let px4 = autopilot == AUTOPILOT_PX4;
        let yaw = if px4 { f32::NAN } else { 0.0 };
        let mut list = List::default();
        let mut last = home.at;
        if !px4 {
            let to = Some(home.at);
            list.push(FRAME_GLOBAL, CMD_NAV_WAYPOINT, [0.0; 4], to, home.altitude_msl);
        }
        let relative = FRAME_GLOBAL_RELATIVE_ALT_INT;
        for step in &self.steps {
            match step {
                Step::Takeoff { altitude } => {
                    let to = px4.then_some(home.at);
                    list.push(relative, CMD_NAV_TAKEOFF, [0.0, 0.0, 0.0, yaw], to, *altitude);
                }
                Step::Waypoint { at, altitude, hold } => {
                    let params = [hold.as_secs_f32(), 0.0, 0.0, yaw];
                    list.push(relative, CMD_NAV_WAYPOINT, params, Some(*at), *altitude);
                    last = *at;
                }
                Step::Speed { speed } => {
                    // Over ground, the throttle as it is.
                    let params = [1.0, *speed as f32, -1.0, 0.0];
                    list.push(FRAME_MISSION, CMD_DO_CHANGE_SPEED, params, None, 0.0);
                }
                Step::Return => list.push(FRAME_MISSION, CMD_NAV_RETURN_TO_LAUNCH, [0.0; 4], None, 0.0),
                Step::Land { at } => {
                    // ArduPilot lands where it is when told nothing.
                    let to = at.or(px4.then_some(last));
                    list.push(relative, CMD_NAV_LAND, [0.0, 0.0, 0.0, yaw], to, 0.0);
                }
            }
        }
        list.items
    }
}

#[derive(Default)]
struct List {
    items: Vec<Item>,
}

impl List {
    fn push(&mut self, frame: u8, command: u16, params: [f32; 4], at: Option<Position>, altitude: f64) {
        let (x, y) = at.map_or((0, 0), Position::to_e7);
        self.items.push(Item {
            list: ListKind::Mission,
            // A plan has a bounded number of steps.
            seq: self.items.len() as u16,
            frame,
            command,
            current: self.items.is_empty(),
            autocontinue: true,
            params,
            x,
            y,
            z: altitude as f32,
        });
    }
}

/// The fence as it is uploaded: one polygon, to be stayed within.
pub fn fence_items(fence: &Polygon) -> Vec<Item> {
    let points = fence.points();
    points
        .iter()
        .enumerate()
        .map(|(index, point)| {
            let (x, y) = point.to_e7();
            Item {
                list: ListKind::Fence,
                seq: index as u16,
                frame: FRAME_GLOBAL,
                command: CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION,
                current: false,
                autocontinue: false,
                params: [points.len() as f32, 0.0, 0.0, 0.0],
                x,
                y,
                z: 0.0,
            }
        })
        .collect()
}
