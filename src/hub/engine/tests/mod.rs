//! The engine by hand: a store in memory, a clock that is moved, callers that are channels.

mod on_disk;
mod tidying;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::clock::TestClock;
use crate::hub::ledger::{MemoryStore, View, resume};
use crate::hub::testing::{self, HandClock, START, YEARS_56, id, spec};
use crate::protocol::model::{Attribute, Colony, Process, ProcessSpec, ProcessState, Runtime, SUBMISSION_ID};
use crate::protocol::time::Time;

const SERVER: u8 = 1;
const OWNER: u8 = 2;
const RT1: u8 = 11;
const RT2: u8 = 12;

struct Hub<S> {
    engine: Engine<S>,
    hands: Arc<HandClock>,
    returns: mpsc::UnboundedReceiver<Attempt>,
}

type Asked = oneshot::Receiver<Reply>;

fn ended(mut asked: Asked) -> Result<Answer, Refusal> {
    asked.try_recv().expect("an answer").map(Delivery::take)
}

fn process(result: Result<Answer, Refusal>) -> Process {
    match result {
        Ok(Answer::Process(process)) => *process,
        other => panic!("no process: {other:?}"),
    }
}

fn still_waits(asked: &mut Asked) -> bool {
    matches!(asked.try_recv(), Err(TryRecvError::Empty))
}

fn job(caller: u8, request: Request) -> (Input, Asked) {
    let (reply, asked) = oneshot::channel();
    let caller = id(caller);
    let job = Job {
        caller,
        request,
        reply,
    };
    (Input::Job(job), asked)
}

fn assign(timeout: i64) -> Request {
    Request::Assign {
        colony_id: id(OWNER),
        latest: false,
        timeout,
    }
}

fn submit(spec: ProcessSpec) -> Request {
    Request::Submit(Box::new(spec))
}

impl Hub<MemoryStore> {
    /// A colony with two approved runtimes.
    fn new() -> Self {
        Hub::on(MemoryStore::new(), HandClock::new()).with_colony()
    }
}

impl<S: Store> Hub<S> {
    fn on(mut store: S, hands: Arc<HandClock>) -> Self {
        let clock = Arc::new(resume(&mut store, hands.clone()).unwrap());
        let (sender, returns) = mpsc::unbounded_channel();
        let service = Service::new(id(SERVER));
        // After a restart on the same database the ids must be others.
        let entropy = testing::counting(clock.moment().stamp.unix_nanos());
        let engine = Engine::new(store, service, clock, entropy, 4, sender);
        Hub {
            engine,
            hands,
            returns,
        }
    }

    fn with_colony(mut self) -> Self {
        let colony = Colony {
            id: id(OWNER),
            name: "dev".into(),
        };
        self.ask(SERVER, Request::AddColony(Some(colony))).unwrap();
        for runtime in [RT1, RT2] {
            let runtime = Runtime {
                id: id(runtime),
                runtime_type: "cli".into(),
                colony_id: id(OWNER),
                ..Runtime::default()
            };
            self.ask(OWNER, Request::AddRuntime(runtime.clone())).unwrap();
            let runtime_id = runtime.id;
            self.ask(OWNER, Request::ApproveRuntime { runtime_id }).unwrap();
        }
        self
    }

    /// One request in a turn of its own, which has to end at once.
    fn ask(&mut self, caller: u8, request: Request) -> Result<Answer, Refusal> {
        ended(self.start(caller, request))
    }

    fn start(&mut self, caller: u8, request: Request) -> Asked {
        let (input, asked) = job(caller, request);
        self.engine.turn(vec![input]);
        asked
    }

    fn submit(&mut self, spec: ProcessSpec) -> Process {
        process(self.ask(RT1, submit(spec)))
    }

    fn get(&mut self, id: &str) -> Process {
        let process_id = id.to_owned();
        process(self.ask(RT1, Request::GetProcess { process_id }))
    }

    fn close(&mut self, caller: u8, id: &str) -> Result<Answer, Refusal> {
        let process_id = id.to_owned();
        self.ask(caller, Request::CloseSuccessful { process_id })
    }

    fn advance(&mut self, span: Duration) {
        self.hands.advance(span);
        self.engine.turn(Vec::new());
    }

    /// What the loop does: puts in again what came back.
    fn take_returns(&mut self) -> usize {
        let mut inputs = Vec::new();
        while let Ok(attempt) = self.returns.try_recv() {
            inputs.push(Input::Return(attempt));
        }
        let count = inputs.len();
        self.engine.turn(inputs);
        count
    }
}

fn plain() -> ProcessSpec {
    spec(&id(OWNER), "cli")
}

fn limited(wait: i64, exec: i64, retries: i64) -> ProcessSpec {
    ProcessSpec {
        max_wait_time: wait,
        max_exec_time: exec,
        max_retries: retries,
        ..plain()
    }
}

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_queue_is_strict_and_honours_targets() {
    let mut hub = Hub::new();
    let mut targeted = plain();
    targeted.conditions.runtime_ids = vec![id(RT2)];
    let mut everybody = plain();
    everybody.conditions.runtime_ids = vec!["*".into()];
    let mut starving = plain();
    starving.conditions.runtime_ids = vec!["*".into(), id(RT2)];
    let ids: Vec<String> = [plain(), targeted, starving, everybody, plain()]
        .map(|spec| hub.submit(spec).id)
        .into();
    let got = |hub: &mut Hub<_>, caller| process(hub.ask(caller, assign(-1))).id;
    assert_eq!(got(&mut hub, RT1), ids[0]);
    assert_eq!(got(&mut hub, RT1), ids[3], "targets are passed over");
    assert_eq!(got(&mut hub, RT2), ids[1], "but keep their place");
    assert_eq!(got(&mut hub, RT2), ids[2]);
    assert_eq!(got(&mut hub, RT1), ids[4]);
    let caller = id(RT1);
    assert_eq!(hub.ask(RT1, assign(-1)), Err(Refusal::NothingToAssign { caller }));
    assert_eq!(hub.ask(RT1, assign(0)), Err(Refusal::ZeroTimeout));
}

#[test]
fn one_waiter_is_woken_for_one_process_in_the_same_commit() {
    let mut hub = Hub::new();
    let first = hub.start(RT2, assign(10));
    let mut second = hub.start(RT1, assign(10));
    assert_eq!(hub.engine.waiting(), 2);
    let mut events = hub.engine.events();
    let submitted = hub.submit(plain());
    // No further turn: the assignment rode along.
    let assigned = process(ended(first));
    assert_eq!(assigned.id, submitted.id);
    assert_eq!(assigned.assigned_runtime_id, id(RT2));
    assert!(still_waits(&mut second), "the other goes on waiting");
    assert_eq!(events.try_recv().unwrap().cause, Cause::Submitted);
    assert_eq!(events.try_recv().unwrap().cause, Cause::Assigned);
    assert_eq!(submitted.state, ProcessState::Waiting);

    hub.advance(10 * SECOND - NANO);
    assert!(still_waits(&mut second));
    hub.advance(NANO);
    let caller = id(RT1);
    assert_eq!(ended(second), Err(Refusal::NothingToAssign { caller }));
    assert_eq!(hub.engine.waiting(), 0);
}

#[test]
fn a_targeted_process_passes_by_those_it_is_not_for() {
    let mut hub = Hub::new();
    let mut first = hub.start(RT1, assign(10));
    let second = hub.start(RT2, assign(10));
    let mut targeted = plain();
    targeted.conditions.runtime_ids = vec![id(RT2)];
    let submitted = hub.submit(targeted);
    assert_eq!(process(ended(second)).id, submitted.id);
    assert!(still_waits(&mut first));
}

#[test]
fn who_hung_up_is_given_nothing() {
    let mut hub = Hub::new();
    drop(hub.start(RT1, assign(10)));
    let there = hub.start(RT2, assign(10));
    let submitted = hub.submit(plain());
    assert_eq!(process(ended(there)).id, submitted.id);

    // Gone before its turn: not even looked at.
    let submitted = hub.submit(plain());
    let (input, asked) = job(RT1, assign(-1));
    drop(asked);
    hub.engine.turn(vec![input]);
    assert_eq!(hub.get(&submitted.id).state, ProcessState::Waiting);
    assert_eq!(hub.engine.waiting(), 0);
}

#[test]
fn what_nobody_takes_was_never_assigned() {
    let mut hub = Hub::new();
    let before = hub.submit(limited(60, 60, 0));
    let after = hub.submit(plain());
    // The answer is on its way when the caller vanishes.
    let lost = hub.start(RT1, assign(-1));
    assert_eq!(hub.get(&before.id).state, ProcessState::Running);
    drop(lost);
    let waiting = hub.get(&before.id);
    assert_eq!(
        waiting.state,
        ProcessState::Running,
        "not yet: it comes back as an input"
    );
    assert_eq!(hub.take_returns(), 1);
    assert_eq!(hub.get(&before.id), before, "as if never assigned");
    // In its old place, and not given back twice.
    assert_eq!(process(hub.ask(RT2, assign(-1))).id, before.id);
    assert_eq!(hub.take_returns(), 0);
    assert_eq!(process(hub.ask(RT2, assign(-1))).id, after.id);
}

#[test]
fn what_comes_back_late_is_left_alone() {
    let mut hub = Hub::new();
    let submitted = hub.submit(limited(-1, 1, 5));
    let lost = hub.start(RT1, assign(-1));
    hub.advance(SECOND);
    let again = process(hub.ask(RT2, assign(-1)));
    assert_eq!(again.retries, 1);
    drop(lost);
    assert_eq!(hub.take_returns(), 1);
    let is = hub.get(&submitted.id);
    assert_eq!(is.assigned_runtime_id, id(RT2));
    assert_eq!(is.state, ProcessState::Running);
}

#[test]
fn a_runtime_rejected_while_it_waits_gets_nothing() {
    let mut hub = Hub::new();
    let rejected = hub.start(RT1, assign(10));
    let deleted = hub.start(RT2, assign(10));
    let runtime_id = id(RT1);
    hub.ask(OWNER, Request::RejectRuntime { runtime_id }).unwrap();
    let caller = id(RT1);
    assert_eq!(ended(rejected), Err(Refusal::NotApproved { caller }));
    let runtime_id = id(RT2);
    hub.ask(OWNER, Request::DeleteRuntime { runtime_id }).unwrap();
    assert!(matches!(ended(deleted), Err(Refusal::NotMember { .. })));

    // In the same batch, the rejection first.
    let runtime_id = id(RT1);
    hub.ask(OWNER, Request::ApproveRuntime { runtime_id }).unwrap();
    let submitted = hub.submit(plain());
    let runtime_id = id(RT1);
    let (reject, _kept) = job(OWNER, Request::RejectRuntime { runtime_id });
    let (input, asked) = job(RT1, assign(-1));
    hub.engine.turn(vec![reject, input]);
    assert!(matches!(ended(asked), Err(Refusal::NotApproved { .. })));
    let record = hub.engine.store().record(&submitted.id).unwrap().unwrap();
    assert_eq!(record.process.state, ProcessState::Waiting);
}

#[test]
fn a_lease_ends_at_its_deadline_and_not_before() {
    let mut hub = Hub::new();
    let submitted = hub.submit(limited(-1, 5, 3));
    for round in 0..4 {
        let assigned = process(hub.ask(RT1, assign(-1)));
        assert_eq!(assigned.id, submitted.id);
        assert_eq!(assigned.retries, round, "R retries are R + 1 executions");
        assert_eq!(
            assigned.exec_deadline.since(assigned.start_time),
            Some(5 * SECOND)
        );
        hub.advance(5 * SECOND - NANO);
        assert_eq!(hub.get(&submitted.id).state, ProcessState::Running);
        // Not the timer decides but the clock: the close arrives at the very moment and is late.
        hub.hands.advance(NANO);
        let late = hub.close(RT1, &submitted.id).unwrap_err();
        if round < 3 {
            assert_eq!(
                late,
                Refusal::NotAssigned {
                    assigned: String::new()
                }
            );
        } else {
            let (from, to) = (ProcessState::Failed, ProcessState::Successful);
            assert_eq!(late, Refusal::WrongState { from, to });
        }
    }
    let failed = hub.get(&submitted.id);
    assert_eq!(failed.state, ProcessState::Failed);
    assert_eq!(failed.retries, 3);
    assert_eq!(failed.error_message, "Maximum execution time limit exceeded");
    assert!(failed.is_assigned, "the history keeps its worker");
    assert_eq!(failed.end_time.since(failed.exec_deadline), Some(Duration::ZERO));
    assert!(hub.ask(RT1, assign(-1)).is_err());
}

#[test]
fn waiting_too_long_fails_also_after_a_requeue_and_is_never_assigned() {
    let mut hub = Hub::new();
    let waits = hub.submit(limited(3, -1, 3));
    let runs = hub.submit(limited(4, 5, 3));
    let mut targeted = limited(-1, 1, -1);
    targeted.conditions.runtime_ids = vec![id(RT2)];
    hub.submit(targeted);
    hub.advance(3 * SECOND);
    let failed = hub.get(&waits.id);
    assert_eq!(failed.state, ProcessState::Failed);
    assert_eq!(failed.error_message, "Maximum waiting time limit exceeded");
    assert!(!failed.is_assigned);
    assert_eq!(failed.end_time.since(waits.submission_time), Some(3 * SECOND));
    assert_eq!(
        process(hub.ask(RT1, assign(-1))).id,
        runs.id,
        "the failed one is passed over"
    );
    hub.advance(5 * SECOND);
    let failed = hub.get(&runs.id);
    assert_eq!(failed.state, ProcessState::Failed);
    assert_eq!(failed.error_message, "Maximum waiting time limit exceeded");
    assert_eq!(failed.retries, 1);
    assert!(!failed.is_assigned);
}

#[test]
fn no_limit_is_stored_as_such() {
    let mut hub = Hub::new();
    for (sent, stored) in [(0, -1), (-1, -1), (-7, -1), (5, 5)] {
        let spec = limited(0, sent, 0);
        assert_eq!(hub.submit(spec).spec.max_exec_time, stored);
    }
    for (sent, stored) in [(0, 0), (-1, -1), (-7, -1), (5, 5)] {
        let process = hub.submit(limited(sent, 0, 0));
        assert_eq!(process.spec.max_wait_time, stored);
        assert_eq!(process.wait_deadline.is_never(), sent <= 0);
    }
    let assigned = process(hub.ask(RT1, assign(-1)));
    assert!(assigned.exec_deadline.is_never());
    hub.advance(Duration::from_secs(1_000_000_000));
    assert_eq!(hub.get(&assigned.id).state, ProcessState::Running);
}

#[test]
fn a_requeued_process_keeps_its_place_and_wakes_a_waiter() {
    let mut hub = Hub::new();
    let first = hub.submit(limited(-1, 2, -1));
    process(hub.ask(RT1, assign(-1)));
    let waiter = hub.start(RT2, assign(10));
    hub.advance(2 * SECOND);
    let again = process(ended(waiter));
    assert_eq!((again.id, again.retries), (first.id.clone(), 1));
    let second = hub.submit(plain());
    hub.advance(2 * SECOND);
    assert_eq!(
        process(hub.ask(RT1, assign(-1))).id,
        first.id,
        "before the later one"
    );
    assert_eq!(process(hub.ask(RT1, assign(-1))).id, second.id);
}

#[test]
fn deleting_a_runtime_puts_its_work_back() {
    let mut hub = Hub::new();
    let submitted = hub.submit(limited(60, 60, 0));
    process(hub.ask(RT2, assign(-1)));
    let waiter = hub.start(RT1, assign(10));
    let runtime_id = id(RT2);
    hub.ask(OWNER, Request::DeleteRuntime { runtime_id }).unwrap();
    let again = process(ended(waiter));
    assert_eq!((again.id, again.retries), (submitted.id, 0));
    assert!(again.end_time.is_never());
}

#[test]
fn a_failed_commit_leaves_nothing_behind_and_the_next_works() {
    let mut hub = Hub::new();
    let mut waiter = hub.start(RT2, assign(10));
    hub.engine.store_mut().set_broken(true);
    let (one, asked_one) = job(RT1, submit(plain()));
    let (two, asked_two) = job(RT1, Request::GetRuntimes { colony_id: id(OWNER) });
    hub.engine.turn(vec![one, two]);
    // All of the batch, and the one who was given the process.
    for asked in [asked_one, asked_two] {
        assert!(matches!(ended(asked), Err(Refusal::Unavailable { .. })));
    }
    assert!(matches!(
        waiter.try_recv().unwrap(),
        Err(Refusal::Unavailable { .. })
    ));
    hub.engine.store_mut().set_broken(false);
    assert_eq!(hub.engine.store().last_seq(), Ok(0));
    let submitted = hub.submit(plain());
    assert_eq!(process(hub.ask(RT1, assign(-1))).id, submitted.id);
}

#[test]
fn after_a_failed_commit_deadlines_and_returns_are_tried_again_but_not_at_once() {
    let mut hub = Hub::new();
    let submitted = hub.submit(limited(-1, 1, -1));
    let other = hub.submit(plain());
    process(hub.ask(RT1, assign(-1)));
    drop(hub.start(RT1, assign(-1)));
    hub.engine.store_mut().set_broken(true);
    hub.hands.advance(SECOND);
    assert_eq!(hub.take_returns(), 1);
    let now = hub.engine.clock().moment().boot;
    assert_eq!(hub.engine.next_wakeup(), Some(now + AFTER_FAILURE));
    hub.engine.store_mut().set_broken(false);
    hub.advance(AFTER_FAILURE);
    assert_eq!(hub.get(&submitted.id).state, ProcessState::Waiting);
    assert_eq!(hub.get(&other.id).state, ProcessState::Waiting);
    assert_eq!(hub.engine.next_wakeup(), None);
}

#[test]
fn waiters_are_limited_and_the_gone_make_room() {
    let mut hub = Hub::new();
    let kept: Vec<Asked> = (0..3).map(|_| hub.start(RT1, assign(10))).collect();
    drop(hub.start(RT1, assign(10)));
    let mut fifth = hub.start(RT2, assign(10));
    assert!(still_waits(&mut fifth), "the one who hung up made room");
    assert!(matches!(
        hub.ask(RT1, assign(10)),
        Err(Refusal::Unavailable { .. })
    ));
    hub.engine.turn(vec![Input::Drain]);
    for asked in kept {
        assert!(matches!(ended(asked), Err(Refusal::NothingToAssign { .. })));
    }
    assert!(
        matches!(hub.ask(RT1, assign(10)), Err(Refusal::NothingToAssign { .. })),
        "nobody waits any more"
    );
}

#[test]
fn the_same_submission_is_stored_once() {
    let mut hub = Hub::new();
    let mut spec = plain();
    spec.env.insert(SUBMISSION_ID.to_owned(), "s-1".to_owned());
    let first = hub.submit(spec.clone());
    let assigned = process(hub.ask(RT2, assign(-1)));
    let again = hub.submit(spec.clone());
    assert_eq!(again.id, first.id);
    assert_eq!(again.state, ProcessState::Running, "as it is now");
    assert_eq!(again.attributes, assigned.attributes);
    assert!(hub.ask(RT2, assign(-1)).is_err());
    // Another caller's is another one.
    let others = process(hub.ask(RT2, submit(spec.clone())));
    assert_ne!(others.id, first.id);
    // Forgotten with the process.
    let process_id = first.id.clone();
    hub.ask(RT1, Request::DeleteProcess { process_id }).unwrap();
    assert_ne!(hub.submit(spec).id, first.id);
}

#[test]
fn attributes_are_set_once_and_env_is_rebuilt() {
    use crate::protocol::model::AttributeKind::{Env, Out};
    let mut hub = Hub::new();
    let mut spec = plain();
    spec.env.insert("TEST".into(), "testenv".into());
    let submitted = hub.submit(spec);
    process(hub.ask(RT1, assign(-1)));
    let attribute = |kind, key: &str| {
        Request::AddAttribute(Attribute {
            target_id: submitted.id.clone(),
            target_colony_id: "as sent".into(),
            kind,
            key: key.into(),
            value: "v".into(),
            ..Attribute::default()
        })
    };
    assert!(hub.ask(RT1, attribute(Out, "output")).is_ok());
    assert_eq!(
        hub.ask(RT1, attribute(Out, "output")),
        Err(Refusal::Duplicate { table: "attributes" })
    );
    hub.close(RT1, &submitted.id).unwrap();
    assert!(
        hub.ask(RT1, attribute(Env, "LATER")).is_ok(),
        "also after the end"
    );
    let assigned = id(RT1);
    assert_eq!(
        hub.ask(RT2, attribute(Out, "x")),
        Err(Refusal::NotAssigned { assigned })
    );
    let is = hub.get(&submitted.id);
    let env: Vec<_> = is
        .spec
        .env
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(env, [("LATER", "v"), ("TEST", "testenv")]);
    assert_eq!(is.attributes.len(), 3);
    assert_eq!(is.attributes[1].target_colony_id, "as sent");
}

#[test]
fn closing_follows_the_table() {
    let mut hub = Hub::new();
    let waiting = hub.submit(plain());
    assert!(matches!(
        hub.close(RT1, &waiting.id),
        Err(Refusal::NotAssigned { .. })
    ));
    process(hub.ask(RT1, assign(-1)));
    assert!(matches!(
        hub.close(RT2, &waiting.id),
        Err(Refusal::NotAssigned { .. })
    ));
    assert_eq!(hub.close(RT1, &waiting.id), Ok(Answer::Done));
    let ended = hub.get(&waiting.id).end_time;
    hub.advance(SECOND);
    assert_eq!(hub.close(RT1, &waiting.id), Ok(Answer::Done), "twice succeeds");
    assert_eq!(hub.get(&waiting.id).end_time.since(ended), Some(SECOND));
    let fail = Request::CloseFailed {
        process_id: waiting.id,
        error_message: "no".into(),
    };
    let (from, to) = (ProcessState::Successful, ProcessState::Failed);
    assert_eq!(hub.ask(RT1, fail), Err(Refusal::WrongState { from, to }));
}

#[test]
fn limits_at_the_limit_and_one_beyond() {
    let mut hub = Hub::new();
    let max = i64::from(i32::MAX);
    assert!(hub.ask(RT1, submit(limited(max, max, max))).is_ok());
    for spec in [
        limited(max + 1, 1, 1),
        limited(1, max + 1, 1),
        limited(1, 1, max + 1),
    ] {
        let value = max + 1;
        assert_eq!(hub.ask(RT1, submit(spec)), Err(Refusal::OutOfRange { value }));
    }
    let mut spec = plain();
    spec.args = Some(vec!["a\0b".into()]);
    assert_eq!(hub.ask(RT1, submit(spec)), Err(Refusal::NulCharacter));
    let list = |count, state| Request::GetProcesses {
        colony_id: id(OWNER),
        count,
        state,
    };
    assert!(hub.ask(RT1, list(100, ProcessState::Waiting)).is_ok());
    assert_eq!(
        hub.ask(RT1, list(0, ProcessState::Waiting)),
        Ok(Answer::Processes(Vec::new()))
    );
    assert_eq!(
        hub.ask(RT1, list(101, ProcessState::Other(7))),
        Err(Refusal::CountTooLarge)
    );
    assert_eq!(
        hub.ask(RT1, list(-1, ProcessState::Other(7))),
        Err(Refusal::UnknownState)
    );
    assert_eq!(
        hub.ask(RT1, list(-1, ProcessState::Failed)),
        Err(Refusal::NegativeCount)
    );
}

#[test]
fn an_assign_tells_nanoseconds_and_keeps_microseconds() {
    let mut hub = Hub::new();
    hub.submit(limited(-1, 10, 0));
    hub.advance(Duration::from_nanos(1_694_695));
    let told = process(hub.ask(RT1, assign(-1)));
    let kept = hub.get(&told.id);
    assert_eq!(told.start_time.unix_nanos() % 1000, 695);
    assert_eq!(kept.start_time, told.start_time.rounded_to_micros());
    assert_eq!(kept.exec_deadline, told.exec_deadline.rounded_to_micros());
}

#[test]
fn lists_are_newest_first_and_history_is_of_submission() {
    let mut hub = Hub::new();
    let ids: Vec<String> = (0..3)
        .map(|_| {
            hub.advance(SECOND);
            hub.submit(plain()).id
        })
        .collect();
    for _ in 0..3 {
        hub.advance(SECOND);
        process(hub.ask(RT1, assign(-1)));
    }
    for id in [&ids[1], &ids[0], &ids[2]] {
        hub.advance(SECOND);
        hub.close(RT1, id).unwrap();
    }
    let mut listed = |request| match hub.ask(OWNER, request).unwrap() {
        Answer::Processes(list) => list.into_iter().map(|one| one.id).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let state = ProcessState::Successful;
    let newest = listed(Request::GetProcesses {
        colony_id: id(OWNER),
        count: 2,
        state,
    });
    assert_eq!(newest, [ids[2].clone(), ids[0].clone()], "by end");
    let history = |seconds, runtime_id| Request::GetHistory {
        colony_id: id(OWNER),
        runtime_id,
        seconds,
        state,
    };
    let all = [ids[2].clone(), ids[1].clone(), ids[0].clone()];
    assert_eq!(listed(history(60, String::new())), all, "by submission");
    assert_eq!(listed(history(60, id(RT1))), all);
    assert!(listed(history(60, id(RT2))).is_empty());
    // The last was submitted 6 s ago, the one before 7 s.
    assert_eq!(listed(history(6, String::new())), all[..1]);
    assert_eq!(listed(history(7, String::new())), all[..2]);
    assert!(listed(history(-1, String::new())).is_empty());
}

#[test]
fn the_wall_clock_decides_nothing_while_the_hub_is_up() {
    for step in [YEARS_56, -YEARS_56] {
        let mut hub = Hub::new();
        let runs = hub.submit(limited(-1, 10, 0));
        let waits = hub.submit(limited(20, -1, 0));
        process(hub.ask(RT1, assign(-1)));
        hub.advance(5 * SECOND);
        let before = hub.engine.clock().moment().stamp;
        hub.hands.step_wall(step);
        hub.advance(5 * SECOND - NANO);
        assert_eq!(hub.get(&runs.id).state, ProcessState::Running, "{step}");
        hub.advance(NANO);
        assert_eq!(hub.get(&runs.id).state, ProcessState::Failed, "{step}");
        let after = hub.engine.clock().moment().stamp;
        assert!(after.since(before) >= Some(5 * SECOND), "stamps go on");
        assert_eq!(hub.get(&waits.id).state, ProcessState::Waiting);
        hub.advance(10 * SECOND - NANO);
        assert_eq!(hub.get(&waits.id).state, ProcessState::Waiting);
        hub.advance(NANO);
        assert_eq!(hub.get(&waits.id).state, ProcessState::Failed, "{step}");
    }
}

/// The loop itself, on a clock that follows tokio's paused one.
#[tokio::test(start_paused = true)]
async fn the_loop_wakes_at_the_deadline_itself() {
    let clock = TestClock::new(START);
    let mut store = MemoryStore::new();
    let ledger_clock = Arc::new(resume(&mut store, clock).unwrap());
    let (returns, returns_in) = mpsc::unbounded_channel();
    let (jobs, jobs_in) = mpsc::channel(8);
    let (drain, drain_in) = oneshot::channel();
    let service = Service::new(id(SERVER));
    let engine = Engine::new(store, service, ledger_clock, testing::counting(0), 4, returns);
    let mut events = engine.events();
    let inputs = Loop {
        jobs: jobs_in,
        returns: returns_in,
        drain: drain_in,
        max_batch: 8,
    };
    let running = tokio::spawn(run(engine, inputs));
    let ask = async |caller: u8, request| {
        let (Input::Job(job), asked) = job(caller, request) else {
            unreachable!()
        };
        jobs.send(job).await.unwrap();
        asked.await.unwrap().map(Delivery::take)
    };
    let colony = Colony {
        id: id(OWNER),
        name: String::new(),
    };
    ask(SERVER, Request::AddColony(Some(colony))).await.unwrap();
    let runtime = Runtime {
        id: id(RT1),
        runtime_type: "cli".into(),
        colony_id: id(OWNER),
        ..Runtime::default()
    };
    ask(OWNER, Request::AddRuntime(runtime)).await.unwrap();
    let runtime_id = id(RT1);
    ask(OWNER, Request::ApproveRuntime { runtime_id }).await.unwrap();

    let start = tokio::time::Instant::now();
    process(ask(RT1, submit(limited(-1, 7, 0))).await);
    process(ask(RT1, assign(-1)).await);
    loop {
        // Paused time runs on by itself where nothing else happens: this waits for nothing.
        let event = tokio::time::timeout(60 * SECOND, events.recv()).await;
        let event = event.expect("it ended").unwrap();
        if event.cause == Cause::Ended {
            assert_eq!(event.process.state, ProcessState::Failed);
            break;
        }
    }
    let late = start.elapsed() - 7 * SECOND;
    assert!(late <= Duration::from_millis(2), "{late:?} late");

    // A poll ends at its timeout, and at once when the hub goes down.
    let start = tokio::time::Instant::now();
    assert!(ask(RT1, assign(3)).await.is_err());
    let late = start.elapsed() - 3 * SECOND;
    assert!(late <= Duration::from_millis(2), "{late:?} late");
    let (Input::Job(waits), asked) = job(RT1, assign(1000)) else {
        unreachable!()
    };
    jobs.send(waits).await.unwrap();
    drain.send(()).unwrap();
    assert!(asked.await.unwrap().is_err());
    assert!(start.elapsed() < 4 * SECOND);
    drop(jobs);
    running.await.unwrap();
}
