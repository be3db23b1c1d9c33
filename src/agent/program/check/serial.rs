//! Serial ports: there, ours to use, and free.

use std::path::PathBuf;

use super::access::{FileFacts, Holder, Rule, User, holders, judge_access};
use super::finding::Finding;
use crate::device::DeviceSettings;
use crate::device::serial::{BY_ID, PortBackend, PortSettings, ports_by_id};

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
    pub fn gather(device: &str, port: &PortSettings, service: Option<u32>) -> Self {
        let simulated = port.backend == PortBackend::Simulated;
        PortFacts {
            device: device.to_owned(),
            simulated,
            path: port.path.clone(),
            file: FileFacts::of(&port.path),
            holders: if simulated {
                Vec::new()
            } else {
                holders(&port.path)
            },
            by_id: ports_by_id(),
            service,
        }
    }
}

/// The port of a device that has one.
pub fn port_of(settings: &DeviceSettings) -> Option<&PortSettings> {
    match settings {
        DeviceSettings::Serial(serial) => Some(&serial.port),
        DeviceSettings::Modbus(modbus) => Some(&modbus.port),
        _ => None,
    }
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
