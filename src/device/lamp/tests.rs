use super::*;
use crate::clock::{Clock, TestClock};
use crate::device::gpio::{LineFault, LineSpec, Physical, SimulatedBoard};
use crate::device::output::Drive;
use crate::device::output::settings::OnStart;
use crate::device::owner::{self, DeviceHandle};

struct Bench {
    clock: Arc<TestClock>,
    board: SimulatedBoard,
    lamp: DeviceHandle,
}

fn hardware(board: &SimulatedBoard, clock: &Arc<TestClock>) -> Hardware {
    Hardware::new(clock.clone()).with_gpio(Arc::new(board.clone()))
}

fn bench_with(change: impl FnOnce(&mut LampSettings)) -> Bench {
    let clock = TestClock::new(0);
    let board = SimulatedBoard::new(clock.clone());
    let mut settings = LampSettings::on_line(LineSpec::named("GPIO17"));
    change(&mut settings);
    let lamp = Lamp::open("lamp", &settings, &hardware(&board, &clock)).unwrap();
    let lamp = owner::spawn(Box::new(lamp), clock.clone());
    Bench { clock, board, lamp }
}

fn bench() -> Bench {
    bench_with(|_| {})
}

impl Bench {
    fn context(&self) -> Context {
        Context::new(self.clock.clone())
    }

    async fn run(&self, call: Call) -> Result<Outcome, VerbError> {
        self.lamp.perform(call, self.context()).await
    }

    async fn state_after(&self, verb: &str) -> String {
        self.run(Call::new(verb))
            .await
            .unwrap()
            .get("state")
            .unwrap()
            .to_owned()
    }

    /// Starts a verb and lets it run until it waits.
    async fn start(
        &self,
        call: Call,
        context: Context,
    ) -> tokio::task::JoinHandle<Result<Outcome, VerbError>> {
        let lamp = self.lamp.clone();
        let task = tokio::spawn(async move { lamp.perform(call, context).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        task
    }
}

#[tokio::test(start_paused = true)]
async fn on_off_and_toggle_report_what_was_read_back() {
    let bench = bench();
    assert_eq!(bench.state_after("state").await, "off");
    assert_eq!(bench.state_after("on").await, "on");
    assert_eq!(bench.state_after("on").await, "on");
    assert_eq!(bench.state_after("toggle").await, "off");
    assert_eq!(bench.state_after("toggle").await, "on");
    assert_eq!(bench.state_after("off").await, "off");
    assert_eq!(bench.state_after("state").await, "off");
    assert_eq!(
        bench.board.levels("GPIO17"),
        [Level::On, Level::Off, Level::On, Level::Off]
    );
}

#[tokio::test(start_paused = true)]
async fn active_low_and_the_level_of_the_start_reach_the_line() {
    let bench = bench_with(|settings| {
        settings.output.drive = Drive::Line(LineSpec {
            active_low: true,
            ..LineSpec::named("GPIO17")
        });
        settings.output.on_start = OnStart::On;
    });
    assert_eq!(bench.board.physical("GPIO17"), Some(Physical::Low));
    assert_eq!(bench.state_after("off").await, "off");
    assert_eq!(bench.board.physical("GPIO17"), Some(Physical::High));
}

#[tokio::test(start_paused = true)]
async fn a_pulse_is_timed_by_the_clock_and_reports_its_length() {
    let bench = bench();
    let outcome = bench.run(Call::new("pulse").arg("1.5s")).await.unwrap();
    assert_eq!(outcome.get("state"), Some("off"));
    assert_eq!(outcome.get("on_seconds"), Some("1.500"));
    let edges = bench.board.edges();
    assert_eq!(
        edges.iter().map(|edge| edge.level).collect::<Vec<_>>(),
        [Level::On, Level::Off]
    );
    assert_eq!(
        edges[1].at.saturating_since(edges[0].at),
        Duration::from_millis(1_500)
    );
}

#[tokio::test(start_paused = true)]
async fn malformed_arguments_switch_nothing_and_show_the_usage() {
    let bench = bench_with(|settings| settings.max_pulse = Duration::from_secs(10));
    for call in [
        Call::new("pulse"),
        Call::new("pulse").arg("soon"),
        Call::new("pulse").arg("0"),
        Call::new("pulse").arg("0.0005s"),
        Call::new("pulse").arg("10.001s"),
        Call::new("pulse").arg("1s").arg("2s"),
        Call::new("on").arg("now"),
        Call::new("off").arg("now"),
        Call::new("toggle").arg("now"),
        Call::new("state").arg("now"),
    ] {
        let error = bench.run(call.clone()).await.unwrap_err();
        assert!(matches!(error, VerbError::Usage { .. }), "{call:?}: {error}");
        assert!(
            error.to_string().contains(&format!("usage: lamp.{}", call.verb)),
            "{error}"
        );
    }
    assert_eq!(bench.board.edges(), []);
    bench
        .run(Call::new("pulse").arg("10s"))
        .await
        .expect("the limit itself is allowed");
    let long = bench
        .run(Call::new("pulse").arg("11s"))
        .await
        .unwrap_err()
        .to_string();
    assert!(long.contains("at most 10s (the shorter of max_pulse"), "{long}");
    let unknown = bench.run(Call::new("blink")).await.unwrap_err().to_string();
    assert_eq!(
        unknown,
        "lamp has no verb \"blink\"; it has: on, off, toggle, pulse, state"
    );
}

#[tokio::test(start_paused = true)]
async fn the_lease_end_in_mid_pulse_makes_it_safe_at_that_moment() {
    let bench = bench();
    let end = bench.clock.now() + Duration::from_secs(2);
    let context = bench.context().with_lease(Some(end));
    let error = bench
        .lamp
        .perform(Call::new("pulse").arg("5s"), context)
        .await
        .unwrap_err();
    assert!(matches!(error, VerbError::LeaseOver), "{error}");
    let edges = bench.board.edges();
    assert_eq!((edges[1].level, edges[1].at), (Level::Off, end));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_pulse_goes_to_the_safe_level_whichever_that_is() {
    for safe in [Level::Off, Level::On] {
        let bench = bench_with(|settings| settings.output.safe = safe);
        let context = bench.context();
        let token = context.cancellation().clone();
        let pulse = bench.start(Call::new("pulse").arg("60s"), context).await;
        token.cancel("the process was deleted");
        let error = pulse.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "cancelled: the process was deleted");
        assert_eq!(bench.state_after("state").await, safe.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn state_answers_beside_a_pulse_and_off_stops_it() {
    let bench = bench();
    let pulse = bench.start(Call::new("pulse").arg("60s"), bench.context()).await;
    assert_eq!(bench.state_after("state").await, "on");
    assert!(matches!(
        bench.run(Call::new("on")).await,
        Err(VerbError::Busy { .. })
    ));
    assert_eq!(bench.state_after("off").await, "off");
    assert_eq!(bench.clock.now().as_nanos(), 100_000_000, "at once");
    let error = pulse.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cancelled: stopped by lamp.off");
    assert_eq!(bench.board.levels("GPIO17"), [Level::On, Level::Off]);
}

#[tokio::test(start_paused = true)]
async fn a_misspelt_off_that_stopped_a_pulse_leaves_it_safe() {
    let bench = bench();
    let pulse = bench.start(Call::new("pulse").arg("60s"), bench.context()).await;
    let error = bench.run(Call::new("off").arg("please")).await.unwrap_err();
    assert!(matches!(error, VerbError::Usage { .. }), "{error}");
    assert!(pulse.await.unwrap().is_err());
    assert_eq!(bench.state_after("state").await, "off");
}

#[tokio::test(start_paused = true)]
async fn after_the_lease_nothing_is_switched_and_a_latched_level_stays() {
    let bench = bench();
    bench.run(Call::new("on")).await.unwrap();
    for verb in ["off", "on", "toggle"] {
        let late = bench.context().with_lease(Some(bench.clock.now()));
        let error = bench.lamp.perform(Call::new(verb), late).await.unwrap_err();
        assert!(matches!(error, VerbError::LeaseOver), "{error}");
    }
    assert_eq!(bench.board.levels("GPIO17"), [Level::On]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_does_not_follow_is_an_error_and_a_fault_until_repaired() {
    let bench = bench();
    bench
        .board
        .set_fault("GPIO17", Some(LineFault::Stuck(Physical::High)));
    let error = bench.run(Call::new("off")).await.unwrap_err().to_string();
    assert!(
        error.contains("GPIO17 (simulated) reads back on after setting off: check the wiring"),
        "{error}"
    );
    assert!(error.contains("could not be made safe"), "{error}");
    assert!(matches!(
        bench.run(Call::new("on")).await,
        Err(VerbError::Faulted { .. })
    ));
    assert_eq!(bench.state_after("state").await, "on", "reading still works");
    bench.board.set_fault("GPIO17", None);
    bench.lamp.make_safe().await.unwrap();
    assert_eq!(bench.state_after("on").await, "on");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_line_names_device_action_and_cause() {
    let bench = bench();
    bench.board.set_fault("GPIO17", Some(LineFault::Error(5)));
    let error = bench.run(Call::new("on")).await.unwrap_err().to_string();
    assert!(
        error.starts_with("lamp: cannot switch on: GPIO17: cannot set its level: "),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn opening_a_line_that_is_taken_names_the_holder() {
    let bench = bench();
    let settings = LampSettings::on_line(LineSpec::named("GPIO17"));
    let error = Lamp::open("other", &settings, &hardware(&bench.board, &bench.clock))
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.starts_with("other: cannot take line GPIO17: GPIO17 is in use by \"outpost:lamp\""),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_makes_it_safe_and_releases_the_line() {
    let bench = bench();
    bench.run(Call::new("on")).await.unwrap();
    bench.lamp.shutdown().await.unwrap();
    assert_eq!(bench.board.levels("GPIO17"), [Level::On, Level::Off]);
    let settings = LampSettings::on_line(LineSpec::named("GPIO17"));
    assert!(Lamp::open("next", &settings, &hardware(&bench.board, &bench.clock)).is_ok());
}

#[test]
fn effects_and_urgencies_are_those_of_the_fence() {
    let mut settings = LampSettings::on_line(LineSpec::named("GPIO17"));
    settings.max_pulse = Duration::from_secs(60);
    let verbs = verbs(&settings);
    let of = |name: &str| {
        let verb = verbs.iter().find(|verb| verb.name == name).unwrap();
        (verb.effect, verb.urgency)
    };
    assert_eq!(of("on"), (Effect::Set, Urgency::Work));
    assert_eq!(of("off"), (Effect::Set, Urgency::Preempt));
    assert_eq!(of("toggle"), (Effect::Once, Urgency::Work));
    assert_eq!(of("pulse"), (Effect::Once, Urgency::Work));
    assert_eq!(of("state"), (Effect::Read, Urgency::Query));
    let pulse = verbs.iter().find(|verb| verb.name == "pulse").unwrap();
    assert!(pulse.max_time > Duration::from_secs(60), "the longest pulse fits");
}
