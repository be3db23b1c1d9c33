//! Arming, and starting the mission: the two commands that can hurt somebody. Neither is ever said without the server having
//! confirmed, right before, that the process is still ours; so neither is repeated as other commands are. A frame that is
//! lost costs another confirmation.

use std::time::Duration;

use super::super::wire::number::{
    CMD_COMPONENT_ARM_DISARM, CMD_MISSION_START, RESULT_ACCEPTED, RESULT_IN_PROGRESS,
    RESULT_TEMPORARILY_REJECTED, RESULT_UNSUPPORTED,
};
use super::super::wire::{Heard, Node};
use super::air::Air;
use super::commands::{Answer, acknowledged};
use super::ground::waiting_mode;
use super::modes::Mode;
use super::preflight::{self, Standing};
use super::progress::Weight;
use super::vehicle::Vehicle;
use super::{Confirmed, End, Flight, LOST_IN_AIR, RecordPhase, Stage};
use crate::clock::BootTime;

/// How long writing a record may take.
const WRITING: Duration = Duration::from_secs(10);
/// How long the server's answer may take.
const SERVER: Duration = Duration::from_secs(10);
/// Between two questions to a server that can't tell.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How often a server that can't tell is asked before arming.
const ASKED: u8 = 5;
/// How long arming is tried: ArduPilot wants 15 to 30 s for its position estimate after the mode was set.
const ARMING: Duration = Duration::from_secs(45);
/// How long the armed bit, or a refusal, may take.
const ARMED_SHOWS: Duration = Duration::from_secs(4);
/// Between two tries.
const AGAIN: Duration = Duration::from_secs(3);
/// It would disarm by itself after 10 s on the ground. By then the start was obeyed, or it is disarmed.
const STARTING: Duration = Duration::from_secs(8);
/// How long the mode may take to show before the start is said again.
const START_SHOWS: Duration = Duration::from_secs(2);
/// How often the start is said at most.
const START_SENDINGS: u8 = 3;

/// A question to the server.
#[derive(Debug)]
enum Asking {
    /// Not before then.
    Later(BootTime),
    /// Asked then.
    Since(BootTime),
}

/// What became of a question.
enum Asked {
    /// Wait.
    Open(Asking),
    /// Act now.
    Go,
    /// The answer was no, or none came in time.
    No(String),
}

/// Arms.
#[derive(Debug)]
pub(super) struct Arming {
    began: BootTime,
    step: ArmStep,
    unclear: u8,
    /// Why it did not arm the last time.
    reason: String,
}

#[derive(Debug)]
enum ArmStep {
    Recording,
    Asking(Asking),
    Sent {
        at: BootTime,
        result: Option<u8>,
    },
    /// Until the next try.
    Waiting(BootTime),
}

/// Starts the mission.
#[derive(Debug)]
pub(super) struct Starting {
    began: BootTime,
    step: StartStep,
    sendings: u8,
    unclear: u8,
}

#[derive(Debug)]
enum StartStep {
    Recording,
    Asking(Asking),
    Sent { at: BootTime, result: Option<u8> },
}

impl Arming {
    pub(super) fn new(now: BootTime) -> Self {
        Arming {
            began: now,
            step: ArmStep::Recording,
            unclear: 0,
            reason: String::new(),
        }
    }

    pub(super) fn hear(&mut self, heard: &Heard, us: Node, now: BootTime) {
        if let ArmStep::Sent { at, result } = &mut self.step {
            match acknowledged(heard, CMD_COMPONENT_ARM_DISARM, us) {
                // It lengthens.
                Some(RESULT_IN_PROGRESS) => *at = now,
                Some(other) => *result = Some(other),
                None => {}
            }
        }
    }
}

impl Starting {
    fn new(now: BootTime) -> Self {
        Starting {
            began: now,
            step: StartStep::Recording,
            sendings: 0,
            unclear: 0,
        }
    }

    pub(super) fn hear(&mut self, heard: &Heard, us: Node) {
        if let StartStep::Sent { result, .. } = &mut self.step {
            match acknowledged(heard, CMD_MISSION_START, us) {
                Some(RESULT_IN_PROGRESS) | None => {}
                other => *result = other,
            }
        }
    }
}

/// Whether it is heard to stand on the ground, in the mode that it was put into.
fn waits(vehicle: &Vehicle, now: BootTime) -> bool {
    vehicle.alive(now) && !vehicle.in_air(now) && vehicle.mode() == vehicle.family().map(waiting_mode)
}

impl Flight {
    /// Asks, and judges the answer. `patience` questions may stay open.
    fn ask(&mut self, asking: Asking, unclear: &mut u8, patience: u8, now: BootTime) -> Asked {
        let since = match asking {
            Asking::Later(at) if now < at => return Asked::Open(Asking::Later(at)),
            Asking::Later(_) => {
                self.ask_server();
                return Asked::Open(Asking::Since(now));
            }
            Asking::Since(since) => since,
        };
        match self.confirmed.take() {
            Some(Confirmed::Until(until)) if now < until => return Asked::Go,
            Some(Confirmed::NotOurs(why)) => {
                return Asked::No(format!("the process is not this agent's any more: {why}"));
            }
            None if now.saturating_since(since) < SERVER => return Asked::Open(Asking::Since(since)),
            // Too old, unclear, or none.
            _ => {}
        }
        *unclear += 1;
        if *unclear >= patience {
            return Asked::No(
                "the server could not be asked whether the process is still to be done".to_owned(),
            );
        }
        Asked::Open(Asking::Later(now + ASK_AGAIN))
    }

    /// Why it is too late, if it is.
    fn too_late(&self, now: BootTime) -> Option<String> {
        let check = preflight::time(self.estimate.as_ref()?, self.end, now);
        (check.standing != Standing::Passed).then_some(check.text)
    }

    pub(super) fn arm(&mut self, mut arming: Arming, vehicle: &Vehicle, now: BootTime) -> Stage {
        // Also when that shows late; by nobody but us, since it was not armed before.
        if self.arm_sent.is_some() && vehicle.armed() {
            self.tell(Weight::Phase, "Armed.".to_owned(), now);
            self.record(RecordPhase::Started);
            return Stage::Starting(Starting::new(now));
        }
        arming.step = match arming.step {
            ArmStep::Recording if self.recorded => ArmStep::Asking(Asking::Later(now)),
            ArmStep::Recording if now.saturating_since(arming.began) >= WRITING => {
                return self.stand_down("the flight could not be recorded before arming".to_owned(), now);
            }
            ArmStep::Recording => ArmStep::Recording,
            ArmStep::Asking(asking) => match self.ask(asking, &mut arming.unclear, ASKED, now) {
                Asked::Open(asking) => ArmStep::Asking(asking),
                Asked::No(why) => return self.stand_down(why, now),
                Asked::Go => {
                    if let Some(why) = self.too_late(now) {
                        return self.stand_down(why, now);
                    }
                    if waits(vehicle, now) {
                        self.arm_sent = Some(now);
                        self.send_command(CMD_COMPONENT_ARM_DISARM, 0, &[1.0]);
                        ArmStep::Sent {
                            at: now,
                            result: None,
                        }
                    } else {
                        // Whether that lasts is judged meanwhile.
                        ArmStep::Waiting(now + AGAIN)
                    }
                }
            },
            ArmStep::Sent { at, result } => match self.judge_arming(at, result, vehicle, now) {
                None => ArmStep::Sent { at, result },
                Some(reason) => {
                    let last =
                        result == Some(RESULT_UNSUPPORTED) || now.saturating_since(arming.began) >= ARMING;
                    arming.reason = reason;
                    if last {
                        return self.stand_down(format!("it could not be armed: {}", arming.reason), now);
                    }
                    ArmStep::Waiting(now + AGAIN)
                }
            },
            ArmStep::Waiting(until) if now >= until => {
                arming.unclear = 0;
                ArmStep::Asking(Asking::Later(now))
            }
            ArmStep::Waiting(until) => ArmStep::Waiting(until),
        };
        Stage::Arming(arming)
    }

    /// Why it is not armed, once that is clear.
    fn judge_arming(
        &self,
        at: BootTime,
        result: Option<u8>,
        vehicle: &Vehicle,
        now: BootTime,
    ) -> Option<String> {
        let waited = now.saturating_since(at);
        let answer = match result {
            // Its words may follow its answer.
            Some(RESULT_ACCEPTED) | None if waited < ARMED_SHOWS => return None,
            Some(_) if waited < Duration::from_millis(500) => return None,
            Some(RESULT_ACCEPTED) => "it accepted, but is not armed".to_owned(),
            Some(other) => Answer::Refused(other).text(),
            None => Answer::Silent.text(),
        };
        let reasons = vehicle.reasons(at);
        Some(if reasons.is_empty() {
            answer
        } else {
            format!("{answer}: {reasons}")
        })
    }

    pub(super) fn start(&mut self, mut starting: Starting, vehicle: &Vehicle, now: BootTime) -> Stage {
        // Its own failsafe may have been faster than the next heartbeat.
        let obeyed = matches!(
            vehicle.mode(),
            Some(Mode::Mission | Mode::Takeoff | Mode::Return | Mode::Land)
        );
        if obeyed && vehicle.armed() && starting.sendings > 0 {
            self.tell(Weight::Phase, "The mission was started.".to_owned(), now);
            return Stage::Air(Air::en_route(now));
        }
        if !vehicle.alive(now) {
            return self.start_unheard(starting, vehicle, now);
        }
        if let Some(end) = self.start_disturbed(&starting, vehicle, now) {
            return end;
        }
        let late = now.saturating_since(starting.began) >= STARTING;
        starting.step = match starting.step {
            StartStep::Recording if self.recorded => StartStep::Asking(Asking::Later(now)),
            StartStep::Recording if late => {
                return self.stand_down(
                    "the flight could not be recorded before its start".to_owned(),
                    now,
                );
            }
            StartStep::Recording => StartStep::Recording,
            StartStep::Asking(_) if late => {
                let why = if starting.sendings == 0 {
                    "the server did not confirm in time that the process is still to be done"
                } else {
                    "it did not obey the start"
                };
                return self.stand_down(why.to_owned(), now);
            }
            StartStep::Asking(asking) => match self.ask(asking, &mut starting.unclear, 2, now) {
                Asked::Open(asking) => StartStep::Asking(asking),
                Asked::No(why) => return self.stand_down(why, now),
                Asked::Go => {
                    if let Some(why) = self.too_late(now) {
                        return self.stand_down(why, now);
                    }
                    // Only to a vehicle that is heard to stand there as it was left.
                    if !vehicle.armed() || !waits(vehicle, now) {
                        return self
                            .stand_down("it was not ready any more when it was to start".to_owned(), now);
                    }
                    if self.start_sent.is_none() {
                        self.log.begin(vehicle, now);
                        self.start_sent = Some(now);
                    }
                    self.send_command(CMD_MISSION_START, starting.sendings, &[]);
                    starting.sendings += 1;
                    StartStep::Sent {
                        at: now,
                        result: None,
                    }
                }
            },
            StartStep::Sent { at, result } => {
                let waited = now.saturating_since(at);
                match result {
                    Some(RESULT_TEMPORARILY_REJECTED) | None
                        if waited >= START_SHOWS && starting.sendings < START_SENDINGS && !late =>
                    {
                        StartStep::Asking(Asking::Later(now))
                    }
                    Some(RESULT_ACCEPTED | RESULT_TEMPORARILY_REJECTED) | None if !late => {
                        StartStep::Sent { at, result }
                    }
                    Some(RESULT_ACCEPTED) => {
                        let why = format!(
                            "it accepted the start, but its mode did not become that of a mission; it stayed in {}",
                            vehicle.mode_name()
                        );
                        return self.stand_down(why, now);
                    }
                    Some(other) => {
                        let reasons = vehicle.reasons(at);
                        let answer = Answer::Refused(other).text();
                        return self.stand_down(format!("the start failed: {answer} {reasons}"), now);
                    }
                    None => return self.stand_down("it did not obey the start".to_owned(), now),
                }
            }
        };
        Stage::Starting(starting)
    }

    /// Not heard: whether it was started is not known, and nothing is said until that is.
    fn start_unheard(&mut self, starting: Starting, vehicle: &Vehicle, now: BootTime) -> Stage {
        if self.start_sent.is_none() {
            return self.stand_down("it was not heard any more when it was to start".to_owned(), now);
        }
        if vehicle.silent_for(now) >= LOST_IN_AIR {
            return self.hands_off("it was not heard again after its start was commanded".to_owned());
        }
        Stage::Starting(starting)
    }

    /// What ends the start from outside.
    fn start_disturbed(&mut self, starting: &Starting, vehicle: &Vehicle, now: BootTime) -> Option<Stage> {
        let (armed, mode) = vehicle.settled()?;
        if !armed {
            let reasons = vehicle.reasons(starting.began);
            let space = if reasons.is_empty() { "" } else { ": " };
            let unheard = self
                .start_sent
                .is_some_and(|at| now.saturating_since(at) >= STARTING * 2);
            if unheard {
                let why = "it was not heard after its start was commanded, and is disarmed now; whether it flew is not known";
                let summary = self.log.summary();
                let why = why.to_owned();
                return Some(self.tidy_up(End::Returned { why, summary }, now));
            }
            let why = format!("it disarmed by itself before its start was obeyed{space}{reasons}");
            return Some(self.stand_down(why, now));
        }
        if Some(mode) != vehicle.family().map(waiting_mode) {
            let why = format!("somebody else changed its mode to {}", vehicle.mode_name());
            return Some(self.stand_down(why, now));
        }
        None
    }
}
