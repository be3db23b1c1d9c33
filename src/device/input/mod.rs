//! A GPIO line that is read: a button, a door contact, a key switch (docs/inputs.md).
//!
//! | verb | effect | urgency | outcome |
//! | --- | --- | --- | --- |
//! | `state`, `read` | read | query: beside a wait | `state` |
//! | `wait_for <edge> <timeout>` | read | work | `edge`, `state`, `waited_seconds` |
//!
//! `state` is `on` or `off`: the debounced level. The line is watched by the device's owner task, while it waits for a verb as
//! well as during one; without edges nothing wakes up. Edges may submit processes: they are given to
//! [`Hardware::edges`], and what they are is the agent's affair. Other devices see the level through [`Inputs`].

mod edge;
mod error;
mod levels;
mod settings;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::edge::{Edge, EdgeEvent, EdgeSink, Edges, UnknownEdge};
pub use self::error::InputError;
pub use self::levels::Inputs;
pub use self::settings::{InputSettings, InputSettingsError, Submit};
use self::watcher::{Seen, Watcher};
use super::duration::{format_duration, format_seconds, parse_duration};
use super::gpio::Level;
use super::{Call, Context, Device, DeviceError, Effect, Hardware, Outcome, Probe, Urgency, Verb, VerbError};

/// How often a line that was lost is tried again: an expander that was unplugged may come back.
const REOPEN_EVERY: Duration = Duration::from_secs(5);
/// The longest that can be waited for an edge. Without a lease this is what ends it.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// What a verb may take beyond the time that it waits.
const SLACK: Duration = Duration::from_secs(5);

/// An input whose line is ours.
pub struct Input {
    name: String,
    watcher: Watcher,
    verbs: [Verb; 3],
}

impl Input {
    /// Takes the line. Needs a tokio runtime.
    ///
    /// # Errors
    /// No GPIO backend, or the line cannot be had or read.
    pub fn open(name: &str, settings: &InputSettings, hardware: &Hardware) -> Result<Self, DeviceError> {
        let Some(gpio) = &hardware.gpio else {
            return Err(DeviceError::NoGpio {
                device: name.to_owned(),
                kind: "input",
            });
        };
        let watcher = Watcher::open(name, settings, gpio, hardware).map_err(|cause| DeviceError::Gpio {
            device: name.to_owned(),
            action: format!("take line {}", settings.line),
            cause,
        })?;
        Ok(Input {
            name: name.to_owned(),
            watcher,
            verbs: verbs(),
        })
    }

    fn failed(&self, cause: InputError) -> VerbError {
        failed(&self.name, cause)
    }

    async fn wait_for(
        &mut self,
        edges: Edges,
        span: Duration,
        context: &Context,
    ) -> Result<Outcome, VerbError> {
        let from = context.now();
        let deadline = from + span;
        loop {
            // A lost line tells no edges: better said at once than after the whole time.
            let level = self.watcher.seen().level().map_err(|cause| self.failed(cause))?;
            let lost = self.watcher.seen().lost();
            tokio::select! {
                biased;
                edge = self.watcher.next() => if edges.contain(edge) {
                    let waited = context.now().saturating_since(from);
                    return Ok(state(edge.level())
                        .with("edge", edge.to_string())
                        .with("waited_seconds", format_seconds(waited)));
                },
                () = lost.wait() => {}
                reason = context.cancellation().cancelled() => {
                    return Err(VerbError::Cancelled { reason: reason.to_string() });
                }
                limit = context.ended() => return Err(limit.error()),
                () = context.clock().sleep_until(deadline) => {
                    return Err(self.failed(InputError::NoEdge { edges, waited: span, level }));
                }
            }
        }
    }
}

fn failed(device: &str, cause: InputError) -> VerbError {
    VerbError::Failed(DeviceError::Input {
        device: device.to_owned(),
        cause,
    })
}

fn state(level: Level) -> Outcome {
    Outcome::new().with("state", level.to_string())
}

fn verbs() -> [Verb; 3] {
    let level = |name: &'static str| Verb {
        name: name.into(),
        usage: "".into(),
        help: "Tells whether it is on or off, debounced.".into(),
        effect: Effect::Read,
        urgency: Urgency::Query,
        max_time: SLACK,
    };
    let wait_for = Verb {
        name: "wait_for".into(),
        usage: "<edge> <timeout>".into(),
        help: format!(
            "Waits until it comes on (rising), goes off (falling) or either (both); fails after the timeout, at most {}.",
            format_duration(LONGEST_WAIT)
        )
        .into(),
        effect: Effect::Read,
        urgency: Urgency::Work,
        max_time: LONGEST_WAIT + SLACK,
    };
    [level("state"), level("read"), wait_for]
}

/// Answers `state` and `read`.
fn query(device: &str, verbs: &[Verb], seen: &Seen, call: &Call) -> Result<Outcome, VerbError> {
    let verb = verbs.iter().find(|verb| verb.name == call.verb);
    let verb = verb.ok_or_else(|| unknown(device, verbs, call))?;
    let [] = call.exactly::<0>(device, verb)?;
    seen.level().map(state).map_err(|cause| failed(device, cause))
}

fn unknown(device: &str, verbs: &[Verb], call: &Call) -> VerbError {
    VerbError::UnknownVerb {
        device: device.to_owned(),
        verb: call.verb.clone(),
        known: verbs.iter().map(|verb| verb.name.to_string()).collect(),
    }
}

#[async_trait]
impl Device for Input {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "input"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        Duration::ZERO
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        Some(Arc::new(InputProbe {
            name: self.name.clone(),
            seen: self.watcher.seen().clone(),
            verbs: self.verbs.clone(),
        }))
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let [.., verb] = &self.verbs;
        if verb.name != call.verb {
            return query(&self.name, &self.verbs, self.watcher.seen(), call);
        }
        let [edges, timeout] = call.exactly::<2>(&self.name, verb)?;
        let usage = |problem: String| verb.usage_error(&self.name, problem);
        let edges: Edges = edges
            .parse()
            .map_err(|error: UnknownEdge| usage(error.to_string()))?;
        let span = parse_duration(timeout).map_err(|error| usage(error.to_string()))?;
        if span.is_zero() || span > LONGEST_WAIT {
            let most = format_duration(LONGEST_WAIT);
            return Err(usage(format!(
                "a timeout of {timeout:?} must be more than nothing and at most {most}"
            )));
        }
        self.wait_for(edges, span, context).await
    }

    async fn tend(&mut self) -> Result<(), DeviceError> {
        loop {
            self.watcher.next().await;
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        // It drives nothing.
        Ok(())
    }
}

/// Tells the level beside a verb that waits.
struct InputProbe {
    name: String,
    seen: Arc<Seen>,
    verbs: [Verb; 3],
}

#[async_trait]
impl Probe for InputProbe {
    async fn query(&self, call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        query(&self.name, &self.verbs, &self.seen, call)
    }
}

#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod tests;
