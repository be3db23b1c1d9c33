//! The way to what is behind a port: opens it, notices that it is gone, opens it again; sends with a deadline.
//!
//! A port that is gone is closed at once, so that it gets its old name when it comes back. Nothing that was to be
//! sent is kept: after a reopening nothing goes out that was not asked for after it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::task::JoinHandle;

use super::{PortOpener, SerialError, SerialPort};
use crate::clock::{BootTime, SharedClock};
use crate::device::{Context, DeviceError, VerbError, lock};

/// The first pause before another attempt to open.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest: what was plugged in again works within about this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a port may take to open. A USB adapter that hangs keeps the kernel waiting for 5 s.
const OPEN_PATIENCE: Duration = Duration::from_secs(6);
/// So long nothing may come until a line counts as silent.
pub(in crate::device) const SILENCE: Duration = Duration::from_millis(50);
/// How often to look whether everything was sent.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Pauses that double up to a limit and differ by up to a quarter, so that many ports don't act in step.
pub(in crate::device) struct Backoff {
    next: Duration,
    random: u64,
}

impl Backoff {
    /// `random` puts its pauses out of step with others'.
    pub fn new(random: u64) -> Self {
        Backoff {
            next: FIRST_PAUSE,
            random: random | 1,
        }
    }

    /// How long to wait before the next attempt.
    pub fn pause(&mut self) -> Duration {
        // xorshift64: good enough to be out of step.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let percent = 75 + u32::try_from(self.random % 51).unwrap_or(0);
        let pause = self.next * percent / 100;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        pause
    }

    /// The next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }
}

/// How it stands, for those who look on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::device) enum LinkState {
    /// The port is open.
    Open,
    /// It is not, and why; `None` until the first attempt.
    Closed(Option<SerialError>),
}

/// An open port that several may hold; it notes why it came to its end.
#[derive(Clone)]
pub(in crate::device) struct SharedPort(Arc<Mutex<Held>>);

struct Held {
    port: Box<dyn SerialPort>,
    gone: bool,
    received: u64,
}

impl SharedPort {
    fn new(port: Box<dyn SerialPort>) -> Self {
        SharedPort(Arc::new(Mutex::new(Held {
            port,
            gone: false,
            received: 0,
        })))
    }

    /// How many bytes came over it, read as a stream.
    pub fn received(&self) -> u64 {
        lock(&self.0).received
    }

    /// Whether it turned out to be gone.
    pub fn gone(&self) -> bool {
        lock(&self.0).gone
    }

    fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut held = lock(&self.0);
        let result = held.port.read_now(buffer);
        held.gone |= match &result {
            Ok(count) => *count == 0,
            Err(error) => is_end(error),
        };
        result
    }

    fn unsent(&self) -> io::Result<usize> {
        lock(&self.0).port.unsent()
    }

    fn discard_unsent(&self) {
        // What is gone can't be cleared and need not.
        let _ = lock(&self.0).port.discard_unsent();
    }

    /// Until [`UnsentGuard::sent`], dropping the guard throws away what has not left yet.
    pub fn guard(&self) -> UnsentGuard {
        UnsentGuard {
            port: Some(self.clone()),
        }
    }
}

/// Whether an error means that the port is gone: all do but those that only say “not now”.
fn is_end(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl AsyncRead for SharedPort {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut held = lock(&self.0);
        let before = buffer.filled().len();
        let result = Pin::new(&mut *held.port).poll_read(context, buffer);
        held.received += (buffer.filled().len() - before) as u64;
        // No bytes are the end of a terminal that was hung up.
        held.gone |= match &result {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => buffer.filled().len() == before,
            Poll::Ready(Err(error)) => is_end(error),
        };
        result
    }
}

impl AsyncWrite for SharedPort {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut held = lock(&self.0);
        let result = Pin::new(&mut *held.port).poll_write(context, bytes);
        held.gone |= match &result {
            Poll::Pending => false,
            Poll::Ready(Ok(count)) => *count == 0 && !bytes.is_empty(),
            Poll::Ready(Err(error)) => is_end(error),
        };
        result
    }

    /// Does nothing: a port's own would call tcdrain, which stops the whole thread for as long as the other side says
    /// “wait”. [`SerialPort::unsent`] tells what is still to go.
    fn poll_flush(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Throws away what was not sent when a call ends in the middle, so that it does not go out after the lease.
pub(in crate::device) struct UnsentGuard {
    port: Option<SharedPort>,
}

impl UnsentGuard {
    /// Everything has left.
    pub fn sent(mut self) {
        self.port = None;
    }
}

impl Drop for UnsentGuard {
    fn drop(&mut self) {
        if let Some(port) = &self.port {
            port.discard_unsent();
        }
    }
}

type Opening = JoinHandle<Result<Box<dyn SerialPort>, SerialError>>;

/// A port that is open or wants to be.
pub(in crate::device) struct Link {
    device: String,
    opener: Arc<dyn PortOpener>,
    clock: SharedClock,
    port: Option<SharedPort>,
    /// When what is behind the port may be spoken to.
    settled: BootTime,
    /// An attempt that is under way; kept when the one who waits for it goes.
    opening: Option<Opening>,
    /// What was closed in the background; the next attempt waits for it.
    closing: Option<JoinHandle<()>>,
    backoff: Backoff,
    last_attempt: Option<BootTime>,
    next_attempt: BootTime,
    state: Arc<Mutex<LinkState>>,
    /// It was logged that nothing is plugged in.
    absence_told: bool,
    generation: u64,
}

impl Link {
    /// Closed as yet. `random` puts its pauses out of step with others'.
    pub fn new(device: &str, opener: Arc<dyn PortOpener>, clock: SharedClock, random: u64) -> Self {
        Link {
            device: device.to_owned(),
            opener,
            port: None,
            settled: BootTime::default(),
            opening: None,
            closing: None,
            backoff: Backoff::new(random),
            last_attempt: None,
            next_attempt: clock.now(),
            clock,
            state: Arc::new(Mutex::new(LinkState::Closed(None))),
            absence_told: false,
            generation: 0,
        }
    }

    /// For those who look on.
    pub fn state(&self) -> Arc<Mutex<LinkState>> {
        self.state.clone()
    }

    /// Counts how often it was opened: another number means that everything received before is void.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The port as the configuration has it.
    pub fn settings(&self) -> &super::PortSettings {
        self.opener.settings()
    }

    /// An error of this link, as the device's.
    pub fn error(&self, cause: SerialError) -> DeviceError {
        DeviceError::Serial {
            device: self.device.clone(),
            cause,
        }
    }

    /// The error for a port that went away.
    fn unplugged(&self) -> SerialError {
        SerialError::Unplugged {
            path: self.settings().path.clone(),
        }
    }

    /// Closes the port if it turned out to be gone; says so as an error.
    pub fn check(&mut self) -> Result<(), SerialError> {
        match &self.port {
            Some(port) if !port.gone() => Ok(()),
            Some(_) => Err(self.lose()),
            None => Err(self.problem()),
        }
    }

    /// Closes the port, which is gone, and says so.
    fn lose(&mut self) -> SerialError {
        let cause = self.unplugged();
        self.absence_told = true;
        tracing::warn!(device = %self.device, %cause, "serial port lost");
        self.close(cause.clone());
        cause
    }

    fn problem(&self) -> SerialError {
        match &*lock(&self.state) {
            LinkState::Closed(Some(cause)) => cause.clone(),
            _ => self.unplugged(),
        }
    }

    fn close(&mut self, cause: SerialError) {
        if let Some(port) = self.port.take() {
            // Closing may wait for the kernel, which waits for an adapter.
            self.closing = Some(tokio::task::spawn_blocking(move || drop(port)));
            self.backoff.reset();
            self.next_attempt = self.clock.now() + self.backoff.pause();
            // The loss is no attempt: a verb may try at once.
            self.last_attempt = None;
        }
        *lock(&self.state) = LinkState::Closed(Some(cause));
    }

    /// One attempt to open. Dropped in the middle it is taken up by the next call.
    async fn attempt(&mut self) -> Result<(), SerialError> {
        if let Some(closing) = &mut self.closing {
            let _ = closing.await;
            self.closing = None;
        }
        let opening = self.opening.get_or_insert_with(|| {
            let opener = self.opener.clone();
            tokio::task::spawn_blocking(move || opener.open())
        });
        let opened = opening.await;
        self.opening = None;
        let now = self.clock.now();
        self.last_attempt = Some(now);
        let opened = opened.unwrap_or_else(|error| {
            Err(SerialError::Io {
                path: self.settings().path.clone(),
                action: "open it",
                cause: error.to_string(),
            })
        });
        match opened {
            Ok(port) => {
                tracing::info!(device = %self.device, port = %self.settings().path.display(), "serial port opened");
                self.port = Some(SharedPort::new(port));
                self.settled = now + self.settings().settle;
                self.generation += 1;
                self.backoff.reset();
                self.absence_told = false;
                *lock(&self.state) = LinkState::Open;
                Ok(())
            }
            Err(cause) => {
                let pause = self.backoff.pause();
                self.next_attempt = now + pause;
                let state = LinkState::Closed(Some(cause.clone()));
                let unchanged = std::mem::replace(&mut *lock(&self.state), state.clone()) == state;
                // That nothing is there is told once, until it is open again: first the loss says so, then each attempt in
                // other words. Whatever else keeps it from opening needs another remedy.
                let told = cause.is_absence() && std::mem::replace(&mut self.absence_told, true);
                if told || unchanged {
                    tracing::debug!(device = %self.device, ?pause, "serial port still closed");
                } else {
                    tracing::warn!(device = %self.device, %cause, "serial port does not open; trying on");
                }
                Err(cause)
            }
        }
    }

    /// The open port. One that is closed is tried once, unless it was tried just now.
    ///
    /// # Errors
    /// Why it is closed; or what ends the call.
    pub async fn ready(&mut self, context: &Context) -> Result<SharedPort, VerbError> {
        // What happened to the port while nobody read from it shows when somebody does.
        if self.port.is_some() {
            let _ = self.check();
        }
        if self.port.is_none() {
            let now = self.clock.now();
            let recent = |at: BootTime| now.saturating_since(at) < FIRST_PAUSE;
            if self.last_attempt.is_some_and(recent) && self.opening.is_none() {
                return Err(self.error(self.problem()).into());
            }
            let opened = tokio::select! {
                biased;
                opened = self.attempt() => opened,
                stop = context.sleep(OPEN_PATIENCE) => {
                    stop?;
                    Err(SerialError::OpenTimedOut { path: self.settings().path.clone(), waited: OPEN_PATIENCE })
                }
            };
            opened.map_err(|cause| self.error(cause))?;
        }
        let settling = self.settled.saturating_since(self.clock.now());
        if !settling.is_zero() {
            context.sleep(settling).await?;
        }
        match &self.port {
            Some(port) => Ok(port.clone()),
            None => Err(self.error(self.problem()).into()),
        }
    }

    /// Waits until the port is open again: for use between verbs. Can be dropped at any time.
    pub async fn reopen(&mut self) {
        while self.port.is_none() {
            if self.opening.is_none() {
                let clock = self.clock.clone();
                clock.sleep_until(self.next_attempt).await;
            }
            // Told in the log and in the state.
            let _ = self.attempt().await;
        }
    }

    /// Whether the port is open, as far as is known.
    pub fn is_open(&self) -> bool {
        self.port.is_some()
    }

    /// Waits for bytes. Can be dropped at any time without losing any.
    ///
    /// # Errors
    /// The port is gone, and closed now.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SerialError> {
        let Some(port) = &mut self.port else {
            return Err(self.problem());
        };
        loop {
            match port.read(buffer).await {
                Ok(count) if count > 0 => return Ok(count),
                Err(error) if !is_end(&error) => {}
                _ => break,
            }
        }
        Err(self.lose())
    }

    /// The bytes that have come already; 0 if there are none.
    ///
    /// # Errors
    /// The port is gone, and closed now.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> Result<usize, SerialError> {
        let Some(port) = &self.port else {
            return Err(self.problem());
        };
        match port.read_now(buffer) {
            Ok(count) if count > 0 => Ok(count),
            Err(error) if !is_end(&error) => Ok(0),
            _ => Err(self.lose()),
        }
    }

    /// Sends, if the call still may, and waits until the bytes have left. What has not left when the time is over, or
    /// when the call is stopped, is thrown away.
    ///
    /// # Errors
    /// The port is gone or does not take the bytes; or what ends the call.
    pub async fn send(
        &mut self,
        bytes: &[u8],
        patience: Duration,
        context: &Context,
    ) -> Result<(), VerbError> {
        let Some(mut port) = self.port.clone() else {
            return Err(self.error(self.problem()).into());
        };
        let patience = patience + self.settings().time_for(bytes.len());
        let deadline = self.clock.now() + patience;
        let guard = port.guard();
        let mut taken = 0;
        loop {
            context.check()?;
            let left = deadline.saturating_since(self.clock.now());
            let held = |sent| SerialError::Held {
                path: self.settings().path.clone(),
                sent,
                length: bytes.len(),
                waited: patience,
            };
            if taken < bytes.len() {
                let written = tokio::select! {
                    biased;
                    stop = context.sleep(left) => {
                        stop?;
                        let unsent = port.unsent().unwrap_or(0);
                        return Err(self.error(held(taken.saturating_sub(unsent))).into());
                    }
                    written = port.write(&bytes[taken..]) => written,
                };
                match written {
                    Ok(count) if count > 0 => taken += count,
                    Err(error) if !is_end(&error) => {}
                    _ => {
                        let cause = self.lose();
                        return Err(self.error(cause).into());
                    }
                }
                continue;
            }
            // A driver that can't tell has to be believed.
            let unsent = port.unsent().unwrap_or(0);
            if unsent == 0 {
                break;
            }
            if left.is_zero() {
                return Err(self.error(held(bytes.len().saturating_sub(unsent))).into());
            }
            let look = self.settings().time_for(unsent).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1);
            context.sleep(look.min(left)).await?;
        }
        guard.sent();
        Ok(())
    }

    /// Reads and forgets until nothing came for [`SILENCE`].
    ///
    /// # Errors
    /// It does not fall silent within `patience`, or is gone; or what ends the call.
    pub async fn silence(&mut self, patience: Duration, context: &Context) -> Result<(), VerbError> {
        let deadline = self.clock.now() + patience.max(SILENCE * 2);
        let mut buffer = [0; 256];
        loop {
            let read = tokio::select! {
                biased;
                read = self.read(&mut buffer) => read,
                stop = context.sleep(SILENCE) => return stop,
            };
            read.map_err(|cause| self.error(cause))?;
            context.check()?;
            if self.clock.now() >= deadline {
                let path = self.settings().path.clone();
                return Err(self
                    .error(SerialError::Restless {
                        path,
                        waited: patience,
                    })
                    .into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_differ_by_a_quarter_at_most() {
        for random in [1, 7, u64::MAX, 0x1234_5678] {
            let mut backoff = Backoff::new(random);
            let mut expected = FIRST_PAUSE;
            for _ in 0..20 {
                let pause = backoff.pause();
                assert!(
                    pause >= expected * 3 / 4 && pause <= expected * 5 / 4,
                    "{pause:?}"
                );
                expected = (expected * 2).min(LONGEST_PAUSE);
            }
            assert_eq!(expected, LONGEST_PAUSE);
            backoff.reset();
            assert!(backoff.pause() <= FIRST_PAUSE * 5 / 4);
        }
    }
}
