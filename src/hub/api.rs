//! Bytes in, bytes out: the whole way of a request, without a transport (RD 1.2, 1.3, 1.6).

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::engine::Job;
use super::ledger::{LedgerClock, Moment};
use super::service;
use crate::protocol::dialect::Dialect;
use crate::protocol::{Answer, Envelope, Kind, Refusal, Reply, Request};

/// What the server says: an HTTP status and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The HTTP status.
    pub status: u16,
    /// A reply envelope; empty, as after a crash of the originals inside the request, where the ledger is gone (RD 1.7).
    pub body: Vec<u8>,
}

/// The way to the ledger; cheap to clone. When the last one is dropped, the ledger finishes.
#[derive(Clone)]
pub struct Api {
    jobs: mpsc::Sender<Job>,
    clock: Arc<LedgerClock>,
    dialect: Dialect,
}

/// How far a request got before the ledger.
enum Opened {
    /// Answered without the ledger.
    Answered(Kind, Answer),
    Asked {
        kind: Kind,
        caller: String,
        request: Request,
    },
}

/// Why it got no further, and in whose words that is said.
struct Refused {
    kind: Option<Kind>,
    refusal: Refusal,
}

impl Api {
    /// A way to the ledger that takes `jobs`.
    pub fn new(jobs: mpsc::Sender<Job>, clock: Arc<LedgerClock>) -> Self {
        Api {
            jobs,
            clock,
            dialect: Dialect::Runtime,
        }
    }

    /// Now, as the ledger stamps it.
    pub fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// Answers one request envelope. Drop the future when the caller is gone: what waits for it is then given up.
    pub async fn answer(&self, body: &[u8]) -> Said {
        let (kind, result) = match self.open(body) {
            Err(Refused { kind, refusal }) => (kind, Err(refusal)),
            Ok(Opened::Answered(kind, answer)) => (Some(kind), Ok(answer)),
            Ok(Opened::Asked {
                kind,
                caller,
                request,
            }) => {
                tracing::debug!(?kind, caller, "asked");
                match self.ask(caller, request).await {
                    Some(result) => (Some(kind), result),
                    None => return gone(),
                }
            }
        };
        self.say(kind, result)
    }

    /// Says a refusal that came up before there was an envelope.
    pub fn refuse(&self, refusal: Refusal) -> Said {
        self.say(None, Err(refusal))
    }

    /// Has a request answered that needs no envelope. `None` if the ledger is gone.
    pub async fn ask(&self, caller: String, request: Request) -> Option<Result<Answer, Refusal>> {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            caller,
            request,
            reply,
        };
        self.jobs.send(job).await.ok()?;
        // From here to the transport nothing waits any more: the answer counts as taken.
        let result = answer.await.ok()?;
        Some(result.map(|delivery| delivery.take()))
    }

    /// RD 1.6, steps 1 to 7.
    fn open(&self, body: &[u8]) -> Result<Opened, Refused> {
        let refused = |kind| move |refusal| Refused { kind, refusal };
        let envelope = Envelope::parse(body)
            .map_err(Refusal::BadEnvelope)
            .map_err(refused(None))?;
        let kind = self.dialect.kind(envelope.payload_type());
        if kind == Some(Kind::Version) {
            let decoded = self.dialect.decode_request(Kind::Version, &envelope.payload());
            decoded.map_err(refused(kind))?;
            let answer = Answer::Version(service::version());
            return Ok(Opened::Answered(Kind::Version, answer));
        }
        let caller = envelope
            .caller()
            .map_err(Refusal::BadSignature)
            .map_err(refused(kind))?;
        // Subscriptions need a connection that events can come back on (RD 3.1).
        let kind = kind
            .filter(|kind| !kind.is_subscription())
            .ok_or(Refusal::UnknownKind)
            .map_err(refused(None))?;
        let request = self.dialect.decode_request(kind, &envelope.payload());
        let request = request.map_err(refused(Some(kind)))?;
        Ok(Opened::Asked {
            kind,
            caller,
            request,
        })
    }

    fn say(&self, kind: Option<Kind>, result: Result<Answer, Refusal>) -> Said {
        match (kind, result) {
            (Some(kind), Ok(answer)) => {
                let payload = self.dialect.encode_answer(kind, &answer);
                let reply = Reply::success(self.dialect.payload_type(kind), payload);
                Said {
                    status: 200,
                    body: reply.to_bytes(),
                }
            }
            (kind, Err(refusal)) => {
                let failure = self.dialect.failure(kind, &refusal);
                tracing::debug!(
                    ?kind,
                    status = failure.status,
                    message = failure.message,
                    "refused"
                );
                Said {
                    status: failure.status,
                    body: Reply::failure(&failure).to_bytes(),
                }
            }
            (None, Ok(_)) => gone(),
        }
    }
}

/// Nobody is there to answer any more: the hub is going down (RD 1.7).
fn gone() -> Said {
    tracing::error!("a request gets no answer: the ledger is gone");
    Said {
        status: 500,
        body: Vec::new(),
    }
}
