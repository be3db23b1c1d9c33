//! Every request of the catalogue (RD 3.1) as a method.

use std::time::Duration;

use bytes::Bytes;

use super::error::ClientError;
use super::transport::Stamps;
use super::{Caller, Client, Sealed};
use crate::protocol::model::{
    Attribute, Cluster, Colony, Generator, Process, ProcessGraph, ProcessSpec, ProcessState, Runtime,
    Statistics, Version, WorkflowSpec,
};
use crate::protocol::{Envelope, Kind, Request};

/// A value and when it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<T> {
    /// What was told.
    pub value: T,
    /// When.
    pub stamps: Stamps,
}

impl<T> Timed<T> {
    /// The same moment with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Timed<U> {
        Timed {
            value: f(self.value),
            stamps: self.stamps,
        }
    }
}

/// How long the server may hold the answer to `request`.
pub(super) fn server_may_wait(request: &Request) -> Duration {
    match request {
        Request::Assign { timeout, .. } => Duration::from_secs(u64::try_from(*timeout).unwrap_or(0)),
        _ => Duration::ZERO,
    }
}

impl Client {
    /// The server's build; needs no key. Doubles as a quick probe of the server and of its clock.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn version(&self) -> Result<Timed<Version>, ClientError> {
        let kind = Kind::Version;
        let payload = self.dialect.encode_request(&Request::Version(Version::default()));
        let envelope = Envelope::unsigned(self.dialect.payload_type(kind), &payload);
        let body = Bytes::from(envelope.to_bytes());
        let success = self.ask(kind, body, Duration::ZERO).await?;
        self.read(success, |payload| self.dialect.read(payload))
    }
}

/// Each method asks what its name says; who may ask it stands in brackets as in RD 3.1.
///
/// All fail with [`ClientError`].
#[allow(clippy::missing_errors_doc)] // Said once, above.
impl Caller {
    /// Counts over the whole server. (Server owner)
    pub async fn statistics(&self) -> Result<Timed<Statistics>, ClientError> {
        self.told(Request::GetStatistics).await
    }

    /// The servers of the cluster. (Server owner)
    pub async fn cluster(&self) -> Result<Timed<Cluster>, ClientError> {
        self.told(Request::GetCluster).await
    }

    /// Adds a colony; its id is the id of its owner's key. (Server owner)
    pub async fn add_colony(&self, colony: &Colony) -> Result<Timed<Colony>, ClientError> {
        self.told(Request::AddColony(Some(colony.clone()))).await
    }

    /// Deletes a colony and all that belongs to it; an unknown one is not an error. (Server owner)
    pub async fn delete_colony(&self, colony_id: &str) -> Result<Timed<()>, ClientError> {
        let colony_id = colony_id.to_owned();
        self.told(Request::DeleteColony { colony_id }).await
    }

    /// All colonies. (Server owner)
    pub async fn get_colonies(&self) -> Result<Timed<Vec<Colony>>, ClientError> {
        self.told(Request::GetColonies).await
    }

    /// One colony. (Approved runtime)
    pub async fn get_colony(&self, colony_id: &str) -> Result<Timed<Colony>, ClientError> {
        let colony_id = colony_id.to_owned();
        self.told(Request::GetColony { colony_id }).await
    }

    /// Counts over one colony. (Approved runtime or colony owner)
    pub async fn colony_statistics(&self, colony_id: &str) -> Result<Timed<Statistics>, ClientError> {
        let colony_id = colony_id.to_owned();
        self.told(Request::GetColonyStatistics { colony_id }).await
    }

    /// Adds a runtime, pending. (Colony owner)
    pub async fn add_runtime(&self, runtime: &Runtime) -> Result<Timed<Runtime>, ClientError> {
        self.told(Request::AddRuntime(runtime.clone())).await
    }

    /// All runtimes of a colony in every state. (Runtime in any state, or colony owner)
    pub async fn get_runtimes(&self, colony_id: &str) -> Result<Timed<Vec<Runtime>>, ClientError> {
        let colony_id = colony_id.to_owned();
        self.told(Request::GetRuntimes { colony_id }).await
    }

    /// One runtime. (Approved runtime of the same colony)
    pub async fn get_runtime(&self, runtime_id: &str) -> Result<Timed<Runtime>, ClientError> {
        let runtime_id = runtime_id.to_owned();
        self.told(Request::GetRuntime { runtime_id }).await
    }

    /// Lets a runtime work. (Colony owner)
    pub async fn approve_runtime(&self, runtime_id: &str) -> Result<Timed<()>, ClientError> {
        let runtime_id = runtime_id.to_owned();
        self.told(Request::ApproveRuntime { runtime_id }).await
    }

    /// Keeps a runtime from working. (Colony owner)
    pub async fn reject_runtime(&self, runtime_id: &str) -> Result<Timed<()>, ClientError> {
        let runtime_id = runtime_id.to_owned();
        self.told(Request::RejectRuntime { runtime_id }).await
    }

    /// Removes a runtime; what runs on it goes back to the queue. (Colony owner)
    pub async fn delete_runtime(&self, runtime_id: &str) -> Result<Timed<()>, ClientError> {
        let runtime_id = runtime_id.to_owned();
        self.told(Request::DeleteRuntime { runtime_id }).await
    }

    /// Puts a process into the queue. Never resent: whoever must be sure looks for the submission first. (Approved
    /// runtime)
    pub async fn submit(&self, spec: &ProcessSpec) -> Result<Timed<Process>, ClientError> {
        self.told(Request::Submit(Box::new(spec.clone()))).await
    }

    /// Asks for work: the oldest waiting process, or the `latest`. The server holds the request for up to `timeout` seconds
    /// until there is some (negative: not at all; 0 is refused). Never resent: what was assigned in a lost answer runs
    /// on this runtime at the server. (Approved runtime)
    pub async fn assign(
        &self,
        colony_id: &str,
        latest: bool,
        timeout: i64,
    ) -> Result<Timed<Process>, ClientError> {
        let colony_id = colony_id.to_owned();
        let request = Request::Assign {
            colony_id,
            latest,
            timeout,
        };
        self.told(request).await
    }

    /// Processes in `state` that were submitted within the last `seconds`, newest first, without a limit on their
    /// number; those assigned to `runtime_id` only, or to anybody if it is empty. (Approved runtime or colony owner)
    pub async fn history(
        &self,
        colony_id: &str,
        runtime_id: &str,
        seconds: i64,
        state: ProcessState,
    ) -> Result<Timed<Vec<Process>>, ClientError> {
        let request = Request::GetHistory {
            colony_id: colony_id.to_owned(),
            runtime_id: runtime_id.to_owned(),
            seconds,
            state,
        };
        self.told(request).await
    }

    /// The newest `count` (at most 100) processes in `state`. (Approved runtime or colony owner)
    pub async fn get_processes(
        &self,
        colony_id: &str,
        count: i64,
        state: ProcessState,
    ) -> Result<Timed<Vec<Process>>, ClientError> {
        let colony_id = colony_id.to_owned();
        let request = Request::GetProcesses {
            colony_id,
            count,
            state,
        };
        self.told(request).await
    }

    /// One process. (Approved runtime)
    pub async fn get_process(&self, process_id: &str) -> Result<Timed<Process>, ClientError> {
        self.ask_sealed(&self.seal_get_process(process_id)).await
    }

    /// The same question, sealed now to be asked later ([`Caller::ask_sealed`]): signing is out of the way by then.
    pub fn seal_get_process(&self, process_id: &str) -> Sealed<Process> {
        let process_id = process_id.to_owned();
        self.seal(&Request::GetProcess { process_id })
    }

    /// Deletes a process in any state. (Approved runtime)
    pub async fn delete_process(&self, process_id: &str) -> Result<Timed<()>, ClientError> {
        let process_id = process_id.to_owned();
        self.told(Request::DeleteProcess { process_id }).await
    }

    /// Deletes all processes of a colony. (Colony owner)
    pub async fn delete_all_processes(&self, colony_id: &str) -> Result<Timed<()>, ClientError> {
        let colony_id = colony_id.to_owned();
        self.told(Request::DeleteAllProcesses { colony_id }).await
    }

    /// Ends a process as successful. (The runtime it is assigned to)
    pub async fn close_successful(&self, process_id: &str) -> Result<Timed<()>, ClientError> {
        let process_id = process_id.to_owned();
        self.told(Request::CloseSuccessful { process_id }).await
    }

    /// Ends a process as failed, for a reason. (The runtime it is assigned to)
    pub async fn close_failed(
        &self,
        process_id: &str,
        error_message: &str,
    ) -> Result<Timed<()>, ClientError> {
        let request = Request::CloseFailed {
            process_id: process_id.to_owned(),
            error_message: error_message.to_owned(),
        };
        self.told(request).await
    }

    /// Attaches a key and a value to a process; once, it can't be overwritten. (The runtime it is or was assigned to)
    pub async fn add_attribute(&self, attribute: &Attribute) -> Result<Timed<Attribute>, ClientError> {
        self.told(Request::AddAttribute(attribute.clone())).await
    }

    /// One attribute. (Approved runtime)
    pub async fn get_attribute(&self, attribute_id: &str) -> Result<Timed<Attribute>, ClientError> {
        let attribute_id = attribute_id.to_owned();
        self.told(Request::GetAttribute { attribute_id }).await
    }

    /// Submits a workflow. The answer is incomplete: ask for the graph again (RD 3.4). Never resent. (Approved runtime)
    pub async fn submit_workflow(&self, spec: &WorkflowSpec) -> Result<Timed<ProcessGraph>, ClientError> {
        self.told(Request::SubmitWorkflow(spec.clone())).await
    }

    /// One workflow. (Approved runtime)
    pub async fn get_graph(&self, graph_id: &str) -> Result<Timed<ProcessGraph>, ClientError> {
        let graph_id = graph_id.to_owned();
        self.told(Request::GetGraph { graph_id }).await
    }

    /// The newest `count` (at most 100) workflows in `state`. (Approved runtime)
    pub async fn get_graphs(
        &self,
        colony_id: &str,
        count: i64,
        state: ProcessState,
    ) -> Result<Timed<Vec<ProcessGraph>>, ClientError> {
        let colony_id = colony_id.to_owned();
        let request = Request::GetGraphs {
            colony_id,
            count,
            state,
        };
        self.told(request).await
    }

    /// Deletes a workflow with its members. (Approved runtime)
    pub async fn delete_graph(&self, graph_id: &str) -> Result<Timed<()>, ClientError> {
        let graph_id = graph_id.to_owned();
        self.told(Request::DeleteGraph { graph_id }).await
    }

    /// Deletes all workflows of a colony. (Colony owner)
    pub async fn delete_all_graphs(&self, colony_id: &str) -> Result<Timed<()>, ClientError> {
        let colony_id = colony_id.to_owned();
        self.told(Request::DeleteAllGraphs { colony_id }).await
    }

    /// Adds a generator under an id that the client made. (Approved runtime)
    pub async fn add_generator(&self, generator: &Generator) -> Result<Timed<Generator>, ClientError> {
        self.told(Request::AddGenerator(generator.clone())).await
    }

    /// One generator with its live counter. (Approved runtime)
    pub async fn get_generator(&self, generator_id: &str) -> Result<Timed<Generator>, ClientError> {
        let generator_id = generator_id.to_owned();
        self.told(Request::GetGenerator { generator_id }).await
    }

    /// The generators of a colony as stored; none at all is refused by the original (RD 3.3). (Approved runtime)
    pub async fn get_generators(
        &self,
        colony_id: &str,
        count: i64,
    ) -> Result<Timed<Vec<Generator>>, ClientError> {
        let colony_id = colony_id.to_owned();
        self.told(Request::GetGenerators { colony_id, count }).await
    }

    /// Counts a generator up. (Approved runtime)
    pub async fn increment_generator(&self, generator_id: &str) -> Result<Timed<()>, ClientError> {
        let generator_id = generator_id.to_owned();
        self.told(Request::IncrementGenerator { generator_id }).await
    }

    /// Deletes a generator. (Approved runtime)
    pub async fn delete_generator(&self, generator_id: &str) -> Result<Timed<()>, ClientError> {
        let generator_id = generator_id.to_owned();
        self.told(Request::DeleteGenerator { generator_id }).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::client::{Exchange, Exchanging, Transport};
    use crate::clock::BootTime;
    use crate::protocol::dialect::Dialect;
    use crate::protocol::{Answer, PrivateKey, Reply};

    /// Answers everything with something of the right shape, and keeps what was asked.
    #[derive(Clone, Default)]
    struct Yes(Arc<Mutex<Vec<(Request, Duration)>>>);

    impl Transport for Yes {
        fn exchange(&self, body: Bytes, wait: Duration) -> Exchanging<'_> {
            let dialect = Dialect::Runtime;
            let envelope = Envelope::parse(&body).unwrap();
            let kind = dialect.kind(envelope.payload_type()).unwrap();
            let request = dialect.decode_request(kind, &envelope.payload()).unwrap();
            self.0.lock().unwrap().push((request, wait));
            let answer = match kind {
                Kind::Version => Answer::Version(Version::default()),
                Kind::GetStatistics | Kind::GetColonyStatistics => Answer::Statistics(Statistics::default()),
                Kind::GetCluster => Answer::Cluster(Cluster::default()),
                Kind::AddColony | Kind::GetColony => Answer::Colony(Colony::default()),
                Kind::GetColonies => Answer::Colonies(vec![]),
                Kind::AddRuntime | Kind::GetRuntime => Answer::Runtime(Runtime::default()),
                Kind::GetRuntimes => Answer::Runtimes(vec![Runtime::default()]),
                Kind::Submit | Kind::Assign | Kind::GetProcess => Answer::Process(Box::default()),
                Kind::GetProcesses | Kind::GetHistory => Answer::Processes(vec![]),
                Kind::AddAttribute | Kind::GetAttribute => Answer::Attribute(Attribute::default()),
                Kind::SubmitWorkflow | Kind::GetGraph => Answer::Graph(ProcessGraph::default()),
                Kind::GetGraphs => Answer::Graphs(vec![]),
                Kind::AddGenerator | Kind::GetGenerator => Answer::Generator(Generator::default()),
                Kind::GetGenerators => Answer::Generators(vec![]),
                _ => Answer::Done,
            };
            let reply = Reply::success(dialect.payload_type(kind), dialect.encode_answer(kind, &answer));
            let exchange = Exchange {
                status: 200,
                body: reply.to_bytes().into(),
                location: None,
                stamps: Stamps {
                    sent_at: BootTime::default(),
                    received_at: BootTime::default(),
                    date: None,
                    outpost_time: None,
                },
            };
            Box::pin(std::future::ready(Ok(exchange)))
        }

        fn server(&self) -> &str {
            "http://test"
        }
    }

    #[tokio::test]
    async fn a_sealed_question_is_signed_once_however_often_it_is_asked() {
        let asked = Yes::default();
        let client = Client::new(asked.clone(), Dialect::Runtime);
        let key = PrivateKey::from_hex(&"22".repeat(32)).unwrap();
        let signed = Arc::new(AtomicUsize::new(0));
        let counts = signed.clone();
        let caller = client.with_signer(key.id(), move |text| {
            counts.fetch_add(1, Ordering::Relaxed);
            key.sign(text)
        });
        let question = caller.seal_get_process("p");
        assert_eq!(signed.load(Ordering::Relaxed), 1);
        assert!(asked.0.lock().unwrap().is_empty(), "not asked yet");
        for _ in 0..3 {
            caller.ask_sealed(&question).await.unwrap();
        }
        assert_eq!(signed.load(Ordering::Relaxed), 1);
        let process_id = "p".to_owned();
        let wanted = (Request::GetProcess { process_id }, Duration::ZERO);
        assert_eq!(*asked.0.lock().unwrap(), vec![wanted; 3]);
    }

    #[tokio::test]
    async fn every_request_of_the_catalogue_has_its_call() {
        let asked = Yes::default();
        let client = Client::new(asked.clone(), Dialect::Runtime);
        let caller = client.with_key(PrivateKey::from_hex(&"22".repeat(32)).unwrap());
        let waiting = ProcessState::Waiting;
        client.version().await.unwrap();
        caller.statistics().await.unwrap();
        caller.cluster().await.unwrap();
        caller.add_colony(&Colony::default()).await.unwrap();
        caller.delete_colony("c").await.unwrap();
        assert!(caller.get_colonies().await.unwrap().value.is_empty());
        caller.get_colony("c").await.unwrap();
        caller.colony_statistics("c").await.unwrap();
        caller.add_runtime(&Runtime::default()).await.unwrap();
        assert_eq!(caller.get_runtimes("c").await.unwrap().value.len(), 1);
        caller.get_runtime("r").await.unwrap();
        caller.approve_runtime("r").await.unwrap();
        caller.reject_runtime("r").await.unwrap();
        caller.delete_runtime("r").await.unwrap();
        caller.submit(&ProcessSpec::default()).await.unwrap();
        caller.assign("c", true, 7).await.unwrap();
        caller.assign("c", false, -1).await.unwrap();
        caller.history("c", "r", 60, waiting).await.unwrap();
        caller.get_processes("c", 10, waiting).await.unwrap();
        caller.get_process("p").await.unwrap();
        caller.delete_process("p").await.unwrap();
        caller.delete_all_processes("c").await.unwrap();
        caller.close_successful("p").await.unwrap();
        caller.close_failed("p", "why").await.unwrap();
        caller.add_attribute(&Attribute::default()).await.unwrap();
        caller.get_attribute("a").await.unwrap();
        caller.submit_workflow(&WorkflowSpec::default()).await.unwrap();
        caller.get_graph("g").await.unwrap();
        caller.get_graphs("c", 10, waiting).await.unwrap();
        caller.delete_graph("g").await.unwrap();
        caller.delete_all_graphs("c").await.unwrap();
        caller.add_generator(&Generator::default()).await.unwrap();
        caller.get_generator("g").await.unwrap();
        caller.get_generators("c", 10).await.unwrap();
        caller.increment_generator("g").await.unwrap();
        caller.delete_generator("g").await.unwrap();

        let asked = asked.0.lock().unwrap();
        let kinds: HashSet<Kind> = asked.iter().map(|(request, _)| request.kind()).collect();
        let missing: Vec<&Kind> = Kind::ALL
            .iter()
            .filter(|kind| !kind.is_subscription() && !kinds.contains(*kind))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        // Only a long poll may be held by the server.
        for (request, wait) in asked.iter() {
            let expected = match request {
                Request::Assign {
                    timeout: 7,
                    latest: true,
                    ..
                } => Duration::from_secs(7),
                _ => Duration::ZERO,
            };
            assert_eq!(*wait, expected, "{request:?}");
        }
    }
}
