//! Before arming: connect, failsafes, mode, checks, fence and mission.

use std::time::Duration;

use super::super::plan::fence_items;
use super::super::wire::number::{CMD_RUN_PREARM_CHECKS, RESULT_UNSUPPORTED};
use super::super::wire::{Heard, ListKind, Node};
use super::commands::{Answer, Command};
use super::failsafes::{FailsafeCheck, Ours};
use super::modes::{Family, Mode};
use super::preflight::{self, Standing};
use super::progress::Weight;
use super::readback::{ReadBack, compare, fingerprint};
use super::upload::Upload;
use super::vehicle::Vehicle;
use super::{Arming, End, Flight, LOST_ON_GROUND, Stage};
use crate::clock::BootTime;

/// How long a mode may be refused, and checks may fail, before that is final: a GPS needs its time, and ArduPilot its
/// position estimate.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);
/// How long a mode may take to show after it was accepted.
const MODE_SHOWS: Duration = Duration::from_secs(3);
/// Between two tries.
const AGAIN: Duration = Duration::from_secs(3);
/// What the autopilot measured before it was in its mode says nothing; its next report is so far away.
const FRESH: Duration = Duration::from_millis(1500);
/// What fails is told no later than this, although the autopilot said nothing of its own checks.
const ALL_TOLD: Duration = Duration::from_secs(5);
/// It is asked so often to look again and to say in words what is amiss.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The mode in which it is armed: one in which it would stay where it is.
pub(super) fn waiting_mode(family: Family) -> Mode {
    match family {
        Family::Px4 => Mode::Hold,
        _ => Mode::Guided,
    }
}

/// Puts it into [`waiting_mode`].
#[derive(Debug)]
pub(super) struct SettingMode {
    command: Option<Command>,
    /// The last answer, and when it came.
    answered: Option<(BootTime, Answer)>,
}

impl SettingMode {
    pub(super) fn new() -> Self {
        SettingMode {
            command: None,
            answered: None,
        }
    }

    pub(super) fn hear(&mut self, heard: &Heard, us: Node, now: BootTime) {
        if let Some(command) = &mut self.command {
            command.hear(heard, us, now);
        }
    }
}

/// Waits until all checks pass.
#[derive(Debug)]
pub(super) struct Checking {
    /// RUN_PREARM_CHECKS, and when it was last begun. An autopilot that does not have it says so.
    prearm: Option<(BootTime, Command)>,
    /// Since when it knows for sure where it is.
    located: Option<BootTime>,
}

impl Checking {
    pub(super) fn new() -> Self {
        Checking {
            prearm: None,
            located: None,
        }
    }

    pub(super) fn hear(&mut self, heard: &Heard, us: Node, now: BootTime) {
        if let Some((_, command)) = &mut self.prearm {
            command.hear(heard, us, now);
        }
    }
}

impl Flight {
    /// What ends any state before the start at once.
    pub(super) fn disturbed(&self, stage: &Stage, vehicle: &Vehicle, now: BootTime) -> Option<String> {
        let connected = match stage {
            Stage::Air(_) | Stage::StandingDown(_) | Stage::Resuming(_) | Stage::Over => return None,
            Stage::Connecting => false,
            _ => true,
        };
        if let Some(order) = &self.order {
            return Some(order.why().to_owned());
        }
        if !connected {
            return None;
        }
        if vehicle.silent_for(now) >= LOST_ON_GROUND && self.start_sent.is_none() {
            return Some(format!(
                "the vehicle was not heard for {} s before the start; look at its cable and its power",
                LOST_ON_GROUND.as_secs()
            ));
        }
        if vehicle.rival(now) {
            return Some(format!(
                "another ground station uses our system id {}; give one of them another",
                vehicle.us().system
            ));
        }
        if self.arm_sent.is_none() && vehicle.armed() {
            return Some("somebody else armed it".to_owned());
        }
        let in_mode = matches!(
            stage,
            Stage::Checking(_) | Stage::Upload(_) | Stage::ReadBack(_) | Stage::Arming(_)
        );
        let taken = match vehicle.settled() {
            Some((_, mode)) => in_mode && Some(mode) != vehicle.family().map(waiting_mode),
            None => false,
        };
        taken.then(|| format!("somebody else changed its mode to {}", vehicle.mode_name()))
    }

    pub(super) fn connect(&mut self, vehicle: &Vehicle, now: BootTime) -> Stage {
        if !vehicle.alive(now) {
            if now.saturating_since(self.since) < LOST_ON_GROUND {
                return Stage::Connecting;
            }
            let node = vehicle.node();
            let look = vehicle.signature_trouble().map_or_else(
                || "look at port, baud and its power".to_owned(),
                |trouble| trouble.to_string(),
            );
            let why = format!(
                "no heartbeat of system {} component {} within {} s; {look}",
                node.system,
                node.component,
                LOST_ON_GROUND.as_secs()
            );
            return self.stand_down(why, now);
        }
        let found = preflight::verdict(&preflight::identity(vehicle, now));
        if found.standing != Standing::Passed {
            return self.stand_down(found.text, now);
        }
        self.tell(Weight::Phase, format!("Connected: {}.", found.text), now);
        let (Some(setup), Some(family)) = (&self.setup, vehicle.family()) else {
            return Stage::Over;
        };
        let ours = Ours {
            system: vehicle.us().system,
            return_altitude: setup.drone.performance.return_altitude,
        };
        match FailsafeCheck::new(setup.drone.failsafes, family, ours, now) {
            Some(check) => Stage::Failsafes(check),
            None => Stage::SettingMode(SettingMode::new()),
        }
    }

    pub(super) fn check_failsafes(
        &mut self,
        mut check: FailsafeCheck,
        vehicle: &Vehicle,
        now: BootTime,
    ) -> Stage {
        let (said, end) = check.tick(now);
        self.send_some(said);
        match end {
            None => Stage::Failsafes(check),
            Some(troubles) if troubles.is_empty() => Stage::SettingMode(SettingMode::new()),
            Some(troubles) => {
                let why = match vehicle.signature_trouble() {
                    Some(trouble) if check.unanswered() => {
                        format!("it does not answer, its failsafes can't be read: {trouble}")
                    }
                    _ => troubles.join("; "),
                };
                self.stand_down(why, now)
            }
        }
    }

    pub(super) fn set_mode(&mut self, mut setting: SettingMode, vehicle: &Vehicle, now: BootTime) -> Stage {
        let Some(family) = vehicle.family() else {
            return Stage::SettingMode(setting);
        };
        let mode = waiting_mode(family);
        if vehicle.settled().is_some_and(|(_, settled)| settled == mode) {
            return Stage::Checking(Checking::new());
        }
        if let Some(command) = &mut setting.command {
            let (said, answer) = command.tick(now);
            self.send_some(said);
            if let Some(answer) = answer {
                setting.command = None;
                setting.answered = Some((now, answer));
            }
            return Stage::SettingMode(setting);
        }
        let pause = match setting.answered {
            None => Duration::ZERO,
            Some((_, Answer::Accepted)) => MODE_SHOWS,
            Some(_) => AGAIN,
        };
        let answered = setting.answered.map_or(now, |(at, _)| at);
        if vehicle.mode() == Some(mode) || now.saturating_since(answered) < pause {
            return Stage::SettingMode(setting);
        }
        let refused = matches!(setting.answered, Some((_, Answer::Refused(RESULT_UNSUPPORTED))));
        if refused || now.saturating_since(self.since) >= PATIENCE {
            let answer = setting.answered.map_or(Answer::Silent, |(_, answer)| answer);
            let mut reasons = vehicle.reasons(self.since);
            if let Some(trouble) = vehicle.signature_trouble().filter(|_| answer == Answer::Silent) {
                reasons = trouble.to_string();
            }
            let why = format!(
                "it could not be put into its mode for arming, it stays in {}: {}{}{reasons}",
                vehicle.mode_name(),
                answer.text(),
                if reasons.is_empty() { "" } else { ": " }
            );
            return self.stand_down(why, now);
        }
        if let Some((number, params)) = mode.command(family) {
            setting.command = Some(Command::new(number, params, now));
        }
        Stage::SettingMode(setting)
    }

    pub(super) fn check(&mut self, mut checking: Checking, vehicle: &Vehicle, now: BootTime) -> Stage {
        let Some(setup) = &self.setup else {
            return Stage::Over;
        };
        let due = checking
            .prearm
            .as_ref()
            .is_none_or(|(begun, _)| now.saturating_since(*begun) >= LOOK_AGAIN);
        if due {
            checking.prearm = Some((now, Command::new(CMD_RUN_PREARM_CHECKS, [0.0; 7], now)));
        }
        let fresh = self.since + FRESH;
        let told = vehicle.prearm().is_some_and(|(at, _)| at >= fresh);
        let mut checks = preflight::identity(vehicle, now);
        let own = preflight::prearm(vehicle, self.since, fresh);
        checking.located =
            preflight::located(setup, &own, vehicle, now).then(|| checking.located.unwrap_or(now));
        checks.extend(preflight::conditions(
            setup,
            self.end,
            vehicle,
            checking.located,
            now,
        ));
        checks.push(own);
        let verdict = preflight::verdict(&checks);
        if let Some((_, command)) = &mut checking.prearm {
            // Whatever it answers: the words and the bit that follow are what counts.
            let (said, _) = command.tick(now);
            self.send_some(said);
        }
        match verdict.standing {
            Standing::Passed if now >= fresh => {}
            // Its own checks are told together with ours: whoever mends one need not come again for the other.
            Standing::Failed if !told && now.saturating_since(self.since) < ALL_TOLD => {
                return Stage::Checking(checking);
            }
            Standing::Failed => return self.stand_down(verdict.text, now),
            Standing::Waits if now.saturating_since(self.since) >= PATIENCE => {
                return self.stand_down(verdict.text, now);
            }
            _ => return Stage::Checking(checking),
        }
        if self.dry {
            return self.over(End::Ready(verdict.text));
        }
        self.tell(Weight::Phase, format!("Checks passed: {}.", verdict.text), now);
        self.first_list(vehicle, now)
    }

    /// Home is known by now: the lists can be made.
    fn first_list(&mut self, vehicle: &Vehicle, now: BootTime) -> Stage {
        let (Some(setup), Some(home), Some(family)) = (&self.setup, vehicle.home(), vehicle.family()) else {
            return Stage::Over;
        };
        self.estimate = Some(setup.plan.estimate(home.at, &self.performance));
        self.mission = setup.plan.items(home, family.autopilot());
        let fence = setup.drone.limits.fence.as_ref().map(fence_items);
        self.to_clear = vec![ListKind::Mission];
        Stage::Upload(match fence {
            Some(items) => Upload::new(ListKind::Fence, items, now),
            None => Upload::new(ListKind::Mission, self.mission.clone(), now),
        })
    }

    pub(super) fn upload(&mut self, mut upload: Upload, now: BootTime) -> Stage {
        let (said, end) = upload.tick(now);
        self.send_some(said);
        match end {
            None => Stage::Upload(upload),
            Some(Ok(())) => Stage::ReadBack(ReadBack::new(upload.list(), now)),
            Some(Err(trouble)) => self.list_trouble(trouble, upload.list(), now),
        }
    }

    pub(super) fn read_back(&mut self, mut read: ReadBack, vehicle: &Vehicle, now: BootTime) -> Stage {
        let (said, end) = read.tick(now);
        self.send_some(said);
        let Some(end) = end else {
            return Stage::ReadBack(read);
        };
        let list = read.list();
        let family = vehicle.family().unwrap_or(Family::Other(0));
        let fence = || {
            let limits = self.setup.as_ref().map(|setup| &setup.drone.limits);
            limits
                .and_then(|limits| limits.fence.as_ref())
                .map(fence_items)
                .unwrap_or_default()
        };
        let compared = end.and_then(|()| match list {
            ListKind::Mission => compare(&self.mission, read.items(), family),
            ListKind::Fence => compare(&fence(), read.items(), family),
        });
        if let Err(trouble) = compared {
            return self.list_trouble(trouble, list, now);
        }
        if list == ListKind::Fence {
            return Stage::Upload(Upload::new(ListKind::Mission, self.mission.clone(), now));
        }
        self.fingerprint = fingerprint(read.items(), family);
        let text = format!(
            "The mission of {} items is uploaded and was read back.",
            self.mission.len()
        );
        self.tell(Weight::Phase, text, now);
        Stage::Arming(self.begin_arming(now))
    }

    fn list_trouble(&mut self, trouble: super::upload::ListTrouble, list: ListKind, now: BootTime) -> Stage {
        // What it holds now may be a mixture.
        if list == ListKind::Fence {
            self.to_clear.push(ListKind::Fence);
        }
        self.stand_down(trouble.text(list), now)
    }

    fn begin_arming(&mut self, now: BootTime) -> Arming {
        self.record(super::RecordPhase::Armed);
        Arming::new(now)
    }
}
