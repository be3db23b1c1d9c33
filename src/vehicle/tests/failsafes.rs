//! What the vehicle does by itself.

use super::station::*;
use crate::vehicle::{Cause, Config, Family, Mode, Trouble, Wind};
use mavlink::dialects::common::*;
use std::time::Duration;

fn flying(config: Config) -> Station {
    let mut station = Station::with(config.settled());
    station.pass(1.0);
    station.take_off_with(&trip(200.0));
    station.until(60.0, |truth| truth.farthest > 40.0);
    station
}

fn last_mode(station: &Station) -> (Mode, Cause) {
    let (_, mode, cause) = *station.truth().modes.last().unwrap();
    (mode, cause)
}

#[test]
fn out_of_the_box_a_lost_link_means_nothing() {
    let mut station = flying(Config::new(Family::ArduPilot));
    station.alive = false;
    station.pass(15.0);
    assert_eq!(station.truth().mode, Mode::Auto);
}

#[test]
fn four_seconds_without_the_ground_station_and_it_returns() {
    let mut station = flying(Config::new(Family::ArduPilot).with_failsafes());
    station.alive = false;
    let from = station.now;
    station.until(10.0, |truth| truth.mode == Mode::Return);
    let took = (station.now - from).as_secs_f64();
    assert!((3.0..4.1).contains(&took), "{took}");
    assert_eq!(last_mode(&station), (Mode::Return, Cause::Failsafe));
    assert!(station.texts().contains("GCS Failsafe"));
    station.until(200.0, |truth| !truth.armed);
    assert_eq!(station.truth().landings.len(), 1);
}

#[test]
fn only_the_configured_system_counts_and_only_after_its_first_heartbeat() {
    let mut station = Station::with(Config::new(Family::ArduPilot).with_failsafes().settled());
    station.node = (245, 191);
    station.pass(1.0);
    station.take_off_with(&trip(200.0));
    station.alive = false;
    station.pass(15.0);
    assert_eq!(station.truth().mode, Mode::Auto, "never heard of it");
    station.set_parameter("MAV_GCS_SYSID", 245.0);
    station.alive = true;
    station.pass(2.0);
    station.alive = false;
    station.until(6.0, |truth| truth.mode == Mode::Return);
}

#[test]
fn px4_watches_whoever_says_that_it_is_a_ground_station() {
    let mut station = Station::with(Config::new(Family::Px4).with_failsafes().settled());
    station.alive = false;
    station.pass(1.0);
    station.upload(MISSION, &list(MISSION, trip(200.0).split_off(1)));
    assert_eq!(station.arm(), Some(MavResult::MAV_RESULT_TEMPORARILY_REJECTED));
    assert!(
        station
            .texts()
            .contains("No connection to the ground control station")
    );
    station.node = (42, 1);
    station.alive = true;
    station.pass(2.0);
    station.accepted(MavCmd::MAV_CMD_MISSION_START, &[]);
    station.until(60.0, |truth| truth.farthest > 40.0);
    station.alive = false;
    station.pass(8.0);
    assert_eq!(station.truth().mode, Mode::Auto);
    station.until(4.0, |truth| truth.mode == Mode::Return);
}

#[test]
fn beyond_the_fence_it_returns_and_the_truth_counts_the_time_outside() {
    let mut station = Station::with(Config::new(Family::ArduPilot).with_failsafes().settled());
    station.pass(1.0);
    assert_eq!(
        station.upload(FENCE, &yard(60.0)),
        Some(MavMissionResult::MAV_MISSION_ACCEPTED)
    );
    station.accepted(MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL, &[162.0, 500_000.0]);
    station.take_off_with(&trip(200.0));
    station.until(60.0, |truth| truth.mode == Mode::Return);
    assert!(station.texts().contains("Fence breached"));
    station.pass(1.0);
    assert!(station.heard.iter().any(|message| matches!(
        message,
        MavMessage::FENCE_STATUS(status) if status.breach_status == 1 && status.breach_type == FenceBreach::FENCE_BREACH_BOUNDARY
    )));
    station.until(200.0, |truth| !truth.armed);
    let outside = station.truth().outside.as_secs_f64();
    assert!((1.0..20.0).contains(&outside), "{outside}");
    assert!(station.truth().farthest < 90.0);
}

#[test]
fn a_fence_that_is_not_switched_on_holds_nobody_but_the_truth_counts() {
    let mut station = Station::with(Config::new(Family::ArduPilot).settled());
    station.pass(1.0);
    station.upload(FENCE, &yard(60.0));
    station.take_off_with(&trip(200.0));
    station.until(200.0, |truth| truth.farthest > 180.0);
    assert_eq!(station.truth().mode, Mode::Auto);
    assert!(station.truth().outside > Duration::from_secs(5));
}

#[test]
fn switched_on_by_hand_the_fence_has_a_circle_and_a_ceiling_too() {
    let mut station = Station::with(Config::new(Family::ArduPilot).settled());
    station.pass(1.0);
    station.set_parameter("FENCE_ENABLE", 1.0);
    station.take_off_with(&trip(500.0));
    station.until(200.0, |truth| truth.mode == Mode::Return);
    assert!((298.0..305.0).contains(&station.truth().farthest));
}

#[test]
fn a_low_battery_returns_a_critical_one_lands_and_an_empty_one_falls() {
    let mut station = flying(Config::new(Family::ArduPilot).with_failsafes());
    station.simulation.trouble(Trouble::Battery(18.0));
    station.pass(0.1);
    assert_eq!(last_mode(&station), (Mode::Return, Cause::Failsafe));
    station.simulation.trouble(Trouble::Battery(8.0));
    station.pass(0.1);
    assert_eq!(last_mode(&station), (Mode::Land, Cause::Failsafe));

    let mut careless = flying(Config::new(Family::ArduPilot));
    careless.simulation.trouble(Trouble::Battery(8.0));
    careless.pass(1.0);
    assert_eq!(careless.truth().mode, Mode::Auto);
    careless.simulation.trouble(Trouble::Battery(0.0));
    careless.until(10.0, |truth| truth.crashed);
    assert_eq!(careless.arm(), Some(MavResult::MAV_RESULT_FAILED));
}

#[test]
fn without_satellites_it_lands_and_the_wind_moves_it() {
    let mut config = Config::new(Family::ArduPilot);
    config.wind = Wind {
        speed: 6.0,
        from: 180.0,
        turbulence: 0.0,
    };
    let mut station = flying(config);
    station.accepted(MavCmd::MAV_CMD_SET_MESSAGE_INTERVAL, &[24.0, 200_000.0]);
    let before = station.truth().farthest;
    station
        .simulation
        .trouble(Trouble::GpsLoss(Duration::from_secs(60)));
    station.pass(4.0);
    assert_eq!(station.truth().mode, Mode::Auto);
    station.until(3.0, |truth| truth.mode == Mode::Land);
    assert!(station.heard.iter().any(|message| matches!(
        message,
        MavMessage::GPS_RAW_INT(gps) if gps.fix_type == GpsFixType::GPS_FIX_TYPE_NO_FIX
    )));
    station.until(100.0, |truth| !truth.armed);
    let truth = station.truth();
    assert!(
        truth.farthest > before + 30.0 && truth.landings.len() == 1 && !truth.crashed,
        "{truth:?}"
    );
}
