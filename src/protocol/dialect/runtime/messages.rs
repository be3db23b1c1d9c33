//! The payloads of RD 3.1: what a request carries besides its `msgtype`, in the order of the wire.

use serde::{Deserialize, Serialize};

use super::shapes;

macro_rules! messages {
    ($( $(#[$doc:meta])* $name:ident { $( $member:ident: $ty:ty ),* $(,)? } )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(super) struct $name { $( pub(super) $member: $ty, )* }
    )* };
}

messages! {
    /// Requests that carry nothing.
    Nothing {}
    /// The version request and its reply.
    Version { buildversion: String, buildtime: String }
    /// Adds a colony.
    AddColony { colony: Option<shapes::Colony> }
    /// Requests about a colony.
    ByColony { colonyid: String }
    /// Adds a runtime.
    AddRuntime { runtime: Option<shapes::Runtime> }
    /// Requests about a runtime.
    ByRuntime { runtimeid: String }
    /// Submits a process.
    Submit { spec: Option<shapes::ProcessSpec> }
    /// Asks for work.
    Assign { colonyid: String, latest: bool, timeout: i64 }
    /// Asks for recent processes.
    History { colonyid: String, runtimeid: String, seconds: i64, state: i64 }
    /// Asks for the newest processes or graphs in a state.
    List { colonyid: String, count: i64, state: i64 }
    /// Requests about a process.
    ByProcess { processid: String }
    /// Deletes a process; `all` is ignored.
    DeleteProcess { processid: String, all: bool }
    /// Closes a process as failed. The member is `errmsg` here and `errormsg` in a process.
    CloseFailed { processid: String, errmsg: String }
    /// Adds an attribute.
    AddAttribute { attribute: Option<shapes::Attribute> }
    /// Requests about an attribute.
    ByAttribute { attributeid: String }
    /// Submits a workflow.
    SubmitWorkflow { spec: Option<shapes::WorkflowSpec> }
    /// Requests about a graph.
    ByGraph { processgraphid: String }
    /// Deletes a graph; `all` is ignored.
    DeleteGraph { processgraphid: String, all: bool }
    /// Adds a generator.
    AddGenerator { generator: Option<shapes::Generator> }
    /// Requests about a generator.
    ByGenerator { generatorid: String }
    /// Deletes a generator; `all` is ignored.
    DeleteGenerator { generatorid: String, all: bool }
    /// Asks for generators.
    ListGenerators { colonyid: String, count: i64 }
    /// Subscribes to the processes of a type.
    SubscribeProcesses { runtimetype: String, state: i64, timeout: i64 }
    /// Subscribes to a process.
    SubscribeProcess { processid: String, runtimetype: String, state: i64, timeout: i64 }
}

/// The member that ties a payload to its envelope.
pub(super) const MSGTYPE: &str = "msgtype";

/// A payload on its way: the members, then the tag.
#[derive(Debug, Serialize)]
pub(super) struct Tagged<'a, T> {
    #[serde(flatten)]
    pub(super) message: T,
    pub(super) msgtype: &'a str,
}
