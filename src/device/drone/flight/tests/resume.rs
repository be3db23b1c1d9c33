//! After a crash of the agent.

use super::super::readback::fingerprint;
use super::super::*;
use super::fake::*;
use super::run::*;
use crate::device::drone::plan::Home;
use crate::device::drone::wire::number::*;

fn mission() -> Vec<Item> {
    let home = Home {
        at: HOME,
        altitude_msl: 488.0,
    };
    there_and_back().items(home, AUTOPILOT_ARDUPILOTMEGA)
}

/// An agent that starts again while the vehicle is like this.
fn resume(phase: RecordPhase, armed: bool, altitude: f64, mode: u32, change: impl FnOnce(&mut Case)) -> Run {
    let mut case = Case::new();
    case.record = Some(Record {
        process: "p".to_owned(),
        mission: fingerprint(&mission(), Family::ArduPilot),
        phase,
    });
    (case.fake.armed, case.fake.altitude, case.fake.east) = (armed, altitude, altitude);
    case.fake.set_mode(mode);
    case.fake.mission = mission();
    change(&mut case);
    let run = run(case);
    assert_eq!((run.arms(), run.starts()), (0, 0), "{phase:?}");
    run
}

#[test]
fn whose_flight_it_is_decides_what_is_done() {
    use RecordPhase::{Armed, Returning, Started};
    type Row = (RecordPhase, bool, f64, u32, &'static str, bool);
    let rows: [Row; 14] = [
        (
            Armed,
            false,
            0.0,
            GUIDED,
            "not flown: the agent ended before the start; the vehicle is disarmed",
            false,
        ),
        (
            Armed,
            true,
            0.0,
            GUIDED,
            "not flown: the agent ended while the vehicle was armed",
            false,
        ),
        (
            Started,
            true,
            0.0,
            GUIDED,
            "not flown: the agent ended while the vehicle was armed",
            false,
        ),
        (
            Started,
            false,
            0.0,
            AUTO,
            "returned: the agent ended during the flight; the vehicle is disarmed",
            false,
        ),
        (
            Returning,
            false,
            0.0,
            RTL,
            "returned: the agent ended during the flight; the vehicle is disarmed",
            false,
        ),
        (
            Started,
            true,
            20.0,
            AUTO,
            "returned: the agent ended while it flew",
            true,
        ),
        (
            Started,
            true,
            20.0,
            BRAKE,
            "returned: the agent ended while it flew",
            true,
        ),
        (
            Returning,
            true,
            20.0,
            AUTO,
            "returned: the agent ended while it flew",
            true,
        ),
        (
            Returning,
            true,
            20.0,
            RTL,
            "returned: the agent ended while it flew",
            false,
        ),
        (
            Started,
            true,
            20.0,
            LAND,
            "returned: the agent ended while it flew",
            false,
        ),
        (
            Started,
            true,
            20.0,
            LOITER,
            "hands off: after the agent's end somebody else steers it: mode LOITER",
            false,
        ),
        (
            Armed,
            true,
            0.0,
            LOITER,
            "hands off: after the agent's end somebody else steers it: mode LOITER",
            false,
        ),
        (
            Started,
            true,
            20.0,
            GUIDED,
            "hands off: it flies, but it was not started from here: mode GUIDED",
            false,
        ),
        (
            Armed,
            true,
            20.0,
            AUTO,
            "hands off: it flies, but it was not started from here: mode AUTO",
            false,
        ),
    ];
    for (phase, armed, altitude, mode, why, commanded) in rows {
        let run = resume(phase, armed, altitude, mode, |_| {});
        assert_eq!(run.why(), why, "{phase:?} {altitude} {mode}");
        let returns = run.commands(CMD_NAV_RETURN_TO_LAUNCH).len();
        assert_eq!(returns > 0, commanded, "{phase:?} {altitude} {mode}");
        if why.starts_with("hands off") {
            assert_eq!(run.commands(CMD_COMPONENT_ARM_DISARM), [], "{why}");
            assert!(
                run.fake.armed && run.fake.mission.len() == 5,
                "nothing was touched"
            );
        } else {
            assert!(!run.fake.armed && run.fake.mission.is_empty(), "{why}");
        }
    }
}

#[test]
fn another_mission_or_none_that_can_be_read_is_not_ours() {
    let another = resume(RecordPhase::Started, true, 20.0, AUTO, |case| {
        case.fake.mission[2].x += 100;
    });
    assert_eq!(
        another.why(),
        "hands off: it flies another mission than the one from here"
    );
    let deaf = resume(RecordPhase::Started, true, 20.0, AUTO, |case| {
        case.fake.deaf = true
    });
    assert!(deaf.why().contains("could not be found out"), "{}", deaf.why());
    let gone = resume(RecordPhase::Started, true, 20.0, AUTO, |case| {
        case.fake.silent = true
    });
    assert!(gone.why().contains("was not heard for 120 s"), "{}", gone.why());
    for run in [another, deaf, gone] {
        assert_eq!(run.commands(CMD_NAV_RETURN_TO_LAUNCH), []);
    }
}

#[test]
fn what_a_mission_is_read_back_as_is_what_it_is_known_by() {
    // Rounded while it was uploaded, and rounded again the same way.
    let mut case = Case::new();
    case.fake.quirks.insert(Quirk::Rounds);
    case.events.push((
        Phase::EnRoute,
        1_000,
        Event::Order(Order::Return("why".to_owned())),
    ));
    let flown = run(case);
    assert_eq!(flown.why(), "returned: why");
    let mut rounded = mission();
    for item in &mut rounded {
        item.frame = if item.frame == 6 { 3 } else { item.frame };
        item.y += 1;
        item.z -= 0.09;
    }
    let resumed = resume(RecordPhase::Started, true, 20.0, AUTO, |case| {
        case.fake.quirks.insert(Quirk::Rounds);
        if let Some(record) = &mut case.record {
            record.mission = fingerprint(&rounded, Family::ArduPilot);
        }
    });
    assert_eq!(resumed.why(), "returned: the agent ended while it flew");
}

#[test]
fn a_pilot_who_comes_while_it_is_brought_home_is_left_alone() {
    let run = resume(RecordPhase::Started, true, 20.0, AUTO, |case| {
        case.events.push((Phase::Returning, 3_000, Event::Mode(LOITER)));
    });
    assert_eq!(run.why(), "hands off: a pilot took over: mode LOITER");
}
