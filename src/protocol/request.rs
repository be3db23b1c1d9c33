//! Every request as one enum, every answer as one enum (RD 3.1), without a dialect's names.

use super::model::{
    Attribute, Cluster, Colony, Generator, Process, ProcessGraph, ProcessSpec, ProcessState, Runtime,
    Statistics, Version, WorkflowSpec,
};

/// What a client may ask of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The server's build. The only request that needs no signature.
    Version(Version),
    /// Counts over the whole server.
    GetStatistics,
    /// The servers of the cluster.
    GetCluster,
    /// Adds a colony. `None` is refused, but only after the caller was found to be the server's owner (RD 1.6).
    AddColony(Option<Colony>),
    /// Deletes a colony and all that belongs to it.
    DeleteColony {
        /// Its id.
        colony_id: String,
    },
    /// All colonies.
    GetColonies,
    /// One colony.
    GetColony {
        /// Its id.
        colony_id: String,
    },
    /// Counts over one colony.
    GetColonyStatistics {
        /// Its id.
        colony_id: String,
    },
    /// Adds a runtime, pending.
    AddRuntime(Runtime),
    /// All runtimes of a colony, in every state.
    GetRuntimes {
        /// The colony.
        colony_id: String,
    },
    /// One runtime.
    GetRuntime {
        /// Its id.
        runtime_id: String,
    },
    /// Lets a runtime work.
    ApproveRuntime {
        /// Its id.
        runtime_id: String,
    },
    /// Keeps a runtime from working.
    RejectRuntime {
        /// Its id.
        runtime_id: String,
    },
    /// Removes a runtime; what runs on it goes back to the queue.
    DeleteRuntime {
        /// Its id.
        runtime_id: String,
    },
    /// Puts a process into the queue.
    Submit(Box<ProcessSpec>),
    /// Asks for work.
    Assign {
        /// The colony whose queue is asked.
        colony_id: String,
        /// The newest instead of the oldest.
        latest: bool,
        /// Seconds to wait for work; negative: not at all; 0 is refused.
        timeout: i64,
    },
    /// Processes submitted within the last seconds.
    GetHistory {
        /// The colony.
        colony_id: String,
        /// Only those assigned to this runtime; empty: all.
        runtime_id: String,
        /// How far back.
        seconds: i64,
        /// Only those in this state.
        state: ProcessState,
    },
    /// The newest processes in a state.
    GetProcesses {
        /// The colony.
        colony_id: String,
        /// How many at most; over [`MAX_COUNT`] is refused.
        count: i64,
        /// Their state.
        state: ProcessState,
    },
    /// One process.
    GetProcess {
        /// Its id.
        process_id: String,
    },
    /// Deletes a process in any state.
    DeleteProcess {
        /// Its id.
        process_id: String,
    },
    /// Deletes all processes of a colony.
    DeleteAllProcesses {
        /// The colony.
        colony_id: String,
    },
    /// Ends a process the caller executes as successful.
    CloseSuccessful {
        /// Its id.
        process_id: String,
    },
    /// Ends a process the caller executes as failed.
    CloseFailed {
        /// Its id.
        process_id: String,
        /// Why.
        error_message: String,
    },
    /// Attaches a key and a value to a process the caller executes or executed.
    AddAttribute(Attribute),
    /// One attribute.
    GetAttribute {
        /// Its id.
        attribute_id: String,
    },
    /// Submits a workflow.
    SubmitWorkflow(WorkflowSpec),
    /// One workflow.
    GetGraph {
        /// Its id.
        graph_id: String,
    },
    /// The newest workflows in a state.
    GetGraphs {
        /// The colony.
        colony_id: String,
        /// How many at most.
        count: i64,
        /// Their state.
        state: ProcessState,
    },
    /// Deletes a workflow with its members.
    DeleteGraph {
        /// Its id.
        graph_id: String,
    },
    /// Deletes all workflows of a colony.
    DeleteAllGraphs {
        /// The colony.
        colony_id: String,
    },
    /// Adds a generator.
    AddGenerator(Generator),
    /// One generator.
    GetGenerator {
        /// Its id.
        generator_id: String,
    },
    /// The generators of a colony.
    GetGenerators {
        /// The colony.
        colony_id: String,
        /// How many at most.
        count: i64,
    },
    /// Counts a generator up.
    IncrementGenerator {
        /// Its id.
        generator_id: String,
    },
    /// Deletes a generator.
    DeleteGenerator {
        /// Its id.
        generator_id: String,
    },
    /// Events of every process of a type that reaches a state (WebSocket only).
    SubscribeProcesses {
        /// The type.
        runtime_type: String,
        /// The state.
        state: ProcessState,
        /// Seconds until the subscription ends.
        timeout: i64,
    },
    /// Events of one process that reaches a state (WebSocket only).
    SubscribeProcess {
        /// The process.
        process_id: String,
        /// Its type.
        runtime_type: String,
        /// The state.
        state: ProcessState,
        /// Seconds until the subscription ends.
        timeout: i64,
    },
}

/// The largest `count` of the list requests (RD 4.2).
pub const MAX_COUNT: i64 = 100;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {
        /// Which [`Request`] it is; decides what the [`Answer`] is and how a refusal is worded.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $( #[doc = concat!("[`Request::", stringify!($kind), "`]")] $kind, )* }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &'static [Kind] = &[ $( Kind::$kind, )* ];
        }

        impl Request {
            /// Which request it is.
            pub fn kind(&self) -> Kind {
                match self { $( kinds!(@pattern $kind) => Kind::$kind, )* }
            }
        }
    };
    (@pattern GetStatistics) => { Request::GetStatistics };
    (@pattern GetCluster) => { Request::GetCluster };
    (@pattern GetColonies) => { Request::GetColonies };
    (@pattern $kind:ident) => { Request::$kind { .. } };
}

kinds! {
    Version, GetStatistics, GetCluster, AddColony, DeleteColony, GetColonies, GetColony, GetColonyStatistics, AddRuntime,
    GetRuntimes, GetRuntime, ApproveRuntime, RejectRuntime, DeleteRuntime, Submit, Assign, GetHistory, GetProcesses,
    GetProcess, DeleteProcess, DeleteAllProcesses, CloseSuccessful, CloseFailed, AddAttribute, GetAttribute, SubmitWorkflow,
    GetGraph, GetGraphs, DeleteGraph, DeleteAllGraphs, AddGenerator, GetGenerator, GetGenerators, IncrementGenerator,
    DeleteGenerator, SubscribeProcesses, SubscribeProcess,
}

impl Kind {
    /// Works over a WebSocket only; an unknown type elsewhere (RD 3.1).
    pub fn is_subscription(self) -> bool {
        matches!(self, Kind::SubscribeProcesses | Kind::SubscribeProcess)
    }

    /// Asking twice does what asking once does, so a caller may ask again when no reply came: reading, closing (a
    /// repeated close is accepted or refused, never executed twice) and attributes (set once).
    /// Never assign or submit.
    pub fn may_be_resent(self) -> bool {
        match self {
            Kind::Version
            | Kind::GetStatistics
            | Kind::GetCluster
            | Kind::GetColonies
            | Kind::GetColony
            | Kind::GetColonyStatistics
            | Kind::GetRuntimes
            | Kind::GetRuntime
            | Kind::GetHistory
            | Kind::GetProcesses
            | Kind::GetProcess
            | Kind::CloseSuccessful
            | Kind::CloseFailed
            | Kind::AddAttribute
            | Kind::GetAttribute
            | Kind::GetGraph
            | Kind::GetGraphs
            | Kind::GetGenerator
            | Kind::GetGenerators => true,
            Kind::AddColony
            | Kind::DeleteColony
            | Kind::AddRuntime
            | Kind::ApproveRuntime
            | Kind::RejectRuntime
            | Kind::DeleteRuntime
            | Kind::Submit
            | Kind::Assign
            | Kind::DeleteProcess
            | Kind::DeleteAllProcesses
            | Kind::SubmitWorkflow
            | Kind::DeleteGraph
            | Kind::DeleteAllGraphs
            | Kind::AddGenerator
            | Kind::IncrementGenerator
            | Kind::DeleteGenerator
            | Kind::SubscribeProcesses
            | Kind::SubscribeProcess => false,
        }
    }
}

/// What a server says to a request that it grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done; nothing to tell.
    Done,
    /// To [`Request::Version`].
    Version(Version),
    /// To [`Request::GetStatistics`] and [`Request::GetColonyStatistics`].
    Statistics(Statistics),
    /// To [`Request::GetCluster`].
    Cluster(Cluster),
    /// To [`Request::AddColony`] and [`Request::GetColony`].
    Colony(Colony),
    /// To [`Request::GetColonies`].
    Colonies(Vec<Colony>),
    /// To [`Request::AddRuntime`] and [`Request::GetRuntime`].
    Runtime(Runtime),
    /// To [`Request::GetRuntimes`].
    Runtimes(Vec<Runtime>),
    /// To [`Request::Submit`], [`Request::Assign`] and [`Request::GetProcess`].
    Process(Box<Process>),
    /// To [`Request::GetProcesses`] and [`Request::GetHistory`].
    Processes(Vec<Process>),
    /// To [`Request::AddAttribute`] and [`Request::GetAttribute`].
    Attribute(Attribute),
    /// To [`Request::SubmitWorkflow`] and [`Request::GetGraph`].
    Graph(ProcessGraph),
    /// To [`Request::GetGraphs`].
    Graphs(Vec<ProcessGraph>),
    /// To [`Request::AddGenerator`] and [`Request::GetGenerator`].
    Generator(Generator),
    /// To [`Request::GetGenerators`].
    Generators(Vec<Generator>),
}
