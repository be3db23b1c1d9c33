use std::sync::Mutex;

use super::*;
use crate::clock::{BootTime, Clock, TestClock};
use crate::device::gpio::{Bias, LineFault, LineSpec, SimulatedBoard, Watching};
use crate::device::owner::{self, DeviceHandle};
use crate::device::{Cancellation, lock};

/// A button on a simulated line, its owner running.
struct Bench {
    clock: Arc<TestClock>,
    board: SimulatedBoard,
    line: LineSpec,
    inputs: Inputs,
    submitted: Arc<Mutex<Vec<EdgeEvent>>>,
    button: DeviceHandle,
}

fn submit(edges: Edges) -> Submit {
    Submit {
        edges,
        func: "lamp.on".into(),
        args: Vec::new(),
        runtime: None,
        runtime_type: None,
        max_wait: Duration::from_secs(10),
        max_exec: Duration::from_secs(60),
        min_interval: Duration::from_secs(1),
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

impl Bench {
    fn with(active_low: bool, debounce: Duration, before: Level) -> Self {
        let clock = TestClock::new(0);
        let board = SimulatedBoard::new(clock.clone());
        let line = LineSpec {
            active_low,
            ..LineSpec::named("GPIO5")
        };
        board.set_input(&line, before);
        let submitted: Arc<Mutex<Vec<EdgeEvent>>> = Arc::default();
        let sink = submitted.clone();
        let hardware = Hardware {
            edges: Some(Arc::new(move |event| lock(&sink).push(event))),
            ..Hardware::new(clock.clone()).with_gpio(Arc::new(board.clone()))
        };
        let settings = InputSettings {
            watching: Watching {
                bias: Bias::AsIs,
                debounce,
            },
            submit: [submit(Edges::Falling)].into(),
            ..InputSettings::on_line(line.clone())
        };
        let input = Input::open("button", &settings, &hardware).unwrap();
        Bench {
            button: owner::spawn(Box::new(input), clock.clone()),
            inputs: hardware.inputs,
            submitted,
            clock,
            board,
            line,
        }
    }

    fn new() -> Self {
        Bench::with(false, millis(20), Level::Off)
    }

    async fn until(&self, moment: u64) {
        self.clock.sleep_until(at(moment)).await;
        // Whoever was woken by the same moment gets its turn, too.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    fn set(&self, level: Level) {
        self.board.set_input(&self.line, level);
    }

    async fn ask(&self, verb: &str) -> Result<Outcome, VerbError> {
        self.button.perform(Call::new(verb), self.context()).await
    }

    fn context(&self) -> Context {
        Context::new(self.clock.clone())
    }

    fn wait_for(
        &self,
        edge: &str,
        timeout: &str,
        context: Context,
    ) -> tokio::task::JoinHandle<Result<Outcome, VerbError>> {
        let call = Call::new("wait_for").arg(edge).arg(timeout);
        let button = self.button.clone();
        tokio::spawn(async move { button.perform(call, context).await })
    }

    fn submitted(&self) -> Vec<(Edge, BootTime)> {
        lock(&self.submitted)
            .iter()
            .map(|event| (event.edge, event.at))
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_contact_that_bounces_makes_one_edge() {
    let bench = Bench::new();
    let mut levels = bench.inputs.watch("button");
    assert_eq!(*levels.borrow_and_update(), Some(Level::Off));
    // Ten bounces, each shorter than the debounce; it is on from the last of them on.
    let mut level = Level::Off;
    for bounce in 0..11 {
        bench.until(100 + 5 * bounce).await;
        level = !level;
        bench.set(level);
    }
    assert_eq!(level, Level::On);
    bench.until(169).await;
    assert!(
        !levels.has_changed(),
        "19 ms after the last bounce it does not count yet"
    );
    bench.until(170).await;
    assert!(levels.has_changed());
    assert_eq!(*levels.borrow_and_update(), Some(Level::On));
    bench.until(1000).await;
    assert!(!levels.has_changed(), "one change");
    // A spike is none.
    bench.set(Level::Off);
    bench.until(1019).await;
    bench.set(Level::On);
    bench.until(2000).await;
    assert!(!levels.has_changed());
    assert!(bench.submitted().is_empty(), "no rule asks for rising edges");
    bench.set(Level::Off);
    bench.until(3000).await;
    assert_eq!(
        bench.submitted(),
        [(Edge::Falling, at(2000))],
        "counted from the contact's own time"
    );
}

#[tokio::test(start_paused = true)]
async fn without_debounce_every_edge_counts_at_once() {
    let bench = Bench::with(false, Duration::ZERO, Level::On);
    for moment in [10, 11, 12, 13] {
        bench.until(moment).await;
        bench.set(if moment % 2 == 0 { Level::Off } else { Level::On });
    }
    bench.until(20).await;
    assert_eq!(
        bench.submitted(),
        [(Edge::Falling, at(10)), (Edge::Falling, at(12))]
    );
}

#[tokio::test(start_paused = true)]
async fn the_level_is_logical_and_that_of_the_start_is_no_edge() {
    let bench = Bench::with(true, millis(20), Level::On);
    bench.until(500).await;
    for verb in ["state", "read"] {
        assert_eq!(bench.ask(verb).await.unwrap().get("state"), Some("on"));
    }
    assert!(bench.submitted().is_empty());
    bench.board.set_input(&LineSpec::named("GPIO5"), Level::On);
    bench.until(1000).await;
    assert_eq!(
        bench.ask("state").await.unwrap().get("state"),
        Some("off"),
        "high is off"
    );
    assert_eq!(bench.submitted(), [(Edge::Falling, at(500))]);
}

#[tokio::test(start_paused = true)]
async fn waiting_tells_the_edge_and_how_long_it_took() {
    let bench = Bench::new();
    for (moment, edge, outcome) in [
        (1000, "rising", "rising"),
        (2000, "off", "falling"),
        (3000, "on", "rising"),
        (4000, "change", "falling"),
        (5000, "both", "rising"),
    ] {
        let waiting = bench.wait_for(edge, "2s", bench.context());
        bench.until(moment).await;
        assert_eq!(
            bench.ask("read").await.unwrap().get("edge"),
            None,
            "read beside the wait"
        );
        bench.set(!bench.inputs.level("button").unwrap());
        bench.until(moment + 20).await;
        let told = waiting.await.unwrap().unwrap();
        assert_eq!(told.get("edge"), Some(outcome), "{edge}");
        let level = if outcome == "rising" { "on" } else { "off" };
        assert_eq!(told.get("state"), Some(level));
        let waited = if moment == 1000 { "1.020" } else { "1.000" };
        assert_eq!(told.get("waited_seconds"), Some(waited));
    }
    assert_eq!(
        bench.submitted().len(),
        2,
        "a verb that waits takes no edge from the rules"
    );
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_does_not_come_is_a_failure_and_another_does_not_end_the_wait() {
    let bench = Bench::new();
    let waiting = bench.wait_for("falling", "3s", bench.context());
    bench.until(1000).await;
    bench.set(Level::On);
    let error = waiting.await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "button: no falling edge within 3s; it is on");
    assert_eq!(bench.clock.now(), at(3000));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_lease_and_when_it_is_stopped() {
    let bench = Bench::new();
    let leased = bench.context().with_lease(Some(at(500)));
    let error = bench.wait_for("on", "1h", leased).await.unwrap().unwrap_err();
    assert!(matches!(error, VerbError::LeaseOver), "{error}");
    assert_eq!(bench.clock.now(), at(500));
    let token = Cancellation::new();
    let waiting = bench.wait_for("on", "1h", bench.context().with_cancellation(token.clone()));
    bench.until(700).await;
    token.cancel("enough");
    let error = waiting.await.unwrap().unwrap_err().to_string();
    assert_eq!(
        (error.as_str(), bench.clock.now()),
        ("cancelled: enough", at(700))
    );
}

#[tokio::test(start_paused = true)]
async fn arguments_that_mean_nothing_are_refused_with_the_usage() {
    let bench = Bench::new();
    for (edge, timeout, help) in [
        ("up", "3s", "\"up\" is no edge"),
        ("on", "soon", "\"soon\" is not a duration"),
        ("on", "0", "must be more than nothing"),
        ("on", "25h", "at most 24h"),
    ] {
        let error = bench.wait_for(edge, timeout, bench.context()).await.unwrap();
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(help) && error.ends_with("usage: button.wait_for <edge> <timeout>"),
            "{error}"
        );
    }
    let error = bench.ask("press").await.unwrap_err().to_string();
    assert!(error.contains("state, read, wait_for"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_lost_is_said_and_taken_up_again() {
    let bench = Bench::new();
    let waiting = bench.wait_for("on", "1h", bench.context());
    bench.until(1000).await;
    bench.board.set_fault("GPIO5", Some(LineFault::Error(19)));
    let error = waiting.await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("its line is lost") && error.contains("every 5s"),
        "{error}"
    );
    assert_eq!(bench.clock.now(), at(1000), "said at once");
    assert_eq!(bench.inputs.level("button"), None);
    assert!(bench.ask("state").await.is_err());
    bench.until(6100).await;
    assert_eq!(bench.inputs.level("button"), None, "tried once in vain");
    bench.set(Level::On);
    bench.board.set_fault("GPIO5", None);
    bench.until(11_100).await;
    assert_eq!(bench.inputs.level("button"), Some(Level::On));
    bench.set(Level::Off);
    bench.until(12_000).await;
    assert_eq!(
        bench.submitted(),
        [(Edge::Falling, at(11_100))],
        "what happened meanwhile is no edge"
    );
}

#[tokio::test(start_paused = true)]
async fn other_devices_see_the_level_as_long_as_the_input_is_open() {
    let bench = Bench::new();
    let mut door = bench.inputs.watch("button");
    assert_eq!(bench.inputs.level("no_such"), None);
    bench.set(Level::On);
    door.wait_for(|level| *level == Some(Level::On)).await;
    assert_eq!(bench.clock.now(), at(20));
    bench.button.shutdown().await.unwrap();
    assert_eq!(*door.borrow_and_update(), None);
}
