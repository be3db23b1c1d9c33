//! The drone as a device on the simulated vehicle: whole flights, and what can go wrong in them, in paused time. The
//! simulated vehicle shares no code with the agent's side; what really happened is asked of it ([`Truth`]).
#![cfg(all(feature = "agent", feature = "cli"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test's helpers may stop it, too"
)]

mod rig;

use std::time::Duration;

use outpost::device::Call;
use outpost::vehicle::{Config, Family, Faults, Truth};

use rig::{Rig, north};

const MINUTES: Duration = Duration::from_secs(60);

fn dispatch() -> Call {
    Call::new("dispatch").arg(north(60.0, "20,5s"))
}

#[tokio::test(start_paused = true)]
async fn a_drone_flies_to_a_point_and_comes_home() {
    for family in [Family::ArduPilot, Family::Px4] {
        let rig = Rig::with(Config::new(family).with_failsafes(), Faults::default(), 1, "");
        let outcome = rig.run(dispatch(), rig.context("p1", 15 * MINUTES)).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{family:?}: {error}"));
        let truth = rig.vehicle.truth();
        assert_eq!(
            (truth.take_offs.len(), truth.landings.len()),
            (1, 1),
            "{family:?}"
        );
        assert!(
            !truth.armed && (55.0..70.0).contains(&truth.farthest),
            "{}",
            truth.farthest
        );
        assert!(outcome.get("track").unwrap().contains("LineString"));
        assert!(!rig.flight_note().exists());
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_in_flight_brings_it_home_and_the_flight_tells_so() {
    let rig = Rig::new("");
    let flight = rig.run(dispatch(), rig.context("p1", 15 * MINUTES));
    let abort = async {
        let flies = |truth: &Truth| truth.airborne() && truth.farthest > 20.0;
        assert!(rig.vehicle.until(5 * MINUTES, flies).await);
        let asked = rig.vehicle.now();
        let outcome = rig
            .drone
            .perform(Call::new("abort"), rig.context("p2", MINUTES))
            .await
            .unwrap();
        assert!(rig.vehicle.now() - asked < Duration::from_secs(2));
        assert_eq!(outcome.get("state"), Some("returning"));
    };
    let (flown, ()) = tokio::join!(flight, abort);
    let error = flown.unwrap_err();
    assert!(
        error.to_string().contains("told to abort by process p2"),
        "{error}"
    );
    assert!(error.attributes().iter().any(|(name, _)| name == "track"));
    let truth = rig.vehicle.truth();
    assert!(!truth.armed && truth.landings.len() == 1 && truth.farthest < 55.0);
}
