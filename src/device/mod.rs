//! What acts: one trait, one file or folder per kind.
//!
//! A [`Device`] is something configured on the agent that can act or be read: a lamp, a serial instrument, a
//! drone. It has [`Verb`]s; a process's `func` names one of them, and a [`Call`] carries its arguments. One
//! owner task per device ([`owner`]) performs one verb at a time, stops it when its lease or its own time is
//! over, and makes the device safe when nobody may drive it (docs/fence.md, sections 1 to 3). What may be
//! answered beside a running verb goes through the device's [`Probe`], which can read and cannot act; what steers a
//! running verb to its end goes through its [`Helm`]; and what it is like just now is told by its [`Live`] side.
//!
//! ```text
//! agent --DeviceHandle::perform--> owner task --Device::perform--> line, port, link
//!       |--query--> Probe (beside whatever runs)
//!       \--preempt--> Helm, if it takes it, else the owner task
//! ```
//!
//! This room knows [`crate::clock`] and nothing else of the crate: neither servers nor processes.
//! Its errors say everything in their `Display`, causes included, because the text travels to the server as
//! one string; so they do not repeat the cause through `Error::source`.

mod beside;
pub mod builtin;
pub mod command;
mod confirmation;
pub mod contact;
mod context;
pub mod drone;
pub mod duration;
mod error;
pub mod gpio;
pub mod hours;
pub mod input;
pub mod lamp;
mod lenient;
pub mod modbus;
pub mod output;
pub mod owner;
pub mod pwm;
pub mod serial;
mod settings;
pub(crate) mod state_file;
mod table;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use beside::{Helm, Live, Probe, READINGS_MAX, Reading};
pub use confirmation::{CONFIRM_MAX_AGE, Confirmation, Confirmed};
pub use contact::Contact;
pub use context::{Cancellation, Context, Limit, Origin, ProgressSink};
pub use error::{DeviceError, VerbError};
pub use output::{BadOutputs, Interlocks, check_outputs};
pub use owner::{DeviceHandle, Fault, Reservation, Running};
pub use settings::{DeviceSettings, Hardware, open};
pub use table::{Care, DeviceTable};

/// What a verb changes in the world; decides whether it may run again after a doubt (docs/fence.md, section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Changes nothing: a state, a measurement, waiting.
    Read,
    /// Idempotent: doing it twice is as good as once (on, off, dim).
    Set,
    /// Everything else: toggle, pulse, send, dispatch. Begins at most once per process.
    Once,
}

/// How a verb stands to what the device is doing already (docs/fence.md, section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Urgency {
    /// Waits for the device, or is refused while it is busy.
    Work,
    /// Answers at once, beside whatever runs.
    Query,
    /// Stops whatever runs and takes its place.
    Preempt,
}

/// One thing that a device can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verb {
    /// The name within the device: `pulse` of `lamp.pulse`.
    pub name: Cow<'static, str>,
    /// The arguments as a usage line shows them, for example `<duration>`; empty if there are none.
    pub usage: Cow<'static, str>,
    /// One sentence for people: what it does.
    pub help: Cow<'static, str>,
    /// What it changes.
    pub effect: Effect,
    /// How it stands to what runs already.
    pub urgency: Urgency,
    /// The longest it may take, lease or not; without a lease this takes its place.
    pub max_time: Duration,
}

impl Verb {
    /// The whole usage line: `lamp.pulse <duration>`.
    pub fn usage_line(&self, device: &str) -> String {
        if self.usage.is_empty() {
            format!("{device}.{}", self.name)
        } else {
            format!("{device}.{} {}", self.name, self.usage)
        }
    }

    /// A [`VerbError::Usage`] that names what was wrong and how to write it.
    pub fn usage_error(&self, device: &str, problem: impl Into<String>) -> VerbError {
        VerbError::Usage {
            problem: problem.into(),
            usage: self.usage_line(device),
        }
    }
}

/// A verb with its arguments, as a process asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// Name of the verb within the device.
    pub verb: String,
    /// Arguments in order, uninterpreted.
    pub args: Vec<String>,
    /// The process's environment: names and values.
    pub env: BTreeMap<String, String>,
}

impl Call {
    /// A call without arguments.
    pub fn new(verb: impl Into<String>) -> Self {
        Call {
            verb: verb.into(),
            ..Call::default()
        }
    }

    /// The same call with one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The same call with one more pair in its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// The arguments, if there are exactly `N`; else a usage error that names what is missing or too much.
    pub fn exactly<const N: usize>(&self, device: &str, verb: &Verb) -> Result<&[String; N], VerbError> {
        <&[String; N]>::try_from(self.args.as_slice()).map_err(|_| {
            let problem = match self.args.get(N) {
                Some(extra) if N == 0 => format!("takes no arguments, but got {extra:?}"),
                Some(extra) => format!("takes {N} argument(s), {extra:?} is too much"),
                None => format!("needs {N} argument(s), got {}", self.args.len()),
            };
            verb.usage_error(device, problem)
        })
    }
}

/// What a verb has to tell when it is done: pairs that become OUT attributes of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Names and values in the order in which they are set.
    pub attributes: Vec<(String, String)>,
}

impl Outcome {
    /// Nothing to tell.
    pub fn new() -> Self {
        Outcome::default()
    }

    /// The same outcome with one more attribute.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// The value of the first attribute of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Something that can act or be read. Owned by one task ([`owner::spawn`]), which alone calls it.
#[async_trait]
pub trait Device: Send + 'static {
    /// The name given in the configuration: `lamp` of `lamp.on`.
    fn name(&self) -> &str;

    /// What it is, as `kind = "…"` in the configuration says.
    fn kind(&self) -> &'static str;

    /// What it can do. Fixed for the life of the device.
    fn verbs(&self) -> &[Verb];

    /// How long [`Device::make_safe`] takes at worst from where the device is now. A lamp: nothing. Where it changes
    /// while the device works or is tended, [`Live::time_to_safe`] says the same at any time.
    fn time_to_safe(&self) -> Duration;

    /// What answers this device's [`Urgency::Query`] verbs while a verb runs. `None`: they wait like work. Asked for once.
    fn probe(&self) -> Option<Arc<dyn Probe>> {
        None
    }

    /// What steers a running verb to its end when a preempting verb comes. `None`: preempting verbs stop what runs. Asked
    /// for once.
    fn helm(&self) -> Option<Arc<dyn Helm>> {
        None
    }

    /// What tells at any time what the device is like. `None`: nothing changes but by its verbs. Asked for once.
    fn live(&self) -> Option<Arc<dyn Live>> {
        None
    }

    /// Performs one of [`Device::verbs`].
    ///
    /// Calls [`Context::check`] right before every actuation, returns within [`owner::STOP_GRACE`] once
    /// `context` is cancelled (else the future is dropped wherever it waits), and gives a
    /// [`VerbError::Usage`] only while nothing was done yet.
    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError>;

    /// Looks after the device between verbs: watches its link, opens it again, follows its own rules (an output that is
    /// on for too long). Returns when making the device safe is worth another attempt, which the owner then makes if the
    /// device is *faulted*; so it must not return without a pause or an event.
    ///
    /// Dropped at any await when something else comes, and called again later. So what it does to the device it does and
    /// notes between two awaits, never across one, and only what the device's settings ask for by themselves: no verb,
    /// no lease and no process stands behind it.
    ///
    /// # Errors
    /// What it did went wrong: the owner makes the device safe.
    async fn tend(&mut self) -> Result<(), DeviceError> {
        std::future::pending().await
    }

    /// A fault that the device has found by itself and that making it safe does not cure: while there is one, verbs are
    /// refused as if the device could not be made safe.
    fn latched(&self) -> Option<String> {
        None
    }

    /// Whether it is an output of this machine, which `outpost-agent safe` can make safe without the agent
    /// (docs/fence.md, section 7). Fixed for the life of the device.
    fn is_local_output(&self) -> bool {
        false
    }

    /// Puts the device into the state it must have while nobody may drive it, and verifies it. Idempotent;
    /// works after a verb was cancelled or dropped anywhere. Not bound to any lease.
    async fn make_safe(&mut self) -> Result<(), DeviceError>;

    /// The last that is asked of it: puts the device into the state it must have while the agent is stopped. As
    /// [`Device::make_safe`] in everything else.
    async fn stop(&mut self) -> Result<(), DeviceError> {
        self.make_safe().await
    }
}

/// Locks a mutex. None is ever poisoned: a panic ends the program.
fn lock<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb() -> Verb {
        Verb {
            name: "pulse".into(),
            usage: "<duration>".into(),
            help: "".into(),
            effect: Effect::Once,
            urgency: Urgency::Work,
            max_time: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_wrong_number_of_arguments_is_named_with_the_usage_line() {
        let verb = verb();
        assert_eq!(
            Call::new("pulse").arg("3").exactly::<1>("lamp", &verb).unwrap(),
            &["3".to_owned()]
        );
        let too_few = Call::new("pulse")
            .exactly::<1>("lamp", &verb)
            .unwrap_err()
            .to_string();
        assert_eq!(
            too_few,
            "needs 1 argument(s), got 0; usage: lamp.pulse <duration>"
        );
        let too_many = Call::new("pulse")
            .arg("3")
            .arg("x")
            .exactly::<1>("lamp", &verb)
            .unwrap_err()
            .to_string();
        assert_eq!(
            too_many,
            "takes 1 argument(s), \"x\" is too much; usage: lamp.pulse <duration>"
        );
        let none = Call::new("pulse")
            .arg("now")
            .exactly::<0>("lamp", &verb)
            .unwrap_err()
            .to_string();
        assert!(none.starts_with("takes no arguments, but got \"now\""), "{none}");
    }

    #[test]
    fn an_outcome_keeps_the_order_of_its_attributes() {
        let outcome = Outcome::new().with("state", "on").with("a", "b");
        assert_eq!(outcome.get("state"), Some("on"));
        assert_eq!(outcome.get("missing"), None);
        assert_eq!(outcome.attributes[1], ("a".to_owned(), "b".to_owned()));
    }
}
