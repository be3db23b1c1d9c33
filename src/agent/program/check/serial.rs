//! Serial ports: there, ours to use, and free.

use std::path::{Path, PathBuf};

use super::access::{FileFacts, Holder, Rule, User, holders, judge_access};
use super::finding::Finding;
use crate::device::DeviceSettings;
use crate::device::drone::DroneSettings;
use crate::device::drone::link::{Address, SigningKey};
use crate::device::serial::{BY_ID, PortBackend, PortSettings, ports_by_id};

/// A port as a device's settings name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port<'a> {
    path: &'a Path,
    simulated: bool,
}

impl<'a> From<&'a PortSettings> for Port<'a> {
    fn from(port: &'a PortSettings) -> Self {
        Port {
            path: &port.path,
            simulated: port.backend == PortBackend::Simulated,
        }
    }
}

/// The port of one device as it was found.
#[derive(Debug)]
pub struct PortFacts {
    /// The device.
    pub device: String,
    /// No port of this machine.
    pub simulated: bool,
    /// Where.
    pub path: PathBuf,
    /// `None`: it is not there.
    pub file: Option<FileFacts>,
    /// Who has it open, as far as that can be seen.
    pub holders: Vec<Holder>,
    /// The stable names there are.
    pub by_id: Vec<String>,
    /// The agent that is at work.
    pub service: Option<u32>,
}

impl PortFacts {
    /// Looks; opens nothing, since opening alone resets some instruments.
    pub fn gather(device: &str, Port { path, simulated }: Port<'_>, service: Option<u32>) -> Self {
        PortFacts {
            device: device.to_owned(),
            simulated,
            path: path.to_owned(),
            file: FileFacts::of(path),
            holders: if simulated { Vec::new() } else { holders(path) },
            by_id: ports_by_id(),
            service,
        }
    }
}

/// The serial port of a device that has one.
pub fn port_of(settings: &DeviceSettings) -> Option<Port<'_>> {
    match settings {
        DeviceSettings::Serial(serial) => Some((&serial.port).into()),
        DeviceSettings::Modbus(modbus) => Some((&modbus.port).into()),
        DeviceSettings::Drone(drone) => match &drone.address {
            Address::Serial { path, .. } => Some(Port {
                path,
                simulated: false,
            }),
            _ => None,
        },
        _ => None,
    }
}

/// What there is to say about a drone besides its serial port. Nothing is connected to: it may be in the air.
pub fn judge_drone(device: &str, drone: &DroneSettings) -> Vec<Finding> {
    let about = format!("devices.{device}");
    let mut findings = Vec::new();
    if !matches!(drone.address, Address::Serial { .. }) {
        let text = format!("the autopilot at {} is not tried", drone.address);
        findings.push(Finding::note(about.as_str(), text));
    }
    match drone.signing_key.as_deref().map(SigningKey::load) {
        None => {
            let text = "nothing is signed: who reaches the wire can fly it";
            findings.push(Finding::note(about, text).remedy("signing_key: docs/drone.md"));
        }
        Some(Ok(_)) => findings.push(Finding::ok(about, "signing_key can be used")),
        Some(Err(error)) => findings.push(Finding::error(about, error.to_string())),
    }
    findings
}

/// What the facts mean.
pub fn judge(facts: &PortFacts, user: &User) -> Finding {
    let about = format!("devices.{}", facts.device);
    let path = facts.path.display();
    if facts.simulated {
        return Finding::note(about, "simulated: no port is used");
    }
    let Some(file) = &facts.file else {
        let there = match facts.by_id.as_slice() {
            [] => format!("there is none in {BY_ID}"),
            names => format!("in {BY_ID} there are: {}", names.join(", ")),
        };
        // An instrument that is plugged in later is found then.
        return Finding::warning(about, format!("{path} is not there"))
            .remedy(format!("plug it in, or correct `port`: {there}"));
    };
    if !file.is_device {
        return Finding::error(about, format!("{path} is not a serial port")).remedy(format!(
            "correct `port`; `ls {BY_ID}` lists those with stable names"
        ));
    }
    if let Some(finding) = judge_access(&about, user, file, Rule::Serial) {
        return finding;
    }
    match facts.holders.first() {
        None => Finding::ok(about, format!("{path} can be used")),
        Some(holder) if Some(holder.pid) == facts.service => {
            Finding::ok(about, format!("{path}, held by the agent that is at work"))
        }
        Some(holder) => Finding::error(
            about,
            format!("{path} is in use by {} (process {})", holder.name, holder.pid),
        )
        .remedy(format!(
            "stop it; `systemctl status {}` tells which service it belongs to",
            holder.pid
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::finding::Level;
    use super::*;

    fn facts() -> PortFacts {
        PortFacts {
            device: "scale".to_owned(),
            simulated: false,
            path: "/dev/serial/by-id/usb-ACME".into(),
            file: Some(FileFacts {
                path: "/dev/serial/by-id/usb-ACME".into(),
                gid: 20,
                group: "dialout".into(),
                group_may: true,
                is_device: true,
                accessible: true,
            }),
            holders: Vec::new(),
            by_id: vec!["usb-Other".to_owned()],
            service: None,
        }
    }

    fn pi() -> User {
        User {
            uid: 1000,
            name: "pi".to_owned(),
            groups: BTreeSet::new(),
        }
    }

    #[test]
    fn a_port_is_free_or_its_holder_is_named() {
        assert_eq!(judge(&facts(), &pi()).level, Level::Ok);
        let held = |service| PortFacts {
            holders: vec![Holder {
                pid: 9,
                name: "ModemManager".into(),
            }],
            service,
            ..facts()
        };
        let finding = judge(&held(None), &pi());
        assert_eq!(finding.level, Level::Error);
        assert!(finding.text.contains("ModemManager (process 9)"), "{finding:?}");
        assert_eq!(judge(&held(Some(9)), &pi()).level, Level::Ok);
    }

    #[test]
    fn a_drone_has_a_serial_port_or_another_way_and_a_key_that_can_be_used_or_none() {
        let drone = |toml: &str| {
            let source = config::File::from_str(toml, config::FileFormat::Toml);
            let file = config::Config::builder().add_source(source).build().unwrap();
            match file.try_deserialize().unwrap() {
                DeviceSettings::Drone(drone) => *drone,
                other => panic!("{other:?}"),
            }
        };
        let said = |drone: &DroneSettings| judge_drone("dock", drone);
        let serial = drone("kind = \"drone\"\nport = \"/dev/ttyACM0\"");
        let levels: Vec<Level> = said(&serial).iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Note]);
        let settings = DeviceSettings::Drone(Box::new(serial));
        assert_eq!(port_of(&settings).unwrap().path, Path::new("/dev/ttyACM0"));

        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("mavlink.key");
        let text = format!(
            "kind = \"drone\"\nport = \"tcp:127.0.0.1:5760\"\nsigning_key = {:?}",
            key.display().to_string()
        );
        let network = drone(&text);
        let findings = said(&network);
        assert!(
            findings[0].text.contains("tcp:127.0.0.1:5760 is not tried"),
            "{findings:?}"
        );
        assert_eq!(findings[1].level, Level::Error);
        assert!(findings[1].text.contains("openssl rand"), "{findings:?}");
        crate::keyfile::store(
            &key,
            &crate::protocol::PrivateKey::from_hex(&"5a".repeat(32)).unwrap(),
        )
        .unwrap();
        assert_eq!(said(&network)[1].level, Level::Ok);
        assert_eq!(port_of(&DeviceSettings::Drone(Box::new(network))), None);
    }

    #[test]
    fn a_port_that_is_missing_closed_or_none_is_told_apart() {
        let missing = judge(
            &PortFacts {
                file: None,
                ..facts()
            },
            &pi(),
        );
        assert_eq!(missing.level, Level::Warning);
        assert!(
            missing.remedy.as_ref().unwrap().contains("usb-Other"),
            "{missing:?}"
        );
        let with = |change: fn(&mut FileFacts)| {
            let mut facts = facts();
            change(facts.file.as_mut().unwrap());
            judge(&facts, &pi())
        };
        let closed = with(|file| file.accessible = false);
        assert!(
            closed.remedy.as_ref().unwrap().contains("usermod -aG dialout pi"),
            "{closed:?}"
        );
        assert!(
            with(|file| file.is_device = false)
                .text
                .contains("not a serial port")
        );
        let simulated = judge(
            &PortFacts {
                simulated: true,
                ..facts()
            },
            &pi(),
        );
        assert_eq!(simulated.level, Level::Note);
    }
}
