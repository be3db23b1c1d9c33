//! A lamp, or whatever else a GPIO line switches: a relay, a valve, a fan. On a PWM channel it can be dimmed.
//!
//! | verb | effect | urgency | outcome |
//! | --- | --- | --- | --- |
//! | `on` | set | work | `state` |
//! | `off` | set | preempt: stops a pulse | `state` |
//! | `dim <percent>` | set | work | `state`, `percent` |
//! | `toggle` | once | work | `state` |
//! | `pulse <duration>` | once | work | `state`, `on_seconds` |
//! | `state` | read | query: beside a pulse | `state` |
//!
//! `dim` is there on a PWM channel alone, and there `percent` is told wherever `state` is. 0 is off; everything above counts as
//! on for all rules. `on`, `toggle` and `pulse` switch on as strong as the last `dim` since the start, else with 100.
//!
//! `state` is `on` or `off` as read back from the line; a line that does not follow is an error. A pulse
//! switches on, waits on this device's own clock and switches off, whatever the level was before. Everything else
//! (levels at start, stop and loss of the server, `max_on`, `min_off`, interlock, feedback) is an [`Output`]'s.

mod settings;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::settings::{LampSettings, LampSettingsError};
use self::settings::{SHORTEST_PULSE, longest_pulse};
use super::duration::{format_duration, format_seconds, parse_duration};
use super::gpio::Level;
use super::output::{Output, Reading, Wire};
use super::pwm::Percent;
use super::{
    Call, Context, Device, DeviceError, Effect, Hardware, Outcome, Probe, Urgency, Verb, VerbError, output,
};

/// How long switching may take, once it may begin; in truth microseconds, or as long as a contact takes.
const SWITCH_TIME: Duration = Duration::from_secs(5);

/// The verb that only a PWM channel has.
const DIM: &str = "dim";

/// A lamp whose line is ours.
pub struct Lamp {
    name: String,
    output: Output,
    max_pulse: Duration,
    verbs: Vec<Verb>,
}

impl Lamp {
    /// Takes the line and drives it to the level of its start.
    ///
    /// # Errors
    /// The line cannot be had or cannot be read.
    pub fn open(name: &str, settings: &LampSettings, hardware: &Hardware) -> Result<Self, DeviceError> {
        Ok(Lamp {
            name: name.to_owned(),
            output: Output::open(name, "lamp", &settings.output, hardware)?,
            max_pulse: longest_pulse(settings),
            verbs: verbs(settings),
        })
    }

    fn state(&self) -> Result<Outcome, VerbError> {
        Ok(state(self.output.wire().read()?))
    }

    async fn switch(&mut self, level: Level, context: &Context) -> Result<Outcome, VerbError> {
        self.output.switch(level, context).await?;
        Ok(self.verified(level))
    }

    async fn dim(&mut self, percent: Percent, context: &Context) -> Result<Outcome, VerbError> {
        self.output.dim(percent, context).await?;
        Ok(self.verified(percent.level()))
    }

    /// What it was just driven to and read back as.
    fn verified(&self, level: Level) -> Outcome {
        let percent = self.output.driven();
        state(Reading { level, percent })
    }

    async fn pulse(&mut self, span: Duration, context: &Context) -> Result<Outcome, VerbError> {
        let from = self.output.switch(Level::On, context).await?;
        self.output.stay_on(from + span, context).await?;
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
            let problem = format!(
                "a pulse of {text:?} is too long, at most {most} (the shorter of max_pulse and max_on of this device)"
            );
            return Err(verb.usage_error(&self.name, problem));
        }
        Ok(span)
    }
}

fn state(reading: Reading) -> Outcome {
    let outcome = Outcome::new().with("state", reading.level.to_string());
    match reading.percent {
        Some(percent) => outcome.with("percent", percent.to_string()),
        None => outcome,
    }
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

fn verbs(settings: &LampSettings) -> Vec<Verb> {
    // What switches on may have to wait until it may.
    let on_time = SWITCH_TIME + settings.output.longest_wait();
    let switch = |name: &'static str, help: &'static str, effect, urgency, max_time| Verb {
        name: name.into(),
        usage: "".into(),
        help: help.into(),
        effect,
        urgency,
        max_time,
    };
    let max_pulse = longest_pulse(settings);
    let mut verbs = vec![
        switch("on", "Switches on.", Effect::Set, Urgency::Work, on_time),
        switch(output::OFF, "Switches off; stops a pulse.", Effect::Set, Urgency::Preempt, SWITCH_TIME),
        switch("toggle", "Switches off if it is on, else on.", Effect::Once, Urgency::Work, on_time),
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
            max_time: max_pulse + on_time,
        },
        state_verb(),
    ];
    if settings.output.drive.pwm().is_some() {
        verbs.push(Verb {
            usage: "<percent>".into(),
            ..switch(
                DIM,
                "Sets how bright it is, from 0 (off) to 100; later switching on makes it so bright again.",
                Effect::Set,
                Urgency::Work,
                on_time,
            )
        });
    }
    verbs
}

#[async_trait]
impl Device for Lamp {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "lamp"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        Duration::ZERO
    }

    fn is_local_output(&self) -> bool {
        true
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        Some(Arc::new(LampProbe {
            wire: self.output.wire().clone(),
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
            let span = self.pulse_span(verb, text)?;
            return self.pulse(span, context).await;
        }
        if &*verb.name == DIM {
            let [text] = call.exactly::<1>(&self.name, verb)?;
            let percent = Percent::parse(text);
            let percent = percent.map_err(|error| verb.usage_error(&self.name, error.to_string()))?;
            return self.dim(percent, context).await;
        }
        let [] = call.exactly::<0>(&self.name, verb)?;
        match call.verb.as_str() {
            "on" => self.switch(Level::On, context).await,
            "off" => self.switch(Level::Off, context).await,
            "toggle" => {
                let level = self.output.wire().get()?;
                self.switch(!level, context).await
            }
            _ => self.state(),
        }
    }

    async fn tend(&mut self) -> Result<(), DeviceError> {
        self.output.tend().await
    }

    fn latched(&self) -> Option<String> {
        self.output.latched()
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.output.make_safe().await
    }

    async fn stop(&mut self) -> Result<(), DeviceError> {
        self.output.stop().await
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
        let [] = call.exactly::<0>(self.wire.device(), &self.verb)?;
        Ok(state(self.wire.read()?))
    }
}

#[cfg(test)]
mod dim_tests;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;
