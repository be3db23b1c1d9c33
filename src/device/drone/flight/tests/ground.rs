//! Everything that ends a flight before it flies, and what may go wrong and does not matter.

use std::time::Duration;

use super::super::*;
use super::fake::*;
use super::run::*;
use crate::device::drone::plan::Step;
use crate::device::drone::settings::Failsafes;
use crate::device::drone::wire::{Said, SignatureTrouble};

fn stop() -> Event {
    Event::Order(Order::Stop("deleted".to_owned()))
}

type Row = (&'static str, fn(&mut Case), &'static str);

/// Runs rows that must not fly: never armed at the end, its mission empty.
fn not_flown(rows: &[Row]) {
    for (name, change, why) in rows {
        let mut case = Case::new();
        change(&mut case);
        let run = run(case);
        assert!(matches!(run.end, End::NotFlown { .. }), "{name}: {}", run.why());
        assert!(run.why().contains(why), "{name}: {}", run.why());
        assert_eq!((run.fake.take_offs, run.fake.armed), (0, false), "{name}");
        assert!(run.fake.mission.is_empty(), "{name}: the mission is cleared");
    }
}

#[test]
fn what_is_not_fit_to_fly_is_refused_with_its_reason() {
    not_flown(&[
        (
            "nobody",
            |case| case.fake.silent = true,
            "no heartbeat of system 1 component 1",
        ),
        ("a plane", |case| case.fake.kind = 1, "only multicopters"),
        (
            "no fix",
            |case| _ = case.fake.quirks.insert(Quirk::NoFix),
            "needed are fix 3 and 8 satellites",
        ),
        (
            "home far",
            |case| _ = case.fake.quirks.insert(Quirk::HomeFar),
            "is 200 m from where it stands",
        ),
        (
            "battery",
            |case| case.fake.battery = 40.0,
            "battery 40 %, below min_battery = 50",
        ),
        (
            "battery for so far",
            |case| {
                case.fake.battery = 60.0;
                case.setup.drone.performance.endurance = Duration::from_secs(200);
            },
            "25 % are kept",
        ),
        (
            "prearm",
            |case| _ = case.fake.quirks.insert(Quirk::PrearmBad),
            "Compass not calibrated",
        ),
        (
            "mode",
            |case| _ = case.fake.quirks.insert(Quirk::ModeStuck),
            "it stays in STABILIZE: it accepted",
        ),
        (
            "limits",
            |case| case.setup.plan = plan(400.0, Step::Return),
            "max_distance",
        ),
        (
            "time",
            |case| case.setup.end = Some(at(100_000)),
            "raise maxexectime",
        ),
        (
            "failsafe",
            |case| _ = case.fake.params.insert("FS_GCS_ENABLE", 0.0),
            "FS_GCS_ENABLE",
        ),
        (
            "no parameters",
            |case| case.fake.params.clear(),
            "could not be read",
        ),
        (
            "rival",
            |case| case.events.push((Phase::Failsafes, 500, Event::Rival)),
            "our system id 255",
        ),
    ]);
}

#[test]
fn another_home_is_waited_for_only_while_it_may_still_be_set() {
    use Quirk::{HomeFar, HomeUntold, NoFix, PrearmBad};
    let case = |quirks: &[Quirk], px4| {
        let mut case = Case::new();
        case.fake = Fake::new(px4);
        case.fake.quirks.extend(quirks);
        case
    };
    let rows: [(&[Quirk], bool, std::ops::Range<u64>); 5] = [
        (&[HomeFar], false, 1_500..8_000),
        // It may know where it is only later, and set home there; what was told before is old; PX4's home comes along.
        (&[HomeFar, NoFix], false, 45_000..45_200),
        (&[HomeFar, PrearmBad], false, 45_000..45_200),
        (&[HomeFar, HomeUntold], false, 45_000..45_200),
        (&[HomeFar], true, 45_000..45_200),
    ];
    for (quirks, px4, span) in rows {
        let run = run(case(quirks, px4));
        assert!(
            run.why().contains("is 200 m from where it stands"),
            "{}",
            run.why()
        );
        let began = run.phases.iter().find(|one| one.1 == Phase::Checking).unwrap().0;
        let waited = run.millis - began;
        assert!(span.contains(&waited), "{quirks:?} {px4}: {waited}");
    }
    for (quirks, px4) in [(&[HomeFar, NoFix][..], false), (&[HomeFar], true)] {
        let mut case = case(quirks, px4);
        for quirk in quirks {
            case.events.push((Phase::Checking, 30_000, Event::Mended(*quirk)));
        }
        let run = run(case);
        assert!(matches!(run.end, End::Flown(_)), "{px4}: {}", run.why());
    }
}

#[test]
fn where_signatures_are_the_reason_they_are_named() {
    not_flown(&[
        (
            "it alone signs",
            |case| (case.fake.deaf, case.fake.signatures) = (true, Some(SignatureTrouble::OnlyTheirs)),
            "its failsafes can't be read: it signs what it says, and obeys on this port only what is signed",
        ),
        (
            "it alone signs, and nobody looks at its failsafes",
            |case| {
                (case.fake.deaf, case.fake.signatures) = (true, Some(SignatureTrouble::OnlyTheirs));
                case.setup.drone.failsafes = Failsafes::Ignore;
            },
            "it stays in STABILIZE: it did not answer: it signs what it says",
        ),
        (
            "another key",
            |case| (case.fake.silent, case.fake.signatures) = (true, Some(SignatureTrouble::OtherKey)),
            "no heartbeat of system 1 component 1 within 30 s; what it says is signed by another key",
        ),
    ]);
    // A first port obeys what is not signed, too.
    let mut case = Case::new();
    case.fake.signatures = Some(SignatureTrouble::OnlyTheirs);
    let run = run(case);
    assert!(matches!(run.end, End::Flown(_)), "{}", run.why());
}

#[test]
fn what_fails_is_told_together_with_what_the_autopilot_has_against_it() {
    not_flown(&[(
        "battery and prearm",
        |case| {
            case.fake.battery = 40.0;
            case.fake.quirks.insert(Quirk::PrearmBad);
        },
        "below min_battery = 50: charge it; the autopilot is not ready to arm: PreArm: Compass not calibrated",
    )]);
}

#[test]
fn a_vehicle_that_is_armed_is_left_alone() {
    let mut case = Case::new();
    (case.fake.armed, case.fake.altitude) = (true, 10.0);
    case.fake.set_mode(LOITER);
    let run = run(case);
    assert!(
        run.why().starts_with("not flown: it is armed already"),
        "{}",
        run.why()
    );
    assert!(run.said.is_empty() && run.fake.armed, "{:?}", run.said);
}

#[test]
fn lists_that_are_not_there_as_given_are_refused_and_cleared() {
    fn fenced(case: &mut Case) {
        case.setup.drone.limits.fence = Some(square(200.0));
    }
    not_flown(&[
        (
            "refused",
            |case| _ = case.fake.quirks.insert(Quirk::RefusesMission),
            "refused the mission with INVALID_PARAM5_X",
        ),
        (
            "differs",
            |case| _ = case.fake.quirks.insert(Quirk::HoldsAnother),
            "the mission was read back differently than it was sent, at item 2",
        ),
        (
            "the fence differs",
            |case| {
                fenced(case);
                case.fake.quirks.insert(Quirk::HoldsAnotherFence);
            },
            "the fence was read back differently",
        ),
    ]);
    let mut case = Case::new();
    case.events.push((Phase::Uploading, 0, Event::Deaf(true)));
    let run = run(case);
    assert_eq!(
        run.why(),
        "not flown: the autopilot did not take the mission: it stopped answering; the mission may still be in the vehicle, clear it by hand"
    );
}

#[test]
fn arming_and_starting_need_the_server_and_the_vehicle() {
    not_flown(&[
        (
            "arming refused",
            |case| _ = case.fake.quirks.insert(Quirk::ArmNever),
            "FAILED: Arm: Need Position Estimate",
        ),
        (
            "arming ignored",
            |case| _ = case.fake.quirks.insert(Quirk::ArmIgnored),
            "it accepted, but is not armed",
        ),
        (
            "not ours",
            |case| case.answers = vec![Confirmed::NotOurs("it was deleted".to_owned())],
            "it was deleted",
        ),
        (
            "not ours once armed",
            |case| {
                let until = Confirmed::Until(at(60_000));
                case.answers = vec![until, Confirmed::NotOurs("it was requeued".to_owned())];
            },
            "it was requeued",
        ),
        (
            "unclear",
            |case| case.answers = vec![Confirmed::Unclear; 5],
            "the server could not be asked",
        ),
        (
            "too old",
            |case| case.answers = vec![Confirmed::Until(at(0)); 5],
            "the server could not be asked",
        ),
        (
            "unclear once armed",
            |case| {
                let until = Confirmed::Until(at(60_000));
                case.answers = vec![until, Confirmed::Unclear, Confirmed::Unclear];
            },
            "the server could not be asked",
        ),
        (
            "not recorded",
            |case| case.writes = false,
            "could not be recorded before arming",
        ),
        (
            "start ignored",
            |case| _ = case.fake.quirks.insert(Quirk::StartIgnored),
            "it accepted the start, but its mode did not become that of a mission; it stayed in GUIDED",
        ),
        (
            "start denied",
            |case| _ = case.fake.quirks.insert(Quirk::StartDenied),
            "the start failed: it answered DENIED",
        ),
        (
            "start neither answered nor obeyed",
            |case| {
                case.fake
                    .quirks
                    .extend([Quirk::StartUnanswered, Quirk::StartIgnored])
            },
            "it did not obey the start",
        ),
        (
            "disarms by itself",
            |case| case.events.push((Phase::Starting, 0, Event::Disarm)),
            "it disarmed by itself before its start was obeyed",
        ),
        (
            "stays down",
            |case| _ = case.fake.quirks.insert(Quirk::StaysDown),
            "it was started, and did not leave the ground in 30 s",
        ),
        (
            "a pilot before the start",
            |case| {
                case.fake.quirks.insert(Quirk::StartIgnored);
                case.events.push((Phase::Starting, 500, Event::Mode(LOITER)));
            },
            "somebody else changed its mode to LOITER",
        ),
        (
            "mode changed before arming",
            |case| {
                case.fake.quirks.insert(Quirk::ArmNever);
                case.events.push((Phase::Arming, 500, Event::Mode(LOITER)));
            },
            "somebody else changed its mode to LOITER",
        ),
    ]);
}

#[test]
fn an_order_before_the_start_stands_down_in_every_phase() {
    let phases = [
        (Phase::Connecting, false),
        (Phase::Failsafes, false),
        (Phase::SettingMode, false),
        (Phase::Checking, false),
        (Phase::Uploading, false),
        (Phase::Arming, true),
        (Phase::Starting, true),
    ];
    for (phase, armed) in phases {
        for order in [Order::Return, Order::Land, Order::Stop] {
            for after in [0, 300, 1_100] {
                let mut case = Case::new();
                let order = Event::Order(order("deleted".to_owned()));
                case.fake.quirks.insert(Quirk::StartIgnored);
                case.events.push((phase, after, order));
                let run = run(case);
                assert_eq!(run.why(), "not flown: deleted", "{phase} {after}");
                assert!(!run.fake.armed && run.fake.mission.is_empty(), "{phase} {after}");
                assert!(run.starts() == 0 || armed, "{phase}");
            }
        }
    }
    // The start was obeyed at the same moment, and it still stands: it is disarmed.
    let mut case = Case::new();
    case.fake.quirks.insert(Quirk::StaysDown);
    case.events.push((Phase::EnRoute, 0, stop()));
    let run = run(case);
    assert_eq!(run.why(), "not flown: deleted");
    assert!(!run.fake.armed);
}

#[test]
fn the_link_may_be_lost_before_arming() {
    let mut case = Case::new();
    case.events.push((Phase::Checking, 0, Event::Silent(true)));
    let run1 = run(case);
    assert!(run1.why().starts_with("not flown: "), "{}", run1.why());
    assert!(run1.millis < 60_000, "{}", run1.millis);
    // When it may be armed, it is waited for, and disarmed.
    let mut case = Case::new();
    case.fake.quirks.extend([Quirk::StartIgnored, Quirk::StaysArmed]);
    case.events.push((Phase::Starting, 0, Event::Silent(true)));
    case.events.push((Phase::Starting, 60_000, Event::Silent(false)));
    let run2 = run(case);
    assert!(run2.why().starts_with("not flown: "), "{}", run2.why());
    assert!(!run2.fake.armed);
    let mut case = Case::new();
    case.events.push((Phase::Starting, 0, Event::Silent(true)));
    let run3 = run(case);
    assert!(matches!(run3.end, End::HandsOff { .. }), "{}", run3.why());
}

#[test]
fn one_that_does_not_disarm_is_told_to_people() {
    let mut case = Case::new();
    case.fake.quirks.extend([Quirk::NeverDisarms, Quirk::StartDenied]);
    let run1 = run(case);
    assert!(matches!(run1.end, End::HandsOff { .. }));
    assert!(
        run1.why().contains("keep away and disarm it by hand"),
        "{}",
        run1.why()
    );
    let mut case = Case::new();
    case.fake.quirks.extend([Quirk::KeepsMission, Quirk::StartDenied]);
    let run2 = run(case);
    assert!(
        run2.why().contains("the mission may still be in the vehicle"),
        "{}",
        run2.why()
    );
}

#[test]
fn a_dry_run_checks_and_leaves_nothing() {
    let mut case = Case::new();
    case.dry = true;
    let run1 = run(case);
    let why = run1.why();
    let found = "ready: ArduPilot, a multicopter; GPS fix 3 with 14 satellites; home 47.397700,8.545600; battery 95 %; 200 m over ground in about ";
    assert!(
        why.starts_with(found) && why.ends_with("; the autopilot is ready to arm"),
        "{why}"
    );
    let lists = run1
        .said
        .iter()
        .filter(|one| matches!(one.1, Said::MissionCount { .. }));
    assert_eq!((lists.count(), run1.arms(), run1.records.len()), (0, 0, 0));
    let mut case = Case::new();
    case.dry = true;
    case.fake.quirks.extend([Quirk::PrearmBad, Quirk::NoFix]);
    let run2 = run(case);
    assert!(
        run2.why().contains("satellites") && run2.why().contains("Compass"),
        "everything at once: {}",
        run2.why()
    );
}

#[test]
fn what_can_be_waited_for_or_done_again_is() {
    let rows: [(&str, &[Quirk], bool); 9] = [
        ("as it should be", &[], false),
        ("asks twice, rounds", &[Quirk::AsksTwice, Quirk::Rounds], false),
        ("booting", &[Quirk::Booting], false),
        ("start unanswered", &[Quirk::StartUnanswered], false),
        ("start lost", &[Quirk::StartLostOnce], false),
        ("arms later", &[Quirk::ArmLater], false),
        ("landed untold", &[Quirk::LandedUntold], false),
        ("stays armed until told", &[Quirk::StaysArmed], false),
        ("PX4", &[], true),
    ];
    for (name, quirks, px4) in rows {
        let mut case = Case::new();
        case.fake = Fake::new(px4);
        case.fake.quirks.extend(quirks);
        case.setup.drone.limits.fence = Some(square(200.0));
        let run = run(case);
        let End::Flown(summary) = &run.end else {
            panic!("{name}: {}", run.why());
        };
        assert!(
            (195.0..215.0).contains(&summary.distance),
            "{name}: {}",
            summary.distance
        );
        assert!(
            (98.0..105.0).contains(&summary.farthest),
            "{name}: {}",
            summary.farthest
        );
        assert!(
            (60..140).contains(&summary.time_aloft.as_secs()),
            "{name}: {summary:?}"
        );
        assert!(summary.track.len() > 50, "{name}");
        assert_eq!((run.fake.take_offs, run.fake.armed), (1, false), "{name}");
        assert_eq!(run.fake.fence.len(), 4, "{name}: the fence stays");
        assert!(
            run.fake.mission.is_empty(),
            "{name}: the mission is cleared after the landing, too"
        );
        assert_eq!(run.records, [RecordPhase::Armed, RecordPhase::Started], "{name}");
        let lost = usize::from(quirks.contains(&Quirk::StartLostOnce));
        assert_eq!(run.starts(), 1 + lost, "{name}");
        assert!(run.told.len() < 15, "{name}: {:?}", run.told);
    }
}

#[test]
fn failsafes_are_set_where_that_is_wished_and_not_looked_at_where_it_is_not() {
    for policy in [Failsafes::Set, Failsafes::Ignore] {
        let mut case = Case::new();
        case.setup.drone.failsafes = policy;
        case.fake.params.insert("FS_GCS_ENABLE", 0.0);
        let run = run(case);
        assert!(matches!(run.end, End::Flown(_)), "{}", run.why());
        let held = run.fake.params["FS_GCS_ENABLE"];
        assert_eq!(held, if policy == Failsafes::Set { 1.0 } else { 0.0 });
    }
}

#[test]
fn the_phases_are_those_of_the_diagram_in_order() {
    let run = run(Case::new());
    let phases: Vec<Phase> = run.phases.iter().map(|one| one.1).collect();
    assert_eq!(
        phases,
        [
            Phase::Connecting,
            Phase::Failsafes,
            Phase::SettingMode,
            Phase::Checking,
            Phase::Uploading,
            Phase::Arming,
            Phase::Starting,
            Phase::EnRoute,
            Phase::Holding,
            Phase::EnRoute,
            Phase::Landing,
            Phase::StandingDown,
            Phase::Over,
        ]
    );
    assert!(
        run.told.iter().any(|text| text.starts_with("Checks passed: ")),
        "{:?}",
        run.told
    );
    assert!(
        run.told
            .last()
            .is_some_and(|text| text.starts_with("Landed and disarmed: "))
    );
}
