//! The runtime dialect (`docs/protocol/runtime-dialect.md`).

mod messages;
mod shapes;
mod words;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::messages::{MSGTYPE, Tagged};
use self::shapes::Convert;
pub(super) use self::words::{failure, kind, refusal, words};
use super::Told;
use crate::protocol::failure::Refusal;
use crate::protocol::identity::sha3_hex;
use crate::protocol::json::{self, JsonError, Value};
use crate::protocol::model::{self, Version};
use crate::protocol::request::{Answer, Kind, Request};

fn sealed<T: Serialize>(kind: Kind, message: T) -> Vec<u8> {
    json::to_compact(&Tagged {
        message,
        msgtype: words(kind).payload_type,
    })
}

/// RD 3.1, “Payload members”.
pub(super) fn encode_request(request: &Request) -> Vec<u8> {
    let kind = request.kind();
    match request.clone() {
        Request::Version(Version {
            build_version,
            build_time,
        }) => sealed(
            kind,
            messages::Version {
                buildversion: build_version,
                buildtime: build_time,
            },
        ),
        Request::GetStatistics | Request::GetCluster | Request::GetColonies => {
            sealed(kind, messages::Nothing {})
        }
        Request::AddColony(colony) => sealed(
            kind,
            messages::AddColony {
                colony: colony.map(Convert::convert),
            },
        ),
        Request::DeleteColony { colony_id }
        | Request::GetColony { colony_id }
        | Request::GetColonyStatistics { colony_id }
        | Request::GetRuntimes { colony_id }
        | Request::DeleteAllProcesses { colony_id }
        | Request::DeleteAllGraphs { colony_id } => sealed(kind, messages::ByColony { colonyid: colony_id }),
        Request::AddRuntime(runtime) => sealed(
            kind,
            messages::AddRuntime {
                runtime: Some(runtime.convert()),
            },
        ),
        Request::GetRuntime { runtime_id }
        | Request::ApproveRuntime { runtime_id }
        | Request::RejectRuntime { runtime_id }
        | Request::DeleteRuntime { runtime_id } => sealed(
            kind,
            messages::ByRuntime {
                runtimeid: runtime_id,
            },
        ),
        Request::Submit(spec) => sealed(
            kind,
            messages::Submit {
                spec: Some((*spec).convert()),
            },
        ),
        Request::Assign {
            colony_id,
            latest,
            timeout,
        } => sealed(
            kind,
            messages::Assign {
                colonyid: colony_id,
                latest,
                timeout,
            },
        ),
        Request::GetHistory {
            colony_id,
            runtime_id,
            seconds,
            state,
        } => sealed(
            kind,
            messages::History {
                colonyid: colony_id,
                runtimeid: runtime_id,
                seconds,
                state: state.convert(),
            },
        ),
        Request::GetProcesses {
            colony_id,
            count,
            state,
        }
        | Request::GetGraphs {
            colony_id,
            count,
            state,
        } => sealed(
            kind,
            messages::List {
                colonyid: colony_id,
                count,
                state: state.convert(),
            },
        ),
        Request::GetProcess { process_id } | Request::CloseSuccessful { process_id } => sealed(
            kind,
            messages::ByProcess {
                processid: process_id,
            },
        ),
        Request::DeleteProcess { process_id } => sealed(
            kind,
            messages::DeleteProcess {
                processid: process_id,
                all: false,
            },
        ),
        Request::CloseFailed {
            process_id,
            error_message,
        } => sealed(
            kind,
            messages::CloseFailed {
                processid: process_id,
                errmsg: error_message,
            },
        ),
        Request::AddAttribute(attribute) => sealed(
            kind,
            messages::AddAttribute {
                attribute: Some(attribute.convert()),
            },
        ),
        Request::GetAttribute { attribute_id } => sealed(
            kind,
            messages::ByAttribute {
                attributeid: attribute_id,
            },
        ),
        Request::SubmitWorkflow(spec) => sealed(
            kind,
            messages::SubmitWorkflow {
                spec: Some(spec.convert()),
            },
        ),
        Request::GetGraph { graph_id } => sealed(
            kind,
            messages::ByGraph {
                processgraphid: graph_id,
            },
        ),
        Request::DeleteGraph { graph_id } => sealed(
            kind,
            messages::DeleteGraph {
                processgraphid: graph_id,
                all: false,
            },
        ),
        Request::AddGenerator(generator) => sealed(
            kind,
            messages::AddGenerator {
                generator: Some(generator.convert()),
            },
        ),
        Request::GetGenerator { generator_id } | Request::IncrementGenerator { generator_id } => sealed(
            kind,
            messages::ByGenerator {
                generatorid: generator_id,
            },
        ),
        Request::DeleteGenerator { generator_id } => sealed(
            kind,
            messages::DeleteGenerator {
                generatorid: generator_id,
                all: false,
            },
        ),
        Request::GetGenerators { colony_id, count } => sealed(
            kind,
            messages::ListGenerators {
                colonyid: colony_id,
                count,
            },
        ),
        Request::SubscribeProcesses {
            runtime_type,
            state,
            timeout,
        } => sealed(
            kind,
            messages::SubscribeProcesses {
                runtimetype: runtime_type,
                state: state.convert(),
                timeout,
            },
        ),
        Request::SubscribeProcess {
            process_id,
            runtime_type,
            state,
            timeout,
        } => sealed(
            kind,
            messages::SubscribeProcess {
                processid: process_id,
                runtimetype: runtime_type,
                state: state.convert(),
                timeout,
            },
        ),
    }
}

/// RD 1.6, steps 5 to 7: parse, compare `msgtype`, require the object.
pub(super) fn decode_request(kind: Kind, payload: &[u8]) -> Result<Request, Refusal> {
    let Ok(tree @ Value::Object(_)) = json::read(payload) else {
        return Err(Refusal::BadPayload);
    };
    let reader = Reader { tree, kind };
    Ok(match kind {
        Kind::Version => {
            let message: messages::Version = reader.message()?;
            Request::Version(Version {
                build_version: message.buildversion,
                build_time: message.buildtime,
            })
        }
        Kind::GetStatistics => reader
            .message()
            .map(|messages::Nothing {}| Request::GetStatistics)?,
        Kind::GetCluster => reader.message().map(|messages::Nothing {}| Request::GetCluster)?,
        Kind::GetColonies => reader
            .message()
            .map(|messages::Nothing {}| Request::GetColonies)?,
        Kind::AddColony => {
            let message: messages::AddColony = reader.message()?;
            Request::AddColony(message.colony.map(Convert::convert))
        }
        Kind::DeleteColony => Request::DeleteColony {
            colony_id: reader.colony_id()?,
        },
        Kind::GetColony => Request::GetColony {
            colony_id: reader.colony_id()?,
        },
        Kind::GetColonyStatistics => Request::GetColonyStatistics {
            colony_id: reader.colony_id()?,
        },
        Kind::GetRuntimes => Request::GetRuntimes {
            colony_id: reader.colony_id()?,
        },
        Kind::DeleteAllProcesses => Request::DeleteAllProcesses {
            colony_id: reader.colony_id()?,
        },
        Kind::DeleteAllGraphs => Request::DeleteAllGraphs {
            colony_id: reader.colony_id()?,
        },
        Kind::AddRuntime => {
            let message: messages::AddRuntime = reader.message()?;
            Request::AddRuntime(required(message.runtime)?)
        }
        Kind::GetRuntime => Request::GetRuntime {
            runtime_id: reader.runtime_id()?,
        },
        Kind::ApproveRuntime => Request::ApproveRuntime {
            runtime_id: reader.runtime_id()?,
        },
        Kind::RejectRuntime => Request::RejectRuntime {
            runtime_id: reader.runtime_id()?,
        },
        Kind::DeleteRuntime => Request::DeleteRuntime {
            runtime_id: reader.runtime_id()?,
        },
        Kind::Submit => {
            let message: messages::Submit = reader.message()?;
            Request::Submit(Box::new(required(message.spec)?))
        }
        Kind::Assign => {
            let messages::Assign {
                colonyid,
                latest,
                timeout,
            } = reader.message()?;
            Request::Assign {
                colony_id: colonyid,
                latest,
                timeout,
            }
        }
        Kind::GetHistory => {
            let messages::History {
                colonyid,
                runtimeid,
                seconds,
                state,
            } = reader.message()?;
            Request::GetHistory {
                colony_id: colonyid,
                runtime_id: runtimeid,
                seconds,
                state: state.convert(),
            }
        }
        Kind::GetProcesses => {
            let messages::List {
                colonyid,
                count,
                state,
            } = reader.message()?;
            Request::GetProcesses {
                colony_id: colonyid,
                count,
                state: state.convert(),
            }
        }
        Kind::GetProcess => Request::GetProcess {
            process_id: reader.process_id()?,
        },
        Kind::CloseSuccessful => Request::CloseSuccessful {
            process_id: reader.process_id()?,
        },
        Kind::DeleteProcess => {
            let message: messages::DeleteProcess = reader.message()?;
            Request::DeleteProcess {
                process_id: message.processid,
            }
        }
        Kind::CloseFailed => {
            let messages::CloseFailed { processid, errmsg } = reader.message()?;
            Request::CloseFailed {
                process_id: processid,
                error_message: errmsg,
            }
        }
        Kind::AddAttribute => {
            let message: messages::AddAttribute = reader.message()?;
            // No text is documented for a missing attribute: an empty one targets an unknown process.
            Request::AddAttribute(message.attribute.unwrap_or_default().convert())
        }
        Kind::GetAttribute => {
            let message: messages::ByAttribute = reader.message()?;
            Request::GetAttribute {
                attribute_id: message.attributeid,
            }
        }
        Kind::SubmitWorkflow => {
            let message: messages::SubmitWorkflow = reader.message()?;
            Request::SubmitWorkflow(required(message.spec)?)
        }
        Kind::GetGraph => {
            let message: messages::ByGraph = reader.message()?;
            Request::GetGraph {
                graph_id: message.processgraphid,
            }
        }
        Kind::GetGraphs => {
            let messages::List {
                colonyid,
                count,
                state,
            } = reader.message()?;
            Request::GetGraphs {
                colony_id: colonyid,
                count,
                state: state.convert(),
            }
        }
        Kind::DeleteGraph => {
            let message: messages::DeleteGraph = reader.message()?;
            Request::DeleteGraph {
                graph_id: message.processgraphid,
            }
        }
        Kind::AddGenerator => {
            let message: messages::AddGenerator = reader.message()?;
            Request::AddGenerator(required(message.generator)?)
        }
        Kind::GetGenerator => Request::GetGenerator {
            generator_id: reader.generator_id()?,
        },
        Kind::IncrementGenerator => Request::IncrementGenerator {
            generator_id: reader.generator_id()?,
        },
        Kind::DeleteGenerator => {
            let message: messages::DeleteGenerator = reader.message()?;
            Request::DeleteGenerator {
                generator_id: message.generatorid,
            }
        }
        Kind::GetGenerators => {
            let messages::ListGenerators { colonyid, count } = reader.message()?;
            Request::GetGenerators {
                colony_id: colonyid,
                count,
            }
        }
        Kind::SubscribeProcesses => {
            let messages::SubscribeProcesses {
                runtimetype,
                state,
                timeout,
            } = reader.message()?;
            Request::SubscribeProcesses {
                runtime_type: runtimetype,
                state: state.convert(),
                timeout,
            }
        }
        Kind::SubscribeProcess => {
            let messages::SubscribeProcess {
                processid,
                runtimetype,
                state,
                timeout,
            } = reader.message()?;
            Request::SubscribeProcess {
                process_id: processid,
                runtime_type: runtimetype,
                state: state.convert(),
                timeout,
            }
        }
    })
}

/// The object that a message is about.
fn required<A: Convert<B>, B>(object: Option<A>) -> Result<B, Refusal> {
    object.map(Convert::convert).ok_or(Refusal::Missing)
}

/// A payload that is an object, about to become a message.
struct Reader {
    tree: Value,
    kind: Kind,
}

impl Reader {
    /// The message, whose members must be of their types before its tag is looked at.
    fn message<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        let matches = match self.tree.member(MSGTYPE) {
            None | Some(Value::Null) => false,
            Some(Value::String(tag)) => tag == words(self.kind).payload_type,
            Some(_) => return Err(Refusal::BadPayload),
        };
        let message = json::from_value(self.tree).map_err(|_| Refusal::BadPayload)?;
        if matches {
            Ok(message)
        } else {
            Err(Refusal::KindMismatch)
        }
    }

    fn colony_id(self) -> Result<String, Refusal> {
        self.message().map(|message: messages::ByColony| message.colonyid)
    }

    fn runtime_id(self) -> Result<String, Refusal> {
        self.message()
            .map(|message: messages::ByRuntime| message.runtimeid)
    }

    fn process_id(self) -> Result<String, Refusal> {
        self.message()
            .map(|message: messages::ByProcess| message.processid)
    }

    fn generator_id(self) -> Result<String, Refusal> {
        self.message()
            .map(|message: messages::ByGenerator| message.generatorid)
    }
}

/// RD 3.1, “Reply payload”, and 1.5, “Writing”.
pub(super) fn encode_answer(kind: Kind, answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Done => b"{}".to_vec(),
        Answer::Version(version) => {
            let Version {
                build_version,
                build_time,
            } = version.clone();
            sealed(
                kind,
                messages::Version {
                    buildversion: build_version,
                    buildtime: build_time,
                },
            )
        }
        answer => show(answer),
    }
}

/// As [`encode_answer`], for reading.
pub(super) fn show(answer: &Answer) -> Vec<u8> {
    match answer.clone() {
        Answer::Done => b"{}".to_vec(),
        Answer::Version(Version {
            build_version,
            build_time,
        }) => json::to_indented(&messages::Version {
            buildversion: build_version,
            buildtime: build_time,
        }),
        Answer::Statistics(statistics) => one::<shapes::Statistics, _>(statistics),
        Answer::Cluster(cluster) => one::<shapes::Cluster, _>(cluster),
        Answer::Colony(colony) => one::<shapes::Colony, _>(colony),
        Answer::Colonies(colonies) => many::<shapes::Colony, _>(colonies),
        Answer::Runtime(runtime) => one::<shapes::Runtime, _>(runtime),
        Answer::Runtimes(runtimes) => many::<shapes::Runtime, _>(runtimes),
        Answer::Process(process) => one::<shapes::Process, _>(*process),
        Answer::Processes(processes) => many::<shapes::Process, _>(processes),
        Answer::Attribute(attribute) => one::<shapes::Attribute, _>(attribute),
        Answer::Graph(graph) => one::<shapes::ProcessGraph, _>(graph),
        Answer::Graphs(graphs) => many::<shapes::ProcessGraph, _>(graphs),
        Answer::Generator(generator) => one::<shapes::Generator, _>(generator),
        Answer::Generators(generators) => many::<shapes::Generator, _>(generators),
    }
}

fn one<S: Serialize, M: Convert<S>>(model: M) -> Vec<u8> {
    json::to_indented(&model.convert())
}

/// A top-level list without elements is `null` (RD 4.3).
fn many<S: Serialize, M: Convert<S>>(models: Vec<M>) -> Vec<u8> {
    if models.is_empty() {
        return b"null".to_vec();
    }
    let shapes: Vec<S> = models.convert();
    json::to_indented(&shapes)
}

/// The payload of a success.
pub(super) fn decode_answer(kind: Kind, payload: &[u8]) -> Result<Answer, JsonError> {
    Ok(match kind {
        Kind::Version => Answer::Version(told(payload)?),
        Kind::GetStatistics | Kind::GetColonyStatistics => Answer::Statistics(told(payload)?),
        Kind::GetCluster => Answer::Cluster(told(payload)?),
        Kind::AddColony | Kind::GetColony => Answer::Colony(told(payload)?),
        Kind::GetColonies => Answer::Colonies(told(payload)?),
        Kind::AddRuntime | Kind::GetRuntime => Answer::Runtime(told(payload)?),
        Kind::GetRuntimes => Answer::Runtimes(told(payload)?),
        Kind::Submit
        | Kind::Assign
        | Kind::GetProcess
        | Kind::SubscribeProcess
        | Kind::SubscribeProcesses => Answer::Process(Box::new(told(payload)?)),
        Kind::GetProcesses | Kind::GetHistory => Answer::Processes(told(payload)?),
        Kind::AddAttribute | Kind::GetAttribute => Answer::Attribute(told(payload)?),
        Kind::SubmitWorkflow | Kind::GetGraph => Answer::Graph(told(payload)?),
        Kind::GetGraphs => Answer::Graphs(told(payload)?),
        Kind::AddGenerator | Kind::GetGenerator => Answer::Generator(told(payload)?),
        Kind::GetGenerators => Answer::Generators(told(payload)?),
        Kind::DeleteColony
        | Kind::ApproveRuntime
        | Kind::RejectRuntime
        | Kind::DeleteRuntime
        | Kind::DeleteProcess
        | Kind::DeleteAllProcesses
        | Kind::CloseSuccessful
        | Kind::CloseFailed
        | Kind::DeleteGraph
        | Kind::DeleteAllGraphs
        | Kind::IncrementGenerator
        | Kind::DeleteGenerator => told(payload).map(|()| Answer::Done)?,
    })
}

fn told<T: Told>(payload: &[u8]) -> Result<T, JsonError> {
    T::in_runtime_dialect(payload)
}

/// What is told as one object, with the shape that it has on the wire.
macro_rules! told_as {
    ($($model:ident)*) => { $(
        impl Told for model::$model {
            fn in_runtime_dialect(payload: &[u8]) -> Result<Self, JsonError> {
                read::<shapes::$model, _>(payload)
            }
        }
    )* };
}

/// What is also told as a list of such objects.
macro_rules! told_as_list {
    ($($model:ident)*) => { $(
        impl Told for Vec<model::$model> {
            fn in_runtime_dialect(payload: &[u8]) -> Result<Self, JsonError> {
                read_list::<shapes::$model, _>(payload)
            }
        }
    )* };
}

told_as!(Statistics Cluster Colony Runtime Process Attribute ProcessGraph Generator);
told_as_list!(Colony Runtime Process ProcessGraph Generator);

impl Told for Version {
    fn in_runtime_dialect(payload: &[u8]) -> Result<Self, JsonError> {
        let message: messages::Version = json::from_slice(payload)?;
        Ok(Version {
            build_version: message.buildversion,
            build_time: message.buildtime,
        })
    }
}

/// That it was done, and nothing else.
impl Told for () {
    fn in_runtime_dialect(payload: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(payload).map(|messages::Nothing {}| ())
    }
}

fn read<S: DeserializeOwned + Convert<M>, M>(payload: &[u8]) -> Result<M, JsonError> {
    json::from_slice::<S>(payload).map(Convert::convert)
}

/// `null` is the empty list.
fn read_list<S: DeserializeOwned + Convert<M>, M>(payload: &[u8]) -> Result<Vec<M>, JsonError> {
    json::from_value::<Vec<S>>(json::read(payload)?).map(Convert::convert)
}

/// A process spec in a file.
pub(super) fn read_spec(text: &[u8]) -> Result<model::ProcessSpec, JsonError> {
    read::<shapes::ProcessSpec, _>(text)
}

/// Members of a spec that nobody reads (RD 1.5 ignores them). Empty for what is no object.
pub(super) fn strangers_in_spec(text: &[u8]) -> Vec<String> {
    let known = json::read(&json::to_compact(&shapes::ProcessSpec::default()));
    let (Ok(given), Ok(known)) = (json::read(text), known) else {
        return Vec::new();
    };
    let strangers = |given: Option<&Value>, known: Option<&Value>| match (given, known) {
        (Some(Value::Object(members)), Some(known)) => members
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| known.member(name).is_none())
            .collect(),
        _ => Vec::new(),
    };
    let mut all = strangers(Some(&given), Some(&known));
    let conditions = strangers(given.member("conditions"), known.member("conditions"));
    all.extend(conditions.into_iter().map(|name| format!("conditions.{name}")));
    all
}

/// SHA3-256 of target, key and number of the kind, simply joined (RD 5.6).
pub(super) fn attribute_id(attribute: &model::Attribute) -> String {
    let number: i64 = attribute.kind.convert();
    sha3_hex(format!("{}{}{number}", attribute.target_id, attribute.key).as_bytes())
}
