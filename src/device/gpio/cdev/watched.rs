//! Edges of a line of the character device, waited for in the agent's own loop.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use async_trait::async_trait;
use gpiocdev::line::EdgeKind;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::CdevLine;
use crate::device::gpio::{GpioError, InputLine, Level, LineEvent, WatchedLine, Watching};

/// A line whose edges the kernel keeps for us, with its own time; it debounces them, too.
pub(super) struct WatchedCdevLine {
    /// The request of `line`, to be woken by. Dropped before it.
    wake: AsyncFd<OwnedFd>,
    line: CdevLine,
    debounced: bool,
}

impl WatchedCdevLine {
    pub(super) fn new(line: CdevLine, watching: Watching) -> Result<Self, GpioError> {
        let copy = line.request.as_fd().try_clone_to_owned();
        let wake = copy.and_then(|copy| {
            // SAFETY: an owned descriptor stays open and the same for as long as it is registered.
            #[allow(unsafe_code, reason = "registering with epoll")]
            let wake = unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) };
            Ok(wake?)
        });
        match wake {
            Ok(wake) => Ok(WatchedCdevLine {
                wake,
                line,
                debounced: !watching.debounce.is_zero(),
            }),
            Err(cause) => Err(GpioError::Io {
                line: line.spec.to_string(),
                action: "wait for its edges",
                cause,
            }),
        }
    }

    /// An edge that has come already.
    fn event(&self) -> Result<Option<LineEvent>, GpioError> {
        const ACTION: &str = "read its edges";
        let failed = |error| self.line.failed(&error, ACTION);
        if !self.line.request.has_edge_event().map_err(failed)? {
            return Ok(None);
        }
        // `read_edge_event` of gpiocdev 0.8 reads as many as there are, and gives the first: the others would be lost.
        let mut one = vec![0; self.line.request.edge_event_u64_size()];
        let read = self.line.request.read_edge_events_into_slice(&mut one);
        let event = read
            .and_then(|_| self.line.request.edge_event_from_slice(&one))
            .map_err(failed)?;
        Ok(Some(LineEvent {
            // Active-low is the kernel's work here, too.
            level: match event.kind {
                EdgeKind::Rising => Level::On,
                EdgeKind::Falling => Level::Off,
            },
            age: monotonic().saturating_sub(Duration::from_nanos(event.timestamp_ns)),
        }))
    }
}

/// Now by the clock that the kernel stamps edges with.
pub(in crate::device::gpio) fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

impl InputLine for WatchedCdevLine {
    fn get(&mut self) -> Result<Level, GpioError> {
        InputLine::get(&mut self.line)
    }

    fn describe(&self) -> String {
        self.line.description.clone()
    }
}

#[async_trait]
impl WatchedLine for WatchedCdevLine {
    async fn next(&mut self) -> Result<LineEvent, GpioError> {
        loop {
            if let Some(event) = self.event()? {
                return Ok(event);
            }
            let ready = self.wake.readable().await;
            let mut ready = ready.map_err(|cause| GpioError::Io {
                line: self.line.spec.to_string(),
                action: "wait for its edges",
                cause,
            })?;
            // What came since then wakes again.
            if !self.line.request.has_edge_event().unwrap_or(true) {
                ready.clear_ready();
            }
        }
    }

    fn is_debounced(&self) -> bool {
        self.debounced
    }
}
