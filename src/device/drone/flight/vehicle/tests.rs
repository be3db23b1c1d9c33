use super::*;

const THEM: Node = Node {
    system: 1,
    component: 1,
};
const US: Node = Node {
    system: 255,
    component: 191,
};

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

fn beat(base_mode: u8, custom_mode: u32) -> Heard {
    Heard::Heartbeat {
        autopilot: 3,
        vehicle: 2,
        base_mode,
        custom_mode,
        system_status: 4,
    }
}

fn position(latitude: f64, altitude: f64) -> Heard {
    Heard::GlobalPosition {
        at: Position {
            latitude,
            longitude: 8.5,
        },
        altitude_msl: 400.0 + altitude,
        altitude,
        north: 3.0,
        east: 4.0,
        down: 1.0,
    }
}

/// A vehicle that heard things at moments.
fn heard(things: &[(u64, Heard)]) -> Vehicle {
    let mut vehicle = Vehicle::new(THEM, US);
    for (millis, heard) in things {
        let frame = Frame {
            from: THEM,
            heard: heard.clone(),
        };
        vehicle.hear(&frame, at(*millis));
    }
    vehicle
}

#[test]
fn a_mode_is_settled_by_two_heartbeats_that_are_no_copies() {
    assert_eq!(heard(&[(0, beat(1, 4))]).settled(), None);
    assert_eq!(
        heard(&[(0, beat(1, 4)), (100, beat(1, 4))]).settled(),
        None,
        "a copy"
    );
    let settled = heard(&[(0, beat(1, 4)), (1000, beat(1, 4))]);
    assert_eq!(settled.settled(), Some((false, Mode::Guided)));
    let late = heard(&[(0, beat(129, 3)), (1000, beat(129, 3)), (1100, beat(1, 4))]);
    assert_eq!((late.settled(), late.mode()), (None, Some(Mode::Guided)));
}

#[test]
fn silence_is_five_seconds_without_a_heartbeat() {
    let vehicle = heard(&[(0, beat(1, 0)), (9_000, position(47.0, 0.0))]);
    assert!(vehicle.alive(at(4_999)) && !vehicle.alive(at(5_000)));
    assert!(!Vehicle::new(THEM, US).alive(at(0)));
    let camera = Heard::Heartbeat {
        autopilot: 8,
        vehicle: 30,
        base_mode: 0,
        custom_mode: 0,
        system_status: 4,
    };
    assert!(!heard(&[(0, camera)]).alive(at(0)), "no autopilot");
}

#[test]
fn numbers_that_can_t_be_are_dropped() {
    for bad in [
        position(f64::NAN, 1.0),
        position(95.0, 1.0),
        position(47.0, f64::NAN),
        position(47.0, f64::INFINITY),
        Heard::GlobalPosition {
            at: Position {
                latitude: 0.0,
                longitude: 0.0,
            },
            altitude_msl: 0.0,
            altitude: 0.0,
            north: 0.0,
            east: 0.0,
            down: 0.0,
        },
    ] {
        assert_eq!(heard(&[(0, bad)]).last_fix(), None);
    }
    let fix = heard(&[(0, position(47.0, 20.0))]).last_fix().unwrap();
    assert_eq!((fix.speed, fix.climb, fix.altitude), (5.0, -1.0, 20.0));
    let battery = |battery_remaining| Heard::SysStatus {
        present: 0,
        enabled: 0,
        health: 0,
        voltage: Some(f32::NAN),
        battery_remaining,
    };
    let vehicle = heard(&[(0, battery(Some(101)))]);
    assert_eq!(
        (vehicle.battery(), vehicle.voltage(), vehicle.prearm()),
        (None, None, None)
    );
}

#[test]
fn a_landing_a_fall_and_a_reboot_are_told_apart() {
    let landed = |landed| Heard::ExtendedSysState { landed };
    let flown = |then: &[(u64, Heard)]| {
        let mut all = vec![(0, beat(129, 6))];
        all.extend(then.iter().cloned());
        heard(&all).disarmed_on_ground()
    };
    let high: Vec<_> = (0..8).map(|n| (n * 250, position(47.0, 20.0))).collect();
    let sinking: Vec<_> = (0..8)
        .map(|n| (n * 250, position(47.0, 15.0 - n as f64 / 4.0)))
        .collect();
    let down: Vec<_> = (0..8).map(|n| (n * 250, position(47.0, 0.5))).collect();
    let rebooted: Vec<_> = (8..12).map(|n| (n * 250, position(47.0, 0.0))).collect();
    assert!(flown(&down));
    assert!(
        !flown(&[high.clone(), vec![(2_000, landed(2))]].concat()),
        "hovering"
    );
    assert!(
        !flown(&[high.clone(), vec![(2_000, beat(1, 6)), (2_100, landed(1))]].concat()),
        "it always says so"
    );
    assert!(
        flown(&[high.clone(), vec![(2_000, landed(4))]].concat()),
        "on a hill, and still"
    );
    assert!(!flown(&[sinking, vec![(2_000, landed(4))]].concat()), "not still");
    assert!(
        flown(&[high.clone(), vec![(2_000, landed(1))]].concat()),
        "it stood before it disarmed"
    );
    assert!(
        !flown(&[high, vec![(1_900, landed(2))], rebooted].concat()),
        "its height begins anew"
    );
}

#[test]
fn somebody_with_our_system_id_is_noticed() {
    let mut vehicle = Vehicle::new(THEM, US);
    let mut from = |system, component| {
        let from = Node { system, component };
        vehicle.hear(
            &Frame {
                from,
                heard: beat(0, 0),
            },
            at(0),
        );
        vehicle.rival(at(0))
    };
    assert!(!from(254, 190) && !from(1, 154));
    assert!(from(255, 190));
    assert!(!vehicle.rival(at(10_000)), "it is gone");
    // On board, with the vehicle's system id.
    let mut vehicle = Vehicle::new(
        THEM,
        Node {
            system: 1,
            component: 191,
        },
    );
    let mut from = |component| {
        let from = Node { system: 1, component };
        vehicle.hear(
            &Frame {
                from,
                heard: beat(0, 0),
            },
            at(0),
        );
        vehicle.rival(at(0))
    };
    assert!(!from(154), "a gimbal");
    assert!(from(191));
}

#[test]
fn reasons_are_warnings_since_then_each_once() {
    let text = |severity, text: &str| Heard::StatusText {
        severity,
        text: text.to_owned(),
    };
    let vehicle = heard(&[
        (0, text(2, "old")),
        (10, text(2, "PreArm: a\u{7}")),
        (20, text(6, "info")),
        (30, text(4, "PreArm: b")),
        (40, text(2, "PreArm: a")),
    ]);
    assert_eq!(vehicle.reasons(at(5)), "PreArm: b; PreArm: a");
    assert_eq!(vehicle.reasons(at(50)), "");
    let many: Vec<_> = (0..100).map(|n| (n, text(2, &"x".repeat(1_000)))).collect();
    let vehicle = heard(&many);
    assert_eq!(vehicle.texts().count(), MOST_TEXTS);
    assert!(vehicle.texts().all(|text| text.text.len() == LONGEST_TEXT));
}

#[test]
fn in_the_air_is_what_it_says_or_else_how_high_it_is() {
    let landed = |landed| Heard::ExtendedSysState { landed };
    let high = (0, position(47.0, 20.0));
    assert!(heard(std::slice::from_ref(&high)).in_air(at(0)));
    assert!(!heard(&[high.clone(), (0, landed(1))]).in_air(at(0)));
    assert!(heard(&[(0, position(47.0, 0.0)), (0, landed(3))]).in_air(at(0)));
    assert!(!heard(&[high]).in_air(at(60_000)), "nothing is known any more");
    assert_eq!(heard(&[(0, landed(0)), (0, landed(9))]).landed(at(0)), None);
}
