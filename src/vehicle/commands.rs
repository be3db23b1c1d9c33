//! What comes over the wire is understood and obeyed, or not.

use std::time::Duration;

use mavlink::Message as _;
use mavlink::dialects::common::{
    COMMAND_ACK_DATA, MavCmd, MavMessage, MavModeFlag, MavResult, MavSeverity, PARAM_VALUE_DATA,
};

use super::autopilot::Autopilot;
use super::config::Family;
use super::mode::Mode;
use super::navigation::Task;
use super::truth::{Cause, Received};

/// With it arming and disarming skip every check.
const FORCE: f32 = 21196.0;
/// The autopilot restarts in so long after it was told to.
const RESTART: Duration = Duration::from_secs(2);

/// Something that comes later.
#[derive(Debug)]
pub(super) struct Pending {
    due: Duration,
    order: Order,
    /// The result to answer with; nothing if the order is still to be done.
    result: Option<MavResult>,
}

/// A command as it came, and where it is noted.
#[derive(Debug, Clone, Copy)]
struct Order {
    from: (u8, u8),
    command: MavCmd,
    params: [f32; 7],
    note: usize,
}

impl Autopilot {
    pub(super) fn hear(&mut self, from: (u8, u8), message: MavMessage) {
        if message
            .target_system_id()
            .is_some_and(|target| target != 0 && target != self.config.system)
            || message.target_component_id().is_some_and(|target| target > 1)
        {
            return;
        }
        match message {
            MavMessage::HEARTBEAT(data) => self.note_station(from, &data),
            MavMessage::COMMAND_LONG(data) => {
                let params = [
                    data.param1,
                    data.param2,
                    data.param3,
                    data.param4,
                    data.param5,
                    data.param6,
                    data.param7,
                ];
                self.command(from, data.command, params, data.confirmation);
            }
            MavMessage::COMMAND_INT(data) => {
                let params = [
                    data.param1,
                    data.param2,
                    data.param3,
                    data.param4,
                    data.x as f32 / 1e7,
                    data.y as f32 / 1e7,
                    data.z,
                ];
                self.command(from, data.command, params, 0);
            }
            MavMessage::MISSION_COUNT(data) => self.begin_upload(from, &data),
            MavMessage::MISSION_ITEM_INT(data) => self.take_item(from, &data),
            MavMessage::MISSION_ACK(data) => self.stop_upload(from, data.mavtype),
            MavMessage::MISSION_CLEAR_ALL(data) => self.clear_list(from, &data),
            MavMessage::MISSION_REQUEST_LIST(data) => self.tell_count(from, data.mission_type),
            MavMessage::MISSION_REQUEST_INT(data) => self.tell_item(from, data.mission_type, data.seq),
            MavMessage::PARAM_REQUEST_READ(data) => {
                let index = match usize::try_from(data.param_index) {
                    Ok(index) => Some(index),
                    Err(_) => data
                        .param_id
                        .to_str()
                        .ok()
                        .and_then(|name| self.params.index(name)),
                };
                index.into_iter().for_each(|index| self.tell_parameter(index));
            }
            MavMessage::PARAM_REQUEST_LIST(_) => {
                (0..self.params.len()).for_each(|index| self.tell_parameter(index));
            }
            MavMessage::PARAM_SET(data) => {
                let name = data.param_id.to_str().unwrap_or_default();
                if self.params.set(name, data.param_value, data.param_type) {
                    self.params
                        .index(name)
                        .into_iter()
                        .for_each(|index| self.tell_parameter(index));
                }
            }
            other => self.hear_deprecated(from, other),
        }
    }

    #[allow(deprecated, reason = "ground stations still send them")]
    fn hear_deprecated(&mut self, from: (u8, u8), message: MavMessage) {
        match message {
            MavMessage::MISSION_REQUEST(data) => self.tell_item(from, data.mission_type, data.seq),
            MavMessage::MISSION_SET_CURRENT(data) => {
                self.choose_item(data.seq);
            }
            MavMessage::SET_MODE(data) => {
                if let Some(mode) = Mode::from_custom(self.config.family, data.custom_mode) {
                    self.set_mode(mode, Cause::Command(from.0, from.1));
                }
            }
            _ => {}
        }
    }

    fn tell_parameter(&mut self, index: usize) {
        let Some(param) = self.params.at(index) else {
            return;
        };
        let message = MavMessage::PARAM_VALUE(PARAM_VALUE_DATA {
            param_value: self.params.encode(param),
            param_count: self.params.len() as u16,
            param_index: index as u16,
            param_id: param.name.into(),
            param_type: param.wire_type(),
        });
        self.send(&message);
    }

    fn command(&mut self, from: (u8, u8), command: MavCmd, params: [f32; 7], confirmation: u8) {
        let number = command as u16;
        let order = Order {
            from,
            command,
            params,
            note: self.truth.commands.len(),
        };
        self.truth.commands.push(Received {
            at: self.now,
            from,
            command: number,
            confirmation,
            params,
            result: None,
        });
        let in_progress = |pending: &Pending| {
            pending.result.is_none() && pending.order.command == command && pending.order.from == from
        };
        if self.pending.iter().any(in_progress) {
            self.answer(order, MavResult::MAV_RESULT_IN_PROGRESS);
            return;
        }
        if let Some(result) = self.lasting.refusal(number) {
            self.answer(order, result_of(result));
            return;
        }
        let takes_time = matches!(
            command,
            MavCmd::MAV_CMD_COMPONENT_ARM_DISARM | MavCmd::MAV_CMD_RUN_PREARM_CHECKS
        );
        if takes_time && !self.config.quirks.slow.is_zero() {
            self.pending.push(Pending {
                due: self.now + self.config.quirks.slow,
                order,
                result: None,
            });
            self.answer(order, MavResult::MAV_RESULT_IN_PROGRESS);
            return;
        }
        let result = self.obey(order);
        self.answer(order, result);
    }

    /// Does what is due, answers what is due.
    pub(super) fn step_commands(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| pending.due <= now);
        self.pending = later;
        for pending in due {
            match pending.result {
                Some(result) => self.acknowledge_command(pending.order, result),
                None => {
                    let result = self.obey(pending.order);
                    self.answer(pending.order, result);
                }
            }
        }
    }

    fn answer(&mut self, order: Order, result: MavResult) {
        let slowness = self.lasting.slowness();
        if slowness.is_zero() {
            self.acknowledge_command(order, result);
        } else {
            self.pending.push(Pending {
                due: self.now + slowness,
                order,
                result: Some(result),
            });
        }
    }

    fn acknowledge_command(&mut self, order: Order, result: MavResult) {
        if self.lasting.unanswered(order.command as u16) {
            return;
        }
        if let Some(note) = self.truth.commands.get_mut(order.note) {
            note.result = Some(result as u8);
        }
        self.send(&MavMessage::COMMAND_ACK(COMMAND_ACK_DATA {
            command: order.command,
            result,
            progress: if result == MavResult::MAV_RESULT_IN_PROGRESS {
                255
            } else {
                0
            },
            result_param2: 0,
            target_system: order.from.0,
            target_component: order.from.1,
        }));
    }

    /// What a family answers when it won't, now.
    fn not_now(&self) -> MavResult {
        match self.config.family {
            Family::ArduPilot => MavResult::MAV_RESULT_FAILED,
            Family::Px4 => MavResult::MAV_RESULT_TEMPORARILY_REJECTED,
        }
    }

    fn mode_result(&mut self, mode: Mode, order: Order) -> MavResult {
        if self.set_mode(mode, Cause::Command(order.from.0, order.from.1)) {
            MavResult::MAV_RESULT_ACCEPTED
        } else {
            self.not_now()
        }
    }

    fn obey(&mut self, order: Order) -> MavResult {
        let [first, second, third, ..] = order.params;
        let arming = order.command == MavCmd::MAV_CMD_COMPONENT_ARM_DISARM;
        if !self.initialised() && !arming {
            return MavResult::MAV_RESULT_TEMPORARILY_REJECTED;
        }
        match order.command {
            MavCmd::MAV_CMD_COMPONENT_ARM_DISARM => self.arm_or_disarm(first, second == FORCE),
            MavCmd::MAV_CMD_RUN_PREARM_CHECKS => {
                if self.armed {
                    return MavResult::MAV_RESULT_TEMPORARILY_REJECTED;
                }
                let objections = self.objections();
                self.object(&objections, false);
                MavResult::MAV_RESULT_ACCEPTED
            }
            MavCmd::MAV_CMD_DO_SET_MODE => {
                if first as u8 & MavModeFlag::MAV_MODE_FLAG_CUSTOM_MODE_ENABLED.bits() == 0 {
                    return MavResult::MAV_RESULT_DENIED;
                }
                match Mode::from_parameters(self.config.family, second, third) {
                    Some(mode) => self.mode_result(mode, order),
                    None => self.not_now(),
                }
            }
            MavCmd::MAV_CMD_NAV_RETURN_TO_LAUNCH => self.mode_result(Mode::Return, order),
            MavCmd::MAV_CMD_NAV_LAND => self.mode_result(Mode::Land, order),
            MavCmd::MAV_CMD_NAV_TAKEOFF => self.take_off(order),
            MavCmd::MAV_CMD_MISSION_START => self.start_mission(order),
            MavCmd::MAV_CMD_DO_SET_MISSION_CURRENT => {
                if self.choose_item(first as u16) {
                    MavResult::MAV_RESULT_ACCEPTED
                } else {
                    MavResult::MAV_RESULT_FAILED
                }
            }
            MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL => self.set_interval(first as u32, second),
            MavCmd::MAV_CMD_REQUEST_MESSAGE => self.send_once(first as u32),
            MavCmd::MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN if first == 1.0 && !self.armed => {
                self.restart(RESTART);
                MavResult::MAV_RESULT_ACCEPTED
            }
            MavCmd::MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN => MavResult::MAV_RESULT_DENIED,
            _ => MavResult::MAV_RESULT_UNSUPPORTED,
        }
    }

    fn arm_or_disarm(&mut self, wish: f32, force: bool) -> MavResult {
        if wish == 0.0 {
            if self.airborne && !force {
                return self.not_now();
            }
            self.set_armed(false);
            return MavResult::MAV_RESULT_ACCEPTED;
        }
        if wish != 1.0 {
            return MavResult::MAV_RESULT_UNSUPPORTED;
        }
        if self.armed {
            return MavResult::MAV_RESULT_ACCEPTED;
        }
        let mut objections = self.objections();
        if !self.armable_mode() {
            objections.push("Mode not armable".to_owned());
        }
        let forced = force && self.initialised();
        if !objections.is_empty() && !forced {
            self.object(&objections, true);
            return self.not_now();
        }
        self.set_armed(true);
        // PX4 flies what its mode says as soon as it is armed.
        if self.config.family == Family::Px4 && self.armed && self.mode == Mode::Auto {
            self.run_mission();
        }
        MavResult::MAV_RESULT_ACCEPTED
    }

    fn take_off(&mut self, order: Order) -> MavResult {
        if !self.armed || self.airborne || !self.position_known() {
            return self.not_now();
        }
        if self.config.family == Family::Px4 {
            return self.mode_result(Mode::TakeOff, order);
        }
        let height = f64::from(order.params[6]);
        if self.mode != Mode::Guided || height.is_nan() || height <= 0.0 {
            return MavResult::MAV_RESULT_FAILED;
        }
        self.task = Task::TakeOff {
            at: self.body.at,
            height,
        };
        MavResult::MAV_RESULT_ACCEPTED
    }

    fn start_mission(&mut self, order: Order) -> MavResult {
        if order.params[0] != 0.0 || order.params[1] != 0.0 {
            return MavResult::MAV_RESULT_DENIED;
        }
        match self.config.family {
            Family::ArduPilot => {
                if !self.armed && !self.config.quirks.start_disarmed {
                    return MavResult::MAV_RESULT_FAILED;
                }
                let result = self.mode_result(Mode::Auto, order);
                if result == MavResult::MAV_RESULT_ACCEPTED && self.armed && self.task == Task::Idle {
                    self.run_mission();
                }
                result
            }
            // PX4 arms by itself.
            Family::Px4 => {
                if self.mode_result(Mode::Auto, order) != MavResult::MAV_RESULT_ACCEPTED {
                    return MavResult::MAV_RESULT_DENIED;
                }
                if self.armed {
                    return MavResult::MAV_RESULT_ACCEPTED;
                }
                let result = self.arm_or_disarm(1.0, false);
                if result != MavResult::MAV_RESULT_ACCEPTED {
                    self.say(MavSeverity::MAV_SEVERITY_CRITICAL, "Mission start denied");
                }
                result
            }
        }
    }
}

fn result_of(number: u8) -> MavResult {
    [
        MavResult::MAV_RESULT_ACCEPTED,
        MavResult::MAV_RESULT_TEMPORARILY_REJECTED,
        MavResult::MAV_RESULT_DENIED,
        MavResult::MAV_RESULT_UNSUPPORTED,
        MavResult::MAV_RESULT_FAILED,
        MavResult::MAV_RESULT_IN_PROGRESS,
        MavResult::MAV_RESULT_CANCELLED,
    ]
    .into_iter()
    .find(|result| *result as u8 == number)
    .unwrap_or(MavResult::MAV_RESULT_FAILED)
}
