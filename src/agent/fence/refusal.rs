//! What is asked of work before anything else is done about it (docs/fence.md, 2 and 3).

use std::time::Duration;

use super::lease_length;
use crate::device::{Effect, Urgency, Verb};
use crate::protocol::model::{Process, UNLIMITED};

/// What the configuration says about a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Work that waited longer is refused; `None`: old work is as good as fresh.
    pub max_age: Option<Duration>,
    /// A *once* verb may begin again for the same process (3).
    pub repeat: bool,
    /// Somebody may be hurt: only with a lease, never requeued, confirmed with the server (3).
    pub hazardous: bool,
    /// A hazardous device takes only work that names exactly this runtime: across agents only the spec can fence (3).
    pub require_target: bool,
    /// How long work may wait for a busy device (4).
    pub queue_wait: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            max_age: None,
            repeat: false,
            hazardous: false,
            require_target: true,
            queue_wait: Duration::ZERO,
        }
    }
}

impl Rules {
    /// Whether a verb of a hazardous device needs all that care: what reads and what stops does not.
    pub fn guards(&self, verb: &Verb) -> bool {
        self.hazardous && verb.effect != Effect::Read && verb.urgency != Urgency::Preempt
    }
}

/// Why work that was assigned is not begun; closed as failed with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It waited too long to be done now.
    #[error(
        "stale: it waited {}s before it was assigned, more than max_age = {}s allows; submit it again",
        age.as_secs(), max_age.as_secs()
    )]
    Stale {
        /// From submission to assignment, both by the server's clock.
        age: Duration,
        /// What the configuration allows.
        max_age: Duration,
    },
    /// Its time to wait was over.
    #[error("not begun: its maxwaittime was over when it was assigned")]
    WaitOver,
    /// It had failed while it waited (a defect of the original, RD 5.3).
    #[error("not begun: it had ended before it was assigned{}", said(message))]
    EndedBefore {
        /// What it failed of.
        message: String,
    },
    /// It would be killed by the server within a second, in the middle of something that can't be repeated.
    #[error(
        "not begun: maxexectime {max_exec_time} means that the server ends it at once; give it a time, or -1 for none"
    )]
    NoTime {
        /// As received.
        max_exec_time: i64,
    },
    /// A hazardous device, and the server could hand it out again.
    #[error(
        "not begun: this device is hazardous: submit it with maxretries 0, so that no server ever starts it again"
    )]
    Retries,
    /// A hazardous device, and nothing says when it must be over.
    #[error(
        "not begun: this device is hazardous: submit it with a maxexectime above 0, by which everything is over"
    )]
    NoEnd,
    /// A hazardous device, and another agent could get it as well.
    #[error(
        "not begun: this device is hazardous: submit it with runtimeids [\"{runtime_id}\"] alone, so that no other agent can get it \
         (or set require_target = false in the device's table)"
    )]
    NotTargeted {
        /// Whom it must name.
        runtime_id: String,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}

/// What is asked of work before it is begun. `runtime_id`: whom it was assigned to.
///
/// # Errors
/// Why it must not be begun.
pub fn refusal(process: &Process, verb: &Verb, rules: &Rules, runtime_id: &str) -> Result<(), Rejection> {
    // All times are the server's; ours play no part.
    let started = process.start_time;
    if !process.wait_deadline.is_never() && process.wait_deadline < started {
        return Err(Rejection::WaitOver);
    }
    if process.retries == 0 && (!process.error_message.is_empty() || !process.end_time.is_never()) {
        return Err(Rejection::EndedBefore {
            message: process.error_message.clone(),
        });
    }
    let limit = process.spec.max_exec_time;
    if rules.guards(verb) {
        if process.spec.max_retries != 0 {
            return Err(Rejection::Retries);
        }
        if lease_length(limit).is_none() {
            return Err(Rejection::NoEnd);
        }
        let named = process.spec.conditions.runtime_ids.as_slice();
        if rules.require_target && !matches!(named, [id] if id == runtime_id) {
            return Err(Rejection::NotTargeted {
                runtime_id: runtime_id.to_owned(),
            });
        }
    }
    // What stops is done within a moment, and asks for no time before it is.
    let stops = verb.urgency == Urgency::Preempt;
    if verb.effect == Effect::Once && !stops && limit != UNLIMITED && lease_length(limit).is_none() {
        return Err(Rejection::NoTime { max_exec_time: limit });
    }
    if let (Some(max_age), Some(age)) = (rules.max_age, started.since(process.submission_time))
        && age > max_age
        && !process.submission_time.is_never()
    {
        return Err(Rejection::Stale { age, max_age });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{process, seconds, server};
    use super::*;
    use crate::protocol::Time;

    /// As the server hands it out, to a function of this effect that takes work up to a minute old.
    fn refused(process: &Process, effect: Effect, max_age: Option<u64>) -> Result<(), Rejection> {
        let rules = Rules {
            max_age: max_age.map(seconds),
            ..Rules::default()
        };
        refusal(process, &verb(effect, Urgency::Work), &rules, "us")
    }

    fn verb(effect: Effect, urgency: Urgency) -> Verb {
        Verb {
            name: "verb".into(),
            usage: "".into(),
            help: "".into(),
            effect,
            urgency,
            max_time: seconds(1),
        }
    }

    #[test]
    fn work_without_a_usable_time_is_only_for_verbs_that_can_be_repeated() {
        for (max_exec_time, once) in [(10, true), (-1, true), (0, false), (-2, false)] {
            let mut process = process();
            process.spec.max_exec_time = max_exec_time;
            for effect in [Effect::Read, Effect::Set] {
                assert_eq!(refused(&process, effect, None), Ok(()), "{max_exec_time}");
            }
            let got = refused(&process, Effect::Once, None);
            assert_eq!(got.is_ok(), once, "{max_exec_time}: {got:?}");
        }
    }

    #[test]
    fn stale_work_is_refused_by_the_servers_two_times() {
        let mut process = process();
        process.start_time = server(60);
        assert_eq!(refused(&process, Effect::Set, Some(60)), Ok(()));
        process.start_time = process.start_time.plus(Duration::from_nanos(1));
        let stale = refused(&process, Effect::Set, Some(60)).unwrap_err();
        assert!(stale.to_string().contains("max_age = 60s"), "{stale}");
        assert_eq!(refused(&process, Effect::Set, None), Ok(()), "off");
        process.submission_time = Time::NEVER;
        assert_eq!(
            refused(&process, Effect::Set, Some(60)),
            Ok(()),
            "unknown is not stale"
        );
        // A clock that went backwards at the server says nothing about age.
        process.submission_time = server(100);
        assert_eq!(refused(&process, Effect::Set, Some(60)), Ok(()));
    }

    #[test]
    fn work_that_the_server_should_not_have_handed_out_is_refused() {
        let mut late = process();
        late.wait_deadline = server(4);
        assert_eq!(refused(&late, Effect::Read, None), Err(Rejection::WaitOver));
        late.wait_deadline = server(5);
        assert_eq!(refused(&late, Effect::Read, None), Ok(()));

        let mut failed = process();
        failed.error_message = "Maximum waiting time limit exceeded".to_owned();
        let text = refused(&failed, Effect::Read, None).unwrap_err().to_string();
        assert!(text.contains("Maximum waiting time"), "{text}");
        failed.retries = 1;
        assert_eq!(refused(&failed, Effect::Read, None), Ok(()));

        let mut ended = process();
        ended.end_time = server(3);
        assert!(refused(&ended, Effect::Read, None).is_err());
        ended.retries = 2;
        assert_eq!(
            refused(&ended, Effect::Read, None),
            Ok(()),
            "a requeued process has an end time"
        );
        let mut zoned = process();
        zoned.end_time = Time::parse("0000-12-31T19:03:58-04:56").unwrap();
        assert_eq!(
            refused(&zoned, Effect::Read, None),
            Ok(()),
            "never, in another zone"
        );
    }

    #[test]
    fn a_hazardous_device_takes_only_work_that_can_never_come_back() {
        let hazardous = Rules {
            hazardous: true,
            ..Rules::default()
        };
        let dispatch = verb(Effect::Once, Urgency::Work);
        let ask = |change: &dyn Fn(&mut Process), rules: &Rules, verb: &Verb| {
            let mut process = process();
            process.spec.conditions.runtime_ids = vec!["us".to_owned()];
            change(&mut process);
            refusal(&process, verb, rules, "us")
        };
        assert_eq!(ask(&|_| {}, &hazardous, &dispatch), Ok(()));
        for retries in [1, 3, -1] {
            let with = |process: &mut Process| process.spec.max_retries = retries;
            assert_eq!(ask(&with, &hazardous, &dispatch), Err(Rejection::Retries));
        }
        for length in [-1, 0, -7] {
            let with = |process: &mut Process| process.spec.max_exec_time = length;
            assert_eq!(ask(&with, &hazardous, &dispatch), Err(Rejection::NoEnd));
            let set = verb(Effect::Set, Urgency::Work);
            assert_eq!(ask(&with, &hazardous, &set), Err(Rejection::NoEnd));
        }
        let us = || "us".to_owned();
        for ids in [vec![], vec!["them".to_owned()], vec![us(), us()]] {
            let with = |process: &mut Process| process.spec.conditions.runtime_ids.clone_from(&ids);
            let refused = ask(&with, &hazardous, &dispatch).unwrap_err().to_string();
            assert!(refused.contains("runtimeids [\"us\"]"), "{refused}");
            let anybody = Rules {
                require_target: false,
                ..hazardous
            };
            assert_eq!(ask(&with, &anybody, &dispatch), Ok(()));
            assert_eq!(ask(&with, &Rules::default(), &dispatch), Ok(()));
            // What reads, and what stops, is never held up.
            for free in [
                verb(Effect::Read, Urgency::Query),
                verb(Effect::Once, Urgency::Preempt),
                verb(Effect::Set, Urgency::Preempt),
            ] {
                assert_eq!(ask(&with, &hazardous, &free), Ok(()));
                let careless = |process: &mut Process| {
                    with(process);
                    process.spec.max_retries = 3;
                    process.spec.max_exec_time = 0;
                };
                assert_eq!(ask(&careless, &hazardous, &free), Ok(()));
            }
        }
        // But not what was meant for another day: it would end what runs now.
        let stale = |process: &mut Process| process.start_time = server(61);
        let rules = Rules {
            max_age: Some(seconds(60)),
            ..hazardous
        };
        let stop = verb(Effect::Set, Urgency::Preempt);
        assert!(matches!(ask(&stale, &rules, &stop), Err(Rejection::Stale { .. })));
    }
}
