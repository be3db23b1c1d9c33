//! Channels without hardware: each is a line of the simulated board that is called like the channel (`pwm/0`,
//! `fe20c000.pwm/0`), so its edges, faults, holders and contacts are those of any line. Beside that every percent is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{Percent, PwmBackend, PwmChannel, PwmError, PwmSpec};
use crate::device::gpio::{GpioBackend, Level, LineSpec, OutputLine, SimulatedBoard};
use crate::device::lock;

/// So many percents are kept of each channel; the oldest go first.
const PERCENTS_KEPT: usize = 1000;

/// PWM chips that have every channel; clones are the same chips.
#[derive(Debug, Clone)]
pub struct SimulatedPwm {
    board: SimulatedBoard,
    percents: Arc<Mutex<BTreeMap<String, Vec<Percent>>>>,
}

impl SimulatedPwm {
    /// Channels on a board, none of them ever driven.
    pub fn new(board: SimulatedBoard) -> Self {
        SimulatedPwm {
            board,
            percents: Arc::default(),
        }
    }

    /// The line of the board that stands for a channel.
    pub fn line(spec: &PwmSpec) -> LineSpec {
        LineSpec {
            active_low: spec.active_low,
            ..LineSpec::named(spec.to_string())
        }
    }

    /// Every change of a channel so far, oldest first, in percent.
    pub fn percents(&self, spec: &PwmSpec) -> Vec<u8> {
        let percents = lock(&self.percents);
        let of = percents.get(&spec.to_string()).into_iter().flatten();
        of.map(|percent| percent.get()).collect()
    }
}

impl PwmBackend for SimulatedPwm {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn request(
        &self,
        spec: &PwmSpec,
        initial: Percent,
        consumer: &str,
    ) -> Result<Box<dyn PwmChannel>, PwmError> {
        let line = self
            .board
            .request_output(&SimulatedPwm::line(spec), initial.level(), consumer)?;
        let mut channel = Channel {
            name: spec.to_string(),
            line,
            percents: self.percents.clone(),
            set: initial,
        };
        channel.set(initial)?;
        Ok(Box::new(channel))
    }
}

/// A channel that somebody holds.
struct Channel {
    name: String,
    line: Box<dyn OutputLine>,
    percents: Arc<Mutex<BTreeMap<String, Vec<Percent>>>>,
    set: Percent,
}

impl PwmChannel for Channel {
    fn set(&mut self, percent: Percent) -> Result<(), PwmError> {
        self.line.set(percent.level())?;
        self.set = percent;
        let mut percents = lock(&self.percents);
        let own = percents.entry(self.name.clone()).or_default();
        if own.last().copied().unwrap_or(Percent::NONE) != percent {
            tracing::debug!(channel = %self.name, %percent, "dimmed");
            if own.len() == PERCENTS_KEPT {
                own.remove(0);
            }
            own.push(percent);
        }
        Ok(())
    }

    fn get(&mut self) -> Result<Percent, PwmError> {
        Ok(match self.line.get()? {
            Level::Off => Percent::NONE,
            // A line that is stuck.
            Level::On if self.set == Percent::NONE => Percent::FULL,
            Level::On => self.set,
        })
    }

    fn describe(&self) -> String {
        self.line.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::device::gpio::{LineFault, Physical};

    fn percent(number: u8) -> Percent {
        Percent::new(number).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn edges_are_those_between_off_and_on_and_every_percent_is_kept() {
        let board = SimulatedBoard::new(TestClock::new(0));
        let pwm = SimulatedPwm::new(board.clone());
        let spec = PwmSpec {
            active_low: true,
            ..PwmSpec::channel(0)
        };
        let mut channel = pwm.request(&spec, Percent::NONE, "outpost:x").unwrap();
        assert_eq!(board.edges(), []);
        for number in [30, 30, 60, 0, 100] {
            channel.set(percent(number)).unwrap();
            assert_eq!(channel.get().unwrap(), percent(number));
        }
        assert_eq!(pwm.percents(&spec), [30, 60, 0, 100]);
        assert_eq!(board.levels("pwm/0"), [Level::On, Level::Off, Level::On]);
        assert_eq!(board.physical("pwm/0"), Some(Physical::Low), "active low");
        let busy = pwm.request(&spec, Percent::NONE, "thief").err().unwrap();
        assert!(
            busy.to_string().contains("pwm/0 is in use by \"outpost:x\""),
            "{busy}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn broken_channels_read_what_they_are_stuck_at_or_fail() {
        let board = SimulatedBoard::new(TestClock::new(0));
        let pwm = SimulatedPwm::new(board.clone());
        let mut channel = pwm.request(&PwmSpec::channel(0), Percent::NONE, "x").unwrap();
        board.set_fault("pwm/0", Some(LineFault::Stuck(Physical::High)));
        channel.set(Percent::NONE).unwrap();
        assert_eq!(channel.get().unwrap(), Percent::FULL);
        board.set_fault("pwm/0", Some(LineFault::Stuck(Physical::Low)));
        channel.set(percent(40)).unwrap();
        assert_eq!(channel.get().unwrap(), Percent::NONE);
        board.set_fault("pwm/0", Some(LineFault::Error(5)));
        assert!(channel.set(percent(1)).is_err() && channel.get().is_err());
    }
}
