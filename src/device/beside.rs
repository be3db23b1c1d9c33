//! What answers for a device beside its owner task, from any task and whatever the owner is doing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Call, Context, Outcome, VerbError};

/// Answers a device's query verbs beside whatever its owner task is doing. It can read and must not act.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Answers one verb whose urgency is [`super::Urgency::Query`].
    async fn query(&self, call: &Call, context: &Context) -> Result<Outcome, VerbError>;
}

/// Steers what a device is doing to its end, where to drop it half way would be worse: an aircraft is told to come home,
/// and the verb that flies it sees it down and tells how it went.
///
/// It does not act itself: it tells the owner task's verb, or what tends the device, and waits until that has been heeded.
#[async_trait]
pub trait Helm: Send + Sync + 'static {
    /// Does what a preempting verb asks for by steering what is under way. `Some` is that verb's answer, and what runs goes
    /// on: it winds down and tells its own end. `None`: there is nothing to steer, and the owner stops what runs (if
    /// anything) and performs the verb.
    ///
    /// Ends with the call's own lease, longest time and cancellation, and with a caller that goes away: it may be dropped at
    /// any await, and what it has ordered by then stands.
    async fn steer(&self, call: &Call, context: &Context) -> Option<Result<Outcome, VerbError>>;
}

/// So many [`Reading`]s of a device are shown; what comes after them is left out.
pub const READINGS_MAX: usize = 32;

/// One figure of a device at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// What it is, with its unit, in small letters: `altitude_metres`.
    pub name: &'static str,
    /// In that unit. What is not finite is not shown.
    pub value: f64,
}

/// Tells what a device is like just now. Every method is called from any task and at any time: it looks at what the device
/// has noted, and neither blocks nor talks to the device.
pub trait Live: Send + Sync + 'static {
    /// What [`super::Device::time_to_safe`] is at this moment. `None`: as of the end of the last verb.
    fn time_to_safe(&self) -> Option<Duration> {
        None
    }

    /// What the device is doing though no verb runs, in words that follow “busy with”: `coming home`. While there is
    /// something, the device is not closed for a reload.
    fn under_way(&self) -> Option<String> {
        None
    }

    /// How what was last under way has ended, for whoever did not live to see it: `hands off: a pilot took over`. Told with an
    /// attempt that a crash of the agent interrupted, once the device was made safe.
    fn became(&self) -> Option<String> {
        None
    }

    /// Figures for whoever watches the machine, most important first; at most [`READINGS_MAX`] are shown.
    fn readings(&self) -> Vec<Reading> {
        Vec::new()
    }
}

/// All of them, of one device.
#[derive(Clone, Default)]
pub(super) struct Beside {
    pub probe: Option<Arc<dyn Probe>>,
    pub helm: Option<Arc<dyn Helm>>,
    pub live: Option<Arc<dyn Live>>,
}
