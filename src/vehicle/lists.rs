//! The mission and the fence as the vehicle holds them.

#![allow(deprecated, reason = "what was renamed in 2024 is still what everybody sends")]

use mavlink::dialects::common::{MISSION_ITEM_INT_DATA, MavCmd, MavFrame, MavMissionResult, MavMissionType};

use super::config::Family;
use super::fence;
use super::place::{self, Plane, Point};
use super::random::Random;

/// How many items a list may have.
pub(super) const ROOM: usize = 700;

/// An item as it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Item {
    pub(super) command: MavCmd,
    pub(super) frame: MavFrame,
    pub(super) params: [f32; 4],
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) z: f32,
}

impl Item {
    pub(super) fn received(data: &MISSION_ITEM_INT_DATA) -> Self {
        Item {
            command: data.command,
            frame: data.frame,
            params: [data.param1, data.param2, data.param3, data.param4],
            x: data.x,
            y: data.y,
            z: data.z,
        }
    }

    /// Where it is; nothing for “here”.
    pub(super) fn point(&self, plane: Plane) -> Option<Point> {
        (self.x != 0 || self.y != 0).then(|| plane.point(place::from_wire(self.x), place::from_wire(self.y)))
    }

    /// Metres above home, which lies so high above the sea.
    pub(super) fn height(&self, home: f64) -> f64 {
        match self.frame {
            MavFrame::MAV_FRAME_GLOBAL | MavFrame::MAV_FRAME_GLOBAL_INT => f64::from(self.z) - home,
            _ => f64::from(self.z),
        }
    }

    pub(super) fn goes_somewhere(&self) -> bool {
        matches!(
            self.command,
            MavCmd::MAV_CMD_NAV_WAYPOINT
                | MavCmd::MAV_CMD_NAV_LOITER_TIME
                | MavCmd::MAV_CMD_NAV_TAKEOFF
                | MavCmd::MAV_CMD_NAV_LAND
        )
    }

    /// What keeps it from being stored.
    pub(super) fn judge(&self, family: Family, list: MavMissionType) -> Result<(), MavMissionResult> {
        use MavMissionResult as Result_;
        let fence = list == MavMissionType::MAV_MISSION_TYPE_FENCE;
        let known = match self.command {
            MavCmd::MAV_CMD_NAV_RETURN_TO_LAUNCH | MavCmd::MAV_CMD_DO_CHANGE_SPEED => !fence,
            MavCmd::MAV_CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION
            | MavCmd::MAV_CMD_NAV_FENCE_POLYGON_VERTEX_EXCLUSION
            | MavCmd::MAV_CMD_NAV_FENCE_CIRCLE_INCLUSION
            | MavCmd::MAV_CMD_NAV_FENCE_CIRCLE_EXCLUSION => fence,
            _ => self.goes_somewhere() && !fence,
        };
        if !known {
            return Err(Result_::MAV_MISSION_UNSUPPORTED);
        }
        let placed = fence || self.goes_somewhere();
        let frame_known = match self.frame {
            MavFrame::MAV_FRAME_GLOBAL
            | MavFrame::MAV_FRAME_GLOBAL_INT
            | MavFrame::MAV_FRAME_GLOBAL_RELATIVE_ALT
            | MavFrame::MAV_FRAME_GLOBAL_RELATIVE_ALT_INT => true,
            MavFrame::MAV_FRAME_MISSION => !placed,
            _ => false,
        };
        if !frame_known {
            return Err(Result_::MAV_MISSION_UNSUPPORTED_FRAME);
        }
        // NaN means “your default”; ArduPilot knows it for the yaw alone.
        if family == Family::ArduPilot {
            for (value, result) in self.params.iter().zip([
                Result_::MAV_MISSION_INVALID_PARAM1,
                Result_::MAV_MISSION_INVALID_PARAM2,
                Result_::MAV_MISSION_INVALID_PARAM3,
            ]) {
                if !value.is_finite() {
                    return Err(result);
                }
            }
        }
        if placed && self.x.unsigned_abs() > 900_000_000 {
            return Err(Result_::MAV_MISSION_INVALID_PARAM5_X);
        }
        if placed && self.y.unsigned_abs() > 1_800_000_000 {
            return Err(Result_::MAV_MISSION_INVALID_PARAM6_Y);
        }
        if !self.z.is_finite() && placed {
            return Err(Result_::MAV_MISSION_INVALID_PARAM7);
        }
        Ok(())
    }

    /// As ArduPilot keeps it: whole seconds, centimetres, another name for the frame.
    pub(super) fn rounded(mut self, seq: usize) -> Self {
        if self.frame == MavFrame::MAV_FRAME_GLOBAL_RELATIVE_ALT_INT {
            self.frame = MavFrame::MAV_FRAME_GLOBAL_RELATIVE_ALT;
        }
        if self.frame == MavFrame::MAV_FRAME_GLOBAL_INT {
            self.frame = MavFrame::MAV_FRAME_GLOBAL;
        }
        let mut chance = Random::new(seq as u64);
        if self.goes_somewhere() {
            self.params[0] = self.params[0].trunc();
            if self.y != 0 {
                self.y += [-1, 0, 1][chance.below(3)];
            }
            if self.z != 0.0 {
                self.z += chance.between(-0.09, 0.09) as f32;
            }
        }
        if self.params[3].is_nan() {
            self.params[3] = 0.0;
        }
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) mission: Vec<Item>,
    pub(super) fence: Vec<Item>,
}

impl Lists {
    pub(super) fn of(&self, list: MavMissionType) -> Option<&Vec<Item>> {
        match list {
            MavMissionType::MAV_MISSION_TYPE_MISSION => Some(&self.mission),
            MavMissionType::MAV_MISSION_TYPE_FENCE => Some(&self.fence),
            _ => None,
        }
    }

    pub(super) fn of_mut(&mut self, list: MavMissionType) -> Option<&mut Vec<Item>> {
        match list {
            MavMissionType::MAV_MISSION_TYPE_MISSION => Some(&mut self.mission),
            MavMissionType::MAV_MISSION_TYPE_FENCE => Some(&mut self.fence),
            _ => None,
        }
    }

    /// Whether a point is outside the uploaded fence; never if there is none.
    pub(super) fn outside(&self, plane: Plane, at: Point) -> bool {
        fence::outside(&self.fence, plane, at)
    }
}
