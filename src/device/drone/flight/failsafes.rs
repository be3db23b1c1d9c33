//! The autopilot's own failsafes: what brings a drone home when nobody here can. ArduPilot's are off by default, and its
//! link-loss failsafe listens to one system id alone.

use super::super::settings::Failsafes;
use super::super::wire::{Heard, ParamValue, Said};
use super::modes::Family;
use super::params::{Params, SetParam, decode, encode};
use crate::clock::BootTime;

/// What a parameter must be.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// At least so much.
    AtLeast(i32),
    /// Our system id.
    OurId,
    /// No higher than `return_altitude`, which the estimates count on and which is below `max_altitude`.
    ReturnsLow,
}

/// One parameter that must be on.
#[derive(Debug)]
struct Rule {
    names: &'static [&'static str],
    wanted: Wanted,
    /// What it is set to where the configuration says `set`.
    set: i32,
    what: &'static str,
}

/// <https://ardupilot.org/copter/docs/parameters.html>: 1 returns for FS_GCS_ENABLE and FENCE_ACTION, 2 for BATT_FS_LOW_ACT.
const ARDUPILOT: &[Rule] = &[
    Rule {
        names: &["MAV_GCS_SYSID", "SYSID_MYGCS"],
        wanted: Wanted::OurId,
        set: 0,
        what: "whose heartbeats the link-loss failsafe listens to",
    },
    Rule {
        names: &["FS_GCS_ENABLE"],
        wanted: Wanted::AtLeast(1),
        set: 1,
        what: "the failsafe for a lost link",
    },
    Rule {
        names: &["FENCE_ENABLE"],
        wanted: Wanted::AtLeast(1),
        set: 1,
        what: "the fence",
    },
    Rule {
        names: &["FENCE_ACTION"],
        wanted: Wanted::AtLeast(1),
        set: 1,
        what: "what it does at the fence",
    },
    Rule {
        names: &["BATT_FS_LOW_ACT"],
        wanted: Wanted::AtLeast(1),
        set: 2,
        what: "the failsafe for a low battery",
    },
    Rule {
        names: &["RTL_ALT_M", IN_CENTIMETRES],
        wanted: Wanted::ReturnsLow,
        set: 0,
        what: "how high it returns",
    },
];

/// ArduPilot's return altitude before 4.7 is in centimetres.
const IN_CENTIMETRES: &str = "RTL_ALT";

/// <https://docs.px4.io/main/en/advanced_config/parameter_reference.html>: below 2, GF_ACTION only warns.
const PX4: &[Rule] = &[
    Rule {
        names: &["NAV_DLL_ACT"],
        wanted: Wanted::AtLeast(1),
        set: 2,
        what: "the failsafe for a lost link",
    },
    Rule {
        names: &["COM_LOW_BAT_ACT"],
        wanted: Wanted::AtLeast(1),
        set: 3,
        what: "the failsafe for a low battery",
    },
    Rule {
        names: &["GF_ACTION"],
        wanted: Wanted::AtLeast(2),
        set: 3,
        what: "what it does at the fence",
    },
    Rule {
        names: &["RTL_RETURN_ALT"],
        wanted: Wanted::ReturnsLow,
        set: 0,
        what: "how high it returns",
    },
];

/// Every parameter by its newest name, and what it is set to where the configuration says `set`; our system id where that is
/// what counts. For documents.
pub fn wanted() -> impl Iterator<Item = (&'static str, String)> {
    ARDUPILOT.iter().chain(PX4).filter_map(|rule| {
        let value = match rule.wanted {
            Wanted::AtLeast(_) => rule.set.to_string(),
            Wanted::OurId => "`system_id`".to_owned(),
            Wanted::ReturnsLow => "`return_altitude`".to_owned(),
        };
        Some((*rule.names.first()?, value))
    })
}

fn rules(family: Family) -> &'static [Rule] {
    match family {
        Family::ArduPilot => ARDUPILOT,
        Family::Px4 => PX4,
        Family::Other(_) => &[],
    }
}

impl Rule {
    fn kept(&self, number: f64, target: i32) -> bool {
        match self.wanted {
            Wanted::AtLeast(least) => number >= f64::from(least),
            Wanted::OurId => number == f64::from(target),
            Wanted::ReturnsLow => number <= f64::from(target),
        }
    }

    /// What it is set to, under that one of its names.
    fn target(&self, name: &str, ours: Ours) -> i32 {
        match self.wanted {
            Wanted::AtLeast(_) => self.set,
            Wanted::OurId => i32::from(ours.system),
            // Whole metres or centimetres, never higher than it is configured.
            Wanted::ReturnsLow if name == IN_CENTIMETRES => (ours.return_altitude * 100.0) as i32,
            Wanted::ReturnsLow => ours.return_altitude as i32,
        }
    }
}

/// What parameters are measured by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ours {
    /// Our system id.
    pub system: u8,
    /// `return_altitude`, metres above home.
    pub return_altitude: f64,
}

/// Reads the parameters and, where that is wished, sets them.
#[derive(Debug)]
pub struct FailsafeCheck {
    family: Family,
    ours: Ours,
    set: bool,
    params: Params,
    /// What is still to be set, and what is being set.
    to_set: Vec<(&'static str, ParamValue)>,
    setting: Option<SetParam>,
    troubles: Vec<String>,
    read: bool,
}

impl FailsafeCheck {
    /// From `now` on; none where they are not looked at.
    pub fn new(policy: Failsafes, family: Family, ours: Ours, now: BootTime) -> Option<Self> {
        (policy != Failsafes::Ignore).then(|| FailsafeCheck {
            family,
            ours,
            set: policy == Failsafes::Set,
            params: Params::new(rules(family).iter().map(|rule| rule.names), now),
            to_set: Vec::new(),
            setting: None,
            troubles: Vec::new(),
            read: false,
        })
    }

    /// Takes in a parameter.
    pub fn hear(&mut self, heard: &Heard) {
        match &mut self.setting {
            Some(setting) => setting.hear(heard),
            None => self.params.hear(heard),
        }
    }

    /// What to say now, or what is amiss, a sentence for each.
    pub fn tick(&mut self, now: BootTime) -> (Option<Said>, Option<Vec<String>>) {
        if !self.read {
            let (said, done) = self.params.tick(now);
            if !done {
                return (said, None);
            }
            self.read = true;
            self.judge();
        }
        loop {
            if let Some(setting) = &mut self.setting {
                let (said, end) = setting.tick(now);
                let Some(done) = end else {
                    return (said, None);
                };
                if !done {
                    self.troubles
                        .push(format!("{} could not be set on the autopilot", setting.name()));
                }
                self.setting = None;
            }
            match self.to_set.pop() {
                Some((name, value)) => self.setting = Some(SetParam::new(name, value, now)),
                None => return (None, Some(std::mem::take(&mut self.troubles))),
            }
        }
    }

    /// Whether not one parameter was answered.
    pub fn unanswered(&self) -> bool {
        rules(self.family)
            .iter()
            .filter_map(|rule| rule.names.first())
            .all(|first| self.params.got(first).is_none())
    }

    fn judge(&mut self) {
        for rule in rules(self.family) {
            let Some(first) = rule.names.first() else { continue };
            let Some((name, value)) = self.params.got(first) else {
                self.troubles.push(format!(
                    "{} ({}) could not be read from the autopilot",
                    rule.names.join(" or "),
                    rule.what
                ));
                continue;
            };
            let number = decode(value, self.family);
            let target = rule.target(name, self.ours);
            if rule.kept(number, target) {
                continue;
            }
            if self.set {
                self.to_set.push((name, encode(target, value.kind, self.family)));
            } else {
                self.troubles.push(format!(
                    "{name} ({}) is {number}; set it to {target} on the autopilot, or failsafes = \"set\" here",
                    rule.what
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const OURS: Ours = Ours {
        system: 255,
        return_altitude: 15.5,
    };

    /// Runs against an autopilot that has these parameters: what is amiss, and what they are then.
    fn run(
        policy: Failsafes,
        family: Family,
        held: &[(&'static str, i32)],
        settable: bool,
    ) -> (Vec<String>, BTreeMap<&'static str, i32>) {
        let at = |millis: u64| BootTime::from_nanos(millis * 1_000_000);
        let mut held: BTreeMap<_, _> = held.iter().copied().collect();
        let mut check = FailsafeCheck::new(policy, family, OURS, at(0)).unwrap();
        for millis in (0..60_000).step_by(100) {
            let (said, end) = check.tick(at(millis));
            if let Some(troubles) = end {
                return (troubles, held);
            }
            let asked = match said {
                Some(Said::ParamRequestRead { name }) => name,
                Some(Said::ParamSet { name, value }) => {
                    let (own, number) = held.iter_mut().find(|one| *one.0 == name).unwrap();
                    if settable {
                        *number = decode(value, family) as i32;
                    }
                    (*own).to_owned()
                }
                _ => continue,
            };
            if let Some(number) = held.get(asked.as_str()) {
                let value = encode(*number, 6, family);
                check.hear(&Heard::ParamValue { name: asked, value });
            }
        }
        panic!("it has no end");
    }

    const OFF: &[(&str, i32)] = &[
        ("SYSID_MYGCS", 254),
        ("FS_GCS_ENABLE", 0),
        ("FENCE_ENABLE", 0),
        ("FENCE_ACTION", 1),
        ("BATT_FS_LOW_ACT", 0),
        ("RTL_ALT", 1550),
    ];

    #[test]
    fn failsafes_that_are_off_are_told_with_the_remedy() {
        let (troubles, _) = run(Failsafes::Require, Family::ArduPilot, OFF, true);
        assert_eq!(troubles.len(), 4, "{troubles:?}");
        assert_eq!(
            troubles[1],
            "FS_GCS_ENABLE (the failsafe for a lost link) is 0; set it to 1 on the autopilot, or failsafes = \"set\" here"
        );
        assert!(troubles[0].contains("SYSID_MYGCS") && troubles[0].contains("set it to 255"));
        let px4 = [
            ("NAV_DLL_ACT", 2),
            ("COM_LOW_BAT_ACT", 0),
            ("GF_ACTION", 1),
            ("RTL_RETURN_ALT", 60),
        ];
        let (troubles, _) = run(Failsafes::Require, Family::Px4, &px4, true);
        assert_eq!(troubles.len(), 3, "{troubles:?}");
        assert!(troubles[2].starts_with("RTL_RETURN_ALT (how high it returns) is 60; set it to 15"));
    }

    #[test]
    fn they_are_set_where_that_is_wished() {
        let (troubles, held) = run(Failsafes::Set, Family::ArduPilot, OFF, true);
        assert_eq!(troubles, Vec::<String>::new());
        assert_eq!(
            (
                held["SYSID_MYGCS"],
                held["FS_GCS_ENABLE"],
                held["BATT_FS_LOW_ACT"]
            ),
            (255, 1, 2)
        );
        let px4 = [
            ("NAV_DLL_ACT", 0),
            ("COM_LOW_BAT_ACT", 0),
            ("GF_ACTION", 3),
            ("RTL_RETURN_ALT", 60),
        ];
        let (troubles, held) = run(Failsafes::Set, Family::Px4, &px4, true);
        assert_eq!(
            (troubles.len(), held["NAV_DLL_ACT"], held["RTL_RETURN_ALT"]),
            (0, 2, 15)
        );
        let (troubles, _) = run(Failsafes::Set, Family::ArduPilot, OFF, false);
        assert_eq!(troubles.len(), 4, "{troubles:?}");
    }

    #[test]
    fn what_can_t_be_read_is_not_on() {
        let (troubles, _) = run(Failsafes::Require, Family::ArduPilot, &[], true);
        assert_eq!(troubles.len(), 6);
        assert!(
            troubles[0].contains("MAV_GCS_SYSID or SYSID_MYGCS"),
            "{troubles:?}"
        );
        assert!(
            FailsafeCheck::new(Failsafes::Ignore, Family::ArduPilot, OURS, BootTime::default()).is_none()
        );
    }
}
