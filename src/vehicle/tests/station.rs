//! A small ground station, for tests.

use std::time::Duration;

use mavlink::dialects::common::*;

use crate::vehicle::wire::{Came, Wire};
use crate::vehicle::{Config, Faults, Mode, Simulation, Truth};

pub(super) const MISSION: MavMissionType = MavMissionType::MAV_MISSION_TYPE_MISSION;
pub(super) const FENCE: MavMissionType = MavMissionType::MAV_MISSION_TYPE_FENCE;

/// A station and its vehicle, in a time of their own.
pub(super) struct Station {
    pub(super) simulation: Simulation,
    pub(super) now: Duration,
    /// Who it is.
    pub(super) node: (u8, u8),
    /// Whether it sends heartbeats.
    pub(super) alive: bool,
    pub(super) wire: Wire,
    beat: Duration,
    pub(super) heard: Vec<MavMessage>,
}

impl Station {
    pub(super) fn with(config: Config) -> Self {
        Station::faulty(config, Faults::default(), 1)
    }

    pub(super) fn faulty(config: Config, faults: Faults, seed: u64) -> Self {
        let signing = config.signing;
        Station {
            simulation: Simulation::new(config, faults, seed),
            now: Duration::ZERO,
            node: (255, 190),
            alive: true,
            wire: Wire::new(255, signing),
            beat: Duration::ZERO,
            heard: Vec::new(),
        }
    }

    pub(super) fn truth(&self) -> &Truth {
        self.simulation.truth()
    }

    pub(super) fn say(&mut self, message: &MavMessage) {
        let bytes = self.wire.encode_from(self.node, message);
        self.simulation.send(&bytes, self.now);
    }

    /// One step of time.
    fn step(&mut self) {
        if self.alive && self.now >= self.beat {
            self.beat = self.now + Duration::from_secs(1);
            self.say(&MavMessage::HEARTBEAT(HEARTBEAT_DATA {
                mavtype: MavType::MAV_TYPE_GCS,
                autopilot: MavAutopilot::MAV_AUTOPILOT_INVALID,
                ..HEARTBEAT_DATA::default()
            }));
        }
        self.now += Duration::from_millis(20);
        let bytes = self.simulation.advance(self.now);
        for incoming in self.wire.decode(&bytes) {
            if let Came::Message(message) = incoming.came {
                self.heard.push(*message);
            }
        }
    }

    pub(super) fn pass(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            self.step();
        }
    }

    /// Until the truth is as wished; stops the test if it never is.
    #[track_caller]
    pub(super) fn until(&mut self, seconds: f64, wish: impl Fn(&Truth) -> bool) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while !wish(self.truth()) {
            assert!(self.now < end, "not within {seconds} s: {:?}", self.truth());
            self.step();
        }
    }

    /// The first answer that fits, within some seconds.
    pub(super) fn answer<T>(&mut self, seconds: f64, fits: impl Fn(&MavMessage) -> Option<T>) -> Option<T> {
        let from = self.heard.len();
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            self.step();
            if let Some(found) = self.heard[from..].iter().find_map(&fits) {
                return Some(found);
            }
        }
        None
    }

    pub(super) fn command(&mut self, command: MavCmd, params: &[f32]) -> Option<MavResult> {
        let param = |index: usize| params.get(index).copied().unwrap_or(0.0);
        self.say(&MavMessage::COMMAND_LONG(COMMAND_LONG_DATA {
            param1: param(0),
            param2: param(1),
            param3: param(2),
            param4: param(3),
            param5: param(4),
            param6: param(5),
            param7: param(6),
            command,
            target_system: 1,
            target_component: 1,
            confirmation: 0,
        }));
        self.answer(2.0, |message| match message {
            MavMessage::COMMAND_ACK(ack) if ack.command == command => Some(ack.result),
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn accepted(&mut self, command: MavCmd, params: &[f32]) {
        assert_eq!(
            self.command(command, params),
            Some(MavResult::MAV_RESULT_ACCEPTED),
            "{command:?}"
        );
    }

    pub(super) fn set_mode(&mut self, mode: Mode) -> Option<MavResult> {
        let family = self.simulation.autopilot().config.family;
        let custom = mode.custom(family);
        let params = match family {
            crate::vehicle::Family::ArduPilot => [1.0, custom as f32, 0.0],
            crate::vehicle::Family::Px4 => [1.0, (custom >> 16 & 0xFF) as f32, (custom >> 24) as f32],
        };
        self.command(MavCmd::MAV_CMD_DO_SET_MODE, &params)
    }

    pub(super) fn arm(&mut self) -> Option<MavResult> {
        self.command(MavCmd::MAV_CMD_COMPONENT_ARM_DISARM, &[1.0])
    }

    /// Uploads a list, answering whatever is asked for, and tells the end.
    pub(super) fn upload(
        &mut self,
        list: MavMissionType,
        items: &[MISSION_ITEM_INT_DATA],
    ) -> Option<MavMissionResult> {
        self.say(&MavMessage::MISSION_COUNT(MISSION_COUNT_DATA {
            count: items.len() as u16,
            target_system: 1,
            target_component: 1,
            mission_type: list,
            opaque_id: 0,
        }));
        for _ in 0..4 * items.len() + 4 {
            let asked = self.answer(12.0, |message| match message {
                MavMessage::MISSION_ACK(ack) if ack.mission_type == list => Some(Err(ack.mavtype)),
                other => requested(other).map(Ok),
            })?;
            match asked {
                Err(result) => return Some(result),
                Ok(seq) => self.say(&MavMessage::MISSION_ITEM_INT(items[usize::from(seq)].clone())),
            }
        }
        None
    }

    pub(super) fn read_back(&mut self, list: MavMissionType) -> Vec<MISSION_ITEM_INT_DATA> {
        self.say(&MavMessage::MISSION_REQUEST_LIST(MISSION_REQUEST_LIST_DATA {
            target_system: 1,
            target_component: 1,
            mission_type: list,
        }));
        let count = self
            .answer(2.0, |message| match message {
                MavMessage::MISSION_COUNT(count) => Some(count.count),
                _ => None,
            })
            .unwrap();
        (0..count)
            .map(|seq| {
                self.say(&MavMessage::MISSION_REQUEST_INT(MISSION_REQUEST_INT_DATA {
                    seq,
                    target_system: 1,
                    target_component: 1,
                    mission_type: list,
                }));
                self.answer(2.0, |message| match message {
                    MavMessage::MISSION_ITEM_INT(item) if item.seq == seq => Some(item.clone()),
                    _ => None,
                })
                .unwrap()
            })
            .collect()
    }

    /// What it said, a line a text, long ones put together.
    pub(super) fn texts(&self) -> String {
        let mut texts = String::new();
        for message in &self.heard {
            if let MavMessage::STATUSTEXT(text) = message {
                if text.chunk_seq == 0 {
                    texts.push('\n');
                }
                texts.push_str(text.text.to_str().unwrap());
            }
        }
        texts
    }

    pub(super) fn heartbeat(&mut self) -> Option<HEARTBEAT_DATA> {
        self.answer(2.5, |message| match message {
            MavMessage::HEARTBEAT(heartbeat) if heartbeat.mavtype == MavType::MAV_TYPE_QUADROTOR => {
                Some(heartbeat.clone())
            }
            _ => None,
        })
    }

    pub(super) fn set_parameter(&mut self, name: &str, value: f32) {
        self.say(&MavMessage::PARAM_SET(PARAM_SET_DATA {
            param_value: value,
            target_system: 1,
            target_component: 1,
            param_id: name.into(),
            param_type: MavParamType::MAV_PARAM_TYPE_REAL32,
        }));
        self.pass(0.1);
        assert_eq!(
            self.simulation.autopilot().parameter(name),
            Some(f64::from(value))
        );
    }

    /// Guided, armed, and the mission begun.
    pub(super) fn take_off_with(&mut self, items: &[MISSION_ITEM_INT_DATA]) {
        assert_eq!(
            self.upload(MISSION, items),
            Some(MavMissionResult::MAV_MISSION_ACCEPTED)
        );
        assert_eq!(self.set_mode(Mode::Guided), Some(MavResult::MAV_RESULT_ACCEPTED));
        assert_eq!(self.arm(), Some(MavResult::MAV_RESULT_ACCEPTED));
        self.accepted(MavCmd::MAV_CMD_MISSION_START, &[]);
        self.until(20.0, Truth::airborne);
    }
}

#[allow(deprecated)]
fn requested(message: &MavMessage) -> Option<u16> {
    match message {
        MavMessage::MISSION_REQUEST(request) => Some(request.seq),
        MavMessage::MISSION_REQUEST_INT(request) => Some(request.seq),
        _ => None,
    }
}

/// Metres north and east of the vehicle's first place, as degrees on the wire.
pub(super) fn degrees(north: f64, east: f64) -> (i32, i32) {
    let (latitude, longitude, _) = Config::new(crate::vehicle::Family::ArduPilot).home;
    let x = latitude + north / 111_319.49;
    let y = longitude + east / 111_319.49 / latitude.to_radians().cos();
    ((x * 1e7) as i32, (y * 1e7) as i32)
}

#[allow(deprecated)]
pub(super) fn item(command: MavCmd, first: f32, place: Option<(f64, f64)>, z: f32) -> MISSION_ITEM_INT_DATA {
    let (x, y) = place.map_or((0, 0), |(north, east)| degrees(north, east));
    MISSION_ITEM_INT_DATA {
        param1: first,
        param2: 0.0,
        param3: 0.0,
        param4: f32::NAN,
        x,
        y,
        z,
        seq: 0,
        command,
        target_system: 1,
        target_component: 1,
        frame: MavFrame::MAV_FRAME_GLOBAL_RELATIVE_ALT_INT,
        current: 0,
        autocontinue: 1,
        mission_type: MISSION,
    }
}

/// Numbers the items.
pub(super) fn list(kind: MavMissionType, items: Vec<MISSION_ITEM_INT_DATA>) -> Vec<MISSION_ITEM_INT_DATA> {
    items
        .into_iter()
        .zip(0..)
        .map(|(item, seq)| MISSION_ITEM_INT_DATA {
            seq,
            mission_type: kind,
            ..item
        })
        .collect()
}

/// Home (for ArduPilot), up to 30 m, a point to the north with five seconds there, one to the east, and home.
pub(super) fn trip(north: f64) -> Vec<MISSION_ITEM_INT_DATA> {
    list(
        MISSION,
        vec![
            item(MavCmd::MAV_CMD_NAV_WAYPOINT, 0.0, Some((0.0, 0.0)), 0.0),
            item(MavCmd::MAV_CMD_NAV_TAKEOFF, 0.0, None, 30.0),
            item(MavCmd::MAV_CMD_NAV_WAYPOINT, 5.0, Some((north, 0.0)), 30.0),
            item(MavCmd::MAV_CMD_NAV_LOITER_TIME, 5.0, Some((north, 50.0)), 40.0),
            item(MavCmd::MAV_CMD_NAV_RETURN_TO_LAUNCH, 0.0, None, 0.0),
        ],
    )
}

/// A square of so many metres around home.
pub(super) fn yard(half: f64) -> Vec<MISSION_ITEM_INT_DATA> {
    let corners = [(-half, -half), (-half, half), (half, half), (half, -half)];
    let corner = |place| MISSION_ITEM_INT_DATA {
        param4: 0.0,
        ..item(
            MavCmd::MAV_CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION,
            4.0,
            Some(place),
            0.0,
        )
    };
    list(FENCE, corners.into_iter().map(corner).collect())
}
