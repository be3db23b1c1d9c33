//! From a line's edges to the edges that count: debounced, told to everybody, and taken up again when the line was lost.

use std::sync::{Arc, Mutex};

use super::edge::{Edge, EdgeEvent, EdgeSink};
use super::levels::Place;
use super::settings::InputSettings;
use super::{InputError, REOPEN_EVERY};
use crate::clock::{BootTime, SharedClock};
use crate::device::gpio::{GpioBackend, GpioError, Level, LineEvent, WatchedLine};
use crate::device::{Hardware, lock};

/// What an input's probe sees beside its owner.
pub(super) struct Seen {
    /// The debounced level; `None` while the line is lost.
    level: Place,
    /// Why it is lost.
    reason: Mutex<String>,
}

impl Seen {
    /// The debounced level.
    pub fn level(&self) -> Result<Level, InputError> {
        let level = *self.level.borrow();
        level.ok_or_else(|| InputError::Lost {
            reason: lock(&self.reason).clone(),
        })
    }

    /// Hears when the line is lost.
    pub fn lost(&self) -> Lost {
        Lost(self.level.clone())
    }
}

/// Waits for the loss of a line.
pub(super) struct Lost(Place);

impl Lost {
    pub async fn wait(&self) {
        self.0.wait_for(Option::is_none).await;
    }
}

/// Watches one line. Everything that it must remember is in it, so that waiting may be dropped anywhere.
pub(super) struct Watcher {
    name: Arc<str>,
    settings: InputSettings,
    clock: SharedClock,
    gpio: Arc<dyn GpioBackend>,
    sink: Option<EdgeSink>,
    seen: Arc<Seen>,
    line: Option<Box<dyn WatchedLine>>,
    /// The level that counts.
    level: Level,
    /// A level that may come to count, and since when it is there.
    unsettled: Option<(Level, BootTime)>,
    /// When a line that was lost is tried again.
    reopen_at: BootTime,
}

impl Watcher {
    /// Takes the line. The level that it has is where it begins: that is no edge.
    pub fn open(
        name: &str,
        settings: &InputSettings,
        gpio: &Arc<dyn GpioBackend>,
        hardware: &Hardware,
    ) -> Result<Self, GpioError> {
        let seen = Seen {
            level: hardware.inputs.place(name),
            reason: Mutex::default(),
        };
        let mut watcher = Watcher {
            name: name.into(),
            settings: settings.clone(),
            clock: hardware.clock.clone(),
            gpio: gpio.clone(),
            sink: hardware.edges.clone(),
            seen: Arc::new(seen),
            line: None,
            level: Level::Off,
            unsettled: None,
            reopen_at: hardware.clock.now(),
        };
        watcher.take_line()?;
        Ok(watcher)
    }

    /// What others see.
    pub fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }

    fn take_line(&mut self) -> Result<(), GpioError> {
        let consumer = format!("outpost:{}", self.name);
        let watching = self.settings.watching;
        let mut line = self.gpio.watch_input(&self.settings.line, watching, &consumer)?;
        self.level = line.get()?;
        self.unsettled = None;
        self.line = Some(line);
        self.seen.level.send_replace(Some(self.level));
        Ok(())
    }

    /// Waits for the next edge that counts, and tells it to everybody. Safe to drop and to call again.
    pub async fn next(&mut self) -> Edge {
        loop {
            let Some(line) = &mut self.line else {
                self.clock.sleep_until(self.reopen_at).await;
                self.reopen();
                continue;
            };
            let settles_at = self
                .unsettled
                .map(|(_, since)| since + self.settings.watching.debounce);
            let event = tokio::select! {
                biased;
                event = line.next() => Some(event),
                () = sleep_until(&self.clock, settles_at) => None,
            };
            match event {
                Some(Ok(LineEvent { level, age })) => {
                    let at = self.clock.now() - age;
                    if self.counts_at_once() {
                        if let Some(edge) = self.count(level, at) {
                            return edge;
                        }
                    } else {
                        self.unsettled = Some((level, at));
                    }
                }
                Some(Err(error)) => self.lose(&error),
                None => {
                    let settled = self.unsettled.take();
                    if let Some(edge) = settled.and_then(|(level, since)| self.count(level, since)) {
                        return edge;
                    }
                }
            }
        }
    }

    fn counts_at_once(&self) -> bool {
        self.settings.watching.debounce.is_zero()
            || self.line.as_ref().is_some_and(|line| line.is_debounced())
    }

    /// A level counts since `at`.
    fn count(&mut self, level: Level, at: BootTime) -> Option<Edge> {
        if level == self.level {
            return None;
        }
        self.level = level;
        self.seen.level.send_replace(Some(level));
        let edge = Edge::to(level);
        tracing::debug!(input = &*self.name, %edge, "edge");
        if let Some(sink) = &self.sink
            && self.settings.submit.iter().any(|rule| rule.edges.contain(edge))
        {
            sink(EdgeEvent {
                input: self.name.clone(),
                edge,
                at,
                submit: self.settings.submit.clone(),
            });
        }
        Some(edge)
    }

    fn lose(&mut self, error: &GpioError) {
        tracing::error!(input = &*self.name, %error, "the line is lost; it is tried again until it is there");
        self.line = None;
        self.unsettled = None;
        self.reopen_at = self.clock.now() + REOPEN_EVERY;
        *lock(&self.seen.reason) = error.to_string();
        self.seen.level.send_replace(None);
    }

    fn reopen(&mut self) {
        match self.take_line() {
            Ok(()) => tracing::info!(input = &*self.name, level = %self.level, "the line is there again"),
            Err(error) => {
                tracing::debug!(input = &*self.name, %error, "the line is still lost");
                *lock(&self.seen.reason) = error.to_string();
                self.reopen_at = self.clock.now() + REOPEN_EVERY;
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Closed: nothing is known of it any more.
        self.seen.level.send_replace(None);
    }
}

/// For ever without a moment.
async fn sleep_until(clock: &SharedClock, moment: Option<BootTime>) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
