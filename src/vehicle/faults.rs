//! What goes wrong in a flight, and when: written in one line, for the command line, and for a campaign by seed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::channel::{Line, Span};
use super::config::Wind;
use super::mode::Mode;
use super::trouble::Trouble;
use super::truth::Truth;

/// From when a fault counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After the vehicle was first switched on.
    Start(Duration),
    /// After it was first armed.
    Armed(Duration),
    /// After it first left the ground.
    Air(Duration),
}

impl Moment {
    /// Whether it has come.
    pub fn has_come(self, truth: &Truth) -> bool {
        match self {
            Moment::Start(after) => truth.at >= after,
            Moment::Armed(after) => truth.arms.first().is_some_and(|armed| truth.at >= *armed + after),
            Moment::Air(after) => truth
                .take_offs
                .first()
                .is_some_and(|left| truth.at >= *left + after),
        }
    }
}

/// Something that is done to the wire when its moment has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// To the vehicle.
    Vehicle(Trouble),
    /// Nothing passes for so long.
    Silence(Duration),
    /// The cable is out for so long.
    Unplug(Duration),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Vehicle(trouble) => trouble.fmt(f),
            Act::Silence(lasts) => write!(f, "nothing passes for {lasts:?}"),
            Act::Unplug(lasts) => write!(f, "the cable is out for {lasts:?}"),
        }
    }
}

/// All that goes wrong.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Faults {
    /// How bad the wire is all the time.
    pub line: Line,
    /// What happens once, and when.
    pub acts: Vec<(Moment, Act)>,
}

/// Faults that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("fault {0:?}: {1}; see `outpost vehicle --help` for what there is")]
pub struct BadFaults(String, String);

/// How faults are written; part of the help.
pub const GRAMMAR: &str = "\
The wire, all the time (shares of frames from 0 to 1, seconds):
  loss=0.02 corrupt=0.001 duplicate=0.01 reorder=0.01 delay=0.2 jitter=0.5
Once, each with @MOMENT; a MOMENT is seconds since the start, or armed+SECONDS, or air+SECONDS:
  silence=5@air+20         nothing passes for 5 s
  unplug=10@60             the cable is out for 10 s
  reboot@armed+3           the autopilot starts again
  pilot=loiter@air+30      the pilot chooses a mode: stabilize, guided, auto, loiter, rtl, land
  battery=12@air+30        the battery drops to 12 %
  gust=14/270/20@air+10    14 m/s from the west for 20 s
  gps=30@air+15            no satellites for 30 s
  stuck=60@0               arming and disarming have no effect for 60 s
  hollow=300/60@0          command 300 is accepted without effect for 60 s
  refuse=400/1/20@0        command 400 is answered by result 1 for 20 s
  mute=20/60@0             command 20 is done and not answered for 60 s
  slow=3/60@0              answers come 3 s later for 60 s
  station=255/190/60@0     another ground station, system 255 component 190, speaks for 60 s";

impl FromStr for Faults {
    type Err = BadFaults;

    /// Reads a list that is separated by commas or spaces.
    fn from_str(text: &str) -> Result<Self, BadFaults> {
        let mut faults = Faults::default();
        for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
            faults
                .add(part)
                .map_err(|reason| BadFaults(part.to_owned(), reason))?;
        }
        Ok(faults)
    }
}

impl Faults {
    fn add(&mut self, part: &str) -> Result<(), String> {
        let (what, moment) = match part.split_once('@') {
            Some((what, moment)) => (what, Some(self::moment(moment)?)),
            None => (part, None),
        };
        let (name, values) = what.split_once('=').unwrap_or((what, ""));
        let line = &mut self.line;
        match (name, moment) {
            ("loss", None) => line.loss = share(values)?,
            ("corrupt", None) => line.corrupt = share(values)?,
            ("duplicate", None) => line.duplicate = share(values)?,
            ("reorder", None) => line.reorder = share(values)?,
            ("delay", None) => line.delay = seconds(values)?,
            ("jitter", None) => line.jitter = seconds(values)?,
            ("loss" | "corrupt" | "duplicate" | "reorder" | "delay" | "jitter", Some(_)) => {
                return Err("it holds all the time and has no moment".to_owned());
            }
            ("silence" | "unplug", Some(Moment::Start(from))) => {
                let span = Span {
                    from,
                    lasts: seconds(values)?,
                };
                if name == "silence" {
                    line.silence.push(span);
                } else {
                    line.unplugged.push(span);
                }
            }
            (_, moment) => {
                let act = act(name, values)?;
                let moment = moment.ok_or("say when, such as @air+20")?;
                self.acts.push((moment, act));
            }
        }
        Ok(())
    }
}

fn act(name: &str, values: &str) -> Result<Act, String> {
    let mut rest = values.split('/').skip(usize::from(values.is_empty()));
    let mut next = || {
        rest.next()
            .filter(|value| !value.is_empty())
            .ok_or("a value is missing")
    };
    let trouble = match name {
        "silence" => return Ok(Act::Silence(seconds(next()?)?)),
        "unplug" => return Ok(Act::Unplug(seconds(next()?)?)),
        "reboot" => Trouble::Reboot,
        "pilot" => Trouble::Pilot(next()?.parse::<Mode>()?),
        "battery" => Trouble::Battery(number(next()?, 0.0, 100.0)?),
        "gust" => {
            let wind = Wind {
                speed: number(next()?, 0.0, 100.0)?,
                from: number(next()?, 0.0, 360.0)?,
                turbulence: 0.2,
            };
            Trouble::Gust(wind, seconds(next()?)?)
        }
        "gps" => Trouble::GpsLoss(seconds(next()?)?),
        "stuck" => Trouble::StuckArming(seconds(next()?)?),
        "hollow" => Trouble::Hollow(whole(next()?)?, seconds(next()?)?),
        "refuse" => Trouble::Refused(whole(next()?)?, whole(next()?)?, seconds(next()?)?),
        "mute" => Trouble::Unanswered(whole(next()?)?, seconds(next()?)?),
        "slow" => Trouble::SlowAnswers(seconds(next()?)?, seconds(next()?)?),
        "station" => Trouble::OtherStation(whole(next()?)?, whole(next()?)?, seconds(next()?)?),
        _ => return Err("there is no such fault".to_owned()),
    };
    match rest.next() {
        Some(_) => Err("too many values".to_owned()),
        None => Ok(Act::Vehicle(trouble)),
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    match text.split_once('+') {
        Some(("air", after)) => Ok(Moment::Air(seconds(after)?)),
        Some(("armed", after)) => Ok(Moment::Armed(seconds(after)?)),
        Some((other, _)) => Err(format!("there is no moment {other:?}: armed or air")),
        None if text == "air" => Ok(Moment::Air(Duration::ZERO)),
        None if text == "armed" => Ok(Moment::Armed(Duration::ZERO)),
        None => Ok(Moment::Start(seconds(text)?)),
    }
}

fn number(text: &str, low: f64, high: f64) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| format!("{text:?} is no number from {low} to {high}"))
}

fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no fitting whole number"))
}

fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1.0)
}

fn seconds(text: &str) -> Result<Duration, String> {
    Ok(Duration::from_secs_f64(number(text, 0.0, 1e6)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the help shows can be written.
    #[test]
    fn the_help_shows_what_can_be_read() {
        let mut read = 0;
        for line in GRAMMAR.lines().filter(|line| line.starts_with("  ")) {
            let words = line.split_whitespace();
            for word in words.take_while(|word| word.contains(['=', '@'])) {
                word.parse::<Faults>().unwrap();
                read += 1;
            }
        }
        assert_eq!(read, 19);
    }

    #[test]
    fn a_list_is_read() {
        let faults: Faults = "loss=0.1,silence=5@20, pilot=loiter@air+2 reboot@armed"
            .parse()
            .unwrap();
        assert_eq!(faults.line.loss, 0.1);
        assert_eq!(
            faults.line.silence,
            [Span {
                from: Duration::from_secs(20),
                lasts: Duration::from_secs(5)
            }]
        );
        assert_eq!(
            faults.acts,
            [
                (
                    Moment::Air(Duration::from_secs(2)),
                    Act::Vehicle(Trouble::Pilot(Mode::Loiter))
                ),
                (Moment::Armed(Duration::ZERO), Act::Vehicle(Trouble::Reboot)),
            ]
        );
        assert_eq!("".parse::<Faults>().unwrap(), Faults::default());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("los=1", "no such fault"),
            ("loss=2", "no number from 0 to 1"),
            ("loss=0.1@5", "no moment"),
            ("reboot", "say when"),
            ("pilot=up@5", "no mode is called"),
            ("gps@5", "a value is missing"),
            ("gps=1/2@5", "too many values"),
            ("gps=1@sea+5", "armed or air"),
            ("station=256/1/5@0", "whole number"),
        ] {
            let error = text.parse::<Faults>().unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains(&text[..3]),
                "{text}: {error}"
            );
        }
    }
}
