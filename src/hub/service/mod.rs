//! Authorises one request and answers it; a file for each family. Knows no transport.
//!
//! It runs in the ledger's serial order, so that what it checks still holds when the change is made. The order of the
//! checks is that of RD 1.6: what a message names is looked up first, then the caller, then the rest.

mod attributes;
mod colonies;
mod permit;
mod processes;
mod runtimes;
mod statistics;

use super::ledger::{Attempt, Command, Effect, Fault, Moment, Outcome, Random, View, apply};
use crate::protocol::model::Version;
use crate::protocol::{Answer, Refusal, Request};

/// What comes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is answered.
    Answer(Answer),
    /// It is answered with a process that was given to the caller, who may turn out to be gone.
    Assigned(Answer, Attempt),
    /// Nothing is there, and the caller wants to wait for it.
    Wait(Wait),
}

/// Who waits for which work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The colony whose queue it is.
    pub colony_id: String,
    /// The type of the runtime.
    pub runtime_type: String,
    /// Seconds, at least 1.
    pub seconds: u64,
}

/// Answers requests on behalf of one server.
#[derive(Debug, Clone)]
pub struct Service {
    /// The id of the server's owner.
    server_id: String,
}

/// A request in the hands of the one who answers it.
struct Desk<'a, V> {
    view: &'a V,
    caller: &'a str,
    server_id: &'a str,
    now: Moment,
    random: &'a mut Random<'a>,
}

type Handled = Result<(Verdict, Effect), Fault>;

fn answer(answer: Answer) -> Handled {
    Ok((Verdict::Answer(answer), Effect::default()))
}

impl<'a, V: View> Desk<'a, V> {
    /// Lets the ledger do it, and makes an answer of what comes of it.
    fn tell(&mut self, command: Command) -> Handled {
        let (outcome, effect) = apply(self.view, command, self.now, self.random)?;
        let verdict = match outcome {
            Outcome::Done | Outcome::Nothing => Verdict::Answer(Answer::Done),
            Outcome::Colony(colony) => Verdict::Answer(Answer::Colony(colony)),
            Outcome::Runtime(runtime) => Verdict::Answer(Answer::Runtime(runtime)),
            Outcome::Process(process) => Verdict::Answer(Answer::Process(process)),
            Outcome::Attribute(attribute) => Verdict::Answer(Answer::Attribute(attribute)),
            Outcome::Assigned(process, attempt) => Verdict::Assigned(Answer::Process(process), attempt),
        };
        Ok((verdict, effect))
    }
}

impl Service {
    /// A service of the server that the key with this id owns.
    pub fn new(server_id: String) -> Self {
        Service { server_id }
    }

    /// The id of the server's owner.
    pub fn server_id(&self) -> &str {
        &self.server_id
    }

    /// Authorises and answers a request. The effect must be written in the same transaction that the view reads.
    ///
    /// # Errors
    /// [`Fault`]: refused, or the view failed.
    pub fn handle<V: View>(
        &self,
        view: &V,
        caller: &str,
        request: Request,
        now: Moment,
        random: &mut Random<'_>,
    ) -> Handled {
        let mut random = || random();
        let mut desk = Desk {
            view,
            caller,
            server_id: &self.server_id,
            now,
            random: &mut random,
        };
        let desk = &mut desk;
        match request {
            Request::Version(_) => answer(Answer::Version(version())),
            Request::GetStatistics => statistics::of_server(desk),
            Request::GetColonyStatistics { colony_id } => statistics::of_colony(desk, &colony_id),
            Request::AddColony(colony) => colonies::add(desk, colony),
            Request::DeleteColony { colony_id } => colonies::delete(desk, colony_id),
            Request::GetColonies => colonies::all(desk),
            Request::GetColony { colony_id } => colonies::get(desk, &colony_id),
            Request::AddRuntime(runtime) => runtimes::add(desk, runtime),
            Request::GetRuntimes { colony_id } => runtimes::all(desk, &colony_id),
            Request::GetRuntime { runtime_id } => runtimes::get(desk, &runtime_id),
            Request::ApproveRuntime { runtime_id } => runtimes::approve(desk, runtime_id),
            Request::RejectRuntime { runtime_id } => runtimes::reject(desk, runtime_id),
            Request::DeleteRuntime { runtime_id } => runtimes::delete(desk, runtime_id),
            Request::Submit(spec) => processes::submit(desk, spec),
            Request::Assign {
                colony_id,
                latest,
                timeout,
            } => processes::assign(desk, colony_id, latest, timeout),
            Request::GetHistory {
                colony_id,
                runtime_id,
                seconds,
                state,
            } => processes::history(desk, &colony_id, &runtime_id, seconds, state),
            Request::GetProcesses {
                colony_id,
                count,
                state,
            } => processes::newest(desk, &colony_id, count, state),
            Request::GetProcess { process_id } => processes::get(desk, &process_id),
            Request::DeleteProcess { process_id } => processes::delete(desk, process_id),
            Request::DeleteAllProcesses { colony_id } => processes::delete_all(desk, colony_id),
            Request::CloseSuccessful { process_id } => processes::close(desk, process_id, None),
            Request::CloseFailed {
                process_id,
                error_message,
            } => processes::close(desk, process_id, Some(error_message)),
            Request::AddAttribute(attribute) => attributes::add(desk, attribute),
            Request::GetAttribute { attribute_id } => attributes::get(desk, &attribute_id),
            Request::GetCluster
            | Request::SubmitWorkflow(_)
            | Request::GetGraph { .. }
            | Request::GetGraphs { .. }
            | Request::DeleteGraph { .. }
            | Request::DeleteAllGraphs { .. }
            | Request::AddGenerator(_)
            | Request::GetGenerator { .. }
            | Request::GetGenerators { .. }
            | Request::IncrementGenerator { .. }
            | Request::DeleteGenerator { .. }
            | Request::SubscribeProcesses { .. }
            | Request::SubscribeProcess { .. } => Err(Refusal::Unsupported.into()),
        }
    }
}

/// What this program says of its build.
pub fn version() -> Version {
    Version {
        build_version: concat!("outpost ", env!("CARGO_PKG_VERSION")).to_owned(),
        build_time: String::new(),
    }
}
