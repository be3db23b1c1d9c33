//! The data model (RD 4), in our words and without a dialect's names, shapes and numbers: `dialect/` maps those.
//!
//! Times are [`Time::NEVER`] when unset. Whole-number members are `i64`, as the original reads them; what can be
//! stored is narrower (32 bits).

use std::collections::BTreeMap;

use super::Time;

/// A group of runtimes and its owner: one trust domain, one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Colony {
    /// The id of the owner's key.
    pub id: String,
    /// For people; may be empty, need not be unique.
    pub name: String,
}

/// What the colony's owner says of a runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuntimeState {
    /// Added, but not yet approved.
    #[default]
    Pending,
    /// May work and submit.
    Approved,
    /// May not.
    Rejected,
    /// A number that the dialect does not know.
    Other(i64),
}

/// A registered worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// The id of its key; unique over all colonies.
    pub id: String,
    /// What it is for; a process names the type that may execute it.
    pub runtime_type: String,
    /// For people and service discovery; need not be unique.
    pub name: String,
    /// The colony it belongs to.
    pub colony_id: String,
    /// Informative.
    pub cpu: String,
    /// Informative.
    pub cores: i64,
    /// Informative, MiB.
    pub mem: i64,
    /// Informative.
    pub gpu: String,
    /// Informative.
    pub gpus: i64,
    /// Whether the owner approved it.
    pub state: RuntimeState,
    /// When it was added.
    pub commission_time: Time,
    /// When it last asked for work.
    pub last_heard_from: Time,
}

/// Who may execute a process, and what must have happened before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The colony whose queue it joins.
    pub colony_id: String,
    /// Only these runtimes; empty means every one of the type.
    pub runtime_ids: Vec<String>,
    /// Only runtimes of this type.
    pub runtime_type: String,
    /// Names of sibling specs of a workflow that must be successful before.
    pub dependencies: Vec<String>,
}

/// No limit, for [`ProcessSpec::max_wait_time`] and [`ProcessSpec::max_exec_time`].
pub const UNLIMITED: i64 = -1;

/// The key in a spec's environment under which a client may put an id of its own choice. A hub stores a spec with
/// the same id from the same caller in the same colony once, and answers a repetition with the process that is
/// there already; so a submit whose reply was lost can be sent again. Other servers take it as plain environment.
pub const SUBMISSION_ID: &str = "OUTPOST_SUBMISSION_ID";

/// What should be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessSpec {
    /// For people and for dependencies within a workflow.
    pub name: String,
    /// The function to execute.
    pub func: String,
    /// Its arguments; absent and empty are told apart on the wire (RD 4.3).
    pub args: Option<Vec<String>>,
    /// Echoed, used for nothing in the runtime dialect.
    pub priority: i64,
    /// Seconds it may wait in the queue, from submission; −1 or 0: without limit.
    pub max_wait_time: i64,
    /// Seconds of one execution (the lease); −1: without limit.
    pub max_exec_time: i64,
    /// How often an expired lease puts it back into the queue; negative: always.
    pub max_retries: i64,
    /// Who may execute it.
    pub conditions: Conditions,
    /// Environment for the function, by name.
    pub env: BTreeMap<String, String>,
}

/// Where a process, or a workflow, stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessState {
    /// In the queue.
    #[default]
    Waiting,
    /// Assigned to a runtime.
    Running,
    /// Closed by its runtime as successful.
    Successful,
    /// Closed as failed, by its runtime or by a time limit.
    Failed,
    /// A number that the dialect does not know.
    Other(i64),
}

impl ProcessState {
    /// Nothing more will happen to it.
    pub fn is_final(self) -> bool {
        matches!(self, ProcessState::Successful | ProcessState::Failed)
    }
}

/// A submitted spec with an id and a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Made by the server.
    pub id: String,
    /// Who executes or executed it; empty while it waits.
    pub assigned_runtime_id: String,
    /// Whether somebody executes or executed it.
    pub is_assigned: bool,
    /// Where it stands.
    pub state: ProcessState,
    /// When it was submitted.
    pub submission_time: Time,
    /// When it was last assigned; with the id and [`Process::retries`] this names an attempt.
    pub start_time: Time,
    /// When it was closed, or last went back to the queue.
    pub end_time: Time,
    /// When it fails if still waiting.
    pub wait_deadline: Time,
    /// When the lease ends.
    pub exec_deadline: Time,
    /// Why it failed.
    pub error_message: String,
    /// How often an expired lease put it back.
    pub retries: i64,
    /// What is attached to it: inputs, results, environment.
    pub attributes: Vec<Attribute>,
    /// What was submitted.
    pub spec: ProcessSpec,
    /// Part of a workflow whose turn has not come.
    pub wait_for_parents: bool,
    /// Ids of the processes it depends on.
    pub parents: Vec<String>,
    /// Ids of the processes that depend on it.
    pub children: Vec<String>,
    /// The workflow it belongs to, or empty.
    pub graph_id: String,
}

/// What an attribute is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeKind {
    /// An input.
    #[default]
    In,
    /// A result.
    Out,
    /// An error text.
    Err,
    /// A member of the spec's environment.
    Env,
    /// A number that the dialect does not know; it is never validated.
    Other(i64),
}

/// A key and a value attached to a process; set once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribute {
    /// Derived from target, key and kind.
    pub id: String,
    /// The process.
    pub target_id: String,
    /// The colony, as sent.
    pub target_colony_id: String,
    /// The process's workflow, or empty.
    pub target_graph_id: String,
    /// What it is.
    pub kind: AttributeKind,
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Several specs that depend on each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkflowSpec {
    /// The colony of all of them.
    pub colony_id: String,
    /// Its members.
    pub specs: Vec<ProcessSpec>,
}

/// A submitted workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessGraph {
    /// Made by the server.
    pub id: String,
    /// Its colony.
    pub colony_id: String,
    /// Members without parents.
    pub root_ids: Vec<String>,
    /// Where it stands.
    pub state: ProcessState,
    /// When it was submitted.
    pub submission_time: Time,
    /// When a first member was assigned.
    pub start_time: Time,
    /// When it ended.
    pub end_time: Time,
    /// All members, depth first.
    pub process_ids: Vec<String>,
}

/// Submits a workflow after a number of increments or some time (RD 5.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generator {
    /// Made by the client.
    pub id: String,
    /// Its colony.
    pub colony_id: String,
    /// For people.
    pub name: String,
    /// A workflow spec as JSON text.
    pub workflow_spec: String,
    /// Increments per workflow.
    pub trigger: i64,
    /// Increments since the last one.
    pub counter: i64,
    /// Seconds after which one increment is enough.
    pub timeout: i64,
    /// When it last submitted.
    pub last_run: Time,
}

/// Plain counts, of a server or of one colony.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Colonies; 1 in the form for a colony.
    pub colonies: i64,
    /// Runtimes in every state.
    pub runtimes: i64,
    /// Waiting processes, those that wait for parents included.
    pub waiting_processes: i64,
    /// Running processes.
    pub running_processes: i64,
    /// Successful processes.
    pub successful_processes: i64,
    /// Failed processes.
    pub failed_processes: i64,
    /// Waiting workflows.
    pub waiting_workflows: i64,
    /// Running workflows.
    pub running_workflows: i64,
    /// Successful workflows.
    pub successful_workflows: i64,
    /// Failed workflows.
    pub failed_workflows: i64,
}

/// One server of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// The etcd client port.
    pub port: i64,
    /// The etcd peer port.
    pub peer_port: i64,
    /// The relay port (RD 5.10).
    pub relay_port: i64,
    /// The API port.
    pub api_port: i64,
}

/// The servers of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// All of them.
    pub nodes: Vec<Node>,
    /// The one that runs periodic work.
    pub leader: Node,
}

/// What a server says of its build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// Empty in unstamped builds.
    pub build_version: String,
    /// Empty in unstamped builds.
    pub build_time: String,
}
