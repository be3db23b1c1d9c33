//! Everything that happens to a flight in the air.

use std::time::Duration;

use super::super::*;
use super::fake::*;
use super::run::*;
use crate::device::drone::plan::Step;
use crate::device::drone::wire::Said;
use crate::device::drone::wire::number::*;

fn order(order: fn(String) -> Order) -> Event {
    Event::Order(order("lease over".to_owned()))
}

/// Flies with events, 20 s after it was seen to fly if not said otherwise.
fn fly(change: impl FnOnce(&mut Case), events: &[(u64, Event)]) -> Run {
    let mut case = Case::new();
    change(&mut case);
    case.events.extend(
        events
            .iter()
            .map(|(after, event)| (Phase::EnRoute, *after, event.clone())),
    );
    run(case)
}

/// From when on commands were said, and how many.
fn returns(run: &Run) -> Vec<u64> {
    let mut of: Vec<u64> = run
        .commands(CMD_NAV_RETURN_TO_LAUNCH)
        .iter()
        .map(|one| one.0)
        .collect();
    let start = run.when(Phase::EnRoute).unwrap();
    let modes = run.commands(CMD_DO_SET_MODE).into_iter().map(|one| one.0);
    of.extend(modes.filter(|millis| *millis > start));
    of.sort_unstable();
    of
}

#[test]
fn an_order_in_the_air_is_commanded_until_a_heartbeat_shows_it() {
    for px4 in [false, true] {
        for (quirks, least, most) in [
            (&[][..], 1, 2),
            (&[Quirk::ReturnsLate], 1, 8),
            (&[Quirk::DeniesReturn], 1, 4),
        ] {
            for (make, mode) in [
                (Order::Return as fn(String) -> Order, RTL),
                (Order::Land, LAND),
                (Order::Stop, RTL),
            ] {
                let change = |case: &mut Case| {
                    case.fake = Fake::new(px4);
                    case.fake.quirks.extend(quirks);
                };
                let run = fly(change, &[(20_000, order(make))]);
                assert_eq!(run.why(), "returned: lease over", "{quirks:?}");
                assert!(run.fake.in_mode(mode), "{} {quirks:?}", run.fake.mode);
                let land = run.commands(CMD_NAV_LAND).len();
                let said = returns(&run).len() + land;
                assert!((least..=most).contains(&said), "{quirks:?}: {said}");
                assert_eq!(run.records.last(), Some(&RecordPhase::Returning));
                assert_eq!((run.fake.take_offs, run.starts(), run.arms()), (1, 1, 1));
                assert!(run.fake.mission.is_empty());
            }
        }
    }
}

#[test]
fn a_landing_that_was_ordered_is_not_undone_by_a_return() {
    let land_first = fly(
        |_| {},
        &[(20_000, order(Order::Land)), (22_000, order(Order::Return))],
    );
    assert!(land_first.fake.in_mode(LAND) && land_first.fake.east > 5.0);
    let land_last = fly(
        |_| {},
        &[(20_000, order(Order::Return)), (22_000, order(Order::Land))],
    );
    assert!(land_last.fake.in_mode(LAND) && land_last.fake.east > 5.0);
    assert_eq!(land_last.why(), "returned: lease over");
}

#[test]
fn it_is_on_the_ground_before_its_time_is_up() {
    for (metres, end) in [
        (60.0, 300_000),
        (100.0, 250_000),
        (150.0, 400_000),
        (290.0, 500_000),
    ] {
        // A mission that hangs before its last item.
        let change = |case: &mut Case| {
            case.setup.plan = plan(metres, Step::Return);
            case.setup.end = Some(at(end));
            case.fake.hangs = true;
        };
        let run = fly(change, &[]);
        assert_eq!(
            run.why(),
            "returned: the time that is left is just enough to return"
        );
        assert!(run.millis < end, "{metres} m: {} of {end}", run.millis);
        assert!(
            run.millis > end - 90_000,
            "not much too early: {} of {end}",
            run.millis
        );
    }
}

#[test]
fn without_a_lease_max_time_holds() {
    let change = |case: &mut Case| {
        case.setup.drone.max_time = Duration::from_secs(240);
        case.fake.hangs = true;
    };
    let run = fly(change, &[]);
    assert_eq!(
        run.why(),
        "returned: the time that is left is just enough to return"
    );
    assert!(run.millis < 240_000, "{}", run.millis);
}

type Row = (&'static str, Vec<(u64, Event)>, &'static str);

#[test]
fn what_the_autopilot_does_by_itself_is_followed_to_the_ground() {
    let rows: Vec<Row> = vec![
        (
            "its battery failsafe",
            vec![
                (20_000, Event::Text("Low Battery Failsafe")),
                (20_000, Event::Mode(RTL)),
            ],
            "returned: the autopilot returns by itself: Low Battery Failsafe",
        ),
        (
            "it lands",
            vec![(20_000, Event::Mode(LAND))],
            "returned: the autopilot lands by itself",
        ),
        (
            "its fence",
            vec![(20_000, Event::Breach)],
            "returned: the autopilot returns by itself: its fence is breached, outside its boundary",
        ),
        (
            "it brakes first",
            vec![(20_000, Event::Mode(BRAKE)), (26_000, Event::Mode(RTL))],
            "returned: the autopilot returns by itself",
        ),
        (
            "a link lost and found",
            vec![
                (20_000, Event::Silent(true)),
                (24_000, Event::Mode(RTL)),
                (34_000, Event::Silent(false)),
            ],
            "returned: the autopilot returns by itself: it was not heard for 15 s, and its mode changed meanwhile",
        ),
        (
            "a link lost and found, which it says",
            vec![
                (20_000, Event::Silent(true)),
                (24_000, Event::Mode(RTL)),
                (34_000, Event::Silent(false)),
                (35_000, Event::Text("GCS Failsafe Cleared")),
            ],
            "returned: the autopilot returns by itself: it was not heard for 15 s, and its mode changed meanwhile; it says: GCS Failsafe Cleared",
        ),
        (
            "a link lost and found before",
            vec![
                (16_000, Event::Silent(true)),
                (20_000, Event::Silent(false)),
                (24_000, Event::Mode(RTL)),
            ],
            "returned: the autopilot returns by itself",
        ),
    ];
    for (name, events, why) in rows {
        let run = fly(|_| {}, &events);
        assert_eq!(run.why(), why, "{name}");
        assert_eq!(returns(&run), Vec::<u64>::new(), "{name}: nothing was commanded");
        assert!(!run.fake.armed && run.fake.take_offs == 1, "{name}");
    }
}

#[test]
fn it_is_brought_home_when_it_does_not_come_by_itself() {
    let battery = fly(|_| {}, &[(20_000, Event::Battery(24.9))]);
    assert_eq!(
        battery.why(),
        "returned: battery 24 %, below battery_reserve = 25"
    );
    let fence = fly(
        |case| _ = case.fake.quirks.insert(Quirk::FenceIgnored),
        &[(20_000, Event::Breach)],
    );
    assert_eq!(
        fence.why(),
        "returned: its fence is breached, outside its boundary"
    );
    for run in [battery, fence] {
        assert!(!returns(&run).is_empty() && !run.fake.armed);
    }
    // Somebody lets the mission go on after the return: the flight is over all the same.
    let again = fly(|_| {}, &[(20_000, order(Order::Return)), (26_000, Event::Again)]);
    assert_eq!(again.why(), "returned: lease over");
    assert!(returns(&again).len() >= 2);
    // The same after the autopilot's own return.
    let own = fly(|_| {}, &[(20_000, Event::Mode(RTL)), (26_000, Event::Again)]);
    assert!(
        own.why().starts_with("returned: the autopilot returns by itself"),
        "{}",
        own.why()
    );
    assert!(!returns(&own).is_empty());
}

#[test]
fn whoever_steers_it_is_left_alone() {
    let rows: Vec<Row> = vec![
        (
            "a pilot",
            vec![(20_000, Event::Mode(LOITER))],
            "hands off: a pilot took over: mode LOITER",
        ),
        (
            "a ground station",
            vec![(20_000, Event::Mode(GUIDED))],
            "hands off: somebody else took over: mode GUIDED",
        ),
        (
            "an unknown mode",
            vec![(20_000, Event::Mode(77))],
            "hands off: somebody else took over: mode number 77",
        ),
        (
            "stopped",
            vec![(20_000, Event::Mode(BRAKE))],
            "hands off: it was stopped, not from here, and stays in mode BRAKE",
        ),
        (
            "a pilot on the way home",
            vec![(20_000, order(Order::Return)), (26_000, Event::Mode(LOITER))],
            "hands off: a pilot took over: mode LOITER",
        ),
        (
            "a pilot after its own failsafe",
            vec![(20_000, Event::Mode(RTL)), (26_000, Event::Mode(0))],
            "hands off: a pilot took over: mode STABILIZE",
        ),
        (
            "disarmed in the air",
            vec![(20_000, Event::Disarm)],
            "hands off: it disarmed in the air. It was last at",
        ),
        (
            "a reboot in the air",
            vec![
                (20_000, Event::Silent(true)),
                (20_000, Event::Reboot),
                (28_000, Event::Silent(false)),
            ],
            "hands off: it disarmed in the air.",
        ),
        (
            "never heard again",
            vec![(20_000, Event::Silent(true))],
            "hands off: it was not heard for 600 s; its own failsafe has it. It was last at",
        ),
    ];
    for (name, events, why) in rows {
        let run = fly(|_| {}, &events);
        assert!(run.why().starts_with(why), "{name}: {}", run.why());
        let began = run.when(Phase::EnRoute).unwrap() + 20_000;
        let ordered = events.iter().any(|one| matches!(one.1, Event::Order(_)));
        let said: Vec<_> = run.said.iter().filter(|one| one.0 >= began).collect();
        let lost = matches!(events[0].1, Event::Silent(_));
        assert!(said.is_empty() || ordered || lost, "{name}: {said:?}");
        let End::HandsOff { summary, .. } = &run.end else {
            panic!("{name}");
        };
        assert!(summary.highest > 10.0 && summary.track.len() > 10, "{name}");
    }
}

#[test]
fn one_that_is_not_heard_is_commanded_when_it_is_back() {
    let events = [
        (20_000, Event::Silent(true)),
        (22_000, order(Order::Return)),
        (62_000, Event::Silent(false)),
    ];
    let run = fly(|_| {}, &events);
    assert_eq!(run.why(), "returned: lease over");
    assert!(
        run.told
            .iter()
            .any(|text| text.contains("heartbeat is not heard")),
        "{:?}",
        run.told
    );
    // A line that only carries one way: it is commanded into it all the same.
    let began = run.when(Phase::EnRoute).unwrap();
    let said = returns(&run);
    assert!(
        said.iter()
            .filter(|at| (22_000..62_000).contains(&(**at - began)))
            .count()
            > 30
    );
    // Silent until its time is up: the same.
    let change = |case: &mut Case| {
        case.setup.end = Some(at(300_000));
        case.fake.hangs = true;
    };
    let run = fly(
        change,
        &[(20_000, Event::Silent(true)), (250_000, Event::Silent(false))],
    );
    assert_eq!(run.why(), "returned: its time is up");
}

#[test]
fn a_rival_in_the_air_is_told_and_nothing_else() {
    let run = fly(|_| {}, &[(20_000, Event::Rival)]);
    assert!(matches!(run.end, End::Flown(_)), "{}", run.why());
    assert!(
        run.told.iter().any(|text| text.contains("our system id 255")),
        "{:?}",
        run.told
    );
}

#[test]
fn a_landing_elsewhere_and_an_early_one_are_told_apart() {
    let land = fly(
        |case| {
            case.setup.plan = plan(
                100.0,
                Step::Land {
                    at: Some(east(120.0)),
                },
            )
        },
        &[],
    );
    assert!(matches!(land.end, End::Flown(_)), "{}", land.why());
    // Nobody tells of landing or of mission items, and it lands by itself on the way.
    let low = |case: &mut Case| {
        case.fake.quirks.insert(Quirk::LandedUntold);
    };
    let run = fly(low, &[(20_000, Event::Mode(LAND))]);
    assert_eq!(run.why(), "returned: the autopilot lands by itself");
}

#[test]
fn one_that_stays_armed_after_landing_is_told_to_people() {
    let run = fly(|case| _ = case.fake.quirks.insert(Quirk::NeverDisarms), &[]);
    assert_eq!(
        run.why(),
        "hands off: it landed and does not disarm: keep away and disarm it by hand"
    );
    assert!(
        run.commands(CMD_COMPONENT_ARM_DISARM)
            .iter()
            .filter(|one| one.1 == 0.0)
            .count()
            > 10
    );
}

#[test]
fn a_long_flight_is_told_seldom() {
    let change = |case: &mut Case| {
        case.setup.drone.max_time = Duration::from_secs(1_700);
        case.fake.hangs = true;
    };
    let run = fly(change, &[]);
    assert!((12..=MOST_PROGRESS).contains(&run.told.len()), "{:?}", run.told);
    let silent = |said: &(u64, Said)| said.0 < 200_000;
    assert!(run.said.iter().any(silent), "{}", run.why());
}
