//! What can come of a request besides its answer.

use std::fmt;
use std::time::Duration;

use super::transport::{Stamps, TransportError, Unreachable};
use crate::protocol::{Failure, Kind, Refusal};

/// Why a request brought no answer.
///
/// The question that matters for whatever acts is [`ClientError::may_have_been_executed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server said no.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// No process waits for this runtime: the usual end of a long poll.
    #[error("no process waits for this runtime")]
    NothingToAssign(Stamps),
    /// Nothing was sent: certainly not executed.
    #[error("cannot reach the Colonies server at {server}: {cause}")]
    Unreachable {
        /// Where.
        server: String,
        /// Why.
        cause: Unreachable,
    },
    /// Sent, but no answer in time.
    #[error(
        "the Colonies server at {server} did not answer within {} s; look whether it was done before asking again",
        after.as_secs_f32()
    )]
    TimedOut {
        /// Where.
        server: String,
        /// How long was waited.
        after: Duration,
    },
    /// Sent, but the connection ended before the whole answer had come.
    #[error(
        "the connection to the Colonies server at {server} ended before its answer came ({reason}); look whether it was \
         done before asking again"
    )]
    Lost {
        /// Where.
        server: String,
        /// What ended it.
        reason: String,
    },
    /// Something answered, but not as a Colonies server does.
    #[error("{server} answered with status {status}, but {problem}{}", redirect(.location.as_deref()))]
    BadReply {
        /// Where.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong.
        problem: Box<BadReply>,
        /// Where a redirect leads.
        location: Option<Box<str>>,
        /// When, by the clock of whoever answered.
        stamps: Box<Stamps>,
    },
}

fn redirect(location: Option<&str>) -> String {
    match location {
        Some(location) => format!(" (it redirects to {location}: is that the server's address?)"),
        None => String::new(),
    }
}

/// A refusal: what the server said, and what it means where its words are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where.
    pub server: String,
    /// What was asked.
    pub kind: Kind,
    /// What the words mean; `None` for words we don't know.
    pub refusal: Option<Refusal>,
    /// The server's words.
    pub failure: Failure,
    /// When.
    pub stamps: Stamps,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "the Colonies server at {} refused: {} (status {})",
            self.server, self.failure.message, self.failure.status
        )?;
        match self.refusal.as_ref().and_then(remedy) {
            Some(remedy) => write!(out, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// What can be done about a refusal, where it is not obvious from its words.
fn remedy(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::BadSignature(_) => "is something between here and the server changing the request?",
        Refusal::UnknownKind => "the server speaks another dialect, or does not do this",
        Refusal::NotServerOwner => "sign with the server owner's key",
        Refusal::NotColonyOwner => {
            "sign with the key of the colony's owner, or with that of a runtime that is an approved member"
        }
        Refusal::UnknownColony { .. } => "check the colony id, or have the server's owner add the colony",
        Refusal::NotMember { .. } => {
            "have the colony's owner add and approve this runtime (outpost runtime add … --approve)"
        }
        Refusal::OtherColony { .. } => {
            "this key belongs to a runtime of another colony; use one key per colony"
        }
        Refusal::NotApproved { .. } => {
            "have the colony's owner approve this runtime (outpost runtime approve …)"
        }
        Refusal::NotAssigned { .. } => "it was handed to somebody else, or went back to the queue",
        Refusal::Unknown => "check the id",
        Refusal::Unavailable { .. } => "try again later",
        _ => return None,
    })
}

/// What is wrong with a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// Nothing was in it; the original does that when a request crashed it (RD 1.7).
    #[error("with an empty body; a request that crashed the server ends so, look at its log")]
    Empty,
    /// Not the envelope of a reply.
    #[error(
        "not as a Colonies server does ({reason}; it begins {excerpt:?}); is this a Colonies server, or a proxy?"
    )]
    NoEnvelope {
        /// What the reader said.
        reason: String,
        /// The first characters.
        excerpt: String,
    },
    /// The answer to another request.
    #[error("to another request ({found:?} instead of {expected:?}); is a proxy mixing up replies?")]
    OtherKind {
        /// The request's payload type.
        expected: &'static str,
        /// The reply's.
        found: String,
    },
    /// The payload has not the shape it should have.
    #[error("its payload can't be read ({reason}); does the server speak this dialect?")]
    Payload {
        /// What the reader said.
        reason: String,
    },
    /// Larger than this client takes.
    #[error("with more than {limit} bytes; ask for less, or raise the limit")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl ClientError {
    pub(super) fn from_transport(server: &str, error: TransportError) -> Self {
        let server = server.to_owned();
        match error {
            TransportError::Unreachable(cause) => ClientError::Unreachable { server, cause },
            TransportError::TimedOut { after } => ClientError::TimedOut { server, after },
            TransportError::Lost { reason } => ClientError::Lost { server, reason },
            TransportError::TooLarge {
                status,
                limit,
                stamps,
            } => ClientError::BadReply {
                server,
                status,
                problem: Box::new(BadReply::TooLarge { limit }),
                location: None,
                stamps: Box::new(stamps),
            },
        }
    }

    pub(super) fn bad_reply(
        server: &str,
        status: u16,
        location: Option<&str>,
        problem: BadReply,
        stamps: Stamps,
    ) -> Self {
        ClientError::BadReply {
            server: server.to_owned(),
            status,
            problem: Box::new(problem),
            location: location.map(Into::into),
            stamps: Box::new(stamps),
        }
    }

    pub(super) fn refused(
        server: &str,
        kind: Kind,
        refusal: Option<Refusal>,
        failure: Failure,
        stamps: Stamps,
    ) -> Self {
        if kind == Kind::Assign && matches!(refusal, Some(Refusal::NothingToAssign { .. })) {
            return ClientError::NothingToAssign(stamps);
        }
        ClientError::Refused(Box::new(Refused {
            server: server.to_owned(),
            kind,
            refusal,
            failure,
            stamps,
        }))
    }

    /// What the server refused with, where its words are known.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            ClientError::Refused(refused) => refused.refusal.as_ref(),
            _ => None,
        }
    }

    /// When the exchange happened, if a whole one did. Refusals tell the server's time as well as answers do.
    pub fn stamps(&self) -> Option<Stamps> {
        match self {
            ClientError::Refused(refused) => Some(refused.stamps),
            ClientError::NothingToAssign(stamps) => Some(*stamps),
            ClientError::BadReply { stamps, .. } => Some(**stamps),
            ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::Lost { .. } => None,
        }
    }

    /// Whether the server may have done what was asked. `false` is certain.
    ///
    /// A refusal in words we know was decided before anything was done. In words we don't know it may have come
    /// half way: the original stores a close in a damaged workflow, or assigns a member of one, and then answers with
    /// a failure (RD 5.7). 403 always comes before the execution (RD 1.6). Of replies that are none, a redirect, “no such
    /// page” and “too large” say that whoever answered took nothing; a Colonies server always sends an envelope.
    pub fn may_have_been_executed(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } | ClientError::NothingToAssign(_) => false,
            ClientError::TimedOut { .. } | ClientError::Lost { .. } => true,
            ClientError::BadReply { status, .. } => !TAKEN_BY_NOBODY.contains(status),
            ClientError::Refused(refused) => match refused.refusal {
                Some(Refusal::Unavailable { .. }) => true,
                Some(_) => false,
                None => refused.failure.status != 403,
            },
        }
    }

    /// The connection ended without an answer, or before the request: what one more connection may cure.
    pub(super) fn connection_ended(&self) -> bool {
        matches!(
            self,
            ClientError::Lost { .. }
                | ClientError::Unreachable {
                    cause: Unreachable::Closed,
                    ..
                }
        )
    }
}

/// HTTP statuses of web servers and proxies that did not pass the request to anybody.
const TAKEN_BY_NOBODY: [u16; 7] = [301, 302, 307, 308, 404, 405, 413];

/// The first characters of what is no reply, on one line.
pub(super) fn excerpt(body: &[u8]) -> String {
    let start = &body[..body.len().min(240)];
    let text = String::from_utf8_lossy(start);
    let text: Vec<&str> = text.split_whitespace().collect();
    text.join(" ").chars().take(60).collect()
}
