//! What the server's answers mean for the agent: pure judgements of one [`ClientError`] each.

use super::fence::{Attempt, Seen};
use super::outbox::Outcome;
use crate::client::ClientError;
use crate::protocol::Refusal;
use crate::protocol::model::{Process, ProcessState};

/// The server doesn't know us, or not well enough: a matter of waiting for the colony's owner, never of giving up.
pub fn is_about_membership(error: &ClientError) -> bool {
    matches!(
        error.refusal(),
        Some(
            Refusal::NotMember { .. }
                | Refusal::NotApproved { .. }
                | Refusal::OtherColony { .. }
                | Refusal::UnknownColony { .. }
                // What a stranger gets where owner or runtime may ask (RD 3.2).
                | Refusal::NotColonyOwner
        )
    )
}

/// What a close's answer means for the result. 400, 403 and 500 in the words of RD 3.3 say that the process has ended, is
/// somebody else's or is unknown: the result is of no use. Everything else may change.
pub fn of_close<T>(answer: &Result<T, ClientError>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Taken,
        Err(error) => match error.refusal() {
            Some(Refusal::WrongState { .. } | Refusal::NotAssigned { .. } | Refusal::Unknown) => {
                Outcome::Moot(words(error))
            }
            _ => Outcome::Later(error.to_string()),
        },
    }
}

/// What the answer to an attribute means. One that is there already was delivered.
pub fn of_attribute<T>(answer: &Result<T, ClientError>) -> Outcome {
    let error = match answer {
        Ok(_) => return Outcome::Taken,
        Err(error) => error,
    };
    match error.refusal() {
        Some(Refusal::Duplicate { .. }) => Outcome::Taken,
        Some(Refusal::NotAssigned { .. } | Refusal::Unknown | Refusal::UnknownAttributeProcess) => {
            Outcome::Moot(words(error))
        }
        Some(
            Refusal::NulCharacter
            | Refusal::OutOfRange { .. }
            | Refusal::TooLarge { .. }
            | Refusal::BadPayload
            | Refusal::BadEnvelope(_),
        ) => Outcome::Skip(error.to_string()),
        // In another store's words, but decided: 400 is about this attribute, and asking again changes nothing.
        None if matches!(error, ClientError::Refused(refused) if matches!(refused.failure.status, 400 | 413)) => {
            Outcome::Skip(error.to_string())
        }
        _ => Outcome::Later(error.to_string()),
    }
}

/// What reading the process means for an attempt's result (docs/fence.md, 5): moot if the process is unknown, final,
/// assigned elsewhere or at another start time.
pub fn of_process(answer: Result<&Process, &ClientError>, attempt: &Attempt, runtime_id: &str) -> Outcome {
    match answer {
        Ok(process) => match not_ours(process, attempt, runtime_id) {
            None => Outcome::Taken,
            Some(reason) => Outcome::Moot(reason.to_owned()),
        },
        Err(error) if matches!(error.refusal(), Some(Refusal::Unknown)) => Outcome::Moot(words(error)),
        Err(error) => Outcome::Later(error.to_string()),
    }
}

/// What reading the process says of an attempt that has not ended (docs/fence.md, 3). Not to be approved any more counts as
/// loss of the server and says nothing about the process.
pub fn seen(answer: Result<&Process, &ClientError>, attempt: &Attempt, runtime_id: &str) -> Seen {
    match answer {
        Ok(process) => match not_ours(process, attempt, runtime_id) {
            None if process.state == ProcessState::Running => Seen::Ours,
            // A state of another version.
            None => Seen::Unclear,
            Some(reason) => Seen::NotOurs(reason.to_owned()),
        },
        Err(error) if matches!(error.refusal(), Some(Refusal::Unknown)) => {
            Seen::NotOurs("there is no such process".to_owned())
        }
        Err(_) => Seen::Unclear,
    }
}

/// Why a process is no longer this attempt of ours; `None`: it is.
pub fn not_ours(process: &Process, attempt: &Attempt, runtime_id: &str) -> Option<&'static str> {
    match process.state {
        ProcessState::Successful | ProcessState::Failed => Some("it has ended"),
        ProcessState::Waiting => Some("it went back to the queue"),
        ProcessState::Running if process.assigned_runtime_id != runtime_id => {
            Some("it was assigned to another runtime")
        }
        ProcessState::Running if !attempt.is_of(process) => Some("it is in another attempt"),
        ProcessState::Running | ProcessState::Other(_) => None,
    }
}

fn words(error: &ClientError) -> String {
    match error {
        ClientError::Refused(refused) => refused.failure.message.clone(),
        other => other.to_string(),
    }
}

/// Errors as they come, for tests in this room.
#[cfg(test)]
pub(super) mod samples {
    use super::*;
    use crate::client::{BadReply, Refused, Stamps, Unreachable};
    use crate::clock::BootTime;
    use crate::protocol::dialect::Dialect;
    use crate::protocol::{Failure, Kind};

    pub fn stamps() -> Stamps {
        Stamps {
            sent_at: BootTime::default(),
            received_at: BootTime::default(),
            date: None,
            outpost_time: None,
        }
    }

    /// As the client reads a failure off the wire.
    pub fn refused(kind: Kind, status: u16, message: &str) -> ClientError {
        let failure = Failure {
            status,
            message: message.to_owned(),
        };
        ClientError::Refused(Box::new(Refused {
            server: "test".to_owned(),
            kind,
            refusal: Dialect::Runtime.refusal(kind, &failure),
            failure,
            stamps: stamps(),
        }))
    }

    pub fn bad_reply(status: u16, problem: BadReply) -> ClientError {
        ClientError::BadReply {
            server: "test".to_owned(),
            status,
            problem: Box::new(problem),
            location: None,
            stamps: Box::new(stamps()),
        }
    }

    /// Everything that may be different the next time.
    pub fn passing(kind: Kind) -> Vec<ClientError> {
        let server = || "test".to_owned();
        vec![
            ClientError::Unreachable {
                server: server(),
                cause: Unreachable::Refused,
            },
            ClientError::TimedOut {
                server: server(),
                after: std::time::Duration::from_secs(15),
            },
            ClientError::Lost {
                server: server(),
                reason: "reset".to_owned(),
            },
            bad_reply(500, BadReply::Empty),
            bad_reply(
                502,
                BadReply::NoEnvelope {
                    reason: "no JSON".to_owned(),
                    excerpt: "<html>".to_owned(),
                },
            ),
            refused(kind, 403, "Runtime with Id <r> is not approved"),
            refused(
                kind,
                403,
                "Runtime with Id <r> is not a member of Colony with Id <c> (Runtime does not exist)",
            ),
            refused(kind, 403, "Colony <c> does not exists"),
            refused(kind, 500, "something new"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{passing, refused};
    use super::*;
    use crate::protocol::{Kind, Time};

    fn close(status: u16, message: &str, kind: Kind) -> Outcome {
        of_close::<()>(&Err(refused(kind, status, message)))
    }

    #[test]
    fn closes_that_were_refused_for_good_are_moot() {
        let kind = Kind::CloseSuccessful;
        for (status, message) in [
            (400, "Tried to set failed process as completed"),
            (
                400,
                "Tried to set waiting process as completed without being running",
            ),
            (
                403,
                "Failed to close process as successful, not allowed to close process",
            ),
            (500, "Failed to close process as successful, process is nil"),
        ] {
            let outcome = close(status, message, kind);
            assert_eq!(outcome, Outcome::Moot(message.to_owned()));
        }
        let kind = Kind::CloseFailed;
        for (status, message) in [
            (400, "Tried to set successful process as failed"),
            (400, "Tried to set failed process as failed"),
            (
                403,
                "Failed to close process as failed, not allowed to close process",
            ),
            (500, "Failed to close process as failed, process is nil"),
        ] {
            let outcome = close(status, message, kind);
            assert_eq!(outcome, Outcome::Moot(message.to_owned()));
        }
        assert_eq!(of_close(&Ok(())), Outcome::Taken);
    }

    #[test]
    fn everything_that_may_pass_is_tried_again() {
        for kind in [Kind::CloseSuccessful, Kind::CloseFailed] {
            for error in passing(kind) {
                let outcome = of_close::<()>(&Err(error.clone()));
                assert!(matches!(outcome, Outcome::Later(_)), "{error}: {outcome:?}");
            }
        }
        for error in passing(Kind::AddAttribute) {
            let outcome = of_attribute::<()>(&Err(error.clone()));
            assert!(matches!(outcome, Outcome::Later(_)), "{error}: {outcome:?}");
        }
        let attempt = Attempt::of(&Process::default());
        for error in passing(Kind::GetProcess) {
            let outcome = of_process(Err(&error), &attempt, "r");
            assert!(matches!(outcome, Outcome::Later(_)), "{error}: {outcome:?}");
        }
    }

    #[test]
    fn attributes_are_delivered_skipped_or_moot() {
        let kind = Kind::AddAttribute;
        let answer = |status, message: &str| of_attribute::<()>(&Err(refused(kind, status, message)));
        let duplicate = "pq: duplicate key value violates unique constraint \"prod_attributes_pkey\"";
        assert_eq!(answer(400, duplicate), Outcome::Taken);
        for (status, message) in [
            (500, "Failed to add attribute, process is nil"),
            (
                403,
                "Failed to add attribute, only runtime with id <x> is allowed to set attributes",
            ),
            (
                403,
                "Failed to add attribute, only runtime with id <> is allowed to set attributes",
            ),
        ] {
            assert_eq!(
                answer(status, message),
                Outcome::Moot(message.to_owned()),
                "{message}"
            );
        }
        for message in [
            "pq: invalid byte sequence for encoding \"UTF8\": 0x00",
            "another store's words",
        ] {
            assert!(matches!(answer(400, message), Outcome::Skip(_)), "{message}");
        }
    }

    #[test]
    fn a_result_is_moot_when_the_process_is_no_longer_this_attempt_of_ours() {
        let mut process = Process {
            id: "p".to_owned(),
            assigned_runtime_id: "r".to_owned(),
            is_assigned: true,
            state: ProcessState::Running,
            start_time: Time::from_unix_nanos(1_660_000_000_000_000_000),
            ..Process::default()
        };
        let attempt = Attempt::of(&process);
        let judge = |process: &Process| of_process(Ok(process), &attempt, "r");
        let seen = |process: &Process| seen(Ok(process), &attempt, "r");
        assert_eq!((judge(&process), seen(&process)), (Outcome::Taken, Seen::Ours));
        process.assigned_runtime_id = "other".to_owned();
        assert!(matches!(judge(&process), Outcome::Moot(_)));
        process.assigned_runtime_id = "r".to_owned();
        process.start_time = Time::from_unix_nanos(1_660_000_001_000_000_000);
        assert!(matches!(judge(&process), Outcome::Moot(_)), "another start time");
        process.start_time = attempt.start_time;
        for state in [
            ProcessState::Waiting,
            ProcessState::Successful,
            ProcessState::Failed,
        ] {
            process.state = state;
            assert!(matches!(judge(&process), Outcome::Moot(_)), "{state:?}");
            assert!(matches!(seen(&process), Seen::NotOurs(_)), "{state:?}");
        }
        process.state = ProcessState::Other(7);
        assert_eq!(seen(&process), Seen::Unclear);
        for error in passing(Kind::GetProcess) {
            assert_eq!(super::seen(Err(&error), &attempt, "r"), Seen::Unclear, "{error}");
        }
        let unknown = refused(Kind::GetProcess, 500, "Failed to get process, process is nil");
        assert!(matches!(
            of_process(Err(&unknown), &attempt, "r"),
            Outcome::Moot(_)
        ));
        assert!(matches!(
            super::seen(Err(&unknown), &attempt, "r"),
            Seen::NotOurs(_)
        ));
    }

    #[test]
    fn membership_is_told_apart_from_other_refusals() {
        for message in [
            "Runtime with Id <r> is not approved",
            "Runtime with Id <r> is not a member of Colony with Id <c> (Runtime does not exist)",
            "Runtime with Id <r> is not a member of Colony with Id <c>, (Recovered Id and Colony Id missmatches)",
            "Colony <c> does not exists",
            "RecoveredID does not match Colony Id",
        ] {
            assert!(
                is_about_membership(&refused(Kind::Assign, 403, message)),
                "{message}"
            );
        }
        assert!(!is_about_membership(&refused(
            Kind::Assign,
            403,
            "Invalid signature"
        )));
        assert!(!is_about_membership(&refused(
            Kind::Assign,
            400,
            "Invalid timeout value, timeout cannot be zero"
        )));
    }
}
