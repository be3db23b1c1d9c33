//! What must hold between outputs: levels that the configuration itself asks for must not break an interlock.

use std::collections::BTreeMap;

use super::settings::{OnLostServer, OnStart, OnStop, OutputSettings};
use crate::device::DeviceSettings;
use crate::device::gpio::Level;

/// Outputs that cannot be together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BadOutputs {
    /// The device whose settings to change, one of them.
    pub device: String,
    /// The key within its table.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub problem: String,
}

/// What an output may be at a moment for which the configuration names a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    BeOff,
    /// On if it was on.
    Stay,
    BeOn,
}

impl From<Level> for May {
    fn from(level: Level) -> May {
        match level {
            Level::Off => May::BeOff,
            Level::On => May::BeOn,
        }
    }
}

/// A moment at which all outputs of a group get levels: its key, and what an output then is.
type Moment = (&'static str, fn(&OutputSettings) -> May);

const MOMENTS: [Moment; 4] = [
    ("safe", |output| output.safe.into()),
    ("on_start", |output| match output.on_start {
        OnStart::Safe => output.safe.into(),
        OnStart::On => May::BeOn,
        OnStart::Off => May::BeOff,
        OnStart::Last => May::Stay,
    }),
    ("on_stop", |output| match output.on_stop {
        OnStop::Safe => output.safe.into(),
        OnStop::On => May::BeOn,
        OnStop::Off => May::BeOff,
        OnStop::Hold => May::Stay,
    }),
    ("on_lost_server", |output| match output.on_lost_server {
        OnLostServer::Safe => output.safe.into(),
        OnLostServer::On => May::BeOn,
        OnLostServer::Off => May::BeOff,
        OnLostServer::Hold => May::Stay,
    }),
];

/// Whether the outputs among `devices` can be together: of an interlock group at most one may be on, also when all go
/// safe, start, stop or lose the server. One that goes on then must be the only one that may be on.
///
/// # Errors
/// The first group that breaks this, or that has a single output.
pub fn check_outputs<'a>(
    devices: impl IntoIterator<Item = (&'a String, &'a DeviceSettings)>,
) -> Result<(), BadOutputs> {
    let mut groups: BTreeMap<&str, Vec<(&str, &OutputSettings)>> = BTreeMap::new();
    for (name, device) in devices {
        if let Some(output) = device.output()
            && let Some(group) = &output.interlock
        {
            groups.entry(group).or_default().push((name, output));
        }
    }
    for (group, outputs) in &groups {
        if let [(device, _)] = outputs.as_slice() {
            return Err(BadOutputs {
                device: (*device).to_owned(),
                key: "interlock",
                problem: format!(
                    "{group:?} has this output alone: write the same name at the others, or leave the key out"
                ),
            });
        }
        for (key, level) in MOMENTS {
            check_moment(group, outputs, key, level)?;
        }
    }
    Ok(())
}

fn check_moment(
    group: &str,
    outputs: &[(&str, &OutputSettings)],
    key: &'static str,
    level: fn(&OutputSettings) -> May,
) -> Result<(), BadOutputs> {
    let Some((first, _)) = outputs.iter().find(|(_, output)| level(output) == May::BeOn) else {
        return Ok(());
    };
    let other = outputs
        .iter()
        .find(|(name, output)| name != first && level(output) != May::BeOff);
    let Some((other, settings)) = other else {
        return Ok(());
    };
    let how = match level(settings) {
        May::BeOn => "goes on, too",
        _ => "may be on then",
    };
    Err(BadOutputs {
        device: (*first).to_owned(),
        key,
        problem: format!(
            "of interlock {group:?} at most one may be on, but {first} goes on and {other} {how}: \
             write another {key} for one of them"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpio::LineSpec;
    use crate::device::lamp::LampSettings;

    fn check(
        left: impl FnOnce(&mut OutputSettings),
        right: impl FnOnce(&mut OutputSettings),
    ) -> Option<String> {
        let output = |line: &str, change: &dyn Fn(&mut OutputSettings)| {
            let mut settings = LampSettings::on_line(LineSpec::named(line));
            settings.output.interlock = Some("bridge".into());
            change(&mut settings.output);
            settings
        };
        let (mut one, mut two) = (output("GPIO1", &|_| {}), output("GPIO2", &|_| {}));
        left(&mut one.output);
        right(&mut two.output);
        let devices = BTreeMap::from([
            ("left".to_owned(), DeviceSettings::Lamp(one)),
            ("right".to_owned(), DeviceSettings::Lamp(two)),
        ]);
        let problem = check_outputs(&devices).err()?;
        Some(format!("{}.{}: {problem}", problem.device, problem.key))
    }

    #[test]
    fn one_that_goes_on_must_be_the_only_one_that_may_be_on() {
        type Change = fn(&mut OutputSettings);
        let nothing: Change = |_| {};
        for (name, left, right, refused) in [
            ("all off", nothing, nothing, None),
            (
                "one safe on",
                |o| o.safe = Level::On,
                |o| o.on_lost_server = OnLostServer::Off,
                None,
            ),
            (
                "both safe on",
                |o| o.safe = Level::On,
                |o| o.safe = Level::On,
                Some("left.safe"),
            ),
            (
                "both start on",
                |o| o.on_start = OnStart::On,
                |o| o.on_start = OnStart::On,
                Some("left.on_start"),
            ),
            (
                "start on, safe on",
                |o| o.on_start = OnStart::On,
                |o| o.safe = Level::On,
                Some("left.on_start"),
            ),
            (
                "start on, last",
                |o| o.on_start = OnStart::Last,
                |o| o.on_start = OnStart::On,
                Some("right.on_start"),
            ),
            (
                "both last",
                |o| o.on_start = OnStart::Last,
                |o| o.on_start = OnStart::Last,
                None,
            ),
            (
                "stop on, hold",
                |o| o.on_stop = OnStop::On,
                |o| o.on_stop = OnStop::Hold,
                Some("left.on_stop"),
            ),
            (
                "both hold",
                |o| o.on_stop = OnStop::Hold,
                |o| o.on_stop = OnStop::Hold,
                None,
            ),
            (
                "lost on, hold",
                |o| o.on_lost_server = OnLostServer::On,
                nothing,
                Some("left.on_lost_server"),
            ),
            (
                "lost on, off",
                |o| o.on_lost_server = OnLostServer::On,
                |o| o.on_lost_server = OnLostServer::Off,
                None,
            ),
        ] as [(&str, Change, Change, Option<&str>); 11]
        {
            let found = check(left, right);
            match (refused, &found) {
                (None, None) => {}
                (Some(key), Some(text)) => {
                    assert!(text.starts_with(key), "{name}: {text}");
                    assert!(
                        text.contains("interlock \"bridge\" at most one may be on"),
                        "{text}"
                    );
                }
                _ => panic!("{name}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_group_of_one_is_a_misspelt_name() {
        let text = check(|o| o.interlock = Some("brige".into()), |_| {}).unwrap();
        assert!(
            text.starts_with("right.interlock: \"bridge\" has this output alone"),
            "{text}"
        );
        assert_eq!(check(|o| o.interlock = None, |o| o.interlock = None), None);
    }
}
