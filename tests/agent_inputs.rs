//! A button on one agent turns on a lamp on another, through the real hub.
#![cfg(all(feature = "agent", feature = "hub"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod agent_rig;

use std::sync::Arc;

use agent_rig::{Rig, until};
use outpost::agent::keeper::Keeper;
use outpost::agent::reload::Reloads;
use outpost::agent::service::{Agent, Surroundings};
use outpost::agent::settings;
use outpost::clock::{SharedClock, SystemClock};
use outpost::device::Cancellation;
use outpost::device::gpio::{Level, LineSpec, SimulatedBoard};
use outpost::notify::Notifier;
use outpost::protocol::model::{Process, ProcessState, SUBMISSION_ID};

/// Everything of the porch's that ended well.
async fn done(rig: &Rig) -> Vec<Process> {
    let operator = rig.operator();
    let history = operator
        .history(&rig.colony_id, "", 600, ProcessState::Successful)
        .await;
    history.unwrap().value
}

// Whoever waits for an agent's lines keeps its thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_turns_on_a_lamp_elsewhere() {
    let rig = Rig::start().await;
    let porch = rig.agent("porch");
    porch.logged("enrolled as porch").await;
    // The agent with the button runs here, so that the test can press it.
    let more = r#"
[devices.button]
kind = "input"
line = "GPIO5"
active_low = true
bias = "pull-up"
[[devices.button.submit]]
edge = "rising"
func = "lamp.on"
runtime = "porch"
[[devices.button.submit]]
edge = "falling"
func = "lamp.pulse"
args = ["50ms"]
runtime = "porch"
"#;
    let file = rig.configure("hall", more);
    let settings = settings::load(Some(&file), std::iter::empty()).unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let board = SimulatedBoard::new(clock.clone());
    let button = LineSpec {
        active_low: true,
        ..LineSpec::named("GPIO5")
    };
    board.set_input(&button, Level::Off);
    let agent = Agent::new(
        &settings,
        Some(&file),
        clock,
        Arc::new(|| 0.5),
        &board,
        Keeper::threaded,
    )
    .unwrap();
    let stop = Cancellation::new();
    let surroundings = Surroundings {
        notifier: Notifier::default(),
        watchdog: None,
        reloads: Reloads::never(),
    };
    let hall = tokio::spawn(Box::pin(agent.run(stop.clone(), surroundings)));

    // Pressed before it is enrolled perhaps: that is within the ten seconds.
    board.set_input(&button, Level::On);
    assert_eq!(porch.line(0, "edge "), "edge GPIO17 on");
    let ended = until(
        || async { Some(done(&rig).await).filter(|ended| ended.len() == 1) },
        || "it never ends".to_owned(),
    )
    .await;
    assert_eq!(ended[0].spec.func, "lamp.on");
    assert_eq!(ended[0].spec.max_retries, 0);
    assert!(!ended[0].spec.env[SUBMISSION_ID].is_empty());
    board.set_input(&button, Level::Off);
    assert_eq!(porch.line(1, "edge "), "edge GPIO17 off", "the pulse ends so");
    assert!(board.levels("GPIO17").is_empty(), "the hall's own lamp stays off");

    stop.cancel("enough");
    assert_eq!(hall.await.unwrap(), 0);
}
