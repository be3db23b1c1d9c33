//! An output that can't be made safe ends the agent, so that `outpost-agent safe` runs; but not for ever (docs/fence.md, 7).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::fault_exits::{EXIT_CODE, MOST};
use crate::agent::reload::Reloads;
use crate::agent::service::{Agent, Surroundings};
use crate::agent::settings::{self, Settings};
use crate::clock::TestClock;
use crate::device::Cancellation;
use crate::device::gpio::{LineFault, SimulatedBoard};
use crate::notify::Notifier;

/// A lamp that is on from the start and has to go off by itself after a second. Nobody listens where the server should be.
fn settings(folder: &Path) -> Settings {
    let file = folder.join("agent.toml");
    let text = format!(
        "[server]\nurl = \"http://127.0.0.1:1\"\n[colony]\nid = \"{}\"\n[runtime]\ntype = \"cli\"\n\
         [agent]\nstate_dir = \"{}\"\n[gpio]\nbackend = \"simulated\"\n\
         [devices.lamp]\nkind = \"lamp\"\nline = \"GPIO17\"\non_start = \"on\"\nmax_on = \"1s\"\n",
        "a".repeat(64),
        folder.join("state").display()
    );
    std::fs::write(&file, text).unwrap();
    settings::load(Some(&file), std::iter::empty()).unwrap()
}

/// One life: its exit code, and why it ended. Told to stop after a minute, if it did not end by itself.
async fn live(settings: &Settings, clock: &Arc<TestClock>, fault: Option<LineFault>) -> (u8, String) {
    let board = SimulatedBoard::new(clock.clone());
    let agent = Agent::new(settings, None, clock.clone(), Arc::new(|| 0.5), &board).unwrap();
    board.set_fault("GPIO17", fault);
    let stop = Cancellation::new();
    let surroundings = Surroundings {
        notifier: Notifier::default(),
        watchdog: None,
        reloads: Reloads::never(),
    };
    let (stopping, reason) = (stop.clone(), stop.clone());
    let stopper = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        stopping.cancel("enough");
    });
    let code = Box::pin(agent.run(stop, surroundings)).await;
    stopper.abort();
    (code, reason.reason().unwrap().to_string())
}

#[tokio::test(start_paused = true)]
async fn an_output_that_can_t_be_made_safe_ends_the_agent_a_few_times_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let clock = TestClock::new(0);
    let broken = || Some(LineFault::Error(5));
    for _ in 0..MOST {
        let ended = live(&settings, &clock, broken()).await;
        assert_eq!(ended, (EXIT_CODE, "lamp can't be made safe".to_owned()));
    }
    let ended = live(&settings, &clock, broken()).await;
    let enough = (0, "enough".to_owned());
    assert_eq!(ended, enough, "ending has not helped, so it stays up");
    tokio::time::advance(Duration::from_secs(3600)).await;
    let (code, _) = live(&settings, &clock, broken()).await;
    assert_eq!(code, EXIT_CODE, "an hour later it is worth a try again");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_follows_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ended = live(&settings(folder.path()), &TestClock::new(0), None).await;
    assert_eq!(ended, (0, "enough".to_owned()));
}
