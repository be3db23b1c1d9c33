//! The heartbeat line: a square wave for an external watchdog relay, as long as all is well (docs/fence.md, section 7).
//!
//! It is toggled in the task in which the lanes run and the service manager's watchdog is fed, and only after every device's
//! owner task has answered: whoever freezes the loop or a device stops it. It is also stopped, for good, when an output can't
//! be made safe: the agent ends then, or, where ending has not helped, stays up without a heartbeat. At rest the line is low.

use std::convert::Infallible;
use std::time::Duration;

use super::settings::{HeartbeatLine, Safety};
use super::watchdog::{ANSWER_WITHIN, Roster, Verdict, round};
use crate::clock::SharedClock;
use crate::device::Cancellation;
use crate::device::gpio::{GpioBackend, GpioError, Level, OutputLine};

/// Who holds the line: no device can be called so.
pub const CONSUMER: &str = "outpost heartbeat";

/// The line, ours and low until [`Heartbeat::beat`].
pub struct Heartbeat {
    line: Box<dyn OutputLine>,
    level: Level,
    half: Duration,
    /// The line refused last time: said once.
    refused: bool,
}

impl Heartbeat {
    /// Takes a line, low.
    ///
    /// # Errors
    /// It can't be had.
    pub fn open(line: &HeartbeatLine, settings: &Safety, gpio: &dyn GpioBackend) -> Result<Self, GpioError> {
        Ok(Heartbeat {
            line: gpio.request_output(&line.0, Level::Off, CONSUMER)?,
            level: Level::Off,
            half: settings.heartbeat_period / 2,
            refused: false,
        })
    }

    /// Toggles the line while all on the roster answer, until `silence`.
    pub async fn beat(&mut self, roster: &Roster, silence: &Cancellation, clock: &SharedClock) -> Infallible {
        let beating = async {
            loop {
                let began = clock.now();
                match round(&roster.devices(), began + ANSWER_WITHIN, clock).await {
                    Verdict::Feed => self.set(!self.level),
                    // A level that stays is what the relay must see; low is what it sees at the end, too.
                    Verdict::Wait | Verdict::Starve(_) => self.set(Level::Off),
                }
                clock.sleep_until(clock.now() + self.half).await;
            }
        };
        tokio::select! {
            biased;
            reason = silence.cancelled() => {
                tracing::error!(%reason, "the heartbeat line is stopped until the next start");
            }
            never = beating => match never {},
        }
        self.set(Level::Off);
        std::future::pending().await
    }

    fn set(&mut self, level: Level) {
        match self.line.set(level) {
            Ok(()) => {
                self.level = level;
                self.refused = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::error!(%error, "the heartbeat line can't be driven");
                }
            }
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.set(Level::Off);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{BootTime, Clock, TestClock};
    use crate::device::builtin::Sleep;
    use crate::device::gpio::{LineFault, LineSpec, SimulatedBoard};
    use crate::device::owner;

    fn heartbeat(board: &SimulatedBoard) -> Heartbeat {
        let line = HeartbeatLine(LineSpec::named("GPIO25"));
        Heartbeat::open(&line, &Safety::default(), board).unwrap()
    }

    async fn beat_for(heart: &mut Heartbeat, roster: &Roster, clock: &Arc<TestClock>, span: Duration) {
        let shared: SharedClock = clock.clone();
        let silence = Cancellation::new();
        tokio::select! {
            never = heart.beat(roster, &silence, &shared) => match never {},
            () = clock.sleep_until(clock.now() + span) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_a_square_wave_of_the_period_and_low_at_the_end() {
        let clock = TestClock::new(0);
        let board = SimulatedBoard::new(clock.clone());
        let roster = Roster::default();
        roster.set(vec![owner::spawn(Box::new(Sleep::new("sleep")), clock.clone())]);
        let mut heart = heartbeat(&board);
        beat_for(&mut heart, &roster, &clock, Duration::from_millis(1100)).await;
        let times: Vec<u64> = board
            .edges()
            .iter()
            .map(|edge| edge.at.as_nanos() / 1_000_000)
            .collect();
        assert_eq!(times, [0, 250, 500, 750, 1000]);
        assert_eq!(board.levels("GPIO25").last(), Some(&Level::On));
        drop(heart);
        assert_eq!(board.levels("GPIO25").last(), Some(&Level::Off));
    }

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_while_a_device_gives_no_sign_of_life() {
        let clock = TestClock::new(0);
        let board = SimulatedBoard::new(clock.clone());
        let (hangs, owner) = owner::paused(Box::new(Sleep::new("sleep")), clock.clone());
        let roster = Roster::default();
        roster.set(vec![hangs]);
        let mut heart = heartbeat(&board);
        beat_for(&mut heart, &roster, &clock, Duration::from_secs(60)).await;
        assert!(board.edges().is_empty());
        tokio::spawn(owner);
        beat_for(&mut heart, &roster, &clock, Duration::from_millis(600)).await;
        assert_eq!(
            board.levels("GPIO25"),
            [Level::On, Level::Off, Level::On],
            "it is well again"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_refuses_ends_nothing() {
        let clock = TestClock::new(0);
        let board = SimulatedBoard::new(clock.clone());
        let mut heart = heartbeat(&board);
        board.set_fault("GPIO25", Some(LineFault::Error(5)));
        beat_for(&mut heart, &Roster::default(), &clock, Duration::from_secs(1)).await;
        board.set_fault("GPIO25", None);
        assert!(board.edges().is_empty());
        beat_for(&mut heart, &Roster::default(), &clock, Duration::from_millis(100)).await;
        assert_eq!(board.edges()[0].at, BootTime::default() + Duration::from_secs(1));
    }
}
