//! Parameters of the autopilot, by name (<https://mavlink.io/en/services/parameter.html>). One that it does not have is
//! answered by nothing, so all are asked for at once.

use std::time::Duration;

use super::super::wire::{Heard, ParamValue, Said};
use super::modes::Family;
use crate::clock::BootTime;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How often one is asked for or set: with half of all questions and half of all answers lost, one in twenty is still not told.
const SENDINGS: u8 = 10;
/// Between two questions: at 57,600 baud the answers need room, too.
const APART: Duration = Duration::from_millis(50);

/// MAV_PARAM_TYPE_UINT8 … REAL32.
const UINT8: u8 = 1;
const INT8: u8 = 2;
const UINT16: u8 = 3;
const INT16: u8 = 4;
const UINT32: u8 = 5;
const INT32: u8 = 6;

/// The number that was meant: ArduPilot writes every number as a float, PX4 writes the bytes of an integer.
pub fn decode(value: ParamValue, family: Family) -> f64 {
    if family != Family::Px4 {
        return f64::from(value.raw);
    }
    let bits = value.raw.to_bits();
    match value.kind {
        UINT8 => f64::from(bits as u8),
        INT8 => f64::from(bits as u8 as i8),
        UINT16 => f64::from(bits as u16),
        INT16 => f64::from(bits as u16 as i16),
        UINT32 => f64::from(bits),
        INT32 => f64::from(bits as i32),
        _ => f64::from(value.raw),
    }
}

/// A small whole number as a parameter of a type, the reverse of [`decode`].
pub fn encode(number: i32, kind: u8, family: Family) -> ParamValue {
    let raw = match kind {
        // The bytes of a narrow integer lie in the lowest ones.
        UINT8..=INT32 if family == Family::Px4 => f32::from_bits(match kind {
            UINT8 | INT8 => u32::from(number as u8),
            UINT16 | INT16 => u32::from(number as u16),
            _ => number as u32,
        }),
        _ => number as f32,
    };
    ParamValue { raw, kind }
}

/// One that is asked for.
#[derive(Debug, Clone)]
struct Question {
    /// Its name, and the names that it has in other versions of the firmware.
    names: &'static [&'static str],
    got: Option<(&'static str, ParamValue)>,
    next: BootTime,
    sent: u8,
}

/// Some parameters, being read.
#[derive(Debug, Clone)]
pub struct Params {
    questions: Vec<Question>,
    next: BootTime,
}

impl Params {
    /// To be asked for from `now` on; each under any of its names.
    pub fn new(names: impl IntoIterator<Item = &'static [&'static str]>, now: BootTime) -> Self {
        let question = |names| Question {
            names,
            got: None,
            next: now,
            sent: 0,
        };
        Params {
            questions: names.into_iter().map(question).collect(),
            next: now,
        }
    }

    /// Takes in a value that was asked for.
    pub fn hear(&mut self, heard: &Heard) {
        let Heard::ParamValue { name, value } = heard else {
            return;
        };
        for question in self.questions.iter_mut().filter(|question| question.sent > 0) {
            if let Some(own) = question.names.iter().find(|own| *own == name) {
                question.got = Some((own, *value));
            }
        }
    }

    /// What to say now, or whether there is nothing left to wait for.
    pub fn tick(&mut self, now: BootTime) -> (Option<Said>, bool) {
        let done = self
            .questions
            .iter()
            .all(|one| one.got.is_some() || (usize::from(one.sent) >= one.most() && now >= one.next));
        if done || now < self.next {
            return (None, done);
        }
        let due = self
            .questions
            .iter_mut()
            .find(|one| one.got.is_none() && usize::from(one.sent) < one.most() && now >= one.next);
        let Some(question) = due else {
            return (None, false);
        };
        let name = question.names[usize::from(question.sent) % question.names.len()];
        question.sent += 1;
        // Its other names follow at once; then all of them may be answered.
        if usize::from(question.sent) % question.names.len() == 0 {
            question.next = now + ANSWER;
        }
        self.next = now + APART;
        let name = name.to_owned();
        (Some(Said::ParamRequestRead { name }), false)
    }

    /// What was got under any of the names that begin with `first`: the name, and the number.
    pub fn got(&self, first: &str) -> Option<(&'static str, ParamValue)> {
        let question = self
            .questions
            .iter()
            .find(|one| one.names.first() == Some(&first))?;
        question.got
    }
}

impl Question {
    /// How often it is asked for, under all its names together.
    fn most(&self) -> usize {
        usize::from(SENDINGS) * self.names.len()
    }
}

/// One parameter, being set.
#[derive(Debug, Clone)]
pub struct SetParam {
    name: &'static str,
    value: ParamValue,
    next: BootTime,
    sent: u8,
    end: Option<bool>,
}

impl SetParam {
    /// To be set from `now` on.
    pub fn new(name: &'static str, value: ParamValue, now: BootTime) -> Self {
        SetParam {
            name,
            value,
            next: now,
            sent: 0,
            end: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Takes in what it is now. Another value than the one that was sent is from before, or it can't be set.
    pub fn hear(&mut self, heard: &Heard) {
        match heard {
            Heard::ParamValue { name, value }
                if name == self.name && self.sent > 0 && value.raw.to_bits() == self.value.raw.to_bits() =>
            {
                self.end = Some(true);
            }
            _ => {}
        }
    }

    /// What to say now, or whether it was set.
    pub fn tick(&mut self, now: BootTime) -> (Option<Said>, Option<bool>) {
        if self.end.is_some() || now < self.next {
            return (None, self.end);
        }
        if self.sent >= SENDINGS {
            self.end = Some(false);
            return (None, self.end);
        }
        self.sent += 1;
        self.next = now + ANSWER;
        let said = Said::ParamSet {
            name: self.name.to_owned(),
            value: self.value,
        };
        (Some(said), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn numbers_are_read_as_each_family_writes_them() {
        for (number, kind) in [
            (2, INT32),
            (-1, INT8),
            (255, UINT8),
            (-300, INT16),
            (3, 9),
            (70_000, UINT32),
        ] {
            for family in [Family::ArduPilot, Family::Px4] {
                let value = encode(number, kind, family);
                assert_eq!(decode(value, family), f64::from(number), "{family} {kind}");
            }
        }
        let two = f32::from_bits(2);
        assert_eq!(
            decode(
                ParamValue {
                    raw: two,
                    kind: INT32
                },
                Family::Px4
            ),
            2.0
        );
        assert_eq!(
            decode(ParamValue { raw: 2.0, kind: INT8 }, Family::ArduPilot),
            2.0
        );
    }

    #[test]
    fn a_parameter_is_found_under_any_of_its_names_and_a_missing_one_costs_seconds() {
        let names: [&[&str]; 3] = [
            &["MAV_GCS_SYSID", "SYSID_MYGCS"],
            &["FENCE_ENABLE"],
            &["NONE_SUCH"],
        ];
        let mut params = Params::new(names, at(0));
        let mut asked = Vec::new();
        let mut ended = 0;
        for millis in (0..20_000).step_by(50) {
            let (said, done) = params.tick(at(millis));
            if let Some(Said::ParamRequestRead { name }) = said {
                // The first answer is lost.
                if name == "SYSID_MYGCS" && asked.contains(&name) || name == "FENCE_ENABLE" {
                    let value = ParamValue { raw: 255.0, kind: 4 };
                    params.hear(&Heard::ParamValue {
                        name: name.clone(),
                        value,
                    });
                }
                asked.push(name);
            }
            if done {
                ended = millis;
                break;
            }
        }
        assert_eq!(params.got("MAV_GCS_SYSID").map(|got| got.0), Some("SYSID_MYGCS"));
        assert_eq!(params.got("FENCE_ENABLE").map(|got| got.1.raw), Some(255.0));
        assert_eq!(params.got("NONE_SUCH"), None);
        let count = |name: &str| asked.iter().filter(|one| *one == name).count();
        assert_eq!(
            (count("NONE_SUCH"), count("FENCE_ENABLE"), count("SYSID_MYGCS")),
            (usize::from(SENDINGS), 1, 2)
        );
        assert!((10_000..12_000).contains(&ended), "{ended}");
    }

    #[test]
    fn a_parameter_is_set_when_it_says_so() {
        let heard = |raw| Heard::ParamValue {
            name: "FENCE_ENABLE".to_owned(),
            value: ParamValue { raw, kind: 2 },
        };
        let mut set = SetParam::new("FENCE_ENABLE", ParamValue { raw: 1.0, kind: 2 }, at(0));
        assert!(set.tick(at(0)).0.is_some());
        set.hear(&heard(0.0));
        assert_eq!(set.tick(at(10)), (None, None));
        set.hear(&heard(1.0));
        assert_eq!(set.tick(at(20)), (None, Some(true)));
        let mut set = SetParam::new("FENCE_ENABLE", ParamValue { raw: 1.0, kind: 2 }, at(0));
        let said = (0..100).filter(|n| set.tick(at(n * 100)).0.is_some()).count();
        assert_eq!(
            (said, set.tick(at(10_000)).1),
            (usize::from(SENDINGS), Some(false))
        );
    }
}
