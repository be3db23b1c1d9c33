//! Whole flights of both families.

use super::station::*;
use crate::vehicle::{Config, Event, Family, Mode, Truth};
use mavlink::dialects::common::*;
use std::time::Duration;

fn ready(family: Family) -> Config {
    Config::new(family).settled()
}

#[test]
fn ardupilot_flies_its_mission_and_comes_home() {
    let mut station = Station::with(ready(Family::ArduPilot));
    station.pass(1.0);
    station.take_off_with(&trip(100.0));
    assert_eq!(station.truth().mode, Mode::Auto);
    station.until(300.0, |truth| !truth.armed);
    let truth = station.truth().clone();
    assert_eq!(
        (truth.take_offs.len(), truth.landings.len(), truth.arms.len()),
        (1, 1, 1)
    );
    assert!((108.0..116.0).contains(&truth.farthest), "{truth:?}");
    assert!((39.5..41.0).contains(&truth.highest), "{truth:?}");
    assert!(!truth.crashed && !truth.airborne() && truth.altitude == 0.0);
    // Home within half a metre, still in AUTO.
    assert!((truth.latitude - 65.617).abs() < 5e-6 && truth.mode == Mode::Auto);
    let reached: Vec<u16> = station
        .heard
        .iter()
        .filter_map(|message| match message {
            MavMessage::MISSION_ITEM_REACHED(reached) => Some(reached.seq),
            _ => None,
        })
        .collect();
    assert_eq!(reached, [1, 2, 3, 4]);
    // 30 m up, 100 m there with 5 s, 50 m with 5 s, 112 m home, 40 m down.
    let aloft = truth.landings[0] - truth.take_offs[0];
    assert!((80.0..130.0).contains(&aloft.as_secs_f64()), "{aloft:?}");
    assert!((85.0..99.0).contains(&truth.battery), "{truth:?}");
}

#[test]
fn px4_begins_with_item_0_and_changes_to_its_return_mode() {
    let mut station = Station::with(ready(Family::Px4));
    station.pass(1.0);
    let items = list(MISSION, trip(60.0).split_off(1));
    assert_eq!(
        station.upload(MISSION, &items),
        Some(MavMissionResult::MAV_MISSION_ACCEPTED)
    );
    assert_eq!(station.set_mode(Mode::Auto), Some(MavResult::MAV_RESULT_ACCEPTED));
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_ACCEPTED));
    station.until(20.0, Truth::airborne);
    let heartbeat = station.heartbeat().unwrap();
    assert_eq!(heartbeat.autopilot, MavAutopilot::MAV_AUTOPILOT_PX4);
    assert_eq!(heartbeat.custom_mode, 4 << 16 | 4 << 24);
    station.until(300.0, |truth| truth.mode == Mode::Return);
    station.until(300.0, |truth| !truth.armed);
    let truth = station.truth();
    assert_eq!((truth.take_offs.len(), truth.landings.len()), (1, 1));
    // It returns at sixty metres.
    assert!((59.0..61.0).contains(&truth.highest), "{truth:?}");
    let stayed = truth.at - truth.landings[0];
    assert!(
        (1.9..2.2).contains(&stayed.as_secs_f64()),
        "disarmed after {stayed:?}"
    );
}

#[test]
fn px4_arms_by_itself_when_a_mission_is_started() {
    let mut station = Station::with(ready(Family::Px4));
    station.pass(1.0);
    station.upload(MISSION, &list(MISSION, trip(60.0).split_off(1)));
    station.accepted(MavCmd::MAV_CMD_MISSION_START, &[]);
    station.until(10.0, |truth| truth.armed && truth.airborne());
}

#[test]
fn a_mission_with_speed_and_landing_elsewhere() {
    let mut station = Station::with(ready(Family::ArduPilot));
    station.pass(1.0);
    let mut speed = item(MavCmd::MAV_CMD_DO_CHANGE_SPEED, 1.0, None, 0.0);
    speed.param2 = 4.0;
    let items = list(
        MISSION,
        vec![
            item(MavCmd::MAV_CMD_NAV_WAYPOINT, 0.0, Some((0.0, 0.0)), 0.0),
            item(MavCmd::MAV_CMD_NAV_TAKEOFF, 0.0, None, 10.0),
            speed,
            item(MavCmd::MAV_CMD_NAV_WAYPOINT, 0.0, Some((0.0, 80.0)), 10.0),
            item(MavCmd::MAV_CMD_NAV_LAND, 0.0, Some((20.0, 80.0)), 0.0),
        ],
    );
    station.take_off_with(&items);
    station.until(60.0, |truth| truth.speed > 3.9);
    station.pass(5.0);
    assert!(
        (3.9..4.1).contains(&station.truth().speed),
        "{:?}",
        station.truth()
    );
    station.until(200.0, |truth| !truth.armed);
    let truth = station.truth();
    assert!(
        (81.0..84.0).contains(&truth.farthest) && truth.landings.len() == 1,
        "{truth:?}"
    );
}

#[test]
fn return_climbs_first_and_land_lands_where_it_is() {
    let mut station = Station::with(ready(Family::ArduPilot));
    station.pass(1.0);
    let mut low = trip(100.0);
    low[1].z = 6.0;
    low[2].z = 6.0;
    station.take_off_with(&low);
    station.until(60.0, |truth| truth.farthest > 50.0);
    assert!(station.truth().highest < 7.0);
    station.accepted(MavCmd::MAV_CMD_NAV_RETURN_TO_LAUNCH, &[]);
    station.until(120.0, |truth| !truth.armed);
    let truth = station.truth();
    assert!(
        (14.5..15.5).contains(&truth.highest) && truth.mode == Mode::Return,
        "{truth:?}"
    );

    let mut station = Station::with(ready(Family::ArduPilot));
    station.pass(1.0);
    station.take_off_with(&trip(100.0));
    station.until(60.0, |truth| truth.farthest > 50.0);
    station.accepted(MavCmd::MAV_CMD_NAV_LAND, &[]);
    station.until(120.0, |truth| !truth.armed);
    let truth = station.truth();
    assert!(
        (50.0..75.0).contains(&truth.farthest) && truth.mode == Mode::Land,
        "{truth:?}"
    );
}

#[test]
fn landed_states_come_in_their_order() {
    let mut station = Station::with(ready(Family::ArduPilot));
    station.pass(1.0);
    station.accepted(MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL, &[245.0, 200_000.0]);
    station.take_off_with(&trip(30.0));
    station.until(200.0, |truth| !truth.armed);
    station.pass(1.0);
    let mut states: Vec<u8> = station
        .heard
        .iter()
        .filter_map(|message| match message {
            MavMessage::EXTENDED_SYS_STATE(state) => Some(state.landed_state as u8),
            _ => None,
        })
        .collect();
    states.dedup();
    assert_eq!(states, [1, 3, 2, 4, 1]);
}

#[test]
fn motors_that_idle_are_switched_off_and_nobody_disarms_in_the_air() {
    let mut station = Station::with(ready(Family::ArduPilot));
    station.pass(1.0);
    assert_eq!(
        station.set_mode(Mode::Guided),
        Some(MavResult::MAV_RESULT_ACCEPTED)
    );
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_ACCEPTED));
    station.pass(9.0);
    assert!(station.truth().armed);
    station.until(2.0, |truth| !truth.armed);

    station.take_off_with(&trip(50.0));
    let disarm = MavCmd::MAV_CMD_COMPONENT_ARM_DISARM;
    assert_eq!(
        station.command(disarm, &[0.0]),
        Some(MavResult::MAV_RESULT_FAILED)
    );
    assert!(station.truth().armed);
    station.until(30.0, |truth| truth.altitude > 15.0);
    station.accepted(disarm, &[0.0, 21196.0]);
    station.until(20.0, |truth| truth.crashed);
    assert_eq!(station.truth().landings.len(), 0);
}

#[test]
fn guided_take_off_and_a_pause_in_the_mission() {
    let mut station = Station::with(ready(Family::ArduPilot));
    station.pass(1.0);
    station.take_off_with(&trip(100.0));
    station.until(60.0, |truth| truth.farthest > 30.0);
    assert_eq!(
        station.set_mode(Mode::Loiter),
        Some(MavResult::MAV_RESULT_ACCEPTED)
    );
    station.pass(10.0);
    let waited = station.truth().farthest;
    station.pass(10.0);
    assert!(station.truth().farthest - waited < 0.5);
    // It goes on where it was, not from the beginning.
    assert_eq!(station.truth().item, 2);
    assert_eq!(station.set_mode(Mode::Auto), Some(MavResult::MAV_RESULT_ACCEPTED));
    station.until(60.0, |truth| truth.item == 3);
    station.until(200.0, |truth| !truth.armed);

    station.set_mode(Mode::Guided);
    station.arm();
    station.accepted(MavCmd::MAV_CMD_NAV_TAKEOFF, &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 12.0]);
    station.pass(15.0);
    assert!(
        (11.5..12.5).contains(&station.truth().altitude),
        "{:?}",
        station.truth()
    );
    assert_eq!(station.truth().take_offs.len(), 2);
}

#[test]
fn streams_come_at_the_rate_that_was_asked_for_and_nothing_comes_unasked() {
    let mut station = Station::with(ready(Family::ArduPilot));
    let positions = |station: &Station| {
        station
            .heard
            .iter()
            .filter(|message| matches!(message, MavMessage::GLOBAL_POSITION_INT(_)))
            .count()
    };
    station.pass(3.0);
    assert_eq!(positions(&station), 0);
    station.accepted(MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL, &[33.0, 250_000.0]);
    station.heard.clear();
    station.pass(10.0);
    let heard = positions(&station);
    assert!((37..=42).contains(&heard), "{heard}");
    station.accepted(MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL, &[33.0, -1.0]);
    station.heard.clear();
    station.pass(5.0);
    assert_eq!(positions(&station), 0);
    let unknown = station.command(MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL, &[30.0, 1e6]);
    assert_eq!(unknown, Some(MavResult::MAV_RESULT_DENIED));
    station.accepted(MavCmd::MAV_CMD_REQUEST_MESSAGE, &[148.0]);
    assert!(station.heard.iter().any(|message| matches!(
        message,
        MavMessage::AUTOPILOT_VERSION(version) if version.flight_sw_version >> 16 == 0x0407
    )));
}

#[test]
fn the_same_seed_is_the_same_flight_and_another_is_another() {
    let fly = |seed: u64| {
        let mut config = Config::new(Family::ArduPilot);
        config.wind = crate::vehicle::Wind {
            speed: 5.0,
            from: 200.0,
            turbulence: 0.3,
        };
        let faults = "loss=0.05,corrupt=0.02,duplicate=0.05,jitter=0.2,gust=12/90/10@air+5"
            .parse()
            .unwrap();
        let mut station = Station::faulty(config, faults, seed);
        station.pass(40.0);
        while station.upload(MISSION, &trip(80.0)) != Some(MavMissionResult::MAV_MISSION_ACCEPTED) {}
        for _ in 0..200 {
            station.set_mode(Mode::Guided);
            station.arm();
            station.command(MavCmd::MAV_CMD_MISSION_START, &[]);
            if station.truth().airborne() {
                break;
            }
        }
        station.until(400.0, |truth| !truth.armed && !truth.landings.is_empty());
        let heard = station.heard.len();
        (station.simulation.take_events(), station.truth().clone(), heard)
    };
    let (events, truth, heard) = fly(3);
    let again = fly(3);
    assert_eq!((&again.0, &again.1, again.2), (&events, &truth, heard));
    assert_ne!(fly(4).1, truth);
    assert!(events.iter().any(|(_, event)| matches!(event, Event::Landed)));
    assert!(truth.at > Duration::from_secs(60));
}
