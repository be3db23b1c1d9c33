//! The link to one vehicle: opens its port, notices that it is gone, opens it again; frames come out of it, messages go in.
//!
//! Everything happens while [`Link::pump`] is waited for, the heartbeat included: a loop that no longer turns falls silent,
//! and the autopilot's own failsafe takes over. The future may be dropped at any time; nothing is lost by that.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::task::JoinHandle;

use super::address::Address;
use super::codec::Codec;
use super::error::LinkError;
use super::frames::{Deframer, Found};
use super::outgoing::{Kind, NotSaid, Outgoing};
use super::port::{Dial, Opening, Stream};
use super::sequence::Sequences;
use super::signing::{Raise, Refused, Signing, SigningError};
use crate::clock::{BootTime, SharedClock, Sleep};
use crate::device::drone::wire::{Frame, Node, Said, SignatureTrouble};
use crate::device::serial::Backoff;

/// How often the heartbeat beats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a port may take to open.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// How long a port may take no bytes.
const WRITE_PATIENCE: Duration = Duration::from_secs(3);
/// How long the rest of a frame may take to come: radios pause for some 100 ms.
const FRAME_PATIENCE: Duration = Duration::from_millis(500);
/// A TCP connection over which nothing comes for so long is opened again: its other end may be gone without a word.
const SILENCE: Duration = Duration::from_secs(20);
/// The longest datagram there may be, and what is read at once.
const READ: usize = 2048;
/// Pause after a timestamp could not be kept.
const KEEP_AGAIN: Duration = Duration::from_secs(30);

/// What happens on a link. It is logged by whoever pumps, who knows which device it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The port is open; what was heard before is of another time.
    Opened,
    /// A message, from whoever: the vehicle, other components, another ground station.
    Frame(Frame),
    /// The port is gone or does not open, and why; told once for each reason. What waited to be sent was thrown away.
    Lost(LinkError),
}

/// Counts since the link was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// How often the port was opened.
    pub openings: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Frames that came whole, may be heard and were no repetition.
    pub received_frames: u64,
    /// Bytes that belong to no frame that was understood.
    pub noise_bytes: u64,
    /// What looked like a frame and had a wrong checksum.
    pub bad_checksum: u64,
    /// Frames without a right signature, on a signed link.
    pub bad_signature: u64,
    /// Frames of messages that are not of MAVLink's common ones.
    pub unknown: u64,
    /// Frames that are missing, by their numbers.
    pub lost: u64,
    /// Frames that came once more.
    pub duplicated: u64,
    /// Frames that were overtaken.
    pub late: u64,
    /// Frames that were sent.
    pub sent_frames: u64,
    /// Frames that were to be sent and were thrown away.
    pub dropped_frames: u64,
}

/// Who speaks over a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// We.
    pub us: Node,
    /// Whom messages with an addressee are for.
    pub vehicle: Node,
}

/// What one turn of the loop came to.
enum Turn {
    Read(usize),
    Wrote(usize),
    Ended(Option<io::Error>),
    Time,
}

/// A link to a vehicle. See the module.
pub struct Link {
    address: Address,
    ends: Ends,
    dial: Arc<dyn Dial>,
    clock: SharedClock,
    signing: Option<Signing>,
    /// A timestamp's ceiling on its way to the disk.
    keeping: Option<(Raise, JoinHandle<Result<(), SigningError>>)>,
    keep_again: BootTime,

    port: Option<Box<dyn Stream>>,
    /// An attempt that is under way, and when it has lasted too long.
    opening: Option<(Opening, BootTime)>,
    next_attempt: BootTime,
    backoff: Backoff,
    problem: Option<LinkError>,

    buffer: Box<[u8; READ]>,
    last_read: BootTime,
    deframer: Deframer,
    sequences: Sequences,
    signature_trouble: Option<SignatureTrouble>,
    codec: Codec,
    ready: VecDeque<Frame>,

    outgoing: Outgoing,
    /// When the port last took something, or had nothing to take.
    last_write: BootTime,
    next_heartbeat: BootTime,
    sequence: u8,
    statistics: Statistics,
}

impl Link {
    /// Closed as yet; nothing happens before it is pumped. `random` puts its attempts out of step with others'.
    pub fn new(
        address: Address,
        ends: Ends,
        dial: Arc<dyn Dial>,
        clock: SharedClock,
        signing: Option<Signing>,
        random: u64,
    ) -> Self {
        let now = clock.now();
        Link {
            codec: Codec::new(ends.us, ends.vehicle),
            address,
            ends,
            dial,
            signing,
            keeping: None,
            keep_again: now,
            port: None,
            opening: None,
            next_attempt: now,
            backoff: Backoff::new(random),
            problem: None,
            buffer: Box::new([0; READ]),
            last_read: now,
            deframer: Deframer::default(),
            sequences: Sequences::default(),
            signature_trouble: None,
            ready: VecDeque::new(),
            outgoing: Outgoing::default(),
            last_write: now,
            next_heartbeat: now,
            sequence: 0,
            statistics: Statistics::default(),
            clock,
        }
    }

    /// Where the vehicle is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Who speaks.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// Whether the port is open, as far as is known.
    pub fn is_open(&self) -> bool {
        self.port.is_some()
    }

    /// Why it is not open; `None` while it is, and until it was tried.
    pub fn problem(&self) -> Option<&LinkError> {
        self.problem.as_ref()
    }

    /// What the signature of the vehicle's last frame has against the two ends hearing each other.
    pub fn signature_trouble(&self) -> Option<SignatureTrouble> {
        self.signature_trouble
    }

    /// What came and went so far.
    pub fn statistics(&self) -> Statistics {
        let (passed, gaps) = (self.deframer.passed(), self.sequences.gaps());
        Statistics {
            noise_bytes: passed.bytes,
            bad_checksum: passed.bad_checksum,
            lost: gaps.lost,
            duplicated: gaps.duplicated,
            late: gaps.late,
            ..self.statistics
        }
    }

    /// Puts a message where [`Link::pump`] takes it from.
    ///
    /// # Errors
    /// It was not taken, and is not kept.
    pub fn say(&mut self, said: &Said) -> Result<(), NotSaid> {
        let kind = match said {
            Said::Heartbeat => Kind::Heartbeat,
            _ => Kind::Other,
        };
        let refused = if self.port.is_none() {
            Some(NotSaid::Closed)
        } else if !self.outgoing.has_room(kind) {
            Some(NotSaid::Full)
        } else {
            None
        };
        if let Some(refused) = refused {
            self.statistics.dropped_frames += 1;
            return Err(refused);
        }
        let mut frame = self.codec.write(said, self.sequence, self.signing.is_some())?;
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(signing) = &mut self.signing {
            signing.sign(&mut frame, self.clock.wall_nanos());
        }
        if self.outgoing.next().is_none() {
            self.last_write = self.clock.now();
        }
        self.outgoing.push(frame, kind);
        Ok(())
    }

    /// Keeps the link going until something happens. May be dropped at any time and called again.
    pub async fn pump(&mut self) -> Event {
        let clock = self.clock.clone();
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Event::Frame(frame);
            }
            let mut timer = clock.sleep_until(self.wake());
            if self.port.is_none() {
                if let Some(event) = poll_fn(|context| self.turn_closed(&mut timer, context)).await {
                    return event;
                }
                continue;
            }
            match poll_fn(|context| self.turn_open(&mut timer, context)).await {
                Turn::Read(count) => self.take(count),
                Turn::Wrote(count) => self.wrote(count),
                Turn::Ended(cause) => {
                    let cause = LinkError::closed(&self.address, cause.as_ref());
                    return self.lose(cause);
                }
                Turn::Time => {
                    if let Some(cause) = self.on_time() {
                        return self.lose(cause);
                    }
                }
            }
        }
    }

    /// When something is to be done although nothing comes.
    fn wake(&self) -> BootTime {
        if self.port.is_none() {
            return match &self.opening {
                Some((_, deadline)) => *deadline,
                None => self.next_attempt,
            };
        }
        let mut wake = self.next_heartbeat;
        if self.outgoing.next().is_some() {
            wake = wake.min(self.last_write + WRITE_PATIENCE);
        }
        if self.deframer.waits() {
            wake = wake.min(self.last_read + FRAME_PATIENCE);
        }
        wake
    }

    /// One look at a port that is closed; ready with an event, or with nothing when something else is to be waited for.
    fn turn_closed(&mut self, timer: &mut Sleep<'_>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let now = self.clock.now();
        if self.opening.is_none() {
            if now < self.next_attempt {
                std::task::ready!(timer.as_mut().poll(context));
            }
            if self.clock.now() >= self.next_attempt {
                self.opening = Some((self.dial.open(&self.address), now + OPEN_PATIENCE));
            }
            return Poll::Ready(None);
        }
        let Some((opening, deadline)) = &mut self.opening else {
            return Poll::Ready(None);
        };
        match opening.as_mut().poll(context) {
            Poll::Ready(opened) => {
                self.opening = None;
                Poll::Ready(match opened {
                    Ok(port) => Some(self.opened(port)),
                    Err(cause) => self.not_opened(cause),
                })
            }
            Poll::Pending => {
                if now < *deadline {
                    std::task::ready!(timer.as_mut().poll(context));
                }
                self.opening = None;
                let cause = LinkError::OpenTimedOut {
                    address: self.address.to_string(),
                    waited: OPEN_PATIENCE,
                };
                Poll::Ready(self.not_opened(cause))
            }
        }
    }

    fn opened(&mut self, port: Box<dyn Stream>) -> Event {
        let now = self.clock.now();
        self.port = Some(port);
        self.problem = None;
        self.deframer.reset();
        self.sequences.reset();
        self.last_read = now;
        self.last_write = now;
        self.next_heartbeat = now;
        self.statistics.openings += 1;
        Event::Opened
    }

    fn not_opened(&mut self, cause: LinkError) -> Option<Event> {
        self.next_attempt = self.clock.now() + self.backoff.pause();
        if self.problem.as_ref() == Some(&cause) {
            return None;
        }
        self.problem = Some(cause.clone());
        Some(Event::Lost(cause))
    }

    fn lose(&mut self, cause: LinkError) -> Event {
        self.port = None;
        self.next_attempt = self.clock.now() + self.backoff.pause();
        self.statistics.dropped_frames += self.outgoing.clear() as u64;
        self.problem = Some(cause.clone());
        Event::Lost(cause)
    }

    /// One look at an open port. Time comes first, so that a peer that never stops can't hold up the heartbeat; then writing,
    /// of which there is an end.
    fn turn_open(&mut self, timer: &mut Sleep<'_>, context: &mut Context<'_>) -> Poll<Turn> {
        if timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(Turn::Time);
        }
        let Some(port) = &mut self.port else {
            return Poll::Ready(Turn::Ended(None));
        };
        if let Some(bytes) = self.outgoing.next() {
            match Pin::new(&mut *port).poll_write(context, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Turn::Ended(None)),
                Poll::Ready(Ok(count)) => return Poll::Ready(Turn::Wrote(count)),
                Poll::Ready(Err(cause)) if is_end(&cause) => return Poll::Ready(Turn::Ended(Some(cause))),
                Poll::Ready(Err(_)) => context.waker().wake_by_ref(),
                Poll::Pending => {}
            }
        }
        let mut buffer = ReadBuf::new(&mut self.buffer[..]);
        match Pin::new(port).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Turn::Ended(None)),
            Poll::Ready(Ok(())) => Poll::Ready(Turn::Read(buffer.filled().len())),
            Poll::Ready(Err(cause)) if is_end(&cause) => Poll::Ready(Turn::Ended(Some(cause))),
            Poll::Ready(Err(_)) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn wrote(&mut self, count: usize) {
        self.last_write = self.clock.now();
        if self.outgoing.advance(count) {
            self.statistics.sent_frames += 1;
        }
    }

    /// Looks at the bytes that came.
    fn take(&mut self, count: usize) {
        // Not when it opens: whoever takes a connection only to close it is not asked more often for that.
        self.backoff.reset();
        self.last_read = self.clock.now();
        self.statistics.received_bytes += count as u64;
        let mut taken = 0;
        while taken < count {
            taken += self.deframer.push(&self.buffer[taken..count]);
            self.look();
        }
    }

    /// Takes out what the bytes at hand hold.
    fn look(&mut self) {
        while let Some(found) = self.deframer.find() {
            let raw = match found {
                Found::Frame(raw) => raw,
                Found::Unchecked { from, sequence } => {
                    self.statistics.unknown += u64::from(self.sequences.follow_unchecked(from, sequence));
                    continue;
                }
            };
            let judged = match &mut self.signing {
                Some(signing) => signing.accept(&raw, self.clock.wall_nanos()),
                None => Ok(()),
            };
            if raw.from() == self.ends.vehicle {
                let only_theirs = self.signing.is_none() && raw.is_signed();
                self.signature_trouble = match judged {
                    Ok(()) => only_theirs.then_some(SignatureTrouble::OnlyTheirs),
                    Err(Refused::Unsigned) => Some(SignatureTrouble::OnlyOurs),
                    Err(Refused::Signature) => Some(SignatureTrouble::OtherKey),
                    Err(Refused::Old) => Some(SignatureTrouble::Late),
                    // About others.
                    Err(Refused::Crowd) => self.signature_trouble,
                };
            }
            if let Err(reason) = judged {
                self.statistics.bad_signature += 1;
                tracing::debug!(?reason, id = raw.id(), "frame refused");
                continue;
            }
            if self.sequences.follow(&raw) {
                self.statistics.received_frames += 1;
                self.ready.extend(self.codec.read(&raw));
            }
        }
    }

    /// Does what is due by the clock; answers why the port has to be given up, if it has.
    fn on_time(&mut self) -> Option<LinkError> {
        let now = self.clock.now();
        let since = |moment: BootTime| now.saturating_since(moment);
        if self.outgoing.next().is_some() && since(self.last_write) >= WRITE_PATIENCE {
            return Some(LinkError::Held {
                address: self.address.to_string(),
                waited: WRITE_PATIENCE,
            });
        }
        if matches!(self.address, Address::Tcp(_)) && since(self.last_read) >= SILENCE {
            return Some(LinkError::Silent {
                address: self.address.to_string(),
                waited: SILENCE,
            });
        }
        if self.deframer.waits() && since(self.last_read) >= FRAME_PATIENCE {
            // The bytes behind a false beginning came long ago: none of them is worth another wait.
            while self.deframer.waits() {
                self.deframer.give_up();
                self.look();
            }
        }
        if now >= self.next_heartbeat {
            // Missed ones are not made up for.
            let next = self.next_heartbeat + HEARTBEAT;
            self.next_heartbeat = if next > now { next } else { now + HEARTBEAT };
            self.keep_timestamps(now);
            self.ready.extend(self.codec.give_up_text());
            // One that still waits to be sent is as good.
            if self.outgoing.has_room(Kind::Heartbeat) {
                let _ = self.say(&Said::Heartbeat);
            }
        }
        None
    }

    /// Has the ceiling of timestamps raised on a thread, when it is time.
    fn keep_timestamps(&mut self, now: BootTime) {
        let Some(signing) = &mut self.signing else {
            return;
        };
        match self.keeping.take() {
            Some((raise, thread)) if !thread.is_finished() => self.keeping = Some((raise, thread)),
            Some((raise, mut thread)) => {
                let mut context = Context::from_waker(std::task::Waker::noop());
                match Pin::new(&mut thread).poll(&mut context) {
                    Poll::Ready(Ok(Ok(()))) => signing.raised(&raise),
                    Poll::Ready(Ok(Err(cause))) => {
                        tracing::error!(%cause, "frames are signed on, trying again");
                        self.keep_again = now + KEEP_AGAIN;
                    }
                    // It panicked, which was told, or will be finished the next time.
                    _ => self.keep_again = now + KEEP_AGAIN,
                }
            }
            None if now >= self.keep_again => {
                self.keeping = signing.raise(self.clock.wall_nanos()).map(|raise| {
                    let kept = raise.clone();
                    (raise, tokio::task::spawn_blocking(move || kept.keep()))
                });
            }
            None => {}
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

#[cfg(test)]
#[path = "pump_tests.rs"]
mod tests;
