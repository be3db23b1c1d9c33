//! The shapes of RD 4.1: each table row is a member's name on the wire, its type there and the model's field,
//! in the order of the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::Time;
use crate::protocol::model::{self, AttributeKind, ProcessState, RuntimeState};

/// From the model to the wire and back; the identity for what is the same on both sides.
pub(super) trait Convert<T> {
    fn convert(self) -> T;
}

macro_rules! same {
    ($($ty:ty),* $(,)?) => { $( impl Convert<$ty> for $ty { fn convert(self) -> $ty { self } } )* };
}

same!(String, i64, bool, Time, BTreeMap<String, String>, Option<Vec<String>>);

impl<A: Convert<B>, B> Convert<Vec<B>> for Vec<A> {
    fn convert(self) -> Vec<B> {
        self.into_iter().map(Convert::convert).collect()
    }
}

macro_rules! shape {
    ($(#[$doc:meta])* $shape:ident = $model:path { $( $name:ident: $ty:ty = $field:ident ),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(super) struct $shape { $( pub(super) $name: $ty, )* }

        impl Convert<$shape> for $model {
            fn convert(self) -> $shape {
                $shape { $( $name: self.$field.convert(), )* }
            }
        }

        impl Convert<$model> for $shape {
            fn convert(self) -> $model {
                $model { $( $field: self.$name.convert(), )* }
            }
        }
    };
}

/// Numbers of the wire for the variants of an enum; others are kept as they are.
macro_rules! numbers {
    ($model:ident { $( $number:literal = $variant:ident ),* $(,)? }) => {
        impl Convert<i64> for $model {
            fn convert(self) -> i64 {
                match self { $( $model::$variant => $number, )* $model::Other(number) => number }
            }
        }

        impl Convert<$model> for i64 {
            fn convert(self) -> $model {
                match self { $( $number => $model::$variant, )* number => $model::Other(number) }
            }
        }
    };
}

// RD 4.2
numbers!(RuntimeState { 0 = Pending, 1 = Approved, 2 = Rejected });
numbers!(ProcessState { 0 = Waiting, 1 = Running, 2 = Successful, 3 = Failed });
numbers!(AttributeKind { 0 = In, 1 = Out, 2 = Err, 4 = Env });

shape!(
    Colony = model::Colony {
        colonyid: String = id,
        name: String = name
    }
);

shape!(
    Runtime = model::Runtime {
        runtimeid: String = id,
        runtimetype: String = runtime_type,
        name: String = name,
        colonyid: String = colony_id,
        cpu: String = cpu,
        cores: i64 = cores,
        mem: i64 = mem,
        gpu: String = gpu,
        gpus: i64 = gpus,
        state: i64 = state,
        commissiontime: Time = commission_time,
        lastheardfromtime: Time = last_heard_from,
    }
);

shape!(Conditions = model::Conditions {
    colonyid: String = colony_id,
    runtimeids: Vec<String> = runtime_ids,
    runtimetype: String = runtime_type,
    dependencies: Vec<String> = dependencies,
});

shape!(ProcessSpec = model::ProcessSpec {
    name: String = name,
    func: String = func,
    args: Option<Vec<String>> = args,
    priority: i64 = priority,
    maxwaittime: i64 = max_wait_time,
    maxexectime: i64 = max_exec_time,
    maxretries: i64 = max_retries,
    conditions: Conditions = conditions,
    env: BTreeMap<String, String> = env,
});

shape!(Process = model::Process {
    processid: String = id,
    assignedruntimeid: String = assigned_runtime_id,
    isassigned: bool = is_assigned,
    state: i64 = state,
    submissiontime: Time = submission_time,
    starttime: Time = start_time,
    endtime: Time = end_time,
    waitdeadline: Time = wait_deadline,
    execdeadline: Time = exec_deadline,
    errormsg: String = error_message,
    retries: i64 = retries,
    attributes: Vec<Attribute> = attributes,
    spec: ProcessSpec = spec,
    waitforparents: bool = wait_for_parents,
    parents: Vec<String> = parents,
    children: Vec<String> = children,
    processgraphid: String = graph_id,
});

shape!(
    Attribute = model::Attribute {
        attributeid: String = id,
        targetid: String = target_id,
        targetcolonyid: String = target_colony_id,
        targetprocessgraphid: String = target_graph_id,
        attributetype: i64 = kind,
        key: String = key,
        value: String = value,
    }
);

shape!(WorkflowSpec = model::WorkflowSpec { colonyid: String = colony_id, processspecs: Vec<ProcessSpec> = specs });

/// A list that is `null` when empty (RD 4.3: of a graph without members).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct NullList(Option<Vec<String>>);

impl Convert<NullList> for Vec<String> {
    fn convert(self) -> NullList {
        NullList((!self.is_empty()).then_some(self))
    }
}

impl Convert<Vec<String>> for NullList {
    fn convert(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }
}

shape!(
    ProcessGraph = model::ProcessGraph {
        processgraphid: String = id,
        colonyid: String = colony_id,
        rootprocessids: NullList = root_ids,
        state: i64 = state,
        submissiontime: Time = submission_time,
        starttime: Time = start_time,
        endtime: Time = end_time,
        processids: NullList = process_ids,
    }
);

shape!(
    Generator = model::Generator {
        generatorid: String = id,
        colonyid: String = colony_id,
        name: String = name,
        workflowspec: String = workflow_spec,
        trigger: i64 = trigger,
        counter: i64 = counter,
        timeout: i64 = timeout,
        lastrun: Time = last_run,
    }
);

shape!(
    Statistics = model::Statistics {
        colonies: i64 = colonies,
        runtimes: i64 = runtimes,
        waitingprocesses: i64 = waiting_processes,
        runningprocesses: i64 = running_processes,
        successfulprocesses: i64 = successful_processes,
        failedprocesses: i64 = failed_processes,
        waitingworkflows: i64 = waiting_workflows,
        runningworkflows: i64 = running_workflows,
        successworkflows: i64 = successful_workflows, // sic, beside `successfulprocesses`
        failedworkflows: i64 = failed_workflows,
    }
);

shape!(
    Node = model::Node {
        name: String = name,
        host: String = host,
        port: i64 = port,
        peerport: i64 = peer_port,
        relayport: i64 = relay_port,
        apiport: i64 = api_port,
    }
);

shape!(Cluster = model::Cluster { nodes: Vec<Node> = nodes, leader: Node = leader });
