use super::*;
use crate::device::drone::geo::Position;
use crate::device::drone::plan::{Home, Plan, Step, fence_items};

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

fn home() -> Home {
    Home {
        at: Position::new(47.3977, 8.5456).unwrap(),
        altitude_msl: 488.0,
    }
}

fn mission(family: Family) -> Vec<Item> {
    let waypoint = |east: f64, seconds| Step::Waypoint {
        at: home().at.offset(east, 50.0),
        altitude: 30.0,
        hold: std::time::Duration::from_secs(seconds),
    };
    let steps = vec![
        Step::Takeoff { altitude: 20.0 },
        Step::Speed { speed: 4.0 },
        waypoint(0.0, 0),
        waypoint(50.0, 10),
        Step::Return,
    ];
    Plan::new(steps).unwrap().items(home(), family.autopilot())
}

#[test]
fn rounding_is_no_difference_and_everything_else_is() {
    type Change = fn(&mut Item);
    let rows: &[(&str, usize, Change, bool)] = &[
        (
            "another home",
            0,
            |item| (item.x, item.y, item.z) = (1, 2, 3.0),
            true,
        ),
        ("frame 3 for 6", 3, |item| item.frame = 3, true),
        ("1e-7 degrees", 3, |item| item.y += 1, true),
        ("9 cm", 3, |item| item.z -= 0.09, true),
        ("a take-off's place", 1, |item| item.x += 1000, true),
        ("current", 3, |item| item.current = true, true),
        ("a metre of place", 3, |item| item.x += 90, false),
        ("a metre of height", 3, |item| item.z += 1.0, false),
        ("no height", 3, |item| item.z = f32::NAN, false),
        ("frame 0", 3, |item| item.frame = 0, false),
        ("another command", 5, |item| item.command = 21, false),
        ("a longer hold", 4, |item| item.params[0] = 60.0, false),
        ("another speed", 2, |item| item.params[1] = 8.0, false),
        ("a higher take-off", 1, |item| item.z = 40.0, false),
        ("out of order", 3, |item| item.seq = 4, false),
    ];
    let given = mission(Family::ArduPilot);
    for (name, seq, change, fine) in rows {
        let mut held = given.clone();
        change(&mut held[*seq]);
        let compared = compare(&given, &held, Family::ArduPilot);
        let expected = if *fine {
            Ok(())
        } else {
            Err(ListTrouble::Differs(*seq as u16))
        };
        assert_eq!(compared, expected, "{name}");
    }
    let shorter = ListTrouble::Count { holds: 5, given: 6 };
    assert_eq!(compare(&given, &given[..5], Family::ArduPilot), Err(shorter));
    // PX4's first item is no home, and its headings are NaN.
    let given = mission(Family::Px4);
    assert_eq!(compare(&given, &given, Family::Px4), Ok(()));
    let mut held = given.clone();
    held[0].z = 99.0;
    assert_eq!(compare(&given, &held, Family::Px4), Err(ListTrouble::Differs(0)));
}

#[test]
fn a_fence_is_compared_too() {
    let corners = [(0.0, 0.0), (90.0, 0.0), (0.0, 90.0)].map(|(east, north)| home().at.offset(east, north));
    let given = fence_items(&crate::device::drone::geo::Polygon::new(corners.to_vec()).unwrap());
    let mut held = given.clone();
    held[0].frame = 3;
    assert_eq!(compare(&given, &held, Family::ArduPilot), Ok(()));
    held[0].x += 100;
    assert_eq!(
        compare(&given, &held, Family::ArduPilot),
        Err(ListTrouble::Differs(0))
    );
}

#[test]
fn a_fingerprint_knows_a_mission_again_wherever_home_is_by_now() {
    let held = mission(Family::ArduPilot);
    let mut later = held.clone();
    later[0].x += 7;
    later[3].current = true;
    let print = |items: &[Item]| fingerprint(items, Family::ArduPilot);
    assert_eq!(print(&held), print(&later));
    later[3].x += 1;
    assert_ne!(print(&held), print(&later));
    assert_ne!(print(&held), print(&held[..5]));
}

#[test]
fn reading_back_asks_until_it_has_everything() {
    let held = mission(Family::Px4);
    let mut read = ReadBack::new(ListKind::Mission, at(0));
    let mut sendings = 0;
    for millis in (0..60_000).step_by(100) {
        let (said, end) = read.tick(at(millis));
        if let Some(said) = &said {
            sendings += 1;
            // Two of three are lost.
            let heard = match said {
                Said::MissionAck { .. } => None,
                Said::MissionRequestList { list } => Some(Heard::MissionCount {
                    list: *list,
                    count: held.len() as u16,
                }),
                Said::MissionRequestInt { seq, .. } => Some(Heard::MissionItem(held[usize::from(*seq)])),
                other => panic!("{other:?}"),
            };
            if let Some(heard) = heard.filter(|_| sendings % 3 == 0) {
                read.hear(&heard, at(millis));
                read.hear(&heard, at(millis));
            }
        }
        if let Some(end) = end {
            assert_eq!(end, Ok(()));
            assert!(
                matches!(said, Some(Said::MissionAck { result: 0, .. })),
                "it is told so"
            );
            assert_eq!(compare(&held, read.items(), Family::Px4), Ok(()));
            return;
        }
    }
    panic!("it has no end");
}

#[test]
fn reading_back_ends_without_answers_and_with_impossible_ones() {
    let mut read = ReadBack::new(ListKind::Mission, at(0));
    let end = (0..200).find_map(|n| read.tick(at(n * 100)).1.map(|end| (n, end)));
    assert_eq!(end, Some((120, Err(ListTrouble::Silent))));
    let mut read = ReadBack::new(ListKind::Mission, at(0));
    read.tick(at(0));
    let count = Heard::MissionCount {
        list: ListKind::Mission,
        count: u16::MAX,
    };
    read.hear(&count, at(1));
    let too_many = ListTrouble::Count {
        holds: u16::MAX,
        given: 1000,
    };
    assert_eq!(read.tick(at(2)).1, Some(Err(too_many)));
}
