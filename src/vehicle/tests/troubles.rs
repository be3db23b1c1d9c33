//! What is done to the vehicle and to the wire.

use super::station::*;
use crate::vehicle::{Cause, Config, Event, Family, Mode, Moment, Trouble, Truth};
use mavlink::dialects::common::*;
use std::time::Duration;

fn with_faults(faults: &str) -> Station {
    let config = Config::new(Family::ArduPilot).settled();
    let mut station = Station::faulty(config, faults.parse().unwrap(), 5);
    station.pass(1.0);
    station
}

#[test]
fn the_pilot_takes_over_and_nothing_else_moves_it() {
    let mut station = with_faults("pilot=loiter@air+10");
    station.take_off_with(&trip(200.0));
    station.until(12.0, |truth| truth.mode == Mode::Loiter);
    assert_eq!(station.truth().modes.last().unwrap().2, Cause::Pilot);
    let heartbeat = station.heartbeat().unwrap();
    assert_eq!(heartbeat.custom_mode, 5);
    station.pass(20.0);
    assert!(station.truth().airborne() && station.truth().speed < 0.1);
}

#[test]
fn a_reboot_on_the_ground_begins_anew_but_keeps_the_mission() {
    let mut station = Station::with(Config::new(Family::ArduPilot));
    station.pass(35.0);
    station.accepted(MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL, &[33.0, 200_000.0]);
    station.upload(MISSION, &trip(50.0));
    station.set_mode(Mode::Guided);
    station.arm();
    station.simulation.trouble(Trouble::Reboot);
    station.heard.clear();
    station.pass(1.0);
    assert!(station.heard.is_empty(), "silent at first");
    assert!(!station.truth().armed && station.truth().mode == Mode::Stabilize);
    station.pass(1.0);
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_FAILED));
    station.pass(40.0);
    assert!(
        !station
            .heard
            .iter()
            .any(|message| matches!(message, MavMessage::GLOBAL_POSITION_INT(_)))
    );
    assert_eq!(station.read_back(MISSION).len(), 5);
    assert_eq!(station.truth().boots, 2);
}

#[test]
fn a_reboot_in_the_air_comes_back_armed_and_landing() {
    let mut station = with_faults("reboot@air+15");
    station.take_off_with(&trip(200.0));
    station.until(16.0, |truth| truth.boots == 2);
    station.heard.clear();
    station.pass(1.0);
    assert!(station.heard.is_empty());
    let heartbeat = station.heartbeat().unwrap();
    assert!(
        heartbeat
            .base_mode
            .contains(MavModeFlag::MAV_MODE_FLAG_SAFETY_ARMED)
    );
    assert_eq!(heartbeat.custom_mode, 9);
    station.until(100.0, |truth| !truth.armed);
    assert_eq!(
        (station.truth().landings.len(), station.truth().crashed),
        (1, false)
    );
}

#[test]
fn answers_may_be_hollow_refusing_late_or_missing() {
    const ARM: MavCmd = MavCmd::MAV_CMD_COMPONENT_ARM_DISARM;
    let mut station = with_faults("hollow=400/10@0");
    station.set_mode(Mode::Guided);
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_ACCEPTED));
    assert!(!station.truth().armed);
    station.pass(10.0);
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_ACCEPTED));
    assert!(station.truth().armed);

    let mut station = with_faults("refuse=400/1/60@0");
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_TEMPORARILY_REJECTED));

    let mut station = with_faults("mute=400/60@0");
    station.set_mode(Mode::Guided);
    assert_eq!(station.arm(), None);
    assert!(station.truth().armed);

    let mut station = with_faults("slow=3/60@0");
    station.set_mode(Mode::Guided);
    assert_eq!(station.arm(), None);
    assert!(station.truth().armed);
    let late = station.answer(2.0, |message| match message {
        MavMessage::COMMAND_ACK(ack) if ack.command == ARM => Some(ack.result),
        _ => None,
    });
    assert_eq!(late, Some(MavResult::MAV_RESULT_ACCEPTED));
}

#[test]
fn stuck_arming_holds_whatever_is_answered() {
    let mut station = with_faults("");
    station.take_off_with(&trip(30.0));
    station
        .simulation
        .trouble(Trouble::StuckArming(Duration::from_secs(200)));
    station.until(150.0, |truth| !truth.landings.is_empty());
    station.pass(20.0);
    station.accepted(MavCmd::MAV_CMD_COMPONENT_ARM_DISARM, &[0.0]);
    assert!(station.truth().armed && !station.truth().airborne());
    station.until(100.0, |truth| !truth.armed);
}

#[test]
fn a_gust_carries_it_off_and_it_comes_back() {
    let mut station = with_faults("gust=25/0/10@air+30");
    let mut stay = trip(30.0);
    stay[2].param1 = 60.0;
    station.take_off_with(&stay);
    station.pass(40.0);
    let (latitude, _) = degrees(30.0, 0.0);
    let away = (f64::from(latitude) / 1e7 - station.truth().latitude) * 111_319.49;
    assert!(away > 30.0, "{away}");
    station.pass(20.0);
    let away = (f64::from(latitude) / 1e7 - station.truth().latitude) * 111_319.49;
    assert!(away.abs() < 3.0, "{away}");
}

#[test]
fn another_station_with_our_id_is_heard() {
    let mut station = with_faults("station=255/191/5@0");
    station.pass(3.0);
    let stations = station
        .heard
        .iter()
        .filter(
            |message| matches!(message, MavMessage::HEARTBEAT(beat) if beat.mavtype == MavType::MAV_TYPE_GCS),
        )
        .count();
    assert!(stations >= 3, "{stations}");
    station.pass(3.0);
    station.heard.clear();
    station.pass(3.0);
    assert_eq!(station.heard.len(), 3, "the vehicle's own");
}

#[test]
fn silence_and_a_pulled_cable_begin_when_they_should() {
    let mut station = with_faults("silence=5@air+5 unplug=4@air+20");
    station.take_off_with(&trip(200.0));
    station.pass(5.2);
    station.heard.clear();
    station.pass(4.0);
    assert!(station.heard.is_empty() && station.simulation.plugged());
    station.pass(4.0);
    assert!(!station.heard.is_empty());
    station.until(10.0, |truth| Moment::Air(Duration::from_secs(20)).has_come(truth));
    station.pass(0.1);
    assert!(!station.simulation.plugged());
    station.pass(4.0);
    assert!(station.simulation.plugged());
    let told = station
        .simulation
        .take_events()
        .into_iter()
        .filter(|(_, event)| matches!(event, Event::Trouble(_)))
        .count();
    assert_eq!(told, 2);
}

#[test]
fn a_mission_gets_through_a_bad_wire() {
    for seed in 0..20 {
        let config = Config::new(Family::ArduPilot).settled();
        let faults = "loss=0.1 corrupt=0.02 duplicate=0.05 reorder=0.05 jitter=0.1"
            .parse()
            .unwrap();
        let mut station = Station::faulty(config, faults, seed);
        station.pass(1.0);
        let mut tries = 0;
        while station.upload(MISSION, &trip(50.0)) != Some(MavMissionResult::MAV_MISSION_ACCEPTED) {
            tries += 1;
            assert!(tries < 10, "seed {seed}");
        }
        assert_eq!(station.simulation.autopilot().list_lengths().0, 5);
        for _ in 0..20 {
            station.set_mode(Mode::Guided);
            station.arm();
            station.command(MavCmd::MAV_CMD_MISSION_START, &[]);
            if station.truth().mode == Mode::Auto && station.truth().armed {
                break;
            }
        }
        station.until(20.0, Truth::airborne);
    }
}

#[test]
fn no_nonsense_stops_it() {
    const ODD: [f32; 9] = [f32::NAN, f32::INFINITY, -1.0, 0.0, 1.0, 2.0, 4.0, 21196.0, 1e30];
    const COMMANDS: [MavCmd; 14] = [
        MavCmd::MAV_CMD_COMPONENT_ARM_DISARM,
        MavCmd::MAV_CMD_RUN_PREARM_CHECKS,
        MavCmd::MAV_CMD_DO_SET_MODE,
        MavCmd::MAV_CMD_NAV_TAKEOFF,
        MavCmd::MAV_CMD_MISSION_START,
        MavCmd::MAV_CMD_DO_SET_MISSION_CURRENT,
        MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL,
        MavCmd::MAV_CMD_REQUEST_MESSAGE,
        MavCmd::MAV_CMD_NAV_WAYPOINT,
        MavCmd::MAV_CMD_NAV_LOITER_TIME,
        MavCmd::MAV_CMD_NAV_LAND,
        MavCmd::MAV_CMD_NAV_RETURN_TO_LAUNCH,
        MavCmd::MAV_CMD_DO_CHANGE_SPEED,
        MavCmd::MAV_CMD_NAV_FENCE_POLYGON_VERTEX_INCLUSION,
    ];
    for family in [Family::ArduPilot, Family::Px4] {
        let mut random = crate::vehicle::random::Random::new(9);
        let mut station = Station::with(Config::new(family).settled());
        let names: Vec<&str> = match family {
            Family::ArduPilot => vec![
                "DISARM_DELAY",
                "RTL_ALT_M",
                "RTL_LOIT_TIME",
                "FENCE_ENABLE",
                "FS_GCS_TIMEOUT",
            ],
            Family::Px4 => vec![
                "COM_DISARM_PRFLT",
                "COM_DISARM_LAND",
                "RTL_RETURN_ALT",
                "GF_MAX_HOR_DIST",
            ],
        };
        station.pass(1.0);
        for round in 0..1500 {
            if round % 50 == 0 && !station.truth().airborne() {
                // Also in the air.
                station.set_mode(Mode::Guided);
                station.arm();
                let height = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 20.0];
                station.command(MavCmd::MAV_CMD_NAV_TAKEOFF, &height);
                station.pass(3.0);
            }
            let mut odd = || ODD[random.below(ODD.len())];
            let params = [odd(), odd(), odd(), odd(), odd(), odd(), odd()];
            let command = COMMANDS[random.below(COMMANDS.len())];
            let mission_type = if random.chance(0.3) { FENCE } else { MISSION };
            let message = match random.below(5) {
                0 => MavMessage::PARAM_SET(PARAM_SET_DATA {
                    param_value: params[0],
                    target_system: 1,
                    target_component: 1,
                    param_id: names[random.below(names.len())].into(),
                    param_type: MavParamType::MAV_PARAM_TYPE_REAL32,
                }),
                1 => {
                    // Whatever it asks for next is what it gets.
                    let count = random.below(6);
                    let place = random.chance(0.7).then_some((20.0, 20.0));
                    let mut some = item(command, params[0], place, params[1]);
                    some.param2 = params[2];
                    let items = list(mission_type, vec![some; count]);
                    station.upload(mission_type, &items);
                    continue;
                }
                _ => MavMessage::COMMAND_LONG(COMMAND_LONG_DATA {
                    command,
                    param1: params[0],
                    param2: params[1],
                    param3: params[2],
                    param7: params[6],
                    target_system: 1,
                    target_component: 1,
                    ..COMMAND_LONG_DATA::default()
                }),
            };
            station.say(&message);
            station.pass(0.3);
        }
        let truth = station.truth();
        assert!(
            truth.altitude.is_finite() && truth.latitude.is_finite() && truth.longitude.is_finite(),
            "{truth:?}"
        );
        assert!(
            !truth.arms.is_empty() && !truth.take_offs.is_empty(),
            "{family:?} {truth:?}"
        );
        assert!(station.heartbeat().is_some());
    }
}
