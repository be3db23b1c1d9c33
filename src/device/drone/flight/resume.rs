//! After a crash of the agent: whose flight is this? What is armed on the ground by us is disarmed. What is in the air is
//! brought home only if record, mission and mode all say that it is ours; otherwise hands off.

use std::time::Duration;

use super::super::wire::{Heard, ListKind};
use super::air::{Air, Goal};
use super::modes::{Family, Mode};
use super::readback::{ReadBack, fingerprint};
use super::vehicle::Vehicle;
use super::{End, Flight, Record, RecordPhase, Stage};
use crate::clock::BootTime;

/// How long it is waited for.
const HEARD: Duration = Duration::from_secs(120);
/// How long it may take until it says where it is, once it is heard.
const TOLD: Duration = Duration::from_secs(10);

/// Finds out.
#[derive(Debug)]
pub(super) struct Resuming {
    record: Record,
    /// Since when it is heard.
    heard: Option<BootTime>,
    read: Option<ReadBack>,
}

impl Resuming {
    pub(super) fn new(record: Record) -> Self {
        Resuming {
            record,
            heard: None,
            read: None,
        }
    }

    pub(super) fn hear(&mut self, heard: &Heard, now: BootTime) {
        if let Some(read) = &mut self.read {
            read.hear(heard, now);
        }
    }
}

impl Flight {
    pub(super) fn resume_step(&mut self, mut resuming: Resuming, vehicle: &Vehicle, now: BootTime) -> Stage {
        let settled = vehicle.alive(now).then(|| vehicle.settled()).flatten();
        let Some((armed, mode)) = settled else {
            if now.saturating_since(self.since) < HEARD {
                return Stage::Resuming(resuming);
            }
            let why = format!(
                "the agent ended during a flight and the vehicle was not heard for {} s afterwards",
                HEARD.as_secs()
            );
            return self.hands_off(why);
        };
        if !armed {
            return self.found_disarmed(resuming.record.phase, now);
        }
        let heard = *resuming.heard.get_or_insert(now);
        let told = vehicle.landed(now).is_some() || vehicle.fix(now).is_some();
        if !told && now.saturating_since(heard) < TOLD {
            return Stage::Resuming(resuming);
        }
        let name = vehicle.mode_name();
        if matches!(mode, Mode::Piloted(_) | Mode::Other(_)) {
            return self.hands_off(format!(
                "after the agent's end somebody else steers it: mode {name}"
            ));
        }
        if !vehicle.in_air(now) {
            if resuming.record.phase != RecordPhase::Armed {
                self.start_sent = Some(now);
            }
            return self.stand_down("the agent ended while the vehicle was armed".to_owned(), now);
        }
        if resuming.record.phase == RecordPhase::Armed || mode == Mode::Guided {
            let why = format!("it flies, but it was not started from here: mode {name}");
            return self.hands_off(why);
        }
        let mut read = resuming
            .read
            .take()
            .unwrap_or_else(|| ReadBack::new(ListKind::Mission, now));
        let (said, end) = read.tick(now);
        self.send_some(said);
        match end {
            None => {
                resuming.read = Some(read);
                Stage::Resuming(resuming)
            }
            Some(Err(trouble)) => {
                let trouble = trouble.text(ListKind::Mission);
                self.hands_off(format!(
                    "whether the flight is ours could not be found out: {trouble}"
                ))
            }
            Some(Ok(())) => {
                let family = vehicle.family().unwrap_or(Family::Other(0));
                if fingerprint(read.items(), family) != resuming.record.mission {
                    return self.hands_off("it flies another mission than the one from here".to_owned());
                }
                self.start_sent = Some(now);
                self.log.begin(vehicle, now);
                let why = "the agent ended while it flew".to_owned();
                Stage::Air(Air::home(Goal::Return, why, now))
            }
        }
    }

    fn found_disarmed(&mut self, phase: RecordPhase, now: BootTime) -> Stage {
        let end = match phase {
            RecordPhase::Armed => End::NotFlown {
                why: "the agent ended before the start; the vehicle is disarmed".to_owned(),
            },
            RecordPhase::Started | RecordPhase::Returning => End::Returned {
                why: "the agent ended during the flight; the vehicle is disarmed".to_owned(),
                summary: self.log.summary(),
            },
        };
        self.tidy_up(end, now)
    }
}
