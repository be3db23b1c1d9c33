//! Random frames, silence, orders and answers: nothing panics, the rules hold (they are checked act by act in
//! [`super::run::Rules`]), and every flight ends.

use proptest::prelude::*;
use std::time::Duration;

use super::super::*;
use super::fake::*;
use super::run::*;
use crate::device::drone::geo::Position;
use crate::device::drone::wire::{Heard, Item, Node, ParamValue};

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(0.0),
        -1e9..1e9,
        0.0..60.0
    ]
}

fn list() -> impl Strategy<Value = ListKind> {
    prop_oneof![Just(ListKind::Mission), Just(ListKind::Fence)]
}

fn place() -> impl Strategy<Value = Position> {
    let near = (-0.002..0.002, -0.002..0.002).prop_map(|(north, east)| Position {
        latitude: HOME.latitude + north,
        longitude: HOME.longitude + east,
    });
    let any = (number(), number()).prop_map(|(latitude, longitude)| Position { latitude, longitude });
    prop_oneof![4 => near, 1 => any]
}

fn mode() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(AUTO),
        Just(GUIDED),
        Just(RTL),
        Just(LAND),
        Just(LOITER),
        any::<u32>()
    ]
}

fn command() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(400_u16),
        Just(300),
        Just(176),
        Just(20),
        Just(21),
        any::<u16>()
    ]
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        20 => Just(THEM),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(system, component)| Node { system, component })
    ]
}

fn heartbeat() -> impl Strategy<Value = Heard> {
    let autopilot = prop_oneof![8 => Just(3_u8), 1 => Just(12), 1 => any::<u8>()];
    let kind = prop_oneof![9 => Just(2_u8), 1 => any::<u8>()];
    let base = prop_oneof![Just(1_u8), Just(129)];
    (autopilot, kind, base, mode()).prop_map(|(autopilot, vehicle, base_mode, custom_mode)| {
        Heard::Heartbeat {
            autopilot,
            vehicle,
            base_mode,
            custom_mode,
            system_status: 4,
        }
    })
}

fn heard() -> impl Strategy<Value = Heard> {
    let small = || prop_oneof![0..6_u16, any::<u16>()];
    prop_oneof![
        4 => heartbeat(),
        2 => (place(), number(), number(), number()).prop_map(|(at, altitude, north, down)| {
            Heard::GlobalPosition { at, altitude_msl: altitude, altitude, north, east: 0.0, down }
        }),
        1 => (any::<u32>(), any::<u32>(), any::<u32>(), proptest::option::of(any::<u8>())).prop_map(
            |(present, enabled, health, battery_remaining)| Heard::SysStatus {
                present, enabled, health, voltage: Some(f32::NAN), battery_remaining
            }
        ),
        1 => Just(Heard::GpsRaw { fix: 3, satellites: Some(20) }),
        2 => (0..7_u8).prop_map(|landed| Heard::ExtendedSysState { landed }),
        1 => ".{0,300}".prop_map(|text| Heard::StatusText { severity: 2, text }),
        1 => small().prop_map(|seq| Heard::MissionCurrent { seq, state: 0 }),
        1 => small().prop_map(|seq| Heard::MissionItemReached { seq }),
        3 => (list(), small()).prop_map(|(list, seq)| Heard::MissionRequest { list, seq }),
        2 => (list(), small()).prop_map(|(list, count)| Heard::MissionCount { list, count }),
        2 => (list(), prop_oneof![Just(0_u8), 0..16_u8]).prop_map(|(list, result)| Heard::MissionAck { list, result }),
        1 => (list(), small(), any::<i32>()).prop_map(|(list, seq, x)| Heard::MissionItem(Item {
            list, seq, frame: 3, command: 16, current: false, autocontinue: true, params: [f32::NAN; 4], x, y: x, z: 1.0
        })),
        3 => (command(), 0..8_u8).prop_map(|(command, result)| Heard::CommandAck {
            command, result, progress: None, target: Node { system: 0, component: 0 }
        }),
        1 => (any::<u32>(), 0..12_u8).prop_map(|(bits, kind)| Heard::ParamValue {
            name: "FS_GCS_ENABLE".to_owned(), value: ParamValue { raw: f32::from_bits(bits), kind }
        }),
        1 => (place(), number()).prop_map(|(at, altitude_msl)| Heard::HomePosition { at, altitude_msl }),
        1 => (any::<bool>(), any::<u8>()).prop_map(|(breached, kind)| Heard::FenceStatus { breached, kind }),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::Return("why".to_owned())),
        Just(Order::Land("why".to_owned())),
        Just(Order::Stop("why".to_owned())),
    ]
}

/// What goes in.
#[derive(Debug, Clone)]
enum Input {
    Frame(Node, Heard),
    Order(Order),
    Confirmed(u8),
    Recorded,
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        40 => (node(), heard()).prop_map(|(from, heard)| Input::Frame(from, heard)),
        1 => order().prop_map(Input::Order),
        4 => (0..6_u8).prop_map(Input::Confirmed),
        4 => Just(Input::Recorded),
    ]
}

/// Any flight, from any state that can be begun in.
fn flights(which: u8) -> Flight {
    let setup = Case::new().setup;
    let record = |phase| Record {
        process: "p".to_owned(),
        mission: 7,
        phase,
    };
    match which {
        0 => Flight::preflight(setup, at(0)),
        1 => Flight::resume(record(RecordPhase::Armed), &setup.drone, at(0)),
        2 => Flight::resume(record(RecordPhase::Started), &setup.drone, at(0)),
        _ => Flight::dispatch(setup, at(0)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_breaks_no_rule_and_ends(
        which in 0..6_u8,
        inputs in proptest::collection::vec((0..2_500_u64, input()), 0..250),
    ) {
        let mut flight = flights(which);
        let mut vehicle = Vehicle::new(THEM, US);
        let mut rules = Rules::default();
        let mut millis = 0;
        let mut inputs = inputs.into_iter();
        // When nothing more comes, everything runs into its limit.
        while flight.wake().is_some() {
            let next = inputs.next();
            millis += next.as_ref().map_or(1_000, |one| one.0);
            prop_assert!(millis < 4 * 3_600_000, "it does not end: {}", flight.phase());
            let now = at(millis);
            match next.map(|one| one.1) {
                Some(Input::Frame(from, heard)) => {
                    let frame = Frame { from, heard };
                    vehicle.hear(&frame, now);
                    flight.hear(&vehicle, &frame, now);
                }
                Some(Input::Order(order)) => {
                    if !(1..=2).contains(&which) {
                        rules.order();
                    }
                    flight.order(order);
                }
                Some(Input::Confirmed(0)) => flight.confirmed(Confirmed::NotOurs("no".to_owned())),
                Some(Input::Confirmed(1)) => flight.confirmed(Confirmed::Unclear),
                Some(Input::Confirmed(_)) => {
                    let until = now + Duration::from_secs(1);
                    rules.confirm(until);
                    flight.confirmed(Confirmed::Until(until));
                }
                Some(Input::Recorded) => flight.recorded(),
                None => {}
            }
            flight.tick(&vehicle, now);
            while let Some(act) = flight.next_act() {
                rules.act(&act, &vehicle, now);
            }
            let _ = (flight.return_time(&vehicle, now), flight.obeyed(), flight.airborne());
        }
    }

    #[test]
    fn a_flight_through_random_faults_takes_off_at_most_once_and_ends(
        px4 in any::<bool>(),
        quirks in proptest::collection::btree_set(quirk(), 0..3),
        events in proptest::collection::vec((phase(), 0..60_000_u64, event()), 0..4),
        answers in proptest::collection::vec(0..5_u8, 0..4),
        noise in prop_oneof![Just(0_u64), any::<u64>()],
    ) {
        let mut case = Case::new();
        case.fake = Fake::new(px4);
        case.fake.quirks = quirks;
        case.events = events;
        case.noise = noise;
        case.answers = answers
            .into_iter()
            .map(|answer| match answer {
                0 => Confirmed::NotOurs("no".to_owned()),
                1 => Confirmed::Unclear,
                _ => Confirmed::Until(at(7_200_000)),
            })
            .collect();
        // Somebody else may let it go on from the ground; we don't.
        let others = case.events.iter().filter(|one| matches!(one.2, Event::Again)).count();
        let run = run(case);
        prop_assert!(run.fake.take_offs <= 1 + others, "{}", run.why());
        match &run.end {
            End::Flown(_) | End::Returned { .. } => {
                prop_assert!(!run.fake.armed, "{}", run.why());
                prop_assert!(run.fake.on_ground(), "{}", run.why());
            }
            End::NotFlown { .. } => {
                prop_assert!(run.arms() == 0 || !run.fake.armed, "{}", run.why());
                // A hop may be over before anything tells of it.
                prop_assert!(run.fake.highest < 2.5, "{}: {} m", run.why(), run.fake.highest);
            }
            End::HandsOff { .. } => {}
            End::Ready(_) => prop_assert!(false, "no dry run"),
        }
    }
}

#[test]
fn a_bad_line_alone_keeps_nobody_on_the_ground() {
    let mut flown = 0;
    for seed in 1..=100_u64 {
        let mut case = Case::new();
        case.noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        case.setup.drone.limits.fence = Some(square(200.0));
        let run = run(case);
        assert!(
            run.fake.take_offs <= 1 && !run.fake.armed && run.fake.on_ground(),
            "{}",
            run.why()
        );
        flown += usize::from(matches!(run.end, End::Flown(_)));
    }
    assert!(flown >= 95, "{flown} of 100");
}

fn quirk() -> impl Strategy<Value = Quirk> {
    proptest::sample::select(vec![
        Quirk::AsksTwice,
        Quirk::Booting,
        Quirk::RefusesMission,
        Quirk::HoldsAnother,
        Quirk::Rounds,
        Quirk::StartUnanswered,
        Quirk::StartIgnored,
        Quirk::StartDenied,
        Quirk::StartLostOnce,
        Quirk::ArmIgnored,
        Quirk::ArmLater,
        Quirk::LandedUntold,
        Quirk::DeniesReturn,
        Quirk::ReturnsLate,
        Quirk::StaysDown,
        Quirk::StaysArmed,
        Quirk::NeverDisarms,
        Quirk::KeepsMission,
        Quirk::ModeStuck,
        Quirk::FenceIgnored,
    ])
}

fn phase() -> impl Strategy<Value = Phase> {
    proptest::sample::select(vec![
        Phase::Connecting,
        Phase::Checking,
        Phase::Uploading,
        Phase::Arming,
        Phase::Starting,
        Phase::EnRoute,
        Phase::EnRoute,
        Phase::Holding,
        Phase::Returning,
        Phase::Landing,
        Phase::StandingDown,
    ])
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Mode(RTL)),
        Just(Event::Mode(LAND)),
        Just(Event::Mode(LOITER)),
        Just(Event::Mode(BRAKE)),
        any::<bool>().prop_map(Event::Silent),
        any::<bool>().prop_map(Event::Deaf),
        Just(Event::Battery(20.0)),
        Just(Event::Breach),
        Just(Event::Rival),
        order().prop_map(Event::Order),
        Just(Event::Again),
    ]
}
