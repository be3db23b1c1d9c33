//! Finding what the server believes to run here and does not (docs/fence.md, 4).
//!
//! An assignment whose reply was lost runs on us at the server, for ever if it has no time limit. Such a process is
//! closed as failed and never acted on: whether its time was used for something nobody can tell. One that the journal knows is
//! closed as it ended.

use super::fence::{Attempt, Close, LOST, lease_length};
use super::journal::Ended;
use super::lane::Held;
use super::outbox::Report;
use crate::protocol::model::{Process, ProcessState};

/// How far back the server is to look, in seconds since submission: as far as 32 bits reach.
pub const ALL_OF_HISTORY: i64 = i32::MAX as i64;

/// The processes that run on us at the server and are not held here.
///
/// `held` must have been taken *before* the server was asked: what ended meanwhile was held then. No assign may be
/// under way between the two.
pub(super) fn lost<'a>(
    running: &'a [Process],
    held: &'a Held,
    runtime_id: &'a str,
) -> impl Iterator<Item = &'a Process> {
    running
        .iter()
        .filter(move |process| {
            process.state == ProcessState::Running && process.assigned_runtime_id == runtime_id
        })
        .filter(|process| !held.processes.contains(&process.id))
        .filter(|process| !held.left.iter().any(|left| left.is_of(process)))
}

/// How such a process is closed, by what the journal knows of its attempt: as it ended here, if it did and the server has
/// forgotten that (its ledger came back from a backup). `None`: it was left to the time limit, which it has.
pub(super) fn report(process: &Process, known: Option<Ended>) -> Option<Report> {
    let close = match known {
        Some(Ended::Successful) => Close::Successful,
        Some(Ended::Failed(reason)) => Close::Failed(reason),
        Some(Ended::Left(_)) if lease_length(process.spec.max_exec_time).is_some() => return None,
        Some(Ended::Left(_) | Ended::Not) | None => Close::Failed(LOST.to_owned()),
    };
    Some(Report {
        attempt: Attempt::of(process),
        attributes: Default::default(),
        close,
        lease_end: None,
        not_after: None,
        attached: 0,
        journalled: true,
    })
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
        let ids: Vec<&str> = lost(&list, &held, "us")
            .map(|process| process.id.as_str())
            .collect();
        assert_eq!(
            ids,
            ["lost", "left before"],
            "an attempt later than the one that was left is lost too"
        );
    }

    #[test]
    fn what_the_journal_knows_is_closed_as_it_ended() {
        let close = |limit, known| {
            let mut process = running("p", 5);
            process.spec.max_exec_time = limit;
            report(&process, known).map(|report| report.close)
        };
        let failed = |reason: &str| Some(Close::Failed(reason.to_owned()));
        assert_eq!(close(-1, None), failed(LOST));
        assert_eq!(close(60, Some(Ended::Successful)), Some(Close::Successful));
        assert_eq!(
            close(60, Some(Ended::Failed("no answer".to_owned()))),
            failed("no answer")
        );
        let left = || Some(Ended::Left("interrupted".to_owned()));
        assert_eq!(close(60, left()), None, "its time limit ends it");
        assert_eq!(close(-1, left()), failed(LOST), "nothing else would end it");
    }
}
