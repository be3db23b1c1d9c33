//! An output that can't be made safe ends the agent, so that `outpost-agent safe` runs; but not for ever (docs/fence.md, 7).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::fault_exits::{EXIT_CODE, MOST};
use crate::agent::fence::{Attempt, Close};
use crate::agent::journal::{Moment, Record, Report, Role};
use crate::agent::keeper::Keeper;
use crate::agent::reload::Reloads;
use crate::agent::service::{self, Agent, Surroundings};
use crate::agent::settings::{self, HeartbeatLine, Settings};
use crate::clock::{BootTime, Clock, SharedClock, TestClock};
use crate::device::Cancellation;
use crate::device::gpio::{Level, LineFault, LineSpec, Physical, SimulatedBoard};
use crate::notify::Notifier;
use crate::protocol::Time;

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
    live_on(&SimulatedBoard::new(clock.clone()), settings, clock, fault).await
}

async fn live_on(
    board: &SimulatedBoard,
    settings: &Settings,
    clock: &Arc<TestClock>,
    fault: Option<LineFault>,
) -> (u8, String) {
    let inline = |journal| Ok(Keeper::inline(journal));
    let agent = Agent::new(settings, None, clock.clone(), Arc::new(|| 0.5), board, inline).unwrap();
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

/// What a relay on the heartbeat line sees.
#[tokio::test(start_paused = true)]
async fn the_heartbeat_stops_when_an_output_is_not_safe_and_when_the_agent_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.safety.heartbeat_line = Some(HeartbeatLine(LineSpec::named("GPIO25")));
    let clock = TestClock::new(0);
    let beats = |board: &SimulatedBoard, from: BootTime| {
        let edges = board.edges().into_iter().filter(|edge| edge.line == "GPIO25");
        let edges: Vec<_> = edges.collect();
        assert_eq!(edges.last().unwrap().level, Level::Off);
        (edges.len(), edges.last().unwrap().at.saturating_since(from))
    };
    let well = SimulatedBoard::new(clock.clone());
    let (code, _) = live_on(&well, &settings, &clock, None).await;
    assert_eq!(code, 0);
    let (count, last) = beats(&well, BootTime::default());
    assert!(count > 230, "{count} edges in a minute");
    assert!(last >= Duration::from_secs(60), "until the end: {last:?}");
    for life in 0..=MOST {
        let began = clock.now();
        let broken = SimulatedBoard::new(clock.clone());
        let (code, _) = live_on(&broken, &settings, &clock, Some(LineFault::Error(5))).await;
        assert_eq!(
            code == 0,
            life == MOST,
            "the last one stays up, without a heartbeat"
        );
        // The lamp has to go off after a second, and can't.
        let (count, last) = beats(&broken, began);
        assert!((4..10).contains(&count), "life {life}: {count}");
        assert!(last < Duration::from_secs(2), "life {life}: {last:?}");
    }
}

/// Nobody but the control lane's own runtime can close what that was assigned, also when it is not wanted any more.
#[tokio::test(start_paused = true)]
async fn a_control_lane_that_is_off_runs_as_long_as_it_owes_results() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.agent.control = Some(false);
    let clock = TestClock::new(0);
    let (code, _) = live(&settings, &clock, None).await;
    assert_eq!(code, 0);
    assert!(!settings.control_key_file().exists(), "nothing is owed");
    let shared: SharedClock = clock.clone();
    let (mut journal, _) = service::open_journal(&settings.agent.state_dir, &shared).unwrap();
    let report = Report {
        attempt: Attempt {
            process_id: "b".repeat(64),
            retries: 0,
            start_time: Time::from_unix_nanos(1_660_000_000_000_000_123),
        },
        role: Role::Control,
        close: Close::Successful,
        attributes: Vec::new(),
        attached: 0,
        at: Moment::of(&*clock),
        lease_end: None,
        not_after: None,
    };
    journal.record(Record::Result(report)).unwrap();
    drop(journal);
    let (code, _) = live(&settings, &clock, None).await;
    assert_eq!(code, 0);
    assert!(settings.control_key_file().exists());
}

#[tokio::test(start_paused = true)]
async fn an_output_that_follows_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ended = live(&settings(folder.path()), &TestClock::new(0), None).await;
    assert_eq!(ended, (0, "enough".to_owned()));
}

/// A contact that bounced once latches a fault, and the lamp is safe all the same. Much later its line breaks.
#[tokio::test(start_paused = true)]
async fn a_latched_fault_does_not_hide_that_an_output_can_t_be_made_safe_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    settings(folder.path());
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("feedback = { line = \"GPIO27\" }\non_lost_server = \"on\"\nlost_after = \"20s\"\n");
    let text = text.replace("[agent]\n", "[agent]\npoll_time = \"5s\"\n");
    std::fs::write(&file, text).unwrap();
    let settings = settings::load(Some(&file), std::iter::empty()).unwrap();
    let clock = TestClock::new(0);
    let board = SimulatedBoard::new(clock.clone());
    board.set_fault("GPIO27", Some(LineFault::Stuck(Physical::Low)));
    let breaks = {
        let board = board.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert_eq!(board.levels("GPIO17").last(), Some(&Level::Off), "safe");
            board.set_fault("GPIO27", None);
            board.set_fault("GPIO17", Some(LineFault::Error(5)));
        }
    };
    let breaking = tokio::spawn(breaks);
    let ended = live_on(&board, &settings, &clock, None).await;
    breaking.await.unwrap();
    assert_eq!(ended, (EXIT_CODE, "lamp can't be made safe".to_owned()));
}
