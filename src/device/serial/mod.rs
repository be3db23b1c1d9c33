//! Serial ports, and instruments behind them that are asked and told in frames.
//!
//! | verb | effect | outcome |
//! | --- | --- | --- |
//! | `query <text> [expect <regex>]` | once, or as `query_effect` says | `reply`, captures as `reply.1`, `reply.NAME` |
//! | `send <text>` | once | `sent`, in bytes |
//! | `read [<duration>]` | read | `reply`: the next frame that ends after the call |
//! | `state` | read; query: beside whatever runs | `state` (`open`, `closed`), `port`, `problem` |
//!
//! The port is claimed for this program, is closed as soon as it is gone and opened again with growing pauses.
//! Everything has a deadline, and what could not be sent in time is thrown away rather than sent late (what an
//! adapter has taken into its own memory is beyond reach). After an opening nothing goes out that was not asked
//! for after it. While the port is closed, verbs fail with the reason and the remedy.
//!
//! Only an instrument with `safe` texts has something to make safe; it is *faulted* while they could not be sent.
//!
//! ```text
//! Serial, Modbus --Link--> SerialPort: port.rs (tokio-serial) or a simulated one
//! ```

mod encoding;
mod error;
mod framing;
mod link;
mod port;
mod settings;
mod simulated;
#[cfg(test)]
pub(super) mod test_port;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use regex_lite::{Regex, RegexBuilder};
use tokio::io::{AsyncRead, AsyncWrite};

use super::duration::{format_duration, parse_duration};
use super::{Call, Context, Device, DeviceError, Effect, Outcome, Probe, Urgency, Verb, VerbError, lock};
use crate::clock::{BootTime, SharedClock};
pub use encoding::Encoding;
pub use error::{SerialError, ports_by_id};
pub use framing::{Framer, Framing, Oversize};
pub(super) use link::{Backoff, Link, LinkState};
pub(super) use port::RealPort;
pub(super) use settings::PortKeys;
pub use settings::{
    BY_ID, FlowControl, Parity, PortBackend, PortSettings, Rs485, SerialSettings, SerialSettingsError,
};
pub(super) use simulated::SimulatedOpener;

/// The longest pattern after `expect`, in bytes.
const LONGEST_PATTERN: usize = 512;
/// What a pattern may take in memory once compiled, in bytes.
const PATTERN_MEMORY: usize = 128 * 1024;
/// What `ready` and what surrounds the waits may take beyond them.
const SLACK: Duration = Duration::from_secs(10);

/// An open serial port. Dropping it closes it and throws away what was not sent.
///
/// `poll_flush` must not block; [`SerialPort::unsent`] tells what is still to go. Reading no bytes means that the port
/// is gone.
pub trait SerialPort: AsyncRead + AsyncWrite + Send + Unpin {
    /// The bytes that are there already. [`io::ErrorKind::WouldBlock`] if there are none.
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// How many bytes were taken and have not left yet, as far as can be told.
    fn unsent(&self) -> io::Result<usize>;

    /// Throws them away.
    fn discard_unsent(&self) -> io::Result<()>;
}

/// What opens a port, again and again. Called where blocking is allowed.
pub trait PortOpener: Send + Sync + 'static {
    /// The port as the configuration has it.
    fn settings(&self) -> &PortSettings;

    /// Claims and opens the port, from within a tokio runtime.
    fn open(&self) -> Result<Box<dyn SerialPort>, SerialError>;
}

/// A number that differs from device to device and from start to start.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness devices may act in step, no more.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// An instrument behind a serial port.
pub struct Serial {
    name: String,
    settings: SerialSettings,
    link: Link,
    framer: Framer,
    /// The opening that the framer belongs to.
    generation: u64,
    /// When the place in the stream was lost by opening the port.
    opened: BootTime,
    /// A question may still be answered: what comes next need not be the answer to the next one.
    owed_answer: bool,
    clock: SharedClock,
    verbs: Vec<Verb>,
}

impl Serial {
    /// An instrument of that name. The port is opened by the owner task, or by the first verb: one that is not
    /// there yet is no error.
    pub fn new(name: &str, settings: &SerialSettings, clock: SharedClock) -> Self {
        let opener: Arc<dyn PortOpener> = match settings.port.backend {
            PortBackend::Port => Arc::new(RealPort(settings.port.clone())),
            PortBackend::Simulated => Arc::new(SimulatedOpener::instrument(settings)),
        };
        Serial::with_opener(name, settings, opener, clock)
    }

    fn with_opener(
        name: &str,
        settings: &SerialSettings,
        opener: Arc<dyn PortOpener>,
        clock: SharedClock,
    ) -> Self {
        Serial {
            name: name.to_owned(),
            link: Link::new(name, opener, clock.clone(), random()),
            framer: Framer::new(settings.framing.clone(), settings.max_frame),
            generation: 0,
            opened: BootTime::default(),
            owed_answer: false,
            clock,
            verbs: verbs(settings),
            settings: settings.clone(),
        }
    }

    fn serial(&self, cause: SerialError) -> VerbError {
        self.link.error(cause).into()
    }

    /// Starts the framer afresh where the port was opened since.
    fn follow(&mut self) {
        if self.generation != self.link.generation() {
            self.generation = self.link.generation();
            self.opened = self.clock.now();
            self.framer.opened(self.opened);
            self.owed_answer = false;
        }
    }

    /// Makes the port ready, and takes in what has come so far.
    async fn begin(&mut self, context: &Context) -> Result<(), VerbError> {
        self.link.ready(context).await?;
        let fresh = self.generation != self.link.generation();
        let mut buffer = [0; 256];
        // Bounded, since a line that never falls silent would keep us here.
        for _ in 0..256 {
            let count = self
                .link
                .read_now(&mut buffer)
                .map_err(|cause| self.serial(cause))?;
            if count == 0 {
                break;
            }
            // What a board says while it starts is nobody's answer.
            if !fresh {
                self.framer.push(&buffer[..count], self.clock.now());
            }
        }
        self.follow();
        Ok(())
    }

    /// Right after an opening: waits until it is known whether something is under way already.
    async fn find_place(&mut self, context: &Context) -> Result<(), VerbError> {
        let known = self.opened + framing::FRAGMENT_AGE;
        let mut buffer = [0; 256];
        loop {
            let left = known.saturating_since(self.clock.now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::select! {
                biased;
                read = self.link.read(&mut buffer) => {
                    let count = read.map_err(|cause| self.serial(cause))?;
                    self.framer.push(&buffer[..count], self.clock.now());
                }
                stop = context.sleep(left) => stop?,
            }
        }
    }

    /// The next frame, within the time that is left.
    async fn frame(&mut self, deadline: BootTime, context: &Context) -> Result<Option<Vec<u8>>, VerbError> {
        let mut buffer = [0; 256];
        loop {
            context.check()?;
            let now = self.clock.now();
            if let Some(frame) = self.framer.next(now) {
                let path = self.settings.port.path.clone();
                return frame
                    .map(Some)
                    .map_err(|cause| self.serial(SerialError::TooLong { path, cause }));
            }
            if now >= deadline {
                return Ok(None);
            }
            let wake = self.framer.wake().map_or(deadline, |wake| wake.min(deadline));
            tokio::select! {
                biased;
                read = self.link.read(&mut buffer) => {
                    let count = read.map_err(|cause| self.serial(cause))?;
                    self.framer.push(&buffer[..count], self.clock.now());
                }
                stop = context.sleep(wake.saturating_since(now)) => stop?,
            }
        }
    }

    async fn query(
        &mut self,
        bytes: &[u8],
        expect: Option<&Regex>,
        context: &Context,
    ) -> Result<Outcome, VerbError> {
        self.begin(context).await?;
        self.find_place(context).await?;
        if self.owed_answer {
            self.link.silence(self.settings.timeout, context).await?;
            self.framer.clear();
            self.owed_answer = false;
        }
        context.check_beginning()?;
        self.framer.only_later(self.clock.now());
        self.owed_answer = true;
        self.link.send(bytes, self.settings.timeout, context).await?;
        let waited = self.settings.timeout;
        let deadline = self.clock.now() + waited;
        let (mut count, mut last) = (0, String::new());
        while let Some(frame) = self.frame(deadline, context).await? {
            let reply = self.settings.encoding.text(&frame);
            let Some(outcome) = outcome(&reply, expect) else {
                (count, last) = (count + 1, reply);
                continue;
            };
            self.owed_answer = false;
            return Ok(outcome);
        }
        let path = self.settings.port.path.clone();
        Err(self.serial(match expect {
            Some(expected) if count > 0 => SerialError::Unexpected {
                path,
                expected: expected.as_str().to_owned(),
                waited,
                count,
                last: shorten(&last),
            },
            _ => SerialError::NoAnswer {
                path,
                waited,
                got: shorten(&self.settings.encoding.text(self.framer.fragment())),
            },
        }))
    }

    async fn read(&mut self, wait: Duration, context: &Context) -> Result<Outcome, VerbError> {
        self.begin(context).await?;
        let now = self.clock.now();
        self.framer.forget_complete(now);
        match self.frame(now + wait, context).await? {
            Some(frame) => Ok(Outcome::new().with("reply", self.settings.encoding.text(&frame))),
            None => Err(self.serial(SerialError::NoAnswer {
                path: self.settings.port.path.clone(),
                waited: wait,
                got: shorten(&self.settings.encoding.text(self.framer.fragment())),
            })),
        }
    }

    async fn send(&mut self, bytes: &[u8], context: &Context) -> Result<Outcome, VerbError> {
        self.begin(context).await?;
        context.check_beginning()?;
        // It may answer all the same.
        self.owed_answer = true;
        self.link.send(bytes, self.settings.timeout, context).await?;
        Ok(Outcome::new().with("sent", bytes.len().to_string()))
    }

    /// How long sending one of `safe` may take.
    fn safe_time(&self, text: &str) -> Duration {
        let length = text.len() + self.settings.send_terminator.len();
        self.settings.timeout + self.settings.port.time_for(length)
    }
}

/// What an answer says; `None` if it is not the expected one.
fn outcome(reply: &str, expect: Option<&Regex>) -> Option<Outcome> {
    let mut outcome = Outcome::new().with("reply", reply);
    let Some(expect) = expect else {
        return Some(outcome);
    };
    let captures = expect.captures(reply)?;
    for (index, name) in expect.capture_names().enumerate().skip(1) {
        // A group that took no part says nothing.
        if let Some(part) = captures.get(index) {
            let key = name.map_or_else(|| index.to_string(), str::to_owned);
            outcome = outcome.with(format!("reply.{key}"), part.as_str());
        }
    }
    Some(outcome)
}

/// Enough of an answer for an error message.
fn shorten(text: &str) -> String {
    const ENOUGH: usize = 120;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A pattern out of an argument.
fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > LONGEST_PATTERN {
        return Err(format!(
            "the pattern is too long, at most {LONGEST_PATTERN} bytes"
        ));
    }
    RegexBuilder::new(text)
        .size_limit(PATTERN_MEMORY)
        .build()
        .map_err(|fault| format!("{text:?} is not a pattern: {fault}"))
}

fn verbs(settings: &SerialSettings) -> Vec<Verb> {
    let on_the_line = settings.port.time_for(settings.max_frame) + settings.port.settle + SLACK;
    let what = match settings.encoding {
        Encoding::Text => "",
        Encoding::Hex => ", in hexadecimal digits",
    };
    vec![
        Verb {
            name: "query".into(),
            usage: "<text> [expect <regex>]".into(),
            help: format!("Sends a text{what} and waits for the answer, or for one that matches.").into(),
            effect: settings.query_effect,
            urgency: Urgency::Work,
            // Silence, sending, the answer.
            max_time: settings.timeout * 3 + on_the_line,
        },
        Verb {
            name: "send".into(),
            usage: "<text>".into(),
            help: format!("Sends a text{what} and waits until it has left.").into(),
            effect: Effect::Once,
            urgency: Urgency::Work,
            max_time: settings.timeout + on_the_line,
        },
        Verb {
            name: "read".into(),
            usage: "[<duration>]".into(),
            help: format!(
                "Waits for the next frame; for {} unless told otherwise, at most {}.",
                format_duration(settings.timeout),
                format_duration(settings.max_wait)
            )
            .into(),
            effect: Effect::Read,
            urgency: Urgency::Work,
            max_time: settings.max_wait + on_the_line,
        },
        state_verb(),
    ]
}

/// The verb `state` of devices behind a port.
pub(super) fn state_verb() -> Verb {
    Verb {
        name: "state".into(),
        usage: "".into(),
        help: "Tells whether the port is open, and if not, why.".into(),
        effect: Effect::Read,
        urgency: Urgency::Query,
        max_time: Duration::from_secs(5),
    }
}

/// Answers `state` beside whatever runs.
pub(super) struct LinkProbe {
    device: String,
    path: String,
    state: Arc<Mutex<LinkState>>,
}

impl LinkProbe {
    pub(super) fn new(device: &str, link: &Link) -> Self {
        LinkProbe {
            device: device.to_owned(),
            path: link.settings().path.display().to_string(),
            state: link.state(),
        }
    }
}

#[async_trait]
impl Probe for LinkProbe {
    async fn query(&self, call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        let [] = call.exactly::<0>(&self.device, &state_verb())?;
        let state = lock(&self.state).clone();
        let outcome = Outcome::new();
        Ok(match state {
            LinkState::Open => outcome.with("state", "open").with("port", &self.path),
            LinkState::Closed(problem) => {
                let problem = problem.map_or_else(|| "not opened yet".to_owned(), |cause| cause.to_string());
                outcome
                    .with("state", "closed")
                    .with("port", &self.path)
                    .with("problem", problem)
            }
        })
    }
}

#[async_trait]
impl Device for Serial {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "serial"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        let texts = self.settings.safe.iter();
        let sending: Duration = texts.map(|text| self.safe_time(text)).sum();
        if sending.is_zero() {
            sending
        } else {
            sending + self.settings.port.settle
        }
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        Some(Arc::new(LinkProbe::new(&self.name, &self.link)))
    }

    async fn tend(&mut self) -> Result<(), DeviceError> {
        let mut buffer = [0; 256];
        loop {
            if !self.link.is_open() {
                self.link.reopen().await;
                self.follow();
                return Ok(());
            }
            // Whole frames that nobody waits for are nobody's; of a loss the link has told already.
            if let Ok(count) = self.link.read(&mut buffer).await {
                self.follow();
                let now = self.clock.now();
                self.framer.push(&buffer[..count], now);
                self.framer.forget_complete(now);
            }
        }
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
        let usage = |problem: String| verb.usage_error(&self.name, problem);
        let outgoing = |text: &str| self.settings.outgoing(text).map_err(usage);
        match (&*verb.name, call.args.as_slice()) {
            ("query", [text]) => {
                let bytes = outgoing(text)?;
                self.query(&bytes, None, context).await
            }
            ("query", [text, word, regex]) if word == "expect" => {
                let bytes = outgoing(text)?;
                let expect = pattern(regex).map_err(usage)?;
                self.query(&bytes, Some(&expect), context).await
            }
            ("query", [_, word, ..]) => Err(usage(format!("{word:?} is not understood"))),
            ("read", []) => self.read(self.settings.timeout, context).await,
            ("read", [text]) => {
                let wait = parse_duration(text).map_err(|error| usage(error.to_string()))?;
                if wait > self.settings.max_wait {
                    let most = format_duration(self.settings.max_wait);
                    return Err(usage(format!(
                        "{text:?} is too long, at most {most} (max_wait of this device)"
                    )));
                }
                self.read(wait, context).await
            }
            ("read", [_, extra, ..]) => Err(usage(format!("takes 1 argument, {extra:?} is too much"))),
            ("state", _) => LinkProbe::new(&self.name, &self.link).query(call, context).await,
            _ => {
                let [text] = call.exactly::<1>(&self.name, verb)?;
                let bytes = outgoing(text)?;
                self.send(&bytes, context).await
            }
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        if self.settings.safe.is_empty() {
            return Ok(());
        }
        let context = Context::new(self.clock.clone());
        let texts = self.settings.safe.clone();
        let mut first_failure = None;
        for text in &texts {
            // Checked when the configuration was read.
            let bytes = self.settings.outgoing(text).unwrap_or_default();
            if let Err(error) = self.send(&bytes, &context).await {
                first_failure.get_or_insert(error);
            }
        }
        match first_failure {
            None => Ok(()),
            Some(VerbError::Failed(cause)) => Err(cause),
            Some(other) => Err(self.link.error(SerialError::Io {
                path: self.settings.port.path.clone(),
                action: "make it safe",
                cause: other.to_string(),
            })),
        }
    }
}

#[cfg(test)]
mod tests;
