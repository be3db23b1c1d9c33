//! A lamp, or whatever else a GPIO line switches: a relay, a valve, a fan.
//!
//! | verb | effect | urgency | outcome |
//! | --- | --- | --- | --- |
//! | `on` | set | work | `state` |
//! | `off` | set | preempt: stops a pulse | `state` |
//! | `toggle` | once | work | `state` |
//! | `pulse <duration>` | once | work | `state`, `on_seconds` |
//! | `state` | read | query: beside a pulse | `state` |
//!
//! `state` is `on` or `off` as read back from the line; a line that does not follow is an error. A pulse
//! switches on, waits on this device's own clock and switches off, whatever the level was before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::duration::{Span, format_duration, format_seconds, parse_duration};
use super::gpio::{GpioBackend, Level, LineSpec, LineSpecError, OutputLine, text_or_number};
use super::{Call, Context, Device, DeviceError, Effect, Outcome, Probe, Urgency, Verb, VerbError, lock};
use crate::clock::SharedClock;

/// The longest pulse unless the configuration says otherwise.
const DEFAULT_MAX_PULSE: Duration = Duration::from_secs(600);
/// The longest pulse that the configuration may allow.
const LONGEST_MAX_PULSE: Duration = Duration::from_secs(24 * 3600);
/// The shortest pulse; timers are no finer.
const SHORTEST_PULSE: Duration = Duration::from_millis(1);
/// How long switching may take; in truth microseconds.
const SWITCH_TIME: Duration = Duration::from_secs(5);
/// A line with a capacitor on it may take a moment until it reads as it was set.
const SETTLE: Duration = Duration::from_millis(5);

/// The settings of a lamp.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "LampTable")]
pub struct LampSettings {
    /// The line: `line`, or `chip` and `offset`; and `active_low` (default false).
    pub line: LineSpec,
    /// `initial`: the level from the moment the agent takes the line (default off).
    pub initial: Level,
    /// `safe`: the level while nobody may drive it (default off).
    pub safe: Level,
    /// `max_pulse`: the longest pulse that may be asked for (default 10 minutes, at most 24 hours).
    pub max_pulse: Duration,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LampTable {
    #[serde(default, deserialize_with = "text_or_number")]
    line: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    chip: Option<String>,
    offset: Option<u32>,
    #[serde(default)]
    active_low: bool,
    #[serde(default)]
    initial: Level,
    #[serde(default)]
    safe: Level,
    max_pulse: Option<Span>,
}

/// Why a lamp's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LampSettingsError {
    /// The line.
    #[error(transparent)]
    Line(#[from] LineSpecError),
    /// The longest pulse.
    #[error("max_pulse = {} must be from 1ms to 24h", format_duration(*max_pulse))]
    MaxPulse {
        /// What was written.
        max_pulse: Duration,
    },
}

impl TryFrom<LampTable> for LampSettings {
    type Error = LampSettingsError;
    fn try_from(table: LampTable) -> Result<Self, LampSettingsError> {
        let max_pulse = table.max_pulse.map_or(DEFAULT_MAX_PULSE, |span| span.0);
        if !(SHORTEST_PULSE..=LONGEST_MAX_PULSE).contains(&max_pulse) {
            return Err(LampSettingsError::MaxPulse { max_pulse });
        }
        let line = LineSpec::from_keys(table.line, table.chip, table.offset, table.active_low)?;
        Ok(LampSettings {
            max_pulse,
            ..LampSettings::on_line_with(line, table.initial, table.safe)
        })
    }
}

impl LampSettings {
    /// A lamp on a line, everything else as by default.
    pub fn on_line(line: LineSpec) -> Self {
        LampSettings::on_line_with(line, Level::Off, Level::Off)
    }

    fn on_line_with(line: LineSpec, initial: Level, safe: Level) -> Self {
        LampSettings {
            line,
            initial,
            safe,
            max_pulse: DEFAULT_MAX_PULSE,
        }
    }
}

/// A lamp whose line is ours.
pub struct Lamp {
    name: String,
    wire: Arc<Wire>,
    safe: Level,
    max_pulse: Duration,
    clock: SharedClock,
    verbs: Vec<Verb>,
}

/// The line, shared by the lamp, which drives it, and the probe, which only reads it.
struct Wire {
    device: String,
    line: Mutex<Box<dyn OutputLine>>,
}

impl Lamp {
    /// Its `kind` in the configuration.
    pub const KIND: &'static str = "lamp";
    /// The verb that switches it off.
    pub const OFF: &'static str = "off";

    /// Takes the line and drives it to the initial level.
    ///
    /// # Errors
    /// The line cannot be had or cannot be read.
    pub fn open(
        name: &str,
        settings: &LampSettings,
        gpio: &dyn GpioBackend,
        clock: SharedClock,
    ) -> Result<Self, DeviceError> {
        let line = gpio
            .request_output(&settings.line, settings.initial, &format!("outpost:{name}"))
            .map_err(|cause| DeviceError::Gpio {
                device: name.to_owned(),
                action: format!("take line {}", settings.line),
                cause,
            })?;
        tracing::info!(
            device = name,
            line = line.describe(),
            backend = gpio.name(),
            "lamp opened"
        );
        let wire = Arc::new(Wire {
            device: name.to_owned(),
            line: Mutex::new(line),
        });
        // A line that cannot be read is found out now rather than at the first command. One that reads
        // differently may only be slow; the first command will tell.
        wire.get()?;
        Ok(Lamp {
            name: name.to_owned(),
            wire,
            safe: settings.safe,
            max_pulse: settings.max_pulse,
            clock,
            verbs: verbs(settings.max_pulse),
        })
    }

    /// Drives the line and gives back the level that is there now.
    async fn drive(&self, level: Level) -> Result<Level, DeviceError> {
        self.wire.set(level)?;
        if self.wire.get()? != level {
            self.clock.sleep_until(self.clock.now() + SETTLE).await;
        }
        let read = self.wire.get()?;
        if read != level {
            let line = lock(&self.wire.line).describe();
            return Err(DeviceError::ReadBack {
                device: self.name.clone(),
                line,
                set: level,
                read,
            });
        }
        Ok(read)
    }

    /// Drives the line on behalf of a verb, if the verb still may.
    async fn switch(&self, level: Level, context: &Context) -> Result<Outcome, VerbError> {
        context.check()?;
        Ok(state(self.drive(level).await?))
    }

    async fn pulse(&self, span: Duration, context: &Context) -> Result<Outcome, VerbError> {
        context.check()?;
        let from = context.now();
        self.drive(Level::On).await?;
        let settled = context.now().saturating_since(from);
        context.sleep(span.saturating_sub(settled)).await?;
        let outcome = self.switch(Level::Off, context).await?;
        let measured = context.now().saturating_since(from);
        Ok(outcome.with("on_seconds", format_seconds(measured)))
    }

    /// The span of a pulse out of its argument.
    fn pulse_span(&self, verb: &Verb, text: &str) -> Result<Duration, VerbError> {
        let span = parse_duration(text).map_err(|error| verb.usage_error(&self.name, error.to_string()))?;
        if span < SHORTEST_PULSE {
            return Err(verb.usage_error(
                &self.name,
                format!("a pulse of {text:?} is too short, at least 1ms"),
            ));
        }
        if span > self.max_pulse {
            let most = format_duration(self.max_pulse);
            let problem =
                format!("a pulse of {text:?} is too long, at most {most} (max_pulse of this device)");
            return Err(verb.usage_error(&self.name, problem));
        }
        Ok(span)
    }
}

impl Wire {
    fn set(&self, level: Level) -> Result<(), DeviceError> {
        lock(&self.line)
            .set(level)
            .map_err(|cause| self.failed(&format!("switch {level}"), cause))
    }

    fn get(&self) -> Result<Level, DeviceError> {
        lock(&self.line)
            .get()
            .map_err(|cause| self.failed("read its line", cause))
    }

    fn failed(&self, action: &str, cause: super::gpio::GpioError) -> DeviceError {
        DeviceError::Gpio {
            device: self.device.clone(),
            action: action.to_owned(),
            cause,
        }
    }
}

fn state(level: Level) -> Outcome {
    Outcome::new().with("state", level.to_string())
}

fn state_verb() -> Verb {
    Verb {
        name: "state".into(),
        usage: "".into(),
        help: "Tells whether it is on or off, as read from the line.".into(),
        effect: Effect::Read,
        urgency: Urgency::Query,
        max_time: SWITCH_TIME,
    }
}

fn verbs(max_pulse: Duration) -> Vec<Verb> {
    let switch = |name: &'static str, help: &'static str, effect, urgency| Verb {
        name: name.into(),
        usage: "".into(),
        help: help.into(),
        effect,
        urgency,
        max_time: SWITCH_TIME,
    };
    vec![
        switch("on", "Switches on.", Effect::Set, Urgency::Work),
        switch(Lamp::OFF, "Switches off; stops a pulse.", Effect::Set, Urgency::Preempt),
        switch("toggle", "Switches off if it is on, else on.", Effect::Once, Urgency::Work),
        Verb {
            name: "pulse".into(),
            usage: "<duration>".into(),
            help: format!(
                "Switches on, and off after a duration: 500ms, 3s, 2m, a bare number counts seconds; at most {}.",
                format_duration(max_pulse)
            )
            .into(),
            effect: Effect::Once,
            urgency: Urgency::Work,
            max_time: max_pulse + SWITCH_TIME,
        },
        state_verb(),
    ]
}

#[async_trait]
impl Device for Lamp {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        Lamp::KIND
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        Duration::ZERO
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        Some(Arc::new(LampProbe {
            wire: self.wire.clone(),
            verb: state_verb(),
        }))
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let Some(verb) = self.verbs.iter().find(|verb| verb.name == call.verb) else {
            let known = self.verbs.iter().map(|verb| verb.name.to_string()).collect();
            return Err(VerbError::UnknownVerb {
                device: self.name.clone(),
                verb: call.verb.clone(),
                known,
            });
        };
        if &*verb.name == "pulse" {
            let [text] = call.exactly::<1>(&self.name, verb)?;
            return self.pulse(self.pulse_span(verb, text)?, context).await;
        }
        let [] = call.exactly::<0>(&self.name, verb)?;
        match &*verb.name {
            "on" => self.switch(Level::On, context).await,
            "off" => self.switch(Level::Off, context).await,
            "toggle" => self.switch(!self.wire.get()?, context).await,
            _ => Ok(state(self.wire.get()?)),
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.drive(self.safe).await.map(|_| ())
    }
}

/// Reads the line beside a running pulse.
struct LampProbe {
    wire: Arc<Wire>,
    verb: Verb,
}

#[async_trait]
impl Probe for LampProbe {
    async fn query(&self, call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        let [] = call.exactly::<0>(&self.wire.device, &self.verb)?;
        Ok(state(self.wire.get()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, TestClock};
    use crate::device::gpio::{LineFault, Physical, SimulatedBoard};
    use crate::device::owner::{self, DeviceHandle};

    struct Bench {
        clock: Arc<TestClock>,
        board: SimulatedBoard,
        lamp: DeviceHandle,
    }

    fn bench_with(change: impl FnOnce(&mut LampSettings)) -> Bench {
        let clock = TestClock::new(0);
        let board = SimulatedBoard::new(clock.clone());
        let mut settings = LampSettings::on_line(LineSpec::named("GPIO17"));
        change(&mut settings);
        let lamp = Lamp::open("lamp", &settings, &board, clock.clone()).unwrap();
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
    async fn active_low_and_initial_level_reach_the_line() {
        let bench = bench_with(|settings| {
            settings.line.active_low = true;
            settings.initial = Level::On;
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
        assert!(long.contains("at most 10s (max_pulse"), "{long}");
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
            let bench = bench_with(|settings| settings.safe = safe);
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
        let error = Lamp::open("other", &settings, &bench.board, bench.clock.clone())
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
        assert!(Lamp::open("next", &settings, &bench.board, bench.clock.clone()).is_ok());
    }

    #[test]
    fn effects_and_urgencies_are_those_of_the_fence() {
        let verbs = verbs(Duration::from_secs(60));
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
}
