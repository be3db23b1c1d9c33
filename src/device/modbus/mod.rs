//! Modbus RTU: named bits and numbers of devices on a serial line.
//!
//! | verb | effect | outcome |
//! | --- | --- | --- |
//! | `read [<name>…]` | read | one attribute for each point, all of them unless named; `NAME.unit` where it has one |
//! | `write <name> <value>` | set: writing twice is as good as once | the same, as read back |
//! | `state` | read; query: beside whatever runs | as of [`crate::device::serial`] |
//!
//! One device of the configuration is one line, on which one request is under way at a time; several units on it are
//! told apart by the `unit_id` of their points. Values are checked against their bounds and types before anything is
//! sent, and read back after it. Where points have a `safe` value, making safe writes those in the order of the
//! configuration, and tries again with growing pauses while that fails.
//!
//! Requests and answers are coded by tokio-modbus, over the same port as [`crate::device::serial`]. Of its client
//! only `call` is used: its typed methods trust what an answer says about address and length.

mod error;
mod point;
mod settings;
mod slave;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_modbus::client::{Client as _, rtu};
use tokio_modbus::{Request, Response, Slave};

use super::serial::{
    Link, LinkProbe, PortBackend, PortOpener, RealPort, SerialError, SimulatedOpener, random, state_verb,
};
use super::{Call, Context, Device, DeviceError, Effect, Outcome, Probe, Urgency, Verb, VerbError};
use crate::clock::{BootTime, SharedClock};
pub use error::ModbusError;
pub use point::{Coding, Memory, Number, Order, Point, Raw};
pub use settings::{ModbusSettings, ModbusSettingsError};
pub use slave::SimulatedSlave;

/// Bytes of the longest request together with its answer: two registers written.
const LONGEST_EXCHANGE: usize = 13 + 9;
/// What opening the port may take in a verb.
const SLACK: Duration = Duration::from_secs(10);
/// The pauses between attempts to make safe a device that does not answer.
const SAFE_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Devices on a Modbus line.
pub struct Modbus {
    name: String,
    settings: ModbusSettings,
    link: Link,
    clock: SharedClock,
    verbs: Vec<Verb>,
    /// When the line was last in use.
    last_use: BootTime,
    /// A request may still be answered.
    owed_answer: bool,
    /// Making safe failed: when to try again, and the pause after that.
    again: Option<(BootTime, Duration)>,
}

impl Modbus {
    /// A line of that name. The port is opened by the owner task, or by the first verb: one that is not there yet
    /// is no error.
    pub fn new(name: &str, settings: &ModbusSettings, clock: SharedClock) -> Self {
        let opener: Arc<dyn PortOpener> = match settings.port.backend {
            PortBackend::Port => Arc::new(RealPort(settings.port.clone())),
            PortBackend::Simulated => {
                let slave = SimulatedSlave::for_points(&settings.points);
                Arc::new(SimulatedOpener::new(&settings.port, move || {
                    let slave = slave.clone();
                    Box::new(move |bytes| slave.receive(bytes))
                }))
            }
        };
        Modbus::with_opener(name, settings, opener, clock)
    }

    fn with_opener(
        name: &str,
        settings: &ModbusSettings,
        opener: Arc<dyn PortOpener>,
        clock: SharedClock,
    ) -> Self {
        Modbus {
            name: name.to_owned(),
            link: Link::new(name, opener, clock.clone(), random()),
            clock,
            verbs: verbs(settings),
            last_use: BootTime::default(),
            owed_answer: false,
            again: None,
            settings: settings.clone(),
        }
    }

    fn failed(&self, point: &Point, cause: ModbusError) -> VerbError {
        VerbError::Failed(DeviceError::Modbus {
            device: self.name.clone(),
            point: point.describe(),
            cause,
        })
    }

    /// One request and its answer.
    async fn exchange(
        &mut self,
        point: &Point,
        request: Request<'_>,
        context: &Context,
    ) -> Result<Response, VerbError> {
        let port = self.link.ready(context).await?;
        if self.owed_answer {
            self.link.silence(self.settings.timeout, context).await?;
            self.owed_answer = false;
        } else {
            let silent = self.clock.now().saturating_since(self.last_use);
            context.sleep(self.settings.pause.saturating_sub(silent)).await?;
        }
        // What came unasked must not stand before the answer. Bounded, since a line may never fall silent.
        let mut unasked = [0; 256];
        for _ in 0..64 {
            let read = self.link.read_now(&mut unasked);
            if read.map_err(|cause| self.link.error(cause))? == 0 {
                break;
            }
        }
        let before = port.received();
        let waited = self.settings.timeout + self.settings.port.time_for(LONGEST_EXCHANGE);
        let guard = port.guard();
        // A fresh client has no bytes left over from earlier answers.
        let mut client = rtu::attach_slave(port.clone(), Slave(point.unit_id));
        match request {
            // The one step of a verb that changes something; reading it back belongs to that.
            Request::WriteSingleCoil(..)
            | Request::WriteSingleRegister(..)
            | Request::WriteMultipleRegisters(..) => context.check_beginning()?,
            _ => context.check()?,
        }
        self.owed_answer = true;
        let answer = tokio::select! {
            biased;
            answer = client.call(request) => Some(answer),
            stop = context.sleep(waited) => {
                stop?;
                None
            }
        };
        drop(client);
        self.last_use = self.clock.now();
        if port.gone() {
            self.link.check().map_err(|cause| self.link.error(cause))?;
        }
        let answer = answer.ok_or_else(|| {
            let received = port.received() - before;
            self.failed(point, ModbusError::NoAnswer { waited, received })
        })?;
        // An answer says that the request has left.
        guard.sent();
        match answer {
            Ok(answer) => {
                self.owed_answer = false;
                answer.map_err(|code| self.failed(point, ModbusError::Exception { code: code.into() }))
            }
            Err(error) => {
                let problem = error.to_string();
                Err(self.failed(point, ModbusError::WrongAnswer { problem }))
            }
        }
    }

    async fn read_point(&mut self, point: &Point, context: &Context) -> Result<Raw, VerbError> {
        let (address, count) = (point.address, point.coding.addresses());
        let request = match point.memory {
            Memory::Coil => Request::ReadCoils(address, count),
            Memory::Discrete => Request::ReadDiscreteInputs(address, count),
            Memory::Input => Request::ReadInputRegisters(address, count),
            Memory::Holding => Request::ReadHoldingRegisters(address, count),
        };
        let answer = self.exchange(point, request, context).await?;
        match (point.memory, answer) {
            // One byte, of which one bit was asked for.
            (Memory::Coil, Response::ReadCoils(bits))
            | (Memory::Discrete, Response::ReadDiscreteInputs(bits))
                if bits.len() == 8 =>
            {
                Ok(Raw::Bit(bits[0]))
            }
            (Memory::Input, Response::ReadInputRegisters(words))
            | (Memory::Holding, Response::ReadHoldingRegisters(words))
                if words.len() == usize::from(count) =>
            {
                Ok(Raw::Words(words))
            }
            _ => {
                self.owed_answer = true;
                let problem = "another amount was asked for".to_owned();
                Err(self.failed(point, ModbusError::WrongAnswer { problem }))
            }
        }
    }

    /// Writes, and reads back where that is wanted; gives what is there then.
    async fn write_point(&mut self, point: &Point, raw: &Raw, context: &Context) -> Result<Raw, VerbError> {
        let address = point.address;
        let request = match raw {
            Raw::Bit(bit) => Request::WriteSingleCoil(address, *bit),
            Raw::Words(words) => match words.as_slice() {
                [word] => Request::WriteSingleRegister(address, *word),
                words => Request::WriteMultipleRegisters(address, Cow::Borrowed(words)),
            },
        };
        let answer = self.exchange(point, request, context).await?;
        let fits = match (raw, answer) {
            (Raw::Bit(bit), Response::WriteSingleCoil(at, to)) => (at, to) == (address, *bit),
            (Raw::Words(words), Response::WriteSingleRegister(at, to)) => {
                at == address && words.as_slice() == [to]
            }
            (Raw::Words(words), Response::WriteMultipleRegisters(at, count)) => {
                at == address && words.len() == usize::from(count)
            }
            _ => false,
        };
        if !fits {
            self.owed_answer = true;
            let problem = "it confirms another write".to_owned();
            return Err(self.failed(point, ModbusError::WrongAnswer { problem }));
        }
        if !point.verify {
            return Ok(raw.clone());
        }
        let read = self.read_point(point, context).await?;
        if read != *raw {
            let (written, read) = (point.decode(raw), point.decode(&read));
            return Err(self.failed(point, ModbusError::NotTaken { written, read }));
        }
        Ok(read)
    }

    async fn read(&mut self, points: &[Point], context: &Context) -> Result<Outcome, VerbError> {
        let mut outcome = Outcome::new();
        for point in points {
            let raw = self.read_point(point, context).await?;
            outcome = told(outcome, point, &raw);
        }
        Ok(outcome)
    }

    /// The point of that name.
    fn find(&self, name: &str) -> Result<&Point, String> {
        let points = &self.settings.points;
        points.iter().find(|point| point.name == name).ok_or_else(|| {
            let names: Vec<_> = points.iter().map(|point| point.name.as_str()).collect();
            format!("there is no point {name:?}; there are: {}", names.join(", "))
        })
    }

    fn safe_points(&self) -> impl Iterator<Item = (&Point, &Raw)> {
        let points = self.settings.points.iter();
        points.filter_map(|point| point.safe.as_ref().map(|raw| (point, raw)))
    }

    /// What one request may take at worst.
    fn exchange_time(&self) -> Duration {
        self.settings.timeout + self.settings.port.time_for(LONGEST_EXCHANGE) + self.settings.pause
    }
}

fn told(outcome: Outcome, point: &Point, raw: &Raw) -> Outcome {
    let outcome = outcome.with(&point.name, point.decode(raw));
    match &point.unit {
        Some(unit) => outcome.with(format!("{}.unit", point.name), unit),
        None => outcome,
    }
}

fn verbs(settings: &ModbusSettings) -> Vec<Verb> {
    let names = |chosen: &dyn Fn(&Point) -> bool| {
        let points = settings.points.iter().filter(|point| chosen(point));
        points
            .map(|point| match &point.unit {
                Some(unit) => format!("{} ({unit})", point.name),
                None => point.name.clone(),
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    let exchange = settings.timeout + settings.port.time_for(LONGEST_EXCHANGE) + settings.pause;
    let once = settings.timeout + settings.port.settle + SLACK;
    let writable = names(&|point| point.writable);
    let mut verbs = vec![Verb {
        name: "read".into(),
        usage: "[<name>…]".into(),
        help: format!("Reads values, all of them unless named: {}.", names(&|_| true)).into(),
        effect: Effect::Read,
        urgency: Urgency::Work,
        max_time: exchange * u32::try_from(settings.points.len()).unwrap_or(u32::MAX) + once,
    }];
    if !writable.is_empty() {
        verbs.push(Verb {
            name: "write".into(),
            usage: "<name> <value>".into(),
            help: format!("Writes a value, within its bounds, and reads it back: {writable}.").into(),
            effect: Effect::Set,
            urgency: Urgency::Work,
            max_time: exchange * 2 + once,
        });
    }
    verbs.push(state_verb());
    verbs
}

#[async_trait]
impl Device for Modbus {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "modbus"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    /// Silence after a request that was cut off, then a write and its reading back for each safe value.
    fn time_to_safe(&self) -> Duration {
        let exchanges: u32 = self
            .safe_points()
            .map(|(point, _)| 1 + u32::from(point.verify))
            .sum();
        if exchanges == 0 {
            return Duration::ZERO;
        }
        self.settings.port.settle + self.settings.timeout + self.exchange_time() * exchanges
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        Some(Arc::new(LinkProbe::new(&self.name, &self.link)))
    }

    async fn tend(&mut self) -> Result<(), DeviceError> {
        let mut buffer = [0; 256];
        loop {
            if !self.link.is_open() {
                self.link.reopen().await;
                return Ok(());
            }
            let clock = self.clock.clone();
            let again = self.again;
            tokio::select! {
                // Nobody was asked, so nobody's answer; of a loss the link has told already.
                read = self.link.read(&mut buffer) => {
                    let _ = read;
                    self.last_use = clock.now();
                }
                () = async {
                    match again {
                        Some((at, _)) => clock.sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => {
                    self.again = again.map(|(_, pause)| (clock.now() + pause, pause));
                    return Ok(());
                }
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
        match &*verb.name {
            "read" => {
                let points = if call.args.is_empty() {
                    self.settings.points.clone()
                } else {
                    let found = call.args.iter().map(|name| self.find(name).cloned());
                    found.collect::<Result<Vec<_>, _>>().map_err(usage)?
                };
                if points.len() > self.settings.points.len() {
                    return Err(usage("names a point more than once".to_owned()));
                }
                self.read(&points, context).await
            }
            "write" => {
                let [name, value] = call.exactly::<2>(&self.name, verb)?;
                let point = self.find(name).map_err(usage)?.clone();
                if !point.writable {
                    return Err(usage(format!("{name} is not writable (writable of this point)")));
                }
                let raw = point
                    .encode(value)
                    .map_err(|problem| usage(format!("{name}: {problem}")))?;
                let read = self.write_point(&point, &raw, context).await?;
                Ok(told(Outcome::new(), &point, &read))
            }
            _ => LinkProbe::new(&self.name, &self.link).query(call, context).await,
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        let context = Context::new(self.clock.clone());
        let points: Vec<(Point, Raw)> = self
            .safe_points()
            .map(|(point, raw)| (point.clone(), raw.clone()))
            .collect();
        let mut first_failure = None;
        // Whoever drops this in the middle has not made it safe.
        let pause = self.again.map_or(SAFE_AGAIN.0, |(_, pause)| pause);
        self.again = Some((self.clock.now() + pause, (pause * 2).min(SAFE_AGAIN.1)));
        for (point, raw) in &points {
            // One that does not answer must not keep the others from being made safe.
            if let Err(error) = self.write_point(point, raw, &context).await {
                first_failure.get_or_insert(error);
            }
        }
        match first_failure {
            None => {
                self.again = None;
                Ok(())
            }
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
