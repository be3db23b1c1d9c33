//! What follows where the agent did not live to see an attempt's end (docs/fence.md, 5).

use super::{Close, Seen, Verdict};
use crate::clock::BootTime;
use crate::device::Effect;

/// What a *once* verb is closed with that a crash cut off, and every other that nobody would put back.
const INTERRUPTED: &str =
    "interrupted: the agent crashed or lost its power while it ran; everything was made safe";

/// What a *read* or *set* verb is closed with that would be run a third time.
const DIED_TWICE: &str = "interrupted twice: the agent crashed or lost its power both times that it ran, so it is not run \
                          again; everything was made safe; see the agent's log";

/// So often an attempt begins at most.
const BEGINNINGS: u32 = 2;

/// What is to be done about an attempt that a crash interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interrupted {
    /// Ask the server whether it is still ours, then see again.
    Ask,
    /// Begin it again within its old lease.
    Again,
    /// It is over, and this follows.
    Over(Verdict),
}

/// The table of ends, of a crash.
///
/// `lease_end` is the lease's end in boot time and `None` if there was no lease; `this_boot` says whether that boot is still
/// this one, since another boot means that the lease is over. `beginning`: which it was, from 1. `seen`: what the server said, if
/// it was asked.
pub fn after_a_crash(
    effect: Effect,
    beginning: u32,
    lease_end: Option<BootTime>,
    this_boot: bool,
    seen: Option<Seen>,
    now: BootTime,
) -> Interrupted {
    let interrupted = || Verdict::Close(Close::Failed(INTERRUPTED.to_owned()));
    if effect == Effect::Once {
        return Interrupted::Over(interrupted());
    }
    let Some(end) = lease_end else {
        // Nobody would put it back.
        return Interrupted::Over(interrupted());
    };
    if !this_boot || now >= end {
        return Interrupted::Over(Verdict::Leave);
    }
    if beginning >= BEGINNINGS {
        // What it died over twice it would die over again.
        return Interrupted::Over(Verdict::Close(Close::Failed(DIED_TWICE.to_owned())));
    }
    match seen {
        None | Some(Seen::Unclear) => Interrupted::Ask,
        Some(Seen::Ours) => Interrupted::Again,
        Some(Seen::NotOurs(reason)) => Interrupted::Over(Verdict::Drop(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_crashes() {
        let at = BootTime::from_nanos;
        let lease = Some(at(10));
        let ask = |effect, end, this_boot, seen, now| after_a_crash(effect, 1, end, this_boot, seen, at(now));
        let failed = |next| matches!(next, Interrupted::Over(Verdict::Close(Close::Failed(text))) if text.starts_with("interrupted"));
        for this_boot in [true, false] {
            for end in [lease, None] {
                assert!(failed(ask(Effect::Once, end, this_boot, Some(Seen::Ours), 5)));
            }
            assert!(failed(ask(Effect::Set, None, this_boot, Some(Seen::Ours), 5)));
        }
        for effect in [Effect::Read, Effect::Set] {
            let leave = Interrupted::Over(Verdict::Leave);
            assert_eq!(
                ask(effect, lease, false, Some(Seen::Ours), 5),
                leave,
                "another boot"
            );
            assert_eq!(ask(effect, lease, true, Some(Seen::Ours), 10), leave, "over");
            assert_eq!(ask(effect, lease, true, None, 9), Interrupted::Ask);
            assert_eq!(ask(effect, lease, true, Some(Seen::Unclear), 9), Interrupted::Ask);
            assert_eq!(ask(effect, lease, true, Some(Seen::Ours), 9), Interrupted::Again);
            let gone = ask(effect, lease, true, Some(Seen::NotOurs("x".into())), 9);
            assert_eq!(gone, Interrupted::Over(Verdict::Drop("x".into())));
            let third = |now| after_a_crash(effect, 2, lease, true, Some(Seen::Ours), at(now));
            assert!(failed(third(9)), "not a third time");
            assert_eq!(third(10), leave, "over");
        }
    }
}
