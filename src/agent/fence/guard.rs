//! One attempt, from its assignment to its end, as a state machine: an event and the time go in, what is to be done
//! comes out (docs/fence.md, 2, 3 and 5).
//!
//! ```text
//! recording ──> (bounding) ──> (confirming) ──> the lease is checked ──> acting ──> ended
//!     │              │              │                   │                  │  └─ the server is looked at every few seconds
//!     └ refused      └ too late     └ not ours any more └ too late         └ stopping: the agent's end, or not ours any more
//! ```

use std::time::Duration;

use super::{Ending, Lease, Verdict, verdict};
use crate::clock::BootTime;
use crate::device::{CONFIRM_MAX_AGE, Effect, Urgency, Verb};

/// Verbs that may take longer than this are supervised (3).
pub const SUPERVISED: Duration = Duration::from_secs(5);
/// When the server did not say what must be known before acting, so long until it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What is known of an attempt before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What the verb changes.
    pub effect: Effect,
    /// The lease, as it surely lasts; `None`: the verb's own longest time takes its place.
    pub lease: Option<Lease>,
    /// The lease likely ends only then, and what it surely lasts may not do: an exchange bounds it before anything is
    /// done (2). `None`: nothing more is to be found out.
    pub likely_end: Option<BootTime>,
    /// How long before the lease's end the verb must have ended, for the device to be safe by then: see [`time_to_safe`].
    pub time_to_safe: Duration,
    /// The server must say, right before acting, that the process is still ours.
    pub confirm: bool,
    /// How often the server is looked at while the verb runs; `None`: it is short.
    pub supervise: Option<Duration>,
}

/// How much of a verb's lease is kept for making the device safe, which takes `device` now. None of it where the verb has
/// nothing to be made safe from: what reads leaves the device as it is, and what preempts *is* the way to safety, so it must
/// not be too late just because that takes long.
pub fn time_to_safe(verb: &Verb, device: Duration) -> Duration {
    match (verb.effect, verb.urgency) {
        (Effect::Read, _) | (_, Urgency::Preempt) => Duration::ZERO,
        _ => device,
    }
}

/// What the server says of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It runs, here, in this attempt.
    Ours,
    /// It does not; why.
    NotOurs(String),
    /// Nothing that can be relied on.
    Unclear,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// That it begins is durable.
    Recorded,
    /// It must not begin, and follows this.
    NotRecorded(Verdict),
    /// An exchange bounds the lease.
    Bounded {
        /// It does not end before this moment.
        surely: BootTime,
        /// Another exchange could show that it ends only then.
        likely: BootTime,
    },
    /// An exchange that should have bounded the lease failed.
    NotBounded,
    /// The server answered a question that was sent at that moment.
    Seen(BootTime, Seen),
    /// The verb ended, and the device is as it should be then.
    Ended(Ending),
    /// The agent stops, for this reason, and the grace time is over.
    Stop(String),
    /// It is [`Guard::wake`].
    Wake,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write down that it begins, and make that durable.
    Record {
        /// Beside that do what [`Action::Bound`] says.
        bound: bool,
    },
    /// Make an exchange by which the lease's end can be told.
    Bound,
    /// Ask the server about the process.
    Ask,
    /// Let the device perform the verb.
    Act {
        /// From here on it must not drive anything.
        until: Option<BootTime>,
        /// From here on it must not begin.
        begin_by: Option<BootTime>,
    },
    /// Stop the verb, for this reason; the device makes itself safe.
    Cancel(String),
    /// It is over, and this follows.
    Finish(Verdict),
}

/// One attempt.
#[derive(Debug)]
pub struct Guard {
    plan: Plan,
    stage: Stage,
    bounding: Bounding,
    /// A question is under way.
    asking: bool,
}

/// How far it is known when the lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bounding {
    /// As far as it must be.
    Done,
    /// An exchange is under way.
    UnderWay,
    /// An exchange failed or was slow: another at this moment.
    Again(BootTime),
}

#[derive(Debug)]
enum Stage {
    /// Its beginning is being written down. With a reason: the agent stops meanwhile.
    Recording { stop: Option<String> },
    /// It is written down; when its lease ends is not known yet.
    Bounding,
    /// The server is asked whether it is still ours, now or at this moment.
    Confirming { ask_at: BootTime },
    /// The verb runs; the server is looked at again at this moment.
    Acting { look_at: Option<BootTime> },
    /// The verb was told to stop. With a reason: the process is not ours any more.
    Stopping { lost: Option<String> },
    /// Nothing more happens.
    Over,
}

impl Guard {
    /// The attempt, and what is to be done first.
    pub fn new(plan: Plan) -> (Self, Action) {
        let bound = plan.likely_end.is_some();
        let guard = Guard {
            plan,
            stage: Stage::Recording { stop: None },
            bounding: if bound { Bounding::UnderWay } else { Bounding::Done },
            asking: false,
        };
        (guard, Action::Record { bound })
    }

    /// The lease as far as it is sure now.
    pub fn lease(&self) -> Option<Lease> {
        self.plan.lease
    }

    /// When to come back with [`Event::Wake`], if nothing happens before.
    pub fn wake(&self) -> Option<BootTime> {
        match &self.stage {
            Stage::Bounding => match self.bounding {
                Bounding::Again(at) => Some(self.latest_end().map_or(at, |end| end.min(at))),
                Bounding::Done | Bounding::UnderWay => self.latest_end(),
            },
            Stage::Confirming { .. } if self.asking => self.effective_end(),
            Stage::Confirming { ask_at } => {
                Some(self.effective_end().map_or(*ask_at, |end| end.min(*ask_at)))
            }
            Stage::Acting { look_at } if !self.asking => *look_at,
            _ => None,
        }
    }

    /// Takes what happened and says what is to be done about it.
    pub fn on(&mut self, event: Event, now: BootTime) -> Option<Action> {
        match event {
            Event::Seen(..) => self.asking = false,
            Event::Bounded { surely, likely } => self.bounded(surely, likely, now),
            Event::NotBounded => self.bounding_took(now),
            _ => {}
        }
        match (&mut self.stage, event) {
            (Stage::Recording { stop: None }, Event::Recorded) => {
                self.stage = Stage::Bounding;
                self.go_on(now)
            }
            (Stage::Recording { stop: Some(reason) }, Event::Recorded) => {
                let ending = Ending::Stopped(std::mem::take(reason));
                Some(self.finish(ending))
            }
            (Stage::Recording { .. }, Event::NotRecorded(verdict)) => Some(self.over(verdict)),
            (Stage::Recording { stop }, Event::Stop(reason)) => {
                // Whether it is written down decides what follows.
                *stop = Some(reason);
                None
            }

            (Stage::Bounding, Event::Bounded { .. } | Event::NotBounded | Event::Wake) => self.go_on(now),
            (Stage::Bounding, Event::Stop(reason)) => Some(self.finish(Ending::Stopped(reason))),

            (Stage::Confirming { .. }, Event::Seen(sent_at, Seen::Ours)) => {
                let begin_by = sent_at + CONFIRM_MAX_AGE;
                if now < begin_by {
                    Some(self.act(Some(begin_by), now))
                } else {
                    // It says what was, and is too old to say what is.
                    self.confirm(now)
                }
            }
            (Stage::Confirming { .. }, Event::Seen(_, Seen::NotOurs(reason))) => {
                Some(self.finish(Ending::Lost(reason)))
            }
            (Stage::Confirming { ask_at }, Event::Seen(_, Seen::Unclear)) => {
                *ask_at = now + ASK_AGAIN;
                self.too_late(now)
            }
            (Stage::Confirming { ask_at }, Event::Wake) => {
                let due = now >= *ask_at;
                self.too_late(now).or_else(|| due.then(|| self.ask()).flatten())
            }
            (Stage::Confirming { .. }, Event::Stop(reason)) => Some(self.finish(Ending::Stopped(reason))),

            (Stage::Acting { .. }, Event::Ended(Ending::Unconfirmed)) => self.confirm(now),
            (Stage::Acting { .. }, Event::Ended(ending)) => Some(self.finish(ending)),
            (Stage::Acting { look_at }, Event::Wake) => {
                let due = look_at.is_some_and(|at| now >= at);
                due.then(|| self.ask()).flatten()
            }
            (Stage::Acting { .. }, Event::Seen(_, Seen::NotOurs(reason))) => {
                let lost = Some(reason.clone());
                self.stage = Stage::Stopping { lost };
                Some(Action::Cancel(format!("the server says that {reason}")))
            }
            (Stage::Acting { look_at }, Event::Seen(..)) => {
                *look_at = self.plan.supervise.map(|every| now + every);
                None
            }
            (Stage::Acting { .. }, Event::Stop(reason)) => {
                self.stage = Stage::Stopping { lost: None };
                Some(Action::Cancel(reason))
            }

            (Stage::Stopping { lost }, Event::Ended(ending)) => {
                let ending = lost.take().map_or(ending, Ending::Lost);
                Some(self.finish(ending))
            }
            // An answer to a question whose stage is over, a wake that something else overtook.
            _ => None,
        }
    }

    fn effective_end(&self) -> Option<BootTime> {
        let lease = self.plan.lease?;
        Some(lease.effective_end(self.plan.time_to_safe))
    }

    /// Where the lease's end is not known yet: when even the best that an exchange could show is over.
    fn latest_end(&self) -> Option<BootTime> {
        let surely = self.plan.lease?;
        let end = self
            .plan
            .likely_end
            .map_or(surely.end, |likely| likely.max(surely.end));
        Some(Lease { end, ..surely }.effective_end(self.plan.time_to_safe))
    }

    fn bounded(&mut self, surely: BootTime, likely: BootTime, now: BootTime) {
        if let Some(lease) = &mut self.plan.lease {
            lease.end = lease.end.max(surely);
        }
        self.plan.likely_end = Some(likely);
        self.bounding_took(now);
    }

    /// After an exchange that showed something or nothing: what is surely left of the lease will do if that is at least half of
    /// what is likely left. Else another exchange may show more.
    fn bounding_took(&mut self, now: BootTime) {
        let left = |end: Option<BootTime>| end.map(|end| end.saturating_since(now)).unwrap_or_default();
        self.bounding = if left(self.effective_end()) >= left(self.latest_end()) / 2 {
            Bounding::Done
        } else {
            Bounding::Again(now + ASK_AGAIN)
        };
    }

    /// What is written down goes on once it is known when its lease ends.
    fn go_on(&mut self, now: BootTime) -> Option<Action> {
        match self.bounding {
            Bounding::Done if self.plan.confirm => self.confirm(now),
            Bounding::Done => Some(self.act(None, now)),
            _ if self.latest_end().is_some_and(|end| now >= end) => Some(self.finish(Ending::TooLate)),
            Bounding::Again(at) if now >= at => {
                self.bounding = Bounding::UnderWay;
                Some(Action::Bound)
            }
            Bounding::Again(_) | Bounding::UnderWay => None,
        }
    }

    fn ask(&mut self) -> Option<Action> {
        if self.asking {
            return None;
        }
        self.asking = true;
        Some(Action::Ask)
    }

    fn confirm(&mut self, now: BootTime) -> Option<Action> {
        self.stage = Stage::Confirming { ask_at: now };
        self.too_late(now).or_else(|| self.ask())
    }

    /// The end of an attempt whose lease is over before it acted.
    fn too_late(&mut self, now: BootTime) -> Option<Action> {
        let over = self.effective_end().is_some_and(|end| now >= end);
        over.then(|| self.finish(Ending::TooLate))
    }

    fn act(&mut self, begin_by: Option<BootTime>, now: BootTime) -> Action {
        if let Some(late) = self.too_late(now) {
            return late;
        }
        self.stage = Stage::Acting {
            look_at: self.plan.supervise.map(|every| now + every),
        };
        Action::Act {
            until: self.effective_end(),
            begin_by,
        }
    }

    fn finish(&mut self, ending: Ending) -> Action {
        self.over(verdict(ending, self.plan.effect, self.plan.lease))
    }

    fn over(&mut self, verdict: Verdict) -> Action {
        self.stage = Stage::Over;
        Action::Finish(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Close;
    use super::super::samples::seconds;
    use super::*;

    fn at(seconds: f64) -> BootTime {
        BootTime::from_nanos((seconds * 1e9) as u64)
    }

    #[test]
    fn only_what_must_be_made_safe_in_time_gives_lease_for_it() {
        let verb = |effect, urgency| Verb {
            name: "verb".into(),
            usage: "".into(),
            help: "".into(),
            effect,
            urgency,
            max_time: seconds(1),
        };
        let minutes = seconds(180);
        for effect in [Effect::Set, Effect::Once] {
            assert_eq!(time_to_safe(&verb(effect, Urgency::Work), minutes), minutes);
            let stops = verb(effect, Urgency::Preempt);
            assert_eq!(
                time_to_safe(&stops, minutes),
                Duration::ZERO,
                "far out, and never too late"
            );
        }
        for urgency in [Urgency::Query, Urgency::Work] {
            assert_eq!(
                time_to_safe(&verb(Effect::Read, urgency), minutes),
                Duration::ZERO
            );
        }
    }

    /// A *once* verb with a lease from 100 s to 160 s: the margin is 250 ms, safe within a second.
    fn plan() -> Plan {
        Plan {
            effect: Effect::Once,
            lease: Some(Lease::new(at(160.0), seconds(60))),
            likely_end: None,
            time_to_safe: seconds(1),
            confirm: false,
            supervise: None,
        }
    }

    fn recorded(plan: Plan) -> (Guard, Option<Action>) {
        let (mut guard, first) = Guard::new(plan);
        assert_eq!(first, Action::Record { bound: false });
        let next = guard.on(Event::Recorded, at(100.0));
        (guard, next)
    }

    fn act(begin_by: Option<BootTime>) -> Option<Action> {
        let until = Some(at(158.75));
        Some(Action::Act { until, begin_by })
    }

    #[test]
    fn nothing_is_done_before_it_is_written_down() {
        let (mut guard, _) = Guard::new(plan());
        for event in [Event::Wake, Event::Seen(at(100.0), Seen::Ours)] {
            assert_eq!(guard.on(event, at(100.0)), None);
        }
        assert_eq!(guard.on(Event::Recorded, at(100.0)), act(None));
        let done = guard.on(Event::Ended(Ending::Done), at(101.0));
        assert_eq!(done, Some(Action::Finish(Verdict::Close(Close::Successful))));
        assert_eq!(guard.on(Event::Recorded, at(101.0)), None, "it is over");
    }

    #[test]
    fn what_can_t_be_written_down_is_not_done() {
        let (mut guard, _) = Guard::new(plan());
        let refused = Verdict::Close(Close::Failed("the disk is full".to_owned()));
        let next = guard.on(Event::NotRecorded(refused.clone()), at(100.0));
        assert_eq!(next, Some(Action::Finish(refused)));
    }

    #[test]
    fn the_lease_is_checked_after_writing_and_a_mark_that_stands_is_said() {
        for (effect, closes) in [(Effect::Set, false), (Effect::Once, true)] {
            for (now, acts) in [(158.749, true), (158.75, false)] {
                let (mut guard, _) = Guard::new(Plan { effect, ..plan() });
                let next = guard.on(Event::Recorded, at(now)).unwrap();
                match next {
                    Action::Act { .. } => assert!(acts, "{now}"),
                    Action::Finish(Verdict::Leave) => assert!(!acts && !closes),
                    Action::Finish(Verdict::CloseBefore(end, Close::Failed(_))) => {
                        assert!(!acts && closes && end == at(160.0));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_confirmation_counts_from_its_sending_and_is_void_after_a_second() {
        let confirmed = Plan {
            confirm: true,
            ..plan()
        };
        let (mut guard, next) = recorded(confirmed);
        assert_eq!(next, Some(Action::Ask));
        let slow = guard.on(Event::Seen(at(100.0), Seen::Ours), at(101.0));
        assert_eq!(slow, Some(Action::Ask), "a second old is too old");
        let quick = guard.on(Event::Seen(at(101.0), Seen::Ours), at(101.999));
        assert_eq!(quick, act(Some(at(102.0))));
        // The device was busy until then: ask again.
        let again = guard.on(Event::Ended(Ending::Unconfirmed), at(102.0));
        assert_eq!(again, Some(Action::Ask));
        let gone = guard.on(
            Event::Seen(at(102.0), Seen::NotOurs("it has ended".into())),
            at(102.1),
        );
        assert_eq!(gone, Some(Action::Finish(Verdict::Drop("it has ended".into()))));
    }

    #[test]
    fn without_a_clear_answer_it_is_asked_again_until_the_lease_is_over() {
        let confirmed = Plan {
            confirm: true,
            ..plan()
        };
        let (mut guard, _) = recorded(confirmed);
        assert_eq!(guard.wake(), Some(at(158.75)), "an answer may be long under way");
        assert_eq!(guard.on(Event::Seen(at(100.0), Seen::Unclear), at(103.0)), None);
        assert_eq!(guard.wake(), Some(at(104.0)));
        assert_eq!(guard.on(Event::Wake, at(103.5)), None, "too early");
        assert_eq!(guard.on(Event::Wake, at(104.0)), Some(Action::Ask));
        assert_eq!(guard.on(Event::Wake, at(105.0)), None, "one question at a time");
        let late = guard.on(Event::Wake, at(158.75));
        assert!(
            matches!(late, Some(Action::Finish(Verdict::CloseBefore(..)))),
            "{late:?}"
        );
        assert_eq!(guard.on(Event::Seen(at(158.0), Seen::Ours), at(159.0)), None);
    }

    #[test]
    fn a_long_verb_is_looked_after_and_stopped_when_it_is_not_ours_any_more() {
        let long = Plan {
            supervise: Some(seconds(5)),
            ..plan()
        };
        let (mut guard, next) = recorded(long);
        assert_eq!(next, act(None));
        assert_eq!(guard.wake(), Some(at(105.0)));
        assert_eq!(guard.on(Event::Wake, at(105.0)), Some(Action::Ask));
        assert_eq!(guard.wake(), None);
        for (seen, now) in [(Seen::Ours, 106.0), (Seen::Unclear, 112.0)] {
            assert_eq!(guard.on(Event::Seen(at(105.0), seen), at(now)), None);
            assert_eq!(
                guard.wake(),
                Some(at(now + 5.0)),
                "not to be known is no reason to stop"
            );
            assert_eq!(guard.on(Event::Wake, at(now + 5.0)), Some(Action::Ask));
        }
        let gone = Seen::NotOurs("it was assigned to another runtime".into());
        let Some(Action::Cancel(reason)) = guard.on(Event::Seen(at(117.0), gone), at(117.1)) else {
            panic!("not stopped");
        };
        assert_eq!(reason, "the server says that it was assigned to another runtime");
        // However the verb ends then, there is nobody to tell.
        let end = guard.on(Event::Ended(Ending::Done), at(117.2));
        let lost = Verdict::Drop("it was assigned to another runtime".into());
        assert_eq!(end, Some(Action::Finish(lost)));
    }

    #[test]
    fn the_agents_stop_is_told_to_whatever_stage_there_is() {
        let stop = || Event::Stop("SIGTERM".to_owned());
        let failed = Some(Action::Finish(Verdict::Close(Close::Failed(
            "SIGTERM".to_owned(),
        ))));
        let (mut recording, _) = Guard::new(plan());
        assert_eq!(recording.on(stop(), at(100.0)), None);
        assert_eq!(
            recording.on(Event::Recorded, at(100.1)),
            failed,
            "its mark stands"
        );

        let confirmed = Plan {
            confirm: true,
            ..plan()
        };
        let (mut confirming, _) = recorded(confirmed);
        assert_eq!(confirming.on(stop(), at(100.0)), failed);

        let (mut acting, _) = recorded(plan());
        assert_eq!(
            acting.on(stop(), at(101.0)),
            Some(Action::Cancel("SIGTERM".to_owned()))
        );
        let ended = acting.on(Event::Ended(Ending::Stopped("SIGTERM".to_owned())), at(101.1));
        assert_eq!(ended, failed);
    }

    /// What is sure ends at 120 s, the rest of the plan's lease is likely.
    fn unbounded() -> (Guard, Action) {
        Guard::new(Plan {
            lease: Some(Lease::new(at(120.0), seconds(60))),
            likely_end: Some(at(160.0)),
            ..plan()
        })
    }

    #[test]
    fn a_lease_that_is_not_bounded_yet_waits_for_an_exchange_beside_the_journal() {
        let bounded = || Event::Bounded {
            surely: at(160.0),
            likely: at(160.0),
        };
        let (mut guard, first) = unbounded();
        assert_eq!(first, Action::Record { bound: true });
        assert_eq!(guard.on(Event::Recorded, at(125.0)), None);
        assert_eq!(
            guard.lease().unwrap().end,
            at(120.0),
            "until then only that is sure"
        );
        assert_eq!(guard.wake(), Some(at(158.75)));
        assert_eq!(guard.on(bounded(), at(126.0)), act(None));
        assert_eq!(guard.lease().unwrap().end, at(160.0));
        // The other way round.
        let (mut guard, _) = unbounded();
        assert_eq!(guard.on(bounded(), at(125.0)), None);
        assert_eq!(guard.on(Event::Recorded, at(126.0)), act(None));
    }

    #[test]
    fn a_step_that_the_exchange_shows_leaves_what_is_sure() {
        let stepped = || Event::Bounded {
            surely: at(120.0),
            likely: at(120.0),
        };
        let (mut guard, _) = unbounded();
        guard.on(Event::Recorded, at(100.0));
        let until = Some(at(118.75));
        let begin_by = None;
        assert_eq!(
            guard.on(stepped(), at(101.0)),
            Some(Action::Act { until, begin_by })
        );
        let (mut guard, _) = unbounded();
        guard.on(Event::Recorded, at(125.0));
        let Some(Action::Finish(Verdict::CloseBefore(before, _))) = guard.on(stepped(), at(126.0)) else {
            panic!("too late: {guard:?}");
        };
        assert_eq!(before, at(120.0), "after that it may be somebody else's");
    }

    #[test]
    fn an_exchange_that_fails_or_is_slow_is_made_again_within_the_likely_lease() {
        let (mut guard, _) = unbounded();
        guard.on(Event::Recorded, at(125.0));
        assert_eq!(guard.on(Event::NotBounded, at(130.0)), None);
        assert_eq!(guard.wake(), Some(at(131.0)));
        assert_eq!(guard.on(Event::Wake, at(131.0)), Some(Action::Bound));
        assert_eq!(guard.on(Event::Wake, at(131.5)), None, "one at a time");
        let slow = Event::Bounded {
            surely: at(130.0),
            likely: at(160.0),
        };
        assert_eq!(guard.on(slow, at(140.0)), None);
        assert_eq!(guard.on(Event::Wake, at(141.0)), Some(Action::Bound));
        let over = guard.on(Event::Wake, at(158.75));
        assert!(
            matches!(over, Some(Action::Finish(Verdict::CloseBefore(..)))),
            "{over:?}"
        );
        // Where much is sure all the same, that will do.
        let (mut guard, _) = unbounded();
        guard.on(Event::Recorded, at(70.0));
        let (until, begin_by) = (Some(at(118.75)), None);
        assert_eq!(
            guard.on(Event::NotBounded, at(71.0)),
            Some(Action::Act { until, begin_by })
        );
        // The agent's end ends that too.
        let (mut guard, _) = unbounded();
        guard.on(Event::Recorded, at(125.0));
        let stopped = guard.on(Event::Stop("stop".to_owned()), at(126.0));
        assert!(
            matches!(stopped, Some(Action::Finish(Verdict::Close(_)))),
            "{stopped:?}"
        );
    }

    #[test]
    fn what_must_be_confirmed_is_confirmed_after_its_lease_is_bounded() {
        let (mut guard, _) = Guard::new(Plan {
            likely_end: Some(at(170.0)),
            confirm: true,
            ..plan()
        });
        assert_eq!(guard.on(Event::Recorded, at(100.0)), None);
        let bounded = Event::Bounded {
            surely: at(160.0),
            likely: at(160.0),
        };
        assert_eq!(guard.on(bounded, at(100.1)), Some(Action::Ask));
        assert_eq!(
            guard.on(Event::Seen(at(100.1), Seen::Ours), at(100.2)),
            act(Some(at(101.1)))
        );
    }
}
