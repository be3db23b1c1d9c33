//! Finding what the server believes to run here and does not (docs/fence.md, 4).
//!
//! An assignment whose reply was lost runs on us at the server, for ever if it has no time limit. Such a process is
//! closed as failed and never acted on: whether its time was used for something nobody can tell.

use super::fence::{Attempt, Close};
use super::lane::Held;
use super::outbox::Report;
use crate::protocol::model::{Process, ProcessState};

/// What such a process is closed with.
pub const LOST: &str = "assignment lost";

/// How far back the server is to look, in seconds since submission: as far as 32 bits reach.
pub const ALL_OF_HISTORY: i64 = i32::MAX as i64;

/// The attempts that run on us at the server and are not held here.
///
/// `held` must have been taken *before* the server was asked: what ended meanwhile was held then. No assign may be
/// under way between the two.
pub(super) fn lost(running: &[Process], held: &Held, runtime_id: &str) -> Vec<Attempt> {
    running
        .iter()
        .filter(|process| process.state == ProcessState::Running && process.assigned_runtime_id == runtime_id)
        .filter(|process| !held.processes.contains(&process.id))
        .filter(|process| !held.left.iter().any(|left| left.is_of(process)))
        .map(Attempt::of)
        .collect()
}

/// How a lost one is closed.
pub(super) fn report(attempt: Attempt) -> Report {
    Report {
        attempt,
        attributes: Default::default(),
        close: Close::Failed(LOST.to_owned()),
        lease_end: None,
        not_after: None,
        attached: 0,
        journalled: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Time;

    fn running(id: &str, start: i128) -> Process {
        Process {
            id: id.to_owned(),
            assigned_runtime_id: "us".to_owned(),
            is_assigned: true,
            state: ProcessState::Running,
            start_time: Time::from_unix_nanos(start * 1_000_000_000),
            ..Process::default()
        }
    }

    #[test]
    fn only_what_runs_on_us_and_is_not_held_is_lost() {
        let mut elsewhere = running("elsewhere", 5);
        elsewhere.assigned_runtime_id = "them".to_owned();
        let mut ended = running("ended", 5);
        ended.state = ProcessState::Failed;
        let list = [
            running("lost", 5),
            running("held", 5),
            running("left", 5),
            running("left before", 9),
            elsewhere,
            ended,
        ];
        let held = Held {
            processes: ["held".to_owned()].into(),
            left: vec![
                Attempt::of(&running("left", 5)),
                Attempt::of(&running("left before", 5)),
            ],
        };
        let ids: Vec<String> = lost(&list, &held, "us")
            .into_iter()
            .map(|attempt| attempt.process_id)
            .collect();
        assert_eq!(
            ids,
            ["lost", "left before"],
            "an attempt later than the one that was left is lost too"
        );
    }
}
