//! A Colonies server in the test's own process, behind the client's transport: enough of a queue to serve an agent,
//! and faults by the piece. Time is tokio's paused one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use crate::client::{Client, Exchange, Exchanging, Stamps, Transport, TransportError, Unreachable};
use crate::clock::{BootTime, Clock, TestClock};
use crate::protocol::dialect::Dialect;
use crate::protocol::model::{
    Attribute, AttributeKind, Process, ProcessSpec, ProcessState, Runtime, RuntimeState, SUBMISSION_ID,
    Version,
};
use crate::protocol::{Answer, Envelope, Failure, Kind, PrivateKey, Refusal, Reply, Request, Time};
use crate::watch::Watched;

/// What happens to one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// It was not even sent.
    Unreachable,
    /// It was sent and lost before the server saw it.
    LostBefore,
    /// The server executed it, the answer was lost.
    LostAfter,
    /// The server executed it; the answer came too late.
    TimedOut,
    /// 500 with an empty body.
    Empty,
    /// A proxy's page.
    Html,
    /// A failure of these words, without execution.
    Refuse(u16, &'static str),
    /// The answer takes so much longer.
    Slow(Duration),
}

/// Which time the server shows in its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    Exactly,
    Date,
    Nothing,
}

#[derive(Clone)]
pub struct FakeServer {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<TestClock>,
    state: Mutex<State>,
    changes: Watched<u64>,
    owner: PrivateKey,
}

struct State {
    runtimes: Vec<Runtime>,
    processes: Vec<Process>,
    faults: VecDeque<(Kind, Fault)>,
    asked: Vec<(Kind, BootTime)>,
    down: bool,
    shows: Shows,
    latency: Duration,
    next: u32,
}

/// What the server's clock shows at boot time zero.
const EPOCH: i128 = 1_660_000_000 * 1_000_000_000;

impl FakeServer {
    pub fn new(clock: &Arc<TestClock>) -> Self {
        let server = FakeServer {
            inner: Arc::new(Inner {
                clock: clock.clone(),
                state: Mutex::new(State {
                    runtimes: Vec::new(),
                    processes: Vec::new(),
                    faults: VecDeque::new(),
                    asked: Vec::new(),
                    down: false,
                    shows: Shows::Exactly,
                    latency: Duration::from_millis(4),
                    next: 0,
                }),
                changes: Watched::new(0),
                owner: PrivateKey::from_hex(&"33".repeat(32)).unwrap(),
            }),
        };
        // Deadlines pass whether or not somebody asks.
        let expiring = server.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                expiring.expire();
            }
        });
        server
    }

    pub fn client(&self) -> Client {
        Client::new(self.clone(), Dialect::Runtime)
    }

    pub fn owner_key(&self) -> PrivateKey {
        self.inner.owner.clone()
    }

    pub fn colony_id(&self) -> String {
        self.inner.owner.id()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }

    /// The server's clock.
    pub fn time_at(&self, at: BootTime) -> Time {
        Time::from_unix_nanos(EPOCH + i128::from(at.as_nanos()))
    }

    fn now(&self) -> Time {
        self.time_at(self.inner.clock.now())
    }

    pub fn shows(&self, shows: Shows) {
        self.state().shows = shows;
    }

    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// The next request of that kind has this fault; several of a kind: one after the other.
    pub fn fault(&self, kind: Kind, fault: Fault) {
        self.state().faults.push_back((kind, fault));
    }

    /// What was to go wrong and has not yet goes well.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// When requests of a kind came.
    pub fn asked(&self, kind: Kind) -> Vec<BootTime> {
        let state = self.state();
        state
            .asked
            .iter()
            .filter(|(asked, _)| *asked == kind)
            .map(|(_, at)| *at)
            .collect()
    }

    pub fn set_runtime(&self, id: &str, set: RuntimeState) {
        let mut state = self.state();
        match state.runtimes.iter_mut().find(|runtime| runtime.id == id) {
            Some(runtime) => runtime.state = set,
            None => {
                let runtime = Runtime {
                    id: id.to_owned(),
                    runtime_type: "cli".to_owned(),
                    colony_id: self.colony_id(),
                    state: set,
                    ..Runtime::default()
                };
                state.runtimes.push(runtime);
            }
        }
        drop(state);
        self.changed();
    }

    /// Another runtime of the colony.
    pub fn add_runtime(&self, runtime: Runtime) {
        self.state().runtimes.push(runtime);
    }

    /// Everything that was ever submitted, oldest first.
    pub fn processes(&self) -> Vec<Process> {
        self.state().processes.clone()
    }

    /// A hub, which shows its time exactly, takes a submission once.
    fn submitted_already(&self, spec: &ProcessSpec) -> Option<Process> {
        let state = self.state();
        let id = spec.env.get(SUBMISSION_ID)?;
        let mut processes = state.processes.iter();
        processes
            .find(|process| state.shows == Shows::Exactly && process.spec.env.get(SUBMISSION_ID) == Some(id))
            .cloned()
    }

    pub fn runtime(&self, id: &str) -> Option<Runtime> {
        self.state()
            .runtimes
            .iter()
            .find(|runtime| runtime.id == id)
            .cloned()
    }

    /// Deletes a runtime; what runs on it goes back (RD 5.9).
    pub fn delete_runtime(&self, id: &str) {
        let mut state = self.state();
        state.runtimes.retain(|runtime| runtime.id != id);
        for process in &mut state.processes {
            if process.state == ProcessState::Running && process.assigned_runtime_id == id {
                process.state = ProcessState::Waiting;
                process.is_assigned = false;
                process.assigned_runtime_id.clear();
                process.start_time = Time::NEVER;
            }
        }
    }

    pub fn submit(&self, spec: ProcessSpec) -> String {
        let mut state = self.state();
        state.next += 1;
        let id = format!("{:064x}", state.next);
        let now = self.now();
        let attributes = spec
            .env
            .iter()
            .map(|(key, value)| Attribute {
                target_id: id.clone(),
                kind: AttributeKind::Env,
                key: key.clone(),
                value: value.clone(),
                ..Attribute::default()
            })
            .collect();
        let wait_deadline = match u64::try_from(spec.max_wait_time) {
            Ok(seconds) if seconds > 0 => now.plus(Duration::from_secs(seconds)),
            _ => Time::NEVER,
        };
        state.processes.push(Process {
            id: id.clone(),
            submission_time: now,
            wait_deadline,
            attributes,
            spec,
            ..Process::default()
        });
        drop(state);
        self.changed();
        id
    }

    pub fn process(&self, id: &str) -> Process {
        let state = self.state();
        state
            .processes
            .iter()
            .find(|process| process.id == id)
            .unwrap()
            .clone()
    }

    /// Changes a process behind everybody's back.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Process)) {
        let mut state = self.state();
        let process = state
            .processes
            .iter_mut()
            .find(|process| process.id == id)
            .unwrap();
        change(process);
        drop(state);
        self.changed();
    }

    pub fn delete_process(&self, id: &str) {
        self.state().processes.retain(|process| process.id != id);
    }

    /// An OUT attribute of a process.
    pub fn out(&self, id: &str, key: &str) -> Option<String> {
        let process = self.process(id);
        let found = process
            .attributes
            .iter()
            .find(|attribute| attribute.kind == AttributeKind::Out && attribute.key == key);
        found.map(|attribute| attribute.value.clone())
    }

    /// Waits until a process was put back for the first time.
    pub async fn until_requeued(&self, id: &str) -> Process {
        self.until(id, "requeued", |process| process.retries == 1).await
    }

    /// Waits until a process is as wanted.
    pub async fn until(&self, id: &str, what: &str, wanted: impl Fn(&Process) -> bool) -> Process {
        let mut changes = self.inner.changes.subscribe();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                let process = self.process(id);
                if wanted(&process) {
                    return process;
                }
                changes.changed().await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(3600), waiting).await {
            Ok(process) => process,
            Err(_) => panic!("never {what}: {:?}", self.process(id)),
        }
    }

    pub async fn until_state(&self, id: &str, state: ProcessState) -> Process {
        self.until(id, &format!("{state:?}"), |process| process.state == state)
            .await
    }

    fn expire(&self) {
        let now = self.now();
        let mut state = self.state();
        let mut changed = false;
        for process in &mut state.processes {
            let over = process.state == ProcessState::Running
                && process.spec.max_exec_time > 0
                && process.exec_deadline < now;
            if !over {
                continue;
            }
            changed = true;
            process.end_time = now;
            if process.spec.max_retries >= 0 && process.retries >= process.spec.max_retries {
                process.state = ProcessState::Failed;
                process.error_message = "Maximum execution time limit exceeded".to_owned();
            } else {
                process.state = ProcessState::Waiting;
                process.is_assigned = false;
                process.assigned_runtime_id.clear();
                process.retries += 1;
            }
        }
        drop(state);
        if changed {
            self.changed();
        }
    }

    fn member(&self, caller: &str) -> Result<Runtime, Refusal> {
        self.runtime(caller).ok_or_else(|| Refusal::NotMember {
            caller: caller.to_owned(),
            colony_id: self.colony_id(),
        })
    }

    fn approved(&self, caller: &str) -> Result<Runtime, Refusal> {
        let runtime = self.member(caller)?;
        if runtime.state == RuntimeState::Approved {
            Ok(runtime)
        } else {
            Err(Refusal::NotApproved {
                caller: caller.to_owned(),
            })
        }
    }

    fn assigned(&self, caller: &str, id: &str) -> Result<Process, Refusal> {
        let process = self.state().processes.iter().find(|p| p.id == id).cloned();
        let process = process.ok_or(Refusal::Unknown)?;
        self.approved(caller)?;
        if process.assigned_runtime_id == caller {
            Ok(process)
        } else {
            Err(Refusal::NotAssigned {
                assigned: process.assigned_runtime_id,
            })
        }
    }

    fn try_assign(&self, runtime: &Runtime) -> Option<Process> {
        let now = self.now();
        let mut state = self.state();
        let found = state.processes.iter_mut().find(|process| {
            process.state == ProcessState::Waiting
                && process.spec.conditions.runtime_type == runtime.runtime_type
        })?;
        found.state = ProcessState::Running;
        found.is_assigned = true;
        found.assigned_runtime_id = runtime.id.clone();
        found.start_time = now;
        if let Ok(seconds) = u64::try_from(found.spec.max_exec_time) {
            found.exec_deadline = now.plus(Duration::from_secs(seconds));
        }
        let found = found.clone();
        drop(state);
        self.changed();
        Some(found)
    }

    fn close(&self, caller: &str, id: &str, to: ProcessState, message: &str) -> Result<Answer, Refusal> {
        let process = self.assigned(caller, id)?;
        if process.state != ProcessState::Running && process.state != to {
            return Err(Refusal::WrongState {
                from: process.state,
                to,
            });
        }
        if process.state == ProcessState::Failed {
            return Err(Refusal::WrongState { from: to, to });
        }
        let now = self.now();
        self.change(id, |process| {
            process.state = to;
            process.end_time = now;
            process.error_message = message.to_owned();
        });
        Ok(Answer::Done)
    }

    async fn answer(&self, request: Request, caller: &str) -> Result<Answer, Refusal> {
        match request {
            Request::Version(_) => Ok(Answer::Version(Version::default())),
            Request::GetRuntimes { .. } => {
                if caller != self.colony_id() && self.member(caller).is_err() {
                    return Err(Refusal::NotColonyOwner);
                }
                Ok(Answer::Runtimes(self.state().runtimes.clone()))
            }
            Request::AddRuntime(runtime) => {
                if caller != self.colony_id() {
                    return Err(Refusal::NotColonyOwner);
                }
                if self.runtime(&runtime.id).is_some() {
                    return Err(Refusal::Duplicate { table: "runtimes" });
                }
                self.state().runtimes.push(runtime.clone());
                Ok(Answer::Runtime(runtime))
            }
            Request::ApproveRuntime { runtime_id } => {
                if caller != self.colony_id() {
                    return Err(Refusal::NotColonyOwner);
                }
                self.set_runtime(&runtime_id, RuntimeState::Approved);
                Ok(Answer::Done)
            }
            Request::Assign { timeout, .. } => {
                let runtime = self.approved(caller)?;
                let end = tokio::time::Instant::now() + Duration::from_secs(u64::try_from(timeout).unwrap());
                let mut changes = self.inner.changes.subscribe();
                loop {
                    changes.borrow_and_update();
                    if let Some(process) = self.try_assign(&runtime) {
                        return Ok(Answer::Process(Box::new(process)));
                    }
                    if tokio::time::timeout_at(end, changes.changed()).await.is_err() {
                        let caller = caller.to_owned();
                        return Err(Refusal::NothingToAssign { caller });
                    }
                }
            }
            Request::Submit(spec) => {
                self.approved(caller)?;
                let process = self.submitted_already(&spec);
                let process = process.unwrap_or_else(|| self.process(&self.submit(*spec)));
                Ok(Answer::Process(Box::new(process)))
            }
            Request::GetHistory {
                runtime_id, state, ..
            } => {
                self.approved(caller)?;
                let all = self.state().processes.clone();
                let wanted = |process: &Process| {
                    process.state == state
                        && (runtime_id.is_empty() || process.assigned_runtime_id == runtime_id)
                };
                Ok(Answer::Processes(all.into_iter().filter(wanted).collect()))
            }
            Request::GetProcess { process_id } => {
                let found = self
                    .state()
                    .processes
                    .iter()
                    .find(|p| p.id == process_id)
                    .cloned();
                let process = found.ok_or(Refusal::Unknown)?;
                self.approved(caller)?;
                Ok(Answer::Process(Box::new(process)))
            }
            Request::CloseSuccessful { process_id } => {
                self.close(caller, &process_id, ProcessState::Successful, "")
            }
            Request::CloseFailed {
                process_id,
                error_message,
            } => self.close(caller, &process_id, ProcessState::Failed, &error_message),
            Request::AddAttribute(attribute) => {
                let process = self.assigned(caller, &attribute.target_id)?;
                let same = |other: &&Attribute| other.key == attribute.key && other.kind == attribute.kind;
                if process.attributes.iter().any(|other| same(&other)) {
                    return Err(Refusal::Duplicate { table: "attributes" });
                }
                let added = attribute.clone();
                self.change(&attribute.target_id, |process| process.attributes.push(added));
                Ok(Answer::Attribute(attribute))
            }
            other => panic!("an agent asks no such thing: {other:?}"),
        }
    }

    /// The original rounds what it stores; only the assign reply has nanoseconds.
    fn stored(answer: Answer, kind: Kind) -> Answer {
        let round = |process: &mut Process| process.start_time = process.start_time.rounded_to_micros();
        match answer {
            Answer::Process(mut process) if kind != Kind::Assign => {
                round(&mut process);
                Answer::Process(process)
            }
            Answer::Processes(mut processes) => {
                processes.iter_mut().for_each(round);
                Answer::Processes(processes)
            }
            other => other,
        }
    }

    async fn exchange(&self, body: Bytes, wait: Duration) -> Result<Exchange, TransportError> {
        let sent_at = self.inner.clock.now();
        let envelope = Envelope::parse(&body).unwrap();
        let dialect = Dialect::Runtime;
        let kind = dialect.kind(envelope.payload_type()).unwrap();
        let (fault, latency, shows) = {
            let mut state = self.state();
            state.asked.push((kind, sent_at));
            if state.down {
                return Err(TransportError::Unreachable(Unreachable::Refused));
            }
            let at = state.faults.iter().position(|(of, _)| *of == kind);
            let fault = at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault);
            (fault, state.latency, state.shows)
        };
        let lost = || TransportError::Lost {
            reason: "reset".to_owned(),
        };
        match fault {
            Some(Fault::Unreachable) => {
                return Err(TransportError::Unreachable(Unreachable::Refused));
            }
            Some(Fault::LostBefore) => return Err(lost()),
            _ => {}
        }
        tokio::time::sleep(latency / 2).await;
        let answer = match fault {
            Some(Fault::Refuse(status, message)) => Err(Failure {
                status,
                message: message.to_owned(),
            }),
            _ => {
                let request = dialect.decode_request(kind, &envelope.payload()).unwrap();
                let caller = if kind == Kind::Version {
                    String::new()
                } else {
                    envelope.caller().unwrap()
                };
                let answer = self.answer(request, &caller).await;
                answer.map_err(|refusal| dialect.failure(Some(kind), &refusal))
            }
        };
        let stamped = self.now();
        let (mut status, mut bytes) = match answer {
            Ok(answer) => {
                let payload = dialect.encode_answer(kind, &FakeServer::stored(answer, kind));
                (
                    200,
                    Reply::success(dialect.payload_type(kind), payload).to_bytes(),
                )
            }
            Err(failure) => (failure.status, Reply::failure(&failure).to_bytes()),
        };
        match fault {
            Some(Fault::LostAfter) => return Err(lost()),
            Some(Fault::TimedOut) => {
                let after = wait + Duration::from_secs(15);
                let until = sent_at + after;
                self.inner.clock.sleep_until(until).await;
                return Err(TransportError::TimedOut { after });
            }
            Some(Fault::Empty) => (status, bytes) = (500, Vec::new()),
            Some(Fault::Html) => (status, bytes) = (502, b"<html>Bad gateway</html>".to_vec()),
            Some(Fault::Slow(by)) => tokio::time::sleep(by).await,
            _ => {}
        }
        tokio::time::sleep(latency / 2).await;
        let whole = Time::from_unix_nanos(stamped.unix_nanos().div_euclid(1_000_000_000) * 1_000_000_000);
        Ok(Exchange {
            status,
            body: Bytes::from(bytes),
            location: None,
            stamps: Stamps {
                sent_at,
                received_at: self.inner.clock.now(),
                date: (shows != Shows::Nothing).then_some(whole),
                outpost_time: (shows == Shows::Exactly).then_some(stamped),
            },
        })
    }
}

impl Transport for FakeServer {
    fn exchange(&self, body: Bytes, wait: Duration) -> Exchanging<'_> {
        Box::pin(self.exchange(body, wait))
    }

    fn server(&self) -> &str {
        "http://fake"
    }
}
