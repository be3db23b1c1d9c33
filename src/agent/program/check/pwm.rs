//! PWM: chips, channels, and who may write their files.

use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;

use super::finding::Finding;
use crate::device::pwm::{ChipFacts, PwmError, PwmSpec, ROOT, locate, survey};

/// Where the agent's unit may be, and the drop-in without which /sys is closed to it.
const UNITS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];
const UNIT: &str = "outpost-agent.service";
const DROP_IN: &str = "outpost-agent.service.d/pwm.conf";

/// PWM as it was found.
#[derive(Debug)]
pub struct PwmFacts {
    /// No hardware is driven.
    pub simulated: bool,
    /// The configured devices, their channels, and where these are.
    pub wanted: Vec<(String, PwmSpec, Result<Place, PwmError>)>,
    /// Whether the service has its drop-in; `None`: there is no service.
    pub drop_in: Option<bool>,
}

/// Where a channel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The chip.
    pub chip: ChipFacts,
    /// What will be written first.
    pub file: PathBuf,
    /// Why this user may not write it.
    pub refusal: Option<Errno>,
}

impl PwmFacts {
    /// Looks; exports no channel.
    pub fn gather(simulated: bool, wanted: Vec<(String, PwmSpec)>) -> Self {
        PwmFacts {
            simulated,
            wanted: wanted
                .into_iter()
                .map(|(device, spec)| {
                    let place = place(Path::new(ROOT), &spec);
                    (device, spec, place)
                })
                .collect(),
            drop_in: drop_in(&UNITS.map(Path::new)),
        }
    }
}

fn place(root: &Path, spec: &PwmSpec) -> Result<Place, PwmError> {
    let chips = survey(root)?;
    let chip = locate(spec, &chips)?.clone();
    let file = chip.written_for(spec.channel);
    let refusal = rustix::fs::access(&file, Access::WRITE_OK).err();
    Ok(Place { chip, file, refusal })
}

fn drop_in(folders: &[&Path]) -> Option<bool> {
    let there = |file: &str| folders.iter().any(|folder| folder.join(file).exists());
    there(UNIT).then(|| there(DROP_IN))
}

/// What the facts mean.
pub fn judge(facts: &PwmFacts) -> Vec<Finding> {
    if facts.simulated {
        return vec![Finding::note("pwm", "simulated: no hardware is driven")];
    }
    let mut findings: Vec<Finding> = Vec::new();
    for (index, (device, spec, place)) in facts.wanted.iter().enumerate() {
        let about = format!("devices.{device}");
        let others = facts.wanted.iter().take(index);
        let place = match place {
            Ok(place) => place,
            Err(error) => {
                findings.push(Finding::error(about, error.to_string()));
                continue;
            }
        };
        let taken = others
            .filter(|(_, other, at)| {
                at.as_ref().is_ok_and(|at| at.chip == place.chip) && other.channel == spec.channel
            })
            .map(|(device, ..)| device)
            .next();
        findings.push(match (taken, place.refusal) {
            (Some(other), _) => {
                Finding::error(about, format!("{spec} is the channel of devices.{other} already"))
            }
            (None, Some(Errno::ROFS)) => {
                let path = place.file.clone();
                Finding::error(about, PwmError::ReadOnly { path }.to_string())
            }
            (None, Some(_)) => {
                let path = place.file.clone();
                Finding::error(about, PwmError::Permission { path }.to_string())
            }
            (None, None) => {
                let (chip, path) = (&place.chip, place.chip.path.display());
                let text = format!(
                    "{}/{} is channel {} of {path} ({} there), {} Hz",
                    chip.name, spec.channel, spec.channel, chip.channels, spec.frequency
                );
                Finding::ok(about, text)
            }
        });
    }
    if facts.drop_in == Some(false) {
        findings.push(
            Finding::warning("pwm", "the service's sandbox closes /sys, and so PWM chips, to the agent").remedy(format!(
                "install systemd/{DROP_IN} as /etc/systemd/system/{DROP_IN}, then systemctl daemon-reload and a restart"
            )),
        );
    }
    findings.push(
        Finding::note(
            "outputs",
            "a PWM channel goes on as it is after a crash, until outpost-agent safe has run",
        )
        .remedy("keep ExecStopPost= of the shipped unit, and wire a pull resistor towards the safe level for the time of booting"),
    );
    findings
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::finding::Level;
    use super::*;

    /// A chip with two channels.
    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let chip = root.path().join("pwmchip0");
        fs::create_dir(&chip).unwrap();
        symlink("../../../fe20c000.pwm", chip.join("device")).unwrap();
        fs::write(chip.join("npwm"), "2\n").unwrap();
        fs::write(chip.join("export"), "").unwrap();
        root
    }

    fn facts(root: &Path, channels: &[u32]) -> PwmFacts {
        let wanted = channels.iter().enumerate().map(|(index, &channel)| {
            let spec = PwmSpec::channel(channel);
            let place = place(root, &spec);
            (format!("lamp{index}"), spec, place)
        });
        PwmFacts {
            simulated: false,
            wanted: wanted.collect(),
            drop_in: None,
        }
    }

    fn texts(facts: &PwmFacts) -> Vec<(Level, String)> {
        let findings = judge(facts).into_iter();
        findings.map(|finding| (finding.level, finding.text)).collect()
    }

    #[test]
    fn a_channel_is_told_with_its_chip_and_what_becomes_of_it() {
        let root = root();
        let told = texts(&facts(root.path(), &[1]));
        let path = root.path().join("pwmchip0");
        let wanted = format!(
            "fe20c000.pwm/1 is channel 1 of {} (2 there), 1000 Hz",
            path.display()
        );
        assert_eq!(told[0], (Level::Ok, wanted));
        assert_eq!(told[1].0, Level::Note);
        assert!(told[1].1.contains("until outpost-agent safe has run"), "{told:?}");
        assert!(!path.join("pwm1").exists(), "nothing was exported");
    }

    #[test]
    fn what_is_missing_or_twice_is_an_error() {
        let root = root();
        let told = texts(&facts(root.path(), &[2, 0, 0]));
        assert!(
            told[0].0 == Level::Error && told[0].1.contains("has no channel 2"),
            "{told:?}"
        );
        assert_eq!(told[1].0, Level::Ok);
        assert_eq!(
            told[2],
            (
                Level::Error,
                "pwm/0 is the channel of devices.lamp1 already".to_owned()
            )
        );
        let told = texts(&facts(Path::new("/nowhere/at/all"), &[0]));
        assert!(
            told[0].0 == Level::Error && told[0].1.contains("dtoverlay=pwm"),
            "{told:?}"
        );
    }

    #[test]
    fn who_may_not_write_is_told_why() {
        let root = root();
        let mut facts = facts(root.path(), &[0]);
        for (errno, part) in [
            (Errno::ACCESS, "70-outpost-gpio.rules"),
            (Errno::ROFS, "pwm.conf"),
        ] {
            facts.wanted[0].2.as_mut().unwrap().refusal = Some(errno);
            let told = texts(&facts);
            assert!(told[0].0 == Level::Error && told[0].1.contains(part), "{told:?}");
        }
    }

    #[test]
    fn a_service_without_the_drop_in_is_warned_of() {
        let units = tempfile::tempdir().unwrap();
        assert_eq!(drop_in(&[units.path()]), None);
        fs::write(units.path().join(UNIT), "").unwrap();
        assert_eq!(drop_in(&[units.path()]), Some(false));
        let root = root();
        let mut facts = facts(root.path(), &[0]);
        facts.drop_in = Some(false);
        let findings = judge(&facts);
        let warned = findings.iter().find(|finding| finding.level == Level::Warning);
        assert!(warned.unwrap().remedy.as_ref().unwrap().contains(DROP_IN));
        fs::create_dir(units.path().join("outpost-agent.service.d")).unwrap();
        fs::write(units.path().join(DROP_IN), "").unwrap();
        assert_eq!(drop_in(&[units.path()]), Some(true));
        facts.drop_in = Some(true);
        assert!(
            judge(&facts)
                .iter()
                .all(|finding| finding.level != Level::Warning)
        );
        facts.simulated = true;
        assert_eq!(
            texts(&facts),
            [(Level::Note, "simulated: no hardware is driven".to_owned())]
        );
    }
}
