//! Each key of an output at work, on simulated lines and paused time.

use std::collections::BTreeMap;

use tokio::task::JoinHandle;

use super::*;
use crate::clock::{BootTime, Clock, TestClock};
use crate::device::DeviceSettings;
use crate::device::gpio::{LineFault, LineSpec, Physical, SimulatedBoard};
use crate::device::output::settings::{FeedbackSettings, OnLostServer, OnStart, OnStop, OutputSettings};
use crate::device::output::{Interlocks, check_outputs};
use crate::device::owner::{self, DeviceHandle};

/// Lamps by name on one board; the line of each is called as itself.
struct Bench {
    clock: Arc<TestClock>,
    board: SimulatedBoard,
    hardware: Hardware,
    lamps: BTreeMap<String, DeviceHandle>,
}

type Change<'a> = &'a dyn Fn(&mut OutputSettings);

fn settings(lamps: &[(&str, Change)]) -> BTreeMap<String, DeviceSettings> {
    let lamp = |(name, change): &(&str, Change)| {
        let mut settings = LampSettings::on_line(LineSpec::named(*name));
        change(&mut settings.output);
        ((*name).to_owned(), DeviceSettings::Lamp(settings))
    };
    lamps.iter().map(lamp).collect()
}

fn bench(lamps: &[(&str, Change)]) -> Bench {
    let clock = TestClock::new(0);
    let board = SimulatedBoard::new(clock.clone());
    start(&clock, &board, lamps, None)
}

fn start(
    clock: &Arc<TestClock>,
    board: &SimulatedBoard,
    lamps: &[(&str, Change)],
    state_dir: Option<&std::path::Path>,
) -> Bench {
    let settings = settings(lamps);
    check_outputs(&settings).unwrap();
    let hardware = Hardware {
        interlocks: Interlocks::of(&settings),
        state_dir: state_dir.map(std::path::Path::to_owned),
        ..Hardware::new(clock.clone()).with_gpio(Arc::new(board.clone()))
    };
    let open = |(name, settings): (&String, &DeviceSettings)| {
        let device = crate::device::open(name, settings, &hardware).unwrap();
        (name.clone(), owner::spawn(device, clock.clone()))
    };
    let lamps = settings.iter().map(open).collect();
    Bench {
        clock: clock.clone(),
        board: board.clone(),
        hardware,
        lamps,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Bench {
    fn context(&self) -> Context {
        Context::new(self.clock.clone())
    }

    fn begin(&self, lamp: &str, call: Call, context: Context) -> JoinHandle<Result<Outcome, VerbError>> {
        let lamp = self.lamps[lamp].clone();
        tokio::spawn(async move { lamp.perform(call, context).await })
    }

    async fn run(&self, lamp: &str, verb: &str) -> Result<Outcome, VerbError> {
        self.lamps[lamp].perform(Call::new(verb), self.context()).await
    }

    async fn refused(&self, lamp: &str, verb: &str) -> String {
        self.run(lamp, verb).await.unwrap_err().to_string()
    }

    async fn until(&self, at: u64) {
        self.clock.sleep_until(BootTime::default() + seconds(at)).await;
        // Whoever wakes at the same moment has done what it wanted.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    async fn stop(&self) {
        for lamp in self.lamps.values() {
            lamp.shutdown().await.unwrap();
        }
    }

    /// Every edge so far: milliseconds, line, level.
    fn edges(&self) -> Vec<(u64, String, Level)> {
        let edge = |edge: crate::device::gpio::Edge| (edge.at.as_nanos() / 1_000_000, edge.line, edge.level);
        self.board.edges().into_iter().map(edge).collect()
    }

    fn is(&self, expected: &[(u64, &str, Level)]) {
        let edges = self.edges();
        let edges: Vec<_> = edges
            .iter()
            .map(|(at, line, level)| (*at, line.as_str(), *level))
            .collect();
        assert_eq!(edges, expected);
    }
}

use Level::{Off, On};

#[tokio::test(start_paused = true)]
async fn the_longest_time_on_ends_it_between_verbs() {
    let bench = bench(&[("fan", &|o| o.max_on = Some(seconds(5)))]);
    bench.run("fan", "on").await.unwrap();
    bench.until(3).await;
    bench.run("fan", "on").await.unwrap();
    bench.run("fan", "state").await.unwrap();
    bench.until(20).await;
    bench.is(&[(0, "fan", On), (5_000, "fan", Off)]);
    assert_eq!(*bench.lamps["fan"].fault().borrow(), None);
}

/// Who let it begin is asked again after the wait: what was confirmed before proves nothing by then.
#[tokio::test(start_paused = true)]
async fn what_was_confirmed_too_long_ago_does_not_switch_on_after_a_wait() {
    let bench = bench(&[("saw", &|o| o.min_off = seconds(10))]);
    let confirmed = || {
        bench
            .context()
            .with_begin_by(Some(bench.clock.now() + seconds(1)))
    };
    let late = bench.begin("saw", Call::new("on"), confirmed()).await.unwrap();
    assert!(matches!(late, Err(VerbError::TooLateToBegin)), "{late:?}");
    bench.until(30).await;
    assert_eq!(bench.edges(), [], "it is not switched on later, either");
    bench
        .begin("saw", Call::new("on"), confirmed())
        .await
        .unwrap()
        .unwrap();
    bench.run("saw", "off").await.unwrap();
    bench.is(&[(30_010, "saw", On), (30_010, "saw", Off)]);
    let pulse = Call::new("pulse").arg("5s");
    let late = bench.begin("saw", pulse.clone(), confirmed()).await.unwrap();
    assert!(matches!(late, Err(VerbError::TooLateToBegin)), "{late:?}");
    // What began in time goes on, and off, by itself.
    bench.begin("saw", pulse, confirmed()).await.unwrap().unwrap();
    assert_eq!(bench.edges().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_longest_time_on_ends_a_pulse_of_what_was_on_already() {
    let bench = bench(&[("fan", &|o| o.max_on = Some(seconds(5)))]);
    bench.run("fan", "on").await.unwrap();
    bench.until(3).await;
    let error = bench.begin("fan", Call::new("pulse").arg("4s"), bench.context());
    let error = error.await.unwrap().unwrap_err().to_string();
    assert_eq!(
        error,
        "fan: it was on for 5s, the longest it may (max_on of this device)"
    );
    bench.is(&[(0, "fan", On), (5_000, "fan", Off)]);
    let long = bench.begin("fan", Call::new("pulse").arg("6s"), bench.context());
    let long = long.await.unwrap().unwrap_err().to_string();
    assert!(long.contains("at most 5s"), "{long}");
    let whole = bench.begin("fan", Call::new("pulse").arg("5s"), bench.context());
    assert_eq!(
        whole.await.unwrap().unwrap().get("on_seconds"),
        Some("5.000"),
        "the limit itself"
    );
}

#[tokio::test(start_paused = true)]
async fn the_shortest_time_off_delays_on_also_after_the_start() {
    let bench = bench(&[("pump", &|o| o.min_off = seconds(10))]);
    let pulse = bench.begin("pump", Call::new("pulse").arg("2s"), bench.context());
    let outcome = pulse.await.unwrap().unwrap();
    assert_eq!(
        outcome.get("on_seconds"),
        Some("2.000"),
        "waiting is not being on"
    );
    bench.run("pump", "on").await.unwrap();
    bench.run("pump", "off").await.unwrap();
    bench.is(&[
        (10_000, "pump", On),
        (12_000, "pump", Off),
        (22_000, "pump", On),
        (22_000, "pump", Off),
    ]);
    // Who waits for it can be stopped, and then it does not come on later.
    let lease = Some(bench.clock.now() + seconds(3));
    let late = bench.begin("pump", Call::new("on"), bench.context().with_lease(lease));
    assert!(matches!(late.await.unwrap(), Err(VerbError::LeaseOver)));
    let waiting = bench.begin("pump", Call::new("on"), bench.context());
    bench.until(26).await;
    bench.run("pump", "off").await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(VerbError::Cancelled { .. })));
    bench.until(60).await;
    assert_eq!(bench.edges().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_start_takes_the_line_with_its_level_at_once() {
    for (on_start, safe, edges) in [
        (OnStart::Safe, Off, &[][..]),
        (OnStart::Safe, On, &[On]),
        (OnStart::On, Off, &[On]),
        (OnStart::Off, On, &[]),
        (OnStart::Last, On, &[On]),
    ] {
        let bench = bench(&[("lamp", &|o| (o.on_start, o.safe) = (on_start, safe))]);
        assert_eq!(
            bench.board.levels("lamp"),
            edges,
            "{on_start:?}, safe {safe}, before any task ran"
        );
        bench.until(5).await;
        assert_eq!(bench.board.levels("lamp"), edges, "{on_start:?}, safe {safe}");
    }
    // What is on at the start is limited as everything else.
    let limited = bench(&[("lamp", &|o| {
        (o.on_start, o.max_on) = (OnStart::On, Some(seconds(4)))
    })]);
    limited.until(9).await;
    limited.is(&[(0, "lamp", On), (4_000, "lamp", Off)]);
    let rests = bench(&[("lamp", &|o| (o.on_start, o.min_off) = (OnStart::On, seconds(4)))]);
    rests.until(9).await;
    rests.is(&[(4_000, "lamp", On)]);
}

#[tokio::test(start_paused = true)]
async fn the_last_level_comes_back_within_the_same_boot() {
    let folder = tempfile::tempdir().unwrap();
    let last: Change = &|o| o.on_start = OnStart::Last;
    let clock = TestClock::new(0);
    let board = SimulatedBoard::new(clock.clone());
    let first = start(&clock, &board, &[("lamp", last)], Some(folder.path()));
    first.run("lamp", "on").await.unwrap();
    first.stop().await;
    assert_eq!(
        board.levels("lamp"),
        [On, Off],
        "stopping makes it safe, which is not its last level"
    );
    let second = start(&clock, &board, &[("lamp", last)], Some(folder.path()));
    assert_eq!(board.levels("lamp"), [On, Off, On]);
    second.run("lamp", "off").await.unwrap();
    second.stop().await;
    start(&clock, &board, &[("lamp", last)], Some(folder.path()));
    assert_eq!(board.levels("lamp"), [On, Off, On, Off]);
}

#[tokio::test(start_paused = true)]
async fn stopping_drives_the_level_for_that() {
    for (on_stop, safe, end) in [
        (OnStop::Safe, Off, Off),
        (OnStop::Safe, On, On),
        (OnStop::On, Off, On),
        (OnStop::Off, On, Off),
        (OnStop::Hold, Off, On),
    ] {
        let bench = bench(&[("lamp", &|o| (o.on_stop, o.safe) = (on_stop, safe))]);
        bench.run("lamp", "on").await.unwrap();
        bench.stop().await;
        let level = bench.board.physical("lamp").unwrap().logical(false);
        assert_eq!(level, end, "{on_stop:?}, safe {safe}");
    }
    // What is half done is not kept.
    let bench = bench(&[("lamp", &|o| o.on_stop = OnStop::Hold)]);
    let pulse = bench.begin("lamp", Call::new("pulse").arg("60s"), bench.context());
    bench.until(2).await;
    bench.stop().await;
    assert!(pulse.await.unwrap().is_err());
    assert_eq!(bench.board.levels("lamp"), [On, Off]);
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_the_server_ends_a_level_and_a_verb() {
    for (on_lost, end) in [
        (OnLostServer::Hold, &[(0, "lamp", On)][..]),
        (OnLostServer::Safe, &[(0, "lamp", On), (70_000, "lamp", Off)]),
        (OnLostServer::Off, &[(0, "lamp", On), (70_000, "lamp", Off)]),
        (OnLostServer::On, &[(0, "lamp", On)]),
    ] {
        let bench = bench(&[("lamp", &|o| {
            (o.on_lost_server, o.lost_after) = (on_lost, seconds(60))
        })]);
        bench.run("lamp", "on").await.unwrap();
        bench.until(30).await;
        // Sent at 10, answered at 30.
        bench.hardware.contact.heard(BootTime::default() + seconds(10));
        bench.until(300).await;
        bench.is(end);
    }
    let lost_off: Change = &|o| (o.on_lost_server, o.lost_after) = (OnLostServer::Off, seconds(60));
    let bench = bench(&[("lamp", lost_off)]);
    let pulse = bench.begin("lamp", Call::new("pulse").arg("100s"), bench.context());
    let error = pulse.await.unwrap().unwrap_err().to_string();
    assert_eq!(
        error,
        "lamp: the server was not heard from for 1m, so it is off (on_lost_server of this device)"
    );
    bench.is(&[(0, "lamp", On), (60_000, "lamp", Off)]);
    let refused = bench.refused("lamp", "on").await;
    assert!(refused.contains("was not heard from for 1m"), "{refused}");
    bench.hardware.contact.heard(bench.clock.now());
    bench.run("lamp", "on").await.unwrap();
    bench.until(200).await;
    assert_eq!(
        bench.edges()[2..],
        [(60_000, "lamp".into(), On), (120_000, "lamp".into(), Off)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_loss_asks_for_is_not_undone_by_the_verb_that_it_ends() {
    let lost_on: Change = &|o| (o.on_lost_server, o.lost_after) = (OnLostServer::On, seconds(60));
    let bench = bench(&[("vent", lost_on)]);
    let pulse = bench.begin("vent", Call::new("pulse").arg("100s"), bench.context());
    assert!(pulse.await.unwrap().is_err());
    bench.until(200).await;
    bench.is(&[(0, "vent", On)]);
}

fn bridge(dead_time: u64) -> impl Fn(&mut OutputSettings) {
    move |o: &mut OutputSettings| {
        o.interlock = Some("bridge".into());
        o.interlock_dead_time = seconds(dead_time);
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_group_at_most_one_is_on_and_the_next_waits_out_the_dead_time() {
    let bench = bench(&[("left", &bridge(1)), ("right", &bridge(3))]);
    bench.run("left", "on").await.unwrap();
    let refused = bench.refused("right", "on").await;
    assert_eq!(
        refused,
        "right: left is on or not surely off, and of their interlock at most one may be on: switch that off first"
    );
    bench.until(10).await;
    bench.run("left", "off").await.unwrap();
    bench.run("right", "on").await.unwrap();
    let refused = bench.refused("left", "toggle").await;
    assert!(refused.contains("right is on"), "{refused}");
    bench.is(&[(3_000, "left", On), (10_010, "left", Off), (13_010, "right", On)]);
}

#[tokio::test(start_paused = true)]
async fn a_start_level_of_a_group_waits_until_all_are_off_and_the_dead_time_is_over() {
    let bench = bench(&[
        ("left", &|o| {
            bridge(2)(o);
            o.on_start = OnStart::On;
        }),
        ("right", &bridge(2)),
    ]);
    assert_eq!(bench.edges(), []);
    bench.until(9).await;
    bench.is(&[(2_000, "left", On)]);
}

#[tokio::test(start_paused = true)]
async fn a_safe_level_that_the_interlock_forbids_comes_when_it_may() {
    let bench = bench(&[
        ("bypass", &|o| {
            bridge(1)(o);
            o.safe = On;
            o.on_stop = OnStop::Off;
        }),
        ("main", &bridge(1)),
    ]);
    bench.until(2).await;
    bench.run("bypass", "off").await.unwrap();
    bench.run("main", "on").await.unwrap();
    bench.lamps["bypass"].make_safe().await.unwrap();
    bench.until(10).await;
    bench.run("main", "off").await.unwrap();
    bench.until(20).await;
    bench.is(&[
        (1_000, "bypass", On),
        (2_010, "bypass", Off),
        (3_010, "main", On),
        (10_010, "main", Off),
        (11_010, "bypass", On),
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_cannot_be_driven_off_keeps_its_group() {
    let bench = bench(&[("left", &bridge(0)), ("right", &bridge(0))]);
    bench.run("left", "on").await.unwrap();
    bench.board.set_fault("left", Some(LineFault::Error(5)));
    assert!(bench.run("left", "off").await.is_err());
    assert!(bench.lamps["left"].is_unsafe());
    assert!(bench.refused("right", "on").await.contains("left is on"));
    // It is tried again by itself, and then the group is free.
    bench.board.set_fault("left", None);
    bench.until(30).await;
    assert_eq!(*bench.lamps["left"].fault().borrow(), None);
    bench.run("right", "on").await.unwrap();
    assert_eq!(bench.board.levels("left"), [On, Off]);
}

fn feedback(o: &mut OutputSettings) {
    o.feedback = Some(FeedbackSettings {
        line: contact(),
        time: Duration::from_millis(200),
    });
}

fn contact() -> LineSpec {
    LineSpec {
        active_low: true,
        ..LineSpec::named("contact")
    }
}

#[tokio::test(start_paused = true)]
async fn the_contact_is_read_back_within_its_time() {
    let bench = bench(&[("relay", &feedback)]);
    // The contact follows 150 ms after the coil.
    bench.board.on_edge({
        let board = bench.board.clone();
        move |edge| {
            let (board, level) = (board.clone(), edge.level);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(150)).await;
                board.set_input(&contact(), level);
            });
        }
    });
    bench.run("relay", "on").await.unwrap();
    bench.run("relay", "off").await.unwrap();
    bench.is(&[(0, "relay", On), (150, "relay", Off)]);
    assert_eq!(*bench.lamps["relay"].fault().borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn a_welded_contact_is_a_fault_that_stays_and_not_safe() {
    let both: Change = &|o| {
        bridge(0)(o);
        feedback(o);
    };
    let bench = bench(&[("other", &bridge(0)), ("relay", both)]);
    bench.board.wire(&LineSpec::named("relay"), &contact());
    bench.run("relay", "on").await.unwrap();
    bench
        .board
        .set_fault("contact", Some(LineFault::Stuck(Physical::Low)));
    let error = bench.refused("relay", "off").await;
    assert!(
        error.starts_with(
            "relay: switched off, but its feedback contact (simulated) still reads on after 200ms"
        ),
        "{error}"
    );
    let relay = &bench.lamps["relay"];
    assert!(relay.is_unsafe() && relay.is_local_output());
    assert!(matches!(
        bench.run("relay", "on").await,
        Err(VerbError::Faulted { .. })
    ));
    assert!(
        bench.refused("other", "on").await.contains("relay is on"),
        "its load may be on"
    );
    // The contact came loose: it is safe, and stays out of use until the agent starts again.
    bench.board.set_fault("contact", None);
    bench.until(30).await;
    assert!(!relay.is_unsafe());
    assert!(
        relay
            .fault()
            .borrow()
            .as_ref()
            .unwrap()
            .text
            .contains("welded or broken")
    );
    assert!(matches!(
        bench.run("relay", "on").await,
        Err(VerbError::Faulted { .. })
    ));
    bench.run("other", "on").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_contact_that_is_welded_at_the_start_keeps_its_group() {
    let both: Change = &|o| {
        bridge(0)(o);
        feedback(o);
    };
    let clock = TestClock::new(0);
    let board = SimulatedBoard::new(clock.clone());
    board.set_input(&contact(), On);
    let bench = start(&clock, &board, &[("other", &bridge(0)), ("relay", both)], None);
    bench.until(10).await;
    assert!(bench.lamps["relay"].is_unsafe());
    let refused = bench.refused("other", "on").await;
    assert!(refused.contains("relay is on or not surely off"), "{refused}");
    board.set_input(&contact(), Off);
    bench.until(20).await;
    bench.run("other", "on").await.unwrap();
    bench.is(&[(20_010, "other", On)]);
}

#[tokio::test(start_paused = true)]
async fn a_contact_that_does_not_close_is_a_fault_but_safe() {
    let bench = bench(&[("relay", &feedback)]);
    let error = bench.refused("relay", "on").await;
    assert!(
        error.contains("switched on, but its feedback contact (simulated) still reads off"),
        "{error}"
    );
    assert!(!error.contains("could not be made safe"), "{error}");
    assert_eq!(bench.board.levels("relay"), [On, Off]);
    assert!(!bench.lamps["relay"].is_unsafe());
    assert!(matches!(
        bench.run("relay", "on").await,
        Err(VerbError::Faulted { .. })
    ));
    let state = bench.run("relay", "state").await.unwrap();
    assert_eq!(state.get("state"), Some("off"), "reading goes on");
    bench.run("relay", "off").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_cannot_be_followed_is_a_fault_and_tried_again() {
    let bench = bench(&[("fan", &|o| o.max_on = Some(seconds(5)))]);
    bench.run("fan", "on").await.unwrap();
    bench.board.set_fault("fan", Some(LineFault::Error(5)));
    bench.until(6).await;
    assert!(bench.lamps["fan"].is_unsafe());
    bench.board.set_fault("fan", None);
    bench.until(20).await;
    assert!(!bench.lamps["fan"].is_unsafe());
    bench.is(&[(0, "fan", On), (10_000, "fan", Off)]);
    bench.run("fan", "on").await.unwrap();
}
