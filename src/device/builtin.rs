//! Devices that need no hardware: `sleep` and `echo`.
//!
//! Both show that a process's environment reached the function: each pair comes back as the attribute
//! `env.NAME`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::duration::{format_seconds, parse_duration};
use super::{Call, Context, Device, DeviceError, Effect, Outcome, Probe, Urgency, Verb, VerbError};

/// The longest sleep. Without a lease this is what ends it.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 3600);
/// How much longer than the longest sleep the verb may take.
const SLACK: Duration = Duration::from_secs(5);

/// The settings of `kind = "sleep"`: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SleepSettings {}

/// The settings of `kind = "echo"`: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EchoSettings {}

/// The same outcome with the call's environment: attribute `env.NAME` for each pair.
fn with_env(outcome: Outcome, call: &Call) -> Outcome {
    call.env.iter().fold(outcome, |outcome, (name, value)| {
        outcome.with(format!("env.{name}"), value)
    })
}

/// Waits: verb `sleep <seconds>`, fractions and units allowed (`0.5`, `3`, `500ms`, `2m`).
///
/// Outcome: `slept`, the seconds by this device's clock with three decimals, and the environment.
pub struct Sleep {
    name: String,
    verbs: [Verb; 1],
}

impl Sleep {
    /// A sleeper of that name.
    pub fn new(name: &str) -> Self {
        let verb = Verb {
            name: "sleep".into(),
            usage: "<seconds>".into(),
            help: "Waits; fractions and the units ms, s, m, h are allowed.".into(),
            effect: Effect::Read,
            urgency: Urgency::Work,
            max_time: LONGEST_SLEEP + SLACK,
        };
        Sleep {
            name: name.to_owned(),
            verbs: [verb],
        }
    }
}

#[async_trait]
impl Device for Sleep {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "sleep"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        Duration::ZERO
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let verb = &self.verbs[0];
        let [text] = call.exactly::<1>(&self.name, verb)?;
        let span = parse_duration(text).map_err(|error| verb.usage_error(&self.name, error.to_string()))?;
        if span > LONGEST_SLEEP {
            return Err(verb.usage_error(&self.name, format!("{text:?} is too long, at most 24h")));
        }
        let from = context.now();
        context.sleep(span).await?;
        let slept = context.now().saturating_since(from);
        Ok(with_env(
            Outcome::new().with("slept", format_seconds(slept)),
            call,
        ))
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// Gives back its arguments: verb `echo [args…]`, beside whatever runs.
///
/// Outcome: `output`, the arguments joined by one space, and the environment.
pub struct Echo {
    name: String,
    verbs: [Verb; 1],
}

impl Echo {
    /// An echo of that name.
    pub fn new(name: &str) -> Self {
        let verb = Verb {
            name: "echo".into(),
            usage: "[args…]".into(),
            help: "Gives back its arguments.".into(),
            effect: Effect::Read,
            urgency: Urgency::Query,
            max_time: SLACK,
        };
        Echo {
            name: name.to_owned(),
            verbs: [verb],
        }
    }
}

fn echo(call: &Call) -> Outcome {
    with_env(Outcome::new().with("output", call.args.join(" ")), call)
}

#[async_trait]
impl Device for Echo {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "echo"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        Duration::ZERO
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        Some(Arc::new(EchoProbe))
    }

    async fn perform(&mut self, call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        Ok(echo(call))
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

struct EchoProbe;

#[async_trait]
impl Probe for EchoProbe {
    async fn query(&self, call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        Ok(echo(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, TestClock};
    use crate::device::owner;

    #[tokio::test(start_paused = true)]
    async fn sleep_takes_its_time_and_reports_it_with_the_environment() {
        let clock = TestClock::new(0);
        let sleep = owner::spawn(Box::new(Sleep::new("sleep")), clock.clone());
        let call = Call::new("sleep").arg("3").env("TEST", "testenv");
        let outcome = sleep.perform(call, Context::new(clock.clone())).await.unwrap();
        assert_eq!(clock.now().as_nanos(), 3_000_000_000);
        assert_eq!(
            outcome.attributes,
            [
                ("slept".to_owned(), "3.000".to_owned()),
                ("env.TEST".to_owned(), "testenv".to_owned())
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn sleep_refuses_what_is_no_time_and_what_is_too_long() {
        let clock = TestClock::new(0);
        let sleep = owner::spawn(Box::new(Sleep::new("sleep")), clock.clone());
        let run = |args: &[&str]| {
            let call = args.iter().fold(Call::new("sleep"), |call, arg| call.arg(*arg));
            sleep.perform(call, Context::new(clock.clone()))
        };
        for args in [&[][..], &["x"], &["-1"], &["1", "2"], &["24.001h"]] {
            let error = run(args).await.unwrap_err().to_string();
            assert!(error.ends_with("usage: sleep.sleep <seconds>"), "{error}");
        }
        assert_eq!(clock.now().as_nanos(), 0);
        assert_eq!(run(&["0"]).await.unwrap().get("slept"), Some("0.000"));
        assert_eq!(
            run(&["24h"]).await.unwrap().get("slept"),
            Some("86400.000"),
            "the limit itself is allowed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn sleep_wakes_when_it_is_cancelled_or_its_lease_ends() {
        let clock = TestClock::new(0);
        let sleep = owner::spawn(Box::new(Sleep::new("sleep")), clock.clone());
        let leased = Context::new(clock.clone()).with_lease(Some(clock.now() + Duration::from_secs(5)));
        let late = sleep.perform(Call::new("sleep").arg("6"), leased).await;
        assert!(matches!(late, Err(VerbError::LeaseOver)));
        assert_eq!(clock.now().as_nanos(), 5_000_000_000);

        let context = Context::new(clock.clone());
        let token = context.cancellation().clone();
        let (slept, ()) = tokio::join!(sleep.perform(Call::new("sleep").arg("60"), context), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            token.cancel("the agent is stopping");
        });
        assert_eq!(slept.unwrap_err().to_string(), "cancelled: the agent is stopping");
        assert_eq!(clock.now().as_nanos(), 6_000_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn echo_joins_its_arguments_and_shows_the_environment() {
        let clock = TestClock::new(0);
        let device = owner::spawn(Box::new(Echo::new("echo")), clock.clone());
        let call = Call::new("echo")
            .arg("hello")
            .arg("two  words")
            .env("TEST", "testenv")
            .env("A", "");
        let outcome = device.perform(call, Context::new(clock.clone())).await.unwrap();
        assert_eq!(outcome.get("output"), Some("hello two  words"));
        assert_eq!(outcome.get("env.TEST"), Some("testenv"));
        assert_eq!(outcome.get("env.A"), Some(""));
        let silent = device
            .perform(Call::new("echo"), Context::new(clock.clone()))
            .await
            .unwrap();
        assert_eq!(silent.attributes, [("output".to_owned(), String::new())]);
    }
}
