//! What real autopilots were seen to do, one test each.

use super::station::*;
use crate::vehicle::{Config, Family, Mode, Signing};
use mavlink::dialects::common::*;
use std::time::Duration;

const ARM: MavCmd = MavCmd::MAV_CMD_COMPONENT_ARM_DISARM;

fn ardupilot() -> Station {
    let mut station = Station::with(Config::new(Family::ArduPilot).settled());
    station.pass(1.0);
    station
}

#[test]
#[allow(deprecated)]
fn uploads_ask_by_the_deprecated_request_and_px4_by_the_other() {
    let mut station = ardupilot();
    station.upload(MISSION, &trip(50.0));
    let old = |message: &MavMessage| matches!(message, MavMessage::MISSION_REQUEST(_));
    let new = |message: &MavMessage| matches!(message, MavMessage::MISSION_REQUEST_INT(_));
    assert!(station.heard.iter().any(old) && !station.heard.iter().any(new));
    let mut station = Station::with(Config::new(Family::Px4).settled());
    station.pass(1.0);
    station.upload(MISSION, &trip(50.0));
    assert!(!station.heard.iter().any(old) && station.heard.iter().any(new));
}

#[test]
fn while_it_boots_it_takes_no_mission_and_does_not_arm() {
    let mut station = Station::with(Config::new(Family::ArduPilot));
    station.pass(0.5);
    assert_eq!(
        station.upload(MISSION, &trip(50.0)),
        Some(MavMissionResult::MAV_MISSION_NO_SPACE)
    );
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_FAILED));
    assert!(station.texts().contains("Arm: System not initialised"));
    assert_eq!(
        station.set_mode(Mode::Guided),
        Some(MavResult::MAV_RESULT_TEMPORARILY_REJECTED)
    );
    assert_eq!(
        station.heartbeat().unwrap().system_status,
        MavState::MAV_STATE_BOOT
    );
    station.pass(4.0);
    assert_eq!(
        station.upload(MISSION, &trip(50.0)),
        Some(MavMissionResult::MAV_MISSION_ACCEPTED)
    );
}

#[test]
fn healthy_by_hand_but_guided_needs_a_position_first() {
    let mut station = Station::with(Config::new(Family::ArduPilot));
    station.pass(6.0);
    station.accepted(MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL, &[1.0, 200_000.0]);
    let healthy = |station: &mut Station| {
        station.answer(2.0, |message| match message {
            MavMessage::SYS_STATUS(status) => Some(
                status
                    .onboard_control_sensors_health
                    .contains(MavSysStatusSensor::MAV_SYS_STATUS_PREARM_CHECK),
            ),
            _ => None,
        })
    };
    assert_eq!(healthy(&mut station), Some(true));
    assert_eq!(
        station.set_mode(Mode::Guided),
        Some(MavResult::MAV_RESULT_ACCEPTED)
    );
    assert_eq!(healthy(&mut station), Some(false));
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_FAILED));
    assert!(station.texts().contains("Arm: Need Position Estimate"));
    station.accepted(MavCmd::MAV_CMD_RUN_PREARM_CHECKS, &[]);
    assert!(station.texts().contains("PreArm: Need Position Estimate"));
    assert!(station.truth().home.is_none());
    station.until(30.0, |truth| truth.home.is_some());
    let settled = station.now.as_secs_f64();
    assert!((15.0..=30.1).contains(&settled), "{settled}");
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_ACCEPTED));
    // Armed already: yes, and no checks now.
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_ACCEPTED));
    let checks = station.command(MavCmd::MAV_CMD_RUN_PREARM_CHECKS, &[]);
    assert_eq!(checks, Some(MavResult::MAV_RESULT_TEMPORARILY_REJECTED));
}

#[test]
fn a_start_while_disarmed_is_accepted_and_nothing_flies() {
    let mut station = ardupilot();
    station.upload(MISSION, &trip(50.0));
    station.accepted(MavCmd::MAV_CMD_MISSION_START, &[]);
    station.pass(20.0);
    assert!(!station.truth().armed && station.truth().take_offs.is_empty());
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_FAILED));
    assert!(station.texts().contains("Mode not armable"));
}

#[test]
fn a_refused_upload_leaves_a_mixture() {
    let mut station = ardupilot();
    station.upload(MISSION, &trip(50.0));
    let mut bad = trip(90.0);
    bad[3].x = 950_000_000;
    assert_eq!(
        station.upload(MISSION, &bad),
        Some(MavMissionResult::MAV_MISSION_INVALID_PARAM5_X)
    );
    let held = station.read_back(MISSION);
    assert_eq!(held.len(), 5);
    assert_eq!(held[2].x, bad[2].x, "new");
    assert_eq!(held[3].x, trip(50.0)[3].x, "old");
    // PX4 takes all or nothing.
    let mut station = Station::with(Config::new(Family::Px4).settled());
    station.pass(1.0);
    station.upload(MISSION, &trip(50.0));
    station.upload(MISSION, &bad);
    assert_eq!(station.read_back(MISSION)[2].x, trip(50.0)[2].x);
}

#[test]
#[allow(deprecated)]
fn what_is_read_back_differs_a_little_and_always_in_the_same_way() {
    let mut station = ardupilot();
    let sent = trip(50.0);
    station.upload(MISSION, &sent);
    let back = station.read_back(MISSION);
    let differs = |of: fn(&MISSION_ITEM_INT_DATA) -> f64| {
        sent.iter()
            .zip(&back)
            .skip(1)
            .any(|(sent, back)| of(sent) != of(back))
    };
    assert!(differs(|item| f64::from(item.y)) && differs(|item| f64::from(item.z)));
    for (sent, back) in sent.iter().zip(&back).skip(1) {
        assert_eq!(back.frame, MavFrame::MAV_FRAME_GLOBAL_RELATIVE_ALT);
        assert_eq!((sent.command, sent.x), (back.command, back.x));
        assert!(
            (sent.y - back.y).abs() <= 1 && (sent.z - back.z).abs() <= 0.09,
            "{sent:?} {back:?}"
        );
    }
    assert_eq!(back[0].frame, MavFrame::MAV_FRAME_GLOBAL, "item 0 is home");
    let again = station.read_back(MISSION);
    assert_eq!(format!("{again:?}"), format!("{back:?}"));
}

#[test]
fn each_rejection_has_its_name() {
    use MavMissionResult as Result_;
    let mut station = ardupilot();
    let with = |change: fn(&mut MISSION_ITEM_INT_DATA)| {
        let mut items = trip(50.0);
        change(&mut items[2]);
        items
    };
    for (items, result) in [
        (
            with(|item| item.command = MavCmd::MAV_CMD_DO_SET_SERVO),
            Result_::MAV_MISSION_UNSUPPORTED,
        ),
        (
            with(|item| item.frame = MavFrame::MAV_FRAME_LOCAL_NED),
            Result_::MAV_MISSION_UNSUPPORTED_FRAME,
        ),
        (
            with(|item| item.x = i32::MAX),
            Result_::MAV_MISSION_INVALID_PARAM5_X,
        ),
        (
            with(|item| item.y = i32::MAX),
            Result_::MAV_MISSION_INVALID_PARAM6_Y,
        ),
        (
            with(|item| item.z = f32::NAN),
            Result_::MAV_MISSION_INVALID_PARAM7,
        ),
        (
            with(|item| item.param1 = f32::NAN),
            Result_::MAV_MISSION_INVALID_PARAM1,
        ),
    ] {
        assert_eq!(station.upload(MISSION, &items), Some(result));
    }
    let mut open = yard(50.0);
    open.pop();
    assert_eq!(
        station.upload(FENCE, &open),
        Some(Result_::MAV_MISSION_INVALID_PARAM1)
    );
    assert_eq!(
        station.upload(FENCE, &yard(50.0)),
        Some(Result_::MAV_MISSION_ACCEPTED)
    );
    assert_eq!(
        station.upload(MavMissionType::MAV_MISSION_TYPE_RALLY, &[]),
        Some(Result_::MAV_MISSION_UNSUPPORTED)
    );
}

#[test]
#[allow(deprecated)]
fn a_stalled_upload_is_asked_for_each_second_and_given_up_after_eight() {
    let mut station = ardupilot();
    let count = MISSION_COUNT_DATA {
        count: 3,
        target_system: 1,
        target_component: 1,
        mission_type: MISSION,
        opaque_id: 0,
    };
    station.say(&MavMessage::MISSION_COUNT(count));
    let from = station.now;
    let result = station.answer(12.0, |message| match message {
        MavMessage::MISSION_ACK(ack) => Some(ack.mavtype),
        _ => None,
    });
    assert_eq!(result, Some(MavMissionResult::MAV_MISSION_OPERATION_CANCELLED));
    let took = (station.now - from).as_secs_f64();
    assert!((7.9..8.3).contains(&took), "{took}");
    let asked = station
        .heard
        .iter()
        .filter(|message| matches!(message, MavMessage::MISSION_REQUEST(request) if request.seq == 0))
        .count();
    assert_eq!(asked, 8);
}

#[test]
fn an_item_that_comes_twice_is_complained_about_and_the_upload_goes_on() {
    let mut station = ardupilot();
    let items = trip(50.0);
    station.say(&MavMessage::MISSION_COUNT(MISSION_COUNT_DATA {
        count: 5,
        target_system: 1,
        target_component: 1,
        mission_type: MISSION,
        opaque_id: 0,
    }));
    station.pass(0.1);
    for item in [&items[0], &items[0], &items[1], &items[2], &items[3], &items[4]] {
        station.say(&MavMessage::MISSION_ITEM_INT(item.clone()));
        station.pass(0.1);
    }
    let acks: Vec<MavMissionResult> = station
        .heard
        .iter()
        .filter_map(|message| match message {
            MavMessage::MISSION_ACK(ack) => Some(ack.mavtype),
            _ => None,
        })
        .collect();
    assert_eq!(
        acks,
        [
            MavMissionResult::MAV_MISSION_INVALID_SEQUENCE,
            MavMissionResult::MAV_MISSION_ACCEPTED
        ]
    );
}

#[test]
fn a_mission_that_is_flown_is_not_cleared() {
    let mut station = ardupilot();
    let clear = |station: &mut Station| {
        station.say(&MavMessage::MISSION_CLEAR_ALL(MISSION_CLEAR_ALL_DATA {
            target_system: 1,
            target_component: 1,
            mission_type: MISSION,
        }));
        station.answer(2.0, |message| match message {
            MavMessage::MISSION_ACK(ack) => Some(ack.mavtype),
            _ => None,
        })
    };
    station.take_off_with(&trip(50.0));
    assert_eq!(clear(&mut station), Some(MavMissionResult::MAV_MISSION_ERROR));
    station.until(200.0, |truth| !truth.armed);
    assert_eq!(clear(&mut station), Some(MavMissionResult::MAV_MISSION_ACCEPTED));
    assert_eq!(station.simulation.autopilot().list_lengths(), (0, 0));
}

#[test]
fn parameters_are_told_and_set_and_unknown_ones_are_met_with_silence() {
    let mut station = ardupilot();
    let ask = |station: &mut Station, name: &str| {
        station.say(&MavMessage::PARAM_REQUEST_READ(PARAM_REQUEST_READ_DATA {
            param_index: -1,
            target_system: 1,
            target_component: 1,
            param_id: name.into(),
        }));
        station.answer(2.0, |message| match message {
            MavMessage::PARAM_VALUE(value) => Some((value.param_value, value.param_type)),
            _ => None,
        })
    };
    let int8 = MavParamType::MAV_PARAM_TYPE_INT8;
    assert_eq!(ask(&mut station, "FS_GCS_ENABLE"), Some((0.0, int8)));
    station.set_parameter("FS_GCS_ENABLE", 1.0);
    assert_eq!(ask(&mut station, "FS_GCS_ENABLE"), Some((1.0, int8)));
    assert_eq!(ask(&mut station, "NO_SUCH_THING"), None);
    station.say(&MavMessage::PARAM_REQUEST_LIST(PARAM_REQUEST_LIST_DATA {
        target_system: 1,
        target_component: 1,
    }));
    station.heard.clear();
    station.pass(0.2);
    let told = |station: &Station| {
        station
            .heard
            .iter()
            .filter_map(|message| match message {
                MavMessage::PARAM_VALUE(value) => Some((value.param_count, value.param_index)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let all = told(&station);
    assert_eq!(all.len(), usize::from(all[0].0));
}

#[test]
fn a_slow_command_is_in_progress_and_its_repetition_is_not_done_twice() {
    let mut config = Config::new(Family::ArduPilot).settled();
    config.quirks.slow = Duration::from_secs(3);
    let mut station = Station::with(config);
    station.pass(1.0);
    station.set_mode(Mode::Guided);
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_IN_PROGRESS));
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_IN_PROGRESS));
    let end = station.answer(4.0, |message| match message {
        MavMessage::COMMAND_ACK(ack) if ack.command == ARM => Some(ack.result),
        _ => None,
    });
    assert_eq!(end, Some(MavResult::MAV_RESULT_ACCEPTED));
    assert_eq!(station.truth().arms.len(), 1);
}

#[test]
fn a_reason_that_never_goes_away_is_said_each_time() {
    let mut config = Config::new(Family::Px4).settled();
    config.quirks.refuses = Some("Compass 0 uncalibrated");
    let mut station = Station::with(config);
    station.pass(1.0);
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_TEMPORARILY_REJECTED));
    assert!(station.texts().contains("Preflight Fail: Compass 0 uncalibrated"));
}

#[test]
fn others_targets_are_left_alone() {
    let mut station = ardupilot();
    let mut order = COMMAND_LONG_DATA {
        command: MavCmd::MAV_CMD_REQUEST_MESSAGE,
        param1: 148.0,
        target_system: 2,
        target_component: 1,
        ..COMMAND_LONG_DATA::default()
    };
    station.say(&MavMessage::COMMAND_LONG(order.clone()));
    station.pass(1.0);
    assert!(station.truth().commands.is_empty());
    order.target_system = 0;
    order.target_component = 0;
    station.say(&MavMessage::COMMAND_LONG(order));
    station.pass(1.0);
    assert_eq!(station.truth().told(512), 1);
    assert_eq!(station.truth().commands[0].result, Some(0));
    assert_eq!(station.truth().commands[0].from, (255, 190));
}

#[test]
fn whoever_signs_wrongly_or_not_at_all_gets_no_answer() {
    let mut config = Config::new(Family::ArduPilot).settled();
    config.signing = Some(Signing {
        key: [7; 32],
        accept_unsigned: false,
        timestamp: 1_000_000,
    });
    let request = |station: &mut Station| station.command(MavCmd::MAV_CMD_REQUEST_MESSAGE, &[148.0]);
    let mut right = Station::with(config.clone());
    right.pass(1.0);
    assert_eq!(request(&mut right), Some(MavResult::MAV_RESULT_ACCEPTED));
    let mut unsigned = Station::with(config.clone());
    unsigned.wire = crate::vehicle::wire::Wire::new(255, None);
    unsigned.pass(1.0);
    assert_eq!(request(&mut unsigned), None);
    // What it hears is sound all the same.
    assert!(unsigned.heartbeat().is_some());
    let mut wrong = Station::with(config.clone());
    wrong.wire = crate::vehicle::wire::Wire::new(
        255,
        config.signing.map(|signing| Signing {
            key: [8; 32],
            ..signing
        }),
    );
    wrong.pass(1.0);
    assert_eq!(request(&mut wrong), None);
    assert!(wrong.truth().commands.is_empty());
}
