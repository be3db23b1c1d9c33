//! A lamp on a PWM channel: what `dim` does, and that every rule of outputs holds for it, on a simulated channel and
//! paused time; and the same on a folder that looks like the kernel's.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::task::JoinHandle;

use super::*;
use crate::clock::{BootTime, Clock, TestClock};
use crate::device::DeviceSettings;
use crate::device::gpio::{LineFault, LineSpec, Physical, SimulatedBoard};
use crate::device::output::settings::{FeedbackSettings, OnLostServer, OnStart, OnStop, OutputSettings};
use crate::device::output::{Drive, Interlocks, check_outputs};
use crate::device::owner::{self, DeviceHandle};
use crate::device::pwm::{PwmSpec, SimulatedPwm};

/// Lamps on the channels 0, 1, … of one chip, called `0`, `1`, …
struct Bench {
    clock: Arc<TestClock>,
    board: SimulatedBoard,
    pwm: SimulatedPwm,
    hardware: Hardware,
    lamps: Vec<DeviceHandle>,
}

type Change<'a> = &'a dyn Fn(&mut OutputSettings);

fn bench(lamps: &[Change]) -> Bench {
    let clock = TestClock::new(0);
    let board = SimulatedBoard::new(clock.clone());
    start(&clock, &board, lamps, None)
}

fn start(
    clock: &Arc<TestClock>,
    board: &SimulatedBoard,
    lamps: &[Change],
    state_dir: Option<&Path>,
) -> Bench {
    let settings: BTreeMap<String, DeviceSettings> = (0..)
        .zip(lamps)
        .map(|(channel, change)| {
            let mut settings = LampSettings::on(Drive::Pwm(PwmSpec::channel(channel)));
            change(&mut settings.output);
            (channel.to_string(), DeviceSettings::Lamp(settings))
        })
        .collect();
    check_outputs(&settings).unwrap();
    let pwm = SimulatedPwm::new(board.clone());
    let hardware = Hardware {
        interlocks: Interlocks::of(&settings),
        state_dir: state_dir.map(Path::to_owned),
        ..Hardware::new(clock.clone())
            .with_gpio(Arc::new(board.clone()))
            .with_pwm(Arc::new(pwm.clone()))
    };
    let open = |(name, settings): (&String, &DeviceSettings)| {
        let device = crate::device::open(name, settings, &hardware).unwrap();
        owner::spawn(device, clock.clone())
    };
    let lamps = settings.iter().map(open).collect();
    Bench {
        clock: clock.clone(),
        board: board.clone(),
        pwm,
        hardware,
        lamps,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn dim(percent: &str) -> Call {
    Call::new("dim").arg(percent)
}

impl Bench {
    fn context(&self) -> Context {
        Context::new(self.clock.clone())
    }

    async fn run_on(&self, lamp: usize, call: Call) -> Result<Outcome, VerbError> {
        self.lamps[lamp].perform(call, self.context()).await
    }

    async fn run(&self, call: Call) -> Result<Outcome, VerbError> {
        self.run_on(0, call).await
    }

    /// State and percent as a verb tells them.
    async fn told(&self, call: Call) -> String {
        let outcome = self.run(call).await.unwrap();
        let get = |name| outcome.get(name).unwrap().to_owned();
        format!("{} {}", get("state"), get("percent"))
    }

    fn begin(&self, call: Call, context: Context) -> JoinHandle<Result<Outcome, VerbError>> {
        let lamp = self.lamps[0].clone();
        tokio::spawn(async move { lamp.perform(call, context).await })
    }

    async fn until(&self, at: u64) {
        self.clock.sleep_until(BootTime::default() + seconds(at)).await;
        // Whoever wakes at the same moment has done what it wanted.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    fn percents(&self) -> Vec<u8> {
        self.pwm.percents(&PwmSpec::channel(0))
    }

    /// Every edge so far: milliseconds, line, level.
    fn is(&self, expected: &[(u64, &str, Level)]) {
        let edges = self.board.edges();
        let edges: Vec<_> = edges
            .iter()
            .map(|edge| (edge.at.as_nanos() / 1_000_000, edge.line.as_str(), edge.level))
            .collect();
        assert_eq!(edges, expected);
    }
}

use Level::{Off, On};

#[tokio::test(start_paused = true)]
async fn dim_sets_the_share_and_on_comes_back_to_it() {
    let bench = bench(&[&|_| {}]);
    assert_eq!(bench.told(Call::new("state")).await, "off 0");
    assert_eq!(bench.told(Call::new("on")).await, "on 100", "never dimmed yet");
    assert_eq!(bench.told(dim("30%")).await, "on 30");
    assert_eq!(bench.told(Call::new("state")).await, "on 30");
    assert_eq!(bench.told(Call::new("off")).await, "off 0");
    assert_eq!(bench.told(Call::new("on")).await, "on 30");
    assert_eq!(bench.told(dim("0")).await, "off 0", "is off");
    assert_eq!(
        bench.told(Call::new("toggle")).await,
        "on 30",
        "and not remembered"
    );
    assert_eq!(bench.told(dim("55")).await, "on 55");
    assert_eq!(bench.told(Call::new("pulse").arg("1s")).await, "off 0");
    assert_eq!(bench.percents(), [100, 30, 0, 30, 0, 30, 55, 0]);
    let edges = [On, Off, On, Off, On, Off];
    assert_eq!(bench.board.levels("pwm/0"), edges, "dimmer is no edge");
}

#[tokio::test(start_paused = true)]
async fn wrong_percents_change_nothing_and_show_the_usage() {
    let bench = bench(&[&|_| {}]);
    bench.run(dim("40")).await.unwrap();
    for call in [
        Call::new("dim"),
        dim("101"),
        dim("-1"),
        dim("half"),
        dim("12.5"),
        dim(""),
        dim("30").arg("40"),
    ] {
        let error = bench.run(call.clone()).await.unwrap_err();
        assert!(matches!(error, VerbError::Usage { .. }), "{call:?}: {error}");
        assert!(error.to_string().ends_with("usage: 0.dim <percent>"), "{error}");
    }
    let error = bench.run(dim("101")).await.unwrap_err().to_string();
    assert!(
        error.starts_with("\"101\" is not a whole number from 0 to 100"),
        "{error}"
    );
    assert_eq!(bench.percents(), [40]);
}

#[test]
fn dim_is_a_verb_of_channels_alone_and_may_be_repeated() {
    let pwm = verbs(&LampSettings::on(Drive::Pwm(PwmSpec::channel(0))));
    let dim = pwm.iter().find(|verb| verb.name == "dim").unwrap();
    assert_eq!((dim.effect, dim.urgency), (Effect::Set, Urgency::Work));
    let line = verbs(&LampSettings::on_line(LineSpec::named("GPIO17")));
    assert!(line.iter().all(|verb| verb.name != "dim"));
    assert_eq!(pwm.len(), line.len() + 1);
}

#[tokio::test(start_paused = true)]
async fn any_share_counts_as_on_for_the_longest_time_on() {
    let bench = bench(&[&|o| o.max_on = Some(seconds(5))]);
    bench.run(dim("1")).await.unwrap();
    bench.until(3).await;
    bench.run(dim("80")).await.unwrap();
    bench.until(20).await;
    bench.is(&[(0, "pwm/0", On), (5_000, "pwm/0", Off)]);
    assert_eq!(bench.percents(), [1, 80, 0], "brighter does not begin it anew");
}

#[tokio::test(start_paused = true)]
async fn dim_waits_for_the_shortest_time_off_and_dim_0_does_not() {
    let bench = bench(&[&|o| o.min_off = seconds(10)]);
    bench.run(dim("20")).await.unwrap();
    bench.run(dim("0")).await.unwrap();
    bench.run(dim("60")).await.unwrap();
    bench.is(&[
        (10_000, "pwm/0", On),
        (10_000, "pwm/0", Off),
        (20_000, "pwm/0", On),
    ]);
    assert_eq!(bench.percents(), [20, 0, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_dim_that_was_cut_off_while_it_waited_is_never_seen() {
    let bench = bench(&[&|o| o.min_off = seconds(10)]);
    let lease = Some(bench.clock.now() + seconds(4));
    let error = bench.begin(dim("60"), bench.context().with_lease(lease));
    assert!(matches!(error.await.unwrap(), Err(VerbError::LeaseOver)));
    bench.until(15).await;
    assert_eq!(bench.told(Call::new("on")).await, "on 100");
}

#[tokio::test(start_paused = true)]
async fn an_interlock_holds_for_any_share() {
    let bench = bench(&[&|o| o.interlock = Some("bridge".into()), &|o| {
        o.interlock = Some("bridge".into())
    }]);
    bench.run(dim("1")).await.unwrap();
    let refused = bench.run_on(1, dim("1")).await.unwrap_err();
    assert!(matches!(refused, VerbError::Overruled { .. }), "{refused}");
    assert!(
        refused.to_string().contains("0 is on or not surely off"),
        "{refused}"
    );
    bench.run_on(1, dim("0")).await.unwrap();
    bench.run(dim("0")).await.unwrap();
    bench.run_on(1, dim("7")).await.unwrap();
    // The dead time at the start, and from one to the next.
    bench.is(&[(1_000, "pwm/0", On), (1_000, "pwm/0", Off), (2_000, "pwm/1", On)]);
    assert_eq!(bench.pwm.percents(&PwmSpec::channel(1)), [7]);
}

#[tokio::test(start_paused = true)]
async fn safe_is_all_or_nothing() {
    for (safe, expected) in [(Off, [30, 0]), (On, [30, 100])] {
        let bench = bench(&[&|o| o.safe = safe]);
        let start: &[u8] = if safe == On { &[100] } else { &[] };
        bench.run(dim("30")).await.unwrap();
        bench.lamps[0].make_safe().await.unwrap();
        assert_eq!(bench.percents(), [start, &expected].concat());
        assert_eq!(
            bench.told(Call::new("on")).await,
            "on 30",
            "a verb has it dim again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_pulse_that_is_cancelled_makes_it_safe() {
    let bench = bench(&[&|_| {}]);
    bench.run(dim("30")).await.unwrap();
    let context = bench.context();
    let token = context.cancellation().clone();
    let pulse = bench.begin(Call::new("pulse").arg("60s"), context);
    bench.until(1).await;
    assert_eq!(bench.told(Call::new("state")).await, "on 30", "beside the pulse");
    assert!(
        matches!(bench.run(dim("50")).await, Err(VerbError::Busy { .. })),
        "dim is work"
    );
    token.cancel("the process was deleted");
    assert!(pulse.await.unwrap().is_err());
    assert_eq!(bench.percents(), [30, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_the_server_asks_for_all_or_nothing_or_leaves_it() {
    for (lost, after) in [
        (OnLostServer::Hold, &[30][..]),
        (OnLostServer::Safe, &[30, 0]),
        (OnLostServer::Off, &[30, 0]),
        (OnLostServer::On, &[30, 100]),
    ] {
        let bench = bench(&[&|o| {
            o.on_lost_server = lost;
            o.lost_after = seconds(60);
        }]);
        bench.run(dim("30")).await.unwrap();
        bench.until(61).await;
        assert_eq!(bench.percents(), after, "{lost:?}");
        let refused = bench.run(dim("50")).await;
        assert_eq!(refused.is_err(), lost != OnLostServer::Hold, "{lost:?}");
        bench.hardware.contact.heard(bench.clock.now());
        assert_eq!(bench.told(dim("50")).await, "on 50", "the server is back");
    }
}

#[tokio::test(start_paused = true)]
async fn the_start_and_the_stop_ask_for_all_or_nothing() {
    for (start, first) in [
        (OnStart::On, &[100][..]),
        (OnStart::Off, &[]),
        (OnStart::Safe, &[]),
    ] {
        let bench = bench(&[&|o| o.on_start = start]);
        assert_eq!(bench.percents(), first);
    }
    for (stop, last) in [
        (OnStop::On, &[30, 100][..]),
        (OnStop::Off, &[30, 0]),
        (OnStop::Safe, &[30, 0]),
        (OnStop::Hold, &[30]),
    ] {
        let bench = bench(&[&|o| o.on_stop = stop]);
        bench.run(dim("30")).await.unwrap();
        bench.lamps[0].shutdown().await.unwrap();
        assert_eq!(bench.percents(), last, "{stop:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_share_comes_back_within_a_boot() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(0);
    let board = SimulatedBoard::new(clock.clone());
    let last: Change = &|o| {
        o.on_start = OnStart::Last;
        o.on_stop = OnStop::Hold;
    };
    let first = start(&clock, &board, &[last], Some(folder.path()));
    first.run(dim("30")).await.unwrap();
    first.lamps[0].shutdown().await.unwrap();
    let second = start(&clock, &board, &[last], Some(folder.path()));
    assert_eq!(second.told(Call::new("state")).await, "on 30");
    assert_eq!(board.levels("pwm/0"), [On], "held over the restart");
    assert_eq!(second.told(Call::new("toggle")).await, "off 0");
    assert_eq!(second.told(Call::new("on")).await, "on 30");
}

#[tokio::test(start_paused = true)]
async fn the_feedback_is_closed_at_any_share() {
    let contact = LineSpec::named("GPIO27");
    let feedback = FeedbackSettings {
        line: contact.clone(),
        time: Duration::from_millis(200),
    };
    let bench = bench(&[&|o| o.feedback = Some(feedback.clone())]);
    bench
        .board
        .wire(&SimulatedPwm::line(&PwmSpec::channel(0)), &contact);
    bench.run(dim("5")).await.unwrap();
    bench.run(dim("0")).await.unwrap();
    bench.run(dim("5")).await.unwrap();
    bench
        .board
        .set_fault("GPIO27", Some(LineFault::Stuck(Physical::High)));
    let welded = bench.run(dim("0")).await.unwrap_err().to_string();
    assert!(
        welded.contains("switched off, but its feedback GPIO27"),
        "{welded}"
    );
    let faulted = bench.run(dim("9")).await.unwrap_err();
    assert!(matches!(faulted, VerbError::Faulted { .. }), "{faulted}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_does_not_follow_is_a_fault_until_it_does() {
    let bench = bench(&[&|_| {}]);
    bench
        .board
        .set_fault("pwm/0", Some(LineFault::Stuck(Physical::High)));
    let error = bench.run(dim("0")).await.unwrap_err().to_string();
    assert!(error.contains("reads back 100 % after setting 0 %"), "{error}");
    assert!(error.contains("could not be made safe"), "{error}");
    assert!(matches!(
        bench.run(dim("3")).await,
        Err(VerbError::Faulted { .. })
    ));
    bench.board.set_fault("pwm/0", Some(LineFault::Error(5)));
    let error = bench.run(Call::new("off")).await.unwrap_err().to_string();
    assert!(
        error.contains("0: cannot switch off: pwm/0: cannot set its level"),
        "{error}"
    );
    bench.board.set_fault("pwm/0", None);
    bench.lamps[0].make_safe().await.unwrap();
    assert_eq!(bench.told(dim("3")).await, "on 3");
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_and_without_a_chip_it_is_not_opened() {
    let clock = TestClock::new(0);
    let settings = LampSettings::on(Drive::Pwm(PwmSpec::channel(0)));
    let none = Lamp::open("strip", &settings, &Hardware::new(clock.clone()));
    let none = none.err().unwrap().to_string();
    assert!(none.starts_with("strip: a lamp needs a GPIO backend"), "{none}");
    let folder = tempfile::tempdir().unwrap();
    let pwm = crate::device::pwm::SysfsPwm::at(folder.path());
    let hardware = Hardware::new(clock).with_pwm(Arc::new(pwm));
    let error = Lamp::open("strip", &settings, &hardware)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("strip: cannot take PWM channel pwm/0: no PWM chip found in "),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_files_of_the_kernel_say_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let chip = folder.path().join("pwmchip3");
    let channel = chip.join("pwm1");
    std::fs::create_dir_all(&channel).unwrap();
    let write = |path: std::path::PathBuf, text: &str| std::fs::write(path, text).unwrap();
    write(chip.join("npwm"), "2\n");
    for (file, text) in [
        ("period", "0\n"),
        ("duty_cycle", "0\n"),
        ("polarity", "normal\n"),
        ("enable", "0\n"),
    ] {
        write(channel.join(file), text);
    }
    let read = |file: &str| {
        std::fs::read_to_string(channel.join(file))
            .unwrap()
            .trim()
            .to_owned()
    };
    let spec = PwmSpec {
        frequency: 25_000,
        active_low: true,
        ..PwmSpec::channel(1)
    };
    let clock = TestClock::new(0);
    let pwm = crate::device::pwm::SysfsPwm::at(folder.path());
    let hardware = Hardware::new(clock.clone()).with_pwm(Arc::new(pwm));
    // No GPIO is needed for it.
    let lamp = Lamp::open("strip", &LampSettings::on(Drive::Pwm(spec)), &hardware).unwrap();
    let lamp = owner::spawn(Box::new(lamp), clock.clone());
    assert_eq!(
        (
            read("period"),
            read("duty_cycle"),
            read("polarity"),
            read("enable")
        ),
        ("40000".into(), "0".into(), "inversed".into(), "1".into())
    );
    let context = || Context::new(clock.clone());
    let outcome = lamp.perform(dim("30"), context()).await.unwrap();
    assert_eq!(
        (outcome.get("state"), outcome.get("percent")),
        (Some("on"), Some("30"))
    );
    assert_eq!(read("duty_cycle"), "12000");
    // Another program meddles: the state tells, and a verb puts it right.
    write(channel.join("enable"), "0\n");
    let meddled = lamp
        .perform(Call::new("state"), context())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        meddled.contains("something else drives it, it is disabled"),
        "{meddled}"
    );
    lamp.perform(dim("30"), context()).await.unwrap();
    assert_eq!(read("enable"), "1");
    lamp.shutdown().await.unwrap();
    assert_eq!((read("duty_cycle"), read("enable")), ("0".into(), "1".into()));
}
