//! The mission protocol: lists come and go item by item (<https://mavlink.io/en/services/mission.html>).

use std::time::Duration;

use mavlink::dialects::common::{
    MISSION_ACK_DATA, MISSION_CLEAR_ALL_DATA, MISSION_COUNT_DATA, MISSION_ITEM_INT_DATA, MavCmd, MavFrame,
    MavMessage, MavMissionResult, MavMissionType, MavSeverity,
};

use super::autopilot::Autopilot;
use super::config::Family;
use super::fence;
use super::lists::{Item, ROOM};
use super::mode::Mode;
use super::place;
use super::truth::Event;

type Partner = (u8, u8);

/// An upload that goes on.
#[derive(Debug)]
pub(super) struct Upload {
    list: MavMissionType,
    partner: Partner,
    count: usize,
    taken: Vec<Item>,
    asked: Duration,
    heard: Duration,
}

/// After how long an item is asked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// After how long without an item an upload is given up.
const GIVEN_UP: Duration = Duration::from_secs(8);

impl Autopilot {
    fn acknowledge(&mut self, to: Partner, list: MavMissionType, result: MavMissionResult) {
        self.send(&MavMessage::MISSION_ACK(MISSION_ACK_DATA {
            target_system: to.0,
            target_component: to.1,
            mavtype: result,
            mission_type: list,
            opaque_id: 0,
        }));
    }

    /// MISSION_COUNT: somebody wants to upload.
    pub(super) fn begin_upload(&mut self, from: Partner, data: &MISSION_COUNT_DATA) {
        let list = data.mission_type;
        let count = usize::from(data.count);
        let refusal = if self.lists.of(list).is_none() {
            Some(MavMissionResult::MAV_MISSION_UNSUPPORTED)
        } else if !self.initialised() || count > ROOM {
            Some(MavMissionResult::MAV_MISSION_NO_SPACE)
        } else if self.upload.as_ref().is_some_and(|upload| upload.partner != from) {
            Some(MavMissionResult::MAV_MISSION_DENIED)
        } else {
            None
        };
        if let Some(result) = refusal {
            self.acknowledge(from, list, result);
            return;
        }
        self.upload = Some(Upload {
            list,
            partner: from,
            count,
            taken: Vec::new(),
            asked: self.now,
            heard: self.now,
        });
        if self.mixes() {
            // What is there stays until something else is put in its place.
            if let Some(items) = self.lists.of_mut(list) {
                items.truncate(count);
            }
        }
        if count == 0 {
            self.finish_upload();
        } else {
            self.ask();
        }
    }

    fn mixes(&self) -> bool {
        self.config.family == Family::ArduPilot && self.config.quirks.mixed_uploads
    }

    fn ask(&mut self) {
        let Some(upload) = &mut self.upload else { return };
        upload.asked = self.now;
        let (seq, to, mission_type) = (upload.taken.len() as u16, upload.partner, upload.list);
        let deprecated = self.config.family == Family::ArduPilot && self.config.quirks.deprecated_requests;
        let message = if deprecated {
            deprecated_request(seq, to, mission_type)
        } else {
            MavMessage::MISSION_REQUEST_INT(mavlink::dialects::common::MISSION_REQUEST_INT_DATA {
                seq,
                target_system: to.0,
                target_component: to.1,
                mission_type,
            })
        };
        self.send(&message);
    }

    /// MISSION_ITEM_INT.
    pub(super) fn take_item(&mut self, from: Partner, data: &MISSION_ITEM_INT_DATA) {
        let ardupilot = self.config.family == Family::ArduPilot;
        let Some(upload) = &mut self.upload else {
            if ardupilot {
                self.acknowledge(from, data.mission_type, MavMissionResult::MAV_MISSION_ERROR);
            }
            return;
        };
        if upload.partner != from || upload.list != data.mission_type {
            self.acknowledge(from, data.mission_type, MavMissionResult::MAV_MISSION_DENIED);
            return;
        }
        if usize::from(data.seq) != upload.taken.len() {
            if ardupilot && self.config.quirks.sequence_complaints {
                let result = MavMissionResult::MAV_MISSION_INVALID_SEQUENCE;
                self.acknowledge(from, data.mission_type, result);
            }
            return;
        }
        let item = Item::received(data);
        if let Err(result) = item.judge(self.config.family, upload.list) {
            self.refuse_upload(result);
            return;
        }
        upload.heard = self.now;
        let rounds = ardupilot && self.config.quirks.rounding;
        let seq = upload.taken.len();
        let item = if rounds { item.rounded(seq) } else { item };
        upload.taken.push(item);
        let (list, done) = (upload.list, upload.taken.len() == upload.count);
        // A fence is judged as a whole; a mission takes effect item by item.
        if self.mixes()
            && list == MavMissionType::MAV_MISSION_TYPE_MISSION
            && let Some(items) = self.lists.of_mut(list)
        {
            match items.get_mut(seq) {
                Some(place) => *place = item,
                None => items.push(item),
            }
        }
        if done {
            self.finish_upload();
        } else {
            self.ask();
        }
    }

    /// An item that cannot even be read: its command or its frame is none that we know.
    pub(super) fn unreadable(&mut self, from: Partner, message: u32) {
        const ITEM: u32 = 73;
        if message == ITEM && self.upload.as_ref().is_some_and(|upload| upload.partner == from) {
            self.refuse_upload(MavMissionResult::MAV_MISSION_UNSUPPORTED);
        }
    }

    fn refuse_upload(&mut self, result: MavMissionResult) {
        if let Some(upload) = self.upload.take() {
            self.acknowledge(upload.partner, upload.list, result);
        }
    }

    fn finish_upload(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let fence = upload.list == MavMissionType::MAV_MISSION_TYPE_FENCE;
        if fence && !fence::sound(&upload.taken) {
            let result = MavMissionResult::MAV_MISSION_INVALID_PARAM1;
            self.acknowledge(upload.partner, upload.list, result);
            return;
        }
        let count = upload.taken.len();
        if let Some(items) = self.lists.of_mut(upload.list) {
            *items = upload.taken;
        }
        if !fence && self.mode != Mode::Auto {
            self.reset_mission();
        }
        let result = MavMissionResult::MAV_MISSION_ACCEPTED;
        self.acknowledge(upload.partner, upload.list, result);
        self.event(Event::Uploaded(if fence { "fence" } else { "mission" }, count));
    }

    /// Asks again, and gives up.
    pub(super) fn step_upload(&mut self) {
        let Some(upload) = &self.upload else { return };
        if self.now - upload.heard >= GIVEN_UP {
            self.say(MavSeverity::MAV_SEVERITY_WARNING, "Mission upload timeout");
            self.refuse_upload(MavMissionResult::MAV_MISSION_OPERATION_CANCELLED);
        } else if self.now - upload.asked >= AGAIN {
            self.ask();
        }
    }

    /// MISSION_ACK: the other side gives up its upload.
    pub(super) fn stop_upload(&mut self, from: Partner, result: MavMissionResult) {
        let theirs = self.upload.as_ref().is_some_and(|upload| upload.partner == from);
        if theirs && result != MavMissionResult::MAV_MISSION_ACCEPTED {
            self.upload = None;
        }
    }

    /// MISSION_CLEAR_ALL.
    pub(super) fn clear_list(&mut self, from: Partner, data: &MISSION_CLEAR_ALL_DATA) {
        let list = data.mission_type;
        let all = list == MavMissionType::MAV_MISSION_TYPE_ALL;
        let missions = all || list == MavMissionType::MAV_MISSION_TYPE_MISSION;
        let flying = self.mode == Mode::Auto && self.armed && self.config.family == Family::ArduPilot;
        let result = if !self.initialised() || missions && flying {
            MavMissionResult::MAV_MISSION_ERROR
        } else {
            if missions {
                self.lists.mission.clear();
                self.reset_mission();
            }
            if all || list == MavMissionType::MAV_MISSION_TYPE_FENCE {
                self.lists.fence.clear();
            }
            MavMissionResult::MAV_MISSION_ACCEPTED
        };
        self.acknowledge(from, list, result);
    }

    /// MISSION_REQUEST_LIST.
    pub(super) fn tell_count(&mut self, from: Partner, list: MavMissionType) {
        let Some(count) = self.lists.of(list).map(Vec::len) else {
            self.acknowledge(from, list, MavMissionResult::MAV_MISSION_UNSUPPORTED);
            return;
        };
        if self.upload.is_some() {
            self.acknowledge(from, list, MavMissionResult::MAV_MISSION_DENIED);
            return;
        }
        self.send(&MavMessage::MISSION_COUNT(MISSION_COUNT_DATA {
            count: count as u16,
            target_system: from.0,
            target_component: from.1,
            mission_type: list,
            opaque_id: 0,
        }));
    }

    /// MISSION_REQUEST_INT, and MISSION_REQUEST, which is answered in the same way.
    pub(super) fn tell_item(&mut self, from: Partner, list: MavMissionType, seq: u16) {
        let found = self.lists.of(list).and_then(|items| items.get(usize::from(seq)));
        let Some(mut item) = found.copied() else {
            self.acknowledge(from, list, MavMissionResult::MAV_MISSION_INVALID_SEQUENCE);
            return;
        };
        let mission = list == MavMissionType::MAV_MISSION_TYPE_MISSION;
        if mission && seq == 0 && self.config.family == Family::ArduPilot {
            item = self.home_item();
        }
        let [param1, param2, param3, param4] = item.params;
        self.send(&MavMessage::MISSION_ITEM_INT(MISSION_ITEM_INT_DATA {
            param1,
            param2,
            param3,
            param4,
            x: item.x,
            y: item.y,
            z: item.z,
            seq,
            command: item.command,
            target_system: from.0,
            target_component: from.1,
            frame: item.frame,
            current: u8::from(mission && seq == self.progress.current),
            autocontinue: 1,
            mission_type: list,
        }));
    }

    /// ArduPilot's item 0 is home, whatever was uploaded there.
    fn home_item(&self) -> Item {
        let (latitude, longitude) = self.plane.degrees(self.home.unwrap_or_default());
        Item {
            command: MavCmd::MAV_CMD_NAV_WAYPOINT,
            frame: MavFrame::MAV_FRAME_GLOBAL,
            params: [0.0; 4],
            x: place::to_wire(latitude),
            y: place::to_wire(longitude),
            z: self.config.home.2 as f32,
        }
    }
}

#[allow(deprecated, reason = "that is what ArduPilot sends")]
fn deprecated_request(seq: u16, to: Partner, mission_type: MavMissionType) -> MavMessage {
    MavMessage::MISSION_REQUEST(mavlink::dialects::common::MISSION_REQUEST_DATA {
        seq,
        target_system: to.0,
        target_component: to.1,
        mission_type,
    })
}
