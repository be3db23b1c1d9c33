//! How an attempt ends, and what follows (docs/fence.md, 5).

use super::Lease;
use crate::clock::BootTime;
use crate::device::{Effect, VerbError};

/// With what an attempt is closed that runs on us at the server and never came here (4).
pub const LOST: &str = "assignment lost";

/// How an attempt ended here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The verb was done.
    Done,
    /// The verb failed by itself, or was refused; the text is for whoever submitted it.
    Failed(String),
    /// The effective end of the lease came first; the device is safe.
    LeaseOver,
    /// The lease was over before anything was begun.
    NeverBegun,
    /// The journal knows it as begun, and then the lease was over before anything was done.
    TooLate,
    /// The agent stops and the grace time was over; the device is safe.
    Stopped(String),
    /// The server says that the process is not this attempt of ours any more; the device is safe.
    Lost(String),
    /// The device did not get to it before the confirmation was too old; nothing was done.
    Unconfirmed,
}

impl Ending {
    /// What a verb's error means. `text` is what whoever submitted it shall read; `stopping` says that the agent
    /// cancels its verbs (else another verb did, and that is this one's failure).
    pub fn of_error(error: &VerbError, text: String, stopping: bool) -> Self {
        match error {
            VerbError::LeaseOver => Ending::LeaseOver,
            VerbError::TooLateToBegin => Ending::Unconfirmed,
            VerbError::Cancelled { .. } | VerbError::Gone { .. } if stopping => Ending::Stopped(text),
            VerbError::NotSafe { cause, .. } => Ending::of_error(cause, text, stopping),
            VerbError::Cancelled { .. }
            | VerbError::Gone { .. }
            | VerbError::Usage { .. }
            | VerbError::UnknownVerb { .. }
            | VerbError::Overran { .. }
            | VerbError::Failed(_)
            | VerbError::Busy { .. }
            | VerbError::Overruled { .. }
            | VerbError::Faulted { .. } => Ending::Failed(text),
        }
    }
}

/// How a process is closed. Failed is final at the server: retries live from requeues (5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// As successful.
    Successful,
    /// As failed, with the reason.
    Failed(String),
}

/// What follows from an attempt's end (5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Tell the server, however long it takes.
    Close(Close),
    /// Tell the server before this moment or not at all.
    CloseBefore(BootTime, Close),
    /// Say nothing: the server's own time limit puts it back into the queue.
    Leave,
    /// Say nothing: it is not ours any more, for this reason.
    Drop(String),
}

/// What a once verb is closed with that was written down as begun and was too late to do anything.
const TOO_LATE: &str = "its lease was over before it could begin; it is not begun again";

/// The table of ends (5): the agent's own crash is not in it, see [`super::after_a_crash`].
pub fn verdict(ending: Ending, effect: Effect, lease: Option<Lease>) -> Verdict {
    let repeatable = effect != Effect::Once;
    match (ending, lease) {
        (Ending::Done, _) => Verdict::Close(Close::Successful),
        (Ending::Failed(text), _) => Verdict::Close(Close::Failed(text)),
        // Nothing was done, so whoever gets it next may.
        (Ending::NeverBegun, _) => Verdict::Leave,
        (Ending::Lost(reason), _) => Verdict::Drop(reason),
        // What was not confirmed in time runs into the end of its lease.
        (Ending::TooLate | Ending::Unconfirmed, Some(lease)) if !repeatable => {
            Verdict::CloseBefore(lease.end, Close::Failed(TOO_LATE.to_owned()))
        }
        (Ending::TooLate | Ending::Unconfirmed, _) => Verdict::Leave,
        (Ending::LeaseOver, Some(lease)) if !repeatable => {
            Verdict::CloseBefore(lease.end, Close::Failed(VerbError::LeaseOver.to_string()))
        }
        (Ending::LeaseOver | Ending::Stopped(_), Some(_)) if repeatable => Verdict::Leave,
        // Without a lease nobody would ever put it back.
        (Ending::LeaseOver, _) => Verdict::Close(Close::Failed(VerbError::LeaseOver.to_string())),
        (Ending::Stopped(text), _) => Verdict::Close(Close::Failed(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::seconds;
    use super::*;

    #[test]
    fn the_table_of_ends() {
        let lease = Some(Lease::new(BootTime::from_nanos(9), seconds(1)));
        let end = BootTime::from_nanos(9);
        let failed = |text: &str| Verdict::Close(Close::Failed(text.to_owned()));
        let stopped = || Ending::Stopped("stop".to_owned());
        for effect in [Effect::Read, Effect::Set] {
            assert_eq!(
                verdict(Ending::Done, effect, lease),
                Verdict::Close(Close::Successful)
            );
            assert_eq!(verdict(Ending::Failed("x".into()), effect, lease), failed("x"));
            assert_eq!(verdict(Ending::LeaseOver, effect, lease), Verdict::Leave);
            assert_eq!(verdict(Ending::NeverBegun, effect, lease), Verdict::Leave);
            assert_eq!(verdict(Ending::TooLate, effect, lease), Verdict::Leave);
            assert_eq!(verdict(stopped(), effect, lease), Verdict::Leave);
            assert_eq!(
                verdict(stopped(), effect, None),
                failed("stop"),
                "nobody else would end it"
            );
        }
        let once = Effect::Once;
        assert_eq!(
            verdict(Ending::Done, once, lease),
            Verdict::Close(Close::Successful)
        );
        assert_eq!(verdict(Ending::Failed("x".into()), once, lease), failed("x"));
        assert!(
            matches!(verdict(Ending::LeaseOver, once, lease), Verdict::CloseBefore(at, Close::Failed(_)) if at == end)
        );
        assert_eq!(verdict(Ending::NeverBegun, once, lease), Verdict::Leave);
        assert!(
            matches!(verdict(Ending::TooLate, once, lease), Verdict::CloseBefore(at, Close::Failed(_)) if at == end),
            "its mark stands, so nobody would ever do it"
        );
        assert_eq!(
            verdict(Ending::Lost("deleted".into()), once, lease),
            Verdict::Drop("deleted".into())
        );
        assert_eq!(verdict(stopped(), once, lease), failed("stop"));
        assert_eq!(verdict(stopped(), once, None), failed("stop"));
    }

    #[test]
    fn errors_of_verbs_become_endings() {
        let text = || "text".to_owned();
        let not_safe = VerbError::NotSafe {
            cause: Box::new(VerbError::LeaseOver),
            fault: "stuck".to_owned(),
        };
        assert_eq!(Ending::of_error(&not_safe, text(), false), Ending::LeaseOver);
        let overran = VerbError::Overran { max_time: seconds(1) };
        assert_eq!(Ending::of_error(&overran, text(), true), Ending::Failed(text()));
        let cancelled = VerbError::Cancelled {
            reason: "stop".to_owned(),
        };
        assert_eq!(
            Ending::of_error(&cancelled, text(), true),
            Ending::Stopped(text())
        );
        assert_eq!(
            Ending::of_error(&cancelled, text(), false),
            Ending::Failed(text())
        );
    }
}
