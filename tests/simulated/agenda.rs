//! What will happen in a world: one queue of events, one thread, no real time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::{Moment, WorldTime};

/// When every world begins.
pub const START: Moment = Moment(1_000_000_000);

/// Says what happens, where somebody wants to read it.
macro_rules! note {
    ($agenda:expr, $($what:tt)+) => {
        if $agenda.is_read() {
            let what = format!($($what)+);
            $agenda.note(&what);
        }
    };
}
pub(crate) use note;

/// Events in their order; those of the same moment in the order in which they were planned.
pub struct Agenda<Event> {
    now: Moment,
    time: WorldTime,
    queue: BTreeMap<(Moment, u64), Event>,
    planned: u64,
    log: Option<Vec<String>>,
}

impl<Event> Agenda<Event> {
    /// The agenda of a world that begins; with a log if somebody wants to read it.
    pub fn new(with_log: bool) -> Self {
        let time = WorldTime::default();
        time.set(START);
        Agenda {
            now: START,
            time,
            queue: BTreeMap::new(),
            planned: 0,
            log: with_log.then(Vec::new),
        }
    }

    pub fn now(&self) -> Moment {
        self.now
    }

    /// The same for the clocks of its machines.
    pub fn time(&self) -> &WorldTime {
        &self.time
    }

    /// Plans an event; what is late already happens now.
    pub fn at(&mut self, at: Moment, event: Event) {
        self.planned += 1;
        self.queue.insert((at.max(self.now), self.planned), event);
    }

    /// Plans an event, so much later.
    pub fn after(&mut self, span: Duration, event: Event) {
        self.at(self.now.after(span), event);
    }

    /// Goes on to the next event; nothing if none comes until `end`.
    pub fn next(&mut self, end: Moment) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        if at > end {
            return None;
        }
        self.now = at;
        self.time.set(at);
        Some(event)
    }

    /// Whether there is a log; see [`note!`].
    pub fn is_read(&self) -> bool {
        self.log.is_some()
    }

    /// See [`note!`].
    pub fn note(&mut self, what: &str) {
        if let Some(log) = &mut self.log {
            log.push(format!("{} {what}", self.now));
        }
    }

    /// Everything that was noted.
    pub fn take_log(&mut self) -> Vec<String> {
        self.log.take().unwrap_or_default()
    }
}
