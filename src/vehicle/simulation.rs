//! A vehicle at the far end of a wire, with what goes wrong.

use std::time::Duration;

use super::autopilot::{Autopilot, STEP};
use super::channel::{Channel, Direction, Span};
use super::config::Config;
use super::faults::{Act, Faults, Moment};
use super::trouble::Trouble;
use super::truth::{Event, Truth};

/// The vehicle as somebody at the near end of the wire meets it. Pure, as its parts are.
#[derive(Debug)]
pub struct Simulation {
    autopilot: Autopilot,
    channel: Channel,
    acts: Vec<(Moment, Act)>,
}

impl Simulation {
    /// A vehicle that is switched on at moment zero.
    pub fn new(config: Config, faults: Faults, seed: u64) -> Self {
        Simulation {
            autopilot: Autopilot::new(config, seed),
            channel: Channel::new(faults.line, seed),
            acts: faults.acts,
        }
    }

    /// Bytes go to the vehicle.
    pub fn send(&mut self, bytes: &[u8], now: Duration) {
        self.channel.send(Direction::Up, bytes, now);
    }

    /// Lets time pass and gives what arrives from the vehicle meanwhile.
    pub fn advance(&mut self, now: Duration) -> Vec<u8> {
        let mut arrived = Vec::new();
        while self.autopilot.now + STEP <= now {
            let moment = self.autopilot.now + STEP;
            self.act();
            let up = self.channel.deliver(Direction::Up, moment);
            self.autopilot.receive(&up, moment);
            let down = self.autopilot.transmit();
            self.channel.send(Direction::Down, &down, moment);
            arrived.extend(self.channel.deliver(Direction::Down, moment));
        }
        arrived
    }

    /// Whether the cable is in, as of the last moment.
    pub fn plugged(&self) -> bool {
        self.channel.plugged(self.autopilot.now)
    }

    /// Lets something go wrong, now.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.autopilot.trouble(trouble);
    }

    /// Pulls the cable out for so long, from now on.
    pub fn unplug(&mut self, lasts: Duration) {
        let from = self.autopilot.now;
        self.channel.line_mut().unplugged.push(Span { from, lasts });
        self.autopilot.event(Event::Trouble(Act::Unplug(lasts)));
    }

    /// Lets nothing pass for so long, from now on.
    pub fn silence(&mut self, lasts: Duration) {
        let from = self.autopilot.now;
        self.channel.line_mut().silence.push(Span { from, lasts });
        self.autopilot.event(Event::Trouble(Act::Silence(lasts)));
    }

    /// The vehicle.
    pub fn autopilot(&self) -> &Autopilot {
        &self.autopilot
    }

    /// What really happened so far.
    pub fn truth(&self) -> &Truth {
        self.autopilot.truth()
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<(Duration, Event)> {
        self.autopilot.take_events()
    }

    fn act(&mut self) {
        let mut index = 0;
        while let Some((moment, act)) = self.acts.get(index).copied() {
            if !moment.has_come(self.autopilot.truth()) {
                index += 1;
                continue;
            }
            self.acts.remove(index);
            match act {
                Act::Vehicle(trouble) => self.trouble(trouble),
                Act::Silence(lasts) => self.silence(lasts),
                Act::Unplug(lasts) => self.unplug(lasts),
            }
        }
    }
}
