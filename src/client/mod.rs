//! Asking a Colonies server: typed calls over a [`Transport`], HTTP(S) today ([`http`]), MQTT later.
//!
//! ```text
//! Client (server, dialect) ── with_key ──> Caller (signs) ── submit, assign, get_process … ──> Timed<value> | ClientError
//! ```
//!
//! Nothing is resent behind the caller's back. A request goes out at most once, unless [`Resend::Once`] was asked for, and then
//! only the kinds that [`Kind::may_be_resent`](crate::protocol::Kind::may_be_resent) names: never assign, never submit. Each
//! [`ClientError`] says whether the server may have executed what was asked ([`ClientError::may_have_been_executed`]).
//!
//! Every answer carries its [`Stamps`]: when it was sent and received in boot time, and what the server said of its own
//! clock; the agent bounds the server's clock with them.

mod calls;
mod error;
pub mod http;
mod submission;
mod tls;
mod transport;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::dialect::{Dialect, Told};
use crate::protocol::json::JsonError;
use crate::protocol::{Envelope, Kind, PrivateKey, Reply, Request};

pub use calls::Timed;
pub use error::{BadReply, ClientError, Refused};
pub use http::{BadServerUrl, HttpSettings, HttpTransport, ServerUrl};
pub use submission::{Look, random_submission_id};
pub use tls::{BadTrust, TlsProblem, build_time};
pub use transport::{Exchange, Exchanging, Stamps, Transport, TransportError, Unreachable};

/// A server as a client sees it: how to reach it, and the dialect it speaks. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    dialect: Dialect,
}

/// Whether a request may go out again when its answer was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resend {
    /// Never; the caller decides by the error.
    #[default]
    Never,
    /// Once, at once, if the connection ended without an answer or before the request was sent, and only what
    /// [`Kind::may_be_resent`] names. A deadline that passed is not answered with another one.
    Once,
}

impl Client {
    /// A client of the server behind `transport`.
    pub fn new(transport: impl Transport, dialect: Dialect) -> Self {
        Client {
            transport: Arc::new(transport),
            dialect,
        }
    }

    /// Where the server is, for messages.
    pub fn server(&self) -> &str {
        self.transport.server()
    }

    /// The dialect that is spoken.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Calls signed with `key`.
    pub fn with_key(&self, key: PrivateKey) -> Caller {
        self.with_signer(key.id(), move |text| key.sign(text))
    }

    /// Calls signed by `sign`, which is given the text and answers as [`PrivateKey::sign`] does for the key that has this
    /// id: for keys that are kept elsewhere, and for servers that ask for no signature.
    pub fn with_signer(&self, id: String, sign: impl Fn(&str) -> String + Send + Sync + 'static) -> Caller {
        Caller {
            client: self.clone(),
            id,
            sign: Arc::new(sign),
            resend: Resend::Never,
        }
    }

    /// Sends one envelope once; the payload of a success.
    async fn ask(&self, kind: Kind, body: Bytes, wait: Duration) -> Result<Success, ClientError> {
        let exchange = match self.transport.exchange(body, wait).await {
            Ok(exchange) => exchange,
            Err(error) => return Err(ClientError::from_transport(self.server(), error)),
        };
        let stamps = exchange.stamps;
        let bad = |problem: BadReply| {
            ClientError::bad_reply(
                self.server(),
                exchange.status,
                exchange.location.as_deref(),
                problem,
                stamps,
            )
        };
        let reply = Reply::parse(&exchange.body).map_err(|error| {
            bad(if exchange.body.is_empty() {
                BadReply::Empty
            } else {
                BadReply::NoEnvelope {
                    reason: error.to_string(),
                    excerpt: error::excerpt(&exchange.body),
                }
            })
        })?;
        // RD 7.23: `error` decides, not the status.
        if reply.error {
            let failure = reply.as_failure().map_err(|error| {
                bad(BadReply::Payload {
                    reason: error.to_string(),
                })
            })?;
            let refusal = self.dialect.refusal(kind, &failure);
            return Err(ClientError::refused(
                self.server(),
                kind,
                refusal,
                failure,
                stamps,
            ));
        }
        let expected = self.dialect.payload_type(kind);
        if reply.payload_type != expected {
            return Err(bad(BadReply::OtherKind {
                expected,
                found: reply.payload_type.chars().take(64).collect(),
            }));
        }
        Ok(Success {
            payload: reply.payload,
            status: exchange.status,
            location: exchange.location,
            stamps,
        })
    }

    /// What a success tells.
    fn read<T>(
        &self,
        success: Success,
        read: impl FnOnce(&[u8]) -> Result<T, JsonError>,
    ) -> Result<Timed<T>, ClientError> {
        let stamps = success.stamps;
        match read(&success.payload) {
            Ok(value) => Ok(Timed { value, stamps }),
            Err(error) => Err(ClientError::bad_reply(
                self.server(),
                success.status,
                success.location.as_deref(),
                BadReply::Payload {
                    reason: error.to_string(),
                },
                stamps,
            )),
        }
    }
}

/// A success before it is read, with what an error about it would name.
struct Success {
    payload: Vec<u8>,
    status: u16,
    location: Option<String>,
    stamps: Stamps,
}

/// What signs a text.
type Signer = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Somebody who asks: a client and who signs. Cheap to clone.
#[derive(Clone)]
pub struct Caller {
    client: Client,
    sign: Signer,
    id: String,
    resend: Resend,
}

impl Caller {
    /// The id that goes with the key: how the server knows this caller.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The server that is asked.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same caller with another policy for lost answers.
    #[must_use]
    pub fn resending(mut self, resend: Resend) -> Self {
        self.resend = resend;
        self
    }

    /// Signs and sends a request and reads what a success tells. An assign may be held by the server for its `timeout`; that
    /// is added to the deadline.
    async fn told<T: Told>(&self, request: Request) -> Result<Timed<T>, ClientError> {
        self.ask_sealed(&self.seal(&request)).await
    }

    fn seal<T>(&self, request: &Request) -> Sealed<T> {
        let kind = request.kind();
        let payload = self.client.dialect.encode_request(request);
        let envelope = Envelope::seal_by(&*self.sign, self.client.dialect.payload_type(kind), &payload);
        Sealed {
            kind,
            body: Bytes::from(envelope.to_bytes()),
            wait: calls::server_may_wait(request),
            tells: PhantomData,
        }
    }

    /// Sends a request that was sealed before, and reads what a success tells.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ask_sealed<T: Told>(&self, sealed: &Sealed<T>) -> Result<Timed<T>, ClientError> {
        let Sealed { kind, body, wait, .. } = sealed;
        let once = || self.client.ask(*kind, body.clone(), *wait);
        let answer = match once().await {
            Err(error) if self.resend == Resend::Once && kind.may_be_resent() && error.connection_ended() => {
                tracing::debug!(?kind, %error, "asking once more");
                once().await
            }
            answer => answer,
        };
        self.client
            .read(answer?, |payload| self.client.dialect.read(payload))
    }
}

/// A request that is signed and ready to be sent, as often as it is to be asked: a signature holds no time. What a success tells
/// is a `T`.
pub struct Sealed<T> {
    kind: Kind,
    body: Bytes,
    wait: Duration,
    tells: PhantomData<fn() -> T>,
}
